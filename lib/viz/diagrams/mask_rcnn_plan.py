"""Mask R-CNN drawn whole, like the detectors before it (lesson 12)."""

from dataclasses import replace

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from lib.models.mask_rcnn import MaskRCNN
from lib.ops.masks import paste_masks_in_image
from lib.timing import milliseconds
from lib.viz.detection.boxes import class_colour, show_picture
from lib.viz.diagrams.panels import shape_of
from lib.viz.diagrams.rcnn_family import faster_rcnn_plan
from lib.viz.diagrams.system import Loss, Plan, Stage
from lib.viz.masks.instances import paint_mask


def draw_mask_rcnn(model: MaskRCNN, image: Tensor, timed: bool = True) -> Figure:
    """Mask R-CNN on a picture (3, H, W). `timed`: with the times."""
    return mask_rcnn_plan(model, image).draw(timed)


@torch.no_grad()
def mask_rcnn_plan(model: MaskRCNN, image: Tensor) -> Plan:
    """The stages of Faster R-CNN, with RoIAlign, and two more: a small mask for each box, pasted into the picture."""
    faster = faster_rcnn_plan(model, image)
    picture, backbone, proposals, align, head, boxes = (replace(stage, new=False) for stage in faster.stages)
    batch = model.transform(image[None])
    features = model.backbone(batch.tensors)
    found = model(image[None])[0]
    logits = model.predict_masks(features, [found["boxes"]], batch.image_sizes)  # (N, K, M, M)
    small = model.masks_of_labels(logits, found["labels"])  # (N, M, M)
    branch = milliseconds(lambda: model.predict_masks(features, [found["boxes"]], batch.image_sizes))
    paste = milliseconds(lambda: paste_masks_in_image(small, found["boxes"], image.shape[1:], aligned=model.aligned))
    stages = (
        picture,
        backbone,
        proposals,
        replace(align, name="RoIAlign", new=True),
        head,
        boxes,
        Stage("mask branch, once\nfor each box", _masks(small), shape_of(logits), branch, new=True),
        Stage("pasted", _pasted(image, found), "pixels", paste, new=True),
    )
    losses = (*faster.losses, Loss("which cells?", 6, 1))
    return Plan(stages, losses, "Mask R-CNN: a third answer for each region")


def _masks(small: Tensor):
    four = torch.full((4, 1, *small.shape[1:]), 0.5)  # a square of four, the missing ones grey
    four[: len(small), 0] = small[:4].cpu()
    tiles = make_grid(four, nrow=2, padding=1, pad_value=0.5)[0]
    return lambda axis: axis.imshow(tiles, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def _pasted(image: Tensor, found: dict[str, Tensor]):
    def draw(axis: Axes) -> None:
        show_picture(axis, image, dim=0.4)
        for mask, label, score in zip(found["masks"].cpu(), found["labels"].tolist(), found["scores"], strict=True):
            if score >= 0.5:
                paint_mask(axis, mask > 0.5, class_colour(label))

    return draw
