"""Cut a region out of a feature map, and round nothing."""

from collections.abc import Callable
from functools import partial

import torch
import torchvision
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.exercises.lessons.lesson_12.bilinear_sample import bilinear_sample
from lib.ops import roi


def roi_align_one(feature: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    """The course's own, `lib.ops.roi.roi_align`, for one map and one box."""
    return roi.roi_align(feature[None], [box[None]], output_size, spatial_scale, sampling_ratio=2, aligned=True)[0]


def cases() -> list[Case]:
    named = {
        "a box of 38 × 22 pixels, stride 8, 2 × 2 bins": ((1, 6, 8), [9, 13, 47, 35], 2, 1 / 8),
        "a box with fractions of pixels, 3 × 3 bins": ((3, 8, 8), [10.5, 21.25, 52.75, 60.6], 3, 1 / 8),
        "the upper left corner of the picture": ((2, 6, 6), [0, 0, 21, 13], 3, 1 / 8),
        "the right lower corner of the picture": ((2, 6, 7), [30, 35, 56, 48], 4, 1 / 8),
        "a box smaller than a cell, stride 16": ((2, 6, 6), [41, 50, 46, 57], 2, 1 / 16),
        "a box larger than its bins have points, stride 4": ((2, 16, 16), [3, 5, 61, 58], 2, 1 / 4),
        "one bin": ((2, 6, 8), [12, 9, 33, 40], 1, 1 / 8),
    }
    return [
        Case.from_truth(
            label,
            (random_values(*shape, seed=seed), torch.tensor(box, dtype=torch.float32), bins, scale),
            by_torchvision,
            gradients_of=("feature",),
        )
        for seed, (label, (shape, box, bins, scale)) in enumerate(named.items())
    ]


def by_torchvision(
    feature: Tensor, box: Tensor, output_size: int, spatial_scale: float, aligned: bool = True
) -> Tensor:
    return torchvision.ops.roi_align(feature[None], [box[None]], output_size, spatial_scale, 2, aligned)[0]


def cut(
    feature: Tensor,
    box: Tensor,
    output_size: int,
    spatial_scale: float,
    cells: Callable[[Tensor], Tensor] = lambda cells: cells,
    at: tuple[float, ...] = (0.25, 0.75),
    together: Callable[[Tensor], Tensor] = lambda read: read.mean(dim=(2, 4)),
) -> Tensor:
    """`roi_align_one` with its decisions open.

    Args:
        cells: from the box in cells (4,) to the one that is cut.
        at: where in a bin its points lie.
        together: from the points' values (C, bins, points, bins, points) to the result.
    """
    region = cells(box * spatial_scale)  # (4,)
    steps = torch.arange(output_size)[:, None] + torch.tensor(at)  # (bins, points)
    x, y = (start + steps.flatten() * side / output_size for start, side in zip(region[:2], region[2:] - region[:2]))
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")  # (bins · points, bins · points) each
    read = bilinear_sample(feature, grid_x.flatten(), grid_y.flatten())  # (C, all points)
    return together(read.view(len(feature), output_size, len(at), output_size, len(at)))


def edge_to_edge(feature: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    left, top, right, bottom = (box * spatial_scale).tolist()
    x, y = torch.linspace(left, right, 2 * output_size), torch.linspace(top, bottom, 2 * output_size)
    read = bilinear_sample(feature, x.repeat(len(y)), y.repeat_interleave(len(x)))  # (C, all points)
    return read.view(len(feature), output_size, 2, output_size, 2).mean(dim=(2, 4))


MISTAKES = [
    Mistake(
        "rounded to whole cells",
        "You rounded the box to whole cells, as RoI pooling does. Here nothing is rounded: a region may begin at 1.1 "
        "cells.",
        wrong=partial(cut, cells=torch.round),
    ),
    Mistake(
        "rounded down to whole cells",
        "You cut the decimals off the box in cells. Here nothing is rounded: a region may begin at 1.1 cells.",
        wrong=partial(cut, cells=torch.floor),
    ),
    Mistake(
        "box not scaled",
        "You took pixels for cells. A box of 40 pixels is 5 cells wide on a map of stride 8.",
        wrong=lambda feature, box, output_size, spatial_scale: cut(feature, box, output_size, 1.0),
    ),
    Mistake(
        "one point in the middle",
        "You read one point in the middle of each bin. Asked are 2 × 2 points a bin, and their mean.",
        wrong=partial(cut, at=(0.5,)),
    ),
    Mistake(
        "points in the bin's corners",
        "You read each bin at its four corners, so that neighbours share their points. Evenly spread means at ¼ and ¾ "
        "of the bin.",
        wrong=partial(cut, at=(0.0, 1.0)),
    ),
    Mistake(
        "points at thirds",
        "Your points lie at ⅓ and ⅔ of each bin. Each stands for a half of the bin, and lies in *its* middle, at ¼ and "
        "¾.",
        wrong=partial(cut, at=(1 / 3, 2 / 3)),
    ),
    Mistake(
        "points of two rows mixed up",
        "You took the points in fours, in the order in which they lie. A bin's four points are not neighbours there: "
        "two are in one row of points, two in the next.",
        wrong=partial(cut, together=lambda read: read.reshape(*read.shape[:2], -1, 4).mean(dim=3)),
    ),
    Mistake(
        "points from edge to edge",
        "Your points are spread from one edge of the region to the other, both included. The first lies a quarter of a "
        "bin inside.",
        wrong=edge_to_edge,
    ),
    Mistake(
        "points at 0 and ½",
        "Your points lie at 0 and ½ of each bin: all too far left and up. Each stands for a half of the bin, and lies "
        "in *its* middle, at ¼ and ¾.",
        wrong=partial(cut, at=(0.0, 0.5)),
    ),
    Mistake(
        "half a cell off, to the left and up",
        "You took half a cell away from the box, and `bilinear_sample` takes it away once more. Places in cells are "
        "what it asks for.",
        wrong=partial(cut, cells=lambda cells: cells - 0.5),
    ),
    Mistake(
        "half a cell off, to the right and down",
        "You added half a cell to the box. Places in cells are what `bilinear_sample` asks for: it takes the half cell "
        "away itself.",
        wrong=partial(cut, cells=lambda cells: cells + 0.5),
    ),
    Mistake(
        "not aligned",
        "That is the first version of RoIAlign (`aligned=False`): half a cell too far right and down, and no region "
        "smaller than a cell.",
        wrong=partial(by_torchvision, aligned=False),
    ),
    Mistake(
        "maximum instead of mean",
        "You keep the largest of a bin's points. It should be their mean.",
        wrong=partial(cut, together=lambda read: read.amax(dim=(2, 4))),
    ),
    Mistake(
        "every point returned",
        "You return every point: 2n × 2n. It should be one number a bin, the mean of its four points.",
        wrong=partial(cut, together=lambda read: read.flatten(3).flatten(1, 2)),
    ),
]

EXERCISE = Exercise(
    name="roi_align_one",
    reference=roi_align_one,
    cases=cases,
    takes={"feature": Kind.MAP, "box": Kind.BOXES},
    gives=Kind.MAP,
    mistakes=MISTAKES,
    picture=compare_maps,
)
