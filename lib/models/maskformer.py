"""MaskFormer: segmentation as a set. Each query says a class and draws a mask; no pixel says a class (lesson 15).

One model and one loss for things (a mask for each) and for stuff (one mask for all sky). A mask is an inner product: a
query's mask embedding with every pixel's embedding. Queries and matching are DETR's (lesson 14), attribute names mostly
those of facebookresearch/MaskFormer. Source: Cheng, Schwing & Kirillov 2021, "Per-Pixel Classification is Not All You
Need for Semantic Segmentation", sections 3 and 4.1.
"""

from functools import partial
from typing import NotRequired, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from lib.layers.mlp import MLP
from lib.layers.pixel_decoder import PixelDecoder
from lib.layers.position import PositionEmbeddingSine
from lib.layers.rcnn_transform import GeneralizedRCNNTransform, ImageList, resize_masks
from lib.layers.resnet import resnet50
from lib.layers.small_backbone import SmallTwoMaps
from lib.layers.transformer import Transformer, TransformerOutput
from lib.ops.mask_losses import dice_loss, focal_loss, pairwise_dice_loss, pairwise_focal_loss
from lib.ops.mask_targets import check_mask_targets
from lib.ops.set_losses import Indices, cheapest_pairs, set_cross_entropy, weighted_losses

Targets = list[dict[str, Tensor]]  # for each picture {"masks": (n, H, W) bool, "labels": (n,) int64, 0..K-1}
WEIGHTS = {"loss_ce": 1.0, "loss_mask": 20.0, "loss_dice": 1.0}  # focal loss 20 times; section 4.1


class MaskFormerOutput(TypedDict):
    """What the Q queries answer to B pictures. `picture_masks` brings the masks to the size of the pictures."""

    pred_logits: Tensor  # (B, Q, K + 1); the last one says "nothing"
    pred_masks: Tensor  # (B, Q, h, w) logits, stretched over the batch with its padding; masks may overlap
    images: ImageList  # the batch, and the sizes of the pictures
    aux_outputs: NotRequired[list["MaskFormerOutput"]]  # the same from each decoder layer but the last


class MaskFormerMatcher(nn.Module):
    """Which query is to answer for which true mask? As DETR's `HungarianMatcher`, with masks in place of boxes.

    Args:
        cost_class, cost_mask, cost_dice: how much the parts weigh. The defaults are those of the paper's training.
        enlarge: whether masks are compared at the size of the true ones, as in the loss. The paper's code shrinks the
            true masks to h × w instead: a cell takes its first pixel, so that all lie a little to the lower right of
            where they should. That is cheaper, and matters where things are small (lesson 15).

    Raises:
        ValueError: nothing costs anything.
    """

    def __init__(self, cost_class: float = 1, cost_mask: float = 20, cost_dice: float = 1, enlarge: bool = False):
        super().__init__()
        if cost_class == cost_mask == cost_dice == 0:
            raise ValueError("cost_class, cost_mask and cost_dice are all 0; expected at least one of them above")
        self.cost_class, self.cost_mask, self.cost_dice, self.enlarge = cost_class, cost_mask, cost_dice, enlarge

    def cost(self, logits: Tensor, masks: Tensor, labels: Tensor, true_masks: Tensor) -> Tensor:
        """What it costs to give a true mask to a query, (Q, n), in one picture (section 3.2).

        Args:
            logits, masks: (Q, K + 1) and (Q, h, w), as in `MaskFormerOutput`.
            labels, true_masks: (n,) and (n, h, w) floats 0 or 1. The class costs -p, as in DETR.
        """
        probability = logits.softmax(dim=-1)[:, labels]  # (Q, n)
        focal, dice = pairwise_focal_loss(masks, true_masks), pairwise_dice_loss(masks, true_masks)  # (Q, n) each
        return self.cost_mask * focal + self.cost_dice * dice - self.cost_class * probability

    @torch.no_grad()
    def forward(self, outputs: MaskFormerOutput, targets: Targets) -> Indices:
        """Match: for each picture min(Q, n) pairs.

        Raises:
            ValueError: shapes do not fit, or a prediction is not a number.
        """
        _check(outputs, targets)
        drawn, indices = outputs["pred_masks"], []  # (B, Q, h, w)
        true_masks = on_batch([target["masks"] for target in targets], outputs["images"])  # (n, H, W) each
        if self.enlarge:
            size = outputs["images"].tensors.shape[2:]
            drawn = F.interpolate(drawn, size, mode="bilinear", align_corners=False)  # (B, Q, H, W)
        for logits, masks, target, true in zip(outputs["pred_logits"], drawn, targets, true_masks):
            same = resize_masks(true, (masks.shape[1], masks.shape[2])).to(masks)  # (n, h, w)
            cost = self.cost(logits, masks, target["labels"].to(masks.device), same)  # (Q, n)
            if not cost.isfinite().all():
                raise ValueError("outputs has logits or masks that are infinite or not a number; expected numbers")
            indices.append(cheapest_pairs(cost))
        return indices


