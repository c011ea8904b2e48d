"""A gate: of each number a share passes, and all numbers of the vector decide which."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.values import agrees, in_single_precision

Gate = Callable[[Tensor, Tensor, Tensor], Tensor]  # x (..., D), weight (D, D), bias (D,) -> (..., D)


def feature_gate(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The course's own, as in `lib.models.uni_dvps.FeatureGate.forward`."""
    return x * F.linear(x, weight, bias).sigmoid()


def cases() -> list[Case]:
    shapes: dict[str, tuple[int, ...]] = {
        "5 vectors of 3 numbers": (5, 3),
        "2 pictures, 3 queries, 4 numbers": (2, 3, 4),
        "one vector, no axis in front": (5,),
        "2 pictures of 4 × 3 pixels, 6 numbers": (2, 4, 3, 6),
        "all lengths are 3": (3, 3, 3),
        "one number in each vector": (4, 1),
        "axes of length 1": (1, 3, 1, 2),
        "no vector": (0, 4),
    }
    step = math.log(3)  # sigmoid(2 log 3) = 0.9, sigmoid(-log 3) = 0.25
    by_hand = case(
        "2 vectors of 2 numbers, worked by hand: the shares are 0.9 and 0.25, and 0.25 and 0.9",
        torch.tensor([[1.0, 2], [-2, -4]]),
        step * torch.tensor([[1.0, 0], [1, -1]]),
        step * torch.tensor([1.0, 0]),
    )
    torch.testing.assert_close(by_hand.expected, torch.tensor([[0.9, 0.5], [-0.5, -3.6]]))
    made = []
    for seed, (label, shape) in enumerate(shapes.items()):
        x, dim = 1.5 * random_values(*shape, seed=seed), shape[-1]
        made.append(case(label, x, random_values(dim, dim, seed=seed + 20), random_values(dim, seed=seed + 40)))
    return [by_hand, *made]


def case(label: str, *arguments: Tensor) -> Case:
    return Case.from_truth(label, arguments, number_by_number, gradients_of=("x", "weight", "bias"))


