"""The arithmetic of windows against PyTorch itself."""

import itertools

import pytest
import torch
from torch import nn

from lib.ops.receptive_field import ReceptiveField, Window, feature_size, receptive_field

STACKS = [
    [],
    [Window(3)],
    [Window(3, 2, 1), Window(2, 2), Window(3, 1, 1)],
    [Window(5, 2, 2, 1), Window(3, 1, 2, 2), Window(3, 3)],
    [Window(1, 2), Window(4, 2, 1), Window(3, 1, 3, 3)],
]


def as_network(layers: list[Window]) -> nn.Sequential:
    network = nn.Sequential(*(nn.Conv2d(1, 1, *layer, bias=False) for layer in layers)).double()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 1.0)  # nothing can cancel
    return network


@pytest.mark.parametrize("layers", STACKS)
def test_feature_size_is_what_pytorch_gives(layers: list[Window]) -> None:
    for height, width in itertools.product((40, 41, 43), (57, 64)):
        output = as_network(layers)(torch.zeros(1, 1, height, width, dtype=torch.double))
        assert feature_size(height, width, layers) == tuple(output.shape[2:])


@pytest.mark.parametrize("layers", STACKS)
def test_receptive_field_is_where_the_gradient_is(layers: list[Window]) -> None:
    field = receptive_field(layers)
    picture = torch.ones(1, 1, 60, 60, dtype=torch.double, requires_grad=True)
    output = as_network(layers)(picture)
    row, column = output.shape[2] // 2, output.shape[3] // 2
    (gradient,) = torch.autograd.grad(output[0, 0, row, column], picture)
    touched = gradient[0, 0].nonzero()
    assert touched[0].tolist() == [field.span(row)[0], field.span(column)[0]]
    assert touched[-1].tolist() == [field.span(row)[1], field.span(column)[1]]
    # the next cell sees the same, one stride further
    (gradient,) = torch.autograd.grad(as_network(layers)(picture)[0, 0, row - 1, column], picture)
    assert gradient[0, 0].nonzero()[0, 0] == touched[0, 0] - field.stride


def test_worked_by_hand() -> None:
    assert receptive_field([]) == ReceptiveField(size=1, stride=1, start=0)
    assert receptive_field([Window(3, 2, 1), Window(3, 2, 1)]) == ReceptiveField(size=7, stride=4, start=-3)
    assert feature_size(224, 225, [Window(3, 2, 1)] * 5) == (7, 8)


@pytest.mark.parametrize(
    "bad, named",
    [
        (Window(0), "layers[0].kernel is 0"),
        (Window(3, 0), "layers[0].stride"),
        (Window(3, 1, -1), "layers[0].padding"),
        (Window(3, 1, 0, 0), "layers[0].dilation"),
        (Window(2.5), "layers[0].kernel is 2.5"),
        (3, "layers[0] is 3"),
    ],
)
def test_bad_layers_are_named(bad: object, named: str) -> None:
    for call in (lambda: receptive_field([bad]), lambda: feature_size(8, 8, [bad])):
        with pytest.raises(ValueError) as error:
            call()
        assert named in str(error.value)


def test_bad_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="height is 0"):
        feature_size(0, 8, [])
    with pytest.raises(ValueError, match=r"width: .* layers\[1\] spans 5 cells, but its padded input has 4"):
        feature_size(20, 4, [Window(1), Window(3, dilation=2)])
