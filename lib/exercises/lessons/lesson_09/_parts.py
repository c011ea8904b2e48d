"""Pictures of boxes on the grid of cells, for the exercises of lesson 09."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def compare_on_cells(got: Any, expected: Any, case: Case, cells: tuple[int, int], stride: int) -> "Figure | None":
    """Draws boxes (N, 4) xyxy, a learner's and the expected ones, over `cells` (rows, columns) of `stride` pixels."""
    figure = compare_boxes(got, expected, case)
    if figure is not None:
        (axes,) = figure.axes
        axes.set_xticks(range(0, cells[1] * stride + 1, stride))
        axes.set_yticks(range(0, cells[0] * stride + 1, stride))
        axes.grid(color="#999999", linewidth=0.6)
    return figure


def corners_of_cells(rows: int, columns: int) -> Tensor:
    """The left upper corner of every cell, in cells: (rows, columns, 2) x, y."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([x, y], dim=2).float()
