"""From a learner's function to a verdict: what is asked of it, and in which order."""

import dis
import inspect
from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode, resolve_name

from lib.exercises.engine import crashes, report
from lib.exercises.engine.diagnosis import diagnosis
from lib.exercises.engine.exercise import Exercise
from lib.exercises.engine.general import cannot_be_called
from lib.exercises.engine.outcome import Diagnosis, Outcome
from lib.exercises.engine.sandbox import Clock, global_states_kept, run
from lib.exercises.engine.trial import SEED, Attempt, Problem, cases_of, put_through
from lib.exercises.engine.values import copy_of

LESSON_SECONDS = 1.0  # for one call with an input as large as the lesson's


def judge(exercise: Exercise, function: Callable, seconds: float | None = None) -> Outcome:
    """Tries a learner's function on everything that an exercise asks.

    Args:
        exercise: what was to be written.
        function: what was written.
        seconds: how long all calls together may take; by default what the exercise allows.

    Returns:
        The outcome. Whatever `function` does or returns, nothing is raised.
    """
    with global_states_kept(SEED):
        return _judged(exercise, function, Clock(exercise.seconds if seconds is None else seconds))


def _judged(exercise: Exercise, function: Callable, clock: Clock) -> Outcome:
    cases = cases_of(exercise)
    mismatch = next(filter(None, (cannot_be_called(exercise, function, case.arguments) for case in cases)), None)
    if mismatch:
        return report.wrong(exercise, mismatch)
    attempts = put_through(exercise, function, cases, clock)
    unwritten = _not_attempted(exercise, function, attempts[0])
    if unwritten:
        return unwritten
    if any(attempt.problem for attempt in attempts):
        return report.failed(exercise, function, attempts, diagnosis(exercise, function, attempts))
    return (
        _by_other_means(exercise, function) or _probed(exercise, function, clock) or report.correct(exercise, attempts)
    )


def _not_attempted(exercise: Exercise, function: Callable, first: Attempt) -> Outcome | None:
    error = first.run.error
    if first.problem is Problem.NOTHING_RETURNED and _has_empty_body(function):
        return report.not_attempted(exercise, None)
    if not isinstance(error, NotImplementedError) or not crashes.raised_by_learner(error, function):
        return None
    place = crashes.place_of(error, function)
    elsewhere = place and not inspect.isclass(function) and place.function != function.__name__
    return report.not_attempted(exercise, place.function if place and elsewhere else None)


def _has_empty_body(function: Callable) -> bool:
    """Whether nothing but `pass`, `...` or a docstring stands in it."""
    if not inspect.isfunction(function):
        return False
    steps = [step for step in dis.get_instructions(function) if step.opname not in ("RESUME", "NOP")]
    return steps[0].opname in ("LOAD_CONST", "RETURN_CONST") and steps[0].argval is None and len(steps) <= 2


class _Listening(TorchFunctionMode):
    """Notes which functions of PyTorch are called while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.called: set[Any] = set()

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.called.add(func)
        return func(*args, **(kwargs or {}))


def _called(exercise: Exercise, function: Callable) -> set[Any]:
    """The functions of PyTorch that a right answer calls, over all cases."""
    listening = _Listening()

    def listened(*arguments: Any) -> Any:
        with listening:
            return function(*arguments)

    for case in cases_of(exercise):
        run(listened, copy_of(case.arguments), exercise.seconds, SEED)
    return listening.called


def _by_other_means(exercise: Exercise, function: Callable) -> Outcome | None:
    """The outcome for a right answer that calls what the task forbids, or does not call what it wants."""
    if not exercise.forbidden and not exercise.required:
        return None
    called = _called(exercise, function)
    for banned in exercise.forbidden:
        if banned in called:
            said = f"Right, but the task asks to write it without `{_name_of(banned)}`."
            return report.wrong(exercise, Diagnosis(f"{_name_of(banned)} used", said))
    for wanted in exercise.required:
        if wanted not in called:
            said = f"Right, but the task asks for a call of `{_name_of(wanted)}`, and yours makes none."
            return report.wrong(exercise, Diagnosis(f"{_name_of(wanted)} not used", said))
    return None


def _name_of(function: Callable) -> str:
    name = resolve_name(function) or function.__name__
    return name.replace("torch.nn.functional.", "F.").replace("torch.conv", "F.conv")


def _probed(exercise: Exercise, function: Callable, clock: Clock) -> Outcome | None:
    """The outcome of the first probe that says no, or of an input as large as the lesson's that takes too long."""
    for probe in exercise.probes:
        answer = run(probe.passes, (function,), clock.left(), SEED)
        if answer.error is not None or not answer.result:
            return report.probe_failed(exercise, function, Diagnosis(probe.name, probe.explanation), answer)
    if exercise.lesson_size is not None:
        answer = run(function, exercise.lesson_size(), LESSON_SECONDS, SEED)
        if answer.error is not None:
            slow = Diagnosis(
                "too slow for the lesson" if answer.out_of_time else "fails on an input as large as the lesson's",
                "Right on small inputs. The lesson goes on with inputs as large as this one: "
                + ", ".join(f"`{name}` = {said}" for name, said in report.inputs_of(exercise, exercise.lesson_size()))
                + (f". It was stopped after {LESSON_SECONDS:.0f} seconds." if answer.out_of_time else "."),
            )
            return report.probe_failed(exercise, function, slow, answer)
    return None
