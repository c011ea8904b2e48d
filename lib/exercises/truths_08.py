"""What the exercises of lesson 08 are tried on: inputs, the truth by another road than the solution, and wrong answers.

The exercises themselves, with the words for each mistake, are in `lesson_08.py`.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder as TorchvisionBoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator as TorchvisionAnchors
from torchvision.models.detection.rpn import RegionProposalNetwork as TorchvisionRPN
from torchvision.ops import batched_nms, clip_boxes_to_image

from lib.exercises.exercise import Case
from lib.ops.anchors import cell_anchors, grid_anchors
from lib.ops.box_coder import BoxCoder
from lib.ops.boxes import remove_small_boxes
from lib.ops.matching import Matcher
from lib.ops.nms import nms

Numbers = tuple[float, ...]
LIMIT = math.log(1000 / 16)
BETA = 1 / 9


def random_values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- make_anchors -------------------------------------------------------------------------------------------------


def make_anchors(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    """The course's own, as `lib.ops.anchors.AnchorGenerator` makes them."""
    return grid_anchors(cell_anchors(sizes, ratios), (height, width), (stride, stride))


def anchor_cases() -> list[Case]:
    return [
        Case(label, numbers, anchors_by_torchvision(*numbers))
        for label, numbers in (
            ("one cell, one size, three ratios", (1, 1, 8, (16,), (0.5, 1.0, 2.0))),
            ("one row of three cells", (1, 3, 8, (20,), (1.0,))),
            ("two rows of three cells, two sizes, three ratios", (2, 3, 8, (10, 18), (0.5, 1.0, 2.0))),
            ("a tall map, stride 16", (3, 2, 16, (32, 64), (1.0, 3.0))),
            ("a map without cells", (0, 3, 8, (16,), (1.0, 2.0))),
        )
    ]


