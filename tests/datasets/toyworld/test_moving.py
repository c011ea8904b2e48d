"""Moving clips: one world seen from a camera that moves, and in it what makes tracking hard."""

import hashlib
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample

from lib.datasets.toyworld import CLASSES, SPLITS, toyworld_clip
from lib.datasets.toyworld.cache import seeded
from lib.datasets.toyworld.dataset import to_sample
from lib.datasets.toyworld.moving import moving_clip, random_moving_clip
from lib.datasets.toyworld.render import render
from lib.datasets.toyworld.scene import MAX_OBJECTS, apart

# Pictures and truths of some clips. A change here means that every number in the lessons may have to be run again.
PINNED = {
    "train": "6779632658d083c7683fa4fb",
    "val": "c5cad781885f921e11e90bb6",
    "test": "ba4bae2d4274fa3d510dfbab",
}
PINNED_AT_REST = "2ff2b4c79f46962c9ac8d544"  # of a clip whose camera rests


@pytest.fixture(scope="module")
def clips():
    return [moving_clip(index, "val") for index in range(12)]


@pytest.fixture(scope="module")
def many():
    return [moving_clip(index, "train", size=48) for index in range(40)]


def fingerprint(clip):
    digest = hashlib.blake2b(digest_size=12)
    for frame in clip.frames:
        for name in ("image", "panoptic", "amodal_masks", "depth", "normals", "parts", "uv"):
            digest.update(getattr(frame, name).numpy().tobytes())
    for ids in clip.track_ids:
        digest.update(ids.numpy().tobytes())
    return digest.hexdigest()


def pairs(clips):
    """Each frame with the next."""
    return [pair for clip in clips for pair in zip(clip.frames, clip.frames[1:])]


def resting(clip):
    """Track ids of the objects that stand still in the world."""
    first, last = (world_places(clip.frames[frame]) for frame in (0, -1))
    return [number + 1 for number in range(len(first)) if (first[number] - last[number]).norm() < 1e-4]


def world_places(frame):
    """Feet of all objects, (N, 3): from the scene frame to the camera frame, and from there to the world."""
    feet = [frame.scene.camera.to_camera(solid.x, 0.0, solid.z) for solid in frame.scene.solids]
    return torch.tensor([(*foot, 1.0) for foot in feet]).reshape(-1, 4) @ frame.to_world.T[:, :3]


def reproject(before, after):
    """Where the surface at each pixel of `before` falls in `after`: column, row, depth (H, W); rubbish in the sky."""
    height, width = before.depth.shape
    line = torch.arange(width) + 0.5
    pixels = torch.stack([line.expand(height, width), line[:, None].expand(height, width), torch.ones(height, width)])
    points = torch.einsum("ij,jhw->ihw", torch.linalg.inv(before.intrinsics), pixels) * before.depth.clamp(max=1e4)
    points = torch.cat([points, torch.ones(1, height, width)])
    points = torch.einsum("ij,jhw->ihw", torch.linalg.inv(after.to_world) @ before.to_world, points)[:3]
    x, y, z = torch.einsum("ij,jhw->ihw", after.intrinsics, points)
    return x / z, y / z, z


def sampled(maps, column, row):
    """Maps (C, H, W) between their pixels, at (H, W) columns and rows."""
    height, width = maps.shape[1:]
    grid = torch.stack([2 * column / width - 1, 2 * row / height - 1], dim=-1)
    return grid_sample(maps[None], grid[None], align_corners=False)[0]


def inside(column, row, size, margin=1):
    return (column > margin) & (column < size - margin) & (row > margin) & (row < size - margin)


def test_bytes_are_the_ones_we_know():
    assert {split: fingerprint(moving_clip(3, split, 8, 48)) for split in SPLITS} == PINNED


def test_clips_of_a_camera_at_rest_are_the_ones_they_were():
    assert fingerprint(toyworld_clip(3, "val", 6, 48)) == PINNED_AT_REST


def test_clips_are_the_same_twice_and_no_two_are_alike():
    assert fingerprint(moving_clip(5, "val", 3, 32)) == fingerprint(moving_clip(5, "val", 3, 32))
    firsts = [moving_clip(index, split, 1, 32).frames[0] for split in SPLITS for index in range(8)]
    assert len({frame.image.numpy().tobytes() for frame in firsts}) == 3 * 8


