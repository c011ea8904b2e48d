"""Move the thresholds of the filters, and see which of the grid's masks are left (lesson 18)."""

import ipywidgets
import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.ops.mask_filters import stability_score
from lib.ops.masks import mask_iou
from lib.training.data_engine import SAME
from lib.viz.basics.draw import PAGE
from lib.viz.basics.picture_widget import PictureWidget
from lib.viz.engine.everything import counted, show_everything
from lib.viz.engine.filters import FilterStage, show_funnel, show_shares

Thresholds = tuple[float, float, float]  # least guess, least stability, largest IoU with a better mask
ROW, PICTURE = 2.9, 2.5  # inches: height of a row, side of its picture


class Candidates:
    """All masks that a grid of points gave for a picture, with what the filters ask of them, measured once.

    Masks without a pixel are left out; the others come with the highest guess first.

    Args:
        image: (3, H, W) floats 0..1.
        logits: (M, H, W); a mask is where they are above 0.
        guesses: (M,) of their IoU.
        offset: of the stability, in logits.
        truths: (T, H, W) bool, what can be meant; None: it is not known which masks are good.

    Raises:
        ValueError: shapes do not fit.
    """

    def __init__(
        self, image: Tensor, logits: Tensor, guesses: Tensor, offset: float = 1.0, truths: Tensor | None = None
    ) -> None:
        size = image.shape[-2:]
        for name, masks in (("logits", logits), ("truths", truths)):
            if masks is not None and (masks.ndim != 3 or masks.shape[1:] != size):
                raise ValueError(f"{name} is {tuple(masks.shape)}; expected (M, {size[0]}, {size[1]}), as the picture")
        if guesses.shape != logits.shape[:1]:
            raise ValueError(f"guesses is {tuple(guesses.shape)}; expected ({len(logits)},), one for each mask")
        logits, guesses = logits.detach().cpu(), guesses.detach().cpu()
        order = guesses.argsort(descending=True, stable=True)
        order = order[(logits[order] > 0).flatten(1).any(1)]
        self.image, self.masks, self.guesses = image.detach().cpu(), logits[order] > 0, guesses[order]
        self.stability = stability_score(logits[order], 0.0, offset)  # (M,)
        self.overlap = mask_iou(self.masks, self.masks).numpy()  # (M, M)
        self.truths = None if truths is None else mask_iou(self.masks, truths.cpu())  # (M, T)

    def steps(self, guess: float, stability: float, overlap: float) -> list[Tensor]:
        """The places of the masks that are left, (M,), (K,), ...: all; of a high guess; stable; without duplicates."""
        sure = self.guesses >= guess
        kept = [torch.ones_like(sure), sure, sure & (self.stability >= stability)]
        places = [which.nonzero()[:, 0] for which in kept]
        return [*places, self.distinct(places[-1], overlap)]

    def distinct(self, places: Tensor, overlap: float) -> Tensor:
        """NMS among some masks, the best first: the overlaps are looked up, so that a slider is answered at once."""
        left, kept = places.numpy(), []
        while len(left):
            kept.append(int(left[0]))
            left = left[1:][self.overlap[left[0], left[1:]] <= overlap]
        return torch.tensor(kept, dtype=torch.int64)

    def stages(self, guess: float, stability: float, overlap: float) -> list[FilterStage]:
        """For each step how many masks are left. Without truths all of them count as `bad`."""
        names = ("all", f"guess ≥ {guess:.2f}", f"stability ≥ {stability:.2f}", f"IoU ≤ {overlap:.2f}")
        stages = []
        for name, places in zip(names, self.steps(guess, stability, overlap), strict=True):
            if self.truths is None:
                stages.append(FilterStage(name, 0, len(places)))
                continue
            good = self.truths[places] >= SAME  # (K, T)
            right = int(good.any(1).sum())
            found = good.any(0).float().mean().item() if good.shape[1] else None
            stages.append(FilterStage(name, right, len(places) - right, found))
        return stages


