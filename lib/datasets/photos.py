"""Real photos that need no network: they travel inside the scikit-image package.

`chelsea` is the cat of lesson 01; `coffee`, `astronaut`, `rocket` and `motorcycle` keep her company.
"""

import torch
import torch.nn.functional as F
from skimage import data as skimage_data

from lib.ops.checks import check_whole

PHOTOS = ("chelsea", "coffee", "astronaut", "rocket", "motorcycle")

# What one person marked on the photos, by eye and to within some pixels: x1, y1, x2, y2 at full size. Another person
# would have marked other things.
_BOXES = {
    "chelsea": {
        "face": (31, 0, 400, 300),
        "left eye": (136, 85, 206, 148),
        "right eye": (297, 109, 343, 164),
        "nose": (229, 227, 293, 267),
    },
    "coffee": {
        "cup": (172, 17, 409, 308),
        "espresso": (203, 94, 370, 194),
        "saucer": (76, 68, 480, 390),
        "spoon": (317, 66, 426, 326),
    },
    "astronaut": {
        "astronaut": (18, 15, 365, 512),
        "head": (153, 15, 302, 187),
        "shuttle": (354, 0, 475, 289),
        "helmet": (277, 343, 510, 512),
        "badge": (132, 348, 209, 423),
        "name tag": (278, 339, 330, 378),
        "flag": (0, 0, 100, 512),
    },
    "rocket": {
        "rocket": (310, 126, 336, 408),
        "left mast": (163, 122, 206, 427),
        "right mast": (440, 122, 480, 427),
        "left tower": (0, 0, 89, 427),
        "right tower": (559, 0, 640, 427),
    },
    "motorcycle": {
        "motorcycle": (92, 20, 685, 452),
        "rear wheel": (121, 232, 279, 400),
        "front wheel": (507, 290, 685, 452),
        "tank": (325, 157, 488, 250),
        "seat": (146, 144, 358, 258),
        "headlight": (511, 123, 563, 190),
        "bottle": (401, 50, 420, 93),
        "cardboard box": (527, 29, 594, 101),
        "tub": (522, 179, 617, 253),
    },
}


def load_photo(name: str) -> torch.Tensor:
    """One of `PHOTOS` at its full size.

    Returns:
        (3, H, W) float32 in 0..1, red-green-blue.

    Raises:
        ValueError: `name` is not one of `PHOTOS`.
    """
    if name not in PHOTOS:
        raise ValueError(f"name is {name!r}; expected one of {', '.join(PHOTOS)}")
    if name == "motorcycle":
        pixels = skimage_data.stereo_motorcycle()[0]  # the left eye of a stereo pair
    else:
        pixels = getattr(skimage_data, name)()
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255  # (H, W, 3) -> (3, H, W)


def photo_boxes(name: str) -> tuple[tuple[str, ...], torch.Tensor]:
    """Boxes that were drawn by hand around things on a photo, for looking at proposals. No data set stands behind them.

    Returns:
        the N names of the things, and (N, 4) float32 boxes, xyxy pixels of the photo at its full size.

    Raises:
        ValueError: `name` is not one of `PHOTOS`.
    """
    if name not in PHOTOS:
        raise ValueError(f"name is {name!r}; expected one of {', '.join(PHOTOS)}")
    return tuple(_BOXES[name]), torch.tensor(list(_BOXES[name].values()), dtype=torch.float32)


def resize_photo(photo: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Stretch a photo to `height` × `width` pixels (bilinear, smoothed first when it shrinks).

    Args:
        photo: (3, H, W) floats.

    Returns:
        (3, height, width), same dtype and device.

    Raises:
        ValueError: `photo` is not (3, H, W) floats, or a side is not a positive whole number.
    """
    _need_photo(photo)
    for argument, side in (("height", height), ("width", width)):
        check_whole(argument, side, at_least=1)
    resized = F.interpolate(photo[None], (height, width), mode="bilinear", antialias=True, align_corners=False)
    return resized[0].clamp(0, 1)


def crop_square(photo: torch.Tensor, side: int | None = None) -> torch.Tensor:
    """The largest centred square of a photo, resized to `side` pixels where `side` is given.

    Args:
        photo: (3, H, W) floats.

    Returns:
        (3, side, side), or (3, s, s) with s = min(H, W).

    Raises:
        ValueError: `photo` is not (3, H, W) floats.
    """
    _need_photo(photo)
    height, width = photo.shape[1:]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = photo[:, top : top + short, left : left + short]  # (3, short, short)
    return square if side is None else resize_photo(square, side, side)


def _need_photo(photo: torch.Tensor) -> None:
    if not isinstance(photo, torch.Tensor):
        raise ValueError(f"photo is a {type(photo).__name__}; expected a tensor (3, H, W) of floats")
    if photo.ndim != 3 or photo.shape[0] != 3 or not photo.is_floating_point() or 0 in photo.shape:
        raise ValueError(f"photo is {tuple(photo.shape)} {photo.dtype}; expected (3, H, W) floats in 0..1")
