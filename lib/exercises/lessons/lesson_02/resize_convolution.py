"""Make the map larger by copying, then convolve it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.ops import upsampling


def resize_convolution(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    """The course's own: copy every cell into a block, then convolve without changing the size."""
    return F.conv2d(upsampling.nearest_upsample(x, factor), weight, padding=weight.shape[-1] // 2)


def cases() -> list[Case]:
    return [
        Case.from_truth(label, (random_values(*x), random_values(*weight, seed=1), factor), copied_by_hand)
        for label, x, weight, factor in (
            ("one channel, kernel 3, factor 2", (1, 1, 2, 3), (1, 1, 3, 3), 2),
            ("two pictures, 3 channels in, 4 out, factor 3", (2, 3, 2, 2), (4, 3, 3, 3), 3),
            ("kernel 5", (1, 2, 3, 3), (2, 2, 5, 5), 2),
            ("kernel 1", (1, 2, 2, 2), (3, 2, 1, 1), 2),
        )
    ]


def copied_by_hand(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    """The truth: blocks by a Kronecker product with ones, then one output pixel after the other."""
    blocks = torch.kron(x, x.new_ones(1, 1, factor, factor))
    kernel = weight.shape[-1]
    padded = F.pad(blocks, (kernel // 2,) * 4)
    patches = padded.unfold(2, kernel, 1).unfold(3, kernel, 1)  # (B, C, H, W, k, k)
    return torch.einsum("bchwij,kcij->bkhw", patches, weight)


@mistake(
    "convolved before resizing",
    "You convolved the small map and copied the result: it has blocks. Resize first, so that the"
    " convolution can smooth them.",
)
def convolved_first(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    small = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    return upsampling.nearest_upsample(small, factor)


@mistake(
    "bilinear instead of nearest",
    "That works too, but the task asks for copying: nearest neighbour.",
)
def mixed_not_copied(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    large = F.interpolate(x, scale_factor=factor, mode="bilinear")
    return F.conv2d(large, weight, padding=weight.shape[-1] // 2)


@mistake(
    "no padding",
    "The convolution eats the rim: the result is k − 1 pixels too small.",
)
def no_padding(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    return F.conv2d(upsampling.nearest_upsample(x, factor), weight)


@mistake(
    "padding 1 for every kernel",
    "Right for a kernel of 3. The padding that keeps the size depends on the kernel.",
)
def padding_one(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    return F.conv2d(upsampling.nearest_upsample(x, factor), weight, padding=1)


@mistake(
    "a transposed convolution",
    "That is a transposed convolution: neighbouring pixels come from different weights. Here two steps are wanted: "
    "copy, then convolve.",
)
def transposed_instead(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    kernel = weight.shape[-1]
    return F.conv_transpose2d(x, weight.transpose(0, 1), None, factor, kernel // 2, factor - 1)


EXERCISE = Exercise(
    name="resize_convolution",
    reference=resize_convolution,
    cases=cases,
    takes={"x": Kind.MAP, "weight": Kind.MAP},
    gives=Kind.MAP,
    mistakes=[
        convolved_first,
        mixed_not_copied,
        no_padding,
        padding_one,
        transposed_instead,
    ],
    picture=compare_maps,
)
