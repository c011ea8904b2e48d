"""Static pictures: the small helpers that every lesson draws with."""

from collections.abc import Sequence

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

PAGE = 9.4  # inches: the width of a notebook's page
# Perceptually uniform, and readable in grey and for colour-blind readers: (256, 3) bytes.
COLOURS = (matplotlib.colormaps["viridis"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)


def to_pixels(image: Tensor | np.ndarray) -> np.ndarray:
    """A picture as bytes (H, W, 3), to be shown.

    Args:
        image: a tensor (3, H, W), (1, H, W) or (1, 3, H, W), or an array (H, W, 3) or (H, W); floats 0..1 or bytes.
            Floats beyond 0..1, such as a normalised input, are stretched from their minimum to their maximum.

    Raises:
        ValueError: `image` has another shape.
    """
    if not isinstance(image, Tensor):
        values = np.asarray(image)
    else:
        values = (image.detach().float() if image.is_floating_point() else image).cpu().numpy()
        values = values[0] if values.ndim == 4 and values.shape[0] == 1 else values
        values = values.transpose(1, 2, 0) if values.ndim == 3 else values  # (H, W, C)
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[2] not in (1, 3) or values.size == 0:
        expected = "(3, H, W), (1, H, W) or (1, 3, H, W)" if isinstance(image, Tensor) else "(H, W, 3) or (H, W)"
        raise ValueError(f"image has the shape {tuple(image.shape)}; expected {expected}")
    if values.dtype != np.uint8:
        values = stretch(values) if values.min() < 0 or values.max() > 1 else values
        values = (values.astype(np.float32) * 255).round().astype(np.uint8)
    return np.ascontiguousarray(values.repeat(3, axis=2) if values.shape[2] == 1 else values)


def stretch(values: np.ndarray) -> np.ndarray:
    """`values` moved and scaled to 0..1, as float32. Equal values all become 0."""
    values = np.asarray(values, dtype=np.float32)
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def fingerprint(values: Tensor | np.ndarray) -> str:
    """A line that tells one map from another, such as "(320, 7, 7) min 0.00 max 5.13 mean 0.412".

    For use beside a picture: tests of notebooks compare text, not pictures. Rounded, so that machines agree.

    Raises:
        ValueError: `values` is empty.
    """
    array = np.asarray(values.detach().cpu().double() if isinstance(values, Tensor) else values, dtype=np.float64)
    if array.size == 0:
        raise ValueError(f"values has the shape {array.shape}; expected at least one number")
    low, high = round(array.min(), 2) + 0.0, round(array.max(), 2) + 0.0  # + 0.0: no "-0.00"
    mean = round(array.mean(), 3) + 0.0
    return f"{tuple(array.shape)} min {low:.2f} max {high:.2f} mean {mean:.3f}"


def overlay(image: Tensor, heat: Tensor, opacity: float = 0.6, smooth: bool = False) -> np.ndarray:
    """A map laid over the picture, stretched to its size, in the colours from dark blue (lowest) to yellow (highest).

    Args:
        image: the picture, (3, H, W) floats 0..1.
        heat: (h, w) numbers of any range.
        opacity: 0 shows the picture alone, 1 the map alone.
        smooth: blend between cells. Without it each cell is one block, which is what the network really gave.

    Returns:
        (H, W, 3) floats 0..1, ready for `imshow`.

    Raises:
        ValueError: `heat` is not (h, w), or `opacity` is outside 0..1.
    """
    if heat.ndim != 2 or heat.numel() == 0:
        raise ValueError(f"heat has the shape {tuple(heat.shape)}; expected (h, w), not empty")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is {opacity}; expected a number from 0 (picture alone) to 1 (map alone)")
    picture = to_pixels(image)  # (H, W, 3)
    sampling = {"mode": "bilinear", "align_corners": False} if smooth else {"mode": "nearest-exact"}
    heat = heat.detach().cpu().float()[None, None]  # (1, 1, h, w)
    heat = torch.nn.functional.interpolate(heat, size=picture.shape[:2], **sampling)  # (1, 1, H, W)
    colours = COLOURS[(stretch(heat[0, 0].numpy()) * 255).astype(np.uint8)]  # (H, W, 3)
    return (1 - opacity) * picture.astype(np.float32) / 255 + opacity * colours.astype(np.float32) / 255


def panels(count: int, columns: int, size: float, aspect: float = 1.0) -> tuple[Figure, list[plt.Axes]]:
    """A white figure with `count` bare axes in rows of `columns`, each `size` inches wide and `size * aspect` high.

    They are smaller where a row would be wider than the page.
    """
    columns = min(columns, count)
    size = min(size, PAGE / columns)
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(columns * size, rows * (size * aspect + 0.55)),
        squeeze=False,
        layout="constrained",
        facecolor="white",
    )
    for axis in axes.flat:
        axis.axis("off")
    return figure, list(axes.flat[:count])


def show_images(
    images: Sequence[Tensor | np.ndarray], titles: Sequence[str] | None = None, columns: int = 4, size: float = 2.4
) -> Figure:
    """Pictures side by side, `columns` in a row, each with its title.

    Args:
        images: each as `to_pixels` takes it: a tensor (3, H, W) or an array (H, W, 3).
        titles: as many as images.
        size: width of one picture in inches.

    Raises:
        ValueError: no images, or another number of titles than of images.
    """
    if len(images) == 0 or columns < 1:
        raise ValueError(f"images has {len(images)} pictures and columns is {columns}; expected at least one of each")
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"titles has {len(titles)} entries for {len(images)} images; expected as many")
    shown = [to_pixels(image) for image in images]
    figure, axes = panels(len(shown), columns, size, max(pixels.shape[0] / pixels.shape[1] for pixels in shown))
    for axis, pixels, title in zip(axes, shown, titles or [""] * len(shown)):
        axis.imshow(pixels, interpolation="nearest")
        axis.set_title(title, fontsize=10)
    return figure
