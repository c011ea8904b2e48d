"""The answers of all levels in one long list, in the order of the anchors."""

from collections.abc import Callable

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, Probe
from lib.exercises.engine.general import CUT_OFF
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.ops.anchors import rows

Levels = list[Tensor]
Flatten = Callable[[Levels, int], Tensor]


def flatten_levels(answers: Levels, numbers: int) -> Tensor:
    """The course's own, as the heads in `lib.models.retinanet` do it."""
    return torch.cat([rows(one, numbers) for one in answers], dim=1)


def cases() -> list[Case]:
    def drawn(pictures: int, anchors: int, numbers: int, *sizes: tuple[int, int]) -> tuple[Levels, int]:
        return [random_values(pictures, anchors * numbers, *size, seed=i) for i, size in enumerate(sizes)], numbers

    # Of level 1 the numbers begin with 1000.
    counted = [1000.0 * i + torch.arange(6.0 * h * w).view(1, 6, h, w) for i, (h, w) in enumerate([(2, 3), (1, 2)])]
    named = {
        "two anchors, three numbers of each, two levels: 2 × 3 and 1 × 2 cells": (counted, 3),
        "nine anchors, the four numbers, two pictures": drawn(2, 9, 4, (6, 4), (3, 2), (2, 1)),
        "as many anchors as numbers": drawn(1, 3, 3, (4, 2), (2, 1)),
        "one anchor": drawn(3, 1, 5, (3, 3), (2, 2)),
        "one number": drawn(1, 4, 1, (2, 4), (1, 2)),
        "one level": drawn(2, 3, 2, (3, 5)),
        "the last level has one cell": drawn(1, 2, 4, (4, 4), (2, 2), (1, 1)),
    }
    return [Case(label, arguments, one_by_one(*arguments)) for label, arguments in named.items()]


def one_by_one(answers: Levels, numbers: int) -> Tensor:
    """The truth: each row is cut out by itself, in the order in which the anchors are numbered."""
    said = [
        one[:, first : first + numbers, row, column]  # (N, numbers)
        for one in answers
        for row in range(one.shape[2])
        for column in range(one.shape[3])
        for first in range(0, one.shape[1], numbers)
    ]
    return torch.stack(said, dim=1)  # (N, all anchors, numbers)


def axes(*order: int) -> Flatten:
    """`flatten_levels` with another order of picture (0), anchor (1), number (2), row (3) and column (4)."""

    def flat(one: Tensor, numbers: int) -> Tensor:
        return one.unflatten(1, (-1, numbers)).permute(order).reshape(len(one), -1, numbers)

    return lambda answers, numbers: torch.cat([flat(one, numbers) for one in answers], dim=1)


def number_by_number(one: Tensor, numbers: int) -> Tensor:
    """(N, A · numbers, h, w), of which the channels are read as numbers · A, in the right order."""
    return one.unflatten(1, (numbers, -1)).transpose(1, 2).flatten(1, 2)


MISTAKES = [
    Mistake(
        "reshaped without permute",
        "You cut the numbers into rows as they lie in memory, where all cells of the first channel come first. One row "
        "of yours holds one channel of several cells. Bring the channels behind the cells before you reshape.",
        wrong=axes(0, 1, 2, 3, 4),
    ),
    Mistake(
        "anchors before cells",
        "Within a level you list all cells for the first anchor, then all for the second. It should be cell by cell, "
        "with all anchors of a cell in a row.",
        wrong=axes(0, 1, 3, 4, 2),
    ),
    Mistake(
        "numbers before anchors",
        "You read the channels as: the first number of all anchors, then the second of all. They lie anchor by anchor: "
        "all numbers of the first one come first.",
        wrong=lambda answers, n: flatten_levels([number_by_number(one, n) for one in answers], n),
    ),
    Mistake(
        "anchors and numbers exchanged",
        "The cells are in the right order, but within a cell the numbers of different anchors have got into one row: "
        "you turned anchors and numbers round. Which of the two axes comes last?",
        wrong=axes(0, 3, 4, 2, 1),
    ),
    Mistake(
        "columns before rows",
        "You list the cells column by column. The anchors go row by row.",
        wrong=axes(0, 4, 3, 1, 2),
    ),
    Mistake(
        "anchors last",
        "When you reshape, your last axis is that of the anchors. The numbers of one anchor must lie side by side in a "
        "row: theirs is the last axis.",
        wrong=axes(0, 2, 3, 4, 1),
    ),
    Mistake(
        "levels in reverse",
        "Your list begins with the last level. It begins with the first, as the anchors do.",
        wrong=lambda answers, numbers: flatten_levels(answers[::-1], numbers),
    ),
    Mistake(
        "only the first level",
        "Only the first level is in your list. Does a `return` stand inside of the loop?",
        wrong=lambda answers, numbers: flatten_levels(answers[:1], numbers),
    ),
    Mistake(
        "only the last level",
        "Only the last level is in your list. Keep what came of the others, and put all of them together at the end.",
        wrong=lambda answers, numbers: flatten_levels(answers[-1:], numbers),
    ),
    Mistake(
        "levels joined along the pictures",
        "You joined the levels along axis 0, that of the pictures, as `torch.cat` does by itself. The rows are axis 1.",
        wrong=lambda answers, numbers: torch.cat([rows(one, numbers) for one in answers]),
    ),
]


def gradient_arrives(function: Callable) -> bool:
    answers = [torch.zeros(1, 4, 2, 2, requires_grad=True), torch.zeros(1, 4, 1, 1, requires_grad=True)]
    return function(answers, 2).requires_grad


EXERCISE = Exercise(
    name="flatten_levels",
    reference=flatten_levels,
    cases=cases,
    gives=Kind.NUMBERS,
    mistakes=MISTAKES,
    probes=[Probe(CUT_OFF.name, CUT_OFF.explanation, passes=gradient_arrives)],
)
