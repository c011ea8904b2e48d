"""What the mask branch is to say: the part of each region's thing that lies in the region, on a small grid."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import masks_to_boxes, roi_align

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import boxes_of
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.ops.masks import project_masks_on_boxes


def mask_targets(masks: Tensor, boxes: Tensor, matched: Tensor, size: int) -> Tensor:
    """The course's own, `lib.ops.masks.project_masks_on_boxes`, without rounding."""
    return project_masks_on_boxes(masks, boxes, matched, size, aligned=True)


def cases() -> list[Case]:
    low, high, lying = (2, 3, 9, 9, 0.7), (5, 1, 12, 8, -1.3), (1, 6, 15, 11, 0.3)
    small = things(10, 12, low, high)
    large = things(40, 50, (4, 6, 33, 35, 0.9), (12, 3, 46, 30, -0.5))
    three = things(14, 16, low, high, lying)
    askew = boxes_of((2.3, 1.2, 9.6, 8.7), (0.4, 3.7, 7.1, 12.8), (4.6, 2.1, 13.9, 9.4))
    named = {
        "two things, two regions that are not their boxes": (small, boxes_of((4, 0, 12, 6), (1, 4, 7, 10)), [1, 0], 2),
        "three regions, two of them of one thing": (three, askew, [2, 0, 2], 4),
        "regions much larger than their grid": (large, boxes_of((3.4, 8.2, 30.9, 38.3), (9, 1, 48, 33)), [0, 1], 3),
        "regions of three pixels": (three, boxes_of((4.2, 4.4, 7.3, 6.9), (8.6, 2.2, 11.4, 5.3)), [0, 1], 5),
        "a region that misses its thing, and a small one": (small, boxes_of((0, 0, 2, 2), (6, 3, 11, 7)), [0, 1], 3),
        "the whole picture, two things": (three, boxes_of((0, 0, 16, 14), (0, 0, 16, 14)), [1, 0], 4),
        "no region": (three, torch.zeros(0, 4), [], 4),
    }
    return [
        Case.from_truth(label, (masks, boxes, torch.tensor(matched, dtype=torch.int64), size), point_by_point)
        for label, (masks, boxes, matched, size) in named.items()
    ]


