import io
import time

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image, ImageFont

from lib.ops.mask_filters import mask_nms, stability_score
from lib.ops.masks import mask_iou
from lib.viz.engine.candidates import Candidates
from lib.viz.engine.filters import BAD, FOUND, GOOD, FilterStage
from lib.viz.engine.thresholds import (
    BARS,
    FONT,
    LETTERS,
    RIM,
    SIDE,
    STEP,
    TOP,
    draw_thresholds,
    explore_filters,
    in_words,
    sheet,
)

LIMIT = 300  # milliseconds of one core, for 768 masks
GENERATOR = torch.Generator().manual_seed(0)
IMAGE = torch.rand(3, 24, 36, generator=GENERATOR)


def blobs(count: int, size: tuple[int, int]) -> torch.Tensor:
    """Logits (count, H, W): soft discs here and there, some of them twice."""
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    places = torch.rand(count // 2, 4, generator=GENERATOR).repeat(2, 1)[:count]
    far = ((y - places[:, 0, None, None] * size[0]) ** 2 + (x - places[:, 1, None, None] * size[1]) ** 2).sqrt()
    return (0.3 * min(size) * (0.3 + places[:, 2, None, None]) - far) * (0.2 + 2 * places[:, 3, None, None])


LOGITS, GUESSES = blobs(40, (24, 36)), torch.rand(40, generator=GENERATOR)
LOGITS[7] = -1.0  # nowhere
TRUTHS = LOGITS[[3, 12, 20]] > 0
SETTING = (0.3, 0.5, 0.6)


@pytest.fixture(scope="module")
def candidates():
    return Candidates(IMAGE, LOGITS, GUESSES, truths=TRUTHS)


def shown(explorer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(explorer._picture.value)).convert("RGB"))


def test_steps_are_those_of_the_filters_one_by_one(candidates):
    masks, guesses, stability = LOGITS > 0, GUESSES, stability_score(LOGITS)
    some = masks.flatten(1).any(1)
    sure = some & (guesses >= 0.3)
    stable = sure & (stability >= 0.5)
    kept = stable.nonzero()[:, 0][mask_nms(masks[stable], guesses[stable], 0.6)]
    steps = candidates.steps(*SETTING)
    for places, expected in zip(steps[:3], (some, sure, stable), strict=True):
        assert sorted(candidates.guesses[places].tolist()) == sorted(guesses[expected].tolist())
    assert (candidates.masks[steps[3]] == masks[kept]).all()
    assert [len(places) for places in steps] == sorted({len(places) for places in steps}, reverse=True)  # all bite


def test_stages_are_judged_by_the_truths(candidates):
    for stage, places in zip(candidates.stages(*SETTING), candidates.steps(*SETTING), strict=True):
        good = mask_iou(candidates.masks[places], TRUTHS) >= 0.7
        assert (stage.good, stage.bad) == (int(good.any(1).sum()), int((~good.any(1)).sum()))
        assert stage.found == pytest.approx(good.any(0).float().mean().item())
    unknown = Candidates(IMAGE, LOGITS, GUESSES).stages(*SETTING)
    assert [(stage.good, stage.found) for stage in unknown] == [(0, None)] * 4


def test_the_sheet_has_bars_as_long_as_their_counts(candidates):
    drawn = np.asarray(sheet(candidates, SETTING))
    stages, left = candidates.stages(*SETTING), SIDE + 3 * RIM
    most = stages[0].good + stages[0].bad

    def length(row: int, colour: str) -> int:
        line = drawn[row, left : left + BARS].astype(int)
        return int((line == np.round(255 * np.array(to_rgb(colour)))).all(1).sum())

    for number, stage in enumerate(stages):
        bar, thin = TOP + STEP * number + 45, TOP + STEP * number + 71
        assert length(bar, GOOD) == pytest.approx(BARS * stage.good / most, abs=1)
        assert length(bar, BAD) == pytest.approx(BARS * stage.bad / most, abs=1)
        assert length(thin, FOUND) == pytest.approx(BARS * stage.found, abs=1)


@pytest.mark.parametrize("name", ["stability ≥ 1.00", "NMS: IoU ≤ 1.00"])
def test_the_longest_words_fit_beside_the_picture(name):
    words = in_words(FilterStage(name, 3072, 0, 1.0), judged=True)
    assert ImageFont.truetype(FONT, LETTERS).getlength(words) <= BARS


def test_every_slider_changes_the_picture():
    explorer = explore_filters(IMAGE, LOGITS, GUESSES, truths=TRUTHS, start=SETTING)
    for slider, name in zip(explorer.children[0].children, ("guess", "stability", "overlap"), strict=True):
        before, words = shown(explorer), repr(explorer)
        slider.value += 0.01
        assert getattr(explorer, name) == slider.value
        assert repr(explorer) != words and (shown(explorer) != before).any()
    assert repr(explorer).startswith("FilterExplorer: all: 39 masks, ")
    assert set(explorer._repr_mimebundle_()) >= {"text/plain", "image/png"}


def test_nothing_left_is_a_picture_too():
    explorer = explore_filters(IMAGE, LOGITS, GUESSES.clamp(max=0.9), start=(1.0, 1.0, 0.0))
    assert "guess ≥ 1.00: 0 masks" in repr(explorer)
    assert "all: 0 masks" in repr(explore_filters(IMAGE, LOGITS[:0], GUESSES[:0], truths=TRUTHS[:0]))


def test_settings_stand_below_each_other(candidates):
    figure = draw_thresholds(IMAGE, LOGITS, GUESSES, {"loose": (0.0, 0.0, 1.0), "strict": SETTING}, truths=TRUTHS)
    left = len(candidates.steps(*SETTING)[-1])
    assert [figure.axes[place].get_title() for place in (0, 3)] == ["loose: 39 masks", f"strict: {left} masks"]
    assert [stage.good for stage in candidates.stages(*SETTING)] == [
        bar.get_width() for bar in figure.axes[4].patches[::2]
    ]


def test_768_masks_are_answered_at_once():
    logits = blobs(768, (96, 96))
    explorer = explore_filters(torch.rand(3, 96, 96), logits, torch.rand(768), start=(0.0, 0.0, 1.0))
    times = []
    for value in (0.99, 0.98, 0.97):
        begun = time.process_time()
        explorer.overlap = value
        times.append(1000 * (time.process_time() - begun))
    assert min(times) < LIMIT


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (lambda: Candidates(IMAGE, LOGITS[:, :4], GUESSES), r"logits is \(40, 4, 36\); expected \(M, 24, 36\)"),
        (lambda: Candidates(IMAGE, LOGITS, GUESSES, truths=TRUTHS[0]), r"truths is \(24, 36\)"),
        (lambda: Candidates(IMAGE, LOGITS, GUESSES[:3]), r"guesses is \(3,\); expected \(40,\)"),
        (lambda: explore_filters(IMAGE, LOGITS, GUESSES, start=(0.5, 1.5, 0.5)), r"start is \(0.5, 1.5, 0.5\)"),
        (lambda: draw_thresholds(IMAGE, LOGITS, GUESSES, {}), "settings is empty"),
    ],
)
def test_bad_input_is_named(draw, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw()
