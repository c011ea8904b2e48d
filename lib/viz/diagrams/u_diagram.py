"""A U-Net drawn from the model itself: every picture in it is a map that a forward pass really made."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from lib.models.unet import UNet
from lib.training.modes import in_eval_mode
from lib.viz.basics.draw import PAGE, to_pixels
from lib.viz.explorer.feature_pictures import pca_colours

DOWN_COLOUR, UP_COLOUR, SKIP_COLOUR = "#0072B2", "#D55E00", "#009E73"  # Okabe & Ito 2008
FINEST = 1.0  # the side of the finest map in the figure


class Step(NamedTuple):
    """One map of the U: the module that made it, its values (C, H, W), and its level, 0 at the top."""

    name: str
    values: Tensor
    level: int


def steps_of(model: UNet, image: Tensor) -> tuple[list[Step], list[Step]]:
    """The maps of the way down, bottom included, and those of the way up, in the order in which they are made.

    Args:
        image: (C, H, W), as the model wants it.

    Raises:
        ValueError: `image` is not (C, H, W).
    """
    return _run(model, image)[:2]


def draw_u(model: UNet, image: Tensor, colours: Sequence | None = None) -> Figure:
    """The U with its maps in it: blue is the contracting path, orange the expanding path, green crosses over.

    A map is drawn with all its channels at once as colours (their three main directions), as large as the square root
    of its size, and the sheets behind it say how many channels it has: one for each doubling. Beside the arrows stands
    what is done on the way. A skip has its channels (ch) and, where it is cut before it is joined (no padding), its
    height before and after.

    Args:
        image: (C, H, W), as the model wants it; with one or three channels it is drawn at the start.
        colours: of the classes, (K, 3) numbers 0..1; with them, the answer is drawn at the end.

    Raises:
        ValueError: `image` is not (C, H, W), or `colours` are not as many as the classes.
    """
    down, up, answer = _run(model, image)
    if colours is not None and len(colours) != len(answer):
        raise ValueError(f"colours has {len(colours)} entries; expected {len(answer)}, one for each class")
    levels = len(down)
    end = 2.5 * (levels - 1)  # the column of the last map on the way up
    columns = [1.25 * level for level in range(levels)]
    wide, high = end + 4.4, 1.37 - _row(levels - 1)
    figure, axis = plt.subplots(figsize=(PAGE, PAGE * high / wide), layout="constrained")
    for step in down:
        _draw_map(axis, step, columns[step.level], finest=down[0], colour=DOWN_COLOUR)
    for below, step in zip([down[-1], *up], up):
        left, right, y = columns[step.level], end - columns[step.level], _row(step.level)
        _draw_map(axis, step, right, finest=down[0], colour=UP_COLOUR)
        _arrow(axis, (left + 0.75, y), (right - 0.65, y), SKIP_COLOUR)
        channels, kept, _ = down[step.level].values.shape
        joined = 2 * below.values.shape[1]
        crossing = f"{channels} ch" + (f", {kept} → {joined}" if kept > joined else "")
        axis.text((left + right) / 2, y + 0.06, crossing, color=SKIP_COLOUR, ha="center", fontsize=9)
    join = {"concat": "concatenate,\n", "add": "add,\n", "none": "\n"}
    for level in range(levels - 1):
        start = (columns[level] + 0.35, _row(level) - 0.78)
        stop = (columns[level + 1] - 0.45, _row(level + 1) + 0.1)
        _arrow(axis, start, stop, DOWN_COLOUR)
        _arrow(axis, (end - stop[0], stop[1]), (end - start[0], start[1]), UP_COLOUR)
        x, y = (start[0] + stop[0]) / 2 - 0.15, (start[1] + stop[1]) / 2 - 0.08
        axis.text(x, y, "pool,\n2 convolutions", color=DOWN_COLOUR, ha="right", va="center", fontsize=8)
        up_again = f"up, {join[str(model.expanding[0].skip)]}2 convolutions"
        axis.text(end - x + 0.2, y - 0.08, up_again, color=UP_COLOUR, ha="left", va="center", fontsize=8)
    ends = [(-1.6, to_pixels(image), "picture")] if len(image) in (1, 3) else []
    if colours is not None:
        shown = np.asarray(colours, dtype=np.float32)[answer.argmax(0).cpu().numpy()]  # (H, W, 3)
        ends.append((end + 1.6, shown, "answer"))
    for column, pixels, title in ends:
        _draw_pixels(axis, pixels, column, 0, FINEST)
        axis.text(column, -FINEST / 2 - 0.06, title, ha="center", va="top", fontsize=9)
        out = column > 0
        _arrow(
            axis,
            (column + (-1.05 if out else 0.55), 0),
            (column + (-0.55 if out else 1.05), 0),
            UP_COLOUR if out else DOWN_COLOUR,
        )
    for x, path, colour in (
        (-2.1, "contracting path\n(encoder)", DOWN_COLOUR),
        (end + 2.1, "expanding path\n(decoder)", UP_COLOUR),
    ):
        axis.text(x, _row(levels - 1) - 0.55, path, color=colour, ha="left" if x < 0 else "right", va="bottom")
    axis.set(xlim=(-2.2, end + 2.2), ylim=(_row(levels - 1) - 0.75, 0.62), aspect="equal")
    axis.axis("off")
    return figure


def _run(model: UNet, image: Tensor) -> tuple[list[Step], list[Step], Tensor]:
    """Way down, way up, and the scores (K, H, W), from one forward pass in eval mode."""
    if image.ndim != 3:
        raise ValueError(f"image is {tuple(image.shape)}; expected (C, H, W)")
    depth = len(model.contracting)
    parts: dict[str, tuple[nn.Module, int]] = {"top": (model.top, 0)}
    parts |= {f"contracting.{index}": (module, index + 1) for index, module in enumerate(model.contracting)}
    parts |= {f"expanding.{index}": (module, depth - 1 - index) for index, module in enumerate(model.expanding)}
    maps: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda module, inputs, output, name=name: maps.update({name: output[0]}))
        for name, (module, _) in parts.items()
    ]
    try:
        with torch.no_grad(), in_eval_mode(model):
            scores = model(image[None].to(next(model.parameters()).device))  # (1, K, H, W)
    finally:
        for hook in hooks:
            hook.remove()
    steps = [Step(name, maps[name], level) for name, (_, level) in parts.items()]
    return steps[: depth + 1], steps[depth + 1 :], scores[0]


def _row(level: int) -> float:
    return -1.3 * level


def _draw_map(axis: plt.Axes, step: Step, column: float, finest: Step, colour: str) -> None:
    channels, height, width = step.values.shape
    side = FINEST * (height / finest.values.shape[1]) ** 0.5
    for sheet in range(max(channels // len(finest.values), 1).bit_length() - 1, -1, -1):
        shift = 0.06 * (sheet + 1)
        corner = (column - side / 2 + shift, _row(step.level) - side / 2 + shift)
        axis.add_patch(plt.Rectangle(corner, side * width / height, side, facecolor="white", edgecolor=colour))
    _draw_pixels(axis, pca_colours(step.values.cpu()), column, _row(step.level), side, colour)
    axis.text(
        column,
        _row(step.level) - side / 2 - 0.06,
        f"{channels} × {height} × {width}",
        ha="center",
        va="top",
        fontsize=9,
    )


def _draw_pixels(
    axis: plt.Axes, pixels: np.ndarray, column: float, row: float, side: float, colour: str = "black"
) -> None:
    wide = side * pixels.shape[1] / pixels.shape[0]
    left, bottom = column - wide / 2, row - side / 2
    axis.imshow(pixels, extent=(left, left + wide, bottom, bottom + side), interpolation="nearest", zorder=2)
    axis.add_patch(plt.Rectangle((left, bottom), wide, side, fill=False, edgecolor=colour, linewidth=1.5, zorder=3))


def _arrow(axis: plt.Axes, start: tuple[float, float], stop: tuple[float, float], colour: str) -> None:
    axis.annotate("", stop, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2})
