"""Where the cells of a map lie on the picture, and which pixels they see: the geometry of one axis.

Every layer that slides a window is described by three numbers: output cell `i` reads the input cells from
`step * i + first` to `step * i + last`. A strided convolution has a whole `step`, upsampling a fractional one. With
them `Axis.slide` carries what was known about the input over to the output, which is all that lesson 01 does by hand.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction


@dataclass(frozen=True)
class Axis:
    """One axis of a map. Cell `i` sees pixels within `low + stride * i` .. `high + stride * i`, both included.

    The bounds are safe: a cell never sees more. After convolutions and poolings it sees exactly this much, but for
    cells at a border, which see padding instead. A bound may lie outside the picture, in the padding.

    Attributes:
        stride: pixels from one cell to the next; a fraction below 1 where a map is finer than the picture.
        whole: something mixed all cells (a global mean, attention ...), so that each sees the whole picture. `low` and
            `high` then only tell where a cell lies.
    """

    stride: Fraction
    low: Fraction
    high: Fraction
    whole: bool = False

    def slide(self, step: Fraction | int, first: Fraction | int, last: Fraction | int) -> "Axis":
        """The axis of a map whose cell `i` reads this map's cells `step * i + first` to `step * i + last`."""
        return Axis(self.stride * step, self.low + self.stride * first, self.high + self.stride * last, self.whole)

    def mixed(self) -> "Axis":
        """The same places, but each cell now sees the whole picture."""
        return replace(self, whole=True)

    def span(self, cell: int) -> tuple[int, int]:
        """First and last pixel within the window of `cell`; may lie outside the picture. Ignores `whole`."""
        return math.ceil(self.low + self.stride * cell), math.floor(self.high + self.stride * cell)

    def centre(self, cell: int) -> float:
        """The middle of the window of `cell`, in pixels; the middle of the first pixel is 0."""
        return float((self.low + self.high) / 2 + self.stride * cell)

    def edge(self, cell: int) -> float:
        """Where the place of `cell` begins, in pixels from the picture's edge: half a stride before its middle."""
        return self.centre(cell) + 0.5 - float(self.stride) / 2

    def cell_at(self, pixels: float, cells: int) -> int:
        """The cell, out of `cells`, whose place is `pixels` from the picture's edge, or the nearest one to it."""
        return min(max(math.floor((pixels - self.edge(0)) / float(self.stride)), 0), cells - 1)

    @property
    def size(self) -> int:
        """Pixels in one window: the largest over the cells."""
        return math.floor(self.high - self.low) + 1


def join(axes: list[Axis], cells: int) -> Axis:
    """The axis of a map that adds or stacks several maps of as many `cells`: each cell sees what any of them sees."""
    finest = min(axes, key=lambda axis: axis.high - axis.low)
    low, high = finest.low, finest.high
    for axis in axes:
        for cell in (0, cells - 1):  # strides differ a little after resizing to an odd size: compare both ends
            drift = (axis.stride - finest.stride) * cell
            low, high = min(low, axis.low + drift), max(high, axis.high + drift)
    return Axis(finest.stride, low, high, any(axis.whole for axis in axes))


@dataclass(frozen=True)
class Geometry:
    """Both axes of a map of a picture with `height` by `width` pixels."""

    y: Axis
    x: Axis
    height: int
    width: int

    @property
    def whole(self) -> bool:
        return self.y.whole or self.x.whole

    def window(self, row: int, column: int) -> tuple[int, int, int, int]:
        """What cell (row, column) sees: a box (x1, y1, x2, y2) in pixel edges, cut to the picture.

        Empty (x1 = x2 or y1 = y2) for a cell that sees nothing but padding.
        """
        edges = []
        for axis, cell, pixels in ((self.x, column, self.width), (self.y, row, self.height)):
            first, last = (0, pixels - 1) if axis.whole else axis.span(cell)
            first = min(max(first, 0), pixels)
            edges.append((first, max(first, min(last + 1, pixels))))
        (x1, x2), (y1, y2) = edges
        return x1, y1, x2, y2

    def __str__(self) -> str:
        """Such as "stride 2, sees 3×3" or "stride 8, sees the whole picture"; height before width."""
        strides = [f"{float(axis.stride):.4g}" for axis in (self.y, self.x)]
        stride = strides[0] if strides[0] == strides[1] else "×".join(strides)
        sizes = [pixels if axis.whole else axis.size for axis, pixels in ((self.y, self.height), (self.x, self.width))]
        whole = self.y.whole and self.x.whole
        return f"stride {stride}, sees " + ("the whole picture" if whole else f"{sizes[0]}×{sizes[1]}")
