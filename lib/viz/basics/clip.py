"""Pictures one after the other: a film that plays in the notebook, as a GIF."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

STILLS = 4  # frames in the row that stands in for the film where nothing moves


class Clip:
    """A film that plays again and again. Readers on paper see four of its frames in a row.

    Args:
        frames: (H, W, 3) bytes each, all of one size; `lib.viz.basics.draw.to_pixels` makes them.
        per_second: how many are shown in a second.

    Raises:
        ValueError: there is no frame, one has another shape or is not made of bytes, or `per_second` is not above 0.
    """

    def __init__(self, frames: Sequence[np.ndarray], per_second: float = 8) -> None:
        if not len(frames):
            raise ValueError("frames is empty; expected at least one picture")
        for number, frame in enumerate(frames):
            if frame.shape != frames[0].shape or frame.shape[2:] != (3,) or frame.dtype != np.uint8:
                raise ValueError(
                    f"frames[{number}] is {frame.dtype} {frame.shape}; expected (H, W, 3) bytes, all alike"
                )
        if not per_second > 0:
            raise ValueError(f"per_second is {per_second!r}; expected a number above 0")
        self.frames, self.per_second = [np.ascontiguousarray(frame) for frame in frames], per_second

    def gif(self) -> bytes:
        """The film as a file, without end. A GIF has 256 colours at most; each frame chooses its own."""
        pictures = [Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE) for frame in self.frames]
        file = io.BytesIO()
        pictures[0].save(
            file,
            "GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 / self.per_second),
            loop=0,
            optimize=False,
        )
        return file.getvalue()

    def stills(self) -> np.ndarray:
        """Up to four frames in a row, from the first to the last, with a white line between two: (H, W', 3) bytes."""
        places = np.linspace(0, len(self.frames) - 1, min(STILLS, len(self.frames))).round().astype(int)
        line = np.full((len(self.frames[0]), 6, 3), 255, np.uint8)
        row = [part for place in places for part in (self.frames[place], line)]
        return np.concatenate(row[:-1], axis=1)

    def __repr__(self) -> str:
        height, width = self.frames[0].shape[:2]
        return f"Clip: {len(self.frames)} frames of {width} × {height} pixels, {self.per_second:g} a second"

    def _repr_mimebundle_(self, **arguments: object) -> dict[str, str]:
        film = base64.b64encode(self.gif()).decode()
        file = io.BytesIO()
        Image.fromarray(self.stills()).save(file, "PNG")
        return {
            "text/plain": repr(self),
            "text/html": f'<img src="data:image/gif;base64,{film}" alt="{self!r}">',
            "image/png": base64.b64encode(file.getvalue()).decode(),
        }
