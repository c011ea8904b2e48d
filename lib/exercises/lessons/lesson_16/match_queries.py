"""Which segment of this frame is which of those known: the best of all ways to pair them by their queries' states."""

from functools import partial
from math import cos, radians, sin
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_uniform, random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_16._pairing import (
    all_tried,
    best_first,
    distances,
    each_its_best,
    in_turn,
    mutual,
    newly_numbered,
    opened,
    places_before,
    places_now,
    rows_of,
    smallest_sum,
    turned,
)
from lib.ops import tracking

Given = tuple[Tensor, Tensor, Tensor, Tensor, float]  # the five arguments


def match_queries(before: Tensor, labels_before: Tensor, now: Tensor, labels_now: Tensor, least: float) -> Tensor:
    """The course's own, `lib.ops.tracking.match_queries`, which gives pairs; here each segment's partner."""
    pairs = tracking.match_queries(before, now, least, labels_before[:, None] == labels_now)  # (k, 2)
    partners = torch.full((len(now),), -1)
    partners[pairs[:, 1]] = pairs[:, 0]
    return partners


def cases() -> list[Case]:
    by_hand = (  # cosines of the first known with those of now: 0, 0.8, 0.99...; of the last: 0.8, 0.96, 0.67...
        torch.tensor([[2.0, 0], [-1, 1], [3, 4]]),
        torch.tensor([1, 2, 1]),
        torch.tensor([[0.0, 0.1], [0.8, 0.6], [4, 0.4]]),
        torch.tensor([1, 1, 2]),
        0.5,
    )
    drawn = random_values(4, 5, seed=30), torch.tensor([0, 1, 0, 2]), random_values(3, 5, seed=31)
    crowd = [0.0, 85, 172], [80.0, 165, 252]
    named = {
        "3 known, 3 now, 2 classes": by_hand,
        "6 known, 4 now, 7 numbers": seen_again(6, [4, 2, -1, 5], 7, classes=2, least=0.3, seed=72),
        "3 known, 7 now, 4 numbers": seen_again(3, [-1, 2, -1, 0, -1, -1, 1], 4, classes=2, least=0.4, seed=79),
        "6 known, 6 now, one class": seen_again(6, [3, -1, 0, 5, 1, 2], 4, classes=1, least=0.3, seed=10),
        "5 known, 5 now, 5 numbers": seen_again(5, [1, 0, -1, 4, 2], 5, classes=2, least=0.0, seed=97),
        "three pairs are possible, two are better": (*plane(*crowd), 0.0),
        "two pairs are better than the most similar one": (*plane([0, 90], [75, 155]), 0.1),
        "a cosine of exactly the least": (*plane([0, 45, 90], [90, 180]), 0.0),
        "all very similar": (*plane([0, 9, 25, 33], [5, 12, 39]), 0.9),
        "one known, one now": (*plane([20], [50]), 0.5),
        "one known, one now, and too different": (*plane([20], [100]), 0.5),
        "no class in common": (*drawn, torch.tensor([3, 4, 3]), 0.0),
        "nothing known": (torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64), drawn[2], torch.tensor([1, 0, 1]), 0.5),
        "nothing now": (*drawn[:2], torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64), 0.5),
    }
    return [Case(label, given, all_tried(*given)) for label, given in named.items()]


def seen_again(known: int, again: list[int], numbers: int, classes: int, least: float, seed: int) -> Given:
    """So many known segments, and those of now: each is a known one, somewhat changed, or a new one (−1)."""
    before = random_values(known, numbers, seed=seed)
    labels = torch.arange(known) * 2 % 3 % classes
    change = random_values(len(again), numbers, seed=seed + 10)
    places = torch.tensor(again)
    now = torch.where(places[:, None] < 0, change, before[places] + 0.7 * change)
    labels_now = torch.where(places < 0, torch.arange(len(again)) % classes, labels[places])
    lengths = 4 * random_uniform(known + len(again), 1, seed=seed + 20) + 0.2
    return before * lengths[:known], labels, now * lengths[known:], labels_now, least


