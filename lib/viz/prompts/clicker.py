"""Prompt a model by hand: click, drag a box, say a word, and see the mask at once (lesson 17)."""

import copy
import io
import time
from collections.abc import Sequence
from typing import NamedTuple

import ipywidgets
import numpy as np
import torch
from torch import Tensor

from lib.models.sam_predictor import SamPredictor
from lib.viz.basics.picture_widget import PictureWidget
from lib.viz.prompts.paint import DENSITY, Panel, Said, panels_in_a_row, places_in_a_row
from lib.viz.prompts.prompt_picture import PromptPicture

MODES = ("inside", "outside", "box")  # what a left click says
ORDER = ("first", "second", "third")
LABEL = (
    "Picture to be prompted. A click says: this pixel is inside; a right click, or Shift and a click: it is outside; "
    "dragging draws a box. Arrow keys move a cross, Shift with an arrow key by five steps; Enter clicks where it is, "
    "Shift and Enter says outside; Backspace undoes, Delete clears all."
)


class Answer(NamedTuple):
    """What the model said to a prompt."""

    said: Said
    masks: np.ndarray  # (M, H, W) bool
    ious: tuple[float, ...]  # M guesses
    small: Tensor  # (1, 4h, 4w) logits of the best mask
    milliseconds: float

    @property
    def best(self) -> int:
        """Number of the mask whose IoU is guessed to be highest."""
        return int(np.argmax(self.ious))


