import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet50
from torchvision.models.detection import FasterRCNN as TheirFasterRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops import FrozenBatchNorm2d

from lib.datasets.toyworld import Toyworld
from lib.layers.rcnn_transform import ImageList
from lib.layers.small_backbone import SmallBackbone
from lib.models.fast_rcnn import RoIPooling
from lib.models.faster_rcnn import (
    FasterRCNN,
    RegionProposalNetwork,
    RPNHead,
    faster_rcnn_small,
    fasterrcnn_resnet50_fpn,
)
from lib.ops.anchors import AnchorGenerator
from lib.ops.boxes import box_iou
from lib.training import Batches, evaluate_detection, load_checkpoint, toyworld_detection
from tests.models.peers import close, equal_maps, redraw_two_stages, some_pictures, some_targets

CHECKPOINT = Path(__file__).resolve().parents[2] / "data" / "checkpoints" / "08_faster_rcnn.safetensors"
MIN_SIZE, MAX_SIZE = 160, 266


@pytest.fixture(scope="module")
def images():
    return some_pictures()


@pytest.fixture(scope="module")
def pair(images):
    """torchvision's model, built as the one with the published weights is, and ours, with the same random weights."""
    torch.manual_seed(0)
    body = resnet50(weights=None, norm_layer=partial(FrozenBatchNorm2d, eps=0.0))
    theirs = TheirFasterRCNN(_resnet_fpn_extractor(body, 5), 91, min_size=MIN_SIZE, max_size=MAX_SIZE).eval()
    redraw_two_stages(theirs, images)
    ours = fasterrcnn_resnet50_fpn().eval()
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

    output = ours.rpn.predict(batch, their_features)
    objectness, deltas = theirs.rpn.head(list(their_features.values()))
    for mine, other in zip(ours.rpn.head(list(their_features.values())), (objectness, deltas)):
        for one, expected in zip(mine, other):
            close(one, expected)
    anchors = theirs.rpn.anchor_generator(their_batch, list(their_features.values()))
    assert torch.equal(output.anchors, anchors[0]) and torch.equal(anchors[0], anchors[1])
    assert output.objectness.std() > 0.5 and output.deltas.std() > 0.1

    proposals, _ = theirs.rpn(their_batch, their_features)
    for mine, expected in zip(ours.rpn(batch, their_features), proposals):
        assert len(expected) > 100
        close(mine["boxes"], expected)
        assert (mine["scores"].diff() <= 0).all() and mine["scores"].max() - mine["scores"].min() > 0.5

    heads, their_heads = ours.roi_heads, theirs.roi_heads
    regions = their_heads.box_roi_pool(their_features, proposals, their_batch.image_sizes)
    close(heads.box_roi_pool(their_features, proposals, batch.image_sizes), regions)
    levels = heads.box_roi_pool.levels(proposals, [1 / 4, 1 / 8, 1 / 16, 1 / 32])
    assert len(levels.unique()) >= 2, "regions of several levels should have been cut"
    answers = their_heads.box_predictor(their_heads.box_head(regions))
    for mine, expected in zip(heads.predict(their_features, proposals, batch.image_sizes), answers):
        close(mine, expected)
    boxes, scores, labels = their_heads.postprocess_detections(*answers, proposals, their_batch.image_sizes)
    for number, mine in enumerate(heads.postprocess_detections(*answers, proposals, batch.image_sizes)):
        assert torch.equal(mine["labels"], labels[number])
        close(mine["boxes"], boxes[number])
        close(mine["scores"], scores[number])


@torch.no_grad()
def test_equals_torchvision_from_pictures_to_detections(pair, images):
    ours, theirs = pair
    found, expected = ours(images), theirs(images)
    for mine, other, image in zip(found, expected, images, strict=True):
        assert len(other["boxes"]) > 10 and len(other["labels"].unique()) > 3, "few detections would prove little"
        assert other["scores"].max() - other["scores"].min() > 0.05
        assert torch.equal(mine["labels"], other["labels"])
        close(mine["boxes"], other["boxes"])
        close(mine["scores"], other["scores"])
        assert (mine["boxes"][:, 2:] <= torch.tensor(image.shape[:0:-1]) + 1e-3).all(), "not on the picture as it came"


def test_losses_and_their_gradients_equal_torchvisions(pair, images):
    ours, theirs = pair
    ours.train(), theirs.train()
    theirs.transform.eval()  # in training it draws a size for each picture, though there is only one
    try:
        torch.manual_seed(5)
        expected = theirs(images, [dict(target) for target in some_targets()])
        sum(expected.values()).backward()
        torch.manual_seed(5)
        losses = ours.loss(images, some_targets())
        sum(losses.values()).backward()
    finally:
        ours.eval(), theirs.eval()
    assert list(losses) == ["loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"]
    for name, value in losses.items():
        assert value > 0
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        assert gradients[name].abs().max() > 0, name
        close(parameter.grad, gradients[name], 1e-4)
    ours.zero_grad(), theirs.zero_grad()


