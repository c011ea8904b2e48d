"""RetinaNet: one look at every level of a pyramid, taught by the focal loss (lessons 10 and 11).

A dense one-stage detector: at every cell of five maps nine anchors, each of which says how it must be moved and, for
every class, whether it is one. Attribute names are torchvision's, so that its published `retinanet_resnet50_fpn`
weights load. Source: Lin, Goyal, Girshick, He & Dollár 2017, "Focal Loss for Dense Object Detection", section 4.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d, batched_nms

from lib.layers.backbone import Backbone
from lib.layers.fpn import BackboneWithFPN, BackboneWithPyramid, FeaturePyramidNetwork, LastLevelP6P7
from lib.layers.rcnn_transform import GeneralizedRCNNTransform
from lib.layers.resnet import resnet50
from lib.layers.small_backbone import SmallBackbone, SmallStages
from lib.ops.anchors import AnchorGenerator, rows
from lib.ops.box_coder import BoxCoder
from lib.ops.boxes import box_iou, clip_boxes_to_image
from lib.ops.losses import sigmoid_focal_loss
from lib.ops.matching import Matcher
from lib.ops.targets import check_labels, check_no_targets, check_targets

PRIOR = 0.01  # how probable a thing is at the start, section 3.3: so that the many backgrounds do not flood the loss

Targets = list[dict[str, Tensor]]  # for each picture {"boxes": (n, 4) xyxy pixels, "labels": (n,) int64}


class RetinaNetOutput(NamedTuple):
    """What the heads say of the A anchors of all levels, level after level."""

    anchors: Tensor  # (A, 4) xyxy pixels
    cls_logits: Tensor  # (N, A, K)
    bbox_regression: Tensor  # (N, A, 4)
    level_sizes: list[int]  # how many of the A anchors belong to each level


def tower(channels: int, depth: int = 4) -> nn.Sequential:
    """3×3 convolutions with ReLU, `depth` of them; the two heads have one tower each, which all levels share."""
    blocks = [nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True)) for _ in range(depth)]
    return nn.Sequential(*blocks)


def start_small(head: nn.Module) -> None:
    """All weights of the convolutions small, all biases 0 (section 4.1, "Initialization")."""
    for layer in head.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class RetinaNetClassificationHead(nn.Module):
    """For every class: is a thing of it here? Begins with the answer "hardly", see `PRIOR`."""

    def __init__(
        self,
        in_channels: int,
        num_anchors: int,
        num_classes: int,
        prior_probability: float = PRIOR,
        depth: int = 4,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.conv = tower(in_channels, depth)
        self.cls_logits = nn.Conv2d(in_channels, num_anchors * num_classes, 3, padding=1)
        start_small(self)
        if self.cls_logits.bias is not None:
            nn.init.constant_(self.cls_logits.bias, -math.log((1 - prior_probability) / prior_probability))
        self.register_load_state_dict_pre_hook(_accept_old_names)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (N, C, h, w) -> logits (N, A, K)."""
        return torch.cat([rows(self.cls_logits(self.conv(one)), self.num_classes) for one in maps], dim=1)


class RetinaNetRegressionHead(nn.Module):
    """How must the anchor be moved? The same four numbers for every class."""

    def __init__(self, in_channels: int, num_anchors: int, depth: int = 4):
        super().__init__()
        self.conv = tower(in_channels, depth)
        self.bbox_reg = nn.Conv2d(in_channels, num_anchors * 4, 3, padding=1)
        start_small(self)
        self.register_load_state_dict_pre_hook(_accept_old_names)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (N, C, h, w) -> four numbers for each anchor (N, A, 4), see `BoxCoder`."""
        return torch.cat([rows(self.bbox_reg(self.conv(one)), 4) for one in maps], dim=1)


class RetinaNetHead(nn.Module):
    """Both heads."""

    def __init__(self, in_channels: int, num_anchors: int, num_classes: int, depth: int = 4):
        super().__init__()
        self.classification_head = RetinaNetClassificationHead(in_channels, num_anchors, num_classes, depth=depth)
        self.regression_head = RetinaNetRegressionHead(in_channels, num_anchors, depth)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps (N, C, h, w) -> class logits (N, A, K), four numbers (N, A, 4)."""
        return self.classification_head(maps), self.regression_head(maps)


def summed_focal_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """The focal loss of all answers (A', K), added up; `wanted` (A', K) is 1 where the answer should be yes."""
    return sigmoid_focal_loss(logits, wanted, reduction="sum")


