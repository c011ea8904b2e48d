import pytest
import torch
from torchvision.ops import roi_pool

from lib.viz.detection.roi_grid import draw_roi_grid, pooled_bins

IMAGE = torch.full((3, 96, 96), 0.5)


@pytest.mark.parametrize("seed", range(6))
def test_the_bins_are_those_that_roi_pooling_reads(seed):
    torch.manual_seed(seed)
    corner = 40 * torch.rand(2)
    box = torch.cat([corner, corner + 10 + 40 * torch.rand(2)])
    cells = torch.randn(1, 1, 12, 12)
    _, bins = pooled_bins(box, 8, 3, quantised=True)
    by_hand = [cells[0, 0, top:bottom, left:right].max() for left, top, right, bottom in (bins / 8).int().tolist()]
    torch.testing.assert_close(torch.stack(by_hand), roi_pool(cells, [box[None]], 3, 1 / 8).flatten())


def test_without_rounding_the_bins_fill_the_box_exactly():
    box = torch.tensor([3.0, 5, 33, 25])
    region, bins = pooled_bins(box, 8, 2, quantised=False)
    assert region.tolist() == box.tolist()
    assert bins.tolist() == [[3, 5, 18, 15], [18, 5, 33, 15], [3, 15, 18, 25], [18, 15, 33, 25]]


def test_the_picture_says_how_far_each_edge_moved_and_the_legend_what_is_what():
    figure = draw_roi_grid(IMAGE, torch.tensor([3.0, 5, 33, 25]), 8, 2)
    assert figure.axes[0].get_title() == "edges moved, in pixels: left -3, top +3, right +7, bottom +7"  # 3 -> 0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "the region asked for",
        "the cells that are read",
        "2 × 2 bins",
    ]
    figure = draw_roi_grid(IMAGE, torch.tensor([3.0, 5, 33, 25]), 8, 2, quantised=False)
    assert figure.axes[0].get_title() == "nothing is rounded"
    points = figure.axes[0].lines[0].get_xydata()
    assert len({tuple(point) for point in points.tolist()}) == 16 and points.min(0).tolist() == [6.75, 7.5]


@pytest.mark.parametrize(
    "arguments, named",
    [((torch.zeros(1, 4), 8, 2), "box"), ((torch.zeros(4), 0, 2), "stride"), ((torch.zeros(4), 8, 0), "output_size")],
)
def test_bad_input_is_named(arguments, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        draw_roi_grid(IMAGE, *arguments)