@torch.no_grad()
def test_a_batch_is_its_pictures_one_by_one(pair, images):
    """As long as all are padded to the same size: convolutions see where the padding ends."""
    ours = copy.deepcopy(pair[0]).double()  # no two scores as close as rounding errors
    images = [images[0].double(), images[0].double().flip(-1)[:, :, 3:]]
    assert len({ours.transform([one]).tensors.shape for one in images}) == 1
    assert ours.transform(images).image_sizes[0] != ours.transform(images).image_sizes[1]
    for together, image in zip(ours(images), images):
        (alone,) = ours([image])
        assert torch.equal(together["labels"], alone["labels"]) and len(alone["labels"]) > 10
        close(together["boxes"], alone["boxes"], 1e-9)
        close(together["scores"], alone["scores"], 1e-9)


def test_weights_go_both_ways_and_old_names_are_understood(pair):
    ours, theirs = pair
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert sum(parameter.numel() for parameter in ours.parameters()) == 41_755_286  # torchvision's published figure
    renamed = {
        name.replace("conv.0.0.", "conv.")
        if "rpn" in name
        else name.replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        if ".fpn." in name
        else name: tensor
        for name, tensor in ours.state_dict().items()
    }
    assert "rpn.head.conv.weight" in renamed and "backbone.fpn.inner_blocks.0.weight" in renamed
    fresh = fasterrcnn_resnet50_fpn()
    fresh.load_state_dict(renamed, strict=True)
    assert all(torch.equal(tensor, fresh.state_dict()[name]) for name, tensor in ours.state_dict().items())


def tiny(num_classes=4, **options):
    """A small detector whose heads have lost their quiet start."""
    torch.manual_seed(0)
    anchors = AnchorGenerator(((12, 24),), ((0.5, 1.0, 2.0),))
    model = FasterRCNN(
        SmallBackbone(4),
        num_classes,
        anchors,
        RoIPooling(3),
        representation_size=16,
        min_size=None,
        rpn_post_nms_top_n=(60, 40),
        **options,
    ).eval()
    torch.nn.init.normal_(model.rpn.head.cls_logits.weight, std=2)
    torch.nn.init.normal_(model.rpn.head.bbox_pred.weight, std=0.5)
    torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=2)
    return model


@torch.no_grad()
def test_rows_of_the_output_belong_to_the_anchors_beside_them():
    """Moves that take every anchor to one box, written into the maps by cell and anchor, must lead all rows there."""
    anchors, wanted = AnchorGenerator(((10, 20), (40, 50)), ((1.0, 2.0),) * 2), torch.tensor([[10.0, 20, 30, 50]])
    rpn = RegionProposalNetwork(anchors, RPNHead(1, 4))
    features = {"0": torch.zeros(2, 1, 3, 4), "1": torch.zeros(2, 1, 2, 2)}
    rows = anchors((24, 32), list(features.values()))
    moves = rpn.box_coder.encode_single(wanted.expand(len(rows), 4), rows)
    as_maps = [
        level.view(h, w, 16).permute(2, 0, 1).expand(2, -1, -1, -1)
        for level, (h, w) in zip(moves.split([48, 16]), [(3, 4), (2, 2)])
    ]
    numbers = [
        level.view(h, w, 4).permute(2, 0, 1).expand(2, -1, -1, -1)
        for level, (h, w) in zip(torch.arange(64.0).split([48, 16]), [(3, 4), (2, 2)])
    ]
    rpn.head.forward = lambda maps: (numbers, as_maps)
    output = rpn.predict(ImageList(torch.zeros(2, 3, 24, 32), [(24, 32)] * 2, [(24, 32)] * 2), features)
    assert output.level_sizes == [48, 16] and torch.equal(output.anchors, rows)
    assert torch.equal(output.objectness, torch.arange(64.0).expand(2, -1))
    torch.testing.assert_close(output.boxes, wanted.expand(2, 64, 4))


def test_anchors_are_positive_negative_or_ignored():
    rpn = tiny().rpn
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 5], [50, 50, 60, 60], [70, 70, 80, 75]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [71, 71, 80, 80]])  # the second has no good anchor, only a best
    labels, true_boxes = rpn.assign_targets_to_anchors(anchors, [{"boxes": boxes}, {"boxes": torch.zeros(0, 4)}])
    assert labels[0].tolist() == [1, 1, -1, 0, 1] and labels[1].tolist() == [0] * 5
    assert torch.equal(true_boxes[0][[0, 1, 4]], boxes[[0, 0, 1]])


@torch.no_grad()
def test_proposals_lie_on_the_picture_are_sorted_and_not_doubled():
    model = tiny()
    for number, found in enumerate(model.proposals([torch.rand(3, 96, 96), torch.rand(3, 64, 80)])):
        boxes, size = found["boxes"], [(96, 96), (64, 80)][number]
        assert 10 < len(boxes) <= 40 and (found["scores"].diff() <= 0).all()
        assert (boxes >= 0).all() and (boxes <= torch.tensor(size[::-1] * 2)).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert box_iou(boxes, boxes).triu(1).max() <= 0.7 + 1e-6
    batch = model.transform(torch.rand(1, 3, 96, 96))
    output = model.rpn.predict(batch, model.backbone(batch.tensors))
    assert output.boxes.shape == (1, 864, 4), "all 12 × 12 × 6 are there before the choice"
    training = len(model.train().rpn.filter_proposals(output, batch.image_sizes)[0]["boxes"])
    assert training > len(model.eval().rpn.filter_proposals(output, batch.image_sizes)[0]["boxes"]) == 40


