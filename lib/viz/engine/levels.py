"""How well networks answer clicks on parts, things, groups and stuff, side by side (lesson 18)."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lib.datasets.toyworld.levels import LEVELS
from lib.viz.basics.draw import PAGE
from lib.viz.detection.curves import LINES

GROUP = 0.8  # of a level's width are bars


def draw_levels(networks: Mapping[str, Sequence[dict[str, Any]]], clicks: int, title: str = "") -> Figure:
    """A group of bars for each level, a bar for each network: the mean of its runs, which are dots.

    Args:
        networks: by name what was measured in each run: {"part, by clicks": IoU after 1, 2, ... clicks, ...}.
        clicks: after how many.

    Raises:
        ValueError: there is no network, a network has no run, or more networks than colours.
    """
    if not 0 < len(networks) <= len(LINES) or not all(networks.values()):
        runs = {name: len(several) for name, several in networks.items()}
        raise ValueError(f"networks has the runs {runs}; expected 1 to {len(LINES)} networks, with a run at least")
    figure, axis = plt.subplots(figsize=(PAGE, 3.4), layout="constrained", facecolor="white")
    width = GROUP / len(networks)
    for place, (name, several) in enumerate(networks.items()):
        ious = np.array([[run[f"{level}, by clicks"][clicks - 1] for level in LEVELS] for run in several])  # (R, 4)
        at = np.arange(len(LEVELS)) + (place - (len(networks) - 1) / 2) * width  # (4,)
        axis.bar(at, ious.mean(axis=0), 0.93 * width, color=LINES[place], label=name)
        axis.plot(np.tile(at, len(several)), ious.ravel(), ".", color="black", markersize=4)
    axis.set(xticks=range(len(LEVELS)), xticklabels=LEVELS, ylim=(0, 1), ylabel=f"IoU after {clicks} clicks")
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(f"{title}; dots: single runs" if title else "dots: single runs", fontsize=11)
    figure.legend(loc="outside lower center", ncols=len(networks), frameon=False, fontsize=9)
    return figure
