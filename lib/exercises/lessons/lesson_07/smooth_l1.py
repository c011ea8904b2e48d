"""A parabola in the middle, straight lines outside, without a kink."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind


def smooth_l1(difference: Tensor, beta: float) -> Tensor:
    """The course's own road."""
    size = difference.abs()
    return torch.where(size < beta, 0.5 * difference**2 / beta, size - 0.5 * beta)


def cases() -> list[Case]:
    line = torch.linspace(-3, 3, 12)  # nothing at the bend itself
    named = {
        "from −3 to 3, β = 2": (line, 2.0),
        "from −3 to 3, β = 1": (line, 1.0),
        "a difference of 0, β = 1": (torch.tensor([0.0, 0.25, -4.0]), 1.0),
        "β = 1/9, a table of numbers": (random_values(4, 4, seed=3) / 4, 1 / 9),
    }
    return [
        Case.from_truth(label, arguments, _smooth_by_torch, gradients_of=("difference",))
        for label, arguments in named.items()
    ]


def _smooth_by_torch(difference, beta):
    return F.smooth_l1_loss(difference, torch.zeros_like(difference), beta=beta, reduction="none")


@mistake(
    "squared everywhere",
    "You square large differences as well.",
)
def squared(difference, beta):
    return 0.5 * difference**2 / beta


@mistake(
    "absolute everywhere",
    "That is the plain L1. In the middle, for differences smaller than β, it should be a parabola.",
)
def absolute(difference, beta):
    return difference.abs()


@mistake(
    "a jump at β",
    "Your two pieces do not meet: at β the parabola has come to β/2, and your line starts at β.",
)
def with_a_jump(difference, beta):
    return torch.where(difference.abs() < beta, 0.5 * difference**2 / beta, difference.abs())


@mistake(
    "the half forgotten",
    "Your parabola is twice too steep: it arrives at β with a slope of 2, and the line has 1.",
)
def half_forgotten(difference, beta):
    return torch.where(difference.abs() < beta, difference**2 / beta, difference.abs() - 0.5 * beta)


@mistake(
    "sign kept",
    "For large negative differences your loss is negative: the more wrong, the better. The straight part "
    "takes the absolute value.",
)
def sign_kept(difference, beta):
    return torch.where(difference.abs() < beta, 0.5 * difference**2 / beta, difference - 0.5 * beta)


@mistake(
    "every negative difference is small",
    "You asked whether the *difference* is less than β. −3 is less, and it is large all the same.",
)
def size_not_taken(difference, beta):
    return torch.where(difference < beta, 0.5 * difference**2 / beta, difference.abs() - 0.5 * beta)


@mistake(
    "β ignored",
    "Right for β = 1, whatever β is.",
)
def beta_is_1(difference, beta):
    return smooth_l1(difference, 1.0)


@mistake(
    "parabola not divided by β",
    "Right for β = 1. The parabola has to arrive at β with a slope of 1, so it must be the steeper, the smaller β is.",
)
def not_divided_by_beta(difference, beta):
    return torch.where(difference.abs() < beta, 0.5 * difference**2, difference.abs() - 0.5 * beta)


@mistake(
    "line lowered by a half",
    "Right for β = 1. Where must the line start, so that it meets the parabola at β?",
)
def half_whatever_beta(difference, beta):
    return torch.where(difference.abs() < beta, 0.5 * difference**2 / beta, difference.abs() - 0.5)


@mistake(
    "Huber's loss",
    "That is Huber's loss, β times the smooth L1: its straight part has the slope β, not 1.",
)
def huber(difference, beta):
    return beta * smooth_l1(difference, beta)


@mistake(
    "one number for all",
    "You return the mean. Asked for is the loss of every number, with the shape of `difference`: what is "
    "added up and what is left out comes later.",
)
def mean_of_all(difference, beta):
    return smooth_l1(difference, beta).mean()


@mistake(
    "pieces swapped",
    "You use the line inside and the parabola outside.",
)
def branches_swapped(difference, beta):
    return torch.where(difference.abs() >= beta, 0.5 * difference**2 / beta, difference.abs() - 0.5 * beta)


@mistake("line lowered by β", "Your line is β too low at its start. Where must it be at β, to meet the parabola there?")
def lowered_by_beta(difference, beta):
    return torch.where(difference.abs() < beta, 0.5 * difference**2 / beta, difference.abs() - beta)


@mistake("line everywhere", "You use the straight line for small differences too. There it should be a parabola.")
def line_everywhere(difference, beta):
    return difference.abs() - 0.5 * beta


@mistake("parabola times β", "Your parabola is multiplied by β. Divide: it is the steeper, the smaller β is.")
def times_beta(difference, beta):
    return torch.where(difference.abs() < beta, 0.5 * beta * difference**2, difference.abs() - 0.5 * beta)


@mistake(
    "½ forgotten, and the line fitted to it",
    "Your parabola is difference² / β, and your line continues it; both are too high. The parabola is *half* of that.",
)
def twice_as_steep(difference, beta):
    size = difference.abs()
    return torch.where(size < beta, size**2 / beta, size)


EXERCISE = Exercise(
    name="smooth_l1",
    reference=smooth_l1,
    cases=cases,
    gives=Kind.NUMBERS,
    mistakes=[
        squared,
        absolute,
        with_a_jump,
        half_forgotten,
        sign_kept,
        size_not_taken,
        beta_is_1,
        not_divided_by_beta,
        half_whatever_beta,
        huber,
        mean_of_all,
        branches_swapped,
        lowered_by_beta,
        line_everywhere,
        times_beta,
        twice_as_steep,
    ],
)
