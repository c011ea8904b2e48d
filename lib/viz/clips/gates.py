"""How much the gates of each task let through (lesson 16)."""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lib.models.uni_dvps import OPEN
from lib.viz.basics.draw import PAGE

START = 1 / (1 + math.exp(-OPEN))  # what every gate lets through before it has learned
COLUMNS = 40  # of a histogram
BAR, MARK = "#0072B2", "#D55E00"


def draw_gates(shares: dict[str, Tensor]) -> Figure:
    """A histogram for each gate, all on one scale: how large a part of the numbers gets through, from 0 to 1.

    A line marks what a gate lets through at the start, and the title says the mean.

    Args:
        shares: by title, such as "depth, pixels", of any shape, each 0..1.

    Raises:
        ValueError: there is no gate, one has no number, or a number that is no share.
    """
    if not shares:
        raise ValueError("shares is empty; expected at least one gate")
    for title, share in shares.items():
        if share.numel() == 0 or not ((share >= 0) & (share <= 1)).all():
            raise ValueError(f"shares[{title!r}] is {tuple(share.shape)}; expected numbers from 0 to 1, at least one")
    columns = min(2, len(shares))
    rows = -(-len(shares) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(PAGE, 1.7 * rows + 0.5), squeeze=False, sharex=True, sharey=True, layout="constrained",
        facecolor="white",
    )  # fmt: skip
    for axis in list(axes.flat)[len(shares) :]:
        axis.axis("off")
    for axis, (title, share) in zip(axes.flat, shares.items()):
        numbers = share.detach().cpu().double().flatten()
        counts = torch.histc(numbers, COLUMNS, 0, 1) / len(numbers)  # (COLUMNS,)
        axis.bar(np.arange(COLUMNS) / COLUMNS, counts.numpy(), 1 / COLUMNS, align="edge", color=BAR)
        axis.axvline(START, color=MARK, linewidth=1.5, linestyle="--")
        axis.set_title(f"{title}: mean {numbers.mean():.2f}", fontsize=10)
        axis.set(xlim=(0, 1), ylim=(0, None))
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    first = axes[0, 0]
    first.text(START - 0.01, 0.97, f"at the start: {START:.2f}", color=MARK, fontsize=8, ha="right", va="top",
               transform=first.get_xaxis_transform())  # fmt: skip
    figure.supxlabel("share that a gate lets through", fontsize=9)
    figure.supylabel("share of all numbers", fontsize=9)
    return figure
