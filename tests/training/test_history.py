import json

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

from lib.training.history import History, smoothed


def history(**more):
    return History(
        "UNet",
        **(
            {
                "losses": [2.0, 1.0, 0.5],
                "times": [0.1, 0.2, 0.35],
                "learning_rates": [1, 2, 1],
                "metric_steps": [2, 3],
                "metrics": {"mIoU": [0.25, 0.5], "other": [1.0, 2.0]},
            }
            | more
        ),
    )


def test_smoothing_by_hand():
    second = 2.0 + (1.0 - 2.0) / 1.2
    assert smoothed([2.0, 1.0, 0.0]) == pytest.approx([2.0, second, second - second / 1.4])
    assert smoothed([2.0, 1.0, 0.0], memory=1.3)[2] == pytest.approx(second - second / 1.3)
    assert smoothed([3.0] * 50) == [3.0] * 50 and smoothed([]) == []
    late = smoothed([0.0] * 200 + [1.0] * 20)
    assert late[-1] == pytest.approx(1 - (1 - 1 / 20) ** 20)


def test_it_says_what_happened():
    assert repr(history()) == "History: UNet, 3 steps, loss ≈ 0.690, mIoU ≈ 0.500, other ≈ 2.000, ≈ 0.3 s"
    assert repr(history(interrupted=True)).endswith("interrupted") and ", ≈ 3 steps" in repr(history(timed=True))
    assert history().last == {"mIoU": 0.5, "other": 2.0} and history().seconds == 0.35


def test_json_holds_everything_and_the_summary_no_clock():
    assert History(**json.loads(json.dumps(history().to_dict()))) == history()
    summary = history().summary()
    assert summary == {"model": "UNet", "seed": 0, "steps": 3, "loss": 0.6905, "metrics": {"mIoU": 0.5, "other": 2.0}}
    assert history(times=[5.0, 6.0, 7.0]).summary() == json.loads(json.dumps(summary))
    assert history(interrupted=True).summary()["interrupted"] is True


def test_the_plot_shows_loss_and_first_metric():
    figure = history().plot()
    assert isinstance(figure, Figure) and not plt.get_fignums()
    left, right = figure.axes
    assert left.lines[0].get_ydata().tolist() == [2.0, 1.0, 0.5] and left.get_xlabel() == "step"
    assert right.lines[0].get_xydata().tolist() == [[2, 0.25], [3, 0.5]] and right.get_ylabel() == "mIoU"
    timed = history(timed=True).plot().axes
    assert timed[0].get_xlabel() == "seconds" and timed[1].lines[0].get_xdata().tolist() == [0.2, 0.35]


@pytest.mark.parametrize(
    "more",
    [
        {"losses": [], "times": [], "metric_steps": [], "metrics": {}},
        {"losses": [-1.0, -2.0, -3.0]},
        {"losses": [0.0] * 3, "metrics": {}},
    ],
)
def test_odd_runs_are_drawn_too(more):
    history(**more).plot().canvas.draw()
