"""What people do with torchvision's detectors: train them from random weights, and call them with targets."""

import pytest
import torch
from torch import nn
from torchvision.models import detection
from torchvision.ops import FrozenBatchNorm2d

from lib.models.faster_rcnn import faster_rcnn_small, fasterrcnn_resnet50_fpn
from lib.models.mask_rcnn import mask_rcnn_small, maskrcnn_resnet50_fpn
from lib.models.retinanet import retinanet_resnet50_fpn, retinanet_small
from lib.models.ssd import ssd_small

BUILDERS = [fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn, retinanet_resnet50_fpn]


def learned(model):
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_norms_are_frozen_or_learn_as_torchvisions_without_weights(build):
    with torch.device("meta"):  # shapes alone
        frozen, learning = build(5), build(5, frozen_norms=False)
        theirs = getattr(detection, build.__name__)(weights=None, weights_backbone=None, num_classes=5)
    assert learned(learning) == learned(theirs) > learned(frozen)
    learning.load_state_dict(theirs.state_dict(), strict=True, assign=True)
    for model, kind in ((frozen, FrozenBatchNorm2d), (learning, nn.BatchNorm2d)):
        norms = [module for module in model.backbone.body.modules() if "Norm" in type(module).__name__]
        assert len(norms) == 53 and {type(norm) for norm in norms} == {kind}


@pytest.mark.parametrize("build", [faster_rcnn_small, mask_rcnn_small, retinanet_small, ssd_small])
def test_a_call_with_targets_points_to_the_loss(build):
    model, images = build().eval(), torch.rand(1, 3, 96, 96)
    with pytest.raises(ValueError, match=r"^targets is a list; expected none: .*`model.loss\(images, targets\)`"):
        model(images, [{"boxes": torch.tensor([[0.0, 0, 9, 9]]), "labels": torch.ones(1, dtype=torch.int64)}])
    with torch.no_grad():
        assert model(images)[0].keys() == model(images, None)[0].keys()
