"""DETR: equal to transformers', layer by layer, with all weights redrawn; matching and losses too."""

import itertools

import pytest
import torch
from torch import nn
from transformers import DetrConfig, DetrForObjectDetection
from transformers.loss import loss_for_object_detection as peer
from transformers.models.detr.image_processing_detr import DetrImageProcessor

from lib.layers.joiner import Joiner
from lib.layers.position import PositionEmbeddingSine
from lib.layers.rcnn_transform import GeneralizedRCNNTransform, padding_mask
from lib.layers.small_backbone import SmallBackbone
from lib.layers.transformer import Transformer
from lib.models.detr import DETR, HungarianMatcher, PostProcess, SetCriterion, detr_resnet50, detr_small
from lib.ops.boxes import box_xyxy_to_cxcywh_normalized
from lib.pretrained import detr_from_transformers, detr_to_transformers
from tests.models.peers import Patches, centre, close, redraw, some_pictures

NOTHING = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
SIZES = [(60, 80), (50, 40), (70, 90)]  # height, width
K, QUERIES, LAYERS = 6, 7, 3


@pytest.fixture(scope="module")
def pair():
    """transformers' model and ours with the same random weights; pictures keep their size.

    Looks bring home little, or else all cells, and with them all queries, would become alike.
    """
    theirs = DetrForObjectDetection(DetrConfig(num_labels=91, attn_implementation="eager")).eval()
    redraw(theirs, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    for name, tensor in theirs.state_dict().items():
        if "norm.weight" in name:
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif "query_position" in name:
            tensor.normal_(generator=generator)
        elif name.endswith(("q_proj.weight", "k_proj.weight")):
            tensor.mul_(1.5)
        elif name.endswith(("o_proj.weight", "fc2.weight")):
            tensor.mul_(0.2)
    ours = detr_resnet50().eval()
    ours.transform.min_size = None
    with torch.no_grad():
        batch = ours.transform(some_pictures())
        features = theirs.model.backbone(batch.tensors, ~padding_mask(batch))[-1][0]
    centre(theirs.model.input_projection, features, 1.0)
    ours.load_state_dict(detr_from_transformers(theirs.state_dict()), strict=True)
    return ours, theirs


@pytest.fixture(scope="module")
def run(pair):
    """Both on a padded batch of two pictures."""
    ours, theirs = pair
    images = some_pictures()
    batch = ours.transform(images)
    ours.aux_loss = True
    with torch.no_grad():
        answers, looked = ours.attention(images)
        expected = theirs(
            batch.tensors, pixel_mask=~padding_mask(batch), output_hidden_states=True, output_attentions=True
        )
    ours.aux_loss = False
    return answers, looked, expected


@torch.no_grad()
def test_equals_transformers_layer_by_layer(pair, run):
    _, theirs = pair
    answers, looked, expected = run
    assert looked.memory.shape == (2, 256, 5, 7)
    close(looked.memory.flatten(2).transpose(1, 2), expected.encoder_last_hidden_state)
    # Between the layers they hand out states without the norm, at the end with it. (With auxiliary_loss=True they
    # normalise what goes into the next layer as well, which neither the paper's code nor their own weights do.)
    states = [theirs.model.decoder.layernorm(one) for one in expected.decoder_hidden_states[1:-1]]
    states.append(expected.last_hidden_state)
    layers = [*answers["aux_outputs"], answers]
    assert len(layers) == len(states) == 6
    for layer, state in zip(layers, states, strict=True):
        logits, boxes = theirs.class_labels_classifier(state), theirs.bbox_predictor(state).sigmoid()
        assert logits.std(dim=1).mean() > 0.2 and boxes.std(dim=1).mean() > 0.03, "queries all alike prove little"
        torch.testing.assert_close(layer["pred_logits"], logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(layer["pred_boxes"], boxes, rtol=0, atol=1e-4)
    torch.testing.assert_close(answers["pred_logits"], expected.logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(answers["pred_boxes"], expected.pred_boxes, rtol=0, atol=1e-4)


def test_attention_maps_equal_transformers(run):
    _, looked, expected = run
    for ours, theirs in (
        ([one.flatten(4).flatten(2, 3) for one in looked.encoder_attention], expected.encoder_attentions),
        (looked.self_attention, expected.decoder_attentions),
        ([one.flatten(3) for one in looked.cross_attention], expected.cross_attentions),
    ):
        assert len(ours) == len(theirs) == 6
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.shape == other.shape
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-5)


@torch.no_grad()
def test_boxes_in_pixels_equal_transformers_and_maps_do_not_change_them(pair, run):
    ours, _ = pair
    expected = run[2]
    answers = ours(some_pictures())  # without looking
    assert "aux_outputs" not in answers and answers["image_sizes"] == [(150, 200), (130, 130)]
    found = PostProcess()(answers)
    sizes = torch.tensor(answers["image_sizes"])
    theirs = DetrImageProcessor().post_process_object_detection(expected, threshold=0.0, target_sizes=sizes)
    for mine, other in zip(found, theirs, strict=True):
        assert torch.equal(mine["labels"], other["labels"]) and len(mine["labels"].unique()) > 2
        close(mine["boxes"], other["boxes"], 1e-4)
        close(mine["scores"], other["scores"], 1e-4)


def test_weights_go_both_ways_and_have_the_official_names(pair):
    ours, theirs = pair
    theirs.load_state_dict(detr_to_transformers(ours.state_dict()), strict=True)
    names = set(ours.state_dict())
    for name in (
        "transformer.encoder.layers.5.self_attn.in_proj_weight",
        "transformer.decoder.layers.0.multihead_attn.out_proj.bias",
        "transformer.decoder.layers.3.norm3.weight",
        "transformer.decoder.norm.bias",
        "class_embed.weight",
        "bbox_embed.layers.2.bias",
        "query_embed.weight",
        "input_proj.weight",
        "backbone.0.body.conv1.weight",
        "backbone.0.body.bn1.running_var",
        "backbone.0.body.layer4.0.downsample.1.bias",
    ):
        assert name in names
    first = ("backbone.0.body.conv1.", "backbone.0.body.layer1.")  # not trained there, and not counted
    counted = sum(one.numel() for name, one in ours.named_parameters() if not name.startswith(first))
    assert counted == 41_302_368  # as the published training logs say


# ------------------------------------------------------------------------------------------------ matching, losses


def some_answers(seed=0, layers=LAYERS):
    """Random answers of several layers to three pictures."""
    generator = torch.Generator().manual_seed(seed)
    logits = (2 * torch.randn(layers, 3, QUERIES, K + 1, generator=generator)).requires_grad_()
    middles = torch.rand(layers, 3, QUERIES, 2, generator=generator)
    sides = 0.05 + 0.5 * torch.rand(layers, 3, QUERIES, 2, generator=generator)
    boxes = torch.cat([middles, sides], dim=-1).requires_grad_()
    outputs = [{"pred_logits": a, "pred_boxes": b, "image_sizes": SIZES} for a, b in zip(logits, boxes)]
    return outputs[-1] | {"aux_outputs": outputs[:-1]}, logits, boxes


def some_truth(counts=(3, 0, 5)):
    generator = torch.Generator().manual_seed(9)
    targets = []
    for count, (height, width) in zip(counts, SIZES):
        corner = torch.rand(count, 2, generator=generator) * torch.tensor([width, height]) / 2
        side = 3 + torch.rand(count, 2, generator=generator) * torch.tensor([width, height]) / 2
        labels = torch.randint(1, K, (count,), generator=generator)
        targets.append({"boxes": torch.cat([corner, corner + side], dim=1), "labels": labels})
    return targets


def their_targets(targets):
    return [
        {"class_labels": one["labels"], "boxes": box_xyxy_to_cxcywh_normalized(one["boxes"], size)}
        for one, size in zip(targets, SIZES, strict=True)
    ]


@pytest.mark.parametrize("counts", [(3, 0, 5), (0, 0, 0), (9, 7, 1)])
def test_matching_equals_transformers(counts):
    outputs, targets = some_answers()[0], some_truth(counts)
    theirs = peer.HungarianMatcher(class_cost=1, bbox_cost=5, giou_cost=2)
    expected = theirs({"logits": outputs["pred_logits"], "pred_boxes": outputs["pred_boxes"]}, their_targets(targets))
    for (queries, truths), (their_queries, their_truths), count in zip(
        HungarianMatcher()(outputs, targets), expected, counts, strict=True
    ):
        assert torch.equal(queries, their_queries) and torch.equal(truths, their_truths)
        assert len(queries) == min(count, QUERIES), "with more things than queries, the rest go without"
        assert len(queries.unique()) == len(queries) and len(truths.unique()) == len(truths)


def test_no_other_assignment_costs_less():
    outputs, targets = some_answers(seed=5)[0], some_truth((4, 3, 2))
    matcher = HungarianMatcher()
    for number, (queries, truths) in enumerate(matcher(outputs, targets)):
        target = targets[number]
        true_boxes = box_xyxy_to_cxcywh_normalized(target["boxes"], SIZES[number])
        cost = matcher.cost(
            outputs["pred_logits"][number], outputs["pred_boxes"][number], target["labels"], true_boxes
        ).detach()
        n = cost.shape[1]
        prices = {
            order: cost[list(order), range(n)].sum().item() for order in itertools.permutations(range(QUERIES), n)
        }
        best = min(prices, key=prices.get)
        assert best == tuple(queries[truths.argsort()].tolist())


def test_the_cost_of_one_pair_by_hand():
    logits = torch.tensor([[0.0, 0.0, torch.tensor(2.0).log()]])  # probabilities 1/4, 1/4, 1/2
    said, true = torch.tensor([[0.25, 0.5, 0.5, 1.0]]), torch.tensor([[0.5, 0.5, 1.0, 1.0]])  # left half, all
    cost = HungarianMatcher(cost_class=1, cost_bbox=10, cost_giou=100).cost(logits, said, torch.tensor([1]), true)
    torch.testing.assert_close(cost, torch.tensor([[10 * 0.75 - 0.25 - 100 * 0.5]]))


@pytest.mark.parametrize("counts", [(3, 0, 5), (0, 0, 0), (9, 7, 1)])
def test_losses_and_their_gradients_equal_transformers(counts):
    outputs, logits, boxes = some_answers()
    targets = some_truth(counts)
    criterion = SetCriterion(K)
    losses = criterion(outputs, targets)
    config = DetrConfig(num_labels=K, auxiliary_loss=True, decoder_layers=LAYERS)
    expected, expected_parts, _ = peer.ForObjectDetectionLoss(
        logits[-1], their_targets(targets), "cpu", boxes[-1], config, logits, boxes
    )
    assert losses.keys() == expected_parts.keys() and len(losses) == 4 * LAYERS
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected_parts[name])
    total = sum(criterion.weighted(losses).values())
    torch.testing.assert_close(total, expected)
    assert not any("cardinality" in name for name in criterion.weighted(losses))
    for ours, theirs in zip(
        torch.autograd.grad(total, (logits, boxes), retain_graph=True), torch.autograd.grad(expected, (logits, boxes))
    ):
        torch.testing.assert_close(ours, theirs)
        assert ours.abs().sum() > 0 or not any(counts)


def test_perfect_answers_cost_nothing_but_doubt():
    targets = some_truth((3, 0, 5))
    logits, boxes = torch.zeros(3, QUERIES, K + 1), torch.full((3, QUERIES, 4), 0.5)
    logits[..., K] = 30
    for number, target in enumerate(their_targets(targets)):
        places = torch.randperm(QUERIES)[: len(target["boxes"])]
        boxes[number, places] = target["boxes"]
        logits[number, places] = 30 * nn.functional.one_hot(target["class_labels"], K + 1).float()
    losses = SetCriterion(K)({"pred_logits": logits, "pred_boxes": boxes, "image_sizes": SIZES}, targets)
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(0, abs=1e-5), name


def test_weights_and_matcher_can_be_exchanged():
    def nearest_first(outputs, targets):
        return [
            (torch.zeros(len(one["labels"]), dtype=torch.int64), torch.arange(len(one["labels"]))) for one in targets
        ]

    outputs = some_answers()[0]
    criterion = SetCriterion(K, nearest_first, {"loss_bbox": 3.0}, eos_coef=1.0)
    losses = criterion(outputs, some_truth())
    weighted = criterion.weighted(losses)
    assert list(weighted) == ["loss_bbox", "loss_bbox_0", "loss_bbox_1"]
    assert weighted["loss_bbox"] == 3 * losses["loss_bbox"] != 3 * SetCriterion(K)(outputs, some_truth())["loss_bbox"]


# ------------------------------------------------------------------------------------------------ the small one


def test_the_small_one_learns_from_every_layer():
    torch.manual_seed(0)
    model = detr_small()
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 2) == 0.92
    images = torch.rand(2, 3, 96, 96)
    outputs = model(images)
    assert outputs["pred_logits"].shape == (2, 12, 7) and outputs["pred_boxes"].shape == (2, 12, 4)
    assert len(outputs["aux_outputs"]) == 2 and outputs["image_sizes"] == [(96, 96)] * 2
    target = {"boxes": torch.tensor([[4.0, 4, 40, 30], [50, 50, 90, 80]]), "labels": torch.tensor([5, 1])}
    criterion = SetCriterion(6)
    sum(criterion.weighted(criterion(outputs, [target, NOTHING])).values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    maps = model.attention(images)[1]
    assert [one.shape for one in maps.encoder_attention] == [(2, 4, 12, 12, 12, 12)] * 2
    assert [one.shape for one in maps.cross_attention] == [(2, 4, 12, 12, 12)] * 3


def test_the_small_one_takes_a_trained_trunk_and_answers_as_a_detector():
    trunk = SmallBackbone(4)
    model = nn.Sequential(detr_small(4, num_queries=5, backbone=trunk), PostProcess()).eval()
    assert model[0].backbone[0] is trunk
    for found, size in zip(model([torch.rand(3, 40, 64), torch.rand(3, 33, 20)]), [(40, 64), (33, 20)], strict=True):
        assert found["boxes"].shape == (5, 4) and found["scores"].shape == (5,) and found["labels"].max() < 4
        x1, y1, x2, y2 = found["boxes"].unbind(1)
        assert (
            ((x1 + x2) / 2 < size[1]).all() and ((y1 + y2) / 2 < size[0]).all() and (x1 < x2).all() and (y1 < y2).all()
        )


def on_patches():
    torch.manual_seed(0)
    joiner = Joiner(Patches(), PositionEmbeddingSine(6, normalize=True))
    transform = GeneralizedRCNNTransform(None, 1, (0.5,) * 3, (0.5,) * 3, size_divisible=8)
    return DETR(joiner, Transformer(12, 3, 2, 2, 20), K, QUERIES, transform=transform).eval()


@torch.no_grad()
def test_a_padded_batch_is_its_pictures_one_by_one():
    model, images = on_patches(), [torch.rand(3, 32, 48), torch.rand(3, 24, 16)]
    batch = model(images)
    for number, image in enumerate(images):
        alone = model([image])
        torch.testing.assert_close(batch["pred_logits"][number], alone["pred_logits"][0])
        torch.testing.assert_close(batch["pred_boxes"][number], alone["pred_boxes"][0])


def test_boxes_for_a_picture_of_another_size():
    outputs = some_answers()[0]
    as_it_came, wide = PostProcess()(outputs)[0], PostProcess()(outputs, [(60, 160), (1, 1), (1, 1)])[0]
    torch.testing.assert_close(wide["boxes"], as_it_came["boxes"] * torch.tensor([2, 1, 2, 1]))


# ------------------------------------------------------------------------------------------------ bad input


def broken(**changed):
    return some_answers()[0] | changed


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: HungarianMatcher(0, 0, 0), "cost_class"),
        (lambda: HungarianMatcher()(broken(pred_boxes=torch.zeros(3, 2, 4)), some_truth()), "outputs"),
        (
            lambda: HungarianMatcher()(broken(pred_logits=torch.full((3, QUERIES, K), torch.nan)), some_truth()),
            "outputs",
        ),
        (lambda: HungarianMatcher()({"pred_logits": torch.zeros(3, 2, 4)}, some_truth()), "outputs"),
        (lambda: HungarianMatcher()(broken(), some_truth()[:2]), "targets"),
        (lambda: SetCriterion(K)(broken(pred_logits=torch.zeros(3, QUERIES, K)), some_truth()), "outputs"),
        (lambda: SetCriterion(K)(broken(image_sizes=SIZES[:2]), some_truth()), "outputs"),
        (lambda: SetCriterion(K)(broken(), [NOTHING, NOTHING]), "targets"),
        (lambda: SetCriterion(K)(broken(), [NOTHING, NOTHING, {"boxes": torch.zeros(1, 4)}]), "targets"),
        (
            lambda: SetCriterion(K)(
                broken(), [NOTHING, NOTHING, {"boxes": torch.tensor([[0.0, 0, 9, 9]]), "labels": torch.tensor([K])}]
            ),
            "targets",
        ),
        (lambda: PostProcess()(broken(), SIZES[:2]), "target_sizes"),
        (lambda: PostProcess()(broken(pred_boxes=torch.zeros(3, QUERIES, 5))), "outputs"),
        (lambda: on_patches()([]), "images"),
        (lambda: on_patches()(torch.zeros(2, 1, 16, 16)), "images"),
        (
            lambda: DETR(Joiner(Patches(), PositionEmbeddingSine(4)), Transformer(12, 3, 1, 1, 20), K, 2)(
                torch.rand(1, 3, 16, 16)
            ),
            "pos_embed",
        ),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} |^{named}, "):
        call()
