"""Non-maximum suppression: of many boxes around one thing, keep the best (lesson 05).

A detector answers a thing with a whole cloud of boxes. The greedy rule: take the box with the highest score, throw away
all boxes that overlap it by more than a threshold, and go on with what is left. A box that was thrown away throws
nothing away itself. In this form: Felzenszwalb et al. 2010, "Object Detection with Discriminatively Trained Part-Based
Models", section 7.2, and Girshick et al. 2014, "Rich feature hierarchies" (R-CNN), section 2.2.

Here each step can be read. The models call `torchvision.ops.nms`, which gives the same boxes much faster.
"""

import torch
from torch import Tensor

from lib.ops.boxes import box_iou
from lib.ops.checks import check_tensor


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Keep each box that overlaps no kept box of a higher score by more than the threshold.

    Of boxes with the same score the one that comes first in the list goes first, as in torchvision on the CPU.

    Args:
        boxes: (N, 4) floats, xyxy.
        scores: (N,).
        iou_threshold: a box goes if its IoU with a kept one is above this; an IoU equal to it is allowed.

    Returns:
        (kept,) int64, the places of the kept boxes, the highest score first. Equal to `torchvision.ops.nms`.

    Raises:
        ValueError: the shapes do not fit, or the boxes are not floats.
    """
    remover = suppressed_by(boxes, scores, iou_threshold)  # (N,)
    order = scores.argsort(descending=True, stable=True)  # (N,)
    return order[remover[order] == -1]  # (kept,)


def suppressed_by(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Who threw whom away: the loop of `nms`, step by step.

    Args and errors are those of `nms`.

    Returns:
        (N,) int64: for each box the place of the kept box that removed it; -1 for a box that was kept.
    """
    _check(boxes, scores)
    remover = torch.full((len(boxes),), -1, device=boxes.device)  # (N,)
    left = scores.argsort(descending=True, stable=True)  # best first, to be decided on
    while len(left):
        best, left = left[0], left[1:]
        overlap = box_iou(boxes[best][None], boxes[left])[0]  # (left,)
        too_close = overlap.cpu().double() > iou_threshold  # in float64: 0.6 as float32 is a little above 0.6
        too_close = too_close.to(boxes.device)
        remover[left[too_close]] = best
        left = left[~too_close]
    return remover


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """NMS within each group (each class, each level, each picture): boxes of two groups do not compete.

    One group after the other. torchvision moves every group to a far place of its own, so that boxes of two groups
    cannot overlap, and needs a single call of `nms`: faster, but far away a float has no digits left for a small box.

    Args:
        boxes: (N, 4) floats, xyxy.
        scores: (N,).
        idxs: (N,) whole numbers, the group of each box.
        iou_threshold: as in `nms`.

    Returns:
        (kept,) int64, the highest score first over all groups. Equal to `torchvision.ops.batched_nms`
        where its far places are exact.

    Raises:
        ValueError: the shapes do not fit, or the boxes are not floats.
    """
    _check(boxes, scores)
    check_tensor("idxs", idxs, "(N,)")
    if idxs.shape != scores.shape:
        raise ValueError(f"idxs is {tuple(idxs.shape)}; expected one group number for each box, {tuple(scores.shape)}")
    stays = torch.zeros_like(scores, dtype=torch.bool)  # (N,)
    for group in idxs.unique():
        members = torch.where(idxs == group)[0]  # (members,) places in the list
        stays[members[nms(boxes[members], scores[members], iou_threshold)]] = True
    order = scores.argsort(descending=True, stable=True)  # (N,)
    return order[stays[order]]  # (kept,)


def _check(boxes: Tensor, scores: Tensor) -> None:
    check_tensor("boxes", boxes, "(N, 4)")
    check_tensor("scores", scores, "(N,)")
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not boxes.is_floating_point():
        raise ValueError(f"boxes is {tuple(boxes.shape)} {boxes.dtype}; expected (N, 4) floats")
    if scores.shape != boxes.shape[:1]:
        raise ValueError(f"scores is {tuple(scores.shape)}; expected one for each of the {len(boxes)} boxes")
