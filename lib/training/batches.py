"""Batches of pictures with their truth, cut from memory: thousands of cheap steps in a short run."""

from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from lib.datasets.toyworld import CLASSES, PANOPTIC_DIVISOR, SEMANTIC_NAMES, Clip, Sample, Toyworld
from lib.ops.checks import check_tensor, check_whole

Target = dict[str, Tensor]  # the truth of one picture by name; `mirror` says which names there are
Targets = TypeVar("Targets", Tensor, list[Target])

BOXES = ("boxes", "proposals")  # (n, 4) xyxy pixels
MAPS = ("masks", "amodal_masks", "semantic", "instance", "panoptic", "depth")  # (H, W), or (n, H, W)
POINTS = ("points",)  # (n, 2) x, y pixels
PLACELESS = ("labels", "track_ids", "area", "iscrowd", "image_id")  # (n,), or one number; a mirror changes none


def toyworld_tensors(world: Toyworld) -> tuple[Tensor, Tensor]:
    """All pictures of a toyworld split, and what is at each of their pixels.

    Returns:
        images (N, 3, H, W) uint8, 0..255, and semantic (N, H, W) uint8, places in SEMANTIC_NAMES. Bytes take a quarter
        of the memory of floats; `Batches` turns them into 0..1 and int64.
    """
    images = torch.from_numpy(world.arrays["image"].copy())  # (N, 3, H, W)
    semantic = torch.stack([world[index].semantic.to(torch.uint8) for index in range(len(world))])  # (N, H, W)
    return images, semantic


def toyworld_detection(world: Toyworld, masks: bool = False) -> tuple[Tensor, list[Target]]:
    """All pictures of a toyworld split, and which things are in them.

    Args:
        masks: whether the truth holds the visible part of each thing too.

    Returns:
        images (N, 3, H, W) uint8, 0..255, and for each {"boxes": (n, 4) float, "labels": (n,) int64, 1..5}, and with
        `masks` "masks" (n, H, W) bool. Bytes take a quarter of the memory of floats; `Batches` turns them into 0..1.
    """
    images = torch.from_numpy(world.arrays["image"].copy())  # (N, 3, H, W)
    names = ("boxes", "labels", "masks") if masks else ("boxes", "labels")
    samples = (world[index] for index in range(len(world)))
    return images, [{name: getattr(sample, name) for name in names} for sample in samples]


def toyworld_segments(world: Toyworld) -> tuple[Tensor, list[Target]]:
    """All pictures of a toyworld split, and what they are made of: sky, ground and each thing have a mask each.

    Returns:
        images (N, 3, H, W) uint8, 0..255, and for each {"masks": (n, H, W) bool, "labels": (n,) int64, places in
        SEMANTIC_NAMES}. Each pixel is in one mask. `Batches` turns the bytes into 0..1.
    """
    images = torch.from_numpy(world.arrays["image"].copy())  # (N, 3, H, W)
    return images, [_segments(world[index]) for index in range(len(world))]


def clip_segments(clip: Clip, places: Sequence[int] | None = None) -> tuple[Tensor, list[Target]]:
    """Frames of a clip as `toyworld_segments` gives pictures, with their depth, and who is who.

    Args:
        places: of the frames that are wanted; None: all.

    Returns:
        images (T, 3, H, W) uint8, and for each {"masks", "labels"}, "depth" (H, W) metres, infinite in the sky, and
        "track_ids" (n,) int64: the same number for the same thing all along, from 1; 0 for sky and ground.
    """
    images, targets = [], []
    for place in range(len(clip.frames)) if places is None else places:
        sample = clip.frames[place]
        images.append((255 * sample.image).round().to(torch.uint8))
        target = _segments(sample)
        things = target["labels"] >= SEMANTIC_NAMES.index(CLASSES[0])  # (n,)
        numbers = torch.zeros_like(target["labels"])  # (n,)
        numbers[things] = clip.track_ids[place][sample.panoptic.unique()[things] % PANOPTIC_DIVISOR - 1]
        targets.append(target | {"depth": sample.depth, "track_ids": numbers})
    return torch.stack(images), targets


