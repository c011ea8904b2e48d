"""What a learner calls: `check`, `hint`, `solution`, `use`, with the real exercise of lesson 00."""

import json
import subprocess
import sys

import pytest
import torch

from lib.exercises import catalogue, check, classroom, hint, lesson_text, progress, solution, use
from lib.exercises.catalogue import find
from lib.exercises.lesson_text import ExerciseText, exercise_text

RIGHT = "def count_pixels(image):\n    return image.shape[1] * image.shape[2]"
WRONG = "def count_pixels(image):\n    return image.numel()"
STUB = "def count_pixels(image):\n    raise NotImplementedError('your turn')"


@pytest.fixture(autouse=True)
def no_hints_seen(monkeypatch):
    monkeypatch.setattr(classroom, "_hints_shown", {})


def test_check_finds_the_exercise_by_name_and_records(cell, own_progress_file):
    assert check(cell(STUB)).status == "not attempted"
    assert not own_progress_file.exists()
    outcome = check(cell(WRONG))
    assert (outcome.status, outcome.mistake) == ("wrong", "counted the channels too")
    assert json.loads(own_progress_file.read_text())["exercises"] == {"count_pixels": "tried"}
    assert check(cell(RIGHT)).status == "correct"
    assert json.loads(own_progress_file.read_text())["exercises"] == {"count_pixels": "correct"}
    check(cell(WRONG))
    assert json.loads(own_progress_file.read_text())["exercises"] == {"count_pixels": "correct"}


def test_check_of_a_function_that_was_defined_again(cell):
    assert check(cell(WRONG + "\n" + RIGHT)).status == "correct"


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (3, "not a function but an object of type int"),
        (None, "not a function but None"),
        (torch.zeros(2), "not a function but an object of type Tensor"),
        (torch.nn.Linear(1, 1), "without calling it"),
        ("count_pixels", "without quotes: check(count_pixels)"),
        ("nonsense", "no exercise named nonsense"),
        (lambda image: 1, "A lambda has no name"),
        (len, "no exercise named len"),
    ],
)
def test_check_of_something_else(thing, said, own_progress_file):
    outcome = check(thing)
    assert outcome.status == "not attempted" and outcome.mistake is None
    assert said in outcome.message
    assert not own_progress_file.exists()


def test_a_misspelt_name_gets_a_suggestion(cell):
    assert "Did you mean count_pixels?" in check(cell("def count_pixel(image): return 1")).message


def test_the_reference_is_not_taken_for_the_learners(capsys, cell):
    reference = use(cell(STUB))
    outcome = check(reference)
    assert outcome.status == "not attempted" and "the course's own count_pixels" in outcome.message
    capsys.readouterr()
    assert use(reference) is reference
    assert "COURSE'S" in capsys.readouterr().out


def test_use_returns_the_learners_function_silently(cell, capsys):
    mine = cell(RIGHT)
    assert use(mine) is mine
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (STUB, "not attempted"),
        (WRONG, "wrong, counted the channels too"),
        ("def count_pixels(image): return x", "crashed"),
    ],
)
def test_use_falls_back_under_a_banner(cell, capsys, source, why):
    assert use(cell(source)) is find("count_pixels").reference
    banner = capsys.readouterr().out
    assert banner == (
        f"⚠ From here on this notebook runs on the COURSE'S count_pixels, because yours is not right yet ({why}). "
        "Once yours passes its check, run its cell and then this one again.\n"
    )


def test_use_without_fallback(cell, monkeypatch):
    monkeypatch.setenv("COURSE_NO_FALLBACK", "1")
    with pytest.raises(RuntimeError, match="count_pixels is not right .wrong, counted the channels too"):
        use(cell(WRONG))
    with pytest.raises(RuntimeError):
        use(find("count_pixels").reference)
    assert use(cell(RIGHT))


@pytest.mark.parametrize("thing", [3, lambda x: x, len])
def test_use_of_something_that_is_no_exercise(thing):
    with pytest.raises(ValueError):
        use(thing)


def test_hints_come_one_after_the_other_from_the_lessons_text():
    exercise, hints = find("make_anchors"), exercise_text("make_anchors").hints
    assert len(hints) > 1
    shown = [repr(hint("make_anchors")) for _ in hints]
    assert all(text in said for text, said in zip(hints, shown, strict=True))
    assert "That was the last hint" in repr(hint("make_anchors"))
    assert hints[0] in repr(hint(exercise.reference, 1))
    assert hints[1] in repr(hint("make_anchors"))
    for level in (0, 99):
        assert f"There are hints 1 to {len(hints)}" in repr(hint("make_anchors", level))
    assert "no exercise named `nonsense`" in repr(hint("nonsense"))


LESSON = '''# %% [markdown]
# # A lesson

# %%
def count_pixels_twice(image):
    return 0

# %% [markdown]
# ### Exercise · `count_pixels`
#
# *2 minutes · ★☆☆*

# %% tags=["exercise"]
def count_pixels(
    image: "Tensor",
) -> int:
    """How many."""
    ### BEGIN SOLUTION
    _, height, width = image.shape

    return height * width
    ### END SOLUTION

# %% tags=["check"]
check(count_pixels)
'''


def test_solution_is_read_from_the_lesson(tmp_path, monkeypatch):
    monkeypatch.setattr(lesson_text, "REPOSITORY", tmp_path)
    assert "is not there" in repr(solution("count_pixels"))
    (tmp_path / "solutions").mkdir()
    (tmp_path / "solutions" / "00_start_here.py").write_text(LESSON, encoding="utf-8")
    text = solution("count_pixels")._repr_markdown_()
    code = text.split("```python\n")[1].split("\n```")[0]
    assert code == (
        'def count_pixels(\n    image: "Tensor",\n) -> int:\n    """How many."""\n'
        "    _, height, width = image.shape\n\n    return height * width"
    )
    (tmp_path / "solutions" / "00_start_here.py").write_text("x = 1\n", encoding="utf-8")
    assert "is not there" in repr(solution("count_pixels"))
    assert "no exercise named `nonsense`" in repr(solution("nonsense"))


def test_catalogue():
    everything = catalogue()
    assert len(everything) == len(list(everything)) >= 1
    assert all(isinstance(exercise, ExerciseText) for exercise in everything)
    assert [exercise.lesson for exercise in everything] == sorted(exercise.lesson for exercise in everything)
    assert "count_pixels" in repr(everything) and "<code>count_pixels</code>" in everything._repr_html_()


def test_progress_shows_each_state(cell):
    assert progress().lessons()["00_start_here"][0][1] == "not yet"
    check(cell(WRONG))
    assert progress().lessons()["00_start_here"][0][1] == "tried"
    check(cell(RIGHT))
    assert progress().lessons()["00_start_here"][0][1] == "✓"
    assert "00_start_here  1 of 1" in repr(progress())
    assert "1 of 1" in progress()._repr_html_()


def test_import_is_quick_and_imports_no_lesson():
    source = (
        "import torch, sys, time; t = time.process_time(); import lib.exercises; took = time.process_time() - t; "
        "assert not any('exercises.lessons' in name or 'matplotlib' in name for name in sys.modules); print(took)"
    )
    seconds = float(subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout)
    assert seconds < 0.3
