"""From right and wrong to the area under the precision–recall curve, at COCO's 101 points."""

import torch
from torch import Tensor

from lib.exercises.engine.coco import coco_evaluation
from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import boxes_of
from lib.exercises.engine.kinds import Kind


def average_precision_from_hits(hits: Tensor, num_truths: int) -> float:
    """The area under the precision–recall curve of one class, read off at COCO's 101 points.

    Args:
        hits: (N,) bool by falling score: was the detection right?
        num_truths: how many things there are, at least 1.
    """
    right = hits.double().cumsum(dim=0)  # (N,)
    precision = right / torch.arange(1, len(hits) + 1)  # (N,)
    best_from_here = precision.flip(0).cummax(dim=0).values.flip(0)  # (N,)
    points = torch.linspace(0, 1, 101, dtype=torch.float64)
    places = torch.searchsorted(right / num_truths, points)  # (101,)
    return torch.cat([best_from_here, torch.zeros(1)])[places].mean().item()


def cases() -> list[Case]:
    generator = torch.Generator().manual_seed(0)
    tried = [
        ("right, wrong, right; 3 things", [1, 0, 1], 3),
        ("all right, all found", [1, 1, 1], 3),
        ("precision rises again: wrong, wrong, then right five times; 7 things", [0, 0, 1, 1, 1, 1, 1], 7),
        ("right, right, wrong, wrong, right; 7 things", [1, 1, 0, 0, 1], 7),
        ("one thing, found at the third try", [0, 0, 1], 1),
        ("forty detections, 23 things", (torch.rand(40, generator=generator) < 0.4).tolist(), 23),
        ("thirteen right one after the other; 20 things", [1] * 13, 20),
        ("nothing right", [0, 0], 3),
        ("no detections", [], 3),
    ]
    return [
        Case(label, (torch.tensor(hits, dtype=torch.bool), number), ap_by_pycocotools(hits, number))
        for label, hits, number in tried
    ]


def ap_by_pycocotools(hits: list, num_truths: int) -> float:
    """Objects in a row, far from each other; a right detection lies on the next one, a wrong one lies elsewhere."""
    things = torch.tensor([[20.0 * place, 0, 20 * place + 10, 10] for place in range(num_truths)])
    places = torch.tensor(hits, dtype=torch.int64).cumsum(0) - 1
    elsewhere = boxes_of((0, 90, 10, 99))[0]
    found = [things[place] if hit else elsewhere for hit, place in zip(hits, places.tolist())]
    found = torch.stack(found) if found else torch.empty(0, 4)
    evaluation = coco_evaluation(found, torch.linspace(1, 0.5, len(hits)), things, 0.5)
    return float(evaluation.eval["precision"][0, :, 0, 0, -1].mean())


def curve(hits: Tensor, num_truths: int) -> tuple[Tensor, Tensor]:
    """Recall and precision after each detection, two times (N,)."""
    right = hits.double().cumsum(dim=0)
    return right / num_truths, right / torch.arange(1, len(hits) + 1)


def read_off(recall: Tensor, precision: Tensor, points: int = 101) -> float:
    places = torch.searchsorted(recall, torch.linspace(0, 1, points, dtype=torch.float64))
    return torch.cat([precision, torch.zeros(1)])[places].mean().item()


def envelope(precision: Tensor) -> Tensor:
    return precision.flip(0).cummax(dim=0).values.flip(0)


@mistake(
    "the teeth not filled",
    "You read off the raw curve. At each recall the *best* precision counts that is reached there or "
    "further right: first fill the teeth.",
)
def no_envelope(hits: Tensor, num_truths: int) -> float:
    return read_off(*curve(hits, num_truths))


@mistake(
    "eleven points",
    "Eleven points, 0, 0.1, …, 1, is the rule of Pascal VOC until 2009. COCO takes 101.",
)
def eleven_points(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, num_truths)
    return read_off(recall, envelope(precision), points=11)


@mistake(
    "recall divided by the detections",
    "Your recall is a share of the detections. Recall is a share of the *things*: `num_truths`.",
)
def recall_of_detections(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, max(len(hits), 1))
    return read_off(recall, envelope(precision))


