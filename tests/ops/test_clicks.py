"""Clicks: inside of what they are drawn from, in the middle against brute force; boxes that are moved a little."""

import math

import pytest
import torch

from lib.ops.clicks import error_click, jittered_boxes, middle_click, next_click, random_click


def some_masks(count=6, height=9, width=13, share=0.5, seed=0):
    return torch.rand(count, height, width, generator=torch.Generator().manual_seed(seed)) < share


def depth(region):
    """How far each pixel lies from the nearest outside, the picture's border included, by looking at all."""
    height, width = region.shape
    outside = [
        (row, column)
        for row in range(-1, height + 1)
        for column in range(-1, width + 1)
        if not (0 <= row < height and 0 <= column < width and region[row, column])
    ]
    return torch.tensor([[min(math.dist((r, c), one) for one in outside) for c in range(width)] for r in range(height)])


# ------------------------------------------------------------------------------------------------ by chance


def test_a_random_click_lies_inside_and_a_seed_repeats():
    regions = some_masks(200, share=0.1)
    points = random_click(regions, torch.Generator().manual_seed(1))
    assert points.shape == (200, 2) and points.dtype == torch.float32
    x, y = points.long().T
    assert regions[torch.arange(200), y, x][regions.flatten(1).any(1)].all()
    assert torch.equal(points, random_click(regions, torch.Generator().manual_seed(1)))
    assert not torch.equal(points, random_click(regions, torch.Generator().manual_seed(2)))


def test_all_pixels_are_equally_likely():
    region = torch.zeros(3, 4, dtype=torch.bool)
    region[0, 3] = region[1, 0] = region[2, 2] = True
    generator = torch.Generator().manual_seed(0)
    for mask, pixels in ((region, 3), (torch.zeros(3, 4, dtype=torch.bool), 12)):  # of an empty one any
        x, y = random_click(mask.expand(6000, 3, 4), generator).long().T
        counts = torch.zeros(3, 4).index_put((y, x), torch.ones(6000), accumulate=True)
        assert ((counts > 0) == (mask if mask.any() else True)).all()
        assert (counts[counts > 0] - 6000 / pixels).abs().max() < 5 * (6000 / pixels) ** 0.5
    assert random_click(torch.zeros(0, 3, 4, dtype=torch.bool)).shape == (0, 2)


def test_an_error_is_clicked_and_named():
    predicted, true = some_masks(200, share=0.5), some_masks(200, share=0.5, seed=1)
    # Not the chance that another test left: from seed 0 it would be the very numbers of which `predicted` was made.
    points, labels = error_click(predicted, true, torch.Generator().manual_seed(2))
    x, y = points.long().T
    said, real = (one[torch.arange(200), y, x] for one in (predicted, true))
    assert (said != real).all() and torch.equal(labels, real.long()) and labels.dtype == torch.int64
    assert 0.3 < labels.float().mean() < 0.7
    same = error_click(true, true)
    assert torch.equal(same[1], true[torch.arange(200), same[0][:, 1].long(), same[0][:, 0].long()].long())


# ------------------------------------------------------------------------------------------------ in the middle


