"""Automatic masks: equal to the official generator, each filter at work; crops, steps, bad input."""

import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from segment_anything import SamAutomaticMaskGenerator as TheirGenerator
from segment_anything import SamPredictor as TheirPredictor
from segment_anything import automatic_mask_generator as their_module
from segment_anything.utils import amg

from lib.models.automatic_masks import SamAutomaticMaskGenerator, in_picture, overlapping_crops, together
from lib.models.sam import SamOutput
from lib.models.sam_predictor import SamPredictor
from lib.ops.mask_filters import mask_nms, point_grid, remove_small_regions
from lib.ops.masks import mask_iou
from tests.models.small_sam import SIDE, official, small
from tests.ops.flood_fill import OpenCV


@pytest.fixture(scope="module")
def pair():
    """Both models with the same new random weights. Looks are sharp, so that each point has masks of its own."""
    theirs = official()
    for name, weight in theirs.mask_decoder.named_parameters():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            weight.data.mul_(8)
    ours = small()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


class Discs:
    """A predictor that draws: around each point three discs, more or less sharp, most larger where it is light.

    Random weights give masks that all cover the picture; of these ones some overlap, some lie at a border, some have
    holes and islands.
    """

    def set_image(self, image):
        self.image = image

    def predict_points(self, points):
        height, width = self.image.shape[1:]
        x, y = (torch.arange(side) + 0.5 for side in (width, height))
        far = ((x - points[:, :1])[:, None] ** 2 + (y - points[:, 1:])[:, :, None] ** 2).sqrt()[:, None]  # (P, 1, H, W)
        chance = torch.frac(0.377 * points[:, :1] + 0.729 * points[:, 1:])  # (P, 1), 0..1
        number = torch.arange(3)
        radii = ((4 + 20 * chance) * (1 + 0.3 * number))[..., None, None]  # (P, 3, 1, 1)
        sharp = (0.2 + 2 * torch.frac(chance * 7 + 0.4 * number))[..., None, None]
        rough = 40 * (torch.frac(chance * 5 + 0.3 * number) - 0.4).clamp(min=0)[..., None, None]
        light = rough * (self.image[0] - 0.5)
        return SamOutput(sharp * (radii - far + light), 0.8 + 0.2 * torch.frac(chance * 13 + 0.3 * number))


class AsTheirs:
    """Our predictor with the methods of the official one.

    With it both generators filter the very same numbers and must agree to the last bit: the official predictor shrinks
    bytes with PIL and asks with points in double precision, ours does neither.
    """

    def __init__(self, predictor):
        self.predictor, self.device = predictor, torch.device("cpu")
        self.model, self.transform = SimpleNamespace(mask_threshold=0.0), self

    def set_image(self, image):
        self.predictor.set_image(torch.from_numpy(image).permute(2, 0, 1) / 255)

    def apply_coords(self, points, size):
        return points

    def predict_torch(self, points, labels, multimask_output, return_logits):
        assert multimask_output and return_logits and (labels == 1).all()
        return *self.predictor.predict_points(points[:, 0].float()), None

    def reset_image(self):
        pass


