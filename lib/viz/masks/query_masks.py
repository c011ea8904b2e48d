"""What each query of a MaskFormer says and draws: a class, or nothing, and a mask (lesson 15)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from lib.viz.basics.draw import PAGE, panels, to_pixels

Colour = str | tuple[float, float, float]

SILENT = "#8A8A8A"  # the title of a query that says "nothing", and its mask
DARKEST, DIMMED = 0.06, 0.3  # of the picture where a mask is 0: black becomes the one, white the sum of both
BRIGHTEST = 0.85  # how much of the class's colour there is where a mask is 1


def draw_query_masks(
    image: Tensor,
    class_logits: Tensor,
    mask_logits: Tensor,
    names: Sequence[str],
    colours: Sequence[Colour],
    columns: int = 5,
) -> Figure:
    """A tile for each query, in the order of their numbers: the dimmed picture, which glows where its mask is.

    It glows in the colour of the query's most probable class, in grey where that is "nothing"; the brighter, the more
    probable. A line runs where the probability crosses 1/2. The title has number, class and the class's probability.

    Args:
        image: (3, H, W) floats 0..1.
        class_logits: (Q, K + 1), the last says "nothing".
        mask_logits: (Q, h, w); coarse ones show their cells.
        names, colours: of the K classes.
        columns: tiles in a row.

    Raises:
        ValueError: a shape does not fit, there are other numbers of names or colours than classes, or no column.
    """
    check_answers(image, class_logits, mask_logits, names, colours)
    if columns < 1:
        raise ValueError(f"columns is {columns!r}; expected at least 1")
    said, probability = class_logits.detach().argmax(dim=1).tolist(), mask_logits.detach().sigmoid().cpu()
    texts = said_by(class_logits, names)
    figure, axes = panels(len(texts), columns, PAGE / min(columns, 5), image.shape[1] / image.shape[2])
    rows = -(-len(texts) // columns)
    figure.set_figheight(figure.get_figheight() - 0.32 * rows)  # small titles need less room
    for axis, text, label, mask in zip(axes, texts, said, probability, strict=True):
        silent = label == len(names)
        show_glow(axis, image, mask, SILENT if silent else colours[label])
        axis.set_title(text, fontsize=9 if columns <= 6 else 7.5, color=SILENT if silent else "black", pad=3)
    return figure


def draw_query_classes(counts: Tensor, names: Sequence[str]) -> Figure:
    """How often each query said each class, as a table that is the brighter the more often.

    Args:
        counts: (Q, K + 1) whole numbers; the last column is "nothing".
        names: of the K classes.

    Raises:
        ValueError: the counts are not whole numbers (Q, K + 1).
    """
    if counts.ndim != 2 or counts.shape[1] != len(names) + 1 or counts.is_floating_point() or not len(counts):
        came = f"{tuple(counts.shape)} {counts.dtype}"
        raise ValueError(f"counts is {came}; expected whole numbers (Q, {len(names) + 1}) for {len(names)} classes")
    size = 0.55 * counts.shape[1] + 0.9, 0.26 * len(counts) + 1.2
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    axis.imshow(counts.cpu().numpy(), cmap="viridis", aspect="auto", vmin=0)
    axis.set(xticks=range(counts.shape[1]), yticks=range(len(counts)), ylabel="query")
    axis.set_xticklabels([*names, "nothing"], rotation=40, ha="right")
    axis.set_title("how often each query says each class", fontsize=10)
    for query, row in enumerate(counts.tolist()):
        for place, count in enumerate(row):
            ink = "black" if 2 * count > counts.max() else "white"
            axis.text(place, query, count, ha="center", va="center", fontsize=8, color=ink)
    return figure


def said_by(class_logits: Tensor, names: Sequence[str]) -> list[str]:
    """For each query its number, its most probable class and how probable that is: "3: cone 0.97"."""
    best, label = class_logits.detach().softmax(dim=1).max(dim=1)  # (Q,) each
    pairs = zip(best.tolist(), label.tolist())
    return [f"{query}: {[*names, 'nothing'][kind]} {score:.2f}" for query, (score, kind) in enumerate(pairs)]


def show_glow(axis: Axes, image: Tensor, probability: Tensor, colour: Colour, line: bool = True) -> None:
    """`glow` on an axis with the coordinates of boxes.

    Args:
        line: whether to draw one where the probability crosses 1/2.
    """
    height, width = image.shape[1:]
    axis.imshow(glow(image, probability, colour), interpolation="nearest", extent=(0, width, height, 0))
    if line:
        show_edges(axis, (probability > 0.5).numpy(), (height, width), "white", 0.9)
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.axis("off")


def glow(image: Tensor, probability: Tensor, colour: Colour) -> np.ndarray:
    """The dimmed picture (3, H, W) with the light of a mask (h, w), 0..1, in its cells: (H, W, 3) floats 0..1."""
    grey = DARKEST + DIMMED * to_pixels(image).mean(axis=2, keepdims=True) / 255  # (H, W, 1)
    light = BRIGHTEST * F.interpolate(probability[None, None].float(), grey.shape[:2], mode="nearest-exact")[0, 0]
    share = light.numpy()[..., None]  # (H, W, 1)
    return (1 - share) * grey + share * np.asarray(to_rgb(colour))


def show_edges(axis: Axes, numbers: np.ndarray, size: tuple[int, int], colour: str, width: float) -> None:
    """Lines between neighbouring cells of a map (h, w) that differ, stretched to a picture of `size` (H, W)."""
    down, across = (side / cells for side, cells in zip(size, numbers.shape))
    rows, columns = np.nonzero(numbers[1:] != numbers[:-1])
    axis.hlines((rows + 1) * down, columns * across, (columns + 1) * across, color=colour, linewidth=width)
    rows, columns = np.nonzero(numbers[:, 1:] != numbers[:, :-1])
    axis.vlines((columns + 1) * across, rows * down, (rows + 1) * down, color=colour, linewidth=width)


def check_answers(
    image: Tensor, class_logits: Tensor, mask_logits: Tensor, names: Sequence[str], colours: Sequence[Colour]
) -> None:
    """Raise ValueError, naming the argument, unless all of this is about one picture and the same K classes."""
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image is {tuple(image.shape)}; expected (3, H, W)")
    if len(names) != len(colours):
        raise ValueError(f"colours has {len(colours)} entries for {len(names)} names; expected as many")
    if class_logits.ndim != 2 or len(class_logits) == 0 or class_logits.shape[1] != len(names) + 1:
        raise ValueError(
            f"class_logits is {tuple(class_logits.shape)}; expected (Q, {len(names) + 1}), a number for each of "
            f"{len(names)} names and one for nothing"
        )
    if mask_logits.ndim != 3 or len(mask_logits) != len(class_logits) or 0 in mask_logits.shape:
        raise ValueError(f"mask_logits is {tuple(mask_logits.shape)}; expected ({len(class_logits)}, h, w)")
