"""Where a careful annotator clicks next: in the middle of what is wrong."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_17._ways_to_click import MISTAKES, Click
from lib.ops.clicks import next_click

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = {  # "#" in both masks, "+" missed, "-" taken wrongly, "." in none
    "8 × 9 pixels, found by hand: a missed region is deepest": """
. - - + + + . . .
. - - + + + . . .
. - - + + + + + +
. - - . # # # . +
. - - . # # # . +
. - - . # # # . .
. - - . . . . . .
. - - . . . . . .""",
    "a region that was taken is deepest": """
. - - - - - - - . . .
. - - - - - - - . # #
. - - - - - - - . # #
. - - - - - - - + # #
. - - - - - - - + # #
+ + + + . . . . . . .""",
    "taken and missed regions are as deep, and there are two missed places": """
. . . . . - - - . . . .
. . . . . - - - . + + +
. . . . . - - - . + + +
. + + + . . . . . + + +
. + + + . . . . . . . .
. + + + . . . . . . . .""",
    "regions side by side": """
. . . . . . . . . . .
. + + + + - - - - - .
. + + + + - - - - - .
. + + + + - - - - - .
. + + + + - - - - - .
. + + + + - - - - - .
. + + + + . . . . . .
. + + + + . . . . . .
. + + + + . . . . . .""",
    "places that meet at a corner": """
. + + + . . . . . . . . .
+ + + + + . . . . . . . .
+ + + + + . - - - - . . .
+ + + + + . - - - - . . .
. + + + . + - - - - . . .
. . . . + + + . . . . . .
. . . + + + + + . . . . .
. . . + + + + + + + + + +""",
    "nothing was predicted": """
. . . + + + +
. . . + + + +
. . . + + + +
. . . . . . .""",
    "nothing was missed": """
- - - - - - - -
- - - - - - - -
- - - # # - - -
- - - # # - - -
- - - - - - - -""",
    "all but one pixel": """
. + + + + + + + +
+ + + + + + + + +
+ + + + + + + + +
+ + + + + + + + +
+ + + + + + + + +""",
    "one pixel": """
. . . . .
. # # # -
. # # # .""",
    "one row of pixels": ". . + + + # # - - - - -",
}


def masks_of(drawn: str) -> tuple[Tensor, Tensor]:
    """Predicted and true, (H, W) bool."""
    signs = np.array([line.split() for line in drawn.strip().splitlines()])  # (H, W)
    return torch.from_numpy(np.isin(signs, ["#", "-"])), torch.from_numpy(np.isin(signs, ["#", "+"]))


def cases() -> list[Case]:
    named = {label: masks_of(drawn) for label, drawn in DRAWN.items()}
    for seed, size in enumerate([(14, 19), (17, 12)]):
        blurred = [ndimage.gaussian_filter(random_values(*size, seed=10 * seed + i).numpy(), 2.5) for i in range(2)]
        predicted, true = (torch.from_numpy(blob > 0) for blob in blurred)
        named[f"{size[0]} × {size[1]} pixels, wild shapes"] = (predicted, true)
    return [Case(label, masks, pixel_by_pixel(*masks)) for label, masks in named.items()]


def pixel_by_pixel(predicted: Tensor, true: Tensor) -> Click:
    """The truth, in whole numbers: each wrong pixel's squared distance to everything outside, the border included."""
    height, width = true.shape
    everywhere = [(y, x) for y in range(-1, height + 1) for x in range(-1, width + 1)]
    best: tuple[int, Click] = (0, (0, 0, 0))
    for label, region in ((1, (true & ~predicted).tolist()), (0, (predicted & ~true).tolist())):  # missed ones first
        inside = {(y, x) for y, row in enumerate(region) for x, value in enumerate(row) if value}
        outside = [place for place in everywhere if place not in inside]
        for y, x in sorted(inside):  # in reading order
            depth = min((y - row) ** 2 + (x - column) ** 2 for row, column in outside)
            if depth > best[0]:
                best = depth, (x, y, label)
    return best[1]


def draw_clicks(got: Any, expected: Click, case: Case) -> "Figure":
    """Your click and ours, on what was missed and taken."""
    from matplotlib.figure import Figure  # here, because matplotlib takes longer to import than a check to run

    predicted, true = (mask.numpy().astype(int) for mask in case.arguments)
    colours = np.array([[0.93, 0.93, 0.93], [0.94, 0.62, 0.45], [0.55, 0.72, 0.91], [0.7, 0.7, 0.7]])
    figure = Figure(figsize=(4.5, 4.5), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.imshow(colours[predicted + 2 * true])  # none, taken, missed, both
    axes.plot(*expected[:2], "ko", ms=14, mfc="none", ls="none", label="expected")
    axes.plot(float(got[0]), float(got[1]), "kx", ms=9, ls="none", label="yours")
    axes.set_title("blue: missed, orange: taken wrongly, dark grey: right", fontsize=9)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


EXERCISE = Exercise(
    name="next_click",
    reference=next_click,
    cases=cases,
    takes={"predicted": Kind.MASK, "true": Kind.MASK},
    gives=(Kind.COUNT, Kind.COUNT, Kind.COUNT),
    mistakes=MISTAKES,
    picture=draw_clicks,
)
