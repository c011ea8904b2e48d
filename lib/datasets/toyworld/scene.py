"""What stands where in a toyworld picture: camera, light, ground, and one to six objects drawn at random.

**The one coordinate convention.** Right-handed, x to the right, y *down*, z *forward*, in metres. The *camera frame*
has its origin in the lens: with a focal length of f pixels, a point (X, Y, Z) falls on column f X / Z + size / 2 and
row f Y / Z + size / 2, where pixel (row r, column c) covers the square from (c, r) to (c + 1, r + 1). The *scene frame*
has the same axes made level, with its origin on the ground below the lens: the ground is y = 0, and what stands on it
has negative y.

**Same seed, same bytes, on every machine.** The C library's sin or exp, a matrix product and a vectorised sum round
differently from one processor to the next, and one bit is enough to flip a pixel at an edge. So whatever reaches a
pixel or a truth is made of the operations that IEEE 754 rounds in one way only: + - * / and square roots, one at a
time, comparisons and floor. Angles are given by the tangent t of their half, from which cos = (1 - t^2) / (1 + t^2)
and sin = 2t / (1 + t^2) follow without trigonometry; dot products are written out; other functions are short
polynomials of our own. Random numbers come from PCG64 as `rng.random()` and `rng.integers()`, both pure integer
arithmetic.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import sqrt

import numpy as np

from lib.datasets.toyworld.figure import Capsule, Pose, figure_capsules, random_pose, turn, walking_pose

CLASSES = ("sphere", "crate", "cylinder", "cone", "figure")  # label 1 is a sphere, label 5 a figure; 0 is background
SIZES = ("small", "big")
COLOURS = {
    "red": (0.86, 0.14, 0.13), "orange": (0.96, 0.49, 0.08), "yellow": (0.97, 0.83, 0.13), "green": (0.16, 0.62, 0.24),
    "blue": (0.13, 0.36, 0.86), "purple": (0.50, 0.20, 0.76), "pink": (0.97, 0.50, 0.68), "white": (0.94, 0.94, 0.92),
}  # fmt: skip
TEXTURES = ("plain", "bands", "stripes", "checks")
MAX_OBJECTS = 6

# What a picture's mood is made of: sky at the zenith, sky at the horizon, colour of the sunlight, share of cloud.
SKIES = (
    ((0.22, 0.48, 0.84), (0.80, 0.90, 0.97), (1.00, 0.95, 0.86), 0.55),  # fair day
    ((0.16, 0.40, 0.72), (0.72, 0.89, 0.90), (1.00, 0.96, 0.88), 0.25),  # clear and a little teal
    ((0.36, 0.50, 0.78), (0.99, 0.81, 0.66), (1.00, 0.85, 0.68), 0.45),  # late afternoon
    ((0.46, 0.46, 0.74), (0.98, 0.75, 0.76), (1.00, 0.84, 0.76), 0.50),  # dawn
    ((0.58, 0.64, 0.72), (0.86, 0.88, 0.90), (0.92, 0.92, 0.92), 0.90),  # overcast
)
GROUNDS = (
    (0.40, 0.58, 0.26), (0.30, 0.52, 0.36), (0.72, 0.60, 0.42), (0.44, 0.52, 0.62), (0.58, 0.42, 0.35),
    (0.66, 0.64, 0.60), (0.54, 0.56, 0.34),
)  # fmt: skip


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A uniform draw. `rng.uniform` may fuse its product and sum on some processors; two separate steps may not."""
    return low + (high - low) * rng.random()


def pick(rng: np.random.Generator, options: tuple):
    """One of the options, all equally likely."""
    return options[int(rng.integers(len(options)))]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera `height` metres above the ground, looking forward and a little down."""

    height: float
    tilt: tuple[float, float]  # cosine and sine of the angle by which it looks down
    focal: float  # focal length in units of the image's side: 1.0 sees 53 degrees

    def to_camera(self, x, y, z):
        """Scene frame to camera frame, for numbers or arrays."""
        cos, sin = self.tilt
        return x, (y + self.height) * cos - z * sin, (y + self.height) * sin + z * cos

    def rotate_to_camera(self, x, y, z):
        """The same for directions, which do not move with the lens."""
        cos, sin = self.tilt
        return x, y * cos - z * sin, y * sin + z * cos

    def rays(self, u, v):
        """Directions in the scene frame through image points u, v in 0..1; one step along a ray is 1 m of depth."""
        cos, sin = self.tilt
        x, y = (u - 0.5) / self.focal, (v - 0.5) / self.focal
        return x, y * cos + sin, cos - y * sin

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Image point of a scene point, as fractions of the image's side."""
        x, y, z = self.to_camera(x, y, z)
        return 0.5 + self.focal * x / z, 0.5 + self.focal * y / z


