"""Queries of a clip as points in a plane: does a thing stay where it is from frame to frame? (lesson 16)"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from torch import Tensor

from lib.viz.basics.draw import PAGE
from lib.viz.clips.steady import steady_colour
from lib.viz.masks.query_masks import Colour

MARKERS = ("o", "s", "^", "D", "P", "X", "v", "*", "p", "h")  # by class
INK = "#333333"


def draw_query_cloud(
    places: Tensor, things: Tensor, labels: Tensor, names: Sequence[str], colours: dict[int, Colour] | None = None
) -> Figure:
    """A point for each query of each frame, in the colour of its thing, with the marker of its class.

    A line joins the points of a thing from frame to frame, and its number stands at the last one.

    Args:
        places: (N, 2), such as t-SNE gives; the two axes have no unit and no meaning.
        things: (N,) int64, the thing's number, from 1; those of one thing in the order of the frames.
        labels: (N,) int64, places in `names`, at most ten classes.
        names: of the K classes.
        colours: by number of the thing; None: those of `draw_clip`.

    Raises:
        ValueError: there is no point, a shape does not fit, a number is below 1, or a class has no name, no marker, or
            a thing no colour.
    """
    if places.ndim != 2 or places.shape[1] != 2 or not len(places):
        raise ValueError(f"places is {tuple(places.shape)}; expected (N, 2), at least one point")
    for name, each in (("things", things), ("labels", labels)):
        if each.shape != places.shape[:1] or each.is_floating_point():
            raise ValueError(f"{name} is {tuple(each.shape)} {each.dtype}; expected ({len(places)},) whole numbers")
    if things.min() < 1:
        raise ValueError(f"things has {int(things.min())}; expected numbers from 1")
    most = min(len(names), len(MARKERS))
    if labels.min() < 0 or labels.max() >= most:
        raise ValueError(f"labels has {int(labels.min())} to {int(labels.max())}; expected 0..{most - 1}")
    numbers = things.unique().tolist()
    shades = {number: steady_colour(number) for number in numbers} if colours is None else colours
    strangers = [number for number in numbers if number not in shades]
    if strangers:
        raise ValueError(f"colours has none for {strangers[0]}; expected one for each of {numbers}")
    figure, axis = plt.subplots(figsize=(0.75 * PAGE, 4.2), layout="constrained", facecolor="white")
    halo = [withStroke(linewidth=2.5, foreground="white")]
    for number in numbers:
        own, kinds = places[things == number].detach().cpu(), labels[things == number]  # (n, 2), (n,)
        axis.plot(own[:, 0], own[:, 1], color=shades[number], linewidth=1.0, alpha=0.8, zorder=1)
        for kind in kinds.unique().tolist():
            some = own[(kinds == kind).cpu()]
            axis.scatter(some[:, 0], some[:, 1], s=55, color=shades[number], marker=MARKERS[kind],
                         edgecolors="white", linewidths=0.3, zorder=2)  # fmt: skip
        last = (float(own[-1, 0]), float(own[-1, 1]))
        axis.annotate(str(number), last, (5, 4), textcoords="offset points", fontsize=9, weight="bold", color=INK,
                      path_effects=halo, zorder=3)  # fmt: skip
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_color("#BBBBBB")
    axis.margins(0.08)
    handles = [
        Line2D([], [], color=INK, marker=MARKERS[label], linestyle="", markersize=6, label=names[label])
        for label in labels.unique().tolist()
    ]
    handles.append(Line2D([], [], color=INK, linewidth=0.8, label="a thing, from frame to frame"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    return figure
