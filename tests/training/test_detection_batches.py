from itertools import islice

import pytest
import torch

from lib.datasets.toyworld import Toyworld
from lib.training import OrderedDetectionBatches, RandomDetectionBatches, toyworld_detection
from lib.training.detection_batches import mirror


def numbered(count=10, width=8):
    """Pictures that carry their number in a column, and a box around that column; one has no boxes at all."""
    images, targets = torch.zeros(count, 3, 4, width), []
    for number in range(count):
        column = number % (width - 1)
        images[number, 0, 0, column] = number + 1
        boxes = torch.tensor([[column, 0, column + 1, 1]]).float()
        targets.append(
            {"boxes": boxes, "labels": torch.tensor([number + 1]), "proposals": torch.cat([boxes, boxes + 1])}
        )
    targets[-1] = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "proposals": torch.zeros(0, 4),
    }
    return images, targets


def test_the_tensors_of_toyworld():
    world = Toyworld("train", 8)
    images, targets = toyworld_detection(world)
    assert images.shape == (8, 3, 96, 96) and images.dtype == torch.uint8
    for index, target in enumerate(targets):
        assert torch.equal(images[index].float() / 255, world[index].image)
        assert torch.equal(target["boxes"], world[index].boxes) and torch.equal(target["labels"], world[index].labels)


def test_ordered_batches_give_every_picture_once():
    images, targets = numbered()
    batches = OrderedDetectionBatches(images, targets, batch_size=4)
    assert len(batches) == 3
    for _ in range(2):
        parts = list(batches)
        assert [len(part) for part, _ in parts] == [4, 4, 2]
        assert torch.equal(torch.cat([part for part, _ in parts]), images)
        for mine, target in zip([one for _, part in parts for one in part], targets, strict=True):
            assert all(mine[name] is target[name] for name in target)


def test_bytes_become_numbers_up_to_one():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    empty = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}]
    for batches in (OrderedDetectionBatches(images, empty), RandomDetectionBatches(images, empty, batch_size=1)):
        ((batch, _),) = islice(batches, 1)
        torch.testing.assert_close(batch.flatten(), torch.tensor([0, 0.2, 1]))


@pytest.mark.parametrize("flip", [False, True])
def test_boxes_and_proposals_stay_on_what_they_mark(flip):
    images, targets = numbered()
    before, turned = images.clone(), 0
    for batch, truths in islice(RandomDetectionBatches(images, targets, batch_size=4, flip=flip), 12):
        for image, target in zip(batch, truths):
            if not len(target["boxes"]):
                continue
            number = target["labels"].item()
            for boxes in (target["boxes"], target["proposals"][:1]):
                left, top, right, bottom = boxes[0].long().tolist()
                assert image[0, top:bottom, left:right].tolist() == [[number]]
            turned += not torch.equal(image, before[number - 1])
            sign = -1 if not torch.equal(image, before[number - 1]) else 1
            move = target["proposals"][1] - target["proposals"][0]
            assert move.tolist() == [sign, 1, sign, 1]
    assert torch.equal(images, before) and torch.equal(targets[0]["boxes"], numbered()[1][0]["boxes"])
    assert (turned > 10) == flip


def test_every_picture_comes_before_any_comes_again_and_the_seed_decides():
    images, targets = numbered()

    def drawn(batches, count=5):
        return [tuple(round(one.sum().item()) for one in batch) for batch, _ in islice(batches, count)]

    batches = RandomDetectionBatches(images, targets, batch_size=2, seed=3)
    first = drawn(batches)
    assert sorted(sum(first, ())) == [*range(1, 11)]
    assert drawn(batches) == first and drawn(RandomDetectionBatches(images, targets, batch_size=2, seed=4)) != first


def test_mirroring_twice_changes_nothing_and_keeps_left_left():
    target = {"boxes": torch.tensor([[1.0, 2, 4, 5]]), "labels": torch.tensor([1])}
    turned = mirror(target, 10)
    assert turned["boxes"].tolist() == [[6, 2, 9, 5]] and turned["labels"] is target["labels"]
    assert torch.equal(mirror(turned, 10)["boxes"], target["boxes"])


IMAGES, TARGETS = numbered(3)


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda kind: kind(IMAGES[0], TARGETS[:1]), "images"),
        (lambda kind: kind(IMAGES[:0], []), "images"),
        (lambda kind: kind(IMAGES, TARGETS[:2]), "targets"),
        (lambda kind: kind(IMAGES, [{"labels": torch.tensor([1])}] * 3), "targets"),
        (lambda kind: kind(IMAGES, [TARGETS[0] | {"labels": torch.tensor([1, 2])}] * 3), "targets"),
        (lambda kind: kind(IMAGES, [TARGETS[0] | {"proposals": torch.zeros(4)}] * 3), "targets"),
        (lambda kind: kind(IMAGES, TARGETS, batch_size=0), "batch_size"),
    ],
)
@pytest.mark.parametrize("kind", [OrderedDetectionBatches, RandomDetectionBatches])
def test_bad_input_is_named(kind, call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call(kind)


def test_a_batch_larger_than_all_pictures_is_named():
    with pytest.raises(ValueError, match="^batch_size "):
        RandomDetectionBatches(IMAGES, TARGETS, batch_size=4)
