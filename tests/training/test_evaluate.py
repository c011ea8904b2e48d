import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.ops.detection_metrics import average_precision
from lib.ops.segmentation_metrics import boundary_f_score, confusion_matrix, mean_iou, pixel_accuracy
from lib.training.evaluate import evaluate_detection, evaluate_segmentation


class Parrot(nn.Module):
    """Says the classes that are written in the picture."""

    def forward(self, images):
        assert not self.training and not torch.is_grad_enabled()
        return F.one_hot(images[:, 0].long(), 4).movedim(-1, 1).float()


def case():
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(3, (5, 8, 9), generator=generator).repeat_interleave(2, 1)  # class 3 never occurs
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


def test_pictures_of_several_sizes_are_segmented_one_by_one():
    images, targets = case()
    wide, tall = (images[:, :, :6], targets[:, :6]), (images[:, :, :, :7], targets[:, :, :7])
    together = evaluate_segmentation(Parrot(), [wide, tall], 4)
    mixed = [(list(wide[0]) + list(tall[0]), list(wide[1]) + list(tall[1]))]
    for batches in (mixed, [tuple(zip(*zip(*mixed[0])))]):  # lists, and tuples as a `collate_fn` gives them
        result = evaluate_segmentation(Parrot(), batches, 4)
        assert torch.equal(result["matrix"], together["matrix"])
        assert result["boundary F"] == pytest.approx(together["boundary F"])
    with pytest.raises(ValueError, match="^batches has 2 pictures with 1 targets"):
        evaluate_segmentation(Parrot(), [(list(images[:2]), list(targets[:1]))], 4)


def test_a_perfect_model_and_no_boundaries_wanted():
    targets = case()[1].where(case()[1] != 255, 0)
    result = evaluate_segmentation(Parrot(), [(targets[:, None].float(), targets)], 4)
    assert result["mIoU"] == result["pixel accuracy"] == result["boundary F"] == 1
    assert "boundary F" not in evaluate_segmentation(Parrot(), [(targets[:, None].float(), targets)], 4, boundary=False)


