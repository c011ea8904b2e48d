"""From a learner's function to a verdict that names the mistake."""

import dis
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import torch

from lib.exercises import crashes
from lib.exercises.exercise import Exercise, Mistake
from lib.exercises.general_mistakes import (
    CHANCE,
    Named,
    cannot_be_called,
    general_mistake,
    parameters_in_another_order,
)
from lib.exercises.outcome import Comparison, Outcome
from lib.exercises.pictures import png_of
from lib.exercises.sandbox import Clock, NotHere, Run, run
from lib.exercises.trial import SEED, Attempt, cases_of, depends_on_chance, put_through, same
from lib.exercises.values import as_tensor, describe, differing, kind_of, number

SHOWN_PLACES = 3


def judge(exercise: Exercise, function: Callable, seconds: float | None = None) -> Outcome:
    """Tries a learner's function on everything that an exercise asks.

    Args:
        exercise: what was to be written.
        function: what was written.
        seconds: how long all calls together may take; by default what the exercise allows.

    Returns:
        The outcome. Whatever `function` does or returns, nothing is raised.
    """
    clock = Clock(exercise.seconds if seconds is None else seconds)
    cases = cases_of(exercise)
    mismatch = next(filter(None, (cannot_be_called(exercise, function, case.arguments) for case in cases)), None)
    if mismatch:
        return Outcome(status="wrong", exercise=exercise.name, mistake=mismatch.name, explanation=mismatch.explanation)
    attempts = put_through(exercise, function, clock, cases)
    unwritten = _not_attempted(exercise, function, attempts[0])
    if unwritten:
        return unwritten
    failing = [attempt for attempt in attempts if attempt.problem]
    if failing:
        return _told(exercise, function, attempts, failing)
    for probe in exercise.probes:
        answer = run(probe.passes, (function,), clock.left(), SEED)
        if answer.error is not None or not answer.result:
            return _probe_failed(exercise, function, Named(probe.name, probe.explanation), answer)
    return Outcome(
        status="correct",
        exercise=exercise.name,
        explanation=_praise(attempts, len(cases)),
        printed=attempts[0].run.printed,
    )


def _praise(attempts: list[Attempt], cases: int) -> str:
    checked = "1 input" if cases == 1 else f"{cases} inputs"
    return f"Right on {checked}, gradients included." if len(attempts) > cases else f"Right on {checked}."


def _not_attempted(exercise: Exercise, function: Callable, first: Attempt) -> Outcome | None:
    error = first.run.error
    if first.problem == "nothing returned" and _has_empty_body(function):
        error = NotImplementedError()
    elif not (isinstance(error, NotImplementedError) and crashes.raised_by_learner(error, function)):
        return None
    place = crashes.place_of(error, function) if error.__traceback__ else None
    written_elsewhere = place and not inspect.isclass(function) and place.function != function.__name__
    explanation = (
        f'Write it in its cell, run that cell, then run this one again. Stuck? `hint("{exercise.name}")` helps.'
    )
    if written_elsewhere:
        explanation = f"It calls `{place.function}`, which is still to be written."
    return Outcome(status="not attempted", exercise=exercise.name, explanation=explanation)


def _has_empty_body(function: Callable) -> bool:
    """Whether nothing but `pass`, `...` or a docstring stands in it."""
    if not inspect.isfunction(function):
        return False
    steps = [step for step in dis.get_instructions(function) if step.opname not in ("RESUME", "NOP")]
    return steps[0].opname in ("LOAD_CONST", "RETURN_CONST") and steps[0].argval is None and len(steps) <= 2


def _told(exercise: Exercise, function: Callable, attempts: list[Attempt], failing: list[Attempt]) -> Outcome:
    first = failing[0]
    named = _mistake(exercise, function, attempts, failing)
    status = "crashed" if first.problem in ("crash", "out of time") else "wrong"
    explanation, line = named.explanation if named else "", None
    if status == "crashed":
        place = crashes.place_of(first.run.error, function)
        line = str(place) if place else None
        if first.problem == "crash":
            status, explanation = _crash_told(first, place, explanation)
    return Outcome(
        status=status,
        exercise=exercise.name,
        mistake=named.name if named else None,
        explanation=explanation or "The result is not what the task asks for.",
        line=line,
        case=_which(first, attempts),
        inputs=tuple(crashes.describe_arguments(exercise.reference, first.case.arguments)),
        table=tuple(_table(first, exercise)),
        printed=first.run.printed,
        picture=_picture(exercise, first),
    )


def _which(first: Attempt, attempts: list[Attempt]) -> str:
    """What is special about the first input that fails, and how many others are right."""
    right = sum(1 for attempt in attempts if not attempt.problem)
    return f"{first.case.label} (right on {right} of {len(attempts)})" if right else first.case.label


