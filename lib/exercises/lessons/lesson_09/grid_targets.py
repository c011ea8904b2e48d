"""Which box each cell answers for, and the four numbers that it must say."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import boxes_of, random_boxes
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_09._parts import compare_on_cells, corners_of_cells
from lib.models.yolo import owners_of_cells
from lib.ops.boxes import box_xyxy_to_cxcywh

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Size = tuple[int, int]
Pair = tuple[Tensor, Tensor]


def grid_targets(boxes: Tensor, size: Size, stride: int) -> Pair:
    """The course's own, the first lines of `lib.models.yolo.YOLOv1.loss`."""
    height, width = size
    owners = owners_of_cells(boxes, stride, (height // stride, width // stride))  # (rows, columns)
    rows, columns = torch.where(owners >= 0)  # (M,) each
    owned = box_xyxy_to_cxcywh(boxes)[owners[rows, columns]]  # (M, 4) middle, width and height
    in_cell = owned[:, :2] / stride - torch.stack([columns, rows], dim=1)  # (M, 2) 0..1
    roots = (owned[:, 2:] / owned.new_tensor([width, height])).sqrt()  # (M, 2) 0..1
    targets = boxes.new_zeros(*owners.shape, 4)
    targets[rows, columns] = torch.cat([in_cell, roots], dim=1)
    return owners, targets


def cases() -> list[Case]:
    named = {
        "2 × 3 cells of 8 pixels, one box": (boxes_of((7, 1, 19, 5)), (16, 24), 8),
        "a tall picture, cells of 16 pixels": (boxes_of((2, 21, 11, 47), (3, 4, 30, 12)), (48, 32), 16),
        "two middles in one cell": (boxes_of((18, 3, 29, 13), (0, 4, 7, 29), (20, 5, 31, 9)), (32, 32), 16),
        "a middle on the border of two cells": (boxes_of((4, 8, 12, 30), (13, 5, 19, 11)), (40, 24), 8),
        "a middle on the right edge, another on the bottom edge": (
            boxes_of((17, 3, 31, 9), (1, 6, 9, 26)),
            (16, 24),
            8,
        ),
        "seven boxes, 12 × 12 cells": (random_boxes(7, seed=3), (96, 96), 8),
        "a crowd in a wide picture": (random_boxes(9, 96, 32, seed=5), (32, 96), 16),
        "no box": (torch.zeros(0, 4), (16, 24), 8),
    }
    return [Case(label, arguments, cell_by_cell(*arguments)) for label, arguments in named.items()]


def cell_by_cell(boxes: Tensor, size: Size, stride: int) -> Pair:
    """The truth: each cell looks for the first box whose middle lies between its four sides."""
    (height, width), rows, columns = size, size[0] // stride, size[1] // stride
    owners, targets = torch.full((rows, columns), -1), torch.zeros(rows, columns, 4)
    for row in range(rows):
        for column in range(columns):
            for number, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
                x, y = (x1 + x2) / 2 / stride - column, (y1 + y2) / 2 / stride - row
                across = 0 <= x < 1 or (x == 1 and column == columns - 1)
                if across and (0 <= y < 1 or (y == 1 and row == rows - 1)):
                    owners[row, column] = number
                    numbers = [x, y, ((x2 - x1) / width) ** 0.5, ((y2 - y1) / height) ** 0.5]
                    targets[row, column] = torch.tensor(numbers)
                    break
    return owners, targets


def told(
    boxes: Tensor,
    size: Size,
    stride: int,
    point: Callable[[Tensor], Tensor] = lambda box: (box[:2] + box[2:]) / 2,
    whole: Callable[[Tensor], Tensor] = torch.floor,
    place: Callable[[Tensor, Tensor, Tensor, int], Tensor] = lambda at, cell, picture, stride: at - cell,
    root: Callable[[Tensor, Tensor, int], Tensor] = lambda sides, picture, stride: (sides / picture).sqrt(),
    last: tuple[bool, bool] = (False, False),
) -> Pair:
    """`grid_targets` box by box with its decisions open: `last` for owners, for targets; `at` and `cell` in cells."""
    picture = torch.tensor([size[1], size[0]])  # width, height
    owners = torch.full((size[0] // stride, size[1] // stride), -1)
    targets = torch.zeros(*owners.shape, 4)
    for number, box in enumerate(boxes):
        at = point(box) / stride  # (2,) x, y
        cell = whole(at).long().clamp(min=0).minimum(picture // stride - 1)  # (2,) column, row
        column, row = cell.tolist()
        free = owners[row, column] == -1
        if free or last[1]:
            targets[row, column] = torch.cat(
                [place(at, cell, picture, stride), root(box[2:] - box[:2], picture, stride)]
            )
        if free or last[0]:
            owners[row, column] = number
    return owners, targets


@mistake(
    "rows and columns swapped",
    "Your things lie in the wrong cells: where x should choose the column, it chooses the row. A tensor is indexed "
    "`[row, column]`: y first.",
)
def rows_and_columns_swapped(boxes: Tensor, size: Size, stride: int) -> Pair:
    right, numbers = grid_targets(boxes, size, stride)
    owners, targets = torch.full_like(right, -1), torch.zeros_like(numbers)
    for row, column in (right >= 0).nonzero().tolist():
        owners[column, row], targets[column, row] = right[row, column], numbers[row, column]
    return owners, targets


@mistake(
    "y before x in the numbers",
    "The cells are right. Your four numbers stand in the order y, x, height, width; x and the width come first.",
)
def y_before_x(boxes: Tensor, size: Size, stride: int) -> Pair:
    owners, targets = grid_targets(boxes, size, stride)
    return owners, targets[..., [1, 0, 3, 2]]


@mistake(
    "every cell that a box touches",
    "Your boxes own all cells that they touch. Only one cell answers for a box: the one with its middle.",
)
def every_cell_touched(boxes: Tensor, size: Size, stride: int) -> Pair:
    owners = torch.full((size[0] // stride, size[1] // stride), -1)
    corners = corners_of_cells(*owners.shape)  # (rows, columns, 2)
    for number in reversed(range(len(boxes))):
        first, end = (boxes[number] / stride).split(2)
        owners[((corners < end) & (corners + 1 > first)).all(dim=2)] = number
    numbers = box_xyxy_to_cxcywh(torch.cat([boxes, torch.zeros(1, 4)]))[owners]  # (rows, columns, 4)
    roots = (numbers[..., 2:] / torch.tensor([size[1], size[0]])).sqrt()
    targets = torch.cat([numbers[..., :2] / stride - corners, roots], dim=2)
    return owners, targets * (owners >= 0)[..., None]


@mistake("nobody is 0", "Your empty cells say 0, and that is the number of the first box. Without an owner it is −1.")
def nobody_is_0(boxes: Tensor, size: Size, stride: int) -> Pair:
    owners, targets = grid_targets(boxes, size, stride)
    return owners.clamp(min=0), targets


@mistake("only 0 and 1", "Your owners say *whether* a middle lies in the cell. It should be *whose*, or −1.")
def yes_or_no(boxes: Tensor, size: Size, stride: int) -> Pair:
    owners, targets = grid_targets(boxes, size, stride)
    return (owners >= 0).long(), targets


DECISIONS = [
    Mistake(
        "corner taken for the middle",
        "You asked in which cell the left upper corner lies. Responsible is the cell in which the *middle* lies.",
        wrong=partial(told, point=lambda box: box[:2]),
    ),
    Mistake(
        "a border belongs to the cell before it",
        "Right, but for a middle exactly between two cells: yours goes to the left or upper one, and has 1 for x or y. "
        "It belongs to the right or lower one, with 0.",
        wrong=partial(told, whole=lambda at: at.ceil() - 1),
    ),
    Mistake(
        "rounded to the nearest cell",
        "A middle in the right or lower half of a cell went to the next cell. A cell reaches from its own left upper "
        "corner to the next one's: which way must the number of cells be rounded?",
        wrong=partial(told, whole=torch.round),
    ),
    Mistake(
        "share of the picture instead of share of the cell",
        "The owners are right, and so are the roots. Your x and y run from 0 to 1 over the whole *picture*. They "
        "should run from 0 to 1 over the *cell*.",
        wrong=partial(told, place=lambda at, cell, picture, stride: at * stride / picture),
    ),
    Mistake(
        "cells counted from the picture's corner",
        "Your x and y count cells from the corner of the *picture*. They should begin at the corner of the own cell, "
        "and lie between 0 and 1.",
        wrong=partial(told, place=lambda at, cell, picture, stride: at),
    ),
    Mistake(
        "pixels instead of a share of the cell",
        "Your x and y are pixels from the corner of the cell. It should be a share: 1 is a whole cell.",
        wrong=partial(told, place=lambda at, cell, picture, stride: (at - cell) * stride),
    ),
    Mistake(
        "counted from the middle of the cell",
        "Your x and y are 0 in the middle of a cell. They should be 0 at its left upper corner.",
        wrong=partial(told, place=lambda at, cell, picture, stride: at - cell - 0.5),
    ),
    Mistake(
        "0 instead of 1 at the outer edge",
        "Right, but for a middle exactly on the outer edge. It belongs to the last cell, and lies at its *end*: the "
        "share is 1. A remainder cannot tell the end of a cell from its beginning.",
        wrong=partial(told, place=lambda at, cell, picture, stride: at % 1),
    ),
    Mistake(
        "root forgotten",
        "Your last two numbers are the shares of the picture themselves. Asked are their roots.",
        wrong=partial(told, root=lambda sides, picture, stride: sides / picture),
    ),
    Mistake(
        "width and height of the picture swapped",
        "You measure a box's width by the picture's height, and its height by the picture's width. `size` is (height, "
        "width).",
        wrong=partial(told, root=lambda sides, picture, stride: (sides / picture.flip(0)).sqrt()),
    ),
    Mistake(
        "sides in cells",
        "Your last two numbers come from the sides in cells. Width and height are shares of the *picture*: a box as "
        "large as the picture has 1.",
        wrong=partial(told, root=lambda sides, picture, stride: (sides / stride).sqrt()),
    ),
    Mistake(
        "the last owner instead of the first",
        "Where several middles lie in one cell, yours belongs to the *last* of these boxes. The first one keeps it.",
        wrong=partial(told, last=(True, True)),
    ),
    Mistake(
        "owner and numbers of two boxes",
        "Where several middles lie in one cell, your owner is the first box, but the four numbers are the last one's.",
        wrong=partial(told, last=(False, True)),
    ),
]


def picture(got: Any, expected: Any, case: Case) -> "Figure | None":
    """The boxes that the targets tell of, in the cells that have an owner."""
    _, (height, width), stride = case.arguments
    cells = height // stride, width // stride
    boxes = []
    for owners, targets in (got, expected):
        middles = (corners_of_cells(*cells) + targets[..., :2]) * stride  # (rows, columns, 2)
        sides = targets[..., 2:].square() * torch.tensor([width, height])
        boxes.append(torch.cat([middles - sides / 2, middles + sides / 2], dim=2)[owners >= 0])  # (M, 4)
    return compare_on_cells(*boxes, case, cells, stride)


EXERCISE = Exercise(
    name="grid_targets",
    reference=grid_targets,
    cases=cases,
    takes={"boxes": Kind.BOXES, "size": Kind.SIZE},
    gives=(Kind.CLASSES, Kind.NUMBERS),
    mistakes=[
        *DECISIONS,
        rows_and_columns_swapped,
        y_before_x,
        every_cell_touched,
        nobody_is_0,
        yes_or_no,
    ],
    picture=picture,
)
