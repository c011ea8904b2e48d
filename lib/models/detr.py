"""DETR: detection as a set. Queries ask all at once; each answers with a class, or with nothing, and a box (lesson 14).

No anchors, no NMS: in training each true box is given to one query, by the cheapest matching of all, and the others are
to say "nothing". Attribute names are those of the official checkpoints of facebookresearch/detr, which load strictly.
Source: Carion et al. 2020, "End-to-End Object Detection with Transformers", section 3 and appendix A.4.
"""

from functools import partial
from typing import NotRequired, TypedDict

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from lib.layers.backbone import Backbone
from lib.layers.joiner import Joiner, LastStage
from lib.layers.mlp import MLP
from lib.layers.position import PositionEmbeddingSine
from lib.layers.rcnn_transform import GeneralizedRCNNTransform
from lib.layers.resnet import resnet50
from lib.layers.small_backbone import SmallBackbone
from lib.layers.transformer import Transformer, TransformerOutput
from lib.ops.boxes import (
    box_cxcywh_normalized_to_xyxy,
    box_cxcywh_to_xyxy,
    box_xyxy_to_cxcywh_normalized,
    generalized_box_iou,
)
from lib.ops.set_losses import Indices, cheapest_pairs, set_box_losses, set_cross_entropy, weighted_losses
from lib.ops.targets import check_labels, check_targets

Targets = list[dict[str, Tensor]]  # for each picture {"boxes": (n, 4) xyxy pixels, "labels": (n,) int64}
Sizes = list[tuple[int, int]]  # (height, width) of each picture

WEIGHTS = {"loss_ce": 1.0, "loss_bbox": 5.0, "loss_giou": 2.0}  # appendix A.4


class DETROutput(TypedDict):
    """What the Q queries answer to B pictures."""

    pred_logits: Tensor  # (B, Q, K + 1); the last one says "nothing"
    pred_boxes: Tensor  # (B, Q, 4) middle x and y, width, height, as shares of each picture, 0..1, padding left out
    image_sizes: Sizes  # of each picture as it came: what the boxes are shares of
    aux_outputs: NotRequired[list["DETROutput"]]  # the same from each decoder layer but the last


class HungarianMatcher(nn.Module):
    """Which query is to answer for which true box? The pairs that cost least together, each query and box once.

    Args:
        cost_class, cost_bbox, cost_giou: how much the parts weigh. The defaults are those of DETR's training.

    Raises:
        ValueError: nothing costs anything.
    """

    def __init__(self, cost_class: float = 1, cost_bbox: float = 5, cost_giou: float = 2):
        super().__init__()
        if cost_class == cost_bbox == cost_giou == 0:
            raise ValueError("cost_class, cost_bbox and cost_giou are all 0; expected at least one of them above")
        self.cost_class, self.cost_bbox, self.cost_giou = cost_class, cost_bbox, cost_giou

    def cost(self, logits: Tensor, boxes: Tensor, labels: Tensor, true_boxes: Tensor) -> Tensor:
        """What it costs to give a true box to a query, (Q, n), in one picture (section 3.1).

        Args:
            logits, boxes: (Q, K + 1) and (Q, 4), as in `DETROutput`.
            labels, true_boxes: (n,) and (n, 4), in the same form. Their class costs -p, and not -log p as in the loss.
        """
        probability = logits.softmax(dim=-1)[:, labels]  # (Q, n)
        distance = torch.cdist(boxes, true_boxes, p=1)  # (Q, n)
        overlap = generalized_box_iou(box_cxcywh_to_xyxy(boxes), box_cxcywh_to_xyxy(true_boxes))  # (Q, n)
        return self.cost_bbox * distance - self.cost_class * probability - self.cost_giou * overlap

    @torch.no_grad()
    def forward(self, outputs: DETROutput, targets: Targets) -> Indices:
        """Match: for each picture min(Q, n) pairs. With more true boxes than queries, some boxes go without.

        Raises:
            ValueError: shapes do not fit, or a prediction is not a number.
        """
        _check_outputs(outputs)
        check_targets(targets, len(outputs["pred_boxes"]))
        indices, answers = [], zip(outputs["pred_logits"], outputs["pred_boxes"], outputs["image_sizes"], strict=True)
        for (logits, boxes, size), target in zip(answers, targets, strict=True):
            true_boxes = box_xyxy_to_cxcywh_normalized(target["boxes"].to(boxes), size)  # (n, 4)
            cost = self.cost(logits, boxes, target["labels"], true_boxes)  # (Q, n)
            if not cost.isfinite().all():
                raise ValueError("outputs has logits or boxes that are infinite or not a number; expected numbers")
            indices.append(cheapest_pairs(cost))
        return indices


