"""How little a mask changes if its threshold is moved up or down."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.values import in_single_precision
from lib.ops import mask_filters


def stability_score(logits: Tensor, threshold: float, offset: float) -> Tensor:
    """The course's own: the smaller mask lies inside of the larger one, so pixels are counted, and divided."""
    return mask_filters.stability_score(logits, threshold, offset)


def cases() -> list[Case]:
    # Above 1 lie 2 pixels and 1, above 0 lie 3 and 2, above −1 lie 4 and 5.
    small = torch.tensor([[[3.0, 2, 0.5], [-0.5, -2, -3]], [[4, 0.5, -0.5], [-0.25, -0.75, -2]]])
    bounds = torch.tensor([[[1.5, 1.5, 0.5, 0.5], [2, 0.25, 0.5, 1]], [[0.5, 1.5, 1, 1], [2, 2, 3, 0]]])
    extremes = torch.tensor([[[-3.0, -2, -5]], [[-0.5, 0.5, -2]], [[3, 2, 5]], [[0.5, -5, 4]]])
    named = {
        "2 masks of 2 × 3 pixels; threshold 0": (small, 0.0, 1.0),
        "threshold 1": (random_values(3, 4, 6, seed=1), 1.0, 0.5),
        "threshold −0.5": (random_values(2, 7, 3, seed=2), -0.5, 0.75),
        "logits that are exactly threshold + offset or threshold − offset": (bounds, 1.0, 0.5),
        "masks without a pixel above threshold − offset, or above threshold + offset": (extremes, 0.0, 1.0),
        "offset 0": (torch.cat([random_values(2, 3, 5, seed=3), torch.full((1, 3, 5), -1.0)]), 0.25, 0.0),
        "all lengths are 3": (random_values(3, 3, 3, seed=4), 0.125, 0.5),
        "one mask": (random_values(1, 5, 2, seed=5), 0.0, 0.5),
        "masks of one row": (random_values(3, 1, 8, seed=6), -0.25, 0.5),
        "masks of one column": (random_values(2, 7, 1, seed=7), 0.25, 0.75),
        "masks of one pixel": (torch.tensor([[[2.0]], [[0.25]], [[-2.0]]]), 0.0, 0.5),
        "large masks": (random_values(2, 40, 50, seed=8), 0.5, 0.25),
        "no masks": (torch.empty(0, 3, 4), 0.0, 1.0),
    }
    return [Case(label, given, pixel_by_pixel(*given)) for label, given in named.items()]


def pixel_by_pixel(logits: Tensor, threshold: float, offset: float) -> Tensor:
    """The truth: both masks as sets of pixels."""
    scores = []
    for values in logits.flatten(1).tolist():
        high, low = ({i for i, x in enumerate(values) if x > threshold + by} for by in (offset, -offset))
        scores.append(len(high & low) / len(high | low) if high | low else 0.0)
    return torch.tensor(scores)


def safely(smaller: Tensor, larger: Tensor, pixels: int) -> Tensor:
    return smaller / larger.clamp(min=1)


def opened(
    logits: Tensor,
    threshold: float,
    offset: float,
    values: Callable[[Tensor], Tensor] = lambda logits: logits,
    bounds: Callable[[float, float], tuple[float, float]] = lambda threshold, offset: (
        threshold + offset,
        threshold - offset,
    ),
    above: tuple[Callable[..., Tensor], Callable[..., Tensor]] = (torch.gt, torch.gt),
    ratio: Callable[[Tensor, Tensor, int], Tensor] = safely,
) -> Tensor:
    """`stability_score` with its decisions open.

    Args:
        values: what is done to the logits before.
        bounds: from threshold and offset to the upper bound and the lower one.
        above: how the values are compared with each of these.
        ratio: from the pixels of the smaller and the larger masks (M,), and those of a picture, to the scores.
    """
    compared = [is_above(values(logits), bound) for is_above, bound in zip(above, bounds(threshold, offset))]
    smaller, larger = (mask.sum((1, 2)) for mask in compared)
    return ratio(smaller, larger, logits.shape[1] * logits.shape[2])


STRICT = (
    "Right, but for logits that are exactly at a bound. The comparisons are strict: above means `>`. Yours take {}."
)
BOTH = "Two masks are compared: one {} and one {}."
UPSIDE_DOWN = (
    "You divide the pixels of the larger mask by those of the smaller one. A low bound gives the *larger* mask; shared "
    "are the pixels of the smaller one. An IoU is never above 1."
)
EMPTY = "A mask without any pixel above threshold − offset should get 0; yours gets {}."

