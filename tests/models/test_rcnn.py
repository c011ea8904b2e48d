import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn
from torch.nn import functional as F
from torchvision.ops import box_iou, nms

from lib.models.rcnn import (
    RCNN,
    RegionClassifier,
    Regions,
    draw_batch,
    svm_labels,
)
from lib.ops.warp import context_warp


def mean_colour(crops):
    """A network of three features."""
    return crops.mean(dim=(2, 3))


def coarse_colours(crops):
    """A network that knows the colour of each sixteenth, the ring of context among them: 48 features."""
    return F.adaptive_avg_pool2d(crops, 4).flatten(1)


def scene(seed):
    """A red square (1) and a blue one (2) on grey, 40 × 60: the picture, boxes, labels."""
    draw = torch.Generator().manual_seed(seed)
    image, boxes = torch.full((3, 40, 60), 0.5), []
    for index, colour in enumerate(([1.0, 0.0, 0.0], [0.0, 0.0, 1.0])):
        x, y = torch.randint(0, 15, (2,), generator=draw).tolist()
        x += 30 * index
        image[:, y : y + 14, x : x + 12] = torch.tensor(colour)[:, None, None]
        boxes.append([x, y, x + 12, y + 14])
    return image, torch.tensor(boxes).float(), torch.tensor([1, 2])


def random_boxes(count, seed=0):
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed)) * torch.tensor([60, 40])
    low, high = corners.amin(1).floor(), corners.amax(1).ceil() + 1
    return torch.cat([low, high], dim=1).clamp(max=torch.tensor([60, 40, 60, 40]))


def jittered(boxes, seed=0, count=20):
    noise = torch.randn(count, len(boxes), 4, generator=torch.Generator().manual_seed(seed)) * 1.5
    return (boxes + noise).flatten(0, 1)


# ------------------------------------------------------------------------------------------------ training


def test_who_is_an_example():
    iou = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.1], [0.29, 0.9], [0.3, 0.0]])
    assert svm_labels(iou, torch.tensor([1, 2]), 1).tolist() == [1, 0, -1, 0, -1]
    assert svm_labels(iou, torch.tensor([1, 2]), 2).tolist() == [0, 1, 0, -1, 0]
    assert svm_labels(iou, torch.tensor([1, 1]), 1).tolist() == [1, 1, -1, -1, -1]
    assert svm_labels(iou, torch.tensor([1, 1]), 3).tolist() == [0] * 5


def regions_of_scenes(model, count=12):
    parts = []
    for seed in range(count):
        image, boxes, labels = scene(seed)
        parts.append(model.regions(image, torch.cat([random_boxes(20, seed), jittered(boxes, seed, 5)]), boxes, labels))
    return Regions(*(torch.cat(column) for column in zip(*parts)))


@pytest.fixture(scope="module")
def detector():
    model = RCNN(coarse_colours, width=48, num_classes=3, size=16, context=4)
    regions = regions_of_scenes(model)
    model.fit_svms(regions, strength=1.0)
    model.fit_boxes(regions, ridge=1.0)
    return model


def test_regions_know_their_truth():
    model = RCNN(mean_colour, width=3, num_classes=3, size=16, context=0)
    image, boxes, labels = scene(0)
    proposals = random_boxes(7)
    regions = model.regions(image, proposals, boxes, labels)
    assert torch.equal(regions.boxes, torch.cat([boxes, proposals])) and regions.features.shape == (9, 3)
    iou = box_iou(regions.boxes, boxes)
    torch.testing.assert_close(regions.overlap, iou.amax(1))
    assert torch.equal(regions.matched[:2], boxes) and torch.equal(regions.labels[:2], labels)
    assert torch.equal(regions.kinds[:, 1], svm_labels(iou, labels, 2))
    torch.testing.assert_close(regions.features[0], torch.tensor([20.0, 0.0, 0.0]), rtol=0, atol=1)


def test_it_finds_the_squares(detector):
    for seed in range(100, 105):
        image, boxes, labels = scene(seed)
        found = detector(image, torch.cat([random_boxes(30, seed), jittered(boxes, seed)]))
        best = [found["boxes"][(found["labels"] == label).nonzero()[0, 0]] for label in labels.tolist()]
        assert (box_iou(torch.stack(best), boxes).diagonal() > 0.6).all()
        assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)


def test_detections_are_clipped_and_thinned_class_by_class(detector):
    image, boxes, _ = scene(200)
    found = detector(image, torch.cat([jittered(boxes), torch.tensor([[-20.0, -20, 12, 14]])]))
    assert (found["boxes"] >= 0).all() and (found["boxes"] <= torch.tensor([60, 40, 60, 40])).all()
    for label in (1, 2):
        of_class = found["labels"] == label
        kept = nms(found["boxes"][of_class], found["scores"][of_class], 0.3)
        assert len(kept) == of_class.sum() > 0


def test_no_proposals_give_no_detections(detector):
    found = detector(torch.rand(3, 40, 60), torch.zeros(0, 4))
    assert found["boxes"].shape == (0, 4) and found["scores"].shape == found["labels"].shape == (0,)


