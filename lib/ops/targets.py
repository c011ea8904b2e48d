"""Is what a detector is to learn from well formed? (lessons 07 on)

A target is, for each picture, {"boxes": (n, 4) xyxy pixels, "labels": (n,) int64, from 1}; n may be 0.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def check_sets(name: str, sets: Sequence[Tensor | None], count: int) -> None:
    """Raise ValueError, naming the argument, unless there are finite boxes (N, 4) for each of `count` pictures."""
    if len(sets) != count:
        raise ValueError(f"{name} has {len(sets)} entries; expected one for each of {count} pictures")
    for number, boxes in enumerate(sets):
        if not isinstance(boxes, Tensor) or boxes.ndim != 2 or boxes.shape[1] != 4 or not boxes.is_floating_point():
            came = f"{tuple(boxes.shape)} {boxes.dtype}" if isinstance(boxes, Tensor) else repr(boxes)
            raise ValueError(f"{name} has {came}; expected (N, 4) floats, xyxy, for each picture")
        if not boxes.isfinite().all():
            raise ValueError(f"{name} has a box that is infinite or not a number in picture {number}; expected numbers")


def check_targets(targets: list[dict[str, Tensor]], count: int) -> None:
    """Raise ValueError unless each of `count` pictures has boxes with an area, and as many labels."""
    for target in targets:
        if not isinstance(target, dict):
            raise ValueError(f"targets has a {type(target).__name__}; expected a dict of boxes and labels a picture")
    check_sets("targets", [target.get("boxes") for target in targets], count)
    for number, target in enumerate(targets):
        boxes, labels = target["boxes"], target.get("labels")
        if not isinstance(labels, Tensor) or labels.shape != boxes.shape[:1] or labels.dtype != torch.int64:
            came = f"{tuple(labels.shape)} {labels.dtype}" if isinstance(labels, Tensor) else repr(labels)
            raise ValueError(f"targets has the labels {came} for picture {number}; expected ({len(boxes)},) int64")
        if (boxes[:, 2:] <= boxes[:, :2]).any():
            raise ValueError(f"targets has a box without area in picture {number}; expected x1 < x2 and y1 < y2")


def check_no_targets(targets: object) -> None:
    """Raise ValueError if a detector was called with targets, as torchvision's are in training."""
    if targets is not None:
        came = type(targets).__name__
        raise ValueError(f"targets is a {came}; expected none: the losses are those of `model.loss(images, targets)`")


def check_labels(targets: list[dict[str, Tensor]], largest: int) -> None:
    """Raise ValueError unless all labels lie in 1..largest."""
    for number, target in enumerate(targets):
        labels = target["labels"]
        if len(labels) and not 1 <= labels.min() <= labels.max() <= largest:
            raise ValueError(f"targets has the labels {labels.tolist()} in picture {number}; expected 1..{largest}")
