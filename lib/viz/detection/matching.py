"""A set of queries matched with the true boxes: who answers for which, and what each pair would cost (lesson 14)."""

from collections.abc import Sequence
from string import ascii_uppercase

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from lib.viz.basics.draw import PAGE
from lib.viz.basics.numbers import frame
from lib.viz.detection.boxes import (
    CLASS_COLOURS,
    box_patch,
    check_boxes,
    class_colour,
    place_tags,
    show_picture,
    thin_boxes,
)

UNMATCHED = "white"  # a query's box that no true box is given to
DASHES = (0, (3, 2))
MOST_TRUE, MOST_QUERIES = len(CLASS_COLOURS) - 1, 30  # a colour each; and more rows cannot be read
PHOTO, LEGEND = 4.3, 7.6  # inches: the longer side of the picture, and the width of the legend
COLUMN, ROW = 0.7, 0.29  # inches: a cell of the table
LINE, FOOT, GAP, RIM = 0.19, 0.38, 0.6, 0.08  # inches: a line of words, below all, between, around


def draw_matching(
    image: Tensor, boxes: Tensor, true_boxes: Tensor, cost: Tensor, queries: Tensor, names: Sequence[str]
) -> Figure:
    """The picture with true boxes (solid, lettered) and the queries' boxes (dashed, numbered); beside it what each
    pair costs.

    A chosen pair has the colour of its true box, in the picture and in the table. The cheapest query of a true box
    is underlined where another was chosen.

    Args:
        image: (3, H, W) floats 0..1.
        boxes: (Q, 4) xyxy pixels, what the queries answered; at most 30 of them.
        true_boxes: (n, 4) xyxy pixels, 1 to 7 of them, and not more than queries.
        cost: (Q, n).
        queries: (n,) whole numbers, for each true box in its order the query that it is given to.
        names: n, of the true boxes' classes.

    Raises:
        ValueError: a shape does not fit, there are too many, or a query is not there or was chosen twice.
    """
    boxes, true_boxes = check_boxes("boxes", boxes), check_boxes("true_boxes", true_boxes)
    _check(boxes, true_boxes, cost, queries, names)
    chosen = queries.tolist()
    cost = cost.detach().cpu()
    heads = ["\n".join((letter, *name.split())) for letter, name in zip(ascii_uppercase, names)]
    figure, photo, table = _sheets(image, *cost.shape, lines=1 + max(head.count("\n") for head in heads))
    show_picture(photo, image, dim=0.35)
    _boxes(photo, boxes, true_boxes, chosen)
    _costs(table, cost, chosen, heads)
    dashed = {"color": "#777777", "linewidth": 1.5}
    handles = [
        Line2D([], [], **dashed, label="A, B ...: a true box"),
        Line2D([], [], **dashed, linestyle="--", label="0, 1 ...: what a query answers"),
        Patch(facecolor="none", edgecolor="#777777", linewidth=2.5, label="chosen"),
    ]
    if (cost[queries.cpu(), range(len(chosen))] > cost.amin(dim=0)).any():
        handles.append(Line2D([], [], color="black", linewidth=1.5, label="cheapest of its column, not chosen"))
    figure.legend(handles=handles, loc="lower center", ncols=4, frameon=False, fontsize=8.5)
    return figure


def _check(boxes: Tensor, true_boxes: Tensor, cost: Tensor, queries: Tensor, names: Sequence[str]) -> None:
    most, count = len(boxes), len(true_boxes)
    if not 1 <= count <= min(most, MOST_TRUE) or most > MOST_QUERIES:
        raise ValueError(
            f"true_boxes has {count} boxes and boxes {most}; expected 1 to {MOST_TRUE} true ones, as many queries "
            f"or more, and at most {MOST_QUERIES}"
        )
    if cost.shape != (most, count):
        raise ValueError(f"cost is {tuple(cost.shape)}; expected {(most, count)}, queries × true boxes")
    chosen = set(queries.flatten().tolist())
    if queries.shape != (count,) or len(chosen) < count or not chosen <= set(range(most)):
        raise ValueError(f"queries is {queries.tolist()}; expected {count} different numbers in 0..{most - 1}")
    if len(names) != count:
        raise ValueError(f"names has {len(names)} entries; expected {count}, one for each true box")


