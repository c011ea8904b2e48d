"""The three answers of mask classification: against loops, against transformers, and by hand."""

import pytest
import torch
import torch.nn.functional as F
from transformers.models.maskformer import image_processing_maskformer as theirs

from lib.ops.masks import masks_to_boxes
from lib.ops.panoptic import (
    instance_inference,
    panoptic_inference,
    panoptic_of_classes,
    panoptic_of_masks,
    semantic_inference,
)


def case(seed=0, queries=12, classes=5, size=(9, 11), sure=4.0):
    """Random classes, and masks that share the picture out among them, with quarrels here and there."""
    generator = torch.Generator().manual_seed(seed)
    class_logits = sure * torch.randn(queries, classes + 1, generator=generator)
    owners = torch.randint(queries // 2, (4, 4), generator=generator)  # the later half has no place of its own
    coarse = (
        10.0 * F.one_hot(owners, queries).permute(2, 0, 1) - 6 + 3 * torch.randn(queries, 4, 4, generator=generator)
    )
    return class_logits, F.interpolate(coarse[None], size, mode="bilinear")[0]


def said(*classes, count, sure=12.0):
    """Logits of queries that say these classes with all certainty."""
    return sure * F.one_hot(torch.tensor(classes), count + 1).float()


def drawn(*rows):
    """Masks of one row of pixels each, from strings: # inside, everything else outside."""
    return torch.tensor([[[8.0 if letter == "#" else -8.0 for letter in row]] for row in rows])


# ---------------------------------------------------------------------------------------------- semantic


def test_semantic_equals_a_loop():
    class_logits, mask_logits = case()
    ours = semantic_inference(class_logits, mask_logits)
    probability, mask = class_logits.softmax(1), mask_logits.sigmoid()
    for k in range(5):
        for row, column in ((0, 0), (3, 7), (8, 10)):
            expected = sum(probability[q, k] * mask[q, row, column] for q in range(12))
            torch.testing.assert_close(ours[k, row, column], expected)
    assert ours.shape == (5, 9, 11)


def test_a_query_that_says_nothing_adds_nothing():
    result = semantic_inference(said(2, 1, count=2), drawn("####", "##.."))
    assert result[0].max() < 1e-4 and result[1, 0].round().tolist() == [1, 1, 0, 0]


# ---------------------------------------------------------------------------------------------- instances


def their_instances(class_logits, mask_logits):
    """transformers' answer, as many pairs as queries, by falling score; it leaves empty masks out."""

    class Outputs:
        class_queries_logits, masks_queries_logits = class_logits[None], mask_logits[None]

    processor = theirs.MaskFormerImageProcessor.__new__(theirs.MaskFormerImageProcessor)
    result = processor.post_process_instance_segmentation(Outputs(), threshold=0.0, return_binary_maps=True)[0]
    segments = result["segments_info"]
    order = sorted(range(len(segments)), key=lambda place: -segments[place]["score"])
    masks = [result["segmentation"][place] for place in order]
    return masks, [segments[place]["label_id"] for place in order], [segments[place]["score"] for place in order]


@pytest.mark.parametrize("seed", range(4))
def test_instances_equal_transformers(seed):
    class_logits, mask_logits = case(seed)
    mask_logits[3] = -5  # an empty mask
    ours = instance_inference(class_logits, mask_logits, most=12)
    masks, labels, scores = their_instances(class_logits, mask_logits)
    assert len(labels) > 2
    assert ours["labels"].tolist() == labels and ours["scores"].tolist() == pytest.approx(scores, abs=2e-6)
    assert torch.equal(ours["masks"], torch.stack(masks) > 0)


def test_only_things_are_instances_and_the_best_of_them():
    class_logits, mask_logits = case(1)
    every = instance_inference(class_logits, mask_logits, most=1000)
    things = instance_inference(class_logits, mask_logits, {4, 1}, most=1000)
    kept = (every["labels"] == 1) | (every["labels"] == 4)
    assert 0 < kept.sum() < len(kept)
    for name, value in things.items():
        assert torch.equal(value, every[name][kept])
    assert len(instance_inference(class_logits, mask_logits.abs(), {1}, most=3)["labels"]) == 3
    assert (things["scores"].diff() <= 0).all() and len(masks_to_boxes(things["masks"])) == len(things["masks"])


def test_a_score_by_hand():
    mask_logits = torch.tensor([[[0.9, 0.7, 0.2]]]).logit()
    result = instance_inference(torch.tensor([[0.6, 0.3, 0.1]]).log(), mask_logits)
    assert result["labels"].tolist() == [0, 1] and result["masks"].tolist() == 2 * [[[True, True, False]]]
    torch.testing.assert_close(result["scores"], torch.tensor([0.6 * 0.8, 0.3 * 0.8]))


@pytest.mark.parametrize("things", [None, set()])
def test_without_an_instance(things):
    class_logits, mask_logits = case()
    result = instance_inference(class_logits, mask_logits if things is not None else mask_logits * 0 - 1, things)
    assert result["masks"].shape == (0, 9, 11) and result["masks"].dtype == torch.bool
    assert result["labels"].shape == result["scores"].shape == (0,) and result["labels"].dtype == torch.int64


# ---------------------------------------------------------------------------------------------- panoptic


def by_loops(class_logits, mask_logits, things, sure, share):
    """The rule, pixel by pixel."""
    probability, mask = class_logits.softmax(1), mask_logits.sigmoid()
    nothing = class_logits.shape[1] - 1
    queries = [q for q in range(len(mask)) if probability[q].argmax() != nothing and probability[q].max() > sure]
    height, width = mask.shape[1:]
    owner = {}
    for row in range(height):
        for column in range(width):
            products = [(probability[q].max() * mask[q, row, column]).item() for q in queries]
            if products:
                owner[row, column] = queries[products.index(max(products))]
    panoptic, segments = torch.zeros(height, width, dtype=torch.int64), []
    for q in queries:
        won = [place for place, query in owner.items() if query == q]
        own = sum(mask[q, row, column] >= 0.5 for row in range(height) for column in range(width))
        if not won or own == 0 or len(won) / own < share:
            continue
        label = probability[q].argmax().item()
        same = [each["id"] for each in segments if each["label"] == label and label not in things]
        if not same:
            segments.append({"id": len(segments) + 1, "label": label, "isthing": label in things, "query": q})
        for row, column in won:
            panoptic[row, column] = same[0] if same else len(segments)
    return panoptic, segments


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("things", [set(), {0, 3}, {0, 1, 2, 3, 4}], ids=str)
@pytest.mark.parametrize("sure, share", [(0.8, 0.8), (0.3, 0.5), (0.0, 0.0)])
def test_panoptic_equals_loops(seed, things, sure, share):
    class_logits, mask_logits = case(seed)
    panoptic, segments = panoptic_inference(class_logits, mask_logits, things, sure, share)
    expected, expected_segments = by_loops(class_logits, mask_logits, things, sure, share)
    assert torch.equal(panoptic, expected) and segments == expected_segments and panoptic.dtype == torch.int64
    assert set(panoptic.unique().tolist()) - {0} == {each["id"] for each in segments}


def test_the_cases_have_what_can_happen():
    everything = [panoptic_inference(*case(seed), {0, 3}, 0.3, 0.5) for seed in range(6)]
    stuff = [[each["label"] for each in segments if not each["isthing"]] for _, segments in everything]
    assert all(len(set(labels)) == len(labels) for labels in stuff) and any(stuff)
    assert any(sum(each["label"] in (0, 3) for each in segments) > 2 for _, segments in everything)
    assert any((panoptic == 0).any() for panoptic, _ in everything)


@pytest.mark.parametrize("seed", range(4))
def test_panoptic_of_things_equals_transformers(seed):
    """Where queries are so sure that it does not matter that transformers also weighs the mask's own size by them."""
    _, mask_logits = case(seed)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 6, (12,), generator=generator)
    things = set(range(5))
    panoptic, segments = panoptic_inference(200 * F.one_hot(labels, 6).float(), mask_logits, things)
    kept = labels < 5
    reference, infos = theirs.compute_segments(
        mask_logits[kept].sigmoid(), torch.ones(int(kept.sum())), labels[kept], 0.5, 0.8, set()
    )
    assert torch.equal(panoptic, reference.long()) and len(segments) > 1
    assert [(each["id"], each["label"]) for each in segments] == [(each["id"], each["label_id"]) for each in infos]