@dataclass(frozen=True)
class Solid:
    """One object. It stands on the ground at (x, z); `radius` and `top` bound it as an upright tin would."""

    kind: str  # one of CLASSES
    colour: str  # one of COLOURS
    size: str  # one of SIZES
    x: float
    z: float
    yaw: tuple[float, float]  # cosine and sine of its turn about the vertical
    tilt: tuple[float, float]  # a sphere's pole leans, so that its pattern is seen from anywhere
    half: tuple[float, float, float]  # half its width, height and thickness before the turn, metres
    texture: str  # one of TEXTURES
    pose: Pose | None = field(default=None)

    @property
    def phrase(self) -> str:
        return f"{self.size} {self.colour} {self.kind}"

    @property
    def height(self) -> float:
        """Metres; of a figure without its raised arms."""
        return 2 * self.half[1]

    @cached_property
    def top(self) -> float:
        """Nothing of the object is higher above the ground than this, metres."""
        return max([self.height] + [c.radius - min(c.start[1], c.end[1]) for c in self.capsules])

    @cached_property
    def capsules(self) -> tuple[Capsule, ...]:
        """The limbs of a figure in its own frame; nothing for the others."""
        return figure_capsules(self.pose, self.height) if self.pose else ()

    @cached_property
    def radius(self) -> float:
        """Nothing of the object is farther than this from the upright line through its middle, metres."""
        if self.kind == "crate":
            return sqrt(self.half[0] * self.half[0] + self.half[2] * self.half[2])
        if self.kind == "figure":
            return max(sqrt(x * x + z * z) + c.radius for c in self.capsules for x, _, z in (c.start, c.end))
        return self.half[0]

    @cached_property
    def rotation(self) -> tuple[tuple[float, float, float], ...]:
        """Rows of the rotation from the scene frame to the object's own: about the vertical, then the lean."""
        (cos, sin), (c, s) = self.yaw, self.tilt
        return (cos, 0.0, sin), (-s * -sin, c, -s * cos), (c * -sin, s, c * cos)

    def to_own(self, x, y, z):
        """Rotate a scene direction into the object's own frame."""
        return tuple(x * row[0] + y * row[1] + z * row[2] for row in self.rotation)

    def to_scene(self, x, y, z):
        """Rotate a direction of the object's own frame back into the scene."""
        a, b, c = self.rotation
        return tuple(x * a[i] + y * b[i] + z * c[i] for i in range(3))


@dataclass(frozen=True)
class Scene:
    """Everything that the renderer needs to know."""

    camera: Camera
    sun: tuple[float, float, float]  # unit vector towards the sun, scene frame
    sky: tuple  # one of SKIES
    ground: tuple[float, float, float]
    checker: float  # how much darker every other tile of the ground is; 0 for a plain one
    tile: float  # side of a tile, metres
    ground_yaw: tuple[float, float]
    offset: tuple[float, float]  # shifts tiles, clouds and speckles
    solids: tuple[Solid, ...]


def random_yaw(rng: np.random.Generator) -> tuple[float, float]:
    """Cosine and sine of a turn anywhere in the circle: some quarter turns and up to 45 degrees more."""
    cos, sin = turn(between(rng, -0.4142, 0.4142))
    for _ in range(int(rng.integers(4))):
        cos, sin = -sin, cos
    return cos, sin


def random_solid(rng: np.random.Generator, camera: Camera) -> Solid:
    """One object somewhere in front of the camera, not yet checked against the others."""
    kind, colour, size = pick(rng, CLASSES), pick(rng, tuple(COLOURS)), pick(rng, SIZES)
    height = between(rng, 0.84, 1.10) if size == "small" else between(rng, 1.50, 1.90)
    height = height * {"sphere": 0.95, "crate": 0.90, "cylinder": 1.05, "cone": 1.2, "figure": 1.35}[kind]
    width = {"crate": between(rng, 0.40, 0.60), "cylinder": between(rng, 0.28, 0.42), "cone": between(rng, 0.36, 0.50)}
    half_width = height * width.get(kind, 0.5)
    half_depth = half_width * between(rng, 0.75, 1.25) if kind == "crate" else half_width
    distance = between(rng, 0.0, 1.0)
    distance = 3.5 + 6.5 * distance * (0.35 + 0.65 * distance)
    across = between(rng, -0.44, 0.44)
    pose = random_pose(rng) if kind == "figure" else None
    yaw = random_yaw(rng)
    if kind == "figure" and rng.random() < 0.6:  # most people look roughly at the camera
        yaw = turn(between(rng, -0.35, 0.35))
    tilt = turn(between(rng, -0.45, 0.45)) if kind == "sphere" else (1.0, 0.0)
    half = (half_width, height / 2, half_depth)
    texture = TEXTURES[max(0, int(rng.integers(-1, len(TEXTURES))))]
    return Solid(kind, colour, size, across * distance / camera.focal, distance, yaw, tilt, half, texture, pose)


