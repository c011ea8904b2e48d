"""Where a detector that reads words begins: the cells that fit some word best, and a square around each."""

from collections.abc import Callable
from functools import partial
from itertools import product
from math import inf
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.values import in_single_precision
from lib.layers import query_selection
from lib.ops.boxes import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Size = tuple[int, int]  # h, w
Two = tuple[Tensor, Tensor]  # cells (num_queries,), boxes (num_queries, 4)


def select_queries(logits: Tensor, num_queries: int, size: Size, side: float) -> Two:
    """The course's own, `select_queries` and `first_boxes` of `lib.layers.query_selection` for one picture."""
    cells = query_selection.select_queries(logits[None], num_queries)[0]
    padding = torch.zeros(size, dtype=torch.bool)
    boxes = query_selection.first_boxes(padding[None], side)[0]  # (h·w, 4)
    return cells, boxes[cells]


def cases() -> list[Case]:
    fits: list[list[float]] = [[-3.0, -2], [-1, 2], [0, 0.5], [3, 2.5], [-2, -4], [1, -5]]  # of 2 × 3 cells
    by_hand = torch.tensor([[*words, -inf] for words in fits]), 3, (2, 3), 0.25
    chosen = torch.tensor([3, 1, 5])
    boxes = torch.tensor([[1 / 6, 3 / 4, 0.25, 0.25], [3 / 6, 1 / 4, 0.25, 0.25], [5 / 6, 3 / 4, 0.25, 0.25]])
    label = '2 × 3 cells, 3 queries, the tokens "red", "cone" and ".": worked by hand'
    shapes = {  # h, w, T, num_queries, side, tokens that are no words, what is added to the logits
        "5 × 4 cells, 7 tokens": (5, 4, 7, 6, 0.05, (2, 6), 0.0),
        "all logits are below 0": (3, 6, 5, 4, 0.2, (1, 4), -9.0),
        "as many queries as cells": (3, 2, 4, 6, 0.125, (3,), 0.0),
        "a map of 4 × 4 cells, 4 tokens, 4 queries": (4, 4, 4, 4, 0.3, (0, 2), 0.0),
        "one row of cells": (1, 7, 3, 3, 0.1, (2,), 0.0),
        "one column of cells": (6, 1, 4, 2, 0.15, (0, 3), 0.0),
        "one query": (4, 7, 5, 1, 0.08, (3,), 0.0),
        "one token": (3, 4, 1, 5, 0.4, (), 0.0),
        "more queries than tokens; a large side": (6, 3, 2, 9, 0.9, (1,), 1.0),
        "no queries": (2, 3, 4, 0, 0.05, (2,), 0.0),
    }
    made = [Case(label, by_hand, (chosen, boxes))]
    for seed, (label, (height, width, length, number, side, others, moved)) in enumerate(shapes.items()):
        logits = 2 * random_values(height * width, length, seed=seed) + moved
        logits[:, list(others)] = -inf
        given = logits, number, (height, width), side
        made.append(Case(label, given, cell_by_cell(*given)))
    return made


def cell_by_cell(logits: Tensor, num_queries: int, size: Size, side: float) -> Two:
    """The truth: all cells with the mean of their first and last edges, sorted by their best word."""
    height, width = size
    table: list[tuple[float, int, tuple[float, float, float, float]]] = []
    for row, column in product(range(height), range(width)):
        cell = len(table)
        x, y = (column / width + (column + 1) / width) / 2, (row / height + (row + 1) / height) / 2
        table.append((max(logits[cell].tolist()), cell, (x, y, side, side)))
    best = sorted(table, reverse=True)[:num_queries]
    cells = torch.tensor([cell for _, cell, _ in best], dtype=torch.int64)
    return cells, torch.tensor([box for *_, box in best]).reshape(-1, 4)


# --- mistakes ---------------------------------------------------------------------------------------------------------


def best_word(logits: Tensor) -> Tensor:
    return logits.amax(1)


def best_first(values: Tensor, number: int) -> Tensor:
    return values.topk(number).indices


def sorted_best_first(values: Tensor, number: int) -> Tensor:
    return values.argsort(descending=True)[:number]


