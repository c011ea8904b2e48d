import copy
import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet50
from torchvision.models.detection import MaskRCNN as TheirMaskRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.roi_heads import maskrcnn_inference, maskrcnn_loss, paste_masks_in_image
from torchvision.ops import FrozenBatchNorm2d, roi_pool

from lib.datasets.toyworld import Toyworld
from lib.models.mask_rcnn import (
    MaskRCNNHeads,
    MaskRCNNPredictor,
    mask_loss,
    mask_loss_across_classes,
    mask_rcnn_small,
    maskrcnn_resnet50_fpn,
)
from lib.ops.boxes import box_iou
from lib.ops.masks import mask_iou, project_masks_on_boxes
from lib.ops.matching import BalancedPositiveNegativeSampler
from lib.training import Batches, evaluate_detection, load_checkpoint, toyworld_detection
from tests.models.peers import centre, close, equal_maps, redraw_two_stages, some_pictures, some_targets

MIN_SIZE, MAX_SIZE = 160, 266

CHECKPOINTS = Path(__file__).resolve().parents[2] / "data" / "checkpoints"


def ellipses(boxes, height, width):
    """(N, 4) -> (N, H, W) bool: an ellipse in each box."""
    rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
    left, top, right, bottom = (side[:, None, None] for side in boxes.unbind(1))
    across, down = (2 * columns - left - right) / (right - left), (2 * rows - top - bottom) / (bottom - top)
    return across**2 + down**2 < 1


@pytest.fixture(scope="module")
def images():
    return some_pictures()


@pytest.fixture
def targets(images):
    return [
        target | {"masks": ellipses(target["boxes"], *image.shape[1:])}
        for target, image in zip(some_targets(), images, strict=True)
    ]


@pytest.fixture(scope="module")
def pair(images):
    """torchvision's model, built as the one with the published weights is, and ours, with the same random weights."""
    torch.manual_seed(0)
    body = resnet50(weights=None, norm_layer=partial(FrozenBatchNorm2d, eps=0.0))
    theirs = TheirMaskRCNN(_resnet_fpn_extractor(body, 5), 91, min_size=MIN_SIZE, max_size=MAX_SIZE).eval()
    batch, features, proposals = redraw_two_stages(theirs, images)
    heads = theirs.roi_heads
    with torch.no_grad():
        boxes = [some[:20] for some in proposals]
        regions = heads.mask_head(heads.mask_roi_pool(features, boxes, batch.image_sizes))
        centre(heads.mask_predictor.mask_fcn_logits, heads.mask_predictor.conv5_mask(regions).relu(), 2.0)
    ours = maskrcnn_resnet50_fpn().eval()
    ours.transform.min_size, ours.transform.max_size = MIN_SIZE, MAX_SIZE
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


@torch.no_grad()
def test_equals_torchvision_stage_by_stage(pair, images):
    ours, theirs = pair
    batch = ours.transform(images)
    their_batch, _ = theirs.transform(images)
    assert batch.image_sizes == their_batch.image_sizes and batch.image_sizes[0] != batch.image_sizes[1]
    torch.testing.assert_close(batch.tensors, their_batch.tensors, rtol=0, atol=0)

    features, their_features = ours.backbone(batch.tensors), theirs.backbone(their_batch.tensors)
    equal_maps(features, their_features, ["0", "1", "2", "3", "pool"])

    proposals, _ = theirs.rpn(their_batch, their_features)
    for mine, expected in zip(ours.rpn(batch, their_features), proposals, strict=True):
        assert len(expected) > 100
        close(mine["boxes"], expected)

    heads = theirs.roi_heads
    answers = heads.box_predictor(heads.box_head(heads.box_roi_pool(their_features, proposals, batch.image_sizes)))
    found = ours.roi_heads(their_features, proposals, batch.image_sizes)
    boxes, scores, labels = heads.postprocess_detections(*answers, proposals, their_batch.image_sizes)
    for number, mine in enumerate(found):
        assert torch.equal(mine["labels"], labels[number]) and len(labels[number].unique()) > 3
        close(mine["boxes"], boxes[number])
        close(mine["scores"], scores[number])

    large = torch.tensor([[3.0, 5, 150, 140], [-2, -4, 30, 155]])  # the detections are small
    boxes = [torch.cat([one, large]) for one in boxes]
    labels = [torch.cat([one, torch.tensor([7, 1])]) for one in labels]
    regions = heads.mask_roi_pool(their_features, boxes, their_batch.image_sizes)
    close(ours.mask_roi_pool(their_features, boxes, batch.image_sizes), regions)
    levels = ours.mask_roi_pool.levels(boxes, [1 / 4, 1 / 8, 1 / 16, 1 / 32])
    assert len(levels.unique()) >= 2, "regions of several levels should have been cut"
    close(ours.mask_head(regions), heads.mask_head(regions))
    logits = heads.mask_predictor(heads.mask_head(regions))
    assert logits.shape == (sum(len(one) for one in boxes), 91, 28, 28) and logits.std() > 0.5
    close(ours.predict_masks(their_features, boxes, batch.image_sizes), logits)
    expected = torch.cat(maskrcnn_inference(logits, labels))[:, 0]
    close(ours.masks_of_labels(logits, torch.cat(labels)), expected)
    assert expected.std() > 0.1


