"""From a thousand moved anchors to a handful of proposals."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import clip_boxes_to_image, nms

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.kinds import Kind
from lib.ops.boxes import remove_small_boxes

Size = tuple[int, int]
ALL = "best clip drop suppress cut"


def filter_proposals(
    boxes: Tensor, objectness: Tensor, image_size: Size, pre_nms: int, post_nms: int, threshold: float
) -> Tensor:
    """The course's own, the steps of `lib.models.faster_rcnn.RegionProposalNetwork.filter_proposals`."""
    return in_steps(ALL, boxes, objectness, image_size, pre_nms, post_nms, threshold)


def in_steps(steps: str, *arguments: Any, least: float = 1e-3) -> Tensor:
    """The boxes after these steps, in this order: most mistakes are another order, or a step that is missing."""
    return walked(steps, *arguments, least=least)[0]


def walked(
    steps: str,
    boxes: Tensor,
    objectness: Tensor,
    image_size: Size,
    pre_nms: int,
    post_nms: int,
    threshold: float,
    least: float = 1e-3,
) -> tuple[Tensor, Tensor]:
    """The boxes after these steps, and their places in the list that came in."""
    places = torch.arange(len(boxes))
    for step in steps.split():
        match step:
            case "clip":
                boxes = clip_boxes_to_image(boxes, image_size)
                continue
            case "best":
                chosen = objectness.argsort(descending=True, stable=True)[:pre_nms]
            case "inside":
                chosen = torch.where((clip_boxes_to_image(boxes, image_size) == boxes).all(dim=1))[0]
            case "drop":
                chosen = remove_small_boxes(boxes, least)
            case "suppress":
                chosen = nms(boxes, objectness, threshold)
            case "cut":
                chosen = torch.arange(len(boxes))[:post_nms]
            case other:
                raise ValueError(f"steps names {other!r}; expected best, clip, inside, drop, suppress and cut")
        boxes, objectness, places = boxes[chosen], objectness[chosen], places[chosen]
    return boxes, places


