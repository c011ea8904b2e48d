"""Which exercises the course has: what the lessons say of them, and where the file that checks each of them lies."""

import importlib
from collections.abc import Iterator
from html import escape
from pathlib import Path

from lib.exercises.engine.exercise import Exercise
from lib.exercises.lesson_text import NO_STAR, STAR, ExerciseText, exercises_of, lesson_sources

LESSONS = Path(__file__).parent / "lessons"


def find(name: str) -> Exercise | None:
    """The exercise of that name, from its file `lessons/lesson_NN/NAME.py`; or None."""
    if not name.isidentifier():
        return None
    file = next(iter(sorted(LESSONS.glob(f"lesson_[0-9][0-9]/{name}.py"))), None)
    if file is None:
        return None
    return importlib.import_module(f"lib.exercises.lessons.{file.parent.name}.{name}").EXERCISE


def names() -> list[str]:
    """The names of all exercises that can be checked, lesson by lesson. `_parts.py` holds what several share."""
    return [file.stem for file in sorted(LESSONS.glob("lesson_[0-9][0-9]/*.py")) if not file.stem.startswith("_")]


def lesson_of(name: str) -> str | None:
    """The number of an exercise's lesson, "08"; None if there is no such exercise."""
    folder = next((file.parent.name for file in LESSONS.glob(f"lesson_[0-9][0-9]/{name}.py")), None)
    return folder.removeprefix("lesson_") if folder else None


class Catalogue:
    """Every exercise of the course. Goes through a `for` loop, and shows itself as a table."""

    def __init__(self, exercises: list[ExerciseText]) -> None:
        self._exercises = exercises

    def __iter__(self) -> Iterator[ExerciseText]:
        return iter(self._exercises)

    def __len__(self) -> int:
        return len(self._exercises)

    def _total(self) -> str:
        return f"{len(self)} exercise{'s' * (len(self) != 1)}, {sum(e.minutes for e in self)} minutes in all"

    def __repr__(self) -> str:
        rows = [(e.lesson, e.name, f"{e.minutes} min", stars(e)) for e in self]
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(4)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, self._total()])

    def _repr_html_(self) -> str:
        rows = [
            (
                escape(e.lesson),
                f"<code>{escape(e.name)}</code>",
                f"{e.minutes} min",
                f'<span title="{e.difficulty} of 3">{stars(e)}</span>',
            )
            for e in self
        ]
        return f"{html_table(('lesson', 'exercise', 'time', 'difficulty'), rows)}<div>{self._total()}</div>"


def stars(exercise: ExerciseText) -> str:
    """Difficulty as one to three stars."""
    return STAR * exercise.difficulty + NO_STAR * (3 - exercise.difficulty)


def catalogue() -> Catalogue:
    """Every exercise of the course: lesson, name, minutes, difficulty."""
    return Catalogue([exercise for source in lesson_sources() for exercise in exercises_of(source)])


def html_table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table of finished HTML cells, read from left to right."""
    cell = 'style="text-align:left;vertical-align:top"'
    head = "".join(f'<th scope="col" {cell}>{title}</th>' for title in titles)
    body = "".join(f"<tr>{''.join(f'<td {cell}>{value}</td>' for value in row)}</tr>" for row in rows)
    return f"<table style='color:inherit;font:inherit'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
