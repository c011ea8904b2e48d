import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lib.layers.frozen_trunk import FrozenTrunk
from lib.models.faster_rcnn import faster_rcnn_small
from lib.models.mesh_rcnn import (
    MeshHead,
    MeshRCNN,
    MeshRefinementStage,
    VoxelHead,
    ZHead,
    mesh_rcnn_loss,
    mesh_rcnn_small,
    occupied_mesh,
    place_meshes,
)
from lib.ops.frustum import relative_extent
from lib.ops.mesh_losses import chamfer_distance, mesh_edge_loss
from lib.ops.meshes import Meshes, cubify, sample_points_from_meshes, vert_align
from lib.training import load_checkpoint

CHECKPOINTS = Path(__file__).resolve().parents[2] / "data" / "checkpoints"
LOSSES = ["loss_voxel", "loss_z", "loss_chamfer", "loss_normals", "loss_edge"]


def small_trunk():
    torch.manual_seed(0)
    detector = faster_rcnn_small()
    return FrozenTrunk(detector.transform, detector.backbone)


def small_model(**settings):
    return MeshRCNN(
        small_trunk(), size=3, channels=16, convolutions=1, stages=2, hidden_dim=16, stage_depth=2, **settings
    )


def some_voxels(count=2, size=6, seed=0):
    voxels = torch.zeros(count, size, size, size, dtype=torch.bool)
    voxels[:, 1:5, 2:5, 1:4] = True
    voxels[0, 2, 0:2, 2] = True
    return voxels


def some_target(count=2, size=6, points=200):
    voxels = some_voxels(count, size)
    generator = torch.Generator().manual_seed(0)
    meshes = cubify(voxels.float(), 0.5, align="corner")
    drawn, normals = sample_points_from_meshes(meshes, points, return_normals=True, generator=generator)
    boxes = torch.tensor([[8.0, 8, 40, 56], [30, 10, 90, 60]])[:count]
    return {
        "boxes": boxes,
        "voxels": voxels,
        "surface_points": drawn,
        "surface_normals": normals,
        "extent": torch.full((count,), 0.7),
    }


# ------------------------------------------------------------------------------------------------ heads


def test_names_of_the_layers_are_the_official_ones():
    assert [name for name, _ in VoxelHead(4, 3, 8, 2).named_children()] == [
        "voxel_fcn1",
        "voxel_fcn2",
        "deconv",
        "predictor",
    ]
    assert [name for name, _ in ZHead(4, 8).named_children()] == ["z_fc1", "z_fc2", "z_pred"]
    assert [name for name, _ in MeshRefinementStage(4, 0, 8, 2).named_children()] == [
        "bottleneck",
        "gconvs",
        "verts_offset",
    ]


def test_the_voxel_head_has_a_channel_for_each_depth_and_begins_undecided():
    torch.manual_seed(0)
    logits = VoxelHead(4, 5, channels=8)(torch.rand(2, 4, 5, 5))
    assert logits.shape == (2, 10, 10, 10) and logits.abs().max() < 0.5
    assert ZHead(4 * 25, 8)(torch.rand(2, 4, 5, 5)).shape == (2,)


def redrawn(module, deviation=0.1):
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data.normal_(0, deviation, generator=generator)
    return module


