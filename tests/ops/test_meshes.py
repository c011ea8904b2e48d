import itertools

import pytest
import torch
import torch.nn.functional as F

from lib.ops.meshes import Meshes, cubify, face_areas_normals, sample_points_from_meshes, vert_align


def grid(*occupied, shape=(3, 3, 3)):
    voxels = torch.zeros(1, *shape)
    for place in occupied:
        voxels[(0, *place)] = 1
    return voxels


def volume(verts, faces):
    """Six times the volume is the sum of the corners' triple products; positive if faces are seen from outside."""
    a, b, c = verts.double()[faces].unbind(1)
    return (torch.linalg.cross(a, b) * c).sum() / 6


def directed_edges(faces):
    return sorted((int(face[i]), int(face[i - 2])) for face in faces for i in range(3))


def is_closed(faces):
    there = directed_edges(faces)
    return there == sorted((b, a) for a, b in there)


def tetrahedron(dtype=torch.float64):
    verts = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 2]], dtype=dtype)
    return verts, torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


# ------------------------------------------------------------------------------------------------ Meshes


def test_packed_meshes_by_hand():
    verts, faces = tetrahedron()
    meshes = Meshes([verts, verts[:3] + 1], [faces, torch.tensor([[0, 1, 2]])])
    assert len(meshes) == 2 and not meshes.isempty()
    assert meshes.verts_packed().shape == (7, 3)
    assert meshes.faces_packed()[-1].tolist() == [4, 5, 6]
    assert meshes.verts_packed_to_mesh_idx().tolist() == [0, 0, 0, 0, 1, 1, 1]
    expected = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3], [4, 5], [4, 6], [5, 6]]
    assert meshes.edges_packed().tolist() == expected
    for face, edges in zip(meshes.faces_packed().tolist(), meshes.faces_packed_to_edges_packed().tolist()):
        for k in range(3):
            assert sorted(face[:k] + face[k + 1 :]) == expected[edges[k]]


def test_offset_verts_moves_each_vertex_and_keeps_gradients():
    verts, faces = tetrahedron()
    meshes = Meshes([verts, verts], [faces, faces])
    offsets = torch.arange(24.0, dtype=torch.float64).reshape(8, 3).requires_grad_()
    moved = meshes.offset_verts(offsets)
    torch.testing.assert_close(moved.verts_packed(), meshes.verts_packed() + offsets)
    moved.verts[1].sum().backward()
    assert offsets.grad[:4].abs().sum() == 0 and (offsets.grad[4:] == 1).all()


def test_no_meshes_and_empty_ones():
    none = Meshes([], [])
    assert len(none) == 0 and none.isempty()
    empty = Meshes([torch.zeros(0, 3)] * 2, [torch.zeros(0, 3, dtype=torch.int64)] * 2)
    assert len(empty) == 2 and empty.isempty()
    for meshes in (none, empty):
        assert meshes.verts_packed().shape == meshes.faces_packed().shape == (0, 3)
        assert meshes.edges_packed().shape == (0, 2) and meshes.verts_packed_to_mesh_idx().shape == (0,)


# ------------------------------------------------------------------------------------------------ cubify


def test_one_voxel_has_8_corners_and_12_triangles_closed_and_outward():
    meshes = cubify(grid((1, 0, 2)), 0.5, align="corner")
    (verts,), (faces,) = meshes.verts, meshes.faces
    assert verts.shape == (8, 3) and faces.shape == (12, 3) and is_closed(faces)
    ends = ((1 / 3, 1), (-1, -1 / 3), (-1 / 3, 1 / 3))  # in x, y, z: it is voxel x 2, y 0, z 1
    torch.testing.assert_close(verts, torch.tensor(list(itertools.product(*ends))))
    torch.testing.assert_close(volume(verts, faces), torch.tensor((2 / 3) ** 3, dtype=torch.float64))
    areas, normals = face_areas_normals(verts, faces)
    torch.testing.assert_close(areas, torch.full((12,), (2 / 3) ** 2 / 2))
    outward = verts[faces].mean(1) - verts.mean(0)
    assert ((normals * outward).sum(1) > 0).all()
    directions = torch.cat([torch.eye(3), -torch.eye(3)])
    assert (normals[:, None] == directions).all(2).sum(0).tolist() == [2] * 6  # two triangles for each side


@pytest.mark.parametrize("other", [(0, 0, 1), (0, 1, 0), (1, 0, 0)])
def test_two_voxels_side_by_side_share_four_corners_and_no_inner_side(other):
    meshes = cubify(grid((0, 0, 0), other), 0.5, align="corner")
    (verts,), (faces,) = meshes.verts, meshes.faces
    assert verts.shape == (12, 3) and faces.shape == (20, 3) and is_closed(faces)
    torch.testing.assert_close(volume(verts, faces), torch.tensor(2 * (2 / 3) ** 3, dtype=torch.float64))
    axis = 2 - torch.tensor(other).argmax()  # x, y, z
    middles = verts[faces].mean(1)[:, axis]
    assert not torch.isclose(middles, torch.tensor(-1 / 3)).any()  # nothing lies between the two


