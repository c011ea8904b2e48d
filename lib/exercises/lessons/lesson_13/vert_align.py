"""What a map says at each vertex of a mesh."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_uniform, random_values
from lib.exercises.engine.kinds import Kind
from lib.ops import meshes


def vert_align(feature: Tensor, verts: Tensor) -> Tensor:
    """The course's own, `lib.ops.meshes.vert_align`, for one map that was cut out by a box."""
    return meshes.vert_align(feature[None], verts[None], padding_mode="border", align_corners=False)[0]


def cases() -> list[Case]:
    many = (2.4 * random_uniform(12, 2, seed=20) - 1.2).tolist()
    middles = "vertices in the middles of cells"
    named: dict[str, tuple[tuple[int, int, int], list]] = {
        "3 vertices on 3 × 4 cells, 2 channels": ((2, 3, 4), [(-0.35, 0.52), (0.62, -0.41), (0.93, 0.2)]),
        "as many vertices as channels": ((3, 4, 3), [(-0.2, -0.55), (0.45, 0.3), (0.1, 0.6)]),
        middles: ((2, 3, 4), [(-0.75, -2 / 3), (0.25, 0.0), (0.75, 2 / 3)]),
        "vertices on the sides and in the corners": ((2, 4, 3), [(-1, -1), (1, 1), (1, -0.3), (0.2, -1)]),
        "vertices beyond the map": ((2, 3, 5), [(-1.6, 0.35), (1.3, -2.2), (0.25, 1.8), (-1.2, -1.4)]),
        "many vertices, 3 channels": ((3, 5, 7), many),
        "a map of one row": ((2, 1, 4), [(-0.4, 0.3), (0.55, -0.6)]),
        "one vertex": ((3, 3, 4), [(0.2, -0.45)]),
        "a map of one channel": ((1, 3, 4), [(0.35, 0.1), (-0.7, 0.6)]),
        "no vertex": ((3, 4, 4), []),
    }
    made = []
    for seed, (label, (shape, places)) in enumerate(named.items()):
        xy, z = torch.tensor(places).reshape(-1, 2), random_values(len(places), 1, seed=seed + 10)
        arguments = (random_values(*shape, seed=seed), torch.cat([xy, z], dim=1))
        leaves = ("feature",) if label == middles else ("feature", "verts")  # there the slope changes: it has two
        made.append(Case.from_truth(label, arguments, by_tents, leaves))
    return made


def by_tents(feature: Tensor, verts: Tensor) -> Tensor:
    """The truth: how much each row and each column counts for each vertex, as two matrices."""
    height, width = feature.shape[1:]
    return torch.einsum("chw,vh,vw->vc", feature, tents(verts[:, 1], height), tents(verts[:, 0], width))


def tents(places: Tensor, cells: int) -> Tensor:
    """Places (V,), -1..1 -> (V, cells): 1 in a cell's own middle, from there down to 0 in those of its neighbours."""
    counted = ((places + 1) / 2 * cells).clamp(0.5, cells - 0.5)  # (V,) from the side of the map
    return (1 - (counted[:, None] - torch.arange(cells) - 0.5).abs()).clamp(min=0)


def read(
    feature: Tensor,
    verts: Tensor,
    mode: str = "bilinear",
    padding: str = "border",
    corners: bool = False,
    at: Callable[[Tensor, Tensor], Tensor] = lambda verts, size: verts,
) -> Tensor:
    """`vert_align` with its decisions open; `at` says where it is read, from vertices and (width, height)."""
    size = torch.tensor([feature.shape[2], feature.shape[1]])
    grid = at(verts, size)[None, None, :, :2]  # (1, 1, V, 2)
    return F.grid_sample(feature[None], grid, mode, padding, corners)[0, :, 0].T


def nothing_beyond(feature: Tensor, verts: Tensor) -> Tensor:
    return read(feature, verts) * (verts[:, :2].abs() <= 1).all(dim=1, keepdim=True)


def by_hand(feature: Tensor, verts: Tensor, clamped: bool = True, near: bool = True, first: int = 0) -> Tensor:
    """`vert_align` without `F.grid_sample`.

    Args:
        clamped: whether vertices, and not only cells, are taken to the outermost middles.
        near: whether the nearer cell counts more.
        first: how many cells before the last one the cell before a vertex must lie.
    """
    last = torch.tensor([feature.shape[2], feature.shape[1]]) - 1
    cells = (verts[:, :2] + 1) / 2 * (last + 1) - 0.5  # (V, 2) counted from the middle of the first
    if clamped:
        cells = torch.minimum(cells.clamp(min=0), last)
    before = torch.minimum(cells.floor().clamp(min=0), (last - first).clamp(min=0)).long()
    (left, top), (right, bottom) = before.T, torch.minimum(before + 1, last).T  # (V,) each
    u, v = (cells - before if near else 1 - (cells - before)).T
    upper = feature[:, top, left] * (1 - u) + feature[:, top, right] * u  # (C, V)
    return (upper * (1 - v) + (feature[:, bottom, left] * (1 - u) + feature[:, bottom, right] * u) * v).T


def columns(*axes: int) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda verts, size: verts[:, list(axes)]


