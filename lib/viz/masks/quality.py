"""Panoptic quality worked out by hand: two small maps, their pairs, and the sums (lesson 15)."""

from fractions import Fraction
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lib.ops.panoptic_metrics import shared_pixels
from lib.viz.basics.draw import PAGE
from lib.viz.detection.boxes import class_colour
from lib.viz.masks.query_masks import show_edges

VOID, NONE = -1, 0  # in a true map: nobody labelled it; in both: no segment of this class
ALONE, WRONG, FAINT = "#D4D4D4", "#B3261E", "#777777"  # cells of a segment without a partner; FP and FN; not counted
PALE = 0.5  # so far to white the colours of pairs go, so that numbers on them can be read
HEAD, LINE, RIM = 0.34, 0.27, 0.08  # inches: above the maps, a line of text, around all
LARGEST = 12  # cells of a side


class Pair(NamedTuple):
    """A true and a predicted segment that share pixels."""

    true: int
    predicted: int
    shared: int  # pixels
    union: int  # pixels, without those of the predicted segment that are void


class Matching(NamedTuple):
    """What is counted of one class in one picture."""

    pairs: list[Pair]  # IoU above 1/2: true positives
    others: list[Pair]  # that share pixels, but too few
    false: list[int]  # predicted segments without a partner
    missed: list[int]  # true segments without a partner
    ignored: list[int]  # predicted ones without a partner, more than half of them void


def draw_quality(truth: Tensor, predicted: Tensor, size: float = 2.8) -> Figure:
    """Two maps of numbered segments of one class, between them who is paired with whom, below them SQ, RQ and PQ.

    The two segments of a pair have the same colour. Those without a partner are grey, with red numbers. Void is
    hatched, in the predicted map too, where its pixels are left out.

    Args:
        truth: (H, W) whole numbers of at most 12 × 12: of segments, 0 where there is none, -1 where it is void.
        predicted: the same, without void. A number means nothing across the two maps.
        size: width of a map in inches.

    Raises:
        ValueError: a map has another shape, is too large to be read, has floats, or a number that it may not have.
    """
    _check("truth", truth, VOID)
    _check("predicted", predicted, NONE)
    if predicted.shape != truth.shape:
        raise ValueError(f"predicted is {tuple(predicted.shape)}; expected {tuple(truth.shape)}, as truth")
    found = match(truth, predicted)
    sums, rows = quality_sums(found), _rows(found)
    high = size * truth.shape[0] / truth.shape[1]
    middle = max(high, LINE * (len(rows) + 1))
    height = HEAD + middle + 0.2 + LINE * len(sums) + RIM
    figure = plt.figure(figsize=(PAGE, height), facecolor="white")
    paper = figure.add_axes((0, 0, 1, 1))  # measured in inches, from the lower left corner
    paper.set(xlim=(0, PAGE), ylim=(0, height))
    paper.axis("off")
    foot = height - HEAD - (middle + high) / 2
    colours = [class_colour(1 + place) for place in range(len(found.pairs))]
    void = (truth == VOID).cpu().numpy()
    for title, left, numbers, of in (
        ("truth", RIM, truth, {pair.true: colour for pair, colour in zip(found.pairs, colours)}),
        ("predicted", PAGE - RIM - size, predicted, {pair.predicted: one for pair, one in zip(found.pairs, colours)}),
    ):
        axis = figure.add_axes((left / PAGE, foot / height, size / PAGE, high / height))
        _table(axis, title, numbers.cpu().numpy(), void, of)
    y = height - HEAD - (middle - LINE * len(rows)) / 2
    for row, (words, verdict, colour) in enumerate(rows):
        below = y - LINE * (row + 0.5)
        if row < len(colours):
            corner = (RIM + size + 0.16, below - 0.07)
            paper.add_patch(Rectangle(corner, 0.22, 0.14, facecolor=_pale(colours[row]), edgecolor="black", lw=0.8))
        paper.text(RIM + size + 0.46, below, words, va="center", fontsize=9.5, color=colour)
        paper.text(PAGE - RIM - size - 0.16, below, verdict, ha="right", va="center", fontsize=9.5, color=colour)
    for row, text in enumerate(sums):
        paper.text(PAGE / 2, RIM + LINE * (len(sums) - row - 0.5), text, ha="center", va="center", fontsize=11)
    return figure


