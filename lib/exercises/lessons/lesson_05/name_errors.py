"""What is wrong with a detection: badly placed, wrongly named, a duplicate, or on nothing at all."""

import torch
import torchvision
from torch import Tensor

from lib.exercises.engine.coco import coco_evaluation
from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import boxes_of, crowded_boxes
from lib.exercises.engine.kinds import Kind
from lib.ops.boxes import box_iou

KINDS = ("right", "duplicate", "badly placed", "wrong name", "nothing there")


def name_errors(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> list[str]:
    """For each detection of a picture "right", or what is wrong with it, after Hoiem 2012 and TIDE (Bolya 2020).

    Args:
        boxes: (N, 4) xyxy, the most certain detection first. labels: (N,) its class.
        true_boxes: (M, 4) xyxy. true_labels: (M,).

    Returns:
        N names, each one of `KINDS`.
    """
    return named(boxes, labels, true_boxes, true_labels)


def named(
    boxes: Tensor,
    labels: Tensor,
    true_boxes: Tensor,
    true_labels: Tensor,
    order: tuple[str, ...] = KINDS,
    enough: float = 0.5,
    near: float = 0.1,
    near_other: float = 0.5,
    takers: tuple[str, ...] = ("right",),
) -> list[str]:
    """`name_errors`, and what it becomes when the questions come in another order or with other thresholds.

    Args:
        order: of the questions; the first that is answered with yes counts, the last one always is.
        enough, near: overlaps with things of its own class, from which a box is well placed, or near.
        near_other: overlap with a thing of another class, from which only the name is wrong.
        takers: the kinds of detections that take the thing they overlap most.
    """
    overlap = torch.cat([box_iou(boxes, true_boxes), torch.zeros(len(boxes), 1)], dim=1)  # (N, M + 1), a far thing last
    own = torch.cat([labels[:, None] == true_labels, torch.zeros(len(boxes), 1, dtype=torch.bool)], dim=1)
    free, names = torch.ones(overlap.shape[1], dtype=torch.bool), []
    for row, same in zip(overlap, own):
        to_claim = row * same * free
        answers = {
            "right": to_claim.max() >= enough,
            "duplicate": (row * same).max() >= enough,
            "badly placed": (row * same).max() >= near,
            "wrong name": (row * ~same).max() >= near_other,
            "nothing there": True,
        }
        names.append(next(kind for kind in order if answers[kind]))
        if names[-1] in takers:
            free[(to_claim if names[-1] == "right" else row).argmax()] = False
    return names


def cases() -> list[Case]:
    cone, crate = (0, 0, 10, 10), (30, 0, 40, 10)
    scene = (boxes_of(cone, crate), torch.tensor([4, 2]))
    tried = [
        (
            "one of each kind, of a cone (4) and a crate (2)",
            boxes_of(cone, (1, 0, 10, 10), (30, 5, 40, 13), (30, 0, 40, 9), (60, 60, 70, 70)),
            torch.tensor([4, 4, 2, 4, 2]),
            *scene,
        ),
        (
            "two cones side by side, both detections nearest to the same one",
            boxes_of((4, 0, 14, 9), (3, 0, 13, 10)),
            torch.tensor([4, 4]),
            boxes_of((0, 0, 10, 10), (4, 0, 14, 10)),
            torch.tensor([4, 4]),
        ),
        (
            "a 'cone' on the crate, that touches a real cone by 0.2",
            boxes_of((4, 0, 16, 10)),
            torch.tensor([4]),
            boxes_of((0, 0, 8, 10), (5, 0, 16, 10)),
            torch.tensor([4, 2]),
        ),
        (
            "a cone whose box fits the crate around it better than the cone itself",
            boxes_of((0, 0, 10, 10)),
            torch.tensor([4]),
            boxes_of((0, 0, 10, 8), (0, 0, 10, 7)),
            torch.tensor([2, 4]),
        ),
        (
            "two cones, one in the other, and two detections; the first fits both",
            boxes_of((0, 0, 10, 10), (0, 0, 10, 4)),
            torch.tensor([4, 4]),
            boxes_of((0, 0, 10, 7), (0, 0, 10, 10)),
            torch.tensor([4, 4]),
        ),
        ("a wrong name first, then the right one", boxes_of(crate, crate), torch.tensor([4, 2]), *scene),
        ("a bad box first, then a good one", boxes_of((0, 5, 10, 14), cone), torch.tensor([4, 4]), *scene),
        ("a wrong name that is badly placed as well", boxes_of((30, 5, 40, 13)), torch.tensor([4]), *scene),
        ("a slight touch, IoU 0.05", boxes_of((0, 9, 10, 19)), torch.tensor([4]), *scene),
        (
            "IoUs of exactly 0.5, three times",
            boxes_of((0, 0, 5, 10), (0, 0, 10, 5), (30, 0, 35, 10)),
            torch.tensor([4, 4, 4]),
            *scene,
        ),
        (
            "eighteen detections, six things",
            crowded_boxes(6, 3).repeat(3, 1) + crowded_boxes(18, 4) / 16,
            torch.arange(18) % 7 % 3 + 1,
            crowded_boxes(6, 3),
            torch.arange(6) % 3 + 1,
        ),
        ("no things", crowded_boxes(3, 1), torch.tensor([1, 2, 1]), torch.empty(0, 4), torch.empty(0).long()),
        ("no detections", torch.empty(0, 4), torch.empty(0).long(), *scene),
    ]
    return [Case(label, tuple(arguments), names_by_others(*arguments)) for label, *arguments in tried]


def names_by_others(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> list[str]:
    """What is right, pycocotools says, class by class; what is wrong with the others, torchvision's IoU."""
    overlap = torchvision.ops.box_iou(boxes, true_boxes)  # (N, M)
    names = []
    for place, label in enumerate(labels):
        mine, theirs = labels[: place + 1] == label, true_labels == label
        falling = torch.linspace(1, 0.5, place + 1)[mine]
        image = coco_evaluation(boxes[: place + 1][mine], falling, true_boxes[theirs], 0.5).evalImgs[0]
        own, others = overlap[place][theirs].tolist(), overlap[place][~theirs].tolist()
        if theirs.any() and image["dtMatches"][0][-1] > 0:
            names.append("right")
        elif max(own, default=0) >= 0.1:
            names.append("duplicate" if max(own) >= 0.5 else "badly placed")
        else:
            names.append("wrong name" if max(others, default=0) >= 0.5 else "nothing there")
    return names


@mistake(
    "duplicates counted as right",
    "Two detections of the same thing are both right in your list. The first takes the thing; the second is a "
    "duplicate.",
)
def duplicates_are_right(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> list[str]:
    names = named(boxes, labels, true_boxes, true_labels)
    return ["right" if name == "duplicate" else name for name in names]


@mistake(
    "the name ignored",
    "A box with the wrong class counts as right in your list. A detection claims only things of its own class.",
)
def name_ignored(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> list[str]:
    return named(boxes, torch.ones_like(labels), true_boxes, torch.ones_like(true_labels))


@mistake(
    "taken things forgotten",
    "You ask for duplicates only among the things that are still free. A duplicate lies on a thing that is *taken*.",
)
def taken_are_forgotten(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> list[str]:
    names, free = [], list(range(len(true_boxes)))
    for box, label in zip(boxes, labels):
        names.append(named(box[None], label[None], true_boxes[free], true_labels[free])[0])
        if names[-1] == "right":
            overlap = box_iou(box[None], true_boxes[free])[0] * (true_labels[free] == label)
            free.pop(int(overlap.argmax()))
    return names


@mistake(
    "another class asked before its own",
    "A box that is near a thing of its own class is badly placed, even if it lies well on a thing of another class. "
    "Ask about the own class first.",
)
def others_first(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> list[str]:
    order = ("right", "duplicate", "wrong name", "badly placed", "nothing there")
    return named(boxes, labels, true_boxes, true_labels, order=order)


@mistake(
    "a wrong name from an IoU of 0.1",
    "Only the name is wrong if the box is well placed: an IoU of at least 0.5 with a thing of another class. Both "
    "wrong counts as nothing there.",
)
def other_from_a_tenth(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> list[str]:
    return named(boxes, labels, true_boxes, true_labels, near_other=0.1)


@mistake(
    "the slightest touch is badly placed",
    "A box that barely touches a thing of its class is badly placed in your list. From an IoU of 0.1 on it is; below, "
    "it is not that thing's box.",
)
def any_touch(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> list[str]:
    return named(boxes, labels, true_boxes, true_labels, near=1e-6)


@mistake(
    "a wrong detection takes its thing",
    "After a badly placed or wrongly named detection, a good one of the same thing is no longer right in your list. "
    "Only a right detection takes a thing.",
)
def wrong_ones_take(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> list[str]:
    return named(boxes, labels, true_boxes, true_labels, takers=("right", "badly placed", "wrong name"))


@mistake(
    "a wrong name takes its thing",
    "A detection with the wrong class took the thing away from a right one. Only a right detection takes a thing.",
)
def wrong_names_take(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> list[str]:
    return named(boxes, labels, true_boxes, true_labels, takers=("right", "wrong name"))


@mistake(
    "a bad box takes its thing",
    "A badly placed detection took the thing away from a right one. Only a right detection takes a thing.",
)
def bad_boxes_take(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> list[str]:
    return named(boxes, labels, true_boxes, true_labels, takers=("right", "badly placed"))


@mistake(
    "gives up when its best thing is taken",
    "A detection whose best thing is taken may still claim another free one of its class. It is a duplicate only if "
    "there is none.",
)
def best_even_if_taken(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> list[str]:
    names, taken = [], set()
    for box, label in zip(boxes, labels):
        name = named(box[None], label[None], true_boxes, true_labels)[0]
        if name == "right":
            best = int((box_iou(box[None], true_boxes)[0] * (true_labels == label)).argmax())
            name = "duplicate" if best in taken else "right"
            taken.add(best)
        names.append(name)
    return names


@mistake(
    "an overlap of exactly the threshold refused",
    "An IoU of exactly 0.5 is enough: at least, not more than.",
)
def more_than_the_threshold(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> list[str]:
    return named(boxes, labels, true_boxes, true_labels, enough=0.5 + 1e-6, near_other=0.5 + 1e-6)


EXERCISE = Exercise(
    name="name_errors",
    reference=name_errors,
    cases=cases,
    takes={"boxes": Kind.BOXES, "labels": Kind.CLASSES, "true_boxes": Kind.BOXES, "true_labels": Kind.CLASSES},
    mistakes=[
        Mistake(
            "another word",
            "Your list holds a word that is none of the five: " + ", ".join(f'"{kind}"' for kind in KINDS) + ".",
            when=lambda got, expected, case: not set(got) <= set(KINDS),
        ),
        duplicates_are_right,
        name_ignored,
        taken_are_forgotten,
        others_first,
        other_from_a_tenth,
        any_touch,
        wrong_ones_take,
        wrong_names_take,
        bad_boxes_take,
        best_even_if_taken,
        more_than_the_threshold,
    ],
)
