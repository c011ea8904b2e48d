"""From the numbers of the cells back to boxes in pixels."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.ops import box_convert

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import random_uniform, random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_09._parts import compare_on_cells, corners_of_cells
from lib.ops.boxes import box_cxcywh_to_xyxy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def decode_grid(answers: Tensor, stride: int) -> Tensor:
    """The course's own, `lib.models.yolo.YOLOv1.to_boxes` for one picture."""
    middles = (corners_of_cells(*answers.shape[:2])[:, :, None] + answers[..., :2]) * stride  # (S, S', B, 2)
    sides = answers[..., 2:].square() * picture_of(answers, stride)  # (S, S', B, 2)
    return box_cxcywh_to_xyxy(torch.cat([middles, sides], dim=-1))


def cases() -> list[Case]:
    one = torch.tensor([[0.25, 0.5, 0.6, 0.5], [0.5, 0.75, 0.4, 0.8], [0.125, 0.25, 0.7, 0.3]]).repeat(2, 1)
    one[3:] = torch.tensor([[0.75, 0.625, 0.5, 0.9], [0.375, 0.875, 0.2, 0.6], [0.8, 0.4, 0.3, 0.75]])
    named = {
        "2 × 3 cells of 8 pixels, one box a cell": (one.view(2, 3, 1, 4), 8),
        "a tall grid, two boxes a cell": (random_uniform(3, 2, 2, 4, seed=1), 16),
        "4 × 4 cells, three boxes a cell": (random_uniform(4, 4, 3, 4, seed=2), 8),
        "one cell": (random_uniform(1, 1, 2, 4, seed=3), 32),
        "numbers of a network before its training, some of them negative": (random_values(2, 4, 2, 4, seed=4), 8),
        "all zero: each box is a point": (torch.zeros(2, 2, 1, 4), 8),
    }
    return [Case.from_truth(label, arguments, box_by_box, ("answers",)) for label, arguments in named.items()]


def box_by_box(answers: Tensor, stride: int) -> Tensor:
    """The truth: each box by itself, its corners by torchvision."""
    height, width = answers.shape[0] * stride, answers.shape[1] * stride
    boxes = []
    for row, cells in enumerate(answers):
        for column, cell in enumerate(cells):
            for x, y, w, h in cell:
                numbers = [stride * (column + x), stride * (row + y), w * w * width, h * h * height]
                boxes.append(box_convert(torch.stack(numbers)[None], "cxcywh", "xyxy"))
    return torch.cat(boxes).view(answers.shape)


def picture_of(answers: Tensor, stride: int) -> Tensor:
    """(2,) width and height of the picture."""
    return torch.tensor([answers.shape[1], answers.shape[0]]) * stride


def made(
    answers: Tensor,
    stride: int,
    middle: Callable[[Tensor, Tensor], Tensor] = lambda corner, share: corner + share,
    side: Callable[[Tensor, Tensor], Tensor] = lambda root, picture: root**2 * picture,
) -> Tensor:
    """`decode_grid` with its decisions open: the middles in cells, the sides in pixels, each (S, S', B, 2)."""
    corners = corners_of_cells(*answers.shape[:2])[:, :, None]  # (S, S', 1, 2)
    sides = side(answers[..., 2:], picture_of(answers, stride).float())
    return box_cxcywh_to_xyxy(torch.cat([middle(corners, answers[..., :2]) * stride, sides], dim=-1))


@mistake(
    "x and y taken as shares of the picture",
    "Your x and y run over the whole picture. They are shares of the own *cell*, from its left upper corner.",
)
def shares_of_the_picture(answers: Tensor, stride: int) -> Tensor:
    return made(answers, stride, middle=lambda corner, share: share * picture_of(answers, stride) / stride)


@mistake(
    "corner taken for the middle",
    "Your box *begins* at the point that x and y tell. This point is the middle of the box.",
)
def begins_at_the_middle(answers: Tensor, stride: int) -> Tensor:
    boxes = decode_grid(answers, stride)
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes + torch.cat([sides, sides], dim=-1) / 2


@mistake(
    "middles kept in their cell",
    "Right, but where a network says an x or y below 0 or above 1: you cut it off. x = 1.3 lies in the next cell; take "
    "it as it is.",
)
def kept_in_the_cell(answers: Tensor, stride: int) -> Tensor:
    return made(answers, stride, middle=lambda corner, share: corner + share.clamp(0, 1))


