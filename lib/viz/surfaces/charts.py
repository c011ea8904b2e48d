"""Bodies looked at part by part: what is painted on their charts, the charts of a picture, and clothes (lesson 13).

Where u is 1/2, a toyworld figure's part is seen from the front; u = 0 and u = 1 meet behind. u = 1/4 is the side of
the figure's own left hand, which is on the right in the picture of one that looks at us.
"""

from collections.abc import Sequence
from math import ceil, floor

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from lib.datasets.toyworld import PARTS
from lib.viz.basics.draw import PAGE, to_pixels

BODY = PARTS[1:7]  # head, torso, arms and legs: what a figure consists of
# Okabe & Ito (2008), in the order of BODY: left limbs are blue, right ones red.
PART_COLOURS = ("#E69F00", "#009E73", "#56B4E9", "#D55E00", "#0072B2", "#CC79A7")
NOTHING = "#E4E4E4"  # where there is no part
# Once around a limb: dark behind, blue on the figure's left, bright in front, red on its right.
AROUND = LinearSegmentedColormap.from_list("around", ("#1B1035", "#2C7FB8", "#FFF3B0", "#D7301F", "#1B1035"))
HEAD, BAR = 0.27, 0.2  # inches: for a line of titles, and for the colours of u and v
FINE = 4  # dots to a pixel of the painted charts, along each side
SKIN, HAIR, WHITE, BLACK, RED = "#F3C9A0", "#4A2B15", "#FFFFFF", "#1A1A1A", "#D8232A"
SHIRT, STRIPE, LEFT, RIGHT = "#009E73", "#F0E442", "#0072B2", "#E8710A"


def paint_atlas(size: int = 48) -> Tensor:
    """A face and clothes, painted on the charts of a toyworld figure: (7, size, size, 3) floats 0..1, u right, v down.

    Stripes around show v, lines along show u. Left limbs are blue and right ones orange; the heart is on the left.
    Number 0 is no part and grey.

    Raises:
        ValueError: `size` is below 8.
    """
    if size < 8:
        raise ValueError(f"size is {size!r}; expected at least 8")
    place = (torch.arange(FINE * size) + 0.5) / (FINE * size)  # (n,)
    v, u = torch.meshgrid(place, place, indexing="ij")  # (n, n) each
    nothing = _painted(u, NOTHING)
    charts = (nothing, _face(u, v), _shirt(u, v), *(_sleeve(u, v, one) for one in (LEFT, RIGHT)),
              *(_trouser_leg(u, v, one) for one in (LEFT, RIGHT)))  # fmt: skip
    painted = torch.stack(charts).permute(0, 3, 1, 2)  # (7, 3, n, n)
    return F.avg_pool2d(painted, FINE).permute(0, 2, 3, 1).contiguous()  # (7, size, size, 3): smooth edges


def _face(u: Tensor, v: Tensor) -> Tensor:
    away = (u - 0.5).abs()  # from the middle of the front
    eyes = ((away - 0.085) / 0.036).square() + ((v - 0.47) / 0.1).square() < 1
    mouth = (away < 0.12) & ((v - 0.74 + 4.5 * away.square()).abs() < 0.05)
    return _painted(u, SKIN, (eyes, BLACK), (mouth, RED), ((v < 0.24) | (away > 0.27), HAIR))


def _shirt(u: Tensor, v: Tensor) -> Tensor:
    zip_, heart = (u - 0.5).abs() < 0.04, ((u - 0.39) / 0.055).square() + ((v - 0.36) / 0.1).square() < 1
    return _painted(u, SHIRT, ((v * 6) % 2 < 1, STRIPE), (zip_, BLACK), (heart, RED), (v > 0.86, BLACK))


def _sleeve(u: Tensor, v: Tensor, colour: str) -> Tensor:
    rings = ((v * 8) % 2 > 1) & ((u - 0.5).abs() < 0.42)  # open behind
    return _painted(u, colour, (rings, WHITE), (v > 0.86, SKIN))


def _trouser_leg(u: Tensor, v: Tensor, colour: str) -> Tensor:
    away = (u - 0.5).abs()
    knee, front, behind = (v - 0.5).abs() < 0.13, away < 0.065, away > 0.44
    return _painted(u, colour, (front, WHITE), (behind, BLACK), (knee, WHITE), (v > 0.86, BLACK))


