"""Inputs that the exercises' cases are made of: the same for everybody, from fixed seeds."""

import torch
from torch import Tensor, nn


def random_values(*shape: int, seed: int = 0) -> Tensor:
    """Numbers from a normal distribution, (*shape) float32."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


def random_uniform(*shape: int, seed: int = 0) -> Tensor:
    """Numbers from 0 to 1, (*shape) float32."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


def random_classes(*shape: int, classes: int, seed: int = 0, ignored: float = 0.0, ignore_index: int = 255) -> Tensor:
    """Class numbers 0..classes-1, (*shape) int64; a share `ignored` of them is `ignore_index`."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(classes, shape, generator=generator)
    return drawn.masked_fill(torch.rand(shape, generator=generator) < ignored, ignore_index)


def random_boxes(count: int, width: float = 96, height: float = 96, seed: int = 0) -> Tensor:
    """Boxes with an area inside a picture, (count, 4) xyxy float32; sides are not whole numbers."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(count, 2, 2, generator=generator).sort(dim=1).values  # (N, corner, xy)
    spread = places * 0.9 + torch.tensor([[0.0], [0.1]])  # no side below a tenth of the picture
    return (spread * torch.tensor([width, height])).reshape(count, 4)


def random_linear(inputs: int, outputs: int, seed: int = 0) -> nn.Linear:
    """A linear layer with weights from a fixed seed."""
    linear = nn.Linear(inputs, outputs)
    linear.weight.data = random_values(outputs, inputs, seed=seed)
    linear.bias.data = random_values(outputs, seed=seed + 1)
    return linear
