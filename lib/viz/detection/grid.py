"""Pictures of a detector that answers cell by cell: whose cell, whose turn to learn, which sizes (lesson 09)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lib.models.yolo import cells_of, owners_of_cells
from lib.viz.basics.draw import PAGE, panels
from lib.viz.detection.boxes import box_patch, check_boxes, class_colour, place_tags, show_picture

ZERO = "#BBBBBB"  # where no gradient arrives


def show_cells(axis: Axes, height: int, width: int, stride: float, colour: str = "white") -> None:
    """The borders of all cells of `stride` pixels, as thin lines on a picture."""
    for x in np.arange(0, width + 0.5, stride):
        axis.plot((x, x), (0, height), color=colour, linewidth=0.6, alpha=0.7)
    for y in np.arange(0, height + 0.5, stride):
        axis.plot((0, width), (y, y), color=colour, linewidth=0.6, alpha=0.7)
    axis.set(xlim=(-0.5, width + 0.5), ylim=(height + 0.5, -0.5))


def draw_cells(
    image: Tensor,
    boxes: Tensor,
    labels: Tensor,
    strides: Sequence[int] = (8,),
    owned: bool = True,
    size: float = 4.0,
) -> Figure:
    """A picture cut into cells, once for each stride: boxes, their middles, and the cells that answer for them.

    A box that gets no cell, because an earlier one has its middle in the same, is dotted, and its middle is a cross.

    Args:
        image: (3, H, W) floats 0..1.
        boxes: (n, 4) xyxy. labels: (n,), which give the colours.
        strides: sides of a cell in pixels.
        owned: whether the responsible cells are filled.
        size: width of one picture in inches.

    Raises:
        ValueError: `boxes` is not (n, 4), or there is no stride.
    """
    boxes, colours = check_boxes("boxes", boxes), [class_colour(label) for label in labels.tolist()]
    if not len(strides):
        raise ValueError("strides is empty; expected at least one")
    height, width = image.shape[-2:]
    figure, axes = panels(len(strides), 4, size, height / width)
    for axis, stride in zip(axes, strides):
        grid = (height // stride, width // stride)
        title = f"{grid[0]} × {grid[1]} cells of {stride} pixels"
        show_picture(axis, image, title, dim=0.25)
        show_cells(axis, height, width, stride)
        owners = owners_of_cells(boxes, stride, grid)  # (rows, columns)
        for number, (box, colour, row, column) in enumerate(zip(boxes, colours, *cells_of(boxes, stride, grid))):
            mine = not owned or bool(owners[row, column] == number)
            if owned and mine:
                corner = (int(column) * stride, int(row) * stride)
                axis.add_patch(Rectangle(corner, stride, stride, facecolor=colour, edgecolor="#202020", alpha=0.75))
            box_patch(axis, box, colour, width=1.6, style="-" if mine else ":")
            x, y = ((box[:2] + box[2:]) / 2).tolist()
            axis.plot(x, y, "o" if mine else "X", color=colour, markeredgecolor="#202020", markersize=7)
    return figure


def draw_learning(slopes: Tensor, names: Sequence[str], columns: int = 5, size: float = 1.7) -> Figure:
    """Which numbers of a grid learn: one little map of cells for each number; grey where its gradient is exactly 0.

    Args:
        slopes: (S, S', K), the gradient of a loss by each number of the grid.
        names: K, one for each number of a cell.
        columns, size: maps in a row, and the width of one in inches.

    Raises:
        ValueError: `slopes` is not (S, S', K), or has another number of names.
    """
    if slopes.ndim != 3 or slopes.shape[2] != len(names):
        raise ValueError(f"slopes is {tuple(slopes.shape)} with {len(names)} names; expected (S, S', K) and K names")
    values = slopes.detach().cpu().abs()  # (S, S', K)
    colours = plt.get_cmap("viridis").with_extremes(bad=ZERO)
    largest = values.flatten(0, 1).amax(dim=0).clamp(min=1e-12)  # (K,)
    figure, axes = panels(len(names), columns, size, slopes.shape[0] / slopes.shape[1])
    for place, (axis, name) in enumerate(zip(axes, names)):
        share = (values[..., place] / largest[place]).sqrt()  # roots, so that small ones are seen too
        axis.imshow(np.ma.masked_equal(share.numpy(), 0), cmap=colours, vmin=0, vmax=1)
        axis.set_title(name, fontsize=9)
    return figure


def draw_pair(image: Tensor, pairs: dict[str, Tensor], truth: Tensor, overlaps: dict[str, Tensor]) -> Figure:
    """The boxes of one cell beside the truth, at several moments.

    Args:
        image: (3, H, W) floats 0..1.
        pairs: by title, (B, 4) xyxy. truth: (4,), drawn white and dotted.
        overlaps: by the same titles, (B,) IoU of each with the truth; the best box is drawn thick.
    """
    figure, axes = panels(len(pairs), 4, 2.6, image.shape[-2] / image.shape[-1])
    for axis, (title, boxes) in zip(axes, pairs.items()):
        boxes, best = check_boxes(f"pairs[{title!r}]", boxes), int(overlaps[title].argmax())
        show_picture(axis, image, title, dim=0.25)
        colours = [class_colour(number + 5) for number in range(len(boxes))]
        for number, (box, colour) in enumerate(zip(boxes, colours)):
            box_patch(axis, box, colour, width=2.6 if number == best else 1.0)
        box_patch(axis, truth.cpu(), "white", width=1.4, style=":")
        texts = [f"box {number + 1}: {value:.2f}" for number, value in enumerate(overlaps[title].tolist())]
        place_tags(axis, boxes, texts, colours, 2.6)
        axis.set(xlim=(0, image.shape[-1]), ylim=(image.shape[-2], 0))
    return figure


def draw_sizes(
    sizes: Tensor,
    groups: Tensor,
    names: Sequence[str],
    anchors: Tensor | None = None,
    title: str = "",
    size: float = 4.6,
) -> Figure:
    """Widths and heights of many boxes as points, coloured by group, and with them some anchors as boxes.

    Args:
        sizes: (N, 2) width, height in pixels. groups: (N,) which of `names` each belongs to, from 0.
        anchors: (B, 2); group i has the colour of anchor i. Each is drawn from the point (0, 0).

    Raises:
        ValueError: `sizes` is not (N, 2), or `groups` has another length or a number without a name.
    """
    if sizes.ndim != 2 or sizes.shape[1] != 2 or groups.shape != sizes.shape[:1]:
        raise ValueError(f"sizes is {tuple(sizes.shape)}, groups {tuple(groups.shape)}; expected (N, 2) and (N,)")
    if len(groups) and int(groups.max()) >= len(names):
        raise ValueError(f"names has {len(names)} entries; expected one for each group, up to {int(groups.max())}")
    figure, axis = plt.subplots(figsize=(min(PAGE, 1.3 * size), size), layout="constrained", facecolor="white")
    for number, name in enumerate(names):
        mine, colour = sizes[groups == number].cpu(), class_colour(number + 1)
        axis.scatter(*mine.T.numpy(), s=5, color=colour, alpha=0.5, linewidths=0, label=name)
        if anchors is not None:
            width, height = anchors[number].tolist()
            for stroke, thickness in (("#202020", 4), (colour, 2)):
                axis.plot((0, width, width), (height, height, 0), color=stroke, linewidth=thickness)
    most = float(sizes.max()) if len(sizes) else 1.0
    axis.set(xlim=(0, most), ylim=(0, most), xlabel="width, pixels", ylabel="height, pixels", aspect="equal")
    axis.set_title(title, fontsize=10)
    legend = figure.legend(loc="outside right center", frameon=False, fontsize=9, markerscale=3)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    return figure
