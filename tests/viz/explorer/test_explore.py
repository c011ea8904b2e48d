"""The explorer, driven from Python and by what the page sends; `tests/browser` has what the page draws."""

import base64
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from torch import nn

from lib.viz.explorer.explorer import Explorer, explore, explore_maps
from lib.viz.explorer.layers import TABLE
from tests.viz.networks import SmallNet, Unusual

IMAGE = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def explorer() -> Explorer:
    torch.manual_seed(0)
    return explore(SmallNet(), IMAGE)


def shown(explorer: Explorer) -> np.ndarray:
    """The picture of the still sheet, (440 or less, 440, 3)."""
    return np.asarray(explorer.snapshot())[44 : 44 + 293, 12 : 12 + 440]


def static_twin(explorer: Explorer) -> bytes:
    return base64.b64decode(explorer._repr_mimebundle_()[0]["image/png"])


def test_repr_is_short_and_steady(explorer: Explorer) -> None:
    assert repr(explorer) == (
        "Explorer: 5 maps of SmallNet on a 32×48 picture, first stem.0 (8, 16, 24) stride 2, sees 3×3"
    )
    bundle, _ = explorer._repr_mimebundle_()
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
    before = static_twin(explorer)
    setattr(explorer, name, value)
    assert static_twin(explorer) != before


