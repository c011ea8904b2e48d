"""Yours against ours, as a picture: for exercises whose result is boxes, or places of boxes (from lesson 05)."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lib.exercises.engine.exercise import Case

MOST = 12  # more boxes would cover each other


def compare_boxes(got: Any, expected: Any, case: "Case") -> "Figure | None":
    """Draws boxes: a learner's in red, the expected ones dotted in black on top.

    Args:
        got, expected: (N, 4) xyxy; of many boxes, the first dozen.
        case: unused; every `Exercise.picture` gets it.

    Returns:
        The figure, or None where there are no boxes to draw.
    """
    if not (_are_boxes(got) and _are_boxes(expected)):
        return None
    figure, (axes,) = _figure(1)
    _draw(axes, got[:MOST], "#D55E00", "-", "yours")
    _draw(axes, expected[:MOST], "black", ":", "expected")
    return figure


def compare_kept(got: Any, expected: Any, case: "Case") -> "Figure | None":
    """Draws which boxes a learner's function kept, and which it should keep; the others are thin and grey.

    Args:
        got, expected: (kept,) places of boxes.
        case: its first two arguments are the boxes (N, 4) and their scores (N,).

    Returns:
        The figure, or None where `got` holds no places, or there are no boxes.
    """
    boxes, scores = case.arguments[:2]
    if not _are_boxes(boxes) or not isinstance(got, Tensor) or got.ndim != 1 or got.is_floating_point():
        return None
    if len(got) and not 0 <= got.min() <= got.max() < len(boxes):
        return None
    figure, panels = _figure(2)
    for axes, kept, title, colour in zip(panels, (got, expected), ("yours keeps", "expected"), ("#D55E00", "#0072B2")):
        _draw(axes, boxes, "#999999", "-", None, width=0.8)
        _draw(axes, boxes[kept], colour, "-", None)
        axes.set_title(f"{title} {len(kept)} of {len(boxes)}")
        for place in range(min(len(boxes), MOST)):
            axes.text(boxes[place, 0].item(), boxes[place, 1].item(), f"{place}: {scores[place]:.2f}", fontsize=7)
    return figure


def _are_boxes(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 2 and value.shape[1] == 4 and len(value) > 0


def _figure(count: int) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure  # here, because matplotlib takes longer to import than a check to run

    figure = Figure(figsize=(3.6 * count, 3.4), layout="constrained", facecolor="white")
    panels = list(figure.subplots(1, count, squeeze=False)[0])
    for axes in panels:
        axes.set(xlabel="x", ylabel="y", aspect="equal")
        axes.invert_yaxis()  # y runs down, as in a picture
    return figure, panels


def _draw(axes: "Axes", boxes: Tensor, colour: str, style: str, label: str | None, width: float = 2.2) -> None:
    for number, (left, top, right, bottom) in enumerate(boxes.detach().tolist()):
        axes.plot(
            [left, right, right, left, left],
            [top, top, bottom, bottom, top],
            style,
            color=colour,
            linewidth=width,
            label=label if number == 0 else None,
        )
    if label:
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, frameon=False)
