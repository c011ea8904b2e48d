"""The explorer of attention in JupyterLab: clicks, drags and arrow keys change its picture, as its controls do."""

from collections.abc import Callable

import nbformat
import pytest
from classroom import Classroom, PictureHands, slider_widgets
from playwright.sync_api import expect

NOTEBOOK = [
    """
import torch
from lib.viz.attention.explorer import explore_attention

shares = lambda *shape: torch.rand(*shape, 12 * 12).mul(8).softmax(-1).unflatten(-1, (12, 12))
among, asked = list(shares(2, 4, 12, 12)), list(shares(3, 4, 5))
explorer = explore_attention(torch.rand(3, 96, 96), among, asked)
explorer""",
    "explorer.cell, explorer.head = (2, 3), 1",
    "print(explorer.cell, explorer.query, explorer.layer, explorer.head)",
]


@pytest.fixture
def classroom(lab, open_notebook: Callable[[str], Classroom]) -> Classroom:
    """A notebook that opens an explorer (0), sets it from Python (1) and says how it stands (2)."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text.strip()) for text in NOTEBOOK])
    notebook.metadata.kernelspec = {"name": "course-cpu", "display_name": "course", "language": "python"}
    nbformat.write(notebook, lab.folder / "attention.ipynb")
    return open_notebook("attention.ipynb")


def test_every_hand_changes_the_picture(classroom: Classroom) -> None:
    classroom.run_all()
    assert classroom.errors() == []
    ((hands, sliders),) = slider_widgets(classroom)
    frame, spoken = hands.place.locator(".click-picture"), hands.place.locator(".click-picture-spoken")
    expect(spoken).to_contain_text("row 2, column 3, in encoder layer 1, head 1")
    hands.step(sliders[0])
    expect(spoken).to_contain_text("encoder layer 0")

    hands.place.get_by_label("who looks").select_option(label="query 3")
    expect(spoken).to_contain_text("query 3, in decoder layer 0")
    hands.settle()
    hands.changes("click", lambda: hands.page.mouse.click(*place(hands, 0.2, 0.52)))
    expect(spoken).to_contain_text("row 6, column 5, in encoder")
    hands.changes("arrow key", lambda: hands.press(frame, "ArrowDown"))
    hands.changes("Shift and an arrow key", lambda: hands.press(frame, "Shift+ArrowRight"))
    expect(spoken).to_contain_text("row 7, column 10, in encoder")
    hands.page.mouse.move(*place(hands, 0.05, 0.2))
    hands.page.mouse.down()
    hands.changes("drag", lambda: hands.page.mouse.move(*place(hands, 0.4, 0.8), steps=20))
    hands.page.mouse.up()
    expect(spoken).to_contain_text("row 10, column 11, in encoder")
    assert "(10, 11) None 0 1" in classroom.run(classroom.cells().nth(2))

    hands.changes("from Python", lambda: classroom.run(classroom.cells().nth(1)))
    expect(spoken).to_contain_text("row 2, column 3")


def place(hands: PictureHands, across: float, down: float) -> tuple[float, float]:
    """A place of the whole picture, both from 0 to 1, in the page."""
    box = hands.image.bounding_box()
    return box["x"] + across * box["width"], box["y"] + down * box["height"]
