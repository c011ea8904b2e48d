"""Panoptic quality against a reference that follows the definition with loops over segments, and by hand."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lib.ops.panoptic_metrics import (
    depth_aware_video_panoptic_quality,
    panoptic_quality,
    shared_pixels,
    video_panoptic_quality,
)

SHARED = Path(os.environ.get("COURSE_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
COCO_MINI = SHARED / "coco_mini"
THINGS, STUFF = {3, 4, 7}, {1, 2}


# ---------------------------------------------------------------------------------------- the reference


def by_definition(predictions, truths, things, stuff):
    """Kirillov et al. 2019, section 4, one pair of masks after the other."""
    found = {label: {"iou": 0.0, "tp": 0, "fp": 0, "fn": 0} for label in things | stuff}
    for (predicted, segments), (true, true_segments) in zip(predictions, truths):
        void = true == 0
        mine = [(each["label"], predicted == each["id"]) for each in segments if (predicted == each["id"]).any()]
        real = [(each, true == each["id"]) for each in true_segments if (true == each["id"]).any()]
        with_partner = set()
        for each, mask in (pair for pair in real if not pair[0].get("iscrowd")):
            partners = []
            for place, (label, guess) in enumerate(mine):
                union = (mask | guess & ~void).sum().item()
                iou = (mask & guess).sum().item() / union
                if label == each["label"] and iou > 0.5:
                    partners.append((place, iou))
            assert len(partners) <= 1, "theorem 1"
            if partners:
                found[each["label"]]["tp"] += 1
                found[each["label"]]["iou"] += partners[0][1]
                with_partner.add(partners[0][0])
            else:
                found[each["label"]]["fn"] += 1
        for place, (label, guess) in enumerate(mine):
            excused = void.clone()
            for each, mask in real:
                if each.get("iscrowd") and each["label"] == label:
                    excused |= mask
            if place not in with_partner and not (guess & excused).sum().item() / guess.sum().item() > 0.5:
                found[label]["fp"] += 1
    return summary(found, things, stuff)


def summary(found, things, stuff):
    per_class = {}
    for label, n in found.items():
        size = n["tp"] + 0.5 * n["fp"] + 0.5 * n["fn"]
        scores = (n["iou"] / size, n["iou"] / max(n["tp"], 1), n["tp"] / size) if size else 3 * (math.nan,)
        per_class[label] = dict(zip(("PQ", "SQ", "RQ"), scores)) | {
            name.upper(): n[name] for name in ("tp", "fp", "fn")
        }
    result = {}
    for group, labels in (("", things | stuff), ("_things", things), ("_stuff", stuff)):
        for name in ("PQ", "SQ", "RQ"):
            known = [per_class[label][name] for label in labels if not math.isnan(per_class[label][name])]
            result[name + group] = sum(known) / len(known) if known else math.nan
    return result | {"per_class": per_class}


def assert_close(ours, expected):
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, dict):
            assert_close(ours[name], value)
        else:
            assert ours[name] == pytest.approx(value, nan_ok=True, abs=1e-12), name


def assert_same(predictions, truths, things=THINGS, stuff=STUFF):
    result = panoptic_quality(predictions, truths, things, stuff)
    assert_close(result, by_definition(predictions, truths, things, stuff))
    return result


# ----------------------------------------------------------------------------------------- random scenes


def blocks(generator, numbers, size, cells=4):
    """A map (size) of numbers in patches."""
    coarse = numbers[torch.randint(len(numbers), (*size[:-2], cells, cells), generator=generator)]
    rows, columns = (torch.arange(side) * cells // side for side in size[-2:])
    return coarse[..., rows[:, None], columns]


def scene(seed, size=(13, 17), noise=0.15, crowds=0.3):
    """A truth with void and crowds, and a prediction made of it: numbered anew, shaken, classes mistaken."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=generator)

    classes = sorted(THINGS | STUFF)
    numbers = torch.randperm(900, generator=generator)[:7] + 1
    true = blocks(generator, torch.cat([numbers, numbers[:4], torch.zeros(2, dtype=torch.int64)]), size)
    labels = [classes[int(place)] for place in torch.randint(len(classes), (7,), generator=generator)]
    truth = [
        {"id": number, "label": label, "iscrowd": bool(rand(1) < crowds) and label in THINGS}
        for number, label in zip(numbers.tolist(), labels)
    ]
    others = torch.randperm(900, generator=generator)[:9] + 1  # two more than there are
    anew = torch.zeros(901, dtype=torch.int64)
    anew[numbers] = others[:7]
    predicted = anew[true]
    predicted = torch.where(true == 0, others[torch.randint(9, size, generator=generator)], predicted)
    where = rand(*size) < noise
    predicted = torch.where(
        where, blocks(generator, torch.cat([others, torch.zeros(2, dtype=torch.int64)]), size), predicted
    )
    guessed = [label if rand(1) < 0.8 else classes[int(rand(1) * 5)] for label in [*labels, classes[0], classes[4]]]
    return (predicted, [{"id": i, "label": k} for i, k in zip(others.tolist(), guessed)]), (true, truth)


