"""Intersection over union of each box with each box."""

import torch
import torchvision
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_05._parts import inner_sides, overlap_cases
from lib.ops import boxes
from lib.ops.boxes import box_area, box_iou


def middle_as_corner(boxes: Tensor) -> Tensor:
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)


def cases() -> list[Case]:
    return overlap_cases(iou_by_torchvision)


def iou_by_torchvision(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return torchvision.ops.box_iou(boxes1, boxes2)


def shared(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return inner_sides(boxes1, boxes2).clamp(min=0).prod(-1)


def areas(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    return box_area(boxes1)[:, None], box_area(boxes2)[None]


@mistake(
    "a gap counted as overlap",
    "Boxes that lie apart get an IoU other than 0. The sides of their intersection come out negative, and "
    "negative times negative is positive. A negative side is a gap: nothing is shared.",
)
def gap_times_gap(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    both = inner_sides(boxes1, boxes2).prod(-1)
    first, second = areas(boxes1, boxes2)
    return both / (first + second - both)


@mistake(
    "gaps cut off too late",
    "Two boxes that lie apart in *both* directions still share something in your result: you cut off a "
    "negative area, but two negative sides had made it positive before. Cut off each side.",
)
def clamped_at_the_end(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    both = inner_sides(boxes1, boxes2).prod(-1).clamp(min=0)
    first, second = areas(boxes1, boxes2)
    return both / (first + second - both)


@mistake(
    "shared area counted twice in the union",
    "Your union is the sum of both areas. What lies in both boxes is in that sum twice, so equal boxes get "
    "0.5 instead of 1.",
)
def sum_of_areas(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    first, second = areas(boxes1, boxes2)
    return shared(boxes1, boxes2) / (first + second)


@mistake(
    "smallest and largest exchanged",
    "You took the box *around* both: the smaller of the left edges and the larger of the right ones. The intersection "
    "begins at the larger of the left edges and ends at the smaller of the right ones.",
)
def box_around(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    start, end = torch.minimum(boxes1[:, None, :2], boxes2[:, :2]), torch.maximum(boxes1[:, None, 2:], boxes2[:, 2:])
    around = (end - start).clamp(min=0).prod(-1)
    first, second = areas(boxes1, boxes2)
    return around / (first + second - around)


@mistake(
    "only the intersection",
    "You return the shared area. An IoU is that, divided by the area that both together cover.",
)
def intersection_only(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return shared(boxes1, boxes2)


@mistake(
    "divided by the smaller box",
    "A small box inside a large one gets 1, as if they were equal. The intersection is divided by what "
    "*both together* cover.",
)
def over_the_smaller(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return shared(boxes1, boxes2) / torch.minimum(*areas(boxes1, boxes2))


@mistake(
    "divided by the first box",
    "You divide by the area of one of the two boxes. Swap the boxes and you get another number: agreement"
    " should be the same from both sides.",
)
def over_the_first(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return shared(boxes1, boxes2) / areas(boxes1, boxes2)[0]


@mistake(
    "box by box instead of each with each",
    "You compared the first with the first, the second with the second. Wanted is a table: a row for each "
    "box of `boxes1`, a column for each of `boxes2`. A new axis makes it: `boxes1[:, None]`.",
)
def box_by_box(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    if len(boxes1) != len(boxes2) and 1 not in (len(boxes1), len(boxes2)):
        raise RuntimeError("sizes differ")
    return torch.stack([box_iou(a[None], b[None])[0, 0] for a, b in zip(boxes1, boxes2)])


@mistake(
    "divided by the second box",
    "You divide by the area of the second box. Swap the boxes and you get another number: agreement should be the same "
    "from both sides.",
)
def over_the_second(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return shared(boxes1, boxes2) / areas(boxes1, boxes2)[1]


@mistake(
    "divided by the box around",
    "You divide by the box around both boxes. The union is what the two cover, without the empty corners.",
)
def over_the_box_around(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    sides = torch.maximum(boxes1[:, None, 2:], boxes2[:, 2:]) - torch.minimum(boxes1[:, None, :2], boxes2[:, :2])
    return shared(boxes1, boxes2) / sides.prod(-1)


@mistake(
    "a gap taken for a side",
    "You took the absolute value of the sides of the intersection. A negative side is a gap: nothing is shared.",
)
def absolute_sides(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    both = inner_sides(boxes1, boxes2).abs().prod(-1)
    first, second = areas(boxes1, boxes2)
    return both / (first + second - both)


EXERCISE = Exercise(
    name="pairwise_iou",
    reference=boxes.box_iou,
    cases=cases,
    takes={"boxes1": Kind.BOXES, "boxes2": Kind.BOXES},
    gives=Kind.NUMBERS,
    mistakes=[
        box_around,
        intersection_only,
        gap_times_gap,
        clamped_at_the_end,
        sum_of_areas,
        over_the_smaller,
        over_the_first,
        box_by_box,
        over_the_second,
        over_the_box_around,
        absolute_sides,
    ],
)
