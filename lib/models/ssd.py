"""SSD: boxes from several maps of one network, and of the many backgrounds only the hard ones (lesson 11).

On each of several maps a 3×3 convolution says, for every default box of every cell, which class it shows and how it
must be moved. Large maps say small boxes, small maps large ones. Nothing leads from the small maps back to the large
ones: that is what the feature pyramid added a year later. Attribute names are torchvision's. Source: Liu, Anguelov,
Erhan, Szegedy, Reed, Fu & Berg 2016, "SSD: Single Shot MultiBox Detector", section 2.

Here the maps are the backbone's own, as it hands them out. The paper resizes every picture to 300 × 300, gives the
first map another scale (L2 normalisation), and zooms in and out of the pictures in training; all three are left out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms

from lib.layers.rcnn_transform import GeneralizedRCNNTransform
from lib.layers.small_backbone import SmallStages
from lib.ops.anchors import rows
from lib.ops.box_coder import BoxCoder
from lib.ops.boxes import box_cxcywh_to_xyxy, box_iou, clip_boxes_to_image
from lib.ops.losses import hard_negatives
from lib.ops.matching import Matcher
from lib.ops.targets import check_labels, check_no_targets, check_targets

Targets = list[dict[str, Tensor]]  # for each picture {"boxes": (n, 4) xyxy pixels, "labels": (n,) int64}


# ------------------------------------------------------------------------------------------------ default boxes


class DefaultBoxGenerator:
    """The default boxes of all maps: anchors whose sizes are shares of the picture, around the middle of each cell.

    A cell of map k has a square of scale s_k, a larger one of √(s_k · s_k+1), and for each ratio a a box of scale s_k
    that is a times as wide as high, and one a times as high as wide. A scale of 1 is the whole picture. Sides are at
    most that. The same boxes in the same order as torchvision's class of the same name, which gives them once for each
    picture of a batch.

    Args:
        aspect_ratios: for each of m maps its ratios besides 1, such as ((2,), (2, 3)).
        min_ratio, max_ratio: s_1 and s_m; those between are evenly spaced (equation 4). After s_m comes 1. With
            one map, they are s_1 and what comes after it.
        scales: all m + 1 scales, instead of these two.

    Raises:
        ValueError: there is no map, a number is not above 0, or there are not m + 1 scales.
    """

    def __init__(
        self,
        aspect_ratios: tuple[tuple[float, ...], ...],
        min_ratio: float = 0.15,
        max_ratio: float = 0.9,
        scales: tuple[float, ...] | None = None,
    ):
        if not aspect_ratios or any(ratio <= 0 for level in aspect_ratios for ratio in level):
            raise ValueError(f"aspect_ratios is {aspect_ratios!r}; expected numbers above 0 for at least one map")
        if scales is None:
            step = (max_ratio - min_ratio) / max(len(aspect_ratios) - 1, 1)
            last = 1.0 if len(aspect_ratios) > 1 else max_ratio
            scales = (*(min_ratio + step * k for k in range(len(aspect_ratios))), last)
        if len(scales) != len(aspect_ratios) + 1 or min(scales) <= 0:
            raise ValueError(f"scales is {scales!r}; expected {len(aspect_ratios) + 1} numbers above 0")
        self.aspect_ratios, self.scales = aspect_ratios, scales
        self.sizes = [default_sizes(*level) for level in zip(scales[:-1], scales[1:], aspect_ratios, strict=True)]

    def num_anchors_per_location(self) -> list[int]:
        """How many default boxes one cell has, for each map."""
        return [len(sizes) for sizes in self.sizes]

    def __call__(self, image_size: tuple[int, int], feature_maps: list[Tensor]) -> Tensor:
        """The default boxes of one picture.

        Args:
            image_size: (H, W) of the pictures as they went into the network, padding included.
            feature_maps: for each map (B, C, h, w); only the sizes count.

        Returns:
            (D, 4) xyxy pixels, map after map, row by row, cell by cell, with the device and dtype of the maps.

        Raises:
            ValueError: another number of maps than `aspect_ratios` is for.
        """
        if len(feature_maps) != len(self.sizes):
            raise ValueError(f"feature_maps has {len(feature_maps)} maps; expected {len(self.sizes)}")
        picture = feature_maps[0].new_tensor([image_size[1], image_size[0]]).repeat(2)  # (4,) W, H, W, H
        maps = zip(feature_maps, self.sizes, strict=True)
        boxes = [grid_of_boxes(sizes.to(one), (one.shape[-2], one.shape[-1])) for one, sizes in maps]
        return torch.cat(boxes) * picture  # (D, 4)


def default_sizes(scale: float, next_scale: float, aspect_ratios: tuple[float, ...]) -> Tensor:
    """Widths and heights of the default boxes of a cell, as shares of the picture's: (2 + 2 · ratios, 2)."""
    sizes = [(scale, scale), ((scale * next_scale) ** 0.5,) * 2]
    for ratio in aspect_ratios:
        longer, shorter = scale * ratio**0.5, scale / ratio**0.5
        sizes += [(longer, shorter), (shorter, longer)]
    return torch.tensor(sizes).clamp(max=1)


