import pytest
import torch
import torchvision.ops
from torch import nn
from torchvision.models.detection.backbone_utils import BackboneWithFPN as TheirBackboneWithFPN
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool as TheirMaxPool

from lib.layers.fpn import (
    BackboneWithFPN,
    BackboneWithPyramid,
    ConcatPyramid,
    FeaturePyramidNetwork,
    LastLevelMaxPool,
    MultiScaleRoIAlign,
    NoWayDown,
    infer_scale,
)
from lib.layers.small_backbone import SmallStages


def maps_of(sizes, channels=(3, 4, 5)):
    return {f"m{number}": torch.randn(2, channels[number], *size) for number, size in enumerate(sizes)}


@pytest.mark.parametrize("sizes", [[(16, 12), (8, 6), (4, 3)], [(15, 13), (7, 6), (3, 3)], [(1, 1), (1, 1), (1, 1)]])
def test_equals_torchvision(sizes):
    torch.manual_seed(0)
    theirs = torchvision.ops.FeaturePyramidNetwork([3, 4, 5], 6, TheirMaxPool())
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours = FeaturePyramidNetwork([3, 4, 5], 6, LastLevelMaxPool())
    ours.load_state_dict(theirs.state_dict(), strict=True)
    maps = maps_of(sizes)
    expected = theirs(dict(maps))
    result = ours(maps)
    assert list(result) == list(expected) == ["m0", "m1", "m2", "pool"]
    for name, one in expected.items():
        torch.testing.assert_close(result[name], one)
    assert list(maps) == ["m0", "m1", "m2"], "what was given must stay as it is"


def test_starts_as_torchvisions_does():
    torch.manual_seed(0)
    theirs = torchvision.ops.FeaturePyramidNetwork([30, 40], 50).state_dict()
    for name, tensor in FeaturePyramidNetwork([30, 40], 50).state_dict().items():
        assert tensor.abs().max() == 0 if name.endswith("bias") else 0.9 < tensor.std() / theirs[name].std() < 1.1


def test_what_is_seen_at_a_small_map_reaches_the_large_ones_but_not_back():
    torch.manual_seed(0)
    pyramid, maps = FeaturePyramidNetwork([3, 4, 5], 6), maps_of([(16, 16), (8, 8), (4, 4)])
    before = pyramid(maps)
    changed = pyramid(maps | {"m1": maps["m1"] + 1})
    assert not torch.equal(before["m0"], changed["m0"]) and torch.equal(before["m2"], changed["m2"])


PYRAMIDS = [FeaturePyramidNetwork, ConcatPyramid, NoWayDown]


@pytest.mark.parametrize("kind", PYRAMIDS)
@pytest.mark.parametrize("sizes", [[(16, 12), (8, 6), (4, 3)], [(15, 13), (7, 6), (3, 3)]])
def test_all_pyramids_give_the_same_shapes_and_names(kind, sizes):
    pyramid = kind([3, 4, 5], 6, LastLevelMaxPool())(maps_of(sizes))
    assert list(pyramid) == ["m0", "m1", "m2", "pool"]
    assert [tuple(one.shape) for one in pyramid.values()][:3] == [(2, 6, *size) for size in sizes]


@pytest.mark.parametrize("kind, told", [(FeaturePyramidNetwork, True), (ConcatPyramid, True), (NoWayDown, False)])
def test_a_large_map_is_told_of_the_smaller_ones_where_there_is_a_way_down(kind, told):
    torch.manual_seed(0)
    pyramid, maps = kind([3, 4, 5], 6), maps_of([(16, 16), (8, 8), (4, 4)])
    before, changed = pyramid(maps), pyramid(maps | {"m2": maps["m2"] + 1})
    assert [not torch.equal(before[name], changed[name]) for name in maps] == [told, told, True]


def test_no_way_down_is_the_pyramid_without_what_comes_from_above():
    torch.manual_seed(0)
    down, none, maps = FeaturePyramidNetwork([3, 4], 6), NoWayDown([3, 4], 6), maps_of([(8, 8), (4, 4)])
    none.load_state_dict(down.state_dict(), strict=True)
    torch.testing.assert_close(none(maps)["m1"], down(maps)["m1"])
    nn.init.zeros_(down.inner_blocks[1][0].weight)  # its bias is 0
    torch.testing.assert_close(none(maps)["m0"], down(maps)["m0"])


def test_concatenating_before_a_1x1_convolution_is_adding_with_one_more():
    torch.manual_seed(0)
    both, maps = ConcatPyramid([3, 4], 6), maps_of([(8, 8), (4, 4)])
    above = both.inner_blocks[1](maps["m1"])
    own, from_above = both.inner_blocks[0][0].weight.split([3, 6], dim=1)  # (6, 3, 1, 1), (6, 6, 1, 1)
    enlarged = nn.functional.interpolate(above, scale_factor=2)
    merged = nn.functional.conv2d(maps["m0"], own) + nn.functional.conv2d(enlarged, from_above)
    torch.testing.assert_close(both(maps)["m0"], both.layer_blocks[0](merged))


