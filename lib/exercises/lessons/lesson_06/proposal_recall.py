"""The share of things found by the first 1, 2, 3 ... proposals."""

import torch
from torch import Tensor
from torchvision.ops import box_iou

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.kinds import Kind
from lib.ops import selective_search


def cases() -> list[Case]:
    draw = torch.Generator().manual_seed(0)
    truth = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 40], [5, 30, 25, 38]])
    near = (truth.repeat(4, 1) + 3 * torch.randn(12, 4, generator=draw))[torch.randperm(12, generator=draw)]
    halves = torch.tensor([[50.0, 50, 60, 60], [0, 0, 10, 5], [0, 0, 10, 10]])
    several = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 9]])
    inputs = [
        ("one box, found by the third", (torch.cat([several[:2] + 30, several]), truth[:1], 0.5)),
        ("three boxes, twelve proposals", (near, truth, 0.5)),
        ("an overlap of exactly a half", (halves, truth[:1], 0.5)),
        ("three proposals on the same box", (several, truth, 0.5)),
        ("a stricter threshold", (near, truth, 0.7)),
        ("one proposal finds two things", (halves[2:], torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9]]), 0.5)),
        ("no proposals", (near[:0], truth, 0.5)),
    ]
    return [Case(label, arguments, recall_by_loop(*arguments)) for label, arguments in inputs]


def recall_by_loop(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    """The truth: a set of found boxes that grows."""
    found: set[int] = set()
    shares = []
    for proposal in proposals:
        overlaps = box_iou(proposal[None], truth)[0]
        found |= {place for place, overlap in enumerate(overlaps.tolist()) if overlap >= iou_threshold}
        shares.append(len(found) / len(truth))
    return torch.tensor(shares)


@mistake(
    "each proposal by itself",
    "Your curve falls again. A thing that was found by the first proposal is still found after the second.",
)
def recall_not_summed_up(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return (box_iou(proposals, truth) >= iou_threshold).float().mean(dim=1)


@mistake(
    "share of the proposals",
    "You counted how many *proposals* hit something: that is precision. Recall is the share of *things*.",
)
def share_of_proposals(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    hits = (box_iou(proposals, truth) >= iou_threshold).any(dim=1).float()
    return hits.cumsum(0) / torch.arange(1, len(hits) + 1)


@mistake(
    "a thing counted twice",
    "Your recall passes 1, or rises with each proposal on the same thing. A thing can be found only once.",
)
def counted_twice(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return (box_iou(proposals, truth) >= iou_threshold).float().sum(dim=1).cumsum(0) / len(truth)


@mistake(
    "each proposal finds one thing at most",
    "You let a proposal find only the thing that it overlaps most. It finds every thing that it overlaps enough.",
)
def only_the_best(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    found: set[int] = set()
    shares = []
    for overlaps in box_iou(proposals, truth):
        best = int(overlaps.argmax())
        found |= {best} if overlaps[best] >= iou_threshold else set()
        shares.append(len(found) / len(truth))
    return torch.tensor(shares)


@mistake(
    "exactly the threshold is refused",
    "An overlap of exactly the threshold counts as found.",
)
def half_is_not_enough(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return (box_iou(proposals, truth).cummax(dim=0).values > iou_threshold).float().mean(dim=1)


@mistake(
    "overlaps averaged",
    "You averaged the overlaps. First decide for each thing whether it is found: yes or no.",
)
def mean_overlap(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return box_iou(proposals, truth).cummax(dim=0).values.mean(dim=1)


@mistake(
    "only the end of the curve",
    "You give the recall of all proposals together, at every place. The first number is that of the first"
    " proposal alone.",
)
def only_the_end(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return (box_iou(proposals, truth) >= iou_threshold).any(dim=0).float().mean().expand(len(proposals))


@mistake(
    "hits counted, not things",
    "You added up the proposals that hit something. A thing that is hit twice is found once.",
)
def hits_counted(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return (box_iou(proposals, truth) >= iou_threshold).any(dim=1).float().cumsum(0) / len(truth)


@mistake(
    "one proposal late",
    "The first number is that of no proposal at all. It should be that of the first proposal.",
)
def one_late(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    curve = selective_search.proposal_recall(proposals, truth, iou_threshold)
    return torch.cat([curve.new_zeros(1), curve])[: len(curve)]


EXERCISE = Exercise(
    name="proposal_recall",
    reference=selective_search.proposal_recall,
    cases=cases,
    takes={"proposals": Kind.BOXES, "truth": Kind.BOXES},
    gives=Kind.NUMBERS,
    mistakes=[
        only_the_best,
        recall_not_summed_up,
        share_of_proposals,
        counted_twice,
        half_is_not_enough,
        mean_overlap,
        only_the_end,
        hits_counted,
        one_late,
    ],
)
