"""The weight with which few objects and many places of background count the same."""

from fractions import Fraction

from lib.exercises.engine.exercise import Case, Exercise, mistake
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
    "lies between 0 and 1.",
)
def negatives_over_positives(positives, negatives):
    return negatives / positives


@mistake(
    "a ratio, upside down",
    "You return positives / negatives. α is the weight of a positive, between 0 and 1, and the larger the rarer they "
    "are.",
)
def positives_over_negatives(positives, negatives):
    return positives / negatives


@mistake(
    "1 minus a ratio",
    "You return 1 − positives / negatives. For as many of both that is 0, and positives would count nothing. Solve the "
    "equation for α: both terms with α go to one side.",
)
def one_minus_ratio(positives, negatives):
    return 1 - positives / negatives


@mistake(
    "the larger share",
    "You return the larger of the two shares. With more positives than negatives, α is the smaller one: go by the name "
    "of the counts, not by their size.",
)
def the_larger_share(positives, negatives):
    return max(positives, negatives) / (positives + negatives)


@mistake(
    "all over the positives",
    "You return (positives + negatives) / positives, at least 1. α is a share of the weight, between 0 and 1.",
)
def all_over_positives(positives, negatives):
    return (positives + negatives) / positives


@mistake(
    "the balanced weight",
    "You return (positives + negatives) / (2 · positives), a usual weight of a class beside another such for the other "
    "class. Here both weights add up to 1: α and 1 − α.",
)
def balanced(positives, negatives):
    return (positives + negatives) / (2 * positives)


@mistake("divided as whole numbers", "`//` divides whole numbers and drops the rest; `/` keeps it.")
def whole_division(positives, negatives):
    return float(negatives // (positives + negatives))


@mistake("0.25 whatever the counts", "0.25 is the paper's α, for γ = 2. Here it follows from the two counts.")
def the_papers(positives, negatives):
    return 0.25


EXERCISE = Exercise(
    name="alpha_from_counts",
    reference=alpha_from_counts,
    cases=cases,
    takes={"positives": Kind.COUNT, "negatives": Kind.COUNT},
    gives=Kind.NUMBERS,
    mistakes=[
        share_of_positives,
        negatives_over_positives,
        positives_over_negatives,
        the_larger_share,
        one_minus_ratio,
        all_over_positives,
        balanced,
        whole_division,
        the_papers,
    ],
    rtol=1e-6,
    atol=1e-7,
)
