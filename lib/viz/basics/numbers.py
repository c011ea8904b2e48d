"""Small arrays drawn as tables with their numbers in the cells, for examples that can be added up in the head."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure


def show_numbers(arrays: dict[str, torch.Tensor], highlight: tuple[int, int] | None = None) -> Figure:
    """Each array as a coloured grid with a number in every cell, side by side at the same cell size.

    Blue is negative, red is positive; all arrays share one scale.

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
    values = [np.asarray(array.detach().cpu()) for array in arrays.values()]
    widths = [max(value.shape[1], 2) for value in values]
    largest = max(np.abs(value).max() for value in values) or 1.0
    tallest = max(value.shape[0] for value in values)
    figure, axes = plt.subplots(
        1,
        len(values),
        figsize=(0.75 * (sum(widths) + len(widths)), 0.62 * tallest + 0.9),
        width_ratios=widths,
        layout="constrained",
        squeeze=False,
    )
    for axis, title, value in zip(axes[0], arrays, values):
        axis.imshow(value, cmap="RdBu_r", vmin=-1.8 * largest, vmax=1.8 * largest)  # pale, so that black text reads
        for (row, column), number in np.ndenumerate(value):
            axis.text(column, row, f"{number:.3g}", ha="center", va="center", fontsize=11)
        if highlight and highlight[0] < value.shape[0] and highlight[1] < value.shape[1]:
            corner = (highlight[1] - 0.5, highlight[0] - 0.5)
            axis.add_patch(plt.Rectangle(corner, 1, 1, fill=False, edgecolor="black", linewidth=3))
        axis.set(title=title, xticks=[], yticks=[])
    return figure
