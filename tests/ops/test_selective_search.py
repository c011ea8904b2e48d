import math

import pytest
import torch

from lib.ops.boxes import box_iou
from lib.ops.selective_search import (
    Region,
    group_regions,
    merge_regions,
    oversegment,
    proposal_recall,
    region_similarity,
    regions_of,
    selective_search,
    selective_search_small,
    similarity_without_colour,
)


def region(size, box, colour, texture=(1.0, 0.0)):
    return Region(size, box, torch.tensor(colour), torch.tensor(texture))


def flag():
    """Two grey halves, and on the left one a red square with a green corner: (3, 40, 60), and the square's box."""
    image = torch.full((3, 40, 60), 0.2)
    image[:, :, 30:] = 0.8
    image[:, 10:30, 8:24] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    image[:, 10:20, 8:16] = torch.tensor([0.1, 0.9, 0.1])[:, None, None]
    return image, torch.tensor([[8.0, 10.0, 24.0, 30.0]])


def test_similarity_by_hand():
    a = region(4, (0, 0, 2, 2), [0.5, 0.5], [1.0, 0.0])
    b = region(2, (2, 0, 4, 1), [0.25, 0.75], [0.5, 0.5])
    # colour 0.25 + 0.5; texture 0.5; size 1 - 6/20; fill: the box around is 4 × 2, of which 6 are taken
    assert region_similarity(a, b, 20) == pytest.approx(0.75 + 0.5 + (1 - 6 / 20) + (1 - 2 / 20))
    assert region_similarity(a, b, 20) == region_similarity(b, a, 20)
    assert similarity_without_colour(a, b, 20) == pytest.approx(0.5 + (1 - 6 / 20) + (1 - 2 / 20))


def test_a_merged_region_is_the_region_of_all_pixels():
    torch.manual_seed(0)
    image = torch.rand(3, 12, 15)
    patches = torch.zeros(12, 15, dtype=torch.int64)
    patches[:, 6:] = 1
    (left, right), pairs = regions_of(image, patches)
    (whole,), none = regions_of(image, torch.zeros_like(patches))
    merged = merge_regions(left, right)
    assert pairs == [(0, 1)] and none == []
    assert merged[:2] == whole[:2] == (180, (0, 0, 15, 12))
    torch.testing.assert_close(merged.colour, whole.colour)
    torch.testing.assert_close(merged.texture, whole.texture)


