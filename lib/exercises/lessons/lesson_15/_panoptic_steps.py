"""Panoptic inference step by step, its decisions open: the truth of the exercise, and its mistakes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

Answer = tuple[Tensor, list[int]]


@dataclass(frozen=True)
class Claim:
    """What a query that takes part has won."""

    query: int
    label: int
    score: float
    pixels: Tensor  # (H, W) bool
    stays: bool


def best_answer(class_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Probability and label of each query, (Q,) each; the label may be K, "nothing"."""
    scores, labels = class_logits.softmax(dim=1).max(dim=1)
    return scores, labels


def is_sure(scores: Tensor, labels: Tensor, class_logits: Tensor, sure: float) -> Tensor:
    return (labels < class_logits.shape[1] - 1) & (scores > sure)


def largest_product(scores: Tensor, masks: Tensor, part: Tensor) -> Tensor:
    """The number of the query that each pixel goes to, (H, W)."""
    return (scores[:, None, None] * masks).masked_fill(~part[:, None, None], -torch.inf).argmax(dim=0)


def enough(won: Tensor, own: Tensor, kept: float) -> bool:
    return bool(won.any() and own.any() and won.sum().item() / own.sum().item() >= kept)


def painted(
    claims: list[Claim],
    things: set[int],
    blank: Tensor,
    merged: Callable[[int, set[int]], bool] = lambda label, things: label not in things,
    number: Callable[[int, Claim], int] = lambda count, claim: count,
    order: Callable[[Claim], float] = lambda claim: claim.query,
    dropped: tuple[bool, bool] = (False, False),
    again: tuple[bool, bool] = (False, False),
) -> Answer:
    """The map and the list, with its decisions open.

    Args:
        blank: the map before anything is painted.
        merged: whether queries of a class share a number.
        order: by which queries are sorted.
        number: from how many numbers were given so far, this one included, to this one.
        dropped: whether a query that does not stay uses up a number, and stands in the list.
        again: the same for a query that shares the number of one before it.
    """
    numbers, classes, count = blank, [], 0
    first: dict[int, int] = {}
    for claim in sorted(claims, key=order):
        known = first.get(claim.label) if merged(claim.label, things) else None
        counts, stands = dropped if not claim.stays else again if known is not None else (True, True)
        count += counts
        classes += [claim.label] * stands
        if claim.stays:
            first.setdefault(claim.label, number(count, claim))
            numbers = numbers.masked_fill(claim.pixels, number(count, claim) if known is None else known)
    return numbers, classes


def step_by_step(
    class_logits: Tensor,
    mask_logits: Tensor,
    things: set[int],
    sure: float = 0.8,
    kept: float = 0.8,
    answers: Callable[[Tensor], tuple[Tensor, Tensor]] = best_answer,
    takes_part: Callable[[Tensor, Tensor, Tensor, float], Tensor] = is_sure,
    contest: Callable[[Tensor, Tensor, Tensor], Tensor] = largest_product,
    own: Callable[[Tensor, Tensor], Tensor] = lambda score, mask: mask >= 0.5,
    keeps: Callable[[Tensor, Tensor, float], bool] = enough,
    shown: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda won, mask, score: won,
    reassigned: bool = False,
    none: int = 0,
    paint: Callable[[list[Claim], set[int], Tensor], Answer] = painted,
) -> Answer:
    """`panoptic_inference` with its decisions open.

    Args:
        answers: from the class logits to score and label of each query, (Q,) each.
        takes_part: which queries take part, (Q,) bool.
        contest: from scores, mask probabilities and who takes part to the winner of each pixel.
        own: from a query's score and mask probabilities to its own mask.
        keeps: from what it won, its own mask, and `kept` to whether it stays.
        shown: which pixels it keeps then.
        reassigned: whether pixels of dropped queries go to the best of those that stay.
        none: the number of pixels without a segment.
        paint: the map and the list.
    """
    scores, labels = answers(class_logits)
    part = takes_part(scores, labels, class_logits, sure)
    masks, blank = mask_logits.sigmoid(), torch.full(mask_logits.shape[1:], none)
    winner = contest(scores, masks, part)  # (H, W)
    stay = torch.zeros_like(part)
    for query in part.nonzero().flatten().tolist():
        stay[query] = keeps(winner == query, own(scores[query], masks[query]), kept)
    if reassigned:
        winner = contest(scores, masks, stay)
    claims = []
    for query in part.nonzero().flatten().tolist():
        score, mask = scores[query], masks[query]
        pixels = shown(winner == query, mask, score)
        claims.append(Claim(query, int(labels[query]), float(score), pixels, bool(stay[query])))
    return paint(claims, things, blank)


# --- decisions taken otherwise ----------------------------------------------------------------------------------------


def best_thing(class_logits: Tensor) -> tuple[Tensor, Tensor]:
    """The best class but nothing."""
    scores, labels = class_logits.softmax(dim=1)[:, :-1].max(dim=1)
    return scores, labels


def surest_of_those_inside(scores: Tensor, masks: Tensor, part: Tensor) -> Tensor:
    return largest_product(scores, (masks >= 0.5) + masks * 1e-3, part)


def from_sure(scores: Tensor, labels: Tensor, class_logits: Tensor, sure: float) -> Tensor:
    return (labels < class_logits.shape[1] - 1) & (scores >= sure)


def together_sure(scores: Tensor, labels: Tensor, class_logits: Tensor, sure: float) -> Tensor:
    return (labels < class_logits.shape[1] - 1) & (1 - class_logits.softmax(dim=1)[:, -1] > sure)


def above_kept(won: Tensor, own: Tensor, kept: float) -> bool:
    return enough(won, own, kept + 1e-6)


def everybody(contest_of: Tensor) -> Tensor:
    return torch.ones_like(contest_of)


OF_PAINTING = ("merged", "order", "number", "dropped", "again")


def wrong_by(made: dict[str, Any]) -> partial[Answer]:
    paint = partial(painted, **{name: way for name, way in made.items() if name in OF_PAINTING})
    return partial(step_by_step, paint=paint, **{name: way for name, way in made.items() if name not in OF_PAINTING})


def thresholds_exchanged(
    class_logits: Tensor, mask_logits: Tensor, things: set[int], sure: float = 0.8, kept: float = 0.8
) -> Answer:
    return step_by_step(class_logits, mask_logits, things, kept, sure)
