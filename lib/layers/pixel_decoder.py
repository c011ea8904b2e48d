"""From the maps of a backbone to an embedding of every pixel: the pixel decoder of MaskFormer (lesson 15).

Source: Cheng, Schwing & Kirillov 2021, "Per-Pixel Classification is Not All You Need for Semantic Segmentation",
section 4.1; computed as `BasePixelDecoder` in facebookresearch/MaskFormer.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class PixelDecoder(nn.Module):
    """A feature pyramid (lesson 11) of which only the largest map is used.

    Two things are otherwise: the 3×3 convolution comes before the next enlargement, not beside it, and all convolutions
    but the last are normalised in groups of channels, which needs no large batch.

    Args:
        in_channels: of the backbone's maps, the largest map first; at least one.
        conv_dim: channels on the way.
        mask_dim: C, numbers of an embedding.
        groups: into which the channels on the way are cut.

    Raises:
        ValueError: there is no map, or the channels cannot be cut into so many groups.
    """

    def __init__(self, in_channels: list[int], conv_dim: int = 256, mask_dim: int = 256, groups: int = 32):
        super().__init__()
        if not in_channels:
            raise ValueError("in_channels is empty; expected the channels of at least one map")
        if groups < 1 or conv_dim % groups:
            raise ValueError(f"groups is {groups}; expected a divisor of conv_dim, which is {conv_dim}")
        self.in_channels, self.mask_dim = in_channels, mask_dim
        merged = [*[conv_dim] * (len(in_channels) - 1), in_channels[-1]]  # the smallest map comes as it is
        self.adapters = nn.ModuleList(_conv_norm(channels, conv_dim, 1, groups) for channels in in_channels[:-1])
        self.layers = nn.ModuleList(_conv_norm(channels, conv_dim, 3, groups) for channels in merged)
        self.mask_features = nn.Conv2d(conv_dim, mask_dim, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
        if self.mask_features.bias is not None:
            nn.init.zeros_(self.mask_features.bias)

    def forward(self, maps: dict[str, Tensor]) -> Tensor:
        """Maps (B, C_i, h_i, w_i), the largest first -> (B, C, h_0, w_0).

        Raises:
            ValueError: there are more or fewer maps than the decoder was made for.
        """
        sources = list(maps.values())
        if len(sources) != len(self.in_channels):
            raise ValueError(f"maps has {len(sources)} maps; expected {len(self.in_channels)}")
        merged = self.layers[-1](sources[-1]).relu()  # (B, conv_dim, h_last, w_last)
        for source, adapter, layer in list(zip(sources[:-1], self.adapters, self.layers[:-1]))[::-1]:
            enlarged = F.interpolate(merged, size=source.shape[2:], mode="nearest")  # (B, conv_dim, h_i, w_i)
            merged = layer(adapter(source) + enlarged).relu()
        return self.mask_features(merged)


def _conv_norm(inputs: int, outputs: int, kernel: int, groups: int) -> nn.Sequential:
    """A convolution that keeps the size, and its normalisation."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.GroupNorm(groups, outputs))