class RetinaNet(nn.Module):
    """The detector. Arguments are torchvision's, where it has them, and so are the defaults.

    Args:
        backbone: pictures (N, 3, H, W) -> maps by name, the largest first.
        num_classes: K. Labels run from 1 to K - 1; number 0 is never said, it keeps the place of background.
        anchor_generator: None: three sizes and three shapes for each of five levels (32 to 512 pixels).
        min_size, max_size, image_mean, image_std: see `GeneralizedRCNNTransform`.
        fg_iou_thresh, bg_iou_thresh: an anchor with at least this IoU with a true box is to say its class; below the
            second it is background; in between it is not learned from.
        score_thresh, topk_candidates: of each level at most so many answers above this score are looked at.
        nms_thresh, detections_per_img: boxes that overlap a better one of their class by more, and all but the best so
            many are dropped.
        tower_depth: convolutions in each head before the last one.

    Attributes:
        classification_loss: logits (A', K) of the anchors that count in one picture, and what they should say, (A', K)
            of 0 and 1 -> one number, the sum over whatever is to be learned from. Exchange it to train with another
            loss than the focal one.

    Raises:
        ValueError: there is no class besides background.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        anchor_generator: AnchorGenerator | None = None,
        min_size: int | None = 800,
        max_size: int = 1333,
        image_mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        image_std: tuple[float, ...] = (0.229, 0.224, 0.225),
        fg_iou_thresh: float = 0.5,
        bg_iou_thresh: float = 0.4,
        score_thresh: float = 0.05,
        topk_candidates: int = 1000,
        nms_thresh: float = 0.5,
        detections_per_img: int = 300,
        tower_depth: int = 4,
    ):
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; expected at least 2: background is one of them")
        self.backbone, self.num_classes = backbone, num_classes
        self.anchor_generator = anchor_generator or nine_anchors((32, 64, 128, 256, 512))
        places = self.anchor_generator.num_anchors_per_location()[0]
        self.head = RetinaNetHead(backbone.out_channels, places, num_classes, tower_depth)
        self.classification_loss: Callable[[Tensor, Tensor], Tensor] = summed_focal_loss
        self.transform = GeneralizedRCNNTransform(min_size, max_size, image_mean, image_std)
        self.proposal_matcher = Matcher(fg_iou_thresh, bg_iou_thresh, allow_low_quality_matches=True)
        self.box_coder = BoxCoder()
        self.score_thresh, self.topk_candidates = score_thresh, topk_candidates
        self.nms_thresh, self.detections_per_img = nms_thresh, detections_per_img

    def forward(self, images: Tensor | list[Tensor], targets: None = None) -> list[dict[str, Tensor]]:
        """Detect.

        Args:
            images: (N, 3, H, W), or a list of (3, H, W) of different sizes, 0..1.
            targets: none; see `loss`.

        Returns:
            For each picture {"boxes": (n, 4) xyxy pixels, "scores": (n,) 0..1, "labels": (n,) 1..K-1}, best first.

        Raises:
            ValueError: a picture has the wrong shape, or there are targets.
        """
        check_no_targets(targets)
        batch = self.transform(images)
        output = self.predict(batch.tensors)
        return self.transform.postprocess(self.postprocess_detections(output, batch.image_sizes), batch)

    def predict(self, tensors: Tensor) -> RetinaNetOutput:
        """Judge and move every anchor: normalised pictures (N, 3, H, W) -> the raw answers."""
        maps = list(self.backbone(tensors).values())  # (N, C, h, w) each
        cls_logits, bbox_regression = self.head(maps)
        anchors = self.anchor_generator((tensors.shape[2], tensors.shape[3]), maps)  # (A, 4)
        places = self.anchor_generator.num_anchors_per_location()
        level_sizes = [one.shape[2] * one.shape[3] * count for one, count in zip(maps, places, strict=True)]
        return RetinaNetOutput(anchors, cls_logits, bbox_regression, level_sizes)

    def postprocess_detections(
        self, output: RetinaNetOutput, image_sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Of each level the best answers, then NMS over all levels together, class by class."""
        levels = list(zip(*(values.split(output.level_sizes, dim=-2) for values in output[:3]), strict=True))
        found = []
        for number, size in enumerate(image_sizes):
            parts = [self._best(anchors, logits[number], moves[number]) for anchors, logits, moves in levels]
            boxes, scores, labels = (torch.cat(several) for several in zip(*parts, strict=True))
            boxes = clip_boxes_to_image(boxes, size)
            kept = batched_nms(boxes, scores, labels, self.nms_thresh)[: self.detections_per_img]
            found.append({"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept]})
        return found

    def _best(self, anchors: Tensor, logits: Tensor, moves: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, scores and labels of a level's best answers; logits (a, K), moves (a, 4) for its anchors (a, 4)."""
        scores = logits.sigmoid().flatten()  # (a · K,)
        candidates = torch.where(scores > self.score_thresh)[0]
        scores, order = scores[candidates].topk(min(len(candidates), self.topk_candidates))
        anchor, label = candidates[order] // logits.shape[1], candidates[order] % logits.shape[1]
        return self.box_coder.decode_single(moves[anchor], anchors[anchor]), scores, label

    def loss(self, images: Tensor | list[Tensor], targets: Targets) -> dict[str, Tensor]:
        """The focal loss (or another `classification_loss`) of all anchors, and the absolute error of positive boxes.

        Both are divided by the number of a picture's positive anchors, and averaged over the pictures.

        Args:
            images: as for `forward`.
            targets: for each picture {"boxes": (n, 4) xyxy pixels, "labels": (n,) int64, 1..K-1}; n may be 0.

        Returns:
            {"classification", "bbox_regression"}, torchvision's names.

        Raises:
            ValueError: an entry is missing or has the wrong shape, or a label is out of range.
        """
        check_targets(targets, len(images))
        check_labels(targets, self.num_classes - 1)
        batch = self.transform(images)
        targets = self.transform.resize_targets(targets, batch)
        output = self.predict(batch.tensors)
        parts = [
            self._loss_of_picture(output.anchors, logits, moves, target)
            for logits, moves, target in zip(output.cls_logits, output.bbox_regression, targets, strict=True)
        ]
        classification, regression = (torch.stack(several).mean() for several in zip(*parts, strict=True))
        return {"classification": classification, "bbox_regression": regression}

    def _loss_of_picture(
        self, anchors: Tensor, logits: Tensor, moves: Tensor, target: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        boxes = target["boxes"].to(anchors)  # (n, 4)
        matches = self.proposal_matcher(box_iou(boxes, anchors))  # (A,) place, -1 or -2
        positive = torch.where(matches >= 0)[0]  # (P,)
        wanted = torch.zeros_like(logits)  # (A, K)
        wanted[positive, target["labels"][matches[positive]]] = 1.0
        counted = matches != Matcher.BETWEEN_THRESHOLDS  # (A,)
        classification = self.classification_loss(logits[counted], wanted[counted])
        true_moves = self.box_coder.encode_single(boxes[matches[positive]], anchors[positive])  # (P, 4)
        regression = F.l1_loss(moves[positive], true_moves, reduction="sum")
        share = max(len(positive), 1)
        return classification / share, regression / share


def nine_anchors(sizes: tuple[int, ...]) -> AnchorGenerator:
    """For each level of the pyramid one size, times 1, ∛2 and ∛4 (rounded down), in three shapes."""
    steps = tuple((size, int(size * 2 ** (1 / 3)), int(size * 2 ** (2 / 3))) for size in sizes)
    return AnchorGenerator(steps, ((0.5, 1.0, 2.0),) * len(sizes))


def _accept_old_names(module: nn.Module, state_dict: dict, prefix: str, *_: object) -> None:
    """Weights published before torchvision 0.14 say `conv.0.weight`, `conv.2.weight` ... for `conv.0.0.weight` ..."""
    for number in range(4):
        for kind in ("weight", "bias"):
            old, new = f"{prefix}conv.{2 * number}.{kind}", f"{prefix}conv.{number}.0.{kind}"
            if old in state_dict:
                state_dict[new] = state_dict.pop(old)


def retinanet_resnet50_fpn(num_classes: int = 91, frozen_norms: bool = True) -> RetinaNet:
    """torchvision's model of the same name, with random weights; its published ones (COCO) load strictly.

    As there, the pyramid begins at stride 8.

    Args:
        frozen_norms: see `fasterrcnn_resnet50_fpn`.
    """
    body = resnet50(norm_layer=partial(FrozenBatchNorm2d, eps=0.0)) if frozen_norms else resnet50()
    return RetinaNet(BackboneWithFPN(body, [512, 1024, 2048], 256, LastLevelP6P7(256)), num_classes)


def retinanet_small(
    num_classes: int = 6,
    backbone: Backbone | None = None,
    sizes: tuple[tuple[float, ...], ...] = ((12, 20, 34),),
) -> RetinaNet:
    """The one of lessons 10 and 11, for toyworld at 96 × 96: learns in a minute. No resizing, no normalisation.

    Towers of one convolution instead of four. With the defaults it has one map at stride 8 and the anchors of
    `faster_rcnn_small`: nine in each cell, 1,296 in all.

    Args:
        backbone: pictures -> as many maps as `sizes` has entries, the largest first. None: `SmallBackbone()`.
        sizes: for each map the sizes of its anchors in pixels, each in three shapes; as many for every map.
    """
    return RetinaNet(
        backbone or SmallBackbone(),
        num_classes,
        AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
        min_size=None,
        image_mean=(0.0, 0.0, 0.0),
        image_std=(1.0, 1.0, 1.0),
        detections_per_img=100,
        tower_depth=1,
    )


def retinanet_small_fpn(
    num_classes: int = 6, pyramid: type[FeaturePyramidNetwork] = FeaturePyramidNetwork, channels: int = 48
) -> RetinaNet:
    """`retinanet_small` on a pyramid (lesson 11): 6,804 anchors of 8 to 50 pixels on maps of stride 4, 8 and 16.

    Half as many channels as the one with a single map has: so it has as many parameters, though its largest map has
    four times as many cells.

    Args:
        pyramid: how the levels are brought together: `FeaturePyramidNetwork`, `ConcatPyramid` or `NoWayDown`.
        channels: of each level, and of the heads.
    """
    stages = SmallStages()
    backbone = BackboneWithPyramid(stages, pyramid(stages.channels, channels))
    return retinanet_small(num_classes, backbone, nine_anchors((8, 16, 32)).sizes)
