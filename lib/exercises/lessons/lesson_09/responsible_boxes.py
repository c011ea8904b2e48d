"""Which of a cell's boxes learns: the one that overlaps the truth most."""

import torch
from torch import Tensor
from torchvision.ops import box_iou

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import boxes_of, random_boxes
from lib.exercises.engine.kinds import Kind
from lib.models.yolo import iou_of_pairs

Pair = tuple[Tensor, Tensor]


def responsible_boxes(boxes: Tensor, truth: Tensor) -> Pair:
    """The course's own, two lines of `lib.models.yolo.YOLOv1.loss`."""
    overlap, best = iou_of_pairs(boxes, truth[:, None]).max(dim=1)  # (M,) each
    return best, overlap


def cases() -> list[Case]:
    truth = boxes_of((10, 10, 30, 40), (50, 20, 80, 50), (5, 60, 45, 90))
    two = torch.stack(
        [
            boxes_of((8, 20, 34, 44), (0, 0, 60, 60)),
            boxes_of((30, 0, 90, 80), (54, 26, 78, 62)),
            boxes_of((0, 66, 40, 93), (11, 60, 45, 80)),
        ]
    )  # (3, 2, 4)
    apart = torch.stack([boxes_of((40, 50, 60, 90), (15, 5, 25, 30)), boxes_of((55, 52, 70, 60), (0, 0, 20, 10))])
    equal = torch.stack(
        [
            boxes_of((0, 0, 9, 9), (10, 10, 30, 25), (10, 25, 30, 40)),  # half of the truth each
            boxes_of((50, 20, 80, 50), (50, 20, 80, 50), (50, 20, 80, 50)),
        ]
    )
    empty = torch.stack([boxes_of((20, 20, 20, 20), (25, 5, 60, 30)), boxes_of((60, 30, 60, 45), (70, 30, 70, 30))])
    far = torch.stack([boxes_of((60, 60, 70, 70), (40, 50, 50, 60)), boxes_of((0, 0, 9, 9), (60, 30, 70, 40))])
    random = random_boxes(20, seed=2).view(5, 4, 4)
    named = {
        "three cells, two boxes each": (two, truth),
        "boxes that lie apart from the truth": (apart, truth[:2]),
        "a tie: the first one is responsible": (equal, truth[:2]),
        "boxes without an area": (empty, truth[:2]),
        "a cell whose boxes both miss the thing": (far, truth[:2]),
        "five cells, four boxes each": (random, random_boxes(5, seed=7)),
        "one box a cell": (random[:, :1], random_boxes(5, seed=7)),
        "no cell with a thing": (torch.zeros(0, 2, 4), torch.zeros(0, 4)),
    }
    return [Case(label, arguments, cell_by_cell(*arguments)) for label, arguments in named.items()]


def cell_by_cell(boxes: Tensor, truth: Tensor) -> Pair:
    """The truth: torchvision's IoU for each cell, and Python's first largest."""
    overlaps = [box_iou(own, one[None])[:, 0].tolist() for own, one in zip(boxes, truth, strict=True)]
    best = [overlap.index(max(overlap)) for overlap in overlaps]
    return torch.tensor(best, dtype=torch.int64), torch.tensor([max(overlap) for overlap in overlaps])


def shared(boxes: Tensor, truth: Tensor) -> Tensor:
    """(M, B, 2) width and height of what box and truth share, negative where there is a gap."""
    truth = truth[:, None]
    return torch.minimum(boxes[..., 2:], truth[..., 2:]) - torch.maximum(boxes[..., :2], truth[..., :2])


def areas(boxes: Tensor, truth: Tensor) -> Pair:
    """Areas of the boxes (M, B) and of the truth (M, 1)."""
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1), (truth[:, 2:] - truth[:, :2]).prod(dim=-1)[:, None]


def largest(overlap: Tensor) -> Pair:
    """(M, B) -> (M,) each."""
    values, places = overlap.max(dim=1)
    return places, values


@mistake(
    "the smallest overlap",
    "You chose the box that overlaps the truth *least*. The one that is nearest already has the least to learn: it is "
    "responsible.",
)
def the_smallest(boxes: Tensor, truth: Tensor) -> Pair:
    values, places = iou_of_pairs(boxes, truth[:, None]).min(dim=1)
    return places, values


@mistake(
    "largest along the wrong axis",
    "You looked for the best cell of each box. It should be the best box of each cell: which axis holds one cell's "
    "boxes?",
)
def over_the_cells(boxes: Tensor, truth: Tensor) -> Pair:
    values, places = iou_of_pairs(boxes, truth[:, None]).max(dim=0)
    return places, values


