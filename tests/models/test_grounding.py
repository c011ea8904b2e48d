"""Grounding DINO: where queries begin, and losses, equal transformers'; phrases; empty captions and pictures."""

import math

import pytest
import torch
from torch import nn
from transformers import BertConfig, GroundingDinoConfig, GroundingDinoModel, SwinConfig
from transformers.loss import loss_grounding_dino as peer

from lib.datasets.toyworld.pairs import WORDS
from lib.layers.fusion import EnhancerLayer
from lib.layers.grounding_decoder import GroundingDecoder
from lib.layers.joiner import Joiner
from lib.layers.position import PositionEmbeddingSine
from lib.layers.rcnn_transform import GeneralizedRCNNTransform
from lib.layers.small_backbone import SmallBackbone
from lib.layers.text_encoder import TextEncoder
from lib.models.grounding import GroundingCriterion, GroundingDINO, grounding_small
from lib.ops.boxes import box_xyxy_to_cxcywh_normalized
from tests.models.peers import Patches, close, redraw_transformer

NOTHING = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
SIZES = [(60, 80), (50, 40), (70, 90)]  # height, width
QUERIES, TOKENS, LAYERS, DIM = 5, 8, 2, 32
CAPTIONS = ["small red cone . blue sphere .", "figure"]


def on_patches(queries=QUERIES, scaled=True, sub_sentence=True, embed_init_target=True):
    torch.manual_seed(0)
    model = GroundingDINO(
        Joiner(Patches(), PositionEmbeddingSine(DIM // 2, normalize=True)),
        TextEncoder(WORDS, DIM, 2, 1, 24, sub_sentence),
        [EnhancerLayer(DIM, 2, 24, init_values=1.0)],
        GroundingDecoder(DIM, 2, LAYERS, 24),
        queries,
        DIM,
        GeneralizedRCNNTransform(None, 1, (0.5,) * 3, (0.5,) * 3, size_divisible=8),
        embed_init_target,
        scaled=scaled,
    )
    model.input_proj_vision[1] = nn.Identity()  # its mean is over all cells, padding too
    for head in (model.encoder_output_bbox_embed, model.decoder.bbox_embed):
        nn.init.normal_(head.layers[-1].weight)  # or else no box would move
    return model.eval()


def some_pictures():
    generator = torch.Generator().manual_seed(2)
    return [torch.rand(3, 32, 48, generator=generator), torch.rand(3, 24, 16, generator=generator)]


# ------------------------------------------------------------------------------------------------ where queries begin


@torch.no_grad()
def test_queries_begin_where_those_of_transformers_do():
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=4, out_features=["stage2"]
        ),
        text_config=BertConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=1100
        ).to_dict(),
        d_model=DIM, num_queries=QUERIES, num_feature_levels=1, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=32,
        decoder_ffn_dim=32, encoder_attention_heads=4, decoder_attention_heads=4, max_text_len=12,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs, ours = GroundingDinoModel(config).eval(), on_patches(scaled=False)
    for name in ("enc_output", "enc_output_norm", "encoder_output_bbox_embed"):
        redraw_transformer(getattr(theirs, name))
        getattr(ours, name).load_state_dict(getattr(theirs, name).state_dict(), strict=True)
    ids = torch.tensor([[101, 5, 6, 1012, 7, 1012, 102], [101, 5, 1012, 102, 0, 0, 0]])
    cells, text = torch.randn(2, 6 * 8, DIM), torch.randn(2, 7, DIM)
    expected = theirs(torch.rand(2, 3, 48, 64), ids, attention_mask=(ids != 0).long(), encoder_outputs=(cells, text))
    fit, chosen, content, boxes = ours.begin(cells, torch.zeros(2, 6, 8, dtype=torch.bool), text, ids != 0)
    seen = ids[1] != 0
    close(fit[0], expected.enc_outputs_class[0, :, :7])
    close(fit[1][:, seen], expected.enc_outputs_class[1, :, :7][:, seen])
    assert fit[1][:, ~seen].isneginf().all() and expected.enc_outputs_class[1, :, 4:].isneginf().all()
    all_boxes = expected.enc_outputs_coord_logits.sigmoid()
    close(boxes, all_boxes.gather(1, chosen[..., None].expand(-1, -1, 4)))
    close(boxes, expected.init_reference_points)
    assert boxes.std(dim=1).min() > 0.01 and len(chosen.unique()) > QUERIES, "places all alike prove little"


# ------------------------------------------------------------------------------------------------ the whole model


