import math
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch

from lib.datasets.toyworld import Toyworld
from lib.datasets.toyworld.moving import moving_clip
from lib.training.batches import (
    Batches,
    clip_segments,
    mirror,
    toyworld_detection,
    toyworld_segments,
    toyworld_tensors,
)

IMAGES = torch.arange(7 * 3 * 2 * 4).view(7, 3, 2, 4).to(torch.uint8)
TARGETS = torch.arange(7 * 2 * 4).view(7, 2, 4).to(torch.uint8)
training = partial(Batches, shuffle=True, flip=True)


def numbered(count=10, width=8):
    """Pictures that carry their number in a column, and boxes and a mask of that column; one has no things at all."""
    images, targets = torch.zeros(count, 3, 4, width), []
    for number in range(count):
        column = number % (width - 1)
        images[number, 0, 0, column] = number + 1
        boxes = torch.tensor([[column, 0, column + 1, 1]]).float()
        targets.append(
            {
                "boxes": boxes,
                "labels": torch.tensor([number + 1]),
                "proposals": torch.cat([boxes, boxes + 1]),
                "masks": images[number, :1] > 0,
                "points": torch.tensor([[column + 0.5, 0.5]]),
            }
        )
    targets[-1] = {name: value[:0] for name, value in targets[-1].items()}
    return images, targets


THINGS = numbered(7)


