"""What a grounded detector and SAM say of a picture, as labels: only what both agree on, each thing once."""

from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms, nms
from torchvision.ops import box_iou as torchvision_iou

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import boxes_of, different_scores, random_classes, random_uniform
from lib.exercises.engine.kinds import Kind
from lib.ops.boxes import box_iou
from lib.ops.masks import masks_to_boxes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Labels = tuple[Tensor, Tensor]  # boxes (K, 4), labels (K,)


def auto_label(
    boxes: Tensor, scores: Tensor, labels: Tensor, masks: Tensor, threshold: float, same: float, agree: float
) -> Labels:
    """The course's own, as in `lib.training.grounding.auto_label`."""
    sure = ((scores >= threshold) & masks.flatten(1).any(1)).nonzero()[:, 0]  # (S,)
    sure = sure[box_iou(boxes[sure], around(masks[sure])).diagonal() >= agree]
    kept = sure[nms(boxes[sure], scores[sure], same)]  # (K,)
    return boxes[kept], labels[kept]


def around(masks: Tensor, more: tuple[int, int, int, int] = (0, 0, 1, 1)) -> Tensor:
    return masks_to_boxes(masks) + torch.tensor(more)


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

Test = Callable[[Tensor, float], Tensor]  # values (n,) and a bound -> (n,) bool
Things = dict[str, Tensor]  # boxes, scores, labels, masks; and tight, from masks


def never_asked(values: Tensor, bound: float) -> Tensor:
    return torch.ones(len(values), dtype=torch.bool)


def with_its_own(things: Things) -> Tensor:
    return box_iou(things["boxes"], things["tight"]).diagonal()


def best_first(things: Things, same: float) -> Tensor:
    return nms(things["boxes"], things["scores"], same)


def chosen(things: Things, which: Tensor) -> Things:
    return {name: part[which] for name, part in things.items()}


def opened(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    masks: Tensor,
    threshold: float,
    same: float,
    agree: float,
    sure: Test = torch.ge,
    some: bool = True,
    tight: Callable[[Tensor], Tensor] = around,
    fit: Callable[[Things], Tensor] = with_its_own,
    fits: Test = torch.ge,
    early: Callable[[Things, float], Tensor] = lambda things, same: torch.arange(len(things["boxes"])),
    different: Callable[[Things, float], Tensor] = best_first,
    told: tuple[str, int, int] = ("boxes", 2, 2),
) -> Labels:
    """`auto_label` with its decisions open.

    Args:
        sure, fits: the tests of the scores, and of what `fit` says. some: whether empty masks are dropped.
        tight: from masks to boxes around them. early: what else is dropped before `fits`.
        different: which are kept in the end. told: which boxes are returned, and of which list they and the labels are:
            0 is that of all N, 1 what passed the first tests, 2 what fits its mask.
    """
    things = {"boxes": boxes, "scores": scores, "labels": labels, "masks": masks}
    good = sure(scores, threshold)
    few = chosen(things, good & masks.flatten(1).any(1) if some else good)
    few["tight"] = tight(few["masks"])
    some_left = chosen(few, early(few, same))
    fewer = chosen(some_left, fits(fit(some_left), agree))
    kept = different(fewer, same)
    name, of_boxes, of_labels = told
    lists = things, few, fewer
    return lists[of_boxes][name][kept], lists[of_labels]["labels"][kept]


def suppressed_first(boxes: Tensor, scores: Tensor, labels: Tensor, masks: Tensor, *given: Any) -> Labels:
    kept = nms(boxes, scores, given[1])
    return opened(boxes[kept], scores[kept], labels[kept], masks[kept], *given)


def with_any(things: Things) -> Tensor:
    table = box_iou(things["boxes"], things["tight"])
    return F.pad(table, (1, 0)).amax(1)  # one more column, as there may be none


Way = tuple[str, str, dict[str, Any]]  # a name, words that are true beside others, decisions of `opened`

USUAL: list[Way] = [  # any two of them at once
    (
        "NMS for each label alone",
        "You compare boxes of the same label alone. A thing that answers to two phrases is then labelled twice: "
        "compare all.",
        {"different": lambda things, same: batched_nms(things["boxes"], things["scores"], things["labels"], same)},
    ),
    (
        "no NMS",
        "You drop no box because of another one. Of boxes whose IoU is above `same` only the best may stay.",
        {"different": lambda things, same: best_first(things, 1.0)},
    ),
    (
        "NMS on the tight boxes",
        "You compare the tight boxes with each other. Compare those of the detector.",
        {"different": lambda things, same: nms(things["tight"], things["scores"], same)},
    ),
    (
        "the tight boxes returned",
        "You return the tight boxes around the masks. They are a second opinion, for the IoU alone: return the "
        "detector's boxes.",
        {"told": ("tight", 2, 2)},
    ),
    (
        "last pixel for edge",
        "The x2 and y2 of your tight boxes are the places of the last pixels. A box ends one further on, and so the "
        "IoU is another one.",
        {"tight": partial(around, more=(0, 0, 0, 0))},
    ),
    (
        "NMS before the masks are asked",
        "You drop boxes for the sake of a better one before you know whether its mask fits. If it does not, both are "
        "gone. NMS comes last.",
        {"early": best_first},
    ),
]
UNCLEAR = {"early", "different"}  # of these, one hides the other

SINGLE: list[Way] = [
    ("score strict", "A score of exactly `threshold` is high enough. Yours drops it.", {"sure": torch.gt}),
    ("agreement strict", "An IoU of box and mask of exactly `agree` is enough. Yours drops it.", {"fits": torch.gt}),
    (
        "an IoU of exactly `same` drops",
        "Two boxes whose IoU is exactly `same` are two things. Only above it the second one goes.",
        {"different": lambda things, same: best_first(things, same - 1e-4)},
    ),
    ("scores not tested", "You do not test the scores. They must be at least `threshold`.", {"sure": never_asked}),
    (
        "agreement not tested",
        "You do not ask whether a mask fits its box. Their IoU must be at least `agree`.",
        {"fits": never_asked},
    ),
    (
        "empty masks not dropped",
        "A mask without any pixel has no box around it, and `masks_to_boxes` says so. Drop empty ones before.",
        {"some": False},
    ),
    (
        "all numbers of the tight boxes plus 1",
        "You add 1 to all four numbers of the tight boxes. Only x2 and y2 lie one further on.",
        {"tight": partial(around, more=(1, 1, 1, 1))},
    ),
    (
        "any mask will do",
        "A box counts as agreeing if any of the masks fits it. It must be its own: the diagonal of the table of IoUs.",
        {"fit": with_any},
    ),
    (
        "in the order of the list",
        "The right ones, but in the order of the list. The best score comes first.",
        {"different": lambda things, same: best_first(things, same).sort().values},
    ),
]

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
