"""Pictures of detection: boxes, detections of several models, proposals, matches and anchors (from lesson 05)."""

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from lib.datasets.toyworld import CLASSES
from lib.viz.basics.draw import panels
from lib.viz.detection.boxes import (
    CLASS_COLOURS,
    FAINT,
    TRUTH_COLOUR,
    best_overlaps,
    box_patch,
    check_boxes,
    class_colour,
    place_tags,
    show_picture,
    thin_boxes,
)

__all__ = ["CLASS_COLOURS", "draw_anchors", "draw_boxes", "draw_detections", "draw_matches", "draw_proposals"]

NAMES = ("background", *CLASSES)
BACKGROUND, IGNORED = -1, -2  # in `matches`, as lib.ops.matching gives them
SHAPE_COLOURS = {"wide": CLASS_COLOURS[1], "square": CLASS_COLOURS[3], "tall": CLASS_COLOURS[2]}  # of anchors
MOST_BACKGROUND = 24  # more thin grey boxes would only be a grey picture


def draw_boxes(
    image: Tensor,
    boxes: Tensor,
    labels: Tensor | None = None,
    scores: Tensor | None = None,
    names: Sequence[str] | None = None,
    title: str = "",
    size: float = 4,
) -> Figure:
    """One picture with a few boxes, each with its name and score written beside it.

    Args:
        image: (3, H, W) floats 0..1.
        boxes: (N, 4) xyxy.
        labels: (N,) numbers of classes, which give the colours. Without them, each box has a colour of its own.
        scores: (N,).
        names: of the classes, by label; without `labels`, of the boxes themselves.
        size: width of the picture in inches.

    Raises:
        ValueError: `boxes` is not (N, 4), another argument has another length, or a label is below 0.
    """
    boxes = check_boxes("boxes", boxes)
    for name, values in (("labels", labels), ("scores", scores)):
        if values is not None:
            _check_one_each(name, values, boxes)
    numbers = list(range(1, len(boxes) + 1)) if labels is None else labels.tolist()
    if min(numbers, default=0) < 0:
        raise ValueError(f"labels has {min(numbers)}; expected numbers of classes, from 0")
    if names is not None and (len(names) < len(boxes) if labels is None else max(numbers, default=0) >= len(names)):
        raise ValueError(f"names has {len(names)} entries; expected one for each box, or with labels for each class")
    figure, (axis,) = panels(1, 1, size, image.shape[-2] / image.shape[-1])
    show_picture(axis, image, title)
    texts = [""] * len(boxes)
    if names is not None:
        texts = [names[place] for place in (range(len(boxes)) if labels is None else numbers)]
    elif labels is not None:
        texts = [str(number) for number in numbers]
    if scores is not None:
        texts = [f"{text} {score:.2f}".strip() for text, score in zip(texts, scores.tolist())]
    colours = [class_colour(number) for number in numbers]
    for box, colour in zip(boxes, colours):
        box_patch(axis, box, colour)
    place_tags(axis, boxes, texts, colours, size)
    return figure


def draw_detections(
    image: Tensor,
    answers: dict[str, dict[str, Tensor]],
    names: Sequence[str] = NAMES,
    min_score: float = 0.0,
    columns: int = 4,
    size: float = 2.6,
) -> Figure:
    """The boxes of several answers side by side, coloured by class, with a legend of the classes below.

    Args:
        image: (3, H, W) floats 0..1, or (K, 3, H, W): one picture for each of K answers.
        answers: by title, each with "boxes" (N, 4) and "labels" (N,), and if it is a prediction "scores" (N,), which
            are written beside the boxes.
        names: of the classes, by label.
        min_score: boxes with a lower score are left out.
        columns, size: pictures in a row, and the width of one in inches.

    Raises:
        ValueError: no answers, another number of pictures, boxes that are not (N, 4), not one label and score for each
            of them, or a label without a name.
    """
    images = _pictures(image, answers, "answers")
    figure, axes = panels(len(answers), columns, size, images[0].shape[-2] / images[0].shape[-1])
    present: set[int] = set()
    for axis, picture, (title, answer) in zip(axes, images, answers.items()):
        boxes, labels = check_boxes(f"answers[{title!r}]", answer["boxes"]), answer["labels"].cpu()
        for name in ("labels", "scores"):
            if name in answer:
                _check_one_each(f"answers[{title!r}][{name!r}]", answer[name], boxes)
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
            raise ValueError(
                f"answers[{title!r}] has labels in {labels.min()}..{labels.max()}; expected "
                f"0..{len(names) - 1}, the names"
            )
        texts = [""] * len(boxes)
        if "scores" in answer:
            order = answer["scores"].cpu().argsort(descending=True)
            order = order[answer["scores"].cpu()[order] >= min_score]
            boxes, labels = boxes[order], labels[order]
            texts = [f"{score:.2f}" for score in answer["scores"].cpu()[order].tolist()]
        show_picture(axis, picture, title)
        colours = [class_colour(number) for number in labels.tolist()]
        for box, colour in reversed(list(zip(boxes, colours))):  # the best on top
            box_patch(axis, box, colour, width=1.6)
        place_tags(axis, boxes, texts, colours, size)
        present.update(labels.tolist())
    if present:
        figure.legend(
            handles=[_swatch(class_colour(number), names[number]) for number in sorted(present)],
            loc="outside lower center",
            ncols=min(len(present), 6),
            frameon=False,
            fontsize=9,
        )
    return figure


