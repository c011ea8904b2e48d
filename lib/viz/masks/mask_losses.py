"""What a loss asks for overlooking a mask, depending on the mask's size (lesson 15)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from lib.viz.basics.draw import PAGE
from lib.viz.detection.curves import LINES, MARKERS

APART = 0.065  # of the plot's height, between the names of two curves


def draw_loss_of_silence(areas: Sequence[float], curves: dict[str, Sequence[float]], size: float = 3.4) -> Figure:
    """The loss of answering "nowhere" over the area of the true mask, a line for each loss, named at its right end.

    Args:
        areas: pixels of the true masks, at least two, rising; they are spaced by their logarithms.
        curves: by the loss's name, what it asks, as many numbers as areas.
        size: height in inches.

    Raises:
        ValueError: there is no curve, or no two areas, they do not rise from above 0, or a curve has another length.
    """
    if len(areas) < 2 or not all(0 < one < other for one, other in zip(areas, areas[1:])):
        raise ValueError(f"areas is {list(areas)}; expected at least two numbers above 0, rising")
    if not curves:
        raise ValueError("curves is empty; expected at least one")
    for name, losses in curves.items():
        if len(losses) != len(areas):
            raise ValueError(f"curves[{name!r}] has {len(losses)} numbers; expected {len(areas)}, as areas")
    figure, axis = plt.subplots(figsize=(PAGE * 0.8, size), layout="constrained", facecolor="white")
    for number, losses in enumerate(curves.values()):
        axis.plot(areas, losses, color=LINES[number % 7], marker=MARKERS[number % 7], markersize=4, linewidth=1.8)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set(xlabel="area of the true mask, pixels", ylabel='loss of the answer "nowhere"', xlim=(areas[0], areas[-1]))
    axis.set_title("what it costs to miss a mask", fontsize=10)
    axis.set_ylim(bottom=0)
    axis.grid(color="#DDDDDD", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    top = axis.get_ylim()[1]
    for number, name, height in _spread({name: losses[-1] / top for name, losses in curves.items()}):
        axis.text(
            1.015, height, name, transform=axis.transAxes, va="center", fontsize=10, color=LINES[number % 7],
            weight="bold",
        )  # fmt: skip
    return figure


def _spread(ends: dict[str, float]) -> list[tuple[int, str, float]]:
    """Number, name and height of each curve's name: at the curve's end (0..1), or higher where another one stands."""
    order = sorted(enumerate(ends.items()), key=lambda each: each[1][1])
    placed: list[tuple[int, str, float]] = []
    for number, (name, end) in order:
        placed.append((number, name, max(end, placed[-1][2] + APART) if placed else end))
    return placed
