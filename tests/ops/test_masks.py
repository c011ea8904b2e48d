"""Masks against torchvision, pycocotools and loops over pixels."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from pycocotools import mask as coco_mask
from torchvision.models.detection import roi_heads

from lib.ops.masks import (
    check_masks,
    decode_masks,
    encode_masks,
    mask_iou,
    masks_to_boxes,
    paste_in_boxes,
    paste_masks_in_image,
    project_masks_on_boxes,
)

HEIGHT, WIDTH = 50, 70


def some_masks(count, seed=0, height=HEIGHT, width=WIDTH):
    """Blots of many sizes, none empty."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, height, width, dtype=torch.bool)
    for mask in masks:
        top, left = (int(torch.randint(side, (1,), generator=generator)) for side in (height, width))
        part = mask[top : top + 25, left : left + 35]
        part |= torch.rand(part.shape, generator=generator) < 0.6
        mask[top, left] = True
    return masks


def boxes_beyond_the_border(count, seed=1):
    """Of all sizes, also less than a pixel; some reach beyond each border, all touch the picture."""
    generator = torch.Generator().manual_seed(seed)
    sides = 0.3 * 200 ** torch.rand(count, 2, generator=generator)
    middles = torch.rand(count, 2, generator=generator) * torch.tensor([WIDTH - 1.0, HEIGHT - 1.0])
    boxes = torch.cat([middles - sides / 2, middles + sides / 2], 1)
    assert (boxes[:, :2] < 0).any(0).all() and (boxes[:, 2] > WIDTH).any() and (boxes[:, 3] > HEIGHT).any()
    return boxes


def disc(x, y, radius, height=100, width=120):
    rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def edges_of(mask):
    """The box of a mask as the course counts: the last pixel lies inside of it."""
    return masks_to_boxes(mask[None]) + torch.tensor([0.0, 0, 1, 1])


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_boxes_of_masks_equal_torchvisions(dtype):
    masks = some_masks(40).to(dtype)
    expected = torchvision.ops.masks_to_boxes(masks)
    assert torch.equal(masks_to_boxes(masks), expected) and expected[:, 0].max() > 60 and expected[:, 1].max() > 40
    single = torch.zeros(1, 4, 5, dtype=torch.bool)
    single[0, 3, 2] = True
    assert masks_to_boxes(single).tolist() == [[2, 3, 2, 3]]


def test_iou_is_that_of_a_loop_and_of_pycocotools():
    one, other = some_masks(9, 2), some_masks(7, 3).to(torch.uint8) * 255
    one[4] = other[5] = 0  # two empty ones share nothing, and divide by nothing
    iou = mask_iou(one, other)
    for i, mine in enumerate(one):
        for j, real in enumerate(other > 0):
            shared, either = (mine & real).sum().item(), (mine | real).sum().item()
            assert iou[i, j].item() == pytest.approx(shared / either if either else 0, abs=1e-6)
    by_coco = coco_mask.iou(encode_masks(one), encode_masks(other), [0] * 7)
    torch.testing.assert_close(iou.double(), torch.from_numpy(by_coco), rtol=0, atol=1e-6)
    assert (iou > 0.05).sum() > 5 and iou[4, 5] == 0
    torch.testing.assert_close(mask_iou(one[:4], one[:4]).diagonal(), torch.ones(4))


@pytest.mark.parametrize("size", [7, 28])
def test_cut_masks_equal_torchvisions(size):
    masks, boxes = some_masks(6), boxes_beyond_the_border(60)
    things = torch.arange(60) % 6
    expected = roi_heads.project_masks_on_boxes(masks, boxes, things, size)
    cut = project_masks_on_boxes(masks, boxes, things, size)
    assert torch.equal(cut, expected) and 0.1 < expected.mean() < 0.9


def test_a_cell_for_each_pixel_cuts_out_the_pixels_if_aligned():
    masks = some_masks(3, 4)
    boxes = torch.tensor([[20.0, 10, 36, 26], [0, 0, 16, 16], [WIDTH - 16, HEIGHT - 16, WIDTH, HEIGHT]])
    for thing in range(3):
        cut = project_masks_on_boxes(masks, boxes, torch.full((3,), thing), 16, aligned=True)
        for mine, (left, top, right, bottom) in zip(cut, boxes.long().tolist(), strict=True):
            assert torch.equal(mine, masks[thing, top:bottom, left:right].float())
    half_a_pixel_off = project_masks_on_boxes(masks, boxes[:1], torch.tensor([1]), 16)
    quarters = torch.nn.functional.avg_pool2d(masks[1:2, 10:27, 20:37].float()[None], 2, 1)[0]  # (1, 16, 16)
    torch.testing.assert_close(half_a_pixel_off, quarters)


