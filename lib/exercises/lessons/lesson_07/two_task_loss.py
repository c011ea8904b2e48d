"""Is it the right class, and has the box been moved as it should: two losses."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import fastrcnn_loss

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind


def smooth_l1(difference: Tensor, beta: float) -> Tensor:
    """The course's own road."""
    size = difference.abs()
    return torch.where(size < beta, 0.5 * difference**2 / beta, size - 0.5 * beta)


Losses = tuple[Tensor, Tensor]


BETA = 1 / 9


def two_task_loss(class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor) -> Losses:
    """The course's own road: the multi-task loss of Girshick 2015, equation 1, with β = 1/9."""
    return _two(class_logits, box_regression, labels, regression_targets)


def _two(
    class_logits: Tensor,
    box_regression: Tensor,
    labels: Tensor,
    regression_targets: Tensor,
    chosen: Tensor | None = None,
    counted: Tensor | None = None,
    of: Callable[[Tensor], Tensor] | None = None,
) -> Losses:
    """The loss with its decisions open: four numbers for each region (N, 4), what counts, and how it is added up."""
    numbers = torch.arange(len(labels))
    chosen = box_regression.view(len(labels), -1, 4)[numbers, labels] if chosen is None else chosen  # (N, 4)
    counted = labels > 0 if counted is None else counted  # (N,)
    each = smooth_l1((chosen - regression_targets)[counted], BETA)
    return F.cross_entropy(class_logits, labels), each.sum() / len(labels) if of is None else of(each)


def cases() -> list[Case]:
    named = {
        "2 regions, 3 classes": (2, 3, [0, 2]),
        "6 regions, 4 classes; targets without meaning are NaN": (6, 4, [0, 2, 0, 1, 3, 0]),
        "background only": (4, 3, [0, 0, 0, 0]),
        "no background": (5, 6, [1, 5, 2, 2, 4]),
    }
    made = []
    for seed, (label, (count, classes, labels)) in enumerate(named.items()):
        targets = random_values(count, 4, seed=seed + 20)
        if "NaN" in label:
            targets[torch.tensor(labels) == 0] = torch.nan
        arguments = (
            2 * random_values(count, classes, seed=seed),
            random_values(count, 4 * classes, seed=seed + 10),
            torch.tensor(labels),
            targets,
        )
        made.append(
            Case.from_truth(label, arguments, _loss_by_torchvision, gradients_of=("class_logits", "box_regression"))
        )
    scores, labels = torch.tensor([[100.0, -100, 0], [-100, 100, 0]]), torch.tensor([1, 1])
    sure = (scores, torch.zeros(2, 12), labels, torch.ones(2, 4))
    return [*made, Case.from_truth("very sure: scores of ±100", sure, _loss_by_torchvision)]


def _loss_by_torchvision(class_logits, box_regression, labels, regression_targets):
    return fastrcnn_loss(class_logits, box_regression, [labels], [regression_targets])


@mistake(
    "0 times without meaning",
    "You compute the box loss of all regions and multiply what does not count by 0. Targets without meaning may be "
    "NaN, and 0 · NaN is NaN. Choose the positives first, then compute.",
)
def masked_by_zero(class_logits, box_regression, labels, regression_targets):
    chosen = box_regression.view(len(labels), -1, 4)[torch.arange(len(labels)), labels]
    each = smooth_l1(chosen - regression_targets, BETA) * (labels > 0)[:, None]
    return F.cross_entropy(class_logits, labels), each.sum() / len(labels)


@mistake(
    "background has a box",
    "You judge the boxes of background regions too. There is no true box that they could be moved onto; "
    "whatever stands in `regression_targets` there has no meaning.",
)
def background_boxes_too(class_logits, box_regression, labels, regression_targets):
    return _two(class_logits, box_regression, labels, regression_targets, counted=labels >= 0)


@mistake(
    "the first class's numbers for all",
    "You always take the first four numbers. They belong to class 0, background. Each region has four "
    "numbers for *each* class; take those of its own.",
)
def first_class_for_all(class_logits, box_regression, labels, regression_targets):
    return _two(class_logits, box_regression, labels, regression_targets, chosen=box_regression[:, :4])


@mistake(
    "the numbers of the class before",
    "You take the numbers of class label − 1. Background is class 0 and has its four numbers too, though "
    "nobody uses them.",
)
def one_class_less(class_logits, box_regression, labels, regression_targets):
    rows = box_regression.view(len(labels), -1, 4)[torch.arange(len(labels)), (labels - 1).clamp(min=0)]
    return _two(class_logits, box_regression, labels, regression_targets, chosen=rows)


@mistake(
    "the guessed class's numbers",
    "You take the numbers of the class with the highest score. What is learned is the box of the *true* class.",
)
def best_class_guessed(class_logits, box_regression, labels, regression_targets):
    rows = box_regression.view(len(labels), -1, 4)[torch.arange(len(labels)), class_logits.argmax(dim=1)]
    return _two(class_logits, box_regression, labels, regression_targets, chosen=rows)


