"""Training mode and eval mode."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """The model in eval mode inside of the `with`; behind it, each of its modules in the mode in which it was before.

    `model.train(mode)` would not do: it sets all modules alike, and parts that were frozen in eval mode would learn.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
