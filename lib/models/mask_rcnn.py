"""Mask R-CNN: Faster R-CNN with a third answer for each region, where in its box the thing lies (lesson 12).

Backbone, proposals, classes and boxes are those of Faster R-CNN (lesson 08), which is handed in whole. What is new: a
branch of convolutions that gives a small mask for each class, and RoIAlign, without which such a mask would sit askew.
Attribute names are torchvision's, except that its `roi_heads.mask_head` is `mask_head` here; its weights load.
Source: He et al. 2017, "Mask R-CNN", section 3 and figure 4; across classes: table 2b.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from lib.layers.fpn import MultiScaleRoIAlign
from lib.models.fast_rcnn import RoIPooling, TrainingSamples
from lib.models.faster_rcnn import FasterRCNN, Targets, faster_rcnn_small, fasterrcnn_resnet50_fpn
from lib.ops.masks import check_masks, paste_masks_in_image, project_masks_on_boxes
from lib.ops.targets import check_labels, check_no_targets, check_targets


class MaskRCNNHeads(nn.Sequential):
    """3×3 convolutions with ReLU, one for each entry of `layers`, which says its channels. Nothing is flattened."""

    def __init__(self, in_channels: int, layers: tuple[int, ...]):
        inputs = (in_channels, *layers)
        convs = [nn.Conv2d(before, after, 3, padding=1) for before, after in zip(inputs[:-1], layers, strict=True)]
        super().__init__(*(nn.Sequential(conv, nn.ReLU(inplace=True)) for conv in convs))
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
        self.register_load_state_dict_pre_hook(_accept_old_names)


class MaskRCNNPredictor(nn.Sequential):
    """A transposed convolution doubles the grid, a 1×1 convolution gives a mask for each class."""

    def __init__(self, in_channels: int, dim_reduced: int, num_classes: int):
        super().__init__()
        self.conv5_mask = nn.ConvTranspose2d(in_channels, dim_reduced, 2, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.mask_fcn_logits = nn.Conv2d(dim_reduced, num_classes, 1)
        for layer in (self.conv5_mask, self.mask_fcn_logits):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


def mask_loss(mask_logits: Tensor, labels: Tensor, mask_targets: Tensor) -> Tensor:
    """Yes or no in each cell, asked of the true class's mask alone: no class competes with another (section 3).

    Args:
        mask_logits: (R, K, M, M). labels: (R,) the true class of each region, 1..K-1.
        mask_targets: (R, M, M) 0..1, see `project_masks_on_boxes`.

    Returns:
        The mean over regions and cells; 0 if there is no region.
    """
    if not len(labels):
        return mask_logits.sum() * 0  # a number that gradients can run through
    of_true_class = mask_logits[torch.arange(len(labels), device=labels.device), labels]  # (R, M, M)
    return F.binary_cross_entropy_with_logits(of_true_class, mask_targets)


def mask_loss_across_classes(mask_logits: Tensor, labels: Tensor, mask_targets: Tensor) -> Tensor:
    """The rival (table 2b): in each cell all classes compete, background, class 0, too. As in semantic segmentation.

    Arguments and result as for `mask_loss`. A cell that the thing fills to 0.3 is 0.3 its class and 0.7 background.
    """
    if not len(labels):
        return mask_logits.sum() * 0
    log_shares = F.log_softmax(mask_logits, dim=1)  # (R, K, M, M)
    of_true_class = log_shares[torch.arange(len(labels), device=labels.device), labels]  # (R, M, M)
    return -(mask_targets * of_true_class + (1 - mask_targets) * log_shares[:, 0]).mean()


class MaskRCNN(nn.Module):
    """The detector, and the branch that draws masks.

    Args:
        detector: a Faster R-CNN; its parts become this one's.
        mask_roi_pool: cuts regions out of maps for the mask branch; called as (features, boxes, image_sizes).
        mask_head: (R, C, m, m) -> (R, D, m, m). mask_predictor: -> logits (R, K, M, M), a mask for each class.
        aligned: whether masks are cut for training and pasted back exactly where they are. False: as torchvision does
            it, half a pixel off, and in boxes of whole pixels, one pixel too large.
        across_classes: whether the classes compete in each cell; see `mask_loss_across_classes`.
    """

    def __init__(
        self,
        detector: FasterRCNN,
        mask_roi_pool: nn.Module,
        mask_head: nn.Module,
        mask_predictor: nn.Module,
        aligned: bool = False,
        across_classes: bool = False,
    ):
        super().__init__()
        self.num_classes = detector.num_classes
        self.transform, self.backbone = detector.transform, detector.backbone
        self.rpn, self.roi_heads = detector.rpn, detector.roi_heads
        self.mask_roi_pool, self.mask_head, self.mask_predictor = mask_roi_pool, mask_head, mask_predictor
        self.aligned, self.across_classes = aligned, across_classes
        self.register_load_state_dict_pre_hook(_accept_torchvisions_names)

    def forward(self, images: Tensor | list[Tensor], targets: None = None) -> list[dict[str, Tensor]]:
        """Detect, then draw: the mask branch looks at the boxes that the detector has settled on.

        Args:
            images: (B, 3, H, W), or a list of (3, H, W) of different sizes, 0..1.
            targets: none; see `loss`.

        Returns:
            For each picture {"boxes": (N, 4) xyxy pixels, "scores": (N,) 0..1, "labels": (N,) 1..K-1, "masks":
            (N, H, W) 0..1}, best first. A pixel is the thing's where its mask is above 0.5.

        Raises:
            ValueError: a picture has the wrong shape, or there are targets.
        """
        check_no_targets(targets)
        batch = self.transform(images)
        features = self.backbone(batch.tensors)  # by name (B, C, h, w)
        proposals = [one["boxes"] for one in self.rpn(batch, features)]  # (P, 4) each
        found = self.roi_heads(features, proposals, batch.image_sizes)
        boxes, labels = [one["boxes"] for one in found], torch.cat([one["labels"] for one in found])
        logits = self.predict_masks(features, boxes, batch.image_sizes)  # (N_1 + ..., K, M, M)
        masks = self.masks_of_labels(logits, labels).split([len(one) for one in boxes])  # (N_i, M, M) each
        found = self.transform.postprocess(found, batch)
        for one, small, size in zip(found, masks, batch.original_sizes, strict=True):
            one["masks"] = paste_masks_in_image(small, one["boxes"], size, aligned=self.aligned)
        return found

    def predict_masks(
        self, features: dict[str, Tensor], boxes: list[Tensor], image_sizes: list[tuple[int, int]]
    ) -> Tensor:
        """Maps by name (B, C, h, w), for each picture boxes (N_i, 4) -> logits of all masks (N_1 + ..., K, M, M)."""
        regions = self.mask_roi_pool(features, boxes, image_sizes)  # (R, C, m, m)
        return self.mask_predictor(self.mask_head(regions))

    def masks_of_labels(self, mask_logits: Tensor, labels: Tensor) -> Tensor:
        """Of each region's masks (R, K, M, M) the one of its class (R,), as shares 0..1: (R, M, M)."""
        shares = mask_logits.softmax(dim=1) if self.across_classes else mask_logits.sigmoid()
        return shares[torch.arange(len(labels), device=labels.device), labels]

    def loss(self, images: Tensor | list[Tensor], targets: Targets) -> dict[str, Tensor]:
        """What is to become small: the four numbers of Faster R-CNN, and "loss_mask".

        Args:
            images: as for `forward`.
            targets: for each picture {"boxes": (N, 4) xyxy pixels, "labels": (N,) int64, 1..K-1, "masks": (N, H, W)};
                N may be 0.

        Raises:
            ValueError: an entry is missing or has the wrong shape, a box is not finite, or a label is out of range.
        """
        check_targets(targets, len(images))
        check_labels(targets, self.num_classes - 1)
        _check_target_masks(images, targets)
        batch = self.transform(images)
        targets = self.transform.resize_targets(targets, batch)
        features = self.backbone(batch.tensors)  # by name (B, C, h, w)
        output = self.rpn.predict(batch, features)
        proposals = [one["boxes"] for one in self.rpn.filter_proposals(output, batch.image_sizes)]
        samples = self.roi_heads.select_training_samples(proposals, targets)
        losses = self.rpn.loss(output, targets)
        losses |= self.roi_heads.loss_of_samples(features, samples, batch.image_sizes)
        return losses | {"loss_mask": self.loss_of_masks(features, samples, batch.image_sizes, targets)}

    def loss_of_masks(
        self,
        features: dict[str, Tensor],
        samples: TrainingSamples,
        image_sizes: list[tuple[int, int]],
        targets: Targets,
    ) -> Tensor:
        """The loss of the mask branch. It learns from the regions that show a thing."""
        boxes, things, labels = regions_of_things(samples)
        logits = self.predict_masks(features, boxes, image_sizes)  # (P, K, M, M)
        wanted = torch.cat(
            [
                project_masks_on_boxes(target["masks"].to(box.device), box, thing, logits.shape[-1], self.aligned)
                for target, box, thing in zip(targets, boxes, things, strict=True)
            ]
        )  # (P, M, M)
        criterion = mask_loss_across_classes if self.across_classes else mask_loss
        return criterion(logits, labels, wanted)


