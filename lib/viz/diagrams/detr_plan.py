"""DETR drawn whole, like the detectors before it (lesson 14)."""

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.models.detr import DETR
from lib.ops.boxes import box_cxcywh_normalized_to_xyxy
from lib.timing import milliseconds
from lib.viz.attention.maps import mark_cell, paint_heat
from lib.viz.detection.boxes import box_patch, class_colour, show_picture, thin_boxes
from lib.viz.diagrams.panels import Draw, asking, class_table, feature_map, picture_stage, shape_of, tiles
from lib.viz.diagrams.system import Loss, Plan, Stage

SHOWN = 4  # channels of the code, and queries, of which a drawing shows one tile each


def draw_detr(model: DETR, image: Tensor, timed: bool = True) -> Figure:
    """DETR on a picture (3, H, W): cells look at each other, queries ask them, and each query answers.

    Args:
        model: in eval mode.
        image: of sides that need no padding.
        timed: with the times.

    Raises:
        ValueError: the model pads a picture of this size.
    """
    return detr_plan(model, image).draw(timed)


@torch.no_grad()
def detr_plan(model: DETR, image: Tensor) -> Plan:
    """The stages: picture, backbone; places, encoder, decoder, classes, boxes. All after the backbone are new."""
    batch = model.transform(image[None])
    features, mask, places = model.backbone(batch)  # (1, C, h, w), (1, h, w), (1, D, h, w)
    if batch.tensors.shape[2:] != batch.image_sizes[0]:
        raise ValueError(f"image is {tuple(image.shape)}, which the model pads; expected sides that need no padding")
    output, looked = model.attention(image[None])
    probability = output["pred_logits"][0].softmax(dim=-1).cpu()  # (Q, K + 1)
    boxes = box_cxcywh_normalized_to_xyxy(output["pred_boxes"][0], (image.shape[1], image.shape[2])).cpu()  # (Q, 4)
    labels, nothing = probability.argmax(dim=1), probability.shape[1] - 1  # (Q,)
    sure = probability[:, nothing].argsort()[:SHOWN]  # queries, the surest first
    asked = looked.cross_attention[-1][0].mean(dim=0)[sure]  # (n, h, w), averaged over the heads

    cells, codes = (one.flatten(2).transpose(1, 2) for one in (model.input_proj(features), places))  # (1, h·w, D)
    padding, queries = mask.flatten(1), model.query_embed.weight[None]  # (1, h·w), (1, Q, D)
    memory, states = looked.memory.flatten(2).transpose(1, 2), looked.states  # (1, h·w, D), (layers, 1, Q, D)
    encoder, decoder = model.transformer.encoder, model.transformer.decoder
    stages = (
        picture_stage(image),
        Stage("backbone,\nonce", feature_map(features[0]), shape_of(features[0]),
              milliseconds(lambda: model.backbone[0](batch.tensors))),
        Stage("+ places, as\nsine waves", _codes(places[0]), f"{shape_of(places[0])};\nfour channels",
              milliseconds(lambda: model.backbone[1](mask)), new=True),
        Stage("encoder: cells\nlook at cells", _looking(image, looked.encoder_attention, boxes[sure[0]]),
              f"{shape_of(looked.memory[0])};\nwhere one looks",
              milliseconds(lambda: encoder(cells, padding, codes)), new=True),
        Stage("decoder: queries\nask all at once", asking(image, asked),
              f"{shape_of(states[-1, 0])};\nwhere {len(asked)} look",
              milliseconds(lambda: decoder(torch.zeros_like(queries), memory, padding, codes, queries)), new=True),
        Stage("for each a class,\nor nothing", class_table(probability),
              f"{shape_of(probability)};\nlast column: nothing",
              milliseconds(lambda: model.class_embed(states)), new=True),
        Stage("and for each\na box", _boxes(image, boxes, labels, nothing),
              f"{shape_of(boxes)};\n{int((labels != nothing).sum())} are something",
              milliseconds(lambda: model.bbox_embed(states).sigmoid()), new=True, after=4),
    )  # fmt: skip
    losses = (
        Loss("which class, or nothing?", 5, 1),
        Loss("how far off?", 6, 1, past=(5,)),
        Loss("how much overlap?", 6, 1, past=(5,)),
    )
    return Plan(stages, losses, f"DETR: {len(boxes)} queries, {len(boxes)} answers, and no NMS")


def _codes(codes: Tensor) -> Draw:
    """A few channels of a code (D, h, w), a quick and a slow wave of each half: blue is -1, red is 1."""
    half, slow = len(codes) // 2, 2 * (len(codes) // 24)  # channels
    chosen = codes[[0, slow, half, half + slow]].cpu()  # (4, h, w)
    return tiles(list(matplotlib.colormaps["RdBu_r"]((chosen.numpy() + 1) / 2)[..., :3]))


def _looking(image: Tensor, attention: list[Tensor], box: Tensor) -> Draw:
    """Where the cell at the middle of a box (4,) looks in the last layer of the encoder, and which cell it is."""

    def draw(axis: Axes) -> None:
        show_picture(axis, image, dim=0.4)
        if attention:
            maps = attention[-1][0].mean(0)  # (h, w, h, w), averaged over the heads
            (rows, columns), (x, y) = maps.shape[:2], ((box[:2] + box[2:]) / 2).tolist()
            cell = min(int(y / image.shape[1] * rows), rows - 1), min(int(x / image.shape[2] * columns), columns - 1)
            paint_heat(axis, maps[cell], (0, image.shape[2], image.shape[1], 0))
            mark_cell(axis, "cell", cell, (rows, columns), image.shape[1:], width=1.0)

    return draw


def _boxes(image: Tensor, boxes: Tensor, labels: Tensor, nothing: int) -> Draw:
    """The boxes (Q, 4) in the colours of their classes (Q,), thin and white where the answer is `nothing`."""

    def draw(axis: Axes) -> None:
        show_picture(axis, image, dim=0.4)
        thin_boxes(axis, boxes[labels == nothing], "white", opacity=0.6)
        for box, label in zip(boxes[labels != nothing], labels[labels != nothing].tolist()):
            box_patch(axis, box, class_colour(label), width=1.6)
        axis.set(xlim=(0, image.shape[2]), ylim=(image.shape[1], 0))

    return draw
