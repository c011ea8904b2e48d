"""What it costs to give a true mask to a query."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torchvision
from scipy.special import softmax
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
    surprise,
)
from lib.models.maskformer import MaskFormerMatcher

Pairs = Callable[[Tensor, Tensor], Tensor]  # mask_logits (Q, H, W), masks (n, H, W) -> (Q, n)


def mask_cost(class_logits: Tensor, mask_logits: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
    """The course's own, `lib.models.maskformer.MaskFormerMatcher.cost` with its usual weights."""
    return MaskFormerMatcher().cost(class_logits, mask_logits, labels, masks)


def cases() -> list[Case]:
    named = {  # Q, K, the labels, H, W
        "3 queries, 2 true masks, 4 classes": (3, 4, [2, 0], 2, 5),
        "7 queries, 4 true masks, of which two have one class": (7, 5, [3, 1, 3, 4], 3, 2),
        "as many queries as true masks": (3, 2, [1, 0, 1], 4, 4),
        "one query, two true masks, one class": (1, 1, [0, 0], 3, 6),
        "no true mask": (4, 3, [], 2, 3),
    }
    made = []
    for seed, (label, (queries, classes, chosen, *size)) in enumerate(named.items()):
        made.append(
            Case.from_truth(
                label,
                (
                    2 * random_values(queries, classes + 1, seed=seed),
                    2 * random_values(queries, *size, seed=seed + 20),
                    torch.tensor(chosen, dtype=torch.int64),
                    random_uniform(len(chosen), *size, seed=seed + 40) < 0.4,
                ),
                pair_by_pair,
            )
        )
    masks = torch.zeros(2, 2, 4, dtype=torch.bool)
    masks[1] = True
    sure = torch.tensor([200.0, -200, 30, -30]).expand(3, 2, 4).clone()
    arguments = (random_values(3, 4, seed=60), sure, torch.tensor([1, 2]), masks)
    return [*made, Case.from_truth("very sure masks: ±200 and ±30; an empty and a full one", arguments, pair_by_pair)]


