"""Is there an object, and how must the anchor move: the loss of the first stage."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind

BETA = 1 / 9
Losses = tuple[Tensor, Tensor]


def rpn_loss(objectness: Tensor, deltas: Tensor, matches: Tensor, targets: Tensor) -> Losses:
    """The course's own, the sums of `lib.models.faster_rcnn.RegionProposalNetwork.loss`."""
    counted, positive = matches != -2, matches >= 0
    judged = F.binary_cross_entropy_with_logits(objectness[counted], positive[counted].float())
    return judged, moves(deltas[positive], targets[positive]) / counted.sum()


def cases() -> list[Case]:
    named = {
        "two positives, three of background, one to be ignored": [0, -1, -2, 1, -1, -1],
        "no positive": [-1, -2, -1, -1],
        "five objects; targets without meaning are NaN": [4, -1, 2, -2, -2, -1, 0, -1, 4],
        "nothing to be ignored": [0, -1, 0, -1, -1],
    }
    made = []
    for seed, (label, matches) in enumerate(named.items()):
        count = len(matches)
        targets = 0.5 * random_values(count, 4, seed=20 + seed)
        if "NaN" in label:
            targets[torch.tensor(matches) < 0] = torch.nan
        arguments = (
            random_values(count, seed=seed),
            0.5 * random_values(count, 4, seed=10 + seed),
            torch.tensor(matches),
            targets,
        )
        made.append(Case.from_truth(label, arguments, by_formula, ("objectness", "deltas")))
    sure = (torch.tensor([100.0, -100, 50]), torch.zeros(3, 4), torch.tensor([-1, 0, 0]), torch.ones(3, 4))
    return [
        *made,
        Case(
            "very sure, and wrong: logits of ±100", sure, (torch.tensor(200 / 3), torch.tensor(8 * (1 - BETA / 2) / 3))
        ),
    ]


def by_formula(objectness: Tensor, deltas: Tensor, matches: Tensor, targets: Tensor) -> Losses:
    """The truth, anchor by anchor, from the definitions of both losses."""
    judged, moved, counted = torch.zeros(()), 0 * deltas.sum(), 0
    for logit, guess, match, target in zip(objectness, deltas, matches.tolist(), targets):
        if match == -2:
            continue
        counted += 1
        judged = judged + torch.log1p(torch.exp(-logit if match >= 0 else logit))
        if match >= 0:
            size = (guess - target).abs()
            moved = moved + torch.where(size < BETA, size**2 / (2 * BETA), size - BETA / 2).sum()
    return judged / counted, moved / counted


