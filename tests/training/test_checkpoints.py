import hashlib
import json
import re

import pytest
import torch
from torch import nn

from lib.datasets.folders import REPOSITORY
from lib.training.checkpoints import load_checkpoint, save_checkpoint


def network(seed=0, width=4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 2, 1))


MADE = {"seed": 3, "steps": 100, "metrics": {"mIoU": 0.5}, "note": "größer"}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "deeper" / "unet.safetensors"
    model = network(1)
    model(torch.randn(2, 3, 5, 5))  # moves the batch norm's statistics
    save_checkpoint(model, path, MADE)
    return model, path


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_what_is_saved_comes_back(saved):
    model, path = saved
    other = network(2).double()
    assert not same(model, other)
    assert load_checkpoint(other, str(path)) == MADE
    assert other[0].weight.dtype == torch.float64 and same(model.double(), other)


def test_same_weights_same_bytes_and_no_leftovers(saved):
    model, path = saved
    before = path.read_bytes(), path.with_suffix(".json").read_bytes()
    save_checkpoint(model, path, dict(reversed(MADE.items())))
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["unet.json", "unet.safetensors"]


def test_tied_and_transposed_weights_are_saved(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[0].bias.data = torch.arange(6.0)[::2]
    save_checkpoint(model, tmp_path / "tied.safetensors", {})
    other = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    assert load_checkpoint(other, tmp_path / "tied.safetensors") == {} and same(model, other)


def test_the_note_is_json_beside_it_and_knows_the_weights(saved):
    note = json.loads(saved[1].with_suffix(".json").read_text(encoding="utf-8"))
    assert note == MADE | {"sha256": hashlib.sha256(saved[1].read_bytes()).hexdigest()}


def test_a_note_without_a_checksum_is_enough(saved):
    saved[1].with_suffix(".json").write_text(json.dumps(MADE))
    model = network()
    assert load_checkpoint(model, saved[1]) == MADE and same(model, saved[0])


def test_each_shipped_checkpoint_is_the_one_that_its_note_knows():
    shipped = sorted((REPOSITORY / "data" / "checkpoints").glob("*.safetensors"))
    notes = [json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) for path in shipped]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in shipped]
    assert {path.name: note.get("sha256") for path, note in zip(shipped, notes)} == dict(
        zip([path.name for path in shipped], digests)
    )


def test_without_its_note_a_checkpoint_still_loads(saved):
    saved[1].with_suffix(".json").unlink()
    assert load_checkpoint(network(), saved[1]) == {}


@pytest.mark.parametrize(
    "model, message",
    [
        (network(width=5), r"other shapes for 0\.weight \(4, 3, 3, 3\), not \(5, 3, 3, 3\); .* and 3 more"),
        (network()[:2], r"unknown to the model, 2\.bias; 2\.weight; expected"),
        (
            nn.Sequential(*network(), nn.Linear(1, 1)),
            r"lacks 3\.weight; 3\.bias; expected the \d+ tensors of Sequential",
        ),
    ],
)
def test_another_model_is_refused_and_unchanged(saved, model, message):
    before = [tensor.clone() for tensor in model.state_dict().values()]
    with pytest.raises(ValueError, match="^path .*" + message):
        load_checkpoint(model, saved[1])
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values()))


TAKEN_BACK = ". If it is one of the course's, take it back with `git checkout -- data/checkpoints/unet.safetensors"


@pytest.mark.parametrize("noted", [True, False], ids=["with a note", "without"])
@pytest.mark.parametrize("damage", [lambda content: content[:-10], lambda content: b"", lambda content: b"x" * 500])
def test_a_damaged_file_is_named_with_its_cure(saved, damage, noted):
    if not noted:
        saved[1].with_suffix(".json").unlink()
    saved[1].write_bytes(damage(saved[1].read_bytes()))
    with pytest.raises(ValueError, match="^path is 'unet.safetensors', which is damaged.*" + re.escape(TAKEN_BACK)):
        load_checkpoint(network(), saved[1])


@pytest.mark.parametrize("place", [9, 60, -1])  # two in the list of tensors, one in the last number
def test_one_wrong_bit_is_noticed_and_the_model_unchanged(saved, place):
    content = bytearray(saved[1].read_bytes())
    content[place] ^= 1
    saved[1].write_bytes(content)
    model = network(5)
    cure = TAKEN_BACK + " data/checkpoints/unet.json`"
    with pytest.raises(ValueError, match="^path is .* its checksum is not the one in 'unet.json'.*" + re.escape(cure)):
        load_checkpoint(model, saved[1])
    assert same(model, network(5))


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_damaged_note_leaves_the_model_unchanged(saved, text):
    saved[1].with_suffix(".json").write_text(text)
    model = network(5)
    with pytest.raises(ValueError, match="^path .*'unet.json' is damaged.*git checkout -- data/checkpoints/unet.json`"):
        load_checkpoint(model, saved[1])
    assert same(model, network(5))


def test_a_failed_save_leaves_the_old_checkpoint(saved, monkeypatch):
    model, path = saved
    before = path.read_bytes()

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError):
        save_checkpoint(network(7), path, {})
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 2


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda folder: load_checkpoint(network(), folder / "none.safetensors"), "path"),
        (lambda folder: load_checkpoint(network(), folder / "none.pth"), "path"),
        (lambda folder: save_checkpoint(network(), folder / "none.pth", {}), "path"),
        (lambda folder: save_checkpoint(network(), folder / "a.safetensors", {"loss": float("nan")}), "made"),
        (lambda folder: save_checkpoint(network(), folder / "a.safetensors", {"loss": torch.ones(1)}), "made"),
        (lambda folder: save_checkpoint(network(), folder / "a.safetensors", {"sha256": "mine"}), "made"),
        (lambda folder: save_checkpoint(network(), folder / "a.safetensors", [0.5]), "made"),
    ],
)
def test_bad_input_is_named(tmp_path, call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call(tmp_path)
    assert not list(tmp_path.iterdir())
