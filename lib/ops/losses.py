"""Losses for maps of classes: what a network is told about every pixel (lessons 03 and 04).

Scores (logits) are (B, K, H, W), classes (B, H, W) whole numbers 0..K-1; pixels with class `ignore_index` are left out
and get no gradient.
"""

import torch
from torch import Tensor


def cross_entropy(logits: Tensor, target: Tensor, ignore_index: int = 255, weight: Tensor | None = None) -> Tensor:
    """The mean surprise at the true class, -log of its softmax probability, over all pixels that count.

    Args:
        logits: (B, K, H, W) scores.
        target: (B, H, W) classes.
        weight: (K,), how much a pixel of each class counts; the mean is then a weighted one. None: all the same.

    Returns:
        One number, equal to `F.cross_entropy(logits, target, weight, ignore_index=ignore_index)`. If every pixel is
        ignored it is 0, with gradients of 0, where `F.cross_entropy` gives nan.

    Raises:
        ValueError: shapes do not fit, or a counted class is not in 0..K-1.

    Source: Long, Shelhamer & Darrell 2015, section 4.3 ("per-pixel multinomial logistic loss"); lesson 03.
    """
    counted, classes = _check(logits, target, ignore_index)
    if weight is not None and weight.shape != logits.shape[1:2]:
        raise ValueError(f"weight is {tuple(weight.shape)}; expected ({logits.shape[1]},), one number for each class")
    log_probability = logits - logits.logsumexp(dim=1, keepdim=True)  # (B, K, H, W)
    of_truth = log_probability.gather(1, classes[:, None])[:, 0]  # (B, H, W)
    share = counted.to(logits.dtype)  # (B, H, W), 0 where ignored
    if weight is not None:
        share = share * weight.to(logits)[classes]  # (B, H, W)
    total = share.sum()
    return -(of_truth * share).sum() / torch.where(total > 0, total, 1)


def dice_loss(logits: Tensor, target: Tensor, ignore_index: int = 255, smooth: float = 1.0) -> Tensor:
    """One minus the soft Dice overlap, averaged over classes: each class counts the same, however few its pixels.

    For one class, with its softmax probability p and its truth g (0 or 1) at every pixel of the batch,

        dice = (2 Σ p·g + smooth) / (Σ p² + Σ g² + smooth).

    The mean is over the classes that the batch holds at least one counted pixel of. A class that is nowhere in the
    batch has no overlap to gain; probability wasted on it is missing from the classes that are there.

    Args:
        logits: (B, K, H, W) scores.
        target: (B, H, W) classes.
        smooth: keeps a class of very few pixels from swinging between 0 and 1. It is counted in pixels.

    Returns:
        One number, 0 for a perfect answer, near 1 for the worst. If every pixel is ignored it is 0, with gradients
        of 0.

    Raises:
        ValueError: shapes do not fit, a counted class is not in 0..K-1, or `smooth` is negative.

    Source: Milletari, Navab & Ahmadi 2016, "V-Net", section 3, for one foreground class; the squares are theirs, and
    many later versions leave them out. The mean over classes and `smooth` are common additions. Lesson 04.
    """
    counted, classes = _check(logits, target, ignore_index)
    if smooth < 0:
        raise ValueError(f"smooth is {smooth!r}; expected a number of at least 0")
    pixels = counted[:, None].to(logits.dtype)  # (B, 1, H, W), 0 where ignored
    probability = logits.softmax(dim=1) * pixels  # (B, K, H, W)
    truth = torch.zeros_like(logits).scatter(1, classes[:, None], pixels)  # (B, K, H, W), one-hot
    axes = [axis for axis in range(logits.ndim) if axis != 1]  # all but the classes
    overlap = (probability * truth).sum(axes)  # (K,)
    size = truth.sum(axes)  # (K,): Σ g² = Σ g
    dice = (2 * overlap + smooth) / (probability.square().sum(axes) + size + smooth).clamp(min=1e-12)
    present = (size > 0).to(logits.dtype)  # (K,)
    return ((1 - dice) * present).sum() / present.sum().clamp(min=1)


def _check(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Which pixels count, (B, H, W) bool, and the classes as int64 with 0 at those that do not."""
    if logits.ndim < 2 or not logits.is_floating_point():
        raise ValueError(f"logits is {tuple(logits.shape)} {logits.dtype}; expected floats (B, K, H, W)")
    if target.is_floating_point():
        raise ValueError(f"target is {target.dtype}; expected class numbers")
    expected = (logits.shape[0], *logits.shape[2:])
    if target.shape != expected:
        raise ValueError(f"target is {tuple(target.shape)}; expected {expected} for logits {tuple(logits.shape)}")
    counted = target != ignore_index
    classes = torch.where(counted, target, 0).long()
    if classes.numel() and not 0 <= classes.min() <= classes.max() < logits.shape[1]:
        raise ValueError(
            f"target holds {classes.min().item()}..{classes.max().item()}; expected classes "
            f"0..{logits.shape[1] - 1}, or {ignore_index} to ignore"
        )
    return counted, classes
