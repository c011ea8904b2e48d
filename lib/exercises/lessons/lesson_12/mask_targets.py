"""What the mask branch is to draw: of each region's thing the part inside of the region."""

import torch
from torch import Tensor
from torchvision.ops import roi_align

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.ops.masks import masks_to_boxes, project_masks_on_boxes


def mask_targets(masks: Tensor, boxes: Tensor, matched: Tensor, size: int) -> Tensor:
    """The course's own, `lib.ops.masks.project_masks_on_boxes` without rounding."""
    return project_masks_on_boxes(masks, boxes, matched, size, aligned=True)


def cases() -> list[Case]:
    masks = torch.zeros(3, 24, 32, dtype=torch.bool)
    masks[0, 4:12, 6:14] = True  # a square
    masks[1, 10:20, 16:30], masks[1, 10:14, 24:30] = True, False  # a step
    masks[2] = torch.ones(24, 32).tril().bool()  # below the diagonal
    boxes = torch.tensor(
        [[6.0, 4, 14, 12], [15.0, 9, 31, 21], [2.5, 3.25, 11, 12.5], [10.0, 2, 26.5, 19], [0, 0, 32, 24]]
    )
    places = [torch.tensor(one) for one in ([0], [0], [1, 0, 0], [2, 1, 0, 1, 2], [], [1])]
    named = {
        "a square in its own box": (masks, boxes[:1], places[0], 4),
        "the left part of the square": (masks, torch.tensor([[2.0, 4, 10, 12]]), places[1], 4),
        "three regions of two things": (masks, boxes[1:4], places[2], 7),
        "five regions in any order": (masks, boxes, places[3], 5),
        "no region": (masks, boxes[:0], places[4].long(), 4),
        "a region smaller than its grid": (masks, torch.tensor([[21.3, 11.2, 26.1, 15.9]]), places[5], 14),
    }
    return [Case(label, arguments, one_at_a_time(*arguments)) for label, arguments in named.items()]


def one_at_a_time(masks: Tensor, boxes: Tensor, matched: Tensor, size: int) -> Tensor:
    """The truth: each region is cut out of its own mask by torchvision's function."""
    targets = [
        roi_align(masks[place][None, None].float(), [box[None]], size, 1.0, aligned=True)[0]
        for box, place in zip(boxes, matched.tolist(), strict=True)
    ]
    return torch.cat([torch.zeros(0, size, size), *targets])  # (P, M, M)


@mistake(
    "the thing's own box",
    "You cut each mask by the thing's own box. Cut it by the *region*: the branch sees no more than that.",
)
def own_box(masks, boxes, matched, size):
    true = masks_to_boxes(masks) + torch.tensor([0.0, 0, 1, 1])  # (N, 4)
    return mask_targets(masks, true[matched], matched, size)


@mistake(
    "masks in their own order",
    "You cut the first region out of the first mask, the second out of the second ... Which one a region shows is said "
    "by `matched`.",
)
def in_order(masks, boxes, matched, size):
    return mask_targets(masks, boxes, torch.arange(len(boxes)) % len(masks), size)


@mistake("always the first mask", "You cut all regions out of the first mask. `matched` says which one each shows.")
def the_first(masks, boxes, matched, size):
    return mask_targets(masks, boxes, torch.zeros_like(matched), size)


@mistake(
    "all things at once", "Your masks show all things of the picture. A region's target shows its own thing alone."
)
def all_things(masks, boxes, matched, size):
    return mask_targets(masks.any(dim=0, keepdim=True), boxes, torch.zeros_like(matched), size)


@mistake(
    "half a pixel off",
    "Everything is half a pixel too far left and up, as without `aligned=True`: a pixel's value belongs to its middle.",
)
def not_aligned(masks, boxes, matched, size):
    return project_masks_on_boxes(masks, boxes, matched, size, aligned=False)


@mistake(
    "made yes or no",
    "You made the targets 0 or 1. A cell that the thing covers in part has that part: 0.5 says where the edge runs.",
)
def thresholded(masks, boxes, matched, size):
    return (mask_targets(masks, boxes, matched, size) > 0.5).float()


@mistake(
    "the whole picture",
    "You brought the whole mask to `size`, whatever the region. Only what is inside of the region counts.",
)
def whole_picture(masks, boxes, matched, size):
    whole = torch.tensor([0.0, 0, masks.shape[2], masks.shape[1]]).expand(len(boxes), 4)
    return mask_targets(masks, whole, matched, size)


@mistake(
    "other points",
    "You gave `sampling_ratio` a value. Leave it as it is, so that a bin has as many points as it has pixels.",
)
def two_points(masks, boxes, matched, size):
    regions = torch.cat([matched[:, None].float(), boxes], dim=1)
    return roi_align(masks[:, None].float(), regions, size, 1.0, 2, aligned=True)[:, 0]


EXERCISE = Exercise(
    name="mask_targets",
    reference=mask_targets,
    cases=cases,
    takes={"masks": Kind.MASK, "boxes": Kind.BOXES, "matched": Kind.INDICES},
    gives=Kind.MAP,
    mistakes=[
        own_box, in_order, the_first, all_things, not_aligned, thresholded, whole_picture,
        two_points,
    ],
    picture=compare_maps,
)  # fmt: skip