def _crash_told(first: Attempt, place: crashes.Place | None, explanation: str) -> tuple[str, str]:
    """Status and explanation for an exception; it may have come only when the course used what was returned."""
    message = crashes.message_of(first.run.error)
    if isinstance(first.run.error, SystemExit | KeyboardInterrupt | NotHere):
        return "crashed", explanation
    if place is None and first.value is not None:
        said = f"Your function returned {describe(first.value)}, but using it failed.\n{message}"
        return "wrong", f"{said}\n{explanation}".strip()
    return "crashed", f"{message}\n{explanation}".strip()


def _mistake(exercise: Exercise, function: Callable, attempts: list[Attempt], failing: list[Attempt]) -> Named | None:
    first = failing[0]
    if first.problem == "out of time":
        still_running = " It could not be stopped: restart the kernel (menu Kernel)." if first.run.still_running else ""
        return Named(
            "takes too long",
            "Your function was stopped after some seconds; it should need a small part of one. Is there a loop that "
            f"never ends, or one over every pixel?{still_running}",
        )
    if isinstance(first.run.error, KeyboardInterrupt):
        return Named("stopped", "You stopped it, or it stopped itself.")
    if first.problem == "nothing returned":
        return general_mistake(exercise, attempts)
    clock = Clock(exercise.seconds)
    committed = _committed(exercise, attempts, failing)
    if committed:
        return committed
    if first.difference and first.difference.kind == "values" and depends_on_chance(exercise, function, first, clock):
        return CHANCE
    return parameters_in_another_order(exercise, function) or general_mistake(exercise, attempts)


def _committed(exercise: Exercise, attempts: list[Attempt], failing: list[Attempt]) -> Named | None:
    """Which of the exercise's own mistakes this is: one that explains every failure, else one that explains some."""
    partly = None
    for mistake in exercise.mistakes:
        if mistake.when is not None:
            fits = wholly = _looks_like(mistake, failing[0])
        else:
            fits, wholly = _same_failures(exercise, mistake, attempts)
        if wholly:
            return Named(mistake.name, mistake.explanation)
        if fits and partly is None:
            partly = Named(mistake.name, f"{mistake.explanation} (Something else is not right either.)")
    return partly


def _looks_like(mistake: Mistake, first: Attempt) -> bool:
    if first.problem not in ("difference", "gradient"):
        return False
    try:
        return bool(mistake.when(first.value, first.case.expected, first.case))
    except Exception:  # written for the right type and shape; the learner's result may have neither
        return False


def _same_failures(exercise: Exercise, mistake: Mistake, attempts: list[Attempt]) -> tuple[bool, bool]:
    """Whether the function fails as the mistaken one does wherever that fails; and whether it fails nowhere else."""
    mistaken = put_through(exercise, mistake.wrong, Clock(exercise.seconds))
    if len(mistaken) != len(attempts):
        return False, False
    pairs = [(theirs, his) for theirs, his in zip(attempts, mistaken, strict=True) if his.problem]
    if not pairs or not all(same(theirs, his, exercise) for theirs, his in pairs):
        return False, False
    if pairs[0][0] is not next(attempt for attempt in attempts if attempt.problem):
        return False, False  # says nothing about the failure that the learner is shown
    if all(his.problem == "crash" for _, his in pairs) and not any(
        str(theirs.run.error) == str(his.run.error) for theirs, his in pairs
    ):
        return False, False  # both crash with, say, a RuntimeError, but for different reasons
    return True, len(pairs) == sum(1 for attempt in attempts if attempt.problem)


def _probe_failed(exercise: Exercise, function: Callable, named: Named, answer: Run) -> Outcome:
    place = crashes.place_of(answer.error, function) if answer.error is not None else None
    said = "" if answer.error is None or answer.out_of_time else f"\n{crashes.message_of(answer.error)}"
    return Outcome(
        status="crashed" if place else "wrong",
        exercise=exercise.name,
        mistake="takes too long" if answer.out_of_time else named.name,
        explanation=named.explanation + said,
        line=str(place) if place else None,
        printed=answer.printed,
    )


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
    if difference.kind == "values" and hasattr(expected, "shape") and getattr(expected, "ndim", 0):
        rows += _places(got, expected, exercise)
    return rows


def _places(got: Any, expected: Any, exercise: Exercise) -> list[Comparison]:
    """The first few places where two tensors of one shape disagree."""
    places = differing(got, expected, exercise.rtol, exercise.atol).nonzero()  # (N, axes)
    got, expected = as_tensor(got), as_tensor(expected)
    total = expected.numel()
    rows = []
    for i, place in enumerate(places[:SHOWN_PLACES].tolist()):
        counted = f", first of {len(places)} that differ (of {total})" if i == 0 and len(places) > SHOWN_PLACES else ""
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
    if exercise.picture is None or attempt.problem != "difference":
        return None
    try:
        with torch.no_grad():
            figure = exercise.picture(attempt.value, attempt.case.expected, attempt.case)
        return png_of(figure) if figure is not None else None
    except Exception:  # what came back may be anything; the words must reach the learner all the same
        return None
