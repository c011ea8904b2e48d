"""What it costs to give a true box to a query."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torchvision import ops

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_boxes, random_classes, random_values
from lib.exercises.engine.kinds import Kind
from lib.models.detr import HungarianMatcher
from lib.ops.boxes import box_cxcywh_to_xyxy, box_iou, box_xywh_to_xyxy, box_xyxy_to_cxcywh, generalized_box_iou


def matching_cost(logits: Tensor, boxes: Tensor, labels: Tensor, true_boxes: Tensor) -> Tensor:
    """The course's own, `lib.models.detr.HungarianMatcher.cost` with its usual weights."""
    return HungarianMatcher().cost(logits, boxes, labels, true_boxes)


def cases() -> list[Case]:
    named = {  # Q, K, and the labels
        "3 queries, 2 true boxes, 3 classes": (3, 3, [2, 0]),
        "7 queries, 4 true boxes, of which two have one class": (7, 5, [3, 1, 3, 4]),
        "as many queries as true boxes": (3, 2, [1, 0, 1]),
        "one class": (4, 1, [0, 0]),
        "one true box": (5, 4, [2]),
        "no true box": (4, 3, []),
        "more true boxes than queries": (2, 6, random_classes(5, classes=6, seed=9).tolist()),
    }
    made = []
    for seed, (label, (queries, classes, chosen)) in enumerate(named.items()):
        boxes, true_boxes = shares(queries, seed=seed + 20), shares(len(chosen), seed=seed + 40)
        logits, labels = 2 * random_values(queries, classes + 1, seed=seed), torch.tensor(chosen, dtype=torch.int64)
        made.append(Case.from_truth(label, (logits, boxes, labels, true_boxes), pair_by_pair))
    corner, middle = [0.1, 0.15, 0.12, 0.2], [0.5, 0.4, 0.6, 0.3]
    boxes, true_boxes = torch.tensor([corner, middle, [0.8, 0.9, 0.1, 0.12]]), torch.tensor([middle, corner])
    arguments = (random_values(3, 4, seed=60), boxes, torch.tensor([1, 2]), true_boxes)
    return [*made, Case.from_truth("equal boxes, and boxes far apart", arguments, pair_by_pair)]


def shares(count: int, seed: int) -> Tensor:
    """Boxes as middle and size, shares of the picture, (count, 4)."""
    return box_xyxy_to_cxcywh(random_boxes(count, 1, 1, seed=seed))


def pair_by_pair(logits: Tensor, boxes: Tensor, labels: Tensor, true_boxes: Tensor) -> Tensor:
    """The truth: one number after the other, with torchvision's GIoU."""
    cost = torch.zeros(len(boxes), len(true_boxes))
    for i, (scores, box) in enumerate(zip(logits, boxes, strict=True)):
        for j, (label, true_box) in enumerate(zip(labels.tolist(), true_boxes, strict=True)):
            probability = scores[label].exp() / scores.exp().sum()
            corners = ops.box_convert(torch.stack([box, true_box]), "cxcywh", "xyxy")
            overlap = ops.generalized_box_iou(corners[:1], corners[1:])[0, 0]
            cost[i, j] = 5 * sum(abs(box - true_box)) - probability - 2 * overlap
    return cost


def gaps(boxes: Tensor, true_boxes: Tensor) -> Tensor:
    return boxes[:, None] - true_boxes  # (Q, n, 4)


def corners(boxes: Tensor, true_boxes: Tensor) -> tuple[Tensor, Tensor]:
    return box_cxcywh_to_xyxy(boxes), box_cxcywh_to_xyxy(true_boxes)


def costed(
    logits: Tensor,
    boxes: Tensor,
    labels: Tensor,
    true_boxes: Tensor,
    chance: Callable[[Tensor, Tensor], Tensor] = lambda logits, labels: logits.softmax(dim=1)[:, labels],
    distance: Callable[[Tensor, Tensor], Tensor] = lambda boxes, true_boxes: gaps(boxes, true_boxes).abs().sum(dim=2),
    overlap: Callable[[Tensor, Tensor], Tensor] = lambda boxes, true_boxes: generalized_box_iou(
        *corners(boxes, true_boxes)
    ),
    weights: tuple[float, float, float] = (5, -1, -2),
) -> Tensor:
    """`matching_cost` with its decisions open; `weights` are those of distance, chance and overlap."""
    parts = (distance(boxes, true_boxes), chance(logits, labels), overlap(boxes, true_boxes))  # (Q, n) each
    return sum((weight * part for weight, part in zip(weights, parts, strict=True)), torch.zeros(()))


