"""Which of many masks to keep: those that are sure, stable, not empty, and not nearly the whole picture."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_uniform, random_values
from lib.exercises.engine.kinds import Kind


def keep_masks(
    logits: Tensor, guesses: Tensor, stability: Tensor, least_guess: float, least_stability: float, largest: float
) -> Tensor:
    """All four conditions at once, then the places where they hold."""
    share = (logits > 0).float().mean((1, 2))  # (M,) of the picture
    good = (guesses >= least_guess) & (stability >= least_stability) & (share > 0) & (share <= largest)
    return good.nonzero()[:, 0]


def drawn(*masks: str) -> Tensor:
    """Logits (M, H, W) from "#" (above 0), "." (below) and "0"; rows with a space between them."""
    values = {"#": 1.5, ".": -2.0, "0": 0.0}
    return torch.tensor([[[values[sign] for sign in row] for row in mask.split()] for mask in masks])


def several(count: int, height: int, width: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, from masks that are empty to full ones, in any order; guesses; stabilities."""
    moved = torch.linspace(-4, 4, count)[random_uniform(count, seed=seed).argsort()]  # (M,)
    logits = random_values(count, height, width, seed=seed) + moved[:, None, None]
    return logits, random_uniform(count, seed=seed + 1), random_uniform(count, seed=seed + 2)


def cases() -> list[Case]:
    by_hand = drawn("##.. ##..", "#... #...", ".##. .#..", "##.. #...", ".... ....", "#### ####")
    alike = torch.tensor([0.75, 0.75, 0.75])
    steps = torch.tensor([0.5, 0.25, 0.75])
    some = drawn("#... ##..", ".... #...", "###. ....")
    zeros = drawn("00.. ..0.", "#0.. .#..", "#000 0000", "#### ##0#")
    halves = drawn("##.. ##..", "#### #...", "###. ....")
    sure = torch.tensor([0.75, 0.25, 0.5, 1.0, 0.875, 0.625])
    named: dict[str, tuple[Tensor, Tensor, Tensor, float, float, float]] = {
        "6 masks of 2 × 4 pixels; 4 of them fail, each for another reason": (
            by_hand,
            torch.tensor([0.75, 0.25, 0.9, 0.8, 0.85, 0.95]),
            torch.tensor([0.8, 0.9, 0.6, 0.25, 0.95, 0.9]),
            0.7,
            0.55,
            0.75,
        ),
        "a guess that is exactly `least_guess`": (some, steps, alike, 0.5, 0.625, 0.75),
        "a stability that is exactly `least_stability`": (some, alike, steps, 0.625, 0.5, 0.75),
        "a mask that covers exactly the share `largest`": (halves, alike, alike, 0.5, 0.625, 0.5),
        "logits that are exactly 0": (zeros, sure[2:], sure[2:], 0.25, 0.375, 0.625),
        "24 masks": (*several(24, 5, 7, seed=1), 0.25, 0.375, 0.7),
        "40 masks, and all shares allowed": (*several(40, 7, 3, seed=4), 0.375, 0.25, 1.0),
        "30 masks, and only small shares allowed": (*several(30, 3, 11, seed=7), 0.125, 0.25, 0.2),
        "all lengths are 4": (*several(4, 4, 4, seed=30), 0.125, 0.0625, 0.2),
        "all masks are good enough": (by_hand[:4], sure[:4], sure[2:], 0.125, 0.25, 0.75),
        "no mask is good enough": (by_hand, sure, sure, 1.5, 0.5, 0.75),
        "one mask": (by_hand[2:3], sure[:1], sure[3:4], 0.5, 0.75, 0.5),
        "masks of one row": (*several(9, 1, 6, seed=14), 0.125, 0.25, 0.9),
        "masks of one pixel": (drawn("#", ".", "#"), sure[2:5], sure[:3], 0.25, 0.5, 1.0),
        "no masks": (by_hand[:0], sure[:0], sure[:0], 0.25, 0.5, 0.75),
    }
    return [Case(label, given, mask_by_mask(*given)) for label, given in named.items()]


def mask_by_mask(
    logits: Tensor, guesses: Tensor, stability: Tensor, least_guess: float, least_stability: float, largest: float
) -> Tensor:
    """The truth: pixels counted one by one, in whole numbers."""
    kept = []
    for place, (rows, guess, stable) in enumerate(zip(logits.tolist(), guesses.tolist(), stability.tolist())):
        above = [value > 0 for row in rows for value in row]
        if guess < least_guess or stable < least_stability or not any(above):
            continue
        if Fraction(sum(above), len(above)) <= Fraction(largest):
            kept.append(place)
    return torch.tensor(kept, dtype=torch.int64)


Test = Callable[[Tensor, float], Tensor]  # values (M,) and a bound -> (M,) bool


def never_asked(values: Tensor, bound: float) -> Tensor:
    return torch.ones(len(values), dtype=torch.bool)


def of_the_picture(masks: Tensor) -> Tensor:
    return masks.float().mean((1, 2))


def opened(
    logits: Tensor,
    guesses: Tensor,
    stability: Tensor,
    least_guess: float,
    least_stability: float,
    largest: float,
    *,
    masks: Callable[[Tensor], Tensor] = lambda logits: logits > 0,
    share: Callable[[Tensor], Tensor] = of_the_picture,
    sure: Test = torch.ge,
    stable: Test = torch.ge,
    some: Test = torch.gt,
    small: Test = torch.le,
) -> Tensor:
    """Whether each mask is kept (M,), with the decisions of `keep_masks` open.

    Args:
        masks: from logits (M, H, W) to masks.
        share: from masks to what is compared with 0 and with `largest` (M,).
        sure, stable, some, small: the tests of the guess, the stability, and (the last two) the share.
    """
    covered = share(masks(logits))
    tests = sure(guesses, least_guess), stable(stability, least_stability), some(covered, 0), small(covered, largest)
    return torch.stack(tests).all(0)


