"""The mean cross entropy of all pixels that count."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import random_classes, random_values
from lib.exercises.engine.kinds import Kind
from lib.ops import losses


def pixel_loss(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """`lib.ops.losses.cross_entropy` without weights for the classes, which lesson 03 does not ask for."""
    return losses.cross_entropy(logits, target, ignore_index)


def cases() -> list[Case]:
    def truth(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
        return F.cross_entropy(logits, target, ignore_index=ignore_index)

    uneven = random_classes(2, 3, 4, classes=3, seed=5)
    uneven[0, :2] = 255  # the first picture has few pixels that count
    return [
        Case.from_truth(label, (logits, target, *rest), truth, gradients_of=("logits",))
        for label, logits, target, *rest in (
            ("one picture of 2 × 4 pixels, 3 classes", random_values(1, 3, 2, 4), random_classes(1, 2, 4, classes=3)),
            ("two pictures, some pixels ignored", 2 * random_values(2, 3, 3, 4, seed=2), uneven),
            (
                "class 1 is ignored",
                2 * random_values(1, 4, 3, 3, seed=9),
                random_classes(1, 3, 3, classes=4, seed=10),
                1,
            ),
            ("scores in the hundreds", 200 * random_values(2, 4, 4, 4, seed=3), random_classes(2, 4, 4, classes=4)),
        )
    ]


def surprise(logits: Tensor, target: Tensor) -> Tensor:
    """-log p of the true class (B, H, W), class 0 in place of 255."""
    classes = target.masked_fill(target == 255, 0)
    return -logits.log_softmax(1).gather(1, classes[:, None])[:, 0]


@mistake(
    "ignored pixels looked up",
    "A pixel with truth 255 has no score to be looked up: there are only K classes. Such pixels must go, "
    "or be given some harmless class and left out of the mean.",
)
def looked_up_255(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    return -logits.log_softmax(1).gather(1, target[:, None]).mean()


def softmax_along(axis: int, logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    counted = target != ignore_index
    chosen = logits.log_softmax(axis).gather(1, target.masked_fill(~counted, 0)[:, None])[:, 0]
    return -chosen[counted].mean()


@mistake(
    "log forgotten",
    "You average the probability of the true class. Its logarithm makes a confident mistake expensive.",
)
def no_log(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    return -(-surprise(logits, target)).exp()[target != ignore_index].mean()


@mistake(
    "1 − p for −log p",
    "1 − p is never more than 1. The loss of the paper is −log p, which grows without end as p goes to 0.",
)
def one_minus_probability(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    return 1 - (-surprise(logits, target)).exp()[target != ignore_index].mean()


@mistake(
    "sum instead of mean",
    "A sum grows with the picture; the learning rate would have to change with the size of the input.",
)
def summed(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    return surprise(logits, target)[target != ignore_index].sum()


@mistake(
    "ignored pixels taken for class 0",
    "Pixels with truth 255 are taken for class 0 in your mean, so the network would learn something false.",
)
def taken_for_class_0(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    return surprise(logits, target).mean()


@mistake(
    "ignored pixels taken for the last class",
    "Pixels with truth 255 are taken for the last class in your mean, so the network would learn something false.",
)
def taken_for_last_class(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    classes = target.clamp(max=logits.shape[1] - 1)
    return -logits.log_softmax(1).gather(1, classes[:, None]).mean()


@mistake(
    "divided by all pixels",
    "Ignored pixels add nothing to your sum, but you still divide by all pixels. Divide by those that count.",
)
def divided_by_all(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    return (surprise(logits, target) * (target != ignore_index)).mean()


@mistake(
    "averaged picture by picture",
    "You take the mean of each picture and then the mean of the pictures. So a pixel counts more in a "
    "picture where few others count. All counted pixels of the batch should weigh the same.",
)
def picture_by_picture(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    counted = target != ignore_index
    return ((surprise(logits, target) * counted).sum((1, 2)) / counted.sum((1, 2))).mean()


@mistake(
    "softmax forgotten",
    "You average raw scores of the true class. Scores mean something only next to those of the other "
    "classes: turn them into (log) probabilities first.",
)
def not_normalised(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    chosen = logits.gather(1, target.masked_fill(target == ignore_index, 0)[:, None])[:, 0]
    return -chosen[target != ignore_index].mean()


@mistake(
    "log of a softmax",
    "Where a class is far from likely, its probability is 0 in a float, and the logarithm of 0 is infinite. "
    "`log_softmax` goes from scores to log probabilities in one step, and never meets that 0.",
)
def log_of_softmax(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    counted = target != ignore_index
    chosen = logits.softmax(1).log().gather(1, target.masked_fill(~counted, 0)[:, None])[:, 0]
    return -chosen[counted].mean()


@mistake(
    "reshaped without moving the classes",
    "You reshaped (B, K, H, W) into rows of K numbers. The K scores of a pixel do not lie side by side: move axis 1 to "
    "the end first, then reshape.",
)
def reshaped_only(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    counted = target.flatten() != ignore_index
    rows = logits.reshape(-1, logits.shape[1])[counted]
    return -rows.log_softmax(1).gather(1, target.flatten()[counted][:, None]).mean()


@mistake(
    "255 whatever is asked",
    "You leave out pixels with truth 255. Which number is left out, `ignore_index` says.",
)
def always_255(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    return pixel_loss(logits, target)


EXERCISE = Exercise(
    name="pixel_loss",
    reference=pixel_loss,
    cases=cases,
    takes={"logits": Kind.LOGITS, "target": Kind.CLASSES},
    gives=Kind.LOSS,
    forbidden=(F.cross_entropy, F.nll_loss),
    lesson_size=lambda: (random_values(8, 7, 96, 96), random_classes(8, 96, 96, classes=7)),
    mistakes=[
        looked_up_255,
        Mistake(
            "softmax over the batch",
            "The probabilities of one pixel over the *classes* should add up to 1. Yours add up over the pictures. "
            "Which axis of (B, K, H, W) holds the classes?",
            wrong=partial(softmax_along, 0),
        ),
        Mistake(
            "softmax over the columns",
            "The probabilities of one pixel over the *classes* should add up to 1. Yours add up along the last "
            "axis, the columns of the picture.",
            wrong=partial(softmax_along, -1),
        ),
        no_log,
        one_minus_probability,
        not_normalised,
        log_of_softmax,
        summed,
        taken_for_class_0,
        taken_for_last_class,
        divided_by_all,
        picture_by_picture,
        reshaped_only,
        always_255,
    ],
)
