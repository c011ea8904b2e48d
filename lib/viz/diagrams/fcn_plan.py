"""FCN-8s drawn from the model itself: which layer stands where, and what each really made of a picture (lesson 03)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from lib.models.fcn import FCN
from lib.training.modes import in_eval_mode
from lib.viz.basics.draw import to_pixels
from lib.viz.explorer.feature_pictures import pca_colours

BACKBONE, SCORE, UP = "#CDE8F7", "#FBE3B5", "#CFEBDF"  # lightened from Okabe & Ito 2008
SKIP, PALE = "#C04A00", "#AAAAAA"
BOXES = {  # name: (column, row, colour)
    "picture": (0, 0, "white"),
    "block1": (1, 0, BACKBONE), "block2": (2, 0, BACKBONE), "block3": (3, 0, BACKBONE), "block4": (4, 0, BACKBONE),
    "block5": (5, 0, BACKBONE), "fc6": (6, 0, BACKBONE), "fc7": (7, 0, BACKBONE),
    "score_pool3": (3, 1.2, SCORE), "score_pool4": (4, 1.2, SCORE), "score_fr": (7, 1.2, SCORE),
    "upscore2": (7, 2.3, UP), "upscore_pool4": (4, 3.3, UP), "upscore": (1, 3.3, UP), "answer": (0, 3.3, "white"),
}  # fmt: skip
EXITS = {"FCN-32s": (5.5, 1.2, "× 32"), "FCN-16s": (5.5, 3.3, "× 16")}  # where the two others leave, drawn pale
SUMS = {"stride 16": (4, 2.3), "stride 8": (3, 3.3)}
DOWN = ("picture", "block1", "block2", "block3", "block4", "block5", "fc6", "fc7")
ARROWS = (  # from, to: names of boxes, sums and exits
    *zip(DOWN, DOWN[1:]),
    ("block3", "score_pool3"), ("block4", "score_pool4"), ("fc7", "score_fr"), ("score_fr", "upscore2"),
    ("upscore2", "stride 16"), ("score_pool4", "stride 16"), ("stride 16", "upscore_pool4"),
    ("upscore_pool4", "stride 8"), ("score_pool3", "stride 8"), ("stride 8", "upscore"), ("upscore", "answer"),
    ("score_fr", "FCN-32s"), ("stride 16", "FCN-16s"),
)  # fmt: skip
SKIPS = {"block3": "score_pool3", "block4": "score_pool4", "score_pool3": "stride 8", "score_pool4": "stride 16"}
FACTORS = {"upscore2": 2, "upscore_pool4": 2, "upscore": 8}
WIDE, HIGH, MAP = 0.44, 0.43, 0.5  # half a box; the side of the map in it
MAP_NAMES = {"block3": "pool3", "block4": "pool4", "fc7": "fc7"}  # what the paper calls the maps that are asked


def draw_fcn_plan(net: FCN, image: Tensor, colours: Sequence[tuple[float, float, float]]) -> Figure:
    """The layers of FCN-8s, each with the map that it made of `image`, its channels, and its stride or factor.

    Blue: backbone, all channels of a map at once as colours. Yellow: score layers; green: upsampling; their maps show
    the class with the highest score. Orange: the skips. Pale: where FCN-32s and FCN-16s would leave.

    Args:
        net: with stride 8.
        image: (3, H, W) floats 0..1.
        colours: of the K classes, RGB in 0..1.

    Raises:
        ValueError: `net` has another stride, `image` is not (3, H, W), or there are not K colours.
    """
    if net.stride != 8:
        raise ValueError(f"net has the stride {net.stride}; expected 8, which has all the layers of the plan")
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image is {tuple(image.shape)}; expected (3, H, W)")
    maps = _maps(net, image)
    if len(colours) != len(maps["answer"]):
        raise ValueError(f"colours has {len(colours)} entries; expected {len(maps['answer'])}, one for each class")
    figure, axis = plt.subplots(figsize=(9.6, 5.3), layout="constrained")
    for name in BOXES:
        _draw_box(axis, name, maps[name], maps["upscore"].shape[1], np.asarray(colours, dtype=np.float32))
    for name, (x, y, factor) in EXITS.items():
        _rectangle(axis, x, y, 0.24, "white", PALE)
        axis.text(x, -y, f"upscore {factor}\n{name}", ha="center", va="center", fontsize=8, color="#777777")
    for name, (x, y) in SUMS.items():
        axis.plot(x, -y, "o", color="white", markeredgecolor="#333333", markersize=17)
        axis.text(x, -y, "+", ha="center", va="center", fontsize=14, weight="bold")
        axis.text(x - 0.18, -y - 0.25, name, ha="right", va="center", fontsize=8)
    for start, end in ARROWS:
        _draw_arrow(axis, start, end)
    axis.set(xlim=(-0.5, 7.5), ylim=(-3.8, 0.5))
    axis.set_title("FCN-8s: backbone (blue), score layers (yellow), upsampling (green), skips (orange)", fontsize=10)
    axis.axis("off")
    return figure


@torch.no_grad()
def _maps(net: FCN, image: Tensor) -> dict[str, Tensor]:
    """What each layer made of the picture: (C, h, w) by the names of `BOXES`."""
    maps: dict[str, Tensor] = {}
    layers = dict(net.backbone.named_children()) | dict(net.named_children())
    hooks = [
        layers[name].register_forward_hook(lambda layer, inputs, made, name=name: maps.update({name: made[0].cpu()}))
        for name in BOXES
        if name in layers
    ]
    try:
        with in_eval_mode(net):
            maps["answer"] = net(image[None].to(next(net.parameters()).device))[0].cpu()
    finally:
        for hook in hooks:
            hook.remove()
    return maps | {"picture": image.cpu()}


def _draw_box(axis: plt.Axes, name: str, values: Tensor, height: int, colours: np.ndarray) -> None:
    x, y, colour = BOXES[name]
    _rectangle(axis, x, y, HIGH, colour, "#333333")
    if name == "picture":
        pixels, words = to_pixels(values), "3 channels"
    elif colour == BACKBONE:
        pixels, words = pca_colours(values), f"{len(values)} ch, stride {height // values.shape[1]}"
    else:
        pixels, words = colours[values.argmax(0).numpy()], f"{len(values)} classes"
        words = f"{words}, × {FACTORS[name]}" if name in FACTORS else words
        words = "cut to size" if name == "answer" else words
    left, bottom = x - MAP / 2, -y - 0.11
    axis.imshow(pixels, extent=(left, left + MAP, bottom, bottom + MAP), interpolation="nearest", zorder=3)
    axis.text(x, -y - 0.2, name, ha="center", va="center", fontsize=8, weight="bold")
    axis.text(x, -y - 0.34, words, ha="center", va="center", fontsize=7)


def _rectangle(axis: plt.Axes, x: float, y: float, high: float, colour: str, edge: str) -> None:
    shape = "round,pad=0,rounding_size=0.05"
    box = FancyBboxPatch((x - WIDE, -y - high), 2 * WIDE, 2 * high, edgecolor=edge, facecolor=colour, boxstyle=shape)
    axis.add_patch(box)


def _draw_arrow(axis: plt.Axes, start: str, end: str) -> None:
    skip = SKIPS.get(start) == end
    colour = PALE if end in EXITS else SKIP if skip else "#555555"
    style = {"arrowstyle": "-|>", "color": colour, "shrinkA": 1, "shrinkB": 1, "linewidth": 2 if skip else 1}
    tip, tail = _ends(start, end)
    axis.annotate("", tip, tail, arrowprops=style)
    to_scores = end in BOXES and end.startswith("score")
    words = "skip" if skip and end in SUMS else MAP_NAMES.get(start, "") if to_scores else ""
    x, y = tip[0] + 0.06, (tip[1] + tail[1]) / 2
    axis.text(x, y, words, va="center", fontsize=9, style="italic", color=colour)


def _ends(start: str, end: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where an arrow ends and where it begins, each at the rim of its box, sum or exit."""
    (x1, y1), (x2, y2) = (SUMS.get(name) or (EXITS.get(name) or BOXES[name])[:2] for name in (start, end))
    if x1 == x2:  # straight down
        return (x2, -y2 + _half(end)[1]), (x1, -y1 - _half(start)[1])
    way = 1 if x2 > x1 else -1
    if y1 != y2:  # to an exit below
        return (x2, -y2 + _half(end)[1]), (x1 + way * 0.12, -y1 - 0.08)
    return (x2 - way * _half(end)[0], -y2), (x1 + way * _half(start)[0], -y1)


def _half(name: str) -> tuple[float, float]:
    """Half the width and half the height of a box, an exit or a sum."""
    return (0.12, 0.15) if name in SUMS else (WIDE, 0.24 if name in EXITS else HIGH)
