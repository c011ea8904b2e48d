"""The value of a map between its cells."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import random_uniform, random_values
from lib.exercises.engine.kinds import Kind


def bilinear_sample(feature: Tensor, x: Tensor, y: Tensor, half: float = 0.5) -> Tensor:
    """The course's own: mixed along the rows, then along the columns. `half`: where the middle of the first cell is."""
    height, width = feature.shape[1:]
    column, row = (x - half).clamp(0, width - 1), (y - half).clamp(0, height - 1)  # (P,)
    left, top = column.floor().long(), row.floor().long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    across, down = column - left, row - top  # (P,) 0..1
    above = feature[:, top, left] * (1 - across) + feature[:, top, right] * across  # (C, P)
    below = feature[:, bottom, left] * (1 - across) + feature[:, bottom, right] * across
    return above * (1 - down) + below * down


def cases() -> list[Case]:
    numbers = torch.tensor([[[10.0, 20.0, 50.0], [30.0, 70.0, 0.0]]])  # (1, 2, 3)
    drawn = [random_uniform(2, 12, seed=seed) for seed in (1, 2)]  # x and y, 0..1
    named = {
        "one point between the cells 10, 20, 30 and 70": (numbers, torch.tensor([1.25]), torch.tensor([0.75])),
        "middles of cells": (numbers, torch.tensor([0.5, 1.5, 2.5]), torch.tensor([0.5, 1.5, 0.5])),
        "twelve points in a map of 4 × 6": (random_values(3, 4, 6), 0.5 + drawn[0][0] * 5, 0.5 + drawn[0][1] * 3),
        "points beyond the outermost middles, and outside": (
            random_values(2, 5, 4, seed=1),
            drawn[1][0] * 6 - 1,
            drawn[1][1] * 7 - 1,
        ),
        "a map of one row": (random_values(2, 1, 5, seed=2), drawn[0][0] * 5, drawn[0][1]),
        "no point": (numbers, torch.zeros(0), torch.zeros(0)),
    }
    return [
        Case.from_truth(label, arguments, by_grid_sample, () if not len(arguments[1]) else ("feature",))
        for label, arguments in named.items()
    ]


def by_grid_sample(feature, x, y):
    """The truth: PyTorch's, whose places run from -1 at the left edge to 1 at the right."""
    height, width = feature.shape[1:]
    if not len(x):
        return feature.new_zeros(len(feature), 0)
    grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], dim=1)[None, None]  # (1, 1, P, 2)
    return F.grid_sample(feature[None], grid, padding_mode="border", align_corners=False)[0, :, 0]  # (C, P)


@mistake(
    "half a cell off",
    "You take a cell's value to belong to its upper left corner. It belongs to the middle: the first one is at 0.5.",
)
def corners(feature, x, y):
    return bilinear_sample(feature, x, y, half=0.0)


@mistake(
    "half a cell off, the other way", "You added half a cell where it must be subtracted: the first middle is 0.5."
)
def other_way(feature, x, y):
    return bilinear_sample(feature, x, y, half=-0.5)


@mistake("x and y exchanged", "`x` counts columns, the last axis of the map; `y` counts rows.")
def exchanged(feature, x, y):
    return bilinear_sample(feature, y, x)


@mistake("the nearest cell", "You read the nearest cell. Mix the four around the point.")
def nearest(feature, x, y):
    return feature[:, y.floor().long().clamp(0, feature.shape[1] - 1), x.floor().long().clamp(0, feature.shape[2] - 1)]


@mistake(
    "shares exchanged",
    "You give each cell the share of the one opposite: the *nearer* a cell is, the more it counts.",
)
def opposite(feature, x, y):
    height, width = feature.shape[1:]
    column, row = (x - 0.5).clamp(0, width - 1), (y - 0.5).clamp(0, height - 1)
    turned = [2 * one.floor() + 1 - one for one in (column, row)]  # as far from the other end
    turned = [torch.where(one == one.floor(), one + 1, new) for one, new in zip((column, row), turned)]
    return bilinear_sample(feature, turned[0] + 0.5, turned[1] + 0.5)


@mistake("the mean of the four", "You average the four cells around the point. The nearer one is, the more it counts.")
def mean_of_four(feature, x, y):
    height, width = feature.shape[1:]
    left, top = (x - 0.5).clamp(0, width - 1).floor().long(), (y - 0.5).clamp(0, height - 1).floor().long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    corners_of = [feature[:, row, column] for row in (top, bottom) for column in (left, right)]
    return sum(corners_of) / 4


@mistake("only along the rows", "You mix left and right, and take the upper row alone. Mix the two rows as well.")
def rows_alone(feature, x, y):
    return bilinear_sample(feature, x, (y - 0.5).clamp(min=0).floor() + 0.5)


@mistake("only along the columns", "You mix above and below, and take the left column alone. Mix both directions.")
def columns_alone(feature, x, y):
    return bilinear_sample(feature, (x - 0.5).clamp(min=0).floor() + 0.5, y)


@mistake(
    "zeros outside",
    "Right between the middles. Beyond the outermost ones you fade to 0; there the value of the rim goes on.",
)
def zeros_outside(feature, x, y):
    height, width = feature.shape[1:]
    if not len(x):
        return feature.new_zeros(len(feature), 0)
    grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], dim=1)[None, None]
    return F.grid_sample(feature[None], grid, padding_mode="zeros", align_corners=False)[0, :, 0]


@mistake(
    "goes on beyond the rim",
    "Right between the middles. Beyond the outermost ones you go on with the slope of the last two cells, because a "
    "share is below 0 or above 1. Limit `x` and `y` first.",
)
def extrapolated(feature, x, y):
    height, width = feature.shape[1:]
    left, top = (x - 0.5).floor().clamp(0, width - 1).long(), (y - 0.5).floor().clamp(0, height - 1).long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    across, down = x - 0.5 - left, y - 0.5 - top
    above = feature[:, top, left] * (1 - across) + feature[:, top, right] * across
    below = feature[:, bottom, left] * (1 - across) + feature[:, bottom, right] * across
    return above * (1 - down) + below * down


EXERCISE = Exercise(
    name="bilinear_sample",
    reference=bilinear_sample,
    cases=cases,
    takes={"feature": Kind.MAP},
    gives=Kind.NUMBERS,
    mistakes=[
        corners, other_way, exchanged, nearest, opposite, mean_of_four, rows_alone, columns_alone, zeros_outside,
        extrapolated,
    ],
)  # fmt: skip
