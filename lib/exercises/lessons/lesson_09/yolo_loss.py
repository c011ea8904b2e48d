"""The loss of YOLO: five sums of squared errors over one picture."""

from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import boxes_of, random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_09.decode_grid import decode_grid
from lib.exercises.lessons.lesson_09.grid_targets import grid_targets
from lib.models.yolo import iou_of_pairs

COORD, NOOBJ = 5.0, 0.5
PARTS = ("place", "size", "object", "nothing", "class")
Decision = Callable[..., Tensor]


def yolo_loss(answers: Tensor, classes: Tensor, boxes: Tensor, labels: Tensor, stride: int) -> Tensor:
    """The course's own, the sums of `lib.models.yolo.YOLOv1.loss` for one picture."""
    return summed(answers, classes, boxes, labels, stride)


def class_errors(classes: Tensor, there: Tensor, labels: Tensor) -> Tensor:
    """Classes (S, S', C) of the M cells with a thing against their labels (M,): (M, C)."""
    return classes[there] - F.one_hot(labels - 1, classes.shape[2])


def summed(
    answers: Tensor,
    classes: Tensor,
    boxes: Tensor,
    labels: Tensor,
    stride: int,
    choose: Decision = lambda overlaps, said: overlaps.argmax(dim=1),
    sure: Decision = lambda overlap: overlap.detach(),
    sides: Decision = lambda said, roots: said - roots,
    counted: Decision = lambda nothing, there: nothing,
    label: Decision = lambda labels, owners: labels[owners],
    kind: Decision = lambda classes, there, labels: class_errors(classes, there, labels),
    total: Decision = lambda errors: errors.square().sum(),
) -> Tensor:
    """`yolo_loss` with its decisions open: who is responsible, how sure it should be, who says nothing, ..."""
    size = answers.shape[0] * stride, answers.shape[1] * stride
    owners, targets = grid_targets(boxes, size, stride)  # (S, S'), (S, S', 4)
    there = owners >= 0  # (S, S'), M cells with a thing
    overlaps = iou_of_pairs(decode_grid(answers[..., :4], stride)[there], boxes[owners[there]][:, None])  # (M, B)
    own = torch.arange(len(overlaps)), choose(overlaps, answers[there])
    said, aim = answers[there][own], targets[there]  # (M, 5), (M, 4)
    nothing = torch.ones(answers.shape[:3], dtype=torch.bool)  # (S, S', B)
    nothing[(*torch.where(there), own[1])] = False
    return torch.stack(
        [
            COORD * total(said[:, :2] - aim[:, :2]),
            COORD * total(sides(said[:, 2:4], aim[:, 2:])),
            total(said[:, 4] - sure(overlaps[own])),
            NOOBJ * total(answers[..., 4][counted(nothing, there)]),
            total(kind(classes, there, label(labels, owners[there]))),
        ]
    )


def cases() -> list[Case]:
    # the lower right thing comes first in the list, so cell by cell is another order than the list's
    one, three = boxes_of((2, 3, 12, 15)), boxes_of((14, 17, 31, 30), (1, 18, 14, 29), (3, 2, 25, 16))
    crowd = boxes_of((30, 2, 46, 20), (2, 1, 12, 13), (29, 4, 45, 21), (6, 18, 31, 31))
    named = {
        "2 × 2 cells, two boxes a cell, one thing": (2, 2, 2, 3, one, [2], 8),
        "3 things in another order than their cells, the last class among them": (2, 2, 2, 4, three, [4, 1, 2], 16),
        "2 × 3 cells, two middles in one cell": (2, 3, 2, 3, crowd, [2, 1, 3, 2], 16),
        "a tall picture, three boxes a cell": (4, 2, 3, 2, boxes_of((1, 9, 13, 30), (5, 1, 15, 8)), [1, 1], 8),
        "one box a cell": (2, 3, 1, 3, crowd[:2], [1, 2], 16),
        "a cell whose boxes all miss the thing": (2, 2, 2, 3, boxes_of((12, 9, 15, 15)), [2], 8),
        "no thing": (2, 3, 2, 3, torch.zeros(0, 4), [], 8),
    }
    made = []
    for seed, (label, (rows, columns, count, of, boxes, labels, stride)) in enumerate(named.items()):
        answers = torch.rand(rows, columns, count, 5, generator=torch.Generator().manual_seed(seed))
        answers[..., 2:4] = 0.3 + 0.5 * answers[..., 2:4] - 0.25 * ("miss" in label)
        answers[0, 0, 0, 3] *= -1  # a network may say so
        classes = 0.5 * random_values(rows, columns, of, seed=seed + 10)
        arguments = answers, classes, boxes, torch.tensor(labels, dtype=torch.int64), stride
        made.append(Case.from_truth(label, arguments, cell_by_cell, ("answers", "classes")))
    return made