def anchors_by_torchvision(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    """The truth."""
    generator = TorchvisionAnchors((sizes,), (ratios,))
    generator.set_cell_anchors(torch.float32, torch.device("cpu"))
    return generator.grid_anchors([(height, width)], [[torch.tensor(stride), torch.tensor(stride)]])[0]


def around_zero(sizes: Numbers, ratios: Numbers) -> Tensor:
    """The anchors of one place, around (0, 0), without rounding: (ratios, sizes, 4)."""
    shapes = [[(size / math.sqrt(ratio), size * math.sqrt(ratio)) for size in sizes] for ratio in ratios]
    halves = torch.tensor(shapes) / 2  # (ratios, sizes, 2)
    return torch.cat([-halves, halves], dim=2)


def spread(anchors: Tensor, height: int, width: int, stride: float, shift: float = 0.0) -> Tensor:
    """Anchors (A, 4) at every place: (height, width, A, 4)."""
    y, x = torch.meshgrid(torch.arange(height) * stride + shift, torch.arange(width) * stride + shift, indexing="ij")
    return torch.stack([x, y, x, y], dim=2)[:, :, None] + anchors


def x_and_y_swapped(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    placed = spread(torch.zeros(1, 4), height, width, stride)[..., [1, 0, 3, 2]]  # (height, width, 1, 4)
    return (placed + cell_anchors(sizes, ratios)).reshape(-1, 4)


def ratios_inverted(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    return make_anchors(height, width, stride, sizes, tuple(1 / ratio for ratio in ratios))


def area_not_kept(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    halves = torch.tensor([[size / 2, size * ratio / 2] for ratio in ratios for size in sizes])
    return spread(torch.cat([-halves, halves], 1).round(), height, width, stride).reshape(-1, 4)


def ratio_without_root(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    return make_anchors(height, width, stride, sizes, tuple(ratio**2 for ratio in ratios))


def in_the_middle_of_cells(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    return spread(cell_anchors(sizes, ratios), height, width, stride, stride / 2).reshape(-1, 4)


def stride_forgotten(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    return make_anchors(height, width, 1, sizes, ratios)


def anchors_before_cells(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    return spread(cell_anchors(sizes, ratios), height, width, stride).permute(2, 0, 1, 3).reshape(-1, 4)


def column_by_column(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    return spread(cell_anchors(sizes, ratios), height, width, stride).transpose(0, 1).reshape(-1, 4)


def ratios_of_each_size(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    anchors = around_zero(sizes, ratios).transpose(0, 1).reshape(-1, 4).round()
    return spread(anchors, height, width, stride).reshape(-1, 4)


def not_rounded(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    return spread(around_zero(sizes, ratios).reshape(-1, 4), height, width, stride).reshape(-1, 4)


def twice_as_large(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    return spread((2 * around_zero(sizes, ratios)).reshape(-1, 4).round(), height, width, stride).reshape(-1, 4)


def corner_at_the_place(height: int, width: int, stride: int, sizes: Numbers, ratios: Numbers) -> Tensor:
    anchors = cell_anchors(sizes, ratios)
    return spread(anchors - anchors[:, :2].repeat(1, 2), height, width, stride).reshape(-1, 4)


def only_places_differ(got: Tensor, expected: Tensor, case: Case) -> bool:
    return _alike(got, expected, 1) and not _alike(got, expected, 0)


def only_sizes_differ(got: Tensor, expected: Tensor, case: Case) -> bool:
    return _alike(got, expected, 0) and not _alike(got, expected, 1)


def _alike(got: Tensor, expected: Tensor, which: int) -> bool:
    """Whether two lists of boxes have the same middles (which = 0) or the same sides (1)."""
    return got.shape == expected.shape and torch.allclose(parts(got)[which], parts(expected)[which], atol=1e-3)


# --- match_anchors ------------------------------------------------------------------------------------------------


def match_anchors(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    """The course's own."""
    return Matcher(high, low, allow_low_quality_matches=True)(iou)


def match_cases() -> list[Case]:
    return [
        Case(label, (torch.tensor(rows), *limits), matched_one_by_one(torch.tensor(rows), *limits))
        for label, rows, limits in (
            ("one object: close, near, far", [[0.8, 0.5, 0.1, 0.0, 0.75]], ()),
            ("two objects", [[0.8, 0.1, 0.5, 0.0, 0.2, 0.9], [0.2, 0.72, 0.4, 0.1, 0.1, 0.1]], ()),
            ("a small object: no anchor reaches 0.7", [[0.9, 0.1, 0.0, 0.2], [0.0, 0.2, 0.45, 0.35]], ()),
            ("a tiny one: its best anchor has 0.2, twice", [[0.0, 0.2, 0.1, 0.2]], ()),
            ("overlaps of exactly 0.5 and 0.25, as high and low", [[0.5, 0.25, 0.125, 0.75]], (0.5, 0.25)),
            (
                "a crowd: an object's best anchor overlaps another object more",
                [[0.9, 0.6, 0.1, 0.0], [0.1, 0.5, 0.4, 0.2]],
                (),
            ),
            ("an object that touches no anchor", [[0.8, 0.1, 0.4], [0.0, 0.0, 0.0]], ()),
        )
    ] + [Case("no object", (torch.zeros(0, 4),), torch.full((4,), -1))]


def matched_one_by_one(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    """The truth: anchor by anchor, as the rules are written."""
    best_of_truth = [max(row) for row in iou.tolist()]
    answers = []
    for column in iou.T.tolist():
        best = max(column)
        rescued = any(value == most > 0 for value, most in zip(column, best_of_truth))
        if best >= high or rescued:
            answers.append(column.index(best))
        else:
            answers.append(-1 if best < low else -2)
    return torch.tensor(answers)


def by_thresholds(iou: Tensor, high: float, low: float) -> tuple[Tensor, Tensor]:
    """(A,) the answer without the rule of the best anchor, and which truth is nearest."""
    if not len(iou):
        return torch.full((iou.shape[1],), -1), torch.zeros(iou.shape[1], dtype=torch.int64)
    best, nearest = iou.max(dim=0)
    matches = nearest.clone()
    matches[best < high] = -2
    matches[best < low] = -1
    return matches, nearest


def without_rescue(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    return by_thresholds(iou, high, low)[0]


def ignored_is_background(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    return match_anchors(iou, high, low).clamp(min=-1)


def names_swapped(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    matches = match_anchors(iou, high, low)
    return torch.where(matches < 0, -3 - matches, matches)


def first_of_a_tie(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    matches, nearest = by_thresholds(iou, high, low)
    if len(iou):
        chosen = iou.argmax(dim=1)[iou.amax(dim=1) > 0]
        matches[chosen] = nearest[chosen]
    return matches


def given_to_who_asked(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    matches, _ = by_thresholds(iou, high, low)
    for number, row in enumerate(iou):
        if row.max() > 0:
            matches[row == row.max()] = number
    return matches


def more_than_high(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    return match_anchors(iou, high + 1e-6, low)


def low_is_background(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    return match_anchors(iou, high, low + 1e-6)


def without_thresholds(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    return iou.argmax(dim=0) if len(iou) else torch.full((iou.shape[1],), -1)


def one_for_each_object(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    return iou.argmax(dim=1)


def rescued_by_nothing(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    matches, nearest = by_thresholds(iou, high, low)
    if len(iou):
        rescued = (iou == iou.amax(dim=1, keepdim=True)).any(dim=0)
        matches[rescued] = nearest[rescued]
    return matches


def numbered_from_one(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    matches = match_anchors(iou, high, low)
    return torch.where(matches >= 0, matches + 1, matches)


# --- decode_boxes -------------------------------------------------------------------------------------------------


def decode_boxes(deltas: Tensor, anchors: Tensor) -> Tensor:
    """The course's own."""
    return BoxCoder().decode_single(deltas, anchors).reshape(-1, 4)


def decode_cases() -> list[Case]:
    anchors = torch.tensor([[0.0, 0, 20, 10], [-6, 12, 26, 76], [40, 40, 48, 64], [10, 30, 60, 40]])
    shifts = torch.tensor([[0.5, 0, 0, 0], [0, -0.25, 0, 0], [0.1, 0.2, 0, 0], [-1, 0.5, 0, 0]])
    sizes = torch.tensor([[0, 0, math.log(2), 0], [0, 0, 0, -math.log(4)], [0, 0, 0.3, 0.3], [0, 0, -0.5, 0.25]])
    named = {
        "nothing is to be moved": torch.zeros(4, 4),
        "only moved": shifts,
        "only another size": sizes,
        "all at once": 0.4 * random_values(4, 4),
        "a wild guess: tw and th of 9": 0.3 * random_values(4, 4, seed=1) + torch.tensor([0.0, 0, 9, 9]),
    }
    cases = [
        Case.from_truth(label, (deltas, anchors), decoded_by_torchvision, ("deltas",))
        for label, deltas in named.items()
    ]
    return [*cases, Case("no anchor", (torch.zeros(0, 4), torch.zeros(0, 4)), torch.zeros(0, 4))]


def decoded_by_torchvision(deltas: Tensor, anchors: Tensor) -> Tensor:
    """The truth."""
    return TorchvisionBoxCoder((1.0, 1.0, 1.0, 1.0)).decode_single(deltas, anchors)


def parts(anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Middles (A, 2), and widths and heights (A, 2)."""
    return (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]


def from_parts(middles: Tensor, sides: Tensor) -> Tensor:
    return torch.cat([middles - sides / 2, middles + sides / 2], dim=1)


def exp_forgotten(got: Tensor, expected: Tensor, case: Case) -> bool:
    return _grown_by(case, lambda t: t, got)


def plus_one_instead_of_exp(got: Tensor, expected: Tensor, case: Case) -> bool:
    return _grown_by(case, lambda t: 1 + t, got)


def _grown_by(case: Case, factor: Callable[[Tensor], Tensor], got: Tensor) -> bool:
    """Whether the sides were multiplied by another factor than exp; with or without a limit."""
    deltas, anchors = case.arguments
    middles, sides = parts(anchors)
    return torch.allclose(got, from_parts(middles + deltas[:, :2] * sides, sides * factor(deltas[:, 2:])), atol=1e-3)


def moved_by_pixels(deltas: Tensor, anchors: Tensor) -> Tensor:
    middles, sides = parts(anchors)
    return from_parts(middles + deltas[:, :2], sides * deltas[:, 2:].clamp(max=LIMIT).exp())


def from_the_corner(deltas: Tensor, anchors: Tensor) -> Tensor:
    _, sides = parts(anchors)
    return from_parts(anchors[:, :2] + deltas[:, :2] * sides, sides * deltas[:, 2:].clamp(max=LIMIT).exp())


def without_limit(deltas: Tensor, anchors: Tensor) -> Tensor:
    middles, sides = parts(anchors)
    return from_parts(middles + deltas[:, :2] * sides, sides * deltas[:, 2:].exp())


def left_as_middle_and_size(deltas: Tensor, anchors: Tensor) -> Tensor:
    boxes = decode_boxes(deltas, anchors)
    return torch.cat(parts(boxes), dim=1)


def corner_and_size(deltas: Tensor, anchors: Tensor) -> Tensor:
    boxes = decode_boxes(deltas, anchors)
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1)


def halves_forgotten(deltas: Tensor, anchors: Tensor) -> Tensor:
    middles, sides = parts(decode_boxes(deltas, anchors))
    return torch.cat([middles - sides, middles + sides], dim=1)


def moved_by_new_size(deltas: Tensor, anchors: Tensor) -> Tensor:
    middles, sides = parts(anchors)
    new = sides * deltas[:, 2:].clamp(max=LIMIT).exp()
    return from_parts(middles + deltas[:, :2] * new, new)


def width_and_height_swapped(deltas: Tensor, anchors: Tensor) -> Tensor:
    middles, sides = parts(anchors)
    return from_parts(middles + deltas[:, :2] * sides.flip(1), sides * deltas[:, 2:].clamp(max=LIMIT).exp())


def only_moved(deltas: Tensor, anchors: Tensor) -> Tensor:
    middles, sides = parts(anchors)
    return from_parts(middles + deltas[:, :2] * sides, sides)


# --- filter_proposals ---------------------------------------------------------------------------------------------


def filter_proposals(
    boxes: Tensor, objectness: Tensor, image_size: tuple[int, int], pre_nms: int, post_nms: int, threshold: float
) -> Tensor:
    """The course's own, the steps of `lib.models.faster_rcnn.RegionProposalNetwork.filter_proposals`."""
    boxes, objectness = best_first(boxes, objectness, pre_nms)
    return suppressed(*clipped(boxes, objectness, image_size), threshold)[:post_nms]


def filter_cases() -> list[Case]:
    named = {
        "three boxes, two of them nearly the same": (
            [[10, 10, 30, 30], [11, 10, 31, 30], [50, 40, 70, 60]],
            [0.5, 2.0, 1.0],
            (96, 96),
            10,
            10,
            0.7,
        ),
        "the best comes last": (
            [[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]],
            [-3.0, -2.0, 1.0],
            (96, 96),
            10,
            10,
            0.7,
        ),
        "only the best two may come in": (
            [[10, 10, 30, 30], [50, 40, 70, 60], [50, 41, 70, 61], [0, 70, 20, 90]],
            [0.0, 3.0, 2.0, 1.0],
            (96, 96),
            2,
            10,
            0.7,
        ),
        "only the best two may go out": (
            [[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9], [21, 0, 30, 9]],
            [1.0, 3.0, 2.0, 2.5],
            (96, 96),
            10,
            2,
            0.5,
        ),
        "boxes that reach out of a wide picture": (
            [[60, 20, 90, 60], [-20, -10, 15, 15]],
            [1.0, 2.0],
            (40, 80),
            10,
            10,
            0.7,
        ),
        "a box that lies outside": (
            [[100, 10, 120, 30], [10, 10, 30, 30], [-9, 5, 0, 30]],
            [3.0, 2.0, 1.0],
            (96, 96),
            10,
            10,
            0.7,
        ),
        "the same once the part outside is gone": (
            [[-60, 10, 30, 40], [0, 10, 30, 40]],
            [1.0, 2.0],
            (96, 96),
            10,
            10,
            0.7,
        ),
        "threshold 0.3": (
            [[10, 10, 30, 30], [18, 10, 38, 30], [26, 10, 46, 30]],
            [3.0, 2.0, 1.0],
            (96, 96),
            10,
            10,
            0.3,
        ),
    }
    cases = []
    for label, (boxes, objectness, *rest) in named.items():
        arguments = (torch.tensor(boxes, dtype=torch.float32), torch.tensor(objectness), *rest)
        cases.append(Case(label, arguments, filtered_by_torchvision(*arguments)))
    return [*cases, Case("no box", (torch.zeros(0, 4), torch.zeros(0), (96, 96), 10, 10, 0.7), torch.zeros(0, 4))]


def filtered_by_torchvision(
    boxes: Tensor, objectness: Tensor, image_size: tuple[int, int], pre_nms: int, post_nms: int, threshold: float
) -> Tensor:
    """The truth."""
    before, after = ({"training": count, "testing": count} for count in (pre_nms, post_nms))
    network = TorchvisionRPN(None, None, 0.7, 0.3, 256, 0.5, before, after, threshold).eval()
    return network.filter_proposals(boxes[None], objectness[None], [image_size], [len(boxes)])[0][0]


def best_first(boxes: Tensor, objectness: Tensor, count: int) -> tuple[Tensor, Tensor]:
    order = objectness.argsort(descending=True, stable=True)[:count]
    return boxes[order], objectness[order]


def clipped(boxes: Tensor, objectness: Tensor, image_size: tuple[int, int], tiny: bool = True) -> tuple[Tensor, Tensor]:
    boxes = clip_boxes_to_image(boxes, image_size)
    keep = remove_small_boxes(boxes, 1e-3) if tiny else torch.arange(len(boxes))
    return boxes[keep], objectness[keep]


def suppressed(boxes: Tensor, objectness: Tensor, threshold: float) -> Tensor:
    return boxes[batched_nms(boxes, objectness, torch.zeros(len(boxes)), threshold)]


def not_clipped(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return suppressed(*best_first(boxes, objectness, pre_nms), threshold)[:post_nms]


def clipped_last(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    boxes = suppressed(*best_first(boxes, objectness, pre_nms), threshold)
    boxes = clip_boxes_to_image(boxes, image_size)
    return boxes[remove_small_boxes(boxes, 1e-3)][:post_nms]


def width_before_height(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return filter_proposals(boxes, objectness, image_size[::-1], pre_nms, post_nms, threshold)


def tiny_ones_kept(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    boxes, objectness = best_first(boxes, objectness, pre_nms)
    return suppressed(*clipped(boxes, objectness, image_size, tiny=False), threshold)[:post_nms]


def all_may_come_in(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return filter_proposals(boxes, objectness, image_size, len(boxes), post_nms, threshold)


def cut_after_suppression(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return filter_proposals(boxes, objectness, image_size, len(boxes), min(pre_nms, post_nms), threshold)


def all_may_go_out(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return filter_proposals(boxes, objectness, image_size, pre_nms, len(boxes), threshold)


def both_cuts_before(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return filter_proposals(boxes, objectness, image_size, min(pre_nms, post_nms), post_nms, threshold)


def worst_first(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return filter_proposals(boxes, -objectness, image_size, pre_nms, post_nms, threshold)


def first_in_the_list(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return suppressed(*clipped(boxes[:pre_nms], objectness[:pre_nms], image_size), threshold)[:post_nms]


def in_their_old_order(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    chosen = objectness.argsort(descending=True)[:pre_nms].sort().values
    boxes, objectness = clipped(boxes[chosen], objectness[chosen], image_size)
    return boxes[nms(boxes, objectness, threshold)[:post_nms].sort().values]


def nothing_suppressed(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    boxes, objectness = best_first(boxes, objectness, pre_nms)
    return clipped(boxes, objectness, image_size)[0][:post_nms]


def threshold_on_scores(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    sure = objectness.sigmoid() >= threshold
    return filter_proposals(boxes[sure], objectness[sure], image_size, pre_nms, post_nms, threshold)


# --- rpn_loss -----------------------------------------------------------------------------------------------------


def rpn_loss(objectness: Tensor, deltas: Tensor, matches: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The course's own, the sums of `lib.models.faster_rcnn.RegionProposalNetwork.loss`."""
    counted, positive = matches != -2, matches >= 0
    judged = F.binary_cross_entropy_with_logits(objectness[counted], positive[counted].float())
    moved = F.smooth_l1_loss(deltas[positive], targets[positive], beta=BETA, reduction="sum")
    return judged, moved / counted.sum()


def loss_cases() -> list[Case]:
    cases = []
    for seed, (label, matches) in enumerate(
        {
            "two positives, three of background, one to be ignored": [0, -1, -2, 1, -1, -1],
            "no positive": [-1, -2, -1, -1],
            "a picture with five objects": [4, -1, 2, -2, -2, -1, 0, -1, 4],
            "nothing to be ignored": [0, -1, 0, -1],
        }.items()
    ):
        count = len(matches)
        arguments = (
            random_values(count, seed=seed),
            0.5 * random_values(count, 4, seed=10 + seed),
            torch.tensor(matches),
            0.5 * random_values(count, 4, seed=20 + seed),
        )
        cases.append(Case.from_truth(label, arguments, loss_by_formula, ("objectness", "deltas")))
    return cases


def loss_by_formula(objectness: Tensor, deltas: Tensor, matches: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The truth, anchor by anchor, from the definitions of both losses."""
    judged, moved, counted = torch.zeros(()), 0 * deltas.sum(), 0
    for logit, guess, match, target in zip(objectness, deltas, matches.tolist(), targets):
        if match == -2:
            continue
        counted += 1
        judged = judged + torch.log1p(torch.exp(-logit if match >= 0 else logit))
        if match >= 0:
            size = (guess - target).abs()
            moved = moved + torch.where(size < BETA, size**2 / (2 * BETA), size - BETA / 2).sum()
    return judged / counted, moved / counted


def bce(objectness: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(objectness, labels.float())


def moves(deltas: Tensor, targets: Tensor, beta: float = BETA) -> Tensor:
    return F.smooth_l1_loss(deltas, targets, beta=beta, reduction="sum")


def ignored_as_background(objectness, deltas, matches, targets):
    return rpn_loss(objectness, deltas, matches.clamp(min=-1), targets)


def ignored_not_judged_but_counted(objectness, deltas, matches, targets):
    judged, _ = rpn_loss(objectness, deltas, matches, targets)
    return judged, moves(deltas[matches >= 0], targets[matches >= 0]) / len(matches)


def background_is_moved(objectness, deltas, matches, targets):
    counted = matches != -2
    return rpn_loss(objectness, deltas, matches, targets)[0], moves(deltas[counted], targets[counted]) / counted.sum()


def over_positives(objectness, deltas, matches, targets):
    positive = matches >= 0
    return (
        rpn_loss(objectness, deltas, matches, targets)[0],
        moves(deltas[positive], targets[positive]) / positive.sum(),
    )


def over_positives_or_one(objectness, deltas, matches, targets):
    positive = matches >= 0
    box = moves(deltas[positive], targets[positive]) / positive.sum().clamp(min=1)
    return rpn_loss(objectness, deltas, matches, targets)[0], box


def mean_of_numbers(objectness, deltas, matches, targets):
    positive = matches >= 0
    box = F.smooth_l1_loss(deltas[positive], targets[positive], beta=BETA)
    return rpn_loss(objectness, deltas, matches, targets)[0], box


def only_added_up(objectness, deltas, matches, targets):
    positive = matches >= 0
    return rpn_loss(objectness, deltas, matches, targets)[0], moves(deltas[positive], targets[positive])


def objectness_added_up(objectness, deltas, matches, targets):
    judged, box = rpn_loss(objectness, deltas, matches, targets)
    return judged * (matches != -2).sum(), box


def sigmoid_twice(objectness, deltas, matches, targets):
    counted = matches != -2
    return bce(objectness.sigmoid()[counted], matches[counted] >= 0), rpn_loss(objectness, deltas, matches, targets)[1]


def number_of_the_object(objectness, deltas, matches, targets):
    counted = matches != -2
    return bce(objectness[counted], matches[counted].clamp(min=0)), rpn_loss(objectness, deltas, matches, targets)[1]


def object_0_is_background(objectness, deltas, matches, targets):
    counted, positive = matches != -2, matches > 0
    judged = bce(objectness[counted], positive[counted])
    return judged, moves(deltas[positive], targets[positive]) / counted.sum()


def positives_only(objectness, deltas, matches, targets):
    positive = matches >= 0
    return bce(objectness[positive], positive[positive]), rpn_loss(objectness, deltas, matches, targets)[1]


def beta_of_one(objectness, deltas, matches, targets):
    positive = matches >= 0
    box = moves(deltas[positive], targets[positive], 1.0) / (matches != -2).sum()
    return rpn_loss(objectness, deltas, matches, targets)[0], box


def plain_l1(objectness, deltas, matches, targets):
    positive = matches >= 0
    box = (deltas[positive] - targets[positive]).abs().sum() / (matches != -2).sum()
    return rpn_loss(objectness, deltas, matches, targets)[0], box


def added_together(objectness, deltas, matches, targets):
    return sum(rpn_loss(objectness, deltas, matches, targets))