@mistake(
    "negative roots cut off",
    "Right, but for negative roots: you make them 0, and the box has no size. A network may say −0.5; squared, that is "
    "a quarter like any other.",
)
def cut_off_at_0(answers: Tensor, stride: int) -> Tensor:
    return made(answers, stride, side=lambda root, picture: root.clamp(min=0) ** 2 * picture)


@mistake("cut off at the picture's edge", "Right, but you clip the boxes to the picture. The task does not ask for it.")
def clipped(answers: Tensor, stride: int) -> Tensor:
    width, height = picture_of(answers, stride).tolist()
    x1, y1, x2, y2 = decode_grid(answers, stride).unbind(dim=-1)
    return torch.stack([x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)], dim=-1)


def picture(got: Any, expected: Any, case: Case) -> "Figure | None":
    """The boxes on their cells; of many, the first dozen."""
    answers, stride = case.arguments
    return compare_on_cells(got.reshape(-1, 4), expected.reshape(-1, 4), case, answers.shape[:2], stride)


EXERCISE = Exercise(
    name="decode_grid",
    reference=decode_grid,
    cases=cases,
    gives=Kind.BOXES,
    mistakes=[
        Mistake(
            "row and column swapped",
            "Your boxes run down where they should run to the right. The *column* of a cell moves x, its *row* moves "
            "y.",
            wrong=lambda answers, stride: made(answers, stride, middle=lambda corner, share: corner.flip(-1) + share),
        ),
        Mistake(
            "all in the first cell",
            "You count x and y of every box from the corner of the first cell. Where is the corner of its own cell?",
            wrong=lambda answers, stride: made(answers, stride, middle=lambda corner, share: 0 * corner + share),
        ),
        Mistake(
            "x and y taken as pixels",
            "The corners of your cells are right, but you added x and y to them as pixels. They count in cells.",
            wrong=lambda answers, stride: made(answers, stride, middle=lambda corner, share: corner + share / stride),
        ),
        shares_of_the_picture,
        Mistake(
            "counted from the middle of the cell",
            "All middles lie half a cell too far to the right and down. x = 0 is the left side of the cell, not its "
            "middle.",
            wrong=lambda answers, stride: made(answers, stride, middle=lambda corner, share: corner + 0.5 + share),
        ),
        begins_at_the_middle,
        Mistake(
            "roots taken for shares",
            "Your sides are too long. The last two numbers are the *roots* of the shares: 0.5 is a quarter of the "
            "picture.",
            wrong=lambda answers, stride: made(answers, stride, side=lambda root, picture: root * picture),
        ),
        kept_in_the_cell,
        cut_off_at_0,
        Mistake(
            "sign of the root kept",
            "Right, but for negative roots: you square them and keep the minus, and the box is turned inside out. "
            "Squared, −0.5 is a quarter like any other.",
            wrong=lambda answers, stride: made(answers, stride, side=lambda root, picture: root * root.abs() * picture),
        ),
        Mistake(
            "root of the roots",
            "You took one more root. The last two numbers are roots already: undo the root.",
            wrong=lambda answers, stride: made(answers, stride, side=lambda root, picture: root.sqrt() * picture),
        ),
        Mistake(
            "squared too late",
            "You multiplied by the picture's sides before you squared, so the sides of the picture are squared too.",
            wrong=lambda answers, stride: made(answers, stride, side=lambda root, picture: (root * picture) ** 2),
        ),
        Mistake(
            "exp instead of a square",
            "You took the exponential of the last two numbers. In lesson 08 they were logarithms, here they are roots.",
            wrong=lambda answers, stride: made(answers, stride, side=lambda root, picture: root.exp() * picture),
        ),
        Mistake(
            "width and height of the picture swapped",
            "You measure a box's width by the picture's height, and its height by the picture's width. The first axis "
            "of `answers` counts rows: how many rows there are makes the height.",
            wrong=lambda answers, stride: made(answers, stride, side=lambda root, picture: root**2 * picture.flip(0)),
        ),
        Mistake(
            "sides measured in cells",
            "You measure width and height by the side of a cell. They are shares of the whole *picture*.",
            wrong=lambda answers, stride: made(answers, stride, side=lambda root, picture: root**2 * stride),
        ),
        Mistake(
            "sides as shares",
            "Your sides are still shares of the picture. How many pixels wide and high is it?",
            wrong=lambda answers, stride: made(answers, stride, side=lambda root, picture: root**2),
        ),
        clipped,
    ],
    picture=picture,
)
