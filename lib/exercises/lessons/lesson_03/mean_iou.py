"""The mean intersection over union of all classes, from their confusion matrix."""

from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.kinds import Kind
from lib.ops import segmentation_metrics as metrics


def cases() -> list[Case]:
    return [
        Case(label, (torch.tensor(rows),), mean_iou_by_fractions(rows))
        for label, rows in (
            ("two classes", [[7, 1], [2, 3]]),
            ("three classes of very different size", [[90, 6, 4], [2, 7, 1], [3, 0, 2]]),
            ("class 2 is in the truth but was never predicted", [[5, 1, 0], [0, 6, 0], [2, 1, 0]]),
            ("class 2 was predicted but is not in the truth", [[5, 1, 2], [0, 6, 0], [0, 0, 0]]),
            ("class 1 is nowhere", [[5, 0, 2], [0, 0, 0], [1, 0, 8]]),
        )
    ]


def mean_iou_by_fractions(rows: list[list[int]]) -> float:
    scores = []
    for number in range(len(rows)):
        right, union = rows[number][number], sum(rows[number]) + sum(row[number] for row in rows) - rows[number][number]
        if union:
            scores.append(Fraction(right, union))
    return float(sum(scores) / len(scores))


def is_mean_of(share: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[float, float, Case], bool]:
    """Recognises the mean over classes of `share(right, true, predicted)` on the case that it is shown."""

    def looks_like_it(got: float, expected: float, case: Case) -> bool:
        matrix = case.arguments[0].double()
        theirs = share(matrix.diagonal(), matrix.sum(1), matrix.sum(0)).nanmean().item()
        return abs(got - theirs) < 1e-5

    return looks_like_it


@mistake(
    "absent class counted as 0",
    "A class that is neither in the truth nor predicted was not got wrong: there was nothing to get. Leave "
    "it out of the mean.",
)
def absent_is_zero(matrix: Tensor) -> float:
    return metrics.iou_per_class(matrix).nan_to_num(0).mean().item()


@mistake(
    "absent class counted as 1",
    "A class that is neither in the truth nor predicted earns nothing. Leave it out of the mean.",
)
def absent_is_one(matrix: Tensor) -> float:
    return metrics.iou_per_class(matrix).nan_to_num(1).mean().item()


@mistake(
    "absent class gives NaN",
    "A class that occurs nowhere has 0 / 0, which is NaN, and so is every mean with a NaN in it. There is "
    "a mean that passes over NaNs.",
)
def absent_is_nan(matrix: Tensor) -> float:
    return metrics.iou_per_class(matrix).mean().item()


@mistake(
    "wrongly predicted class left out",
    "A class that is not in the truth but *was* predicted has a union of some pixels and an overlap of "
    "none: its IoU is 0, and it counts.",
)
def only_true_classes(matrix: Tensor) -> float:
    return metrics.iou_per_class(matrix)[matrix.sum(1) > 0].mean().item()


@mistake(
    "IoU of 0 left out",
    "You left out each class whose IoU is 0. A class that was missed altogether counts, with 0.",
)
def zeros_left_out(matrix: Tensor) -> float:
    return metrics.iou_per_class(matrix)[matrix.diagonal() > 0].mean().item()


@mistake(
    "all classes thrown together",
    "You added up the pixels of all classes before dividing, so that the sky decides. Divide first, for "
    "each class, then take the mean.",
)
def all_classes_in_one(matrix: Tensor) -> float:
    right, total = matrix.diagonal().sum().item(), matrix.sum().item()
    return right / (2 * total - right)


@mistake(
    "weighted by size",
    "Your mean gives large classes more weight. In mIoU a class of 20 pixels counts as much as the sky.",
)
def weighted_by_size(matrix: Tensor) -> float:
    pixels = matrix.sum(1).double()
    return ((metrics.iou_per_class(matrix).nan_to_num(0) * pixels).sum() / pixels.sum()).item()


EXERCISE = Exercise(
    name="mean_iou",
    reference=metrics.mean_iou,
    cases=cases,
    takes={"matrix": Kind.MAP},
    gives=Kind.NUMBERS,
    mistakes=[
        Mistake(
            "overlap counted twice",
            "The right pixels lie in the truth *and* in the prediction. In row + column they are counted twice; "
            "the union holds them once.",
            when=is_mean_of(lambda right, true, guess: right / (true + guess)),
        ),
        Mistake(
            "Dice for IoU",
            "2 · right / (true + predicted) is the Dice score. It rises and falls with IoU, but is never smaller.",
            when=is_mean_of(lambda right, true, guess: 2 * right / (true + guess)),
        ),
        Mistake(
            "divided by the true pixels only",
            "You divide by all pixels *of* the class. A network that calls everything a box would get a full score "
            "for boxes. The union also holds what was wrongly *called* a box.",
            when=is_mean_of(lambda right, true, guess: right / true),
        ),
        Mistake(
            "divided by the predicted pixels only",
            "You divide by all pixels *called* the class. A network that calls one single pixel a box, and is "
            "right, would get a full score. The union also holds the boxes that it missed.",
            when=is_mean_of(lambda right, true, guess: right / guess),
        ),
        absent_is_zero,
        absent_is_one,
        absent_is_nan,
        only_true_classes,
        zeros_left_out,
        all_classes_in_one,
        weighted_by_size,
    ],
)