@torch.no_grad()
@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("sub_sentence", [True, False])
def test_a_padded_batch_is_its_pairs_one_by_one(sub_sentence, learned):
    model, images = on_patches(sub_sentence=sub_sentence, embed_init_target=learned), some_pictures()
    batch = model(images, CAPTIONS)
    assert batch["pred_logits"].shape == (2, QUERIES, 7) and batch["cell_logits"].shape == (2, 7, 4, 6)
    for number, image in enumerate(images):
        alone = model([image], CAPTIONS[number : number + 1])
        for one, other in ((batch, alone), (batch["enc_outputs"], alone["enc_outputs"])):
            tokens = other["pred_logits"].shape[2]
            torch.testing.assert_close(one["pred_logits"][number, :, :tokens], other["pred_logits"][0])
            assert one["pred_logits"][number, :, tokens:].isneginf().all()
            torch.testing.assert_close(one["pred_boxes"][number], other["pred_boxes"][0])
            assert one["pred_logits"][number].isfinite().any() and other["pred_boxes"].std(dim=1).min() > 0.01


@torch.no_grad()
def test_queries_know_at_first_what_was_learned_or_what_their_cells_say():
    for learned in (True, False):
        model, first = on_patches(embed_init_target=learned), []
        model.decoder.register_forward_pre_hook(lambda _, inputs: first.append(inputs[0]))
        model(some_pictures()[:1] * 2, CAPTIONS)
        assert (first[0].std(dim=1).min() > 0.01) and torch.equal(first[0][0], first[0][1]) == learned


@torch.no_grad()
def test_dots_are_no_answers_and_a_caption_without_phrases_has_none():
    model = on_patches()
    outputs = model(some_pictures(), [CAPTIONS[0], " . "])
    answered = outputs["pred_logits"].isfinite()
    assert torch.equal(answered, (outputs["phrases"] >= 0)[:, None].expand_as(answered))
    assert answered[0, 0].tolist() == [True] * 3 + [False, True, True, False] and not answered[1].any()
    assert outputs["pred_boxes"].isfinite().all()
    assert len(model.predict(some_pictures(), ["", CAPTIONS[1]], threshold=0.0)[0]["boxes"]) == 0


def test_nothing_to_find_and_nothing_to_ask_teach_without_harm():
    model, criterion = on_patches(), GroundingCriterion()
    target = {"boxes": torch.tensor([[4.0, 4, 40, 30]]), "labels": torch.tensor([1])}
    for captions, targets in (
        (["red cone", ""], [NOTHING, NOTHING]),
        (["", ""], [NOTHING, NOTHING]),
        ([CAPTIONS[0], ""], [target, NOTHING]),
    ):
        model.zero_grad()
        losses = criterion(model(some_pictures(), captions), targets)
        total = sum(criterion.weighted(losses).values())
        total.backward()
        assert total.isfinite() and (captions[0] == "") == (total.item() == 0)
        assert all(one.grad is None or one.grad.isfinite().all() for one in model.parameters())


@torch.no_grad()
def test_a_phrase_is_answered_alike_whatever_its_place():
    model = on_patches()
    images = some_pictures()[:1]
    one, other = (model(images, [text]) for text in ("red cone . blue sphere .", "blue sphere . red cone ."))
    torch.testing.assert_close(one["pred_logits"][..., [0, 1, 3, 4]], other["pred_logits"][..., [3, 4, 0, 1]])
    torch.testing.assert_close(one["pred_boxes"], other["pred_boxes"])


def test_the_small_one_learns_everywhere():
    torch.manual_seed(0)
    trunk = SmallBackbone(4)
    model = grounding_small(WORDS, num_queries=6, backbone=trunk)
    assert model.backbone[0] is trunk
    assert sum(parameter.numel() for parameter in grounding_small(WORDS).parameters()) < 2e6
    outputs = model(torch.rand(2, 3, 96, 96), [CAPTIONS[0], "green . small figure"])
    assert outputs["pred_logits"].shape == (2, 6, 7) and outputs["cell_logits"].shape == (2, 7, 12, 12)
    assert len(outputs["aux_outputs"]) == 2 and outputs["image_sizes"] == [(96, 96)] * 2
    target = {"boxes": torch.tensor([[4.0, 4, 40, 30], [50, 50, 90, 80]]), "labels": torch.tensor([1, 0])}
    criterion = GroundingCriterion()
    losses = criterion.weighted(criterion(outputs, [target, NOTHING]))
    assert len(losses) == 3 * 4
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


# ------------------------------------------------------------------------------------------------ matching, losses


def some_answers(seed=0):
    """Random answers of several layers to three captions: two phrases of two words, one of three, and nothing."""
    generator = torch.Generator().manual_seed(seed)
    phrases = torch.tensor([[0, 0, -1, 1, 1, -1, -1, -1], [0, 0, 0, -1, -1, -1, -1, -1], [-1] * 8])
    logits = 2 * torch.randn(LAYERS + 1, 3, QUERIES, TOKENS, generator=generator)
    logits = logits.masked_fill((phrases < 0)[:, None], float("-inf")).requires_grad_()
    boxes = (0.1 + 0.5 * torch.rand(LAYERS + 1, 3, QUERIES, 4, generator=generator)).requires_grad_()
    outputs = [
        {"pred_logits": a, "pred_boxes": b, "phrases": phrases, "image_sizes": SIZES} for a, b in zip(logits, boxes)
    ]
    return outputs[-1] | {"aux_outputs": outputs[:1], "enc_outputs": outputs[1]}, logits, boxes


