"""A clip as a strip: a column for each frame, a row for each answer (lesson 16)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from lib.ops.panoptic import VOID, Panoptic
from lib.viz.basics.draw import PAGE
from lib.viz.clips.depths import NO_DEPTH, depth_bar, show_depth
from lib.viz.clips.steady import class_colours, paint_clip, steady_colour, stuff_colour, thing_numbers
from lib.viz.detection.boxes import show_picture
from lib.viz.masks.panoptic import NOBODY, write_numbers
from lib.viz.masks.query_masks import Colour, show_edges

MOST = 12  # frames; more would be too small
LARGEST = 1.9  # inches: of a frame's width
LEFT, RIGHT, TOP, BELOW, GAP = 0.26, 0.6, 0.26, 0.3, 0.05  # inches: row names, scale of depth, frames, legend
LEAST = 0.03  # of the width: where a circle with this radius does not fit into a thing, its number is left out


def draw_clip(
    images: Tensor,
    rows: dict[str, Panoptic | Tensor],
    names: Sequence[str],
    colours: Sequence[Colour] | None = None,
    places: Sequence[int] | None = None,
) -> Figure:
    """The frames of a clip side by side, and below them a row for each panoptic map and each depth.

    A thing has its number's colour, so it is the same in all frames, and in all rows in which it has this number. Stuff
    has the colour of its class, made pale. Depth is on the scale of `draw_depths`.

    Args:
        images: (T, 3, H, W) floats 0..1, or bytes.
        rows: by title: numbers (T, H, W) with their segments, as `clip_panoptic` gives; or depth (T, H, W) in metres,
            infinite where there is none.
        names, colours: of the K classes; None: the colours that boxes have.
        places: the frames' numbers in the clip; None: 0, 1, 2, ...

    Raises:
        ValueError: there are no frames or too many, a shape does not fit, a number of a map has no segment, a class
            no name, or there are other numbers of colours than of names.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not 1 <= len(images) <= MOST:
        raise ValueError(f"images is {tuple(images.shape)}; expected (T, 3, H, W) with 1 to {MOST} frames")
    shades = class_colours(names, colours)
    frames, height, width = len(images), *images.shape[2:]
    if places is not None and len(places) != frames:
        raise ValueError(f"places has {len(places)} entries; expected one for each of {frames} frames")
    measured = [row for row in rows.values() if isinstance(row, Tensor)]
    for title, row in rows.items():
        shape = tuple(row.shape if isinstance(row, Tensor) else row[0].shape)
        if shape != (frames, height, width):
            raise ValueError(f"rows[{title!r}] is {shape}; expected {(frames, height, width)}, as images")
    right = RIGHT if measured else GAP
    wide = min((PAGE - LEFT - right) / frames - GAP, LARGEST)
    high = wide * height / width
    page = (LEFT + frames * (wide + GAP) + right, TOP + (1 + len(rows)) * (high + GAP) + BELOW * bool(rows))
    figure = plt.figure(figsize=page, facecolor="white")

    def axes_of(row: int) -> list[Axes]:
        bottom = (page[1] - TOP - high - row * (high + GAP)) / page[1]
        lefts = [(LEFT + frame * (wide + GAP)) / page[0] for frame in range(frames)]
        return [figure.add_axes((left, bottom, wide / page[0], high / page[1])) for left in lefts]

    first = axes_of(0)
    for image, place, axis in zip(images, range(frames) if places is None else places, first, strict=True):
        show_picture(axis, image)
        axis.set_title(f"frame {place}", fontsize=9, pad=3)
    _name(first[0], "picture")
    for number, (title, row) in enumerate(rows.items(), 1):
        axes = axes_of(number)
        _name(axes[0], title)
        if not isinstance(row, Tensor):
            _show_segments(axes, row, paint_clip(f"rows[{title!r}]", row, shades))
            continue
        for axis, depth in zip(axes, row):
            show_depth(axis, depth)
        place = axes[-1].get_position()
        across = 0.1 / page[0]
        depth_bar(figure, cax=figure.add_axes((place.x1 + across, place.y0, across, place.height)))
    handles = _legend([row for row in rows.values() if not isinstance(row, Tensor)], names, shades)
    if any(not row.isfinite().all() for row in measured):
        handles.append(Patch(facecolor=NO_DEPTH, label="no depth"))
    if handles:
        figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=8,
                      borderaxespad=0.1, columnspacing=1.2, handlelength=1.4)  # fmt: skip
    return figure


def _show_segments(axes: list[Axes], panoptic: Panoptic, painted: np.ndarray) -> None:
    for axis, picture, numbers, things in zip(axes, painted, panoptic[0].cpu().numpy(), thing_numbers(panoptic)):
        show_segments(axis, picture, numbers, things)


def show_segments(axis: Axes, picture: np.ndarray, numbers: np.ndarray, things: np.ndarray) -> None:
    """A frame that `paint_clip` painted, with lines between segments, and on large things their numbers."""
    height, width = numbers.shape
    axis.imshow(picture, interpolation="nearest", extent=(0, width, height, 0))
    show_edges(axis, numbers, numbers.shape, "white", 0.6)
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.axis("off")
    write_numbers(axis, things, LEAST * width)


def _name(axis: Axes, title: str) -> None:
    axis.text(-0.04, 0.5, title, transform=axis.transAxes, rotation=90, ha="right", va="center", fontsize=9)


def _legend(panoptics: list[Panoptic], names: Sequence[str], colours: Sequence[Colour]) -> list[Patch]:
    """Stuff and void; where there is one map alone, also what its things are."""
    stuff = {one["label"] for _, segments in panoptics for one in segments if not one.get("isthing", True)}
    handles = [Patch(facecolor=stuff_colour(colours[label]), label=names[label]) for label in sorted(stuff)]
    if len(panoptics) == 1:
        things = [one for one in panoptics[0][1] if one.get("isthing", True)]
        if len(things) <= MOST:
            handles += [
                Patch(facecolor=steady_colour(one["id"]), label=f"{one['id']}: {names[one['label']]}") for one in things
            ]
    if any((maps == VOID).any() for maps, _ in panoptics):
        handles.append(Patch(facecolor=NOBODY, label="void: no segment"))
    return handles