def test_opacity_ends_at_the_picture_and_at_the_map(explorer: Explorer) -> None:
    explorer.opacity, explorer.cell = 0.0, (0, 0)
    photo = Image.fromarray(explorer._photo).resize((440, 293), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(shown(explorer)[60:], np.asarray(photo)[60:])  # below the marked cell
    explorer.opacity = 1.0
    colours = set(map(tuple, shown(explorer)[60:].reshape(-1, 3).tolist()))
    assert colours <= set(map(tuple, TABLE.tolist())) and len(colours) > 10


def test_layer_keeps_the_place_and_turns_to_a_channel_it_has(explorer: Explorer) -> None:
    explorer.cell, explorer.channel = (13, 4), 7
    explorer.layer = "body.1"  # another name of body
    assert explorer.layer == "body" and explorer.cell in {(6, 2), (7, 2)}
    assert explorer.channel == explorer._layers["body"].order[0]
    assert explorer._shown["layer"] == "body"  # sent to the page unasked
    explorer.layer = "stem"
    assert abs(explorer.cell[0] - 13) <= 1 and abs(explorer.cell[1] - 4) <= 1


def test_a_channel_turns_to_its_view_but_a_layer_does_not(explorer: Explorer) -> None:
    explorer.view = "mean"
    explorer.layer = "body"
    assert explorer.view == "mean"
    explorer.channel = (explorer.channel + 1) % 12
    assert explorer.view == "channel"


def test_what_the_page_chose_is_taken_as_it_is(explorer: Explorer) -> None:
    explorer.set_state({"layer": "body", "channel": 11, "cell": [7, 11], "view": "mean"})
    assert (explorer.layer, explorer.channel, explorer.cell, explorer.view) == ("body", 11, (7, 11), "mean")
    assert explorer._shown["layer"] == "stem"  # the page has it, or asks


def test_questions_of_the_page(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []
    monkeypatch.setattr(explorer, "send", lambda content, buffers: answers.append((content, buffers)))
    for question in ({"layer": "body"}, {"layer": "body", "first": 4}, {"layer": "body", "cell": [7, 11]}):
        explorer._handle_custom_msg(question, [])
    (head, parts), (piece, (levels,)), (cell, (column,)) = answers
    layer = explorer._layers["body"]
    assert head["parts"] == ["mean", "pca", "levels"] and head["order"] == layer.order
    assert [len(part) for part in parts] == [8 * 12, 8 * 12 * 3, 12 * 8 * 12]
    assert piece["first"] == 4 and levels == layer.quantised[0][layer.order[4:]].tobytes()
    assert cell["cell"] == [7, 11] and column == layer.quantised[0][:, 7, 11].tobytes()


def test_saved_page_is_whole(explorer: Explorer, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    explorer.layer = "stem.1"  # no stage: saved all the same
    explorer.save(tmp_path / "inside.html")
    page = (tmp_path / "inside.html").read_text()
    assert (
        capsys.readouterr().out == f"{tmp_path}/inside.html: {len(page.encode()) / 1e6:.1f} MB, 3 layers of SmallNet\n"
    )
    assert [word for word in ("src=", "http:", "https:", "import ", "require(") if word in page] == []
    with pytest.raises(ValueError, match="expected a file in a folder that is there"):
        explorer.save(tmp_path / "nowhere" / "inside.html")


def test_a_vit_saves_its_blocks(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    vit = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
    explore(vit, torch.rand(3, 32, 32)).save(tmp_path / "vit.html")
    assert " 9 layers of VisionTransformer" in capsys.readouterr().out
    page = (tmp_path / "vit.html").read_text()
    assert all(f'"layer": "{name}"' in page for name in ("patch_embed", "blocks.0", "blocks.0.attn", "norm"))


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_diverged_models_are_drawn(wrong: float) -> None:
    conv = nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        conv.weight[1] = wrong
    explorer = explore(conv, IMAGE)
    assert explorer._layers["output"].strange == 30 * 46
    for view in ("channel", "mean", "pca", "strongest"):
        explorer.view = view
        assert static_twin(explorer).startswith(b"\x89PNG")
    explorer.channel, explorer.opacity, explorer.cell = 1, 1.0, (0, 0)
    assert (shown(explorer)[100:] == 128).all()  # grey


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("layer", "head", r"layer is 'head', which gives \(1, 5\): no rows and columns of cells; expected"),
        ("view", "max", "view is 'max'"),
        ("channel", 8, "channel is 8; expected 0 to 7"),
        ("opacity", 1.2, "opacity is 1.2"),
        ("cell", (16, 0), r"cell is \(16, 0\)"),
    ],
)
def test_bad_choices_are_named_and_change_nothing(explorer: Explorer, name: str, value: object, message: str) -> None:
    before = getattr(explorer, name), static_twin(explorer)
    with pytest.raises(ValueError, match=message):
        setattr(explorer, name, value)
    assert (getattr(explorer, name), static_twin(explorer)) == before


def test_maps_of_ones_own() -> None:
    attention = torch.rand(5, 4, 6).softmax(0)
    explorer = explore_maps(IMAGE, {"encoder": attention, "decoder": attention[:2]})
    assert repr(explorer) == (
        "Explorer: 2 maps of your own on a 32×48 picture, first encoder (5, 4, 6) stride 8, sees 8×8"
    )
    assert explorer.layer == "encoder"
    explorer.layer, explorer.cell = "decoder", (3, 5)
    assert explorer.maps[1].geometry.window(3, 5) == (40, 24, 48, 32)
    assert static_twin(explorer).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "maps, message",
    [
        ({}, "maps is empty"),
        ({"a": torch.rand(4, 4)}, r"maps\['a'\] is torch.float32 \(4, 4\); expected floats \(C, h, w\)"),
        ({"a": torch.ones(1, 4, 4).int()}, r"maps\['a'\] is torch.int32 \(1, 4, 4\)"),
        ({"a": torch.rand(1, 33, 4)}, "with h, w of at most 32, 48"),
        ({"a": [[1.0]]}, r"maps\['a'\] is list"),
    ],
)
def test_bad_maps_are_named(maps: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        explore_maps(IMAGE, maps)


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
            assert explorer.snapshot().height >= 400 + 56
        _, height, width = found.shape
        for cell in ((0, 0), (height - 1, width - 1)):
            explorer.cell = cell
            x1, y1, x2, y2 = found.geometry.window(*cell)
            assert 0 <= x1 <= x2 <= size[1] and 0 <= y1 <= y2 <= size[0]


def test_a_layer_is_ready_to_be_sent_within_100_ms() -> None:
    torch.manual_seed(0)
    explorer = explore(timm.create_model("tf_efficientnet_lite0", pretrained=False), torch.rand(3, 224, 224))
    spent = []
    for found in explorer.maps[::10]:
        start = time.process_time()
        explorer.layer = found.name
        spent.append(time.process_time() - start)
    assert statistics.median(spent) < 0.1
