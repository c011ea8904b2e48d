"""What phrases found in a picture, which pairs of words were never seen together, and labels that a model made
(lesson 19)."""

from collections.abc import Sequence, Set

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from torch import Tensor

from lib.datasets.toyworld.scene import CLASSES, COLOURS
from lib.viz.basics.draw import panels
from lib.viz.detection.boxes import box_patch, check_boxes, place_tags, show_picture, thin_boxes
from lib.viz.masks.instances import paint_mask

LINE = "white"  # boxes and edges of masks, as no phrase's colour is to be taken for a thing's
SILENT = "#6A6A6A"  # phrases that found nothing
RIGHT, WRONG, MISSED = "#009E73", "#E69F00", "white"  # labels, and things without one (colours of Okabe & Ito 2008)
HELD = "#D55E00"  # the frame of a pair that is held out


def draw_phrases(
    image: Tensor,
    phrases: Sequence[str],
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    masks: Tensor | None = None,
    title: str = "",
    size: float = 4.6,
) -> Figure:
    """What was found: boxes, with their phrases, and masks; below the picture, what found nothing.

    Phrases speak of colours, so nothing is painted over: all is grey, and things in their masks keep their own colours.

    Args:
        image: (3, H, W) floats 0..1.
        phrases: P, that were asked.
        boxes: (N, 4) xyxy pixels. scores: (N,). labels: (N,), places of phrases, from 0.
        masks: (N, H, W) bool; None: boxes alone.
        size: width of the picture in inches.

    Raises:
        ValueError: the tensors are not of one length, or a label is no place of a phrase.
    """
    boxes = _check_found(len(phrases), boxes, labels, {"scores": scores, "masks": masks})
    figure, (axis,) = panels(1, 1, size, image.shape[-2] / image.shape[-1])
    masks = None if masks is None else masks.detach().cpu().bool()
    show_picture(axis, image if masks is None else revealed(image, masks), title)
    for mask in () if masks is None else masks:
        paint_mask(axis, mask, LINE, opacity=0.0)
    for box in boxes:
        box_patch(axis, box, LINE, width=1.4)
    axis.set(xlim=(0, image.shape[-1]), ylim=(image.shape[-2], 0))
    said = [f"{phrases[label]} {score:.2f}" for label, score in zip(labels.tolist(), scores.tolist(), strict=True)]
    place_tags(axis, boxes, said, [LINE] * len(said), size)
    _legend(figure, phrases, labels)
    return figure


def revealed(image: Tensor, masks: Tensor) -> Tensor:
    """A picture (3, H, W), 0..1, in grey, but for the pixels of masks (N, H, W) bool, which keep their colours."""
    image = image.detach().cpu()
    grey = 0.3 + 0.4 * image.mean(dim=0, keepdim=True)  # (1, H, W)
    return torch.where(masks.any(0), image, grey)  # (3, H, W)


def _check_found(count: int, boxes: Tensor, labels: Tensor, others: dict[str, Tensor | None]) -> Tensor:
    """The boxes on the processor, if all that was found fits together and labels are places among so many names."""
    boxes = check_boxes("boxes", boxes)
    for name, values in (others | {"labels": labels}).items():
        if values is not None and len(values) != len(boxes):
            raise ValueError(f"{name} has {len(values)} entries; expected {len(boxes)}, one for each box")
    strangers = [label for label in labels.tolist() if not 0 <= label < count]
    if strangers:
        raise ValueError(f"labels has {strangers[0]}; expected 0..{count - 1}, one of {count} places")
    return boxes


def _legend(figure: Figure, phrases: Sequence[str], labels: Tensor) -> None:
    """Below the picture each phrase, with how often it was found, and in grey what found nothing."""
    counts = [int((labels == place).sum()) for place in range(len(phrases))]
    pairs = sorted(zip(phrases, counts, strict=True), key=lambda pair: not pair[1])  # found ones first
    names = [f"{phrase} × {count}" if count else f"not found: {phrase}" for phrase, count in pairs]
    handles = [Line2D([], [], color="none") for _ in names]
    legend = figure.legend(
        handles, names, loc="outside lower center", ncols=2, frameon=False, fontsize=9, handlelength=0
    )
    for text, (_, count) in zip(legend.get_texts(), pairs, strict=True):
        text.set_color("black" if count else SILENT)


