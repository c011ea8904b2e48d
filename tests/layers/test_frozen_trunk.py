import copy

import torch
from torch import nn
from torchvision.ops import roi_align

from lib.layers.frozen_trunk import FrozenTrunk, cut_regions
from lib.models.faster_rcnn import faster_rcnn_small
from lib.training.ema import EMA


def trunk():
    torch.manual_seed(0)
    detector = faster_rcnn_small()
    return detector, FrozenTrunk(detector.transform, detector.backbone)


def test_gives_the_detectors_own_maps_and_no_gradients():
    detector, frozen = trunk()
    images = torch.rand(2, 3, 64, 96)
    batch, features = frozen(images)
    assert torch.equal(features["0"], detector.eval().backbone(images)["0"])
    assert frozen.out_channels == features["0"].shape[1] and batch.image_sizes == [(64, 96)] * 2
    assert not features["0"].requires_grad and not any(one.requires_grad for one in frozen.parameters())


def test_a_training_of_the_head_leaves_every_bit_of_the_trunk():
    _, frozen = trunk()
    model = nn.ModuleDict({"trunk": frozen, "head": nn.Conv2d(frozen.out_channels, 1, 1)})
    before = copy.deepcopy(model.state_dict())
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    averages = EMA(model, 0.9)
    model.train()
    assert model["head"].training and not any(module.training for module in frozen.modules())
    for _ in range(3):
        optimiser.zero_grad()
        model["head"](model["trunk"](torch.rand(2, 3, 32, 32))[1]["0"]).mean().backward()
        optimiser.step()
        averages.update(model)
    averages.copy_to(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("trunk"), name


def test_regions_are_cut_from_the_largest_map_with_cells_where_they_are():
    maps = {"0": torch.randn(2, 3, 12, 12), "1": torch.randn(2, 3, 6, 6)}
    boxes = [torch.tensor([[8.0, 16, 40, 64], [0, 0, 96, 96]]), torch.zeros(0, 4)]
    cut = cut_regions(maps, boxes, [(96, 96)] * 2, 6)
    torch.testing.assert_close(cut, roi_align(maps["0"], boxes, 6, 1 / 8, 2, aligned=True))
    slope = torch.arange(12.0).expand(1, 1, 12, 12)  # each cell holds its column
    columns = cut_regions({"0": slope}, [torch.tensor([[32.0, 32, 64, 64]])], [(96, 96)], 4)[0, 0, 0]
    torch.testing.assert_close(columns, torch.tensor([4.0, 5, 6, 7]))  # pixels 32..64 are cells 4..7


def test_regions_of_several_sizes_come_from_one_look():
    _, frozen = trunk()
    images, boxes = torch.rand(2, 3, 64, 96), [torch.tensor([[8.0, 16, 40, 64]]), torch.zeros(0, 4)]
    looks = []
    frozen.backbone.register_forward_hook(lambda *_: looks.append(1))
    coarse, fine = frozen.regions(images, boxes, 3, 7)
    assert len(looks) == 1
    _, features = frozen(images)
    for regions, size in ((coarse, 3), (fine, 7)):
        torch.testing.assert_close(regions, cut_regions(features, boxes, [(64, 96)] * 2, size))
