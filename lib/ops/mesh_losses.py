"""How far one surface is from another, and how even it is (lesson 13).

Surfaces are compared by points drawn from them, see `lib.ops.meshes.sample_points_from_meshes`: so two meshes need not
have a single vertex in common. Names and definitions are those of `pytorch3d.loss`. Sources: Gkioxari et al. 2019,
"Mesh R-CNN", section 3, "Mesh Losses", and section 4 for the F1 score; Wang et al. 2018, "Pixel2Mesh".
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.ops.meshes import Meshes

REDUCTIONS = ("mean", "sum", None)


def chamfer_distance(
    x: Tensor,
    y: Tensor,
    *,
    x_normals: Tensor | None = None,
    y_normals: Tensor | None = None,
    batch_reduction: str | None = "mean",
) -> tuple[Tensor, Tensor | None]:
    """From each point of one cloud to the nearest of the other: the mean of the squared ways, there plus back.

    One way alone would not do. There, a single point on the true surface is perfect; back, a cloud that fills all of
    space is.

    Args:
        x: (N, P, 3). y: (N, Q, 3): N pairs of clouds.
        x_normals: (N, P, 3). y_normals: (N, Q, 3): the surfaces' unit normals at these points.
        batch_reduction: over the N pairs: "mean", "sum", or None.

    Returns:
        The distance, in units squared; and the same walk for normals: 1 - |cosine| of a point's normal and its nearest
        point's, there plus back; None without normals. Whether a normal points in or out does not count. Each is one
        number, or (N,) with `batch_reduction=None`.

    Raises:
        ValueError: a shape does not fit, a cloud is empty, only one cloud has normals, or the reduction has another
            name.
    """
    if batch_reduction not in REDUCTIONS:
        raise ValueError(f"batch_reduction is {batch_reduction!r}; expected one of {REDUCTIONS}")
    if (x_normals is None) != (y_normals is None):
        raise ValueError("x_normals and y_normals: expected both or neither")
    _check_clouds(x, y)
    if x_normals is not None and y_normals is not None:
        for name, normals, points in (("x_normals", x_normals, x), ("y_normals", y_normals, y)):
            if normals.shape != points.shape:
                raise ValueError(f"{name} is {tuple(normals.shape)}; expected {tuple(points.shape)}, as the points")
    there, back = nearest(x, y), nearest(y, x)  # (N, P), (N, Q) places
    distance = _squared(x, _rows(y, there)).mean(1) + _squared(y, _rows(x, back)).mean(1)  # (N,)
    if x_normals is None or y_normals is None:
        return _reduced(distance, batch_reduction), None
    of_x = 1 - F.cosine_similarity(x_normals, _rows(y_normals, there), dim=2, eps=1e-6).abs()  # (N, P)
    of_y = 1 - F.cosine_similarity(y_normals, _rows(x_normals, back), dim=2, eps=1e-6).abs()  # (N, Q)
    return _reduced(distance, batch_reduction), _reduced(of_x.mean(1) + of_y.mean(1), batch_reduction)


@torch.no_grad()
def nearest(x: Tensor, y: Tensor) -> Tensor:
    """For each point of x (N, P, 3) the place of the nearest point of y (N, Q, 3): (N, P).

    All P · Q distances are worked out, one pair of clouds after the other: so the tables stay small. Which point is
    nearest is no matter of gradients; how far it is, is.
    """
    places = [torch.empty(0, x.shape[1], dtype=torch.int64, device=x.device)]
    for one, other in zip(x, y, strict=True):
        # The exact differences, and not |x|² + |y|² - 2 x·y, which loses what is near.
        squared = sum((a[:, None] - b).square() for a, b in zip(one.unbind(1), other.unbind(1)))  # (P, Q)
        places.append(squared.argmin(1)[None])
    return torch.cat(places)


def f1_score(x: Tensor, y: Tensor, threshold: float) -> Tensor:
    """Share of surface that was met: the harmonic mean of precision and recall at a distance.

    Precision: the share of predicted points x with a true point nearer than `threshold`. Recall: the share of true
    points y with a predicted one that near. Unlike the chamfer distance it does not care how far a stray point strays.

    Args:
        x: (N, P, 3) predicted. y: (N, Q, 3) true.
        threshold: in the units of the points.

    Returns:
        (N,), 0..1.

    Raises:
        ValueError: a shape does not fit, a cloud is empty, or `threshold` is not above 0.
    """
    _check_clouds(x, y)
    if not threshold > 0:
        raise ValueError(f"threshold is {threshold!r}; expected a number above 0")
    precision = (_squared(x, _rows(y, nearest(x, y))) < threshold**2).to(x.dtype).mean(1)  # (N,)
    recall = (_squared(y, _rows(x, nearest(y, x))) < threshold**2).to(x.dtype).mean(1)  # (N,)
    return 2 * precision * recall / (precision + recall).clamp(min=1e-12)


def mesh_edge_loss(meshes: Meshes, target_length: float = 0.0) -> Tensor:
    """The mean of (length - target_length)² over the edges of a mesh, then the mean over meshes.

    The chamfer distance is content with long thin triangles that fly from one place of the surface to another, if only
    the points drawn from them happen to lie well; short edges forbid them.

    Returns:
        One number; 0 if there is no mesh. A mesh without edges counts as 0.
    """
    edges = meshes.edges_packed()  # (ΣE, 2)
    start, end = meshes.verts_packed()[edges].unbind(1)  # (ΣE, 3) each
    errors = ((end - start).norm(dim=1) - target_length).square()  # (ΣE,)
    return _mean_of_means(errors, meshes.verts_packed_to_mesh_idx()[edges[:, 0]], len(meshes))


def mesh_laplacian_smoothing(meshes: Meshes, method: str = "uniform") -> Tensor:
    """How far each vertex is from the middle of its neighbours, on average over a mesh, then over meshes.

    Args:
        method: "uniform", all neighbours count the same, is the only one written here.

    Returns:
        One number; 0 if there is no mesh. A vertex without neighbours is as far as from the origin, as in PyTorch3D.

    Raises:
        ValueError: `method` has another name.

    Source: Desbrun et al. 1999, "Implicit Fairing of Irregular Meshes".
    """
    if method != "uniform":
        raise ValueError(f"method is {method!r}; expected 'uniform'")
    verts, edges = meshes.verts_packed(), meshes.edges_packed()  # (ΣV, 3), (ΣE, 2)
    both_ways = torch.cat([edges, edges.flip(1)])  # (2 · ΣE, 2) vertex, neighbour
    sums = torch.zeros_like(verts).index_add(0, both_ways[:, 0], verts[both_ways[:, 1]])  # (ΣV, 3)
    counts = both_ways[:, 0].bincount(minlength=len(verts)).clamp(min=1)  # (ΣV,)
    away = (sums / counts[:, None] - verts).norm(dim=1)  # (ΣV,)
    return _mean_of_means(away, meshes.verts_packed_to_mesh_idx(), len(meshes))


def mesh_normal_consistency(meshes: Meshes) -> Tensor:
    """1 - cosine of the angle between two faces that share an edge: 0 where they lie flat, 1 at a right angle.

    Where more than two faces share an edge, as between two cubes that touch along it, each pair counts once.

    Returns:
        The mean over the pairs of a mesh, then over meshes; 0 if there is no mesh. A mesh without pairs counts as 0.
    """
    verts, faces, edges = meshes.verts_packed(), meshes.faces_packed(), meshes.edges_packed()
    order = meshes.faces_packed_to_edges_packed().flatten().argsort()  # (3 · ΣF,): sides of faces, edge by edge
    edge = meshes.faces_packed_to_edges_packed().flatten()[order]  # (3 · ΣF,)
    start, end = verts[edges[edge]].unbind(1)  # (3 · ΣF, 3) each
    opposite = verts[faces.flatten()[order]]  # (3 · ΣF, 3): side number k lies opposite to corner number k
    normals = torch.linalg.cross(end - start, opposite - start)  # (3 · ΣF, 3): of two flat faces, opposite ones
    most = int(edge.bincount().max()) if len(edge) else 0
    pairs = [torch.zeros(0, 2, dtype=torch.int64, device=edge.device)]
    for step in range(1, most):  # sides of one edge follow one another
        first = torch.nonzero(edge[step:] == edge[:-step])[:, 0]
        pairs.append(torch.stack([first, first + step], dim=1))
    one, two = torch.cat(pairs).unbind(1)
    bends = 1 - F.cosine_similarity(normals[one], -normals[two], dim=1)  # (pairs,)
    return _mean_of_means(bends, meshes.verts_packed_to_mesh_idx()[edges[edge[one], 0]], len(meshes))


def _mean_of_means(values: Tensor, mesh: Tensor, count: int) -> Tensor:
    """Numbers (K,) and the mesh of each (K,) -> their mean in each of `count` meshes, then the mean of those."""
    sums = values.new_zeros(count).index_add(0, mesh, values)  # (N,)
    return (sums / mesh.bincount(minlength=count).clamp(min=1)).sum() / max(count, 1)


def _rows(points: Tensor, places: Tensor) -> Tensor:
    """Points (N, Q, 3), places (N, P) -> (N, P, 3)."""
    return points.gather(1, places[:, :, None].expand(-1, -1, 3))


def _squared(x: Tensor, y: Tensor) -> Tensor:
    """The squared distance of points (N, P, 3), pair by pair: (N, P)."""
    return (x - y).square().sum(2)


def _reduced(values: Tensor, reduction: str | None) -> Tensor:
    return values if reduction is None else values.mean() if reduction == "mean" else values.sum()


def _check_clouds(x: Tensor, y: Tensor) -> None:
    for name, points in (("x", x), ("y", y)):
        if points.ndim != 3 or points.shape[2] != 3 or 0 in points.shape:
            raise ValueError(f"{name} is {tuple(points.shape)}; expected (N, P, 3) with at least one point")
    if len(x) != len(y):
        raise ValueError(f"y is {tuple(y.shape)}; expected {len(x)} clouds, as in x")
