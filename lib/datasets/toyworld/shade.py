"""How toyworld looks: sunlight, soft shadows, patterns, tiles, clouds and haze.

Colours are worked out in linear light and turned into a picture by a square root (a gamma of 2, and exact). Patterns
fade where they become finer than a pixel, so that nothing flickers far away.
"""

from math import sqrt

import numpy as np

from lib.datasets.toyworld.cast import Hits
from lib.datasets.toyworld.figure import HEAD, LEFT_ARM, LEFT_LEG, RIGHT_ARM, RIGHT_LEG
from lib.datasets.toyworld.meshes import outline
from lib.datasets.toyworld.scene import COLOURS, Scene, Solid

SUN_SIZE = 0.09  # half the width of the sun, as a share of its distance: ten times the real one, for soft shadows
SKIN, HAIR, TROUSERS, SHOES = (0.90, 0.68, 0.54), (0.24, 0.15, 0.10), (0.20, 0.23, 0.36), (0.15, 0.12, 0.12)
SPECKLES = np.random.Generator(np.random.PCG64(2012)).random((64, 64)).astype(np.float32)


def speckle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth random hills, 0..1, one a unit, repeating after 64: corners of a table, blended."""
    left, top = np.floor(x), np.floor(y)
    a, b = x - left, y - top
    a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
    i, j = left.astype(np.int32) & 63, top.astype(np.int32) & 63
    i2, j2 = (i + 1) & 63, (j + 1) & 63
    upper = SPECKLES[j, i] * (1 - a) + SPECKLES[j, i2] * a
    lower = SPECKLES[j2, i] * (1 - a) + SPECKLES[j2, i2] * a
    return upper * (1 - b) + lower * b


def stripes(x: np.ndarray, pixel) -> np.ndarray:
    """+1 and -1 in turn, each one unit wide; the step between them is as wide as a pixel, `pixel` units."""
    half = x * 0.5
    wave = 4 * np.abs(half - np.floor(half) - 0.5) - 1
    return np.clip(wave / np.maximum(pixel, 0.02), -1, 1) * np.clip(1.4 - pixel, 0, 1)


def linear(colour) -> tuple[float, float, float]:
    return tuple(c * c for c in colour)


def sky_colour(scene: Scene, rays, out: np.ndarray, index: np.ndarray) -> None:
    """From the horizon's colour to the zenith's, with clouds on a plane far above. Fills `out` (3, R) at `index`."""
    x, y, z = (ray[index] for ray in rays)
    length = np.sqrt(x * x + y * y + z * z)
    height = np.maximum(-y / length, 0)
    rise = height / (height + 0.16)
    zenith, horizon, light, share = scene.sky
    away = 1 / (height + 0.06)
    a, b = x / length * away + scene.offset[0], z / length * away + scene.offset[1]
    cloud = speckle(a * 0.7, b * 0.7) * 0.62 + speckle(a * 1.9, b * 1.9) * 0.26 + speckle(a * 4.3, b * 4.3) * 0.12
    cloud = np.clip((cloud - 0.78 + 0.42 * share) * 3.2, 0, 1) * np.clip(height * 5 - 0.15, 0, 1) * 0.75
    for channel in range(3):
        low, high, white = horizon[channel], zenith[channel], 0.55 * light[channel] + 0.45
        colour = low * low + (high * high - low * low) * rise
        out[channel, index] = colour + (white * white - colour) * cloud


def ground_colour(scene: Scene, points, pixel: np.ndarray) -> np.ndarray:
    """Albedo (3, R) of the ground: tiles or none, and speckles like grass or sand."""
    cos, sin = scene.ground_yaw
    a = points[0] * cos + points[1] * sin + scene.offset[0]
    b = points[1] * cos - points[0] * sin + scene.offset[1]
    shade = (speckle(a * 0.6, b * 0.6) - 0.5) * 0.20
    shade = shade + (speckle(a * 3.1, b * 3.1) - 0.5) * 0.20 * np.clip(1.2 - pixel * 3.1, 0, 1)
    shade = shade + (speckle(a * 9.7, b * 9.7) - 0.5) * 0.22 * np.clip(1.2 - pixel * 9.7, 0, 1)
    if scene.checker:
        tile = pixel / scene.tile
        shade = shade + scene.checker * stripes(a / scene.tile, tile) * stripes(b / scene.tile, tile)
    return np.stack([c * c * (1 + shade) for c in scene.ground])


def solid_colour(solid: Solid, parts: np.ndarray, uv: np.ndarray, normal: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Albedo (3, R) of an object. `normal` is in its own frame, `pixel` the width of a pixel there, metres."""
    base, second = linear(COLOURS[solid.colour]), 0.36
    u, v = uv
    around, high = 6.2832 * solid.half[0], solid.height
    if solid.kind == "crate":
        around = 2 * solid.half[0]
    if solid.kind == "figure":
        around, high = 0.75 * solid.height, 0.4 * solid.height
    columns, rows = (4, 4) if solid.kind in ("crate", "figure") else (12, 6)
    across, up = stripes(u * columns, pixel * columns / around), stripes(v * rows, pixel * rows / high)
    pattern = {"plain": np.ones_like(u), "bands": up, "stripes": across, "checks": across * up}[solid.texture]
    mix = second + (1 - second) * (0.5 + 0.5 * pattern)
    albedo = np.stack([c * mix for c in base])
    if solid.kind == "figure":
        x, y, z = normal
        dark = (parts == HEAD) & ((y < -0.55) | (z - 0.55 * y > 0.35))
        eye = (parts == HEAD) & (np.abs(np.abs(x) - 0.36) < 0.12) & (np.abs(y) < 0.14) & (z < 0)
        arm, leg = (parts == LEFT_ARM) | (parts == RIGHT_ARM), (parts == LEFT_LEG) | (parts == RIGHT_LEG)
        skin = (parts == HEAD) | (arm & (v > 0.8))
        for colour, where in ((SKIN, skin), (HAIR, dark | eye), (TROUSERS, leg), (SHOES, leg & (v > 0.88))):
            albedo[:, where] = np.array(linear(colour), np.float32)[:, None]
    return albedo


