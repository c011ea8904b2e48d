"""Real photos that need no network: they travel inside the scikit-image package.

`chelsea` is the cat of lesson 01; `coffee`, `astronaut`, `rocket` and `motorcycle` keep her company.
"""

import torch
import torch.nn.functional as F
from skimage import data as skimage_data

PHOTOS = ("chelsea", "coffee", "astronaut", "rocket", "motorcycle")


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
        pixels = skimage_data.stereo_motorcycle()[0]        # the left eye of a stereo pair
    else:
        pixels = getattr(skimage_data, name)()
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255       # (H, W, 3) -> (3, H, W)


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
        if not isinstance(side, int) or side < 1:
            raise ValueError(f"{argument} is {side!r}; expected a positive whole number of pixels")
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
    square = photo[:, top:top + short, left:left + short]                       # (3, short, short)
    return square if side is None else resize_photo(square, side, side)


def _need_photo(photo: torch.Tensor) -> None:
    if not isinstance(photo, torch.Tensor):
        raise ValueError(f"photo is a {type(photo).__name__}; expected a tensor (3, H, W) of floats")
    if photo.ndim != 3 or photo.shape[0] != 3 or not photo.is_floating_point() or 0 in photo.shape:
        raise ValueError(f"photo is {tuple(photo.shape)} {photo.dtype}; expected (3, H, W) floats in 0..1")