MISTAKES = [
    Mistake(
        "corners aligned",
        "You took -1 and 1 for the *middles* of the outermost cells (`align_corners=True`). They are the sides of the "
        "map: the first middle lies half a cell inside.",
        wrong=partial(read, corners=True),
    ),
    Mistake(
        "places from 0 to 1",
        "You brought x and y to 0..1 before reading. `F.grid_sample` wants them from -1 to 1, as they come.",
        wrong=partial(read, at=lambda verts, size: (verts + 1) / 2),
    ),
    Mistake(
        "zeros beyond the border",
        "You let the map fade to 0 beyond its outermost middles, as `F.grid_sample` does if it is not told otherwise. "
        "There the nearest place between them counts.",
        wrong=partial(read, padding="zeros"),
    ),
    Mistake(
        "corners aligned, and zeros beyond them",
        "Two things at once. You took -1 and 1 for the *middles* of the outermost cells (`align_corners=True`); they "
        "are the sides of the map. And further out you let the map fade to 0, where the nearest place counts.",
        wrong=partial(read, padding="zeros", corners=True),
    ),
    Mistake(
        "taken to the sides, where the map fades",
        "You took vertices outside to the sides of the map, but there it has faded to 0 already, by half or more. It "
        "must not fade at all: beyond the outermost middles the nearest place between them counts.",
        wrong=partial(read, padding="zeros", at=lambda verts, size: verts.clamp(-1, 1)),
    ),
    Mistake(
        "nothing beyond the map",
        "Right on the map, but vertices outside of it get 0. They read the nearest place between the middles, too.",
        wrong=nothing_beyond,
    ),
    Mistake(
        "reflected at the sides",
        "Beyond the sides you read the map mirrored (`reflection`). There the nearest place between the middles "
        "counts.",
        wrong=partial(read, padding="reflection"),
    ),
    Mistake(
        "x and y swapped",
        "You used x along the rows. x runs from the left to the right side, so it chooses the *column*. (The last axis "
        "of `F.grid_sample`'s grid is x, y: the order of the vertices.)",
        wrong=partial(read, at=columns(1, 0)),
    ),
    Mistake(
        "z for y", "You read at x and z. A vertex is x, y, z: z is its depth.", wrong=partial(read, at=columns(0, 2))
    ),
    Mistake(
        "y and z for x and y",
        "You read at y and z. A vertex is x, y, z: the first two say where it falls.",
        wrong=partial(read, at=columns(1, 2)),
    ),
    Mistake(
        "z and y for x and y",
        "You read at z and y. A vertex is x, y, z: the first two say where it falls.",
        wrong=partial(read, at=columns(2, 1)),
    ),
    Mistake(
        "divided by z",
        "You divided x and y by z, as a camera does. Here x and y are places on the map, and z does not matter.",
        wrong=partial(read, at=lambda verts, size: verts[:, :2] / verts[:, 2:]),
    ),
    Mistake(
        "x and y from 0 to 1",
        "You took x and y to run from 0 to 1. They begin with -1, at the left and at the top: 0 is the middle.",
        wrong=partial(read, at=lambda verts, size: 2 * verts - 1),
    ),
    Mistake(
        "x and y in cells",
        "You took x and y for places in cells. They run from -1 to 1, however many cells the map has.",
        wrong=partial(read, at=lambda verts, size: 2 * verts[:, :2] / size - 1),
    ),
    Mistake(
        "x and y in cells, from the first middle",
        "You took x and y for numbers of columns and rows. They run from -1 to 1, however many cells the map has.",
        wrong=partial(read, at=lambda verts, size: (2 * verts[:, :2] + 1) / size - 1),
    ),
    Mistake(
        "width and height exchanged",
        "You scaled x with the height and y with the width. On a square map nobody would notice.",
        wrong=partial(read, at=lambda verts, size: (verts[:, :2] + 1) * size.flip(0) / size - 1),
    ),
    Mistake(
        "y upwards",
        "You took y to run upwards. -1 is the top, as everywhere in pictures: row 0.",
        wrong=partial(read, at=lambda verts, size: verts * torch.tensor([1, -1, 1])),
    ),
    Mistake(
        "x to the left",
        "You took x to run to the left. -1 is the left side: column 0.",
        wrong=partial(read, at=lambda verts, size: verts * torch.tensor([-1, 1, 1])),
    ),
    Mistake(
        "half a cell off",
        "You took a cell's value to belong to its upper left corner. It belongs to its middle: the value of column 0 "
        "lies half a cell from the left side.",
        wrong=partial(read, at=lambda verts, size: verts[:, :2] + 1 / size),
    ),
    Mistake(
        "half a cell off, the other way",
        "You read half a cell too far to the left and up. Is half a cell taken away twice?",
        wrong=partial(read, at=lambda verts, size: verts[:, :2] - 1 / size),
    ),
    Mistake(
        "the cell instead of a mix",
        "You return the value of the cell in which the vertex falls. It should be a mix of the four cells around it.",
        wrong=partial(read, mode="nearest"),
    ),
    Mistake(
        "reshaped instead of transposed",
        "Your result holds the right numbers in the wrong places: (C, V) was *reshaped* to (V, C), which keeps the "
        "order of the numbers and mixes vertices and channels. Exchange the axes.",
        wrong=lambda feature, verts: read(feature, verts).T.reshape(len(verts), len(feature)),
    ),
    Mistake(
        "the far cell counts more",
        "Your weights are exchanged: of two cells, the one that is *further* away counts more. In a cell's middle the "
        "value must be its own.",
        wrong=partial(by_hand, near=False),
    ),
    Mistake(
        "beyond the middles it goes on",
        "Right between the middles. Beyond the first ones you continue the slope between two cells. Clamp the *place*, "
        "not only the cells.",
        wrong=partial(by_hand, clamped=False),
    ),
    Mistake(
        "beyond the middles it goes on, on both sides",
        "Right between the middles. Beyond the outermost ones you continue the slope between two cells. Clamp the "
        "*place*, not only the cells.",
        wrong=partial(by_hand, clamped=False, first=1),
    ),
]

EXERCISE = Exercise(
    name="vert_align",
    reference=vert_align,
    cases=cases,
    takes={"feature": Kind.MAP},
    gives=Kind.NUMBERS,
    mistakes=MISTAKES,
)