def plane(before: list[float], now: list[float]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Vectors of two numbers in these directions, in degrees, of different lengths; all of class 2."""
    axes = {0.0: (1.0, 0.0), 90.0: (0.0, 1.0), 180.0: (-1.0, 0.0)}  # where sin and cos would not be exact
    states = [
        torch.tensor([axes.get(angle, (cos(radians(angle)), sin(radians(angle)))) for angle in angles])
        for angles in (before, now)
    ]
    scaled = [each * (torch.arange(len(each)) * 3 % 4 + 0.5)[:, None] for each in states]
    return scaled[0], torch.full((len(before),), 2), scaled[1], torch.full((len(now),), 2)


def float32_for_nothing(*given: Any) -> Tensor:
    partners = opened(*given)
    return partners if len(partners) else torch.tensor([])


COSINE = "The cosine of the angle is the inner product of the two vectors, each divided by its own length."
ONLY_SUM = "Only the *sum* over all pairs counts: `linear_sum_assignment`, of lesson 14, finds the best way."
BEFORE = "A pair that is ruled out can take the place of one that is not. Rule out *before* you look for the best way"
PARTNER = "The task asks for each thing of *this frame* for its partner's place in `before`, or −1."

Decisions = list[tuple[str, str, dict[str, Any]]]

OF_SIMILARITY: Decisions = [
    (
        "inner product",
        f"You compare vectors by their inner product: a long one is similar to many. {COSINE}",
        {"similarity": lambda before, now: before @ now.T},
    ),
    (
        "only those before of length 1",
        f"You divided the vectors of `before` by their lengths, but not those of `now`. {COSINE}",
        {"similarity": lambda before, now: F.normalize(before, dim=1) @ now.T},
    ),
    (
        "only those of now of length 1",
        f"You divided the vectors of `now` by their lengths, but not those of `before`. {COSINE}",
        {"similarity": lambda before, now: before @ F.normalize(now, dim=1).T},
    ),
    (
        "lengths along the wrong axis",
        "You divided each *column* by its length. A vector is a row: its length is taken along axis 1.",
        {"similarity": lambda before, now: F.normalize(before, dim=0) @ F.normalize(now, dim=0).T},
    ),
    *(
        (
            f"Euclidean distance, {how}",
            f"You compare vectors by the distance between them. {COSINE}",
            {"similarity": lambda before, now, turn=turn: turn(distances(before, now))},
        )
        for how, turn in (
            ("negative", lambda distance: -distance),
            ("1 minus it", lambda distance: 1 - distance),
            ("1 / (1 + it)", lambda distance: 1 / (1 + distance)),
        )
    ),
    (
        "distances of at most the least",
        f"You compare vectors by the distance between them, and allow distances up to `least`. {COSINE}",
        {
            "similarity": distances,
            "rules": lambda distance, same, least: same & (distance <= least),
            "gain": lambda distance, same, least, allowed: torch.where(allowed, -distance, -1e6),
        },
    ),
]

OF_RULES: Decisions = [
    (
        "classes forgotten",
        "You pair things of different classes. Two may be paired only if their labels are the same.",
        {"rules": lambda similarity, same, least: similarity >= least},
    ),
    (
        "least forgotten",
        "You pair things whose cosine is below `least`. Such a pair is ruled out.",
        {"rules": lambda similarity, same, least: same},
    ),
    (
        "classes and least forgotten",
        "You rule out no pair. Two may be paired only if their labels are the same and their cosine is at least "
        "`least`.",
        {"rules": lambda similarity, same, least: torch.ones_like(same)},
    ),
    (
        "more than the least",
        "Right, but a pair whose cosine is exactly `least` is ruled out by you. *At least* means that it may be.",
        {"rules": lambda similarity, same, least: same & (similarity > least)},
    ),
    (
        "cosine + 1 compared with the least",
        "You compare cosine + 1 with `least`. The cosine itself must be at least `least`; 1 is added for the sum.",
        {"rules": lambda similarity, same, least: same & (similarity + 1 >= least)},
    ),
]

OF_CHOICE: Decisions = [
    (
        "each takes its best",
        "Each of your things takes its best partner, and two may take the same one. Each is in one pair at most.",
        {"chosen": each_its_best},
    ),
    (
        "each known one takes its best",
        "Each known thing takes its best partner in this frame, and two may take the same one. Each is in one pair "
        "at most.",
        {"chosen": partial(turned, each_its_best)},
    ),
    (
        "the best pair first",
        f"You take the best pair, then the best of what is left: the first may spoil two good ones. {ONLY_SUM}",
        {"chosen": best_first},
    ),
    (
        "segment after segment",
        "You go from thing to thing of this frame, and each takes the best partner that is left. An early one may "
        f"take what a later one needs more. {ONLY_SUM}",
        {"chosen": in_turn},
    ),
    (
        "known one after known one",
        "You go from one known thing to the next, and each takes the best partner that is left. An early one may "
        f"take what a later one needs more. {ONLY_SUM}",
        {"chosen": partial(turned, in_turn)},
    ),
    (
        "only each other's best",
        f"You pair only two that are each other's best. Others may be paired, too. {ONLY_SUM}",
        {"chosen": mutual},
    ),
    (
        "smallest sum",
        "You look for the smallest sum: `linear_sum_assignment` minimises if it is not told otherwise. The task asks "
        "for the largest.",
        {"chosen": smallest_sum},
    ),
    (
        "smallest sum, and pairs ruled out are dear",
        "You look for the smallest sum: `linear_sum_assignment` minimises if it is not told otherwise. The task asks "
        "for the largest.",
        {
            "chosen": smallest_sum,
            "gain": lambda similarity, same, least, allowed: torch.where(allowed, similarity + 1, 1e6),
        },
    ),
    (
        "sum of the cosines",
        "You add up the cosines alone. Each pair counts cosine + 1, so that more pairs are mostly better than fewer.",
        {"gain": lambda similarity, same, least, allowed: torch.where(allowed, similarity, 0)},
    ),
    (
        "as many pairs as possible",
        "In your sum a pair that is ruled out costs so much that you first make as many of the other pairs as can be "
        "made. Only their sum of (cosine + 1) counts: two very similar pairs may be more than three. A pair that is "
        "ruled out is no pair, and adds 0. (With an infinite cost it fails where somebody has no partner left.)",
        {"gain": lambda similarity, same, least, allowed: torch.where(allowed, similarity + 1, -1e6)},
    ),
    (
        "ruled out afterwards",
        f"You look for the best way among all pairs, and rule out afterwards. {BEFORE}, by class and by `least`.",
        {"gain": lambda similarity, same, least, allowed: similarity + 1},
    ),
    (
        "classes ruled out afterwards",
        f"You look at the classes after the best way is found. {BEFORE}.",
        {"gain": lambda similarity, same, least, allowed: torch.where(similarity >= least, similarity + 1, 0)},
    ),
    (
        "least ruled out afterwards",
        f"You look at `least` after the best way is found. {BEFORE}.",
        {"gain": lambda similarity, same, least, allowed: torch.where(same, similarity + 1, 0)},
    ),
]

OF_RESULT: Decisions = [
    (
        "pairs that are ruled out kept",
        "You return pairs that are ruled out. `linear_sum_assignment` pairs as many as it can, even where that adds "
        "nothing to the sum: throw those pairs out.",
        {"kept": lambda old, new, allowed: True},
    ),
    (
        "places in now",
        f"You give each *known* thing its partner's place in `now`. {PARTNER}",
        {"told": places_now},
    ),
    ("pairs instead of places", f"You return the pairs. {PARTNER}", {"told": lambda pairs, *counts: rows_of(pairs)}),
    (
        "pairs, now first",
        f"You return the pairs. {PARTNER}",
        {"told": lambda pairs, *counts: rows_of([(new, old) for old, new in pairs])},
    ),
    (
        "births left out",
        f"You return the partners' places alone, as many as there are pairs: whose they are is lost. {PARTNER}",
        {"told": lambda pairs, *counts: rows_of(pairs)[:, 0]},
    ),
    (
        "births are 0",
        "A birth is −1. You return 0, which is a place in `before`, the first.",
        {"told": lambda *given: places_before(*given).clamp(min=0)},
    ),
    (
        "births are n",
        "A birth is −1. You return n, the number of those known.",
        {"told": lambda pairs, known, count: newly_numbered(pairs, known, count).clamp(max=known)},
    ),
    (
        "births numbered",
        "You give births numbers of their own, from n on. The task asks for −1 for each.",
        {"told": newly_numbered},
    ),
]

EXERCISE = Exercise(
    name="match_queries",
    reference=match_queries,
    cases=cases,
    takes={"labels_before": Kind.CLASSES, "labels_now": Kind.CLASSES},
    gives=Kind.INDICES,
    mistakes=[
        *(
            Mistake(name, told, wrong=partial(opened, **made))
            for name, told, made in OF_SIMILARITY + OF_RULES + OF_CHOICE + OF_RESULT
        ),
        *(
            Mistake(f"{name}; {other}", f"Two things at once. {told} {also}", wrong=partial(opened, **made, **more))
            for name, told, made in OF_SIMILARITY[:1] + OF_RULES[:2]
            for other, also, more in OF_CHOICE[:3]
        ),
        Mistake(
            "float32 for nothing",
            "Right but where this frame has nothing: there you return an empty tensor of float32, as "
            "`torch.tensor([])` is. Say the `dtype`: int64.",
            wrong=float32_for_nothing,
        ),
    ],
)
