"""How good are the segments of one class: which were found, how well they fit, and what is not to be judged."""

from collections.abc import Callable
from functools import partial
from math import nan
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.segment_pairs import Quality, best_of_each, multiplied, over, ratio, same_number
from lib.exercises.engine.segment_pictures import draw_segments
from lib.exercises.lessons.lesson_15._quality_by_sets import finished, judged, maps, of_pixels, set_by_set
from lib.ops import panoptic_metrics
from lib.ops.panoptic import Panoptic, Segment

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def panoptic_quality(predicted: Tensor, truth: Tensor) -> Quality:
    """The course's own, `lib.ops.panoptic_metrics.panoptic_quality`, for one class, 0; the rest is of class 1."""
    found = panoptic_metrics.panoptic_quality([of_class_0(predicted)], [of_class_0(truth)], {0}, {1})["per_class"][0]
    return found["PQ"], found["SQ"], found["RQ"]


def of_class_0(segments: Tensor) -> Panoptic:
    """There 0 is what nobody labelled; here it is −1. So all numbers move up."""
    numbers = sorted(set(segments.unique().tolist()) - {-1})
    listed: list[Segment] = [{"id": number + 1, "label": 0 if number else 1} for number in numbers]
    return segments + 1, listed


def cases() -> list[Case]:
    tried = [(label, tuple(torch.tensor(rows) for rows in pair)) for label, pair in maps().items()]
    made = [Case(label, pair, set_by_set(*pair)) for label, pair in tried]
    # By hand: 1 and 7 share 5 pixels of 7, 2 and 2 share 3 of 4; 3, 4 and 5 are left over.
    return [Case(tried[0][0], tried[0][1], ((5 / 7 + 3 / 4) / 3.5, (5 / 7 + 3 / 4) / 2, 2 / 3.5)), *made[1:]]


VOID = "void pixels (`truth` is −1)"
HALF = "RQ = TP / (TP + FP/2 + FN/2): TP alone is counted whole, the two kinds of failures by half."
MOSTLY = "One without a partner, of which more than half is void, is not counted: nobody knows whether it is right."

Decisions = list[tuple[str, str, dict[str, Any]]]

OF_VOID: Decisions = [
    (
        "void stays in the union",
        f"You measured the IoU with all pixels of the predicted segment. Its {VOID} go first: nobody labelled them.",
        {"overlap": lambda mine, real, void: ratio(len(mine & real), len(mine | real))},
    ),
    (
        "mostly void, and counted",
        f"You count what is left of a predicted segment outside of void as a false positive. {MOSTLY}",
        {"counts": lambda mine, void: bool(mine - void)},
    ),
    (
        "in void, and counted",
        f"You count predicted segments without a partner as false positives where they lie in void, too. {MOSTLY}",
        {"counts": lambda mine, void: True},
    ),
    (
        "void taken for another class",
        f"You treat {VOID} like 0. They go from the predicted segments before the IoU is measured. And: {MOSTLY}",
        {"unlabelled": lambda truth: set()},
    ),
    (
        "void taken for a true segment",
        f"You count −1 among the numbers of the true segments. It marks {VOID}: nobody labelled them.",
        {"none": ((0,), (0,))},
    ),
    (
        "void taken for a true segment, and in the union",
        f"You count −1 among the numbers of the true segments, as if it were one of them. It marks {VOID}: nobody "
        "labelled them. They go from the predicted segments before the IoU is measured.",
        {"none": ((0,), (0,)), "unlabelled": lambda truth: set()},
    ),
    (
        "half void, and not counted",
        "You leave out a predicted segment of which exactly half is void. It goes only with *more* than half.",
        {"counts": lambda mine, void: 2 * len(mine & void) < len(mine)},
    ),
    (
        "not counted if any pixel is void",
        "You leave out each predicted segment without a partner that touches void. It must be *more than half* in it.",
        {"counts": lambda mine, void: not mine & void},
    ),
    (
        "mostly void, and gone before the pairs",
        "You drop predicted segments that are mostly void before you look for pairs. One that has a partner counts.",
        {"first": judged},
    ),
]

