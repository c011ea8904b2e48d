"""Which part, asked of all of them; and where on it, asked of the true part alone."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, Probe
from lib.exercises.engine.inputs import random_classes, random_uniform, random_values
from lib.exercises.engine.kinds import Kind
from lib.models import densepose

Losses = tuple[Tensor, Tensor]
BETA = 0.1


def densepose_loss(part_logits: Tensor, u: Tensor, v: Tensor, parts: Tensor, uv: Tensor) -> Losses:
    """The course's own, `lib.models.densepose.densepose_loss`."""
    losses = densepose.densepose_loss(densepose.DensePoseOutput(part_logits, u, v), parts, uv)
    return losses["loss_parts"], losses["loss_uv"]


def cases() -> list[Case]:
    logits = torch.tensor([[[0.5, 2], [1, 0]], [[2, 0.5], [0, 1.5]], [[-1, 1], [0.5, 0.5]]])  # (3, 2, 2)
    u = torch.tensor([[[0.3, 0.6], [0.9, 0.2]], [[0.95, 0.1], [0.2, 0.5]], [[0.6, 0.45], [0.1, 0.25]]])
    v = torch.tensor([[[0.2, 0.9], [0.4, 0.6]], [[0.7, 0.3], [0.8, 0.1]], [[0.1, 0.85], [0.3, 0.7]]])
    parts, uv = torch.tensor([[1, 2], [0, 2]]), torch.tensor([[[0.01, 0.4], [0.7, 0.9]], [[0.5, 0.05], [0.2, 0.75]]])
    named = {
        "3 regions, 6 parts, 3 × 3 cells": (random_classes(3, 3, 3, classes=7, seed=1), 6, 0.0),
        "answers far outside of 0..1": (random_classes(2, 3, 3, classes=4, seed=2), 3, 1.5),
        "a region without a figure beside one with": (torch.tensor([[[0, 0], [0, 0]], [[2, 0], [1, 3]]]), 3, 0.0),
        "two regions, no cell with a part": (torch.zeros(2, 2, 2, dtype=torch.int64), 2, 0.0),
        "no region": (torch.zeros(0, 2, 2, dtype=torch.int64), 2, 0.0),
    }
    given = {"one region, 2 parts, 2 × 2 cells": (logits[None], u[None], v[None], parts[None], uv[None])}
    for seed, (label, (true_parts, count, beyond)) in enumerate(named.items()):
        regions, *cells = true_parts.shape
        scores = 2 * random_values(regions, count + 1, *cells, seed=seed)
        answers = random_uniform(2, regions, count + 1, *cells, seed=seed + 10) * (1 + 2 * beyond) - beyond
        given[label] = (scores, *answers, true_parts, random_uniform(regions, 2, *cells, seed=seed + 20))
    wanted = ("part_logits", "u", "v")
    return [Case.from_truth(label, arguments, cell_by_cell, wanted) for label, arguments in given.items()]


def cell_by_cell(part_logits: Tensor, u: Tensor, v: Tensor, parts: Tensor, uv: Tensor) -> Losses:
    """The truth, by the definitions; u's error is the smallest one after any number of turns round the circle."""
    nothing = 0 * (part_logits.sum() + u.sum() + v.sum())
    entropies, errors, seen = nothing, nothing, int((parts > 0).sum())
    for region, row, column in product(*map(range, parts.shape)):
        here, part = (region, slice(None), row, column), int(parts[region, row, column])
        entropies = entropies + part_logits[here].logsumexp(0) - part_logits[here][part]
        if part:
            off_u, off_v = u[here][part] - uv[here][0], v[here][part] - uv[here][1]
            errors = errors + bent((off_u + torch.arange(-4, 5)).abs().min()) + bent(off_v.abs())
    return entropies / max(parts.numel(), 1), errors / max(seen, 1)


def bent(size: Tensor) -> Tensor:
    """Smooth L1 of one absolute error."""
    return size**2 / (2 * BETA) if size < BETA else size - BETA / 2