class MaskFormerCriterion(nn.Module):
    """The loss of a set of masks: match first, then each query is told what it should have said (equation 1).

    Args:
        num_classes: K. Labels run from 0 to K - 1; number K is "nothing".
        matcher, weight_dict, eos_coef: see DETR's `SetCriterion`. None: `MaskFormerMatcher()`, and `WEIGHTS`.
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
        self.matcher, self.weight_dict = matcher or MaskFormerMatcher(), weight_dict or WEIGHTS
        self.empty_weight: Tensor
        self.register_buffer("empty_weight", torch.tensor([1.0] * num_classes + [eos_coef]))  # (K + 1,)

    def forward(self, outputs: MaskFormerOutput, targets: Targets) -> dict[str, Tensor]:
        """All losses, not weighed yet.

        Args:
            outputs: the model's.
            targets: for each picture {"masks": (n, H, W) bool, as large as the picture as it came, "labels": (n,)
                int64, 0..K-1}; n may be 0, and a mask may be empty.

        Returns:
            {"loss_ce", "loss_mask", "loss_dice"}, and for each other decoder layer, matched anew, the same with "_0",
            "_1" ... . (transformers leaves out the norm there, and asks what goes into the first layer too, all zeros.)

        Raises:
            ValueError: an entry is missing or has the wrong shape, or a label is out of range.
        """
        _check(outputs, targets, self.num_classes)
        layers = {"": outputs} | {f"_{number}": layer for number, layer in enumerate(outputs.get("aux_outputs", []))}
        losses: dict[str, Tensor] = {}
        for suffix, layer in layers.items():
            indices = self.matcher(layer, targets)
            parts = self.losses_of_layer(layer, targets, indices)
            losses |= {name + suffix: loss for name, loss in parts.items()}
        return losses

    def weighted(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is to become small: each loss times its weight. Their sum is the paper's loss."""
        return weighted_losses(losses, self.weight_dict)

    def losses_of_layer(self, outputs: MaskFormerOutput, targets: Targets, indices: Indices) -> dict[str, Tensor]:
        """The losses of one decoder layer, by name."""
        return {"loss_ce": self.loss_labels(outputs, targets, indices), **self.loss_masks(outputs, targets, indices)}

    def loss_labels(self, outputs: MaskFormerOutput, targets: Targets, indices: Indices) -> Tensor:
        """Cross-entropy of all queries, as DETR's: those with a true mask should say its class, others "nothing"."""
        labels = [target["labels"] for target in targets]
        return set_cross_entropy(outputs["pred_logits"], labels, indices, self.empty_weight)

    def loss_masks(self, outputs: MaskFormerOutput, targets: Targets, indices: Indices) -> dict[str, Tensor]:
        """Focal and dice loss of the matched queries' masks, for each true mask, in all pixels of the batch.

        Here the logits are enlarged, bilinearly, to the true masks' size. In padding, nothing is wanted.
        """
        said = torch.cat([masks[queries] for masks, (queries, _) in zip(outputs["pred_masks"], indices)])  # (M, h, w)
        true_masks = on_batch([target["masks"] for target in targets], outputs["images"])
        true = torch.cat([masks[truths] for masks, (_, truths) in zip(true_masks, indices)]).to(said)  # (M, H, W)
        said = F.interpolate(said[:, None], true.shape[1:], mode="bilinear", align_corners=False)  # (M, 1, H, W)
        num_masks = max(sum(len(target["labels"]) for target in targets), 1)
        focal, dice = focal_loss(said[:, 0], true, reduction="sum"), dice_loss(said[:, 0], true, reduction="sum")
        return {"loss_mask": focal / num_masks, "loss_dice": dice / num_masks}


