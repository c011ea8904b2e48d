"""Non-maximum suppression, box by box: which box removed which (lesson 05).

Each box has a letter, and the colour of its class. A thick line is a kept box, a thin one is not decided yet; from a
removed box, dashed, an arrow leads to the box that removed it. Here is who removes whom, and its picture for print;
`suppression_page` draws the same for a page, `suppression_explorer` lets a reader move the threshold.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from torch import Tensor

from lib.ops.boxes import box_iou
from lib.ops.nms import suppressed_by
from lib.viz.basics.draw import panels
from lib.viz.detection.boxes import box_patch, check_boxes, class_colour, ink_on, show_picture, thin_boxes

MOST_LINES = 18  # of the list beside the picture; with more boxes, the best ones
WIDTHS = {"kept": 3.0, "removed": 1.3, "undecided": 1.6}  # of a box's line in points
IN_WORDS = {"kept": "kept", "undecided": "undecided", "removed": "removed; the arrow leads to its remover"}


@dataclass(frozen=True, eq=False)
class Suppression:
    """Boxes, best first, and who removes whom at one threshold.

    Args:
        image: (3, H, W).
        boxes, scores, classes, labels: (N, 4), (N,), (N,), (N,), by falling score.
        spots: (N, 2) xy of each box's letter, on its line if that lies inside the picture.
        threshold: a box goes if its IoU with a better, kept one is above this.
    """

    image: Tensor
    boxes: Tensor
    scores: Tensor
    classes: Tensor
    labels: Tensor
    spots: Tensor
    threshold: float

    @classmethod
    def of(
        cls, image: Tensor, boxes: Tensor, scores: Tensor, classes: Tensor, labels: Tensor | None, threshold: float
    ) -> "Suppression":
        """Sort the boxes. Without labels all are of one class. Arguments and errors are those of `explore_nms`."""
        boxes = check_boxes("boxes", boxes)
        for name, values in (("scores", scores), ("classes", classes), ("labels", labels)):
            if values is not None and values.shape != boxes.shape[:1]:
                raise ValueError(
                    f"{name} has the shape {tuple(values.shape)} for {len(boxes)} boxes; expected one number each"
                )
        labels = torch.zeros(len(boxes), dtype=torch.int64) if labels is None else labels.cpu()
        order = scores.cpu().argsort(descending=True, stable=True)
        boxes, scores = boxes[order], scores.detach().cpu()[order]
        spots = _letter_spots(boxes, image.shape[-1], image.shape[-2])
        return cls(image, boxes, scores, classes.cpu()[order], labels[order], spots, threshold)

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
        """How many boxes are in which state: "2 kept, 5 removed, 9 undecided"; at the end none is undecided."""
        states = self.states(rounds)
        counts = {state: states.count(state) for state in WIDTHS}
        return ", ".join(f"{count} {state}" for state, count in counts.items() if count or state != "undecided")

    def lines(self, rounds: int | None) -> list[str]:
        """What the list says of each box: "C  0.60  removed by A, IoU 0.82"."""
        lines = []
        for place, (state, keeper) in enumerate(zip(self.states(rounds), self.keepers)):
            overlap = box_iou(self.boxes[place][None], self.boxes[keeper][None]).item()
            why = f" by {letter(keeper)}, IoU {overlap:.2f}" if state == "removed" else ""
            lines.append(f"{letter(place)}  {self.scores[place]:.2f}  {state}{why}")
        return lines

    def colour(self, place: int) -> str:
        """The colour of the class that a box belongs to."""
        return class_colour(int(self.classes[place]))


def letter(place: int) -> str:
    """a to z for the first boxes, then a1, b1 .."""
    return chr(ord("a") + place % 26) + (str(place // 26) if place >= 26 else "")


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


def draw_suppression(
    image: Tensor,
    boxes: Tensor,
    scores: Tensor,
    classes: Tensor,
    states: dict[str, tuple[float, int | None]],
    labels: Tensor | None = None,
    part: tuple[float, float, float, float] | None = None,
    size: float = 4.6,
) -> Figure:
    """The picture of `explore_nms` in several states, side by side, without the list, and a legend of the lines below.

    Args:
        image, boxes, scores, classes, labels: those of `explore_nms`.
        states: by title, the IoU threshold and the number of rounds, one for each kept box; None goes to the end.
        part: xyxy pixels, what of the picture is shown; None shows all of it. Boxes whose letter stands beyond it are
            not drawn, but count all the same.
        size: width of one picture in inches.

    Raises:
        ValueError: no states, a part without area or beyond the picture, or as in `explore_nms`.
    """
    if not states:
        raise ValueError("states is empty; expected at least one")
    height, width = image.shape[-2:]
    left, top, right, bottom = part or (0, 0, width, height)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(f"part is {part}; expected x1 < x2 and y1 < y2 inside of the {width} × {height} picture")
    figure, axes = panels(len(states), 2, size, (bottom - top) / (right - left))
    present: set[str] = set()
    for axis, (title, (threshold, rounds)) in zip(axes, states.items()):
        suppression = Suppression.of(image, boxes, scores, classes, labels, threshold)
        paint(axis, suppression, rounds, (left, top, right, bottom))
        axis.set_title(f"{title}\n{suppression.count(rounds)}", fontsize=10)
        present.update(suppression.states(rounds))
    handles = [
        Line2D([], [], color="#202020", linewidth=WIDTHS[state], linestyle=_dashes(state), label=words)
        for state, words in IN_WORDS.items()
        if state in present
    ]
    figure.set_figheight(figure.get_figheight() + 0.2 * -(-len(axes) // 2))  # room for titles of two lines
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.draw_without_rendering()  # one pass of the layout leaves too little room for two lines
    return figure


def paint(
    axis: Axes, suppression: Suppression, rounds: int | None, part: tuple[float, float, float, float] | None = None
) -> None:
    """The boxes on their picture, or on a part of it; `suppression_page.drawing` shows the same."""
    show_picture(axis, suppression.image, dim=0.5)
    states, spots = suppression.states(rounds), suppression.spots.tolist()
    shown = list(range(len(states)))
    if part is not None:
        left, top, right, bottom = part
        axis.set(xlim=(left, right), ylim=(bottom, top))
        shown = [place for place in shown if left <= spots[place][0] <= right and top <= spots[place][1] <= bottom]
    for place in sorted(shown, key=lambda place: (states[place] != "removed", -place)):  # the best on top
        box, colour, width = suppression.boxes[place], suppression.colour(place), WIDTHS[states[place]]
        if states[place] == "removed":  # without a halo: it is out of the game
            thin_boxes(axis, box[None], colour, width, opacity=0.9, style=_dashes("removed"))
        else:
            box_patch(axis, box, colour, width)
    for place in shown:
        if states[place] == "removed":
            _arrow(axis, spots[place], spots[suppression.keepers[place]], suppression.colour(place))
    for place in shown:
        colour = suppression.colour(place)
        badge = {"boxstyle": "circle,pad=0.15", "facecolor": colour, "edgecolor": "#202020", "linewidth": 0.7}
        look = {"fontsize": 8, "ha": "center", "va": "center", "color": ink_on(colour), "zorder": 5}
        axis.text(*spots[place], letter(place), bbox=badge, **look)


def _dashes(state: str) -> str:
    return "--" if state == "removed" else "-"


def _arrow(axis: Axes, start: list[float], end: list[float], colour: str) -> None:
    shape = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 6, "mutation_scale": 11}
    arrow = axis.annotate("", end, start, arrowprops=shape | {"color": colour, "linewidth": 1.4}, zorder=4)
    arrow.arrow_patch.set_path_effects([withStroke(linewidth=3, foreground="#202020")])


def write_list(axis: Axes, suppression: Suppression, rounds: int | None) -> None:
    """The list beside the picture: of each box its letter, score, state and remover."""
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
