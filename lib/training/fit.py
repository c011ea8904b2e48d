"""The one training loop of the course: any model, any loss, a budget in steps or in seconds."""

import math
import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.device import choose_device
from lib.ops.checks import check_whole
from lib.training.budget import Budget, Clock, Progress
from lib.training.descent import Descent, endless, moved
from lib.training.ema import EMA
from lib.training.exams import Exams
from lib.training.history import History

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
    title: str | None = None,
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
        title: what bar and curve call this training; None: the name of the model's class.
        show: a bar, and in a notebook the live curve.

    Returns:
        The history: losses, learning rates, metrics, seconds.

    Raises:
        ValueError: an argument is out of range, both or neither of `steps` and `seconds` are given, `batches` is empty,
            or `loss` gives something else than promised.
        FloatingPointError: the loss or its gradient became infinite or not a number. That step is not made.

    Sources: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization"; the schedule is the "1cycle" policy of
    Smith & Topin 2018, "Super-Convergence", with a cosine down as in Loshchilov & Hutter 2017, "SGDR", equation 5.
    """
    budget = _budget(steps, seconds)
    _check(learning_rate, weight_decay, warmup, clip, validations)
    device = torch.device(device) if device is not None else choose_device()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    model.to(device).train()
    clock, source = Clock(), endless(batches)
    history = History(type(model).__name__, title=title or "", seed=seed, timed=seconds is not None)
    descent = Descent(model, loss, learning_rate, weight_decay, clip)
    averages = EMA(model, ema) if ema is not None else None
    exams = Exams(model, validate, validations, averages)
    progress = Progress(history, budget) if show else None
    used = 0.0
    try:
        clock.go_on()
        while used < 1:
            share = annealed(budget.middle_of_the_next_step(used), warmup)
            total, parts = descent.step(moved(next(source), device), share, history.steps + 1)
            if averages:
                averages.update(model)
            history.add_step(clock.seconds(), learning_rate * share, total, parts)
            used = budget.used(history)
            if exams.due(used):
                with clock.paused():
                    exams.sit(history, device)
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


def _budget(steps: int | None, seconds: float | None) -> Budget:
    if (steps is None) == (seconds is None):
        raise ValueError(f"steps is {steps!r} and seconds is {seconds!r}; expected exactly one of them as the budget")
    if steps is not None:
        check_whole("steps", steps, at_least=1)
        return Budget(steps, timed=False)
    if seconds is None or not 0 < seconds < math.inf:
        raise ValueError(f"seconds is {seconds!r}; expected a number above 0")
    return Budget(seconds, timed=True)


def _check(learning_rate: float, weight_decay: float, warmup: float, clip: float | None, validations: int) -> None:
    check_whole("validations", validations, at_least=1)
    for name, value, fits, expected in (
        ("learning_rate", learning_rate, learning_rate > 0, "a number above 0"),
        ("weight_decay", weight_decay, weight_decay >= 0, "a number of at least 0"),
        ("warmup", warmup, 0 <= warmup < 1, "a number from 0 to below 1"),
        ("clip", clip, clip is None or clip > 0, "a number above 0, or None"),
    ):
        if not fits:
            raise ValueError(f"{name} is {value!r}; expected {expected}")
