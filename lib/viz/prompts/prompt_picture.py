"""A picture that Python draws, and that says where somebody clicked, right-clicked or dragged a box on it."""

from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

HERE = Path(__file__).parent


class PromptPicture(anywidget.AnyWidget):
    """A PNG in the page, for `PictureWidget`, in which one picture stands once or several times.

    Args:
        acted: called with what was done, where, and whether it was meant the other way round (right button, Shift):
            "point" with [x, y], a pixel of the picture; "box" with [x1, y1, x2, y2]; "undo" and "clear" with [].
        size: width and height of the picture, in its own pixels.
        label: what the picture is and what can be done with it, for screen readers.

    Attributes:
        value: the PNG.
        width: at which it is shown, in pixels of the page.
        panels: left, top, width, height of each place where the picture stands in it, as shares of the PNG.
        words: what it shows now; they are shown below it, and read aloud by screen readers.
    """

    _esm = HERE / "prompt_picture.js"
    _css = HERE / "prompt_picture.css"
    value = traitlets.Bytes().tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    panels: traitlets.List = traitlets.List().tag(sync=True)
    words = traitlets.Unicode().tag(sync=True)
    size: traitlets.List = traitlets.List().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)

    def __init__(self, acted: Callable[[str, list[int], bool], None], size: tuple[int, int], label: str) -> None:
        super().__init__(size=list(size), label=label)
        self.on_msg(lambda _, said, __: acted(said["what"], said["where"], said["other"]))
