"""The part of space that is seen through a box: a pyramid without its tip, mapped to a cube (lesson 13).

A camera sees through a box of the picture everything that lies between four rays. Cut off in front and behind, at the
depths `near` and `far`, this is a frustum. Mapped to the cube from -1 to 1, x and y are places in the box, so a head
that looks into the box knows them without knowing the camera; z runs from near (-1) to far (1).

In between, z is counted in 1 / depth. So the map keeps straight lines straight and flat faces flat, as a picture does:
a mesh may be moved by its vertices alone. Source: Gkioxari et al. 2019, "Mesh R-CNN", section 3, "Voxel Branch".
"""

import torch
from torch import Tensor


def camera_to_frustum(points: Tensor, box: Tensor, depths: tuple[float, float], intrinsics: Tensor) -> Tensor:
    """Camera frame to cube.

    Args:
        points: (P, 3) X right, Y down, Z forward, in metres, all with Z > 0.
        box: (4,) xyxy pixels.
        depths: near and far, in metres.
        intrinsics: (3, 3), camera frame to pixels: column = fx X / Z + cx, row = fy Y / Z + cy.

    Returns:
        (P, 3): x, y, z; -1..1 for what is in the frustum.

    Raises:
        ValueError: a shape is wrong, the box has no area, or not 0 < near < far.
    """
    _check(points, box, depths, intrinsics)
    depth = points[:, 2:]  # (P, 1)
    pixels = points[:, :2] / depth * intrinsics.diagonal()[:2] + intrinsics[:2, 2]  # (P, 2) column, row
    place = 2 * (pixels - box[:2]) / (box[2:] - box[:2]) - 1  # (P, 2)
    near, far = depths
    return torch.cat([place, 2 * (1 / near - 1 / depth) / (1 / near - 1 / far) - 1], dim=1)  # (P, 3)


def frustum_to_camera(points: Tensor, box: Tensor, depths: tuple[float, float], intrinsics: Tensor) -> Tensor:
    """Cube to camera frame: the way back, with the same arguments. (P, 3) -> (P, 3), metres.

    A little beyond 1, z is a little beyond far; at (far + near) / (far - near) it has reached infinity.
    """
    _check(points, box, depths, intrinsics)
    near, far = depths
    depth = 1 / (1 / near - (points[:, 2:] + 1) / 2 * (1 / near - 1 / far))  # (P, 1)
    pixels = box[:2] + (points[:, :2] + 1) / 2 * (box[2:] - box[:2])  # (P, 2)
    return torch.cat([(pixels - intrinsics[:2, 2]) / intrinsics.diagonal()[:2] * depth, depth], dim=1)  # (P, 3)


def relative_extent(depths: tuple[float, float], box: Tensor, intrinsics: Tensor) -> float:
    """How deep a thing is, compared with how high it looks: (far - near) / distance · f / height of the box.

    A picture does not tell a small thing near by from a large one far away, but it does tell this number: both have the
    same. The distance is that of the middle, (near + far) / 2. Source: Mesh R-CNN, appendix.
    """
    near, far = depths
    height = float(box[3] - box[1])
    return (far - near) / ((near + far) / 2) * float(intrinsics[1, 1]) / height


def depths_from(extent: float, distance: float, box: Tensor, intrinsics: Tensor) -> tuple[float, float]:
    """Near and far, in metres, of a thing in a box, from its relative extent and its distance: the way back.

    Raises:
        ValueError: the distance is not above 0; or the extent is not above 0, or so large that near would lie behind
            the camera.
    """
    share = extent / float(intrinsics[1, 1]) * float(box[3] - box[1]) / 2  # half of the depth, in distances
    if not distance > 0:
        raise ValueError(f"distance is {distance!r}; expected a number above 0")
    if not 0 < share < 1:
        raise ValueError(f"extent is {extent!r}; expected one for which near lies between the camera and the distance")
    return distance * (1 - share), distance * (1 + share)


def _check(points: Tensor, box: Tensor, depths: tuple[float, float], intrinsics: Tensor) -> None:
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points is {tuple(points.shape)}; expected (P, 3)")
    if box.shape != (4,) or not (box[:2] < box[2:]).all():
        raise ValueError(f"box is {box.tolist()}; expected one box xyxy with an area")
    if not 0 < depths[0] < depths[1]:
        raise ValueError(f"depths is {depths}; expected 0 < near < far")
    if intrinsics.shape != (3, 3):
        raise ValueError(f"intrinsics is {tuple(intrinsics.shape)}; expected (3, 3)")
