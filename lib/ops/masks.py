"""Masks: where, inside a picture, each thing lies; cut to a region to be learned, and pasted back (lesson 12).

A mask is a picture of yes and no: pixel (row, column) is the thing's or is not. A network does not predict it at the
picture's size but on a small square grid laid over the thing's box, 28 × 28 say. So a mask is cut down on its way into
training and enlarged on its way out, and both times a box that lies between the pixels is met.

Sources: He et al. 2017, "Mask R-CNN", section 3; `torchvision.models.detection.roi_heads`, whose values these are;
`aligned`: Wu et al. 2019, Detectron2, which rounds nowhere. Run-length coding is that of pycocotools.
"""

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision.ops import roi_align

from lib.ops.boxes import check_boxes


def masks_to_boxes(masks: Tensor) -> Tensor:
    """The first and the last column and row of each mask: (N, H, W) -> (N, 4), as `torchvision.ops.masks_to_boxes`.

    Right and bottom are the *places* of the last pixels. The edge of the box, as this course counts (pixel i covers i
    to i + 1), lies one further on.

    Raises:
        ValueError: the shape does not fit, or a mask is empty: it has no box.
    """
    check_masks("masks", masks)
    yes = masks != 0
    if not yes.flatten(1).any(dim=1).all():
        raise ValueError("masks has an empty mask; expected at least one pixel in each")
    places = []
    for along in (yes.any(dim=1), yes.any(dim=2)):  # (N, W), (N, H)
        first = along.int().argmax(dim=1)  # (N,)
        last = along.shape[1] - 1 - along.flip(1).int().argmax(dim=1)  # (N,)
        places.append((first, last))
    (left, right), (top, bottom) = places
    return torch.stack([left, top, right, bottom], dim=1).float()  # (N, 4)


def mask_iou(masks1: Tensor, masks2: Tensor) -> Tensor:
    """Shared pixels of each pair divided by the pixels of either: (N, H, W), (M, H, W) -> (N, M) float, 0..1.

    Counting the shared pixels of all pairs is one product of matrices, of ones and zeros. Two empty masks share
    nothing: 0.

    Raises:
        ValueError: a shape does not fit.
    """
    check_masks("masks1", masks1)
    check_masks("masks2", masks2)
    if masks1.shape[1:] != masks2.shape[1:]:
        raise ValueError(f"masks2 is {tuple(masks2.shape)}; expected (M, {masks1.shape[1]}, {masks1.shape[2]})")
    one, other = ((masks != 0).flatten(1).float() for masks in (masks1, masks2))  # (N, H · W), (M, H · W)
    shared = one @ other.T  # (N, M), exact up to 2^24 pixels
    either = one.sum(1)[:, None] + other.sum(1) - shared  # (N, M)
    return shared / either.clamp(min=1)


def project_masks_on_boxes(
    gt_masks: Tensor, boxes: Tensor, matched_idxs: Tensor, M: int, aligned: bool = False
) -> Tensor:
    """What the mask branch is to say: of each region's thing, the part inside of the region, on a grid of M × M.

    The mask is cut as the feature map is, by RoIAlign: each cell holds the share of the thing in it.

    Args:
        gt_masks: (N, H, W) masks of the things of a picture.
        boxes: (P, 4) xyxy pixels, the regions.
        matched_idxs: (P,) which thing each region shows.
        M: cells along each side.
        aligned: whether a pixel's value belongs to its middle. False gives torchvision's values, half a pixel off.

    Returns:
        (P, M, M) float, 0..1.

    Raises:
        ValueError: a shape does not fit.
    """
    check_masks("gt_masks", gt_masks)
    check_boxes("boxes", boxes)
    if matched_idxs.shape != boxes.shape[:1]:
        raise ValueError(f"matched_idxs is {tuple(matched_idxs.shape)}; expected ({len(boxes)},), one for each box")
    regions = torch.cat([matched_idxs[:, None].to(boxes), boxes], dim=1)  # (P, 5): each mask is a picture of its own
    return roi_align(gt_masks[:, None].to(boxes), regions, (M, M), 1.0, aligned=aligned)[:, 0]  # (P, M, M)


