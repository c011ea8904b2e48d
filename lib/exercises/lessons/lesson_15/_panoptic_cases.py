"""What the queries say in the cases of `panoptic_inference`."""

from typing import Any

import torch
from torch import Tensor

from lib.exercises.engine.inputs import random_values


def inputs() -> dict[str, tuple[Any, ...]]:
    """The arguments by label. No pixel is a tie, and no mask probability is 1/2."""
    return {
        "4 queries, 3 classes, 3 × 6 pixels": (
            saying(3, (1, 0.9), (3, 0.95), (0, 0.85), (1, 0.94)),
            masks("980000 980000 870000", "009900 009900 000000", "112200 113300 119981", "000099 000099 000009"),
            {1, 2},
        ),
        "stuff on both sides of a thing": (
            saying(3, (0, 0.9), (2, 0.95), (0, 0.88), (1, 0.92)),
            masks("990000 990000 000000", "009900 009900 000000", "000099 000099 000000", "000000 000000 999999"),
            {2},
        ),
        "most of a mask lies under others": (
            saying(2, (1, 0.82), (1, 0.97), (0, 0.9), (1, 0.93)),
            masks("888880 000000", "099900 000000", "000000 887877", "000008 010001"),
            {1},
        ),
        "pixels won outside of its own mask": (
            saying(2, (1, 0.9), (1, 0.97), (0, 0.95)),
            masks("998844 444444", "009900 000000", "000000 000009"),
            {1},
        ),
        "exactly `kept`: 3 pixels of 4": (
            saying(2, (0, 0.85), (1, 0.95), (0, 0.9)),
            masks("9999 0000", "0009 9000", "0000 0999"),
            {0, 1},
            0.8,
            0.75,
        ),
        "likely that it is nothing": (
            saying(3, (3, 0.45, 1, 0.41), (2, 0.6), (0, 0.33, 1, 0.27), (1, 0.29, 2, 0.27), (3, 0.9)),
            masks("9900 9900", "0099 0000", "0000 0088", "0008 0007", "8765 7654"),
            {1, 2},
            0.3,
            0.5,
        ),
        "a less sure query with the likelier mask": (
            saying(2, (0, 0.95), (1, 0.6), (1, 0.8)),
            masks("774400 777711", "007793 008882", "000067 000078"),
            {1},
            0.5,
            0.4,
        ),
        "stuff whose first query is dropped": (
            saying(2, (0, 0.85), (1, 0.95), (0, 0.9), (0, 0.88)),
            masks("888000 000000", "999000 000000", "000990 000000", "000000 009999"),
            {1},
        ),
        "`kept` is 0": (
            saying(2, (1, 0.85), (1, 0.95), (0, 0.9), (1, 0.92)),
            masks("7000 0000", "9900 9900", "0043 0032", "0000 0099"),
            {1},
            0.8,
            0.0,
        ),
        "`sure` is 1, and no query can be above it": (
            160 * torch.eye(3)[[0, 1, 2]] - 80,
            masks("99 00", "00 99", "11 11"),
            {0},
            1.0,
            0.5,
        ),
        "8 queries, 4 classes": (
            3 * random_values(8, 5, seed=21),
            4 * random_values(8, 5, 7, seed=22),
            {0, 3},
            0.35,
            0.15,
        ),
        "no class can be counted": (
            saying(2, (0, 0.9), (1, 0.95), (0, 0.85), (1, 0.92)),
            masks("9000", "0900", "0090", "0009"),
            set(),
        ),
        "no query takes part": (
            saying(2, (0, 0.7), (2, 0.95), (1, 0.6)),
            masks("99 00", "88 88", "00 99"),
            {0},
        ),
    }


def saying(classes: int, *answers: tuple[float, ...]) -> Tensor:
    """Class logits (Q, classes + 1), from a class and its probability (and another and its) for each query."""
    rows = []
    for class_and_share in answers:
        known = dict(zip(map(int, class_and_share[::2]), class_and_share[1::2], strict=True))
        weights = [float(other % 3 + 1) for other in range(classes + 1)]  # for those that are not named
        left = (1 - sum(known.values())) / sum(w for other, w in enumerate(weights) if other not in known)
        rows.append([known.get(other, weight * left) for other, weight in enumerate(weights)])
    return torch.tensor(rows).log()


def masks(*drawn: str) -> Tensor:
    """Mask logits (Q, H, W): rows of digits, d for a probability of 0.05 + d / 10."""
    digits = [[[int(digit) for digit in row] for row in one.split()] for one in drawn]
    return (0.05 + torch.tensor(digits) / 10).logit()