def shadow_frame(sun) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Two unit vectors that span the plane on which the sun casts shadows at a right angle."""
    x, y, z = sun
    length = sqrt(x * x + y * y)
    right = (-y / length, x / length, 0.0)
    return right, (y * right[2] - z * right[1], z * right[0] - x * right[2], x * right[1] - y * right[0])


def lit(scene: Scene, casters: tuple[Solid, ...], hits: Hits, points, solids: tuple[Solid, ...]) -> np.ndarray:
    """Share of the sun that each point sees (R,). Objects shadow the ground and one another, not themselves.

    Seen from the sun, every object is a flat shape: a disc, a convex polygon, or ten stadiums. A point's distance to
    its rim, over the width of the penumbra (which grows with the way from the object), tells how much of the sun is
    covered.
    """
    right, down = shadow_frame(scene.sun)

    def flat(x, y, z):
        return x * right[0] + y * right[1] + z * right[2], x * down[0] + y * down[1] + z * down[2]

    light = np.ones(len(hits.owner), np.float32)
    solid_points = np.isfinite(hits.depth)
    a, b = flat(*points)
    slope = sqrt(scene.sun[0] * scene.sun[0] + scene.sun[2] * scene.sun[2])  # run on the ground of one step to the sun
    for solid in casters:
        middle = (solid.x, -solid.top / 2, solid.z)
        reach = sqrt(solid.radius * solid.radius + solid.top * solid.top / 4)
        ca, cb = flat(*middle)
        near = solid_points & (np.abs(a - ca) < reach + 0.5) & (np.abs(b - cb) < reach + 0.5)
        for number, other in enumerate(solids, start=1):
            if other is solid:
                near &= hits.owner != number
        index = np.flatnonzero(near)
        x, y, z = (p[index] for p in points)
        towards = (middle[0] - x) * scene.sun[0] + (middle[1] - y) * scene.sun[1] + (middle[2] - z) * scene.sun[2]
        index, x, z = index[towards > 0], x[towards > 0], z[towards > 0]
        if not len(index):
            continue
        x, z, pa, pb = x - solid.x, z - solid.z, a[index], b[index]
        away = np.maximum(np.sqrt(x * x + z * z) - 0.8 * solid.radius, 0) / max(slope, 0.2)
        penumbra = SUN_SIZE * away + 0.02
        if solid.kind == "sphere":
            da, db = pa - ca, pb - cb
            outside = np.sqrt(da * da + db * db) - solid.half[0]
        elif solid.kind == "figure":
            outside = stadium_distance(solid, flat, pa, pb)
        else:
            outside = polygon_distance([flat(*point) for point in outline(solid)], pa, pb)
        light[index] *= np.clip(0.5 + 0.5 * outside / penumbra, 0, 1)
    return light


def stadium_distance(solid: Solid, flat, pa: np.ndarray, pb: np.ndarray) -> np.ndarray:
    """Signed distance (R,) from points to the nearest of a figure's capsules, all seen from the sun."""

    def project(point):
        x, y, z = solid.to_scene(*point)
        return flat(x + solid.x, y, z + solid.z)

    rows = [(*project(c.start), *project(c.end), c.radius) for c in solid.capsules]
    sa, sb, ea, eb, radius = np.array(rows, np.float32).T[:, :, None]  # each (C, 1)
    ea, eb = ea - sa, eb - sb
    da, db = pa - sa, pb - sb  # (C, R)
    share = np.clip((da * ea + db * eb) / np.maximum(ea * ea + eb * eb, 1e-9), 0, 1)
    da, db = da - share * ea, db - share * eb
    return (np.sqrt(da * da + db * db) - radius).min(axis=0)


