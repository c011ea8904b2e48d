import base64
import io
import json

import numpy as np
from PIL import Image

from lib.training.curve import POINTS, LiveCurve
from lib.training.history import History


def run(steps, **more):
    losses = [1 / (1 + step) for step in range(steps)]
    return History("UNet", losses=losses, times=[0.5 * step for step in range(1, steps + 1)], **more)


def test_the_browser_gets_a_thinned_curve_that_ends_with_the_latest_step():
    for steps in (1, POINTS - 1, POINTS, POINTS + 1, 5000):
        curve = LiveCurve(run(steps), end=9000).curve
        assert len(curve["x"]) == len(curve["loss"]) == len(curve["single"]) <= POINTS
        assert curve["steps"][-1] == curve["x"][-1] == steps and curve["single"][-1] == 1 / steps
        assert curve["end"] == 9000 and len(json.dumps(curve)) < 25_000


def test_before_the_first_step_there_is_an_empty_curve():
    curve = LiveCurve(History("UNet"), end=10).curve
    assert curve["x"] == [] and curve["metric"] == "" and curve["state"] == "running"


def test_redrawing_follows_the_history():
    history = run(4, timed=True)
    live = LiveCurve(history, end=10.0)
    assert live.curve["x"] == [0.5, 1.0, 1.5, 2.0] and live.curve["unit"] == "s" and live.curve["end"] == 10.0
    history.metric_steps.append(3)
    history.metrics["mIoU"] = [0.4]
    live.redraw()
    assert (live.curve["metric"], live.curve["metricX"], live.curve["metricY"]) == ("mIoU", [1.5], [0.4])
    history.interrupted = True
    live.close()
    assert live.curve["state"] == "interrupted"


def test_text_is_the_same_before_and_after_and_the_picture_comes_at_the_end():
    live = LiveCurve(run(5, metric_steps=[5], metrics={"mIoU": [0.5]}), end=5)
    before, _ = live._repr_mimebundle_()
    live.close()
    after, _ = live._repr_mimebundle_()
    assert before["text/plain"] == after["text/plain"] == "Loss curve of UNet"
    assert "application/vnd.jupyter.widget-view+json" in after and "image/png" not in before
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(after["image/png"]))).convert("RGB"))
    assert picture.shape[1] > 300 and picture.std() > 5


def test_a_training_is_called_by_its_title_and_else_by_its_model():
    assert LiveCurve(run(5, title="dice"), end=5).curve["model"] == "dice"
    assert repr(run(5, title="dice")).startswith("History: dice, 5 steps") and run(5).name == "UNet"
    assert run(5, title="dice").summary()["model"] == "UNet"  # what a checkpoint says of itself


def test_nothing_is_displayed_outside_a_notebook(capsys):
    live = LiveCurve(run(5), end=5)
    live.close()
    assert capsys.readouterr() == ("", "")
