"""Which exercises the course has: found in the modules `lesson_NN.py` beside this file, imported when needed."""

import importlib
import pkgutil
from collections.abc import Iterator
from html import escape
from pathlib import Path

from lib.exercises.exercise import Exercise

_HERE = Path(__file__).parent
DIFFICULTIES = {1: "●○○", 2: "●●○", 3: "●●●"}


def lesson_modules() -> list[str]:
    """The names of the modules that hold exercises, "lesson_00" first."""
    return sorted(module.name for module in pkgutil.iter_modules([str(_HERE)]) if module.name.startswith("lesson_"))


def exercises_of(module: str) -> list[Exercise]:
    """The exercises of "lesson_01", in the order of the lesson."""
    return list(importlib.import_module(f"lib.exercises.{module}").EXERCISES)


def find(name: str) -> Exercise | None:
    """The exercise of that name, or None. Only lessons that mention the name are imported."""
    for module in lesson_modules():
        if f'"{name}"' in (_HERE / f"{module}.py").read_text(encoding="utf-8"):
            found = [exercise for exercise in exercises_of(module) if exercise.name == name]
            if found:
                return found[0]
    return None


class Catalogue:
    """Every exercise of the course. Goes through a `for` loop, and shows itself as a table."""

    def __init__(self, exercises: list[Exercise]) -> None:
        self._exercises = exercises

    def __iter__(self) -> Iterator[Exercise]:
        return iter(self._exercises)

    def __len__(self) -> int:
        return len(self._exercises)

    def _rows(self) -> list[tuple[str, str, str, str]]:
        return [(e.lesson, e.name, f"{e.minutes} min", DIFFICULTIES[e.difficulty]) for e in self]

    def _total(self) -> str:
        return f"{len(self)} exercise{'s' * (len(self) != 1)}, {sum(e.minutes for e in self)} minutes in all"

    def __repr__(self) -> str:
        rows = self._rows()
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(4)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, self._total()])

    def _repr_html_(self) -> str:
        rows = [
            (
                escape(e.lesson),
                f"<code>{escape(e.name)}</code><br><small>{escape(e.summary)}</small>",
                f"{e.minutes} min",
                f'<span title="{e.difficulty} of 3">{DIFFICULTIES[e.difficulty]}</span>',
            )
            for e in self
        ]
        return f"{html_table(('lesson', 'exercise', 'time', 'difficulty'), rows)}<div>{self._total()}</div>"


def catalogue() -> Catalogue:
    """Every exercise of the course: lesson, name, minutes, difficulty."""
    return Catalogue([exercise for module in lesson_modules() for exercise in exercises_of(module)])


def html_table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table of finished HTML cells, read from left to right."""
    cell = 'style="text-align:left;vertical-align:top"'
    head = "".join(f'<th scope="col" {cell}>{title}</th>' for title in titles)
    body = "".join(f"<tr>{''.join(f'<td {cell}>{value}</td>' for value in row)}</tr>" for row in rows)
    return f"<table style='color:inherit;font:inherit'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
