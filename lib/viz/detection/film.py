"""What a detector finds in the frames of a clip, as a film (lesson 09)."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lib.datasets.toyworld import CLASSES
from lib.viz.basics.clip import Clip
from lib.viz.basics.draw import to_pixels
from lib.viz.detection.boxes import class_colour, ink_on

NAMES = ("background", *CLASSES)


def film_detections(
    frames: Sequence[Tensor],
    answers: Sequence[dict[str, Tensor]],
    names: Sequence[str] = NAMES,
    min_score: float = 0.5,
    scale: int = 3,
    per_second: float = 8,
) -> Clip:
    """A film of the frames with the boxes that were found in each, coloured by class and named.

    Args:
        frames: (3, H, W) floats 0..1 each.
        answers: for each frame "boxes" (n, 4) xyxy pixels, "scores" (n,) and "labels" (n,).
        names: of the classes, by label.
        min_score: boxes with a lower score are left out.
        scale: how many pixels of the film a pixel of the frame becomes.

    Raises:
        ValueError: there is not one answer for each frame, or there is no frame.
    """
    if len(frames) != len(answers):
        raise ValueError(f"answers has {len(answers)} entries; expected one for each of {len(frames)} frames")
    return Clip([_drawn(*pair, names, min_score, scale) for pair in zip(frames, answers)], per_second)


def _drawn(frame: Tensor, answer: dict[str, Tensor], names: Sequence[str], min_score: float, scale: int) -> np.ndarray:
    """One frame, enlarged, with its boxes: (H, W, 3) bytes."""
    pixels = to_pixels(frame)
    larger = (pixels.shape[1] * scale, pixels.shape[0] * scale)
    picture = Image.fromarray(pixels).resize(larger, Image.Resampling.NEAREST)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=11)
    found = zip(answer["boxes"].tolist(), answer["scores"].tolist(), answer["labels"].tolist())
    for box, score, label in reversed(list(found)):  # the best on top
        if score < min_score:
            continue
        colour = class_colour(label)
        x1, y1, x2, y2 = (round(side * scale) for side in box)
        pen.rectangle((x1 - 1, y1 - 1, max(x2, x1) + 1, max(y2, y1) + 1), outline="#202020", width=4)
        pen.rectangle((x1, y1, max(x2, x1), max(y2, y1)), outline=colour, width=2)
        left, top, right, bottom = pen.textbbox((0, 0), names[label], font=font)
        x, y = min(x1, picture.width - int(right) - 5), max(0, y1 - int(bottom) - 4)
        pen.rectangle((x, y, x + right + 4, y + bottom + 3), fill=colour)
        pen.text((x + 2, y + 1), names[label], font=font, fill=ink_on(colour))
    return np.asarray(picture)
