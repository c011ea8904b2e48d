"""Which words of a caption see each other (lesson 19)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from lib.viz.basics.draw import PAGE
from lib.viz.detection.boxes import class_colour

CELL = 0.34  # inches
HIDDEN, LINES, ACROSS = "#F2F2F2", "#C8C8C8", "#777777"  # unseen; between cells; seen from another phrase


def draw_sub_sentences(words: Sequence[str], hidden: Tensor, title: str = "a word (row) sees (column)") -> Figure:
    """Who sees whom as a table: coloured where a row's word sees a column's; each phrase has its colour.

    What is seen from another phrase is grey, so that a caption whose words all see each other is told at once.

    Args:
        words: T tokens, such as "small", "red", "cone", ".", "sphere", "."; "." ends a phrase.
        hidden: (T, T) bool, True where the first does not see the second.

    Raises:
        ValueError: there is no word, or the table has another shape or type.
    """
    count = len(words)
    if not count or hidden.shape != (count, count) or hidden.dtype != torch.bool:
        came = f"{tuple(hidden.shape)} {hidden.dtype}"
        raise ValueError(f"hidden is {came} for {count} words; expected (T, T) bool, at least one word")
    owners = phrases_of(words)
    table = np.empty((count, count, 3))
    for row, column in np.ndindex(count, count):
        seen = class_colour(1 + owners[row]) if owners[row] == owners[column] else ACROSS
        table[row, column] = to_rgb(HIDDEN if hidden[row, column] else seen)
    side = min(CELL * count, PAGE - 2.2)
    figure, axis = plt.subplots(figsize=(side + 1.6, side + 1.4), layout="constrained", facecolor="white")
    axis.imshow(table, interpolation="nearest")
    axis.set(xticks=range(count), yticks=range(count), yticklabels=words)
    axis.set_xticklabels(words, rotation=90)
    axis.tick_params(length=0, labelsize=10, top=True, labeltop=True, bottom=False, labelbottom=False)
    for place, owner in enumerate(owners):
        for label in (axis.get_xticklabels()[place], axis.get_yticklabels()[place]):
            label.set(weight="bold", color=_dark(class_colour(1 + owner)))
    edges = np.arange(count + 1) - 0.5
    axis.hlines(edges, -0.5, count - 0.5, color=LINES, linewidth=0.8, clip_on=False)
    axis.vlines(edges, -0.5, count - 0.5, color=LINES, linewidth=0.8, clip_on=False)
    axis.spines[:].set_visible(False)
    axis.set_title(title, fontsize=11, pad=10)
    return figure


def phrases_of(words: Sequence[str]) -> list[int]:
    """To which phrase each token belongs, from 0; a "." belongs to the phrase that it ends."""
    owners, phrase = [], 0
    for word in words:
        owners.append(phrase)
        phrase += word == "."
    return owners


def _dark(colour: str) -> tuple[float, float, float]:
    """A colour dark enough to be read as letters on white."""
    red, green, blue = to_rgb(colour)
    share = min(1.0, 0.42 / (0.3 * red + 0.59 * green + 0.11 * blue))
    return share * red, share * green, share * blue
