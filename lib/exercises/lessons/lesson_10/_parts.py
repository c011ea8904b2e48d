"""Answers of a detector, and a picture of one number for each of them: for the loss and for its slope."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Mistake
from lib.exercises.engine.inputs import random_uniform, random_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SURE = 20.0  # for logits as large, a probability in single precision is rounded to 1, or nearly 0


def answers() -> dict[str, tuple[Tensor, Tensor]]:
    """Logits and their targets, by what is special about them."""
    both = torch.linspace(-3, 3, 7).repeat(2, 1)  # (2, 7)
    sure = torch.tensor([100.0, -100.0, 100.0, -100.0, 50.0, -50.0])
    return {
        "six answers, a positive and background each at −2, 0 and 1": (
            torch.tensor([-2.0, 0.0, 1.0, -2.0, 0.0, 1.0]),
            torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]),
        ),
        "logits from −3 to 3: background in row 0, positives in row 1": (
            both,
            torch.tensor([[0.0], [1.0]]).expand_as(both).clone(),
        ),
        "4 anchors, 5 classes, two of the 20 answers are positives": (
            2 * random_values(4, 5, seed=1),
            (random_uniform(4, 5, seed=2) > 0.9).float(),
        ),
        "two pictures, 3 anchors, 2 classes": (
            4 * random_values(2, 3, 2, seed=3),
            (random_uniform(2, 3, 2, seed=4) > 0.5).float(),
        ),
        "very sure, right and wrong: logits of ±100 and ±50": (sure, torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 1.0])),
        "no anchors": (torch.zeros(0, 5), torch.zeros(0, 5)),
    }


def right_where_unsure(got: Any, expected: Any, case: Case) -> bool:
    """Right for moderate logits, and NaN or infinite for some sure answer."""
    sure = case.arguments[0].abs() >= SURE
    right = torch.isclose(got, expected, rtol=1e-3, atol=1e-6)
    return bool((right | sure).all() and (sure & ~got.isfinite()).any())


def besides_nan(known: Mistake, spoilt: float) -> Mistake:
    """The same mistake, made with log p_t: `spoilt` times the number where p_t is rounded to 0."""
    assert known.wrong is not None
    wrong = known.wrong

    def with_a_logarithm_of_0(logits: Tensor, targets: Tensor, *settings: float) -> Tensor:
        p = logits.sigmoid()
        p_t = torch.where(targets > 0, p, 1 - p)
        return wrong(logits, targets, *settings) * torch.where(p_t == 0, spoilt, 1.0)

    return Mistake(
        f"{known.name}; and NaN or infinity",
        f"{known.explanation} Besides, for sure answers (logits of ±50 or ±100) your numbers become NaN or infinite.",
        wrong=with_a_logarithm_of_0,
    )


def compare_over_logits(got: Any, expected: Any, case: Case) -> "Figure | None":
    """Draws the learner's numbers and the expected ones over their logits: positives left, background right.

    Returns:
        The figure, or None where there is not one number for each logit.
    """
    from matplotlib.figure import Figure  # here, because matplotlib takes longer to import than a check to run

    logits, targets = case.arguments[:2]
    if not isinstance(got, Tensor) or got.shape != logits.shape or not got.numel():
        return None
    figure = Figure(figsize=(8, 3), layout="constrained", facecolor="white")
    for axes, truth in zip(figure.subplots(1, 2, sharey=True), (1, 0), strict=True):
        of_kind = targets == truth
        axes.plot(logits[of_kind], expected[of_kind], "o", mfc="none", ms=10, color="black", label="expected")
        axes.plot(logits[of_kind], got[of_kind], "x", ms=7, color="tab:red", label="yours")
        axes.set(title="target 1: positives" if truth else "target 0: background", xlabel="logit")
        axes.legend()
    return figure
