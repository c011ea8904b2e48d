"""Upsampling seen from one output pixel: which inputs made it, and with what weight."""

import ipywidgets
import torch
import traitlets
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lib.ops.upsampling import transposed_conv_scatter
from lib.viz.basics.picture_widget import PictureWidget


def explore_stamps(x: Tensor, weight: Tensor, stride: int, padding: int = 0) -> "StampExplorer":
    """Pick an output pixel of a transposed convolution with two sliders, and see the inputs that made it.

    Args:
        x: (h, w) one channel, at most 8 × 8, so that its numbers can be read.
        weight: (kh, kw) one kernel.
        stride, padding: of the transposed convolution.

    Raises:
        ValueError: `x` or `weight` has another number of axes, or `x` is too large to be read.
    """
    if x.ndim != 2 or max(x.shape) > 8:
        raise ValueError(f"x is {tuple(x.shape)}; expected (h, w), at most 8 × 8")
    if weight.ndim != 2:
        raise ValueError(f"weight is {tuple(weight.shape)}; expected (kh, kw)")
    return StampExplorer(x, weight, stride, padding)


def influences(shape: tuple[int, int], weight: Tensor, stride: int, padding: int, row: int, column: int) -> Tensor:
    """How much output (row, column) of a transposed convolution takes of each input: (h, w), 0 where nothing.

    It is the gradient of that output by the inputs, which for a linear operation is the weight itself.
    """
    probe = torch.zeros(1, 1, *shape, requires_grad=True)
    with torch.enable_grad():
        output = transposed_conv_scatter(probe, weight.detach()[None, None], stride, padding)
        return torch.autograd.grad(output[0, 0, row, column], probe)[0][0, 0]  # (h, w)


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
        self.row, self.column = height // 2, width // 2
        self.draw()

    def __repr__(self) -> str:
        return f"StampExplorer: {tuple(self.x.shape)} inputs, {tuple(self.output.shape)} outputs, stride {self.stride}"

    def figure(self) -> Figure:
        """Inputs and outputs side by side, with the weights of the inputs in the framed output."""
        share = influences(tuple(self.x.shape), self.weight, self.stride, self.padding, self.row, self.column)
        figure = Figure(figsize=(8, 4), layout="constrained")
        inputs, outputs = figure.subplots(1, 2)
        _grid(inputs, self.x, "inputs, and their weights in the framed output")
        _grid(outputs, self.output, f"outputs; framed: row {self.row}, column {self.column}")
        for row, column in share.nonzero().tolist():
            inputs.add_patch(_frame(row, column))
            inputs.text(column, row + 0.3, f"× {share[row, column]:.2g}", ha="center", va="center", fontsize=9)
        outputs.add_patch(_frame(self.row, self.column))
        return figure


def _grid(axis, values: Tensor, title: str) -> None:
    largest = values.abs().max().clamp(min=1e-6).item()
    axis.imshow(values.numpy(), cmap="RdBu_r", vmin=-1.8 * largest, vmax=1.8 * largest)
    if max(values.shape) <= 12:
        for row in range(values.shape[0]):
            for column in range(values.shape[1]):
                axis.text(column, row, f"{values[row, column]:.2g}", ha="center", va="center", fontsize=9)
    axis.set_title(title, fontsize=10)
    axis.set(xticks=[], yticks=[])


def _frame(row: int, column: int) -> Rectangle:
    return Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=2.5)