def draw_proposals(
    image: Tensor,
    proposals: dict[str, Tensor | dict[str, Tensor]],
    top: int | None = None,
    truth: Tensor | list[Tensor] | None = None,
    names: Sequence[str] | None = None,
    columns: int = 4,
    size: float = 2.6,
) -> Figure:
    """Many thin boxes; for each true box the best of them, if it overlaps by half, is emphasised, with its IoU.

    The more boxes, the fainter each of them, so that the picture stays visible below.

    Args:
        image: (3, H, W) floats 0..1, or (K, 3, H, W): one picture for each of K lists of proposals.
        proposals: by title, (P, 4) best first, or a dict of "boxes" (P, 4) and "scores" (P,).
        top: draw no more than that many, the best.
        truth: (M, 4); those that no proposal overlaps by half are drawn dotted. With several pictures, a list.
        names: of the M true boxes, written beside the IoUs; only for one picture.
        columns, size: pictures in a row, and the width of one in inches.

    Raises:
        ValueError: no proposals, another number of pictures, of scores or of names, or boxes that are not (N, 4).
    """
    images = _pictures(image, proposals, "proposals")
    if names is not None and (not isinstance(truth, Tensor) or len(names) != len(truth)):
        raise ValueError(f"names has {len(names)} entries; expected one for each box of truth, and truth as one tensor")
    truths = truth if isinstance(truth, (list, tuple)) else [truth] * len(proposals)
    figure, axes = panels(len(proposals), columns, size, images[0].shape[-2] / images[0].shape[-1])
    missed = 0
    for axis, picture, wanted, (title, given) in zip(axes, images, truths, proposals.items()):
        boxes = given
        if isinstance(given, dict):
            _check_one_each(f"proposals[{title!r}]['scores']", given["scores"], given["boxes"])
            boxes = given["boxes"][given["scores"].argsort(descending=True)]
        boxes = check_boxes(f"proposals[{title!r}]", boxes)[:top]
        show_picture(axis, picture, title, dim=0.35)
        opacity = max(0.35, 0.9 - len(boxes) / 200) if len(boxes) <= 1000 else 0.1
        thin_boxes(axis, boxes, CLASS_COLOURS[3], width=0.7, opacity=opacity)
        if wanted is None:
            continue
        wanted = check_boxes("truth", wanted)
        overlap, best = best_overlaps(boxes, wanted)
        for box in wanted[overlap < 0.5]:
            box_patch(axis, box, TRUTH_COLOUR, width=1.4, style=":")
        missed += int((overlap < 0.5).sum())
        found, places = boxes[best[overlap >= 0.5]], (overlap >= 0.5).nonzero()[:, 0].tolist()
        for box in found:
            box_patch(axis, box, CLASS_COLOURS[1], width=2)
        texts = [f"{names[place] if names else ''} {overlap[place]:.2f}".strip() for place in places]
        place_tags(axis, found, texts, [CLASS_COLOURS[1]] * len(found), size)
        axis.set_title(f"{title}\n{len(found)} of {len(wanted)} objects found", fontsize=10)
    rows = len({axis.get_subplotspec().rowspan.start for axis in axes})
    figure.set_figheight(figure.get_figheight() + 0.15 * rows)  # room for titles of two lines
    handles = [Line2D([], [], color=CLASS_COLOURS[3], linewidth=1.5, label="a proposal")]
    if truth is not None:
        handles.append(Line2D([], [], color=CLASS_COLOURS[1], linewidth=3, label="best for an object, with its IoU"))
    if missed:
        handles.append(Line2D([], [], color="#777777", linewidth=1.5, linestyle=":", label="object without one"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.draw_without_rendering()  # one pass of the layout leaves too little room for two lines
    return figure


def draw_matches(
    image: Tensor,
    candidates: Tensor,
    matches: Tensor,
    truth_boxes: Tensor,
    title: str = "",
    size: float = 4.5,
    labels: Tensor | None = None,
) -> Figure:
    """Which candidate boxes (anchors, proposals) were given to which truth, as `lib.ops.matching.Matcher` says.

    Positives have the colour of their truth, which is drawn thick; background is thin and white; ignored ones are
    dotted. The legend counts them. Of many, only an even sample is drawn; for background, the legend says so.

    Args:
        image: (3, H, W) floats 0..1.
        candidates: (A, 4).
        matches: (A,) place of a truth, or -1 for background, or -2 for ignored.
        truth_boxes: (M, 4).
        size: width of the picture in inches; the legend stands to the right of it.
        labels: (M,) classes of the truths, 1..K, which give colours and names. Without them, each truth has a colour
            of its own.

    Raises:
        ValueError: boxes are not (N, 4), `matches` or `labels` has another length, or names a truth that is not there.
    """
    candidates, truth_boxes = check_boxes("candidates", candidates), check_boxes("truth_boxes", truth_boxes)
    matches = matches.cpu()
    if matches.shape != candidates.shape[:1]:
        raise ValueError(
            f"matches has the shape {tuple(matches.shape)} for {len(candidates)} candidates; expected as many"
        )
    if len(matches) and not IGNORED <= matches.min() <= matches.max() < len(truth_boxes):
        raise ValueError(
            f"matches lie in {matches.min()}..{matches.max()}; expected -2..{len(truth_boxes) - 1}: -1 is "
            "background, -2 ignored, the others are truths"
        )
    if labels is not None and labels.shape != truth_boxes.shape[:1]:
        raise ValueError(f"labels has the shape {tuple(labels.shape)} for {len(truth_boxes)} truths; expected as many")
    numbers = list(range(1, len(truth_boxes) + 1)) if labels is None else labels.tolist()
    colours = [class_colour(number) for number in numbers]
    figure, (axis,) = panels(1, 1, size, image.shape[-2] / image.shape[-1])
    figure.set_figwidth(size + 2.4)
    show_picture(axis, image, title, dim=0.35)
    background, ignored = candidates[matches == BACKGROUND], candidates[matches == IGNORED]
    sample = background[:: max(1, -(-len(background) // MOST_BACKGROUND))]
    thin_boxes(axis, sample, "#202020", width=1.8, opacity=0.35)  # a halo, to be seen on any ground
    thin_boxes(axis, sample, "white", width=0.8, opacity=0.9)
    thin_boxes(axis, ignored[:: max(1, -(-len(ignored) // MOST_BACKGROUND))], "#202020", width=0.7, style=":")
    handles = []
    for number, box in enumerate(truth_boxes):
        positives, colour = candidates[matches == number], colours[number]
        thin_boxes(axis, positives, colour, width=1.3, opacity=1.0)
        box_patch(axis, box, colour, width=3)
        name = "object" if labels is None else NAMES[numbers[number]]
        handles.append(_swatch(colour, f"{name} {number}: {len(positives):,} positive"))
    place_tags(
        axis,
        truth_boxes,
        [str(number) for number in range(len(truth_boxes))],
        colours,
        size,
    )
    drawn = "" if len(sample) == len(background) else f"\n({len(sample)} are drawn)"
    handles += [
        Patch(facecolor="white", edgecolor="#202020", linewidth=0.8, label=f"background: {len(background):,}{drawn}"),
    ]
    if len(ignored):
        handles.append(Line2D([], [], color="#202020", linewidth=1, linestyle=":", label=f"ignored: {len(ignored):,}"))
    figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=9)
    return figure


def draw_anchors(
    image: Tensor,
    anchors: Tensor,
    centres: Tensor | None = None,
    highlight: Tensor | None = None,
    title: str = "",
    size: float = 4.5,
) -> Figure:
    """Anchors over a picture and beyond its border, where many of them reach.

    Args:
        image: (3, H, W) floats 0..1.
        anchors: (A, 4).
        centres: (K, 2) x, y of points to be marked, such as all places that anchors stand at.
        highlight: (L,) places of anchors to be drawn in colour: one for the wide, one for the square, one for the tall.
            The legend has width × height of each.
        size: width of the picture in inches; the legend stands to the right of it.

    Raises:
        ValueError: `anchors` is not (A, 4), or `centres` is not (K, 2).
    """
    anchors = check_boxes("anchors", anchors)
    if centres is not None and (centres.ndim != 2 or centres.shape[1] != 2):
        raise ValueError(f"centres has the shape {tuple(centres.shape)}; expected (K, 2), x and y")
    height, width = image.shape[-2:]
    figure, (axis,) = panels(1, 1, size, height / width)
    show_picture(axis, image, title, dim=0.2)
    chosen = torch.zeros(0, dtype=torch.int64) if highlight is None else highlight.cpu()
    special, others = anchors[chosen], torch.ones(len(anchors), dtype=torch.bool)
    others[chosen] = False
    thin_boxes(axis, anchors[others], "#202020" if highlight is None else FAINT, width=0.9, opacity=0.7)
    if centres is not None:
        axis.plot(*centres.cpu().T.numpy(), ".", color="#202020", markersize=3.5, markeredgewidth=0)
    sizes: dict[str, list[str]] = {}
    for box, (w, h) in zip(special, (special[:, 2:] - special[:, :2]).tolist()):
        shape = "wide" if w > h else "tall" if h > w else "square"
        box_patch(axis, box, SHAPE_COLOURS[shape], width=1.8)
        sizes.setdefault(shape, []).append(f"{w:.0f} × {h:.0f}")
    _make_room(axis, anchors, width, height)
    if sizes:
        figure.set_figwidth(size + 2.4)
        lines = [
            Line2D([], [], color=SHAPE_COLOURS[shape], linewidth=3, label=f"{shape}:\n{', '.join(each)}")
            for shape, each in sizes.items()
        ]
        words = {"title": "width × height", "title_fontsize": 9, "alignment": "left"}
        figure.legend(handles=lines, loc="outside right center", frameon=False, fontsize=9, labelspacing=0.8, **words)
    return figure


def _make_room(axis: Axes, boxes: Tensor, width: int, height: int) -> None:
    """Widen the view, by no more than half the picture to each side, so that boxes beyond the border are seen."""
    if len(boxes) == 0:
        return
    (left, top), (right, bottom) = boxes[:, :2].amin(0).tolist(), boxes[:, 2:].amax(0).tolist()
    axis.set_xlim(max(min(left - 1, 0), -width / 2), min(max(right + 1, width), 1.5 * width))
    axis.set_ylim(min(max(bottom + 1, height), 1.5 * height), max(min(top - 1, 0), -height / 2))


def _pictures(image: Tensor, given: dict, name: str) -> list[Tensor]:
    """One picture for each entry."""
    if not given:
        raise ValueError(f"{name} is empty; expected at least one entry")
    if image.ndim == 4 and len(image) not in (1, len(given)):
        raise ValueError(f"image holds {len(image)} pictures for {len(given)} {name}; expected one, or as many")
    return [image] * len(given) if image.ndim == 3 else list(image.expand(len(given), -1, -1, -1))


def _check_one_each(name: str, values: Tensor, boxes: Tensor) -> None:
    """Raise ValueError, naming the argument, unless there is one number for each box (N, 4)."""
    if values.shape != boxes.shape[:1]:
        raise ValueError(f"{name} has the shape {tuple(values.shape)} for {len(boxes)} boxes; expected one number each")


def _swatch(colour: str, label: str) -> Patch:
    return Patch(facecolor=colour, edgecolor="#202020", linewidth=0.8, label=label)
