"""What the exercises of lesson 05 are tried on: inputs, the truth by another road than the solution, and wrong answers.

The exercises themselves, with the words for each mistake, are in `lesson_05.py`. The truths come from torchvision and
pycocotools, and some from the back of an envelope.
"""

import contextlib
import io

import numpy as np
import torch
import torchvision
from torch import Tensor

from lib.exercises.exercise import Case
from lib.ops.boxes import box_area, box_iou
from lib.ops.nms import suppressed_by


def boxes_of(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def random_boxes(count: int, seed: int) -> Tensor:
    """Boxes (count, 4) in a picture of 60 × 60, many of which overlap."""
    corners, sides = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed))
    return torch.cat([corners * 40, corners * 40 + 5 + sides * 20], dim=1)


# --- box_cxcywh_to_xyxy -------------------------------------------------------------------------------------------


def conversion_cases() -> list[Case]:
    corners_and_sides = torchvision.ops.box_convert(random_boxes(5, 0), "xyxy", "cxcywh")
    return [
        Case.from_truth(label, (boxes,), by_torchvision, ("boxes",))
        for label, boxes in (
            ("one box, 30 wide and 40 high", boxes_of((25, 40, 30, 40))),
            ("a box that is 9 wide and 5 high: halves of odd numbers", boxes_of((20, 10, 9, 5))),
            ("five boxes", corners_and_sides),
            ("a box that sticks out of the picture", boxes_of((2, 3, 10, 8))),
            ("no boxes", torch.empty(0, 4)),
        )
    ]


def by_torchvision(boxes: Tensor) -> Tensor:
    return torchvision.ops.box_convert(boxes, "cxcywh", "xyxy")


def whole_sides(boxes: Tensor) -> Tensor:
    return torch.cat([boxes[:, :2] - boxes[:, 2:], boxes[:, :2] + boxes[:, 2:]], dim=1)


def middle_as_corner(boxes: Tensor) -> Tensor:
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)


def sides_swapped(boxes: Tensor) -> Tensor:
    return by_torchvision(boxes[:, [0, 1, 3, 2]])


def x_x_y_y(boxes: Tensor) -> Tensor:
    return by_torchvision(boxes)[:, [0, 2, 1, 3]]


def y_first(boxes: Tensor) -> Tensor:
    return by_torchvision(boxes)[:, [1, 0, 3, 2]]


def floored(boxes: Tensor) -> Tensor:
    half = boxes[:, 2:] // 2
    return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], dim=1)


def four_rows(boxes: Tensor) -> Tensor:
    return by_torchvision(boxes).T


# --- pairwise_iou and generalized_iou -----------------------------------------------------------------------------


def pairs() -> list[tuple[str, Tensor, Tensor]]:
    return [
        ("the two boxes on squared paper", boxes_of((1, 1, 7, 5)), boxes_of((4, 3, 9, 8))),
        ("two boxes that lie apart, to the right and below", boxes_of((0, 0, 4, 4)), boxes_of((6, 7, 9, 9))),
        ("one inside the other", boxes_of((0, 0, 10, 10)), boxes_of((2, 3, 6, 8))),
        ("2 boxes and 3 boxes", random_boxes(2, 1), random_boxes(3, 2)),
        ("4 boxes with themselves", random_boxes(4, 3), random_boxes(4, 3)),
        ("no boxes, and 3 boxes", torch.empty(0, 4), random_boxes(3, 2)),
    ]


def iou_cases() -> list[Case]:
    return [
        Case.from_truth(label, (first, second), iou_by_torchvision, ("boxes1",)) for label, first, second in pairs()
    ]


def giou_cases() -> list[Case]:
    return [
        Case.from_truth(label, (first, second), giou_by_torchvision, ("boxes1",)) for label, first, second in pairs()
    ]


