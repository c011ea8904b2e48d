"""The learner's notebooks as they are stored; that running them gives the same again is nbval's part of this lane."""

import nbformat
from build_notebooks import lesson_paths
from kernel_run import ROOT
from lesson_source import YOUR_TURN
from notebook_checks import checks, leaks, outcome, problems
from own_work import notebook_to_test


def test_there_are_lessons():
    assert lesson_paths(ROOT)


def test_nothing_is_wrong(lesson):
    notebook = nbformat.read(notebook_to_test(lesson.path, solved=False), as_version=4)
    assert [f"line {line}: {what}" for line, what in problems(lesson, notebook, False, ROOT)] == []


def test_every_check_says_not_attempted(lesson):
    notebook = nbformat.read(notebook_to_test(lesson.path, solved=False), as_version=4)
    outcomes = [outcome(node) for _, node in checks(lesson, notebook, solved=False)]
    assert outcomes == ["not attempted"] * sum(cell.exercise is not None for cell in lesson.cells)


def test_no_solution_inside(lesson):
    notebook = nbformat.read(notebook_to_test(lesson.path, solved=False), as_version=4)
    assert list(leaks(lesson, notebook)) == []
    assert sum(node.source.count(YOUR_TURN) for node in notebook.cells) >= len(lesson.solutions)


def test_the_leak_check_sees_the_solved_notebook(lesson):
    """The same check must find something where the solutions stand, or it would find nothing anywhere."""
    notebook = nbformat.read(notebook_to_test(lesson.path, solved=True), as_version=4)
    assert bool(list(leaks(lesson, notebook, solved=True))) == bool(lesson.solutions)