@torch.no_grad()
def test_few_anchors_before_suppression_and_a_score_threshold():
    model, batch = tiny(rpn_pre_nms_top_n=(5, 5)), torch.rand(1, 3, 96, 96)
    (best,) = model.proposals(batch)
    assert 0 < len(best["boxes"]) <= 5
    model = tiny()
    (every,) = model.proposals(batch)
    model.rpn.score_thresh = every["scores"][10].item()
    assert torch.equal(model.proposals(batch)[0]["scores"], every["scores"][:11])


@torch.no_grad()
def test_small_batch_is_its_pictures_one_by_one():
    model, images = tiny(), torch.rand(3, 3, 96, 96)
    for together, image in zip(model(images), images):
        (alone,) = model([image])
        assert len(alone["boxes"]) > 0
        for name in ("boxes", "scores", "labels"):
            torch.testing.assert_close(together[name], alone[name])


def small_target():
    return {"boxes": torch.tensor([[10.0, 12, 40, 44], [50, 50, 80, 90]]), "labels": torch.tensor([1, 3])}


def test_gradients_of_all_four_losses_reach_the_backbone_and_none_runs_through_the_proposals():
    model, image = tiny().train(), torch.rand(1, 3, 96, 96)
    losses = model.loss(image, [small_target()])
    backbone = model.backbone.stem[0][0].weight
    for name, value in losses.items():
        (gradient,) = torch.autograd.grad(value, backbone, retain_graph=True)
        assert value > 0 and gradient.abs().max() > 0, name
    second = losses["loss_classifier"] + losses["loss_box_reg"]
    assert torch.autograd.grad(second, model.rpn.head.bbox_pred.weight, allow_unused=True) == (None,)


def test_a_picture_without_things_is_all_background():
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    losses = tiny().train().loss(torch.rand(2, 3, 96, 96), [empty, empty])
    assert losses["loss_rpn_box_reg"] == losses["loss_box_reg"] == 0 and losses["loss_objectness"] > 0


def test_one_picture_is_learned():
    """The steps grow smaller to the end: at full size, rounding decides where the last one stops."""
    torch.manual_seed(1)
    model = faster_rcnn_small().train()
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
    assert box_iou(target["boxes"], model.proposals(image)[0]["boxes"][:10]).max(1).values.min() > 0.7


def test_the_small_one_is_small_and_takes_pictures_as_they_are():
    model = faster_rcnn_small()
    assert 0.3e6 < sum(parameter.numel() for parameter in model.parameters()) < 0.8e6
    image = torch.rand(2, 3, 96, 96)
    assert torch.equal(model.transform(image).tensors, image)


def test_the_shipped_weights_fit_and_know_toyworld():
    model = faster_rcnn_small()
    made = load_checkpoint(model, CHECKPOINT)
    measured = evaluate_detection(model, Batches(*toyworld_detection(Toyworld("val", 20))))
    assert measured["AP50"] > 0.6 and made["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert CHECKPOINT.stat().st_size < 1.5e6
    assert [one["seed"] for one in made["runs"]] == [0, 1, 2]
    for one in made["runs"]:
        assert one["recall"][-1]["10"] > one["recall"][1]["10"] > one["recall"][0]["10"]
        assert one["recall, doubles from 0.5"]["5"] > made["recall of selective search"]["50"], "a tenth as many"


BOX = torch.tensor([[10.0, 10, 40, 40]])


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda model, x: model(x[0]), "images"),
        (lambda model, x: model([]), "images"),
        (lambda model, x: model([x[0].numpy()]), r"images\[0\] is a ndarray; expected a tensor"),
        (lambda model, x: model.loss(x, [None]), "targets has a NoneType;"),
        (lambda model, x: model.proposals(x[:, :2]), "images"),
        (lambda model, x: model.loss(x, []), "targets"),
        (lambda model, x: model.loss(x, [{"boxes": torch.zeros(1, 4), "labels": torch.tensor([1])}]), "targets"),
        (lambda model, x: model.loss(x, [{"boxes": torch.zeros(0, 4)}]), "targets"),
        (lambda model, x: model.loss(x, [{"boxes": BOX, "labels": torch.tensor([0])}]), "targets"),
        (lambda model, x: model.loss(x, [{"boxes": BOX, "labels": torch.tensor([model.num_classes])}]), "targets"),
        (lambda model, x: model.loss(x, [{"boxes": BOX * torch.nan, "labels": torch.tensor([1])}]), "targets"),
        (lambda model, x: FasterRCNN(SmallBackbone(4), 1), "num_classes"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call(tiny(), torch.rand(1, 3, 96, 96))
