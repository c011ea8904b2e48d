"""MaskFormer: equal to transformers', layer by layer, with all weights redrawn; matching and losses too."""

import itertools
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import DetrConfig, MaskFormerConfig, MaskFormerForInstanceSegmentation, ResNetConfig
from transformers.models.maskformer import modeling_maskformer as peer

from lib.datasets.toyworld import Toyworld
from lib.layers.pixel_decoder import PixelDecoder
from lib.layers.rcnn_transform import GeneralizedRCNNTransform, ImageList
from lib.layers.small_backbone import SmallStages, SmallTwoMaps
from lib.layers.transformer import Transformer
from lib.models.maskformer import (
    MaskFormer,
    MaskFormerCriterion,
    MaskFormerMatcher,
    PerPixelBaseline,
    maskformer_resnet50,
    maskformer_small,
    picture_masks,
)
from lib.ops.panoptic import panoptic_inference, panoptic_of_masks
from lib.ops.panoptic_metrics import panoptic_quality
from lib.pretrained import maskformer_from_transformers, maskformer_to_transformers
from lib.training import Batches, evaluate_segmentation, load_checkpoint, toyworld_segments, toyworld_tensors
from tests.models.peers import centre, close, redraw, some_pictures

SIZES = [(60, 80), (50, 40), (64, 72)]  # height, width of three pictures
PADDED, STRIDE = (64, 80), 4
K, QUERIES, LAYERS = 6, 7, 3
CHECKPOINTS = Path(__file__).resolve().parents[2] / "data" / "checkpoints"


@pytest.fixture(scope="module")
def pair():
    """transformers' model and ours with the same random weights; pictures keep their size.

    Looks bring home little, or else all queries would become alike.
    """
    backbone = ResNetConfig(out_features=["stage1", "stage2", "stage3", "stage4"])
    theirs = MaskFormerForInstanceSegmentation(
        MaskFormerConfig(backbone_config=backbone, decoder_config=DetrConfig(), num_labels=150)
    ).eval()
    theirs.set_attn_implementation("eager")
    class_weights = theirs.criterion.empty_weight.clone()
    redraw(theirs, torch.Generator().manual_seed(0))
    theirs.criterion.empty_weight.copy_(class_weights)
    generator = torch.Generator().manual_seed(1)
    for name, tensor in theirs.state_dict().items():
        if name.endswith("normalization.weight"):
            tensor.uniform_(0.4, 0.8, generator=generator)
        elif "norm.weight" in name or ("fpn" in name and name.endswith(".1.weight")):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif "queries_embedder" in name:
            tensor.normal_(generator=generator)
        elif name.endswith(("o_proj.weight", "fc2.weight")):
            tensor.mul_(0.2)
    ours = maskformer_resnet50().eval()
    ours.transform.min_size = None
    with torch.no_grad():
        pictures = ours.transform(some_pictures()).tensors
        features = theirs.model.pixel_level_module.encoder(pictures).feature_maps[-1]
        centre(theirs.model.transformer_module.input_projection, features, 1.0)
        spread = theirs(pictures).masks_queries_logits.std()
        theirs.model.pixel_level_module.decoder.mask_projection.weight *= 3 / spread
        theirs.model.pixel_level_module.decoder.mask_projection.bias *= 3 / spread
    ours.load_state_dict(maskformer_from_transformers(theirs.state_dict()), strict=True)
    return ours, theirs


@pytest.fixture(scope="module", params=[32, 1], ids=["padded to multiples of 32", "odd sizes"])
def run(pair, request):
    """Both on a padded batch of two pictures."""
    ours, theirs = pair
    ours.transform.size_divisible = request.param
    images = some_pictures()
    batch, cross = ours.transform(images), []
    layers = theirs.model.transformer_module.decoder.layers
    hooks = [one.encoder_attn.register_forward_hook(lambda _, inputs, out: cross.append(out[1])) for one in layers]
    with torch.no_grad():
        answers, looked = ours.attention(images)
        expected = theirs(batch.tensors, output_hidden_states=True, output_attentions=True)
    for hook in hooks:
        hook.remove()
    expected.cross_attentions = cross
    ours.transform.size_divisible = 32
    return answers, looked, expected, (160, 224) if request.param == 32 else (150, 200)


