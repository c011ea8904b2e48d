"""Misreadings of an input: the function is right, but for another meaning of what it is given.

If the learner's function gives the truth for every input once the input is rewritten (boxes as middle and size, axes
exchanged, two arguments swapped), it reads its input that way. Which rewritings are tried depends on the kinds.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.slips import class_axis


@dataclass(frozen=True)
class Misreading:
    """One way to misunderstand the arguments.

    Args:
        name, explanation: as in `Mistake`.
        rewrite: from the arguments by name to those that the misreading function would take for them. It may raise for
            arguments that it does not suit.
    """

    name: str
    explanation: str
    rewrite: Callable[[Mapping[str, Any]], Mapping[str, Any]]


def misreadings(takes: Mapping[str, Kind], parameters: tuple[str, ...]) -> Iterator[Misreading]:
    """All misreadings worth a try for a function with these parameters, some of which have a known kind."""
    for kind, several in _BY_KIND.items():
        names = [name for name in parameters if takes.get(name) is kind]
        for one, explanation, change in several:
            for group in [[name] for name in names] + ([names] if len(names) > 1 else []):
                spoken = " and ".join(f"`{name}`" for name in group)
                yield Misreading(
                    one,
                    explanation.format(spoken),
                    partial(_changed, names=group, change=change),
                )
    for a, b in itertools.combinations(parameters, 2):
        if takes.get(a) is takes.get(b):
            yield Misreading(
                "two inputs exchanged",
                f"Your function takes `{a}` for `{b}` and `{b}` for `{a}`.",
                partial(_exchanged, a=a, b=b),
            )


def _changed(arguments: Mapping[str, Any], names: list[str], change: Callable[[Any], Any]) -> dict[str, Any]:
    return {name: change(value) if name in names else value for name, value in arguments.items()}


def _exchanged(arguments: Mapping[str, Any], a: str, b: str) -> dict[str, Any]:
    return dict(arguments) | {a: arguments[b], b: arguments[a]}


def _cxcywh(boxes: Tensor) -> Tensor:
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], dim=-1)


def _xywh(boxes: Tensor) -> Tensor:
    return torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], dim=-1)


def _inclusive(boxes: Tensor) -> Tensor:
    return boxes - boxes.new_tensor([0, 0, 1, 1])


def _transposed(values: Tensor) -> Tensor:
    return values.transpose(-1, -2).contiguous()


_BY_KIND: dict[Kind, tuple[tuple[str, str, Callable[[Any], Any]], ...]] = {
    Kind.BOXES: (
        (
            "boxes read as corner and size",
            "You read the last two numbers of {} as width and height. They are x2, y2.",
            _xywh,
        ),
        ("boxes read as middle and size", "You read {} as middle, width and height. They are x1, y1, x2, y2.", _cxcywh),
        ("x and y swapped", "You read {} as y1, x1, y2, x2. In a box x comes first.", lambda b: b[..., [1, 0, 3, 2]]),
        ("x1, x2, y1, y2", "You read {} as x1, x2, y1, y2. A box is x1, y1, x2, y2.", lambda b: b[..., [0, 2, 1, 3]]),
        ("one pixel added", "You count the sides of {} as x2 − x1 + 1. Here a side is x2 − x1.", _inclusive),
        (
            "one pixel missing",
            "You count the sides of {} as x2 − x1 − 1. Here a side is x2 − x1.",
            lambda b: b + b.new_tensor([0, 0, 1, 1]),
        ),
        ("boxes read as columns", "You take the columns of {} for boxes. A row is a box.", _transposed),
    ),
    Kind.MAP: (
        ("rows and columns exchanged", "You take the rows of {} for columns. Height comes before width.", _transposed),
        ("mirrored", "You read {} from right to left.", lambda x: x.flip(-1)),
        ("upside down", "You read {} from the bottom to the top.", lambda x: x.flip(-2)),
        ("turned by half a turn", "You use {} turned by 180 degrees.", lambda x: x.flip(-1, -2)),
        (
            "channels read last",
            "You take the last axis of {} for its channels. They come before rows and columns.",
            lambda x: x.movedim(-3, -1),
        ),
    ),
    Kind.MASK: (
        ("True and False exchanged", "You take True for False in {}.", torch.logical_not),
        ("rows and columns exchanged", "You take the rows of {} for columns. Height comes before width.", _transposed),
    ),
    Kind.CLASSES: (
        ("classes counted from 1", "You count the classes of {} from 1. The first one is 0.", lambda x: x + 1),
        ("classes counted one too high", "You use 1 more than the numbers in {}.", lambda x: x - 1),
    ),
    Kind.INDICES: (
        ("places counted from 1", "You count the places in {} from 1. The first one is 0.", lambda x: x + 1),
    ),
    Kind.LOGITS: (
        (
            "softmax forgotten",
            "You take {} for probabilities. They are scores: softmax comes first.",
            lambda x: x.softmax(class_axis(x)),
        ),
        (
            "sigmoid forgotten",
            "You take {} for probabilities. They are scores: the sigmoid comes first.",
            lambda x: x.sigmoid(),
        ),
        (
            "log-softmax forgotten",
            "You take {} for log-probabilities. They are plain scores.",
            lambda x: x.log_softmax(class_axis(x)),
        ),
        ("sign of the scores", "You take the lowest of {} for the best. The highest score is.", lambda x: -x),
    ),
    Kind.PROBABILITIES: (
        ("sigmoid once too often", "You take a sigmoid of {}, which are probabilities already.", torch.logit),
        ("softmax once too often", "You take a softmax of {}, which are probabilities already.", torch.log),
        ("the lowest for the best", "You take the lowest of {} for the best. The highest is.", lambda x: 1 - x),
    ),
    Kind.SIZE: (
        (
            "width before height",
            "You read {} as (width, height). It is (height, width).",
            lambda pair: tuple(reversed(pair)),
        ),
    ),
}
