"""SSD: equal to torchvision's default boxes, matching, losses and detections, on the course's small backbone."""

import pytest
import torch
from torch import nn
from torchvision.models.detection._utils import SSDMatcher as TheirMatcher
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator as TheirGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD as TheirSSD
from torchvision.ops import box_iou

from lib.datasets.toyworld import Toyworld
from lib.layers.small_backbone import SmallStages
from lib.models.ssd import SSD, DefaultBoxGenerator, SSDMatcher, default_sizes, ssd_small
from lib.training import toyworld_detection
from tests.models.peers import centre, close, redraw

RATIOS = ((2,), (2, 3), (2,))
SIZE = (96, 64)  # height, width
NOTHING = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
TRUTH = {
    "boxes": torch.tensor([[4.0, 4, 22, 20], [10, 30, 60, 90], [40, 8, 52, 30]]),
    "labels": torch.tensor([2, 5, 1]),
}
FEW = {"boxes": torch.tensor([[20.0, 20, 50, 60]]), "labels": torch.tensor([3])}


def small(**options):
    stages = SmallStages(4)
    return SSD(stages, stages.channels, DefaultBoxGenerator(RATIOS), 6, **options)


@pytest.fixture
def images():
    return torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def pair(images):
    """torchvision's model and ours, with the same random weights."""
    torch.manual_seed(0)
    stages = SmallStages(4)
    stages.out_channels = stages.channels  # what torchvision's asks for
    theirs = TheirSSD(stages, TheirGenerator([list(level) for level in RATIOS]), SIZE[::-1], 6).eval()
    redraw(theirs, torch.Generator().manual_seed(0))
    for number, one in enumerate(stages(images).values()):
        centre(theirs.head.classification_head.module_list[number], one, 1.5)
        centre(theirs.head.regression_head.module_list[number], one, 0.5)
    ours = small().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


