"""What a grounded detector and SAM say of a picture, as labels: only what both agree on, each thing once."""

from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.ops import box_iou as torchvision_iou
from torchvision.ops import nms

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import boxes_of, different_scores, random_classes, random_uniform
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_19._ways_to_label import (
    ANY,
    SINGLE,
    UNCLEAR,
    USUAL,
    Labels,
    opened,
    some_of_all,
    suppressed_first,
    with_bounds,
)
from lib.ops.boxes import box_iou
from lib.ops.masks import masks_to_boxes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def auto_label(
    boxes: Tensor, scores: Tensor, labels: Tensor, masks: Tensor, threshold: float, same: float, agree: float
) -> Labels:
    """The course's own, as in `lib.training.grounding.auto_label`."""
    sure = ((scores >= threshold) & masks.flatten(1).any(1)).nonzero()[:, 0]  # (S,)
    tight = masks_to_boxes(masks[sure]) + torch.tensor([0, 0, 1, 1])
    sure = sure[box_iou(boxes[sure], tight).diagonal() >= agree]
    kept = sure[nms(boxes[sure], scores[sure], same)]  # (K,)
    return boxes[kept], labels[kept]


# --- cases ------------------------------------------------------------------------------------------------------------


def filled(boxes: list[tuple[int, int, int, int]], height: int, width: int) -> Tensor:
    """Masks (N, height, width) of whole boxes x1, y1, x2, y2; one of zero width is empty."""
    masks = torch.zeros(len(boxes), height, width, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return masks


def crowd(count: int, height: int, width: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes, scores, labels and masks; several boxes for a thing, of which some are poor; some masks are empty."""
    things = random_uniform(-(-count // 3), 4, seed=seed)  # of each a middle, and sides
    size = torch.tensor([width, height])
    middle, sides = things[:, :2] * 0.7 + 0.15, things[:, 2:] * 0.3 + 0.25
    true = torch.cat([middle - sides / 2, middle + sides / 2], 1).clamp(0, 1) * size.repeat(2)
    which = torch.arange(count) % len(true)
    moved, other = ((random_uniform(count, 4, seed=seed + i) - 0.5) * size.repeat(2) for i in (1, 2))
    said = (true[which] + other * 0.3).round().int().clamp(min=0)
    masks = filled([tuple(row) for row in said.tolist()], height, width)
    masks &= random_uniform(count, height, width, seed=seed + 3) < 0.8
    labels = random_classes(count, classes=3, seed=seed + 5)
    return true[which] + moved * 0.14, different_scores(count, seed + 4), labels, masks


def cases() -> list[Case]:
    # 0 has an IoU of 0.6 with 1, which is better, as 4 has with 2; but 2's mask fills only 6 of the box's 16 pixels.
    boxes = boxes_of((1, 0, 5, 4), (0, 0, 4, 4), (6, 0, 10, 4), (0, 4, 4, 8), (6, 1, 10, 5))
    masks = filled([(1, 0, 5, 4), (0, 1, 4, 4), (8, 1, 10, 4), (0, 4, 4, 8), (6, 2, 9, 5)], 8, 10)
    first = boxes, torch.tensor([0.5, 0.8, 0.9, 0.2, 0.85]), torch.tensor([1, 0, 2, 2, 1]), masks
    worked = boxes_of((6, 1, 10, 5), (0, 0, 4, 4)), torch.tensor([1, 0])
    at_bounds = (
        boxes_of((0, 0, 4, 4), (6, 0, 10, 4), (0, 6, 4, 10), (0, 6, 4, 8)),
        torch.tensor([0.5, 0.6, 0.7, 0.8]),
        torch.tensor([0, 1, 1, 1]),
        filled([(0, 0, 4, 4), (6, 0, 10, 2), (0, 6, 3, 10), (0, 6, 4, 8)], 10, 11),
    )
    empty = first[0], first[1], first[2], masks & torch.tensor([1, 1, 0, 1, 1]).bool()[:, None, None]
    named: dict[str, Any] = {
        "all three bounds met exactly": (*at_bounds, 0.5, 0.5, 0.5),
        "an empty mask, and `agree` is 0": (*empty, 0.1, 0.5, 0.0),
        "18 boxes": (*crowd(18, 24, 20, 10), 0.23, 0.55, 0.33),
        "30 boxes": (*crowd(30, 16, 30, 20), 0.11, 0.43, 0.41),
        "all lengths are 4": (*crowd(4, 4, 4, 40), 0.15, 0.44, 0.21),
        "nothing is good enough": (*first, 0.95, 0.5, 0.5),
        "no boxes": (*(part[:0] for part in first), 0.3, 0.5, 0.5),
    }
    label = "5 boxes by hand: 3 has a low score, 2 does not fit its mask; 0 has an IoU of 0.6 with 1, and 4 with 2"
    made = [Case(label, (*first, 0.3, 0.5, 0.5), worked)]
    return made + [Case(label, given, one_by_one(*given)) for label, given in named.items()]


def one_by_one(
    boxes: Tensor, scores: Tensor, labels: Tensor, masks: Tensor, threshold: float, same: float, agree: float
) -> Labels:
    """The truth: the best score first, each compared with all that were kept before, by torchvision."""
    kept: list[int] = []
    for place in sorted(range(len(boxes)), key=lambda place: -scores[place].item()):
        pixels = masks[place].nonzero()  # (n, 2) row, column
        if not len(pixels) or scores[place] < threshold:
            continue
        edges = torch.cat([pixels.amin(0).flip(0), pixels.amax(0).flip(0) + 1])
        others = torch.cat([edges[None], boxes[kept]]).double()
        fit, *overlaps = torchvision_iou(boxes[place][None].double(), others)[0].tolist()
        if fit >= agree and all(overlap <= same for overlap in overlaps):
            kept.append(place)
    return boxes[kept], labels[kept]


# --- mistakes ---------------------------------------------------------------------------------------------------------

BOUNDS = ("threshold", "same", "agree")
TESTS = ("the score", "the IoU of two boxes", "the IoU of a box and its tight box")
EXCHANGED = [(0, 0, 2), (0, 2, 2), (0, 1, 0), (0, 1, 1), (1, 1, 2), (2, 1, 2)]  # one of the three is another one

OTHERS = "Your {} are those of other things: you look up places of a shortened list in {}. Shorten all lists alike."
LISTS = ["that of all N", "one that was not shortened by the test of the masks"]


def draw_labels(got: Any, expected: Labels, case: Case) -> "Figure | None":
    """Yours and ours, with their labels, on the masks."""
    figure = compare_boxes(got[0], expected[0], case)
    if figure is not None:
        (axes,) = figure.axes
        masks = case.arguments[3]  # (N, H, W)
        height, width = masks.shape[1:]
        axes.imshow(masks.sum(0).numpy(), cmap="Greys", vmin=0, vmax=4, extent=(0, width, height, 0))
        for (boxes, labels), colour, side in zip((got, expected), ("#D55E00", "black"), ("left", "right")):
            for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
                axes.text(box[0 if side == "left" else 2], box[1], label, color=colour, ha=side, va="top")
    return figure


EXERCISE = Exercise(
    name="auto_label",
    reference=auto_label,
    cases=cases,
    takes={"boxes": Kind.BOXES, "scores": Kind.PROBABILITIES, "labels": Kind.CLASSES, "masks": Kind.MASK},
    gives=(Kind.BOXES, Kind.CLASSES),
    mistakes=[
        *(Mistake(name, told, wrong=partial(opened, **made)) for name, told, made in [*USUAL, *SINGLE]),
        *(
            Mistake(
                f"{BOUNDS[place]} for {BOUNDS[test]}",
                f"You use `{BOUNDS[place]}` where `{BOUNDS[test]}` belongs: that is the bound of {TESTS[test]}.",
                wrong=partial(with_bounds, places=places),
            )
            for places in EXCHANGED
            for test, place in enumerate(places)
            if test != place
        ),
        Mistake("any mask will do, also of a low score", ANY, wrong=some_of_all),
        Mistake("NMS first of all", USUAL[-1][1], wrong=suppressed_first),
        *(
            Mistake(
                f"{what} {'shortened once' if shortened else 'not shortened'}",
                OTHERS.format(what, LISTS[shortened]),
                wrong=partial(opened, told=("boxes", shortened if of_boxes else 2, shortened)),
            )
            for what, of_boxes in (("labels", False), ("boxes and labels", True))
            for shortened in (0, 1)
        ),
        *(
            Mistake(f"{name}; {other}", f"Two things at once. {told} {words}", wrong=partial(opened, **made, **more))
            for (name, told, made), (other, words, more) in combinations(USUAL, 2)
            if made.keys() | more.keys() != UNCLEAR and not made.keys() & more.keys()
        ),
    ],
    picture=draw_labels,
)
