"""Turn a layer that reads a flattened map into a convolution with a kernel of that size."""

import torch
from torch import Tensor, nn

from lib.exercises.engine.exercise import Case, Exercise, Mistake, Probe, WrongResult, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_01._parts import (
    BIAS_LOST,
    BIAS_RANDOM,
    MEMORY_SHARED,
    NOT_TRAINABLE,
    is_trainable,
    make_conv,
    make_linear,
    need_original_numbers,
    need_plain_sliding,
    need_shape_of_weights,
    off_by_one_number_per_class,
    shares_no_memory,
)
from lib.layers import convolutionalize


def cases() -> list[Case]:
    cases = []
    for label, channels, height, width in (
        ("2 channels, 3 × 4 cells", 2, 3, 4),
        ("3 channels, 3 × 3 cells", 3, 3, 3),
        ("5 channels, a single cell", 5, 1, 1),
    ):
        fc = make_linear(channels * height * width, 4)
        large = larger_map(channels, height, width)
        corners = [(row, column) for row in range(2) for column in range(3)]
        scores = [fc(large[:, :, row : row + height, column : column + width].flatten(1)) for row, column in corners]
        cases.append(Case(label, (fc, channels, height, width), torch.stack(scores, -1).view(1, 4, 2, 3).detach()))
    return cases


def larger_map(channels: int, height: int, width: int) -> Tensor:
    """A map on which the kernel can stand at 2 × 3 places."""
    return random_values(1, channels, height + 1, width + 2, seed=5)


def scores_on_larger_map(conv: nn.Conv2d, fc: nn.Linear, channels: int, height: int, width: int) -> Tensor:
    if height != width and tuple(conv.weight.shape[1:]) == (channels, width, height):
        raise WrongResult(
            "height and width swapped",
            f"Your kernel is {width} high and {height} wide; the map was {height} "
            f"high and {width} wide. Height comes first in `kernel_size`, as in every shape.",
        )
    need_shape_of_weights(
        conv,
        (fc.out_features, channels, height, width),
        "The kernel must be as large as the map that used to be flattened.",
    )
    need_plain_sliding(conv)
    need_original_numbers(conv, fc)
    return conv(larger_map(channels, height, width))


def kernel_of(fc: nn.Linear, channels: int, height: int, width: int) -> Tensor:
    return fc.weight.detach().view(-1, channels, height, width)


@mistake(
    "channels read as the last axis",
    "You gave the weights back in the order row, column, channel. `flatten` of a PyTorch map "
    "goes channel by channel: the channel moves slowest.",
)
def channels_last(fc: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    return make_conv(fc.weight.detach().view(-1, height, width, channels).permute(0, 3, 1, 2), fc.bias)


@mistake(
    "rows and columns swapped",
    "Each kernel is transposed: `flatten` goes row by row, so the column moves fastest.",
)
def columns_first(fc: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    return make_conv(fc.weight.detach().view(-1, channels, width, height).transpose(2, 3), fc.bias)


@mistake(
    "kernel flipped",
    "Your kernels are turned by 180°. In mathematics a convolution flips its kernel. PyTorch's does not: it"
    " lays the kernel on the map as it is.",
)
def kernel_flipped(fc: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    return make_conv(kernel_of(fc, channels, height, width).flip(2, 3), fc.bias)


@mistake(
    "bias lost",
    BIAS_LOST,
)
def fc_bias_lost(fc: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    return make_conv(kernel_of(fc, channels, height, width), None)


EXERCISE = Exercise(
    name="flatten_fc_as_conv",
    reference=convolutionalize.flatten_fc_as_conv,
    cases=cases,
    takes={"height": Kind.COUNT, "width": Kind.COUNT},
    gives=Kind.MAP,
    mistakes=[
        fc_bias_lost,
        Mistake("bias not copied", BIAS_RANDOM, when=off_by_one_number_per_class),
        channels_last,
        columns_first,
        kernel_flipped,
    ],
    returns=nn.Conv2d,
    observe=scores_on_larger_map,
    probes=[
        Probe(
            "memory shared",
            MEMORY_SHARED,
            passes=lambda function: shares_no_memory(function, make_linear(12, 2), 3, 2, 2),
        ),
        Probe(
            "cannot be trained",
            NOT_TRAINABLE,
            passes=lambda function: is_trainable(function(make_linear(12, 2), 3, 2, 2)),
        ),
    ],
)
