"""Toyworld's truths prove one another: masks and boxes, depth and meshes, normals and depth, charts and parts."""

import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lib.datasets.toyworld.cache import draw
from lib.datasets.toyworld.cast import turns
from lib.datasets.toyworld.dataset import (
    CLASSES,
    COLOURS,
    MAX_OBJECTS,
    PANOPTIC_DIVISOR,
    PARTS,
    SEMANTIC_COLOURS,
    SEMANTIC_NAMES,
    SIZES,
    Toyworld,
    collate,
    object_crop,
    to_sample,
)  # fmt: skip
from lib.datasets.toyworld.figure import Pose
from lib.datasets.toyworld.meshes import own_mesh
from lib.datasets.toyworld.render import least_pixels, render
from lib.datasets.toyworld.scene import GROUNDS, SKIES, Camera, Scene, Solid, between, random_scene

PARTS_OF = {
    "sphere": {7},
    "crate": {8, 9, 10, 11, 12},
    "cylinder": {13, 14},
    "cone": {15},
    "figure": {1, 2, 3, 4, 5, 6},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(tmp_path_factory.mktemp("data")))
        yield Toyworld("val", length=40, size=96)


@pytest.fixture(scope="module")
def samples(world):
    return list(world)


def solids_of(sample):
    table = {solid.phrase: solid for solid in sample.scene.solids}
    return [table[phrase] for phrase in sample.phrases]


def rasterise(mesh, intrinsics, size):
    """Depth (size, size) of a triangle mesh at pixel centres, infinite elsewhere: an independent way to draw."""
    vertices, faces = (array.double().numpy() for array in mesh)
    k = intrinsics.double().numpy()
    column = k[0, 0] * vertices[:, 0] / vertices[:, 2] + k[0, 2]
    row = k[1, 1] * vertices[:, 1] / vertices[:, 2] + k[1, 2]
    depth = np.full((size, size), np.inf)
    for a, b, c in faces.astype(int):
        xs, ys, inverse = column[[a, b, c]], row[[a, b, c]], 1 / vertices[[a, b, c], 2]
        area = (xs[1] - xs[0]) * (ys[2] - ys[0]) - (ys[1] - ys[0]) * (xs[2] - xs[0])
        left, right = max(0, int(np.floor(xs.min()))), min(size, int(np.ceil(xs.max())) + 1)
        top, bottom = max(0, int(np.floor(ys.min()))), min(size, int(np.ceil(ys.max())) + 1)
        if abs(area) < 1e-9 or left >= right or top >= bottom:
            continue
        y, x = np.mgrid[top:bottom, left:right] + 0.5
        share = [((xs[j] - x) * (ys[k] - y) - (ys[j] - y) * (xs[k] - x)) / area for j, k in ((1, 2), (2, 0), (0, 1))]
        inside = (share[0] >= 0) & (share[1] >= 0) & (share[2] >= 0)
        far = 1 / (share[0] * inverse[0] + share[1] * inverse[1] + share[2] * inverse[2])
        window = depth[top:bottom, left:right]
        window[inside] = np.minimum(window[inside], far[inside])
    return depth


def grown(mask):
    """A mask and the eight neighbours of each of its pixels."""
    return torch.nn.functional.max_pool2d(torch.as_tensor(mask)[None].float(), 3, 1, 1)[0].bool().numpy()


def test_shapes_and_types(samples):
    for sample in samples:
        n = len(sample.labels)
        assert 1 <= n <= MAX_OBJECTS
        assert sample.image.shape == (3, 96, 96) and sample.image.dtype == torch.float32
        assert 0 <= sample.image.min() and sample.image.max() <= 1
        assert sample.boxes.shape == (n, 4) and sample.boxes.dtype == torch.float32
        assert sample.labels.dtype == torch.int64 and 1 <= sample.labels.min() and sample.labels.max() <= 5
        assert sample.masks.shape == sample.amodal_masks.shape == (n, 96, 96)
        assert sample.masks.dtype == sample.amodal_masks.dtype == torch.bool
        for name in ("semantic", "instance", "panoptic", "parts"):
            assert getattr(sample, name).shape == (96, 96) and getattr(sample, name).dtype == torch.int64
        assert sample.depth.shape == (96, 96) and sample.normals.shape == (3, 96, 96)
        assert sample.uv.shape == (96, 96, 2) and sample.intrinsics.shape == (3, 3)
        assert len(sample.phrases) == len(sample.meshes) == n


