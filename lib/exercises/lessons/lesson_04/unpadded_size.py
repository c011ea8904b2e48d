"""The side of the result of a U-Net without padding."""

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.kinds import Kind
from lib.models.unet import UNet


def unpadded_size(size: int, depth: int) -> int:
    """Side of what an unpadded U-Net gives: two 3×3 convolutions on each level of the way down, and of the way up."""
    for _ in range(depth):
        size = (size - 4 + 1) // 2
    size -= 4
    for _ in range(depth):
        size = 2 * size - 4
    return size


def cases() -> list[Case]:
    sizes = [
        ("the paper's tile", 572, 4),
        ("a smaller tile, one step", 20, 1),
        ("two steps", 44, 2),
        ("an odd map on the way", 50, 2),
        ("a side of 92.5 cells, if there were half ones", 189, 1),
        ("no steps: two convolutions", 9, 0),
    ]
    return [Case(label, (size, depth), _size_of_a_real_one(size, depth)) for label, size, depth in sizes]


@cache
@torch.no_grad()
def _size_of_a_real_one(size: int, depth: int) -> int:
    if depth == 0:
        return F.max_pool2d(torch.zeros(1, 1, size, size), 5, stride=1).shape[2]  # two 3×3 see 5×5
    model = UNet(1, 1, width=1, depth=depth, padding=0).eval()
    return model(torch.zeros(1, 1, size, 5 * 2 ** (depth + 2))).shape[2]  # as narrow as may be


def _size_with(down: Callable[[int], int], bottom: int, up: Callable[[int], int]) -> Callable[[int, int], int]:
    def count(size: int, depth: int) -> int:
        for _ in range(depth):
            size = down(size)
        size -= bottom
        for _ in range(depth):
            size = up(size)
        return size

    return count


def _half(size: int) -> int:
    return (size + 1) // 2


one_conv_a_level = _size_with(lambda n: _half(n - 2), 2, lambda n: 2 * n - 2)


bottom_forgotten = _size_with(lambda n: _half(n - 4), 0, lambda n: 2 * n - 4)


way_up_forgotten = _size_with(lambda n: _half(n - 4), 4, lambda n: 2 * n)


way_down_forgotten = _size_with(_half, 4, lambda n: 2 * n - 4)


pooled_first = _size_with(lambda n: _half(n) - 4, 4, lambda n: 2 * n - 4)


cut_before_doubling = _size_with(lambda n: _half(n - 4), 4, lambda n: 2 * (n - 4))


rounded_down = _size_with(lambda n: (n - 4) // 2, 4, lambda n: 2 * n - 4)


@mistake(
    "half cells counted",
    "Your sizes are those of half cells kept on the way, or of a surplus row cut on the way up. There are no half "
    "cells: odd sides are rounded up at each halving; and without padding it is the skip that is cut, the doubled "
    "side stays even.",
)
def half_cells(size: int, depth: int) -> int:
    return int(_size_with(lambda n: (n - 4) / 2, 4, lambda n: 2 * n - 4)(size, depth))


EXERCISE = Exercise(
    name="unpadded_size",
    reference=unpadded_size,
    cases=cases,
    takes={"size": Kind.COUNT},
    gives=Kind.COUNT,
    mistakes=[
        Mistake(
            "2 lost per level for 4",
            "You take 2 off on each level. A 3×3 convolution without padding loses one cell on *both* sides, and "
            "there are two of them: 4.",
            wrong=one_conv_a_level,
        ),
        Mistake(
            "bottom forgotten",
            "The two convolutions at the bottom lose 4 cells too.",
            wrong=bottom_forgotten,
        ),
        Mistake(
            "way up loses nothing",
            "On the way up each level has two convolutions as well: 4 cells after each doubling.",
            wrong=way_up_forgotten,
        ),
        Mistake(
            "way down loses nothing",
            "You only halve on the way down. Before each halving, two convolutions take 4 cells.",
            wrong=way_down_forgotten,
        ),
        Mistake(
            "halved before the convolutions",
            "On the way down the convolutions of a level come first, then the halving. You did it the other way round.",
            wrong=pooled_first,
        ),
        Mistake(
            "cut before doubling",
            "On the way up the map is doubled first, and then loses 4 cells. You took them off first, and doubled "
            "the loss.",
            wrong=cut_before_doubling,
        ),
        Mistake(
            "rounded down",
            "Where a side is odd, its last row makes a cell of its own: half of 9 is 5 here.",
            wrong=rounded_down,
        ),
        half_cells,
    ],
)
