"""Colours that stay with a thing through a clip (lesson 16)."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.colors import to_rgb

from lib.ops.panoptic import VOID, Panoptic
from lib.viz.detection.boxes import class_colour
from lib.viz.masks.panoptic import NOBODY
from lib.viz.masks.query_masks import Colour

THING_COLOURS = (  # by number, any two of them far apart
    "#E6194B", "#4363D8", "#FFD619", "#2E9E3F", "#911EB4", "#F58231", "#2AD4D9", "#F032E6", "#7A4A16", "#000075",
)  # fmt: skip
PALE = 0.55  # so far to white goes the colour of stuff


def steady_colour(number: int) -> str:
    """The colour of the thing with this number, 1 or more; ten of them, then again."""
    return THING_COLOURS[(number - 1) % len(THING_COLOURS)]


def stuff_colour(colour: Colour) -> tuple[float, float, float]:
    """A class's colour, made pale, RGB in 0..1."""
    red, green, blue = (one + PALE * (1 - one) for one in to_rgb(colour))
    return red, green, blue


def class_colours(names: Sequence[str], colours: Sequence[Colour] | None) -> Sequence[Colour]:
    """The colours of the K classes; None: those that boxes have.

    Raises:
        ValueError: there are other numbers of colours than of names.
    """
    if colours is None:
        return [class_colour(label + 1) for label in range(len(names))]
    if len(colours) != len(names):
        raise ValueError(f"colours has {len(colours)} entries for {len(names)} names; expected as many")
    return colours


def segment_colours(panoptic: Panoptic, colours: Sequence[Colour]) -> dict[int, tuple[float, float, float]]:
    """By number of the segment: that of its number for a thing, that of its class, pale, for stuff.

    A segment that does not say whether it is a thing is taken for one.
    """
    return {
        one["id"]: to_rgb(steady_colour(one["id"])) if one.get("isthing", True) else stuff_colour(colours[one["label"]])
        for one in panoptic[1]
    }


def paint_clip(name: str, panoptic: Panoptic, colours: Sequence[Colour]) -> np.ndarray:
    """A panoptic map (T, H, W) of a clip as pictures (T, H, W, 3), floats 0..1. Void is nearly black.

    Args:
        name: of the argument, for errors.
        panoptic: numbers and segments, such as `clip_panoptic` gives.
        colours: of the K classes.

    Raises:
        ValueError: the map is not (T, H, W) whole numbers, has a number without a segment, or a class has no colour.
    """
    maps, segments = panoptic
    if maps.ndim != 3 or maps.numel() == 0 or maps.is_floating_point():
        raise ValueError(f"{name} has a map {tuple(maps.shape)} {maps.dtype}; expected whole numbers (T, H, W)")
    strangers = set(maps.unique().tolist()) - {segment["id"] for segment in segments} - {VOID}
    if strangers:
        raise ValueError(f"{name} has the numbers {sorted(strangers)} in its map; expected 0 or the id of a segment")
    for segment in segments:
        if not 0 <= segment["label"] < len(colours):
            raise ValueError(f"{name} has a segment of class {segment['label']}; expected 0..{len(colours) - 1}")
    pictures = np.empty((*maps.shape, 3), dtype=np.float32)
    pictures[...] = NOBODY
    for number, colour in segment_colours(panoptic, colours).items():
        pictures[(maps == number).cpu().numpy()] = colour
    return pictures


def thing_numbers(panoptic: Panoptic) -> np.ndarray:
    """The map with 0 wherever there is no thing."""
    maps, segments = panoptic
    things = torch.tensor([one["id"] for one in segments if one.get("isthing", True)], dtype=torch.int64)
    return torch.where(torch.isin(maps.cpu(), things), maps.cpu(), VOID).numpy()
