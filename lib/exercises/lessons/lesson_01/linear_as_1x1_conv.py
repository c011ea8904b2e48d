"""Turn a linear layer into a 1×1 convolution that gives the same scores at every cell."""

from torch import Tensor, nn

from lib.exercises.engine.exercise import Case, Exercise, Mistake, Probe
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_01._parts import (
    BIAS_LOST,
    BIAS_RANDOM,
    MEMORY_SHARED,
    NOT_TRAINABLE,
    is_trainable,
    make_conv,
    make_linear,
    need_original_numbers,
    need_plain_sliding,
    need_shape_of_weights,
    off_by_one_number_per_class,
    shares_no_memory,
)
from lib.layers import convolutionalize


def cases() -> list[Case]:
    cases = []
    for label, inputs, outputs in (
        ("3 features, 2 classes", 3, 2),
        ("4 features, 4 classes", 4, 4),
        ("1 feature, 5 classes", 1, 5),
    ):
        linear = make_linear(inputs, outputs)
        at_each_cell = linear(map_for(linear).movedim(1, -1)).movedim(-1, 1)  # (1, K, 2, 3)
        cases.append(Case(label, (linear,), at_each_cell.detach()))
    return cases


def map_for(linear: nn.Linear) -> Tensor:
    return random_values(1, linear.in_features, 2, 3, seed=7)  # (1, C, 2, 3)


def scores_at_each_cell(conv: nn.Conv2d, linear: nn.Linear) -> Tensor:
    need_shape_of_weights(
        conv,
        (linear.out_features, linear.in_features, 1, 1),
        "One class has one number per channel, and the kernel is 1 high and 1 wide.",
    )
    need_plain_sliding(conv)
    need_original_numbers(conv, linear)
    return conv(map_for(linear))


def as_1x1(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    return make_conv(weight[:, :, None, None], bias)


EXERCISE = Exercise(
    name="linear_as_1x1_conv",
    reference=convolutionalize.linear_as_1x1_conv,
    cases=cases,
    gives=Kind.MAP,
    mistakes=[
        Mistake("bias lost", BIAS_LOST, wrong=lambda linear: as_1x1(linear.weight, None)),
        Mistake("bias not copied", BIAS_RANDOM, when=off_by_one_number_per_class),
        Mistake(
            "weight transposed",
            "Classes and features are swapped in your weights. Both tables have one row for each "
            "class, so no transposing is needed. With as many classes as features, no shape warns you of this.",
            wrong=lambda linear: as_1x1(linear.weight.T.reshape(linear.weight.shape), linear.bias),
        ),
    ],
    returns=nn.Conv2d,
    observe=scores_at_each_cell,
    probes=[
        Probe(
            "memory shared",
            MEMORY_SHARED,
            passes=lambda function: shares_no_memory(function, make_linear(3, 2)),
        ),
        Probe(
            "cannot be trained",
            NOT_TRAINABLE,
            passes=lambda function: is_trainable(function(make_linear(3, 2))),
        ),
    ],
)
