import pytest
import torch
import torchvision

from lib.models.fcn import (
    FCN,
    BackboneMaps,
    DilatedBackbone,
    DilatedFCN,
    FCNResNet50,
    FixedUpscore,
    SmallBackbone,
    bilinear_deconvolution,
    fcn_resnet50,
)
from lib.ops.upsampling import bilinear_upsample


def tiny(stride, num_classes=3):
    """An FCN that has forgotten its zeros, in evaluation mode."""
    model = FCN(SmallBackbone(4), num_classes, stride).eval()
    for name, parameter in model.named_parameters():
        if name.startswith("score"):
            torch.nn.init.normal_(parameter)
    return model.requires_grad_(False)


@pytest.mark.parametrize("stride", [32, 16, 8, 4])
@pytest.mark.parametrize("size", [(96, 96), (64, 32), (33, 70), (1, 1)])
def test_scores_for_every_pixel_of_any_size(stride, size):
    torch.manual_seed(0)
    assert tiny(stride)(torch.rand(2, 3, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("stride", [32, 16, 8, 4])
def test_a_batch_is_its_pictures_one_by_one(stride):
    torch.manual_seed(0)
    model, x = tiny(stride), torch.rand(3, 3, 40, 50)
    torch.testing.assert_close(model(x), torch.cat([model(one[None]) for one in x]))
    assert model(x[:0]).shape == (0, 3, 40, 50)


def test_odd_sizes_are_padded_by_repeating_and_cut():
    torch.manual_seed(0)
    model, x = tiny(8), torch.rand(1, 3, 40, 50)
    last_row = x[:, :, -1:].expand(-1, -1, 24, -1)
    padded = torch.cat([x, last_row], dim=2)
    padded = torch.cat([padded, padded[..., -1:].expand(-1, -1, -1, 14)], dim=3)  # (1, 3, 64, 64)
    assert torch.equal(model(x), model(padded)[:, :, :40, :50])


def test_the_backbone_halves_five_times():
    maps = SmallBackbone(4)(torch.rand(2, 3, 64, 96))
    assert isinstance(maps, BackboneMaps)
    assert [tuple(one.shape[2:]) for one in maps] == [(8, 12), (4, 6), (2, 3)]
    assert tuple(one.shape[1] for one in maps) == SmallBackbone(4).channels
    assert SmallBackbone(4).pool2(torch.rand(2, 3, 64, 96)).shape == (2, SmallBackbone(4).pool2_channels, 16, 24)


def test_a_dilated_backbone_computes_the_same_and_the_places_in_between():
    torch.manual_seed(0)
    halving, dilated = SmallBackbone(4).eval(), DilatedBackbone(4).eval()
    dilated.load_state_dict(halving.state_dict())  # same names, same shapes
    x = torch.rand(2, 3, 64, 96)
    dense, coarse = dilated(x), halving(x)
    assert [tuple(one.shape[2:]) for one in dense] == [(8, 12)] * 3
    assert torch.equal(dense.pool3, coarse.pool3)
    torch.testing.assert_close(dense.pool4[:, :, ::2, ::2], coarse.pool4)
    torch.testing.assert_close(dense.fc7[:, :, 2::4, 2::4], coarse.fc7)


def test_a_dilated_backbone_moves_with_the_picture_by_its_own_stride():
    torch.manual_seed(0)
    dilated, x = DilatedBackbone(4).eval(), torch.rand(1, 3, 512, 64)
    rows = slice(24, 40)  # far from the edges of the picture: 91 pixels are seen to either side
    torch.testing.assert_close(dilated(x.roll(8, dims=2)).fc7[:, :, 25:41], dilated(x).fc7[:, :, rows])


@pytest.mark.parametrize("skip", [False, True])
def test_a_dilated_fcn_starts_at_zero_takes_any_size_and_learns_in_all_its_score_layers(skip):
    torch.manual_seed(0)
    model = DilatedFCN(DilatedBackbone(4), 3, skip)
    x = torch.rand(2, 3, 33, 70)
    scores = model(x)
    assert scores.shape == (2, 3, 33, 70) and scores.abs().max() == 0
    scores.square().add(scores).sum().backward()
    layers = [layer for name, layer in model.named_children() if name.startswith("score")]
    assert len(layers) == 1 + skip and all(layer.weight.grad.abs().max() > 0 for layer in layers)


class Staircase(torch.nn.Module):
    """A backbone whose maps are set from outside."""

    channels, pool2_channels = (1, 1, 1), 1

    def __init__(self, *maps):
        super().__init__()
        self.maps, self.finest = BackboneMaps(*maps[:3]), maps[3]

    def pool2(self, x):
        return self.finest

    def from_pool2(self, pool2):
        return self.maps

    def forward(self, x):
        return self.maps


@pytest.mark.parametrize("stride, expected", [(32, 1), (16, 11), (8, 111), (4, 1111)])
def test_scores_are_sums_over_the_maps_down_to_the_stride(stride, expected):
    sides = {32: 100.0, 16: 10.0, 8: 1.0, 64: 1000.0}  # of pool3, pool4, fc7 and pool2
    backbone = Staircase(*(torch.full((1, 1, side, side), value) for side, value in sides.items()))
    model = FCN(backbone, 1, stride)
    for name, parameter in model.named_parameters():
        if name.startswith("score") and name.endswith("weight"):
            torch.nn.init.ones_(parameter)
    middle = model(torch.zeros(1, 3, 256, 256))[:, :, 64:-64, 64:-64]  # the rim fades
    torch.testing.assert_close(middle, torch.full_like(middle, float(expected)))


@pytest.mark.parametrize("stride", [32, 16, 8, 4])
def test_starts_with_scores_of_zero_and_a_fixed_last_layer(stride):
    model = FCN(SmallBackbone(4), 5, stride)
    x = torch.rand(2, 3, 32, 32)
    assert model(x).abs().max() == 0
    assert not model.upscore.weight.requires_grad and model.upscore.stride == (stride, stride)
    learned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert ("upscore2.weight" in learned) == (stride <= 16) and ("upscore_pool4.weight" in learned) == (stride <= 8)
    model(x).square().add(model(x)).sum().backward()
    assert model.score_fr.weight.grad.abs().max() > 0, "zeros at the start must not stop the learning"


def test_deconvolution_starts_as_bilinear_upsampling_of_each_channel():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5)
    for factor in (2, 8):
        ours, rim = bilinear_deconvolution(3, factor)(x), factor // 2
        theirs = bilinear_upsample(x, factor)
        torch.testing.assert_close(ours[..., rim:-rim, rim:-rim], theirs[..., rim:-rim, rim:-rim])
        assert torch.equal(ours.argmax(1), theirs.argmax(1)), "fading at the rim must not change the winner"


@pytest.mark.parametrize("factor", [8, 16, 32])
def test_the_fixed_upscore_is_a_bilinear_deconvolution_with_the_same_weights(factor):
    torch.manual_seed(0)
    x = torch.randn(2, 7, 3, 4, dtype=torch.float64, requires_grad=True)
    slow, fast = bilinear_deconvolution(7, factor).double(), FixedUpscore(7, factor).double()
    slow.load_state_dict(fast.state_dict(), strict=True)  # what was stored with one goes into the other
    assert slow.weight.shape == (7, 7, 2 * factor, 2 * factor)
    torch.testing.assert_close(fast(x), slow(x))
    (gradient,) = torch.autograd.grad(fast(x).square().sum(), x)
    (expected,) = torch.autograd.grad(slow(x).square().sum(), x)
    torch.testing.assert_close(gradient, expected)
    assert not list(fast.parameters()) and isinstance(fast, torch.nn.ConvTranspose2d)


@pytest.fixture(scope="module")
def pair():
    """torchvision's model and ours, with the same random weights and statistics."""
    torch.manual_seed(0)
    theirs = torchvision.models.segmentation.fcn_resnet50(
        weights=None, weights_backbone=None, num_classes=21, aux_loss=True
    ).eval()
    for name, tensor in theirs.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.uniform_(0.5, 1) if name.endswith("weight") else tensor.normal_(0, 0.1)
    ours = fcn_resnet50().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours.requires_grad_(False), theirs.requires_grad_(False)


@pytest.mark.parametrize("size", [(64, 64), (41, 75), (1, 9)])
def test_fcn_resnet50_equals_torchvision(pair, size):
    ours, theirs = pair
    x = torch.randn(2, 3, *size)
    mine, other = ours(x), theirs(x)
    assert set(mine) == set(other) == {"out", "aux"}
    for name, expected in other.items():
        assert mine[name].shape == (2, 21, *size)
        assert expected.std() > 0.01, "an all but constant answer would prove nothing"
        assert ((mine[name] - expected).abs().max() / expected.abs().max()).item() < 1e-5


def test_weights_go_both_ways(pair):
    ours, theirs = pair
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert sum(p.numel() for p in ours.parameters()) == 35_322_218  # torchvision's published figure


def test_fcn_resnet50_without_the_second_head(pair):
    ours, _ = pair
    alone = fcn_resnet50(aux_loss=False).eval()
    alone.load_state_dict({k: v for k, v in ours.state_dict().items() if not k.startswith("aux_classifier.")})
    x = torch.randn(1, 3, 33, 33)
    scores = alone(x)
    assert list(scores) == ["out"] and torch.allclose(scores["out"], ours(x)["out"], rtol=1e-5, atol=1e-5)
    assert isinstance(fcn_resnet50(num_classes=2).train()(x.expand(2, -1, -1, -1)), dict)


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: FCN(SmallBackbone(4), 3, 2), "stride"),
        (lambda: FCN(SmallBackbone(4), 0), "num_classes"),
        (lambda: FCN(SmallBackbone(4), 3)(torch.zeros(3, 32, 32)), "x"),
        (lambda: FCN(SmallBackbone(4), 3)(torch.zeros(1, 1, 32, 32)), "x"),
        (lambda: FCN(SmallBackbone(4), 3)(torch.zeros(1, 3, 0, 32)), "x"),
        (lambda: FCNResNet50(2, aux_loss=False)(torch.zeros(3, 32, 32)), "x"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
