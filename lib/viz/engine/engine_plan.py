"""The data engine in one drawing: prompts, model, masks, and back to the model (lesson 18).

The style is that of `lib.viz.diagrams.system`. Each stage is a row, with a real picture of the prompts on the left and
of the masks that came on the right. The model stands between them, the same one in all rows: below each row an arrow
leads from the masks back to it, as it learns from them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from lib.viz.detection.boxes import show_picture, thin_boxes
from lib.viz.diagrams.system import INK, NEW, OLD, WIDTH
from lib.viz.engine.everything import counted, show_everything
from lib.viz.engine.stability import show_grid
from lib.viz.prompts.paint import BEST, MASK
from lib.viz.prompts.still import show_points

GIVEN, ADDED = MASK, BEST  # masks that nobody drew, and those of the annotator
SIDE, NAME, WORDS, TITLE, KEY = 1.92, 0.26, 0.52, 0.42, 0.3  # inches: a picture; above it; below; above all; below all
PROMPTS, MODEL, MASKS = 2.1, 4.75, 6.6  # inches from the left edge: the two pictures, and the model between them
BROAD, WHO = 1.1, 1.45  # inches: how wide the model is, and the box of who gives prompts
BACK = "learns from all masks so far"


class EngineRow(NamedTuple):
    """One stage of the engine, on one picture."""

    title: str  # "1 · assisted-manual"
    who: str  # gives the prompts: "annotator", "detector,\nannotator", "grid of points"
    how: str  # what happens, up to four short lines
    image: Tensor  # (3, H, W)
    given: Tensor  # (G, H, W) bool, masks that nobody drew: by a detector's boxes, or by the grid
    added: Tensor  # (A, H, W) bool, masks of the annotator
    words: str  # figures of the whole stage, at most two lines: pictures, masks, seconds a mask
    points: Tensor | None = None  # (N, 2) x and y of pixels, clicked by the annotator
    labels: Tensor | None = None  # (N,), 1 inside, 0 outside; None: all inside
    boxes: Tensor | None = None  # (B, 4) xyxy, a detector's
    grid: Tensor | None = None  # (P, 2) x and y from the picture's upper left corner, as for `show_grid`
    model: str = ""  # what is to be said of the model in this stage, such as "trained\n6 times"
    back: str = BACK  # at the arrow that leads back; "": there is no arrow


def draw_engine(
    rows: Sequence[EngineRow],
    model: str = "SAM",
    title: str = "a data engine: the model makes the masks it learns from",
) -> Figure:
    """The stages from top to bottom; see the file's first lines for how to read it.

    Raises:
        ValueError: there is no row, or masks and picture of a row differ in size.
    """
    if not rows:
        raise ValueError("rows is empty; expected at least one")
    for number, row in enumerate(rows):
        for name, masks in (("given", row.given), ("added", row.added)):
            if masks.ndim != 3 or masks.shape[1:] != row.image.shape[1:]:
                expected = (row.image.shape[1], row.image.shape[2])
                raise ValueError(
                    f"rows has number {number} with {name} of {tuple(masks.shape)}; expected (M, *{expected})"
                )
    pitch = NAME + SIDE + WORDS
    height = TITLE + pitch * len(rows) + KEY
    figure = plt.figure(figsize=(WIDTH, height))
    paper = figure.add_axes((0, 0, 1, 1))  # measured in inches, from the lower left corner
    paper.set(xlim=(0, WIDTH), ylim=(0, height))
    paper.axis("off")
    for number, row in enumerate(rows):
        foot = KEY + pitch * (len(rows) - number - 1) + WORDS
        for left, draw in ((PROMPTS, _prompts), (MASKS, _masks)):
            axis = figure.add_axes((left / WIDTH, foot / height, SIDE / WIDTH, SIDE / height))
            draw(axis, row)
            _edge(axis)
        _words(paper, row, foot)
        _arrow(paper, (PROMPTS + SIDE, foot + SIDE / 2), (MODEL, foot + SIDE / 2))
        _arrow(paper, (MODEL + BROAD, foot + SIDE / 2), (MASKS, foot + SIDE / 2))
        if row.back:
            _way_back(paper, row.back, foot)
    _model(paper, model, KEY + 0.08, KEY + pitch * len(rows) - NAME)
    _key(paper, rows)
    paper.text(WIDTH / 2, height - 0.08, title, ha="center", va="top", fontsize=11)
    return figure


def _prompts(axis: Axes, row: EngineRow) -> None:
    """The picture, with clicks or a grid, and the detector's boxes dashed."""
    height, width = row.image.shape[1:]
    show_picture(axis, row.image)
    if row.grid is not None:
        show_grid(axis, row.image, row.grid, dot=2.6)
    if row.boxes is not None:
        for colour, thick, style in (("#202020", 2.6, "-"), ("white", 1.5, "--")):
            thin_boxes(axis, row.boxes.cpu().float(), colour, width=thick, opacity=1, style=style)
    if row.points is not None:
        show_points(axis, row.points, row.labels, size=11)
    axis.set(xlim=(0, width), ylim=(height, 0))


