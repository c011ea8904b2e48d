"""Walk down the U and keep the maps, walk up and hand each one over."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps


class Half(nn.Module):
    """A step down for the tests: the average of 2 × 2 cells, odd sides rounded up, plus a number of its own."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) + self.number


class Join(nn.Module):
    """A step up for the tests: takes any two maps, however wrong, and gives one of the second's size."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        return self.number * F.interpolate(below, skip.shape[2:]) + skip.square()


def cases() -> list[Case]:
    cases = []
    for label, depth, size in (
        ("one step down, one step up", 1, (4, 6)),
        ("two steps", 2, (8, 8)),
        ("three steps, sides that are odd", 3, (9, 13)),
        ("no steps at all", 0, (4, 4)),
    ):
        top = nn.Conv2d(2, 2, 3, padding=1)
        top.weight.data, top.bias.data = random_values(2, 2, 3, 3, seed=1), random_values(2, seed=2)
        downs = nn.ModuleList(Half(0.5 + level) for level in range(depth))
        ups = nn.ModuleList(Join(2.0 + level) for level in range(depth))
        x = random_values(1, 2, *size, seed=3)
        cases.append(Case.from_truth(label, (x, top, downs, ups), _forward_by_recursion, gradients_of=("x",)))
    return cases


def _forward_by_recursion(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    """A U is a smaller U between its first step down and its last step up."""
    return _inner(top(x), list(downs), list(ups))


def _inner(x: Tensor, downs: list[nn.Module], ups: list[nn.Module]) -> Tensor:
    return ups[-1](_inner(downs[0](x), downs[1:], ups[:-1]), x) if downs else x


def unet_forward(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    """The course's own road, as in `lib.models.unet.UNet.forward`."""
    x = top(x)
    skips = []
    for down in downs:
        skips.append(x)
        x = down(x)
    for up in ups:
        x = up(x, skips.pop())
    return x


def _walk(change: Callable[[list[Tensor]], list[Tensor]]) -> Callable:
    """A forward pass whose list of all maps on the way down, bottom included, is turned into skips by `change`."""

    def forward(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
        maps = [top(x)]
        for down in downs:
            maps.append(down(maps[-1]))
        x = maps[-1]
        for up, skip in zip(ups, change(maps), strict=False):
            x = up(x, skip)
        return x

    return forward


finest_first = _walk(lambda maps: maps[:-1])


bottom_kept = _walk(lambda maps: maps[::-1])


always_the_finest = _walk(lambda maps: maps[:1] * len(maps))


always_the_coarsest = _walk(lambda maps: maps[-2:-1] * len(maps))


@mistake(
    "the picture for a skip",
    "Your finest skip is the picture itself. It is the map that `top` made of it.",
)
def picture_as_skip(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    skips, map_ = [], top(x)
    skips.append(x)
    for down in downs:
        map_ = down(map_)
        skips.append(map_)
    skips.pop()
    for up in ups:
        map_ = up(map_, skips.pop())
    return map_


@mistake(
    "skip and map swapped",
    "You called `up(skip, below)`. First comes the map from below, then the skip.",
)
def swapped_arguments(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    x, skips = top(x), []
    for down in downs:
        skips.append(x)
        x = down(x)
    for up in ups:
        x = up(skips.pop(), x)
    return x


@mistake(
    "always from the bottom",
    "Every step up starts from the bottom again. It goes on from what the step before it made.",
)
def always_from_the_bottom(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    maps = [top(x)]
    for down in downs:
        maps.append(down(maps[-1]))
    result = maps[-1]
    for up, skip in zip(ups, maps[-2::-1], strict=False):
        result = up(maps[-1], skip)
    return result


@mistake(
    "ups in reverse",
    "You went through `ups` backwards. They are given in the order of the walk: the one next to the bottom is first.",
)
def ups_reversed(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    return unet_forward(x, top, downs, list(reversed(ups)))


@mistake(
    "top forgotten",
    "`top` was never called: the walk starts with `top(x)`.",
)
def no_top(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    return unet_forward(x, nn.Identity(), downs, ups)


@mistake(
    "never went up",
    "You returned the map at the bottom. The way up is missing.",
)
def stays_below(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    x = top(x)
    for down in downs:
        x = down(x)
    return x


EXERCISE = Exercise(
    name="unet_forward",
    reference=unet_forward,
    cases=cases,
    takes={"x": Kind.MAP},
    gives=Kind.MAP,
    mistakes=[
        Mistake(
            "finest skip handed out first",
            "You hand the skips out in the order in which they were made. The first step up starts at the bottom "
            "and needs the last one that was made: last in, first out.",
            wrong=finest_first,
        ),
        Mistake(
            "bottom kept as a skip",
            "You kept the map at the bottom too, and so every step up gets the map one level too deep. The bottom "
            "is where the way up starts; it crosses no bridge.",
            wrong=bottom_kept,
        ),
        picture_as_skip,
        Mistake(
            "always the finest skip",
            "Every step up got the finest map. Each needs the one of its own level.",
            wrong=always_the_finest,
        ),
        Mistake(
            "always the coarsest skip",
            "Every step up got the same, coarsest skip. Each needs the one of its own level.",
            wrong=always_the_coarsest,
        ),
        swapped_arguments,
        always_from_the_bottom,
        ups_reversed,
        no_top,
        stays_below,
    ],
    picture=compare_maps,
)