def apart(one: Solid, other: Solid) -> bool:
    """Whether two objects keep 10 cm between the tins that bound them: then neither can be inside the other."""
    dx, dz, reach = one.x - other.x, one.z - other.z, one.radius + other.radius + 0.1
    return dx * dx + dz * dz > reach * reach


def in_view(solid: Solid, camera: Camera) -> bool:
    """Whether the middle of an object is well inside the picture and its whole not larger than a picture can hold."""
    u, v = camera.project(solid.x, -solid.height / 2, solid.z)
    near = solid.z - solid.radius
    tall = camera.focal * solid.top / near if near > 0.5 else 9.0
    return 0.07 < u < 0.93 and 0.05 < v < 0.92 and tall < 0.72 and near > 1.5


def random_scene(rng: np.random.Generator) -> Scene:
    """A scene with one to six objects that stand apart, are in view, and have phrases of their own."""
    camera = Camera(between(rng, 1.5, 2.5), turn(between(rng, 0.05, 0.12)), between(rng, 0.95, 1.12))
    side = between(rng, 0.55, 1.0) * (1 if rng.random() < 0.5 else -1)
    sun = (side, between(rng, -0.85, -0.5), between(rng, -0.6, 0.2))
    length = sqrt(sun[0] * sun[0] + sun[1] * sun[1] + sun[2] * sun[2])
    sun = (sun[0] / length, sun[1] / length, sun[2] / length)
    sky, ground = pick(rng, SKIES), pick(rng, GROUNDS)
    shade = between(rng, 0.9, 1.08)
    ground = (ground[0] * shade, ground[1] * shade, ground[2] * shade)
    checker = between(rng, 0.10, 0.26) if rng.random() < 0.6 else 0.0
    tile, ground_yaw = between(rng, 0.9, 1.8), turn(between(rng, -0.4142, 0.4142))
    offset = (between(rng, 0.0, 64.0), between(rng, 0.0, 64.0))
    wanted, solids, phrases = 1 + int(rng.integers(MAX_OBJECTS)), [], set()
    for _ in range(60):
        new = random_solid(rng, camera)
        if new.phrase not in phrases and in_view(new, camera) and all(apart(new, old) for old in solids):
            solids.append(new)
            phrases.add(new.phrase)
        if len(solids) == wanted:
            break
    return Scene(camera, sun, sky, ground, checker, tile, ground_yaw, offset, tuple(solids))


def moved(solid: Solid, dx: float, dz: float, spin: float, time: float, length: int) -> Solid:
    """The object at `time` in 0..1 of its way: it starts gently, goes (dx, dz) metres and turns, and stops gently."""
    way = time * time * (3 - 2 * time)
    (cos, sin), (c, s) = solid.yaw, turn(spin * way)
    yaw, pose = (cos * c - sin * s, sin * c + cos * s), solid.pose
    far = sqrt(dx * dx + dz * dz)
    if solid.pose and far > 0:  # a figure looks where it goes, and its legs swing; its own front is its -z
        yaw = (-dz / far, dx / far)
        pose = walking_pose(solid.pose, time * length / 8, way * (1 - way) * 4)
    return replace(solid, x=solid.x + dx * way, z=solid.z + dz * way, yaw=yaw, pose=pose)


def random_clip(rng: np.random.Generator, length: int) -> tuple[Scene, ...]:
    """One scene a frame. The camera rests, objects move smoothly, stay apart at each moment, and keep in view.

    Each object in turn is offered up to 30 ways to go; one that meets no other at any of four moments a frame and
    leaves its middle in the picture is taken. An object that finds none stays where it is and turns.
    """
    scene = random_scene(rng)
    steps = 4 * (length - 1)
    times = [step / steps for step in range(steps + 1)] if steps else [0.0]
    resting = {solid.phrase: [solid] * len(times) for solid in scene.solids}
    for solid in scene.solids:
        others = [way for phrase, way in resting.items() if phrase != solid.phrase]
        for attempt in range(30):
            reach = 3.0 * (1 - attempt / 30) * min(1.0, length / 12)
            dx, dz = between(rng, -reach, reach), between(rng, -reach, reach)
            spin = between(rng, -0.5, 0.5)
            way = [moved(solid, dx, dz, spin, time, length) for time in times]
            free = all(apart(a, b) for other in others for a, b in zip(way, other))
            if free and all(in_view(moment, scene.camera) for moment in way):
                resting[solid.phrase] = way
                break
    ways = resting.values()
    return tuple(replace(scene, solids=tuple(way[step] for way in ways)) for step in range(0, len(times), 4))