def some_truth():
    boxes = torch.tensor([[4.0, 6, 30, 50], [20, 10, 70, 44], [0, 30, 24, 60]])
    return [
        {"boxes": boxes, "labels": torch.tensor([1, 0, 1])},
        {"boxes": boxes[:1] / 2, "labels": torch.tensor([0])},
        NOTHING,
    ]


def their_losses(layer, targets):
    """Of each picture alone: of several, theirs looks a thing's words up at the wrong place if captions differ.

    (`_get_target_classes_one_hot` moves on by the number of a picture's own phrases, not of those before it.)
    """
    matcher = peer.GroundingDinoHungarianMatcher(class_cost=1, bbox_cost=5, giou_cost=2)
    total, indices, count = {}, [], sum(len(one["labels"]) for one in targets)
    for number, target in enumerate(targets):
        of_token = layer["phrases"][number]
        boxes = box_xyxy_to_cxcywh_normalized(target["boxes"], SIZES[number])
        labels = [{"class_labels": target["labels"], "boxes": boxes}]
        outputs = {
            "logits": layer["pred_logits"][[number]],
            "pred_boxes": layer["pred_boxes"][[number]],
            "label_maps": ((of_token == torch.arange(max(int(of_token.max()) + 1, 1))[:, None]).float(),),
            "text_mask": (of_token >= 0).expand(1, QUERIES, -1),
        }
        indices += matcher(outputs, labels)
        losses = peer.GroundingDinoImageLoss(matcher, 0.25, ["labels", "boxes"])(outputs, labels)
        for name, loss in losses.items():
            total[name] = total.get(name, 0) + loss * max(len(target["labels"]), 1) / count
    return total, indices


def test_matching_and_losses_equal_transformers_with_gradients():
    outputs, logits, boxes = some_answers()
    targets = some_truth()
    criterion = GroundingCriterion()
    losses = criterion(outputs, targets)
    layers = {"": outputs, "_0": outputs["aux_outputs"][0], "_enc": outputs["enc_outputs"]}
    assert list(losses) == [name + one for one in layers for name in ("loss_ce", "loss_bbox", "loss_giou")]
    theirs = {}
    for suffix, layer in layers.items():
        parts, indices = their_losses(layer, targets)
        theirs |= {name + suffix: loss for name, loss in parts.items()}
        for mine, other in zip(criterion.match(layer, targets), indices, strict=True):
            assert torch.equal(mine[0], other[0]) and torch.equal(mine[1], other[1])
    for name, loss in losses.items():
        torch.testing.assert_close(loss, theirs[name])
    got = torch.autograd.grad(sum(losses.values()), (logits, boxes), retain_graph=True)
    expected = torch.autograd.grad(sum(theirs.values()), (logits, boxes))
    for mine, other in zip(got, expected, strict=True):
        assert mine.abs().max() > 0.01
        torch.testing.assert_close(mine, other)
    weights = criterion.weighted(losses)
    torch.testing.assert_close(weights["loss_ce_enc"], 2 * losses["loss_ce_enc"])


def test_the_right_answer_costs_nothing_and_one_wrong_word_does():
    targets = some_truth()
    outputs = {name: one for name, one in some_answers()[0].items() if name not in ("aux_outputs", "enc_outputs")}
    logits = torch.where(outputs["phrases"][:, None] >= 0, torch.tensor(-30.0), torch.tensor(float("-inf")))
    logits, boxes = logits.repeat(1, QUERIES, 1), torch.rand(3, QUERIES, 4)
    for number, target in enumerate(targets):
        for query, (box, label) in enumerate(zip(target["boxes"], target["labels"])):
            boxes[number, query] = box_xyxy_to_cxcywh_normalized(box[None], SIZES[number])[0]
            logits[number, query, outputs["phrases"][number] == label] = 30.0
    right = GroundingCriterion()(outputs | {"pred_logits": logits, "pred_boxes": boxes}, targets)
    assert all(loss.item() == pytest.approx(0, abs=1e-5) for loss in right.values())
    logits[0, 1, 3] = 30.0  # the thing of phrase 0 fits a word of phrase 1, it says
    wrong = GroundingCriterion()(outputs | {"pred_logits": logits, "pred_boxes": boxes}, targets)
    assert wrong["loss_ce"].item() == pytest.approx(0.75 * 30 / 4, rel=1e-4)  # 4 things
    assert wrong["loss_bbox"].item() == pytest.approx(0, abs=1e-5)


