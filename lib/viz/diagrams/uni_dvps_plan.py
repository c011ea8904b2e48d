"""Uni-DVPS drawn whole, as MaskFormer is: what is new in it is framed (lesson 16)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from lib.models.uni_dvps import TASKS, FeatureGate, UniDVPS
from lib.timing import milliseconds
from lib.viz.basics.draw import COLOURS
from lib.viz.clips.depths import depth_colours
from lib.viz.diagrams.maskformer_plan import maskformer_plan, surest_masks
from lib.viz.diagrams.panels import Draw, asking, shape_of, tiles, vectors
from lib.viz.diagrams.system import Loss, Plan, Stage
from lib.viz.masks.query_masks import Colour

FAINT = 0.25  # of a depth map's colours is left where its query's mask is 0


def draw_uni_dvps(model: UniDVPS, image: Tensor, timed: bool = True, colours: Sequence[Colour] | None = None) -> Figure:
    """Uni-DVPS on a picture (3, H, W): gates, two answers of the same queries, and queries kept for tracking.

    Of the four surest queries masks and depths are shown, the latter on the scale of `draw_depths` and faint outside of
    the mask. The gates' tile has what they let through: above for segmentation, below for depth; of queries on the
    left, a row for each, and of pixels on the right, the mean over their numbers; dark blue nothing, yellow all.

    Args:
        model: in eval mode, with gates.
        image: of sides that need no padding.
        timed: with the times.
        colours: of the K classes, for the masks; None: those that boxes have.

    Raises:
        ValueError: the model pads a picture of this size or has no gates, or there are not K colours.
    """
    return uni_dvps_plan(model, image, colours).draw(timed)


@torch.no_grad()
def uni_dvps_plan(model: UniDVPS, image: Tensor, colours: Sequence[Colour] | None = None) -> Plan:
    """The stages: picture, pixels, queries; queries kept, gates; classes and masks; depth embeddings, depths."""
    gates = [gate for part in (model.query_gates, model.pixel_gates) for gate in part.values()]
    if not all(isinstance(gate, FeatureGate) for gate in gates):
        raise ValueError("model has no gates; expected one built with gate=True")
    maskformer = model.maskformer
    first, backbone, decoder, detr, *_ = maskformer_plan(maskformer, image, colours).stages
    took = (backbone.milliseconds or 0.0) + (decoder.milliseconds or 0.0)
    _, pixels, looked = maskformer.features(image[None], True)  # (1, C, h, w)
    output, states = model(image[None]), looked.states[-1:]  # (1, 1, Q, D)
    queries = {task: gate(states) for task, gate in model.query_gates.items()}  # (1, 1, Q, D) each
    places = {task: gate(pixels) for task, gate in model.pixel_gates.items()}  # (1, C, h, w) each
    embeddings = model.depth_embed(queries["depth"])  # (1, 1, Q, C)
    probability = output["pred_logits"][0].softmax(dim=-1).cpu()  # (Q, K + 1)
    masks = output["pred_masks"][0]  # (Q, h, w)
    depths = output["pred_depths"][0].cpu()  # (Q, h, w)
    sure, drawn = surest_masks(image, masks, probability, colours)
    asked = looked.cross_attention[-1][0].mean(dim=0)[sure]  # (n, h', w'), averaged over the heads
    shares = [_shares(model.query_gates[task], states[0, 0]) for task in TASKS]  # (Q, D) each
    shares_of_pixels = [_shares(model.pixel_gates[task], pixels)[0].mean(dim=0) for task in TASKS]  # (h, w) each
    metres = [_metres(depths[query], masks[query].sigmoid().cpu()) for query in sure]

    stages = (
        first,
        replace(decoder, name="backbone and\npixel decoder", milliseconds=took, new=False),
        replace(detr, draw=asking(image, asked), after=None),
        Stage("kept to track:\nthe queries", vectors(states[0, 0].cpu()),
              f"{shape_of(states[0, 0])};\ncompared by cosine", new=True),
        Stage("gates: a part\nfor each task", _gate_tiles(shares, shares_of_pixels),
              f"{len(gates)} gates; above:\nsegmentation",
              milliseconds(lambda: [gate(states) for gate in model.query_gates.values()]
                           + [gate(pixels) for gate in model.pixel_gates.values()]), new=True, after=2, also=1),
        Stage("MaskFormer's:\nclass and mask", tiles(drawn), f"{shape_of(probability)};\n{shape_of(masks)}",
              milliseconds(lambda: maskformer.heads(queries["segmentation"], places["segmentation"]))),
        Stage("for depth, too,\nan embedding", vectors(embeddings[0, 0].cpu()),
              f"{shape_of(embeddings[0, 0])};\none row per query",
              milliseconds(lambda: model.depth_embed(queries["depth"])), new=True, after=4),
        Stage("× gated pixels\n= metres", tiles(metres),
              f"{shape_of(depths)};\nyellow is near",
              milliseconds(lambda: model.metres(embeddings, places["depth"])), new=True),
    )  # fmt: skip
    losses = (
        Loss("which class, or nothing?", 5, 1, past=(3,)),
        Loss("in the mask? (focal)", 5, 1, past=(3,)),
        Loss("how much overlap? (dice)", 5, 1, past=(3,)),
        Loss("how wrong is the depth?", 7, 1, past=(3, 5)),
    )
    title = f"Uni-DVPS: {len(masks)} queries; each says a class, draws a mask and measures its depth"
    return Plan(stages, losses, title)


def _shares(gate: nn.Module, x: Tensor) -> Tensor:
    """What a gate lets through of each number of x, 0..1."""
    gate = cast(FeatureGate, gate)
    return gate.linear(x.movedim(gate.axis, -1)).sigmoid().movedim(-1, gate.axis)


def _metres(depth: Tensor, mask: Tensor) -> np.ndarray:
    """A query's depth (h, w), faint where its mask (h, w) is not: (h, w, 3)."""
    share = (FAINT + (1 - FAINT) * mask).numpy()[..., None]  # (h, w, 1)
    return share * depth_colours(depth) + (1 - share)


def _gate_tiles(queries: Sequence[Tensor], pixels: Sequence[Tensor]) -> Draw:
    """A row for each task: shares of queries (Q, D), shares of pixels (h, w)."""
    shares = [one for pair in zip(queries, pixels, strict=True) for one in pair]
    return tiles([COLOURS[(255 * share.cpu()).round().byte().numpy()] for share in shares])
