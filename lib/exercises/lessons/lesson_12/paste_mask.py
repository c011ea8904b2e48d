"""A small mask, put where its box lies in the picture."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_uniform
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.ops.masks import paste_masks_in_image

Size = tuple[int, int]


def paste_mask(mask: Tensor, box: Tensor, img_shape: Size) -> Tensor:
    """The course's own, `lib.ops.masks.paste_masks_in_image`, for one mask and without rounding."""
    return paste_masks_in_image(mask[None], box[None], img_shape, aligned=True)[0]


def cases() -> list[Case]:
    named = {
        "2 × 2 cells in a box of 4.3 × 3.1 pixels": (2, [0.8, 1.3, 5.1, 4.4], (6, 7)),
        "a box of whole pixels": (3, [2, 1, 8, 5], (7, 9)),
        "a box that sticks out at the left and above": (4, [-3.3, -2.2, 4.9, 5.2], (8, 7)),
        "a box that sticks out at the right and below": (3, [4.2, 3.8, 11.4, 9.7], (7, 8)),
        "a box larger than the picture": (4, [-2.1, -1.4, 9.3, 7.7], (5, 6)),
        "more cells than pixels": (7, [1.2, 0.7, 4.4, 5.3], (6, 6)),
        "a box between the middles of pixels": (3, [1.7, 2.6, 2.4, 3.3], (5, 5)),
        "a box beside the picture": (2, [8.2, 1.1, 12.3, 4.9], (5, 6)),
    }
    made = []
    for seed, (label, (size, box, shape)) in enumerate(named.items()):
        arguments = (0.1 + 0.9 * random_uniform(size, size, seed=seed), torch.tensor(box, dtype=torch.float32), shape)
        made.append(Case.from_truth(label, arguments, pixel_by_pixel))
    return made


def pixel_by_pixel(mask: Tensor, box: Tensor, img_shape: Size) -> Tensor:
    """The truth, in plain numbers."""
    size, picture = len(mask), torch.zeros(img_shape)
    left, top, right, bottom = box.tolist()
    for row in range(img_shape[0]):
        for column in range(img_shape[1]):
            x, y = (column + 0.5 - left) / (right - left), (row + 0.5 - top) / (bottom - top)  # 0..1 in the box
            if 0 <= x <= 1 and 0 <= y <= 1:
                (above, below, v), (before, after, u) = two_cells(y * size, size), two_cells(x * size, size)
                upper = mask[above, before] * (1 - u) + mask[above, after] * u
                picture[row, column] = upper * (1 - v) + (mask[below, before] * (1 - u) + mask[below, after] * u) * v
    return picture


def two_cells(place: float, size: int) -> tuple[int, int, float]:
    """The cells whose middles lie around a place, and how much the second one counts."""
    from_middle = min(max(place - 0.5, 0.0), size - 1.0)
    first = int(from_middle)
    return first, min(first + 1, size - 1), from_middle - first


def pasted(
    mask: Tensor,
    box: Tensor,
    img_shape: Size,
    middle: float = 0.5,
    mode: str = "bilinear",
    padding: str = "border",
    corners: bool = False,
    inside: Callable[[Tensor, Tensor], Tensor] = lambda grid, half_pixel: (grid.abs() <= 1).all(dim=2),
) -> Tensor:
    """`paste_mask` with its decisions open; `inside` says which pixels read the mask, from where they lie in the box.

    The box goes from −1 to 1 along both sides; `half_pixel` (2,) is half a pixel on that scale.
    """
    y, x = torch.meshgrid(*(torch.arange(side) + middle for side in img_shape), indexing="ij")
    sides = box[2:] - box[:2]
    grid = 2 * (torch.stack([x, y], dim=2) - box[:2]) / sides - 1  # (H, W, 2)
    read = F.grid_sample(mask[None, None], grid[None], mode, padding, corners)[0, 0]  # (H, W)
    return read * inside(grid, 1 / sides)


