"""Move the thresholds of the filters, and see which of the grid's masks are left (lesson 18)."""

import io

import ipywidgets
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lib.training.data_engine import SAME
from lib.viz.basics.draw import PAGE
from lib.viz.basics.picture_widget import PictureWidget
from lib.viz.engine.candidates import Candidates
from lib.viz.engine.everything import counted, paint_everything, show_everything
from lib.viz.engine.filters import BAD, FOUND, GOOD, FilterStage, show_funnel, show_shares
from lib.viz.explorer.still import FONT
from lib.viz.prompts.paint import DENSITY, RIM, TOP

Thresholds = tuple[float, float, float]  # least guess, least stability, largest IoU with a better mask
ROW, PICTURE = 2.9, 2.5  # inches of a figure: height of a row, side of its picture
SIDE, BARS, STEP = 576, 796, 126  # pixels of a sheet: longer side of its picture, width of its bars, from bar to bar
LETTERS = 19  # pixels of a sheet: the size of its words


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
    bars = axis(3.95, 0.55, 3.4 if judged else 5.2, PICTURE - 0.6)
    show_funnel(bars, stages, judged)
    if candidates.truths is not None and candidates.truths.shape[1]:
        shares = axis(7.65, 0.55, 1.5, PICTURE - 0.6)
        show_shares(shares, stages)
        shares.set(ylim=bars.get_ylim(), yticks=[])
        bars.set_title(f"blue: same as a truth (IoU ≥ {SAME})", fontsize=9)


def sheet(candidates: Candidates, values: Thresholds) -> Image.Image:
    """The masks that are left, beside a bar for each step, as pixels: drawn sooner than a figure."""
    places = candidates.steps(*values)
    picture = Image.fromarray(paint_everything(candidates.image, candidates.masks[places[-1]]))
    picture.thumbnail((SIDE, SIDE))
    drawn = Image.new("RGB", (SIDE + BARS + 4 * RIM, TOP + SIDE + RIM), "white")
    drawn.paste(picture, (RIM, TOP))
    pen, font = ImageDraw.Draw(drawn), ImageFont.truetype(FONT, LETTERS)
    pen.text((RIM, TOP - 9), f"{counted(len(places[-1]))} left", fill="#202020", font=font, anchor="ls")
    left, stages = SIDE + 3 * RIM, candidates.stages(*values)
    most = max(stages[0].good + stages[0].bad, 1)
    for number, stage in enumerate(stages):
        top = TOP + STEP * number
        words = in_words(stage, judged=candidates.truths is not None)
        pen.text((left, top + 20), words, fill="#202020", font=font, anchor="ls")
        good, end = (left + round(BARS * count / most) for count in (stage.good, stage.good + stage.bad))
        for begin, stop, low, high, colour in ((left, good, 30, 60, GOOD), (good, end, 30, 60, BAD)):
            if stop > begin:
                pen.rectangle((begin, top + low, stop - 1, top + high), fill=colour)
        if stage.found is not None:
            pen.rectangle((left, top + 66, left + BARS - 1, top + 76), outline="#CCCCCC")
            if stage.found > 0:
                pen.rectangle((left, top + 66, left + round(BARS * stage.found) - 1, top + 76), fill=FOUND)
    if candidates.truths is not None:
        key = ((GOOD, f"same as a truth (IoU ≥ {SAME})"), (BAD, "not"), (FOUND, "truths that have a mask"))
        for colour, words in key:
            pen.rectangle((left, TOP + SIDE - 24, left + 18, TOP + SIDE - 6), fill=colour)
            pen.text((left + 26, TOP + SIDE - 7), words, fill="#202020", font=font, anchor="ls")
            left += 60 + round(pen.textlength(words, font))
    return drawn


def in_words(stage: FilterStage, judged: bool) -> str:
    """Such as "guess ≥ 0.50: 280 masks, 275 good (98.2%); 62.5% of the truths have one"."""
    total = stage.good + stage.bad
    words = f"{stage.name}: {counted(total)}"
    if judged:
        words += f", {stage.good} good ({stage.good / max(total, 1):.1%})"
    return words if stage.found is None else f"{words}; {stage.found:.1%} of the truths have one"


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
    return FilterExplorer(Candidates(image, logits, guesses, offset, truths), start)


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

    def draw(self, change: object = None) -> None:
        """Show the sheet of the thresholds. `change` is what ipywidgets tells an observer."""
        drawn, buffer = sheet(self.candidates, (self.guess, self.stability, self.overlap)), io.BytesIO()
        drawn.save(buffer, "PNG", compress_level=1)
        self._picture.width = str(round(drawn.width / DENSITY))
        self._picture.value = buffer.getvalue()

    def __repr__(self) -> str:
        stages = self.candidates.stages(self.guess, self.stability, self.overlap)
        judged = self.candidates.truths is not None
        return "FilterExplorer: " + ", ".join(in_words(stage, judged) for stage in stages)
