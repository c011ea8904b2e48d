"""The explorer, driven from Python and by the messages that the browser sends."""

import base64
import io
import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from tests.viz.networks import SmallNet, Unusual

from lib.viz.explorer.explorer import Explorer, explore

IMAGE = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def explorer() -> Explorer:
    torch.manual_seed(0)
    return explore(SmallNet(), IMAGE)


def shown(explorer: Explorer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(explorer._picture.png)))


def static_twin(explorer: Explorer) -> bytes:
    return base64.b64decode(explorer._repr_mimebundle_()["image/png"])


def test_repr_is_short_and_steady(explorer: Explorer) -> None:
    assert repr(explorer) == (
        "Explorer: 5 maps of SmallNet on a 32×48 picture, first stem.0 (8, 16, 24) stride 2, sees 3×3"
    )
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == repr(explorer)
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_static_twin_is_a_picture_that_follows(explorer: Explorer) -> None:
    before = static_twin(explorer)
    assert before.startswith(b"\x89PNG") and before == static_twin(explorer)
    explorer.layer = "body"
    assert static_twin(explorer) != before
    assert Image.open(io.BytesIO(before)).size[0] < 760


@pytest.mark.parametrize(
    "name, value",
    [
        ("layer", "body"),
        ("view", "strongest"),
        ("view", "mean"),
        ("view", "pca"),
        ("channel", 1),
        ("opacity", 0.2),
        ("cell", (0, 0)),
    ],
)
def test_each_choice_changes_the_picture(explorer: Explorer, name: str, value: object) -> None:
    explorer.channel = 0
    before = explorer._picture.png
    setattr(explorer, name, value)
    assert explorer._picture.png != before


def test_opacity_ends_at_the_picture_and_at_the_map(explorer: Explorer) -> None:
    explorer.opacity, explorer.cell = 0.0, (0, 0)
    photo = shown(explorer)[60:]  # below the marked cell
    np.testing.assert_array_equal(photo, explorer._canvas.base[60:])
    explorer.opacity = 1.0
    blocks = shown(explorer)[60:]
    assert len(np.unique(blocks.reshape(-1, 3), axis=0)) <= 16 * 24


def test_layer_keeps_the_place_and_turns_to_a_channel_it_has(explorer: Explorer) -> None:
    explorer.cell, explorer.channel = (13, 4), 7
    explorer.layer = "body.1"  # another name of body
    assert explorer.layer == "body" and explorer.cell in {(6, 2), (7, 2)}
    assert explorer.channel == explorer._order[0]
    explorer.layer = "stem"
    assert abs(explorer.cell[0] - 13) <= 1 and abs(explorer.cell[1] - 4) <= 1
    for layer in ("stem.0", "stem.1", "body.0"):  # not among the stages: the list shows all
        explorer.layer = layer
        assert explorer._select.value == layer and explorer._slider.max == explorer._map.shape[0] - 1


def test_cell_shows_its_window_and_its_values(explorer: Explorer) -> None:
    explorer.layer, explorer.cell = "body", (2, 11)
    assert "rows 5–11" in explorer._cell_text.value and "columns 41–47" in explorer._cell_text.value
    values = next(found for found in explorer.maps if found.name == "body").values[:, 2, 11].float()
    bars = explorer._bars.bars
    assert [value for _, value in bars] == sorted((float(values[channel]) for channel, _ in bars), reverse=True)
    assert bars[0][1] == pytest.approx(float(values.abs().max()))


def test_messages_from_the_browser(explorer: Explorer) -> None:
    picture, bars = explorer._picture, explorer._bars
    picture._handle_custom_msg({"pick": [0.999, 0.0]}, [])
    assert explorer.cell == (0, 23)
    picture._handle_custom_msg({"step": [-1, -2]}, [])  # up is the border: stays
    assert explorer.cell == (0, 21)
    bars._handle_custom_msg({"channel": 3}, [])
    assert (explorer.view, explorer.channel) == ("channel", 3)
    explorer.view = "strongest"
    picture._handle_custom_msg({"pick": [0.3, 0.0]}, [])  # the second tile
    assert (explorer.view, explorer.channel) == ("channel", explorer._order[1])
    explorer.view = "strongest"
    picture._handle_custom_msg({"pick": [0.9, 0.9]}, [])  # no sixteenth channel: nothing happens
    assert explorer.view == "strongest"


