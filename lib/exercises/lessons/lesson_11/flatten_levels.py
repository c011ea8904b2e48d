"""The answers of all levels in one long list, in the order of the anchors."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, Probe, mistake
from lib.exercises.engine.general import CUT_OFF
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.ops.anchors import rows

Levels = list[Tensor]


def flatten_levels(answers: Levels, numbers: int) -> Tensor:
    """The course's own, as the heads in `lib.models.retinanet` do it."""
    return torch.cat([rows(one, numbers) for one in answers], dim=1)


def cases() -> list[Case]:
    def counted(anchors: int, numbers: int, *sizes: tuple[int, int]) -> Levels:
        """Numbers that say where they come from: of level 1 they begin with 1000, in the order in which they lie."""
        channels = anchors * numbers
        return [
            1000.0 * i + torch.arange(float(channels * h * w)).view(1, channels, h, w) for i, (h, w) in enumerate(sizes)
        ]

    def drawn(pictures: int, anchors: int, numbers: int, *sizes: tuple[int, int]) -> Levels:
        return [random_values(pictures, anchors * numbers, *size, seed=i) for i, size in enumerate(sizes)]

    named = {
        "two anchors, three numbers of each, two levels: 2 × 3 and 1 × 2 cells": (counted(2, 3, (2, 3), (1, 2)), 3),
        "nine anchors, the four numbers, two pictures": (drawn(2, 9, 4, (6, 4), (3, 2), (2, 1)), 4),
        "as many anchors as numbers": (drawn(1, 3, 3, (4, 2), (2, 1)), 3),
        "one anchor": (drawn(3, 1, 5, (3, 3), (2, 2)), 5),
        "one number": (drawn(1, 4, 1, (2, 4), (1, 2)), 1),
        "one level": (drawn(2, 3, 2, (3, 5)), 2),
        "the last level has one cell": (drawn(1, 2, 4, (4, 4), (2, 2), (1, 1)), 4),
    }
    return [Case(label, arguments, one_by_one(*arguments)) for label, arguments in named.items()]


def one_by_one(answers: Levels, numbers: int) -> Tensor:
    """The truth: each row is cut out by itself, in the order in which the anchors are numbered."""
    pictures = []
    for picture in range(len(answers[0])):
        said = []
        for one in answers:
            channels, height, width = one.shape[1:]
            for row in range(height):
                for column in range(width):
                    for first in range(0, channels, numbers):
                        said.append(one[picture, first : first + numbers, row, column])
        pictures.append(torch.stack(said))
    return torch.stack(pictures)  # (N, all anchors, numbers)


def apart(one: Tensor, numbers: int) -> Tensor:
    """(N, A · numbers, h, w) -> (N, A, numbers, h, w)."""
    return one.unflatten(1, (-1, numbers))


def each(flat: Callable[[Tensor, int], Tensor], answers: Levels, numbers: int) -> Tensor:
    """`flatten_levels` with another road for a level: (N, A · numbers, h, w) -> something of N · rows · numbers."""
    return torch.cat([flat(one, numbers).reshape(len(one), -1, numbers) for one in answers], dim=1)


@mistake(
    "levels in reverse",
    "Your list begins with the last level. It begins with the first, as the anchors do.",
)
def levels_reversed(answers: Levels, numbers: int) -> Tensor:
    return flatten_levels(answers[::-1], numbers)


@mistake(
    "only the first level",
    "Only the first level is in your list. Does a `return` stand inside of the loop?",
)
def only_the_first_level(answers: Levels, numbers: int) -> Tensor:
    return rows(answers[0], numbers)


@mistake(
    "only the last level",
    "Only the last level is in your list. Keep what came of the others, and put all of them together at the end.",
)
def only_the_last_level(answers: Levels, numbers: int) -> Tensor:
    return rows(answers[-1], numbers)


@mistake(
    "levels joined along the pictures",
    "You joined the levels along axis 0, that of the pictures; `torch.cat` does so unless you name an axis. The rows "
    "are on axis 1.",
)
def joined_along_pictures(answers: Levels, numbers: int) -> Tensor:
    return torch.cat([rows(one, numbers) for one in answers])


DECISIONS = [
    Mistake(
        "reshaped without permute",
        "You cut the numbers into rows as they lie in memory, where all cells of the first channel come first. One row "
        "of yours holds one channel of several cells. Bring the channels behind the cells before you reshape.",
        wrong=partial(each, lambda one, numbers: one),
    ),
    Mistake(
        "anchors before cells",
        "Within a level you list all cells for the first anchor, then all for the second. Asked is cell by cell, with "
        "all anchors of a cell in a row.",
        wrong=partial(each, lambda one, numbers: apart(one, numbers).permute(0, 1, 3, 4, 2)),
    ),
    Mistake(
        "numbers before anchors",
        "You read the channels as: the first number of all anchors, then the second of all. They lie anchor by anchor: "
        "all numbers of the first one come first.",
        wrong=partial(each, lambda one, numbers: one.unflatten(1, (numbers, -1)).permute(0, 3, 4, 2, 1)),
    ),
    Mistake(
        "anchors and numbers exchanged",
        "The cells are in the right order, but within a cell the numbers of different anchors have got into one row: "
        "you turned anchors and numbers round. Which of the two axes comes last?",
        wrong=partial(each, lambda one, numbers: apart(one, numbers).permute(0, 3, 4, 2, 1)),
    ),
    Mistake(
        "columns before rows",
        "You list the cells column by column. The anchors go row by row.",
        wrong=partial(each, lambda one, numbers: apart(one, numbers).permute(0, 4, 3, 1, 2)),
    ),
    Mistake(
        "anchors last",
        "When you reshape, your last axis is that of the anchors. The numbers of one anchor must lie side by side in a "
        "row: theirs is the last axis.",
        wrong=partial(each, lambda one, numbers: apart(one, numbers).permute(0, 2, 3, 4, 1)),
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
    mistakes=[
        *DECISIONS,
        levels_reversed,
        only_the_first_level,
        only_the_last_level,
        joined_along_pictures,
    ],
    probes=[Probe(CUT_OFF.name, CUT_OFF.explanation, passes=gradient_arrives)],
)
