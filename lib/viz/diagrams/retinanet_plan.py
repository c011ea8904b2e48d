"""RetinaNet drawn as the detectors of lessons 06 to 09 are, at work on one picture (lessons 10, 11)."""

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from lib.layers.fpn import BackboneWithPyramid
from lib.models.retinanet import RetinaNet
from lib.timing import milliseconds
from lib.viz.basics.draw import overlay
from lib.viz.diagrams.panels import (
    SEEN,
    boxes_of_levels,
    count_of,
    detections,
    feature_map,
    levels,
    like_colours,
    picture_stage,
    shape_of,
    sure_boxes,
    sure_cells,
)
from lib.viz.diagrams.system import Loss, Plan, Stage
from lib.viz.explorer.feature_pictures import pca_colours

LEAST_SCORE = 0.5  # of a detection that is drawn


def draw_retinanet(model: RetinaNet, image: Tensor, timed: bool = True, scale: float | None = None) -> Figure:
    """RetinaNet on a picture (3, H, W): no proposals and no pooling, every anchor is judged at once.

    Args:
        model: in eval mode, with one map or with a pyramid of them.
        timed: with the times.
        scale: see `draw_system`.
    """
    return retinanet_plan(model, image).draw(timed, scale)


@torch.no_grad()
def retinanet_plan(model: RetinaNet, image: Tensor) -> Plan:
    batch = model.transform(image[None])
    maps = list(model.backbone(batch.tensors).values())  # (1, C, h, w) each
    classify, regress = model.head.classification_head, model.head.regression_head
    output = model.predict(batch.tensors)
    found = model.postprocess_detections(output, batch.image_sizes)[0]
    sure = output.cls_logits[0].sigmoid()  # (A, K)
    boxes = model.box_coder.decode_single(output.bbox_regression[0], output.anchors)  # (A, 4)
    surest = [
        scores.amax(dim=1).view(*one.shape[2:], -1).amax(dim=2)  # (h, w)
        for scores, one in zip(sure.split(output.level_sizes), maps)
    ]
    anchors, classes = sure.shape
    judged = milliseconds(lambda: classify(maps))
    kept = milliseconds(lambda: model.postprocess_detections(output, batch.image_sizes))
    pyramid = isinstance(model.backbone, BackboneWithPyramid)
    features = (_pyramid_stages if pyramid else _one_map_stage)(model.backbone, batch.tensors)
    if pyramid:  # in the colours of the levels, else of the classes
        of = torch.arange(len(maps)).repeat_interleave(torch.tensor(output.level_sizes))  # (A,)
        seen = (sure[:, 1:].amax(dim=1) > SEEN).cpu()  # (A,)
        kept_boxes = found["boxes"][found["scores"] >= LEAST_SCORE]  # (n, 4)
        kept_of = of[torch.cdist(kept_boxes, boxes).argmin(dim=1).cpu()]  # (n,), that of the nearest moved anchor
        cells = levels([overlay(image, one) for one in surest], surest)
        moved, last = boxes_of_levels(image, boxes[seen], of[seen]), boxes_of_levels(image, kept_boxes, kept_of, 2)
    else:
        cells, moved = sure_cells(image, surest[0]), sure_boxes(image, boxes, sure[:, 1:])
        last = detections(image, found, LEAST_SCORE)
    stages = (
        picture_stage(image),
        *features,
        Stage("class head:\nwhich thing?", cells,
              f"{anchors:,} × {classes};\nthe surest of a cell", judged, new=not pyramid),
        Stage("box head:\nwhere exactly?", moved,
              f"{anchors:,} × 4;\nsurer than {SEEN:g}", milliseconds(lambda: regress(maps))),
        Stage("NMS, class\nby class", last, count_of(found, LEAST_SCORE), kept),
    )  # fmt: skip
    if pyramid:
        losses = (Loss("which class?", 3, 1), Loss("where exactly?", 4, 1))
        return Plan(stages, losses, "RetinaNet with a pyramid: the same heads judge every level")
    losses = (Loss("which class? the focal loss", 2, 1), Loss("where exactly?", 3, 1))
    return Plan(stages, losses, "RetinaNet: every anchor is judged at once")


def _one_map_stage(backbone: nn.Module, images: Tensor) -> tuple[Stage]:
    (one,) = backbone(images).values()  # (1, C, h, w)
    run = milliseconds(lambda: backbone(images))
    return (Stage("backbone,\nonce", feature_map(one[0]), shape_of(one[0]), run),)


def _pyramid_stages(backbone: BackboneWithPyramid, images: Tensor) -> tuple[Stage, Stage]:
    """What the body of the backbone gives, and what the pyramid makes of it."""
    raw = backbone.body(images)  # (1, C_i, h_i, w_i) each
    own = [one[0] for one in raw.values()]
    made = [one[0] for one in backbone.fpn(raw).values()]
    run = milliseconds(lambda: backbone.body(images))
    led = milliseconds(lambda: backbone.fpn(raw))
    sides = ", ".join(str(one.shape[2]) for one in own)
    return (
        Stage("backbone,\nonce", levels([pca_colours(one) for one in own], own), f"maps of {sides}\ncells a side", run),
        Stage("the way\ndown", levels(like_colours(made), made), f"{len(made[0])} channels\neach", led, new=True),
    )
