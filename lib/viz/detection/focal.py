"""Whose loss is it? Pictures of what a dense detector learns from (lesson 10)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from lib.ops.losses import sigmoid_focal_loss, sigmoid_focal_slope
from lib.viz.basics.draw import PAGE, panels
from lib.viz.detection.boxes import CLASS_COLOURS, show_picture
from lib.viz.detection.curves import LINES, MARKERS

POSITIVE, NEGATIVE = CLASS_COLOURS[1], CLASS_COLOURS[4]  # orange and blue
POINTS = 600  # of a drawn line
FURTHEST = 8.0  # logits that the curves reach to, in both directions


def draw_loss_of_places(
    image: Tensor, anchors: Tensor, losses: dict[str, Tensor], positive: Tensor, size: float = 4.2
) -> Figure:
    """A dot for each anchor, as large as its share of the picture's loss: in each panel the same amount of ink.

    The anchors of one place have the same middle; their dots are spread around it, in the order of the anchors.

    Args:
        image: (3, H, W) floats 0..1.
        anchors: (A, 4) xyxy, all anchors of a place in a row.
        losses: by title, (A,) of at least 0. Anchors that are not learned from have 0.
        positive: (A,) bool.
        size: width of a panel in inches.

    Raises:
        ValueError: there are no losses, or not one number for each anchor.
    """
    if not losses:
        raise ValueError("losses is empty; expected at least one")
    for title, loss in losses.items():
        if loss.shape != positive.shape or len(loss) != len(anchors):
            raise ValueError(f"losses[{title!r}] is {tuple(loss.shape)} for {len(anchors)} anchors; expected one each")
    places = _spread(anchors)  # (A, 2)
    figure, axes = panels(len(losses), 3, size, image.shape[-2] / image.shape[-1])
    ink = (72 * size) ** 2 / 6  # square points of all dots of a panel together
    for axis, (title, loss) in zip(axes, losses.items()):
        show_picture(axis, image, dim=0.75)
        share = loss / loss.sum().clamp(min=1e-12)  # (A,)
        for kind, colour in ((~positive, NEGATIVE), (positive, POSITIVE)):
            x, y = places[kind].unbind(dim=1)
            axis.scatter(x, y, s=ink * share[kind], color=colour, alpha=0.75, linewidths=0, clip_on=False)
        axis.set(xlim=(-0.5, image.shape[-1] - 0.5), ylim=(image.shape[-2] - 0.5, -0.5))
        axis.set_title(f"{title}\nbackground has {share[~positive].sum():.0%} of the loss", fontsize=10)
    handles = [
        Line2D([], [], marker="o", linestyle="none", color=colour, label=label)
        for colour, label in ((NEGATIVE, "an anchor on background"), (POSITIVE, "an anchor on a thing"))
    ]
    figure.set_figheight(figure.get_figheight() + 0.4)  # room for titles of two lines
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def draw_to_scale(shares: dict[str, tuple[float, float]], names: tuple[str, str], title: str = "") -> Figure:
    """Bars of one length, each cut at the place that its two numbers give: positives left, background right.

    Args:
        shares: by the bar's name, how many positives and how many negatives (or their losses).
        names: what the two parts are called.
        title: above the bars.

    Raises:
        ValueError: there is no bar, or one has nothing to show.
    """
    if not shares or any(min(pair) < 0 or sum(pair) <= 0 for pair in shares.values()):
        raise ValueError(f"shares is {shares}; expected at least one pair of numbers, not both 0")
    figure, axis = plt.subplots(figsize=(PAGE, 0.75 + 0.42 * len(shares)), layout="constrained", facecolor="white")
    for row, (positive, negative) in enumerate(shares.values()):
        cut = positive / (positive + negative)
        axis.barh(row, cut, color=POSITIVE)
        axis.barh(row, 1 - cut, left=cut, color=NEGATIVE)
        axis.text(1.01, row, f"{cut:.0%}" if cut > 0.1 else f"{cut:.1%}", va="center", fontsize=9)
    axis.set_yticks(range(len(shares)), list(shares), fontsize=9)
    axis.invert_yaxis()
    axis.set(xlim=(0, 1), xticks=[])
    axis.spines[:].set_visible(False)
    axis.tick_params(left=False)
    axis.set_title(title, fontsize=10)
    handles = [Patch(color=colour, label=label) for colour, label in zip((POSITIVE, NEGATIVE), names)]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def draw_focal_curves(gammas: Sequence[float] = (0, 0.5, 1, 2, 5), size: float = 3.4) -> Figure:
    """The loss of a positive, and how hard it pulls at the logit: over the probability that it gets, a line for each γ.

    A dot is where a line of the right panel is highest.

    Raises:
        ValueError: there is no γ.
    """
    if not gammas:
        raise ValueError("gammas is empty; expected at least one")
    figure, axes = plt.subplots(1, 2, figsize=(PAGE, size), layout="constrained", facecolor="white")
    logits = torch.linspace(-FURTHEST, FURTHEST, 801)
    yes, p = torch.ones_like(logits), logits.sigmoid()
    for number, gamma in enumerate(gammas):
        colour, name = LINES[number % 7], f"γ = {gamma:g}" + (", cross-entropy" if gamma == 0 else "")
        axes[0].plot(p, sigmoid_focal_loss(logits, yes, -1, gamma), color=colour, label=name)
        pull = -sigmoid_focal_slope(logits, yes, gamma)  # (801,)
        axes[1].plot(p, pull, color=colour, label=name)
        top = int(pull.argmax())
        axes[1].plot(p[top], pull[top], "o", color=colour)
    _probability(axes[0], "loss", 4)
    _probability(axes[1], "pull at the logit", 1.5)
    axes[0].legend(fontsize=9, frameon=False)
    return figure


def draw_cumulative(
    shares: dict[str, dict[str, Tensor]], starts: dict[str, float] | None = None, size: float = 3.6
) -> Figure:
    """How much of the loss the easiest answers have together: a panel for each kind, a line for each loss.

    The dotted line is what it would be if all answers counted the same.

    Args:
        shares: by the panel's title, by the line's name, (N,) rising to 1, see `cumulative_share` of lesson 10.
        starts: by the panel's title, where its axis begins (0 to 1), if a curve lies flat for long.

    Raises:
        ValueError: there is no panel, or one without a line.
    """
    if not shares or not all(shares.values()):
        raise ValueError("shares is empty or has an empty panel; expected at least one line each")
    figure, axes = plt.subplots(
        1, len(shares), figsize=(PAGE, size), layout="constrained", facecolor="white", squeeze=False
    )
    for axis, (title, lines) in zip(axes[0], shares.items()):
        start = (starts or {}).get(title, 0.0)
        for number, (name, share) in enumerate(lines.items()):
            place = torch.linspace(start, 1, min(len(share), POINTS)).double()  # enough for a line
            rank = (place * (len(share) - 1)).round().long()
            axis.plot(place, share.cpu()[rank], color=LINES[number % 7], label=name)
        axis.plot((0, 1), (0, 1), ":", color="#777777")
        axis.set_title(title, fontsize=10)
        axis.set(xlabel="share of the answers, the easiest first", ylabel="share of the loss", ylim=(0, 1))
        axis.set_xlim(start, 1)
        _tidy(axis)
    axes[0, 0].legend(fontsize=9, frameon=False)
    return figure


def draw_runs(
    runs: dict[str, Sequence[float]], label: str = "AP", size: float = 3.2, colours: Sequence[str] | None = None
) -> Figure:
    """A dot for each run (seed), and a line at their mean, for several ways of doing the same.

    Args:
        runs: by name, one number for each seed.
        label: of the axis.
        colours: of each way; None: each has its own, and its own marker.

    Raises:
        ValueError: there are no runs, or nothing to show for one of them.
    """
    if not runs or not all(len(values) for values in runs.values()):
        raise ValueError("runs is empty or has an empty entry; expected at least one number each")
    figure, axis = plt.subplots(figsize=(PAGE, size), layout="constrained", facecolor="white")
    for place, values in enumerate(runs.values()):
        mean = sum(values) / len(values)
        colour, marker = (LINES[place % 7], MARKERS[place % 7]) if colours is None else (colours[place], "o")
        axis.plot(values, [place] * len(values), marker, color=colour, alpha=0.8, markersize=7)
        axis.plot((mean, mean), (place - 0.3, place + 0.3), color=colour, linewidth=2)
        axis.annotate(f"{mean:.3f}", (mean, place - 0.34), ha="center", va="bottom", fontsize=9)
    axis.set_yticks(range(len(runs)), list(runs))
    axis.set(xlabel=label, ylim=(len(runs) - 0.4, -0.75))
    _tidy(axis)
    return figure


def _spread(anchors: Tensor) -> Tensor:
    """A place of its own for each anchor (A, 2): around its middle, in rows, as those of one place share a middle."""
    middles = (anchors[:, :2] + anchors[:, 2:]) / 2  # (A, 2)
    different, first = middles[:, 0].unique(), middles[0]
    stride = float(different.diff().min()) if len(different) > 1 else 1.0
    together = int((middles == first).all(dim=1).sum())  # anchors of one place
    side = -(-(together**0.5) // 1)  # of the square that has room for them
    number = torch.arange(len(anchors)) % together
    offset = torch.stack([number % side, number // side], dim=1) - (side - 1) / 2  # (A, 2)
    return middles + offset * stride / side


def _probability(axis: Axes, label: str, top: float) -> None:
    axis.set(xlabel="p_t, the probability of the truth", ylabel=label, xlim=(0, 1), ylim=(0, top))
    _tidy(axis)


def _tidy(axis: Axes) -> None:
    axis.grid(color="#DDDDDD", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
