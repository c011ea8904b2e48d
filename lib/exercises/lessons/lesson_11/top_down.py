"""The way down of a feature pyramid: from the smallest map to the largest, enlarged and added step by step."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from lib.exercises.engine.exercise import Case, Exercise, Mistake, Probe
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.map_pictures import compare_maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Maps = list[Tensor]
Convs = list[nn.Module]
BY_2 = (
    "You enlarged by 2, and it crashes where a side is odd: 3 rows become 6, and the map below has 7. Enlarge to the "
    "*size* of the map below; lesson 04 lost a row at the same place."
)


def top_down(maps: Maps, lateral: Convs, smooth: Convs) -> Maps:
    """The course's own, the steps of `lib.layers.fpn.FeaturePyramidNetwork`."""
    return walked(maps, lateral, smooth)


def cases() -> list[Case]:
    named = {
        "three maps: 4 × 8, 2 × 4 and 1 × 2 cells": (2, [(2, 4, 8), (3, 2, 4), (4, 1, 2)], 1),
        "as many channels everywhere": (3, [(3, 8, 4), (3, 4, 2), (3, 2, 1)], 1),
        "odd sides: 7 rows above 3, 9 columns above 5": (2, [(3, 7, 9), (2, 3, 5), (4, 2, 3)], 1),
        "four maps, two pictures": (4, [(2, 8, 8), (3, 4, 4), (1, 2, 2), (3, 1, 1)], 2),
        "one map": (3, [(2, 3, 4)], 2),
    }
    return [Case(label, made(*numbers), by_torchvision(*made(*numbers))) for label, numbers in named.items()]


def made(channels: int, shapes: list[tuple[int, int, int]], pictures: int) -> tuple[Maps, Convs, Convs]:
    """Maps, largest first, and the convolutions for them; `shapes` are (C_i, h_i, w_i)."""
    maps = [random_values(pictures, *shape, seed=i) for i, shape in enumerate(shapes)]
    lateral = [conv(shape[0], channels, 1, seed=10 + i) for i, shape in enumerate(shapes)]
    return maps, lateral, [conv(channels, channels, 3, seed=20 + i) for i in range(len(shapes))]


