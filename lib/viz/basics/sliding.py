"""A window sliding over a row of pixels, place by place."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from lib.ops.receptive_field import Window, feature_size


def draw_sliding(pixels: int, window: Window) -> Figure:
    """A row of pixels with its padding (white), and below it each place where the window stands.

    Args:
        pixels: how many there are in the row.
        window: one layer, without dilation.

    Raises:
        ValueError: the window does not fit anywhere, or is dilated.
    """
    if window.dilation != 1:
        raise ValueError(f"window has dilation {window.dilation}; expected 1")
    cells, _ = feature_size(pixels, pixels, [window])
    figure, axis = plt.subplots(figsize=(8, 0.9 + 0.28 * cells), layout="constrained")
    for position in range(-window.padding, pixels + window.padding):
        colour = "#56B4E9" if 0 <= position < pixels else "white"
        axis.add_patch(plt.Rectangle((position, 0), 1, 0.8, facecolor=colour, edgecolor="black"))
    for cell in range(cells):
        start, height = cell * window.stride - window.padding, -0.3 - 0.3 * cell
        axis.plot(
            [start + 0.1, start + window.kernel - 0.1],
            [height, height],
            linewidth=6,
            color="#E69F00",
            solid_capstyle="butt",
        )
        axis.text(start + window.kernel + 0.1, height, f"cell {cell}", fontsize=9, va="center")
    axis.set_title(
        f"{pixels} pixels, padding {window.padding}, kernel {window.kernel}, stride {window.stride}: {cells} cells"
    )
    axis.set(xlim=(-window.padding - 0.2, pixels + window.padding + 1), ylim=(-0.3 * cells - 0.3, 0.9))
    axis.axis("off")
    return figure
