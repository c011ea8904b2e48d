"""Which maps are collected, under which name, and that the model is left as it was."""

import pytest
import torch
from tests.viz.networks import SmallNet, Unusual
from torch import nn

from lib.viz.explorer.activations import feature_maps, find_map, stages

IMAGE = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(1))


def test_maps_are_what_the_modules_gave() -> None:
    model = SmallNet().eval()
    maps = {found.name: found for found in feature_maps(model, IMAGE)}
    assert list(maps) == ["stem.0", "stem.1", "stem", "body.0", "body"]
    assert maps["stem"].aliases == ["stem.2"] and maps["body"].aliases == ["body.1"]
    with torch.no_grad():
        before = model.stem[1](model.stem[0](IMAGE[None]))  # then changed in place by the ReLU
        torch.testing.assert_close(maps["stem.1"].values.float(), before[0], atol=2e-3, rtol=2e-3)
        torch.testing.assert_close(maps["stem"].values.float(), before[0].relu(), atol=2e-3, rtol=2e-3)
        assert maps["stem.1"].values.min() < 0 == maps["stem"].values.min()
    assert str(maps["body"]) == "body (12, 8, 12) stride 4, sees 7×7"
    assert [found.name for found in stages(list(maps.values()))] == ["stem", "body"]
    assert maps["stem.0"].inner and not maps["stem"].inner


def test_unusual_outputs_are_found() -> None:
    maps = {found.name: found for found in feature_maps(Unusual(), IMAGE)}
    assert list(maps) == ["conv", "both[0]", "both[1]", "both#2[0]", "both#2[1]", "norm", "output[out]"]
    assert maps["norm"].shape == (8, 8, 12)  # (1, H, W, C) turned round
    assert str(maps["both#2[1]"].geometry) == "stride 4, sees 6×6"
    assert maps["output[out]"].shape == (16, 32, 48) and maps["output[out]"].geometry.y.stride == 1


def test_tokens_become_a_map_again() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.linear = nn.Conv2d(3, 6, 8, 8), nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(self.patches(x).flatten(2).transpose(1, 2))  # (1, 24, 5)

    model = Tokens()
    found = find_map(feature_maps(model, IMAGE), "linear")
    assert found.shape == (5, 4, 6) and str(found.geometry) == "stride 8, sees 8×8"
    expected = model(IMAGE[None])[0].T.reshape(5, 4, 6)
    torch.testing.assert_close(found.values.float(), expected.detach(), atol=2e-3, rtol=2e-3)


def test_model_is_left_as_it_was() -> None:
    model = SmallNet().train()
    model.body.eval()
    mean = model.stem[1].running_mean.clone()
    feature_maps(model, IMAGE)
    assert [model.training, model.stem.training, model.body.training] == [True, True, False]
    assert torch.equal(model.stem[1].running_mean, mean)
    assert not any(module._forward_hooks for module in model.modules())

    with pytest.raises(RuntimeError):
        feature_maps(model, IMAGE[:2])  # two channels: the model itself fails
    assert model.training and not any(module._forward_hooks for module in model.modules())


def test_memory_is_bounded() -> None:
    everything = feature_maps(SmallNet(), IMAGE)
    limit = sum(found.values.nbytes for found in everything) - 1
    fewer = feature_maps(SmallNet(), IMAGE, max_bytes=limit)
    assert sum(found.values.nbytes for found in fewer) <= limit
    assert {found.name for found in everything} - {found.name for found in fewer} <= {"stem.0", "stem.1"}


def test_large_values_are_kept() -> None:
    class Large(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 0 + 1e6

    assert feature_maps(Large(3, 1, 1), IMAGE)[0].values.max() == 1e6


@pytest.mark.parametrize(
    "image, message",
    [
        (torch.rand(32, 48), r"image has the shape \(32, 48\)"),
        (torch.rand(2, 3, 8, 8), r"image has the shape \(2, 3, 8, 8\)"),
        (torch.rand(3, 0, 8), "not empty"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "image has the dtype torch.uint8"),
        (torch.full((3, 8, 8), torch.nan), "image has infinite or NaN values"),
        ([[1.0]], "image is a list"),
    ],
)
def test_bad_images_are_named(image: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        feature_maps(SmallNet(), image)


def test_a_model_without_maps_is_named() -> None:
    with pytest.raises(ValueError, match="model is a Sequential of which no module gives a map"):
        feature_maps(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 48, 4)), IMAGE)
    with pytest.raises(ValueError, match="layer is 'head'; expected a module that gives a map, such as stem, body"):
        find_map(feature_maps(SmallNet(), IMAGE), "head")
