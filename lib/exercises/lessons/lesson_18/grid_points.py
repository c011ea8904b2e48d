"""The places where SAM asks for everything: the middles of n × n cells of a picture."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.values import in_single_precision

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def middles(n: int, side: float) -> Tensor:
    return (torch.arange(n) + 0.5) * side / n  # (n,)


def row_by_row(xs: Tensor, ys: Tensor) -> Tensor:
    """All pairs (n · n, 2), x first, those of the top row first."""
    return torch.cartesian_prod(ys, xs).flip(1)


def grid_points(n: int, size: tuple[int, int]) -> Tensor:
    """The course's own: what `lib.ops.mask_filters.point_grid` gives as shares, in pixels."""
    height, width = size
    return row_by_row(middles(n, width), middles(n, height))


def cases() -> list[Case]:
    by_hand = torch.tensor([[1.5, 1], [4.5, 1], [1.5, 3], [4.5, 3]])
    named = {
        "one point": (1, (5, 8)),
        "3 × 3 cells, a picture that is wider than high": (3, (7, 11)),
        "4 × 4 cells, a picture that is higher than wide": (4, (50, 30)),
        "5 × 5 cells, a square picture": (5, (24, 24)),
        "more cells than pixels": (3, (1, 2)),
    }
    made = [Case("2 × 2 cells of 2 × 3 pixels, worked by hand", (2, (4, 6)), by_hand)]
    return made + [Case(label, given, cell_by_cell(*given)) for label, given in named.items()]


def cell_by_cell(n: int, size: tuple[int, int]) -> Tensor:
    """The truth: of each cell the mean of its first and its last edge."""
    edges_y, edges_x = ([side * i / n for i in range(n + 1)] for side in size)
    pairs = [
        ((left + right) / 2, (top + bottom) / 2)
        for top, bottom in zip(edges_y, edges_y[1:])
        for left, right in zip(edges_x, edges_x[1:])
    ]
    return torch.tensor(pairs)


Places = Callable[[int, float], Tensor]  # from n and a side of the picture to (n,) places along it
Pairs = Callable[[Tensor, Tensor], Tensor]  # from (n,) xs and (n,) ys to points


def opened(
    places: Places = middles,
    pairs: Pairs = row_by_row,
    sides: Callable[[int, int], tuple[int, int]] = lambda height, width: (height, width),
) -> Callable[[int, tuple[int, int]], Tensor]:
    """`grid_points` with its decisions open: where along a side, which pairs in which order, and which sides."""

    def wrong(n: int, size: tuple[int, int]) -> Tensor:
        height, width = sides(*size)
        return pairs(places(n, width), places(n, height))

    return wrong


def in_whole_pixels(n: int, side: float) -> Tensor:
    cell = side // n
    return torch.arange(n) * float(cell) + cell // 2


HALF = "The first middle lies half a cell from the edge, and each other one a whole cell further on."

