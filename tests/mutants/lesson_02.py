"""Answers to the exercises of lesson 02 as learners might write them: the wrong ones by the mistake they make."""

import torch
import torch.nn.functional as F
from torch import nn

# --- bilinear_kernel ----------------------------------------------------------------------------------------------


def tip_on_a_pixel(factor):
    side = 2 * factor - factor % 2
    line = torch.tensor([1 - abs(i - side // 2) / factor for i in range(side)])
    return line[:, None] * line[None, :]


def odd(factor):
    line = torch.cat([torch.arange(1, factor + 1), torch.arange(factor - 1, 0, -1)]) / factor
    return line[:, None] * line


def even(factor):
    line = 1 - (torch.arange(2 * factor) + 0.5 - factor).abs() / factor
    return torch.outer(line, line)


def line_of(factor):
    side = 2 * factor - factor % 2
    return torch.tensor([1 - abs(i - (side - 1) / 2) / factor for i in range(side)])


def added(factor):
    line = line_of(factor)
    return (line.unsqueeze(0) + line.unsqueeze(1)) / 2


def normalised(factor):
    kernel = torch.outer(line_of(factor), line_of(factor))
    return kernel / kernel.sum()


def a_line(factor):
    return line_of(factor)


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


# --- transposed_conv_scatter --------------------------------------------------------------------------------------


def empty(x, weight, stride, extra=0):
    k = weight.shape[-1]
    return torch.zeros(
        x.shape[0], weight.shape[1], (x.shape[2] - 1) * stride + k + extra, (x.shape[3] - 1) * stride + k + extra
    )


def replaced(x, weight, stride):
    out, k = empty(x, weight, stride), weight.shape[-1]
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            out[:, :, i * stride : i * stride + k, j * stride : j * stride + k] = torch.tensordot(
                x[:, :, i, j], weight, 1
            )
    return out


def outputs_first(x, weight, stride):
    batch, _, height, width = x.shape
    k = weight.shape[-1]
    out = torch.zeros(batch, weight.shape[0], (height - 1) * stride + k, (width - 1) * stride + k)
    for i in range(height):
        for j in range(width):
            stamp = torch.einsum("bc,ocij->boij", x[:, :, i, j], weight)
            out[:, :, i * stride : i * stride + k, j * stride : j * stride + k] += stamp
    return out


def stamps(x, weight, stride, step=None, room=0):
    out, k = empty(x, weight, stride, room), weight.shape[-1]
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            top, left = i * (step or stride), j * (step or stride)
            out[:, :, top : top + k, left : left + k] += torch.tensordot(x[:, :, i, j], weight, 1)
    return out


def upside_down(x, weight, stride):
    return stamps(x, torch.rot90(weight, 2, (2, 3)), stride)


def diagonal(x, weight, stride):
    return stamps(x, weight.mT, stride)


def one_apart(x, weight, stride):
    k = weight.shape[-1]
    return stamps(x, weight, stride, step=1)[:, :, : x.shape[2] + k - 1, : x.shape[3] + k - 1]


def strip_left_over(x, weight, stride):
    return stamps(x, weight, stride, room=stride)


def by_fold(x, weight, stride):
    batch, channels, height, width = x.shape
    k = weight.shape[-1]
    columns = weight.flatten(1).T @ x.flatten(2)  # (B, K·k·k, h·w)
    return F.fold(columns, ((height - 1) * stride + k, (width - 1) * stride + k), k, stride=stride)


def by_gradient(x, weight, stride):
    out_shape = empty(x, weight, stride).shape
    return torch.nn.grad.conv2d_input(out_shape, weight, x, stride=stride)


# --- transposed_size ----------------------------------------------------------------------------------------------


def moves_for_all(size, kernel, stride, padding):
    return size * stride + kernel - 2 * padding


def padded(size, kernel, stride, padding):
    return stride * (size - 1) + kernel + 2 * padding


def once(size, kernel, stride, padding):
    return stride * (size - 1) + kernel - padding


def not_cut(size, kernel, stride, padding):
    return kernel + stride * (size - 1)


def times_stride(size, kernel, stride, padding):
    return size * stride


def forwards(size, kernel, stride, padding):
    return (size - kernel + 2 * padding) // stride + 1


def by_counting(size, kernel, stride, padding):
    touched = {cell * stride + i for cell in range(size) for i in range(kernel)}
    return max(touched) + 1 - 2 * padding


def by_module(size, kernel, stride, padding):
    return nn.ConvTranspose2d(1, 1, kernel, stride, padding)(torch.zeros(1, 1, size, size)).shape[-1]


# --- transposed_conv_zero_insertion -------------------------------------------------------------------------------


def spread(x, stride, between=None, after=0):
    step = stride if between is None else between + 1
    out = torch.zeros(*x.shape[:2], (x.shape[2] - 1) * step + 1 + after, (x.shape[3] - 1) * step + 1 + after)
    out[:, :, ::step, ::step] = x
    return out


def as_it_is(x, weight, stride):
    return F.conv2d(spread(x, stride), weight.transpose(0, 1), padding=weight.shape[-1] - 1)


def half_turned(x, weight, stride):
    return F.conv2d(spread(x, stride), weight.flip(2).transpose(0, 1), padding=weight.shape[-1] - 1)


def swapped_axes(x, weight, stride):
    return F.conv2d(spread(x, stride), weight.mT.transpose(0, 1), padding=weight.shape[-1] - 1)


def channels_left(x, weight, stride):
    return F.conv2d(spread(x, stride), weight.flip(2, 3), padding=weight.shape[-1] - 1)


def same_size(x, weight, stride):
    return F.conv2d(spread(x, stride), weight.flip(2, 3).transpose(0, 1), padding=weight.shape[-1] // 2)


def zeros_behind(x, weight, stride):
    return F.conv2d(
        spread(x, stride, after=stride - 1), weight.flip(2, 3).transpose(0, 1), padding=weight.shape[-1] - 1
    )


def too_far_apart(x, weight, stride):
    return F.conv2d(spread(x, stride, between=stride), weight.flip(2, 3).transpose(0, 1), padding=weight.shape[-1] - 1)


def not_spread(x, weight, stride):
    return F.conv2d(x, weight.flip(2, 3).transpose(0, 1), padding=weight.shape[-1] - 1)


def by_kron(x, weight, stride):
    corner = torch.zeros(stride, stride)
    corner[0, 0] = 1
    apart = torch.kron(x, corner[None, None])
    apart = apart[:, :, : apart.shape[2] - stride + 1, : apart.shape[3] - stride + 1]
    return F.conv2d(apart, torch.rot90(weight, 2, (2, 3)).permute(1, 0, 2, 3), padding=weight.shape[-1] - 1)


def by_padding_first(x, weight, stride):
    k = weight.shape[-1]
    return F.conv2d(F.pad(spread(x, stride), [k - 1] * 4), weight.flip(-1).flip(-2).transpose(0, 1))


# --- resize_convolution -------------------------------------------------------------------------------------------


def small_first(x, weight, factor):
    return F.interpolate(F.conv2d(x, weight, padding=weight.shape[-1] // 2), scale_factor=factor)


def smooth(x, weight, factor):
    return F.conv2d(nn.Upsample(scale_factor=factor, mode="bilinear")(x), weight, padding=weight.shape[-1] // 2)


def shrunk(x, weight, factor):
    return F.conv2d(F.interpolate(x, scale_factor=factor), weight)


def always_one(x, weight, factor):
    return F.conv2d(F.interpolate(x, scale_factor=factor), weight, padding=1)


def transposed(x, weight, factor):
    k = weight.shape[-1]
    return F.conv_transpose2d(x, weight.transpose(0, 1), stride=factor, padding=k // 2, output_padding=factor - 1)


def by_repeating(x, weight, factor):
    return F.conv2d(x.repeat_interleave(factor, 2).repeat_interleave(factor, 3), weight, padding="same")


def by_upsample(x, weight, factor):
    return F.conv2d(nn.UpsamplingNearest2d(scale_factor=factor)(x), weight, padding=(weight.shape[2] - 1) // 2)


WRONG = {
    "bilinear_kernel": [
        ("middle on a pixel", tip_on_a_pixel),
        ("an odd side for every factor", odd),
        ("an even side for every factor", even),
        ("weights of row and column added", added),
        ("made to sum to 1", normalised),
        ("only one axis", a_line),
    ],
    "transposed_conv_scatter": [
        ("stamps replace each other", replaced),
        ("channels taken the other way round", outputs_first),
        ("stamp turned by half a turn", upside_down),
        ("rows and columns of the stamp swapped", diagonal),
        ("stride ignored", one_apart),
        ("room for one stamp too many", strip_left_over),
    ],
    "transposed_size": [
        ("one stride too many", moves_for_all),
        ("padding added", padded),
        ("padding counted once", once),
        ("padding forgotten", not_cut),
        ("kernel forgotten", times_stride),
        ("the size of an ordinary convolution", forwards),
    ],
    "transposed_conv_zero_insertion": [
        ("kernel not turned", as_it_is),
        ("kernel turned in one direction only", half_turned),
        ("kernel transposed instead of turned", swapped_axes),
        ("channels taken the other way round", channels_left),
        ("too little room at the rim", same_size),
        ("zeros after the last cell", zeros_behind),
        ("one zero too many", too_far_apart),
        ("no zeros inserted", not_spread),
    ],
    "resize_convolution": [
        ("convolved before resizing", small_first),
        ("bilinear instead of nearest", smooth),
        ("no padding", shrunk),
        ("padding 1 for every kernel", always_one),
        ("a transposed convolution", transposed),
    ],
}

RIGHT = {
    "bilinear_kernel": [loops, box_with_itself],
    "transposed_conv_scatter": [by_fold, by_gradient],
    "transposed_size": [by_counting, by_module],
    "transposed_conv_zero_insertion": [by_kron, by_padding_first],
    "resize_convolution": [by_repeating, by_upsample],
}
