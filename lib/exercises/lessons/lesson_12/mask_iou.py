"""How well each mask of one list covers each mask of another."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torchvision.ops import box_iou

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_uniform
from lib.exercises.engine.kinds import Kind
from lib.ops.masks import mask_iou, masks_to_boxes


def cases() -> list[Case]:
    some = random_masks(3, 6, 5, seed=4)
    empty = torch.zeros(1, 6, 5, dtype=torch.bool)
    left = torch.arange(5).expand(1, 4, 5) < 2
    large = torch.ones(2, 20, 30, dtype=torch.bool)
    large[1, :7] = False
    named = {
        "2 masks and 3 masks of 3 × 4 pixels": (random_masks(2, 3, 4, seed=1), random_masks(3, 3, 4, seed=2)),
        "as many on both sides": (random_masks(3, 4, 6, seed=5), random_masks(3, 4, 6, seed=6)),
        "a mask with itself, and with its opposite": (some[:1], torch.stack([some[0], ~some[0]])),
        "an empty mask on both sides": (torch.cat([some, empty]), torch.cat([empty, some[1:]])),
        "masks side by side": (left, left.flip(2)),
        "hundreds of pixels shared": (large, large.flip(1)),
    }
    return [Case(label, pair, by_pixels(*pair)) for label, pair in named.items()]


def random_masks(count: int, height: int, width: int, seed: int) -> Tensor:
    return random_uniform(count, height, width, seed=seed) < 0.5  # (count, height, width)


def by_pixels(masks1: Tensor, masks2: Tensor) -> Tensor:
    """The truth, pair by pair: masks as sets of places."""
    table = torch.zeros(len(masks1), len(masks2))
    places1, places2 = ([set(map(tuple, one.nonzero().tolist())) for one in masks] for masks in (masks1, masks2))
    for i, one in enumerate(places1):
        for j, other in enumerate(places2):
            table[i, j] = len(one & other) / len(one | other) if one | other else 0.0
    return table


Counts = Callable[[Tensor, Tensor, Tensor], Tensor]  # shared (N, M), pixels of the one (N, 1), of the other (1, M)


def compared(
    masks1: Tensor,
    masks2: Tensor,
    either: Counts = lambda shared, one, other: one + other - shared,
    divide: Callable[[Tensor, Tensor], Tensor] = lambda shared, either: shared / either.clamp(min=1),
    shared: Callable[[Tensor, Tensor], Tensor] = lambda one, other: one.float() @ other.float().T,
) -> Tensor:
    """`mask_iou` with its decisions open: how shared pixels are counted, by what they are divided, and how."""
    one, other = masks1.flatten(1), masks2.flatten(1)  # (N, H · W), (M, H · W)
    both = shared(one, other)  # (N, M)
    return divide(both, either(both, one.sum(1, keepdim=True), other.sum(1)[None]))


def by_boxes(masks1: Tensor, masks2: Tensor) -> Tensor:
    table = torch.zeros(len(masks1), len(masks2))
    some1, some2 = (masks.flatten(1).any(1).nonzero()[:, 0] for masks in (masks1, masks2))
    boxes1, boxes2 = (masks_to_boxes(masks[some]) for masks, some in ((masks1, some1), (masks2, some2)))
    one_further = torch.tensor([0, 0, 1, 1])
    table[some1[:, None], some2] = box_iou(boxes1 + one_further, boxes2 + one_further)
    return table


MISTAKES = [
    Mistake(
        "shared pixels counted twice",
        "You divided by the pixels of the one plus those of the other. There the shared ones count twice: take them "
        "away once. A mask with itself gives ½ in yours.",
        wrong=partial(compared, either=lambda shared, one, other: one + other),
    ),
    Mistake(
        "Dice instead of IoU",
        "That is Dice, 2 · shared / (one + other). It should be the IoU: shared pixels / pixels of either.",
        wrong=partial(
            compared, either=lambda shared, one, other: (one + other) / 2, divide=lambda a, b: a / b.clamp(0.5)
        ),
    ),
    Mistake(
        "divided by the pixels of the first mask",
        "You divided by the pixels of the first mask alone. Asked are those of *either*.",
        wrong=partial(compared, either=lambda shared, one, other: one),
    ),
    Mistake(
        "divided by the pixels of the second mask",
        "You divided by the pixels of the second mask alone. Asked are those of *either*.",
        wrong=partial(compared, either=lambda shared, one, other: other),
    ),
    Mistake(
        "divided by the pixels of the smaller mask",
        "You divided by the pixels of the smaller mask, so that one inside of another gives 1. Asked are those of "
        "*either*.",
        wrong=partial(compared, either=lambda shared, one, other: torch.minimum(one, other)),
    ),
    Mistake(
        "0 / 0 for empty masks",
        "Right, but two empty masks give NaN: they have no pixel in either, and 0 / 0 is NaN. It should be 0.",
        wrong=partial(compared, divide=torch.div),
    ),
    Mistake(
        "empty masks agree",
        "Right, but two empty masks give 1. They share no pixel: it should be 0.",
        wrong=partial(compared, divide=lambda shared, either: torch.where(either > 0, shared / either, 1.0)),
    ),
    Mistake(
        "only counted",
        "You return how many pixels are shared. Divide by the pixels of either.",
        wrong=partial(compared, divide=lambda shared, either: shared),
    ),
    Mistake(
        "divided by all pixels of the picture",
        "You divided by all pixels, for instance with `mean`. Pixels that neither mask has do not count.",
        wrong=lambda masks1, masks2: compared(masks1, masks2, either=lambda *_: torch.tensor(masks1[0].numel())),
    ),
    Mistake(
        "pixels of neither count as shared",
        "You count each pixel on which the masks agree, so also those that neither has. Shared is what *both* have.",
        wrong=partial(compared, shared=lambda one, other: (one[:, None] == other).sum(2)),
    ),
    Mistake(
        "boxes compared",
        "You compared the boxes around the masks. A box says nothing about which of its pixels belong to the thing.",
        wrong=by_boxes,
    ),
    Mistake(
        "counted in bytes",
        "Right for small masks. You counted in `uint8`, which starts again from 0 after 255. Make floats of the masks.",
        wrong=partial(compared, shared=lambda one, other: (one.byte() @ other.byte().T).float()),
    ),
]

EXERCISE = Exercise(
    name="mask_iou",
    reference=mask_iou,
    cases=cases,
    takes={"masks1": Kind.MASK, "masks2": Kind.MASK},
    gives=Kind.NUMBERS,
    mistakes=MISTAKES,
)
