"""From whatever tensor a module gives to a map (C, h, w) that lies on the picture, or to the reason why it is none."""

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from lib.viz.explorer.geometry import Axis, Geometry
from lib.viz.explorer.tracing import Trace


@dataclass(frozen=True)
class Arranged:
    """A map, where it lies, and how many tokens were set aside.

    Attributes:
        values: (C, h, w), a view of the module's output.
        geometry: where its cells lie on the picture and what they see.
        aside: tokens that stand for no place of the picture (class token, registers).
    """

    values: Tensor
    geometry: Geometry
    aside: int = 0


def arrange(tensor: Tensor, trace: Trace | None, height: int, width: int) -> Arranged | str:
    """`tensor` as a map, or one line that says why it is none.

    Args:
        tensor: what a module gave for one picture: (1, C, h, w), (1, h, w, C) or tokens (1, N, C).
        trace: where the picture's rows and columns run in it; None if it does not depend on the picture.
        height, width: of the picture in pixels.
    """
    shape = tuple(tensor.shape)
    if not tensor.is_floating_point():
        return f"gives {shape} of {tensor.dtype}: no floats"
    if tensor.ndim < 3 or tensor.numel() == 0:
        return f"gives {shape}: no rows and columns of cells"
    if trace is not None and trace[0].pairs:
        return f"gives {shape}: a matrix of pairs (attention), no map"
    if trace is None or None in (trace[0].dim, trace[1].dim):
        arranged = _spread(tensor, height, width)
    elif trace[0].dim == trace[1].dim:
        arranged = _from_tokens(tensor, trace, height, width)
    else:
        arranged = _from_axes(tensor, trace, height, width)
    if arranged is None or arranged.values.ndim != 3:
        return f"gives {shape}: its rows and columns cannot be told"
    if arranged.values.shape[1] * arranged.values.shape[2] < 2:
        return f"gives {shape}: a single cell for the whole picture"
    return arranged


def _from_tokens(tensor: Tensor, trace: Trace, height: int, width: int) -> Arranged | None:
    """Tokens along one dimension, (..., before + h * w + after, ...), to (C, h, w)."""
    rows, columns = trace
    count = rows.cells * columns.cells
    aside = rows.before + rows.after
    fits = (rows.inner, columns.inner, count + aside) == (columns.cells, 1, tensor.shape[rows.dim])
    if not fits or (rows.before, rows.after) != (columns.before, columns.after):
        return None
    values = tensor.narrow(rows.dim, rows.before, count).unflatten(rows.dim, (rows.cells, columns.cells))
    values = values.movedim((rows.dim, rows.dim + 1), (-2, -1)).squeeze(0)
    return Arranged(values, Geometry(rows.axis, columns.axis, height, width), aside)


def _from_axes(tensor: Tensor, trace: Trace, height: int, width: int) -> Arranged | None:
    """Rows and columns along a dimension each."""
    rows, columns = trace
    if not (rows.alone(tensor.shape) and columns.alone(tensor.shape)):
        return None
    values = tensor.movedim((rows.dim, columns.dim), (-2, -1)).squeeze(0)
    return Arranged(values, Geometry(rows.axis, columns.axis, height, width))


def _spread(tensor: Tensor, height: int, width: int) -> Arranged | None:
    """The places got lost on the way: if rows and columns can be told by their proportions, spread them evenly."""
    if tensor.ndim != 4:
        return None
    if not _like(tensor.shape[2:], height, width):
        if not _like(tensor.shape[1:3], height, width):
            return None
        tensor = tensor.movedim(3, 1)  # (1, H, W, C)
    return Arranged(tensor.squeeze(0), evenly(tensor.shape[2], tensor.shape[3], height, width))


def evenly(rows: int, columns: int, height: int, width: int, whole: bool = True) -> Geometry:
    """The geometry of `rows` by `columns` cells that cover a picture without a gap.

    Args:
        whole: each cell sees the whole picture; otherwise only the pixels that it covers.
    """
    axes = [
        Axis(stride := Fraction(pixels, cells), Fraction(0), stride - 1, whole)
        for pixels, cells in ((height, rows), (width, columns))
    ]
    return Geometry(*axes, height, width)


def _like(cells: torch.Size, height: int, width: int) -> bool:
    """Whether so many rows and columns have the proportions of the picture, but for rounding."""
    return abs(cells[0] * width - cells[1] * height) <= height + width