def test_a_stage_equals_its_steps_vertex_by_vertex():
    stage = redrawn(MeshRefinementStage(3, 2, 4, 1))
    regions = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    meshes = cubify(some_voxels().float(), 0.5, align="corner")
    before = torch.randn(len(meshes.verts_packed()), 2, generator=torch.Generator().manual_seed(2))
    moved, feats = stage(regions, meshes, before)
    neighbours = [set() for _ in before]
    for one, two in meshes.edges_packed().tolist():
        neighbours[one].add(two), neighbours[two].add(one)
    places, mesh = meshes.verts_packed(), meshes.verts_packed_to_mesh_idx()
    read = torch.stack(
        [
            F.grid_sample(regions[m : m + 1], p[None, None, None, :2], padding_mode="border", align_corners=False)[
                0, :, 0, 0
            ]
            for m, p in zip(mesh.tolist(), places)
        ]
    )
    rows = torch.cat([before, stage.bottleneck(read).relu(), places], dim=1)
    gconv = stage.gconvs[0]
    for place in range(0, len(places), 7):
        own = gconv.w0(rows[place]) + sum(gconv.w1(rows[other]) for other in neighbours[place])
        torch.testing.assert_close(feats[place], own.relu(), rtol=1e-4, atol=1e-5)
        step = stage.verts_offset(torch.cat([own.relu(), places[place]])).tanh()
        torch.testing.assert_close(moved.verts_packed()[place], places[place] + step, rtol=1e-4, atol=1e-5)
    assert moved.faces is meshes.faces


def test_stages_begin_with_no_move_and_hand_their_features_on():
    torch.manual_seed(0)
    head = MeshHead(3, stages=3, hidden_dim=4, stage_depth=2)
    regions, meshes = torch.rand(2, 3, 5, 5), cubify(some_voxels().float(), 0.5, align="corner")
    for one in head(regions, meshes):
        assert torch.equal(one.verts_packed(), meshes.verts_packed())
    after = redrawn(head)(regions, meshes)
    ways = [(one.verts_packed() - two.verts_packed()).abs().max() for one, two in zip([meshes, *after], after)]
    assert len(ways) == 3 and all(0.01 < way < 1 for way in ways)
    gradient = torch.autograd.grad(after[2].verts_packed().square().sum(), head.stages[0].bottleneck.weight)[0]
    assert gradient.abs().sum() > 0


def test_vertices_read_the_cell_of_the_box_they_lie_in():
    columns = torch.arange(6.0).expand(1, 1, 6, 6)
    voxels = torch.zeros(1, 6, 6, 6)
    voxels[0, 0, 2, 3] = 1  # column 3, from 3 to 4: its sides lie half a cell before and behind the cell's middle
    read = vert_align(columns, occupied_mesh(voxels, 0.5), padding_mode="border", align_corners=False)
    torch.testing.assert_close(read.unique(), torch.tensor([2.5, 3.5]))


def test_where_no_voxel_is_likely_enough_the_likeliest_is_taken():
    probabilities = torch.zeros(3, 4, 4, 4)
    probabilities[0, 1:3, 1, 1], probabilities[1, 2, 3, 0] = 0.7, 0.1
    meshes = occupied_mesh(probabilities, 0.2)
    assert [len(faces) for faces in meshes.faces] == [20, 12, 6 * 16 * 2]  # all alike: all of them
    assert len(occupied_mesh(probabilities[:0], 0.2)) == 0


# ------------------------------------------------------------------------------------------------ loss


def test_losses_are_means_over_the_stages():
    target = some_target()
    first = cubify(target["voxels"].float(), 0.5, align="corner")
    second = Meshes([verts * 1.3 for verts in first.verts], first.faces)
    torch.manual_seed(5)
    losses = mesh_rcnn_loss([first, second], target["surface_points"], target["surface_normals"])
    torch.manual_seed(5)
    parts = []
    for one in (first, second):
        drawn, normals = sample_points_from_meshes(one, 200, return_normals=True)
        parts.append(
            chamfer_distance(drawn, target["surface_points"], x_normals=normals, y_normals=target["surface_normals"])
        )
    torch.testing.assert_close(losses["loss_chamfer"], (parts[0][0] + parts[1][0]) / 2)
    torch.testing.assert_close(losses["loss_normals"], (parts[0][1] + parts[1][1]) / 2)
    torch.testing.assert_close(losses["loss_edge"], (mesh_edge_loss(first) + mesh_edge_loss(second)) / 2)
    assert parts[1][0] > 3 * parts[0][0]  # and they tell a good mesh from a bad one


