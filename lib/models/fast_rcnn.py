"""Fast R-CNN: the backbone runs once for the whole picture, and every proposal is cut out of its map (lesson 07).

Where the proposals come from is left open: from selective search here, from a network of its own in Faster R-CNN
(lesson 08), which uses the second stage of this file as it is. Attribute names are torchvision's. Source: Girshick
2015, "Fast R-CNN", section 2 (RoI pooling, two tasks, one loss, sampling of regions).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms, roi_pool

from lib.layers.backbone import Backbone
from lib.layers.fpn import infer_scale
from lib.layers.rcnn_transform import GeneralizedRCNNTransform
from lib.layers.small_backbone import SmallBackbone
from lib.ops.box_coder import BoxCoder
from lib.ops.boxes import box_iou, clip_boxes_to_image, remove_small_boxes
from lib.ops.matching import BalancedPositiveNegativeSampler, Matcher
from lib.ops.targets import check_labels, check_sets, check_targets


class RoIPooling(nn.Module):
    """Cuts each region out of a backbone's only map, into a small map of fixed size.

    Args:
        output_size: rows and columns of the small map.
        pool: called as `pool(map, boxes, (output_size, output_size), scale)`; `torchvision.ops.roi_pool` as in the
            paper, or any other function that takes and gives the same.
    """

    def __init__(self, output_size: int, pool: Callable[..., Tensor] = roi_pool):
        super().__init__()
        self.output_size, self.pool = (output_size, output_size), pool

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], image_sizes: list[tuple[int, int]]) -> Tensor:
        """The map (B, C, h, w) and for each picture boxes (P_i, 4) xyxy -> (P_1 + ... + P_B, C, rows, columns)."""
        if len(features) != 1:
            raise ValueError(f"features has the maps {', '.join(features)}; expected one map")
        (feature,) = features.values()
        return self.pool(feature, boxes, self.output_size, infer_scale(feature, image_sizes))


class TwoMLPHead(nn.Module):
    """What is in a region: its small map in a row, then two fully connected layers with ReLU."""

    def __init__(self, in_channels: int, representation_size: int):
        super().__init__()
        self.fc6 = nn.Linear(in_channels, representation_size)
        self.fc7 = nn.Linear(representation_size, representation_size)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, rows, columns), with in_channels = C · rows · columns -> (R, representation_size)."""
        return F.relu(self.fc7(F.relu(self.fc6(x.flatten(1)))))


