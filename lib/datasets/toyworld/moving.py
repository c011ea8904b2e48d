"""Clips for lesson 16: the camera moves, objects enter, leave and pass behind one another, and two figures are alike.

**The world.** A clip's world is the scene frame of its first picture, see `scene`: level axes, y = 0 on the ground, the
origin below the lens. The renderer knows only cameras above the origin. So for each picture the whole world is moved
the other way: objects, tiles, and the direction of the sun. The sky is clear, as clouds would have to turn too.
Numbers are made as `scene` demands, so that the same seed gives the same bytes on every machine.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from lib.datasets.toyworld.cache import seeded
from lib.datasets.toyworld.dataset import Clip, Sample, check_request, to_sample
from lib.datasets.toyworld.figure import random_pose, turn, walking_pose
from lib.datasets.toyworld.meshes import solid_mesh
from lib.datasets.toyworld.render import render
from lib.datasets.toyworld.scene import Camera, Scene, Solid, between, random_scene, random_solid

ROLES = {  # what a clip may hold, in the order in which a place is sought, and how often
    "screen": 0.9,  # a big crate or cylinder at rest
    "walker": 0.9,  # a small figure that passes behind the screen
    "twin": 0.75,  # a second figure in the walker's clothes
    "comer": 0.8, "goer": 0.8,  # cross the picture's edge in the middle of the clip
    "mover": 0.5, "rester": 0.6,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class MovingSample(Sample):
    """A frame of a `MovingClip`. Its truths are in its own camera frame, and a phrase may occur twice."""

    solids: tuple[Solid, ...]  # the N objects of the lists above, in this picture's scene frame
    to_world: Tensor  # (4, 4) float, from this picture's camera frame to the clip's world, metres

    @cached_property
    def meshes(self) -> list[tuple[Tensor, Tensor]]:
        """Of each object the vertices (V, 3) float, camera frame, metres, and the triangles (F, 3) int64."""
        pairs = [solid_mesh(solid, self.scene.camera) for solid in self.solids]
        return [(torch.from_numpy(vertices), torch.from_numpy(faces)) for vertices, faces in pairs]


@dataclass(frozen=True, eq=False)
class MovingClip(Clip):
    """A `Clip` whose camera moves. An object has no truths in a frame in which not one of its pixels is seen."""

    frames: tuple[MovingSample, ...]  # a track id is the object's place in the `scene.solids` of each, from 1


@dataclass(frozen=True)
class View:
    """Where the camera stands in the world, in metres, and how far it has turned about the vertical."""

    x: float
    z: float
    yaw: tuple[float, float]  # cosine and sine

    def turned(self, x: float, z: float) -> tuple[float, float]:
        """A direction of the world in this view's scene frame."""
        cos, sin = self.yaw
        return x * cos + z * sin, z * cos - x * sin

    def to_world(self, x: float, z: float) -> tuple[float, float]:
        """A point of this view's scene frame in the world."""
        cos, sin = self.yaw
        return self.x + x * cos - z * sin, self.z + z * cos + x * sin

    def to_scene(self, x: float, z: float) -> tuple[float, float]:
        """A point of the world in this view's scene frame."""
        return self.turned(x - self.x, z - self.z)

    def scene(self, world: Scene) -> Scene:
        """All of the world in this view's scene frame."""
        solids = []
        for solid in world.solids:
            x, z = self.to_scene(solid.x, solid.z)
            solids.append(replace(solid, x=x, z=z, yaw=self.turned(*solid.yaw)))
        (x, z), (cos, sin), (a, b) = self.turned(world.sun[0], world.sun[2]), world.ground_yaw, world.offset
        offset = (a + self.x * cos + self.z * sin, b + self.z * cos - self.x * sin)
        world = replace(world, sun=(x, world.sun[1], z), ground_yaw=self.turned(cos, sin), offset=offset)
        return replace(world, solids=tuple(solids))

    def matrix(self, camera: Camera) -> Tensor:
        """(4, 4) float: from the camera frame to the world."""
        (cos, sin), (c, s) = self.yaw, camera.tilt
        right, down = [cos, s * sin, -c * sin, self.x], [0.0, c, s, -camera.height]
        return torch.tensor([right, down, [sin, -s * cos, c * cos, self.z], [0.0, 0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Mover:
    """An object that goes evenly and straight through the world: `solid` at time 0, (dx, dz) metres farther at 1."""

    solid: Solid
    dx: float
    dz: float

    def at(self, time: float) -> Solid:
        """The object in the world at that time; a figure that walks looks ahead."""
        solid, far = self.solid, sqrt(self.dx * self.dx + self.dz * self.dz)
        x, z = solid.x + self.dx * time, solid.z + self.dz * time
        if not solid.pose or far == 0:
            return replace(solid, x=x, z=z)
        steps = (x * self.dx + z * self.dz) / far / (0.72 * solid.height)  # by where it is, so that feet do not slide
        return replace(solid, x=x, z=z, yaw=(-self.dz / far, self.dx / far), pose=walking_pose(solid.pose, steps, 1.0))

    @cached_property
    def reach(self) -> float:
        """Nothing of it is ever farther from the upright line through its middle, metres."""
        if not self.solid.pose:
            return self.solid.radius
        poses = [self.solid.pose, walking_pose(self.solid.pose, 0.0, 1.0), walking_pose(self.solid.pose, 0.5, 1.0)]
        return max(replace(self.solid, pose=pose).radius for pose in poses)

    def keeps_from(self, other: "Mover") -> bool:
        """Whether the two stay 10 cm apart. Both go evenly, so the moment when they are nearest is known."""
        x, z = self.solid.x - other.solid.x, self.solid.z - other.solid.z
        dx, dz = self.dx - other.dx, self.dz - other.dz
        speed = dx * dx + dz * dz
        time = min(max(-(x * dx + z * dz) / speed, 0.0), 1.0) if speed > 0 else 0.0
        x, z, reach = x + time * dx, z + time * dz, self.reach + other.reach + 0.1
        return x * x + z * z > reach * reach

    def in_front(self, view: View, time: float) -> bool:
        """Whether it is ahead of the lens, and far enough to be no taller than the picture."""
        _, z = view.to_scene(self.solid.x + self.dx * time, self.solid.z + self.dz * time)
        return z - self.reach > max(1.0, 1.3 * self.solid.height)


def drawn(rng: np.random.Generator, camera: Camera, size: str, kinds: tuple[str, ...]) -> Solid:
    """A random object of that size and of one of the kinds."""
    while True:
        solid = random_solid(rng, camera)
        if solid.size == size and solid.kind in kinds:
            return solid


def candidate(rng: np.random.Generator, role: str, camera: Camera, view: View, moment: float, placed: dict) -> Mover:
    """An object for a role: where it is at `moment`, when the camera is at `view`, and how it goes."""
    side = 1.0 if rng.random() < 0.5 else -1.0
    dx, dz = side * between(rng, 2.4, 3.6), between(rng, -0.8, 0.8)
    solid = random_solid(rng, camera)
    x, z = solid.x, solid.z
    if role == "screen":
        solid, z = drawn(rng, camera, "big", ("crate", "cylinder")), between(rng, 4.0, 6.0)
        x = between(rng, -0.28, 0.28) * z
    elif role == "walker":
        solid, dx = drawn(rng, camera, "small", ("figure",)), side * between(rng, 3.2, 4.0)
        solid = replace(solid, pose=replace(solid.pose, lift=(0.15, 0.15)))  # arms down
        if "screen" in placed:
            screen = placed["screen"]
            x, z = view.to_scene(screen.solid.x, screen.solid.z)
            away = 1 + (screen.reach + between(rng, 0.6, 1.0)) / z
            x, z = x * away, z * away  # behind it, on the same ray
    elif role == "twin" and "walker" in placed:
        solid = replace(placed["walker"].solid, yaw=solid.yaw, pose=random_pose(rng))
    elif role in ("comer", "goer"):
        x = (-side if role == "comer" else side) * 0.5 * z / camera.focal  # on the picture's edge
    if role in ("screen", "rester") or (role in ("twin", "mover") and rng.random() < 0.3):
        dx = dz = 0.0
    x, z = view.to_world(x, z)
    return Mover(replace(solid, x=x - dx * moment, z=z - dz * moment), dx, dz)


def random_moving_clip(rng: np.random.Generator, length: int) -> tuple[tuple[View, Scene], ...]:
    """For each frame where the camera is, and the scene before it.

    For each role up to 40 objects are tried; the first that keeps from all others and stays in front of the camera is
    taken. Eight frames show all that happens, more frames the same more slowly, fewer its beginning.
    """
    scene = random_scene(rng)
    placed: dict[str, Mover] = {}
    camera = replace(scene.camera, height=between(rng, 1.3, 1.6))  # low, so that objects hide one another
    across, ahead, rate = between(rng, -0.9, 0.9), between(rng, 0.2, 1.8), between(rng, -0.08, 0.08)

    def view_at(time: float) -> View:
        return View(across * time, ahead * time, turn(rate * time))

    for role, chance in ROLES.items():
        for _ in range(40 if rng.random() < chance else 0):
            moment = between(rng, 0.4, 0.6)
            new = candidate(rng, role, camera, view_at(moment), moment, placed)
            ahead_of_lens = all(new.in_front(view_at(step / 16), step / 16) for step in range(17))
            if ahead_of_lens and all(map(new.keeps_from, placed.values())):
                placed[role] = new
                break
    world = replace(scene, camera=camera, sky=(*scene.sky[:3], -1.0))  # a share of cloud at which there are none
    times = [frame / max(length - 1, 7) for frame in range(length)]
    moments = [replace(world, solids=tuple(one.at(time) for one in placed.values())) for time in times]
    return tuple((view_at(time), view_at(time).scene(moment)) for time, moment in zip(times, moments))


def moving_clip(index: int = 0, split: str = "train", length: int = 8, size: int = 96) -> MovingClip:
    """Moving clip number `index` of a split: `length` frames of size x size pixels, rendered when asked for.

    Splits share no clip. Raises ValueError for an unknown split and for an index, length or size out of range.
    """
    check_request(split, length, size)
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise ValueError(f"index: got {index!r}, expected a whole number from 0")
    frames, track_ids = [], []
    for view, scene in random_moving_clip(seeded(split, index, 2, 0), length):  # stills draw with 0, clips with 1
        rendering = render(scene, size, drop=False)
        sample, to_world = to_sample(rendering, scene), view.matrix(scene.camera)
        frames.append(MovingSample(**vars(sample), solids=rendering.solids, to_world=to_world))
        track_ids.append(torch.tensor([scene.solids.index(one) + 1 for one in rendering.solids], dtype=torch.int64))
    return MovingClip(tuple(frames), tuple(track_ids))
