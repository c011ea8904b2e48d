import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lib.datasets import penn_fudan
from lib.datasets.penn_fudan import NAMES, download_penn_fudan, load_penn_fudan, split_penn_fudan

SHARED = Path(os.environ.get("COURSE_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
needs_data = pytest.mark.skipif(
    not (SHARED / "PennFudanPed").is_dir(),
    reason=f"the Penn-Fudan pedestrians are not in {SHARED / 'PennFudanPed'}; see data/README.md",
)


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """170 tiny photos in the real layout: photo n is as bright as n, one or two people stand in it."""
    folder = tmp_path_factory.mktemp("street") / "PennFudanPed"
    for kind in ("PNGImages", "PedMasks"):
        (folder / kind).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        mask = np.zeros((6, 8 + number % 3), np.uint8)
        mask[1:5, 2:4] = 1
        if number % 2:
            mask[5, 7] = 2
        Image.fromarray(np.full((*mask.shape, 3), (number, 0, 255), np.uint8)).save(
            folder / "PNGImages" / f"{name}.png"
        )
        Image.fromarray(mask).save(folder / "PedMasks" / f"{name}_mask.png")
    return folder


@pytest.fixture
def fake(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "PennFudanPed"))


@pytest.fixture
def archive(original, tmp_path):
    path = tmp_path / "street.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for file in sorted(original.rglob("*.png")):
            packed.write(file, file.relative_to(original.parent))
    return path


def test_photos_come_in_the_order_of_their_names(original):
    photos = load_penn_fudan(original)
    assert len(NAMES) == len(set(NAMES)) == 170 and NAMES[73:75] == ["FudanPed00074", "PennPed00001"]
    for number, photo in enumerate(photos):
        width = 8 + number % 3
        assert photo.image.shape == (3, 6, width) and photo.image.dtype == torch.float32
        assert round(photo.image[0].mean().item() * 255) == number and photo.image[2].min() == 1
        count = 1 + number % 2
        assert photo.masks.shape == (count, 6, width) and photo.masks.dtype == torch.bool
        assert photo.labels.tolist() == [1] * count and photo.labels.dtype == torch.int64
        assert photo.boxes.tolist() == [[2.0, 1, 4, 5], [7, 5, 8, 6]][:count]
        assert photo.masks.sum((1, 2)).tolist() == [8, 1][:count] and photo.masks[0, 1:5, 2:4].all()


def test_the_data_folder_of_the_course_is_the_default(fake, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("COURSE_DATA", str(home))
    with pytest.raises(FileNotFoundError):
        load_penn_fudan()
    (home / "PennFudanPed").symlink_to(fake)
    assert len(load_penn_fudan()) == 170 and download_penn_fudan() == home / "PennFudanPed"


def test_the_last_photos_of_each_campus_are_held_out(original):
    photos = load_penn_fudan(original)
    train, held_out = split_penn_fudan(photos)
    assert len(train) == 137 and len(held_out) == 33
    assert train == photos[:60] + photos[74:151] and held_out == photos[60:74] + photos[151:]
    with pytest.raises(ValueError, match="^photos is a list of 169; expected all 170"):
        split_penn_fudan(photos[1:])


def test_without_data_the_message_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_penn_fudan(tmp_path / "nowhere")
    for part in (
        str(tmp_path / "nowhere"),
        "https://www.cis.upenn.edu/~jshi/ped_html/PennFudanPed.zip",
        "download_penn_fudan()",
        "PedMasks/FudanPed00001_mask.png",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("file", ["PNGImages/FudanPed00001.png", "PedMasks/PennPed00096_mask.png"])
def test_a_missing_file_is_named(fake, file):
    (fake / file).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{file} is missing.*\n.*download_penn_fudan"):
        load_penn_fudan(fake)


HTML = b"<!DOCTYPE html><html><body>404</body></html>"


@pytest.mark.parametrize(
    "file, content, said",
    [
        ("PedMasks/FudanPed00004_mask.png", np.ones((6, 7), np.uint8), r"\(6, 7\); expected \(6, 8\), as in PNGImages"),
        ("PedMasks/FudanPed00004_mask.png", np.zeros((6, 8), np.uint8), r"values \[0\]; expected 0, and 1 \.\. N"),
        ("PedMasks/FudanPed00004_mask.png", np.eye(6, 8, dtype=np.uint8) * 3, r"values \[0, 3\]"),
        ("PedMasks/FudanPed00004_mask.png", np.zeros((6, 8, 3), np.uint8), "mode 'RGB'; expected 'L'"),
        ("PNGImages/PennPed00004.png", np.zeros((6, 8), np.uint8), "mode 'L'; expected 'RGB'"),
        ("PNGImages/PennPed00004.png", HTML, "no picture"),
        ("PedMasks/PennPed00004_mask.png", HTML, "no picture"),
        ("PNGImages/PennPed00004.png", 50, "damaged"),
    ],
)
def test_a_wrong_file_is_named(fake, file, content, said):
    if isinstance(content, int):
        content = (fake / file).read_bytes()[:content]
    if isinstance(content, bytes):
        (fake / file).write_bytes(content)
    else:
        Image.fromarray(content).save(fake / file)
    with pytest.raises(ValueError, match=f"^folder holds {file}.*{said}"):
        load_penn_fudan(fake)


def test_what_is_downloaded_can_be_loaded(archive, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "home"))
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    folder = download_penn_fudan(url=archive.as_uri())
    assert folder == tmp_path / "home" / "PennFudanPed" and len(load_penn_fudan()) == 170
    assert "PennFudanPed.zip" in capfd.readouterr().err, "no bar"
    assert [one.name for one in folder.parent.iterdir()] == ["PennFudanPed"], "something is left beside it"
    archive.unlink()
    assert download_penn_fudan(url=archive.as_uri()) == folder, "what is there is not fetched again"
    (folder / "PNGImages" / "PennPed00007.png").unlink()
    with pytest.raises(FileExistsError, match=r"PNGImages/PennPed00007\.png and 0 more"):
        download_penn_fudan(url=archive.as_uri())


def without_a_mask(archive):
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(archive.with_name("short.zip"), "w") as new:
        for name in old.namelist():
            if "PennPed00007_mask" not in name:
                new.writestr(name, old.read(name))
    return archive.with_name("short.zip").read_bytes()


def with_a_changed_byte(archive):
    content = bytearray(archive.read_bytes())
    content[content.index(b"IHDR") + 5] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda archive: HTML, "^url .* gave no sound zip archive: .*<!DOCTYPE html>"),
        (lambda archive: archive.read_bytes()[:-3000], "^url .* gave no sound zip archive"),
        (with_a_changed_byte, "^url .* gave no sound zip archive: Bad CRC"),
        (without_a_mask, r"^url .* without PedMasks/PennPed00007_mask\.png, 1 files missing .*170 photos"),
    ],
)
def test_a_wrong_archive_is_named_and_leaves_nothing(archive, tmp_path, spoil, said):
    archive.write_bytes(spoil(archive))
    home = tmp_path / "home"
    with pytest.raises(ValueError, match=said):
        download_penn_fudan(home / "PennFudanPed", archive.as_uri())
    assert list(home.iterdir()) == []


