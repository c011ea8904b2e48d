import torch
from torch import nn

from lib.layers.joiner import Joiner, LastStage
from lib.layers.position import PositionEmbeddingSine
from lib.layers.rcnn_transform import ImageList
from lib.layers.resnet import ResNet
from lib.layers.small_backbone import SmallBackbone


def test_the_last_stage_alone():
    torch.manual_seed(0)
    body = ResNet((1, 1, 1, 1)).eval()
    backbone, x = LastStage(body), torch.rand(1, 3, 70, 40)
    maps = backbone(x)
    assert list(maps) == ["0"] and maps["0"].shape == (1, 2048, 3, 2) and backbone.out_channels == 2048
    assert torch.equal(maps["0"], body(x)["layer4"])
    assert all(name.startswith("body.") for name in backbone.state_dict())


def test_a_map_with_its_padding_and_its_places():
    backbone, code = SmallBackbone(4).eval(), PositionEmbeddingSine(6, normalize=True)
    joiner = Joiner(backbone, code)
    batch = ImageList(torch.rand(2, 3, 32, 40), [(32, 40), (17, 24)], [(32, 40), (17, 24)])
    features, mask, places = joiner(batch)
    assert features.shape == (2, 16, 4, 5) and joiner.num_channels == 16
    assert torch.equal(features, backbone(batch.tensors)["0"])
    assert not mask[0].any()
    assert mask[1].tolist() == [[False, False, False, True, True]] * 3 + [
        [True] * 5
    ]  # 17 pixels: a bit of the third row
    assert torch.equal(places, code(mask)) and places.shape == (2, 12, 4, 5)
    assert isinstance(joiner, nn.Sequential) and "0.stem.0.0.weight" in joiner.state_dict()
