"""How many pixels one cell sees, and how far neighbouring cells are apart."""

from collections.abc import Callable

import torch
from torch import nn

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.kinds import Kind
from lib.ops import receptive_field as geometry
from lib.ops.receptive_field import Window


def size_and_step(layers: list[Window]) -> tuple[int, int]:
    """`lib.ops.receptive_field.receptive_field` without the place of the first cell, which is not asked for."""
    size, step, _ = geometry.receptive_field(layers)
    return size, step


def cases() -> list[Case]:
    return [
        Case(label, (layers,), field_by_gradient(layers))
        for label, layers in (
            ("a stride of 3, then two 3×3 layers", [Window(3, 3), Window(3), Window(3)]),
            ("one 3×3 layer", [Window(3)]),
            ("two 3×3 layers, the second with a stride of 2", [Window(3, 1, 1), Window(3, 2, 1)]),
            ("a stride in the second of three layers", [Window(3), Window(3, 2), Window(3)]),
            ("strides everywhere", [Window(7, 2, 3), Window(2, 2), Window(3, 2, 1), Window(5, 2)]),
            ("1×1 layers see nothing new", [Window(3), Window(1), Window(1)]),
            ("no layers", []),
        )
    ]


def field_by_gradient(layers: list[Window]) -> tuple[int, int]:
    """The truth: real one-dimensional layers full of ones, and the pixels that two neighbouring cells react to."""
    row = torch.ones(1, 1, 120, dtype=torch.float64, requires_grad=True)
    cells = row
    for layer in layers:
        conv = nn.Conv1d(1, 1, layer.kernel, layer.stride, bias=False, dtype=torch.float64)
        nn.init.ones_(conv.weight)
        cells = conv(cells)
    first, second = (
        torch.autograd.grad(cells[0, 0, cell], row, retain_graph=True)[0][0, 0].nonzero()[:, 0] for cell in (3, 4)
    )
    return len(first), int(second[0] - first[0])


def field_growing_by(grow: Callable, layers: list[Window]) -> tuple[int, int]:
    """A rule for the growth of the field, carried through all layers: `grow(size, step, layer)` is the new size."""
    size, step = 1, 1
    for layer in layers:
        size, step = grow(size, step, layer), step * layer.stride
    return size, step


def strides_added(layers: list[Window], less: int = 0) -> tuple[int, int]:
    """`step += stride - less` where `step *= stride` belongs."""
    size, step = 1, 1
    for layer in layers:
        size, step = size + (layer.kernel - 1) * step, step + layer.stride - less
    return size, step


def step_with(combine: Callable, layers: list[Window]) -> tuple[int, int]:
    """The right size, with another rule for the step."""
    return size_and_step(layers)[0], combine([layer.stride for layer in layers])


EXERCISE = Exercise(
    name="receptive_field",
    reference=size_and_step,
    cases=cases,
    gives=(Kind.COUNT, Kind.COUNT),
    mistakes=[
        Mistake(
            "size and step swapped",
            "Right numbers, wrong order: first the size, then the step.",
            wrong=lambda layers: size_and_step(layers)[::-1],
        ),
        Mistake(
            "stride not multiplied in",
            "Your size grows by kernel − 1 at every layer, as if all cells were one pixel apart. After a "
            "stride they are further apart, and each gap counts as many pixels.",
            wrong=lambda layers: field_growing_by(lambda size, step, layer: size + layer.kernel - 1, layers),
        ),
        Mistake(
            "kernel added instead of kernel − 1",
            "A kernel of 3 reaches over 2 gaps, not 3: the cell that you start from is already counted.",
            wrong=lambda layers: field_growing_by(lambda size, step, layer: size + layer.kernel * step, layers),
        ),
        Mistake(
            "own stride counted too early",
            "You multiplied the step by a layer's stride before using it for that same layer's kernel. The kernel "
            "works on its input, whose cells are still as far apart as before.",
            wrong=lambda layers: field_growing_by(
                lambda size, step, layer: size + (layer.kernel - 1) * step * layer.stride, layers
            ),
        ),
        Mistake(
            "padding counted in",
            "Padding adds zeros around the picture. It changes where the first cell looks, not how much a cell sees.",
            wrong=lambda layers: field_growing_by(
                lambda size, step, layer: size + (layer.kernel - 1 + 2 * layer.padding) * step, layers
            ),
        ),
        Mistake(
            "strides added to the first step",
            "Your step grows by each stride: 1 + 2 + 2. Two strides of 2 take you 4 pixels on. Strides multiply.",
            wrong=lambda layers: step_with(lambda strides: 1 + sum(strides), layers),
        ),
        Mistake(
            "step and stride added",
            "You add each stride to the step (`step += stride`), and the size grows wrongly with it. Strides multiply.",
            wrong=strides_added,
        ),
        Mistake(
            "step and stride − 1 added",
            "You add each stride, less 1, to the step, and the size grows wrongly with it. Strides multiply.",
            wrong=lambda layers: strides_added(layers, less=1),
        ),
        Mistake(
            "strides added up",
            "The step is wrong: two strides of 2 take you 4 pixels on, and three of them 8. Strides multiply.",
            wrong=lambda layers: step_with(lambda strides: sum(strides) or 1, layers),
        ),
        Mistake(
            "only the last stride",
            "The step is the last layer's stride in cells of the layer before it. In pixels, all strides "
            "on the way count.",
            wrong=lambda layers: step_with(lambda strides: strides[-1] if strides else 1, layers),
        ),
        Mistake(
            "last stride left out",
            "Your step is that of the cells which the last layer reads. Its own stride moves its cells apart as well.",
            wrong=lambda layers: (size_and_step(layers)[0], size_and_step(layers[:-1])[1]),
        ),
    ],
)