@torch.no_grad()
def test_equals_transformers_layer_by_layer(pair, run):
    _, theirs = pair
    answers, looked, expected, size = run
    assert answers["images"].tensors.shape[2:] == size
    pixels = expected.pixel_decoder_last_hidden_state
    assert pixels.shape == (2, 256, -(-size[0] // 4), -(-size[1] // 4))
    # The zeros before the first layer come first; between layers states are without the norm, at the end with it.
    between = expected.transformer_decoder_hidden_states
    assert len(between) == 7 and not between[0].any()
    states = [theirs.model.transformer_module.decoder.layernorm(one) for one in between[1:-1]] + [between[-1]]
    layers = [*answers["aux_outputs"], answers]
    assert len(layers) == len(states) == len(looked.states) == 6
    for layer, state in zip(layers, states, strict=True):
        logits = theirs.class_predictor(state)
        masks = torch.einsum("bqc,bchw->bqhw", theirs.mask_embedder(state), pixels)
        assert logits.std(dim=1).mean() > 0.2 and masks.std(dim=1).mean() > 0.2, "queries all alike prove little"
        assert masks.std(dim=(2, 3)).mean() > 0.2, "nor do masks that are everywhere alike"
        torch.testing.assert_close(layer["pred_logits"], logits, rtol=0, atol=1e-4)
        close(layer["pred_masks"], masks)
        torch.testing.assert_close(layer["pred_masks"], masks, rtol=0, atol=1e-4)
    torch.testing.assert_close(answers["pred_logits"], expected.class_queries_logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(answers["pred_masks"], expected.masks_queries_logits, rtol=0, atol=1e-4)


def test_attention_maps_equal_transformers(run):
    _, looked, expected, size = run
    assert looked.encoder_attention == []
    maps = looked.cross_attention
    assert len(maps) == 6 and maps[0].shape == (2, 8, 100, -(-size[0] // 32), -(-size[1] // 32))
    for ours, theirs in zip(
        [*looked.self_attention, *(one.flatten(3) for one in maps)],
        [*expected.attentions, *expected.cross_attentions],
        strict=True,
    ):
        assert ours.std(dim=-1).mean() > 1e-3, "looks that are alike everywhere prove little"
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_loss_of_the_whole_model_equals_transformers(pair, run):
    _, theirs = pair
    answers, _, _, size = run
    targets = [random_target(3, (150, 200), 150), random_target(5, (130, 130), 150)]
    on_batch = [
        F.pad(one["masks"], (0, size[1] - one["masks"].shape[2], 0, size[0] - one["masks"].shape[1])) for one in targets
    ]
    expected = theirs(
        answers["images"].tensors,
        mask_labels=[one.float() for one in on_batch],
        class_labels=[one["labels"] for one in targets],
    )
    criterion = MaskFormerCriterion(150)
    last = {name: one for name, one in answers.items() if name != "aux_outputs"}
    torch.testing.assert_close(sum(criterion.weighted(criterion(last, targets)).values()), expected.loss)


def test_weights_go_both_ways(pair):
    ours, theirs = pair
    back = maskformer_to_transformers(ours.state_dict())
    theirs.load_state_dict(back, strict=True)
    again = maskformer_from_transformers(back)
    assert again.keys() == ours.state_dict().keys()
    assert all(torch.equal(again[name], one) for name, one in ours.state_dict().items())
    statistics = 26_560  # of frozen normalisations, weights and biases, which here are no parameters
    assert (
        sum(one.numel() for one in ours.parameters())
        == sum(one.numel() for one in theirs.parameters()) - 2 * statistics
    )


# ------------------------------------------------------------------------------------------------ matching, losses


def some_images(sizes=SIZES, padded=PADDED):
    return ImageList(torch.zeros(len(sizes), 3, *padded), sizes, sizes)


def some_answers(seed=0, layers=LAYERS):
    """Random answers of several layers to three pictures."""
    generator = torch.Generator().manual_seed(seed)
    logits = (2 * torch.randn(layers, 3, QUERIES, K + 1, generator=generator)).requires_grad_()
    cells = [side // STRIDE for side in PADDED]
    masks = (3 * torch.randn(layers, 3, QUERIES, *cells, generator=generator)).requires_grad_()
    outputs = [{"pred_logits": a, "pred_masks": b, "images": some_images()} for a, b in zip(logits, masks)]
    return outputs[-1] | {"aux_outputs": outputs[:-1]}, logits, masks


def random_target(count, size, classes=K, seed=9):
    """Rectangles, 40 % of each picture along each side."""
    generator = torch.Generator().manual_seed(seed + count)
    masks = torch.zeros(count, *size, dtype=torch.bool)
    for mask in masks:
        top, left = (int(0.6 * side * torch.rand(1, generator=generator)) for side in size)
        mask[top : top + int(0.4 * size[0]), left : left + int(0.4 * size[1])] = True
    return {"masks": masks, "labels": torch.randint(0, classes, (count,), generator=generator)}


def some_truth(counts=(3, 0, 5)):
    return [random_target(count, size) for count, size in zip(counts, SIZES, strict=True)]


def their_masks(targets):
    """As floats, in the batch."""
    masks = [one["masks"].float() for one in targets]
    return [F.pad(one, (0, PADDED[1] - one.shape[2], 0, PADDED[0] - one.shape[1])) for one in masks]


@pytest.mark.parametrize("counts", [(3, 0, 5), (0, 0, 0), (9, 7, 1)])
def test_matching_equals_transformers(counts):
    outputs, targets = some_answers()[0], some_truth(counts)
    theirs = peer.MaskFormerHungarianMatcher(cost_class=1.0, cost_mask=20.0, cost_dice=1.0)
    expected = theirs(
        outputs["pred_masks"], outputs["pred_logits"], their_masks(targets), [one["labels"] for one in targets]
    )
    for (queries, truths), (their_queries, their_truths), count in zip(
        MaskFormerMatcher()(outputs, targets), expected, counts, strict=True
    ):
        assert torch.equal(queries, their_queries) and torch.equal(truths, their_truths)
        assert len(queries) == min(count, QUERIES), "with more masks than queries, the rest go without"
        assert len(queries.unique()) == len(queries) and len(truths.unique()) == len(truths)


def test_costs_equal_transformers():
    torch.manual_seed(0)
    logits, masks = torch.randn(QUERIES, K + 1), 5 * torch.randn(QUERIES, 6, 8)
    target = random_target(4, (6, 8))
    true = target["masks"].float()
    cost = MaskFormerMatcher(2, 3, 5).cost(logits, masks, target["labels"], true)
    expected = (
        3 * peer.pair_wise_sigmoid_focal_loss(masks.flatten(1), true.flatten(1))
        + 5 * peer.pair_wise_dice_loss(masks.flatten(1), true.flatten(1))
        - 2 * logits.softmax(1)[:, target["labels"]]
    )
    torch.testing.assert_close(cost, expected)


def test_the_cost_of_one_pair_by_hand():
    logits = torch.tensor([[0.0, 0.0, torch.tensor(2.0).log()]])  # probabilities 1/4, 1/4, 1/2
    said, true = torch.zeros(1, 1, 4), torch.tensor([[[1.0, 1, 1, 0]]])  # 1/2 everywhere
    cost = MaskFormerMatcher(cost_class=1, cost_mask=100, cost_dice=10).cost(logits, said, torch.tensor([1]), true)
    focal = (3 * 0.25 + 1 * 0.75) / 4 * 0.25 * torch.tensor(2.0).log()
    dice = 1 - (2 * 1.5 + 1) / (2 + 3 + 1)
    torch.testing.assert_close(cost, torch.tensor([[100 * focal + 10 * dice - 0.25]]))


def test_no_other_assignment_costs_less():
    outputs, targets = some_answers(seed=5)[0], some_truth((4, 3, 2))
    matcher = MaskFormerMatcher()
    for number, (queries, truths) in enumerate(matcher(outputs, targets)):
        true = F.interpolate(their_masks(targets)[number][None], scale_factor=1 / STRIDE)[0]
        answers = outputs["pred_logits"][number].detach(), outputs["pred_masks"][number].detach()
        cost = matcher.cost(*answers, targets[number]["labels"], true)
        n = cost.shape[1]
        prices = {
            order: cost[list(order), range(n)].sum().item() for order in itertools.permutations(range(QUERIES), n)
        }
        assert min(prices, key=prices.get) == tuple(queries[truths.argsort()].tolist())


@pytest.mark.parametrize("counts", [(3, 0, 5), (0, 0, 0), (9, 7, 1)])
def test_losses_and_their_gradients_equal_transformers(counts):
    outputs, logits, masks = some_answers()
    targets = some_truth(counts)
    criterion = MaskFormerCriterion(K)
    losses = criterion(outputs, targets)
    weights = {"loss_cross_entropy": 1.0, "loss_mask": 20.0, "loss_dice": 1.0}
    theirs = peer.MaskFormerLoss(K, peer.MaskFormerHungarianMatcher(1.0, 20.0, 1.0), weights, eos_coef=0.1)
    layers = [{"masks_queries_logits": m, "class_queries_logits": c} for m, c in zip(masks[:-1], logits[:-1])]
    expected = theirs(masks[-1], logits[-1], their_masks(targets), [one["labels"] for one in targets], layers)
    assert len(losses) == len(expected) == 3 * LAYERS
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name.replace("loss_ce", "loss_cross_entropy")])
    weighted = criterion.weighted(losses)
    assert weighted.keys() == losses.keys()
    total = sum(weighted.values())
    their_total = sum(
        weight * loss for name, loss in expected.items() for part, weight in weights.items() if name.startswith(part)
    )
    torch.testing.assert_close(total, their_total)
    for ours, other in zip(
        torch.autograd.grad(total, (logits, masks), retain_graph=True),
        torch.autograd.grad(their_total, (logits, masks)),
    ):
        torch.testing.assert_close(ours, other)
        assert ours.abs().sum() > 0 or not any(counts)


def test_perfect_answers_cost_nothing():
    targets = some_truth((3, 0, 5))
    for target in targets:  # masks of whole cells, not to be blurred where they end
        target["masks"] = target["masks"][:, ::STRIDE, ::STRIDE]
    sizes = [(-(-h // STRIDE), -(-w // STRIDE)) for h, w in SIZES]
    padded = (16, 20)
    logits, masks = torch.zeros(3, QUERIES, K + 1), torch.full((3, QUERIES, *padded), -40.0)
    logits[..., K] = 30
    for number, (target, (height, width)) in enumerate(zip(targets, sizes)):
        places = torch.randperm(QUERIES)[: len(target["masks"])]
        masks[number, places, :height, :width] = 80 * target["masks"].float() - 40
        logits[number, places] = 30 * F.one_hot(target["labels"], K + 1).float()
    outputs = {"pred_logits": logits, "pred_masks": masks, "images": some_images(sizes, padded)}
    for name, loss in MaskFormerCriterion(K)(outputs, targets).items():
        assert loss.item() == pytest.approx(0, abs=1e-5), name


def test_truth_goes_with_a_picture_that_is_resized():
    """A picture of 30 × 40 that stands in the batch as 60 × 80: its masks are asked there."""
    outputs, targets = some_answers(layers=1)[0], some_truth((3, 1, 5))
    half = targets[0] | {"masks": targets[0]["masks"][:, ::2, ::2]}
    doubled = half | {"masks": half["masks"].repeat_interleave(2, 1).repeat_interleave(2, 2)}
    criterion = MaskFormerCriterion(K)
    expected = criterion(outputs, [doubled, *targets[1:]])
    outputs["images"] = outputs["images"]._replace(original_sizes=[(30, 40), *SIZES[1:]])
    losses = criterion(outputs, [half, *targets[1:]])
    assert all(torch.equal(losses[name], one) for name, one in expected.items())


def test_weights_and_matcher_can_be_exchanged():
    def first_queries(outputs, targets):
        return [(torch.arange(len(one["labels"])), torch.arange(len(one["labels"]))) for one in targets]

    outputs = some_answers()[0]
    criterion = MaskFormerCriterion(K, first_queries, {"loss_dice": 3.0}, eos_coef=1.0)
    losses = criterion(outputs, some_truth())
    weighted = criterion.weighted(losses)
    assert list(weighted) == ["loss_dice", "loss_dice_0", "loss_dice_1"]
    expected = MaskFormerCriterion(K)(outputs, some_truth())["loss_dice"]
    assert weighted["loss_dice"] == 3 * losses["loss_dice"] != 3 * expected


def test_masks_at_the_size_of_the_pictures():
    columns = torch.arange(20.0).expand(1, 2, 16, 20)
    images = ImageList(torch.zeros(1, 3, *PADDED), [(60, 72)], [(30, 36)])
    (masks,) = picture_masks(columns, images)
    assert masks.shape == (2, 30, 36)
    # A pixel's middle lies at 2 · (x + 0.5) of the batch, a cell's at 4 · (i + 0.5).
    wanted = (2 * (torch.arange(36) + 0.5) / STRIDE - 0.5).clamp(min=0)
    torch.testing.assert_close(masks[1, 7, 1:], wanted[1:])


# ------------------------------------------------------------------------------------------------ the small one


def test_the_small_one_learns_from_every_layer():
    torch.manual_seed(0)
    model = maskformer_small(7)
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 2) == 1.06
    images = torch.rand(2, 3, 96, 96)
    outputs = model(images)
    assert outputs["pred_logits"].shape == (2, 16, 8) and outputs["pred_masks"].shape == (2, 16, 24, 24)
    assert len(outputs["aux_outputs"]) == 2
    targets = [random_target(4, (96, 96), 7), random_target(0, (96, 96), 7)]
    criterion = MaskFormerCriterion(7)
    losses = criterion.weighted(criterion(outputs, targets))
    assert len(losses) == 9
    sum(losses.values()).backward()
    still = {name for name, one in model.named_parameters() if one.grad is None or not one.grad.abs().sum() > 0}
    # The queries know nothing, 0, when they first look at each other, and no bias has been learned: they hear 0.
    first = "transformer.decoder.layers.0"
    assert still == {f"{first}.{name}.weight" for name in ("self_attn.out_proj", "norm1")} | {
        f"{first}.self_attn.in_proj_weight"
    }
    maps = model.attention(images)[1]
    assert [one.shape for one in maps.encoder_attention] == [(2, 4, 12, 12, 12, 12)] * 2
    assert [one.shape for one in maps.cross_attention] == [(2, 4, 16, 12, 12)] * 3


def test_pictures_without_things_teach_to_say_nothing():
    torch.manual_seed(0)
    model, images = maskformer_small(7, num_queries=5), torch.rand(2, 3, 32, 32)
    targets, criterion = [random_target(0, (32, 32), 7)] * 2, MaskFormerCriterion(7)
    losses = criterion(model(images), targets)
    assert all(loss == 0 for name, loss in losses.items() if not name.startswith("loss_ce"))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(8):
        optimiser.zero_grad()
        outputs = model(images)
        sum(criterion.weighted(criterion(outputs, targets)).values()).backward()
        assert all(one.grad is not None and one.grad.isfinite().all() for one in model.parameters())
        optimiser.step()
    assert (model(images)["pred_logits"].argmax(-1) == 7).all()


def test_an_empty_mask_is_no_trouble():
    target = random_target(2, (60, 80))
    target["masks"][1] = False
    losses = MaskFormerCriterion(K)(some_answers()[0], [target, *some_truth()[1:]])
    assert all(loss.isfinite() for loss in losses.values())


def test_without_the_other_layers():
    model = maskformer_small(3, num_queries=4).eval()
    images = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected = model(images)
        model.aux_loss = False
        outputs = model(images)
    assert "aux_outputs" not in outputs
    torch.testing.assert_close(outputs["pred_masks"], expected["pred_masks"])


def test_odd_sizes_come_back():
    trunk = SmallTwoMaps()
    model = maskformer_small(4, num_queries=5, backbone=trunk).eval()
    assert model.backbone is trunk
    outputs = model([torch.rand(3, 40, 65), torch.rand(3, 33, 20)])
    assert outputs["images"].tensors.shape[2:] == (40, 72) and outputs["pred_masks"].shape == (2, 5, 10, 18)
    masks = picture_masks(outputs["pred_masks"], outputs["images"])
    assert [one.shape for one in masks] == [(5, 40, 65), (5, 33, 20)]
    targets = [random_target(2, (40, 65), 4), random_target(3, (33, 20), 4)]
    assert len(MaskFormerCriterion(4)(outputs, targets)) == 9


def test_the_rival_scores_every_pixel():
    torch.manual_seed(0)
    model = PerPixelBaseline(maskformer_small(7), 7)
    scores = model(torch.rand(2, 3, 50, 97))
    assert scores.shape == (2, 7, 50, 97)
    F.cross_entropy(scores, torch.randint(0, 7, (2, 50, 97))).backward()
    assert all(one.grad.abs().sum() > 0 for one in model.parameters())
    assert not any(name.startswith(("transformer", "query")) for name in model.state_dict())


# ------------------------------------------------------------------------------------------------ bad input


def broken(**changed):
    return some_answers(layers=1)[0] | changed


def tiny():
    transform = GeneralizedRCNNTransform(None, 1, (0.5,) * 3, (0.5,) * 3, size_divisible=16)
    backbone = SmallStages(4)
    decoder = PixelDecoder(backbone.channels, 8, 8, groups=2)
    return MaskFormer(backbone, decoder, Transformer(8, 2, 0, 1, 8), K, QUERIES, transform=transform).eval()


class TwoMaps(nn.Module):
    def forward(self, x):
        return {"0": x[:, :1], "1": x[:, :, ::2, ::2].repeat(1, 6, 1, 1)[:, :16]}


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: MaskFormerMatcher(0, 0, 0), "cost_class"),
        (lambda: MaskFormerMatcher()(broken(pred_masks=torch.zeros(3, 2, 16, 20)), some_truth()), "outputs"),
        (lambda: MaskFormerMatcher()(broken(pred_masks=torch.zeros(3, QUERIES, 16)), some_truth()), "outputs"),
        (
            lambda: MaskFormerMatcher()(broken(pred_masks=torch.full((3, QUERIES, 16, 20), torch.nan)), some_truth()),
            "outputs",
        ),
        (lambda: MaskFormerMatcher()({"pred_logits": torch.zeros(3, 2, 4)}, some_truth()), "outputs"),
        (lambda: MaskFormerMatcher()(broken(), some_truth()[:2]), "targets"),
        (lambda: MaskFormerCriterion(K - 1)(broken(), some_truth()), "outputs"),
        (lambda: MaskFormerCriterion(K)(broken(images=some_images(SIZES[:2])), some_truth()), "outputs"),
        (lambda: MaskFormerCriterion(K)(broken(), [{}, {}, {}]), "targets"),
        (lambda: MaskFormerCriterion(K)(broken(), some_truth()[::-1]), "targets"),
        (
            lambda: MaskFormerCriterion(K)(broken(), [random_target(1, SIZES[0]) | {"labels": torch.tensor([K])}] * 3),
            "targets",
        ),
        (lambda: tiny()([]), "images"),
        (lambda: tiny()(torch.zeros(2, 1, 16, 16)), "images"),
        (
            lambda: MaskFormer(TwoMaps(), PixelDecoder([1, 2, 16], 8, 8, 2), Transformer(8, 2, 0, 1, 8), K, 2)(
                torch.rand(1, 3, 16, 16)
            ),
            "maps",
        ),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} |^{named}, "):
        call()


# ------------------------------------------------------------------------------------------------ shipped


def a_row_of_stripes(start):
    """True masks (2, 8, 8) of two pixels' width that begin at this column, and the next two columns."""
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, :, start : start + 2], masks[1, :, start + 2 : start + 4] = True, True
    return masks


def test_enlarged_masks_are_matched_where_they_are_and_shrunk_ones_a_cell_off():
    true = a_row_of_stripes(3)  # pixels 3 and 4, and 5 and 6
    drawn = torch.full((1, 2, 2, 2), -4.0)  # cells of 4 pixels
    drawn[0, 0, :, 0] = drawn[0, 1, :, 1] = 4.0  # query 0 draws the left half, query 1 the right half
    images = ImageList(torch.zeros(1, 3, 8, 8), [(8, 8)], [(8, 8)])
    outputs = {"pred_logits": torch.zeros(1, 2, 3), "pred_masks": drawn, "images": images}
    target = [{"masks": true, "labels": torch.tensor([0, 0])}]
    assert [one.tolist() for one in MaskFormerMatcher(enlarge=True)(outputs, target)[0]] == [[0, 1], [0, 1]]
    big = F.interpolate(drawn, (8, 8), mode="bilinear", align_corners=False)[0]
    same = {**outputs, "pred_masks": big[None]}
    ours, expected = MaskFormerMatcher(enlarge=True)(outputs, target), MaskFormerMatcher()(same, target)
    assert all(torch.equal(*pair) for pair in zip(ours[0], expected[0]))
    shrunk = true[:, ::4, ::4]  # the second stripe is lost: no first pixel of a cell is in it
    assert shrunk[0].any() and not shrunk[1].any()


@torch.no_grad()
def test_the_shipped_weights_fit_and_know_toyworld():
    model = maskformer_small(7)
    made = load_checkpoint(model, CHECKPOINTS / "15_maskformer.safetensors")
    pictures, targets = toyworld_segments(Toyworld("val", 20))
    outputs, things = model.eval()(pictures / 255), {2, 3, 4, 5, 6}
    masks = picture_masks(outputs["pred_masks"], outputs["images"])
    found = [panoptic_inference(*answer, things, 0.5, 0.5) for answer in zip(outputs["pred_logits"], masks)]
    truth = [panoptic_of_masks(target["masks"], target["labels"], things) for target in targets]
    assert panoptic_quality(found, truth, things, {0, 1})["PQ"] > 0.6 and made["steps"] == 2500
    runs = json.loads((CHECKPOINTS / "15_runs.json").read_text())
    assert made["val"] == {name: runs["masks/0"]["val"][name] for name in made["val"]}
    glued = [run["pairs"]["both"] for name, run in runs.items() if name.startswith("pixels/")]
    parted = [run["pairs"]["both"] for name, run in runs.items() if name.startswith(("masks/", "other rate/"))]
    assert min(parted) > 10 * max(glued)


def test_the_shipped_rival_fits():
    model = PerPixelBaseline(maskformer_small(7), 7)
    made = load_checkpoint(model, CHECKPOINTS / "15_per_pixel.safetensors")
    scenes = Batches(*toyworld_tensors(Toyworld("val", 20)))
    assert evaluate_segmentation(model, scenes, 7, boundary=False)["mIoU"] > 0.75 and made["steps"] == 2500
