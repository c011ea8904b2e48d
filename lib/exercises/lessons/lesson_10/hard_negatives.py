"""The other way: learn from few places of background, those that are most wrong."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import random_uniform, random_values
from lib.exercises.engine.kinds import Kind
from lib.ops import losses as ours

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def hard_negatives(losses: Tensor, positive: Tensor, ratio: int) -> Tensor:
    """The course's own: `lib.ops.losses.hard_negatives` chooses the positives as well."""
    return ours.hard_negatives(losses, positive, ratio) & ~positive


def cases() -> list[Case]:
    crowd = random_values(40, seed=1).exp()
    named = {
        "eight anchors, one positive, 3 to 1": ([0.1, 5.0, 0.3, 0.2, 9.0, 0.4, 0.0, 0.5], [0, 0, 0, 0, 1, 0, 0, 0], 3),
        "two positives, one easy, one hard, 2 to 1": ([0.1, 0.9, 4.0, 0.3, 0.8, 0.5, 0.6, 2.0], [1, 0, 1] + 5 * [0], 2),
        "1 to 1": ([0.2, 0.6, 0.1, 0.7, 0.9, 0.8], [0, 1, 0, 0, 1, 0], 1),
        "fewer negatives than asked for, one with a loss of 0": ([1.0, 0.0, 0.5, 2.0], [1, 0, 0, 1], 3),
        "as many negatives as asked for, one with a loss of 0": ([5.0, 0.0, 0.2, 0.3], [1, 0, 0, 0], 3),
        "no positive": ([0.4, 3.0, 0.2, 1.0], [0, 0, 0, 0], 3),
        "no negative": ([0.4, 3.0], [1, 1], 3),
        "equal losses: the lower index wins": ([0.5, 0.7, 0.5, 0.5, 0.5, 0.5, 0.1], [0, 0, 0, 1, 0, 0, 0], 3),
        "forty anchors, five positives": (crowd.tolist(), (torch.arange(40) % 8 == 2).tolist(), 3),
        "no anchors": ([], [], 3),
    }
    made = []
    for label, (losses, positive, ratio) in named.items():
        arguments = (torch.tensor(losses), torch.tensor(positive).bool(), ratio)
        made.append(Case(label, arguments, one_after_the_other(*arguments)))
    return made


def one_after_the_other(losses: Tensor, positive: Tensor, ratio: int) -> Tensor:
    """The truth: as long as there is a negative left and one may be kept, keep the hardest; `max` finds the first."""
    left = {place: loss for place, loss in enumerate(losses.tolist()) if not positive[place]}
    kept = torch.zeros(len(losses), dtype=torch.bool)
    for _ in range(ratio * positive.tolist().count(True)):
        if left:
            hardest = max(left, key=lambda place: left[place])
            kept[hardest] = True
            del left[hardest]
    return kept


def kept_of(losses: Tensor, allowed: Tensor, count: int) -> Tensor:
    """The `count` places with the largest losses, of those that are allowed."""
    order = losses.masked_fill(~allowed, -torch.inf).argsort(descending=True, stable=True)
    kept = torch.zeros_like(allowed)
    kept[order[: min(count, int(allowed.sum()))]] = True
    return kept


def asked_for(positive: Tensor, ratio: int) -> int:
    return ratio * int(positive.sum())


@mistake(
    "positives chosen too",
    "You choose among all places, and a hard positive takes the place of a negative. Choose among negatives alone.",
)
def among_all(losses, positive, ratio):
    return kept_of(losses, torch.ones_like(positive), asked_for(positive, ratio))


@mistake(
    "positives with a loss of 0",
    "You keep positives out of the choice with a loss of 0, and a negative may have 0 too: then a positive may be kept "
    "in its place. What should never be chosen needs less than any loss.",
)
def positives_as_zero(losses, positive, ratio):
    count = min(asked_for(positive, ratio), int((~positive).sum()))
    return kept_of(losses * ~positive, torch.ones_like(positive), count)


