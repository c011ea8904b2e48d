"""From middle and sides to left, top, right, bottom."""

import torch
import torchvision
from torch import Tensor

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.kinds import Kind
from lib.ops import boxes


def boxes_of(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def random_boxes(count: int, seed: int) -> Tensor:
    """Boxes (count, 4) in a picture of 60 × 60, many of which overlap."""
    corners, sides = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed))
    return torch.cat([corners * 40, corners * 40 + 5 + sides * 20], dim=1)


def cases() -> list[Case]:
    corners_and_sides = torchvision.ops.box_convert(random_boxes(5, 0), "xyxy", "cxcywh")
    return [
        Case.from_truth(label, (boxes,), by_torchvision, ("boxes",))
        for label, boxes in (
            ("one box, 30 wide and 40 high", boxes_of((25, 40, 30, 40))),
            ("a box that is 9 wide and 5 high: halves of odd numbers", boxes_of((20, 10, 9, 5))),
            ("five boxes", corners_and_sides),
            ("a box that sticks out of the picture", boxes_of((2, 3, 10, 8))),
            ("no boxes", torch.empty(0, 4)),
        )
    ]


def by_torchvision(boxes: Tensor) -> Tensor:
    return torchvision.ops.box_convert(boxes, "cxcywh", "xyxy")


@mistake(
    "whole sides instead of halves",
    "Your boxes are twice as wide and twice as high as they should be: from the middle to an edge it is *half* a side.",
)
def whole_sides(boxes: Tensor) -> Tensor:
    return torch.cat([boxes[:, :2] - boxes[:, 2:], boxes[:, :2] + boxes[:, 2:]], dim=1)


@mistake(
    "middle taken for the corner",
    "You began the box where its middle is. That is right for xywh, where x and y are the corner; here they"
    " are the middle.",
)
def middle_as_corner(boxes: Tensor) -> Tensor:
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)


@mistake(
    "width and height swapped",
    "Half the width belongs to x, half the height to y. Your boxes lie on their side.",
)
def sides_swapped(boxes: Tensor) -> Tensor:
    return by_torchvision(boxes[:, [0, 1, 3, 2]])


@mistake(
    "order x, x, y, y",
    "You returned both x first and then both y. The form is x1, y1, x2, y2: one corner, then the other.",
)
def x_x_y_y(boxes: Tensor) -> Tensor:
    return by_torchvision(boxes)[:, [0, 2, 1, 3]]


@mistake(
    "y before x",
    "You returned y1, x1, y2, x2. In a box x comes first, other than in the indices of a picture.",
)
def y_first(boxes: Tensor) -> Tensor:
    return by_torchvision(boxes)[:, [1, 0, 3, 2]]


@mistake(
    "half a pixel cut off",
    "Boxes with an odd width or height come out a little too small or moved: a half may be 4.5. `//` drops "
    "the half pixel.",
)
def floored(boxes: Tensor) -> Tensor:
    half = boxes[:, 2:] // 2
    return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], dim=1)


@mistake(
    "four rows instead of four columns",
    "Your result is (4, N): all x1 in the first row. Wanted is one box a row, (N, 4). Along which axis were "
    "the four put together?",
)
def four_rows(boxes: Tensor) -> Tensor:
    return by_torchvision(boxes).T


EXERCISE = Exercise(
    name="box_cxcywh_to_xyxy",
    reference=boxes.box_cxcywh_to_xyxy,
    cases=cases,
    takes={},
    gives=Kind.ANYTHING,
    mistakes=[
        whole_sides,
        middle_as_corner,
        sides_swapped,
        x_x_y_y,
        y_first,
        floored,
        four_rows,
    ],
    picture=compare_boxes,
)