def test_stuff_of_one_class_is_one_segment_and_things_are_not():
    class_logits, mask_logits = said(0, 1, 0, 1, count=2), drawn("##......", "..##....", "....##..", "......##")
    panoptic, segments = panoptic_inference(class_logits, mask_logits, things={1})
    assert panoptic.tolist() == [[1, 1, 2, 2, 1, 1, 3, 3]]
    assert segments == [
        {"id": 1, "label": 0, "isthing": False, "query": 0},
        {"id": 2, "label": 1, "isthing": True, "query": 1},
        {"id": 3, "label": 1, "isthing": True, "query": 3},
    ]


def test_a_covered_query_leaves_void():
    mask_logits = drawn("#####.....", ".#########")
    mask_logits[1] += 1  # wins where both are inside
    panoptic, segments = panoptic_inference(said(0, 0, count=1), mask_logits, {0})
    assert panoptic.tolist() == [[0] + 9 * [1]] and len(segments) == 1, "query 0 won 1 of its 5 pixels"
    panoptic, segments = panoptic_inference(said(0, 0, count=1), mask_logits, {0}, overlap_threshold=0.2)
    assert panoptic.tolist() == [[1] + 9 * [2]] and len(segments) == 2


def test_a_query_that_is_not_sure_takes_no_part():
    class_logits = torch.tensor([[0.7, 0.3], [0.9, 0.1], [0.05, 0.95]]).log()
    masks = drawn("####", "##..", "####")
    assert panoptic_inference(class_logits, masks, {0})[0].tolist() == [[1, 1, 1, 1]], "nobody else wants the rest"
    assert panoptic_inference(class_logits[::2], masks[::2], {0})[1] == []
    half = torch.zeros(1, 2), masks[:1], {0}  # a class probability of 1/2 exactly
    assert panoptic_inference(*half, object_mask_threshold=0.5)[1] == []
    assert len(panoptic_inference(*half, object_mask_threshold=0.49)[1]) == 1
    panoptic, segments = panoptic_inference(class_logits, masks, {0}, object_mask_threshold=0.6, overlap_threshold=0.5)
    assert panoptic.tolist() == [[2, 2, 1, 1]] and len(segments) == 2


