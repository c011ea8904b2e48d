"""Validation in the course of a training run."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.training.ema import EMA
from lib.training.history import History
from lib.training.modes import in_eval_mode


class Exams:
    """Calls `validate(model)` a number of times, evenly over the budget, the last time at its end.

    Args:
        model: validated in eval mode, without gradients, with its averaged weights if there are any.
        validate: gives numbers by name. None: there is no exam.
        count: how often.
        averages: of the model's weights.
    """

    def __init__(
        self, model: nn.Module, validate: Callable[[nn.Module], dict[str, Any]] | None, count: int, averages: EMA | None
    ) -> None:
        self.model, self.validate, self.count, self.averages = model, validate, count, averages
        self._next = 1  # number of the exam that comes next, from 1

    def due(self, used: float) -> bool:
        """Whether an exam has fallen due since this was last asked; `used` is a share (0 to 1) of the budget."""
        before = self._next
        while self._next / self.count <= used:
            self._next += 1
        return self.validate is not None and self._next > before

    def sit(self, history: History, device: torch.device) -> None:
        """Add what `validate` measures to the history. Random numbers drawn there do not change the training.

        Raises:
            ValueError: `validate` does not give a dict.
        """
        devices = [device] if device.type == "cuda" else []
        with (
            in_eval_mode(self.model),
            self.averages.lent_to(self.model) if self.averages else nullcontext(),
            torch.no_grad(),
            torch.random.fork_rng(devices=devices),
        ):
            measured = self.validate(self.model) if self.validate else {}
        if not isinstance(measured, dict):
            raise ValueError(f"validate gave a {type(measured).__name__}; expected a dict of numbers")
        history.metric_steps.append(history.steps)
        for name, value in measured.items():
            if isinstance(value, (int, float, np.number)) or isinstance(value, Tensor) and value.ndim == 0:
                history.metrics.setdefault(name, []).append(float(value))
