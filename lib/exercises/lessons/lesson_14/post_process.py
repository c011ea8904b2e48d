"""From what the queries answer to detections: the best class but nothing, the boxes in pixels, the sure ones."""

from collections.abc import Callable
from functools import partial
from math import exp
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image, nms

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import boxes_of, random_boxes, random_values
from lib.exercises.engine.kinds import Kind
from lib.models.detr import DETROutput, PostProcess
from lib.ops.boxes import box_cxcywh_normalized_to_xyxy, box_cxcywh_to_xyxy, box_xywh_to_xyxy, box_xyxy_to_cxcywh

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Detections = tuple[Tensor, Tensor, Tensor]
Size = tuple[int, int]


def post_process(logits: Tensor, boxes: Tensor, image_size: Size, least: float) -> Detections:
    """The course's own, `lib.models.detr.PostProcess` for one picture, and those with a score of at least `least`."""
    outputs: DETROutput = {"pred_logits": logits[None], "pred_boxes": boxes[None], "image_sizes": [image_size]}
    (found,) = PostProcess()(outputs)
    kept = found["scores"] >= least
    return found["boxes"][kept], found["scores"][kept], found["labels"][kept]


def cases() -> list[Case]:
    by_hand = torch.tensor([[-1.0, 0.5, -0.5], [-2.0, -1.0, 3.0], [2.0, 0.5, 0.0], [0.6, -1.0, 0.9]])
    places = boxes_of((0.3, 0.4, 0.2, 0.6), (0.5, 0.5, 0.4, 0.1), (0.6, 0.3, 0.5, 0.3), (0.7, 0.8, 0.1, 0.2))
    twice = torch.tensor([[1.0, 3.0, 0.0], [0.5, 3.5, 0.0], [3.2, 0.0, 0.5], [2.0, -1.0, 2.5]])
    near = boxes_of((0.3, 0.4, 0.41, 0.5), (0.32, 0.42, 0.4, 0.53), (0.31, 0.4, 0.42, 0.51), (0.8, 0.7, 0.3, 0.4))
    exact = torch.tensor([[-200.0, 0.0, -200.0], [0.5, 1.0, 0.0], [0.0, -200.0, -200.0], [-200.0, -200.0, 0.0]])
    named = {
        "4 queries, 2 classes": (by_hand, places, (41, 62), 0.3),
        "7 queries, 5 classes": (2 * random_values(7, 6, seed=1), random(7, seed=2), (96, 64), 0.4),
        "two boxes almost on each other, and a third of another class": (twice, near, (47, 83), 0.5),
        "boxes that reach out of the picture": (
            2 * random_values(5, 4, seed=3),
            random(5, seed=4) + torch.tensor([0.3, -0.3, 0, 0]),
            (60, 48),
            0.3,
        ),
        "a score of exactly `least`": (exact, places, (43, 61), 1.0),
        "one class": (2 * random_values(6, 2, seed=5), random(6, seed=6), (30, 90), 0.4),
        "`least` is 0": (random_values(5, 4, seed=7), random(5, seed=8), (64, 100), 0.0),
        "nobody is sure": (random_values(5, 4, seed=7), random(5, seed=8), (64, 100), 0.95),
    }
    return [Case(label, arguments, query_by_query(*arguments)) for label, arguments in named.items()]


def random(count: int, seed: int) -> Tensor:
    return box_xyxy_to_cxcywh(random_boxes(count, 1, 1, seed=seed))


def query_by_query(logits: Tensor, boxes: Tensor, image_size: Size, least: float) -> Detections:
    """The truth, in plain numbers."""
    height, width = image_size
    rows = []
    for scores, (x, y, w, h) in zip(logits.tolist(), boxes.tolist(), strict=True):
        *things, _ = shares = [exp(score) / sum(map(exp, scores)) for score in scores]
        if max(things) >= least:
            corners = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
            rows.append([*corners, max(things), shares.index(max(things))])
    table = torch.tensor(rows).reshape(-1, 6)
    return table[:, :4], table[:, 4], table[:, 5].long()