def test_controls_and_traits_agree(explorer: Explorer) -> None:
    explorer._slider.value = 5
    assert (explorer.channel, explorer.view) == (5, "channel")
    explorer._select.value = "body"
    assert explorer.layer == "body" and explorer._slider.max == 11
    explorer._detail.value = "all"
    assert len(explorer._select.options) == 5 and explorer.layer == "body"
    explorer.layer = "stem.0"
    explorer._detail.value = "stages"  # which do not have it: it stays
    assert explorer.layer == "stem.0" and explorer._select.value is None
    explorer._opacity.value = 0.3
    assert explorer.opacity == 0.3


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("layer", "head", "layer is 'head'"),
        ("view", "max", "view is 'max'"),
        ("channel", 8, "channel is 8; expected 0 to 7"),
        ("opacity", 1.2, "opacity is 1.2"),
        ("cell", (16, 0), r"cell is \(16, 0\)"),
    ],
)
def test_bad_choices_are_named_and_change_nothing(explorer: Explorer, name: str, value: object, message: str) -> None:
    before = getattr(explorer, name), explorer._picture.png
    with pytest.raises(ValueError, match=message):
        setattr(explorer, name, value)
    assert (getattr(explorer, name), explorer._picture.png) == before


def test_bad_pictures_are_named() -> None:
    with pytest.raises(ValueError, match=r"picture is \(8, 8\) \(height, width\)"):
        explore(SmallNet(), IMAGE, picture=torch.rand(3, 8, 8))
    with pytest.raises(ValueError, match="image has the dtype"):
        explore(SmallNet(), (IMAGE * 255).byte())


@pytest.mark.parametrize(
    "build, size",
    [
        (SmallNet, (32, 48)),
        (Unusual, (32, 48)),
        (lambda: torchvision.models.resnet18(weights=None), (64, 96)),
        (lambda: timm.create_model("tf_efficientnet_lite0", pretrained=False), (64, 64)),
        (lambda: torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None), (48, 32)),
        (lambda: torch.nn.Conv2d(3, 4, 31), (40, 33)),  # the map covers a small part of the picture
    ],
)
def test_every_map_of_any_model_can_be_shown(build: Callable, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    explorer = explore(build(), torch.rand(3, *size))
    for found in explorer.maps[::7]:
        explorer.layer = found.name
        for view in ("strongest", "mean", "pca", "channel"):
            explorer.view = view
            assert shown(explorer).shape[2] == 3
        _, height, width = found.shape
        for cell in ((0, 0), (height - 1, width - 1)):
            explorer.cell = cell
            x1, y1, x2, y2 = found.geometry.window(*cell)
            assert 0 <= x1 <= x2 <= size[1] and 0 <= y1 <= y2 <= size[0]


def test_each_interaction_answers_within_100_ms() -> None:
    torch.manual_seed(0)
    explorer = explore(timm.create_model("tf_efficientnet_lite0", pretrained=False), torch.rand(3, 224, 224))
    names = [found.name for found in explorer.maps]
    actions = {
        "layer": names[::10],
        "channel": range(1, 9),
        "opacity": (0.1, 0.5, 0.9),
        "cell": ((1, 1), (2, 2), (3, 3)),
        "view": ("strongest", "mean", "pca", "channel"),
    }
    seconds = {}
    for trait, values in actions.items():
        spent = []
        for value in values:
            start = time.process_time()
            setattr(explorer, trait, value)
            spent.append(time.process_time() - start)
        seconds[trait] = statistics.median(spent)
    print({trait: f"{median * 1000:.0f} ms" for trait, median in seconds.items()})
    assert max(seconds.values()) < 0.1
