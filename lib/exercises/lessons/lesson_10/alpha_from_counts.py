"""The weight with which few objects and many places of background count the same."""

from collections.abc import Callable
from fractions import Fraction

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


@mistake(
    "a ratio, upside down",
    "You return positives / negatives. α is the weight of a positive, between 0 and 1, and the larger the rarer they "
    "are. (And without a negative yours is a division by 0.)",
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


one_kind_missing = Mistake(
    "another number where one kind is missing",
    "Right where there are both kinds. Where one count is 0, the equation has a solution as well: put the 0 in.",
    when=lambda got, expected, case: 0 in case.arguments,
)

DIVIDED = [negatives_over_positives, positives_over_negatives, one_minus_ratio, all_over_positives, balanced]
INSTEAD: dict[str, Callable[[int, int], float]] = {
    "0": lambda positives, negatives: 0.0,
    "1": lambda positives, negatives: 1.0,
    "½": lambda positives, negatives: 0.5,
    "the other count": lambda positives, negatives: max(positives, negatives) / 1,
}


def guarded(known: Mistake, name: str) -> Mistake:
    """The same mistake, with a number of `INSTEAD` where it would divide by 0."""
    assert known.wrong is not None
    wrong = known.wrong

    def never_divided_by_0(positives: int, negatives: int) -> float:
        try:
            return wrong(positives, negatives)
        except ZeroDivisionError:
            return INSTEAD[name](positives, negatives)

    return Mistake(f"{known.name}, and {name} for a division by 0", known.explanation, wrong=never_divided_by_0)


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
        one_over_positives,
        one_over_negatives,
        one_over_all,
        all_over_positives,
        balanced,
        whole_division,
        difference_over_sum,
        the_papers,
        the_papers_without_gamma,
        one_kind_missing,
        *(guarded(known, name) for known in DIVIDED for name in INSTEAD),
    ],
    rtol=1e-6,
    atol=1e-7,
)
