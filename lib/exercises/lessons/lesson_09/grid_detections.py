"""From the raw answers of YOLO (2017) to the detections of one picture."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_09._parts import compare_on_cells, corners_of_cells
from lib.models.yolo import LARGEST_GROWTH
from lib.ops.boxes import box_cxcywh_to_xyxy, clip_boxes_to_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Detections = tuple[Tensor, Tensor, Tensor]
Decision = Callable[..., Tensor]


def grid_detections(grid: Tensor, anchors: Tensor, stride: int, threshold: float) -> Detections:
    """The course's own, the steps of `lib.models.yolo.YOLOv2.decode` and `select` for one picture."""
    return found(grid, anchors, stride, threshold)


def found(
    grid: Tensor,
    anchors: Tensor,
    stride: int,
    threshold: float,
    split: Decision = lambda grid, count: grid.unflatten(-1, (count, -1)),
    middle: Decision = lambda corners, t, stride: (corners + t.sigmoid()) * stride,
    side: Decision = lambda anchors, t: anchors * t.clamp(max=LARGEST_GROWTH).exp(),
    score: Decision = lambda sure, logits: sure.sigmoid() * logits.softmax(dim=-1),
    passing: Decision = lambda scores, sure, threshold: scores > threshold,
    clip: Decision = clip_boxes_to_image,
    keep: Decision = lambda boxes, scores, classes, threshold: batched_nms(boxes, scores, classes, 0.5),
) -> Detections:
    """`grid_detections` with its decisions open."""
    answers = split(grid, len(anchors))  # (S, S', B, 5 + C)
    middles = middle(corners_of_cells(*grid.shape[:2])[:, :, None], answers[..., :2], stride)  # (S, S', B, 2)
    sides = side(anchors, answers[..., 2:4])  # (S, S', B, 2)
    size = grid.shape[0] * stride, grid.shape[1] * stride
    boxes = clip(box_cxcywh_to_xyxy(torch.cat([middles, sides], dim=-1)).reshape(-1, 4), size)
    scores = score(answers[..., 4:5], answers[..., 5:])  # (S, S', B, C)
    rows, classes = torch.where(passing(scores, answers[..., 4:5].sigmoid(), threshold).flatten(0, 2))  # (n,) each
    boxes, scores = boxes[rows], scores.flatten(0, 2)[rows, classes]  # (n, 4), (n,)
    kept = keep(boxes, scores, classes, threshold)
    return boxes[kept], scores[kept], classes[kept] + 1


def cases() -> list[Case]:
    two = torch.tensor([[12.0, 20], [30, 14]])
    three = torch.tensor([[10.0, 10], [14, 40], [44, 24]])
    quiet = random_values(2, 3, 2 * 8, seed=0) - 6 * (torch.arange(16) % 8 == 4)  # nobody is sure
    first, pair, exact, wild = quiet.clone(), quiet.clone(), quiet.clone(), quiet.clone()
    first[0, 1, :8] = torch.tensor([0.5, -1.0, 0.4, -0.6, 1.5, 0.2, 1.8, -0.5])
    first[1, 2, 8:] = torch.tensor([-0.8, 0.3, -0.5, 0.2, 0.9, 0.6, -0.4, 0.1])
    pair[0, 0, :8] = torch.tensor([2.0, 0.0, 0.6, 0.2, 3.0, 2.5, 2.0, -2.0])  # two classes, and so near the next
    pair[0, 1, :8] = torch.tensor([-2.0, 0.1, 0.6, 0.2, 2.5, -1.0, 2.0, 0.4])
    exact[0, 0, 4:8], exact[1, 1, 4:8] = torch.tensor([0.0, 0, 0, -200.0]), torch.tensor([2.0, 0, 1, -1])
    wild[0, 1, :8] = torch.tensor([0.0, 1.0, 9.0, -6.0, 2.0, 3.0, 0, 0])
    wild[1, 1, 8:] = torch.tensor([-0.5, 0.4, 0.2, 6.0, 1.0, 0.0, 2.0, 0])
    # two anchors of one cell that differ only outside of the picture
    outside = quiet.clone()
    outside[0, 0] = torch.tensor([-3.0, 0, 1.2, 0, 2, 0, 3, 0, -3.0, 0, 1.2, 0.4, 1.5, 0, 3, 0])
    named = {
        "2 × 3 cells, two of them sure": (first, two, 16, 0.2),
        "two boxes of one class on each other, and another class there": (pair, two, 16, 0.2),
        "a score of exactly the threshold": (exact, two, 16, 0.25),
        "a small anchor, and a tw of 9": (wild, torch.tensor([[0.5, 20.0], [30, 0.3]]), 16, 0.2),
        "boxes that reach out of the picture": (outside, torch.tensor([[30.0, 20], [60, 14]]), 16, 0.2),
        "4 × 3 cells, three anchors, five classes": (1.5 * random_values(4, 3, 30, seed=4), three, 16, 0.15),
        "3 × 5 cells of 8 pixels, one anchor, one class": (random_values(3, 5, 6, seed=5), two[:1], 8, 0.3),
        "nobody is sure": (quiet, two, 16, 0.2),
        "4 × 4 cells, seven classes": (2 * random_values(4, 4, 24, seed=6), two, 8, 0.1),
    }
    return [Case(label, arguments, anchor_by_anchor(*arguments)) for label, arguments in named.items()]


