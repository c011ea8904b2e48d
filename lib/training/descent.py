"""One step down the gradient, and where its batches come from."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn


class Descent:
    """Steps of AdamW down the gradient of a loss; see `fit` for the arguments.

    Raises:
        ValueError: the model has nothing to train.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[nn.Module, Any], Tensor | dict[str, Tensor]],
        learning_rate: float,
        weight_decay: float,
        clip: float | None,
    ) -> None:
        self.model, self.loss, self.learning_rate, self.clip = model, loss, learning_rate, clip
        self.optimizer = _optimizer(model, learning_rate, weight_decay)

    def step(self, batch: Any, share: float, number: int) -> tuple[float, dict[str, float]]:
        """Step `number`, with a share (0 to 1) of the learning rate. Gives the loss, and its parts if it has any.

        Raises:
            ValueError: the loss is neither one number nor a dict of such.
            FloatingPointError: it or its gradient is infinite or not a number; the step is not made.
        """
        result = self.loss(self.model, batch)
        parts = result if isinstance(result, dict) else {"loss": result}
        for name, part in parts.items():
            if not isinstance(part, Tensor) or part.numel() != 1:
                came = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
                raise ValueError(f"loss gave {came} for {name!r}; expected a tensor with one number")
        if not parts:
            raise ValueError("loss gave an empty dict; expected at least one part")
        total = reduce(torch.add, [part.reshape(()) for part in parts.values()])
        value = total.item()
        if not math.isfinite(value):
            wrong = ", ".join(f"{name} {part.item()}" for name, part in parts.items())
            raise FloatingPointError(
                f"the loss is not finite at step {number} ({wrong}); a smaller learning_rate often "
                "helps, or look for a division by zero or a log of zero in the loss"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * share
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        longest = math.inf if self.clip is None else self.clip
        length = nn.utils.clip_grad_norm_(self.model.parameters(), longest)  # of the gradient before it is shortened
        if not length.isfinite():
            raise FloatingPointError(
                f"the gradient is not finite at step {number}, though the loss is {value:.4g}; "
                "look for the root of a zero, or for a division by zero in what `torch.where` leaves out"
            )
        self.optimizer.step()
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


def endless(batches: Iterable | Callable[[], Any]) -> Iterator[Any]:
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


def moved(batch: Any, device: torch.device) -> Any:
    """The batch with every tensor in it on the device; what is no tensor, list, tuple or dict stays as it is."""
    if isinstance(batch, (Tensor, nn.Module)):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: moved(value, device) for name, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):  # a NamedTuple
        return type(batch)(*(moved(value, device) for value in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(moved(value, device) for value in batch)
    return batch
