from itertools import islice

import pytest
import torch

from lib.datasets.toyworld import Toyworld
from lib.training.batches import OrderedBatches, RandomBatches, toyworld_tensors

IMAGES = torch.arange(7 * 3 * 2 * 4).view(7, 3, 2, 4).to(torch.uint8)
TARGETS = torch.arange(7 * 2 * 4).view(7, 2, 4).to(torch.uint8)


def test_toyworld_as_tensors_is_what_its_samples_say(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    world = Toyworld("val", 3, 32)
    images, semantic = toyworld_tensors(world)
    assert images.shape == (3, 3, 32, 32) and images.dtype == semantic.dtype == torch.uint8
    batch, targets = next(iter(OrderedBatches(images, semantic)))
    torch.testing.assert_close(batch, torch.stack([world[i].image for i in range(3)]))
    assert torch.equal(targets, torch.stack([world[i].semantic for i in range(3)]))


def test_ordered_batches_hold_every_picture_once():
    batches = list(OrderedBatches(IMAGES, TARGETS, 3))
    assert [len(images) for images, _ in batches] == [3, 3, 1] and len(OrderedBatches(IMAGES, TARGETS, 3)) == 3
    torch.testing.assert_close(torch.cat([images for images, _ in batches]), IMAGES.float() / 255)
    targets = torch.cat([targets for _, targets in batches])
    assert targets.dtype == torch.int64 and torch.equal(targets, TARGETS.long())


def test_floats_pass_as_they_are():
    images = torch.randn(7, 1, 2, 4)
    assert torch.equal(next(iter(OrderedBatches(images, TARGETS, 7)))[0], images)


def test_random_batches_start_over_from_their_seed():
    def first(source):
        return [tensor for batch in islice(source, 5) for tensor in batch]

    source = RandomBatches(IMAGES, TARGETS, 4, seed=3)
    torch.manual_seed(1)
    one = first(source)
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(one, first(source), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, first(RandomBatches(IMAGES, TARGETS, 4, seed=4))))


def test_every_picture_comes_once_before_any_comes_again():
    drawn = [targets[:, 0, 0] // 8 for _, targets in islice(RandomBatches(IMAGES, TARGETS, 3, flip=False), 7)]
    rounds = torch.cat(drawn).view(3, 7)
    assert torch.equal(rounds.sort(1).values, torch.arange(7).expand(3, 7)) and not torch.equal(rounds[0], rounds[1])


def test_pictures_and_truths_are_mirrored_together_half_of_the_time():
    before = IMAGES.clone()
    mirrored = 0
    for images, targets in islice(RandomBatches(IMAGES, TARGETS, 7), 30):
        for image, target in zip(images, targets):
            number = target.min().item() // 8
            flipped = target[0, 0] != target.min()
            expected = IMAGES[number].flip(-1) if flipped else IMAGES[number]
            assert torch.equal(target, TARGETS[number].flip(-1).long() if flipped else TARGETS[number].long())
            torch.testing.assert_close(image, expected.float() / 255)
            mirrored += int(flipped)
    assert 70 < mirrored < 140 and torch.equal(IMAGES, before)


def test_float_pictures_are_not_mirrored_in_place():
    images = torch.randn(7, 1, 2, 4)
    before, truths = images.clone(), TARGETS.long()
    list(islice(RandomBatches(images, truths, 7), 3))
    assert torch.equal(images, before) and torch.equal(truths, TARGETS.long())


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: OrderedBatches(IMAGES[0], TARGETS), "images"),
        (lambda: OrderedBatches(IMAGES[:0], TARGETS[:0]), "images"),
        (lambda: RandomBatches(IMAGES, TARGETS[:5]), "targets"),
        (lambda: RandomBatches(IMAGES, TARGETS.float(), 3), "targets"),
        (lambda: OrderedBatches(IMAGES, TARGETS, 0), "batch_size"),
        (lambda: RandomBatches(IMAGES, TARGETS, 8), "batch_size"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