def _painted(place: Tensor, ground: str, *layers: tuple[Tensor, str]) -> Tensor:
    """A ground colour, and over it layers: where (n, n) bool, and in which colour. (n, n, 3)."""
    picture = place.new_tensor(to_rgb(ground)).repeat(*place.shape, 1)  # (n, n, 3)
    for where, colour in layers:
        picture[where] = place.new_tensor(to_rgb(colour))
    return picture


def draw_atlas(texture: Tensor, names: Sequence[str] | None = None) -> Figure:
    """The charts side by side, u to the right and v down.

    Args:
        texture: (P + 1, h, w, 3) floats 0..1; number 0, no part, is left out.
        names: P, of the parts from 1 on; None: those of a toyworld figure.

    Raises:
        ValueError: the shape is another, or there are not P names.
    """
    if texture.ndim != 4 or texture.shape[3] != 3 or len(texture) < 2:
        raise ValueError(f"texture is {tuple(texture.shape)}; expected (P + 1, h, w, 3) with at least one part")
    parts = len(texture) - 1
    names = BODY if names is None else names
    if len(names) != parts:
        raise ValueError(f"names has {len(names)} entries; expected {parts}, one for each part")
    side = (PAGE - 0.55) / max(parts, 3) - 0.12  # inches
    figure, axes = _row(parts, side, side, left=0.45, gap=0.12, foot=0.4)
    for axis, chart, name in zip(axes, texture[1:], names):
        axis.imshow(to_pixels(chart.detach().cpu().numpy()), extent=(0, 1, 1, 0))
        axis.set_title(name, fontsize=9, pad=3)
        axis.set_xticks((0, 0.5, 1), ("0", "½", "1"), fontsize=8)
        axis.set_yticks((0, 0.5, 1), ("0", "½", "1") if axis is axes[0] else ("", "", ""), fontsize=8)
        axis.tick_params(length=2, pad=2)
        axis.set_xlabel("u, around", fontsize=8, labelpad=1)
    axes[0].set_ylabel("v, along", fontsize=8, labelpad=1)
    return figure


def draw_charts(image: Tensor | None, parts: Tensor, uv: Tensor, box: Tensor | None = None) -> Figure:
    """What is to be known of bodies: which part each pixel shows, and where on it.

    Args:
        image: (3, H, W) floats 0..1, or None: then only the other three panels are drawn.
        parts: (H, W) whole numbers, 1..6 as in `BODY`; all others count as no part.
        uv: (H, W, 2) floats 0..1.
        box: (4,) xyxy pixels; what is shown is cut to it, with a margin. None: all is shown.

    Raises:
        ValueError: a shape does not fit, or the box holds nothing of the picture.
    """
    if parts.ndim != 2 or parts.numel() == 0:
        raise ValueError(f"parts is {tuple(parts.shape)}; expected (H, W), not empty")
    if uv.shape != (*parts.shape, 2):
        raise ValueError(f"uv is {tuple(uv.shape)}; expected {(*parts.shape, 2)}, as the parts")
    if image is not None and image.shape != (3, *parts.shape):
        raise ValueError(f"image is {tuple(image.shape)}; expected {(3, *parts.shape)}, as the parts")
    rows, columns = _window(box, parts)
    numbers, places = parts.cpu()[rows, columns], uv.detach().cpu()[rows, columns]  # (h, w), (h, w, 2)
    none = ((numbers < 1) | (numbers > len(BODY))).numpy()
    count, gap = 3 if image is None else 4, 0.1
    side = PAGE / 4 - gap  # inches
    figure, axes = _row(count, side, side * numbers.shape[0] / numbers.shape[1], left=gap / 2, gap=gap, foot=0.6)
    for axis in axes:
        axis.axis("off")
    if image is not None:
        axes[0].imshow(to_pixels(image[:, rows, columns]), interpolation="nearest")
        axes[0].set_title("picture", fontsize=10, pad=4)
    which, around, along = axes[-3:]
    which.imshow(part_colours(numbers), interpolation="nearest")
    which.set_title("part", fontsize=10, pad=4)
    which.legend(
        handles=[Patch(color=colour, label=name) for name, colour in zip(BODY, PART_COLOURS)],
        loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2, frameon=False, fontsize=8,
        handlelength=1, columnspacing=1, borderpad=0.2, labelspacing=0.25,
    )  # fmt: skip
    _place(around, places[..., 0].numpy(), none, AROUND, "u, around the part", ("behind", "front", "behind"))
    _place(
        along, places[..., 1].numpy(), none, matplotlib.colormaps["viridis"], "v, along the part", ("top", "", "end")
    )
    return figure


