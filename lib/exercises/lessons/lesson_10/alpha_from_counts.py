"""The weight with which few objects and many places of background count the same."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
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
        "no positive: any weight of negatives would count for more": (0, 7),
        "no negative": (3, 0),
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


@mistake(
    "counts exchanged",
    "That is the share of the positives. Put your α into the equation: the many then have the large weight. The rare "
    "kind needs the larger one, and α is the weight of the positives.",
)
def share_of_positives(positives, negatives):
    return positives / (positives + negatives)


@mistake(
    "a ratio instead of α",
    "You return negatives / positives: how many times more a positive has to count. That is α / (1 − α), not α, which "
    "lies between 0 and 1. (And without a positive it is a division by 0.)",
)
def negatives_over_positives(positives, negatives):
    return negatives / positives


def _gives(ratio: Callable[[int, int], float]) -> Callable[[Any, Any, Case], bool]:
    """Whether what came back is this ratio, or it cannot be: a division by 0 (anything), a number below 0 (or 0)."""

    def asked(got: Any, expected: Any, case: Case) -> bool:
        try:
            wrong = ratio(*case.arguments)
        except ZeroDivisionError:
            return True
        return math.isclose(got, wrong, rel_tol=1e-6) or (wrong < 0 and got == 0)

    return asked


ratio_with_a_way_out = Mistake(
    "a ratio instead of α, never divided by 0",
    "You return negatives / positives, and something else where that is a division by 0. It says how many times more a "
    "positive has to count: α / (1 − α). α itself lies between 0 and 1.",
    when=_gives(lambda positives, negatives: negatives / positives),
)


@mistake(
    "a ratio, upside down",
    "You return positives / negatives. α is the weight of a positive, between 0 and 1, and the larger the rarer they "
    "are. (And without a negative yours is a division by 0.)",
)
def positives_over_negatives(positives, negatives):
    return positives / negatives


upside_down_with_a_way_out = Mistake(
    "a ratio, upside down, never divided by 0",
    "You return positives / negatives, and something else where that is a division by 0. α is the weight of a "
    "positive, between 0 and 1, and the larger the rarer they are.",
    when=_gives(lambda positives, negatives: positives / negatives),
)


@mistake(
    "1 minus a ratio",
    "You return 1 − positives / negatives. For as many of both that is 0, and positives would count nothing. Solve the "
    "equation for α: both terms with α go to one side.",
)
def one_minus_ratio(positives, negatives):
    return 1 - positives / negatives


one_minus_ratio_with_a_way_out = Mistake(
    "1 minus a ratio, never divided by 0",
    "You return 1 − positives / negatives, and something else where that makes no sense. For as many of both it is 0, "
    "and positives would count nothing. Solve the equation for α: both terms with α go to one side.",
    when=_gives(lambda positives, negatives: 1 - positives / negatives),
)


@mistake(
    "the larger share",
    "You return the larger of the two shares. With more positives than negatives, α is the smaller one: go by the name "
    "of the counts, not by their size.",
)
def the_larger_share(positives, negatives):
    return max(positives, negatives) / (positives + negatives)


@mistake(
    "one over the positives",
    "You return 1 / positives. How many negatives there are matters as much. (And without a positive it is a division "
    "by 0.)",
)
def one_over_positives(positives, negatives):
    return 1 / positives


@mistake(
    "one over the negatives",
    "You return 1 / negatives. How many positives there are matters as much. (And without a negative it is a division "
    "by 0.)",
)
def one_over_negatives(positives, negatives):
    return 1 / negatives


@mistake("one over all", "You return 1 / (positives + negatives). That is the share of a single place.")
def one_over_all(positives, negatives):
    return 1 / (positives + negatives)


@mistake("divided as whole numbers", "`//` divides whole numbers and drops the rest; `/` keeps it.")
def whole_division(positives, negatives):
    return float(negatives // (positives + negatives))


@mistake(
    "the difference over the sum",
    "You return (negatives − positives) / (positives + negatives). For as many of both that is 0, and positives would "
    "count nothing.",
)
def difference_over_sum(positives, negatives):
    return (negatives - positives) / (positives + negatives)


@mistake("0.25 whatever the counts", "0.25 is the paper's α, for γ = 2. Here it follows from the two counts.")
def the_papers(positives, negatives):
    return 0.25


@mistake(
    "0.75 whatever the counts",
    "0.75 is the paper's best α for cross-entropy, and right for 1 positive to 3 negatives. Here it follows from the "
    "two counts.",
)
def the_papers_without_gamma(positives, negatives):
    return 0.75


EXERCISE = Exercise(
    name="alpha_from_counts",
    reference=alpha_from_counts,
    cases=cases,
    takes={"positives": Kind.COUNT, "negatives": Kind.COUNT},
    gives=Kind.NUMBERS,
    mistakes=[
        share_of_positives,
        negatives_over_positives,
        ratio_with_a_way_out,
        positives_over_negatives,
        upside_down_with_a_way_out,
        the_larger_share,
        one_minus_ratio,
        one_minus_ratio_with_a_way_out,
        one_over_positives,
        one_over_negatives,
        one_over_all,
        whole_division,
        difference_over_sum,
        the_papers,
        the_papers_without_gamma,
    ],
    rtol=1e-6,
    atol=1e-7,
)
