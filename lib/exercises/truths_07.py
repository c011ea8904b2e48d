"""What the exercises of lesson 07 are tried on: inputs, the truth by another road than the solution, and wrong answers.

The exercises themselves, with the words for each mistake, are in `lesson_07.py`.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor
from torchvision.models.detection.roi_heads import fastrcnn_loss

from lib.exercises.exercise import Case, WrongResult
from lib.ops import roi

Cells = tuple[int, int, int, int]


def random_values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- project_roi --------------------------------------------------------------------------------------------------


def project_roi(box: Tensor, spatial_scale: float) -> Cells:
    """The course's own: the rounding of `lib.ops.roi.roi_pool`."""
    left, top, right, bottom = (box * spatial_scale + 0.5).floor().int().tolist()
    return left, top, right, bottom


def project_cases() -> list[Case]:
    named = {
        "a box of 37 × 21 pixels, stride 8": ([22, 34, 59, 55], 1 / 8),
        "the whole picture, stride 8": ([0, 0, 96, 96], 1 / 8),
        "a box with fractions of pixels, stride 8": ([10.5, 41.25, 33.75, 70.5], 1 / 8),
        "stride 16": ([30, 9, 90, 75], 1 / 16),
        "stride 4": ([9, 23, 33, 29], 1 / 4),
        "a box that starts at 20, and 20 / 8 is 2.5": ([20, 36, 52, 76], 1 / 8),
        "smaller than a cell, stride 16": ([41, 50, 45, 55], 1 / 16),
    }
    return [
        Case(label, (torch.tensor(box, dtype=torch.float32), scale), _cells_that_count(box, scale))
        for label, (box, scale) in named.items()
    ]


def _cells_that_count(box: list[float], scale: float) -> Cells:
    """The truth, asked of torchvision: cell by cell, does a 1 there show up when the box is pooled into one bin?"""
    side = 26
    one_each = torch.eye(side * side).view(1, side * side, side, side)  # channel c: a 1 at cell c
    pooled = torchvision.ops.roi_pool(one_each, [torch.tensor([box]).float()], 1, scale)  # (1, side², 1, 1)
    inside = pooled.view(side, side).nonzero()  # (cells, 2) row, column
    (top, left), (bottom, right) = inside.min(dim=0).values.tolist(), inside.max(dim=0).values.tolist()
    return left, top, right, bottom


def rounded_down(box: Tensor, spatial_scale: float) -> Cells:
    return tuple((box * spatial_scale).floor().int().tolist())


def rounded_outwards(box: Tensor, spatial_scale: float) -> Cells:
    start, end = (box[:2] * spatial_scale).floor(), (box[2:] * spatial_scale).ceil()
    return tuple(torch.cat([start, end]).int().tolist())


def divided_by_the_scale(box: Tensor, spatial_scale: float) -> Cells:
    return tuple((box / spatial_scale).round().int().tolist())


def one_cell_further(box: Tensor, spatial_scale: float) -> Cells:
    left, top, right, bottom = project_roi(box, spatial_scale)
    return left, top, right + 1, bottom + 1


def one_cell_less(box: Tensor, spatial_scale: float) -> Cells:
    left, top, right, bottom = project_roi(box, spatial_scale)
    return left, top, right - 1, bottom - 1


def rows_first(box: Tensor, spatial_scale: float) -> Cells:
    left, top, right, bottom = project_roi(box, spatial_scale)
    return top, left, bottom, right


def width_and_height(box: Tensor, spatial_scale: float) -> Cells:
    left, top, right, bottom = project_roi(box, spatial_scale)
    return left, top, right - left, bottom - top


def half_to_even(box: Tensor, spatial_scale: float) -> Cells:
    return tuple((box * spatial_scale).round().int().tolist())


# --- roi_max_pool -------------------------------------------------------------------------------------------------


