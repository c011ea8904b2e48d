"""The whole of a detector in one drawing, the same layout from lesson to lesson (from lesson 06).

From left to right the stages, each with a real picture of what comes out of it. What is new has a coloured frame. Above
each stage the time that it takes, as a bar; below, for each loss, how far its gradient runs back. A stage that does not
follow from the one before it has an arrow of its own, around those between. One that takes the answers of two stages
has a second arrow, below it all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.viz.basics.draw import PAGE

NEW, OLD, INK = "#D55E00", "#888888", "#333333"
LOSS_COLOURS = ("#0072B2", "#CC79A7", "#009E73", "#E69F00")
WIDTH = PAGE  # of the drawing, inches
BARS, NAMES, WORDS, LOSS, TITLE = 0.75, 0.42, 0.42, 0.24, 0.32  # heights of its rows, inches
DETOUR = 0.14  # height of the way around, where a stage does not take what the one before it gives
NARROW = 1.2  # inches: where a stage has less, words below the first one take a line more
GAP = 0.22  # inches between two stages, for the arrow


@dataclass(frozen=True)
class Stage:
    """One station on the way from the picture to the answer.

    Attributes:
        name: what it is called, at most two lines.
        draw: called with an axis, draws on it what comes out of the stage.
        words: shape or number of what comes out, at most two lines.
        milliseconds: how long it takes; None where nothing is computed.
        new: whether it is what the lesson is about.
        after: number of the stage whose answer it takes, from 0; None: of the one before it.
        also: number of a second stage whose answer it takes; None: there is none.
        lesson: which lesson built it, such as "L09", in the corner of the picture; "": is not said.
    """

    name: str
    draw: Callable[[Axes], object]
    words: str = ""
    milliseconds: float | None = None
    new: bool = False
    after: int | None = None
    also: int | None = None
    lesson: str = ""


@dataclass(frozen=True)
class Loss:
    """A loss, and how far its gradient runs back.

    Attributes:
        name: what it is called.
        at: number of the stage whose answer it judges, from 0.
        back_to: number of the first stage that learns from it, at most `at`.
        past: numbers of stages between that do not; its line is dotted there.
    """

    name: str
    at: int
    back_to: int
    past: tuple[int, ...] = ()


class Plan(NamedTuple):
    """What a drawing of a whole system needs, see `draw_system`."""

    stages: tuple[Stage, ...]
    losses: tuple[Loss, ...]
    title: str

    @property
    def milliseconds(self) -> float:
        """All stages together."""
        return sum(stage.milliseconds or 0.0 for stage in self.stages)

    def draw(self, timed: bool = True, scale: float | None = None) -> Figure:
        """The drawing, with the times or without them."""
        return draw_system(self.stages if timed else without_times(self.stages), self.losses, self.title, scale)


def draw_system(
    stages: Sequence[Stage], losses: Sequence[Loss] = (), title: str = "", scale: float | None = None
) -> Figure:
    """All stages in a row; see the file's first lines for how to read it.

    Args:
        stages: from left to right.
        losses: from top to bottom.
        title: above it all.
        scale: milliseconds of the highest bar there may be, so that several drawings can be compared; None: of the
            slowest stage.

    Raises:
        ValueError: there is no stage, a stage follows one that does not come before it, or a loss names a stage that is
            not there, runs forward, or passes a stage that it does not reach.
    """
    if not stages:
        raise ValueError("stages is empty; expected at least one")
    for number, stage in enumerate(stages):
        for name, before in (("after", stage.after), ("also", stage.also)):
            if before is not None and not 0 <= before < number:
                raise ValueError(f"stages has number {number} {name} {before}; expected 0 <= {name} < {number}")
    for loss in losses:
        if not 0 <= loss.back_to <= loss.at < len(stages):
            raise ValueError(f"losses has {loss}; expected 0 <= back_to <= at < {len(stages)}")
        if not all(loss.back_to < number < loss.at for number in loss.past):
            raise ValueError(f"losses has {loss}; expected back_to < past < at for each number of past")
    pitch = WIDTH / len(stages)
    side = pitch - GAP
    timed = any(stage.milliseconds is not None for stage in stages)
    ways = [any(getattr(stage, name) is not None for stage in stages) for name in ("after", "also")]
    detours = DETOUR * sum(ways)
    height = TITLE * bool(title) + BARS * timed + NAMES + side + WORDS + detours + LOSS * len(losses) + 0.05
    figure = plt.figure(figsize=(WIDTH, height))
    paper = figure.add_axes((0, 0, 1, 1))  # measured in inches, from the lower left corner
    paper.set(xlim=(0, WIDTH), ylim=(0, height))
    paper.axis("off")
    foot = LOSS * len(losses) + detours + WORDS  # where the pictures stand
    longest = scale or slowest(stages)
    for number, stage in enumerate(stages):
        left = number * pitch + GAP / 2
        middle = left + side / 2
        place_stage(paper, stage, (left, foot), side, longest)
        if number:
            start = left - GAP if stage.after is None else left - GAP / 2
            arrow = {"arrowstyle": "-|>", "color": INK, "shrinkA": 2 if stage.after is None else 0}
            paper.annotate("", (left, foot + side / 2), (start, foot + side / 2), arrowprops=arrow)
        if stage.after is not None:  # from behind the other stage, below the words, to this one
            branch, below = (stage.after + 1) * pitch, foot - WORDS - DETOUR / 2
            around = (
                (branch, foot + side / 2),
                (branch, below),
                (number * pitch, below),
                (number * pitch, foot + side / 2),
            )
            paper.plot(*zip(*around), color=INK, linewidth=1, solid_joinstyle="miter")
        if stage.also is not None:  # from below the words of the other stage to below those of this one
            start, top, low = (stage.also + 0.5) * pitch, foot - WORDS + 0.06, foot - WORDS - detours + DETOUR / 2
            paper.plot((start, start, middle), (top, low, low), color=INK, linewidth=1, solid_joinstyle="miter")
            arrow = {"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0}
            paper.annotate("", (middle, top), (middle, low), arrowprops=arrow)
    for row, loss in enumerate(losses):
        ends = ((loss.at + 1) * pitch - GAP / 2, loss.back_to * pitch + GAP / 2)
        gaps = [((number + 1) * pitch - GAP / 2, number * pitch + GAP / 2) for number in loss.past]
        draw_loss(paper, loss, ends, LOSS * (len(losses) - row - 0.5), LOSS_COLOURS[row % len(LOSS_COLOURS)], gaps)
    if timed:
        words, y = "how long it takes", foot + side + NAMES
        paper.text(GAP / 2, y, words, va="bottom", fontsize=7.5, color=INK, style="italic")
    if losses:
        words = (
            "how far the\ngradient of each\nloss runs back"
            if pitch < NARROW
            else "how far the gradient\nof each loss runs back"
        )
        if any(loss.past for loss in losses):
            words += "\n(dotted: passes by)"
        paper.text(GAP / 2, foot - WORDS - detours, words, va="top", fontsize=7.5, color=INK, style="italic")
    if title:
        paper.text(WIDTH / 2, height - 0.06, title, ha="center", va="top", fontsize=10.5)
    return figure


def slowest(stages: Sequence[Stage]) -> float:
    """The milliseconds of the stage that takes longest, 0 if nothing was timed."""
    return max((stage.milliseconds or 0.0 for stage in stages), default=0.0)


def without_times(stages: Sequence[Stage]) -> list[Stage]:
    """The same stages, for a drawing that leaves the times to be guessed."""
    return [replace(stage, milliseconds=None) for stage in stages]


def place_stage(
    paper: Axes, stage: Stage, corner: tuple[float, float], side: float, longest: float, bar: float = BARS - 0.28
) -> None:
    """One stage on the paper: its picture, its name above it, its words below, and its time.

    Args:
        paper: an axis over the whole figure, measured in inches.
        corner: the lower left one of its picture. side: of the picture.
        longest: milliseconds of the highest bar there may be. bar: its height.
    """
    (left, foot), width, height = corner, paper.get_xlim()[1], paper.get_ylim()[1]
    panel = paper.figure.add_axes((left / width, foot / height, side / width, side / height))
    _panel(panel, stage)
    middle, top = left + side / 2, foot + side
    paper.text(middle, top + 0.06, stage.name, ha="center", va="bottom", fontsize=8.5, color=INK, weight="bold")
    paper.text(middle, foot - 0.06, stage.words, ha="center", va="top", fontsize=7.5, color=INK, linespacing=1.1)
    if stage.milliseconds is not None:
        _bar(paper, stage, (middle, top + NAMES), longest, bar)


def _panel(axis: Axes, stage: Stage) -> None:
    stage.draw(axis)
    axis.set(xticks=[], yticks=[], title="", xlabel="", ylabel="")
    axis.axis("on")
    for edge in axis.spines.values():
        edge.set(visible=True, color=NEW if stage.new else OLD, linewidth=3 if stage.new else 0.8)
    if stage.lesson:
        axis.annotate(
            stage.lesson, (0, 1), (2.5, -2.5), "axes fraction", "offset points", ha="left", va="top", fontsize=7,
            color=INK, zorder=9, bbox={"facecolor": "white", "edgecolor": OLD, "linewidth": 0.6, "pad": 1.5},
        )  # fmt: skip


def _bar(paper: Axes, stage: Stage, foot: tuple[float, float], longest: float, most: float) -> None:
    """A bar as high as its share of the longest stage, which has the height `most`, and the number above it."""
    x, y = foot
    time = stage.milliseconds or 0.0
    high = most * time / longest if longest else 0.0
    colour = NEW if stage.new else OLD
    paper.bar(x, high, width=0.4, bottom=y, color=colour)
    paper.plot((x - 0.2, x + 0.2), (y, y), color=colour, linewidth=1)
    said = f"≈ {time:.0f} ms" if time >= 9.95 else f"≈ {time:.1f} ms" if time >= 0.1 else "< 0.1 ms"
    paper.text(x, y + high + 0.03, said, ha="center", va="bottom", fontsize=8, color=INK)


def draw_loss(
    paper: Axes, loss: Loss, ends: tuple[float, float], y: float, colour: str, gaps: Sequence[tuple[float, float]] = ()
) -> None:
    """A line from the judged stage back to the last that learns; its name covers the line's right end.

    It is dotted in the gaps.
    """
    right, left = ends
    paper.annotate("", (left, y), (right, y), arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.6})
    for gap in gaps:
        paper.plot(gap, (y, y), color="white", linewidth=3, zorder=4)
        paper.plot(gap, (y, y), ":", color=colour, linewidth=1.6, zorder=4)
    paper.plot((left, left), (y - 0.08, y + 0.08), color=colour, linewidth=2)
    paper.text(
        right, y, loss.name, ha="right", va="center", fontsize=7.5, color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip
