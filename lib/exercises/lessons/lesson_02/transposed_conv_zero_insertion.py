"""A transposed convolution as an ordinary one on a map with zeros in between."""

import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Exercise, Mistake, mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.exercises.lessons.lesson_02._parts import by_torch, cases
from lib.ops import upsampling


def zero_insertion(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """`lib.ops.upsampling.transposed_conv_zero_insertion` without padding and bias."""
    return upsampling.transposed_conv_zero_insertion(x, weight, stride)


@mistake(
    "channels taken the other way round",
    "`weight` is (channels in, channels out, k, k), and `F.conv2d` wants the outputs first.",
)
def channels_taken_the_other_way(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return by_torch(x, weight.transpose(0, 1), stride)


@mistake(
    "kernel not turned",
    "Your result is that of stamps turned by half a turn. Seen from a pixel, the cells on its left give the"
    " right part of their stamp: gathering needs the kernel turned, in both directions.",
)
def stamp_turned(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return by_torch(x, weight.flip(2, 3), stride)


@mistake(
    "no zeros inserted",
    "Your result does not depend on the stride.",
)
def stride_ignored(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return by_torch(x, weight, 1)


def spread_with_zeros(x: Tensor, stride: int, after_the_last: bool = False) -> Tensor:
    height, width = (cells * stride if after_the_last else (cells - 1) * stride + 1 for cells in x.shape[2:])
    spread = x.new_zeros(*x.shape[:2], height, width)
    spread[:, :, ::stride, ::stride] = x
    return spread


@mistake(
    "too little room at the rim",
    "Your result is too small: it keeps only places where the kernel's middle lies on the map. A stamp "
    "reaches further out; every place counts where the kernel touches the map with a single corner.",
)
def no_room_at_the_rim(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    kernel = weight.shape[2]
    return F.conv2d(spread_with_zeros(x, stride), weight.flip(2, 3).transpose(0, 1), padding=kernel // 2)


@mistake(
    "zeros after the last cell",
    "There are zeros behind the last row and column, so the result is too large. They belong *between* cells.",
)
def zeros_after_the_last(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    kernel = weight.shape[2]
    return F.conv2d(spread_with_zeros(x, stride, True), weight.flip(2, 3).transpose(0, 1), padding=kernel - 1)


@mistake(
    "one zero too many",
    "You put `stride` zeros between neighbours. With `stride − 1` of them, they are `stride` apart.",
)
def stride_zeros_between(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return by_torch(x, weight, stride + 1)


@mistake(
    "copies instead of zeros",
    "You enlarged the map by copying its cells. Between two neighbours there must be zeros.",
)
def copies_inserted(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    height, width = ((cells - 1) * stride + 1 for cells in x.shape[2:])
    spread = x.repeat_interleave(stride, dim=2).repeat_interleave(stride, dim=3)[:, :, :height, :width]
    return F.conv2d(spread, weight.flip(2, 3).transpose(0, 1), padding=weight.shape[2] - 1)


@mistake(
    "channels turned as well",
    "You turned the kernel along all four axes. Half a turn concerns rows and columns, axes 2 and 3; channels stay.",
)
def channels_turned(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return by_torch(x, weight.flip(0, 1), stride)


EXERCISE = Exercise(
    name="transposed_conv_zero_insertion",
    reference=zero_insertion,
    cases=cases,
    takes={"x": Kind.MAP, "weight": Kind.MAP},
    gives=Kind.MAP,
    forbidden=(F.conv_transpose2d,),
    required=(F.conv2d,),
    mistakes=[
        stamp_turned,
        Mistake(
            "kernel turned in one direction only",
            "You turned the kernel's rows round, not its columns. Half a turn is upside down *and* left to right.",
            wrong=lambda x, weight, stride: by_torch(x, weight.flip(3), stride),
        ),
        Mistake(
            "kernel turned left to right only",
            "You turned the kernel's columns round, not its rows. Half a turn is upside down *and* left to right.",
            wrong=lambda x, weight, stride: by_torch(x, weight.flip(2), stride),
        ),
        Mistake(
            "kernel transposed instead of turned",
            "Swapping rows and columns mirrors the kernel at its diagonal. It must be turned by half a turn.",
            wrong=lambda x, weight, stride: by_torch(x, weight.flip(2, 3).transpose(2, 3), stride),
        ),
        channels_taken_the_other_way,
        no_room_at_the_rim,
        zeros_after_the_last,
        stride_zeros_between,
        stride_ignored,
        copies_inserted,
        channels_turned,
    ],
    picture=compare_maps,
)