def anchor_by_anchor(grid: Tensor, anchors: Tensor, stride: int, threshold: float) -> Detections:
    """The truth: each anchor of each cell by itself, then each class by itself with torchvision's `nms`."""
    height, width, each = grid.shape[0] * stride, grid.shape[1] * stride, grid.shape[2] // len(anchors)
    of_class: dict[int, list[Tensor]] = {}
    for row in range(grid.shape[0]):
        for column in range(grid.shape[1]):
            for number, (across, down) in enumerate(anchors):
                tx, ty, tw, th, to, *logits = grid[row, column, number * each : (number + 1) * each]
                x, y = (column + 1 / (1 + torch.exp(-tx))) * stride, (row + 1 / (1 + torch.exp(-ty))) * stride
                w, h = across * torch.exp(tw.clamp(max=4)), down * torch.exp(th.clamp(max=4))
                corners = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
                corners = [at.clamp(0, end) for at, end in zip(corners, (width, height) * 2, strict=True)]
                total = sum(torch.exp(logit) for logit in logits)
                for label, logit in enumerate(logits, start=1):
                    score = torch.exp(logit) / total / (1 + torch.exp(-to))
                    if score > threshold:
                        of_class.setdefault(label, []).append(torch.stack([*corners, score, torch.tensor(label)]))
    rows = [torch.zeros(0, 6)]  # x1, y1, x2, y2, score, label
    for several in map(torch.stack, of_class.values()):
        rows.append(several[nms(several[:, :4], several[:, 4], 0.5)])
    best_first = torch.cat(rows)[torch.cat(rows)[:, 4].argsort(descending=True)]
    return best_first[:, :4], best_first[:, 4], best_first[:, 5].long()


def only_the_best_class(scores: Tensor, sure: Tensor, threshold: float) -> Tensor:
    return (scores > threshold) & (scores == scores.amax(dim=-1, keepdim=True))


@mistake("labels from 0", "Your labels are one too small. Class 0 of the grid has the label 1: 0 is no thing's label.")
def labels_from_0(grid, anchors, stride, threshold):
    boxes, scores, labels = found(grid, anchors, stride, threshold)
    return boxes, scores, labels - 1


@mistake(
    "clipped last",
    "You clip after suppressing. Two boxes that differ only outside of the picture are then both kept.",
)
def clipped_last(grid, anchors, stride, threshold):
    boxes, scores, labels = found(grid, anchors, stride, threshold, clip=lambda boxes, size: boxes)
    return clip_boxes_to_image(boxes, (grid.shape[0] * stride, grid.shape[1] * stride)), scores, labels


