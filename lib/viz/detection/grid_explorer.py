"""The grid of a one-stage detector to play with: how many numbers, and which of them speak for one cell (lesson 09)."""

from itertools import groupby

import ipywidgets
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from torch import Tensor

from lib.datasets.toyworld import CLASSES
from lib.viz.basics.picture_widget import PictureWidget
from lib.viz.detection.boxes import box_patch, check_boxes, class_colour, show_picture
from lib.viz.detection.grid import show_cells

VERSIONS = {"2016": ("x", "y", "√w", "√h", "confidence"), "2017": ("tx", "ty", "tw", "th", "confidence")}
BOX_COLOURS = ("#E69F00", "#56B4E9", "#CC79A7", "#F0E442", "#D55E00")  # of the boxes, or anchors, of a cell
CLASS_COLOUR, CHOSEN, PAPER = "#009E73", "#D55E00", "#F2F2F2"
MOST_NAMES = 45  # numbers of a cell that can each have their name written beside them
DEEP = (0.42, 0.3)  # how far back the block reaches, in widths of its face


def explore_grid(
    image: Tensor, boxes: Tensor, labels: Tensor, cells: int = 12, row: int = 0, column: int = 0
) -> "GridExplorer":
    """Choose how a picture is cut into cells and what each says, and see the block of numbers that comes out.

    Args:
        image: (3, H, W) floats 0..1, a square.
        boxes: (n, 4) xyxy, with labels (n,).
        cells: rows and columns to begin with, 3 to 16.
        row, column: of the cell to begin with.

    Raises:
        ValueError: `boxes` is not (n, 4), the picture is no square, or the cell is not in the grid.
    """
    if image.shape[-1] != image.shape[-2]:
        raise ValueError(f"image is {tuple(image.shape)}; expected a square")
    if not 3 <= cells <= 16:
        raise ValueError(f"cells is {cells}; expected 3 to 16")
    for name, value in (("row", row), ("column", column)):
        if not 0 <= value < cells:
            raise ValueError(f"{name} is {value}; expected 0 to {cells - 1}")
    return GridExplorer(image, check_boxes("boxes", boxes), labels.cpu(), cells, row, column)