@pytest.mark.parametrize("size", [(1, 1), (4, 5)])
def test_nobody_sure_or_no_mask_is_all_void(size):
    for class_logits, value in (
        (torch.zeros(3, 4), 9.0),
        (said(3, 3, 3, count=3), 9.0),
        (said(0, 1, 2, count=3), -9.0),
    ):
        panoptic, segments = panoptic_inference(class_logits, torch.full((3, *size), value), {0})
        assert panoptic.shape == size and panoptic.dtype == torch.int64 and not panoptic.any() and segments == []


def test_one_pixel():
    panoptic, segments = panoptic_inference(said(1, count=2), torch.ones(1, 1, 1), {0})
    assert panoptic.tolist() == [[1]] and segments == [{"id": 1, "label": 1, "isthing": False, "query": 0}]


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("function", [semantic_inference, instance_inference, panoptic_inference])
@pytest.mark.parametrize(
    "classes, masks, start",
    [
        ((3,), (3, 4, 5), r"class_logits is \(3,\)"),
        ((2, 3, 4), (3, 4, 5), r"class_logits is \(2, 3, 4\)"),
        ((0, 4), (0, 4, 5), r"class_logits is \(0, 4\)"),
        ((3, 1), (3, 4, 5), r"class_logits is \(3, 1\)"),
        ((3, 4), (2, 4, 5), r"mask_logits is \(2, 4, 5\); expected \(3, H, W\)"),
        ((3, 4), (3, 4), r"mask_logits is \(3, 4\)"),
        ((3, 4), (3, 0, 5), r"mask_logits is \(3, 0, 5\)"),
    ],
)
def test_bad_shapes_are_named(function, classes, masks, start):
    more = (set(),) if function is panoptic_inference else ()
    with pytest.raises(ValueError, match=f"^{start}"):
        function(torch.zeros(classes), torch.zeros(masks), *more)