def test_four_scenes_are_learned_by_heart():
    """A cell of one of two colours in four places; the caption asks for both colours, and one of them is there."""
    model, criterion = on_patches(queries=3, embed_init_target=False).train(), GroundingCriterion()
    model.first_side = 0.3
    for head in (model.encoder_output_bbox_embed, model.decoder.bbox_embed):
        nn.init.zeros_(head.layers[-1].weight)
    images, targets = torch.full((4, 3, 32, 32), 0.5), []
    colours = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]])
    for number, (image, (x, y)) in enumerate(zip(images, ((0, 0), (16, 0), (24, 24), (8, 16)))):
        image[:, y : y + 8, x : x + 8] = colours[number % 2, :, None, None]
        targets.append({"boxes": torch.tensor([[x, y, x + 8.0, y + 8.0]]), "labels": torch.tensor([number % 2])})
    captions = ["red crate . blue crate ."] * 4
    optimizer = torch.optim.AdamW(model.parameters())
    for share in torch.linspace(1, 0, 180).tolist():
        optimizer.param_groups[0]["lr"] = 3e-3 * share
        losses = criterion(model(images, captions), targets)
        optimizer.zero_grad()
        sum(criterion.weighted(losses).values()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    found = model.eval().predict(images, captions, threshold=0.3)
    for one, target in zip(found, targets, strict=True):
        assert one["labels"][0] == target["labels"] and one["scores"][0] > 0.5
        torch.testing.assert_close(one["boxes"][:1], target["boxes"], rtol=0, atol=2.0)
    swapped = model.predict(images, ["blue crate . red crate ."] * 4, threshold=0.5)
    for one, target in zip(swapped, targets, strict=True):
        assert (one["labels"] == 1 - target["labels"]).all() and len(one["labels"]) > 0


# ------------------------------------------------------------------------------------------------ answers


def test_predictions_are_all_phrases_that_fit_the_best_first():
    model = on_patches()
    phrases = torch.tensor([[0, 0, -1, 1, -1]])
    logits = torch.tensor([[[4.0, 4, -math.inf, 3, -math.inf], [-4.0, 4, -math.inf, 5, -math.inf]]])
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.25, 0.5, 0.5, 1.0]]])
    answer = {"pred_logits": logits, "pred_boxes": boxes, "phrases": phrases, "image_sizes": [(50, 100)]}
    model.forward = lambda images, captions: answer
    (found,) = model.predict(torch.zeros(1, 3, 8, 8), ["red cone . crate ."], threshold=0.6)
    assert found["labels"].tolist() == [1, 0, 1]
    torch.testing.assert_close(found["scores"], torch.tensor([5.0, 4, 3]).sigmoid())
    torch.testing.assert_close(
        found["boxes"], torch.tensor([[0.0, 0, 50, 50], [40, 15, 60, 35], [40, 15, 60, 35]]), rtol=0, atol=1e-4
    )
    (found,) = model.predict(torch.zeros(1, 3, 8, 8), ["red cone . crate ."], threshold=0.6, pool="max")
    assert sorted(found["labels"].tolist()) == [0, 0, 1, 1]


# ------------------------------------------------------------------------------------------------ bad input


def criterion_on(targets=None, **changed):
    outputs = some_answers()[0] | changed
    return GroundingCriterion()(outputs, some_truth() if targets is None else targets)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: on_patches()(some_pictures(), CAPTIONS[:1]), "captions"),
        (lambda: on_patches()(some_pictures(), CAPTIONS[0]), "captions"),
        (lambda: on_patches()(torch.zeros(2, 1, 16, 16), CAPTIONS), "images"),
        (lambda: on_patches(queries=25)(some_pictures(), CAPTIONS), "num_queries"),
        (lambda: criterion_on(pred_boxes=torch.zeros(3, 2, 4)), "outputs"),
        (lambda: criterion_on(phrases=torch.zeros(3, 2)), "outputs"),
        (lambda: criterion_on(image_sizes=SIZES[:2]), "outputs"),
        (lambda: criterion_on(pred_boxes=torch.full((3, QUERIES, 4), torch.nan)), "outputs"),
        (lambda: GroundingCriterion()({"pred_logits": torch.zeros(1, 2, 3)}, [NOTHING]), "outputs"),
        (lambda: criterion_on(some_truth()[:2]), "targets"),
        (lambda: criterion_on([NOTHING, {"boxes": torch.ones(1, 4)}, NOTHING]), "targets"),
        (lambda: criterion_on([NOTHING, some_truth()[1] | {"labels": torch.tensor([1])}, NOTHING]), "targets"),
        (lambda: criterion_on([NOTHING, NOTHING, some_truth()[1]]), "targets"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
