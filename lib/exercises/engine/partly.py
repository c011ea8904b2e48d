"""Nothing was recognised, but something can be said: which part of the result is right for every input."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Exercise
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.outcome import Diagnosis
from lib.exercises.engine.trial import Attempt, Problem, agree
from lib.exercises.engine.values import as_tensor, differing

COLUMNS_OF_BOXES = ("x1", "y1", "x2", "y2")


def partly_right(exercise: Exercise, attempts: Sequence[Attempt]) -> Diagnosis | None:
    """What is right for all inputs, although the whole is not; None if nothing is, or results cannot be laid together.

    Args:
        attempts: all of them; at least one has failed.
    """
    failing = [attempt for attempt in attempts if attempt.problem]
    crashed = [attempt for attempt in failing if attempt.problem is Problem.CRASH]
    if crashed and len(crashed) == len(failing) < len(attempts):
        right = {attempt.case.label for attempt in attempts if not attempt.problem}
        if any(attempt.case.label in right for attempt in crashed):  # the second call, which asks for gradients
            return Diagnosis(
                "crashes with gradients",
                "Your numbers are right for every input. It crashes when gradients are wanted: then what you are given "
                "has `requires_grad`.",
            )
        return Diagnosis(
            "crashes for some inputs",
            "Right for the other inputs; it crashes for: " + "; ".join(attempt.case.label for attempt in crashed) + ".",
        )
    if any(attempt.problem is not Problem.DIFFERENCE for attempt in failing):
        return None
    pairs = [(attempt.value, attempt.case.expected) for attempt in failing]
    try:
        if isinstance(exercise.gives, tuple):
            return _parts(exercise, pairs)
        if isinstance(pairs[0][1], Mapping):
            return _entries(exercise, pairs)
        return next(_of_tensors(exercise, pairs), None)
    except Exception:  # other types, other shapes
        return None


def _parts(exercise: Exercise, pairs: list[tuple[Any, Any]]) -> Diagnosis | None:
    count = len(pairs[0][1])
    if any(len(got) != count for got, _ in pairs):
        return None
    wrong = [i for i in range(count) if any(not agree(got[i], expected[i], exercise) for got, expected in pairs)]
    if len(wrong) in (0, count):
        return None
    said = " and ".join(str(i + 1) for i in wrong)
    right = [str(i + 1) for i in range(count) if i not in wrong]
    are_right = f"parts {' and '.join(right)} are right" if len(right) > 1 else f"part {right[0]} is right"
    return Diagnosis(
        f"only part{'s' if len(wrong) > 1 else ''} {said}",
        f"Of what you return, {are_right} for every input tried; {'parts' if len(wrong) > 1 else 'part'} {said} not.",
    )


def _entries(exercise: Exercise, pairs: list[tuple[Any, Any]]) -> Diagnosis | None:
    keys = list(pairs[0][1])
    wrong = [key for key in keys if any(not agree(got[key], expected[key], exercise) for got, expected in pairs)]
    if len(wrong) in (0, len(keys)):
        return None
    said = ", ".join(map(str, wrong))
    return Diagnosis(f"only {said}", f"All is right for every input tried but for: {said}.")


def _of_tensors(exercise: Exercise, pairs: list[tuple[Any, Any]]) -> Iterator[Diagnosis]:
    if not all(isinstance(got, Tensor) and got.shape == expected.shape for got, expected in pairs):
        return
    if exercise.gives is Kind.BOXES:
        yield from _of_boxes(exercise, pairs)
    places = [differing(got, expected, exercise.rtol, exercise.atol) for got, expected in pairs]  # like the results
    widths = {place.shape[-1] for place in places if place.ndim == 2}
    if widths == {4} and all(place.ndim == 2 for place in places):  # a table of boxes, or of their four targets
        yield from _columns(exercise, torch.cat(places).any(dim=0).tolist())
    if exercise.gives in (Kind.MAP, Kind.MASK) and all(_right_inside(place) for place in places):
        yield Diagnosis("only at the border", "Inside, every number is right; the outermost rows or columns are not.")


def _right_inside(places: Tensor) -> bool:
    return places.ndim >= 2 and min(places.shape[-2:]) > 2 and not places[..., 1:-1, 1:-1].any()


def _of_boxes(exercise: Exercise, pairs: list[tuple[Any, Any]]) -> Iterator[Diagnosis]:
    def alike(of: Any) -> bool:
        return all(
            not differing(of(as_tensor(got)), of(as_tensor(expected)), exercise.rtol, exercise.atol).any()
            for got, expected in pairs
        )

    if alike(lambda boxes: boxes[..., 2:] - boxes[..., :2]):
        yield Diagnosis("other places", "The widths and heights of your boxes are right, their places are not.")
    if alike(lambda boxes: boxes[..., 2:] + boxes[..., :2]):
        yield Diagnosis("other sizes", "The middles of your boxes are right, their widths or heights are not.")


def _columns(exercise: Exercise, wrong: list[bool]) -> Iterator[Diagnosis]:
    if all(wrong):
        return
    names = COLUMNS_OF_BOXES if exercise.gives is Kind.BOXES else [f"column {i}" for i in range(len(wrong))]
    said = ", ".join(name for name, is_wrong in zip(names, wrong, strict=True) if is_wrong)
    yield Diagnosis(f"only {said}", f"All numbers are right but for {said}.")