@pytest.mark.parametrize("ratios", [((2,), (2, 3), (2, 3)), ((2,), (2,)), ((), (3,)), ((2,),)])
@pytest.mark.parametrize("scales", [None, (0.1, 0.3, 0.9, 1.5)])
@pytest.mark.parametrize("size", [(96, 96), (96, 64)])
def test_default_boxes_are_torchvisions(ratios, scales, size):
    scales = scales[: len(ratios) + 1] if scales else None
    maps = [torch.zeros(1, 1, size[0] // 2**k, size[1] // 2**k) for k in range(3, 3 + len(ratios))]
    ours = DefaultBoxGenerator(ratios, scales=scales)
    theirs = TheirGenerator([list(level) for level in ratios], scales=list(scales) if scales else None)
    expected = theirs(ImageList(torch.zeros(1, 3, *size), [size]), maps)[0]
    assert ours.num_anchors_per_location() == theirs.num_anchors_per_location()
    torch.testing.assert_close(ours(size, maps), expected)


def test_scales_and_sizes_are_those_of_the_paper():
    generator = DefaultBoxGenerator(((2,),) * 6, min_ratio=0.2, max_ratio=0.9)
    assert generator.scales == pytest.approx((0.2, 0.34, 0.48, 0.62, 0.76, 0.9, 1.0))
    sizes = default_sizes(0.2, 0.34, (2, 3))
    assert len(sizes) == 6
    areas, shapes = sizes.prod(dim=1), sizes[:, 0] / sizes[:, 1]
    torch.testing.assert_close(areas, torch.tensor([0.04, 0.068, 0.04, 0.04, 0.04, 0.04]))
    torch.testing.assert_close(shapes, torch.tensor([1, 1, 2, 1 / 2, 3, 1 / 3]))


def test_a_default_box_lies_around_the_middle_of_its_cell():
    boxes = DefaultBoxGenerator(((2,),), scales=(0.25, 0.5))((32, 64), [torch.zeros(1, 1, 4, 8)])
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    torch.testing.assert_close(middles.view(4, 8, 4, 2)[2, 5], torch.tensor([[44.0, 20.0]]).expand(4, 2))


@pytest.mark.parametrize("seed", range(4))
def test_matching_is_torchvisions(seed):
    overlap = torch.rand(4, 50, generator=torch.Generator().manual_seed(seed)) ** 3
    matches = SSDMatcher(0.5)(overlap)
    assert torch.equal(matches, TheirMatcher(0.5)(overlap))
    assert set(matches.tolist()) == {-1, 0, 1, 2, 3}
    high = SSDMatcher(1.0)(overlap)  # the threshold is out of reach: each truth has its best one, and no more
    assert torch.equal((high >= 0).nonzero()[:, 0], overlap.argmax(dim=1).unique())


def test_matching_without_truth_and_with_one_that_no_box_touches():
    assert SSDMatcher(0.5)(torch.zeros(0, 5)).tolist() == [-1] * 5
    assert SSDMatcher(0.5)(torch.zeros(2, 5)).tolist() == [-1] * 5


@torch.no_grad()
def test_equals_torchvision_from_pictures_to_detections(pair, images):
    ours, theirs = pair
    for mine, other in zip(ours(images), theirs(list(images)), strict=True):
        assert len(other["boxes"]) > 10 and len(other["labels"].unique()) > 3, "few detections would prove little"
        assert torch.equal(mine["labels"], other["labels"])
        close(mine["boxes"], other["boxes"])
        close(mine["scores"], other["scores"])


@pytest.mark.parametrize("targets", [[TRUTH, FEW], [NOTHING, TRUTH], [NOTHING, NOTHING]])
def test_losses_and_their_gradients_equal_torchvisions(pair, images, targets):
    ours, theirs = pair
    ours.train(), theirs.train()
    expected = theirs(list(images), [dict(target) for target in targets])
    sum(expected.values()).backward()
    losses = ours.loss(images, targets)
    sum(losses.values()).backward()
    assert list(losses) == ["classification", "bbox_regression"]
    for name, value in losses.items():
        assert (value > 0) == any(len(target["boxes"]) for target in targets)
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-5)


def test_three_backgrounds_are_learned_from_for_each_thing(images):
    torch.manual_seed(0)
    model, logits = small().train(), []
    head = model.head.classification_head
    head.register_forward_hook(lambda module, inputs, out: logits.append(out))
    head.register_forward_hook(lambda module, inputs, out: out.retain_grad())
    model.loss(images, [TRUTH, NOTHING])["classification"].backward()
    learned = logits[0].grad.abs().sum(dim=2) > 0  # (2, D)
    defaults = model.predict(images)[0]
    positives = int((model.proposal_matcher(box_iou(TRUTH["boxes"], defaults)) >= 0).sum())
    assert learned.sum(dim=1).tolist() == [4 * positives, 0]


def test_a_batch_is_its_pictures(images):
    torch.manual_seed(0)
    model = small(score_thresh=0.0).eval()
    for one, alone in zip(model(images), (model(images[:1])[0], model(images[1:])[0])):
        torch.testing.assert_close(one, alone)
    both, parts = model.loss(images, [TRUTH, NOTHING]), model.loss(images[:1], [TRUTH])
    for name in both:
        torch.testing.assert_close(both[name], parts[name])  # divided by the things' boxes of the whole batch


def test_pictures_of_other_sizes():
    found = small(score_thresh=0.0).eval()([torch.rand(3, 40, 70), torch.rand(3, 64, 33)])
    for one, (height, width) in zip(found, [(40, 70), (64, 33)]):
        assert len(one["boxes"]) and one["boxes"][:, [0, 2]].max() <= width and one["boxes"][:, [1, 3]].max() <= height
        assert (one["boxes"] >= 0).all() and (one["scores"].diff() <= 0).all()
        assert set(one["labels"].tolist()) <= {1, 2, 3, 4, 5}


def test_the_small_one_is_as_the_text_says():
    model = ssd_small()
    defaults, logits, moves = model.predict(torch.rand(1, 3, 96, 96))
    assert defaults.shape == (3024, 4) and logits.shape == (1, 3024, 6) and moves.shape == (1, 3024, 4)
    sides = (defaults[:, 2:] - defaults[:, :2]).prod(dim=1).sqrt().round().int().unique().tolist()
    assert sides == [8, 11, 16, 23, 32, 45]


def test_four_scenes_are_learned():
    torch.manual_seed(0)
    pictures, targets = toyworld_detection(Toyworld("train", 4))
    images, model = pictures.float() / 255, ssd_small().train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(45):
        optimizer.zero_grad()
        sum(model.loss(images, targets).values()).backward()
        optimizer.step()
    model.eval()
    for module in model.modules():  # the pictures' own statistics, as in training
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    with torch.no_grad():
        found = model(images)
    for one, target in zip(found, targets, strict=True):
        best = box_iou(target["boxes"], one["boxes"]).max(dim=1)
        assert best.values.min() > 0.6
        sure = one["scores"] > 0.5
        assert abs(int(sure.sum()) - len(target["boxes"])) <= 1


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: SSD(SmallStages(4), [8, 16, 16], DefaultBoxGenerator(RATIOS), 1), "num_classes"),
        (lambda: SSD(SmallStages(4), [8, 16], DefaultBoxGenerator(RATIOS), 6), "in_channels"),
        (lambda: DefaultBoxGenerator(()), "aspect_ratios"),
        (lambda: DefaultBoxGenerator(((0,),)), "aspect_ratios"),
        (lambda: DefaultBoxGenerator(((2,),), scales=(0.5,)), "scales"),
        (lambda: DefaultBoxGenerator(((2,),), scales=(0.0, 0.5)), "scales"),
        (lambda: DefaultBoxGenerator(((2,),))((32, 32), [torch.zeros(1, 1, 4, 4)] * 2), "feature_maps"),
        (lambda: small().loss(torch.rand(1, 3, 32, 32), [NOTHING, NOTHING]), "targets"),
        (lambda: small().loss(torch.rand(1, 3, 32, 32), [{"boxes": torch.zeros(1, 4)}]), "targets"),
        (lambda: small().loss(torch.rand(1, 3, 96, 64), [FEW | {"labels": torch.tensor([6])}]), "targets"),
        (lambda: small().loss(torch.rand(1, 3, 96, 64), [FEW | {"labels": torch.tensor([0])}]), "targets"),
        (lambda: small().loss(torch.rand(1, 3, 96, 64), [FEW | {"boxes": torch.zeros(1, 4)}]), "targets"),
        (lambda: small()([]), "images"),
        (lambda: small()(torch.rand(1, 1, 32, 32)), "images"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
