"""What a learner has solved so far, in a small file: `data/progress.json`, or the one named by `COURSE_PROGRESS`."""

import json
import os
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from filelock import FileLock, Timeout

from lib.datasets.folders import data_dir
from lib.exercises.catalogue import html_table, lesson_of
from lib.exercises.lesson_text import ExerciseText, exercises_of, lesson_sources
from lib.files import write_atomically

CORRECT, TRIED = "correct", "tried"
SIGNS = {CORRECT: "✓", TRIED: "tried", None: "not yet"}
LOCK_PATIENCE = 2.0  # seconds to wait for another notebook that is writing
VERSION = 1
_last_checked: list[str] = []  # the lesson of the last check in this kernel, "08"


def progress_file() -> Path:
    """Where the progress is kept; behind a link, the file that it leads to."""
    named = os.environ.get("COURSE_PROGRESS")
    return (Path(named).expanduser() if named else data_dir() / "progress.json").resolve()


def record(name: str, correct: bool) -> str:
    """Notes that an exercise was solved or tried. Once solved, it stays solved.

    Returns:
        A notice for the learner if something is wrong with the file, else "". Nothing is raised.
    """
    _last_checked[:] = [lesson_of(name) or ""]
    try:
        file = progress_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", timeout=LOCK_PATIENCE):
            kept = load(file)
            if kept.solved.get(name) != CORRECT and kept.may_write:
                solved = kept.solved | {name: CORRECT if correct else TRIED}
                content = {"version": VERSION, "exercises": dict(sorted(solved.items()))}
                write_atomically(file, (json.dumps(content, indent=1) + "\n").encode())
        return kept.notice
    except Timeout:
        return _not_saved("another notebook is writing it")
    except OSError as error:
        return _not_saved(error.strerror or type(error).__name__)


def _not_saved(why: str) -> str:
    return f"Your progress could not be saved ({why}); the verdict above holds all the same."


@dataclass(frozen=True)
class Kept:
    """What a progress file says.

    Args:
        solved: "correct" or "tried", by the name of the exercise.
        notice: what there is to tell the learner about the file, "" if all is well.
        may_write: whether the file may be replaced by a newer one.
    """

    solved: dict[str, str] = field(default_factory=dict)
    notice: str = ""
    may_write: bool = True


def load(file: Path) -> Kept:
    """Reads a progress file. One that cannot be understood is set aside, and the progress starts anew.

    Only a regular file is ever read, set aside or replaced: not a device, a pipe or a folder.
    """
    if not file.exists():
        return Kept()
    if not file.is_file():
        return Kept(notice=_not_saved(f"{file.name} is no ordinary file"), may_write=False)
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))  # an editor may have put a byte-order mark before it
        version, solved = content.get("version", VERSION), content["exercises"]
        if isinstance(version, int) and version > VERSION:
            newer = f"{file.name} was written by a newer version of the course, and is left as it is"
            return Kept(notice=_not_saved(newer), may_write=False)
        if not all(isinstance(name, str) and state in (CORRECT, TRIED) for name, state in solved.items()):
            raise ValueError("unknown state")
        return Kept(dict(solved))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        aside = _free_name(file.with_name(f"{file.name}.damaged"))
        os.replace(file, aside)
        return Kept(
            notice=f"The file with your progress was damaged. It was set aside as {aside.name}, and a new one begun."
        )


def _free_name(wanted: Path) -> Path:
    """The path itself, or with a number behind it, so that nothing that was set aside before is lost."""
    numbered = (wanted if n == 1 else wanted.with_name(f"{wanted.name}.{n}") for n in range(1, 1000))
    return next((path for path in numbered if not path.exists()), wanted)


class Progress:
    """How far a learner is. Shows itself as a table."""

    def __init__(self, exercises: list[ExerciseText], solved: dict[str, str], notice: str = "") -> None:
        self._exercises = exercises
        self._solved = solved
        self._notice = notice

    def lessons(self) -> dict[str, list[tuple[ExerciseText, str]]]:
        """By lesson: its exercises, each with "✓", "tried" or "not yet"."""
        table: dict[str, list[tuple[ExerciseText, str]]] = {}
        for exercise in self._exercises:
            table.setdefault(exercise.lesson, []).append((exercise, SIGNS[self._solved.get(exercise.name)]))
        return table

    def _summary(self) -> str:
        left = [exercise for exercise in self._exercises if self._solved.get(exercise.name) != CORRECT]
        ahead = f"; about {sum(exercise.minutes for exercise in left)} minutes of exercises ahead" if left else ""
        here = f"{len(self._exercises) - len(left)} of {len(self._exercises)} solved{ahead}."
        whole = sum(state == CORRECT for state in self._solved.values())
        return f"{here} In the whole course: {whole} solved."

    def __repr__(self) -> str:
        lines = []
        for lesson, exercises in self.lessons().items():
            lines.append(f"{lesson}  {_solved_of(exercises)}")
            lines += [f"    {sign:<7}  {exercise.name} ({exercise.minutes} min)" for exercise, sign in exercises]
        return "\n".join([*lines, self._summary(), *([self._notice] if self._notice else [])])

    def _repr_html_(self) -> str:
        rows = []
        for lesson, exercises in self.lessons().items():
            shown = "<br>".join(f"{sign} <code>{escape(e.name)}</code> ({e.minutes} min)" for e, sign in exercises)
            rows.append((escape(lesson), _solved_of(exercises), shown))
        notice = f"<div><em>{escape(self._notice)}</em></div>" if self._notice else ""
        return f"{html_table(('lesson', 'solved', 'exercises'), rows)}<div>{self._summary()}</div>{notice}"


def _solved_of(exercises: list[tuple[ExerciseText, str]]) -> str:
    return f"{sum(sign == SIGNS[CORRECT] for _, sign in exercises)} of {len(exercises)}"


def progress(lesson: str | None = None) -> Progress:
    """Which exercises are solved (✓), tried, or not yet begun, with the minutes they take.

    Args:
        lesson: "08" for one lesson, "all" for the whole course. By default the lesson whose exercise was checked last
            in this notebook; before any check, the whole course.

    Raises:
        ValueError: there is no such lesson.
    """
    wanted = lesson or (_last_checked[0] if _last_checked else "all")
    sources = [source for source in lesson_sources() if wanted == "all" or source.stem.startswith(wanted)]
    if lesson not in (None, "all") and not sources:
        raise ValueError(f'lesson is {lesson!r}; expected a number such as "08", or "all"')
    exercises = [exercise for source in sources for exercise in exercises_of(source)]
    try:
        kept = load(progress_file())
        return Progress(exercises, kept.solved, kept.notice)
    except OSError as error:
        why = error.strerror or type(error).__name__
        return Progress(exercises, {}, f"Your progress could not be read ({why}).")
