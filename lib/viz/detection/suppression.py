"""Non-maximum suppression, box by box: which box removed which, at a threshold that can be moved (lesson 05)."""

import ipywidgets
import matplotlib.pyplot as plt
import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.ops.boxes import box_iou
from lib.ops.nms import suppressed_by
from lib.viz.basics.picture_widget import PictureWidget
from lib.viz.detection.boxes import box_patch, check_boxes, class_colour, place_tags, show_picture

MOST_LINES = 18  # of the list beside the picture; with more boxes, the best ones


def explore_nms(
    image: Tensor, boxes: Tensor, scores: Tensor, labels: Tensor | None = None, threshold: float = 0.5
) -> "SuppressionExplorer":
    """Move the threshold with a slider, go through the rounds with another one, and see who removes whom.

    Args:
        image: (3, H, W) floats 0..1.
        boxes: (N, 4) xyxy, a dozen or two, so that they can be told apart.
        scores: (N,).
        labels: (N,) numbers of classes. With them, a box removes only boxes of its own class.
        threshold: a box goes if its IoU with a better, kept one is above this.

    Raises:
        ValueError: the shapes do not fit, or `threshold` is outside of 0..1.
    """
    return SuppressionExplorer(image, *_sorted(boxes, scores, labels), threshold)


def draw_suppression(
    image: Tensor,
    boxes: Tensor,
    scores: Tensor,
    threshold: float,
    labels: Tensor | None = None,
    rounds: int | None = None,
) -> Figure:
    """The same as `explore_nms` as a picture: kept boxes thick, removed ones dotted, in the colour of who removed them.

    Args and errors are those of `explore_nms`; `rounds`: stop after that many kept boxes, None goes to the end.
    """
    boxes, scores, labels = _sorted(boxes, scores, labels)
    removers = _removers(boxes, scores, labels, threshold)
    figure = plt.figure(figsize=(8, 4.1), layout="constrained", facecolor="white")
    _paint(figure, image, boxes, scores, removers, threshold, rounds)
    return figure


