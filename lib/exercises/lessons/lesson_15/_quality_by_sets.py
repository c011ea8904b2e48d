"""Panoptic quality of one class with sets of pixels, decisions open: the truth, and the exercise's mistakes."""

from collections.abc import Callable
from math import nan

from torch import Tensor

from lib.exercises.engine.segment_pairs import Overlaps, Quality, multiplied, over

Pixels = set[tuple[int, int]]


def segments_of(numbers: Tensor, none: tuple[int, ...] = (0, -1)) -> dict[int, Pixels]:
    """The pixels of each segment, by its number."""
    found: dict[int, Pixels] = {}
    for row, line in enumerate(numbers.tolist()):
        for column, number in enumerate(line):
            if number not in none:
                found.setdefault(number, set()).add((row, column))
    return found


def intersection_over_union(mine: Pixels, real: Pixels, void: Pixels) -> float:
    return len((mine - void) & real) / len((mine - void) | real)


def judged(mine: Pixels, void: Pixels) -> bool:
    return 2 * len(mine & void) <= len(mine)


def set_by_set(
    predicted: Tensor,
    truth: Tensor,
    none: tuple[tuple[int, ...], tuple[int, ...]] = ((0,), (0, -1)),
    unlabelled: Callable[[Tensor], Pixels] = lambda truth: segments_of(truth, (0,)).get(-1, set()),
    overlap: Callable[[Pixels, Pixels, Pixels], float] = intersection_over_union,
    pairs: Callable[[Overlaps], Overlaps] = over,
    counts: Callable[[Pixels, Pixels], bool] = judged,
    first: Callable[[Pixels, Pixels], bool] = lambda mine, void: True,
    total: Callable[[float, int, int, int], Quality] = multiplied,
) -> Quality:
    """The truth, with sets of pixels; with its decisions open.

    Args:
        none: the numbers that are no segments, in `predicted` and in `truth`.
        unlabelled: from `truth` to the void pixels.
        overlap: of a predicted segment and a true one, given the void.
        pairs: from the overlaps by (predicted number, true number) to those that are pairs.
        counts: whether a predicted segment that is left over counts, given the void.
        first: whether it is looked at, before pairs are made.
        total: from the sum of the overlaps, TP, FP and FN to what is returned.
    """
    void = unlabelled(truth)
    mine, real = segments_of(predicted, none[0]), segments_of(truth, none[1])
    mine = {number: pixels for number, pixels in mine.items() if first(pixels, void)}
    found = pairs({(a, b): overlap(mine[a], real[b], void) for a in mine for b in real})
    left = [pixels for number, pixels in mine.items() if number not in {a for a, _ in found}]
    fp, fn = sum(counts(pixels, void) for pixels in left), len(real.keys() - {b for _, b in found})
    return total(sum(found.values()), len(found), fp, fn)


def finished(
    total: float,
    tp: int,
    fp: int,
    fn: int,
    pq: Callable[[float, float], float] = lambda sq, rq: sq * rq,
    sq: Callable[[float, int, int, int], float] = lambda total, tp, fp, fn: total / tp if tp else 0.0,
    rq: Callable[[int, int, int], float] = lambda tp, fp, fn: tp / (tp + fp / 2 + fn / 2),
    empty: float = nan,
) -> Quality:
    """`multiplied` with its decisions open; `empty` where nothing was counted."""
    if not tp + fp + fn:
        return empty, empty, empty
    fit, found = sq(total, tp, fp, fn), rq(tp, fp, fn)
    return pq(fit, found), fit, found


def of_pixels(predicted: Tensor, truth: Tensor) -> Quality:
    """The pixels of all segments together."""
    mine, real, seen = predicted > 0, truth > 0, truth >= 0
    tp = int((mine & real).sum())
    return multiplied(float(tp), tp, int((mine & ~real & seen).sum()), int((real & ~mine).sum()))


def maps() -> dict[str, tuple[list[list[int]], list[list[int]]]]:
    """Predicted and true segments of the cases, by label."""
    by_hand = (
        [[1, 1, 1, 0, 2, 2], [1, 1, 1, 0, 2, 2], [4, 4, 3, 3, 0, 0]],
        [[7, 7, 7, 7, 2, 2], [7, 7, 0, 0, 2, 5]] + [[0, 0, 0, 0, 5, 5]],
    )
    void = (
        [[4, 4, 4, 4, 0, 8, 8, 0, 6, 6, 6], [4, 4, 0, 0, 0, 8, 8, 0, 6, 6, 6]],
        [
            [9, 9, 9, -1, -1, -1, -1, 0, 0, 4, 4],
            [-1, -1, -1, -1, -1, -1, 0, 0, 4, 4, 4],
        ],
    )
    half = (
        [[3, 3, 3, 0, 8, 8, 8, 8, 40, 40, 40, 5, 5, 5, 6, 6]],
        [[5, 5, 5, 5, -1, -1, 0, 0, -1, -1, 0, -1, 0, 0, -1, -1]],
    )
    mostly = [[2, 2, 2, 2, 2, 0, 6, 6, 6]], [[1, 1, -1, -1, -1, 0, 1, 3, 3]]
    exactly = [[1, 1, 1, 0, 0, 2, 2, 2]], [[0, 1, 1, 1, 0, 2, 2, 0]]
    split = [[11, 11, 11, 30, 30, 0, 20, 20, 20, 20]], [[8, 8, 8, 8, 8, 8, 30, 30, 9, 0]]
    names = [[30, 30, 2, 2], [30, 30, 2, 0]], [[2, 2, 30, 30], [2, 0, 30, 30]]
    missed = [[0, 0, 0], [0, 0, 0]], [[0, 4, 4], [-1, 4, 7]]
    invented = [[1, 1, 0], [2, 1, 0]], [[0, 0, 0], [0, 0, 0]]
    apart = [[1, 1, 1, 0, 0, 0]], [[0, 0, 1, 1, 1, 2]]
    everything = [[1000, 1000, 1000], [1000, 1000, 1000]], [[3, 3, 3], [3, 3, 3]]
    hidden = [[5, 5, 0], [5, 0, 6]], [[-1, -1, 0], [0, 0, -1]]
    nothing = [[0, 0], [0, 0]], [[0, -1], [0, 0]]
    return {
        "4 predicted segments, 3 true ones": by_hand,
        "void pixels": void,
        "predictions a third, half, two thirds and all in void": half,
        "mostly in void, but with a partner": mostly,
        "an IoU of exactly 1/2": exactly,
        "one split, two that overlap": split,
        "a number means nothing across the maps": names,
        "nothing predicted": missed,
        "nothing true": invented,
        "overlaps too small for a pair": apart,
        "one segment, found": everything,
        "predictions in void, and nothing else": hidden,
        "nothing at all": nothing,
    }
