"""The one training loop of the course: any model, any loss, a budget in steps or in seconds."""

import inspect
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lib.device import choose_device
from lib.training.curve import LiveCurve
from lib.training.ema import EMA
from lib.training.history import History

TOLD_EVERY = 0.3  # seconds between two updates of bar and curve
SECONDS_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [seconds{postfix}]"
START, PEAK = 0.04, 0.1  # learning rate at the first step, as a share of the highest; where the peak lies


def fit(
    model: nn.Module,
    batches: Iterable | Callable[[], Any],
    loss: Callable[[nn.Module, Any], Tensor | dict[str, Tensor]],
    *,
    steps: int | None = None,
    seconds: float | None = None,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-4,
    warmup: float = PEAK,
    ema: float | None = 0.99,
    clip: float | None = 5.0,
    validate: Callable[[nn.Module], dict[str, Any]] | None = None,
    validations: int = 5,
    seed: int = 0,
    device: torch.device | str | None = None,
    show: bool = True,
) -> History:
    """Train a model with AdamW, within a budget of steps or of seconds, and leave it in eval mode.

    The learning rate rises for the first tenth of the budget and falls to nothing at its end, so a run of 20 seconds
    is a whole run and not the beginning of a longer one. The model ends with the moving average of its weights. In a
    notebook a bar and a curve follow the run. Stopping it (■) is no accident: the model keeps what it has learned,
    and the history says so. The same seed, steps and machine give the same weights.

    Args:
        model: moved to `device`; parameters with `requires_grad=False` stay as they are.
        batches: a list or a DataLoader, gone through again and again, or a function without arguments that gives a
            batch. Tensors in a batch are moved to `device`, also inside lists, tuples and dicts.
        loss: called as `loss(model, batch)`; gives one number to make small, or a dict of named parts, which are added.
        steps, seconds: the budget, one of the two. Time spent on validation does not count.
        learning_rate: the highest.
        weight_decay: of weights with two axes or more; biases and normalisations have none.
        warmup: the share of the budget in which the learning rate rises.
        ema: how much the moving average of the weights remembers, see `EMA`. None: no average.
        clip: a gradient longer than this is shortened to it. None: never.
        validate: called as `validate(model)`, in eval mode, without gradients, with the averaged weights; gives numbers
            by name. The first is shown. Values that are no single numbers are left out of the history.
        validations: how often to validate, evenly over the budget, the last time at its end.
        seed: for PyTorch, NumPy and Python.
        device: where to train; None: `choose_device()`.
        show: a bar, and in a notebook the live curve.

    Returns:
        The history: losses, learning rates, metrics, seconds.

    Raises:
        ValueError: an argument is out of range, both or neither of `steps` and `seconds` are given, `batches` is empty,
            or `loss` gives something else than promised.
        FloatingPointError: the loss became infinite or not a number. That step is not made.

    Sources: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization"; the schedule is the "1cycle" policy of
    Smith & Topin 2018, "Super-Convergence", with a cosine down as in Loshchilov & Hutter 2017, "SGDR", equation 5.
    """
    _check(steps, seconds, learning_rate, weight_decay, warmup, clip, validations)
    device = torch.device(device) if device is not None else choose_device()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    model.to(device).train()
    optimizer = _optimizer(model, learning_rate, weight_decay)
    averages = EMA(model, ema) if ema is not None else None
    history = History(type(model).__name__, seed=seed, timed=seconds is not None)
    source = _endless(batches)
    clock = _Clock()
    progress = _Progress(history, steps, seconds) if show else None

    def share() -> float:
        """How much of the budget is used, 0 to 1."""
        return min(1.0, history.seconds / seconds if steps is None else history.steps / steps)

    def measure() -> None:
        clock.pause()
        with averages.lent_to(model) if averages else nullcontext():
            _validate(model, validate, history, device)
        clock.go_on()

    used, due = 0.0, 1
    try:
        clock.go_on()
        while used < 1:
            middle = used if steps is None else used + 0.5 / steps  # of this step, on the budget's scale
            rate = learning_rate * annealed(middle, warmup)
            total, parts = _step(model, _moved(next(source), device), loss, optimizer, rate, clip, history.steps + 1)
            if averages:
                averages.update(model)
            history.times.append(clock.seconds())
            history.learning_rates.append(rate)
            for name, value in parts.items():
                history.parts.setdefault(name, []).append(value)
            history.losses.append(total)
            used = share()
            if validate is not None and used >= due / validations:
                measure()
                while due / validations <= used:
                    due += 1
            if progress:
                progress.tell()
    except KeyboardInterrupt:
        history.interrupted = True
    finally:
        if averages and history.steps:
            averages.copy_to(model)
        model.eval()
        if progress:
            progress.close()
    return history


def annealed(share: float, warmup: float = PEAK) -> float:
    """The learning rate at a share (0 to 1) of the budget, as a share of the highest.

    A straight line from 0.04 to 1 during the warm-up, then half a cosine wave down to 0.
    """
    if share < warmup:
        return START + (1 - START) * share / warmup
    return (1 + math.cos(math.pi * (share - warmup) / (1 - warmup))) / 2


