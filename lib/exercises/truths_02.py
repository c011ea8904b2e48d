"""What the exercises of lesson 02 are tried on: inputs, the truth by another road than the solution, and wrong answers.

The exercises themselves, with the words for each mistake, are in `lesson_02.py`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.exercise import Case
from lib.ops import upsampling


def random_values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- bilinear_kernel ----------------------------------------------------------------------------------------------


def kernel_cases() -> list[Case]:
    return [Case(f"factor {factor}", (factor,), kernel_by_interpolation(factor)) for factor in (2, 3, 4, 1, 8)]


def kernel_by_interpolation(factor: int) -> Tensor:
    """The truth: what PyTorch's bilinear upsampling makes of a single 1 in a map of zeros, without the zeros around."""
    single = torch.zeros(1, 1, 5, 5)
    single[0, 0, 2, 2] = 1
    spread = F.interpolate(single, scale_factor=factor, mode="bilinear", align_corners=False)[0, 0]
    rows = spread.sum(dim=1).nonzero()[:, 0]
    inside = slice(int(rows[0]), int(rows[-1]) + 1)
    return spread[inside, inside]  # (k, k)


def tent(side: int, middle: float, slope: float) -> Tensor:
    """The outer product of max(0, 1 - slope · |i - middle|) with itself, for i = 0 .. side - 1."""
    weights = (1 - slope * (torch.arange(side) - middle).abs()).clamp(min=0)
    return torch.outer(weights, weights)


def always_odd(factor: int) -> Tensor:
    return tent(2 * factor - 1, factor - 1, 1 / factor)


def always_even(factor: int) -> Tensor:
    return tent(2 * factor, factor - 0.5, 1 / factor)


def middle_on_a_pixel(factor: int) -> Tensor:
    side = 2 * factor - factor % 2
    return tent(side, side // 2, 1 / factor)


def sum_of_weights(factor: int) -> Tensor:
    side = 2 * factor - factor % 2
    weights = 1 - (torch.arange(side) - (side - 1) / 2).abs() / factor
    return (weights[:, None] + weights) / 2


def sums_to_one(factor: int) -> Tensor:
    return upsampling.bilinear_kernel(factor) / factor**2


def one_axis_only(factor: int) -> Tensor:
    return upsampling.bilinear_kernel(factor).sum(dim=0) / factor


# --- transposed convolutions --------------------------------------------------------------------------------------


def scatter(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """`lib.ops.upsampling.transposed_conv_scatter` without the padding and bias that lesson 02 leaves out."""
    return upsampling.transposed_conv_scatter(x, weight, stride)


def zero_insertion(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """`lib.ops.upsampling.transposed_conv_zero_insertion` without padding and bias."""
    return upsampling.transposed_conv_zero_insertion(x, weight, stride)


def by_torch(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return F.conv_transpose2d(x, weight, stride=stride)


def transposed_cases() -> list[Case]:
    return [
        Case.from_truth(label, (random_values(*x), random_values(*weight, seed=1), stride), by_torch, ("x", "weight"))
        for label, x, weight, stride in (
            ("one channel, kernel 3, stride 2: stamps overlap", (1, 1, 2, 3), (1, 1, 3, 3), 2),
            ("two pictures, 3 channels in, 2 out", (2, 3, 3, 2), (3, 2, 3, 3), 2),
            ("as many channels out as in", (1, 2, 2, 2), (2, 2, 2, 2), 2),
            ("stride 1", (1, 2, 3, 3), (2, 3, 3, 3), 1),
            ("stride larger than the kernel: gaps", (1, 1, 2, 2), (1, 2, 2, 2), 3),
        )
    ]


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


def channels_taken_the_other_way(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return by_torch(x, weight.transpose(0, 1), stride)


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


def stamp_turned(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return by_torch(x, weight.flip(2, 3), stride)


def stamp_transposed(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return by_torch(x, weight.transpose(2, 3), stride)


def stride_ignored(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return by_torch(x, weight, 1)


def one_stride_too_large(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    right = by_torch(x, weight, stride)
    wanted = [cells * stride + weight.shape[2] for cells in x.shape[2:]]
    return F.pad(right, (0, wanted[1] - right.shape[3], 0, wanted[0] - right.shape[2]))


def spread_with_zeros(x: Tensor, stride: int, after_the_last: bool = False) -> Tensor:
    height, width = (cells * stride if after_the_last else (cells - 1) * stride + 1 for cells in x.shape[2:])
    spread = x.new_zeros(*x.shape[:2], height, width)
    spread[:, :, ::stride, ::stride] = x
    return spread


def no_room_at_the_rim(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    kernel = weight.shape[2]
    return F.conv2d(spread_with_zeros(x, stride), weight.flip(2, 3).transpose(0, 1), padding=kernel // 2)


def zeros_after_the_last(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    kernel = weight.shape[2]
    return F.conv2d(spread_with_zeros(x, stride, True), weight.flip(2, 3).transpose(0, 1), padding=kernel - 1)


def stride_zeros_between(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return by_torch(x, weight, stride + 1)


# --- transposed_size ----------------------------------------------------------------------------------------------


def size_cases() -> list[Case]:
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


# --- resize_convolution -------------------------------------------------------------------------------------------


def resize_convolution(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    """The course's own: copy every cell into a block, then convolve without changing the size."""
    return F.conv2d(upsampling.nearest_upsample(x, factor), weight, padding=weight.shape[-1] // 2)


def resize_cases() -> list[Case]:
    return [
        Case.from_truth(
            label, (random_values(*x), random_values(*weight, seed=1), factor), copied_by_hand, ("x", "weight")
        )
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


def convolved_first(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    small = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    return upsampling.nearest_upsample(small, factor)


def mixed_not_copied(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    large = F.interpolate(x, scale_factor=factor, mode="bilinear")
    return F.conv2d(large, weight, padding=weight.shape[-1] // 2)


def no_padding(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    return F.conv2d(upsampling.nearest_upsample(x, factor), weight)


def padding_one(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    return F.conv2d(upsampling.nearest_upsample(x, factor), weight, padding=1)


def transposed_instead(x: Tensor, weight: Tensor, factor: int) -> Tensor:
    kernel = weight.shape[-1]
    return F.conv_transpose2d(x, weight.transpose(0, 1), None, factor, kernel // 2, factor - 1)
