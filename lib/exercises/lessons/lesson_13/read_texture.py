"""What is painted on a figure's charts, read at each pixel of a picture."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_classes, random_uniform
from lib.exercises.engine.map_pictures import compare_maps
from lib.ops import charts


def read_texture(texture: Tensor, parts: Tensor, uv: Tensor) -> Tensor:
    """The course's own: the pixel in which a place falls. `lib.ops.charts.read_texture` mixes the four around it."""
    height, width = texture.shape[1:3]
    columns = (uv[..., 0] * width).long().clamp(max=width - 1)  # (H, W)
    rows = (uv[..., 1] * height).long().clamp(max=height - 1)  # (H, W)
    return texture[parts, rows, columns] * (parts > 0)[..., None]


def cases() -> list[Case]:
    by_hand = torch.tensor([[[0.8, 0.3], [0.3, 0.7]], [[0.5, 0.1], [0.55, 0.9]]])
    quarters = torch.tensor([0.25, 0.5, 0.75, 0.0])  # the sides of these charts are 4 and 8: nothing is rounded
    between = torch.stack(torch.meshgrid(quarters, torch.arange(8) / 8, indexing="xy"), dim=2)  # (8, 4, 2)
    at_the_end = torch.tensor([[[1.0, 0.45], [0.3, 1.0]], [[1.0, 1.0], [0.9, 0.1]]])
    named = {
        "2 × 2 pixels, two parts, charts 2 high and 3 wide": ([[1, 2], [0, 2]], by_hand, (2, 3)),
        "six parts, charts taller than wide": (random_classes(5, 6, classes=7, seed=1), (5, 6), (8, 5)),
        "six parts, charts wider than tall": (random_classes(4, 7, classes=7, seed=2), (4, 7), (6, 9)),
        "places on the edges between pixels": (1 + random_classes(8, 4, classes=3, seed=3), between, (8, 4)),
        "u = 1, v = 1, or both": ([[1, 2], [2, 1]], at_the_end, (3, 5)),
        "a picture without a figure": (torch.zeros(3, 4), (3, 4), (4, 6)),
    }
    made = []
    for seed, (label, (parts, uv, sides)) in enumerate(named.items()):
        numbers = torch.as_tensor(parts).long()
        count = 7 if "six" in label else 4 if "edges" in label else 3
        places = uv if isinstance(uv, Tensor) else random_uniform(*uv, 2, seed=seed + 10)
        arguments = (0.1 + 2 * random_uniform(count, *sides, 3, seed=seed), numbers, places)
        made.append(Case.from_truth(label, arguments, pixel_by_pixel))
    return made


def pixel_by_pixel(texture: Tensor, parts: Tensor, uv: Tensor) -> Tensor:
    """The truth: as many columns to the left as edges between columns that u has reached, and rows likewise."""
    height, width = texture.shape[1:3]
    colours = torch.zeros(*parts.shape, 3)
    for i, j in (parts > 0).nonzero().tolist():
        u, v = uv[i, j].tolist()
        column = sum(u >= edge / width for edge in range(1, width))
        row = sum(v >= edge / height for edge in range(1, height))
        colours[i, j] = texture[parts[i, j], row, column]
    return colours


def pixel(place: Tensor, side: int) -> Tensor:
    """The pixel, of `side` many in a row, in which a place from 0 to 1 falls."""
    return (place * side).floor().long().clamp(max=side - 1)


def read(
    texture: Tensor,
    parts: Tensor,
    uv: Tensor,
    across: Callable[[Tensor, int], Tensor] = pixel,
    down: Callable[[Tensor, int], Tensor] = pixel,
    sides: Callable[[int, int], tuple[int, int]] = lambda height, width: (height, width),
    chart: Callable[[Tensor], Tensor] = lambda parts: parts,
    painted: Callable[[Tensor, int], Tensor] = lambda parts, last: parts > 0,
) -> Tensor:
    """`read_texture` with its decisions open.

    Args:
        across, down: from u, or v, and the chart's side to a column, or a row.
        sides: what is taken for a chart's height and width.
        chart: the number of the chart that each part reads.
        painted: from the parts and the last of their numbers to where there is a colour.
    """
    height, width = sides(texture.shape[1], texture.shape[2])
    columns, rows = across(uv[..., 0], width), down(uv[..., 1], height)
    return texture[chart(parts), rows, columns] * painted(parts, len(texture) - 1)[..., None]


def with_pixels(place: Callable[[Tensor, int], Tensor]) -> Callable[..., Tensor]:
    return partial(read, across=place, down=place)


def exchanged(texture: Tensor, parts: Tensor, uv: Tensor) -> Tensor:
    return read(texture, parts, uv.flip(-1), sides=lambda height, width: (width, height))


def mixed(texture: Tensor, parts: Tensor, uv: Tensor) -> Tensor:
    return charts.read_texture(texture.permute(0, 3, 1, 2), parts, uv)


def colours_compared(got: Tensor, expected: Tensor, case: Case):
    return compare_maps(got.movedim(-1, 0), expected.movedim(-1, 0), case)


ON_AN_EDGE = (
    "Right but for places exactly on the edge between two pixels. Column c goes *from* u = c / w: a place on that edge "
    "belongs to it, and not to the column before."
)