def polygon_distance(points: list[tuple[float, float]], pa: np.ndarray, pb: np.ndarray) -> np.ndarray:
    """Signed distance (R,) to the convex hull of flat points: the largest distance to the line of any of its edges."""
    order = sorted(points)
    hull: list[tuple[float, float]] = []
    for way in (order, order[::-1]):  # Andrew's monotone chain: one half there, the other half back
        start = len(hull)
        for a, b in way:
            while len(hull) - start >= 2:
                (xa, xb), (ya, yb) = hull[-2], hull[-1]
                if (ya - xa) * (b - xb) - (yb - xb) * (a - xa) > 1e-9:
                    break
                hull.pop()
            hull.append((a, b))
        hull.pop()
    edges = []
    for (xa, xb), (ya, yb) in zip(hull, hull[1:] + hull[:1]):
        length = sqrt((ya - xa) * (ya - xa) + (yb - xb) * (yb - xb))
        na, nb = (yb - xb) / length, (xa - ya) / length  # outwards, as the hull runs counterclockwise
        edges.append((na, nb, na * xa + nb * xb))
    na, nb, offset = np.array(edges, np.float32).T[:, :, None]  # each (E, 1)
    return (na * pa + nb * pb - offset).max(axis=0)


def shade(scene: Scene, hits: Hits, solids: tuple[Solid, ...], size: int) -> np.ndarray:
    """Linear light (3, R), each 0..1, of what the rays see. `solids` are the owners; all of the scene cast shadows."""
    out = np.zeros((3, len(hits.owner)), np.float32)
    met = np.isfinite(hits.depth)
    sky, solid = np.flatnonzero(~met), np.flatnonzero(met)
    if len(sky):
        sky_colour(scene, hits.rays, out, sky)
    hits = hits_at(hits, solid)  # R is from here on the number of rays that meet something
    points = points_of(scene, hits)
    albedo, openness = surfaces(scene, hits, points, solids, size)
    light = np.maximum(along(hits.normal, scene.sun), 0) * lit(scene, scene.solids, hits, points, solids)
    out[:, solid] = mixed(scene, hits, albedo, openness, light)
    return np.clip(out, 0, 1)


