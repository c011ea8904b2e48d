"""Class maps as pictures, the confusion matrix as a table of shares (lesson 03), regions as outlines (lesson 06)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from lib.viz.basics.draw import panels, to_pixels
from lib.viz.detection.boxes import class_colour, place_tags, show_picture


def draw_segmentations(
    image: Tensor | None,
    maps: dict[str, Tensor],
    names: Sequence[str],
    colours: Sequence[tuple[float, float, float]],
    size: float = 2.1,
) -> Figure:
    """A picture, and beside it what several answers say is at each of its pixels, with a legend below.

    Args:
        image: (3, H, W) floats 0..1; None to leave it out.
        maps: (h, w) class numbers 0..K-1 by title, coarse ones show their cells.
        names, colours: of the K classes; colours are RGB in 0..1.
        size: width of one picture in inches.

    Raises:
        ValueError: no maps, a map that is not (h, w), holds floats or an unknown class, or another number of colours
            than of names.
    """
    if not maps:
        raise ValueError("maps is empty; expected at least one (h, w) map of classes")
    if len(names) != len(colours):
        raise ValueError(f"colours has {len(colours)} entries for {len(names)} names; expected as many")
    table = np.asarray(colours, dtype=np.float32)  # (K, 3)
    shown = {} if image is None else {"picture": to_pixels(image)}
    for title, classes in maps.items():
        if classes.ndim != 2 or classes.is_floating_point():
            raise ValueError(f"maps[{title!r}] is {tuple(classes.shape)} {classes.dtype}; expected integers (h, w)")
        if classes.numel() == 0 or classes.min() < 0 or classes.max() >= len(names):
            raise ValueError(f"maps[{title!r}] holds classes outside of 0..{len(names) - 1}, or none")
        shown[title] = table[classes.cpu().numpy()]  # (h, w, 3)
    first = next(iter(shown.values()))
    figure, axes = panels(len(shown), len(shown), size, first.shape[0] / first.shape[1])
    for axis, (title, pixels) in zip(axes, shown.items()):
        axis.imshow(pixels, interpolation="nearest")
        axis.set_title(title, fontsize=10)
    present = sorted({int(number) for classes in maps.values() for number in classes.unique()})
    figure.legend(
        handles=[Patch(color=colours[number], label=names[number]) for number in present],
        loc="outside lower center",
        ncols=len(present),
        frameon=False,
        fontsize=9,
    )
    return figure


def draw_regions(image: Tensor, regions: dict[str, dict[str, Tensor]], size: float = 4) -> Figure:
    """Regions as outlines with a light fill, so that the picture below stays visible; each with its name beside it.

    Args:
        image: (3, H, W) floats 0..1.
        regions: by title, and there by name, (H, W) bool, each with at least one pixel.
        size: width of one picture in inches.

    Raises:
        ValueError: no regions, or one that is not (H, W) or has no pixel.
    """
    if not regions:
        raise ValueError("regions is empty; expected at least one title")
    height, width = image.shape[-2:]
    figure, axes = panels(len(regions), 4, size, height / width)
    for axis, (title, masks) in zip(axes, regions.items()):
        show_picture(axis, image, title, dim=0.5)
        boxes, colours = [], [class_colour(number) for number in range(1, len(masks) + 1)]
        for (name, mask), colour in zip(masks.items(), colours):
            if mask.shape != (height, width) or not mask.any():
                raise ValueError(
                    f"regions[{title!r}][{name!r}] is {tuple(mask.shape)} with {int(mask.sum())} pixels; "
                    f"expected ({height}, {width}) with at least one"
                )
            _outline(axis, mask.cpu(), colour)
            rows, columns = mask.cpu().nonzero(as_tuple=True)
            boxes.append(torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]))
        place_tags(axis, torch.stack(boxes).float(), list(masks), colours, size)
    return figure


def _outline(axis: Axes, mask: Tensor, colour: str) -> None:
    """The border of (H, W) bool as a line with a halo, and a light fill, on an axis with the coordinates of boxes."""
    height, width = mask.shape
    padded = np.pad(mask.numpy().astype(np.float32), 1)  # so that a region at the edge is closed
    places = np.arange(-1, width + 1) + 0.5, np.arange(-1, height + 1) + 0.5
    axis.contourf(*places, padded, levels=[0.5, 1.5], colors=[colour], alpha=0.3)
    for stroke, thickness in (("#202020", 3.4), (colour, 1.8)):
        axis.contour(*places, padded, levels=[0.5], colors=[stroke], linewidths=thickness)
    axis.set(xlim=(0, width), ylim=(height, 0))


def draw_confusion(matrix: Tensor, names: Sequence[str]) -> Figure:
    """A confusion matrix: of the pixels of each true class (row), how many percent were taken for each class (column).

    Args:
        matrix: (K, K) counts, row = truth. A row without a pixel stays empty.
        names: of the K classes.

    Raises:
        ValueError: the matrix is not (K, K), or there are more or fewer names.
    """
    if matrix.shape != (len(names), len(names)):
        raise ValueError(f"matrix is {tuple(matrix.shape)}; expected {(len(names), len(names))} for {len(names)} names")
    share = matrix.detach().cpu().double() / matrix.cpu().sum(1, keepdim=True)  # (K, K); 0 / 0 is nan
    figure, axis = plt.subplots(figsize=(0.72 * len(names) + 1.4, 0.55 * len(names) + 1.1), layout="constrained")
    axis.imshow(torch.nan_to_num(share).numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(share.numpy()):
        if not np.isnan(value):
            axis.text(
                column,
                row,
                f"{value:.0%}",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if value > 0.6 else "black" if value >= 0.005 else "#999999",
            )
    axis.set(xticks=range(len(names)), yticks=range(len(names)), xlabel="taken for", ylabel="truth")
    axis.set_xticklabels(names)
    axis.set_yticklabels(names)
    axis.tick_params(length=0)
    return figure