def a_picture(height, width, seed=3):
    """Bytes as the official generator wants them, (H, W, 3), and the same as floats (3, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    rough = F.interpolate(torch.rand(1, 3, 12, 16, generator=generator), (height, width), mode="bicubic")[0]
    grain = 0.2 * torch.randn(3, height, width, generator=generator)
    image = (255 * (rough + grain).clamp(0, 1)).round().byte()
    return image.permute(1, 2, 0).numpy(), image / 255


def both(model, predictor, **settings):
    """Our generator and the official one, which filter the answers of one predictor."""
    ours, theirs = SamAutomaticMaskGenerator(model, **settings), TheirGenerator(no_model(), **in_arrays(settings))
    for mine, other in zip(ours.point_grids, theirs.point_grids, strict=True):
        torch.testing.assert_close(mine, torch.from_numpy(other).float(), rtol=0, atol=1e-6)
    theirs.point_grids = [grid.double().numpy() for grid in ours.point_grids]  # to the last bit
    ours.predictor, theirs.predictor = predictor, AsTheirs(predictor)
    return ours, theirs


def in_arrays(settings):
    if settings.get("point_grids") is None:
        return settings
    return settings | {"point_grids": [grid.double().numpy() for grid in settings["point_grids"]]}


def no_model():
    """What the official predictor asks a model for when it is made."""
    return SimpleNamespace(image_encoder=SimpleNamespace(img_size=SIDE))


def columns(records):
    """Records of the official generator as tensors: masks, boxes xyxy, predicted IoU, stability, points, crops xyxy."""
    boxes, crops = (torch.tensor([one[name] for one in records]).float() for name in ("bbox", "crop_box"))
    for each in (boxes, crops):
        each[:, 2:] += each[:, :2]
    masks = torch.stack([torch.from_numpy(one["segmentation"]) for one in records])
    assert masks.flatten(1).sum(1).tolist() == [one["area"] for one in records]
    ious, stable = (torch.tensor([one[name] for one in records]) for name in ("predicted_iou", "stability_score"))
    return masks, boxes, ious, stable, torch.tensor([one["point_coords"][0] for one in records]), crops


def assert_equal(found, records):
    expected = columns(records)
    for name, mine, other in zip(found._fields, found, expected, strict=True):
        if name == "point_coords":  # theirs are doubles
            torch.testing.assert_close(mine, other.float(), rtol=0, atol=1e-4)
        else:
            assert torch.equal(mine, other), name
    assert found.masks.dtype == torch.bool and torch.equal(found.areas(), expected[0].sum((1, 2)))


# ------------------------------------------------------------------------------------------------ equality

LOOSE = {"points_per_side": 8, "stability_score_thresh": 0.8}


@pytest.mark.parametrize("size", [(150, 200), (200, 130)])
@pytest.mark.parametrize(
    ("settings", "least"),
    [
        ({}, 10),
        ({"points_per_side": 7, "points_per_batch": 10, "stability_score_offset": 0.5, "box_nms_thresh": 0.4}, 10),
        ({"pred_iou_thresh": 0.95, "stability_score_thresh": 0.5}, 10),
        ({"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 0.9}, 60),
        ({"crop_n_layers": 1}, 20),
        ({"crop_n_layers": 1, "crop_nms_thresh": 0.3, "crop_overlap_ratio": 0.6}, 15),
        ({"crop_n_layers": 2, "crop_n_points_downscale_factor": 2}, 20),
        ({"points_per_side": None, "point_grids": [0.2 + 0.6 * point_grid(6)]}, 8),
        ({"points_per_side": None, "point_grids": [point_grid(6), point_grid(5) ** 2], "crop_n_layers": 1}, 10),
    ],
)
def test_drawn_masks_are_filtered_as_by_the_official_generator(settings, least, size):
    ours, theirs = both(small(), Discs(), **LOOSE | settings)
    bytes_, image = a_picture(*size)
    found = ours.generate(image)
    assert len(found.masks) >= least and found.masks.shape[1:] == size
    assert len(found.crop_boxes.unique(dim=0)) > 2 or not settings.get("crop_n_layers"), "crops contribute"
    assert_equal(found, theirs.generate(bytes_))


@pytest.mark.parametrize(("layers", "area"), [(0, 30), (0, 100), (1, 40)])
def test_drawn_masks_are_cleaned_as_by_the_official_generator(layers, area, monkeypatch):
    """OpenCV, which the official code asks for regions, is replaced by a loop."""
    monkeypatch.setitem(sys.modules, "cv2", OpenCV)
    monkeypatch.setattr(their_module, "is_box_near_crop_edge", partial(amg.is_box_near_crop_edge, atol=2))
    settings = {"points_per_side": 8, "stability_score_thresh": 0.5, "box_nms_thresh": 0.8}
    ours, theirs = both(small(), Discs(), **settings, crop_n_layers=layers, min_mask_region_area=area)
    ours.crop_border = 2
    bytes_, image = a_picture(60, 80)
    found = ours.generate(image)
    ours.min_mask_region_area = 0
    rough = ours.generate(image)
    assert 5 < len(found.masks) < len(rough.masks), "some became duplicates"
    was = {tuple(one.tolist()) for one in rough.masks.flatten(1)}
    same = [tuple(one.tolist()) in was for one in found.masks.flatten(1)]
    assert any(same) and not all(same), "some were cleaned, some were clean"
    assert_equal(found, theirs.generate(bytes_))


@pytest.mark.parametrize("size", [(48, 64), (90, 70)])
@pytest.mark.parametrize("layers", [0, 1])
def test_a_networks_masks_are_filtered_as_by_the_official_generator(pair, size, layers, monkeypatch):
    monkeypatch.setattr(their_module, "is_box_near_crop_edge", partial(amg.is_box_near_crop_edge, atol=0))
    bytes_, image = a_picture(*size)
    settings = {"points_per_side": 6, "crop_n_layers": layers, "box_nms_thresh": 0.99, "crop_nms_thresh": 0.99}
    settings |= thresholds(pair[0], image, 6)
    predictor = SamPredictor(pair[0])
    ours, theirs = both(pair[0], predictor, **settings)
    ours.crop_border = 0  # all masks are as large as a crop: only what begins at its very edge is cut off
    found = ours.generate(image)
    assert len(found.masks) > 3 and (layers == 0 or len(found.crop_boxes.unique(dim=0)) > 1)
    assert_equal(found, theirs.generate(bytes_))


def thresholds(model, image, n):
    """Settings for random weights, by which about a half of the masks pass each filter: no score lies close to them."""
    generator = SamAutomaticMaskGenerator(model, n, stability_score_offset=0.03)
    generator.predictor.set_image(image)
    found = generator.candidates(generator.point_grids[0] * torch.tensor([image.shape[2], image.shape[1]]))
    settings = {"stability_score_offset": 0.03}
    for name, scores in (("pred_iou_thresh", found.predicted_iou), ("stability_score_thresh", found.stability_score)):
        ordered = scores.sort().values
        middle = ordered[len(ordered) // 3 : len(ordered) // 2]
        widest = middle.diff().argmax()
        assert middle.diff()[widest] > 1e-3
        settings[name] = float(middle[widest : widest + 2].mean())
    return settings


class ResizedAsOurs(TheirPredictor):
    """The official predictor, except that pictures are resized as floats: PIL rounds to bytes, which ours does not."""

    def set_image(self, image, image_format="RGB"):
        size = self.transform.get_preprocess_shape(*image.shape[:2], self.transform.target_length)
        floats = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        resized = F.interpolate(floats, size, mode="bilinear", align_corners=False, antialias=True)
        self.set_torch_image(resized, image.shape[:2])


@pytest.mark.parametrize(("size", "layers"), [((48, 64), 0), ((64, 40), 0), ((90, 70), 0), ((90, 70), 1)])
def test_the_whole_chain_equals_the_official_one(pair, size, layers, monkeypatch):
    """Both with their own model and predictor. Where the longer side is the encoder's nothing is resized."""
    monkeypatch.setattr(their_module, "is_box_near_crop_edge", partial(amg.is_box_near_crop_edge, atol=0))
    ours, theirs = pair
    bytes_, image = a_picture(*size)
    settings = {"points_per_side": 6, "crop_n_layers": layers, "box_nms_thresh": 0.99, "crop_nms_thresh": 0.99}
    settings |= thresholds(ours, image, 6)
    mine, other = SamAutomaticMaskGenerator(ours, **settings, crop_border=0), TheirGenerator(theirs, **settings)
    if max(size) != SIDE or layers:
        other.predictor = ResizedAsOurs(theirs)
    found, expected = mine.generate(image), columns(other.generate(bytes_))
    assert len(found.masks) == len(expected[0]) > 3
    torch.testing.assert_close(found.predicted_iou, expected[2], rtol=0, atol=1e-4)
    torch.testing.assert_close(found.stability_score, expected[3], rtol=0, atol=2e-3)  # a pixel of some hundreds
    assert (found.masks != expected[0]).float().mean() < 1e-4
    torch.testing.assert_close(found.point_coords, expected[4].float(), rtol=0, atol=1e-4)
    assert torch.equal(found.crop_boxes, expected[5])


