import pytest
import torch

from lib.layers.small_backbone import SmallBackbone


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


@pytest.mark.parametrize("x", [torch.zeros(3, 32, 32), torch.zeros(1, 1, 32, 32)])
def test_bad_input_is_named(x):
    with pytest.raises(ValueError, match="^x "):
        SmallBackbone(4)(x)
