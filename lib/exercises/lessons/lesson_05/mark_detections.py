"""Right or wrong: by falling score, each detection claims one free thing."""

import torch
from torch import Tensor

from lib.exercises.engine.coco import coco_evaluation
from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import boxes_of, crowded_boxes, different_scores
from lib.exercises.engine.kinds import Kind
from lib.ops.boxes import box_iou


def mark_detections(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    """Which detections are right: by falling score, each claims the free thing that it overlaps most.

    Args:
        boxes: (N, 4) xyxy. scores: (N,), all different. truth: (M, 4) xyxy.
        iou_threshold: an overlap of at least this is needed.

    Returns:
        (N,) bool in the order of falling score.
    """
    overlap = box_iou(boxes, truth)[scores.argsort(descending=True)]  # (N, M)
    hits = torch.zeros(len(boxes), dtype=torch.bool)
    for place in range(len(boxes) if len(truth) else 0):
        value, best = overlap[place].max(dim=0)
        if value >= iou_threshold:
            hits[place] = True
            overlap[:, best] = -1  # taken
    return hits


def cases() -> list[Case]:
    two = boxes_of((0, 0, 10, 10), (4, 0, 14, 10))
    near = boxes_of((20, 20, 30, 30), (20, 20, 29, 30), (20, 20, 30, 28))
    tried = [
        (
            "two detections of one thing, the worse one first in the list",
            near[1:],
            torch.tensor([0.6, 0.9]),
            near[:1],
            0.5,
        ),
        (
            "a miss with the highest score",
            boxes_of((50, 50, 55, 55), (0, 0, 10, 9)),
            torch.tensor([0.9, 0.4]),
            two,
            0.5,
        ),
        (
            "a detection between two things, nearer to the second",
            boxes_of((3, 0, 13, 10), (0, 0, 9, 10)),
            torch.tensor([0.9, 0.8]),
            two,
            0.5,
        ),
        (
            "the thing that it overlaps most is taken, another one is free",
            boxes_of((0, 0, 10, 10), (1, 0, 11, 10)),
            torch.tensor([0.9, 0.8]),
            two,
            0.5,
        ),
        ("a threshold of 0.75", boxes_of((0, 0, 10, 7), (4, 0, 14, 9)), torch.tensor([0.9, 0.8]), two, 0.75),
        ("an overlap of exactly the threshold, 0.5", boxes_of((0, 0, 5, 10)), torch.tensor([0.9]), two[:1], 0.5),
        (
            "the better box has the lower score",
            boxes_of((0, 0, 10, 7), (0, 0, 10, 10)),
            torch.tensor([0.9, 0.8]),
            two[:1],
            0.5,
        ),
        (
            "twelve detections, five things",
            crowded_boxes(5, 8).repeat(3, 1)[:12] + crowded_boxes(12, 9) / 12,
            different_scores(12, 10),
            crowded_boxes(5, 8),
            0.5,
        ),
        ("no things", crowded_boxes(3, 1), different_scores(3, 2), torch.empty(0, 4), 0.5),
        ("no detections", torch.empty(0, 4), torch.empty(0), two, 0.5),
    ]
    return [
        Case(label, (boxes, scores, truth, threshold), hits_by_pycocotools(boxes, scores, truth, threshold))
        for label, boxes, scores, truth, threshold in tried
    ]


def hits_by_pycocotools(boxes: Tensor, scores: Tensor, truth: Tensor, threshold: float) -> Tensor:
    image = coco_evaluation(boxes, scores, truth, threshold).evalImgs[0]
    return torch.zeros(len(boxes), dtype=torch.bool) if image is None else torch.tensor(image["dtMatches"][0] > 0)


@mistake(
    "one thing claimed twice",
    "Two detections of the same thing both count as right. The first takes the thing, the second is a "
    "duplicate: wrong.",
)
def one_thing_twice(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    if not len(truth):
        return torch.zeros(len(boxes), dtype=torch.bool)
    return (box_iou(boxes, truth).amax(dim=1) >= iou_threshold)[scores.argsort(descending=True)]


@mistake(
    "in the order of the list",
    "You went through the detections as they stand in the list. The highest score goes first, and so may "
    "take a thing from others.",
)
def list_order(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return mark_detections(boxes, -torch.arange(len(boxes)), truth, iou_threshold)


@mistake(
    "answered in the order of the list",
    "Your verdicts are right, but they stand where the detections stand in the list. Wanted is the order of "
    "falling score.",
)
def answered_in_list_order(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    hits = torch.zeros(len(boxes), dtype=torch.bool)
    hits[scores.argsort(descending=True)] = mark_detections(boxes, scores, truth, iou_threshold)
    return hits


@mistake(
    "the first thing that fits, not the best",
    "A detection that fits two things took the first of them. It should take the one that it overlaps most.",
)
def first_that_fits(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    overlap, free = box_iou(boxes, truth)[scores.argsort(descending=True)], set(range(len(truth)))
    hits = []
    for row in overlap:
        fitting = [place for place in sorted(free) if row[place] >= iou_threshold]
        hits.append(bool(fitting))
        free -= set(fitting[:1])
    return torch.tensor(hits, dtype=torch.bool)


@mistake(
    "gives up when its best thing is taken",
    "A detection whose best thing is taken may still claim another free one that it fits. (Pascal VOC "
    "counts your way, COCO and this task do not.)",
)
def best_even_if_taken(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    overlap, taken, hits = box_iou(boxes, truth)[scores.argsort(descending=True)], set(), []
    for row in overlap:
        best = row.argmax().item() if len(row) else -1
        hits.append(best >= 0 and row[best].item() >= iou_threshold and best not in taken)
        taken |= {best} if hits[-1] else set()
    return torch.tensor(hits, dtype=torch.bool)


@mistake(
    "a miss takes its thing",
    "A detection that does not reach the threshold still took the thing nearest to it, and left nothing "
    "for a later, better one. Only a right detection takes a thing.",
)
def a_miss_takes(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    overlap, hits = box_iou(boxes, truth)[scores.argsort(descending=True)], []
    for place in range(len(boxes) if len(truth) else 0):
        value, best = overlap[place].max(dim=0)
        hits.append(bool(value >= iou_threshold))
        overlap[:, best] = -1
    return torch.tensor(hits or [False] * len(boxes), dtype=torch.bool)


@mistake(
    "threshold forgotten",
    "The slightest touch counts as right in your result. The IoU must reach the threshold.",
)
def any_overlap(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return mark_detections(boxes, scores, truth, 1e-9)


@mistake(
    "an overlap of exactly the threshold refused",
    "An IoU of exactly the threshold is enough: at least, not more than.",
)
def more_than_the_threshold(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return mark_detections(boxes, scores, truth, iou_threshold + 1e-6)


@mistake(
    "things choose instead of detections",
    "You let each thing choose the detection that overlaps it most. But it goes by score: a more certain "
    "detection takes the thing even if a less certain one fits better.",
)
def things_choose(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    overlap = box_iou(boxes, truth)[scores.argsort(descending=True)]
    hits = torch.zeros(len(boxes), dtype=torch.bool)
    for column in overlap.T if len(boxes) else ():
        hits[column.argmax()] |= column.max() >= iou_threshold
    return hits


@mistake(
    "the worst goes first", "You began with the lowest score. `argsort` sorts upwards if it is not told otherwise."
)
def worst_first(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return mark_detections(boxes, -scores, truth, iou_threshold)


@mistake("always 0.5", "Your threshold is 0.5, whatever `iou_threshold` is.")
def always_half(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return mark_detections(boxes, scores, truth, 0.5)


EXERCISE = Exercise(
    name="mark_detections",
    reference=mark_detections,
    cases=cases,
    takes={"boxes": Kind.BOXES, "truth": Kind.BOXES},
    gives=Kind.MASK,
    mistakes=[
        one_thing_twice,
        list_order,
        answered_in_list_order,
        first_that_fits,
        best_even_if_taken,
        a_miss_takes,
        any_overlap,
        more_than_the_threshold,
        things_choose,
        worst_first,
        always_half,
    ],
)
