"""Type what is to be found, and see boxes and masks at once: Grounded SAM by hand (lesson 19)."""

import html
import io
import time
from collections.abc import Sequence
from typing import NamedTuple

import ipywidgets
import numpy as np
import torch
import traitlets
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion
from torch import Tensor

from lib.layers.text_encoder import split_caption
from lib.models.grounding import GroundingDINO
from lib.models.sam import Sam
from lib.models.sam_predictor import SamPredictor
from lib.viz.basics.draw import to_pixels
from lib.viz.basics.picture_widget import PictureWidget
from lib.viz.engine.everything import counted
from lib.viz.explorer.still import FONT
from lib.viz.prompts.paint import DENSITY, RIM
from lib.viz.words.answers import LINE, SILENT, draw_phrases, revealed

LEAST = 0.05  # score: what is less sure is never shown
SIDE, LIST, LINE_HIGH, LETTERS = (
    576,
    400,
    34,
    19,
)  # pixels: the picture's longer side, the list's width, a line, letters
INK = "#202020"
Span = tuple[float, float, float, float]  # left, top, right, bottom


class Found(NamedTuple):
    """What the phrases of a caption found."""

    phrases: tuple[str, ...]  # P
    boxes: Tensor  # (N, 4) xyxy pixels
    scores: Tensor  # (N,)
    labels: Tensor  # (N,) places of phrases
    masks: Tensor  # (N, H, W) bool


class Asker(PictureWidget):
    """A field for words, and the picture with what they found: boxes by Grounding DINO, masks by SAM.

    SAM encodes the picture once, the detector looks once for each caption; a moved threshold asks for masks alone.

    Args:
        model: the detector. sam: makes a mask of each box. Both in eval mode, on the same device.
        image: (3, H, W) floats 0..1, of any size.
        caption: to begin with, such as "red cone . sphere ."

    Attributes:
        caption: what is asked; it can be set from Python too.
        threshold: the least score of a box that is shown, from LEAST to 1.
        found: what is shown.
        milliseconds: by part: "SAM's encoder" once, "detector" for the last caption, "masks" for the last boxes.

    Raises:
        ValueError: the picture has another shape.
    """

    caption = traitlets.Unicode()
    threshold = traitlets.Float(0.3, min=LEAST, max=1)

    def __init__(self, model: GroundingDINO, sam: Sam, image: Tensor, caption: str = "") -> None:
        self.model, self.image = model, image
        self.predictor = SamPredictor(sam)
        self.milliseconds: dict[str, float] = {}
        begun = time.perf_counter()
        self.predictor.set_image(image)
        self._took("SAM's encoder", begun)
        self._asked, self._detected = "", _nothing()
        self.found = Found((), **self._detected, masks=image.new_zeros(0, *image.shape[1:], dtype=torch.bool))
        field = ipywidgets.Text(
            caption, placeholder="red cone . sphere", continuous_update=False, description="find",
            layout=ipywidgets.Layout(width="420px"),
        )  # fmt: skip
        find = ipywidgets.Button(description="Find", layout=ipywidgets.Layout(width="68px"))
        slider = ipywidgets.FloatSlider(
            self.threshold, min=LEAST, max=1, step=0.01, description="score at least",
            style={"description_width": "initial"}, continuous_update=False,
        )  # fmt: skip
        self._words = ipywidgets.HTML()
        super().__init__([field, find, slider], below=(self._words,))
        self.caption = caption
        self.link("caption", field)
        self.link("threshold", slider)
        find.on_click(lambda _: self.draw())
        self.draw()

    # what is found

    @torch.no_grad()
    def _find(self) -> None:
        """Look for the caption's phrases, if it is a new one, and make masks of what is sure enough."""
        phrases = tuple(split_caption(self.caption))
        if self.caption != self._asked:
            begun = time.perf_counter()
            on = next(self.model.parameters()).device
            asked = self.model.predict(self.image[None].to(on), [self.caption], LEAST)[0] if phrases else _nothing()
            self._detected, self._asked = {name: value.cpu() for name, value in asked.items()}, self.caption
            self._took("detector", begun)
        sure = self._detected["scores"] >= self.threshold  # (n,)
        kept = {name: value[sure] for name, value in self._detected.items()}
        begun = time.perf_counter()
        self.found = Found(phrases, **kept, masks=self._masks(kept["boxes"]))
        self._took("masks", begun)

    def _masks(self, boxes: Tensor) -> Tensor:
        """Boxes (N, 4), each a prompt for SAM -> (N, H, W) bool."""
        features = self.predictor.features
        if features is None or not len(boxes):
            return torch.zeros(0, *self.image.shape[1:], dtype=torch.bool)
        prompts = self.predictor.to_input(boxes.view(-1, 2, 2)).view(-1, 4).to(features.device)
        logits = self.predictor.model(features, boxes=prompts).single().masks  # (N, 1, 4h, 4w)
        return (self.predictor.to_original(logits)[:, 0] > 0).cpu()

    def _took(self, part: str, begun: float) -> None:
        self.milliseconds[part] = 1000 * (time.perf_counter() - begun)

    def unknown(self) -> list[str]:
        """Words of the caption that the detector's vocabulary does not know, each once."""
        words = [word for phrase in split_caption(self.caption) for word in phrase.split()]
        return [word for word in dict.fromkeys(words) if word not in self.model.text_encoder.numbers]

    # what is seen

    def draw(self, change: object = None) -> None:
        """Find what is asked and show it. `change` is what ipywidgets tells an observer."""
        self._find()
        drawn, buffer = sheet(self.image, self.found), io.BytesIO()
        drawn.save(buffer, "PNG", compress_level=1)
        self._picture.width = str(round(drawn.width / DENSITY))
        self._picture.value = buffer.getvalue()
        self._words.value = "<br>".join(html.escape(line) for line in self.lines())

    def lines(self) -> list[str]:
        """What stands below the picture: the times, and which words are not known."""
        parts = {"SAM's encoder": "SAM encoded the picture once in", "detector": "detector", "masks": "masks"}
        lines = [
            "; ".join(
                f"{words} ≈ {self.milliseconds[part]:.0f} ms"
                for part, words in parts.items()
                if part in self.milliseconds
            )
        ]
        strangers = self.unknown()
        if strangers:
            named = ", ".join(f"“{word}”" for word in strangers)
            lines.append(f"The detector never learned {named}. It knows: {', '.join(self.model.text_encoder.numbers)}.")
        return lines

    def still(self) -> Figure:
        """The same answer as a figure."""
        found = self.found
        return draw_phrases(self.image, found.phrases, found.boxes, found.scores, found.labels, found.masks)

    def __repr__(self) -> str:
        counts = [int((self.found.labels == place).sum()) for place in range(len(self.found.phrases))]
        said = [f"{count} × {phrase}" for count, phrase in zip(counts, self.found.phrases, strict=True)]
        return "Asker: " + "\n".join([", ".join(said) or "nothing is asked yet", *self.lines()])