@pytest.mark.parametrize("kind", PYRAMIDS)
def test_a_pyramid_on_small_stages(kind):
    stages = SmallStages(4)
    backbone = BackboneWithPyramid(stages, kind(stages.channels, 6))
    maps = backbone(torch.rand(1, 3, 64, 32))
    assert {name: tuple(one.shape) for name, one in maps.items()} == {
        "0": (1, 6, 16, 8),
        "1": (1, 6, 8, 4),
        "2": (1, 6, 4, 2),
    }
    assert backbone.out_channels == 6
    last = BackboneWithPyramid(stages, kind(stages.channels[1:], 6))(torch.rand(1, 3, 64, 32))  # the last two of three
    assert {name: tuple(one.shape) for name, one in last.items()} == {"0": (1, 6, 8, 4), "1": (1, 6, 4, 2)}


def test_old_names_of_published_weights_are_understood():
    ours = FeaturePyramidNetwork([3, 4], 6)
    old = {
        name.replace(".0.weight", ".weight").replace(".0.bias", ".bias"): tensor + 1
        for name, tensor in ours.state_dict().items()
    }
    assert "inner_blocks.1.weight" in old and "inner_blocks.1.0.weight" not in old
    whole = nn.Sequential(FeaturePyramidNetwork([3, 4], 6))  # also inside of another module
    whole.load_state_dict({f"0.{name}": tensor for name, tensor in old.items()}, strict=True)
    assert torch.equal(whole[0].inner_blocks[1][0].weight, ours.inner_blocks[1][0].weight + 1)


class Body(nn.Module):
    def forward(self, x):
        return {"layer1": x[:, :, ::4, ::4], "layer2": x[:, :, ::8, ::8]}


def test_names_of_the_maps_are_numbers_and_pool():
    backbone = BackboneWithFPN(Body(), [3, 3], 6)
    maps = backbone(torch.rand(1, 3, 64, 32))
    assert {name: tuple(one.shape) for name, one in maps.items()} == {
        "0": (1, 6, 16, 8),
        "1": (1, 6, 8, 4),
        "pool": (1, 6, 4, 2),
    }
    assert backbone.out_channels == 6
    assert set(dict(backbone.named_children())) == set(
        dict(TheirBackboneWithFPN(nn.Sequential(nn.Conv2d(3, 3, 1)), {"0": "0"}, [3], 6).named_children())
    )


@pytest.mark.parametrize("names", [["0", "1", "2", "3"], ["1"], ["0", "1"]])
@pytest.mark.parametrize("size", [(256, 192), (250, 189)])
def test_regions_are_cut_as_torchvision_cuts_them(names, size):
    torch.manual_seed(0)
    maps = {str(k): torch.randn(2, 3, 64 // 2**k, 48 // 2**k, requires_grad=True) for k in range(4)}
    maps["pool"] = torch.randn(2, 3, 4, 3)
    corners = torch.rand(40, 2) * 150
    boxes = torch.cat([corners, corners + 300 * torch.rand(40, 2) ** 2 + 0.1], dim=1)
    boxes = [boxes[:25], boxes[25:]]
    options = {"output_size": 5, "sampling_ratio": 2, "canonical_scale": 40, "canonical_level": 3}
    ours = MultiScaleRoIAlign(names, **options)
    expected = torchvision.ops.MultiScaleRoIAlign(names, **options)(maps, boxes, [size, (100, 100)])
    result = ours(maps, boxes, [size, (100, 100)])
    torch.testing.assert_close(result, expected)
    if len(names) == 4:
        assert ours.levels(boxes, [1 / 4, 1 / 8, 1 / 16, 1 / 32]).unique().tolist() == [0, 1, 2, 3]
    weights = torch.randn_like(result)
    for name in names:
        (mine,) = torch.autograd.grad((result * weights).sum(), maps[name], retain_graph=True)
        (other,) = torch.autograd.grad((expected * weights).sum(), maps[name], retain_graph=True)
        torch.testing.assert_close(mine, other)


def test_no_regions_and_a_picture_without_any():
    maps = {str(k): torch.randn(2, 3, 32 // 2**k, 32 // 2**k) for k in range(2)}
    align = MultiScaleRoIAlign(["0", "1"], (2, 3), 2)
    assert align(maps, [torch.zeros(0, 4)] * 2, [(128, 128)] * 2).shape == (0, 3, 2, 3)
    one = torch.tensor([[10.0, 20, 60, 50]])
    cut = align(maps, [torch.zeros(0, 4), one], [(128, 128)] * 2)
    torch.testing.assert_close(cut, align({name: m[1:] for name, m in maps.items()}, [one], [(128, 128)]))


@pytest.mark.parametrize("side, level", [(20, 0), (111, 0), (112, 1), (224, 2), (447, 2), (448, 3), (3000, 3)])
def test_equation_1_of_the_paper(side, level):
    align = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    box = torch.tensor([[0.0, 0, side / 2, side * 2]])  # the area counts, not the shape
    assert align.levels([box], [1 / 4, 1 / 8, 1 / 16, 1 / 32]).item() == level


def test_scale_is_the_nearest_power_of_two():
    assert infer_scale(torch.zeros(1, 1, 12, 12), [(96, 96)]) == 1 / 8
    assert infer_scale(torch.zeros(1, 1, 16, 12), [(97, 96), (50, 96)]) == 1 / 8  # padded to 128


@pytest.mark.parametrize("kind", PYRAMIDS)
def test_another_number_of_maps_is_named(kind):
    with pytest.raises(ValueError, match="^maps "):
        kind([3, 4, 5], 6)(maps_of([(4, 4), (2, 2)]))
