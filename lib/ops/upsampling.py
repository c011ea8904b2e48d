"""Making a small map large: copying, interpolating, unpooling, and convolution run backwards (lesson 02).

Everything is written out, so that it can be read, and is tested equal to PyTorch's fast version. Sources: Long,
Shelhamer & Darrell 2015, "Fully Convolutional Networks for Semantic Segmentation", section 3.3 and its Caffe code (the
bilinear kernel); Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning", chapter 4 (the two views
of a transposed convolution); Noh et al. 2015, "Learning Deconvolution Network", section 3.2 (unpooling); Odena,
Dumoulin & Olah 2016, "Deconvolution and Checkerboard Artifacts" (Distill).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.ops.checks import check_whole
from lib.ops.dtypes import widened

# ------------------------------------------------------------------------------------------------ without weights


def nearest_upsample(x: Tensor, factor: int) -> Tensor:
    """Every cell becomes a block of `factor` × `factor` equal cells: (B, C, h, w) -> (B, C, h·factor, w·factor).

    Equal to `F.interpolate(x, scale_factor=factor, mode="nearest")`.
    """
    _check_map("x", x)
    check_whole("factor", factor, at_least=1)
    height, width = x.shape[2:]
    rows = torch.arange(height * factor, device=x.device) // factor  # output row i copies input row i // factor
    columns = torch.arange(width * factor, device=x.device) // factor
    return x[:, :, rows][:, :, :, columns]  # (B, C, h·factor, w·factor)


def bilinear_upsample(x: Tensor, factor: int) -> Tensor:
    """Every output is a mix of its four nearest cells: (B, C, h, w) -> (B, C, h·factor, w·factor).

    A cell is a square and its value sits in its middle, at half a pixel ("half-pixel centres"). Beyond the middles of
    the outermost cells their value is repeated. Equal to `F.interpolate(..., mode="bilinear", align_corners=False)`.
    """
    _check_map("x", x)
    check_whole("factor", factor, at_least=1)
    out = widened(x)  # float16 is too coarse for the places of many cells
    before, after, share = _neighbours(x.shape[2], factor, out)
    out = out[:, :, before] * (1 - share[:, None]) + out[:, :, after] * share[:, None]  # (B, C, h·factor, w)
    before, after, share = _neighbours(x.shape[3], factor, out)
    out = out[..., before] * (1 - share) + out[..., after] * share  # (B, C, h·factor, w·factor)
    return out.to(x.dtype) if x.is_floating_point() else out


def _neighbours(size: int, factor: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each of size · factor outputs the cell before it, the cell after it, and the share of the second (0..1)."""
    middle = (torch.arange(size * factor, dtype=like.dtype, device=like.device) + 0.5) / factor - 0.5
    middle = middle.clamp(0, size - 1)  # where the output lies, counted from the middle of cell 0
    before = middle.floor().long()
    after = (before + 1).clamp(max=size - 1)
    return before, after, middle - before


