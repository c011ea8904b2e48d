"""What a lesson's text says of its exercises: task, minutes, stars, hints and the solution. They stand nowhere else."""

import itertools
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lib.datasets.folders import REPOSITORY

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STAR, NO_STAR = "★", "☆"


@dataclass(frozen=True)
class ExerciseText:
    """An exercise, as the lesson sets it.

    Args:
        name: of the function to write.
        lesson: the lesson's file name without its ending.
        minutes: what a beginner needs.
        difficulty: 1 a line or two, 2 some thought, 3 a real problem.
        hints: in rising order, as Markdown: a symptom, and what to think of.
        solution: the course's answer, as Python.
    """

    name: str
    lesson: str
    minutes: int
    difficulty: int
    hints: tuple[str, ...]
    solution: str


def lesson_sources() -> list[Path]:
    """The lessons' sources, in order; none where the course was copied without its folder `solutions`."""
    return sorted((REPOSITORY / "solutions").glob("[0-9][0-9]_*.py"))


def exercises_of(source: Path) -> list[ExerciseText]:
    """The exercises of one lesson, in their order.

    Raises:
        ValueError: below the heading of an exercise there is no line like `*15 minutes · ★★☆*`.
    """
    return _read(source.stem, source.read_text(encoding="utf-8"))


def exercise_text(name: str) -> ExerciseText | None:
    """The exercise of that name, or None."""
    for source in lesson_sources():
        for exercise in exercises_of(source):
            if exercise.name == name:
                return exercise
    return None


@lru_cache(maxsize=64)
def _read(lesson: str, text: str) -> list[ExerciseText]:
    headings = list(re.finditer(r"^# ### Exercise\b[^`\n]*`(\w+)`.*$", text, re.MULTILINE))
    found = []
    for heading, following in itertools.zip_longest(headings, headings[1:]):
        name, part = heading[1], text[heading.end() : following.start() if following else None]
        cost = re.search(rf"^# \*(\d+) minutes? · ([{STAR}{NO_STAR}]{{3}})\*", part, re.MULTILINE)
        if cost is None:
            raise ValueError(f"exercise {name!r} of {lesson} has no line like '*15 minutes · ★★☆*' below its heading")
        after = part.partition(f"\ncheck({name})")[2].partition(f"\n{name} = use({name})")[0]
        found.append(
            ExerciseText(name, lesson, int(cost[1]), cost[2].count(STAR), _hints(after), _solution(name, part))
        )
    return found


def _hints(text: str) -> tuple[str, ...]:
    """What stands in the folds: the line that is always seen, then what it hides."""
    markdown = "\n".join(re.sub(r"^# ?", "", line) for line in text.splitlines())
    folds = re.findall(r"<details>\s*<summary>(.*?)</summary>(.*?)</details>", markdown, re.DOTALL)
    return tuple(f"*{re.sub(r'^Hint: ', '', title.strip())}*\n\n{body.strip()}" for title, body in folds)


def _solution(name: str, text: str) -> str:
    """The function or class `name`, without its marker lines; "" if it is not there."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if re.match(rf"(def|class)\s+{re.escape(name)}\b", line)]
    if not starts:
        return ""
    first = starts[0]
    last = first + 1
    in_header = True  # a long signature may go on in lines that are not indented: `) -> Tensor:`
    while last < len(lines) and (in_header or not lines[last].strip() or lines[last][0].isspace()):
        in_header = in_header and not lines[last - 1].rstrip().endswith(":")
        last += 1
    block = [line for line in lines[first:last] if line.strip() not in (BEGIN, END)]
    return "\n".join(block).rstrip()