def paste_masks_in_image(
    masks: Tensor, boxes: Tensor, img_shape: tuple[int, int], padding: int = 1, aligned: bool = False
) -> Tensor:
    """Each small mask, enlarged to the size of its box and put where the box is.

    Args:
        masks: (N, M, M) floats 0..1.
        boxes: (N, 4) xyxy pixels.
        img_shape: (height, width) of the picture.
        padding: cells of zeros around a mask, so that it fades out at its rim instead of ending there.
        aligned: False: torchvision's values. The box is rounded to whole pixels and made one pixel larger. True:
            nothing is rounded, each pixel reads the mask at its middle.

    Returns:
        (N, height, width) floats 0..1, 0 outside of the box.

    Raises:
        ValueError: a shape does not fit.
    """
    check_masks("masks", masks)
    check_boxes("boxes", boxes)
    if len(masks) != len(boxes) or masks.shape[1] != masks.shape[2]:
        raise ValueError(f"masks is {tuple(masks.shape)}; expected ({len(boxes)}, M, M), one for each box")
    if not len(masks):
        return masks.new_zeros(0, *img_shape)
    if aligned:
        read, inside = paste_in_boxes(masks[:, None], boxes, img_shape)  # (N, 1, H, W), (N, H, W)
        return read[:, 0] * inside
    size = masks.shape[-1]
    masks = F.pad(masks, (padding,) * 4)  # (N, M + 2 · padding, M + 2 · padding)
    whole = _grown(boxes, (size + 2 * padding) / size).long().tolist()  # towards zero
    return torch.stack([_paste_one(mask, box, img_shape) for mask, box in zip(masks, whole)])


def _grown(boxes: Tensor, scale: float) -> Tensor:
    """Boxes (N, 4) with the same middle and `scale` times the sides."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) * 0.5, (boxes[:, 2:] - boxes[:, :2]) * 0.5 * scale  # (N, 2) each
    return torch.cat([middle - half, middle + half], dim=1)


def _paste_one(mask: Tensor, box: list[int], img_shape: tuple[int, int]) -> Tensor:
    """A padded mask (m, m) in a box of whole pixels, first and last included -> (height, width)."""
    left, top, right, bottom = box
    width, height = max(right - left + 1, 1), max(bottom - top + 1, 1)
    enlarged = F.interpolate(mask[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]
    canvas = mask.new_zeros(img_shape)
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(right + 1, img_shape[1]), min(bottom + 1, img_shape[0])
    if x1 < x2 and y1 < y2:
        canvas[y1:y2, x1:x2] = enlarged[y1 - top : y2 - top, x1 - left : x2 - left]
    return canvas


def paste_in_boxes(maps: Tensor, boxes: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Maps of boxes, stretched over their boxes on the picture: bilinear, read at the middle of each pixel.

    Args:
        maps: (K, C, S, S).
        boxes: (K, 4) xyxy pixels; one may reach beyond the picture.
        image_size: (height, width).

    Returns:
        (K, C, H, W), meaningless outside of the boxes; and (K, H, W) bool, whether a pixel's middle is in the box.

    Raises:
        ValueError: a shape does not fit.
    """
    check_boxes("boxes", boxes)
    if maps.ndim != 4 or len(maps) != len(boxes):
        raise ValueError(f"maps is {tuple(maps.shape)}; expected ({len(boxes)}, C, S, S)")
    height, width = image_size
    x = torch.arange(width, dtype=maps.dtype, device=maps.device) + 0.5  # (W,) middles of pixels
    y = torch.arange(height, dtype=maps.dtype, device=maps.device) + 0.5
    left, top, right, bottom = boxes.to(maps)[:, :, None].unbind(1)  # (K, 1) each
    across, down = (
        (x - left) / (right - left).clamp(min=1e-6) * 2 - 1,
        (y - top) / (bottom - top).clamp(min=1e-6) * 2 - 1,
    )  # (K, W), (K, H), -1..1
    inside = (across.abs() <= 1)[:, None, :] & (down.abs() <= 1)[:, :, None]  # (K, H, W)
    where = torch.stack(
        [across[:, None, :].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)], dim=3
    )  # (K, H, W, 2)
    return F.grid_sample(maps, where, padding_mode="border", align_corners=False), inside


def encode_masks(masks: Tensor) -> list[dict]:
    """Run-length coding as COCO's files have it: (N, H, W) -> N times {"size": [H, W], "counts": bytes}."""
    check_masks("masks", masks)
    return [coco_mask.encode(np.asfortranarray(one)) for one in (masks != 0).cpu().numpy().astype(np.uint8)]


def decode_masks(codes: list[dict], img_shape: tuple[int, int]) -> Tensor:
    """The other way: N codes -> (N, H, W) bool. `img_shape` says (H, W), so that no codes give (0, H, W).

    Raises:
        ValueError: a code is of a picture of another size.
    """
    for code in codes:
        if tuple(code["size"]) != tuple(img_shape):
            raise ValueError(f"codes has a mask of size {tuple(code['size'])}; expected {tuple(img_shape)}")
    masks = [torch.from_numpy(coco_mask.decode(code)).bool() for code in codes]  # (H, W) each
    return torch.stack(masks) if masks else torch.zeros(0, *img_shape, dtype=torch.bool)


def check_masks(name: str, masks: Tensor) -> None:
    """Raise ValueError, naming the argument, unless it is (N, H, W) with at least a pixel."""
    if not isinstance(masks, Tensor) or masks.ndim != 3 or 0 in masks.shape[1:]:
        came = tuple(masks.shape) if isinstance(masks, Tensor) else repr(masks)
        raise ValueError(f"{name} is {came}; expected (N, H, W)")
