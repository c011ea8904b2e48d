"""Boxes of a few sizes and shapes at every place of a map."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.kinds import Kind
from lib.ops.anchors import cell_anchors, grid_anchors

Numbers = Sequence[float]


def make_anchors(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    """The course's own, as `lib.ops.anchors.AnchorGenerator` makes them."""
    return grid_anchors(cell_anchors(sizes, ratios), (height, width), (stride, stride))


def cases() -> list[Case]:
    named = {
        "one row of two cells, one size, a tall ratio": (1, 2, 8, (20,), (2.0,)),
        "one cell, one size, three ratios": (1, 1, 8, (16,), (0.5, 1.0, 2.0)),
        "two rows of three cells, two sizes, three ratios": (2, 3, 8, (10, 18), (0.5, 1.0, 2.0)),
        "a tall map, stride 16": (3, 2, 16, (32, 64), (1.0, 3.0)),
        "stride 3, and halves that must be rounded": (2, 2, 3, (10, 14.6, 5, 7), (0.7, 1.0)),
    }
    return [Case(label, numbers, anchors_by_torchvision(*numbers)) for label, numbers in named.items()]


def anchors_by_torchvision(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    """The truth."""
    generator = AnchorGenerator((sizes,), (ratios,))
    generator.set_cell_anchors(torch.float32, torch.device("cpu"))
    return generator.grid_anchors([(height, width)], [[torch.tensor(stride), torch.tensor(stride)]])[0]


def around_zero(sizes: Numbers, ratios: Numbers) -> Tensor:
    """The anchors of one place, around (0, 0), without rounding: (ratios, sizes, 4)."""
    shapes = [[(size / math.sqrt(ratio), size * math.sqrt(ratio)) for size in sizes] for ratio in ratios]
    halves = torch.tensor(shapes) / 2  # (ratios, sizes, 2)
    return torch.cat([-halves, halves], dim=2)


def spread(anchors: Tensor, height: int, width: int, stride: float, shift: float = 0.0) -> Tensor:
    """Anchors (A, 4) at every place: (height, width, A, 4)."""
    y, x = torch.meshgrid(torch.arange(height) * stride + shift, torch.arange(width) * stride + shift, indexing="ij")
    return torch.stack([x, y, x, y], dim=2)[:, :, None] + anchors


@mistake(
    "x and y swapped",
    "Your anchors run down where they should run to the right. A *column* of the map is an x, a *row* is a y, and a "
    "box is x first.",
)
def x_and_y_swapped(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    placed = spread(torch.zeros(1, 4), height, width, stride)[..., [1, 0, 3, 2]]  # (height, width, 1, 4)
    return (placed + cell_anchors(sizes, ratios)).reshape(-1, 4)


@mistake("ratio upside down", "A ratio of 2 makes your anchors wide. A ratio is height / width: 2 is tall.")
def ratios_inverted(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    return make_anchors(height, width, stride, sizes, [1 / ratio for ratio in ratios])


@mistake(
    "area not kept",
    "Your anchors keep their width and change their height. All anchors of size s have the area s²: what is taller "
    "must be narrower.",
)
def area_not_kept(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    halves = torch.tensor([[size / 2, size * ratio / 2] for ratio in ratios for size in sizes])
    return spread(torch.cat([-halves, halves], 1).round(), height, width, stride).reshape(-1, 4)


@mistake(
    "ratio without a root",
    "Your heights are s · r and your widths s / r, so that height / width is r². Both want the *root* of r.",
)
def ratio_without_root(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    return make_anchors(height, width, stride, sizes, [ratio**2 for ratio in ratios])


@mistake(
    "in the middle of the cells",
    "Your anchors are half a stride too far to the right and down: in the middle of the cells, where the authors' own "
    "code puts them. Here, as in torchvision, cell (row, column) stands for the point (column · stride, row · stride).",
)
def in_the_middle_of_cells(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    return spread(cell_anchors(sizes, ratios), height, width, stride, stride / 2).reshape(-1, 4)


@mistake("stride forgotten", "Your anchors stand one pixel apart. One cell further is `stride` pixels further.")
def stride_forgotten(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    return make_anchors(height, width, 1, sizes, ratios)


@mistake(
    "anchors before cells",
    "All the right boxes, in another order: yours goes through all places with the first anchor, then with the second. "
    "It should be place by place, with all anchors of a place in a row.",
)
def anchors_before_cells(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    return spread(cell_anchors(sizes, ratios), height, width, stride).permute(2, 0, 1, 3).reshape(-1, 4)


@mistake(
    "column by column",
    "All the right boxes, in another order: yours goes down the first column first. It should be row by row.",
)
def column_by_column(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    return spread(cell_anchors(sizes, ratios), height, width, stride).transpose(0, 1).reshape(-1, 4)


@mistake(
    "ratios of each size",
    "At each place you list all ratios of the first size, then of the second. Asked are all *sizes* of the first "
    "*ratio* first.",
)
def ratios_of_each_size(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    anchors = around_zero(sizes, ratios).transpose(0, 1).reshape(-1, 4).round()
    return spread(anchors, height, width, stride).reshape(-1, 4)


def rounded_by(round_: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """`make_anchors` with another way to round the numbers around (0, 0)."""
    return lambda height, width, stride, sizes, ratios: spread(
        round_(around_zero(sizes, ratios)).reshape(-1, 4), height, width, stride
    ).reshape(-1, 4)


@mistake(
    "rounded after moving",
    "You rounded the anchors at their places. A half goes to the even number, and which that is depends on the place. "
    "Round around (0, 0), then move.",
)
def rounded_at_their_places(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    return rounded_by(lambda anchors: anchors)(height, width, stride, sizes, ratios).round()


@mistake(
    "corner at the place", "The left upper corner of your anchors lies at the place. Their *middle* should lie there."
)
def corner_at_the_place(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    anchors = cell_anchors(sizes, ratios)
    return spread(anchors - anchors[:, :2].repeat(1, 2), height, width, stride).reshape(-1, 4)


@mistake(
    "width and height rounded",
    "You rounded width and height, and then halved them; the authors' own code also rounds the sides. Here, as in "
    "torchvision, the four numbers around (0, 0) are rounded.",
)
def sides_rounded(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    halves = (2 * around_zero(sizes, ratios)[..., 2:]).round() / 2  # (ratios, sizes, 2)
    return spread(torch.cat([-halves, halves], dim=2).reshape(-1, 4), height, width, stride).reshape(-1, 4)


@mistake(
    "each size with one ratio",
    "You went through sizes and ratios side by side. Each size comes with *each* ratio.",
)
def sizes_with_their_ratios(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    pairs = [around_zero([size], [ratio]).reshape(-1, 4) for size, ratio in zip(sizes, ratios)]
    return spread(torch.cat(pairs).round(), height, width, stride).reshape(-1, 4)


HALVES = "As in torchvision, a half goes to the even number: 2.5 to 2, and 3.5 to 4."

EXERCISE = Exercise(
    name="make_anchors",
    reference=make_anchors,
    cases=cases,
    takes={"height": Kind.COUNT, "width": Kind.COUNT},
    gives=Kind.BOXES,
    mistakes=[
        x_and_y_swapped,
        ratios_inverted,
        area_not_kept,
        ratio_without_root,
        in_the_middle_of_cells,
        stride_forgotten,
        anchors_before_cells,
        column_by_column,
        ratios_of_each_size,
        Mistake(
            "not rounded",
            "Right but for fractions of a pixel. Round the four numbers around (0, 0) to whole pixels.",
            wrong=rounded_by(lambda anchors: anchors),
        ),
        Mistake(
            "twice too large",
            "Your anchors reach a whole width to the left and right of their middle. Half of it is enough.",
            wrong=rounded_by(lambda anchors: (2 * anchors).round()),
        ),
        corner_at_the_place,
        sides_rounded,
        Mistake(
            "cut off instead of rounded",
            "You cut the decimals off. Round the four numbers around (0, 0) to the nearest whole pixel.",
            wrong=rounded_by(torch.trunc),
        ),
        Mistake(
            "a half rounded up",
            f"You round a half up: 2.5 to 3, and −2.5 to −2. {HALVES}",
            wrong=rounded_by(lambda anchors: (anchors + 0.5).floor()),
        ),
        Mistake(
            "a half rounded away from 0",
            f"You round a half away from 0: 2.5 to 3, and −2.5 to −3. {HALVES}",
            wrong=rounded_by(lambda anchors: anchors.sign() * (anchors.abs() + 0.5).floor()),
        ),
        rounded_at_their_places,
        sizes_with_their_ratios,
    ],
    picture=compare_boxes,
)