def test_without_a_network_nothing_is_left(tmp_path):
    for url in (penn_fudan.ZIP, (tmp_path / "nowhere.zip").as_uri()):
        with pytest.raises(OSError):
            download_penn_fudan(tmp_path / "home" / "PennFudanPed", url)
    assert list((tmp_path / "home").iterdir()) == []


def test_a_download_that_breaks_off_is_noticed(archive, tmp_path, monkeypatch):
    class Answer:
        headers = {"Content-Length": "1000"}

        def __init__(self):
            self.chunks = [b"some", b"thing", b""]

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self, _):
            return self.chunks.pop(0)

    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Answer())
    with pytest.raises(OSError, match="broke off after 9 of 1000 bytes"):
        download_penn_fudan(tmp_path / "home" / "PennFudanPed")
    assert list((tmp_path / "home").iterdir()) == []


@needs_data
def test_the_real_photos():
    photos = load_penn_fudan(SHARED / "PennFudanPed")
    assert len(photos) == 170 and sum(len(photo.boxes) for photo in photos) == 423
    train, held_out = split_penn_fudan(photos)
    assert [sum(len(photo.boxes) for photo in part) for part in (train, held_out)] == [355, 68]
    for photo in photos:
        height, width = photo.image.shape[1:]
        assert photo.image.min() < 0.2 and 0.7 < photo.image.max() <= 1
        sides = photo.boxes[:, 2:] - photo.boxes[:, :2]
        assert (photo.boxes[:, :2] >= 0).all() and (photo.boxes[:, 2:] <= torch.tensor([width, height])).all()
        filled = photo.masks.sum((1, 2)) / sides.prod(1)
        assert 0.2 < filled.min() and filled.max() < 0.9 and (photo.masks.sum(0) <= 1).all()
    assert photos[0].image.shape == (3, 536, 559)
    published = torch.tensor([[160.0, 182, 302, 431], [420, 171, 535, 486]]) - torch.tensor([1.0, 1, 0, 0])
    assert (photos[0].boxes - published).abs().max() <= 2, "Annotation/FudanPed00001.txt, which counts from 1"
