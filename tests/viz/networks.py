"""Small models that keep their maps in unusual places, for the tests of the viewers."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SmallNet(nn.Module):
    """Two stages, an activation that works in place, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.body = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))


class Unusual(nn.Module):
    """Maps in a dict and a tuple, one module called twice, maps as (1, H, W, C), and a U-Net's way up."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.both, self.norm = nn.Conv2d(3, 8, 3, 1, 1), Both(), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        skip = self.conv(x)
        deep = self.both(self.both(skip)[1])[1]  # (1, 8, H/4, W/4)
        deep = self.norm(deep.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        up = F.interpolate(deep, scale_factor=4)
        return {"out": torch.cat([up, skip], 1), "scores": up.mean((2, 3))}


class Both(nn.Module):
    """The input's square, and its half-size copy."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * x, F.avg_pool2d(x, 2)
