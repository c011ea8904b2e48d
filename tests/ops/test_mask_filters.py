"""SAM's filters of masks: equal to the official package and to loops, worked cases, bad input."""

import sys

import pytest
import torch
from segment_anything.utils import amg
from torchvision.ops import nms

from lib.ops.mask_filters import mask_nms, near_inner_border, point_grid, remove_small_regions, stability_score
from tests.ops.flood_fill import OpenCV, flood_fill


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(text):
    """A mask from a drawing: # is inside."""
    return torch.tensor([[sign == "#" for sign in line] for line in text.split()])


# ------------------------------------------------------------------------------------------------ points


@pytest.mark.parametrize("n", [1, 2, 7, 32])
def test_a_grid_equals_the_official_one(n):
    grid = point_grid(n)
    assert grid.shape == (n * n, 2) and grid.dtype == torch.float32
    torch.testing.assert_close(grid, torch.from_numpy(amg.build_point_grid(n)).float(), rtol=0, atol=1e-6)


def test_points_are_the_middles_of_cells_row_by_row():
    assert point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


# ------------------------------------------------------------------------------------------------ stability


@pytest.mark.parametrize("threshold", [0.0, 0.4])
@pytest.mark.parametrize("offset", [0.0, 0.3, 1.0])
def test_stability_equals_the_official_one(threshold, offset):
    logits = 2 * noise(6, 20, 30) + torch.linspace(-2, 2, 6)[:, None, None]
    scores = stability_score(logits, threshold, offset)
    assert scores.shape == (6,) and (len(scores.unique()) == 6 or offset == 0)
    assert torch.equal(scores, amg.calculate_stability_score(logits, threshold, offset))
    assert torch.equal(stability_score(logits.view(2, 3, 20, 30), threshold, offset), scores.view(2, 3))


def test_stability_by_hand():
    logits = torch.tensor([[[-3.0, -0.5, 0.5, 3.0]], [[-3.0, -2, 2, 3]], [[-3.0, -3, -3, -3]]])
    assert stability_score(logits).tolist() == [pytest.approx(1 / 3), 1, 0]
    assert torch.equal(stability_score(logits, offset=0), torch.tensor([1.0, 1, 0]))
    assert stability_score(torch.tensor([[1.0, -1]])).item() == 0, "above a threshold is not at it"
    assert stability_score(torch.zeros(0, 3, 4)).shape == (0,)


# ------------------------------------------------------------------------------------------------ crops


@pytest.mark.parametrize("crop", [(0, 0, 100, 80), (40, 0, 100, 60), (20, 15, 80, 60), (0, 0, 60, 80)])
@pytest.mark.parametrize("within", [0.0, 4.0, 20.0])
def test_what_is_cut_off_equals_the_official_rule(crop, within):
    """In the official function boxes are in pixels of the crop."""
    size = torch.tensor([crop[2] - crop[0], crop[3] - crop[1]])
    corners = (torch.rand(300, 2, 2, generator=torch.Generator().manual_seed(1)) * (size + 1)).floor().sort(1).values
    inside = corners.flatten(1)  # (300, 4)
    expected = amg.is_box_near_crop_edge(inside, list(crop), [0, 0, 100, 80], within)
    here = torch.tensor(crop).float().expand(300, 4)
    cut = near_inner_border(inside + here[:, [0, 1, 0, 1]], here, (80, 100), within)
    assert torch.equal(cut, expected)
    assert not cut.all() and cut.any() == (crop != (0, 0, 100, 80)), "the whole picture cuts nothing off"


def test_each_box_has_a_crop_of_its_own():
    boxes = torch.tensor([[30.0, 10, 49, 20]]).repeat(3, 1)
    crops = torch.tensor([[0.0, 0, 50, 80], [0, 0, 70, 80], [28, 0, 100, 80]])
    assert near_inner_border(boxes, crops, (80, 100), 2).tolist() == [True, False, True]
    assert near_inner_border(boxes[:0], crops[:0], (80, 100)).shape == (0,)


# ------------------------------------------------------------------------------------------------ duplicates


def test_rectangles_are_thinned_out_as_their_boxes():
    generator = torch.Generator().manual_seed(2)
    start = torch.randint(0, 12, (80, 2), generator=generator)
    boxes = torch.cat([start, start + torch.randint(6, 12, (80, 2), generator=generator)], dim=1).float()
    rows, columns = torch.arange(24)[:, None], torch.arange(24)
    masks = torch.stack([(columns >= a) & (rows >= b) & (columns < c) & (rows < d) for a, b, c, d in boxes])
    scores = torch.rand(80, generator=generator).mul(10).round()  # many are equal
    kept = mask_nms(masks, scores, 0.45)
    assert 5 < len(kept) < 60 and torch.equal(kept, nms(boxes, scores, 0.45))