def _segments(sample: Sample) -> Target:
    """A mask for the sky, the ground and each thing, where they have a pixel, and their classes."""
    numbers = sample.panoptic.unique()  # (n,)
    return {"masks": sample.panoptic == numbers[:, None, None], "labels": numbers // PANOPTIC_DIVISOR}


class Batches(Generic[Targets]):
    """Pictures and their truth, a batch at a time: once and in order, or shuffled and without end.

    Shuffled, every picture comes once before any comes again. Each new loop over the batches starts from the seed, so
    two models trained with the same batches see the same pictures in the same order.

    Args:
        images: (N, C, H, W), uint8 0..255 or floats.
        targets: (N, H, W) class numbers of any whole-number type; or a list with {"boxes": (n, 4) xyxy, "labels": (n,),
            ...} for each picture, with the names that `mirror` knows; "masks" (n, H, W) may stand in place of boxes.
        batch_size: in order, the last batch may be smaller. Shuffled, at most N.
        shuffle: False for validation, True for training.
        flip: whether each picture is mirrored left to right half of the time, its truth with it. Needs `shuffle`.
        seed: of the order and of the mirroring.

    Yields:
        (images (B, C, H, W) float, targets (B, H, W) int64 or a list of B dicts).

    Raises:
        ValueError: sizes do not fit together, or a truth is to be mirrored and nobody has said how.
    """

    def __init__(
        self,
        images: Tensor,
        targets: Targets,
        batch_size: int = 50,
        *,
        shuffle: bool = False,
        flip: bool = False,
        seed: int = 0,
    ) -> None:
        _check_images(images, batch_size, shuffle)
        if isinstance(targets, Tensor):
            _check_class_map(targets, images)
        else:
            _check_dicts(targets, images)
        if flip and not shuffle:
            raise ValueError("flip is True and shuffle is not; expected flip=True for shuffled batches alone")
        self.images, self.batch_size = images, int(batch_size)
        self.targets: Targets = targets
        self.shuffle, self.flip, self.seed = shuffle, flip, seed

    def __len__(self) -> int:
        if self.shuffle:
            raise TypeError("shuffled batches have no length: they come without end")
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Targets]]:
        return self._shuffled() if self.shuffle else self._in_order()

    def _in_order(self) -> Iterator[tuple[Tensor, Targets]]:
        for places in torch.arange(len(self.images)).split(self.batch_size):
            yield self._cut(places)

    def _shuffled(self) -> Iterator[tuple[Tensor, Targets]]:
        generator = torch.Generator().manual_seed(self.seed)
        waiting = torch.empty(0, dtype=torch.int64)
        while True:
            if len(waiting) < self.batch_size:
                waiting = torch.cat([waiting, torch.randperm(len(self.images), generator=generator)])
            places, waiting = waiting[: self.batch_size], waiting[self.batch_size :]  # (B,)
            images, targets = self._cut(places)
            if self.flip:
                turned = torch.rand(self.batch_size, generator=generator) < 0.5  # (B,)
                images, targets = mirror_some(images, targets, turned)
            yield images, targets

    def _cut(self, places: Tensor) -> tuple[Tensor, Any]:
        """The pictures at `places` (B,) and their truth, in memory of their own."""
        images = self.images[places]  # (B, C, H, W)
        images = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        if isinstance(self.targets, Tensor):
            return images, self.targets[places].long()
        return images, [dict(self.targets[place]) for place in places.tolist()]


def mirror_some(images: Tensor, targets: Targets, turned: Tensor) -> tuple[Tensor, Any]:
    """Mirror those pictures (B, C, H, W) of a batch for which `turned` (B,) is true, and their truth."""
    width = images.shape[-1]
    images = torch.where(turned[:, None, None, None], images.flip(-1), images)
    if isinstance(targets, Tensor):
        return images, torch.where(turned[:, None, None], targets.flip(-1), targets)
    return images, [
        mirror(target, width) if turn else target for target, turn in zip(targets, turned.tolist(), strict=True)
    ]


