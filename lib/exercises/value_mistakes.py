"""The right type and shape, but wrong numbers: is there one simple rule that turns them into the right ones?"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lib.exercises.values import Difference, as_tensor, differing, number


class Named(NamedTuple):
    """A mistake that was recognised: its short name, and an explanation for a beginner."""

    name: str
    explanation: str


def mistake_in_values(differences: list[Difference], rtol: float, atol: float) -> Named | None:
    """The rule by which every wrong result differs from the truth, or None if there is none as simple.

    Args:
        differences: one for each case that failed.
        rtol, atol: as in `Exercise`.
    """
    if any(d.kind != "values" or isinstance(d.expected, str | bool | None) for d in differences):
        return None
    pairs = [(as_tensor(d.got), as_tensor(d.expected)) for d in differences]
    if any(got.is_complex() for got, _ in pairs):
        return None
    if any(expected.dtype == torch.bool for _, expected in pairs):
        return _opposite(pairs)
    if any(_not_finite(got, expected) for got, expected in pairs):
        return Named(
            "NaN or infinite",
            "Some of your numbers are NaN (not a number) or infinite: a division by zero, the logarithm of zero, or "
            "the exponential of something large? Perhaps only for this input.",
        )
    moved = _moved(pairs, rtol, atol)
    if moved:
        return moved
    got = torch.cat([got.flatten() for got, _ in pairs]).double()
    expected = torch.cat([expected.flatten() for _, expected in pairs]).double()
    return _rule(got, expected, rtol, atol)


def _rule(got: Tensor, expected: Tensor, rtol: float, atol: float) -> Named | None:
    if len(expected.unique()) < 2:  # one number alone is always some factor away from another
        return None
    if not got.any():
        return Named("all zeros", "Every number in your result is 0. Was a tensor of zeros made and never filled?")
    if not differing(-got, expected, rtol, atol).any():
        return Named(
            "sign flipped",
            "Every number has the right size and the wrong sign. Is a difference the wrong way round?",
        )
    far = expected.abs().argmax()
    factor = (got[far] / expected[far]).item()
    if not differing(got, factor * expected, rtol, atol).any():
        return Named(
            "off by a constant factor",
            f"Every number is {number(factor)} times what it should be. Is there a factor or a mean too many, or one "
            "that is missing?",
        )
    offset = (got - expected).median().item()
    if not differing(got, expected + offset, rtol, atol).any():
        return Named(
            "off by a constant", f"Every number is {number(abs(offset))} too {'large' if offset > 0 else 'small'}."
        )
    return None


def _opposite(pairs: list[tuple[Tensor, Tensor]]) -> Named | None:
    if all(got.dtype == torch.bool and torch.equal(~got, expected) for got, expected in pairs):
        return Named("True and False swapped", "Every answer is the opposite of what it should be.")
    return None


def _not_finite(got: Tensor, expected: Tensor) -> bool:
    return got.is_floating_point() and bool((~got.isfinite() & expected.isfinite()).any())


def _moved(pairs: list[tuple[Tensor, Tensor]], rtol: float, atol: float) -> Named | None:
    """The right numbers in the wrong places: transposed, mirrored, or mixed up by a reshape."""
    dimensions = {got.ndim for got, _ in pairs}
    if dimensions == {0} or len(dimensions) > 1 or not all(got.numel() > 1 for got, _ in pairs):
        return None
    count = dimensions.pop()

    def cures(change: Callable[[Tensor], Tensor]) -> bool:
        changed = [(change(got), expected) for got, expected in pairs]
        return all(a.shape == b.shape and not differing(a, b, rtol, atol).any() for a, b in changed)

    for order in itertools.permutations(range(count)) if 2 <= count <= 5 else ():
        if cures(lambda got, order=order: got.permute(order)):
            return Named(
                "axes swapped",
                "The numbers are right, but two axes have changed places: rows for columns, or x for y?",
            )
    for axis in range(count):
        if cures(lambda got, axis=axis: got.flip(axis)):
            return Named("mirrored", f"The numbers are right, but in reverse order along axis {axis}.")
    if all(not differing(got.flatten().sort()[0], b.flatten().sort()[0], rtol, atol).any() for got, b in pairs):
        return Named(
            "right numbers in the wrong places",
            "Your result holds exactly the right numbers, but not where they belong. (`reshape` where `permute` was "
            "needed mixes them like this.)",
        )
    return None