OF_PAIRS: Decisions = [
    (
        "an IoU of 1/2",
        "You take an IoU of exactly 1/2 for a pair. It must be *above* 1/2.",
        {"pairs": partial(best_of_each, least=1 / 2 - 1e-9)},
    ),
    (
        "the same number",
        "You pair segments that bear the same number. A number means nothing across the two maps: look for overlap.",
        {"pairs": partial(same_number, least=1 / 2)},
    ),
    (
        "the same number, whatever the overlap",
        "You pair segments that bear the same number. A number means nothing across the two maps: look for overlap.",
        {"pairs": partial(same_number, least=-1)},
    ),
    (
        "the best overlap is enough",
        "You pair each segment with its best partner, however small the overlap. A pair needs an IoU above 1/2.",
        {"pairs": best_of_each},
    ),
    (
        "every overlap is a pair",
        "You take all segments that overlap for pairs. A pair needs an IoU above 1/2.",
        {"pairs": partial(over, least=0.0)},
    ),
    (
        "0 taken for a segment",
        "You count 0 among the numbers of the segments. It marks where there is none of this class.",
        {"none": ((), (-1,))},
    ),
    (
        "0 taken for a true segment",
        "You count 0 among the numbers of the true segments. It marks where there is none of this class.",
        {"none": ((0,), (-1,))},
    ),
    (
        "0 and −1 taken for segments",
        "You take every number for a segment. 0 marks where there is none of this class, and −1 void pixels.",
        {"none": ((), ())},
    ),
    (
        "share of the true segment",
        "You divided the shared pixels by those of the true segment alone. IoU divides by the pixels of either.",
        {"overlap": lambda mine, real, void: len(mine & real) / len(real)},
    ),
    (
        "shared pixels counted twice",
        "You divided by the pixels of the one plus those of the other. There the shared ones count twice.",
        {"overlap": lambda mine, real, void: len(mine & real) / (len(mine - void) + len(real))},
    ),
    (
        "Dice instead of IoU",
        "You measured 2 · shared / (one + other), which is Dice. The task asks for IoU.",
        {"overlap": lambda mine, real, void: 2 * len(mine & real) / (len(mine - void) + len(real))},
    ),
]

OF_NUMBERS: Decisions = [
    (
        "failures counted whole",
        f"You divided by TP + FP + FN. {HALF}",
        {"rq": lambda tp, fp, fn: tp / (tp + fp + fn)},
    ),
    (
        "precision for RQ",
        f"You divided by TP + FP: true segments that were missed cost nothing. {HALF}",
        {"rq": lambda tp, fp, fn: ratio(tp, tp + fp)},
    ),
    (
        "recall for RQ",
        f"You divided by TP + FN: predicted segments without a partner cost nothing. {HALF}",
        {"rq": lambda tp, fp, fn: ratio(tp, tp + fn)},
    ),
    (
        "SQ divided by all",
        "You divided the sum of the IoUs by TP + FP/2 + FN/2, which gives PQ. SQ is the mean over the pairs alone.",
        {"sq": lambda total, tp, fp, fn: total / (tp + fp / 2 + fn / 2)},
    ),
    (
        "SQ over the true segments",
        "You divided the sum of the IoUs by the number of true segments. SQ is the mean over the pairs alone.",
        {"sq": lambda total, tp, fp, fn: ratio(total, tp + fn)},
    ),
    (
        "the sum of the IoUs for SQ",
        "Your SQ is the sum of the pairs' IoUs. It should be their mean.",
        {"sq": lambda total, tp, fp, fn: total},
    ),
    ("the sum of SQ and RQ", "Your PQ is SQ + RQ. It is their product.", {"pq": lambda sq, rq: sq + rq}),
    (
        "the mean of SQ and RQ",
        "Your PQ is the mean of SQ and RQ. It is their product.",
        {"pq": lambda a, b: (a + b) / 2},
    ),
    (
        "the harmonic mean of SQ and RQ",
        "Your PQ is the harmonic mean of SQ and RQ, as an F score. It is their product.",
        {"pq": lambda sq, rq: ratio(2 * sq * rq, sq + rq)},
    ),
    (
        "0 for nothing",
        "Right, but where nothing was counted you return 0, as if all had failed. The task asks for nan there.",
        {"empty": 0.0},
    ),
    (
        "1 for nothing",
        "Right, but where nothing was counted you return 1, as if all had been found. The task asks for nan there.",
        {"empty": 1.0},
    ),
    (
        "nan without a pair",
        "Right, but without a pair your SQ and PQ are nan. If something was counted, though no pair, all three are 0.",
        {"sq": lambda total, tp, fp, fn: total / tp if tp else nan},
    ),
    (
        "nan without a pair, in all three",
        "Right, but without a pair you return nan. If something was counted, though no pair, all three are 0.",
        {
            "sq": lambda total, tp, fp, fn: total / tp if tp else nan,
            "rq": lambda tp, fp, fn: multiplied(0, tp, fp, fn)[2] if tp else nan,
        },
    ),
]


