"""Cross-entropy in which an answer counts the less, the more it is right already."""

from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_10._parts import SURE, answers, besides_nan, compare_over_logits, right_where_unsure
from lib.ops.losses import sigmoid_focal_loss


def focal_loss(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """The course's own."""
    return sigmoid_focal_loss(logits, targets, alpha, gamma)


def cases() -> list[Case]:
    numbers = [(0.25, 2.0), (0.25, 2.0), (0.75, 0.5), (0.5, 1.0), (0.25, 2.0), (0.25, 2.0)]
    made = [
        Case.from_truth(label, (*both, *weights), loss_by_torchvision, ("logits",))
        for (label, both), weights in zip(answers().items(), numbers, strict=True)
    ]
    logits, targets = answers()["logits from −3 to 3: background in row 0, positives in row 1"]
    others = {"γ = 0: cross-entropy with weights": (0.4, 0.0), "α = 1, γ = 5: positives alone": (1.0, 5.0)}
    return made + [
        Case.from_truth(label, (logits, targets, *weights), loss_by_torchvision, ("logits",))
        for label, weights in others.items()
    ]


def loss_by_torchvision(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """The truth, in double precision."""
    return torchvision.ops.sigmoid_focal_loss(logits.double(), targets.double(), alpha, gamma).float()


def surprise(logits: Tensor, targets: Tensor) -> Tensor:
    """−log p_t."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def of_truth(logits: Tensor, targets: Tensor) -> Tensor:
    """p_t."""
    return torch.where(targets > 0, logits, -logits).sigmoid()


def weight(targets: Tensor, alpha: float) -> Tensor:
    return alpha * targets + (1 - alpha) * (1 - targets)


@mistake(
    "1 − p for background too",
    "Your factor is made of 1 − σ(logit) for every answer. For background the truth's probability is not σ(logit): as "
    "it is, easy background keeps all its loss, and background that is judged wrong is forgiven.",
)
def always_1_minus_p(logits, targets, alpha, gamma):
    return weight(targets, alpha) * (1 - logits.sigmoid()) ** gamma * surprise(logits, targets)


@mistake(
    "turned down where it is wrong",
    "Your factor is p_t to the power of γ: it is near 1 for easy answers, and near 0 for those that are wrong. It "
    "should be the other way round.",
)
def by_p_t(logits, targets, alpha, gamma):
    return weight(targets, alpha) * of_truth(logits, targets) ** gamma * surprise(logits, targets)


@mistake("α on one side only", "Objects have their weight, α. Background has a weight of 1 in yours; which should it?")
def background_weighs_1(logits, targets, alpha, gamma):
    return torch.where(targets > 0, alpha, 1.0) * sigmoid_focal_loss(logits, targets, -1.0, gamma)


@mistake("γ as a factor", "You multiply by γ. It is an exponent: γ = 0 should give back cross-entropy, not 0.")
def gamma_as_factor(logits, targets, alpha, gamma):
    return weight(targets, alpha) * gamma * (1 - of_truth(logits, targets)) * surprise(logits, targets)


@mistake("γ on p_t alone", "Your factor is 1 − p_t^γ. The power belongs to the whole of 1 − p_t.")
def power_inside(logits, targets, alpha, gamma):
    return weight(targets, alpha) * (1 - of_truth(logits, targets) ** gamma) * surprise(logits, targets)


@mistake(
    "positives alone", "Where the target is 0 your loss is 0. Background has a loss too, from its own probability."
)
def positives_alone(logits, targets, alpha, gamma):
    return focal_loss(logits, targets, alpha, gamma) * targets


@mistake(
    "logarithm of the logit",
    "You take the logits for probabilities, and the logarithm of a negative logit is NaN. The sigmoid comes first.",
)
def logit_as_probability(logits, targets, alpha, gamma):
    p_t = torch.where(targets > 0, logits, 1 - logits)
    return -weight(targets, alpha) * (1 - p_t) ** gamma * p_t.log()


@mistake(
    "sigmoid twice", "`F.binary_cross_entropy_with_logits` makes the sigmoid itself, and you gave it probabilities."
)
def sigmoid_twice(logits, targets, alpha, gamma):
    p_t = of_truth(logits, targets)
    return weight(targets, alpha) * (1 - p_t) ** gamma * surprise(logits.sigmoid(), targets)


not_finite = Mistake(
    "infinite or NaN for sure answers",
    "Right for moderate logits. At ±100 a probability is rounded to 0, and its logarithm is infinite; or the "
    "exponential of the logit is. Take the logarithm of the sigmoid in one step: PyTorch has functions for that.",
    when=right_where_unsure,
)


def _stops_growing(got: Any, expected: Any, case: Case) -> bool:
    logits = case.arguments[0]
    near = (got - expected).abs() <= 1e-6 + 1e-4 * expected.abs()
    return bool(got.isfinite().all() and near[logits.abs() < SURE].all())


cut_off = Mistake(
    "cut off for sure answers",
    "Right for moderate logits. At ±50 or ±100, the loss of a wrong answer is about the size of its logit, times its "
    "weight; yours is another number. Is a probability clamped, or a small number added to it? "
    "(`F.binary_cross_entropy` cuts its logarithms off at −100, too.) Take the logarithm of the sigmoid in one step, "
    "from the logit.",
    when=_stops_growing,
)


@mistake(
    "the mean surprise for all",
    "You use one cross-entropy for all answers: `F.binary_cross_entropy_with_logits` takes the mean if it is not told "
    "otherwise.",
)
def mean_surprise(logits, targets, alpha, gamma):
    same = surprise(logits, targets).mean()
    return weight(targets, alpha) * (1 - torch.exp(-same)) ** gamma * same


@mistake(
    "logarithm of σ for background too",
    "Your factor and your weight fit the target; the logarithm is always that of σ(logit), which is p_t for positives "
    "only.",
)
def one_logarithm(logits, targets, alpha, gamma):
    return -weight(targets, alpha) * (1 - of_truth(logits, targets)) ** gamma * F.logsigmoid(logits)


@mistake(
    "α inside p_t",
    "You make p_t of the cross-entropy after it was weighed with α, and exp(−α · loss) is not p_t. Weigh at the end.",
)
def alpha_inside(logits, targets, alpha, gamma):
    weighed = weight(targets, alpha) * surprise(logits, targets)
    return (1 - torch.exp(-weighed)) ** gamma * weighed


@mistake("no logarithm", "That is the factor with its weight. What it weighs, the cross-entropy, is missing.")
def factor_alone(logits, targets, alpha, gamma):
    return weight(targets, alpha) * (1 - of_truth(logits, targets)) ** gamma


@mistake(
    "divided by the number of positives",
    "You divide by the number of positives. That comes later, after adding up: here it is the loss of each answer.",
)
def over_positives(logits, targets, alpha, gamma):
    return focal_loss(logits, targets, alpha, gamma) / targets.sum().clamp(min=1)


@mistake(
    "factor without gradient",
    "The numbers are right, but the factor (1 − p_t)^γ is cut off from the gradient (`detach`, `no_grad`, `.data`). It "
    "depends on the logit, and so it belongs to the slope.",
)
def factor_detached(logits, targets, alpha, gamma):
    factor = (1 - of_truth(logits.detach(), targets)) ** gamma
    return weight(targets, alpha) * factor * surprise(logits, targets)


WRONG_VALUES = [
    always_1_minus_p,
    by_p_t,
    Mistake(
        "α on the wrong side",
        "You give α to background and 1 − α to positives. α is the weight where the target is 1.",
        wrong=lambda logits, targets, alpha, gamma: focal_loss(logits, targets, 1 - alpha, gamma),
    ),
    Mistake(
        "α on both sides",
        "You weigh every answer with α. Where the target is 0, the weight is another one.",
        wrong=lambda logits, targets, alpha, gamma: alpha * sigmoid_focal_loss(logits, targets, -1.0, gamma),
    ),
    background_weighs_1,
    Mistake(
        "α forgotten",
        "Every answer has the weight 1 in yours. α does not seem to be used.",
        wrong=lambda logits, targets, alpha, gamma: sigmoid_focal_loss(logits, targets, -1.0, gamma),
    ),
    gamma_as_factor,
    power_inside,
    Mistake(
        "not turned down",
        "That is cross-entropy with its α. The factor that γ stands in is missing, or always 1.",
        wrong=lambda logits, targets, alpha, gamma: focal_loss(logits, targets, alpha, 0.0),
    ),
    Mistake(
        "γ = 2 whatever is asked",
        "Your γ is always 2. Use the one that is given.",
        wrong=lambda logits, targets, alpha, gamma: focal_loss(logits, targets, alpha, 2.0),
    ),
    Mistake(
        "α = 0.25 whatever is asked",
        "Your α is always 0.25. Use the one that is given.",
        wrong=lambda logits, targets, alpha, gamma: focal_loss(logits, targets, 0.25, gamma),
    ),
    positives_alone,
    one_logarithm,
    alpha_inside,
    over_positives,
]

EXERCISE = Exercise(
    name="focal_loss",
    reference=focal_loss,
    cases=cases,
    takes={"logits": Kind.LOGITS},
    gives=Kind.NUMBERS,
    mistakes=[
        *WRONG_VALUES,
        mean_surprise,
        factor_alone,
        logit_as_probability,
        sigmoid_twice,
        not_finite,
        cut_off,
        Mistake(
            "one number for all: the sum",
            "You return the sum. It should be the loss of each answer: adding up and dividing come later.",
            wrong=lambda logits, targets, alpha, gamma: focal_loss(logits, targets, alpha, gamma).sum(),
        ),
        Mistake(
            "one number for all: the mean",
            "You return the mean. It should be the loss of each answer: what is added up, and divided by what, comes "
            "later.",
            wrong=lambda logits, targets, alpha, gamma: focal_loss(logits, targets, alpha, gamma).mean(),
        ),
        factor_detached,
        *(besides_nan(known, torch.inf) for known in WRONG_VALUES if known not in (positives_alone, one_logarithm)),
    ],
    picture=compare_over_logits,
    atol=2e-8,  # an easy answer's loss is small: 2.5e-7 for a positive with p = 0.99
)
