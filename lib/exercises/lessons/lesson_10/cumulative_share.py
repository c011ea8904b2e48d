"""Which share of a loss the easy answers have: the curve of figure 4."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import random_uniform, random_values
from lib.exercises.engine.kinds import Kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def cumulative_share(losses: Tensor) -> Tensor:
    """The course's own."""
    so_far = losses.sort().values.cumsum(dim=0)  # (N,)
    total = losses.sum()
    return so_far / torch.where(total > 0, total, 1)


def cases() -> list[Case]:
    named = {
        "four losses: 3, 0, 1 and 4": torch.tensor([3.0, 0.0, 1.0, 4.0]),
        "one loss": torch.tensor([0.7]),
        "twelve answers, three of them hard": torch.cat([0.01 * random_uniform(9), torch.tensor([2.0, 5.0, 2.0])]),
        "all the same": torch.full((5,), 0.2),
        "very small losses, as the focal loss of easy answers is": 1e-7 * random_uniform(6, seed=2),
        "a hundred losses": random_values(100, seed=3).exp(),
        "every loss is 0": torch.zeros(3),
        "no losses": torch.zeros(0),
    }
    return [Case(label, (losses,), shares_one_by_one(losses)) for label, losses in named.items()]


def shares_one_by_one(losses: Tensor) -> Tensor:
    """The truth, with Python's numbers: each share is added up anew."""
    rising = sorted(losses.tolist())
    total = sum(rising)
    return torch.tensor([sum(rising[: i + 1]) / total if total else 0.0 for i in range(len(rising))])


def divided(values: Tensor, total: Tensor) -> Tensor:
    return values / torch.where(total > 0, total, 1)


@mistake(
    "the largest first",
    "You begin with the largest losses. The question is what the *easy* answers have: begin with the smallest.",
)
def largest_first(losses):
    return divided(losses.sort(descending=True).values.cumsum(dim=0), losses.sum())


@mistake(
    "not sorted", "You add the losses up in the order in which they come. Entry i is about the i + 1 *smallest* ones."
)
def not_sorted(losses):
    return divided(losses.cumsum(dim=0), losses.sum())


@mistake(
    "not added up",
    "You return the share of each single loss. Entry i is the share of the i + 1 smallest ones *together*.",
)
def single_shares(losses):
    return divided(losses.sort().values, losses.sum())


@mistake(
    "single shares, not sorted",
    "You return the share of each single loss, in the order in which they come. Entry i is the share of the i + 1 "
    "smallest ones *together*.",
)
def single_shares_as_they_come(losses):
    return divided(losses, losses.sum())


@mistake("divided by the largest loss", "You divide by the largest loss. The whole is all losses together.")
def divided_by_largest(losses):
    return divided(losses.sort().values.cumsum(dim=0), losses.max() if len(losses) else losses.sum())


@mistake(
    "the last one of nothing",
    "You take the last of the sums for the whole. Without a loss there is no last one, and where every loss is 0 you "
    "divide by 0.",
)
def last_of_nothing(losses):
    so_far = losses.sort().values.cumsum(dim=0)
    return so_far / so_far[-1]


@mistake(
    "one place late",
    "Your entry i has the i smallest losses and begins with 0. Entry i includes the (i + 1)-th, so that the last is 1.",
)
def one_late(losses):
    rising = losses.sort().values
    return divided(rising.cumsum(dim=0) - rising, losses.sum())


@mistake(
    "places added up",
    "You added up what `argsort` returns: places in the list. The losses *at* these places are wanted.",
)
def places_added(losses):
    places = losses.argsort().float()
    return divided(places.cumsum(dim=0), places.sum())


def _last_below_1(got: Any, expected: Any, case: Case) -> bool:
    return bool(0 < got[-1] < 1) and torch.allclose(got / got[-1], expected, rtol=1e-3, atol=1e-6)


last_below_1 = Mistake(
    "the last is not 1",
    "The shares have the right ratios to each other, but the last one is not 1: you divide by more than the sum of the "
    "losses. (What is added to it to avoid 0 / 0, or put in its place, may be large beside small losses.)",
    when=_last_below_1,
)


