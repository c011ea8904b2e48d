"""Pairs of predicted and true segments, and the panoptic quality that they make, for truths and mistakes."""

from math import nan

Overlaps = dict[tuple[int, int], float]  # by (predicted number, true number)
Quality = tuple[float, float, float]  # PQ, SQ, RQ


def over(overlaps: Overlaps, least: float = 1 / 2) -> Overlaps:
    return {pair: overlap for pair, overlap in overlaps.items() if overlap > least}


def best_of_each(overlaps: Overlaps, least: float = 0.0) -> Overlaps:
    """The best pair, then the best of what is left ..., as long as its overlap is above `least`."""
    found: Overlaps = {}
    for (a, b), overlap in sorted(overlaps.items(), key=lambda item: -item[1]):
        if overlap > least and a not in {one for one, _ in found} and b not in {other for _, other in found}:
            found[a, b] = overlap
    return found


def same_number(overlaps: Overlaps, least: float) -> Overlaps:
    return {(a, b): overlap for (a, b), overlap in overlaps.items() if a == b and overlap > least}


def multiplied(total: float, tp: int, fp: int, fn: int) -> Quality:
    """From the sum of the pairs' IoUs, and the counts."""
    if not tp + fp + fn:
        return nan, nan, nan
    sq, rq = total / tp if tp else 0.0, tp / (tp + fp / 2 + fn / 2)
    return sq * rq, sq, rq


def ratio(over: int, under: float) -> float:
    return over / under if under else 0.0
