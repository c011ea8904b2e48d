"""The score of one class at every cell of a feature map."""

import torch
from torch import Tensor, nn

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.exercises.lessons.lesson_01._parts import make_linear
from lib.layers import convolutionalize


def heatmap_by_loop(features: Tensor, classifier: nn.Linear, class_index: int) -> Tensor:
    rows = [
        torch.stack([classifier(features[:, :, row, column])[:, class_index] for column in range(features.shape[3])], 1)
        for row in range(features.shape[2])
    ]  # each (B, w)
    return torch.stack(rows, 1)  # (B, h, w)


def cases() -> list[Case]:
    return [
        Case.from_truth(
            label,
            (random_values(*shape), make_linear(shape[1], classes), index),
            heatmap_by_loop,
        )
        for label, shape, classes, index in (
            ("two pictures, 5 channels, a map of 3 × 4, class 2 of 6", (2, 5, 3, 4), 6, 2),
            ("one picture, one cell", (1, 3, 1, 1), 2, 1),
            ("everything of size 4, class 3", (4, 4, 4, 4), 4, 3),
        )
    ]


def score_map(features: Tensor, classifier: nn.Linear) -> Tensor:
    """The scores of all classes at every cell: (B, K, h, w)."""
    return classifier(features.movedim(1, -1)).movedim(-1, 1)


def weighted(features: Tensor, classifier: nn.Linear, class_index: int) -> Tensor:
    """Every channel times its weight for one class, before any sum: (B, C, h, w)."""
    return features * classifier.weight[class_index].view(1, -1, 1, 1)


@mistake(
    "a column of the weights for a row",
    "The classifier's weight is (classes, channels): one class is one row. You took a column.",
)
def column_for_row(features: Tensor, classifier: nn.Linear, class_index: int) -> Tensor:
    scores = (features * classifier.weight[:, class_index].view(1, -1, 1, 1)).sum(1)
    return scores + classifier.bias[class_index]


EXERCISE = Exercise(
    name="class_heatmap",
    reference=convolutionalize.class_heatmap,
    cases=cases,
    takes={"features": Kind.MAP},
    gives=Kind.MAP,
    mistakes=[
        Mistake(
            "bias forgotten",
            "Every cell is off by the same amount: the class's bias. The classifier adds it once to every score.",
            wrong=lambda f, c, k: weighted(f, c, k).sum(1),
        ),
        Mistake(
            "bias added once per channel",
            "The bias is in the sum as many times as there are channels. Add it after the sum.",
            wrong=lambda f, c, k: (weighted(f, c, k) + c.bias[k]).sum(1),
        ),
        Mistake(
            "average for sum",
            "Your scores are divided by the number of channels. A linear layer adds its "
            "products up; it does not average them.",
            wrong=lambda f, c, k: weighted(f, c, k).mean(1) + c.bias[k],
        ),
        Mistake(
            "softmax over the classes",
            "These are probabilities; scores were asked for. The averaging in "
            "the classifier happens before its softmax, and only scores can be averaged that way.",
            wrong=lambda f, c, k: score_map(f, c).softmax(1)[:, k],
        ),
        Mistake(
            "softmax over the cells",
            "Your map sums to 1 over its cells. That answers *if the cat is somewhere, where?* and "
            "sees a cat in every picture. Return the scores as they are.",
            wrong=lambda f, c, k: score_map(f, c)[:, k].flatten(1).softmax(1).view_as(f[:, 0]),
        ),
        column_for_row,
        Mistake(
            "reshaped without moving the channels",
            "You reshaped (B, C, h, w) into rows of C numbers. The channels of a cell do not lie side by side: move "
            "axis 1 to the end first, then reshape.",
            wrong=lambda f, c, k: c(f.reshape(-1, f.shape[1]))[:, k].view_as(f[:, 0]),
        ),
        Mistake(
            "averaged before asking",
            "You have one score per picture: the cells were averaged first, and the places "
            "are gone. Ask at every cell.",
            wrong=lambda f, c, k: c(f.mean((2, 3)))[:, k],
        ),
        Mistake(
            "all classes returned",
            "That is the score of every class at every cell. Only one class's map was asked for.",
            wrong=lambda f, c, k: score_map(f, c),
        ),
        Mistake(
            "class taken from the batch",
            "You took picture number `class_index` of the batch. After the classifier the axes are "
            "(picture, class, row, column).",
            wrong=lambda f, c, k: score_map(f, c)[k],
        ),
    ],
    picture=compare_maps,
)