def cases() -> list[Case]:
    square, wide, three = (96, 96), (40, 80), [[10, 10, 30, 30], [11, 10, 31, 30], [50, 40, 70, 60]]
    apart = [[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]]
    crowd = [[10, 10, 30, 30], [50, 40, 70, 60], [50, 41, 70, 61], [0, 70, 20, 90]]
    first_outside = [[-30, 0, -5, 20], [10, 10, 30, 30], [50, 50, 70, 70]]
    outside = [[100, 10, 120, 30], [10, 10, 30, 30], [-9, 5, 0, 30], [20, 97, 40, 120]]
    tiny = [[10, 10, 10.5, 10.5], [40, 10, 40, 30], [50, 50, 70, 70]]
    row = [[10, 10, 30, 30], [18, 10, 38, 30], [26, 10, 46, 30]]
    named = {
        "three boxes, two of them nearly the same": (three, [0.5, 2.0, 0.3], square, 10, 10, 0.7),
        "the best comes last": (apart, [-3.0, -2.0, 1.0], square, 10, 10, 0.7),
        "all logits below 0": (apart, [-3.0, -1.0, -2.0], square, 10, 10, 0.7),
        "only the best two may come in": (crowd, [0.0, 3.0, 2.0, 1.0], square, 2, 10, 0.7),
        "of the best two one lies outside": (first_outside, [5.0, 4.0, 3.0], square, 2, 10, 0.7),
        "only the best two may go out": ([*apart, [21, 0, 30, 9]], [1.0, 3.0, 2.0, 2.5], square, 10, 2, 0.5),
        "boxes that reach out of a wide picture": (
            [[60, 20, 90, 60], [-20, -10, 15, 15]],
            [1.0, 2.0],
            wide,
            10,
            10,
            0.7,
        ),
        "boxes that lie outside": (outside, [3.0, 2.0, 1.0, 0.5], square, 10, 10, 0.7),
        "the best lies outside, and only one may go out": (outside[:2], [3.0, 2.0], square, 10, 1, 0.7),
        "a box that is 0.0005 pixels wide": (
            [[10, 10, 10.0005, 30], [40, 10, 50, 30]],
            [2.0, 1.0],
            square,
            10,
            10,
            0.7,
        ),
        "a box of half a pixel, and one without width": (tiny, [3.0, 2.0, 1.0], square, 10, 10, 0.7),
        "the same once the part outside is cut off": (
            [[-60, 10, 30, 40], [0, 10, 30, 40]],
            [1.0, 2.0],
            square,
            10,
            10,
            0.7,
        ),
        "threshold 0.3": (row, [3.0, 2.0, 1.0], square, 10, 10, 0.3),
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


def with_those(sure: Callable[[Tensor, float], Tensor]) -> Callable[..., Tensor]:
    """The right steps, but only boxes whose objectness is `sure` (A,) of them come in."""

    def wrong(boxes, objectness, image_size, pre_nms, post_nms, threshold):
        those = sure(objectness, threshold)
        return filter_proposals(boxes[those], objectness[those], image_size, pre_nms, post_nms, threshold)

    return wrong


def in_their_old_order(*arguments):
    boxes, places = walked(ALL, *arguments)
    return boxes[places.argsort()]


def unclipped_returned(boxes, *rest):
    return boxes[walked(ALL, boxes, *rest)[1]]


def places_returned(boxes, objectness, *rest):
    cut, places = walked("best clip drop", boxes, objectness, *rest)
    return nms(cut, objectness[places], rest[-1])[: rest[-2]]


def scores_left_behind(boxes, objectness, image_size, pre_nms, post_nms, threshold):
    boxes = in_steps("best clip drop", boxes, objectness, image_size, pre_nms, post_nms, threshold)
    return boxes[nms(boxes, objectness[: len(boxes)], threshold)][:post_nms]


CLIPPED_LATE = "You clip after suppressing. Two boxes that differ only outside of the picture are then both kept."

EXERCISE = Exercise(
    name="filter_proposals",
    reference=filter_proposals,
    cases=cases,
    takes={"boxes": Kind.BOXES},
    gives=Kind.BOXES,
    mistakes=[
        Mistake(
            "not clipped",
            "Some of your boxes reach out of the picture.",
            wrong=partial(in_steps, "best drop suppress cut"),
        ),
        Mistake(
            "clipped after the suppression",
            CLIPPED_LATE,
            wrong=partial(in_steps, "best suppress clip drop cut"),
        ),
        Mistake(
            "clipped last",
            f"{CLIPPED_LATE} And you look for tiny boxes before: a box outside becomes tiny only by clipping.",
            wrong=partial(in_steps, "best drop suppress cut clip"),
        ),
        Mistake(
            "clipped and dropped last",
            f"{CLIPPED_LATE} And those outside, dropped at the end, have taken the places of others.",
            wrong=partial(in_steps, "best suppress cut clip drop"),
        ),
        Mistake(
            "small ones dropped before clipping",
            "You drop the tiny boxes before you clip. A box that lies outside becomes tiny only by clipping.",
            wrong=partial(in_steps, "best drop clip suppress cut"),
        ),
        Mistake(
            "width before height",
            "You read `image_size` as (width, height). It is (height, width), like the shape of a tensor.",
            wrong=lambda boxes, objectness, size, *rest: filter_proposals(boxes, objectness, size[::-1], *rest),
        ),
        Mistake(
            "tiny ones kept",
            "A box that lay outside has no area after clipping. Drop it: a region without pixels cannot be cut out.",
            wrong=partial(in_steps, ALL, least=0.0),
        ),
        Mistake(
            "too much dropped as tiny",
            "You drop boxes of half a pixel too. The limit is 0.001 pixels.",
            wrong=partial(in_steps, ALL, least=1.0),
        ),
        Mistake(
            "pre_nms comes after clipping",
            "You drop the boxes outside first and take the best `pre_nms` of the rest. The first step comes first: a "
            "box outside uses up a place.",
            wrong=partial(in_steps, "clip drop best suppress cut"),
        ),
        Mistake(
            "pre_nms comes after",
            "You suppress first and cut to `pre_nms` then. It is there to save the work: only the best `pre_nms` go "
            "into the suppression.",
            wrong=partial(in_steps, "clip drop suppress best cut"),
        ),
        Mistake(
            "pre_nms ignored",
            "You let all boxes in, not the best `pre_nms`.",
            wrong=partial(in_steps, "clip drop suppress cut"),
        ),
        Mistake(
            "post_nms ignored",
            "You give back more than `post_nms` boxes.",
            wrong=partial(in_steps, "best clip drop suppress"),
        ),
        Mistake(
            "post_nms comes before",
            "You cut to `post_nms` before suppressing. Doubles then take the places of other objects.",
            wrong=partial(in_steps, "best cut clip drop suppress"),
        ),
        Mistake(
            "worst first",
            "Your order is upside down.",
            wrong=lambda boxes, objectness, *rest: filter_proposals(boxes, -objectness, *rest),
        ),
        Mistake(
            "the first in the list",
            "You took the first `pre_nms` boxes as they came, not those with the highest objectness.",
            wrong=lambda boxes, objectness, size, pre, *rest: filter_proposals(
                boxes[:pre], objectness[:pre], size, pre, *rest
            ),
        ),
        Mistake(
            "in their old order",
            "The right boxes, but not in the right order. The best comes first.",
            wrong=in_their_old_order,
        ),
        Mistake(
            "nothing suppressed",
            "Boxes that lie on each other are still there.",
            wrong=partial(in_steps, "best clip drop cut"),
        ),
        Mistake(
            "objectness not chosen along",
            "After one of your steps the boxes and their objectness no longer belong together. Choose among both in "
            "one way.",
            wrong=scores_left_behind,
        ),
        Mistake(
            "threshold taken for a score",
            "`threshold` is an overlap, for `nms`. No box is dropped for its objectness alone.",
            wrong=with_those(lambda objectness, threshold: objectness.sigmoid() >= threshold),
        ),
        Mistake(
            "only logits above 0",
            "You drop boxes whose objectness is below 0. It only orders the boxes: the best come first, however low "
            "they are.",
            wrong=with_those(lambda objectness, threshold: objectness > 0),
        ),
        Mistake(
            "places returned",
            "You return the places of the boxes, as `nms` gives them. Asked are the boxes themselves.",
            wrong=places_returned,
        ),
        Mistake(
            "tiny ones dropped last",
            "You drop the tiny boxes after the cut to `post_nms`. By then they have taken the place of others.",
            wrong=partial(in_steps, "best clip suppress cut drop"),
        ),
        Mistake(
            "dropped instead of clipped",
            "You drop every box that reaches out of the picture. It is cut at the border, and stays.",
            wrong=partial(in_steps, "best inside drop suppress cut"),
        ),
        Mistake(
            "boxes returned as they came",
            "You chose rightly, but return the boxes before they were cut at the border.",
            wrong=unclipped_returned,
        ),
        Mistake(
            "cut to post_nms before the suppression",
            "You keep `post_nms` boxes and suppress then, so too few are left. Suppress first: duplicates take no "
            "place.",
            wrong=partial(in_steps, "best clip drop cut suppress"),
        ),
        Mistake(
            "0.7 whatever is asked",
            "You suppress from 0.7 on. The threshold is an argument.",
            wrong=lambda *arguments: filter_proposals(*arguments[:5], 0.7),
        ),
    ],
    picture=compare_boxes,
)