def test_pasted_masks_equal_torchvisions():
    boxes = boxes_beyond_the_border(60)
    masks = torch.rand(60, 28, 28, generator=torch.Generator().manual_seed(2))
    expected = roi_heads.paste_masks_in_image(masks[:, None], boxes, (HEIGHT, WIDTH))[:, 0]
    pasted = paste_masks_in_image(masks, boxes, (HEIGHT, WIDTH))
    assert torch.equal(pasted, expected) and expected.flatten(1).any(1).sum() > 50
    expected = roi_heads.paste_masks_in_image(masks[:, None], boxes, (HEIGHT, WIDTH), padding=3)[:, 0]
    assert torch.equal(paste_masks_in_image(masks, boxes, (HEIGHT, WIDTH), padding=3), expected)


@pytest.mark.parametrize("aligned", [False, True])
def test_a_mask_off_the_picture_leaves_no_trace(aligned):
    off = torch.tensor([[-30.0, 5, -10, 20], [80, 5, 99, 20], [5, -30, 20, -10], [5, 60, 20, 80], [30, 30, 30, 30]])
    pasted = paste_masks_in_image(torch.ones(5, 8, 8), off, (HEIGHT, WIDTH), aligned=aligned)
    assert pasted.shape == (5, HEIGHT, WIDTH) and not pasted[:4].any() and not pasted.isnan().any()
    assert pasted[4].count_nonzero() <= 1, "a box without an area"


def read_by_loop(mask, box, height, width):
    """Bilinear reading at the middle of each pixel, cell by cell."""
    size, (left, top, right, bottom) = len(mask), box
    result = torch.zeros(height, width)
    for row in range(height):
        for column in range(width):
            x, y = column + 0.5, row + 0.5
            if not (left <= x <= right and top <= y <= bottom):
                continue
            u = min(max((x - left) / (right - left) * size - 0.5, 0), size - 1)
            v = min(max((y - top) / (bottom - top) * size - 0.5, 0), size - 1)
            i, j = min(int(v), size - 2), min(int(u), size - 2)
            across, down = u - j, v - i
            above = mask[i, j] * (1 - across) + mask[i, j + 1] * across
            below = mask[i + 1, j] * (1 - across) + mask[i + 1, j + 1] * across
            result[row, column] = above * (1 - down) + below * down
    return result


def test_aligned_pasting_is_that_of_a_loop_over_pixels():
    boxes = torch.tensor([[3.3, 2.2, 15.9, 11.1], [-4.2, -3, 9.7, 30.3], [10.6, 9.1, 11.7, 9.9], [0, 0, 20, 18]])
    masks = torch.rand(4, 6, 6, generator=torch.Generator().manual_seed(0))
    pasted = paste_masks_in_image(masks, boxes, (18, 20), aligned=True)
    for mine, mask, box in zip(pasted, masks, boxes.tolist(), strict=True):
        torch.testing.assert_close(mine, read_by_loop(mask, box, 18, 20), rtol=0, atol=1e-5)
        assert mine.any()


@pytest.mark.parametrize("x, y", [(50, 50), (50.5, 49.5), (47.3, 52.8)])
@pytest.mark.parametrize("radius", [12, 20, 40])
def test_what_is_cut_and_pasted_aligned_is_the_disc_again(x, y, radius):
    mask = disc(x, y, radius)
    boxes = edges_of(mask)
    small = project_masks_on_boxes(mask[None], boxes, torch.tensor([0]), 28, aligned=True)
    pasted = paste_masks_in_image(small, boxes, mask.shape, aligned=True) > 0.5
    assert mask_iou(mask[None], pasted).item() > 0.98


@pytest.mark.parametrize("rectangle", [(20, 10, 60, 50), (0, 0, 120, 100), (33, 41, 64, 58)])
def test_what_is_cut_and_pasted_aligned_is_the_rectangle_again(rectangle):
    left, top, right, bottom = rectangle
    mask = torch.zeros(1, 100, 120, dtype=torch.bool)
    mask[:, top:bottom, left:right] = True
    for margin in (0, 3.7):  # a region that is the thing's box, and a larger one
        boxes = torch.tensor([rectangle]).float() + margin * torch.tensor([-1, -1, 1, 1])
        small = project_masks_on_boxes(mask, boxes, torch.tensor([0]), 28, aligned=True)
        assert mask_iou(mask, paste_masks_in_image(small, boxes, (100, 120), aligned=True) > 0.5).item() > 0.95
        if not margin:
            assert torch.equal(paste_masks_in_image(small, boxes, (100, 120), aligned=True) > 0.5, mask)