class MaskFormer(nn.Module):
    """The model.

    Args:
        backbone: normalised pictures (B, 3, H, W) -> maps by name, the largest first, such as `ResNet`.
        pixel_decoder: these maps -> an embedding of every pixel of the largest.
        transformer: its queries look at the last map. The paper's has no encoder.
        num_classes: K, see `MaskFormerCriterion`.
        num_queries: Q, more than a picture has masks.
        aux_loss: whether every decoder layer's answers are given, for training.
        transform: what happens to the pictures first; None: as for ADE20K, ImageNet's mean, 512 pixels, at most 2048.
    """

    def __init__(
        self,
        backbone: nn.Module,
        pixel_decoder: PixelDecoder,
        transformer: Transformer,
        num_classes: int,
        num_queries: int,
        aux_loss: bool = True,
        transform: GeneralizedRCNNTransform | None = None,
    ):
        super().__init__()
        imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        self.transform = transform or GeneralizedRCNNTransform(512, 2048, *imagenet, size_divisible=32)
        self.backbone, self.pixel_decoder, self.transformer = backbone, pixel_decoder, transformer
        dim, self.num_queries, self.aux_loss = transformer.d_model, num_queries, aux_loss
        self.pe_layer = PositionEmbeddingSine(dim // 2, normalize=True)
        self.input_proj = nn.Conv2d(pixel_decoder.in_channels[-1], dim, 1)
        self.query_embed = nn.Embedding(num_queries, dim)
        self.class_embed = nn.Linear(dim, num_classes + 1)
        self.mask_embed = MLP(dim, dim, pixel_decoder.mask_dim, 3)

    def forward(self, images: Tensor | list[Tensor]) -> MaskFormerOutput:
        """Segment pictures (B, 3, H, W), or a list of (3, H, W) of different sizes, 0..1.

        Pictures of different sizes are padded. In the paper's code, in transformers' and here, queries look at padding
        as at any place, so a picture's answers are not those that it gets alone.

        Raises:
            ValueError: a picture has the wrong shape.
        """
        return self.attention(images, need_weights=False)[0]

    def attention(
        self, images: Tensor | list[Tensor], need_weights: bool = True
    ) -> tuple[MaskFormerOutput, TransformerOutput]:
        """The same, and what the transformer says: where every layer looked, see `TransformerOutput`."""
        batch, pixels, looked = self.features(images, need_weights)
        states = looked.states if self.aux_loss else looked.states[-1:]  # (layers, B, Q, D)
        layers: list[MaskFormerOutput] = [
            {"pred_logits": logits, "pred_masks": masks, "images": batch}
            for logits, masks in zip(*self.heads(states, pixels))
        ]
        outputs = layers.pop()
        if self.aux_loss:
            outputs["aux_outputs"] = layers
        return outputs, looked

    def features(
        self, images: Tensor | list[Tensor], need_weights: bool = False
    ) -> tuple[ImageList, Tensor, TransformerOutput]:
        """What the heads answer from: the batch, an embedding of every pixel (B, C, h, w), the transformer's output."""
        batch = self.transform(images)
        maps = self.backbone(batch.tensors)
        cells = self.input_proj(list(maps.values())[-1])  # (B, D, ...)
        padding = torch.zeros_like(cells[:, 0], dtype=torch.bool)  # nowhere
        places = self.pe_layer(padding).to(cells)
        looked = self.transformer(cells, padding, self.query_embed.weight, places, need_weights)
        return batch, self.pixel_decoder(maps), looked

    def heads(self, states: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """States (layers, B, Q, D), pixels (B, C, h, w) -> logits (layers, B, Q, K + 1), masks (layers, B, Q, h, w)."""
        return self.class_embed(states), torch.einsum("lbqc,bchw->lbqhw", self.mask_embed(states), pixels)


def picture_masks(pred_masks: Tensor, images: ImageList) -> list[Tensor]:
    """Logits (B, Q, h, w) of a batch -> for each picture (Q, H, W), at the size at which it came, without padding."""
    masks = F.interpolate(pred_masks, images.tensors.shape[2:], mode="bilinear", align_corners=False)
    cut = [one[None, :, :h, :w] for one, (h, w) in zip(masks, images.image_sizes, strict=True)]  # (1, Q, h', w') each
    pairs = zip(cut, images.original_sizes, strict=True)
    return [F.interpolate(one, size, mode="bilinear", align_corners=False)[0] for one, size in pairs]


class PerPixelBaseline(nn.Module):
    """The paper's rival (section 4): each pixel says its class. All but the last layer is taken from a new `model`."""

    def __init__(self, model: MaskFormer, num_classes: int):
        super().__init__()
        self.transform, self.backbone, self.pixel_decoder = model.transform, model.backbone, model.pixel_decoder
        self.predictor = nn.Conv2d(model.pixel_decoder.mask_dim, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), 0..1 -> class scores of every pixel (B, K, H, W), no softmax."""
        batch = self.transform(images)
        scores = self.predictor(self.pixel_decoder(self.backbone(batch.tensors)))  # (B, K, h, w)
        return torch.stack(picture_masks(scores, batch))


def maskformer_resnet50(num_classes: int = 150) -> MaskFormer:
    """facebookresearch/MaskFormer's R50 model for ADE20K, random weights; the backbone's normalisations are frozen."""
    backbone = resnet50(norm_layer=partial(FrozenBatchNorm2d, eps=1e-5))
    parts = backbone, PixelDecoder([256, 512, 1024, 2048]), Transformer(256, num_encoder_layers=0)
    return MaskFormer(*parts, num_classes, num_queries=100)


def maskformer_small(num_classes: int, num_queries: int = 16, backbone: SmallTwoMaps | None = None) -> MaskFormer:
    """The one of lesson 15, for toyworld at 96 × 96: masks at stride 4; queries look at 144 cells.

    The transformer is that of lesson 14's `detr_small`, encoder and all, as the paper's is DETR's where it learns
    panoptic segmentation. No resizing, no normalisation of pictures, no dropout; 1.06 M parameters with
    `SmallTwoMaps()`, which None stands for.
    """
    backbone = backbone or SmallTwoMaps()
    parts = backbone, PixelDecoder(backbone.channels, 64, 64, groups=8), Transformer(96, 4, 2, 3, 256, dropout=0.0)
    transform = GeneralizedRCNNTransform(None, 1333, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), size_divisible=8)
    return MaskFormer(*parts, num_classes, num_queries, transform=transform)


def on_batch(maps: list[Tensor], images: ImageList) -> list[Tensor]:
    """Maps (n, H, W) of each picture as it came -> as they lie in the batch, with its padding, where they are 0."""
    height, width = images.tensors.shape[2:]
    given = zip(maps, images.image_sizes, strict=True)
    resized = [resize_masks(one.to(images.tensors.device), size) for one, size in given]
    return [F.pad(one, (0, width - one.shape[2], 0, height - one.shape[1])) for one in resized]


def _check(outputs: MaskFormerOutput, targets: Targets, num_classes: int | None = None) -> None:
    if not {"pred_logits", "pred_masks", "images"} <= outputs.keys():
        raise ValueError(f"outputs has {', '.join(outputs)}; expected pred_logits, pred_masks and images")
    logits, masks, sizes = outputs["pred_logits"], outputs["pred_masks"], outputs["images"].original_sizes
    alike = masks.ndim == 4 and masks.shape[:2] == logits.shape[:2] and len(logits) == len(sizes)
    if logits.ndim != 3 or not alike or num_classes not in (None, logits.shape[2] - 1):
        came = f"pred_logits {tuple(logits.shape)}, pred_masks {tuple(masks.shape)}, {len(sizes)} images"
        raise ValueError(f"outputs has {came}; expected (B, Q, K + 1), (B, Q, h, w) and B images, K = {num_classes}")
    check_mask_targets(targets, sizes, logits.shape[2] - 1)