def _sheets(image: Tensor, rows: int, columns: int, lines: int) -> tuple[Figure, Axes, Axes]:
    """A figure with room for the picture at the left and a table at the right, with `lines` above it."""
    high, wide = image.shape[-2:]
    photo = (PHOTO * min(1, wide / high), PHOTO * min(1, high / wide))  # width, height
    cells = (columns * min(COLUMN, (PAGE - photo[0] - GAP - 2 * RIM) / columns), rows * ROW)
    width, head = max(2 * RIM + photo[0] + GAP + cells[0], LEGEND), lines * LINE + 0.04
    height = RIM + max(photo[1], head + cells[1] + LINE) + FOOT
    figure = plt.figure(figsize=(width, height), facecolor="white")

    def place(left: float, top: float, size: tuple[float, float]) -> Axes:
        return figure.add_axes((left / width, 1 - (top + size[1]) / height, size[0] / width, size[1] / height))

    left = (width - photo[0] - GAP - cells[0]) / 2
    return figure, place(left, RIM, photo), place(left + photo[0] + GAP, RIM + head, cells)


def _boxes(axis: Axes, boxes: Tensor, true_boxes: Tensor, chosen: list[int]) -> None:
    """True boxes solid, those of queries dashed; letters and numbers, of which the chosen get the better places."""
    others = [query for query in range(len(boxes)) if query not in chosen]
    colours = [class_colour(place + 1) for place in range(len(true_boxes))]
    thin_boxes(axis, boxes[others], UNMATCHED, width=0.9, opacity=0.5, style=DASHES)  # faint beside the chosen ones
    for box, colour in zip(true_boxes, colours):
        box_patch(axis, box, colour, width=2.2)
    for query, colour in zip(chosen, colours):
        box_patch(axis, boxes[query], colour, width=2.0, style=DASHES)
    axis.set(xlim=axis.images[0].get_extent()[:2], ylim=axis.images[0].get_extent()[2:])
    texts = [*ascii_uppercase[: len(true_boxes)], *(str(query) for query in (*chosen, *others))]
    inches = axis.get_position().width * axis.figure.get_figwidth()
    tagged = torch.cat([true_boxes, boxes[[*chosen, *others]]])
    place_tags(axis, tagged, texts, colours * 2 + [UNMATCHED] * len(others), inches)


def _costs(axis: Axes, cost: Tensor, chosen: list[int], heads: list[str]) -> None:
    """The table (Q, n), cheap pairs darker, with a head for each column."""
    queries, count = cost.shape
    low, high = float(cost.min()), float(cost.max())
    axis.imshow(cost.numpy(), cmap="Greens_r", vmin=low - 0.6 * (high - low), vmax=high + 0.01, aspect="auto")
    for (query, truth), number in np.ndenumerate(cost.numpy()):
        axis.text(truth, query, f"{number:.2f}", ha="center", va="center", fontsize=8.5)
    for truth, (query, cheapest) in enumerate(zip(chosen, cost.argmin(dim=0).tolist())):
        frame(axis, query, truth, class_colour(truth + 1))
        if cost[cheapest, truth] < cost[query, truth]:
            axis.plot((truth - 0.27, truth + 0.27), (cheapest + 0.34, cheapest + 0.34), color="black", linewidth=1.5)
    axis.set_xticks(range(count), heads, fontsize=8.5)
    axis.set_yticks(range(queries), [str(query) for query in range(queries)], fontsize=8.5)
    axis.set_ylabel("query", fontsize=8.5)
    axis.set_xlabel("what each pair costs", fontsize=8.5)
    axis.tick_params(top=False, left=False, bottom=False, labeltop=True, labelbottom=False)
