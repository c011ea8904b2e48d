"""Where rays meet toyworld's solids: closed-form intersections, and what the surface is like at the point that was hit.

Rays are arrays of origins o and directions d, three components each, in the solid's *own* frame (see `Solid.to_own`):
origin at the middle of a sphere or crate, at the middle of the foot of the others. Every function answers the number of
steps t to the first hit, infinity where there is none, and which piece was hit. Only exactly rounded operations are
used: `scene` says why.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from lib.datasets.toyworld.figure import capsule_axes
from lib.datasets.toyworld.scene import Camera, Scene, Solid

# Names of the numbers in `parts`. The first six are body parts; the rest are the charts of the other solids.
PARTS = (
    "none", "head", "torso", "left arm", "right arm", "left leg", "right leg", "sphere", "crate top", "crate right",
    "crate left", "crate back", "crate front", "cylinder side", "cylinder top", "cone side",
)  # fmt: skip
INF = np.float32(np.inf)


def turns(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The angle of the point (x, y) in turns, 0 <= turns < 1, to 2e-6 (Abramowitz & Stegun, formula 4.4.49)."""
    wide, tall = np.abs(x), np.abs(y)
    q = np.minimum(wide, tall) / np.maximum(np.maximum(wide, tall), 1e-20)
    s = q * q
    a = q * (0.9998660 + s * (-0.3302995 + s * (0.1801410 + s * (-0.0851330 + s * 0.0208351)))) * 0.15915494
    a = np.where(tall > wide, 0.25 - a, a)
    a = np.where(x < 0, 0.5 - a, a)
    return np.where((y < 0) & (a > 0), 1 - a, a)


def meet_sphere(o, d, radius: float):
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    middle = -(o[0] * d[0] + o[1] * d[1] + o[2] * d[2]) / a
    x, y, z = o[0] + middle * d[0], o[1] + middle * d[1], o[2] + middle * d[2]  # nearest to the middle of the sphere
    inside = radius * radius - (x * x + y * y + z * z)
    return np.where(inside > 0, middle - np.sqrt(np.maximum(inside, 0) / a), INF), None


def meet_box(o, d, half: tuple[float, float, float]):
    """Slabs: the ray is inside the box between its last entry and its first exit. Pieces: axis 0, 1, 2 of the entry."""
    enter, leave, piece = None, None, None
    for axis in range(3):
        speed = np.where(np.abs(d[axis]) < 1e-9, np.float32(1e-9), d[axis])
        one, two = (-half[axis] - o[axis]) / speed, (half[axis] - o[axis]) / speed
        near, far = np.minimum(one, two), np.maximum(one, two)
        if enter is None:
            enter, leave, piece = near, far, np.zeros(near.shape, np.int8)
        else:
            piece = np.where(near > enter, np.int8(axis), piece)
            enter, leave = np.maximum(enter, near), np.minimum(leave, far)
    return np.where(enter < leave, enter, INF), piece


def meet_cylinder(o, d, radius: float, height: float):
    """Pieces: 0 the side, 1 the lid."""
    a = d[0] * d[0] + d[2] * d[2]
    middle = -(o[0] * d[0] + o[2] * d[2]) / a
    x, z = o[0] + middle * d[0], o[2] + middle * d[2]
    inside = radius * radius - (x * x + z * z)
    side = middle - np.sqrt(np.maximum(inside, 0) / a)
    y = o[1] + side * d[1]
    side = np.where((inside > 0) & (y <= 0) & (y >= -height), side, INF)
    lid = (-height - o[1]) / np.where(d[1] < 1e-9, np.float32(1e-9), d[1])  # seen by rays that go down, +y
    x, z = o[0] + lid * d[0], o[2] + lid * d[2]
    lid = np.where((d[1] > 1e-9) & (x * x + z * z < radius * radius), lid, INF)
    return np.minimum(side, lid), (lid < side).astype(np.int8)


def meet_cone(o, d, radius: float, height: float):
    slope = radius / height
    y, k = o[1] + height, slope * slope  # y counts from the tip
    a = d[0] * d[0] + d[2] * d[2] - k * (d[1] * d[1])
    b = o[0] * d[0] + o[2] * d[2] - k * (y * d[1])
    c = o[0] * o[0] + o[2] * o[2] - k * (y * y)
    inside = b * b - a * c
    root = np.sqrt(np.maximum(inside, 0))
    a = np.where(np.abs(a) < 1e-9, np.float32(1e-9), a)
    best = None
    for sign in (-1, 1):
        t = (sign * root - b) / a
        depth = y + t * d[1]
        t = np.where((inside > 0) & (depth >= 0) & (depth <= height), t, INF)
        best = t if best is None else np.minimum(best, t)
    return best, None


