import pytest
import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform as Theirs

from lib.layers.rcnn_transform import GeneralizedRCNNTransform, padding_mask, resize_boxes, resize_masks

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


@pytest.mark.parametrize("sizes", [[(60, 90)], [(60, 90), (90, 40), (33, 33)], [(20, 200), (200, 20)], [(100, 150)]])
def test_equals_torchvision(sizes):
    torch.manual_seed(0)
    images = [torch.rand(3, *size) for size in sizes]
    targets = [{"boxes": torch.rand(4, 4) * 20, "labels": torch.arange(4)} for _ in sizes]
    ours, theirs = GeneralizedRCNNTransform(100, 180, MEAN, STD), Theirs(100, 180, list(MEAN), list(STD)).eval()
    batch = ours(images)
    expected, moved = theirs(images, targets)
    torch.testing.assert_close(batch.tensors, expected.tensors)
    assert batch.image_sizes == expected.image_sizes and batch.original_sizes == sizes
    for mine, other in zip(ours.resize_targets(targets, batch), moved, strict=True):
        torch.testing.assert_close(mine["boxes"], other["boxes"])
        assert mine["labels"] is other["labels"]
    back = ours.postprocess(ours.resize_targets(targets, batch), batch)
    for mine, target in zip(back, targets, strict=True):
        torch.testing.assert_close(mine["boxes"], target["boxes"])


def test_without_a_size_pictures_stay_as_they_are():
    images = [torch.rand(3, 96, 96), torch.rand(3, 50, 70)]
    batch = GeneralizedRCNNTransform(None, 1000, (0.0,) * 3, (1.0,) * 3)(images)
    assert batch.tensors.shape == (2, 3, 96, 96) and batch.image_sizes == [(96, 96), (50, 70)]
    assert torch.equal(batch.tensors[0], images[0]) and torch.equal(batch.tensors[1, :, :50, :70], images[1])
    assert batch.tensors[1, :, 50:].abs().max() == 0 and batch.tensors[1, :, :, 70:].abs().max() == 0


def test_proposals_move_with_the_boxes():
    transform = GeneralizedRCNNTransform(60, 1000, MEAN, STD)
    batch = transform([torch.rand(3, 30, 40)])
    target = {"boxes": torch.tensor([[1.0, 2, 3, 4]]), "proposals": torch.tensor([[10.0, 10, 20, 30]])}
    (moved,) = transform.resize_targets([target], batch)
    assert moved["proposals"].tolist() == [[20, 20, 40, 60]] and target["proposals"][0, 0] == 10


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8])
def test_masks_move_as_torchvisions_do(dtype):
    torch.manual_seed(0)
    images = [torch.rand(3, *size) for size in ((60, 90), (33, 47), (150, 100), (70, 100))]
    targets = [
        {"boxes": torch.rand(count, 4), "masks": (torch.rand(count, *image.shape[1:]) < 0.5).to(dtype)}
        for image, count in zip(images, (3, 1, 4, 0), strict=True)
    ]
    ours, theirs = GeneralizedRCNNTransform(100, 180, MEAN, STD), Theirs(100, 180, list(MEAN), list(STD)).eval()
    batch = ours(images)
    _, expected = theirs(images, targets)
    for mine, other, size in zip(ours.resize_targets(targets, batch), expected, batch.image_sizes, strict=True):
        assert mine["masks"].dtype == dtype and mine["masks"].shape[1:] == size
        assert torch.equal(mine["masks"].byte(), other["masks"])
    (kept,) = ours.resize_targets(targets[2:3], ours(images[2:3]))
    assert kept["masks"] is targets[2]["masks"], "a picture of the right size"


def test_masks_are_copied_not_smoothed():
    masks = torch.tensor([[[True, False], [False, True]]])
    assert torch.equal(resize_masks(masks, (4, 6)), masks.repeat_interleave(2, 1).repeat_interleave(3, 2))
    assert resize_masks(masks[:0], (4, 6)).shape == (0, 4, 6)
    soft = torch.tensor([[[0.25, 0.75]]])
    assert resize_masks(soft, (1, 4)).tolist() == [[[0.25, 0.25, 0.75, 0.75]]]


def test_boxes_follow_width_and_height_by_themselves():
    assert resize_boxes(torch.tensor([[1.0, 2, 3, 4]]), (10, 20), (20, 60)).tolist() == [[3, 4, 9, 8]]
    assert resize_boxes(torch.zeros(0, 4), (10, 20), (20, 60)).shape == (0, 4)


@pytest.mark.parametrize(
    "images",
    [
        [],
        torch.zeros(0, 3, 4, 4),
        torch.zeros(3, 4, 4),
        [torch.zeros(1, 4, 4)],
        [torch.zeros(3, 0, 4)],
        [torch.zeros(3, 4, 4, dtype=torch.uint8)],
    ],
)
def test_bad_input_is_named(images):
    with pytest.raises(ValueError, match="^images "):
        GeneralizedRCNNTransform(100, 180, MEAN, STD)(images)


def test_the_padding_of_a_batch():
    batch = GeneralizedRCNNTransform(None, 1, MEAN, STD, size_divisible=4)([torch.ones(3, 3, 8), torch.ones(3, 5, 2)])
    mask = padding_mask(batch)
    assert mask.shape == (2, 8, 8) and mask.dtype == torch.bool
    assert (~mask).sum((1, 2)).tolist() == [24, 10] and not mask[0, :3].any() and not mask[1, :5, :2].any()
