"""Two new heads on a frozen trunk, drawn like the detectors before them (lesson 13)."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.layers.frozen_trunk import cut_regions
from lib.models.densepose import DensePoseRCNN, densepose_inference
from lib.models.mesh_rcnn import MeshRCNN, occupied_mesh
from lib.ops.boxes import check_boxes
from lib.ops.charts import read_texture
from lib.ops.meshes import Meshes
from lib.timing import milliseconds
from lib.viz.basics.draw import to_pixels
from lib.viz.detection.boxes import show_picture
from lib.viz.diagrams.panels import Draw, picture_stage, shape_of, tile_places, tiles
from lib.viz.diagrams.system import Loss, Plan, Stage
from lib.viz.explorer.feature_pictures import pca_colours
from lib.viz.surfaces.charts import BODY, paint_atlas, part_colours, wear
from lib.viz.surfaces.meshes import paint_mesh

SHOWN = 4  # boxes of which a drawing shows what comes out


def draw_new_heads(pose: DensePoseRCNN, shapes: MeshRCNN, image: Tensor, boxes: Tensor, timed: bool = True) -> Figure:
    """DensePose and Mesh R-CNN on a picture (3, H, W) and its boxes (K, 4) xyxy pixels.

    The first four boxes are shown: what is cut out of them, and what each head makes of it.

    Args:
        pose, shapes: in eval mode, on the same trunk; `pose` for the six parts of toyworld's figures.
        timed: with the times.

    Raises:
        ValueError: there is no box, or `pose` has other parts.
    """
    return new_heads_plan(pose, shapes, image, boxes).draw(timed)


@torch.no_grad()
def new_heads_plan(pose: DensePoseRCNN, shapes: MeshRCNN, image: Tensor, boxes: Tensor) -> Plan:
    """The stages: picture, trunk, regions; parts and places, painted; voxels, cubes, refined meshes."""
    check_boxes("boxes", boxes)
    if not len(boxes):
        raise ValueError("boxes is empty; expected at least one")
    if pose.predictor.index_uv_lowres.out_channels != len(BODY) + 1:
        raise ValueError(f"pose knows {pose.predictor.index_uv_lowres.out_channels - 1} parts; expected {len(BODY)}")
    size = (image.shape[1], image.shape[2])
    batch, features = pose.trunk(image[None])
    largest = next(iter(features.values()))  # (1, C, h, w)
    (moved,) = pose.trunk.transform.resize_targets([{"boxes": boxes}], batch)
    sides = (pose.output_size, shapes.size, shapes.mesh_size)

    def cut(side: int) -> Tensor:
        return cut_regions(features, [moved["boxes"]], batch.image_sizes, side)

    regions, coarse, fine = (cut(side) for side in sides)  # (K, C, s, s) each
    output = pose.predictor(pose.head(regions))
    parts, uv = densepose_inference(output, boxes, size)  # (K, H, W), (K, H, W, 2)
    voxels = shapes.voxel_head(coarse).sigmoid()  # (K, S, S, S)
    cubes = occupied_mesh(voxels, shapes.cubify_thresh)
    refined = shapes.mesh_head(fine, cubes)[-1]
    stages = (
        picture_stage(image),
        Stage("trunk: frozen,\nno gradient", _greyed(largest[0]), shape_of(largest[0]),
              milliseconds(lambda: pose.trunk(image[None]))),
        Stage("RoIAlign,\nthree times", tiles([pca_colours(one) for one in regions[:SHOWN]]),
              ", ".join(f"{side}²" for side in sides) + "\ncells in a box",
              milliseconds(lambda: [cut(side) for side in sides])),
        Stage("DensePose head:\nparts, u and v", tiles(list(part_colours(output.parts[:SHOWN].argmax(1)))),
              f"{shape_of(torch.cat(output, dim=1))};\nthe surest parts",
              milliseconds(lambda: pose.predictor(pose.head(regions))), new=True),
        Stage("pasted, and\npainted by u, v", _painted(image, parts, uv), "pixels",
              milliseconds(lambda: densepose_inference(output, boxes, size))),
        Stage("voxel branch\nand z head", tiles([_front(one) for one in voxels[:SHOWN]]),
              f"{shape_of(voxels)};\nthe surest in depth",
              milliseconds(lambda: (shapes.voxel_head(coarse), shapes.z_head(coarse))), new=True, after=2),
        Stage("cubify", _meshes(cubes), f"{len(cubes.verts_packed()):,} vertices",
              milliseconds(lambda: occupied_mesh(voxels, shapes.cubify_thresh))),
        Stage("refinement:\nmove vertices", _meshes(refined), f"{len(shapes.mesh_head.stages)} stages",
              milliseconds(lambda: shapes.mesh_head(fine, cubes)), new=True),
    )  # fmt: skip
    losses = (Loss("part, u, v", 3, 3), Loss("occupied?", 5, 5), Loss("how deep?", 5, 5), Loss("surface", 7, 7))
    return Plan(stages, losses, "Two new heads on a frozen trunk: bodies read part by part, and things given a shape")


def _greyed(features: Tensor) -> Draw:
    """A map (C, h, w) whose cells look alike where they are alike, without colour: nothing is learned there."""
    grey = pca_colours(features.cpu()).mean(2)  # (h, w)
    return lambda axis: axis.imshow(grey, cmap="gray", vmin=-0.1, vmax=1.1, aspect="auto")


def _front(voxels: Tensor) -> np.ndarray:
    """Probabilities (S, S, S) seen from the front: of each column the highest, as grey (S, S, 3)."""
    return to_pixels(voxels.amax(0)[None])


def _painted(image: Tensor, parts: Tensor, uv: Tensor) -> Draw:
    """Bodies (K, H, W), (K, H, W, 2), one over the other, wearing what is painted on the charts."""
    texture = paint_atlas().permute(0, 3, 1, 2).to(image)  # (7, 3, h, w)
    worn = image
    for one, places in zip(parts, uv):
        worn = wear(worn, one, read_texture(texture, one, places))
    return lambda axis: show_picture(axis, worn)


def _meshes(meshes: Meshes) -> Draw:
    def draw(axis: Axes) -> None:
        count = min(len(meshes), SHOWN)
        for (x, y, side), verts, faces in zip(tile_places(count), meshes.verts, meshes.faces):
            paint_mesh(axis, (verts, faces), middle=(x + side / 2, y + side / 2), scale=side / 3.2)
        axis.set(xlim=(0, 1), ylim=(0, 1), facecolor="white")

    return draw
