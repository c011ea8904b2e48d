"""One minus the overlap of answer and truth, class by class, averaged."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.ops import losses


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The course's own: `lib.ops.losses.dice_loss`."""
    return losses.dice_loss(logits, target)


def cases() -> list[Case]:
    generator = torch.Generator().manual_seed(8)
    rare = torch.zeros(2, 4, 5, dtype=torch.int64)
    rare[0, 1, 1:3] = 1
    several = torch.randint(0, 3, (2, 3, 4), generator=generator)
    absent = torch.where(several == 1, 0, several)
    uneven = torch.zeros(2, 3, 3, dtype=torch.int64)
    uneven[0] = 1
    uneven[1, 0, 0] = 1
    maps = [
        ("two classes, one of them rare", 2, rare),
        ("three classes", 3, several),
        ("a class that is nowhere in the batch", 3, absent),
        ("much in one picture, little in the other", 2, uneven),
    ]
    nothing_known = torch.zeros(1, 2, 1, 2), torch.zeros(1, 1, 2, dtype=torch.int64)
    return [
        Case.from_truth("all scores 0, and only class 0 is there", nothing_known, _dice_by_loops, ("logits",)),
    ] + [
        Case.from_truth(
            label,
            (random_values(len(target), classes, *target.shape[1:], seed=classes), target),
            _dice_by_loops,
            gradients_of=("logits",),
        )
        for label, classes, target in maps
    ]


def _dice_by_loops(logits: Tensor, target: Tensor) -> Tensor:
    """Class by class, with the softmax written out."""
    parts = []
    for number in target.unique().tolist():
        p = 1 / (logits - logits[:, number : number + 1]).exp().sum(1)  # (B, H, W)
        inside = target == number
        parts.append(1 - (2 * p[inside].sum() + 1) / ((p * p).sum() + inside.sum() + 1))
    return torch.stack(parts).mean()


def _dice(
    logits: Tensor,
    target: Tensor,
    *,
    probability: Callable | None = None,
    axes: tuple = (0, 2, 3),
    twice: float = 2,
    smooth: float = 1,
    square: bool = True,
    all_classes: bool = False,
    as_loss: bool = True,
) -> Tensor:
    p = logits.softmax(1) if probability is None else probability(logits)
    g = F.one_hot(target, logits.shape[1]).movedim(3, 1).to(p)
    overlap, size = (p * g).sum(axes), g.sum(axes)
    dice = (twice * overlap + smooth) / ((p * p if square else p).sum(axes) + size + smooth)
    score = 1 - dice if as_loss else dice
    if all_classes:
        return score.mean()
    return score[size > 0].mean()


@mistake(
    "scores not made probabilities",
    "The overlap is counted in probabilities. Yours is counted in raw scores.",
)
def raw_scores(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, probability=lambda scores: scores)


@mistake(
    "sigmoid for softmax",
    "You treated each class by itself (sigmoid). The classes of a pixel compete: their probabilities add up to 1.",
)
def sigmoid_for_softmax(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, probability=torch.sigmoid)


@mistake(
    "softmax over the columns",
    "Your probabilities add up to 1 along each row of the picture. They should along the classes: axis 1.",
)
def softmax_over_columns(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, probability=lambda scores: scores.softmax(-1))


@mistake(
    "softmax over the pictures",
    "Your probabilities add up to 1 over the pictures of the batch. They should over the classes: axis 1.",
)
def softmax_over_pictures(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, probability=lambda scores: scores.softmax(0))


