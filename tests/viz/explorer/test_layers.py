"""What is sent of a map: levels and ranges give the numbers back, pieces add up, places are right."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from lib.viz.explorer.activations import FeatureMap
from lib.viz.explorer.arranging import evenly
from lib.viz.explorer.geometry import Axis
from lib.viz.explorer.layers import NO_NUMBER, TABLE, TOP, Layer, quantise

RANDOM = np.random.default_rng(0)


def numbers(levels: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    share = levels.astype(np.float64) / TOP
    return low[:, None, None] + share * (high.astype(np.float64) - low)[:, None, None]


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e4, 1e38])
def test_levels_give_the_numbers_back(scale: float) -> None:
    values = (RANDOM.normal(size=(5, 6, 7)) * scale).astype(np.float32)
    levels, low, high = quantise(values)
    step = (high.astype(np.float64) - low)[:, None, None] / TOP
    assert (np.abs(numbers(levels, low, high) - values) <= 0.501 * step).all()
    assert (levels.min((1, 2)) == 0).all() and (levels.max((1, 2)) == TOP).all()


def test_what_is_no_number_has_a_level_of_its_own() -> None:
    values = np.ones((3, 2, 2), np.float32)
    values[0, 0] = [np.nan, np.inf]
    values[0, 1] = [2, 4]
    values[1] = -np.inf
    levels, low, high = quantise(values)
    assert levels.tolist() == [[[255, 255], [0, 254]], [[255, 255], [255, 255]], [[0, 0], [0, 0]]]
    assert (low.tolist(), high.tolist()) == ([2, 0, 1], [4, 0, 1])
    assert TABLE.shape == (256, 3) and (TABLE[NO_NUMBER] == 128).all()


def test_pieces_add_up_and_begin_with_the_strongest() -> None:
    values = torch.randn(40, 220, 300, generator=torch.Generator().manual_seed(0)).half()
    values[33] *= 2
    layer = Layer(FeatureMap("deep", values, evenly(220, 300, 440, 600), False, []))
    head = layer.head()
    assert (layer.piece, head["order"][0], head["first"]) == (15, 33, 0)
    sent = head["levels"] + b"".join(layer.part(first, 15)["levels"] for first in (15, 30))
    levels = np.frombuffer(sent, np.uint8).reshape(40, 220, 300)
    assert np.array_equal(levels, layer.quantised[0][head["order"]])
    assert layer.column(3, 5)["column"] == layer.quantised[0][:, 3, 5].tobytes()


def test_head_says_where_cells_lie_and_what_they_see() -> None:
    layer = Layer(FeatureMap("deep", torch.rand(2, 4, 3), evenly(4, 3, 8, 9), False, []))
    head = layer.head()
    assert (head["y"], head["x"]) == ([0.0, 2.0], [0.0, 3.0])
    assert head["rows"] == [(0, 8)] * 4 and head["columns"] == [(0, 9)] * 3


def test_cell_at_a_place_is_the_one_that_lies_there() -> None:
    axis = Axis(Fraction(2), Fraction(-1), Fraction(1))  # middles at 0, 2, 4: cells begin at -0.5, 1.5, 3.5
    assert [axis.edge(cell) for cell in range(3)] == [-0.5, 1.5, 3.5]
    assert [axis.cell_at(pixels, 3) for pixels in (-9, 0, 1.4, 1.6, 3.6, 99)] == [0, 0, 0, 1, 2, 2]
