"""Bars of each level: as high as the mean of the runs, which are dots."""

import matplotlib.pyplot as plt
import pytest

from lib.datasets.toyworld.levels import LEVELS
from lib.viz.engine.levels import draw_levels


def measured(first):
    return {f"{level}, by clicks": [0.0, first + place / 10] for place, level in enumerate(LEVELS)}


def test_bars_are_means_and_dots_are_runs():
    figure = draw_levels({"before": [measured(0.1)], "after": [measured(0.2), measured(0.4)]}, clicks=2, title="steps")
    (axis,) = figure.axes
    before, after = ([bar.get_height() for bar in bars] for bars in axis.containers)
    assert before == pytest.approx([0.1, 0.2, 0.3, 0.4]) and after == pytest.approx([0.3, 0.4, 0.5, 0.6])
    assert axis.lines[1].get_ydata().tolist() == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.4, 0.5, 0.6, 0.7])
    lefts = sorted(bar.get_x() for bars in axis.containers for bar in bars)
    assert all(left + axis.containers[0][0].get_width() < right for left, right in zip(lefts, lefts[1:]))
    assert axis.get_ylabel() == "IoU after 2 clicks" and axis.get_title().startswith("steps")
    plt.close(figure)


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="expected 1 to"):
        draw_levels({}, 1)
    with pytest.raises(ValueError, match="'before': 0"):
        draw_levels({"before": []}, 1)
