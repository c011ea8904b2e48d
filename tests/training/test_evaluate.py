import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.ops.metrics import boundary_f_score, confusion_matrix, mean_iou, pixel_accuracy
from lib.training.evaluate import evaluate_segmentation


class Parrot(nn.Module):
    """Says the classes that are written in the picture."""

    def forward(self, images):
        assert not self.training and not torch.is_grad_enabled()
        return F.one_hot(images[:, 0].long(), 4).movedim(-1, 1).float()


def case():
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(3, (5, 8, 9), generator=generator).repeat_interleave(2, 1)      # class 3 never occurs
    guess = torch.where(torch.rand(targets.shape, generator=generator) < 0.7, targets, 0)
    targets[0, :2] = 255
    return guess[:, None].float(), targets


def test_scores_are_those_of_all_pictures_together():
    images, targets = case()
    model = Parrot().train()
    result = evaluate_segmentation(model, [(images[:2], targets[:2]), (images[2:], targets[2:])], 4)
    matrix = confusion_matrix(images[:, 0].long(), targets, 4)
    assert torch.equal(result["matrix"], matrix)
    assert result["mIoU"] == mean_iou(matrix) and result["pixel accuracy"] == pixel_accuracy(matrix)
    assert result["IoU"].shape == (4,) and result["IoU"][3].isnan()
    per_class = boundary_f_score(images[:, 0].long(), targets, 4).nanmean(0)
    torch.testing.assert_close(result["boundary F per class"], per_class, equal_nan=True)
    assert result["boundary F"] == pytest.approx(per_class[:3].mean().item())
    assert model.training


def test_a_perfect_model_and_no_boundaries_wanted():
    targets = case()[1].where(case()[1] != 255, 0)
    result = evaluate_segmentation(Parrot(), [(targets[:, None].float(), targets)], 4)
    assert result["mIoU"] == result["pixel accuracy"] == result["boundary F"] == 1
    assert "boundary F" not in evaluate_segmentation(Parrot(), [(targets[:, None].float(), targets)], 4, boundary=False)


def test_bad_input_is_named_and_the_mode_comes_back():
    images, targets = case()
    model = Parrot().train()
    with pytest.raises(ValueError, match="^batches "):
        evaluate_segmentation(model, [], 4)
    with pytest.raises(ValueError, match="^model "):
        evaluate_segmentation(model, [(images, targets)], 5)
    assert model.training
