"""The moving average of a model's weights: steadier than the weights themselves, at no cost but memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """An exponential moving average of all of a model's parameters and buffers.

    After step t (from 1) each average becomes d · average + (1 − d) · weight, with d = min(decay, (1 + t) / (10 + t)):
    early on, short memory lets go of the random start. Whole-number buffers (a counter of batches) are copied.

    Args:
        model: the averages start at its weights.
        decay: 0 ≤ decay < 1; about 1 / (1 − decay) steps are remembered.

    Raises:
        ValueError: `decay` is out of range.

    Source: Polyak & Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging", in the exponential form
    with the warm-up of TensorFlow's `ExponentialMovingAverage(num_updates)`.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay!r}; expected a number from 0 to below 1")
        self.decay, self.steps = decay, 0
        self.tensors = [tensor.clone() for tensor in _tensors(model)]

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the weights of one more step in."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for average, tensor in zip(self.tensors, _tensors(model), strict=True):
            if average.is_floating_point():
                average.lerp_(tensor, 1 - decay)
            else:
                average.copy_(tensor)

    def copy_to(self, model: nn.Module) -> None:
        """Give the averages to the model for good."""
        _copy(self.tensors, model)

    @contextmanager
    def lent_to(self, model: nn.Module) -> Iterator[None]:
        """Inside `with`, the model has the averages; after it, its own weights again."""
        own = [tensor.clone() for tensor in _tensors(model)]
        try:
            self.copy_to(model)
            yield
        finally:
            _copy(own, model)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]


def _copy(source: list[Tensor], model: nn.Module) -> None:
    for tensor, value in zip(_tensors(model), source, strict=True):
        tensor.copy_(value)