def conv(inputs: int, outputs: int, side: int, seed: int) -> nn.Module:
    layer = nn.Conv2d(inputs, outputs, side, padding=side // 2)
    layer.weight.data = random_values(*layer.weight.shape, seed=seed)
    layer.bias.data = random_values(outputs, seed=seed + 100)
    return layer


def by_torchvision(maps: Maps, lateral: Convs, smooth: Convs) -> Maps:
    """The truth: torchvision's module, with these convolutions in it."""
    pyramid = FeaturePyramidNetwork([one.shape[1] for one in maps], 1)
    pyramid.inner_blocks, pyramid.layer_blocks = nn.ModuleList(lateral), nn.ModuleList(smooth)
    with torch.no_grad():
        return list(pyramid({str(i): one for i, one in enumerate(maps)}).values())


def enlarged(above: Tensor, own: Tensor, mode: str = "nearest", align_corners: bool | None = None) -> Tensor:
    """(B, C, h', w') -> (B, C, h, w), as large as `own`."""
    return F.interpolate(above, size=own.shape[2:], mode=mode, align_corners=align_corners)


def twice(above: Tensor) -> Tensor:
    return F.interpolate(above, scale_factor=2)


def walked(
    maps: Maps,
    lateral: Convs,
    smooth: Convs,
    join: Callable[[Tensor, Tensor], Tensor] = lambda own, above: own + enlarged(above, own),
    handed: Callable[..., Tensor] = lambda one, own, merged, *_: merged,
) -> Maps:
    """`top_down` with its decisions open: how two maps are joined, and what goes on down.

    `handed` is asked with the backbone's map, that map after its 1×1 convolution, the sum, the sum after its 3×3
    convolution, and what came from above.
    """
    results: Maps = []
    above = None
    for one, across, last in zip(maps[::-1], lateral[::-1], smooth[::-1], strict=True):
        own = across(one)  # (B, C, h_i, w_i)
        merged = own if above is None else join(own, above)
        results.insert(0, last(merged))
        above = handed(one, own, merged, results[0], above)
    return results


def none_of(convs: Convs) -> Convs:
    return [nn.Identity() for _ in convs]


def both(first: Convs, then: Convs) -> Convs:
    return [nn.Sequential(*pair) for pair in zip(first, then, strict=True)]


MISTAKES = [
    Mistake(
        "the smoothed map handed down",
        "You enlarged what came out of the 3×3 convolution. Handed down is the sum *before* it: the 3×3 convolution is "
        "for the map that leaves.",
        wrong=partial(walked, handed=lambda one, own, merged, smoothed, above: smoothed),
    ),
    Mistake(
        "only from the next level",
        "To each map you added only what the next smaller map holds itself. What came down to that one from further up "
        "belongs to it: enlarge the *sum*.",
        wrong=partial(walked, handed=lambda one, own, *_: own),
    ),
    Mistake(
        "no way down",
        "Nothing comes down: each of your maps depends on its own level alone.",
        wrong=partial(walked, join=lambda own, above: own),
    ),
    Mistake(
        "own map forgotten",
        "Your larger maps hold nothing but what comes from above. The own map, after its 1×1 convolution, is added.",
        wrong=partial(walked, join=lambda own, above: enlarged(above, own)),
    ),
    Mistake("enlarged by 2", BY_2, wrong=partial(walked, join=lambda own, above: own + twice(above))),
    Mistake("always enlarged by 2", BY_2, wrong=partial(walked, join=lambda own, above: twice(above) + own)),
    Mistake(
        "concatenated",
        "You laid the two maps side by side: 2 · C channels. They are *added*, and stay C.",
        wrong=partial(walked, join=lambda own, above: torch.cat([own, enlarged(above, own)], dim=1)),
    ),
    Mistake(
        "bilinear",
        "You mixed neighbouring cells when enlarging (bilinear). It should be the nearest cell, repeated.",
        wrong=partial(walked, join=lambda own, above: own + enlarged(above, own, "bilinear")),
    ),
    Mistake(
        "bilinear, from corner to corner",
        "You mixed neighbouring cells when enlarging (`align_corners`). It should be the nearest cell, repeated.",
        wrong=partial(walked, join=lambda own, above: own + enlarged(above, own, "bilinear", True)),
    ),
    Mistake(
        "nearest-exact",
        'Right, but for odd sides: `"nearest-exact"` counts from the middles of the cells. It should be `"nearest"`.',
        wrong=partial(walked, join=lambda own, above: own + enlarged(above, own, "nearest-exact")),
    ),
    Mistake(
        "mean instead of sum",
        "You took the mean of the level's own map and what comes from above. It should be their sum.",
        wrong=partial(walked, join=lambda own, above: (own + enlarged(above, own)) / 2),
    ),
    Mistake(
        "smallest first",
        "The right maps, but the smallest comes first. They should come in the order of `maps`: the largest first.",
        wrong=lambda maps, lateral, smooth: walked(maps, lateral, smooth)[::-1],
    ),
    Mistake(
        "the smallest not smoothed",
        "Your smallest map left without its 3×3 convolution. Every level has one, that with nothing above it too.",
        wrong=lambda maps, lateral, smooth: walked(maps, lateral, [*smooth[:-1], nn.Identity()]),
    ),
    Mistake(
        "nothing smoothed",
        "You return the sums. Each goes through its own 3×3 convolution before it leaves.",
        wrong=lambda maps, lateral, smooth: walked(maps, lateral, none_of(smooth)),
    ),
    Mistake(
        "3×3 convolutions from the wrong end",
        "The sums are right, but you went through `smooth` from the wrong end: `smooth[0]` is for the *largest* map.",
        wrong=lambda maps, lateral, smooth: walked(maps, lateral, smooth[::-1]),
    ),
    Mistake(
        "convolutions from the wrong end",
        "You go through `maps` from the smallest on, and through `lateral` and `smooth` from their beginning. All "
        "three lists begin with the *largest* map.",
        wrong=lambda maps, lateral, smooth: walked(maps, lateral[::-1], smooth[::-1]),
    ),
    Mistake(
        "always from the smallest map",
        "To every map you added the smallest one. What comes down to a map is the sum of the level just above it.",
        wrong=partial(walked, handed=lambda one, own, merged, smoothed, above: own if above is None else above),
    ),
    Mistake(
        "the same 3×3 convolution everywhere",
        "Every level went through the first 3×3 convolution. Each has its own, `smooth[i]`.",
        wrong=lambda maps, lateral, smooth: walked(maps, lateral, smooth[:1] * len(maps)),
    ),
    Mistake(
        "maps added before the 1×1 convolution",
        "You added a map to another one before its 1×1 convolution. Each map goes through its own first: only then "
        "have all of them C channels.",
        wrong=lambda maps, lateral, smooth: walked(maps, none_of(lateral), both(lateral, smooth)),
    ),
    Mistake(
        "the smallest map without its 1×1 convolution",
        "You handed the smallest map down as the backbone gave it. It goes through its own 1×1 convolution first, like "
        "the others.",
        wrong=partial(walked, handed=lambda one, own, merged, smoothed, above: one if above is None else merged),
    ),
    Mistake(
        "smoothed before the addition",
        "You sent each map through its 3×3 convolution before what comes from above was added. First add, then smooth.",
        wrong=lambda maps, lateral, smooth: walked(maps, both(lateral, smooth), none_of(smooth)),
    ),
    Mistake(
        "a way up",
        "Your walk begins at the largest map and ends at the smallest. It goes the other way: the smallest map has "
        "seen most, and hands it down.",
        wrong=lambda maps, lateral, smooth: walked(maps[::-1], lateral[::-1], smooth[::-1])[::-1],
    ),
]


def gradient_arrives(function: Callable) -> bool:
    maps, lateral, smooth = made(2, [(2, 4, 4), (3, 2, 2)], 1)
    leaves = [one.requires_grad_() for one in maps]
    largest = function(list(leaves), lateral, smooth)[0]
    if not largest.requires_grad:
        return False
    return None not in torch.autograd.grad(largest.sum(), leaves, allow_unused=True)


def only_the_smallest_is_right(got: Any, expected: Any, case: Case) -> bool:
    same = [torch.allclose(mine, ours, 1e-4, 1e-5) for mine, ours in zip(got, expected, strict=True)]
    return same[-1] and not any(same[:-1])


def picture(got: Any, expected: Any, case: Case) -> "Figure | None":
    """The smallest map that is wrong: it is where the walk goes astray."""
    wrong = [pair for pair in zip(got, expected, strict=True) if not torch.allclose(*pair, 1e-4, 1e-5)]
    return compare_maps(*wrong[-1], case)


EXERCISE = Exercise(
    name="top_down",
    reference=top_down,
    cases=cases,
    mistakes=[
        *MISTAKES,
        Mistake(
            "only the smallest map is right",
            "Where it fails, your smallest map is right and all others are wrong. Look at how a map comes to the size "
            "of the next one, and at how the two are joined.",
            when=only_the_smallest_is_right,
        ),
    ],
    probes=[
        Probe(
            "gradient cut off",
            "The numbers are right, but from your largest map no gradient goes back to every one of `maps`, so the "
            "backbone could not learn through it. `.detach()`, `.data` and `torch.no_grad()` cut it.",
            passes=gradient_arrives,
        )
    ],
    picture=picture,
)