@pytest.mark.parametrize("share", [0.05, 0.6, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_middle_is_the_deepest_pixel(share, seed):
    for region in some_masks(3, 7, 10, share, seed):
        if region.any():
            deep = depth(region)
            x, y = middle_click(region)
            assert type(x) is int and region[y, x] and deep[y, x].item() == pytest.approx(deep.max().item())
            assert y * 10 + x == int(((deep - deep.max()).abs() < 1e-6).flatten().int().argmax()), "the first of equals"


def test_the_middle_by_hand():
    region = torch.zeros(7, 9, dtype=torch.bool)
    region[1:6, 3:8] = True
    assert middle_click(region) == (5, 3)
    assert middle_click(torch.ones(3, 5, dtype=torch.bool)) == (1, 1), "the border of the picture is outside"
    bar = torch.zeros(4, 4, dtype=torch.bool)
    bar[2] = True
    assert middle_click(bar) == (0, 2)


@pytest.mark.parametrize("seed", range(8))
def test_the_next_click_is_the_deepest_of_both_kinds_of_error(seed):
    predicted, true = some_masks(2, 8, 11, 0.7, seed)
    missed, taken = depth(true & ~predicted), depth(predicted & ~true)
    x, y, label = next_click(predicted, true)
    assert predicted[y, x] != true[y, x] and label == int(true[y, x])
    assert (missed if label else taken)[y, x].item() == pytest.approx(max(missed.max(), taken.max()).item())
    assert label or taken.max() > missed.max()


def test_the_next_click_by_hand():
    true = torch.zeros(9, 9, dtype=torch.bool)
    true[1:6, 1:6] = True
    assert next_click(torch.zeros_like(true), true) == (3, 3, 1)
    assert next_click(torch.ones_like(true), true)[2] == 0
    left = true & (torch.arange(9) < 3)
    assert next_click(left, true) == (4, 2, 1), "of 5 rows and 3 columns the first that is two deep"
    shifted = true.roll(2, 1)
    assert next_click(shifted, true)[2] == 1, "as deep on either side"


# ------------------------------------------------------------------------------------------------ boxes


def test_boxes_are_moved_by_noise_that_grows_with_them():
    torch.manual_seed(0)
    boxes = torch.tensor([[300.0, 400, 350, 500]]).repeat(4000, 1)
    moved = jittered_boxes(boxes, (1000, 1000)) - boxes
    torch.testing.assert_close(moved.std(0), torch.tensor([5.0, 10, 5, 10]), rtol=0.05, atol=0)
    assert moved.mean(0).abs().max() < 0.5 and torch.corrcoef(moved.T).triu(1).abs().max() < 0.06
    limited = jittered_boxes(boxes, (1000, 1000), most=3.0) - boxes
    assert limited.abs().max() <= 3 and (limited.abs() > 2.99).float().mean() > 0.4
    assert torch.equal(jittered_boxes(boxes, (1000, 1000), noise=0.0), boxes)


def test_boxes_stay_in_the_picture_and_keep_a_pixel():
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(500, 2, 2, generator=generator) * torch.tensor([30.0, 20])
    boxes = corners.sort(1).values.flatten(1)
    moved = jittered_boxes(boxes, (20, 30), noise=2.0)
    x1, y1, x2, y2 = moved.T
    assert (x1 >= 0).all() and (y1 >= 0).all() and (x2 <= 30).all() and (y2 <= 20).all()
    assert (x2 - x1 >= 1 - 1e-5).all() and (y2 - y1 >= 1 - 1e-5).all()
    assert jittered_boxes(torch.zeros(0, 4), (20, 30)).shape == (0, 4)


MASK, MASKS = torch.ones(3, 4, dtype=torch.bool), torch.ones(2, 3, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: random_click(MASK), "regions"),
        (lambda: random_click(MASKS.float()), "regions"),
        (lambda: error_click(MASKS.float(), MASKS), "predicted"),
        (lambda: error_click(MASKS, MASKS.int()), "true"),
        (lambda: error_click(MASKS[:1], MASKS), "predicted"),
        (lambda: error_click(MASK, MASK), "predicted"),
        (lambda: middle_click(MASKS), "region"),
        (lambda: middle_click(~MASK), "region"),
        (lambda: next_click(MASK, MASK), "predicted"),
        (lambda: next_click(MASK[:2], MASK), "predicted"),
        (lambda: next_click(MASK.float(), MASK), "predicted"),
        (lambda: next_click(~MASK, MASK.int()), "true"),
        (lambda: next_click(MASKS, MASKS), "predicted"),
        (lambda: jittered_boxes(torch.zeros(4), (3, 4)), "boxes"),
        (lambda: jittered_boxes(torch.zeros(2, 4).long(), (3, 4)), "boxes"),
        (lambda: jittered_boxes(torch.zeros(2, 4), (3, 4), noise=-0.1), "noise"),
        (lambda: jittered_boxes(torch.zeros(2, 4), (3, 4), most=-1.0), "most"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