def test_the_tensors_of_toyworld(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    world = Toyworld("val", 3, 32)
    images, semantic = toyworld_tensors(world)
    assert images.shape == (3, 3, 32, 32) and images.dtype == semantic.dtype == torch.uint8
    batch, targets = next(iter(Batches(images, semantic)))
    torch.testing.assert_close(batch, torch.stack([world[i].image for i in range(3)]))
    assert torch.equal(targets, torch.stack([world[i].semantic for i in range(3)]))

    same_images, things = toyworld_detection(world)
    assert torch.equal(same_images, images)
    for index, target in enumerate(things):
        assert torch.equal(target["boxes"], world[index].boxes) and torch.equal(target["labels"], world[index].labels)
        assert list(target) == ["boxes", "labels"]
    for index, target in enumerate(toyworld_detection(world, masks=True)[1]):
        assert list(target) == ["boxes", "labels", "masks"] and torch.equal(target["boxes"], world[index].boxes)
        assert target["masks"].dtype == torch.bool and target["masks"].shape == (len(target["boxes"]), 32, 32)
        for mask, box in zip(target["masks"], target["boxes"].tolist()):
            rows, columns = torch.where(mask)
            assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == box
    whole = list(Batches(*toyworld_detection(world, masks=True), 2))
    assert torch.equal(whole[1][1][0]["masks"], world[2].masks)


def test_the_segments_of_toyworld(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    world = Toyworld("val", 3, 32)
    images, targets = toyworld_segments(world)
    assert torch.equal(images, toyworld_tensors(world)[0])
    for index, target in enumerate(targets):
        masks, labels = target["masks"], target["labels"]
        assert masks.dtype == torch.bool and (masks.sum(0) == 1).all() and masks.any(dim=(1, 2)).all()
        assert torch.equal((masks * labels[:, None, None]).sum(0), world[index].semantic)
        assert sorted(labels[labels > 1].tolist()) == sorted((world[index].labels + 1).tolist())
        things = masks[labels > 1].flatten(1).int().tolist()
        assert sorted(things) == sorted(world[index].masks.flatten(1).int().tolist())
        assert [(labels == stuff).sum() for stuff in (0, 1)] == [1, 1]
    assert len(list(Batches(images, targets, 2))) == 2


@pytest.mark.parametrize("images, targets", [(IMAGES, TARGETS), THINGS])
def test_in_order_every_picture_comes_once(images, targets):
    batches = Batches(images, targets, 3)
    assert len(batches) == 3
    for _ in range(2):
        parts = list(batches)
        assert [len(part) for part, _ in parts] == [len(truth) for _, truth in parts] == [3, 3, 1]
        scale = 255 if images.dtype == torch.uint8 else 1
        torch.testing.assert_close(torch.cat([part for part, _ in parts]), images.float() / scale)
        for mine, target in zip([one for _, truth in parts for one in truth], targets, strict=True):
            if isinstance(target, dict):
                assert mine is not target and all(mine[name] is target[name] for name in target)
            else:
                assert mine.dtype == torch.int64 and torch.equal(mine, target.long())


def test_floats_pass_as_they_are():
    images = torch.randn(7, 1, 2, 4)
    assert torch.equal(next(iter(Batches(images, TARGETS, 7)))[0], images)


def test_shuffled_batches_start_over_from_their_seed_and_have_no_length():
    def first(source):
        return [tensor for batch in islice(source, 5) for tensor in batch]

    source = training(IMAGES, TARGETS, 4, seed=3)
    torch.manual_seed(1)
    one = first(source)
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(one, first(source), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, first(training(IMAGES, TARGETS, 4, seed=4))))
    with pytest.raises(TypeError, match="without end"):
        len(source)


def test_every_picture_comes_once_before_any_comes_again():
    drawn = [targets[:, 0, 0] // 8 for _, targets in islice(Batches(IMAGES, TARGETS, 3, shuffle=True), 7)]
    rounds = torch.cat(drawn).view(3, 7)
    assert torch.equal(rounds.sort(1).values, torch.arange(7).expand(3, 7)) and not torch.equal(rounds[0], rounds[1])


def test_both_kinds_of_truth_see_the_same_pictures():
    images = THINGS[0]
    with_maps = training(images, torch.zeros(7, 4, 8, dtype=torch.int64), 3, seed=5)
    for (one, _), (other, _) in zip(islice(with_maps, 6), training(*THINGS, 3, seed=5)):
        assert torch.equal(one, other)


def test_pictures_and_class_maps_are_mirrored_together_half_of_the_time():
    before = IMAGES.clone()
    mirrored = 0
    for images, targets in islice(training(IMAGES, TARGETS, 7), 30):
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
    list(islice(training(images, truths, 7), 3))
    assert torch.equal(images, before) and torch.equal(truths, TARGETS.long())


@pytest.mark.parametrize("flip", [False, True])
def test_boxes_masks_and_points_stay_on_what_they_mark(flip):
    images, targets = numbered()
    before, turned = images.clone(), 0
    for batch, truths in islice(Batches(images, targets, 4, shuffle=True, flip=flip), 12):
        for image, target in zip(batch, truths):
            if not len(target["boxes"]):
                continue
            number = target["labels"].item()
            for boxes in (target["boxes"], target["proposals"][:1]):
                left, top, right, bottom = boxes[0].long().tolist()
                assert image[0, top:bottom, left:right].tolist() == [[number]]
            assert torch.equal(target["masks"], image[:1] > 0)
            x, y = target["points"][0].long().tolist()
            assert image[0, y, x] == number
            is_turned = not torch.equal(image, before[number - 1])
            turned += is_turned
            move = target["proposals"][1] - target["proposals"][0]
            sign = -1 if is_turned else 1
            assert move.tolist() == [sign, 1, sign, 1]
    assert torch.equal(images, before) and torch.equal(targets[0]["boxes"], numbered()[1][0]["boxes"])
    assert (turned > 10) == flip


def test_mirroring_twice_changes_nothing_and_keeps_left_left():
    target = {"boxes": torch.tensor([[1.0, 2, 4, 5]]), "labels": torch.tensor([1])}
    turned = mirror(target, 10)
    assert turned["boxes"].tolist() == [[6, 2, 9, 5]] and turned["labels"] is target["labels"]
    assert torch.equal(mirror(turned, 10)["boxes"], target["boxes"])


def test_what_coco_notes_of_a_picture_goes_along():
    targets = [
        target | {"image_id": number, "area": torch.ones(len(target["labels"])), "iscrowd": target["labels"] * 0}
        for number, target in enumerate(THINGS[1])
    ]
    _, batch = next(iter(Batches(THINGS[0], targets, 3, shuffle=True, flip=True)))
    for target in batch:
        before = targets[target["image_id"]]
        assert target["area"] is before["area"] and target["iscrowd"] is before["iscrowd"]


def test_a_truth_is_not_mirrored_by_guessing():
    with pytest.raises(ValueError, match="^target has 'uv'"):
        mirror({"uv": torch.zeros(2, 4, 4)}, 4)


@pytest.mark.parametrize(
    "targets",
    [
        TARGETS[:5],
        TARGETS.float(),
        THINGS[1][:2],
        [{"labels": torch.tensor([1])}] * 7,
        [THINGS[1][0] | {"labels": torch.tensor([1, 2])}] * 7,
        [{"masks": torch.ones(1, 4, 8) > 0}] * 7,
        [{"masks": torch.ones(2, 4, 8) > 0, "labels": torch.tensor([1])}] * 7,
        [{"depth": torch.ones(4, 8), "labels": torch.tensor([1])}] * 7,
        [THINGS[1][0] | {"proposals": torch.zeros(4)}] * 7,
        [THINGS[1][0] | {"points": torch.zeros(1, 3)}] * 7,
        [THINGS[1][0] | {"masks": torch.zeros(1, 8, 4)}] * 7,
        [THINGS[1][0] | {"labels": torch.tensor([1, 2]), "image_id": 3}] * 7,
        [THINGS[1][0] | {"boxes": [[0.0, 0, 4, 4]]}] * 7,
        [THINGS[1][0] | {"labels": [1]}] * 7,
        [None] * 7,
        np.zeros((7, 8, 6)),
    ],
)
@pytest.mark.parametrize("kind", [Batches, training])
def test_a_truth_that_does_not_fit_is_named(kind, targets):
    images = IMAGES if isinstance(targets, torch.Tensor) else THINGS[0]
    with pytest.raises(ValueError, match=r"^targets( |\[0\]\[)"):
        kind(images, targets, 2)


@pytest.mark.parametrize("targets", [TARGETS, THINGS[1]])
@pytest.mark.parametrize(
    "call, named",
    [
        (lambda targets: Batches(IMAGES[0], targets), "images"),
        (lambda targets: Batches(IMAGES.numpy(), targets), "images is a ndarray;"),
        (lambda targets: Batches(IMAGES[:0], targets[:0]), "images"),
        (lambda targets: Batches(IMAGES, targets, 0), "batch_size"),
        (lambda targets: training(IMAGES, targets, 8), "batch_size"),
        (lambda targets: Batches(THINGS[0] if isinstance(targets, list) else IMAGES, targets, flip=True), "flip"),
    ],
)
def test_bad_input_is_named(call, named, targets):
    with pytest.raises(ValueError, match=f"^{named} "):
        call(targets)


def test_frames_of_a_clip_with_depth_and_who_is_who():
    clip = moving_clip(3, "train", 6, 48)
    images, targets = clip_segments(clip, (0, 3, 5))
    assert images.shape == (3, 3, 48, 48) and images.dtype == torch.uint8
    for place, image, target in zip((0, 3, 5), images, targets, strict=True):
        sample = clip.frames[place]
        assert torch.equal(image.float() / 255, sample.image) and torch.equal(target["depth"], sample.depth)
        assert (target["masks"].sum(dim=0) == 1).all(), "each pixel is in one mask"
        assert torch.equal((target["masks"] * target["labels"][:, None, None]).sum(dim=0), sample.semantic)
        assert torch.equal(target["track_ids"] == 0, target["labels"] < 2)
        who = (target["masks"] * target["track_ids"][:, None, None]).sum(dim=0)  # (H, W)
        for mask, number in zip(sample.masks, clip.track_ids[place], strict=True):
            assert (who[mask] == number).all()
    assert len(clip_segments(clip)[1]) == 6
    _, mirrored = next(iter(Batches(images, targets, batch_size=3, shuffle=True, flip=True, seed=1)))
    assert all((one["depth"][one["masks"][one["labels"] == 0].any(dim=0)] == math.inf).all() for one in mirrored)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_batch_size_may_be_numpys(shuffle):
    images, targets = torch.rand(4, 3, 2, 2), torch.zeros(4, 2, 2, dtype=torch.int64)
    (one, _), (other, _) = (next(iter(Batches(images, targets, size, shuffle=shuffle))) for size in (np.int64(3), 3))
    assert torch.equal(one, other)
