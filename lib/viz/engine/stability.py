"""Where the grid clicks, and how a mask changes with its threshold (lesson 18)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from lib.ops.mask_filters import stability_score
from lib.viz.basics.draw import panels
from lib.viz.detection.boxes import show_picture
from lib.viz.prompts.paint import INSIDE

LOW, HIGH = "#E69F00", "#009E73"  # lines around what is above a lower threshold, and a higher one
SCALE = 6.0  # logits, where the colours of a map end: a probability of 0.998


def draw_grid(image: Tensor, points: Tensor, size: float = 3.4) -> Figure:
    """A picture (3, H, W) and points (N, 2) on it, x and y in pixels from the picture's upper left corner.

    Raises:
        ValueError: points are not (N, 2).
    """
    figure, (axis,) = panels(1, 1, size, image.shape[-2] / image.shape[-1])
    show_grid(axis, image, points)
    axis.set_title(f"{len(points)} points, one prompt each", fontsize=10)
    return figure


def show_grid(axis: Axes, image: Tensor, points: Tensor, dot: float = 4.5) -> None:
    """As `draw_grid`, on an axis. `dot`: diameter of a point, in points of print."""
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points is {tuple(points.shape)}; expected (N, 2)")
    show_picture(axis, image, dim=0.3)
    x, y = points.detach().cpu().float().T.numpy()
    axis.plot(x, y, "o", color=INSIDE, markersize=dot, markeredgecolor="white", markeredgewidth=0.6)
    axis.set(xlim=(0, image.shape[-1]), ylim=(image.shape[-2], 0))


def draw_stability(logits: Tensor, offset: float, titles: Sequence[str] | None = None, size: float = 3.7) -> Figure:
    """Masks whose threshold is moved: what the model says of each pixel, and the borders at three thresholds.

    Where the three lines lie close together the mask is stable. The title has the score: the pixels inside the inner
    line, divided by those inside the outer one.

    Args:
        logits: (M, H, W), such as of a stable and an unstable mask.
        offset: how far the two other thresholds lie from 0.
        titles: M, above the scores.

    Raises:
        ValueError: the logits are not (M, H, W), there is none, or there are other numbers of titles.
    """
    if logits.ndim != 3 or not len(logits):
        raise ValueError(f"logits is {tuple(logits.shape)}; expected (M, H, W), at least one")
    if titles is not None and len(titles) != len(logits):
        raise ValueError(f"titles has {len(titles)} entries; expected {len(logits)}, one for each mask")
    scores = stability_score(logits, 0.0, offset).tolist()
    figure, axes = panels(len(logits), 3, size, logits.shape[1] / logits.shape[2])
    figure.set_layout_engine("compressed")
    for place, (axis, map_) in enumerate(zip(axes, logits, strict=True)):
        show_thresholds(axis, map_, offset)
        inner, outer = int((map_ > offset).sum()), int((map_ > -offset).sum())
        said = f"stability {inner} / {outer} pixels = {scores[place]:.4f}"
        axis.set_title(said if titles is None else f"{titles[place]}\n{said}", fontsize=10)
    figure.suptitle("how a mask changes with its threshold", fontsize=11, y=1.03)
    bar = figure.colorbar(axes[0].images[0], ax=axes, shrink=0.8, extend="both", label="logit: above 0 is inside")
    bar.set_ticks([-SCALE, -SCALE / 2, 0, SCALE / 2, SCALE])
    handles = [
        Line2D([], [], color=colour, linewidth=2, label=f"border at {level:+g}" if level else "border at 0: the mask")
        for level, colour in ((-offset, LOW), (0, "black"), (offset, HIGH))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def show_thresholds(axis: Axes, logits: Tensor, offset: float) -> None:
    """The logits (H, W) of a mask in colours, blue for outside and red for inside, with the borders at three levels."""
    height, width = logits.shape
    values = logits.detach().cpu().float().numpy()
    axis.imshow(values, "RdBu_r", vmin=-SCALE, vmax=SCALE, extent=(0, width, height, 0), interpolation="nearest")
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    for level, colour in ((-offset, LOW), (offset, HIGH), (0.0, "black")):
        if values.min() < level < values.max():  # else there is no border
            axis.contour(x, y, values, levels=[level], colors=[colour], linewidths=1.5, linestyles="solid")
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.axis("off")
