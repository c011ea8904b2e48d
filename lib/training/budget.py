"""What a training run has to spend, how much of it is gone, and the bar and curve that tell."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tqdm.auto import tqdm

from lib.training.curve import LiveCurve
from lib.training.history import History

TOLD_EVERY = 0.3  # seconds between two updates of bar and curve
SECONDS_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [seconds{postfix}]"


@dataclass(frozen=True)
class Budget:
    """So many steps, or so many seconds of training if it is `timed`."""

    amount: float
    timed: bool

    def used(self, history: History) -> float:
        """How much of it is gone, 0 to 1."""
        return min(1.0, (history.seconds if self.timed else history.steps) / self.amount)

    def middle_of_the_next_step(self, used: float) -> float:
        """Where the next step lies, on the same scale; how long a step takes is known only if steps are counted."""
        return used if self.timed else used + 0.5 / self.amount


class Clock:
    """Seconds, with pauses."""

    def __init__(self) -> None:
        self._before: float = 0.0
        self._since: float | None = None

    def go_on(self) -> None:
        self._since = time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside `with`, no time goes by."""
        self._before, self._since = self.seconds(), None
        yield
        self.go_on()

    def seconds(self) -> float:
        return self._before + (time.perf_counter() - self._since if self._since is not None else 0.0)


class Progress:
    """The bar, and in a notebook the curve, both brought up to date a few times a second."""

    def __init__(self, history: History, budget: Budget) -> None:
        self._history, self._timed = history, budget.timed
        self._bar = tqdm(
            total=math.ceil(budget.amount),
            desc=f"training {history.name}",
            unit="step",
            bar_format=SECONDS_BAR if budget.timed else None,
        )
        self._curve = LiveCurve(history, budget.amount)
        self._told = self._validated = 0.0

    def tell(self, at_once: bool = False) -> None:
        """Show where the run is, if the last time is long enough ago or there is a new metric."""
        now, history = time.perf_counter(), self._history
        if not at_once and now - self._told < TOLD_EVERY and len(history.metric_steps) == self._validated:
            return
        self._told, self._validated = now, len(history.metric_steps)
        done = round(history.seconds) if self._timed else history.steps
        self._bar.n = min(done, self._bar.total)
        metric = list(history.last.items())[:1]
        shown = {name: f"{value:.3f}" for name, value in [("loss", history.loss), *metric]}
        self._bar.set_postfix(shown)  # draws the bar as well
        self._curve.redraw()

    def close(self) -> None:
        """Show the end, and leave a picture that stays when the kernel is gone."""
        if self._history.steps:
            self.tell(at_once=True)
        self._bar.close()
        self._curve.close()
