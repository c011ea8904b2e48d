"""Putting a function through all cases of an exercise, and noting for each what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, WrongResult, detached, gradient_leaves, weighted_sum
from lib.exercises.engine.sandbox import Clock, Run, global_states_kept, run
from lib.exercises.engine.values import Difference, compare, copy_of, describe, kind_of, unchanged, with_article

# Random numbers: the cases' own must not be met again in the learner's run, or a freshly made, random layer would have
# the very weights of the layer that it should copy.
CASES_SEED, SEED, OTHER_SEED = 11, 22, 33


class Problem(Enum):
    """What can be wrong with one call."""

    STOPPED = auto()  # by the stop button
    OUT_OF_TIME = auto()
    CRASH = auto()
    NOTHING_RETURNED = auto()
    UNUSABLE = auto()  # it could not even be looked at
    DIFFERENCE = auto()
    CHANGED_INPUT = auto()
    GRADIENT = auto()


@dataclass(frozen=True, eq=False)
class Attempt:
    """One case, one call, and the first thing that was wrong with it.

    Args:
        case: what was asked.
        problem: None if all is well.
        run: the call itself.
        value: what is compared: the result, or what `observe` saw in it.
        unusable: why the result could not be looked at.
        difference: the first difference from the truth, of values or of gradients.
        changed: positions of the arguments that are no longer what they were.
        gradients: by name, where they were asked; None in it: no gradient arrives there at all.
    """

    case: Case
    problem: Problem | None
    run: Run
    value: Any = None
    unusable: WrongResult | None = None
    difference: Difference | None = None
    changed: tuple[int, ...] = ()
    gradients: Mapping[str, Tensor | None] = field(default_factory=dict)


def put_through(exercise: Exercise, function: Callable, cases: list[Case], clock: Clock) -> list[Attempt]:
    """Tries `function` on every case; if all values are right, once more for the gradients of those that ask for them.

    What it does to its arguments no other function sees: `cases` stay as they are. Ends early when the time is
    up or somebody presses stop. Never raises because of what `function` does.
    """
    attempts = []
    for case in cases:
        attempts.append(_try_values(exercise, function, case, clock, SEED))
        if attempts[-1].problem in (Problem.OUT_OF_TIME, Problem.STOPPED):
            return attempts
    if not any(attempt.problem for attempt in attempts):
        attempts += [_try_gradients(exercise, function, case, clock) for case in cases if case.gradients]
    return attempts


def cases_of(exercise: Exercise) -> list[Case]:
    """The exercise's cases; making them leaves the learner's random numbers alone."""
    with global_states_kept(CASES_SEED):
        cases = exercise.cases()
    if not cases:
        raise ValueError(f"cases of {exercise.name} is an empty list; expected at least one case")
    return cases


def depends_on_chance(exercise: Exercise, function: Callable, attempt: Attempt, clock: Clock) -> bool:
    """Whether another call, with other random numbers, gives something else than `attempt` did."""
    again = _try_values(exercise, function, attempt.case, clock, OTHER_SEED)
    unclear = (Problem.OUT_OF_TIME, Problem.STOPPED, Problem.CRASH)
    return again.problem not in unclear and not agree(again.value, attempt.value, exercise)


def right_for(
    exercise: Exercise, function: Callable, case: Case, arguments: tuple[Any, ...], clock: Clock
) -> bool | None:
    """Whether the function, given other arguments, returns the truth of this case. None if it could not be told."""
    seen: dict[str, Any] = {}
    outcome = run(_observed(exercise, function, case, seen), copy_of(arguments), clock.left(), SEED)
    if outcome.stopped or outcome.out_of_time:
        return None
    return outcome.error is None and agree(seen["plain"], case.expected, exercise)


class _NothingReturned(Exception):
    """The function ended without `return`."""


def same(one: Attempt, other: Attempt, exercise: Exercise) -> bool:
    """Whether two functions went wrong in the same way on one case."""
    if one.problem != other.problem:
        return False
    if one.problem == Problem.CRASH:
        return type(one.run.error) is type(other.run.error)
    if one.unusable and other.unusable:
        return one.unusable.name == other.unusable.name
    if one.problem == Problem.CHANGED_INPUT:
        return one.changed == other.changed
    if one.problem == Problem.GRADIENT:
        return agree(one.gradients, other.gradients, exercise)
    return agree(one.value, other.value, exercise)


def agree(one: Any, other: Any, exercise: Exercise) -> bool:
    """Whether two results are the same within the exercise's tolerances."""
    return _difference(one, other, exercise) is None


