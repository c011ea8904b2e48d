"""Maps of segments, a colour and a number for each: for the two exercises about them."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NONE, VOID = (0.93, 0.93, 0.93), (0.35, 0.35, 0.35)  # colours: of no segment, and of pixels that nobody labelled


def draw_segments(maps: dict[str, Tensor]) -> "Figure":
    """Maps side by side. The same number has the same colour in all of them; 0 is light grey, −1 dark grey.

    Args:
        maps: (H, W) whole numbers by title. They may differ in size.
    """
    from matplotlib import colormaps  # here, because matplotlib takes longer to import than a check to run
    from matplotlib.figure import Figure

    numbers = sorted({int(number) for each in maps.values() for number in each.unique()} - {0, -1})
    colours = {number: colormaps["tab10"](i % 10)[:3] for i, number in enumerate(numbers)} | {0: NONE, -1: VOID}
    figure = Figure(figsize=(3 * len(maps), 3), layout="constrained", facecolor="white")
    for axes, (title, each) in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps.items(), strict=True):
        rows = each.tolist()  # H lists of W
        axes.imshow([[colours[number] for number in row] for row in rows])
        for number in each.unique().tolist():
            places = (each == number).nonzero()  # (n, 2)
            middle = places.float().mean(dim=0)
            row, column = places[torch.linalg.vector_norm(places - middle, dim=1).argmin()].tolist()
            said = {0: "0", -1: "−1"}.get(number, str(number))
            axes.text(column, row, said, ha="center", va="center", fontsize=9)
        axes.set_title(title, fontsize=9)
        axes.set(xticks=[], yticks=[])
    return figure