def bce(objectness: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(objectness, labels.float())


def moves(deltas: Tensor, targets: Tensor, beta: float = BETA) -> Tensor:
    return F.smooth_l1_loss(deltas, targets, beta=beta, reduction="sum")


def of_positives(deltas: Tensor, matches: Tensor, targets: Tensor) -> Tensor:
    return moves(deltas[matches >= 0], targets[matches >= 0])


@mistake(
    "ignored taken for background",
    "Anchors with −2 are part of your loss. They are neither object nor background: leave them out.",
)
def ignored_as_background(objectness, deltas, matches, targets):
    return rpn_loss(objectness, deltas, matches.clamp(min=-1), targets)


@mistake("ignored ones counted", "You divide the box loss by all anchors. Count only those that are not ignored.")
def ignored_not_judged_but_counted(objectness, deltas, matches, targets):
    return rpn_loss(objectness, deltas, matches, targets)[0], of_positives(deltas, matches, targets) / len(matches)


@mistake(
    "background is moved",
    "You judge the moves of background anchors too. There is nothing that they could be moved onto: their targets are "
    "without meaning.",
)
def background_is_moved(objectness, deltas, matches, targets):
    counted = matches != -2
    return rpn_loss(objectness, deltas, matches, targets)[0], moves(deltas[counted], targets[counted]) / counted.sum()


@mistake(
    "0 times without meaning",
    "You compute the box loss of all anchors and multiply what does not count by 0. Targets without meaning may be "
    "NaN, and 0 · NaN is NaN. Choose the positives first, then compute.",
)
def masked_by_zero(objectness, deltas, matches, targets):
    positive, counted = matches >= 0, matches != -2
    size = (deltas - targets).abs()
    each = torch.where(size < BETA, size**2 / (2 * BETA), size - BETA / 2) * positive[:, None]
    return rpn_loss(objectness, deltas, matches, targets)[0], each.sum() / counted.sum()


@mistake(
    "divided by the positives",
    "You divided the box loss by the number of positives. Divide by all anchors that count, or a picture without a "
    "positive ends in 0 / 0.",
)
def over_positives(objectness, deltas, matches, targets):
    box = of_positives(deltas, matches, targets) / (matches >= 0).sum()
    return rpn_loss(objectness, deltas, matches, targets)[0], box


@mistake(
    "divided by the positives, or by 1",
    "You divided the box loss by the number of positives. Divide by all anchors that count.",
)
def over_positives_or_one(objectness, deltas, matches, targets):
    box = of_positives(deltas, matches, targets) / (matches >= 0).sum().clamp(min=1)
    return rpn_loss(objectness, deltas, matches, targets)[0], box


@mistake(
    "mean over the positives' numbers",
    "You took the mean over the numbers of the positives. Add them up, and divide by all anchors that count.",
)
def mean_of_numbers(objectness, deltas, matches, targets):
    positive = matches >= 0
    box = F.smooth_l1_loss(deltas[positive], targets[positive], beta=BETA)
    return rpn_loss(objectness, deltas, matches, targets)[0], box


@mistake("box loss only added up", "The box loss is not divided by anything.")
def only_added_up(objectness, deltas, matches, targets):
    return rpn_loss(objectness, deltas, matches, targets)[0], of_positives(deltas, matches, targets)


@mistake("objectness only added up", "Your objectness loss is a sum. Take the mean over the anchors that count.")
def objectness_added_up(objectness, deltas, matches, targets):
    judged, box = rpn_loss(objectness, deltas, matches, targets)
    return judged * (matches != -2).sum(), box


@mistake("sigmoid twice", "`F.binary_cross_entropy_with_logits` makes the sigmoid itself. You gave it probabilities.")
def sigmoid_twice(objectness, deltas, matches, targets):
    counted = matches != -2
    return bce(objectness.sigmoid()[counted], matches[counted] >= 0), rpn_loss(objectness, deltas, matches, targets)[1]


@mistake("the object's number as its label", "The label of an anchor is 1 for any object, not the object's number.")
def number_of_the_object(objectness, deltas, matches, targets):
    counted = matches != -2
    return bce(objectness[counted], matches[counted].clamp(min=0)), rpn_loss(objectness, deltas, matches, targets)[1]


@mistake("object 0 is background", "You took `matches > 0` for positive. Objects are counted from 0.")
def object_0_is_background(objectness, deltas, matches, targets):
    counted, positive = matches != -2, matches > 0
    return bce(objectness[counted], positive[counted]), moves(deltas[positive], targets[positive]) / counted.sum()


@mistake("positives only", "Your objectness loss leaves out background. Then *yes, everywhere* is the best answer.")
def positives_only(objectness, deltas, matches, targets):
    positive = matches >= 0
    return bce(objectness[positive], positive[positive]), rpn_loss(objectness, deltas, matches, targets)[1]


@mistake("β is 1", "Your smooth L1 bends at 1, as PyTorch's does by default. Here β is 1/9.")
def beta_of_one(objectness, deltas, matches, targets):
    positive = matches >= 0
    box = moves(deltas[positive], targets[positive], 1.0) / (matches != -2).sum()
    return rpn_loss(objectness, deltas, matches, targets)[0], box


@mistake("L1 instead of smooth L1", "You took absolute differences.")
def plain_l1(objectness, deltas, matches, targets):
    positive = matches >= 0
    box = (deltas[positive] - targets[positive]).abs().sum() / (matches != -2).sum()
    return rpn_loss(objectness, deltas, matches, targets)[0], box


EXERCISE = Exercise(
    name="rpn_loss",
    reference=rpn_loss,
    cases=cases,
    takes={"objectness": Kind.LOGITS},
    gives=(Kind.LOSS, Kind.LOSS),
    mistakes=[
        ignored_as_background,
        ignored_not_judged_but_counted,
        background_is_moved,
        masked_by_zero,
        over_positives,
        over_positives_or_one,
        mean_of_numbers,
        only_added_up,
        objectness_added_up,
        sigmoid_twice,
        number_of_the_object,
        object_0_is_background,
        positives_only,
        beta_of_one,
        plain_l1,
    ],
)