@mistake(
    "positives with a loss of 0, dropped afterwards",
    "You give positives a loss of 0 to keep them out, and drop them after the choice. A negative may have 0 too: then "
    "a positive takes its place, and too few are left. What should never be chosen needs less than any loss.",
)
def zero_and_dropped(losses, positive, ratio):
    return kept_of(losses * ~positive, torch.ones_like(positive), asked_for(positive, ratio)) & ~positive


def _places_in_the_shorter_list(got: Any, expected: Any, case: Case) -> bool:
    losses, positive, _ = case.arguments
    negatives = losses[~positive]
    chosen, beyond = got[: len(negatives)], got[len(negatives) :]
    return not beyond.any() and torch.equal(negatives[chosen].sort().values, losses[expected].sort().values)


shorter_list = Mistake(
    "places in the shorter list",
    "You took the negatives out into a list of their own, and used places in *that* list as places among all anchors. "
    "Which anchor is the i-th negative?",
    when=_places_in_the_shorter_list,
)


@mistake(
    "places taken for ranks",
    "You compare what `sort` or `argsort` returns with the number to be kept. It holds the *place* of the hardest, of "
    "the second, ...; not the rank of each anchor.",
)
def places_as_ranks(losses, positive, ratio):
    order = losses.masked_fill(positive, -torch.inf).argsort(descending=True, stable=True)
    return (order < asked_for(positive, ratio)) & ~positive


@mistake(
    "filled up with positives",
    "There may be fewer negatives than `ratio` for each positive. Your list then goes on with positives.",
)
def filled_with_positives(losses, positive, ratio):
    order = losses.masked_fill(positive, -torch.inf).argsort(descending=True, stable=True)
    kept = torch.zeros_like(positive)
    kept[order[: asked_for(positive, ratio)]] = True
    return kept


for_no_positive = Mistake(
    "some for no positive too",
    "Without a positive you keep negatives all the same. `ratio` for each of 0 positives is none.",
    when=lambda got, expected, case: bool(got.any() and not case.arguments[1].any()),
)


@mistake(
    "the positives counted in",
    "You keep `ratio` times the positives *minus* the positives: the ratio counts negatives alone.",
)
def ratio_of_all(losses, positive, ratio):
    return kept_of(losses, ~positive, asked_for(positive, ratio) - int(positive.sum()))


def _at_least_the_limit(got: Any, expected: Any, case: Case) -> bool:
    losses, positive, _ = case.arguments
    more = got & ~expected
    if not expected.any():  # there is no last one to take the limit from
        return True
    return (
        not (expected & ~got).any()
        and not (more & positive).any()
        and bool((losses[more] == losses[expected].min()).all())
    )


at_least_the_limit = Mistake(
    "all that are as hard as the last",
    "You keep every negative whose loss reaches a limit. Where several have exactly that loss, these are too many: the "
    "lower index wins. (And where none is to be kept, no loss is the limit.)",
    when=_at_least_the_limit,
)


@mistake("places instead of a mask", "You return places. It should be a mask: True or False for each anchor.")
def places(losses, positive, ratio):
    order = losses.masked_fill(positive, -torch.inf).argsort(descending=True, stable=True)
    return order[: min(asked_for(positive, ratio), int((~positive).sum()))]


@mistake(
    "more asked for than there are",
    "There may be fewer negatives than `ratio` for each positive, and then `topk` cannot find so many. Keep those that "
    "there are.",
)
def topk_of_too_many(losses, positive, ratio):
    kept = torch.zeros_like(positive)
    kept[losses.masked_fill(positive, -torch.inf).topk(asked_for(positive, ratio)).indices] = True
    return kept


def _another_of_a_tie(got: Any, expected: Any, case: Case) -> bool:
    losses, positive, _ = case.arguments
    return not (got & positive).any() and torch.equal(losses[got].sort().values, losses[expected].sort().values)


other_of_a_tie = Mistake(
    "another one of a tie",
    "You keep as many negatives as you should, and hard ones, but of equal losses not the lower index. `topk` promises "
    "no order among equals; `argsort` with `stable=True` does.",
    when=_another_of_a_tie,
)


last_left_out = Mistake(
    "the last one left out",
    "Of the negatives to keep, you leave out the one with the smallest loss. Does `>` leave out the limit itself?",
    when=lambda got, expected, case: bool(
        not (got & ~expected).any() and (case.arguments[0][expected & ~got] == case.arguments[0][expected].min()).all()
    ),
)

