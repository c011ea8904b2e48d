"""The mistakes that any function can have, and how to tell them: these need no words from a lesson's author."""

import inspect
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.exercises.engine.crashes import message_of
from lib.exercises.engine.exercise import Exercise
from lib.exercises.engine.outcome import Diagnosis
from lib.exercises.engine.sandbox import NotHere
from lib.exercises.engine.trial import Attempt, Problem
from lib.exercises.engine.values import Difference, as_tensor, compare, differing, kind_of, with_article

NOTHING_RETURNED = Diagnosis(
    "nothing returned",
    "Your function ended without `return`, so its result is None. Does every way through it end in a `return`? "
    "(`print` shows a value; only `return` hands it over.)",
)
CHANCE = Diagnosis(
    "changes from call to call",
    "Called twice with the same input, your function gave two different results. Does it use random numbers, freshly "
    "made weights, dropout, or a variable outside of it that remembers the last call?",
)
ALWAYS_THE_SAME = Diagnosis(
    "always the same answer",
    "Whatever the input, your function gives the same result. Does it look at its input, or at some variable outside "
    "of it?",
)
CUT_OFF = Diagnosis(
    "gradient cut off",
    "The numbers are right, but no gradient finds its way back through your function, so nothing could be learned "
    "through it. `.detach()`, `.data`, `.item()`, `.numpy()`, `torch.no_grad()` and `torch.tensor(...)` around a "
    "tensor cut it.",
)


