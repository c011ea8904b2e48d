"""The two losses of masks with their decisions open, and what exercises about masks share besides."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def in_single_precision(result: Any, *arguments: Any) -> Any:
    """What a learner returned, with float32 for float64, also in a tuple: who computed more exactly is right, too."""
    if isinstance(result, Tensor) and result.dtype == torch.float64:
        return result.float()
    return type(result)(map(in_single_precision, result)) if type(result) in (list, tuple) else result


def surprise(logits: Tensor, truth: Tensor) -> Tensor:
    """−log p_t of each pixel; `truth` is 0 or 1."""
    return F.softplus(torch.where(truth > 0, -logits, logits))


def p_true(logits: Tensor, truth: Tensor) -> Tensor:
    return torch.where(truth > 0, logits, -logits).sigmoid()


def alphas(truth: Tensor, alpha: float) -> Tensor:
    return alpha * truth + (1 - alpha) * (1 - truth)


def no_factor(logits: Tensor, truth: Tensor, gamma: float) -> Tensor:
    return torch.ones_like(logits)


def no_alpha(truth: Tensor, alpha: float) -> Tensor:
    return torch.ones_like(truth)


def focal(
    logits: Tensor,
    masks: Tensor,
    alpha: float = 0.25,
    gamma: float = 2.0,
    weigh: Callable[[Tensor, float], Tensor] = alphas,
    factor: Callable[[Tensor, Tensor, float], Tensor] = lambda x, truth, gamma: (1 - p_true(x, truth)) ** gamma,
    costs: Callable[[Tensor, Tensor], Tensor] = surprise,
    joined: Callable[[Tensor, Tensor], Tensor] = lambda each, truth: each.mean(dim=(-2, -1)),
) -> Tensor:
    """The focal loss of (..., H, W), by default (...).

    Args:
        logits, masks: they may be broadcast.
        weigh: from the truth, 0 or 1, and α to what each pixel weighs.
        factor: what turns easy pixels down.
        costs: the cross-entropy of each pixel.
        joined: from what each pixel costs, weighed, and the truth, to what is returned.
    """
    truth = masks.to(logits)
    return joined(weigh(truth, alpha) * factor(logits, truth, gamma) * costs(logits, truth), truth)


def dice(
    logits: Tensor,
    masks: Tensor,
    *settings: float,
    p: Callable[[Tensor], Tensor] = torch.sigmoid,
    twice: float = 2,
    ones: tuple[float, float] = (1, 1),
    size: Callable[[Tensor], Tensor] = lambda p: p,
    added: Callable[[Tensor], Tensor] = lambda each: each.sum(dim=(-2, -1)),
    shared: float = 0,
    told: Callable[[Tensor], Tensor] = lambda overlap: 1 - overlap,
) -> Tensor:
    """The dice loss of (..., H, W), by default (...).

    Args:
        logits, masks: they may be broadcast.
        settings: α and γ, unused.
        p: what stands for the probability.
        twice: the factor above the line; `ones`: what is added there, and below.
        size: what of p is added up below the line.
        added: how pixels are added up.
        shared: how often the overlap is taken away below the line.
        told: from the overlap to the loss.
    """
    share, truth = p(logits), masks.to(logits)
    both = added(share * truth)
    return told((twice * both + ones[0]) / (added(size(share)) + added(truth) - shared * both + ones[1]))
