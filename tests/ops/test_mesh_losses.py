import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from lib.ops.mesh_losses import (
    chamfer_distance,
    f1_score,
    mesh_edge_loss,
    mesh_laplacian_smoothing,
    mesh_normal_consistency,
    nearest,
)
from lib.ops.meshes import Meshes, cubify


def clouds(seed=0, pairs=3, p=40, q=55):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(pairs, count, 3, generator=generator, dtype=torch.float64) for count in (p, q))


def unit(points):
    return points / points.norm(dim=2, keepdim=True)


def cube():
    return cubify(torch.ones(1, 1, 1, 1), 0.5, align="corner")  # sides of length 2


def two_triangles(angle):
    """Along the x axis, the second one turned up by `angle` degrees from lying flat."""
    t = np.radians(angle)
    verts = torch.tensor([[0, 0, 0], [2, 0, 0], [1, 1, 0], [1, -np.cos(t), np.sin(t)]], dtype=torch.float64)
    return Meshes([verts], [torch.tensor([[0, 1, 2], [1, 0, 3]])])


# ------------------------------------------------------------------------------------------------ clouds


@pytest.mark.parametrize("seed", [0, 1])
def test_chamfer_equals_a_kd_tree(seed):
    x, y = clouds(seed)
    ways = []
    for one, two in zip(x.numpy(), y.numpy()):
        there, place = KDTree(two).query(one)
        back, _ = KDTree(one).query(two)
        ways.append((there**2).mean() + (back**2).mean())
        assert nearest(torch.from_numpy(one)[None], torch.from_numpy(two)[None])[0].tolist() == place.tolist()
    distance, normals = chamfer_distance(x, y, batch_reduction=None)
    assert normals is None
    torch.testing.assert_close(distance, torch.tensor(ways, dtype=torch.float64))
    torch.testing.assert_close(chamfer_distance(x, y)[0], distance.mean())
    torch.testing.assert_close(chamfer_distance(x, y, batch_reduction="sum")[0], distance.sum())
    torch.testing.assert_close(chamfer_distance(y, x)[0], distance.mean())


def test_normals_of_the_nearest_points_equal_a_kd_tree():
    x, y = clouds()
    x_normals, y_normals = (unit(one) for one in clouds(5))
    ways = []
    for one, two, n, m in zip(x.numpy(), y.numpy(), x_normals.numpy(), y_normals.numpy()):
        there, back = KDTree(two).query(one)[1], KDTree(one).query(two)[1]
        ways.append(2 - np.abs((n * m[there]).sum(1)).mean() - np.abs((m * n[back]).sum(1)).mean())
    _, ours = chamfer_distance(x, y, x_normals=x_normals, y_normals=y_normals, batch_reduction=None)
    torch.testing.assert_close(ours, torch.tensor(ways, dtype=torch.float64))
    _, turned = chamfer_distance(x, y, x_normals=-x_normals, y_normals=y_normals, batch_reduction=None)
    torch.testing.assert_close(ours, turned)  # in or out does not count


def test_chamfer_by_hand():
    x = torch.tensor([[[0.0, 0, 0], [1, 0, 0]]])
    y = torch.tensor([[[0.0, 0, 3]]])
    assert chamfer_distance(x, y)[0] == (9 + 10) / 2 + 9
    assert chamfer_distance(x, x)[0] == 0


def test_chamfer_of_near_points_far_from_the_origin():
    x = torch.rand(1, 300, 3, generator=torch.Generator().manual_seed(0)) + 1000
    assert chamfer_distance(x, x)[0] == 0  # |x|² + |y|² - 2 x·y in single precision would say otherwise


def test_gradients_of_chamfer():
    x, y = (one.requires_grad_() for one in clouds(pairs=2, p=5, q=6))
    n, m = (unit(one).detach().requires_grad_() for one in clouds(9, pairs=2, p=5, q=6))
    assert torch.autograd.gradcheck(lambda x, y: chamfer_distance(x, y)[0], (x, y))
    assert torch.autograd.gradcheck(
        lambda n, m: chamfer_distance(x.detach(), y.detach(), x_normals=n, y_normals=m)[1], (n, m)
    )


@pytest.mark.parametrize("threshold", [0.1, 0.4, 1.0])
def test_f1_equals_a_kd_tree(threshold):
    x, y = clouds()
    for one, two, ours in zip(x.numpy(), y.numpy(), f1_score(x, y, threshold)):
        precision = (KDTree(two).query(one)[0] < threshold).mean()
        recall = (KDTree(one).query(two)[0] < threshold).mean()
        assert ours.item() == pytest.approx(2 * precision * recall / max(precision + recall, 1e-12))


