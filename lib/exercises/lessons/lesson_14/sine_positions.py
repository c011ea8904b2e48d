"""Where is a cell? Its row and its column, as waves."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.layers.position import PositionEmbeddingSine


def sine_positions(height: int, width: int, num_features: int) -> Tensor:
    """The course's own, `lib.layers.position.PositionEmbeddingSine`, for one picture without padding."""
    return PositionEmbeddingSine(num_features, normalize=True)(torch.zeros(1, height, width, dtype=torch.bool))[0]


def cases() -> list[Case]:
    named = {
        "2 rows, 3 columns, 4 numbers for each": (2, 3, 4),
        "more rows than columns, 3 waves": (5, 3, 6),
        "as many rows as columns, 4 waves": (4, 4, 8),
        "one wave": (3, 2, 2),
        "a map of one row": (1, 4, 4),
        "a map of one column": (4, 1, 6),
        "the lesson's map, 12 × 12": (12, 12, 48),
    }
    return [Case(label, numbers, cell_by_cell(*numbers)) for label, numbers in named.items()]


def cell_by_cell(height: int, width: int, num_features: int) -> Tensor:
    """The truth, number by number."""
    codes = torch.zeros(2 * num_features, height, width)
    for row in range(height):
        for column in range(width):
            shares = [(row + 1) / height] * num_features + [(column + 1) / width] * num_features
            for channel, share in enumerate(shares):
                wave, is_cosine = divmod(channel % num_features, 2)
                angle = 2 * math.pi * share / 10000 ** (2 * wave / num_features)
                codes[channel, row, column] = math.cos(angle) if is_cosine else math.sin(angle)
    return codes


def in_turn(sine: Tensor, cosine: Tensor) -> Tensor:
    return torch.stack([sine, cosine], dim=-1).flatten(-2)


def rows_then_columns(rows: Tensor, columns: Tensor) -> Tensor:
    return torch.cat([rows, columns])


