"""The inputs, and the truth, of both ways to a transposed convolution."""

import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case
from lib.exercises.engine.inputs import random_values


def by_torch(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return F.conv_transpose2d(x, weight, stride=stride)


def cases() -> list[Case]:
    return [
        Case.from_truth(label, (random_values(*x), random_values(*weight, seed=1), stride), by_torch)
        for label, x, weight, stride in (
            ("one channel, kernel 3, stride 2: stamps overlap", (1, 1, 2, 3), (1, 1, 3, 3), 2),
            ("two pictures, 3 channels in, 2 out", (2, 3, 3, 2), (3, 2, 3, 3), 2),
            ("as many channels out as in", (1, 2, 2, 2), (2, 2, 2, 2), 2),
            ("stride 1", (1, 2, 3, 3), (2, 3, 3, 3), 1),
            ("stride larger than the kernel: gaps", (1, 1, 2, 2), (1, 2, 2, 2), 3),
        )
    ]
