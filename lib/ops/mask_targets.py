"""Is what a model of masks is to learn from well formed? (lessons 15 on)

A target is, for each picture, {"masks": (n, H, W) bool, "labels": (n,) int64, from 0}; n may be 0. Unlike a detector's
(`lib.ops.targets`) it has no boxes, and stuff such as sky has a label as things have.
"""

import torch
from torch import Tensor


def check_mask_targets(targets: list[dict[str, Tensor]], sizes: list[tuple[int, int]], num_classes: int) -> None:
    """Raise ValueError unless each picture, of (height, width) `sizes`, has masks, and as many labels 0..K-1."""
    if len(targets) != len(sizes):
        raise ValueError(f"targets has {len(targets)} entries; expected one for each of {len(sizes)} pictures")
    for number, (target, size) in enumerate(zip(targets, sizes)):
        masks, labels = target.get("masks"), target.get("labels")
        if not isinstance(masks, Tensor) or masks.ndim != 3 or masks.shape[1:] != size or masks.dtype != torch.bool:
            came = f"{tuple(masks.shape)} {masks.dtype}" if isinstance(masks, Tensor) else repr(masks)
            wanted = f"(n, {size[0]}, {size[1]}) bool"
            raise ValueError(f"targets has the masks {came} for picture {number}; expected {wanted}")
        if not isinstance(labels, Tensor) or labels.shape != masks.shape[:1] or labels.dtype != torch.int64:
            came = f"{tuple(labels.shape)} {labels.dtype}" if isinstance(labels, Tensor) else repr(labels)
            raise ValueError(f"targets has the labels {came} for picture {number}; expected ({len(masks)},) int64")
        if ((labels < 0) | (labels >= num_classes)).any():
            came = f"{labels.tolist()} in picture {number}"
            raise ValueError(f"targets has the labels {came}; expected 0..{num_classes - 1}")
