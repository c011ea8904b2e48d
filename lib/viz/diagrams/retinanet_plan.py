"""RetinaNet drawn as the detectors of lessons 06 to 09 are, at work on one picture (lesson 10)."""

from collections.abc import Callable

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.models.retinanet import RetinaNet
from lib.timing import milliseconds
from lib.viz.basics.draw import overlay
from lib.viz.detection.boxes import class_colour, show_picture, thin_boxes
from lib.viz.diagrams.rcnn_family import LEAST_SCORE, Plan, _count, _detections, _map, _picture, _shape
from lib.viz.diagrams.system import Loss, Stage

SEEN = 0.05  # answers below this probability are not drawn; the model drops them as well


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
    anchors, classes = sure.shape
    run = milliseconds(lambda: model.backbone(batch.tensors))
    judged = milliseconds(lambda: classify(maps))
    kept = milliseconds(lambda: model.postprocess_detections(output, batch.image_sizes))
    stages = (
        _picture(image),
        Stage("backbone,\nonce", _map(maps[0][0]), _shape(maps[0][0]), run),
        Stage("class head:\na thing of it?", _sure(image, sure[: output.level_sizes[0]], maps[0]),
              f"{anchors:,} × {classes};\nthe surest of a cell", judged, new=True),
        Stage("box head:\nwhere exactly?", _sure_boxes(image, boxes, sure),
              f"{anchors:,} × 4;\nsurer than {SEEN:g}", milliseconds(lambda: regress(maps))),
        Stage("NMS, class\nby class", _detections(image, found, LEAST_SCORE), _count(found, LEAST_SCORE), kept),
    )  # fmt: skip
    losses = (Loss("which class? the focal loss", 2, 1), Loss("where exactly?", 3, 1))
    return Plan(stages, losses, "RetinaNet: every anchor is judged at once")


def _sure(image: Tensor, sure: Tensor, features: Tensor) -> Callable[[Axes], object]:
    """The highest probability of any anchor and class in each cell of a map (1, C, h, w), laid over the picture."""
    height, width = features.shape[2:]
    heat = sure.amax(dim=1).view(height, width, -1).amax(dim=2)  # (h, w)
    return lambda axis: axis.imshow(overlay(image, heat))


def _sure_boxes(image: Tensor, boxes: Tensor, sure: Tensor) -> Callable[[Axes], object]:
    """The moved boxes of all answers that are sure enough, in the colours of their classes."""

    def draw(axis: Axes) -> None:
        show_picture(axis, image, dim=0.4)
        for label in range(1, sure.shape[1]):
            thin_boxes(axis, boxes[sure[:, label] > SEEN].cpu(), class_colour(label), width=0.9)
        axis.set(xlim=(0, image.shape[2]), ylim=(image.shape[1], 0))

    return draw
