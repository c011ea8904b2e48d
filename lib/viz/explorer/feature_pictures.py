"""Static pictures of what the layers of a model make of a picture. The explorer shows the same, to be played with.

In all of them `model` is called on `image` as a batch of one, exactly as given. If it wants a normalised input, give
that as `image`, and the picture to show as `picture`.
"""

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from lib.viz.basics.draw import panels, stretch, to_pixels
from lib.viz.explorer.activations import check_image, feature_maps, find_map, stages


def strongest_channels(values: Tensor) -> list[int]:
    """All channels of a map (C, H, W), those first whose values differ most from cell to cell (standard deviation).

    A channel that is the same everywhere may be large, but says nothing about where. What is no number (NaN, infinite)
    counts as 0.

    Raises:
        ValueError: `values` is not (C, H, W).
    """
    if values.ndim != 3 or values.numel() == 0:
        raise ValueError(f"values has the shape {tuple(values.shape)}; expected (C, H, W), not empty")
    numbers = values.detach().flatten(1).double().nan_to_num(0, 0, 0)  # double: squares of large numbers fit
    spread = numbers.std(1, correction=0)  # (C,)
    return torch.sort(spread, descending=True, stable=True).indices.tolist()


def pca_colours(features: Tensor) -> np.ndarray:
    """A map with many channels as one coloured picture: cells with like features get like colours.

    The features of a cell are a point in C dimensions. The three directions in which these points differ most
    (principal component analysis) become red, green and blue, each stretched to 0..1; the sign is chosen so that the
    largest weight of a direction is positive. They are found on at most 512 cells, evenly spread, to be quick.

    Args:
        features: (C, H, W) with any C; with fewer than three directions, the missing colours are 0. What is no number
            (NaN, infinite) is taken for the mean of its channel; a cell without any number is grey.

    Returns:
        (H, W, 3) floats 0..1.

    Raises:
        ValueError: `features` is not (C, H, W).
    """
    if features.ndim != 3 or features.numel() == 0:
        raise ValueError(f"features has the shape {tuple(features.shape)}; expected (C, H, W), not empty")
    channels, height, width = features.shape
    points, empty = _centred(features.detach().cpu().float().flatten(1).T)  # (H * W, C), (H * W,)
    sample = points[torch.linspace(0, len(points) - 1, min(len(points), 512)).round().long()]  # (S, C)
    if channels <= len(sample):
        _, vectors = torch.linalg.eigh(sample.T @ sample)  # (C, C), rising
        directions = vectors.flip(1)[:, :3]  # (C, <=3)
    else:  # fewer points than channels: the smaller problem
        _, vectors = torch.linalg.eigh(sample @ sample.T)  # (S, S)
        directions = sample.T @ vectors.flip(1)[:, :3]  # (C, <=3)
        directions = directions / directions.norm(dim=0).clamp(min=1e-12)
    largest = directions.abs().argmax(0)
    directions = directions * directions[largest, torch.arange(directions.shape[1])].sign()
    projected = (points @ directions).numpy()  # (H * W, <=3)
    colours = np.zeros((height * width, 3), dtype=np.float32)
    smallest = 1e-4 * np.abs(projected).max()  # less is rounding
    for k in range(projected.shape[1]):
        if np.ptp(projected[:, k]) > smallest:
            colours[:, k] = stretch(projected[:, k])
    colours[empty.numpy()] = 0.5
    return colours.reshape(height, width, 3)


def _centred(points: Tensor) -> tuple[Tensor, Tensor]:
    """Points (N, C) around 0 and within -1..1, so that no square is too large; and which of them hold no number."""
    good = torch.isfinite(points)
    points = torch.where(good, points, 0.0)
    points = points / points.abs().max().clamp(min=torch.finfo(points.dtype).tiny)
    means = points.sum(0) / good.sum(0).clamp(min=1)  # (C,)
    return torch.where(good, points - means, 0.0), ~good.any(1)