def of_true_part(answers: Tensor, parts: Tensor, part_logits: Tensor) -> Tensor:
    return answers.gather(1, parts[:, None])  # (R, 1, S, S)


def straight(said: Tensor, true: Tensor) -> Tensor:
    return said - true


def short_way(said: Tensor, true: Tensor) -> Tensor:
    """Whole turns taken off."""
    return (said - true) - (said - true).round()


def one_turn(said: Tensor, true: Tensor) -> Tensor:
    """Right for errors below 1.5. For those above 1 it is negative."""
    return torch.minimum((said - true).abs(), 1 - (said - true).abs())


def smooth(off: Tensor, beta: float = BETA) -> Tensor:
    return F.smooth_l1_loss(off, torch.zeros_like(off), beta=beta, reduction="none")


def bent_above_0(off: Tensor) -> Tensor:
    """Smooth L1, right for what is not negative."""
    return torch.where(off < BETA, off**2 / (2 * BETA), off - BETA / 2)


def entropies(part_logits: Tensor, parts: Tensor) -> Tensor:
    return F.cross_entropy(part_logits, parts, reduction="none")  # (R, S, S)


def for_each_part(part_logits: Tensor, parts: Tensor) -> Tensor:
    wanted = F.one_hot(parts, part_logits.shape[1]).movedim(3, 1).float()
    return F.binary_cross_entropy_with_logits(part_logits, wanted, reduction="none")


def mean_or_0(each: Tensor) -> Tensor:
    return each.sum() / max(each.numel(), 1)


