"""The weights with which a cell spreads over the pixels in bilinear upsampling."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.ops import upsampling


def cases() -> list[Case]:
    return [Case(f"factor {factor}", (factor,), kernel_by_interpolation(factor)) for factor in (2, 3, 4, 5, 1, 8)]


def kernel_by_interpolation(factor: int) -> Tensor:
    """The truth: what PyTorch's bilinear upsampling makes of a single 1 in a map of zeros, without the zeros around."""
    single = torch.zeros(1, 1, 5, 5)
    single[0, 0, 2, 2] = 1
    spread = F.interpolate(single, scale_factor=factor, mode="bilinear", align_corners=False)[0, 0]
    rows = spread.sum(dim=1).nonzero()[:, 0]
    inside = slice(int(rows[0]), int(rows[-1]) + 1)
    return spread[inside, inside]  # (k, k)


def tent(side: int, middle: float, slope: float) -> Tensor:
    """The outer product of max(0, 1 - slope · |i - middle|) with itself, for i = 0 .. side - 1."""
    weights = (1 - slope * (torch.arange(side) - middle).abs()).clamp(min=0)
    return torch.outer(weights, weights)


@mistake(
    "an odd side for every factor",
    "Your kernel has the side 2 · factor − 1 for every factor. For an even factor no pixel lies at a cell's"
    " middle, so the side is even: 2 · factor.",
)
def always_odd(factor: int) -> Tensor:
    return tent(2 * factor - 1, factor - 1, 1 / factor)


@mistake(
    "an even side for every factor",
    "Your kernel has the side 2 · factor for every factor. For an odd factor one pixel lies right at the "
    "cell's middle, so the side is odd: 2 · factor − 1.",
)
def always_even(factor: int) -> Tensor:
    return tent(2 * factor, factor - 0.5, 1 / factor)


@mistake(
    "middle at factor − 1",
    "Your tent has its tip at factor − 1 for every factor. That is right for an odd side; the middle of an even side, "
    "2 · factor, lies half a pixel further on.",
)
def middle_at_factor_minus_1(factor: int) -> Tensor:
    return tent(2 * factor - factor % 2, factor - 1, 1 / factor)


@mistake(
    "middle on a pixel",
    "Your tent has its tip on a pixel also where the kernel has an even side: it is one pixel longer on one"
    " side. The middle of four pixels lies between the second and the third.",
)
def middle_on_a_pixel(factor: int) -> Tensor:
    side = 2 * factor - factor % 2
    return tent(side, side // 2, 1 / factor)


@mistake(
    "weights of row and column added",
    "In the plane the weight of the row and the weight of the column are multiplied. Added, the corners "
    "are far too heavy.",
)
def sum_of_weights(factor: int) -> Tensor:
    side = 2 * factor - factor % 2
    weights = 1 - (torch.arange(side) - (side - 1) / 2).abs() / factor
    return (weights[:, None] + weights) / 2


@mistake(
    "made to sum to 1",
    "You divided by the sum. A pixel gets its share from several cells, and it is *those* shares that sum "
    "to 1. What one cell gives away sums to factor².",
)
def sums_to_one(factor: int) -> Tensor:
    return upsampling.bilinear_kernel(factor) / factor**2


@mistake(
    "only one axis",
    "That is the tent along one axis: (k,). The kernel is the product of two of them: (k, k).",
)
def one_axis_only(factor: int) -> Tensor:
    return upsampling.bilinear_kernel(factor).sum(dim=0) / factor


@mistake(
    "a round cone",
    "Your weights fall with the straight distance from the middle, so the corners are cut off. Take the distance along "
    "the row and the distance down the column separately, and multiply the two weights.",
)
def round_cone(factor: int) -> Tensor:
    side = 2 * factor - factor % 2
    distance = torch.arange(side) - (side - 1) / 2
    return (1 - torch.hypot(distance[:, None], distance) / factor).clamp(min=0)


@mistake(
    "middle at half the side",
    "Your tent has its tip at k / 2. Counted from 0, the middle of k pixels lies half a pixel before that, at "
    "(k − 1) / 2.",
)
def middle_at_half_the_side(factor: int) -> Tensor:
    side = 2 * factor - factor % 2
    return tent(side, side / 2, 1 / factor)


@mistake(
    "slope by the side",
    "Your tent falls to 0 over half of its side. It falls over `factor` pixels: 1 / factor a pixel.",
)
def slope_by_the_side(factor: int) -> Tensor:
    side = 2 * factor - factor % 2
    return tent(side, (side - 1) / 2, 2 / side)


@mistake(
    "the smaller of the two weights",
    "You took the smaller weight of row and column. In the plane the two weights are multiplied.",
)
def smaller_weight(factor: int) -> Tensor:
    side = 2 * factor - factor % 2
    weights = 1 - (torch.arange(side) - (side - 1) / 2).abs() / factor
    return torch.minimum(weights[:, None], weights)


EXERCISE = Exercise(
    name="bilinear_kernel",
    reference=upsampling.bilinear_kernel,
    cases=cases,
    gives=Kind.MAP,
    mistakes=[
        middle_at_factor_minus_1,
        middle_on_a_pixel,
        always_odd,
        always_even,
        sum_of_weights,
        sums_to_one,
        one_axis_only,
        round_cone,
        middle_at_half_the_side,
        slope_by_the_side,
        smaller_weight,
    ],
    picture=compare_maps,
)
