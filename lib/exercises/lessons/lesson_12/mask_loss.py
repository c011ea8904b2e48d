"""Yes or no in each cell, asked of the true class's mask alone."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, Probe
from lib.exercises.engine.inputs import random_classes, random_uniform, random_values
from lib.exercises.engine.kinds import Kind
from lib.models import mask_rcnn


def mask_loss(mask_logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The course's own, `lib.models.mask_rcnn.mask_loss`."""
    return mask_rcnn.mask_loss(mask_logits, labels, targets)


def cases() -> list[Case]:
    named = {
        "2 regions, 3 classes, 2 × 2 cells": (torch.tensor([2, 1]), 3, 2),
        "6 regions, 5 classes, 3 × 3 cells": (1 + random_classes(6, classes=4, seed=1), 5, 3),
        "one region, 4 × 4 cells": (torch.tensor([3]), 4, 4),
        "one class beside background": (torch.tensor([1, 1, 1]), 2, 2),
        "no region": (torch.zeros(0, dtype=torch.int64), 3, 2),
    }
    made = []
    for seed, (label, (labels, classes, size)) in enumerate(named.items()):
        logits = 2 * random_values(len(labels), classes, size, size, seed=seed)
        arguments = (logits, labels, random_uniform(len(labels), size, size, seed=seed + 10))
        made.append(Case.from_truth(label, arguments, region_by_region, gradients_of=("mask_logits",)))
    sure = torch.tensor([[[100.0, -100], [30, -30]], [[-100, 100], [-30, 30]]])  # (2, 2, 2)
    logits = torch.stack([torch.zeros_like(sure), sure], dim=1)  # (2, 2, 2, 2)
    wanted = torch.tensor([[[1.0, 0], [1, 0]], [[1, 0], [1, 0.5]]])
    return [*made, Case.from_truth("very sure: ±100 and ±30", (logits, torch.tensor([1, 1]), wanted), region_by_region)]


