"""A small network that makes a picture four times larger, in two doublings of any kind (lesson 02)."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

Doubling = Callable[[int, int], nn.Module]  # from channels in and out to a layer: (B, in, h, w) -> (B, out, 2h, 2w)


class Upsampler(nn.Module):
    """Makes a picture four times smaller by averaging, and learns to bring it back.

    Args:
        doubling: makes each of the two layers that double height and width. Nothing else differs between two of
            these networks.
    """

    def __init__(self, doubling: Doubling) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),  # (B, 32, h/4, w/4)
            nn.ReLU(),
            doubling(32, 16),  # (B, 16, h/2, w/2)
            nn.ReLU(),
            doubling(16, 3),  # (B, 3, h, w)
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, h, w), h and w multiples of 4, made small and large again: (B, 3, h, w)."""
        return self.layers(F.interpolate(pictures, scale_factor=0.25, mode="area"))


def transposed(kernel: int) -> Doubling:
    """Doubling by a transposed convolution with stride 2. `kernel` is 2 or more; what is too much is cut off."""
    padding = (kernel - 1) // 2
    missing = 2 - kernel + 2 * padding  # 1 pixel for an odd kernel
    return lambda channels, out: nn.ConvTranspose2d(channels, out, kernel, 2, padding, output_padding=missing)


def resized(channels: int, out: int) -> nn.Module:
    """Doubling by copying each cell four times, then a convolution with a kernel of 3."""
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(channels, out, 3, padding=1))
