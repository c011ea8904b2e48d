"""Where a network looks, laid over the picture, and the code that tells it where a cell lies (lesson 14)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.viz.basics.draw import PAGE, panels
from lib.viz.detection.boxes import box_patch, show_picture

MARK = "white"  # the frame of the cell that looks
FAINTEST, STRONGEST = 0.3, 0.9  # opacity of the heat where it is 0, and where it is highest


def draw_attention(
    image: Tensor,
    maps: dict[str, Tensor],
    marks: dict[str, tuple[int, int]] | None = None,
    columns: int = 4,
    size: float = 2.3,
) -> Figure:
    """Maps of attention over the picture, each from dark (0) to bright (its own highest number, written below it).

    Args:
        image: (3, H, W) floats 0..1.
        maps: by title (h, w) numbers from 0, such as shares that add up to 1.
        marks: row and column of the cell that looks, for those titles that have one; it is framed in white.
        columns, size: pictures in a row, and the width of one in inches.

    Raises:
        ValueError: there is no map, a map is not (h, w) or has numbers below 0, or a mark has no map or lies outside
            of it.
    """
    if not maps:
        raise ValueError("maps is empty; expected at least one")
    strangers = [title for title in marks or {} if title not in maps]
    if strangers:
        raise ValueError(f"marks has {strangers[0]!r}; expected titles of maps: {', '.join(maps)}")
    figure, axes = panels(len(maps), columns, size, image.shape[-2] / image.shape[-1])
    for axis, (title, heat) in zip(axes, maps.items()):
        if heat.ndim != 2 or heat.numel() == 0:
            raise ValueError(f"maps[{title!r}] is {tuple(heat.shape)}; expected (h, w), not empty")
        if heat.min() < 0:
            raise ValueError(f"maps[{title!r}] has numbers from {heat.min():.2g} on; expected none below 0")
        show_picture(axis, image, title, dim=0.4)
        paint_heat(axis, heat, (0, image.shape[-1], image.shape[-2], 0))
        if marks and title in marks:
            mark_cell(axis, f"marks[{title!r}]", marks[title], heat.shape, image.shape[-2:])
        axis.text(0.5, -0.02, f"max {heat.max():.2g}", transform=axis.transAxes, ha="center", va="top", fontsize=8)
    return figure


def paint_heat(axis: Axes, heat: Tensor, extent: tuple[float, float, float, float]) -> None:
    """A map (h, w) over what lies at `extent`, left, right, bottom, top; cells are blocks, the highest are yellow."""
    share = (heat / heat.max().clamp(min=1e-12)).detach().cpu().numpy()  # (h, w), 0..1
    axis.imshow(
        share, cmap="viridis", vmin=0, vmax=1, alpha=FAINTEST + (STRONGEST - FAINTEST) * share,
        interpolation="nearest", extent=extent,
    )  # fmt: skip


def mark_cell(
    axis: Axes, name: str, cell: tuple[int, int], shape: Sequence[int], size: Sequence[int], width: float = 1.6
) -> None:
    """Frame one cell (row, column) of a map of (h, w) `shape` over a picture of (height, width) `size`.

    Raises:
        ValueError: the cell lies outside of the map; it begins with `name`.
    """
    check_cell(name, cell, shape)
    (row, column), (rows, columns), (high, wide) = cell, shape, size
    down, across = high / rows, wide / columns  # pixels
    box = torch.tensor([column * across, row * down, (column + 1) * across, (row + 1) * down])
    box_patch(axis, box, MARK, width=width)


def check_cell(name: str, cell: tuple[int, int], shape: Sequence[int]) -> None:
    """Raise ValueError, beginning with `name`, unless a map of (h, w) `shape` has this (row, column)."""
    (row, column), (rows, columns) = cell, shape
    if not (0 <= row < rows and 0 <= column < columns):
        raise ValueError(f"{name} is {cell}; expected a row in 0..{rows - 1} and a column in 0..{columns - 1}")


def draw_positions(codes: Tensor, cell: tuple[int, int], channels: Sequence[int]) -> Figure:
    """Some channels of a code for places, and how similar every cell's code is to that of one cell.

    Similar is: the inner product of the two codes, divided by that of the cell's code with itself.

    Args:
        codes: (2F, h, w), -1..1, such as one of `PositionEmbeddingSine`.
        cell: row and column.
        channels: numbers of those to be shown, at most eight.

    Raises:
        ValueError: the shape is another, the cell lies outside of it, or there are none, too many or wrong channels.
    """
    if codes.ndim != 3 or codes.numel() == 0:
        raise ValueError(f"codes is {tuple(codes.shape)}; expected (2F, h, w), not empty")
    count, height, width = codes.shape
    if not 1 <= len(channels) <= 8 or not all(0 <= channel < count for channel in channels):
        raise ValueError(f"channels is {list(channels)}; expected one to eight numbers in 0..{count - 1}")
    check_cell("cell", cell, (height, width))
    columns = -(-len(channels) // 2)
    small = 1.3  # inches
    figure = plt.figure(
        figsize=(min(PAGE, columns * small + 4.2), 2 * (small * height / width + 0.3)), layout="constrained",
        facecolor="white",
    )  # fmt: skip
    left, right = figure.subfigures(1, 2, width_ratios=(columns * small + 0.7, 3.5))
    axes = list(left.subplots(2, columns, squeeze=False).flat)
    for axis in axes:
        axis.axis("off")
    for axis, channel in zip(axes, channels):
        shown = axis.imshow(codes[channel].detach().cpu().numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
        axis.set_title(f"channel {channel}", fontsize=9, pad=3)
    left.colorbar(shown, ax=axes, shrink=0.7, ticks=(-1, 0, 1))
    axis = right.subplots()
    axis.axis("off")
    extent = (0, width, height, 0)
    alike = axis.imshow(
        _alike(codes.detach().cpu(), cell).numpy(), cmap="viridis", extent=extent, interpolation="nearest"
    )
    mark_cell(axis, "cell", cell, (height, width), (height, width), width=2)
    axis.set_title(f"how like the code of row {cell[0]}, column {cell[1]}", fontsize=9, pad=3)
    right.colorbar(alike, ax=axis, shrink=0.85)
    return figure


def _alike(codes: Tensor, cell: tuple[int, int]) -> Tensor:
    """(2F, h, w) -> (h, w): 1 at the cell itself."""
    own = codes[:, cell[0], cell[1]]  # (2F,)
    return torch.einsum("chw,c->hw", codes, own) / own.square().sum()