def several(seeds, **options):
    predictions, truths = zip(*(scene(seed, **options) for seed in seeds))
    return list(predictions), list(truths)


@pytest.mark.parametrize("noise", [0.0, 0.15, 0.4, 0.8])
@pytest.mark.parametrize("crowds", [0.0, 0.6])
@pytest.mark.parametrize("seed", range(5))
def test_equal_to_the_definition(seed, noise, crowds):
    assert_same(*several(range(10 * seed, 10 * seed + 6), noise=noise, crowds=crowds))


def test_equal_on_tiny_maps_where_an_iou_is_a_half():
    for seed in range(60):
        assert_same(*several([seed, seed + 1000], size=(2, 3), noise=0.5))


def test_the_scenes_have_what_can_happen():
    result = panoptic_quality(*several(range(30)), THINGS, STUFF)
    assert all(0.1 < result[name] < 0.95 for name in ("PQ", "RQ", "SQ", "PQ_things", "PQ_stuff"))
    assert all(min(each["TP"], each["FP"], each["FN"]) > 2 for each in result["per_class"].values())
    predictions, truths = several(range(30), crowds=0.6)
    without = [(true, [each | {"iscrowd": False} for each in segments]) for true, segments in truths]
    counted, expected = (panoptic_quality(predictions, each, THINGS, STUFF)["per_class"] for each in (truths, without))
    assert sum(each["FN"] for each in counted.values()) < sum(each["FN"] for each in expected.values())


@pytest.mark.parametrize("seed", range(3))
def test_the_names_of_segments_do_not_matter_and_nor_does_the_order(seed):
    (predicted, segments), truth = scene(seed)
    renamed = (predicted * 7, [each | {"id": each["id"] * 7} for each in reversed(segments)])
    expected = panoptic_quality([(predicted, segments)], [truth], THINGS, STUFF)
    assert_close(panoptic_quality([(renamed[0].int(), renamed[1])], [truth], THINGS, STUFF), expected)


def test_perfect_is_one():
    _, truths = several(range(8), crowds=0.0)
    result = panoptic_quality(truths, truths, THINGS, STUFF)
    assert all(result[name + group] == 1 for name in ("PQ", "SQ", "RQ") for group in ("", "_things", "_stuff"))


def coco_scene(annotation, generator):
    """A true map of COCO, and a prediction: moved, numbered anew, some classes mistaken. Every third row and column."""
    path = next((COCO_MINI / "annotations").glob("panoptic*/")) / annotation["file_name"]
    red, green, blue = np.asarray(Image.open(path).convert("RGB"), dtype=np.int64)[::3, ::3].transpose(2, 0, 1)
    true = torch.from_numpy(red + 256 * green + 65536 * blue)
    truth = [
        {"id": each["id"], "label": each["category_id"], "iscrowd": bool(each["iscrowd"])}
        for each in annotation["segments_info"]
    ]
    predicted = true.roll(torch.randint(-4, 5, (2,), generator=generator).tolist(), (0, 1))
    predicted = torch.where(predicted == 0, predicted.flip(1), predicted)  # says something where nobody labelled
    labels = [each["label"] for each in truth]
    wrong = torch.rand(len(labels), generator=generator) < 0.15
    guesses = [labels[0] if mistaken else label for label, mistaken in zip(labels, wrong.tolist())]
    return (predicted, [{"id": each["id"], "label": label} for each, label in zip(truth, guesses)]), (true, truth)


