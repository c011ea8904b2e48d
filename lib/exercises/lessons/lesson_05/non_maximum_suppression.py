"""Keep the best box, drop what overlaps it too much, go on with the rest."""

import torch
import torchvision
from torch import Tensor

from lib.exercises.engine.box_pictures import compare_kept
from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import boxes_of, crowded_boxes, different_scores
from lib.exercises.engine.kinds import Kind
from lib.ops.boxes import box_iou
from lib.ops.nms import nms, suppressed_by


def cases() -> list[Case]:
    chain = boxes_of((2, 0, 6, 4), (1, 0, 5, 4), (0, 0, 4, 4))
    halves = boxes_of((0, 0, 2, 4), (0, 0, 4, 4))
    tried = [
        ("three boxes in a row, each overlapping the next", chain, torch.tensor([0.7, 0.8, 0.9]), 0.5),
        (
            "two groups of two boxes",
            boxes_of((0, 0, 4, 4), (10, 0, 14, 4), (0, 0, 4, 5), (10, 0, 15, 4)),
            torch.tensor([0.6, 0.9, 0.8, 0.7]),
            0.5,
        ),
        ("two boxes whose IoU is exactly the threshold, 0.5", halves, torch.tensor([0.6, 0.9]), 0.5),
        ("scores below 0", chain, torch.tensor([-0.7, -2.0, -0.1]), 0.5),
        (
            "three boxes that all overlap",
            boxes_of((0, 0, 10, 10), (1, 0, 11, 10), (0, 1, 10, 11)),
            torch.tensor([0.9, 0.8, 0.7]),
            0.5,
        ),
        ("a threshold of 0.7", crowded_boxes(12, 8), different_scores(12, 9), 0.7),
        ("ten boxes", crowded_boxes(10, 4), different_scores(10, 5), 0.3),
        ("thirty boxes", crowded_boxes(30, 6), different_scores(30, 7), 0.5),
        ("one box", boxes_of((1, 2, 3, 4)), torch.tensor([0.3]), 0.5),
        ("no boxes", torch.empty(0, 4), torch.empty(0), 0.5),
    ]
    return [
        Case(label, (boxes, scores, threshold), torchvision.ops.nms(boxes, scores, threshold))
        for label, boxes, scores, threshold in tried
    ]


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
    takes={"boxes": Kind.BOXES},
    gives=Kind.INDICES,
    mistakes=[
        in_the_order_of_the_list,
        worst_first,
        the_dead_still_kill,
        keeps_the_neighbours,
        places_in_the_sorted_list,
        the_boxes_themselves,
        a_mask,
        equal_goes_too,
        one_round_only,
    ],
    picture=compare_kept,
)
