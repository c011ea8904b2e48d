"""What each query of a detector has become a specialist of, seen over many pictures (lesson 14)."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from lib.viz.basics.draw import PAGE, panels

# Dark, medium and light, so that small dots are told apart by readers with and without colour blindness.
COLOURS = {"tall": "#0B3C9C", "wide": "#D55E00", "about square": "#6DBE45"}
ELONGATED = 1.25  # times as long as the other side: tall or wide
LARGEST, SMALLEST = 300.0, 1.5  # points²: of a dot for a box as large as the picture, and of the smallest dot
SPARE = 0.22  # inches between two rows that small titles do not need


def draw_queries(boxes: Tensor, kept: Tensor, columns: int = 6) -> Figure:
    """A small square for each query: the picture, with a dot at the middle of each box that the query answered with.

    The colour tells the shape of the box, the dot's area that of the box. An idea of Carion et al. 2020, figure 7.

    Args:
        boxes: (M, Q, 4) of M pictures: middle x and y, width, height, as shares of the picture.
        kept: (M, Q) bool, which answers count: those that are not "nothing".
        columns: squares in a row.

    Raises:
        ValueError: a shape does not fit, or there is no query.
    """
    if boxes.ndim != 3 or boxes.shape[2] != 4 or boxes.shape[1] == 0:
        raise ValueError(f"boxes is {tuple(boxes.shape)}; expected (M, Q, 4), at least one query")
    if kept.shape != boxes.shape[:2] or kept.dtype != torch.bool:
        raise ValueError(f"kept is {tuple(kept.shape)} {kept.dtype}; expected {tuple(boxes.shape[:2])} bool, as boxes")
    queries = boxes.shape[1]
    figure, axes = panels(queries, columns, PAGE / 6)
    figure.set_figheight(figure.get_figheight() - SPARE * (-(-queries // columns) - 1))
    for number, axis in enumerate(axes):
        answers = boxes[:, number][kept[:, number]].detach().cpu()  # (m, 4)
        _dots(axis, answers)
        axis.set_title(f"query {number}: {len(answers)}", fontsize=9 if columns <= 7 else 8, pad=3)
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="", markersize=7, label=shape)
        for shape, colour in COLOURS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def shapes_of(boxes: Tensor) -> dict[str, Tensor]:
    """Which of the boxes (m, 4) are tall, wide, and about square, (m,) bool each; no side is 1.25 × the other there."""
    width, height = boxes[:, 2], boxes[:, 3]
    tall, wide = height > ELONGATED * width, width > ELONGATED * height
    return {"tall": tall, "wide": wide, "about square": ~tall & ~wide}


def _dots(axis: Axes, boxes: Tensor) -> None:
    """The middles of boxes (m, 4), the large ones below the small ones."""
    boxes = boxes[(boxes[:, 2] * boxes[:, 3]).argsort(descending=True)]
    colours = [""] * len(boxes)
    for shape, which in shapes_of(boxes).items():
        for place in which.nonzero()[:, 0].tolist():
            colours[place] = COLOURS[shape]
    areas = (boxes[:, 2] * boxes[:, 3] * LARGEST).clamp(min=SMALLEST)
    axis.scatter(boxes[:, 0], boxes[:, 1], s=areas, c=colours or None, alpha=0.75, linewidths=0.3, edgecolors="white")
    axis.axis("on")
    axis.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[], aspect="equal")
    axis.spines[:].set_color("#888888")
