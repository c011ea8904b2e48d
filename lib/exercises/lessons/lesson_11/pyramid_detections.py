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
Decision = Callable[..., Tensor]


def pyramid_detections(
    logits: Tensor, boxes: Tensor, level_sizes: list[int], threshold: float, top_k: int, iou: float
) -> Detections:
    """The course's own, the steps of `lib.models.retinanet.RetinaNet.postprocess_detections`."""
    return found(logits, boxes, level_sizes, threshold, top_k, iou)


def cases() -> list[Case]:
    by_hand = torch.full((6, 3), -3.0)
    by_hand[0, 1:], by_hand[1, 1], by_hand[2, 2] = torch.tensor([2.0, 0.5]), 1.5, 1.0
    by_hand[3, 1], by_hand[4, 1], by_hand[5, :2] = 0.2, 0.8, torch.tensor([1.2, -0.5])
    places = boxes_of(
        (0, 0, 20, 20), (2, 0, 22, 20), (40, 40, 60, 60), (50, 5, 66, 25), (1, 1, 24, 24), (30, 70, 90, 94)
    )
    exact = torch.tensor([[0.0, -2.0], [1.0, -3.0], [-4.0, 0.5]])
    quiet = random_values(9, 3, seed=1) - torch.tensor([6.0] * 3 + [0.0] * 6)[:, None]  # level 0 says nothing
    named = {
        "six anchors on two levels, three classes": (by_hand, places, [4, 2], 0.3, 3, 0.5),
        "a score of exactly the threshold": (exact, crowded_boxes(3, seed=2), [2, 1], 0.5, 2, 0.5),
        "a level that says nothing, and one without anchors": (quiet, crowded_boxes(9, seed=3), [3, 0, 6], 0.4, 4, 0.5),
        "three levels, 28 anchors in a crowd": (
            1.5 * random_values(28, 3, seed=5),
            crowded_boxes(28, seed=6),
            [16, 8, 4],
            0.4,
            9,
            0.3,
        ),
        "one class": (random_values(12, 1, seed=6), crowded_boxes(12, seed=7), [8, 4], 0.2, 5, 0.4),
        "nobody is sure": (by_hand, places, [4, 2], 0.9, 3, 0.5),
        "no anchor at all": (torch.zeros(0, 3), torch.zeros(0, 4), [0, 0], 0.3, 3, 0.5),
    }
    return [Case(label, arguments, by_torchvision(*arguments)) for label, arguments in named.items()]


def by_torchvision(
    logits: Tensor, boxes: Tensor, level_sizes: list[int], threshold: float, top_k: int, iou: float
) -> Detections:
    """The truth: the method of torchvision's model, with boxes that are moved already, in a very large picture."""
    settings = SimpleNamespace(
        score_thresh=threshold, topk_candidates=top_k, nms_thresh=iou, detections_per_img=len(logits) * 10
    )
    settings.box_coder = SimpleNamespace(decode_single=lambda moves, anchors: anchors)
    levels = list(boxes.split(level_sizes))
    said = {
        "cls_logits": [one[None] for one in logits.split(level_sizes)],
        "bbox_regression": [one[None] for one in levels],
    }
    (found,) = RetinaNet.postprocess_detections(settings, said, [levels], [(1000, 1000)])
    return found["boxes"], found["scores"], found["labels"]


def best_of_level(scores: Tensor, passing: Tensor, top_k: int) -> Tensor:
    """The places of the best answers in a level's `scores` (a, K), read row by row: at most `top_k`, best first."""
    candidates = torch.where(passing.flatten())[0]  # (n,)
    return candidates[scores.flatten()[candidates].argsort(descending=True)[:top_k]]


