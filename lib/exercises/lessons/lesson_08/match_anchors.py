"""Which object an anchor must find: one of them, none, or no opinion."""

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.kinds import Kind
from lib.ops.matching import Matcher


def match_anchors(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    """The course's own."""
    return Matcher(high, low, allow_low_quality_matches=True)(iou)


def cases() -> list[Case]:
    named = {
        "two objects": ([[0.8, 0.1, 0.5, 0.0, 0.2, 0.9], [0.2, 0.72, 0.4, 0.1, 0.1, 0.1]], ()),
        "one object: close, near, far": ([[0.8, 0.5, 0.1, 0.0, 0.75]], ()),
        "a small object: no anchor reaches 0.7": ([[0.9, 0.1, 0.0, 0.2], [0.0, 0.2, 0.45, 0.35]], ()),
        "a tiny one: its best anchor has 0.2, twice": ([[0.0, 0.2, 0.1, 0.2]], ()),
        "overlaps of exactly 0.5 and 0.25, as high and low": ([[0.5, 0.25, 0.125, 0.75]], (0.5, 0.25)),
        "a crowd: an object's best anchor overlaps another object more": (
            [[0.9, 0.6, 0.1, 0.0], [0.1, 0.5, 0.4, 0.2]],
            (),
        ),
        "a crowd: an anchor with 0.4 is the best of one object, and overlaps another more": (
            [[0.1, 0.4, 0.0, 0.35], [0.2, 0.5, 0.55, 0.1], [0.75, 0.0, 0.0, 0.0]],
            (),
        ),
        "an object that touches no anchor": ([[0.8, 0.1, 0.4], [0.0, 0.0, 0.0]], ()),
    }
    tried = [(label, torch.tensor(rows), limits) for label, (rows, limits) in named.items()]
    return [Case(label, (iou, *limits), one_by_one(iou, *limits)) for label, iou, limits in tried] + [
        Case("no object", (torch.zeros(0, 4),), torch.full((4,), -1))
    ]


def one_by_one(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    """The truth: anchor by anchor, as the rules are written."""
    best_of_object = [max(row) for row in iou.tolist()]
    answers = []
    for column in iou.T.tolist():
        best = max(column)
        rescued = any(value == most > 0 for value, most in zip(column, best_of_object))
        if best >= high or rescued:
            answers.append(column.index(best))
        else:
            answers.append(-1 if best < low else -2)
    return torch.tensor(answers)


def by_thresholds(iou: Tensor, high: float, low: float) -> tuple[Tensor, Tensor]:
    """(A,) the answer without the rule of the best anchor, and (A,) which object is nearest."""
    if not len(iou):
        return torch.full((iou.shape[1],), -1), torch.zeros(iou.shape[1], dtype=torch.int64)
    best, nearest = iou.max(dim=0)
    matches = nearest.clone()
    matches[best < high] = -2
    matches[best < low] = -1
    return matches, nearest


@mistake(
    "no anchor for small objects",
    "The last rule is missing, or the thresholds undo it. An object that no anchor reaches with `high` has no "
    "positive at all, so nobody ever learns to find it. Its best anchor must be positive, whatever the overlap.",
)
def without_rescue(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    return by_thresholds(iou, high, low)[0]


@mistake(
    "ignored became background",
    "Anchors between `low` and `high` are too close to call. As background, they would teach the network that half an "
    "object is nothing. They get −2.",
)
def ignored_is_background(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    return match_anchors(iou, high, low).clamp(min=-1)


@mistake("−1 and −2 swapped", "Background is −1, and what is to be ignored is −2.")
def names_swapped(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    matches = match_anchors(iou, high, low)
    return torch.where(matches < 0, -3 - matches, matches)


@mistake(
    "one of two equally good anchors",
    "Where two anchors overlap an object equally and best, you took one of them. `argmax` gives one; ask which entries "
    "are equal to the highest.",
)
def first_of_a_tie(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    matches, nearest = by_thresholds(iou, high, low)
    if len(iou):
        chosen = iou.argmax(dim=1)[iou.amax(dim=1) > 0]
        matches[chosen] = nearest[chosen]
    return matches


@mistake(
    "stolen from another object",
    "In a crowd, your last rule gives an anchor to the object that has no better one, although the anchor overlaps "
    "another object more. A rescued anchor belongs to the object that *it* overlaps most.",
)
def given_to_who_asked(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    matches, _ = by_thresholds(iou, high, low)
    for number, row in enumerate(iou):
        if row.max() > 0:
            matches[row == row.max()] = number
    return matches


@mistake(
    "stolen from another object, one of a tie",
    "Two things. Your last rule takes one anchor for each object (`argmax`), where several may be equally good; and it "
    "gives it to that object, where it should go to the object that the *anchor* overlaps most.",
)
def argmax_given_to_who_asked(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    matches, _ = by_thresholds(iou, high, low)
    for number, row in enumerate(iou):
        if row.max() > 0:
            matches[row.argmax()] = number
    return matches


@mistake("exactly high is not enough", "An overlap of exactly `high` is positive.")
def more_than_high(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    return match_anchors(iou, high + 1e-6, low)


@mistake("exactly low is background", "An overlap of exactly `low` is no background: only what is *below* `low` is.")
def low_is_background(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    return match_anchors(iou, high, low + 1e-6)


@mistake(
    "thresholds not used",
    "Every one of your anchors belongs to an object. Most of them see nothing but ground.",
)
def without_thresholds(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    return iou.argmax(dim=0) if len(iou) else torch.full((iou.shape[1],), -1)


@mistake(
    "one anchor for each object",
    "You went through the objects and asked for their best anchor: (M,). The result has one number for each *anchor*. "
    "Which axis are the anchors on?",
)
def one_for_each_object(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    return iou.argmax(dim=1)


@mistake(
    "rescued by nothing",
    "An object that no anchor touches has 0 as its highest overlap, and so your last rule took every anchor with an "
    "overlap of 0. The rule wants an overlap above 0.",
)
def rescued_by_nothing(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    matches, nearest = by_thresholds(iou, high, low)
    if len(iou):
        rescued = (iou == iou.amax(dim=1, keepdim=True)).any(dim=0)
        matches[rescued] = nearest[rescued]
    return matches


@mistake("objects counted from 1", "You count the objects from 1. The answer is the row in `iou`, from 0.")
def numbered_from_one(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    matches = match_anchors(iou, high, low)
    return torch.where(matches >= 0, matches + 1, matches)


@mistake("only 0 and 1", "Your answer says *whether* an anchor is positive. It should be *which* object it must find.")
def yes_or_no(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    return match_anchors(iou, high, low).clamp(max=0) + (match_anchors(iou, high, low) >= 0).long()


@mistake(
    "background not rescued",
    "Your last rule looks at ignored anchors alone. An object's best anchor may lie below `low`, and is positive all "
    "the same.",
)
def only_ignored_rescued(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    matches, nearest = by_thresholds(iou, high, low)
    if len(iou):
        most = iou.max(dim=1, keepdim=True).values
        rescued = ((iou == most) & (most > 0)).any(dim=0) & (matches == -2)
        matches[rescued] = nearest[rescued]
    return matches


@mistake("0.7 and 0.3 whatever is asked", "You use 0.7 and 0.3. The thresholds are `high` and `low`.")
def thresholds_fixed(iou: Tensor, high: float = 0.7, low: float = 0.3) -> Tensor:
    return match_anchors(iou)


EXERCISE = Exercise(
    name="match_anchors",
    reference=match_anchors,
    cases=cases,
    gives=Kind.CLASSES,
    mistakes=[
        without_rescue,
        ignored_is_background,
        names_swapped,
        first_of_a_tie,
        given_to_who_asked,
        argmax_given_to_who_asked,
        more_than_high,
        low_is_background,
        without_thresholds,
        one_for_each_object,
        rescued_by_nothing,
        numbered_from_one,
        yes_or_no,
        only_ignored_rescued,
        thresholds_fixed,
    ],
)
