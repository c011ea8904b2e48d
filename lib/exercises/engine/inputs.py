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


def boxes_of(*rows: tuple[float, float, float, float]) -> Tensor:
    """Boxes by hand, (N, 4) float32."""
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def crowded_boxes(count: int, seed: int) -> Tensor:
    """Boxes in a picture of 60 × 60, many of which overlap, (count, 4) xyxy float32."""
    generator = torch.Generator().manual_seed(seed)
    corners, sides = torch.rand(2, count, 2, generator=generator, dtype=torch.float32)
    return torch.cat([corners * 40, corners * 40 + 5 + sides * 20], dim=1)


def different_scores(count: int, seed: int) -> Tensor:
    """Scores between 0 and 1, no two of them equal, (count,) float32."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return (order + 1).to(torch.float32) / (count + 1)
