"""Cut a region out of a feature map, into a small map of fixed size."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.ops import roi

Cells = tuple[int, int, int, int]


def project_roi(box: Tensor, spatial_scale: float) -> Cells:
    """The course's own: the rounding of `lib.ops.roi.roi_pool`."""
    left, top, right, bottom = (box * spatial_scale + 0.5).floor().int().tolist()
    return left, top, right, bottom


def rounded_down(box: Tensor, spatial_scale: float) -> Cells:
    return tuple((box * spatial_scale).floor().int().tolist())


def rows_first(box: Tensor, spatial_scale: float) -> Cells:
    left, top, right, bottom = project_roi(box, spatial_scale)
    return top, left, bottom, right


def roi_max_pool(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    """The course's own road, `lib.ops.roi.roi_pool`, for one picture and one box."""
    return roi.roi_pool(features[None], [box[None]], output_size, spatial_scale)[0]


def cases() -> list[Case]:
    named = {
        "a region of 6 × 6 cells in 2 × 2 bins": ((2, 12, 12), [16, 8, 56, 48], 2, 1 / 8),
        "a region of 7 × 5 cells in 3 × 3 bins": ((3, 12, 12), [9, 25, 57, 55], 3, 1 / 8),
        "a region of 3 × 2 cells in 4 × 4 bins": ((2, 12, 12), [22, 50, 38, 58], 4, 1 / 8),
        "corners at half a cell: 20 / 8 is 2.5": ((2, 12, 12), [20, 36, 52, 76], 2, 1 / 8),
        "a map of 6 × 9 cells, stride 16": ((2, 6, 9), [17, 20, 120, 74], 3, 1 / 16),
        "a box that ends at the edge of the picture": ((2, 12, 12), [60, 30, 96, 96], 3, 1 / 8),
        "a small box in the corner of the picture": ((2, 12, 12), [91, 90, 96, 96], 3, 1 / 8),
    }
    return [
        Case.from_truth(
            label,
            (random_values(*shape, seed=seed), torch.tensor(box, dtype=torch.float32), bins, scale),
            _pool_by_torchvision,
            gradients_of=("features",),
        )
        for seed, (label, (shape, box, bins, scale)) in enumerate(named.items())
    ]


def _pool_by_torchvision(features, box, output_size, spatial_scale):
    return torchvision.ops.roi_pool(features[None], [box[None]], output_size, spatial_scale)[0]


Largest = Callable[[Tensor], Tensor]


def _largest_or_0(cells: Tensor) -> Tensor:
    return cells.flatten(1).max(dim=1).values if cells.numel() else cells.new_zeros(len(cells))


def _pooled(
    features: Tensor,
    region: Cells,
    bins: int,
    start: Callable = math.floor,
    end: Callable = math.ceil,
    extra: int = 1,
    of_cells: Largest = _largest_or_0,
) -> Tensor:
    """RoI pooling with its decisions open: how starts and ends are rounded, the + 1, and what is taken of a bin."""
    left, top, right, bottom = region
    down, across = (max(last - first + extra, 1) / bins for first, last in ((top, bottom), (left, right)))
    rows = [slice(top + start(i * down), top + end((i + 1) * down)) for i in range(bins)]
    columns = [slice(left + start(j * across), left + end((j + 1) * across)) for j in range(bins)]
    return torch.stack(
        [torch.stack([of_cells(features[:, row, column]) for column in columns], dim=1) for row in rows], dim=1
    )  # (C, bins, bins)


@mistake(
    "scale forgotten",
    "You took pixels for cells. A box of 40 pixels is 5 cells wide on a map of stride 8.",
)
def scale_forgotten(features, box, output_size, spatial_scale):
    return _pooled(features, project_roi(box, 1.0), output_size)


@mistake(
    "last cell left out",
    "Your region is one cell too narrow and one too low. It goes from its first cell to its last, both "
    "included: from 2 to 7 there are 6.",
)
def last_cell_left_out(features, box, output_size, spatial_scale):
    return _pooled(features, project_roi(box, spatial_scale), output_size, extra=0)


@mistake(
    "rows for columns",
    "You cut out the region mirrored at the diagonal: left and right count columns, the *last* axis of the "
    "map; top and bottom count rows.",
)
def rows_for_columns(features, box, output_size, spatial_scale):
    return _pooled(features, rows_first(box, spatial_scale), output_size)


@mistake(
    "mean instead of maximum",
    "You average the cells of a bin. RoI pooling keeps the largest number of each channel.",
)
def mean_of_bins(features, box, output_size, spatial_scale):
    def mean(cells: Tensor) -> Tensor:
        return cells.mean(dim=(1, 2)) if cells.numel() else cells.new_zeros(len(cells))

    return _pooled(features, project_roi(box, spatial_scale), output_size, of_cells=mean)


@mistake(
    "ends rounded down",
    "Your bins end too early: they share no cell, and some hold none. A bin starts at a rounded-*down* and "
    "ends at a rounded-*up* place, so that a cell on the border counts in both bins.",
)
def ends_rounded_down(features, box, output_size, spatial_scale):
    return _pooled(features, project_roi(box, spatial_scale), output_size, end=math.floor)


@mistake(
    "bins without cells",
    "Your bins end too early: here they share no cell, and where the region is smaller than the output some "
    "hold none at all, and there is no largest of nothing. A bin starts at a rounded-*down* and ends at a "
    "rounded-*up* place: then it holds at least one cell of the region.",
)
def ends_rounded_down_unguarded(features, box, output_size, spatial_scale):
    return _pooled(
        features,
        project_roi(box, spatial_scale),
        output_size,
        end=math.floor,
        of_cells=lambda cells: cells.amax(dim=(1, 2)),
    )


@mistake(
    "starts rounded up",
    "Some cells of the region are in no bin of yours. Round the start of a bin down.",
)
def starts_rounded_up(features, box, output_size, spatial_scale):
    return _pooled(features, project_roi(box, spatial_scale), output_size, start=math.ceil)


@mistake(
    "the rest of the cells lost",
    "You made every bin the same whole number of cells. 7 cells in 3 bins are 2⅓ cells each: what is left "
    "over at the end is lost. Round each bin's start and end, not its size.",
)
def whole_bins(features, box, output_size, spatial_scale):
    left, top, right, bottom = project_roi(box, spatial_scale)
    width, height = (max((last - first + 1) // output_size, 1) for first, last in ((left, right), (top, bottom)))
    fitting = left, top, left + width * output_size - 1, top + height * output_size - 1
    return _pooled(features, fitting, output_size)


@mistake(
    "an empty bin is −∞",
    "A bin that lies outside of the map has no cells. Let it be 0: −∞ would ruin every sum that comes after it.",
)
def minus_infinity(features, box, output_size, spatial_scale):
    def largest(cells: Tensor) -> Tensor:
        return cells.amax(dim=(1, 2)) if cells.numel() else cells.new_full((len(cells),), -torch.inf)

    return _pooled(features, project_roi(box, spatial_scale), output_size, of_cells=largest)


@mistake(
    "an empty bin crashes",
    "This region reaches beyond the last cell of the map, so a bin can lie outside of it altogether. There "
    "is no largest of nothing: such a bin is 0.",
)
def unguarded(features, box, output_size, spatial_scale):
    return _pooled(
        features, project_roi(box, spatial_scale), output_size, of_cells=lambda cells: cells.amax(dim=(1, 2))
    )


@mistake(
    "never below 0",
    "Where all cells of a bin are negative you return 0. Did you start from zeros, and take the larger of the two?",
)
def never_below_0(features, box, output_size, spatial_scale):
    return roi_max_pool(features, box, output_size, spatial_scale).clamp(min=0)


@mistake(
    "cut at the edge before it is divided",
    "Right for boxes inside the picture. At its edge, you first cut the region to the map and then divided "
    "what was left. Divide the whole region; what lies beyond the map is just not there.",
)
def cut_before_dividing(features, box, output_size, spatial_scale):
    left, top, right, bottom = project_roi(box, spatial_scale)
    return F.adaptive_max_pool2d(features[:, top : bottom + 1, left : right + 1], output_size)


@mistake(
    "corners rounded down",
    "Your region starts or ends a cell too early: its corners go to the *nearest* cell. Use `project_roi`.",
)
def corners_rounded_down(features, box, output_size, spatial_scale):
    return _pooled(features, rounded_down(box, spatial_scale), output_size)


@mistake(
    "zeros beyond the map",
    "Beyond the edge of the map you see zeros, and a 0 beats every negative number. What is not there cannot be the "
    "largest.",
)
def zeros_at_the_edge(features, box, output_size, spatial_scale):
    return _pooled(F.pad(features, (0, 2, 0, 2)), project_roi(box, spatial_scale), output_size)


@mistake(
    "corners rounded to the even number",
    "Right, but for corners at half a cell: `round` takes 2.5 to 2. Use `project_roi`, where a half goes up.",
)
def half_to_even_corners(features, box, output_size, spatial_scale):
    return _pooled(features, tuple((box * spatial_scale).round().int().tolist()), output_size)


@mistake(
    "edges of bins rounded to the nearest",
    "You rounded where bins begin and end to the nearest cell, so that they do not overlap. A start is rounded down, "
    "an end up.",
)
def edges_to_the_nearest(features, box, output_size, spatial_scale):
    def nearest(edge: float) -> int:
        return math.floor(edge + 0.5)

    return _pooled(features, project_roi(box, spatial_scale), output_size, start=nearest, end=nearest)


EXERCISE = Exercise(
    name="roi_max_pool",
    reference=roi_max_pool,
    cases=cases,
    takes={"features": Kind.MAP, "box": Kind.BOXES},
    gives=Kind.MAP,
    mistakes=[
        scale_forgotten,
        last_cell_left_out,
        rows_for_columns,
        mean_of_bins,
        ends_rounded_down,
        ends_rounded_down_unguarded,
        starts_rounded_up,
        whole_bins,
        unguarded,
        minus_infinity,
        never_below_0,
        cut_before_dividing,
        corners_rounded_down,
        zeros_at_the_edge,
        half_to_even_corners,
        edges_to_the_nearest,
    ],
    picture=compare_maps,
)
