"""Naming the mistake. Whatever is named is true of every input that was tried, the right ones too."""

from collections.abc import Callable, Iterator
from itertools import count as counting
from typing import Any

from torch import Tensor

from lib.exercises.engine import general
from lib.exercises.engine.crashes import message_of
from lib.exercises.engine.exercise import Exercise, Mistake
from lib.exercises.engine.factors import a_count, one_factor
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.misreadings import misreadings
from lib.exercises.engine.outcome import Diagnosis
from lib.exercises.engine.partly import partly_right
from lib.exercises.engine.sandbox import Clock
from lib.exercises.engine.slips import Slip, slips
from lib.exercises.engine.trial import Attempt, Problem, agree, depends_on_chance, put_through, right_for, same
from lib.exercises.engine.values import copy_of

PATIENCE = 4.0  # seconds for finding a name; the verdict itself stands before


def diagnosis(exercise: Exercise, function: Callable, attempts: list[Attempt]) -> Diagnosis | None:
    """What is wrong with a function, or None if no mistake is true of everything that was tried.

    Args:
        function: the learner's.
        attempts: what came of it, case by case; at least one has failed.
    """
    first = next(attempt for attempt in attempts if attempt.problem)
    if first.problem in (Problem.STOPPED, Problem.OUT_OF_TIME):
        return general.ended_early(first)
    if all(attempt.problem in (None, Problem.NOTHING_RETURNED) for attempt in attempts):
        return general.NOTHING_RETURNED
    clock = Clock(PATIENCE)
    ways = [
        lambda: _own(exercise, attempts, clock),
        lambda: _slip(exercise, attempts),
        lambda: _misreading(exercise, function, attempts, clock),
        lambda: _two_at_once(exercise, attempts, clock),
        lambda: _besides_a_crash(exercise, attempts, clock),
        lambda: general.CHANCE if _by_chance(exercise, function, first, clock) else None,
        lambda: general.parameters_in_another_order(exercise, function),
        lambda: general.general_mistake(exercise, attempts),
        lambda: partly_right(exercise, attempts),
    ]
    return next(filter(None, (_safely(way) for way in ways if not clock.over)), None)


def _safely(way: Callable[[], Diagnosis | None]) -> Diagnosis | None:
    """What a way finds; nothing if it stumbles over what came back, which may be anything."""
    try:
        return way()
    except Exception:
        return None


def _by_chance(exercise: Exercise, function: Callable, first: Attempt, clock: Clock) -> bool:
    is_value = first.difference is not None and first.difference.kind == "values"
    return is_value and depends_on_chance(exercise, function, first, clock)


# --- the exercise's own mistakes --------------------------------------------------------------------------------------


def _own(exercise: Exercise, attempts: list[Attempt], clock: Clock) -> Diagnosis | None:
    """The exercise's own mistake that gives what the learner's function gives, on every case."""
    for mistake in exercise.mistakes:
        if clock.over:
            return None
        if mistake.when is not None:
            fits = _looks_like(mistake, attempts)
        else:
            fits = _alike(exercise, attempts, _committed(exercise, mistake, attempts, clock))
        if fits:
            return Diagnosis(mistake.name, mistake.explanation)
    return None


def _committed(exercise: Exercise, mistake: Mistake, attempts: list[Attempt], clock: Clock) -> list[Attempt]:
    """What comes of the mistake for the inputs of `attempts`."""
    assert mistake.wrong is not None
    cases = {id(attempt.case): attempt.case for attempt in attempts}  # gradients are a second attempt at the same case
    return put_through(exercise, mistake.wrong, list(cases.values()), clock)