@torch.no_grad()
def test_equals_torchvision_from_pictures_to_pasted_masks(pair, images):
    ours, theirs = pair
    for mine, other, image in zip(ours(images), theirs(images), images, strict=True):
        assert len(other["boxes"]) > 10 and len(other["labels"].unique()) > 3, "few detections would prove little"
        assert torch.equal(mine["labels"], other["labels"])
        close(mine["boxes"], other["boxes"])
        close(mine["scores"], other["scores"])
        assert mine["masks"].shape == (len(mine["boxes"]), *image.shape[1:])
        assert (other["masks"] > 0.5).flatten(1).any(1).sum() > 10 and other["masks"].std() > 0.1
        close(mine["masks"], other["masks"][:, 0])


def test_losses_and_their_gradients_equal_torchvisions(pair, images, targets):
    ours, theirs = (copy.deepcopy(model) for model in pair)
    ours.train(), theirs.train()
    theirs.transform.eval()  # in training it draws a size for each picture, though there is only one
    for part in (ours.rpn, ours.roi_heads, theirs.rpn, theirs.roi_heads):
        part.fg_bg_sampler.batch_size_per_image = 1_000_000  # all are drawn: the order of drawing does not matter
    try:
        expected = theirs(images, [dict(target) for target in targets])
        sum(expected.values()).backward()
        losses = ours.loss(images, targets)
        sum(losses.values()).backward()
    finally:
        ours.eval(), theirs.eval()
    assert list(losses) == ["loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask"]
    assert set(losses) == set(expected)
    for name, value in losses.items():
        assert value > 0
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    gradients = {
        name.replace("roi_heads.mask_", "mask_"): parameter.grad for name, parameter in theirs.named_parameters()
    }
    for name, _ in ours.named_parameters():
        assert gradients.pop(name).abs().max() > 0, name
    assert not gradients
    for name, parameter in theirs.named_parameters():
        close(ours.get_parameter(name.replace("roi_heads.mask_", "mask_")).grad, parameter.grad, 1e-4)
    ours.zero_grad(), theirs.zero_grad()


def test_weights_fit_and_old_names_are_understood(pair):
    ours, theirs = pair
    assert sum(parameter.numel() for parameter in ours.parameters()) == 44_401_393  # torchvision's published figure
    published = theirs.state_dict()
    old = {
        name.replace("rpn.head.conv.0.0.", "rpn.head.conv."): tensor
        for name, tensor in published.items()
        if ".mask_head." not in name
    }
    for number in range(4):
        for kind in ("weight", "bias"):
            tensor = published[f"roi_heads.mask_head.{number}.0.{kind}"]
            old[f"roi_heads.mask_head.mask_fcn{number + 1}.{kind}"] = tensor
    assert len(old) == len(published) and not set(old) <= set(published)
    fresh = maskrcnn_resnet50_fpn()
    for weights in (old, ours.state_dict()):
        for tensor in fresh.state_dict().values():
            tensor.zero_()
        names = set(weights)
        fresh.load_state_dict(weights, strict=True)
        assert set(weights) == names, "the dictionary that is handed in stays as it is"
        assert all(torch.equal(tensor, fresh.state_dict()[name]) for name, tensor in ours.state_dict().items())
    with pytest.raises(RuntimeError, match="mask_head.3.0.bias"):
        fresh.load_state_dict({name: one for name, one in old.items() if "mask_fcn4.bias" not in name}, strict=True)


