"""One round of k-means: sizes choose their anchor, anchors move to the mean of their sizes."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import random_uniform
from lib.exercises.engine.kinds import Kind
from lib.ops.anchors import size_iou

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def kmeans_round(sizes: Tensor, anchors: Tensor) -> Tensor:
    """The course's own, the loop of `lib.ops.anchors.kmeans_anchors`, but an anchor without sizes stays."""
    return moved(sizes, anchors)


def moved(
    sizes: Tensor,
    anchors: Tensor,
    like: Callable[[Tensor, Tensor], Tensor] = size_iou,
    middle: Callable[[Tensor], Tensor] = lambda own: own.mean(dim=0),
    without: Callable[[Tensor], Tensor] = lambda anchor: anchor,
) -> Tensor:
    """`kmeans_round` with its decisions open: how alike (N, B), what of (n, 2) own sizes, what of an empty anchor."""
    nearest = like(sizes, anchors).argmax(dim=1)  # (N,)
    own = [sizes[nearest == number] for number in range(len(anchors))]
    return torch.stack([middle(mine) if len(mine) else without(old) for mine, old in zip(own, anchors, strict=True)])


def cases() -> list[Case]:
    few = torch.tensor([[10.0, 30], [12, 20], [8, 28], [40, 10], [20, 11], [70, 30], [36, 36]])
    crossed = torch.tensor([[4.0, 4], [5, 7], [9, 8], [20, 16], [30, 40], [16, 30], [44, 38]])
    many = 4 + 80 * random_uniform(60, 2, seed=1) ** 2
    named = {
        "7 sizes, 2 anchors": (few, [[40.0, 20], [10, 20]]),
        "a small anchor and a large one: pixels mislead": (crossed, [[8.0, 8], [48, 48]]),
        "an anchor that nobody chooses": (few, [[14.0, 24], [200, 300], [50, 20]]),
        "60 sizes, 5 anchors": (many, [[60.0, 60], [12, 10], [30, 8], [8, 24], [28, 36]]),
        "one anchor": (crossed, [[20.0, 20]]),
        "one size": (few[:1], [[30.0, 12], [12, 30]]),
        "a size that two anchors suit alike": (torch.tensor([[10.0, 10]]), [[5.0, 10], [10, 5]]),
        "no size": (torch.zeros(0, 2), [[10.0, 20], [30, 15]]),
    }
    tried = [(label, sizes, torch.tensor(anchors)) for label, (sizes, anchors) in named.items()]
    return [Case(label, (sizes, anchors), size_by_size(sizes, anchors)) for label, sizes, anchors in tried]


def size_by_size(sizes: Tensor, anchors: Tensor) -> Tensor:
    """The truth: each size by itself, the overlap from its definition."""
    sums, counts = [[0.0, 0.0] for _ in anchors], [0] * len(anchors)
    for w, h in sizes.tolist():
        shared = [min(w, across) * min(h, down) for across, down in anchors.tolist()]
        union = [w * h + across * down - both for (across, down), both in zip(anchors.tolist(), shared, strict=True)]
        overlaps = [both / all_of_it for both, all_of_it in zip(shared, union, strict=True)]
        best = overlaps.index(max(overlaps))
        sums[best] = [sums[best][0] + w, sums[best][1] + h]
        counts[best] += 1
    rows = [[x / n, y / n] if n else old for (x, y), n, old in zip(sums, counts, anchors.tolist(), strict=True)]
    return torch.tensor(rows)


@mistake(
    "anchors moved one after the other",
    "You moved an anchor, and the next one's sizes were chosen with the moved one already. All sizes choose among the "
    "*old* anchors first; then all anchors move.",
)
def one_after_the_other(sizes: Tensor, anchors: Tensor) -> Tensor:
    anchors = anchors.clone()
    for number in range(len(anchors)):
        own = sizes[size_iou(sizes, anchors).argmax(dim=1) == number]
        anchors[number] = own.mean(dim=0) if len(own) else anchors[number]
    return anchors


@mistake(
    "more than one round",
    "You go on until nothing moves any more. It should be one round: who calls the function repeats it.",
)
def until_nothing_moves(sizes: Tensor, anchors: Tensor) -> Tensor:
    while not torch.equal(moved(sizes, anchors), anchors):
        anchors = moved(sizes, anchors)
    return anchors


@mistake(
    "sorted",
    "The right anchors, but the smallest first. Each should stay in its row, or the next round cannot tell who is who.",
)
def from_small_to_large(sizes: Tensor, anchors: Tensor) -> Tensor:
    result = moved(sizes, anchors)
    return result[result.prod(dim=1).argsort()]


