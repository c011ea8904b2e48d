"""Two losses of a mask: pixel by pixel, and its overlap as a whole."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import random_uniform, random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_15._of_masks import (
    alphas,
    dice,
    focal,
    in_single_precision,
    no_alpha,
    no_factor,
    p_true,
    surprise,
)
from lib.ops.mask_losses import dice_loss, focal_loss

Two = tuple[Tensor, Tensor]  # focal and dice, (M,) each
Part = Callable[..., Tensor]  # logits, masks, alpha, gamma -> (M,)


def mask_losses(logits: Tensor, masks: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Two:
    """The course's own, of `lib.ops.mask_losses`. As a learner's own, it takes one mask for many logits, too."""
    logits, masks = torch.broadcast_tensors(logits, masks)
    return focal_loss(logits, masks, alpha, gamma, "none"), dice_loss(logits, masks, "none")


def cases() -> list[Case]:
    named: dict[str, tuple[tuple[int, int, int], tuple[float, ...], float]] = {  # M, H, W; α, γ; the share of True
        "2 masks of 2 × 3 pixels": ((2, 2, 3), (), 0.4),
        "4 masks of 5 × 3 pixels, α = 0.6, γ = 1.5": ((4, 5, 3), (0.6, 1.5), 0.3),
        "one mask, α = 0.9, γ = 0.5": ((1, 4, 6), (0.9, 0.5), 0.5),
        "one pixel, γ = 0": ((3, 1, 1), (0.35, 0.0), 0.5),
        "no mask": ((0, 3, 4), (), 0.5),
    }
    made = []
    for seed, (label, (shape, settings, share)) in enumerate(named.items()):
        masks = random_uniform(*shape, seed=seed + 20) < share
        made.append(case(label, 2 * random_values(*shape, seed=seed + 3), masks, *settings))
    masks = torch.zeros(3, 3, 4, dtype=torch.bool)
    masks[1], masks[2, 0, 0] = True, True
    made.append(case("an empty mask, a full one, and one of 1 pixel", random_values(3, 3, 4, seed=50), masks))
    sure = torch.tensor([200.0, -200, 30, -30]).repeat(3, 3, 1)
    return [*made, case("very sure: logits of ±200 and ±30", sure, masks)]


def case(label: str, logits: Tensor, masks: Tensor, *settings: float) -> Case:
    return Case.from_truth(label, (logits, masks, *settings), by_torchvision, gradients_of=("logits",))


def by_torchvision(logits: Tensor, masks: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Two:
    """The truth: torchvision's focal loss, the overlap mask after mask, in double precision."""
    each = torchvision.ops.sigmoid_focal_loss(logits.double(), masks.double(), alpha, gamma)
    dice = [
        1 - (2 * p[mask].sum() + 1) / (p.sum() + mask.sum() + 1) for p, mask in zip(logits.double().sigmoid(), masks)
    ]
    none = logits.sum(dim=(1, 2)).double()[:0]  # with a gradient, if there is no mask
    return each.mean(dim=(1, 2)).float(), torch.cat([none, *(one[None] for one in dice)]).float()


def pair(*given: Any, first: Part = focal, second: Part = dice) -> Two:
    return first(*given), second(*given)


