"""How much two masks agree, for all pairs."""

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.kinds import Kind
from lib.ops.masks import mask_iou


def cases() -> list[Case]:
    corner, row, empty = torch.zeros(3, 3, 4, dtype=torch.bool)
    corner[:2, :2], row[1, :3] = True, True  # 4 pixels, 3 pixels; 2 are shared
    some, others = (torch.rand(n, 9, 7, generator=torch.Generator().manual_seed(n)) < 0.4 for n in (3, 5))
    named = {
        "4 and 3 pixels, 2 of them shared": (corner[None], row[None]),
        "one mask with three": (corner[None], torch.stack([row, corner, ~corner])),
        "three masks with five": (some, others),
        "an empty mask among others": (torch.stack([empty, row]), torch.stack([corner, empty])),
        "no second masks": (some, others[:0]),
    }
    return [Case(label, masks, pair_by_pair(*masks)) for label, masks in named.items()]


def pair_by_pair(masks1: Tensor, masks2: Tensor) -> Tensor:
    """The truth: pixels are counted."""
    iou = torch.zeros(len(masks1), len(masks2))
    for i, one in enumerate(masks1):
        for j, other in enumerate(masks2):
            either = int((one | other).sum())
            iou[i, j] = int((one & other).sum()) / either if either else 0.0
    return iou


def _counts(masks1: Tensor, masks2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels that each pair shares (N, M), and those of each mask (N, 1), (1, M)."""
    one, other = masks1.flatten(1).float(), masks2.flatten(1).float()
    return one @ other.T, one.sum(1)[:, None], other.sum(1)[None]


@mistake(
    "shared pixels counted twice",
    "You divide by the pixels of both masks added up. Those that they share are in that sum twice.",
)
def union_too_large(masks1, masks2):
    shared, one, other = _counts(masks1, masks2)
    return shared / (one + other).clamp(min=1)


@mistake(
    "Dice instead of IoU",
    "You return twice the shared pixels, divided by the sum of both masks: that is the Dice score of lesson 04. IoU "
    "divides by the pixels of *either*.",
)
def dice(masks1, masks2):
    shared, one, other = _counts(masks1, masks2)
    return 2 * shared / (one + other).clamp(min=1)


@mistake(
    "divided by one mask",
    "You divide the shared pixels by those of the first mask. IoU divides by the pixels of *either* mask.",
)
def of_the_first(masks1, masks2):
    shared, one, _ = _counts(masks1, masks2)
    return shared / one.clamp(min=1)


@mistake("divided by the second mask", "You divide by the pixels of the second mask. IoU divides by those of *either*.")
def of_the_second(masks1, masks2):
    shared, _, other = _counts(masks1, masks2)
    return shared / other.clamp(min=1)


@mistake(
    "divided by the smaller mask",
    "You divide by the pixels of the smaller of both masks, so that a mask inside of another has 1. IoU divides by the "
    "pixels of *either*.",
)
def of_the_smaller(masks1, masks2):
    shared, one, other = _counts(masks1, masks2)
    return shared / torch.minimum(one, other).clamp(min=1)


@mistake("pixels of the picture", "You divide by all pixels of the picture. Divide by those of either mask.")
def of_the_picture(masks1, masks2):
    return _counts(masks1, masks2)[0] / masks1[0].numel()


@mistake("only counted", "You return how many pixels are shared. Divide by how many pixels either mask has.")
def not_divided(masks1, masks2):
    return _counts(masks1, masks2)[0]


@mistake(
    "0 / 0",
    "Right, but where both masks are empty: no pixel divided by no pixel is nan. There the answer is 0.",
)
def nan_for_empty(masks1, masks2):
    shared, one, other = _counts(masks1, masks2)
    return shared / (one + other - shared)


EXERCISE = Exercise(
    name="mask_iou",
    reference=mask_iou,
    cases=cases,
    takes={"masks1": Kind.MASK, "masks2": Kind.MASK},
    gives=Kind.NUMBERS,
    mistakes=[
        union_too_large, dice, of_the_first, of_the_second, of_the_smaller, of_the_picture, not_divided, nan_for_empty,
    ],
)  # fmt: skip
