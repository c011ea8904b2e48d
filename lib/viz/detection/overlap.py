"""Pictures of overlap: boxes on squared paper, on their pixels, on their way to another, moved apart (lesson 05)."""

from collections.abc import Sequence

import matplotlib
import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from lib.viz.basics.draw import panels
from lib.viz.detection.boxes import CLASS_COLOURS, box_patch, check_boxes, class_colour, show_picture, thin_boxes

FIRST, SECOND = CLASS_COLOURS[4], CLASS_COLOURS[1]
SHARED, AROUND = CLASS_COLOURS[6], "#F0E442"


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
    show_picture(axis, image)
    box_patch(axis, box, CLASS_COLOURS[7], width=2.5)
    axis.set(xlim=(left, right), ylim=(bottom, top), xlabel="x", ylabel="y")
    axis.axis("on")
    _lines(axis, left, top, right, bottom, colour="white")
    axis.set_xticks(range(left, right + 1, 2))
    axis.set_yticks(range(top, bottom + 1, 2))
    axis.tick_params(labelsize=8)
    return figure


def draw_box_paths(image: Tensor, truth: Tensor, paths: dict[str, dict[int, Tensor]], size: float = 3.4) -> Figure:
    """A box on its way to a true box, one picture for each way: from dark (the start) to bright (the end).

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
        box_patch(axis, truth, "white", width=2, style=":")
        for box, colour in zip(path.values(), colours):
            box_patch(axis, box, colour, width=1.8)
    handles = [Line2D([], [], color=colour, linewidth=3, label=f"step {step}") for step, colour in zip(steps, colours)]
    handles.append(Line2D([], [], color="#777777", linewidth=2, linestyle=":", label="the truth"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def draw_landscapes(losses: dict[str, Tensor], size: float = 4.2) -> Figure:
    """A loss over the places of a picture, as a map with lines of equal height.

    Args:
        losses: by title, (H, W), the loss of a box whose middle is in that pixel.
        size: width of one map in inches.

    Raises:
        ValueError: there is none, or one is not (H, W).
    """
    if not losses:
        raise ValueError("losses is empty; expected at least one")
    figure, axes = plt.subplots(
        1, len(losses), figsize=(size * len(losses), 0.8 * size), squeeze=False, layout="constrained", facecolor="white"
    )
    for axis, (title, loss) in zip(axes[0], losses.items()):
        if loss.ndim != 2:
            raise ValueError(f"losses[{title!r}] is {tuple(loss.shape)}; expected (H, W)")
        height, width = loss.shape
        drawn = axis.contourf(
            torch.arange(width) + 0.5, torch.arange(height) + 0.5, loss.detach().cpu(), levels=20, cmap="viridis"
        )
        axis.set(title=title, aspect="equal", xlabel="middle x", ylabel="middle y", ylim=(height, 0))
        figure.colorbar(drawn, ax=axis)
    return figure


def draw_apart(boxes: Tensor, labels: Tensor, names: Sequence[str], size: float = 4.2) -> Figure:
    """Boxes on a large empty sheet, each class in its colour and with its name beside it.

    Args:
        boxes: (N, 4) xyxy. labels: (N,). names: of the classes, by label.

    Raises:
        ValueError: `boxes` is not (N, 4), or `labels` has another length.
    """
    boxes = check_boxes("boxes", boxes)
    if labels.shape != boxes.shape[:1]:
        raise ValueError(f"labels is {tuple(labels.shape)}; expected one for each of the {len(boxes)} boxes")
    figure, axis = plt.subplots(figsize=(1.3 * size, size), layout="constrained", facecolor="white")
    for label in labels.unique().tolist():
        mine = boxes[labels == label]
        thin_boxes(axis, mine, class_colour(label), width=1.2, opacity=1)
        axis.text(mine[:, 0].min().item() - 8, mine[:, 1::2].mean().item(), names[label], ha="right", va="center")
    limit = 1.05 * boxes.max().item()
    axis.set(xlim=(0, limit), ylim=(limit, 0), aspect="equal", xlabel="x", ylabel="y")
    axis.grid(color="#DDDDDD", linewidth=0.6)
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