@mistake(
    "numbers before classes",
    "The 4 · K numbers of a region are K groups of four, not four groups of K.",
)
def numbers_before_classes(class_logits, box_regression, labels, regression_targets):
    rows = box_regression.view(len(labels), 4, -1)[torch.arange(len(labels)), :, labels]
    return _two(class_logits, box_regression, labels, regression_targets, chosen=rows)


@mistake(
    "the boxes of all classes",
    "You compare the numbers of every class with the target. Only those of the true class are judged: a "
    "cone's box says nothing about how a sphere's would be.",
)
def all_classes_compared(class_logits, box_regression, labels, regression_targets):
    rows = box_regression.view(len(labels), -1, 4)  # (N, K, 4)
    each = smooth_l1((rows - regression_targets[:, None])[labels > 0], BETA)
    return F.cross_entropy(class_logits, labels), each.sum() / len(labels)


@mistake(
    "divided by the positives",
    "You divided the box loss by the number of positive regions. Divide by the number of all regions, N: "
    "then a picture with few positives counts less, and one with none does not end in 0 / 0.",
)
def over_positives(class_logits, box_regression, labels, regression_targets):
    return _two(
        class_logits, box_regression, labels, regression_targets, of=lambda each: each.sum() / (labels > 0).sum()
    )


@mistake(
    "divided by the positives, or by 1",
    "You divided the box loss by the number of positive regions. Divide by the number of all regions, N.",
)
def over_positives_or_1(class_logits, box_regression, labels, regression_targets):
    return _two(
        class_logits,
        box_regression,
        labels,
        regression_targets,
        of=lambda each: each.sum() / (labels > 0).sum().clamp(min=1),
    )


@mistake(
    "mean over the positives' numbers",
    "You took the mean over the positives' numbers. Add them up, and divide by the number of all regions.",
)
def mean_of_numbers(class_logits, box_regression, labels, regression_targets):
    return _two(class_logits, box_regression, labels, regression_targets, of=torch.mean)


@mistake(
    "only added up",
    "The box loss is not divided by the number of regions.",
)
def only_added_up(class_logits, box_regression, labels, regression_targets):
    return _two(class_logits, box_regression, labels, regression_targets, of=torch.sum)


@mistake(
    "squares instead of smooth L1",
    "You squared the differences. One box that is far off would outweigh all others: use `smooth_l1`.",
)
def plain_squares(class_logits, box_regression, labels, regression_targets):
    rows = box_regression.view(len(labels), -1, 4)[torch.arange(len(labels)), labels]
    squares = (rows - regression_targets)[labels > 0] ** 2
    return F.cross_entropy(class_logits, labels), squares.sum() / len(labels)


@mistake(
    "L1 instead of smooth L1",
    "You took absolute differences. Use `smooth_l1`, with β = 1/9.",
)
def plain_sizes(class_logits, box_regression, labels, regression_targets):
    rows = box_regression.view(len(labels), -1, 4)[torch.arange(len(labels)), labels]
    sizes = (rows - regression_targets)[labels > 0].abs()
    return F.cross_entropy(class_logits, labels), sizes.sum() / len(labels)


@mistake(
    "β is 1",
    "Your smooth L1 bends at 1. Here β is 1/9.",
)
def beta_of_1(class_logits, box_regression, labels, regression_targets):
    rows = box_regression.view(len(labels), -1, 4)[torch.arange(len(labels)), labels]
    each = smooth_l1((rows - regression_targets)[labels > 0], 1.0)
    return F.cross_entropy(class_logits, labels), each.sum() / len(labels)


@mistake(
    "softmax twice",
    "`F.cross_entropy` takes scores and makes the softmax itself. You gave it probabilities.",
)
def softmax_twice(class_logits, box_regression, labels, regression_targets):
    box_loss = two_task_loss(class_logits, box_regression, labels, regression_targets)[1]
    return F.cross_entropy(class_logits.softmax(dim=1), labels), box_loss


@mistake(
    "classes of the positives only",
    "Your class loss leaves out background. Then nothing ever tells the network what is *not* a thing.",
)
def classes_of_positives(class_logits, box_regression, labels, regression_targets):
    box_loss, hit = two_task_loss(class_logits, box_regression, labels, regression_targets)[1], labels > 0
    return F.cross_entropy(class_logits[hit], labels[hit]), box_loss


EXERCISE = Exercise(
    name="two_task_loss",
    reference=two_task_loss,
    cases=cases,
    takes={"class_logits": Kind.LOGITS},
    gives=(Kind.LOSS, Kind.LOSS),
    mistakes=[
        masked_by_zero,
        background_boxes_too,
        first_class_for_all,
        one_class_less,
        best_class_guessed,
        numbers_before_classes,
        all_classes_compared,
        over_positives,
        over_positives_or_1,
        mean_of_numbers,
        only_added_up,
        plain_squares,
        plain_sizes,
        beta_of_1,
        softmax_twice,
        classes_of_positives,
    ],
)
