import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor as TheirPredictor
from torchvision.models.detection.faster_rcnn import TwoMLPHead as TheirHead
from torchvision.models.detection.roi_heads import RoIHeads as TheirRoIHeads
from torchvision.models.detection.roi_heads import fastrcnn_loss as their_loss
from torchvision.ops import roi_align

import lib.ops.roi
from lib.datasets.toyworld import Toyworld
from lib.layers.small_backbone import SmallBackbone
from lib.models.fast_rcnn import (
    FastRCNN,
    FastRCNNPredictor,
    RoIHeads,
    RoIPooling,
    TwoMLPHead,
    fast_rcnn_small,
    fastrcnn_loss,
    labels_of,
)
from lib.ops.boxes import box_iou
from lib.ops.selective_search import selective_search_small
from lib.training import Batches, evaluate_detection, load_checkpoint, toyworld_detection

CHECKPOINT = Path(__file__).resolve().parents[2] / "data" / "checkpoints" / "07_fast_rcnn.safetensors"


def some_boxes(count, seed, size=96):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * (size - 30)
    return torch.cat([corners, corners + 4 + torch.rand(count, 2, generator=generator) * 26], dim=1)


def tiny(num_classes=4, pool=lib.ops.roi.roi_pool):
    torch.manual_seed(0)
    model = FastRCNN(SmallBackbone(4), num_classes, output_size=3, representation_size=16, pool=pool, min_size=None)
    torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=2)
    return model.eval()


@pytest.mark.parametrize("positives", [0, 3, 8])
def test_the_loss_equals_torchvisions(positives):
    torch.manual_seed(0)
    logits, boxes = torch.randn(8, 4, requires_grad=True), torch.randn(8, 16, requires_grad=True)
    labels = [torch.where(torch.arange(8) < positives, torch.randint(1, 4, (8,)), 0)[:5]] * 2
    labels = [labels[0], labels[0][:3]]
    targets = [torch.randn(5, 4), torch.randn(3, 4)]
    for mine, other in zip(fastrcnn_loss(logits, boxes, labels, targets), their_loss(logits, boxes, labels, targets)):
        torch.testing.assert_close(mine, other)
        for ours, theirs in zip(
            *(
                torch.autograd.grad(one, (logits, boxes), retain_graph=True, allow_unused=True, materialize_grads=True)
                for one in (mine, other)
            )
        ):
            torch.testing.assert_close(ours, theirs)


def test_background_and_other_classes_have_no_box_loss():
    boxes = torch.zeros(2, 12, requires_grad=True)
    _, box_loss = fastrcnn_loss(torch.zeros(2, 3), boxes, [torch.tensor([0, 2])], [torch.ones(2, 4)])
    box_loss.backward()
    assert boxes.grad.nonzero().tolist() == [[1, 8], [1, 9], [1, 10], [1, 11]]
    assert box_loss.item() == pytest.approx(4 * (1 - 0.5 / 9) / 2)  # of two regions one has a box


