"""Boxes: three ways to write one down, and how much two of them agree (lesson 05).

A box is four numbers in pixels. x runs to the right, y runs down, and both are continuous: pixel number i covers the
stretch from i to i + 1, so the box (0, 0, 96, 96) is the whole of a 96 × 96 picture. Three forms are in use:

    xyxy     left, top, right, bottom: the form of this course and of torchvision
    xywh     left, top, width, height: the form in the files of COCO
    cxcywh   middle x, middle y, width, height: the form that networks predict

Everything here takes and gives floats, keeps gradients, and equals the function of the same name in `torchvision.ops`.
Numbers too short for an area or a sum are made longer first (`widened`): boxes in float16 give a float32.
A box whose right side lies left of its left side is no box; nothing here looks for one.
"""

import torch
from torch import Tensor

from lib.ops.checks import check_tensor
from lib.ops.dtypes import widened

FORMS = ("xyxy", "xywh", "cxcywh")


# ------------------------------------------------------------------------------------------------ from form to form


def box_xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(left, top, width, height) -> (left, top, right, bottom). (..., 4) in, (..., 4) out."""
    left, top, width, height = _columns("boxes", boxes)
    return torch.stack([left, top, left + width, top + height], dim=-1)  # (..., 4)


def box_xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """(left, top, right, bottom) -> (left, top, width, height). (..., 4) in, (..., 4) out."""
    left, top, right, bottom = _columns("boxes", boxes)
    return torch.stack([left, top, right - left, bottom - top], dim=-1)  # (..., 4)


def box_cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(middle x, middle y, width, height) -> (left, top, right, bottom). (..., 4) in, (..., 4) out."""
    x, y, width, height = _columns("boxes", boxes)
    return torch.stack([x - 0.5 * width, y - 0.5 * height, x + 0.5 * width, y + 0.5 * height], dim=-1)  # (..., 4)


def box_xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """(left, top, right, bottom) -> (middle x, middle y, width, height). (..., 4) in, (..., 4) out."""
    left, top, right, bottom = _columns("boxes", boxes)
    return torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], dim=-1)  # (..., 4)