def test_rounding_moves_a_small_mask():
    """Why there is `aligned`: a disc of 12 pixels comes back worse by torchvision's rules."""
    mask = disc(50, 50, 6)
    ious = {}
    for aligned in (False, True):
        boxes = edges_of(mask)
        small = project_masks_on_boxes(mask[None], boxes, torch.tensor([0]), 28, aligned=aligned)
        pasted = paste_masks_in_image(small, boxes, mask.shape, aligned=aligned) > 0.5
        ious[aligned] = mask_iou(mask[None], pasted).item()
    assert ious[True] > ious[False] + 0.03


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_codes_go_both_ways_and_are_pycocotools(dtype):
    masks = some_masks(5, 7)
    masks[3] = False
    codes = encode_masks(masks.to(dtype))
    assert all(code["size"] == [HEIGHT, WIDTH] and isinstance(code["counts"], bytes) for code in codes)
    assert coco_mask.area(codes).tolist() == masks.sum((1, 2)).tolist()
    for code, mask in zip(codes, masks, strict=True):
        assert np.array_equal(coco_mask.decode(code), mask.numpy())
    decoded = decode_masks(codes, (HEIGHT, WIDTH))
    assert decoded.dtype == torch.bool and torch.equal(decoded, masks)


def test_nothing_in_nothing_out():
    none, no_boxes, no_places = torch.zeros(0, 6, 9), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    assert masks_to_boxes(none).shape == (0, 4)
    assert mask_iou(none, some_masks(2, height=6, width=9)).shape == (0, 2)
    assert mask_iou(some_masks(2, height=6, width=9), none).shape == (2, 0)
    for things in (none, some_masks(2, height=6, width=9)):
        for aligned in (False, True):
            assert project_masks_on_boxes(things, no_boxes, no_places, 14, aligned).shape == (0, 14, 14)
    for aligned in (False, True):
        assert paste_masks_in_image(torch.zeros(0, 14, 14), no_boxes, (6, 9), aligned=aligned).shape == (0, 6, 9)
    assert encode_masks(none) == [] and decode_masks([], (6, 9)).shape == (0, 6, 9)
    assert decode_masks([], (6, 9)).dtype == torch.bool


def test_paste_into_the_whole_picture_is_enlarging():
    grids = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    pasted, inside = paste_in_boxes(grids, torch.tensor([[0.0, 0, 24, 16]]), (16, 24))
    torch.testing.assert_close(pasted, F.interpolate(grids, (16, 24), mode="bilinear"))
    assert inside.all()


MASKS, BOXES = torch.ones(2, 6, 9), torch.tensor([[0.0, 0, 4, 4]] * 2)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: masks_to_boxes(MASKS[0]), r"masks is \(6, 9\); expected \(N, H, W\)"),
        (lambda: masks_to_boxes(MASKS * torch.tensor([1.0, 0])[:, None, None]), "masks has an empty mask"),
        (lambda: mask_iou(MASKS[0], MASKS), "masks1 is "),
        (lambda: mask_iou(MASKS, MASKS[None]), "masks2 is "),
        (lambda: mask_iou(MASKS, MASKS[:, :5]), r"masks2 is \(2, 5, 9\); expected \(M, 6, 9\)"),
        (lambda: project_masks_on_boxes(MASKS[0], BOXES, torch.tensor([0, 1]), 4), "gt_masks is "),
        (lambda: project_masks_on_boxes(MASKS, BOXES[:, :3], torch.tensor([0, 1]), 4), "boxes "),
        (
            lambda: project_masks_on_boxes(MASKS, BOXES, torch.tensor([0]), 4),
            r"matched_idxs is \(1,\); expected \(2,\)",
        ),
        (lambda: paste_masks_in_image(MASKS[:, :, 0], BOXES, (9, 9)), "masks is "),
        (lambda: paste_masks_in_image(MASKS, BOXES, (9, 9)), r"masks is \(2, 6, 9\); expected \(2, M, M\)"),
        (lambda: paste_masks_in_image(MASKS[:1, :, :6], BOXES, (9, 9)), r"masks is \(1, 6, 6\); expected \(2, M, M\)"),
        (lambda: paste_masks_in_image(MASKS[:, :, :6], BOXES[:, :2], (9, 9)), "boxes "),
        (lambda: paste_in_boxes(MASKS[:1, None], BOXES, (4, 4)), "maps is "),
        (lambda: paste_in_boxes(MASKS[:, None], BOXES[:, :3], (4, 4)), "boxes "),
        (lambda: encode_masks(MASKS[0]), "masks is "),
        (lambda: decode_masks(encode_masks(MASKS), (9, 6)), r"codes has a mask of size \(6, 9\); expected \(9, 6\)"),
        (lambda: check_masks("masks", [1]), r"masks is \[1\]; expected"),
        (lambda: check_masks("masks", torch.zeros(2, 0, 3)), r"masks is \(2, 0, 3\); expected"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        call()