MISTAKES: list[tuple[str, str, dict[str, Any]]] = [  # a name, words, and decisions of `opened`
    (
        "an empty mask gets 1",
        f"Right, but for empty masks. {EMPTY.format('1')}",
        {"ratio": lambda smaller, larger, pixels: torch.where(larger > 0, smaller / larger, 1.0)},
    ),
    ("not strict", STRICT.format("them in at both bounds"), {"above": (torch.ge, torch.ge)}),
    ("not strict above", STRICT.format("them in at threshold + offset"), {"above": (torch.ge, torch.gt)}),
    ("not strict below", STRICT.format("them in at threshold − offset"), {"above": (torch.gt, torch.ge)}),
    (
        "threshold forgotten",
        "Right where the threshold is 0. You compare with offset and −offset: these two should lie around the "
        "*threshold*.",
        {"bounds": lambda threshold, offset: (offset, -offset)},
    ),
    (
        "only moved up",
        f"You compare the mask at a higher threshold with the one at the threshold itself. "
        f"{BOTH.format('at a higher threshold', 'at a lower one')}",
        {"bounds": lambda threshold, offset: (threshold + offset, threshold)},
    ),
    (
        "only moved down",
        f"You compare the mask at a lower threshold with the one at the threshold itself. "
        f"{BOTH.format('at a higher threshold', 'at a lower one')}",
        {"bounds": lambda threshold, offset: (threshold, threshold - offset)},
    ),
    (
        "offset 1 fixed",
        "You move the threshold by 1, whatever `offset` is.",
        {"bounds": lambda threshold, offset: (threshold + 1, threshold - 1)},
    ),
    (
        "offset halved",
        "You move the threshold by offset / 2 up and down. It is moved by the whole offset, each way.",
        {"bounds": lambda threshold, offset: (threshold + offset / 2, threshold - offset / 2)},
    ),
    (
        "larger over smaller",
        UPSIDE_DOWN,
        {"ratio": lambda smaller, larger, pixels: larger / smaller.clamp(min=1)},
    ),
    (
        "Dice instead of IoU",
        "You divide by the mean of both masks' pixels: that is Dice. An IoU divides by the pixels of *either* mask.",
        {"ratio": lambda smaller, larger, pixels: 2 * smaller / (smaller + larger).clamp(min=1)},
    ),
    (
        "shared pixels counted twice",
        "You divide by the pixels of the one mask plus those of the other. There the shared ones count twice.",
        {"ratio": lambda smaller, larger, pixels: smaller / (smaller + larger).clamp(min=1)},
    ),
    (
        "agreement over the whole picture",
        "You count the share of all pixels on which both masks agree, so also those that neither has. So a small mask "
        "would always look stable. An IoU leaves out the pixels of neither mask.",
        {"ratio": lambda smaller, larger, pixels: 1 - (larger - smaller) / pixels},
    ),
    (
        "divided by all pixels of the picture",
        "You divide the pixels of the smaller mask by those of the whole picture, for instance with `mean`. An IoU "
        "leaves out the pixels of neither mask.",
        {"ratio": lambda smaller, larger, pixels: smaller / pixels},
    ),
    (
        "sigmoid taken",
        "You took the sigmoid of the logits. Threshold and offset are meant for the logits as they are.",
        {"values": torch.sigmoid},
    ),
]
NO_NUMBER = EMPTY.format("0 / 0, which is NaN")


def divided(smaller: Tensor, larger: Tensor, pixels: int) -> Tensor:
    return smaller / larger


EXERCISE = Exercise(
    name="stability_score",
    reference=stability_score,
    cases=cases,
    takes={"logits": Kind.MAP},
    gives=Kind.NUMBERS,
    observe=in_single_precision,
    mistakes=[
        Mistake(
            "masks along the last axis",
            "You count along the first two axes, so that a score for each column is left. The first axis counts the "
            "masks: count along rows and columns.",
            wrong=lambda logits, *given: opened(logits.movedim(-1, 0), *given),
        ),
        Mistake("0 / 0", f"Right, but for empty masks. {NO_NUMBER}", wrong=partial(opened, ratio=divided)),
        *(Mistake(name, told, wrong=partial(opened, **made)) for name, told, made in MISTAKES),
        Mistake(
            "larger over smaller; 0 / 0",
            UPSIDE_DOWN,
            wrong=partial(opened, ratio=lambda smaller, larger, pixels: larger / smaller),
        ),
        *(
            Mistake(f"{name}; 0 / 0", f"{told} Besides: {NO_NUMBER}", wrong=partial(opened, **made, ratio=divided))
            for name, told, made in MISTAKES
            if "ratio" not in made and name != "sigmoid taken"
        ),
    ],
)
