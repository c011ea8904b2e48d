"""What a map says between the middles of its cells."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_values


def bilinear_sample(feature: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The course's own: four cells around each point, mixed along the row and then along the column."""
    height, width = feature.shape[1:]
    across, down = (x - 0.5).clamp(0, width - 1), (y - 0.5).clamp(0, height - 1)  # (P,) counted from the first middle
    left, top = across.long(), down.long()  # (P,) the cell before; nothing is negative here
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)  # (P,)
    to_right, to_bottom = across - left, down - top  # (P,) 0..1
    upper = feature[:, top, left] * (1 - to_right) + feature[:, top, right] * to_right  # (C, P)
    lower = feature[:, bottom, left] * (1 - to_right) + feature[:, bottom, right] * to_right  # (C, P)
    return upper * (1 - to_bottom) + lower * to_bottom


def cases() -> list[Case]:
    named = {
        "three points between the middles of 3 × 4 cells": ((1, 3, 4), [1.2, 2.9, 1.75], [0.9, 1.7, 2.1]),
        "points in the middles of cells": ((2, 3, 4), [0.5, 3.5, 1.5], [0.5, 2.5, 1.5]),
        "points before the first middles": ((2, 4, 3), [0.2, 0.1, 1.3], [1.8, 0.3, 0.2]),
        "points behind the last middles": ((2, 4, 3), [2.9, 2.6, 1.3], [2.2, 3.8, 3.9]),
        "points beyond the rim": ((2, 3, 5), [-1.3, 6.4, 2.2], [1.2, -2.1, 4.6]),
        "many points, three channels": ((3, 5, 7), torch.linspace(0.1, 6.9, 12).tolist(), [2.6, 0.7, 4.4, 1.9] * 3),
        "a map of one row": ((2, 1, 4), [0.9, 2.3], [0.5, 0.8]),
    }
    return [
        Case.from_truth(
            label, (random_values(*shape, seed=seed), torch.tensor(x), torch.tensor(y)), by_grid_sample, ("feature",)
        )
        for seed, (label, (shape, x, y)) in enumerate(named.items())
    ]


def by_grid_sample(feature: Tensor, x: Tensor, y: Tensor, padding: str = "border") -> Tensor:
    """The truth. `F.grid_sample` counts from −1, the left edge of the map, to 1, its right edge."""
    height, width = feature.shape[1:]
    grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], dim=1)[None, None]  # (1, 1, P, 2)
    return F.grid_sample(feature[None], grid, "bilinear", padding, align_corners=False)[0, :, 0]  # (C, P)


def mixed(
    feature: Tensor,
    x: Tensor,
    y: Tensor,
    middle: float = 0.5,
    near: bool = True,
    clamped: bool = True,
    last: int = 0,
    first: int = 0,
) -> Tensor:
    """`bilinear_sample` with its decisions open.

    Args:
        middle: where in its cell a value belongs.
        near: whether the nearer cell counts more.
        clamped: whether points, and not only cells, are taken to the outermost middles.
        last: how many cells a neighbour may lie beyond the last one.
        first: how many cells before the last one the cell before a point must lie.
    """
    height, width = feature.shape[1:]
    across, down = x - middle, y - middle
    if clamped:
        across, down = across.clamp(0, width - 1), down.clamp(0, height - 1)
    left = across.floor().long().clamp(0, max(width - 1 - first, 0))
    top = down.floor().long().clamp(0, max(height - 1 - first, 0))
    right, bottom = (left + 1).clamp(max=width - 1 + last), (top + 1).clamp(max=height - 1 + last)
    u, v = (across - left, down - top) if near else (1 - (across - left), 1 - (down - top))
    upper = feature[:, top, left] * (1 - u) + feature[:, top, right] * u
    return upper * (1 - v) + (feature[:, bottom, left] * (1 - u) + feature[:, bottom, right] * u) * v


def unclamped(feature: Tensor, x: Tensor, y: Tensor) -> Tensor:
    left, top = (x - 0.5).floor().long(), (y - 0.5).floor().long()
    u, v = x - 0.5 - left, y - 0.5 - top
    upper = feature[:, top, left] * (1 - u) * (1 - v) + feature[:, top, left + 1] * u * (1 - v)
    return upper + feature[:, top + 1, left] * (1 - u) * v + feature[:, top + 1, left + 1] * u * v