def test_a_short_clip_is_the_beginning_and_a_long_one_is_slower():
    eight, three, fifteen = (moving_clip(2, "train", length, 32) for length in (8, 3, 15))
    for one, two in zip(three.frames, eight.frames):
        assert torch.equal(one.image, two.image) and torch.equal(one.to_world, two.to_world)
    for one, two in zip(fifteen.frames[::2], eight.frames):
        assert torch.equal(one.image, two.image)


def test_track_ids_are_steady(clips):
    for clip in clips:
        looks = {}
        assert len(clip.frames) == len(clip.track_ids) == 8
        for frame, ids in zip(clip.frames, clip.track_ids):
            assert ids.dtype == torch.int64 and len(ids) == len(frame.labels) == len(set(ids.tolist()))
            for number, solid, label in zip(ids.tolist(), frame.solids, frame.labels.tolist()):
                assert frame.scene.solids[number - 1] is solid and CLASSES[label - 1] == solid.kind
                look = (solid.phrase, solid.texture, solid.half)
                assert looks.setdefault(number, look) == look
            assert frame.phrases == tuple(solid.phrase for solid in frame.solids)


def test_truths_hold_in_each_frame(clips):
    for clip in clips:
        for frame in clip.frames:
            numbers = torch.arange(1, len(frame.labels) + 1)[:, None, None]
            assert torch.equal((frame.masks * numbers).sum(0), frame.instance)
            assert frame.masks.any(2).any(1).all() and not (frame.masks & ~frame.amodal_masks).any()
            assert torch.equal(frame.semantic == 0, frame.depth.isinf())
            assert len(frame.labels) <= len(frame.scene.solids) <= MAX_OBJECTS + 1


def test_meshes_are_where_the_masks_are_of_figures_alike_too(clips):
    compared = alike = 0
    for clip in clips:
        frame = clip.frames[4]
        alike += len(set(frame.phrases)) < len(frame.phrases)
        for (vertices, _), mask in zip(frame.meshes, frame.amodal_masks):
            x, y, z = frame.intrinsics @ vertices.T
            wanted = torch.stack([(x / z).min(), (y / z).min(), (x / z).max(), (y / z).max()])
            rows, columns = torch.nonzero(mask, as_tuple=True)
            got = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            if inside(wanted[::2], wanted[1::2], 96).all():
                assert (got - wanted).abs().max() < 1.5
                compared += 1
    assert compared > 15 and alike > 1


def test_the_ground_is_the_worlds_zero_and_the_camera_moves(clips):
    for before, after in pairs(clips):
        step = after.to_world[:3, 3] - before.to_world[:3, 3]
        assert 0.02 < step.norm() < 0.35 and abs(step[1]) < 1e-6  # metres a frame
        rotation = after.to_world[:3, :3]
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-5, rtol=0)
        x, y, depth = reproject(before, after)
        ground = (before.semantic == 1) & (before.depth < 60) & inside(x, y, 96)
        # where it falls, the next frame's ground has the depth that was foretold (1 / depth is linear in a picture)
        closeness, share = sampled(torch.stack([1 / after.depth, (after.semantic == 1).float()]), x, y)
        ground &= share > 1 - 1e-5
        assert ground.sum() > 500
        assert (1 / depth - closeness)[ground].abs().max() < 1e-5


def test_tiles_and_shadows_move_with_the_world(clips):
    errors = []
    for clip in clips:
        first, last = clip.frames[0], clip.frames[-1]
        x, y, _ = reproject(first, last)
        ground = (first.semantic == 1) & (first.depth < 9) & inside(x, y, 96)
        ground &= sampled((last.semantic == 1).float()[None], x, y)[0] > 0.999
        assert ground.sum() > 300
        moved, unmoved = ((image - first.image).abs().mean(0) for image in (sampled(last.image, x, y), last.image))
        assert moved[ground].mean() < 0.5 * unmoved[ground].mean()
        errors.append(moved[ground].median().item())
    assert np.mean(errors) < 0.008  # two steps of a picture of 256 tones; 0.02 if tiles did not turn


def test_the_sun_and_what_rests_do_not_turn(clips):
    for clip in clips:
        fixed = []
        for frame in clip.frames:
            solids = [frame.scene.solids[number - 1] for number in resting(clip)]
            directions = [frame.scene.sun] + [solid.to_scene(1.0, 0.0, 0.0) for solid in solids]
            there = torch.tensor([frame.scene.camera.rotate_to_camera(*direction) for direction in directions])
            fixed.append(there @ frame.to_world[:3, :3].T)
        torch.testing.assert_close(torch.stack(fixed), fixed[0].expand(8, -1, -1), atol=1e-5, rtol=0)


