"""Pictures of overlap: boxes on squared paper, on their pixels, on their way to another, moved apart (lesson 05)."""

from collections.abc import Sequence

import matplotlib
import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from lib.viz.basics.draw import panels
from lib.viz.detection.boxes import CLASS_COLOURS, box_patch, check_boxes, class_colour, show_picture, thin_boxes

FIRST, SECOND = CLASS_COLOURS[4], CLASS_COLOURS[1]
SHARED, AROUND = CLASS_COLOURS[6], "#F0E442"
HALO = [withStroke(linewidth=3.5, foreground="#202020")]


def draw_overlap(pairs: dict[str, Tensor], around: bool = False, size: float = 3.2) -> Figure:
    """Pairs of boxes on squared paper: what both cover, what either covers, and what the smallest box around them adds.

    Args:
        pairs: by title, (2, 4) xyxy, sides on whole numbers, so that squares can be counted.
        around: also show the smallest box around both, with what neither of them covers hatched.
        size: width of one drawing in inches.

    Raises:
        ValueError: no pairs, or a pair that is not (2, 4).
    """
    if not pairs:
        raise ValueError("pairs is empty; expected at least one")
    boxes = {title: check_boxes(f"pairs[{title!r}]", pair) for title, pair in pairs.items()}
    for title, pair in boxes.items():
        if len(pair) != 2:
            raise ValueError(f"pairs[{title!r}] has {len(pair)} boxes; expected two")
    limits = torch.cat(list(boxes.values()))
    left, top, right, bottom = (*(limits[:, :2].amin(0) - 1).tolist(), *(limits[:, 2:].amax(0) + 1).tolist())
    figure, axes = panels(len(pairs), 4, size, (bottom - top) / (right - left))
    for axis, (title, pair) in zip(axes, boxes.items()):
        _paper(axis, left, top, right, bottom)
        axis.set_title(title, fontsize=10)
        outer = torch.cat([pair[:, :2].amin(0), pair[:, 2:].amax(0)])  # (4,)
        inner = torch.cat([pair[:, :2].amax(0), pair[:, 2:].amin(0)])  # (4,)
        if around:
            axis.add_patch(
                Rectangle(
                    *_corner_and_sides(outer),
                    facecolor=AROUND,
                    alpha=0.45,
                    hatch="..",
                    edgecolor="#777777",
                    linewidth=1.5,
                    linestyle="--",
                )
            )
            for box in pair:
                axis.add_patch(Rectangle(*_corner_and_sides(box), facecolor="white"))
        for box, colour in zip(pair, (FIRST, SECOND)):
            axis.add_patch(Rectangle(*_corner_and_sides(box), facecolor=colour, alpha=0.3))
            axis.add_patch(Rectangle(*_corner_and_sides(box), fill=False, edgecolor=colour, linewidth=2.5))
        if (inner[2:] > inner[:2]).all():
            axis.add_patch(Rectangle(*_corner_and_sides(inner), facecolor=SHARED, edgecolor="#202020", linewidth=1.2))
        _lines(axis, left, top, right, bottom)
    handles = [
        Patch(facecolor=colour, alpha=0.5, edgecolor=colour, label=label)
        for colour, label in ((FIRST, "one box"), (SECOND, "the other"))
    ]
    handles.append(Patch(facecolor=SHARED, edgecolor="#202020", label="both: the intersection"))
    if around:
        handles.append(
            Patch(
                facecolor=AROUND, alpha=0.5, hatch="..", edgecolor="#777777", label="neither, but inside the box around"
            )
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(pairs), 2), frameon=False, fontsize=9)
    return figure