class Clicker(PictureWidget):
    """A picture to be prompted with mouse, keyboard or words; the mask answers at once.

    One click alone may mean several things: three masks are shown, and the one with the highest guess of its IoU is
    framed. Everything else is answered by the single mask. A further point is a correction: the model gets its last
    answer with it. A box or a phrase is no correction, so the model begins anew with all that was said.

    Args:
        predictor: of the model. A copy is used: what picture it holds stays as it is.
        image: (3, H, W) floats 0..1, of any size, also a photo of your own.
        phrases: some that the field for words proposes; None: none. The field is shown if the model knows words.

    Attributes:
        answers: all answers since the picture was clear, the last one is shown.
        problem: why the last phrase could not be asked; "" if nothing went wrong.
        encoding: milliseconds that it took to encode the picture, once.

    Raises:
        ValueError: the picture has another shape, or there are phrases and the model knows no words.
    """

    def __init__(self, predictor: SamPredictor, image: Tensor, phrases: Sequence[str] | None = None) -> None:
        self._words = predictor.model.phrase_encoder
        if phrases is not None and self._words is None:
            raise ValueError("phrases is given; expected None: this model has no phrase_encoder")
        self.predictor = copy.copy(predictor)
        begun = time.perf_counter()
        self.predictor.set_image(image)
        self.encoding = 1000 * (time.perf_counter() - begun)
        self.answers: list[Answer] = []
        self.problem = ""
        self._corner: tuple[int, int] | None = None
        self._panel = Panel(image)
        self._mode = ipywidgets.ToggleButtons(options=MODES, tooltips=[f"a click says: {mode}" for mode in MODES])
        self._mode.style.button_width = "68px"
        self._phrase = ipywidgets.Combobox(
            options=tuple(phrases or ()), placeholder="words, then Enter", continuous_update=False, description="phrase"
        )
        undo, clear = (
            ipywidgets.Button(description=name, layout=ipywidgets.Layout(width="68px")) for name in ("undo", "clear")
        )
        controls = [self._mode, *([self._phrase] if self._words is not None else ()), undo, clear]
        super().__init__(controls, picture=PromptPicture(self._act, (self._panel.width, self._panel.height), LABEL))
        self._mode.observe(self._forget_corner, names="value")
        self._phrase.observe(self._phrase_typed, names="value")
        undo.on_click(lambda _: self.undo())
        clear.on_click(lambda _: self.clear())
        self.draw()

    # what is said

    @property
    def said(self) -> Said:
        """All that the shown answer answers."""
        return self.answers[-1].said if self.answers else Said()

    def click(self, x: int, y: int, inside: bool = True) -> None:
        """A point: this pixel, x to the right and y down, is inside of what is meant, or outside.

        Raises:
            ValueError: it lies outside of the picture.
        """
        width, height = self._panel.width, self._panel.height
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"x, y is {x}, {y}; expected 0 <= x < {width} and 0 <= y < {height}")
        said = self.said
        self._ask(said._replace(points=(*said.points, (x, y, int(inside)))), correction=bool(self.answers))

    def box(self, x1: int, y1: int, x2: int, y2: int) -> None:
        """A box around what is meant; it takes the place of an earlier one.

        Raises:
            ValueError: it is empty or reaches beyond the picture.
        """
        width, height = self._panel.width, self._panel.height
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            expected = f"0 <= x1 < x2 <= {width} and 0 <= y1 < y2 <= {height}"
            raise ValueError(f"x1, y1, x2, y2 is {x1}, {y1}, {x2}, {y2}; expected {expected}")
        self._ask(self.said._replace(box=(x1, y1, x2, y2)))

    def say(self, phrase: str) -> None:
        """Words for what is meant; they take the place of earlier ones, "" takes them back."""
        phrase = " ".join(phrase.split())
        self.problem = self._why_not(phrase)
        if self.problem:
            self.draw()
        elif phrase != self.said.phrase:
            self._ask(self.said._replace(phrase=phrase))
        else:
            self._show()

    def undo(self) -> None:
        """Take back what was done last: a phrase that was not understood, half a box, or the last prompt."""
        if not self.problem and self._corner is None:
            del self.answers[-1:]
        self._show()

    def clear(self) -> None:
        """Take back everything."""
        self.answers.clear()
        self._show()

    # what is answered

    def _ask(self, said: Said, correction: bool = False) -> None:
        if said == Said():
            self.clear()
            return
        points = torch.tensor(said.points, dtype=torch.float32).view(-1, 3)  # (N, 3)
        begun = time.perf_counter()
        masks, ious, small = self.predictor.predict(
            points[:, :2] if said.points else None,
            points[:, 2].long() if said.points else None,
            None if said.box is None else torch.tensor(said.box, dtype=torch.float32),
            self.answers[-1].small if correction else None,
            said.phrase or None,
            multimask_output=len(said.points) == 1 and said.points[0][2] == 1 and said[1:] == (None, ""),
        )
        guesses, drawn = tuple(ious.tolist()), masks.cpu().numpy()
        took = 1000 * (time.perf_counter() - begun)
        best = int(ious.argmax())
        self.answers.append(Answer(said, drawn, guesses, small[best : best + 1], took))
        self._show()

    def _why_not(self, phrase: str) -> str:
        """Why these words cannot be asked, as a sentence; "" if they can."""
        if not phrase:
            return ""
        if self._words is None:
            return "This model knows no words."
        known, words = self._words.numbers, phrase.lower().split()
        unknown = [word for word in words if word not in known]
        if unknown:
            return f"The model does not know the word “{unknown[0]}”. It knows: {', '.join(known)}."
        if len(words) > self._words.length:
            return f"“{phrase}” has {len(words)} words; the model takes at most {self._words.length}."
        return ""

    # what is seen

    def words(self) -> str:
        """What was said and what the model answers, or why it cannot."""
        if self.problem:
            return self.problem
        once = f"picture of {self._panel.height} × {self._panel.width} encoded once in ≈ {self.encoding:.0f} ms"
        if self._corner is not None:
            return (
                f"a corner of a box at row {self._corner[1]}, column {self._corner[0]}; the next click sets the other"
            )
        if not self.answers:
            return f"nothing is said yet; {once}"
        answer = self.answers[-1]
        guesses = [f"{guess:.2f}" for guess in answer.ious]
        if len(guesses) > 1:
            seen = f"{len(guesses)} masks, IoU guessed {', '.join(guesses)}; best the {ORDER[answer.best]}"
        else:
            seen = f"one mask, IoU guessed {guesses[0]}"
        share = answer.masks[answer.best].mean()
        took = f"answered in ≈ {answer.milliseconds:.0f} ms"
        return f"{in_words(answer.said)}: {seen}, {share:.0%} of the picture; {took}; {once}"

    def __repr__(self) -> str:
        return f"Clicker: {self.words()}"

    def draw(self, change: object = None) -> None:
        """Show the picture and all that was said, once for each mask. `change` is what ipywidgets tells an observer."""
        said = self.said
        if self._corner is not None:
            x, y = self._corner
            said = said._replace(box=(x, y, x + 1, y + 1))
        if self.answers:
            answer = self.answers[-1]
            framed = answer.best if len(answer.masks) > 1 else None
            pictures = [self._panel.paint(mask, said) for mask in answer.masks]
            titles = [f"IoU guessed {guess:.2f}" + " (best)" * (k == framed) for k, guess in enumerate(answer.ious)]
            sheet = panels_in_a_row(pictures, titles, framed)
        else:
            pictures = [self._panel.paint(None, said)]
            sheet = panels_in_a_row(pictures, ["click on something"], None)
        buffer = io.BytesIO()
        sheet.save(buffer, "PNG", compress_level=1)
        with self._picture.hold_sync():
            self._picture.width = round(sheet.width / DENSITY)
            self._picture.panels = places_in_a_row(self._panel, len(pictures))
            self._picture.words = self.words()
            self._picture.value = buffer.getvalue()

    def _show(self) -> None:
        """The last answer, with nothing half done."""
        self.problem, self._corner = "", None
        self._phrase.value = self.said.phrase
        self.draw()

    # hands

    def _act(self, what: str, where: list[int], other: bool) -> None:
        """Something was done on the picture, see `PromptPicture`."""
        if what == "undo":
            self.undo()
        elif what == "clear":
            self.clear()
        elif what == "box":
            self._box_between(*where)
        elif self._mode.value == "box" and not other:
            if self._corner is None:
                self._corner = (where[0], where[1])
                self.draw()
            else:
                self._box_between(*self._corner, *where)
        else:
            x, y = where
            self.click(x, y, inside=self._mode.value == "inside" and not other)

    def _phrase_typed(self, change: dict) -> None:
        if self.problem or change["new"] != self.said.phrase:
            self.say(change["new"])

    def _box_between(self, x1: int, y1: int, x2: int, y2: int) -> None:
        """A box from corner to corner, one pixel wide and high at least."""
        left, right, top, bottom = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
        left, top = min(left, self._panel.width - 1), min(top, self._panel.height - 1)
        self.box(left, top, max(right, left + 1), max(bottom, top + 1))

    def _forget_corner(self, change: object) -> None:
        self._corner = None
        self.draw()


def in_words(said: Said) -> str:
    """Such as "2 points inside, 1 outside, a box"."""
    inside = sum(label for *_, label in said.points)
    outside = len(said.points) - inside
    parts = [f"{number} {where}" for number, where in ((inside, "inside"), (outside, "outside")) if number]
    if parts:
        parts[0] = parts[0].replace(" ", " point " if parts[0].startswith("1 ") else " points ", 1)
    parts += ["a box"] * (said.box is not None) + [f"“{said.phrase}”"] * (said.phrase != "")
    return ", ".join(parts)