def test_branch_has_the_shapes_of_the_paper():
    regions = torch.rand(3, 8, 14, 14)
    heads, predictor = MaskRCNNHeads(8, (6, 5)), MaskRCNNPredictor(5, 4, 7)
    assert heads(regions).shape == (3, 5, 14, 14) and (heads(regions) >= 0).all()
    assert predictor(heads(regions)).shape == (3, 7, 28, 28)
    assert predictor(heads(regions[:0])).shape == (0, 7, 28, 28)


def test_mask_loss_asks_the_true_class_alone():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4, 2, 2, requires_grad=True), torch.tensor([2, 1, 2])
    wanted = torch.rand(3, 2, 2)
    loss = mask_loss(logits, labels, wanted)
    by_hand = 0.0
    for region, label in enumerate(labels.tolist()):
        for share, target in zip(logits[region, label].sigmoid().flatten().tolist(), wanted[region].flatten().tolist()):
            by_hand -= (target * math.log(share) + (1 - target) * math.log(1 - share)) / 12
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    asked = torch.zeros(3, 4, dtype=torch.bool)
    asked[range(3), labels] = True
    assert torch.equal(gradient.flatten(2).ne(0).any(-1), asked)
    boxes = torch.tensor([[0.0, 0, 6, 6], [2, 1, 8, 7]])
    masks = torch.rand(2, 9, 9).round()
    places = torch.tensor([1, 0])
    from_torchvision = maskrcnn_loss(logits[:2], [boxes], [masks], [labels[[1, 0]]], [places])
    cut = project_masks_on_boxes(masks, boxes, places, 2)
    torch.testing.assert_close(mask_loss(logits[:2], labels[[1, 0]][places], cut), from_torchvision)


def test_mask_loss_across_classes_by_hand():
    """One region, three classes, two cells: shares 1/4, 1/4, 1/2 and 1/8, 5/8, 1/4."""
    shares = torch.tensor([[0.25, 0.125], [0.25, 0.625], [0.5, 0.25]])
    logits = shares.log()[None, :, :, None] + 3.0  # (1, 3, 2, 1); a softmax does not see what is added to all
    loss = mask_loss_across_classes(logits, torch.tensor([2]), torch.tensor([[[1.0], [0.3]]]))
    expected = -(math.log(0.5) + 0.3 * math.log(0.25) + 0.7 * math.log(0.125)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(mask_loss_across_classes(logits, torch.tensor([2]), torch.ones(1, 2, 1)), logits)
    torch.testing.assert_close(gradient[0, :, :, 0], (shares - torch.tensor([[0.0], [0], [1]])) / 2)
    with_rivals = mask_rcnn_small(3, across_classes=True).masks_of_labels(logits, torch.tensor([1]))
    torch.testing.assert_close(with_rivals, shares[None, 1, :, None])
    without = mask_rcnn_small(3).masks_of_labels(logits, torch.tensor([1]))
    torch.testing.assert_close(without, logits[:, 1].sigmoid())


@pytest.mark.parametrize("criterion", [mask_loss, mask_loss_across_classes])
def test_no_region_no_loss(criterion):
    logits = torch.zeros(0, 3, 4, 4, requires_grad=True)
    loss = criterion(logits, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4, 4))
    loss.backward()
    assert loss == 0 and logits.grad is not None


def tiny(**options):
    """A small model whose heads have lost their quiet start."""
    torch.manual_seed(0)
    model = mask_rcnn_small(4, **options).eval()
    torch.nn.init.normal_(model.rpn.head.cls_logits.weight, std=2)
    torch.nn.init.normal_(model.rpn.head.bbox_pred.weight, std=0.5)
    torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=2)
    return model


