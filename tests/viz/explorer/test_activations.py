"""Which maps are collected, under which name, and that the model is left as it was."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from lib.viz.explorer.activations import feature_maps, find_map, record, stages
from tests.viz.networks import SmallNet, Unusual

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


def test_layers_without_a_map_say_why() -> None:
    without = record(Unusual(), IMAGE).without
    assert without == {"output[scores]": "gives (1, 8): no rows and columns of cells"}
    maps, without = (recording := record(SmallNet(), IMAGE)).maps, recording.without
    with pytest.raises(
        ValueError, match=r"layer is 'head', which gives \(1, 5\): no rows and columns of cells; expected"
    ):
        find_map(maps, "head", without)


@pytest.mark.parametrize(
    "name, size, aside",
    [
        ("vit_tiny_patch16_224", 64, 1),
        ("deit_tiny_distilled_patch16_224", 64, 2),
        ("vit_small_patch14_reg4_dinov2", 56, 5),
        ("eva02_tiny_patch14_224", 56, 1),
        ("vit_small_patch16_dinov3", 64, 5),
    ],
)
def test_tokens_that_are_no_place_are_set_aside(name: str, size: int, aside: int) -> None:
    model = timm.create_model(name, pretrained=False, img_size=size).eval()
    picture = torch.rand(3, size, size, generator=torch.Generator().manual_seed(0))
    found = find_map(feature_maps(model, picture), "blocks.3")
    assert found.aside == aside
    words = "1 token set aside" if aside == 1 else f"{aside} tokens set aside"
    assert str(found.geometry).endswith("sees the whole picture") and str(found).endswith(words)
    tokens = []
    with model.blocks[3].register_forward_hook(lambda module, inputs, output: tokens.append(output)), torch.no_grad():
        model(picture[None])
    expected = tokens[0][0, aside:].T.reshape(found.shape)
    torch.testing.assert_close(found.values.float(), expected, atol=1e-2, rtol=1e-2)


def test_torchvisions_vit_shows_every_block() -> None:
    model = torchvision.models.VisionTransformer(64, 16, 2, 2, 32, 64)
    maps = feature_maps(model, torch.rand(3, 64, 64))
    for block in range(2):
        found = find_map(maps, f"encoder.layers.encoder_layer_{block}")
        assert found.shape == (32, 4, 4) and found.aside == 1


def test_an_attention_matrix_is_no_map() -> None:
    recording = record(timm.create_model("swin_tiny_patch4_window7_224", pretrained=False), torch.rand(3, 224, 224))
    names = [found.name for found in recording.maps]
    assert not any("attn.softmax" in name for name in names)
    matrices = [why for why in recording.without.values() if "a matrix of pairs" in why]
    assert len(matrices) >= 10 and recording.without["layers.3.blocks.0.attn.softmax"] in matrices
    assert [found.shape[1:] for found in stages(recording.maps)] == [(56, 56), (28, 28), (14, 14), (7, 7)]


class Asking(nn.Module):
    """Queries ask the cells of a map, as in DETR: the attention of each query is a map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.queries = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.rand(1, 5, 8))
        self.weights, self.own = nn.Softmax(-1), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.conv(x).flatten(2)  # (1, 8, 24)
        self.own(tokens.transpose(1, 2) @ tokens)  # (1, 24, 24): cells by cells
        self.own(tokens.unflatten(1, (2, 4)) @ tokens.unflatten(1, (2, 4)).transpose(2, 3))  # (1, 2, 4, 4): channels
        return self.weights(self.queries @ tokens)  # (1, 5, 24): queries by cells


def test_what_queries_look_at_is_a_map_and_cells_by_cells_is_none() -> None:
    model = Asking()
    recording = record(model, IMAGE)
    found = find_map(recording.maps, "weights")
    assert found.shape == (5, 4, 6)
    torch.testing.assert_close(found.values.float().sum((1, 2)), torch.ones(5), atol=1e-2, rtol=0)
    assert recording.without["own#2"] == "gives (1, 2, 4, 4): a matrix of pairs (attention), no map"
    assert recording.without["own"] == "gives (1, 24, 24): a matrix of pairs (attention), no map"


class Constants(nn.Module):
    """An encoding of the places of a map, and a table that has the proportions of the picture by chance."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.encoding, self.table = nn.Conv2d(3, 8, 8, 8), nn.Identity(), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.table(torch.ones(1, 5, 2, 3))
        return self.conv(x) + self.encoding(torch.ones(1, 8, 4, 6))


def test_what_does_not_depend_on_the_picture_is_a_map_only_beside_one_of_its_size() -> None:
    recording = record(Constants(), IMAGE)
    assert [found.name for found in recording.maps] == ["conv", "encoding", "output"]
    assert recording.without == {"table": "gives (1, 5, 2, 3): it does not depend on the picture"}


class InInference(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = SmallNet()

    @torch.inference_mode()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


class WithGradients(InInference):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            return self.net(x)


@pytest.mark.parametrize("build", [InInference, WithGradients])
def test_models_that_choose_their_own_mode(build: type[nn.Module]) -> None:
    found = find_map(feature_maps(build(), IMAGE), "net.body")
    assert str(found) == "net.body (12, 8, 12) stride 4, sees 7×7"
    assert not found.values.requires_grad
    with torch.inference_mode():
        assert str(find_map(feature_maps(build(), IMAGE), "net.body")) == str(found)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
def test_scripted_parts_are_passed_over_and_keep_no_hook() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), torch.jit.script(nn.ReLU()))
    assert "0" in [found.name for found in feature_maps(model, IMAGE)]
    assert model(IMAGE[None]).shape == (1, 4, 30, 46)


def test_a_module_that_refuses_hooks_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SmallNet().train()

    def refuse(hook: object) -> None:
        raise RuntimeError("no hooks here")

    monkeypatch.setattr(model.head, "register_forward_hook", refuse)
    with pytest.raises(RuntimeError, match="no hooks here"):
        feature_maps(model, IMAGE)
    assert model.training and not any(module._forward_hooks for module in model.modules())