@mistake(
    "the last one of a tie",
    "Right, but for a tie: where several boxes overlap the truth equally, the *first* of them is responsible.",
)
def the_last_of_a_tie(boxes: Tensor, truth: Tensor) -> Pair:
    places, values = responsible_boxes(boxes.flip(1), truth)
    return boxes.shape[1] - 1 - places, values


@mistake(
    "compared with every truth",
    "Your boxes are compared with the truths of all cells. Row i of `boxes` belongs to row i of `truth` alone.",
)
def with_every_truth(boxes: Tensor, truth: Tensor) -> Pair:
    if not len(truth):
        return largest(boxes[..., 0])
    return largest(box_iou(boxes.reshape(-1, 4), truth).amax(dim=1).reshape(boxes.shape[:2]))


@mistake(
    "shared area counted twice",
    "You divide by the sum of both areas. In the union, what both share counts once.",
)
def union_too_large(boxes: Tensor, truth: Tensor) -> Pair:
    return largest(shared(boxes, truth).clamp(min=0).prod(dim=-1) / sum(areas(boxes, truth)))


@mistake(
    "apart, and yet an overlap",
    "Two boxes that lie apart share a negative width and a negative height, and your product of both is positive. What "
    "must happen to a negative side *before* the product?",
)
def gaps_multiplied(boxes: Tensor, truth: Tensor) -> Pair:
    common = shared(boxes, truth).prod(dim=-1)
    return largest(common / (sum(areas(boxes, truth)) - common))


@mistake(
    "apart, and yet an overlap: clamped too late",
    "You clamp the shared *area* at 0. Two boxes that lie apart at a slant share a negative width and a negative "
    "height: their product is positive, and passes. Clamp the sides.",
)
def clamped_too_late(boxes: Tensor, truth: Tensor) -> Pair:
    common = shared(boxes, truth).prod(dim=-1).clamp(min=0)
    return largest(common / (sum(areas(boxes, truth)) - common))


@mistake(
    "nearest middle instead of IoU",
    "You chose the box whose middle is nearest to the truth's. Responsible is the box with the largest *IoU*: its size "
    "counts too.",
)
def nearest_middle(boxes: Tensor, truth: Tensor) -> Pair:
    away = boxes[..., :2] + boxes[..., 2:] - (truth[:, :2] + truth[:, 2:])[:, None]  # (M, B, 2)
    best = away.square().sum(dim=-1).argmin(dim=1)
    return best, iou_of_pairs(boxes, truth[:, None])[torch.arange(len(truth)), best]


@mistake(
    "counted through all cells",
    "Your numbers go on counting from cell to cell. It should be the number of the box in its own cell, from 0.",
)
def counted_through(boxes: Tensor, truth: Tensor) -> Pair:
    best, overlap = responsible_boxes(boxes, truth)
    return best + boxes.shape[1] * torch.arange(len(truth)), overlap


EXERCISE = Exercise(
    name="responsible_boxes",
    reference=responsible_boxes,
    cases=cases,
    takes={"boxes": Kind.BOXES, "truth": Kind.BOXES},
    gives=(Kind.CLASSES, Kind.NUMBERS),
    mistakes=[
        the_smallest,
        over_the_cells,
        the_last_of_a_tie,
        with_every_truth,
        Mistake(
            "compared with the first truth",
            "All your boxes are compared with the first row of `truth`. Row i of `boxes` belongs to row i of `truth`.",
            wrong=lambda boxes, truth: responsible_boxes(boxes, truth[:1].expand(len(truth), 4)),
        ),
        Mistake(
            "shared area instead of IoU",
            "You compare shared areas in square pixels. A box as large as the picture shares all of every thing: "
            "divide by the union.",
            wrong=lambda boxes, truth: largest(shared(boxes, truth).clamp(min=0).prod(dim=-1)),
        ),
        Mistake(
            "share of the truth instead of IoU",
            "You divide the shared area by the area of the truth. A box as large as the picture would be perfect then. "
            "IoU divides by the union.",
            wrong=lambda boxes, truth: largest(shared(boxes, truth).clamp(min=0).prod(dim=-1) / areas(boxes, truth)[1]),
        ),
        union_too_large,
        gaps_multiplied,
        clamped_too_late,
        nearest_middle,
        counted_through,
    ],
)
