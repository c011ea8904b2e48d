"""Which query answers to which phrase, where each word of each phrase was judged."""

import math
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.values import in_single_precision
from lib.exercises.lessons.lesson_19._ways_to_score import SCORES, Score, Way
from lib.ops.phrases import phrase_scores

Found = tuple[Tensor, ...]  # queries (n,), labels (n,), scores (n,)


def phrase_labels(logits: Tensor, phrases: Tensor, threshold: float) -> Found:
    """The course's own, as in `lib.models.grounding.GroundingDINO.predict`."""
    scores = phrase_scores(logits, phrases)  # (Q, P)
    queries, labels = (scores >= threshold).nonzero(as_tuple=True)  # (n,) each
    return best_first(queries, labels, scores)


def best_first(queries: Tensor, labels: Tensor, scores: Tensor) -> Found:
    order = scores[queries, labels].argsort(descending=True)
    return queries[order], labels[order], scores[queries, labels][order]


# --- cases ------------------------------------------------------------------------------------------------------------


def asked(lengths: list[int], padding: int = 0, end: bool = True) -> Tensor:
    """Phrases of so many words: (T,) int64, to which phrase each token belongs; a −1 ends each phrase."""
    tokens = [number for place, length in enumerate(lengths) for number in [place] * length + [-1]]
    return torch.tensor((tokens if end else tokens[:-1]) + [-1] * padding)


def judged(phrases: Tensor, probabilities: list[list[float]]) -> Tensor:
    """Logits (Q, T) from probabilities of the words alone, (Q, W)."""
    logits = torch.full((len(probabilities), len(phrases)), -math.inf)
    logits[:, phrases >= 0] = torch.tensor(probabilities).logit()
    return logits


def drawn(count: int, phrases: Tensor, seed: int) -> Tensor:
    """Logits (count, T) of words that are mostly doubted."""
    logits = 1.5 * random_values(count, len(phrases), seed=seed) - 0.5
    return logits.masked_fill(phrases < 0, -math.inf)


def cases() -> list[Case]:
    cone = asked([3, 1])  # "small red cone . sphere ."
    first = judged(cone, [[0.9, 0.8, 0.4, 0.1], [0.1, 0.2, 0.12, 0.8], [0.95, 0.05, 0.8, 0.5]])
    # Means: 0.7 and 0.1; 0.14 and 0.8; 0.6 and 0.5.
    worked = torch.tensor([1, 0, 2, 2]), torch.tensor([1, 0, 0, 1]), torch.tensor([0.8, 0.7, 0.6, 0.5])
    edge, alone, four = asked([1, 2]), asked([3], end=False), asked([1, 2, 1, 3])
    at_edge = judged(edge, [[0.5, 0.75, 0.8], [0.1, 0.2, 0.25], [0.4, 0.9, 0.7]])
    one, two, many, nothing = asked([2], padding=3), asked([1, 1, 1, 1]), asked([2, 3, 1, 2, 1], 2), asked([], 3)
    named = {
        "a score that is exactly the threshold": (at_edge, edge, 0.5),
        "12 queries, 4 phrases": (drawn(12, four, 1), four, 0.45),
        "20 queries, 5 phrases, padding": (drawn(20, many, 2), many, 0.4),
        "one phrase, padding": (drawn(6, one, 3), one, 0.3),
        "one phrase without a separator": (drawn(5, alone, 4), alone, 0.35),
        "phrases of one word each": (drawn(8, two, 5), two, 0.5),
        "all lengths are 2": (drawn(2, torch.tensor([0, 1]), 6), torch.tensor([0, 1]), 0.4),
        "one query, threshold 0": (drawn(1, cone, 7), cone, 0.0),
        "nothing fits": (drawn(4, four, 8), four, 0.99),
        "no queries": (torch.zeros(0, len(cone)), cone, 0.3),
        "no word: P is 0": (torch.full((3, 3), -math.inf), nothing, 0.3),
    }
    label = "3 queries; a phrase of 3 words and one of a single word; each ends with a separator, −1; worked by hand"
    made = [Case(label, (first, cone, 0.45), worked)]
    return made + [Case(label, given, pair_by_pair(*given)) for label, given in named.items()]


def pair_by_pair(logits: Tensor, phrases: Tensor, threshold: float) -> Found:
    """The truth: plain numbers, one query and one phrase at a time."""
    found = []
    for (query, row), label in product(enumerate(logits.tolist()), range(max(phrases.tolist()) + 1)):
        chances = [1 / (1 + math.exp(-logit)) for logit, owner in zip(row, phrases.tolist()) if owner == label]
        score = math.fsum(chances) / len(chances)
        if score >= threshold:
            found.append((score, query, label))
    found.sort(reverse=True)
    queries, labels = ([pair[i] for pair in found] for i in (1, 2))
    return torch.tensor(queries).long(), torch.tensor(labels).long(), torch.tensor([pair[0] for pair in found])


# --- mistakes ---------------------------------------------------------------------------------------------------------

