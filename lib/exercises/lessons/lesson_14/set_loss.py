"""What each query should have said: a class or nothing, and a box. The loss of a set, once it is matched."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import ops

from lib.exercises.engine.exercise import Case, Exercise, Mistake, Probe
from lib.exercises.engine.inputs import random_boxes, random_classes, random_values
from lib.exercises.engine.kinds import Kind
from lib.models.detr import DETROutput, SetCriterion
from lib.ops.boxes import box_cxcywh_to_xyxy, box_iou, box_xyxy_to_cxcywh, generalized_box_iou

Losses = tuple[Tensor, Tensor, Tensor]
LIGHT = 0.1  # what a query weighs that should say "nothing"


def set_loss(logits: Tensor, boxes: Tensor, labels: Tensor, true_boxes: Tensor, queries: Tensor) -> Losses:
    """The course's own, `lib.models.detr.SetCriterion` for one picture that is matched already."""
    outputs: DETROutput = {"pred_logits": logits[None], "pred_boxes": boxes[None], "image_sizes": [(1, 1)]}
    targets = [{"boxes": box_cxcywh_to_xyxy(true_boxes), "labels": labels}]
    indices = [(queries, torch.arange(len(queries), device=queries.device))]
    criterion = SetCriterion(logits.shape[1] - 1).to(logits.device)
    of_boxes = criterion.loss_boxes(outputs, targets, indices)
    return criterion.loss_labels(outputs, targets, indices), of_boxes["loss_bbox"], of_boxes["loss_giou"]


def cases() -> list[Case]:
    named = {
        "5 queries, 3 classes, 2 boxes": (5, 3, [3, 1]),
        "7 queries, 5 classes, 4 boxes": (7, 5, [2, 6, 0, 3]),
        "6 queries, one class, one box": (6, 1, [4]),
        "a box for every query": (3, 4, [1, 2, 0]),
        "very sure: logits of ±80": (4, 2, [2, 0, 3]),
        "no box": (4, 2, []),
    }
    made = []
    for seed, (label, (count, classes, of_boxes)) in enumerate(named.items()):
        logits = 2 * random_values(count, classes + 1, seed=seed)
        if label.startswith("very sure"):
            logits = 160 * torch.eye(3)[[0, 1, 2, 1]] - 80
        said, true_boxes = (
            box_xyxy_to_cxcywh(random_boxes(number, 1, 1, seed=seed + more))
            for number, more in [(count, 10), (len(of_boxes), 20)]
        )
        labels = random_classes(len(of_boxes), classes=classes, seed=seed + 30)
        queries = torch.tensor(of_boxes, dtype=torch.int64)
        arguments = (logits, said, labels, true_boxes, queries)
        made.append(Case.from_truth(label, arguments, query_by_query, gradients_of=("logits", "boxes")))
    return made


def query_by_query(logits: Tensor, boxes: Tensor, labels: Tensor, true_boxes: Tensor, queries: Tensor) -> Losses:
    """The truth: one query after the other, and torchvision's GIoU."""
    entropy, distance, gap, weights = 0 * logits.sum(), 0 * boxes.sum(), 0 * boxes.sum(), 0.0
    for query, (scores, box) in enumerate(zip(logits, boxes, strict=True)):
        place = queries.tolist().index(query) if query in queries.tolist() else None
        wanted, weight = (-1, LIGHT) if place is None else (int(labels[place]), 1.0)
        entropy, weights = entropy + weight * (scores.logsumexp(0) - scores[wanted]), weights + weight
        if place is not None:
            pair = [ops.box_convert(one[None], "cxcywh", "xyxy") for one in (box, true_boxes[place])]
            distance = distance + sum(abs(box[i] - true_boxes[place, i]) for i in range(4))
            gap = gap + 1 - ops.generalized_box_iou(*pair).squeeze()
    return entropy / weights, distance / max(len(queries), 1), gap / max(len(queries), 1)


