"""Slips in a result: what people do to a right answer just before they return it.

A slip is a small function that spoils the truth: rounded, transposed, one pixel larger. If what the learner returned
is the spoiled truth, on every input that was tried, the slip is named. Which slips are tried depends on the kind of the
result. Nothing is said that one input speaks against.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lib.exercises.engine.kinds import Kind


@dataclass(frozen=True)
class Slip:
    """One way to spoil a right result.

    Args:
        name, explanation: as in `Mistake`.
        spoil: from the true result to the spoiled one. It may raise for values that it does not suit.
    """

    name: str
    explanation: str
    spoil: Callable[[Any], Any]

    @property
    def of_form(self) -> bool:
        """Whether the numbers stay, and only their order or meaning changes: such a slip undoes no other mistake."""
        return self.name in OF_FORM


OF_FORM = {
    "middle and size returned",
    "corner and size returned",
    "x and y swapped",
    "x1, x2, y1, y2",
    "corners swapped",
    "four rows instead of four columns",
    "axes swapped",
    "returned in another order",
}


def slips(gives: Kind | tuple[Kind, ...], truth: Any) -> Iterator[Slip]:
    """All slips worth a try for a result of this kind, the most telling first.

    Args:
        gives: the kind of the result, or of the parts of a tuple.
        truth: one true result, for its number of axes.
    """
    if isinstance(gives, tuple):
        yield from _slips_of_tuples(gives, truth)
        return
    yield from _OF_KIND.get(gives, ())
    axes = truth.ndim if isinstance(truth, Tensor) else 0
    if gives is not Kind.BOXES:
        yield from _moved(axes)
    elif axes == 2:
        yield Slip("four rows instead of four columns", "Your result is (4, N). A row is one box: (N, 4).", _transposed)
    if isinstance(truth, Tensor) and truth.dtype == torch.bool:
        yield Slip("True and False swapped", "Every answer is the opposite of what it should be.", torch.logical_not)
    elif gives not in (Kind.CLASSES, Kind.INDICES, Kind.MASK):
        yield from _OF_NUMBERS


def _slips_of_tuples(gives: tuple[Kind, ...], truth: Any) -> Iterator[Slip]:
    count = len(gives)
    every = "Both" if count == 2 else f"All {count}"
    for order in itertools.permutations(range(count)) if count <= 4 else ():
        if order != tuple(range(count)):
            yield Slip(
                "returned in another order",
                f"{every} parts are right, but they come in another order than the task asks for.",
                partial(_in_order, order=order),
            )
    yield Slip("added together", f"You returned the sum of the {count} parts. The task asks for them one by one.", sum)
    yield Slip(
        "one tensor instead of a tuple",
        f"Your result is one tensor that holds all {count} parts. The task asks for a tuple.",
        lambda parts: torch.stack(list(parts)),
    )
    for i, kind in enumerate(gives):
        for slip in slips(kind, truth[i]):
            which = f"Only part {i + 1} of the {count} that you return is wrong. "
            yield Slip(
                slip.name,
                which + slip.explanation,
                partial(_one_spoiled, place=i, spoil=slip.spoil),
            )
    if len(set(gives)) == 1:
        for slip in slips(gives[0], truth[0]):
            yield Slip(slip.name, slip.explanation, partial(_all_spoiled, spoil=slip.spoil))


def _in_order(parts: tuple, order: tuple[int, ...]) -> tuple:
    return tuple(parts[i] for i in order)


def _one_spoiled(parts: tuple, place: int, spoil: Callable[[Any], Any]) -> tuple:
    return *parts[:place], spoil(parts[place]), *parts[place + 1 :]


def _all_spoiled(parts: tuple, spoil: Callable[[Any], Any]) -> tuple:
    return tuple(map(spoil, parts))


# --- places -----------------------------------------------------------------------------------------------------------


def _transposed(values: Tensor) -> Tensor:
    return values.transpose(-1, -2)


def _moved(axes: int) -> Iterator[Slip]:
    """The right numbers in the wrong places."""
    if axes >= 2:
        yield Slip(
            "axes swapped",
            "The numbers are right, but the last two axes, rows and columns, are exchanged.",
            _transposed,
        )
    for order in itertools.permutations(range(axes)) if 3 <= axes <= 4 else ():
        if order != tuple(range(axes)):
            yield Slip(
                "axes swapped",
                "The numbers are right, but the axes are in another order.",
                partial(torch.permute, dims=order),
            )
    for axis in range(axes):
        yield Slip(
            "in reverse order" if axes == 1 else "mirrored",
            f"The numbers are right, but in reverse order along axis {axis}.",
            partial(torch.flip, dims=(axis,)),
        )
    if axes >= 2:
        yield Slip("turned by half a turn", "Your result is turned by 180 degrees.", lambda values: values.flip(-1, -2))
    for axis, amount, where in (
        ((-1, 1, "right"), (-1, -1, "left"), (-2, 1, "down"), (-2, -1, "up")) if axes >= 2 else ()
    ):
        yield Slip(
            "shifted by one cell",
            f"The numbers are right, but each stands one cell too far {where}.",
            partial(_shifted, axis=axis, amount=amount),
        )


def _shifted(values: Tensor, axis: int, amount: int) -> Tensor:
    if values.shape[axis] < 2:
        raise ValueError("too small to be shifted")
    return values.roll(amount, axis)


# --- boxes ------------------------------------------------------------------------------------------------------------


def _columns(*order: int) -> Callable[[Tensor], Tensor]:
    return lambda boxes: boxes[..., list(order)]


def _cxcywh(boxes: Tensor) -> Tensor:
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], dim=-1)


def _xywh(boxes: Tensor) -> Tensor:
    return torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], dim=-1)


def _plus(*amounts: float) -> Callable[[Tensor], Tensor]:
    return lambda boxes: boxes + boxes.new_tensor(amounts)


def _from_middles(boxes: Tensor, factor: float) -> Tensor:
    middles, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    return torch.cat([middles - factor * sides, middles + factor * sides], dim=-1)


_OF_BOXES = (
    Slip("middle and size returned", "You return middle, width and height. A box is x1, y1, x2, y2 here.", _cxcywh),
    Slip("corner and size returned", "Your last two numbers are width and height. They should be x2 and y2.", _xywh),
    Slip("x and y swapped", "Your boxes are y1, x1, y2, x2. In a box x comes first.", _columns(1, 0, 3, 2)),
    Slip("x1, x2, y1, y2", "Your boxes are x1, x2, y1, y2. The task asks for x1, y1, x2, y2.", _columns(0, 2, 1, 3)),
    Slip(
        "corners swapped",
        "Your first corner is the right lower one. The left upper one comes first.",
        _columns(2, 3, 0, 1),
    ),
    Slip(
        "one pixel larger",
        "Your x2 and y2 are 1 too large. A box ends *at* x2; its width is x2 − x1.",
        _plus(0, 0, 1, 1),
    ),
    Slip(
        "one pixel smaller",
        "Your x2 and y2 are 1 too small. A box ends *at* x2; its width is x2 − x1.",
        _plus(0, 0, -1, -1),
    ),
    Slip("half a pixel off", "Your boxes lie half a pixel too far to the right and down.", _plus(0.5, 0.5, 0.5, 0.5)),
    Slip("half a pixel off", "Your boxes lie half a pixel too far to the left and up.", _plus(-0.5, -0.5, -0.5, -0.5)),
    Slip("one pixel off", "Your boxes lie one pixel too far to the right and down.", _plus(1, 1, 1, 1)),
    Slip("one pixel off", "Your boxes lie one pixel too far to the left and up.", _plus(-1, -1, -1, -1)),
    Slip("rounded", "Your numbers are rounded to whole pixels. The task does not ask for that.", torch.round),
    Slip("rounded down", "Your numbers are rounded down to whole pixels. The task does not ask for that.", torch.floor),
    Slip("negative numbers cut off", "Your boxes end at 0 where they should go on.", lambda boxes: boxes.clamp(min=0)),
    Slip(
        "twice too large",
        "Your boxes reach a whole side to each side of their middle; half is enough.",
        lambda b: _from_middles(b, 1.0),
    ),
    Slip("half too small", "Your boxes have the right middle and half the size.", lambda b: _from_middles(b, 0.25)),
    Slip("in reverse order", "The boxes are right, but in reverse order.", lambda boxes: boxes.flip(0)),
)


# --- numbers ----------------------------------------------------------------------------------------------------------

_OF_NUMBERS = (
    Slip(
        "sign flipped",
        "Every number has the right size and the wrong sign. Is a difference the wrong way round?",
        lambda x: -x,
    ),
    Slip("1 minus the result", "You return 1 minus what is asked for.", lambda x: 1 - x),
    Slip(
        "upside down", "You return 1 divided by what is asked for. Is a division the wrong way round?", lambda x: 1 / x
    ),
    Slip("squared", "Your numbers are the squares of what is asked for. Is a root missing?", lambda x: x**2),
    Slip("root taken", "Your numbers are the roots of what is asked for.", lambda x: x**0.5),
    Slip(
        "logarithm taken", "Your numbers are the logarithms of what is asked for.", lambda x: torch.as_tensor(x).log()
    ),
    Slip(
        "exponential taken",
        "Your numbers are the exponentials of what is asked for.",
        lambda x: torch.as_tensor(x).exp(),
    ),
    Slip(
        "logarithm to base 2", "You took the logarithm to base 2. `log` is the natural one.", lambda x: x / math.log(2)
    ),
    Slip(
        "logarithm to base 10",
        "You took the logarithm to base 10. `log` is the natural one.",
        lambda x: x / math.log(10),
    ),
    Slip("rounded", "Your numbers are rounded. The task does not ask for that.", lambda x: torch.as_tensor(x).round()),
    Slip(
        "rounded down",
        "Your numbers are rounded down. The task does not ask for that.",
        lambda x: torch.as_tensor(x).floor(),
    ),
    Slip("absolute value", "Your numbers have lost their sign.", abs),
    Slip("negative numbers cut off", "Your negative numbers became 0.", lambda x: torch.as_tensor(x).clamp(min=0)),
    Slip("cut off at 1", "Your numbers end at 1 where they should go on.", lambda x: torch.as_tensor(x).clamp(max=1)),
)

_OF_COUNTS = (
    Slip("one too many", "Your number is 1 too large, every time.", lambda count: count + 1),
    Slip("one too few", "Your number is 1 too small, every time.", lambda count: count - 1),
    Slip("doubled", "Your number is twice what it should be.", lambda count: 2 * count),
    Slip(
        "height and width swapped", "The numbers are right, but in another order.", lambda pair: tuple(reversed(pair))
    ),
)

_OF_CLASSES = (
    Slip("counted from 1", "Your numbers are all 1 too large: count from 0.", lambda classes: classes + 1),
    Slip("one too low", "Your numbers are all 1 too small.", lambda classes: classes - 1),
)

_OF_INDICES = (
    Slip("counted from 1", "Your numbers are all 1 too large: places are counted from 0.", lambda places: places + 1),
    Slip("in the order of the list", "The right places, but sorted by place.", lambda places: places.sort().values),
    Slip("in reverse order", "The right places, but in reverse order.", lambda places: places.flip(0)),
    Slip("a column", "The right places, but as a column (N, 1): take `[:, 0]`.", lambda places: places[:, None]),
)


def class_axis(scores: Tensor) -> int:
    """The axis along which classes lie: 1, or the last one of a list of scores."""
    return 1 if scores.ndim > 1 else 0


_OF_LOGITS = (
    Slip(
        "softmax taken",
        "You return probabilities. The task asks for the scores before softmax.",
        lambda x: x.softmax(class_axis(x)),
    ),
    Slip(
        "sigmoid taken",
        "You return probabilities. The task asks for the scores before the sigmoid.",
        lambda x: x.sigmoid(),
    ),
    Slip(
        "logarithm of the softmax taken",
        "You return log-probabilities. The task asks for plain scores.",
        lambda x: x.log_softmax(class_axis(x)),
    ),
)

_OF_PROBABILITIES = (
    Slip("logarithm taken", "You return logarithms of probabilities.", torch.log),
    Slip("sigmoid not taken", "You return logits. The task asks for probabilities.", torch.logit),
    Slip("softmax once more", "You took a softmax of probabilities.", lambda x: x.softmax(class_axis(x))),
    Slip("sigmoid once more", "You took the sigmoid of probabilities.", torch.sigmoid),
)

_OF_KIND: dict[Kind, tuple[Slip, ...]] = {
    Kind.BOXES: _OF_BOXES,
    Kind.COUNT: _OF_COUNTS,
    Kind.SIZE: _OF_COUNTS,
    Kind.CLASSES: _OF_CLASSES,
    Kind.INDICES: _OF_INDICES,
    Kind.LOGITS: _OF_LOGITS,
    Kind.PROBABILITIES: _OF_PROBABILITIES,
}