def test_hard_negatives_are_those_that_were_wrong():
    model = RCNN(mean_colour, width=3, num_classes=2)
    torch.manual_seed(0)
    others = torch.cat([torch.randn(400, 3) - torch.tensor([9.0, 0, 0]), torch.tensor([[0.5, 0.0, 0.0]] * 20)])
    features = torch.cat([torch.randn(50, 3) * 0.1 + torch.tensor([2.0, 0, 0]), others])
    kinds = torch.tensor([1] * 50 + [0] * 420)[:, None]
    nothing = torch.zeros(470, 4)
    regions = Regions(features, kinds, nothing, nothing, torch.zeros(470), kinds[:, 0])
    assert model.fit_svms(regions, strength=1.0, negatives=5, rounds=0) == [5]
    easy = (model.svm(others[-20:]) > 0).all()
    used = model.fit_svms(regions, strength=1.0, negatives=5, rounds=1)[0]
    assert easy and 20 <= used < 100 and (model.svm(others[-20:]) < 0).all()


def test_the_box_regression_is_ridge_regression():
    torch.manual_seed(0)
    model = RCNN(mean_colour, width=3, num_classes=3)
    features, overlap = torch.randn(80, 3), torch.rand(80)
    matched = torch.tensor([10.0, 10, 30, 40]) + torch.randn(80, 4)
    boxes, labels = matched + torch.randn(80, 4) * 2, torch.randint(1, 3, (80,))
    model.fit_boxes(Regions(features, torch.zeros(80, 2), boxes, matched, overlap, labels), ridge=10.0, overlap=0.5)
    pairs = (labels == 2) & (overlap > 0.5)
    truth = Ridge(alpha=10.0).fit(features[pairs], model.coder.encode_single(matched[pairs], boxes[pairs]))
    torch.testing.assert_close(model.regressor.weight[4:], torch.tensor(truth.coef_).float(), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(model.regressor.bias[4:], torch.tensor(truth.intercept_).float(), rtol=1e-3, atol=1e-5)


def test_the_regression_brings_boxes_closer(detector):
    image, boxes, labels = scene(300)
    proposals = jittered(boxes, 5)
    moved = detector.coder.decode_single(detector.regressor(detector.region_features(image, proposals)), proposals)
    moved = moved.unflatten(1, (-1, 4))[torch.arange(40), labels.repeat(20) - 1]  # (40, 4)
    truth = boxes.repeat(20, 1)
    assert box_iou(moved, truth).diagonal().mean() > box_iou(proposals, truth).diagonal().mean() + 0.03


def test_the_network_is_not_stored(detector):
    assert sum(tensor.numel() for tensor in detector.state_dict().values()) == 49 * 2 + 49 * 8


# ------------------------------------------------------------------------------------------------ fine-tuning


def stages():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())


def test_a_region_classifier_gives_features_as_the_detector_does():
    network = RegionClassifier(stages(), 16, 3).eval()
    model = RCNN(lambda crops: F.adaptive_avg_pool2d(network.stages(crops), 2).flatten(1), 16, 3, size=24, context=2)
    image, boxes, _ = scene(0)
    described = network.describe(context_warp(image, boxes, 24, 2))  # (2, 16)
    torch.testing.assert_close(described, model.region_features(image, boxes))
    torch.testing.assert_close(network(context_warp(image, boxes, 24, 2)), network.head(described))


def test_fine_tuning_reaches_the_stages_but_not_their_statistics():
    network = RegionClassifier(stages(), 16, 3).train()
    mean, weight = network.stages[1].running_mean.clone(), network.stages[0].weight
    F.cross_entropy(network(torch.rand(6, 3, 8, 8)), torch.tensor([0, 1, 2, 0, 1, 2])).backward()
    assert weight.grad.abs().sum() > 0
    assert torch.equal(network.stages[1].running_mean, mean)
    assert network.head.training


def test_a_batch_holds_things_first_and_every_region_has_its_turn():
    overlap = torch.tensor([0.5, 0.499, 1.0, 0.0, 0.7])
    places = draw_batch(overlap, torch.Generator().manual_seed(0), things=40, others=30)
    assert places.shape == (70,)
    assert set(places[:40].tolist()) == {0, 2, 4}
    assert set(places[40:].tolist()) == {1, 3}


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: RCNN(mean_colour, 3, 1), "num_classes"),
        (lambda: draw_batch(torch.tensor([0.2, 0.4]), torch.Generator()), "overlap"),
        (lambda: draw_batch(torch.tensor([0.5]), torch.Generator()), "overlap"),
        (lambda: RCNN(mean_colour, 3, 2)(torch.zeros(1, 3, 4, 4), torch.zeros(1, 4)), "image"),
        (
            lambda: RCNN(mean_colour, 3, 3).fit_svms(
                Regions(torch.zeros(1, 3), torch.ones(1, 2), *[torch.zeros(1, 4)] * 4)
            ),
            "regions",
        ),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
