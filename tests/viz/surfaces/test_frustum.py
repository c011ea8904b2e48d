import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from lib.datasets.toyworld import Toyworld
from lib.viz.surfaces.frustum import draw_frustum


@pytest.fixture(scope="module")
def crate():
    sample = Toyworld("val", 40)[4]
    verts, faces = sample.meshes[2]
    return verts, faces, sample.boxes[2], sample.intrinsics


def test_the_grid_fills_the_box_and_the_thing_fills_the_grid(crate):
    verts, faces, box, intrinsics = crate
    space, cube = draw_frustum(*crate, cells=4).axes
    lines = [line.get_xydata() for line in space.lines[: 2 * 5]]  # z, x
    z, x = np.concatenate(lines).T
    columns = x / z * intrinsics[0, 0].item() + intrinsics[0, 2].item()
    assert columns.min() == pytest.approx(box[0].item(), abs=1e-3)
    assert columns.max() == pytest.approx(box[2].item(), abs=1e-3)
    assert (z.min(), z.max()) == pytest.approx((verts[:, 2].min().item(), verts[:, 2].max().item()), abs=1e-4)
    assert len(cube.lines) == 2 * 5 and len(space.collections[0].get_paths()) == len(faces)
    painted = np.concatenate([path.vertices[:3] for path in cube.collections[0].get_paths()])  # z, x
    assert painted[:, 0].min() == pytest.approx(-1, abs=1e-4) and painted[:, 0].max() == pytest.approx(1, abs=1e-4)
    assert np.abs(painted[:, 1]).max() == pytest.approx(1, abs=0.1)
    plt.close("all")


@pytest.mark.parametrize(
    ("change", "named"),
    [({"cells": 0}, "cells"), ({"box": torch.zeros(4)}, "box"), ({"intrinsics": torch.zeros(2, 2)}, "intrinsics")],
)
def test_bad_input_is_named(crate, change, named):
    arguments = dict(zip(("verts", "faces", "box", "intrinsics"), crate)) | change
    with pytest.raises(ValueError, match=f"^{named} "):
        draw_frustum(**arguments)
