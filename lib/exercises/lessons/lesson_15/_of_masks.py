"""The two losses of masks with their decisions open, and what exercises about masks share besides."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[..., Tensor]  # logits and masks (..., H, W), α, γ -> (...)


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


# What goes wrong in them: a name, words for the learner, and the loss as it comes out.

OF_FOCAL: list[tuple[str, str, Loss]] = [
    (
        "sum of the pixels",
        "Your focal loss of a mask is the sum over its pixels. The task asks for their mean.",
        partial(focal, joined=lambda each, truth: each.sum(dim=(-2, -1))),
    ),
    (
        "mean over the pixels inside",
        "You divided the focal loss by the number of pixels inside the mask. Divide by the number of *all* pixels.",
        partial(focal, joined=lambda each, truth: each.sum(dim=(-2, -1)) / truth.sum(dim=(-2, -1)).clamp(min=1)),
    ),
    (
        "α on the wrong side",
        "In your focal loss 1 − α weighs the pixels inside the mask, and α the others. It is the other way round.",
        partial(focal, weigh=lambda truth, alpha: alphas(truth, 1 - alpha)),
    ),
    (
        "α on both sides",
        "Your focal loss weighs every pixel with α. Outside the mask the weight is 1 − α.",
        partial(focal, weigh=torch.full_like),
    ),
    (
        "α on one side only",
        "Your focal loss weighs the pixels inside with α, and the others with 1. Outside the weight is 1 − α.",
        partial(focal, weigh=lambda truth, alpha: alpha * truth + 1 - truth),
    ),
    ("α forgotten", "α is missing in your focal loss: every pixel weighs 1.", partial(focal, weigh=no_alpha)),
    (
        "not turned down",
        "Your focal loss is a cross-entropy with α. The factor (1 − p_t)^γ is missing, or always 1.",
        partial(focal, factor=no_factor),
    ),
    (
        "plain cross-entropy",
        "Your focal loss is the plain cross-entropy: α and the factor (1 − p_t)^γ are missing.",
        partial(focal, weigh=no_alpha, factor=no_factor),
    ),
    (
        "1 − p for all pixels",
        "The factor in your focal loss is made of 1 − p for all pixels. Outside the mask p_t is 1 − p.",
        partial(focal, factor=lambda x, truth, gamma: (1 - x.sigmoid()) ** gamma),
    ),
    (
        "turned down where it is wrong",
        "The factor in your focal loss is p_t^γ: near 1 for easy pixels. It should be near 0 for them.",
        partial(focal, factor=lambda x, truth, gamma: p_true(x, truth) ** gamma),
    ),
    (
        "γ as a factor",
        "In your focal loss γ is a factor. It is an exponent.",
        partial(focal, factor=lambda x, truth, gamma: gamma * (1 - p_true(x, truth))),
    ),
    (
        "inside alone",
        "In your focal loss the pixels outside the mask cost nothing. There p_t is 1 − p.",
        partial(focal, costs=lambda x, truth: surprise(x, truth) * truth),
    ),
    (
        "log p for all pixels",
        "In your focal loss the logarithm is that of p for all pixels. Outside the mask p_t is 1 − p.",
        partial(focal, costs=lambda x, truth: F.softplus(-x)),
    ),
    (
        "sigmoid twice",
        "For the focal loss you gave probabilities to a function that takes logits, and makes the sigmoid itself.",
        partial(focal, costs=lambda x, truth: surprise(x.sigmoid(), truth)),
    ),
    (
        "one cross-entropy for all pixels",
        "In your focal loss one number stands for the cross-entropies of all pixels: their mean, which "
        "`F.binary_cross_entropy_with_logits` gives if it is not told otherwise.",
        partial(
            focal,
            costs=lambda x, truth: surprise(x, truth).mean(),
            factor=lambda x, truth, gamma: (1 - torch.exp(-surprise(x, truth).mean())) ** gamma,
        ),
    ),
]

OF_DICE: list[tuple[str, str, Loss]] = [
    ("1 − left out", "Your dice loss is the overlap itself. A perfect mask should cost 0.", partial(dice, told=abs)),
    (
        "2 left out",
        "In your dice loss the factor 2 is missing. Pixels that both have count twice below the line, and so above.",
        partial(dice, twice=1),
    ),
    ("ones left out", "In your dice loss the ones are missing, above and below.", partial(dice, ones=(0, 0))),
    ("1 left out above", "In your dice loss the 1 above the line is missing.", partial(dice, ones=(0, 1))),
    ("1 left out below", "In your dice loss the 1 below the line is missing.", partial(dice, ones=(1, 0))),
    ("2 for the ones", "In your dice loss you add 2 above the line. The 1 is not doubled.", partial(dice, ones=(2, 1))),
    (
        "squares",
        "In your dice loss the probabilities below the line are squared, as in lesson 04. Here they are not.",
        partial(dice, size=torch.square),
    ),
    (
        "means in the overlap",
        "In your dice loss you took means over the pixels. With them a 1 is much too large: take sums.",
        partial(dice, added=lambda each: each.mean(dim=(-2, -1))),
    ),
    (
        "logits in the overlap",
        "Your dice loss is made of logits. It wants probabilities: the sigmoid comes first.",
        partial(dice, p=lambda logits: logits),
    ),
    (
        "yes or no in the overlap",
        "Your dice loss is made of yes or no: a pixel at 0.51 counts like one at 0.99. Take the probabilities.",
        partial(dice, p=lambda logits: (logits > 0).float()),
    ),
    (
        "IoU",
        "Your dice loss is made of the IoU, overlap over union. Dice has twice the overlap over both sizes.",
        partial(dice, twice=1, shared=1),
    ),
]
