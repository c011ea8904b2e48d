"""Toyworld: one small world with every kind of truth, for all lessons.

Pictures of one to six simple objects on open ground under a sky, ray-cast from scenes drawn at random, with all that
one could want to know about them. The convention of axes (right-handed, x right, y down, z forward) and the reason why
the same seed gives the same bytes on every machine stand at the top of `scene.py`.

>>> world = Toyworld("train", length=2000, size=96)
>>> sample = world[0]
>>> sample.image.shape, sample.boxes, sample.phrases
"""

from dataclasses import dataclass
from functools import cached_property
from operator import index as as_int

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from lib.datasets.toyworld.cache import SPLITS, draw_clip, load, unpack
from lib.datasets.toyworld.cast import PARTS
from lib.datasets.toyworld.meshes import solid_mesh
from lib.datasets.toyworld.render import Rendering
from lib.datasets.toyworld.scene import CLASSES, COLOURS, MAX_OBJECTS, SIZES, Scene

__all__ = [
    "CLASSES", "COLOURS", "MAX_OBJECTS", "PANOPTIC_DIVISOR", "PARTS", "SEMANTIC_COLOURS", "SEMANTIC_NAMES", "SIZES",
    "SPLITS", "Clip", "Sample", "Toyworld", "collate", "object_crop", "toyworld_clip",
]  # fmt: skip

