"""A clip to be played and stopped: the picture, its segments and its depth side by side (lesson 16)."""

from collections.abc import Sequence

import ipywidgets
import numpy as np
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from lib.ops.panoptic import Panoptic
from lib.viz.basics.draw import PAGE
from lib.viz.basics.picture_widget import PictureWidget
from lib.viz.clips.depths import depth_bar, show_depth
from lib.viz.clips.steady import class_colours, paint_clip, thing_numbers
from lib.viz.clips.strip import show_segments
from lib.viz.detection.boxes import show_picture
from lib.viz.masks.query_masks import Colour

SIDE, GAP, TOP, BELOW = 2.86, 0.06, 0.3, 0.3  # inches: width of a panel, between two, above for titles, below for words


def play_clip(
    images: Tensor,
    panoptic: Panoptic,
    depth: Tensor,
    names: Sequence[str],
    colours: Sequence[Colour] | None = None,
    frame: int = 0,
    per_second: float = 2,
) -> "ClipPlayer":
    """Play a clip, or move through it with a slider. Segments and depth are painted as in `draw_clip`.

    Args:
        images: (T, 3, H, W) floats 0..1, or bytes.
        panoptic: numbers (T, H, W) with their segments, as `clip_panoptic` gives.
        depth: (T, H, W) metres, infinite where there is none.
        names, colours: of the K classes; None: the colours that boxes have.
        frame: that is shown first, from 0; the one that readers without a kernel see.
        per_second: how many frames are played in a second.

    Raises:
        ValueError: a shape does not fit, a number of the map has no segment, a class no name, there are other numbers
            of colours than of names, there is no such frame, or `per_second` is not above 0.
    """
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise ValueError(f"images is {tuple(images.shape)}; expected (T, 3, H, W), at least one frame")
    expected = (len(images), *images.shape[2:])
    for name, shape in (("panoptic", panoptic[0].shape), ("depth", depth.shape)):
        if tuple(shape) != expected:
            raise ValueError(f"{name} is {tuple(shape)}; expected {expected}, as images")
    if not per_second > 0:
        raise ValueError(f"per_second is {per_second!r}; expected a number above 0")
    painted = paint_clip("panoptic", panoptic, class_colours(names, colours))
    player = ClipPlayer(images.detach().cpu(), panoptic, painted, depth, names, per_second)
    player.frame = frame
    return player


class ClipPlayer(PictureWidget):
    """What `play_clip` gives.

    Attributes:
        frame: the one that is shown, from 0; it can be set from Python too.
    """

    frame = traitlets.Int(0)

    def __init__(
        self,
        images: Tensor,
        panoptic: Panoptic,
        painted: np.ndarray,
        depth: Tensor,
        names: Sequence[str],
        per_second: float,
    ) -> None:
        self.images, self.painted, self.depth = images, painted, depth
        self.numbers, self.things = panoptic[0].cpu().numpy(), thing_numbers(panoptic)
        self.says = {one["id"]: f"{one['id']}: {names[one['label']]}" for one in panoptic[1]}
        self._pictures: dict[int, bytes] = {}
        last = len(images) - 1
        play = ipywidgets.Play(value=0, min=0, max=last, interval=round(1000 / per_second))
        slider = ipywidgets.IntSlider(0, 0, last, description="frame")
        super().__init__([play, slider])
        self.link("frame", play)
        self.link("frame", slider)
        self.draw()

    @traitlets.validate("frame")
    def _check_frame(self, proposal: dict) -> int:
        if not 0 <= proposal["value"] < len(self.images):
            raise ValueError(f"frame is {proposal['value']}; expected 0 to {len(self.images) - 1}")
        return proposal["value"]

    def words(self) -> str:
        """Which frame it is, and which things are in it."""
        things = np.unique(self.things[self.frame])
        seen = ", ".join(self.says[number] for number in things[things > 0].tolist())
        return f"frame {self.frame} of {len(self.images)} (the first is 0); things: {seen or 'none'}"

    def __repr__(self) -> str:
        return f"ClipPlayer: {self.words()}"

    def draw(self, change: object = None) -> None:
        """Show `figure()`. A frame that was shown before is not drawn again."""
        if self.frame not in self._pictures:
            super().draw(change)
            self._pictures[self.frame] = self._picture.value
        self._picture.value = self._pictures[self.frame]

    def figure(self) -> Figure:
        """Picture, segments and depth of the frame, with the scale of depth."""
        high = SIDE * self.images.shape[2] / self.images.shape[3]
        height = TOP + high + BELOW
        figure = Figure(figsize=(PAGE, height), facecolor="white")
        lefts = [(GAP + place * (SIDE + GAP)) / PAGE for place in range(3)]
        axes = [figure.add_axes((left, BELOW / height, SIDE / PAGE, high / height)) for left in lefts]
        show_picture(axes[0], self.images[self.frame])
        at = (self.painted[self.frame], self.numbers[self.frame], self.things[self.frame])
        show_segments(axes[1], *at)
        show_depth(axes[2], self.depth[self.frame])
        for axis, title in zip(axes, ("picture", "segments", "depth")):
            axis.set_title(title, fontsize=10, y=1.01)  # a fixed place: a search for one is slow
        bar = figure.add_axes((axes[2].get_position().x1 + 0.06 / PAGE, BELOW / height, 0.1 / PAGE, high / height))
        depth_bar(figure, cax=bar)
        figure.text(GAP / PAGE, 0.5 * BELOW / height, self.words(), fontsize=9, va="center")
        return figure
