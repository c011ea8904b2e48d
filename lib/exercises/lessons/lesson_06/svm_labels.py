"""Which regions are examples and which are counterexamples for the SVM of a class."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import box_iou

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.kinds import Kind
from lib.models import rcnn


def cases() -> list[Case]:
    truth = torch.tensor([[0.0, 0, 20, 20], [10, 10, 30, 30], [40, 0, 50, 30]])
    draw = torch.Generator().manual_seed(1)
    near = truth.repeat(6, 1) + 4 * torch.randn(18, 4, generator=draw)
    far = torch.tensor([[60.0, 60, 70, 70], [0, 40, 30, 60]])
    iou = box_iou(torch.cat([truth, near, far]), truth)
    of_one, of_two = [1, 0, 0.9992, 0.9985, 0, 0.3, 0.29, 0, 0.2, 0.4], [0, 1, 0, 0.2, 0.8, 0.1, 0.1, 0, 0.4, 0.5]
    hand = torch.tensor([of_one, of_two]).T  # (10, 2)
    inputs = [
        ("two things, of class 1 and 2", (hand, torch.tensor([1, 2]), 1)),
        ("the same for class 2", (hand, torch.tensor([1, 2]), 2)),
        ("both things of class 3", (torch.tensor([[0.2, 0.2], [0.2, 0.4], [1.0, 0.1]]), torch.tensor([3, 3]), 3)),
        ("three things, two of them of class 4", (iou, torch.tensor([4, 2, 4]), 4)),
        ("a class that is not in the picture", (iou, torch.tensor([4, 2, 4]), 5)),
    ]
    return [Case(label, arguments, labels_by_loop(*arguments)) for label, arguments in inputs]


def labels_by_loop(iou: Tensor, labels: Tensor, label: int) -> Tensor:
    kinds = []
    for overlaps in iou.tolist():
        best = max([overlap for overlap, kind in zip(overlaps, labels.tolist()) if kind == label], default=0.0)
        kinds.append(1 if best > 0.999 else 0 if best < 0.3 else -1)
    return torch.tensor(kinds)


def labelled_with(example=0.999, counter=0.3, any_class=False):
    """`svm_labels` with other limits, or with all classes lumped together."""

    def kinds_of(iou: Tensor, labels: Tensor, label: int) -> Tensor:
        of_class = iou if any_class else iou[:, labels == label]
        best = torch.cat([of_class, torch.zeros(len(iou), 1)], dim=1).amax(dim=1)
        kinds = torch.full((len(iou),), -1)
        kinds[best < counter] = 0
        kinds[best > example] = 1
        return kinds

    return kinds_of


@mistake(
    "other classes left out",
    "You left out the regions on things of other classes. They are the most useful counterexamples: a cone"
    " is not a box.",
)
def others_not_used(iou: Tensor, labels: Tensor, label: int) -> Tensor:
    kinds = labelled_with()(iou, labels, label)
    others = torch.cat([iou[:, labels != label], torch.zeros(len(iou), 1)], dim=1).amax(dim=1)
    return torch.where((kinds == 0) & (others >= 0.3), -1, kinds)


def exchanged(iou: Tensor, labels: Tensor, label: int) -> Tensor:
    kinds = labelled_with()(iou, labels, label)
    return torch.where(kinds == 1, kinds, -1 - kinds)


def only(mine: int, true: int) -> Callable[[Tensor, Tensor, Case], bool]:
    """All is right, but for regions that the learner calls `mine` where it is `true`."""
    return lambda got, expected, case: bool(((got == expected) | (got == mine) & (expected == true)).all())


EXERCISE = Exercise(
    name="svm_labels",
    reference=rcnn.svm_labels,
    cases=cases,
    takes={"labels": Kind.CLASSES},
    gives=Kind.CLASSES,
    mistakes=[
        Mistake(
            "parts as counterexamples",
            "You call every region that is no example a counterexample. Those with an IoU between 0.3 and 1 show a"
            " part of the thing: they are left out, -1.",
            wrong=labelled_with(counter=0.999),
        ),
        Mistake(
            "one limit of 0.3 for everything",
            "Regions with an IoU of 0.3 or more are your examples. Only true boxes are examples, and regions with a "
            "part of a thing are left out, −1.",
            wrong=labelled_with(example=0.3 - 1e-6),
        ),
        Mistake(
            "one limit of 0.5 for everything",
            "Regions with an IoU of 0.5 or more are your examples, all others counterexamples. Only true boxes are "
            "examples, and regions with a part of a thing are left out, −1.",
            wrong=labelled_with(example=0.5 - 1e-6, counter=0.5),
        ),
        Mistake(
            "the limit for 1 too high",
            "You ask for an IoU nearer to 1 than 0.999. The task says: above 0.999.",
            wrong=labelled_with(example=1 - 1e-6),
        ),
        Mistake(
            "things of all classes",
            "You looked at the overlap with things of *any* class. For the SVM of one class, only things of this"
            " class count.",
            wrong=labelled_with(any_class=True),
        ),
        others_not_used,
        Mistake(
            "0 and -1 exchanged",
            "Counterexamples are 0, regions that are left out are -1. You have them the other way round.",
            wrong=exchanged,
        ),
        Mistake(
            "0.3 itself as a counterexample",
            "You call a region with an IoU of exactly 0.3 a counterexample. The task says: *below* 0.3.",
            wrong=labelled_with(counter=0.3 + 1e-6),
        ),
        Mistake(
            "too many counterexamples",
            "You call regions counterexamples whose best IoU with a thing of this class is 0.3 or more. They are left "
            "out, −1.",
            when=only(0, -1),
        ),
        Mistake(
            "too few counterexamples",
            "You leave out regions whose best IoU with a thing of this class is below 0.3, or that meet no such thing. "
            "They are counterexamples, 0.",
            when=only(-1, 0),
        ),
        Mistake(
            "too many examples",
            "You call regions examples whose best IoU with a thing of this class is not above 0.999. They are left "
            "out, −1: only the true boxes are examples.",
            when=only(1, -1),
        ),
    ],
)
