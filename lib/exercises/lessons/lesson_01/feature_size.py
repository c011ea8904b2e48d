"""Height and width of the map after a chain of layers."""

import math
from collections.abc import Callable

import torch
from torch import nn

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.kinds import Kind
from lib.ops import receptive_field as geometry
from lib.ops.receptive_field import Window


def cases() -> list[Case]:
    return [
        Case(label, (height, width, layers), size_by_running(height, width, layers))
        for label, height, width, layers in (
            ("one layer, no padding", 5, 9, [Window(3)]),
            ("one stride that does not fit evenly", 8, 12, [Window(3, 2)]),
            ("padding, and a picture wider than high", 7, 20, [Window(5, 2, 2)]),
            ("three layers", 34, 51, [Window(7, 2, 3), Window(4, 1), Window(2, 3)]),
            ("no layers", 4, 6, []),
        )
    ]


def size_by_running(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    """The truth: real layers, run on an empty picture."""
    picture = torch.zeros(1, 1, height, width)
    for layer in layers:
        picture = nn.Conv2d(1, 1, layer.kernel, layer.stride, layer.padding)(picture)
    return picture.shape[2], picture.shape[3]


def sizes_layer_by_layer(side_after: Callable, height: int, width: int, layers: list[Window]) -> tuple:
    """A size rule for one side and one layer, carried through all layers, as most wrong answers do it."""
    for layer in layers:
        height, width = side_after(height, layer), side_after(width, layer)
    return height, width


@mistake(
    "height and width swapped",
    "Right numbers, wrong order: height comes first, here and everywhere in PyTorch.",
)
def swapped_size(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return geometry.feature_size(width, height, layers)


@mistake(
    "rounded up",
    "When the last stride does not fit any more, it is not taken. You rounded up, and counted it.",
)
def rounded_up(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return sizes_layer_by_layer(
        lambda n, layer: math.ceil((n + 2 * layer.padding - layer.kernel) / layer.stride) + 1, height, width, layers
    )


@mistake(
    "padding counted once",
    "Padding is added at both ends of a row: 2 · padding pixels more.",
)
def padding_once(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return sizes_layer_by_layer(
        lambda n, layer: (n + layer.padding - layer.kernel) // layer.stride + 1, height, width, layers
    )


@mistake(
    "first place forgotten",
    "You counted the strides, not the places. A fence with five gaps has six posts: the "
    "kernel also stands at the very start.",
)
def first_place_forgotten(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return sizes_layer_by_layer(
        lambda n, layer: (n + 2 * layer.padding - layer.kernel) // layer.stride, height, width, layers
    )


@mistake(
    "1 added before dividing",
    "You added the first place before dividing by the stride. Strides are counted first; "
    "then the place at the start is added, whole.",
)
def one_added_too_early(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return sizes_layer_by_layer(
        lambda n, layer: (n + 2 * layer.padding - layer.kernel + 1) // layer.stride, height, width, layers
    )


@mistake(
    "kernel forgotten",
    "You divided by the stride and nothing else. The kernel itself needs room: its right edge must stay in the row.",
)
def kernel_forgotten(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return sizes_layer_by_layer(lambda n, layer: n // layer.stride, height, width, layers)


@mistake(
    "only the strides",
    "You divided by the stride and rounded up. That is right only where the padding makes up for the kernel.",
)
def only_strides(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return sizes_layer_by_layer(lambda n, layer: math.ceil(n / layer.stride), height, width, layers)


@mistake(
    "only the last layer",
    "Each layer slides over what the layer before it left. You used one layer only.",
)
def only_last(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return geometry.feature_size(height, width, layers[-1:])


@mistake(
    "from the last layer to the first", "You went through the layers backwards. The first in the list is the first."
)
def layers_reversed(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return geometry.feature_size(height, width, layers[::-1])


@mistake(
    "the height twice",
    "Both of your numbers are worked out from the height. The second is for the width.",
)
def height_twice(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return geometry.feature_size(height, height, layers)


@mistake(
    "rounded to the nearest",
    "You rounded to the nearest. A stride that does not fit any more is not taken: round down.",
)
def rounded_to_the_nearest(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return sizes_layer_by_layer(
        lambda n, layer: round((n + 2 * layer.padding - layer.kernel) / layer.stride) + 1, height, width, layers
    )


EXERCISE = Exercise(
    name="feature_size",
    reference=geometry.feature_size,
    cases=cases,
    takes={"height": Kind.COUNT, "width": Kind.COUNT},
    gives=(Kind.COUNT, Kind.COUNT),
    mistakes=[
        swapped_size,
        rounded_up,
        padding_once,
        first_place_forgotten,
        one_added_too_early,
        kernel_forgotten,
        only_strides,
        only_last,
        layers_reversed,
        height_twice,
        rounded_to_the_nearest,
    ],
)