def found(
    logits: Tensor,
    boxes: Tensor,
    level_sizes: list[int],
    threshold: float,
    top_k: int,
    iou: float,
    score: Decision = torch.sigmoid,
    passing: Decision = lambda scores, logits, threshold: scores > threshold,
    best: Decision = best_of_level,
    apart: Callable[..., tuple[Tensor, Tensor]] = lambda place, anchors, classes: (place // classes, place % classes),
    own: Callable[[int], tuple[int, int]] = lambda first: (first, first),
    keep: Decision = lambda boxes, scores, labels, levels, top_k, iou: batched_nms(boxes, scores, labels, iou),
) -> Detections:
    """`pyramid_detections` with its decisions open.

    `apart` makes anchor and class of a place in the scores; `own` says where a level begins in `logits`, in `boxes`.
    """
    parts, first = [], 0
    for level, size in enumerate(level_sizes):
        start, start_of_boxes = own(first)
        said = logits[start : start + size]  # (a, K)
        scores = score(said)  # (a, K)
        places = best(scores, passing(scores, said, threshold), top_k)  # (n,)
        anchors, classes = apart(places, *said.shape)  # (n,) each
        chosen = boxes[start_of_boxes:][anchors]  # (n, 4)
        parts.append((chosen, scores.flatten()[places], classes, torch.full_like(classes, level)))
        first += size
    boxes, scores, labels, levels = (torch.cat(several) for several in zip(*parts, strict=True))
    kept = keep(boxes, scores, labels, levels, top_k, iou)
    return boxes[kept], scores[kept], labels[kept]


def of_each_class(scores: Tensor, passing: Tensor, top_k: int) -> Tensor:
    rows = [best_of_level(scores[:, k], passing[:, k], top_k) for k in range(scores.shape[1])]
    return torch.cat([own * scores.shape[1] + k for k, own in enumerate(rows)])


def of_the_best_anchors(scores: Tensor, passing: Tensor, top_k: int) -> Tensor:
    anchors = scores.amax(dim=1).argsort(descending=True)[:top_k]
    chosen = torch.zeros_like(passing)
    chosen[anchors] = passing[anchors]
    return best_of_level(scores, chosen, scores.numel())


def all_that_pass(scores: Tensor, passing: Tensor, top_k: int) -> Tensor:
    return best_of_level(scores, passing, scores.numel())


def without_a_limit(scores: Tensor, passing: Tensor, top_k: int) -> Tensor:
    candidates = torch.where(passing.flatten())[0]
    return candidates[scores.flatten()[candidates].topk(top_k).indices]


def first_ones(scores: Tensor, passing: Tensor, top_k: int) -> Tensor:
    return torch.where(passing.flatten())[0][:top_k]


def nms_then_best_of_level(
    boxes: Tensor, scores: Tensor, labels: Tensor, levels: Tensor, top_k: int, iou: float
) -> Tensor:
    kept = batched_nms(boxes, scores, labels, iou)
    rank = torch.stack([(levels[kept[:i]] == levels[kept[i]]).sum() for i in range(len(kept))] or [levels.sum()])
    return kept[rank[: len(kept)] < top_k]


def level_after_level(boxes: Tensor, scores: Tensor, labels: Tensor, levels: Tensor, top_k: int, iou: float) -> Tensor:
    kept = batched_nms(boxes, scores, labels + 99 * levels, iou)
    return kept[levels[kept].argsort(stable=True)]


def over_all_levels(logits, boxes, level_sizes, threshold, top_k, iou):
    return found(logits, boxes, [len(boxes)], threshold, top_k, iou)


def counted_among_those_that_pass(logits, boxes, level_sizes, threshold, top_k, iou):
    parts = []
    for said, own in zip(logits.split(level_sizes), boxes.split(level_sizes), strict=True):
        scores = said.sigmoid().flatten()
        scores = scores[scores > threshold]
        order = scores.argsort(descending=True)[:top_k]
        parts.append((own[order // said.shape[1]], scores[order], order % said.shape[1]))
    boxes, scores, labels = (torch.cat(several) for several in zip(*parts, strict=True))
    kept = batched_nms(boxes, scores, labels, iou)
    return boxes[kept], scores[kept], labels[kept]


MISTAKES = [
    Mistake(
        "the best of all levels together",
        "You took the best `top_k` of all levels together, so the level with the most anchors fills the list. Each "
        "*level* gives at most `top_k`.",
        wrong=over_all_levels,
    ),
    Mistake(
        "the best of each class",
        "You took the best `top_k` of each class. All classes of a level share its `top_k`.",
        wrong=partial(found, best=of_each_class),
    ),
    Mistake(
        "the best anchors",
        "You took the best `top_k` *anchors* of a level, with all of their classes. An answer is one anchor with one "
        "class: the best `top_k` answers are asked for.",
        wrong=partial(found, best=of_the_best_anchors),
    ),
    Mistake(
        "top_k ignored",
        "You let pass everything above the threshold. On each level at most `top_k` answers go on.",
        wrong=partial(found, best=all_that_pass),
    ),
    Mistake(
        "top_k of fewer",
        "`topk(k)` crashes if there are fewer than k numbers. Ask for `min(top_k, ...)` of them.",
        wrong=partial(found, best=without_a_limit),
    ),
    Mistake(
        "the first instead of the best",
        "You took the first `top_k` answers of a level that pass, not those with the highest scores.",
        wrong=partial(found, best=first_ones),
    ),
    Mistake(
        "top_k at the end",
        "You suppress first, and cut the whole list to `top_k` then. The limit is one for each level, before the NMS.",
        wrong=partial(
            found,
            best=all_that_pass,
            keep=lambda boxes, scores, labels, levels, top_k, iou: batched_nms(boxes, scores, labels, iou)[:top_k],
        ),
    ),
    Mistake(
        "top_k after the NMS",
        "You suppress first, and take the best `top_k` of each level then. It is there to save the work: only these go "
        "into the NMS.",
        wrong=partial(found, best=all_that_pass, keep=nms_then_best_of_level),
    ),
    Mistake(
        "only the best class of an anchor",
        "You keep one class for each anchor. Every class whose score is above the threshold is an answer.",
        wrong=partial(found, passing=lambda scores, _, limit: (scores > limit) & (scores == scores.amax(1, True))),
    ),
    Mistake(
        "anchor and class exchanged",
        "You took the remainder for the anchor and the quotient for the class. The scores lie anchor by anchor, K of "
        "each: after K steps the next *anchor* begins.",
        wrong=partial(found, apart=lambda place, anchors, classes: (place % classes, place // classes)),
    ),
    Mistake(
        "divided by the number of anchors",
        "You divided by the number of anchors. The scores lie anchor by anchor, K of each: after K steps, one for each "
        "class, the next anchor begins.",
        wrong=partial(found, apart=lambda place, anchors, classes: (place % anchors, place // anchors)),
    ),
    Mistake(
        "counted among those that pass",
        "You made anchor and class from a place in the list of scores that *pass*. It must be a place among all scores "
        "of the level: remember where those that pass were.",
        wrong=counted_among_those_that_pass,
    ),
    Mistake(
        "every level starts at box 0",
        "You took the boxes of every level from the beginning of `boxes`. The anchors of a level come after those of "
        "the levels before it.",
        wrong=partial(found, own=lambda first: (first, 0)),
    ),
    Mistake(
        "every level starts at anchor 0",
        "You took the logits and the boxes of every level from the beginning. The anchors of a level come after those "
        "of the levels before it.",
        wrong=partial(found, own=lambda first: (0, 0)),
    ),
    Mistake(
        "NMS on each level",
        "You suppressed on each level by itself. One thing may be found on two levels, and is then returned twice: NMS "
        "goes over all levels together.",
        wrong=partial(
            found,
            keep=lambda boxes, scores, labels, levels, _, iou: batched_nms(boxes, scores, labels + 99 * levels, iou),
        ),
    ),
    Mistake(
        "NMS on each level, one after the other",
        "You suppressed on each level by itself, and put the results one behind the other. One thing may be found on "
        "two levels, and is then returned twice: put the answers of all levels together first, then NMS.",
        wrong=partial(found, keep=level_after_level),
    ),
    Mistake(
        "NMS over all classes",
        "One of your boxes suppressed a box of *another* class. Boxes compete within their class.",
        wrong=partial(found, keep=lambda boxes, scores, labels, levels, top_k, iou: nms(boxes, scores, iou)),
    ),
    Mistake(
        "no NMS",
        "You return duplicates: boxes of one class that overlap by more than `iou`. Suppress them.",
        wrong=partial(found, keep=lambda boxes, scores, *_: scores.argsort(descending=True)),
    ),
    Mistake(
        "NMS at the threshold of the scores",
        "You suppressed from an overlap of `threshold` on. `threshold` is one for scores; the overlap is `iou`.",
        wrong=lambda logits, boxes, level_sizes, threshold, top_k, iou: found(
            logits, boxes, level_sizes, threshold, top_k, threshold
        ),
    ),
    Mistake(
        "0.5 whatever is asked",
        "You suppress from an overlap of 0.5 on. It is an argument: `iou`.",
        wrong=lambda logits, boxes, level_sizes, threshold, top_k, iou: found(
            logits, boxes, level_sizes, threshold, top_k, 0.5
        ),
    ),
    Mistake(
        "not the best first",
        "The right detections, but level after level. The best of all comes first.",
        wrong=partial(found, keep=lambda b, s, labels, levels, _, iou: batched_nms(b, s, labels, iou).sort().values),
    ),
    Mistake(
        "softmax",
        "You took a softmax over the classes. Each class is a question of its own here: σ of each logit.",
        wrong=partial(found, score=lambda logits: logits.softmax(dim=1)),
    ),
    Mistake(
        "threshold on the logits",
        "You compared the logits with `threshold`. It is one for scores: σ comes first.",
        wrong=partial(found, passing=lambda scores, logits, threshold: logits > threshold),
    ),
    Mistake(
        "exactly the threshold passes",
        "Right, but a score of exactly `threshold` passes with you. It must be above.",
        wrong=partial(found, passing=lambda scores, logits, threshold: scores >= threshold),
    ),
    Mistake(
        "class 0 dropped",
        "You left column 0 out. It is treated like any other here: the network never learns to answer 0, so there is "
        "nothing to drop.",
        wrong=partial(found, passing=lambda scores, _, limit: (scores > limit) & (torch.arange(scores.shape[1]) > 0)),
    ),
    Mistake(
        "class 0 dropped, labels moved",
        "You left column 0 out, and so every label is 1 too small. Column 0 is treated like any other here.",
        wrong=lambda logits, *others: found(logits[:, 1:], *others),
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
