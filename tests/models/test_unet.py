import pytest
import torch
from torch import nn

from lib.models.unet import DoubleConv, Down, UNet, Up, centre_crop, smallest_unpadded


def tiny(**options):
    return UNet(**({"in_channels": 3, "num_classes": 4, "width": 4, "depth": 2} | options)).eval().requires_grad_(False)


@pytest.mark.parametrize("skip", ["concat", "add", "none"])
@pytest.mark.parametrize("stem_stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(16, 16), (15, 18), (13, 7), (1, 1)])
def test_scores_for_every_pixel_of_any_size(size, stem_stride, skip):
    torch.manual_seed(0)
    assert tiny(stem_stride=stem_stride, skip=skip)(torch.rand(2, 3, *size)).shape == (2, 4, *size)


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_a_batch_is_its_pictures_one_by_one(stem_stride):
    torch.manual_seed(0)
    model, x = tiny(stem_stride=stem_stride), torch.rand(3, 3, 17, 22)
    torch.testing.assert_close(model(x), torch.cat([model(one[None]) for one in x]))
    assert model(x[:0]).shape == (0, 4, 17, 22)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_unpadded_pictures_have_a_smallest_size(depth):
    model = tiny(padding=0, depth=depth, width=2)
    side = smallest_unpadded(depth)
    assert min(model(torch.zeros(1, 3, side, side + 9)).shape) > 0
    with pytest.raises(ValueError, match=f"^x is .* at least {side}$"):
        model(torch.zeros(1, 3, side + 9, side - 1))


@torch.no_grad()
def test_the_papers_own_sizes():
    model = UNet(1, 2, width=1, padding=0).eval()
    assert model(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    assert model(torch.zeros(1, 1, 572, 604)).shape == (1, 2, 388, 420)


def test_the_papers_parameters():
    model = UNet(1, 2, padding=0)
    # Figure 1, counted by hand: every arrow's weights and one number per channel that is added to its result.
    arrows = [
        (1, 64, 9),
        (64, 64, 9),
        (64, 128, 9),
        (128, 128, 9),
        (128, 256, 9),
        (256, 256, 9),
        (256, 512, 9),
        (512, 512, 9),
        (512, 1024, 9),
        (1024, 1024, 9),
        (1024, 512, 4),
        (1024, 512, 9),
        (512, 512, 9),
        (512, 256, 4),
        (512, 256, 9),
        (256, 256, 9),
        (256, 128, 4),
        (256, 128, 9),
        (128, 128, 9),
        (128, 64, 4),
        (128, 64, 9),
        (64, 64, 9),
        (64, 2, 1),
    ]
    paper = sum(inputs * outputs * kernel + outputs for inputs, outputs, kernel in arrows)
    scales = sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    assert paper == 31_030_658
    assert sum(p.numel() for p in model.parameters()) - scales == paper
    assert sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in model.modules()) == 23  # as section 2 says


def test_down_rounds_up_so_that_no_row_is_lost():
    down, x = Down(1, 2).eval(), torch.zeros(1, 1, 5, 7)
    assert down(x).shape == (1, 2, 3, 4)
    pooled = x.clone()
    pooled[..., 4, 6] = 9
    assert down.pool(pooled)[0, 0, 2, 3] == 9


@pytest.mark.parametrize("skip", ["concat", "add"])
def test_up_joins_the_doubled_map_and_the_skip(skip):
    torch.manual_seed(0)
    up = Up(6, 3, skip=skip).eval().requires_grad_(False)
    seen = []
    up.conv.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    below, beside = torch.randn(2, 6, 3, 4), torch.randn(2, 3, 5, 7)
    assert up(below, beside).shape == (2, 3, 5, 7)
    doubled = up.up(below)[:, :, :5, :7]  # 6 × 8 without the last row and column
    expected = beside + doubled if skip == "add" else torch.cat([beside, doubled], dim=1)
    assert torch.equal(seen[0], expected)


def test_a_squeezed_skip_crosses_with_few_channels():
    torch.manual_seed(0)
    up = Up(6, 3, squeeze=2).eval().requires_grad_(False)
    seen = []
    up.conv.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    below, beside = torch.randn(2, 6, 3, 4), torch.randn(2, 3, 6, 8)
    assert up(below, beside).shape == (2, 3, 6, 8)
    weights = up.squeeze.weight[:, :, 0, 0]  # (2, 3)
    few = torch.einsum("oc,bchw->bohw", weights, beside) + up.squeeze.bias[:, None, None]
    torch.testing.assert_close(seen[0], torch.cat([few, up.up(below)], dim=1))


def test_without_skips_only_the_bottom_speaks():
    torch.manual_seed(0)
    model = tiny(skip="none")
    model.contracting[-1].register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    assert torch.equal(model(torch.rand(1, 3, 16, 16)), model(torch.rand(1, 3, 16, 16)))


def test_without_padding_the_skip_loses_its_rim():
    torch.manual_seed(0)
    up = Up(6, 3, padding=0).eval().requires_grad_(False)
    seen = []
    up.conv.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    beside = torch.randn(1, 3, 11, 12)
    assert up(torch.randn(1, 6, 4, 4), beside).shape == (1, 3, 4, 4)
    assert torch.equal(seen[0][:, :3], beside[:, :, 1:9, 2:10])


def test_centre_crop_leaves_the_odd_pixel_at_the_end():
    x = torch.arange(5.0).expand(1, 1, 4, 5)
    assert centre_crop(x, (4, 2))[0, 0, 0].tolist() == [1, 2]
    assert centre_crop(x, (4, 4))[0, 0, 0].tolist() == [0, 1, 2, 3]
    assert torch.equal(centre_crop(x, (4, 5)), x)


def test_the_skips_carry_the_finest_details():
    """With nothing coming up from below, the top level alone still answers pixel by pixel."""
    torch.manual_seed(0)
    model, x = tiny(), torch.rand(1, 3, 16, 16)
    moved = x.clone()
    moved[..., 5, 6] += 1
    for parameter in model.expanding[-1].up.parameters():
        parameter.zero_()
    changed = (model(moved) - model(x)).abs().sum(1)[0] > 0  # (16, 16)
    assert changed[5, 6] and not changed[:, :2].any() and not changed[:, 11:].any()


def test_every_weight_learns():
    model = UNet(3, 4, width=4, depth=2, stem_stride=2)
    model(torch.rand(2, 3, 16, 16)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


def test_adding_needs_fewer_weights_than_concatenating():
    count = {skip: sum(p.numel() for p in tiny(skip=skip).parameters()) for skip in ("concat", "add")}
    assert count["concat"] - count["add"] == 9 * (8 * 8 + 4 * 4)  # the first convolution of each Up


def test_double_conv_takes_four_pixels_without_padding():
    assert DoubleConv(2, 3, padding=0)(torch.zeros(2, 2, 9, 10)).shape == (2, 3, 5, 6)
    assert DoubleConv(2, 3)(torch.zeros(2, 2, 9, 10)).shape == (2, 3, 9, 10)


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: tiny(in_channels=0), "in_channels"),
        (lambda: tiny(num_classes=2.5), "num_classes"),
        (lambda: tiny(width=0), "width"),
        (lambda: tiny(depth=0), "depth"),
        (lambda: tiny(stem_stride=0), "stem_stride"),
        (lambda: tiny(padding=2), "padding"),
        (lambda: tiny(padding=0, stem_stride=2), "padding"),
        (lambda: tiny(skip="sum"), "skip"),
        (lambda: tiny()(torch.zeros(3, 8, 8)), "x"),
        (lambda: tiny()(torch.zeros(1, 1, 8, 8)), "x"),
        (lambda: tiny()(torch.zeros(1, 3, 8, 0)), "x"),
        (lambda: Up(4, 2, skip="sum"), "skip"),
        (lambda: Up(4, 2, skip="add", squeeze=1), "squeeze"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