def test_loss_has_its_parts_and_their_weights():
    images, target = torch.rand(1, 3, 64, 96), some_target()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        plain = small_model(weights=(1.0,) * 5).loss(images, [target])
        torch.manual_seed(3)
        weighed = small_model(weights=(1.0, 2.0, 3.0, 4.0, 0.0)).loss(images, [target])
    assert list(plain) == list(weighed) == LOSSES
    for (name, one), two, weight in zip(plain.items(), weighed.values(), (1, 2, 3, 4, 0)):
        assert one > 0
        if name in ("loss_voxel", "loss_z", "loss_edge"):  # the others draw points
            torch.testing.assert_close(two, one * weight)
    assert plain["loss_voxel"].item() == pytest.approx(0.6931, abs=0.01)


def test_each_loss_reaches_its_own_head_and_none_the_trunk():
    model = small_model()
    losses = model.loss(torch.rand(1, 3, 64, 96), [some_target()])
    heads = {"loss_voxel": model.voxel_head, "loss_z": model.z_head, "loss_chamfer": model.mesh_head}
    for name, head in heads.items():
        trained = [one for one in model.parameters() if one.requires_grad]
        gradients = torch.autograd.grad(losses[name], trained, retain_graph=True, allow_unused=True)
        mine = {id(one) for one in head.parameters()}
        for parameter, gradient in zip(trained, gradients):
            assert id(parameter) in mine or gradient is None
        assert sum(one.abs().sum() for one in gradients if one is not None) > 0
    assert not any(one.requires_grad for one in model.trunk.parameters())


def test_losses_of_pictures_without_boxes_can_be_learned_from():
    empty = {name: value[:0] for name, value in some_target().items()}
    losses = small_model().loss(torch.rand(2, 3, 64, 96), [empty, empty])
    sum(losses.values()).backward()
    assert list(losses) == LOSSES and all(loss == 0 for loss in losses.values())


# ------------------------------------------------------------------------------------------------ the model


def test_predictions_of_several_pictures_one_without_boxes():
    model = small_model().eval()
    boxes = [some_target()["boxes"], torch.zeros(0, 4), torch.tensor([[3.0, 3, 50, 50]])]
    images = torch.rand(3, 3, 64, 96)
    with torch.no_grad():
        found = model(images, boxes)
    for one, expected in zip(found, boxes):
        count = len(expected)
        assert torch.equal(one["boxes"], expected) and one["extent"].shape == (count,) and (one["extent"] > 0).all()
        assert one["voxels"].shape == (count, 6, 6, 6) and len(one["meshes"]) == 3
        assert all(len(step) == count for step in one["meshes"])
        assert all(len(verts) for step in one["meshes"] for verts in step.verts)
    with torch.no_grad():
        (alone,) = model(images[2:], boxes[2:])
    torch.testing.assert_close(alone["voxels"], found[2]["voxels"], atol=1e-4, rtol=0)


def test_learns_two_shapes_by_heart_and_refinement_comes_nearer():
    model = small_model().train()
    before = {name: value.clone() for name, value in model.trunk.state_dict().items()}
    images, target = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)), some_target(points=300)
    # The true surface lies between the voxels: the mesh must be moved to reach it.
    target["surface_points"] = target["surface_points"] * torch.tensor([0.9, 1.1, 0.95]) + torch.tensor(
        [0.06, 0.0, -0.05]
    )
    optimiser = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=0.02)
    for _ in range(200):
        losses = model.loss(images, [target])
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
    assert losses["loss_voxel"] < 0.05 and losses["loss_z"] < 0.05
    with torch.no_grad():
        (found,) = model.eval()(images, [target["boxes"]])
        assert torch.equal(found["voxels"] > 0.5, target["voxels"])
        generator = torch.Generator().manual_seed(2)
        ways = [
            chamfer_distance(sample_points_from_meshes(step, 800, generator=generator), target["surface_points"])[
                0
            ].item()
            for step in found["meshes"]
        ]
    assert ways[1] < 0.8 * ways[0] and ways[2] < 0.8 * ways[0]
    torch.testing.assert_close(found["extent"], target["extent"], rtol=0.05, atol=0)
    assert all(torch.equal(before[name], value) for name, value in model.trunk.state_dict().items())


