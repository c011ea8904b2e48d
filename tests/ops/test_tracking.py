"""Tracking: assignment, births and deaths, things that vanish and return, maps of clips."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from lib.ops.panoptic import panoptic_inference, panoptic_of_masks
from lib.ops.panoptic_metrics import video_panoptic_quality
from lib.ops.tracking import (
    Tracker,
    clip_panoptic,
    mask_features,
    match_masks,
    match_queries,
    query_features,
    track_segments,
)

E = torch.eye(6)  # six things that have nothing in common


def angles(*degrees):
    turned = torch.tensor(degrees) * math.pi / 180
    return torch.stack([turned.cos(), turned.sin()], dim=1)  # (n, 2)


def strips(*places, width=3, size=12):
    """Masks (n, 1, size): a strip each, beginning at a place."""
    columns = torch.arange(size)
    return torch.stack([(columns >= place) & (columns < place + width) for place in places])[:, None]


# ------------------------------------------------------------------------------------------------ pairs


@pytest.mark.parametrize("seed, n, m", [(0, 4, 4), (1, 3, 5), (2, 5, 3), (3, 1, 4)])
@pytest.mark.parametrize("least", [-1.0, 0.0, 0.4])
def test_no_other_pairing_is_better(seed, n, m, least):
    generator = torch.Generator().manual_seed(seed)
    before, now = torch.randn(n, 3, generator=generator), torch.randn(m, 3, generator=generator)
    allowed = torch.rand(n, m, generator=generator) < 0.7
    pairs = match_queries(before, now, least, allowed)
    cosine = F.cosine_similarity(before[:, None], now[None], dim=2)

    def worth(some):
        return sum(cosine[i, j].item() + 1 for i, j in some if allowed[i, j] and cosine[i, j] >= least)

    places = list(range(m)) + [None] * n
    best = max(
        worth([(i, j) for i, j in enumerate(order) if j is not None])
        for order in set(itertools.permutations(places, n))
    )
    assert worth(pairs.tolist()) == pytest.approx(best, abs=1e-5)
    assert pairs.dtype == torch.int64 and pairs.shape[1] == 2
    assert all(allowed[i, j] and cosine[i, j] >= least for i, j in pairs.tolist())
    assert len(pairs[:, 0].unique()) == len(pairs[:, 1].unique()) == len(pairs)


def test_length_does_not_matter_and_one_gives_way_for_the_sum():
    pairs = match_queries(9 * angles(0, 30), angles(25, 70), 0.0)
    assert pairs.tolist() == [[0, 0], [1, 1]], "0-25 and 30-70 (.91 + .77) beat 30-25 and 0-70 (1.0 + .34)"
    assert match_queries(angles(0), angles(59), 0.5).tolist() == [[0, 0]]
    assert match_queries(angles(0), angles(61), 0.5).tolist() == []


def test_masks_are_paired_by_overlap():
    pairs = match_masks(strips(0, 6), strips(7, 1), least_iou=0.5)
    assert pairs.tolist() == [[0, 1], [1, 0]], "2 of 4 pixels, exactly a half"
    assert match_masks(strips(0, 6), strips(7, 1), least_iou=0.51).tolist() == []
    assert match_masks(strips(0), strips(3), least_iou=0.0).tolist() == [], "no shared pixel, no pair"
    not_these = torch.tensor([[True, False], [True, True]])
    assert match_masks(strips(0, 6), strips(7, 1), 0.0, not_these).tolist() == [[1, 0]]


@pytest.mark.parametrize("n, m", [(0, 0), (0, 2), (2, 0)])
def test_nobody_there(n, m):
    assert match_queries(torch.ones(n, 3), torch.ones(m, 3)).shape == (0, 2)
    assert match_masks(*(torch.ones(one, 4, 5, dtype=torch.bool) for one in (n, m))).shape == (0, 2)


@pytest.mark.parametrize(
    "match, before, now, more, start",
    [
        (match_queries, torch.ones(2), torch.ones(2, 3), (), "before is"),
        (match_queries, torch.ones(2, 3), torch.ones(2, 4), (), r"now is \(2, 4\)"),
        (match_queries, torch.ones(2, 3), torch.ones(2, 3).long(), (), "now is"),
        (match_queries, torch.ones(2, 3), torch.full((2, 3), math.nan), (), "now has features"),
        (match_queries, torch.ones(2, 3), torch.ones(2, 3), (1.5,), "least_similarity is 1.5"),
        (match_queries, torch.ones(2, 3), torch.ones(1, 3), (0.5, torch.ones(1, 2, dtype=torch.bool)), "allowed is"),
        (match_queries, torch.ones(2, 3), torch.ones(1, 3), (0.5, torch.ones(2, 1)), "allowed is"),
        (match_masks, torch.ones(2, 3, 3), torch.ones(2, 3, 3), (), "before is"),
        (match_masks, strips(0), strips(0, size=9), (), "now is"),
        (match_masks, strips(0), strips(0), (-0.1,), "least_iou is -0.1"),
    ],
)
def test_bad_input_is_named(match, before, now, more, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        match(before, now, *more)


# ------------------------------------------------------------------------------------------------ tracks


def follow(tracker, frames, labels=None):
    """Frames as lists of places in E -> the numbers of each."""
    labels = labels or [[0] * len(frame) for frame in frames]
    return [
        tracker.update(E[frame], torch.tensor(of_frame, dtype=torch.int64)).tolist()
        for frame, of_frame in zip(frames, labels, strict=True)
    ]


def test_numbers_last_whatever_the_order_and_births_get_new_ones():
    assert follow(Tracker(), [[0, 1], [1, 0], [2, 0, 1], [], [3, 1]]) == [[1, 2], [2, 1], [3, 1, 2], [], [4, 2]]


@pytest.mark.parametrize("hidden, max_age, back", [(2, 2, 1), (2, 1, 3), (0, 0, 1), (1, 0, 3), (1, 1, 1)])
def test_a_thing_that_was_hidden_comes_back_in_time_or_is_another(hidden, max_age, back):
    tracker = Tracker(max_age=max_age)
    numbers = follow(tracker, [[0, 1], *[[1]] * hidden, [1, 0]])
    assert numbers == [[1, 2], *[[2]] * hidden, [2, back]]
    assert set(tracker.tracks) == {2, back}


def test_a_lost_track_ends():
    tracker = Tracker(max_age=2)
    follow(tracker, [[0], [], []])
    assert list(tracker.tracks) == [1] and tracker.tracks[1].age == 2
    follow(tracker, [[]])
    assert not tracker.tracks
    assert follow(tracker, [[0]]) == [[2]], "its number is not used again"


def test_the_last_feature_counts():
    """By 50° a frame: each step is like enough, the whole way is not."""
    tracker = Tracker(least=0.5)
    assert [tracker.update(angles(a), torch.tensor([0])).item() for a in (0, 50, 100, 150)] == [1, 1, 1, 1]
    assert tracker.update(angles(0), torch.tensor([0])).item() == 2


def test_classes_must_agree_if_wanted():
    frames, labels = [[0, 1], [0, 1]], [[3, 4], [4, 4]]
    assert follow(Tracker(), frames, labels) == [[1, 2], [3, 2]]
    assert follow(Tracker(same_class=False), frames, labels) == [[1, 2], [1, 2]]


def test_masks_have_the_same_interface():
    tracker = Tracker(match_masks, least=0.2, max_age=1)
    both = torch.zeros(2, dtype=torch.int64)
    assert tracker.update(strips(0, 6), both).tolist() == [1, 2]
    assert tracker.update(strips(7, 1), both).tolist() == [2, 1]
    assert tracker.update(strips(8, 5), both).tolist() == [2, 3], "a jump of four is another thing"


def test_a_tracker_names_bad_input():
    with pytest.raises(ValueError, match="^max_age is -1"):
        Tracker(max_age=-1)
    with pytest.raises(ValueError, match=r"^labels is \(3,\); expected \(2,\)"):
        Tracker().update(E[:2], torch.zeros(3, dtype=torch.int64))


# ------------------------------------------------------------------------------------------------ clips

THINGS, STUFF = {1, 2}, {0}


def frame(*masks_and_labels, size=12):
    """Stuff of class 0 behind strips (place, class)."""
    masks = [strips(place)[0] for place, _ in masks_and_labels]
    rest = ~torch.stack([*masks, torch.zeros(1, size, dtype=torch.bool)]).any(dim=0)
    labels = torch.tensor([0, *(label for _, label in masks_and_labels)])
    return panoptic_of_masks(torch.stack([rest, *masks]), labels, THINGS)


def test_a_refused_frame_has_not_passed():
    tracker = Tracker(max_age=0)
    tracker.update(E[:2], torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="^now"):
        tracker.update(E[:2] * math.nan, torch.tensor([1, 1]))
    assert [track.age for track in tracker.tracks.values()] == [0, 0]
    assert tracker.update(E[:2], torch.tensor([1, 1])).tolist() == [1, 2]


def test_a_clip_by_hand():
    frames = [frame((0, 1), (6, 2)), frame((7, 2), (1, 1)), frame((2, 1))]
    numbers = track_segments(frames, [mask_features(one) for one in frames], Tracker(match_masks, 0.2))
    assert [one.tolist() for one in numbers] == [[0, 1, 2], [0, 2, 1], [0, 1]]
    maps, segments = clip_panoptic(frames, numbers)
    assert segments == [
        {"id": 3, "label": 0, "isthing": False},
        {"id": 1, "label": 1, "isthing": True},
        {"id": 2, "label": 2, "isthing": True},
    ]
    assert maps.tolist() == [
        [[1, 1, 1, 3, 3, 3, 2, 2, 2, 3, 3, 3]],
        [[3, 1, 1, 1, 3, 3, 3, 2, 2, 2, 3, 3]],
        [[3, 3, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3]],
    ]
    assert maps.dtype == torch.int64
    assert video_panoptic_quality([(maps, segments)], [(maps, segments)], THINGS, STUFF, (1, 2, 3))["VPQ"] == 1


def test_void_stays_void_and_the_class_is_that_of_most_pixels():
    void = torch.zeros(1, 12, dtype=torch.int64), []
    frames = [frame((0, 1)), void, frame((0, 2)), frame((0, 2))]
    numbers = [torch.tensor([0, 5]), torch.zeros(0, dtype=torch.int64), torch.tensor([0, 5]), torch.tensor([0, 5])]
    maps, segments = clip_panoptic(frames, numbers)
    assert not maps[1].any() and [(one["id"], one["label"]) for one in segments] == [(6, 0), (5, 2)]


def test_the_query_of_a_segment_is_found_again():
    """Queries 1 and 3 are sure, 0 and 2 are not."""
    labels = torch.tensor([3, 1, 3, 2])
    logits = 30 * F.one_hot(labels, 4).float()
    masks = torch.where(strips(0, 0, 6, 6), 9.0, -9.0)
    panoptic = panoptic_inference(logits, masks, THINGS)
    assert [one["query"] for one in panoptic[1]] == [1, 3]
    assert torch.equal(query_features(panoptic, E), E[[1, 3]])
    assert torch.equal(mask_features(panoptic), torch.stack([panoptic[0] == 1, panoptic[0] == 2]))
    assert mask_features(panoptic).sum() == panoptic[0].count_nonzero()
    empty = torch.zeros(2, 3, dtype=torch.int64), []
    assert query_features(empty, E).shape == (0, 6) and mask_features(empty).shape == (0, 2, 3)


def test_clips_name_bad_input():
    one = frame((0, 1))
    with pytest.raises(ValueError, match="^panoptic has the segment .*expected its query"):
        query_features(one, E)
    with pytest.raises(ValueError, match="^features has 0 entries; expected one for each of 1 frames"):
        track_segments([one], [], Tracker())
    with pytest.raises(ValueError, match=r"^features\[0\] has 3 rows; expected 2"):
        track_segments([one], [E[:3]], Tracker())
    for frames, numbers in (([], []), ([one], [])):
        with pytest.raises(ValueError, match="^frames has "):
            clip_panoptic(frames, numbers)
    with pytest.raises(ValueError, match=r"^numbers\[0\] is \(1,\); expected \(2,\)"):
        clip_panoptic([one], [torch.zeros(1, dtype=torch.int64)])