@pytest.mark.parametrize("size", [(150, 200), (201, 133), (64, 64), (16, 1000)])
@pytest.mark.parametrize(("layers", "ratio"), [(0, 0.3), (1, 512 / 1500), (2, 512 / 1500), (3, 0.1)])
def test_crops_equal_the_official_ones(size, layers, ratio):
    crops = overlapping_crops(size, layers, ratio)
    boxes, numbers = amg.generate_crop_boxes(size, layers, ratio)
    assert [list(crop) for _, crop in crops] == boxes and [layer for layer, _ in crops] == numbers


# ------------------------------------------------------------------------------------------------ the filters


def drawing(**settings):
    generator = SamAutomaticMaskGenerator(small(), **LOOSE | settings)
    generator.predictor = Discs()
    return generator


def test_each_filter_removes_some_and_keeps_some():
    """The steps that a lesson takes one by one are those of `generate`."""
    image = a_picture(150, 200)[1]
    generator = drawing(crop_n_layers=1, min_mask_region_area=100, box_nms_thresh=0.5, crop_nms_thresh=0.45)
    counts, seen = [], []
    for layer, (left, top, right, bottom) in overlapping_crops((150, 200), 1, 512 / 1500):
        generator.predictor.set_image(image[:, top:bottom, left:right])
        points = generator.point_grids[layer] * torch.tensor([right - left, bottom - top])
        steps = [generator.candidates(points)]
        steps.append(generator.confident(steps[-1]))
        steps.append(generator.stable(steps[-1]))
        steps.append(generator.uncut(in_picture(steps[-1], (left, top, right, bottom), (150, 200)), (150, 200)))
        steps.append(generator.distinct(steps[-1]))
        counts.append([len(found.masks) for found in steps])
        seen.append(steps[-1])
    between = generator.distinct_between_crops(together(seen))
    cleaned = generator.cleaned(between)
    assert [row[0] for row in counts] == [3 * 64] * 5
    assert counts[0][3] == counts[0][2], "of the whole picture nothing is cut off"
    for number, row in enumerate(counts):
        assert row == sorted(row, reverse=True) and len(set(row)) == 5 - (number == 0) and row[-1] > 0
    total = sum(row[-1] for row in counts)
    assert total > len(between.masks) > len(cleaned.masks) > 0
    for mine, other in zip(cleaned, generator.generate(image), strict=True):
        assert torch.equal(mine, other)


