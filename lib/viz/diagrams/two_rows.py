"""The sheet on which Grounded SAM is drawn: two rows of stages, the losses between them, and all ways (lesson 19).

The style is that of `lib.viz.diagrams.system`, which has one row.
"""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.viz.diagrams.system import (
    INK,
    LOSS_COLOURS,
    NAMES,
    OLD,
    WIDTH,
    WORDS,
    Loss,
    Stage,
    draw_loss,
    place_stage,
    slowest,
    without_times,
)

COLUMNS, GAP = 6, 0.28  # stages in a row, and inches between two of them
TITLE, BAR, TIME, LOSS, WAY, FOOT = 0.52, 0.3, 0.22, 0.22, 0.2, 0.26  # inches: heights, from above to below
PITCH = WIDTH / COLUMNS
SIDE = PITCH - GAP


class TwoRows(NamedTuple):
    """What a drawing in two rows needs."""

    upper: tuple[Stage, ...]  # caption, text encoder, enhancer, selection, decoder, answers
    lower: tuple[Stage, ...]  # picture, backbone; SAM's encoder, prompt encoder, mask decoder, masks
    losses: tuple[Loss, ...]  # of the upper row
    title: str

    def draw(self, timed: bool = True) -> Figure:
        """The drawing, with the times or without them."""
        if timed:
            return _draw(self)
        return _draw(self._replace(upper=tuple(without_times(self.upper)), lower=tuple(without_times(self.lower))))


def _draw(plan: TwoRows) -> Figure:
    """Both rows, the losses between them, and the ways from stage to stage."""
    times = (BAR + TIME) * any(stage.milliseconds is not None for stage in (*plan.upper, *plan.lower))
    low = FOOT + WAY + WORDS  # where the pictures of the lower row stand
    judged = low + SIDE + NAMES + times + WAY  # where the losses end
    high = judged + LOSS * len(plan.losses) + WORDS  # where those of the upper row stand
    height = high + SIDE + NAMES + times + TITLE
    figure = plt.figure(figsize=(WIDTH, height), facecolor="white")
    paper = figure.add_axes((0, 0, 1, 1))  # measured in inches, from the lower left corner
    paper.set(xlim=(0, WIDTH), ylim=(0, height))
    paper.axis("off")
    longest = slowest((*plan.upper, *plan.lower))
    for row, foot in ((plan.upper, high), (plan.lower, low)):
        for number, stage in enumerate(row):
            place_stage(paper, stage, (_left(number), foot), SIDE, longest, BAR)
        if times:
            paper.text(
                GAP / 2, foot + SIDE + NAMES, "how long it takes", va="bottom", fontsize=7.5, color=INK, style="italic"
            )
    _ways(paper, high, low, judged - WAY / 2)
    for place, loss in enumerate(plan.losses):
        gaps = [(_left(number + 1) - GAP, _left(number)) for number in loss.past]
        ends, y = (_left(loss.at) + SIDE, _left(loss.back_to)), judged + LOSS * (len(plan.losses) - place - 0.5)
        draw_loss(paper, loss, ends, y, LOSS_COLOURS[place], gaps)
    words = "how far the gradient\nof each loss runs back:\nto both encoders, and\nto the backbone below"
    paper.text(GAP / 2, high - WORDS, words, va="top", fontsize=7.5, color=INK, style="italic", linespacing=1.1)
    _frozen(paper, FOOT / 2)
    paper.text(WIDTH / 2, height - 0.06, plan.title, ha="center", va="top", fontsize=10.5)
    key = "L09 ...: the lesson that built it; orange frame: new; dotted: the gradient passes by"
    paper.text(WIDTH / 2, height - 0.27, key, ha="center", va="top", fontsize=8, color=INK)
    return figure


def _left(number: int) -> float:
    """Left edge of a stage's picture, inches."""
    return number * PITCH + GAP / 2


def _ways(paper: Axes, high: float, low: float, between: float) -> None:
    """All arrows: those within the rows whose pictures stand at `high` and `low`, and those that lead elsewhere."""
    upper, lower, below = high + SIDE / 2, low + SIDE / 2, low - WORDS - WAY / 2
    straight = [(number, upper) for number in range(1, COLUMNS)] + [(number, lower) for number in (1, 4, 5)]
    for number, y in straight:
        _way(paper, ((_left(number) - GAP, y), (_left(number), y)))
    under, third = high + 0.2 * SIDE, GAP / 6
    x = 2 * PITCH - third  # the backbone's map, up to the enhancer
    _way(paper, ((_left(2) - GAP, lower), (x, lower), (x, under), (_left(2), under)))
    x, end = PITCH, 2 * PITCH + third  # the picture, to SAM's encoder
    _way(paper, ((x, lower), (x, below), (end, below), (end, lower), (_left(2), lower)))
    x, end, under = 3 * PITCH - third, 4 * PITCH, low + 0.2 * SIDE  # SAM's embedding, to its mask decoder
    _way(paper, ((_left(3) - GAP, lower), (x, lower), (x, below), (end, below), (end, under), (_left(4), under)))
    right, end = COLUMNS * PITCH - third, 3 * PITCH + third  # boxes, as prompts
    way = (
        (_left(COLUMNS) - GAP, upper),
        (right, upper),
        (right, between),
        (end, between),
        (end, lower),
        (_left(3), lower),
    )
    _way(paper, way)
    paper.text(
        4.5 * PITCH, between, "each box that is found is a prompt", ha="center", va="center", fontsize=7.5, color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip


def _way(paper: Axes, corners: Sequence[tuple[float, float]]) -> None:
    """A line around these corners, with an arrow's head at its end."""
    paper.plot(*zip(*corners[:-1]), color=INK, linewidth=1, solid_joinstyle="miter")
    look = {"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0}
    paper.annotate("", corners[-1], corners[-2], arrowprops=look)


def _frozen(paper: Axes, y: float) -> None:
    """Below SAM: it learns nothing here."""
    left, right = _left(2), _left(5) + SIDE
    paper.plot((left, right), (y, y), ":", color=OLD, linewidth=1.6)
    paper.text(
        (left + right) / 2, y, "SAM learned before: no gradient reaches it", ha="center", va="center",
        fontsize=7.5, color=INK, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip
