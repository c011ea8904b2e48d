"""From middle and sides to left, top, right, bottom."""

import torch
import torchvision
from torch import Tensor

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import boxes_of, crowded_boxes
from lib.exercises.engine.kinds import Kind
from lib.ops import boxes


def cases() -> list[Case]:
    corners_and_sides = torchvision.ops.box_convert(crowded_boxes(5, 0), "xyxy", "cxcywh")
    return [
        Case.from_truth(label, (boxes,), by_torchvision, ("boxes",))
        for label, boxes in (
            ("one box, 30 wide and 40 high", boxes_of((25, 40, 30, 40))),
            ("a box that is 9 wide and 5 high: halves of odd numbers", boxes_of((20, 10, 9, 5))),
            ("five boxes", corners_and_sides),
            ("a box that sticks out of the picture", boxes_of((2, 3, 10, 8))),
        )
    ]


def by_torchvision(boxes: Tensor) -> Tensor:
    return torchvision.ops.box_convert(boxes, "cxcywh", "xyxy")


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
    "half a pixel cut off",
    "Boxes with an odd width or height come out a little too small or moved: a half may be 4.5. `//` drops "
    "the half pixel.",
)
def floored(boxes: Tensor) -> Tensor:
    half = boxes[:, 2:] // 2
    return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], dim=1)


EXERCISE = Exercise(
    name="box_cxcywh_to_xyxy",
    reference=boxes.box_cxcywh_to_xyxy,
    cases=cases,
    takes={"boxes": Kind.BOXES},
    gives=Kind.BOXES,
    mistakes=[
        middle_as_corner,
        sides_swapped,
        floored,
    ],
    picture=compare_boxes,
)
