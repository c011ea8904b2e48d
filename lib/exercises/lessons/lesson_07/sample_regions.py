"""Draw the regions of a picture that a step learns from, at most a quarter of them positive."""

from collections.abc import Callable

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, Probe, WrongResult, mistake


def sample_regions(overlaps: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The course's own road: as `BalancedPositiveNegativeSampler`, with the paper's numbers."""
    positives = (overlaps >= 0.5).nonzero()[:, 0]
    negatives = ((overlaps >= 0.1) & (overlaps < 0.5)).nonzero()[:, 0]
    positives = positives[torch.randperm(len(positives), generator=generator)[: count // 4]]
    rest = count - len(positives)
    return positives, negatives[torch.randperm(len(negatives), generator=generator)[:rest]]


def _overlaps(many: int, some: int, none: int, seed: int, extra: tuple[float, ...] = ()) -> Tensor:
    """`many` regions of at least 0.5, `some` of 0.1 to 0.5, `none` below 0.1, shuffled."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(many + some + none, generator=generator, dtype=torch.float32)
    low = torch.tensor([0.52] * many + [0.12] * some + [0.0] * none)
    width = torch.tensor([0.46] * many + [0.36] * some + [0.09] * none)
    overlaps = torch.cat([low + width * drawn, torch.tensor(extra)])
    return overlaps[torch.randperm(len(overlaps), generator=generator)]


def sampling() -> dict[str, tuple[Tensor, int]]:
    """By what is special about them: overlaps, and how many to draw."""
    return {
        "20 of 120 regions are positive": (_overlaps(20, 60, 40, seed=0), 32),
        "count 7 is no multiple of 4": (_overlaps(20, 60, 40, seed=6), 7),
        "one positive, one of background": (_overlaps(1, 1, 5, seed=8), 16),
        "count 3: no quarter of it is a whole region": (_overlaps(20, 60, 40, seed=9), 3),
        "only 3 are positive": (_overlaps(3, 60, 40, seed=1), 32),
        "none is positive": (_overlaps(0, 60, 40, seed=2), 32),
        "hardly any background to choose from": (_overlaps(30, 10, 40, seed=3), 32),
        "overlaps of exactly 0.5 and 0.1": (_overlaps(0, 0, 5, seed=4, extra=(0.5,) * 2 + (0.1,) * 6), 16),
        "fewer regions than asked for": (_overlaps(2, 4, 3, seed=5), 64),
        "no regions at all": (torch.zeros(0), 16),
    }


def cases() -> list[Case]:
    return [
        Case(label, (overlaps, count, torch.Generator().manual_seed(7)), _counted(overlaps.tolist(), count))
        for label, (overlaps, count) in sampling().items()
    ]


NEITHER = "backgrounds that overlap by less than 0.1"
BETTER = "backgrounds that overlap by 0.5 or more"
WORSE = "positives that overlap by less than 0.5"


def _counted(overlaps: list[float], count: int) -> dict[str, int]:
    tenth = torch.tensor(0.1).item()
    positives = min(sum(value >= 0.5 for value in overlaps), count // 4)
    backgrounds = min(sum(tenth <= value < 0.5 for value in overlaps), count - positives)
    return {"positives": positives, "backgrounds": backgrounds, WORSE: 0, BETTER: 0, NEITHER: 0, "drawn twice": 0}


def look_at_draw(result: object, overlaps: Tensor, count: int, generator: torch.Generator) -> dict[str, int]:
    """What was drawn, in numbers that do not depend on chance."""
    if not isinstance(result, (tuple, list)) or len(result) != 2 or not all(isinstance(x, Tensor) for x in result):
        raise WrongResult(
            "not two tensors",
            "Return two tensors: the numbers of the positives that were drawn, and those of the backgrounds.",
        )
    if any(x.dtype == torch.bool for x in result):
        raise WrongResult(
            "masks instead of numbers",
            "You returned masks of True and False. The task asks for the "
            "numbers of the regions: `nonzero` turns one into the other.",
        )
    if any(x.is_floating_point() and x.numel() for x in result):
        raise WrongResult(
            "overlaps instead of numbers",
            "You returned numbers with decimals: the overlaps themselves? "
            "The task asks for the *places* of the regions in `overlaps`.",
        )
    if any(x.ndim != 1 for x in result):
        shapes = " and ".join(str(tuple(x.shape)) for x in result)
        raise WrongResult(
            "not one axis",
            f"Your two tensors have the shapes {shapes}; each should be a row of numbers, "
            "(n,). `nonzero` gives (n, 1).",
        )
    positives, negatives = (x.long() for x in result)
    both = torch.cat([positives, negatives])
    if len(both) and not 0 <= both.min() <= both.max() < len(overlaps):
        raise WrongResult(
            "places that do not exist",
            f"You drew places {both.min()} to {both.max()}; there are {len(overlaps)} regions, counted from 0.",
        )
    return {
        "positives": len(positives),
        "backgrounds": len(negatives),
        WORSE: int((overlaps[positives] < 0.5).sum()),
        BETTER: int((overlaps[negatives] >= 0.5).sum()),
        NEITHER: int((overlaps[negatives] < 0.1).sum()),
        "drawn twice": len(both) - len(both.unique()),
    }


def all_have_their_chance(function: Callable) -> bool:
    """Whether every region of a kind is drawn sometimes."""
    overlaps, count = sampling()["20 of 120 regions are positive"]
    drawn = {
        place
        for seed in range(40)
        for x in function(overlaps, count, torch.Generator().manual_seed(seed))
        for place in x.tolist()
    }
    return drawn == set((overlaps >= 0.1).nonzero()[:, 0].tolist())


def listens_to_the_generator(function: Callable) -> bool:
    """Whether the same generator gives the same draw, whatever PyTorch's own one does."""
    overlaps, count = sampling()["20 of 120 regions are positive"]
    draws = []
    for seed in (1, 2, 3):
        torch.manual_seed(seed)
        draws.append([sorted(x.tolist()) for x in function(overlaps, count, torch.Generator().manual_seed(5))])
    return draws[0] == draws[1] == draws[2]


def drawn(overlaps: Tensor, positives: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """At most `positives` positives, and background up to `count`."""
    places = (overlaps >= 0.5).nonzero()[:, 0]
    places = places[torch.randperm(len(places), generator=generator)[:positives]]
    others = ((overlaps >= 0.1) & (overlaps < 0.5)).nonzero()[:, 0]
    return places, others[torch.randperm(len(others), generator=generator)[: max(0, count - len(places))]]


def drawn_from(positive: Tensor, background: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The right draw, from other groups: both masks (P,)."""
    places = positive.nonzero()[:, 0]
    places = places[torch.randperm(len(places), generator=generator)[: count // 4]]
    others = background.nonzero()[:, 0]
    return places, others[torch.randperm(len(others), generator=generator)[: count - len(places)]]


@mistake("0.1 left out", "A region with exactly 0.1 is background: *at least* 0.1. You leave it out.")
def tenth_left_out(overlaps, count, generator):
    return drawn_from(overlaps >= 0.5, (overlaps > 0.1) & (overlaps < 0.5), count, generator)


@mistake(
    "0.5 in both groups", "A region with exactly 0.5 is in both of your groups. It is positive, and no background."
)
def half_in_both(overlaps, count, generator):
    return drawn_from(overlaps >= 0.5, (overlaps >= 0.1) & (overlaps <= 0.5), count, generator)


@mistake("0.5 in no group", "A region with exactly 0.5 is in none of your groups. It is positive: 0.5 *or more*.")
def half_left_out(overlaps, count, generator):
    return drawn_from(overlaps > 0.5, (overlaps >= 0.1) & (overlaps < 0.5), count, generator)


@mistake(
    "0.5 taken for background", "A region with exactly 0.5 is background in your draw. It is positive: 0.5 *or more*."
)
def half_is_background(overlaps, count, generator):
    return drawn_from(overlaps > 0.5, (overlaps >= 0.1) & (overlaps <= 0.5), count, generator)


@mistake(
    "places in the list of positives",
    "You drew places in the *list of positives*, and in that of the backgrounds, and did not look up which regions "
    "stand there.",
)
def not_looked_up(overlaps, count, generator):
    positive, background = (overlaps >= 0.5).sum(), ((overlaps >= 0.1) & (overlaps < 0.5)).sum()
    places = torch.randperm(int(positive), generator=generator)[: count // 4]
    return places, torch.randperm(int(background), generator=generator)[: count - len(places)]


@mistake("backgrounds first", "You return the backgrounds first. The positives come first.")
def backgrounds_first(overlaps, count, generator):
    return sample_regions(overlaps, count, generator)[::-1]


@mistake("quarter rounded up", "A quarter of 7 is 1.75, and at most 1 may be positive: round it down.")
def quarter_rounded_up(overlaps, count, generator):
    return drawn(overlaps, -(-count // 4), count, generator)


@mistake("half of them positive", "You let half of the draw be positive. Here it is at most a quarter.")
def half_positive(overlaps, count, generator):
    return drawn(overlaps, count // 2, count, generator)


@mistake(
    "always three quarters of background",
    "You draw three quarters of `count` as background, however few the positives are. Count what you *have* drawn of "
    "positives: background fills up the rest.",
)
def rest_of_three_quarters(overlaps, count, generator):
    positives, others = drawn(overlaps, count // 4, 10**6, generator)
    return positives, others[: count - count // 4]


EXERCISE = Exercise(
    name="sample_regions",
    reference=sample_regions,
    cases=cases,
    mistakes=[
        tenth_left_out,
        half_in_both,
        half_left_out,
        half_is_background,
        not_looked_up,
        backgrounds_first,
        quarter_rounded_up,
        half_positive,
        rest_of_three_quarters,
        Mistake(
            "positives that overlap too little",
            "Some of your positives overlap by less than 0.5. Did you draw places in the *list of positives*, and "
            "not look up which regions stand there? Or is your limit another one?",
            when=lambda got, expected, case: got[WORSE] > 0,
        ),
        Mistake(
            "background below 0.1 too",
            "You drew backgrounds that overlap by less than 0.1. The paper leaves those out: most of them are far "
            "from everything, and easy.",
            when=lambda got, expected, case: got[NEITHER] > 0,
        ),
        Mistake(
            "drawn twice",
            "Some region is in your draw twice. Draw without putting back: shuffle the places, and take the first few.",
            when=lambda got, expected, case: got["drawn twice"] > 0,
        ),
        Mistake(
            "0.5 counts as background",
            "Some of your backgrounds overlap by 0.5 or more. A region of exactly 0.5 is positive, and nothing else.",
            when=lambda got, expected, case: got[BETTER] > 0,
        ),
        Mistake(
            "too many positives",
            "You draw more positives than a quarter of `count`.",
            when=lambda got, expected, case: got["positives"] > expected["positives"],
        ),
        Mistake(
            "too many backgrounds",
            "You draw more regions than `count`. How much room have the positives left?",
            when=lambda got, expected, case: got["backgrounds"] > expected["backgrounds"],
        ),
        Mistake(
            "background does not fill up",
            "Your draw is too small. What is missing in positives is filled with background, as long as there is some.",
            when=lambda got, expected, case: got["backgrounds"] < expected["backgrounds"],
        ),
    ],
    observe=look_at_draw,
    probes=[
        Probe(
            "always the same regions",
            "The numbers are right, but in forty draws some regions never came up. Each one must have its chance, "
            "whatever the others do: shuffle the places; do not take the first ones, the best ones or a run of "
            "neighbours.",
            passes=all_have_their_chance,
        ),
        Probe(
            "generator not used",
            "With the same generator your function gave two different draws. Hand the generator on: "
            "`torch.randperm(n, generator=generator)`.",
            passes=listens_to_the_generator,
        ),
    ],
)