def grid_of_boxes(sizes: Tensor, grid: tuple[int, int]) -> Tensor:
    """Boxes of these sizes (A, 2) around the middle of each of h × w cells: (h · w · A, 4) xyxy, shares of the picture.

    The middle of cell (row, column) is ((column + 0.5) / w, (row + 0.5) / h).
    """
    y, x = ((torch.arange(cells, device=sizes.device, dtype=sizes.dtype) + 0.5) / cells for cells in grid)
    middles = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=2).flatten(0, 1)  # (h · w, 2) x, y
    pairs = torch.cat([middles[:, None].expand(-1, len(sizes), -1), sizes.expand(len(middles), -1, -1)], dim=2)
    return box_cxcywh_to_xyxy(pairs.flatten(0, 1))  # (h · w · A, 4)


class SSDMatcher(Matcher):
    """A default box belongs to the truth that it overlaps most, from a threshold on; and each truth has its best one.

    The best default box of a truth is taken whatever its overlap is, if there is any; of two truths with the same best
    box the later one gets it. All others are background (section 2.2, "Matching strategy"). The name is torchvision's.

    Args:
        threshold: IoU from which a default box belongs to a truth.
    """

    def __init__(self, threshold: float):
        super().__init__(threshold, threshold)

    def __call__(self, match_quality_matrix: Tensor) -> Tensor:
        """(truths, D) IoU -> (D,) int64: the number of a truth, or BELOW_LOW_THRESHOLD."""
        matches = super().__call__(match_quality_matrix)  # (D,)
        if len(match_quality_matrix):
            most, best = match_quality_matrix.max(dim=1)  # (truths,) IoU, and of which default box
            touched = torch.where(most > 0)[0]
            matches[best[touched]] = touched
        return matches


# ------------------------------------------------------------------------------------------------ the network


class SSDScoringHead(nn.Module):
    """For each map a 3×3 convolution of its own, which says so many numbers of each of its default boxes."""

    def __init__(self, in_channels: list[int], num_anchors: list[int], numbers: int):
        super().__init__()
        self.numbers = numbers
        self.module_list = nn.ModuleList()
        for channels, anchors in zip(in_channels, num_anchors, strict=True):
            conv = nn.Conv2d(channels, anchors * numbers, 3, padding=1)
            nn.init.xavier_uniform_(conv.weight)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
            self.module_list.append(conv)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (N, C_k, h_k, w_k) -> (N, D, numbers), in the order of `DefaultBoxGenerator`."""
        answers = [conv(one) for conv, one in zip(self.module_list, maps, strict=True)]
        return torch.cat([rows(one, self.numbers) for one in answers], dim=1)


class SSDHead(nn.Module):
    """Both answers: which class, and the four numbers that move a default box."""

    def __init__(self, in_channels: list[int], num_anchors: list[int], num_classes: int):
        super().__init__()
        self.classification_head = SSDScoringHead(in_channels, num_anchors, num_classes)
        self.regression_head = SSDScoringHead(in_channels, num_anchors, 4)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps (N, C_k, h_k, w_k) -> class logits (N, D, K), four numbers (N, D, 4)."""
        return self.classification_head(maps), self.regression_head(maps)


