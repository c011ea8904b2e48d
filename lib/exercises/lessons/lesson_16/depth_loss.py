"""How wrong the depth of each mask is, in logarithms, with a discount for what all its pixels have in common."""

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, Probe, mistake
from lib.exercises.engine.inputs import random_uniform, random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.values import agrees, in_single_precision
from lib.ops.depth import scale_invariant_log_loss


def depth_loss(depths: Tensor, true: Tensor, valid: Tensor, discount: float) -> Tensor:
    """The course's own, `lib.ops.depth.scale_invariant_log_loss`."""
    return scale_invariant_log_loss(depths, true, valid, discount)


def cases() -> list[Case]:
    named: dict[str, tuple[tuple[int, int, int], float, list[float]]] = {  # M, H, W; discount; valid shares
        "3 masks of 4 × 5 pixels": ((3, 4, 5), 0.85, [0.3, 0.6, 0.9]),
        "4 masks of 2 × 3 pixels, two of them without a valid pixel": ((4, 2, 3), 0.6, [0.5, 0, 0.7, 0]),
        "one mask, all valid, discount 0": ((1, 3, 7), 0.0, [1]),
        "masks of one pixel, one of them not valid": ((3, 1, 1), 0.7, [1, 0, 1]),
        "no valid pixel": ((2, 3, 4), 0.5, [0, 0]),
        "no mask": ((0, 3, 4), 0.5, []),
    }
    made = []
    for seed, (label, (shape, discount, shares)) in enumerate(named.items()):
        true = 1 + 20 * random_uniform(*shape, seed=seed)
        depths = true * torch.exp(0.4 + 0.5 * random_values(*shape, seed=seed + 20))
        valid = random_uniform(*shape, seed=seed + 40) < torch.tensor(shares).reshape(-1, 1, 1)
        odd = torch.tensor([math.inf, 0.0, math.nan]).repeat(true.numel())[: true.numel()].view(shape)
        made.append(case(label, depths, torch.where(valid, true, odd), valid, discount))
    true = 2 + random_uniform(2, 2, 4, seed=60)
    twice = case("everything twice too far, discount 1", 2 * true, true, true > 2.3, 1.0)
    return [worked_by_hand(), *made, twice]


def worked_by_hand() -> Case:
    """In units of log 2, d is 3 and 1 in one mask, −3, −2 and −1 in the other; the other pixels do not count."""
    true = torch.tensor([[[2.0, 4, 5], [3, 7, 9]], [[8, 6, 16], [4, 5, 20]]])
    depths = torch.tensor([[[16.0, 8, 6], [4, 5, 1]], [[1, 9, 4], [2, 8, 3]]])
    valid = torch.tensor([[[True, True, False], [False] * 3], [[True, False, True], [True, False, False]]])
    by_hand = case("2 masks of 2 × 3 pixels, of which 2 and 3 are valid: by hand", depths, true, valid, 0.8)
    of_masks = 5 - 0.8 * 2**2, 14 / 3 - 0.8 * 2**2
    torch.testing.assert_close(by_hand.expected.item(), sum(of_masks) / 2 * math.log(2) ** 2, rtol=1e-6, atol=0)
    return by_hand


def case(label: str, *arguments: Any) -> Case:
    return Case.from_truth(label, arguments, pair_by_pair, gradients_of=("depths",))


def pair_by_pair(depths: Tensor, true: Tensor, valid: Tensor, discount: float) -> Tensor:
    """The truth, in double precision: the variance from all pairs of pixels, and the rest of the mean."""
    losses = []
    for said, real, counts in zip(depths.double(), true.double(), valid, strict=True):
        if counts.any():
            d = (said[counts] / real[counts]).log()  # (n,)
            losses.append((d[:, None] - d).square().mean() / 2 + (1 - discount) * d.mean().square())
    return (sum(losses) / len(losses) if losses else depths.sum() * 0).float()


Difference = Callable[[Tensor, Tensor], Tensor]  # two depths at the n valid pixels -> d (n,)
Joined = Callable[[Tensor, float, int], Tensor]  # d (n,), discount, H · W -> ()
Masks = Callable[[list[Tensor], int, Callable[[Tensor, int], Tensor]], Tensor]  # each mask's d, M, its loss -> ()


def of_logs(a: Tensor, b: Tensor) -> Tensor:
    return a.log() - b.log()


def discounted(d: Tensor, discount: float, pixels: int) -> Tensor:
    return d.square().mean() - discount * d.mean().square()


def mask_by_mask(d: list[Tensor], masks: int, loss: Callable[[Tensor, int], Tensor]) -> Tensor:
    return torch.stack([loss(each, 1) for each in d]).mean()


def made(
    depths: Tensor,
    true: Tensor,
    valid: Tensor,
    discount: float,
    difference: Difference = of_logs,
    joined: Joined = discounted,
    masks: Masks = mask_by_mask,
) -> Tensor:
    """`depth_loss` with its decisions open."""
    d = [difference(a[v], b[v]) for a, b, v in zip(depths, true, valid, strict=True) if v.any()]
    if not d:
        return depths.sum() * 0
    return masks(d, len(valid), lambda each, count: joined(each, discount, count * valid[0].numel()))


