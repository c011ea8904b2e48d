"""A transposed convolution seen from one output pixel: which cells made it, and with which part of their stamp."""

import itertools

import ipywidgets
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from lib.ops.upsampling import transposed_conv_scatter
from lib.viz.basics.numbers import FONT, draw_tables, exact, frame
from lib.viz.basics.picture_widget import PictureWidget

# Colours that colour-blind readers tell apart (Okabe & Ito 2008): one for each cell that reaches a pixel, in turn.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7")

Place = tuple[int, int]  # (row, column)


def explore_stamps(x: Tensor, weight: Tensor, stride: int, padding: int = 0) -> "StampExplorer":
    """Pick an output pixel of a transposed convolution with two sliders: which cells made it, with which weights?

    Args:
        x: (h, w) one channel, at most 8 × 8, so that its numbers can be read.
        weight: (kh, kw) one kernel: the stamp.
        stride, padding: of the transposed convolution.

    Raises:
        ValueError: `x` or `weight` has another number of axes, or `x` is too large to be read.
    """
    if x.ndim != 2 or max(x.shape) > 8:
        raise ValueError(f"x is {tuple(x.shape)}; expected (h, w), at most 8 × 8")
    if weight.ndim != 2:
        raise ValueError(f"weight is {tuple(weight.shape)}; expected (kh, kw)")
    return StampExplorer(x, weight, stride, padding)


def makers(shape: Place, kernel: Place, stride: int, padding: int, pixel: Place) -> list[tuple[Place, Place]]:
    """Whose stamps reach an output pixel: pairs of a cell of the input, and of the part of its stamp that lies there.

    Args:
        shape: (h, w) of the input.
        kernel: (kh, kw) of the stamp.
        stride, padding: of the transposed convolution.
        pixel: (row, column) in the output.
    """
    down, across = (place + padding for place in pixel)  # in the output as it was before the padding was cut off
    pairs = []
    for row in range(shape[0]):
        for column in range(shape[1]):
            part = (down - row * stride, across - column * stride)
            if 0 <= part[0] < kernel[0] and 0 <= part[1] < kernel[1]:
                pairs.append(((row, column), part))
    return pairs


class StampExplorer(PictureWidget):
    """What `explore_stamps` gives. `row` and `column` of the output pixel can be set from Python too."""

    row = traitlets.Int(0)
    column = traitlets.Int(0)

    def __init__(self, x: Tensor, weight: Tensor, stride: int, padding: int) -> None:
        self.x, self.weight, self.stride, self.padding = x.detach().cpu(), weight.detach().cpu(), stride, padding
        self.output = transposed_conv_scatter(self.x[None, None], self.weight[None, None], stride, padding)[0, 0]
        height, width = self.output.shape
        sliders = [
            ipywidgets.IntSlider(0, 0, most - 1, description=name)
            for name, most in (("row", height), ("column", width))
        ]
        super().__init__(sliders)
        for name, slider in zip(("row", "column"), sliders):
            self.link(name, slider)
        self.row, self.column = self._busiest()
        self.draw()

    def _busiest(self) -> Place:
        """The output pixel that most stamps reach; of several, the one nearest to the middle."""
        height, width = self.output.shape
        shape, kernel = tuple(self.x.shape), tuple(self.weight.shape)

        def rank(pixel: Place) -> tuple[int, float]:
            count = len(makers(shape, kernel, self.stride, self.padding, pixel))
            return -count, abs(pixel[0] - height / 2) + abs(pixel[1] - width / 2)

        return min(itertools.product(range(height), range(width)), key=rank)

    def __repr__(self) -> str:
        return f"StampExplorer: {tuple(self.x.shape)} inputs, {tuple(self.output.shape)} outputs, stride {self.stride}"

    def sum_in_words(self) -> str:
        """How the chosen pixel is made, such as "row 1, column 2: 1 · 6 + 2 · 4 = 14"."""
        products = [f"{exact(self.x[cell].item())} · {exact(self.weight[part].item())}" for cell, part in self._pairs()]
        total = exact(self.output[self.row, self.column].item())
        return f"row {self.row}, column {self.column}: {' + '.join(products) or 'no stamp reaches it'} = {total}"

    def figure(self) -> Figure:
        """Cells, stamp and output. A frame around a cell has the colour of that around the weight it comes with."""
        tables = {"the cells": self.x, "the stamp": self.weight, "the output": self.output}
        figure = Figure()
        axes = draw_tables(figure, {title: table.numpy() for title, table in tables.items()}, above=0.3)
        for index, (cell, part) in enumerate(self._pairs()):
            frame(axes[0], *cell, COLOURS[index % len(COLOURS)])
            frame(axes[1], *part, COLOURS[index % len(COLOURS)])
        frame(axes[2], self.row, self.column)
        figure.text(0.5, 0.99, self.sum_in_words(), fontsize=FONT + 1, ha="center", va="top")
        return figure

    def _pairs(self) -> list[tuple[Place, Place]]:
        shape, kernel = tuple(self.x.shape), tuple(self.weight.shape)
        return makers(shape, kernel, self.stride, self.padding, (self.row, self.column))