def number_by_number(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The truth, in double precision, without a matrix: what each of the D numbers becomes, one after the other."""
    numbers = x.double().unbind(-1)
    passed = []
    for number, row, added in zip(numbers, weight.double(), bias.double(), strict=True):
        answer = added + sum(w * other for w, other in zip(row, numbers, strict=True))
        passed.append(number / (1 + torch.exp(-answer)))
    return torch.stack(passed, dim=-1).float()


def gated(
    layer: Gate = F.linear,
    share: Callable[[Tensor], Tensor] = torch.sigmoid,
    told: Callable[[Tensor, Tensor], Tensor] = torch.mul,
) -> Gate:
    """`feature_gate` with its decisions open: the layer's answer, the share made of it, what is told of x and share."""
    return lambda x, weight, bias: told(x, share(layer(x, weight, bias)))


def without_bias(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(x, weight)


def transposed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x @ weight + bias


def bias_after_the_sigmoid(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x * (F.linear(x, weight).sigmoid() + bias)


def bias_after_the_gate(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x * F.linear(x, weight).sigmoid() + bias


def answer_for_x(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.silu(F.linear(x, weight, bias))


def exchanged(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.sigmoid() * F.linear(x, weight, bias)


def parameters_detached(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return feature_gate(x, weight.detach(), bias.detach())


def of_softmax(got: Tensor, expected: Tensor, case: Case, layer: Gate) -> bool:
    """Whether the shares are a softmax along any axis."""
    answer = layer(*case.arguments)
    return any(agrees(got, case.arguments[0] * answer.softmax(dim=axis)) for axis in range(answer.ndim))


def mean_of(shares: Tensor) -> Tensor:
    return shares.mean(dim=-1, keepdim=True)


EACH = "Each of the D numbers has a share of its own"
OUTPUT_FIRST = (
    "You used the weight transposed: `x @ weight` weighs x with its columns. `nn.Linear` keeps the output first, so "
    "that a row of the weight belongs to one number of the answer."
)
SOFTMAX = f"You took a softmax, whose shares add up to 1: they compete. {EACH}, from a sigmoid."

MISTAKES = [
    Mistake("softmax", SOFTMAX, when=partial(of_softmax, layer=F.linear)),
    Mistake(
        "the share itself",
        "You return the shares. They say how much of x passes: the result is what has passed.",
        wrong=gated(told=lambda x, share: share),
    ),
    Mistake("weight transposed", OUTPUT_FIRST, wrong=gated(transposed)),
    Mistake("bias forgotten", "The bias is missing. Add it before the sigmoid.", wrong=gated(without_bias)),
    Mistake(
        "weight transposed, bias forgotten",
        f"{OUTPUT_FIRST} And the bias is missing.",
        wrong=gated(lambda x, weight, bias: x @ weight),
    ),
    Mistake(
        "softmax, weight transposed",
        f"Two things at once. {SOFTMAX} {OUTPUT_FIRST}",
        when=partial(of_softmax, layer=transposed),
    ),
    Mistake(
        "bias after the sigmoid",
        "You added the bias to the shares. It belongs to the linear layer: it comes before the sigmoid.",
        wrong=bias_after_the_sigmoid,
    ),
    Mistake(
        "bias added at the end",
        "You added the bias to what has passed. It belongs to the linear layer: it comes before the sigmoid.",
        wrong=bias_after_the_gate,
    ),
    Mistake(
        "mean of the shares",
        f"You took one share for the whole vector, the mean of the D shares. {EACH}.",
        wrong=gated(told=lambda x, share: x * mean_of(share)),
    ),
    Mistake(
        "share of the mean",
        f"You took one share for the whole vector, from the mean of the layer's answer. {EACH}.",
        wrong=gated(share=lambda answer: mean_of(answer).sigmoid()),
    ),
    Mistake(
        "1 − share",
        "You return what does *not* pass: x times (1 − share), the part that the gate keeps back.",
        wrong=gated(told=lambda x, share: x * (1 - share)),
    ),
    Mistake(
        "x added",
        "You added x to what passes. Then no less than all of x passes; the task asks for a share of it.",
        wrong=gated(told=lambda x, share: x + x * share),
    ),
    Mistake("sum for product", "You added the share to x. It is a factor.", wrong=gated(told=torch.add)),
    Mistake(
        "no sigmoid",
        "You multiplied x by the layer's answer as it is, which may be any number. A share lies between 0 and 1: the "
        "sigmoid makes it one.",
        wrong=gated(share=torch.clone),
    ),
    Mistake(
        "ReLU for sigmoid",
        "You took a ReLU, which may give more than 1. A share lies between 0 and 1: the task asks for a sigmoid.",
        wrong=gated(share=torch.relu),
    ),
    Mistake(
        "tanh for sigmoid",
        "You took tanh, which goes from −1 to 1. A share lies between 0 and 1: the task asks for a sigmoid.",
        wrong=gated(share=torch.tanh),
    ),
    Mistake(
        "yes or no",
        "You let a number pass as a whole or not at all. The share is the sigmoid itself, not rounded.",
        wrong=gated(told=lambda x, share: x * (share > 0.5)),
    ),
    Mistake(
        "cut off for sigmoid",
        "You cut the layer's answer off at 0 and 1. The task asks for a sigmoid.",
        wrong=gated(share=lambda answer: answer.clamp(0, 1)),
    ),
    Mistake(
        "the layer's answer passes",
        "You multiplied the layer's answer by its own sigmoid. What passes is x; the answer only says how much of it.",
        wrong=answer_for_x,
    ),
    Mistake(
        "x and answer exchanged",
        "You multiplied the layer's answer by the sigmoid of x. It is the other way round.",
        wrong=exchanged,
    ),
    Mistake(
        "sigmoid of x",
        "You took the sigmoid of x itself: weight and bias play no part. The linear layer comes first.",
        wrong=gated(lambda x, weight, bias: x),
    ),
    Mistake(
        "sigmoid at the end",
        "You took the sigmoid of the product. It turns the layer's answer into a share, before this meets x.",
        wrong=gated(share=torch.clone, told=lambda x, answer: (x * answer).sigmoid()),
    ),
    Mistake(
        "x squared",
        "You multiplied by x twice.",
        wrong=gated(told=lambda x, share: x * x * share),
    ),
    Mistake(
        "weight and bias without gradient",
        "The numbers are right, but no gradient reaches `weight` and `bias`: `nn.Parameter(...)`, `.data` and "
        "`.detach()` make tensors of their own, which the given ones do not learn from. Use these as they are.",
        wrong=parameters_detached,
    ),
]

EXERCISE = Exercise(
    name="feature_gate",
    reference=feature_gate,
    cases=cases,
    gives=Kind.NUMBERS,
    observe=in_single_precision,
    mistakes=MISTAKES,
)
