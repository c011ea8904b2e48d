"""Meshes: surfaces made of triangles, from voxels and to points (lesson 13).

A mesh is vertices, (V, 3) places x, y, z, and faces, (F, 3) whole numbers: each row names the three corners of one
triangle, counterclockwise when seen from outside. Here x runs to the right, y down and z away from the viewer, as in
the rest of the course. Names, signatures and conventions are those of PyTorch3D, where it has them; `mesh_losses` holds
what it keeps in `pytorch3d.loss`. Sources: Ravi et al. 2020, "Accelerating 3D Deep Learning with PyTorch3D"; Gkioxari
et al. 2019, "Mesh R-CNN", section 3.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

ALIGNMENTS = ("topleft", "corner", "center")
PADDINGS = ("zeros", "border")

# A cube's corners as x, y, z, and two triangles for each of its sides, counterclockwise from outside.
CORNERS = torch.tensor([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)])  # (8, 3), number 4 x + 2 y + z
SIDES = (  # the step to the neighbour behind the side, as (z, y, x), then the side's two triangles
    ((0, 0, -1), ((0, 1, 3), (0, 3, 2))),  # left
    ((0, 0, 1), ((4, 6, 7), (4, 7, 5))),  # right
    ((0, -1, 0), ((0, 4, 5), (0, 5, 1))),  # top
    ((0, 1, 0), ((2, 3, 7), (2, 7, 6))),  # bottom
    ((-1, 0, 0), ((0, 2, 6), (0, 6, 4))),  # front
    ((1, 0, 0), ((1, 5, 7), (1, 7, 3))),  # back
)


@dataclass(frozen=True, eq=False)
class Meshes:
    """Several meshes of different sizes.

    As a list they are easy to read. *Packed*, all in one row, they can be computed at once: the vertices of the first
    mesh, then those of the second and so on, and faces and edges that count through that row.

    Raises:
        ValueError: lists are not equally long, a shape or type is wrong, or a face names a vertex that is not there.
    """

    verts: list[Tensor]  # (V_i, 3) floats
    faces: list[Tensor]  # (F_i, 3) int64, places in `verts[i]`

    def __post_init__(self) -> None:
        if len(self.verts) != len(self.faces):
            raise ValueError(f"verts has {len(self.verts)} entries and faces {len(self.faces)}; expected as many")
        for verts, faces in zip(self.verts, self.faces):
            if verts.ndim != 2 or verts.shape[1] != 3 or not verts.is_floating_point():
                raise ValueError(f"verts has {tuple(verts.shape)} {verts.dtype}; expected (V, 3) floats for each mesh")
            if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype != torch.int64:
                raise ValueError(f"faces has {tuple(faces.shape)} {faces.dtype}; expected (F, 3) int64 for each mesh")
            if len(faces) and not 0 <= faces.min() <= faces.max() < len(verts):
                raise ValueError(f"faces names vertices {faces.min()}..{faces.max()}; expected 0..{len(verts) - 1}")

    def __len__(self) -> int:
        return len(self.verts)

    def isempty(self) -> bool:
        """Whether there is not a single face."""
        return not any(len(faces) for faces in self.faces)

    @cached_property
    def _starts(self) -> list[int]:
        """Where each mesh's vertices begin in the row of all of them."""
        starts = [0]
        for verts in self.verts:
            starts.append(starts[-1] + len(verts))
        return starts[:-1]

    def verts_packed(self) -> Tensor:
        """(ΣV, 3): all vertices."""
        return torch.cat(self.verts) if self.verts else torch.zeros(0, 3)

    def faces_packed(self) -> Tensor:
        """(ΣF, 3): all faces, as places in `verts_packed()`."""
        moved = [faces + start for faces, start in zip(self.faces, self._starts)]
        return torch.cat(moved) if moved else torch.zeros(0, 3, dtype=torch.int64)

    @cached_property
    def _edges(self) -> tuple[Tensor, Tensor]:
        """Each edge once, (ΣE, 2) with the smaller number first, and the edges of each face, (ΣF, 3).

        A face's edge number k lies opposite to its corner number k.
        """
        small, large = self.faces_packed()[:, [[1, 2], [2, 0], [0, 1]]].sort(dim=2).values.unbind(2)  # (ΣF, 3) each
        count = max(sum(len(verts) for verts in self.verts), 1)
        keys, numbers = (small * count + large).unique(return_inverse=True)  # (ΣE,), (ΣF, 3): one number says both
        return torch.stack([keys // count, keys % count], dim=1), numbers

    def edges_packed(self) -> Tensor:
        """(ΣE, 2): each edge once, as places in `verts_packed()`, the smaller one first."""
        return self._edges[0]

    def faces_packed_to_edges_packed(self) -> Tensor:
        """(ΣF, 3): the three edges of each face; number k lies opposite to the face's corner number k."""
        return self._edges[1]

    def verts_packed_to_mesh_idx(self) -> Tensor:
        """(ΣV,): which mesh each vertex belongs to."""
        counts = torch.tensor([len(verts) for verts in self.verts], dtype=torch.int64)
        return torch.arange(len(self)).repeat_interleave(counts).to(self.verts_packed().device)

    def offset_verts(self, offsets: Tensor) -> "Meshes":
        """Meshes with the same faces, their vertices moved by offsets (ΣV, 3)."""
        if offsets.shape != (sum(len(verts) for verts in self.verts), 3):
            raise ValueError(f"offsets is {tuple(offsets.shape)}; expected one row of 3 for each vertex")
        shares = offsets.split([len(verts) for verts in self.verts])
        return Meshes([verts + share for verts, share in zip(self.verts, shares)], self.faces)


@torch.no_grad()
def cubify(voxels: Tensor, thresh: float, *, align: str = "topleft") -> Meshes:
    """A cube for each occupied voxel; corners that cubes share are merged, and sides between two cubes left out.

    What remains is the surface: closed, and counterclockwise from outside. No gradient runs through it: a voxel is
    occupied or it is not.

    Args:
        voxels: (N, D, H, W) occupancy, with z, y and x in this order.
        thresh: a voxel is occupied if its number is at least this.
        align: where voxels lie between -1 and 1. "topleft": the *first corners* of the first and the last one lie at
            -1 and 1, so that the mesh reaches beyond 1. "center": their middles do. "corner": the outer sides of the
            grid do, each voxel is 2/W wide.

    Returns:
        N meshes; one of no vertices where no voxel is occupied.

    Raises:
        ValueError: `voxels` is not (N, D, H, W), a side is too short for the alignment, or that has another name.

    Source: Mesh R-CNN, section 3, "Cubify".
    """
    least = 1 if align == "corner" else 2  # otherwise the first and the last voxel must differ
    if align not in ALIGNMENTS:
        raise ValueError(f"align is {align!r}; expected one of {', '.join(ALIGNMENTS)}")
    if voxels.ndim != 4 or min(voxels.shape[1:]) < least:
        raise ValueError(f"voxels is {tuple(voxels.shape)}; expected (N, D, H, W), each side at least {least}")
    occupied = voxels >= thresh  # (N, D, H, W)
    sides = torch.tensor(voxels.shape[:0:-1], device=voxels.device)  # W, H, D
    verts, faces = [], []
    for one in occupied:
        places, corners = _surface(one)  # (3 F, 3) as x, y, z
        scale = sides if align == "corner" else sides - 1
        shift = 0.5 if align == "center" else 0.0
        verts.append((2 * (places - shift) / scale - 1).float())  # (V, 3)
        faces.append(corners)
    return Meshes(verts, faces)


def _surface(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Voxels (D, H, W) bool -> the corners of the surface (V, 3) as whole numbers x, y, z, and its faces (F, 3)."""
    padded = torch.nn.functional.pad(occupied, (1, 1, 1, 1, 1, 1))  # nothing is beyond the grid
    depth, height, width = occupied.shape
    corners = []
    for (dz, dy, dx), triangles in SIDES:
        behind = padded[1 + dz : 1 + dz + depth, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]  # (D, H, W)
        open_sides = torch.nonzero(occupied & ~behind).flip(1)  # (S, 3) as x, y, z
        of_side = CORNERS.to(occupied.device)[torch.tensor(triangles, device=occupied.device)]  # (2, 3, 3)
        corners.append((open_sides[:, None, None] + of_side).reshape(-1, 3, 3))  # (2 S, 3, 3)
    x, y, z = torch.cat(corners).unbind(2)  # (F, 3) each
    keys, faces = ((x * (height + 1) + y) * (depth + 1) + z).unique(return_inverse=True)  # shared corners become one
    verts = [keys // (depth + 1) // (height + 1), keys // (depth + 1) % (height + 1), keys % (depth + 1)]
    return torch.stack(verts, dim=1), faces


def face_areas_normals(verts: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Area (F,) and unit normal (F, 3), pointing outwards, of triangles; a normal is 0 where there is no area.

    The cross product of two edges is at a right angle to both, and as long as twice the triangle's area.
    """
    a, b, c = verts[faces].unbind(1)  # (F, 3) each
    cross = torch.linalg.cross(b - a, c - a)  # (F, 3)
    length = cross.norm(dim=1)  # (F,)
    return length / 2, cross / length.clamp(min=1e-12)[:, None]


def sample_points_from_meshes(
    meshes: Meshes, num_samples: int = 10000, return_normals: bool = False, *, generator: torch.Generator | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    """Points spread evenly over each surface.

    A triangle is drawn by its area, then a point in it: of a random point in a square, mapped so that every part of the
    triangle is equally likely. Which triangle was drawn is no matter of gradients; the point in it moves with the
    triangle's corners, and so the corners receive gradients.

    Args:
        num_samples: P, of each mesh.
        return_normals: whether the normals of the drawn triangles are wanted too.
        generator: of the random numbers; None: PyTorch's own.

    Returns:
        (N, P, 3), and with `return_normals` also (N, P, 3) unit normals; 0 for a mesh without any area.

    Raises:
        ValueError: `num_samples` is below 1, or a vertex is infinite or not a number.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples!r}; expected at least 1")
    points, normals = [], []
    for verts, faces in zip(meshes.verts, meshes.faces):
        if not verts.isfinite().all():
            raise ValueError("meshes has a vertex that is infinite or not a number; expected finite ones")
        areas, directions = face_areas_normals(verts, faces)  # (F,), (F, 3)
        if not areas.sum() > 0:
            points.append(verts.new_zeros(num_samples, 3))
            normals.append(verts.new_zeros(num_samples, 3))
            continue
        drawn = areas.detach().multinomial(num_samples, replacement=True, generator=generator)  # (P,)
        u, v = torch.rand(2, num_samples, 1, generator=generator, dtype=verts.dtype, device=verts.device)  # (P, 1) each
        u = u.sqrt()  # without the root, points would gather at the first corner
        a, b, c = verts[faces[drawn]].unbind(1)  # (P, 3) each
        points.append((1 - u) * a + u * (1 - v) * b + u * v * c)
        normals.append(directions[drawn])
    empty = [torch.zeros(0, num_samples, 3)]
    stacked = [torch.stack(one) if one else empty[0] for one in (points, normals)]  # (N, P, 3) each
    return (stacked[0], stacked[1]) if return_normals else stacked[0]


def vert_align(
    feats: Tensor | list[Tensor], verts: Tensor | Meshes, *, padding_mode: str = "zeros", align_corners: bool = True
) -> Tensor:
    """What a feature map says at each vertex: mixed from the four cells around the place where the vertex falls.

    A vertex's x and y are places on the map, from -1 (left, top) to 1 (right, bottom); z does not matter.

    Args:
        feats: (N, C, h, w), one map for each mesh; or a list of such maps, whose answers are put side by side.
        verts: (N, V, 3), or N meshes.
        padding_mode: what is beyond the map: "zeros", or at the "border" its outermost cells again.
        align_corners: True: -1 and 1 are the *middles* of the outermost cells. False: their outer sides, as for boxes.

    Returns:
        (N, V, ΣC); for meshes packed, (ΣV, ΣC), as PyTorch3D does with `return_packed=True`. Equal to
        `torch.nn.functional.grid_sample`, in the gradients of map and vertices too.

    Raises:
        ValueError: a shape does not fit, or `padding_mode` has another name.

    Source: Mesh R-CNN, section 3, "Vertex alignment"; first in Wang et al. 2018, "Pixel2Mesh".
    """
    if padding_mode not in PADDINGS:
        raise ValueError(f"padding_mode is {padding_mode!r}; expected one of {', '.join(PADDINGS)}")
    maps = [feats] if isinstance(feats, Tensor) else feats
    if isinstance(verts, Tensor) and (verts.ndim != 3 or verts.shape[2] < 2):
        raise ValueError(f"verts is {tuple(verts.shape)}; expected (N, V, 3), or Meshes")
    for one in maps:
        if one.ndim != 4 or len(one) != len(verts):
            raise ValueError(f"feats is {tuple(one.shape)}; expected (N, C, h, w) with N = {len(verts)}")
    if isinstance(verts, Meshes):
        places, mesh = verts.verts_packed(), verts.verts_packed_to_mesh_idx()  # (ΣV, 3), (ΣV,)
    else:
        places = verts.flatten(0, 1)  # (N · V, 3)
        mesh = torch.arange(len(verts), device=verts.device).repeat_interleave(verts.shape[1])  # (N · V,)
    read = torch.cat([_read(one, mesh, places, padding_mode, align_corners) for one in maps], dim=1)  # (ΣV, ΣC)
    return read if isinstance(verts, Meshes) else read.unflatten(0, verts.shape[:2])


def _read(feats: Tensor, mesh: Tensor, places: Tensor, padding_mode: str, align_corners: bool) -> Tensor:
    """Maps (N, C, h, w), the map to read (V,), where to read (V, 2 or more) from -1 to 1 -> (V, C)."""
    height, width = feats.shape[2:]
    sizes = places.new_tensor([width, height])
    if align_corners:
        cells = (places[:, :2] + 1) / 2 * (sizes - 1)  # (V, 2) columns and rows, counted from the middle of the first
    else:
        cells = ((places[:, :2] + 1) * sizes - 1) / 2
    if padding_mode == "border":
        cells = torch.minimum(cells.clamp(min=0), sizes - 1)
    first = cells.detach().floor()  # (V, 2)
    share = cells - first  # (V, 2) how much the cell after it counts
    table = feats.permute(0, 2, 3, 1)  # (N, h, w, C)
    total = feats.new_zeros(len(places), feats.shape[1])
    for right, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column, row = first[:, 0].long() + right, first[:, 1].long() + below
        weight = (share[:, 0] if right else 1 - share[:, 0]) * (share[:, 1] if below else 1 - share[:, 1])  # (V,)
        on_map = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        values = table[mesh, row.clamp(0, height - 1), column.clamp(0, width - 1)]  # (V, C)
        total = total + values * (weight * on_map)[:, None]
    return total