SEMANTIC_NAMES = ("sky", "ground", *CLASSES)  # numbers in `semantic`: an object's is its label + 1
SEMANTIC_COLOURS = (  # for drawing a semantic map: RGB in 0..1
    (0.62, 0.79, 0.93), (0.60, 0.62, 0.52), (0.89, 0.29, 0.25), (0.96, 0.70, 0.20), (0.25, 0.60, 0.42),
    (0.30, 0.42, 0.80), (0.62, 0.33, 0.68),
)  # fmt: skip
PANOPTIC_DIVISOR = 1000  # panoptic id = semantic number * 1000 + instance number


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture and the truth about it. N objects, H x W pixels; truths are sampled at the middle of each pixel."""

    image: Tensor  # (3, H, W) float, 0..1
    boxes: Tensor  # (N, 4) float, xyxy pixels, tight on the visible mask: x2 is its last column + 1
    labels: Tensor  # (N,) int64, 1 sphere ... 5 figure (place in CLASSES + 1); 0 is kept for background
    masks: Tensor  # (N, H, W) bool, the visible pixels of each object
    amodal_masks: Tensor  # (N, H, W) bool, its pixels within the picture if it stood there alone
    semantic: Tensor  # (H, W) int64, place in SEMANTIC_NAMES
    instance: Tensor  # (H, W) int64, 0 for sky and ground, else 1 + place of the object in the lists above
    panoptic: Tensor  # (H, W) int64, semantic * PANOPTIC_DIVISOR + instance
    depth: Tensor  # (H, W) float, metres along the optical axis (camera z), infinite in the sky; the ground goes on
    # for kilometres, so clip before averaging
    normals: Tensor  # (3, H, W) float, unit vectors in the camera frame, facing the camera; 0 in the sky
    parts: Tensor  # (H, W) int64, place in PARTS: 1..6 on a figure's body, the rest on other objects, 0 elsewhere
    uv: Tensor  # (H, W, 2) float, 0..1, place on the chart of that part; 0 where there is none
    phrases: tuple[str, ...]  # "small red cone", each once in a picture
    intrinsics: Tensor  # (3, 3) float, camera frame to pixels: column = fx X / Z + cx, row = fy Y / Z + cy
    scene: Scene  # all that was drawn, in metres; hidden objects of a clip included

    @cached_property
    def meshes(self) -> list[tuple[Tensor, Tensor]]:
        """Of each object the vertices (V, 3) float, camera frame, metres, and the triangles (F, 3) int64."""
        solids = {solid.phrase: solid for solid in self.scene.solids}
        pairs = [solid_mesh(solids[phrase], self.scene.camera) for phrase in self.phrases]
        return [(torch.from_numpy(vertices), torch.from_numpy(faces)) for vertices, faces in pairs]


@dataclass(frozen=True, eq=False)
class Clip:
    """Consecutive frames of one scene with moving objects, seen by a camera at rest.

    All objects are well visible in the first frame. One that is wholly hidden later has no truths in that frame; it
    keeps its track id when it comes back.
    """

    frames: tuple[Sample, ...]
    track_ids: tuple[Tensor, ...]  # for each frame (N,) int64: the same number, from 1, for the same object all along


def check_request(split: str, length: int, size: int) -> None:
    """Raise ValueError, naming the argument, for a split, length or size that toyworld does not have."""
    if split not in SPLITS:
        raise ValueError(f"split: got {split!r}, expected one of {', '.join(map(repr, SPLITS))}")
    for name, value, low, high in (("length", length, 1, 1_000_000), ("size", size, 32, 1024)):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{name}: got {value!r}, expected a whole number from {low} to {high}")


def to_sample(rendering: Rendering, scene: Scene) -> Sample:
    """Turn what the renderer made into tensors, and derive boxes, masks and maps from it."""
    size = rendering.instance.shape[0]
    numbers = np.arange(1, len(rendering.solids) + 1, dtype=np.uint8)[:, None, None]  # (N, 1, 1)
    masks = rendering.instance == numbers  # (N, H, W)
    amodal = (rendering.covers >> (numbers - 1) & 1).astype(bool)  # (N, H, W)
    labels = np.array([CLASSES.index(solid.kind) + 1 for solid in rendering.solids], np.int64)
    ground = np.isfinite(rendering.depth).astype(np.int64)
    semantic = np.where(rendering.instance > 0, np.append(0, labels + 1)[rendering.instance], ground)  # (H, W)
    instance = rendering.instance.astype(np.int64)
    columns, rows = masks.any(axis=1), masks.any(axis=2)  # (N, W), (N, H)
    ends = [columns.argmax(1), rows.argmax(1), size - columns[:, ::-1].argmax(1), size - rows[:, ::-1].argmax(1)]
    focal = scene.camera.focal * size
    return Sample(
        image=torch.from_numpy(rendering.image.astype(np.float32) / 255),
        boxes=torch.from_numpy(np.stack(ends, axis=1).astype(np.float32)),
        labels=torch.from_numpy(labels),
        masks=torch.from_numpy(masks),
        amodal_masks=torch.from_numpy(amodal),
        semantic=torch.from_numpy(semantic),
        instance=torch.from_numpy(instance),
        panoptic=torch.from_numpy(semantic * PANOPTIC_DIVISOR + instance),
        depth=torch.from_numpy(rendering.depth),
        normals=torch.from_numpy(rendering.normals),
        parts=torch.from_numpy(rendering.parts.astype(np.int64)),
        uv=torch.from_numpy(np.ascontiguousarray(rendering.uv.transpose(1, 2, 0))),
        phrases=tuple(solid.phrase for solid in rendering.solids),
        intrinsics=torch.tensor([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]]),
        scene=scene,
    )


class Toyworld(Dataset):
    """A data set of toyworld pictures.

    split: "train", "val" or "test", which share no picture; nothing is ever chosen by the test split.
    length: how many; picture i is the same however many there are.
    size: the side in pixels; picture i shows the same scene at any size.

    The first use renders (2,000 pictures of 96 x 96 take some seconds) and stores the result in `data_dir()/toyworld`;
    later ones read it. Raises ValueError for an unknown split and for a length or size that is out of range.
    """

    def __init__(self, split: str = "train", length: int = 2000, size: int = 96):
        check_request(split, length, size)
        self.split, self.length, self.size = split, length, size
        self.arrays = load(split, length, size)
        self.ends = np.cumsum(self.arrays["pixels"])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        number = as_int(index)
        if not -self.length <= number < self.length:
            raise IndexError(f"index {number} is out of range for a Toyworld of {self.length} pictures")
        return to_sample(*unpack(self.arrays, self.ends, self.split, number % self.length))


def toyworld_clip(index: int = 0, split: str = "train", length: int = 16, size: int = 96) -> Clip:
    """Clip number `index` of a split: `length` frames of size x size pixels, rendered when asked for.

    Objects move smoothly, figures walk, the middle of every object stays in the picture, and none is ever inside
    another. Raises ValueError for an unknown split and for an index, length or size that is out of range.
    """
    check_request(split, length, size)
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise ValueError(f"index: got {index!r}, expected a whole number from 0")
    frames, track_ids = [], []
    for rendering, scene in draw_clip(split, index, length, size):
        frames.append(to_sample(rendering, scene))
        order = [solid.phrase for solid in scene.solids]
        track_ids.append(torch.tensor([order.index(phrase) + 1 for phrase in frames[-1].phrases], dtype=torch.int64))
    return Clip(tuple(frames), tuple(track_ids))


def collate(samples: list[Sample]) -> tuple[Tensor, list[Sample]]:
    """For a DataLoader: the images as one batch (B, 3, H, W), and the samples as they are, since N differs."""
    if not samples:
        raise ValueError("samples: got an empty list, expected at least one Sample")
    return torch.stack([sample.image for sample in samples]), list(samples)


def object_crop(sample: Sample, index: int, size: int = 32, margin: float = 0.15) -> Tensor:
    """A square picture (3, size, size) of one object: its box with `margin` of the longer side around, resized.

    Where the square reaches beyond the picture, the nearest pixel is repeated.
    """
    if not -len(sample.boxes) <= index < len(sample.boxes):
        raise ValueError(f"index: got {index}, expected that of one of the {len(sample.boxes)} objects")
    if size < 1:
        raise ValueError(f"size: got {size}, expected at least 1 pixel")
    left, top, right, bottom = (int(edge) for edge in sample.boxes[index])
    side = int(max(right - left, bottom - top) * (1 + 2 * margin) + 0.5)
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    wide = F.pad(sample.image[None], (side, side, side, side), mode="replicate")  # (1, 3, H + 2 side, W + 2 side)
    square = wide[:, :, y + side : y + 2 * side, x + side : x + 2 * side]  # (1, 3, side, side)
    return F.interpolate(square, (size, size), mode="bilinear", antialias=True)[0].clamp(0, 1)  # (3, size, size)
