import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lib.datasets.isbi_em import INSIDE, MEMBRANE, load_isbi_em, split_isbi_em

SHARED = Path(os.environ.get("COURSE_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
needs_data = pytest.mark.skipif(
    not (SHARED / "isbi_em").is_dir(), reason=f"the ISBI EM data are not in {SHARED / 'isbi_em'}; see data/README.md"
)


@pytest.fixture
def fake(tmp_path):
    """Thirty tiny slices in the real layout: slice n is as bright as n, and its first n pixels are membrane."""
    for kind in ("image", "label"):
        (tmp_path / kind).mkdir()
    for number in range(30):
        label = np.full(6 * 8, 255, np.uint8)
        label[:number] = 0
        Image.fromarray(np.full((6, 8), number, np.uint8)).save(tmp_path / "image" / f"{number}.png")
        Image.fromarray(label.reshape(6, 8)).save(tmp_path / "label" / f"{number}.png")
    return tmp_path


def test_slices_come_in_the_order_of_the_stack(fake):
    slices = load_isbi_em(fake)
    assert [round(one.image.mean().item() * 255) for one in slices] == list(range(30))  # not 0, 1, 10, 11 ...
    assert [(one.label == MEMBRANE).sum().item() for one in slices] == list(range(30))
    assert [(one.label == INSIDE).sum().item() for one in slices] == [48 - number for number in range(30)]
    for one in slices:
        assert one.image.shape == (1, 6, 8) and one.image.dtype == torch.float32
        assert one.label.shape == (6, 8) and one.label.dtype == torch.int64


def test_the_data_folder_of_the_course_is_the_default(fake, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("COURSE_DATA", str(home))
    with pytest.raises(FileNotFoundError):
        load_isbi_em()
    (home / "isbi_em").symlink_to(fake)
    assert len(load_isbi_em()) == 30


def test_the_last_five_slices_validate(fake):
    slices = load_isbi_em(fake)
    train, validation = split_isbi_em(slices)
    assert train == slices[:25] and validation == slices[25:]
    with pytest.raises(ValueError, match="^slices is a list of 5"):
        split_isbi_em(slices[:5])


def test_without_data_the_message_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_isbi_em(tmp_path / "nowhere")
    for part in (str(tmp_path / "nowhere"), "github.com/zhixuhao/unet", "data/membrane/train", "label/29.png"):
        assert part in str(caught.value)


@pytest.mark.parametrize("kind, number", [("image", 0), ("image", 17), ("label", 29)])
def test_a_missing_file_is_named(fake, kind, number):
    (fake / kind / f"{number}.png").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{kind}.{number}\.png is missing"):
        load_isbi_em(fake)


@pytest.mark.parametrize(
    "name, pixels, said",
    [
        ("label/4.png", np.zeros((6, 7), np.uint8), r"\(6, 7\); expected \(6, 8\)"),
        ("image/4.png", np.zeros((8, 6), np.uint8), r"\(8, 6\); expected \(6, 8\)"),
        ("label/4.png", np.full((6, 8), 1, np.uint8), r"values \[1\]; expected only 0"),
        ("label/4.png", np.arange(48, dtype=np.uint8).reshape(6, 8), r"values \[0, 1, 2, 3, 4, 5\]"),
        ("image/4.png", np.zeros((6, 8, 3), np.uint8), "mode 'RGB'"),
    ],
)
def test_a_wrong_file_is_named(fake, name, pixels, said):
    Image.fromarray(pixels).save(fake / name)
    with pytest.raises(ValueError, match=f"^folder holds {name} .*{said}"):
        load_isbi_em(fake)


@needs_data
def test_the_real_slices():
    slices = load_isbi_em(SHARED / "isbi_em")
    assert len(slices) == 30
    for one in slices:
        assert one.image.shape == (1, 512, 512) and 0 <= one.image.min() and one.image.max() <= 1
        membrane = one.label == MEMBRANE
        assert 0.16 < membrane.float().mean() < 0.28
        assert one.image[0][membrane].mean() < one.image[0][~membrane].mean() - 0.1, "membranes are the dark lines"
