"""What SAM's data engine does to a flood of masks: where to ask, and which answers to throw away (lesson 18).

Source: Kirillov et al. 2023, "Segment Anything", appendix B, "Automatic mask generation details", and, where it gives
no number, facebookresearch/segment-anything, whose values these are.
"""

import numpy as np
import torch
from scipy.ndimage import label as label_patches
from torch import Tensor

from lib.ops.boxes import check_boxes
from lib.ops.masks import mask_iou


def point_grid(n: int) -> Tensor:
    """The middles of n × n equal cells, row by row: (n · n, 2) floats, x and y, shares of the picture 0..1."""
    if n < 1:
        raise ValueError(f"n is {n}; expected at least 1")
    along = (torch.arange(n) + 0.5) / n  # (n,)
    return torch.cartesian_prod(along, along).flip(1)  # (n · n, 2): y is the slower one


def stability_score(logits: Tensor, mask_threshold: float = 0.0, offset: float = 1.0) -> Tensor:
    """How little a mask changes with the threshold: IoU of what is above a higher one and above a lower one.

    The first lies inside the second, so the IoU is a quotient of areas. A mask with sharp borders scores high.

    Args:
        logits: (..., H, W). mask_threshold: the one in the middle. offset: how far the others lie from it.

    Returns:
        (...) floats, 0..1; 0 where nothing is above the lower one (segment-anything: nan).

    Raises:
        ValueError: the offset is below 0.
    """
    if offset < 0:
        raise ValueError(f"offset is {offset}; expected at least 0")
    inner = (logits > mask_threshold + offset).sum((-2, -1))  # (...)
    outer = (logits > mask_threshold - offset).sum((-2, -1))
    return inner / outer.clamp(min=1)


def near_inner_border(boxes: Tensor, crop_boxes: Tensor, size: tuple[int, int], within: float = 20.0) -> Tensor:
    """Whether a thing may be cut off by its crop: a side of its box is close to a side of the crop's that is inside.

    A side of the crop that is as close to the picture's own border cuts nothing off.

    Args:
        boxes: (N, 4) xyxy pixels of the whole picture. crop_boxes: (N, 4), where each was seen.
        size: (height, width). within: pixels.

    Returns:
        (N,) bool.

    Raises:
        ValueError: shapes do not fit.
    """
    check_boxes("boxes", boxes)
    if crop_boxes.shape != boxes.shape:
        raise ValueError(f"crop_boxes is {tuple(crop_boxes.shape)}; expected {tuple(boxes.shape)}, one for each box")
    border = boxes.new_tensor([0, 0, size[1], size[0]])  # (4,)
    near_crop, near_border = (boxes - crop_boxes).abs() <= within, (boxes - border).abs() <= within  # (N, 4)
    return (near_crop & ~near_border).any(1)


def mask_nms(masks: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """`lib.ops.nms.nms` with the overlap of masks: (N, H, W), (N,) -> places of the kept ones, best score first.

    Raises:
        ValueError: shapes do not fit.
    """
    overlap = mask_iou(masks, masks)  # (N, N)
    if scores.shape != masks.shape[:1]:
        raise ValueError(f"scores is {tuple(scores.shape)}; expected one for each of the {len(masks)} masks")
    left, kept = scores.argsort(descending=True, stable=True), scores.new_zeros(0, dtype=torch.int64)
    while len(left):
        kept = torch.cat([kept, left[:1]])
        left = left[1:][overlap[left[0], left[1:]] <= iou_threshold]
    return kept


def remove_small_regions(mask: Tensor, area: float, mode: str) -> tuple[Tensor, bool]:
    """Fill small holes of a mask, or drop its small islands. Pixels are connected along sides and at corners.

    Background at the picture's border is a hole, too, if it is small. Where all islands are small the largest stays
    (the first in reading order, if several are); the paper drops such a mask, segment-anything does not.

    Args:
        mask: (H, W) bool. area: pixels; regions with fewer are small. mode: "holes" or "islands".

    Returns:
        The mask (H, W), and whether there was a small region.

    Raises:
        ValueError: the mask is not (H, W) bool, or the mode is another word.
    """
    if mask.ndim != 2 or mask.dtype != torch.bool:
        raise ValueError(f"mask is {tuple(mask.shape)} {mask.dtype}; expected (H, W) bool")
    if mode not in ("holes", "islands"):
        raise ValueError(f"mode is {mode!r}; expected 'holes' or 'islands'")
    regions, count = label_patches((mask == (mode == "islands")).cpu().numpy(), np.ones((3, 3)))  # 0: no region
    sizes = np.bincount(regions.flat, minlength=count + 1)[1:]  # (count,)
    small = sizes < area
    if not small.any():
        return mask, False
    if mode == "islands" and small.all():
        small[sizes.argmax()] = False
    changed = torch.from_numpy(np.append(False, small)[regions]).to(mask.device)  # (H, W)
    return mask ^ changed, True
