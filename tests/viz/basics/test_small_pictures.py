"""Glow, tables of numbers and sliding windows: what they show, and what they refuse."""

import numpy as np
import pytest
import torch

from lib.ops.receptive_field import ReceptiveField, Window
from lib.viz.basics.heatmaps import draw_glow
from lib.viz.basics.numbers import PAGE, exact, show_numbers
from lib.viz.basics.sliding import draw_sliding


def _shown(axis):
    return np.asarray(axis.images[0].get_array())


def test_the_glow_is_where_the_heat_is():
    heat = torch.full((4, 4), -1.0)
    heat[1, 2] = 5
    figure = draw_glow(torch.full((3, 16, 16), 0.5), {"thing": heat})
    glowing = _shown(figure.axes[1]).sum(axis=2)
    bright = glowing > glowing.min() + 0.1
    assert bright[4:8, 8:12].all() and bright.sum() == 16
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["thing, highest 5.0"]


def test_cells_lie_around_the_middle_of_what_they_see():
    cells = ReceptiveField(size=7, stride=4, start=0)  # middles 3.5, 7.5, 11.5 ...: cell 1 is columns 5.5 to 9.5
    heat = torch.full((4, 4), -1.0)
    heat[1, 1] = 5
    glowing = _shown(draw_glow(torch.full((3, 16, 16), 0.5), {"thing": heat}, cells=cells).axes[1]).sum(axis=2)
    bright = glowing > glowing.min() + 0.1
    assert bright[6:9, 6:9].all() and not bright[:5].any() and not bright[10:].any()
    heat = torch.zeros(4, 4)
    heat[0] = 1
    glowing = _shown(draw_glow(torch.full((3, 16, 16), 0.5), {"thing": heat}, cells=cells).axes[1]).sum(axis=2)
    assert (glowing[:5, 0] > glowing.min() + 0.1).all()  # the first row reaches to the picture's edge


def test_a_map_without_a_positive_score_does_not_glow():
    glowing = _shown(draw_glow(torch.full((3, 8, 8), 0.5), {"nothing": -torch.ones(2, 2)}).axes[1])
    assert np.ptp(glowing) == 0


def test_a_wide_picture_is_drawn_above_its_glow():
    upper, lower = draw_glow(torch.rand(3, 8, 32), {"thing": torch.rand(2, 8)}).axes
    assert upper.get_position().y0 > lower.get_position().y1


def test_numbers_stand_in_their_cells():
    figure = show_numbers({"a": torch.tensor([[1.0, -2.5]]), "b": torch.zeros(2, 2)}, highlight=(0, 1))
    first = figure.axes[0]
    assert {text.get_position(): text.get_text() for text in first.texts} == {(0, 0): "1", (1, 0): "-2.5"}
    assert [axis.get_title() for axis in figure.axes] == ["a", "b"]
    assert first.patches[0].get_xy() == (pytest.approx(0.56), pytest.approx(-0.44))


@pytest.mark.parametrize(
    "number, text",
    [(0.5625, "0.5625"), (3.75, "3.75"), (1.25, "1.25"), (-2.0, "-2"), (-0.0, "0"), (0.1, "0.1"), (120.0, "120")]
    + [(1 / 3, "0.333"), (-2 / 3, "-0.667"), (1234.5678, "1235"), (0.015625, "0.0156")],
)
def test_a_number_is_exact_where_four_decimals_hold_it(number, text):
    assert exact(torch.tensor(number).item()) == text


def test_no_table_is_wider_than_the_page_and_all_cells_are_of_one_size():
    figure = show_numbers({"a": torch.full((9, 9), 0.5625), "b": torch.zeros(10, 10), "long title": torch.ones(1, 1)})
    width, height = figure.get_size_inches()
    assert width <= PAGE
    boxes = [axis.get_position() for axis in figure.axes]
    cells = [box.width * width / columns for box, columns in zip(boxes, (9, 10, 1))]
    assert cells == pytest.approx([cells[0]] * 3)
    assert boxes[1].y1 < boxes[0].y0 and boxes[2].y1 == pytest.approx(boxes[1].y1)  # two rows
    figure.canvas.draw()
    for axis in figure.axes:
        inside = axis.get_window_extent()
        assert all(
            text.get_window_extent().width < inside.width / axis.images[0].get_array().shape[1] for text in axis.texts
        )


def test_the_window_stands_where_the_formula_says():
    figure = draw_sliding(7, Window(3, stride=2, padding=1))
    bars = [line.get_xdata() for line in figure.axes[0].lines]
    assert [round(float(bar[0] - 0.1)) for bar in bars] == [-1, 1, 3, 5]
    assert all(round(float(bar[1] - bar[0] + 0.2)) == 3 for bar in bars)


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: draw_glow(torch.zeros(8, 8), {"a": torch.zeros(2, 2)}), "picture"),
        (lambda: draw_glow(torch.zeros(3, 8, 8), {}), "heats"),
        (lambda: draw_glow(torch.zeros(3, 8, 8), {"a": torch.zeros(1, 2, 2)}), "heats"),
        (lambda: show_numbers({}), "arrays"),
        (lambda: show_numbers({"a": torch.zeros(3)}), "arrays"),
        (lambda: show_numbers({"a": torch.zeros(3, 13)}), "arrays"),
        (lambda: draw_sliding(2, Window(3)), "height"),
        (lambda: draw_sliding(9, Window(3, dilation=2)), "window"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        call()
