import pytest
import torch

from lib.datasets.toyworld import PARTS, Toyworld
from lib.datasets.toyworld.targets import densepose_target, depth_range, frustum_mesh, mesh_target, well_seen
from lib.ops.frustum import frustum_to_camera
from lib.ops.masks import paste_in_boxes
from lib.ops.mesh_losses import chamfer_distance, f1_score
from lib.ops.meshes import Meshes, cubify, sample_points_from_meshes
from lib.training import Batches


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(tmp_path_factory.mktemp("data")))
        yield list(Toyworld("val", length=25, size=96))


def kept(sample):
    objects = torch.nonzero(well_seen(sample))[:, 0]
    return objects, sample.boxes[objects]


def test_well_seen_objects_are_whole_and_hardly_hidden(samples):
    shares, counts = [], 0
    for sample in samples:
        objects, boxes = kept(sample)
        counts += len(sample.labels)
        assert (boxes > 0).all() and (boxes < 96).all()
        shares += (sample.masks[objects].sum((1, 2)) / sample.amodal_masks[objects].sum((1, 2))).tolist()
    assert min(shares) >= 0.9 and 20 < len(shares) < 0.9 * counts


# ------------------------------------------------------------------------------------------------ parts and places


def test_parts_and_places_pasted_back_are_those_of_the_sample(samples):
    for sample in samples:
        objects = torch.arange(len(sample.labels))
        boxes = sample.boxes
        target = densepose_target(sample, objects, boxes, 96)  # finer than pixels, so nothing is lost
        assert torch.equal(target["boxes"], boxes) and torch.equal(target["labels"], sample.labels)
        assert not target["uv"].permute(0, 2, 3, 1)[target["parts"] == 0].any()
        maps = torch.cat([target["parts"][:, None].float(), target["uv"]], dim=1)
        pasted, inside = paste_in_boxes(torch.nn.functional.interpolate(maps, scale_factor=8), boxes, (96, 96))
        for k, mask in enumerate(sample.masks):
            assert torch.equal(inside[k] & (pasted[k, 0] > 0.5), mask)
            torch.testing.assert_close(pasted[k, 0][mask], sample.parts[mask].float(), atol=1e-3, rtol=0)
            torch.testing.assert_close(pasted[k, 1:][:, mask].T, sample.uv[mask], atol=1e-3, rtol=0)


def test_pixels_of_others_in_the_box_are_nothing(samples):
    overlapped = 0
    for sample in samples:
        boxes = torch.tensor([[0.0, 0, 96, 96]]).expand(len(sample.labels), -1)
        target = densepose_target(sample, torch.arange(len(boxes)), boxes, 96)
        assert torch.equal(target["parts"], sample.parts * sample.masks)
        overlapped += len(boxes) > 1
    assert overlapped > 5
    empty = densepose_target(samples[0], torch.zeros(0).long(), torch.zeros(0, 4), 28)
    assert empty["parts"].shape == (0, 28, 28) and empty["uv"].shape == (0, 2, 28, 28)


def test_only_figures_have_body_parts(samples):
    seen = set()
    for sample in samples:
        figures = torch.nonzero(sample.labels == 5)[:, 0]
        parts = densepose_target(sample, figures, sample.boxes[figures], 28)["parts"]
        seen |= set(parts.unique().tolist())
    assert seen == set(range(7)) and PARTS[1] == "head" and PARTS[6] == "right leg"


# ------------------------------------------------------------------------------------------------ shapes


def test_meshes_fill_the_frustum_and_come_back(samples):
    beyond = []
    for sample in samples:
        for index, box in zip(*kept(sample)):
            verts, faces = frustum_mesh(sample, index, box)
            torch.testing.assert_close(verts[:, 2].amin(), torch.tensor(-1.0), atol=1e-3, rtol=0)
            torch.testing.assert_close(verts[:, 2].amax(), torch.tensor(1.0), atol=1e-3, rtol=0)
            pixels = (verts[:, :2].abs() - 1) * (box[2:] - box[:2]) / 2  # how far it reaches out of its box
            beyond.append(pixels.max().item())
            back = frustum_to_camera(verts, box, depth_range(sample, index), sample.intrinsics)
            torch.testing.assert_close(back, sample.meshes[index][0], atol=1e-4, rtol=0)
    beyond = torch.tensor(beyond)
    assert beyond.min() > -1.01 and beyond.median() < 0.8 and beyond.max() < 4  # boxes know whole pixels, meshes not