def _looks_like(mistake: Mistake, attempts: list[Attempt]) -> bool:
    """Whether `when` says yes to every case that failed; gradients and other shapes are not its business."""
    assert mistake.when is not None
    failing = [attempt for attempt in attempts if attempt.problem]
    if any(attempt.difference is None or attempt.difference.kind != "values" for attempt in failing):
        return False
    if any(attempt.problem is Problem.GRADIENT for attempt in failing):
        return False
    try:
        return all(mistake.when(attempt.value, attempt.case.expected, attempt.case) for attempt in failing)
    except Exception:  # written for results that are as they should be; the learner's may be anything
        return False


def _alike(exercise: Exercise, attempts: list[Attempt], others: list[Attempt]) -> bool:
    """Whether two functions gave the same on every case, right or wrong, and crashed for the same reason."""
    if len(attempts) != len(others) or not any(other.problem for other in others):
        return False
    pairs = list(zip(attempts, others, strict=True))
    if not all(same(mine, other, exercise) for mine, other in pairs):
        return False
    crashes = [(mine, other) for mine, other in pairs if other.problem is Problem.CRASH]
    if len(crashes) < sum(other.problem is not None for other in others):
        return True
    return any(message_of(mine.run.error) == message_of(other.run.error) for mine, other in crashes)


def _besides_a_crash(exercise: Exercise, attempts: list[Attempt], clock: Clock) -> Diagnosis | None:
    """An own mistake that is true of all inputs but those for which the function crashes, and says so."""
    crashed = [attempt for attempt in attempts if attempt.problem is Problem.CRASH]
    if not crashed or len(crashed) == len(attempts):
        return None
    for mistake in exercise.mistakes:
        if mistake.wrong is None or clock.over:
            continue
        others = _committed(exercise, mistake, attempts, clock)
        kept = [(a, b) for a, b in zip(attempts, others, strict=False) if a.problem is not Problem.CRASH]
        if len(others) == len(attempts) and _alike(exercise, [a for a, _ in kept], [b for _, b in kept]):
            also = f"Besides, it crashes for another input ({crashed[0].case.label})."
            return Diagnosis(mistake.name, f"{mistake.explanation} {also}")
    return None


# --- slips and misreadings --------------------------------------------------------------------------------------------


def _slip(exercise: Exercise, attempts: list[Attempt]) -> Diagnosis | None:
    """The slip that turns every truth into what came back."""
    if not _have_values(attempts):
        return None
    truths = [attempt.case.expected for attempt in attempts]
    found = _spoils(exercise, attempts, truths)
    if found:
        return Diagnosis(found.name, found.explanation)
    return _by_numbers(exercise, attempts)


def _have_values(attempts: list[Attempt]) -> bool:
    """Whether every input gave a result that can be laid beside its truth."""
    return all(attempt.problem in (None, Problem.DIFFERENCE) for attempt in attempts)


def _spoils(exercise: Exercise, attempts: list[Attempt], truths: list[Any]) -> Slip | None:
    return next((slip for slip in slips(exercise.gives, truths[0]) if _fits(exercise, slip, attempts, truths)), None)


def _fits(exercise: Exercise, slip: Slip, attempts: list[Attempt], truths: list[Any]) -> bool:
    """Whether each result is its truth, spoiled by this slip. Empty results prove nothing."""
    proven = False
    for attempt, truth in zip(attempts, truths, strict=True):
        try:
            spoiled = slip.spoil(truth)
        except Exception:  # a shape or a type that this slip does not suit
            return False
        if not agree(attempt.value, _like(truth, spoiled), exercise):
            return False
        proven = proven or attempt.problem is not None
    return proven


def _like(truth: Any, spoiled: Any) -> Any:
    """The spoiled value as a plain number where the truth is one, part by part in a tuple."""
    if isinstance(truth, tuple) and isinstance(spoiled, tuple) and len(truth) == len(spoiled):
        return tuple(_like(one, other) for one, other in zip(truth, spoiled))
    if isinstance(spoiled, Tensor) and spoiled.ndim == 0 and isinstance(truth, int | float):
        return spoiled.item()
    return spoiled


