"""The surfaces of toyworld's solids as triangles: closed, counterclockwise from outside, corners on the surface."""

import numpy as np

from lib.datasets.toyworld.figure import capsule_axes
from lib.datasets.toyworld.scene import Camera, Solid

# Corners of a regular polygon of 24, by turning (1, 0) 15 degrees at a time: cos 15 and sin 15 written out.
CIRCLE = [(1.0, 0.0)]
for _ in range(23):
    CIRCLE.append(
        (CIRCLE[-1][0] * 0.9659258262890683 - CIRCLE[-1][1] * 0.25881904510252074,
         CIRCLE[-1][0] * 0.25881904510252074 + CIRCLE[-1][1] * 0.9659258262890683)
    )  # fmt: skip
ARC = [(-CIRCLE[i][0], CIRCLE[i][1]) for i in range(1, 12)]  # (height, width) of rings on a unit ball, bottom to top


def lathe(rings: list[tuple[float, float]], low: float, high: float, sides: int = 24):
    """The surface between rings (height, radius) around an upward axis, closed by a point at `low` and at `high`.

    Answers corners (V, 3) as (across, height, along) and triangles (F, 3).
    """
    step = 24 // sides
    corners = [(0.0, low, 0.0)]
    corners += [(r * CIRCLE[i * step][0], h, r * CIRCLE[i * step][1]) for h, r in rings for i in range(sides)]
    corners.append((0.0, high, 0.0))
    first, last, triangles = 1, len(corners) - 1, []
    for i in range(sides):
        j = (i + 1) % sides
        triangles.append((0, first + i, first + j))
        for ring in range(len(rings) - 1):
            a, b = first + ring * sides, first + (ring + 1) * sides
            triangles += [(a + i, b + i, b + j), (a + i, b + j, a + j)]
        top = first + (len(rings) - 1) * sides
        triangles.append((last, top + j, top + i))
    return np.array(corners), np.array(triangles)


BALL = lathe(ARC, -1.0, 1.0)
SMALL_ARC = [ARC[i] for i in (1, 3, 5, 7, 9)]
BOX = (
    np.array([(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]),
    np.array([(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
              (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)]),
)  # fmt: skip


def own_mesh(solid: Solid) -> tuple[np.ndarray, np.ndarray]:
    """Corners (V, 3) in the solid's own frame, from the middle of its foot, and triangles (F, 3)."""
    wide, half, thick = solid.half
    if solid.kind == "sphere":
        return BALL[0] * wide, BALL[1]
    if solid.kind == "crate":
        return BOX[0] * (wide, half, thick) - (0, half, 0), BOX[1]
    if solid.kind == "cylinder":
        corners, triangles = lathe([(0.0, wide), (-solid.height, wide)], 0.0, -solid.height)
        return corners, triangles[:, ::-1]
    if solid.kind == "cone":
        corners, triangles = lathe([(0.0, wide)], 0.0, -solid.height)
        return corners, triangles[:, ::-1]
    corners, triangles, count = [], [], 0
    for capsule in solid.capsules:
        r, length = capsule.radius, capsule.length
        half_way = len(SMALL_ARC) // 2 + 1
        rings = [(h * r, w * r) for h, w in SMALL_ARC[:half_way]]
        rings += [(length + h * r, w * r) for h, w in SMALL_ARC[half_way - 1 :]]
        points, faces = lathe(rings, -r, length + r, sides=12)
        axis, front, across = capsule_axes(capsule)
        moved = [
            points[:, 0] * front[i] + points[:, 1] * axis[i] + points[:, 2] * -across[i] + capsule.start[i]
            for i in range(3)
        ]
        corners.append(np.stack(moved, axis=1))
        triangles.append(faces + count)
        count += len(points)
    return np.concatenate(corners), np.concatenate(triangles)


def solid_mesh(solid: Solid, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Corners (V, 3) float32 in the camera frame, metres, and triangles (F, 3) int64 of one object.

    A figure is ten closed capsules that overlap at its joints.
    """
    corners, triangles = own_mesh(solid)
    x, y, z = solid.to_scene(*corners.T)
    lift = -solid.half[1] if solid.kind == "sphere" else 0.0
    corners = np.stack(camera.to_camera(x + solid.x, y + lift, z + solid.z), axis=1)
    return corners.astype(np.float32), triangles.astype(np.int64)


def outline(solid: Solid) -> list[tuple[float, float, float]]:
    """Points of the scene whose convex hull is the crate, cylinder or cone."""
    corners, _ = own_mesh(solid)
    x, y, z = solid.to_scene(*corners.T)
    return list(zip((x + solid.x).tolist(), y.tolist(), (z + solid.z).tolist()))
