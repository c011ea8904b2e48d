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
from lib.exercises.engine.values import agrees, in_single_precision
from lib.exercises.lessons.lesson_15._of_masks import (
    OF_DICE,
    OF_FOCAL,
    Loss,
    dice,
    focal,
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
        "as many queries as true masks, of which one is empty and one full": (3, 2, [1, 0, 1], 4, 4),
        "one query, two true masks, one class": (1, 1, [0, 0], 3, 6),
        "no true mask": (4, 3, [], 2, 3),
    }
    made = []
    for seed, (label, (queries, classes, chosen, *size)) in enumerate(named.items()):
        class_logits = 2 * random_values(queries, classes + 1, seed=seed)
        logits, masks = 2 * random_values(queries, *size, seed=seed + 20), of_size(len(chosen), *size, seed=seed)
        arguments = (class_logits, logits, torch.tensor(chosen, dtype=torch.int64), masks)
        made.append(Case.from_truth(label, arguments, pair_by_pair))
    masks = torch.zeros(2, 2, 4, dtype=torch.bool)
    masks[1] = True
    sure = torch.tensor([200.0, -200, 30, -30]).expand(3, 2, 4).clone()
    arguments = (random_values(3, 4, seed=60), sure, torch.tensor([1, 2]), masks)
    return [*made, Case.from_truth("very sure masks: ±200 and ±30; an empty and a full one", arguments, pair_by_pair)]


def of_size(count: int, height: int, width: int, seed: int) -> Tensor:
    """Masks, (count, height, width) bool; of three, the first is empty and the second full."""
    masks = random_uniform(count, height, width, seed=seed + 40) < 0.4
    if count == 3:
        masks[0], masks[1] = False, True
    return masks


def pair_by_pair(class_logits: Tensor, mask_logits: Tensor, labels: Tensor, masks: Tensor) -> Tensor:
    """The truth: one number after the other, with torchvision's focal loss and SciPy's softmax."""
    cost = torch.zeros(len(mask_logits), len(masks))
    for i, (scores, x) in enumerate(zip(class_logits, mask_logits.double(), strict=True)):
        for j, (label, mask) in enumerate(zip(labels.tolist(), masks, strict=True)):
            each = torchvision.ops.sigmoid_focal_loss(x, mask.double(), 0.25, 2.0, reduction="mean")
            overlap = (2 * x.sigmoid()[mask].sum() + 1) / (x.sigmoid().sum() + mask.sum() + 1)
            cost[i, j] = 20 * each + 1 - overlap - softmax(scores.numpy())[label]
    return cost


def of_pairs(loss: Loss) -> Pairs:
    """A loss of `_of_masks` for all pairs, by broadcasting."""
    return lambda mask_logits, masks: loss(mask_logits[:, None], masks)


