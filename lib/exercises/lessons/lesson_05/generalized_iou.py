"""IoU minus what is empty in the smallest box around both."""

import torch
import torchvision
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_05._parts import inner_sides, overlap_cases
from lib.ops import boxes
from lib.ops.boxes import box_area, box_iou


def cases() -> list[Case]:
    return overlap_cases(giou_by_torchvision)


@mistake(
    "that is the IoU",
    "That is the plain IoU: 0 for all boxes that lie apart.",
)
def iou_by_torchvision(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return torchvision.ops.box_iou(boxes1, boxes2)


def giou_by_torchvision(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return torchvision.ops.generalized_box_iou(boxes1, boxes2)


def outer_area(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    sides = torch.maximum(boxes1[:, None, 2:], boxes2[:, 2:]) - torch.minimum(boxes1[:, None, :2], boxes2[:, :2])
    return sides.prod(-1)


def shared(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return inner_sides(boxes1, boxes2).clamp(min=0).prod(-1)


def areas(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    return box_area(boxes1)[:, None], box_area(boxes2)[None]


def penalty(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    first, second = areas(boxes1, boxes2)
    outer = outer_area(boxes1, boxes2)
    return (outer - (first + second - shared(boxes1, boxes2))) / outer


@mistake(
    "empty share added",
    "You added the empty share. Emptiness is bad: it is taken off, and far boxes go towards −1.",
)
def penalty_added(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return box_iou(boxes1, boxes2) + penalty(boxes1, boxes2)


@mistake(
    "IoU left out",
    "Only the penalty is there. Boxes that overlap well should also get their IoU.",
)
def penalty_alone(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return -penalty(boxes1, boxes2)


@mistake(
    "share of the union",
    "You divided the empty area by the union. It is the share *of the box around*, so that it stays below 1"
    " however far the boxes are.",
)
def over_the_union(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    first, second = areas(boxes1, boxes2)
    union = first + second - shared(boxes1, boxes2)
    return box_iou(boxes1, boxes2) - (outer_area(boxes1, boxes2) - union) / union


@mistake(
    "too much called empty",
    "You took the intersection off the box around. Empty is what *neither* box covers: take off the union.",
)
def around_minus_shared(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    outer = outer_area(boxes1, boxes2)
    return box_iou(boxes1, boxes2) - (outer - shared(boxes1, boxes2)) / outer


@mistake(
    "box around from the inner corners",
    "Your box around is the intersection. Around both means: from the *smaller* left edge to the *larger* right edge.",
)
def inner_corners(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    first, second = areas(boxes1, boxes2)
    union, inner = first + second - shared(boxes1, boxes2), inner_sides(boxes1, boxes2).prod(-1)
    return box_iou(boxes1, boxes2) - (inner - union) / inner


@mistake(
    "a gap counted as overlap",
    "For boxes that lie apart, the sides of the intersection are negative, and their product is positive. "
    "Cut off negative sides first, as in the IoU.",
)
def giou_gap_times_gap(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    both = inner_sides(boxes1, boxes2).prod(-1)
    first, second = areas(boxes1, boxes2)
    union, outer = first + second - both, outer_area(boxes1, boxes2)
    return both / union - (outer - union) / outer


@mistake(
    "both areas taken off",
    "You took both areas off the box around. Where the boxes overlap, that takes the shared part off twice: take off "
    "the union.",
)
def both_areas_taken_off(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    (first, second), outer = areas(boxes1, boxes2), outer_area(boxes1, boxes2)
    return box_iou(boxes1, boxes2) - (outer - first - second) / outer


@mistake("empty area not divided", "You take the empty area itself off. It is its *share* of the box around.")
def not_divided(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    first, second = areas(boxes1, boxes2)
    union = first + second - shared(boxes1, boxes2)
    return box_iou(boxes1, boxes2) - (outer_area(boxes1, boxes2) - union)


@mistake(
    "share of what is covered",
    "You take off the share of the box around that *is* covered. Take off the share that is empty.",
)
def union_over_around(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    first, second = areas(boxes1, boxes2)
    union = first + second - shared(boxes1, boxes2)
    return box_iou(boxes1, boxes2) - union / outer_area(boxes1, boxes2)


@mistake(
    "that is the DIoU",
    "You took off the squared distance of the middles over the squared diagonal of the box around: that is DIoU. GIoU "
    "takes off the empty share of the box around.",
)
def distance_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return torchvision.ops.distance_box_iou(boxes1, boxes2)


EXERCISE = Exercise(
    name="generalized_iou",
    reference=boxes.generalized_box_iou,
    cases=cases,
    takes={"boxes1": Kind.BOXES, "boxes2": Kind.BOXES},
    gives=Kind.NUMBERS,
    mistakes=[
        penalty_added,
        penalty_alone,
        iou_by_torchvision,
        over_the_union,
        around_minus_shared,
        inner_corners,
        giou_gap_times_gap,
        both_areas_taken_off,
        not_divided,
        union_over_around,
        distance_iou,
    ],
)