def opened(
    part_logits: Tensor,
    u: Tensor,
    v: Tensor,
    parts: Tensor,
    uv: Tensor,
    entropy: Callable[[Tensor, Tensor], Tensor] = entropies,
    read: Callable[[Tensor, Tensor, Tensor], Tensor] = of_true_part,
    counted: Callable[[Tensor, Tensor], Tensor] = lambda parts, part_logits: parts > 0,
    off_u: Callable[[Tensor, Tensor], Tensor] = short_way,
    off_v: Callable[[Tensor, Tensor], Tensor] = straight,
    size: Callable[[Tensor], Tensor] = smooth,
    mean: Callable[[Tensor], Tensor] = mean_or_0,
    total: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Losses:
    """`densepose_loss` with its decisions open.

    Args:
        entropy: the loss of the parts, cell by cell.
        read: from the answers of all parts to those that are judged, (R, K, S, S).
        counted: the cells (R, S, S) whose u and v are judged.
        off_u, off_v: errors, from what is said and what is true.
        size: what an error costs.
        mean: of what each cell costs.
        total: in place of `mean` for u and v: from what each of N counted cells costs, (N, K), and which these are.
    """
    seen = counted(parts, part_logits)
    errors = [
        size(off(read(answers, parts, part_logits), uv[:, i : i + 1])).movedim(1, 3)[seen]  # (N, K)
        for i, (answers, off) in enumerate([(u, off_u), (v, off_v)])
    ]
    each = errors[0] + errors[1]
    return mean(entropy(part_logits, parts)), mean(each) if total is None else total(each, seen)


def mean_of_regions(each: Tensor, seen: Tensor) -> Tensor:
    sums = torch.zeros(len(seen)).index_add(0, seen.nonzero()[:, 0], each[:, 0])
    return mean_or_0(sums / seen.sum((1, 2)).clamp(min=1))


TRUE_PART = "Each part has its own u and v, and only those of the *true* part are judged."
CIRCLE = "u runs round a limb and closes: 0.99 and 0.01 are 0.02 apart."

Decisions = list[tuple[str, str, dict[str, Any]]]

COMMON: Decisions = [
    ("u not on a circle", f"Your error in u goes the long way round. {CIRCLE}", {"off_u": straight}),
    (
        "v on a circle, too",
        "You let v run round as well. v goes *along* the limb: its ends, 0 and 1, are far apart.",
        {"off_v": short_way},
    ),
    (
        "the predicted part's place",
        f"You judge u and v of the part with the highest score. {TRUE_PART}",
        {"read": lambda answers, parts, logits: answers.gather(1, logits.argmax(1, keepdim=True))},
    ),
    (
        "the place of the part before",
        "You judge u and v of part − 1. Nothing, number 0, has channels too, though nobody uses them: part 1's are "
        "number 1.",
        {"read": lambda answers, parts, logits: answers.gather(1, (parts[:, None] - 1).clamp(min=0))},
    ),
    (
        "the places of all parts",
        f"You compare u and v of *all* parts with the truth. {TRUE_PART}",
        {"read": lambda answers, parts, logits: answers},
    ),
    (
        "cells without a part counted",
        "You judge u and v in all cells. Where there is no part there is no place on it: whatever stands in `uv` there "
        "has no meaning.",
        {"counted": lambda parts, logits: parts >= 0},
    ),
    (
        "half of u and v",
        "Your second number is half of what it should be: the mean of u's loss and v's. It should be their sum in each "
        "cell, and the mean over cells.",
        {"size": lambda off: smooth(off) / 2},
    ),
    ("L1", "You took absolute errors. It should be smooth L1, with its bend at 0.1.", {"size": torch.abs}),
    (
        "bend at 1",
        "Your smooth L1 bends at 1, as `F.smooth_l1_loss` does if it is told nothing. It should be 0.1 (`beta`).",
        {"size": partial(smooth, beta=1.0)},
    ),
    (
        "one turn taken off",
        "You take one whole turn off u's error at most. A raw answer may lie anywhere: where it is off by more than "
        "1.5, that is not enough, and 1 − |d| is negative from 1 on. Take *all* whole turns off.",
        {"off_u": one_turn},
    ),
    (
        "sigmoid of u and v",
        "You took the sigmoid of u and v. They are places already, and are compared as they are.",
        {"off_u": lambda said, true: short_way(said.sigmoid(), true), "off_v": lambda s, true: s.sigmoid() - true},
    ),
    (
        "softmax twice",
        "`F.cross_entropy` takes scores and makes the softmax itself. You gave it probabilities.",
        {"entropy": lambda logits, parts: entropies(logits.softmax(1), parts)},
    ),
    (
        "parts judged on the figure only",
        "Your first number leaves out the cells without a part. Then nothing ever tells the head where there is none.",
        {"entropy": lambda logits, parts: entropies(logits, parts)[parts > 0]},
    ),
]

RARE: Decisions = [
    (
        "v on a circle instead of u",
        f"You let v run round, and u not. {CIRCLE} v goes along it, from end to end.",
        {"off_u": straight, "off_v": short_way},
    ),
    (
        "the place of nothing",
        f"You judge u and v of part 0, which is no part. {TRUE_PART}",
        {"read": lambda answers, parts, logits: answers[:, :1]},
    ),
    (
        "only where the part was found",
        "You judge u and v only where the part's score is the highest. They are judged wherever there *is* a part.",
        {"counted": lambda parts, logits: (parts > 0) & (logits.argmax(1) == parts)},
    ),
    (
        "squares",
        "You took squared errors. It should be smooth L1, with its bend at 0.1: beyond that it grows like |d|.",
        {"size": torch.square},
    ),
    (
        "a tenth",
        "Your second number is a tenth of what it should be. (`F.huber_loss` gives β times `F.smooth_l1_loss`.)",
        {"size": lambda off: BETA * smooth(off)},
    ),
    (
        "a negative distance",
        "Right where u is off by less than 1. A raw answer may lie anywhere: from there on 1 − |d| is negative. Take "
        "*all* whole turns off.",
        {"off_u": one_turn, "off_v": lambda said, true: (said - true).abs(), "size": bent_above_0},
    ),
    (
        "remainder with a sign",
        "Right for errors above −½. `torch.fmod`, as `math.fmod`, gives a negative remainder for a negative number; "
        "`%` and `torch.remainder` do not.",
        {"off_u": lambda said, true: torch.fmod(said - true + 0.5, 1) - 0.5},
    ),
    (
        "only forward round the circle",
        "You took the error in u modulo 1, from 0 to 1: a little *less* than the truth counts as almost a whole turn. "
        f"{CIRCLE}",
        {"off_u": lambda said, true: (said - true) % 1},
    ),
    (
        "answers turned back, then straight",
        f"You brought the answers for u to 0..1, and then took the plain difference. {CIRCLE}",
        {"off_u": lambda said, true: said % 1 - true},
    ),
    (
        "answers limited",
        "You limited u and v to 0..1 first. An answer outside then gets no gradient, and never comes back: compare it "
        "as it is.",
        {"off_u": lambda said, true: short_way(said.clamp(0, 1), true), "off_v": lambda s, true: s.clamp(0, 1) - true},
    ),
    (
        "yes or no for each part",
        "You asked a yes or no of each part, by a binary cross-entropy. A cell shows one part or none: here they "
        "compete, by a softmax.",
        {"entropy": for_each_part},
    ),
    ("added up", "You added up over the cells, in both numbers. Asked are means.", {"mean": torch.sum}),
    (
        "divided by all cells",
        "You divided u and v's loss by the number of *all* cells. Then a figure that fills little of its box counts "
        "less: divide by the number of cells that show a part.",
        {"total": lambda each, seen: each.sum() / max(seen.numel(), 1)},
    ),
    (
        "divided by the regions",
        "You divided u and v's loss by the number of regions. Divide by the number of cells that show a part.",
        {"total": lambda each, seen: each.sum() / max(len(seen), 1)},
    ),
    (
        "mean of the regions' means",
        "You took the mean of u and v's loss in each region, and then the mean of these. Then a cell counts more where "
        "its region shows few: it should be one mean over all cells that show a part.",
        {"total": mean_of_regions},
    ),
]


def nan_for_nothing(got: Losses, expected: Losses, case: Case) -> bool:
    same = [torch.allclose(yours, ours, rtol=1e-4, atol=1e-5) for yours, ours in zip(got, expected, strict=True)]
    return not (case.arguments[3] > 0).any() and all(a or one.isnan().item() for a, one in zip(same, got))


def gradient_without_cells(function: Callable) -> bool:
    def has_gradients(regions: int) -> bool:
        answers = [torch.zeros(regions, 3, 2, 2, requires_grad=True) for _ in range(3)]
        losses = function(*answers, torch.zeros(regions, 2, 2, dtype=torch.int64), torch.zeros(regions, 2, 2, 2))
        return all(loss.requires_grad for loss in losses)

    return has_gradients(0) and has_gradients(1)


NAN = "Where there is nothing to count you return NaN, the mean of no number; it should be 0."

EXERCISE = Exercise(
    name="densepose_loss",
    reference=densepose_loss,
    cases=cases,
    takes={"part_logits": Kind.LOGITS},
    gives=(Kind.LOSS, Kind.LOSS),
    mistakes=[
        *(Mistake(name, explanation, wrong=partial(opened, **made)) for name, explanation, made in COMMON + RARE),
        Mistake("the mean of nothing", f"Right but for one thing. {NAN}", when=nan_for_nothing),
        *(
            Mistake(
                f"{name}; the mean of nothing",
                f"Two things at once. {explanation} And: {NAN[0].lower()}{NAN[1:]}",
                wrong=partial(opened, **made, mean=torch.mean),
            )
            for name, explanation, made in COMMON
        ),
    ],
    probes=[
        Probe(
            "no gradient without cells",
            "The numbers are right. But where there is nothing to count, a 0 of yours has no gradient, and "
            "`backward()` crashes. Make the 0 from the head's answers, so that a gradient can run through it.",
            passes=gradient_without_cells,
        )
    ],
)