def of_true_class(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.softmax(dim=1)[:, labels]


focal_pairs, dice_pairs = of_pairs(focal), of_pairs(dice)


def costed(
    class_logits: Tensor,
    mask_logits: Tensor,
    labels: Tensor,
    masks: Tensor,
    chance: Callable[[Tensor, Tensor], Tensor] = of_true_class,
    pixels: Pairs = focal_pairs,
    overlap: Pairs = dice_pairs,
    weights: tuple[float, float] = (20, 1),
) -> Tensor:
    """`mask_cost` with its decisions open; `weights` are those of focal and dice loss."""
    of_masks = weights[0] * pixels(mask_logits, masks) + weights[1] * overlap(mask_logits, masks)  # (Q, n)
    return of_masks - chance(class_logits, labels)


def of_inside(x: Tensor, masks: Tensor, weight: float = 0.25) -> Tensor:
    """The mean over all pixels of what those inside cost, with a weight, (Q, n)."""
    each = weight * x.sigmoid().neg().add(1) ** 2 * surprise(x, torch.ones_like(x))  # (Q, H, W)
    return torch.einsum("qhw,nhw->qn", each, masks.to(x)) / x[0].numel()


def laid_out_otherwise(pairs: Pairs) -> Pairs:
    """The (n, Q) of true masks and queries, reshaped to (Q, n)."""
    return lambda mask_logits, masks: pairs(mask_logits, masks).T.reshape(len(mask_logits), len(masks))


@mistake(
    "−overlap for 1 − overlap",
    "You took the overlap away, and forgot the 1 of the dice loss. The cheapest pairs would be the same; but every "
    "cost is 1 too small.",
)
def minus_overlap(*given: Tensor) -> Tensor:
    return costed(*given) - 1


@mistake(
    "no table without true masks",
    "Right but without true masks. There the result is still a table, (Q, 0): Q rows of no number.",
)
def no_table(*given: Tensor) -> Tensor:
    return costed(*given) if len(given[3]) else torch.zeros(0)


def right_but_for_sure_masks(got: Tensor, expected: Tensor, case: Case, how: Callable[[Tensor], bool]) -> bool:
    return case.label.startswith("very sure") and how(got)


def as_made(got: Tensor, expected: Tensor, case: Case, made: dict[str, Any]) -> bool:
    return agrees(got, costed(*case.arguments, **made))


IN_ONE_STEP = "The logarithm of the sigmoid can be taken in one step, from the logit, as in exercise 2."

Decisions = list[tuple[str, str, dict[str, Any]]]  # a name, words for the learner, and decisions of `costed`

CLASS: Decisions = [
    (
        "1 − p for −p",
        "You took 1 − p. The cheapest pairs would be the same; but every cost is 1 too large.",
        {"chance": lambda logits, labels: of_true_class(logits, labels) - 1},
    ),
    (
        "−log p for −p",
        "You took the logarithm of the probability, as a cross-entropy does. In this cost p stands as it is.",
        {"chance": lambda logits, labels: logits.log_softmax(dim=1)[:, labels]},
    ),
    (
        "p added",
        "You added the probability. The more probable the true class is to a query, the less this pair must cost.",
        {"chance": lambda logits, labels: -of_true_class(logits, labels)},
    ),
    (
        "sigmoid of the classes",
        'You took a sigmoid of the class logits. The classes and "nothing" compete: a softmax.',
        {"chance": lambda logits, labels: logits.sigmoid()[:, labels]},
    ),
    (
        "softmax without nothing",
        'You left the last column out of the softmax. "Nothing" competes, too: a query that says it gives little to '
        "all classes.",
        {"chance": lambda logits, labels: logits[:, :-1].softmax(dim=1)[:, labels]},
    ),
    (
        "softmax over the queries",
        "Your softmax goes over the queries. Each query divides its own 1 among the K + 1 columns.",
        {"chance": lambda logits, labels: logits.softmax(dim=0)[:, labels]},
    ),
    (
        "softmax over the true masks",
        "You chose the columns of the labels first, and took the softmax of these. It goes over all K + 1.",
        {"chance": lambda logits, labels: logits[:, labels].softmax(dim=1)},
    ),
    (
        "p of one query for each true mask",
        "For true mask number j you took the probability of query number j, for all queries. Each query has its own "
        "for each true mask: (Q, n).",
        {"chance": lambda logits, labels: logits.softmax(dim=1)[range(len(labels)), labels]},
    ),
    (
        "the highest probability",
        "You took each query's highest probability, whatever its class. The task asks for that of the *true* class.",
        {"chance": lambda logits, labels: logits.softmax(dim=1).amax(dim=1, keepdim=True)},
    ),
    (
        "hit or miss",
        "You took 1 for the probability where the true class is a query's most probable one, and else 0.",
        {"chance": lambda logits, labels: (logits.argmax(dim=1)[:, None] == labels).float()},
    ),
    (
        "p left out",
        "You left out the probability.",
        {"chance": lambda logits, labels: 0 * of_true_class(logits, labels)},
    ),
]

MASKS: Decisions = [
    (
        "20 and 1 exchanged",
        "Your cost has 20 times the dice loss and once the focal loss. It is the other way round. (`mask_losses` gives "
        "the focal loss first.)",
        {"weights": (1, 20)},
    ),
    ("20 left out", "You left out the 20 before the focal loss.", {"weights": (1, 1)}),
    ("20 for both", "You multiplied the dice loss by 20, too.", {"weights": (20, 20)}),
    ("focal loss left out", "You left out the focal loss.", {"weights": (0, 1)}),
    ("dice loss left out", "You left out the dice loss.", {"weights": (20, 0)}),
    (
        "dice loss taken away",
        "You took the dice loss away. It is small where masks overlap well: it belongs to the cost as it is.",
        {"weights": (20, -1)},
    ),
    (
        "outside as inside",
        "Your focal loss counts every pixel as if it were inside the true mask: it is the same for all true masks.",
        {"pixels": of_pairs(lambda x, masks: focal(x, torch.ones_like(masks)))},
    ),
    (
        "one side added twice",
        "You added up what a pixel costs inside and what it costs outside over the same pixels, those of the true "
        "mask. What it costs outside counts where the true mask is False.",
        {"pixels": lambda x, masks: of_inside(x, masks) + of_inside(-x, masks, 0.75)},
    ),
    (
        "pairs in another order",
        "The probabilities are right, but the losses of masks belong to other pairs: they lie as (n, Q) in memory, and "
        "a `reshape` to (Q, n) moves nothing.",
        {"pixels": laid_out_otherwise(focal_pairs), "overlap": laid_out_otherwise(dice_pairs)},
    ),
    *((name, explanation, {"pixels": of_pairs(loss)}) for name, explanation, loss in OF_FOCAL),
    *((name, explanation, {"overlap": of_pairs(loss)}) for name, explanation, loss in OF_DICE),
]

EXERCISE = Exercise(
    name="mask_cost",
    reference=mask_cost,
    cases=cases,
    takes={"class_logits": Kind.LOGITS, "labels": Kind.CLASSES, "masks": Kind.MASK},
    gives=Kind.NUMBERS,
    observe=in_single_precision,
    mistakes=[
        *(Mistake(name, explanation, wrong=partial(costed, **made)) for name, explanation, made in CLASS + MASKS),
        minus_overlap,
        no_table,
        Mistake(
            "infinite or NaN for sure pixels",
            "Right for small logits. But at ±200 (or at 30) your cost is infinite or NaN: the logarithm of a sigmoid "
            f"that is exactly 0, or the exponential of a large logit. {IN_ONE_STEP}",
            when=partial(right_but_for_sure_masks, how=lambda got: not got.isfinite().all()),
        ),
        Mistake(
            "cut off for sure pixels",
            "Right for small logits. For ±200 (or 30) your cost is another number. Is a probability clamped, or a "
            f"small number added? {IN_ONE_STEP}",
            when=partial(right_but_for_sure_masks, how=lambda got: bool(got.isfinite().all())),
        ),
        *(
            Mistake(f"{name}; {other}", f"Two things at once. {said} {more}", when=partial(as_made, made=one | two))
            for name, said, one in CLASS
            for other, more, two in MASKS
        ),
    ],
)