def things(height: int, width: int, *which: tuple[float, ...]) -> Tensor:
    """A thing each, (N, height, width) bool: the part of a box below a line through its middle with this slope."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    masks = []
    for left, top, right, bottom, slope in which:
        inside = (x > left) & (x < right) & (y > top) & (y < bottom)
        masks.append(inside & (y - (top + bottom) / 2 > slope * (x - (left + right) / 2)))
    return torch.stack(masks)


def point_by_point(masks: Tensor, boxes: Tensor, matched: Tensor, size: int) -> Tensor:
    """The truth, by `F.grid_sample`: as many points a cell as it has pixels, rounded up, and their mean."""
    targets = [torch.zeros(0, size, size)]
    height, width = masks.shape[1:]
    for (left, top, right, bottom), thing in zip(boxes.tolist(), matched.tolist(), strict=True):
        across, down = math.ceil((right - left) / size), math.ceil((bottom - top) / size)
        x = left + (torch.arange(size * across) + 0.5) / (size * across) * (right - left)
        y = top + (torch.arange(size * down) + 0.5) / (size * down) * (bottom - top)
        grid_y, grid_x = torch.meshgrid(2 * y / height - 1, 2 * x / width - 1, indexing="ij")
        grid = torch.stack([grid_x, grid_y], dim=2)[None]  # (1, points down, points across, 2)
        read = F.grid_sample(masks[thing][None, None].float(), grid, padding_mode="border", align_corners=False)
        targets.append(F.avg_pool2d(read, (down, across))[0])  # (1, size, size)
    return torch.cat(targets)


def cut(masks: Tensor, boxes: Tensor, matched: Tensor, size: int, points: int = -1, aligned: bool = True) -> Tensor:
    """`mask_targets` with the settings of RoIAlign open."""
    regions = torch.cat([matched[:, None].float(), boxes], dim=1)  # (P, 5)
    return roi_align(masks[:, None].float(), regions, size, 1.0, points, aligned)[:, 0]


def resized(masks: Tensor, boxes: Tensor, matched: Tensor, size: int, cropped: bool = True) -> Tensor:
    targets = [torch.zeros(0, size, size)]
    for (left, top, right, bottom), mask in zip(boxes.round().int().tolist(), masks[matched].float()):
        crop = mask[top:bottom, left:right] if cropped else mask
        targets.append(F.interpolate(crop[None, None], (size, size), mode="bilinear")[0])
    return torch.cat(targets)


def nothing_but_0_and_1(got: Tensor, expected: Tensor, case: Case) -> bool:
    return bool(((got == 0) | (got == 1)).all() and ((got - expected).abs() <= 0.501).all())


MISTAKES = [
    Mistake(
        "the thing's own box cut",
        "You cut each mask by the box around the thing. The branch sees the *region*: it wants what of the thing lies "
        "in `boxes`.",
        wrong=lambda masks, boxes, matched, size: cut(masks, masks_to_boxes(masks)[matched], matched, size),
    ),
    Mistake(
        "the thing's own box cut, up to its edge",
        "You cut each mask by the box around the thing. The branch sees the *region*: it wants what of the thing lies "
        "in `boxes`.",
        wrong=lambda masks, boxes, matched, size: cut(
            masks, (masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1]))[matched], matched, size
        ),
    ),
    Mistake(
        "all things at once",
        "Your masks show all things of the picture. A region's target shows its own thing alone.",
        wrong=lambda masks, boxes, matched, size: cut(masks.any(0, keepdim=True), boxes, 0 * matched, size),
    ),
    Mistake(
        "`matched` ignored",
        "You cut the first region from the first mask, the second from the second. `matched` says which thing each "
        "region shows.",
        wrong=lambda masks, boxes, matched, size: cut(masks, boxes, torch.arange(len(boxes)), size),
    ),
    Mistake(
        "always the first mask",
        "You cut every region from the first mask. `roi_align` takes its first argument for pictures, and needs to be "
        "told from which one each region is cut: `matched` says so.",
        wrong=lambda masks, boxes, matched, size: cut(masks, boxes, torch.zeros_like(matched), size),
    ),
    Mistake(
        "half a pixel off",
        "Your masks are cut half a pixel too far right and down: `roi_align` wants `aligned=True`.",
        wrong=partial(cut, aligned=False),
    ),
    Mistake(
        "too few points",
        "Right where a cell has at most 2 × 2 pixels. You read 2 × 2 points in every cell (`sampling_ratio=2`); a cell "
        "of more pixels is judged by four of them then. Leave `sampling_ratio` as it is.",
        wrong=partial(cut, points=2),
    ),
    Mistake(
        "regions rounded",
        "You rounded the regions to whole pixels. Nothing is rounded here.",
        wrong=lambda masks, boxes, matched, size: cut(masks, boxes.round(), matched, size),
    ),
    Mistake(
        "cropped and resized",
        "You cut out whole pixels and resized them. Cut by `roi_align`, which does not round.",
        wrong=resized,
    ),
    Mistake(
        "the whole picture resized",
        "You made the whole mask small. It should be the part of it in the region.",
        wrong=partial(resized, cropped=False),
    ),
    Mistake(
        "nothing but 0 and 1",
        "All your numbers are 0 or 1. It should be the *share* of the thing in each cell: do not round or compare.",
        when=nothing_but_0_and_1,
    ),
]

EXERCISE = Exercise(
    name="mask_targets",
    reference=mask_targets,
    cases=cases,
    takes={"masks": Kind.MASK, "boxes": Kind.BOXES, "matched": Kind.INDICES},
    gives=Kind.MAP,
    mistakes=MISTAKES,
    picture=compare_maps,
)
