"""A learner's own work is no fault of the course: it is named, left alone, and git's version is tested."""

import json
import subprocess

import pytest
import run_lanes
import system_browser
from build_notebooks import notebook_path
from kernel_run import ROOT
from own_work import own_work, set_aside


@pytest.fixture
def clone(course, fake_build):
    """The tiny course, built and in git."""
    fake_build()
    for arguments in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *arguments], cwd=course, check=True)
    return course


def test_what_the_builder_wrote_is_nobodys_work(clone):
    assert own_work(clone) == [] and set_aside(clone, clone / "build") == []
    assert not (clone / "build").exists()


@pytest.mark.parametrize("how", ["answered", "run again", "saved by another program"])
def test_gits_version_of_a_notebook_that_was_worked_in_is_tested(clone, how):
    path, before = clone / "notebooks" / "07_tiny.ipynb", (clone / "notebooks" / "07_tiny.ipynb").read_text()
    content = json.loads(before)
    if how == "answered":
        content["cells"][6]["source"] = "def area(width, height): return width * height"
    elif how == "run again":
        content["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "now"}]
    path.write_text(json.dumps(content), encoding="utf-8")
    mine = path.with_name("07_tiny mine.ipynb")
    mine.write_text("{}", encoding="utf-8")
    theirs = path.read_text()
    assert own_work(clone) == [mine, path]
    said = set_aside(clone, clone / "build")
    assert [line.split(" is ")[0].split(" holds ")[0] for line in said] == [
        "notebooks/07_tiny mine.ipynb",
        "notebooks/07_tiny.ipynb",
    ]
    assert [file.name for file in (clone / "build").iterdir()] == ["07_tiny.ipynb"]
    assert (clone / "build" / "07_tiny.ipynb").read_text() == before
    assert path.read_text() == theirs and mine.read_text() == "{}"


def test_without_git_it_is_tested_as_it_is(course, fake_build):
    fake_build()
    path = course / "notebooks" / "07_tiny.ipynb"
    path.write_text("{}", encoding="utf-8")
    assert "git has no other version" in set_aside(course, course / "build")[0]
    assert (course / "build" / "07_tiny.ipynb").read_text() == "{}"


def test_the_lanes_look_where_git_s_version_lies(monkeypatch, tmp_path):
    source = ROOT / "solutions" / "07_tiny.py"
    monkeypatch.setenv("COURSE_NOTEBOOKS", str(tmp_path))
    assert notebook_path(source, solved=False) == tmp_path / "07_tiny.ipynb"
    assert notebook_path(source, solved=True) == ROOT / "solutions" / "07_tiny.ipynb"
    monkeypatch.setattr(run_lanes, "kernel_name", lambda: "course-cpu")
    assert [argument for argument in run_lanes.pytest_arguments("unsolved") if argument.startswith(str(tmp_path))]


@pytest.mark.parametrize(
    ("apt", "root", "forbidden", "said"),
    [
        ("/usr/bin/apt-get", True, False, "will install it for the whole system with `apt-get install chromium`"),
        ("/usr/bin/apt-get", True, True, "COURSE_NO_INSTALL=1 forbids installing it: the lane browser will be skipped"),
        (None, True, False, "this system has no apt-get: the lane browser will be skipped"),
        ("/usr/bin/apt-get", False, False, "installing it takes root"),
    ],
)
def test_what_happens_without_a_browser_is_said_first(monkeypatch, apt, root, forbidden, said):
    monkeypatch.setattr(system_browser.shutil, "which", lambda name: apt if name == "apt-get" else None)
    monkeypatch.setattr(system_browser.os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setenv("COURSE_NO_INSTALL", "1" if forbidden else "0")
    assert said in system_browser.announcement()
    monkeypatch.setattr(system_browser.shutil, "which", lambda name: "/usr/bin/chromium")
    assert system_browser.announcement() == ""
