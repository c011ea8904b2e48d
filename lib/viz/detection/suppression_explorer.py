"""Non-maximum suppression with a threshold and rounds that can be moved: see `suppression`."""

import base64
import io
from dataclasses import replace

import ipywidgets
import traitlets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from lib.viz.detection.suppression import Suppression, paint, write_list
from lib.viz.detection.suppression_page import drawing


def explore_nms(
    image: Tensor,
    boxes: Tensor,
    scores: Tensor,
    classes: Tensor,
    labels: Tensor | None = None,
    threshold: float = 0.5,
) -> "SuppressionExplorer":
    """Move the threshold with a slider, go through the rounds with another one, and see who removes whom.

    Args:
        image: (3, H, W) floats 0..1.
        boxes: (N, 4) xyxy, a dozen or two, so that they can be told apart.
        scores: (N,).
        classes: (N,) class of the thing that a box belongs to, from 1. It gives the colour, and decides nothing.
        labels: (N,) numbers of classes. With them, a box removes only boxes of its own class.
        threshold: a box goes if its IoU with a better, kept one is above this.

    Raises:
        ValueError: the shapes do not fit, or `threshold` is outside of 0..1.
    """
    return SuppressionExplorer(Suppression.of(image, boxes, scores, classes, labels, threshold))


class SuppressionExplorer(ipywidgets.VBox):
    """What `explore_nms` gives. `threshold` and `rounds` can be set from Python too.

    Readers without a kernel see it as a PNG with `repr` as its text.
    """

    threshold = traitlets.Float(0.5, min=0, max=1)
    rounds = traitlets.Int(1)

    def __init__(self, suppression: Suppression) -> None:
        self.suppression = suppression
        kept, wide = len(suppression.kept), {"description_width": "initial"}
        limit = ipywidgets.FloatSlider(min=0, max=1, step=0.05, description="IoU threshold", style=wide)
        self._rounds = ipywidgets.IntSlider(kept, 0, max(kept, 1), description="rounds", style=wide)
        self._drawing = ipywidgets.HTML()
        super().__init__([ipywidgets.HBox([limit, self._rounds]), self._drawing])
        self.threshold, self.rounds = suppression.threshold, kept
        ipywidgets.link((self, "threshold"), (limit, "value"))
        ipywidgets.link((self, "rounds"), (self._rounds, "value"))
        self.observe(self._suppress_again, names="threshold")
        self.observe(self._draw, names="rounds")
        self._draw()

    def _suppress_again(self, change: object) -> None:
        """Another threshold keeps another number of boxes, and there is a round for each. Whoever saw all sees all."""
        saw_all = self.rounds >= len(self.suppression.kept)
        self.suppression = replace(self.suppression, threshold=self.threshold)
        kept = len(self.suppression.kept)
        self._rounds.max = max(kept, 1)
        if saw_all:
            self.rounds = kept
        self._draw()

    def _draw(self, change: object = None) -> None:
        self._drawing.value = drawing(self.suppression, self.rounds)

    def __repr__(self) -> str:
        kept = len(self.suppression.kept)
        return (
            f"SuppressionExplorer: {len(self.suppression.boxes)} boxes, IoU threshold {self.threshold:.2f}, {kept} kept"
        )

    def _repr_mimebundle_(self, **arguments: object) -> dict:
        figure = Figure(figsize=(8, 4.1), layout="constrained", facecolor="white")
        left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
        paint(left, self.suppression, self.rounds)
        left.set_title(self.suppression.count(self.rounds), fontsize=10)
        write_list(right, self.suppression, self.rounds)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer)
        still = {"text/plain": repr(self), "image/png": base64.b64encode(buffer.getvalue()).decode()}
        return dict(super()._repr_mimebundle_(**arguments)) | still
