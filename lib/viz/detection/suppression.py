"""Non-maximum suppression, box by box: which box removed which, at a threshold that can be moved (lesson 05).

Each box has a letter, and the colour of the thing that it belongs to. A thick line is a kept box, a thin one is not
decided yet; from a removed box, dashed, an arrow leads to the box that removed it. The live picture is a drawing in the
page: a row of the list that is pointed at or clicked lights up its box, without asking Python.
"""

import base64
import io
from dataclasses import dataclass, replace
from functools import cached_property

import ipywidgets
import numpy as np
import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image
from torch import Tensor

from lib.ops.boxes import box_iou
from lib.ops.nms import suppressed_by
from lib.viz.basics.draw import panels, to_pixels
from lib.viz.detection.boxes import box_patch, check_boxes, class_colour, ink_on, show_picture

MOST_LINES = 18  # of the list beside the picture; with more boxes, the best ones
SIDE, LINE, LIST, DISC = 430, 23, 450, 9  # live, in screen pixels: picture, a row, the list's width, a letter's radius
WIDTHS = {"kept": 3.0, "removed": 1.2, "undecided": 1.6}  # of a box's line in points
DASHES = {"kept": "none", "removed": "5 3", "undecided": "none"}
STYLE = """<style>
.nms-one { outline: none; cursor: pointer; }
.nms-one .nms-row { fill: transparent; }
.nms-one:hover .nms-row, .nms-one:focus .nms-row { fill: #F0E44288; }
.nms-one:hover .nms-box, .nms-one:focus .nms-box { stroke-width: 6; stroke-dasharray: none; stroke-opacity: 1; }
.nms-one:hover .nms-inside, .nms-one:focus .nms-inside { fill-opacity: 0.35; }
</style>"""


def explore_nms(
    image: Tensor,
    boxes: Tensor,
    scores: Tensor,
    things: Tensor,
    labels: Tensor | None = None,
    threshold: float = 0.5,
) -> "SuppressionExplorer":
    """Move the threshold with a slider, go through the rounds with another one, and see who removes whom.

    Args:
        image: (3, H, W) floats 0..1.
        boxes: (N, 4) xyxy, a dozen or two, so that they can be told apart.
        scores: (N,).
        things: (N,) number of the thing that a box belongs to, from 0. It gives the colour, and decides nothing.
        labels: (N,) numbers of classes. With them, a box removes only boxes of its own class.
        threshold: a box goes if its IoU with a better, kept one is above this.

    Raises:
        ValueError: the shapes do not fit, or `threshold` is outside of 0..1.
    """
    return SuppressionExplorer(Suppression.of(image, boxes, scores, things, labels, threshold))


def draw_suppression(
    image: Tensor,
    boxes: Tensor,
    scores: Tensor,
    things: Tensor,
    states: dict[str, tuple[float, int | None]],
    labels: Tensor | None = None,
    size: float = 3.1,
) -> Figure:
    """The picture of `explore_nms` in several states, side by side and without the list.

    Args:
        image, boxes, scores, things, labels: those of `explore_nms`.
        states: by title, the IoU threshold and the number of rounds, one for each kept box; None goes to the end.
        size: width of one picture in inches.

    Raises:
        ValueError: no states, or as in `explore_nms`.
    """
    if not states:
        raise ValueError("states is empty; expected at least one")
    figure, axes = panels(len(states), 3, size, image.shape[-2] / image.shape[-1])
    for axis, (title, (threshold, rounds)) in zip(axes, states.items()):
        suppression = Suppression.of(image, boxes, scores, things, labels, threshold)
        _paint(axis, suppression, rounds)
        axis.set_title(f"{title}\n{suppression.count(rounds)}", fontsize=9)
    return figure