DECISIONS = [
    Mistake(
        "row and column swapped",
        "Your boxes run down where they should run to the right. The *column* moves x, the *row* moves y.",
        wrong=partial(found, middle=lambda corners, t, stride: (corners.flip(-1) + t.sigmoid()) * stride),
    ),
    Mistake(
        "numbers of the anchors mixed",
        "You cut the numbers of a cell into 5 + C groups of B. They lie anchor by anchor: first all 5 + C numbers of "
        "anchor 0, then all of anchor 1.",
        wrong=partial(found, split=lambda grid, count: grid.unflatten(-1, (-1, count)).transpose(-1, -2)),
    ),
    Mistake(
        "σ forgotten in x and y",
        "You moved the middles by tx and ty themselves. Only after σ do they stay in their cell.",
        wrong=partial(found, middle=lambda corners, t, stride: (corners + t) * stride),
    ),
    Mistake(
        "x and y moved by pixels",
        "You added σ(tx) and σ(ty) after you multiplied by the stride: as pixels. They count in cells.",
        wrong=partial(found, middle=lambda corners, t, stride: corners * stride + t.sigmoid()),
    ),
    Mistake(
        "exp forgotten",
        "You multiplied the anchors by tw and th themselves. They are logarithms: 0 means *as large as the anchor*.",
        wrong=partial(found, side=lambda anchors, t: anchors * t.clamp(max=LARGEST_GROWTH)),
    ),
    Mistake(
        "tw and th limited from below, too",
        "You limit tw and th on both sides, to −4 as well. Only large ones make a box infinite.",
        wrong=partial(found, side=lambda anchors, t: anchors * t.clamp(-LARGEST_GROWTH, LARGEST_GROWTH).exp()),
    ),
    Mistake(
        "no limit for tw and th",
        "A tw of 9 makes your box 8,103 times as wide as its anchor. At most 4 is believed.",
        wrong=partial(found, side=lambda anchors, t: anchors * t.exp()),
    ),
    Mistake(
        "width and height of the anchors swapped",
        "Your boxes take the anchor's width for their height. The columns of `anchors` are width, height.",
        wrong=partial(found, side=lambda anchors, t: anchors.flip(-1) * t.clamp(max=LARGEST_GROWTH).exp()),
    ),
    Mistake(
        "confidence alone for the score",
        "Your score is the confidence, and the label the best class. The score of a class is confidence *times* "
        "probability of the class, and each class that passes counts.",
        wrong=partial(found, score=lambda sure, logits: sure.sigmoid() * (logits == logits.amax(-1, keepdim=True))),
    ),
    Mistake(
        "score without the class",
        "Each class has the confidence of its box for a score. The score is confidence *times* probability of it.",
        wrong=partial(found, score=lambda sure, logits: sure.sigmoid().expand_as(logits)),
    ),
    Mistake(
        "score without the confidence",
        "Your score is the probability of the class alone. An anchor that sees nothing has a most probable class, too.",
        wrong=partial(found, score=lambda sure, logits: logits.softmax(dim=-1)),
    ),
    Mistake(
        "σ forgotten in the confidence",
        "Your confidence is the raw number `to`: it can be negative, or above 1. σ comes first.",
        wrong=partial(found, score=lambda sure, logits: sure * logits.softmax(dim=-1)),
    ),
    Mistake(
        "σ instead of softmax for the classes",
        "You took σ of each class by itself. The classes of an anchor share one probability of 1: a softmax.",
        wrong=partial(found, score=lambda sure, logits: sure.sigmoid() * logits.sigmoid()),
    ),
    Mistake(
        "softmax over the anchors",
        "Your probabilities add up to 1 over the anchors of a cell. They should over the *classes* of an anchor.",
        wrong=partial(found, score=lambda sure, logits: sure.sigmoid() * logits.softmax(dim=-2)),
    ),
    Mistake(
        "exactly the threshold passes",
        "Right, but a score of exactly `threshold` passes with you. It must be above.",
        wrong=partial(found, passing=lambda scores, sure, threshold: scores >= threshold),
    ),
    Mistake(
        "only the best class of an anchor",
        "You keep one class for each anchor. Every class whose score is above the threshold counts.",
        wrong=partial(found, passing=only_the_best_class),
    ),
    Mistake(
        "threshold for the confidence",
        "You let pass every class of a box whose *confidence* is above the threshold. The score must be.",
        wrong=partial(found, passing=lambda scores, sure, threshold: (sure > threshold).expand_as(scores)),
    ),
    Mistake(
        "not clipped",
        "Some of your boxes reach out of the picture.",
        wrong=partial(found, clip=lambda boxes, size: boxes),
    ),
    Mistake(
        "clipped to a picture with swapped sides",
        "You cut the boxes off at the wrong sides: width and height of the picture have changed places. Rows make the "
        "height.",
        wrong=partial(found, clip=lambda boxes, size: clip_boxes_to_image(boxes, size[::-1])),
    ),
    Mistake(
        "NMS over all classes together",
        "One of your boxes suppressed a box of *another* class. Boxes compete within their class.",
        wrong=partial(found, keep=lambda boxes, scores, classes, threshold: nms(boxes, scores, 0.5)),
    ),
    Mistake(
        "no NMS",
        "You return duplicates: boxes of one class that overlap by more than a half. Suppress them.",
        wrong=partial(found, keep=lambda boxes, scores, classes, threshold: scores.argsort(descending=True)),
    ),
    Mistake(
        "NMS at the wrong threshold",
        "`threshold` is one of the score. The overlap from which boxes suppress each other is 0.5.",
        wrong=partial(found, keep=batched_nms),
    ),
    Mistake(
        "not the best first",
        "The right detections, but in the order of the grid. The best comes first.",
        wrong=partial(found, keep=lambda *given: batched_nms(*given[:3], 0.5).sort().values),
    ),
]


def picture(got: Any, expected: Any, case: Case) -> "Figure | None":
    """The boxes on their cells."""
    return compare_on_cells(got[0], expected[0], case, case.arguments[0].shape[:2], case.arguments[2])


EXERCISE = Exercise(
    name="grid_detections",
    reference=grid_detections,
    cases=cases,
    gives=(Kind.BOXES, Kind.NUMBERS, Kind.CLASSES),
    mistakes=[labels_from_0, clipped_last, *DECISIONS],
    picture=picture,
)
