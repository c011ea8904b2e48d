"""How big a map is, and what one of its cells sees: the arithmetic of sliding windows (lesson 01).

A convolution and a pooling slide a window over their input in the same way, so one description serves both. Sources:
Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016), relationship 6, and 5.1 on dilation;
Araujo, Norris & Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019), equations 2 to 4.
For a whole network with branches, see `lib.viz.explorer.tracing`, which follows a real forward pass.
"""

from collections.abc import Sequence
from typing import NamedTuple

from lib.ops.checks import check_whole


class Window(NamedTuple):
    """One sliding window, square, in cells of its own input: a convolution or a pooling layer."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1


class ReceptiveField(NamedTuple):
    """What the cells of a map see of the picture, along one axis, in pixels.

    Cell `i` sees the `size` pixels from `start + i * stride` on. A negative `start` lies in the padding.
    """

    size: int
    stride: int
    start: int

    def span(self, cell: int) -> tuple[int, int]:
        """First and last pixel (both included) that `cell` sees; outside the picture where it sees padding."""
        first = self.start + cell * self.stride
        return first, first + self.size - 1

    def middle(self, cell: int) -> float:
        """The middle of what `cell` sees, in pixels from the picture's edge (the middle of the first pixel is 0.5)."""
        return self.start + cell * self.stride + self.size / 2


def feature_size(height: int, width: int, layers: Sequence[Window]) -> tuple[int, int]:
    """The height and width, in cells, of what comes out of `layers` for a picture of `height` by `width` pixels.

    Each layer turns n cells into floor((n + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1, as PyTorch does.

    Raises:
        ValueError: a size or a number of a layer is out of range, or a window is larger than its padded input.
    """
    _check_layers(layers)
    sizes = []
    for name, cells in (("height", height), ("width", width)):
        check_whole(name, cells, at_least=1)
        for index, (kernel, stride, padding, dilation) in enumerate(layers):
            room = cells + 2 * padding - dilation * (kernel - 1) - 1  # how far the window can slide
            if room < 0:
                raise ValueError(
                    f"{name}: the window of layers[{index}] spans {dilation * (kernel - 1) + 1} cells, "
                    f"but its padded input has {cells + 2 * padding}; expected a larger picture"
                )
            cells = room // stride + 1
        sizes.append(cells)
    return sizes[0], sizes[1]


def receptive_field(layers: Sequence[Window]) -> ReceptiveField:
    """What one cell sees of the picture after `layers`: size, stride and start in pixels.

    Going up one layer, the window grows by its reach, dilation * (kernel - 1), counted in steps of the stride so far;
    the steps multiply. With no layers a cell is a pixel: size 1, stride 1, start 0.

    Raises:
        ValueError: a number of a layer is out of range.
    """
    _check_layers(layers)
    size, step, start = 1, 1, 0
    for kernel, stride, padding, dilation in layers:
        size += dilation * (kernel - 1) * step
        start -= padding * step
        step *= stride
    return ReceptiveField(size, step, start)


def _check_layers(layers: Sequence[Window]) -> None:
    for index, layer in enumerate(layers):
        if not isinstance(layer, tuple) or len(layer) != 4:
            raise ValueError(f"layers[{index}] is {layer!r}; expected Window(kernel, stride, padding, dilation)")
        for name, value, least in zip(Window._fields, layer, (1, 1, 0, 1), strict=True):
            check_whole(f"layers[{index}].{name}", value, at_least=least)
