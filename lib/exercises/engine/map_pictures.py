"""Yours against ours, as a picture: for exercises whose result is a map."""

import io
import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib.exercises.engine.values import as_tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lib.exercises.engine.exercise import Case


def compare_maps(got: Any, expected: Any, case: "Case") -> "Figure | None":
    """Draws a learner's map, the expected one and their difference side by side.

    Args:
        got, expected: maps of shape (..., H, W); of several, the one where they differ most. Pixels are drawn as
            squares, and both with the same colours for the same numbers.
        case: unused; every `Exercise.picture` gets it.

    Returns:
        The figure, or None where no map can be drawn: not a tensor, fewer than two axes, no pixels.
    """
    from matplotlib.figure import Figure  # here, because matplotlib takes longer to import than a check to run

    if not (_is_map(got) and _is_map(expected)):
        return None
    maps = {"yours": _maps(got), "expected": _maps(expected)}  # each (N, H, W)
    chosen = 0
    if maps["yours"].shape == maps["expected"].shape:
        difference = (maps["yours"] - maps["expected"]).abs().nan_to_num(nan=torch.inf)
        chosen = int(difference.flatten(1).amax(dim=1).argmax())
        maps["difference"] = maps["yours"] - maps["expected"]
    drawn = {title: several[min(chosen, len(several) - 1)] for title, several in maps.items()}  # each (H, W)
    both = torch.cat([drawn["yours"].flatten(), drawn["expected"].flatten()])
    both = both[both.isfinite()]
    low, high = (both.min().item(), both.max().item()) if len(both) else (0.0, 1.0)
    figure = Figure(figsize=(3 * len(drawn), 3), layout="constrained", facecolor="white")
    for axes, (title, values) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
        if title == "difference":
            finite = values[values.isfinite()].abs()
            reach = finite.max().item() if len(finite) and finite.any() else 1.0
            picture = axes.imshow(values.numpy(), cmap="coolwarm", vmin=-reach, vmax=reach)
        else:
            picture = axes.imshow(values.numpy(), cmap="viridis", vmin=low, vmax=high)
        axes.set_title(f"{title}, {values.shape[0]}×{values.shape[1]}")
        figure.colorbar(picture, ax=axes, shrink=0.7)
    return figure


def png_of(figure: "Figure") -> bytes:
    """The figure as a PNG file's bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=80)
    if "matplotlib.pyplot" in sys.modules:  # or a figure made by pyplot would show up a second time in the notebook
        sys.modules["matplotlib.pyplot"].close(figure)
    return file.getvalue()


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim >= 2 and value.numel() > 0 and not value.is_complex()


def _maps(value: Tensor) -> Tensor:
    value = as_tensor(value).float()
    return value.reshape(-1, *value.shape[-2:])  # (N, H, W)
