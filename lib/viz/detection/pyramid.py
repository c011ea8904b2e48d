"""Levels of a pyramid: its maps, what is found on which of them, and which sizes belong to each (lesson 11).

A level has the same colour in all of these pictures. Levels are counted from 0, the largest map.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.transforms import Affine2D
from torch import Tensor

from lib.viz.basics.draw import PAGE, panels
from lib.viz.detection.boxes import box_patch, check_boxes, show_picture
from lib.viz.detection.curves import LINES, MARKERS

SLANT, FLAT = 0.45, 0.42  # a map lies on the page: its rows go to the right by so much, and are so much lower
GAP = 0.22  # between two maps, as a share of the largest one's width


def level_colour(level: int) -> str:
    """The colour of a level, 0 for the largest map; after seven levels they begin again."""
    return LINES[level % len(LINES)]


def draw_pyramid(columns: dict[str, Sequence[Tensor]], strides: Sequence[int], size: float = 4.4) -> Figure:
    """Maps lying one above the other, the largest at the bottom: a pyramid in each panel.

    Each is as wide as its cells. Dark is the lowest number of a map, yellow its highest; each map has its own scale.

    Args:
        columns: by title, a map (h, w) for each level, the largest first.
        strides: pixels from cell to cell, for each level.
        size: width of a panel in inches.

    Raises:
        ValueError: there is no panel, or one whose maps are not (h, w) or not as many as the strides.
    """
    if not columns:
        raise ValueError("columns is empty; expected at least one")
    for title, maps in columns.items():
        if len(maps) != len(strides) or any(one.ndim != 2 or one.numel() == 0 for one in maps):
            shapes = [tuple(one.shape) for one in maps]
            raise ValueError(f"columns[{title!r}] has maps {shapes}; expected (h, w) for each of {len(strides)} levels")
    figure, axes = panels(len(columns), 3, size, 1.0)
    for axis, (title, maps) in zip(axes, columns.items()):
        widest = maps[0].shape[1]
        bottom = 0.0
        for level, (one, stride) in enumerate(zip(maps, strides)):
            top = _lying_map(axis, one.detach().cpu().float(), widest, bottom, level_colour(level))
            axis.text(
                widest * (1.05 + SLANT / 2),
                (bottom + top) / 2,
                f"stride {stride}\n{one.shape[0]} × {one.shape[1]}",
                color=level_colour(level),
                fontsize=9,
                va="center",
            )
            bottom = top + GAP * widest
        axis.set(xlim=(0, widest * (1.35 + SLANT / 2)), ylim=(-0.05 * widest, bottom), aspect="equal")
        axis.set_title(title, fontsize=10)
    return figure


def draw_levels(
    image: Tensor,
    found: dict[str, tuple[Tensor, Tensor]],
    strides: Sequence[int],
    truth: Tensor | None = None,
    size: float = 3.1,
) -> Figure:
    """Boxes in the colour of the level that they belong to.

    Args:
        image: (3, H, W) floats 0..1.
        found: by title of a panel, boxes (n, 4) xyxy and their levels (n,), counted from 0.
        strides: of all levels, for the legend.
        truth: (m, 4) xyxy, dotted in each panel.

    Raises:
        ValueError: there is no panel, not one level for each box, or a level that is not among the strides.
    """
    if not found:
        raise ValueError("found is empty; expected at least one panel")
    figure, axes = panels(len(found), 3, size, image.shape[-2] / image.shape[-1])
    for axis, (title, (boxes, levels)) in zip(axes, found.items()):
        boxes = check_boxes(f"found[{title!r}]", boxes)
        numbers = _levels(f"found[{title!r}]", levels, len(boxes), len(strides))
        show_picture(axis, image, title, dim=0.25)
        for box in [] if truth is None else check_boxes("truth", truth):
            box_patch(axis, box, "white", width=1.2, style=":")
        for box, level in zip(boxes, numbers):
            box_patch(axis, box, level_colour(level), width=1.6)
    _level_legend(figure, strides)
    return figure


def draw_size_levels(
    boxes: Tensor, levels: Tensor, borders: Sequence[float], strides: Sequence[int], size: float = 4.6
) -> Figure:
    """Height over width of many boxes, in the colours of their levels. Between two levels √(w · h) is always the same.

    Args:
        boxes: (n, 4) xyxy.
        levels: (n,), counted from 0.
        borders: sides √(w · h) in pixels at which a level ends; one fewer than levels.
        strides: of all levels, for the legend.

    Raises:
        ValueError: there is no box, not one level for each, or not one border between two levels each.
    """
    boxes = check_boxes("boxes", boxes)
    numbers = torch.tensor(_levels("boxes", levels, len(boxes), len(strides)))
    if not len(boxes) or len(borders) != len(strides) - 1:
        raise ValueError(
            f"boxes has {len(boxes)} rows and borders {len(borders)} numbers; expected at least one box, "
            f"and {len(strides) - 1} borders between {len(strides)} levels"
        )
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(dim=1)  # (n,) each
    figure, axis = plt.subplots(figsize=(1.25 * size, size), layout="constrained", facecolor="white")
    for level in range(len(strides)):
        here = numbers == level
        axis.scatter(
            width[here], height[here], s=12, marker=MARKERS[level % 7], color=level_colour(level), alpha=0.5, lw=0
        )
    most = 1.05 * float(torch.maximum(width, height).max())
    across = torch.linspace(0.5, most, 400)
    for border in borders:
        axis.plot(across, border**2 / across, color="#202020", linewidth=1.2)
        axis.text(0.98 * most, border**2 / most + 0.03 * most, f"√(w·h) = {border:g}", fontsize=8, ha="right")
    axis.set(xlim=(0, most), ylim=(0, most), xlabel="width w in pixels", ylabel="height h in pixels", aspect="equal")
    _tidy(axis)
    _level_legend(figure, strides)
    return figure


def draw_anchor_sizes(
    sizes: Sequence[Sequence[float]], sides: Tensor, strides: Sequence[int], size: float = 3.4
) -> Figure:
    """The sizes of the anchors of each level as lines, over a histogram of how large things are; a log axis.

    Args:
        sizes: for each level the sides of its anchors, √(w · h) in pixels.
        sides: (n,) √(w · h) of things.
        strides: of all levels, for the legend.

    Raises:
        ValueError: there is no thing, a size or side is not above 0, or not one list of sizes for each stride.
    """
    numbers = sides.detach().cpu().float()  # (n,)
    if len(sizes) != len(strides) or not all(len(level) and min(level) > 0 for level in sizes):
        raise ValueError(f"sizes is {sizes!r}; expected sizes above 0 for each of {len(strides)} levels")
    if numbers.ndim != 1 or not len(numbers) or numbers.min() <= 0:
        raise ValueError(f"sides is {tuple(numbers.shape)}; expected (n,), at least one, all above 0")
    figure, axis = plt.subplots(figsize=(PAGE, size), layout="constrained", facecolor="white")
    low = min(float(numbers.min()), min(min(level) for level in sizes)) / 1.15
    high = max(float(numbers.max()), max(max(level) for level in sizes)) * 1.15
    edges = torch.logspace(*torch.tensor([low, high]).log10().tolist(), 33)
    counts, *_ = axis.hist(numbers.numpy(), bins=edges.tolist(), color="#CCCCCC")
    for level, several in enumerate(sizes):
        axis.vlines(several, 0, 1.18 * counts.max(), color=level_colour(level), linewidth=2)
        for one in several:
            axis.text(one, 1.2 * counts.max(), f"{one:g}", color=level_colour(level), fontsize=9, ha="center")
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
    axis.set(xlim=(low, high), ylim=(0, 1.35 * counts.max()), xlabel="side √(w·h) in pixels", ylabel="things")
    _tidy(axis)
    _level_legend(figure, strides)
    return figure


def _lying_map(axis: Axes, values: Tensor, widest: int, bottom: float, colour: str) -> float:
    """Draw a map (h, w) as a plane that lies flat, middle at `widest`/2; how high its upper edge is."""
    height, width = values.shape
    left = (widest - width) / 2  # so that all maps have one middle
    shift = left + SLANT * (widest - height) / 4
    # from cells (x to the right, y down) to the page: y goes up and to the right, and is lower than a cell is wide
    plane = Affine2D.from_values(1, 0, -SLANT / 2, -FLAT, shift + SLANT / 2 * height, bottom + FLAT * height)
    image = axis.imshow(values.numpy(), extent=(0, width, height, 0), interpolation="nearest", cmap="viridis")
    image.set_transform(plane + axis.transData)
    corners = plane.transform([(0, 0), (width, 0), (width, height), (0, height)])
    axis.add_patch(Polygon(corners, closed=True, fill=False, edgecolor=colour, linewidth=2))
    return bottom + FLAT * height


def _levels(name: str, levels: Tensor, count: int, most: int) -> list[int]:
    """Levels as numbers, one for each of `count` boxes."""
    if levels.shape != (count,):
        raise ValueError(f"{name} has {count} boxes and levels {tuple(levels.shape)}; expected one level for each")
    numbers = [int(level) for level in levels.tolist()]
    if numbers and not 0 <= min(numbers) <= max(numbers) < most:
        raise ValueError(f"{name} has levels {min(numbers)}..{max(numbers)}; expected 0..{most - 1}, one for a stride")
    return numbers


def _level_legend(figure: Figure, strides: Sequence[int]) -> None:
    handles = [
        Line2D([], [], color=level_colour(level), linewidth=3, label=f"stride {stride}")
        for level, stride in enumerate(strides)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)


def _tidy(axis: Axes) -> None:
    axis.grid(color="#DDDDDD", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
