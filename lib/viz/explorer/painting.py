"""The explorer's pictures, painted with NumPy and Pillow: quick enough to follow a hand that moves a slider."""

import io

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lib.viz.basics.draw import COLOURS, stretch
from lib.viz.explorer.geometry import Axis, Geometry

MARK = (255, 59, 107)  # the cell and what it sees; drawn on white, it shows on any picture
INK, PAPER = (32, 32, 32), (255, 255, 255)
FONT = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"  # the same on every machine


class Canvas:
    """A photo at the size at which it is shown, on which maps are laid.

    Args:
        photo: (H, W, 3) bytes.
        longest: the longer side of what is shown, in screen pixels.
    """

    def __init__(self, photo: np.ndarray, longest: int) -> None:
        self.photo = photo
        height, width = photo.shape[:2]
        self.scale = longest / max(height, width)
        self.height, self.width = max(1, round(height * self.scale)), max(1, round(width * self.scale))
        sampling = Image.Resampling.NEAREST if self.scale >= 3 else Image.Resampling.BICUBIC
        self.base = np.asarray(Image.fromarray(photo).resize((self.width, self.height), sampling))

    def cells_under(self, geometry: Geometry, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Which row of a map lies under each row of the canvas, and which column under each column; -1 where none."""
        return (
            _cells_under(geometry.y, rows, self.photo.shape[0], self.height),
            _cells_under(geometry.x, columns, self.photo.shape[1], self.width),
        )

    def lay(self, colours: np.ndarray, under: tuple[np.ndarray, np.ndarray], opacity: float) -> np.ndarray:
        """The photo with a coloured map (h, w, 3) over it, as bytes (height, width, 3). Grey where there is no cell."""
        rows, columns = under
        padded = np.pad(colours, ((0, 1), (0, 1), (0, 0)), constant_values=128)  # index -1 is the grey rim
        laid = padded[rows][:, columns].astype(np.uint16)
        weight = round(opacity * 256)
        return ((self.base * np.uint16(256 - weight) + laid * np.uint16(weight)) >> 8).astype(np.uint8)


def _cells_under(axis: Axis, cells: int, pixels: int, shown: int) -> np.ndarray:
    points = (np.arange(shown) + 0.5) * pixels / shown - 0.5  # in pixels of the photo
    index = np.floor((points - axis.centre(0)) / float(axis.stride) + 0.5)
    near = (index >= -1) & (index <= cells)  # the outermost cells reach one cell further
    return np.where(near, np.clip(index, 0, cells - 1), -1).astype(np.int64)


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONT, size)


def tint(values: np.ndarray) -> np.ndarray:
    """Numbers (h, w) as colours (h, w, 3), bytes: dark blue for the lowest, yellow for the highest."""
    return COLOURS[(stretch(values) * 255).astype(np.uint8)]


def frame(draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], size: tuple[int, int], width: int) -> None:
    """A frame around `box` (x1, y1, x2, y2), within a picture of `size`, in the mark's colour with a white rim.

    A box of less than 8 screen pixels is framed as if it had 8, so that it can be found.
    """
    grow_x, grow_y = max(0.0, 8 - (box[2] - box[0])) / 2, max(0.0, 8 - (box[3] - box[1])) / 2
    x1, y1 = (round(min(max(edge, 0), side - 8)) for edge, side in zip((box[0] - grow_x, box[1] - grow_y), size))
    x2, y2 = (round(min(max(edge, 8), side)) for edge, side in zip((box[2] + grow_x, box[3] + grow_y), size))
    draw.rectangle((x1 - 1, y1 - 1, x2, y2), outline=PAPER, width=width + 2)
    draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=MARK, width=width)


def enlarge(photo: np.ndarray, window: tuple[int, int, int, int], size: int) -> Image.Image:
    """What a cell sees: the part `window` (x1, y1, x2, y2) of the photo, enlarged to fit in `size` by `size`."""
    x1, y1, x2, y2 = window
    if x2 <= x1 or y2 <= y1:
        return Image.new("RGB", (size, size), (128, 128, 128))  # only padding
    scale = size / max(x2 - x1, y2 - y1)
    shape = max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale))
    sampling = Image.Resampling.NEAREST if scale >= 3 else Image.Resampling.BILINEAR
    return Image.fromarray(photo[y1:y2, x1:x2]).resize(shape, sampling)


def label(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int = 11) -> None:
    """White text on a dark plate, its upper left corner at `place`."""
    font = _font(size)
    x1, y1, x2, y2 = draw.textbbox((place[0] + 3, place[1] + 1), text, font=font)
    draw.rectangle((place[0], place[1], x2 + 3, y2 + 2), fill=(0, 0, 0))
    draw.text((place[0] + 3, place[1] + 1), text, font=font, fill=(255, 255, 255))


def png(picture: Image.Image, small: bool = False) -> bytes:
    """The picture as a PNG file: written quickly, or a smaller one."""
    buffer = io.BytesIO()
    picture.save(buffer, format="png", compress_level=9 if small else 1)
    return buffer.getvalue()


def snapshot(
    picture: Image.Image, crop: Image.Image, title: str, cell: str, bars: list[tuple[int, float]]
) -> Image.Image:
    """Everything that the explorer shows, as one picture on white: for readers without a kernel."""
    side, gap, top = 220, 12, 44
    sheet = Image.new("RGB", (picture.width + side + 3 * gap, max(picture.height, 400) + top + gap), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((gap, gap), title, font=_font(14), fill=INK)
    sheet.paste(picture, (gap, top))
    x, y = picture.width + 2 * gap, top
    small = _font(11)
    draw.multiline_text((x, y), cell, font=small, fill=INK, spacing=3)
    y += 66
    sheet.paste(crop, (x, y))
    y += crop.height + gap
    draw.text((x, y), "channels of this cell", font=small, fill=INK)
    largest = max([abs(value) for _, value in bars], default=0) or 1.0
    for channel, value in bars:
        y += 18
        draw.text((x, y), f"{channel}", font=small, fill=INK)
        draw.rectangle((x + 36, y + 3, x + 36 + round(110 * abs(value) / largest), y + 14), fill=bar_colour(value))
        draw.text((x + 152, y), f"{value:.2f}", font=small, fill=INK)
    return sheet


def bar_colour(value: float) -> tuple[int, int, int]:
    """Green for positive, violet for negative values: told apart on light and dark pages."""
    return (34, 160, 132) if value >= 0 else (150, 110, 210)