def corners_exchanged(feature: Tensor, x: Tensor, y: Tensor) -> Tensor:
    height, width = feature.shape[1:]
    across, down = (x - 0.5).clamp(0, width - 1), (y - 0.5).clamp(0, height - 1)
    left, top = across.long(), down.long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    u, v = across - left, down - top
    ends = feature[:, top, left] * (1 - u) * (1 - v) + feature[:, bottom, right] * u * v
    return ends + feature[:, top, right] * (1 - u) * v + feature[:, bottom, left] * u * (1 - v)


def mean_of_the_four(feature: Tensor, x: Tensor, y: Tensor) -> Tensor:
    height, width = feature.shape[1:]
    left, top = (x - 0.5).clamp(0, width - 1).long(), (y - 0.5).clamp(0, height - 1).long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    upper, lower = (feature[:, row, left] + feature[:, row, right] for row in (top, bottom))  # (C, P) each
    return (upper + lower) / 4


def in_the_middle(place: Tensor) -> Tensor:
    return place.floor() + 0.5


MISTAKES = [
    Mistake(
        "half a cell off",
        "You took a cell's value to belong to its upper left corner. It belongs to its middle: the value of column 0 "
        "lies at x = 0.5.",
        wrong=partial(mixed, middle=0.0),
    ),
    Mistake(
        "x taken for rows",
        "You used x along the rows. A map is (C, h, w): y chooses the row, x the column, and the column comes last.",
        wrong=lambda feature, x, y: bilinear_sample(feature, y, x),
    ),
    Mistake(
        "the cell instead of a mix",
        "You return the value of the cell in which the point lies, or of the nearest middle, which is the same. Asked "
        "is a mix of the four middles around the point.",
        wrong=lambda feature, x, y: bilinear_sample(feature, in_the_middle(x), in_the_middle(y)),
    ),
    Mistake(
        "the mean of the four",
        "You took the plain mean of the four cells. The nearer one is, the more it counts.",
        wrong=mean_of_the_four,
    ),
    Mistake(
        "the far cell counts more",
        "Your weights are exchanged: of two cells, the one that is *further* away counts more. On a middle the value "
        "must be that cell's own.",
        wrong=partial(mixed, near=False),
    ),
    Mistake(
        "two of the four exchanged",
        "You gave the right upper cell the weight of the left lower one, or took the one for the other. To the right "
        "is a larger *column*.",
        wrong=corners_exchanged,
    ),
    Mistake(
        "mixed along the rows alone",
        "You mixed left and right, and took the row in which the point lies. Mix upper and lower, too.",
        wrong=lambda feature, x, y: bilinear_sample(feature, x, in_the_middle(y)),
    ),
    Mistake(
        "mixed along the columns alone",
        "You mixed upper and lower, and took the column in which the point lies. Mix left and right, too.",
        wrong=lambda feature, x, y: bilinear_sample(feature, in_the_middle(x), y),
    ),
    Mistake(
        "beyond the middles it goes on",
        "Right inside. Beyond the outermost middles you continue the slope between the last two cells. Clamp the "
        "*point*, not only the cells: there is the rim's value.",
        wrong=partial(mixed, clamped=False),
    ),
    Mistake(
        "beyond the middles it goes on, on both sides",
        "Right inside. Beyond the outermost middles you continue the slope between the last two cells. Clamp the "
        "*point*, not only the cells: there is the rim's value.",
        wrong=partial(mixed, clamped=False, first=1),
    ),
    Mistake(
        "the last cell's neighbour",
        "You read a cell behind the last one. A point on the outermost middle, or beyond it, has no cell further on: "
        "clamp that one, too.",
        wrong=partial(mixed, last=1),
    ),
    Mistake(
        "nothing clamped",
        "Points beyond the outermost middles have no four middles around them. You read column −1, which Python takes "
        "for the last one, or one behind the last. Clamp.",
        wrong=unclamped,
    ),
    Mistake(
        "zeros beyond the rim",
        "You let the map fade to 0 beyond its outermost middles. It should be the value of the rim.",
        wrong=partial(by_grid_sample, padding="zeros"),
    ),
]

EXERCISE = Exercise(name="bilinear_sample", reference=bilinear_sample, cases=cases, mistakes=MISTAKES)