class GridExplorer(PictureWidget):
    """What `explore_grid` gives. The traits can be set from Python too; a cell beyond the grid is the last one."""

    cells = traitlets.Int(12)
    per_cell = traitlets.Int(2)
    classes = traitlets.Int(5)
    row = traitlets.Int(0)
    column = traitlets.Int(0)
    version = traitlets.Unicode("2016")

    def __init__(self, image: Tensor, boxes: Tensor, labels: Tensor, cells: int, row: int, column: int) -> None:
        self.image, self.boxes, self.labels = image.detach().cpu(), boxes, labels
        self.cells, self.row, self.column = cells, row, column
        controls = {
            "cells": _slider("cells S", cells, 3, 16),
            "per_cell": _slider("boxes B", 2, 1, 5),
            "classes": _slider("classes C", 5, 1, 20),
            "row": _slider("row", row, 0, 15),
            "column": _slider("column", column, 0, 15),
            "version": ipywidgets.ToggleButtons(options=list(VERSIONS), value="2016", style={"button_width": "4em"}),
        }
        super().__init__(list(controls.values()))
        self.children[0].layout.flex_flow = "row wrap"
        for name, control in controls.items():
            self.link(name, control)
        self.draw()

    def cell(self) -> tuple[int, int]:
        """Row and column of the chosen cell."""
        return min(self.row, self.cells - 1), min(self.column, self.cells - 1)

    def names(self) -> list[tuple[str, str]]:
        """What each number of a cell is, and its colour, from front to back."""
        box = VERSIONS[self.version]
        others = (f"class {number}" for number in range(len(CLASSES) + 1, self.classes + 1))
        classes = [*CLASSES, *others][: self.classes]
        named = []
        for number in range(self.per_cell):
            colour = BOX_COLOURS[number]
            named += [(f"{name} of {self._box()} {number + 1}", colour) for name in box]
            if self.version == "2017":
                named += [(f"{name}, anchor {number + 1}", CLASS_COLOUR) for name in classes]
        if self.version == "2016":
            named += [(name, CLASS_COLOUR) for name in classes]
        return named

    def count(self) -> int:
        """How many numbers the grid holds."""
        return self.cells * self.cells * len(self.names())

    def __repr__(self) -> str:
        row, column = self.cell()
        return (
            f"GridExplorer: {self._sum()} = {self.count():,} numbers; chosen is the cell in row {row}, column {column}"
        )

    def _sum(self) -> str:
        if self.version == "2016":
            return f"{self.cells} × {self.cells} cells × ({self.per_cell} · 5 + {self.classes})"
        return f"{self.cells} × {self.cells} cells × {self.per_cell} · (5 + {self.classes})"

    def figure(self) -> Figure:
        """The picture with its cells; the block of answers; and the numbers of the chosen cell, one under the other."""
        figure = Figure(figsize=(9.4, 4.1), facecolor="white")
        left = figure.add_axes((0.01, 0.06, 0.36, 0.84))
        middle = figure.add_axes((0.40, 0.06, 0.38, 0.84))
        right = figure.add_axes((0.80, 0.03, 0.19, 0.89))
        self._picture_of_cells(left)
        self._block(middle)
        self._column(right)
        figure.text(0.59, 0.02, f"{self._sum()} = {self.count():,} numbers", fontsize=10, ha="center")
        return figure

    def _picture_of_cells(self, axis: Axes) -> None:
        side, stride = self.image.shape[-1], self.image.shape[-1] / self.cells
        show_picture(axis, self.image, "the picture and its cells", dim=0.2)
        show_cells(axis, side, side, stride)
        for box, label in zip(self.boxes, self.labels.tolist()):
            box_patch(axis, box, class_colour(label), width=1.4)
            axis.plot(*((box[:2] + box[2:]) / 2).tolist(), "o", color=class_colour(label), markeredgecolor="#202020")
        row, column = self.cell()
        corner = (column * stride, row * stride)
        axis.add_patch(Rectangle(corner, stride, stride, fill=False, edgecolor=CHOSEN, linewidth=3))

    def _block(self, axis: Axes) -> None:
        """S × S cells in front, the numbers behind each other; the column of the chosen cell is coloured."""
        names, (row, column), step = self.names(), self.cell(), 1 / self.cells
        layer = (DEEP[0] / len(names), DEEP[1] / len(names))
        axis.set(xlim=(-0.03, 1 + DEEP[0] + 0.03), ylim=(-0.03, 1 + DEEP[1] + 0.03), aspect="equal")
        axis.set_title("the answers: a block", fontsize=10)
        axis.axis("off")
        top = [(0, 1), (1, 1), (1 + DEEP[0], 1 + DEEP[1]), (DEEP[0], 1 + DEEP[1])]
        side = [(1, 0), (1, 1), (1 + DEEP[0], 1 + DEEP[1]), (1 + DEEP[0], DEEP[1])]
        for corners, shade in ((top, "#FAFAFA"), (side, "#DDDDDD")):
            axis.add_patch(Polygon(corners, facecolor=shade, edgecolor="#333333"))
        axis.add_patch(Rectangle((0, 0), 1, 1, facecolor=PAPER, edgecolor="#333333"))
        for number in range(1, self.cells):
            line = {"color": "#888888", "linewidth": 0.6}
            axis.plot((number * step, number * step), (0, 1), **line)
            axis.plot((0, 1), (number * step, number * step), **line)
        for number in range(1, len(names)):
            x, y = layer[0] * number, layer[1] * number
            axis.plot((x, 1 + x, 1 + x), (1 + y, 1 + y, y), color="#AAAAAA", linewidth=0.5)
        x, y = column * step, 1 - (row + 1) * step
        for number in reversed(range(len(names))):  # the column runs to the back, seen through the block
            corner = (x + layer[0] * number, y + layer[1] * number)
            axis.add_patch(
                Rectangle(corner, step, step, facecolor=names[number][1], edgecolor="#333333", linewidth=0.4)
            )
        axis.add_patch(Rectangle((x, y), step, step, fill=False, edgecolor=CHOSEN, linewidth=2))

    def _column(self, axis: Axes) -> None:
        """The numbers of the chosen cell, the front one on top: each with its name, or of many each group with its."""
        names = self.names()
        rows = max(len(names), 15)
        axis.set(xlim=(0, 4), ylim=(rows, 0))
        axis.text(0, -0.012 * rows, "the numbers of one cell", fontsize=10, va="bottom")
        axis.axis("off")
        for number, (_, colour) in enumerate(names):
            axis.add_patch(Rectangle((0, number), 0.7, 1, facecolor=colour, edgecolor="#333333", linewidth=0.4))
        written = [(number + 0.5, name) for number, (name, _) in enumerate(names)]
        if rows > MOST_NAMES:
            written = []
            for colour, group in groupby(enumerate(names), key=lambda entry: entry[1][1]):
                places = [place for place, _ in group]
                words = "classes" if colour == CLASS_COLOUR else f"{self._box()} {BOX_COLOURS.index(colour) + 1}"
                written.append(((places[0] + places[-1] + 1) / 2, words))
        for y, words in written:
            axis.text(0.85, y, words, va="center", fontsize=min(8.0, 200 / len(written)))

    def _box(self) -> str:
        return "box" if self.version == "2016" else "anchor"


def _slider(name: str, value: int, low: int, high: int) -> ipywidgets.IntSlider:
    return ipywidgets.IntSlider(value, min=low, max=high, description=name, continuous_update=False)
