"""A small mask, enlarged to its box and put into the picture."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import random_uniform
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.ops.masks import paste_masks_in_image


def paste_mask(mask: Tensor, box: Tensor, img_shape: tuple[int, int]) -> Tensor:
    """The course's own, `lib.ops.masks.paste_masks_in_image` without rounding."""
    return paste_masks_in_image(mask[None], box[None], img_shape, aligned=True)[0]


def cases() -> list[Case]:
    named = {
        "four cells in a box of 4 × 4 pixels": (torch.tensor([[0.2, 0.4], [0.6, 1.0]]), [2, 1, 6, 5], (7, 9)),
        "a box between the pixels": (random_uniform(3, 3), [1.3, 2.2, 8.9, 6.6], (9, 11)),
        "wider than high": (random_uniform(4, 4, seed=1), [0.25, 3.3, 13.2, 7.4], (10, 14)),
        "a box that reaches beyond the picture": (random_uniform(3, 3, seed=2), [-2.6, -1.4, 5.3, 4.8], (8, 8)),
        "beyond the other corner": (random_uniform(5, 5, seed=3), [4.3, 5.1, 12.2, 11.7], (9, 9)),
        "smaller than its grid": (random_uniform(6, 6, seed=4), [3.2, 2.3, 6.4, 5.4], (9, 8)),
        "all of the mask is 1": (torch.ones(2, 2), [1.4, 2.2, 5.8, 6.3], (8, 8)),
    }
    made = {label: (mask, torch.tensor(box, dtype=torch.float32), size) for label, (mask, box, size) in named.items()}
    return [Case(label, arguments, pixel_by_pixel(*arguments)) for label, arguments in made.items()]


def pixel_by_pixel(mask: Tensor, box: Tensor, img_shape: tuple[int, int]) -> Tensor:
    """The truth: each pixel of the box mixes four cells by itself."""
    left, top, right, bottom = box.tolist()
    last = len(mask) - 1
    canvas = torch.zeros(img_shape)
    for row in range(img_shape[0]):
        for column in range(img_shape[1]):
            if not (left <= column + 0.5 <= right and top <= row + 0.5 <= bottom):
                continue
            x = min(max((column + 0.5 - left) / (right - left) * len(mask) - 0.5, 0), last)
            y = min(max((row + 0.5 - top) / (bottom - top) * len(mask) - 0.5, 0), last)
            canvas[row, column] = _mixed(mask, x, y)
    return canvas


def _mixed(mask: Tensor, x: float, y: float) -> float:
    j, i = int(x), int(y)
    k, m = min(j + 1, len(mask) - 1), min(i + 1, len(mask) - 1)
    above = (1 - (x - j)) * mask[i, j].item() + (x - j) * mask[i, k].item()
    below = (1 - (x - j)) * mask[m, j].item() + (x - j) * mask[m, k].item()
    return (1 - (y - i)) * above + (y - i) * below


def _grid(box: Tensor, img_shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where each pixel's middle is in the box, from -1 to 1, as (1, H, W, 2); and whether it is inside (H, W)."""
    left, top, right, bottom = box.tolist()
    rows, columns = (torch.arange(side) + 0.5 for side in img_shape)
    x, y = 2 * (columns - left) / (right - left) - 1, 2 * (rows - top) / (bottom - top) - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=2)  # (H, W, 2)
    return grid[None], (grid.abs() <= 1).all(dim=2)


@mistake(
    "pixels at their corners",
    "You ask at each pixel's upper left corner. Ask at its middle, (column + 0.5, row + 0.5).",
)
def corners(mask, box, img_shape):
    return paste_mask(mask, box + 0.5, img_shape)


@mistake("box rounded", "You rounded the box to whole pixels. Here nothing is rounded.")
def rounded(mask, box, img_shape):
    return paste_mask(mask, box.round(), img_shape)


@mistake("box rounded down", "You rounded the box down to whole pixels. Here nothing is rounded.")
def rounded_down(mask, box, img_shape):
    return paste_mask(mask, box.trunc(), img_shape)


@mistake(
    "runs on outside of the box",
    "Right inside of the box. Outside, the rim of the mask runs on to the picture's edge; there all is 0.",
)
def everywhere(mask, box, img_shape):
    grid, _ = _grid(box, img_shape)
    read = F.grid_sample(mask[None, None], grid, padding_mode="border", align_corners=False)
    return read[0, 0]


@mistake(
    "fades out at the box's edge",
    "Right in the middle of the box. Between the outermost cells' middles and the box's edge you fade to 0; there the "
    "cells' values go on.",
)
def fades(mask, box, img_shape):
    grid, inside = _grid(box, img_shape)
    return F.grid_sample(mask[None, None], grid, align_corners=False)[0, 0] * inside


@mistake(
    "corner cells at the corners",
    "Your mask is stretched a little too far: the middles of its outermost cells lie on the edges of the box, as with "
    "`align_corners=True`. It is the cells' *edges* that lie there.",
)
def align_corners(mask, box, img_shape):
    grid, inside = _grid(box, img_shape)
    read = F.grid_sample(mask[None, None], grid, padding_mode="border", align_corners=True)
    return read[0, 0] * inside


@mistake("x and y exchanged", "Your mask is mirrored at its diagonal: x runs along the columns, y along the rows.")
def exchanged(mask, box, img_shape):
    return paste_mask(mask.mT, box, img_shape)


@mistake(
    "the nearest cell",
    "Each pixel of yours has the number of one cell. Mix the four cells around it.",
)
def nearest(mask, box, img_shape):
    fine = mask.repeat_interleave(64, 0).repeat_interleave(64, 1)  # (64 · M, 64 · M)
    return paste_mask(fine, box, img_shape)


@mistake("made yes or no", "You made the mask 0 or 1. The threshold comes later: return the numbers themselves.")
def thresholded(mask, box, img_shape):
    return (paste_mask(mask, box, img_shape) > 0.5).float()


EXERCISE = Exercise(
    name="paste_mask",
    reference=paste_mask,
    cases=cases,
    takes={"mask": Kind.MAP, "box": Kind.BOXES, "img_shape": Kind.SIZE},
    gives=Kind.MAP,
    mistakes=[
        corners, rounded, rounded_down, everywhere, fades, align_corners, exchanged, nearest, thresholded,
    ],
    picture=compare_maps,
)  # fmt: skip