def meet_figure(o, d, capsules):
    """All capsules at once: arrays (capsules, rays). Pieces: the number of the capsule."""

    def column(values):
        return np.array(values, np.float32)[:, None]  # (C, 1)

    start = [column([c.start[i] for c in capsules]) for i in range(3)]
    along = [column([c.end[i] - c.start[i] for c in capsules]) for i in range(3)]
    radius = column([c.radius for c in capsules])
    x, y, z = o[0] - start[0], o[1] - start[1], o[2] - start[2]  # (C, R)
    length = along[0] * along[0] + along[1] * along[1] + along[2] * along[2]
    ahead = along[0] * d[0] + along[1] * d[1] + along[2] * d[2]
    foot = along[0] * x + along[1] * y + along[2] * z
    dd = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    od = x * d[0] + y * d[1] + z * d[2]
    oo = x * x + y * y + z * z
    a = np.maximum(length * dd - ahead * ahead, 1e-12)  # the endless cylinder around the segment
    b = length * od - foot * ahead
    c = length * (oo - radius * radius) - foot * foot
    inside = b * b - a * c
    t = (-b - np.sqrt(np.maximum(inside, 0))) / a
    reach = foot + t * ahead
    tube = np.where((inside > 0) & (reach > 0) & (reach < length), t, INF)
    beyond = reach > length / 2  # elsewhere it can only be the ball at the nearer end
    od = np.where(beyond, od - ahead, od)
    oo = np.where(beyond, oo - 2 * foot + length, oo)
    inside = od * od - dd * (oo - radius * radius)
    ball = np.where(inside > 0, (-od - np.sqrt(np.maximum(inside, 0))) / dd, INF)
    t = np.minimum(tube, ball)
    piece = t.argmin(axis=0)
    return t.min(axis=0), piece.astype(np.int8)


def own_rays(solid: Solid, camera: Camera, rays):
    """The camera's rays in the solid's own frame. They start `solid.z` steps ahead: near by, float32 loses nothing."""
    middle = -solid.half[1] if solid.kind in ("sphere", "crate") else 0.0
    start = [solid.z * rays[0] - solid.x, solid.z * rays[1] - camera.height - middle, solid.z * rays[2] - solid.z]
    return solid.to_own(*start), solid.to_own(*rays)


def meet(solid: Solid, o, d):
    """First hit of own rays with the solid: steps t and piece."""
    if solid.kind == "sphere":
        return meet_sphere(o, d, solid.half[0])
    if solid.kind == "crate":
        return meet_box(o, d, solid.half)
    if solid.kind == "cylinder":
        return meet_cylinder(o, d, solid.half[0], solid.height)
    if solid.kind == "cone":
        return meet_cone(o, d, solid.half[0], solid.height)
    return meet_figure(o, d, solid.capsules)


def surface(solid: Solid, p, d, piece):
    """Normal (own frame), part number and chart coordinates u, v in 0..1 at points p that were hit along d.

    A sphere's and the round sides' u runs once around the axis and their v from the foot (0) to the top (1); a lid's
    and a crate face's u, v run along its edges. A limb's v runs from its shoulder or hip (0) to its end (1), u around
    it.
    """
    x, y, z = p
    if solid.kind == "sphere":
        radius = solid.half[0]
        return (x / radius, y / radius, z / radius), np.full(x.shape, 7, np.uint8), turns(z, x), 0.5 - y / (2 * radius)
    if solid.kind == "crate":
        a, b, c = (x / (2 * solid.half[0]) + 0.5, y / (2 * solid.half[1]) + 0.5, z / (2 * solid.half[2]) + 0.5)
        towards = np.where(piece == 0, d[0], np.where(piece == 1, d[1], d[2]))
        sign = np.where(towards > 0, np.float32(-1), np.float32(1))
        normal = tuple(np.where(piece == axis, sign, np.float32(0)) for axis in range(3))
        part = np.where(piece == 1, 8, np.where(piece == 0, 9, 11) + (sign < 0)).astype(np.uint8)
        return normal, part, np.where(piece == 0, c, a), np.where(piece == 1, 1 - c, 1 - b)
    if solid.kind == "cylinder":
        radius, lid = solid.half[0], piece == 1
        normal = (np.where(lid, 0, x / radius), np.where(lid, np.float32(-1), 0), np.where(lid, 0, z / radius))
        u = np.where(lid, x / (2 * radius) + 0.5, turns(z, x))
        v = np.where(lid, z / (2 * radius) + 0.5, -y / solid.height)
        return normal, np.where(lid, 14, 13).astype(np.uint8), u, v
    if solid.kind == "cone":
        slope = solid.half[0] / solid.height
        around = np.maximum(np.sqrt(x * x + z * z), 1e-9)
        scale = sqrt(1 + slope * slope)
        normal = (x / around / scale, np.zeros_like(x) - slope / scale, z / around / scale)
        return normal, np.full(x.shape, 15, np.uint8), turns(z, x), -y / solid.height
    table = [(*c.start, *(e for axis in capsule_axes(c) for e in axis)) for c in solid.capsules]
    rows = np.array(table, np.float32).T[:, piece]  # (12, R): start, axis, front, across of each point's capsule
    span = np.array([c.length for c in solid.capsules], np.float32)[piece]
    radius = np.array([c.radius for c in solid.capsules], np.float32)[piece]
    low = np.array([c.chart[0] for c in solid.capsules], np.float32)[piece]
    width = np.array([c.chart[1] - c.chart[0] for c in solid.capsules], np.float32)[piece]
    x, y, z = x - rows[0], y - rows[1], z - rows[2]
    along = rows[3] * x + rows[4] * y + rows[5] * z
    clamped = np.minimum(np.maximum(along, 0), span)
    normal = tuple((q - clamped * rows[3 + i]) / radius for i, q in enumerate((x, y, z)))
    ahead, across = rows[6] * x + rows[7] * y + rows[8] * z, rows[9] * x + rows[10] * y + rows[11] * z
    part = np.array([c.part for c in solid.capsules], np.uint8)[piece]
    return normal, part, turns(-across, -ahead), low + width * ((along + radius) / (span + 2 * radius))


