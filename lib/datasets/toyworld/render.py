"""From a scene to a picture and its truths, in numpy arrays.

Truths are what a ray through the middle of each pixel meets. The picture takes that same ray's colour; only pixels
where something ends (an object, a face, a limb, a sharp step of colour) take eight rays more and show the mean of the
nine.
"""

from dataclasses import dataclass, replace

import numpy as np

from lib.datasets.toyworld.cast import cast, ground_depth
from lib.datasets.toyworld.scene import Camera, Scene, Solid
from lib.datasets.toyworld.shade import shade


@dataclass(frozen=True, eq=False)
class Rendering:
    """A picture of S x S pixels and the truth of each pixel."""

    image: np.ndarray  # (3, S, S) uint8
    instance: np.ndarray  # (S, S) uint8, 0 none, else 1 + place in `solids`
    covers: np.ndarray  # (S, S) uint8, bit k: object k would be seen here if it stood alone
    parts: np.ndarray  # (S, S) uint8, index into PARTS
    depth: np.ndarray  # (S, S) float32, metres along the optical axis, infinite in the sky
    normals: np.ndarray  # (3, S, S) float32, camera frame, 0 in the sky
    uv: np.ndarray  # (2, S, S) float32
    solids: tuple[Solid, ...]  # the objects that are seen, in the scene's order


def least_pixels(size: int) -> int:
    """How many pixels of an object must be seen in a still picture of size x size: 25 if that is 96 x 96."""
    return max(4, 25 * size * size // (96 * 96))


def edges(key: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Pixels (S, S) bool with a neighbour of another key (S, S) or of clearly other light (3, S, S)."""
    edge = np.zeros(key.shape, bool)
    tone = np.sqrt(light)
    for one, two in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        step = np.abs(tone[(slice(None), *one)] - tone[(slice(None), *two)]).max(axis=0) > 0.12
        step |= key[one] != key[two]
        edge[one] |= step
        edge[two] |= step
    return edge


def backdrop(camera: Camera, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Depth (S, S) and normals (3, S, S), camera frame, of the world without objects: ground below, sky above."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    depth = np.repeat(ground_depth(camera, camera.rays(line, line)[1])[:, None], size, axis=1)  # (S, S)
    up = camera.rotate_to_camera(*np.array([[0], [-1], [0]], np.float32))
    normals = np.stack([np.where(np.isfinite(depth), component, np.float32(0)) for component in up])  # (3, S, S)
    return depth, normals


def render(scene: Scene, size: int, drop: bool = True) -> Rendering:
    """Draw a scene.

    Objects with fewer visible pixels than `least_pixels(size)` are dropped: picture, shadows and truths are as if they
    had never been there. In a clip, where nothing may appear from nowhere, `drop=False` keeps every object in the
    world, and an object is left out of the truths only where none of its pixels is seen.
    """
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    u, v = np.tile(line, size), np.repeat(line, size)  # (S * S,)
    hits, solids = cast(scene, u, v, size, least_pixels(size) if drop else 1)
    if drop:
        scene = replace(scene, solids=solids)
    light = shade(scene, hits, solids, size)  # (3, S * S)
    key = hits.owner.astype(np.int16) * 32 + hits.parts + 16 * (~np.isfinite(hits.depth))
    index = np.flatnonzero(edges(key.reshape(size, size), light.reshape(3, size, size)))  # (E,)
    third = np.float32(1 / (3 * size))
    around = [(dx * third, dy * third) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dx or dy]
    more_u = np.concatenate([u[index] + dx for dx, _ in around])  # (8 * E,)
    more_v = np.concatenate([v[index] + dy for _, dy in around])
    finer_hits, present = cast(scene, more_u, more_v, size)
    finer = shade(scene, finer_hits, present, size * 3).reshape(3, 8, -1)  # (3, 8, E)
    total = light[:, index]
    for ray in range(8):
        total = total + finer[:, ray]
    light[:, index] = total / 9
    image = np.minimum(np.sqrt(light) * 255 + 0.5, 255).astype(np.uint8)
    normals = np.stack(scene.camera.rotate_to_camera(*hits.normal))
    grid = (size, size)
    return Rendering(
        image.reshape(3, *grid), hits.owner.reshape(grid), hits.covers.reshape(grid), hits.parts.reshape(grid),
        hits.depth.reshape(grid), normals.reshape(3, *grid), hits.uv.reshape(2, *grid), solids,
    )  # fmt: skip