def test_boxes_are_tight_on_the_visible_masks(samples):
    for sample in samples:
        for box, mask in zip(sample.boxes, sample.masks):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_masks_agree_with_instance_semantic_and_panoptic(samples):
    for sample in samples:
        assert not (sample.masks & ~sample.amodal_masks).any()  # what is seen is there
        assert sample.masks.sum(0).max() <= 1
        numbers = torch.arange(1, len(sample.labels) + 1)[:, None, None]
        assert torch.equal((sample.masks * numbers).sum(0), sample.instance)
        assert (sample.masks.sum((1, 2)) >= least_pixels(96)).all()
        for label, mask in zip(sample.labels, sample.masks):
            assert (sample.semantic[mask] == label + 1).all()
        background = sample.instance == 0
        assert torch.equal(sample.semantic[background], torch.isfinite(sample.depth)[background].long())
        assert torch.equal(sample.panoptic // PANOPTIC_DIVISOR, sample.semantic)
        assert torch.equal(sample.panoptic % PANOPTIC_DIVISOR, sample.instance)
    assert len(SEMANTIC_NAMES) == len(SEMANTIC_COLOURS) == 7


def test_some_objects_are_partly_hidden(samples):
    hidden = [1 - s.masks[i].sum() / s.amodal_masks[i].sum() for s in samples for i in range(len(s.labels))]
    assert sum(share > 0.15 for share in hidden) > 8


def test_phrases_are_unique_and_true(samples):
    for sample in samples:
        assert len(set(sample.phrases)) == len(sample.phrases)
        for phrase, label in zip(sample.phrases, sample.labels):
            size, colour, kind = phrase.split()
            assert size in SIZES and colour in COLOURS and kind == CLASSES[label - 1]


def test_meshes_agree_with_masks_and_depth(samples):
    errors = []
    for sample in samples[:16]:
        drawn = np.stack([rasterise(mesh, sample.intrinsics, 96) for mesh in sample.meshes])
        for depth, amodal in zip(drawn, sample.amodal_masks.numpy()):
            mesh = np.isfinite(depth)
            assert not (mesh & ~grown(amodal)).any() and not (amodal & ~grown(mesh)).any()  # to one pixel
            assert (mesh ^ amodal).sum() <= 0.05 * amodal.sum() + 10
        nearest, front = drawn.min(0), drawn.argmin(0) + 1
        both = np.isfinite(nearest) & (sample.instance.numpy() > 0)
        assert (front[both] == sample.instance.numpy()[both]).mean() > 0.97  # who stands in front of whom
        same = both & (front == sample.instance.numpy())
        errors.append(np.abs(nearest[same] - sample.depth.numpy()[same]))
    errors = np.concatenate(errors)
    assert np.median(errors) < 0.005 and np.quantile(errors, 0.98) < 0.05  # metres; flat triangles on round bodies


def test_meshes_are_closed_and_face_outwards():
    for kind in CLASSES:
        for capsule in range(10 if kind == "figure" else 1):
            corners, triangles = own_mesh(standing(kind))
            if kind == "figure":
                each = len(corners) // 10
                triangles = triangles[(triangles // each == capsule).all(1)] - capsule * each
                corners = corners[capsule * each : (capsule + 1) * each]
            pairs = {(int(t[i]), int(t[i - 2])) for t in triangles for i in range(3)}
            assert len(pairs) == 3 * len(triangles) and {(b, a) for a, b in pairs} == pairs  # each edge there and back
            assert len(corners) - len(pairs) // 2 + len(triangles) == 2  # Euler: a ball
            a, b, c = (corners[triangles[:, i]] for i in range(3))
            assert (np.cross(b - a, c - a) * a).sum() / 6 > 0  # volume


def test_normals_are_unit_face_the_camera_and_fit_the_depth(samples):
    angles = []
    for sample in samples:
        solid = torch.isfinite(sample.depth)
        assert torch.equal(sample.normals[:, ~solid], torch.zeros(3, int((~solid).sum())))
        assert (sample.normals[:, solid].norm(dim=0) - 1).abs().max() < 1e-3
        line = torch.arange(96) + 0.5
        rays = torch.stack([line.expand(96, 96), line[:, None].expand(96, 96), torch.ones(96, 96)])  # (3, H, W)
        rays = torch.einsum("ij,jhw->ihw", torch.linalg.inv(sample.intrinsics), rays)
        assert ((sample.normals * rays).sum(0)[solid] < 1e-3).all()
        points = rays * sample.depth.where(solid, torch.zeros(()))
        key = sample.instance * 100 + sample.parts
        centre = key[1:-1, 1:-1]
        flat = (centre > 0) & (key[1:-1, 2:] == centre) & (key[1:-1, :-2] == centre)
        flat &= (key[2:, 1:-1] == centre) & (key[:-2, 1:-1] == centre)
        across, down = points[:, 1:-1, 2:] - points[:, 1:-1, :-2], points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
        normal = torch.nn.functional.normalize(torch.linalg.cross(down, across, dim=0), dim=0)
        angles.append((normal * sample.normals[:, 1:-1, 1:-1]).sum(0)[flat])
    angles = torch.cat(angles)
    assert angles.median() > 0.999 and (angles > 0.9).float().mean() > 0.95


def test_parts_and_uv_only_on_objects_and_in_range(samples):
    seen = set()
    for sample in samples:
        objects = sample.instance > 0
        assert torch.equal(sample.parts > 0, objects)
        assert (sample.uv[~objects] == 0).all() and sample.uv.min() >= 0 and sample.uv.max() <= 1
        for label, mask in zip(sample.labels, sample.masks):
            parts = set(sample.parts[mask].tolist())
            assert parts <= PARTS_OF[CLASSES[label - 1]]
            seen |= parts
            assert sample.uv[mask].std(0).min() > 0.01  # a chart is not one point
    assert seen == set(range(1, len(PARTS)))


def test_distant_objects_are_smaller(samples):
    pairs = [
        (solid.z, (box[3] - box[1]).item() / solid.top)
        for sample in samples
        for solid, box, mask, amodal in zip(solids_of(sample), sample.boxes, sample.masks, sample.amodal_masks)
        if torch.equal(mask, amodal) and box[3] < 96
    ]
    z, tall = np.array(pairs).T
    assert np.corrcoef(1 / z, tall)[0, 1] > 0.85


STANDING = Pose((0.9, 0.15), (0.1, 0.1), 0.0)


def standing(kind, x=0.0, z=5.0, pose=STANDING):
    half = {"sphere": (0.6, 0.6, 0.6), "crate": (0.5, 0.6, 0.4), "figure": (0.8, 0.8, 0.8)}.get(kind, (0.4, 0.7, 0.4))
    pose = pose if kind == "figure" else None
    return Solid(kind, "red", "big", x, z, (1.0, 0.0), (1.0, 0.0), half, "plain", pose)


def scene_of(*solids):
    camera = Camera(1.8, (0.98, 0.19899748742132398), 1.0)
    sun = (0.6, -0.64, -0.48)
    return Scene(camera, sun, SKIES[0], GROUNDS[0], 0.2, 1.0, (1.0, 0.0), (3.0, 5.0), solids)


def test_a_figure_that_faces_us_has_its_left_hand_on_our_right():
    parts = render(scene_of(standing("figure")), 96).parts
    columns = {name: np.nonzero(parts == PARTS.index(name))[1].mean() for name in PARTS[1:7]}
    rows = {name: np.nonzero(parts == PARTS.index(name))[0].mean() for name in PARTS[1:7]}
    assert columns["right arm"] < columns["torso"] < columns["left arm"]
    assert columns["right leg"] < columns["left leg"]
    assert rows["head"] < rows["torso"] < rows["left leg"]
    assert rows["left arm"] < rows["right arm"]  # it points with the left one


def test_an_object_that_is_hidden_is_dropped_from_everything():
    front = standing("crate", z=4.0)
    small = Solid("cone", "blue", "small", 0.0, 7.5, (1.0, 0.0), (1.0, 0.0), (0.1, 0.2, 0.1), "plain")
    drawn, alone = render(scene_of(front, small), 96), render(scene_of(front), 96)
    assert drawn.solids == (front,)
    assert np.array_equal(drawn.image, alone.image) and np.array_equal(drawn.covers, alone.covers)
    assert len(render(scene_of(front, standing("cone", x=1.5, z=7.5)), 96).solids) == 2


def test_shadow_falls_away_from_the_sun():
    light = render(scene_of(standing("cylinder")), 96).image.astype(int).sum(0)
    empty = render(scene_of(), 96).image.astype(int).sum(0)
    darker = (empty - light > 60) & (render(scene_of(standing("cylinder")), 96).instance == 0)
    assert darker.sum() > 60 and np.nonzero(darker)[1].mean() < 44  # the sun stands on the right


def test_pictures_of_two_sizes_show_the_same():
    small, _ = draw("train", 3, 64)
    large, _ = draw("train", 3, 128)
    assert small.solids == large.solids
    shrunk = large.image.reshape(3, 64, 2, 64, 2).astype(float).mean((2, 4))
    assert np.abs(shrunk - small.image).mean() < 6


def test_turns_is_an_angle():
    angle = np.linspace(0, 1, 1001, dtype=np.float32)[:-1]
    got = turns(np.sin(2 * np.pi * angle).astype(np.float32), np.cos(2 * np.pi * angle).astype(np.float32))
    assert np.abs(got - angle).max() < 5e-6 and got.min() >= 0 and got.max() < 1


def test_between_stays_between():
    rng = np.random.Generator(np.random.PCG64(0))
    draws = [between(rng, -2.0, 3.0) for _ in range(2000)]
    assert -2 <= min(draws) < -1.9 and 2.9 < max(draws) < 3


def test_every_kind_colour_size_and_count_occurs():
    scenes = [random_scene(np.random.Generator(np.random.PCG64(seed))) for seed in range(150)]
    for values, wanted in (("kind", CLASSES), ("colour", COLOURS), ("size", SIZES)):
        assert {getattr(solid, values) for scene in scenes for solid in scene.solids} == set(wanted)
    assert {len(scene.solids) for scene in scenes} == set(range(1, MAX_OBJECTS + 1))


def test_object_crop_is_the_object_on_a_square():
    scene = scene_of(standing("sphere"))
    sample = to_sample(render(scene, 96), scene)
    left, top, right, bottom = sample.boxes[0].int().tolist()
    side = int(max(right - left, bottom - top) * 1.3 + 0.5)
    crop = object_crop(sample, 0, side, margin=0.15)
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    assert torch.allclose(crop, sample.image[:, y : y + side, x : x + side], atol=1e-6)
    assert object_crop(sample, 0, 32).shape == (3, 32, 32)
    assert object_crop(sample, 0, 24)[0, 12, 12] > 2 * object_crop(sample, 0, 24)[2, 12, 12]  # red


def test_object_crop_at_the_border_and_bad_requests(samples):
    for sample in samples:
        for index in range(len(sample.labels)):
            crop = object_crop(sample, index, 32)
            assert crop.shape == (3, 32, 32) and 0 <= crop.min() and crop.max() <= 1
    with pytest.raises(ValueError, match="index"):
        object_crop(samples[0], 99)
    with pytest.raises(ValueError, match="size"):
        object_crop(samples[0], 0, 0)


def test_loader_and_indexing(world):
    images, batch = next(iter(DataLoader(world, batch_size=4, collate_fn=collate)))
    assert images.shape == (4, 3, 96, 96) and torch.equal(images[2], batch[2].image)
    assert torch.equal(world[-1].image, world[39].image) and torch.equal(world[np.int64(3)].image, world[3].image)
    for index in (40, -41):
        with pytest.raises(IndexError):
            world[index]
    with pytest.raises(ValueError, match="samples"):
        collate([])


@pytest.mark.parametrize(
    "request_, name",
    [
        ({"split": "bogus"}, "split"), ({"split": None}, "split"), ({"length": 0}, "length"),
        ({"length": -3}, "length"), ({"length": 2.5}, "length"), ({"length": True}, "length"), ({"size": 8}, "size"),
        ({"size": "96"}, "size"),
    ],
)  # fmt: skip
def test_bad_requests_name_the_argument(request_, name):
    with pytest.raises(ValueError, match=name):
        Toyworld(**request_)


def test_drawing_is_fast_enough():
    draw("train", 0, 96)
    start = time.process_time()
    for index in range(20):
        draw("train", index, 96)
    assert (time.process_time() - start) / 20 < 0.05  # some 8 ms on the machine it was written on
