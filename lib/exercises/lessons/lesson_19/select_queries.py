"""Where a detector that reads words begins: the cells that fit some word best, and a square around each."""

from collections.abc import Callable
from functools import partial
from itertools import product
from math import inf
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

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


def squares(xy: Tensor, side: float, height: int, width: int) -> Tensor:
    return torch.cat([xy, torch.full_like(xy, side)], dim=1)


def opened(
    logits: Tensor,
    num_queries: int,
    size: Size,
    side: float,
    rank: Callable[[Tensor], Tensor] = best_word,
    choose: Callable[[Tensor, int], Tensor] = best_first,
    place: Callable[[Tensor, int, int], Tensor] = middles,
    shape: Callable[[Tensor, float, int, int], Tensor] = squares,
    told: Callable[[Tensor, Tensor], Tensor] = lambda cells, values: cells,
    boxed: Callable[[Tensor, int], Tensor] = lambda cells, number: cells,
) -> Two:
    """`select_queries` with its decisions open.

    Args:
        rank: from the logits to a number for each cell. choose: from these to the cells.
        place: from cells, h and w to middles (N, 2). shape: from middles, `side`, h and w to boxes.
        told: which numbers are returned for cells. boxed: which cells get boxes, of the chosen ones and all h·w.
    """
    values = rank(logits)
    cells = choose(values, num_queries)
    xy = place(boxed(cells, len(logits)), *size)
    return told(cells, values), shape(xy, side, *size)


def two_words_two_queries(logits: Tensor, num_queries: int, size: Size, side: float, divided: bool = True) -> Two:
    """The best pairs of cell and word, whosever they are."""
    best = logits.flatten().topk(num_queries).indices
    cells = best // logits.shape[1] if divided else best
    return cells, squares(middles(cells, *size), side, *size)


def best_of_each_word(logits: Tensor, num_queries: int, size: Size, side: float) -> Two:
    values, cells = logits.max(0)
    cells = cells[values.topk(num_queries).indices]
    return cells, squares(middles(cells, *size), side, *size)


def words_for_cells(
    logits: Tensor, num_queries: int, size: Size, side: float, chosen: Callable[[Tensor, int], Tensor]
) -> Two:
    words = chosen(logits, num_queries)
    return words, squares(middles(words, *size), side, *size)


def cut_off(xy: Tensor, side: float, height: int, width: int) -> Tensor:
    return box_xyxy_to_cxcywh(box_cxcywh_to_xyxy(squares(xy, side, height, width)).clamp(0, 1))


def from_corner(xy: Tensor, side: float, height: int, width: int) -> Tensor:
    return squares(xy - side / 2, side, height, width)


def to_corner(xy: Tensor, side: float, height: int, width: int) -> Tensor:
    return box_cxcywh_to_xyxy(squares(xy, side, height, width))


def of_cells(xy: Tensor, width: float, height: float) -> Tensor:
    return torch.cat([xy, xy.new_tensor([width, height]).expand_as(xy)], dim=1)