def middles(cells: Tensor, height: int, width: int) -> Tensor:
    return stacked((cells % width + 0.5) / width, (cells // width + 0.5) / height)


def stacked(x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([x, y], dim=1)  # (num_queries, 2)


def squares(xy: Tensor, side: float) -> Tensor:
    return torch.cat([xy, torch.full_like(xy, side)], dim=1)


def opened(
    logits: Tensor,
    num_queries: int,
    size: Size,
    side: float,
    rank: Callable[[Tensor], Tensor] = best_word,
    choose: Callable[[Tensor, int], Tensor] = best_first,
    place: Callable[[Tensor, int, int], Tensor] = middles,
    shape: Callable[[Tensor, float], Tensor] = squares,
) -> Two:
    """`select_queries` with its decisions open.

    Args:
        rank: from the logits to a number for each cell. choose: from these to the cells.
        place: from cells, h and w to middles (N, 2). shape: from these and `side` to boxes.
    """
    cells = choose(rank(logits), num_queries)
    return cells, shape(place(cells, *size), side)


def two_words_two_queries(logits: Tensor, num_queries: int, size: Size, side: float, divided: bool = True) -> Two:
    """The best pairs of cell and word, whosever they are."""
    best = logits.flatten().topk(num_queries).indices
    cells = best // logits.shape[1] if divided else best
    return cells, squares(middles(cells, *size), side)


def cut_off(xy: Tensor, side: float) -> Tensor:
    return box_xyxy_to_cxcywh(box_cxcywh_to_xyxy(squares(xy, side)).clamp(0, 1))


def edge_to_edge(cells: Tensor, height: int, width: int) -> Tensor:
    return stacked(torch.linspace(0, 1, width)[cells % width], torch.linspace(0, 1, height)[cells // width])


Way = tuple[str, str, dict[str, Any]]

RANKS: list[Way] = [
    (
        "all tokens averaged",
        "You rank the cells by a mean or a sum over all tokens: with one −∞ among them that is −∞, for all cells "
        "alike. Their best word counts.",
        {"rank": lambda logits: logits.mean(1)},
    ),
    (
        "softmax over the words",
        "You took a softmax over the words of a cell first. Then a cell that fits all words badly may come first. "
        "Compare the logits themselves.",
        {"rank": lambda logits: logits.softmax(1).amax(1)},
    ),
    (
        "0 for −∞",
        "You put 0 where the logits are −∞. A cell whose words all have logits below 0 then has a separator for its "
        "best word. Leave −∞ as it is: no word is worse.",
        {"rank": lambda logits: logits.masked_fill(logits == -inf, 0).amax(1)},
    ),
    (
        "all words averaged",
        "You rank the cells by the sum or the mean of their words' probabilities. A cell with a cone need not fit "
        "the sphere, too: its best word counts.",
        {"rank": lambda logits: logits.sigmoid().sum(1)},
    ),
]
CHOSEN: list[Way] = [
    (
        "the worst cells",
        "You take the cells whose best word fits worst. Sorting goes upwards unless you say `descending=True`.",
        {"choose": lambda values, number: values.argsort()[:number]},
    ),
    (
        "in the order of the map",
        "You found the right cells, in the order of the map. Asked is the best one first.",
        {"choose": lambda values, number: best_first(values, number).sort().values},
    ),
    (
        "the best one last",
        "You found the right cells, but the best one stands last. It comes first. And for no queries you return all "
        "cells: `x[-0:]` is the whole of x.",
        {"choose": lambda values, number: values.argsort()[-number:]},
    ),
    (
        "all for none",
        "Right, but for no queries you return all cells: `x[-0:]` is the whole of x.",
        {"choose": lambda values, number: values.argsort()[-number:].flip(0)},
    ),
]
MIDDLE = "The middle of a cell lies half a cell behind its first edge."

PLACES: list[Way] = [
    (
        "corners of the cells",
        f"Your boxes lie around the left upper corners of the cells. {MIDDLE}",
        {"place": lambda cells, h, w: stacked(cells % w / w, cells // w / h)},
    ),
    (
        "y before x",
        "Your boxes begin with y. x comes first: the column.",
        {"place": lambda cells, h, w: middles(cells, h, w).flip(1)},
    ),
    (
        "column by column",
        "You read the cells column by column. They are numbered row by row: cell 1 lies to the right of cell 0.",
        {"place": lambda cells, h, w: stacked((cells // h + 0.5) / w, (cells % h + 0.5) / h)},
    ),
    (
        "rows of h cells",
        "You cut the list of cells into rows of h cells. A row has as many cells as the map is wide.",
        {"place": lambda cells, h, w: stacked((cells % h + 0.5) / w, (cells // h + 0.5) / h)},
    ),
    (
        "row from h, column from w",
        "Your columns are right, but you divided by h for the row. A row has w cells: divide by w there, too.",
        {"place": lambda cells, h, w: stacked((cells % w + 0.5) / w, (cells // h + 0.5) / h)},
    ),
    (
        "h and w exchanged in the end",
        "You divided the columns by h, and the rows by w. A map is w cells wide and h cells high.",
        {"place": lambda cells, h, w: stacked((cells % w + 0.5) / h, (cells // w + 0.5) / w)},
    ),
    (
        "cells for shares",
        "Your middles are counted in cells. Asked are shares of the picture, 0..1: divide by w and by h.",
        {"place": lambda cells, h, w: stacked(cells % w + 0.5, cells // w + 0.5)},
    ),
    (
        "half a picture for half a cell",
        f"You added 0.5 after dividing: half a picture. {MIDDLE}",
        {"place": lambda cells, h, w: stacked(cells % w / w + 0.5, cells // w / h + 0.5)},
    ),
    ("from edge to edge", f"Your middles reach from edge to edge of the picture. {MIDDLE}", {"place": edge_to_edge}),
]
SHAPES: list[Way] = [
    (
        "corners returned",
        "You return two corners. Asked are the middle, width and height.",
        {"shape": lambda xy, side: box_cxcywh_to_xyxy(squares(xy, side))},
    ),
    (
        "corner and size",
        "You return the left upper corner and the size. The *middle* comes first.",
        {"shape": lambda xy, side: squares(xy - side / 2, side)},
    ),
    (
        "cut off at the picture's edge",
        "You cut off what reaches out of the picture. Here every box is `side` wide and high, at the edge, too.",
        {"shape": cut_off},
    ),
]


def draw_boxes(got: Any, expected: Two, case: Case) -> "Figure | None":
    """The boxes, on the cells of the map."""
    height, width = case.arguments[2]
    figure = compare_boxes(box_cxcywh_to_xyxy(got[1]), box_cxcywh_to_xyxy(expected[1]), case)
    if figure is not None:
        (axes,) = figure.axes
        axes.set_xticks([i / width for i in range(width + 1)], [f"{i}/{width}" for i in range(width + 1)])
        axes.set_yticks([i / height for i in range(height + 1)], [f"{i}/{height}" for i in range(height + 1)])
        axes.set(aspect=height / width)
        axes.grid(True)
    return figure


EXERCISE = Exercise(
    name="select_queries",
    reference=select_queries,
    cases=cases,
    takes={"num_queries": Kind.COUNT, "size": Kind.SIZE},
    gives=(Kind.INDICES, Kind.NUMBERS),
    observe=in_single_precision,
    mistakes=[
        *(
            Mistake(name, told, wrong=partial(opened, **made))
            for name, told, made in (*RANKS, *CHOSEN, *PLACES, *SHAPES)
        ),
        *(  # cells that are alike come in another order
            Mistake(f"{name}; by sorting", told, wrong=partial(opened, **made, choose=sorted_best_first))
            for name, told, made in RANKS[:-1]
        ),
        Mistake(
            "a cell twice",
            "You take the best pairs of cell and word, so that a cell that fits two words comes twice. Each cell comes "
            "once, with its best word.",
            wrong=two_words_two_queries,
        ),
        Mistake(
            "pairs of cell and word",
            "Your numbers are places in the list of all h · w · T logits. Asked are cells, places among the h · w: "
            "take the best word of each cell first.",
            wrong=partial(two_words_two_queries, divided=False),
        ),
        *(
            Mistake(f"{one}; {other}", f"Two things at once. {told} {also}", wrong=partial(opened, **a, **b))
            for first, second in ((CHOSEN[:3], PLACES[:3]), (CHOSEN[:3], SHAPES[:2]), (PLACES[:6], SHAPES[:2]))
            for (one, told, a), (other, also, b) in product(first, second)
        ),
    ],
    picture=draw_boxes,
)
