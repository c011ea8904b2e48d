"""How many pixels come out of a transposed convolution."""

import torch
import torch.nn.functional as F

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.kinds import Kind
from lib.ops import upsampling


def size_without_output_padding(size: int, kernel: int, stride: int, padding: int) -> int:
    """`lib.ops.upsampling.transposed_size` with the four numbers that lesson 02 asks for."""
    return upsampling.transposed_size(size, kernel, stride, padding)


def cases() -> list[Case]:
    return [
        Case(label, numbers, size_by_running(*numbers))
        for label, numbers in (
            ("7 cells, kernel 3, stride 2, padding 1", (7, 3, 2, 1)),
            ("7 cells, kernel 4, stride 2, no padding", (7, 4, 2, 0)),
            ("FCN-32s: 7 cells, kernel 64, stride 32, padding 16", (7, 64, 32, 16)),
            ("one cell", (1, 5, 3, 0)),
            ("stride larger than the kernel", (4, 2, 3, 0)),
        )
    ]


def size_by_running(size: int, kernel: int, stride: int, padding: int) -> int:
    """The truth: a real transposed convolution."""
    return F.conv_transpose1d(torch.zeros(1, 1, size), torch.zeros(1, 1, kernel), None, stride, padding).shape[2]


EXERCISE = Exercise(
    name="transposed_size",
    reference=size_without_output_padding,
    cases=cases,
    takes={"size": Kind.COUNT, "kernel": Kind.COUNT, "stride": Kind.COUNT, "padding": Kind.COUNT},
    gives=Kind.COUNT,
    mistakes=[
        Mistake(
            "one stride too many",
            "You counted one move for every cell. Between n stamps there are n − 1 moves.",
            wrong=lambda size, kernel, stride, padding: size * stride + kernel - 2 * padding,
        ),
        Mistake(
            "padding added",
            "In a transposed convolution padding is cut off, not added.",
            wrong=lambda size, kernel, stride, padding: (size - 1) * stride + kernel + 2 * padding,
        ),
        Mistake(
            "padding counted once",
            "Padding is cut off at both ends.",
            wrong=lambda size, kernel, stride, padding: (size - 1) * stride + kernel - padding,
        ),
        Mistake(
            "padding forgotten",
            "Right without padding. What is cut off?",
            wrong=lambda size, kernel, stride, padding: (size - 1) * stride + kernel,
        ),
        Mistake(
            "kernel forgotten",
            "You multiplied by the stride and nothing else. That is right only where kernel − 2 · padding happens"
            " to be the stride.",
            wrong=lambda size, kernel, stride, padding: size * stride,
        ),
        Mistake(
            "the size of an ordinary convolution",
            "That is how large a *convolution* makes it. Here the map grows.",
            wrong=lambda size, kernel, stride, padding: (size + 2 * padding - kernel) // stride + 1,
        ),
        Mistake(
            "a stride for the last stamp",
            "You let the last stamp take a whole stride as well. Its length is that of the kernel; strides lie between "
            "stamps.",
            wrong=lambda size, kernel, stride, padding: (size - 1) * stride + kernel - 2 * padding + stride - 1,
        ),
        Mistake(
            "never less than the strides",
            "You count a whole stride for the last stamp where the stride is larger than the kernel, as some libraries "
            "do. Its length is that of the kernel.",
            wrong=lambda size, kernel, stride, padding: size * stride + max(kernel - stride, 0) - 2 * padding,
        ),
        Mistake(
            "padding taken off the cells",
            "You took the padding off before the stride. It is pixels of the *result* that are cut off.",
            wrong=lambda size, kernel, stride, padding: (size - 1 - 2 * padding) * stride + kernel,
        ),
    ],
)
