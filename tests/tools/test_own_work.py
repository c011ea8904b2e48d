"""A learner's own work does not make the lanes red, and what the course itself got wrong still does."""

import os
import shutil
import subprocess
import sys

import nbformat
import pytest
from build_notebooks import as_built, main, notebook_path, out_of_step
from kernel_run import ROOT
from lesson_source import read_lesson
from own_work import changed_by_hand, git_for_own_work, notebook_to_test, own_copies
from run_lanes import STYLE

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(course, *arguments):
    who = ["-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=course, check=True, capture_output=True)


@pytest.fixture
def held(course, fake_build):
    """The tiny course, built and held by git. Gives (source, learner's notebook)."""
    fake_build()
    git(course, "init")
    git(course, "add", ".")
    git(course, "commit", "-m", "all")
    source = course / "solutions" / "07_tiny.py"
    return source, notebook_path(source, solved=False)


def run_a_cell(path):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="mine")]
    nbformat.write(notebook, path)


def open_a_folded_output(path):
    notebook = nbformat.read(path, as_version=4)
    folded = next(cell for cell in notebook.cells if cell.metadata.get("jupyter", {}).get("outputs_hidden"))
    del folded.metadata["jupyter"]
    nbformat.write(notebook, path)


def edit(path):
    path.write_text(path.read_text().replace('raise NotImplementedError(\\"your turn\\")', "return width * height"))


@needs_git
@pytest.mark.parametrize(
    "work", [run_a_cell, open_a_folded_output, edit, lambda path: path.unlink(), lambda path: path.write_text("{")]
)
def test_gits_notebook_is_tested_where_somebody_worked(course, held, work):
    source, path = held
    as_held = path.read_text()
    work(path)
    mine = path.read_text() if path.exists() else None
    assert mine != as_held and changed_by_hand(course) == [path]
    assert out_of_step(read_lesson(source), course) != []
    with git_for_own_work(course) as said:
        assert notebook_to_test(source, solved=False).read_text() == as_held
        assert notebook_to_test(source, solved=True) == notebook_path(source, solved=True)
        assert out_of_step(read_lesson(source), course, notebook_to_test) == []
    assert len(said) == 1 and said[0].startswith("notebooks/07_tiny.ipynb ") and "no fault" in said[0]
    assert notebook_to_test(source, solved=False) == path
    assert (path.read_text() if path.exists() else None) == mine  # nothing of it was touched


@needs_git
def test_a_solved_notebook_that_was_run_again_is_somebodys_work_too(course, held):
    source, _ = held
    solved = notebook_path(source, solved=True)
    run_a_cell(solved)
    with git_for_own_work(course) as said:
        assert said[0].startswith("solutions/07_tiny.ipynb ") and len(said) == 1
        assert notebook_to_test(source, solved=True) != solved
        assert out_of_step(read_lesson(source), course, notebook_to_test) == []


@needs_git
def test_a_notebook_that_was_just_built_is_tested_as_it_lies(course, held, change, fake_build):
    source, path = held
    change("# *5 minutes", "# *6 minutes")
    fake_build()
    assert as_built(path) and changed_by_hand(course) == []
    with git_for_own_work(course) as said:
        assert said == [] and notebook_to_test(source, solved=False) == path


@needs_git
def test_what_git_holds_is_no_learners_work(course, held):
    source, path = held
    edit(path)
    git(course, "commit", "-am", "an answer got in")
    assert changed_by_hand(course) == []
    with git_for_own_work(course) as said:
        assert said == [] and out_of_step(read_lesson(source), course, notebook_to_test) != []


@needs_git
def test_copies_and_new_notebooks_are_left_alone_and_new_lessons_are_not(course, held):
    source, path = held
    names = ("07_tiny-Copy1.ipynb", "Untitled.ipynb")
    for name in names:
        shutil.copy(path, path.with_name(name))
    shutil.copy(source, source.with_name("08_new.py"))
    shutil.copy(path, path.with_name("08_new.ipynb"))
    assert own_copies(course) == [path.with_name(name) for name in names]
    with git_for_own_work(course) as said:
        assert [sentence.split()[0] for sentence in said] == [f"notebooks/{name}" for name in names]
    git(course, "add", ".")
    assert own_copies(course) == []


def test_the_style_of_a_learners_own_code_is_no_fault(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ("notebooks", "tests/notebooks"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "mine.py").write_text("import os\nx=1\n")
    for command in (STYLE["ruff format"], STYLE["ruff check"]):
        ruff = os.path.join(os.path.dirname(sys.executable), command[0])
        done = subprocess.run([ruff, *command[1:]], cwd=tmp_path, capture_output=True, text=True)
        said = done.stdout + done.stderr
        assert said.count("notebooks/mine.py") == said.count("tests/notebooks/mine.py") > 0, said


def test_without_git_notebooks_are_tested_as_they_lie(course, fake_build):
    fake_build()
    source = course / "solutions" / "07_tiny.py"
    edit(notebook_path(source, solved=False))
    with git_for_own_work(course) as said:
        assert said == [] and notebook_to_test(source, solved=False) == notebook_path(source, solved=False)
    assert main(["--root", str(course), "--check"]) == 1


def test_nbval_runs_gits_notebook_with_the_settings_of_the_course():
    """The folder with git's notebooks lies where the root's conftest.py and pyproject.toml hold."""
    with git_for_own_work(ROOT):
        folder = os.environ["COURSE_AS_IN_GIT"]
        cell = nbformat.v4.new_code_cell("print('≈ 1 s')", execution_count=1)
        cell.outputs = [nbformat.v4.new_output("stream", text="≈ 2 s\n")]
        notebook = nbformat.v4.new_notebook(cells=[cell])
        path = os.path.join(folder, "notebooks", "07_tiny.ipynb")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        nbformat.write(notebook, path)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--nbval",
            "--nbval-kernel-name=python3",
            "-p",
            "no:cacheprovider",
        ]
        done = subprocess.run([*command, os.path.relpath(path, ROOT)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
    assert not os.path.exists(folder)
