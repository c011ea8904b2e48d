"""Move anchors by what the network says."""

import math

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder as TorchvisionBoxCoder

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case, Exercise, mistake
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


def parts(anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Middles (A, 2), and widths and heights (A, 2)."""
    return (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]


def from_parts(middles: Tensor, sides: Tensor) -> Tensor:
    """Boxes (A, 4) from middles and sides (A, 2)."""
    return torch.cat([middles - sides / 2, middles + sides / 2], dim=1)


def grown(deltas: Tensor, anchors: Tensor, factors: Tensor) -> Tensor:
    """The middles moved rightly, the sides times `factors` (A, 2)."""
    middles, sides = parts(anchors)
    return from_parts(middles + deltas[:, :2] * sides, sides * factors)


def factors(deltas: Tensor) -> Tensor:
    """(A, 2) the right factors of the sides."""
    return deltas[:, 2:].clamp(max=LIMIT).exp()


EXP_FORGOTTEN = (
    "You multiplied the sides by tw and th themselves. They are logarithms: 0 means *as it is*, and your box has no "
    "size there."
)


@mistake("exp forgotten", EXP_FORGOTTEN)
def exp_forgotten(deltas: Tensor, anchors: Tensor) -> Tensor:
    return grown(deltas, anchors, deltas[:, 2:].clamp(max=LIMIT))


@mistake("exp forgotten, and no limit", f"{EXP_FORGOTTEN} The limit is missing, too.")
def exp_and_limit_forgotten(deltas: Tensor, anchors: Tensor) -> Tensor:
    return grown(deltas, anchors, deltas[:, 2:])


ONE_PLUS = "Nearly right for small numbers. tw is the logarithm of new width / old width."


@mistake("1 + t instead of exp", ONE_PLUS)
def one_plus(deltas: Tensor, anchors: Tensor) -> Tensor:
    return grown(deltas, anchors, 1 + deltas[:, 2:].clamp(max=LIMIT))


@mistake("1 + t instead of exp, and no limit", f"{ONE_PLUS} The limit is missing, too.")
def one_plus_without_limit(deltas: Tensor, anchors: Tensor) -> Tensor:
    return grown(deltas, anchors, 1 + deltas[:, 2:])


@mistake(
    "limit missing or too high",
    "For tw = 9 your box is 8,103 times as wide as the anchor. Believe at most log(1000 / 16) of tw and th: the "
    "logarithm, about 4.1.",
)
def without_limit(deltas: Tensor, anchors: Tensor) -> Tensor:
    return grown(deltas, anchors, deltas[:, 2:].exp())


@mistake("limited downwards too", "You also limit tw and th from below. There is no limit downwards.")
def limited_downwards(deltas: Tensor, anchors: Tensor) -> Tensor:
    return grown(deltas, anchors, deltas[:, 2:].clamp(-LIMIT, LIMIT).exp())


@mistake(
    "limited after exp", "You limit the factor `exp(tw)` itself. The limit is one of tw and th: take it before `exp`."
)
def limited_after_exp(deltas: Tensor, anchors: Tensor) -> Tensor:
    return grown(deltas, anchors, deltas[:, 2:].exp().clamp(max=LIMIT))


@mistake("moved by pixels", "You moved the middle by tx pixels. tx counts in widths of the anchor, ty in heights.")
def moved_by_pixels(deltas: Tensor, anchors: Tensor) -> Tensor:
    middles, sides = parts(anchors)
    return from_parts(middles + deltas[:, :2], sides * factors(deltas))


@mistake(
    "corner taken for the middle",
    "You moved the left upper corner as if it were the middle. Take the middle of the anchor.",
)
def from_the_corner(deltas: Tensor, anchors: Tensor) -> Tensor:
    _, sides = parts(anchors)
    return from_parts(anchors[:, :2] + deltas[:, :2] * sides, sides * factors(deltas))


@mistake(
    "the corner stays",
    "You moved the left upper corner, and let the box grow from there. tx and ty move the *middle*; the box grows to "
    "all sides.",
)
def grown_from_the_corner(deltas: Tensor, anchors: Tensor) -> Tensor:
    _, sides = parts(anchors)
    corners = anchors[:, :2] + deltas[:, :2] * sides
    return torch.cat([corners, corners + sides * factors(deltas)], dim=1)


@mistake(
    "moved in units of the new size",
    "You used the new width and height to move the middle. tx and ty count in sides of the *anchor*.",
)
def moved_by_new_size(deltas: Tensor, anchors: Tensor) -> Tensor:
    middles, sides = parts(anchors)
    new = sides * factors(deltas)
    return from_parts(middles + deltas[:, :2] * new, new)


@mistake("width and height swapped", "tx counts in widths, ty in heights; yours do it the other way round.")
def width_and_height_swapped(deltas: Tensor, anchors: Tensor) -> Tensor:
    middles, sides = parts(anchors)
    return from_parts(middles + deltas[:, :2] * sides.flip(1), sides * factors(deltas))


@mistake("size not changed", "Your boxes are moved, but keep their size.")
def only_moved(deltas: Tensor, anchors: Tensor) -> Tensor:
    return grown(deltas, anchors, torch.ones_like(deltas[:, 2:]))


@mistake("not moved", "Your boxes change their size, but stay where they are.")
def only_resized(deltas: Tensor, anchors: Tensor) -> Tensor:
    return grown(0 * deltas, anchors, factors(deltas))


@mistake("tx and ty swapped", "You move by ty in x and by tx in y. The first number is tx.")
def moves_swapped(deltas: Tensor, anchors: Tensor) -> Tensor:
    return grown(deltas[:, [1, 0, 2, 3]], anchors, factors(deltas))


@mistake(
    "added to the corners", "You added the four numbers to the four corners. They are two moves and two logarithms."
)
def added_to_the_corners(deltas: Tensor, anchors: Tensor) -> Tensor:
    return anchors + deltas


@mistake(
    "divided by 10 and 5",
    "You divide the numbers by 10, 10, 5, 5, as a second stage does. Here they are taken as they are.",
)
def with_weights(deltas: Tensor, anchors: Tensor) -> Tensor:
    return decode_boxes(deltas / deltas.new_tensor([10, 10, 5, 5]), anchors)


EXERCISE = Exercise(
    name="decode_boxes",
    reference=decode_boxes,
    cases=cases,
    takes={"anchors": Kind.BOXES},
    gives=Kind.BOXES,
    mistakes=[
        exp_forgotten,
        exp_and_limit_forgotten,
        one_plus,
        one_plus_without_limit,
        without_limit,
        limited_downwards,
        limited_after_exp,
        moved_by_pixels,
        from_the_corner,
        grown_from_the_corner,
        moved_by_new_size,
        width_and_height_swapped,
        only_moved,
        only_resized,
        moves_swapped,
        added_to_the_corners,
        with_weights,
    ],
    picture=compare_boxes,
)