def test_what_filters_promise():
    generator = drawing(pred_iou_thresh=0.9)
    generator.predictor.set_image(a_picture(150, 200)[1])
    found = generator.candidates(point_grid(8) * torch.tensor([200, 150]))
    assert found.point_coords[:4].tolist() == [[12.5, 9.375]] * 3 + [[37.5, 9.375]]
    assert torch.equal(found.crop_boxes, torch.tensor([[0.0, 0, 200, 150]]).expand(192, 4))
    confident, stable = generator.confident(found), generator.stable(found)
    assert confident.predicted_iou.min() > 0.9 and len(confident.masks) == (found.predicted_iou > 0.9).sum()
    assert stable.stability_score.min() >= 0.8 and len(stable.masks) == (found.stability_score >= 0.8).sum()
    at_it = found._replace(predicted_iou=torch.full_like(found.predicted_iou, 0.9))
    assert not len(generator.confident(at_it).masks), "as good as the threshold is not better"
    below = found._replace(predicted_iou=-found.predicted_iou)
    assert not len(generator.confident(below).masks)
    assert len(drawing(pred_iou_thresh=0.0).confident(below).masks) == 192, "0 is no filter"
    distinct = generator.distinct(stable)
    assert torch.equal(distinct.predicted_iou, distinct.predicted_iou.sort(descending=True).values)