@torch.no_grad()
@pytest.mark.parametrize(
    "options", [{}, {"across_classes": True}, {"pool": roi_pool}], ids=lambda options: ", ".join(options) or "as it is"
)
def test_small_batch_is_its_pictures_one_by_one(options):
    model, images = tiny(**options).double(), torch.rand(3, 3, 96, 96, dtype=torch.float64)
    for together, image in zip(model(images), images, strict=True):
        (alone,) = model([image])
        assert len(alone["boxes"]) > 0 and alone["masks"].shape == (len(alone["boxes"]), 96, 96)
        assert 0 <= alone["masks"].min() < alone["masks"].max() <= 1
        for name in ("boxes", "scores", "labels", "masks"):
            torch.testing.assert_close(together[name], alone[name])


@torch.no_grad()
def test_pictures_of_different_sizes_have_masks_of_their_sizes():
    found = tiny()([torch.rand(3, 96, 96), torch.rand(3, 64, 80)])
    for one, size in zip(found, [(96, 96), (64, 80)], strict=True):
        assert len(one["boxes"]) > 0 and one["masks"].shape == (len(one["boxes"]), *size)
        left, top, right, bottom = one["boxes"].unbind(1)
        columns, rows = torch.arange(size[1]) + 0.5, torch.arange(size[0])[:, None] + 0.5
        within = (columns >= left[:, None, None]) & (columns <= right[:, None, None])
        within = within & (rows >= top[:, None, None]) & (rows <= bottom[:, None, None])
        assert not one["masks"][~within].any() and one["masks"][within].all()


@torch.no_grad()
def test_no_regions_no_masks():
    model, images = tiny(), torch.rand(2, 3, 96, 96)
    model.roi_heads.score_thresh = 1.1
    for one in model(images):
        assert one["boxes"].shape == (0, 4) and one["masks"].shape == (0, 96, 96)
    some = tiny()
    some.roi_heads.score_thresh = max(one["scores"].max().item() for one in tiny()(images)) - 1e-4
    assert sorted(len(one["masks"]) for one in some(images))[0] == 0, "one picture has none, the other has"
    assert sum(len(one["masks"]) for one in some(images)) > 0


def small_target():
    boxes = torch.tensor([[10.0, 12, 40, 44], [50, 50, 80, 90]])
    return {"boxes": boxes, "labels": torch.tensor([1, 3]), "masks": ellipses(boxes, 96, 96)}


def nothing():
    return {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, 96, 96, dtype=torch.bool),
    }


def test_a_picture_without_things_teaches_no_masks():
    model, images = tiny().train(), torch.rand(2, 3, 96, 96)
    losses = model.loss(images, [nothing(), nothing()])
    assert losses["loss_mask"] == losses["loss_box_reg"] == 0 and losses["loss_objectness"] > 0
    sum(losses.values()).backward()
    model.eval()  # in training, batch normalisation mixes the pictures
    model.roi_heads.fg_bg_sampler = BalancedPositiveNegativeSampler(10_000, 1.0)  # all regions, so no chance
    with_both = model.loss(images, [small_target(), nothing()])["loss_mask"]
    alone = model.loss(images[:1], [small_target()])["loss_mask"]
    assert with_both > 0
    torch.testing.assert_close(with_both, alone)


def test_the_gradient_of_the_masks_reaches_the_backbone_and_not_the_other_branches():
    model = tiny().train()
    loss = model.loss(torch.rand(1, 3, 96, 96), [small_target()])["loss_mask"]
    for weight in (model.backbone.stem[0][0].weight, model.mask_predictor.conv5_mask.weight):
        assert torch.autograd.grad(loss, weight, retain_graph=True)[0].abs().max() > 0
    for weight in (model.rpn.head.bbox_pred.weight, model.roi_heads.box_predictor.cls_score.weight):
        assert torch.autograd.grad(loss, weight, retain_graph=True, allow_unused=True) == (None,)


@pytest.mark.parametrize("across_classes", [False, True])
def test_one_picture_is_learned(across_classes):
    """The steps grow smaller to the end: at full size, rounding decides where the last one stops."""
    torch.manual_seed(1)
    model = mask_rcnn_small(across_classes=across_classes).train()
    image, target = torch.rand(1, 3, 96, 96), small_target()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    fading = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=100)
    for _ in range(100):
        optimizer.zero_grad()
        sum(model.loss(image, [target]).values()).backward()
        optimizer.step()
        fading.step()
    (found,) = model.eval()(image)
    assert sorted(found["labels"][:2].tolist()) == [1, 3] and found["scores"][:2].min() > 0.5
    assert box_iou(target["boxes"], found["boxes"][:2]).max(1).values.min() > 0.7
    iou = mask_iou(target["masks"], found["masks"][:2] > 0.5).max(1).values
    boxes_alone = mask_iou(target["masks"], found["masks"][:2] > 0).max(1).values  # what a full box would have
    assert iou.min() > 0.8 and (iou > boxes_alone + 0.05).all()


