"""The plan of FCN-8s: which layer stands where (lesson 03)."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

BACKBONE, SCORE, UP = "#CDE8F7", "#FBE3B5", "#CFEBDF"  # lightened from Okabe & Ito 2008
BOXES = {  # name: (column, row, colour, words below)
    "block1": (0, 0, BACKBONE, "stride 2"), "block2": (1, 0, BACKBONE, "4"), "block3": (2, 0, BACKBONE, "8"),
    "block4": (3, 0, BACKBONE, "16"), "block5": (4, 0, BACKBONE, "32"),
    "fc6": (5, 0, BACKBONE, "32"), "fc7": (6, 0, BACKBONE, "32"),
    "score_pool3": (2, 1, SCORE, ""), "score_pool4": (3, 1, SCORE, ""), "score_fr": (6, 1, SCORE, ""),
    "upscore2": (6, 2, UP, "× 2"), "upscore_pool4": (3, 3, UP, "× 2"), "upscore": (1, 3, UP, "× 8"),
    "cut": (0, 3, "white", "to the picture"),
}  # fmt: skip
SUMS = {"stride 16": (3, 2), "stride 8": (2, 3)}
DOWN = ("block1", "block2", "block3", "block4", "block5", "fc6", "fc7")
ARROWS = (  # from, to: names of boxes and sums
    *zip(DOWN, DOWN[1:]),
    ("block3", "score_pool3"), ("block4", "score_pool4"), ("fc7", "score_fr"), ("score_fr", "upscore2"),
    ("upscore2", "stride 16"), ("score_pool4", "stride 16"), ("stride 16", "upscore_pool4"),
    ("upscore_pool4", "stride 8"), ("score_pool3", "stride 8"), ("stride 8", "upscore"), ("upscore", "cut"),
)  # fmt: skip
WIDE, HIGH = 0.42, 0.22  # half a box
LABELS = {"block3": "pool3", "block4": "pool4", "fc7": "fc7"}  # what the maps on the way down to scores are called


def draw_fcn_plan() -> Figure:
    """Backbone (blue), score layers (yellow) and upsampling layers (green) of FCN-8s, and the two places of fusion."""
    figure, axis = plt.subplots(figsize=(9.6, 4.1), layout="constrained")
    for name, (x, y, colour, words) in BOXES.items():
        axis.add_patch(
            FancyBboxPatch(
                (x - WIDE, -y - HIGH),
                2 * WIDE,
                2 * HIGH,
                edgecolor="#333333",
                facecolor=colour,
                boxstyle="round,pad=0,rounding_size=0.05",
            )
        )
        axis.text(x, -y + (0.07 if words else 0), name, ha="center", va="center", fontsize=8.5, weight="bold")
        if words:
            axis.text(x, -y - 0.11, words, ha="center", va="center", fontsize=7.5)
    for name, (x, y) in SUMS.items():
        axis.plot(x, -y, "o", color="white", markeredgecolor="#333333", markersize=17)
        axis.text(x, -y, "+", ha="center", va="center", fontsize=14, weight="bold")
        axis.text(x - 0.18, -y - 0.25, name, ha="right", va="center", fontsize=8.5)
    for start, end in ARROWS:
        axis.annotate(
            "", *_ends(start, end), arrowprops={"arrowstyle": "-|>", "color": "#555555", "shrinkA": 1, "shrinkB": 1}
        )
        if start in LABELS and end.startswith("score"):
            x, y = BOXES[start][:2]
            axis.text(x + 0.06, -y - 0.5, LABELS[start], va="center", fontsize=8.5, style="italic")
    axis.set(xlim=(-0.5, 6.5), ylim=(-3.35, 0.35))
    axis.axis("off")
    return figure


def _ends(start: str, end: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where an arrow ends and where it begins, each at the rim of its box or sum."""
    (x1, y1), (x2, y2) = (SUMS.get(name) or BOXES[name][:2] for name in (start, end))
    if x1 == x2:  # straight down
        return (x2, -y2 + _half(end)[1]), (x1, -y1 - _half(start)[1])
    way = 1 if x2 > x1 else -1
    return (x2 - way * _half(end)[0], -y2), (x1 + way * _half(start)[0], -y1)


def _half(name: str) -> tuple[float, float]:
    """Half the width and half the height of a box or a sum."""
    return (0.12, 0.17) if name in SUMS else (WIDE, HIGH)
