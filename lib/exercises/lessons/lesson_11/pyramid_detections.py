"""From the answers of all levels to the detections of a picture: the best of each level, then NMS over all."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.ops import batched_nms, nms

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import boxes_of, crowded_boxes, random_values
from lib.exercises.engine.kinds import Kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Detections = tuple[Tensor, Tensor, Tensor]
ALL = "count pass best suppress"


def pyramid_detections(
    logits: Tensor, boxes: Tensor, level_sizes: list[int], threshold: float, top_k: int, iou: float
) -> Detections:
    """The course's own, the steps of `lib.models.retinanet.RetinaNet.postprocess_detections`."""
    return in_steps(ALL, logits, boxes, level_sizes, threshold, top_k, iou)


def in_steps(
    steps: str,
    logits: Tensor,
    boxes: Tensor,
    level_sizes: list[int],
    threshold: float,
    top_k: int,
    iou: float,
    apart: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]] = lambda place, _, classes: (
        place // classes,
        place % classes,
    ),
) -> Detections:
    """The detections after these steps, in this order: most mistakes are another order, or another step.

    `apart` makes anchor and class of a place in a level's list of answers.
    """
    classes, sizes = logits.shape[1], torch.tensor(level_sizes)
    levels = torch.arange(len(sizes)).repeat_interleave(sizes * classes)  # (A · K,), of each answer
    anchors, labels, scores = torch.zeros_like(levels), torch.zeros_like(levels), logits.sigmoid().flatten()
    for step in steps.split():
        match step:
            case "count":
                anchors, labels = apart(places_within(levels), sizes[levels], classes)
                anchors = anchors + (sizes.cumsum(dim=0) - sizes)[levels]
                continue
            case "pass":
                kept = torch.where(scores > threshold)[0]
            case "without-class-0":
                kept = torch.where(labels > 0)[0]
            case "best":
                kept = best_of_each(levels, scores, top_k)
            case "best-of-classes":
                kept = best_of_each(levels * classes + labels, scores, top_k)
            case "best-of-all":
                kept = best_of_each(0 * levels, scores, top_k)
            case "best-anchors":
                surest = scores.view(-1, classes).amax(dim=1)  # (A,)
                kept = torch.where(torch.isin(anchors, best_of_each(levels[::classes], surest, top_k)))[0]
            case "first":
                kept = best_of_each(levels, 0 * scores, top_k)
            case "worst":
                kept = best_of_each(levels, -scores, top_k)
            case "cut":
                kept = torch.arange(len(scores))[:top_k]
            case "suppress":
                kept = batched_nms(boxes[anchors], scores, labels, iou)
            case "suppress-within-levels":
                kept = batched_nms(boxes[anchors], scores, labels + 99 * levels, iou)
            case "suppress-all-classes":
                kept = nms(boxes[anchors], scores, iou)
            case "sort":
                kept = scores.argsort(descending=True)
            case "by-level":
                kept = levels.argsort(stable=True)
            case other:
                raise ValueError(f"steps names {other!r}; expected one of the steps above")
        anchors, labels, scores, levels = anchors[kept], labels[kept], scores[kept], levels[kept]
    return boxes[anchors], scores, labels


def places_within(groups: Tensor) -> Tensor:
    """Numbers each group from 0; `groups` (n,) ascend."""
    return torch.arange(len(groups)) - torch.searchsorted(groups, groups)


def best_of_each(groups: Tensor, scores: Tensor, top_k: int) -> Tensor:
    """The places of the best `top_k` scores of each group: group after group, best first."""
    order = scores.argsort(descending=True, stable=True)
    order = order[groups[order].argsort(stable=True)]
    return order[places_within(groups[order]) < top_k]


def cases() -> list[Case]:
    by_hand = torch.full((6, 3), -3.0)
    by_hand[0, 1:], by_hand[1, 1], by_hand[2, 2] = torch.tensor([2.0, 0.5]), 1.5, 1.0
    by_hand[3, 1], by_hand[4, 1], by_hand[5, :2] = 0.2, 0.8, torch.tensor([1.2, -0.5])
    places = boxes_of(
        (0, 0, 20, 20), (2, 0, 22, 20), (40, 40, 60, 60), (50, 5, 66, 25), (1, 1, 24, 24), (30, 70, 90, 94)
    )
    exact = torch.tensor([[0.0, -2.0], [1.0, -3.0], [-4.0, 0.5]])
    quiet = random_values(9, 3, seed=1) - torch.tensor([6.0] * 3 + [0.0] * 6)[:, None]  # level 0 says nothing
    crowd = 1.5 * random_values(28, 3, seed=5)
    named = {
        "six anchors on two levels, three classes": (by_hand, places, [4, 2], 0.3, 3, 0.5),
        "a score of exactly the threshold": (exact, crowded_boxes(3, seed=2), [2, 1], 0.5, 2, 0.5),
        "a level that says nothing, and one without anchors": (quiet, crowded_boxes(9, seed=3), [3, 0, 6], 0.4, 4, 0.5),
        "three levels, 28 anchors in a crowd": (crowd, crowded_boxes(28, seed=6), [16, 8, 4], 0.4, 9, 0.3),
        "one class": (random_values(12, 1, seed=6), crowded_boxes(12, seed=7), [8, 4], 0.2, 5, 0.4),
        "nobody is sure": (by_hand, places, [4, 2], 0.9, 3, 0.5),
        "no anchor at all": (torch.zeros(0, 3), torch.zeros(0, 4), [0, 0], 0.3, 3, 0.5),
    }
    return [Case(label, arguments, by_torchvision(*arguments)) for label, arguments in named.items()]


