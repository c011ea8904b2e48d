"""Pairing by similarity with its decisions open: the truth, and the mistakes of the exercise."""

from collections.abc import Callable, Iterator
from math import hypot
from operator import mul

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Pairs = list[tuple[int, int]]  # place in before, place in now


def all_tried(before: Tensor, labels_before: Tensor, now: Tensor, labels_now: Tensor, least: float) -> Tensor:
    """The truth: all ways to give each segment of now a partner or none, in plain numbers."""
    gains: list[dict[int, float]] = []  # of each segment of now, the partners that it may have
    for mine, kind in zip(now.tolist(), labels_now.tolist(), strict=True):
        cosines = [sum(map(mul, mine, other)) / (hypot(*mine) * hypot(*other)) for other in before.tolist()]
        same = [place for place, other in enumerate(labels_before.tolist()) if other == kind]
        gains.append({place: cosines[place] + 1 for place in same if cosines[place] >= least})
    return torch.tensor(max(ways(gains))[1], dtype=torch.int64)


def ways(gains: list[dict[int, float]], taken: tuple[int, ...] = ()) -> Iterator[tuple[float, tuple[int, ...]]]:
    """The sum of each way, and its partners."""
    if len(taken) == len(gains):
        yield sum(gains[i][place] for i, place in enumerate(taken) if place >= 0), taken
        return
    for place in (-1, *gains[len(taken)]):
        if place < 0 or place not in taken:
            yield from ways(gains, (*taken, place))


def cosine(before: Tensor, now: Tensor) -> Tensor:
    return F.normalize(before, dim=1) @ F.normalize(now, dim=1).T


def both_rules(similarity: Tensor, same: Tensor, least: float) -> Tensor:
    return same & (similarity >= least)


def worth(similarity: Tensor, same: Tensor, least: float, allowed: Tensor) -> Tensor:
    return torch.where(allowed, similarity + 1, 0)


def best_sum(gain: Tensor, allowed: Tensor) -> Pairs:
    rows, columns = linear_sum_assignment(gain.numpy(), maximize=True)
    return list(zip(rows.tolist(), columns.tolist()))


def places_before(pairs: Pairs, known: int, count: int) -> Tensor:
    partners = torch.full((count,), -1)
    for old, new in pairs:
        partners[new] = old
    return partners


def opened(
    before: Tensor,
    labels_before: Tensor,
    now: Tensor,
    labels_now: Tensor,
    least: float,
    similarity: Callable[[Tensor, Tensor], Tensor] = cosine,
    rules: Callable[[Tensor, Tensor, float], Tensor] = both_rules,
    gain: Callable[[Tensor, Tensor, float, Tensor], Tensor] = worth,
    chosen: Callable[[Tensor, Tensor], Pairs] = best_sum,
    kept: Callable[[int, int, Tensor], bool] = lambda old, new, allowed: bool(allowed[old, new]),
    told: Callable[[Pairs, int, int], Tensor] = places_before,
) -> Tensor:
    """`match_queries` with its decisions open.

    Args:
        similarity: of all before with all now (n, m).
        rules: from it, whether classes are the same (n, m), and the least, to which pairs are allowed (n, m).
        gain: from these three, and what is allowed, to what a pair is worth (n, m).
        chosen: from what pairs are worth, and what is allowed, to pairs.
        kept: which of these stay.
        told: from the pairs, n and m to what is returned.
    """
    alike, same = similarity(before, now), labels_before[:, None] == labels_now  # (n, m)
    allowed = rules(alike, same, least)
    pairs = chosen(gain(alike, same, least, allowed), allowed)
    return told([pair for pair in pairs if kept(*pair, allowed)], len(before), len(now))


def best_first(gain: Tensor, allowed: Tensor) -> Pairs:
    """The best pair, then the best of what is left ..."""
    ordered = sorted(allowed.nonzero().tolist(), key=lambda pair: -gain[*pair])
    found: Pairs = []
    for old, new in ordered:
        if all(old != a and new != b for a, b in found):
            found.append((old, new))
    return found


def in_turn(gain: Tensor, allowed: Tensor) -> Pairs:
    """Segment by segment of now, its best partner among those left."""
    found: Pairs = []
    for new in range(gain.shape[1]):
        left = [old for old in allowed[:, new].nonzero()[:, 0].tolist() if old not in {a for a, _ in found}]
        if left:
            found.append((max(left, key=lambda old: gain[old, new]), new))
    return found


def turned(choose: Callable[[Tensor, Tensor], Pairs], gain: Tensor, allowed: Tensor) -> Pairs:
    return [(old, new) for new, old in choose(gain.T, allowed.T)]


def each_its_best(gain: Tensor, allowed: Tensor) -> Pairs:
    """Each of now takes its best partner, and two may take the same."""
    return [(old, new) for new in range(gain.shape[1]) for old, _ in in_turn(gain[:, [new]], allowed[:, [new]])]


def mutual(gain: Tensor, allowed: Tensor) -> Pairs:
    """Two that are each other's best."""
    return sorted(set(each_its_best(gain, allowed)) & set(turned(each_its_best, gain, allowed)))


def smallest_sum(gain: Tensor, allowed: Tensor) -> Pairs:
    return best_sum(-gain, allowed)


def places_now(pairs: Pairs, known: int, count: int) -> Tensor:
    return places_before([(new, old) for old, new in pairs], count, known)


def newly_numbered(pairs: Pairs, known: int, count: int) -> Tensor:
    """A birth gets the next number that is free."""
    partners = places_before(pairs, known, count)
    born = partners < 0
    return torch.where(born, known - 1 + born.cumsum(0), partners)


def rows_of(pairs: Pairs) -> Tensor:
    return torch.tensor(pairs, dtype=torch.int64).view(-1, 2)


def distances(before: Tensor, now: Tensor) -> Tensor:
    return (before[:, None] - now).norm(dim=2)
