"""A box of the picture in cells of the feature map, rounded to whole cells."""

import torch
import torchvision
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.kinds import Kind

Cells = tuple[int, int, int, int]


def project_roi(box: Tensor, spatial_scale: float) -> Cells:
    """The course's own: the rounding of `lib.ops.roi.roi_pool`."""
    left, top, right, bottom = (box * spatial_scale + 0.5).floor().int().tolist()
    return left, top, right, bottom


def cases() -> list[Case]:
    named = {
        "a box of 37 × 21 pixels, stride 8": ([22, 34, 59, 55], 1 / 8),
        "a side at 43.6 pixels: 5.45 cells": ([3.6, 11.6, 43.6, 59.6], 1 / 8),
        "the whole picture, stride 8": ([0, 0, 96, 96], 1 / 8),
        "a box with fractions of pixels, stride 8": ([10.5, 41.25, 33.75, 70.5], 1 / 8),
        "a box with fractions of pixels, stride 5": ([2.5, 3.5, 7.6, 9.5], 1 / 5),
        "stride 16": ([30, 9, 90, 75], 1 / 16),
        "stride 4": ([9, 23, 33, 29], 1 / 4),
        "a box that starts at 20, and 20 / 8 is 2.5": ([20, 36, 52, 76], 1 / 8),
        "smaller than a cell, stride 16": ([41, 50, 45, 55], 1 / 16),
    }
    return [
        Case(label, (torch.tensor(box, dtype=torch.float32), scale), _cells_that_count(box, scale))
        for label, (box, scale) in named.items()
    ]


def _cells_that_count(box: list[float], scale: float) -> Cells:
    """The truth, asked of torchvision: cell by cell, does a 1 there show up when the box is pooled into one bin?"""
    side = 26
    one_each = torch.eye(side * side).view(1, side * side, side, side)  # channel c: a 1 at cell c
    pooled = torchvision.ops.roi_pool(one_each, [torch.tensor([box]).float()], 1, scale)  # (1, side², 1, 1)
    inside = pooled.view(side, side).nonzero()  # (cells, 2) row, column
    (top, left), (bottom, right) = inside.min(dim=0).values.tolist(), inside.max(dim=0).values.tolist()
    return left, top, right, bottom


@mistake(
    "rounded down",
    "You cut off the decimals: 7.4 and 7.9 both become 7. The paper's code rounds to the *nearest* whole number. "
    "(`int(...)` and `//` cut off too.)",
)
def rounded_down(box, spatial_scale):
    return tuple((box * spatial_scale).floor().int().tolist())


@mistake(
    "rounded outwards",
    "You round the start down and the end up. That comes later, for the bins. Here all four go to the "
    "nearest whole number.",
)
def rounded_outwards(box, spatial_scale):
    start, end = (box[:2] * spatial_scale).floor(), (box[2:] * spatial_scale).ceil()
    return tuple(torch.cat([start, end]).int().tolist())


@mistake(
    "divided by the scale",
    "Your cells lie far outside of the map. `spatial_scale` is cells per pixel, 1/8 for a stride of 8. Are "
    "there more cells than pixels, or fewer?",
)
def divided_by_the_scale(box, spatial_scale):
    return tuple((box / spatial_scale).round().int().tolist())


@mistake(
    "one cell too far",
    "Right and bottom are one too large. They are the last cell that still belongs to the region, not the "
    "first one behind it.",
)
def one_cell_further(box, spatial_scale):
    left, top, right, bottom = project_roi(box, spatial_scale)
    return left, top, right + 1, bottom + 1


@mistake(
    "last cell taken away",
    "Right and bottom are one too small. The cell in which the box ends belongs to the region.",
)
def one_cell_less(box, spatial_scale):
    left, top, right, bottom = project_roi(box, spatial_scale)
    return left, top, right - 1, bottom - 1


@mistake(
    "rows before columns",
    "You return top before left. Boxes are (x1, y1, x2, y2): x runs along the columns, and comes first.",
)
def rows_first(box, spatial_scale):
    left, top, right, bottom = project_roi(box, spatial_scale)
    return top, left, bottom, right


@mistake(
    "width and height",
    "Your last two numbers are a width and a height. Asked for are the right and the bottom cell.",
)
def width_and_height(box, spatial_scale):
    left, top, right, bottom = project_roi(box, spatial_scale)
    return left, top, right - left, bottom - top


@mistake(
    "a half to the even number",
    "Right, but for halves: you take 2.5 to 2 and 3.5 to 4. So do `round` in Python, in NumPy and in "
    "PyTorch: they take a half to the even number. Here a half goes up.",
)
def half_to_even(box, spatial_scale):
    return tuple((box * spatial_scale).round().int().tolist())


@mistake("rounded up", "You round all four up: 7.1 becomes 8. The paper's code rounds to the *nearest* whole number.")
def rounded_up(box, spatial_scale):
    return tuple((box * spatial_scale).ceil().int().tolist())


@mistake("a half down", "Right, but for halves: you take 2.5 to 2. Here a half goes up.")
def a_half_down(box, spatial_scale):
    return tuple((box * spatial_scale - 0.5).ceil().int().tolist())


EXERCISE = Exercise(
    name="project_roi",
    reference=project_roi,
    cases=cases,
    takes={"box": Kind.BOXES},
    gives=(Kind.COUNT,) * 4,
    mistakes=[
        rounded_down,
        rounded_outwards,
        divided_by_the_scale,
        one_cell_further,
        one_cell_less,
        rows_first,
        width_and_height,
        half_to_even,
        rounded_up,
        a_half_down,
    ],
)