def test_meshes_are_placed_in_metres():
    camera = torch.tensor([[100.0, 0, 48], [0, 100, 48], [0, 0, 1]])
    boxes = torch.tensor([[28.0, 38, 68, 58], [0, 0, 10, 10]])
    extents = torch.tensor([relative_extent((4.0, 6.0), boxes[0], camera), 0.8])
    corners = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [0, 0, -1]])
    meshes = Meshes([corners, corners], [torch.tensor([[0, 1, 2]])] * 2)
    placed = place_meshes(meshes, boxes, extents, torch.tensor([5.0, 8.0]), camera)
    expected = torch.tensor([[-0.8, -0.4, 4], [1.2, 0.6, 6], [0, 0, 4]])
    torch.testing.assert_close(placed.verts[0], expected)
    near, far = placed.verts[1][:2, 2].tolist()
    assert (near + far) / 2 == pytest.approx(8) and (far - near) / 8 * 100 / 10 == pytest.approx(0.8)
    assert placed.faces is meshes.faces


def test_the_small_one():
    model = mesh_rcnn_small(small_trunk()).eval()
    (found,) = model(torch.rand(1, 3, 96, 96), [torch.tensor([[5.0, 6, 30, 50]])])
    assert found["voxels"].shape == (1, 8, 8, 8) and len(found["meshes"]) == 4
    assert sum(one.numel() for one in model.parameters() if one.requires_grad) < 600_000


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"voxels": torch.zeros(2, 5, 5, 5)}, "targets has voxels"),
        ({"surface_points": torch.zeros(2, 9, 2)}, "targets has surface_points"),
        ({"surface_normals": torch.zeros(2, 9, 3)}, "targets has surface_normals"),
        ({"extent": torch.zeros(3)}, "targets has extent"),
        ({"boxes": torch.zeros(2, 5)}, "boxes has"),
    ],
)
def test_bad_targets_are_named(change, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        small_model().loss(torch.rand(1, 3, 64, 96), [some_target() | change])


def test_the_shipped_weights_fit_and_the_runs_show_what_the_lesson_says():
    trunk = small_trunk()
    made = load_checkpoint(mesh_rcnn_small(trunk), CHECKPOINTS / "13_mesh_rcnn.safetensors")
    runs = json.loads((CHECKPOINTS / "13_runs.json").read_text())
    assert made["val"] == runs["mesh/detector/0"]["val"]
    detector, random = (
        [runs[f"mesh/{kind}/{seed}"]["test"]["all"] for seed in range(3)] for kind in ("detector", "random")
    )
    for run in detector:  # voxels, then after each of three stages
        assert run["chamfer"][1] < 0.9 * run["chamfer"][0] and run["F1"][1] > run["F1"][0] + 0.05
        assert abs(run["F1"][3] - run["F1"][1]) < 0.02  # the later stages add next to nothing
    assert max(run["chamfer"][3] for run in detector) < 0.7 * min(run["chamfer"][3] for run in random)


def test_regions_may_be_cut_once_and_kept():
    model, images = small_model().eval(), torch.rand(2, 3, 64, 64)
    boxes = [torch.tensor([[5.0, 6, 30, 50]]), torch.tensor([[8.0, 8, 60, 40], [1, 2, 20, 30]])]
    regions = model.regions(images, boxes)
    assert [tuple(one.shape[2:]) for one in regions] == [(model.size,) * 2, (model.mesh_size,) * 2]
    voxels, extents, steps = model.predict_in(regions)
    found = model(images, boxes)
    torch.testing.assert_close(torch.cat([one["voxels"] for one in found]), voxels)
    torch.testing.assert_close(torch.cat([one["extent"] for one in found]), extents)
    assert torch.equal(torch.cat([one["meshes"][-1].verts_packed() for one in found]), steps[-1].verts_packed())