def by_torchvision(
    logits: Tensor, boxes: Tensor, level_sizes: list[int], threshold: float, top_k: int, iou: float
) -> Detections:
    """The truth: the method of torchvision's model, with boxes that are moved already, in a very large picture."""
    settings = SimpleNamespace(score_thresh=threshold, topk_candidates=top_k, nms_thresh=iou, detections_per_img=999)
    settings.box_coder = SimpleNamespace(decode_single=lambda moves, anchors: anchors)
    levels = list(boxes.split(level_sizes))
    said = {
        "cls_logits": [one[None] for one in logits.split(level_sizes)],
        "bbox_regression": [one[None] for one in levels],
    }
    (found,) = RetinaNet.postprocess_detections(settings, said, [levels], [(1000, 1000)])
    return found["boxes"], found["scores"], found["labels"]


def without_a_limit(logits, boxes, level_sizes, threshold, top_k, iou):
    for scores in logits.sigmoid().split(level_sizes):
        scores[scores > threshold].topk(top_k)
    return pyramid_detections(logits, boxes, level_sizes, threshold, top_k, iou)


def from_the_start(values: Tensor, level_sizes: list[int]) -> Tensor:
    """(A, n) -> (A, n), but each level has the first ones."""
    return torch.cat([values[:size] for size in level_sizes])