def feature_grid(model: nn.Module, image: Tensor, layer: str, channels: int = 16) -> Figure:
    """The strongest channels of one layer, each with its number and range, from dark blue (low) to yellow (high).

    Args:
        image: (C, H, W) floats, as the model wants them.
        layer: a module of the model by its path, such as "layer1.0.conv2".
        channels: how many channels to show at most.

    Raises:
        ValueError: a bad image, a layer that gives no map, or fewer than one channel.
    """
    if channels < 1:
        raise ValueError(f"channels is {channels}; expected at least 1")
    found = find_map(feature_maps(model, image), layer)
    values = found.values.float()
    shown = strongest_channels(values)[:channels]
    figure, axes = panels(
        len(shown), 8 if len(shown) > 12 else 4, 1.25 if len(shown) > 12 else 2.2, values.shape[1] / values.shape[2]
    )
    figure.suptitle(f"{layer}: {len(shown)} strongest of {values.shape[0]} channels, {found.geometry}", fontsize=11)
    for axis, channel in zip(axes, shown):
        axis.imshow(values[channel].numpy(), cmap="viridis", interpolation="nearest")
        low, high = float(values[channel].min()), float(values[channel].max())
        axis.set_title(f"{channel}: {low:.1f} to {high:.1f}", fontsize=8)
    return figure


def feature_strip(
    model: nn.Module, image: Tensor, layers: list[str] | None = None, picture: Tensor | None = None
) -> Figure:
    """The picture on its way through the model: for each layer its strongest channel, and its PCA in colour below.

    Args:
        image: (C, H, W) floats, as the model wants them.
        layers: modules by their paths; without them, one for each size that the picture passes through.
        picture: what to show as the photo, if not `image`.

    Raises:
        ValueError: a bad image, or a layer that gives no map.
    """
    maps = feature_maps(model, image)
    chosen = stages(maps) if layers is None else [find_map(maps, layer) for layer in layers]
    pixels = to_pixels(check_image(image) if picture is None else picture)
    width = min(1.9, 11 / (len(chosen) + 1))
    figure, axes = panels(2 * (len(chosen) + 1), len(chosen) + 1, width, pixels.shape[0] / pixels.shape[1])
    upper, lower = axes[: len(chosen) + 1], axes[len(chosen) + 1 :]
    upper[0].imshow(pixels)
    upper[0].set_title(f"the picture\n3×{pixels.shape[0]}×{pixels.shape[1]}", fontsize=9)
    lower[0].text(
        1,
        0.5,
        "PCA of the channels\nas red, green, blue",
        ha="right",
        va="center",
        fontsize=9,
        transform=lower[0].transAxes,
    )
    for above, below, found in zip(upper[1:], lower[1:], chosen):
        channel = strongest_channels(found.values)[0]
        above.imshow(found.values[channel].float().numpy(), cmap="viridis", interpolation="nearest")
        above.set_title(f"{found.name}\n{'×'.join(map(str, found.shape))}\nchannel {channel}", fontsize=9)
        below.imshow(pca_colours(found.values), interpolation="nearest")
    return figure


def draw_receptive_field(
    model: nn.Module, image: Tensor, layer: str, row: int, column: int, picture: Tensor | None = None
) -> Figure:
    """One cell of a layer, and the part of the picture that it sees: where it lies, and enlarged.

    Args:
        image: (C, H, W) floats, as the model wants them.
        layer: a module of the model by its path.
        row, column: the cell; negative numbers count from the end.
        picture: what to show as the photo, if not `image`.

    Raises:
        ValueError: a bad image, a layer that gives no map, or a cell outside it.
    """
    found = find_map(feature_maps(model, image), layer)
    _, height, width = found.shape
    if not (-height <= row < height and -width <= column < width):
        raise ValueError(
            f"row, column is {row}, {column}; expected a cell of {layer}, which has {height} rows and {width} columns"
        )
    row, column = row % height, column % width
    pixels = to_pixels(check_image(image) if picture is None else picture)
    x1, y1, x2, y2 = found.geometry.window(row, column)
    figure, (left, middle, right) = panels(3, 3, 3.2, max(pixels.shape[0] / pixels.shape[1], 0.8))
    left.imshow(found.values.float().mean(0).numpy(), cmap="viridis", interpolation="nearest")
    left.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="#ff3b6b", linewidth=2))
    left.set_title(f"{layer} ({height}×{width}), mean\ncell ({row}, {column})", fontsize=10)
    middle.imshow(pixels)
    for colour, line in (("white", 4), ("#ff3b6b", 2)):
        middle.add_patch(Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, edgecolor=colour, lw=line))
    middle.set_title(f"{found.geometry}", fontsize=10)
    if x2 > x1 and y2 > y1:
        right.imshow(pixels[y1:y2, x1:x2], interpolation="nearest")
    right.set_title(f"what the cell sees\nrows {y1}–{y2 - 1}, columns {x1}–{x2 - 1}", fontsize=10)
    return figure
