"""The mistakes that any function can have, and how to tell them: these need no words from a lesson's author."""

import inspect
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from lib.exercises.crashes import message_of
from lib.exercises.exercise import Exercise
from lib.exercises.sandbox import NotHere
from lib.exercises.trial import Attempt
from lib.exercises.value_mistakes import Named, mistake_in_values
from lib.exercises.values import Difference, as_tensor, compare, kind_of, with_article

NOTHING_RETURNED = Named(
    "nothing returned",
    "Your function ended without `return`, so its result is None. Does every way through it end in a `return`? "
    "(`print` shows a value; only `return` hands it over.)",
)
CHANCE = Named(
    "changes from call to call",
    "Called twice with the same input, your function gave two different results. Does it use random numbers, freshly "
    "made weights, dropout, or a variable outside of it that remembers the last call?",
)
ALWAYS_THE_SAME = Named(
    "always the same answer",
    "Whatever the input, your function gives the same result. Does it look at its input, or at some variable outside "
    "of it?",
)
CUT_OFF = Named(
    "gradient cut off",
    "The numbers are right, but no gradient finds its way back through your function, so nothing could be learned "
    "through it. `.detach()`, `.data`, `.item()`, `.numpy()`, `torch.no_grad()` and `torch.tensor(...)` around a "
    "tensor cut it.",
)


