"""All masks of a picture at once, each in a colour of its own (lesson 18)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from lib.viz.basics.draw import panels, to_pixels
from lib.viz.detection.boxes import CLASS_COLOURS
from lib.viz.masks.query_masks import Colour

GREY = 0.45  # how much of the picture's colour is taken away below the masks, and where there is none
TINT = 0.6  # how much of a mask's colour covers the picture
SHARP = 576  # pixels of the drawing: its longer side has so many, or few more
EDGE = 0.5  # brightness of an outline, beside that of its mask's colour
LINE = 2  # pixels of the drawing: the width of an outline
MIXED = ((0.0, 0.0), (1.0, 0.55), (0.0, 0.45))  # white or black, and how much of it, mixed into the colours, in turn


def draw_everything(image: Tensor, masks: Tensor, title: str | None = None, size: float = 4.2) -> Figure:
    """A picture with all its masks, the large ones first, so that small ones lie above.

    Args:
        image: (3, H, W) floats 0..1.
        masks: (M, H, W) bool; M may be 0. Mask number i has the same colour in every call.
        title: None: the number of masks.
        size: width in inches.

    Raises:
        ValueError: masks and picture differ in size.
    """
    return draw_mask_sets(image, {counted(len(masks)) if title is None else title: masks}, size=size, count=False)


def draw_mask_sets(
    image: Tensor, sets: dict[str, Tensor], columns: int = 4, size: float = 3.1, count: bool = True
) -> Figure:
    """Several sets of masks of one picture side by side, such as "drawn by the annotator" and "found automatically".

    Args:
        sets: by title (M, H, W) bool.
        columns, size: pictures in a row, and the width of one in inches.
        count: whether to say below the title how many masks there are.

    Raises:
        ValueError: there is no set, or masks and picture differ in size.
    """
    if not sets:
        raise ValueError("sets is empty; expected at least one")
    figure, axes = panels(len(sets), columns, size, image.shape[-2] / image.shape[-1])
    for axis, (title, masks) in zip(axes, sets.items(), strict=True):
        show_everything(axis, image, masks)
        axis.set_title(f"{title}\n{counted(len(masks))}" if count else title, fontsize=10)
    return figure


def show_everything(axis: Axes, image: Tensor, masks: Tensor, colours: Sequence[Colour] | None = None) -> None:
    """All masks of a picture on an axis with the coordinates of boxes; see `draw_everything` and `paint_everything`."""
    height, width = image.shape[-2:]
    axis.imshow(paint_everything(image, masks, colours), extent=(0, width, height, 0), interpolation="antialiased")
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.axis("off")


def paint_everything(image: Tensor, masks: Tensor, colours: Sequence[Colour] | None = None) -> np.ndarray:
    """The picture, greyer, with all masks as pixels: a thousand of them take less than a tenth of a second.

    A pixel has the colour of the smallest mask that covers it. Every mask has a line along its edge, in its colour but
    darker; where the edges of several masks coincide, that of the smallest.

    Args:
        image: (3, H, W). masks: (M, H, W) bool.
        colours: M, as matplotlib names them; None: those of `mask_colour`.

    Returns:
        (k · H, k · W, 3) bytes; k is the first whole number with which the longer side has at least SHARP pixels.

    Raises:
        ValueError: masks and picture differ in size, or there are other numbers of colours than of masks.
    """
    if masks.ndim != 3 or masks.shape[1:] != image.shape[-2:]:
        raise ValueError(f"masks is {tuple(masks.shape)}; expected (M, {image.shape[-2]}, {image.shape[-1]})")
    if colours is not None and len(colours) != len(masks):
        raise ValueError(f"colours has {len(colours)} entries; expected {len(masks)}, one for each mask")
    light = 255 * np.array(
        [to_rgb(colour) for colour in colours] if colours is not None else [mask_colour(i) for i in range(len(masks))]
    ).reshape(-1, 3)  # (M, 3)
    inside, below, beside = owners(masks)
    picture = to_pixels(image).astype(np.float32)  # (H, W, 3)
    picture = (1 - GREY) * picture + GREY * picture.mean(2, keepdims=True)
    covered = inside >= 0
    picture[covered] = (1 - TINT) * picture[covered] + TINT * light[inside[covered]]
    scale = -(-SHARP // max(picture.shape[:2]))
    sheet = picture.round().astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1)
    _rule(sheet, below, light, scale)
    _rule(sheet.transpose(1, 0, 2), beside.T, light, scale)
    return sheet


def owners(masks: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The number of the smallest of M masks at each pixel and at each edge of one, -1 where there is none.

    Of masks of one size, the one that comes first.

    Returns:
        Pixels (H, W); edges above each row, and below the last, (H + 1, W); edges left of each column, and right of the
        last, (H, W + 1). The picture's border is an edge of a mask that touches it.
    """
    yes = masks.detach().cpu().numpy().astype(bool)
    height, width = yes.shape[1:]
    inside = np.full((height, width), -1)
    below, beside = np.full((height + 1, width), -1), np.full((height, width + 1), -1)
    order = np.argsort(yes.sum((1, 2)), kind="stable")
    for number in order[::-1].tolist():
        padded = np.pad(yes[number], 1)  # (H + 2, W + 2)
        inside[yes[number]] = number
        below[padded[1:, 1:-1] != padded[:-1, 1:-1]] = number
        beside[padded[1:-1, 1:] != padded[1:-1, :-1]] = number
    return inside, below, beside


def mask_colour(number: int) -> tuple[float, float, float]:
    """Red, green and blue, 0..1, of mask number 0, 1, ...: seven colours (Okabe & Ito 2008), then lighter, then darker.

    After 21 masks they begin again.
    """
    named = CLASS_COLOURS[1:]
    toward, share = MIXED[number // len(named) % len(MIXED)]
    red, green, blue = ((1 - share) * part + share * toward for part in to_rgb(named[number % len(named)]))
    return red, green, blue


def counted(number: int) -> str:
    """Such as "12 masks"."""
    return f"{number} mask" + "s" * (number != 1)


def _rule(sheet: np.ndarray, edges: np.ndarray, light: np.ndarray, scale: int) -> None:
    """Draw lines between rows: sheet (scale · H, scale · W, 3), edges (H + 1, W), colours (M, 3) of their numbers."""
    row, column = np.nonzero(edges >= 0)
    colour = (EDGE * light[edges[row, column]]).round()  # (E, 3)
    for line in range(-LINE // 2, LINE - LINE // 2):
        y = np.clip(scale * row + line, 0, len(sheet) - 1)
        for step in range(scale):
            sheet[y, scale * column + step] = colour