@pytest.mark.skipif(not COCO_MINI.is_dir(), reason=f"no COCO pictures in {COCO_MINI}; see data/README.md")
def test_equal_on_real_coco_annotations():
    path = next((COCO_MINI / "annotations").glob("panoptic*.json"))
    coco = json.loads(path.read_text(encoding="utf-8"))
    generator = torch.Generator().manual_seed(0)
    pairs = [coco_scene(each, generator) for each in coco["annotations"]]
    predictions, truths = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    things = {each["id"] for each in coco["categories"] if each["isthing"]}
    stuff = {each["id"] for each in coco["categories"]} - things
    assert any(each["iscrowd"] for _, segments in truths for each in segments)
    result = assert_same(predictions, truths, things, stuff)
    assert 0.2 < result["PQ"] < 0.8 and len(result["per_class"]) == 133
    assert panoptic_quality(truths, truths, things, stuff)["PQ"] == 1


# ----------------------------------------------------------------------------------------------- by hand


def row(text, **labels):
    """A map of one row, from letters (. is void), and what the letters are; an upper-case class is a crowd."""
    letters = sorted(set(text) - {"."} | set(labels))
    numbers = [0 if letter == "." else letters.index(letter) + 1 for letter in text]
    segments = [{"id": letters.index(letter) + 1, "label": abs(k), "iscrowd": k < 0} for letter, k in labels.items()]
    return torch.tensor([numbers]), segments


def counted(predicted, true, label=3):
    scores = assert_same([predicted], [true])["per_class"][label]
    return scores["TP"], scores["FP"], scores["FN"], round(scores["SQ"], 4)


def test_an_iou_of_a_half_is_no_pair():
    assert counted(row("aaa..", a=3), row("bbbbb", b=3)) == (1, 0, 0, 0.6)
    assert counted(row("aa..", a=3), row("bbbb", b=3)) == (0, 1, 1, 0)


def test_a_pair_has_one_class():
    result = assert_same([row("aaaa", a=4)], [row("bbbb", b=3)])["per_class"]
    assert result[3]["FN"] == result[4]["FP"] == 1 and result[3]["PQ"] == result[4]["PQ"] == 0


def test_void_is_taken_out_of_the_union():
    assert counted(row("aaaaaa", a=3), row("bb....", b=3)) == (1, 0, 0, 1)
    assert counted(row("aaaaaa", a=3), row("bbcccc", b=3, c=4)) == (0, 1, 1, 0)


def test_what_lies_mostly_in_void_is_not_held_against_it():
    assert counted(row("aaaa", a=3), row("...b", b=4))[:2] == (0, 0)
    assert counted(row("aaaa", a=3), row("..bb", b=4))[:2] == (0, 1), "half is not most"


def test_a_crowd_is_missed_by_nobody_and_excuses_its_own_class():
    assert counted(row("aabb", a=3, b=3), row("cccc", c=-3))[:3] == (0, 0, 0)
    assert counted(row("aaaa", a=3), row("cccc", c=-3))[:3] == (0, 0, 0), "no pair is made with a crowd"
    assert counted(row("aabb", a=3, b=3), row("cccc", c=-4))[:3] == (0, 2, 0)
    assert counted(row("aaaa", a=3), row("cc.d", c=-3, d=4))[:3] == (0, 0, 0), "void and crowd together"
    assert counted(row("aaaa", a=3), row("cedd", c=-3, e=-3, d=4))[:3] == (0, 1, 0)
    assert counted(row("aaaa", a=3), row("ccee", c=-3, e=-3))[:3] == (0, 0, 0), "two crowds of a class"
    assert counted(row("aaa", a=3), row("bbc", b=3, c=-3)) == (1, 0, 0, 0.6667), "a crowd stays in the union"


