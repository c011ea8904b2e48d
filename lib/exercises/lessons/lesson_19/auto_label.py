"""What a grounded detector and SAM say of a picture, as labels: only what both agree on, each thing once."""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import different_scores, random_classes, random_uniform
from lib.exercises.engine.kinds import Kind
from lib.ops.boxes import box_iou
from lib.ops.masks import mask_iou, masks_to_boxes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Labels = tuple[Tensor, ...]  # boxes (K, 4), labels (K,)


def auto_label(
    boxes: Tensor, scores: Tensor, labels: Tensor, masks: Tensor, threshold: float, same: float, agree: float
) -> Labels:
    """The course's own: three tests, then NMS over all labels."""
    good = (scores >= threshold) & masks.flatten(1).any(1)
    boxes, scores, labels, masks = boxes[good], scores[good], labels[good], masks[good]
    tight = masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1])
    fits = box_iou(boxes, tight).diagonal() >= agree
    boxes, scores, labels, tight = boxes[fits], scores[fits], labels[fits], tight[fits]
    kept = nms(boxes, scores, same)
    return tight[kept], labels[kept]


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
    moved = (random_uniform(count, 4, seed=seed + 1) - 0.5) * 0.14 * size.repeat(2)
    said = (true[which] + (random_uniform(count, 4, seed=seed + 2) - 0.5) * 0.3 * size.repeat(2)).round().int()
    masks = filled([tuple(row) for row in said.clamp(min=0).tolist()], height, width)
    masks &= random_uniform(count, height, width, seed=seed + 3) < 0.8
    return (
        true[which] + moved,
        different_scores(count, seed + 4),
        random_classes(count, classes=3, seed=seed + 5),
        masks,
    )


def cases() -> list[Case]:
    # 0 has an IoU of 0.6 with 1, which is better, as 4 has with 2; but 2's mask fills only 6 of the box's 16 pixels.
    boxes = torch.tensor([[1, 0, 5, 4], [0, 0, 4, 4], [6, 0, 10, 4], [0, 4, 4, 8], [6, 1, 10, 5.0]])
    masks = filled([(1, 0, 5, 4), (0, 1, 4, 4), (8, 1, 10, 4), (0, 4, 4, 8), (6, 2, 9, 5)], 8, 10)
    first = boxes, torch.tensor([0.5, 0.8, 0.9, 0.2, 0.85]), torch.tensor([1, 0, 2, 2, 1]), masks
    worked = torch.tensor([[6.0, 2, 9, 5], [0, 1, 4, 4]]), torch.tensor([1, 0])
    at_bounds = (
        torch.tensor([[0, 0, 4, 4], [6, 0, 10, 4], [0, 6, 4, 10], [0, 6, 4, 8.0]]),
        torch.tensor([0.5, 0.6, 0.7, 0.8]),
        torch.tensor([0, 1, 1, 1]),
        filled([(0, 0, 4, 4), (6, 0, 10, 2), (0, 6, 3, 10), (0, 6, 4, 8)], 10, 11),
    )
    empty = first[0], first[1], first[2], masks & torch.tensor([1, 1, 0, 1, 1]).bool()[:, None, None]
    twice = torch.tensor([[0, 0, 3, 3], [0, 0, 3, 3.0]]), torch.tensor([0.6, 0.7]), torch.tensor([1, 0])
    named: dict[str, Any] = {
        "all three bounds met exactly": (*at_bounds, 0.5, 0.5, 0.5),
        "a mask is empty": (*empty, 0.3, 0.5, 0.45),
        "an empty mask, and `agree` is 0": (*empty, 0.1, 0.7, 0.0),
        "`same` is 1": (*twice, filled([(0, 0, 3, 3), (0, 0, 3, 2)], 4, 5), 0.3, 1.0, 0.4),
        "18 boxes": (*crowd(18, 24, 20, 10), 0.23, 0.55, 0.33),
        "30 boxes": (*crowd(30, 16, 30, 20), 0.11, 0.43, 0.41),
        "all lengths are 4": (*crowd(4, 4, 4, 40), 0.15, 0.44, 0.21),
        "nothing is good enough": (*first, 0.95, 0.5, 0.5),
        "no boxes": (*(part[:0] for part in first), 0.3, 0.5, 0.5),
    }
    label = (
        "5 boxes by hand, 10 × 8 pixels: 3 has a low score, 2 does not fit its mask, 0 has an IoU of 0.6 with 1, and 4 "
        "has one of 0.6 with 2"
    )
    made = [Case(label, (*first, 0.3, 0.5, 0.5), worked)]
    return made + [Case(label, given, one_by_one(*given)) for label, given in named.items()]