def draw_thresholds(
    image: Tensor,
    logits: Tensor,
    guesses: Tensor,
    settings: dict[str, Thresholds],
    offset: float = 1.0,
    truths: Tensor | None = None,
) -> Figure:
    """What several settings of the thresholds leave, one row for each: its masks, and how many are left at each step.

    Args:
        settings: by title (least guess, least stability, largest IoU). All others: see `Candidates`.

    Raises:
        ValueError: there is no setting, or as for `Candidates`.
    """
    if not settings:
        raise ValueError("settings is empty; expected at least one")
    candidates = Candidates(image, logits, guesses, offset, truths)
    figure = Figure(figsize=(PAGE, ROW * len(settings)), facecolor="white")
    for place, (title, values) in enumerate(settings.items()):
        show_setting(figure, candidates, values, (len(settings) - place - 1) * ROW, title)
    return figure


def show_setting(figure: Figure, candidates: Candidates, values: Thresholds, foot: float, title: str = "") -> None:
    """One setting on a figure: the masks that are left, a bar for each step, and the truths that have a mask.

    The bars lie `foot` inches above the figure's lower edge, in a row `ROW` inches high.
    """
    wide, high = figure.get_size_inches()

    def axis(left: float, low: float, width: float, height: float) -> Axes:
        return figure.add_axes((left / wide, (foot + low) / high, width / wide, height / high))

    stages, left = candidates.stages(*values), candidates.masks[candidates.steps(*values)[-1]]
    picture = axis(0.05, 0.1, PICTURE, PICTURE)
    show_everything(picture, candidates.image, left)
    picture.set_title(f"{title}: {counted(len(left))}" if title else f"{counted(len(left))} left", fontsize=10)
    judged = candidates.truths is not None
    bars = axis(4.0, 0.55, 3.3 if judged else 5.2, PICTURE - 0.6)
    show_funnel(bars, stages, judged)
    if candidates.truths is not None and candidates.truths.shape[1]:
        shares = axis(7.65, 0.55, 1.5, PICTURE - 0.6)
        show_shares(shares, stages)
        shares.set(ylim=bars.get_ylim(), yticks=[])
        bars.set_title(f"blue: same as a truth (IoU ≥ {SAME})", fontsize=9)


def explore_filters(
    image: Tensor,
    logits: Tensor,
    guesses: Tensor,
    offset: float = 1.0,
    truths: Tensor | None = None,
    start: Thresholds = (0.5, 0.5, 0.7),
) -> "FilterExplorer":
    """Move the thresholds with sliders, and see which masks are left, and how many after each filter.

    Args:
        start: least guess, least stability, largest IoU, to begin with. All others: see `Candidates`.

    Raises:
        ValueError: a threshold is outside of 0..1, or as for `Candidates`.
    """
    if not all(0 <= value <= 1 for value in start):
        raise ValueError(f"start is {start}; expected three thresholds in 0..1")
    explorer = FilterExplorer(Candidates(image, logits, guesses, offset, truths), start)
    return explorer


class FilterExplorer(PictureWidget):
    """What `explore_filters` gives.

    Attributes:
        guess, stability, overlap: the thresholds, 0..1; they can be set from Python too.
    """

    guess = traitlets.Float(0.5, min=0, max=1)
    stability = traitlets.Float(0.5, min=0, max=1)
    overlap = traitlets.Float(0.7, min=0, max=1)

    def __init__(self, candidates: Candidates, start: Thresholds) -> None:
        self.candidates = candidates
        wide = {"description_width": "initial"}
        names = {"guess": "guess at least", "stability": "stability at least", "overlap": "NMS: IoU at most"}
        sliders = {
            name: ipywidgets.FloatSlider(value, min=0, max=1, step=0.01, description=words, style=wide)
            for (name, words), value in zip(names.items(), start, strict=True)
        }
        super().__init__(list(sliders.values()))
        self.guess, self.stability, self.overlap = start
        for name, slider in sliders.items():
            self.link(name, slider)
        self.draw()

    def figure(self) -> Figure:
        """The masks that are left, and the bars."""
        figure = Figure(figsize=(PAGE, ROW), facecolor="white")
        show_setting(figure, self.candidates, (self.guess, self.stability, self.overlap), foot=0)
        return figure

    def __repr__(self) -> str:
        stages = self.candidates.stages(self.guess, self.stability, self.overlap)
        return "FilterExplorer: " + ", ".join(f"{stage.name}: {stage.good + stage.bad}" for stage in stages)