def _masks(axis: Axes, row: EngineRow) -> None:
    masks = torch.cat([row.given, row.added]).cpu()
    kinds = [GIVEN] * len(row.given) + [ADDED] * len(row.added)
    show_everything(axis, row.image, masks, shades(masks, kinds))


def shades(masks: Tensor, colours: Sequence[str]) -> list[tuple[float, float, float]]:
    """The colours of M masks, the lighter the larger a mask is, so that those that lie in others can be seen."""
    shares = masks.float().mean((1, 2)).tolist()
    lights = [0.75 * min(1.0, (share / 0.5) ** 0.5) for share in shares]  # how much white
    return [
        (red + light * (1 - red), green + light * (1 - green), blue + light * (1 - blue))
        for (red, green, blue), light in zip(map(to_rgb, colours), lights, strict=True)
    ]


def _words(paper: Axes, row: EngineRow, foot: float) -> None:
    """What stands left of a row's pictures, above them and below, and in the model."""
    top, middle = foot + SIDE, foot + SIDE / 2
    paper.text(0.08, top, row.title, va="top", fontsize=10, color=NEW, weight="bold")
    paper.text(0.08, top - 0.26, row.how, va="top", fontsize=8.5, color=INK, linespacing=1.3)
    _box(paper, (0.08, foot + 0.12), (WHO, 0.5), OLD, "white")
    paper.text(0.08 + WHO / 2, foot + 0.37, row.who, ha="center", va="center", fontsize=9, weight="bold", color=INK)
    _arrow(paper, (0.08 + WHO, foot + 0.37), (PROMPTS, foot + 0.37))
    paper.text(MODEL + BROAD / 2, middle, row.model, ha="center", va="center", fontsize=8.5, color=INK)
    paper.text(PROMPTS, foot - 0.08, row.words, va="top", fontsize=8.5, color=INK, linespacing=1.3)
    paper.text(PROMPTS + SIDE / 2, top + 0.05, prompted(row), ha="center", fontsize=8.5, color=INK)
    came = counted(len(row.given) + len(row.added))
    paper.text(MASKS + SIDE / 2, top + 0.05, came, ha="center", fontsize=8.5, color=INK)


def prompted(row: EngineRow) -> str:
    """Such as "2 boxes, 3 clicks"."""
    kinds = ((row.boxes, "box", "boxes"), (row.points, "click", "clicks"), (row.grid, "point", "points"))
    counts = [(len(prompts), one, more) for prompts, one, more in kinds if prompts is not None]
    return ", ".join(f"{number} {one if number == 1 else more}" for number, one, more in counts)


def _model(paper: Axes, name: str, low: float, high: float) -> None:
    """The model as one tall box."""
    _box(paper, (MODEL, low), (BROAD, high - low), NEW, "#FBEFE7")
    paper.text(MODEL + BROAD / 2, high - 0.16, name, ha="center", va="top", fontsize=13, weight="bold", color=INK)


def _box(paper: Axes, corner: tuple[float, float], size: tuple[float, float], colour: str, inside: str) -> None:
    paper.add_patch(
        FancyBboxPatch(
            corner, *size, boxstyle="round,pad=0,rounding_size=0.1", facecolor=inside, edgecolor=colour, linewidth=2,
            zorder=0.5,
        )
    )  # fmt: skip


def _arrow(paper: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = INK) -> None:
    look = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.6, "shrinkA": 2, "shrinkB": 0, "mutation_scale": 13}
    paper.annotate("", end, start, arrowprops=look, zorder=3)


def _way_back(paper: Axes, words: str, foot: float) -> None:
    """From the masks, around their picture, below it back to the model."""
    right, low = MASKS + SIDE + 0.3, foot - WORDS / 2 + 0.02
    path = ((MASKS + SIDE, right, right, MASKS), (foot + SIDE / 2, foot + SIDE / 2, low, low))
    paper.plot(*path, color=NEW, linewidth=1.6, solid_joinstyle="miter")
    _arrow(paper, (MASKS + 0.05, low), (MODEL + BROAD, low), NEW)
    paper.text(MASKS + SIDE / 2, low - 0.05, words, ha="center", va="top", fontsize=8.5, color=NEW)


def _key(paper: Axes, rows: Sequence[EngineRow]) -> None:
    """What the colours of masks mean, those that there are."""
    kinds = ((GIVEN, "masks that nobody drew", "given"), (ADDED, "masks of the annotator", "added"))
    seen = [(colour, words) for colour, words, name in kinds if any(len(getattr(row, name)) for row in rows)]
    paper.text(WIDTH - 0.08, KEY / 2, "pale: large masks", ha="right", va="center", fontsize=8.5, color=INK)
    for place, (colour, words) in enumerate(seen):
        left = PROMPTS + 2.6 * place
        paper.plot(left + 0.07, KEY / 2, "s", color=colour, markersize=9)
        paper.text(left + 0.22, KEY / 2, words, va="center", fontsize=8.5, color=INK)


def _edge(axis: Axes) -> None:
    axis.axis("on")
    axis.set(xticks=[], yticks=[])
    for edge in axis.spines.values():
        edge.set(visible=True, color=OLD, linewidth=0.8)
