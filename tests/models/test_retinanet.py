"""RetinaNet: equal to torchvision's stage by stage, with all weights redrawn."""

from functools import partial

import pytest
import torch
from torch import nn
from torchvision.models import resnet50
from torchvision.models.detection import RetinaNet as TheirRetinaNet
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.retinanet import _default_anchorgen
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from lib.layers.fpn import ConcatPyramid, FeaturePyramidNetwork, NoWayDown
from lib.layers.small_backbone import SmallBackbone
from lib.models.retinanet import (
    RetinaNet,
    RetinaNetClassificationHead,
    nine_anchors,
    retinanet_resnet50_fpn,
    retinanet_small,
    retinanet_small_fpn,
)
from lib.ops.anchors import AnchorGenerator
from tests.models.peers import centre, close, equal_maps, redraw, some_pictures, some_targets

MIN_SIZE, MAX_SIZE = 160, 266
NOTHING = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}


@pytest.fixture(scope="module")
def images():
    return some_pictures()


@pytest.fixture(scope="module")
def pair(images):
    """torchvision's model, built as the one with the published weights is, and ours, with the same random weights."""
    torch.manual_seed(0)
    body = resnet50(weights=None, norm_layer=partial(FrozenBatchNorm2d, eps=0.0))
    backbone = _resnet_fpn_extractor(body, 5, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
    theirs = TheirRetinaNet(backbone, 91, min_size=MIN_SIZE, max_size=MAX_SIZE).eval()
    redraw(theirs, torch.Generator().manual_seed(0))
    with torch.no_grad():
        batch, _ = theirs.transform(images)
        features = theirs.backbone(batch.tensors)
        heads = theirs.head.classification_head, theirs.head.regression_head
        centre(heads[0].cls_logits, heads[0].conv(features["0"]), 1.5)
        heads[0].cls_logits.bias -= 3.0
        centre(heads[1].bbox_reg, heads[1].conv(features["0"]), 0.3)
    ours = retinanet_resnet50_fpn().eval()
    ours.transform.min_size, ours.transform.max_size = MIN_SIZE, MAX_SIZE
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


@torch.no_grad()
def test_equals_torchvision_stage_by_stage(pair, images):
    ours, theirs = pair
    batch, (their_batch, _) = ours.transform(images), theirs.transform(images)
    features, their_features = ours.backbone(batch.tensors), theirs.backbone(their_batch.tensors)
    equal_maps(features, their_features, ["0", "1", "2", "p6", "p7"])
    output, expected = ours.predict(batch.tensors), theirs.head(list(their_features.values()))
    close(output.cls_logits, expected["cls_logits"])
    close(output.bbox_regression, expected["bbox_regression"])
    assert output.cls_logits.std() > 0.5 and output.bbox_regression.std() > 0.1
    anchors = theirs.anchor_generator(their_batch, list(their_features.values()))
    assert torch.equal(output.anchors, anchors[0]) and sum(output.level_sizes) == len(anchors[0])


@torch.no_grad()
def test_equals_torchvision_from_pictures_to_detections(pair, images):
    ours, theirs = pair
    for mine, other in zip(ours(images), theirs(images), strict=True):
        assert len(other["boxes"]) > 10 and len(other["labels"].unique()) > 3, "few detections would prove little"
        assert torch.equal(mine["labels"], other["labels"])
        close(mine["boxes"], other["boxes"])
        close(mine["scores"], other["scores"])


@pytest.mark.parametrize("empty", [False, True])
def test_losses_and_their_gradients_equal_torchvisions(pair, images, empty):
    ours, theirs = pair
    targets = [NOTHING, some_targets()[1]] if empty else some_targets()
    ours.train(), theirs.train()
    theirs.transform.eval()  # in training it draws a size for each picture, though there is only one
    try:
        expected = theirs(images, [dict(target) for target in targets])
        sum(expected.values()).backward()
        losses = ours.loss(images, targets)
        sum(losses.values()).backward()
    finally:
        ours.eval(), theirs.eval()
    assert list(losses) == ["classification", "bbox_regression"]
    for name, value in losses.items():
        assert value > 0
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        assert gradients[name].abs().max() > 0, name
        close(parameter.grad, gradients[name], 1e-4)
    ours.zero_grad(), theirs.zero_grad()


def test_weights_go_both_ways_and_old_names_are_understood(pair):
    ours, theirs = pair
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert sum(parameter.numel() for parameter in ours.parameters()) == 34_014_999  # torchvision's published figure
    old = {}
    for name, tensor in ours.state_dict().items():
        if ".fpn.inner_blocks" in name or ".fpn.layer_blocks" in name:
            name = name.replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        if name.startswith("head") and ".conv." in name:
            number = int(name.split(".conv.")[1].split(".")[0])
            name = name.replace(f"conv.{number}.0.", f"conv.{2 * number}.")
        old[name] = tensor
    assert "head.regression_head.conv.6.bias" in old and "backbone.fpn.inner_blocks.0.weight" in old
    fresh = retinanet_resnet50_fpn()
    fresh.load_state_dict(old, strict=True)
    assert all(torch.equal(tensor, fresh.state_dict()[name]) for name, tensor in ours.state_dict().items())


def test_the_nine_anchors_are_torchvisions():
    ours, theirs = nine_anchors((32, 64, 128, 256, 512)), _default_anchorgen()
    assert ours.sizes == theirs.sizes and ours.num_anchors_per_location() == [9] * 5
    for mine, other in zip(ours.cell_anchors, theirs.cell_anchors, strict=True):
        assert torch.equal(mine, other)


def test_at_the_start_a_thing_is_as_probable_as_the_prior_says():
    head = RetinaNetClassificationHead(8, 3, 5, prior_probability=0.02)
    assert head([torch.zeros(1, 8, 2, 2)]).sigmoid().mean().item() == pytest.approx(0.02)


def small(**options):
    anchors = AnchorGenerator(((12, 20),), ((1.0,),))
    return RetinaNet(SmallBackbone(4), 6, anchors, min_size=None, **options)


def test_without_any_thing_there_is_background_alone_to_learn():
    losses = small().loss(torch.rand(2, 3, 32, 32), [NOTHING, NOTHING])
    assert losses["classification"] > 0 and losses["bbox_regression"] == 0
    sum(losses.values()).backward()


def test_another_loss_of_the_classes_gets_what_counts_and_what_is_wanted():
    torch.manual_seed(0)
    model, seen = small(), []

    def count(logits, wanted):
        seen.append((logits, wanted))
        return 10 * wanted.sum() + 0 * logits.sum()

    model.classification_loss = count
    target = {"boxes": torch.tensor([[6.0, 6, 26, 26]]), "labels": torch.tensor([3])}
    losses = model.loss(torch.rand(1, 3, 32, 32), [target])
    ((logits, wanted),) = seen
    assert logits.shape == wanted.shape and logits.requires_grad
    assert len(logits) < 2 * 16  # anchors that are too close to call are not judged
    assert wanted.sum() > 0 and wanted.sum(dim=0)[[0, 1, 2, 4, 5]].sum() == 0
    assert losses["classification"] == 10  # divided by the number of positive anchors


def test_the_small_one_takes_one_map_or_a_pyramid():
    class Two(SmallBackbone):
        def forward(self, x):
            deep = super().forward(x)["0"]
            return {"0": deep, "1": deep[..., ::2, ::2]}

    images = torch.rand(1, 3, 96, 96)
    assert retinanet_small().predict(images).level_sizes == [1296]
    model = retinanet_small(4, Two(4), ((12, 20), (34, 48)))
    output = model.predict(images)
    assert output.level_sizes == [144 * 6, 36 * 6] and output.cls_logits.shape == (1, 1080, 4)
    losses = model.loss(images, [{"boxes": torch.tensor([[4.0, 4, 20, 20]]), "labels": torch.tensor([3])}])
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("pyramid", [FeaturePyramidNetwork, ConcatPyramid, NoWayDown])
def test_the_small_one_on_a_pyramid(pyramid):
    torch.manual_seed(0)
    model, images = retinanet_small_fpn(4, pyramid), torch.rand(2, 3, 96, 96)
    output = model.predict(images)
    assert output.level_sizes == [576 * 9, 144 * 9, 36 * 9] and output.cls_logits.shape == (2, 6804, 4)
    sides = [(one[:, 2:] - one[:, :2]).prod(dim=1).sqrt() for one in output.anchors.split(output.level_sizes)]
    for number, one in enumerate(sides):  # three sizes a level, and the next level begins where this one ends
        assert one.min() == pytest.approx(8 * 2**number, rel=0.1)
        assert one.max() == pytest.approx(8 * 2 ** (number + 2 / 3), rel=0.1)
    target = {"boxes": torch.tensor([[4.0, 4, 14, 14], [20, 20, 60, 70]]), "labels": torch.tensor([3, 1])}
    losses = model.loss(images, [target, NOTHING])
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_small_ones_have_as_many_parameters_with_one_map_and_with_a_pyramid():
    one = sum(parameter.numel() for parameter in retinanet_small().parameters())
    for pyramid in (FeaturePyramidNetwork, ConcatPyramid, NoWayDown):
        several = sum(parameter.numel() for parameter in retinanet_small_fpn(pyramid=pyramid).parameters())
        assert several == pytest.approx(one, rel=0.01)


def test_a_level_gives_at_most_its_best_candidates():
    torch.manual_seed(0)
    model = small(score_thresh=0.0, topk_candidates=7, nms_thresh=1.0).eval()
    nn.init.normal_(model.head.classification_head.cls_logits.weight, std=1.0)
    output = model.predict(torch.rand(1, 3, 32, 32))
    (found,) = model.postprocess_detections(output, [(32, 32)])
    assert len(found["boxes"]) == 7
    best = output.cls_logits.sigmoid().flatten().topk(7).values
    torch.testing.assert_close(found["scores"], best)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: RetinaNet(SmallBackbone(4), 1), "num_classes"),
        (lambda: small().loss(torch.rand(1, 3, 32, 32), [NOTHING, NOTHING]), "targets"),
        (lambda: small().loss(torch.rand(1, 3, 32, 32), [{"boxes": torch.zeros(1, 4)}]), "targets"),
        (
            lambda: small().loss(
                torch.rand(1, 3, 32, 32),
                [{"boxes": torch.tensor([[0.0, 0, 9, 9]]), "labels": torch.tensor([6])}],
            ),
            "targets",
        ),
        (lambda: small()([]), "images"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        call()