class FastRCNNPredictor(nn.Module):
    """Two tasks from the same features: which class is it, and how must the box be moved if it is that class?"""

    def __init__(self, in_channels: int, num_classes: int):
        super().__init__()
        self.cls_score = nn.Linear(in_channels, num_classes)
        self.bbox_pred = nn.Linear(in_channels, num_classes * 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(R, in_channels) -> class logits (R, K), 0 = background, and four numbers for each class (R, 4 · K)."""
        return self.cls_score(x), self.bbox_pred(x)


def fastrcnn_loss(
    class_logits: Tensor, box_regression: Tensor, labels: list[Tensor], regression_targets: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """The two-task loss (section 2.3): cross entropy for all regions, and the error of the box for those of a thing.

    A box is judged by the four numbers of its true class alone, with smooth L1 (its bend at 1/9, as in torchvision).
    The sum over boxes is divided by the number of *all* regions, so that a picture with few positives counts less.

    Args:
        class_logits: (R, K). box_regression: (R, 4 · K).
        labels: (R_i,) for each picture, 0 = background. regression_targets: (R_i, 4) for each picture.

    Returns:
        Loss of the classes, loss of the boxes.
    """
    classes, moves = torch.cat(labels), torch.cat(regression_targets)  # (R,), (R, 4)
    things = torch.where(classes > 0)[0]  # (positives,)
    of_true_class = box_regression.unflatten(1, (-1, 4))[things, classes[things]]  # (positives, 4)
    box_loss = F.smooth_l1_loss(of_true_class, moves[things], beta=1 / 9, reduction="sum")
    return F.cross_entropy(class_logits, classes), box_loss / max(len(classes), 1)


class TrainingSamples(NamedTuple):
    """The regions of one step. Each entry is a list with a tensor for each picture."""

    proposals: list[Tensor]  # (R_i, 4) xyxy
    matched_idxs: list[Tensor]  # (R_i,) place of the true box that a region overlaps most; 0 if there is none
    labels: list[Tensor]  # (R_i,) its class, or 0 = background
    regression_targets: list[Tensor]  # (R_i, 4) how it must be moved onto that box; no meaning for background


class RoIHeads(nn.Module):
    """The second stage: looks at every proposal, says what it shows and moves its box.

    Args:
        box_roi_pool: cuts regions out of maps; called as (features, proposals, image_sizes).
        box_head: (R, C, rows, columns) -> (R, D). box_predictor: (R, D) -> class logits (R, K), boxes (R, 4 · K).
        fg_iou_thresh: a proposal with at least this IoU with a true box has its class.
        bg_iou_thresh: below this it is background; in between it is not learned from.
        batch_size_per_image, positive_fraction: how many regions are drawn from a picture, and at most which share of
            them shows a thing.
        bbox_reg_weights: see `BoxCoder`.
        score_thresh, nms_thresh, detections_per_img: detections with a lower score, those that overlap a better one
            of their class by more than this, and all but the best so many are dropped.
    """

    def __init__(
        self,
        box_roi_pool: nn.Module,
        box_head: nn.Module,
        box_predictor: nn.Module,
        fg_iou_thresh: float = 0.5,
        bg_iou_thresh: float = 0.5,
        batch_size_per_image: int = 512,
        positive_fraction: float = 0.25,
        bbox_reg_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0),
        score_thresh: float = 0.05,
        nms_thresh: float = 0.5,
        detections_per_img: int = 100,
    ):
        super().__init__()
        self.box_roi_pool, self.box_head, self.box_predictor = box_roi_pool, box_head, box_predictor
        self.proposal_matcher = Matcher(fg_iou_thresh, bg_iou_thresh)
        self.fg_bg_sampler = BalancedPositiveNegativeSampler(batch_size_per_image, positive_fraction)
        self.box_coder = BoxCoder(bbox_reg_weights)
        self.score_thresh, self.nms_thresh, self.detections_per_img = score_thresh, nms_thresh, detections_per_img

    def forward(
        self, features: dict[str, Tensor], proposals: list[Tensor], image_sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Maps by name (B, C, h, w) and proposals (P_i, 4) -> for each picture {"boxes", "scores", "labels"}."""
        class_logits, box_regression = self.predict(features, proposals, image_sizes)
        return self.postprocess_detections(class_logits, box_regression, proposals, image_sizes)

    def predict(
        self, features: dict[str, Tensor], proposals: list[Tensor], image_sizes: list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """The raw answers, R = P_1 + ... + P_B: class logits (R, K), four numbers for each class (R, 4 · K)."""
        regions = self.box_roi_pool(features, proposals, image_sizes)  # (R, C, rows, columns)
        return self.box_predictor(self.box_head(regions))

    def postprocess_detections(
        self, class_logits: Tensor, box_regression: Tensor, proposals: list[Tensor], image_sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Raw answers -> detections, best first: every proposal is a candidate for every class but background."""
        counts = [len(one) for one in proposals]
        all_boxes = self.box_coder.decode(box_regression, proposals).split(counts)  # (P_i, K, 4) each
        all_scores = F.softmax(class_logits, dim=1).split(counts)  # (P_i, K) each
        detections = []
        for boxes, scores, size in zip(all_boxes, all_scores, image_sizes, strict=True):
            boxes = clip_boxes_to_image(boxes, size)[:, 1:].reshape(-1, 4)  # (P_i · (K - 1), 4)
            labels = torch.arange(1, scores.shape[1], device=scores.device).expand(len(scores), -1).reshape(-1)
            scores = scores[:, 1:].reshape(-1)  # (P_i · (K - 1),)
            keep = torch.where(scores > self.score_thresh)[0]
            keep = keep[remove_small_boxes(boxes[keep], min_size=1e-2)]
            keep = keep[batched_nms(boxes[keep], scores[keep], labels[keep], self.nms_thresh)]
            keep = keep[: self.detections_per_img]
            detections.append({"boxes": boxes[keep], "scores": scores[keep], "labels": labels[keep]})
        return detections

    def loss(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_sizes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """The two parts of the loss on regions drawn from the proposals: "loss_classifier" and "loss_box_reg"."""
        return self.loss_of_samples(features, self.select_training_samples(proposals, targets), image_sizes)

    def loss_of_samples(
        self, features: dict[str, Tensor], samples: TrainingSamples, image_sizes: list[tuple[int, int]]
    ) -> dict[str, Tensor]:
        """The same on regions that are drawn already."""
        class_logits, box_regression = self.predict(features, samples.proposals, image_sizes)
        loss_classifier, loss_box_reg = fastrcnn_loss(
            class_logits, box_regression, samples.labels, samples.regression_targets
        )
        return {"loss_classifier": loss_classifier, "loss_box_reg": loss_box_reg}

    def select_training_samples(self, proposals: list[Tensor], targets: list[dict[str, Tensor]]) -> TrainingSamples:
        """Draw the regions to learn from. The true boxes join the proposals: so there are positives from the start."""
        pictures = []
        for boxes, target in zip(proposals, targets, strict=True):
            candidates, matches = self._matched(boxes, target["boxes"].to(boxes))
            labels = labels_of(matches, target["labels"])  # (P_i,)
            drawn = self._drawn(labels)  # (R_i,) places
            candidates, matches = candidates[drawn], matches[drawn].clamp(min=0)  # (R_i, 4), (R_i,)
            true_boxes = target["boxes"].to(boxes)[matches] if len(target["boxes"]) else candidates  # (R_i, 4)
            moves = self.box_coder.encode_single(true_boxes, candidates)  # (R_i, 4)
            pictures.append((candidates, matches, labels[drawn], moves))
        return TrainingSamples(*(list(values) for values in zip(*pictures, strict=True)))

    def _matched(self, proposals: Tensor, true_boxes: Tensor) -> tuple[Tensor, Tensor]:
        """All candidates of a picture (P, 4), the true boxes last, and what each matches (P,): a place, -1 or -2."""
        candidates = torch.cat([proposals, true_boxes])  # (P, 4)
        return candidates, self.proposal_matcher(box_iou(true_boxes, candidates))

    def _drawn(self, labels: Tensor) -> Tensor:
        """Places of the candidates to learn from, drawn by their labels (P,) -> (R,)."""
        (positive,), (negative,) = self.fg_bg_sampler([labels])  # (P,) bool each
        return torch.where(positive | negative)[0]


def labels_of(matches: Tensor, true_labels: Tensor) -> Tensor:
    """What `Matcher` gives, (P,) -> class of each candidate: its true box's, 0 = background, -1 = to be ignored."""
    classes = torch.cat([true_labels, true_labels.new_tensor([-1, 0])])  # at -1 background, at -2 to be ignored
    return classes[matches]  # (P,)


class FastRCNN(nn.Module):
    """The detector: a backbone, and the second stage on proposals from elsewhere.

    Args:
        backbone: pictures (B, 3, H, W) -> one map by name; `backbone.out_channels` are its channels.
        num_classes: K, background included.
        output_size: rows and columns of what RoI pooling gives.
        representation_size: features of a region.
        pool: see `RoIPooling`.
        min_size, max_size, image_mean, image_std: see `GeneralizedRCNNTransform`.
        box_batch_size_per_image, box_positive_fraction, box_score_thresh, box_nms_thresh, box_detections_per_img: see
            `RoIHeads`. The paper draws 64 regions from each of two pictures.

    Raises:
        ValueError: there is no class besides background.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        output_size: int = 7,
        representation_size: int = 1024,
        pool: Callable[..., Tensor] = roi_pool,
        min_size: int | None = 600,
        max_size: int = 1000,
        image_mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        image_std: tuple[float, ...] = (0.229, 0.224, 0.225),
        box_batch_size_per_image: int = 64,
        box_positive_fraction: float = 0.25,
        box_score_thresh: float = 0.05,
        box_nms_thresh: float = 0.5,
        box_detections_per_img: int = 100,
    ):
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; expected at least 2: background is one of them")
        self.num_classes = num_classes
        self.transform = GeneralizedRCNNTransform(min_size, max_size, image_mean, image_std)
        self.backbone = backbone
        self.roi_heads = RoIHeads(
            RoIPooling(output_size, pool),
            TwoMLPHead(backbone.out_channels * output_size**2, representation_size),
            FastRCNNPredictor(representation_size, num_classes),
            batch_size_per_image=box_batch_size_per_image,
            positive_fraction=box_positive_fraction,
            score_thresh=box_score_thresh,
            nms_thresh=box_nms_thresh,
            detections_per_img=box_detections_per_img,
        )

    def forward(self, images: Tensor | list[Tensor], proposals: list[Tensor]) -> list[dict[str, Tensor]]:
        """Detect.

        Args:
            images: (B, 3, H, W), or a list of (3, H, W) of different sizes, 0..1.
            proposals: for each picture (P_i, 4) xyxy pixels; P_i may be 0.

        Returns:
            For each picture {"boxes": (N, 4) xyxy pixels, "scores": (N,) 0..1, "labels": (N,) 1..K-1}, best first.

        Raises:
            ValueError: a picture or a set of proposals has the wrong shape, or they are not equally many.
        """
        check_sets("proposals", proposals, len(images))
        batch = self.transform(images)
        moved = self.transform.resize_targets([{"proposals": one} for one in proposals], batch)
        features = self.backbone(batch.tensors)  # by name (B, C, h, w)
        found = self.roi_heads(features, [one["proposals"] for one in moved], batch.image_sizes)
        return self.transform.postprocess(found, batch)

    def loss(self, images: Tensor | list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """What is to become small: {"loss_classifier", "loss_box_reg"}.

        Args:
            images: as for `forward`.
            targets: for each picture {"boxes": (N, 4) xyxy, "labels": (N,) 1..K-1, "proposals": (P, 4) xyxy}.

        Raises:
            ValueError: an entry is missing or has the wrong shape, a box is not finite, or a label is out of range.
        """
        check_targets(targets, len(images))
        check_labels(targets, self.num_classes - 1)
        check_sets("proposals", [target.get("proposals") for target in targets], len(images))
        batch = self.transform(images)
        targets = self.transform.resize_targets(targets, batch)
        features = self.backbone(batch.tensors)  # by name (B, C, h, w)
        return self.roi_heads.loss(features, [target["proposals"] for target in targets], batch.image_sizes, targets)


def fast_rcnn_small(num_classes: int = 6) -> FastRCNN:
    """The one of lesson 07, for toyworld at 96 × 96: learns in a minute or two. No resizing, no normalisation.

    Doubles are dropped from an IoU of 0.3, as in R-CNN and in the paper's code: a region that was rounded to cells of 8
    pixels does not tell exactly where the box is, and the doubles of a small thing overlap little.
    """
    return FastRCNN(
        SmallBackbone(),
        num_classes,
        output_size=5,
        representation_size=96,
        min_size=None,
        image_mean=(0.0, 0.0, 0.0),
        image_std=(1.0, 1.0, 1.0),
        box_batch_size_per_image=32,
        box_nms_thresh=0.3,
    )
