import math

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from lib.ops.segmentation_metrics import boundary_f_score, confusion_matrix, iou_per_class, mean_iou, pixel_accuracy

TRUTH = torch.tensor([[0, 0, 1], [1, 2, 255]])
GUESS = torch.tensor([[0, 1, 1], [0, 2, 2]])


def maps(seed, shape=(2, 12, 15), classes=4, ignored=0.1):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(classes, shape, generator=generator)
    predicted = torch.where(
        torch.rand(shape, generator=generator) < 0.6, target, torch.randint(classes, shape, generator=generator)
    )
    return predicted, target.masked_fill(torch.rand(shape, generator=generator) < ignored, 255)


def test_confusion_matrix_by_hand():
    assert confusion_matrix(GUESS, TRUTH, 4).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_confusion_matrix_counts_like_a_loop():
    predicted, target = maps(0)
    expected = torch.zeros(4, 4, dtype=torch.int64)
    for truth, guess in zip(target.flatten().tolist(), predicted.flatten().tolist()):
        if truth != 255:
            expected[truth, guess] += 1
    matrix = confusion_matrix(predicted, target, 4)
    assert matrix.dtype == torch.int64 and torch.equal(matrix, expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_bytes_do_not_overflow(dtype):
    classes = torch.full((1, 3), 100, dtype=dtype)
    assert confusion_matrix(classes, classes, 101)[100, 100] == 3


def test_matrices_of_single_pictures_add_up_to_that_of_the_batch():
    predicted, target = maps(1, (3, 8, 8))
    single = sum(confusion_matrix(one, other, 4) for one, other in zip(predicted, target))
    assert torch.equal(confusion_matrix(predicted, target, 4), single)


def test_what_is_predicted_at_ignored_pixels_does_not_matter():
    predicted, target = maps(2)
    wild = predicted.masked_fill(target == 255, 99)
    assert torch.equal(confusion_matrix(wild, target, 4), confusion_matrix(predicted, target, 4))
    assert torch.equal(boundary_f_score(wild, target, 4), boundary_f_score(predicted, target, 4))


def test_another_number_can_be_ignored():
    assert confusion_matrix(GUESS, TRUTH.where(TRUTH != 255, -1), 3, ignore_index=-1).sum() == 5


def test_scores_by_hand():
    matrix = confusion_matrix(GUESS, TRUTH, 4)
    assert pixel_accuracy(matrix) == 3 / 5
    assert torch.equal(iou_per_class(matrix)[:3], torch.tensor([1 / 3, 1 / 3, 1.0], dtype=torch.float64))
    assert iou_per_class(matrix)[3].isnan()  # absent: not judged
    assert mean_iou(matrix) == pytest.approx(5 / 9)


def test_iou_is_intersection_over_union_of_the_masks():
    predicted, target = maps(3)
    counted = target != 255
    for number, iou in enumerate(iou_per_class(confusion_matrix(predicted, target, 4)).tolist()):
        true, guessed = (target == number) & counted, (predicted == number) & counted
        assert iou == pytest.approx((true & guessed).sum().item() / (true | guessed).sum().item())


def test_a_class_that_is_only_predicted_scores_zero():
    matrix = confusion_matrix(torch.tensor([[0, 1]]), torch.tensor([[0, 0]]), 2)
    assert iou_per_class(matrix).tolist() == [0.5, 0.0] and mean_iou(matrix) == 0.25


def test_nothing_counted_is_nan():
    matrix = confusion_matrix(torch.zeros(0, 4, 4, dtype=torch.int64), torch.zeros(0, 4, 4, dtype=torch.int64), 3)
    assert matrix.sum() == 0 and math.isnan(pixel_accuracy(matrix)) and math.isnan(mean_iou(matrix))
    ignored = torch.full((2, 2), 255)
    assert confusion_matrix(ignored, ignored, 3).sum() == 0
    assert boundary_f_score(ignored, ignored, 3).isnan().all()


def outline(classes, counted, number):
    """Boundary pixels of a class, pixel by pixel."""
    height, width = classes.shape
    found = np.zeros((height, width), bool)
    for row, column in np.argwhere((classes == number) & counted):
        for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            y, x = row + down, column + right
            if 0 <= y < height and 0 <= x < width and counted[y, x] and classes[y, x] != number:
                found[row, column] = True
    return found


def f_by_distances(predicted, target, number, tolerance):
    counted = target != 255
    guess, truth = outline(predicted, counted, number), outline(target, counted, number)
    if not guess.any() and not truth.any():
        return math.nan
    if not guess.any() or not truth.any():
        return 0.0
    precision = (distance_transform_edt(~truth)[guess] <= tolerance).mean()
    recall = (distance_transform_edt(~guess)[truth] <= tolerance).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 2.9])
