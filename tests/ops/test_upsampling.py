import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lib.ops.upsampling import (
    bilinear_kernel,
    bilinear_upsample,
    checkerboard_energy,
    max_unpool,
    nearest_upsample,
    overlap_count,
    transposed_conv_scatter,
    transposed_conv_zero_insertion,
    transposed_size,
)

MAPS = [(1, 1, 1, 1), (2, 3, 4, 5), (1, 2, 1, 6)]


def leaf(*shape):
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def assert_same(ours, theirs, *inputs):
    """Equal values, and equal gradients in all inputs for a random direction."""
    torch.testing.assert_close(ours, theirs)
    direction = torch.randn_like(theirs)
    for mine, other in zip(
        torch.autograd.grad((ours * direction).sum(), inputs),
        torch.autograd.grad((theirs * direction).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", MAPS)
def test_nearest_and_bilinear_equal_interpolate(shape, factor):
    torch.manual_seed(0)
    x = leaf(*shape)
    assert_same(nearest_upsample(x, factor), F.interpolate(x, scale_factor=factor, mode="nearest"), x)
    theirs = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    assert_same(bilinear_upsample(x, factor), theirs, x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("factor", [3, 4])
def test_bilinear_knows_the_places_of_many_cells_in_short_floats(factor, dtype):
    x = torch.arange(600.0).div(10).sin().reshape(1, 1, 1, 600).to(dtype)
    theirs = F.interpolate(x.float(), scale_factor=factor, mode="bilinear").to(dtype)
    torch.testing.assert_close(bilinear_upsample(x, factor), theirs)


def test_bilinear_between_whole_numbers():
    assert bilinear_upsample(torch.tensor([[[[0, 4]]]]), 2)[0, 0, 0].tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize("size, kernel, stride", [((4, 6), 2, 2), ((7, 5), 3, 2), ((5, 5), 3, 1), ((1, 3), 1, 1)])
def test_max_unpool_equals_torch(size, kernel, stride):
    torch.manual_seed(0)
    values, indices = F.max_pool2d(torch.randn(2, 3, *size, dtype=torch.float64), kernel, stride, return_indices=True)
    values.requires_grad_()
    # Windows that overlap may keep the same pixel: it is written twice, with the same value.
    theirs = F.max_unpool2d(values, indices, kernel, stride, output_size=size)
    assert_same(max_unpool(values, indices, size), theirs, values)


def test_max_unpool_puts_each_maximum_back_where_it_was():
    x = torch.tensor([[[[1.0, 5.0], [2.0, 0.0]]]])
    assert max_unpool(*F.max_pool2d(x, 2, return_indices=True), (2, 2)).tolist() == [[[[0, 5], [0, 0]]]]


KERNELS = [(1, 1), (2, 2), (3, 3), (4, 4), (2, 3), (5, 1)]  # with strides 1 to 3: smaller, equal and larger


@pytest.mark.parametrize("convolve", [transposed_conv_scatter, transposed_conv_zero_insertion])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", MAPS)
def test_both_views_equal_conv_transpose(convolve, shape, kernel, stride):
    torch.manual_seed(0)
    x, weight, bias = leaf(*shape), leaf(shape[1], 2, *kernel), leaf(2)
    for padding in (0, 1, 2):
        if min(transposed_size_or_zero(n, k, stride, padding) for n, k in zip(shape[2:], kernel, strict=True)) < 1:
            continue
        theirs = F.conv_transpose2d(x, weight, bias, stride, padding)
        assert_same(convolve(x, weight, stride, padding, bias), theirs, x, weight, bias)
    theirs = F.conv_transpose2d(x, weight, None, stride)
    assert_same(convolve(x, weight, stride), theirs, x, weight)


def transposed_size_or_zero(*numbers):
    try:
        return transposed_size(*numbers)
    except ValueError as error:
        assert str(error).startswith("padding is")
        return 0


def test_an_empty_batch_and_a_batch_of_several():
    assert max_unpool(torch.zeros(0, 1, 2, 2), torch.zeros(0, 1, 2, 2, dtype=torch.int64), (4, 4)).shape == (0, 1, 4, 4)
    weight = torch.randn(2, 3, 4, 4)
    for convolve in (transposed_conv_scatter, transposed_conv_zero_insertion):
        assert convolve(torch.zeros(0, 2, 3, 5), weight, 2, 1).shape == (0, 3, 6, 10)
        x = torch.randn(3, 2, 3, 5)
        alone = torch.cat([convolve(one[None], weight, 2, 1) for one in x])
        torch.testing.assert_close(convolve(x, weight, 2, 1), alone)


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 4])
def test_transposed_size_is_what_torch_gives(size, kernel, stride, padding):
    x, weight = torch.zeros(1, 1, size), torch.zeros(1, 1, kernel)
    for output_padding in range(stride):
        expected = (size - 1) * stride + kernel - 2 * padding + output_padding
        if expected < 1:
            with pytest.raises(ValueError, match="^padding is"):
                transposed_size(size, kernel, stride, padding, output_padding)
        else:
            theirs = F.conv_transpose1d(x, weight, None, stride, padding, output_padding)
            assert transposed_size(size, kernel, stride, padding, output_padding) == theirs.shape[2]


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8, 16])
def test_bilinear_kernel_interpolates_away_from_the_rim(factor):
    torch.manual_seed(0)
    x, kernel = torch.randn(1, 1, 6, 5), bilinear_kernel(factor)
    assert kernel.shape == (2 * factor - factor % 2,) * 2
    assert kernel.sum().item() == pytest.approx(factor**2)
    ours = F.conv_transpose2d(x, kernel[None, None], stride=factor, padding=factor // 2)
    theirs = bilinear_upsample(x, factor)
    assert ours.shape == theirs.shape
    rim = slice(factor // 2, -(factor // 2) or None)
    torch.testing.assert_close(ours[..., rim, rim], theirs[..., rim, rim])
    # At the top the cell above is missing: what is left of the mix is the share of row 0 itself.
    torch.testing.assert_close(ours[..., 0, rim], theirs[..., 0, rim] * (0.5 + 0.5 / factor))


def test_bilinear_kernel_of_caffe_by_hand():
    assert torch.equal(bilinear_kernel(2)[0] * 16, torch.tensor([1.0, 3.0, 3.0, 1.0]))
    torch.testing.assert_close(bilinear_kernel(3)[2], torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0]) / 3)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [1, 4])
