"""Grounded SAM drawn whole: words and picture become boxes, and the boxes become masks (lesson 19).

The style is that of `lib.viz.diagrams.system`, in two rows: above, Grounding DINO from the caption to boxes with
phrases; below, the picture, which goes to the detector's backbone and to SAM, and SAM's way from boxes to masks.
"""

from collections.abc import Sequence

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lib.layers.text_encoder import split_caption
from lib.models.grounding import GroundingDINO
from lib.models.sam import Sam
from lib.timing import milliseconds
from lib.training.data_engine import masks_in_boxes
from lib.viz.attention.maps import paint_heat
from lib.viz.detection.boxes import box_patch, class_colour, ink_on, show_picture, thin_boxes
from lib.viz.diagrams.panels import Draw, asking, feature_map, picture_stage, shape_of, tile_places, tiles, vectors
from lib.viz.diagrams.system import INK, OLD, Loss, Stage
from lib.viz.diagrams.two_rows import TwoRows
from lib.viz.engine.stability import SCALE
from lib.viz.masks.instances import paint_mask
from lib.viz.words.seen import Seen, look

SHOWN = 4  # words, boxes: of so many a drawing shows where they look


def draw_grounded_sam(
    model: GroundingDINO, sam: Sam, image: Tensor, caption: str, timed: bool = True, threshold: float = 0.3
) -> Figure:
    """Grounded SAM on a picture and a caption: two models in a row, the second of which knows no words.

    Each phrase has its colour from its tokens to its masks. The number in the corner of a picture is that of the lesson
    that built the part. Tiles show where four words look (enhancer), how well each cell fits the word that it fits
    best, with the cells that are chosen (selection), how the found boxes moved (decoder), and the logits of the masks
    of four boxes (mask decoder).

    Args:
        model, sam: in eval mode.
        image: (3, S, S), of the size of SAM's encoder, which the detector need not pad.
        caption: such as "small red cone . sphere ."
        timed: with the times.
        threshold: the least score of a box that is found.

    Raises:
        ValueError: the picture has another size, or the caption asks for nothing.
    """
    return grounded_sam_plan(model, sam, image, caption, threshold).draw(timed)


@torch.no_grad()
def grounded_sam_plan(model: GroundingDINO, sam: Sam, image: Tensor, caption: str, threshold: float = 0.3) -> TwoRows:
    """The stages of both rows, and the detector's losses."""
    size = sam.image_encoder.img_size
    if image.shape != (3, size, size):
        raise ValueError(f"image is {tuple(image.shape)}; expected {(3, size, size)}, as SAM's encoder takes it")
    if not split_caption(caption):
        raise ValueError(f'caption is {caption!r}; expected a phrase at least, such as "red cone ."')
    seen = look(model, image, caption, threshold)
    losses = (
        Loss("which words are true of it? (matching L14, focal loss L10)", 5, 1, past=(3,)),
        Loss("how far off is its box, how much overlap? (L1, GIoU)", 5, 1, past=(3,)),
        Loss("the same two, of the chosen cells", 3, 1),
    )
    title = "Grounded SAM: words and picture become boxes, boxes become masks"
    return TwoRows(_detector_stages(seen, image), _sam_stages(sam, seen, image), losses, title)


