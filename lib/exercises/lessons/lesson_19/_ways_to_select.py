"""What can be decided otherwise in `select_queries`, and what is said of it."""

from collections.abc import Callable
from math import inf
from typing import Any

import torch
from torch import Tensor

from lib.ops.boxes import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh

Size = tuple[int, int]  # h, w
Two = tuple[Tensor, Tensor]  # cells (num_queries,), boxes (num_queries, 4)
Choice = Callable[[Tensor, int], Tensor]  # a number for each cell, and how many -> the cells


def best_word(logits: Tensor) -> Tensor:
    return logits.amax(1)


def best_first(values: Tensor, number: int) -> Tensor:
    return values.topk(number).indices


def sorted_best_first(values: Tensor, number: int) -> Tensor:
    return values.argsort(descending=True)[:number]


def first_ones(values: Tensor, number: int) -> Tensor:
    return torch.arange(len(values))[:number]


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
    choose: Choice = best_first,
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


Factors = Callable[[int, int], tuple[float, float]]  # from h and w to what width and height are multiplied by


def resized(logits: Tensor, num_queries: int, size: Size, side: float, factors: Factors) -> Two:
    cells, boxes = opened(logits, num_queries, size, side)
    return cells, boxes * torch.tensor([1, 1, *factors(*size)])


def best_of_columns(logits: Tensor, num_queries: int, size: Size, side: float, choose: Choice, word: bool) -> Two:
    values, cells = logits.max(0)
    places = choose(values, num_queries)  # of tokens
    return opened(logits, num_queries, size, side, choose=lambda *_: places if word else cells[places])


def words_for_cells(logits: Tensor, num_queries: int, size: Size, side: float, choose: Choice) -> Two:
    values, words = logits.max(1)
    return opened(logits, num_queries, size, side, choose=lambda *_: words[choose(values, num_queries)])


def cut_off(xy: Tensor, side: float) -> Tensor:
    return box_xyxy_to_cxcywh(box_cxcywh_to_xyxy(squares(xy, side)).clamp(0, 1))


def edge_to_edge(cells: Tensor, height: int, width: int) -> Tensor:
    return stacked(torch.linspace(0, 1, width)[cells % width], torch.linspace(0, 1, height)[cells // width])


Way = tuple[str, str, dict[str, Any]]

RANKS: list[Way] = [
    (
        "the first token alone",
        "You look at the first column of the logits alone. A cell counts as much as the best of *all* its words.",
        {"rank": lambda logits: logits[:, 0]},
    ),
    (
        "the number of the best word",
        "You rank the cells by `argmax`: *which* word is a cell's best. What counts is how well it fits, the maximum.",
        {"rank": lambda logits: logits.argmax(1)},
    ),
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
    (
        "the first word alone",
        "You look at the first word alone. A cell counts as much as the best of *all* its words.",
        {"rank": lambda logits: logits[:, (logits[0] > -inf).nonzero()[0, 0]]},
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
        "the best one last; none for none",
        "You found the right cells, but the best one stands last. It comes first.",
        {"choose": lambda values, number: best_first(values, number).flip(0)},
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
    (
        "ends of the cells",
        f"You added 1 to the numbers of column and row. {MIDDLE}",
        {"place": lambda cells, h, w: stacked((cells % w + 1) / w, (cells // w + 1) / h)},
    ),
    (
        "row with a fraction",
        "Your x is right, but for the row you divide by w with `/`. Only the whole part says the row: `//`.",
        {"place": lambda cells, h, w: stacked((cells % w + 0.5) / w, (cells / w + 0.5) / h)},
    ),
    (
        "y divided by w",
        "Your x is right, but you divide the row by w to make a share of it. A map is h cells high.",
        {"place": lambda cells, h, w: stacked((cells % w + 0.5) / w, (cells // w + 0.5) / w)},
    ),
    (
        "x divided by h",
        "Your y is right, but you divide the column by h to make a share of it. A map is w cells wide.",
        {"place": lambda cells, h, w: stacked((cells % w + 0.5) / h, (cells // w + 0.5) / h)},
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
    *(
        (
            f"{name} of `side`",
            f"Your boxes are {name} of `side` wide and high. Take `side` itself.",
            {"shape": lambda xy, side, factor=factor: squares(xy, factor * side)},
        )
        for name, factor in (("half", 0.5), ("twice", 2))
    ),
]
