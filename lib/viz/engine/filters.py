"""What filters leave of a flood of masks, and whether their scores tell good ones from bad (lesson 18)."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from lib.training.data_engine import SAME
from lib.viz.basics.draw import PAGE

GOOD, BAD, FOUND, LIMIT = "#0072B2", "#BBBBBB", "#D55E00", "#D55E00"
CELLS, MEANS = 25, 10  # of a score: cells of its histogram, and steps for each of which a mean is drawn


class FilterStage(NamedTuple):
    """What is left after a filter, of one picture or of many."""

    name: str
    good: int  # masks that are the same as a truth
    bad: int  # all others
    found: float | None = None  # share of the truths that have a mask; None: it is not known


def draw_funnel(stages: Sequence[FilterStage], title: str = "what the filters leave") -> Figure:
    """How many masks are left after each filter, how many of them are good, and how many truths still have one.

    Args:
        stages: the first one before any filter.

    Raises:
        ValueError: there is no stage, a count is below 0, or a share is outside of 0..1.
    """
    known = any(stage.found is not None for stage in stages)
    size = (PAGE, 1.45 + 0.34 * len(stages))
    figure = plt.figure(figsize=size, layout="constrained", facecolor="white")
    grid = figure.add_gridspec(1, 1 + known, width_ratios=(2.4, 1)[: 1 + known])
    axis = figure.add_subplot(grid[0])
    show_funnel(axis, stages)
    if known:
        shares = figure.add_subplot(grid[1], sharey=axis)
        show_shares(shares, stages)
        shares.tick_params(labelleft=False)
    figure.suptitle(title, fontsize=11)
    handles = [Patch(color=GOOD, label=f"same as a truth (IoU ≥ {SAME})"), Patch(color=BAD, label="not")]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def show_funnel(axis: Axes, stages: Sequence[FilterStage], judged: bool = True) -> None:
    """A bar for each stage, from top to bottom, with its numbers; see `draw_funnel`.

    Args:
        judged: whether it is known which masks are good; if not, `bad` is the number of all.
    """
    if not stages:
        raise ValueError("stages is empty; expected at least one")
    for stage in stages:
        if stage.good < 0 or stage.bad < 0 or not 0 <= (stage.found or 0) <= 1:
            raise ValueError(f"stages has {stage}; expected counts of at least 0 and a share in 0..1")
    most = max(max(stage.good + stage.bad for stage in stages), 1)
    for place, stage in enumerate(stages):
        total = stage.good + stage.bad
        axis.barh(place, stage.good, 0.62, color=GOOD)
        axis.barh(place, stage.bad, 0.62, left=stage.good, color=BAD)
        words = f"{total:,}, {stage.good:,} good ({stage.good / max(total, 1):.1%})" if judged else f"{total:,}"
        axis.text(total + 0.012 * most, place, words, va="center", fontsize=9)
    axis.set_yticks(range(len(stages)), [stage.name for stage in stages], fontsize=9)
    axis.set(xlim=(0, (1.62 if judged else 1.2) * most), ylim=(len(stages) - 0.5, -0.5), xlabel="masks that are left")
    _plain(axis)


def show_shares(axis: Axes, stages: Sequence[FilterStage]) -> None:
    """The share of the truths that have a mask after each stage, as a line from top to bottom."""
    pairs = [(stage.found, place) for place, stage in enumerate(stages) if stage.found is not None]
    axis.plot(*zip(*pairs), color=FOUND, marker="o", linewidth=1.8)
    for found, place in pairs:
        beyond = found > 0.7  # there the number stands left of the line
        axis.annotate(
            f"{found:.1%}", (found, place), xytext=(-8 if beyond else 8, 0), textcoords="offset points",
            ha="right" if beyond else "left", va="center", fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip
    axis.set(xlim=(0, 1.03), xlabel="truths that have a mask", xticks=(0, 0.5, 1))
    axis.xaxis.set_major_formatter(lambda value, place: f"{value:.0%}")
    axis.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    _plain(axis)


def draw_score_against_iou(scores: dict[str, tuple[Tensor, float]], ious: Tensor) -> Figure:
    """Does a score say how good a mask is? One panel for each score, all masks in it; see `show_score_against_iou`.

    Args:
        scores: by name the score of each mask (M,), 0..1, and the threshold that is to be marked.
        ious: (M,) of each mask with the truth that it is closest to.

    Raises:
        ValueError: there is no score, or there are other numbers of scores than of IoUs.
    """
    if not scores:
        raise ValueError("scores is empty; expected at least one")
    figure, axes = plt.subplots(
        1, len(scores), figsize=(min(PAGE, 4.7 * len(scores)), 4.5), squeeze=False, sharey=True, layout="constrained",
        facecolor="white",
    )  # fmt: skip
    for axis, (name, (values, threshold)) in zip(axes[0], scores.items(), strict=True):
        show_score_against_iou(axis, values, ious, threshold, name)
        axis.label_outer()
    most = max(float(axis.collections[0].get_array().max()) for axis in axes[0])
    for axis in axes[0]:
        axis.collections[0].set_norm(LogNorm(1, max(most, 10)))  # one scale for all panels
    figure.colorbar(axes[0][0].collections[0], ax=list(axes[0]), label="masks in a cell", pad=0.015, shrink=0.9)
    figure.suptitle(f"does the score say how good a mask is? All {len(ious):,} masks", fontsize=11)
    handles = [
        Line2D([], [], color="black", marker="o", markersize=5, label=f"mean IoU in steps of {1 / MEANS:g}"),
        Line2D([], [], color=LIMIT, linestyle="--", label="threshold of the filter"),
        Line2D([], [], color="#666666", linestyle=":", label=f"IoU {SAME}: same as a truth from here on"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def show_score_against_iou(axis: Axes, scores: Tensor, ious: Tensor, threshold: float, name: str) -> None:
    """A score (M,) from left to right, the real IoU (M,) upwards: how many masks lie in each cell, and the mean IoU.

    The title says of the masks below the threshold, and of those from it on, how many they are and what share is good.
    Scores outside of 0..1 are drawn at the edge.

    Raises:
        ValueError: there are other numbers of scores than of IoUs, or none.
    """
    if scores.ndim != 1 or scores.shape != ious.shape or not len(scores):
        raise ValueError(f"{name} has scores {tuple(scores.shape)}, ious is {tuple(ious.shape)}; expected (M,) both")
    x, y = (one.detach().cpu().float().clamp(0, 1).numpy() for one in (scores, ious))
    counts, across, up = np.histogram2d(x, y, bins=CELLS, range=((0, 1), (0, 1)))  # (CELLS, CELLS)
    axis.pcolormesh(across, up, np.ma.masked_equal(counts.T, 0), cmap="Blues", norm=LogNorm(1, max(counts.max(), 10)))
    step = np.minimum((MEANS * x).astype(int), MEANS - 1)  # (M,)
    middles = [(place, y[step == place].mean()) for place in range(MEANS) if (step == place).any()]
    axis.plot(
        *zip(*(((place + 0.5) / MEANS, mean) for place, mean in middles)), color="black", marker="o", markersize=5
    )
    axis.axhline(SAME, color="#666666", linestyle=":", linewidth=1.4)
    axis.axvline(threshold, color=LIMIT, linestyle="--", linewidth=1.8)
    kept = scores.detach().cpu() >= threshold
    shares = [_good_of(ious.detach().cpu()[which]) for which in (~kept, kept)]
    axis.set_title(f"below {threshold:g}: {shares[0]}\nfrom {threshold:g} on: {shares[1]}", fontsize=10)
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel=name, ylabel="IoU with the closest truth")
    axis.spines[["top", "right"]].set_visible(False)


def _good_of(ious: Tensor) -> str:
    """Such as "120 masks, 35.0% good"."""
    return f"{len(ious):,} masks" + (f", {torch.mean((ious >= SAME).float()):.1%} good" if len(ious) else "")


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
