"""The anchors of one level: nine at every cell, three sizes times three shapes."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.kinds import Kind
from lib.models.retinanet import nine_anchors
from lib.ops.anchors import cell_anchors, grid_anchors

RATIOS = (0.5, 1.0, 2.0)  # height / width


def level_anchors(base: int, stride: int, height: int, width: int) -> Tensor:
    """The course's own, one level of `lib.models.retinanet.nine_anchors`."""
    (sizes,) = nine_anchors((base,)).sizes
    return grid_anchors(cell_anchors(sizes, RATIOS), (height, width), (stride, stride))


def cases() -> list[Case]:
    named = {
        "two rows of three cells, stride 4, base 8": (8, 4, 2, 3),
        "a tall map, stride 8, base 16": (16, 8, 3, 2),
        "one cell, stride 16, base 32": (32, 16, 1, 1),
        "one row, stride 5, base 12": (12, 5, 1, 4),
    }
    return [Case(label, numbers, by_torchvision(*numbers)) for label, numbers in named.items()]


def by_torchvision(base: int, stride: int, height: int, width: int) -> Tensor:
    """The truth. RetinaNet's three sizes there are written out in this way too."""
    generator = AnchorGenerator(((base, int(base * 2 ** (1.0 / 3)), int(base * 2 ** (2.0 / 3))),), (RATIOS,))
    generator.set_cell_anchors(torch.float32, torch.device("cpu"))
    return generator.grid_anchors([(height, width)], [[torch.tensor(stride), torch.tensor(stride)]])[0]


def laid(
    base: int,
    stride: int,
    height: int,
    width: int,
    factors: tuple[float, ...] = (1, 2 ** (1 / 3), 2 ** (2 / 3)),
    whole: Callable[[float], float] = math.floor,
    powers: tuple[float, float] = (-0.5, 0.5),
    corners: Callable[[Tensor], Tensor] = torch.round,
    place: Callable[[Tensor, int], Tensor] = torch.mul,
    order: tuple[int, ...] = (0, 1, 2, 3),
) -> Tensor:
    """`level_anchors` with its decisions open.

    Width and height are the size times these `powers` of the ratio; `order` is that of row, column, ratio and size.
    """
    sizes = [whole(base * factor) for factor in factors]
    sides = [[[size * ratio**power for power in powers] for size in sizes] for ratio in RATIOS]
    halves = torch.tensor(sides) / 2  # (3, 3, 2)
    around_zero = corners(torch.cat([-halves, halves], dim=2))  # (ratios, sizes, 4)
    cells = torch.tensor([[(column, row) for column in range(width)] for row in range(height)])  # (height, width, 2)
    anchors = place(cells, stride).repeat(1, 1, 2)[:, :, None, None] + around_zero  # (height, width, ratios, sizes, 4)
    return anchors.permute(*order, 4).reshape(-1, 4)