def one_by_one(
    boxes: Tensor, scores: Tensor, labels: Tensor, masks: Tensor, threshold: float, same: float, agree: float
) -> Labels:
    """The truth, in fractions: the best score first, each compared with all that were kept before."""
    kept: list[tuple[list[int], list[float], int]] = []  # tight box, the detector's, label
    for place in sorted(range(len(boxes)), key=lambda place: -scores[place].item()):
        pixels, box = masks[place].nonzero().tolist(), boxes[place].tolist()
        if not pixels or scores[place].item() < torch.tensor(threshold).item():
            continue
        rows, columns = ({pixel[axis] for pixel in pixels} for axis in (0, 1))
        tight = [min(columns), min(rows), max(columns) + 1, max(rows) + 1]
        if exact_iou(tight, box) >= agree and all(exact_iou(box, other) <= same for _, other, _ in kept):
            kept.append((tight, box, int(labels[place])))
    return torch.tensor([tight for tight, _, _ in kept]).float().reshape(-1, 4), torch.tensor(
        [label for *_, label in kept], dtype=torch.int64
    )


def exact_iou(one: Any, other: Any) -> Fraction:
    a, b = ([Fraction(number) for number in box] for box in (one, other))
    across, down = (max(min(a[i + 2], b[i + 2]) - max(a[i], b[i]), Fraction(0)) for i in (0, 1))
    shared = across * down
    return shared / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - shared)


# --- mistakes ---------------------------------------------------------------------------------------------------------

Test = Callable[[Tensor, float], Tensor]  # values (n,) and a bound -> (n,) bool
Things = dict[str, Tensor]  # boxes, scores, labels, masks; and tight, from masks


def never_asked(values: Tensor, bound: float) -> Tensor:
    return torch.ones(len(values), dtype=torch.bool)


def around(masks: Tensor, more: tuple[int, int, int, int] = (0, 0, 1, 1)) -> Tensor:
    return masks_to_boxes(masks) + torch.tensor(more)


def rows_first(masks: Tensor) -> Tensor:
    return around(masks)[:, [1, 0, 3, 2]]


def of_boxes(things: Things) -> Tensor:
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
    fit: Callable[[Things], Tensor] = of_boxes,
    fits: Test = torch.ge,
    early: Callable[[Things, float], Tensor] = lambda things, same: torch.arange(len(things["boxes"])),
    different: Callable[[Things, float], Tensor] = best_first,
    told: Callable[[Things, Tensor], Any] = lambda things, kept: (things["tight"][kept], things["labels"][kept]),
) -> Any:
    """`auto_label` with its decisions open.

    Args:
        sure, fits: the tests of the scores, and of what `fit` says. some: whether empty masks are dropped.
        tight: from masks to boxes around them. early: what else is dropped before `fits`.
        different: which are kept in the end. told: what is returned of what passed the tests, and the kept places.
    """
    things = {"boxes": boxes, "scores": scores, "labels": labels, "masks": masks, "place": torch.arange(len(boxes))}
    good = sure(scores, threshold)
    things = chosen(things, good & masks.flatten(1).any(1) if some else good)
    things["tight"] = tight(things["masks"])
    things = chosen(things, early(things, same))
    things = chosen(things, fits(fit(things), agree))
    return told(things, different(things, same))