def test_masks_count_and_not_boxes():
    corners = torch.stack([drawn("###. #... #... ...."), drawn("...# ...# ...# ####"), drawn("###. ##.. #... ....")])
    assert mask_nms(corners, torch.tensor([0.1, 0.2, 0.3]), 0.5).tolist() == [2, 1]
    assert mask_nms(corners, torch.tensor([0.1, 0.2, 0.3]), 5 / 6).tolist() == [2, 1, 0], "as much as allowed"
    assert mask_nms(corners[:0], torch.zeros(0), 0.5).shape == (0,)


# ------------------------------------------------------------------------------------------------ small regions


def by_loop(mask, area, mode):
    cleaned, numbers = mask.clone(), flood_fill(mask if mode == "islands" else ~mask)
    regions = [numbers == number for number in range(1, int(numbers.max()) + 1)]
    small = [one for one in regions if one.sum() < area]
    largest = max(regions, key=torch.sum, default=None)
    for region in small:
        if mode == "holes" or region is not largest or len(small) < len(regions):
            cleaned[region] = mode == "holes"
    return cleaned, bool(small)


@pytest.mark.parametrize("mode", ["holes", "islands"])
@pytest.mark.parametrize("area", [0, 2, 5, 12, 1000])
def test_small_regions_against_a_loop_and_the_official_function(mode, area, monkeypatch):
    """OpenCV, which the official function asks for regions, is replaced by the loop."""
    monkeypatch.setitem(sys.modules, "cv2", OpenCV)
    touched, partly = 0, 0
    for seed in range(20):
        mask = noise(13, 17, seed=seed) > (0.7 if mode == "islands" else -0.7)
        cleaned, changed = remove_small_regions(mask, area, mode)
        expected, expected_change = by_loop(mask, area, mode)
        assert torch.equal(cleaned, expected) and changed is expected_change
        theirs, their_change = amg.remove_small_regions(mask.numpy(), area, mode)
        assert torch.equal(cleaned, torch.from_numpy(theirs)) and changed == their_change
        touched += int((cleaned != mask).any())
        partly += int((cleaned != mask).any() and cleaned.any() and not cleaned.all())
    assert touched == 0 if area == 0 else touched > 0
    assert partly > 0 or area in (0, 1000), "small regions go where others stay"


def test_the_loop_that_finds_regions_by_hand():
    found = flood_fill(drawn("##..# ...#. .#... ....#"))
    assert found.tolist() == [[1, 1, 0, 0, 2], [0, 0, 0, 2, 0], [0, 3, 0, 0, 0], [0, 0, 0, 0, 4]]


def test_small_regions_by_hand():
    mask = drawn("###...# #.#.... ###..## ......#")
    filled, changed = remove_small_regions(mask, 2, "holes")
    assert changed and torch.equal(filled, drawn("###...# ###.... ###..## ......#"))
    lonely, changed = remove_small_regions(mask, 3, "islands")
    assert changed and torch.equal(lonely, drawn("###.... #.#.... ###..## ......#"))
    assert remove_small_regions(mask, 1, "islands")[1] is False
    assert torch.equal(mask, drawn("###...# #.#.... ###..## ......#")), "what was given stays as it was"


def test_corners_connect():
    steps = drawn("#... .#.. ..#. ...#")
    assert remove_small_regions(steps, 4, "islands")[1] is False
    assert torch.equal(remove_small_regions(~steps, 5, "holes")[0], torch.ones(4, 4, dtype=torch.bool))


def test_the_largest_of_small_islands_stays_the_first_of_several():
    kept, changed = remove_small_regions(drawn("#..## ..... ##..#"), 50, "islands")
    assert changed and torch.equal(kept, drawn("...## ..... ....."))
    nothing, everything = torch.zeros(3, 4, dtype=torch.bool), torch.ones(3, 4, dtype=torch.bool)
    assert not remove_small_regions(nothing, 50, "islands")[1] and not remove_small_regions(everything, 50, "holes")[1]
    assert remove_small_regions(nothing, 50, "holes")[0].all(), "background that is small is a hole"


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: point_grid(0), "n"),
        (lambda: stability_score(noise(2, 3, 4), offset=-1), "offset"),
        (lambda: near_inner_border(torch.zeros(4), torch.zeros(4), (8, 8)), "boxes"),
        (lambda: near_inner_border(torch.zeros(2, 4), torch.zeros(4), (8, 8)), "crop_boxes"),
        (lambda: mask_nms(torch.zeros(3, 4), torch.zeros(3), 0.5), "masks1"),
        (lambda: mask_nms(torch.zeros(3, 4, 4), torch.zeros(2), 0.5), "scores"),
        (lambda: remove_small_regions(torch.zeros(1, 3, 4).bool(), 5, "holes"), "mask"),
        (lambda: remove_small_regions(torch.zeros(3, 4), 5, "holes"), "mask"),
        (lambda: remove_small_regions(torch.zeros(3, 4).bool(), 5, "hole"), "mode"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