MISTAKES = [
    Mistake(
        "only one size",
        "Three anchors at each cell: one size in three shapes. There are three sizes: `base`, and two larger ones.",
        wrong=partial(laid, factors=(1,)),
    ),
    Mistake(
        "sizes made of the stride",
        "Your sizes grow from `stride`. It is how far apart the anchors stand; how large they are, `base` says.",
        wrong=lambda base, stride, *cells: laid(stride, stride, *cells),
    ),
    Mistake(
        "whole octaves",
        "Your sizes are `base`, 2 · `base` and 4 · `base`: these belong to the next two levels. Three sizes lie evenly "
        "*within* one octave: base · 2^(i/3).",
        wrong=partial(laid, factors=(1, 2, 4)),
    ),
    *(
        Mistake(
            name,
            f"Python reads `2 ** {i} / 3` as (2 ** {i}) / 3, and some of your anchors are smaller than `base`. Put the "
            "exponent in parentheses.",
            wrong=partial(laid, factors=(first, 2 / 3, 4 / 3)),
        )
        for name, i, first in (("power before division", 1, 1), ("power before division, three times", "i", 1 / 3))
    ),
    Mistake(
        "one step too large",
        "Your sizes begin with base · ∛2, and end with the next level's first one. The first of the three is `base` "
        "itself: i counts from 0.",
        wrong=partial(laid, factors=(2 ** (1 / 3), 2 ** (2 / 3), 2)),
    ),
    Mistake(
        "rounded too early",
        "Your three sizes are equal: ∛2 and ∛4, rounded down, are 1. Multiply by `base` first.",
        wrong=partial(laid, factors=(1, 1, 1)),
    ),
    Mistake(
        "thirds added",
        "Your sizes grow by a third of `base` each. They grow by a *factor*, ∛2: then the next level begins one more "
        "such step further.",
        wrong=partial(laid, factors=(1, 4 / 3, 5 / 3)),
    ),
    Mistake(
        "half octaves",
        "Your factors are 1, √2 and 2, and the last size is the next level's first one again. The factor is ∛2.",
        wrong=partial(laid, factors=(1, 2**0.5, 2)),
    ),
    Mistake(
        "sizes rounded to the nearest",
        "You rounded the sizes to the nearest whole number: 12.7 became 13. It should be rounded *down*.",
        wrong=partial(laid, whole=round),
    ),
    Mistake(
        "sizes not rounded",
        "Right, but for a pixel here and there: you did not round the sizes down before you made shapes of them.",
        wrong=partial(laid, whole=float),
    ),
    Mistake(
        "sizes before ratios",
        "You list all ratios of the first size, then of the second. Asked are all sizes of the first *ratio* first.",
        wrong=partial(laid, order=(0, 1, 3, 2)),
    ),
    Mistake(
        "anchors before cells",
        "All the right boxes, in another order: yours goes through all cells with the first anchor, then with the "
        "second. It should be cell by cell, all nine anchors of it in a row.",
        wrong=partial(laid, order=(2, 3, 0, 1)),
    ),
    Mistake(
        "column by column",
        "All the right boxes, in another order: yours goes down the first column first. It should be row by row.",
        wrong=partial(laid, order=(1, 0, 2, 3)),
    ),
    Mistake(
        "x and y swapped",
        "Your anchors run down where they should run to the right. A *column* of the map is an x, a *row* is a y.",
        wrong=partial(laid, place=lambda cells, stride: cells.flip(2) * stride),
    ),
    Mistake(
        "ratio upside down",
        "Of the nine anchors of a cell, your first three are tall and your last three wide. The first ratio is ½, and "
        "a ratio is height / width: ½ is wide, 2 is tall.",
        wrong=partial(laid, powers=(0.5, -0.5)),
    ),
    Mistake(
        "area not kept",
        "Your anchors keep their width and change their height. All anchors of size s have the area s².",
        wrong=partial(laid, powers=(0, 1)),
    ),
    Mistake(
        "ratio without a root",
        "Your sides are s · r and s / r, so that height / width is r². Both want the *root* of r.",
        wrong=partial(laid, powers=(-1, 1)),
    ),
    Mistake(
        "twice too large",
        "Your anchors reach a whole width to the left and right of their middle. Half of it is enough.",
        wrong=partial(laid, corners=lambda around_zero: (2 * around_zero).round()),
    ),
    Mistake(
        "corners not rounded",
        "Right but for fractions of a pixel. Round the four numbers around (0, 0) to whole pixels.",
        wrong=partial(laid, corners=lambda around_zero: around_zero),
    ),
    Mistake(
        "halves rounded up",
        "Right, but for corners half between two pixels: yours went up. `torch.round` takes a half to the even number.",
        wrong=partial(laid, corners=lambda around_zero: (around_zero + 0.5).floor()),
    ),
    Mistake(
        "in the middle of the cells",
        "Your anchors are half a stride too far to the right and down. Here, as in lesson 08, cell (row, column) "
        "stands for the point (column · stride, row · stride).",
        wrong=partial(laid, place=lambda cells, stride: (cells + 0.5) * stride),
    ),
    Mistake(
        "stride forgotten",
        "Your anchors stand one pixel apart. One cell further is `stride` pixels further.",
        wrong=partial(laid, place=lambda cells, stride: cells),
    ),
]

EXERCISE = Exercise(
    name="level_anchors",
    reference=level_anchors,
    cases=cases,
    takes={"height": Kind.COUNT, "width": Kind.COUNT},
    gives=Kind.BOXES,
    mistakes=MISTAKES,
    picture=compare_boxes,
)
