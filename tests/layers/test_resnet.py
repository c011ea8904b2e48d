import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.ops import FrozenBatchNorm2d

from lib.layers.resnet import Bottleneck, ResNet, resnet50


def randomise(model):
    """Every number that a checkpoint holds becomes random, the statistics of BatchNorm included."""
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.uniform_(0.5, 1) if name.endswith("weight") else tensor.normal_(0, 0.1)
    return model.eval()


@pytest.mark.parametrize("dilate", [(False, False, False), (False, True, True), (True, False, True)])
@torch.no_grad()
def test_equal_to_torchvision_stage_by_stage(dilate):
    torch.manual_seed(0)
    theirs = randomise(torchvision.models.resnet50(weights=None, replace_stride_with_dilation=list(dilate)))
    ours = resnet50(dilate).eval()
    state = {name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith("fc.")}
    ours.load_state_dict(state, strict=True)
    x = torch.randn(2, 3, 45, 70)
    maps = ours(x)
    stages = create_feature_extractor(theirs, {name: name for name in maps})(x)
    assert list(maps) == ["layer1", "layer2", "layer3", "layer4"]
    for name, expected in stages.items():
        torch.testing.assert_close(maps[name], expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_starts_as_torchvision_does():
    def spread(model):
        return torch.cat([p.detach().flatten() for p in model.parameters() if p.ndim == 4]).std().item()

    theirs, ours = torchvision.models.resnet50(weights=None), resnet50()
    assert spread(ours) == pytest.approx(spread(theirs), rel=0.01)


def test_another_normalisation_reaches_every_layer():
    model = ResNet((1, 1, 1, 1), norm_layer=FrozenBatchNorm2d)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert sum(isinstance(module, FrozenBatchNorm2d) for module in model.modules()) == 1 + 4 * (3 + 1)


@torch.no_grad()
def test_a_batch_is_its_pictures_one_by_one():
    model = randomise(ResNet((1, 1, 1, 1)))
    x = torch.randn(2, 3, 33, 40)
    alone = torch.cat([model(one[None])["layer4"] for one in x])
    torch.testing.assert_close(model(x)["layer4"], alone, rtol=1e-4, atol=1e-4 * alone.abs().max().item())
    assert model(x[:0])["layer4"].shape == (0, 2048, 2, 2)


def test_the_input_comes_through_where_the_branch_says_nothing():
    block = Bottleneck(8, 2).eval()
    nn.init.zeros_(block.bn3.weight)
    x = torch.randn(1, 8, 3, 4)
    assert block.downsample is None
    assert torch.equal(block(x), x.relu())


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: ResNet((3, 4, 6)), "blocks"),
        (lambda: resnet50((False, True)), "replace_stride_with_dilation"),
        (lambda: ResNet((1, 1, 1, 1))(torch.zeros(3, 32, 32)), "x"),
        (lambda: ResNet((1, 1, 1, 1))(torch.zeros(1, 1, 32, 32)), "x"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
