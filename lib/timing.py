"""How long something takes, measured so that a busy machine disturbs it least, and said as a person would say it."""

import time
from collections.abc import Callable

import torch


def milliseconds(work: Callable[[], object], *, repeats: int = 5) -> float:
    """The shortest of `repeats` runs of `work()`, in milliseconds.

    The shortest and not the mean: other programs can only make a run longer. On a GPU the clock stops when the GPU
    has finished, not when it has been asked.

    Raises:
        ValueError: `repeats` is less than 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    return 1000 * min(_seconds(work) for _ in range(repeats))


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def human_time(seconds: float) -> str:
    """`seconds` in the unit that a person would choose, with two digits: "0.35 ms", "59 s", "22 minutes", "5.9 years".

    Raises:
        ValueError: `seconds` is negative.
    """
    if seconds < 0:
        raise ValueError(f"seconds must not be negative, got {seconds}")
    if seconds < 1:
        return f"{_two_digits(1000 * seconds)} ms"
    for unit, length, most in (("s", 1, 90), ("minutes", 60, 90), ("hours", 3600, 48), ("days", 86_400, 700)):
        if seconds / length < most:
            return f"{_two_digits(seconds / length)} {unit}"
    return f"{_two_digits(seconds / (365.25 * 86_400))} years"


def _two_digits(number: float) -> str:
    return f"{number:.0f}" if number >= 9.95 else f"{number:.1f}" if number >= 0.995 else f"{number:.2g}"
