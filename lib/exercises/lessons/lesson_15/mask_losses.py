"""Two losses of a mask: pixel by pixel, and its overlap as a whole."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torchvision
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, Probe, mistake
from lib.exercises.engine.inputs import random_uniform, random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.values import agrees, in_single_precision
from lib.exercises.lessons.lesson_15._of_masks import (
    OF_DICE,
    OF_FOCAL,
    Loss,
    alphas,
    dice,
    focal,
    p_true,
)
from lib.ops.mask_losses import dice_loss, focal_loss

Two = tuple[Tensor, Tensor]  # focal and dice, (M,) each
USUAL = (0.25, 2.0)  # α and γ


def mask_losses(logits: Tensor, masks: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Two:
    """The course's own, of `lib.ops.mask_losses`. As a learner's own, it takes one mask for many logits, too."""
    logits, masks = torch.broadcast_tensors(logits, masks)
    return focal_loss(logits, masks, alpha, gamma, "none"), dice_loss(logits, masks, "none")


def cases() -> list[Case]:
    named: dict[str, tuple[tuple[int, int, int], tuple[float, float], float]] = {  # M, H, W; α, γ; the share of True
        "2 masks of 2 × 3 pixels": ((2, 2, 3), USUAL, 0.4),
        "4 masks of 5 × 3 pixels, α = 0.6, γ = 1.5": ((4, 5, 3), (0.6, 1.5), 0.3),
        "one mask, α = 0.9, γ = 0.5": ((1, 4, 6), (0.9, 0.5), 0.5),
        "one pixel, γ = 0": ((3, 1, 1), (0.35, 0.0), 0.5),
        "no mask": ((0, 3, 4), USUAL, 0.5),
    }
    made = []
    for seed, (label, (shape, settings, share)) in enumerate(named.items()):
        masks = random_uniform(*shape, seed=seed + 20) < share
        made.append(case(label, 2 * random_values(*shape, seed=seed + 3), masks, *settings))
    masks = torch.zeros(3, 3, 4, dtype=torch.bool)
    masks[1], masks[2, 0, 0] = True, True
    made.append(case("an empty mask, a full one, and one of 1 pixel", random_values(3, 3, 4, seed=50), masks, *USUAL))
    sure = torch.tensor([200.0, -200, 30, -30]).repeat(3, 3, 1)
    return [*made, case("very sure: logits of ±200 and ±30", sure, masks, *USUAL)]


def case(label: str, logits: Tensor, masks: Tensor, *settings: float) -> Case:
    return Case.from_truth(label, (logits, masks, *settings), by_torchvision, gradients_of=("logits",))


def by_torchvision(logits: Tensor, masks: Tensor, alpha: float, gamma: float) -> Two:
    """The truth: torchvision's focal loss, the overlap mask after mask, in double precision."""
    each = torchvision.ops.sigmoid_focal_loss(logits.double(), masks.double(), alpha, gamma)
    dice = [
        1 - (2 * p[mask].sum() + 1) / (p.sum() + mask.sum() + 1) for p, mask in zip(logits.double().sigmoid(), masks)
    ]
    none = logits.sum(dim=(1, 2)).double()[:0]  # with a gradient, if there is no mask
    return each.mean(dim=(1, 2)).float(), torch.cat([none, *(one[None] for one in dice)]).float()


def pair(*given: Any, first: Loss = focal, second: Loss = dice) -> Two:
    return first(*given), second(*given)


GIVEN: list[tuple[str, str, Loss]] = [
    (
        "α = 0.25 whatever is given",
        "In your focal loss α is always 0.25. Use the one that is given.",
        lambda logits, masks, alpha, gamma: focal(logits, masks, 0.25, gamma),
    ),
    (
        "γ = 2 whatever is given",
        "In your focal loss γ is always 2. Use the one that is given.",
        lambda logits, masks, alpha, gamma: focal(logits, masks, alpha),
    ),
    (
        "α = 0.25 and γ = 2 whatever is given",
        "In your focal loss α is always 0.25, and γ always 2. Use those that are given.",
        lambda logits, masks, alpha, gamma: focal(logits, masks),
    ),
    (
        "α and γ exchanged",
        "In your focal loss α and γ are exchanged.",
        lambda logits, masks, alpha, gamma: focal(logits, masks, gamma, alpha),
    ),
]
FIRST = OF_FOCAL + GIVEN


