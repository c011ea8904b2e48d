"""Maps of segments, a colour and a number for each."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NONE, VOID = (0.93, 0.93, 0.93), (0.35, 0.35, 0.35)  # colours: of no segment, and of pixels that nobody labelled


def draw_segments(maps: dict[str, Tensor], alike: bool = True) -> "Figure":
    """Maps side by side, a colour for each number; 0 is light grey, −1 dark grey.

    Args:
        maps: (H, W) whole numbers by title. They may differ in size.
        alike: whether a number has the same colour in all maps; otherwise no colour comes twice.
    """
    from matplotlib import colormaps  # here, because matplotlib takes longer to import than a check to run
    from matplotlib.figure import Figure

    keys = sorted(
        {(0 if alike else i, number) for i, each in enumerate(maps.values()) for number in each.flatten().tolist()}
    )
    numbered = [key for key in keys if key[1] not in (0, -1)]
    colours = {key: colormaps["Set3"](place % 12)[:3] for place, key in enumerate(numbered)}
    height, width = next(iter(maps.values())).shape
    size = (3 * len(maps), 3 * min(max(height / width, 0.2), 1.5) + 0.7)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    for i, (axes, (title, each)) in enumerate(
        zip(figure.subplots(1, len(maps), squeeze=False)[0], maps.items(), strict=True)
    ):
        own = {number: colours.get((0 if alike else i, number), NONE) for number in each.unique().tolist()} | {-1: VOID}
        axes.imshow([[own[number] for number in row] for row in each.tolist()])
        for number in each.unique().tolist():
            places = (each == number).nonzero()  # (n, 2)
            middle = places.float().mean(dim=0)
            row, column = places[torch.linalg.vector_norm(places - middle, dim=1).argmin()].tolist()
            said, colour = ("−1", "white") if number == -1 else (str(number), "black")
            axes.text(column, row, said, ha="center", va="center", fontsize=9, color=colour)
        axes.set_title(title, fontsize=9)
        axes.set(xticks=[], yticks=[])
    return figure