def draw_on_pixels(image: Tensor, box: Tensor, margin: int = 3, size: float = 3.6) -> Figure:
    """A box on its part of the picture, with every pixel ruled off and numbered by its left or top edge.

    Args:
        image: (3, H, W) floats 0..1.
        box: (4,) xyxy.
        margin: pixels that are shown around it.
    """
    height, width = image.shape[-2:]
    left, top = (int(number) - margin for number in box[:2].floor())
    right, bottom = (int(number) + margin for number in box[2:].ceil())
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    figure, (axis,) = panels(1, 1, size, (bottom - top) / (right - left))
    show_picture(axis, image, "numbered: the left and upper edges of pixels")
    box_patch(axis, box, CLASS_COLOURS[7], width=2.5)
    axis.set(xlim=(left, right), ylim=(bottom, top), xlabel="x in pixels", ylabel="y in pixels")
    axis.axis("on")
    _lines(axis, left, top, right, bottom, colour="white")
    axis.set_xticks(range(left, right + 1, 2))
    axis.set_yticks(range(top, bottom + 1, 2))
    axis.tick_params(labelsize=8)
    return figure


def draw_box_paths(image: Tensor, truth: Tensor, paths: dict[str, dict[int, Tensor]], size: float = 3.4) -> Figure:
    """A box on its way to a true box, one picture for each way: from dark (the start) to bright (the end).

    The truth is filled and dotted, and lies on top, so that it is seen even under a box that has arrived.

    Args:
        image: (3, H, W) floats 0..1.
        truth: (4,) xyxy.
        paths: by title, {step: (4,)}.

    Raises:
        ValueError: there is no path.
    """
    if not paths:
        raise ValueError("paths is empty; expected at least one")
    figure, axes = panels(len(paths), 4, size, image.shape[-2] / image.shape[-1])
    steps = list(next(iter(paths.values())))
    colours = [
        matplotlib.colors.to_hex(colour)
        for colour in matplotlib.colormaps["plasma"](torch.linspace(0, 0.95, len(steps)).numpy())
    ]
    for axis, (title, path) in zip(axes, paths.items()):
        show_picture(axis, image, title, dim=0.35)
        axis.add_patch(Rectangle(*_corner_and_sides(truth), facecolor="white", alpha=0.35, edgecolor="none"))
        for box, colour in zip(path.values(), colours):
            box_patch(axis, box, colour, width=3)
        axis.add_patch(Rectangle(*_corner_and_sides(truth), fill=False, linewidth=1.6, linestyle=":"))
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=colour, linewidth=3, label=f"step {step}") for step, colour in zip(steps, colours)
    ]
    handles.append(Patch(facecolor="#DDDDDD", edgecolor="black", linestyle=":", label="the truth"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def draw_landscapes(losses: dict[str, Tensor], size: float = 4.2) -> Figure:
    """A loss over the places of a picture, as maps with one scale: a line where it is 1, hatched where it stays 1.

    Args:
        losses: by title, (H, W), from 0 to 2, the loss of a box whose middle is in that pixel.
        size: width of one map in inches.

    Raises:
        ValueError: there is none, one is not (H, W), or has values outside of 0..2.
    """
    if not losses:
        raise ValueError("losses is empty; expected at least one")
    for title, loss in losses.items():
        if loss.ndim != 2:
            raise ValueError(f"losses[{title!r}] is {tuple(loss.shape)}; expected (H, W)")
        if loss.min() < 0 or loss.max() > 2:
            raise ValueError(f"losses[{title!r}] reaches from {loss.min():.2f} to {loss.max():.2f}; expected 0 to 2")
    top = 2 if max(loss.max() for loss in losses.values()) > 1 else 1
    figure, axes = plt.subplots(
        1, len(losses), figsize=(size * len(losses), 0.9 * size), squeeze=False, layout="constrained", facecolor="white"
    )
    for axis, (title, loss) in zip(axes[0], losses.items()):
        drawn = _landscape(axis, loss.detach().cpu(), top)
        axis.set_title(title, fontsize=10)
    figure.colorbar(
        drawn, ax=axes[0], label="loss", ticks=[0, 0.5, 1, 2][: 2 + top], format=lambda tick, _: f"{tick:g}"
    )
    handles = [
        Line2D([], [], color="white", linewidth=2, path_effects=HALO, label="the loss is 1"),
        Patch(facecolor="none", edgecolor="#777777", hatch="///", label="flat: 1 wherever you stand"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _landscape(axis: Axes, loss: Tensor, top: int) -> ContourSet:
    """One (H, W) loss as a map whose colours reach from 0 to `top`."""
    height, width = loss.shape
    places = (torch.arange(width) + 0.5, torch.arange(height) + 0.5)
    drawn = axis.contourf(*places, loss, levels=torch.linspace(0, top, 20 * top + 1).tolist(), cmap="viridis")
    flat = loss == 1  # (H, W); a plateau has neighbours that are 1 as well, a slope crosses 1 between two pixels
    if flat.float().mean() > 0.01:
        axis.contourf(*places, flat.float(), levels=[0.5, 1.5], colors="none", hatches=["///"])
    if loss.min() < 1 <= loss.max():
        line = axis.contour(*places, loss, levels=[1 - 1e-3], colors="white", linewidths=2)
        line.set_path_effects(HALO)
    axis.set(aspect="equal", xlabel="x of the box's middle", ylabel="y of the box's middle", ylim=(height, 0))
    return drawn


def draw_apart(
    boxes: Tensor, labels: Tensor, names: Sequence[str], step: float, side: float, size: float = 4.6
) -> Figure:
    """Boxes on a large sheet, each class in its colour, with the place that the whole picture would have there.

    Args:
        boxes: (N, 4) xyxy, those of label k already moved by k · step to the right and down.
        labels: (N,).
        names: of the classes, by label; 0 is background, and has no boxes.
        step, side: pixels from class to class, and side of the (square) picture.

    Raises:
        ValueError: `boxes` is not (N, 4), or `labels` has another length.
    """
    boxes = check_boxes("boxes", boxes)
    if labels.shape != boxes.shape[:1]:
        raise ValueError(f"labels is {tuple(labels.shape)}; expected one for each of the {len(boxes)} boxes")
    figure, axis = plt.subplots(figsize=(1.4 * size, size), layout="constrained", facecolor="white")
    for label, name in enumerate(names[1:], start=1):
        start = step * label
        axis.add_patch(Rectangle((start, start), side, side, facecolor="#F2F2F2", edgecolor="#BBBBBB"))
        thin_boxes(axis, boxes[labels == label], class_colour(label), width=1.4, opacity=1)
        axis.text(start + side + 8, start + side / 2, f"{name}: moved by {label} · {step:.0f}", va="center", fontsize=9)
    limit = step * (len(names) - 1) + 1.1 * side
    axis.set(xlim=(-10, 1.4 * limit), ylim=(limit, -10), aspect="equal", xlabel="x in pixels", ylabel="y in pixels")
    axis.set_title("each class in a place of its own; grey: where the whole picture would lie", fontsize=10)
    return figure


def count_squares(pair: Tensor) -> dict[str, int]:
    """Squares of the paper in each box and in both, for (2, 4) boxes on whole numbers: one square at a time."""
    limit = int(pair.max()) + 1
    y, x = torch.meshgrid(torch.arange(limit), torch.arange(limit), indexing="ij")  # (n, n) each
    inside = [(x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3]) for box in pair]
    return {
        "one": int(inside[0].sum()),
        "other": int(inside[1].sum()),
        "both": int((inside[0] & inside[1]).sum()),
        "either": int((inside[0] | inside[1]).sum()),
    }


def _paper(axis: Axes, left: float, top: float, right: float, bottom: float) -> None:
    axis.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", facecolor="white")


def _lines(axis: Axes, left: float, top: float, right: float, bottom: float, colour: str = "#999999") -> None:
    axis.vlines(range(int(left), int(right) + 1), top, bottom, color=colour, linewidth=0.5)
    axis.hlines(range(int(top), int(bottom) + 1), left, right, color=colour, linewidth=0.5)


def _corner_and_sides(box: Tensor) -> tuple[tuple[float, float], float, float]:
    x1, y1, x2, y2 = box.tolist()
    return (x1, y1), x2 - x1, y2 - y1
