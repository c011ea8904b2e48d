"""Faster R-CNN: the proposals come from a small network on the map that the backbone has made anyway (lesson 08).

The second stage is that of Fast R-CNN (lesson 07). Attribute names are torchvision's, so that its published
`fasterrcnn_resnet50_fpn` weights load. Source: Ren et al. 2015, "Faster R-CNN: Towards Real-Time Object Detection with
Region Proposal Networks", section 3; with a pyramid: Lin et al. 2017, "Feature Pyramid Networks", section 4.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d, batched_nms, roi_pool

from lib.layers.backbone import Backbone
from lib.layers.fpn import BackboneWithFPN, MultiScaleRoIAlign
from lib.layers.rcnn_transform import GeneralizedRCNNTransform, ImageList
from lib.layers.resnet import resnet50
from lib.layers.small_backbone import SmallBackbone
from lib.models.fast_rcnn import FastRCNNPredictor, RoIHeads, RoIPooling, TwoMLPHead
from lib.ops.anchors import AnchorGenerator
from lib.ops.box_coder import BoxCoder
from lib.ops.boxes import box_iou, clip_boxes_to_image, remove_small_boxes
from lib.ops.matching import BalancedPositiveNegativeSampler, Matcher
from lib.ops.targets import check_labels, check_no_targets, check_targets

Targets = list[dict[str, Tensor]]  # for each picture {"boxes": (N, 4) xyxy pixels, "labels": (N,) int64}


class RPNHead(nn.Module):
    """Asks each cell of a map, about each of its anchors: is a thing there, and how must the anchor be moved?"""

    def __init__(self, in_channels: int, num_anchors: int):
        super().__init__()
        conv = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.conv = nn.Sequential(nn.Sequential(conv, nn.ReLU(inplace=True)))  # so torchvision's weights call it
        self.cls_logits = nn.Conv2d(in_channels, num_anchors, 1)
        self.bbox_pred = nn.Conv2d(in_channels, num_anchors * 4, 1)
        for layer in (conv, self.cls_logits, self.bbox_pred):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        self.register_load_state_dict_pre_hook(_accept_old_names)

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps (B, C, h, w) -> for each, with A anchors a cell, objectness (B, A, h, w) and moves (B, 4 · A, h, w)."""
        hidden = [self.conv(feature) for feature in features]  # (B, C, h, w) each
        return [self.cls_logits(one) for one in hidden], [self.bbox_pred(one) for one in hidden]


class RPNOutput(NamedTuple):
    """What the region proposal network says of all A anchors of B pictures, level after level, before any choice."""

    anchors: Tensor  # (A, 4) xyxy pixels, the same for each picture
    objectness: Tensor  # (B, A) logits
    deltas: Tensor  # (B, A, 4) how to move each anchor: tx, ty, tw, th
    boxes: Tensor  # (B, A, 4) xyxy, the anchors moved; no gradient runs through them
    level_sizes: list[int]  # how many of the anchors belong to each map


