"""What a learner does, done in a real browser: run a lesson, move the explorer, answer an exercise.

Lesson 00 is opened, and every lesson that shows an explorer or another widget. A new lesson needs nothing here.
"""

import re
import time
from pathlib import Path

import nbformat
import pytest
from build_notebooks import lesson_paths, notebook_path
from classroom import Classroom, ExplorerHands, slider_widgets
from kernel_run import ROOT


def _learners(path: Path) -> Path:
    return notebook_path(path, solved=False)


def _shows_an_explorer(path: Path) -> bool:
    return path.exists() and "explore(" in path.read_text(encoding="utf-8")


def _shows_a_widget(path: Path) -> bool:
    """A widget of ours begins with `explore`: `explore(...)`, `explore_stamps(...)`."""
    return path.exists() and re.search(r"\bexplore\w*\(", path.read_text(encoding="utf-8")) is not None


FIRST = "00_start_here"
LESSONS = [path for path in map(_learners, lesson_paths(ROOT)) if path.stem == FIRST or _shows_a_widget(path)]


@pytest.fixture
def open_lesson(lab, chromium):
    """`open_lesson(name)` gives the notebook in JupyterLab, with a wide window; it is closed afterwards."""
    context = chromium.new_context(viewport={"width": 1400, "height": 1000})
    opened = []

    def open_one(name: str) -> Classroom:
        opened.append(Classroom(context.new_page(), lab.address(name)))
        return opened[-1]

    yield open_one
    for classroom in opened:
        classroom.close()
    context.close()


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_run_all_and_use_the_widgets(open_lesson, path):
    start = time.monotonic()
    classroom = open_lesson(path.name)
    classroom.clear_outputs()
    ran = classroom.run_all()
    cells = nbformat.read(path, as_version=4).cells
    wanted = sum("raises-exception" in cell.metadata.get("tags", ()) for cell in cells)
    assert len(classroom.errors()) == wanted, classroom.errors()
    said = f"\n{path.stem}: {classroom.cells().count()} cells run in {ran:.0f} s"
    if _shows_an_explorer(path):
        said += "; " + use_the_explorer(classroom)
    for hands, handles in slider_widgets(classroom):
        said += "; widget: " + ", ".join(f"slider {1000 * hands.step(handle):.0f} ms" for handle in handles)
    print(f"{said}; {time.monotonic() - start:.0f} s in all", flush=True)


def use_the_explorer(classroom) -> str:
    """Move the slider, press arrow keys, click the picture and a bar; each must change the picture."""
    hands = ExplorerHands(classroom)
    width, height, _ = hands.picture()
    assert width > 100 and height > 100
    slider = hands.slider()
    first = int(slider.input_value())
    hands.changes("slider", lambda: hands.press(slider, "ArrowRight" if first == 0 else "ArrowLeft"))
    assert abs(int(slider.input_value()) - first) == 1
    hands.changes("click", lambda: hands.click_at(0.2, 0.3))
    cell = hands.place.locator(".explorer-spoken").inner_text()
    hands.changes("arrow key", lambda: hands.press(hands.frame, "ArrowRight"))
    assert hands.place.locator(".explorer-spoken").inner_text() != cell
    hands.changes("bar", lambda: hands.place.locator(".explorer-bars button:not(.chosen)").first.click())
    return "explorer: " + ", ".join(f"{what} {max(taken):.0f} ms" for what, taken in hands.times().items())


def test_answer_an_exercise_wrong_and_right(open_lesson):
    """The first exercise of the first notebook: not attempted, wrong, crashed, and right with our own answer."""
    if not _learners(ROOT / "solutions" / f"{FIRST}.py").exists():
        pytest.fail(f"notebooks/{FIRST}.ipynb is missing")
    classroom = open_lesson(f"{FIRST}.ipynb")
    classroom.run_all()
    solved = nbformat.read(notebook_path(ROOT / "solutions" / f"{FIRST}.py", solved=True), as_version=4).cells
    right = next(cell.source for cell in solved if "exercise" in cell.metadata.get("tags", ()))
    name = right.split("def ")[1].split("(")[0]
    stub, check = classroom.cell(f"def {name}("), classroom.cell(f"check({name})")
    header = right[: right.index(":\n") + 1]
    for answer, outcome in [
        (None, "not attempted"),
        (f"{header}\n    return 'no idea'", "wrong"),
        (f"{header}\n    return 1 / 0", "crashed"),
        (right, "correct"),
    ]:
        if answer is not None:
            classroom.type_over(stub, answer)
            classroom.run(stub)
        shown = classroom.run(check)
        assert outcome in shown, f"after {answer!r} the check shows {shown!r}"
    used = classroom.run(classroom.cell(f"{name} = use({name})"))
    assert "COURSE'S" not in used  # no banner: the learner's own function is at work
