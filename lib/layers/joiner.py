"""What stands between a backbone and a transformer: one map, its padding, and codes for its places (lesson 14).

Attribute names are those of DETR's code. Source: Carion et al. 2020, "End-to-End Object Detection with Transformers".
"""

import torch.nn.functional as F
from torch import Tensor, nn

from lib.layers.backbone import Backbone
from lib.layers.rcnn_transform import ImageList, padding_mask


class LastStage(Backbone):
    """Of a ResNet's four maps the last one alone.

    Args:
        body: normalised pictures (B, 3, H, W) -> maps by name, "layer4" among them, such as `ResNet`.
        out_channels: of that map.
    """

    def __init__(self, body: nn.Module, out_channels: int = 2048):
        super().__init__()
        self.body, self.out_channels = body, out_channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Normalised pictures (B, 3, H, W) -> {"0": (B, 2048, H/32, W/32)}."""
        return {"0": self.body(x)["layer4"]}


class Joiner(nn.Sequential):
    """A backbone, as number 0, and a code for places, as number 1, such as `PositionEmbeddingSine` (lesson 14).

    Attributes:
        num_channels: channels of the map.
    """

    def __init__(self, backbone: Backbone, position_embedding: nn.Module):
        super().__init__(backbone, position_embedding)
        self.num_channels = backbone.out_channels

    def forward(self, batch: ImageList) -> tuple[Tensor, Tensor, Tensor]:
        """The backbone's last map (B, C, h, w), its padding (B, h, w) bool, the codes of its cells (B, D, h, w)."""
        features = list(self[0](batch.tensors).values())[-1]
        mask = F.interpolate(padding_mask(batch)[None].float(), features.shape[2:])[0].bool()  # the nearest pixel's
        return features, mask, self[1](mask).to(features)
