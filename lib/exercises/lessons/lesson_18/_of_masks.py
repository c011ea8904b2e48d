"""What exercises about masks share: masks drawn with signs, and overlaps that are no IoU."""

from collections.abc import Callable

import torch
from torch import Tensor

Overlap = Callable[[Tensor, Tensor], Tensor]  # masks (M, H, W), (N, H, W) -> (M, N)
Divisor = Callable[[Tensor, Tensor, Tensor], Tensor]  # shared (M, N), pixels of one (M, 1), of the other (1, N)


def drawn(*masks: str) -> Tensor:
    """Masks (M, H, W) bool from "#" and "."; rows with a space between them."""
    return torch.tensor([[[sign == "#" for sign in row] for row in mask.split()] for mask in masks])


def divided(by: Divisor) -> Overlap:
    """Shared pixels of each pair, divided by what is made of them and of both masks' pixels."""

    def overlap(some: Tensor, others: Tensor) -> Tensor:
        one, other = some.flatten(1).float(), others.flatten(1).float()  # (M, H · W), (N, H · W)
        shared = one @ other.T  # (M, N)
        return shared / by(shared, one.sum(1)[:, None], other.sum(1)[None])

    return overlap


dice = divided(lambda shared, one, other: (one + other) / 2)
of_both = divided(lambda shared, one, other: one + other)  # shared pixels counted twice
of_the_first = divided(lambda shared, one, other: one)
of_the_second = divided(lambda shared, one, other: other)
of_the_smaller = divided(lambda shared, one, other: torch.minimum(one, other))
not_divided = divided(lambda shared, one, other: torch.ones(()))


def of_the_picture(some: Tensor, others: Tensor) -> Tensor:
    """Shared pixels, divided by all there are."""
    return (some[:, None] & others).flatten(2).float().mean(2)