@dataclass(frozen=True, eq=False)
class Suppression:
    """Boxes, best first, and who removes whom at one threshold.

    Args:
        image: (3, H, W).
        boxes, scores, things, labels: (N, 4), (N,), (N,), (N,), by falling score.
        spots: (N, 2) xy of each box's letter, on its line if that lies inside the picture.
        threshold: a box goes if its IoU with a better, kept one is above this.
    """

    image: Tensor
    boxes: Tensor
    scores: Tensor
    things: Tensor
    labels: Tensor
    spots: Tensor
    threshold: float

    @classmethod
    def of(
        cls, image: Tensor, boxes: Tensor, scores: Tensor, things: Tensor, labels: Tensor | None, threshold: float
    ) -> "Suppression":
        """Sort the boxes. Without labels all are of one class. Arguments and errors are those of `explore_nms`."""
        boxes = check_boxes("boxes", boxes)
        for name, values in (("scores", scores), ("things", things), ("labels", labels)):
            if values is not None and values.shape != boxes.shape[:1]:
                raise ValueError(
                    f"{name} has the shape {tuple(values.shape)} for {len(boxes)} boxes; expected one number each"
                )
        labels = torch.zeros(len(boxes), dtype=torch.int64) if labels is None else labels.cpu()
        order = scores.cpu().argsort(descending=True, stable=True)
        boxes, scores = boxes[order], scores.detach().cpu()[order]
        spots = _letter_spots(boxes, image.shape[-1], image.shape[-2])
        return cls(image, boxes, scores, things.cpu()[order], labels[order], spots, threshold)

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold!r}; expected an IoU, 0 to 1")

    @cached_property
    def keepers(self) -> list[int]:
        """For each box the place of the kept box in whose round it is decided: its remover, or itself if it is kept."""
        keepers = torch.arange(len(self.boxes))
        for label in self.labels.unique():
            places = (self.labels == label).nonzero()[:, 0]  # (n,) of this class
            by = suppressed_by(self.boxes[places], self.scores[places], self.threshold)
            keepers[places] = torch.where(by >= 0, places[by], places)
        return keepers.tolist()

    @property
    def kept(self) -> list[int]:
        """The places of the boxes that are kept at the end, best first."""
        return [place for place, keeper in enumerate(self.keepers) if place == keeper]

    def states(self, rounds: int | None) -> list[str]:
        """For each box "kept", "removed" or "undecided" after so many rounds; None goes to the end."""
        over = set(self.kept[:rounds])
        return [
            "undecided" if keeper not in over else "kept" if keeper == place else "removed"
            for place, keeper in enumerate(self.keepers)
        ]

    def count(self, rounds: int | None) -> str:
        """How many boxes are in which state: "2 kept, 5 removed, 9 undecided"."""
        states = self.states(rounds)
        return ", ".join(f"{states.count(state)} {state}" for state in WIDTHS)

    def lines(self, rounds: int | None) -> list[str]:
        """What the list says of each box: "C  0.60  removed by A, IoU 0.82"."""
        lines = []
        for place, (state, keeper) in enumerate(zip(self.states(rounds), self.keepers)):
            overlap = box_iou(self.boxes[place][None], self.boxes[keeper][None]).item()
            why = f" by {letter(keeper)}, IoU {overlap:.2f}" if state == "removed" else ""
            lines.append(f"{letter(place)}  {self.scores[place]:.2f}  {state}{why}")
        return lines

    def colour(self, place: int) -> str:
        """The colour of the thing that a box belongs to."""
        return class_colour(int(self.things[place]) + 1)