class SSD(nn.Module):
    """The detector. The thresholds are torchvision's.

    Args:
        backbone: pictures (N, 3, H, W) -> maps by name, the largest first.
        in_channels: channels of each of these maps.
        anchor_generator: the default boxes.
        num_classes: K, background included as number 0.
        min_size, max_size, image_mean, image_std: see `GeneralizedRCNNTransform`.
        score_thresh, topk_candidates: of each class at most so many answers above this score are looked at.
        nms_thresh, detections_per_img: boxes that overlap a better one of their class by more, and all but the best so
            many are dropped.
        iou_thresh: see `SSDMatcher`.
        neg_to_pos_ratio: so many backgrounds are learned from for each default box that belongs to a thing.

    Raises:
        ValueError: there is no class besides background, or another number of maps than the default boxes are for.
    """

    def __init__(
        self,
        backbone: nn.Module,
        in_channels: list[int],
        anchor_generator: DefaultBoxGenerator,
        num_classes: int,
        min_size: int | None = None,
        max_size: int = 1333,
        image_mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        image_std: tuple[float, ...] = (0.229, 0.224, 0.225),
        score_thresh: float = 0.01,
        nms_thresh: float = 0.45,
        detections_per_img: int = 200,
        iou_thresh: float = 0.5,
        topk_candidates: int = 400,
        neg_to_pos_ratio: float = 3.0,
    ):
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; expected at least 2: background is one of them")
        num_anchors = anchor_generator.num_anchors_per_location()
        if len(in_channels) != len(num_anchors):
            raise ValueError(f"in_channels has {len(in_channels)} numbers; expected one for {len(num_anchors)} maps")
        self.backbone, self.anchor_generator, self.num_classes = backbone, anchor_generator, num_classes
        self.head = SSDHead(in_channels, num_anchors, num_classes)
        self.transform = GeneralizedRCNNTransform(min_size, max_size, image_mean, image_std)
        self.proposal_matcher = SSDMatcher(iou_thresh)
        self.box_coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
        self.score_thresh, self.topk_candidates = score_thresh, topk_candidates
        self.nms_thresh, self.detections_per_img = nms_thresh, detections_per_img
        self.neg_to_pos_ratio = neg_to_pos_ratio

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
        defaults, cls_logits, bbox_regression = self.predict(batch.tensors)
        answers = zip(cls_logits, bbox_regression, batch.image_sizes, strict=True)
        return self.transform.postprocess([self.select(defaults, *one) for one in answers], batch)

    def predict(self, tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (N, 3, H, W) -> default boxes (D, 4) xyxy, class logits (N, D, K), four numbers (N, D, 4)."""
        maps = list(self.backbone(tensors).values())  # (N, C_k, h_k, w_k) each
        defaults = self.anchor_generator((tensors.shape[2], tensors.shape[3]), maps)  # (D, 4)
        return defaults, *self.head(maps)

    def select(self, defaults: Tensor, logits: Tensor, moves: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        """Of each class the best answers, then NMS: the detections of one picture of `size` (H, W), best first.

        Args:
            defaults: (D, 4) xyxy. logits: (D, K). moves: (D, 4).
        """
        probabilities = logits.softmax(dim=1)[:, 1:]  # (D, K - 1), without background
        scores, places = probabilities.topk(min(self.topk_candidates, len(logits)), dim=0)  # (k, K - 1) each
        sure = torch.where(scores > self.score_thresh)  # ranks, classes: (n,) each
        scores, places, classes = scores[sure], places[sure], sure[1]  # (n,) each
        boxes = clip_boxes_to_image(self.box_coder.decode_single(moves[places], defaults[places]), size)  # (n, 4)
        kept = batched_nms(boxes, scores, classes, self.nms_thresh)[: self.detections_per_img]
        return {"boxes": boxes[kept], "scores": scores[kept], "labels": classes[kept] + 1}

    def loss(self, images: Tensor | list[Tensor], targets: Targets) -> dict[str, Tensor]:
        """Cross-entropy of the classes, and the smooth absolute error of the boxes that belong to a thing (equation 1).

        Of the default boxes that show background, only those with the largest loss count, in each picture three for
        each that belongs to a thing. Both sums are divided by the number of those in the whole batch, or by 1 if there
        is none; then both are 0.

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
        defaults, cls_logits, bbox_regression = self.predict(batch.tensors)
        parts = [
            self._loss_of_picture(defaults, logits, moves, target)
            for logits, moves, target in zip(cls_logits, bbox_regression, targets, strict=True)
        ]
        classification, regression, positives = (torch.stack(several).sum() for several in zip(*parts, strict=True))
        share = positives.clamp(min=1)
        return {"classification": classification / share, "bbox_regression": regression / share}

    def _loss_of_picture(
        self, defaults: Tensor, logits: Tensor, moves: Tensor, target: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The sum of each of the two losses, and how many default boxes belong to a thing."""
        boxes = target["boxes"].to(defaults)  # (n, 4)
        matches = self.proposal_matcher(box_iou(boxes, defaults))  # (D,) place or -1
        positive = matches >= 0  # (D,)
        wanted = torch.zeros_like(matches)  # (D,), 0: background
        wanted[positive] = target["labels"].to(matches)[matches[positive]]
        surprise = F.cross_entropy(logits, wanted, reduction="none")  # (D,)
        counted = hard_negatives(surprise, positive, self.neg_to_pos_ratio)  # (D,)
        true_moves = self.box_coder.encode_single(boxes[matches[positive]], defaults[positive])  # (P, 4)
        regression = F.smooth_l1_loss(moves[positive], true_moves, reduction="sum")
        return surprise[counted].sum(), regression, positive.sum()


def ssd_small(num_classes: int = 6) -> SSD:
    """The one of lesson 11, for toyworld at 96 × 96: no resizing, no normalisation.

    Its default boxes are 8, 16 and 32 pixels large on the maps of stride 4, 8 and 16, those between them 11, 23 and 45;
    in all 3,024. These are about the sizes that the anchors of `retinanet_small_fpn` have.
    """
    stages = SmallStages()
    defaults = DefaultBoxGenerator(((2,),) * 3, scales=(8 / 96, 16 / 96, 32 / 96, 64 / 96))
    return SSD(stages, stages.channels, defaults, num_classes, image_mean=(0.0, 0.0, 0.0), image_std=(1.0, 1.0, 1.0))