def coded(
    height: int,
    width: int,
    num_features: int,
    place: Callable[[Tensor, int], Tensor] = lambda number, count: 2 * math.pi * (number + 1) / count,
    counts: Callable[[int, int], tuple[int, int]] = lambda height, width: (height, width),
    angles: Callable[[Tensor, Tensor, int], Tensor] = lambda place, i, f: place / 10000 ** (2 * i / f),
    order: Callable[[Tensor, Tensor], Tensor] = in_turn,
    joined: Callable[[Tensor, Tensor], Tensor] = rows_then_columns,
    cosine_later: float = 0,
) -> Tensor:
    """`sine_positions` with its decisions open.

    Args:
        place: from the numbers of rows (from 0), and how many there are, to where they lie; of columns, too.
        counts: by how many the rows' numbers are divided, and the columns'.
        angles: from places (N, 1), the numbers i of the waves (F/2,), and F, to what sine and cosine are taken of.
        order: from sines (N, F/2) and cosines (N, F/2) to a row's numbers (N, F).
        joined: from the rows' (F, H, W) and the columns' (F, H, W) to the result.
        cosine_later: by how much a cosine's i is larger than that of the sine before it.
    """
    i, codes = torch.arange((num_features + 1) // 2), []  # (F/2,), rounded up
    for number, count in zip((torch.arange(height), torch.arange(width)), counts(height, width), strict=True):
        places = place(number.float(), count)[:, None]  # (N, 1)
        cosine = angles(places, i + cosine_later, num_features).cos()
        codes.append(order(angles(places, i, num_features).sin(), cosine).T)  # (F, N)
    rows, columns = codes
    return joined(rows[:, :, None].expand(-1, -1, width), columns[:, None].expand(-1, height, -1))


def placed(place: Callable[[Tensor, int], Tensor]) -> Callable[..., Tensor]:
    return partial(coded, place=place)


def long_as(length: Callable[[Tensor, int], Tensor]) -> Callable[..., Tensor]:
    return partial(coded, angles=lambda place, i, f: place / length(i, f))


def roughly(wrong: Callable[..., Tensor]) -> Callable[[Tensor, Tensor, Case], bool]:
    """For angles so large that two ways of computing them differ by more than an exercise allows."""
    return lambda got, expected, case: torch.allclose(got, wrong(*case.arguments), rtol=0, atol=0.1)


FIRST_AND_LAST = "Row r lies at 2π (r + 1) / height: the first one at 2π / height, the last one at 2π."
BY_HEIGHT = "Row r lies at 2π (r + 1) / height: however many rows a map has, its last one lies at 2π."

MISTAKES = [
    Mistake(
        "the first row at 0",
        f"You put the first row and the first column at 0. {FIRST_AND_LAST}",
        wrong=placed(lambda number, count: 2 * math.pi * number / count),
    ),
    Mistake(
        "from 0 to 2π",
        f"You put the first row at 0 and the last one at 2π, with height − 1 steps between. {FIRST_AND_LAST}",
        wrong=placed(lambda number, count: torch.linspace(0, 2 * math.pi, len(number))),
    ),
    Mistake(
        "from 0 to 2π, and 0 / 0",
        f"You put the first row at 0 and the last one at 2π; where there is but one, that is 0 / 0. {FIRST_AND_LAST}",
        wrong=placed(lambda number, count: 2 * math.pi * number / (count - 1)),
    ),
    Mistake(
        "in the middles of cells",
        f"Your places are those of the cells' middles, 2π (r + ½) / height. {FIRST_AND_LAST}",
        wrong=placed(lambda number, count: 2 * math.pi * (number + 0.5) / count),
    ),
    Mistake(
        "rows counted from 1",
        f"Your places are 1, 2, 3 …, the numbers of rows and columns. {BY_HEIGHT}",
        wrong=placed(lambda number, count: number + 1),
    ),
    Mistake(
        "rows counted from 0",
        f"Your places are 0, 1, 2 …, the numbers of rows and columns. {BY_HEIGHT}",
        wrong=placed(lambda number, count: number),
    ),
    Mistake(
        "not divided by height and width",
        f"Your places are 2π, 4π, 6π … . {BY_HEIGHT}",
        wrong=placed(lambda number, count: 2 * math.pi * (number + 1)),
    ),
    Mistake(
        "2π left out",
        "Your places end at 1. The task asks for 2π times as much: the last row and the last column lie at 2π.",
        wrong=placed(lambda number, count: (number + 1) / count),
    ),
    Mistake(
        "2π left out, and the first row at 0",
        f"Two things at once: your places begin at 0, and 2π is left out. {FIRST_AND_LAST}",
        wrong=placed(lambda number, count: number / count),
    ),
    Mistake(
        "π for 2π",
        "Your places end at π, half a turn. The last row and the last column lie at 2π.",
        wrong=placed(lambda number, count: math.pi * (number + 1) / count),
    ),
    Mistake(
        "degrees",
        "Your places end at 360. Sine and cosine take an angle in radians, in which a turn is 2π.",
        when=roughly(placed(lambda number, count: 360 * (number + 1) / count)),
    ),
    Mistake(
        "height and width exchanged",
        "You divided the rows' numbers by the width and the columns' by the height.",
        wrong=partial(coded, counts=lambda height, width: (width, height)),
    ),
    Mistake(
        "all divided by the height",
        "You divided the columns' numbers by the height, too. There are `width` columns.",
        wrong=partial(coded, counts=lambda height, width: (height, height)),
    ),
    Mistake(
        "all divided by the width",
        "You divided the rows' numbers by the width, too. There are `height` rows.",
        wrong=partial(coded, counts=lambda height, width: (width, width)),
    ),
    Mistake(
        "sines first",
        "You list all sines, then all cosines. They take turns: sine and cosine of the first wave, then of the next.",
        wrong=partial(coded, order=lambda sine, cosine: torch.cat([sine, cosine], dim=-1)),
    ),
    Mistake(
        "cosine before sine",
        "Of each wave you give the cosine first, then the sine. The sine comes first.",
        wrong=partial(coded, order=lambda sine, cosine: in_turn(cosine, sine)),
    ),
    Mistake(
        "columns first",
        "Your first F channels are the column's numbers, your last F the row's. The row comes first.",
        wrong=partial(coded, joined=lambda rows, columns: torch.cat([columns, rows])),
    ),
    Mistake(
        "rows and columns take turns",
        "In your channels row and column take turns. All F numbers of the row come first, then all F of the column.",
        wrong=partial(coded, joined=lambda rows, columns: torch.stack([rows, columns], dim=1).flatten(0, 1)),
    ),
    Mistake(
        "row and column added",
        "You added the row's and the column's numbers. They stand one after the other: 2F channels.",
        wrong=partial(coded, joined=torch.add),
    ),
    Mistake(
        "F for both together",
        "You took F for the number of all channels. A row has F numbers and a column has F: 2F channels.",
        wrong=lambda height, width, num_features: coded(height, width, num_features // 2),
    ),
    Mistake(
        "exponent i / F",
        "Your exponents are half as large as they should be, i / F. The task asks for 10000^(2i/F).",
        wrong=long_as(lambda i, f: 10000 ** (i / f)),
    ),
    Mistake(
        "exponent 4i / F",
        "Your exponents are twice too large, 4i / F. Do you count i in steps of two *and* double it, or divide by F/2 "
        "*and* double it? i is 0, 1, 2 … F/2 − 1.",
        wrong=long_as(lambda i, f: 10000 ** (4 * i / f)),
    ),
    Mistake(
        "waves counted from 1",
        "Your first wave has i = 1. i begins with 0, so that the first wave has the place itself for its angle.",
        wrong=long_as(lambda i, f: 10000 ** (2 * (i + 1) / f)),
    ),
    Mistake(
        "the last wave at 10000",
        "Your last wave's place is divided by 10000 itself, with equal steps up to there. i ends with F/2 − 1, so "
        "2i / F never gets to 1.",
        wrong=long_as(lambda i, f: 10000 ** torch.linspace(0, 1, len(i))),
    ),
    Mistake(
        "an exponent for each channel",
        "Your cosine has another wave than the sine before it: the exponent grows from channel to channel. Sine and "
        "cosine share one, 2i / F; i counts pairs.",
        wrong=partial(coded, cosine_later=0.5),
    ),
    Mistake(
        "twice the channel's number",
        "You took the number of the channel for i. i counts pairs of channels: sine and cosine share one.",
        wrong=partial(coded, angles=lambda place, i, f: place / 10000 ** (4 * i / f), cosine_later=0.5),
    ),
    Mistake(
        "one wave for all",
        "All your waves are as long as the first one. Is the exponent cut to a whole number (`//`), or always 0?",
        wrong=long_as(lambda i, f: 10000 ** (0 * i)),
    ),
    Mistake(
        "multiplied instead of divided",
        "You multiplied the place by 10000^(2i/F). Divide: the waves become longer with i.",
        when=roughly(partial(coded, angles=lambda place, i, f: place * 10000 ** (2 * i / f))),
    ),
    Mistake(
        "10000 times the exponent",
        "You divided by 10000 · 2i / F, which is 0 for the first wave. 10000 is raised to the *power* 2i / F.",
        wrong=long_as(lambda i, f: 10000 * (2 * i / f)),
    ),
    Mistake(
        "10000 squared",
        "You divided by 10000² · i / F, which is 0 for the first wave. `**` comes before `*` and `/`: put the exponent "
        "into parentheses.",
        wrong=long_as(lambda i, f: 10000**2 * i / f),
    ),
    Mistake(
        "10000 squared, and no parentheses",
        "Your sines are nearly 0 and your cosines nearly 1. Is it (place / 10000²) · i / F? `**` comes before `*` and "
        "`/`, and these go from left to right: put the exponent into parentheses.",
        wrong=partial(coded, angles=lambda place, i, f: place / 10000**2 * i / f),
    ),
]

EXERCISE = Exercise(
    name="sine_positions",
    reference=sine_positions,
    cases=cases,
    gives=Kind.MAP,
    mistakes=MISTAKES,
    picture=compare_maps,
)
