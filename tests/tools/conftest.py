"""A tiny course to build: one lesson, one exercise, one widget, one picture."""

from pathlib import Path

import pytest
from build_notebooks import _cells_digest, _outputs_digest, notebook_path, serialised
from lesson_key import lesson_key
from lesson_source import read_lesson

TINY = '''\
# %% [markdown]
# # A tiny lesson
# Widths and heights.

# %%
import ipywidgets as widgets
import matplotlib.pyplot as plt
from tqdm.auto import tqdm


def check(function):
    try:
        print("area: correct" if function(2, 3) == 6 else "area: wrong")
    except NotImplementedError:
        print("area: not attempted")


def use(function):
    return function

# %%
for _ in tqdm(range(5), desc="epoch"):
    pass

# %%
plt.imshow([[0, 1], [1, 0]])
plt.show()
print("a number", 0.123456, object())

# %% jupyter={"outputs_hidden": true}
widgets.IntSlider(3)

# %% [markdown]
# ### Exercise · `area`
#
# *5 minutes · ★☆☆*
#
# Multiply.

# %% tags=["exercise"]
def area(width: float, height: float) -> float:
    """The area of a rectangle."""
    ### BEGIN SOLUTION
    answer_of_the_book = width * height + 0 * width * height
    return answer_of_the_book
    ### END SOLUTION

# %%
check(area)

# %% [markdown]
# <details><summary>It is too small</summary>How do areas grow?</details>

# %%
area = use(area)

# %% tags=["raises-exception"]
1 / 0
'''


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """The root of a course that holds the tiny lesson as `solutions/07_tiny.py`."""
    (tmp_path / "solutions").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "solutions" / "07_tiny.py").write_text(TINY, encoding="utf-8")
    return tmp_path


@pytest.fixture
def change(course: Path):
    """`change(old, new)` edits the tiny lesson's source and gives its path."""

    def edit(old: str, new: str) -> Path:
        path = course / "solutions" / "07_tiny.py"
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the tiny lesson"
        path.write_text(text.replace(old, new), encoding="utf-8")
        return path

    return edit


@pytest.fixture
def fake_build(course: Path):
    """`fake_build()` writes what the builder would, without running anything: enough to ask what is out of step."""

    def build() -> None:
        lesson = read_lesson(course / "solutions" / "07_tiny.py")
        for solved in (True, False):
            notebook = lesson.notebook(solved)
            notebook.metadata["course"] = {
                "key": lesson_key(lesson.path, course),
                "cells": _cells_digest(notebook),
                "outputs": _outputs_digest(notebook),
            }
            notebook_path(lesson.path, solved).write_text(serialised(notebook), encoding="utf-8")

    return build