def and_nothing_divided(known: Mistake) -> Mistake:
    """The same mistake, and 0 / 0 where every loss is 0."""
    assert known.wrong is not None
    wrong = known.wrong
    return Mistake(
        f"{known.name}; and 0 divided by 0",
        f"{known.explanation} Besides, where every loss is 0 you divide 0 by 0: return zeros there.",
        wrong=lambda losses: wrong(losses) + 0 * losses / losses.sum(),
    )


def compare_curves(got: Any, expected: Any, case: Case) -> "Figure | None":
    """Draws the learner's shares and the expected ones over the share of the answers."""
    from matplotlib.figure import Figure  # here, because matplotlib takes longer to import than a check to run

    if not isinstance(got, Tensor) or got.ndim != 1 or not got.numel():
        return None
    figure = Figure(figsize=(5, 3), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for values, mark, label in ((expected, "o-k", "expected"), (got, "x--r", "yours")):
        axes.plot(torch.arange(1, len(values) + 1), values, mark, label=label)
    axes.set(title="from the smallest loss to the largest", xlabel="losses counted", ylabel="share of the whole loss")
    axes.legend()
    return figure


EXERCISE = Exercise(
    name="cumulative_share",
    reference=cumulative_share,
    cases=cases,
    gives=Kind.NUMBERS,
    mistakes=[
        Mistake(
            "not divided",
            "You return sums. A share is a part of the whole: where all losses are counted it is 1.",
            wrong=lambda losses: losses.sort().values.cumsum(dim=0),
        ),
        largest_first,
        not_sorted,
        single_shares,
        single_shares_as_they_come,
        Mistake(
            "divided by the number",
            "You divide the sums by the number of losses, as for a mean. It should be a share of the whole *loss*.",
            wrong=lambda losses: losses.sort().values.cumsum(dim=0) / max(len(losses), 1),
        ),
        Mistake(
            "means",
            "You return the mean of the i + 1 smallest losses. The task asks which part of the whole loss they have "
            "together.",
            wrong=lambda losses: losses.sort().values.cumsum(dim=0) / torch.arange(1, len(losses) + 1),
        ),
        divided_by_largest,
        Mistake(
            "divided by the largest loss, crashes without one",
            "You divide by the largest loss. The whole is all losses together. (And of no losses there is no largest.)",
            wrong=lambda losses: divided(losses.sort().values.cumsum(dim=0), losses.max()),
        ),
        Mistake(
            "0 divided by 0",
            "Right, but where every loss is 0 you divide 0 by 0, which is NaN. Nothing is nobody's share: return zeros "
            "there.",
            wrong=lambda losses: losses.sort().values.cumsum(dim=0) / losses.sum(),
        ),
        Mistake(
            "a small number added",
            "You add a small number to the whole, so that 0 / 0 does no harm. Where all losses are small, this makes "
            "their shares too small: ask whether the whole is 0.",
            wrong=lambda losses: losses.sort().values.cumsum(dim=0) / (losses.sum() + 1e-8),
        ),
        last_of_nothing,
        Mistake(
            "counts instead of losses",
            "You return the share of the *answers*: (i + 1) / N. That is the other axis of the curve. Add up their "
            "losses.",
            wrong=lambda losses: torch.arange(1, len(losses) + 1) / max(len(losses), 1),
        ),
        one_late,
        Mistake(
            "one entry too many",
            "You put a 0 in front. There is one entry for each loss, and the first is the share of the smallest one.",
            wrong=lambda losses: torch.cat([losses.new_zeros(1), cumulative_share(losses)]),
        ),
        places_added,
        Mistake(
            "1 where every loss is 0",
            "Right, but where every loss is 0 you return ones. Asked are zeros there.",
            wrong=lambda losses: cumulative_share(losses) if losses.any() else torch.ones_like(losses),
        ),
        last_below_1,
        *map(and_nothing_divided, [largest_first, not_sorted, single_shares, single_shares_as_they_come, one_late]),
    ],
    lesson_size=lambda: (random_uniform(100_000),),
    picture=compare_curves,
)
