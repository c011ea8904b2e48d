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
    three, apart = (
        [[10, 10, 30, 30], [11, 10, 31, 30], [50, 40, 70, 60]],
        [[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]],
    )
    crowd = [[10, 10, 30, 30], [50, 40, 70, 60], [50, 41, 70, 61], [0, 70, 20, 90]]
    first_outside = [[-30, 0, -5, 20], [10, 10, 30, 30], [50, 50, 70, 70]]
    outside = [[100, 10, 120, 30], [10, 10, 30, 30], [-9, 5, 0, 30], [20, 97, 40, 120]]
    thin, tiny = [[10, 10, 10.0005, 30], [40, 10, 50, 30]], [[10, 10, 10.5, 10.5], [40, 10, 40, 30], [50, 50, 70, 70]]
    row = [[10, 10, 30, 30], [18, 10, 38, 30], [26, 10, 46, 30]]
    half_out = [[-60, 10, 30, 40], [0, 10, 30, 40]]
    return [
        case("three boxes, two of them nearly the same", three, [0.5, 2.0, 0.3]),
        case("the best comes last", apart, [-3.0, -2.0, 1.0]),
        case("all logits below 0", apart, [-3.0, -1.0, -2.0]),
        case("only the best two may come in", crowd, [0.0, 3.0, 2.0, 1.0], pre_nms=2),
        case("of the best two one lies outside", first_outside, [5.0, 4.0, 3.0], pre_nms=2),
        case("only the best two may go out", [*apart, [21, 0, 30, 9]], [1.0, 3.0, 2.0, 2.5], post_nms=2, threshold=0.5),
        case(
            "boxes that reach out of a wide picture", [[60, 20, 90, 60], [-20, -10, 15, 15]], [1.0, 2.0], size=(40, 80)
        ),
        case("boxes that lie outside", outside, [3.0, 2.0, 1.0, 0.5]),
        case("the best lies outside, and only one may go out", outside[:2], [3.0, 2.0], post_nms=1),
        case("a box that is 0.0005 pixels wide", thin, [2.0, 1.0]),
        case("a box of half a pixel, and one without width", tiny, [3.0, 2.0, 1.0]),
        case("the same once the part outside is cut off", half_out, [1.0, 2.0]),
        case("threshold 0.3", row, [3.0, 2.0, 1.0], threshold=0.3),
    ]


def case(
    label: str,
    boxes: list[list[float]],
    objectness: list[float],
    size: Size = (96, 96),
    pre_nms: int = 10,
    post_nms: int = 10,
    threshold: float = 0.7,
) -> Case:
    arguments = torch.tensor(boxes).float(), torch.tensor(objectness), size, pre_nms, post_nms, threshold
    return Case(label, arguments, by_torchvision(*arguments))


def by_torchvision(
    boxes: Tensor, objectness: Tensor, image_size: Size, pre_nms: int, post_nms: int, threshold: float
) -> Tensor:
    """The truth."""
    before, after = ({"training": count, "testing": count} for count in (pre_nms, post_nms))
    network = RegionProposalNetwork(None, None, 0.7, 0.3, 256, 0.5, before, after, threshold).eval()
    return network.filter_proposals(boxes[None], objectness[None], [image_size], [len(boxes)])[0][0]


def in_order(name: str, explanation: str, steps: str) -> Mistake:
    """The mistake of taking these steps."""
    return Mistake(name, explanation, wrong=partial(in_steps, steps))


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
CUT_EARLY = "You cut to `post_nms` before suppressing. Doubles then take the places of other objects."

EXERCISE = Exercise(
    name="filter_proposals",
    reference=filter_proposals,
    cases=cases,
    takes={"boxes": Kind.BOXES},
    gives=Kind.BOXES,
    mistakes=[
        in_order("not clipped", "Some of your boxes reach out of the picture.", "best drop suppress cut"),
        in_order(
            "neither clipped nor dropped",
            "You neither cut the boxes at the border nor drop the tiny ones: steps 2 and 3.",
            "best suppress cut",
        ),
        in_order("clipped after the suppression", CLIPPED_LATE, "best suppress clip drop cut"),
        in_order(
            "clipped last",
            f"{CLIPPED_LATE} And you drop the tiny boxes before; a box outside becomes tiny only by clipping.",
            "best drop suppress cut clip",
        ),
        in_order(
            "clipped and dropped last",
            f"{CLIPPED_LATE} And those outside, dropped at the end, have taken the places of others.",
            "best suppress cut clip drop",
        ),
        in_order(
            "clipped last, and none dropped",
            f"{CLIPPED_LATE} And the tiny boxes are still there.",
            "best suppress cut clip",
        ),
        in_order(
            "small ones dropped before clipping",
            "You drop the tiny boxes before you clip. A box that lies outside becomes tiny only by clipping.",
            "best drop clip suppress cut",
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
        in_order(
            "pre_nms comes after clipping",
            "You drop the boxes outside first and take the best `pre_nms` of the rest. The first step comes first: a "
            "box outside uses up a place.",
            "clip drop best suppress cut",
        ),
        in_order(
            "pre_nms comes after",
            "You suppress first and cut to `pre_nms` then. It is there to save the work: only the best `pre_nms` go "
            "into the suppression.",
            "clip drop suppress best cut",
        ),
        in_order("pre_nms ignored", "You let all boxes in, not the best `pre_nms`.", "clip drop suppress cut"),
        in_order("post_nms ignored", "You give back more than `post_nms` boxes.", "best clip drop suppress"),
        in_order("cut to post_nms at once", CUT_EARLY, "best cut clip drop suppress"),
        in_order("cut to post_nms before the suppression", CUT_EARLY, "best clip drop cut suppress"),
        Mistake(
            "post_nms instead of pre_nms",
            "You let the best `post_nms` in and cut no more. The best `pre_nms` come in; `post_nms` is for what is "
            "left after suppressing.",
            wrong=lambda boxes, objectness, size, pre, post, threshold: filter_proposals(
                boxes, objectness, size, post, post, threshold
            ),
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
        in_order("nothing suppressed", "Boxes that lie on each other are still there.", "best clip drop cut"),
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
        in_order(
            "tiny ones dropped last",
            "You drop the tiny boxes after the cut to `post_nms`. By then they have taken the place of others.",
            "best clip suppress cut drop",
        ),
        in_order(
            "dropped instead of clipped",
            "You drop every box that reaches out of the picture. It is cut at the border, and stays.",
            "best inside drop suppress cut",
        ),
        Mistake(
            "boxes returned as they came",
            "You chose rightly, but return the boxes before they were cut at the border.",
            wrong=unclipped_returned,
        ),
        Mistake(
            "0.7 whatever is asked",
            "You suppress from 0.7 on. The threshold is an argument.",
            wrong=lambda *arguments: filter_proposals(*arguments[:5], 0.7),
        ),
    ],
    picture=compare_boxes,
)