Choice = Callable[[Tensor, float], Tensor]  # scores (Q, P), threshold -> (Q, P) bool
Telling = Callable[[Tensor, Tensor, Tensor], Any]  # queries, labels in order of the table; scores (Q, P)


def opened(
    logits: Tensor,
    phrases: Tensor,
    threshold: float,
    score: Score = phrase_scores,
    choice: Choice = torch.ge,
    told: Telling = best_first,
) -> Any:
    """`phrase_labels` with its decisions open."""
    scores = score(logits, phrases)
    queries, labels = choice(scores, threshold).nonzero(as_tuple=True)
    return told(queries, labels, scores)


def best_of_row(scores: Tensor, threshold: float, axis: int = 1) -> Tensor:
    return (scores >= threshold) & (scores == scores.amax(axis, keepdim=True)) if scores.numel() else scores > 1


def partly_sorted(which: str) -> Telling:
    """Only those of the three parts that `which` names in order of the scores."""

    def told(queries: Tensor, labels: Tensor, scores: Tensor) -> Found:
        table = {"queries": queries, "labels": labels, "scores": scores[queries, labels]}
        order = table["scores"].argsort(descending=True)
        return tuple(part[order] if name in which else part for name, part in table.items())

    return told


def phrase_by_phrase(queries: Tensor, labels: Tensor, scores: Tensor) -> Found:
    order = labels.argsort(stable=True)
    return queries[order], labels[order], scores[queries, labels][order]


def each_word_tested(logits: Tensor, phrases: Tensor, threshold: float) -> Any:
    all_sure = phrase_scores(logits, phrases, "min") >= threshold
    return opened(logits, phrases, threshold, choice=lambda scores, threshold: all_sure)


def minus_1_too(logits: Tensor, phrases: Tensor, threshold: float, number: bool = False) -> Found:
    """−1 is one more phrase; it has the first column, and with `number` the labels are places of columns."""
    moved = phrases + int((phrases < 0).any())
    queries, labels, scores = opened(logits, moved, threshold)
    return queries, labels if number else labels - (moved - phrases)[0], scores


CHOICES: list[Way] = [  # the usual ones first
    ("threshold strict", "A score that is exactly the threshold is enough. Yours drops it.", {"choice": torch.gt}),
    (
        "one phrase for each query",
        "You keep only the best phrase of each query. Every pair with a score of at least the threshold counts: "
        '"cone" and "red cone" may both be asked.',
        {"choice": best_of_row},
    ),
    (
        "not sorted",
        "The right pairs, but query by query. The best score comes first.",
        {"told": lambda queries, labels, scores: (queries, labels, scores[queries, labels])},
    ),
    (
        "phrase by phrase",
        "The right pairs, but phrase by phrase. The best score comes first.",
        {"told": phrase_by_phrase},
    ),
    (
        "one query for each phrase",
        "You keep only the best query of each phrase. There may be two cones: every pair with a score of at least the "
        "threshold counts.",
        {"choice": partial(best_of_row, axis=0)},
    ),
    (
        "threshold not used",
        "You return every pair. Its score must be at least the threshold.",
        {"choice": lambda scores, threshold: torch.ones_like(scores, dtype=torch.bool)},
    ),
    ("the low scores kept", "You keep the pairs *below* the threshold.", {"choice": torch.lt}),
    (
        "the worst first",
        "The right pairs, the lowest score first. `argsort` sorts upwards if it is not told otherwise.",
        {"told": lambda queries, labels, scores: [part.flip(0) for part in best_first(queries, labels, scores)]},
    ),
]

SORTED = "You sorted {}, and left {} as they were. All three need the same order."
SOME = {"queries and labels": "the scores", "the scores": "queries and labels", "the labels": "queries and scores"}

EXERCISE = Exercise(
    name="phrase_labels",
    reference=phrase_labels,
    cases=cases,
    takes={"logits": Kind.LOGITS, "phrases": Kind.CLASSES, "threshold": Kind.NUMBERS},
    gives=(Kind.INDICES, Kind.CLASSES, Kind.PROBABILITIES),
    observe=in_single_precision,
    mistakes=[
        *(Mistake(name, told, wrong=partial(opened, **made)) for name, told, made in (*SCORES, *CHOICES)),
        *(
            Mistake(f"{left} left", SORTED.format(which, left), wrong=partial(opened, told=partly_sorted(which)))
            for left, which in SOME.items()
        ),
        Mistake(
            "each word tested",
            "You ask each word for the threshold. Ask the phrase's score, the mean: one doubted word pulls it down, "
            "and need not rule it out.",
            wrong=each_word_tested,
        ),
        Mistake("−1 taken for a phrase", "You take −1 for a phrase, too. It means no word.", wrong=minus_1_too),
        Mistake(
            "labels counted from −1",
            "You take −1 for the first phrase, so that your labels are one too high wherever there is a separator.",
            wrong=partial(minus_1_too, number=True),
        ),
        *(
            Mistake(f"{name}; {other}", f"Two things at once. {told} {also}", wrong=partial(opened, **made, **more))
            for (name, told, made), (other, also, more) in product(SCORES[:3], CHOICES[:4])
        ),
    ],
)
