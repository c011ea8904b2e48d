"""Keep the best box, drop what overlaps it too much, go on with the rest."""

import torch
import torchvision
from torch import Tensor

from lib.exercises.engine.box_pictures import compare_kept
from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.kinds import Kind
from lib.ops.boxes import box_iou
from lib.ops.nms import nms, suppressed_by


def boxes_of(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def random_boxes(count: int, seed: int) -> Tensor:
    """Boxes (count, 4) in a picture of 60 × 60, many of which overlap."""
    corners, sides = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed))
    return torch.cat([corners * 40, corners * 40 + 5 + sides * 20], dim=1)


def cases() -> list[Case]:
    chain = boxes_of((2, 0, 6, 4), (1, 0, 5, 4), (0, 0, 4, 4))
    halves = boxes_of((0, 0, 2, 4), (0, 0, 4, 4))
    cases = [
        ("three boxes in a row, each overlapping the next", chain, torch.tensor([0.7, 0.8, 0.9]), 0.5),
        (
            "two groups of two boxes",
            boxes_of((0, 0, 4, 4), (10, 0, 14, 4), (0, 0, 4, 5), (10, 0, 15, 4)),
            torch.tensor([0.6, 0.9, 0.8, 0.7]),
            0.5,
        ),
        ("two boxes whose IoU is exactly the threshold, 0.5", halves, torch.tensor([0.6, 0.9]), 0.5),
        ("ten boxes", random_boxes(10, 4), scores_of(10, 5), 0.3),
        ("thirty boxes", random_boxes(30, 6), scores_of(30, 7), 0.5),
        ("one box", boxes_of((1, 2, 3, 4)), torch.tensor([0.3]), 0.5),
        ("no boxes", torch.empty(0, 4), torch.empty(0), 0.5),
    ]
    return [
        Case(label, (boxes, scores, threshold), torchvision.ops.nms(boxes, scores, threshold))
        for label, boxes, scores, threshold in cases
    ]


def scores_of(count: int, seed: int) -> Tensor:
    """(count,) different scores."""
    return (torch.randperm(count, generator=torch.Generator().manual_seed(seed)) + 1) / (count + 1)


@mistake(
    "not sorted by score",
    "You went through the boxes in the order of the list. The box with the highest score goes first.",
)
def in_the_order_of_the_list(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return (suppressed_by(boxes, -torch.arange(len(boxes)), iou_threshold) == -1).nonzero()[:, 0]


@mistake(
    "the worst goes first",
    "You began with the lowest score. `argsort` sorts upwards if it is not told otherwise.",
)
def worst_first(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return torchvision.ops.nms(boxes, -scores, iou_threshold)


@mistake(
    "removed boxes still remove",
    "In a row of three overlapping boxes you keep only the first. The second is removed by the first, so it"
    " must not remove the third any more.",
)
def the_dead_still_kill(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    order = scores.argsort(descending=True)
    overlap = box_iou(boxes[order], boxes[order]).triu(diagonal=1)
    return order[(overlap <= iou_threshold).all(dim=0)]


@mistake(
    "keeps what it should remove",
    "After each round you went on with the boxes that overlap the kept one. Those are the ones to drop.",
)
def keeps_the_neighbours(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    left, kept = scores.argsort(descending=True), []
    while len(left):
        kept.append(left[0].item())
        left = left[1:][box_iou(boxes[left[:1]], boxes[left[1:]])[0] > iou_threshold]
    return torch.tensor(kept, dtype=torch.int64)


@mistake(
    "places in the sorted list",
    "Your numbers are places in the *sorted* list. The caller has the unsorted one: give the places there.",
)
def places_in_the_sorted_list(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    order = scores.argsort(descending=True)
    return (suppressed_by(boxes[order], scores[order], iou_threshold) == -1).nonzero()[:, 0]


@mistake(
    "best not first",
    "You keep the right boxes, but not in the order of their scores. The best comes first.",
)
def best_not_first(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return torchvision.ops.nms(boxes, scores, iou_threshold).sort().values


@mistake(
    "boxes instead of places",
    "You returned the boxes. The caller also needs their scores and classes: return their places, (kept,).",
)
def the_boxes_themselves(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return boxes[torchvision.ops.nms(boxes, scores, iou_threshold)]


@mistake(
    "a mask instead of places",
    "You returned a yes or no for each box. Wanted are the places of those that stay, the best first.",
)
def a_mask(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return suppressed_by(boxes, scores, iou_threshold) == -1


@mistake(
    "an overlap of exactly the threshold removed",
    "A box goes if its IoU is *above* the threshold. At exactly the threshold it stays.",
)
def equal_goes_too(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return torchvision.ops.nms(boxes, scores, iou_threshold - 1e-6)


@mistake(
    "only one round",
    "Only the neighbours of the very best box were removed. Each box that is kept removes its neighbours.",
)
def one_round_only(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    order = scores.argsort(descending=True)
    if not len(order):
        return order
    others = order[1:]
    return torch.cat([order[:1], others[box_iou(boxes[order[:1]], boxes[others])[0] <= iou_threshold]])


EXERCISE = Exercise(
    name="non_maximum_suppression",
    reference=nms,
    cases=cases,
    takes={},
    gives=Kind.ANYTHING,
    mistakes=[
        in_the_order_of_the_list,
        worst_first,
        the_dead_still_kill,
        keeps_the_neighbours,
        places_in_the_sorted_list,
        best_not_first,
        the_boxes_themselves,
        a_mask,
        equal_goes_too,
        one_round_only,
    ],
    picture=compare_kept,
)