def best_thing(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Score and label of each query, (Q,) each."""
    scores, labels = logits.softmax(dim=1)[:, :-1].max(dim=1)
    return scores, labels


def best_of_all(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The same, where nothing may be best."""
    scores, labels = logits.softmax(dim=1).max(dim=1)
    return scores, labels


def opened(
    logits: Tensor,
    boxes: Tensor,
    image_size: Size,
    least: float,
    best: Callable[[Tensor], tuple[Tensor, Tensor]] = best_thing,
    place: Callable[[Tensor, Size], Tensor] = box_cxcywh_normalized_to_xyxy,
    stays: Callable[[Tensor, float, Tensor], Tensor] = lambda scores, least, logits: scores >= least,
    order: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda boxes, scores, labels: torch.arange(len(scores)),
) -> Detections:
    """`post_process` with its decisions open.

    Args:
        best: from the logits to scores and labels.
        place: from the boxes, and the picture's size, to boxes in pixels.
        stays: from scores, `least` and logits to which queries stay, (Q,).
        order: from what stays to the places of what is returned.
    """
    scores, labels = best(logits)
    kept = stays(scores, least, logits)
    found = place(boxes, image_size)[kept], scores[kept], labels[kept]
    chosen = order(*found)
    return found[0][chosen], found[1][chosen], found[2][chosen]


def best_without_column_0(logits: Tensor) -> tuple[Tensor, Tensor]:
    scores, places = logits.softmax(dim=1)[:, 1:].max(dim=1)
    return scores, places


def every_class(logits: Tensor, boxes: Tensor, image_size: Size, least: float) -> Detections:
    shares = logits.softmax(dim=1)[:, :-1]
    queries, labels = torch.where(shares >= least)
    return box_cxcywh_normalized_to_xyxy(boxes, image_size)[queries], shares[queries, labels], labels


def made_of_lists(logits: Tensor, boxes: Tensor, image_size: Size, least: float) -> Detections:
    found, scores, labels = (part.tolist() for part in post_process(logits, boxes, image_size, least))
    return torch.tensor(found), torch.tensor(scores), torch.tensor(labels)


CLASSES = 'Classes are 0..K−1, and the last column, number K, is "nothing".'
ONCE = "DETR needs no NMS: it learned to say each thing once. Only the score decides who stays."
SCORE = "The score is the probability of the label, in the softmax over all K + 1."

DECISIONS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "where nothing is likeliest, dropped",
        'You drop every query whose most probable answer is "nothing". If its best class still reaches `least`, it '
        "stays: only `least` decides.",
        {"stays": lambda scores, least, logits: (scores >= least) & (logits.argmax(dim=1) < logits.shape[1] - 1)},
    ),
    (
        "nothing as a label",
        'Some of your detections have the label K, "nothing". Leave the last column out before you look for the best.',
        {"best": best_of_all},
    ),
    (
        "softmax without nothing",
        f'You left "nothing" out before the softmax. Then each query is sure of something. {SCORE}',
        {"best": lambda logits: logits[:, :-1].softmax(dim=1).max(dim=1)},
    ),
    (
        "sigmoid",
        "You took a sigmoid of each score by itself. The K + 1 answers of a query compete: a softmax.",
        {"best": lambda logits: logits.sigmoid()[:, :-1].max(dim=1)},
    ),
    (
        "softmax over the queries",
        "Your softmax runs over the queries. It should run over the K + 1 answers of *each* query.",
        {"best": lambda logits: logits.softmax(dim=0)[:, :-1].max(dim=1)},
    ),
    (
        "1 − nothing as the score",
        f'Your score is 1 minus the probability of "nothing": that of all classes together. {SCORE}',
        {"best": lambda logits: (1 - logits.softmax(dim=1)[:, -1], best_thing(logits)[1])},
    ),
    (
        "nothing's probability as the score",
        f'Your score is the probability of "nothing". {SCORE}',
        {"best": lambda logits: (logits.softmax(dim=1)[:, -1], best_thing(logits)[1])},
    ),
    (
        "the likeliest answer's probability as the score",
        f'Your label is never "nothing", but your score may be its probability. {SCORE}',
        {"best": lambda logits: (best_of_all(logits)[0], best_thing(logits)[1])},
    ),
    (
        "column 0 taken for nothing",
        f"You left out column 0, and count the labels from column 1. {CLASSES}",
        {"best": best_without_column_0},
    ),
    (
        "column 0 left out",
        f"You left out column 0, so that label K comes up and 0 never does. {CLASSES}",
        {"best": lambda logits: (best_without_column_0(logits)[0], best_without_column_0(logits)[1] + 1)},
    ),
    (
        "exactly `least` dropped",
        "Right, but a query with a score of exactly `least` goes. *At least* `least` is enough.",
        {"stays": lambda scores, least, logits: scores > least},
    ),
    (
        "`least` not used",
        "All your queries stay. Those with a score below `least` go.",
        {"stays": lambda scores, least, logits: scores >= 0},
    ),
    (
        "all stay that are something",
        'You keep the queries whose most probable answer is not "nothing", whatever `least`. It is the score that '
        "decides.",
        {"stays": lambda scores, least, logits: logits.argmax(dim=1) < logits.shape[1] - 1},
    ),
    (
        "kept by all classes together",
        'You keep a query if all classes *together* reach `least`: 1 minus the probability of "nothing". It is the '
        "score that must.",
        {"stays": lambda scores, least, logits: 1 - logits.softmax(dim=1)[:, -1] >= least},
    ),
    (
        "best first",
        "The right detections, but sorted by score. The task asks for the order of the queries' numbers.",
        {"order": lambda boxes, scores, labels: scores.argsort(descending=True)},
    ),
    (
        "NMS",
        f"You suppressed boxes that overlap a better one of their class. {ONCE} Your list begins with the best, too.",
        {"order": lambda boxes, scores, labels: batched_nms(boxes, scores, labels, 0.5)},
    ),
    (
        "NMS over all classes",
        f"You suppressed boxes that overlap a better one, of any class. {ONCE} Your list begins with the best, too.",
        {"order": lambda boxes, scores, labels: nms(boxes, scores, 0.5)},
    ),
    (
        "NMS, in the queries' order",
        f"You suppressed boxes that overlap a better one of their class. {ONCE}",
        {"order": lambda boxes, scores, labels: batched_nms(boxes, scores, labels, 0.5).sort().values},
    ),
    (
        "NMS over all classes, in the queries' order",
        f"You suppressed boxes that overlap a better one, of any class. {ONCE}",
        {"order": lambda boxes, scores, labels: nms(boxes, scores, 0.5).sort().values},
    ),
    (
        "shares instead of pixels",
        "Your corners are shares of the picture, 0..1. The task asks for pixels: x times the width, y times the "
        "height.",
        {"place": lambda boxes, size: box_cxcywh_to_xyxy(boxes)},
    ),
    (
        "middle taken for a corner",
        "You took the first two numbers for the left upper corner. They are the *middle*: half of the size goes to "
        "each side.",
        {"place": lambda boxes, size: box_xywh_to_xyxy(boxes) * torch.tensor(size[::-1]).repeat(2)},
    ),
    (
        "x1 and y1 times the width",
        "You multiplied x1 and y1 by the width, x2 and y2 by the height. Every x goes with the width, every y with the "
        "height.",
        {"place": lambda boxes, size: box_cxcywh_to_xyxy(boxes) * torch.tensor(size[::-1]).repeat_interleave(2)},
    ),
    (
        "cut off at the picture's edge",
        "You cut off what reaches out of the picture. Nobody asked for that here.",
        {"place": lambda boxes, size: clip_boxes_to_image(box_cxcywh_normalized_to_xyxy(boxes, size), size)},
    ),
]


def picture(got: Any, expected: Any, case: Case) -> "Figure | None":
    """The boxes."""
    return compare_boxes(got[0], expected[0], case)


EXERCISE = Exercise(
    name="post_process",
    reference=post_process,
    cases=cases,
    takes={"logits": Kind.LOGITS, "image_size": Kind.SIZE},
    gives=(Kind.BOXES, Kind.NUMBERS, Kind.CLASSES),
    mistakes=[
        *(Mistake(name, explanation, wrong=partial(opened, **made)) for name, explanation, made in DECISIONS),
        Mistake(
            "every class that passes",
            "You keep every class of a query that reaches `least`, and so return some queries more than once. A query "
            "has one label: its most probable class.",
            wrong=every_class,
        ),
        Mistake(
            "empty lists",
            "Right but for one thing. Where no query stays, you return boxes of shape (0,), and labels that are no "
            "whole numbers: `torch.tensor` of an empty list. The task asks for (0, 4) and int64: what a mask as "
            "an index gives by itself.",
            wrong=made_of_lists,
        ),
    ],
    picture=picture,
)
