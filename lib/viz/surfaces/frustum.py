"""The space behind a box, seen from above, and the same bent to a cube (lesson 13)."""

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from torch import Tensor

from lib.ops.frustum import camera_to_frustum, frustum_to_camera
from lib.viz.basics.draw import PAGE

GRID, THING, RAY = "#0072B2", "#D55E00", "#888888"


def draw_frustum(verts: Tensor, faces: Tensor, box: Tensor, intrinsics: Tensor, cells: int = 8) -> Figure:
    """A thing in the part of space that a camera sees through its box, from above; and what becomes of both.

    Args:
        verts: (V, 3) of its mesh, camera frame, metres. faces: (F, 3).
        box: (4,) xyxy pixels.
        intrinsics: (3, 3), see `camera_to_frustum`.
        cells: of the grid, along each side.

    Raises:
        ValueError: as `camera_to_frustum`, or `cells` is below 1.
    """
    if cells < 1:
        raise ValueError(f"cells is {cells!r}; expected at least 1")
    depths = (verts[:, 2].min().item(), verts[:, 2].max().item())
    bent = camera_to_frustum(verts, box, depths, intrinsics)  # (V, 3), -1..1
    figure, (space, cube) = plt.subplots(
        1, 2, figsize=(PAGE, 2.9), width_ratios=(2.6, 1), layout="constrained", facecolor="white"
    )
    along = torch.linspace(-1, 1, 2)
    for place in torch.linspace(-1, 1, cells + 1):
        fixed, level = place.expand(2), torch.zeros(2)
        for line in (torch.stack([fixed, level, along], dim=1), torch.stack([along, level, fixed], dim=1)):  # (2, 3)
            _line(cube, line)
            _line(space, frustum_to_camera(line, box, depths, intrinsics))
    _paint(space, verts, faces)
    _paint(cube, bent, faces)
    sides = torch.tensor([[-1.0, 0, -1], [1, 0, -1]])  # left and right, where the frustum begins
    for x, _, z in frustum_to_camera(sides, box, depths, intrinsics).tolist():
        space.plot((0, z), (0, x), "--", color=RAY, linewidth=0.9)
    space.plot(0, 0, "o", color=RAY)
    space.annotate("camera", (0, 0), (4, 8), textcoords="offset points", fontsize=8, color=RAY)
    space.set(xlabel="z, away from the camera, metres", ylabel="x, metres", aspect="equal")
    cube.set(xlabel="z", ylabel="x", aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    for axis, title in ((space, "from above: the space behind the box"), (cube, "the same, bent to a cube")):
        axis.set_title(title, fontsize=10)
        axis.invert_yaxis()  # right of the picture is right of who looks along z
    return figure


def _line(axis: Axes, places: Tensor) -> None:
    """Two places (2, 3), joined: straight lines stay straight in the cube."""
    axis.plot(places[:, 2], places[:, 0], color=GRID, linewidth=0.7)


def _paint(axis: Axes, verts: Tensor, faces: Tensor) -> None:
    """All faces, seen from above."""
    axis.add_collection(PolyCollection(verts[faces][..., [2, 0]].numpy(), facecolor=THING, alpha=0.35, edgecolor=THING))
