"""From a box to a network's input: what is in it, stretched to a square (lesson 06).

Source: Girshick et al. 2014, "Rich feature hierarchies for accurate object detection and semantic segmentation",
appendix A.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.ops.boxes import check_boxes


def enlarge_boxes(boxes: Tensor, size: int, context: int) -> Tensor:
    """Boxes (K, 4) with a margin that is `context` pixels wide once they are warped to `size` × `size`.

    The middle stays; width and height grow by the factor size / (size - 2 · context).
    """
    if not 0 <= 2 * context < size:
        raise ValueError(f"context is {context!r}; expected 0 or more, and less than half of the size {size}")
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2  # (K, 2) each
    half = half * size / (size - 2 * context)
    return torch.cat([middle - half, middle + half], dim=1)  # (K, 4)


def crop_resize(image: Tensor, boxes: Tensor, size: int, outside: Tensor) -> Tensor:
    """Stretch what is in each box to a square. A box may reach out of the picture.

    Args:
        image: (3, H, W) floats.
        boxes: (K, 4) xyxy pixels.
        size: side of the squares, in pixels.
        outside: (3,) the colour that is seen beyond the picture.

    Returns:
        (K, 3, size, size). Each pixel is the mean of bilinear samples at most a picture's pixel apart, so that
        a large box is not only picked from but smoothed. A crop depends on its own box alone.
    """
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"image is {tuple(image.shape)}; expected (3, H, W)")
    check_boxes("boxes", boxes)
    longest = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1)  # (K,)
    fine = (longest / size - 1e-4).ceil().clamp(min=1).long()  # (K,) samples along a side of an output pixel
    crops = image.new_empty(len(boxes), 3, size, size)
    for count in fine.unique().tolist():
        alike = fine == count
        crops[alike] = _sampled(image, boxes[alike], size, count, outside)
    return crops


def _sampled(image: Tensor, boxes: Tensor, size: int, fine: int, outside: Tensor) -> Tensor:
    """`crop_resize` with `fine` × `fine` samples in each pixel of the squares."""
    height, width = image.shape[1:]
    steps = (torch.arange(size * fine, device=image.device) + 0.5) / (size * fine)  # (S,) with S = size · fine
    x = boxes[:, :1] + steps * (boxes[:, 2:3] - boxes[:, :1])  # (k, S)
    y = boxes[:, 1:2] + steps * (boxes[:, 3:] - boxes[:, 1:2])
    grid = torch.stack(
        [
            (2 * x / width - 1)[:, None, :].expand(-1, len(steps), -1),
            (2 * y / height - 1)[:, :, None].expand(-1, -1, len(steps)),
        ],
        dim=3,
    )  # (k, S, S, 2)
    pictures = image.expand(len(boxes), -1, -1, -1)  # (k, 3, H, W)
    crops = F.grid_sample(pictures, grid.to(image.dtype), padding_mode="border", align_corners=False)
    inside = ((x >= 0) & (x <= width))[:, None, None, :] & ((y >= 0) & (y <= height))[:, None, :, None]
    return F.avg_pool2d(torch.where(inside, crops, outside[:, None, None]), fine)  # (k, 3, size, size)


def context_warp(image: Tensor, boxes: Tensor, size: int, context: int) -> Tensor:
    """What the network sees of each box: all of it, stretched to a square, with a margin of what is around it.

    The margin is `context` pixels wide in the square. Beyond the picture stands the picture's mean colour.

    Args:
        image: (3, H, W) floats.
        boxes: (K, 4) xyxy pixels.
        size, context: of the square, in its own pixels; the paper's are 227 and 16.

    Returns:
        (K, 3, size, size).

    Raises:
        ValueError: `context` leaves no room for the box, or a shape is wrong.

    Source: appendix A, "warp".
    """
    return crop_resize(image, enlarge_boxes(boxes, size, context), size, outside=image.mean(dim=(1, 2)))
