"""What can be decided otherwise in `next_click`, and what is said of it."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from scipy import ndimage
from torch import Tensor

from lib.exercises.engine.exercise import Mistake, mistake

Click = tuple[int, int, int]  # x, y, label
Region = np.ndarray  # (H, W) bool


def wrong_regions(predicted: Region, true: Region) -> tuple[Region, Region]:
    return true & ~predicted, predicted & ~true


def depths(region: Region) -> np.ndarray:
    return ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]


def deeper(missed: Region, taken: Region, depth: np.ndarray, other: np.ndarray) -> bool:
    return bool(depth.max() >= other.max())


def first_deepest(region: Region, depth: np.ndarray) -> tuple[int, int]:
    y, x = divmod(int(depth.argmax()), depth.shape[1])
    return x, y


def opened(
    predicted: Tensor,
    true: Tensor,
    regions: Callable[[Region, Region], tuple[Region, Region]] = wrong_regions,
    depth: Callable[[Region], np.ndarray] = depths,
    missed_first: Callable[[Region, Region, np.ndarray, np.ndarray], bool] = deeper,
    place: Callable[[Region, np.ndarray], tuple[int, int]] = first_deepest,
    told: Callable[[int, int, int], Click] = lambda x, y, label: (x, y, label),
) -> Click:
    """`next_click` with its decisions open.

    Args:
        regions: from both masks to what was missed and what was taken.
        depth: from a region to the depth of its pixels.
        missed_first: from both regions and their depths, whether the click lies in what was missed.
        place: from a region and its depths to x and y.
        told: from x, y and label to the result.
    """
    both = regions(predicted.numpy(), true.numpy())
    depth_of_both = depth(both[0]), depth(both[1])
    label = 1 if missed_first(*both, *depth_of_both) else 0
    return told(*place(both[1 - label], depth_of_both[1 - label]), label)


def together(predicted: Tensor, true: Tensor, depth: Callable[[Region], np.ndarray] = depths) -> Click:
    wrong = (predicted ^ true).numpy()
    x, y = first_deepest(wrong, depth(wrong))
    return x, y, int(true[y, x])


def centroid_of_all(predicted: Tensor, true: Tensor, whole: Callable[[float], int]) -> Click:
    x, y = centroid((predicted ^ true).numpy(), np.empty(0), whole)
    return x, y, int(true[y, x])


def centroid(region: Region, depth: np.ndarray, whole: Callable[[float], int]) -> tuple[int, int]:
    y, x = np.argwhere(region).mean(axis=0).tolist()
    return whole(x), whole(y)


def middle_of_box(region: Region, depth: np.ndarray) -> tuple[int, int]:
    rows, columns = region.nonzero()
    return int(columns.min() + columns.max()) // 2, int(rows.min() + rows.max()) // 2


def of_several(region: Region, depth: np.ndarray, which: Callable[[list[list[int]]], list[int]]) -> tuple[int, int]:
    y, x = which(np.argwhere(depth == depth.max()).tolist())
    return x, y


def divided_by_height(region: Region, depth: np.ndarray) -> tuple[int, int]:
    y, x = divmod(int(depth.argmax()), depth.shape[0])
    return x, y


def larger(missed: Region, taken: Region, depth: np.ndarray, other: np.ndarray) -> bool:
    return bool(missed.sum() >= taken.sum())


@mistake(
    "the largest piece",
    "You took the largest connected piece of what is wrong, and clicked in its middle. A thin piece may be large. The "
    "click goes to the deepest pixel of all.",
)
def largest_piece(predicted: Tensor, true: Tensor) -> Click:
    pieces = []  # number of pixels, piece, label
    for label, region in zip((1, 0), wrong_regions(predicted.numpy(), true.numpy()), strict=True):
        numbered, count = ndimage.label(region)
        pieces += [((numbered == i + 1).sum(), numbered == i + 1, label) for i in range(count)]
    _, piece, label = max(pieces, key=lambda one: one[0])
    return *first_deepest(piece, depths(piece)), label


@mistake(
    "the first of both",
    "Right, but where both regions are equally deep. There you took the first pixel in reading order of both: it "
    "should be one that was missed.",
)
def first_of_both(predicted: Tensor, true: Tensor) -> Click:
    depth = np.maximum(*map(depths, wrong_regions(predicted.numpy(), true.numpy())))
    x, y = first_deepest(depth > 0, depth)
    return x, y, int(true[y, x])


@mistake(
    "the first wrong pixel",
    "You clicked on the first wrong pixel in reading order, which lies at an edge. The click goes to the deepest one.",
)
def first_wrong(predicted: Tensor, true: Tensor) -> Click:
    y, x = (predicted ^ true).nonzero()[0].tolist()
    return x, y, int(true[y, x])


DEEPEST = "The click goes to the *deepest* pixel"
BORDER = (
    "You did not count what lies beyond the picture's border as outside: your clicks are drawn to the border. Put a "
    "frame of False around the region before you measure, and mind that this moves all pixels by one."
)
TOGETHER = (
    "You took all wrong pixels together. Where missed and taken pixels touch, a click in the middle of both "
    "lies at the edge of each. They are two regions, measured one by one."
)
LARGER = f"You went to the region with more pixels. A region may be large and thin. {DEEPEST} of both."
INVERTED = "The places are right, but your label is inverted: 1 says that the pixel belongs to the thing (missed)."

DECISIONS: list[tuple[str, str, dict[str, Any]]] = [  # a name, words, and decisions of `opened`
    (
        "row and column exchanged",
        "You return row, column. A click is (x, y): x counts columns, y rows.",
        {"told": lambda x, y, label: (y, x, label)},
    ),
    ("label inverted", INVERTED, {"told": lambda x, y, label: (x, y, 1 - label)}),
    (
        "missed and taken exchanged",
        "What you call missed was taken, and the other way round: missed is what is true, and was not predicted.",
        {"regions": lambda predicted, true: wrong_regions(true, predicted)},
    ),
    ("border not counted", BORDER, {"depth": ndimage.distance_transform_edt}),
    (
        "frame not taken off",
        "Your x and y are 1 too large, both: you put a frame around the region, and count its pixels, too. Take it off "
        "again.",
        {"depth": lambda region: ndimage.distance_transform_edt(np.pad(region, 1))},
    ),
    (
        "outside for inside",
        "You measured outside of the regions, not in them. `distance_transform_edt` measures in what is True, to the "
        "nearest False.",
        {"depth": lambda region: ndimage.distance_transform_edt(~np.pad(region, 1))[1:-1, 1:-1]},
    ),
    (
        "steps for distances",
        "You counted steps from pixel to pixel. A depth is a distance in a straight line, as `distance_transform_edt` "
        "measures it.",
        {"depth": lambda region: ndimage.distance_transform_cdt(np.pad(region, 1))[1:-1, 1:-1]},
    ),
    ("larger region", LARGER, {"missed_first": larger}),
    (
        "larger region; border not counted",
        f"Two things at once. {LARGER} {BORDER}",
        {"missed_first": larger, "depth": ndimage.distance_transform_edt},
    ),
    (
        "missed pixels alone",
        "You looked at what was missed alone. What was taken wrongly may be deeper: both regions count.",
        {"missed_first": lambda *given: True},
    ),
    (
        "taken pixels alone",
        "You looked at what was taken wrongly alone. What was missed may be deeper: both regions count.",
        {"missed_first": lambda *given: False},
    ),
    (
        "missed pixels, if there are any",
        "You look at what was taken wrongly only where nothing was missed. The deeper region is the one to go to.",
        {"missed_first": lambda missed, *rest: missed.any()},
    ),
    (
        "taken if both are as deep",
        "Right, but where both regions are equally deep: then the click goes to what was missed.",
        {"missed_first": lambda missed, taken, depth, other: depth.max() > other.max()},
    ),
    (
        "middle of the region's box",
        f"You clicked in the middle of the region's bounding box, which may lie outside of the region. {DEEPEST}.",
        {"place": middle_of_box},
    ),
    (
        "the last of several",
        "Of several pixels that are equally deep you took the last in reading order. Take the first.",
        {"place": partial(of_several, which=lambda places: places[-1])},
    ),
    (
        "column by column",
        "Of several pixels that are equally deep you took the one farthest left. Take the first in reading order: row "
        "by row.",
        {"place": partial(of_several, which=lambda places: min(places, key=lambda place: place[::-1]))},
    ),
    (
        "divided by the height",
        "You took the place in the flat picture apart with its height. A row has as many pixels as the picture is "
        "wide.",
        {"place": divided_by_height},
    ),
    (
        "whole masks",
        "You measured in the masks themselves, `true` and `predicted`. Right pixels need no click: measure in those "
        "that are wrong.",
        {"regions": lambda predicted, true: (true, predicted)},
    ),
]


def centroids() -> Iterator[Mistake]:
    mean = "You clicked on the mean of"
    of_one = f"{mean} the region's pixels. In an L, or of two pieces, it may lie outside. {DEEPEST}."
    for how, whole in (("rounded", round), ("rounded down", int)):
        place = partial(centroid, whole=whole)
        yield Mistake(f"centroid, {how}", of_one, wrong=partial(opened, place=place))
        both = f"Two things at once. {of_one} {LARGER}"
        wrong = partial(opened, place=place, missed_first=larger)
        yield Mistake(f"centroid, {how}, of the larger region", both, wrong=wrong)
        told = f"{mean} all wrong pixels, which may be right itself. {DEEPEST}. {TOGETHER}"
        yield Mistake(f"centroid of all wrong pixels, {how}", told, wrong=partial(centroid_of_all, whole=whole))


MISTAKES = [
    Mistake("all wrong pixels together", TOGETHER, wrong=together),
    Mistake(
        "all wrong pixels together; border not counted",
        f"Two things at once. {TOGETHER} {BORDER}",
        wrong=partial(together, depth=ndimage.distance_transform_edt),
    ),
    largest_piece,
    first_wrong,
    first_of_both,
    *(Mistake(name, told, wrong=partial(opened, **made)) for name, told, made in DECISIONS),
    *centroids(),
]