OF_PLACES: list[tuple[str, str, Places]] = [
    (
        "corners of the cells",
        "Your points are the left upper corners of the cells: the first one is (0, 0). Go on by half a cell, to the "
        "right and down.",
        lambda n, side: torch.arange(n) * side / n,
    ),
    (
        "last corners of the cells",
        "Your points are the right lower corners of the cells: the last one is (W, H). Go back by half a cell.",
        lambda n, side: (torch.arange(n) + 1) * side / n,
    ),
    (
        "from edge to edge",
        f"Your points begin at one edge of the picture, and (if n is above 1) end at the other. {HALF}",
        lambda n, side: torch.linspace(0, side, n),
    ),
    (
        "from edge to edge; divided by n − 1",
        f"Your points reach from one edge of the picture to the other, and for n = 1 you divide by 0. {HALF}",
        lambda n, side: torch.arange(n) / (n - 1) * side,
    ),
    (
        "from the first to the last pixel",
        f"Your points begin at 0, and (if n is above 1) end at W − 1 and H − 1. {HALF}",
        lambda n, side: torch.linspace(0, side - 1, n),
    ),
    (
        "n + 1 gaps",
        f"Your points cut a side into n + 1 equal pieces. There are n cells, and a point in the middle of each. {HALF}",
        lambda n, side: torch.linspace(0, side, n + 2)[1:-1],
    ),
    (
        "half a pixel too early",
        "Each of your points lies half a pixel too far to the left and too high. Here the picture spans 0 to W and 0 "
        "to H, so nothing is taken away.",
        lambda n, side: middles(n, side) - 0.5,
    ),
    (
        "half a pixel too late",
        "Each of your points lies half a pixel too far to the right and too low. Here the picture spans 0 to W and 0 "
        "to H, so nothing is added. (Half a *cell* is.)",
        lambda n, side: middles(n, side) + 0.5,
    ),
    (
        "half a pixel for half a cell",
        "You add half a pixel to the corner of a cell. Its middle lies half a *cell* further on.",
        lambda n, side: torch.arange(n) * side / n + 0.5,
    ),
    (
        "cells of whole pixels",
        "You rounded the sides of a cell down to whole pixels. A cell may end inside a pixel: W / n, not W // n.",
        lambda n, side: (torch.arange(n) + 0.5) * (side // n),
    ),
    (
        "whole pixels",
        "You rounded the sides of a cell down to whole pixels, and half of them, too. A cell may end inside a pixel, "
        "and so may its middle: `/`, not `//`.",
        in_whole_pixels,
    ),
]

OF_UNITS: list[tuple[str, str, Places]] = [
    (
        "shares of the picture",
        "You return shares of the picture's sides, 0 to 1. The task asks for pixels.",
        lambda n, side: (torch.arange(n) + 0.5) / n,
    ),
    (
        "cells for pixels",
        "You count in cells: your middles are 0.5, 1.5 and so on. How many pixels wide, and how high, is a cell?",
        lambda n, side: torch.arange(n) + 0.5,
    ),
]

COLUMNS = (
    "Your points come column by column. Row by row is asked: first the top row, from left to right. (The row is the "
    "outer loop, x changes faster.)"
)
Y_FIRST = "Your points are (y, x). x comes first."

OF_PAIRS: list[tuple[str, str, Pairs]] = [
    ("column by column", COLUMNS, torch.cartesian_prod),
    ("y before x", Y_FIRST, lambda xs, ys: torch.cartesian_prod(ys, xs)),
    (
        "bottom row first",
        "Your points begin with the bottom row. The top row comes first, with the smallest y.",
        lambda xs, ys: row_by_row(xs, ys.flip(0)),
    ),
    (
        "height and width exchanged",
        "Your first number, the one that changes faster, runs along the height, and your second along the width. "
        "`size` is (H, W), but a point is (x, y): x comes first, and runs along the width.",
        lambda xs, ys: torch.cartesian_prod(xs, ys).flip(1),
    ),
    (
        "the diagonal alone",
        "You return n points: the first x with the first y, the second with the second … Each x meets *each* y.",
        lambda xs, ys: torch.stack([xs, ys], dim=1),
    ),
    (
        "not in one row",
        "Your points are (n, n, 2), a table of rows and columns. The task asks for one long list, (n · n, 2).",
        lambda xs, ys: row_by_row(xs, ys).view(len(xs), len(xs), 2),
    ),
    (
        "stacked in front, then reshaped",
        "Your two tables of x and y were right, but `reshape` moves no axis: it made points of two x, and of two y. "
        "Stack them along a new *last* axis.",
        lambda xs, ys: row_by_row(xs, ys).T.reshape(-1, 2),
    ),
]


def draw_points(got: Any, expected: Tensor, case: Case) -> "Figure":
    """Your points and ours on the cells, joined in their order."""
    from matplotlib.figure import Figure  # here, because matplotlib takes longer to import than a check to run

    n, (height, width) = case.arguments
    figure = Figure(figsize=(4.5, 4.5), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.plot(*expected.T.numpy(), "o-", ms=12, color="tab:green", mfc="none", label="expected")
    axes.plot(*got.reshape(-1, 2).T.numpy(), "x--", ms=9, color="tab:red", label="yours")
    axes.set(
        xticks=[width * i / n for i in range(n + 1)], yticks=[height * i / n for i in range(n + 1)], aspect="equal"
    )
    axes.grid(True)
    axes.invert_yaxis()
    figure.legend(loc="outside lower center", ncols=2)
    return figure


EXERCISE = Exercise(
    name="grid_points",
    reference=grid_points,
    cases=cases,
    takes={"n": Kind.COUNT, "size": Kind.SIZE},
    gives=Kind.NUMBERS,
    observe=in_single_precision,
    mistakes=[
        *(Mistake(name, told, wrong=opened(places)) for name, told, places in OF_PLACES + OF_UNITS),
        *(Mistake(name, told, wrong=opened(pairs=pairs)) for name, told, pairs in OF_PAIRS),
        Mistake(
            "the width for both",
            "You took the width for y, too. A cell is W / n wide and H / n high.",
            wrong=opened(sides=lambda height, width: (width, width)),
        ),
        Mistake(
            "the height for both",
            "You took the height for x, too. A cell is W / n wide and H / n high.",
            wrong=opened(sides=lambda height, width: (height, height)),
        ),
        *(
            Mistake(f"{of_places}; {of_pairs}", f"Two things at once. {told} {also}", wrong=opened(places, pairs))
            for of_places, told, places in OF_PLACES
            for of_pairs, also, pairs in OF_PAIRS[:2]
        ),
        *(  # x and y are the same numbers there, so nobody can say which of the two it was
            Mistake(
                f"{name}; in another order",
                f"Two things at once. {told} And your points come column by column, or as (y, x).",
                wrong=opened(places, torch.cartesian_prod),
            )
            for name, told, places in OF_UNITS
        ),
    ],
    picture=draw_points,
)