@mistake(
    "argmax has no slope",
    "You counted hard answers. A tiny change of a score does not change an argmax, so there is no gradient "
    "to learn from.",
)
def hard_answers(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(
        logits, target, probability=lambda scores: F.one_hot(scores.argmax(1), scores.shape[1]).movedim(3, 1).float()
    )


@mistake(
    "similarity for loss",
    "Your number grows when the answer gets better. A loss must fall: take it from 1.",
)
def similarity(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, as_loss=False)


@mistake(
    "factor 2 forgotten",
    "A perfect answer should lose nothing, but the pixels in both sets are counted twice below the line "
    "and once above it.",
)
def two_forgotten(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, twice=1)


@mistake(
    "the 1 forgotten",
    "The 1 above and below the line is missing. It keeps the score of tiny things from jumping.",
)
def smooth_forgotten(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, smooth=0)


@mistake(
    "probabilities not squared",
    "Below the line you added p, not p². Many do; then a half-sure answer is punished more. This course "
    "takes the squares, as the V-Net paper did.",
)
def no_squares(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, square=False)


@mistake(
    "absent classes counted",
    "You averaged over all classes, also over those that no pixel of the batch has. There is nothing of "
    "them to be found.",
)
def absent_counted(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, all_classes=True)


@mistake(
    "all classes in one sum",
    "You counted the overlap of all classes together. Then the class with the most pixels rules again. One "
    "overlap for each class, and then their mean.",
)
def all_in_one(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, axes=(0, 1, 2, 3))


@mistake(
    "picture by picture",
    "You took one overlap for each picture and class. The sums go over the whole batch: axes 0, 2 and 3.",
)
def picture_by_picture(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, axes=(2, 3))


@mistake(
    "first class left out",
    "You left class 0 out, as some do with background. Here every class counts.",
)
def without_first_class(logits: Tensor, target: Tensor) -> Tensor:
    p, g = logits.softmax(1)[:, 1:], F.one_hot(target, logits.shape[1]).movedim(3, 1)[:, 1:].to(logits)
    axes = (0, 2, 3)
    dice = (2 * (p * g).sum(axes) + 1) / ((p * p).sum(axes) + g.sum(axes) + 1)
    return (1 - dice)[g.sum(axes) > 0].mean()


@mistake(
    "class 1 only",
    "You took the overlap of class 1 alone. Every class that is there counts, background too, and there may be more "
    "than two.",
)
def class_one_only(logits: Tensor, target: Tensor) -> Tensor:
    p, g = logits.softmax(1)[:, 1], (target == 1).to(logits)
    return 1 - (2 * (p * g).sum() + 1) / ((p * p).sum() + g.sum() + 1)


@mistake(
    "as many classes as the target shows",
    "`F.one_hot` without `num_classes` makes as many classes as the largest number in `target`. The number of classes "
    "is in the shape of `logits`.",
)
def classes_by_target(logits: Tensor, target: Tensor) -> Tensor:
    p, g = logits.softmax(1), F.one_hot(target).movedim(3, 1).to(logits)
    overlap, size = (p * g).sum((0, 2, 3)), g.sum((0, 2, 3))
    dice = (2 * overlap + 1) / ((p * p).sum((0, 2, 3)) + size + 1)
    return (1 - dice)[size > 0].mean()


@mistake(
    "only classes that the target shows",
    "You took only as many classes as the largest number in `target` tells. All K scores of a pixel compete, also "
    "those of classes that are nowhere.",
)
def scores_by_target(logits: Tensor, target: Tensor) -> Tensor:
    return dice_loss(logits[:, : target.max() + 1], target)


@mistake(
    "one-hot reshaped",
    "`F.one_hot` puts the classes last: (B, H, W, K). You gave it the shape of `logits` without moving them: `reshape` "
    "does not move an axis, `permute` or `movedim` does.",
)
def one_hot_reshaped(logits: Tensor, target: Tensor) -> Tensor:
    p, g = logits.softmax(1), F.one_hot(target, logits.shape[1]).reshape(logits.shape).to(logits)
    axes = (0, 2, 3)
    dice = (2 * (p * g).sum(axes) + 1) / ((p * p).sum(axes) + g.sum(axes) + 1)
    return (1 - dice)[g.sum(axes) > 0].mean()


@mistake(
    "absent classes counted as found",
    "A class that no pixel has costs nothing in your sum, but you still divide by all K classes.",
)
def divided_by_all_classes(logits: Tensor, target: Tensor) -> Tensor:
    present = len(target.unique())
    return _dice(logits, target) * present / logits.shape[1]


EXERCISE = Exercise(
    name="dice_loss",
    reference=dice_loss,
    cases=cases,
    takes={"logits": Kind.LOGITS, "target": Kind.CLASSES},
    gives=Kind.LOSS,
    mistakes=[
        similarity,
        raw_scores,
        sigmoid_for_softmax,
        softmax_over_columns,
        softmax_over_pictures,
        hard_answers,
        two_forgotten,
        smooth_forgotten,
        no_squares,
        absent_counted,
        all_in_one,
        picture_by_picture,
        without_first_class,
        class_one_only,
        classes_by_target,
        scores_by_target,
        one_hot_reshaped,
        divided_by_all_classes,
    ],
)
