"""How alike the segments of two frames are, with the pairs that tracking makes of them (lesson 16)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lib.viz.basics.draw import PAGE
from lib.viz.detection.boxes import show_picture

CELL, EDGE, RIM = 0.72, 0.24, 0.06  # inches: of a side, for the words at the edges, around all
PAIRED, FORBIDDEN = "#D55E00", "#DDDDDD"
FADED = 0.3  # of a crop's light is left outside of its segment


def draw_similarity(
    before_thumbnails: Sequence[Tensor],
    now_thumbnails: Sequence[Tensor],
    similarity: Tensor,
    pairs: Tensor,
    titles: tuple[str, str] = ("the frame before", "this frame"),
) -> Figure:
    """A table of cosines: a row for each segment of the frame before, a column for each of this frame.

    The pairs are framed. Hatched cells are pairs that are not allowed.

    Args:
        before_thumbnails: n pictures (3, s, s), such as `crop_segment` cuts.
        now_thumbnails: m of them.
        similarity: (n, m), -1..1; nan where a pair is not allowed.
        pairs: (k, 2) whole numbers, place in `before` and place in `now`, as `match_queries` gives.
        titles: of the rows and of the columns.

    Raises:
        ValueError: a frame has no segment, a shape does not fit, or a pair lies outside of the table.
    """
    n, m = len(before_thumbnails), len(now_thumbnails)
    if not n or not m or similarity.shape != (n, m):
        raise ValueError(f"similarity is {tuple(similarity.shape)}; expected ({n}, {m}), and neither of them 0")
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.is_floating_point():
        raise ValueError(f"pairs is {tuple(pairs.shape)} {pairs.dtype}; expected (k, 2) whole numbers")
    outside = [pair for pair in pairs.tolist() if not (0 <= pair[0] < n and 0 <= pair[1] < m)]
    if outside:
        raise ValueError(f"pairs has {outside[0]}; expected a row in 0..{n - 1} and a column in 0..{m - 1}")
    room = EDGE + 2 * RIM
    cell = min(CELL, (PAGE - room) / (m + 1))
    width, height = room + (m + 1) * cell, room + (n + 1) * cell
    figure = plt.figure(figsize=(width, height), facecolor="white")
    foot, left = RIM / height, (RIM + EDGE + cell) / width
    axis = figure.add_axes((left, foot, m * cell / width, n * cell / height))
    _table(axis, similarity.detach().cpu().double(), pairs.tolist(), 10 * min(1.0, cell / 0.5))
    gap = 0.04 * cell
    size = ((cell - 2 * gap) / width, (cell - 2 * gap) / height)
    for place, image in enumerate(before_thumbnails):
        bottom = RIM + (n - 1 - place) * cell + gap
        show_picture(figure.add_axes(((RIM + EDGE + gap) / width, bottom / height, *size)), image)
    for place, image in enumerate(now_thumbnails):
        x, y = RIM + EDGE + (1 + place) * cell + gap, RIM + n * cell + gap
        show_picture(figure.add_axes((x / width, y / height, *size)), image)
    middle_row, middle_column = foot + n * cell / 2 / height, left + m * cell / 2 / width
    for x, y, words, turn in (
        ((RIM + 0.4 * EDGE) / width, middle_row, titles[0], 90),
        (middle_column, 1 - (RIM + 0.4 * EDGE) / height, titles[1], 0),
    ):
        figure.text(x, y, words, rotation=turn, ha="center", va="center", fontsize=9)
    return figure


def _table(axis: Axes, similarity: Tensor, pairs: list[list[int]], fontsize: float) -> None:
    """Numbers on white (0 and below) to dark blue (1)."""
    n, m = similarity.shape
    axis.imshow(similarity.nan_to_num(0).numpy(), "Blues", vmin=0, vmax=1, aspect="auto", extent=(0, m, n, 0))
    for row in range(n):
        for column in range(m):
            value = float(similarity[row, column])
            if value != value:
                cell = Rectangle((column, row), 1, 1, facecolor=FORBIDDEN, edgecolor="#999999", hatch="///", lw=0)
                axis.add_patch(cell)
                continue
            ink = "white" if value > 0.6 else "black"
            middle = (column + 0.5, row + 0.5)
            axis.text(*middle, f"{value:.2f}", ha="center", va="center", fontsize=fontsize, color=ink)
    axis.hlines(range(n + 1), 0, m, color="#888888", linewidth=0.6)
    axis.vlines(range(m + 1), 0, n, color="#888888", linewidth=0.6)
    for row, column in pairs:
        corner = (column + 0.05, row + 0.05)
        axis.add_patch(Rectangle(corner, 0.9, 0.9, fill=False, edgecolor=PAIRED, linewidth=3))
    axis.set(xlim=(0, m), ylim=(n, 0))
    axis.axis("off")


def crop_segment(image: Tensor, mask: Tensor, size: int = 48, margin: float = 0.15) -> Tensor:
    """A square picture (3, size, size), floats 0..1, of a segment: its box with some margin around, the rest dimmed.

    Args:
        image: (3, H, W) floats 0..1, or bytes.
        mask: (H, W) bool, at least one pixel.
        margin: of the longer side of the box.

    Raises:
        ValueError: the mask has another shape or no pixel.
    """
    if mask.shape != image.shape[1:] or not mask.any():
        came = f"{tuple(mask.shape)} with {int(mask.sum())} pixels"
        raise ValueError(f"mask is {came}; expected {tuple(image.shape[1:])} with at least one")
    light = image.float() / 255 if image.dtype == torch.uint8 else image.float()
    shown = light * torch.where(mask, 1.0, FADED)  # (3, H, W)
    rows, columns = mask.nonzero(as_tuple=True)
    top, bottom, left, right = int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1
    side = round(max(right - left, bottom - top) * (1 + 2 * margin)) + 1
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    wide = F.pad(shown, (side, side, side, side))  # black beyond the picture
    square = wide[:, y + side : y + 2 * side, x + side : x + 2 * side]  # (3, side, side)
    return F.interpolate(square[None], (size, size), mode="nearest-exact")[0]