def test_overlap_count_is_a_transposed_convolution_of_ones(size, kernel, stride):
    ones = F.conv_transpose2d(torch.ones(1, 1, size, size), torch.ones(1, 1, kernel, kernel), stride=stride)
    assert torch.equal(overlap_count(size, kernel, stride), ones[0, 0].long())


@pytest.mark.parametrize("kernel, stride, even", [(4, 2, True), (3, 2, False), (6, 3, True), (4, 3, False)])
def test_overlaps_are_even_where_the_stride_divides_the_kernel(kernel, stride, even):
    inside = overlap_count(8, kernel, stride)[kernel:-kernel, kernel:-kernel]
    assert (inside.min() == inside.max()).item() == even


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_checkerboard_energy_is_the_variance_of_the_mean_tile(stride):
    torch.manual_seed(0)
    image = torch.randn(2, 12, 24)
    tiles = image.unflatten(2, (-1, stride)).unflatten(1, (-1, stride))  # (2, H/s, s, W/s, s)
    expected = tiles.mean(dim=(1, 3)).var(dim=(1, 2), correction=0) / image.var(dim=(1, 2), correction=0)
    torch.testing.assert_close(checkerboard_energy(image, stride), expected)


def test_checkerboard_energy_of_a_pattern_of_a_gradient_and_of_nothing():
    board = (torch.arange(12)[:, None] + torch.arange(18)) % 2
    assert checkerboard_energy(board.float(), 2).item() == pytest.approx(1)
    assert checkerboard_energy(board.float(), 3).item() == pytest.approx(0, abs=1e-6)
    slope = torch.linspace(0, 1, 12)[:, None] * torch.ones(18)
    assert 0 < checkerboard_energy(slope, 2).item() < 0.03
    assert checkerboard_energy(torch.full((3, 12, 18), 0.3), 2).tolist() == [0, 0, 0]
    image = torch.randn(12, 18)
    torch.testing.assert_close(checkerboard_energy(image.half(), 2), checkerboard_energy(image, 2), atol=1e-3, rtol=0)
    brighter = checkerboard_energy(image * 7 + 2, 2)
    torch.testing.assert_close(brighter, checkerboard_energy(image, 2), atol=1e-5, rtol=1e-4)


