"""YOLO drawn as the detectors of lessons 06 to 08 are, at work on one picture (lesson 09)."""

from collections.abc import Callable

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.models.yolo import YOLOv1, YOLOv2
from lib.timing import milliseconds
from lib.viz.basics.draw import overlay
from lib.viz.detection.boxes import box_patch, class_colour, show_picture, thin_boxes
from lib.viz.diagrams.rcnn_family import Plan
from lib.viz.diagrams.system import Loss, Stage
from lib.viz.explorer.feature_pictures import pca_colours

LEAST_SCORE = 0.3  # of a detection that is drawn: a product of two numbers below 1


def draw_yolo(model: YOLOv1 | YOLOv2, image: Tensor, timed: bool = True, scale: float | None = None) -> Figure:
    """YOLO on a picture (3, H, W): one pass, a grid of answers, and what is left of them.

    Args:
        model: in eval mode.
        timed: with the times.
        scale: see `draw_system`.
    """
    return yolo_plan(model, image).draw(timed, scale)


@torch.no_grad()
def yolo_plan(model: YOLOv1 | YOLOv2, image: Tensor) -> Plan:
    size = (image.shape[1], image.shape[2])
    features = model.backbone(image[None])["0"]  # (1, C, S, S')
    grid = model.grid(image[None])  # (1, S, S', numbers)
    boxes, scores = model.decode(grid)  # (1, S, S', B, 4), (1, S, S', B, C)
    found = model.select(boxes[0], scores[0], size)
    stages = (
        Stage("picture", lambda axis: show_picture(axis, image), _shape(image)),
        Stage("backbone,\nonce", lambda axis: axis.imshow(pca_colours(features[0].cpu()), aspect="auto"),
              _shape(features[0]), milliseconds(lambda: model.backbone(image[None]))),
        Stage("one 1 × 1\nconvolution", _sure(image, scores[0]), f"{_shape(grid[0])};\nthe best score of a cell",
              milliseconds(lambda: model.head(features)), new=True),
        Stage("a box for\neach answer", _boxes(image, boxes[0]), f"{boxes[0].flatten(0, -2).shape[0]} boxes",
              milliseconds(lambda: model.decode(grid)), new=True),
        Stage("NMS, class\nby class", _detections(image, found), _count(found),
              milliseconds(lambda: model.select(boxes[0], scores[0], size))),
    )  # fmt: skip
    losses = (Loss("where exactly?", 2, 1), Loss("is there anything?", 2, 1), Loss("which class?", 2, 1))
    return Plan(stages, losses, "YOLO: every cell answers at once")


def _shape(values: Tensor) -> str:
    return " × ".join(str(side) for side in values.shape)


def _sure(image: Tensor, scores: Tensor) -> Callable[[Axes], object]:
    """The best score of any box and class in each cell, laid over the picture."""
    heat = scores.flatten(2).amax(dim=2)  # (S, S')
    return lambda axis: axis.imshow(overlay(image, heat))


def _boxes(image: Tensor, boxes: Tensor) -> Callable[[Axes], object]:
    def draw(axis: Axes) -> None:
        show_picture(axis, image, dim=0.4)
        thin_boxes(axis, boxes.reshape(-1, 4).cpu(), "white", width=0.6, opacity=0.5)
        axis.set(xlim=(0, image.shape[2]), ylim=(image.shape[1], 0))

    return draw


def _detections(image: Tensor, found: dict[str, Tensor]) -> Callable[[Axes], object]:
    def draw(axis: Axes) -> None:
        show_picture(axis, image, dim=0.4)
        for box, score, label in zip(found["boxes"].cpu(), found["scores"], found["labels"].tolist()):
            if score >= LEAST_SCORE:
                box_patch(axis, box, class_colour(label))

    return draw


def _count(found: dict[str, Tensor]) -> str:
    return f"{int((found['scores'] >= LEAST_SCORE).sum())} boxes\nof score {LEAST_SCORE:g} or more"
