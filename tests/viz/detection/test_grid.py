"""The pictures of the grid show what they say: whose cell, which gradient, which anchor."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from lib.viz.detection.boxes import class_colour
from lib.viz.detection.grid import draw_cells, draw_learning, draw_pair, draw_sizes
from lib.viz.detection.grid_explorer import explore_grid

IMAGE = torch.full((3, 96, 96), 0.5)
BOXES = torch.tensor([[2.0, 2, 20, 20], [20.0, 8, 40, 22], [60.0, 60, 90, 90]])  # middles (11, 11), (30, 15), (75, 75)
LABELS = torch.tensor([1, 2, 5])


def filled(axis):
    """Corner, side and colour of each cell that is filled."""
    patches = [patch for patch in axis.patches if isinstance(patch, Rectangle) and patch.get_fill()]
    return [(patch.get_xy(), patch.get_width(), to_hex(patch.get_facecolor()).upper()) for patch in patches]


def test_the_cell_with_a_things_middle_has_its_colour():
    fine, coarse = draw_cells(IMAGE, BOXES, LABELS, strides=(8, 32)).axes
    assert [cell[0] for cell in filled(fine)] == [(8, 8), (24, 8), (72, 72)]
    assert [cell[2] for cell in filled(fine)] == [class_colour(label) for label in (1, 2, 5)]
    assert [cell[:2] for cell in filled(coarse)] == [((0, 0), 32), ((64, 64), 32)]  # the second thing got none
    markers = [line.get_marker() for line in coarse.lines if line.get_marker() in ("o", "X")]
    assert markers == ["o", "X", "o"]


def test_the_answer_can_be_left_out_for_a_prediction():
    (axis,) = draw_cells(IMAGE, BOXES, LABELS, owned=False).axes
    assert not filled(axis)


def test_what_does_not_learn_is_grey():
    slopes = torch.zeros(4, 4, 3)
    slopes[1, 2, 0], slopes[..., 1], slopes[3, 3, 1] = -2.0, 0.1, 5.0
    figure = draw_learning(slopes, ("x", "confidence", "class"))
    masks = [np.ma.getmaskarray(axis.images[0].get_array()) for axis in figure.axes[:3]]
    assert masks[0].sum() == 15 and not masks[0][1, 2] and not masks[1].any() and masks[2].all()


def test_the_better_box_of_a_cell_is_thick():
    pair = torch.tensor([[0.0, 0, 10, 10], [2.0, 2, 30, 30]])
    figure = draw_pair(IMAGE, {"step 0": pair}, BOXES[0], {"step 0": torch.tensor([0.2, 0.6])})
    widths = [patch.get_linewidth() for patch in figure.axes[0].patches]
    assert widths[3] > widths[1]  # each box is a halo and a line; the truth comes last, on top
    assert len(widths) == 6 and figure.axes[0].patches[-1].get_linestyle() == ":"
    assert {text.get_text() for text in figure.axes[0].texts} == {"box 1: 0.20", "box 2: 0.60"}


def test_sizes_have_the_colour_of_their_group_and_anchors_are_drawn():
    sizes, groups = torch.tensor([[10.0, 12], [40.0, 60], [12.0, 9]]), torch.tensor([0, 1, 0])
    figure = draw_sizes(sizes, groups, ("small", "large"), torch.tensor([[11.0, 11], [40.0, 60]]))
    small, large = figure.axes[0].collections
    assert len(small.get_offsets()) == 2 and len(large.get_offsets()) == 1
    assert [list(line.get_xdata()) for line in figure.axes[0].lines[1::2]] == [[0, 11, 11], [0, 40, 40]]


def test_the_block_is_counted():
    explorer = explore_grid(IMAGE, BOXES, LABELS, row=2, column=3)
    assert explorer.count() == 12 * 12 * 15 and "2,160" in repr(explorer)
    explorer.cells, explorer.classes = 7, 20
    assert explorer.count() == 1470 == 7 * 7 * 30  # the paper's
    explorer.version, explorer.per_cell = "2017", 5
    assert explorer.count() == 7 * 7 * 125 and len(explorer.names()) == 125
    explorer.row = 15
    assert explorer.cell() == (6, 3)
    assert [name for name, _ in explorer.names()][:6] == [
        f"{name} of anchor 1" for name in ("tx", "ty", "tw", "th", "confidence")
    ] + ["sphere, anchor 1"]


def test_a_control_draws_anew():
    explorer = explore_grid(IMAGE, BOXES, LABELS)
    before = explorer._picture.value
    explorer.children[0].children[0].value = 6  # the slider of S
    assert explorer.cells == 6 and explorer._picture.value != before
    assert "image/png" in explorer._repr_mimebundle_()


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: draw_cells(IMAGE, BOXES[0], LABELS), "boxes"),
        (lambda: draw_cells(IMAGE, BOXES, LABELS, strides=()), "strides"),
        (lambda: draw_learning(torch.zeros(4, 4, 3), ("x",)), "slopes"),
        (lambda: draw_sizes(torch.zeros(4), torch.zeros(4), ("a",)), "sizes"),
        (lambda: draw_sizes(torch.ones(2, 2), torch.tensor([0, 1]), ("a",)), "names"),
        (lambda: explore_grid(IMAGE[:, :50], BOXES, LABELS), "image"),
        (lambda: explore_grid(IMAGE, BOXES, LABELS, cells=2), "cells"),
        (lambda: explore_grid(IMAGE, BOXES, LABELS, row=12), "row"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        call()
