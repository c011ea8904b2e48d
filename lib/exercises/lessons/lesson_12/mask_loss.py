"""The loss of the mask branch: yes or no in each cell, asked of the true class's mask alone."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Probe, mistake
from lib.exercises.engine.general import CUT_OFF
from lib.exercises.engine.inputs import random_classes, random_uniform, random_values
from lib.exercises.engine.kinds import Kind
from lib.models.mask_rcnn import mask_loss_across_classes


def mask_loss(mask_logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The course's own, as in `lib.models.mask_rcnn`."""
    if not len(labels):
        return mask_logits.sum() * 0
    return F.binary_cross_entropy_with_logits(of_true_class(mask_logits, labels), targets)


def of_true_class(mask_logits: Tensor, labels: Tensor) -> Tensor:
    return mask_logits[torch.arange(len(labels)), labels]  # (P, M, M)


def cases() -> list[Case]:
    def drawn(regions: int, classes: int, size: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        logits = 2 * random_values(regions, classes, size, size, seed=seed)
        labels = 1 + random_classes(regions, classes=classes - 1, seed=seed)
        return logits, labels, random_uniform(regions, size, size, seed=seed)

    logits, labels, targets = drawn(3, 4, 5, seed=4)
    named = {
        "one region of class 2, of three classes and background, 2 × 2 cells": drawn(1, 4, 2, seed=1)[:1]
        + (torch.tensor([2]), torch.tensor([[[1.0, 0.0], [0.5, 1.0]]])),
        "four regions": drawn(4, 6, 3, seed=2),
        "two regions of the same class": (*drawn(2, 3, 4, seed=3)[:1], torch.tensor([2, 2]), drawn(2, 3, 4, seed=3)[2]),
        "logits of 100 and -100": (100 * logits.sign(), labels, targets.round()),
        "no region": (logits[:0], labels[:0], targets[:0]),
    }
    return [Case.from_truth(label, arguments, cell_by_cell, ("mask_logits",)) for label, arguments in named.items()]


def cell_by_cell(mask_logits, labels, targets):
    """The truth: -t log σ(x) - (1 - t) log σ(-x), region by region."""
    if not len(labels):
        return mask_logits.sum() * 0
    regions = [
        -(target * F.logsigmoid(masks[label]) + (1 - target) * F.logsigmoid(-masks[label]))  # (M, M)
        for masks, label, target in zip(mask_logits, labels.tolist(), targets, strict=True)
    ]
    return torch.stack(regions).mean()


@mistake(
    "all classes",
    "You compare the masks of *all* classes with the target. Only the true class's mask learns from a region.",
)
def all_classes(mask_logits, labels, targets):
    if not len(labels):
        return mask_logits.sum() * 0
    return F.binary_cross_entropy_with_logits(mask_logits, targets[:, None].expand_as(mask_logits))


@mistake(
    "the other classes must say no",
    "You ask the masks of the other classes to be empty. They learn nothing from this region: only the true class's "
    "mask is judged.",
)
def others_empty(mask_logits, labels, targets):
    if not len(labels):
        return mask_logits.sum() * 0
    wanted = torch.zeros_like(mask_logits)
    wanted[torch.arange(len(labels)), labels] = targets
    return F.binary_cross_entropy_with_logits(mask_logits, wanted)


@mistake(
    "classes compete",
    "You let the classes compete in each cell, by a softmax. Here each mask is asked yes or no, by a sigmoid.",
)
def softmax(mask_logits, labels, targets):
    return mask_loss_across_classes(mask_logits, labels, targets)


@mistake(
    "class counted from 0",
    "You take the mask of the class before. Background, class 0, has a mask too, so `labels` fit as they are.",
)
def one_less(mask_logits, labels, targets):
    return mask_loss(mask_logits, labels - 1, targets)


@mistake(
    "class first, then region",
    "You exchanged the two axes: the first counts regions, the second classes.",
)
def axes_exchanged(mask_logits, labels, targets):
    return F.binary_cross_entropy_with_logits(mask_logits[labels, torch.arange(len(labels))], targets)


@mistake("sigmoid twice", "You take the sigmoid of the logits, and then a loss that takes it once more.")
def sigmoid_twice(mask_logits, labels, targets):
    return mask_loss(mask_logits.sigmoid(), labels, targets)


@mistake("background's mask", "You judge the mask of class 0, background. The true class is in `labels`.")
def background(mask_logits, labels, targets):
    return mask_loss(mask_logits, torch.zeros_like(labels), targets)


@mistake(
    "squared error",
    "You take the squared error of the sigmoid. Binary cross-entropy is asked for: it also pulls at answers that are "
    "surely wrong.",
)
def squared(mask_logits, labels, targets):
    if not len(labels):
        return mask_logits.sum() * 0
    return F.mse_loss(of_true_class(mask_logits, labels).sigmoid(), targets)


@mistake("sum over cells", "You add up the cells, and divide by the regions alone. Divide by regions and cells.")
def cells_added(mask_logits, labels, targets):
    return mask_loss(mask_logits, labels, targets) * targets[0].numel() if len(labels) else mask_logits.sum() * 0


@mistake("sum over all", "You add everything up. The mean over regions and cells is asked for.")
def everything_added(mask_logits, labels, targets):
    return mask_loss(mask_logits, labels, targets) * targets.numel()


@mistake(
    "the mean of nothing",
    "Right, but with no region: the mean of nothing is nan, and a nan in the sum of the losses ruins the step. "
    "Return 0 then, one that gradients can run through.",
)
def nan_without_regions(mask_logits, labels, targets):
    return F.binary_cross_entropy_with_logits(of_true_class(mask_logits, labels), targets)


@mistake(
    "logarithm of 0",
    "Right, but for logits of ±100: there the sigmoid is exactly 0 or 1, and its logarithm is limited or infinite. Use "
    "the loss that takes logits.",
)
def by_probabilities(mask_logits, labels, targets):
    if not len(labels):
        return mask_logits.sum() * 0
    return F.binary_cross_entropy(of_true_class(mask_logits, labels).sigmoid(), targets)


def gradient_arrives_without_regions(function: Callable) -> bool:
    logits = torch.zeros(0, 3, 2, 2, requires_grad=True)
    return function(logits, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2, 2)).requires_grad


EXERCISE = Exercise(
    name="mask_loss",
    reference=mask_loss,
    cases=cases,
    takes={"mask_logits": Kind.LOGITS, "labels": Kind.CLASSES},
    gives=Kind.LOSS,
    probes=[Probe(CUT_OFF.name, CUT_OFF.explanation, passes=gradient_arrives_without_regions)],
    mistakes=[
        all_classes, others_empty, softmax, one_less, axes_exchanged, sigmoid_twice, background, squared, cells_added,
        everything_added, nan_without_regions, by_probabilities,
    ],
)  # fmt: skip
