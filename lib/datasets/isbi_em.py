"""Electron microscopy of nerve cells: thirty slices with their cell membranes drawn in by hand (lesson 04).

The training data of the ISBI 2012 challenge, on which U-Net was first shown. The course does not carry them; see
`data/README.md` for where they come from. Source: Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image
segmentation algorithms for connectomics".
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib.datasets.folders import data_dir

MEMBRANE, INSIDE = 0, 1  # numbers in `label`
SLICES = 30
VALIDATION_SLICES = 5  # the last ones: neighbours look alike, so a random choice would flatter


@dataclass(frozen=True, eq=False)
class EMSlice:
    """One slice of the stack, and what each pixel is."""

    image: Tensor  # (1, H, W) float, 0 black .. 1 white
    label: Tensor  # (H, W) int64, 0 membrane, 1 inside of a cell


def load_isbi_em(folder: str | Path | None = None) -> list[EMSlice]:
    """The thirty slices in the order of the stack, each 512 × 512 pixels in the original.

    Args:
        folder: with `image/0.png` .. `image/29.png` and `label/0.png` .. `label/29.png`; 8-bit grey, labels 0 for
            membrane and 255 for the inside of a cell. Without it: `isbi_em` in the course's data folder.

    Raises:
        FileNotFoundError: the data, or one of the files, are not there; says where to get them and where to put them.
        ValueError: a file is not 8-bit grey, differs in size from the first one, or a label has another value.
    """
    folder = data_dir() / "isbi_em" if folder is None else Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(_how_to_get(folder))
    slices, first = [], None
    for number in range(SLICES):
        image = _read_grey(folder / "image" / f"{number}.png", folder)  # (H, W) uint8
        label = _read_grey(folder / "label" / f"{number}.png", folder)  # (H, W) uint8
        first = image.shape if first is None else first
        for kind, pixels in (("image", image), ("label", label)):
            if pixels.shape != first:
                raise ValueError(
                    f"folder holds {kind}/{number}.png with (height, width) {pixels.shape}; expected "
                    f"{first}, as in image/0.png"
                )
        values = np.unique(label).tolist()
        if not set(values) <= {0, 255}:
            raise ValueError(
                f"folder holds label/{number}.png with the values {values[:6]}; expected only 0 "
                "(membrane) and 255 (inside)"
            )
        slices.append(
            EMSlice(
                image=torch.from_numpy(image).float()[None] / 255,  # (H, W) -> (1, H, W)
                label=torch.where(torch.from_numpy(label) == 0, MEMBRANE, INSIDE),  # (H, W) int64
            )
        )
    return slices


def split_isbi_em(slices: list[EMSlice]) -> tuple[list[EMSlice], list[EMSlice]]:
    """The course's split: all but the last five slices to train on, the last five to validate.

    The challenge has another stack to test on, whose labels are kept secret.

    Raises:
        ValueError: there are not more than five slices.
    """
    if len(slices) <= VALIDATION_SLICES:
        raise ValueError(f"slices is a list of {len(slices)}; expected more than {VALIDATION_SLICES}")
    return slices[:-VALIDATION_SLICES], slices[-VALIDATION_SLICES:]


def _read_grey(path: Path, folder: Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. " + _how_to_get(folder))
    with Image.open(path) as picture:
        if picture.mode != "L":
            raise ValueError(
                f"folder holds {path.parent.name}/{path.name} of Pillow's mode {picture.mode!r}; expected "
                "'L', 8-bit grey"
            )
        return np.array(picture)


def _how_to_get(folder: Path) -> str:
    return (
        f"The ISBI EM data are not (all) in {folder}. They belong to their owners and do not come with the course.\n"
        "To get them: download https://github.com/zhixuhao/unet (Code, Download ZIP), and copy image/ and label/\n"
        f"out of its data/membrane/train/ into {folder}, so that there are\n"
        "image/0.png .. image/29.png and label/0.png .. label/29.png.\n"
        "The challenge that they were made for: http://brainiac2.mit.edu/isbi_challenge/"
    )