def test_the_small_one_is_small_and_pools_both_branches_alike():
    model = mask_rcnn_small(pool=roi_pool)
    assert 0.4e6 < sum(parameter.numel() for parameter in model.parameters()) < 0.9e6
    assert model.roi_heads.box_roi_pool.pool is model.mask_roi_pool.pool is roi_pool
    logits = model.predict_masks(
        model.backbone(torch.rand(1, 3, 96, 96)), [torch.tensor([[1.0, 2, 30, 40]])], [(96, 96)]
    )
    assert logits.shape == (1, 6, 14, 14)


@torch.no_grad()
def test_aligned_or_not_is_how_masks_are_pasted():
    model, image = tiny(), torch.rand(1, 3, 96, 96)
    logits = torch.randn(300, 4, 14, 14)
    model.predict_masks = lambda features, boxes, sizes: logits[: sum(len(one) for one in boxes)]
    model.aligned = False
    (found,) = model(image)
    small = logits[range(len(found["labels"])), found["labels"]].sigmoid()
    expected = paste_masks_in_image(small[:, None], found["boxes"], (96, 96))[:, 0]
    torch.testing.assert_close(found["masks"], expected)
    model.aligned = True
    assert (model(image)[0]["masks"] - expected).abs().max() > 0.1


@pytest.mark.parametrize(
    "change, said",
    [
        ({"masks": None}, "targets has boxes, labels for picture 0; expected masks too"),
        ({"masks": torch.zeros(2, 96, 90)}, r"targets has masks \(2, 96, 90\) for picture 0; expected \(2, 96, 96\)"),
        ({"masks": torch.zeros(1, 96, 96)}, r"targets has masks \(1, 96, 96\) for picture 0; expected \(2, 96, 96\)"),
        ({"masks": torch.zeros(96, 96)}, r"targets\[0\]\['masks'\] is \(96, 96\); expected \(N, H, W\)"),
        ({"masks": torch.zeros(2, 1, 96, 96)}, r"targets\[0\]\['masks'\] is \(2, 1, 96, 96\)"),
        ({"masks": [1, 2]}, r"targets\[0\]\['masks'\] is \[1, 2\]"),
        ({"labels": torch.tensor([1])}, "targets has the labels "),
        ({"labels": torch.tensor([1, 99])}, r"targets has the labels \[1, 99\] in picture 0; expected 1.."),
        ({"boxes": torch.full((2, 4), torch.nan)}, "targets has a box that is infinite or not a number in picture 0"),
    ],
)
def test_bad_targets_are_named(change, said):
    target = {name: value for name, value in (small_target() | change).items() if value is not None}
    with pytest.raises(ValueError, match=f"^{said}"):
        tiny().loss(torch.rand(1, 3, 96, 96), [target])


def test_bad_pictures_are_named():
    for images in ([], torch.rand(3, 96, 96), torch.rand(1, 2, 96, 96)):
        with pytest.raises(ValueError, match="^images "):
            tiny()(images)


def test_the_shipped_weights_fit_and_know_toyworld():
    model = mask_rcnn_small()
    made = load_checkpoint(model, CHECKPOINTS / "12_mask_rcnn.safetensors")
    scenes = Batches(*toyworld_detection(Toyworld("val", 20), masks=True))
    assert evaluate_detection(model, scenes, iou_type="segm")["AP50"] > 0.6 and made["steps"] == 2000
    runs = json.loads((CHECKPOINTS / "12_runs.json").read_text())
    assert made["val"] == runs["runs/RoIAlign/0"]["val"]
    for seed in range(3):
        aligned, pooled = (runs[f"runs/{kind}/{seed}"]["test"] for kind in ("RoIAlign", "RoI pooling"))
        assert all(aligned[which] > pooled[which] + 0.15 for which in ("box AP75", "mask AP75"))