def cell_by_cell(answers: Tensor, classes: Tensor, boxes: Tensor, labels: Tensor, stride: int) -> Tensor:
    """The truth, as equation 3 is written: a sum over cells, and over the boxes of each."""
    place, size, thing, nothing, kind = (0 * (answers.sum() + classes.sum()) for _ in range(5))
    height, width = answers.shape[0] * stride, answers.shape[1] * stride
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    for row in range(answers.shape[0]):
        for column in range(answers.shape[1]):
            corner = torch.tensor([column * stride, row * stride])
            inside = ((middles >= corner) & (middles < corner + stride)).all(dim=1).nonzero()[:, 0].tolist()
            best = -1
            if inside:
                truth = boxes[inside[0]]
                overlaps = []
                for x, y, w, h, _ in answers[row, column].detach():
                    middle, half = corner + stride * torch.stack([x, y]), torch.stack([w**2 * width, h**2 * height]) / 2
                    overlaps.append(box_iou(torch.cat([middle - half, middle + half])[None], truth[None]).item())
                best = overlaps.index(max(overlaps))
                x, y, w, h, sure = answers[row, column, best]
                at = (middles[inside[0]] - corner) / stride
                place = place + 5 * ((x - at[0]) ** 2 + (y - at[1]) ** 2)
                sides = truth[2:] - truth[:2]
                size = size + 5 * ((w - (sides[0] / width) ** 0.5) ** 2 + (h - (sides[1] / height) ** 0.5) ** 2)
                thing = thing + (sure - max(overlaps)) ** 2
                for number, score in enumerate(classes[row, column], start=1):
                    kind = kind + (score - (1.0 if number == labels[inside[0]] else 0.0)) ** 2
            for number, sure in enumerate(answers[row, column, :, 4]):
                if number != best:
                    nothing = nothing + 0.5 * sure**2
    return torch.stack([place, size, thing, nothing, kind])


@mistake(
    "λ swapped",
    "The weights 5 and 0.5 have changed places. Most cells hold nothing, so each of them must count *less*.",
)
def weights_swapped(answers, classes, boxes, labels, stride):
    return yolo_loss(answers, classes, boxes, labels, stride) * torch.tensor([0.1, 0.1, 1, 10, 1])


@mistake(
    "λ forgotten", "All five of your sums count once. Place and size have a weight of their own, and nothing has one."
)
def without_weights(answers, classes, boxes, labels, stride):
    return yolo_loss(answers, classes, boxes, labels, stride) / torch.tensor([5, 5, 1, 0.5, 1])


@mistake(
    "all boxes of a cell responsible",
    "In a cell with a thing all of your boxes learn from it. Only the one with the largest IoU is responsible; the "
    "others should say that nothing is there.",
)
def all_responsible(answers, classes, boxes, labels, stride):
    alone = [yolo_loss(one, classes, boxes, labels, stride) for one in answers.split(1, dim=2)]
    return torch.cat([torch.stack(alone)[:, :4].sum(dim=0), alone[0][4:]])


@mistake(
    "cross-entropy for the class", "Your class loss is a cross-entropy. In 2016 it is a squared error, like the rest."
)
def cross_entropy(answers, classes, boxes, labels, stride):
    owners, _ = grid_targets(boxes, (answers.shape[0] * stride, answers.shape[1] * stride), stride)
    kind = F.cross_entropy(classes[owners >= 0], labels[owners[owners >= 0]] - 1, reduction="sum")
    return torch.cat([yolo_loss(answers, classes, boxes, labels, stride)[:4], kind[None]])


def only(*places: int) -> Mistake:
    """Nothing else was recognised, but the other numbers are right."""

    def others_right(got: Any, expected: Any, case: Case) -> bool:
        same = torch.isclose(got, expected, rtol=1e-4, atol=1e-5).tolist()
        return all(same[i] for i in range(5) if i not in places)

    parts = [PARTS[place] for place in places]
    return Mistake(
        f"only the number{'s' if len(parts) > 1 else ''} for {' and '.join(parts)}",
        f"Your numbers are right but for {' and '.join(f'*{part}*' for part in parts)}. Over which boxes or cells does "
        "such a sum go, against which target, and with which weight?",
        when=others_right,
    )


def in_another_order(got: Any, expected: Any, case: Case) -> bool:
    return torch.allclose(got.sort().values, expected.sort().values, rtol=1e-4, atol=1e-5)


SHIFTED = "Labels begin at 1, the places of a one-hot row at 0: your 1 stands one place too far."

