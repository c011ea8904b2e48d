"""Pedestrians in streets: 170 photos with the outline of each of 423 people (lesson 12).

The Penn-Fudan database for pedestrian detection and segmentation. The course does not carry it; `download_penn_fudan`
fetches it, and `data/README.md` says more. Source: Wang, Shi, Song & Shen 2007, "Object Detection Combining Recognition
and Segmentation".
"""

import os
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from tqdm.auto import tqdm

from lib.datasets.folders import data_dir
from lib.ops.masks import masks_to_boxes

PAGE = "https://www.cis.upenn.edu/~jshi/ped_html/"
ZIP = PAGE + "PennFudanPed.zip"
PEDESTRIAN = 1  # number in `labels`; 0 is background
PHOTOS = {"FudanPed": 74, "PennPed": 96}  # how many of each campus; they are numbered from 1
HELD_OUT = {"FudanPed": 14, "PennPed": 19}  # the last ones of each: neighbours look a little alike
NAMES = [f"{campus}{number:05}" for campus, count in PHOTOS.items() for number in range(1, count + 1)]


@dataclass(frozen=True, eq=False)
class StreetPhoto:
    """One photo, and the N people in it that somebody outlined. Some small or half hidden ones were left out."""

    image: Tensor  # (3, H, W) float, 0..1
    boxes: Tensor  # (N, 4) float, xyxy pixels; the right and bottom edges lie behind the last pixels
    labels: Tensor  # (N,) int64, all 1
    masks: Tensor  # (N, H, W) bool


def load_penn_fudan(folder: str | Path | None = None) -> list[StreetPhoto]:
    """The 170 photos, those of Fudan first, in the order of their numbers. They differ in size; 0.5 GB in memory.

    Args:
        folder: with `PNGImages/FudanPed00001.png` .. and `PedMasks/FudanPed00001_mask.png` .., as in the published
            archive. Without it: `PennFudanPed` in the course's data folder.

    Raises:
        FileNotFoundError: the data, or one of the files, are not there; says where to get them and where to put them.
        ValueError: a file is no picture, or a mask does not fit its photo or has other numbers than 0, 1 .. N.
    """
    folder = data_dir() / "PennFudanPed" if folder is None else Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(_how_to_get(folder))
    return [_load_photo(folder, name) for name in NAMES]


def split_penn_fudan(photos: list[StreetPhoto]) -> tuple[list[StreetPhoto], list[StreetPhoto]]:
    """The course's split: 137 photos to train on, and 33 held out: Fudan's last 14 and Penn's last 19.

    The publishers name no split.

    Raises:
        ValueError: these are not the 170 photos.
    """
    if len(photos) != len(NAMES):
        raise ValueError(f"photos is a list of {len(photos)}; expected all {len(NAMES)}, as load_penn_fudan gives them")
    train, held_out, start = [], [], 0
    for campus, count in PHOTOS.items():
        middle, end = start + count - HELD_OUT[campus], start + count
        train += photos[start:middle]
        held_out += photos[middle:end]
        start = end
    return train, held_out