@pytest.fixture(scope="module")
def pair():
    """torchvision's second stage and ours, with the same random weights."""
    torch.manual_seed(0)
    pool = RoIPooling(3)
    theirs = TheirRoIHeads(pool, TheirHead(5 * 9, 16), TheirPredictor(16, 4), 0.5, 0.4, 24, 0.25, None, 0.05, 0.5, 20)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    ours = RoIHeads(pool, TwoMLPHead(5 * 9, 16), FastRCNNPredictor(16, 4), 0.5, 0.4, 24, 0.25, detections_per_img=20)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def scene():
    torch.manual_seed(3)
    targets = [
        {"boxes": some_boxes(3, 7), "labels": torch.tensor([1, 3, 2])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    near = targets[0]["boxes"].repeat(12, 1) + torch.randn(36, 4) * 3
    proposals = [torch.cat([some_boxes(30, 1), near]), some_boxes(20, 2)]
    return {"0": torch.randn(2, 5, 12, 12)}, proposals, [(96, 96), (90, 80)], targets


@torch.no_grad()
def test_detections_equal_torchvisions(pair):
    ours, theirs = pair
    features, proposals, sizes, _ = scene()
    expected, _ = theirs.eval()(features, proposals, sizes)
    for mine, other in zip(ours.eval()(features, proposals, sizes), expected, strict=True):
        assert len(other["boxes"]) > 10 and len(other["labels"].unique()) > 1
        for name in ("boxes", "scores", "labels"):
            torch.testing.assert_close(mine[name], other[name])


def test_samples_and_losses_equal_torchvisions(pair):
    ours, theirs = pair
    features, proposals, sizes, targets = scene()
    torch.manual_seed(0)
    expected = theirs.train().select_training_samples(list(proposals), targets)
    torch.manual_seed(0)
    samples = ours.select_training_samples(proposals, targets)
    for mine, other in zip((samples.proposals, samples.matched_idxs, samples.labels), expected[:3]):
        for one, another in zip(mine, other, strict=True):
            assert torch.equal(one, another)
    things = samples.labels[0] > 0
    assert things.sum() == 6 and not samples.labels[1].any()
    torch.testing.assert_close(samples.regression_targets[0][things], expected[3][0][things])
    torch.manual_seed(0)
    _, losses = theirs(features, list(proposals), sizes, targets)
    torch.manual_seed(0)
    for name, value in ours.loss(features, proposals, sizes, targets).items():
        assert value > 0
        torch.testing.assert_close(value, losses[name])


def test_the_true_boxes_join_the_proposals_which_stay_as_they_are():
    heads, target = tiny().roi_heads, {"boxes": some_boxes(2, 0), "labels": torch.tensor([3, 1])}
    proposals = [torch.tensor([[0.0, 0, 5, 5]])]
    samples = heads.select_training_samples(proposals, [target])
    assert torch.equal(samples.proposals[0], torch.cat([proposals[0], target["boxes"]])) and len(proposals[0]) == 1
    assert samples.labels[0].tolist() == [0, 3, 1]
    assert samples.regression_targets[0][1:].abs().max() < 1e-5


def test_labels_follow_the_matches():
    assert labels_of(torch.tensor([-2, -1, 0, 1, 1]), torch.tensor([5, 3])).tolist() == [-1, 0, 5, 3, 3]
    assert labels_of(torch.tensor([-1, -1]), torch.zeros(0, dtype=torch.int64)).tolist() == [0, 0]


@torch.no_grad()
def test_a_batch_is_its_pictures_one_by_one():
    model, images = tiny(), torch.rand(3, 3, 96, 96)
    proposals = [some_boxes(20, 1), torch.zeros(0, 4), some_boxes(5, 2)]
    together = model(images, proposals)
    assert [len(one["boxes"]) > 0 for one in together] == [True, False, True]
    for one, image, boxes in zip(together, images, proposals):
        (alone,) = model([image], [boxes])
        for name in ("boxes", "scores", "labels"):
            torch.testing.assert_close(one[name], alone[name])
    assert model(images, [torch.zeros(0, 4)] * 3)[0]["boxes"].shape == (0, 4)


@torch.no_grad()
def test_what_is_detected_lies_on_the_picture_and_is_sorted():
    model = tiny()
    (found,) = model([torch.rand(3, 50, 70)], [some_boxes(40, 4, size=50)])
    assert len(found["boxes"]) > 5 and (found["scores"].diff() <= 0).all() and found["scores"].min() > 0.05
    assert found["labels"].min() >= 1 and found["labels"].max() <= 3
    assert (found["boxes"] >= 0).all() and (found["boxes"] <= torch.tensor([70.0, 50, 70, 50])).all()
    for label in found["labels"].unique():
        boxes = found["boxes"][found["labels"] == label]
        assert (box_iou(boxes, boxes).triu(1) <= 0.5).all()


@torch.no_grad()
def test_proposals_go_with_a_picture_that_is_resized():
    model = tiny()
    image, boxes = torch.rand(3, 64, 64), some_boxes(10, 1, size=64)
    model.transform.min_size = 128
    twice = torch.nn.functional.interpolate(image[None], scale_factor=2, mode="bilinear")
    (found,) = model([image], [boxes])
    (other,) = model(twice, [2 * boxes])
    torch.testing.assert_close(2 * found["boxes"], other["boxes"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["scores"], other["scores"], rtol=1e-4, atol=1e-4)


def test_our_own_pooling_and_the_fast_one_give_the_same_detector():
    images, proposals = torch.rand(2, 3, 96, 96), [some_boxes(6, 1), some_boxes(6, 2)]
    slow, fast = tiny(), tiny()
    fast.roi_heads.box_roi_pool = RoIPooling(3)
    for one, other in zip(slow(images, proposals), fast(images, proposals)):
        torch.testing.assert_close(one["boxes"], other["boxes"])
    features, sizes = {"0": torch.randn(2, 4, 12, 12)}, [(96, 96)] * 2
    align = RoIPooling(3, partial(roi_align, sampling_ratio=2))
    assert not torch.allclose(align(features, proposals, sizes), RoIPooling(3)(features, proposals, sizes))


def test_the_gradient_reaches_the_first_layer():
    model = tiny().train()
    targets = [{"boxes": some_boxes(2, 0), "labels": torch.tensor([1, 2]), "proposals": some_boxes(20, 1)}]
    losses = model.loss(torch.rand(1, 3, 96, 96), targets)
    assert list(losses) == ["loss_classifier", "loss_box_reg"] and all(value > 0 for value in losses.values())
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.backbone.stem[0][0].weight.grad.abs().max() > 0


def test_a_few_steps_on_one_picture_are_learned():
    torch.manual_seed(0)
    model = FastRCNN(SmallBackbone(8), 4, 3, 32, min_size=None).train()
    image = torch.rand(1, 3, 96, 96)
    target = {"boxes": torch.tensor([[10.0, 12, 40, 44], [50, 50, 80, 90]]), "labels": torch.tensor([1, 3])}
    target["proposals"] = torch.cat([target["boxes"] + torch.tensor([2.0, -3, 4, 3]), some_boxes(30, 5)])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        sum(model.loss(image, [target]).values()).backward()
        optimizer.step()
    (found,) = model.eval()(image, [target["proposals"]])
    assert sorted(found["labels"][:2].tolist()) == [1, 3] and found["scores"][:2].min() > 0.5
    assert box_iou(target["boxes"], found["boxes"][:2]).max(1).values.min() > 0.8


def test_without_proposals_and_without_things_there_is_still_a_loss():
    model = tiny().train()
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "proposals": some_boxes(5, 1)}
    losses = model.loss(torch.rand(1, 3, 96, 96), [empty])
    assert losses["loss_classifier"] > 0 and losses["loss_box_reg"] == 0


def test_the_small_one_is_small_and_takes_pictures_as_they_are():
    model = fast_rcnn_small()
    assert 0.3e6 < sum(parameter.numel() for parameter in model.parameters()) < 0.8e6
    assert model.roi_heads.box_predictor.cls_score.out_features == 6
    image = torch.rand(2, 3, 96, 96)
    assert torch.equal(model.transform(image).tensors, image)
    assert copy.deepcopy(model).load_state_dict(model.state_dict(), strict=True)


def test_the_shipped_weights_fit_and_know_toyworld():
    model = fast_rcnn_small()
    made = load_checkpoint(model, CHECKPOINT)
    images, targets = toyworld_detection(Toyworld("val", 20))
    for image, target in zip(images, targets):
        target["proposals"] = selective_search_small(image / 255)[: made["proposals"]]
    measured = evaluate_detection(
        model,
        Batches(images, targets),
        lambda model, images, targets: model(images, [one["proposals"] for one in targets]),
    )
    assert measured["AP50"] > 0.6 and made["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert CHECKPOINT.stat().st_size < 1.5e6
    runs = made["runs"]
    assert [one["seed"] for one in runs["end to end"]] == [one["seed"] for one in runs["backbone frozen"]] == [0, 1, 2]
    learned, frozen = ([one["val"]["AP50"] for one in runs[name]] for name in ("end to end", "backbone frozen"))
    assert min(learned) > max(frozen)


GOOD = {"boxes": some_boxes(2, 0), "labels": torch.tensor([1, 2]), "proposals": some_boxes(5, 1)}


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda model, x: model(x, []), "proposals"),
        (lambda model, x: model(x, [torch.zeros(4)]), "proposals"),
        (lambda model, x: model(x, [torch.zeros(3, 4, dtype=torch.int64)]), "proposals"),
        (lambda model, x: model(x[0], [some_boxes(3, 0)] * 3), "images"),
        (lambda model, x: model.loss(x, []), "targets"),
        (lambda model, x: model.loss(x, [{"labels": GOOD["labels"]}]), "targets"),
        (lambda model, x: model.loss(x, [GOOD | {"labels": torch.tensor([1])}]), "targets"),
        (lambda model, x: model.loss(x, [GOOD | {"labels": torch.tensor([1.0, 2.0])}]), "targets"),
        (lambda model, x: model.loss(x, [GOOD | {"labels": torch.tensor([0, 1])}]), "targets"),
        (lambda model, x: model.loss(x, [GOOD | {"labels": torch.tensor([1, model.num_classes])}]), "targets"),
        (lambda model, x: model.loss(x, [GOOD | {"boxes": GOOD["boxes"] - torch.inf}]), "targets"),
        (lambda model, x: model.loss(x, [GOOD | {"proposals": GOOD["proposals"] * torch.nan}]), "proposals"),
        (lambda model, x: model(x, [GOOD["proposals"] * torch.nan]), "proposals"),
        (lambda model, x: model.loss(x, [GOOD | {"boxes": GOOD["boxes"][:, [2, 1, 0, 3]]}]), "targets"),
        (lambda model, x: model.loss(x, [{"boxes": GOOD["boxes"], "labels": GOOD["labels"]}]), "proposals"),
        (lambda model, x: FastRCNN(SmallBackbone(4), 1), "num_classes"),
        (lambda model, x: RoIPooling(3)({"0": x, "1": x}, [some_boxes(1, 0)], [(96, 96)]), "features"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call(tiny(), torch.rand(1, 3, 96, 96))
