"""Pairs of boxes for the two exercises about overlap."""

from collections.abc import Callable

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case
from lib.exercises.engine.inputs import boxes_of, crowded_boxes


def pairs() -> list[tuple[str, Tensor, Tensor]]:
    return [
        ("the two boxes on squared paper", boxes_of((1, 1, 7, 5)), boxes_of((4, 3, 9, 8))),
        ("two boxes that lie apart, to the right and below", boxes_of((0, 0, 4, 4)), boxes_of((6, 7, 9, 9))),
        ("one inside the other", boxes_of((0, 0, 10, 10)), boxes_of((2, 3, 6, 8))),
        ("2 boxes and 3 boxes", crowded_boxes(2, 1), crowded_boxes(3, 2)),
        ("4 boxes with themselves", crowded_boxes(4, 3), crowded_boxes(4, 3)),
        ("boxes that touch along an edge", boxes_of((0, 0, 4, 4)), boxes_of((4, 1, 9, 3))),
        ("smaller than a pixel", boxes_of((0.2, 0.2, 0.6, 0.5)), boxes_of((0.3, 0.1, 0.9, 0.45))),
        ("no boxes, and 3 boxes", torch.empty(0, 4), crowded_boxes(3, 2)),
    ]


# At equal edges the gradient of a maximum is not unique: it is asked only where no two edges are equal.
SMOOTH = ("the two boxes on squared paper", "2 boxes and 3 boxes")


def overlap_cases(truth: Callable[[Tensor, Tensor], Tensor]) -> list[Case]:
    """A case for each of the pairs; where it is unique, the gradient of `boxes1` is asked too."""
    return [
        Case.from_truth(label, (first, second), truth, ("boxes1",) if label in SMOOTH else ())
        for label, first, second in pairs()
    ]


def inner_sides(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """(N, M, 2), negative where there is a gap."""
    return torch.minimum(boxes1[:, None, 2:], boxes2[:, 2:]) - torch.maximum(boxes1[:, None, :2], boxes2[:, :2])
