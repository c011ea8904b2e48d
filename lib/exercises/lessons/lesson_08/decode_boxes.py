"""Move anchors by what the network says."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder as TorchvisionBoxCoder

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.ops.box_coder import BoxCoder

LIMIT = math.log(1000 / 16)


def decode_boxes(deltas: Tensor, anchors: Tensor) -> Tensor:
    """The course's own."""
    return BoxCoder().decode_single(deltas, anchors).reshape(-1, 4)


def cases() -> list[Case]:
    anchors = torch.tensor([[0.0, 0, 21, 10], [-6, 12, 26, 75.5], [40, 40, 48, 64], [10, 30, 60, 40]])
    named = {
        "moved, and another size": [[0.5, -0.25, math.log(2), -math.log(4)], [0.1, 0.2, 0.3, -0.5]],
        "moved far: tx of 6, ty of −5": [[6.0, 0, 0, 0], [0, -5.0, 0, 0]],
        "nothing is to be moved": [[0.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        "only moved": [[0.5, 0, 0, 0], [0, -0.25, 0, 0], [0.1, 0.2, 0, 0], [-1, 0.5, 0, 0]],
        "only another size": [[0, 0, math.log(2), 0], [0, 0, 0, -math.log(4)], [0, 0, 0.3, 0.3], [0, 0, -0.5, 0.25]],
        "a wild guess: tw and th of 9": [[0.2, 0.1, 9.0, 9.0], [-0.3, 0.4, 9.0, 0.0], [0.0, 0.0, 0.0, 9.0]],
        "a wild guess downwards: tw and th of −9": [[0.2, 0.1, -9.0, 0.0], [0.0, 0.3, -6.0, -9.0]],
        "tw and th of 4, below the limit": [[0.0, 0.1, 4.0, 4.0]],
    }
    wanted = {label: torch.tensor(rows) for label, rows in named.items()}
    wanted["four anchors, all at once"] = 0.4 * random_values(4, 4)
    return [
        Case.from_truth(label, (deltas, anchors[: len(deltas)]), by_torchvision) for label, deltas in wanted.items()
    ] + [Case("no anchor", (torch.zeros(0, 4), torch.zeros(0, 4)), torch.zeros(0, 4))]


def by_torchvision(deltas: Tensor, anchors: Tensor) -> Tensor:
    """The truth."""
    return TorchvisionBoxCoder((1.0, 1.0, 1.0, 1.0)).decode_single(deltas, anchors)


def believed(logarithms: Tensor) -> Tensor:
    """Logarithms of the factors, with the limit."""
    return logarithms.clamp(max=LIMIT)


def decoded_with(
    move: Callable = lambda t, sides, new: t * sides,
    factor: Callable = lambda t: believed(t).exp(),
    start: Callable = lambda anchors: (anchors[:, :2] + anchors[:, 2:]) / 2,
) -> Callable[[Tensor, Tensor], Tensor]:
    """`decode_boxes` with another move (A, 2) of the middle, other factors of the sides, or from another point."""

    def decode(deltas: Tensor, anchors: Tensor) -> Tensor:
        sides = anchors[:, 2:] - anchors[:, :2]  # (A, 2)
        new = sides * factor(deltas[:, 2:])
        middles = start(anchors) + move(deltas[:, :2], sides, new)
        return torch.cat([middles - new / 2, middles + new / 2], dim=1)

    return decode


@mistake(
    "the corner stays",
    "You moved the left upper corner, and let the box grow from there. tx and ty move the *middle*; the box grows to "
    "all sides.",
)
def grown_from_the_corner(deltas: Tensor, anchors: Tensor) -> Tensor:
    sides = anchors[:, 2:] - anchors[:, :2]
    corners = anchors[:, :2] + deltas[:, :2] * sides
    return torch.cat([corners, corners + sides * believed(deltas[:, 2:]).exp()], dim=1)


EXP_FORGOTTEN = (
    "You multiplied the sides by tw and th themselves. They are logarithms: 0 means *as it is*, and your box has no "
    "size there."
)
ONE_PLUS = "Nearly right for small numbers. tw is the logarithm of new width / old width."
MOVES_LIMITED = "You limit tx and ty as well. The limit is for tw and th alone."

EXERCISE = Exercise(
    name="decode_boxes",
    reference=decode_boxes,
    cases=cases,
    takes={"anchors": Kind.BOXES},
    gives=Kind.BOXES,
    mistakes=[
        Mistake("exp forgotten", EXP_FORGOTTEN, wrong=decoded_with(factor=believed)),
        Mistake(
            "exp forgotten, and no limit",
            f"{EXP_FORGOTTEN} The limit is missing, too.",
            wrong=decoded_with(factor=lambda t: t),
        ),
        Mistake("1 + t instead of exp", ONE_PLUS, wrong=decoded_with(factor=lambda t: 1 + believed(t))),
        Mistake(
            "1 + t instead of exp, and no limit",
            f"{ONE_PLUS} The limit is missing, too.",
            wrong=decoded_with(factor=lambda t: 1 + t),
        ),
        Mistake(
            "limit missing or too high",
            "For tw = 9 your box is 8,103 times as wide as the anchor. Believe at most log(1000 / 16) of tw and th: "
            "the logarithm, about 4.1.",
            wrong=decoded_with(factor=torch.exp),
        ),
        Mistake(
            "limited downwards too",
            "You also limit tw and th from below. There is no limit downwards.",
            wrong=decoded_with(factor=lambda t: t.clamp(-LIMIT, LIMIT).exp()),
        ),
        Mistake(
            "limited after exp",
            "You limit the factor `exp(tw)` itself. The limit is one of tw and th: take it before `exp`.",
            wrong=decoded_with(factor=lambda t: t.exp().clamp(max=LIMIT)),
        ),
        Mistake(
            "tx and ty limited too",
            MOVES_LIMITED,
            wrong=lambda deltas, anchors: decode_boxes(believed(deltas), anchors),
        ),
        Mistake(
            "all four limited, and downwards too",
            f"{MOVES_LIMITED} And there is no limit downwards.",
            wrong=lambda deltas, anchors: decode_boxes(deltas.clamp(-LIMIT, LIMIT), anchors),
        ),
        Mistake(
            "tx and ty limited instead of tw and th",
            "You limit tx and ty, and tw and th go without a limit. It is the other way round.",
            wrong=decoded_with(move=lambda t, sides, new: believed(t) * sides, factor=torch.exp),
        ),
        Mistake(
            "moved by pixels",
            "You moved the middle by tx pixels. tx counts in widths of the anchor, ty in heights.",
            wrong=decoded_with(move=lambda t, sides, new: t),
        ),
        Mistake(
            "corner taken for the middle",
            "You moved the left upper corner as if it were the middle. Take the middle of the anchor.",
            wrong=decoded_with(start=lambda anchors: anchors[:, :2]),
        ),
        grown_from_the_corner,
        Mistake(
            "moved in units of the new size",
            "You used the new width and height to move the middle. tx and ty count in sides of the *anchor*.",
            wrong=decoded_with(move=lambda t, sides, new: t * new),
        ),
        Mistake(
            "width and height swapped",
            "tx counts in widths, ty in heights; yours do it the other way round.",
            wrong=decoded_with(move=lambda t, sides, new: t * sides.flip(1)),
        ),
        Mistake(
            "size not changed", "Your boxes are moved, but keep their size.", wrong=decoded_with(factor=torch.ones_like)
        ),
        Mistake(
            "not moved",
            "Your boxes change their size, but stay where they are.",
            wrong=decoded_with(move=lambda t, sides, new: 0 * t),
        ),
        Mistake(
            "tx and ty swapped",
            "You move by ty in x and by tx in y. The first number is tx.",
            wrong=decoded_with(move=lambda t, sides, new: t.flip(1) * sides),
        ),
        Mistake(
            "tw and th swapped",
            "You stretch the width by th and the height by tw. The third number is tw.",
            wrong=decoded_with(factor=lambda t: believed(t).exp().flip(1)),
        ),
        Mistake(
            "added to the corners",
            "You added the four numbers to the four corners. They are two moves and two logarithms.",
            wrong=lambda deltas, anchors: anchors + deltas,
        ),
        Mistake(
            "divided by 10 and 5",
            "You divide the numbers by 10, 10, 5, 5, as a second stage does. Here they are taken as they are.",
            wrong=lambda deltas, anchors: decode_boxes(deltas / deltas.new_tensor([10, 10, 5, 5]), anchors),
        ),
    ],
    picture=compare_boxes,
)
