import math

import pytest
import torch

from lib.exercises.engine.map_pictures import compare_maps, png_of


@pytest.mark.parametrize(
    ("got", "expected", "panels"),
    [
        (torch.rand(4, 5), torch.rand(4, 5), 3),
        (torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5), 3),
        (torch.rand(5, 4), torch.rand(4, 5), 2),
        (torch.rand(1, 4, 5), torch.rand(4, 4, 5), 2),
        (torch.full((4, 5), math.nan), torch.rand(4, 5), 3),
        (torch.zeros(4, 5, dtype=torch.bool), torch.ones(4, 5, dtype=torch.bool), 3),
        (torch.arange(20).reshape(4, 5), torch.zeros(4, 5, dtype=torch.long), 3),
    ],
)
def test_maps_are_drawn(got, expected, panels):
    figure = compare_maps(got, expected, None)
    titled = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert len(titled) == panels and titled[0].startswith("yours") and titled[1].startswith("expected, 4×5")
    assert png_of(figure).startswith(b"\x89PNG")


def test_of_several_maps_the_worst_is_drawn():
    expected = torch.zeros(3, 2, 2)
    got = expected.clone()
    got[0, 0, 0], got[2, 1, 1] = 0.1, 5.0
    yours = compare_maps(got, expected, None).axes[0].images[0].get_array()
    assert yours.tolist() == got[2].tolist()


@pytest.mark.parametrize(
    "got", [3, None, "map", torch.rand(5), torch.rand(0, 5), [[1.0]], torch.ones(2, 2).to(torch.cfloat)]
)
def test_what_is_no_map_is_not_drawn(got):
    assert compare_maps(got, torch.rand(4, 5), None) is None