def places(*given: Any, **made: Any) -> Tensor:
    return opened(*given, **made).nonzero()[:, 0]


def shortened(*given: Any, before: Sequence[str], after: Sequence[str]) -> Tensor:
    """Some tests before the others; the places are those in what the first ones left."""
    left = places(*given, **dict.fromkeys(after, never_asked))
    skipped: dict[str, Any] = dict.fromkeys(before, never_asked)
    return opened(*given, **skipped)[left].nonzero()[:, 0]


def one_is_enough(*given: Any) -> Tensor:
    return (opened(*given, sure=never_asked) | opened(*given, stable=never_asked)).nonzero()[:, 0]


def by_guess(logits: Tensor, guesses: Tensor, *given: Any) -> Tensor:
    kept = places(logits, guesses, *given)
    return kept[guesses[kept].argsort(descending=True)]


AT_LEAST = "`{0}` is the least that is allowed: a mask that has exactly this stays. Yours drops it."
SLIPS: list[tuple[str, str, dict[str, Any]]] = [  # a name, words that are true beside others, decisions of `opened`
    ("guess strict", AT_LEAST.format("least_guess"), {"sure": torch.gt}),
    ("stability strict", AT_LEAST.format("least_stability"), {"stable": torch.gt}),
    (
        "share strict",
        "A mask that covers exactly the share `largest` is still allowed. Yours drops it.",
        {"small": torch.lt},
    ),
    ("guesses forgotten", "You do not ask for the guess. It must be at least `least_guess`.", {"sure": never_asked}),
    (
        "stability forgotten",
        "You do not ask for the stability. It must be at least `least_stability`.",
        {"stable": never_asked},
    ),
    (
        "empty masks kept",
        "You keep masks without any pixel. A mask needs at least one.",
        {"some": never_asked},
    ),
    (
        "large masks kept",
        "You keep masks however large they are. The share of the picture that a mask covers may be at most `largest`; "
        "and a picture has H · W pixels, which need not be 96 · 96.",
        {"small": never_asked},
    ),
    (
        "0 taken in",
        "You count a pixel whose logit is exactly 0. A mask is where the logits are *above* 0.",
        {"masks": lambda logits: logits >= 0},
    ),
]
SINGLE: list[tuple[str, str, dict[str, Any]]] = [
    (
        "pixels, not a share",
        "You compare a number of pixels with `largest`, which is a share of the picture, 0..1.",
        {"share": lambda masks: masks.sum((1, 2))},
    ),
    (
        "share of all pictures",
        "You divide by the pixels of all M masks together. Each mask is compared with one picture of H · W pixels.",
        {"share": lambda masks: masks.sum((1, 2)) / masks.numel()},
    ),
    (
        "logits averaged",
        "You take the mean of the logits themselves. A mask's share is the number of pixels whose logit is above 0, "
        "divided by all pixels.",
        {"masks": lambda logits: logits},
    ),
    (
        "above 0.5",
        "You count the pixels whose logit is above 0.5. A logit of 0 is a probability of 0.5: the masks end at 0.",
        {"masks": lambda logits: logits > 0.5},
    ),
    (
        "the small ones dropped",
        "You drop the masks that cover less than the share `largest`. It is the larger ones that go.",
        {"small": torch.ge},
    ),
    (
        "all strict",
        "Right, but for masks that lie exactly at a bound: at least and at most let the bound itself in. All three of "
        "yours drop it.",
        {"sure": torch.gt, "stable": torch.gt, "small": torch.lt},
    ),
]


EXERCISE = Exercise(
    name="keep_masks",
    reference=keep_masks,
    cases=cases,
    takes={"logits": Kind.MAP},
    gives=Kind.INDICES,
    mistakes=[
        Mistake(
            "yes or no instead of places",
            "You return a yes or no for each mask. Asked are the places of those that stay: `nonzero` finds them.",
            wrong=opened,
        ),
        Mistake(
            "masks instead of places",
            "You return the logits of the masks that stay. Asked are their places, (K,), so that their guesses can be "
            "found, too.",
            wrong=lambda logits, *given: logits[opened(logits, *given)],
        ),
        *(Mistake(name, told, wrong=partial(places, **made)) for name, told, made in [*SLIPS, *SINGLE]),
        Mistake(
            "one of both is enough",
            "You keep masks that are sure *or* stable. They must be both.",
            wrong=one_is_enough,
        ),
        Mistake(
            "sorted by guess",
            "You found the right masks, and sorted them by their guesses. Asked are their places in order.",
            wrong=by_guess,
        ),
        *(
            Mistake(
                f"places in a shortened list, after {len(before)} tests",
                "You drop some masks before you test the others, and your numbers are places in the list that was "
                "left. The caller has the whole one: put the conditions together first.",
                wrong=partial(shortened, before=before, after=after),
            )
            for before, after in ((("sure", "stable"), ("some", "small")), (("sure", "stable", "some"), ("small",)))
        ),
        *(
            Mistake(f"{name}; {other}", f"Two things at once. {told} {words}", wrong=partial(places, **made, **more))
            for (name, told, made), (other, words, more) in combinations(SLIPS, 2)
            if not made.keys() & more.keys()
        ),
    ],
)