def draw_pairs(pairs_held_out: Set[tuple[str, str]], counts: Tensor, size: float = 6.4) -> Figure:
    """How many things of each colour and shape a detector is taught with; pairs that are held out are framed.

    Args:
        pairs_held_out: (colour, shape) each.
        counts: (8, 5) whole numbers, by the places of `COLOURS` and `CLASSES`.
        size: width in inches.

    Raises:
        ValueError: the counts have another shape, or a pair is none of a colour and a shape.
    """
    shape = (len(COLOURS), len(CLASSES))
    if counts.shape != shape or counts.is_floating_point():
        raise ValueError(f"counts is {tuple(counts.shape)} {counts.dtype}; expected whole numbers {shape}")
    strangers = [pair for pair in pairs_held_out if pair[0] not in COLOURS or pair[1] not in CLASSES]
    if strangers:
        raise ValueError(f"pairs_held_out has {strangers[0]!r}; expected pairs of a colour and a shape")
    figure, axis = plt.subplots(figsize=(size, 0.34 * len(COLOURS) + 1.2), layout="constrained", facecolor="white")
    most = max(int(counts.max()), 1)
    axis.imshow(counts.numpy(), cmap="Blues", vmin=0, vmax=1.6 * most, aspect="auto")
    rows, columns = list(COLOURS), list(CLASSES)
    held = {(rows.index(colour), columns.index(kind)) for colour, kind in pairs_held_out}
    for row, numbers in enumerate(counts.tolist()):
        for column, count in enumerate(numbers):
            bold = (row, column) in held
            axis.text(
                column, row, f"{count}, held out" if bold else str(count), ha="center", va="center", fontsize=9,
                weight="bold" if bold else "normal", color=HELD if bold else "black",
            )  # fmt: skip
    for row, column in held:
        axis.add_patch(Rectangle((column - 0.47, row - 0.44), 0.94, 0.88, fill=False, edgecolor=HELD, linewidth=2.4))
    axis.set(xticks=range(len(columns)), yticks=range(len(rows)), xticklabels=columns, yticklabels=rows)
    axis.tick_params(length=0, labelsize=10, top=True, labeltop=True, bottom=False, labelbottom=False)
    axis.spines[:].set_visible(False)
    axis.set_title("things that the detector is taught with", fontsize=11, pad=10)
    return figure


def draw_labels_judged(
    image: Tensor,
    boxes: Tensor,
    labels: Tensor,
    right: Tensor,
    missed: Tensor,
    names: Sequence[str],
    title: str = "",
    size: float = 4.2,
) -> Figure:
    """Labels that a model made for a picture, judged by the truth.

    Right ones have a thin line, wrong ones a thicker one and the name that the model gave; things without a label are
    dashed.

    Args:
        image: (3, H, W) floats 0..1.
        boxes: (N, 4) xyxy pixels, the labels'. labels: (N,), places in `names`, from 0.
        right: (N,) bool, whether a thing of this name is there.
        missed: (M, 4), true boxes of things that have no label.
        names: of the classes.
        size: width of the picture in inches.

    Raises:
        ValueError: the tensors are not of one length, or a label is no place of a name.
    """
    boxes, missed = _check_found(len(names), boxes, labels, {"right": right}), check_boxes("missed", missed)
    figure, (axis,) = panels(1, 1, size, image.shape[-2] / image.shape[-1])
    show_judged(axis, image, boxes, labels, right, missed, names, size)
    axis.set_title(title, fontsize=10)
    counts = (int(right.sum()), int((~right).sum()), len(missed))
    figure.legend(
        handles=[
            Line2D([], [], color=RIGHT, linewidth=2, label=f"right: {counts[0]}"),
            Line2D([], [], color=WRONG, linewidth=3.2, label=f"wrong: {counts[1]}"),
            Line2D([], [], color="#202020", linewidth=1.4, linestyle="--", label=f"no label: {counts[2]}"),
        ],
        loc="outside lower center", ncols=3, frameon=False, fontsize=9,
    )  # fmt: skip
    return figure


def show_judged(
    axis: Axes,
    image: Tensor,
    boxes: Tensor,
    labels: Tensor,
    right: Tensor,
    missed: Tensor,
    names: Sequence[str],
    inches: float,
) -> None:
    """As `draw_labels_judged`, on an axis that is so many inches wide."""
    show_picture(axis, image, dim=0.3)
    axis.set(xlim=(0, image.shape[-1]), ylim=(image.shape[-2], 0))
    for box in missed:
        for colour, width, style in (("#202020", 2.8, "-"), (MISSED, 1.6, "--")):
            thin_boxes(axis, box[None], colour, width, 1.0, style)
    judged = right.tolist()
    for box, good in zip(boxes, judged, strict=True):
        box_patch(axis, box, RIGHT if good else WRONG, width=1.6 if good else 2.8)
    said = ["" if good else names[label] for label, good in zip(labels.tolist(), judged, strict=True)]
    place_tags(axis, boxes, said, [WRONG] * len(said), inches)
