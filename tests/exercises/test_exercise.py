import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.exercises.engine.exercise import Case, Exercise, Mistake, Probe, weighted_sum
from lib.exercises.engine.kinds import Kind


def test_case_from_truth_has_values_and_gradients():
    linear = nn.Linear(3, 2)
    features = torch.randn(4, 3)
    case = Case.from_truth("x", (features, linear), lambda features, linear: F.linear(features, linear.weight),
                           gradients_of=("features", "linear.weight"))  # fmt: skip
    assert torch.allclose(case.expected, features @ linear.weight.T) and not case.expected.requires_grad
    weights = torch.arange(8.0).cos().reshape(4, 2)
    assert torch.allclose(case.gradients["features"], weights @ linear.weight)
    assert torch.allclose(case.gradients["linear.weight"], weights.T @ features, atol=1e-6)
    assert not features.requires_grad and linear.weight.grad is None


def test_weighted_sum():
    assert weighted_sum(torch.tensor(5.0)) == 5
    assert weighted_sum({"a": torch.tensor([2.0]), "b": [torch.tensor([0.0, 1.0]), 7, "x", torch.tensor([3])]}) == (
        pytest.approx(2 + math.cos(1))
    )
    assert weighted_sum(None) == 0
    softmax = torch.randn(6, requires_grad=True)
    (gradient,) = torch.autograd.grad(weighted_sum(softmax.softmax(0)), softmax)
    assert gradient.abs().max() > 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Case("one", [1], 2), "arguments of case 'one' is a list; expected a tuple"),
        (lambda: Case("one", (1,), object()), "expected is a object"),
        (lambda: Case.from_truth("x", (torch.ones(1),), lambda x: x, ("y",)), "gradients of 'y' were asked"),
        (lambda: Mistake("a", "b"), "exactly one of"),
        (lambda: Mistake("a", "b", wrong=len, when=len), "exactly one of"),
        (lambda: _exercise(name="not a name"), "name is 'not a name'"),
        (lambda: _exercise(takes={"nothing": Kind.MAP}), "takes of f names .'nothing'."),
        (lambda: _exercise(mistakes=[Mistake("a", "", wrong=len)], probes=[Probe("a", "", len)]), "name .* twice"),
    ],
)
def test_bad_declarations(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def _exercise(name="f", mistakes=(), probes=(), takes=None):
    return Exercise(name=name, reference=len, cases=list, mistakes=mistakes, probes=probes, takes=takes or {})
