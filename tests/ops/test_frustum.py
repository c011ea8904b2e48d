import pytest
import torch

from lib.ops.frustum import camera_to_frustum, depths_from, frustum_to_camera, relative_extent

BOX = torch.tensor([20.0, 30.0, 60.0, 54.0], dtype=torch.float64)
CAMERA = torch.tensor([[90.0, 0, 48], [0, 100, 44], [0, 0, 1]], dtype=torch.float64)
DEPTHS = (4.0, 6.0)


def some_points():
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4 - 2
    return points + torch.tensor([0.0, 0, 5])


def test_corners_of_the_frustum_become_those_of_the_cube():
    for z, depth in ((-1, 4.0), (1, 6.0)):
        for x, column in ((-1, 20), (0, 40), (1, 60)):
            for y, row in ((-1, 30), (1, 54)):
                point = torch.tensor([[(column - 48) / 90 * depth, (row - 44) / 100 * depth, depth]]).double()
                expected = torch.tensor([[x, y, z]]).double()
                torch.testing.assert_close(camera_to_frustum(point, BOX, DEPTHS, CAMERA), expected)
                torch.testing.assert_close(frustum_to_camera(expected, BOX, DEPTHS, CAMERA), point)


def test_there_and_back_also_outside():
    points = some_points()
    cube = camera_to_frustum(points, BOX, DEPTHS, CAMERA)
    assert cube.abs().max() > 2
    torch.testing.assert_close(frustum_to_camera(cube, BOX, DEPTHS, CAMERA), points)


def test_straight_lines_stay_straight_and_outside_stays_outside():
    start, end = some_points().split(25)
    middle = camera_to_frustum(0.3 * start + 0.7 * end, BOX, DEPTHS, CAMERA)
    start, end = (camera_to_frustum(one, BOX, DEPTHS, CAMERA) for one in (start, end))
    along, part = end - start, middle - start
    torch.testing.assert_close(torch.linalg.cross(along, part), torch.zeros_like(along), atol=1e-9, rtol=0)
    for point in some_points():  # a mirroring map would turn meshes inside out
        turned = torch.autograd.functional.jacobian(lambda p: camera_to_frustum(p[None], BOX, DEPTHS, CAMERA)[0], point)
        assert torch.linalg.det(turned) > 0


def test_gradients():
    points = some_points()[:5].requires_grad_()
    assert torch.autograd.gradcheck(lambda p: camera_to_frustum(p, BOX, DEPTHS, CAMERA), points)
    assert torch.autograd.gradcheck(lambda p: frustum_to_camera(p, BOX, DEPTHS, CAMERA), points)


def test_extent_by_hand_and_back_and_of_the_same_thing_farther_off():
    extent = relative_extent(DEPTHS, BOX, CAMERA)
    assert extent == pytest.approx(2 / 5 * 100 / 24)
    assert depths_from(extent, 5.0, BOX, CAMERA) == pytest.approx(DEPTHS)
    assert depths_from(extent, 10.0, BOX, CAMERA) == pytest.approx((8, 12))  # twice as large, twice as far: one picture


POINTS = torch.zeros(2, 3).double()


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: camera_to_frustum(POINTS[:, :2], BOX, DEPTHS, CAMERA), "points"),
        (lambda: frustum_to_camera(POINTS, BOX[[2, 1, 0, 3]], DEPTHS, CAMERA), "box"),
        (lambda: frustum_to_camera(POINTS, BOX[:2], DEPTHS, CAMERA), "box"),
        (lambda: frustum_to_camera(POINTS, BOX, (6.0, 4.0), CAMERA), "depths"),
        (lambda: frustum_to_camera(POINTS, BOX, (0.0, 4.0), CAMERA), "depths"),
        (lambda: frustum_to_camera(POINTS, BOX, DEPTHS, CAMERA[:2]), "intrinsics"),
        (lambda: depths_from(0.5, 0.0, BOX, CAMERA), "distance"),
        (lambda: depths_from(0.0, 5.0, BOX, CAMERA), "extent"),
        (lambda: depths_from(9.0, 5.0, BOX, CAMERA), "extent"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
