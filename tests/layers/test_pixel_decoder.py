import pytest
import torch
import torch.nn.functional as F

from lib.layers.pixel_decoder import PixelDecoder


def maps(sizes=((9, 13), (5, 7), (3, 4)), channels=(2, 3, 5), batch=2):
    torch.manual_seed(0)
    return {str(n): torch.randn(batch, c, *size) for n, (c, size) in enumerate(zip(channels, sizes, strict=True))}


def test_an_embedding_for_every_pixel_of_the_largest_map():
    decoder, given = PixelDecoder([2, 3, 5], 8, 6, groups=4), maps()
    out = decoder(given)
    assert out.shape == (2, 6, 9, 13)

    def step(block, x):
        conv, norm = block
        x = F.conv2d(x, conv.weight, padding=conv.kernel_size[0] // 2)
        return F.group_norm(x, 4, norm.weight, norm.bias)

    wanted = step(decoder.layers[2], given["2"]).relu()
    for number in (1, 0):
        x = given[str(number)]
        wanted = step(decoder.adapters[number], x) + F.interpolate(wanted, x.shape[2:])
        wanted = step(decoder.layers[number], wanted).relu()
    torch.testing.assert_close(out, decoder.mask_features(wanted))


def test_every_map_matters_and_every_parameter_learns():
    decoder, given = PixelDecoder([2, 3, 5], 8, 6, groups=4), maps()
    for one in given.values():
        one.requires_grad_()
    decoder(given).square().sum().backward()
    assert all(one.grad.abs().sum() > 0 for one in (*given.values(), *decoder.parameters()))


def test_one_map_is_enough():
    assert PixelDecoder([4], 8, 3, groups=2)({"0": torch.rand(1, 4, 5, 6)}).shape == (1, 3, 5, 6)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: PixelDecoder([]), "in_channels"),
        (lambda: PixelDecoder([3], conv_dim=48), "groups"),
        (lambda: PixelDecoder([3], conv_dim=48, groups=0), "groups"),
        (lambda: PixelDecoder([2, 3], 8, 6, groups=4)(maps()), "maps"),
        (lambda: PixelDecoder([2, 3, 5, 7], 8, 6, groups=4)(maps()), "maps"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
