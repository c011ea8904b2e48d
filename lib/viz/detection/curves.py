"""Three plots of detection: precision and recall, recall and proposals, speed and AP (from lesson 05)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.timing import human_time
from lib.viz.detection.boxes import CLASS_COLOURS

Numbers = Tensor | Sequence[float]
MARKERS = "osD^vPX"  # beside the colours, for readers who cannot tell these
LINES = (*(CLASS_COLOURS[place] for place in (4, 1, 6, 5, 2, 7)), "black")


def draw_precision_recall(
    curves: dict[str, tuple[Numbers, Numbers]], interpolated: bool = False, size: float = 4.2
) -> Figure:
    """Precision over recall, one line for each title.

    Args:
        curves: by title, (recall, precision), equally many numbers, from the most certain box on.
        interpolated: also draw, as steps, the highest precision at this recall or any higher one: what AP adds up.

    Raises:
        ValueError: no curves, or a curve whose two lists are not equally long.
    """
    figure, axis = _plain(
        size, curves, "recall: share of the things that are found", "precision: share of the boxes that are right"
    )
    for place, (title, (recall, precision)) in enumerate(curves.items()):
        recall, precision = _pair(title, recall, precision)
        axis.plot(
            recall,
            precision,
            color=LINES[place % 7],
            marker=MARKERS[place % 7],
            markersize=4,
            linewidth=1.4,
            label=title,
        )
        if interpolated and len(recall):
            highest = precision.flip(0).cummax(0).values.flip(0)  # (n,) the best from here on
            edges = torch.cat([torch.zeros(1), recall])
            axis.stairs(highest, edges, baseline=0, fill=True, color=LINES[place % 7], alpha=0.15)
            line = {"color": LINES[place % 7], "linestyle": "--", "linewidth": 1.2}
            axis.stairs(highest, edges, baseline=None, label=f"{title}, teeth filled; the area is its AP", **line)
    axis.set(xlim=(0, 1.02), ylim=(0, 1.04))
    axis.set_title("down the list of detections, from the most certain on", fontsize=10)
    axis.legend(fontsize=9, loc="lower left")
    return figure


def draw_recall_curve(
    curves: dict[str, tuple[Numbers, Numbers]], iou_threshold: float = 0.5, log: bool = True, size: float = 4.2
) -> Figure:
    """Recall over the number of proposals that a picture may have, one line for each title.

    Args:
        curves: by title, (numbers of proposals, recalls), equally many.
        iou_threshold: from which overlap an object counted as found; only for the label of the axis.
        log: a step to the right multiplies the number of proposals, instead of adding to it.

    Raises:
        ValueError: no curves, or a curve whose two lists are not equally long.
    """
    figure, axis = _plain(size, curves, "proposals per picture", f"recall at IoU {iou_threshold:g}")
    for place, (title, (numbers, recalls)) in enumerate(curves.items()):
        numbers, recalls = _pair(title, numbers, recalls)
        axis.plot(
            numbers,
            recalls,
            color=LINES[place % 7],
            marker=MARKERS[place % 7],
            markersize=5,
            linewidth=1.6,
            label=title,
        )
    if log:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(lambda value, place: f"{value:,.0f}")
        axis.xaxis.set_minor_formatter("")
    axis.set_ylim(0, 1.02)
    axis.legend(fontsize=9, loc="best")  # where it covers no curve
    return figure


def draw_speed_accuracy(models: dict[str, tuple[float, float]], size: float = 4.6) -> Figure:
    """Time for one picture (to the right is slower; each line is ten times as much) against AP, one point per model.

    Args:
        models: by name, (seconds per picture, AP from 0 to 1).

    Raises:
        ValueError: no models, or seconds that are not above 0.
    """
    figure, axis = _plain(size, models, "time for one picture (less is better)", "AP (more is better)")
    for place, (name, (seconds, ap)) in enumerate(models.items()):
        if not seconds > 0:
            raise ValueError(f"models[{name!r}] takes {seconds} seconds; expected more than 0")
        axis.plot([seconds], [ap], color=LINES[place % 7], marker=MARKERS[place % 7], markersize=10, linestyle="none")
        shown = f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.2g} ms"
        below = any(0 < other - ap < 0.15 and 0.6 < time / seconds < 1.6 for time, other in models.values())
        axis.annotate(
            f"{name}\n{shown}, AP {ap:.2f}",
            (seconds, ap),
            xytext=(0, -11 if below else 11),  # below where another model's point stands above
            textcoords="offset points",
            fontsize=9,
            ha="center",
            va="top" if below else "bottom",
        )
    seconds, values = zip(*models.values())
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda value, place: human_time(value))
    axis.xaxis.set_minor_formatter("")
    axis.set(xlim=(min(seconds) / 4, max(seconds) * 4), ylim=(0, max(0.1, 1.3 * max(values))))
    return figure


def _plain(size: float, given: dict, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    if not given:
        raise ValueError("curves or models is empty; expected at least one entry")
    figure, axis = plt.subplots(figsize=(1.4 * size, size), layout="constrained", facecolor="white")
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.grid(color="#DDDDDD", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis


def _pair(title: str, first: Numbers, second: Numbers) -> tuple[Tensor, Tensor]:
    pair = [torch.as_tensor(values).detach().cpu().float() for values in (first, second)]
    if pair[0].ndim != 1 or pair[0].shape != pair[1].shape:
        raise ValueError(
            f"curves[{title!r}] has lists of {tuple(pair[0].shape)} and {tuple(pair[1].shape)}; expected (n,) both"
        )
    return pair[0], pair[1]