def cannot_be_called(exercise: Exercise, function: Callable, arguments: tuple[Any, ...]) -> Named | None:
    """Told before any call: the function cannot be called the way the task says."""
    if inspect.iscoroutinefunction(function):
        return Named("async instead of def", "A function that begins with `async def` must be awaited. Use `def`.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*arguments)
    except TypeError as error:
        expected = ", ".join(inspect.signature(exercise.reference).parameters)
        yours = ", ".join(str(p).split(":")[0].split("=")[0].strip() for p in signature.parameters.values())
        return Named(
            "wrong parameters",
            f"The task is `{exercise.name}({expected})`; yours is `{exercise.name}({yours})`. Python says: {error}.",
        )
    return None


def parameters_in_another_order(exercise: Exercise, function: Callable) -> Named | None:
    """The right parameters, but `f(width, height)` for `f(height, width)`."""
    try:
        yours = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None
    expected = list(inspect.signature(exercise.reference).parameters)
    if yours == expected or sorted(yours) != sorted(expected):
        return None
    return Named(
        "parameters in another order",
        f"The task is `{exercise.name}({', '.join(expected)})`, yours is `{exercise.name}({', '.join(yours)})`: "
        "the inputs arrive under each other's names.",
    )


def general_mistake(exercise: Exercise, attempts: list[Attempt]) -> Named | None:
    """The first common mistake that fits the attempts that failed, or None."""
    failing = [attempt for attempt in attempts if attempt.problem]
    first = failing[0]
    if first.problem == "nothing returned":
        return NOTHING_RETURNED
    if first.problem == "unusable":
        return Named(first.unusable.name, first.unusable.explanation)
    if first.problem == "crash":
        return _crash(first)
    if first.problem == "changed input":
        return _changed_input(exercise, first)
    if first.problem == "gradient":
        return _gradient(first)
    if _always_the_same(attempts):
        return ALWAYS_THE_SAME
    differences = [attempt.difference for attempt in failing if attempt.problem == "difference"]
    by_kind = {"type": _type, "length": _length, "keys": _keys, "shape": _shape, "dtype": _dtype}
    if first.difference.kind in by_kind:
        return by_kind[first.difference.kind](first.difference)
    named = mistake_in_values(differences, exercise.rtol, exercise.atol)
    return named or (_changed_input(exercise, first) if first.changed else None)


def _always_the_same(attempts: list[Attempt]) -> bool:
    """Whether every result is the first one again, though the truths differ."""
    if any(attempt.difference is not None and attempt.difference.kind != "values" for attempt in attempts):
        return False
    first, *others = attempts
    results = [compare(attempt.value, first.value, 0.0, 0.0) for attempt in others if attempt.run.error is None]
    truths = [compare(attempt.case.expected, first.case.expected, 0.0, 0.0) for attempt in others]
    return len(results) == len(others) and not any(results) and any(truths)


def _crash(attempt: Attempt) -> Named | None:
    error = attempt.run.error
    if isinstance(error, RecursionError):
        return Named("calls itself for ever", "Your function calls itself again and again, and nothing makes it stop.")
    if isinstance(error, SystemExit):
        return Named("exit() called", "Your function ends the program instead of returning: use `return`.")
    if isinstance(error, NotHere):
        return Named("waits for the keyboard", str(error))
    if "numpy() on Tensor that requires grad" in message_of(error):
        return CUT_OFF
    return None


def _changed_input(exercise: Exercise, attempt: Attempt) -> Named:
    names = list(inspect.signature(exercise.reference).parameters)
    changed = " and ".join(f"`{names[i]}`" if i < len(names) else f"argument {i + 1}" for i in attempt.changed)
    return Named(
        "input changed in place",
        f"Your function changes {changed}, which belongs to its caller and is needed again. "
        "`x += 1`, `x[...] = ...` and methods that end in an underscore (`x.add_()`) change a tensor where it lies; "
        "`x = x + 1` makes a new one.",
    )


def _gradient(attempt: Attempt) -> Named:
    if any(gradient is None for gradient in attempt.gradients.values()):
        return CUT_OFF
    return Named(
        "wrong gradient",
        "The numbers are right, but the gradient that flows back is not. Is a part of the computation cut off "
        "(`.detach()`, `.data`, `.item()`), or rounded?",
    )


def _type(difference: Difference) -> Named:
    got, expected = difference.got, difference.expected
    yours, ours = kind_of(got), "number" if isinstance(expected, float) else kind_of(expected)
    if inspect.isgenerator(got):
        return Named("yield instead of return", "A function with `yield` in it returns a generator. Use `return`.")
    if inspect.isroutine(got):
        return Named(
            "function not called",
            f"You returned the function `{getattr(got, '__name__', '')}` itself. With parentheses, `()`, you get what "
            "it returns.",
        )
    if isinstance(got, tuple) and len(got) == 1:
        return Named(
            "wrapped in a tuple",
            "What came back is a tuple with one thing in it. Is there a comma at the end of your `return` line?",
        )
    if isinstance(expected, int) and not isinstance(expected, bool) and isinstance(got, float | np.floating):
        return Named(
            "a float instead of an int",
            "The task asks for a whole number. `/` always gives a float; `//` divides whole numbers.",
        )
    if isinstance(got, Tensor) and isinstance(expected, int | float):
        return Named(
            "a tensor instead of a number",
            "The task asks for a plain Python number, and you returned a tensor. `.item()` takes the number out of a "
            "tensor that holds just one.",
        )
    if isinstance(got, np.ndarray) and isinstance(expected, Tensor):
        return Named(
            "NumPy array instead of a tensor",
            "Stay in PyTorch from end to end: a round trip through NumPy also loses the gradients.",
        )
    return Named("wrong type", f"You returned {with_article(yours)} where {with_article(ours)} is asked for.")


def _length(difference: Difference) -> Named:
    return Named(
        "wrong number of things",
        f"You returned {len(difference.got)} things where {len(difference.expected)} are asked for.",
    )


def _keys(difference: Difference) -> Named:
    missing = [key for key in difference.expected if key not in difference.got]
    extra = [key for key in difference.got if key not in difference.expected]
    said = [
        f"{what} {', '.join(map(repr, keys))}" for what, keys in (("missing:", missing), ("not asked:", extra)) if keys
    ]
    return Named("other keys", f"The names in your dictionary are not those asked for; {'; '.join(said)}.")


def _dtype(difference: Difference) -> Named:
    got, expected = (str(value.dtype).removeprefix("torch.") for value in (difference.got, difference.expected))
    return Named(
        "wrong dtype",
        f"Your result is of dtype {got}, and {expected} is asked for. (Whole numbers, truth values and NumPy's float64 "
        "slip in easily; `.to(dtype)` converts.)",
    )


def _shape(difference: Difference) -> Named:
    got, expected = as_tensor(difference.got), as_tensor(difference.expected)
    yours, ours = tuple(got.shape), tuple(expected.shape)
    shapes = f"Your result has shape {yours}; the task asks for {ours}. "
    if yours == ours[1:]:
        return Named("batch axis missing", shapes + "The first axis is gone: `x[0]`, `.squeeze(0)` or a sum over it?")
    if yours[1:] == ours and yours[0] == 1:
        return Named("one axis too many", shapes + "There is an extra axis of length 1 in front.")
    if sorted(yours) == sorted(ours):
        for order in itertools.permutations(range(got.ndim)) if got.ndim <= 5 else ():
            if tuple(got.permute(order).shape) == ours and compare(got.permute(order), expected, 1e-3, 1e-4) is None:
                return Named("axes swapped", shapes + "The numbers are right, but the axes are in another order.")
        return Named(
            "axes swapped",
            shapes + "These are the same lengths in another order. (To reorder axes use `permute`; `reshape` keeps the "
            "order of the numbers and mixes them up.)",
        )
    if [n for n in yours if n != 1] == [n for n in ours if n != 1]:
        return Named(
            "an axis of length 1",
            shapes
            + "They differ only by an axis of length 1: `unsqueeze` adds one, `squeeze` or `keepdim=False` takes "
            "it away.",
        )
    if got.numel() == expected.numel():
        return Named("other shape", shapes + "There are as many numbers as there should be, but arranged otherwise.")
    return Named("wrong shape", shapes.strip())
