"""From queries with a class and a mask to a class for each pixel: all queries vote, each with what it is sure of."""

from collections.abc import Callable
from functools import partial
from math import exp

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.ops.panoptic import semantic_inference


def cases() -> list[Case]:
    by_hand = torch.tensor([[1.5, -0.5, 0.0], [-1.0, 2.0, 0.5], [0.5, 0.0, 2.0]])
    masks = torch.tensor([[[2.0, 1, -1], [0.5, -2, -3]], [[-1, -2, 1.5], [-3, 0.8, 2]], [[1, -1, 0.4], [2, -0.6, 1]]])
    sure = 160 * torch.eye(4)[[2, 0, 3, 1, 2]] - 80
    named = {
        "3 queries, 2 classes, 2 × 3 pixels": (by_hand, masks),
        "7 queries, 4 classes, 3 × 5 pixels": (2 * random_values(7, 5, seed=1), 3 * random_values(7, 3, 5, seed=2)),
        "2 queries, 5 classes": (2 * random_values(2, 6, seed=3), 3 * random_values(2, 4, 3, seed=4)),
        "as many queries as classes, rows and columns": (
            2 * random_values(4, 5, seed=5),
            3 * random_values(4, 4, 4, seed=6),
        ),
        "one class": (random_values(5, 2, seed=7), 3 * random_values(5, 2, 4, seed=8)),
        "one query, one class, one pixel": (torch.tensor([[0.7, 1.2]]), torch.tensor([[[0.4]]])),
        "very sure: logits of ±80": (sure, 160.0 * (random_values(5, 3, 4, seed=9) > 0) - 80),
    }
    return [Case(label, arguments, pixel_by_pixel(*arguments)) for label, arguments in named.items()]


