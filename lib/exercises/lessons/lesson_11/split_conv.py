"""A 1×1 convolution of two concatenated maps, taken apart into one for each map."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.exercises.engine.exercise import Case, Exercise, Mistake, WrongResult
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.exercises.engine.values import kind_of, with_article

Pair = tuple[nn.Conv2d, nn.Conv2d]
SIZES = {  # channels of the first map, of the second, and how many go out
    "2 and 4 channels become 3": (2, 4, 3),
    "3 and 3 channels become 3": (3, 3, 3),
    "5 and 1 channels become 2": (5, 1, 2),
    "1 and 4 channels become 1": (1, 4, 1),
}


def split_conv(conv: nn.Conv2d, channels: int) -> Pair:
    """The course's own."""
    return parts(conv, channels)


def cases() -> list[Case]:
    return [Case(label, (made(*numbers), numbers[0]), place_by_place(*numbers)) for label, numbers in SIZES.items()]


def made(first: int, second: int, outputs: int) -> nn.Conv2d:
    conv = nn.Conv2d(first + second, outputs, 1)
    conv.weight.data = random_values(outputs, first + second, 1, 1, seed=first)
    conv.bias.data = random_values(outputs, seed=second + 10)
    return conv


def two_maps(first: int, second: int) -> tuple[Tensor, Tensor]:
    return random_values(1, first, 2, 3, seed=20), random_values(1, second, 2, 3, seed=21)  # (1, C, 2, 3) each


def place_by_place(first: int, second: int, outputs: int) -> Tensor:
    """The truth: the concatenated maps through a linear layer, which sees each place by itself."""
    conv, both = made(first, second, outputs), torch.cat(two_maps(first, second), dim=1)
    return F.linear(both.movedim(1, 3), conv.weight[:, :, 0, 0], conv.bias).movedim(3, 1).detach()


def observe(result: Any, conv: nn.Conv2d, channels: int) -> Tensor:
    """What both convolutions say together of two maps."""
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise WrongResult("not two things", f"Asked are two `nn.Conv2d`; you returned {with_article(kind_of(result))}.")
    if not all(isinstance(part, nn.Conv2d) for part in result):
        kinds = " and ".join(with_article(kind_of(part)) for part in result)
        raise WrongResult("not two convolutions", f"Asked are two `nn.Conv2d`; you returned {kinds}.")
    numbers = next(numbers for numbers in SIZES.values() if numbers[0] == channels)
    need_shapes(result, *numbers)
    original = made(*numbers)  # `conv` may have been changed
    for number, part in zip(("first", "second"), result, strict=True):
        if not torch.isclose(part.weight.flatten()[:, None], original.weight.flatten()).any():
            raise WrongResult(
                "weights not copied",
                f"None of the weights of `conv` is in your {number} convolution. Does it still hold the random numbers "
                "that every new `nn.Conv2d` starts with?",
            )
    a, b = two_maps(*numbers[:2])
    return result[0](a) + result[1](b)


def need_shapes(result: Pair, first: int, second: int, outputs: int) -> None:
    """Raises unless the weights are (outputs, first, 1, 1) and (outputs, second, 1, 1), and each bias (outputs,)."""
    found, wanted = [tuple(one.weight.shape) for one in result], [(outputs, size, 1, 1) for size in (first, second)]
    made_for = [(one.in_channels, one.out_channels) for one in result]
    said = f"Your weights are {found[0]} and {found[1]}; {wanted[0]} and {wanted[1]} are expected. "
    if first != outputs and made_for == [(outputs, first), (outputs, second)]:
        raise WrongResult(
            "in and out exchanged",
            "`nn.Conv2d` wants the channels that come in first, then those that go out; yours are made for "
            f"{made_for[0][0]} in and {made_for[0][1]} out, and for {made_for[1][0]} in and {made_for[1][1]} out.",
        )
    if found == wanted and any(one.bias is not None and one.bias.shape != (outputs,) for one in result):
        raise WrongResult(
            "bias of the wrong length",
            "A bias has one number for each channel that goes *out*. These are not divided among the two convolutions, "
            "so the bias is not cut: one of them has the whole of it.",
        )
    if [shape[1] for shape in found] == [first + second] * 2 and found[0][0] + found[1][0] == outputs:
        raise WrongResult(
            "split along the outputs",
            said + "You split the channels that go *out*. Axis 0 of `conv.weight` counts these, axis 1 those that come "
            "*in*: the first ones belong to the first map.",
        )
    if found == wanted[::-1] != wanted:
        raise WrongResult(
            "channels of the two maps exchanged",
            said + "The first `channels` channels belong to the first map, and to your first convolution.",
        )
    if found != wanted:
        raise WrongResult(
            "weights of the wrong shape",
            said + "The first convolution takes as many channels as `channels` says, the second the others; both give "
            "as many as `conv`.",
        )


def parts(conv: nn.Conv2d, channels: int, biases: tuple[bool, bool] = (True, False)) -> Pair:
    """`split_conv`, with the bias of `conv` in these of the two."""
    convs = []
    for weight, has in zip((conv.weight[:, :channels], conv.weight[:, channels:]), biases, strict=True):
        part = nn.Conv2d(weight.shape[1], conv.out_channels, 1, bias=has)
        part.load_state_dict({"weight": weight} | ({"bias": conv.bias} if has else {}))
        convs.append(part)
    return convs[0], convs[1]


def off_by_one_number_per_channel(got: Tensor, expected: Tensor, case: Case) -> bool:
    difference = got - expected  # (1, K, 2, 3)
    return bool((difference - difference.mean(dim=(2, 3), keepdim=True)).abs().max() < 1e-4)


EXERCISE = Exercise(
    name="split_conv",
    reference=split_conv,
    cases=cases,
    gives=Kind.MAP,
    mistakes=[
        Mistake(
            "bias twice",
            "Both of your convolutions have the bias of `conv`. In the sum it counts twice.",
            wrong=partial(parts, biases=(True, True)),
        ),
        Mistake(
            "bias lost",
            "The sum lacks the bias of `conv`. One of the two convolutions must have it.",
            wrong=partial(parts, biases=(False, False)),
        ),
        Mistake(
            "halves exchanged",
            "Your first convolution has the weights of the second map, and the second those of the first. The channels "
            "of the first map come first in `torch.cat`, and so in the weights.",
            wrong=lambda conv, channels: parts(conv, channels)[::-1],
        ),
        Mistake(
            "another bias",
            "The weights are right: each channel is off by one number that is the same at every place. That is the "
            "bias. In the sum it must count once; a new `nn.Conv2d` begins with a random one, unless it is made with "
            "`bias=False`.",
            when=off_by_one_number_per_channel,
        ),
    ],
    observe=observe,
    picture=compare_maps,
)