class SuppressionExplorer(PictureWidget):
    """What `explore_nms` gives. `threshold` and `rounds` can be set from Python too."""

    threshold = traitlets.Float(0.5, min=0, max=1)
    rounds = traitlets.Int(1)

    def __init__(self, image: Tensor, boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> None:
        self.image, self.boxes, self.scores, self.labels = image, boxes, scores, labels
        self.removers = _removers(boxes, scores, labels, threshold)
        slow = {"continuous_update": False, "style": {"description_width": "initial"}}
        self._rounds = ipywidgets.IntSlider(self.kept, 0, max(self.kept, 1), description="rounds", **slow)
        limit = ipywidgets.FloatSlider(threshold, min=0, max=1, step=0.05, description="IoU threshold", **slow)
        super().__init__([limit, self._rounds])
        self.threshold, self.rounds = threshold, self.kept
        self.observe(self._count_rounds, names="threshold")
        self.link("threshold", limit)
        self.link("rounds", self._rounds)
        self.draw()

    def _count_rounds(self, change: object) -> None:
        """Another threshold keeps another number of boxes, and there is a round for each. Whoever saw all sees all."""
        saw_all = self.rounds >= self._rounds.max
        self.removers = _removers(self.boxes, self.scores, self.labels, self.threshold)
        self._rounds.max = max(self.kept, 1)
        if saw_all:
            self.rounds = self.kept

    @property
    def kept(self) -> int:
        """How many boxes are kept at the end."""
        return int((self.removers == -1).sum())

    def __repr__(self) -> str:
        return f"SuppressionExplorer: {len(self.boxes)} boxes, IoU threshold {self.threshold:.2f}, {self.kept} kept"

    def figure(self) -> Figure:
        """The boxes, and the list of who removed whom."""
        figure = Figure(figsize=(8, 4.1), layout="constrained", facecolor="white")
        _paint(figure, self.image, self.boxes, self.scores, self.removers, self.threshold, self.rounds)
        return figure


def _sorted(boxes: Tensor, scores: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, scores and labels (all one class without them), best first."""
    boxes = check_boxes("boxes", boxes)
    for name, values in (("scores", scores), ("labels", labels)):
        if values is not None and values.shape != boxes.shape[:1]:
            raise ValueError(
                f"{name} has the shape {tuple(values.shape)} for {len(boxes)} boxes; expected one number each"
            )
    labels = torch.zeros(len(boxes), dtype=torch.int64) if labels is None else labels.cpu()
    order = scores.cpu().argsort(descending=True, stable=True)
    return boxes[order], scores.detach().cpu()[order], labels[order]


def _removers(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """(N,) for each box the place of the one that removed it, -1 if it is kept; each class by itself."""
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold!r}; expected an IoU, 0 to 1")
    removers = torch.full((len(boxes),), -1)
    for label in labels.unique():
        places = (labels == label).nonzero()[:, 0]  # (n,) of this class
        by = suppressed_by(boxes[places], scores[places], threshold)
        removers[places] = torch.where(by >= 0, places[by], by)
    return removers


def _paint(
    figure: Figure, image: Tensor, boxes: Tensor, scores: Tensor, removers: Tensor, threshold: float, rounds: int | None
) -> None:
    """The picture on the left, the list of boxes on the right; boxes are sorted, best first."""
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    kept = (removers == -1).nonzero()[:, 0].tolist()
    done = kept if rounds is None else kept[:rounds]  # those whose round is over
    names = [chr(ord("A") + place % 26) + (str(place // 26) if place >= 26 else "") for place in range(len(boxes))]
    colours = ["#F5F5F5"] * len(boxes)  # not decided yet
    lines, tags = [], [""] * len(boxes)
    for place, by in enumerate(removers.tolist()):
        keeper = place if by == -1 else by
        text = f"{names[place]}  {scores[place]:.2f}  "
        if keeper in done:
            colours[place] = class_colour(kept.index(keeper) + 1)
            overlap = box_iou(boxes[place][None], boxes[keeper][None]).item()
            text += "kept" if by == -1 else f"removed by {names[by]}, IoU {overlap:.2f}"
            tags[place] = names[place] if by == -1 else ""
        else:
            text += "not decided yet"
        lines.append((text, colours[place]))
    alive = sum(1 for place in range(len(boxes)) if removers[place] == -1 or removers[place].item() not in done)
    show_picture(
        left, image, dim=0.3, title=f"{len(done)} kept, {len(boxes) - alive} removed, {alive - len(done)} to be decided"
    )
    for place in reversed(range(len(boxes))):
        by = removers[place].item()
        removed = by in done
        box_patch(
            left, boxes[place], colours[place], width=2.4 if place in done else 1.0, style=":" if removed else "-"
        )
        if removed:
            left.annotate(
                "",
                _middle(boxes[by]),
                _middle(boxes[place]),
                arrowprops={"arrowstyle": "-|>", "color": colours[place], "linewidth": 1, "shrinkA": 0, "shrinkB": 0},
            )
    place_tags(left, boxes, tags, colours, inches=4)
    _list(right, lines, f"sorted by score; IoU threshold {threshold:.2f}")


def _list(axis: Axes, lines: list[tuple[str, str]], title: str) -> None:
    axis.axis("off")
    axis.set_title(title, fontsize=10)
    axis.set(xlim=(0, 1), ylim=(MOST_LINES + 0.5, -0.5))
    shown = lines if len(lines) <= MOST_LINES else lines[: MOST_LINES - 1]
    for row, (text, colour) in enumerate(shown):
        axis.plot([0.03], [row], "s", color=colour, markersize=8, markeredgecolor="#202020", markeredgewidth=0.6)
        axis.text(0.09, row, text, fontsize=9, va="center")
    if len(shown) < len(lines):
        axis.text(0.09, len(shown), f"… and {len(lines) - len(shown)} more", fontsize=9, va="center")


def _middle(box: Tensor) -> tuple[float, float]:
    x1, y1, x2, y2 = box.tolist()
    return (x1 + x2) / 2, (y1 + y2) / 2