def test_duplicates_by_their_masks():
    image = a_picture(150, 200)[1]
    found = {}
    for nms in ("box", "mask"):
        generator = drawing(nms=nms, box_nms_thresh=0.5)
        generator.predictor.set_image(image)
        every = generator.stable(generator.candidates(point_grid(8) * torch.tensor([200, 150])))
        found[nms] = generator.distinct(every)
    kept = mask_nms(every.masks, every.predicted_iou, 0.5)
    assert 0 < len(kept) < len(every.masks) and torch.equal(found["mask"].masks, every.masks[kept])
    assert mask_iou(found["mask"].masks, found["mask"].masks).fill_diagonal_(0).max() <= 0.5
    assert len(found["box"].masks) != len(kept)


def test_between_crops_the_smallest_crop_wins():
    generator = drawing()
    generator.predictor.set_image(torch.rand(3, 80, 100))
    one = generator.candidates(torch.tensor([[50.0, 40]])).only(torch.tensor([0]))
    inner = one._replace(crop_boxes=torch.tensor([[10.0, 10, 90, 70]]), predicted_iou=one.predicted_iou - 0.5)
    kept = generator.distinct_between_crops(together([one, inner]))
    assert torch.equal(kept.crop_boxes, inner.crop_boxes)


def test_cleaning_prefers_what_was_clean():
    generator = drawing(min_mask_region_area=9)
    generator.predictor.set_image(torch.rand(3, 80, 100))
    one = generator.candidates(torch.tensor([[50.0, 40]])).only(torch.tensor([0, 0, 0]))
    masks = torch.zeros(3, 80, 100, dtype=torch.bool)
    masks[:2, 20:50, 30:60] = True
    masks[0, 30, 40] = False  # a hole: without it a duplicate of the next
    masks[2, 60:75, 60:90] = masks[2, 5:7, 5:8] = True  # an island
    found = one._replace(masks=masks, boxes=torch.tensor([[30.0, 20, 59, 49]] * 2 + [[5.0, 5, 89, 74]]))
    clean = generator.cleaned(found)
    assert clean.boxes.tolist() == [[30, 20, 59, 49], [60, 60, 89, 74]] and clean.areas().tolist() == [900, 450]
    assert torch.equal(clean.masks[0], masks[1])
    assert torch.equal(clean.masks[1], remove_small_regions(masks[2], 9, "islands")[0])
    assert torch.equal(found.masks, masks) and found.areas().tolist() == [899, 900, 456], "what was given stays"
    for name in ("box_nms_thresh", "crop_nms_thresh"):  # the laxer one counts
        assert len(drawing(min_mask_region_area=9, **{name: 1.0}).cleaned(found).masks) == 3


def test_many_clicks_are_answered_as_one_by_one(pair):
    predictor = SamPredictor(pair[0])
    predictor.set_image(a_picture(90, 70)[1])
    points = torch.tensor([[10.0, 20], [60, 80], [35, 45]])
    answers = predictor.predict_points(points)
    assert answers.masks.shape == (3, 3, 90, 70) and answers.ious.shape == (3, 3)
    for number, point in enumerate(points):
        masks, ious, _ = predictor.predict(point[None], torch.ones(1))
        torch.testing.assert_close(answers.ious[number], ious, rtol=0, atol=1e-4)
        assert ((answers.masks[number] > 0) != masks).float().mean() < 1e-3
        assert ((answers.masks[number - 1] > 0) != masks).float().mean() > 1e-2, "each click has masks of its own"


def test_a_picture_comes_first_and_points_are_pairs(pair):
    predictor = SamPredictor(pair[0])
    with pytest.raises(RuntimeError, match="set_image"):
        predictor.predict_points(torch.zeros(1, 2))
    predictor.set_image(a_picture(90, 70)[1])
    for points in (torch.zeros(2), torch.zeros(1, 1, 2)):
        with pytest.raises(ValueError, match="^points "):
            predictor.predict_points(points)