def _detector_stages(seen: Seen, image: Tensor) -> tuple[Stage, ...]:
    """The upper row. All of it is new."""
    took, tokens, (_, queries, dim) = seen.milliseconds, len(seen.of_token), seen.begin.content.shape
    found, layers = seen.boxes[-1][seen.queries], len(seen.boxes) - 1
    shown = (seen.of_token >= 0).nonzero()[:SHOWN, 0].tolist()  # places of words
    return (
        Stage("caption\nas tokens", _token_list(seen), f"{tokens} tokens,\n{_many(len(seen.phrases), 'phrase')}",
              new=True, lesson="L19"),
        Stage("text encoder:\nphrase by phrase", vectors(seen.said), f"{shape_of(seen.said)};\none row per token",
              took["text"], new=True, lesson="L14, L19"),
        Stage("enhancer: words\nand cells look", _looking(seen, image, shown),
              f"{seen.fits.numel()} × {dim}, {tokens} × {dim};\nwhere {_many(len(shown), 'word looks', 'words look')}",
              took["enhancer"], new=True, lesson="L14, L19"),
        Stage("selection: cells\nthat fit a word", _chosen(image, seen.fits, seen.begin.cells[0].cpu()),
              f"{queries} × {dim};\nbright: fits, dots: chosen", took["selection"], new=True, lesson="L19"),
        Stage(f"decoder: a second\nlook, {_times(layers)}", _mended(seen, image),
              f"{queries} × 4; dotted:\nas they began", took["decoder"], new=True, lesson="L14, L19"),
        Stage("fit of each box\nand each word", _answers(image, found, seen.labels),
              f"{queries} × {tokens};\n{_many(len(found), 'box', 'boxes')} found", took["answers"], new=True,
              lesson="L19"),
    )  # fmt: skip


def _sam_stages(sam: Sam, seen: Seen, image: Tensor) -> tuple[Stage, ...]:
    """The lower row: the picture, the detector's backbone, and SAM's parts."""
    on = sam.pixel_mean.device
    image = image.to(on)
    boxes = seen.boxes[-1][seen.queries].to(on)  # (n, 4)
    embedding = sam.encode(image[None])  # (1, D, h, w)
    masks = masks_in_boxes(sam, image, boxes).cpu()  # (n, H, W)
    sparse, _ = sam.prompt_encoder(boxes=boxes)  # (n, 2, D)
    logits = list(sam(embedding, boxes=boxes[:SHOWN]).single().masks[:, 0].cpu()) if len(boxes) else []  # (4h, 4w) each
    took = milliseconds(lambda: sam(embedding, boxes=boxes)) if len(boxes) else None
    decode = None if took is None else max(took - milliseconds(lambda: sam.prompt_encoder(boxes=boxes)), 0.0)
    return (
        picture_stage(image),
        Stage("backbone", feature_map(seen.features), shape_of(seen.features), seen.milliseconds["backbone"],
              lesson="L09"),
        Stage("SAM's encoder:\nonce a picture", feature_map(embedding[0]), shape_of(embedding[0]),
              milliseconds(lambda: sam.encode(image[None])), lesson="L17"),
        Stage("prompt encoder:\ntwo corners a box", _rows_or_nothing(sparse.flatten(0, 1).cpu()), shape_of(sparse),
              milliseconds(lambda: sam.prompt_encoder(boxes=boxes)) if len(boxes) else None, lesson="L17"),
        Stage("mask decoder:\na mask a box", _logits(logits),
              f"{sam.mask_decoder.num_mask_tokens} a box, one is kept;\nlogits, red: inside", decode, lesson="L17"),
        Stage("masks", _masks(image, masks, seen.labels), shape_of(masks), lesson="L17"),
    )  # fmt: skip