def suppressed_first(boxes: Tensor, scores: Tensor, labels: Tensor, masks: Tensor, *given: Any) -> Any:
    kept = nms(boxes, scores, given[1])
    return opened(boxes[kept], scores[kept], labels[kept], masks[kept], *given)


def of_each_label(things: Things, same: float) -> Tensor:
    return batched_nms(things["boxes"], things["scores"], things["labels"], same)


def all_of_them(things: Things, same: float) -> Tensor:
    return things["scores"].argsort(descending=True)


def greedy(
    things: Things, same: float, above: Callable[..., Tensor] = torch.gt, overlap: Callable[..., Tensor] | None = None
) -> Tensor:
    table = overlap(things) if overlap else box_iou(things["boxes"], things["boxes"])
    left, kept = things["scores"].argsort(descending=True), []
    while len(left):
        kept.append(left[0])
        left = left[1:][~above(table[left[0], left[1:]], same)]
    return torch.stack(kept) if kept else left


def removed_ones_remove(things: Things, same: float) -> Tensor:
    order = things["scores"].argsort(descending=True)
    boxes = things["boxes"][order]
    return order[(box_iou(boxes, boxes).triu(1) <= same).all(0)]


def one_round(things: Things, same: float) -> Tensor:
    order = things["scores"].argsort(descending=True)
    boxes = things["boxes"][order]
    return order[(torch.arange(len(order)) == 0) | (box_iou(boxes[:1], boxes) <= same).all(0)]


def best_of_label(things: Things, same: float) -> Tensor:
    kept = best_first(things, same).tolist()
    labels = things["labels"][kept].tolist()
    return torch.tensor([k for i, k in enumerate(kept) if labels[i] not in labels[:i]], dtype=torch.int64)


def in_filled_boxes(things: Things) -> Tensor:
    """The IoU of each mask with all the pixels in its box."""
    height, width = things["masks"].shape[1:]
    left, top, right, bottom = (side[:, None] for side in things["boxes"].unbind(1))
    across, down = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    inside = ((down > top) & (down < bottom))[:, :, None] & ((across > left) & (across < right))[:, None]
    return mask_iou(things["masks"], inside).diagonal()


def share_of_tight(things: Things) -> Tensor:
    sides = (things["boxes"][:, 2:] - things["boxes"][:, :2]).prod(1)
    return things["masks"].sum((1, 2)) / sides


def any_tight(things: Things) -> Tensor:
    table = box_iou(things["boxes"], things["tight"])
    return table.amax(1) if len(table) else table.new_zeros(0)


TESTS: list[tuple[str, str, dict[str, Any]]] = [  # a name, words that are true beside others, decisions of `opened`
    (
        "score strict",
        "A score of exactly `threshold` is high enough. Yours drops it.",
        {"sure": torch.gt},
    ),
    (
        "agreement strict",
        "An IoU of box and mask of exactly `agree` is enough. Yours drops it.",
        {"fits": torch.gt},
    ),
    (
        "an IoU of exactly `same` drops",
        "Two boxes whose IoU is exactly `same` are two things. Only above it the second one goes.",
        {"different": partial(greedy, above=torch.ge)},
    ),
    ("scores not tested", "You do not test the scores. They must be at least `threshold`.", {"sure": never_asked}),
    (
        "agreement not tested",
        "You do not ask whether a mask fits its box. Their IoU must be at least `agree`.",
        {"fits": never_asked},
    ),
    (
        "one thing for each phrase",
        "You keep one box of each label. A phrase may name several things.",
        {"different": best_of_label},
    ),
    (
        "NMS for each label alone",
        "You compare boxes of the same label alone. A thing that answers to two phrases is then labelled twice: "
        "compare all.",
        {"different": of_each_label},
    ),
    (
        "no NMS",
        "You drop no box because of another one. Of boxes whose IoU is above `same` only the best may stay.",
        {"different": all_of_them},
    ),
    (
        "NMS on the tight boxes",
        "You compare the tight boxes with each other. Compare those of the detector.",
        {"different": lambda things, same: nms(things["tight"], things["scores"], same)},
    ),
    (
        "the detector's boxes returned",
        "You return the detector's boxes. The tight ones around the masks are asked.",
        {"told": lambda things, kept: (things["boxes"][kept], things["labels"][kept])},
    ),
    (
        "last pixel for edge, in what is returned",
        "The x2 and y2 that you return are the places of the last pixels. The box ends one further on.",
        {"told": lambda things, kept: (things["tight"][kept] - torch.tensor([0, 0, 1, 1]), things["labels"][kept])},
    ),
    (
        "last pixel for edge",
        "The x2 and y2 of your tight boxes are the places of the last pixels. A box ends one further on: both in what "
        "you return and in the IoU.",
        {"tight": partial(around, more=(0, 0, 0, 0))},
    ),
    (
        "NMS before the masks are asked",
        "You drop boxes for the sake of a better one before you know whether its mask fits. If it does not, both are "
        "gone. NMS comes last.",
        {"early": best_first},
    ),
]

