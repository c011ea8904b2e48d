"""RetinaNet drawn as the detectors of lessons 06 to 09 are, at work on one picture (lesson 10)."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lib.models.retinanet import RetinaNet
from lib.timing import milliseconds
from lib.viz.diagrams.panels import (
    SEEN,
    count_of,
    detections,
    feature_map,
    picture_stage,
    shape_of,
    sure_boxes,
    sure_cells,
)
from lib.viz.diagrams.system import Loss, Plan, Stage

LEAST_SCORE = 0.5  # of a detection that is drawn


def draw_retinanet(model: RetinaNet, image: Tensor, timed: bool = True, scale: float | None = None) -> Figure:
    """RetinaNet on a picture (3, H, W): no proposals and no pooling, every anchor is judged at once.

    Args:
        model: in eval mode. Of several maps the first, the largest, is drawn.
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
    surest = sure[: output.level_sizes[0]].amax(dim=1).view(*maps[0].shape[2:], -1).amax(dim=2)  # (h, w)
    anchors, classes = sure.shape
    run = milliseconds(lambda: model.backbone(batch.tensors))
    judged = milliseconds(lambda: classify(maps))
    kept = milliseconds(lambda: model.postprocess_detections(output, batch.image_sizes))
    stages = (
        picture_stage(image),
        Stage("backbone,\nonce", feature_map(maps[0][0]), shape_of(maps[0][0]), run),
        Stage("class head:\nwhich thing?", sure_cells(image, surest),
              f"{anchors:,} × {classes};\nthe surest of a cell", judged, new=True),
        Stage("box head:\nwhere exactly?", sure_boxes(image, boxes, sure[:, 1:]),
              f"{anchors:,} × 4;\nsurer than {SEEN:g}", milliseconds(lambda: regress(maps))),
        Stage("NMS, class\nby class", detections(image, found, LEAST_SCORE), count_of(found, LEAST_SCORE), kept),
    )  # fmt: skip
    losses = (Loss("which class? the focal loss", 2, 1), Loss("where exactly?", 3, 1))
    return Plan(stages, losses, "RetinaNet: every anchor is judged at once")