def iou_by_torchvision(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return torchvision.ops.box_iou(boxes1, boxes2)


def giou_by_torchvision(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return torchvision.ops.generalized_box_iou(boxes1, boxes2)


def inner_sides(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """(N, M, 2), negative where there is a gap."""
    return torch.minimum(boxes1[:, None, 2:], boxes2[:, 2:]) - torch.maximum(boxes1[:, None, :2], boxes2[:, :2])


def outer_area(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    sides = torch.maximum(boxes1[:, None, 2:], boxes2[:, 2:]) - torch.minimum(boxes1[:, None, :2], boxes2[:, :2])
    return sides.prod(-1)


def shared(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return inner_sides(boxes1, boxes2).clamp(min=0).prod(-1)


def areas(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    return box_area(boxes1)[:, None], box_area(boxes2)[None]


def gap_times_gap(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    both = inner_sides(boxes1, boxes2).prod(-1)
    first, second = areas(boxes1, boxes2)
    return both / (first + second - both)


def clamped_at_the_end(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    both = inner_sides(boxes1, boxes2).prod(-1).clamp(min=0)
    first, second = areas(boxes1, boxes2)
    return both / (first + second - both)


def sum_of_areas(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    first, second = areas(boxes1, boxes2)
    return shared(boxes1, boxes2) / (first + second)


def one_pixel_more(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    end = torch.tensor([0.0, 0, 1, 1])
    return box_iou(boxes1 + end, boxes2 + end)


def over_the_smaller(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return shared(boxes1, boxes2) / torch.minimum(*areas(boxes1, boxes2))


def over_the_first(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return shared(boxes1, boxes2) / areas(boxes1, boxes2)[0]


def box_by_box(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    if len(boxes1) != len(boxes2) and 1 not in (len(boxes1), len(boxes2)):
        raise RuntimeError("sizes differ")
    return torch.stack([box_iou(a[None], b[None])[0, 0] for a, b in zip(boxes1, boxes2)])


def swapped(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return box_iou(boxes2, boxes1)


def read_as_sides(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return box_iou(middle_as_corner(boxes1), middle_as_corner(boxes2))


def penalty(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    first, second = areas(boxes1, boxes2)
    outer = outer_area(boxes1, boxes2)
    return (outer - (first + second - shared(boxes1, boxes2))) / outer


def penalty_added(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return box_iou(boxes1, boxes2) + penalty(boxes1, boxes2)


def penalty_alone(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    return -penalty(boxes1, boxes2)


def over_the_union(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    first, second = areas(boxes1, boxes2)
    union = first + second - shared(boxes1, boxes2)
    return box_iou(boxes1, boxes2) - (outer_area(boxes1, boxes2) - union) / union


def around_minus_shared(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    outer = outer_area(boxes1, boxes2)
    return box_iou(boxes1, boxes2) - (outer - shared(boxes1, boxes2)) / outer


def inner_corners(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    first, second = areas(boxes1, boxes2)
    union, inner = first + second - shared(boxes1, boxes2), inner_sides(boxes1, boxes2).prod(-1)
    return box_iou(boxes1, boxes2) - (inner - union) / inner


def giou_gap_times_gap(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    both = inner_sides(boxes1, boxes2).prod(-1)
    first, second = areas(boxes1, boxes2)
    union, outer = first + second - both, outer_area(boxes1, boxes2)
    return both / union - (outer - union) / outer


# --- non_maximum_suppression --------------------------------------------------------------------------------------


def nms_cases() -> list[Case]:
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


def in_the_order_of_the_list(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return (suppressed_by(boxes, -torch.arange(len(boxes)), iou_threshold) == -1).nonzero()[:, 0]


def worst_first(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return torchvision.ops.nms(boxes, -scores, iou_threshold)


def the_dead_still_kill(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    order = scores.argsort(descending=True)
    overlap = box_iou(boxes[order], boxes[order]).triu(diagonal=1)
    return order[(overlap <= iou_threshold).all(dim=0)]


def keeps_the_neighbours(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    left, kept = scores.argsort(descending=True), []
    while len(left):
        kept.append(left[0].item())
        left = left[1:][box_iou(boxes[left[:1]], boxes[left[1:]])[0] > iou_threshold]
    return torch.tensor(kept, dtype=torch.int64)


def places_in_the_sorted_list(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    order = scores.argsort(descending=True)
    return (suppressed_by(boxes[order], scores[order], iou_threshold) == -1).nonzero()[:, 0]


def best_not_first(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return torchvision.ops.nms(boxes, scores, iou_threshold).sort().values


def the_boxes_themselves(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return boxes[torchvision.ops.nms(boxes, scores, iou_threshold)]


def a_mask(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return suppressed_by(boxes, scores, iou_threshold) == -1


def equal_goes_too(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return torchvision.ops.nms(boxes, scores, iou_threshold - 1e-6)


def one_round_only(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    order = scores.argsort(descending=True)
    if not len(order):
        return order
    others = order[1:]
    return torch.cat([order[:1], others[box_iou(boxes[order[:1]], boxes[others])[0] <= iou_threshold]])


# --- mark_detections ----------------------------------------------------------------------------------------------


def mark_detections(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    """Which detections are right: by falling score, each claims the free object that it overlaps most.

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


def marking_cases() -> list[Case]:
    two = boxes_of((0, 0, 10, 10), (4, 0, 14, 10))
    near = boxes_of((20, 20, 30, 30), (20, 20, 29, 30), (20, 20, 30, 28))
    cases = [
        (
            "two detections of one object, the worse one first in the list",
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
            "a detection between two objects, nearer to the second",
            boxes_of((3, 0, 13, 10), (0, 0, 9, 10)),
            torch.tensor([0.9, 0.8]),
            two,
            0.5,
        ),
        (
            "the object that it overlaps most is taken, another one is free",
            boxes_of((0, 0, 10, 10), (1, 0, 11, 10)),
            torch.tensor([0.9, 0.8]),
            two,
            0.5,
        ),
        ("an overlap of exactly the threshold, 0.5", boxes_of((0, 0, 5, 10)), torch.tensor([0.9]), two[:1], 0.5),
        (
            "the better box has the lower score",
            boxes_of((0, 0, 10, 7), (0, 0, 10, 10)),
            torch.tensor([0.9, 0.8]),
            two[:1],
            0.5,
        ),
        (
            "twelve detections, five objects",
            random_boxes(5, 8).repeat(3, 1)[:12] + random_boxes(12, 9) / 12,
            scores_of(12, 10),
            random_boxes(5, 8),
            0.5,
        ),
        ("no objects", random_boxes(3, 1), scores_of(3, 2), torch.empty(0, 4), 0.5),
        ("no detections", torch.empty(0, 4), torch.empty(0), two, 0.5),
    ]
    return [
        Case(label, (boxes, scores, truth, threshold), hits_by_pycocotools(boxes, scores, truth, threshold))
        for label, boxes, scores, truth, threshold in cases
    ]


def coco_evaluation(found: Tensor, scores: Tensor, truth: Tensor, threshold: float):
    """pycocotools' evaluation of one picture with one class at one threshold, done but not summed up."""
    from pycocotools.coco import COCO  # here, because it takes longer to import than a check to run
    from pycocotools.cocoeval import COCOeval

    sets = []
    with contextlib.redirect_stdout(io.StringIO()):
        for boxes in (truth, found):
            rows = torchvision.ops.box_convert(boxes.double(), "xyxy", "xywh").tolist()
            coco = COCO()
            coco.dataset = {
                "images": [{"id": 1}],
                "categories": [{"id": 1}],
                "annotations": [
                    {
                        "id": place + 1,
                        "image_id": 1,
                        "category_id": 1,
                        "bbox": row,
                        "area": row[2] * row[3],
                        "iscrowd": 0,
                        "score": float(scores[place]) if boxes is found else 0,
                    }
                    for place, row in enumerate(rows)
                ],
            }
            coco.createIndex()
            sets.append(coco)
        evaluation = COCOeval(*sets, iouType="bbox")
        evaluation.params.iouThrs = np.array([threshold])
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def hits_by_pycocotools(boxes: Tensor, scores: Tensor, truth: Tensor, threshold: float) -> Tensor:
    image = coco_evaluation(boxes, scores, truth, threshold).evalImgs[0]
    return torch.zeros(len(boxes), dtype=torch.bool) if image is None else torch.tensor(image["dtMatches"][0] > 0)


def one_object_twice(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    if not len(truth):
        return torch.zeros(len(boxes), dtype=torch.bool)
    return (box_iou(boxes, truth).amax(dim=1) >= iou_threshold)[scores.argsort(descending=True)]


def list_order(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return mark_detections(boxes, -torch.arange(len(boxes)), truth, iou_threshold)


def answered_in_list_order(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    hits = torch.zeros(len(boxes), dtype=torch.bool)
    hits[scores.argsort(descending=True)] = mark_detections(boxes, scores, truth, iou_threshold)
    return hits


def first_that_fits(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    overlap, free = box_iou(boxes, truth)[scores.argsort(descending=True)], set(range(len(truth)))
    hits = []
    for row in overlap:
        fitting = [place for place in sorted(free) if row[place] >= iou_threshold]
        hits.append(bool(fitting))
        free -= set(fitting[:1])
    return torch.tensor(hits, dtype=torch.bool)


def best_even_if_taken(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    overlap, taken, hits = box_iou(boxes, truth)[scores.argsort(descending=True)], set(), []
    for row in overlap:
        best = row.argmax().item() if len(row) else -1
        hits.append(best >= 0 and row[best].item() >= iou_threshold and best not in taken)
        taken |= {best} if hits[-1] else set()
    return torch.tensor(hits, dtype=torch.bool)


def a_miss_takes(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    overlap, hits = box_iou(boxes, truth)[scores.argsort(descending=True)], []
    for place in range(len(boxes) if len(truth) else 0):
        value, best = overlap[place].max(dim=0)
        hits.append(bool(value >= iou_threshold))
        overlap[:, best] = -1
    return torch.tensor(hits or [False] * len(boxes), dtype=torch.bool)


def any_overlap(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return mark_detections(boxes, scores, truth, 1e-9)


def more_than_the_threshold(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return mark_detections(boxes, scores, truth, iou_threshold + 1e-6)


def objects_choose(boxes: Tensor, scores: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    overlap = box_iou(boxes, truth)[scores.argsort(descending=True)]
    hits = torch.zeros(len(boxes), dtype=torch.bool)
    for column in overlap.T if len(boxes) else ():
        hits[column.argmax()] |= column.max() >= iou_threshold
    return hits


# --- average_precision_from_hits ----------------------------------------------------------------------------------


def average_precision_from_hits(hits: Tensor, num_truths: int) -> float:
    """The area under the precision–recall curve of one class, read off at COCO's 101 points.

    Args:
        hits: (N,) bool by falling score: was the detection right?
        num_truths: how many objects there are, at least 1.
    """
    right = hits.double().cumsum(dim=0)  # (N,)
    precision = right / torch.arange(1, len(hits) + 1)  # (N,)
    best_from_here = precision.flip(0).cummax(dim=0).values.flip(0)  # (N,)
    points = torch.linspace(0, 1, 101, dtype=torch.float64)
    places = torch.searchsorted(right / num_truths, points)  # (101,)
    return torch.cat([best_from_here, torch.zeros(1)])[places].mean().item()


def ap_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(0)
    cases = [
        ("right, wrong, right; 3 objects", [1, 0, 1], 3),
        ("all right, all found", [1, 1, 1], 3),
        ("precision rises again: wrong, wrong, then right five times; 7 objects", [0, 0, 1, 1, 1, 1, 1], 7),
        ("right, right, wrong, wrong, right; 7 objects", [1, 1, 0, 0, 1], 7),
        ("one object, found at the third try", [0, 0, 1], 1),
        ("forty detections, 23 objects", (torch.rand(40, generator=generator) < 0.4).tolist(), 23),
        ("nothing right", [0, 0], 3),
        ("no detections", [], 3),
    ]
    return [
        Case(label, (torch.tensor(hits, dtype=torch.bool), number), ap_by_pycocotools(hits, number))
        for label, hits, number in cases
    ]


def ap_by_pycocotools(hits: list, num_truths: int) -> float:
    """Objects in a row, far from each other; a right detection lies on the next one, a wrong one lies elsewhere."""
    objects = torch.tensor([[20.0 * place, 0, 20 * place + 10, 10] for place in range(num_truths)])
    places = torch.tensor(hits, dtype=torch.int64).cumsum(0) - 1
    elsewhere = boxes_of((0, 90, 10, 99))[0]
    found = [objects[place] if hit else elsewhere for hit, place in zip(hits, places.tolist())]
    found = torch.stack(found) if found else torch.empty(0, 4)
    evaluation = coco_evaluation(found, torch.linspace(1, 0.5, len(hits)), objects, 0.5)
    return float(evaluation.eval["precision"][0, :, 0, 0, -1].mean())


def curve(hits: Tensor, num_truths: int) -> tuple[Tensor, Tensor]:
    """Recall and precision after each detection, two times (N,)."""
    right = hits.double().cumsum(dim=0)
    return right / num_truths, right / torch.arange(1, len(hits) + 1)


def read_off(recall: Tensor, precision: Tensor, points: int = 101) -> float:
    places = torch.searchsorted(recall, torch.linspace(0, 1, points, dtype=torch.float64))
    return torch.cat([precision, torch.zeros(1)])[places].mean().item()


def envelope(precision: Tensor) -> Tensor:
    return precision.flip(0).cummax(dim=0).values.flip(0)


def no_envelope(hits: Tensor, num_truths: int) -> float:
    return read_off(*curve(hits, num_truths))


def eleven_points(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, num_truths)
    return read_off(recall, envelope(precision), points=11)


def recall_of_detections(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, max(len(hits), 1))
    return read_off(recall, envelope(precision))


def mean_at_hits(hits: Tensor, num_truths: int) -> float:
    return (curve(hits, num_truths)[1] * hits).sum().item() / num_truths


def mean_over_found(hits: Tensor, num_truths: int) -> float:
    precision = curve(hits, num_truths)[1][hits]
    return precision.mean().item() if len(precision) else 0.0


def raw_area(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, num_truths)
    return torch.trapezoid(precision, recall).item()


def area_of_envelope(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, num_truths)
    steps = torch.diff(recall, prepend=torch.zeros(1))
    return (steps * envelope(precision)).sum().item()


def never_zero(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, num_truths)
    if not len(hits):
        return 0.0
    places = torch.searchsorted(recall, torch.linspace(0, 1, 101, dtype=torch.float64)).clamp(max=len(hits) - 1)
    return envelope(precision)[places].mean().item()


def envelope_from_the_left(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, num_truths)
    return read_off(recall, precision.cummax(dim=0).values if len(precision) else precision)