SINGLE: list[tuple[str, str, dict[str, Any]]] = [
    (
        "one pixel all around",
        "Your tight boxes begin one pixel too early. A box begins at the first pixel's number, and ends at the last "
        "one's plus 1.",
        {"tight": partial(around, more=(-1, -1, 1, 1))},
    ),
    (
        "all numbers of the tight boxes plus 1",
        "You add 1 to all four numbers of the tight boxes. Only x2 and y2 lie one further on.",
        {"tight": partial(around, more=(1, 1, 1, 1))},
    ),
    (
        "y before x in the tight boxes",
        "Your tight boxes are y1, x1, y2, x2. In a box x comes first; `nonzero` of a mask gives rows first.",
        {"tight": rows_first},
    ),
    (
        "the misfits kept",
        "You keep what does *not* agree. The IoU of box and mask must be at least `agree`.",
        {"fits": torch.lt},
    ),
    ("the doubted kept", "You keep the scores below `threshold`.", {"sure": torch.lt}),
    (
        "mask against the filled box",
        "You compare the mask's pixels with those in the box. A sphere never fills its box: compare the box around the "
        "mask.",
        {"fit": in_filled_boxes},
    ),
    (
        "share of the box",
        "You divide the mask's pixels by the box's area. Asked is the IoU of two boxes: the detector's, and the one "
        "around the mask.",
        {"fit": share_of_tight},
    ),
    (
        "any mask will do",
        "A box counts as agreeing if any of the masks fits it. It must be its own: the diagonal of the table of IoUs.",
        {"fit": any_tight},
    ),
    (
        "NMS with masks",
        "You compare masks with each other. Compare the detector's boxes.",
        {"different": partial(greedy, overlap=lambda things: mask_iou(things["masks"], things["masks"]))},
    ),
    (
        "removed ones remove",
        "A box that was dropped still drops others in yours. In a row of three, each like the next, the third stays.",
        {"different": removed_ones_remove},
    ),
    (
        "only one round",
        "Only the very best box drops others in yours. Each one that is kept does.",
        {"different": one_round},
    ),
    (
        "in the order of the list",
        "The right ones, but in the order of the list. The best score comes first.",
        {"different": lambda things, same: best_first(things, same).sort().values},
    ),
    (
        "the worst first",
        "The right ones, the lowest score first.",
        {"different": lambda things, same: best_first(things, same).flip(0)},
    ),
    (
        "the worst goes first",
        "In your NMS the lowest score goes first, and drops better ones.",
        {"different": lambda things, same: nms(things["boxes"], -things["scores"], same)},
    ),
    (
        "labels not in the boxes' order",
        "Your boxes come best first, your labels in the order of the list. Both need the same order.",
        {"told": lambda things, kept: (things["tight"][kept], things["labels"][kept.sort().values])},
    ),
    (
        "places instead of labels",
        "Your second part holds places in the list that was given. Asked are the labels found there.",
        {"told": lambda things, kept: (things["tight"][kept], things["place"][kept])},
    ),
    (
        "scores instead of labels",
        "Your second part holds the scores. Asked are the labels.",
        {"told": lambda things, kept: (things["tight"][kept], things["scores"][kept])},
    ),
]