FIRST: list[tuple[str, str, Part]] = [
    (
        "sum of the pixels",
        "Your focal loss of a mask is the sum over its pixels. The task asks for their mean.",
        partial(focal, joined=lambda each, truth: each.sum(dim=(1, 2))),
    ),
    (
        "mean over the pixels inside",
        "You divided the focal loss by the number of pixels inside the mask. Divide by the number of *all* pixels.",
        partial(focal, joined=lambda each, truth: each.sum(dim=(1, 2)) / truth.sum(dim=(1, 2)).clamp(min=1)),
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
        "Your first number is the plain cross-entropy: α and the factor (1 − p_t)^γ are missing.",
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
        "α = 0.25 whatever is given",
        "In your focal loss α is always 0.25. Use the one that is given.",
        lambda logits, masks, alpha=0.25, gamma=2.0: focal(logits, masks, 0.25, gamma),
    ),
    (
        "γ = 2 whatever is given",
        "In your focal loss γ is always 2. Use the one that is given.",
        lambda logits, masks, alpha=0.25, gamma=2.0: focal(logits, masks, alpha),
    ),
    (
        "α = 0.25 and γ = 2 whatever is given",
        "In your focal loss α is always 0.25, and γ always 2. Use those that are given.",
        lambda logits, masks, alpha=0.25, gamma=2.0: focal(logits, masks),
    ),
    (
        "α and γ exchanged",
        "In your focal loss α and γ are exchanged.",
        lambda logits, masks, alpha=0.25, gamma=2.0: focal(logits, masks, gamma, alpha),
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

SECOND: list[tuple[str, str, Part]] = [
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
        partial(dice, added=lambda each: each.mean(dim=(1, 2))),
    ),
    (
        "logits in the overlap",
        "Your dice loss is made of logits. It wants probabilities: the sigmoid comes first.",
        partial(dice, p=lambda logits: logits),
    ),
    (
        "yes or no in the overlap",
        "Your dice loss is made of yes or no. No gradient comes through that: take the probabilities.",
        partial(dice, p=lambda logits: (logits > 0).float()),
    ),
    (
        "IoU",
        "Your second number is made of the IoU, overlap over union. Dice has twice the overlap over both sizes.",
        partial(dice, twice=1, shared=1),
    ),
]


def agrees(got: Tensor, expected: Tensor) -> bool:
    return torch.allclose(got, expected, rtol=1e-3, atol=1e-5, equal_nan=True)


def both_wrong(got: Two, expected: Two, case: Case, first: Part, second: Part) -> bool:
    return agrees(got[0], first(*case.arguments)) and agrees(got[1], second(*case.arguments))


def very_sure(case: Case) -> bool:
    return case.label.startswith("very sure")


def not_finite(got: Two, expected: Two, case: Case, first: Part = focal, second: Part = dice) -> bool:
    near = not got[0].isfinite().all() if very_sure(case) else agrees(got[0], first(*case.arguments))
    return near and agrees(got[1], second(*case.arguments))


def cut_off(got: Two, expected: Two, case: Case) -> bool:
    return very_sure(case) and bool(got[0].isfinite().all()) and agrees(got[1], expected[1])


ONE_EACH = "The task asks for a number for each mask, (M,)"
INFINITE = (
    "at ±200 (or at 30) the sigmoid is exactly 0 or 1, and the logarithm of 0 is infinite. Take both in one step, from "
    "the logit: `F.logsigmoid`, or the cross-entropy that takes logits."
)


@mistake(
    "factor without gradient",
    "The numbers are right, but the factor (1 − p_t)^γ is cut off from the gradient (`detach`, `no_grad`). It depends "
    "on the logits, too.",
)
def factor_detached(logits: Tensor, masks: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Two:
    return pair(
        logits,
        masks,
        alpha,
        gamma,
        first=partial(focal, factor=lambda x, truth, gamma: (1 - p_true(x.detach(), truth)) ** gamma),
    )


def log_of_logits(logits: Tensor, masks: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    p_t = torch.where(masks, logits, 1 - logits)
    return (-alphas(masks.to(logits), alpha) * (1 - p_t) ** gamma * p_t.log()).mean(dim=(1, 2))


def mean_of(part: Part) -> Part:
    return lambda *given: part(*given).mean()


all_as_one = partial(dice, added=torch.sum)

EXERCISE = Exercise(
    name="mask_losses",
    reference=mask_losses,
    cases=cases,
    takes={"logits": Kind.LOGITS, "masks": Kind.MASK},
    gives=(Kind.NUMBERS, Kind.NUMBERS),
    observe=in_single_precision,
    mistakes=[
        *(Mistake(name, explanation, wrong=partial(pair, first=part)) for name, explanation, part in FIRST),
        *(Mistake(name, explanation, wrong=partial(pair, second=part)) for name, explanation, part in SECOND),
        Mistake(
            "no sigmoid",
            "You take the logits for probabilities, in both losses. The logarithm of a negative one is NaN. The "
            "sigmoid comes first.",
            wrong=partial(pair, first=log_of_logits, second=partial(dice, p=lambda logits: logits)),
        ),
        Mistake(
            "logarithm of the logit",
            "In your focal loss the logits stand for probabilities. The logarithm of a negative one is NaN. The "
            "sigmoid comes first.",
            wrong=partial(pair, first=log_of_logits),
        ),
        Mistake(
            "one number for all masks, twice",
            f"You took the mean over the masks, too. {ONE_EACH}, twice.",
            wrong=partial(pair, first=mean_of(focal), second=mean_of(dice)),
        ),
        Mistake(
            "all masks as one, twice",
            f"You took the pixels of all masks together. {ONE_EACH}, twice.",
            wrong=partial(pair, first=mean_of(focal), second=all_as_one),
        ),
        Mistake(
            "one focal loss for all masks",
            f"Your focal loss is the mean over all masks. {ONE_EACH}.",
            wrong=partial(pair, first=mean_of(focal)),
        ),
        Mistake(
            "one dice loss for all masks",
            f"Your dice loss is the mean over all masks. {ONE_EACH}.",
            wrong=partial(pair, second=mean_of(dice)),
        ),
        Mistake(
            "all masks as one",
            f"Your dice loss is the overlap of all masks together. {ONE_EACH}.",
            wrong=partial(pair, second=all_as_one),
        ),
        Mistake(
            "every pixel's focal loss",
            f"You return the focal loss of each pixel. {ONE_EACH}: the mean over its pixels.",
            wrong=partial(pair, first=partial(focal, joined=lambda each, truth: each)),
        ),
        factor_detached,
        Mistake("infinite or NaN for sure pixels", f"Right for small logits. But {INFINITE}", when=not_finite),
        Mistake(
            "cut off for sure pixels",
            "Right for small logits. For ±200 (or 30) the focal loss is another number. Is a probability clamped, or "
            "a small number added? (`F.binary_cross_entropy` cuts off at 100.) The logarithm of the sigmoid can be "
            "taken in one step, from the logit.",
            when=cut_off,
        ),
        *(
            Mistake(
                f"{name}; and infinite or NaN",
                f"Two things at once. {explanation} And {INFINITE}",
                when=partial(not_finite, **{which: part}),
            )
            for which, parts in (("first", FIRST), ("second", SECOND))
            for name, explanation, part in parts
        ),
        *(
            Mistake(f"{name}; {other}", f"{said} {more}", when=partial(both_wrong, first=first, second=second))
            for name, said, first in FIRST
            for other, more, second in SECOND
        ),
    ],
)