def roi_max_pool(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    """The course's own road, `lib.ops.roi.roi_pool`, for one picture and one box."""
    return roi.roi_pool(features[None], [box[None]], output_size, spatial_scale)[0]


def pool_cases() -> list[Case]:
    named = {
        "a region of 6 × 6 cells in 2 × 2 bins": ((2, 12, 12), [16, 8, 56, 48], 2, 1 / 8),
        "a region of 7 × 5 cells in 3 × 3 bins": ((3, 12, 12), [9, 25, 57, 55], 3, 1 / 8),
        "a region of 3 × 2 cells in 4 × 4 bins": ((2, 12, 12), [22, 50, 38, 58], 4, 1 / 8),
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


def _pool_by_torchvision(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
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


def scale_forgotten(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    return _pooled(features, project_roi(box, 1.0), output_size)


def last_cell_left_out(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    return _pooled(features, project_roi(box, spatial_scale), output_size, extra=0)


def rows_for_columns(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    return _pooled(features, rows_first(box, spatial_scale), output_size)


def mean_of_bins(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    def mean(cells: Tensor) -> Tensor:
        return cells.mean(dim=(1, 2)) if cells.numel() else cells.new_zeros(len(cells))

    return _pooled(features, project_roi(box, spatial_scale), output_size, of_cells=mean)


def ends_rounded_down(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    return _pooled(features, project_roi(box, spatial_scale), output_size, end=math.floor)


def ends_rounded_down_unguarded(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    return _pooled(
        features,
        project_roi(box, spatial_scale),
        output_size,
        end=math.floor,
        of_cells=lambda cells: cells.amax(dim=(1, 2)),
    )


def starts_rounded_up(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    return _pooled(features, project_roi(box, spatial_scale), output_size, start=math.ceil)


def whole_bins(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    left, top, right, bottom = project_roi(box, spatial_scale)
    width, height = (max((last - first + 1) // output_size, 1) for first, last in ((left, right), (top, bottom)))
    fitting = left, top, left + width * output_size - 1, top + height * output_size - 1
    return _pooled(features, fitting, output_size)


def minus_infinity(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    def largest(cells: Tensor) -> Tensor:
        return cells.amax(dim=(1, 2)) if cells.numel() else cells.new_full((len(cells),), -torch.inf)

    return _pooled(features, project_roi(box, spatial_scale), output_size, of_cells=largest)


def unguarded(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    return _pooled(
        features, project_roi(box, spatial_scale), output_size, of_cells=lambda cells: cells.amax(dim=(1, 2))
    )


def never_below_0(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    return roi_max_pool(features, box, output_size, spatial_scale).clamp(min=0)


def cut_before_dividing(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    left, top, right, bottom = project_roi(box, spatial_scale)
    return F.adaptive_max_pool2d(features[:, top : bottom + 1, left : right + 1], output_size)


def corners_rounded_down(features: Tensor, box: Tensor, output_size: int, spatial_scale: float) -> Tensor:
    return _pooled(features, rounded_down(box, spatial_scale), output_size)


# --- sample_regions -----------------------------------------------------------------------------------------------


def sample_regions(overlaps: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The course's own road: as `BalancedPositiveNegativeSampler`, with the paper's numbers."""
    positives = (overlaps >= 0.5).nonzero()[:, 0]
    negatives = ((overlaps >= 0.1) & (overlaps < 0.5)).nonzero()[:, 0]
    positives = positives[torch.randperm(len(positives), generator=generator)[: count // 4]]
    rest = count - len(positives)
    return positives, negatives[torch.randperm(len(negatives), generator=generator)[:rest]]


def _overlaps(many: int, some: int, none: int, seed: int, extra: tuple[float, ...] = ()) -> Tensor:
    """`many` regions of at least 0.5, `some` of 0.1 to 0.5, `none` below 0.1, shuffled."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(many + some + none, generator=generator)
    low = torch.tensor([0.52] * many + [0.12] * some + [0.0] * none)
    width = torch.tensor([0.46] * many + [0.36] * some + [0.09] * none)
    overlaps = torch.cat([low + width * drawn, torch.tensor(extra)])
    return overlaps[torch.randperm(len(overlaps), generator=generator)]


SAMPLING = {
    "20 of 120 regions are positive": (_overlaps(20, 60, 40, seed=0), 32),
    "only 3 are positive": (_overlaps(3, 60, 40, seed=1), 32),
    "none is positive": (_overlaps(0, 60, 40, seed=2), 32),
    "hardly any background to choose from": (_overlaps(30, 10, 40, seed=3), 32),
    "overlaps of exactly 0.5 and 0.1": (_overlaps(0, 0, 5, seed=4, extra=(0.5,) * 2 + (0.1,) * 6), 16),
    "fewer regions than asked for": (_overlaps(2, 4, 3, seed=5), 64),
    "no regions at all": (torch.zeros(0), 16),
}


def sampling_cases() -> list[Case]:
    return [
        Case(label, (overlaps, count, torch.Generator().manual_seed(7)), _counted(overlaps.tolist(), count))
        for label, (overlaps, count) in SAMPLING.items()
    ]


NEITHER = "backgrounds that overlap by less than 0.1"
BETTER = "backgrounds that overlap by 0.5 or more"
WORSE = "positives that overlap by less than 0.5"


def _counted(overlaps: list[float], count: int) -> dict[str, int]:
    tenth = torch.tensor(0.1).item()
    positives = min(sum(value >= 0.5 for value in overlaps), count // 4)
    backgrounds = min(sum(tenth <= value < 0.5 for value in overlaps), count - positives)
    return {"positives": positives, "backgrounds": backgrounds, WORSE: 0, BETTER: 0, NEITHER: 0, "drawn twice": 0}


def look_at_draw(result: object, overlaps: Tensor, count: int, generator: torch.Generator) -> dict[str, int]:
    """What was drawn, in numbers that do not depend on chance."""
    if not isinstance(result, (tuple, list)) or len(result) != 2 or not all(isinstance(x, Tensor) for x in result):
        raise WrongResult(
            "not two tensors",
            "Return two tensors: the numbers of the positives that were drawn, and those of the backgrounds.",
        )
    if any(x.dtype == torch.bool for x in result):
        raise WrongResult(
            "masks instead of numbers",
            "You returned masks of True and False. The task asks for the "
            "numbers of the regions: `nonzero` turns one into the other.",
        )
    if any(x.is_floating_point() and x.numel() for x in result):
        raise WrongResult(
            "overlaps instead of numbers",
            "You returned numbers with decimals: the overlaps themselves? "
            "The task asks for the *places* of the regions in `overlaps`.",
        )
    if any(x.ndim != 1 for x in result):
        shapes = " and ".join(str(tuple(x.shape)) for x in result)
        raise WrongResult(
            "not one axis",
            f"Your two tensors have the shapes {shapes}; each should be a row of numbers, "
            "(n,). `nonzero` gives (n, 1).",
        )
    positives, negatives = (x.long() for x in result)
    both = torch.cat([positives, negatives])
    if len(both) and not 0 <= both.min() <= both.max() < len(overlaps):
        raise WrongResult(
            "places that do not exist",
            f"You drew places {both.min()} to {both.max()}; there are {len(overlaps)} regions, counted from 0.",
        )
    return {
        "positives": len(positives),
        "backgrounds": len(negatives),
        WORSE: int((overlaps[positives] < 0.5).sum()),
        BETTER: int((overlaps[negatives] >= 0.5).sum()),
        NEITHER: int((overlaps[negatives] < 0.1).sum()),
        "drawn twice": len(both) - len(both.unique()),
    }


def all_have_their_chance(function: Callable) -> bool:
    """Whether every region of a kind is drawn sometimes."""
    overlaps, count = SAMPLING["20 of 120 regions are positive"]
    drawn = {
        place
        for seed in range(40)
        for x in function(overlaps, count, torch.Generator().manual_seed(seed))
        for place in x.tolist()
    }
    return drawn == set((overlaps >= 0.1).nonzero()[:, 0].tolist())


def listens_to_the_generator(function: Callable) -> bool:
    """Whether the same generator gives the same draw, whatever PyTorch's own one does."""
    overlaps, count = SAMPLING["20 of 120 regions are positive"]
    draws = []
    for seed in (1, 2, 3):
        torch.manual_seed(seed)
        draws.append([sorted(x.tolist()) for x in function(overlaps, count, torch.Generator().manual_seed(5))])
    return draws[0] == draws[1] == draws[2]


# --- smooth_l1 ----------------------------------------------------------------------------------------------------


def smooth_l1(difference: Tensor, beta: float) -> Tensor:
    """The course's own road."""
    size = difference.abs()
    return torch.where(size < beta, 0.5 * difference**2 / beta, size - 0.5 * beta)


def smooth_cases() -> list[Case]:
    line = torch.linspace(-3, 3, 13)
    named = {
        "from −3 to 3, β = 1": (line, 1.0),
        "from −3 to 3, β = 2": (line, 2.0),
        "β = 1/9, a table of numbers": (random_values(4, 4, seed=3) / 4, 1 / 9),
        "none": (torch.zeros(0, 4), 1.0),
    }
    return [
        Case.from_truth(label, arguments, _smooth_by_torch, gradients_of=("difference",))
        for label, arguments in named.items()
    ]


def _smooth_by_torch(difference: Tensor, beta: float) -> Tensor:
    return F.smooth_l1_loss(difference, torch.zeros_like(difference), beta=beta, reduction="none")


def squared(difference: Tensor, beta: float) -> Tensor:
    return 0.5 * difference**2 / beta


def absolute(difference: Tensor, beta: float) -> Tensor:
    return difference.abs()


def with_a_jump(difference: Tensor, beta: float) -> Tensor:
    return torch.where(difference.abs() < beta, 0.5 * difference**2 / beta, difference.abs())


def half_forgotten(difference: Tensor, beta: float) -> Tensor:
    return torch.where(difference.abs() < beta, difference**2 / beta, difference.abs() - 0.5 * beta)


def sign_kept(difference: Tensor, beta: float) -> Tensor:
    return torch.where(difference.abs() < beta, 0.5 * difference**2 / beta, difference - 0.5 * beta)


def size_not_taken(difference: Tensor, beta: float) -> Tensor:
    return torch.where(difference < beta, 0.5 * difference**2 / beta, difference.abs() - 0.5 * beta)


def beta_is_1(difference: Tensor, beta: float) -> Tensor:
    return smooth_l1(difference, 1.0)


def not_divided_by_beta(difference: Tensor, beta: float) -> Tensor:
    return torch.where(difference.abs() < beta, 0.5 * difference**2, difference.abs() - 0.5 * beta)


def half_whatever_beta(difference: Tensor, beta: float) -> Tensor:
    return torch.where(difference.abs() < beta, 0.5 * difference**2 / beta, difference.abs() - 0.5)


def huber(difference: Tensor, beta: float) -> Tensor:
    return beta * smooth_l1(difference, beta)


def mean_of_all(difference: Tensor, beta: float) -> Tensor:
    return smooth_l1(difference, beta).mean()


def branches_swapped(difference: Tensor, beta: float) -> Tensor:
    return torch.where(difference.abs() >= beta, 0.5 * difference**2 / beta, difference.abs() - 0.5 * beta)


# --- two_task_loss ------------------------------------------------------------------------------------------------

Losses = tuple[Tensor, Tensor]
BETA = 1 / 9


def two_task_loss(class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor) -> Losses:
    """The course's own road: the multi-task loss of Girshick 2015, equation 1, with β = 1/9."""
    return _two(class_logits, box_regression, labels, regression_targets)


def _two(
    class_logits: Tensor,
    box_regression: Tensor,
    labels: Tensor,
    regression_targets: Tensor,
    chosen: Tensor | None = None,
    counted: Tensor | None = None,
    of: Callable[[Tensor], Tensor] | None = None,
) -> Losses:
    """The loss with its decisions open: four numbers for each region (N, 4), what counts, and how it is added up."""
    numbers = torch.arange(len(labels))
    chosen = box_regression.view(len(labels), -1, 4)[numbers, labels] if chosen is None else chosen  # (N, 4)
    counted = labels > 0 if counted is None else counted  # (N,)
    each = smooth_l1((chosen - regression_targets)[counted], BETA)
    return F.cross_entropy(class_logits, labels), each.sum() / len(labels) if of is None else of(each)


def loss_cases() -> list[Case]:
    named = {
        "2 regions, 3 classes": (2, 3, [0, 2]),
        "6 regions, 4 classes": (6, 4, [0, 2, 0, 1, 3, 0]),
        "background only": (4, 3, [0, 0, 0, 0]),
        "no background": (5, 6, [1, 5, 2, 2, 4]),
    }
    cases = []
    for seed, (label, (count, classes, labels)) in enumerate(named.items()):
        arguments = (
            2 * random_values(count, classes, seed=seed),
            random_values(count, 4 * classes, seed=seed + 10),
            torch.tensor(labels),
            random_values(count, 4, seed=seed + 20),
        )
        cases.append(
            Case.from_truth(label, arguments, _loss_by_torchvision, gradients_of=("class_logits", "box_regression"))
        )
    return cases


def _loss_by_torchvision(
    class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor
) -> Losses:
    return fastrcnn_loss(class_logits, box_regression, [labels], [regression_targets])


def background_boxes_too(
    class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor
) -> Losses:
    return _two(class_logits, box_regression, labels, regression_targets, counted=labels >= 0)


def first_class_for_all(
    class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor
) -> Losses:
    return _two(class_logits, box_regression, labels, regression_targets, chosen=box_regression[:, :4])


def one_class_less(class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor) -> Losses:
    rows = box_regression.view(len(labels), -1, 4)[torch.arange(len(labels)), (labels - 1).clamp(min=0)]
    return _two(class_logits, box_regression, labels, regression_targets, chosen=rows)


def best_class_guessed(
    class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor
) -> Losses:
    rows = box_regression.view(len(labels), -1, 4)[torch.arange(len(labels)), class_logits.argmax(dim=1)]
    return _two(class_logits, box_regression, labels, regression_targets, chosen=rows)


def numbers_before_classes(
    class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor
) -> Losses:
    rows = box_regression.view(len(labels), 4, -1)[torch.arange(len(labels)), :, labels]
    return _two(class_logits, box_regression, labels, regression_targets, chosen=rows)


def all_classes_compared(
    class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor
) -> Losses:
    rows = box_regression.view(len(labels), -1, 4)  # (N, K, 4)
    each = smooth_l1((rows - regression_targets[:, None])[labels > 0], BETA)
    return F.cross_entropy(class_logits, labels), each.sum() / len(labels)


def over_positives(class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor) -> Losses:
    return _two(
        class_logits, box_regression, labels, regression_targets, of=lambda each: each.sum() / (labels > 0).sum()
    )


def over_positives_or_1(
    class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor
) -> Losses:
    return _two(
        class_logits,
        box_regression,
        labels,
        regression_targets,
        of=lambda each: each.sum() / (labels > 0).sum().clamp(min=1),
    )


def mean_of_numbers(class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor) -> Losses:
    return _two(class_logits, box_regression, labels, regression_targets, of=torch.mean)


def only_added_up(class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor) -> Losses:
    return _two(class_logits, box_regression, labels, regression_targets, of=torch.sum)


def plain_squares(class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor) -> Losses:
    rows = box_regression.view(len(labels), -1, 4)[torch.arange(len(labels)), labels]
    squares = (rows - regression_targets)[labels > 0] ** 2
    return F.cross_entropy(class_logits, labels), squares.sum() / len(labels)


def plain_sizes(class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor) -> Losses:
    rows = box_regression.view(len(labels), -1, 4)[torch.arange(len(labels)), labels]
    sizes = (rows - regression_targets)[labels > 0].abs()
    return F.cross_entropy(class_logits, labels), sizes.sum() / len(labels)


def beta_of_1(class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor) -> Losses:
    rows = box_regression.view(len(labels), -1, 4)[torch.arange(len(labels)), labels]
    each = smooth_l1((rows - regression_targets)[labels > 0], 1.0)
    return F.cross_entropy(class_logits, labels), each.sum() / len(labels)


def softmax_twice(class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor) -> Losses:
    box_loss = two_task_loss(class_logits, box_regression, labels, regression_targets)[1]
    return F.cross_entropy(class_logits.softmax(dim=1), labels), box_loss


def classes_of_positives(
    class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor
) -> Losses:
    box_loss, hit = two_task_loss(class_logits, box_regression, labels, regression_targets)[1], labels > 0
    return F.cross_entropy(class_logits[hit], labels[hit]), box_loss


def added_together(class_logits: Tensor, box_regression: Tensor, labels: Tensor, regression_targets: Tensor) -> Tensor:
    return sum(two_task_loss(class_logits, box_regression, labels, regression_targets))
