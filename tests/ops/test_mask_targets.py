import pytest
import torch

from lib.ops.mask_targets import check_mask_targets


def target(**changed):
    return {"masks": torch.zeros(2, 5, 7, dtype=torch.bool), "labels": torch.tensor([0, 3])} | changed


NOTHING = target(masks=torch.zeros(0, 5, 7, dtype=torch.bool), labels=torch.zeros(0, dtype=torch.int64))


def test_good_targets_pass():
    check_mask_targets([target(), NOTHING], [(5, 7), (5, 7)], 4)
    check_mask_targets([], [], 4)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ([], "0 entries"),
        ([target(), target()], "2 entries"),
        ([{}], "masks None for picture 0"),
        ([{"labels": torch.tensor([1])}], "masks None"),
        ([target(labels=[0, 3])], r"labels \[0, 3\]"),
        ([{"masks": target()["masks"]}], "labels None"),
        ([target(masks=torch.zeros(2, 7, 5, dtype=torch.bool))], "masks"),
        ([target(masks=torch.zeros(5, 7, dtype=torch.bool))], "masks"),
        ([target(masks=torch.zeros(2, 5, 7))], "masks .*float32"),
        ([target(labels=torch.tensor([1]))], "labels"),
        ([target(labels=torch.tensor([[1, 2]]))], "labels"),
        ([target(labels=torch.tensor([1.0, 2.0]))], "labels .*float32"),
        ([target(labels=torch.tensor([0, 4]))], r"\[0, 4\] in picture 0; expected 0..3"),
        ([target(labels=torch.tensor([-1, 2]))], r"\[-1, 2\]"),
    ],
)
def test_bad_targets_are_named(targets, words):
    with pytest.raises(ValueError, match=f"^targets has .*{words}"):
        check_mask_targets(targets, [(5, 7)], 4)
