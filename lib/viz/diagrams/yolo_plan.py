"""YOLO drawn as the detectors of lessons 06 to 08 are, at work on one picture (lesson 09)."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lib.models.yolo import YOLOv1, YOLOv2
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
    best = scores[0].flatten(2).amax(dim=2)  # (S, S')
    found = model.select(boxes[0], scores[0], size)
    stages = (
        picture_stage(image),
        Stage("backbone,\nonce", feature_map(features[0]),
              shape_of(features[0]), milliseconds(lambda: model.backbone(image[None]))),
        Stage("one 1 × 1\nconvolution", sure_cells(image, best), f"{shape_of(grid[0])};\nthe best score of a cell",
              milliseconds(lambda: model.head(features)), new=True),
        Stage("a box for\neach answer", sure_boxes(image, boxes[0].reshape(-1, 4), scores[0].flatten(0, -2)),
              f"{boxes[0].flatten(0, -2).shape[0]} boxes;\nsurer than {SEEN:g}",
              milliseconds(lambda: model.decode(grid)), new=True),
        Stage("NMS, class\nby class", detections(image, found, LEAST_SCORE), count_of(found, LEAST_SCORE),
              milliseconds(lambda: model.select(boxes[0], scores[0], size))),
    )  # fmt: skip
    losses = (Loss("where exactly?", 2, 1), Loss("is there anything?", 2, 1), Loss("which class?", 2, 1))
    year = 2016 if isinstance(model, YOLOv1) else 2017
    return Plan(stages, losses, f"YOLO of {year}: every cell answers at once")
