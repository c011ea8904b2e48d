"""Count how many pixels of each true class were taken for each class."""

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import random_classes
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.ops import segmentation_metrics as metrics


def cases() -> list[Case]:
    small = torch.tensor([[0, 1, 1], [2, 2, 1]]), torch.tensor([[0, 1, 2], [2, 2, 2]])
    part = torch.tensor([[0, 1, 1], [2, 2, 1]]), torch.tensor([[0, 1, 255], [255, 2, 0]])
    several = random_classes(2, 4, 5, classes=4, seed=3), random_classes(2, 4, 5, classes=4, seed=5, ignored=0.2)
    missing = random_classes(3, 4, classes=2, seed=7), random_classes(3, 4, classes=3, seed=9)
    nothing = torch.tensor([[0, 1]]), torch.tensor([[255, 255]])
    background = torch.tensor([[0, 1, 1, 0, 2]]), torch.tensor([[0, 1, 0, 1, 2]])
    return [
        Case(label, (*maps, classes, *rest), confusion_by_counting(*maps, classes, *(rest or [255])))
        for label, maps, classes, *rest in (
            ("six pixels, three classes", small, 3),
            ("two of six pixels ignored", part, 3),
            ("class 0 is ignored", background, 3, 0),
            ("−1 is ignored", (torch.tensor([[0, 1, 1]]), torch.tensor([[1, -1, 1]])), 2, -1),
            ("a batch of two pictures", several, 4),
            ("five classes, of which the last two are nowhere", missing, 5),
            ("every pixel ignored", nothing, 2),
        )
    ]


def confusion_by_counting(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    counts = [[0] * num_classes for _ in range(num_classes)]
    for guess, truth in zip(predicted.flatten().tolist(), target.flatten().tolist(), strict=True):
        if truth != ignore_index:
            counts[truth][guess] += 1
    return torch.tensor(counts)


@mistake(
    "rows and columns swapped",
    "Your matrix is ours turned over: a row should hold the pixels of one *true* class, and a column those "
    "of one *predicted* class.",
)
def swapped(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    return metrics.confusion_matrix(predicted, target, num_classes, ignore_index).T


@mistake(
    "ignored pixels counted",
    "A pixel whose truth is `ignore_index` belongs to no class, and must be left out before anything is counted. (As a "
    "number, 255 points far beyond a matrix of a few rows.)",
)
def ignored_counted(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    pairs = torch.bincount((target * num_classes + predicted).flatten(), minlength=num_classes**2)
    return pairs.view(num_classes, num_classes)


@mistake(
    "ignored pixels taken for class 0",
    "The first row holds too many pixels: those that should be ignored are in it. Class 0 is a class like any other.",
)
def ignored_as_background(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    return metrics.confusion_matrix(predicted, torch.where(target == ignore_index, 0, target), num_classes)


@mistake(
    "predictions of the ignored class left out",
    "You also leave out pixels whose *prediction* is `ignore_index`. Only the target decides: what was predicted there "
    "counts as a mistake.",
)
def ignored_predictions_left_out(
    predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255
) -> Tensor:
    counted = (predicted != ignore_index) & (target != ignore_index)
    return metrics.confusion_matrix(predicted[counted][None], target[counted][None], num_classes, ignore_index)


@mistake(
    "255 always ignored",
    "You leave out pixels whose target is 255, whatever `ignore_index` is.",
)
def always_255(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    counted = (target != 255) & (target >= 0)
    return metrics.confusion_matrix(predicted[counted][None], target[counted][None], num_classes)


@mistake(
    "last classes missing",
    "`bincount` counts up to the largest number that it meets. Where the last classes do not occur, "
    "there is less than a whole matrix. Look for its argument `minlength`.",
)
def minlength_forgotten(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    counted = target != ignore_index
    pairs = torch.bincount(target[counted] * num_classes + predicted[counted])
    return pairs.view(num_classes, num_classes)


@mistake(
    "as many classes as occur",
    "Your matrix is as large as the largest class that occurs. How many classes there are, `num_classes` says.",
)
def classes_that_occur(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    counted = target != ignore_index
    occurring = int(max(predicted[counted].max(), target[counted].max())) + 1
    return metrics.confusion_matrix(predicted, target, occurring, ignore_index)


@mistake(
    "each pair counted once",
    "Your matrix says which pairs of classes occur, not how often. `matrix[truth, guess] += 1` with lists "
    "of indices adds 1 only once where the same place is named many times.",
)
def counted_once(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    return metrics.confusion_matrix(predicted, target, num_classes, ignore_index).clamp(max=1)


COUNTS_WANTED = (
    "Return counts. Shares are easy to get from them later, but the shares of two batches cannot be added, and counts "
    "can."
)


@mistake(
    "shares for counts",
    COUNTS_WANTED,
)
def shares(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    matrix = metrics.confusion_matrix(predicted, target, num_classes, ignore_index)
    return matrix / matrix.sum()


@mistake(
    "shares of each row",
    COUNTS_WANTED,
)
def shares_of_rows(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    matrix = metrics.confusion_matrix(predicted, target, num_classes, ignore_index)
    return matrix / matrix.sum(1, keepdim=True)


EXERCISE = Exercise(
    name="confusion_matrix",
    reference=metrics.confusion_matrix,
    cases=cases,
    takes={"predicted": Kind.CLASSES, "target": Kind.CLASSES},
    gives=Kind.MAP,
    mistakes=[
        swapped,
        ignored_counted,
        ignored_as_background,
        ignored_predictions_left_out,
        always_255,
        minlength_forgotten,
        classes_that_occur,
        counted_once,
        shares,
        shares_of_rows,
    ],
    picture=compare_maps,
)
