"""The people of toyworld: ten capsules, six body parts, and a pose."""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

# Number of each body part in `parts`, as DensePose numbers its charts from 1; 0 is no part at all.
HEAD, TORSO, LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG = 1, 2, 3, 4, 5, 6


def turn(t: float) -> tuple[float, float]:
    """Cosine and sine of the angle whose half has the tangent t: 0 is none, 0.4142 is 45, 1 is 90 degrees."""
    return (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)


@dataclass(frozen=True)
class Capsule:
    """All points within `radius` of a segment, in the figure's own frame: its front is -z, its left hand is at +x."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius: float
    part: int  # which of the six body parts it belongs to
    chart: tuple[float, float]  # the stretch of the part's v that it covers, from its start to its end

    @property
    def length(self) -> float:
        """From the middle of one end to the middle of the other, metres."""
        x, y, z = (self.end[i] - self.start[i] for i in range(3))
        return sqrt(x * x + y * y + z * z)


@dataclass(frozen=True)
class Pose:
    """Half-angle tangents of the joints (see `turn`)."""

    lift: tuple[float, float]  # left and right upper arm, from hanging down (0) over sideways (1) to up
    bend: tuple[float, float]  # left and right elbow
    stride: float  # how far the left leg and the right arm are in front


def random_pose(rng: np.random.Generator) -> Pose:
    """Arms that hang, point, wave or cheer, and a small step."""
    lift, bend = [], []
    for _ in range(2):
        mood = int(rng.integers(4))
        low, high = ((0.08, 0.25), (0.08, 0.25), (0.7, 1.1), (1.6, 3.0))[mood]
        lift.append(low + (high - low) * rng.random())
        bend.append(0.05 + 0.45 * rng.random())
    return Pose((lift[0], lift[1]), (bend[0], bend[1]), -0.16 + 0.32 * rng.random())


def walking_pose(pose: Pose, phase: float, vigour: float) -> Pose:
    """The pose of a figure that walks: `phase` counts double steps, `vigour` 0..1 says how wide they are."""
    phase = phase - phase // 1
    swing = 4 * abs(phase - 0.5) - 1  # a triangle wave, -1..1 ...
    swing = swing * (1.5 - 0.5 * swing * swing)  # ... with its corners rounded
    return replace(pose, stride=pose.stride + (0.22 * swing - pose.stride) * vigour)


def limb(start, side: float, sideways, forward, length: float):
    """The end of a limb: it hangs down, is lifted sideways, then swung forward; both turns as (cosine, sine)."""
    x, y = side * sideways[1], sideways[0]
    y, z = y * forward[0], -y * forward[1]
    return start[0] + length * x, start[1] + length * y, start[2] + length * z


def figure_capsules(pose: Pose, height: float) -> tuple[Capsule, ...]:
    """The ten capsules of a figure in that pose, standing with its lowest point on y = 0, metres."""
    parts = [
        ((0.0, -0.885, 0.0), (0.0, -0.88, 0.0), 0.115, HEAD, (0.0, 1.0)),
        ((0.0, -0.69, 0.0), (0.0, -0.52, 0.0), 0.12, TORSO, (0.0, 1.0)),
    ]
    for side, arm, leg, index in ((1.0, LEFT_ARM, LEFT_LEG, 0), (-1.0, RIGHT_ARM, RIGHT_LEG, 1)):
        step = pose.stride * side
        swing = turn(-0.8 * step)  # each arm swings against the leg of its side
        cos, sin = turn(pose.lift[index])
        c, s = turn(pose.bend[index])
        shoulder = (side * 0.135, -0.73, 0.0)
        elbow = limb(shoulder, side, (cos, sin), swing, 0.17)
        hand = limb(elbow, side, (cos * c - sin * s, sin * c + cos * s), swing, 0.17)
        parts += [(shoulder, elbow, 0.052, arm, (0.0, 0.5)), (elbow, hand, 0.047, arm, (0.5, 1.0))]
        hip = (side * 0.065, -0.48, 0.0)
        knee = limb(hip, side, turn(0.05), turn(step), 0.215)
        foot = limb(knee, side, turn(0.02), turn(step - 0.5 * abs(step)), 0.21)
        parts += [(hip, knee, 0.066, leg, (0.0, 0.5)), (knee, foot, 0.056, leg, (0.5, 1.0))]
    ground = max(max(start[1], end[1]) + radius for start, end, radius, _, _ in parts)

    def place(point):
        return point[0] * height, (point[1] - ground) * height, point[2] * height

    return tuple(Capsule(place(a), place(b), r * height, part, chart) for a, b, r, part, chart in parts)


def capsule_axes(capsule: Capsule) -> tuple[tuple[float, float, float], ...]:
    """Three unit vectors: along the capsule, and two across it from which its u is counted; a right-handed set."""
    ax, ay, az = (capsule.end[i] - capsule.start[i] for i in range(3))
    ax, ay, az = ax / capsule.length, ay / capsule.length, az / capsule.length
    fx, fy, fz = (0.0, 0.0, -1.0) if abs(az) < 0.9 else (0.0, 1.0, 0.0)  # u starts behind, so no seam is in front
    along = fx * ax + fy * ay + fz * az
    fx, fy, fz = fx - along * ax, fy - along * ay, fz - along * az
    length = sqrt(fx * fx + fy * fy + fz * fz)
    front = (fx / length, fy / length, fz / length)
    axis = (ax, ay, az)
    across = tuple(axis[i - 2] * front[i - 1] - axis[i - 1] * front[i - 2] for i in range(3))
    return axis, front, across
