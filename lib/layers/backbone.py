"""What a detector asks of the network under it."""

from torch import nn


class Backbone(nn.Module):
    """Takes pictures (B, 3, H, W) and gives maps by name (B, out_channels, h, w), the largest first.

    Attributes:
        out_channels: channels of every map.
    """

    out_channels: int
