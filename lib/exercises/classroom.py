"""What a learner calls in a notebook: `check`, `hint`, `solution` and `use`."""

import difflib
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lib.exercises.catalogue import find, names
from lib.exercises.engine.exercise import Exercise
from lib.exercises.engine.judge import judge
from lib.exercises.engine.outcome import Outcome, Status, marked_up
from lib.exercises.engine.sandbox import global_states_kept
from lib.exercises.lesson_text import exercise_text
from lib.exercises.progress import record

_hints_shown: dict[str, int] = {}


class Note:
    """A few words from the course, in Markdown: a hint, a solution."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


def check(function: Callable) -> Outcome:
    """Says whether your function is right and, if not, what is wrong with it.

    Args:
        function: your function, under the name that the exercise gives it. The function itself: `check(area)`, not
            `check(area(3, 4))`.

    Returns:
        The outcome, which shows itself when this is the last line of a cell. A right or wrong answer is noted in your
        progress. Nothing that your function does raises an error here.
    """
    exercise, outcome = _judged(function)
    if exercise is None or outcome.status is Status.NOT_ATTEMPTED:
        return outcome
    notice = record(exercise.name, correct=outcome.status is Status.CORRECT)
    return replace(outcome, notice=notice)


def use(function: Callable) -> Callable:
    """Your own function if it is right, else the course's, so that the notebook runs on either way.

    Args:
        function: yours, as for `check`.

    Returns:
        `function`, or the reference function, and then a banner says so.

    Raises:
        ValueError: there is no exercise of that name.
        RuntimeError: it is not right, and the environment variable `COURSE_NO_FALLBACK` is 1.
    """
    exercise, outcome = _judged(function)
    if exercise is None:
        raise ValueError(outcome.explanation.replace("`", ""))
    if outcome.status is Status.CORRECT:
        return function
    why = outcome.status + (f", {outcome.mistake}" if outcome.mistake else "")
    if os.environ.get("COURSE_NO_FALLBACK") == "1":
        raise RuntimeError(f"{exercise.name} is not right ({why}), and COURSE_NO_FALLBACK=1 forbids the reference")
    _show(_Banner(exercise.name, why))
    return exercise.reference


def hint(exercise: str | Callable, level: int | None = None) -> Note:
    """One hint. Called again, it gives the next one.

    Args:
        exercise: the name of the exercise, or your function.
        level: 1 for the first hint; by default the one after the last that you saw.
    """
    found = _find(exercise)
    if isinstance(found, Outcome):
        return Note(found.explanation)
    name, text = found.name, exercise_text(found.name)
    if text is None:
        return _not_in_the_lesson(name)
    count = len(text.hints)
    wanted = _hints_shown.get(name, 0) + 1 if level is None else level
    if wanted not in range(1, count + 1):
        asked = "That was the last hint" if level is None else f"There are hints 1 to {count}"
        return Note(f'{asked}. `hint("{name}", 1)` begins again; `solution("{name}")` shows our answer.')
    _hints_shown[name] = wanted
    more = f'Another one: `hint("{name}")` again.' if wanted < count else "This was the last hint."
    return Note(f"**Hint {wanted} of {count}.** {text.hints[wanted - 1]}\n\n*{more}*")


def solution(exercise: str | Callable) -> Note:
    """The course's answer, as it stands in `solutions/`. Have a try first: it is worth more.

    Args:
        exercise: the name of the exercise, or your function.
    """
    found = _find(exercise)
    if isinstance(found, Outcome):
        return Note(found.explanation)
    text = exercise_text(found.name)
    if text is None or not text.solution:
        return _not_in_the_lesson(found.name)
    return Note(f"One way to write `{found.name}` (yours may differ and be right):\n\n```python\n{text.solution}\n```")


def _not_in_the_lesson(name: str) -> Note:
    return Note(
        f"What the lesson says of `{name}` belongs in the folder `solutions`, but is not there. "
        "Was the course copied without it?"
    )


def _judged(function: Any) -> tuple[Exercise | None, Outcome]:
    exercise = _find(function)
    if isinstance(exercise, Outcome):
        return None, exercise
    if isinstance(function, str):
        return None, _nothing_to_judge(f"Give the function itself, without quotes: `check({exercise.name})`.")
    if function is exercise.reference:
        return exercise, Outcome(
            status=Status.NOT_ATTEMPTED,
            exercise=exercise.name,
            explanation=f"This is the course's own `{exercise.name}`, put there by `use`. "
            "Run the cell with your function again, then this one.",
        )
    return exercise, judge(exercise, function)


def _find(wanted: Any) -> Exercise | Outcome:
    """The exercise that a name or a function speaks of; else an outcome that says why there is none."""
    name = wanted if isinstance(wanted, str) else getattr(wanted, "__name__", None)
    if not isinstance(wanted, str) and not (inspect.isroutine(wanted) or inspect.isclass(wanted)):
        return _nothing_to_judge(
            f"This is not a function but {_kind(wanted)}. Give the function itself, without calling it: "
            "`check(name)`, not `check(name(...))`."
        )
    if name == "<lambda>":
        return _nothing_to_judge("A `lambda` has no name to find its exercise by. Write it with `def`.")
    with global_states_kept(0):  # a lesson's file may make tensors when it is imported
        exercise = find(name)
    if exercise is not None:
        return exercise
    close = difflib.get_close_matches(name, names(), n=1)
    meant = f" Did you mean `{close[0]}`?" if close else " `catalogue()` lists them all."
    return _nothing_to_judge(f"There is no exercise named `{name}`.{meant}")


def _kind(value: Any) -> str:
    return "None" if value is None else f"an object of type `{type(value).__name__}`"


def _nothing_to_judge(explanation: str) -> Outcome:
    return Outcome(status=Status.NOT_ATTEMPTED, exercise="", explanation=explanation)


class _Banner:
    """Says, loudly, that the course's function is at work."""

    def __init__(self, name: str, why: str) -> None:
        self._text = (
            f"From here on this notebook runs on the COURSE'S `{name}`, because yours is not right yet ({why}). "
            "Once yours passes its check, run its cell and then this one again."
        )

    def __repr__(self) -> str:
        return f"⚠ {self._text.replace('`', '')}"

    def _repr_html_(self) -> str:
        style = (
            "border:2px solid var(--jp-warn-color1,#b26a00);padding:6px 12px;margin:4px 0;max-width:60em;"
            "color:var(--jp-content-font-color1,inherit)"
        )
        return f'<div role="note" style="{style}"><strong>⚠ {marked_up(self._text)}</strong></div>'


def _show(banner: _Banner) -> None:
    """In a notebook as HTML, elsewhere as text."""
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        sys.modules["IPython"].display.display(banner)
    else:
        print(banner)
