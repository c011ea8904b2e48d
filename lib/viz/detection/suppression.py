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
from matplotlib.patheffects import withStroke
from torch import Tensor

from lib.ops.boxes import box_iou
from lib.ops.nms import suppressed_by
from lib.viz.basics.draw import panels
from lib.viz.detection.boxes import box_patch, check_boxes, class_colour, ink_on, show_picture

MOST_LINES = 18  # of the list beside the picture; with more boxes, the best ones
WIDTHS = {"kept": 3.0, "removed": 1.2, "undecided": 1.6}  # of a box's line in points


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
    size: float = 3.1,
) -> Figure:
    """The picture of `explore_nms` in several states, side by side and without the list.

    Args:
        image, boxes, scores, classes, labels: those of `explore_nms`.
        states: by title, the IoU threshold and the number of rounds, one for each kept box; None goes to the end.
        size: width of one picture in inches.

    Raises:
        ValueError: no states, or as in `explore_nms`.
    """
    if not states:
        raise ValueError("states is empty; expected at least one")
    figure, axes = panels(len(states), 3, size, image.shape[-2] / image.shape[-1])
    for axis, (title, (threshold, rounds)) in zip(axes, states.items()):
        suppression = Suppression.of(image, boxes, scores, classes, labels, threshold)
        paint(axis, suppression, rounds)
        axis.set_title(f"{title}\n{suppression.count(rounds)}", fontsize=9)
    return figure


def paint(axis: Axes, suppression: Suppression, rounds: int | None) -> None:
    """The boxes on their picture, as `suppression_page.drawing` shows them."""
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
