"""What each round of a data engine costs and brings (lesson 18)."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.datasets.toyworld.levels import LEVELS
from lib.viz.basics.draw import PAGE
from lib.viz.detection.curves import LINES, MARKERS

Round = dict[
    str, Any
]  # what `lib.training.data_engine.summary` gives, with "round" and, where somebody draws, the seconds
BAR, BY_HAND = "#56B4E9", "#202020"
MANY = 7  # rounds; names of more are written slantwise


def draw_rounds(rounds: Sequence[Round], others: Sequence[Sequence[Round]] = ()) -> Figure:
    """Three plots with the rounds from left to right: seconds a mask, masks a picture, truths that have a mask.

    Args:
        rounds: in order, of each "round" (its name), "seconds a mask" and "by hand, a mask" (left out or None where
            nobody draws), "masks", "pictures", and for each level a share such as "found, part" (None: not drawn).
        others: the same rounds from other seeds, drawn as thin marks.

    Raises:
        ValueError: there is no round, a key is missing, or other seeds have other rounds.
    """
    if not rounds:
        raise ValueError("rounds is empty; expected at least one")
    names = [_of(one, "round") for one in rounds]
    for number, other in enumerate(others):
        if [one.get("round") for one in other] != names:
            raise ValueError(f"others has number {number} with other rounds; expected {names}")
    figure, axes = plt.subplots(3, 1, figsize=(PAGE, 7.2), sharex=True, layout="constrained", facecolor="white")
    show_seconds(axes[0], rounds, others)
    show_masks(axes[1], rounds, others)
    show_found(axes[2], rounds, others)
    slant = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len(names) > MANY else {}
    axes[2].set_xticks(range(len(names)), names, **slant)
    axes[2].set_xlim(-0.6, len(names) - 0.4)
    what = "what the rounds of the engine cost and bring"
    figure.suptitle(f"{what}; marks: {len(others)} more seeds" if others else what, fontsize=11)
    return figure


def show_seconds(axis: Axes, rounds: Sequence[Round], others: Sequence[Sequence[Round]] = ()) -> None:
    """Bars: the annotator's seconds for a mask, and a dashed line: those for the same masks drawn by hand."""

    def seconds(one: Round) -> float | None:
        return one.get("seconds a mask")

    def by_hand(one: Round) -> float | None:
        return one.get("by hand, a mask")

    _bars(axis, rounds, others, seconds, "nobody draws")
    axis.containers[0].set_label("with the model's help")
    places, values = _known(rounds, by_hand)
    axis.plot(places, values, color=BY_HAND, linestyle="--", marker="_", markersize=14, label="all by hand")
    most = max([*values, *_known(rounds, seconds)[1], 1.0])
    axis.set(ylim=(0, 1.35 * most), ylabel="seconds a mask")
    if values:
        axis.legend(frameon=False, fontsize=9, loc="upper right", ncols=2)


def show_masks(axis: Axes, rounds: Sequence[Round], others: Sequence[Sequence[Round]] = ()) -> None:
    """Bars: how many masks a picture has."""

    def masks(one: Round) -> float | None:
        pictures = _of(one, "pictures")
        return _of(one, "masks") / pictures if pictures else None

    _bars(axis, rounds, others, masks, "no picture")
    most = max([value for run in (rounds, *others) for value in _known(run, masks)[1]], default=1.0)
    axis.set(ylim=(0, 1.2 * max(most, 1e-9)), ylabel="masks a picture")


def show_found(axis: Axes, rounds: Sequence[Round], others: Sequence[Sequence[Round]] = ()) -> None:
    """Lines, one for each level: the share of its truths that have a mask. Their names stand at the right."""
    for place, level in enumerate(LEVELS):

        def found(one: Round, level: str = level) -> float | None:
            return _of(one, f"found, {level}")

        colour, marker = LINES[place], MARKERS[place]
        axis.plot(*_known(rounds, found), color=colour, marker=marker, markersize=6, linewidth=1.8)
        for other in others:
            axis.plot(*_known(other, found), color=colour, marker=marker, markersize=4, linestyle="none", alpha=0.45)
    handles = [
        Line2D([], [], color=LINES[place], marker=MARKERS[place], label=level) for place, level in enumerate(LEVELS)
    ]
    axis.legend(
        handles=handles, frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.4
    )
    axis.set(ylim=(-0.03, 1.05), ylabel="truths that have a mask")
    axis.yaxis.set_major_formatter(lambda value, place: f"{value:.0%}")
    _plain(axis)


def _bars(
    axis: Axes,
    rounds: Sequence[Round],
    others: Sequence[Sequence[Round]],
    value: Callable[[Round], float | None],
    absent: str,
) -> None:
    """A bar with its number for each round; where it has none, a word instead. Other seeds are thin marks."""
    places, values = _known(rounds, value)
    axis.bar(places, values, 0.62, color=BAR)
    marks = [_known(other, value) for other in others]
    for where, heights in marks:
        axis.plot(where, heights, "_", color="#404040", markersize=22, markeredgewidth=1)
    for place, one in enumerate(rounds):
        known = value(one)
        tops = [heights[where.index(place)] for where, heights in marks if place in where]
        high = max([known or 0.0, *tops])
        said, ink = (absent, "#666666") if known is None else (f"{known:.1f}", "black")
        axis.annotate(
            said, (place, high), xytext=(0, 5), textcoords="offset points", ha="center", va="bottom", fontsize=9,
            color=ink, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4}, zorder=4,
        )  # fmt: skip
    _plain(axis)


def _known(rounds: Sequence[Round], value: Callable[[Round], float | None]) -> tuple[list[int], list[float]]:
    """The places of the rounds that have a value, and these values."""
    pairs = [(place, known) for place, one in enumerate(rounds) if (known := value(one)) is not None]
    return [place for place, _ in pairs], [known for _, known in pairs]


def _of(one: Round, key: str) -> Any:
    if key not in one:
        raise ValueError(f"rounds has one without {key!r}; it has {sorted(one)}")
    return one[key]


def _plain(axis: Axes) -> None:
    axis.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(axis="x", length=0)
