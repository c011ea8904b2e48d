import numpy as np
import pytest
import torch

from lib.viz.engine.filters import FilterStage, draw_funnel, draw_score_against_iou

STAGES = [FilterStage("all", 30, 70, 0.8), FilterStage("sure", 20, 5, 0.625), FilterStage("no duplicates", 0, 0, 0.0)]


def test_bars_are_as_long_as_their_counts():
    bars, shares = draw_funnel(STAGES).axes
    widths = [bar.get_width() for bar in bars.patches]
    assert widths == [30, 70, 20, 5, 0, 0] and [bar.get_x() for bar in bars.patches[1::2]] == [30, 20, 0]
    assert [text.get_text() for text in bars.texts] == [
        "100, 30 good (30.0%)",
        "25, 20 good (80.0%)",
        "0, 0 good (0.0%)",
    ]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["all", "sure", "no duplicates"]
    assert shares.lines[0].get_xydata().tolist() == [[0.8, 0], [0.625, 1], [0, 2]]
    assert [text.get_text() for text in shares.texts] == ["80.0%", "62.5%", "0.0%"]
    assert bars.get_ylim() == shares.get_ylim() == (2.5, -0.5)


def test_without_shares_there_is_no_second_plot():
    assert len(draw_funnel([FilterStage("all", 1, 2)]).axes) == 1


def test_every_mask_lies_in_a_cell_and_means_are_those_of_a_step():
    generator = torch.Generator().manual_seed(0)
    scores, ious = torch.rand(200, generator=generator), torch.rand(200, generator=generator)
    figure = draw_score_against_iou({"guess": (scores, 0.5), "stability": (scores.square(), 0.25)}, ious)
    first, second, bar = figure.axes
    for axis in (first, second):
        assert axis.collections[0].get_array().sum() == 200
    assert first.collections[0].norm.vmax == second.collections[0].norm.vmax
    kept = scores >= 0.5
    below, above = (f"{int(w.sum())} masks, {100 * (ious[w] >= 0.7).double().mean():.1f}% good" for w in (~kept, kept))
    assert first.get_title() == f"below 0.5: {below}\nfrom 0.5 on: {above}"
    assert second.get_title() == f"below 0.25: {below}\nfrom 0.25 on: {above}"
    x, mean = first.lines[0].get_data()
    assert np.allclose(x, np.arange(10) / 10 + 0.05)
    step = (scores >= 0.3) & (scores < 0.4)
    assert mean[3] == pytest.approx(ious[step].mean().item(), abs=1e-6)
    assert [axis.get_xlabel() for axis in (first, second)] == ["guess", "stability"]


def test_scores_beyond_the_axis_and_empty_steps_are_drawn():
    axis = draw_score_against_iou({"guess": (torch.tensor([-0.1, 1.2]), 2.0)}, torch.tensor([0.0, 1.0])).axes[0]
    assert axis.lines[0].get_xdata().tolist() == pytest.approx([0.05, 0.95])
    assert axis.get_title() == "below 2: 2 masks, 50.0% good\nfrom 2 on: 0 masks"
    assert axis.collections[0].get_array().sum() == 2


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (lambda: draw_funnel([]), "stages is empty"),
        (lambda: draw_funnel([FilterStage("a", -1, 0)]), "stages has FilterStage"),
        (lambda: draw_funnel([FilterStage("a", 1, 0, 1.5)]), "stages has FilterStage"),
        (lambda: draw_score_against_iou({}, torch.zeros(2)), "scores is empty"),
        (lambda: draw_score_against_iou({"g": (torch.zeros(3), 0.5)}, torch.zeros(2)), r"g has scores \(3,\)"),
        (lambda: draw_score_against_iou({"g": (torch.zeros(0), 0.5)}, torch.zeros(0)), r"g has scores \(0,\)"),
    ],
)
def test_bad_input_is_named(draw, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw()
