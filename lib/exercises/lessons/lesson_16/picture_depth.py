"""From queries with a class, a mask and a depth each to one map of depth: a weighted mean of what they say."""

from collections.abc import Callable
from functools import partial
from math import exp, log
from typing import Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_uniform, random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.exercises.engine.values import in_single_precision
from lib.models.uni_dvps import picture_depth


def cases() -> list[Case]:
    # 1 - P(nothing) is 1/2 and 3/4. At pixel 1 the masks make of it 3/8 and 3/8, then 1/4 and 1/12, then 1/4 and 1/4.
    logits = torch.tensor([[1.0, 1, 2], [1, 5, 2]]).log()
    masks = torch.tensor([[[3.0, 1, 1]], [[1, 1 / 8, 1 / 2]]]).log()
    depths = torch.tensor([[[2.0, 4, 9]], [[50, 64, 4]]])
    by_hand = Case(
        "2 queries, 2 classes, 1 × 3 pixels: worked by hand", (logits, masks, depths), torch.tensor([[10.0, 8, 6]])
    )
    named = {  # Q, K, H, W
        "3 queries, 2 classes, 4 × 5 pixels": (3, 2, 4, 5),
        "7 queries, 4 classes, 5 × 2 pixels": (7, 4, 5, 2),
        "one class": (5, 1, 2, 4),
        "one query": (1, 3, 4, 2),
        "one pixel": (4, 3, 1, 1),
        "all lengths are 4 (classes and nothing together, too)": (4, 3, 4, 4),
    }
    made = {label: inputs(*lengths, seed=3 * place) for place, (label, lengths) in enumerate(named.items())}
    logits, masks, depths = inputs(5, 3, 3, 4, seed=40)
    made["a column of pixels that every mask leaves out: mask logits near −8"] = (
        logits,
        torch.where(torch.arange(4) == 1, masks - 8, masks),
        depths,
    )
    sure = 60 * torch.eye(4)[[3, 0, 3, 1, 2]] - 30
    made["very sure: class logits of ±30"] = (sure, masks, depths)
    return [by_hand, *(Case(label, given, pixel_by_pixel(*given)) for label, given in made.items())]


