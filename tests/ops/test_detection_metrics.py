"""average_precision against pycocotools, and by hand."""

import contextlib
import io
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lib.ops.detection_metrics import average_precision
from lib.ops.masks import encode_masks

KEYS = (
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR1",
    "AR10",
    "AR100",
    "AR_small",
    "AR_medium",
    "AR_large",
)
SHARED = Path(os.environ.get("COURSE_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
COCO_MINI = SHARED / "coco_mini"


def records(pictures, iou_type):
    """Boxes, or masks, as the annotations of a COCO file."""
    result = []
    for number, picture in enumerate(pictures, 1):
        boxes = picture["boxes"].double()
        sides = boxes[:, 2:] - boxes[:, :2]
        masks = encode_masks(picture["masks"] > 0.5) if iou_type == "segm" else []
        areas = torch.tensor([coco_mask.area(mask) for mask in masks]) if iou_type == "segm" else sides.prod(1)
        areas = picture.get("area", areas).tolist()
        crowds = picture.get("iscrowd", torch.zeros(len(boxes))).tolist()
        for i, (box, side, label) in enumerate(zip(boxes, sides, picture["labels"].tolist())):
            result.append(
                {
                    "id": len(result) + 1,
                    "image_id": number,
                    "category_id": label,
                    "iscrowd": int(crowds[i]),
                    "area": areas[i],
                    "bbox": [*box[:2].tolist(), *side.tolist()],
                }
                | ({"segmentation": masks[i]} if iou_type == "segm" else {})
            )
    return result


def by_pycocotools(predictions, targets, iou_type="bbox"):
    """The twelve numbers and the AP of each class, from the authors' own code; its -1 becomes nan."""
    categories = sorted({label for each in [*predictions, *targets] for label in each["labels"].tolist()})
    truth = records(targets, iou_type)
    found = records(predictions, iou_type)
    for each, score in zip(found, [score for one in predictions for score in one["scores"].tolist()], strict=True):
        each["score"] = score
    sets, segm = [], iou_type == "segm"
    with contextlib.redirect_stdout(io.StringIO()):
        for annotations in (truth, found):
            coco = COCO()
            coco.dataset = {
                "images": [
                    {"id": number + 1} | (dict(zip(("height", "width"), each["masks"].shape[1:])) if segm else {})
                    for number, each in enumerate(targets)
                ],
                "categories": [{"id": label} for label in categories],
                "annotations": annotations,
            }
            coco.createIndex()
            sets.append(coco)
        evaluation = COCOeval(*sets, iouType=iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    result = dict(zip(KEYS, np.where(evaluation.stats == -1, math.nan, evaluation.stats).tolist()))
    per_class = {}
    for place, label in enumerate(categories):
        values = evaluation.eval["precision"][:, :, place, 0, -1]
        per_class[label] = values[values > -1].mean().item() if (values > -1).any() else math.nan
    return result | {"AP_per_class": per_class}


def assert_same(predictions, targets, iou_type="bbox"):
    result = average_precision(predictions, targets, iou_type)
    expected = by_pycocotools(predictions, targets, iou_type)
    assert list(result) == [*KEYS, "AP_per_class"] and all(type(result[key]) is float for key in KEYS)
    for key in KEYS:
        assert result[key] == pytest.approx(expected[key], abs=1e-6, nan_ok=True), key
    assert result["AP_per_class"] == pytest.approx(expected["AP_per_class"], abs=1e-6, nan_ok=True)
    return result


def scenes(seed, pictures=12, most=8, size=300.0, classes=4, noise=0.1, extra=6, ties=False, areas=False, crowds=0.0):
    """Truths, and detections made of them: shaken, some lost, some doubled, some of another class, and junk."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=generator)

    predictions, targets = [], []
    for _ in range(pictures):
        count = int(rand(1) * (most + 1))
        sides = size / 30 * 40 ** rand(count, 2)  # small, medium and large ones
        corners = rand(count, 2) * size
        boxes = torch.cat([corners, corners + sides], 1)
        labels = torch.randint(1, classes + 1, (count,), generator=generator)
        target = {"boxes": boxes, "labels": labels}
        if areas:
            target["area"] = sides.prod(1) * (0.3 + 0.7 * rand(count))
        if crowds:
            target["iscrowd"] = rand(count) < crowds
        targets.append(target)
        source = torch.randint(count, (2 * count,), generator=generator) if count else torch.zeros(0, dtype=torch.int64)
        shaken = boxes[source] + torch.randn(len(source), 4, generator=generator) * noise * sides[source].repeat(1, 2)
        junk = rand(extra, 2) * size
        shaken = torch.cat([shaken, torch.cat([junk, junk + size / 4 * rand(extra, 2)], 1)])
        shaken[:, 2:] = torch.maximum(shaken[:, :2], shaken[:, 2:])  # some lose their area
        guess = torch.cat([labels[source], torch.randint(1, classes + 2, (extra,), generator=generator)])
        other = torch.randint(1, classes + 2, guess.shape, generator=generator)
        guess = torch.where(rand(len(guess)) < 0.85, guess, other)
        scores = rand(len(guess))
        predictions.append({"boxes": shaken, "labels": guess, "scores": (scores * 5).round() / 5 if ties else scores})
    return predictions, targets


KINDS_OF_SCENES = [
    {},
    {"noise": 0.03},
    {"ties": True},
    {"areas": True},
    {"crowds": 0.3},
    {"areas": True, "crowds": 0.5, "ties": True},
]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "options",
    [
        *KINDS_OF_SCENES,
        {"most": 1, "extra": 0},
        {"pictures": 1},
        {"classes": 1},
        {"classes": 30, "pictures": 4},
    ],
    ids=str,
)
def test_equal_to_pycocotools(seed, options):
    assert_same(*scenes(seed, **options))


def test_the_scenes_have_something_to_find():
    for seed in range(6):
        result = average_precision(*scenes(seed))
        assert all(0.05 < result[key] < 0.95 for key in ("AP50", "AR100", "AR_small", "AR_medium", "AR_large"))


@pytest.mark.parametrize("seed", range(3))
def test_equal_with_more_detections_than_count(seed):
    predictions, targets = scenes(seed, pictures=3, classes=1, extra=250, ties=True, crowds=0.2)
    assert max(len(each["scores"]) for each in predictions) > 200
    assert_same(predictions, targets)


@pytest.mark.parametrize("seed", range(3))
def test_equal_where_overlaps_hit_thresholds_and_tie(seed):
    """Small whole numbers: many IoUs are 1/2, 3/5, 3/4 exactly, and several objects overlap a detection alike."""
    generator = torch.Generator().manual_seed(seed)

    def some(count):
        corners = torch.randint(0, 6, (count, 2), generator=generator)
        return torch.cat([corners, corners + torch.randint(0, 7, (count, 2), generator=generator)], 1).float()

    targets = [
        {
            "boxes": some(12),
            "labels": torch.ones(12, dtype=torch.int64),
            "iscrowd": torch.rand(12, generator=generator) < 0.2,
        }
        for _ in range(8)
    ]
    predictions = [
        {
            "boxes": some(40),
            "labels": torch.ones(40, dtype=torch.int64),
            "scores": torch.randint(0, 9, (40,), generator=generator) / 8,
        }
        for _ in range(8)
    ]
    assert assert_same(predictions, targets)["AP"] > 0.01


def with_masks(pictures, height=220, width=300):
    """An ellipse in each box, as far as it is on the picture; detections say how sure they are of each pixel."""
    rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
    result = []
    for picture in pictures:
        left, top, right, bottom = (side[:, None, None] for side in picture["boxes"].unbind(1))
        across = (columns - (left + right) / 2) / ((right - left) / 2).clamp(min=1e-6)  # (N, 1, W)
        down = (rows - (top + bottom) / 2) / ((bottom - top) / 2).clamp(min=1e-6)  # (N, H, 1)
        radius = across**2 + down**2  # (N, H, W), 1 on the rim
        result.append(picture | {"masks": (-radius).exp2() if "scores" in picture else radius < 1})
    return result


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "options",
    KINDS_OF_SCENES,
    ids=str,
)
def test_masks_equal_to_pycocotools(seed, options):
    predictions, targets = scenes(seed, size=180.0, pictures=6, **options)
    result = assert_same(with_masks(predictions), with_masks(targets), "segm")
    assert 0.05 < result["AP50"] < 0.95 and result["AP"] != average_precision(predictions, targets)["AP"]


def test_the_scenes_have_masks_of_all_sizes_to_find():
    predictions, targets = scenes(0, size=180.0)
    result = average_precision(with_masks(predictions), with_masks(targets), "segm")
    assert all(0.05 < result[key] < 0.95 for key in ("AP50", "AR100", "AR_small", "AR_medium", "AR_large"))


@pytest.mark.parametrize("seed", range(3))
def test_masks_equal_where_overlaps_hit_thresholds_and_tie(seed):
    """Five pixels: many IoUs are 1/2, 3/5, 3/4 exactly, several objects overlap a detection alike, some are empty."""
    generator = torch.Generator().manual_seed(seed)

    def some(count, share):
        return {
            "boxes": torch.zeros(count, 4),
            "labels": torch.ones(count, dtype=torch.int64),
            "masks": torch.rand(count, 1, 5, generator=generator) < share,
        }

    targets = [some(12, 0.4) | {"iscrowd": torch.rand(12, generator=generator) < 0.2} for _ in range(8)]
    predictions = [some(40, 0.5) | {"scores": torch.randint(9, (40,), generator=generator) / 8} for _ in range(8)]
    assert not all(target["masks"].any(-1).all() for target in targets)
    assert assert_same(predictions, targets, "segm")["AP"] > 0.01


def test_a_mask_is_judged_and_its_box_is_not():
    masks = torch.zeros(2, 4, 8)
    masks[0, :, :4] = masks[1, :, 2:6] = 1
    truth = one([[0, 0, 4, 4], [2, 0, 6, 4]]) | {"masks": masks > 0}
    found = one([[7, 7, 8, 8], [0, 0, 1, 1]], scores=[0.9, 0.8]) | {"masks": masks * 0.51}
    assert average_precision([found], [truth], "segm")["AP"] == pytest.approx(1)
    assert average_precision([found], [truth])["AP"] == 0
    assert average_precision([found | {"masks": masks * 0.5}], [truth], "segm")["AP"] == 0, "half sure is not yes"


def one(boxes, labels=None, scores=None):
    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    labels = torch.ones(len(boxes), dtype=torch.int64) if labels is None else torch.tensor(labels, dtype=torch.int64)
    return {"boxes": boxes, "labels": labels} | ({} if scores is None else {"scores": torch.tensor(scores)})


def test_equal_in_corners():
    some, none = one([[0, 0, 9, 9]], [3]), one([])
    found, nothing = one([[0, 0, 9, 8]], [2], [0.5]), one([], scores=[])
    for predictions, targets in (
        ([nothing], [some]),
        ([found], [none]),
        ([found, nothing], [some, none]),
        ([nothing, found], [some, none]),
        ([nothing], [none]),
    ):
        assert_same(predictions, targets)
    only_truth = average_precision([nothing], [some])
    assert only_truth["AP"] == only_truth["AR100"] == only_truth["AP_per_class"][3] == 0
    only_found = average_precision([found], [none])
    assert math.isnan(only_found["AP"]) and math.isnan(only_found["AP_per_class"][2])
    assert math.isnan(average_precision([], [])["AP"])


def test_by_hand():
    truth = one([[0, 0, 10, 10], [20, 0, 30, 10]])
    found = one([[0, 0, 10, 10], [50, 0, 60, 10], [20, 0, 30, 6]], scores=[0.9, 0.8, 0.7])  # the last: IoU 0.6
    result = average_precision([found], [truth])
    half = 51 / 101  # recall 0, 0.01 .. 0.50: the first detection is enough
    assert result["AP50"] == pytest.approx(half + 50 / 101 * 2 / 3)
    assert result["AP75"] == pytest.approx(half)
    assert result["AP"] == pytest.approx((3 * (half + 50 / 101 * 2 / 3) + 7 * half) / 10)  # 0.50, 0.55 and 0.60
    assert result["AR1"] == 0.5 and result["AR10"] == result["AR100"] == pytest.approx((3 * 1 + 7 * 0.5) / 10)
    assert result["AP_small"] == result["AP"] and math.isnan(result["AP_large"])


def test_perfect_detections_have_one_and_the_order_of_boxes_does_not_matter():
    _, targets = scenes(0)
    predictions = [{**target, "scores": torch.linspace(1, 0.5, len(target["labels"]))} for target in targets]
    assert average_precision(predictions, targets)["AP"] == pytest.approx(1)
    predictions, targets = scenes(1)
    turned = [{name: value.flip(0) for name, value in each.items()} for each in predictions]
    assert average_precision(turned, targets) == average_precision(predictions, targets)


def test_scores_may_be_stretched_but_not_reordered():
    predictions, targets = scenes(2)
    squared = [{**each, "scores": each["scores"] ** 2} for each in predictions]
    assert average_precision(squared, targets) == average_precision(predictions, targets)
    turned = [{**each, "scores": -each["scores"]} for each in predictions]
    assert average_precision(turned, targets)["AP"] < average_precision(predictions, targets)["AP"]


@pytest.mark.skipif(not COCO_MINI.is_dir(), reason=f"no COCO pictures in {COCO_MINI}; see data/README.md")
def test_equal_on_real_coco_annotations():
    path = next((COCO_MINI / "annotations").glob("instances*.json"))
    annotations = json.loads(path.read_text(encoding="utf-8"))
    targets, predictions = [], []
    generator = torch.Generator().manual_seed(0)
    for image in annotations["images"]:
        mine = [each for each in annotations["annotations"] if each["image_id"] == image["id"]]
        boxes = torch.tensor([each["bbox"] for each in mine]).view(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([each["category_id"] for each in mine], dtype=torch.int64)
        targets.append(
            {
                "boxes": boxes,
                "labels": labels,
                "area": torch.tensor([each["area"] for each in mine], dtype=torch.float64),
                "iscrowd": torch.tensor([each["iscrowd"] for each in mine], dtype=torch.bool),
            }
        )
        sides = (boxes[:, 2:] - boxes[:, :2]).repeat(3, 2)
        shaken = boxes.repeat(3, 1) + torch.randn(sides.shape, generator=generator) * sides * 0.08
        shaken[:, 2:] = torch.maximum(shaken[:, :2], shaken[:, 2:])
        predictions.append(
            {"boxes": shaken, "labels": labels.repeat(3), "scores": torch.rand(len(shaken), generator=generator)}
        )
    assert sum(target["iscrowd"].sum().item() for target in targets) > 0
    assert 0.1 < assert_same(predictions, targets)["AP"] < 0.9


@pytest.mark.skipif(not COCO_MINI.is_dir(), reason=f"no COCO pictures in {COCO_MINI}; see data/README.md")
def test_masks_equal_on_real_coco_annotations():
    """Every second row and column of the masks: a quarter of the memory."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(next((COCO_MINI / "annotations").glob("instances*.json"))))
    targets, predictions = [], []
    generator = torch.Generator().manual_seed(0)
    for image in coco.dataset["images"]:
        mine = coco.loadAnns(coco.getAnnIds(image["id"]))
        size = (len(range(0, image["height"], 2)), len(range(0, image["width"], 2)))
        masks = [torch.from_numpy(coco.annToMask(each)[::2, ::2].copy()).bool() for each in mine]
        truth = {
            "boxes": torch.zeros(len(mine), 4),
            "labels": torch.tensor([each["category_id"] for each in mine], dtype=torch.int64),
            "masks": torch.stack(masks) if mine else torch.zeros(0, *size, dtype=torch.bool),
        }
        area = torch.tensor([each["area"] / 4 for each in mine], dtype=torch.float64)
        targets.append(truth | {"area": area, "iscrowd": torch.tensor([each["iscrowd"] == 1 for each in mine])})
        moves = torch.randint(-4, 5, (len(mine), 2), generator=generator).tolist()
        moved = [mask.roll(move, (0, 1)) for mask, move in zip(masks, moves, strict=True)]
        predictions.append(
            truth
            | {"scores": torch.rand(len(mine), generator=generator)}
            | ({"masks": torch.stack(moved)} if mine else {})
        )
    assert sum(target["iscrowd"].sum().item() for target in targets) == 6
    assert 0.1 < assert_same(predictions, targets, "segm")["AP"] < 0.9


def masked(picture, *shape):
    return picture | {"masks": torch.zeros(shape)}


HALF = torch.tensor([1.5])


@pytest.mark.parametrize("scores", [torch.tensor([0, 200]).byte(), torch.tensor([False, True])])
def test_scores_of_any_type_are_ranked_by_their_size(scores):
    found = one([[50, 50, 60, 60], [0, 0, 20, 20]]) | {"scores": scores}
    assert average_precision([found], [one([[0, 0, 20, 20]])])["AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    "predictions, targets, start",
    [
        ([], [one([])], "predictions has "),
        ([one([])], [one([])], r"predictions\[0\] has boxes, labels"),
        ([one([], scores=[])], [{"boxes": torch.zeros(0, 4)}], r"targets\[0\] has "),
        ([one([], scores=[0.5])], [one([])], r"predictions\[0\]\['scores'\] is \(1,\)"),
        ([one([], scores=[])], [one([[0, 0, 1, 1]], labels=[1, 1])], r"targets\[0\]\['labels'\] is \(2,\)"),
        ([one([[0, 0, 1, 1]], scores=[math.nan])], [one([])], r"predictions\[0\]\['scores'\] holds nan"),
        ([one([], scores=[])], [one([[0, 0, 1, 1]]) | {"labels": HALF}], r"targets\[0\]\['labels'\] is \[1.5\]"),
        (
            [one([[0, 0, 1, 1]]) | {"scores": [1.0]}],
            [one([])],
            r"predictions\[0\]\['scores'\] is a list; expected a te",
        ),
        ([one([], scores=[])], [one([]) | {"area": torch.zeros(3)}], r"targets\[0\]\['area'\] is \(3,\)"),
    ],
)
def test_bad_input_is_named(predictions, targets, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        average_precision(predictions, targets)


NONE, TWO = one([], scores=[]), one([[0, 0, 1, 1], [0, 0, 2, 2]])


@pytest.mark.parametrize(
    "predictions, targets, start",
    [
        ([NONE], [masked(one([]), 0, 4, 4)], r"predictions\[0\] has boxes, labels, scores; expected .*masks"),
        ([masked(NONE, 0, 4, 4)], [one([])], r"targets\[0\] has boxes, labels; expected boxes, labels, masks"),
        (
            [masked(NONE, 0, 4, 4)],
            [masked(TWO, 3, 4, 4)],
            r"targets\[0\]\['masks'\] is \(3, 4, 4\); expected \(2, 4, 4\)",
        ),
        ([masked(NONE, 0, 4, 4)], [masked(TWO, 2, 1, 4, 4)], r"targets\[0\]\['masks'\] is \(2, 1, 4, 4\)"),
        ([masked(NONE, 0, 4)], [masked(TWO, 2, 4)], r"predictions\[0\]\['masks'\] is \(0, 4\)"),
        (
            [masked(NONE, 0, 4, 4)],
            [masked(TWO, 2, 4, 5)],
            r"predictions\[0\]\['masks'\] and targets\[0\]\['masks'\] are of",
        ),
        (
            [masked(NONE, 0, 4, 4)],
            [masked(TWO, 2, 4, 4) | {"masks": torch.full((2, 4, 4), math.nan)}],
            r"targets\[0\].* nan",
        ),
    ],
)
def test_bad_masks_are_named(predictions, targets, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        average_precision(predictions, targets, "segm")


def test_an_unknown_iou_type_is_named():
    with pytest.raises(ValueError, match="^iou_type is 'keypoints'; expected 'bbox' or 'segm'"):
        average_precision([], [], "keypoints")


def test_half_floats_are_taken():
    boxes, labels = torch.tensor([[0, 0, 10, 10], [20, 20, 28, 28]]), torch.tensor([1, 2])
    for dtype in (torch.float16, torch.bfloat16):
        found = {"boxes": boxes.to(dtype), "scores": torch.tensor([0.5, 0.75], dtype=dtype), "labels": labels}
        assert average_precision([found], [{"boxes": boxes.to(dtype), "labels": labels}])["AP"] == 1
