import pytest
import torch
import torch.nn.functional as F

from lib.layers.upsampler import Upsampler, resized, transposed


@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 6])
def test_a_transposed_convolution_doubles_with_any_kernel(kernel):
    layer = transposed(kernel)(3, 2)
    assert layer.weight.shape == (3, 2, kernel, kernel)
    assert layer(torch.zeros(1, 3, 5, 7)).shape == (1, 2, 10, 14)


def test_resized_copies_and_then_convolves():
    torch.manual_seed(0)
    layer, x = resized(3, 2), torch.randn(1, 3, 5, 7)
    copied = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(layer(x), F.conv2d(copied, layer[1].weight, layer[1].bias, padding=1))


@pytest.mark.parametrize("doubling", [transposed(3), transposed(4), resized])
def test_an_upsampler_sees_the_small_picture_only(doubling):
    torch.manual_seed(0)
    model, pictures = Upsampler(doubling), torch.rand(2, 3, 16, 24)
    made = model(pictures)
    assert made.shape == pictures.shape
    blocks = F.avg_pool2d(pictures, 4).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    torch.testing.assert_close(model(blocks), made)