def _many(count: int, one: str, more: str = "") -> str:
    """Such as "1 phrase", "2 boxes"."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


# what the panels show


def _token_list(seen: Seen) -> Draw:
    """The tokens from top to bottom, words on the colour of their phrase."""

    def draw(axis: Axes) -> None:
        tokens, owners = tokens_of(seen.phrases), seen.of_token.tolist()
        pitch = min(1 / len(tokens), 0.16)
        for place, (token, owner) in enumerate(zip(tokens, owners, strict=True)):
            middle = 1 - pitch * (place + 0.5)
            if owner >= 0:
                colour = class_colour(1 + owner)
                axis.add_patch(Rectangle((0.38, middle - 0.46 * pitch), 0.6, 0.92 * pitch, color=colour, linewidth=0))
            axis.text(
                0.68, middle, token, ha="center", va="center_baseline", fontsize=min(8, 85 * pitch),
                color=ink_on(class_colour(1 + owner)) if owner >= 0 else INK,
            )  # fmt: skip
        axis.set(xlim=(0, 1), ylim=(0, 1), facecolor="white")

    return draw


def tokens_of(phrases: Sequence[str]) -> list[str]:
    """["red cone", "sphere"] -> ["red", "cone", ".", "sphere", "."]."""
    return [word for phrase in phrases for word in (*phrase.split(), ".")]


def _looking(seen: Seen, image: Tensor, shown: Sequence[int]) -> Draw:
    """Where the tokens at these places look, with their words."""
    tokens, show = tokens_of(seen.phrases), asking(image, seen.looks[list(shown)])

    def draw(axis: Axes) -> None:
        show(axis)
        for place, (x, y, side) in zip(shown, tile_places(len(shown)), strict=True):
            colour = class_colour(1 + int(seen.of_token[place]))
            axis.text(
                x + side / 2, y + 0.02, tokens[place], ha="center", va="bottom", fontsize=7, color=ink_on(colour),
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
            )  # fmt: skip

    return draw


def _chosen(image: Tensor, fits: Tensor, cells: Tensor) -> Draw:
    """How well each cell (h, w) fits its best word, and a dot in each that is chosen (Q,)."""

    def draw(axis: Axes) -> None:
        (height, width), (rows, columns) = image.shape[1:], fits.shape
        show_picture(axis, image, dim=0.4)
        paint_heat(axis, fits, (0, width, height, 0))
        x, y = (cells % columns + 0.5) * width / columns, (cells // columns + 0.5) * height / rows
        axis.plot(x, y, "o", color="white", markersize=3, markeredgecolor=INK, markeredgewidth=0.6)
        axis.set(xlim=(0, width), ylim=(height, 0))

    return draw


def _mended(seen: Seen, image: Tensor) -> Draw:
    """The boxes that are found: dotted as they began, then a line for each decoder layer, the last one strongest."""

    def draw(axis: Axes) -> None:
        show_picture(axis, image, dim=0.4)
        for query, label in zip(seen.queries.tolist(), seen.labels.tolist()):
            first, *later = seen.boxes[:, query]
            for number, box in enumerate(later, 1):
                thin_boxes(axis, box[None], class_colour(1 + label), 0.5 + number / 2, number / len(later))
            thin_boxes(axis, first[None], "white", 1.2, 1.0, ":")
        axis.set(xlim=(0, image.shape[2]), ylim=(image.shape[1], 0))

    return draw


def _answers(image: Tensor, boxes: Tensor, labels: Tensor) -> Draw:
    """Boxes (n, 4) in the colours of the phrases (n,) that they fit."""

    def draw(axis: Axes) -> None:
        show_picture(axis, image, dim=0.4)
        for box, label in zip(boxes, labels.tolist(), strict=True):
            box_patch(axis, box, class_colour(1 + label), 1.6)
        axis.set(xlim=(0, image.shape[2]), ylim=(image.shape[1], 0))

    return draw


def _masks(image: Tensor, masks: Tensor, labels: Tensor) -> Draw:
    """Masks (n, H, W) in the colours of the phrases (n,) that they fit."""

    def draw(axis: Axes) -> None:
        show_picture(axis, image, dim=0.4)
        for mask, label in zip(masks, labels.tolist(), strict=True):
            paint_mask(axis, mask, class_colour(1 + label))
        axis.set(xlim=(0, image.shape[2]), ylim=(image.shape[1], 0))

    return draw


def _logits(masks: Sequence[Tensor]) -> Draw:
    """Masks (4h, 4w) as logits, those of up to four boxes: blue is outside, red inside."""
    if not len(masks):
        return _blank
    return tiles([matplotlib.colormaps["RdBu_r"]((0.5 + mask / SCALE / 2).numpy())[..., :3] for mask in masks])


def _rows_or_nothing(values: Tensor) -> Draw:
    return vectors(values) if len(values) else _blank


def _blank(axis: Axes) -> None:
    """Where no box was found there is nothing to be seen."""
    axis.text(0.5, 0.5, "no box", ha="center", va="center", fontsize=8, color=OLD)
    axis.set(xlim=(0, 1), ylim=(0, 1), facecolor="white")