def test_nothing_predicted():
    result = assert_same([row("....")], [row("bbcc", b=3, c=1)])
    assert result["PQ"] == result["SQ"] == result["RQ_stuff"] == 0 and result["per_class"][1]["FN"] == 1
    assert math.isnan(result["per_class"][7]["PQ"])


def test_all_void():
    result = assert_same([row("aaab", a=3, b=1)], [row("....")])
    assert all(math.isnan(result[name]) for name in ("PQ", "SQ", "RQ", "PQ_things", "RQ_stuff"))
    result = panoptic_quality([], [], THINGS, STUFF)
    assert math.isnan(result["PQ"]) and result["per_class"].keys() == THINGS | STUFF
    assert panoptic_quality([], [], set(), set())["per_class"] == {}


def test_one_pixel():
    assert counted(row("a", a=3), row("b", b=3)) == (1, 0, 0, 1)
    assert counted(row("."), row("b", b=3)) == (0, 0, 1, 0)


def test_a_listed_segment_without_a_pixel_does_not_count():
    assert counted(row("aa", a=3, x=3), row("bb", b=3, y=3)) == (1, 0, 0, 1)


def test_means_are_over_classes():
    """Class 3 has two pairs and a false alarm, class 1 is missed; the other three are not there."""
    result = assert_same([row("aabbcc", a=3, b=3, c=3)], [row("ddeeff", d=3, e=3, f=1)])
    assert result["per_class"][3]["PQ"] == pytest.approx(2 / 2.5) and result["PQ"] == pytest.approx(0.4)
    assert (result["PQ_things"], result["PQ_stuff"], result["SQ"]) == (pytest.approx(0.8), 0, 0.5)


def test_shared_pixels_by_hand():
    one, other = torch.tensor([[0, 5], [5, 5]]), torch.tensor([[2, 0], [2, 2]])
    assert shared_pixels(one, other) == {(0, 2): 1, (5, 0): 1, (5, 2): 2}


# -------------------------------------------------------------------------------------------------- clips


def tubes(clips, frames):
    """All windows of all clips, their frames side by side: a picture each."""
    return [
        (torch.cat(list(maps[start : start + frames]), dim=1), segments)
        for maps, segments in clips
        for start in range(len(maps) - frames + 1)
    ]


def several_clips(seeds, frames=5):
    return several(seeds, size=(frames, 9, 11), noise=0.25)


@pytest.mark.parametrize("seed", range(3))
def test_a_clip_is_as_pictures_side_by_side(seed):
    predictions, truths = several_clips(range(5 * seed, 5 * seed + 3))
    result = video_panoptic_quality(predictions, truths, THINGS, STUFF)
    assert list(result["per_window"]) == [1, 2, 3, 4]
    for frames, ours in result["per_window"].items():
        assert_close(ours, by_definition(tubes(predictions, frames), tubes(truths, frames), THINGS, STUFF))
    for group in ("", "_things", "_stuff"):
        mean = sum(each[f"PQ{group}"] for each in result["per_window"].values()) / 4
        assert result[f"VPQ{group}"] == pytest.approx(mean)
    assert 0.05 < result["VPQ"] < 0.95


def test_windows_of_one_frame_are_pictures():
    predictions, truths = several_clips(range(4))
    frames = [[(frame, segments) for maps, segments in clips for frame in maps] for clips in (predictions, truths)]
    result = video_panoptic_quality(predictions, truths, THINGS, STUFF, windows=[1])
    assert_close(result["per_window"][1], panoptic_quality(*frames, THINGS, STUFF))


def clip(*rows, **labels):
    """A clip of rows as `row` makes them, (T, 1, W)."""
    return torch.stack([row(text, **labels)[0] for text in rows]), row(rows[0], **labels)[1]


