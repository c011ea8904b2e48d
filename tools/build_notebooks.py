"""From each `solutions/NN_name.py`: the solved notebook beside it, and the learner's in `notebooks/`; both executed.

    python tools/build_notebooks.py             build what is out of step
    python tools/build_notebooks.py 01 04       these lessons only
    python tools/build_notebooks.py --check     say what is out of step, run nothing; exit 1 if anything is
    python tools/build_notebooks.py --again     run again what is in step as well
    python tools/build_notebooks.py --force     overwrite notebooks that somebody edited

The learner's notebook is stripped first and executed afterwards, so no output of a solution can stay in it. Nothing is
written unless both notebooks of a lesson came out well, and a file is replaced in one step. Each notebook remembers, in
its metadata, what it was made from; that is how an edited notebook is told from a stale one.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from kernel_run import BUDGET_BYTES, BUDGET_SECONDS, ROOT, CellRaised, Cost, execute
from lesson_key import lesson_key, what_changed
from lesson_source import KERNEL, Lesson, LessonError, read_lesson
from nbformat import NotebookNode
from notebook_checks import problems
from notebook_outputs import tidy


class BuildError(Exception):
    """Why a lesson's notebooks were not written: one complaint a line, each with file and line."""


def lesson_paths(root: Path, wanted: list[str] = ()) -> list[Path]:
    """The lessons' sources in order; with `wanted`, those whose name starts with one of its words.

    Raises:
        BuildError: a word fits no lesson.
    """
    paths = sorted((root / "solutions").glob("[0-9][0-9]_*.py"))
    for word in wanted:
        if not any(path.stem.startswith(word) for path in paths):
            raise BuildError(f"no lesson in {root / 'solutions'} starts with {word!r}")
    return [path for path in paths if not wanted or path.stem.startswith(tuple(wanted))]


def notebook_path(source: Path, solved: bool) -> Path:
    """Where a lesson's notebook lies."""
    folder = source.parent if solved else source.parent.parent / "notebooks"
    return folder / f"{source.stem}.ipynb"


def out_of_step(lesson: Lesson, root: Path, place: Callable[[Path, bool], Path] = notebook_path) -> list[str]:
    """Why this lesson's notebooks must be built again: one reason for each notebook at most.

    `place` says where the notebook of a source lies.
    """
    reasons = []
    key = lesson_key(lesson.path, root)
    for solved in (True, False):
        path = place(lesson.path, solved)
        if not path.exists():
            reasons.append(f"{path.relative_to(root)} is missing")
            continue
        stored = _read(path)
        if stored is None:
            reasons.append(f"{path.relative_to(root)} is no notebook")
            continue
        mark = stored.metadata.get("course", {})
        fresh = lesson.notebook(solved)
        if [(c.id, c.cell_type, c.source, c.metadata) for c in stored.cells] != [
            (c.id, c.cell_type, c.source, c.metadata) for c in fresh.cells
        ]:
            reasons.append(f"{path.relative_to(root)} does not hold the cells of {lesson.path.relative_to(root)}")
        elif changed := what_changed(mark.get("key", {}), key):
            reasons.append(f"{path.relative_to(root)} is older than what it was run with: {changed}")
        elif not as_built(path):
            reasons.append(f"{path.relative_to(root)} was run or changed after it was built")
    return reasons


def edited(path: Path) -> bool:
    """Whether a notebook's cells are not those that the builder wrote: somebody's work is in it."""
    if not path.exists():
        return False
    stored = _read(path)
    return stored is None or stored.metadata.get("course", {}).get("cells") != _cells_digest(stored)


def as_built(path: Path) -> bool:
    """Whether a notebook is there and is, to the byte, what the builder wrote; it need not be in step."""
    stored = _read(path) if path.exists() else None
    mark = stored.metadata.get("course", {}) if stored is not None else {}
    if not mark or (mark.get("cells"), mark.get("outputs")) != (_cells_digest(stored), _outputs_digest(stored)):
        return False
    return serialised(stored) == path.read_text(encoding="utf-8")