def wanted_classes(logits: Tensor, labels: Tensor, queries: Tensor, nothing: int = -1) -> Tensor:
    """What each query should say, (Q,); `nothing` is a column."""
    wanted = torch.full((len(logits),), nothing % logits.shape[1])
    wanted[queries] = labels
    return wanted


def lighter(logits: Tensor, light: float = LIGHT, others: float = 1.0, place: int = -1) -> Tensor:
    """How much each class weighs, (K + 1,)."""
    weights = torch.full((logits.shape[1],), others)
    weights[place] = light
    return weights


def distances(said: Tensor, true: Tensor) -> Tensor:
    return (said - true).abs().sum(dim=1)


def overlaps(said: Tensor, true: Tensor) -> Tensor:
    """GIoU of all pairs, (n, n)."""
    return generalized_box_iou(box_cxcywh_to_xyxy(said), box_cxcywh_to_xyxy(true))


def opened(
    logits: Tensor,
    boxes: Tensor,
    labels: Tensor,
    true_boxes: Tensor,
    queries: Tensor,
    chosen: Callable[[Tensor], Tensor] = lambda queries: queries,
    scores: Callable[[Tensor], Tensor] = lambda logits: logits,
    wanted: Callable[[Tensor, Tensor, Tensor], Tensor] = wanted_classes,
    weights: Callable[[Tensor], Tensor] = lighter,
    mean: Callable[[Tensor, Tensor, int], Tensor] = lambda each, weight, n: each.sum() / weight.sum(),
    distance: Callable[[Tensor, Tensor], Tensor] = distances,
    gap: Callable[[Tensor, Tensor], Tensor] = lambda said, true: 1 - overlaps(said, true).diagonal(),
    total: Callable[[Tensor, int], Tensor] = lambda each, count: each.sum() / max(len(each), 1),
) -> Losses:
    """`set_loss` with its decisions open.

    Args:
        chosen: from `queries` to those that are asked for a class and a box.
        scores: what is done to the logits before the cross-entropy.
        wanted: what each query should say.
        weights: of the K + 1 classes.
        mean: from what each query costs, weighed (Q,), what each weighs (Q,), and n.
        distance, gap: what each pair of boxes costs, in the second and the third number.
        total: what becomes of these costs (n,) and of Q.
    """
    asked, weight = chosen(queries), weights(logits)
    classes, said = wanted(logits, labels, asked), boxes[asked]  # (Q,), (n, 4)
    each = F.cross_entropy(scores(logits), classes, weight, reduction="none")  # (Q,)
    of_boxes = [total(cost(said, true_boxes), len(boxes)) for cost in (distance, gap)]
    return mean(each, weight[classes], len(queries)), of_boxes[0], of_boxes[1]


def per_box(each: Tensor, weight: Tensor, n: int) -> Tensor:
    return each.sum() / max(n, 1)


def first_ones(queries: Tensor) -> Tensor:
    return torch.arange(len(queries))


def in_order(queries: Tensor) -> Tensor:
    return queries.sort().values


def corners(said: Tensor, true: Tensor) -> Tensor:
    return distances(box_cxcywh_to_xyxy(said), box_cxcywh_to_xyxy(true))


MATCHED = 'Your first number leaves out the queries without a box. They should say "nothing", and nothing tells them.'
POSITION = "`queries` says which query belongs to which true box; true box 0 belongs to query `queries[0]`, and so on."
TRUE = ("labels", "true_boxes")  # what is known of the true things
LAST = 'Classes are 0..K−1, and number K, the last column, is "nothing".'