# ------------------------------------------------------------------------------------------------ the edges


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("nms", ["box", "mask"])
def test_nothing_is_left(layers, nms):
    settings = {"stability_score_thresh": 1.01, "crop_n_layers": layers, "min_mask_region_area": 10}
    bytes_, image = a_picture(60, 80)
    found = drawing(nms=nms, **settings).generate(image)
    assert [tuple(one.shape) for one in found] == [(0, 60, 80), (0, 4), (0,), (0,), (0, 2), (0, 4)]
    assert found.masks.dtype == torch.bool and found.areas().shape == (0,)
    if layers == 0:  # with crops the official generator fails
        _, theirs = both(small(), Discs(), **LOOSE | {"stability_score_thresh": 1.01})
        assert theirs.generate(bytes_) == []


def test_a_mask_without_a_pixel_is_unstable():
    class Nothing(Discs):
        def predict_points(self, points):
            masks, ious = super().predict_points(points)
            return SamOutput(masks - torch.tensor([0, 900.0, 0])[:, None, None], ious)

    generator = drawing()
    generator.predictor = Nothing()
    generator.predictor.set_image(a_picture(60, 80)[1])
    found = generator.candidates(torch.tensor([[40.0, 30], [20, 10]]))
    empty = torch.tensor([False, True, False] * 2)
    assert torch.equal(found.areas() == 0, empty) and not found.boxes[empty].any() and not found.stability_score[1]
    assert generator.stable(found).areas().all()


def test_batches_do_not_matter():
    image = a_picture(90, 120)[1]
    one, other = (drawing(points_per_batch=size).generate(image) for size in (7, 64))
    assert len(one.masks) > 5 and all(torch.equal(mine, its) for mine, its in zip(one, other, strict=True))


def test_defaults_are_the_official_ones():
    ours, theirs = SamAutomaticMaskGenerator(small()), TheirGenerator(no_model())
    same = set(vars(ours)) & set(vars(theirs)) - {"predictor", "point_grids"}
    assert len(same) == 10 and all(getattr(ours, name) == getattr(theirs, name) for name in same)
    assert [grid.shape for grid in ours.point_grids] == [(32 * 32, 2)]


def test_a_closer_border_keeps_more():
    image = a_picture(150, 200)[1]
    counts = []
    for border in (20.0, 3.0):
        generator = drawing(crop_border=border)
        counts.append(len(generator.of_crop(image, (0, 0, 120, 90), point_grid(8)).masks))
    assert 0 < counts[0] < counts[1]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"points_per_side": None}, "points_per_side and point_grids"),
        ({"point_grids": [point_grid(3)]}, "points_per_side and point_grids"),
        ({"points_per_side": 0}, "points_per_side"),
        ({"points_per_side": 3, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2}, "points_per_side"),
        ({"points_per_side": None, "point_grids": [point_grid(3)], "crop_n_layers": 1}, "point_grids"),
        ({"points_per_side": None, "point_grids": [torch.zeros(0, 2)]}, "point_grids"),
        ({"points_per_side": None, "point_grids": [torch.zeros(2, 3)]}, "point_grids"),
        ({"points_per_batch": 0}, "points_per_batch"),
        ({"crop_n_layers": -1}, "crop_n_layers"),
        ({"crop_n_points_downscale_factor": 0}, "crop_n_points_downscale_factor"),
        ({"nms": "masks"}, "nms"),
    ],
)
def test_bad_settings_are_named(settings, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        SamAutomaticMaskGenerator(small(), **settings)


@pytest.mark.parametrize(
    ("image", "named"),
    [
        (torch.zeros(60, 80, 3), "image"),
        (torch.zeros(3, 60, 80, dtype=torch.uint8), "image"),
        (torch.zeros(1, 3, 60, 80), "image"),
        (torch.zeros(3, 9, 80), "size"),
    ],
)
def test_bad_pictures_are_named(image, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        drawing(points_per_side=8, crop_n_layers=3, crop_overlap_ratio=0.1).generate(image)