def test_other_bad_input_is_named():
    class_logits, mask_logits = case()
    for function in (instance_inference, panoptic_inference):
        for things in ({5}, {-1}, {"sky"}):
            with pytest.raises(ValueError, match=r"^things is .*; expected a set of classes of 0\.\.4"):
                function(class_logits, mask_logits, things)
    with pytest.raises(ValueError, match="^most is 0"):
        instance_inference(class_logits, mask_logits, most=0)
    for name in ("object_mask_threshold", "overlap_threshold"):
        for value in (-0.1, 1.1, float("nan")):
            with pytest.raises(ValueError, match=f"^{name} is "):
                panoptic_inference(class_logits, mask_logits, set(), **{name: value})


# ---------------------------------------------------------------------------------------------- from masks


def test_masks_become_segments_in_their_order():
    masks = torch.tensor([[[1, 0, 0], [1, 0, 0]], [[0, 0, 0], [0, 1, 0]], [[0, 0, 0], [0, 0, 0]]]).bool()
    numbers, segments = panoptic_of_masks(masks, torch.tensor([3, 0, 3]), {3})
    assert numbers.tolist() == [[1, 0, 0], [1, 2, 0]] and numbers.dtype == torch.int64
    assert [(one["id"], one["label"], one["isthing"]) for one in segments] == [
        (1, 3, True),
        (2, 0, False),
        (3, 3, True),
    ]
    nothing, none = panoptic_of_masks(masks[:0], torch.zeros(0, dtype=torch.int64), {3})
    assert not nothing.any() and nothing.shape == (2, 3) and none == []


CLASSES = torch.tensor([[2, 2, 0, 2, 1], [0, 0, 0, 2, 1], [2, 0, 1, 1, 2]])


def test_connected_pixels_of_a_class_are_a_thing_and_stuff_is_one_segment():
    numbers, segments = panoptic_of_classes(CLASSES, {2})
    assert [(one["id"], one["label"], one["isthing"]) for one in segments] == [
        *((1, 0, False), (2, 1, False)),
        *((number, 2, True) for number in (3, 4, 5, 6)),
    ]
    assert numbers.tolist() == [[3, 3, 1, 4, 2], [1, 1, 1, 4, 2], [5, 1, 2, 2, 6]]


def test_small_patches_of_things_are_void():
    numbers, segments = panoptic_of_classes(CLASSES, {2}, least=2)
    assert numbers.tolist() == [[3, 3, 1, 4, 2], [1, 1, 1, 4, 2], [0, 1, 2, 2, 0]] and len(segments) == 4
    assert panoptic_of_classes(CLASSES, set(), least=100)[0].unique().tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "masks, labels",
    [
        (torch.ones(1, 2, 2), torch.tensor([0])),
        (torch.ones(2, 2) > 0, torch.tensor([0, 1])),
        (torch.ones(1, 2, 2) > 0, torch.tensor([0, 1])),
        (torch.ones(2, 2, 2) > 0, torch.tensor([0, 1])),
    ],
)
def test_masks_that_are_no_segments_are_named(masks, labels):
    with pytest.raises(ValueError, match="^masks "):
        panoptic_of_masks(masks, labels, set())
