"""Answers to the exercises of lesson 02 as others write them."""

import torch
import torch.nn.functional as F
from torch import nn


def loops(factor):
    side = 2 * factor - factor % 2
    kernel = torch.zeros(side, side)
    for i in range(side):
        for j in range(side):
            middle = factor - 1 if factor % 2 else factor - 0.5
            kernel[i, j] = (1 - abs(i - middle) / factor) * (1 - abs(j - middle) / factor)
    return kernel


def box_with_itself(factor):
    """A tent is a box convolved with a box; with an even side, every second point of a finer one."""
    box = torch.ones(2 * factor)
    fine = torch.tensor([float((box[max(0, i - 2 * factor + 1) : i + 1]).sum()) for i in range(2 * factor)])
    fine = torch.cat([fine, fine.flip(0)[1:]]) / (2 * factor)  # 4f - 1 points, half a pixel apart
    line = fine[1::2] if factor % 2 else fine[::2]
    return torch.outer(line, line)


def empty(x, weight, stride, extra=0):
    k = weight.shape[-1]
    return torch.zeros(
        x.shape[0], weight.shape[1], (x.shape[2] - 1) * stride + k + extra, (x.shape[3] - 1) * stride + k + extra
    )


def by_fold(x, weight, stride):
    batch, channels, height, width = x.shape
    k = weight.shape[-1]
    columns = weight.flatten(1).T @ x.flatten(2)  # (B, K·k·k, h·w)
    return F.fold(columns, ((height - 1) * stride + k, (width - 1) * stride + k), k, stride=stride)


def by_gradient(x, weight, stride):
    out_shape = empty(x, weight, stride).shape
    return torch.nn.grad.conv2d_input(out_shape, weight, x, stride=stride)


def by_counting(size, kernel, stride, padding):
    touched = {cell * stride + i for cell in range(size) for i in range(kernel)}
    return max(touched) + 1 - 2 * padding


def by_module(size, kernel, stride, padding):
    return nn.ConvTranspose2d(1, 1, kernel, stride, padding)(torch.zeros(1, 1, size, size)).shape[-1]


def spread(x, stride, between=None, after=0):
    step = stride if between is None else between + 1
    out = torch.zeros(*x.shape[:2], (x.shape[2] - 1) * step + 1 + after, (x.shape[3] - 1) * step + 1 + after)
    out[:, :, ::step, ::step] = x
    return out


def by_kron(x, weight, stride):
    corner = torch.zeros(stride, stride)
    corner[0, 0] = 1
    apart = torch.kron(x, corner[None, None])
    apart = apart[:, :, : apart.shape[2] - stride + 1, : apart.shape[3] - stride + 1]
    return F.conv2d(apart, torch.rot90(weight, 2, (2, 3)).permute(1, 0, 2, 3), padding=weight.shape[-1] - 1)


def by_padding_first(x, weight, stride):
    k = weight.shape[-1]
    return F.conv2d(F.pad(spread(x, stride), [k - 1] * 4), weight.flip(-1).flip(-2).transpose(0, 1))


def by_repeating(x, weight, factor):
    return F.conv2d(x.repeat_interleave(factor, 2).repeat_interleave(factor, 3), weight, padding="same")


def by_upsample(x, weight, factor):
    return F.conv2d(nn.UpsamplingNearest2d(scale_factor=factor)(x), weight, padding=(weight.shape[2] - 1) // 2)


WRONG = {
    "bilinear_kernel": [],
    "transposed_conv_scatter": [],
    "transposed_size": [],
    "transposed_conv_zero_insertion": [],
    "resize_convolution": [],
}

RIGHT = {
    "bilinear_kernel": [loops, box_with_itself],
    "transposed_conv_scatter": [by_fold, by_gradient],
    "transposed_size": [by_counting, by_module],
    "transposed_conv_zero_insertion": [by_kron, by_padding_first],
    "resize_convolution": [by_repeating, by_upsample],
}