class SetCriterion(nn.Module):
    """The loss of a set: match first, then each query is told what it should have said (equation 2).

    Args:
        num_classes: K. Labels run from 1 to K - 1; number 0 is never said, number K is "nothing".
        matcher: outputs, targets -> pairs; None: `HungarianMatcher()`.
        weight_dict: how much each loss weighs, by name; None: 1, 5 and 2 as in the paper.
        eos_coef: how much a query weighs that is to say "nothing", of which there are many; the others weigh 1.
    """

    def __init__(
        self,
        num_classes: int,
        matcher: nn.Module | None = None,
        weight_dict: dict[str, float] | None = None,
        eos_coef: float = 0.1,
    ):
        super().__init__()
        self.num_classes, self.eos_coef = num_classes, eos_coef
        self.matcher, self.weight_dict = matcher or HungarianMatcher(), weight_dict or WEIGHTS
        self.empty_weight: Tensor
        self.register_buffer("empty_weight", torch.tensor([1.0] * num_classes + [eos_coef]))  # (K + 1,)

    def forward(self, outputs: DETROutput, targets: Targets) -> dict[str, Tensor]:
        """All losses, not weighed yet.

        Args:
            outputs: the model's.
            targets: for each picture {"boxes": (n, 4) xyxy pixels, "labels": (n,) int64, 1..K-1}; n may be 0.

        Returns:
            {"loss_ce", "loss_bbox", "loss_giou", "cardinality_error"}; the last is no loss, but by how many the number
            of things is wrong. For the other decoder layers, which are matched anew, the same with "_0", "_1" ... .

        Raises:
            ValueError: an entry is missing or has the wrong shape, or a label is out of range.
        """
        _check_outputs(outputs, self.num_classes)
        check_targets(targets, len(outputs["pred_boxes"]))
        check_labels(targets, self.num_classes - 1)
        layers = {"": outputs} | {f"_{number}": layer for number, layer in enumerate(outputs.get("aux_outputs", []))}
        losses: dict[str, Tensor] = {}
        for suffix, layer in layers.items():
            indices = self.matcher(layer, targets)
            parts = {"loss_ce": self.loss_labels(layer, targets, indices), **self.loss_boxes(layer, targets, indices)}
            parts["cardinality_error"] = self.loss_cardinality(layer, targets)
            losses |= {name + suffix: loss for name, loss in parts.items()}
        return losses

    def weighted(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is to become small: each loss times its weight. Their sum is the paper's loss."""
        return weighted_losses(losses, self.weight_dict)

    def loss_labels(self, outputs: DETROutput, targets: Targets, indices: Indices) -> Tensor:
        """Cross-entropy of all queries: those with a true box should say its class, the others "nothing"."""
        labels = [target["labels"] for target in targets]
        return set_cross_entropy(outputs["pred_logits"], labels, indices, self.empty_weight)

    def loss_boxes(self, outputs: DETROutput, targets: Targets, indices: Indices) -> dict[str, Tensor]:
        """How far the matched queries' boxes are off, as four distances and as 1 - GIoU, for each true box."""
        boxes = [target["boxes"] for target in targets]
        return set_box_losses(outputs["pred_boxes"], boxes, outputs["image_sizes"], indices)

    @torch.no_grad()
    def loss_cardinality(self, outputs: DETROutput, targets: Targets) -> Tensor:
        """By how many the number of queries that say a class differs from that of things, averaged over pictures."""
        said = (outputs["pred_logits"].argmax(dim=-1) != self.num_classes).sum(dim=1)  # (B,)
        return (said - said.new_tensor([len(target["labels"]) for target in targets])).abs().float().mean()


class PostProcess(nn.Module):
    """Answers -> boxes in pixels, row by row. `nn.Sequential(model, PostProcess())` is a detector as any other."""

    @torch.no_grad()
    def forward(self, outputs: DETROutput, target_sizes: Sizes | None = None) -> list[dict[str, Tensor]]:
        """For each picture {"boxes": (Q, 4) xyxy pixels, "scores": (Q,) 0..1, "labels": (Q,) 0..K-1}.

        The label is the best class other than "nothing", the score its probability. Boxes are in pixels of a picture
        of (height, width) `target_sizes`; None: of the picture as it came.
        """
        _check_outputs(outputs)
        sizes = outputs["image_sizes"] if target_sizes is None else target_sizes
        if len(sizes) != len(outputs["pred_boxes"]):
            raise ValueError(f"target_sizes has {len(sizes)} sizes; expected {len(outputs['pred_boxes'])}")
        scores, labels = outputs["pred_logits"].softmax(dim=-1)[..., :-1].max(dim=-1)  # (B, Q) each
        boxes = [box_cxcywh_normalized_to_xyxy(one, size) for one, size in zip(outputs["pred_boxes"], sizes)]
        return [{"boxes": b, "scores": s, "labels": k} for b, s, k in zip(boxes, scores, labels, strict=True)]


class DETR(nn.Module):
    """The detector.

    Args:
        backbone: a `Joiner`. transformer: a `Transformer`, whose D is the number of its place codes.
        num_classes: K, see `SetCriterion`.
        num_queries: Q, more than a picture has things.
        aux_loss: whether every decoder layer's answers are given, for training.
        transform: what happens to the pictures first; None: as for COCO, ImageNet's mean and 800 pixels, 1333 at most.
    """

    def __init__(
        self,
        backbone: Joiner,
        transformer: Transformer,
        num_classes: int,
        num_queries: int,
        aux_loss: bool = False,
        transform: GeneralizedRCNNTransform | None = None,
    ):
        super().__init__()
        imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        self.transform = transform or GeneralizedRCNNTransform(800, 1333, *imagenet, size_divisible=1)
        self.backbone, self.transformer, self.num_queries, self.aux_loss = backbone, transformer, num_queries, aux_loss
        self.class_embed = nn.Linear(transformer.d_model, num_classes + 1)
        self.bbox_embed = MLP(transformer.d_model, transformer.d_model, 4, 3)
        self.query_embed = nn.Embedding(num_queries, transformer.d_model)
        self.input_proj = nn.Conv2d(backbone.num_channels, transformer.d_model, 1)

    def forward(self, images: Tensor | list[Tensor]) -> DETROutput:
        """Detect. `PostProcess` makes boxes in pixels of the answers.

        Pictures of different sizes are padded. Attention leaves the padding out, but the backbone's convolutions see it
        at the right and the bottom, so a picture's answers are only nearly those that it gets alone.

        Args:
            images: (B, 3, H, W), or a list of (3, H, W) of different sizes, 0..1.

        Raises:
            ValueError: a picture has the wrong shape.
        """
        return self._look(images, need_weights=False)[0]

    def attention(self, images: Tensor | list[Tensor]) -> tuple[DETROutput, TransformerOutput]:
        """The same, and where every layer looked: see `TransformerOutput`."""
        return self._look(images, need_weights=True)

    def _look(self, images: Tensor | list[Tensor], need_weights: bool) -> tuple[DETROutput, TransformerOutput]:
        batch = self.transform(images)
        features, mask, places = self.backbone(batch)  # (B, C, h, w), (B, h, w), (B, D, h, w)
        looked = self.transformer(self.input_proj(features), mask, self.query_embed.weight, places, need_weights)
        logits, boxes = self.class_embed(looked.states), self.bbox_embed(looked.states).sigmoid()  # (layers, B, Q, ...)
        layers: list[DETROutput] = [
            {"pred_logits": one, "pred_boxes": four, "image_sizes": batch.original_sizes}
            for one, four in zip(logits, boxes)
        ]
        outputs = layers.pop()
        if self.aux_loss:
            outputs["aux_outputs"] = layers
        return outputs, looked


def _check_outputs(outputs: DETROutput, num_classes: int | None = None) -> None:
    if not {"pred_logits", "pred_boxes", "image_sizes"} <= outputs.keys():
        raise ValueError(f"outputs has {', '.join(outputs)}; expected pred_logits, pred_boxes and image_sizes")
    logits, boxes, sizes = outputs["pred_logits"], outputs["pred_boxes"], outputs["image_sizes"]
    if logits.ndim != 3 or num_classes not in (None, logits.shape[2] - 1):
        raise ValueError(f"outputs has pred_logits {tuple(logits.shape)}; expected (B, Q, K + 1), K = {num_classes}")
    if boxes.shape != (*logits.shape[:2], 4) or len(sizes) != len(logits):
        came = f"pred_boxes {tuple(boxes.shape)} and {len(sizes)} image_sizes"
        raise ValueError(f"outputs has {came}; expected {(*logits.shape[:2], 4)} and {len(logits)}")


def detr_resnet50(num_classes: int = 91) -> DETR:
    """facebookresearch/detr's model of the same name, with random weights; its published ones (COCO) load strictly.

    As there, the normalisations of the backbone are frozen. There, its first two stages are too; here, all can learn.
    """
    body = resnet50(norm_layer=partial(FrozenBatchNorm2d, eps=1e-5))
    backbone = Joiner(LastStage(body), PositionEmbeddingSine(128, normalize=True))
    return DETR(backbone, Transformer(256), num_classes, num_queries=100)


def detr_small(num_classes: int = 6, num_queries: int = 12, backbone: Backbone | None = None) -> DETR:
    """The one of lesson 14, for toyworld at 96 × 96: 144 cells, 2 encoder and 3 decoder layers, 0.92 M parameters.

    No resizing, no normalisation of pictures, no dropout; every decoder layer's answers are given.

    Args:
        backbone: pictures -> a map of stride 8, say that of a trained detector. None: `SmallBackbone()`.
    """
    return DETR(
        Joiner(backbone or SmallBackbone(), PositionEmbeddingSine(48, normalize=True)),
        Transformer(96, 4, 2, 3, dim_feedforward=256, dropout=0.0),
        num_classes,
        num_queries,
        aux_loss=True,
        transform=GeneralizedRCNNTransform(None, 1333, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), size_divisible=8),
    )