def max_unpool(values: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
    """Put every maximum back to the pixel that it came from; all other pixels are 0.

    Args:
        values: (B, C, h, w), what max pooling kept, or anything computed from it.
        indices: (B, C, h, w) whole numbers 0..H·W-1, `F.max_pool2d(..., return_indices=True)`: row · W + column.
        size: (H, W) of the map before the pooling.

    Returns:
        (B, C, H, W). Equal to `F.max_unpool2d`.

    Raises:
        ValueError: the shapes do not fit, or an index lies outside of the map.
    """
    _check_map("values", values)
    height, width = size
    if indices.shape != values.shape or indices.dtype != torch.int64:
        raise ValueError(
            f"indices is {tuple(indices.shape)} {indices.dtype}; expected int64 of the shape of values, "
            f"{tuple(values.shape)}"
        )
    if indices.numel() and (indices.min() < 0 or indices.max() >= height * width):
        raise ValueError(
            f"indices goes from {indices.min()} to {indices.max()}; expected 0..{height * width - 1} "
            f"for a map of {height} × {width}"
        )
    pixels = values.new_zeros(*values.shape[:2], height * width)  # (B, C, H·W)
    pixels = pixels.scatter(2, indices.flatten(2), values.flatten(2))  # pixels[b, c, index] = value
    return pixels.unflatten(2, (height, width))  # (B, C, H, W)


# ------------------------------------------------------------------------------------------------ with weights


def transposed_size(size: int, kernel: int, stride: int, padding: int = 0, output_padding: int = 0) -> int:
    """How many cells come out of a transposed convolution for `size` cells, along one axis.

    The first stamp covers `kernel` cells, each further one moves on by `stride`, and `padding` cells are cut off at
    both ends. Then `output_padding` cells are put back at the far end: an ordinary convolution with a stride rounds
    down, so several sizes become one, and this says which of them is wanted.

    Raises:
        ValueError: a number is out of range, or nothing would be left.
    """
    for name, value, least in (
        ("size", size, 1),
        ("kernel", kernel, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("output_padding", output_padding, 0),
    ):
        check_whole(name, value, at_least=least)
    if output_padding and output_padding >= stride:
        raise ValueError(f"output_padding is {output_padding}; expected less than the stride, {stride}")
    cells = (size - 1) * stride + kernel - 2 * padding + output_padding
    if cells < 1:
        raise ValueError(f"padding is {padding}; it cuts off all of the {(size - 1) * stride + kernel} cells")
    return cells


def transposed_conv_scatter(
    x: Tensor, weight: Tensor, stride: int, padding: int = 0, bias: Tensor | None = None
) -> Tensor:
    """A transposed convolution as stamping: every input cell stamps its kernel onto the output, times its value.

    The stamps of neighbours start `stride` cells apart. Where they overlap, they add up.

    Args:
        x: (B, C, h, w).
        weight: (C, K, kh, kw): input channels first, as in `nn.ConvTranspose2d`.
        stride: cells from one stamp to the next.
        padding: cells that are cut off on all four sides at the end.
        bias: (K,), added once to every output.

    Returns:
        (B, K, H, W), sizes by `transposed_size`. Equal to `F.conv_transpose2d(x, weight, bias, stride, padding)`.

    Raises:
        ValueError: the shapes do not fit, or a number is out of range.
    """
    _check_transposed(x, weight, stride, padding, bias)
    batch, _, height, width = x.shape
    _, channels, kernel_height, kernel_width = weight.shape
    canvas = x.new_zeros(
        batch, channels, transposed_size(height, kernel_height, stride), transposed_size(width, kernel_width, stride)
    )
    for row in range(height):
        for column in range(width):
            stamp = torch.einsum("bc,ckij->bkij", x[:, :, row, column], weight)  # (B, K, kh, kw)
            top, left = row * stride, column * stride
            canvas[:, :, top : top + kernel_height, left : left + kernel_width] += stamp
    return _cut_and_add(canvas, padding, bias)


def transposed_conv_zero_insertion(
    x: Tensor, weight: Tensor, stride: int, padding: int = 0, bias: Tensor | None = None
) -> Tensor:
    """A transposed convolution as an ordinary one: zeros between the cells, then a convolution with the kernel turned.

    Here every output gathers from the inputs whose stamps would have reached it. The kernel is turned by half a turn,
    because an output to the right of an input is reached by the right part of the stamp. Arguments, result and errors
    are those of `transposed_conv_scatter`.
    """
    _check_transposed(x, weight, stride, padding, bias)
    batch, channels, height, width = x.shape
    spread = x.new_zeros(batch, channels, (height - 1) * stride + 1, (width - 1) * stride + 1)
    spread[:, :, ::stride, ::stride] = x  # stride - 1 zeros between neighbours
    turned = weight.flip(2, 3).transpose(0, 1)  # (C, K, kh, kw) -> (K, C, kh, kw)
    reach = (weight.shape[2] - 1, weight.shape[3] - 1)  # so that every touch of the kernel counts
    return _cut_and_add(F.conv2d(spread, turned, padding=reach), padding, bias)


def _cut_and_add(canvas: Tensor, padding: int, bias: Tensor | None) -> Tensor:
    height, width = canvas.shape[2:]
    out = canvas[:, :, padding : height - padding, padding : width - padding]
    return out if bias is None else out + bias[:, None, None]


def bilinear_kernel(factor: int) -> Tensor:
    """The weights with which a transposed convolution of stride `factor` interpolates bilinearly.

    Side k = 2·factor - factor % 2. Along an axis the weights fall off in a straight line from the middle of the kernel,
    by 1/factor a cell; in the plane, row weight times column weight. With `padding=factor // 2` a map of n cells
    becomes n·factor, and equals `bilinear_upsample` except at the rim, where neighbours are missing: there the result
    fades, by up to a half along an edge.

    Returns:
        (k, k) float32; the sum is factor².
    """
    check_whole("factor", factor, at_least=1)
    side = 2 * factor - factor % 2
    middle = (side - 1) / 2
    slope = 1 - (torch.arange(side) - middle).abs() / factor  # (k,)
    return slope[:, None] * slope  # (k, k)


# ------------------------------------------------------------------------------------------------ the checkerboard


def overlap_count(size: int, kernel: int, stride: int) -> Tensor:
    """How many stamps of a transposed convolution cover each output, for a map of `size` × `size` cells, padding 0.

    Away from the rim the counts are equal if and only if `stride` divides `kernel`. They are what a stamp of ones makes
    of a map of ones. Another stamp leaves a flat map flat if, for each remainder of the place in the stamp by `stride`,
    its weights have the same sum: [1, 2, 1] with stride 2 does, [1, 2, 3, 4] does not.

    Returns:
        (n, n) int64 with n = transposed_size(size, kernel, stride).
    """
    count = torch.zeros(transposed_size(size, kernel, stride), dtype=torch.int64)
    for cell in range(size):
        count[cell * stride : cell * stride + kernel] += 1
    return count[:, None] * count  # (n, n): rows times columns


def checkerboard_energy(image: Tensor, stride: int) -> Tensor:
    """How much of an image's variance is a pattern that repeats every `stride` pixels: 0 none of it, 1 all.

    The share of the energy of the 2-D spectrum, without its zero frequency, that lies at whole multiples of 1/stride
    (in cycles a pixel) along both axes. The same number without a spectrum: cut the image into tiles of stride × stride
    and average them; it is the variance of the mean tile divided by the variance of the image.

    What an image shows has by chance a little energy there too (noise: about stride²/(H·W) of its own), so compare with
    an image that was made otherwise, or with the truth. Cut off the rim first if the map was padded.

    Args:
        image: (..., H, W) floats; H and W multiples of `stride`, so that the frequencies are among the spectrum's own.
        stride: the period to look for, in pixels, at least 2.

    Returns:
        (...) shares; 0 for a flat image.

    Raises:
        ValueError: `stride` is out of range, or does not divide H and W.
    """
    check_whole("stride", stride, at_least=2)
    if image.ndim < 2 or 0 in image.shape or image.shape[-2] % stride or image.shape[-1] % stride:
        raise ValueError(f"image is {tuple(image.shape)}; expected (..., H, W) with multiples of {stride} for H and W")
    height, width = image.shape[-2:]
    energy = torch.fft.fft2(widened(image)).abs().square()  # (..., H, W); [0, 0] is the mean
    flat = energy[..., 0, 0]
    total = energy.sum(dim=(-2, -1)) - flat
    repeating = energy[..., :: height // stride, :: width // stride].sum(dim=(-2, -1)) - flat
    nothing = total <= 1e-10 * flat  # a flat image: only rounding is left
    return torch.where(nothing, 0, repeating / total.where(~nothing, 1))


def _check_transposed(x: Tensor, weight: Tensor, stride: int, padding: int, bias: Tensor | None) -> None:
    _check_map("x", x)
    _check_map("weight", weight)
    if weight.shape[0] != x.shape[1]:
        raise ValueError(f"weight is {tuple(weight.shape)}; expected (C, K, kh, kw) with x's C = {x.shape[1]} first")
    if bias is not None and bias.shape != weight.shape[1:2]:
        raise ValueError(f"bias is {tuple(bias.shape)}; expected ({weight.shape[1]},)")
    for size, kernel in zip(x.shape[2:], weight.shape[2:], strict=True):
        transposed_size(size, kernel, stride, padding)


def _check_map(name: str, value: Tensor) -> None:
    if value.ndim != 4 or 0 in value.shape[1:]:
        raise ValueError(f"{name} is {tuple(value.shape)}; expected four axes, none of them empty but the first")