class Says(nn.Module):
    """Says the same of all pictures."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, images):
        return self.answer


def test_scores_may_lie_in_a_dict_under_out():
    images, targets = case()
    with torch.no_grad():
        scores = Parrot().eval()(images)
    result = evaluate_segmentation(Says({"out": scores, "aux": 0 * scores}), [(images, targets)], 4)
    assert result["mIoU"] == evaluate_segmentation(Parrot(), [(images, targets)], 4)["mIoU"]


@pytest.mark.parametrize("answer, came", [({"aux": 0}, "a dict"), ([1], "a list"), (None, "a NoneType")])
def test_an_answer_without_scores_is_named(answer, came):
    with pytest.raises(ValueError, match=f"^model gives {came}; expected scores of shape "):
        evaluate_segmentation(Says(answer), [case()], 4)


def test_bad_input_is_named_and_the_mode_comes_back():
    images, targets = case()
    model = Parrot().train()
    with pytest.raises(ValueError, match="^batches "):
        evaluate_segmentation(model, [], 4)
    with pytest.raises(ValueError, match="^model "):
        evaluate_segmentation(model, [(images, targets)], 5)
    assert model.training


def test_frozen_parts_stay_in_eval_mode():
    images, targets = case()
    segments, detects = nn.Sequential(nn.Dropout(), Parrot()).train(), nn.Sequential(nn.Dropout(), Finder()).train()
    segments[0].eval()
    detects[0].eval()
    evaluate_segmentation(segments, [(images, targets)], 4)
    evaluate_detection(detects, [detection_case()])
    for model in (segments, detects):
        assert [module.training for module in model.modules()] == [True, False, True]


class Finder(nn.Module):
    """Finds a box where the picture says: its first numbers are x1, y1, x2, y2 and the score."""

    def forward(self, images):
        assert not self.training and not torch.is_grad_enabled()
        rows = images[:, 0, 0, :5]
        return [{"boxes": row[None, :4], "scores": row[4:], "labels": torch.ones(1, dtype=torch.int64)} for row in rows]


def detection_case():
    images = torch.zeros(3, 3, 2, 8)
    images[:, 0, 0, :5] = torch.tensor([[0, 0, 10, 10, 0.9], [5, 5, 9, 9, 0.8], [0, 0, 20, 10, 0.7]])
    targets = [
        {"boxes": torch.tensor([box]), "labels": torch.ones(1, dtype=torch.int64)}
        for box in ([0.0, 0, 10, 10], [20.0, 20, 30, 30], [0.0, 0, 20, 13])
    ]
    return images, targets


def test_detections_of_all_batches_are_counted_together():
    images, targets = detection_case()
    model = Finder().train()
    result = evaluate_detection(model, [(images[:2], targets[:2]), (images[2:], targets[2:])])
    with torch.no_grad():
        assert result == average_precision(model.eval()(images), targets)
    assert result["AP50"] == pytest.approx((34 + 33 * 2 / 3) / 101)  # right, wrong, right, of three objects
    assert evaluate_detection(model.train(), [(images, targets)]) == result and model.training


class FinderInEach(Finder):
    """The same for a list of pictures, whatever their sizes."""

    def forward(self, images):
        return [super(FinderInEach, self).forward(image[None])[0] for image in images]


@pytest.mark.parametrize("kind", [list, tuple])
def test_pictures_of_several_sizes_with_their_numbers(kind):
    images, targets = detection_case()
    result = evaluate_detection(Finder(), [(images, targets)])
    sizes = [image[:, :rows] for image, rows in zip(images, (1, 2, 1))]
    numbered = [target | {"image_id": number, "file": "a.jpg"} for number, target in enumerate(targets)]
    assert evaluate_detection(FinderInEach(), [(kind(sizes), kind(numbered))]) == result


class Painter(Finder):
    """The same boxes, and in each the mask that lies above its left half."""

    def forward(self, images):
        found = super().forward(images)
        for one in found:
            left, top, right, bottom = one["boxes"][0].int().tolist()
            one["masks"] = torch.zeros(1, 40, 40)
            one["masks"][0, top:bottom, left : (left + right) // 2] = 0.7
        return found


def test_masks_are_judged_where_asked_for():
    images, targets = detection_case()
    with torch.no_grad():
        found = Painter().eval()(images)
    truth = [target | {"masks": each["masks"] > 0.5} for target, each in zip(targets, found)]
    model = Painter().train()
    result = evaluate_detection(model, [(images[:2], truth[:2]), (images[2:], truth[2:])], iou_type="segm")
    assert result["AP"] == pytest.approx(1) and result == average_precision(found, truth, "segm") and model.training
    assert evaluate_detection(model, [(images, truth)])["AP"] < 0.9, "boxes are another matter"
    with pytest.raises(ValueError, match="masks"):
        evaluate_detection(model, [(images, targets)], iou_type="segm")
    assert model.training


def test_predict_may_use_the_targets():
    images, targets = detection_case()
    given = [target | {"proposals": target["boxes"]} for target in targets]

    def predict(model, images, targets):
        return [
            {"boxes": target["proposals"], "scores": torch.ones(1), "labels": target["labels"]} for target in targets
        ]

    assert evaluate_detection(Finder(), [(images, given)], predict)["AP"] == pytest.approx(1)


def test_bad_detection_input_is_named_and_the_mode_comes_back():
    images, targets = detection_case()
    model = Finder().train()
    with pytest.raises(ValueError, match="^batches "):
        evaluate_detection(model, [])
    with pytest.raises(ValueError, match="^model "):
        evaluate_detection(model, [(images, targets[:2])])
    with pytest.raises(ValueError, match="^predict "):
        evaluate_detection(model, [(images, targets)], lambda model, images, targets: [])
    assert model.training
