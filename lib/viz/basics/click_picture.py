"""A picture that Python draws, and that says where it was clicked and which arrow key was pressed on it."""

from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

HERE = Path(__file__).parent


class ClickPicture(anywidget.AnyWidget):
    """A PNG in the page, for `PictureWidget`. What is done while Python draws waits until it has drawn.

    Args:
        pointed: called with (across, down, dragged): a place, both 0..1 from the upper left corner, which was clicked,
            or over which the pointer was dragged.
        stepped: called with (rows, columns), what an arrow key says: 1 or -1 and 0, five times that with Shift.
        label: what the picture is and what can be done with it, for screen readers.

    Attributes:
        value: the PNG.
        words: what it shows now, for screen readers.
    """

    _esm = HERE / "click_picture.js"
    _css = HERE / "click_picture.css"
    value = traitlets.Bytes().tag(sync=True)
    words = traitlets.Unicode().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)

    def __init__(
        self, pointed: Callable[[float, float, bool], None], stepped: Callable[[int, int], None], label: str
    ) -> None:
        super().__init__(label=label)
        self._pointed, self._stepped = pointed, stepped
        self.on_msg(self._on_hands)

    def _on_hands(self, _: object, said: dict, __: object) -> None:
        try:
            (self._pointed if said["what"] == "point" else self._stepped)(*said["where"])
        finally:
            self.send({"answered": True})
