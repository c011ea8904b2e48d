"""What the panels of a drawn detector show: one function for each kind of picture (from lesson 06)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from lib.viz.attention.maps import paint_heat
from lib.viz.basics.draw import overlay, to_pixels
from lib.viz.detection.boxes import box_patch, class_colour, show_picture, thin_boxes
from lib.viz.detection.pyramid import level_colour
from lib.viz.diagrams.system import Stage
from lib.viz.explorer.feature_pictures import pca_colours

SEEN = 0.05  # answers of one-stage detectors with a lower score are not drawn; the models drop them as well
Draw = Callable[[Axes], object]


def shape_of(values: Tensor) -> str:
    """The sides of a tensor as a reader writes them: 96 × 12 × 12."""
    return " × ".join(str(side) for side in values.shape)


def picture_stage(image: Tensor) -> Stage:
    """The first stage of all: the picture (3, H, W) itself."""
    return Stage("picture", lambda axis: show_picture(axis, image), shape_of(image))


def feature_map(features: Tensor) -> Draw:
    """A map (C, h, w) in colours: like cells look alike."""
    return lambda axis: axis.imshow(pca_colours(features.cpu()), aspect="auto")


def levels(pictures: Sequence[np.ndarray], maps: Sequence[Tensor]) -> Draw:
    """A picture (H, W, 3) for each level of a pyramid, as large as its map (..., h, w) is beside the others.

    The largest map comes first and stands on the left, the others in a column beside it, each in its level's colour.
    """
    rows, columns = maps[0].shape[-2:]

    def draw(axis: Axes) -> None:
        foot = rows  # of the column
        for level, (picture, one) in enumerate(zip(pictures, maps, strict=True)):
            height, width = one.shape[-2:]
            left, top = columns if level else 0, foot - height
            axis.imshow(picture, extent=(left, left + width, top + height, top), aspect="auto")
            colour = level_colour(level)
            axis.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=2))
            foot = top if level else foot
        spare = (1.5 * columns - rows) / 2  # above and below: the panel is square
        axis.set(xlim=(-1, 1.5 * columns + 1), ylim=(rows + spare + 1, -spare - 1))

    return draw


def tiles(pictures: Sequence[np.ndarray]) -> Draw:
    """One picture (s, s, 3), or up to four of them in a square."""

    def draw(axis: Axes) -> None:
        for (x, y, side), picture in zip(tile_places(len(pictures)), pictures):
            axis.imshow(picture, extent=(x, x + side, y, y + side), interpolation="nearest", aspect="auto")
        axis.set(xlim=(0, 1), ylim=(0, 1), facecolor="white")

    return draw


def tile_places(count: int) -> list[tuple[float, float, float]]:
    """Left, bottom and side of up to four squares in the square from 0 to 1."""
    if count == 1:
        return [(0.0, 0.0, 1.0)]
    return [(x, y, 0.485) for y in (0.515, 0.0) for x in (0.0, 0.515)][:count]


def asking(image: Tensor, maps: Tensor) -> Draw:
    """Where each of up to four queries looks, (n, h, w)."""

    def draw(axis: Axes) -> None:
        for (x, y, side), heat in zip(tile_places(len(maps)), maps):
            extent = (x, x + side, y, y + side)
            axis.imshow(to_pixels(image), extent=extent)
            paint_heat(axis, heat, extent)
        axis.set(xlim=(0, 1), ylim=(0, 1), facecolor="white")

    return draw


def class_table(probability: Tensor) -> Draw:
    """Answers (Q, K + 1) as a table, bright where sure."""
    return lambda axis: axis.imshow(probability.numpy(), cmap="viridis", vmin=0, vmax=1, aspect="auto")


def vectors(values: Tensor) -> Draw:
    """Vectors (Q, C), one a row: blue is below 0, red above."""
    most = max(float(values.abs().max()), 1e-12)
    return lambda axis: axis.imshow(
        values.numpy(), cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", interpolation="nearest"
    )


def like_colours(maps: Sequence[Tensor]) -> list[np.ndarray]:
    """Maps (C, h, w) of several sizes in the same colours: cells with like features look alike on all of them."""
    cells = torch.cat([one.flatten(1) for one in maps], dim=1)  # (C, Σ h·w)
    colours = np.split(pca_colours(cells[:, None])[0], np.cumsum([one[0].numel() for one in maps])[:-1])
    return [some.reshape(*one.shape[1:], 3) for some, one in zip(colours, maps)]


def sure_cells(image: Tensor, heat: Tensor) -> Draw:
    """The best score of each cell (h, w), laid over the picture."""
    return lambda axis: axis.imshow(overlay(image, heat))


def all_boxes(image: Tensor, boxes: Tensor) -> Draw:
    """Boxes (n, 4) xyxy, thin and white; many of them are fainter, so that the picture stays visible below."""

    def draw(axis: Axes) -> None:
        show_picture(axis, image, dim=0.4)
        thin_boxes(axis, boxes.cpu(), "white", width=0.9, opacity=0.8 if len(boxes) <= 20 else 0.45)

    return draw


def sure_boxes(image: Tensor, boxes: Tensor, scores: Tensor) -> Draw:
    """Boxes (n, 4) of a score above `SEEN`, in the colours of their classes; scores (n, C) of labels 1 to C."""

    def draw(axis: Axes) -> None:
        show_picture(axis, image, dim=0.4)
        for place in range(scores.shape[1]):
            thin_boxes(axis, boxes[scores[:, place] > SEEN].cpu(), class_colour(place + 1), width=0.9)
        axis.set(xlim=(0, image.shape[2]), ylim=(image.shape[1], 0))

    return draw


def boxes_of_levels(image: Tensor, boxes: Tensor, of: Tensor, width: float = 0.9) -> Draw:
    """Boxes (n, 4) in the colours of the levels (n,) of a pyramid that they come from."""

    def draw(axis: Axes) -> None:
        show_picture(axis, image, dim=0.4)
        for level in of.unique().tolist():
            thin_boxes(axis, boxes[of == level].cpu(), level_colour(level), width)
        axis.set(xlim=(0, image.shape[2]), ylim=(image.shape[1], 0))

    return draw


def detections(image: Tensor, found: dict[str, Tensor], least: float) -> Draw:
    """The detections with a score of at least `least`, in the colours of their classes."""

    def draw(axis: Axes) -> None:
        show_picture(axis, image, dim=0.4)
        for box, score, label in zip(found["boxes"].cpu(), found["scores"], found["labels"].tolist()):
            if score >= least:
                box_patch(axis, box, class_colour(label))

    return draw


def count_of(found: dict[str, Tensor], least: float) -> str:
    """How many detections `detections` draws, as the line below the panel."""
    return f"{int((found['scores'] >= least).sum())} boxes\nof score {least:g} or more"