def test_voxels_that_touch_along_an_edge_share_two_corners():
    meshes = cubify(grid((0, 0, 0), (0, 1, 1)), 0.5)
    assert meshes.verts[0].shape == (14, 3) and meshes.faces[0].shape == (24, 3) and is_closed(meshes.faces[0])


@pytest.mark.parametrize("seed", range(4))
def test_surfaces_of_random_voxels_are_closed_and_hold_their_volume(seed):
    voxels = torch.rand(3, 4, 5, 6, generator=torch.Generator().manual_seed(seed))
    meshes = cubify(voxels, 0.6, align="corner")
    for one, verts, faces in zip(voxels, meshes.verts, meshes.faces):
        occupied = one >= 0.6
        assert is_closed(faces) and len(verts.unique(dim=0)) == len(verts) and len(faces.unique()) == len(verts)
        expected = occupied.sum().double() * 8 / (4 * 5 * 6)
        torch.testing.assert_close(volume(verts, faces), expected, rtol=1e-6, atol=0)
        sides = sum((occupied.diff(dim=k) != 0).sum() for k in range(3))  # between two voxels
        sides += sum(occupied.select(k, end).sum() for k in range(3) for end in (0, -1))  # at the rim
        assert len(faces) == 2 * sides


@pytest.mark.parametrize(
    ("align", "first", "last"),
    [
        ("topleft", (-1.0, 0.0), (1.0, 2.0)),
        ("center", (-1.5, -0.5), (0.5, 1.5)),
        ("corner", (-1.0, -1 / 3), (1 / 3, 1.0)),
    ],
)
def test_alignments(align, first, last):
    for place, (low, high) in (((0, 0, 0), first), ((2, 2, 2), last)):
        verts = cubify(grid(place), 0.5, align=align).verts[0]
        torch.testing.assert_close(verts.amin(0), torch.full((3,), low))
        torch.testing.assert_close(verts.amax(0), torch.full((3,), high))


def test_a_voxel_is_occupied_from_the_threshold_on_and_x_is_the_last_axis():
    voxels = torch.zeros(2, 2, 3, 4)
    voxels[1, 0, 1, 3] = 0.25
    assert cubify(voxels, 0.26).isempty()
    meshes = cubify(voxels, 0.25)
    assert len(meshes.faces[0]) == 0 and len(meshes.faces[1]) == 12
    torch.testing.assert_close(meshes.verts[1].amin(0), torch.tensor([1.0, 0, -1]))  # x of 4, y of 3, z of 2
    assert len(cubify(voxels[:0], 0.5)) == 0


# ------------------------------------------------------------------------------------------------ points


def test_points_lie_on_the_surface_with_their_normals():
    verts, faces = tetrahedron()
    points, normals = sample_points_from_meshes(Meshes([verts], [faces]), 500, return_normals=True)
    assert points.shape == normals.shape == (1, 500, 3)
    torch.testing.assert_close(normals.norm(dim=2), torch.ones(1, 500, dtype=torch.float64))
    on_slope = normals[0].sum(1) > 1
    assert points.min() > -1e-9 and (points[0, on_slope].sum(1) - 2).abs().max() < 1e-9
    flat = points[0, ~on_slope]
    assert flat.amin(1).abs().max() < 1e-9 and flat.sum(1).max() < 2 + 1e-9


def test_points_are_spread_by_area():
    verts = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [10, 0, 0], [13, 0, 0], [10, 3, 0]])
    mesh = Meshes([verts], [torch.tensor([[0, 1, 2], [3, 4, 5]])])  # areas 1 : 9
    points = sample_points_from_meshes(mesh, 40000, generator=torch.Generator().manual_seed(0))[0]
    large = points[points[:, 0] > 5] - torch.tensor([10.0, 0, 0])
    assert abs(len(large) / 40000 - 0.9) < 0.01
    torch.testing.assert_close(large.mean(0), torch.tensor([1.0, 1, 0]), atol=0.03, rtol=0)  # its centre of mass
    near_corner = (large[:, :2].sum(1) < 1.5).float().mean()  # half of its height: a quarter of its area
    assert abs(near_corner - 0.25) < 0.01


def test_points_move_with_the_corners():
    verts, faces = tetrahedron()

    def drawn(verts):
        return sample_points_from_meshes(Meshes([verts], [faces]), 6, generator=torch.Generator().manual_seed(3))

    step = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    torch.testing.assert_close(drawn(verts + step), drawn(verts) + step)
    assert torch.autograd.gradcheck(drawn, verts.clone().requires_grad_())