def download_penn_fudan(folder: str | Path | None = None, url: str = ZIP) -> Path:
    """Fetch the published archive (54 MB) and unpack it. Does nothing where all files are there already.

    The folder appears at the end, complete and checked, or not at all.

    Args:
        folder: where the data are to lie. Without it: `PennFudanPed` in the course's data folder.
        url: of the archive.

    Returns:
        the folder.

    Raises:
        OSError: the archive could not be fetched; no network, say.
        FileExistsError: the folder is there and lacks files.
        ValueError: what came is not the archive.
    """
    folder = data_dir() / "PennFudanPed" if folder is None else Path(folder)
    if folder.exists():
        missing = _missing(folder)
        if missing:
            raise FileExistsError(
                f"{folder} is there, but {missing[0]} and {len(missing) - 1} more of its files are not. "
                "Move it away to download it afresh."
            )
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".PennFudanPed.", dir=folder.parent))
    try:
        _fetch(url, beside / "archive.zip")
        os.replace(_unpack(beside / "archive.zip", beside, url), folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _fetch(url: str, path: Path) -> None:
    from urllib.request import urlopen  # here, so that who only reads photos loads nothing that knows the network

    quiet = bool(os.environ.get("TQDM_DISABLE"))  # tqdm's notebook version does not look at it by itself
    with urlopen(url, timeout=60) as answer, open(path, "xb") as archive:
        length = int(answer.headers.get("Content-Length") or 0)
        with tqdm(total=length or None, desc="PennFudanPed.zip", unit="B", unit_scale=True, disable=quiet) as bar:
            while chunk := answer.read(1 << 18):
                archive.write(chunk)
                bar.update(len(chunk))
    if length and path.stat().st_size != length:
        raise OSError(f"{url} broke off after {path.stat().st_size} of {length} bytes; try again")


def _unpack(archive: Path, to: Path, url: str) -> Path:
    """Unpack and check; returns the folder with the data."""
    try:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(to)  # compares checksums
    except (zipfile.BadZipFile, zlib.error) as error:
        with open(archive, "rb") as came:
            start = came.read(40)
        raise ValueError(f"url {url} gave no sound zip archive: {error}. It begins with {start!r}") from error
    missing = _missing(to / "PennFudanPed")
    if missing:
        raise ValueError(
            f"url {url} gave an archive without {missing[0]}, {len(missing)} files missing in all; "
            f"expected {len(NAMES)} photos and as many masks"
        )
    return to / "PennFudanPed"


def _missing(folder: Path) -> list[str]:
    wanted = [name for stem in NAMES for name in _files_of(stem)]
    return [name for name in wanted if not (folder / name).is_file()]


def _files_of(name: str) -> tuple[str, str]:
    return f"PNGImages/{name}.png", f"PedMasks/{name}_mask.png"


def _load_photo(folder: Path, name: str) -> StreetPhoto:
    image_file, mask_file = _files_of(name)
    pixels = _read(folder, image_file, "RGB")  # (H, W, 3) uint8
    numbers = _read(folder, mask_file, "L")  # (H, W) uint8, 0 background, 1..N the people
    if numbers.shape != pixels.shape[:2]:
        raise ValueError(
            f"folder holds {mask_file} with (height, width) {numbers.shape}; expected {pixels.shape[:2]}, "
            f"as in {image_file}"
        )
    values = np.unique(numbers).tolist()
    if len(values) < 2 or values != list(range(len(values))):
        raise ValueError(f"folder holds {mask_file} with the values {values[:6]}; expected 0, and 1 .. N for N people")
    people = torch.arange(1, len(values), dtype=torch.uint8)[:, None, None]  # (N, 1, 1)
    masks = torch.from_numpy(numbers) == people  # (N, H, W)
    return StreetPhoto(
        image=torch.from_numpy(pixels).permute(2, 0, 1).float() / 255,  # (H, W, 3) -> (3, H, W)
        boxes=masks_to_boxes(masks) + torch.tensor([0.0, 0, 1, 1]),  # (N, 4): from last pixels to edges
        labels=torch.full((len(masks),), PEDESTRIAN),  # (N,) int64
        masks=masks,
    )


def _read(folder: Path, file: str, mode: str) -> np.ndarray:
    if not (folder / file).is_file():
        raise FileNotFoundError(f"{folder / file} is missing. " + _how_to_get(folder))
    try:
        with Image.open(folder / file) as picture:
            if picture.mode != mode:
                raise ValueError(f"folder holds {file} of Pillow's mode {picture.mode!r}; expected {mode!r}")
            return np.array(picture)
    except UnidentifiedImageError as error:
        raise ValueError(f"folder holds {file}, which is no picture; expected PNG") from error
    except (OSError, SyntaxError) as error:  # Pillow's way to say that a PNG is broken
        raise ValueError(f"folder holds {file}, which is damaged: {error}") from error


def _how_to_get(folder: Path) -> str:
    return (
        f"The Penn-Fudan pedestrians are not (all) in {folder}. They belong to their owners and do not come with the "
        "course.\n"
        "To get them: call download_penn_fudan() of lib.datasets.penn_fudan (54 MB), or download\n"
        f"{ZIP} yourself and unpack it, so that there are\n"
        f"{folder}/PNGImages/FudanPed00001.png .. and {folder}/PedMasks/FudanPed00001_mask.png ..\n"
        f"Their page: {PAGE}"
    )