MISTAKES = [
    Mistake(
        "the best of all levels together",
        "You took the best `top_k` of all levels together, so the level with the most anchors fills the list. Each "
        "*level* gives at most `top_k`.",
        wrong=partial(in_steps, "count pass best-of-all suppress"),
    ),
    Mistake(
        "the best of each class",
        "You took the best `top_k` of each class. All classes of a level share its `top_k`.",
        wrong=partial(in_steps, "count pass best-of-classes suppress"),
    ),
    Mistake(
        "the best anchors",
        "You took the best `top_k` *anchors* of a level, with all of their classes. An answer is one anchor with "
        "one class: the best `top_k` answers are asked for.",
        wrong=partial(in_steps, "count best-anchors pass suppress"),
    ),
    Mistake(
        "top_k ignored",
        "You let pass everything above the threshold. On each level at most `top_k` answers go on.",
        wrong=partial(in_steps, "count pass suppress"),
    ),
    Mistake(
        "top_k of fewer",
        "`topk(k)` crashes if there are fewer than k numbers. Ask for `min(top_k, ...)` of them.",
        wrong=without_a_limit,
    ),
    Mistake(
        "the first instead of the best",
        "You took the first `top_k` answers of a level that pass, not those with the highest scores.",
        wrong=partial(in_steps, "count pass first suppress"),
    ),
    Mistake(
        "the worst instead of the best",
        "You took the `top_k` lowest scores of those that pass. `sort` and `argsort` ascend unless told otherwise.",
        wrong=partial(in_steps, "count pass worst suppress"),
    ),
    Mistake(
        "top_k at the end",
        "You suppress first, and cut the whole list to `top_k` then. The limit is one for each level, before the NMS.",
        wrong=partial(in_steps, "count pass suppress cut"),
    ),
    Mistake(
        "top_k after the NMS",
        "You suppress first, and take the best `top_k` of each level then. It is there to save the work: only "
        "these go into the NMS.",
        wrong=partial(in_steps, "count pass suppress best sort"),
    ),
    Mistake(
        "only the best class of an anchor",
        "You keep one class for each anchor. Every class whose score is above the threshold is an answer.",
        wrong=lambda logits, *rest: pyramid_detections(
            logits.masked_fill(logits < logits.amax(dim=1, keepdim=True), -99), *rest
        ),
    ),
    Mistake(
        "anchor and class exchanged",
        "You took the remainder for the anchor and the quotient for the class. The scores lie anchor by anchor, K "
        "of each: after K steps the next *anchor* begins.",
        wrong=partial(in_steps, ALL, apart=lambda place, _, classes: (place % classes, place // classes)),
    ),
    Mistake(
        "divided by the number of anchors",
        "You divided by the number of anchors. The scores lie anchor by anchor, K of each: after K steps, one for "
        "each class, the next anchor begins.",
        wrong=partial(in_steps, ALL, apart=lambda place, anchors, _: (place % anchors, place // anchors)),
    ),
    Mistake(
        "counted among those that pass",
        "You made anchor and class from a place in the list of scores that *pass*. It must be a place among all "
        "scores of the level: remember where those that pass were.",
        wrong=partial(in_steps, "pass count best suppress"),
    ),
    Mistake(
        "every level starts at box 0",
        "You took the boxes of every level from the beginning of `boxes`. The anchors of a level come after those "
        "of the levels before it.",
        wrong=lambda logits, boxes, sizes, *rest: pyramid_detections(
            logits, from_the_start(boxes, sizes), sizes, *rest
        ),
    ),
    Mistake(
        "every level starts at anchor 0",
        "You took the logits and the boxes of every level from the beginning. The anchors of a level come after "
        "those of the levels before it.",
        wrong=lambda logits, boxes, sizes, *rest: pyramid_detections(
            from_the_start(logits, sizes), from_the_start(boxes, sizes), sizes, *rest
        ),
    ),
    Mistake(
        "NMS on each level",
        "You suppressed on each level by itself. One thing may be found on two levels, and is then returned twice: "
        "NMS goes over all levels together.",
        wrong=partial(in_steps, "count pass best suppress-within-levels"),
    ),
    Mistake(
        "NMS on each level, one after the other",
        "You suppressed on each level by itself, and put the results one behind the other. One thing may be found "
        "on two levels, and is then returned twice: put the answers of all levels together first, then NMS.",
        wrong=partial(in_steps, "count pass best suppress-within-levels by-level"),
    ),
    Mistake(
        "NMS over all classes",
        "One of your boxes suppressed a box of *another* class. Boxes compete within their class.",
        wrong=partial(in_steps, "count pass best suppress-all-classes"),
    ),
    Mistake(
        "no NMS",
        "You return duplicates: boxes of one class that overlap by more than `iou`. Suppress them.",
        wrong=partial(in_steps, "count pass best sort"),
    ),
    Mistake(
        "NMS at the threshold of the scores",
        "You suppressed from an overlap of `threshold` on. `threshold` is one for scores; the overlap is `iou`.",
        wrong=lambda *given: pyramid_detections(*given[:5], given[3]),
    ),
    Mistake(
        "0.5 whatever is asked",
        "You suppress from an overlap of 0.5 on. It is an argument: `iou`.",
        wrong=lambda *given: pyramid_detections(*given[:5], 0.5),
    ),
    Mistake(
        "not the best first",
        "The right detections, but level after level. The best of all comes first.",
        wrong=partial(in_steps, "count pass best suppress by-level"),
    ),
    Mistake(
        "softmax",
        "You took a softmax over the classes. Each class is a question of its own here: σ of each logit.",
        wrong=lambda logits, *rest: pyramid_detections(logits.softmax(dim=1).logit(), *rest),
    ),
    Mistake(
        "threshold on the logits",
        "You compared the logits with `threshold`. It is one for scores: σ comes first.",
        wrong=lambda *given: pyramid_detections(*given[:3], torch.tensor(given[3]).sigmoid(), *given[4:]),
    ),
    Mistake(
        "exactly the threshold passes",
        "Right, but a score of exactly `threshold` passes with you. It must be above.",
        wrong=lambda *given: pyramid_detections(*given[:3], given[3] - 1e-6, *given[4:]),
    ),
    Mistake(
        "class 0 dropped",
        "You left column 0 out. It is treated like any other here: the network never learns to answer 0, so there "
        "is nothing to drop.",
        wrong=partial(in_steps, "count without-class-0 pass best suppress"),
    ),
    Mistake(
        "class 0 dropped, labels moved",
        "You left column 0 out, and so every label is 1 too small. Column 0 is treated like any other here.",
        wrong=lambda logits, *rest: pyramid_detections(logits[:, 1:], *rest),
    ),
]


def picture(got: Any, expected: Any, case: Case) -> "Figure | None":
    """The boxes."""
    return compare_boxes(got[0], expected[0], case)


EXERCISE = Exercise(
    name="pyramid_detections",
    reference=pyramid_detections,
    cases=cases,
    takes={"logits": Kind.LOGITS, "boxes": Kind.BOXES},
    gives=(Kind.BOXES, Kind.NUMBERS, Kind.CLASSES),
    mistakes=MISTAKES,
    picture=picture,
)
