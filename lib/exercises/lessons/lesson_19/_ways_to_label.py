"""What can be decided otherwise in `auto_label`, and what is said of it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms, nms

from lib.ops.boxes import box_area, box_iou
from lib.ops.mask_filters import mask_nms
from lib.ops.masks import masks_to_boxes

Labels = tuple[Tensor, Tensor]  # boxes (K, 4), labels (K,)

Test = Callable[[Tensor, float], Tensor]  # values (n,) and a bound -> (n,) bool
Things = dict[str, Tensor]  # boxes, scores, labels, masks; and tight, from masks


def around(masks: Tensor, more: tuple[int, int, int, int] = (0, 0, 1, 1)) -> Tensor:
    return masks_to_boxes(masks) + torch.tensor(more)


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


def with_some(things: Things, axis: int = 1, every: bool = False) -> Tensor:
    """For each box (axis 1) or mask (axis 0) the best IoU with any of the others, or with `every` the worst."""
    table = box_iou(things["boxes"], things["tight"])
    table = F.pad(table if axis else table.T, (1, 0), value=float(every))  # one more column, as there may be none
    return table.amin(1) if every else table.amax(1)


def some_of_all(boxes: Tensor, scores: Tensor, labels: Tensor, masks: Tensor, *given: float) -> Labels:
    """Any mask will do, also that of a low score."""
    things = chosen({"boxes": boxes, "scores": scores, "labels": labels, "masks": masks}, masks.flatten(1).any(1))
    things["tight"] = around(things["masks"])
    left = chosen(things, with_some(things) >= given[2])
    return opened(left["boxes"], left["scores"], left["labels"], left["masks"], *given, fits=never_asked)


def mask_over_box(things: Things) -> Tensor:
    return things["masks"].flatten(1).sum(1) / box_area(things["boxes"])


def tight_over_box(things: Things) -> Tensor:
    return box_area(things["tight"]) / box_area(things["boxes"])


def removed_ones_remove(things: Things, same: float) -> Tensor:
    order = things["scores"].argsort(descending=True)
    overlap = box_iou(things["boxes"][order], things["boxes"][order]).double().triu(1)
    return order[(overlap <= same).all(0)]


def with_bounds(*given: Any, places: tuple[int, int, int]) -> Labels:
    return opened(*given[:4], *(given[4 + place] for place in places))


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

ANY = "A box counts as agreeing if any of the masks fits it. It must be its own: the diagonal of the table of IoUs."

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
        ANY,
        {"fit": with_some},
    ),
    (
        "any box will do",
        "A mask counts as agreeing if it fits any of the boxes. It must be its own: the diagonal of the table of IoUs.",
        {"fit": partial(with_some, axis=0)},
    ),
    (
        "all must fit",
        "You judge a box by a whole row or column of the table of IoUs. It need only fit its own mask: the diagonal.",
        {"fit": partial(with_some, every=True)},
    ),
    *(
        (
            f"area of the {said}",
            f"You divide the area of the {said} by that of the box. That may be large where they lie apart, too: take "
            "the IoU of box and tight box.",
            {"fit": fit},
        )
        for said, fit in (("mask", mask_over_box), ("tight box", tight_over_box))
    ),
    ("low scores kept", "You keep the boxes with a score *below* `threshold`.", {"sure": torch.lt}),
    ("misfits kept", "You keep the boxes whose IoU with the tight box is *below* `agree`.", {"fits": torch.lt}),
    (
        "dropped boxes drop others",
        "A box that NMS dropped still drops others in yours. Of three in a row the first drops the second, which must "
        "not drop the third any more.",
        {"different": removed_ones_remove},
    ),
    (
        "NMS on the masks",
        "You compare the masks with each other. NMS compares the detector's boxes.",
        {"different": lambda things, same: mask_nms(things["masks"], things["scores"], same)},
    ),
    (
        "no NMS, not sorted",
        "You drop no box because of another one, and leave them in the order of the list. Of boxes whose IoU is above "
        "`same` only the best may stay; the best score comes first.",
        {"different": lambda things, same: torch.arange(len(things["boxes"]))},
    ),
    (
        "in the order of the list",
        "The right ones, but in the order of the list. The best score comes first.",
        {"different": lambda things, same: best_first(things, same).sort().values},
    ),
    (
        "the worst one first",
        "The right ones, but the best score stands last. It comes first.",
        {"different": lambda things, same: best_first(things, same).flip(0)},
    ),
    (
        "NMS from the worst score on",
        "Of two boxes your NMS keeps the one with the *lower* score. The best is kept, and drops others.",
        {"different": lambda things, same: nms(things["boxes"], -things["scores"], same)},
    ),
    (
        "NMS at 0.5",
        "You drop boxes above an IoU of 0.5, whatever `same` is.",
        {"different": lambda things, same: best_first(things, 0.5)},
    ),
]