def pixel_by_pixel(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    """The truth, in plain numbers."""
    maps = torch.zeros(class_logits.shape[1] - 1, *mask_logits.shape[1:])
    for scores, mask in zip(class_logits.tolist(), mask_logits.tolist(), strict=True):
        shares = [exp(score) / sum(map(exp, scores)) for score in scores]
        for row, line in enumerate(mask):
            for column, logit in enumerate(line):
                for kind, share in enumerate(shares[:-1]):
                    maps[kind, row, column] += share / (1 + exp(-logit))
    return maps


def things_of(class_logits: Tensor) -> Tensor:
    """The probability of each real class, (Q, K)."""
    return class_logits.softmax(dim=1)[:, :-1]


def of_the_best(shares: Tensor, best: Tensor, hard: bool) -> Tensor:
    """Each query's share for its best class alone, or 1 (`hard`); 0 for the others."""
    chosen = torch.zeros_like(shares)
    chosen.scatter_(1, best[:, None], 1.0 if hard else shares.gather(1, best[:, None]))
    return chosen


def best_thing(class_logits: Tensor, hard: bool) -> Tensor:
    shares = things_of(class_logits)
    return of_the_best(shares, shares.argmax(dim=1), hard)


def best_answer(class_logits: Tensor, hard: bool) -> Tensor:
    """As `best_thing`, but a query that says "nothing" does not vote."""
    shares = class_logits.softmax(dim=1)
    return of_the_best(shares, shares.argmax(dim=1), hard)[:, :-1]


def summed(shares: Tensor, masks: Tensor) -> Tensor:
    return torch.einsum("qk,qhw->khw", shares, masks)


def products(shares: Tensor, masks: Tensor) -> Tensor:
    """(Q, K, H, W)"""
    return shares[:, :, None, None] * masks[:, None]


def of_the_likeliest(shares: Tensor, masks: Tensor) -> Tensor:
    """At each pixel the product of that query alone whose mask is the likeliest there."""
    first = torch.zeros_like(masks).scatter_(0, masks.argmax(dim=0, keepdim=True), 1.0)  # (Q, H, W)
    return summed(shares, masks * first)


def opened(
    class_logits: Tensor,
    mask_logits: Tensor,
    shares: Callable[[Tensor], Tensor] = things_of,
    masks: Callable[[Tensor], Tensor] = torch.sigmoid,
    together: Callable[[Tensor, Tensor], Tensor] = summed,
    last: Callable[[Tensor], Tensor] = lambda maps: maps,
) -> Tensor:
    """`semantic_inference` with its decisions open.

    Args:
        shares: from the class logits to what each query gives to each class (Q, K).
        masks: from the mask logits to what it gives to each pixel (Q, H, W).
        together: from both to the maps (K, H, W).
        last: what is done to the maps.
    """
    return last(together(shares(class_logits), masks(mask_logits)))


SUM = "The task asks for the sum over all queries."
CLASSES = 'Classes are 0..K−1, and the last column, number K, is "nothing".'
NOTHING = '"nothing" is no class to be painted.'
SOFTMAX = "The softmax runs over the K + 1 answers of *each* query."

Way = tuple[str, str, Callable[[Tensor], Tensor]]

OF_SHARES: list[Way] = [
    (
        "nothing kept",
        f'You return K + 1 maps, the last for "nothing". {NOTHING} Leave it out, after the softmax.',
        lambda logits: logits.softmax(dim=1),
    ),
    (
        "softmax without nothing",
        'You left "nothing" out before the softmax. Then each query is sure of something, also one that says '
        '"nothing". First the softmax over all K + 1, then the last column goes.',
        lambda logits: logits[:, :-1].softmax(dim=1),
    ),
    (
        "scores of classes as they are",
        f"You took the class scores for probabilities. {SOFTMAX}",
        lambda logits: logits[:, :-1],
    ),
    (
        "divided by all but nothing",
        'You divided by the sum of the K classes. Then each query is sure of something, also one that says "nothing". '
        "(Where it is sure of that, 0 / 0 is NaN.) What the softmax over all K + 1 gives stays as it is.",
        lambda logits: things_of(logits) / things_of(logits).sum(dim=1, keepdim=True),
    ),
    (
        "sigmoid for the classes",
        "You took a sigmoid of each class's score by itself. The K + 1 answers of a query compete: a softmax.",
        lambda logits: logits.sigmoid()[:, :-1],
    ),
    (
        "softmax over the queries",
        f"Your softmax of the classes runs over the queries. {SOFTMAX}",
        lambda logits: logits.softmax(dim=0)[:, :-1],
    ),
    (
        "queries that say nothing left out",
        'You leave out the queries whose best answer is "nothing". They add a little, too: what they are sure of.',
        lambda logits: things_of(logits) * (logits.argmax(dim=1) < logits.shape[1] - 1)[:, None],
    ),
    (
        "column 0 taken for nothing",
        f"You left out column 0. {CLASSES}",
        lambda logits: logits.softmax(dim=1)[:, 1:],
    ),
    (
        "a vote for the best class only",
        "Each of your queries gives to one class alone, its best. It should give to every class, as much as it is sure "
        "of that class.",
        partial(best_thing, hard=False),
    ),
    (
        "a vote for the best answer only",
        'Each of your queries gives to one class alone, its best, or to none where that is "nothing". It should give '
        "to every class, as much as it is sure of that class.",
        partial(best_answer, hard=False),
    ),
    (
        "a whole vote for the best class",
        "Each of your queries gives 1 to its best class and 0 to the others. It should give to every class its "
        "probability.",
        partial(best_thing, hard=True),
    ),
    (
        "a whole vote for the best answer",
        'Each of your queries gives 1 to its best class and 0 to the others, or to none where "nothing" is best. It '
        "should give to every class its probability.",
        partial(best_answer, hard=True),
    ),
]

OF_MASKS: list[Way] = [
    (
        "sigmoid forgotten",
        "You took the mask logits as they are. The probability that a pixel is in the mask is their sigmoid.",
        lambda logits: logits,
    ),
    (
        "softmax of the masks over the queries",
        "You took a softmax of the masks over the queries, as if each pixel belonged to just one. Masks do not "
        "compete here: a sigmoid of each logit by itself.",
        lambda logits: logits.softmax(dim=0),
    ),
    (
        "softmax of a mask over its pixels",
        "You took a softmax of each mask over its pixels, so that they sum to 1. Each pixel is a question by itself: a "
        "sigmoid.",
        lambda logits: logits.flatten(1).softmax(dim=1).view_as(logits),
    ),
    (
        "masks cut at 1/2",
        "Your masks are 0 or 1: is the probability above 1/2? The task asks for the probability itself.",
        lambda logits: (logits > 0).float(),
    ),
]

OF_BOTH: list[tuple[str, str, dict[str, Callable[..., Tensor]]]] = [
    (
        "classes instead of maps",
        "You return for each pixel the number of its best class. The task asks for the K sums; `argmax` comes later.",
        {"last": lambda maps: maps.argmax(dim=0)},
    ),
    (
        "classes instead of maps, nothing among them",
        f"You return for each pixel the number of its best class, and that may be K. {NOTHING} The task asks for the K "
        "sums; `argmax` comes later.",
        {"shares": lambda logits: logits.softmax(dim=1), "last": lambda maps: maps.argmax(dim=0)},
    ),
    (
        "made to sum to 1",
        f"You made the classes of each pixel sum to 1. {SUM} These sums are no probabilities, and need not be.",
        {"last": lambda maps: maps / maps.sum(dim=0, keepdim=True)},
    ),
    (
        "softmax of the sums",
        f"You took a softmax of the sums. {SUM}",
        {"last": lambda maps: maps.softmax(dim=0)},
    ),
    (
        "sigmoid after the sum",
        "You took the sigmoid of the finished sums. It belongs to the mask of each query, before the sum.",
        {"masks": lambda logits: logits, "last": torch.sigmoid},
    ),
    (
        "the largest instead of the sum",
        f"You took the largest of the queries' products. {SUM}",
        {"together": lambda shares, masks: products(shares, masks).amax(dim=0)},
    ),
    (
        "the likeliest query alone",
        f"At each pixel you listen to one query alone, whose mask is the likeliest. {SUM}",
        {"together": of_the_likeliest},
    ),
    (
        "mean instead of sum",
        f"You took the mean over the queries. {SUM}",
        {"together": lambda shares, masks: products(shares, masks).mean(dim=0)},
    ),
    (
        "divided by all masks",
        f"You divided by the sum of the mask probabilities at the pixel. {SUM}",
        {"together": lambda shares, masks: summed(shares, masks) / masks.sum(dim=0)},
    ),
    (
        "added instead of multiplied",
        "You added the class's probability and the mask's. They are multiplied: *this* class, and *this* pixel.",
        {"together": lambda shares, masks: (shares[:, :, None, None] + masks[:, None]).sum(dim=0)},
    ),
]

EXERCISE = Exercise(
    name="semantic_inference",
    reference=semantic_inference,
    cases=cases,
    takes={"class_logits": Kind.LOGITS, "mask_logits": Kind.LOGITS},
    gives=Kind.MAP,
    mistakes=[
        *(Mistake(name, told, wrong=partial(opened, shares=shares)) for name, told, shares in OF_SHARES),
        *(Mistake(name, told, wrong=partial(opened, masks=masks)) for name, told, masks in OF_MASKS),
        *(Mistake(name, told, wrong=partial(opened, **made)) for name, told, made in OF_BOTH),
        *(
            Mistake(
                f"{name}; {other}",
                f"Two things at once. {told} {also}",
                wrong=partial(opened, shares=shares, masks=masks),
            )
            for name, told, shares in OF_SHARES[:3]
            for other, also, masks in OF_MASKS[:2]
        ),
    ],
    picture=compare_maps,
)
