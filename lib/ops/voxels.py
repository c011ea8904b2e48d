"""From a closed mesh to voxels: which cells of a grid lie inside (lesson 13). The way back is `meshes.cubify`."""

import torch
from torch import Tensor

OFF_EDGE = (0.00137, 0.00291)  # how far columns are moved in x and y, in voxels, so that none meets an edge exactly


def voxelize(verts: Tensor, faces: Tensor, size: int) -> Tensor:
    """Which voxels of a grid between -1 and 1 have their middle inside a closed mesh.

    A line is drawn through the middles of each column of voxels, along z. Wherever it meets a triangle it goes in or
    out: in where the triangle faces towards smaller z, out where it faces towards larger z. A middle is inside where
    the line has been in more often than out before it. Counting, instead of switching between in and out, keeps this
    right for bodies that overlap, such as the limbs of a figure.

    Args:
        verts: (V, 3); what reaches beyond -1 or 1 is not in the grid.
        faces: (F, 3), counterclockwise from outside, closed.
        size: S, voxels along each side.

    Returns:
        (S, S, S) bool, with z, y and x in this order, as `cubify` takes it with `align="corner"`.

    Raises:
        ValueError: a shape is wrong or `size` is below 1.
    """
    if verts.ndim != 2 or verts.shape[1] != 3:
        raise ValueError(f"verts is {tuple(verts.shape)}; expected (V, 3)")
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"faces is {tuple(faces.shape)}; expected (F, 3)")
    if size < 1:
        raise ValueError(f"size is {size!r}; expected at least 1")
    middles = (torch.arange(size, dtype=torch.float64, device=verts.device) * 2 + 1) / size - 1  # (S,)
    x, y = (middles + 2 * off / size for off in OFF_EDGE)
    point = torch.stack([x.repeat(size), y.repeat_interleave(size)], dim=1)  # (S², 2), row by row
    corners = verts.double()[faces]  # (F, 3, 3)
    a, b, c = corners[:, :, None, :2].unbind(1)  # (F, 1, 2) each
    areas = torch.stack([_area(point, b, c), _area(point, c, a), _area(point, a, b)], dim=1)  # (F, 3, S²)
    way = (areas > 0).all(1).double() - (areas < 0).all(1).double()  # (F, S²): 1 out, -1 in, 0 misses the triangle
    face, column = torch.nonzero(way, as_tuple=True)  # (hits,) each
    of_hit = areas[face, :, column]  # (hits, 3): each corner counts as much as the area opposite to it
    depth = (of_hit * corners[face, :, 2]).sum(1) / of_hit.sum(1)  # (hits,) z of the hit
    steps = (depth[:, None] < middles) * way[face, column][:, None]  # (hits, S): does it come before a voxel's middle?
    count = steps.new_zeros(size * size, size).index_add(0, column, steps)  # (S², S): 0 outside, as often out as in
    return (count != 0).T.reshape(size, size, size)  # (z, y, x)


def _area(point: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Twice the signed area of the triangle point, a, b: points (P, 2), corners (F, 1, 2) -> (F, P)."""
    to_a, to_b = a - point, b - point  # (F, P, 2)
    return to_a[..., 0] * to_b[..., 1] - to_a[..., 1] * to_b[..., 0]