def _by_numbers(exercise: Exercise, attempts: list[Attempt]) -> Diagnosis | None:
    """A factor, an amount or a count of something in the input by which all results are off, or one part of a tuple."""
    if any(attempt.difference is not None and attempt.difference.kind != "values" for attempt in attempts):
        return None
    parts = exercise.gives if isinstance(exercise.gives, tuple) else None
    inputs = [attempt.case.arguments for attempt in attempts]
    for i, kind in [(None, exercise.gives)] if parts is None else enumerate(parts):
        if kind in (Kind.CLASSES, Kind.INDICES, Kind.MASK):
            continue
        try:
            pairs = [_part(attempt, i) for attempt in attempts]
            others_right = parts is None or all(_others_right(exercise, attempt, i) for attempt in attempts)
        except (TypeError, IndexError):
            return None
        if not others_right:
            continue
        found = one_factor(pairs, exercise.rtol, exercise.atol) or a_count(
            pairs, inputs, exercise.parameters, exercise.rtol, exercise.atol
        )
        if found and parts is not None and i is not None:
            found = Diagnosis(found.name, f"Only part {i + 1} of the {len(parts)} is wrong. {found.explanation}")
        if found:
            return found
    return None


def _part(attempt: Attempt, i: int | None) -> tuple[Any, Any]:
    return (attempt.value, attempt.case.expected) if i is None else (attempt.value[i], attempt.case.expected[i])


def _others_right(exercise: Exercise, attempt: Attempt, i: int | None) -> bool:
    got, expected = attempt.value, attempt.case.expected
    return len(got) == len(expected) and all(
        agree(mine, truth, exercise) for j, mine, truth in zip(counting(), got, expected, strict=False) if j != i
    )


def _misreading(exercise: Exercise, function: Callable, attempts: list[Attempt], clock: Clock) -> Diagnosis | None:
    """The other meaning of an input for which the function would be right."""
    failing = [attempt for attempt in attempts if attempt.problem]
    if not any(attempt.problem is Problem.DIFFERENCE for attempt in failing):
        return None
    if len(failing) < len(attempts) and all(map(general.not_finite, failing)):  # read well, and only computed badly
        return None
    for reading in misreadings(exercise.takes, exercise.parameters):
        if clock.over:
            return None
        if all(_right_after(exercise, function, attempt, reading.rewrite, clock) for attempt in _distinct(attempts)):
            return Diagnosis(reading.name, reading.explanation)
    return None


def _distinct(attempts: list[Attempt]) -> Iterator[Attempt]:
    """The cases, each once (gradients are a second attempt at the same case); the failing ones first."""
    seen: set[int] = set()
    for attempt in sorted(attempts, key=lambda attempt: attempt.problem is None):
        if id(attempt.case) not in seen:
            seen.add(id(attempt.case))
            yield attempt


def _right_after(exercise: Exercise, function: Callable, attempt: Attempt, rewrite: Callable, clock: Clock) -> bool:
    given = dict(zip(exercise.parameters, copy_of(attempt.case.arguments), strict=False))
    try:
        rewritten = tuple(rewrite(given)[name] for name in given)
    except Exception:  # a shape that cannot be rewritten so
        return False
    return right_for(exercise, function, attempt.case, rewritten, clock) is True


def _two_at_once(exercise: Exercise, attempts: list[Attempt], clock: Clock) -> Diagnosis | None:
    """One of the exercise's own mistakes, and a slip on top of it."""
    if not _have_values(attempts):
        return None
    for mistake in exercise.mistakes:
        if mistake.wrong is None or clock.over:
            continue
        others = _committed(exercise, mistake, attempts, clock)
        if len(others) != len(attempts) or not _have_values(others):
            continue
        slip = _spoils(exercise, attempts, [other.value for other in others])
        if slip and slip.of_form:
            return Diagnosis(
                f"{mistake.name}; {slip.name}",
                f"Two things at once. {mistake.explanation} And what is left comes in another form: {slip.name}.",
            )
    return None
