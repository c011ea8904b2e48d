"""What a learner has solved so far, in a small file: `data/progress.json`, or the one named by `COURSE_PROGRESS`."""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

from lib.datasets.folders import data_dir
from lib.exercises.catalogue import catalogue, html_table
from lib.exercises.exercise import Exercise

CORRECT, TRIED = "correct", "tried"
SIGNS = {CORRECT: "✓", TRIED: "tried", None: "not yet"}
LOCK_PATIENCE = 2.0  # seconds to wait for another notebook that is writing
LOCK_IS_STALE = 10.0  # seconds after which a lock was left behind by a kernel that died


def progress_file() -> Path:
    """Where the progress is kept."""
    named = os.environ.get("COURSE_PROGRESS")
    return Path(named).expanduser() if named else data_dir() / "progress.json"


def record(exercise: Exercise, correct: bool) -> str:
    """Notes that an exercise was solved or tried. Once solved, it stays solved.

    Returns:
        A notice for the learner if something is wrong with the file, else "". Nothing is raised.
    """
    try:
        file = progress_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        with _locked(file):
            solved, notice = load(file)
            if solved.get(exercise.name) != CORRECT:
                solved[exercise.name] = CORRECT if correct else TRIED
                _write(file, solved)
        return notice
    except OSError as error:
        why = error.strerror or type(error).__name__
        return f"Your progress could not be saved ({why}); the verdict above holds all the same."


def load(file: Path) -> tuple[dict[str, str], str]:
    """Reads the state of each exercise that was tried, by name; and a notice, "" if all is well.

    A file that cannot be understood is set aside as `progress.json.damaged`, and the progress starts anew.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        solved = content["exercises"]
        if not all(isinstance(name, str) and state in (CORRECT, TRIED) for name, state in solved.items()):
            raise ValueError("unknown state")
        return dict(solved), ""
    except FileNotFoundError:
        return {}, ""
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        aside = file.with_name(f"{file.name}.damaged")
        os.replace(file, aside)
        return {}, f"The file with your progress was damaged. It was set aside as {aside.name}, and a new one begun."


def _write(file: Path, solved: dict[str, str]) -> None:
    """All or nothing: a reader, or a power cut, never meets half a file."""
    text = json.dumps({"version": 1, "exercises": dict(sorted(solved.items()))}, indent=1)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as new:
            new.write(text + "\n")
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """One notebook at a time: a second one would undo what the first has just written."""
    lock = file.with_name(f"{file.name}.lock")
    end = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            try:
                if time.time() - lock.stat().st_mtime > LOCK_IS_STALE:
                    lock.unlink()
            except FileNotFoundError:
                continue
            if time.monotonic() > end:
                raise TimeoutError(0, "another notebook is writing it") from None
            time.sleep(0.02)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


class Progress:
    """How far a learner is, lesson by lesson. Shows itself as a table."""

    def __init__(self, exercises: list[Exercise], solved: dict[str, str], notice: str = "") -> None:
        self._exercises = exercises
        self._solved = solved
        self._notice = notice

    def lessons(self) -> dict[str, list[tuple[Exercise, str]]]:
        """By lesson: its exercises, each with "✓", "tried" or "not yet"."""
        table: dict[str, list[tuple[Exercise, str]]] = {}
        for exercise in self._exercises:
            table.setdefault(exercise.lesson, []).append((exercise, SIGNS[self._solved.get(exercise.name)]))
        return table

    def _summary(self) -> str:
        left = [exercise for exercise in self._exercises if self._solved.get(exercise.name) != CORRECT]
        done = len(self._exercises) - len(left)
        ahead = f"; about {sum(exercise.minutes for exercise in left)} minutes of exercises ahead" if left else ""
        return f"{done} of {len(self._exercises)} solved{ahead}."

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


def _solved_of(exercises: list[tuple[Exercise, str]]) -> str:
    return f"{sum(sign == SIGNS[CORRECT] for _, sign in exercises)} of {len(exercises)}"


def progress() -> Progress:
    """Which exercises are solved (✓), tried, or not yet begun, lesson by lesson, with the minutes they take."""
    try:
        solved, notice = load(progress_file())
    except OSError as error:
        solved, notice = {}, f"Your progress could not be read ({error.strerror or type(error).__name__})."
    return Progress(list(catalogue()), solved, notice)