def test_voxels_seen_from_the_front_are_the_mask(samples):
    wrong = total = 0
    for sample in samples:
        objects, boxes = kept(sample)
        shadow = mesh_target(sample, objects, boxes, 16)["voxels"].any(1)  # (K, 16, 16) something lies behind the cell
        parts = densepose_target(sample, objects, boxes, 16)["parts"] > 0
        wrong += (shadow != parts).sum().item()
        total += parts.numel()
    assert wrong / total < 0.05  # they are judged at the same places, up to half a pixel


def test_voxels_of_a_sphere_fill_half_of_the_grid_and_a_crate_more_than_a_cone(samples):
    shares = {label: [] for label in range(1, 6)}
    for sample in samples:
        target = mesh_target(sample, *kept(sample), 16)
        for label, voxels in zip(target["labels"].tolist(), target["voxels"]):
            shares[label].append(voxels.float().mean().item())
    mean = {label: sum(one) / len(one) for label, one in shares.items()}
    assert abs(mean[1] - torch.pi / 6) < 0.05  # a ball in a cube
    assert mean[5] < mean[4] < mean[1] < mean[3]  # figure, cone, sphere, cylinder
    assert all(0.05 < share < 0.95 for one in shares.values() for share in one)


def test_points_lie_on_the_surface_and_the_voxels_near_them(samples):
    for sample in samples[:8]:
        objects, boxes = kept(sample)
        if not len(objects):
            continue
        target = mesh_target(sample, objects, boxes, 24, points=600)
        pairs = [frustum_mesh(sample, index, box) for index, box in zip(objects, boxes)]
        fresh = sample_points_from_meshes(Meshes(*map(list, zip(*pairs))), 600)
        floor, _ = chamfer_distance(target["surface_points"], fresh, batch_reduction=None)
        assert floor.max() < 0.03 and f1_score(fresh, target["surface_points"], 0.2).min() > 0.9
        torch.testing.assert_close(target["surface_normals"].norm(dim=2), torch.ones(len(objects), 600))
        cubes = sample_points_from_meshes(cubify(target["voxels"].float(), 0.5, align="corner"), 600)
        assert chamfer_distance(cubes, target["surface_points"], batch_reduction=None)[0].max() < 0.04


def test_extents_are_about_one_for_spheres(samples):
    extents = [
        (label, extent)
        for sample in samples
        for target in [mesh_target(sample, *kept(sample), 4, points=1)]
        for label, extent in zip(target["labels"].tolist(), target["extent"].tolist())
    ]
    assert all(0.2 < extent < 2 for _, extent in extents)
    spheres = torch.tensor([extent for label, extent in extents if label == 1])
    assert len(spheres) > 2 and (spheres - 1).abs().max() < 0.15


def test_targets_repeat_and_none_is_a_set_too(samples):
    objects, boxes = kept(samples[0])
    one, two = (mesh_target(samples[0], objects, boxes, 8, points=20) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    none = mesh_target(samples[0], objects[:0], boxes[:0], 8, points=20)
    shapes = [(0, 4), (0,), (0, 8, 8, 8), (0, 20, 3), (0, 20, 3), (0,)]
    assert [tuple(value.shape) for value in none.values()] == shapes
    assert list(none) == ["boxes", "labels", "voxels", "surface_points", "surface_normals", "extent"]


def test_a_box_for_each_object(samples):
    for target in (densepose_target, mesh_target):
        with pytest.raises(ValueError, match=r"^boxes is \(2, 4\)"):
            target(samples[0], torch.zeros(1).long(), torch.zeros(2, 4), 8)


def test_targets_come_in_batches(samples):
    images = torch.stack([sample.image for sample in samples[:4]])
    for make in (densepose_target, mesh_target):
        targets = [make(sample, *kept(sample), 8) for sample in samples[:4]]
        _, drawn = next(iter(Batches(images, targets, batch_size=4)))
        assert all(torch.equal(one[name], two[name]) for one, two in zip(drawn, targets) for name in two)