def inputs(queries: int, classes: int, height: int, width: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    depths = 100 ** random_uniform(queries, height, width, seed=seed + 2)  # 1 to 100 m
    return 2 * random_values(queries, classes + 1, seed=seed), 2 * random_values(*depths.shape, seed=seed + 1), depths


def pixel_by_pixel(logits: Tensor, masks: Tensor, depths: Tensor) -> Tensor:
    """The truth, in plain numbers."""
    result = torch.zeros(masks.shape[1:])
    sure = [sum(map(exp, scores[:-1])) / sum(map(exp, scores)) for scores in logits.tolist()]
    for row in range(masks.shape[1]):
        for column in range(masks.shape[2]):
            inside = [1 / (1 + exp(-logit)) for logit in masks[:, row, column].tolist()]
            weights = [a * b for a, b in zip(sure, inside, strict=True)]
            logs = [weight * log(depth) for weight, depth in zip(weights, depths[:, row, column].tolist(), strict=True)]
            result[row, column] = exp(sum(logs) / sum(weights))
    return result


def not_nothing(logits: Tensor) -> Tensor:
    return logits.softmax(dim=1)[:, :-1].sum(dim=1)


def divided(weights: Tensor) -> Tensor:
    return weights / weights.sum(dim=0)


def more_than_the_sum(weights: Tensor, tiny: float) -> Tensor:
    return weights / (weights.sum(dim=0) + tiny)


def at_least_this(weights: Tensor, tiny: float) -> Tensor:
    return weights / weights.sum(dim=0).clamp(min=tiny)


def geometric(weights: Tensor, depths: Tensor) -> Tensor:
    return (weights * depths.log()).sum(dim=0).exp()


def opened(
    logits: Tensor,
    masks: Tensor,
    depths: Tensor,
    sure: Callable[[Tensor], Tensor] = not_nothing,
    inside: Callable[[Tensor], Tensor] = torch.sigmoid,
    together: Callable[[Tensor, Tensor], Tensor] = torch.mul,
    shares: Callable[[Tensor], Tensor] = divided,
    mean: Callable[[Tensor, Tensor], Tensor] = geometric,
) -> Tensor:
    """`picture_depth` with its decisions open.

    Args:
        sure: from the class logits to what each query weighs (Q,).
        inside: from the mask logits to what it weighs at each pixel (Q, H, W).
        together: from both, (Q, 1, 1) and (Q, H, W), to the weights (Q, H, W).
        shares: what is done to the weights before the mean.
        mean: from these, and the depths, to the map (H, W).
    """
    return mean(shares(together(sure(logits)[:, None, None], inside(masks))), depths)


def of_the_heaviest(weights: Tensor, depths: Tensor) -> Tensor:
    return depths.gather(0, weights.argmax(dim=0, keepdim=True))[0]


def says_something(logits: Tensor) -> Tensor:
    """1 for queries whose best answer is a class, 0 for others."""
    return (logits.argmax(dim=1) < logits.shape[1] - 1).float()


SURE = '1 − its probability of "nothing", which is the last of the K + 1'
GEOMETRIC = "The task asks for the geometric mean: average the logarithms."
NOT_DIVIDED = "At each pixel the weights are divided by their sum over the queries, so that they sum to 1."

Way = tuple[str, str, Callable[..., Tensor]]

OF_SURE: list[Way] = [
    (
        "the best class's probability",
        f"A query weighs as much as its *best class* is probable. It should weigh {SURE}: it may doubt between a car "
        "and a van, and be sure that something is there.",
        lambda logits: logits.softmax(dim=1)[:, :-1].amax(dim=1),
    ),
    (
        "the best answer's probability",
        f'A query weighs as much as its best answer is probable, also where that is "nothing". It should weigh {SURE}.',
        lambda logits: logits.softmax(dim=1).amax(dim=1),
    ),
    (
        "column 0 taken for nothing",
        'You took column 0 for "nothing". Classes are 0..K−1, and the last column, number K, is "nothing".',
        lambda logits: 1 - logits.softmax(dim=1)[:, 0],
    ),
    (
        "class logits forgotten",
        'It makes no difference to your map which queries say "nothing": their masks alone decide. (A softmax without '
        f'"nothing" sums to 1 for each query, and does the same.) A query should weigh {SURE}.',
        lambda logits: torch.ones(len(logits)),
    ),
    (
        "probability of nothing",
        f'The surer one of your queries is of "nothing", the more it weighs. It is the other way: {SURE}.',
        lambda logits: logits.softmax(dim=1)[:, -1],
    ),
    (
        "softmax over the queries",
        "Your softmax of the classes runs over the queries. It runs over the K + 1 answers of *each* query.",
        lambda logits: 1 - logits.softmax(dim=0)[:, -1],
    ),
    (
        "softmax over the queries, classes added up",
        "Your softmax of the classes runs over the queries. It runs over the K + 1 answers of *each* query.",
        lambda logits: logits.softmax(dim=0)[:, :-1].sum(dim=1),
    ),
    (
        "sigmoid for nothing",
        'You took a sigmoid of the score of "nothing" by itself. The K + 1 answers of a query compete: a softmax.',
        lambda logits: 1 - logits[:, -1].sigmoid(),
    ),
    (
        "queries that say nothing left out",
        f'Queries whose best answer is "nothing" do not count for you. They weigh a little, too: each query {SURE}.',
        lambda logits: not_nothing(logits) * says_something(logits),
    ),
    (
        "a query counts or not",
        'You count a query whole if its best answer is a class, and not at all if that is "nothing". It should weigh '
        f"{SURE}.",
        says_something,
    ),
    (
        "the best class's probability, without nothing",
        f'You left out "nothing" before the softmax, and took the largest of the rest. A query should weigh {SURE}.',
        lambda logits: logits[:, :-1].softmax(dim=1).amax(dim=1),
    ),
]

OF_INSIDE: list[Way] = [
    (
        "masks forgotten",
        "Your weights are the same at all pixels: the masks have no say. A query should count where its mask is.",
        torch.ones_like,
    ),
    (
        "softmax of the masks over the queries",
        "You took a softmax of the masks over the queries. A mask's probability is the sigmoid of its own logit; the "
        "*products* are what is divided by its sum over the queries.",
        lambda masks: masks.softmax(dim=0),
    ),
    (
        "sigmoid forgotten",
        "You took the mask logits as they are, and a negative one makes a negative weight. The probability that a "
        "pixel is in the mask is their sigmoid.",
        lambda masks: masks,
    ),
    (
        "softmax of a mask over its pixels",
        "You took a softmax of each mask over its pixels. Each pixel is a question by itself: a sigmoid.",
        lambda masks: masks.flatten(1).softmax(dim=1).view_as(masks),
    ),
    (
        "masks cut at 1/2",
        "Your masks are 0 or 1: is the probability above 1/2? The task asks for the probability itself. (Where no "
        "mask is above 1/2, yours is 0 / 0.)",
        lambda masks: (masks > 0).float(),
    ),
]

OF_SHARES: list[Way] = [
    ("weights not divided", f"Your weights do not sum to 1. {NOT_DIVIDED}", lambda weights: weights),
    (
        "divided by the number of queries",
        f"You divided by the number of queries. {NOT_DIVIDED}",
        lambda weights: weights / len(weights),
    ),
    (
        "divided over the pixels",
        f"The weights of each of your queries sum to 1 over its *pixels*. {NOT_DIVIDED}",
        lambda weights: weights / weights.sum(dim=(1, 2), keepdim=True),
    ),
    (
        "divided over the pixels, then over the queries",
        "The weights of each of your queries are first divided by their sum over its *pixels*: so a query with a large "
        f"mask counts less. {NOT_DIVIDED}",
        lambda weights: divided(weights / weights.sum(dim=(1, 2), keepdim=True)),
    ),
    (
        "divided by one sum for all pixels",
        f"You divided by one sum, over queries and pixels. {NOT_DIVIDED}",
        lambda weights: weights / weights.sum(),
    ),
    (
        "softmax of the weights",
        f"You took a softmax of the weights. {NOT_DIVIDED} That is a plain division.",
        lambda weights: weights.softmax(dim=0),
    ),
    (
        "all alike",
        "In your mean all queries count alike, at all pixels: neither their classes nor their masks have a say.",
        lambda weights: torch.full_like(weights, 1 / len(weights)),
    ),
]

OF_MEAN: list[Way] = [
    (
        "arithmetic mean",
        f"Your mean is the arithmetic one, which favours what is far: of 2 m and 50 m it is 26 m. {GEOMETRIC}",
        lambda weights, depths: (weights * depths).sum(dim=0),
    ),
    (
        "harmonic mean",
        f"Your mean is the harmonic one: an average of 1 / depth. {GEOMETRIC}",
        lambda weights, depths: 1 / (weights / depths).sum(dim=0),
    ),
    (
        "the heaviest query alone",
        "At each pixel you take the depth of that query alone which weighs most. All of them count, by their weights.",
        of_the_heaviest,
    ),
    (
        "logarithm to base 10, natural exponential",
        "You average logarithms to base 10, and go back with `exp`, whose base is e. Take both of one base.",
        lambda weights, depths: (weights * depths.log10()).sum(dim=0).exp(),
    ),
]

TINY = (
    "You add a small number to the sum of the weights, or hold it above one. Where no mask is likely that sum is "
    "small, too, and then your weights do not sum to 1. The sum is never 0 here, so nothing need be added."
)

ARITHMETIC, HEAVIEST, FORGOTTEN = OF_MEAN[0], OF_MEAN[2], OF_SURE[3]
TWO: list[tuple[Way, Way, dict[str, Any]]] = [  # the mean, and what else is wrong
    *((ARITHMETIC, other, {"sure": other[2]}) for other in OF_SURE[:4]),
    *((ARITHMETIC, other, {"inside": other[2]}) for other in OF_INSIDE[:2]),
    (ARITHMETIC, OF_SHARES[0], {"shares": OF_SHARES[0][2]}),
    (HEAVIEST, FORGOTTEN, {"sure": FORGOTTEN[2]}),
]

EXERCISE = Exercise(
    name="picture_depth",
    reference=picture_depth,
    cases=cases,
    takes={"logits": Kind.LOGITS, "masks": Kind.LOGITS, "depths": Kind.MAP},
    gives=Kind.MAP,
    observe=in_single_precision,
    mistakes=[
        *(Mistake(name, told, wrong=partial(opened, mean=mean)) for name, told, mean in OF_MEAN),
        *(Mistake(name, told, wrong=partial(opened, sure=sure)) for name, told, sure in OF_SURE),
        *(Mistake(name, told, wrong=partial(opened, inside=inside)) for name, told, inside in OF_INSIDE),
        *(Mistake(name, told, wrong=partial(opened, shares=shares)) for name, told, shares in OF_SHARES),
        Mistake(
            "added instead of multiplied",
            "You added what a query weighs by its class and by its mask. They are multiplied: it says something, *and* "
            "it says it of this pixel.",
            wrong=partial(opened, together=torch.add),
        ),
        Mistake(
            "divided before they are multiplied",
            "You divided the two probabilities by their sums over the queries, each by its own, and then multiplied. "
            f"So the products do not sum to 1. {NOT_DIVIDED}",
            wrong=partial(opened, together=lambda sure, inside: divided(sure) * divided(inside), shares=lambda w: w),
        ),
        *(
            Mistake(
                f"{tiny} added to the sum",
                TINY,
                wrong=partial(opened, shares=partial(more_than_the_sum, tiny=tiny)),
            )
            for tiny in (1e-7, 1e-6, 1e-5, 1e-4)
        ),
        *(
            Mistake(
                f"{tiny} as the least sum",
                TINY,
                wrong=partial(opened, shares=partial(at_least_this, tiny=tiny)),
            )
            for tiny in (1e-3, 1e-2)
        ),
        *(
            Mistake(
                f"{name}; {other}",
                f"Two things at once. {told} {also}",
                wrong=partial(opened, mean=mean, **made),
            )
            for (name, told, mean), (other, also, _), made in TWO
        ),
    ],
    picture=compare_maps,
)