DECISIONS: list[tuple[str, str, dict[str, Any]]] = [  # a name, words for the learner, and decisions of `opened`
    ("matched queries only", MATCHED, {"weights": partial(lighter, light=0.0), "mean": per_box}),
    (
        "0.1 forgotten",
        'All your queries weigh 1. One that should say "nothing" weighs 0.1: there are so many of them.',
        {"weights": partial(lighter, light=1.0)},
    ),
    (
        "divided by the number of queries",
        "You divided the cross-entropy by Q. The task asks for the weighted mean: divide by the sum of the weights.",
        {"mean": lambda each, weight, n: each.mean()},
    ),
    (
        "0.1 for the things",
        'Your queries weigh 0.1 where they should say a class, and 1 where they should say "nothing". The task asks '
        "for the opposite.",
        {"weights": partial(lighter, light=1.0, others=LIGHT)},
    ),
    (
        "nothing is class 0",
        f"You ask the queries without a box for class 0. {LAST}",
        {"wanted": partial(wanted_classes, nothing=0)},
    ),
    (
        "nothing is class 0, and weighs 0.1",
        f"You ask the queries without a box for class 0, and let class 0 weigh 0.1. {LAST}",
        {"wanted": partial(wanted_classes, nothing=0), "weights": partial(lighter, place=0)},
    ),
    (
        "nothing is class 0, and the labels moved up",
        f"You ask the queries without a box for class 0, and the others for their label + 1. {LAST}",
        {
            "wanted": lambda logits, labels, queries: wanted_classes(logits, labels + 1, queries, nothing=0),
            "weights": partial(lighter, place=0),
        },
    ),
    (
        "the first queries",
        f"You take the first n queries for those with a box. {POSITION}",
        {"chosen": first_ones},
    ),
    (
        "queries in ascending order",
        f"You took the right queries, but in ascending order, as a mask does. {POSITION}",
        {"chosen": in_order},
    ),
    (
        "softmax twice",
        "`F.cross_entropy` takes scores and makes the softmax itself. You gave it probabilities.",
        {"scores": partial(torch.softmax, dim=1)},
    ),
    (
        "mean over four",
        "Your second number is a quarter of what it should be: the mean of the four differences. The task asks "
        "for their *sum* for each box, and the mean over boxes.",
        {"distance": lambda said, true: (said - true).abs().mean(dim=1)},
    ),
    (
        "corners compared",
        "You took the differences of corners. The task asks for those of the four numbers as they are given: "
        "middle, width and height.",
        {"distance": corners},
    ),
    (
        "GIoU itself",
        "Your third number is the mean GIoU. It is 1 for a perfect box, and a loss should be 0 there: 1 − GIoU.",
        {"gap": lambda said, true: overlaps(said, true).diagonal()},
    ),
    (
        "all pairs' GIoU",
        "You took the mean over all n × n pairs. Each query's box is compared with its own true box alone: these pairs "
        "stand on the diagonal.",
        {"gap": lambda said, true: 1 - overlaps(said, true).mean(dim=1)},
    ),
    (
        "middles taken for corners",
        "You gave `generalized_box_iou` boxes of middle, width and height. It takes xyxy.",
        {"gap": lambda said, true: 1 - generalized_box_iou(said, true).diagonal()},
    ),
    (
        "IoU instead of GIoU",
        "You took 1 − IoU. For boxes that do not touch it is 1, however far apart they are. It should be 1 − GIoU.",
        {"gap": lambda said, true: 1 - box_iou(*map(box_cxcywh_to_xyxy, (said, true))).diagonal()},
    ),
    (
        "box losses divided by the number of queries",
        "You divided the box losses by Q. Only n queries have a box to be compared with: divide by n.",
        {"total": lambda each, count: each.sum() / count},
    ),
    (
        "cross-entropy divided by the number of boxes",
        "You divided the sum of the weighted cross-entropies by n. Divide by the sum of the weights.",
        {"mean": per_box},
    ),
    (
        "queries added up",
        "Your cross-entropy is a sum over the queries. The task asks for the weighted mean: divide by the sum "
        "of the weights.",
        {"mean": lambda each, weight, n: each.sum()},
    ),
    (
        "squared differences",
        "You squared the differences of the boxes. The task asks for the absolute ones.",
        {"distance": lambda said, true: (said - true).square().sum(dim=1)},
    ),
]


def weighed_and_added(*given: Tensor) -> Tensor:
    first, second, third = set_loss(*given)
    return first + 5 * second + 2 * third


