"""Anchors to play with: do these sizes, shapes and steps reach the objects of a picture? (lesson 08)"""

import ipywidgets
import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from lib.ops.anchors import cell_anchors, grid_anchors
from lib.viz.basics.picture_widget import PictureWidget
from lib.viz.detection.boxes import best_overlaps, box_patch, check_boxes, place_tags, show_picture

RATIO_SETS = {"1": (1.0,), "1/2, 1, 2": (0.5, 1.0, 2.0), "1/3, 1/2, 1, 2, 3": (1 / 3, 0.5, 1.0, 2.0, 3.0)}
STRIDES = (4, 8, 16, 32)
QUALITY = {"0.7 or more": "#56B4E9", "0.5 to 0.7": "#F0E442", "below 0.5": "#D55E00"}  # of the best anchor, by IoU
ONE_PLACE = "#CC79A7"


def explore_anchors(
    image: Tensor,
    truth_boxes: Tensor,
    sizes: tuple[float, ...] = (12, 20, 32),
    ratios: str = "1/2, 1, 2",
    stride: int = 8,
) -> "AnchorExplorer":
    """Scale all anchors, choose their shapes and how far they stand apart, and see which objects they reach.

    Args:
        image: (3, H, W) floats 0..1.
        truth_boxes: (M, 4) xyxy, the objects.
        sizes: sides of the square anchors in pixels at scale 1.
        ratios: a name out of RATIO_SETS: height / width of the shapes.
        stride: pixels from one place to the next, one of STRIDES.

    Raises:
        ValueError: `truth_boxes` is not (M, 4), there are no sizes, or `ratios` or `stride` is none of those offered.
    """
    if ratios not in RATIO_SETS:
        raise ValueError(f"ratios is {ratios!r}; expected one of {', '.join(map(repr, RATIO_SETS))}")
    if stride not in STRIDES:
        raise ValueError(f"stride is {stride!r}; expected one of {STRIDES}")
    if not sizes or min(sizes) <= 0:
        raise ValueError(f"sizes is {sizes!r}; expected numbers above 0")
    return AnchorExplorer(image, check_boxes("truth_boxes", truth_boxes), tuple(sizes), ratios, stride)