def part_colours(parts: Tensor) -> np.ndarray:
    """Whole numbers of any shape (...) as colours (..., 3), floats 0..1; light grey for what is no part of a body."""
    table = np.array([to_rgb(colour) for colour in (NOTHING, *PART_COLOURS)])
    numbers = parts.detach().cpu().numpy()
    return table[np.where((numbers < 1) | (numbers > len(BODY)), 0, numbers)]


def _place(
    axis: Axes, values: np.ndarray, none: np.ndarray, colours: Colormap, title: str, words: Sequence[str]
) -> None:
    """One of u and v (h, w), and its colours below; what `none` (h, w) says is grey."""
    shown = np.ma.array(values, mask=none)
    axis.imshow(shown, cmap=colours.with_extremes(bad=NOTHING), vmin=0, vmax=1, interpolation="nearest")
    axis.set_title(title, fontsize=10, pad=4)
    below = axis.inset_axes((0.08, -BAR / _inches(axis), 0.84, 0.7 * BAR / _inches(axis)))
    below.imshow(np.linspace(0, 1, 256)[None], cmap=colours, extent=(0, 1, 0, 1), aspect="auto")
    below.set_xticks((0, 0.5, 1), [f"{tick:g}\n{word}" for tick, word in zip((0, 0.5, 1), words)], fontsize=8)
    below.set_yticks(())
    below.tick_params(length=2, pad=1)


def _inches(axis: Axes) -> float:
    """How high an axis is."""
    return axis.get_position().height * axis.figure.get_figheight()


def _row(count: int, side: float, high: float, left: float, gap: float, foot: float) -> tuple[Figure, list[Axes]]:
    """Axes side by side, each `side` × `high` inches, with a line of titles above, and room at the left and below."""
    size = (left + count * (side + gap) - gap + 0.05, HEAD + high + foot)
    figure = plt.figure(figsize=size, facecolor="white")
    axes = [
        figure.add_axes(((left + place * (side + gap)) / size[0], foot / size[1], side / size[0], high / size[1]))
        for place in range(count)
    ]
    return figure, axes


def _window(box: Tensor | None, parts: Tensor) -> tuple[slice, slice]:
    """Rows and columns of the picture that a box takes up, and a tenth of its longer side around."""
    height, width = parts.shape
    if box is None:
        return slice(0, height), slice(0, width)
    if box.shape != (4,):
        raise ValueError(f"box is {tuple(box.shape)}; expected (4,), xyxy")
    x1, y1, x2, y2 = box.tolist()
    margin = 0.1 * max(x2 - x1, y2 - y1)
    left, top = max(floor(x1 - margin), 0), max(floor(y1 - margin), 0)
    right, bottom = min(ceil(x2 + margin), width), min(ceil(y2 + margin), height)
    if not (x1 < x2 and y1 < y2 and left < right and top < bottom):
        raise ValueError(f"box is {box.tolist()}; expected xyxy pixels with an area in a picture of {width} × {height}")
    return slice(top, bottom), slice(left, right)


def wear(image: Tensor, parts: Tensor, colours: Tensor) -> Tensor:
    """The picture with new colours where there is a part, brighter and darker as the picture is there.

    Args:
        image: (3, H, W) floats 0..1.
        parts: (H, W) whole numbers, 0 where nothing is to be painted.
        colours: (H, W, 3) floats 0..1, such as `read_texture` gives.

    Returns:
        (3, H, W) floats 0..1.

    Raises:
        ValueError: a shape does not fit.
    """
    if image.ndim != 3 or len(image) != 3:
        raise ValueError(f"image is {tuple(image.shape)}; expected (3, H, W)")
    if parts.shape != image.shape[1:]:
        raise ValueError(f"parts is {tuple(parts.shape)}; expected {tuple(image.shape[1:])}, as the image")
    if colours.shape != (*parts.shape, 3):
        raise ValueError(f"colours is {tuple(colours.shape)}; expected {(*parts.shape, 3)}")
    bright = image.amax(0)  # (H, W): of a colour's three numbers the largest says most about the light
    worn = image.clone()
    for part in parts.unique().tolist():
        if part:
            here = parts == part  # (H, W)
            shade = (bright[here] / bright[here].median().clamp(min=0.05)).clamp(0.5, 1.3)  # (n,)
            worn[:, here] = (colours[here].T.to(image) * (0.4 + 0.6 * shade)).clamp(0, 1)
    return worn