def _nothing() -> dict[str, Tensor]:
    """No box, as the detector would say it."""
    return {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}


def sheet(image: Tensor, found: Found) -> Image.Image:
    """The picture, grey but for what was found, with boxes, phrases and scores; beside it a list of all phrases."""
    picture = _outlined(image, found.masks)
    scale, font = picture.width / image.shape[-1], ImageFont.truetype(FONT, LETTERS)
    pen = ImageDraw.Draw(picture)
    taken: list[Span] = []
    spans = [tuple(scale * side for side in box) for box in found.boxes.tolist()]
    for left, top, right, bottom in spans:
        for rim, width, ink in ((2, 7, INK), (0, 3, LINE)):
            far = max(right, left + 1) + rim, max(bottom, top + 1) + rim
            pen.rectangle((left - rim, top - rim, *far), outline=ink, width=width)
    for span, score, label in zip(spans, found.scores.tolist(), found.labels.tolist(), strict=True):
        words = f"{found.phrases[label]} {score:.2f}"
        spot = free_spot(span, (pen.textlength(words, font) + 8, LETTERS + 6), picture.size, taken)
        taken.append(spot)
        pen.rectangle(spot, fill=LINE, outline=INK)
        pen.text((spot[0] + 4, spot[3] - 5), words, fill=INK, font=font, anchor="ls")
    drawn = Image.new(
        "RGB", (SIDE + LIST + 3 * RIM, max(picture.height, LINE_HIGH * (len(found.phrases) + 1)) + 2 * RIM), "white"
    )
    drawn.paste(picture, (RIM, RIM))
    _list(ImageDraw.Draw(drawn), found, font)
    return drawn


def _outlined(image: Tensor, masks: Tensor) -> Image.Image:
    """The picture as `revealed`, with a line along the edges of masks, SIDE pixels on its longer side."""
    picture = Image.fromarray(to_pixels(revealed(image, masks)))
    times = max(1, SIDE // max(picture.size))  # pixels of small pictures stay squares
    picture = picture.resize((times * picture.width, times * picture.height), Image.Resampling.NEAREST)
    pixels = np.array(picture)
    for mask in masks.numpy():
        large = mask.repeat(times, axis=0).repeat(times, axis=1)
        pixels[large & ~binary_erosion(large, iterations=2)] = 255
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE))
    return picture


def _list(pen: ImageDraw.ImageDraw, found: Found, font: ImageFont.FreeTypeFont) -> None:
    """Each phrase with how often it was found, in grey what found nothing."""
    left = SIDE + 2 * RIM
    said = counted(len(found.masks)) if found.phrases else "type what is to be found"
    pen.text((left, RIM + 22), said, fill=INK, font=font, anchor="ls")
    for place, phrase in enumerate(found.phrases):
        count, foot = int((found.labels == place).sum()), RIM + 22 + LINE_HIGH * (place + 1)
        words = f"{phrase} × {count}" if count else f"{phrase}: nothing"
        pen.text((left, foot), words, fill=INK if count else SILENT, font=font, anchor="ls")


def free_spot(span: Span, size: tuple[float, float], paper: tuple[int, int], taken: Sequence[Span]) -> Span:
    """Where a tag of a size may stand at a box: above it, below it, or inside, on paper and on no other tag.

    If there is no such place: inside, at its upper left corner.
    """
    left, top, right, bottom = span
    wide, high = size
    spots = [
        (x, y, x + wide, y + high)
        for y in (top - high, bottom, top, bottom - high)
        for x in (left, right - wide)
        if 0 <= x <= paper[0] - wide and 0 <= y <= paper[1] - high
    ]
    free = [spot for spot in spots if not any(_touch(spot, other) for other in taken)]
    return free[0] if free else (left, top, left + wide, top + high)


def _touch(one: Span, other: Span) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