@mistake(
    "an anchor without sizes is lost",
    "You return fewer anchors than came in: the one that nobody chose is missing. It stays as it is.",
)
def lost(sizes: Tensor, anchors: Tensor) -> Tensor:
    chosen = size_iou(sizes, anchors).argmax(dim=1).unique()
    return moved(sizes, anchors)[chosen]


@mistake(
    "an anchor without sizes moves",
    "Your anchor that nobody chose goes to the size that fits worst. That is a good idea (`kmeans_anchors` does it), "
    "but here it stays as it is.",
)
def goes_to_the_worst(sizes: Tensor, anchors: Tensor) -> Tensor:
    if not len(sizes):
        return anchors
    worst = size_iou(sizes, anchors).amax(dim=1).argmin()
    return moved(sizes, anchors, without=lambda anchor: sizes[worst])


def distance(sizes: Tensor, anchors: Tensor, power: float = 2.0) -> Tensor:
    """How near sizes and anchors are in pixels, (N, B)."""
    return -torch.cdist(sizes, anchors, p=power)


def smaller_area_in_larger(sizes: Tensor, anchors: Tensor) -> Tensor:
    """Shared areas in square pixels, (N, B)."""
    return torch.minimum(sizes[:, None], anchors).prod(dim=2)


PIXELS = (
    "Your sizes choose the anchor that is nearest in *pixels*. For a small box a few pixels are much, for a large one "
    "nothing: compare by `size_iou`."
)

OWN = [
    Mistake("plain distance instead of IoU", PIXELS, wrong=partial(moved, like=distance)),
    Mistake(
        "sum of differences instead of IoU", PIXELS, wrong=partial(moved, like=lambda a, b: distance(a, b, power=1.0))
    ),
    Mistake(
        "areas compared",
        "Your sizes choose the anchor of the nearest area. A wide box and a tall one may have the same area: compare "
        "by `size_iou`.",
        wrong=partial(moved, like=lambda a, b: -(a.prod(dim=1)[:, None] - b.prod(dim=1)).abs()),
    ),
    Mistake(
        "shared area instead of IoU",
        "Your sizes choose the anchor that they share most square pixels with. The largest anchor always wins then.",
        wrong=partial(moved, like=smaller_area_in_larger),
    ),
    Mistake(
        "the smallest overlap",
        "Your sizes go to the anchor that overlaps them *least*. `size_iou` is large where two are alike.",
        wrong=partial(moved, like=lambda a, b: -size_iou(a, b)),
    ),
    Mistake(
        "median instead of mean",
        "Your anchors become the medians of their sizes. It should be the mean.",
        wrong=partial(moved, middle=lambda own: own.median(dim=0).values),
    ),
    Mistake(
        "sum instead of mean",
        "Your anchors are the sums of their sizes. It should be the mean: how many are they?",
        wrong=partial(moved, middle=lambda own: own.sum(dim=0)),
    ),
    Mistake(
        "an empty anchor is NaN",
        "An anchor that nobody chose became NaN in your function: the mean of no sizes is 0 / 0. It stays as it is.",
        wrong=partial(moved, without=lambda anchor: anchor * torch.nan),
    ),
    Mistake(
        "an empty anchor is 0",
        "An anchor that nobody chose became 0 × 0 in your function, and is lost for ever. It stays as it is.",
        wrong=partial(moved, without=torch.zeros_like),
    ),
]


def picture(got: Any, expected: Any, case: Case) -> "Figure | None":
    """The anchors laid on each other, as boxes around one point."""
    around = [torch.cat([-anchors / 2, anchors / 2], dim=1) for anchors in (got, expected)]  # (B, 4) each
    return compare_boxes(*around, case)


EXERCISE = Exercise(
    name="kmeans_round",
    reference=kmeans_round,
    cases=cases,
    gives=Kind.NUMBERS,
    mistakes=[
        *OWN,
        Mistake(
            "each anchor chose a size",
            "Each of your anchors takes the one size that overlaps it most. It is the other way round: each *size* "
            "chooses an anchor, and many may choose the same.",
            wrong=lambda sizes, anchors: sizes[size_iou(sizes, anchors).argmax(dim=0)] if len(sizes) else anchors,
        ),
        one_after_the_other,
        until_nothing_moves,
        from_small_to_large,
        lost,
        goes_to_the_worst,
    ],
    picture=picture,
)