EXERCISE = Exercise(
    name="yolo_loss",
    reference=yolo_loss,
    cases=cases,
    takes={"boxes": Kind.BOXES, "labels": Kind.CLASSES},
    gives=Kind.NUMBERS,
    mistakes=[
        Mistake(
            "a gradient through the IoU",
            "The five numbers are right, their gradient is not: it also flows through the IoU that the confidence "
            "should equal, and moves the *box* until the IoU fits the confidence. The IoU is a target here: it must "
            "carry no gradient.",
            wrong=partial(summed, sure=lambda overlap: overlap),
        ),
        weights_swapped,
        without_weights,
        all_responsible,
        cross_entropy,
        Mistake(
            "the other box of an owned cell forgotten",
            "Your sum for nothing looks at empty cells alone. In a cell with a thing *one* box is responsible; the "
            "others should say 0, like those of an empty cell.",
            wrong=partial(summed, counted=lambda nothing, there: nothing & ~there[..., None]),
        ),
        Mistake(
            "the responsible box should say nothing, too",
            "Your sum for nothing holds all boxes, the responsible ones too. These should say their IoU, and cannot "
            "say 0 as well.",
            wrong=partial(summed, counted=lambda nothing, there: torch.ones_like(nothing)),
        ),
        Mistake(
            "class loss in all cells",
            "You judge the classes of empty cells too, against zeros. A cell without a thing learns nothing about "
            "classes.",
            wrong=partial(summed, kind=lambda c, there, of: torch.cat([class_errors(c, there, of), c[~there]])),
        ),
        Mistake(
            "one-hot shifted by one",
            f"{SHIFTED} For the last label your row is all zeros.",
            wrong=partial(summed, kind=lambda c, there, of: c[there] - F.one_hot(of, c.shape[2] + 1)[:, :-1]),
        ),
        Mistake(
            "no place for the last label",
            f"{SHIFTED} For the last label there is no place.",
            wrong=partial(summed, kind=lambda c, there, of: class_errors(c, there, of + 1)),
        ),
        Mistake(
            "labels in the order of the list",
            "You laid the labels beside the cells in the order of the list. Cells come row by row, things in any "
            "order: `grid_targets` says which thing a cell answers for.",
            wrong=partial(summed, label=lambda labels, owners: labels[torch.arange(len(owners))]),
        ),
        Mistake(
            "confidence against 1",
            "Your responsible boxes should be wholly sure. Their confidence should say how well they *fit*: their IoU.",
            wrong=partial(summed, sure=torch.ones_like),
        ),
        Mistake(
            "the first box responsible",
            "In every cell your first box is responsible. It should be the one with the largest IoU.",
            wrong=partial(summed, choose=lambda overlaps, said: 0 * overlaps.argmax(dim=1)),
        ),
        Mistake(
            "the surest box responsible",
            "Your responsible box is the one with the highest confidence. It should be the one with the largest IoU.",
            wrong=partial(summed, choose=lambda overlaps, said: said[..., 4].argmax(dim=1)),
        ),
        Mistake(
            "squares of the roots",
            "You squared the last two numbers before you compared them. The loss compares the *roots*, so that a pixel "
            "counts more on a small box.",
            wrong=partial(summed, sides=lambda said, roots: said**2 - roots**2),
        ),
        Mistake(
            "means instead of sums",
            "Each of your numbers is a mean. Equation 3 only adds up; the mean of nothing is NaN, besides.",
            wrong=partial(summed, total=lambda errors: errors.square().mean()),
        ),
        Mistake(
            "absolute errors",
            "You added absolute differences. All five sums are of squares.",
            wrong=partial(summed, total=lambda errors: errors.abs().sum()),
        ),
        Mistake(
            "λ of place and size forgotten",
            "Place and size count once in yours. They have a weight of their own, as *nothing* has.",
            wrong=lambda *arguments: yolo_loss(*arguments) / torch.tensor([COORD, COORD, 1, 1, 1]),
        ),
        Mistake(
            "softmax over the classes",
            "You made probabilities of the class numbers. In 2016 the raw numbers are compared with 1 and 0.",
            wrong=partial(summed, kind=lambda c, there, of: class_errors(c.softmax(dim=2), there, of)),
        ),
        Mistake(
            "one sum",
            "You return one number, the sum of all. Asked are the five sums, one by one: place, size, object, nothing, "
            "class.",
            wrong=lambda *arguments: yolo_loss(*arguments).sum(),
        ),
        Mistake(
            "the five numbers in another order",
            "Your five numbers are right, but not in the order place, size, object, nothing, class.",
            when=in_another_order,
        ),
        *(only(*places) for count in (1, 2) for places in combinations(range(5), count)),
    ],
)