def onto_whole_pixels(mask: Tensor, box: Tensor, img_shape: Size) -> Tensor:
    """Enlarged to a rounded box, then laid into the picture."""
    left, top, right, bottom = box.round().int().tolist()
    enlarged = F.interpolate(mask[None, None], (max(bottom - top, 1), max(right - left, 1)), mode="bilinear")[0, 0]
    picture = torch.zeros(img_shape)
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(right, img_shape[1]), min(bottom, img_shape[0])
    if x1 < x2 and y1 < y2:
        picture[y1:y2, x1:x2] = enlarged[y1 - top : y2 - top, x1 - left : x2 - left]
    return picture


def squeezed(mask: Tensor, box: Tensor, img_shape: Size) -> Tensor:
    height, width = img_shape
    clipped = torch.minimum(box.clamp(min=0), torch.tensor([width, height, width, height]))
    return pasted(mask, clipped, img_shape) if (clipped[:2] < clipped[2:]).all() else torch.zeros(img_shape)


MISTAKES = [
    Mistake(
        "box rounded",
        "You rounded the box to whole pixels. Nothing is rounded: each pixel's middle asks where in the box it lies.",
        wrong=onto_whole_pixels,
    ),
    Mistake(
        "the box's decimals cut off",
        "You cut the box's decimals off. Nothing is rounded: each pixel's middle asks where in the box it lies.",
        wrong=lambda mask, box, img_shape: onto_whole_pixels(mask, box.trunc(), img_shape),
    ),
    Mistake(
        "torchvision's way",
        "You cut the box's decimals off, made it a pixel larger, and the mask fades out at its rim, as in torchvision. "
        "It should be the mask as it is, in the box as it is.",
        wrong=lambda mask, box, img_shape: paste_masks_in_image(mask[None], box[None], img_shape)[0],
    ),
    Mistake(
        "outside of the box the rim goes on",
        "Right in the box. Outside of it you go on with the values of the rim; there it is 0.",
        wrong=partial(pasted, inside=lambda grid, half_pixel: torch.ones(grid.shape[:2])),
    ),
    Mistake(
        "the rim fades out",
        "Near the box's edge your mask fades to 0. Beyond the middles of its outermost cells their values go on, up to "
        'the edge of the box (`padding_mode="border"`).',
        wrong=partial(pasted, padding="zeros"),
    ),
    Mistake(
        "the rim fades out beyond the box",
        "You return what `F.grid_sample` gives with zeros around the mask: it fades out over the edge of the box. Up "
        "to the edge the rim's value goes on, and outside it is 0.",
        wrong=partial(pasted, padding="zeros", inside=lambda grid, half_pixel: torch.ones(grid.shape[:2])),
    ),
    Mistake(
        "half a pixel off",
        "You asked at each pixel's upper left corner. Ask at its middle: column i has it at i + 0.5.",
        wrong=partial(pasted, middle=0.0),
    ),
    Mistake(
        "half a pixel off, and a row and a column less",
        "You asked at each pixel's upper left corner, and whether that corner is in the box. Ask both of its middle: "
        "column i has it at i + 0.5.",
        wrong=partial(pasted, middle=0.0, inside=lambda grid, half_pixel: ((grid >= -1) & (grid < 1)).all(dim=2)),
    ),
    Mistake(
        "corners aligned",
        "You stretched the mask from the middle of its first cell to that of its last (`align_corners=True`). Its "
        "cells fill the box from edge to edge.",
        wrong=partial(pasted, corners=True),
    ),
    Mistake(
        "cells not mixed",
        "Each pixel reads the cell that it lies in. It should be a mix of the four cells around it.",
        wrong=partial(pasted, mode="nearest"),
    ),
    Mistake(
        "mask squeezed into the picture",
        "Right for boxes inside the picture. Where one sticks out you first cut the box, and then squeezed the whole "
        "mask into what was left. What sticks out is lost.",
        wrong=squeezed,
    ),
    Mistake(
        "every pixel that the box touches",
        "At the edge of the box you fill every pixel that it touches. Asked are those whose *middle* lies in it.",
        wrong=partial(pasted, inside=lambda grid, half_pixel: (grid.abs() < 1 + half_pixel).all(dim=2)),
    ),
]

EXERCISE = Exercise(
    name="paste_mask",
    reference=paste_mask,
    cases=cases,
    takes={"mask": Kind.MAP, "box": Kind.BOXES, "img_shape": Kind.SIZE},
    gives=Kind.MAP,
    mistakes=MISTAKES,
    picture=compare_maps,
)