def test_regions_know_size_box_and_neighbours():
    patches = torch.tensor([[0, 0, 1, 1], [0, 2, 2, 1], [3, 3, 3, 1]])
    regions, neighbours = regions_of(torch.rand(3, 3, 4), patches)
    assert [one.size for one in regions] == [3, 4, 2, 3]
    assert [one.box for one in regions] == [(0, 0, 2, 2), (2, 0, 4, 3), (1, 1, 3, 2), (0, 2, 3, 3)]
    assert neighbours == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    for one in regions:
        assert one.colour.shape == (75,) and one.texture.shape == (240,)
        assert one.colour.sum().item() == pytest.approx(1) and one.texture.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_patches_may_be_whole_numbers_of_any_type(dtype):
    image, patches = torch.rand(3, 40, 50), (torch.arange(2000) // 100).reshape(40, 50)  # 20 patches
    regions, neighbours = regions_of(image, patches.to(dtype))
    expected, touching = regions_of(image, patches)
    assert len(regions) == 20 and neighbours == touching
    for one, other in zip(regions, expected):
        assert one.box == other.box and torch.equal(one.texture, other.texture)


def test_texture_knows_the_direction_of_stripes():
    stripes = ((torch.arange(24) // 3) % 2).float().expand(3, 24, 24)
    none = torch.zeros(24, 24, dtype=torch.int64)
    (upright,), _ = regions_of(stripes, none)
    (lying,), _ = regions_of(stripes.transpose(1, 2), none)
    assert torch.equal(upright.colour, lying.colour)
    assert torch.minimum(upright.texture, lying.texture).sum() < 0.9


def test_grouping_takes_the_most_similar_neighbours_first():
    corners = [region(1, (x, 0, x + 1, 1), [0.0]) for x in range(4)]
    likes = {(0, 1): 0.1, (1, 2): 0.9, (2, 3): 0.5}

    def similarity(a, b, size):
        assert size == 4
        cells = [range(one.box[0], one.box[2]) for one in sorted((a, b), key=lambda one: one.box)]
        return max(likes.get((x, y), 0) for x in cells[0] for y in cells[1])

    regions, parts = group_regions(corners, list(likes), 4, similarity)
    assert parts == [(1, 2), (3, 4), (0, 5)] and len(regions) == 7
    assert [one.box for one in regions[4:]] == [(1, 0, 3, 1), (1, 0, 4, 1), (0, 0, 4, 1)]
    assert regions[-1].size == 4


def test_regions_that_do_not_touch_are_never_merged():
    regions, parts = group_regions([region(1, (x, 0, x + 1, 1), [1.0]) for x in (0, 1, 5)], [(0, 1)], 6)
    assert parts == [(0, 1)] and len(regions) == 4
    assert group_regions([], [], 6) == ([], [])


def test_the_square_is_among_the_regions_of_the_flag():
    image, square = flag()
    proposals = selective_search(image, scales=(50,), sigma=0.1, min_size=5)
    assert box_iou(proposals, square).max() > 0.9
    assert box_iou(proposals, torch.tensor([[8.0, 10.0, 16.0, 20.0]])).max() > 0.9, "the green corner, too"
    assert box_iou(proposals, torch.tensor([[0.0, 0.0, 60.0, 40.0]])).max() == 1, "and the whole picture"


def test_proposals_are_boxes_in_the_picture_each_once_and_the_same_every_time():
    torch.manual_seed(0)
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 8), (48, 64), mode="bilinear")[0]
    proposals = selective_search(image)
    assert proposals.dtype == torch.float32 and proposals.shape[1] == 4
    assert (proposals[:, :2] < proposals[:, 2:]).all() and (proposals >= 0).all()
    assert (proposals <= torch.tensor([64, 48, 64, 48])).all()
    assert len(proposals.unique(dim=0)) == len(proposals)
    torch.rand(7)
    assert torch.equal(proposals, selective_search(image))
    wide = selective_search(image, min_side=9)
    assert 0 < len(wide) < len(proposals) and (wide[:, 2:] - wide[:, :2]).min() >= 9


def test_more_groupings_bring_more_boxes():
    image, _ = flag()
    counts = [
        len(selective_search(image, min_size=5, **more))
        for more in (
            {"scales": (50,), "spaces": ("rgb",)},
            {"scales": (20, 50), "spaces": ("rgb",)},
            {"scales": (20, 50)},
        )
    ]
    assert counts == sorted(counts) and len(selective_search_small(image)) > 0


def test_patches_are_numbered_from_nothing_and_cover_the_picture():
    image, _ = flag()
    patches = oversegment(image, scale=50, sigma=0.1, min_size=5)
    assert patches.shape == (40, 60) and patches.dtype == torch.int64
    assert patches.unique().tolist() == list(range(4))
    assert oversegment(image, 50, 0.1, 5, "hsv").max() >= 1


def test_recall_rises_with_each_find_and_never_falls():
    truth = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    proposals = torch.tensor([[50.0, 50, 60, 60], [0, 0, 10, 8], [20, 20, 30, 25.5], [0, 0, 10, 10]])
    assert proposal_recall(proposals, truth).tolist() == [0, 0.5, 1, 1]
    assert proposal_recall(proposals, truth, 0.8).tolist() == [0, 0.5, 0.5, 0.5]
    assert proposal_recall(proposals[:0], truth).shape == (0,)
    assert all(math.isnan(share) for share in proposal_recall(proposals, truth[:0]))


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: selective_search(torch.zeros(1, 3, 8, 8)), "image"),
        (lambda: selective_search(torch.zeros(3, 8, 8, dtype=torch.uint8)), "image"),
        (lambda: selective_search(torch.zeros(3, 8, 8), spaces=("cmyk",)), "space"),
        (lambda: regions_of(torch.zeros(3, 8, 8), torch.zeros(8, 9, dtype=torch.int64)), "patches"),
        (lambda: regions_of(torch.zeros(3, 2, 2), torch.tensor([[0, 0], [2, 2]])), "patches"),
        (lambda: group_regions([region(1, (0, 0, 1, 1), [1.0])], [(0, 1)], 1), "neighbours"),
        (lambda: group_regions([region(1, (0, 0, 1, 1), [1.0])], [(0, 0)], 1), "neighbours"),
        (lambda: proposal_recall(torch.zeros(4), torch.zeros(1, 4)), "proposals"),
        (lambda: proposal_recall(torch.zeros(1, 4), torch.zeros(1, 5)), "truth"),
        (lambda: proposal_recall(torch.zeros(1, 4), torch.zeros(1, 4), 0), "iou_threshold"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