@dataclass
class Hits:
    """What each of R rays sees. Scene frame; a ray that sees the sky has depth infinity and normal 0."""

    rays: tuple  # three arrays (R,), directions
    owner: np.ndarray  # (R,) 0 sky or ground, else the object's number from 1
    depth: np.ndarray  # (R,) metres along the optical axis
    normal: np.ndarray  # (3, R) unit length
    parts: np.ndarray  # (R,) index into PARTS
    uv: np.ndarray  # (2, R) in 0..1
    covers: np.ndarray  # (R,) bit k is set where object k would be seen if it stood there alone


def ground_depth(camera: Camera, fall: np.ndarray) -> np.ndarray:
    """Depth in metres at which rays that fall `fall` metres a step reach the ground; infinity in the sky."""
    down = fall > 1e-6
    return np.where(down, np.float32(camera.height) / np.where(down, fall, np.float32(1)), INF)


def cast(scene: Scene, u: np.ndarray, v: np.ndarray, size: int, least: int = 0) -> tuple[Hits, tuple[Solid, ...]]:
    """Send rays through image points u, v (fractions of the side) and see what they meet.

    Objects seen by fewer than `least` rays are taken out of the scene first, and the others stand as if those had never
    been there. Answers what the rays see and which objects are left.
    """
    camera = scene.camera
    rays = camera.rays(u, v)
    ground = ground_depth(camera, rays[1])
    meets = []
    for solid in scene.solids:
        left, top, right, bottom = bounds(solid, camera)
        margin = 1 / size
        index = np.flatnonzero((u > left - margin) & (u < right + margin) & (v > top - margin) & (v < bottom + margin))
        o, d = own_rays(solid, camera, [ray[index] for ray in rays])
        t, piece = meet(solid, o, d)
        hit = np.flatnonzero(np.isfinite(t))
        pieces = None if piece is None else piece[hit]
        meets.append((index[hit], solid.z + t[hit], t[hit], pieces, [a[hit] for a in o], [a[hit] for a in d]))

    def front(kept):
        depth, owner = ground.copy(), np.zeros(len(u), np.uint8)
        for number, k in enumerate(kept, start=1):
            index, far = meets[k][:2]
            nearer = far < depth[index]
            depth[index[nearer]], owner[index[nearer]] = far[nearer], number
        return depth, owner

    kept = list(range(len(meets)))
    depth, owner = front(kept)
    if least:
        seen = np.bincount(owner, minlength=len(kept) + 1)[1:]
        kept = [k for k in kept if seen[k] >= least]
        depth, owner = front(kept)
    normal = np.zeros((3, len(u)), np.float32)
    normal[1] = np.where(np.isfinite(ground), np.float32(-1), 0)
    parts, uv, covers = np.zeros(len(u), np.uint8), np.zeros((2, len(u)), np.float32), np.zeros(len(u), np.uint8)
    for number, k in enumerate(kept, start=1):
        index, _, t, piece, o, d = meets[k]
        covers[index] |= np.uint8(1 << (number - 1))
        seen = owner[index] == number
        index, t = index[seen], t[seen]
        o, d = [a[seen] for a in o], [a[seen] for a in d]
        point = [o[i] + t * d[i] for i in range(3)]
        own, parts[index], a, b = surface(scene.solids[k], point, d, None if piece is None else piece[seen])
        uv[0, index], uv[1, index] = np.clip(a, 0, 1), np.clip(b, 0, 1)
        for axis, component in enumerate(scene.solids[k].to_scene(*own)):
            normal[axis, index] = component
    return Hits(rays, owner, depth, normal, parts, uv, covers), tuple(scene.solids[k] for k in kept)


def bounds(solid: Solid, camera: Camera) -> tuple[float, float, float, float]:
    """A rectangle of the image that surely holds the object: left, top, right, bottom, as fractions of the side."""
    points = [
        camera.project(solid.x + sx * solid.radius, y, solid.z + sz * solid.radius)
        for sx in (-1, 1) for sz in (-1, 1) for y in (0.0, -solid.top)
    ]  # fmt: skip
    across, down = [p[0] for p in points], [p[1] for p in points]
    return min(across), min(down), max(across), max(down)
