"""Cells under a microscope, drawn by the computer; how to bend a picture of them, and a weight map (lesson 04).

A stand-in for the pictures of the U-Net paper, which belong to their owners. The cells are those of a Voronoi diagram
(each pixel belongs to the nearest of some random points) as far as a cell reaches, bent, with thin dark membranes that
fade in places: there two cells look like one. Source of `bend` and `weight_map`: Ronneberger, Fischer & Brox 2015,
"U-Net: Convolutional Networks for Biomedical Image Segmentation", section 3.1 and equation 2.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Cells:
    """One picture, and which cell each of its pixels belongs to."""

    image: Tensor  # (1, H, W) float, 0 black .. 1 white
    cells: Tensor  # (H, W) int64, 0 outside and on the membrane between two cells, 1.. inside of a cell


def draw_cells(seed: int, size: int = 96, count: int = 22) -> Cells:
    """A square picture with about `count` cells. The same seed gives the same picture.

    Args:
        seed: of all that is random.
        size: side in pixels, at least 32.
        count: points that are thrown; some of them may end up without a cell.

    Raises:
        ValueError: `size` or `count` is too small.
    """
    if size < 32:
        raise ValueError(f"size is {size}; expected at least 32 pixels")
    if count < 2:
        raise ValueError(f"count is {count}; expected at least 2")
    random = torch.Generator().manual_seed(seed)
    points = torch.rand(count, 2, generator=random) * size  # (N, 2) row, column
    for _ in range(3):  # each point moves to the middle of its cell: no slivers (Lloyd 1982)
        nearest = torch.cdist(_places(size).view(-1, 2), points).argmin(1)  # (H·W,)
        for number in nearest.unique().tolist():
            points[number] = _places(size).view(-1, 2)[nearest == number].mean(0)
    bent = _places(size) + _smooth(2, size, 6, random).movedim(0, 2) * 3  # (H, W, 2): where each pixel looks
    distance, order = torch.cdist(bent.view(-1, 2), points).sort(1)  # (H·W, N)
    to_border = ((distance[:, 1] - distance[:, 0]) / 2).view(size, size)  # pixels, about
    reach = 0.54 * size / math.sqrt(count)  # no cell is wider than that from its point
    to_outside = reach - distance[:, 0].view(size, size)
    cells = (order[:, 0].view(size, size) + 1) * ((to_border > 0.9) & (to_outside > 0))  # (H, W)
    membrane = torch.exp(-((torch.minimum(to_border, to_outside.abs()) / 1.1) ** 2))  # 1 on it .. 0
    strength = (0.42 + 0.3 * _smooth(1, size, 9, random)[0]).clamp(0.03, 0.8)  # it fades in places
    grain = _smooth(1, size, size // 3, random)[0]
    image = torch.where(to_outside > 0, 0.62, 0.45) + 0.05 * grain - strength * membrane
    image += 0.05 * torch.randn(size, size, generator=random)
    return Cells(image.clamp(0, 1)[None], cells)


def bend(image: Tensor, cells: Tensor, seed: int, sigma: float = 4.0) -> tuple[Tensor, Tensor]:
    """Elastic deformation: picture and truth pulled about like a sheet of rubber, both in the same way.

    Random displacements on a coarse grid of 3 × 3 points, interpolated to every pixel, as in the paper, whose pictures
    are larger (it takes a `sigma` of 10 pixels). What comes in from beyond the edge is mirrored.

    Args:
        image: (C, H, W) floats.
        cells: (H, W) whole numbers.
        seed: of the displacements.
        sigma: their standard deviation in pixels; 0 changes nothing.

    Returns:
        Both, of the same shapes. The picture is interpolated, the numbers of the cells are not.

    Raises:
        ValueError: the sizes differ.
    """
    if image.shape[1:] != cells.shape:
        raise ValueError(
            f"image is {tuple(image.shape)}; expected (C, {cells.shape[0]}, {cells.shape[1]}), as cells is"
        )
    height, width = cells.shape
    coarse = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(seed)) * sigma  # x, y in pixels
    moved = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)[0].movedim(0, 2)  # (H, W, 2)
    grid = F.affine_grid(torch.eye(2, 3)[None], [1, 1, height, width], align_corners=False)  # (1, H, W, 2), -1..1
    grid = grid + 2 * moved / torch.tensor([width, height])
    bent = F.grid_sample(image[None], grid, "bilinear", "reflection", align_corners=False)  # (1, C, H, W)
    numbers = F.grid_sample(cells[None, None].float(), grid, "nearest", "reflection", align_corners=False)
    return bent[0], numbers[0, 0].to(cells.dtype)


def weight_map(cells: Tensor, w0: float = 10.0, sigma: float = 5.0) -> Tensor:
    """How much each pixel counts: 1, and much more outside, where two cells nearly touch.

    w(x) = 1 + w0 · exp(-(d1 + d2)² / 2σ²), where d1 and d2 are the distances from a pixel outside to the nearest and
    to the second nearest cell. (The paper has another number for 1, which balances the two classes.)

    Args:
        cells: (H, W) whole numbers, 0 outside.
        w0: the most that is added.
        sigma: how far the effect reaches, in pixels.

    Returns:
        (H, W) floats. With fewer than two cells, all are 1.
    """
    numbers = cells.unique().tolist()
    apart = [distance_transform_edt((cells != number).numpy()) for number in numbers if number]  # each (H, W)
    if len(apart) < 2:
        return torch.ones(cells.shape)
    first, second = np.sort(np.stack(apart), axis=0)[:2]  # (H, W) each
    extra = torch.from_numpy(w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))).float()
    return 1 + extra * (cells == 0)


def _places(size: int) -> Tensor:
    """Row and column of every pixel's middle: (H, W, 2)."""
    line = torch.arange(size) + 0.5
    return torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=2)


def _smooth(channels: int, size: int, knots: int, random: torch.Generator) -> Tensor:
    """(C, H, W) random hills and valleys of deviation about 1, from knots × knots random numbers."""
    coarse = torch.randn(1, channels, knots, knots, generator=random)
    return F.interpolate(coarse, (size, size), mode="bicubic", align_corners=True)[0]