def test_things_go_evenly_or_rest_and_stay_in_front(clips):
    still = moving = 0
    for clip in clips:
        places = torch.stack([world_places(frame) for frame in clip.frames])  # (8, N, 3)
        steps = places[1:] - places[:-1]
        assert (steps - steps[0]).abs().max() < 1e-4 and places[..., 1].abs().max() < 1e-4
        assert steps.norm(dim=-1).max() < 0.65  # metres a frame
        still, moving = still + len(resting(clip)), moving + len(steps[0]) - len(resting(clip))
        for frame in clip.frames:
            solids = frame.scene.solids
            assert all(solid.z - solid.radius >= 1 for solid in solids)
            assert all(apart(a, b) for i, a in enumerate(solids) for b in solids[:i])
    assert still > 12 and moving > 25


def test_surfaces_of_resting_things_are_where_the_camera_says(clips):
    errors, compared = [], 0
    for clip in clips:
        steps = zip(clip.frames, clip.frames[1:], clip.track_ids, clip.track_ids[1:])
        for before, after, ids, later in steps:
            x, y, depth = reproject(before, after)
            for number in set(resting(clip)) & set(ids.tolist()) & set(later.tolist()):
                k, j = ids.tolist().index(number), later.tolist().index(number)
                at = before.masks[k] & inside(x, y, 96)
                column, row = x[at].long(), y[at].long()
                hit = after.masks[j][row, column]
                errors.append((after.depth[row, column] - depth[at])[hit].abs())
                compared += 1
    assert compared > 80
    assert torch.cat(errors).median() < 0.03 and torch.cat(errors).quantile(0.95) < 0.3  # pixels, not points, are hit


def events(clip):
    """Whether an object is wholly hidden and comes back, one enters, one leaves, and two figures alike are seen."""
    count = len(clip.frames[0].scene.solids)
    seen = np.zeros((len(clip.frames), count), bool)
    ahead = np.zeros_like(seen)  # its middle is in the picture's columns
    twins = False
    for t, (frame, ids) in enumerate(zip(clip.frames, clip.track_ids)):
        seen[t, ids.numpy() - 1] = True
        columns = [frame.scene.camera.project(solid.x, 0.0, solid.z)[0] for solid in frame.scene.solids]
        ahead[t] = [0 < column < 1 for column in columns]
        looks = [(solid.phrase, solid.texture) for solid in frame.solids if solid.kind == "figure"]
        twins |= len(set(looks)) < len(looks)
    past, future = np.maximum.accumulate(seen), np.maximum.accumulate(seen[::-1])[::-1]
    hidden = (past & ~seen & future & ahead).any()
    enters = (~seen[0] & ~ahead[0] & seen.any(0)).any()
    leaves = (~seen[-1] & ~ahead[-1] & seen.any(0)).any()
    return hidden, enters, leaves, twins


def test_things_are_hidden_and_return_enter_leave_and_are_alike(many):
    shares = np.mean([events(clip) for clip in many], axis=0)
    assert (shares > 0.5).all(), shares
    assert 3 < np.mean([len(ids) for clip in many for ids in clip.track_ids]) < 5


def test_an_empty_frame_is_a_frame():
    (_, scene), *_ = random_moving_clip(seeded("train", 0, 2, 0), 1)
    nobody = replace(scene, solids=())
    sample = to_sample(render(nobody, 32, drop=False), nobody)
    assert len(sample.labels) == 0 and sample.masks.shape == (0, 32, 32) and sample.boxes.shape == (0, 4)


@pytest.mark.parametrize("request_, name", [
    ({"index": -1}, "index"), ({"index": 1.5}, "index"), ({"split": "all"}, "split"), ({"length": 0}, "length"),
    ({"size": 4}, "size"),
])  # fmt: skip
def test_bad_requests_name_the_argument(request_, name):
    with pytest.raises(ValueError, match=name):
        moving_clip(**request_)


def test_drawing_is_fast_enough():
    moving_clip(0)
    start = time.process_time()
    for index in range(4):
        moving_clip(index)
    assert (time.process_time() - start) / 32 < 0.06  # some 17 ms on the machine it was written on