last_0_are_all = Mistake(
    "the last 0 are all",
    "Where none is to be kept you keep all: the last n of a list are `[-n:]`, but `[-0:]` is the whole list. (And of "
    "equal losses, the lower index wins.)",
    when=lambda got, expected, case: bool(got.all()) if not expected.any() else _another_of_a_tie(got, expected, case),
)

some_positives = Mistake(
    "some positives in the mask",
    "Some positives are True in your mask. Asked are the negatives alone.",
    when=lambda got, expected, case: bool((got & case.arguments[1]).any()),
)


def draw_kept(got: Any, expected: Any, case: Case) -> "Figure | None":
    """Draws the loss of each anchor: positives grey, negatives to be kept blue; a cross on what the learner keeps."""
    from matplotlib.figure import Figure  # here, because matplotlib takes longer to import than a check to run

    losses, positive, _ = case.arguments
    if not isinstance(got, Tensor) or got.shape != losses.shape or got.dtype != torch.bool or not len(got):
        return None
    figure = Figure(figsize=(7, 3), layout="constrained", facecolor="white")
    axes, place = figure.subplots(), torch.arange(len(losses))
    kinds = {"positive": (positive, "0.75"), "to keep": (expected, "tab:blue"), "to leave": (None, "lightblue")}
    for label, (of_kind, color) in kinds.items():
        chosen = ~positive & ~expected if of_kind is None else of_kind
        axes.bar(place[chosen], losses[chosen], color=color, label=label)
    axes.plot(place[got], losses[got], "xr", ms=9, label="kept by yours")
    axes.set(title="negatives to keep, and those that yours keeps", xlabel="anchor", ylabel="loss")
    axes.legend()
    return figure


EXERCISE = Exercise(
    name="hard_negatives",
    reference=hard_negatives,
    cases=cases,
    takes={"positive": Kind.MASK},
    gives=Kind.MASK,
    mistakes=[
        Mistake(
            "the easiest kept",
            "You keep the negatives with the smallest losses. From those there is nothing left to learn: keep the "
            "largest.",
            wrong=lambda losses, positive, ratio: kept_of(-losses, ~positive, asked_for(positive, ratio)),
        ),
        Mistake(
            "positives in the mask",
            "The positives are True in your mask. Asked are the negatives alone: positives are False in it.",
            wrong=lambda losses, positive, ratio: hard_negatives(losses, positive, ratio) | positive,
        ),
        among_all,
        Mistake(
            "positives taken out too late",
            "You choose the hardest of all places and drop the positives afterwards: then too few negatives are left. "
            "Take the positives out before you choose.",
            wrong=lambda losses, positive, ratio: among_all.wrong(losses, positive, ratio) & ~positive,
        ),
        positives_as_zero,
        zero_and_dropped,
        filled_with_positives,
        Mistake(
            "ratio as a number",
            "You keep `ratio` negatives, however many positives there are. It is so many for *each* positive.",
            wrong=lambda losses, positive, ratio: kept_of(losses, ~positive, ratio),
        ),
        Mistake(
            "one for each positive",
            "You keep as many negatives as there are positives, whatever `ratio` is.",
            wrong=lambda losses, positive, ratio: kept_of(losses, ~positive, int(positive.sum())),
        ),
        Mistake(
            "a part of the negatives",
            "You keep one of `ratio` negatives. How many are kept depends on the number of *positives*.",
            wrong=lambda losses, positive, ratio: kept_of(losses, ~positive, int((~positive).sum()) // ratio),
        ),
        ratio_of_all,
        Mistake(
            "all negatives",
            "You keep every negative. Then background drowns the rest as before.",
            wrong=lambda losses, positive, ratio: ~positive,
        ),
        places,
        places_as_ranks,
        topk_of_too_many,
        for_no_positive,
        other_of_a_tie,
        shorter_list,
        some_positives,
        at_least_the_limit,
        last_left_out,
        last_0_are_all,
    ],
    lesson_size=lambda: (random_uniform(6480), random_uniform(6480, seed=1) < 0.01, 3),
    picture=draw_kept,
)
