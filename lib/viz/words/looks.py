"""Where words look in a picture, and how well its cells fit them (lesson 19)."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.viz.attention.maps import STRONGEST
from lib.viz.basics.draw import PAGE, panels
from lib.viz.detection.boxes import check_boxes, show_picture, thin_boxes

NUMBERED = 5  # of the chosen cells so many have a number
DOT, FIRST = "#E69F00", "white"  # the chosen cells, and their first boxes
FAINTEST = 0.12  # opacity of the map where it is 0
COLUMNS = 4
BAR, HEAD = 1.0, 0.42  # inches: width of the scale, height of a row's titles


def draw_word_looks(
    image: Tensor, words: Sequence[str], maps: Tensor, columns: int = COLUMNS, size: float = 2.1
) -> Figure:
    """Where each word looks, over the picture in grey; all on one scale: what is as bright is as much.

    Args:
        image: (3, H, W) floats 0..1.
        words: T, the titles.
        maps: (T, h, w), shares that add up to 1 over the cells, such as the mean over the heads of `Fused.text_maps`.
        columns, size: pictures in a row, and the width of one in inches.

    Raises:
        ValueError: there is no word, or not a map for each.
    """
    _check("maps", maps, words)
    most = max(float(maps.max()), 1e-12)
    figure, axes = _paper(len(words), columns, size, image.shape[-2] / image.shape[-1])
    for axis, word, heat in zip(axes, words, maps, strict=True):
        _paint(axis, image, heat, most)
        axis.set_title(word, fontsize=10)
    bar = figure.colorbar(axes[0].images[-1], ax=axes, shrink=0.85, ticks=(0, most), format="%.2g")
    bar.set_label("share of the word's attention")
    return figure


def draw_word_fits(
    image: Tensor,
    words: Sequence[str],
    fits: Tensor,
    cells: Tensor,
    boxes: Tensor,
    columns: int = COLUMNS,
    size: float = 2.1,
) -> Figure:
    """How well each cell fits each word, as a probability; at last, which cells are chosen and where boxes begin.

    Args:
        image: (3, H, W) floats 0..1.
        words: T, the titles.
        fits: (T, h, w) logits, such as of `GroundingOutput["cell_logits"]` at the places of words.
        cells: (Q,) int64, the chosen cells, row by row, the best first. The first few have their number.
        boxes: (Q, 4) xyxy pixels, the first boxes of these cells; those of the cells with a number are drawn.
        columns, size: pictures in a row, and the width of one in inches.

    Raises:
        ValueError: there is no word, not a map for each, a cell lies outside of the map, or has no box.
    """
    _check("fits", fits, words)
    boxes, (rows, across) = check_boxes("boxes", boxes), fits.shape[1:]
    if cells.ndim != 1 or len(cells) != len(boxes):
        raise ValueError(f"cells is {tuple(cells.shape)} for {len(boxes)} boxes; expected (Q,), one for each box")
    if len(cells) and not 0 <= int(cells.min()) <= int(cells.max()) < rows * across:
        raise ValueError(f"cells has {cells.tolist()}; expected numbers in 0..{rows * across - 1}")
    figure, axes = _paper(len(words) + 1, columns, size, image.shape[-2] / image.shape[-1])
    for axis, word, fit in zip(axes, words, fits, strict=False):
        _paint(axis, image, fit.detach().sigmoid(), 1.0)
        axis.set_title(word, fontsize=10)
    show_chosen(axes[-1], image, cells.cpu(), boxes, (rows, across))
    axes[-1].set_title(f"{len(cells)} cells chosen,\nthe first {min(NUMBERED, len(cells))} boxes", fontsize=10)
    bar = figure.colorbar(axes[0].images[-1], ax=axes, shrink=0.85, ticks=(0, 0.5, 1))
    bar.set_label("probability that the word fits")
    return figure


def show_chosen(axis: Axes, image: Tensor, cells: Tensor, boxes: Tensor, shape: tuple[int, int]) -> None:
    """The chosen cells (Q,) of a map of this shape as dots, the first few with a number and their box (Q, 4)."""
    (height, width), (rows, columns) = image.shape[-2:], shape
    show_picture(axis, image, dim=0.4)
    x = ((cells % columns + 0.5) * width / columns).tolist()
    y = ((cells // columns + 0.5) * height / rows).tolist()
    thin_boxes(axis, boxes[:NUMBERED], FIRST, 1.1, 0.9)
    axis.plot(x[NUMBERED:], y[NUMBERED:], "o", color=DOT, markersize=4, markeredgecolor="#202020", markeredgewidth=0.6)
    for number, (across, down) in reversed(list(enumerate(zip(x[:NUMBERED], y[:NUMBERED]), 1))):
        axis.text(
            across, down, str(number), ha="center", va="center", fontsize=7, color="black",
            bbox={"boxstyle": "circle,pad=0.15", "facecolor": DOT, "edgecolor": "#202020", "linewidth": 0.6},
        )  # fmt: skip
    axis.set(xlim=(0, width), ylim=(height, 0))


def _paper(count: int, columns: int, size: float, aspect: float) -> tuple[Figure, list[Axes]]:
    """As `panels`, with room for a scale at the right."""
    columns = min(columns, count)
    size = min(size, (PAGE - BAR) / columns)
    figure, axes = panels(count, columns, size, aspect)
    figure.set_size_inches(columns * size + BAR, -(-count // columns) * (size * aspect + HEAD))
    figure.set_layout_engine("compressed")
    return figure, axes


def _paint(axis: Axes, image: Tensor, heat: Tensor, most: float) -> None:
    """A map (h, w) over the grey picture; `most` is the brightest colour."""
    height, width = image.shape[-2:]
    show_picture(axis, image, dim=1.0)
    values = heat.detach().cpu().float()
    axis.imshow(
        values.numpy(), cmap="viridis", vmin=0, vmax=most, interpolation="nearest", extent=(0, width, height, 0),
        alpha=(FAINTEST + (STRONGEST - FAINTEST) * values / most).clamp(0, 1).numpy(),
    )  # fmt: skip
    axis.set(xlim=(0, width), ylim=(height, 0))


def _check(name: str, maps: Tensor, words: Sequence[str]) -> None:
    if not words:
        raise ValueError("words is empty; expected at least one")
    if maps.ndim != 3 or len(maps) != len(words) or not maps.numel():
        raise ValueError(f"{name} is {tuple(maps.shape)}; expected ({len(words)}, h, w), a map for each word")
