"""Clips: the same numbers for the same objects, smooth motion, and nothing inside anything else, stills included."""

import numpy as np
import pytest
import torch

from lib.datasets.toyworld import SPLITS, toyworld_clip
from lib.datasets.toyworld.cache import seeded
from lib.datasets.toyworld.meshes import own_mesh
from lib.datasets.toyworld.scene import random_clip, random_scene


@pytest.fixture(scope="module")
def clips():
    return [toyworld_clip(index, "val", length=6, size=64) for index in range(5)]


def inside(solid, points):
    """Which points (P, 3) of the scene are inside a solid."""
    x, y, z = solid.to_own(points[:, 0] - solid.x, points[:, 1], points[:, 2] - solid.z)
    wide, half, thick = solid.half
    if solid.kind == "sphere":
        return (points[:, 0] - solid.x) ** 2 + (points[:, 1] + half) ** 2 + (points[:, 2] - solid.z) ** 2 < wide**2
    if solid.kind == "crate":
        return (abs(x) < wide) & (abs(y + half) < half) & (abs(z) < thick)
    if solid.kind in ("cylinder", "cone"):
        reach = wide if solid.kind == "cylinder" else wide * (1 + y / solid.height)
        return (y < 0) & (y > -solid.height) & (np.sqrt(x * x + z * z) < reach)
    hit = np.zeros(len(points), bool)
    for capsule in solid.capsules:
        start, end = np.array(capsule.start), np.array(capsule.end)
        p = np.stack([x, y, z], 1) - start
        share = np.clip(p @ (end - start) / ((end - start) @ (end - start)), 0, 1)
        hit |= np.linalg.norm(p - share[:, None] * (end - start), axis=1) < capsule.radius
    return hit


def corners_of(solid):
    corners, _ = own_mesh(solid)
    x, y, z = solid.to_scene(*corners.T)
    lift = -solid.half[1] if solid.kind == "sphere" else 0.0
    return np.stack([x + solid.x, y + lift, z + solid.z], 1)


def assert_apart(scene):
    corners = [corners_of(solid) for solid in scene.solids]
    for i, solid in enumerate(scene.solids):
        shrunk = corners[i] * 0.999 + corners[i].mean(0) * 0.001
        if solid.kind != "figure":
            assert inside(solid, shrunk).all()  # the test itself can see
        for j in range(len(corners)):
            if i != j:
                assert not inside(solid, corners[j]).any()
        assert np.sqrt((corners[i][:, [0, 2]] - (solid.x, solid.z)) ** 2 @ np.ones(2)).max() <= solid.radius + 1e-9
        assert -1e-9 <= -corners[i][:, 1].max() < 0.05 and -corners[i][:, 1].min() <= solid.top + 1e-9


def test_objects_are_never_inside_one_another():
    for index in range(120):
        assert_apart(random_scene(seeded("train", index, 0, 0)))
    for index in range(12):
        for scene in random_clip(seeded("train", index, 1, 0), 9):
            assert_apart(scene)


def test_track_ids_are_steady(clips):
    for clip in clips:
        names = {}
        assert len(clip.frames) == len(clip.track_ids) == 6
        assert clip.track_ids[0].tolist() == list(range(1, len(clip.frames[0].labels) + 1))
        for frame, ids in zip(clip.frames, clip.track_ids):
            assert len(ids) == len(frame.labels) == len(set(ids.tolist()))
            for number, phrase in zip(ids.tolist(), frame.phrases):
                assert names.setdefault(number, phrase) == phrase


def test_truths_hold_in_clips_too(clips):
    for clip in clips:
        for frame in clip.frames:
            numbers = torch.arange(1, len(frame.labels) + 1)[:, None, None]
            assert torch.equal((frame.masks * numbers).sum(0), frame.instance)
            assert frame.masks.any(2).any(1).all() and not (frame.masks & ~frame.amodal_masks).any()
            assert torch.equal(frame.parts > 0, frame.instance > 0)
            assert len(frame.meshes) == len(frame.labels)


def test_the_camera_rests_and_things_move_smoothly(clips):
    moved = 0
    for clip in clips:
        first = clip.frames[0]
        for before, after in zip(clip.frames, clip.frames[1:]):
            still = (before.instance == 0) & (after.instance == 0)
            assert torch.equal(before.depth[still], after.depth[still])
        starts = {solid.phrase: solid for solid in first.scene.solids}
        for before, after in zip(clip.frames, clip.frames[1:]):
            for a, b in zip(before.scene.solids, after.scene.solids):
                assert a.phrase == b.phrase
                assert (a.x - b.x) ** 2 + (a.z - b.z) ** 2 < 0.8**2  # metres a frame, in a short clip
                u, v = after.scene.camera.project(b.x, -b.height / 2, b.z)
                assert 0 < u < 1 and 0 < v < 1
        moved += sum(abs(solid.x - starts[solid.phrase].x) > 0.3 for solid in clip.frames[-1].scene.solids)
    assert moved >= 5


def test_a_hidden_object_comes_back_under_its_number():
    found = 0
    for index in range(12):
        clip = toyworld_clip(index, "train", length=10, size=32)
        sets = [set(ids.tolist()) for ids in clip.track_ids]
        found += any(sets[0] - ids for ids in sets)
        assert all(ids <= sets[0] for ids in sets)
    assert found >= 1  # otherwise this test has seen nothing


def test_clips_are_the_same_twice_and_differ():
    one, two = toyworld_clip(4, "test", 3, 48), toyworld_clip(4, "test", 3, 48)
    assert all(torch.equal(a.image, b.image) for a, b in zip(one.frames, two.frames))
    firsts = [toyworld_clip(4, split, 1, 48).frames[0].image for split in SPLITS]
    assert not torch.equal(firsts[0], firsts[1]) and not torch.equal(firsts[1], firsts[2])


@pytest.mark.parametrize("request_, name", [
    ({"index": -1}, "index"), ({"index": 1.5}, "index"), ({"split": "all"}, "split"), ({"length": 0}, "length"),
    ({"size": 4}, "size"),
])  # fmt: skip
def test_bad_requests_name_the_argument(request_, name):
    with pytest.raises(ValueError, match=name):
        toyworld_clip(**request_)
