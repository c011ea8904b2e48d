import pytest
import torch
from matplotlib.colors import to_hex

from lib.viz.engine.stability import HIGH, LOW, draw_grid, draw_stability

IMAGE = torch.rand(3, 12, 18, generator=torch.Generator().manual_seed(0))
STEPS = torch.linspace(-4, 4, 17).repeat(9, 1)  # (9, 17): columns from -4 to 4, half a logit apart
SHARP = torch.where(STEPS > 0, 5.0, -5.0)


def test_scores_and_counts_are_those_of_the_thresholds():
    figure = draw_stability(torch.stack([SHARP, STEPS]), 1.0, ["sharp", "soft"])
    sharp, soft, bar = figure.axes
    assert sharp.get_title() == "sharp\nstability 72 / 72 pixels = 1.0000"
    assert soft.get_title() == "soft\nstability 54 / 90 pixels = 0.6000"  # 6 columns above 1, 10 above -1
    assert "logit" in bar.get_ylabel()


def test_borders_lie_where_the_logits_cross_their_level():
    soft, _ = draw_stability(STEPS[None], 1.0).axes
    for contour, colour, column in zip(soft.collections, (LOW, HIGH, "#000000"), (6.5, 10.5, 8.5), strict=True):
        assert to_hex(contour.get_edgecolor()[0]).upper() == colour
        assert contour.get_paths()[0].vertices[:, 0] == pytest.approx(column)  # of the column's middle
    assert soft.images[0].get_clim() == (-6, 6)


def test_a_mask_without_border_is_drawn_too():
    axis, _ = draw_stability(torch.full((1, 4, 5), -3.0), 1.0).axes
    assert not axis.collections and axis.get_title() == "stability 0 / 0 pixels = 0.0000"


def test_the_grid_lies_where_its_points_are():
    points = torch.tensor([[4.5, 3.0], [13.5, 3.0], [4.5, 9.0], [13.5, 9.0]])
    (axis,) = draw_grid(IMAGE, points).axes
    assert axis.lines[0].get_xydata().tolist() == points.tolist()
    assert (axis.get_xlim(), axis.get_ylim()) == ((0, 18), (12, 0)) and axis.get_title().startswith("4 points")


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (lambda: draw_grid(IMAGE, torch.zeros(2)), r"points is \(2,\)"),
        (lambda: draw_stability(STEPS, 1.0), r"logits is \(9, 17\)"),
        (lambda: draw_stability(STEPS[None][:0], 1.0), r"logits is \(0, 9, 17\)"),
        (lambda: draw_stability(STEPS[None], -1.0), "offset is -1.0"),
        (lambda: draw_stability(STEPS[None], 1.0, ["a", "b"]), "titles has 2 entries; expected 1"),
    ],
)
def test_bad_input_is_named(draw, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw()