def of_class(probabilities: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return partial(costed, chance=lambda logits, labels: probabilities(logits)[:, labels])


MISTAKES = [
    Mistake(
        "−log p for −p",
        "You took the logarithm of the probability, as a cross-entropy does. In this cost p stands as it is.",
        wrong=of_class(lambda logits: logits.log_softmax(dim=1)),
    ),
    Mistake(
        "p added",
        "You added p. The more probable the true class is to a query, the less this pair must cost.",
        wrong=partial(costed, weights=(5, 1, -2)),
    ),
    Mistake(
        "GIoU added",
        "You added the GIoU. The better the boxes fit, the less this pair must cost.",
        wrong=partial(costed, weights=(5, -1, 2)),
    ),
    Mistake(
        "p and GIoU added",
        "You added p and the GIoU. The larger they are, the better a query fits, and the less the pair must cost.",
        wrong=partial(costed, weights=(5, 1, 2)),
    ),
    Mistake(
        "sigmoid",
        'You took a sigmoid of the logits. The classes and "nothing" compete: p is a query\'s softmax.',
        wrong=of_class(torch.sigmoid),
    ),
    Mistake(
        "softmax without nothing",
        'You left the last column out of the softmax. "Nothing" competes, too: a query that says it gives little to '
        "all classes.",
        wrong=of_class(lambda logits: logits[:, :-1].softmax(dim=1)),
    ),
    Mistake(
        "softmax over the queries",
        "Your softmax goes over the queries. Each query divides its own 1 among the K + 1 columns.",
        wrong=of_class(lambda logits: logits.softmax(dim=0)),
    ),
    Mistake(
        "softmax over the true boxes",
        "You chose the columns of the labels first, and took the softmax of these. It goes over all K + 1.",
        wrong=partial(costed, chance=lambda logits, labels: logits[:, labels].softmax(dim=1)),
    ),
    Mistake(
        "p of one query for each box",
        "For true box number j you took the p of query number j, for all queries. Each query has its own p for each "
        "box: (Q, n).",
        wrong=partial(costed, chance=lambda logits, labels: logits.softmax(dim=1)[range(len(labels)), labels]),
    ),
    Mistake(
        "the highest probability",
        "You took each query's highest probability, whatever its class. The task asks for that of the *true* "
        "thing's class.",
        wrong=partial(costed, chance=lambda logits, labels: logits.softmax(dim=1).amax(dim=1, keepdim=True)),
    ),
    Mistake(
        "hit or miss",
        "You took 1 for p where the true class is a query's most probable one, and else 0. The task asks for "
        "the probability.",
        wrong=partial(costed, chance=lambda logits, labels: (logits.argmax(dim=1)[:, None] == labels).float()),
    ),
    Mistake(
        "1 − p for −p",
        "You took 1 − p. The cheapest pairs would be the same; but every cost is 1 too large.",
        wrong=of_class(lambda logits: logits.softmax(dim=1) - 1),
    ),
    Mistake(
        "1 − GIoU for −GIoU",
        "You took 1 − GIoU. The cheapest pairs would be the same; but every cost is 2 too large.",
        wrong=lambda *given: costed(*given) + 2,
    ),
    Mistake(
        "1 − p and 1 − GIoU",
        "You took 1 − p and 1 − GIoU. The cheapest pairs would be the same; but every cost is 3 too large.",
        wrong=lambda *given: costed(*given) + 3,
    ),
    Mistake(
        "mean instead of sum",
        "You took the mean of the four differences. The task asks for their sum, four times as much.",
        wrong=partial(costed, weights=(5 / 4, -1, -2)),
    ),
    Mistake(
        "one distance for all pairs",
        "You took one number for the distances of all pairs: the mean over everything, as `F.l1_loss` gives it. Each "
        "pair has its own sum of four.",
        wrong=partial(costed, distance=lambda boxes, true_boxes: gaps(boxes, true_boxes).abs().mean()),
    ),
    Mistake(
        "straight distance",
        "You took the root of the squared differences' sum, which is what `torch.cdist` gives if it is not told "
        "otherwise. Add up the four *absolute* differences (`p=1`).",
        wrong=partial(costed, distance=torch.cdist),
    ),
    Mistake(
        "squared differences",
        "You squared the four differences. The task asks for their absolute values.",
        wrong=partial(costed, distance=lambda boxes, true_boxes: (gaps(boxes, true_boxes) ** 2).sum(dim=2)),
    ),
    Mistake(
        "squared differences, and their mean",
        "You took the mean of the four squared differences. The task asks for the sum of their absolute values.",
        wrong=partial(costed, distance=lambda boxes, true_boxes: (gaps(boxes, true_boxes) ** 2).mean(dim=2)),
    ),
    Mistake(
        "differences keep their sign",
        "You added up the four differences with their signs, so that they cancel. Take their absolute values.",
        wrong=partial(costed, distance=lambda boxes, true_boxes: gaps(boxes, true_boxes).sum(dim=2)),
    ),
    Mistake(
        "differences of corners",
        "You compared the four numbers of xyxy. Compare middle, width and height as they come; only the GIoU wants "
        "corners.",
        wrong=partial(costed, distance=lambda *both: gaps(*corners(*both)).abs().sum(dim=2)),
    ),
    Mistake(
        "IoU for GIoU",
        "You took the IoU, which is 0 for all boxes apart, however far. The task asks for the GIoU.",
        wrong=partial(costed, overlap=lambda *both: box_iou(*corners(*both))),
    ),
    Mistake(
        "GIoU of middles and sizes",
        "For the GIoU you took middle, width and height for two corners. `generalized_box_iou` wants xyxy, and does "
        "not complain.",
        wrong=partial(costed, overlap=generalized_box_iou),
    ),
    Mistake(
        "only the true boxes as corners",
        "For the GIoU you made corners of the true boxes, but not of the queries' boxes. Both are middle and size.",
        wrong=partial(costed, overlap=lambda boxes, true: generalized_box_iou(boxes, box_cxcywh_to_xyxy(true))),
    ),
    Mistake(
        "only the queries' boxes as corners",
        "For the GIoU you made corners of the queries' boxes, but not of the true ones. Both are middle and size.",
        wrong=partial(costed, overlap=lambda boxes, true: generalized_box_iou(box_cxcywh_to_xyxy(boxes), true)),
    ),
    Mistake(
        "middle taken for a corner",
        "For the GIoU you took the first two numbers for the left upper corner. They are the middle.",
        wrong=partial(costed, overlap=lambda *both: generalized_box_iou(*map(box_xywh_to_xyxy, both))),
    ),
    Mistake(
        "5 and 2 exchanged",
        "You took 2 times the differences and 5 times the GIoU. It is the other way round.",
        wrong=partial(costed, weights=(2, -1, -5)),
    ),
    Mistake("without 5 and 2", "You left out the factors 5 and 2.", wrong=partial(costed, weights=(1, -1, -1))),
    Mistake("without 5", "You left out the factor 5.", wrong=partial(costed, weights=(1, -1, -2))),
    Mistake("without 2", "You left out the factor 2.", wrong=partial(costed, weights=(5, -1, -1))),
    Mistake(
        "factors in another order",
        "You took the factor 5 for p and 1 for the differences. It is 5 for the differences, 1 for p, 2 for the GIoU.",
        wrong=partial(costed, weights=(1, -5, -2)),
    ),
    Mistake("p left out", "You left out p.", wrong=partial(costed, weights=(5, 0, -2))),
    Mistake("GIoU left out", "You left out the GIoU.", wrong=partial(costed, weights=(5, -1, 0))),
    Mistake("differences left out", "You left out the differences.", wrong=partial(costed, weights=(0, -1, -2))),
]

EXERCISE = Exercise(
    name="matching_cost",
    reference=matching_cost,
    cases=cases,
    takes={"logits": Kind.LOGITS, "labels": Kind.CLASSES},
    gives=Kind.NUMBERS,
    mistakes=MISTAKES,
)