def cannot_be_called(exercise: Exercise, function: Callable, arguments: tuple[Any, ...]) -> Diagnosis | None:
    """Told before any call: the function cannot be called the way the task says."""
    if inspect.iscoroutinefunction(function):
        return Diagnosis("async instead of def", "A function that begins with `async def` must be awaited. Use `def`.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*arguments)
    except TypeError as error:
        expected = ", ".join(exercise.parameters)
        yours = ", ".join(str(p).split(":")[0].split("=")[0].strip() for p in signature.parameters.values())
        return Diagnosis(
            "wrong parameters",
            f"The task is `{exercise.name}({expected})`; yours is `{exercise.name}({yours})`. Python says: {error}.",
        )
    return None


def parameters_in_another_order(exercise: Exercise, function: Callable) -> Diagnosis | None:
    """The right parameters, but `f(width, height)` for `f(height, width)`."""
    try:
        yours = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None
    expected = list(exercise.parameters)
    if yours == expected or sorted(yours) != sorted(expected):
        return None
    return Diagnosis(
        "parameters in another order",
        f"The task is `{exercise.name}({', '.join(expected)})`, yours is `{exercise.name}({', '.join(yours)})`: "
        "the inputs arrive under each other's names.",
    )


def ended_early(attempt: Attempt) -> Diagnosis:
    """The function was stopped: by its time, or by hand."""
    if attempt.problem is Problem.STOPPED:
        return Diagnosis("stopped", "You stopped it, or it stopped itself.")
    still_running = " It could not be stopped: restart the kernel (menu Kernel)." if attempt.run.still_running else ""
    return Diagnosis(
        "takes too long",
        "Your function was stopped after some seconds; it should need a small part of one. Is there a loop that "
        f"never ends, or one over every pixel?{still_running}",
    )


def general_mistake(exercise: Exercise, attempts: list[Attempt]) -> Diagnosis | None:
    """The common mistake that fits every attempt that failed, or None."""
    failing = [attempt for attempt in attempts if attempt.problem]
    if failing[0].problem is Problem.UNUSABLE:  # a fact about the input that is shown, whatever the others give
        return _of_one(exercise, failing[0])
    named = [_of_one(exercise, attempt) for attempt in failing]
    if named[0] is not None and all(other is not None and other.name == named[0].name for other in named):
        return named[0]
    differences = [attempt.difference for attempt in failing if attempt.difference is not None]
    kinds = {difference.kind for difference in differences}
    if len(differences) == len(failing) and kinds == {"shape"}:
        return _wrong_shape(differences[0])
    if all(attempt.problem is Problem.DIFFERENCE for attempt in failing) and kinds == {"values"}:
        return ALWAYS_THE_SAME if _always_the_same(attempts) else _in_values(exercise, differences)
    return None


def _of_one(exercise: Exercise, attempt: Attempt) -> Diagnosis | None:
    """What can be said of one failed attempt without looking at its numbers."""
    match attempt.problem:
        case Problem.NOTHING_RETURNED:
            return NOTHING_RETURNED
        case Problem.UNUSABLE:
            assert attempt.unusable is not None
            return Diagnosis(attempt.unusable.name, attempt.unusable.explanation)
        case Problem.CRASH:
            return _crash(attempt)
        case Problem.CHANGED_INPUT:
            return _changed_input(exercise, attempt)
        case Problem.GRADIENT:
            return _gradient(attempt)
    by_kind = {"type": _type, "length": _length, "keys": _keys, "shape": _shape, "dtype": _dtype}
    if attempt.difference is not None and attempt.difference.kind in by_kind:
        return by_kind[attempt.difference.kind](attempt.difference)
    return _changed_input(exercise, attempt) if attempt.changed else None


def _in_values(exercise: Exercise, differences: list[Difference]) -> Diagnosis | None:
    """What can be said of numbers that are wrong, whatever the exercise."""
    if any(isinstance(d.expected, str | bool | None) for d in differences):
        return None
    pairs = [(as_tensor(d.got), as_tensor(d.expected)) for d in differences]
    if _not_finite(*pairs[0]):  # of the input that is shown
        return Diagnosis(
            "NaN or infinite",
            "Some of your numbers are NaN (not a number) or infinite: a division by zero, the logarithm of zero, or "
            "the exponential of something large? Perhaps only for this input.",
        )
    if all(got.numel() > 1 and _rearranged(exercise, got, expected) for got, expected in pairs):
        return Diagnosis(
            "right numbers in the wrong places",
            "Your result holds exactly the right numbers, but not where they belong. (`reshape` where `permute` was "
            "needed is one way to mix them.)",
        )
    return None


def not_finite(attempt: Attempt) -> bool:
    """Whether numbers came back that are NaN or infinite where the truth is neither."""
    difference = attempt.difference
    if difference is None or difference.kind != "values" or isinstance(difference.expected, str | bool | None):
        return False
    return _not_finite(as_tensor(difference.got), as_tensor(difference.expected))


def _not_finite(got: Tensor, expected: Tensor) -> bool:
    return got.is_floating_point() and bool((~got.isfinite() & expected.isfinite()).any())


def _rearranged(exercise: Exercise, got: Tensor, expected: Tensor) -> bool:
    if got.dtype == torch.bool or got.is_complex() or len(expected.unique()) < 3:
        return False
    return not differing(got.flatten().sort()[0], expected.flatten().sort()[0], exercise.rtol, exercise.atol).any()


def _always_the_same(attempts: list[Attempt]) -> bool:
    """Whether every result is the first one again, though the truths differ."""
    if any(attempt.difference is not None and attempt.difference.kind != "values" for attempt in attempts):
        return False
    first, *others = attempts
    results = [compare(attempt.value, first.value, 0.0, 0.0) for attempt in others if attempt.run.error is None]
    truths = [compare(attempt.case.expected, first.case.expected, 0.0, 0.0) for attempt in others]
    return len(results) == len(others) and not any(results) and any(truths)


def _crash(attempt: Attempt) -> Diagnosis | None:
    error = attempt.run.error
    if isinstance(error, RecursionError):
        return Diagnosis(
            "calls itself for ever", "Your function calls itself again and again, and nothing makes it stop."
        )
    if isinstance(error, SystemExit):
        return Diagnosis("exit() called", "Your function ends the program instead of returning: use `return`.")
    if isinstance(error, NotHere):
        return Diagnosis("waits for the keyboard", str(error))
    if "numpy() on Tensor that requires grad" in message_of(error):
        return CUT_OFF
    if "leaf Variable that requires grad is being used in an in-place operation" in message_of(error):
        return _changed_in_place("what it was given")
    return None


def _changed_input(exercise: Exercise, attempt: Attempt) -> Diagnosis:
    names = exercise.parameters
    changed = [f"`{names[i]}`" if i < len(names) else f"argument {i + 1}" for i in attempt.changed]
    return _changed_in_place(" and ".join(changed))


def _changed_in_place(what: str) -> Diagnosis:
    return Diagnosis(
        "input changed in place",
        f"Your function changes {what}. An argument belongs to the caller, who needs it again. "
        "`x += 1`, `x[...] = ...` and methods that end in an underscore (`x.add_()`) change a tensor where it lies; "
        "`x = x + 1` makes a new one. `pop`, `append` and `del` change a list.",
    )


def _gradient(attempt: Attempt) -> Diagnosis:
    without = [name for name, gradient in attempt.gradients.items() if gradient is None]
    if len(without) == len(attempt.gradients):
        return CUT_OFF
    if without:
        said = " and ".join(f"`{name}`" for name in without)
        return Diagnosis(
            "gradient cut off",
            f"The numbers are right, but no gradient reaches {said}. `.detach()`, `.data`, `.item()`, "
            "`torch.no_grad()` and `torch.tensor(...)` around a tensor cut it.",
        )
    return Diagnosis(
        "wrong gradient",
        "The numbers are right, but the gradient that flows back is not. Is a part of the computation cut off "
        "(`.detach()`, `.data`, `.item()`), or rounded?",
    )


def _type(difference: Difference) -> Diagnosis:
    got, expected = difference.got, difference.expected
    yours, ours = kind_of(got), "number" if isinstance(expected, float) else kind_of(expected)
    if inspect.isgenerator(got):
        return Diagnosis("yield instead of return", "A function with `yield` in it returns a generator. Use `return`.")
    if inspect.isroutine(got):
        return Diagnosis(
            "function not called",
            f"You returned the function `{getattr(got, '__name__', '')}` itself. With parentheses, `()`, you get what "
            "it returns.",
        )
    if isinstance(got, tuple) and len(got) == 1:
        return Diagnosis(
            "wrapped in a tuple",
            "What came back is a tuple with one thing in it. Is there a comma at the end of your `return` line?",
        )
    if isinstance(expected, int) and not isinstance(expected, bool) and isinstance(got, float | np.floating):
        return Diagnosis(
            "a float instead of an int",
            "The task asks for a whole number. `/` and `float` always give a float; `//` divides whole numbers.",
        )
    if isinstance(got, Tensor) and isinstance(expected, int | float):
        return Diagnosis(
            "a tensor instead of a number",
            "The task asks for a plain Python number, and you returned a tensor. `.item()` takes the number out of a "
            "tensor that holds just one.",
        )
    if isinstance(got, np.ndarray) and isinstance(expected, Tensor):
        return Diagnosis(
            "NumPy array instead of a tensor",
            "Stay in PyTorch from end to end: a round trip through NumPy also loses the gradients.",
        )
    return Diagnosis("wrong type", f"You returned {with_article(yours)} where {with_article(ours)} is asked for.")


def _length(difference: Difference) -> Diagnosis:
    return Diagnosis(
        "wrong number of things",
        f"You returned {len(difference.got)} things where {len(difference.expected)} are asked for.",
    )


def _keys(difference: Difference) -> Diagnosis:
    missing = [key for key in difference.expected if key not in difference.got]
    extra = [key for key in difference.got if key not in difference.expected]
    said = [
        f"{what} {', '.join(map(repr, keys))}" for what, keys in (("missing:", missing), ("not asked:", extra)) if keys
    ]
    return Diagnosis("other keys", f"The names in your dictionary are not those asked for; {'; '.join(said)}.")


def _dtype(difference: Difference) -> Diagnosis:
    got, expected = (str(value.dtype).removeprefix("torch.") for value in (difference.got, difference.expected))
    return Diagnosis(
        "wrong dtype",
        f"Your result is of dtype {got}, and {expected} is asked for. (Whole numbers, truth values and NumPy's float64 "
        "slip in easily; `.to(dtype)` converts.)",
    )


def _shape(difference: Difference) -> Diagnosis:
    got, expected = as_tensor(difference.got), as_tensor(difference.expected)
    yours, ours = tuple(got.shape), tuple(expected.shape)
    shapes = f"Your result has shape {yours}; the task asks for {ours}. "
    if yours == ours[1:]:
        return Diagnosis(
            "batch axis missing", shapes + "The first axis is gone: `x[0]`, `.squeeze(0)` or a sum over it?"
        )
    if yours[1:] == ours and yours[0] == 1:
        return Diagnosis("one axis too many", shapes + "There is an extra axis of length 1 in front.")
    if sorted(yours) == sorted(ours):
        for order in itertools.permutations(range(got.ndim)) if got.ndim <= 5 else ():
            if tuple(got.permute(order).shape) == ours and compare(got.permute(order), expected, 1e-3, 1e-4) is None:
                return Diagnosis("axes swapped", shapes + "The numbers are right, but the axes are in another order.")
        return Diagnosis(
            "axes swapped",
            shapes + "These are the same lengths in another order. (To reorder axes use `permute`; `reshape` keeps the "
            "order of the numbers and mixes them up.)",
        )
    if [n for n in yours if n != 1] == [n for n in ours if n != 1]:
        return Diagnosis(
            "an axis of length 1",
            shapes
            + "They differ only by an axis of length 1: `unsqueeze` adds one, `squeeze` or `keepdim=False` takes "
            "it away.",
        )
    if got.numel() == expected.numel():
        return Diagnosis(
            "other shape", shapes + "There are as many numbers as there should be, but arranged otherwise."
        )
    return _wrong_shape(difference)


def _wrong_shape(difference: Difference) -> Diagnosis:
    yours, ours = (tuple(as_tensor(value).shape) for value in (difference.got, difference.expected))
    if len(yours) == len(ours) > 0 and yours[1:] == ours[1:]:
        more = f"{yours[0]} where there should be {ours[0]} (its shape is {yours}, not {ours})"
        return Diagnosis("wrong shape", f"Your result has too {'many' if yours > ours else 'few'} entries: {more}.")
    return Diagnosis("wrong shape", f"Your result has shape {yours}; the task asks for {ours}.")