def hits_at(hits: Hits, index: np.ndarray) -> Hits:
    rays = tuple(ray[index] for ray in hits.rays)
    return Hits(
        rays, hits.owner[index], hits.depth[index], hits.normal[:, index],
        hits.parts[index], hits.uv[:, index], hits.covers[index],
    )  # fmt: skip


def points_of(scene: Scene, hits: Hits) -> list[np.ndarray]:
    """Where the rays meet the scene: x, y, z, (R,) each, metres, y = 0 on the ground."""
    x, y, z = hits.rays
    return [hits.depth * x, hits.depth * y - scene.camera.height, hits.depth * z]


def along(vectors, direction) -> np.ndarray:
    """The product of vectors (3, R) with one direction (3,), or pair by pair with (3, R): (R,)."""
    return vectors[0] * direction[0] + vectors[1] * direction[1] + vectors[2] * direction[2]


def surfaces(
    scene: Scene, hits: Hits, points: list[np.ndarray], solids: tuple[Solid, ...], size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Albedo (3, R) of the points, and their openness (R,): how much of the sky's light reaches them, 0..1."""
    pixel = hits.depth / (scene.camera.focal * size)  # how wide a pixel is there, metres
    albedo, openness = np.zeros_like(hits.normal), np.ones_like(hits.depth)
    ground = np.flatnonzero(hits.owner == 0)
    x, z = points[0][ground], points[2][ground]
    slant = pixel[ground] * np.maximum(hits.depth[ground] / (2 * scene.camera.height), 1)  # it is seen at a slant
    albedo[:, ground] = ground_colour(scene, (x, z), slant)
    openness[ground] = ground_openness(scene, x, z)
    for number, one in enumerate(solids, start=1):
        index = np.flatnonzero(hits.owner == number)
        own = one.to_own(*hits.normal[:, index])
        albedo[:, index] = solid_colour(one, hits.parts[index], hits.uv[:, index], own, pixel[index])
        openness[index] = 0.55 + 0.45 * np.clip(-points[1][index] / (0.5 * one.height), 0, 1)
    return albedo, openness


def ground_openness(scene: Scene, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Less of the sky is seen from the ground beside an object: (R,), 0..1."""
    share = np.ones_like(x)
    for caster in scene.solids:
        dx, dz = x - caster.x, z - caster.z
        wide = caster.radius if caster.kind != "figure" else 0.25 * caster.height
        gap = np.clip(1.15 - (np.sqrt(dx * dx + dz * dz) - 0.5 * wide) / (0.9 * wide + 0.15), 0, 1)
        share = share * (1 - 0.55 * gap * gap)
    return share


def gloss(scene: Scene, hits: Hits, light: np.ndarray) -> np.ndarray:
    """The sun's reflection on objects (R,): bright where the normal halves the angle between sun and eye (Blinn)."""
    length = np.sqrt(along(hits.rays, hits.rays))
    half = [scene.sun[i] - hits.rays[i] / length for i in range(3)]
    shine = np.maximum(along(hits.normal, half), 0) / np.sqrt(along(half, half))
    for _ in range(5):
        shine = shine * shine  # to the 32nd power
    return np.where(hits.owner > 0, 0.30 * shine * light, 0)


def mixed(scene: Scene, hits: Hits, albedo: np.ndarray, openness: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Light (3, R): of the sun, of sky and ground around, the gloss, and over all of it the haze of the distance."""
    upward, shine = 0.5 - 0.5 * hits.normal[1], gloss(scene, hits, light)
    far = np.maximum(hits.depth - 4, 0)
    haze = 0.9 * far / (far + 70)
    zenith, horizon, glow, _ = scene.sky
    out = np.zeros_like(albedo)
    for channel in range(3):
        above, below = 0.34 * zenith[channel] + 0.40 * horizon[channel], scene.ground[channel]
        around = openness * (0.52 * above * upward + 0.34 * below * below * (1 - upward))
        colour = albedo[channel] * (1.2 * glow[channel] * light + around) + shine * glow[channel]
        misty = horizon[channel] * horizon[channel]
        out[channel] = colour + (misty - colour) * haze
    return out