LOGS = "d is the difference of the *logarithms*, so that a factor of 2 is as wrong at 4 m as at 40 m"
NOT_ALL = "Divide by the number of *valid* pixels of the mask."
EACH_MASK = "Each mask has a loss of its own, with its own n; the mean is that of these losses."

DIFFERENCES: list[tuple[str, str, Difference]] = [
    ("metres", f"Your d is a difference of metres. {LOGS}.", torch.sub),
    ("relative error", f"You divided the difference of metres by the true depth. {LOGS}.", lambda a, b: (a - b) / b),
    ("1 / depth", f"Your d is a difference of 1 / depth. {LOGS}.", lambda a, b: 1 / a - 1 / b),
    (
        "1 added",
        "You added 1 before the logarithm. Valid depths are above 0: none is needed.",
        lambda a, b: a.log1p() - b.log1p(),
    ),
    ("base 10", "Your logarithms are to base 10. `log` is the natural one.", lambda a, b: (a / b).log10()),
    ("base 2", "Your logarithms are to base 2. `log` is the natural one.", lambda a, b: (a / b).log2()),
]

LOSSES: list[tuple[str, str, Joined]] = [
    (
        "no discount",
        "Your loss of a mask is the mean of d². The discount is missing.",
        lambda d, k, n: d.square().mean(),
    ),
    (
        "discount 1",
        "Your loss of a mask is the variance of d: the whole (mean of d)² is taken away, whatever `discount` is.",
        lambda d, k, n: discounted(d, 1.0, n),
    ),
    (
        "mean of d² twice",
        "What you discount is the mean of d², too. It is the square of the mean of d: first the mean, then the square.",
        lambda d, k, n: (1 - k) * d.square().mean(),
    ),
    (
        "mean not squared",
        "What you discount is the mean of d. It should be its square.",
        lambda d, k, n: d.square().mean() - k * d.mean(),
    ),
    (
        "discount on the mean of d²",
        "You multiplied the mean of d² by the discount. It belongs to the other part, (mean of d)².",
        lambda d, k, n: k * d.square().mean() - d.mean().square(),
    ),
    ("added", "You added the discounted part. It is taken away.", lambda d, k, n: discounted(d, -k, n)),
    (
        "discount squared",
        "The discount stands inside your square. Only the mean of d is squared.",
        lambda d, k, n: discounted(d, k * k, n),
    ),
    (
        "discount of 1/2",
        "You take away half of (mean of d)², whatever `discount` is.",
        lambda d, k, n: discounted(d, 0.5, n),
    ),
    ("1 − discount", "You take away 1 − discount of (mean of d)².", lambda d, k, n: discounted(d, 1 - k, n)),
    (
        "variance with n − 1, and no discount",
        "Your loss of a mask is `var` of d: all of (mean of d)² goes, whatever `discount` is, and it divides by "
        "n − 1 if it is not told otherwise.",
        lambda d, k, n: d.var(),
    ),
    (
        "n − 1",
        "Your variance divides by n − 1, as `var` does if it is not told otherwise. The means here divide by n.",
        lambda d, k, n: d.var() + (1 - k) * d.mean().square(),
    ),
    (
        "root of each mask's loss",
        "You took the root of each mask's loss. The task asks for the loss itself: a root's slope is infinite at 0.",
        lambda d, k, n: discounted(d, k, n).clamp(min=0).sqrt(),
    ),
    (
        "absolute differences",
        "You took the mean of |d| where the mean of d² is asked for.",
        lambda d, k, n: d.abs().mean() - k * d.mean().square(),
    ),
    (
        "|d| alone",
        "Your loss of a mask is the mean of |d|. Squares are asked for, and a discount.",
        lambda d, k, n: d.abs().mean(),
    ),
    (
        "sums",
        "You took sums over the pixels, twice. The task asks for means.",
        lambda d, k, n: d.square().sum() - k * d.sum().square(),
    ),
    (
        "divided by n once",
        "You divided the square of the sum of d by n. The mean is squared: by n².",
        lambda d, k, n: d.square().mean() - k * d.sum().square() / len(d),
    ),
    (
        "each mask times n",
        f"Your loss of a mask is n times as large. {NOT_ALL}",
        lambda d, k, n: len(d) * discounted(d, k, n),
    ),
    (
        "all pixels counted",
        f"You divided by H · W: pixels that are not valid count as right. {NOT_ALL}",
        lambda d, k, n: d.square().sum() / n - k * (d.sum() / n).square(),
    ),
]

MASKS: list[tuple[str, str, Masks]] = [
    (
        "all masks as one",
        f"You took the pixels of all masks together, so that large masks count more. {EACH_MASK}",
        lambda d, count, loss: loss(torch.cat(d), count),
    ),
    (
        "sum over masks",
        "You added up the losses of the masks. The task asks for their mean.",
        lambda d, count, loss: sum((loss(each, 1) for each in d), torch.zeros(())),
    ),
    (
        "masks without a valid pixel counted",
        "You divided by M. Masks without a valid pixel count as right then; leave them out of the mean.",
        lambda d, count, loss: sum((loss(each, 1) for each in d), torch.zeros(())) / count,
    ),
]

