"""A picture with a mask and the prompts on it, as pixels: drawn in milliseconds, so that a click is answered soon."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lib.viz.basics.draw import to_pixels
from lib.viz.explorer.still import FONT

MASK, INSIDE, OUTSIDE, BOX, BEST = "#1E90FF", "#00B050", "#E02020", "#F0E442", "#D55E00"
DIM, TINT = 0.45, 0.4  # brightness of what no mask covers, and how much of the mask's colour covers the rest
DENSITY = 1.5  # pixels of the drawing for one of the page: with more, a drawing takes too long
SIDE, TOP, RIM = 450, 39, 9  # pixels of the drawing: longer side of a panel, above it for its title, around it
LINE = 3  # pixels of the drawing: around a mask
STAR = [
    (math.sin(math.pi * k / 5) * (1 - 0.58 * (k % 2)), -math.cos(math.pi * k / 5) * (1 - 0.58 * (k % 2)))
    for k in range(10)
]  # a star of five points around (0, 0), its outer radius 1


class Said(NamedTuple):
    """What was said so far, in pixels of the picture."""

    points: tuple[tuple[int, int, int], ...] = ()  # x, y, and 1 = inside, 0 = outside
    box: tuple[int, int, int, int] | None = None  # xyxy
    phrase: str = ""


class Panel:
    """A picture (3, H, W), 0..1, at the size at which it is shown, ready for any mask."""

    def __init__(self, image: Tensor):
        pixels = to_pixels(image)  # (H, W, 3)
        self.height, self.width = pixels.shape[:2]
        self.scale = SIDE / max(pixels.shape[:2])
        self.high, self.wide = (max(1, round(self.scale * side)) for side in pixels.shape[:2])
        way = Image.Resampling.NEAREST if max(pixels.shape[:2]) <= 200 else Image.Resampling.BILINEAR
        self.plain = Image.fromarray(pixels).resize((self.wide, self.high), way)
        self.dim = self.plain.point(lambda value: DIM * value)
        self.tinted = Image.blend(self.plain, Image.new("RGB", self.plain.size, MASK), TINT)

    def paint(self, mask: np.ndarray | None, said: Said) -> Image.Image:
        """The picture, dimmed where mask (H, W) bool does not cover it, and what was said."""
        picture = self.plain.copy()
        if mask is not None:
            large = Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST)
            picture = Image.composite(self.tinted, self.dim, large)
            picture.paste("white", mask=Image.fromarray(rim(np.asarray(large))))
        pen = ImageDraw.Draw(picture)
        if said.box is not None:
            corners = [self.scale * side for side in said.box]
            pen.rectangle(corners, outline="#202020", width=6)
            pen.rectangle(corners, outline=BOX, width=3)
        for x, y, inside in said.points:
            (star if inside else ex)(pen, self.scale * (x + 0.5), self.scale * (y + 0.5))
        return picture


def rim(mask: np.ndarray, width: int = LINE) -> np.ndarray:
    """The outermost pixels of a mask (h, w) bool, so many from its edge on; the picture's own edge is none."""
    inner = np.pad(mask, width, mode="edge")
    height, wide = mask.shape
    core = mask.copy()
    for down, across in ((0, width), (2 * width, width), (width, 0), (width, 2 * width)):
        core &= inner[down : down + height, across : across + wide]
    return mask & ~core


def star(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float = 15) -> None:
    """A point inside: green, with a white line around."""
    for size, colour in ((1.45 * radius, "white"), (radius, INSIDE)):
        pen.polygon([(x + size * across, y + size * down) for across, down in STAR], fill=colour)


def ex(pen: ImageDraw.ImageDraw, x: float, y: float, arm: float = 9) -> None:
    """A point outside: a red cross, with a white line around."""
    for width, longer, colour in ((12, 3, "white"), (6, 0, OUTSIDE)):
        size = arm + longer
        pen.line((x - size, y - size, x + size, y + size), fill=colour, width=width)
        pen.line((x - size, y + size, x + size, y - size), fill=colour, width=width)


def panels_in_a_row(pictures: Sequence[Image.Image], titles: Sequence[str], framed: int | None) -> Image.Image:
    """Pictures of one size side by side with a title above each; number `framed` has a frame."""
    wide, high = pictures[0].size
    sheet = Image.new("RGB", (len(pictures) * (wide + 2 * RIM), TOP + high + RIM), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.truetype(FONT, 20)
    for number, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        left = number * (wide + 2 * RIM) + RIM
        if number == framed:
            pen.rectangle((left - 6, TOP - 6, left + wide + 5, TOP + high + 5), fill=BEST)
        sheet.paste(picture, (left, TOP))
        pen.text((left, TOP - 9), title, fill="#202020", font=font, anchor="ls")
    return sheet


def places_in_a_row(panel: Panel, count: int) -> list[list[float]]:
    """Left, top, width and height of each panel of `panels_in_a_row`, as shares of the whole."""
    width, height = count * (panel.wide + 2 * RIM), TOP + panel.high + RIM
    lefts = [number * (panel.wide + 2 * RIM) + RIM for number in range(count)]
    return [[left / width, TOP / height, panel.wide / width, panel.high / height] for left in lefts]
