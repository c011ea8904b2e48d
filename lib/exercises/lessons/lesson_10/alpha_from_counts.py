"""The weight with which few positives and many places of background count the same."""

from fractions import Fraction

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.kinds import Kind


def alpha_from_counts(positives: int, negatives: int) -> float:
    """The course's own."""
    return negatives / (positives + negatives)


def cases() -> list[Case]:
    named = {
        "2 positives, 6 negatives": (2, 6),
        "as many of both": (5, 5),
        "more positives than negatives": (12, 4),
        "one positive among a thousand": (1, 999),
        "a detector's answers: 11 positives, 6469 negatives": (11, 6469),
    }
    return [Case(label, counts, by_halving(*counts)) for label, counts in named.items()]


def by_halving(positives: int, negatives: int) -> float:
    """The truth: the place where α · positives overtakes (1 − α) · negatives, by halving an interval."""
    low, high = Fraction(0), Fraction(1)
    for _ in range(60):
        middle = (low + high) / 2
        if middle * positives < (1 - middle) * negatives:
            low = middle
        else:
            high = middle
    return float(high)


EXERCISE = Exercise(
    name="alpha_from_counts",
    reference=alpha_from_counts,
    cases=cases,
    takes={"positives": Kind.COUNT, "negatives": Kind.COUNT},
    gives=Kind.NUMBERS,
    mistakes=[
        Mistake(
            "counts exchanged",
            "That is the share of the positives. Put your α into the equation: the many then have the large weight. "
            "The rare kind needs the larger one, and α is the weight of the positives.",
            wrong=lambda positives, negatives: positives / (positives + negatives),
        ),
        Mistake(
            "a ratio instead of α",
            "You return negatives / positives: how many times more a positive has to count. That is α / (1 − α), not "
            "α, which lies between 0 and 1.",
            wrong=lambda positives, negatives: negatives / positives,
        ),
        Mistake(
            "a ratio, upside down",
            "You return positives / negatives. α is the weight of a positive, between 0 and 1, and the larger the "
            "rarer they are.",
            wrong=lambda positives, negatives: positives / negatives,
        ),
        Mistake(
            "the larger share",
            "You return the larger of the two shares. With more positives than negatives, α is the smaller one: go by "
            "the name of the counts, not by their size.",
            wrong=lambda positives, negatives: max(positives, negatives) / (positives + negatives),
        ),
        Mistake(
            "1 minus a ratio",
            "You return 1 − positives / negatives. For as many of both that is 0, and positives would count nothing. "
            "Solve the equation for α: both terms with α go to one side.",
            wrong=lambda positives, negatives: 1 - positives / negatives,
        ),
        Mistake(
            "all over the positives",
            "You return (positives + negatives) / positives, at least 1. α is a share of the weight, between 0 and 1.",
            wrong=lambda positives, negatives: (positives + negatives) / positives,
        ),
        Mistake(
            "the balanced weight",
            "You return (positives + negatives) / (2 · positives), a usual weight of a class beside another such for "
            "the other class. Here both weights add up to 1: α and 1 − α.",
            wrong=lambda positives, negatives: (positives + negatives) / (2 * positives),
        ),
        Mistake(
            "divided as whole numbers",
            "`//` divides whole numbers and drops the rest; `/` keeps it.",
            wrong=lambda positives, negatives: float(negatives // (positives + negatives)),
        ),
        Mistake(
            "0.25 whatever the counts",
            "0.25 is the paper's α, for γ = 2. Here it follows from the two counts.",
            wrong=lambda positives, negatives: 0.25,
        ),
    ],
    rtol=1e-6,
    atol=1e-7,
)