def test_f1_by_hand():
    x = torch.tensor([[[0.0, 0, 0], [5, 0, 0]], [[9.0, 0, 0], [9, 0, 0]]])
    y = torch.zeros(2, 4, 3)
    assert f1_score(x, y, 0.5).tolist() == pytest.approx([2 * 0.5 / 1.5, 0])  # precision 1/2, recall 1


# ------------------------------------------------------------------------------------------------ evenness


def test_edge_loss_of_a_cube_by_hand():
    expected = (12 * 2**2 + 6 * 8) / 18  # 12 edges of length 2 and a diagonal on each of 6 sides
    assert mesh_edge_loss(cube()).item() == pytest.approx(expected)
    around_two = 6 * (8**0.5 - 2) ** 2 / 18
    assert mesh_edge_loss(cube(), target_length=2.0).item() == pytest.approx(around_two)


def test_each_mesh_counts_the_same_however_many_edges_it_has():
    one, flat = cube(), two_triangles(0)
    both = Meshes([one.verts[0].double(), flat.verts[0]], [one.faces[0], flat.faces[0]])
    for loss in (mesh_edge_loss, mesh_laplacian_smoothing, mesh_normal_consistency):
        torch.testing.assert_close(loss(both), (loss(one).double() + loss(flat)) / 2)


@pytest.mark.parametrize(("angle", "expected"), [(0, 0), (60, 0.5), (90, 1), (180, 2)])
def test_normal_consistency_is_one_minus_the_cosine_of_the_fold(angle, expected):
    assert mesh_normal_consistency(two_triangles(angle)).item() == pytest.approx(expected, abs=1e-9)


def test_normal_consistency_of_a_cube_by_hand():
    assert mesh_normal_consistency(cube()).item() == pytest.approx(12 / 18)  # 12 right angles, 6 flat diagonals


def test_normal_consistency_of_four_faces_at_one_edge_counts_six_pairs():
    verts = torch.tensor([[0.0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
    cross = Meshes([verts], [torch.tensor([[0, 1, k] for k in (2, 3, 4, 5)])])
    assert mesh_normal_consistency(cross).item() == pytest.approx((4 * 1 + 2 * 0) / 6)  # four right angles, two flat


def test_laplacian_equals_a_loop_over_neighbours():
    voxels = torch.rand(1, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    mesh = cubify(voxels, 0.5)
    verts, faces = mesh.verts[0], mesh.faces[0]
    neighbours = [set() for _ in verts]
    for face in faces.tolist():
        for corner in face:
            neighbours[corner] |= set(face) - {corner}
    away = [(verts[list(near)].mean(0) - own).norm() for near, own in zip(neighbours, verts)]
    torch.testing.assert_close(mesh_laplacian_smoothing(mesh), torch.stack(away).mean())


def test_gradients_of_evenness():
    mesh = two_triangles(50)
    bent = Meshes([mesh.verts[0] + torch.rand(4, 3, generator=torch.Generator().manual_seed(0)).double()], mesh.faces)
    for loss in (mesh_edge_loss, mesh_laplacian_smoothing, mesh_normal_consistency):
        assert torch.autograd.gradcheck(
            lambda verts: loss(Meshes([verts], bent.faces)), bent.verts[0].clone().requires_grad_()
        )


def test_nothing_costs_nothing():
    empty = Meshes([torch.zeros(0, 3)], [torch.zeros(0, 3, dtype=torch.int64)])
    for loss in (mesh_edge_loss, mesh_laplacian_smoothing, mesh_normal_consistency):
        assert loss(empty) == 0 and loss(Meshes([], [])) == 0


POINTS = torch.zeros(2, 4, 3)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: chamfer_distance(POINTS[0], POINTS), "x"),
        (lambda: chamfer_distance(POINTS, POINTS[:1]), "y"),
        (lambda: chamfer_distance(POINTS, POINTS[:, :0]), "y"),
        (lambda: chamfer_distance(POINTS, POINTS, x_normals=POINTS), "x_normals"),
        (lambda: chamfer_distance(POINTS, POINTS, x_normals=POINTS, y_normals=POINTS[:, :2]), "y_normals"),
        (lambda: chamfer_distance(POINTS, POINTS, batch_reduction="max"), "batch_reduction"),
        (lambda: f1_score(POINTS, POINTS[..., :2], 0.1), "y"),
        (lambda: f1_score(POINTS, POINTS, 0.0), "threshold"),
        (lambda: mesh_laplacian_smoothing(cube(), "cot"), "method"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