def mirror(target: Target, width: int) -> Target:
    """The truth of a picture of this width that was mirrored left to right.

    What was a box's right side is its left one now; a map is mirrored as the picture is; a point changes sides; a label
    stays.

    Raises:
        ValueError: the target has a name that is in none of BOXES, MAPS, POINTS and PLACELESS.
    """
    turned = dict(target)
    for name, value in target.items():
        if name in BOXES:
            left, top, right, bottom = value.unbind(-1)
            turned[name] = torch.stack([width - right, top, width - left, bottom], dim=-1)  # (n, 4)
        elif name in MAPS:
            turned[name] = value.flip(-1)
        elif name in POINTS:
            turned[name] = torch.stack([width - value[:, 0], value[:, 1]], dim=-1)  # (n, 2)
        elif name not in PLACELESS:
            known = ", ".join((*BOXES, *MAPS, *POINTS, *PLACELESS))
            raise ValueError(f"target has {name!r}, which nobody has said how to mirror; expected some of {known}")
    return turned


def _check_images(images: Tensor, batch_size: int, shuffle: bool) -> None:
    check_tensor("images", images, "(N, C, H, W)")
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images is {tuple(images.shape)}; expected (N, C, H, W) with at least one picture")
    check_whole("batch_size", batch_size, at_least=1)
    if shuffle and batch_size > len(images):
        raise ValueError(f"batch_size is {batch_size}; expected at most the {len(images)} pictures there are")


def _check_class_map(targets: Tensor, images: Tensor) -> None:
    expected = (len(images), *images.shape[2:])
    if targets.shape != expected:
        raise ValueError(f"targets is {tuple(targets.shape)}; expected {expected}, one class for each pixel of images")
    if targets.is_floating_point():
        raise ValueError(f"targets is {targets.dtype}; expected whole numbers")


def _check_dicts(targets: list[Target], images: Tensor) -> None:
    if len(targets) != len(images):
        raise ValueError(f"targets has {len(targets)} entries; expected one for each of {len(images)} pictures")
    shapes = {"labels": "(n,)"} | dict.fromkeys(BOXES, "(n, 4)") | dict.fromkeys(POINTS, "(n, 2)")
    shapes |= dict.fromkeys(MAPS, "(..., H, W)")
    for number, target in enumerate(targets):
        if not isinstance(target, dict):
            came = type(target).__name__
            raise ValueError(f"targets has a {came} for picture {number}; expected a dict, or one tensor for all")
        for name, value in target.items():
            if name in shapes:
                check_tensor(f"targets[{number}][{name!r}]", value, shapes[name])
            if name in BOXES and (value.ndim != 2 or value.shape[1] != 4):
                raise ValueError(f"targets has {name} {tuple(value.shape)} for picture {number}; expected (n, 4)")
            if name in POINTS and (value.ndim != 2 or value.shape[1] != 2):
                raise ValueError(f"targets has {name} {tuple(value.shape)} for picture {number}; expected (n, 2)")
            if name in MAPS and value.shape[-2:] != images.shape[-2:]:
                size = f"(..., {images.shape[-2]}, {images.shape[-1]})"
                raise ValueError(f"targets has {name} {tuple(value.shape)} for picture {number}; expected {size}")
        given = [len(target[name]) for name in ("boxes", "masks", "labels") if name in target]
        if "labels" not in target or len(given) < 2 or len(set(given)) > 1:
            tensors = {name: value for name, value in target.items() if isinstance(value, Tensor)}
            came = ", ".join(f"{name} {tuple(value.shape)}" for name, value in tensors.items()) or "nothing"
            raise ValueError(f"targets has {came} for picture {number}; expected as many boxes or masks as labels")
