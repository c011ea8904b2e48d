"""The clicker in JupyterLab: clicks, right clicks, dragged boxes, keys and words change its picture.

A network with random weights answers; where lesson 17's notebook is to be used, `classroom` opens it instead.
"""

from collections.abc import Callable

import nbformat
import pytest
from classroom import Classroom, PictureHands
from playwright.sync_api import Locator, expect

SOON = 2  # seconds, on a busy machine, for an answer to be seen
NOTEBOOK = [
    """
import torch
from lib.models.sam import sam_small
from lib.models.sam_predictor import SamPredictor
from lib.viz.prompts.clicker import Clicker

torch.manual_seed(0)
clicker = Clicker(SamPredictor(sam_small(("small", "red", "cone")).eval()), torch.rand(3, 60, 90), ["red cone"])
clicker""",
    "clicker.clear(); clicker.click(3, 4)",
    "print(clicker.said)",
]


@pytest.fixture
def classroom(lab, open_notebook: Callable[[str], Classroom]) -> Classroom:
    """A notebook that opens a clicker (0), sets it from Python (1) and says how it stands (2)."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text.strip()) for text in NOTEBOOK])
    notebook.metadata.kernelspec = {"name": "course-cpu", "display_name": "course", "language": "python"}
    nbformat.write(notebook, lab.folder / "clicker.ipynb")
    return open_notebook("clicker.ipynb")


class ClickerHands(PictureHands):
    """Hands on a clicker."""

    def __init__(self, classroom: Classroom) -> None:
        page = classroom.page
        place = classroom.panel.locator(".jp-OutputArea-output", has=page.locator(".prompt-picture")).first
        super().__init__(page, place, place.locator(".prompt-picture"))
        self.times: dict[str, list[float]] = {}

    @property
    def image(self) -> Locator:
        return self.frame.locator("img")

    @property
    def words(self) -> Locator:
        return self.place.locator(".prompt-picture-words")

    def on_screen(self, x: float, y: float, count: int) -> tuple[float, float]:
        """Where a place of the picture, 90 × 60, is on the screen, in the first of `count` panels."""
        box, (rim, top, wide, high) = self.image.bounding_box(), (9, 39, 450, 300)
        across, down = (rim + x / 90 * wide) / (count * (wide + 2 * rim)), (top + y / 60 * high) / (top + high + rim)
        return box["x"] + across * box["width"], box["y"] + down * box["height"]

    def prompts(self, what: str, act: Callable[[], object], words: str) -> None:
        """Do something, wait for another picture and for these words below it; note how long the picture took."""
        self.times.setdefault(what, []).append(self.changes(what, act))
        expect(self.words).to_contain_text(words)


def test_every_hand_prompts(classroom: Classroom) -> None:
    classroom.run_all()
    assert classroom.errors() == []
    said = classroom.cells().nth(2)
    classroom.run(classroom.cells().nth(1))
    hands = ClickerHands(classroom)
    mouse, keys = hands.page.mouse, hands.page.keyboard
    hands.prompts("Delete", lambda: hands.press(hands.frame, "Delete"), "nothing is said yet")

    hands.prompts("click", lambda: mouse.click(*hands.on_screen(40.5, 20.5, 1)), "1 point inside: 3 masks")
    hands.prompts("right click", lambda: mouse.click(*hands.on_screen(70.5, 50.5, 3), button="right"), "1 outside: one")
    expect(hands.page.locator(".lm-Menu")).to_have_count(0)
    keys.down("Shift")
    hands.prompts("Shift and click", lambda: mouse.click(*hands.on_screen(5.5, 5.5, 1)), "1 point inside, 2 outside")
    keys.up("Shift")
    mouse.move(*hands.on_screen(60, 50, 1))
    mouse.down()
    mouse.move(*hands.on_screen(20, 10, 1), steps=5)
    expect(hands.frame.locator(".prompt-picture-band")).to_be_visible()
    hands.prompts("dragged box", mouse.up, "2 outside, a box: one mask")
    expect(hands.frame.locator(".prompt-picture-band")).to_be_hidden()
    assert "((40, 20, 1), (70, 50, 0), (5, 5, 0)), box=(20, 10, 60, 50), phrase=''" in classroom.run(said)

    phrase = hands.place.get_by_placeholder("words, then Enter")
    phrase.fill("red cone")
    hands.prompts("phrase", lambda: phrase.press("Enter"), "“red cone”: one mask")
    phrase.fill("green cone")
    phrase.press("Enter")
    expect(hands.words).to_have_text("The model does not know the word “green”. It knows: small, red, cone.")
    hands.place.get_by_role("button", name="undo").click()
    expect(phrase).to_have_value("red cone")
    hands.prompts("undo", hands.place.get_by_role("button", name="undo").click, "a box: one mask")
    hands.prompts("clear", hands.place.get_by_role("button", name="clear").click, "nothing is said yet")

    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowDown", "ArrowUp"):
        hands.press(hands.frame, key)
    expect(hands.place.locator(".prompt-picture-spoken")).to_have_text("row 9, column 7")  # from the last click on
    expect(hands.frame.locator(".prompt-picture-cross")).to_have_count(1)
    hands.prompts("Enter", lambda: hands.press(hands.frame, "Enter"), "1 point inside: 3 masks")
    expect(hands.frame.locator(".prompt-picture-cross")).to_have_count(3)
    hands.prompts("Shift and Enter", lambda: hands.press(hands.frame, "Shift+Enter"), "1 outside")
    hands.prompts("Backspace", lambda: hands.press(hands.frame, "Backspace"), "1 point inside: 3 masks")
    assert "points=((7, 9, 1),), box=None" in classroom.run(said)

    hands.place.get_by_role("button", name="box", exact=True).click()
    mouse.click(*hands.on_screen(10.5, 10.5, 3))
    expect(hands.words).to_contain_text("a corner of a box at row 10, column 10")
    hands.settle()
    hands.prompts("second corner", lambda: mouse.click(*hands.on_screen(30.5, 40.5, 3)), "a box: one mask")
    hands.changes("from Python", lambda: classroom.run(classroom.cells().nth(1)))
    assert "points=((3, 4, 1),), box=None" in classroom.run(said)

    told = ", ".join(f"{what} {1000 * max(taken):.0f} ms" for what, taken in hands.times.items())
    print(f"\nclicker, until another picture is seen: {told}", flush=True)
    assert max(max(taken) for taken in hands.times.values()) < SOON
