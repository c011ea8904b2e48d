"""Video panoptic quality of one class with sets of pixels, decisions open: the truth, and the exercise's mistakes."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from lib.exercises.engine.inputs import random_uniform
from lib.exercises.engine.segment_pairs import Overlaps, multiplied, over

Tube = set[tuple[int, int, int]]  # frame, row, column
Counts = tuple[float, int, int, int]  # the sum of the pairs' IoUs, TP, FP, FN


def tubes_of(numbers: Tensor, none: tuple[int, ...] = (0,)) -> dict[int, Tube]:
    """The pixels of each tube of a window (k, H, W), by its number."""
    found: dict[int, Tube] = {}
    for frame, rows in enumerate(numbers.tolist()):
        for row, line in enumerate(rows):
            for column, number in enumerate(line):
                if number not in none:
                    found.setdefault(number, set()).add((frame, row, column))
    return found


def intersection_over_union(mine: Tube, real: Tube) -> float:
    return len(mine & real) / len(mine | real)


def frame_by_frame(mine: Tube, real: Tube) -> float:
    """The mean over the frames in which one of the two is."""
    frames = {frame for frame, _, _ in mine | real}
    parts = [({p for p in mine if p[0] == frame}, {p for p in real if p[0] == frame}) for frame in frames]
    return sum(intersection_over_union(a, b) for a, b in parts) / len(frames)


def without_partner(numbers: set[int], paired: list[int]) -> int:
    return len(numbers - set(paired))


def gliding(frames: int, length: int) -> Iterable[int]:
    return range(frames - length + 1)


def nothing_more(everywhere: dict[int, Tube], here: dict[int, Tube]) -> int:
    return 0


def absent(everywhere: dict[int, Tube], here: dict[int, Tube]) -> int:
    """How many tubes of the clip have no pixel in the window."""
    return len(everywhere.keys() - here.keys())


def skipped(everywhere: dict[int, Tube], here: dict[int, Tube]) -> int:
    """How many numbers below the highest one have no pixel in the window."""
    return max(here, default=0) - len(here)


def added(counts: Sequence[Counts]) -> Counts:
    total, tp, fp, fn = zip((0.0, 0, 0, 0), *counts)
    return sum(total), sum(tp), sum(fp), sum(fn)


def quality(counts: Sequence[Counts]) -> float:
    """PQ of all windows of one length: counts added up."""
    return multiplied(*added(counts))[0]


def mean_of_lengths(counts: dict[int, list[Counts]]) -> float:
    return sum(map(quality, counts.values())) / len(counts)


def tube_by_tube(
    predicted: Tensor,
    truth: Tensor,
    windows: list[int],
    lengths: Callable[[list[int], int], list[int]] = lambda windows, frames: windows,
    starts: Callable[[int, int], Iterable[int]] = gliding,
    none: tuple[tuple[int, ...], tuple[int, ...]] = ((0,), (0,)),
    overlap: Callable[[Tube, Tube], float] = intersection_over_union,
    pairs: Callable[[Overlaps], Overlaps] = over,
    left: Callable[[set[int], list[int]], int] = without_partner,
    more_fp: Callable[[dict[int, Tube], dict[int, Tube]], int] = nothing_more,
    more_fn: Callable[[dict[int, Tube], dict[int, Tube]], int] = nothing_more,
    told: Callable[[dict[int, list[Counts]]], Any] = mean_of_lengths,
) -> Any:
    """The truth, with sets of pixels; with its decisions open.

    Args:
        lengths: from `windows` and the number of frames to the lengths that are looked at.
        starts: from the number of frames and a length to the first frames of its windows.
        none: the numbers that are no tubes, in `predicted` and in `truth`.
        overlap: of a predicted tube and a true one.
        pairs: from the overlaps by (predicted number, true number) to those that are pairs.
        left: from the numbers of a window's tubes and those in pairs to how many have no partner.
        more_fp, more_fn: from the tubes of the clip and those of a window to how many more are counted there.
        told: from the counts of each window, by length, to what is returned.
    """
    whole = tubes_of(predicted, none[0]), tubes_of(truth, none[1])
    counts: dict[int, list[Counts]] = {}
    for length in lengths(windows, len(truth)):
        counts[length] = []
        for start in starts(len(truth), length):
            mine = tubes_of(predicted[start : start + length], none[0])
            real = tubes_of(truth[start : start + length], none[1])
            found = pairs({(a, b): overlap(mine[a], real[b]) for a in mine for b in real})
            fp = left({*mine}, [a for a, _ in found]) + more_fp(whole[0], mine)
            fn = left({*real}, [b for _, b in found]) + more_fn(whole[1], real)
            counts[length].append((sum(found.values()), len(found), fp, fn))
    return told(counts)


def clips() -> dict[str, tuple[Tensor, Tensor, list[int]]]:
    """Predicted and true clips of the cases, and lengths of windows, by label."""
    by_hand = (
        [[[5, 5, 0, 0, 0, 1, 1]], [[0, 5, 5, 0, 1, 1, 1]], [[0, 0, 7, 7, 0, 0, 0]]],
        [[[1, 1, 0, 0, 2, 2, 2]], [[0, 1, 1, 0, 2, 2, 2]], [[0, 0, 1, 1, 0, 0, 0]]],
    )
    half = [[[1, 1, 0, 4, 4]], [[1, 1, 0, 4, 0]]], [[[2, 0, 9, 9, 9]], [[2, 0, 0, 9, 9]]]
    exchanged = [[[1, 1, 2, 2]], [[1, 1, 2, 2]], [[2, 2, 1, 1]], [[2, 2, 1, 1]]], [[[1, 1, 2, 2]]] * 4
    uneven = [[[3, 3, 3, 3, 3, 3]], [[0, 3, 0, 0, 0, 0]]], [[[8, 8, 8, 8, 8, 0]], [[8, 0, 0, 0, 0, 0]]]
    late = [[[0, 0]], [[0, 0]], [[6, 6]], [[6, 0]], [[0, 0]]], [[[0, 0]], [[0, 0]], [[1, 1]], [[1, 1]], [[1, 0]]]
    written: dict[str, tuple[list[list[list[int]]], list[list[list[int]]], list[int]]] = {
        "3 frames of 1 × 7 pixels, windows of 1 and 2": (*by_hand, [1, 2]),
        "an IoU of exactly 1/2": (*half, [2, 1]),
        "two exchange their numbers": (*exchanged, [1, 2, 4]),
        "large in one frame, small in the other": (*uneven, [2]),
        "first seen late, and frames without any": (*late, [3, 1]),
        "one frame": ([[[4, 4, 0], [4, 5, 5]]], [[[2, 2, 0], [2, 2, 3]]], [1]),
        "nothing predicted": ([[[0, 0, 0]]] * 3, [[[0, 3, 3]]] * 3, [1, 2]),
        "nothing true": ([[[1, 2, 0]]] * 3, [[[0, 0, 0]]] * 3, [2, 3]),
        "nothing at all": ([[[0, 0]]] * 2, [[[0, 0]]] * 2, [1, 2]),
    }
    made = {label: (torch.tensor(a), torch.tensor(b), lengths) for label, (a, b, lengths) in written.items()}
    return made | {
        "5 frames of 4 × 6 pixels, windows of 1 to 4": (*drawn(5, 4, 6, seed=1), [1, 2, 3, 4]),
        "7 frames of 3 × 5 pixels, windows of 5 and 2": (*drawn(7, 3, 5, seed=2), [5, 2]),
    }


def drawn(frames: int, height: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """Three things that move, come and go; and the prediction: other numbers, some pixels lost, a number changed."""
    truth = torch.zeros(frames, height, width, dtype=torch.int64)
    for frame in range(frames):
        truth[frame, :2, frame % (width - 2) : frame % (width - 2) + 3] = 11
        truth[frame, 2:, max(width - 2 - frame, 0) : width - 1] = 4 * (frame > 0)
        truth[frame, -1, :2] = 7 * (frame < 3)
    table = torch.zeros(12, dtype=torch.int64)
    table[[0, 4, 7, 11]] = torch.tensor([0, 11, 30, 4])
    predicted = table[truth]
    predicted[-2:] = torch.where(predicted[-2:] == 11, 50, predicted[-2:])
    lost = random_uniform(frames, height, width, seed=seed) < 0.15
    return predicted.masked_fill(lost, 0), truth