def in_a_shortened_list(boxes: Tensor, scores: Tensor, labels: Tensor, masks: Tensor, *given: Any) -> Any:
    def told(things: Things, kept: Tensor) -> Labels:
        return things["tight"][kept], labels[kept]

    return partial(opened, told=told)(boxes, scores, labels, masks, *given)


def labels_shortened_once(boxes: Tensor, scores: Tensor, labels: Tensor, masks: Tensor, *given: Any) -> Any:
    good = (scores >= given[0]) & masks.flatten(1).any(1)
    return in_a_shortened_list(boxes[good], scores[good], labels[good], masks[good], *given)


def draw_labels(got: Any, expected: Labels, case: Case) -> "Figure":
    """Masks and the detector's boxes; then yours, then ours, with labels."""
    from matplotlib.figure import Figure  # here, because matplotlib takes longer to import than a check to run
    from matplotlib.patches import Rectangle

    boxes, scores, labels, masks = case.arguments[:4]
    said = [f"{score:.2f}, {label}" for score, label in zip(scores.tolist(), labels.tolist())]
    panels = {
        "given: scores, labels": (boxes, said),
        "yours": (got[0], got[1].tolist()),
        "expected": (expected[0], expected[1].tolist()),
    }
    figure = Figure(figsize=(11, 3.6), layout="constrained", facecolor="white")
    for axes, (title, (several, words)) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        height, width = masks.shape[1:]
        axes.imshow(masks.sum(0).numpy(), cmap="Greys", vmin=0, vmax=4, extent=(0, width, height, 0))
        for (left, top, right, bottom), word in zip(several.tolist(), words, strict=True):
            axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="tab:red", lw=1.5))
            axes.text(left, top, word, fontsize=7, color="tab:blue", va="top")
        axes.set_title(title, fontsize=9)
    return figure


COMMON = TESTS[6:]  # two of these at once
UNCLEAR = {"early", "different"}  # of these, one hides the other

EXERCISE = Exercise(
    name="auto_label",
    reference=auto_label,
    cases=cases,
    takes={
        "boxes": Kind.BOXES,
        "scores": Kind.PROBABILITIES,
        "labels": Kind.CLASSES,
        "masks": Kind.MASK,
        "threshold": Kind.NUMBERS,
        "same": Kind.NUMBERS,
        "agree": Kind.NUMBERS,
    },
    gives=(Kind.BOXES, Kind.CLASSES),
    mistakes=[
        *(Mistake(name, told, wrong=partial(opened, **made)) for name, told, made in [*TESTS, *SINGLE]),
        Mistake("NMS first of all", TESTS[-1][1], wrong=suppressed_first),
        Mistake(
            "labels not shortened",
            "Your labels are those of other boxes: you look up places of a shortened list in that of all N. Shorten "
            "the labels whenever you shorten the boxes.",
            wrong=in_a_shortened_list,
        ),
        Mistake(
            "labels shortened once",
            "Your labels are those of other boxes: they are not shortened by the test of the masks, as the boxes are. "
            "Shorten the labels whenever you shorten the boxes.",
            wrong=labels_shortened_once,
        ),
        Mistake(
            "empty masks not dropped",
            "A mask without any pixel has no box around it, and `masks_to_boxes` says so. Drop empty ones before.",
            wrong=partial(opened, some=False),
        ),
        Mistake(
            "NMS for each label alone, before the masks are asked",
            f"Two things at once. {TESTS[6][1]} And this: {TESTS[-1][1]}",
            wrong=partial(opened, early=of_each_label, different=all_of_them),
        ),
        *(
            Mistake(f"{name}; {other}", f"Two things at once. {told} {words}", wrong=partial(opened, **made, **more))
            for (name, told, made), (other, words, more) in combinations(COMMON, 2)
            if made.keys() | more.keys() != UNCLEAR and not made.keys() & more.keys()
        ),
    ],
    picture=draw_labels,
)