def test_stamps_of_ones_leave_a_checkerboard_where_the_stride_does_not_divide_the_kernel():
    torch.manual_seed(0)
    smooth = bilinear_upsample(torch.rand(1, 1, 3, 3), 8) + 1  # (1, 1, 24, 24)
    energy = {}
    for kernel in (2, 3, 4):
        stamped = transposed_conv_scatter(smooth, torch.ones(1, 1, kernel, kernel), 2)
        energy[kernel] = checkerboard_energy(stamped[0, 0, 4:44, 4:44], 2).item()
    assert energy[3] > 0.5 and energy[2] < 0.01 and energy[4] < 0.01


@pytest.mark.parametrize(
    "weights, stride, flat",
    [([1, 2, 1], 2, True), ([1, 3, 2], 2, True), ([1, 1, 1], 2, False), ([1, 3, 3, 1], 2, True)]
    + [([1, 2, 3, 4], 2, False), ([2, 1, 3, 1, 2], 3, True), ([1, 1, 1, 1, 1], 3, False)],
)
def test_a_flat_map_stays_flat_where_all_remainders_have_one_sum(weights, stride, flat):
    weights = torch.tensor(weights, dtype=torch.float64)
    sums = torch.stack([weights[remainder::stride].sum() for remainder in range(stride)])
    stamp = torch.outer(weights, weights)[None, None]
    made = transposed_conv_scatter(torch.ones(1, 1, 6, 6, dtype=torch.float64), stamp, stride)[..., 5:-5, 5:-5]
    assert (sums.min() == sums.max()).item() == flat
    assert (made.min() == made.max()).item() == flat


X = torch.zeros(1, 2, 3, 3)
W = torch.zeros(2, 1, 2, 2)


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: nearest_upsample(X[0], 2), "x"),
        (lambda: nearest_upsample(X, 0), "factor"),
        (lambda: bilinear_upsample(X, 1.5), "factor"),
        (lambda: bilinear_upsample(X[:, :, :0], 2), "x"),
        (lambda: bilinear_kernel(0), "factor"),
        (lambda: max_unpool(X, torch.zeros(1, 2, 3, 2, dtype=torch.int64), (6, 6)), "indices"),
        (lambda: max_unpool(X, torch.zeros(1, 2, 3, 3), (6, 6)), "indices"),
        (lambda: max_unpool(X, torch.full((1, 2, 3, 3), 36), (6, 6)), "indices"),
        (lambda: transposed_size(0, 3, 1), "size"),
        (lambda: transposed_size(4, 3, 0), "stride"),
        (lambda: transposed_size(4, 3, 2, -1), "padding"),
        (lambda: transposed_size(1, 3, 2, 2), "padding"),
        (lambda: transposed_size(4, 3, 2, 0, 2), "output_padding"),
        (lambda: transposed_conv_scatter(X, torch.zeros(1, 2, 2, 2), 2), "weight"),
        (lambda: transposed_conv_zero_insertion(X, W, 2, bias=torch.zeros(2)), "bias"),
        (lambda: transposed_conv_zero_insertion(X, W, 0), "stride"),
        (lambda: transposed_conv_scatter(X[0], W, 2), "x"),
        (lambda: overlap_count(3, 0, 1), "kernel"),
        (lambda: checkerboard_energy(torch.zeros(6, 7), 2), "image"),
        (lambda: checkerboard_energy(torch.zeros(6, 6), 1), "stride"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()


def test_a_factor_may_be_numpys():
    x = torch.rand(1, 2, 3, 4)
    for upsample in (nearest_upsample, bilinear_upsample):
        assert torch.equal(upsample(x, np.int64(2)), upsample(x, 2))
