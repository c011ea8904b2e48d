"""Small arrays drawn as tables with their numbers in the cells, for examples that can be added up in the head."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from lib.viz.basics.draw import PAGE

FONT = 11  # points
TITLE, GAP, RIM = 0.42, 0.35, 0.05  # inches: above each table for its title, between two tables, around them all


def show_numbers(arrays: dict[str, torch.Tensor], highlight: tuple[int, int] | None = None) -> Figure:
    """Each array as a coloured table with a number in every cell, side by side; what is too wide begins a new row.

    Blue is negative, red is positive; all arrays share one scale and one size of cell. Numbers are written by `exact`.

    Args:
        arrays: (rows, columns) by title; at most 12 × 12.
        highlight: a (row, column) to frame in every array that has it.

    Raises:
        ValueError: there is no array, or one is not two-dimensional or too large to be read.
    """
    if not arrays:
        raise ValueError("arrays is empty; expected at least one (rows, columns) array")
    for title, array in arrays.items():
        if array.ndim != 2 or max(array.shape) > 12:
            raise ValueError(f"arrays[{title!r}] is {tuple(array.shape)}; expected (rows, columns), at most 12 × 12")
    figure = plt.figure()
    axes = draw_tables(figure, {title: np.asarray(array.detach().cpu()) for title, array in arrays.items()})
    for axis, array in zip(axes, arrays.values()):
        if highlight and highlight[0] < array.shape[0] and highlight[1] < array.shape[1]:
            frame(axis, *highlight)
    return figure


def exact(number: float) -> str:
    """A number with all its digits if four decimals hold them, such as "0.5625"; else with three digits, "0.333"."""
    for decimals in range(5):
        text = f"{number + 0.0:.{decimals}f}"  # + 0.0: no "-0"
        digits = sum(sign.isdigit() for sign in text)
        if np.float32(text) == np.float32(number) and digits <= 6:  # of more digits, float32 has no exact ones
            return text
    return f"{number:.3g}" if abs(number) < 1000 else f"{number:.0f}"


def draw_tables(figure: Figure, tables: dict[str, np.ndarray], above: float = 0.0) -> list[Axes]:
    """Fill an empty figure with tables of numbers, and give it the size that they need.

    Args:
        figure: as pyplot or `Figure()` makes it.
        tables: (rows, columns) numbers by title.
        above: inches to leave free at the top.

    Returns:
        The axes of the tables, in their order: cell (row, column) lies at y = row, x = column.
    """
    widest = max(_text_width(exact(number)) for table in tables.values() for number in table.flat) + 0.14
    cell = min(max(0.55, widest), (PAGE - 2 * RIM) / max(table.shape[1] for table in tables.values()))
    fontsize = FONT * min(1, cell / widest)
    places, width, height = _arranged(tables, cell, above)
    figure.set_size_inches(width, height)
    reach = 1.8 * max(np.abs(table).max() for table in tables.values()) or 1.0  # pale, so that black text reads
    axes = []
    for (title, table), (left, top) in zip(tables.items(), places):
        across, down = table.shape[1] * cell, table.shape[0] * cell
        axis = figure.add_axes((left / width, 1 - (top + down) / height, across / width, down / height))
        axis.imshow(table, cmap="RdBu_r", vmin=-reach, vmax=reach)
        for (row, column), number in np.ndenumerate(table):
            axis.text(column, row, exact(number), ha="center", va="center", fontsize=fontsize)
        axis.set_title(title, fontsize=FONT)
        axis.set(xticks=[], yticks=[])
        axes.append(axis)
    return axes


def frame(axis: Axes, row: int, column: int, colour: str = "black") -> None:
    """A thick line just inside one cell of a table."""
    corner = (column - 0.44, row - 0.44)
    axis.add_patch(plt.Rectangle(corner, 0.88, 0.88, fill=False, edgecolor=colour, linewidth=3))


def _text_width(text: str) -> float:
    """How wide a text is drawn, in inches."""
    return TextPath((0, 0), text, size=FONT).get_extents().width / 72 if text.strip() else 0.0


def _arranged(
    tables: dict[str, np.ndarray], cell: float, above: float
) -> tuple[list[tuple[float, float]], float, float]:
    """For each table the (left, top) of its cells, then width and height of the whole, all in inches."""
    places, left, top, tallest, width = [], RIM, above + TITLE, 0.0, 0.0
    for title, table in tables.items():
        across = table.shape[1] * cell
        room = max(across, _text_width(title))  # a title may be wider than its table
        if left > RIM and left + room > PAGE - RIM:
            left, top, tallest = RIM, top + tallest + TITLE, 0.0
        places.append((left + (room - across) / 2, top))
        width, tallest = max(width, left + room), max(tallest, table.shape[0] * cell)
        left += room + GAP
    return places, width + RIM, top + tallest + RIM