def make_notebook(lesson: Lesson, solved: bool, root: Path) -> tuple[NotebookNode, Cost]:
    """One executed notebook of a lesson, tidy and checked.

    Raises:
        BuildError: a cell raised, or the result is not what it must be.
    """
    notebook = lesson.notebook(solved)
    folder = notebook_path(lesson.path, solved).parent
    folder.mkdir(exist_ok=True)
    try:
        cost = execute(notebook, KERNEL, folder)
    except CellRaised as error:
        which = "solved" if solved else "learner's"
        line = lesson.cells_of(solved)[error.index].line
        raise BuildError(_at(lesson, root, line, f"the {which} cell raised {error}")) from None
    tidy(notebook)
    wrong = [_at(lesson, root, line, what) for line, what in problems(lesson, notebook, solved, root)]
    if wrong:
        raise BuildError("\n".join(wrong))
    notebook.metadata["course"] = {
        "made_from": lesson.path.relative_to(root).as_posix(),
        "key": lesson_key(lesson.path, root),
        "cells": _cells_digest(notebook),
        "outputs": _outputs_digest(notebook),
    }
    return notebook, cost


def build(lesson: Lesson, root: Path, force: bool = False) -> list[str]:
    """Make both notebooks of a lesson and write them; give one line about each.

    Raises:
        BuildError: neither was written.
    """
    paths = {solved: notebook_path(lesson.path, solved) for solved in (True, False)}
    for path in paths.values():
        if not force and edited(path):
            raise BuildError(
                f"{path.relative_to(root)} was changed by hand since it was built; save it under another "
                "name, or rebuild over it with `make notebooks FORCE=1`"
            )
    made = {solved: make_notebook(lesson, solved, root) for solved in paths}
    report = []
    for solved, (notebook, cost) in made.items():
        text = serialised(notebook)
        _write(paths[solved], text)
        over = " · OVER BUDGET" if cost.seconds > BUDGET_SECONDS or cost.peak_bytes > BUDGET_BYTES else ""
        report.append(f"{paths[solved].relative_to(root)}: {cost}, {len(text.encode()) / 1e6:.2f} MB on disk{over}")
    return report


def serialised(notebook: NotebookNode) -> str:
    """A notebook as the text of its file."""
    return nbformat.writes(notebook) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """The command. Gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lessons", nargs="*", help="lessons to build, by the start of their names")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout; this one unless told otherwise")
    parser.add_argument("--check", action="store_true", help="only say what is out of step")
    parser.add_argument("--again", action="store_true", help="run again what is in step as well")
    parser.add_argument("--force", action="store_true", help="overwrite notebooks that somebody edited")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="lessons run at a time")
    options = parser.parse_args(arguments)
    root = options.root.resolve()

    lessons, complaints = [], []
    try:
        for path in lesson_paths(root, options.lessons):
            try:
                lessons.append(read_lesson(path))
            except LessonError as error:
                complaints.append(str(error).replace(f"{root}{os.sep}", ""))
    except BuildError as error:
        complaints.append(str(error))
    stale = {lesson.name: out_of_step(lesson, root) for lesson in lessons}
    if options.check:
        complaints += [reason for reasons in stale.values() for reason in reasons]
    else:
        todo = [lesson for lesson in lessons if options.again or stale[lesson.name]]
        for lesson in todo:
            print("\n".join(stale[lesson.name] or [f"{lesson.name} is in step; run again as asked"]), flush=True)
        with ThreadPoolExecutor(max(1, options.jobs)) as pool:
            futures = [(lesson, pool.submit(build, lesson, root, options.force)) for lesson in todo]
            for _, future in futures:
                try:
                    print("\n".join(future.result()), flush=True)
                except BuildError as error:
                    complaints.append(str(error))
        print(f"{len(lessons)} lessons, {len(todo)} built or tried, {len(lessons) - len(todo)} in step already")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


def _at(lesson: Lesson, root: Path, line: int, what: str) -> str:
    return f"{lesson.path.relative_to(root)}:{line}: {what}"


def _read(path: Path) -> NotebookNode | None:
    """A stored notebook, or None if it cannot be understood."""
    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, KeyError, AttributeError, nbformat.ValidationError):
        return None


def _write(path: Path, text: str) -> None:
    """Put a file in place in one step, so that a reader meets the old one or the new one and nothing between."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.write_text(text, encoding="utf-8", newline="\n")
    beside.replace(path)


def _cells_digest(notebook: NotebookNode) -> str:
    return _digest([(cell.cell_type, cell.source) for cell in notebook.cells])


def _outputs_digest(notebook: NotebookNode) -> str:
    return _digest([(cell.get("execution_count"), cell.get("outputs"), cell.metadata) for cell in notebook.cells])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