class RegionProposalNetwork(nn.Module):
    """Looks for things of any class: anchors, judged and moved, and the best of them chosen.

    Args:
        anchor_generator, head: as many anchors at each place of a map as the head has answers.
        fg_iou_thresh, bg_iou_thresh: an anchor with at least the first IoU with a true box is positive, one below the
            second is negative. The best anchor of each true box is positive in any case.
        batch_size_per_image, positive_fraction: how many anchors of a picture are drawn for a step, at most which share
            of them positive.
        pre_nms_top_n: how many of the best of each level go into non-maximum suppression: (in training, in testing).
        post_nms_top_n: how many of a picture remain after it: (in training, in testing).
        nms_thresh: of two proposals that overlap by more than this, the better one remains.
        score_thresh: worse ones are dropped.
    """

    def __init__(
        self,
        anchor_generator: AnchorGenerator,
        head: nn.Module,
        fg_iou_thresh: float = 0.7,
        bg_iou_thresh: float = 0.3,
        batch_size_per_image: int = 256,
        positive_fraction: float = 0.5,
        pre_nms_top_n: tuple[int, int] = (2000, 1000),
        post_nms_top_n: tuple[int, int] = (2000, 1000),
        nms_thresh: float = 0.7,
        score_thresh: float = 0.0,
    ):
        super().__init__()
        self.anchor_generator, self.head = anchor_generator, head
        self.box_coder = BoxCoder()
        self.proposal_matcher = Matcher(fg_iou_thresh, bg_iou_thresh, allow_low_quality_matches=True)
        self.fg_bg_sampler = BalancedPositiveNegativeSampler(batch_size_per_image, positive_fraction)
        self.pre_nms_top_n, self.post_nms_top_n = pre_nms_top_n, post_nms_top_n
        self.nms_thresh, self.score_thresh = nms_thresh, score_thresh

    def forward(self, images: ImageList, features: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """For each picture proposals {"boxes": (P, 4) xyxy, "scores": (P,) 0..1}, best first."""
        return self.filter_proposals(self.predict(images, features), images.image_sizes)

    def predict(self, images: ImageList, features: dict[str, Tensor]) -> RPNOutput:
        """Judge and move every anchor."""
        maps = list(features.values())
        objectness, deltas = self.head(maps)
        level_sizes = [one[0].numel() for one in objectness]
        # A row for each anchor, in the order of `AnchorGenerator`: row by row, cell by cell, anchor by anchor.
        objectness = torch.cat([one.permute(0, 2, 3, 1).flatten(1) for one in objectness], dim=1)  # (B, A)
        deltas = torch.cat([one.permute(0, 2, 3, 1).reshape(len(one), -1, 4) for one in deltas], dim=1)  # (B, A, 4)
        anchors = self.anchor_generator((images.tensors.shape[2], images.tensors.shape[3]), maps)  # (A, 4)
        boxes = self.box_coder.decode(deltas.detach().flatten(0, 1), [anchors] * len(deltas))  # (B · A, 1, 4)
        return RPNOutput(anchors, objectness, deltas, boxes.reshape_as(deltas), level_sizes)

    @torch.no_grad()
    def filter_proposals(self, output: RPNOutput, image_sizes: list[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """The best of each level, cut at the picture's edge, without tiny ones and without doubles."""
        before, after = (top_n[0 if self.training else 1] for top_n in (self.pre_nms_top_n, self.post_nms_top_n))
        best_of_levels, first = [], 0
        for level in output.objectness.split(output.level_sizes, dim=1):
            best_of_levels.append(first + level.topk(min(before, level.shape[1]), dim=1).indices)  # (B, n) each
            first += level.shape[1]
        best = torch.cat(best_of_levels, dim=1)  # (B, N)
        levels = torch.cat(
            [torch.full((size,), number, device=best.device) for number, size in enumerate(output.level_sizes)]
        )  # (A,)
        proposals = []
        for boxes, logits, chosen, size in zip(output.boxes, output.objectness, best, image_sizes, strict=True):
            boxes, scores, level = clip_boxes_to_image(boxes[chosen], size), logits[chosen].sigmoid(), levels[chosen]
            keep = remove_small_boxes(boxes, min_size=1e-3)
            keep = keep[scores[keep] >= self.score_thresh]
            keep = keep[batched_nms(boxes[keep], scores[keep], level[keep], self.nms_thresh)][:after]
            proposals.append({"boxes": boxes[keep], "scores": scores[keep]})
        return proposals

    def assign_targets_to_anchors(self, anchors: Tensor, targets: Targets) -> tuple[list[Tensor], list[Tensor]]:
        """For each picture the labels of the anchors (A,), 1 positive, 0 negative, -1 ignored; and their true boxes."""
        labels, true_boxes = [], []
        for target in targets:
            boxes = target["boxes"].to(anchors)  # (N, 4)
            matches = self.proposal_matcher(box_iou(boxes, anchors))  # (A,)
            label = torch.where(matches >= 0, 1.0, 0.0)
            labels.append(label.where(matches != Matcher.BETWEEN_THRESHOLDS, -1.0))  # (A,)
            true_boxes.append(boxes[matches.clamp(min=0)] if len(boxes) else anchors)  # (A, 4)
        return labels, true_boxes

    def loss(self, output: RPNOutput, targets: Targets) -> dict[str, Tensor]:
        """On anchors drawn from each picture: "loss_objectness" (all), "loss_rpn_box_reg" (positive ones).

        Both are divided by the number of drawn anchors, as in torchvision (equation 1 of the paper weighs otherwise).
        """
        labels, true_boxes = self.assign_targets_to_anchors(output.anchors, targets)
        positive, negative = (torch.where(torch.cat(drawn))[0] for drawn in self.fg_bg_sampler(labels))
        drawn = torch.cat([positive, negative])  # places among all B · A anchors
        answers = torch.cat(labels)[drawn]  # (drawn,)
        moves = torch.cat(self.box_coder.encode(true_boxes, [output.anchors] * len(targets)))  # (B · A, 4)
        objectness_loss = F.binary_cross_entropy_with_logits(output.objectness.flatten()[drawn], answers)
        box_loss = F.smooth_l1_loss(output.deltas.flatten(0, 1)[positive], moves[positive], beta=1 / 9, reduction="sum")
        return {"loss_objectness": objectness_loss, "loss_rpn_box_reg": box_loss / len(drawn)}


class FasterRCNN(nn.Module):
    """The detector: a backbone, proposals from its maps, and the second stage on regions of the same maps.

    Arguments are torchvision's, where it has them, and so are the defaults.

    Args:
        backbone: pictures (B, 3, H, W) -> maps by name, the largest first; `backbone.out_channels` are their channels.
        num_classes: K, background included.
        rpn_anchor_generator: None: one size for each of five levels (32 to 512), three shapes each.
        box_roi_pool: cuts regions out of the maps, with an `output_size`; None: 7 × 7 from the first four levels.
        representation_size: features of a region.
        min_size, max_size, image_mean, image_std: see `GeneralizedRCNNTransform`.
        others, beginning with rpn_: see `RegionProposalNetwork`. Beginning with box_: see `RoIHeads`.

    Raises:
        ValueError: there is no class besides background.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        rpn_anchor_generator: AnchorGenerator | None = None,
        box_roi_pool: RoIPooling | MultiScaleRoIAlign | None = None,
        representation_size: int = 1024,
        min_size: int | None = 800,
        max_size: int = 1333,
        image_mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        image_std: tuple[float, ...] = (0.229, 0.224, 0.225),
        rpn_pre_nms_top_n: tuple[int, int] = (2000, 1000),
        rpn_post_nms_top_n: tuple[int, int] = (2000, 1000),
        rpn_nms_thresh: float = 0.7,
        rpn_fg_iou_thresh: float = 0.7,
        rpn_bg_iou_thresh: float = 0.3,
        rpn_batch_size_per_image: int = 256,
        rpn_positive_fraction: float = 0.5,
        rpn_score_thresh: float = 0.0,
        box_score_thresh: float = 0.05,
        box_nms_thresh: float = 0.5,
        box_detections_per_img: int = 100,
        box_fg_iou_thresh: float = 0.5,
        box_bg_iou_thresh: float = 0.5,
        box_batch_size_per_image: int = 512,
        box_positive_fraction: float = 0.25,
    ):
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; expected at least 2: background is one of them")
        one_size_a_level = ((32,), (64,), (128,), (256,), (512,))
        anchors = rpn_anchor_generator or AnchorGenerator(one_size_a_level, ((0.5, 1.0, 2.0),) * 5)
        pool = box_roi_pool or MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=7, sampling_ratio=2)
        channels, (rows, columns) = backbone.out_channels, pool.output_size
        self.num_classes = num_classes
        self.transform = GeneralizedRCNNTransform(min_size, max_size, image_mean, image_std)
        self.backbone = backbone
        self.rpn = RegionProposalNetwork(
            anchors,
            RPNHead(channels, anchors.num_anchors_per_location()[0]),
            rpn_fg_iou_thresh,
            rpn_bg_iou_thresh,
            rpn_batch_size_per_image,
            rpn_positive_fraction,
            rpn_pre_nms_top_n,
            rpn_post_nms_top_n,
            rpn_nms_thresh,
            rpn_score_thresh,
        )
        self.roi_heads = RoIHeads(
            pool,
            TwoMLPHead(channels * rows * columns, representation_size),
            FastRCNNPredictor(representation_size, num_classes),
            box_fg_iou_thresh,
            box_bg_iou_thresh,
            box_batch_size_per_image,
            box_positive_fraction,
            score_thresh=box_score_thresh,
            nms_thresh=box_nms_thresh,
            detections_per_img=box_detections_per_img,
        )

    def forward(self, images: Tensor | list[Tensor], targets: None = None) -> list[dict[str, Tensor]]:
        """Detect.

        Args:
            images: (B, 3, H, W), or a list of (3, H, W) of different sizes, 0..1.
            targets: none; see `loss`.

        Returns:
            For each picture {"boxes": (N, 4) xyxy pixels, "scores": (N,) 0..1, "labels": (N,) 1..K-1}, best first.

        Raises:
            ValueError: a picture has the wrong shape, or there are targets.
        """
        check_no_targets(targets)
        batch = self.transform(images)
        features = self.backbone(batch.tensors)  # by name (B, C, h, w)
        proposals = [one["boxes"] for one in self.rpn(batch, features)]  # (P, 4) each
        return self.transform.postprocess(self.roi_heads(features, proposals, batch.image_sizes), batch)

    def proposals(self, images: Tensor | list[Tensor]) -> list[dict[str, Tensor]]:
        """The first stage alone: for each picture {"boxes": (P, 4) xyxy pixels, "scores": (P,) 0..1}, best first."""
        batch = self.transform(images)
        return self.transform.postprocess(self.rpn(batch, self.backbone(batch.tensors)), batch)

    def loss(self, images: Tensor | list[Tensor], targets: Targets) -> dict[str, Tensor]:
        """What is to become small, of both stages at once (the paper's "approximate joint training", section 3.2).

        Args:
            images: as for `forward`.
            targets: for each picture {"boxes": (N, 4) xyxy pixels, "labels": (N,) int64, 1..K-1}; N may be 0.

        Returns:
            {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"}.

        Raises:
            ValueError: an entry is missing or has the wrong shape, a box is not finite, or a label is out of range.
        """
        check_targets(targets, len(images))
        check_labels(targets, self.num_classes - 1)
        batch = self.transform(images)
        targets = self.transform.resize_targets(targets, batch)
        features = self.backbone(batch.tensors)  # by name (B, C, h, w)
        output = self.rpn.predict(batch, features)
        proposals = [one["boxes"] for one in self.rpn.filter_proposals(output, batch.image_sizes)]
        return self.rpn.loss(output, targets) | self.roi_heads.loss(features, proposals, batch.image_sizes, targets)


def _accept_old_names(module: nn.Module, state_dict: dict, prefix: str, *_: object) -> None:
    """Weights published before torchvision 0.14 say `rpn.head.conv.weight` for `rpn.head.conv.0.0.weight`."""
    for kind in ("weight", "bias"):
        if f"{prefix}conv.{kind}" in state_dict:
            state_dict[f"{prefix}conv.0.0.{kind}"] = state_dict.pop(f"{prefix}conv.{kind}")


def fasterrcnn_resnet50_fpn(num_classes: int = 91, frozen_norms: bool = True) -> FasterRCNN:
    """torchvision's model of the same name, with random weights; its published ones (COCO) load strictly.

    Args:
        frozen_norms: whether the normalisations of the backbone stay as they are: batches of two pictures say too
            little. So are torchvision's, with published weights; False, as there without, for a training from nothing.
    """
    body = resnet50(norm_layer=partial(FrozenBatchNorm2d, eps=0.0)) if frozen_norms else resnet50()
    return FasterRCNN(BackboneWithFPN(body, [256, 512, 1024, 2048], 256), num_classes)


def faster_rcnn_small(num_classes: int = 6, pool: Callable[..., Tensor] = roi_pool) -> FasterRCNN:
    """The one of lesson 08, for toyworld at 96 × 96: learns in a minute or two. No resizing, no normalisation.

    Backbone, RoI pooling (as in the paper) and second stage are those of `fast_rcnn_small`. Half of toyworld's things
    have a side between 15 and 28 pixels, hence the sizes of the anchors.

    Args:
        num_classes: with the background.
        pool: see `RoIPooling`.
    """
    anchors = AnchorGenerator(((12, 20, 34),), ((0.5, 1.0, 2.0),))
    return FasterRCNN(
        SmallBackbone(),
        num_classes,
        anchors,
        RoIPooling(5, pool),
        representation_size=96,
        min_size=None,
        image_mean=(0.0, 0.0, 0.0),
        image_std=(1.0, 1.0, 1.0),
        rpn_pre_nms_top_n=(300, 300),
        rpn_post_nms_top_n=(100, 100),
        rpn_batch_size_per_image=64,
        box_batch_size_per_image=32,
        box_nms_thresh=0.3,
    )