class AnchorExplorer(PictureWidget):
    """What `explore_anchors` gives. `scale`, `ratios` and `stride` can be set from Python too."""

    scale = traitlets.Float(1.0)
    ratios = traitlets.Unicode("1/2, 1, 2")
    stride = traitlets.Int(8)

    def __init__(self, image: Tensor, truth_boxes: Tensor, sizes: tuple[float, ...], ratios: str, stride: int) -> None:
        self.image, self.truth_boxes, self.sizes = image.detach().cpu(), truth_boxes, sizes
        self.ratios, self.stride = ratios, stride
        scale = ipywidgets.FloatSlider(1.0, min=0.25, max=3, step=0.25, description="scale", continuous_update=False)
        shapes = ipywidgets.Dropdown(options=list(RATIO_SETS), value=ratios, description="high : wide")
        step = ipywidgets.SelectionSlider(
            options=list(STRIDES), value=stride, description="stride", continuous_update=False
        )
        super().__init__([scale, shapes, step])
        for name, control in (("scale", scale), ("ratios", shapes), ("stride", step)):
            self.link(name, control)
        self.draw()

    def anchors(self) -> Tensor:
        """All anchors as the controls stand: (A, 4)."""
        height, width = self.image.shape[-2:]
        around = cell_anchors(tuple(size * self.scale for size in self.sizes), RATIO_SETS[self.ratios])
        grid = (-(-height // self.stride), -(-width // self.stride))
        return grid_anchors(around, grid, (self.stride, self.stride))

    def numbers(self) -> tuple[int, int, int, Tensor]:
        """How many anchors there are, how many reach an IoU of 0.7 and of 0.5, and each object's best IoU (M,)."""
        anchors = self.anchors()
        best_of_anchor, _ = best_overlaps(self.truth_boxes, anchors)  # (A,)
        best_of_truth, _ = best_overlaps(anchors, self.truth_boxes)  # (M,)
        return len(anchors), int((best_of_anchor >= 0.7).sum()), int((best_of_anchor >= 0.5).sum()), best_of_truth

    def __repr__(self) -> str:
        count, close, near, best = self.numbers()
        return (
            f"AnchorExplorer: {count:,} anchors, {close} with an IoU of 0.7 or more, {near} with 0.5 or more; best "
            f"of each object: {', '.join(f'{value:.2f}' for value in best.tolist())}"
        )

    def figure(self) -> Figure:
        """The anchors of one place, and of each object the best anchor.

        The axes have fixed places, because a layout that looks for them takes as long as all the drawing.
        """
        anchors = self.anchors()
        count, close, near, _ = self.numbers()
        figure = Figure(figsize=(8, 4.7), facecolor="white")
        left, right = (figure.add_axes((x, 0.14, 0.47, 0.8)) for x in (0.02, 0.51))
        height, width = self.image.shape[-2:]
        titles = ("all places (dots), and the anchors of one", "each object and its best anchor")
        for axis, title in zip((left, right), titles):
            show_picture(axis, self.image, dim=0.2)
            axis.set_title(title, fontsize=10, y=1.01)  # a fixed place here, too
            axis.set(xlim=(-0.06 * width, 1.06 * width), ylim=(1.06 * height, -0.06 * height))
        self._one_place(left, anchors)
        overlap, best = best_overlaps(anchors, self.truth_boxes)
        colours = [_quality(value) for value in overlap.tolist()]
        for truth, place, colour in zip(self.truth_boxes, best.tolist(), colours):
            box_patch(right, truth, "white", width=1.2, style=":")
            box_patch(right, anchors[place], colour, width=1.8)
        place_tags(right, self.truth_boxes, [f"{value:.2f}" for value in overlap.tolist()], colours, inches=3.8)
        figure.text(
            0.5,
            0.09,
            f"{count:,} anchors in all, {close} with an IoU of 0.7 or more, {near} with 0.5 or more",
            fontsize=10,
            ha="center",
        )
        _legend(figure)
        return figure

    def _one_place(self, axis: Axes, anchors: Tensor) -> None:
        """The anchors at the place nearest to the middle of the picture, and a dot at every place."""
        height, width = self.image.shape[-2:]
        rows, columns = torch.arange(0, height, self.stride), torch.arange(0, width, self.stride)
        y, x = torch.meshgrid(rows, columns, indexing="ij")  # (h, w) each
        axis.scatter(x.flatten().numpy(), y.flatten().numpy(), s=7, marker=".", color="#202020", linewidths=0)
        per_place = len(self.sizes) * len(RATIO_SETS[self.ratios])
        row, column = round(height / 2 / self.stride), round(width / 2 / self.stride)
        first = (min(row, len(rows) - 1) * len(columns) + min(column, len(columns) - 1)) * per_place
        for box in anchors[first : first + per_place]:
            box_patch(axis, box, ONE_PLACE, width=1.4)


def _quality(iou: float) -> str:
    """The colour of an anchor with this IoU."""
    return QUALITY["0.7 or more" if iou >= 0.7 else "0.5 to 0.7" if iou >= 0.5 else "below 0.5"]


def _legend(figure: Figure) -> None:
    """What each colour means, in one line at the bottom."""
    lines = [Line2D([], [], color=ONE_PLACE, linewidth=3, label="anchors of one place")]
    lines.append(Line2D([], [], color="#777777", linewidth=1.5, linestyle=":", label="object, with its best IoU"))
    lines += [Line2D([], [], color=colour, linewidth=3, label=label) for label, colour in QUALITY.items()]
    figure.legend(handles=lines, loc="lower center", ncols=5, frameon=False, fontsize=9, borderaxespad=0.2)