def test_a_number_that_changes_breaks_the_tube():
    truth = clip("aa..", "aa..", "aa..", a=3)
    steady, changes = clip("bb..", "bb..", "bb..", b=3, c=3), clip("bb..", "cc..", "cc..", b=3, c=3)
    assert video_panoptic_quality([steady], [truth], {3}, {1}, [1, 3])["VPQ"] == 1
    result = video_panoptic_quality([changes], [truth], {3}, {1}, [1, 2, 3])["per_window"]
    assert result[1]["PQ"] == 1
    assert result[2]["PQ"] == pytest.approx(1 / (1 + 0.5 * 2 + 0.5))  # b, c: halves of a tube; then c: whole
    assert result[3]["PQ"] == pytest.approx(2 / 3 / 1.5)  # c has two thirds, b is a false alarm


def test_edges_of_clips():
    nothing, all_void = clip("..", "..", "..", "..", a=3), clip("..", "..", "..", "..")
    some = clip("aa", "a.", "..", "aa", a=3)
    assert video_panoptic_quality([nothing], [some], THINGS, STUFF)["VPQ"] == 0
    assert math.isnan(video_panoptic_quality([some], [all_void], THINGS, STUFF)["VPQ"])
    assert math.isnan(video_panoptic_quality([], [], THINGS, STUFF)["VPQ_things"])
    assert video_panoptic_quality([some], [some], THINGS, STUFF)["VPQ"] == 1
    one_pixel = (torch.ones(1, 1, 1, dtype=torch.int64), [{"id": 1, "label": 3}])
    assert video_panoptic_quality([one_pixel], [one_pixel], THINGS, STUFF, [1])["VPQ"] == 1
    crowd = clip("aa", "aa", "aa", "aa", a=-3)
    assert math.isnan(video_panoptic_quality([some], [crowd], THINGS, STUFF)["VPQ"])


# -------------------------------------------------------------------------------------------- with depth


def with_depth(seeds):
    predictions, truths = several_clips(seeds)
    generator = torch.Generator().manual_seed(seeds[0])
    true_depths = [60 * torch.rand(maps.shape, generator=generator) + 0.1 for maps, _ in truths]
    for true in true_depths:
        true[:, 0, :3] = math.inf
    depths = [
        true.clamp(max=70) * torch.exp(0.25 * torch.randn(true.shape, generator=generator)) for true in true_depths
    ]
    return predictions, truths, depths, true_depths


@pytest.mark.parametrize("cap", [50.0, math.inf])
def test_depth_aware_equals_loops_over_pixels(cap):
    predictions, truths, depths, true_depths = with_depth(range(3))
    result = depth_aware_video_panoptic_quality(
        predictions, truths, depths, true_depths, THINGS, STUFF, windows=[1, 3], cap=cap
    )
    assert list(result["per_threshold"]) == [0.1, 0.25, 0.5]
    for threshold, ours in result["per_threshold"].items():
        kept = []
        for (maps, segments), depth, true in zip(predictions, depths, true_depths):
            maps = maps.clone()
            for place in np.ndindex(*maps.shape):
                real = true[place].item()
                if real <= cap and real < math.inf and abs(depth[place].item() - real) / real > threshold:
                    maps[place] = 0
            kept.append((maps, segments))
        assert_close(ours, video_panoptic_quality(kept, truths, THINGS, STUFF, [1, 3]))
    scores = [each["VPQ"] for each in result["per_threshold"].values()]
    assert scores[0] < scores[1] < scores[2] and result["DVPQ"] == pytest.approx(sum(scores) / 3)
    assert result["DVPQ_things"] > 0 and result["DVPQ_stuff"] > 0


