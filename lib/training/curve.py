"""The curve that grows in the notebook while a model learns."""

import base64
import io
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython import get_ipython
from IPython.display import display

from lib.training.history import LOSS_COLOUR, METRIC_COLOUR, History, smoothed

HERE = Path(__file__).parent
POINTS = 240  # of a curve that are sent to the browser


class LiveCurve(anywidget.AnyWidget):
    """The smoothed loss, the loss of single steps behind it, and the first metric. Point at it to read the numbers.

    It redraws itself in place. Readers without a kernel see a still picture of how the run ended.

    Args:
        history: whose numbers to show; read again at each `redraw()`.
        steps, seconds: the budget, one of the two: the length of the axis.
    """

    _esm = HERE / "curve.js"
    _css = HERE / "curve.css"
    curve = traitlets.Dict().tag(sync=True)

    def __init__(self, history: History, end: float) -> None:
        super().__init__()
        self._history, self._end, self._running = history, end, True
        self.redraw()
        in_notebook = getattr(get_ipython(), "kernel", None) is not None
        self._handle = display(self, display_id=True) if in_notebook else None

    def redraw(self) -> None:
        """Send the browser the curve as it is now."""
        history = self._history
        places, course = history.places(), smoothed(history.losses)
        apart = -(-len(places) // POINTS) or 1
        kept = list(range(len(places) - 1, -1, -apart))[::-1]  # always the latest step
        metric, values = next(iter(history.metrics.items()), ("", []))
        self.curve = {
            "model": history.name,
            "unit": "s" if history.timed else "step",
            "end": self._end,
            "steps": [index + 1 for index in kept],
            "x": [round(places[index], 3) for index in kept],
            "loss": [course[index] for index in kept],
            "single": [history.losses[index] for index in kept],
            "metric": metric,
            "metricX": [round(places[step - 1], 3) for step in history.metric_steps],
            "metricY": values,
            "colours": [LOSS_COLOUR, METRIC_COLOUR],
            "state": "running" if self._running else "interrupted" if history.interrupted else "done",
        }

    def close(self) -> None:
        """The last picture: drawn once more, and stored in the notebook beside the living one."""
        self._running = False
        self.redraw()
        if self._handle is not None:
            self._handle.update(self)

    def __repr__(self) -> str:
        return f"Loss curve of {self._history.name}"

    def _repr_mimebundle_(self, **arguments: Any) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**arguments) or ({}, {})
        data = dict(data) | {"text/plain": repr(self)}
        if not self._running:
            buffer = io.BytesIO()
            self._history.plot().savefig(buffer, format="png", dpi=80)
            data["image/png"] = base64.b64encode(buffer.getvalue()).decode()
        return data, metadata
