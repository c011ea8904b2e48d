"""From a thousand moved anchors to a handful of proposals."""

import torch
from torch import Tensor
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import batched_nms, clip_boxes_to_image

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.kinds import Kind
from lib.ops.boxes import remove_small_boxes
from lib.ops.nms import nms

Size = tuple[int, int]


def filter_proposals(
    boxes: Tensor, objectness: Tensor, image_size: Size, pre_nms: int, post_nms: int, threshold: float
) -> Tensor:
    """The course's own, the steps of `lib.models.faster_rcnn.RegionProposalNetwork.filter_proposals`."""
    boxes, objectness = best_first(boxes, objectness, pre_nms)
    return suppressed(*clipped(boxes, objectness, image_size), threshold)[:post_nms]


def cases() -> list[Case]:
    wide, square = (40, 80), (96, 96)
    three = [[10, 10, 30, 30], [11, 10, 31, 30], [50, 40, 70, 60]]
    apart = [[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]]
    named = {
        "three boxes, two of them nearly the same": (three, [0.5, 2.0, 0.3], square, 10, 10, 0.7),
        "the best comes last": (apart, [-3.0, -2.0, 1.0], square, 10, 10, 0.7),
        "all logits below 0": (apart, [-3.0, -1.0, -2.0], square, 10, 10, 0.7),
        "only the best two may come in": (
            [[10, 10, 30, 30], [50, 40, 70, 60], [50, 41, 70, 61], [0, 70, 20, 90]],
            [0.0, 3.0, 2.0, 1.0],
            square,
            2,
            10,
            0.7,
        ),
        "of the best two one lies outside": (
            [[-30, 0, -5, 20], [10, 10, 30, 30], [50, 50, 70, 70]],
            [5.0, 4.0, 3.0],
            square,
            2,
            10,
            0.7,
        ),
        "only the best two may go out": (
            [*apart, [21, 0, 30, 9]],
            [1.0, 3.0, 2.0, 2.5],
            square,
            10,
            2,
            0.5,
        ),
        "boxes that reach out of a wide picture": (
            [[60, 20, 90, 60], [-20, -10, 15, 15]],
            [1.0, 2.0],
            wide,
            10,
            10,
            0.7,
        ),
        "boxes that lie outside": (
            [[100, 10, 120, 30], [10, 10, 30, 30], [-9, 5, 0, 30], [20, 97, 40, 120]],
            [3.0, 2.0, 1.0, 0.5],
            square,
            10,
            10,
            0.7,
        ),
        "the best lies outside, and only one may go out": (
            [[100, 10, 120, 30], [10, 10, 30, 30]],
            [3.0, 2.0],
            square,
            10,
            1,
            0.7,
        ),
        "a box that is 0.0005 pixels wide": (
            [[10, 10, 10.0005, 30], [40, 10, 50, 30]],
            [2.0, 1.0],
            square,
            10,
            10,
            0.7,
        ),
        "a box of half a pixel, and one without width": (
            [[10, 10, 10.5, 10.5], [40, 10, 40, 30], [50, 50, 70, 70]],
            [3.0, 2.0, 1.0],
            square,
            10,
            10,
            0.7,
        ),
        "the same once the part outside is cut off": (
            [[-60, 10, 30, 40], [0, 10, 30, 40]],
            [1.0, 2.0],
            square,
            10,
            10,
            0.7,
        ),
        "threshold 0.3": (
            [[10, 10, 30, 30], [18, 10, 38, 30], [26, 10, 46, 30]],
            [3.0, 2.0, 1.0],
            square,
            10,
            10,
            0.3,
        ),
    }
    tried = {
        label: (torch.tensor(boxes, dtype=torch.float32), torch.tensor(objectness), *rest)
        for label, (boxes, objectness, *rest) in named.items()
    }
    return [Case(label, arguments, by_torchvision(*arguments)) for label, arguments in tried.items()]


def by_torchvision(
    boxes: Tensor, objectness: Tensor, image_size: Size, pre_nms: int, post_nms: int, threshold: float
) -> Tensor:
    """The truth."""
    before, after = ({"training": count, "testing": count} for count in (pre_nms, post_nms))
    network = RegionProposalNetwork(None, None, 0.7, 0.3, 256, 0.5, before, after, threshold).eval()
    return network.filter_proposals(boxes[None], objectness[None], [image_size], [len(boxes)])[0][0]


def best_first(boxes: Tensor, objectness: Tensor, count: int) -> tuple[Tensor, Tensor]:
    order = objectness.argsort(descending=True, stable=True)[:count]
    return boxes[order], objectness[order]


