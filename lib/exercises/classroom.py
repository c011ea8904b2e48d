"""What a learner calls in a notebook: `check`, `hint`, `solution` and `use`."""

import difflib
import inspect
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from lib.datasets.folders import REPOSITORY
from lib.exercises.catalogue import catalogue, find
from lib.exercises.exercise import Exercise
from lib.exercises.judge import judge
from lib.exercises.outcome import Outcome, marked_up
from lib.exercises.records import record

_BEGIN, _END = "### BEGIN SOLUTION", "### END SOLUTION"
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
    if outcome is None or outcome.status == "not attempted":
        return outcome
    notice = record(exercise, correct=outcome.status == "correct")
    return _with_notice(outcome, notice) if notice else outcome


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
    if outcome.status == "correct":
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
    count = len(found.hints)
    if count == 0:
        return Note(f'There are no hints for `{found.name}`. `solution("{found.name}")` shows ours.')
    wanted = _hints_shown.get(found.name, 0) + 1 if level is None else level
    if wanted not in range(1, count + 1):
        asked = "That was the last hint" if level is None else f"There are hints 1 to {count}"
        return Note(f'{asked}. `hint("{found.name}", 1)` begins again; `solution("{found.name}")` shows our answer.')
    _hints_shown[found.name] = wanted
    more = f'Another one: `hint("{found.name}")` again.' if wanted < count else "This was the last hint."
    return Note(f"**Hint {wanted} of {count}.** {found.hints[wanted - 1]}\n\n*{more}*")


def solution(exercise: str | Callable) -> Note:
    """The course's answer, as it stands in `solutions/`. Have a try first: it is worth more.

    Args:
        exercise: the name of the exercise, or your function.
    """
    found = _find(exercise)
    if isinstance(found, Outcome):
        return Note(found.explanation)
    file = REPOSITORY / "solutions" / f"{found.lesson}.py"
    source = _source_of(found.name, file.read_text(encoding="utf-8")) if file.is_file() else None
    if source is None:
        return Note(
            f"The solution of `{found.name}` belongs in `solutions/{found.lesson}.py`, but is not there. "
            "Was the course copied without its folder `solutions`?"
        )
    return Note(f"One way to write `{found.name}` (yours may differ and be right):\n\n```python\n{source}\n```")


def _source_of(name: str, text: str) -> str | None:
    """The function or class `name` out of a lesson's source, without its marker lines; None if it is not there."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if re.match(rf"(def|class)\s+{re.escape(name)}\b", line)]
    if not starts:
        return None
    first = starts[0]
    last = first + 1
    in_header = True  # a long signature may go on in lines that are not indented: `) -> Tensor:`
    while last < len(lines) and (in_header or not lines[last].strip() or lines[last][0].isspace()):
        in_header = in_header and not lines[last - 1].rstrip().endswith(":")
        last += 1
    block = [line for line in lines[first:last] if line.strip() not in (_BEGIN, _END)]
    return "\n".join(block).rstrip()


def _judged(function: Any) -> tuple[Exercise | None, Outcome]:
    exercise = _find(function)
    if isinstance(exercise, Outcome):
        return None, exercise
    if isinstance(function, str):
        return None, _nothing_to_judge(f"Give the function itself, without quotes: `check({exercise.name})`.")
    if function is exercise.reference:
        return exercise, Outcome(
            status="not attempted",
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
    exercise = find(name)
    if exercise is not None:
        return exercise
    close = difflib.get_close_matches(name, [known.name for known in catalogue()], n=1)
    meant = f" Did you mean `{close[0]}`?" if close else " `catalogue()` lists them all."
    return _nothing_to_judge(f"There is no exercise named `{name}`.{meant}")


def _kind(value: Any) -> str:
    return "None" if value is None else f"an object of type `{type(value).__name__}`"


def _nothing_to_judge(explanation: str) -> Outcome:
    return Outcome(status="not attempted", exercise="", explanation=explanation)


def _with_notice(outcome: Outcome, notice: str) -> Outcome:
    return Outcome(**{**vars(outcome), "notice": notice})


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
