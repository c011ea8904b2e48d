"""Anchors to play with: do these sizes, shapes and steps reach the objects of a picture? (lesson 08)"""

import ipywidgets
import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from lib.ops.anchors import cell_anchors, grid_anchors
from lib.viz.basics.picture_widget import PictureWidget
from lib.viz.detection.boxes import best_overlaps, box_patch, check_boxes, class_colour, place_tags, show_picture

RATIO_SETS = {"1": (1.0,), "1/2, 1, 2": (0.5, 1.0, 2.0), "1/3, 1/2, 1, 2, 3": (1 / 3, 0.5, 1.0, 2.0, 3.0)}
STRIDES = (4, 8, 16, 32)


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
        self._text = ipywidgets.HTML()
        scale = ipywidgets.FloatSlider(1.0, min=0.25, max=3, step=0.25, description="scale", continuous_update=False)
        shapes = ipywidgets.Dropdown(options=list(RATIO_SETS), value=ratios, description="high : wide")
        step = ipywidgets.SelectionSlider(
            options=list(STRIDES), value=stride, description="stride", continuous_update=False
        )
        super().__init__([scale, shapes, step], (self._text,))
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
        """The anchors of one place, and of each object the best anchor; the text below is brought up to date."""
        anchors = self.anchors()
        count, close, near, _ = self.numbers()
        figure = Figure(figsize=(8, 4.3), layout="constrained", facecolor="white")
        left, right = figure.subplots(1, 2)
        show_picture(left, self.image, "the places, and the anchors of one of them", dim=0.2)
        self._one_place(left, anchors)
        show_picture(right, self.image, "each object and its best anchor", dim=0.2)
        overlap, best = best_overlaps(anchors, self.truth_boxes)
        colours = ["#D55E00" if value < 0.5 else "#F0E442" if value < 0.7 else "#56B4E9" for value in overlap.tolist()]
        for truth, place, colour in zip(self.truth_boxes, best.tolist(), colours):
            box_patch(right, truth, "white", width=1.2, style=":")
            box_patch(right, anchors[place], colour, width=1.8)
        place_tags(right, self.truth_boxes, [f"{value:.2f}" for value in overlap.tolist()], colours, inches=3.8)
        figure.supxlabel(
            f"{count:,} anchors · {close} with an IoU of 0.7 or more · {near} with 0.5 or more\n"
            "best IoU of an object: blue from 0.7, yellow from 0.5, red below",
            fontsize=9,
        )
        self._text.value = repr(self)
        return figure

    def _one_place(self, axis, anchors: Tensor) -> None:
        """The anchors at the place nearest to the middle of the picture, and a dot at every place."""
        height, width = self.image.shape[-2:]
        rows, columns = torch.arange(0, height, self.stride), torch.arange(0, width, self.stride)
        y, x = torch.meshgrid(rows, columns, indexing="ij")  # (h, w) each
        axis.plot(x.flatten().numpy(), y.flatten().numpy(), ".", color="#202020", markersize=3, markeredgewidth=0)
        per_place = len(self.sizes) * len(RATIO_SETS[self.ratios])
        row, column = round(height / 2 / self.stride), round(width / 2 / self.stride)
        first = (min(row, len(rows) - 1) * len(columns) + min(column, len(columns) - 1)) * per_place
        for number, box in enumerate(anchors[first : first + per_place]):
            box_patch(axis, box, class_colour(number // len(self.sizes) + 1), width=1.4)  # a colour for each shape
        axis.set(xlim=(-0.15 * width, 1.15 * width), ylim=(1.15 * height, -0.15 * height))