Decisions = dict[str, Any]  # some of `made`
SINGLE: list[list[tuple[str, str, Decisions]]] = [
    [(name, said, {"difference": how}) for name, said, how in DIFFERENCES],
    [(name, said, {"joined": how}) for name, said, how in LOSSES],
    [(name, said, {"masks": how}) for name, said, how in MASKS],
]
PAIRS = [
    (f"{name}; {other}", f"Two things at once. {said} {more}", one | two)
    for first, second in itertools.combinations(SINGLE, 2)
    for (name, said, one), (other, more, two) in itertools.product(first, second)
]
NAMED = [
    *itertools.chain(*SINGLE),
    (
        "squared error in metres",
        f"Your loss is the mean squared error in metres, over all valid pixels. {LOGS}; there is a discount; and each "
        "mask has a loss of its own.",
        {"difference": torch.sub, "joined": LOSSES[0][2], "masks": MASKS[0][2]},
    ),
]
NOTHING = "no pixel is valid, or there is no mask"


def like_made(got: Tensor, expected: Tensor, case: Case, decisions: Decisions) -> bool:
    """Whether it is what these decisions give. Where nothing counts, anything will do."""
    return not case.arguments[2].any() or agrees(got, made(*case.arguments, **decisions))


def nothing_is_nan(got: Tensor, expected: Tensor, case: Case) -> bool:
    return not case.arguments[2].any() and bool(got.isnan())


def empty_is_nan(got: Tensor, expected: Tensor, case: Case) -> bool:
    valid = case.arguments[2]  # (M, H, W)
    return bool(got.isnan()) and not (len(valid) and valid.flatten(1).any(dim=1).all())


def not_left_out(got: Tensor, expected: Tensor, case: Case) -> bool:
    """Whether it is no number where `true` holds something odd, which no case does whose pixels are all ordinary."""
    true, valid = case.arguments[1:3]
    ordinary = bool((true.isfinite() & (true > 0)).all())
    return not bool(got.isfinite()) and (not ordinary or not valid.any())


@mistake(
    "NaN in the gradient",
    "The loss is right, but its gradient is NaN at pixels that are not valid. `torch.where` hides what was calculated "
    "there, but in the backward pass it comes back, as 0 times infinity or NaN. Choose the valid pixels *before* you "
    "calculate.",
)
def hidden_quotient(depths: Tensor, true: Tensor, valid: Tensor, discount: float) -> Tensor:
    d = torch.where(valid, (depths / true).log(), 0)  # (M, H, W)
    return made(d, torch.zeros_like(d), valid, discount, torch.sub)


def zero_has_a_gradient(function: Callable) -> bool:
    """Whether `backward` accepts the zero of no valid pixel and that of no mask."""
    for masks in (2, 0):
        depths = torch.ones(masks, 2, 3, requires_grad=True)
        function(
            depths, torch.full((masks, 2, 3), math.inf), torch.zeros(masks, 2, 3, dtype=torch.bool), 0.5
        ).backward()
    return True


EXERCISE = Exercise(
    name="depth_loss",
    reference=depth_loss,
    cases=cases,
    takes={"depths": Kind.MAP, "true": Kind.MAP, "valid": Kind.MASK},
    gives=Kind.LOSS,
    observe=in_single_precision,
    mistakes=[
        *(Mistake(name, said, wrong=partial(made, **how)) for name, said, how in NAMED),
        Mistake("NaN for nothing", f"Right but where {NOTHING}. There the loss is 0, not NaN.", when=nothing_is_nan),
        Mistake(
            "NaN for a mask without a valid pixel",
            "Right where every mask has a valid pixel. A mask without one has no mean: 0 / 0 is NaN. Leave it out. "
            "(And without any mask, the loss is 0.)",
            when=empty_is_nan,
        ),
        Mistake(
            "NaN from pixels that are not valid",
            "Where `true` is 0, infinite or NaN at a pixel that is not valid, your loss is no number: infinity or NaN "
            "times 0 is NaN. Choose the valid pixels *before* you calculate.",
            when=not_left_out,
        ),
        hidden_quotient,
        *(
            Mistake(
                f"{name}; not 0 for nothing",
                f"{said} (And where {NOTHING}, 0 is asked for.)",
                when=partial(like_made, decisions=how),
            )
            for name, said, how in NAMED
        ),
        *(Mistake(name, said, when=partial(like_made, decisions=how)) for name, said, how in PAIRS),
    ],
    probes=[
        Probe(
            "a zero without gradient",
            f"Right, but where {NOTHING}, `backward` stumbles over your 0: it does not depend on `depths`. A sum over "
            "no pixel of `depths` is 0, and does.",
            passes=zero_has_a_gradient,
        )
    ],
)
