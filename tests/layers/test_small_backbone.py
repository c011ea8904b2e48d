import pytest
import torch

from lib.layers.small_backbone import SmallBackbone, SmallStages, SmallTwoMaps


@pytest.mark.parametrize("size", [(96, 96), (64, 32), (8, 8)])
def test_one_map_at_stride_8(size):
    backbone = SmallBackbone(4)
    maps = backbone(torch.rand(2, 3, *size))
    assert list(maps) == ["0"] and maps["0"].shape == (2, 16, size[0] // 8, size[1] // 8)
    assert backbone.out_channels == 16 and backbone.stride == 8


def test_size_and_view_are_as_the_text_says():
    backbone = SmallBackbone().eval()
    assert round(sum(p.numel() for p in backbone.parameters()) / 1e6, 2) == 0.34
    x = torch.rand(1, 3, 192, 192, requires_grad=True)
    backbone(x)["0"][0, :, 12, 12].sum().backward()
    seen = x.grad[0].abs().sum(0) > 0
    assert seen.any(0).sum() == seen.any(1).sum() == 70


def test_a_batch_is_its_pictures_one_by_one():
    torch.manual_seed(0)
    backbone, x = SmallBackbone(4).eval(), torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(backbone(x)["0"], torch.cat([backbone(one[None])["0"] for one in x]))


def test_two_maps_of_the_same_network():
    torch.manual_seed(0)
    one, two, x = SmallBackbone(4).eval(), SmallTwoMaps(4).eval(), torch.rand(2, 3, 32, 48)
    two.load_state_dict(one.state_dict())
    maps = two(x)
    assert list(maps) == ["0", "1"] and two.channels == [8, 16]
    assert torch.equal(maps["1"], one(x)["0"]) and maps["0"].shape == (2, 8, 8, 12)
    assert torch.equal(one.stem[2](maps["0"]), one.stem(x))


@pytest.mark.parametrize("size", [(96, 96), (64, 32), (16, 16)])
def test_stages_give_a_map_at_each_of_three_strides(size):
    stages = SmallStages(4)
    maps = stages(torch.rand(2, 3, *size))
    assert list(maps) == ["0", "1", "2"] and stages.strides == (4, 8, 16) and stages.channels == [8, 16, 16]
    for one, channels, stride in zip(maps.values(), stages.channels, stages.strides, strict=True):
        assert one.shape == (2, channels, size[0] // stride, size[1] // stride)


def test_size_and_views_of_the_stages_are_as_the_text_says():
    stages = SmallStages().eval()
    assert round(sum(p.numel() for p in stages.parameters()) / 1e6, 2) == 0.43
    for name, stride, view in zip("012", stages.strides, (18, 46, 102), strict=True):
        x = torch.rand(1, 3, 192, 192, requires_grad=True)
        stages(x)[name][0, :, 96 // stride, 96 // stride].sum().backward()
        seen = x.grad[0].abs().sum(0) > 0
        assert seen.any(0).sum() == seen.any(1).sum() == view


def test_the_stages_compute_about_as_much_as_the_backbone_with_one_map():
    def multiplications(network):
        counts = []
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.register_forward_hook(
                    lambda layer, _, out: counts.append(layer.weight.numel() * out[0, 0].numel())
                )
        network.eval()(torch.rand(1, 3, 96, 96))
        return sum(counts)

    assert 0.9 < multiplications(SmallStages()) / multiplications(SmallBackbone()) < 1.0


@pytest.mark.parametrize("x", [torch.zeros(3, 32, 32), torch.zeros(1, 1, 32, 32)])
def test_bad_input_is_named(x):
    for network in (SmallBackbone(4), SmallTwoMaps(4), SmallStages(4)):
        with pytest.raises(ValueError, match="^x "):
            network(x)
