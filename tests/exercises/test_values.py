import dataclasses
import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from lib.exercises.engine.values import compare, copy_of, describe, differing, kind_of, unchanged


def agree(got, expected):
    return compare(got, expected, rtol=1e-4, atol=1e-5) is None


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (3, 3), (np.int64(3), 3), (3, 3.0), (0.1 + 0.2, 0.3), (np.float32(0.5), 0.5), (math.nan, math.nan), ("a", "a"),
        (None, None), (True, True), (np.bool_(True), True), ([1, 2], (1, 2)), (torch.Size([1, 2]), (1, 2)),
        (torch.tensor([1.0, math.nan]), torch.tensor([1.0, math.nan])), (torch.zeros(0, 4), torch.zeros(0, 4)),
        (nn.Parameter(torch.ones(2)), torch.ones(2)), (np.ones(2), np.ones(2)), ({"a": [1]}, {"a": [1]}), ([], ()),
    ],
)  # fmt: skip
def test_equal(got, expected):
    assert agree(got, expected)


@pytest.mark.parametrize(
    ("got", "expected", "kind", "path"),
    [
        (3.0, 3, "type", ""), (True, 1, "type", ""), (1, True, "type", ""), (torch.tensor(3), 3, "type", ""),
        ("3", 3, "type", ""), (None, 3, "type", ""), (3, None, "type", ""), (np.ones(2), torch.ones(2), "type", ""),
        (torch.ones(2), np.ones(2), "type", ""), ([1.0], torch.ones(1), "type", ""), (4, 3, "values", ""),
        (0.3001, 0.3, "values", ""), (math.nan, 0.3, "values", ""), ("b", "a", "values", ""),
        (False, True, "values", ""),
        (torch.ones(2, 1), torch.ones(2), "shape", ""), (torch.ones(2).double(), torch.ones(2), "dtype", ""),
        (torch.tensor([1]), torch.tensor([2]), "values", ""), (torch.tensor([math.inf]), torch.ones(1), "values", ""),
        ([1, 2], (1, 3), "values", "[1]"), ((1,), (1, 2), "length", ""), ({"b": 1}, {"a": 1}, "keys", ""),
        ({"a": (1, [2])}, {"a": (1, [3])}, "values", "['a'][1][0]"), (5, (5,), "type", ""), (5, {"a": 5}, "type", ""),
        (torch.ones(2).to_sparse(), torch.ones(2), "type", ""),
        (torch.ones(2, device="meta"), torch.ones(2), "type", ""),
    ],
)  # fmt: skip
def test_different(got, expected, kind, path):
    difference = compare(got, expected, rtol=1e-4, atol=1e-5)
    assert (difference.kind, difference.path) == (kind, path)


def test_what_cannot_be_compared_is_an_error_of_the_lesson():
    with pytest.raises(ValueError, match="expected is a object"):
        compare(1, object(), 0.0, 0.0)


def test_differing_marks_each_place():
    assert differing(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]), 0, 0.1).tolist() == [False, True]
    assert differing(torch.tensor([1, 2]), torch.tensor([1, 3]), 10, 10).tolist() == [False, True]


@dataclasses.dataclass
class Sample:
    image: torch.Tensor


@pytest.mark.parametrize(
    ("value", "change"),
    [
        (torch.ones(3), lambda t: t.zero_()),
        (torch.ones(3), lambda t: t.resize_(2)),
        (np.ones(3), lambda a: a.fill(0)),
        ([1, 2], lambda x: x.append(3)),
        ((torch.ones(1),), lambda x: x[0].add_(1)),
        ({"a": 1}, lambda d: d.update(b=2)),
        (nn.Linear(2, 1), lambda m: m.weight.data.zero_()),
        (nn.ModuleList([nn.ReLU()]), lambda modules: modules.pop(0)),
        (nn.ModuleList([nn.ReLU()]), lambda modules: modules.append(nn.ReLU())),
        (nn.ModuleDict({"a": nn.ReLU()}), lambda modules: modules.pop("a")),
        ({"a": nn.Sequential(nn.ReLU())}, lambda modules: modules["a"].append(nn.ReLU())),
        (Sample(torch.ones(2)), lambda s: s.image.add_(1)),
        (Sample(torch.ones(2)), lambda s: setattr(s, "image", torch.zeros(2))),
    ],
)
def test_copies_are_independent_and_changes_are_seen(value, change):
    copy = copy_of(value)
    assert unchanged(copy, value)
    change(copy)
    assert not unchanged(copy, value)


def test_copies_keep_what_matters():
    image = torch.ones(2, 3).T.requires_grad_()
    copy = copy_of(image * 1)
    assert copy.stride() == image.stride() and not copy.requires_grad_(False).requires_grad
    assert copy_of(image).requires_grad
    generator = torch.Generator().manual_seed(4)
    assert torch.equal(torch.rand(2, generator=copy_of(generator)), torch.rand(2, generator=generator))
    assert unchanged(torch.tensor([math.nan]), torch.tensor([math.nan])) and unchanged(math.nan, math.nan)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.tensor([1.0, 0.25]), "tensor of shape (2,), float32: [1, 0.25]"),
        (torch.tensor(True), "tensor of shape (), bool: True"),
        (torch.arange(100), "tensor of shape (100,), int64, values from 0 to 99"),
        (torch.full((20,), math.nan), "tensor of shape (20,), float32, with 20 of 20 values NaN or infinite"),
        (torch.zeros(0, 4), "tensor of shape (0, 4), float32, empty"),
        (np.ones((2, 2)), "array of shape (2, 2), float64: [[1, 1], [1, 1]]"),
        (6.0, "6.0"), (0.123456, "0.1235"), (np.float64(2), "2.0"), (7, "7"), ("a", "'a'"), (None, "None"),
        ((1,), "(1,)"), ([1, 2.5], "[1, 2.5]"), ({"a": 1}, "{'a': 1}"), (torch.Size([2]), "torch.Size (2,)"),
        (nn.Linear(1, 2), "Linear(in_features=1, out_features=2, bias=True)"), (len, "the function len"),
        (object(), "an object"),
    ],
)  # fmt: skip
def test_descriptions(value, text):
    assert describe(value) == text


def test_descriptions_stay_short_and_free_of_addresses():
    assert len(describe("a" * 10_000)) <= 300
    assert len(describe([[i] * 50 for i in range(1000)])) <= 300
    assert "0x" not in describe(iter([]))
    assert kind_of(torch.ones(1)) == "tensor" and kind_of(nn.Linear(1, 1)) == "Linear"


def test_a_named_tuple_is_described_by_its_fields():
    class Pair(NamedTuple):
        kernel: int
        stride: float

    assert describe([Pair(3, 0.5)]) == "[Pair(kernel=3, stride=0.5)]"