def box_xyxy_to_cxcywh_normalized(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels: left, top, right, bottom -> shares of the picture, 0..1: middle x, middle y, width, height.

    (..., 4) in, (..., 4) out. `size` is (height, width) of the picture. Networks that predict boxes without anchors
    (lesson 14 on) say them in this form.
    """
    return box_xyxy_to_cxcywh(boxes) / _sides(boxes, size)


def box_cxcywh_normalized_to_xyxy(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Shares of the picture: middle x, middle y, width, height -> pixels: left, top, right, bottom. The way back."""
    return box_cxcywh_to_xyxy(boxes) * _sides(boxes, size)


def _sides(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(height, width) -> (4,): width, height, width, height."""
    if len(size) != 2:
        raise ValueError(f"size is {size!r}; expected (height, width)")
    height, width = size
    return boxes.new_tensor([width, height, width, height])


def box_convert(boxes: Tensor, in_fmt: str, out_fmt: str) -> Tensor:
    """From any of the three forms to any other: (..., 4) -> (..., 4), always a new tensor.

    Raises:
        ValueError: a form is not one of "xyxy", "xywh", "cxcywh", or there are not four numbers to a box.
    """
    for name, form in (("in_fmt", in_fmt), ("out_fmt", out_fmt)):
        if form not in FORMS:
            raise ValueError(f"{name} is {form!r}; expected one of {', '.join(FORMS)}")
    if in_fmt == out_fmt:
        return torch.stack(_columns("boxes", boxes), dim=-1)  # (..., 4)
    if in_fmt != "xyxy":
        boxes = {"xywh": box_xywh_to_xyxy, "cxcywh": box_cxcywh_to_xyxy}[in_fmt](boxes)
    if out_fmt != "xyxy":
        boxes = {"xywh": box_xyxy_to_xywh, "cxcywh": box_xyxy_to_cxcywh}[out_fmt](boxes)
    return boxes


# ------------------------------------------------------------------------------------------------ how much two agree


def box_area(boxes: Tensor) -> Tensor:
    """Width times height, in square pixels: (..., 4) xyxy -> (...)."""
    left, top, right, bottom = _columns("boxes", boxes)
    return (right - left) * (bottom - top)


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union of every box of the one set with every box of the other.

    1 for equal boxes, 0 for boxes that share no area, however near or far they are.

    Args:
        boxes1: (N, 4) xyxy. boxes2: (M, 4) xyxy. Either may be empty.

    Returns:
        (N, M), 0..1; nan for two boxes that both have no area (0 / 0, as in torchvision). nan is not above any
        threshold, so such a box is neither matched nor suppressed.

    Raises:
        ValueError: a set is not (N, 4).
    """
    intersection, union = _intersection_and_union(boxes1, boxes2)
    return intersection / union


def generalized_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """GIoU: the IoU, minus the share of the smallest box around both that neither of them covers.

    For boxes that touch it is a little less than the IoU. For boxes that do not, it goes on falling towards -1 as they
    move apart: unlike the IoU it tells a box in which direction the other one is, and so it can be learned from.

    Args:
        boxes1: (N, 4) xyxy. boxes2: (M, 4) xyxy.

    Returns:
        (N, M), above -1 and up to 1; nan where the IoU is nan or the box around both has no area.

    Raises:
        ValueError: a set is not (N, 4).

    Source: Rezatofighi et al. 2019, "Generalized Intersection over Union", algorithm 1.
    """
    intersection, union = _intersection_and_union(boxes1, boxes2)
    boxes1, boxes2 = widened(boxes1), widened(boxes2)
    top_left = torch.minimum(boxes1[:, None, :2], boxes2[:, :2])  # (N, M, 2)
    bottom_right = torch.maximum(boxes1[:, None, 2:], boxes2[:, 2:])  # (N, M, 2)
    around = (bottom_right - top_left).clamp(min=0).prod(-1)  # (N, M)
    return intersection / union - (around - union) / around


def _intersection_and_union(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    """The area that two boxes share and the area that they cover together: two times (N, M)."""
    for name, boxes in (("boxes1", boxes1), ("boxes2", boxes2)):
        check_boxes(name, boxes)
    boxes1, boxes2 = widened(boxes1), widened(boxes2)
    top_left = torch.maximum(boxes1[:, None, :2], boxes2[:, :2])  # (N, M, 2)
    bottom_right = torch.minimum(boxes1[:, None, 2:], boxes2[:, 2:])  # (N, M, 2)
    sides = (bottom_right - top_left).clamp(min=0)  # a negative side is a gap: nothing is shared
    intersection = sides[..., 0] * sides[..., 1]  # (N, M)
    return intersection, box_area(boxes1)[:, None] + box_area(boxes2) - intersection


# ------------------------------------------------------------------------------------------------ at the picture's edge


def clip_boxes_to_image(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut off what sticks out of the picture: (..., 4) xyxy -> (..., 4).

    A box that lies outside altogether becomes one without area on the nearest edge.

    Args:
        size: (height, width) of the picture: height first, unlike in a box.
    """
    left, top, right, bottom = _columns("boxes", boxes)
    height, width = size
    return torch.stack(
        [left.clamp(0, width), top.clamp(0, height), right.clamp(0, width), bottom.clamp(0, height)], dim=-1
    )  # (..., 4)


def remove_small_boxes(boxes: Tensor, min_size: float) -> Tensor:
    """Which boxes have both sides of at least `min_size` pixels: (N, 4) xyxy -> (kept,) int64 places, in order."""
    check_boxes("boxes", boxes)
    sides = boxes[:, 2:] - boxes[:, :2]  # (N, 2)
    return (sides >= min_size).all(1).nonzero()[:, 0]  # (kept,)


def _columns(name: str, boxes: Tensor) -> tuple[Tensor, ...]:
    check_tensor(name, boxes, "(..., 4)")
    if boxes.ndim < 1 or boxes.shape[-1] != 4:
        raise ValueError(f"{name} is {tuple(boxes.shape)}; expected (..., 4): four numbers to a box")
    return widened(boxes).unbind(-1)


def check_boxes(name: str, boxes: Tensor) -> None:
    """Raise ValueError, naming the argument `name`, unless `boxes` is a set of boxes (N, 4)."""
    check_tensor(name, boxes, "(N, 4)")
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name} is {tuple(boxes.shape)}; expected (N, 4): one box a row, xyxy pixels")
