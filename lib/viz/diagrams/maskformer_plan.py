"""MaskFormer drawn whole, like the detectors before it (lesson 15)."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lib.models.maskformer import MaskFormer
from lib.timing import milliseconds
from lib.viz.detection.boxes import class_colour
from lib.viz.diagrams.panels import (
    Draw,
    asking,
    class_table,
    feature_map,
    levels,
    picture_stage,
    shape_of,
    tiles,
    vectors,
)
from lib.viz.diagrams.system import Loss, Plan, Stage
from lib.viz.explorer.feature_pictures import pca_colours
from lib.viz.masks.query_masks import SILENT, Colour, glow

SHOWN = 4  # queries of which a drawing shows one tile each


def draw_maskformer(
    model: MaskFormer, image: Tensor, timed: bool = True, colours: Sequence[Colour] | None = None
) -> Figure:
    """MaskFormer on a picture (3, H, W): a query's mask is its inner product with every pixel.

    Args:
        model: in eval mode.
        image: of sides that need no padding.
        timed: with the times.
        colours: of the K classes, for the masks; None: those that boxes have.

    Raises:
        ValueError: the model pads a picture of this size, or there are not K colours.
    """
    return maskformer_plan(model, image, colours).draw(timed)


@torch.no_grad()
def maskformer_plan(model: MaskFormer, image: Tensor, colours: Sequence[Colour] | None = None) -> Plan:
    """The stages: picture, backbone; pixel decoder; transformer, classes; mask embeddings, masks. Three are new."""
    batch = model.transform(image[None])
    if batch.tensors.shape[2:] != batch.image_sizes[0]:
        raise ValueError(f"image is {tuple(image.shape)}, which the model pads; expected sides that need no padding")
    maps = model.backbone(batch.tensors)  # (1, C_i, h_i, w_i) each
    pixels = model.pixel_decoder(maps)  # (1, C, h, w)
    output, looked = model.attention(image[None])
    states = looked.states[-1]  # (1, Q, D)
    embeddings, masks = model.mask_embed(states), output["pred_masks"][0]  # (1, Q, C), (Q, h, w)
    probability = output["pred_logits"][0].softmax(dim=-1).cpu()  # (Q, K + 1)
    sure, drawn = surest_masks(image, masks, probability, colours)
    asked = looked.cross_attention[-1][0].mean(dim=0)[sure]  # (n, h', w'), averaged over the heads
    cells = model.input_proj(list(maps.values())[-1])  # (1, D, h', w')
    padding = torch.zeros_like(cells[:, 0], dtype=torch.bool)
    places, queries = model.pe_layer(padding).to(cells), model.query_embed.weight
    stages = (
        picture_stage(image),
        Stage("backbone", _maps([one[0].cpu() for one in maps.values()]),
              f"{len(maps)} maps; the last\n{shape_of(cells[0])}", milliseconds(lambda: model.backbone(batch.tensors))),
        Stage("pixel decoder: an\nembedding a pixel", feature_map(pixels[0]),
              f"{shape_of(pixels[0])};\nsimilar ones look alike",
              milliseconds(lambda: model.pixel_decoder(maps)), new=True),
        Stage("DETR's: queries\nask all at once", asking(image, asked),
              f"{shape_of(states[0])};\nwhere {len(asked)} look",
              milliseconds(lambda: model.transformer(cells, padding, queries, places)), after=1),
        Stage("for each a class,\nor nothing", class_table(probability),
              f"{shape_of(probability)};\nlast column: nothing",
              milliseconds(lambda: model.class_embed(states))),
        Stage("and for each a\nmask embedding", vectors(embeddings[0].cpu()),
              f"{shape_of(embeddings[0])};\none row per query",
              milliseconds(lambda: model.mask_embed(states)), new=True, after=3),
        Stage("× embeddings of\npixels = masks", tiles(drawn), f"{shape_of(masks)};\nof the {len(drawn)} surest",
              milliseconds(lambda: torch.einsum("bqc,bchw->bqhw", embeddings, pixels)), new=True, also=2),
    )  # fmt: skip
    losses = (
        Loss("which class, or nothing?", 4, 1, past=(2,)),
        Loss("in the mask? (focal, pixel by pixel)", 6, 1, past=(4,)),
        Loss("how much overlap? (dice)", 6, 1, past=(4,)),
    )
    return Plan(stages, losses, f"MaskFormer: {len(masks)} queries, {len(masks)} masks; no pixel says a class")


def surest_masks(
    image: Tensor, masks: Tensor, probability: Tensor, colours: Sequence[Colour] | None
) -> tuple[list[int], list[np.ndarray]]:
    """Numbers of the queries that are surest to see something, and a tile of each one's mask.

    Args:
        image: (3, H, W).
        masks: (Q, h, w) logits.
        probability: (Q, K + 1), the last of "nothing".
        colours: of the K classes; None: those that boxes have.

    Raises:
        ValueError: there are not K colours.
    """
    labels, nothing = probability.argmax(dim=1), probability.shape[1] - 1  # (Q,)
    shades = [class_colour(label + 1) for label in range(nothing)] if colours is None else list(colours)
    if len(shades) != nothing:
        raise ValueError(f"colours has {len(shades)} entries; expected {nothing}, one for each class")
    sure = probability[:, nothing].argsort()[:SHOWN].tolist()
    return sure, [glow(image, masks[one].sigmoid().cpu(), [*shades, SILENT][int(labels[one])]) for one in sure]


def _maps(maps: Sequence[Tensor]) -> Draw:
    """Maps (C_i, h_i, w_i) of a backbone, the largest first, each in colours of its own."""
    return levels([pca_colours(one) for one in maps], maps)