def in_cells(cells: Tensor, height: int, width: int) -> Tensor:
    return stacked(cells % width + 0.5, cells // width + 0.5)


def edge_to_edge(cells: Tensor, height: int, width: int) -> Tensor:
    return stacked(torch.linspace(0, 1, width)[cells % width], torch.linspace(0, 1, height)[cells // width])


Way = tuple[str, str, dict[str, Any]]

RANKS: list[tuple[str, str, Callable[[Tensor], Tensor]]] = [
    (
        "the first token alone",
        "You rank the cells by how well they fit the first token. Their best word counts, whichever it is.",
        lambda logits: logits[:, 0],
    ),
    (
        "the last token alone",
        "You rank the cells by how well they fit the last token. Their best word counts, whichever it is.",
        lambda logits: logits[:, -1],
    ),
    (
        "all tokens averaged",
        "You rank the cells by a mean or a sum over all tokens: with one −∞ among them that is −∞, for all cells "
        "alike. Their best word counts.",
        lambda logits: logits.mean(1),
    ),
    (
        "all words averaged",
        "You rank the cells by the sum or the mean of their words' probabilities. A cell with a cone need not fit "
        "the sphere, too: its best word counts.",
        lambda logits: logits.sigmoid().sum(1),
    ),
    (
        "softmax over the words",
        "You took a softmax over the words of a cell first. Then a cell that fits all words badly may come first. "
        "Compare the logits themselves.",
        lambda logits: logits.softmax(1).amax(1),
    ),
    (
        "softmax over the cells",
        "You took a softmax over the cells first. Then each word has its own scale. Compare the logits themselves.",
        lambda logits: logits.softmax(0).nan_to_num(-inf).amax(1),
    ),
    (
        "0 for −∞",
        "You put 0 where the logits are −∞. A cell whose words all have logits below 0 then has a separator for its "
        "best word. Leave −∞ as it is: no word is worse.",
        lambda logits: logits.masked_fill(logits == -inf, 0).amax(1),
    ),
]
CHOSEN: list[Way] = [
    (
        "the worst cells",
        "You take the cells whose best word fits worst. Sorting goes upwards unless you say `descending=True`.",
        {"choose": lambda values, number: values.argsort()[:number]},
    ),
    (
        "the best one last",
        "You found the right cells, but the best one stands last. It comes first.",
        {"choose": lambda values, number: best_first(values, number).flip(0)},
    ),
    (
        "in the order of the map",
        "You found the right cells, in the order of the map. Asked is the best one first.",
        {"choose": lambda values, number: best_first(values, number).sort().values},
    ),
    (
        "the best one last, all for none",
        "You found the right cells, but the best one stands last. It comes first. And for no queries you return all "
        "cells: `x[-0:]` is the whole of x.",
        {"choose": lambda values, number: values.argsort()[-number:]},
    ),
    (
        "all for none",
        "Right, but for no queries you return all cells: `x[-0:]` is the whole of x.",
        {"choose": lambda values, number: values.argsort()[-number:].flip(0)},
    ),
    (
        "all cells",
        "You return all cells, sorted. Asked are the first `num_queries` of them.",
        {"choose": lambda values, number: best_first(values, len(values))},
    ),
    (
        "logits for cells",
        "Your first result holds the cells' logits. Asked are their places on the map: `topk` and `max` give both.",
        {"told": lambda cells, values: values[cells]},
    ),
    (
        "boxes of all cells",
        "You return a box for each cell of the map. Asked are those of the chosen cells.",
        {"boxed": lambda cells, number: torch.arange(number)},
    ),
    (
        "boxes of the first cells",
        "The cells are right, but your boxes are those of the map's first cells. Take the boxes of the chosen ones.",
        {"boxed": lambda cells, number: torch.arange(len(cells))},
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
        {"place": in_cells},
    ),
    (
        "half a picture for half a cell",
        f"You added 0.5 after dividing: half a picture. {MIDDLE}",
        {"place": lambda cells, h, w: stacked(cells % w / w + 0.5, cells // w / h + 0.5)},
    ),
    (
        "from edge to edge",
        f"Your middles reach from edge to edge of the picture. {MIDDLE}",
        {"place": edge_to_edge},
    ),
    (
        "divided by w − 1 and h − 1",
        f"You divided by w − 1 and h − 1. {MIDDLE} And w cells lie side by side.",
        {"place": lambda cells, h, w: stacked(cells % w / (w - 1), cells // w / (h - 1))},
    ),
]
SHAPES: list[Way] = [
    ("corners returned", "You return two corners. Asked are the middle, width and height.", {"shape": to_corner}),
    (
        "corner and size",
        "You return the left upper corner and the size. The *middle* comes first.",
        {"shape": from_corner},
    ),
    (
        "half the side",
        "Your boxes are side / 2 wide and high. They are `side` wide, so side / 2 to each side of the middle.",
        {"shape": lambda xy, side, h, w: squares(xy, side / 2, h, w)},
    ),
    (
        "twice the side",
        "Your boxes are 2 · side wide and high.",
        {"shape": lambda xy, side, h, w: squares(xy, 2 * side, h, w)},
    ),
    (
        "side in cells",
        "You divided `side` by w and by h. It is a share of the picture already.",
        {"shape": lambda xy, side, h, w: of_cells(xy, side / w, side / h)},
    ),
    (
        "side times w and h",
        "You multiplied `side` by w and by h. It is a share of the picture, as the task asks.",
        {"shape": lambda xy, side, h, w: of_cells(xy, side * w, side * h)},
    ),
    (
        "as large as a cell",
        "Your boxes are as large as a cell. They are `side` wide and high.",
        {"shape": lambda xy, side, h, w: of_cells(xy, 1 / w, 1 / h)},
    ),
    (
        "cut off at the picture's edge",
        "You cut off what reaches out of the picture. Here every box is `side` wide and high, at the edge, too.",
        {"shape": cut_off},
    ),
]
ALIKE = ("the first token alone", "the last token alone", "all tokens averaged", "softmax over the words", "0 for −∞")


def draw_boxes(got: Any, expected: Two, case: Case) -> "Figure":
    """The map, with the boxes around the chosen cells; the numbers are the cells, the best one is drawn thickest."""
    from matplotlib.figure import Figure  # here, because matplotlib takes longer to import than a check to run

    _, _, (height, width), _ = case.arguments
    figure = Figure(figsize=(7, 3.8), layout="constrained", facecolor="white")
    for axes, title, (cells, boxes) in zip(figure.subplots(1, 2), ("yours", "expected"), (got, expected)):
        for rank, (cell, (x, y, w, h)) in enumerate(zip(cells.tolist(), boxes.tolist())):
            left, top = x - w / 2, y - h / 2
            axes.plot(
                [left, left + w, left + w, left, left],
                [top, top, top + h, top + h, top],
                color="tab:red" if title == "yours" else "tab:green",
                linewidth=4 / (1 + rank) + 0.6,
            )
            axes.text(x, y, cell, ha="center", va="center")
        axes.set(title=title, xlabel="x", ylabel="y", aspect=height / width)
        axes.set_xticks([i / width for i in range(width + 1)], [f"{i}/{width}" for i in range(width + 1)])
        axes.set_yticks([i / height for i in range(height + 1)], [f"{i}/{height}" for i in range(height + 1)])
        axes.grid(True)
        axes.invert_yaxis()
    return figure


EXERCISE = Exercise(
    name="select_queries",
    reference=select_queries,
    cases=cases,
    takes={"num_queries": Kind.COUNT, "size": Kind.SIZE},
    gives=(Kind.INDICES, Kind.NUMBERS),
    observe=in_single_precision,
    mistakes=[
        *(Mistake(name, told, wrong=partial(opened, rank=rank)) for name, told, rank in RANKS),
        *(  # cells that are alike come in another order
            Mistake(f"{name}; by sorting", told, wrong=partial(opened, rank=rank, choose=sorted_best_first))
            for name, told, rank in RANKS
            if name in ALIKE
        ),
        *(Mistake(name, told, wrong=partial(opened, **made)) for name, told, made in (*CHOSEN, *PLACES, *SHAPES)),
        Mistake(
            "all in cells",
            "Your boxes are right, but counted in cells. Asked are shares of the picture, 0..1.",
            wrong=partial(opened, place=in_cells, shape=lambda xy, side, h, w: of_cells(xy, side * w, side * h)),
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
        Mistake(
            "the best cell of each word",
            "You look for the best cell of each token, so you have T cells at most. Look for the best word of each "
            "cell.",
            wrong=best_of_each_word,
        ),
        *(
            Mistake(
                name,
                "Your numbers are those of words, the columns of `logits`. Asked are cells, its rows.",
                wrong=partial(words_for_cells, chosen=chosen),
            )
            for name, chosen in {
                "words of the first cells": lambda logits, number: logits.argmax(1)[:number],
                "words of the best cells": lambda logits, number: logits.argmax(1)[best_word(logits).topk(number)[1]],
                "words of the best pairs": lambda logits, number: logits.flatten().topk(number)[1] % logits.shape[1],
            }.items()
        ),
        *(
            Mistake(f"{one}; {other}", f"Two things at once. {told} {also}", wrong=partial(opened, **a, **b))
            for first, second in ((CHOSEN[:3], PLACES[:3]), (CHOSEN[:3], SHAPES[:2]), (PLACES[:6], SHAPES[:5]))
            for (one, told, a), (other, also, b) in product(first, second)
        ),
    ],
    picture=draw_boxes,
)