def both_wrong(got: Two, expected: Two, case: Case, first: Loss, second: Loss) -> bool:
    return agrees(got[0], first(*case.arguments)) and agrees(got[1], second(*case.arguments))


def one_wrong(got: Two, expected: Two, case: Case, place: int, part: Loss) -> bool:
    return agrees(got[place], part(*case.arguments))


def very_sure(case: Case) -> bool:
    return case.label.startswith("very sure")


def not_finite(got: Two, expected: Two, case: Case, first: Loss = focal, second: Loss = dice) -> bool:
    near = not got[0].isfinite().all() if very_sure(case) else agrees(got[0], first(*case.arguments))
    return near and agrees(got[1], second(*case.arguments))


def cut_off(got: Two, expected: Two, case: Case) -> bool:
    return very_sure(case) and bool(got[0].isfinite().all()) and agrees(got[1], expected[1])


ONE_EACH = "The task asks for a number for each mask, (M,)"
INFINITE = (
    "at ±200 (or at 30) your focal loss is infinite or NaN: the logarithm of a sigmoid that is exactly 0, or the "
    "exponential of a large logit. Take logarithm and sigmoid in one step, from the logit: `F.logsigmoid`, or the "
    "cross-entropy that takes logits."
)


@mistake(
    "factor without gradient",
    "The numbers are right, but the factor (1 − p_t)^γ is cut off from the gradient (`detach`, `no_grad`). It depends "
    "on the logits, too.",
)
def factor_detached(*given: Any) -> Two:
    return pair(*given, first=partial(focal, factor=lambda x, truth, gamma: (1 - p_true(x.detach(), truth)) ** gamma))


def log_of_logits(logits: Tensor, masks: Tensor, alpha: float, gamma: float) -> Tensor:
    p_t = torch.where(masks, logits, 1 - logits)
    return (-alphas(masks.to(logits), alpha) * (1 - p_t) ** gamma * p_t.log()).mean(dim=(1, 2))


def mean_of(part: Loss) -> Loss:
    return lambda *given: part(*given).mean()


all_as_one = partial(dice, added=torch.sum)


def usual_numbers(function: Callable) -> bool:
    logits, masks = torch.tensor([[[-1.0, 2]]]), torch.tensor([[[True, False]]])
    return all(map(agrees, in_single_precision(function(logits, masks)), by_torchvision(logits, masks, *USUAL)))


EXERCISE = Exercise(
    name="mask_losses",
    reference=mask_losses,
    cases=cases,
    takes={"logits": Kind.LOGITS, "masks": Kind.MASK},
    gives=(Kind.NUMBERS, Kind.NUMBERS),
    observe=in_single_precision,
    mistakes=[
        *(Mistake(name, explanation, wrong=partial(pair, first=part)) for name, explanation, part in FIRST),
        *(Mistake(name, explanation, wrong=partial(pair, second=part)) for name, explanation, part in OF_DICE),
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
        Mistake(
            "divided by the number of masks",
            f"You divided both by the number of masks. {ONE_EACH}, as they are.",
            wrong=lambda *given: tuple(each / max(len(each), 1) for each in pair(*given)),
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
            for which, parts in (("first", FIRST), ("second", OF_DICE))
            for name, explanation, part in parts
        ),
        *(
            Mistake(f"{name}; {other}", f"{said} {more}", when=partial(both_wrong, first=first, second=second))
            for name, said, first in FIRST
            for other, more, second in OF_DICE
        ),
        *(
            Mistake(
                f"{name}; the other number is wrong, too",
                f"{explanation} (There is more to mend: the other of the two numbers is not right, either.)",
                when=partial(one_wrong, place=place, part=part),
            )
            for place, parts in enumerate((FIRST, OF_DICE))
            for name, explanation, part in parts
        ),
    ],
    probes=[
        Probe(
            "other usual numbers",
            "Right if α and γ are given. Without them, α is 0.25 and γ is 2: leave `alpha: float = 0.25` and "
            "`gamma: float = 2.0` in the first line as they are.",
            passes=usual_numbers,
        )
    ],
)
