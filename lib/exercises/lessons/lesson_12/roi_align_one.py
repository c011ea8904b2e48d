"""RoIAlign for one region: four points a bin, read between the cells."""

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.ops import roi


def roi_align_one(feature: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    """The course's own road, `lib.ops.roi.roi_align`, for one picture and one box."""
    return aligned(feature, box, output_size, spatial_scale)


def aligned(feature: Tensor, box: Tensor, bins: int, scale: float, points: int = 2, middles: bool = True) -> Tensor:
    return roi.roi_align(feature[None], [box[None]], bins, scale, points, aligned=middles)[0]


def cases() -> list[Case]:
    named = {
        "a region of 2.5 × 1.5 cells in 2 × 2 bins": ((1, 6, 6), [12, 20, 32, 32], 2, 1 / 8),
        "one bin": ((2, 6, 6), [9, 13, 30, 37], 1, 1 / 8),
        "a region of 7.1 × 4.2 cells in 3 × 3 bins": ((3, 12, 12), [9.2, 25, 66, 58.6], 3, 1 / 8),
        "a small region in 5 × 5 bins": ((2, 12, 12), [41, 50.5, 49, 57], 5, 1 / 8),
        "a region that ends at the picture's edge": ((2, 12, 12), [60, 30, 96, 96], 3, 1 / 8),
        "a map of 6 × 9 cells, stride 16": ((2, 6, 9), [17, 20, 120, 74], 3, 1 / 16),
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


def by_torchvision(feature, box, output_size, spatial_scale):
    regions = [box[None]]
    return torchvision.ops.roi_align(feature[None], regions, output_size, spatial_scale, 2, aligned=True)[0]


@mistake("scale forgotten", "You took pixels for cells. Multiply the box by `spatial_scale` first.")
def scale_forgotten(feature, box, output_size, spatial_scale):
    return aligned(feature, box, output_size, 1.0)


@mistake(
    "half a cell off",
    "You read everything half a cell too far right and down. Is half a cell subtracted twice, or not at all? "
    "`bilinear_sample` takes places in cells, where the first middle is at 0.5.",
)
def half_a_cell_off(feature, box, output_size, spatial_scale):
    return aligned(feature, box + 0.5 / spatial_scale, output_size, spatial_scale)


@mistake(
    "half a cell off, the other way",
    "You read everything half a cell too far left and up: `bilinear_sample` subtracts the half cell already.",
)
def subtracted_twice(feature, box, output_size, spatial_scale):
    return aligned(feature, box - 0.5 / spatial_scale, output_size, spatial_scale)


@mistake("rounded to whole cells", "You rounded the region to whole cells. Here nothing is rounded.")
def rounded(feature, box, output_size, spatial_scale):
    return aligned(feature, (box * spatial_scale).round(), output_size, 1.0)


@mistake("rounded down to whole cells", "You rounded the region down to whole cells. Here nothing is rounded.")
def rounded_down(feature, box, output_size, spatial_scale):
    return aligned(feature, (box * spatial_scale).floor(), output_size, 1.0)


@mistake("one point a bin", "You read each bin at one point, its middle. Four are asked for, and their mean.")
def one_point(feature, box, output_size, spatial_scale):
    return aligned(feature, box, output_size, spatial_scale, points=1)


def _read(feature: Tensor, box: Tensor, bins: int, scale: float, places: Tensor) -> Tensor:
    """Points at `places` (bins · 2,), 0 at the left or upper edge, 1 at the other: (C, 2 · bins, 2 · bins)."""
    left, top, right, bottom = box * scale
    rows, columns = top + places * (bottom - top), left + places * (right - left)
    height, width = feature.shape[1:]
    grid = torch.stack(torch.meshgrid(2 * columns / width - 1, 2 * rows / height - 1, indexing="xy"), dim=2)
    return F.grid_sample(feature[None], grid[None], padding_mode="border", align_corners=False)[0]


@mistake(
    "points from edge to edge",
    "Your points are spread from the region's one edge to its other, both included. The first one lies a quarter of a "
    "bin inside.",
)
def edge_to_edge(feature, box, output_size, spatial_scale):
    values = _read(feature, box, output_size, spatial_scale, torch.linspace(0, 1, 2 * output_size))
    return F.avg_pool2d(values, 2)


@mistake(
    "points at the bins' upper left corners",
    "Your points begin at the upper left corner of the region, at 0 and a half of each bin. They are at a quarter and "
    "at three quarters.",
)
def upper_left(feature, box, output_size, spatial_scale):
    places = torch.arange(2 * output_size) / (2 * output_size)
    return F.avg_pool2d(_read(feature, box, output_size, spatial_scale, places), 2)


@mistake("the largest of the points", "You keep the largest of a bin's four points. RoIAlign takes their mean.")
def largest(feature, box, output_size, spatial_scale):
    places = (torch.arange(2 * output_size) + 0.5) / (2 * output_size)
    return F.max_pool2d(_read(feature, box, output_size, spatial_scale, places), 2)


@mistake("the sum of the points", "You add up a bin's four points. RoIAlign takes their mean.")
def added_up(feature, box, output_size, spatial_scale):
    return 4 * aligned(feature, box, output_size, spatial_scale)


@mistake(
    "rows and columns exchanged", "Your cut-out is mirrored at its diagonal: the rows come first, then the columns."
)
def turned(feature, box, output_size, spatial_scale):
    return aligned(feature, box, output_size, spatial_scale).mT


EXERCISE = Exercise(
    name="roi_align_one",
    reference=roi_align_one,
    cases=cases,
    takes={"feature": Kind.MAP, "box": Kind.BOXES},
    gives=Kind.MAP,
    mistakes=[
        scale_forgotten, half_a_cell_off, subtracted_twice, rounded, rounded_down, one_point, edge_to_edge, upper_left,
        largest, added_up, turned,
    ],
    picture=compare_maps,
)  # fmt: skip
