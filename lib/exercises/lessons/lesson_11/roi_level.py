"""Which map of a pyramid suits a box: equation 1 of the FPN paper."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torchvision.ops.poolers import LevelMapper

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import boxes_of, random_boxes
from lib.exercises.engine.kinds import Kind
from lib.ops.roi import assign_levels


def roi_level(boxes: Tensor, k_min: int, k_max: int, size: float = 224, level: int = 4) -> Tensor:
    """The course's own, `lib.ops.roi.assign_levels`."""
    return assign_levels(boxes, k_min, k_max, size, level)


def cases() -> list[Case]:
    lying, small, large = (100, 50, 300, 100), (30, 20, 90, 60), (10, 20, 410, 320)
    shapes = boxes_of((0, 0, 40, 40), (5, 5, 165, 15), (7, 1, 27, 81))
    extremes = boxes_of((4, 4, 6, 7), (0, 0, 1500, 1400), (3, 9, 40, 50))
    squares = boxes_of(*((2, 2, 2 + side, 2 + side) for side in (8, 16, 31.5, 32, 64)))
    named = {
        "three boxes: 200 × 50, 60 × 40 and 400 × 300 pixels": (boxes_of(lying, small, large), 2, 5, 224, 4),
        "one area, three shapes": (shapes, 0, 8, 60, 3),
        "far smaller and far larger than any level wants": (extremes, 3, 5, 32, 4),
        "sides of 8, 16, 31.5, 32 and 64 pixels, `size` is 32": (squares, 0, 9, 32, 5),
        "twelve boxes, three levels": (random_boxes(12, seed=4), 2, 4, 32, 3),
        "a box without area": (boxes_of((5, 5, 25, 30), (8, 8, 8, 20), (0, 0, 50, 45)), 1, 4, 24, 2),
        "one level": (random_boxes(3, seed=5), 3, 3, 30, 4),
        "no box": (torch.zeros(0, 4), 2, 5, 224, 4),
        "`size` and `level` left out": (random_boxes(6, 800, 600, seed=6), 2, 5),
    }
    return [Case(label, arguments, by_torchvision(*arguments)) for label, arguments in named.items()]


def by_torchvision(boxes: Tensor, k_min: int, k_max: int, size: float = 224, level: int = 4) -> Tensor:
    """The truth. torchvision counts from 0 at its finest level."""
    return LevelMapper(k_min, k_max, size, level)([boxes]) + k_min


def found(
    boxes: Tensor,
    k_min: int,
    k_max: int,
    size: float = 224,
    level: int = 4,
    side: Callable[[Tensor, Tensor], Tensor] = lambda w, h: (w * h).sqrt(),
    steps: Callable[[Tensor], Tensor] = torch.log2,
    whole: Callable[[Tensor, int], Tensor] = lambda steps, level: torch.floor(steps + level),
    limit: Callable[[Tensor, int, int], Tensor] = torch.clamp,
) -> Tensor:
    """`roi_level` with its decisions open."""
    w, h = (boxes[:, 2:] - boxes[:, :2]).unbind(dim=1)  # (P,) each
    return limit(whole(steps(side(w, h) / size), level), k_min, k_max).long()


def measured_by(name: str, side: Callable[[Tensor, Tensor], Tensor]) -> Mistake:
    """Another length than the root of the area."""
    words = f"You measured a box by {name}. The area counts: a box of 160 × 10 belongs where one of 40 × 40 does."
    return Mistake(name, words, wrong=partial(found, side=side))


MISTAKES = [
    Mistake(
        "root of the area forgotten",
        "You divided the *area* of a box by `size`. `size` is a side: compare it with the side of a square that is as "
        "large as the box.",
        wrong=partial(found, side=torch.mul),
    ),
    Mistake(
        "area against area, without the root",
        "You compared areas: w · h with `size` squared. Then half the side is two levels less; it should be one. A "
        "root is missing.",
        wrong=partial(found, steps=lambda ratio: torch.log2(ratio**2)),
    ),
    measured_by("the longer side", torch.maximum),
    measured_by("the shorter side", torch.minimum),
    measured_by("the mean of the sides", lambda w, h: (w + h) / 2),
    Mistake(
        "natural logarithm",
        "Your levels change too slowly: you took the natural logarithm. One level up is *twice* the stride: base 2.",
        wrong=partial(found, steps=torch.log),
    ),
    Mistake(
        "small boxes to coarse maps",
        "Yours is upside down: large boxes go to low levels. The sign of the logarithm is wrong, or the fraction in it "
        "stands on its head.",
        wrong=partial(found, steps=lambda ratio: -torch.log2(ratio)),
    ),
    Mistake(
        "rounded to the nearest level",
        "You rounded to the nearest whole number. ⌊ ⌋ rounds *down*.",
        wrong=partial(found, whole=lambda steps, level: torch.round(steps + level)),
    ),
    Mistake(
        "rounded up",
        "You rounded up. ⌊ ⌋ rounds *down*.",
        wrong=partial(found, whole=lambda steps, level: torch.ceil(steps + level)),
    ),
    Mistake(
        "cut off before the level was added",
        "You made the logarithm whole by cutting its decimals off: −1.2 became −1. Rounded *down* it is −2. Add "
        "`level` first, or take `floor`.",
        wrong=partial(found, whole=lambda steps, level: torch.trunc(steps) + level),
    ),
    Mistake(
        "level forgotten",
        "You did not add `level`. A box of side `size` has the logarithm 0, and belongs to `level`.",
        wrong=partial(found, whole=lambda steps, level: torch.floor(steps)),
    ),
    Mistake(
        "not clamped",
        "Some of your levels do not exist. What lies below `k_min` or above `k_max` goes to the nearest that does.",
        wrong=partial(found, limit=lambda levels, *_: levels),
    ),
    Mistake(
        "only clamped below",
        "Some of your levels are above `k_max`.",
        wrong=partial(found, limit=lambda levels, k_min, k_max: levels.clamp(min=k_min)),
    ),
    Mistake(
        "only clamped above",
        "Some of your levels are below `k_min`.",
        wrong=partial(found, limit=lambda levels, k_min, k_max: levels.clamp(max=k_max)),
    ),
    Mistake(
        "counted from 0",
        "You count the levels from 0, as places in a list. It should be k itself: the finest level is `k_min`.",
        wrong=partial(found, limit=lambda levels, k_min, k_max: levels.clamp(k_min, k_max) - k_min),
    ),
    Mistake(
        "224 and 4 whatever is asked",
        "You use 224 and 4. They are only what `size` and `level` are if nobody says otherwise.",
        wrong=lambda boxes, k_min, k_max, size=224, level=4: found(boxes, k_min, k_max),
    ),
]

EXERCISE = Exercise(
    name="roi_level",
    reference=roi_level,
    cases=cases,
    takes={"boxes": Kind.BOXES},
    gives=Kind.COUNT,
    mistakes=MISTAKES,
)
