"""Operations that slide a window over rows and columns: convolutions, poolings, resizing, padding.

Each gives (step, first, last) of `Axis.slide`, for spatial dimension number `k`, with `n` cells before and `m` after.
"""

from collections.abc import Callable
from fractions import Fraction
from math import prod

import torch

from lib.viz.explorer.place import Arguments, Place

Slide = tuple[Fraction | int, Fraction | int, Fraction | int]


def window(slide: Callable[[Arguments, int, int, int, int], Slide], spatial: int = 2) -> Callable:
    """A rule for an operation on (..., H, W) that treats rows and columns each by its own window."""

    def rule(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
        k = place.dim - (len(shape) - spatial)  # 0 for the first of the spatial dimensions
        if k < -1:
            return place  # the batch
        if k == -1 or not place.alone(shape):
            return place.lost()  # channels are mixed with each other
        cells = out[place.dim]
        return Place(place.axis.slide(*slide(named, k, spatial, shape[place.dim], cells)), place.dim, cells)

    return rule


def _pick(values: list[int], k: int) -> int:
    return values[k] if len(values) > 1 else values[0]


def convolution(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    kernel = named["weight"].shape[2:]

    def slide(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
        step, padding = _pick(named["stride"], k), _pick(named["padding"], k)
        reach = _pick(named["dilation"], k) * (kernel[k] - 1)
        if named["transposed"]:  # o = step i - padding + tap
            return Fraction(1, step), Fraction(padding - reach, step), Fraction(padding, step)
        return step, -padding, reach - padding

    return window(slide, len(kernel))(place, named, shape, out)


def pool(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
    kernel, padding = _pick(named["kernel_size"], k), _pick(named["padding"], k)
    step = _pick(named["stride"], k) if named["stride"] else kernel
    reach = _pick(named.get("dilation") or [1], k) * (kernel - 1)
    return step, -padding, reach - padding


def adaptive_pool(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
    ratio = Fraction(n, m)  # from floor(i n / m) to ceil((i + 1) n / m) - 1
    slack = 0 if n % m == 0 else Fraction(m - 1, m)
    return ratio, -slack, ratio + slack - 1


def _ratio(named: Arguments, k: int, n: int, m: int) -> Fraction:
    """Input cells per output cell of a resize: from the scale if one was given, else from the sizes."""
    scale = (named.get("scales_h"), named.get("scales_w"))[k]
    return 1 / Fraction(scale).limit_denominator(1000) if scale else Fraction(n, m)


def _floor_slack(*numbers: Fraction | int) -> Fraction:
    """How far the floor of sums of multiples of `numbers` can lie below them."""
    denominator = prod({Fraction(number).denominator for number in numbers})
    return Fraction(denominator - 1, denominator)


def nearest(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
    ratio = _ratio(named, k, n, m)  # reads floor(ratio i)
    return ratio, -_floor_slack(ratio), 0


def nearest_exact(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
    ratio = _ratio(named, k, n, m)  # reads floor(ratio (i + 1/2))
    return ratio, ratio / 2 - _floor_slack(ratio, ratio / 2), ratio / 2


def between(before: int, after: int) -> Callable:
    """Interpolation reads from `before` cells before the point it wants to `after` cells after it."""

    def slide(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
        if named["align_corners"]:
            ratio, offset = Fraction(n - 1, max(m - 1, 1)), Fraction(0)
        else:
            ratio = _ratio(named, k, n, m)
            offset = ratio / 2 - Fraction(1, 2)
        return ratio, offset - _floor_slack(ratio, offset) - before, offset + after

    return slide


def padding(kind: str) -> Callable:
    def slide(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
        pad = named["pad" if kind == "constant" else "padding"]  # left, right, top, bottom
        at = 2 * (spatial - 1 - k)
        left, right = (pad[at], pad[at + 1]) if at < len(pad) else (0, 0)
        reads = {"constant": 0, "replication": 1, "reflection": 2}[kind]  # times what is read again
        return 1, -left - reads * right, -left + reads * left

    return slide


def constant_pad(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    if place.dim < len(shape) - 2 or not place.alone(shape):
        return place if shape[place.dim] == out[place.dim] else place.lost()
    return window(padding("constant"))(place, named, shape, out)


def shuffle(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
    factor = named["upscale_factor"]
    return Fraction(1, factor), -Fraction(factor - 1, factor), 0


def unshuffle(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
    return named["downscale_factor"], 0, named["downscale_factor"] - 1
