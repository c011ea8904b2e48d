import pytest
import torch

from lib.datasets.toyworld.meshes import BALL
from lib.ops.meshes import cubify
from lib.ops.voxels import voxelize

VERTS, FACES = (torch.from_numpy(array.copy()) for array in BALL)  # a ball of radius 1
VERTS = VERTS.float()


def middles(size):
    line = (torch.arange(size) * 2 + 1) / size - 1
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij")[::-1], dim=3)  # (z, y, x, 3) as x, y, z


@pytest.mark.parametrize(("size", "share"), [(1, 0.5), (4, 0.1), (7, 0.4), (8, 0.5), (8, 0.95)])
def test_voxelize_undoes_cubify(size, share):
    voxels = torch.rand(3, size, size, size, generator=torch.Generator().manual_seed(size)) < share
    meshes = cubify(voxels.float(), 0.5, align="corner")
    for expected, verts, faces in zip(voxels, meshes.verts, meshes.faces):
        assert torch.equal(voxelize(verts, faces, size), expected)


def test_a_ball_holds_what_is_near_its_middle():
    verts = VERTS * 0.7 + torch.tensor([0.2, -0.1, 0.05])
    radius = (middles(20) - torch.tensor([0.2, -0.1, 0.05])).norm(dim=3)
    inside = voxelize(verts, FACES, 20)
    assert inside[radius < 0.7 * 0.97].all() and not inside[radius > 0.7].any()  # its triangles lie a little inside


def test_two_bodies_that_overlap_are_one_and_a_hollow_stays_hollow():
    verts = torch.cat([VERTS * 0.5 - 0.2, VERTS * 0.5 + 0.2])
    both = voxelize(verts, torch.cat([FACES, FACES + len(VERTS)]), 16)
    assert torch.equal(both, voxelize(verts[: len(VERTS)], FACES, 16) | voxelize(verts[len(VERTS) :], FACES, 16))
    shell = torch.cat([VERTS * 0.9, VERTS * 0.4])
    hollow = voxelize(shell, torch.cat([FACES, FACES.flip(1) + len(VERTS)]), 16)  # the inner one faces inwards
    assert torch.equal(hollow, voxelize(VERTS * 0.9, FACES, 16) & ~voxelize(VERTS * 0.4, FACES, 16))


def test_what_lies_beyond_the_grid_is_not_in_it():
    assert not voxelize(VERTS * 0.5 + torch.tensor([0, 0, 2.0]), FACES, 8).any()
    assert voxelize(VERTS * 5, FACES, 8).all()  # the grid lies wholly inside
    assert not voxelize(VERTS[:0], FACES[:0], 4).any()


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: voxelize(VERTS[:, :2], FACES, 4), "verts"),
        (lambda: voxelize(VERTS, FACES[0], 4), "faces"),
        (lambda: voxelize(VERTS, FACES, 0), "size"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
