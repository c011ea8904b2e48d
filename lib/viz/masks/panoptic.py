"""Panoptic maps: the class gives the hue, and each thing has a shade of its own (lesson 15)."""

import colorsys
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from lib.ops.panoptic import VOID, Panoptic
from lib.viz.basics.draw import panels
from lib.viz.detection.boxes import show_picture
from lib.viz.masks.query_masks import Colour, show_edges

NOBODY = (0.08, 0.08, 0.08)  # void
LIGHTER = (-0.15, 0.24, -0.52, 0.06, 0.39, -0.34, 0.55)  # by number: so far to white, or so far to black
TURNED = (-0.025, 0.025)  # by number: of the whole circle of hues


def draw_panoptic(
    image: Tensor | None,
    maps: dict[str, Panoptic],
    names: Sequence[str],
    colours: Sequence[Colour],
    columns: int = 4,
    size: float = 3.1,
) -> Figure:
    """Panoptic maps beside the picture, with a line between any two segments and its number on each.

    Args:
        image: (3, H, W) floats 0..1; None to leave it out.
        maps: by title; numbers and segments as in `lib.ops.panoptic`.
        names, colours: of the K classes.
        columns, size: pictures in a row, and the width of one in inches.

    Raises:
        ValueError: there is no map or no column, a map is not (H, W) whole numbers or has a number without a segment,
            a segment's class has no name, or there are other numbers of colours than of names.
    """
    if not maps or columns < 1:
        raise ValueError(f"maps has {len(maps)} entries and columns is {columns}; expected at least one of each")
    if len(names) != len(colours):
        raise ValueError(f"colours has {len(colours)} entries for {len(names)} names; expected as many")
    painted = {title: _painted(f"maps[{title!r}]", each, colours) for title, each in maps.items()}
    height, width = next(iter(maps.values()))[0].shape if image is None else image.shape[-2:]
    shown = len(maps) + (image is not None)
    figure, axes = panels(shown, columns, size, height / width)
    if image is not None:
        show_picture(axes[0], image, "picture")
    for axis, (title, each) in zip(axes[shown - len(maps) :], maps.items(), strict=True):
        numbers = each[0].cpu().numpy()
        axis.imshow(painted[title], interpolation="nearest", extent=(0, numbers.shape[1], numbers.shape[0], 0))
        axis.set_title(title, fontsize=10)
        show_edges(axis, numbers, numbers.shape, "white", 0.9)
        axis.set(xlim=(0, numbers.shape[1]), ylim=(numbers.shape[0], 0))
        write_numbers(axis, numbers)
    seen = {segment["label"] for _, segments in maps.values() for segment in segments}
    handles = [Patch(facecolor=colours[label], label=names[label]) for label in sorted(seen)]
    if any((numbers == VOID).any() for numbers, _ in maps.values()):
        handles.append(Patch(facecolor=NOBODY, label="void: no segment"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    return figure


def panoptic_colours(panoptic: Panoptic, colours: Sequence[Colour]) -> np.ndarray:
    """A panoptic map as a picture (H, W, 3), floats 0..1, such as `to_pixels` takes for a `Clip`.

    A segment's colour depends on its class and its number alone, so in a film a number keeps its colour. Things of one
    class have different shades of its colour if their numbers differ by less than 14. Stuff has the colour of its class
    ("isthing" False; where it is not said, a segment is taken for a thing). Void is nearly black.

    Args:
        panoptic: numbers (H, W) and segments.
        colours: of the K classes.

    Raises:
        ValueError: the map is not (H, W) whole numbers, it has a number without a segment, or a class no colour.
    """
    return _painted("panoptic", panoptic, colours)


def thing_colour(colour: Colour, number: int) -> tuple[float, float, float]:
    """The shade of a class's colour that the thing with this number has, RGB in 0..1; 14 of them, then again."""
    hue, light, strength = colorsys.rgb_to_hls(*to_rgb(colour))
    shade = colorsys.hls_to_rgb((hue + TURNED[number % len(TURNED)]) % 1, light, strength)
    share = LIGHTER[number % len(LIGHTER)]
    red, green, blue = (one + abs(share) * ((share > 0) - one) for one in shade)
    return red, green, blue


def _painted(name: str, panoptic: Panoptic, colours: Sequence[Colour]) -> np.ndarray:
    numbers, segments = panoptic
    if numbers.ndim != 2 or numbers.numel() == 0 or numbers.is_floating_point():
        raise ValueError(f"{name} has a map {tuple(numbers.shape)} {numbers.dtype}; expected whole numbers (H, W)")
    strangers = set(numbers.unique().tolist()) - {segment["id"] for segment in segments} - {VOID}
    if strangers:
        raise ValueError(f"{name} has the numbers {sorted(strangers)} in its map; expected 0 or the id of a segment")
    picture = np.empty((*numbers.shape, 3), dtype=np.float32)
    picture[...] = NOBODY
    for segment in segments:
        if not 0 <= segment["label"] < len(colours):
            raise ValueError(f"{name} has a segment of class {segment['label']}; expected 0..{len(colours) - 1}")
        own = colours[segment["label"]]
        shade = thing_colour(own, segment["id"]) if segment.get("isthing", True) else to_rgb(own)
        picture[(numbers == segment["id"]).cpu().numpy()] = shade
    return picture


def write_numbers(axis: Axes, numbers: np.ndarray, least: float = 0.0) -> None:
    """The number of each segment of a map (H, W), at its pixel that lies furthest from its border; 0 has none.

    Args:
        least: pixels from the border; where that pixel is nearer to it, the segment is too small for its number.
    """
    for number in np.unique(numbers[numbers != VOID]).tolist():
        inside = distance_transform_edt(np.pad(numbers == number, 1))[1:-1, 1:-1]  # (H, W), pixels
        if inside.max() < least:
            continue
        row, column = np.unravel_index(inside.argmax(), inside.shape)
        halo = [withStroke(linewidth=2, foreground="#202020")]
        axis.text(
            column + 0.5, row + 0.5, str(number), ha="center", va="center", color="white", path_effects=halo,
            fontsize=9 if inside.max() > 4 else 7,
        )  # fmt: skip