def test_boundary_score_equals_the_one_by_distance_transforms(tolerance):
    rows, columns = np.mgrid[:20, :23]
    target = torch.from_numpy(
        np.stack([((rows - 9) ** 2 + (columns - y) ** 2 < 40) + 2 * (columns > 18) for y in (8, 10)])
    )
    generator = torch.Generator().manual_seed(0)
    target = target.masked_fill(torch.rand(target.shape, generator=generator) < 0.05, 255)
    predicted = torch.from_numpy(np.stack([((rows - 10) ** 2 + (columns - 9) ** 2 < 60) + 2 * (rows > 14)] * 2))
    got = boundary_f_score(predicted, target, 5, tolerance)
    expected = [
        [f_by_distances(one, other, number, tolerance) for number in range(5)]
        for one, other in zip(predicted.numpy(), target.numpy())
    ]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float32), equal_nan=True)
    assert got[:, 4].isnan().all() and not got[:, :3].isnan().any()


def test_boundary_score_of_a_shifted_edge():
    target = (torch.arange(8) >= 4).long().expand(6, 8)  # an upright edge
    for shift, score in ((0, 1.0), (1, 1.0), (2, 0.0)):
        assert boundary_f_score((torch.arange(8) >= 4 + shift).long().expand(6, 8), target, 2).tolist() == [score] * 2
    assert boundary_f_score((torch.arange(8) >= 5).long().expand(6, 8), target, 2, tolerance=0).tolist() == [0.0, 0.0]
    assert boundary_f_score((torch.arange(8) >= 6).long().expand(6, 8), target, 2, tolerance=2).tolist() == [1.0, 1.0]


def test_boundary_score_where_one_side_has_no_boundary():
    target = (torch.arange(8) >= 4).long().expand(6, 8)
    assert boundary_f_score(torch.zeros_like(target), target, 3).tolist()[:2] == [0.0, 0.0]
    assert boundary_f_score(target, torch.zeros_like(target), 3).tolist()[:2] == [0.0, 0.0]
    assert boundary_f_score(torch.zeros_like(target), torch.zeros_like(target), 3).isnan().all()


def test_boundary_score_of_a_batch_is_that_of_its_pictures():
    predicted, target = maps(4, (3, 9, 9))
    single = torch.stack([boundary_f_score(one, other, 4) for one, other in zip(predicted, target)])
    torch.testing.assert_close(boundary_f_score(predicted, target, 4), single)
    assert boundary_f_score(predicted.byte(), target.byte(), 4).shape == (3, 4)


def test_a_large_tolerance_reaches_everywhere_and_no_further():
    predicted, target = maps(5, (6, 7), ignored=0)
    assert (boundary_f_score(predicted, target, 4, tolerance=1e9) == 1).all()


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: confusion_matrix(GUESS.float(), TRUTH, 3), "predicted"),
        (lambda: confusion_matrix(GUESS, TRUTH.float(), 3), "target"),
        (lambda: confusion_matrix(GUESS.numpy(), TRUTH, 3), "predicted is a ndarray;"),
        (lambda: confusion_matrix(GUESS[0], TRUTH, 3), "predicted"),
        (lambda: confusion_matrix(GUESS[0], TRUTH[0], 3), "target"),
        (lambda: confusion_matrix(GUESS, TRUTH, 2), "target"),
        (lambda: confusion_matrix(GUESS + 1, TRUTH, 3), "predicted"),
        (lambda: confusion_matrix(GUESS - 1, TRUTH, 3), "predicted"),
        (lambda: confusion_matrix(GUESS, TRUTH, 0), "num_classes"),
        (lambda: boundary_f_score(GUESS, TRUTH, 3, tolerance=-1), "tolerance"),
        (lambda: boundary_f_score(GUESS, TRUTH, 3, tolerance=math.nan), "tolerance"),
        (lambda: boundary_f_score(GUESS[None, None], TRUTH[None, None], 3), "target"),
        (lambda: mean_iou(torch.zeros(2, 3)), "matrix"),
        (lambda: pixel_accuracy(torch.zeros(3)), "matrix"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()


def test_the_number_of_classes_may_be_numpys():
    classes = torch.tensor([[0, 2], [1, 1]])
    assert torch.equal(confusion_matrix(classes, classes, np.int64(3)), confusion_matrix(classes, classes, 3))
