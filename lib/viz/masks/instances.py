"""Pictures of masks: things with their masks, masks cut to regions, and what lies between cells (from lesson 12)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from lib.ops.masks import check_masks
from lib.viz.basics.draw import PAGE, panels
from lib.viz.detection.boxes import box_patch, check_boxes, class_colour, show_picture, thin_boxes


def draw_instances(
    pictures: dict[str, tuple[Tensor, dict[str, Tensor]]],
    names: Sequence[str] | None = None,
    boxes: bool = True,
    size: float = 3,
) -> Figure:
    """Pictures with the masks of the things in them, each in the colour of its class, with a line around it.

    Args:
        pictures: by title the picture (3, H, W) and {"masks": (N, H, W) bool or 0..1, "labels": (N,), "boxes": (N, 4)}.
        names: of the classes from label 1 on, for the legend; None: no legend.
        boxes: whether to draw the boxes too.
        size: width of a picture in inches.

    Raises:
        ValueError: there is no picture, or masks have a wrong shape.
    """
    if not pictures:
        raise ValueError("pictures is empty; expected at least one")
    first = next(iter(pictures.values()))[0]
    figure, axes = panels(len(pictures), 4, size, first.shape[1] / first.shape[2])
    for axis, (title, (image, found)) in zip(axes, pictures.items(), strict=True):
        show_picture(axis, image, title, dim=0.35)
        check_masks("masks", found["masks"])
        for mask, label, box in zip(found["masks"].cpu(), found["labels"].tolist(), found["boxes"].cpu(), strict=True):
            paint_mask(axis, mask > 0.5 if mask.is_floating_point() else mask, class_colour(label))
            if boxes:
                thin_boxes(axis, box[None], class_colour(label), width=1.4, opacity=1.0)
        axis.set(xlim=(0, image.shape[2]), ylim=(image.shape[1], 0))
    seen = sorted({label for _, found in pictures.values() for label in found["labels"].tolist()})
    if names is not None and seen:
        handles = [Patch(facecolor=class_colour(label), label=names[label - 1]) for label in seen]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(seen), frameon=False, fontsize=9)
    return figure


def paint_mask(axis: Axes, mask: Tensor, colour: str, opacity: float = 0.55) -> None:
    """A mask (H, W) bool in one colour over a picture, with a line along the edges of its pixels."""
    height, width = mask.shape
    paint = np.zeros((height, width, 4))
    paint[...] = (*to_rgb(colour), opacity)
    paint[~mask.numpy(), 3] = 0
    axis.imshow(paint, interpolation="nearest", extent=(0, width, height, 0))
    padded = np.pad(mask.numpy(), 1)  # (H + 2, W + 2)
    rows, columns = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])  # an edge above pixel (row, column)
    axis.hlines(rows, columns, columns + 1, color=colour, linewidth=1.2)
    rows, columns = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])  # an edge left of it
    axis.vlines(columns, rows, rows + 1, color=colour, linewidth=1.2)


def draw_targets(image: Tensor, mask: Tensor, regions: dict[str, tuple[Tensor, Tensor]], size: float = 2.4) -> Figure:
    """Above, regions of a picture with the mask of the thing that they show; below, what is to be predicted of each.

    Args:
        image: (3, H, W). mask: (H, W) bool.
        regions: by title a box (4,) xyxy, and its target (M, M), 0 black .. 1 white.
    """
    figure, axes = panels(2 * len(regions), len(regions), size)
    figure.set_layout_engine("compressed")
    for place, (title, (box, target)) in enumerate(regions.items()):
        above, below = axes[place], axes[len(regions) + place]
        show_picture(above, image, title, dim=0.35)
        paint_mask(above, mask.cpu(), "white")
        box_patch(above, check_boxes("box", box[None])[0], "#D55E00")
        above.set(xlim=(0, image.shape[2]), ylim=(image.shape[1], 0))
        below.imshow(target.cpu(), cmap="gray", vmin=0, vmax=1)
        below.set_title(f"its target, {len(target)} × {len(target)} cells", fontsize=9)
    return figure


def draw_small_masks(masks: dict[str, Tensor], columns: int = 6, size: float = 1.5) -> Figure:
    """Small masks (M, M) by title, all with one scale: 0 black .. 1 white."""
    figure, axes = panels(len(masks), columns, size)
    figure.set_layout_engine("compressed")
    for axis, (title, mask) in zip(axes, masks.items(), strict=True):
        shown = axis.imshow(mask.detach().cpu(), cmap="gray", vmin=0, vmax=1)
        axis.set_title(title, fontsize=9)
    figure.colorbar(shown, ax=axes, shrink=0.8, label="0 no .. 1 yes")
    return figure


def draw_mixing(values: Tensor, point: tuple[float, float], shares: Sequence[float], size: float = 3.4) -> Figure:
    """A few cells with their numbers, a point between them, and how much each of the four nearest counts.

    Args:
        values: (h, w) numbers of the cells.
        point: (x, y) in cells; the middle of the first cell is (0.5, 0.5).
        shares: of the four cells around it, upper left, upper right, lower left, lower right.
    """
    height, width = values.shape
    figure, (axis,) = panels(1, 1, size, height / width)
    axis.imshow(values.cpu(), cmap="Blues", extent=(0, width, height, 0), vmin=0, vmax=2.5 * float(values.max()))
    axis.hlines(range(height + 1), 0, width, color="#888888", linewidth=0.8)
    axis.vlines(range(width + 1), 0, height, color="#888888", linewidth=0.8)
    x, y = point
    column, row = int(x - 0.5), int(y - 0.5)  # of the upper left one of the four
    for r in range(height):
        for c in range(width):
            middle = 0.72 if r == row + 1 else 0.28  # above the upper middles, below the lower ones: beside the lines
            axis.text(c + 0.5, r + middle, f"{values[r, c].item():g}", ha="center", va="center", fontsize=11)
    for place, share in enumerate(shares):
        middle = (column + place % 2 + 0.5, row + place // 2 + 0.5)
        beyond = middle[1] + (-0.4 if place < 2 else 0.4)  # of the number
        axis.plot((x, middle[0]), (y, middle[1]), color="#D55E00", linewidth=1)
        axis.plot(*middle, "o", color="#202020", markersize=4)
        axis.text(middle[0], beyond, f"× {share:g}", ha="center", va="center", fontsize=9, color="#D55E00")
    axis.plot(x, y, "o", color="#D55E00", markersize=8, markeredgecolor="white")
    axis.set_title(f"the point ({x:g}, {y:g}) and its four cells", fontsize=10)
    return figure


def draw_moved(shifts: Tensor, curves: dict[str, Tensor], label: str) -> Figure:
    """One number of a cut-out while its region moves: in stairs where it was pooled, whatever it does where it was not.

    Args:
        shifts: (n,) pixels. curves: (n,) by name; all are drawn as they are, from point to point.
        label: of the vertical axis.
    """
    figure, axis = plt.subplots(figsize=(PAGE * 0.75, 2.9), layout="constrained", facecolor="white")
    for (name, values), colour in zip(curves.items(), ("#D55E00", "#0072B2", "#009E73"), strict=False):
        axis.plot(shifts, values.detach().cpu(), label=name, color=colour, linewidth=1.8, drawstyle="steps-post")
    axis.set(xlabel="the region is moved right by so many pixels (a cell has 8)", ylabel=label)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=9)
    return figure