def clipped(boxes: Tensor, objectness: Tensor, image_size: Size, least: float = 1e-3) -> tuple[Tensor, Tensor]:
    boxes = clip_boxes_to_image(boxes, image_size)
    keep = remove_small_boxes(boxes, least)
    return boxes[keep], objectness[keep]


def suppressed(boxes: Tensor, objectness: Tensor, threshold: float) -> Tensor:
    return boxes[batched_nms(boxes, objectness, torch.zeros(len(boxes)), threshold)]


@mistake("not clipped", "Some of your boxes reach out of the picture.")
def not_clipped(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    boxes, objectness = best_first(boxes, objectness, pre_nms)
    keep = remove_small_boxes(boxes, 1e-3)
    return suppressed(boxes[keep], objectness[keep], threshold)[:post_nms]


@mistake(
    "clipped last",
    "You clip after suppressing. Two boxes that differ only outside of the picture are then both kept.",
)
def clipped_last(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    boxes = suppressed(*best_first(boxes, objectness, pre_nms), threshold)
    return clipped(boxes, boxes[:, 0], image_size)[0][:post_nms]


@mistake(
    "small ones dropped before clipping",
    "You drop the tiny boxes before you clip. A box that lies outside becomes tiny only by clipping.",
)
def dropped_before_clipping(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    boxes, objectness = best_first(boxes, objectness, pre_nms)
    keep = remove_small_boxes(boxes, 1e-3)
    return suppressed(clip_boxes_to_image(boxes[keep], image_size), objectness[keep], threshold)[:post_nms]


@mistake(
    "width before height",
    "You read `image_size` as (width, height). It is (height, width), like the shape of a tensor.",
)
def width_before_height(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return filter_proposals(boxes, objectness, image_size[::-1], pre_nms, post_nms, threshold)


@mistake(
    "tiny ones kept",
    "A box that lay outside has no area after clipping. Drop it: a region without pixels cannot be cut out.",
)
def tiny_ones_kept(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    boxes, objectness = best_first(boxes, objectness, pre_nms)
    return suppressed(*clipped(boxes, objectness, image_size, least=0.0), threshold)[:post_nms]


@mistake("too much dropped as tiny", "You drop boxes of half a pixel too. The limit is 0.001 pixels.")
def one_pixel_is_tiny(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    boxes, objectness = best_first(boxes, objectness, pre_nms)
    return suppressed(*clipped(boxes, objectness, image_size, least=1.0), threshold)[:post_nms]


@mistake(
    "pre_nms comes after clipping",
    "You drop the boxes outside first and take the best `pre_nms` of the rest. The first step comes first: a box "
    "outside uses up a place.",
)
def cut_after_clipping(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    boxes, objectness = clipped(boxes, objectness, image_size)
    return suppressed(*best_first(boxes, objectness, pre_nms), threshold)[:post_nms]


@mistake(
    "pre_nms comes after",
    "You suppress first and cut to `pre_nms` then. It is there to save the work: only the best `pre_nms` go into the "
    "suppression.",
)
def cut_after_suppression(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return filter_proposals(boxes, objectness, image_size, len(boxes), min(pre_nms, post_nms), threshold)


@mistake("pre_nms ignored", "You let all boxes in, not the best `pre_nms`.")
def all_may_come_in(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return filter_proposals(boxes, objectness, image_size, len(boxes), post_nms, threshold)


@mistake("post_nms ignored", "You give back more than `post_nms` boxes.")
def all_may_go_out(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return filter_proposals(boxes, objectness, image_size, pre_nms, len(boxes), threshold)


@mistake(
    "post_nms comes before",
    "You cut to `post_nms` before suppressing. Doubles then take the places of other objects.",
)
def both_cuts_before(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return filter_proposals(boxes, objectness, image_size, min(pre_nms, post_nms), post_nms, threshold)


@mistake("worst first", "Your order is upside down.")
def worst_first(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return filter_proposals(boxes, -objectness, image_size, pre_nms, post_nms, threshold)


@mistake(
    "the first in the list", "You took the first `pre_nms` boxes as they came, not those with the highest objectness."
)
def first_in_the_list(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return suppressed(*clipped(boxes[:pre_nms], objectness[:pre_nms], image_size), threshold)[:post_nms]


@mistake("in their old order", "The right boxes, but not in the right order. The best comes first.")
def in_their_old_order(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    chosen = objectness.argsort(descending=True)[:pre_nms].sort().values
    boxes, objectness = clipped(boxes[chosen], objectness[chosen], image_size)
    return boxes[nms(boxes, objectness, threshold)[:post_nms].sort().values]


@mistake("nothing suppressed", "Boxes that lie on each other are still there.")
def nothing_suppressed(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return clipped(*best_first(boxes, objectness, pre_nms), image_size)[0][:post_nms]


@mistake(
    "objectness not chosen along",
    "After one of your steps the boxes and their objectness no longer belong together. Choose among both in one way.",
)
def scores_left_behind(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    order = objectness.argsort(descending=True)[:pre_nms]
    boxes = clip_boxes_to_image(boxes[order], image_size)
    keep = remove_small_boxes(boxes, 1e-3)
    return suppressed(boxes[keep], objectness[: len(keep)], threshold)[:post_nms]


@mistake(
    "threshold taken for a score",
    "`threshold` is an overlap, for `nms`. No box is dropped for its objectness alone.",
)
def threshold_on_scores(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    sure = objectness.sigmoid() >= threshold
    return filter_proposals(boxes[sure], objectness[sure], image_size, pre_nms, post_nms, threshold)


@mistake(
    "only logits above 0",
    "You drop boxes whose objectness is below 0. It only orders the boxes: the best come first, however low they are.",
)
def positive_logits_only(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    sure = objectness > 0
    return filter_proposals(boxes[sure], objectness[sure], image_size, pre_nms, post_nms, threshold)


@mistake("places returned", "You return the places of the boxes, as `nms` gives them. Asked are the boxes themselves.")
def places_returned(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    boxes, objectness = clipped(*best_first(boxes, objectness, pre_nms), image_size)
    return nms(boxes, objectness, threshold)[:post_nms]


@mistake(
    "tiny ones dropped last",
    "You drop the tiny boxes after the cut to `post_nms`. By then they have taken the place of others.",
)
def dropped_last(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    boxes, objectness = best_first(boxes, objectness, pre_nms)
    boxes = suppressed(clip_boxes_to_image(boxes, image_size), objectness, threshold)[:post_nms]
    return boxes[remove_small_boxes(boxes, 1e-3)]


@mistake(
    "dropped instead of clipped",
    "You drop every box that reaches out of the picture. It is cut at the border, and stays.",
)
def dropped_instead_of_clipped(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    boxes, objectness = best_first(boxes, objectness, pre_nms)
    inside = (clip_boxes_to_image(boxes, image_size) == boxes).all(dim=1)
    boxes, objectness = clipped(boxes[inside], objectness[inside], image_size)
    return suppressed(boxes, objectness, threshold)[:post_nms]


@mistake("boxes returned as they came", "You chose rightly, but return the boxes before they were cut at the border.")
def unclipped_returned(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    boxes, objectness = best_first(boxes, objectness, pre_nms)
    cut = clip_boxes_to_image(boxes, image_size)
    keep = remove_small_boxes(cut, 1e-3)
    return boxes[keep][nms(cut[keep], objectness[keep], threshold)][:post_nms]


@mistake(
    "cut to post_nms before the suppression",
    "You keep `post_nms` boxes and suppress then, so too few are left. Suppress first: duplicates take no place.",
)
def post_before_suppression(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    boxes, objectness = clipped(*best_first(boxes, objectness, pre_nms), image_size)
    return suppressed(boxes[:post_nms], objectness[:post_nms], threshold)


@mistake("0.7 whatever is asked", "You suppress from 0.7 on. The threshold is an argument.")
def threshold_fixed(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    return filter_proposals(boxes, objectness, image_size, pre_nms, post_nms, 0.7)


EXERCISE = Exercise(
    name="filter_proposals",
    reference=filter_proposals,
    cases=cases,
    takes={"boxes": Kind.BOXES},
    gives=Kind.BOXES,
    mistakes=[
        not_clipped,
        clipped_last,
        dropped_before_clipping,
        width_before_height,
        tiny_ones_kept,
        one_pixel_is_tiny,
        cut_after_clipping,
        cut_after_suppression,
        all_may_come_in,
        all_may_go_out,
        both_cuts_before,
        worst_first,
        first_in_the_list,
        in_their_old_order,
        nothing_suppressed,
        scores_left_behind,
        threshold_on_scores,
        positive_logits_only,
        places_returned,
        dropped_last,
        dropped_instead_of_clipped,
        unclipped_returned,
        post_before_suppression,
        threshold_fixed,
    ],
    picture=compare_boxes,
)