def letter(place: int) -> str:
    """A to Z for the first boxes, then A1, B1 .."""
    return chr(ord("A") + place % 26) + (str(place // 26) if place >= 26 else "")


class SuppressionExplorer(ipywidgets.VBox):
    """What `explore_nms` gives. `threshold` and `rounds` can be set from Python too.

    Readers without a kernel see it as a PNG with `repr` as its text.
    """

    threshold = traitlets.Float(0.5, min=0, max=1)
    rounds = traitlets.Int(1)

    def __init__(self, suppression: Suppression) -> None:
        self.suppression = suppression
        kept, wide = len(suppression.kept), {"description_width": "initial"}
        limit = ipywidgets.FloatSlider(min=0, max=1, step=0.05, description="IoU threshold", style=wide)
        self._rounds = ipywidgets.IntSlider(kept, 0, max(kept, 1), description="rounds", style=wide)
        self._drawing = ipywidgets.HTML()
        super().__init__([ipywidgets.HBox([limit, self._rounds]), self._drawing])
        self.threshold, self.rounds = suppression.threshold, kept
        ipywidgets.link((self, "threshold"), (limit, "value"))
        ipywidgets.link((self, "rounds"), (self._rounds, "value"))
        self.observe(self._suppress_again, names="threshold")
        self.observe(self._draw, names="rounds")
        self._draw()

    def _suppress_again(self, change: object) -> None:
        """Another threshold keeps another number of boxes, and there is a round for each. Whoever saw all sees all."""
        saw_all = self.rounds >= len(self.suppression.kept)
        self.suppression = replace(self.suppression, threshold=self.threshold)
        kept = len(self.suppression.kept)
        self._rounds.max = max(kept, 1)
        if saw_all:
            self.rounds = kept
        self._draw()

    def _draw(self, change: object = None) -> None:
        self._drawing.value = drawing(self.suppression, self.rounds)

    def __repr__(self) -> str:
        kept = len(self.suppression.kept)
        return (
            f"SuppressionExplorer: {len(self.suppression.boxes)} boxes, IoU threshold {self.threshold:.2f}, {kept} kept"
        )

    def _repr_mimebundle_(self, **arguments: object) -> dict:
        figure = Figure(figsize=(8, 4.1), layout="constrained", facecolor="white")
        left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
        _paint(left, self.suppression, self.rounds)
        left.set_title(self.suppression.count(self.rounds), fontsize=10)
        _list(right, self.suppression, self.rounds)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer)
        still = {"text/plain": repr(self), "image/png": base64.b64encode(buffer.getvalue()).decode()}
        return dict(super()._repr_mimebundle_(**arguments)) | still


def drawing(suppression: Suppression, rounds: int | None) -> str:
    """The boxes on their picture, and the list, as HTML (an SVG drawing). A box and its row light up together."""
    pixels = to_pixels(suppression.image)  # (H, W, 3)
    scale = SIDE / max(pixels.shape[:2])
    high, wide = (scale * side for side in pixels.shape[:2])
    rows = suppression.lines(rounds)[:MOST_LINES]
    tall = max(high, LINE * (len(rows) + 2))
    parts = [
        f'<svg viewBox="0 0 {wide + LIST:.0f} {tall:.0f}" style="width: 100%; max-width: {wide + LIST:.0f}px; '
        'font: 14px sans-serif" role="img" aria-label="boxes and what became of them">',
        '<defs><marker id="nms-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="context-stroke"/></marker></defs>',
        f'<image href="{_data_uri(pixels)}" width="{wide:.0f}" height="{high:.0f}" '
        'style="image-rendering: pixelated; filter: grayscale(0.6) brightness(0.75)"/>',
        f'<text x="{wide + 20:.0f}" y="{LINE * 0.7:.0f}" fill="currentColor" font-weight="bold">'
        f"IoU threshold {suppression.threshold:.2f}: {suppression.count(rounds)}</text>",
    ]
    states = suppression.states(rounds)
    for place in reversed(range(len(states))):
        row = rows[place] if place < len(rows) else ""
        parts.append(_svg_box(suppression, place, states[place], scale, row, wide + 20))
    for place in reversed(range(len(states))):
        parts.append(_svg_letter(suppression, place, states[place], scale))
    if len(states) > len(rows):
        parts.append(_svg_text(wide + 44, LINE * (len(rows) + 1.7), f"… and {len(states) - len(rows)} more"))
    return STYLE + "".join(parts) + "</svg>"


def _svg_box(suppression: Suppression, place: int, state: str, scale: float, row: str, list_x: float) -> str:
    """One box and its row of the list, in a group that lights up when either of them is pointed at or clicked."""
    x1, y1, x2, y2 = (scale * suppression.boxes[place]).tolist()
    colour, width = suppression.colour(place), 1.5 * WIDTHS[state]
    rectangle = f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" fill='
    parts = [
        '<g class="nms-one" tabindex="0">',
        f'{rectangle}"{colour}" class="nms-inside" fill-opacity="0" pointer-events="none"/>',
        f'{rectangle}"none" stroke="{ink_on(colour)}" stroke-width="{width + 2:.1f}" stroke-opacity="0.7"/>',
        f'{rectangle}"none" stroke="{colour}" stroke-width="{width:.1f}" stroke-dasharray="{DASHES[state]}" '
        'class="nms-box"/>',
    ]
    if row:
        top = LINE * (place + 1)
        parts += [
            f'<rect class="nms-row" x="{list_x:.0f}" y="{top}" width="{LIST - 20}" height="{LINE}"/>',
            f'<rect x="{list_x + 4:.0f}" y="{top + 5}" width="13" height="13" fill="{colour}" stroke="#202020"/>',
            _svg_text(list_x + 24, top + 16, row),
        ]
    return "".join(parts) + "</g>"


def _svg_letter(suppression: Suppression, place: int, state: str, scale: float) -> str:
    """A box's letter on a disc, and for a removed box the arrow to the letter of its remover."""
    spot, colour = scale * suppression.spots[place], suppression.colour(place)
    parts = []
    if state == "removed":
        way = scale * suppression.spots[suppression.keepers[place]] - spot  # (2,)
        end = spot + way * (1 - DISC / way.norm().clamp(min=DISC))  # at the rim of the other disc
        line = f'<line x1="{spot[0]:.1f}" y1="{spot[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
        parts += [
            f'{line}stroke="{ink_on(colour)}" stroke-width="4"/>',
            f'{line}stroke="{colour}" stroke-width="2" marker-end="url(#nms-tip)"/>',
        ]
    x, y = spot.tolist()
    parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{DISC}" fill="{colour}" stroke="#202020"/>')
    parts.append(_svg_text(x, y + 4.5, letter(place), ink_on(colour), "middle"))
    return f'<g pointer-events="none">{"".join(parts)}</g>'


def _svg_text(x: float, y: float, text: str, colour: str = "currentColor", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" xml:space="preserve">{text}</text>'


def _data_uri(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _paint(axis: Axes, suppression: Suppression, rounds: int | None) -> None:
    """The boxes on their picture, as `drawing` shows them."""
    show_picture(axis, suppression.image, dim=0.5)
    states = suppression.states(rounds)
    for place in reversed(range(len(states))):
        style = "--" if states[place] == "removed" else "-"
        box_patch(axis, suppression.boxes[place], suppression.colour(place), width=WIDTHS[states[place]], style=style)
    spots = suppression.spots.tolist()
    for place, keeper in enumerate(suppression.keepers):
        if states[place] == "removed":
            _arrow(axis, spots[place], spots[keeper], suppression.colour(place))
    for place, spot in enumerate(spots):
        colour = suppression.colour(place)
        badge = {"boxstyle": "circle,pad=0.15", "facecolor": colour, "edgecolor": "#202020", "linewidth": 0.7}
        axis.text(
            *spot, letter(place), fontsize=7, ha="center", va="center", color=ink_on(colour), bbox=badge, zorder=5
        )


def _arrow(axis: Axes, start: list[float], end: list[float], colour: str) -> None:
    shape = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 6, "mutation_scale": 11}
    arrow = axis.annotate("", end, start, arrowprops=shape | {"color": colour, "linewidth": 1.4}, zorder=4)
    arrow.arrow_patch.set_path_effects([withStroke(linewidth=3, foreground="#202020")])


def _list(axis: Axes, suppression: Suppression, rounds: int | None) -> None:
    axis.axis("off")
    axis.set_title(f"sorted by score; IoU threshold {suppression.threshold:.2f}", fontsize=10)
    axis.set(xlim=(0, 1), ylim=(MOST_LINES + 0.5, -0.5))
    lines = suppression.lines(rounds)
    for row, text in enumerate(lines[:MOST_LINES]):
        colour = suppression.colour(row)
        axis.plot([0.03], [row], "s", color=colour, markersize=8, markeredgecolor="#202020", markeredgewidth=0.6)
        axis.text(0.09, row, text, fontsize=9, va="center")
    if len(lines) > MOST_LINES:
        axis.text(0.09, MOST_LINES, f"… and {len(lines) - MOST_LINES} more", fontsize=9, va="center")


def _letter_spots(boxes: Tensor, width: int, height: int) -> Tensor:
    """A place for each box's letter, (N, 2) xy: of twelve on its line, the one farthest from the letters before it."""
    along = torch.tensor([0.0, 1 / 3, 2 / 3, 1])
    u, v = torch.meshgrid(along, along, indexing="xy")
    on_the_line = (u % 1 == 0) | (v % 1 == 0)  # (4, 4), twelve are
    shares = torch.stack([u[on_the_line], v[on_the_line]], dim=1)  # (12, 2)
    margin = max(width, height) / 40  # a letter is not to be cut off
    most = torch.tensor([width - margin, height - margin])
    spots = torch.zeros(0, 2)
    for box in boxes:
        candidates = (box[:2] + shares * (box[2:] - box[:2])).clamp(min=margin).minimum(most)  # (12, 2)
        gaps = torch.cdist(candidates, spots).amin(dim=1) if len(spots) else torch.zeros(len(candidates))
        spots = torch.cat([spots, candidates[gaps.argmax()][None]])
    return spots
