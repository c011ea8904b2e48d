"""What the heads of lesson 13 are to learn about objects in boxes: parts and places on them, and shapes in space.

A shape is described in the frustum of its box (`lib.ops.frustum`) and not in a cube of metres, for three reasons. x and
y of a vertex are then places in the box, so the head needs no camera to know which features belong to a vertex. Every
object fills its grid of voxels, near or far. And it is what one can tell from a picture: its true size one cannot.
"""

import torch
from torch import Tensor

from lib.datasets.toyworld.dataset import Sample
from lib.ops.charts import crop_charts
from lib.ops.frustum import camera_to_frustum, relative_extent
from lib.ops.meshes import Meshes, sample_points_from_meshes
from lib.ops.voxels import voxelize


def well_seen(sample: Sample, share: float = 0.9) -> Tensor:
    """Which objects are not cut off by the edge of the picture and have at least `share` of their pixels seen: (N,).

    Of others the box says little about where the object lies: it is tight on what is seen.
    """
    height, width = sample.instance.shape
    left, top, right, bottom = sample.boxes.unbind(1)  # (N,) each
    whole = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    return whole & (sample.masks.sum((1, 2)) >= share * sample.amodal_masks.sum((1, 2)))


def depth_range(sample: Sample, index: int) -> tuple[float, float]:
    """The least and the greatest depth of an object's surface, in metres: near and far of its frustum."""
    depth = sample.meshes[index][0][:, 2]  # (V,)
    return depth.min().item(), depth.max().item()


def frustum_mesh(sample: Sample, index: int, box: Tensor) -> tuple[Tensor, Tensor]:
    """An object's mesh in the frustum of a box: vertices (V, 3), in x and y -1..1 inside the box, and faces (F, 3)."""
    verts, faces = sample.meshes[index]
    return camera_to_frustum(verts, box, depth_range(sample, index), sample.intrinsics), faces


def densepose_target(sample: Sample, objects: Tensor, boxes: Tensor, size: int) -> dict[str, Tensor]:
    """Parts and places of objects, on a grid in a box of each.

    Args:
        objects: (K,) places of the objects in the sample's lists.
        boxes: (K, 4) xyxy pixels; the objects' own, or others that hold them.
        size: S, cells along each side.

    Returns:
        {"boxes": (K, 4), "labels": (K,), "parts": (K, S, S) int64, "uv": (K, 2, S, S)}; pixels of other objects count
        as nothing.

    Raises:
        ValueError: not as many boxes as objects.
    """
    _check(objects, boxes)
    parts = sample.parts * (sample.instance == objects[:, None, None] + 1)  # (K, H, W)
    uv = sample.uv.permute(2, 0, 1).expand(len(objects), -1, -1, -1)  # (K, 2, H, W)
    cut_parts, cut_uv = crop_charts(parts, uv, boxes, size)
    cut_uv = cut_uv * (cut_parts > 0)[:, None]  # nothing has no place
    return {"boxes": boxes, "labels": sample.labels[objects], "parts": cut_parts, "uv": cut_uv}


def mesh_target(
    sample: Sample, objects: Tensor, boxes: Tensor, size: int, points: int = 500, seed: int = 0
) -> dict[str, Tensor]:
    """The shapes of objects, each in the frustum of its box.

    Args:
        objects: (K,) places of the objects in the sample's lists.
        boxes: (K, 4) xyxy pixels; the objects' own, or others that hold them.
        size: S, voxels along each side.
        points: Q, how many are drawn from each surface.
        seed: of the drawing.

    Returns:
        {"boxes": (K, 4), "labels": (K,), "voxels": (K, S, S, S) bool with z, y, x in this order, "surface_points" and
        "surface_normals": (K, Q, 3), "extent": (K,) see `relative_extent`}.

    Raises:
        ValueError: not as many boxes as objects.
    """
    _check(objects, boxes)
    pairs = [frustum_mesh(sample, index, box) for index, box in zip(objects.tolist(), boxes)]
    voxels = [voxelize(verts, faces, size) for verts, faces in pairs]  # (S, S, S) each
    extents = [
        relative_extent(depth_range(sample, index), box, sample.intrinsics)
        for index, box in zip(objects.tolist(), boxes)
    ]
    meshes = Meshes([verts for verts, _ in pairs], [faces for _, faces in pairs])
    generator = torch.Generator().manual_seed(seed)
    drawn, normals = sample_points_from_meshes(meshes, points, return_normals=True, generator=generator)
    empty = torch.zeros(0, size, size, size, dtype=torch.bool)
    return {
        "boxes": boxes,
        "labels": sample.labels[objects],
        "voxels": torch.stack(voxels) if voxels else empty,
        "surface_points": drawn,
        "surface_normals": normals,
        "extent": torch.tensor(extents),
    }


def _check(objects: Tensor, boxes: Tensor) -> None:
    if objects.ndim != 1 or boxes.shape != (len(objects), 4):
        raise ValueError(f"boxes is {tuple(boxes.shape)}; expected ({len(objects)}, 4), one for each of objects")
