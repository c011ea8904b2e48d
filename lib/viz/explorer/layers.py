"""What is sent to the page of a map: eight bits for each number, the range of each channel, and where the cells lie.

A number becomes a level from 0 (the lowest of its channel) to 254 (the highest); 255 stands for what is no number (NaN
or infinite) and is shown grey. The page turns levels into colours by `TABLE`, and back into numbers by the ranges.
"""

from functools import cached_property

import numpy as np

from lib.viz.basics.draw import COLOURS
from lib.viz.explorer.activations import FeatureMap
from lib.viz.explorer.feature_pictures import pca_colours, strongest_channels

TOP, NO_NUMBER = 254, 255  # the highest level, and the level of what is no number
GREY = 128
TABLE = np.vstack([COLOURS[np.round(np.arange(TOP + 1) * 255 / TOP).astype(int)], [[GREY] * 3]]).astype(np.uint8)
PIECE = 2**20  # bytes of levels sent at once


def quantise(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Channels (C, h, w) as levels, and the numbers at level 0 and at level 254.

    Returns:
        levels (C, h, w) bytes, low (C,), high (C,). A channel of equal numbers has level 0 everywhere, one without any
        number the range 0 to 0.
    """
    values = np.asarray(values, dtype=np.float32)
    good = np.isfinite(values)
    low = np.where(good, values, np.inf).min((1, 2))  # (C,)
    high = np.where(good, values, -np.inf).max((1, 2))
    low, high = (np.where(np.isfinite(end), end, 0).astype(np.float32) for end in (low, high))
    half = np.maximum(high / 2 - low / 2, np.finfo(np.float32).tiny)  # halves: the range itself may be too large
    with np.errstate(invalid="ignore", over="ignore"):
        share = (values / 2 - low[:, None, None] / 2) / half[:, None, None]
    levels = np.where(good, np.round(np.where(good, share, 0) * TOP), NO_NUMBER)
    return levels.astype(np.uint8), low, high


class Layer:
    """A map, ready to be sent and drawn. What takes time is worked out when it is first asked for, once.

    Attributes:
        found: the map.
    """

    def __init__(self, found: FeatureMap) -> None:
        self.found = found

    @property
    def values(self) -> np.ndarray:
        """(C, h, w) float32. Not kept: it is four times as large as the levels."""
        return self.found.values.float().numpy()

    @cached_property
    def order(self) -> list[int]:
        """All channels, those first that vary most."""
        return strongest_channels(self.found.values)

    @cached_property
    def quantised(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Levels (C, h, w), low (C,), high (C,)."""
        return quantise(self.values)

    @cached_property
    def mean(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The mean over channels as levels (1, h, w), with low (1,) and high (1,)."""
        with np.errstate(invalid="ignore"):
            return quantise(self.values.mean(0, dtype=np.float64)[None])

    @cached_property
    def pca(self) -> np.ndarray:
        """Three main directions as colours, (h, w, 3) bytes."""
        return (pca_colours(self.found.values) * 255).astype(np.uint8)

    @cached_property
    def strange(self) -> int:
        """How many numbers are NaN or infinite."""
        return int((self.quantised[0] == NO_NUMBER).sum())

    @property
    def piece(self) -> int:
        """How many channels are sent at once: as many as fit, one in any case."""
        channels, height, width = self.found.shape
        return min(channels, max(1, PIECE // (height * width)))

    def cell(self, row: int, column: int) -> np.ndarray:
        """The exact numbers of one cell, (C,)."""
        return self.found.values[:, row, column].float().numpy()

    def head(self) -> dict:
        """What the page must know to show the layer, with its first piece."""
        geometry, (channels, height, width) = self.found.geometry, self.found.shape
        _, low, high = self.quantised
        mean, mean_low, mean_high = self.mean
        return {
            "layer": self.found.name,
            "channels": channels,
            "height": height,
            "width": width,
            "y": [geometry.y.edge(0), float(geometry.y.stride)],  # where cell 0 begins, pixels from cell to cell
            "x": [geometry.x.edge(0), float(geometry.x.stride)],
            "rows": [geometry.window(row, 0)[1::2] for row in range(height)],  # pixels seen: from, to
            "columns": [geometry.window(0, column)[0::2] for column in range(width)],
            "order": self.order,
            "low": low.tolist(),
            "high": high.tolist(),
            "mean_range": [float(mean_low[0]), float(mean_high[0])],
            "strange": self.strange,
            "mean": mean.tobytes(),
            "pca": self.pca.tobytes(),
            **self.part(0, self.piece),
        }

    def part(self, first: int, count: int) -> dict:
        """The levels of `count` channels, beginning with number `first` of `order`."""
        chosen = self.order[first : first + count]
        return {"layer": self.found.name, "first": first, "levels": self.quantised[0][chosen].tobytes()}

    def column(self, row: int, column: int) -> dict:
        """The levels of all channels in one cell, for a layer of which not every piece is in the page."""
        return {"layer": self.found.name, "cell": [row, column], "column": self.quantised[0][:, row, column].tobytes()}