def regions_of_things(samples: TrainingSamples) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Of the drawn regions those that show a thing: boxes (P_i, 4) and things (P_i,) of each picture, classes (P,)."""
    shows = [labels > 0 for labels in samples.labels]  # (R_i,) bool each
    boxes, things, labels = (
        [one[shown] for one, shown in zip(several, shows, strict=True)]
        for several in (samples.proposals, samples.matched_idxs, samples.labels)
    )
    return boxes, things, torch.cat(labels)


def _check_target_masks(images: Tensor | list[Tensor], targets: Targets) -> None:
    for number, (image, target) in enumerate(zip(images, targets, strict=True)):
        if "masks" not in target:
            raise ValueError(f"targets has {', '.join(target)} for picture {number}; expected masks too")
        masks, expected = target["masks"], (len(target["boxes"]), *image.shape[1:])
        check_masks(f"targets[{number}]['masks']", masks)
        if tuple(masks.shape) != expected:
            raise ValueError(f"targets has masks {tuple(masks.shape)} for picture {number}; expected {expected}")


def _accept_torchvisions_names(module: nn.Module, state_dict: dict, prefix: str, *_: object) -> None:
    """There the mask branch is a part of `roi_heads`."""
    theirs = f"{prefix}roi_heads.mask_"
    for name in [name for name in state_dict if name.startswith(theirs)]:
        state_dict[f"{prefix}mask_{name.removeprefix(theirs)}"] = state_dict.pop(name)


def _accept_old_names(module: nn.Module, state_dict: dict, prefix: str, *_: object) -> None:
    """Weights published before torchvision 0.14 say `mask_fcn1.weight` for `0.0.weight`."""
    for number in range(len(list(module.children()))):
        for kind in ("weight", "bias"):
            old = f"{prefix}mask_fcn{number + 1}.{kind}"
            if old in state_dict:
                state_dict[f"{prefix}{number}.0.{kind}"] = state_dict.pop(old)


def maskrcnn_resnet50_fpn(num_classes: int = 91, frozen_norms: bool = True) -> MaskRCNN:
    """torchvision's model of the same name, with random weights; its published ones (COCO) load strictly.

    Args:
        frozen_norms: see `fasterrcnn_resnet50_fpn`.
    """
    return MaskRCNN(
        fasterrcnn_resnet50_fpn(num_classes, frozen_norms),
        MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=14, sampling_ratio=2),
        MaskRCNNHeads(256, (256, 256, 256, 256)),
        MaskRCNNPredictor(256, 256, num_classes),
    )


def align(input: Tensor, boxes: list[Tensor], output_size: tuple[int, int], spatial_scale: float) -> Tensor:
    """RoIAlign as the small models use it: 2 × 2 points a bin, and a cell's value belongs to its middle."""
    return roi_align(input, boxes, output_size, spatial_scale, sampling_ratio=2, aligned=True)


def mask_rcnn_small(
    num_classes: int = 6, pool: Callable[..., Tensor] = align, across_classes: bool = False
) -> MaskRCNN:
    """The one of lesson 12, for toyworld at 96 × 96: the small Faster R-CNN of lesson 08 with a mask branch.

    Masks have 14 × 14 cells, since half of toyworld's things have a side between 15 and 28 pixels.

    Args:
        pool: how both branches cut regions out of the map; `torchvision.ops.roi_pool` shows what rounding costs.
        across_classes: see `MaskRCNN`.
    """
    detector = faster_rcnn_small(num_classes)
    detector.roi_heads.box_roi_pool = RoIPooling(5, pool)
    channels = detector.backbone.out_channels
    return MaskRCNN(
        detector,
        RoIPooling(7, pool),
        MaskRCNNHeads(channels, (48, 48)),
        MaskRCNNPredictor(48, 48, num_classes),
        aligned=True,
        across_classes=across_classes,
    )
