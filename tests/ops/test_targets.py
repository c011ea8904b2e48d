import math

import pytest
import torch

from lib.ops.targets import check_labels, check_sets, check_targets

GOOD = {"boxes": torch.tensor([[1.0, 2, 5, 9], [0, 0, 4, 4]]), "labels": torch.tensor([1, 3])}
NONE = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}


def with_left(left):
    boxes = GOOD["boxes"].clone()
    boxes[1, 0] = left
    return boxes


def test_good_targets_pass():
    check_targets([GOOD, NONE], 2)
    check_labels([GOOD, NONE], 3)
    check_sets("proposals", [GOOD["boxes"], NONE["boxes"]], 2)
    check_targets([], 0)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (None, "has a NoneType; expected a dict"),
        ([GOOD["boxes"]], "has a list; expected a dict"),
        ({"labels": GOOD["labels"]}, r"has None; expected \(N, 4\) floats"),
        (GOOD | {"boxes": GOOD["boxes"].long()}, r"has \(2, 4\) torch.int64; expected \(N, 4\) floats"),
        (GOOD | {"boxes": with_left(math.nan)}, "has a box that is infinite or not a number in picture 1"),
        (GOOD | {"boxes": with_left(-math.inf)}, "has a box that is infinite or not a number in picture 1"),
        (GOOD | {"boxes": with_left(4.0)}, "has a box without area in picture 1"),
        (GOOD | {"labels": torch.tensor([1])}, r"has the labels \(1,\) torch.int64 for picture 1; expected \(2,\)"),
        ({"boxes": GOOD["boxes"]}, r"has the labels None for picture 1; expected \(2,\)"),
    ],
)
def test_bad_targets_are_named(target, said):
    with pytest.raises(ValueError, match=f"^targets {said}"):
        check_targets([GOOD, target], 2)


@pytest.mark.parametrize("label", [-1, 0, 4])
def test_labels_out_of_range_are_named(label):
    with pytest.raises(ValueError, match=r"^targets has the labels .* in picture 1; expected 1..3"):
        check_labels([GOOD, GOOD | {"labels": torch.tensor([1, label])}], 3)


def test_the_number_of_sets_is_looked_at():
    with pytest.raises(ValueError, match="^proposals has 1 entries; expected one for each of 2 pictures"):
        check_sets("proposals", [GOOD["boxes"]], 2)