def pair_by_pair(class_logits: Tensor, mask_logits: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
    """The truth: one number after the other, with torchvision's focal loss and SciPy's softmax."""
    cost = torch.zeros(len(mask_logits), len(masks))
    for i, (scores, x) in enumerate(zip(class_logits, mask_logits.double(), strict=True)):
        for j, (label, mask) in enumerate(zip(labels.tolist(), masks, strict=True)):
            each = torchvision.ops.sigmoid_focal_loss(x, mask.double(), 0.25, 2.0, reduction="mean")
            overlap = (2 * x.sigmoid()[mask].sum() + 1) / (x.sigmoid().sum() + mask.sum() + 1)
            cost[i, j] = 20 * each + 1 - overlap - softmax(scores.numpy())[label]
    return cost


def of_pairs(loss: Callable[..., Tensor], **decisions: Any) -> Pairs:
    """A loss of `_of_masks` for all pairs, by broadcasting."""
    return lambda mask_logits, masks: loss(mask_logits[:, None], masks, **decisions)


focal_pairs, dice_pairs = of_pairs(focal), of_pairs(dice)


def costed(
    class_logits: Tensor,
    mask_logits: Tensor,
    labels: Tensor,
    masks: Tensor,
    chance: Callable[[Tensor, Tensor], Tensor] = lambda logits, labels: logits.softmax(dim=1)[:, labels],
    pixels: Pairs = focal_pairs,
    overlap: Pairs = dice_pairs,
    weights: tuple[float, float, float] = (20, 1, -1),
) -> Tensor:
    """`mask_cost` with its decisions open; `weights` are those of focal loss, dice loss and probability."""
    parts = (pixels(mask_logits, masks), overlap(mask_logits, masks), chance(class_logits, labels))  # (Q, n) each
    return sum((weight * part for weight, part in zip(weights, parts, strict=True)), torch.zeros(()))


def of_class(probabilities: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return partial(costed, chance=lambda logits, labels: probabilities(logits)[:, labels])


def with_focal(**decisions: Any) -> Callable[..., Tensor]:
    return partial(costed, pixels=of_pairs(focal, **decisions))


def with_dice(**decisions: Any) -> Callable[..., Tensor]:
    return partial(costed, overlap=of_pairs(dice, **decisions))


def laid_out_otherwise(pairs: Pairs) -> Pairs:
    """The (n, Q) of true masks and queries, reshaped to (Q, n)."""
    return lambda mask_logits, masks: pairs(mask_logits, masks).T.reshape(len(mask_logits), len(masks))


@mistake(
    "1 − p for −p",
    "You took 1 − p. The cheapest pairs would be the same; but every cost is 1 too large.",
)
def one_minus_p(*given: Tensor) -> Tensor:
    return costed(*given) + 1


@mistake(
    "−overlap for 1 − overlap",
    "You took the overlap away, and forgot the 1 of the dice loss. The cheapest pairs would be the same; but every "
    "cost is 1 too small.",
)
def minus_overlap(*given: Tensor) -> Tensor:
    return costed(*given) - 1


def right_but_for_sure_masks(got: Tensor, expected: Tensor, case: Case, how: Callable[[Tensor], bool]) -> bool:
    return case.label.startswith("very sure") and how(got)


IN_ONE_STEP = "The logarithm of the sigmoid can be taken in one step, from the logit, as in exercise 2."

Decisions = list[tuple[str, str, Callable[..., Tensor]]]

CLASS: Decisions = [
    (
        "−log p for −p",
        "You took the logarithm of the probability, as a cross-entropy does. In this cost p stands as it is.",
        of_class(lambda logits: logits.log_softmax(dim=1)),
    ),
    (
        "p added",
        "You added the probability. The more probable the true class is to a query, the less this pair must cost.",
        partial(costed, weights=(20, 1, 1)),
    ),
    (
        "sigmoid of the classes",
        'You took a sigmoid of the class logits. The classes and "nothing" compete: a softmax.',
        of_class(torch.sigmoid),
    ),
    (
        "softmax without nothing",
        'You left the last column out of the softmax. "Nothing" competes, too: a query that says it gives little to '
        "all classes.",
        of_class(lambda logits: logits[:, :-1].softmax(dim=1)),
    ),
    (
        "softmax over the queries",
        "Your softmax goes over the queries. Each query divides its own 1 among the K + 1 columns.",
        of_class(lambda logits: logits.softmax(dim=0)),
    ),
    (
        "softmax over the true masks",
        "You chose the columns of the labels first, and took the softmax of these. It goes over all K + 1.",
        partial(costed, chance=lambda logits, labels: logits[:, labels].softmax(dim=1)),
    ),
    (
        "p of one query for each true mask",
        "For true mask number j you took the probability of query number j, for all queries. Each query has its own "
        "for each true mask: (Q, n).",
        partial(costed, chance=lambda logits, labels: logits.softmax(dim=1)[range(len(labels)), labels]),
    ),
    (
        "the highest probability",
        "You took each query's highest probability, whatever its class. The task asks for that of the *true* class.",
        partial(costed, chance=lambda logits, labels: logits.softmax(dim=1).amax(dim=1, keepdim=True)),
    ),
    (
        "hit or miss",
        "You took 1 for the probability where the true class is a query's most probable one, and else 0.",
        partial(costed, chance=lambda logits, labels: (logits.argmax(dim=1)[:, None] == labels).float()),
    ),
    ("p left out", "You left out the probability.", partial(costed, weights=(20, 1, 0))),
]

MASKS: Decisions = [
    (
        "20 and 1 exchanged",
        "Your cost has 20 times the dice loss and once the focal loss. It is the other way round. (`mask_losses` gives "
        "the focal loss first.)",
        partial(costed, weights=(1, 20, -1)),
    ),
    ("20 left out", "You left out the 20 before the focal loss.", partial(costed, weights=(1, 1, -1))),
    ("20 for both", "You multiplied the dice loss by 20, too.", partial(costed, weights=(20, 20, -1))),
    ("20 for all", "You multiplied all three by 20. Only the focal loss is.", partial(costed, weights=(20, 20, -20))),
    ("focal loss left out", "You left out the focal loss.", partial(costed, weights=(0, 1, -1))),
    ("dice loss left out", "You left out the dice loss.", partial(costed, weights=(20, 0, -1))),
    (
        "dice loss taken away",
        "You took the dice loss away. It is small where masks overlap well: it belongs to the cost as it is.",
        partial(costed, weights=(20, -1, -1)),
    ),
    (
        "overlap added",
        "You added the overlap itself. The better masks overlap, the less the pair must cost: 1 minus it.",
        with_dice(told=abs),
    ),
    (
        "sum of the pixels",
        "Your focal loss of a pair is the sum over the pixels. Take their mean.",
        with_focal(joined=lambda each, truth: each.sum(dim=(-2, -1))),
    ),
    (
        "inside alone",
        "Your focal loss of a pair leaves out the pixels outside the true mask. There 1 − p is what p is inside.",
        with_focal(costs=lambda x, truth: surprise(x, truth) * truth),
    ),
    (
        "outside as inside",
        "Your focal loss counts every pixel as if it were inside the true mask: it is the same for all true masks.",
        partial(costed, pixels=of_pairs(lambda x, masks: focal(x, torch.ones_like(masks)))),
    ),
    (
        "α on the wrong side",
        "Your focal loss weighs pixels inside with 0.75, pixels outside with 0.25. It is the other way round.",
        with_focal(weigh=lambda truth, alpha: alphas(truth, 1 - alpha)),
    ),
    (
        "α on both sides",
        "Your focal loss weighs every pixel with 0.25. Outside the true mask the weight is 0.75.",
        with_focal(weigh=torch.full_like),
    ),
    ("α forgotten", "α is missing in your focal loss: every pixel weighs 1.", with_focal(weigh=no_alpha)),
    (
        "plain cross-entropy",
        "In place of the focal loss you took the plain cross-entropy.",
        with_focal(weigh=no_alpha, factor=no_factor),
    ),
    ("not turned down", "The factor (1 − p_t)² is missing in your focal loss.", with_focal(factor=no_factor)),
    ("2 left out of dice", "In your dice loss the factor 2 above the line is missing.", with_dice(twice=1)),
    ("ones left out", "In your dice loss the ones are missing, above and below.", with_dice(ones=(0, 0))),
    (
        "logits in the overlap",
        "Your dice loss is made of logits. It wants probabilities: the sigmoid comes first.",
        with_dice(p=lambda logits: logits),
    ),
    (
        "pairs in another order",
        "The probabilities are right, but the losses of masks belong to other pairs: they lie as (n, Q) in memory, and "
        "a `reshape` to (Q, n) moves nothing.",
        partial(costed, pixels=laid_out_otherwise(focal_pairs), overlap=laid_out_otherwise(dice_pairs)),
    ),
]

EXERCISE = Exercise(
    name="mask_cost",
    reference=mask_cost,
    cases=cases,
    takes={"class_logits": Kind.LOGITS, "labels": Kind.CLASSES, "masks": Kind.MASK},
    gives=Kind.NUMBERS,
    observe=in_single_precision,
    mistakes=[
        one_minus_p,
        minus_overlap,
        *(Mistake(name, explanation, wrong=wrong) for name, explanation, wrong in CLASS + MASKS),
        Mistake(
            "infinite or NaN for sure pixels",
            "Right for small logits. But for ±200 the sigmoid is exactly 0 or 1, and the logarithm of 0 is infinite. "
            + IN_ONE_STEP,
            when=partial(right_but_for_sure_masks, how=lambda got: not got.isfinite().all()),
        ),
        Mistake(
            "cut off for sure pixels",
            "Right for small logits. For ±200 (or 30) your cost is another number. Is a probability clamped, or a "
            f"small number added? {IN_ONE_STEP}",
            when=partial(right_but_for_sure_masks, how=lambda got: bool(got.isfinite().all())),
        ),
    ],
)
