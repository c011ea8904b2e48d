"""The focal loss to play with: who counts how much, for every γ and α? (lesson 10)"""

import ipywidgets
import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.ops.losses import sigmoid_focal_loss
from lib.viz.basics.picture_widget import PictureWidget
from lib.viz.detection.focal import NEGATIVE, POSITIVE

MARKED = (0.5, 0.9, 0.99)  # probabilities of the truth that are written out
COLUMNS = 40  # of the histogram of a trained network's answers


def explore_focal(logits: Tensor, targets: Tensor, gamma: float = 0.0, alpha: float = 0.5) -> "FocalExplorer":
    """Move γ and α, and see the curve, what it does to easy answers, and whose the loss of these answers is.

    Args:
        logits: of any shape, what a network said.
        targets: 0 or 1, of the same shape.
        gamma: 0 to 5. alpha: 0 to 1, the weight of positives; negatives have 1 − α.

    Raises:
        ValueError: the shapes differ, or a number is out of range.
    """
    if logits.shape != targets.shape:
        raise ValueError(f"targets is {tuple(targets.shape)}; expected {tuple(logits.shape)}, as many as logits")
    if not 0 <= gamma <= 5:
        raise ValueError(f"gamma is {gamma!r}; expected a number from 0 to 5")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha!r}; expected a number from 0 to 1")
    return FocalExplorer(logits.detach().cpu().flatten(), targets.detach().cpu().flatten(), gamma, alpha)


class FocalExplorer(PictureWidget):
    """What `explore_focal` gives. `gamma` and `alpha` can be set from Python too."""

    gamma = traitlets.Float(0.0)
    alpha = traitlets.Float(0.5)

    def __init__(self, logits: Tensor, targets: Tensor, gamma: float, alpha: float) -> None:
        self.logits, self.targets = logits, targets
        self.gamma, self.alpha = gamma, alpha
        power = ipywidgets.FloatSlider(gamma, min=0, max=5, step=0.25, description="γ", continuous_update=False)
        weight = ipywidgets.FloatSlider(alpha, min=0, max=1, step=0.05, description="α", continuous_update=False)
        super().__init__([power, weight])
        self.link("gamma", power)
        self.link("alpha", weight)
        self.draw()

    def losses(self) -> Tensor:
        """The loss of each answer as the controls stand, (N,)."""
        return sigmoid_focal_loss(self.logits, self.targets, self.alpha, self.gamma)

    def share_of_background(self) -> float:
        """The share of the whole loss that the answers on background have."""
        losses = self.losses()
        return float(losses[self.targets == 0].sum() / losses.sum().clamp(min=1e-12))

    def kept(self) -> dict[float, float]:
        """What an answer keeps of its cross-entropy, without α, by the probability that it gives to the truth."""
        return {p: (1 - p) ** self.gamma for p in MARKED}

    def __repr__(self) -> str:
        kept = ", ".join(f"{share:.2g} of it at p = {p:g}" for p, share in self.kept().items())
        return (
            f"FocalExplorer: γ = {self.gamma:g}, α = {self.alpha:g}; of cross-entropy is left {kept}; "
            f"background has {self.share_of_background():.0%} of the loss"
        )

    def figure(self) -> Figure:
        """The curve, and the loss of the given answers by the probability that they give to the truth."""
        figure = Figure(figsize=(9.2, 3.9), facecolor="white")
        left, right = (
            figure.add_axes((x, 0.15, 0.4, 0.72)) for x in (0.07, 0.57)
        )  # fixed: a search for places is slow
        self._curves(left)
        self._answers(right)
        return figure

    def _curves(self, axis: Axes) -> None:
        logits = torch.linspace(-5, 8, 400)
        p, yes = logits.sigmoid(), torch.ones_like(logits)
        axis.plot(p, sigmoid_focal_loss(logits, yes, -1, 0), ":", color="#777777", label="cross-entropy")
        kinds = ((self.alpha, "-", POSITIVE, "a positive"), (1 - self.alpha, "--", NEGATIVE, "background"))
        for weight, style, colour, name in kinds:  # dashed, because with α = ½ one lies on the other
            axis.plot(p, weight * sigmoid_focal_loss(logits, yes, -1, self.gamma), style, color=colour, label=name)
        left = "\n".join(f"p = {p:g}: × {share:.2g}" for p, share in self.kept().items())
        axis.text(0.97, 0.6, f"γ leaves\n{left}", transform=axis.transAxes, ha="right", va="center", fontsize=9)
        axis.set(xlim=(0, 1), ylim=(0, 4), xlabel="probability that the truth gets", ylabel="loss of one answer")
        axis.set_title(f"γ = {self.gamma:g}, α = {self.alpha:g}", fontsize=10)
        axis.legend(fontsize=9, frameon=False, loc="upper right")

    def _answers(self, axis: Axes) -> None:
        of_truth = torch.where(self.targets > 0, self.logits, -self.logits).sigmoid().double()  # (N,)
        losses = self.losses().double()
        share = losses / losses.sum().clamp(min=1e-12)
        edges = torch.linspace(0, 1, COLUMNS + 1).double()
        foot = torch.zeros(COLUMNS).double()
        for kind, colour, name in ((1, POSITIVE, "positives"), (0, NEGATIVE, "background")):
            mine = self.targets == kind
            place = (of_truth[mine] * COLUMNS).long().clamp(max=COLUMNS - 1)
            high = torch.zeros(COLUMNS).double().index_add(0, place, share[mine])  # (COLUMNS,)
            axis.bar(edges[:-1], high, 1 / COLUMNS, bottom=foot, align="edge", color=colour, label=name)
            foot = foot + high
        axis.set(xlim=(0, 1), ylim=(0, max(0.05, 1.25 * float(foot.max()))))
        axis.set(xlabel="probability that the truth gets: right is easy", ylabel="share of the loss")
        axis.set_title(f"these {len(losses):,} answers: background has {self.share_of_background():.0%}", fontsize=10)
        axis.legend(fontsize=9, frameon=False, loc="upper left")
