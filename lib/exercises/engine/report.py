"""Telling the outcome: words, the first input that fails, yours beside ours."""

import itertools
from collections.abc import Callable
from typing import Any

import torch

from lib.exercises.engine import crashes
from lib.exercises.engine.exercise import Exercise
from lib.exercises.engine.map_pictures import png_of
from lib.exercises.engine.outcome import Comparison, Diagnosis, Outcome, Status
from lib.exercises.engine.sandbox import NotHere, Run
from lib.exercises.engine.trial import Attempt, Problem
from lib.exercises.engine.values import Difference, as_tensor, describe, differing, kind_of, number

SHOWN_PLACES = 3


def correct(exercise: Exercise, attempts: list[Attempt]) -> Outcome:
    """All is well."""
    tried = len({id(attempt.case) for attempt in attempts})
    checked = "1 input" if tried == 1 else f"{tried} inputs"
    gradients = ", gradients included" if len(attempts) > tried else ""
    return Outcome(
        status=Status.CORRECT,
        exercise=exercise.name,
        explanation=f"Right on {checked}{gradients}.",
        printed=attempts[0].run.printed,
    )


def wrong(exercise: Exercise, named: Diagnosis) -> Outcome:
    """Wrong for a reason that needs no input to be shown."""
    return Outcome(status=Status.WRONG, exercise=exercise.name, mistake=named.name, explanation=named.explanation)


def not_attempted(exercise: Exercise, unwritten: str | None) -> Outcome:
    """Nothing is written yet; or `unwritten`, a function that it calls."""
    explanation = (
        f"It calls `{unwritten}`, which is still to be written."
        if unwritten
        else f'Write it in its cell, run that cell, then run this one again. Stuck? `hint("{exercise.name}")` helps.'
    )
    return Outcome(status=Status.NOT_ATTEMPTED, exercise=exercise.name, explanation=explanation)


def failed(exercise: Exercise, function: Callable, attempts: list[Attempt], named: Diagnosis | None) -> Outcome:
    """At least one case went wrong: the first that did is shown."""
    first = next(attempt for attempt in attempts if attempt.problem)
    status, line = Status.WRONG, None
    explanation = named.explanation if named else ""
    if first.problem in (Problem.CRASH, Problem.OUT_OF_TIME, Problem.STOPPED):
        status = Status.CRASHED
        place = crashes.place_of(first.run.error, function) if first.run.error else None
        line = str(place) if place else None
        if first.problem is Problem.CRASH:
            status, explanation = _crash_told(first, place, explanation)
    return Outcome(
        status=status,
        exercise=exercise.name,
        mistake=named.name if named else None,
        explanation=explanation or "The result is not what the task asks for.",
        line=line,
        case=_which(first, attempts),
        inputs=inputs_of(exercise, first.case.arguments),
        table=tuple(_table(first, exercise)),
        printed=first.run.printed,
        picture=_picture(exercise, first),
    )


def probe_failed(exercise: Exercise, function: Callable, named: Diagnosis, answer: Run) -> Outcome:
    """Every case is right, but a further question was answered with no, or not at all."""
    place = crashes.place_of(answer.error, function) if answer.error is not None else None
    ended = answer.out_of_time or answer.stopped
    said = "" if answer.error is None or ended else f"\n{crashes.message_of(answer.error)}"
    return Outcome(
        status=Status.CRASHED if place else Status.WRONG,
        exercise=exercise.name,
        mistake="stopped" if answer.stopped else named.name,
        explanation=named.explanation + said,
        line=str(place) if place else None,
        printed=answer.printed,
    )


def inputs_of(exercise: Exercise, arguments: tuple[Any, ...]) -> tuple[tuple[str, str], ...]:
    """Names and descriptions of the arguments."""
    return tuple(crashes.describe_arguments(exercise.reference, arguments))


def _which(first: Attempt, attempts: list[Attempt]) -> str:
    """What is special about the first input that fails, and how many others are right."""
    tried = {id(attempt.case) for attempt in attempts}
    right = tried - {id(attempt.case) for attempt in attempts if attempt.problem}
    return f"{first.case.label} (right on {len(right)} of {len(tried)})" if right else first.case.label


def _crash_told(first: Attempt, place: crashes.Place | None, explanation: str) -> tuple[Status, str]:
    """Status and explanation for an exception; it may have come only when the course used what was returned."""
    assert first.run.error is not None
    message = crashes.message_of(first.run.error)
    if isinstance(first.run.error, SystemExit | NotHere):
        return Status.CRASHED, explanation
    if place is None and first.value is not None:
        said = f"Your function returned {describe(first.value)}, but using it failed.\n{message}"
        return Status.WRONG, f"{said}\n{explanation}".strip()
    return Status.CRASHED, f"{message}\n{explanation}".strip()


# --- yours beside ours ------------------------------------------------------------------------------------------------


def _table(attempt: Attempt, exercise: Exercise) -> list[Comparison]:
    difference = attempt.difference
    if difference is None:
        return []
    got, expected, where = difference.got, difference.expected, f"result{difference.path}"
    if difference.path.startswith(" gradient"):
        where = difference.path.strip()
    if difference.kind == "type":
        rows = [Comparison("type", kind_of(got), kind_of(expected))]
        return [*rows, Comparison(where, describe(got), describe(expected))]
    if difference.kind == "length":
        return [Comparison(f"length of {where}", str(len(got)), str(len(expected)))]
    if difference.kind == "keys":
        return [Comparison(f"keys of {where}", ", ".join(map(repr, got)), ", ".join(map(repr, expected)))]
    rows = [Comparison(where, describe(got), describe(expected))]
    if difference.kind == "values" and hasattr(expected, "shape") and len(expected.shape):
        rows += _places(difference, exercise)
    return rows


def _places(difference: Difference, exercise: Exercise) -> list[Comparison]:
    """The first few places where two tensors of one shape disagree; those that are no numbers come first."""
    got, expected = as_tensor(difference.got), as_tensor(difference.expected)
    places = differing(got, expected, exercise.rtol, exercise.atol).nonzero()  # (N, axes)
    if got.is_floating_point():
        strange = ~got[tuple(places.T)].isfinite()  # (N,)
        places = torch.cat([places[strange], places[~strange]])
    rows = []
    for i, place in enumerate(places[:SHOWN_PLACES].tolist()):
        some = f", one of {len(places)} that differ (of {expected.numel()})"
        counted = some if i == 0 and len(places) > SHOWN_PLACES else ""
        yours, ours = _distinct(got[tuple(place)].item(), expected[tuple(place)].item())
        rows.append(Comparison(f"at [{', '.join(map(str, place))}]{counted}", yours, ours))
    return rows


def _distinct(yours: Any, ours: Any) -> tuple[str, str]:
    """Both numbers, with as many digits as it takes to tell them apart."""
    if number(yours) != number(ours) or not isinstance(yours, float):
        return number(yours), number(ours)
    pairs = ((f"{yours:.{digits}g}", f"{ours:.{digits}g}") for digits in itertools.chain(range(5, 9), [17]))
    return next((pair for pair in pairs if pair[0] != pair[1]), (repr(yours), repr(ours)))


def _picture(exercise: Exercise, attempt: Attempt) -> bytes | None:
    if exercise.picture is None or attempt.problem is not Problem.DIFFERENCE:
        return None
    try:
        with torch.no_grad():
            figure = exercise.picture(attempt.value, attempt.case.expected, attempt.case)
        return png_of(figure) if figure is not None else None
    except Exception:  # what came back may be anything; the words must reach the learner all the same
        return None