def match(truth: Tensor, predicted: Tensor) -> Matching:
    """Pair the segments of two maps as panoptic quality does; maps as in `draw_quality`."""
    shared = {(real - 1, mine - 1): pixels for (real, mine), pixels in shared_pixels(truth + 1, predicted + 1).items()}
    true_area = {real: int((truth == real).sum()) for real in truth.unique().tolist() if real > NONE}
    area = {mine: int((predicted == mine).sum()) for mine in predicted.unique().tolist() if mine > NONE}
    void = {mine: shared.get((VOID, mine), 0) for mine in area}
    every = [
        Pair(real, mine, pixels, true_area[real] + area[mine] - void[mine] - pixels)
        for (real, mine), pixels in sorted(shared.items())
        if real > NONE and mine > NONE
    ]
    pairs = [pair for pair in every if 2 * pair.shared > pair.union]
    alone = [mine for mine in area if mine not in {pair.predicted for pair in pairs}]
    return Matching(
        pairs,
        [pair for pair in every if pair not in pairs],
        [mine for mine in alone if 2 * void[mine] <= area[mine]],
        [real for real in true_area if real not in {pair.true for pair in pairs}],
        [mine for mine in alone if 2 * void[mine] > area[mine]],
    )


def quality_sums(found: Matching) -> list[str]:
    """SQ, RQ and PQ as sums with the numbers in, a line each; IoUs are pixels shared / pixels of the union."""
    tp, fp, fn = len(found.pairs), len(found.false), len(found.missed)
    if not tp + fp + fn:
        return ["nothing is counted, so there is neither SQ nor RQ nor PQ"]
    ious = " + ".join(f"{pair.shared}/{pair.union}" for pair in found.pairs)
    sq = sum((Fraction(pair.shared, pair.union) for pair in found.pairs), Fraction()) / max(tp, 1)
    rq = tp / (tp + Fraction(fp + fn, 2))
    mean = f"({ious}) / {tp} = {float(sq):.3f}" if tp > 1 else f"{ious or 'no pair'} = {float(sq):.3f}"
    return [
        f"SQ, the mean IoU of the pairs = {mean}",
        f"RQ = TP / (TP + FP/2 + FN/2) = {tp} / ({tp} + {fp}/2 + {fn}/2) = {float(rq):.3f}",
        f"PQ = SQ · RQ = {float(sq):.3f} · {float(rq):.3f} = {float(sq * rq):.3f}",
    ]


def _rows(found: Matching) -> list[tuple[str, str, str]]:
    """What stands between the maps: words, verdict, and the colour of both. The pairs come first."""
    rows = [
        (f"true {one.true}, predicted {one.predicted}: IoU {one.shared}/{one.union}", "TP", "black")
        for one in found.pairs
    ]
    rows += [(f"true {number}: no partner", "FN", WRONG) for number in found.missed]
    rows += [(f"predicted {number}: no partner", "FP", WRONG) for number in found.false]
    rows += [
        (f"true {one.true}, predicted {one.predicted}: IoU {one.shared}/{one.union}", "≤ 1/2", FAINT)
        for one in found.others
    ]
    rows += [(f"predicted {number}: mostly void", "not counted", FAINT) for number in found.ignored]
    return rows


def _table(axis: Axes, title: str, numbers: np.ndarray, void: np.ndarray, colours: dict[int, str]) -> None:
    """A map as a table of cells: cell (row, column) covers x from column, y from row, to one more."""
    height, width = numbers.shape
    picture = np.ones((height, width, 3))
    for number in np.unique(numbers[numbers > NONE]).tolist():
        picture[numbers == number] = _pale(colours[number]) if number in colours else to_rgb(ALONE)
    axis.imshow(picture, extent=(0, width, height, 0), interpolation="nearest")
    axis.hlines(range(1, height), 0, width, color="#F2F2F2", linewidth=0.8)
    axis.vlines(range(1, width), 0, height, color="#F2F2F2", linewidth=0.8)
    inches = axis.get_position().width * axis.figure.get_figwidth() / width  # of a cell
    for (row, column), number in np.ndenumerate(numbers):
        if void[row, column]:
            axis.add_patch(Rectangle((column, row), 1, 1, fill=False, hatch="////", edgecolor="#8A8A8A", linewidth=0))
        if number > NONE:
            axis.text(
                column + 0.5, row + 0.5, str(number), ha="center", va="center", fontsize=min(10, 28 * inches),
                color=FAINT if void[row, column] else "black" if number in colours else WRONG,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5} if void[row, column] else None,
            )  # fmt: skip
    show_edges(axis, numbers, (height, width), "black", 1.4)
    axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    axis.set_title(title + (", void hatched" if void.any() else ""), fontsize=10)


def _pale(colour: str) -> tuple[float, float, float]:
    red, green, blue = (one + PALE * (1 - one) for one in to_rgb(colour))
    return red, green, blue


def _check(name: str, numbers: Tensor, least: int) -> None:
    if numbers.ndim != 2 or numbers.numel() == 0 or max(numbers.shape) > LARGEST or numbers.is_floating_point():
        came = f"{tuple(numbers.shape)} {numbers.dtype}"
        raise ValueError(f"{name} is {came}; expected whole numbers (H, W), at most {LARGEST} × {LARGEST}")
    if numbers.min() < least:
        raise ValueError(f"{name} has the number {int(numbers.min())}; expected at least {least}")
