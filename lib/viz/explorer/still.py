"""What the explorer shows as one still picture, for readers without a kernel. The live one is drawn in the page."""

from dataclasses import dataclass

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lib.viz.explorer.geometry import Axis
from lib.viz.explorer.layers import GREY, TABLE, Layer

MARK = (255, 59, 107)  # the cell and what it sees; drawn on white, it shows on any picture
INK, PAPER = (32, 32, 32), (255, 255, 255)
FONT = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"  # the same on every machine
SHOWN, CROP, GRID, BARS = 440, 168, 4, 8  # screen pixels of picture and enlargement; tiles in a row; bars


@dataclass(frozen=True)
class Look:
    """What is looked at.

    Attributes:
        photo: (H, W, 3) bytes.
        layer: the map.
        view: "channel", "strongest", "mean" or "pca".
        channel: of the view "channel".
        opacity: of the map over the photo, 0 to 1.
        cell: (row, column).
    """

    photo: np.ndarray
    layer: Layer
    view: str
    channel: int
    opacity: float
    cell: tuple[int, int]

    @property
    def window(self) -> tuple[int, int, int, int]:
        """What the cell sees: (x1, y1, x2, y2) in pixel edges."""
        return self.layer.found.geometry.window(*self.cell)


def still_picture(look: Look, title: str) -> Image.Image:
    """Everything that the explorer shows, on white: the picture on the left, the cell on the right."""
    picture, crop = paint(look), enlarge(look)
    side, gap, top = 220, 12, 44
    sheet = Image.new("RGB", (picture.width + side + 3 * gap, max(picture.height, 400) + top + gap), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((gap, gap), title, font=_font(14), fill=INK)
    sheet.paste(picture, (gap, top))
    x, y = picture.width + 2 * gap, top
    small = _font(11)
    draw.multiline_text((x, y), "\n".join(cell_lines(look)), font=small, fill=INK, spacing=3)
    y += 66
    sheet.paste(crop, (x, y))
    _draw_bars(draw, x, y + crop.height + gap, look.layer.cell(*look.cell))
    return sheet


def paint(look: Look) -> Image.Image:
    """The photo with the map over it and the cell marked; or the sixteen strongest channels as tiles."""
    height, width = look.photo.shape[:2]
    scale = SHOWN / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if look.view == "strongest":
        return _paint_grid(look, size)
    if look.view == "pca":
        colours = look.layer.pca
    else:
        levels = look.layer.quantised[0][look.channel] if look.view == "channel" else look.layer.mean[0][0]
        colours = TABLE[levels]
    picture = _lay(look, colours, size)
    draw, geometry = ImageDraw.Draw(picture), look.layer.found.geometry
    _frame(draw, tuple(edge * scale for edge in look.window), picture.size, width=3)
    row, column = look.cell
    place = (geometry.x.edge(column), geometry.y.edge(row), geometry.x.edge(column + 1), geometry.y.edge(row + 1))
    _frame(draw, tuple(edge * scale for edge in place), picture.size, width=1)
    return picture


def _paint_grid(look: Look, size: tuple[int, int]) -> Image.Image:
    sheet = Image.new("RGB", size, (GREY,) * 3)
    tile_size = max(1, size[0] // GRID - 2), max(1, size[1] // GRID - 2)
    for position, channel in enumerate(look.layer.order[: GRID * GRID]):
        tile = _lay(look, TABLE[look.layer.quantised[0][channel]], tile_size)
        _label(ImageDraw.Draw(tile), f"{channel}")
        down, across = divmod(position, GRID)
        sheet.paste(tile, (across * size[0] // GRID + 1, down * size[1] // GRID + 1))
    return sheet


def _lay(look: Look, colours: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The photo at `size` (width, height) with a coloured map (h, w, 3) over it. Grey where there is no cell."""
    height, width = look.photo.shape[:2]
    sampling = Image.Resampling.NEAREST if size[0] >= 3 * width else Image.Resampling.BICUBIC
    geometry = look.layer.found.geometry
    rows = _cells_under(geometry.y, colours.shape[0], height, size[1])
    columns = _cells_under(geometry.x, colours.shape[1], width, size[0])
    padded = np.pad(colours, ((0, 1), (0, 1), (0, 0)), constant_values=GREY)  # index -1 is the grey rim
    laid = Image.fromarray(padded[rows][:, columns])
    return Image.blend(Image.fromarray(look.photo).resize(size, sampling), laid, look.opacity)


def _cells_under(axis: Axis, cells: int, pixels: int, shown: int) -> np.ndarray:
    """Which cell lies under each of `shown` screen pixels, -1 where none: the outermost reach one cell further."""
    points = (np.arange(shown) + 0.5) * pixels / shown
    index = np.floor((points - axis.edge(0)) / float(axis.stride))
    return np.where((index >= -1) & (index <= cells), np.clip(index, 0, cells - 1), -1).astype(np.int64)


def enlarge(look: Look) -> Image.Image:
    """The part of the photo that the cell sees, enlarged to fit in `CROP` by `CROP`."""
    x1, y1, x2, y2 = look.window
    if x2 <= x1 or y2 <= y1:
        return Image.new("RGB", (CROP, CROP), (GREY,) * 3)  # only padding
    scale = CROP / max(x2 - x1, y2 - y1)
    shape = max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale))
    sampling = Image.Resampling.NEAREST if scale >= 3 else Image.Resampling.BILINEAR
    return Image.fromarray(look.photo[y1:y2, x1:x2]).resize(shape, sampling)


def cell_lines(look: Look) -> list[str]:
    """Which cell it is and what it sees, in words."""
    (row, column), (x1, y1, x2, y2) = look.cell, look.window
    if x2 <= x1 or y2 <= y1:
        return [f"cell: row {row}, column {column}", "sees nothing but padding"]
    return [
        f"cell: row {row}, column {column}",
        f"sees {y2 - y1}×{x2 - x1} pixels",
        f"rows {y1}–{y2 - 1}",
        f"columns {x1}–{x2 - 1}",
    ]


def _draw_bars(draw: ImageDraw.ImageDraw, x: int, y: int, values: np.ndarray) -> None:
    """The strongest channels of a cell (C,), green for positive and violet for negative numbers."""
    small = _font(11)
    draw.text((x, y), "channels of this cell", font=small, fill=INK)
    sizes = np.where(np.isfinite(values), np.abs(values), -1)
    chosen = np.argsort(-sizes, kind="stable")[:BARS]
    largest = max(float(sizes[chosen[0]]), 1e-30)
    for channel in chosen:
        y += 18
        value = float(values[channel])
        colour = (34, 160, 132) if value >= 0 else (150, 110, 210)
        width = round(110 * max(float(sizes[channel]), 0) / largest)
        draw.text((x, y), f"{channel}", font=small, fill=INK)
        draw.rectangle((x + 36, y + 3, x + 36 + width, y + 14), fill=colour)
        draw.text((x + 152, y), f"{value:.2f}" if abs(value) < 1e6 else f"{value:.1e}", font=small, fill=INK)


def _frame(
    draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], size: tuple[int, int], width: int
) -> None:
    """A frame around `box` (x1, y1, x2, y2), within a picture of `size`, in the mark's colour with a white rim.

    A box of less than 8 screen pixels is framed as if it had 8, so that it can be found.
    """
    grow_x, grow_y = max(0.0, 8 - (box[2] - box[0])) / 2, max(0.0, 8 - (box[3] - box[1])) / 2
    x1, y1 = (round(min(max(edge, 0), side - 8)) for edge, side in zip((box[0] - grow_x, box[1] - grow_y), size))
    x2, y2 = (round(min(max(edge, 8), side)) for edge, side in zip((box[2] + grow_x, box[3] + grow_y), size))
    draw.rectangle((x1 - 1, y1 - 1, x2, y2), outline=PAPER, width=width + 2)
    draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=MARK, width=width)


def _label(draw: ImageDraw.ImageDraw, text: str) -> None:
    """White text on a dark plate in the upper left corner."""
    x1, y1, x2, y2 = draw.textbbox((3, 1), text, font=_font(11))
    draw.rectangle((0, 0, x2 + 3, y2 + 2), fill=(0, 0, 0))
    draw.text((3, 1), text, font=_font(11), fill=PAPER)


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONT, size)
