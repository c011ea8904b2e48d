"""Batches of pictures with boxes, cut from memory: thousands of cheap steps in a short run (lesson 05 on)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from lib.datasets.toyworld import Toyworld

Target = dict[str, Tensor]  # {"boxes": (N, 4) xyxy pixels, "labels": (N,) int64}, and if need be "proposals" (P, 4)


def toyworld_detection(world: Toyworld) -> tuple[Tensor, list[Target]]:
    """All pictures of a toyworld split, and which things are in them.

    Returns:
        images (N, 3, H, W) uint8, 0..255, and for each {"boxes": (n, 4) float, "labels": (n,) int64, 1..5}. Bytes take
        a quarter of the memory of floats; the batches below turn them into 0..1.
    """
    images = torch.from_numpy(world.arrays["image"].copy())  # (N, 3, H, W)
    samples = (world[index] for index in range(len(world)))
    return images, [{"boxes": sample.boxes, "labels": sample.labels} for sample in samples]


class OrderedDetectionBatches:
    """All pictures once, in order: for validation.

    Args:
        images: (N, 3, H, W), uint8 0..255 or floats.
        targets: for each picture {"boxes": (n, 4) xyxy, "labels": (n,)}, and if need be "proposals" (P, 4).
        batch_size: the last batch may be smaller.

    Yields:
        (images (B, 3, H, W) float, list of B targets).

    Raises:
        ValueError: sizes do not fit together.
    """

    def __init__(self, images: Tensor, targets: list[Target], batch_size: int = 50) -> None:
        _check(images, targets, batch_size)
        self.images, self.targets, self.batch_size = images, targets, batch_size

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, list[Target]]]:
        for start in range(0, len(self.images), self.batch_size):
            chosen = slice(start, start + self.batch_size)
            yield _floats(self.images[chosen]), [dict(target) for target in self.targets[chosen]]


class RandomDetectionBatches:
    """Batch after batch of pictures drawn at random, without end: for training.

    Every picture comes once before any comes again. Each new loop over the batches starts from the seed, so two models
    trained with the same batches see the same pictures in the same order.

    Args:
        images: (N, 3, H, W), uint8 0..255 or floats.
        targets: for each picture {"boxes": (n, 4) xyxy, "labels": (n,)}, and if need be "proposals" (P, 4).
        batch_size: at most N.
        flip: whether each picture is mirrored left to right half of the time, its boxes and proposals with it.
        seed: of the order and of the mirroring.

    Yields:
        (images (B, 3, H, W) float, list of B targets).

    Raises:
        ValueError: sizes do not fit together.
    """

    def __init__(
        self, images: Tensor, targets: list[Target], batch_size: int = 8, flip: bool = True, seed: int = 0
    ) -> None:
        _check(images, targets, batch_size)
        if batch_size > len(images):
            raise ValueError(f"batch_size is {batch_size}; expected at most the {len(images)} pictures there are")
        self.images, self.targets, self.batch_size, self.flip, self.seed = images, targets, batch_size, flip, seed

    def __iter__(self) -> Iterator[tuple[Tensor, list[Target]]]:
        generator = torch.Generator().manual_seed(self.seed)
        waiting = torch.empty(0, dtype=torch.int64)
        while True:
            if len(waiting) < self.batch_size:
                waiting = torch.cat([waiting, torch.randperm(len(self.images), generator=generator)])
            chosen, waiting = waiting[: self.batch_size], waiting[self.batch_size :]  # (B,)
            images, targets = _floats(self.images[chosen]), [dict(self.targets[index]) for index in chosen.tolist()]
            if self.flip:
                mirrored = torch.rand(self.batch_size, generator=generator) < 0.5  # (B,)
                images[mirrored] = images[mirrored].flip(-1)
                targets = [
                    mirror(target, images.shape[-1]) if turn else target
                    for target, turn in zip(targets, mirrored.tolist(), strict=True)
                ]
            yield images, targets


def mirror(target: Target, width: int) -> Target:
    """The truth of a picture that was mirrored left to right: what was a box's right side is its left one now."""
    turned = dict(target)
    for name in ("boxes", "proposals"):
        if name in target:
            left, top, right, bottom = target[name].unbind(-1)
            turned[name] = torch.stack([width - right, top, width - left, bottom], dim=-1)  # (n, 4)
    return turned


def _floats(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _check(images: Tensor, targets: list[Target], batch_size: int) -> None:
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images is {tuple(images.shape)}; expected (N, C, H, W) with at least one picture")
    if len(targets) != len(images):
        raise ValueError(f"targets has {len(targets)} entries; expected one for each of {len(images)} pictures")
    for number, target in enumerate(targets):
        for name in ("boxes", "proposals"):
            if name in target and (target[name].ndim != 2 or target[name].shape[1] != 4):
                raise ValueError(
                    f"targets has {name} {tuple(target[name].shape)} for picture {number}; expected (n, 4)"
                )
        if "boxes" not in target or len(target["boxes"]) != len(target.get("labels", ())):
            raise ValueError(
                f"targets has {', '.join(target) or 'nothing'} for picture {number}; expected boxes, and as many labels"
            )
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}; expected a whole number of at least 1")
