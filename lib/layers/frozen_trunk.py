"""A trained detector as the trunk of a new head: it gives maps and learns nothing any more (lesson 13)."""

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from lib.layers.backbone import Backbone
from lib.layers.fpn import infer_scale
from lib.layers.rcnn_transform import GeneralizedRCNNTransform, ImageList
from lib.ops.targets import check_sets


class FrozenTrunk(nn.Module):
    """What a detector does before its heads: prepare the pictures, run the backbone.

    Three things could change a trunk while a head on top of it learns: gradients, the optimiser's weight decay, and
    the running statistics of BatchNorm, which move in training mode without any gradient. So its parameters ask for no
    gradients, and it stays in eval mode whatever mode the model is put into. It belongs to the detector it was taken
    from: both are frozen, and both still are the same weights.

    Args:
        transform, backbone: those of a detector, such as `FasterRCNN`.

    Attributes:
        out_channels: channels of every map.
    """

    def __init__(self, transform: GeneralizedRCNNTransform, backbone: Backbone):
        super().__init__()
        self.transform, self.backbone = transform, backbone
        self.out_channels = backbone.out_channels
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "FrozenTrunk":
        """Stay in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor | list[Tensor]) -> tuple[ImageList, dict[str, Tensor]]:
        """Pictures (B, 3, H, W), or a list of (3, H, W), 0..1 -> the batch, and maps by name (B, C, h, w)."""
        batch = self.transform(images)
        return batch, self.backbone(batch.tensors)

    def regions(self, images: Tensor | list[Tensor], boxes: list[Tensor], *output_sizes: int) -> list[Tensor]:
        """What the maps say in boxes. It never changes: whoever trains a head may cut once and keep the regions.

        Args:
            images: as for `forward`.
            boxes: for each picture (K_i, 4) xyxy pixels; K_i may be 0.
            output_sizes: S, one or several.

        Returns:
            For each S (ΣK, C, S, S), see `cut_regions`.

        Raises:
            ValueError: pictures and sets of boxes do not fit together.
        """
        check_sets("boxes", boxes, len(images))
        batch, features = self(images)
        moved = self.transform.resize_targets([{"boxes": one} for one in boxes], batch)
        places = [one["boxes"] for one in moved]
        return [cut_regions(features, places, batch.image_sizes, size) for size in output_sizes]


def cut_regions(
    features: dict[str, Tensor], boxes: list[Tensor], image_sizes: list[tuple[int, int]], output_size: int
) -> Tensor:
    """RoIAlign from the largest map, with cells where they are: for heads that say *where* something is in a box.

    Args:
        features: maps by name, the largest first, (B, C, h, w) each.
        boxes: for each of B pictures (K_i, 4) xyxy pixels of what the backbone was given.
        image_sizes: (height, width) of each picture.
        output_size: S.

    Returns:
        (ΣK, C, S, S).

    `aligned=True`: without it, regions are taken half a cell too far right and down (lesson 12). That matters little to
    the question what is in a box, and a lot to the question where: half a cell of stride 8 is 4 pixels.
    """
    largest = next(iter(features.values()))
    scale = infer_scale(largest, image_sizes)
    return roi_align(largest, boxes, output_size, scale, sampling_ratio=2, aligned=True)
