"""The field for phrases in JupyterLab: what is typed, the button and the threshold change its picture.

Networks with random weights answer; where lesson 19's notebook is to be used, `classroom` opens it instead.
"""

from collections.abc import Callable

import nbformat
import pytest
from classroom import Classroom, slider_widgets
from playwright.sync_api import expect

NOTEBOOK = [
    """
import torch
from lib.models.grounding import grounding_small
from lib.models.sam import sam_small
from lib.viz.words.asker import Asker

torch.manual_seed(0)
models = grounding_small(("red", "cone", "sphere")).eval(), sam_small().eval()
asker = Asker(*models, torch.rand(3, 96, 96), "red cone")
asker.threshold = 0.05
asker""",
    "print(asker.found.phrases, asker.threshold)",
]


@pytest.fixture
def classroom(lab, open_notebook: Callable[[str], Classroom]) -> Classroom:
    """A notebook that opens a field for phrases (0) and says what was asked (1)."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text.strip()) for text in NOTEBOOK])
    notebook.metadata.kernelspec = {"name": "course-cpu", "display_name": "course", "language": "python"}
    nbformat.write(notebook, lab.folder / "asker.ipynb")
    return open_notebook("asker.ipynb")


def test_what_is_typed_is_asked(classroom: Classroom) -> None:
    classroom.run_all()
    assert classroom.errors() == []
    ((hands, (slider,)),) = slider_widgets(classroom)
    field = hands.place.get_by_placeholder("red cone . sphere")
    expect(field).to_have_value("red cone")
    said = classroom.cells().nth(1)

    field.fill("sphere . red dog")
    taken = hands.changes("Enter", lambda: field.press("Enter"))
    expect(hands.place).to_contain_text("The detector never learned “dog”. It knows: red, cone, sphere.")
    assert "('sphere', 'red dog') 0.05" in classroom.run(said)
    field.fill("cone")
    hands.changes("Find", hands.place.get_by_role("button", name="Find").click)
    assert "('cone',) 0.05" in classroom.run(said)
    hands.press(slider, "ArrowRight")  # nobody is so sure here that the picture would change
    assert "('cone',) 0.06" in classroom.run(said)
    print(f"\nfield for phrases, until the answer is seen: {1000 * taken:.0f} ms", flush=True)
