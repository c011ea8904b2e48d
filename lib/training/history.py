"""What a training run leaves behind: numbers to print, to draw and to compare."""

import math
from dataclasses import asdict, dataclass, field

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

LOSS_COLOUR, METRIC_COLOUR = "#1A85C8", "#D55E00"  # read well on white and on black, and by colour-blind readers


@dataclass
class History:
    """The course of one training run. Steps are counted from 1.

    Attributes:
        model: the name of the model's class.
        title: what the training is called; "": it is called by the model's name.
        seed: where the random numbers started.
        timed: whether the budget was seconds; then another machine makes another number of steps.
        losses: the loss of each step.
        parts: the named parts of the loss of each step, if the loss had any.
        learning_rates: the one used in each step.
        metric_steps: after which steps the model was validated.
        metrics: what validation measured, by name: one number for each of `metric_steps`.
        times: the seconds of training after each step; validation is not counted.
        interrupted: whether a reader stopped it.
    """

    model: str
    title: str = ""
    seed: int = 0
    timed: bool = False
    losses: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    learning_rates: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    metric_steps: list[int] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def name(self) -> str:
        """What bars and curves call the training."""
        return self.title or self.model

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return len(self.losses)

    @property
    def seconds(self) -> float:
        """The time spent on training."""
        return self.times[-1] if self.times else 0.0

    @property
    def loss(self) -> float:
        """The loss at the end, smoothed; nan before the first step."""
        return smoothed(self.losses)[-1] if self.losses else math.nan

    @property
    def last(self) -> dict[str, float]:
        """What validation measured last."""
        return {name: values[-1] for name, values in self.metrics.items()}

    def add_step(self, seconds: float, learning_rate: float, loss: float, parts: dict[str, float]) -> None:
        """One more step: `seconds` of training are over after it."""
        self.times.append(seconds)
        self.learning_rates.append(learning_rate)
        self.losses.append(loss)
        for name, value in parts.items():
            self.parts.setdefault(name, []).append(value)

    def summary(self) -> dict:
        """How the model was made, for the JSON of a checkpoint. No date and no duration: same training, same bytes."""
        made = {"model": self.model, "seed": self.seed, "steps": self.steps, "loss": round(self.loss, 4)}
        made |= {"metrics": {name: round(value, 4) for name, value in self.last.items()}} if self.metrics else {}
        return made | ({"interrupted": True} if self.interrupted else {})

    def to_dict(self) -> dict:
        """Everything, in types that `json.dumps` takes."""
        return asdict(self)

    def places(self) -> list[float]:
        """Where each step lies on the axis of a curve: seconds if the budget was seconds, else its number."""
        return list(self.times if self.timed else range(1, self.steps + 1))

    def plot(self) -> Figure:
        """The loss of each step, pale; its smoothed course; the first metric of validation, on an axis of its own."""
        figure, axis = plt.subplots(figsize=(6.4, 2.9), layout="constrained")
        _draw(axis, self)
        plt.close(figure)  # a cell that ends in `history.plot()` shows it once
        return figure

    def __repr__(self) -> str:
        if not self.steps:
            return f"History: {self.name}, no step made"
        measured = [f"loss ≈ {self.loss:.3f}", *(f"{name} ≈ {value:.3f}" for name, value in self.last.items())]
        return (
            f"History: {self.name}, {'≈ ' if self.timed or self.interrupted else ''}{self.steps} steps, "
            f"{', '.join(measured)}, ≈ {self.seconds:.1f} s{', interrupted' if self.interrupted else ''}"
        )


def smoothed(values: list[float], memory: float = 20.0) -> list[float]:
    """What a noisy curve is heading for: an average of the last fifth of the steps, or of `memory` steps if fewer.

    Point t (from 0) moves from the point before it towards value t, by one part in min(memory, 1 + t / 5).
    """
    course: list[float] = []
    for t, value in enumerate(values):
        before = course[-1] if course else value
        course.append(before + (value - before) / min(memory, 1 + t / 5))
    return course


def _draw(axis: plt.Axes, history: History) -> None:
    places, course = history.places(), smoothed(history.losses)
    axis.plot(places, history.losses, color=LOSS_COLOUR, alpha=0.25, linewidth=0.8)
    axis.plot(places, course, color=LOSS_COLOUR, linewidth=2)
    axis.set_xlabel("seconds" if history.timed else "step")
    axis.set_ylabel("loss", color=LOSS_COLOUR)
    axis.set_xlim(left=0)
    if course:
        axis.set_ylim(min(0, *course), 1.12 * max(course) if max(course) > 0 else None)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(history.name + (" (interrupted)" if history.interrupted else ""), loc="left", fontsize=10)
    if history.metrics:
        name, values = next(iter(history.metrics.items()))
        right = axis.twinx()
        right.plot(
            [places[step - 1] for step in history.metric_steps],
            values,
            "o-",
            color=METRIC_COLOUR,
            markersize=4,
            clip_on=False,
        )
        right.set_ylabel(name, color=METRIC_COLOUR)
        right.set_ylim(min(0, *values), max(1, *values))
        right.spines["top"].set_visible(False)
        right.annotate(
            f"{values[-1]:.2f}",
            (places[history.metric_steps[-1] - 1], values[-1]),
            (-4, 6),
            color=METRIC_COLOUR,
            textcoords="offset points",
            ha="right",
            fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )
