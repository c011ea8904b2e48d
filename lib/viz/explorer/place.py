"""Where one axis of the picture runs in a tensor."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from lib.viz.explorer.geometry import Axis


@dataclass(frozen=True)
class Place:
    """Along which dimension of a tensor one axis of the picture runs.

    Index `k` of dimension `dim` belongs to cell `k // inner % cells`: after flattening (H, W) into H * W tokens, rows
    have `inner` = W and columns `inner` = 1, both along the same dimension. `dim` is None where the axis got lost.

    Attributes:
        before, after: entries of `dim` that are no cells and stand before or after them: a class token, registers.
        pairs: the last two dimensions hold a number for each pair of tokens (or channels), as an attention matrix does.
    """

    axis: Axis
    dim: int | None
    cells: int
    inner: int = 1
    before: int = 0
    after: int = 0
    pairs: bool = False

    def mixed(self) -> "Place":
        return replace(self, axis=self.axis.mixed())

    def lost(self) -> "Place":
        return replace(self, axis=self.axis.mixed(), dim=None)

    def moved(self, dim: int) -> "Place":
        return replace(self, dim=dim)

    def alone(self, shape: torch.Size) -> bool:
        """Whether a dimension of the tensor is this axis and nothing else."""
        return self.dim is not None and self.inner == 1 and shape[self.dim] == self.cells

    def fits(self, shape: torch.Size) -> bool:
        if self.dim is None:
            return True
        if self.dim >= len(shape):
            return False
        return (shape[self.dim] - self.before - self.after) % (self.cells * self.inner) == 0

    @property
    def layout(self) -> tuple:
        """Two places of the same layout say of the same entries that they are the same cells."""
        return self.dim, self.cells, self.inner, self.before, self.after


Arguments = dict[str, Any]  # of an operation, by the names of its schema
Inputs = list[tuple[torch.Size, Place | None]]  # an operation's tensors: shape, and place if any
