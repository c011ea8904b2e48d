"""What a learner does, done in a real browser: run a lesson, move its widgets, answer an exercise.

Lesson 00 is run as a whole. Of the other lessons, those cells are run that their widgets need, every slider is moved
and every mesh turned. A new lesson needs nothing here.
"""

import time
from pathlib import Path

import nbformat
import pytest
from build_notebooks import lesson_paths
from classroom import Classroom, ExplorerHands, mesh_widgets, slider_widgets
from kernel_run import ROOT
from lesson_source import read_lesson
from own_work import notebook_to_test
from widget_cells import called, shows_a_widget

FIRST, *OTHERS = lesson_paths(ROOT)


def code_of(source: Path) -> list[str]:
    """The text of each code cell of a lesson."""
    return [cell.text for cell in read_lesson(source).cells if cell.kind == "code"]


def move_widgets(classroom: Classroom, explorer: bool) -> str:
    """Move all there is; each slider, and each mesh that is dragged, must change its picture. Gives the times."""
    said = [use_the_explorer(classroom)] if explorer else []
    for hands, handles in slider_widgets(classroom):
        said.append("widget: " + ", ".join(f"slider {1000 * hands.step(handle):.0f} ms" for handle in handles))
    said += [f"meshes: drag {1000 * hands.drag():.0f} ms" for hands in mesh_widgets(classroom)]
    assert said, "no widget is seen on the page"
    return "; ".join(said)


@pytest.mark.parametrize(
    "source", [path for path in OTHERS if any(map(shows_a_widget, code_of(path)))], ids=lambda path: path.stem
)
def test_widgets(open_widgets, source):
    start = time.monotonic()
    classroom = open_widgets(source)
    opened = time.monotonic() - start
    ran = classroom.run_all()
    assert classroom.errors() == []
    said = move_widgets(classroom, explorer=any("explore" in called(text) for text in code_of(source)))
    print(
        f"\n{source.stem}: opened in {opened:.0f} s, {classroom.cells().count()} cells run in {ran:.0f} s; {said}; "
        f"{time.monotonic() - start:.0f} s in all",
        flush=True,
    )


@pytest.mark.parametrize("source", [FIRST], ids=lambda path: path.stem)
def test_run_all_and_answer_an_exercise(open_notebook, source):
    """The first notebook as a learner opens it: all cells, the explorer, and an exercise wrong and right."""
    path = notebook_to_test(source, solved=False)
    start = time.monotonic()
    classroom = open_notebook(f"{source.stem}.ipynb")
    classroom.clear_outputs()
    ran = classroom.run_all()
    cells = nbformat.read(path, as_version=4).cells
    wanted = sum("raises-exception" in cell.metadata.get("tags", ()) for cell in cells)
    assert len(classroom.errors()) == wanted, classroom.errors()
    said = move_widgets(classroom, explorer=True)
    answer_the_first_exercise(classroom, notebook_to_test(source, solved=True))
    took = f"{classroom.cells().count()} cells run in {ran:.0f} s; {said}; {time.monotonic() - start:.0f} s in all"
    print(f"\n{path.stem}: {took}", flush=True)


def answer_the_first_exercise(classroom: Classroom, solved: Path) -> None:
    """Not attempted, wrong, crashed, and right with our own answer."""
    cells = nbformat.read(solved, as_version=4).cells
    right = next(cell.source for cell in cells if "exercise" in cell.metadata.get("tags", ()))
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
