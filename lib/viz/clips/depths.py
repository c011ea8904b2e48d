"""Depth in colours, on one scale for all pictures of lesson 16, and how wrong it is."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from torch import Tensor

from lib.ops.depth import depth_errors, valid_depth
from lib.viz.basics.draw import PAGE, panels
from lib.viz.detection.boxes import show_picture

SCALE, TICKS = LogNorm(1, 50), (1, 2, 5, 10, 20, 50)  # metres; what is nearer or farther has the colour of the end
WRONG, WRONG_TICKS = Normalize(0, 0.5), (0, 0.1, 0.2, 0.3, 0.4, 0.5)
NO_DEPTH = "#B8B8B8"
BAR = 0.65  # inches for the scales beside the pictures
DEPTH_COLOURS, WRONG_COLOURS = (
    matplotlib.colormaps[name].with_extremes(bad=NO_DEPTH) for name in ("viridis_r", "inferno")
)


def draw_depths(image: Tensor, true: Tensor, said: dict[str, Tensor], size: float = 2.3) -> Figure:
    """A picture, its true depth, and what others say of it; below each answer how wrong it is, relative to the truth.

    Depth is on a logarithmic scale, yellow near and dark far; grey has none. Wrong is judged where depth is valid
    (`valid_depth`), elsewhere it is grey; the mean is that of `depth_errors`, "abs_rel".

    Args:
        image: (3, H, W) floats 0..1, or bytes.
        true: (H, W) metres, infinite where there is none.
        said: by title (H, W) metres.
        size: width of a picture in inches.

    Raises:
        ValueError: a shape does not fit, nobody says anything, or the true depth is valid nowhere.
    """
    if image.ndim != 3 or true.shape != image.shape[1:]:
        raise ValueError(f"true is {tuple(true.shape)}; expected {tuple(image.shape[1:])}, as image")
    if not said:
        raise ValueError("said is empty; expected at least one (H, W) map of depth")
    valid, columns = valid_depth(true), 2 + len(said)
    if not valid.any():
        raise ValueError("true has no valid depth; expected a finite number above 0 somewhere")
    size, aspect = min(size, (PAGE - BAR) / columns), image.shape[1] / image.shape[2]
    figure, axes = panels(2 * columns, columns, size, aspect)
    figure.set_layout_engine("compressed")
    figure.set_size_inches(columns * size + BAR, 2 * (size * aspect + 0.3))
    show_picture(axes[0], image, "picture")
    show_depth(axes[1], true, "true depth")
    for place, (title, depth) in enumerate(said.items(), 2):
        if depth.shape != true.shape:
            raise ValueError(f"said[{title!r}] is {tuple(depth.shape)}; expected {tuple(true.shape)}, as true")
        show_depth(axes[place], depth, title)
        wrong = ((depth - true).abs() / true).where(valid, float("nan")).detach().cpu()  # (H, W)
        below = axes[columns + place]
        below.imshow(np.ma.masked_invalid(wrong.numpy()), WRONG_COLOURS, norm=WRONG, interpolation="nearest")
        below.set_title(f"mean error {depth_errors(depth, true, valid)['abs_rel']:.1%}", fontsize=10)
    figure.colorbar(ScalarMappable(WRONG, WRONG_COLOURS), ax=axes[columns:], ticks=WRONG_TICKS, format="{x:.0%}",
                    extend="max", aspect=15, pad=0.01).ax.tick_params(labelsize=8)  # fmt: skip
    depth_bar(figure, ax=axes[:columns])
    return figure


def depth_colours(depth: Tensor) -> np.ndarray:
    """Metres (...) as colours (..., 3), floats 0..1: grey where there is no depth."""
    metres = depth.detach().cpu().double().flatten().numpy()
    real = np.isfinite(metres) & (metres > 0)
    shares = SCALE(np.ma.array(np.where(real, metres, 1.0), mask=~real))
    return DEPTH_COLOURS(shares)[:, :3].reshape(*depth.shape, 3)


def show_depth(axis: Axes, depth: Tensor, title: str = "") -> None:
    """A map (H, W) of metres on an axis with the coordinates of boxes."""
    height, width = depth.shape
    axis.imshow(depth_colours(depth), interpolation="nearest", extent=(0, width, height, 0))
    axis.set_title(title, fontsize=10)
    axis.axis("off")


def depth_bar(figure: Figure, ax: list[Axes] | None = None, cax: Axes | None = None) -> None:
    """The scale of depth: beside the axes `ax`, or in the axes `cax`."""
    shown = ScalarMappable(SCALE, DEPTH_COLOURS)
    place = {"cax": cax} if ax is None else {"ax": ax, "aspect": 15, "pad": 0.01}
    bar = figure.colorbar(shown, ticks=TICKS, format="{x:g} m", **place)
    bar.minorticks_off()
    bar.ax.tick_params(labelsize=8, length=2, pad=2)