def _difference(got: Any, expected: Any, exercise: Exercise) -> Difference | None:
    try:
        return compare(got, expected, exercise.rtol, exercise.atol)
    except Exception:  # a learner may return anything: sparse tensors, strings in arrays, wild objects
        return Difference("type", "", got, expected)


def _try_values(exercise: Exercise, function: Callable, case: Case, clock: Clock, seed: int) -> Attempt:
    arguments = copy_of(case.arguments)
    seen: dict[str, Any] = {}
    outcome = run(_observed(exercise, function, case, seen), arguments, clock.left(), seed)
    if outcome.error is not None:
        return _failed(case, outcome, seen)
    changed = tuple(i for i, given in enumerate(case.arguments) if not unchanged(arguments[i], given))
    difference = _difference(seen["plain"], case.expected, exercise)
    problem = Problem.DIFFERENCE if difference else Problem.CHANGED_INPUT if changed else None
    return Attempt(case, problem, outcome, seen["plain"], difference=difference, changed=changed)


def _try_gradients(exercise: Exercise, function: Callable, case: Case, clock: Clock) -> Attempt:
    arguments = copy_of(case.arguments)
    leaves = gradient_leaves(exercise.reference, arguments, list(case.gradients))
    seen: dict[str, Any] = {}
    observe = _observed(exercise, function, case, seen)

    def differentiate(*arguments: Any) -> list[Tensor | None]:
        observe(*arguments)
        total = weighted_sum(seen["value"])
        if not total.requires_grad:
            return [None] * len(leaves)
        return list(torch.autograd.grad(total, list(leaves.values()), allow_unused=True))

    outcome = run(differentiate, arguments, clock.left(), SEED)
    if outcome.error is not None:
        return _failed(case, outcome, seen)
    gradients = dict(zip(leaves, outcome.result, strict=True))
    for name, expected in case.gradients.items():
        got = torch.zeros_like(expected) if gradients[name] is None else gradients[name]
        difference = compare(got, expected, exercise.rtol, exercise.atol, f" gradient of {name}")
        if difference:
            return Attempt(case, Problem.GRADIENT, outcome, seen["plain"], difference=difference, gradients=gradients)
    return Attempt(case, None, outcome, seen["plain"], gradients=gradients)


def _observed(exercise: Exercise, function: Callable, case: Case, seen: dict[str, Any]) -> Callable:
    """The call as it is made: the learner's function, then a look at its result, kept in `seen`."""

    def call(*arguments: Any) -> None:
        seen["result"] = result = function(*arguments)
        if result is None and case.expected is not None:
            raise _NothingReturned
        if exercise.returns is not None and not isinstance(result, exercise.returns):
            raise WrongResult(
                "wrong type",
                f"Your function returned {with_article(kind_of(result))}: {describe(result)}. "
                f"The task asks for {with_article(exercise.returns.__name__)}.",
            )
        value = exercise.observe(result, *arguments) if exercise.observe else result
        seen["value"], seen["plain"] = value, detached(value)

    return call


def _failed(case: Case, outcome: Run, seen: dict[str, Any]) -> Attempt:
    if outcome.stopped:
        return Attempt(case, Problem.STOPPED, outcome)
    if outcome.out_of_time:
        return Attempt(case, Problem.OUT_OF_TIME, outcome)
    if isinstance(outcome.error, _NothingReturned):
        return Attempt(case, Problem.NOTHING_RETURNED, outcome)
    if isinstance(outcome.error, WrongResult):
        return Attempt(case, Problem.UNUSABLE, outcome, seen["result"], unusable=outcome.error)
    return Attempt(case, Problem.CRASH, outcome, seen.get("result"))
