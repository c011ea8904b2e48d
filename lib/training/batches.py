"""Batches of pictures with the truth for every pixel, cut from memory: thousands of cheap steps in a short run."""

from collections.abc import Iterator

import torch
from torch import Tensor

from lib.datasets.toyworld import Toyworld


def toyworld_tensors(world: Toyworld) -> tuple[Tensor, Tensor]:
    """All pictures of a toyworld split, and what is at each of their pixels.

    Returns:
        images (N, 3, H, W) uint8, 0..255, and semantic (N, H, W) uint8, places in SEMANTIC_NAMES. Bytes take a quarter
        of the memory of floats; `RandomBatches` and `OrderedBatches` turn them into 0..1 and int64.
    """
    images = torch.from_numpy(world.arrays["image"].copy())  # (N, 3, H, W)
    semantic = torch.stack([world[index].semantic.to(torch.uint8) for index in range(len(world))])  # (N, H, W)
    return images, semantic


class OrderedBatches:
    """All pictures once, in order: for validation.

    Args:
        images: (N, C, H, W), uint8 0..255 or floats.
        targets: (N, H, W) class numbers of any whole-number type.
        batch_size: the last batch may be smaller.

    Yields:
        (images (B, C, H, W) float, targets (B, H, W) int64).

    Raises:
        ValueError: sizes do not fit together.
    """

    def __init__(self, images: Tensor, targets: Tensor, batch_size: int = 50) -> None:
        _check(images, targets, batch_size)
        self.images, self.targets, self.batch_size = images, targets, batch_size

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self.images), self.batch_size):
            chosen = slice(start, start + self.batch_size)
            yield _floats(self.images[chosen]), self.targets[chosen].long()


class RandomBatches:
    """Batch after batch of pictures drawn at random, without end: for training.

    Every picture comes once before any comes again. Each new loop over the batches starts from the seed, so two models
    trained with the same RandomBatches see the same pictures in the same order.

    Args:
        images: (N, C, H, W), uint8 0..255 or floats.
        targets: (N, H, W) class numbers of any whole-number type.
        batch_size: at most N.
        flip: whether each picture is mirrored left to right half of the time, its truth with it.
        seed: of the order and of the mirroring.

    Yields:
        (images (B, C, H, W) float, targets (B, H, W) int64).

    Raises:
        ValueError: sizes do not fit together.
    """

    def __init__(self, images: Tensor, targets: Tensor, batch_size: int = 8, flip: bool = True, seed: int = 0) -> None:
        _check(images, targets, batch_size)
        if batch_size > len(images):
            raise ValueError(f"batch_size is {batch_size}; expected at most the {len(images)} pictures there are")
        self.images, self.targets, self.batch_size, self.flip, self.seed = images, targets, batch_size, flip, seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed)
        waiting = torch.empty(0, dtype=torch.int64)
        while True:
            if len(waiting) < self.batch_size:
                waiting = torch.cat([waiting, torch.randperm(len(self.images), generator=generator)])
            chosen, waiting = waiting[: self.batch_size], waiting[self.batch_size :]  # (B,)
            images, targets = _floats(self.images[chosen]), self.targets[chosen].long()
            if self.flip:
                mirrored = torch.rand(self.batch_size, generator=generator) < 0.5  # (B,)
                images[mirrored] = images[mirrored].flip(-1)
                targets[mirrored] = targets[mirrored].flip(-1)
            yield images, targets


def _floats(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _check(images: Tensor, targets: Tensor, batch_size: int) -> None:
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images is {tuple(images.shape)}; expected (N, C, H, W) with at least one picture")
    if targets.shape != (len(images), *images.shape[2:]):
        raise ValueError(
            f"targets is {tuple(targets.shape)}; expected {(len(images), *images.shape[2:])}, one class "
            "for each pixel of images"
        )
    if targets.is_floating_point():
        raise ValueError(f"targets is {targets.dtype}; expected whole numbers")
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}; expected a whole number of at least 1")