def _step(
    model: nn.Module,
    batch: Any,
    loss: Callable,
    optimizer: torch.optim.Optimizer,
    rate: float,
    clip: float | None,
    number: int,
) -> tuple[float, dict[str, float]]:
    """One step down the gradient. Gives the loss, and its parts if it has any."""
    result = loss(model, batch)
    parts = result if isinstance(result, dict) else {"loss": result}
    for name, part in parts.items():
        if not isinstance(part, Tensor) or part.numel() != 1:
            came = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
            raise ValueError(f"loss gave {came} for {name!r}; expected a tensor with one number")
    if not parts:
        raise ValueError("loss gave an empty dict; expected at least one part")
    total = sum(part.reshape(()) for part in parts.values())
    value = total.item()
    if not math.isfinite(value):
        wrong = ", ".join(f"{name} {part.item()}" for name, part in parts.items())
        raise FloatingPointError(
            f"the loss is not finite at step {number} ({wrong}); a smaller learning_rate often "
            "helps, or look for a division by zero or a log of zero in the loss"
        )
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return value, {name: part.item() for name, part in parts.items()} if isinstance(result, dict) else {}


def _optimizer(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError("model has no parameter with requires_grad=True; expected something to train")
    return torch.optim.AdamW(
        [
            {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": weight_decay},
            {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
        ],
        lr=learning_rate,
    )


def _validate(model: nn.Module, validate: Callable, history: History, device: torch.device) -> None:
    """Add what `validate` measures to the history. Random numbers drawn there do not change the training."""
    model.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        measured = validate(model)
    model.train()
    if not isinstance(measured, dict):
        raise ValueError(f"validate gave a {type(measured).__name__}; expected a dict of numbers")
    history.metric_steps.append(history.steps)
    for name, value in measured.items():
        if isinstance(value, (int, float, np.number)) or isinstance(value, Tensor) and value.ndim == 0:
            history.metrics.setdefault(name, []).append(float(value))


def _endless(batches: Iterable | Callable[[], Any]) -> Iterator[Any]:
    """Batch after batch, from the beginning again at the end."""
    if callable(batches) and not inspect.isgeneratorfunction(batches):
        while True:
            yield batches()
    while True:
        count = 0
        for batch in batches() if callable(batches) else batches:
            count += 1
            yield batch
        if not count:
            raise ValueError(
                "batches gave no batch, or ran out and cannot start again; expected a list, a DataLoader "
                "or a function that gives a batch"
            )


def _moved(batch: Any, device: torch.device) -> Any:
    """The batch with every tensor in it on the device; what is no tensor, list, tuple or dict stays as it is."""
    if isinstance(batch, (Tensor, nn.Module)):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: _moved(value, device) for name, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):  # a NamedTuple
        return type(batch)(*(_moved(value, device) for value in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(_moved(value, device) for value in batch)
    return batch


class _Clock:
    """Seconds, with pauses."""

    def __init__(self) -> None:
        self._before, self._since = 0.0, None

    def go_on(self) -> None:
        self._since = time.perf_counter()

    def pause(self) -> None:
        self._before, self._since = self.seconds(), None

    def seconds(self) -> float:
        return self._before + (time.perf_counter() - self._since if self._since is not None else 0.0)


class _Progress:
    """The bar, and in a notebook the curve, both brought up to date a few times a second."""

    def __init__(self, history: History, steps: int | None, seconds: float | None) -> None:
        self._history, self._steps = history, steps
        self._bar = tqdm(
            total=steps if steps is not None else math.ceil(seconds),
            desc=f"training {history.model}",
            unit="step",
            bar_format=None if steps is not None else SECONDS_BAR,
        )
        self._curve = LiveCurve(history, steps, seconds)
        self._told = self._validated = 0.0

    def tell(self, at_once: bool = False) -> None:
        """Show where the run is, if the last time is long enough ago or there is a new metric."""
        now, history = time.perf_counter(), self._history
        if not at_once and now - self._told < TOLD_EVERY and len(history.metric_steps) == self._validated:
            return
        self._told, self._validated = now, len(history.metric_steps)
        done = history.steps if self._steps is not None else round(history.seconds)
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


def _check(
    steps: int | None,
    seconds: float | None,
    learning_rate: float,
    weight_decay: float,
    warmup: float,
    clip: float | None,
    validations: int,
) -> None:
    if (steps is None) == (seconds is None):
        raise ValueError(f"steps is {steps!r} and seconds is {seconds!r}; expected exactly one of them as the budget")
    if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 1):
        raise ValueError(f"steps is {steps!r}; expected a whole number of at least 1")
    if seconds is not None and not 0 < seconds < math.inf:
        raise ValueError(f"seconds is {seconds!r}; expected a number above 0")
    for name, value, fits, expected in (
        ("learning_rate", learning_rate, learning_rate > 0, "a number above 0"),
        ("weight_decay", weight_decay, weight_decay >= 0, "a number of at least 0"),
        ("warmup", warmup, 0 <= warmup < 1, "a number from 0 to below 1"),
        ("clip", clip, clip is None or clip > 0, "a number above 0, or None"),
        ("validations", validations, isinstance(validations, int) and validations >= 1, "a whole number of at least 1"),
    ):
        if not fits:
            raise ValueError(f"{name} is {value!r}; expected {expected}")
