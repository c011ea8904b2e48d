"""The solved notebooks as they are stored; that running them gives the same again is nbval's part of this lane."""

import nbformat
from build_notebooks import lesson_paths
from kernel_run import ROOT
from notebook_checks import checks, outcome, problems
from own_work import notebook_to_test


def test_there_are_lessons():
    assert lesson_paths(ROOT)


def test_nothing_is_wrong(lesson):
    notebook = nbformat.read(notebook_to_test(lesson.path, solved=True), as_version=4)
    assert [f"line {line}: {what}" for line, what in problems(lesson, notebook, True, ROOT)] == []


def test_every_check_says_correct(lesson):
    notebook = nbformat.read(notebook_to_test(lesson.path, solved=True), as_version=4)
    outcomes = [outcome(node) for _, node in checks(lesson, notebook, solved=True)]
    assert outcomes == ["correct"] * sum(cell.exercise is not None for cell in lesson.cells)
