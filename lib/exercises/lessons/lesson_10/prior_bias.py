"""The bias with which an untrained network says "rarely"."""

import math

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.kinds import Kind


def prior_bias(prior: float) -> float:
    """The course's own, as `lib.models.retinanet` starts its classification head."""
    return -math.log((1 - prior) / prior)


def cases() -> list[Case]:
    named = {
        "one in four": 0.25,
        "one in a hundred, the paper's": 0.01,
        "as often as not": 0.5,
        "nine in ten": 0.9,
        "one in a million": 1e-6,
        "nearly always": 0.999,
    }
    return [Case(label, (prior,), by_halving(prior)) for label, prior in named.items()]


def by_halving(prior: float) -> float:
    """The truth: σ rises, so the place where it reaches `prior` is found by halving an interval."""
    low, high = -50.0, 50.0
    for _ in range(100):
        middle = (low + high) / 2
        if 1 / (1 + math.exp(-middle)) < prior:
            low = middle
        else:
            high = middle
    return high


EXERCISE = Exercise(
    name="prior_bias",
    reference=prior_bias,
    cases=cases,
    gives=Kind.NUMBERS,
    mistakes=[
        Mistake(
            "for 1 − prior",
            "The size is right and the sign is not: the sigmoid of your bias is 1 − prior. A rare thing needs a "
            "negative bias.",
            wrong=lambda prior: math.log((1 - prior) / prior),
        ),
        Mistake(
            "the logarithm of the prior",
            "You return log(prior): its exponential is the prior, its sigmoid is not. The two are close where the "
            "prior is small; for 0.5 the bias should be 0.",
            wrong=lambda prior: math.log(prior),
        ),
        Mistake(
            "the logarithm of the prior, sign flipped",
            "You return −log(prior). It lies above 0, where the sigmoid is above a half. And the sigmoid is not undone "
            "by a logarithm alone.",
            wrong=lambda prior: -math.log(prior),
        ),
        Mistake(
            "the logarithm of 1 − prior",
            "You return log(1 − prior). Solve 1 / (1 + e^−b) = prior for b: both the prior and 1 − prior take part.",
            wrong=lambda prior: math.log(1 - prior),
        ),
        Mistake(
            "minus the logarithm of 1 − prior",
            "You return −log(1 − prior). Solve 1 / (1 + e^−b) = prior for b: both the prior and 1 − prior take part.",
            wrong=lambda prior: -math.log(1 - prior),
        ),
        Mistake(
            "logarithm before the division",
            "You divide −log(1 − prior) by the prior. The logarithm is taken of the whole ratio: look at your "
            "parentheses.",
            wrong=lambda prior: -math.log(1 - prior) / prior,
        ),
        Mistake(
            "logarithm of the prior alone, divided",
            "You divide log(prior) by 1 − prior. The logarithm is taken of the whole ratio: look at your parentheses.",
            wrong=lambda prior: math.log(prior) / (1 - prior),
        ),
        Mistake(
            "logarithms divided",
            "You divide one logarithm by the other. The logarithm of a ratio is a difference.",
            wrong=lambda prior: math.log(prior) / math.log(1 - prior),
        ),
        Mistake(
            "logarithms added",
            "You add the two logarithms, which is the logarithm of a product: prior · (1 − prior). A ratio is needed.",
            wrong=lambda prior: math.log(prior) + math.log(1 - prior),
        ),
        Mistake(
            "the odds",
            "You return prior / (1 − prior), which is e^b. One step is left.",
            wrong=lambda prior: prior / (1 - prior),
        ),
        Mistake(
            "the odds, upside down",
            "You return (1 − prior) / prior, which is e^−b. One step is left, and the minus.",
            wrong=lambda prior: (1 - prior) / prior,
        ),
        Mistake(
            "the sigmoid of the prior",
            "You took the sigmoid of the prior. It should be the way back: which number has the prior as its sigmoid?",
            wrong=lambda prior: 1 / (1 + math.exp(-prior)),
        ),
        Mistake(
            "the prior itself",
            "You return the prior. The bias is added to a logit, and the sigmoid makes the probability of it.",
            wrong=lambda prior: prior,
        ),
        Mistake(
            "the logarithm of nothing positive",
            "You ask for the logarithm of 0 or of a negative number. (Without parentheses, 1 − prior / prior is 0: the "
            "division comes first.)",
            wrong=lambda prior: -math.log(1 - prior / prior),
        ),
        Mistake(
            "−4.595 whatever the prior",
            "That is the paper's bias, for a prior of 0.01. Here the prior is given.",
            wrong=lambda prior: -math.log(99),
        ),
    ],
)
