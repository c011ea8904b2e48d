"""Where a detector that reads words begins: the cells that fit some word best, and a square around each."""

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
from lib.exercises.lessons.lesson_19._ways_to_select import (
    CHOSEN,
    PLACES,
    RANKS,
    SHAPES,
    Factors,
    Size,
    Two,
    best_first,
    best_of_columns,
    first_ones,
    opened,
    resized,
    sorted_best_first,
    two_words_two_queries,
    words_for_cells,
)
from lib.layers import query_selection
from lib.ops.boxes import box_cxcywh_to_xyxy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


RESIZED: dict[str, Factors] = {
    "divided by w and by h": lambda h, w: (1 / w, 1 / h),
    "divided by h and by w": lambda h, w: (1 / h, 1 / w),
    "divided by w": lambda h, w: (1 / w, 1 / w),
    "divided by max(h, w)": lambda h, w: (1 / max(h, w), 1 / max(h, w)),
    "times w and h": lambda h, w: (w, h),
}


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
            for name, told, made in RANKS[:-2]
        ),
        *(
            Mistake(
                f"side {done}",
                f"Your width and height are `side` {done}. `side` is a share of the picture already.",
                wrong=partial(resized, factors=factors),
            )
            for done, factors in RESIZED.items()
        ),
        *(
            Mistake(
                f"best of columns, {how}; {what}",
                "You take the maximum over the cells, for each token. Take it over the tokens, for each cell: axis 1.",
                wrong=partial(best_of_columns, choose=choose, word=what == "words"),
            )
            for how, choose in (("topk", best_first), ("sorted", sorted_best_first), ("unsorted", first_ones))
            for what in ("cells", "words")
        ),
        *(
            Mistake(
                f"words for cells{how}",
                "Your numbers are those of *words*: `argmax(1)`, or `max(1).indices`. Asked are the cells whose best "
                "words' values are highest.",
                wrong=partial(words_for_cells, choose=choose),
            )
            for how, choose in (("", best_first), (", the first ones", first_ones))
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