def region_by_region(mask_logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The truth, by the definition; −log sigmoid(x) is softplus(−x)."""
    total = mask_logits.sum() * 0
    for logits, label, wanted in zip(mask_logits, labels.tolist(), targets, strict=True):
        each = wanted * F.softplus(-logits[label]) + (1 - wanted) * F.softplus(logits[label])
        total = total + each.mean() / len(labels)
    return total


def true_class(mask_logits: Tensor, labels: Tensor) -> Tensor:
    return mask_logits[torch.arange(len(labels)), labels]  # (P, M, M)


def of_class(
    mask_logits: Tensor,
    labels: Tensor,
    targets: Tensor,
    chosen: Callable[[Tensor, Tensor], Tensor] = true_class,
    criterion: Callable[[Tensor, Tensor], Tensor] = F.binary_cross_entropy_with_logits,
) -> Tensor:
    """`mask_loss` with its decisions open: whose mask is judged, and how."""
    if not len(labels):
        return mask_logits.sum() * 0
    return criterion(chosen(mask_logits, labels), targets)


def logarithm_afterwards(logits: Tensor, wanted: Tensor) -> Tensor:
    share = logits.sigmoid()
    return -(wanted * share.log() + (1 - wanted) * (1 - share).log()).mean()


def others_empty(mask_logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    wanted = torch.zeros_like(mask_logits)
    wanted[torch.arange(len(labels)), labels] = targets
    return F.binary_cross_entropy_with_logits(mask_logits, wanted) if len(labels) else mask_logits.sum() * 0


def too_small_for_large_logits(got: Tensor, expected: Tensor, case: Case) -> bool:
    return bool(case.label.startswith("very sure") and 0 < got < expected)


def gradient_without_regions(function: Callable) -> bool:
    nothing = torch.zeros(0, 3, 2, 2, requires_grad=True)
    return function(nothing, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2, 2)).requires_grad


MISTAKES = [
    Mistake(
        "the mask of the class before",
        "You judge the mask of class label − 1. Background is class 0 and has a mask too, though nobody uses it.",
        wrong=partial(of_class, chosen=lambda logits, labels: true_class(logits, labels - 1)),
    ),
    Mistake(
        "the masks of all classes",
        "You compare the masks of *all* classes with the target. Only that of the true class is judged.",
        wrong=partial(
            of_class,
            chosen=lambda logits, labels: logits,
            criterion=lambda logits, wanted: F.binary_cross_entropy_with_logits(
                logits, wanted[:, None].expand_as(logits)
            ),
        ),
    ),
    Mistake(
        "the others must say no",
        "You ask the other classes' masks to be empty. They learn nothing from this region: only the mask of the true "
        "class is judged.",
        wrong=others_empty,
    ),
    Mistake(
        "squared error",
        "You took the squared error of the sigmoid. It should be the binary cross-entropy.",
        wrong=partial(of_class, criterion=lambda logits, wanted: F.mse_loss(logits.sigmoid(), wanted)),
    ),
    Mistake(
        "background's mask",
        "You judge the mask of class 0, background. Judge that of each region's true class.",
        wrong=partial(of_class, chosen=lambda logits, labels: logits[:, 0]),
    ),
    Mistake(
        "softmax",
        "You took a softmax over the classes: then they compete for each cell. Here nobody but the true class is "
        "asked, yes or no: a sigmoid.",
        wrong=partial(
            of_class,
            chosen=lambda logits, labels: true_class(logits.softmax(dim=1), labels),
            criterion=F.binary_cross_entropy,
        ),
    ),
    Mistake(
        "classes compete with background",
        "You took a cross-entropy over the classes: thing or background. Here nobody but the true class is asked, yes "
        "or no.",
        wrong=mask_rcnn.mask_loss_across_classes,
    ),
    Mistake(
        "sigmoid twice",
        "`F.binary_cross_entropy_with_logits` takes the sigmoid itself, and you gave it shares. Give it the logits.",
        wrong=partial(of_class, chosen=lambda logits, labels: true_class(logits, labels).sigmoid()),
    ),
    Mistake(
        "logarithm after the sigmoid",
        "Right for small logits. For large ones the sigmoid is exactly 0 or 1, and the logarithm of 0 is −∞. "
        "`F.binary_cross_entropy_with_logits` or `F.logsigmoid` do both at once.",
        wrong=partial(of_class, criterion=logarithm_afterwards),
    ),
    Mistake(
        "logarithm after the sigmoid, cut off",
        "Right for small logits. For large ones the sigmoid is exactly 0 or 1, and `F.binary_cross_entropy` cuts its "
        "logarithm off at −100: a logit of 30 costs 100. `F.binary_cross_entropy_with_logits` takes logits.",
        wrong=partial(of_class, criterion=lambda logits, wanted: F.binary_cross_entropy(logits.sigmoid(), wanted)),
    ),
    Mistake(
        "logarithm after the sigmoid, limited",
        "Right for small logits. For large ones your loss is too small: something limits the logarithm of the sigmoid, "
        "such as a small number that is added. `F.binary_cross_entropy_with_logits` takes logits and needs no limit.",
        when=too_small_for_large_logits,
    ),
    Mistake(
        "sum instead of mean",
        "You added up over regions and cells. It should be the mean over both.",
        wrong=partial(of_class, criterion=partial(F.binary_cross_entropy_with_logits, reduction="sum")),
    ),
    Mistake(
        "cells added up",
        "You took the mean over the regions, but added up their cells. It should be the mean over both.",
        wrong=partial(
            of_class,
            criterion=lambda logits, wanted: (
                F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / len(wanted)
            ),
        ),
    ),
    Mistake(
        "targets thresholded",
        "You made 0 and 1 of the targets. A cell that the thing fills to 0.3 is 0.3.",
        wrong=partial(
            of_class,
            criterion=lambda logits, wanted: F.binary_cross_entropy_with_logits(logits, (wanted > 0.5).float()),
        ),
    ),
    Mistake(
        "the mean of nothing",
        "Right, but without regions you return NaN: the mean of no number. It should be 0.",
        wrong=lambda logits, labels, targets: F.binary_cross_entropy_with_logits(true_class(logits, labels), targets),
    ),
]

EXERCISE = Exercise(
    name="mask_loss",
    reference=mask_loss,
    cases=cases,
    takes={"mask_logits": Kind.LOGITS, "labels": Kind.CLASSES},
    gives=Kind.LOSS,
    mistakes=MISTAKES,
    probes=[
        Probe(
            "no gradient without regions",
            "The numbers are right. But without regions your 0 has no gradient, and `backward()` crashes. Make the 0 "
            "from `mask_logits`, so that a gradient can run through it.",
            passes=gradient_without_regions,
        )
    ],
)
