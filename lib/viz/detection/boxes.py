"""Boxes on a picture: the strokes and name tags that all pictures of detection share (from lesson 05)."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from torch import Tensor

from lib.ops.boxes import box_iou
from lib.ops.boxes import check_boxes as check_shape
from lib.viz.basics.draw import to_pixels

# By label; 0 is background. Out of the eight colours of Okabe & Ito (2008), those for 1 to 5 are the five that differ
# most for readers with and without colour blindness alike. More labels than colours begin again at label 1.
CLASS_COLOURS = ("#888888", "#D55E00", "#56B4E9", "#F0E442", "#0072B2", "#CC79A7", "#009E73", "#E69F00")
TRUTH_COLOUR = "white"
FAINT = "#BBBBBB"


def class_colour(label: int) -> str:
    """The colour of a label: 0 is grey, the others go round."""
    return CLASS_COLOURS[0] if label == 0 else CLASS_COLOURS[1 + (label - 1) % (len(CLASS_COLOURS) - 1)]


def ink_on(colour: str) -> str:
    """Black or white, whichever is easier to read on this colour."""
    return "black" if _luminance(colour) > 0.4 else "white"


def check_boxes(name: str, boxes: Tensor) -> Tensor:
    """Boxes (N, 4) as floats on the processor.

    Raises:
        ValueError: they are not (N, 4); it begins with `name`.
    """
    check_shape(name, boxes)
    return boxes.detach().cpu().float()


def show_picture(axis: Axes, image: Tensor, title: str = "", dim: float = 0.0) -> None:
    """A picture on an axis whose coordinates are those of boxes: pixel (x, y) covers [x, x + 1] × [y, y + 1].

    Args:
        image: (3, H, W) floats 0..1. Small pictures show their pixels as blocks.
        dim: 0 shows the picture as it is, 1 only grey; in between, thin lines on it are easier to see.
    """
    pixels = to_pixels(image).astype(np.float32) / 255  # (H, W, 3)
    height, width = pixels.shape[:2]
    pixels = (1 - dim) * pixels + dim * (0.5 + 0.3 * (pixels.mean(2, keepdims=True) - 0.5))
    axis.imshow(
        pixels, interpolation="nearest" if max(height, width) <= 200 else "antialiased", extent=(0, width, height, 0)
    )
    axis.set_title(title, fontsize=10)
    axis.axis("off")


def box_patch(axis: Axes, box: Tensor, colour: str, width: float = 2.0, style: str = "-", fill: float = 0.0) -> None:
    """One box with a halo, so that it can be seen on any ground: dark around light colours, white around dark ones.

    Args:
        box: (4,) xyxy.
        width: of the line in points.
        fill: opacity of the inside.
    """
    x1, y1, x2, y2 = box.tolist()
    corner, size = (x1, y1), (x2 - x1, y2 - y1)
    halo = "white" if _luminance(colour) < 0.4 else "#202020"
    for stroke, thickness, line in ((halo, width + 1.8, "-"), (colour, width, style)):
        axis.add_patch(
            Rectangle(
                corner, *size, fill=False, edgecolor=stroke, linewidth=thickness, linestyle=line, joinstyle="miter"
            )
        )
    if fill:
        axis.add_patch(Rectangle(corner, *size, facecolor=colour, alpha=fill, edgecolor="none"))


def thin_boxes(
    axis: Axes, boxes: Tensor, colour: str, width: float = 0.8, opacity: float = 0.8, style: str = "-"
) -> None:
    """Many boxes (N, 4) at once, as thin lines."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3, 0, 1]].reshape(-1, 5, 2)  # (N, 5, 2): round and back
    axis.add_collection(
        LineCollection(corners.numpy(), colors=colour, linewidths=width, alpha=opacity, linestyles=style), autolim=False
    )


def place_tags(
    axis: Axes, boxes: Tensor, texts: Sequence[str], colours: Sequence[str], inches: float, fontsize: float = 8
) -> None:
    """Write a text at each box: outside of it where there is room, never on the middle of any box or on another text.

    Args:
        boxes: (N, 4). Of boxes in a crowd, the first get the better places.
        texts: N; an empty one is left out.
        inches: width of the axis, from which follows how much of the picture a text covers.
    """
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    unit = (right - left) / inches / 72  # pixels of the picture to a point
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2  # (N, 2)
    taken: list[tuple[float, float, float, float]] = []
    for box, text, colour in zip(boxes.tolist(), texts, colours):
        if not text:
            continue
        width = (TextPath((0, 0), text, size=fontsize).get_extents().width + 5) * unit
        height = (fontsize + 4) * unit
        spots = [(x, y, x + width, y + height) for x, y in _corners_of(box, width, height)]
        spots = [
            spot for spot in spots if left <= spot[0] and spot[2] <= right and top <= spot[1] and spot[3] <= bottom
        ]
        free = [spot for spot in spots if not any(_overlap(spot, other) for other in taken)]
        clear = [
            spot
            for spot in free or spots
            if not any(spot[0] <= x <= spot[2] and spot[1] <= y <= spot[3] for x, y in middles.tolist())
        ]
        if not clear:
            continue  # better no text than one on an object
        spot = clear[0]
        taken.append(spot)
        axis.text(
            (spot[0] + spot[2]) / 2,
            (spot[1] + spot[3]) / 2,
            text,
            fontsize=fontsize,
            ha="center",
            va="center",
            color=ink_on(colour),
            bbox={"boxstyle": "square,pad=0.12", "facecolor": colour, "edgecolor": "#202020", "lw": 0.6},
        )


def best_overlaps(boxes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """For each of M true boxes the highest IoU with any of `boxes`, and which one that is: (M,), (M,); 0, -1 if none.

    `max` alone would fail for an empty list of boxes.
    """
    if len(boxes) == 0 or len(truth) == 0:
        return torch.zeros(len(truth)), torch.full((len(truth),), -1)
    return box_iou(truth, boxes).max(dim=1)


def _corners_of(box: list[float], width: float, height: float) -> list[tuple[float, float]]:
    """Left upper corners for a text at a box: above, below, beside, at last inside along the edges."""
    x1, y1, x2, y2 = box
    return [
        (x1, y1 - height),
        (x2 - width, y1 - height),
        (x1, y2),
        (x2 - width, y2),
        (x2, y1),
        (x1 - width, y1),
        (x2, y2 - height),
        (x1 - width, y2 - height),
        (x1, y1),
        (x1, y2 - height),
        (x2 - width, y1),
        (x2 - width, y2 - height),
    ]


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _luminance(colour: str) -> float:
    red, green, blue = to_rgb(colour)
    return 0.3 * red + 0.59 * green + 0.11 * blue