def test_right_depth_leaves_vpq_and_wrong_depth_leaves_nothing():
    predictions, truths, _, true_depths = with_depth(range(2))
    before = [maps.clone() for maps, _ in predictions]
    video = video_panoptic_quality(predictions, truths, THINGS, STUFF)
    right = depth_aware_video_panoptic_quality(predictions, truths, true_depths, true_depths, THINGS, STUFF)
    assert right["DVPQ"] == pytest.approx(video["VPQ"])
    near = [true.clamp(max=40) for true in true_depths]
    for wrong in ([2 * true for true in near], [true * math.nan for true in near]):
        assert depth_aware_video_panoptic_quality(predictions, truths, wrong, near, THINGS, STUFF)["DVPQ"] == 0
    assert all(torch.equal(maps, copy) for (maps, _), copy in zip(predictions, before)), "the maps were written on"


def test_an_error_of_the_threshold_itself_is_right():
    truth, depth = clip("aa", a=3), torch.tensor([[[4.0, 4.0]]])
    for factor, expected in ((1.25, 1.0), (0.75, 1.0), (1.26, 0.0), (0.74, 0.0)):
        result = depth_aware_video_panoptic_quality([truth], [truth], [factor * depth], [depth], {3}, {1}, [1], [0.25])
        assert result["DVPQ"] == expected
    half = torch.tensor([[[4.0, 9.0]]])
    assert depth_aware_video_panoptic_quality([truth], [truth], [half], [depth], {3}, {1}, [1], [0.25])["DVPQ"] == 0


# ---------------------------------------------------------------------------------------------- bad input

FINE = row("aa", a=3)


@pytest.mark.parametrize(
    "predictions, truths, start",
    [
        ([FINE], [], "predictions has 1 entries; expected as many as truths, 0"),
        ([row("aaa", a=3)], [FINE], r"predictions\[0\] is \(1, 3\); expected \(1, 2\)"),
        ([FINE], [clip("aa", a=3)], r"truths\[0\] has a map \(1, 1, 2\) torch.int64; expected whole numbers \(H, W\)"),
        ([(FINE[0].float(), FINE[1])], [FINE], r"predictions\[0\] has a map \(1, 2\) torch.float32"),
        ([(FINE[0][:0], [])], [FINE], r"predictions\[0\] has a map \(0, 2\)"),
        ([(FINE[0], 2 * FINE[1])], [FINE], r"predictions\[0\] has segments with the ids \[1, 1\]"),
        ([(FINE[0], [{"id": 0, "label": 3}])], [FINE], r"predictions\[0\] has segments with the ids \[0\]"),
        ([FINE], [(FINE[0], [])], r"truths\[0\] has the numbers \[1\] in its map"),
        ([(-FINE[0], FINE[1])], [FINE], r"predictions\[0\] has the numbers \[-1\] in its map"),
        ([row("aa", a=5)], [FINE], r"predictions\[0\] has a segment of class 5; expected one of \[1, 2, 3, 4, 7\]"),
    ],
)
def test_bad_input_is_named(predictions, truths, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        panoptic_quality(predictions, truths, THINGS, STUFF)


def test_other_bad_input_is_named():
    with pytest.raises(ValueError, match=r"^things and stuff share the classes \[3\]"):
        panoptic_quality([], [], {3, 4}, {1, 3})
    two = clip("aa", "aa", a=3)
    for windows in ([], [0, 1], [1, 3]):
        with pytest.raises(ValueError, match=r"^windows is .*; expected lengths of 1\.\.2 frames"):
            video_panoptic_quality([two], [two], THINGS, STUFF, windows)
    with pytest.raises(ValueError, match=r"^truths\[0\] has a map \(1, 2\).*\(T, H, W\)"):
        video_panoptic_quality([two], [FINE], THINGS, STUFF, [1])
    depth = torch.ones(2, 1, 2)
    for depths, true_depths, name in (([], [depth], "depths"), ([depth], [depth[:1]], "true_depths")):
        with pytest.raises(ValueError, match=f"^{name} has the shapes"):
            depth_aware_video_panoptic_quality([two], [two], depths, true_depths, THINGS, STUFF, [1])
    for thresholds in ([], [-0.1], [math.nan]):
        with pytest.raises(ValueError, match="^thresholds is "):
            depth_aware_video_panoptic_quality([two], [two], [depth], [depth], THINGS, STUFF, [1], thresholds)
