"""Clicks and boxes as somebody would give them who knows the true mask: for training, and to measure (lesson 17).

Points are (x, y) of whole pixels, columns first. Source: Kirillov et al. 2023, "Segment Anything", appendix A,
"Training algorithm", and D.1 for clicks in the middle.
"""

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

FOREGROUND, BACKGROUND = 1, 0


def random_click(regions: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A pixel of each region, all equally likely.

    Args:
        regions: (P, H, W) bool. Where a region is empty, any pixel of the picture may come.

    Returns:
        (P, 2) floats, x and y.

    Raises:
        ValueError: the regions are not (P, H, W) bool.
    """
    if regions.ndim != 3 or regions.dtype != torch.bool:
        raise ValueError(f"regions is {tuple(regions.shape)} {regions.dtype}; expected (P, H, W) bool")
    flat = regions.flatten(1)  # (P, H·W)
    flat = flat | ~flat.any(1, keepdim=True)
    places = torch.rand(flat.shape, generator=generator, device=flat.device).masked_fill(~flat, -1).argmax(1)  # (P,)
    width = regions.shape[2]
    return torch.stack([places % width, places // width], dim=1).float()


def error_click(predicted: Tensor, true: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """A pixel of each mask that is wrong, all equally likely, and what is true there.

    Args:
        predicted, true: (P, H, W) bool. Where nothing is wrong, any pixel may come.

    Returns:
        Points (P, 2), and labels (P,) int64, 1 = foreground was missed, 0 = background was taken.

    Raises:
        ValueError: the masks are not bool, or of two shapes.
    """
    _check_masks(predicted, true, 3)
    points = random_click(predicted ^ true, generator)  # (P, 2)
    x, y = points.long().unbind(1)
    return points, true[torch.arange(len(true), device=true.device), y, x].long()


def middle_click(region: Tensor) -> tuple[int, int]:
    """The pixel of a region (H, W) that is farthest from all outside, the picture's border included: x and y.

    Of several that are equally far, the first in reading order.

    Raises:
        ValueError: the region is no mask, or empty.
    """
    if region.ndim != 2 or not region.any():
        raise ValueError(
            f"region is {tuple(region.shape)} with {int(region.sum())} pixels; expected (H, W), at least one"
        )
    row, column = divmod(int(_depths(region).argmax()), region.shape[1])
    return column, row


def _depths(region: Tensor) -> np.ndarray:
    """Of each pixel of a region its distance to the nearest one outside, (H, W); beyond the border all is outside."""
    return distance_transform_edt(np.pad(region.cpu().numpy().astype(bool), 1))[1:-1, 1:-1]


def next_click(predicted: Tensor, true: Tensor) -> tuple[int, int, int]:
    """Where a careful annotator clicks next: in the middle of what is wrong.

    Missed and wrongly taken pixels are two regions; the click lies where the distance to all that is not in its region
    is largest (the missed one if both are as deep).

    Args:
        predicted, true: (H, W) bool.

    Returns:
        x, y and the label: 1 = foreground (it was missed), 0 = background (it was taken wrongly).

    Raises:
        ValueError: the masks are not bool, or of two shapes, or nothing is wrong.
    """
    _check_masks(predicted, true, 2)
    missed, taken = true & ~predicted, predicted & ~true
    if not (missed | taken).any():
        raise ValueError("predicted is true everywhere; expected a pixel that is wrong")
    label = FOREGROUND if _depths(missed).max() >= _depths(taken).max() else BACKGROUND
    return *middle_click(missed if label == FOREGROUND else taken), label


def jittered_boxes(boxes: Tensor, size: tuple[int, int], noise: float = 0.1, most: float = 20.0) -> Tensor:
    """Boxes as a hurried annotator draws them: each side is moved by noise.

    Args:
        boxes: (P, 4) xyxy pixels. size: H, W of the picture, which boxes do not leave.
        noise: its deviation, as a share of the box's width or height. most: pixels, never farther.

    Returns:
        (P, 4), x2 >= x1 + 1 and y2 >= y1 + 1.

    Raises:
        ValueError: the boxes are not (P, 4) floats, or the noise is below 0.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not boxes.is_floating_point():
        raise ValueError(f"boxes is {tuple(boxes.shape)} {boxes.dtype}; expected (P, 4) floats")
    for name, number in (("noise", noise), ("most", most)):
        if number < 0:
            raise ValueError(f"{name} is {number}; expected at least 0")
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)  # (P, 4): width, height, width, height
    moved = boxes + (torch.randn_like(boxes) * noise * sides).clamp(-most, most)
    limit = moved.new_tensor([size[1], size[0]])
    start = torch.minimum(moved[:, :2].clamp(min=0), limit - 1)
    return torch.cat([start, torch.maximum(torch.minimum(moved[:, 2:], limit), start + 1)], dim=1)


def _check_masks(predicted: Tensor, true: Tensor, axes: int) -> None:
    """Raise ValueError unless both are bool masks of one shape with so many axes."""
    shape = "(H, W)" if axes == 2 else "(P, H, W)"
    for name, mask in (("predicted", predicted), ("true", true)):
        if mask.ndim != axes or mask.dtype != torch.bool:
            raise ValueError(f"{name} is {tuple(mask.shape)} {mask.dtype}; expected {shape} bool")
    if predicted.shape != true.shape:
        raise ValueError(f"predicted is {tuple(predicted.shape)}; expected {tuple(true.shape)}, as true")
