"""Prompts and their masks as still pictures, what a click may mean, and how much more clicks help (lesson 17)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from lib.datasets.toyworld.dataset import Sample
from lib.datasets.toyworld.levels import LEVELS, nested_masks
from lib.ops.clicks import middle_click
from lib.viz.basics.draw import PAGE, panels
from lib.viz.detection.boxes import box_patch, check_boxes, show_picture
from lib.viz.detection.curves import LINES, MARKERS
from lib.viz.masks.instances import paint_mask
from lib.viz.prompts.paint import BEST, BOX, INSIDE, MASK, OUTSIDE


def draw_prompts(
    image: Tensor,
    masks: Tensor | None = None,
    ious: Tensor | Sequence[float] | None = None,
    points: Tensor | None = None,
    labels: Tensor | None = None,
    box: Tensor | None = None,
    titles: Sequence[str] | None = None,
    columns: int = 4,
    size: float = 2.8,
) -> Figure:
    """A prompt on the picture, once for each mask that answers it. Of several masks the best guessed one is framed.

    Args:
        image: (3, H, W) floats 0..1.
        masks: (M, H, W) bool; None: the prompt alone.
        ious: (M,) guesses, for the titles and the frame.
        points: (N, 2), x and y of pixels. labels: (N,), 1 = inside, a green star; 0 = outside, a red cross.
        box: (4,) xyxy.
        titles: M, above the guesses, such as the words of a phrase.
        columns, size: pictures in a row, and the width of one in inches.

    Raises:
        ValueError: there are other numbers of guesses or titles than of masks, of labels than of points, or a mask has
            another size than the picture.
    """
    shown: list[Tensor | None] = [None] if masks is None else list(masks.detach().cpu().bool())
    guesses = None if ious is None else [float(guess) for guess in ious]
    for name, given in (("ious", guesses), ("titles", titles)):
        if given is not None and len(given) != len(shown):
            raise ValueError(f"{name} has {len(given)} entries; expected {len(shown)}, one for each mask")
    figure, axes = panels(len(shown), columns, size, image.shape[-2] / image.shape[-1])
    for number, (axis, mask) in enumerate(zip(axes, shown, strict=True)):
        show_prompt(axis, image, mask, points, labels, box)
        said = [titles[number]] if titles is not None else []
        said += [f"IoU guessed {guesses[number]:.2f}"] if guesses is not None else []
        axis.set_title("\n".join(said), fontsize=10)
        if guesses is not None and len(guesses) > 1 and guesses[number] == max(guesses):
            frame(axis)
    return figure


def show_prompt(
    axis: Axes,
    image: Tensor,
    mask: Tensor | None = None,
    points: Tensor | None = None,
    labels: Tensor | None = None,
    box: Tensor | None = None,
    colour: str = MASK,
) -> None:
    """One picture (3, H, W) with one mask (H, W) bool and what was said; see `draw_prompts`."""
    height, width = image.shape[-2:]
    show_picture(axis, image, dim=0.0 if mask is None else 0.5)
    if mask is not None:
        if mask.shape != (height, width):
            raise ValueError(f"masks is of {tuple(mask.shape)} pixels; expected {(height, width)}, as the picture")
        paint_mask(axis, mask.detach().cpu().bool(), colour)
    if box is not None:
        box_patch(axis, check_boxes("box", box[None])[0], BOX)
    if points is not None:
        show_points(axis, points, labels)
    axis.set(xlim=(0, width), ylim=(height, 0))


def show_points(axis: Axes, points: Tensor, labels: Tensor | None = None, size: float = 15) -> None:
    """Points (N, 2) on the middle of their pixels: stars, and crosses where the label (N,) is 0; None: all stars.

    Raises:
        ValueError: points are not (N, 2), or there are other numbers of labels.
    """
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points is {tuple(points.shape)}; expected (N, 2)")
    kinds = [1] * len(points) if labels is None else labels.tolist()
    if len(kinds) != len(points):
        raise ValueError(f"labels has {len(kinds)} entries; expected {len(points)}, one for each point")
    for (x, y), inside in zip(points.tolist(), kinds, strict=True):
        marker, colour, large = ("*", INSIDE, size) if inside else ("X", OUTSIDE, 0.75 * size)
        axis.plot(
            x + 0.5, y + 0.5, marker=marker, color=colour, markersize=large, markeredgecolor="white",
            markeredgewidth=1.1, linestyle="none",
        )  # fmt: skip


def frame(axis: Axes) -> None:
    """A frame around the picture on an axis: the best one."""
    axis.axis("on")
    axis.set(xticks=[], yticks=[])
    for edge in axis.spines.values():
        edge.set(visible=True, color=BEST, linewidth=3)


def draw_nested(sample: Sample, pixel: tuple[int, int] | None = None, size: float = 2.3) -> Figure:
    """A click on a pixel, and all masks of the scene that it may mean: a part, the thing, the group it touches.

    Args:
        sample: a scene of toyworld.
        pixel: x, y; None: one that most masks cover, of several one whose masks differ in size.
        size: width of a picture in inches.

    Raises:
        ValueError: the pixel lies outside of the picture, or no mask covers it.
    """
    nested = nested_masks(sample)
    height, width = sample.image.shape[1:]
    if pixel is None:
        pixel = busiest_pixel(nested.masks)
    x, y = pixel
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"pixel is {pixel}; expected 0 <= x < {width} and 0 <= y < {height}")
    meant = [number for number in range(len(nested.masks)) if nested.masks[number, y, x]]
    if not meant:
        raise ValueError(f"pixel is {pixel}, which no mask covers")
    point = torch.tensor([[x, y]])
    figure, axes = panels(1 + len(meant), 4, size, height / width)
    show_prompt(axes[0], sample.image, points=point)
    axes[0].set_title(f"a click at x {x}, y {y}:\nwhat is meant?", fontsize=10)
    for axis, number in zip(axes[1:], meant, strict=True):
        mask, level = nested.masks[number], LEVELS[int(nested.levels[number])]
        show_prompt(axis, sample.image, mask, point)
        name = f"{level}: {nested.phrases[number]}" if nested.phrases[number] else level
        axis.set_title(f"{name}\n{int(mask.sum())} pixels", fontsize=10)
    return figure


def busiest_pixel(masks: Tensor) -> tuple[int, int]:
    """x, y of a pixel that most of the masks (M, H, W) cover, in the middle of where these differ clearly in size."""
    cover = masks.flatten(1).T  # (H · W, M)
    sizes, most = masks.sum((1, 2)), cover.sum(1).max()

    def clear(meant: Tensor) -> tuple[float, int]:
        """Each next mask at least half as large again, and the smallest as large as possible."""
        rising = sizes[meant].sort().values
        ratio = float((rising[1:] / rising[:-1]).min()) if len(rising) > 1 else 1.0
        return min(ratio, 1.5), int(rising[0])

    kinds = [meant for meant in cover.unique(dim=0) if meant.sum() == most]
    clearest = max(kinds, key=clear)
    return middle_click((cover == clearest).all(1).view(masks.shape[1:]))


def draw_iou_by_clicks(curves: dict[str, Tensor], size: float = 3.6) -> Figure:
    """How well masks are hit after 1, 2, ... clicks, one line for each title.

    Args:
        curves: by title (clicks,) mean IoU, the first after one click.
        size: height in inches.

    Raises:
        ValueError: there is no curve, or one is not (clicks,).
    """
    if not curves:
        raise ValueError("curves is empty; expected at least one")
    figure, axis = plt.subplots(figsize=(min(PAGE, 1.7 * size), size), layout="constrained", facecolor="white")
    for place, (title, values) in enumerate(curves.items()):
        if values.ndim != 1 or len(values) == 0:
            raise ValueError(f"curves[{title!r}] is {tuple(values.shape)}; expected (clicks,), at least one")
        axis.plot(
            range(1, len(values) + 1), values.detach().cpu(), label=title, color=LINES[place % len(LINES)],
            marker=MARKERS[place % len(MARKERS)], markersize=5, linewidth=1.6,
        )  # fmt: skip
    axis.set(xlabel="clicks", ylabel="mean IoU with what was meant", ylim=(0, 1.02))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(color="#DDDDDD", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=9, loc="best", frameon=False)
    return figure
