"""A transposed convolution by stamping."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Exercise, mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.exercises.lessons.lesson_02._parts import by_torch, cases
from lib.ops import upsampling


def scatter(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """`lib.ops.upsampling.transposed_conv_scatter` without the padding and bias that lesson 02 leaves out."""
    return upsampling.transposed_conv_scatter(x, weight, stride)


@mistake(
    "stamps replace each other",
    "Where stamps overlap, your last one wins. They must be added: `+=`, not `=`.",
)
def stamped_over(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Later stamps replace earlier ones."""
    kernel = weight.shape[2]
    out = x.new_zeros(by_torch(x, weight, stride).shape)
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            stamp = torch.einsum("bc,coij->boij", x[:, :, row, column], weight)
            top, left = row * stride, column * stride
            out = out.clone()
            out[:, :, top : top + kernel, left : left + kernel] = stamp
    return out


@mistake(
    "channels taken the other way round",
    "`weight` is (channels in, channels out, k, k) here. You read it as an ordinary convolution's, output "
    "first. With as many channels out as in, no shape warns you.",
)
def stamped_outputs_first(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The same mistake as in `channels_taken_the_other_way`, made where each cell's stamp is computed."""
    kernel, channels = weight.shape[2], weight.shape[0]
    sizes = [(cells - 1) * stride + kernel for cells in x.shape[2:]]
    out = x.new_zeros(x.shape[0], channels, *sizes)
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            stamp = torch.einsum("bc,ocij->boij", x[:, :, row, column], weight)
            top, left = row * stride, column * stride
            out[:, :, top : top + kernel, left : left + kernel] += stamp
    return out


@mistake(
    "stamp turned by half a turn",
    "Your stamps are upside down and left to right. Stamping uses the kernel as it is; only the gathering "
    "view turns it.",
)
def stamp_turned(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return by_torch(x, weight.flip(2, 3), stride)


@mistake(
    "rows and columns of the stamp swapped",
    "Your stamps are mirrored at the diagonal.",
)
def stamp_transposed(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return by_torch(x, weight.transpose(2, 3), stride)


@mistake(
    "stride ignored",
    "Your stamps start one pixel apart whatever the stride.",
)
def stride_ignored(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return by_torch(x, weight, 1)


@mistake(
    "room for one stamp too many",
    "The numbers are right, but there is an empty strip at the right and at the bottom. The first stamp "
    "needs k pixels; only each further one needs `stride` more.",
)
def one_stride_too_large(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    right = by_torch(x, weight, stride)
    wanted = [cells * stride + weight.shape[2] for cells in x.shape[2:]]
    return F.pad(right, (0, wanted[1] - right.shape[3], 0, wanted[0] - right.shape[2]))


@mistake(
    "room for `stride` pixels a cell",
    "Your canvas has `stride` rows and columns for each cell, as if no stamp reached further than the next one's "
    "start. The first stamp needs k pixels, and each further one `stride` more. With a kernel larger than the stride, "
    "the last stamp does not fit.",
)
def stride_pixels_a_cell(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """May crash, as a learner's does: the last stamp reaches over the edge."""
    kernel, channels = weight.shape[2], weight.shape[1]
    out = x.new_zeros(x.shape[0], channels, x.shape[2] * stride, x.shape[3] * stride)
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            stamp = torch.einsum("bc,coij->boij", x[:, :, row, column], weight)
            top, left = row * stride, column * stride
            out[:, :, top : top + kernel, left : left + kernel] += stamp
    return out


EXERCISE = Exercise(
    name="transposed_conv_scatter",
    reference=scatter,
    cases=cases,
    takes={"x": Kind.MAP, "weight": Kind.MAP},
    gives=Kind.MAP,
    forbidden=(F.conv_transpose2d,),
    mistakes=[
        stamped_over,
        stamped_outputs_first,
        stamp_turned,
        stamp_transposed,
        stride_ignored,
        one_stride_too_large,
        stride_pixels_a_cell,
    ],
    picture=compare_maps,
)
