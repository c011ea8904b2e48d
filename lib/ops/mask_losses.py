"""Losses of masks, each mask for itself, and what it would cost to give a true mask to a query (lesson 15).

Here a pixel is not asked which class it has, but of each mask whether it belongs to it: one logit for a pixel and mask.
So masks may overlap, and there may be any number of them. Logits are (M, P) or (M, H, W): M masks, P = H · W pixels.

Source: Cheng, Schwing & Kirillov 2021, "Per-Pixel Classification is Not All You Need for Semantic Segmentation",
section 4.1, where the focal loss weighs 20 and the dice loss 1; that paper's code for the details.
"""

import torch
from torch import Tensor

from lib.ops.losses import sigmoid_focal_loss

REDUCTIONS = ("none", "sum", "mean")


def dice_loss(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """One minus the soft overlap of a mask and its truth. With p the probability of a pixel and g its truth,

        loss = 1 - (2 Σ p·g + 1) / (Σ p + Σ g + 1).

    It does not matter how much background there is, so a small mask counts as much as a large one. The ones keep it
    defined where a true mask has no pixel; its loss falls to 0 as the probabilities do. `lib.ops.losses.dice_loss` is
    another: of classes, by softmax, and with squares in the denominator.

    Args:
        logits: (M, P) or (M, H, W).
        targets: the same shape, 0 or 1 (or bool).
        reduction: "none": (M,). "sum": of the masks. "mean": that divided by M, as MaskFormer does; 0 if M is 0. There
            M counts the true masks of the whole batch.

    Returns:
        One number, or (M,); each from 0 (perfect) to almost 1.

    Raises:
        ValueError: shapes differ, a target is neither 0 nor 1, or the reduction is another word.
    """
    x, truth = _flat(logits, targets)
    p = x.sigmoid()  # (M, P)
    return _reduced(1 - (2 * (p * truth).sum(1) + 1) / (p.sum(1) + truth.sum(1) + 1), reduction)


def focal_loss(
    logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "mean"
) -> Tensor:
    """The sigmoid focal loss of each mask: the mean over its pixels.

    Args:
        logits, targets, reduction: see `dice_loss`.
        alpha, gamma: see `lib.ops.losses.sigmoid_focal_loss`.

    Returns:
        One number, or (M,).

    Raises:
        ValueError: as for `dice_loss` and `sigmoid_focal_loss`.
    """
    x, truth = _flat(logits, targets)
    return _reduced(sigmoid_focal_loss(x, truth, alpha, gamma).mean(1), reduction)


def pairwise_dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """`dice_loss` of each query with each true mask: the overlaps of all pairs are one product of matrices.

    Args:
        logits: (Q, P) or (Q, H, W).
        targets: (n, P) or (n, H, W), 0 or 1 (or bool); n may be 0.

    Returns:
        (Q, n).

    Raises:
        ValueError: shapes do not fit, or a target is neither 0 nor 1.
    """
    x, truth = _flat(logits, targets, pairwise=True)
    p = x.sigmoid()  # (Q, P)
    return 1 - (2 * p @ truth.T + 1) / (p.sum(1)[:, None] + truth.sum(1) + 1)


def pairwise_focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """`focal_loss` of each query with each true mask.

    A pixel costs one thing if the truth there is 1 and another if it is 0, whichever mask it is. Both are computed
    once for each query, and a product of matrices adds up the right ones.

    Args:
        logits, targets: see `pairwise_dice_loss`.
        alpha, gamma: see `lib.ops.losses.sigmoid_focal_loss`.

    Returns:
        (Q, n).

    Raises:
        ValueError: as for `pairwise_dice_loss` and `sigmoid_focal_loss`.
    """
    x, truth = _flat(logits, targets, pairwise=True)
    if_inside = sigmoid_focal_loss(x, torch.ones_like(x), alpha, gamma)  # (Q, P)
    if_outside = sigmoid_focal_loss(x, torch.zeros_like(x), alpha, gamma)  # (Q, P)
    return (if_inside @ truth.T + if_outside @ (1 - truth).T) / x.shape[1]


def _flat(logits: Tensor, targets: Tensor, pairwise: bool = False) -> tuple[Tensor, Tensor]:
    """Both as floats (M, P); for pairs (Q, P) and (n, P)."""
    if logits.ndim not in (2, 3) or 0 in logits.shape[1:] or not logits.is_floating_point():
        raise ValueError(f"logits is {tuple(logits.shape)} {logits.dtype}; expected floats (M, P) or (M, H, W)")
    expected = (len(targets), *logits.shape[1:]) if pairwise and targets.ndim else tuple(logits.shape)
    if targets.shape != expected:
        raise ValueError(f"targets is {tuple(targets.shape)}; expected {expected} for logits {tuple(logits.shape)}")
    if not ((targets == 0) | (targets == 1)).all():
        raise ValueError("targets has numbers other than 0 and 1; expected masks of yes and no")
    return logits.flatten(1), targets.to(logits).flatten(1)


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    """Of M masks, (M,): all, their sum, or their mean, which is 0 for no mask."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}; expected one of {REDUCTIONS}")
    return loss if reduction == "none" else loss.sum() / (max(len(loss), 1) if reduction == "mean" else 1)