@mistake(
    "mean of the precision at the hits",
    "You averaged the precision where a detection was right. That is an older meaning of the name. Here the "
    "curve is filled and read off at 101 recalls.",
)
def mean_at_hits(hits: Tensor, num_truths: int) -> float:
    return (curve(hits, num_truths)[1] * hits).sum().item() / num_truths


@mistake(
    "things that were missed do not count",
    "You averaged over the things that were found. The missed ones must cost something: where the curve "
    "does not reach, precision is 0.",
)
def mean_over_found(hits: Tensor, num_truths: int) -> float:
    precision = curve(hits, num_truths)[1][hits]
    return precision.mean().item() if len(precision) else 0.0


@mistake(
    "area under the raw teeth",
    "You added up the area under the raw curve. Fill the teeth first, then read off 101 points.",
)
def raw_area(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, num_truths)
    return torch.trapezoid(precision, recall).item()


@mistake(
    "exact area instead of 101 points",
    "That is the exact area under the filled curve, as Pascal VOC takes it since 2010. COCO averages 101 "
    "points: 0, 0.01, …, 1.",
)
def area_of_envelope(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, num_truths)
    steps = torch.diff(recall, prepend=torch.zeros(1))
    return (steps * envelope(precision)).sum().item()


@mistake(
    "the end of the curve carried on",
    "You used the last precision for recalls that were never reached. There it is 0: those things were missed.",
)
def never_zero(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, num_truths)
    if not len(hits):
        return 0.0
    places = torch.searchsorted(recall, torch.linspace(0, 1, 101, dtype=torch.float64)).clamp(max=len(hits) - 1)
    return envelope(precision)[places].mean().item()


@mistake(
    "filled from the wrong side",
    "You carried the best precision from left to right. Then one early hit makes all later mistakes free. Carry it "
    "from right to left: at each recall, the best that is reached there or further on.",
)
def envelope_from_the_left(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, num_truths)
    return read_off(recall, precision.cummax(dim=0).values if len(precision) else precision)


@mistake(
    "recall divided by the hits",
    "Your recall ends at 1 whatever was missed: you divided by the number of hits. Divide by `num_truths`.",
)
def recall_of_hits(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, max(int(hits.sum()), 1))
    return read_off(recall, envelope(precision))


@mistake(
    "only the points that are reached",
    "You averaged over the recalls that are reached. All 101 count; where the curve does not reach, precision is 0.",
)
def over_reached_points(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, num_truths)
    points = torch.linspace(0, 1, 101, dtype=torch.float64)
    reached = [precision[recall >= point].max() for point in points if (recall >= point).any()]
    return torch.stack(reached).mean().item() if reached else 0.0


@mistake("recall above the point", "A recall of exactly the point counts as reached: at least, not more than.")
def beyond_the_point(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, num_truths)
    points = torch.linspace(0, 1, 101, dtype=torch.float64)
    return sum(precision[recall > point].max().item() for point in points if (recall > point).any()) / 101


@mistake("a hundred points", "From 0 to 1 in steps of 0.01 there are 101 points, both ends included. You took 100.")
def hundred_points(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, num_truths)
    return read_off(recall, envelope(precision), points=100)


@mistake("1 for no detections", "Without a detection nothing is found, and the AP is 0. You return 1.")
def one_for_nothing(hits: Tensor, num_truths: int) -> float:
    recall, precision = curve(hits, num_truths)
    return read_off(recall, envelope(precision)) if len(hits) else 1.0


EXERCISE = Exercise(
    name="average_precision_from_hits",
    reference=average_precision_from_hits,
    cases=cases,
    takes={"num_truths": Kind.COUNT},
    gives=Kind.NUMBERS,
    mistakes=[
        no_envelope,
        envelope_from_the_left,
        recall_of_detections,
        mean_at_hits,
        mean_over_found,
        never_zero,
        raw_area,
        area_of_envelope,
        eleven_points,
        recall_of_hits,
        over_reached_points,
        beyond_the_point,
        hundred_points,
        one_for_nothing,
    ],
)
