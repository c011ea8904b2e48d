"""How hard each answer pulls: the slope of the focal loss with respect to its logit."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_10._parts import answers, besides_nan, compare_over_logits, right_where_unsure
from lib.ops.losses import sigmoid_focal_loss, sigmoid_focal_slope


def focal_slope(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """The course's own."""
    return sigmoid_focal_slope(logits, targets, gamma)


def cases() -> list[Case]:
    gammas = [2.0, 2.0, 0.5, 1.0, 2.0, 2.0]
    made = [
        Case(label, (*both, gamma), slope_by_autograd(*both, gamma))
        for (label, both), gamma in zip(answers().items(), gammas, strict=True)
    ]
    row = answers()["logits from −3 to 3: background in row 0, positives in row 1"]
    sure = answers()["very sure, right and wrong: logits of ±100 and ±50"]
    others = [
        ("γ = 0: cross-entropy", row, 0.0),
        ("γ = 5", row, 5.0),
        ("very sure, γ = 0", sure, 0.0),
        ("very sure, γ = ½", sure, 0.5),
    ]
    return made + [Case(label, (*both, gamma), slope_by_autograd(*both, gamma)) for label, both, gamma in others]


def slope_by_autograd(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """The truth: PyTorch differentiates the loss, written with softplus in double precision."""
    leaf = logits.double().requires_grad_()
    of_truth = torch.where(targets > 0, leaf, -leaf)
    loss = F.softplus(-of_truth, threshold=1e3) * torch.exp(-gamma * F.softplus(of_truth, threshold=1e3))
    return torch.autograd.grad(loss.sum(), leaf)[0].float()


def parts(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """+1 for positives and −1 for background; p_t; log p_t."""
    sign = 2 * targets - 1
    return sign, (sign * logits).sigmoid(), F.logsigmoid(sign * logits)


def bracket(inside: Callable[[float, Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, float], Tensor]:
    """± (1 − p_t)^γ · (...): the slope, with something else than γ · p_t · log p_t + p_t − 1 in the bracket."""

    def slope(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
        sign, p, log_p = parts(logits, targets)
        return sign * (1 - p) ** gamma * inside(gamma, p, log_p)

    return slope


factor_constant = Mistake(
    "the factor taken for a constant",
    "You differentiate log p_t, and multiply by (1 − p_t)^γ as if it were a constant. It changes with the logit as "
    "well: use the product rule.",
    wrong=bracket(lambda gamma, p, log_p: p - 1),
)
logarithm_constant = Mistake(
    "only the factor differentiated",
    "You differentiate (1 − p_t)^γ and take log p_t for a constant. The product rule has two terms.",
    wrong=bracket(lambda gamma, p, log_p: gamma * p * log_p),
)


@mistake(
    "background pulled up",
    "Your slopes are right for positives. For background p_t = 1 − p, so a larger logit makes p_t *smaller*: its slope "
    "has the other sign. The loss of background must grow with its logit.",
)
def one_sign(logits, targets, gamma):
    return (2 * targets - 1) * focal_slope(logits, targets, gamma)


@mistake(
    "background as positives with a minus",
    "Background gets the slope of a positive at the same logit, with a minus. Its p_t is 1 − p: use that throughout.",
)
def minus_the_positives(logits, targets, gamma):
    return (2 * targets - 1) * focal_slope(logits, torch.ones_like(targets), gamma)


@mistake(
    "slope with respect to the probability",
    "That is the derivative by p = σ(logit). The logit comes before it: by the chain rule, dp / dlogit is missing.",
)
def by_probability(logits, targets, gamma):
    sign, p, log_p = parts(logits, targets)
    return sign * (gamma * (1 - p) ** (gamma - 1) * log_p - (1 - p) ** gamma / p)


@mistake(
    "slope with respect to p_t",
    "That is the derivative by p_t. The logit comes before it, and a larger logit makes p_t larger for positives and "
    "smaller for background: by the chain rule, dp_t / dlogit is missing.",
)
def by_p_t(logits, targets, gamma):
    _, p, log_p = parts(logits, targets)
    return gamma * (1 - p) ** (gamma - 1) * log_p - (1 - p) ** gamma / p


inner_minus_lost = Mistake(
    "the minus inside lost",
    "The two terms of your product rule have the wrong signs to each other. Inside (1 − p_t)^γ stands a *minus* p_t: "
    "its derivative brings a −1.",
    wrong=bracket(lambda gamma, p, log_p: p - 1 - gamma * p * log_p),
)
exponent_kept = Mistake(
    "exponent not lowered",
    "The derivative of u^γ has the power γ − 1. In yours it is still γ.",
    wrong=bracket(lambda gamma, p, log_p: gamma * p * (1 - p) * log_p + p - 1),
)
gamma_not_in_front = Mistake(
    "exponent not brought down",
    "The derivative of u^γ begins with γ. In yours that factor is missing.",
    wrong=bracket(lambda gamma, p, log_p: p * log_p + p - 1),
)
p_t_lost = Mistake(
    "p_t lost beside the logarithm",
    "One term is off: the one with log p_t. By the chain rule it has a factor p_t · (1 − p_t); the 1 − p_t went into "
    "the power, and the p_t is still to be there.",
    wrong=bracket(lambda gamma, p, log_p: gamma * log_p + p - 1),
)


@mistake("γ = 2 whatever is asked", "Your γ is always 2. Use the one that is given.")
def gamma_is_2(logits, targets, gamma):
    return focal_slope(logits, targets, 2.0)


@mistake("weighed with α", "You weigh positives with 0.25 and background with 0.75. This slope is asked without α.")
def with_alpha(logits, targets, gamma):
    return (0.75 - 0.5 * targets) * focal_slope(logits, targets, gamma)


@mistake(
    "0 times infinity",
    "Right for moderate logits. At ±100 one factor is 0 and another infinite (a division by p_t, or a power of 1 − p_t "
    "below 0), which gives NaN. Multiply out on paper what can be cancelled: p_t · (1 − p_t) cancels both.",
)
def not_cancelled(logits, targets, gamma):
    sign, p, log_p = parts(logits, targets)
    return sign * p * (1 - p) * (gamma * (1 - p) ** (gamma - 1) * log_p - (1 - p) ** gamma / p)


@mistake(
    "logarithm of 0",
    "Right for moderate logits. At ±100 p_t is rounded to 0, its logarithm is infinite, and 0 times infinity is NaN. "
    "Take the logarithm of the sigmoid in one step, from the logit: PyTorch has a function for that.",
)
def log_of_sigmoid(logits, targets, gamma):
    p = torch.where(targets > 0, logits.sigmoid(), 1 - logits.sigmoid())
    return (2 * targets - 1) * (1 - p) ** gamma * (gamma * p * p.log() + p - 1)


not_finite = Mistake(
    "infinite or NaN for sure answers",
    "Right for moderate logits. At ±50 or ±100 p_t or 1 − p_t is rounded to 0: its logarithm, a power below 0 of it, "
    "or 1 divided by it is infinite, and 0 times infinity is NaN. (Autograd of a power below 1 is such a case.)",
    when=right_where_unsure,
)


WRONG_VALUES = [
    factor_constant,
    logarithm_constant,
    one_sign,
    Mistake(
        "background taken for positives",
        "The targets play no part in yours: background gets the slope of a positive at the same logit. Its p_t is 1 "
        "− p.",
        wrong=lambda logits, targets, gamma: focal_slope(logits, torch.ones_like(targets), gamma),
    ),
    minus_the_positives,
    Mistake(
        "positives alone",
        "Where the target is 0 your slope is 0. Background pulls too: its p_t is 1 − p.",
        wrong=lambda logits, targets, gamma: focal_slope(logits, targets, gamma) * targets,
    ),
    by_probability,
    by_p_t,
    inner_minus_lost,
    exponent_kept,
    gamma_not_in_front,
    p_t_lost,
    Mistake(
        "slope of cross-entropy",
        "That is p minus the target, the slope of cross-entropy, whatever γ is.",
        wrong=lambda logits, targets, gamma: logits.sigmoid() - targets,
    ),
    Mistake(
        "the loss itself",
        "You return the loss. The task asks how much it changes with the logit.",
        wrong=lambda logits, targets, gamma: sigmoid_focal_loss(logits, targets, -1.0, gamma),
    ),
    gamma_is_2,
    with_alpha,
]

WITH_P_LOG_P = [
    logarithm_constant,
    one_sign,
    inner_minus_lost,
    exponent_kept,
    gamma_not_in_front,
    gamma_is_2,
    with_alpha,
]

EXERCISE = Exercise(
    name="focal_slope",
    reference=focal_slope,
    cases=cases,
    takes={"logits": Kind.LOGITS},
    gives=Kind.NUMBERS,
    mistakes=[
        *WRONG_VALUES,
        not_cancelled,
        log_of_sigmoid,
        not_finite,
        Mistake(
            "summed",
            "You return the sum of all slopes. It should be one slope for each logit.",
            wrong=lambda logits, targets, gamma: focal_slope(logits, targets, gamma).sum(),
        ),
        *(besides_nan(known, torch.nan) for known in WITH_P_LOG_P),
    ],
    picture=compare_over_logits,
    atol=2e-7,  # of a positive with p = 0.99 and γ = 2 the slope is −3e-6
)