def picture(got: Any, expected: Any, case: Case) -> "Figure":
    """The two maps, and above them the three numbers."""
    predicted, truth = case.arguments
    figure = draw_segments({"predicted": predicted, "truth (−1: void)": truth}, alike=False)
    said = [", ".join(f"{float(value):.3f}" for value in three) for three in (got, expected)]
    figure.suptitle(f"PQ, SQ, RQ   yours: {said[0]}   expected: {said[1]}", fontsize=9)
    return figure


def as_tensors(predicted: Tensor, truth: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(number, dtype=dtype) for number in set_by_set(predicted, truth))


def wrong_by(made: dict[str, Any]) -> Callable[[Tensor, Tensor], Quality]:
    return partial(set_by_set, **made)


ZERO = "where nothing was counted you return 0. The task asks for nan there."

EXERCISE = Exercise(
    name="panoptic_quality",
    reference=panoptic_quality,
    cases=cases,
    gives=(Kind.NUMBERS, Kind.NUMBERS, Kind.NUMBERS),
    mistakes=[
        *(Mistake(name, told, wrong=wrong_by(made)) for name, told, made in OF_VOID + OF_PAIRS),
        *(Mistake(name, told, wrong=wrong_by({"total": partial(finished, **made)})) for name, told, made in OF_NUMBERS),
        *(
            Mistake(
                f"{name}; 0 for nothing",
                f"Two things at once. {told} And {ZERO}",
                wrong=wrong_by(made | {"total": partial(finished, empty=0.0)}),
            )
            for name, told, made in OF_VOID + OF_PAIRS
            if "none" not in made
        ),
        *(
            Mistake(
                f"{name}; 0 for nothing",
                f"Two things at once. {told} And {ZERO}",
                wrong=wrong_by({"total": partial(finished, empty=0.0, **made)}),
            )
            for name, told, made in OF_NUMBERS[:4]
        ),
        Mistake(
            "counts instead of qualities",
            "You return TP, FP and FN. The task asks for PQ, SQ and RQ, which are made of them.",
            wrong=wrong_by({"total": lambda total, tp, fp, fn: (float(tp), float(fp), float(fn))}),
        ),
        Mistake(
            "pixels instead of segments",
            "You counted pixels for TP, FP and FN. They are numbers of *segments*: a large one counts as a small one.",
            wrong=of_pixels,
        ),
        *(
            Mistake(
                f"tensors of {name} instead of numbers",
                "The numbers are right, but each is a tensor. The task asks for plain floats: `.item()` takes the "
                "number out of a tensor.",
                wrong=partial(as_tensors, dtype=dtype),
            )
            for name, dtype in (("float32", torch.float32), ("float64", torch.float64))
        ),
    ],
    picture=picture,
)
