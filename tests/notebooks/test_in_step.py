"""Building the notebooks again from `solutions/*.py` would change nothing.

The cells (ids, text, tags) are made anew and compared, which takes no time; outputs are covered by the key of what
they depend on and by the digest of what was written. Running everything once more would repeat the solved and unsolved
lanes, which do run every notebook and compare its text. They cannot compare pictures, so `run_lanes.py --full` does
run each lesson here too, and wants the same bytes, but for the cells that print a measured number (≈).
"""

import os

import nbformat
import pytest
from build_notebooks import lesson_paths, make_notebook, out_of_step
from kernel_run import ROOT
from own_work import notebook_to_test, own_copies


def test_there_are_lessons():
    assert lesson_paths(ROOT)


def test_notebooks_are_what_the_source_says(lesson):
    assert out_of_step(lesson, ROOT, notebook_to_test) == [], "run `make notebooks`"


@pytest.mark.parametrize("folder", ["solutions", "notebooks"])
def test_every_notebook_has_a_source(folder):
    sources = {path.stem for path in lesson_paths(ROOT)}
    held = set((ROOT / folder).glob("[0-9][0-9]_*.ipynb")) - set(own_copies(ROOT))
    strays = [path.name for path in held if path.stem not in sources]
    assert strays == []


if os.environ.get("COURSE_LANES_FULL"):

    @pytest.mark.parametrize("solved", [True, False], ids=["solved", "unsolved"])
    def test_running_again_gives_the_same_bytes(lesson, solved):
        stored = nbformat.read(notebook_to_test(lesson.path, solved), as_version=4)
        fresh, _ = make_notebook(lesson, solved, ROOT)
        for cell, old, new in zip(lesson.cells_of(solved), stored.cells, fresh.cells, strict=True):
            if "≈" not in cell.text:
                assert new == old, f"{lesson.path.name}:{cell.line}"