def test_generator_repeats_and_a_mesh_without_area_gives_zeros():
    verts, faces = tetrahedron(torch.float32)
    flat = Meshes([verts, torch.zeros(0, 3), verts * 0], [faces, faces[:0], faces])
    first, second = (sample_points_from_meshes(flat, 9, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second) and first[0].abs().sum() > 0 and not first[1:].any()
    assert sample_points_from_meshes(Meshes([], []), 9).shape == (0, 9, 3)


def test_normals_of_triangles_and_of_what_is_none():
    verts = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 4, 0]])
    areas, normals = face_areas_normals(verts, torch.tensor([[0, 1, 2], [0, 2, 1], [0, 0, 1]]))
    assert areas.tolist() == [6, 6, 0] and normals.tolist() == [[0, 0, 1], [0, 0, -1], [0, 0, 0]]


# ------------------------------------------------------------------------------------------------ vert_align


def setting(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    feats = torch.randn(2, 3, 4, 5, generator=generator, dtype=dtype)
    return feats, torch.rand(2, 7, 3, generator=generator, dtype=dtype) * 3 - 1.5  # some beyond the map


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("padding_mode", ["zeros", "border"])
def test_vert_align_equals_grid_sample(padding_mode, align_corners):
    feats, verts = (one.requires_grad_() for one in setting())
    ours = vert_align(feats, verts, padding_mode=padding_mode, align_corners=align_corners)
    theirs = F.grid_sample(feats, verts[:, None, :, :2], "bilinear", padding_mode, align_corners)[:, :, 0].mT
    torch.testing.assert_close(ours, theirs)
    weights = torch.arange(ours.numel(), dtype=ours.dtype).cos().reshape(ours.shape)
    for mine, other in zip(
        torch.autograd.grad((ours * weights).sum(), [feats, verts]),
        torch.autograd.grad((theirs * weights).sum(), [feats, verts]),
    ):
        torch.testing.assert_close(mine, other)


def test_vert_align_at_corners_and_middle_by_hand():
    feats = torch.tensor([[[[1.0, 2], [3, 4]]]])
    verts = torch.tensor([[[-1.0, -1, 9], [1, -1, 0], [-1, 1, 0], [0, 0, -5], [0, 1, 0]]])
    assert vert_align(feats, verts).flatten().tolist() == [1, 2, 3, 2.5, 3.5]
    assert vert_align(feats, verts * 0.5, align_corners=False).flatten().tolist() == [1, 2, 3, 2.5, 3.5]


def test_vert_align_of_meshes_is_packed_and_of_several_maps_side_by_side():
    feats, verts = setting()
    faces = torch.zeros(0, 3, dtype=torch.int64)
    packed = vert_align([feats, feats[:, :1, ::2]], Meshes([verts[0], verts[1, :4]], [faces, faces]))
    both = torch.cat([vert_align(feats, verts), vert_align(feats[:, :1, ::2], verts)], dim=2)
    torch.testing.assert_close(packed, torch.cat([both[0], both[1, :4]]))
    assert vert_align(feats, verts[:, :0]).shape == (2, 0, 3)


# ------------------------------------------------------------------------------------------------ bad input

VERTS, FACES = tetrahedron()
NAN = Meshes([VERTS * float("nan")], [FACES])


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: Meshes([VERTS], []), "verts"),
        (lambda: Meshes([VERTS[:, :2]], [FACES]), "verts"),
        (lambda: Meshes([VERTS.long()], [FACES]), "verts"),
        (lambda: Meshes([VERTS], [FACES[:, :2]]), "faces"),
        (lambda: Meshes([VERTS], [FACES.int()]), "faces"),
        (lambda: Meshes([VERTS], [FACES + 1]), "faces"),
        (lambda: Meshes([VERTS], [FACES - 1]), "faces"),
        (lambda: Meshes([VERTS], [FACES]).offset_verts(torch.zeros(3, 3)), "offsets"),
        (lambda: cubify(torch.zeros(3, 3, 3), 0.5), "voxels"),
        (lambda: cubify(torch.zeros(1, 3, 3, 1), 0.5), "voxels"),
        (lambda: cubify(torch.zeros(1, 3, 3, 3), 0.5, align="bottom"), "align"),
        (lambda: sample_points_from_meshes(NAN), "meshes"),
        (lambda: sample_points_from_meshes(NAN, 0), "num_samples"),
        (lambda: vert_align(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)), "feats"),
        (lambda: vert_align(torch.zeros(2, 2, 3, 3), torch.zeros(1, 2, 3)), "feats"),
        (lambda: vert_align(torch.zeros(1, 2, 3, 3), torch.zeros(2, 3)), "verts"),
        (lambda: vert_align(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3), padding_mode="mirror"), "padding_mode"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
