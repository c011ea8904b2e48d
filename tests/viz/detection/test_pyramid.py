import pytest
import torch
from matplotlib.colors import to_rgba

from lib.viz.detection.pyramid import draw_anchor_sizes, draw_levels, draw_pyramid, draw_size_levels, level_colour

STRIDES = (4, 8, 16)
IMAGE = torch.full((3, 96, 96), 0.5)
BOXES = torch.tensor([[10.0, 10, 20, 20], [30.0, 30, 50, 50], [5.0, 40, 45, 90]])
LEVELS = torch.tensor([0, 1, 2])


def pyramid():
    return [torch.rand(24, 24), torch.rand(12, 12), torch.rand(6, 6)]


def widths(axis):
    return [patch.get_xy()[1, 0] - patch.get_xy()[0, 0] for patch in axis.patches]


def test_a_pyramid_has_the_maps_themselves_as_wide_as_their_cells_and_none_covers_another():
    maps = pyramid()
    figure = draw_pyramid({"before": maps, "after": [one + 1 for one in maps]}, STRIDES)
    assert [axis.get_title() for axis in figure.axes] == ["before", "after"]
    for axis in figure.axes:
        assert widths(axis) == pytest.approx([24, 12, 6])
        corners = [patch.get_xy()[:, 1] for patch in axis.patches]
        assert all(low.max() < high.min() for low, high in zip(corners, corners[1:]))
        assert [text.get_text() for text in axis.texts] == [
            "stride 4\n24 × 24",
            "stride 8\n12 × 12",
            "stride 16\n6 × 6",
        ]
        low, high = axis.get_xlim()
        assert all(low <= x <= high for patch in axis.patches for x in patch.get_xy()[:, 0])
    torch.testing.assert_close(torch.as_tensor(figure.axes[0].images[1].get_array()), maps[1])


def test_the_upper_row_of_a_map_is_drawn_at_the_back():
    axis = draw_pyramid({"one": [torch.rand(4, 4)]}, (8,)).axes[0]
    place = axis.images[0].get_transform() - axis.transData
    (first_x, first_y), (last_x, last_y) = place.transform([(0, 0), (0, 4)])
    assert first_y > last_y and first_x > last_x


def test_boxes_have_the_colours_of_their_levels_and_the_truth_is_dotted():
    figure = draw_levels(IMAGE, {"all": (BOXES, LEVELS), "none": (BOXES[:0], LEVELS[:0])}, STRIDES, BOXES[:1])
    first, second = figure.axes
    colours = [patch.get_edgecolor() for patch in first.patches]
    assert [to_rgba(level_colour(level)) in colours for level in range(3)] == [True] * 3
    assert [patch.get_linestyle() for patch in second.patches].count(":") == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["stride 4", "stride 8", "stride 16"]


def test_sizes_are_drawn_by_level_and_the_area_is_the_same_all_along_a_border():
    axis = draw_size_levels(BOXES, LEVELS, (16, 32), STRIDES).axes[0]
    assert [dots.get_offsets().tolist() for dots in axis.collections] == [[[10, 10]], [[20, 20]], [[40, 50]]]
    for line, border in zip(axis.lines, (16, 32), strict=True):
        torch.testing.assert_close(torch.as_tensor(line.get_xydata()).prod(1).float(), torch.full((400,), border**2.0))


def test_anchor_sizes_stand_as_lines_on_a_log_axis_and_every_thing_is_counted():
    sides = torch.tensor([5.0, 12, 12.5, 20, 60])
    axis = draw_anchor_sizes(((8, 10, 12), (16, 20, 25), (32, 40, 50)), sides, STRIDES).axes[0]
    assert axis.get_xscale() == "log" and sum(bar.get_height() for bar in axis.patches) == len(sides)
    drawn = [line[0, 0] for lines in axis.collections for line in lines.get_segments()]
    assert drawn == [8, 10, 12, 16, 20, 25, 32, 40, 50]
    colours = [tuple(lines.get_color()[0]) for lines in axis.collections]
    assert colours == [to_rgba(level_colour(level)) for level in range(3)]


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: draw_pyramid({}, STRIDES), "columns"),
        (lambda: draw_pyramid({"a": pyramid()[:2]}, STRIDES), "columns"),
        (lambda: draw_pyramid({"a": [one[None] for one in pyramid()]}, STRIDES), "columns"),
        (lambda: draw_levels(IMAGE, {}, STRIDES), "found"),
        (lambda: draw_levels(IMAGE, {"a": (BOXES, LEVELS[:2])}, STRIDES), "found"),
        (lambda: draw_levels(IMAGE, {"a": (BOXES, LEVELS + 1)}, STRIDES), "found"),
        (lambda: draw_size_levels(BOXES[:0], LEVELS[:0], (16, 32), STRIDES), "boxes"),
        (lambda: draw_size_levels(BOXES, LEVELS, (16,), STRIDES), "boxes"),
        (lambda: draw_anchor_sizes(((8,),), torch.ones(3), STRIDES), "sizes"),
        (lambda: draw_anchor_sizes(((8,), (16,), (32,)), torch.zeros(3), STRIDES), "sides"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        call()