def looked_up_twice(
    logits: Tensor, boxes: Tensor, labels: Tensor, true_boxes: Tensor, queries: Tensor, of: tuple[str, ...]
) -> Losses:
    true = {name: given[queries] if name in of else given for name, given in zip(TRUE, (labels, true_boxes))}
    return set_loss(logits, boxes, true["labels"], true["true_boxes"], queries)


def agrees(got: Tensor, expected: Tensor) -> bool:
    return torch.allclose(got, expected, rtol=1e-4, atol=1e-5, equal_nan=True)


def nan_for_nothing(got: Losses, expected: Losses, case: Case, made: dict[str, Any]) -> bool:
    """What was `made` otherwise, and where there is no true box NaN in place of any of the numbers."""
    pairs = zip(got, opened(*case.arguments, **made), strict=True)
    none = not len(case.arguments[4])
    return all(agrees(yours, ours) or (none and bool(yours.isnan())) for yours, ours in pairs)


def off_if_sure(got: Losses, expected: Losses, case: Case, how: Callable[[Tensor, Tensor], Tensor]) -> bool:
    rest = all(map(agrees, got[1:], expected[1:]))
    return case.label.startswith("very sure") and rest and bool(how(got[0], expected[0]))


def gradient_without_boxes(function: Callable) -> bool:
    logits, boxes = (torch.zeros(3, numbers, requires_grad=True) for numbers in (3, 4))
    none = torch.zeros(0, dtype=torch.int64)
    return all(loss.requires_grad for loss in function(logits, boxes, none, torch.zeros(0, 4), none))


NAN = "without true boxes you return NaN, the mean of no number; the task asks for 0."

EXERCISE = Exercise(
    name="set_loss",
    reference=set_loss,
    cases=cases,
    takes={"logits": Kind.LOGITS, "labels": Kind.CLASSES, "queries": Kind.INDICES},
    gives=(Kind.LOSS, Kind.LOSS, Kind.LOSS),
    mistakes=[
        *(Mistake(name, explanation, wrong=partial(opened, **made)) for name, explanation, made in DECISIONS),
        Mistake("the mean of nothing", f"Right but for one thing: {NAN}", when=partial(nan_for_nothing, made={})),
        *(
            Mistake(
                f"{name}; the mean of nothing",
                f"Two things at once. {explanation} And {NAN}",
                when=partial(nan_for_nothing, made=made),
            )
            for name, explanation, made in DECISIONS
        ),
        Mistake(
            "logarithm after the softmax",
            "Right for small logits. For large ones a probability is exactly 0, and its logarithm −∞. "
            "`F.cross_entropy` and `F.log_softmax` take both steps at once.",
            when=partial(off_if_sure, how=lambda got, expected: ~got.isfinite()),
        ),
        Mistake(
            "logarithm after the softmax, limited",
            "Right for small logits. For large ones your cross-entropy is too small: something limits the logarithm, "
            "such as a small number that is added. `F.cross_entropy` and `F.log_softmax` need no limit.",
            when=partial(off_if_sure, how=lambda got, expected: (got > 0) & (got < expected)),
        ),
        *(
            Mistake(
                f"{' and '.join(of)} by query",
                f"You took `queries` for places in {' and '.join(f'`{name}`' for name in of)}. They are places in "
                "`logits` and `boxes`; number j of `queries` belongs to true box j, which needs no looking up.",
                wrong=partial(looked_up_twice, of=of),
            )
            for of in (TRUE, TRUE[:1], TRUE[1:])
        ),
        Mistake(
            "weighed and added",
            "You added the three up, weighed with 1, 5 and 2. The task asks for three numbers, one by one and "
            "as they are.",
            wrong=weighed_and_added,
        ),
    ],
    probes=[
        Probe(
            "no gradient without boxes",
            "The numbers are right. But without true boxes a 0 of yours has no gradient, and `backward()` crashes. "
            "Make the 0 from `boxes`, so that a gradient can run through it.",
            passes=gradient_without_boxes,
        )
    ],
)
