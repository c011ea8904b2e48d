"""Numbers that are all too large or too small: by one factor, one amount, or a count of something in the input."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lib.exercises.engine.outcome import Diagnosis
from lib.exercises.engine.values import as_tensor, differing, number

Pair = tuple[Any, Any]  # what came back, and the truth: numbers, or tensors of one shape


def one_factor(pairs: Sequence[Pair], rtol: float, atol: float) -> Diagnosis | None:
    """Every number of every input is the same factor, or the same amount, away from the truth.

    Args:
        pairs: one for each case, the right ones too.
    """
    if not all(_same_shape(*pair) for pair in pairs):
        return None
    got = torch.cat([as_tensor(got).flatten().double() for got, _ in pairs])
    expected = torch.cat([as_tensor(expected).flatten().double() for _, expected in pairs])
    if len(expected.unique()) < 2 or not got.isfinite().all():  # one number alone is always some factor away
        return None
    if not got.any():
        return Diagnosis("all zeros", "Every number is 0, for every input. Was a tensor made and never filled?")
    far = expected.abs().argmax()
    factor = (got[far] / expected[far]).item()
    if not differing(got, factor * expected, rtol, atol).any():
        return Diagnosis(
            "off by a constant factor",
            f"Every number is {number(factor)} times what it should be, whatever the input. Is there a factor or a "
            "mean too many, or one that is missing?",
        )
    offset = (got - expected).median().item()
    if abs(offset) > atol and not differing(got, expected + offset, rtol, atol).any():
        too = "large" if offset > 0 else "small"
        return Diagnosis("off by a constant", f"Every number is {number(abs(offset))} too {too}, whatever the input.")
    return None


def a_count(
    pairs: Sequence[Pair], inputs: Sequence[tuple[Any, ...]], parameters: Sequence[str], rtol: float, atol: float
) -> Diagnosis | None:
    """Every number is too large or too small by a count of something in its input: a sum for a mean, or the wrong N.

    Args:
        pairs: one for each case, the right ones too.
        inputs: the arguments of each case.
        parameters: their names.
    """
    if not all(_same_shape(*pair) for pair in pairs):
        return None
    counts = [dict(_counts(arguments, parameters)) for arguments in inputs]
    names = [name for name in counts[0] if all(name in one for one in counts)]
    names = [name for name in names if len({one[name] for one in counts}) > 1]  # the same in all cases says nothing
    for name in names:
        if _scaled(pairs, [float(one[name]) for one in counts], rtol, atol):
            return Diagnosis(
                "a sum for a mean",
                f"Your result is too large by a factor: {name}, for every input. A sum where a mean is asked?",
            )
        if all(one[name] for one in counts) and _scaled(pairs, [1 / one[name] for one in counts], rtol, atol):
            return Diagnosis(
                "divided once too often",
                f"Your result is too small by a factor: {name}, for every input. A mean where a sum is asked?",
            )
    for wrong, right in itertools.permutations(names, 2):
        nonzero = all(one[wrong] for one in counts)
        if nonzero and _scaled(pairs, [one[right] / one[wrong] for one in counts], rtol, atol):
            return Diagnosis(
                "divided by another number",
                f"For every input your result is what comes out if you divide by {wrong} instead of by {right}.",
            )
    return None


def _same_shape(got: Any, expected: Any) -> bool:
    if isinstance(got, str | bool | type(None)) or isinstance(expected, str | bool | type(None)):
        return False
    got, expected = as_tensor(got), as_tensor(expected)
    plain = all(not one.is_complex() and one.dtype != torch.bool for one in (got, expected))
    return plain and got.shape == expected.shape


def _scaled(pairs: Sequence[Pair], factors: Sequence[float], rtol: float, atol: float) -> bool:
    """Whether each result is its truth times its factor. The factors must differ where the truth is not 0."""
    telling: set[float] = set()
    for (got, expected), factor in zip(pairs, factors, strict=True):
        got, expected = as_tensor(got).double(), as_tensor(expected).double()
        if differing(got, factor * expected, rtol, atol).any():
            return False
        if (expected.abs() > atol).any():
            telling.add(round(factor, 6))
    return len(telling) >= 2


def _counts(arguments: tuple[Any, ...], parameters: Sequence[str]) -> Iterator[tuple[str, int]]:
    """All that can be counted in the arguments of one case, in words and as a number."""
    for name, value in zip(parameters, arguments, strict=False):
        if isinstance(value, list | tuple):
            yield f"the length of `{name}`", len(value)
        if not isinstance(value, Tensor) or value.ndim == 0:
            continue
        yield f"the number of elements of `{name}`", value.numel()
        for axis, length in enumerate(value.shape):
            yield f"the length of axis {axis} of `{name}`", length
        if value.ndim > 2:
            yield (
                f"the number of places of `{name}` (its elements without axis 1)",
                value.numel() // max(1, value.shape[1]),
            )
        if not value.is_floating_point():
            yield f"the number of elements of `{name}` above 0", int((value > 0).sum())
            if value.dtype != torch.bool:
                yield f"the number of elements of `{name}` that are 0 or more", int((value >= 0).sum())