MISTAKES = [
    Mistake(
        "u and v swapped",
        "You took u down and v to the right. `uv` holds u first, and u runs to the right: it chooses the column.",
        wrong=lambda texture, parts, uv: read(texture, parts, uv.flip(-1)),
    ),
    Mistake(
        "rows and columns exchanged",
        "You chose the row by u and the column by v. In `texture`, the row (v) comes before the column (u).",
        wrong=exchanged,
    ),
    Mistake(
        "height and width exchanged",
        "You took a chart's height for its width. `texture` is (P + 1, h, w, 3): the height comes first.",
        wrong=partial(read, sides=lambda height, width: (width, height)),
    ),
    Mistake(
        "the width for both sides",
        "You multiplied both u and v by the chart's width. v runs along its height.",
        wrong=partial(read, sides=lambda height, width: (width, width)),
    ),
    Mistake(
        "the height for both sides",
        "You multiplied both u and v by the chart's height. u runs along its width.",
        wrong=partial(read, sides=lambda height, width: (height, height)),
    ),
    Mistake(
        "rounded",
        "You rounded u · w to the nearest whole number. A place in the right half of column 0 is still in column 0.",
        wrong=with_pixels(lambda place, side: (place * side).round().long().clamp(max=side - 1)),
    ),
    Mistake(
        "rounded, beyond the last pixel",
        "You rounded u · w to the nearest whole number, which may be w, while the last column is number w − 1. A place "
        "in the right half of column 0 is still in column 0.",
        wrong=with_pixels(lambda place, side: (place * side).round().long()),
    ),
    Mistake(
        "one pixel too far",
        "You read one pixel too far to the right and down, as far as the chart goes. The first column is number 0.",
        wrong=with_pixels(lambda place, side: ((place * side).floor().long() + 1).clamp(max=side - 1)),
    ),
    Mistake(
        "one pixel too far, by rounding up",
        "You rounded u · w up. A place in column 0 has u · w between 0 and 1: round down.",
        wrong=with_pixels(lambda place, side: (place * side).ceil().long().clamp(max=side - 1)),
    ),
    Mistake(
        "one column and row too few",
        "You multiplied by w − 1 and h − 1 and cut the decimals off, so that nothing but u = 1 reads the last column. "
        "There are w columns, and all are equally wide.",
        wrong=with_pixels(lambda place, side: (place * (side - 1)).long()),
    ),
    Mistake(
        "from middle to middle",
        "You multiplied by w − 1 and h − 1 and rounded: then the first and the last column get only half the room that "
        "others have. All are equally wide.",
        wrong=with_pixels(lambda place, side: (place * (side - 1)).round().long()),
    ),
    Mistake(
        "colours mixed",
        "You mixed the four pixels around the place. It should be the colour of the one in which it falls.",
        wrong=mixed,
    ),
    Mistake(
        "v upwards",
        "You let v begin at the bottom of the chart. It begins in the top row, as rows do.",
        wrong=partial(read, down=lambda place, side: pixel(1 - place, side)),
    ),
    Mistake(
        "v upwards, by rows",
        "You count the rows of a chart from its bottom. v begins in the top row, as rows do.",
        wrong=partial(read, down=lambda place, side: side - 1 - pixel(place, side)),
    ),
    Mistake(
        "the end begins again",
        "Right but for u = 1 or v = 1. Yours begins again there, and reads the first column or row. The end belongs to "
        "the last one.",
        wrong=with_pixels(lambda place, side: (place * side).long() % side),
    ),
    Mistake(
        "beyond the last pixel",
        "Right but for u = 1 or v = 1: u · w is w there, and a chart's columns end with w − 1. The end belongs to the "
        "last one.",
        wrong=with_pixels(lambda place, side: (place * side).long()),
    ),
    Mistake(
        "the pixel before an edge",
        ON_AN_EDGE,
        wrong=with_pixels(lambda place, side: ((place * side).ceil().long() - 1).clamp(min=0)),
    ),
    Mistake(
        "the even side of an edge",
        f"{ON_AN_EDGE} (`round`, and `F.grid_sample` with it, takes a half to the even number.)",
        wrong=with_pixels(lambda place, side: (place * side - 0.5).round().long().clamp(0, side - 1)),
    ),
    Mistake(
        "the chart of the part before",
        "You read the chart of part − 1. There is a chart number 0 too, though nobody looks at it: part 1 reads "
        "`texture[1]`.",
        wrong=partial(read, chart=lambda parts: parts - 1),
    ),
    Mistake(
        "the chart of the part before, of nothing too",
        "You read the chart of part − 1; part 1 reads `texture[1]`. And where the part is 0 you return a colour of "
        "chart number −1, the last one. It should be 0 there.",
        wrong=partial(read, chart=lambda parts: parts - 1, painted=lambda parts, last: parts >= 0),
    ),
    Mistake(
        "one chart for all",
        "You read the chart of part 1 for every part. Each part has its own.",
        wrong=partial(read, chart=torch.ones_like),
    ),
    Mistake(
        "chart 0 for all",
        "You read chart number 0 for every part. Each part has its own, and number 0 is nobody's.",
        wrong=partial(read, chart=torch.zeros_like),
    ),
    Mistake(
        "nothing is painted",
        "Right on the figures. Where the part is 0 you return a colour of chart number 0; it should be 0 there.",
        wrong=partial(read, painted=lambda parts, last: parts >= 0),
    ),
    Mistake(
        "the last part left out",
        "Right but for the last part, which stays 0. The parts are 1 to P, and `texture` has P + 1 charts: `range(1, "
        "P)` ends before P.",
        wrong=partial(read, painted=lambda parts, last: (parts > 0) & (parts < last)),
    ),
]

EXERCISE = Exercise(
    name="read_texture",
    reference=read_texture,
    cases=cases,
    mistakes=MISTAKES,
    picture=colours_compared,
)
