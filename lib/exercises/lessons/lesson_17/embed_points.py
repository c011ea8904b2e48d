"""Points and corners of boxes as tokens: the code of the place, and what the point means."""

import math
from collections.abc import Callable
from functools import partial
from itertools import combinations, product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_classes, random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.values import in_single_precision

Size = tuple[int, int]  # H, W
NO_POINT = -1


def embed_points(points: Tensor, labels: Tensor, waves: Tensor, types: Tensor, size: Size) -> Tensor:
    """The course's own, as in `lib.layers.prompt_encoder.PromptEncoder`."""
    return embedded(points, labels, waves, types, size)


def of_middles(points: Tensor, size: Size) -> Tensor:
    return (points + 0.5) / points.new_tensor(size[::-1])


def from_minus_1(shares: Tensor) -> Tensor:
    return 2 * shares - 1


def sines_and_cosines(angles: Tensor) -> Tensor:
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def code_or_nothing(codes: Tensor, labels: Tensor) -> Tensor:
    return codes * (labels != NO_POINT)[..., None]


def kept(codes: Tensor, labels: Tensor) -> Tensor:
    return codes


def cosines_kept(codes: Tensor, labels: Tensor) -> Tensor:
    of_0 = sines_and_cosines(torch.zeros(codes.shape[2] // 2))
    return torch.where((labels == NO_POINT)[..., None], of_0, codes)


def from_row_0(types: Tensor, labels: Tensor) -> Tensor:
    return types[labels + 1]


def embedded(
    points: Tensor,
    labels: Tensor,
    waves: Tensor,
    types: Tensor,
    size: Size,
    shares: Callable[[Tensor, Size], Tensor] = of_middles,
    spread: Callable[[Tensor], Tensor] = from_minus_1,
    turn: float = 2 * math.pi,
    coded: Callable[[Tensor], Tensor] = sines_and_cosines,
    placed: Callable[[Tensor, Tensor], Tensor] = code_or_nothing,
    kind: Callable[[Tensor, Tensor], Tensor] = from_row_0,
) -> Tensor:
    """`embed_points` with its decisions open.

    Args:
        shares: from points and size to shares 0..1. spread: from these to -1..1. turn: what the angles are times.
        coded: from angles (P, N, F) to codes (P, N, 2F). placed: what is left of the codes, by the labels.
        kind: from types and labels to what is added.
    """
    angles = turn * spread(shares(points, size)) @ waves  # (P, N, F)
    return placed(coded(angles), labels) + kind(types, labels)  # (P, N, 2F)


def cases() -> list[Case]:
    # Places of the two points: (-1/4, -1/2) and (1/4, 1/2). Angles: -90 and -135 degrees, 90 and 135 degrees.
    by_hand = case(
        "a foreground point, a background point, no point; 2 waves; 4 pixels wide, 2 high: worked by hand",
        torch.tensor([[[1.0, 0], [2, 1], [3, 0]]]),
        torch.tensor([[1, 0, -1]]),
        torch.tensor([[1.0, 0.5], [0, 0.5]]),
        torch.arange(10.0, 60, 10)[:, None].repeat(1, 4),
        (2, 4),
    )
    root = math.sqrt(0.5)
    worked = [[30.0 - 1, 30 - root, 30, 30 - root], [20 + 1, 20 + root, 20, 20 - root], [10, 10, 10, 10]]
    torch.testing.assert_close(by_hand.expected, torch.tensor([worked]))
    shapes = {  # P, N, F, H, W
        "2 prompts of 7 points, 3 waves, 48 wide, 20 high": (2, 7, 3, 20, 48),
        "3 prompts of one point, 5 waves": (3, 1, 5, 32, 24),
        "one prompt of 6 points, one wave": (1, 6, 1, 10, 16),
        "4 prompts of 4 points, 2 waves": (4, 4, 2, 12, 30),
        "5 prompts of 2 points, a square picture": (5, 2, 4, 16, 16),
        "prompts without a point": (3, 0, 2, 8, 12),
    }
    made = [by_hand]
    for seed, (label, (prompts, number, waves, height, width)) in enumerate(shapes.items()):
        made.append(
            case(
                label,
                torch.stack(
                    [random_classes(prompts, number, classes=n, seed=seed) for n in (width, height)], 2
                ).float(),
                random_classes(prompts, number, classes=5, seed=seed + 20) - 1,
                random_values(2, waves, seed=seed + 40),
                random_values(5, 2 * waves, seed=seed + 60),
                (height, width),
            )
        )
    points, labels, waves, types, size = made[1].arguments
    made.append(
        case("no point at all: every label is −1", points, torch.full_like(labels, NO_POINT), waves, types, size)
    )
    return made


def case(label: str, *arguments: Any) -> Case:
    return Case.from_truth(label, arguments, point_by_point, gradients_of=("types",))


def point_by_point(points: Tensor, labels: Tensor, waves: Tensor, types: Tensor, size: Size) -> Tensor:
    """The truth, in plain numbers: the distance from the picture's middle, in halves of its sides, gives the angles."""
    middle_x, middle_y = size[1] / 2, size[0] / 2
    number = waves.shape[1]
    codes = torch.zeros(*labels.shape, 2 * number)
    for p, n in product(*map(range, labels.shape)):
        if labels[p, n] >= 0:
            x, y = points[p, n].tolist()
            for f, (along_x, along_y) in enumerate(waves.T.tolist()):
                turns = along_x * (x + 0.5 - middle_x) / middle_x + along_y * (y + 0.5 - middle_y) / middle_y
                codes[p, n, f] = math.sin(math.tau * turns)
                codes[p, n, number + f] = math.cos(math.tau * turns)
    return codes + F.one_hot(labels + 1, 5).to(types.dtype) @ types


Way = tuple[str, str, dict[str, Any]]

SIDES: list[Way] = [
    (
        "half a pixel forgotten",
        "You coded the pixels' corners: half a pixel is missing from x and y before they are divided.",
        {"shares": lambda points, size: points / points.new_tensor(size[::-1])},
    ),
    (
        "height and width exchanged",
        "You divided x by the height and y by the width. `size` is (H, W), and a point is (x, y).",
        {"shares": lambda points, size: (points + 0.5) / points.new_tensor(size)},
    ),
    (
        "half a pixel forgotten, height and width exchanged",
        "Two things at once. Half a pixel is missing from x and y. And you divided x by the height and y by the width: "
        "`size` is (H, W), and a point is (x, y).",
        {"shares": lambda points, size: points / points.new_tensor(size)},
    ),
]

PLACES: list[Way] = [
    (
        "y before x",
        "You divided each number by its own side, but then y stands before x. The first row of `waves` belongs to x.",
        {"shares": lambda points, size: of_middles(points, size).flip(-1)},
    ),
    (
        "points read as y, x",
        "You took a point's first number for y and its second for x. x, the column, comes first.",
        {"shares": lambda points, size: of_middles(points.flip(-1), size)},
    ),
    (
        "half a pixel to the other side",
        "You took half a pixel away from x and y. The middle lies further on: add it.",
        {"shares": lambda points, size: of_middles(points - 1, size)},
    ),
    (
        "half added after dividing",
        "Your places come out as 2 · x / W and 2 · y / H. If you add 0.5, add it to the *pixels*, before dividing; the "
        "1 is taken away in the end.",
        {"shares": lambda points, size: points / points.new_tensor(size[::-1]) + 0.5},
    ),
    (
        "divided by the longer side",
        "You divided both x and y by the longer side. x is a share of the width, y of the height.",
        {"shares": lambda points, size: (points + 0.5) / max(size)},
    ),
    (
        "divided by W − 1 and H − 1",
        "You divided x and y by W − 1 and H − 1, so that the first and the last pixel's middles lie on the border. "
        "Here the *picture's* border is the border: add half a pixel, divide by W and H.",
        {"shares": lambda points, size: points / (points.new_tensor(size[::-1]) - 1)},
    ),
    (
        "not divided by the sides",
        "You did not divide x and y by the picture's width and height.",
        {"shares": lambda points, size: points + 0.5},
    ),
    (
        "divided by the width alone",
        "You divided both x and y by the width. y belongs to the height.",
        {"shares": lambda points, size: (points + 0.5) / size[1]},
    ),
]

OTHERS: list[Way] = [
    (
        "not brought to −1..1",
        "Your places go from 0 to 1. Bring them to −1..1 before the waves: 0 is the middle of the picture.",
        {"spread": torch.clone},
    ),
    (
        "1 not taken away",
        "Your places go from 0 to 2. Bring them to −1..1 before the waves: 0 is the middle of the picture.",
        {"spread": lambda shares: 2 * shares},
    ),
    (
        "1 taken away before doubling",
        "Your places go from −2 to 0: you took 1 away and doubled then. Double first: 2 · share − 1.",
        {"spread": lambda shares: 2 * (shares - 1)},
    ),
    ("2π forgotten", "Your angles are 2π times too small. One wave is a whole turn.", {"turn": 1.0}),
    (
        "half the angle",
        "Your angles are half as large as they should be. Do the places go from −1 to 1, and not from −1/2 to 1/2? "
        "And is it 2π, not π?",
        {"turn": math.pi},
    ),
    (
        "cosines first",
        "Your cosines come before the sines. The task asks for the sines first.",
        {"coded": lambda angles: torch.cat([angles.cos(), angles.sin()], dim=-1)},
    ),
    (
        "interleaved",
        "Your sines and cosines take turns: sine, cosine, sine, ... The task asks for all sines, then all cosines.",
        {"coded": lambda angles: torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)},
    ),
    (
        "place kept for no point",
        'A "no point" keeps the code of its place. Its token is its type alone, whatever stands in `points`.',
        {"placed": kept},
    ),
    (
        "cosines kept for no point",
        'You set the angles (or the place) of a "no point" to 0. That leaves a code: the cosine of 0 is 1. Take the '
        "*code* away.",
        {"placed": cosines_kept},
    ),
    (
        "background without a place",
        "Your background points have no place either. Only label −1 is no point; a background point, label 0, lies "
        "somewhere.",
        {"placed": lambda codes, labels: codes * (labels > 0)[..., None]},
    ),
    (
        "types one row off",
        "You took row 0 of `types` for label 0, and so on (and for −1 the last row, as Python counts). Row 0 belongs "
        "to −1, row 1 to 0.",
        {"kind": lambda types, labels: types[labels]},
    ),
    (
        "no type for no point",
        'The token of a "no point" is 0. It should be row 0 of `types`.',
        {"kind": lambda types, labels: code_or_nothing(types[labels + 1], labels)},
    ),
    (
        "places alone",
        "Your tokens are the codes of places alone: `types` plays no part. Its vector is added to the code, "
        'and of a "no point" it is all that there is.',
        {"kind": lambda types, labels: 0 * types[labels + 1], "placed": kept},
    ),
    (
        "types forgotten",
        'Your tokens are the codes of places alone. The vector of the type is added to them, and of a "no point" it is '
        "all that there is.",
        {"kind": lambda types, labels: 0 * types[labels + 1]},
    ),
    (
        "type for no point alone",
        'Only a "no point" gets a type. A point is the sum of its code *and* its type.',
        {"kind": lambda types, labels: types[labels + 1] * (labels == NO_POINT)[..., None]},
    ),
]


FIRST_PIXEL = (
    'You set the place of a "no point" to 0. That is a place like any other, at the picture\'s left upper corner, and '
    "you add its code. Take the *code* away."
)


def points_set_to_0(points: Tensor, labels: Tensor, waves: Tensor, types: Tensor, size: Size, x: float = 0.0) -> Tensor:
    points = torch.where((labels == NO_POINT)[..., None], x, points)
    return embedded(points, labels, waves, types, size, placed=kept)


def half_for_clicks(points: Tensor, labels: Tensor, waves: Tensor, types: Tensor, size: Size) -> Tensor:
    return embedded(points - 0.5 * (labels >= 2)[..., None], labels, waves, types, size)


USUAL = ("not brought", "2π", "cosines first", "interleaved", "place kept", "types one row")  # two of these at once
COMMON = [way for way in OTHERS if way[0].startswith(USUAL)]
TWO = [
    *product(SIDES[:1], (way for way in OTHERS if way[0] != "1 not taken away")),  # is "half added after dividing"
    *product(SIDES[1:2], COMMON),
    *((one, other) for one, other in combinations(COMMON, 2) if one[2].keys() != other[2].keys()),
]

EXERCISE = Exercise(
    name="embed_points",
    reference=embed_points,
    cases=cases,
    gives=Kind.NUMBERS,
    observe=in_single_precision,
    mistakes=[
        *(Mistake(name, told, wrong=partial(embedded, **made)) for name, told, made in (*SIDES, *PLACES, *OTHERS)),
        Mistake(
            "no half pixel for corners",
            "Half a pixel is missing from the corners of boxes, labels 2 and 3. It is added to all types alike.",
            wrong=half_for_clicks,
        ),
        Mistake("no point put at pixel 0", FIRST_PIXEL, wrong=points_set_to_0),
        Mistake("no point put at 0", FIRST_PIXEL, wrong=partial(points_set_to_0, x=-0.5)),
        *(
            Mistake(
                f"{one}; {other}", f"Two things at once. {told} And this: {also}", wrong=partial(embedded, **a, **b)
            )
            for (one, told, a), (other, also, b) in TWO
        ),
    ],
    atol=1e-4,  # single precision, after some whole turns
)
