import contextlib
import io
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn
from torch.utils.data import DataLoader

from lib.datasets.coco import CocoInstances, collate, decode_runs, fill_polygons, unpack_runs
from lib.ops.boxes import box_xyxy_to_xywh
from lib.ops.masks import encode_masks
from lib.training.evaluate import evaluate_detection

SHARED = Path(os.environ.get("COURSE_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
MINI = SHARED / "coco_mini"
needs_data = pytest.mark.skipif(not MINI.is_dir(), reason=f"100 photos of COCO are not in {MINI}")

SQUARE = [2, 1, 6, 1, 6, 5, 2, 5]  # columns 2..5, rows 1..4


def string_of(mask):
    """pycocotools' compressed code of a mask (H, W), as JSON has it."""
    code = encode_masks(torch.as_tensor(mask)[None])[0]
    return code | {"counts": code["counts"].decode()}


def tiny():
    """Three pictures: two things, a crowd and two boxes that are none in the first; nothing; a thing, in grey."""
    ring = torch.ones(9, 7) > 0
    ring[3:6, 2:5] = False
    crowd = {"size": [8, 10], "counts": [0, 16, 64]}  # the two columns on the left
    things = [
        (11, 5, 40, [2, 1, 4, 4], {"segmentation": [SQUARE], "area": 15.5}),
        (12, 5, 3, [0, 0, 2, 8], {"segmentation": crowd, "area": 20, "iscrowd": 1}),
        (13, 5, 3, [4, 4, 0, 3], {"segmentation": [SQUARE]}),
        (14, 5, 3, [10, 2, 3, 3], {"segmentation": [SQUARE]}),
        (15, 9, 3, [0, 0, 7, 9], {"segmentation": string_of(ring)}),
        (16, 5, 3, [5.5, 2.25, 3, 5], {"segmentation": [[6, 2, 8, 2, 8, 4], [6, 5, 8, 5, 8, 7, 6, 7]], "iscrowd": 0}),
    ]
    return {
        "info": {},
        "images": [
            {"id": 5, "file_name": "colour.png", "height": 8, "width": 10},
            {"id": 2, "file_name": "more/empty.jpg", "height": 6, "width": 12},
            {"id": 9, "file_name": "grey.png", "height": 9, "width": 7},
        ],
        "categories": [{"id": 40, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [
            {"id": number, "image_id": image, "category_id": category, "bbox": box} | more
            for number, image, category, box, more in things
        ],
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "more").mkdir()
    pixels = np.arange(8 * 10 * 3, dtype=np.uint8).reshape(8, 10, 3)
    Image.fromarray(pixels).save(tmp_path / "colour.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: to be shown turned by a quarter
    Image.fromarray(np.zeros((6, 12, 3), np.uint8)).save(tmp_path / "more" / "empty.jpg", exif=turned)
    Image.fromarray(np.full((9, 7), 51, np.uint8)).save(tmp_path / "grey.png")
    return tmp_path


def written(folder, content):
    file = folder / "instances.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


@pytest.fixture
def photos(folder):
    return CocoInstances(folder, written(folder, tiny()))


class Knows(nn.Module):
    """Answers with what it was told, picture after picture."""

    def __init__(self, answers):
        super().__init__()
        self.answers = iter(answers)

    def forward(self, images):
        return [next(self.answers) for _ in images]


def official(file, answers, iou_type):
    """pycocotools' AP, AP50, AP75, AP_small, AP_medium, AP_large of answers in the order of the file."""
    photos = json.loads(file.read_text())
    categories = sorted(category["id"] for category in photos["categories"])
    rows = []
    for image, answer in zip(photos["images"], answers, strict=True):
        codes = encode_masks(answer["masks"])
        for box, score, label, code in zip(
            box_xyxy_to_xywh(answer["boxes"]), answer["scores"], answer["labels"], codes
        ):
            row = {"image_id": image["id"], "category_id": categories[label - 1], "score": score.item()}
            rows.append(row | ({"bbox": box.tolist()} if iou_type == "bbox" else {"segmentation": code}))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        evaluation = COCOeval(truth, truth.loadRes(rows), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:6].tolist()


# ------------------------------------------------------------------------------------------------ what is read


def test_pictures_and_things_of_a_file(photos):
    assert len(photos) == 3 and photos.category_names == ("cat", "dog") and photos.category_ids == (3, 40)
    assert photos.dropped == (13, 14), "one without width, one that begins where the picture ends"
    image, target = photos[0]
    assert list(target) == ["boxes", "labels", "masks", "area", "iscrowd", "image_id"] and target["image_id"] == 5
    assert image.shape == (3, 8, 10) and image.dtype == torch.float32
    assert torch.equal((image * 255).round().permute(1, 2, 0).flatten(), torch.arange(240.0))
    assert target["boxes"].tolist() == [[2, 1, 6, 5], [0, 0, 2, 8], [5.5, 2.25, 8.5, 7.25]]
    assert target["boxes"].dtype == target["area"].dtype == torch.float32
    assert target["labels"].tolist() == [2, 1, 1] and target["iscrowd"].tolist() == [0, 1, 0]
    assert target["labels"].dtype == target["iscrowd"].dtype == torch.int64
    masks = target["masks"]
    assert masks.shape == (3, 8, 10) and masks.dtype == torch.bool
    assert masks[0].nonzero().tolist() == [[row, column] for row in range(1, 5) for column in range(2, 6)]
    assert masks[1].nonzero().tolist() == [[row, column] for row in range(8) for column in range(2)]
    assert masks[2, 5:7, 6:8].all() and masks[2, :4].any() and not masks[2, 4].any(), "of two pieces"
    assert target["area"].tolist() == [15.5, 20, masks[2].sum()], "the mask's, where the file says nothing"


def test_a_picture_without_things_keeps_its_place_and_lies_as_it_is_stored(photos):
    image, target = photos[1]
    assert image.shape == (3, 6, 12), "not turned"
    assert target["image_id"] == 2 and target["masks"].shape == (0, 6, 12) and target["masks"].dtype == torch.bool
    assert target["boxes"].shape == (0, 4) and target["boxes"].dtype == torch.float32
    for name, kind in (("labels", torch.int64), ("area", torch.float32), ("iscrowd", torch.int64)):
        assert target[name].shape == (0,) and target[name].dtype == kind


def test_a_grey_picture_becomes_rgb(photos):
    image, target = photos[-1]
    assert image.shape == (3, 9, 7) and (image == 0.2).all()
    assert (~target["masks"][0]).nonzero().tolist() == [[row, column] for row in (3, 4, 5) for column in (2, 3, 4)]
    assert target["area"].tolist() == [54]
    with pytest.raises(IndexError):
        photos[3]


def test_boxes_alone_and_no_crowds(folder):
    content = tiny()
    for record in content["annotations"]:
        del record["segmentation"]
    file = written(folder, content)
    target = CocoInstances(folder, str(file), masks=False)[0][1]
    assert "masks" not in target and target["area"].tolist() == [15.5, 20, 15], "the box's, where nothing else is known"
    target = CocoInstances(folder, file, masks=False, crowds=False)[0][1]
    assert target["labels"].tolist() == [2, 1] and target["iscrowd"].tolist() == [0, 0]
    with pytest.raises(ValueError, match="instances.json has .*expected id, image_id, category_id, bbox, segmentation"):
        CocoInstances(folder, file)


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_truth_as_answer_has_an_ap_of_one(photos, iou_type, workers):
    answers = [target | {"scores": torch.ones(len(target["labels"]))} for _, target in photos]
    batches = DataLoader(photos, batch_size=2, collate_fn=collate, num_workers=workers)
    images, targets = next(iter(batches))
    assert [tuple(image.shape) for image in images] == [(3, 8, 10), (3, 6, 12)]
    assert [target["image_id"] for target in targets] == [5, 2]
    result = evaluate_detection(Knows(answers), batches, iou_type=iou_type)
    assert result["AP"] == 1 and result["AP_per_class"] == {1: 1, 2: 1}
    answers[2]["labels"] = answers[2]["labels"] + 1
    assert evaluate_detection(Knows(answers), batches, iou_type=iou_type)["AP"] < 0.8


def test_the_dataset_can_be_pickled(photos):
    again = pickle.loads(pickle.dumps(photos))
    assert all(torch.equal(one["masks"], other["masks"]) for (_, one), (_, other) in zip(again, photos, strict=True))


# ------------------------------------------------------------------------------------------------ outlines


@pytest.mark.parametrize("seed", range(5))
def test_polygons_are_filled_as_pycocotools_does(seed):
    random = np.random.default_rng(seed)
    for _ in range(40):
        height, width = random.integers(1, 60, 2).tolist()
        polygons = [
            (random.uniform(-0.3, 1.3, (corners, 2)) * (width, height)).round(2).flatten().tolist()
            for corners in random.integers(3, 9, random.integers(1, 4))
        ]
        file = COCO()
        file.imgs = {1: {"height": height, "width": width}}
        theirs = file.annToMask({"image_id": 1, "segmentation": polygons})
        assert torch.equal(fill_polygons(polygons, (height, width)), torch.from_numpy(theirs).bool())
        assert torch.equal(
            fill_polygons([[1, 1, 9, 9], *polygons, []], (height, width)), torch.from_numpy(theirs).bool()
        )
    assert not fill_polygons([[0, 0, 5, 5]], (4, 6)).any(), "two corners have nothing between them"


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.98, 1])
def test_run_lengths_are_those_of_pycocotools(share):
    random = np.random.default_rng(0)
    for enlarged in (1, 1, 40):  # long runs take several characters
        for height, width in random.integers(1, 30, (10, 2)):
            mask = np.kron(random.random((height, width)) < share, np.ones((enlarged, enlarged))) > 0
            code, size = string_of(mask), mask.shape
            assert torch.equal(decode_runs(code, size), torch.from_numpy(mask))
            runs = unpack_runs(code["counts"])
            assert torch.equal(decode_runs(code | {"counts": runs}, size), torch.from_numpy(mask))
            assert coco_mask.frPyObjects(code | {"counts": runs}, *size)["counts"].decode() == code["counts"]


def test_runs_of_no_pixels_are_runs():
    assert decode_runs({"size": [2, 3], "counts": [1, 2, 0, 1, 2]}, (2, 3)).tolist() == [[0, 1, 0], [1, 1, 0]]


@pytest.mark.parametrize(
    "outline, said",
    [
        ({"size": [8, 10], "counts": [16, 63]}, "counts add up to 79 pixels; expected 80"),
        ({"size": [8, 10], "counts": [16, 65]}, "counts add up to 81 pixels; expected 80"),
        ({"size": [8, 10], "counts": [96, -16]}, r"counts is \[96, -16\]; expected whole numbers from 0"),
        ({"size": [8, 10], "counts": [16.0, 64.0]}, r"counts is \[16.0, 64.0\]"),
        ({"size": [8, 10], "counts": 80}, "counts is 80"),
        ({"size": [8, 10]}, "counts is None"),
        ({"size": [10, 8], "counts": [16, 64]}, r"size is \[10, 8\]; expected \[8, 10\]"),
        ({"counts": [16, 64]}, r"size is None; expected \[8, 10\]"),
        ({"size": [8, 10], "counts": ""}, "counts add up to 0"),
        ({"size": [8, 10], "counts": "0"}, "counts add up to 0"),
        ({"size": [8, 10], "counts": "0é"}, "counts has the character 'é'"),
        ({"size": [8, 10], "counts": "0 "}, "counts has the character ' '"),
        ({"size": [8, 10], "counts": "`"}, "counts breaks off in the middle of a number"),
        ([[1, 1, 5, 1, 5]], r"a polygon is \[1, 1, 5, 1, 5\]; expected a list of x, y, x, y"),
        ([1, 1, 5, 1, 5, 5], "a polygon is 1;"),
        ([[1, 1, 5, 1, 5, "6"]], "a polygon is .*'6'"),
        ([[1, 1, 5, 1, 5, float("nan")]], "a polygon is .*nan"),
        ([[1, 1, 5, 1, 5, 1e9]], "a polygon is .*1000000000"),
        ("polygon", "a polygon is 'polygon'"),
    ],
)
def test_a_broken_outline_is_named_with_its_file(folder, outline, said):
    content = tiny()
    content["annotations"][0]["segmentation"] = outline
    photos = CocoInstances(folder, written(folder, content))
    with pytest.raises(ValueError, match=f"instances.json has annotation 11 with a broken outline: {said}"):
        photos[0]
    assert len(photos[2][1]["masks"]) == 1, "the other pictures can be read"


# ------------------------------------------------------------------------------------------------ what is refused


def without(name):
    return {key: value for key, value in tiny().items() if key != name}


def changed(name, place, **change):
    content = tiny()
    content[name][place] |= change
    return content


@pytest.mark.parametrize(
    "content, said",
    [
        ("{", "is no JSON: .*; expected a file in COCO's form"),
        ([{"image_id": 1}], "holds a list; expected 'images', 'annotations' and 'categories'"),
        ({}, "has nothing; expected a list of 'images'"),
        (without("images"), "has info, categories, annotations; expected a list of 'images'"),
        (without("annotations"), "expected a list of 'annotations'"),
        (without("categories"), "expected a list of 'categories'"),
        (tiny() | {"images": {"5": {}}}, "expected a list of 'images'"),
        (tiny() | {"images": [{"id": 5}]}, r"has \{'id': 5\} in 'images'; expected id, file_name, height, width"),
        (tiny() | {"categories": ["cat"]}, "has 'cat' in 'categories'; expected id, name"),
        (tiny() | {"annotations": [{"id": 1, "segments_info": []}]}, "in 'annotations'; expected id, image_id,"),
        (changed("images", 1, id=5), "has two 'images' with the same id"),
        (changed("images", 1, height="6"), "has picture .*'6'.*; expected height and width in pixels"),
        (changed("categories", 1, id=40), "has two 'categories' with the same id"),
        (changed("annotations", 3, image_id=77), "has annotation 14 of picture 77; expected one that 'images' lists"),
        (changed("annotations", 3, category_id=1), "has annotation 14 of category 1; expected one that 'categories' l"),
        (
            changed("annotations", 3, bbox=[1, 2, 3]),
            r"annotation 14 with the box \[1, 2, 3\]; expected left, top, width",
        ),
        (changed("annotations", 3, bbox=[1, 2, 3, float("nan")]), r"annotation 14 with the box .*nan"),
        (changed("annotations", 3, bbox=None), "annotation 14 with the box None"),
        (changed("annotations", 3, area=None), "annotation 14 with area None; expected a number, or no area"),
        (changed("annotations", 3, iscrowd="no"), "annotation 14 with iscrowd 'no'"),
        (changed("annotations", 0, segmentation=[]), "annotation 11 without an outline; .* or masks=False"),
    ],
)
def test_a_file_of_another_form_is_named(folder, content, said):
    with pytest.raises(ValueError, match=f"instances.json .*{said}"):
        CocoInstances(folder, written(folder, content))


def test_what_is_missing_is_named(folder):
    file = written(folder, tiny())
    with pytest.raises(FileNotFoundError, match="nowhere is not there; expected the folder with the pictures"):
        CocoInstances(folder / "nowhere", file)
    with pytest.raises(FileNotFoundError, match=r"nothing.json is not there; expected a JSON file in COCO's form"):
        CocoInstances(folder, folder / "nothing.json")
    photos = CocoInstances(folder, file)
    (folder / "more" / "empty.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"more.empty.jpg is not there; expected picture 2 of .*instances.json"):
        photos[1]


@pytest.mark.parametrize(
    "pixels, said",
    [
        (
            np.zeros((10, 8, 3), np.uint8),
            r"has \(height, width\) \(10, 8\); expected \(8, 10\), as .*instances.json says",
        ),
        (np.zeros((8, 10), np.uint16), "is of Pillow's mode 'I;16'; expected 8 bits for a colour"),
        (b"<!DOCTYPE html>", "is no picture; expected picture 5 of .*instances.json"),
        (50, "is damaged"),
    ],
)
def test_a_wrong_picture_is_named(photos, folder, pixels, said):
    path = folder / "colour.png"
    if isinstance(pixels, int):
        path.write_bytes(path.read_bytes()[:pixels])
    elif isinstance(pixels, bytes):
        path.write_bytes(pixels)
    else:
        Image.fromarray(pixels).save(path)
    with pytest.raises(ValueError, match=f"colour.png {said}"):
        photos[0]


# ------------------------------------------------------------------------------------------------ real data


@pytest.fixture(scope="module")
def mini():
    return CocoInstances(MINI / "train2017", MINI / "annotations" / "instances_train2017.json")


@pytest.fixture(scope="module")
def mini_targets(mini):
    return [target for _, target in mini]


@needs_data
def test_real_photos_are_read_as_pycocotools_reads_them(mini, mini_targets):
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(mini.file))
    assert len(mini_targets) == len(mini) == 100 and len(mini.category_names) == 80 and mini.dropped == ()
    assert mini.category_names[0] == "person" and mini.category_ids[-1] == 90
    things = 0
    for target in mini_targets:
        records = theirs.loadAnns(theirs.getAnnIds(imgIds=target["image_id"]))
        things += len(records)
        assert len(records) == len(target["labels"]) == len(target["masks"])
        for place, record in enumerate(records):
            assert np.array_equal(target["masks"][place].numpy(), theirs.annToMask(record))
            box = box_xyxy_to_xywh(target["boxes"][place]).tolist()
            assert box == pytest.approx(record["bbox"], abs=1e-4)
            assert mini.category_ids[target["labels"][place] - 1] == record["category_id"]
            assert target["area"][place].item() == pytest.approx(record["area"], rel=1e-6)
            assert target["iscrowd"][place] == record["iscrowd"]
    assert things == 747
    assert [target["image_id"] for target in mini_targets if not len(target["labels"])] == [250, 508]
    grey, target = mini[[image["id"] for image in mini.images].index(86)]
    assert torch.equal(grey[0], grey[2]) and grey.std() > 0.1 and grey.shape[1:] == target["masks"].shape[1:]


@needs_data
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_answers_to_real_photos_have_the_ap_that_pycocotools_gives(mini, mini_targets, iou_type):
    generator = torch.Generator().manual_seed(0)
    answers = []
    for target in mini_targets:
        count = len(target["labels"])
        step = torch.randint(-4, 5, (1,), generator=generator).item()  # masks move aside, and boxes with them
        wrong = torch.rand(count, generator=generator) < 0.1
        answers.append(
            {
                "boxes": target["boxes"] + torch.tensor([step, 0, step, 0]),
                "masks": target["masks"].roll(step, dims=2),
                "labels": torch.where(wrong, target["labels"] % 80 + 1, target["labels"]),
                "scores": torch.rand(count, generator=generator),
            }
        )
    batches = [([torch.zeros(3, 1, 1)], [target]) for target in mini_targets]
    result = evaluate_detection(Knows(answers), batches, iou_type=iou_type)
    ours = [result[name] for name in ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")]
    assert ours == pytest.approx(official(mini.file, answers, iou_type), abs=1e-9)
    assert 0.3 < ours[0] < 0.9, "neither perfect nor lost"
