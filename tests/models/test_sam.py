"""SAM: equal to the official package with all weights redrawn, decoder and predictor; losses against loops."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from segment_anything import SamPredictor as TheirPredictor
from segment_anything import sam_model_registry

from lib.layers.two_way import TwoWayTransformer
from lib.layers.vit import wave_positions
from lib.models.sam import (
    MaskDecoder,
    SamOutput,
    mask_ious,
    min_over_masks_loss,
    sam_small,
    sam_vit_b,
)
from lib.models.sam_predictor import SamPredictor
from tests.models.peers import close
from tests.models.small_sam import CELLS, DIM, SIDE, alive, official, small

WORDS = ("small", "red", "cone")


@pytest.fixture(scope="module")
def pair():
    theirs, ours = official(), small()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


@pytest.fixture(scope="module")
def full():
    """ViT-B at 1024, one picture that is not square set in both predictors.

    All weights go there and back. To encode, the first three of twelve blocks are kept: two of windows, a global one.
    """
    theirs, ours = sam_model_registry["vit_b"](), sam_vit_b().eval()
    assert sum(one.numel() for one in ours.parameters()) == 93_735_472
    ours.load_state_dict(alive(theirs).state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    for model in (ours, theirs):
        del model.image_encoder.blocks[3:]
    return both_set(ours, theirs, a_picture(270, 400))


def both_set(ours, theirs, image):
    """Both predictors with a picture (3, H, W), 0..1."""
    mine, other = SamPredictor(ours), TheirPredictor(theirs)
    mine.set_image(image)
    # Their `apply_image_torch` takes channels and rows of (B, 3, H, W) for rows and columns; so the size comes first.
    size = other.transform.get_preprocess_shape(*image.shape[1:], other.transform.target_length)
    resized = F.interpolate(255 * image[None], size, mode="bilinear", align_corners=False, antialias=True)
    other.set_torch_image(resized, tuple(image.shape[1:]))
    return mine, other


def a_picture(height, width, seed=3):
    rough = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(rough, (height, width), mode="bicubic")[0].clamp(0, 1)


def some_prompt(height, width, side, points=3, boxed=False, masked=False):
    """Points, labels, a box and a mask in pixels of the picture, as our predictor wants them."""
    generator = torch.Generator().manual_seed(5)
    size = torch.tensor([width, height])
    coords = torch.rand(points, 2, generator=generator) * size if points else None
    labels = torch.tensor([1, 0, 1])[:points] if points else None
    box = (torch.tensor([0.2, 0.1, 0.8, 0.7]) * size.repeat(2)) if boxed else None
    mask = 4 * torch.randn(1, side, side, generator=generator) if masked else None
    return coords, labels, box, mask


def their_answer(predictor, coords, labels, box, mask, several):
    transform, size = predictor.transform, predictor.original_size
    return predictor.predict_torch(
        None if coords is None else transform.apply_coords_torch(coords, size)[None],
        None if labels is None else labels[None],
        None if box is None else transform.apply_boxes_torch(box[None], size),
        None if mask is None else mask[None],
        several,
        return_logits=True,
    )


def assert_same_answers(mine, other, prompt, several):
    coords, labels, box, mask = prompt
    masks, ious, logits = mine.predict(coords, labels, box, mask, multimask_output=several)
    large, their_ious, their_logits = their_answer(other, *prompt, several)
    assert masks.shape == (3 if several else 1, *mine.original_size)
    assert their_logits.std() > 0.1 and (not several or their_ious.std() > 1e-3), "answers all alike prove little"
    close(logits, their_logits[0], 1e-4)
    close(ious, their_ious[0], 1e-4)
    close(mine.to_original(logits[None]), large, 1e-4)
    sure = large[0].abs() > 1e-3 * large.abs().max()
    assert masks.dtype == torch.bool and sure.float().mean() > 0.9
    assert torch.equal(masks[sure], (large[0] > 0)[sure])


# ------------------------------------------------------------------------------------------------ equality


@torch.no_grad()
@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize(
    ("points", "boxed", "masked"), [(1, False, False), (3, True, False), (0, True, True), (0, False, True)]
)
def test_vit_b_equals_the_official_predictor(full, points, boxed, masked, several):
    assert_same_answers(*full, some_prompt(270, 400, 256, points, boxed, masked), several)


def test_vit_b_is_set_as_theirs(full):
    mine, other = full
    assert (mine.original_size, mine.input_size) == (other.original_size, other.input_size) == ((270, 400), (691, 1024))
    assert other.features.std(dim=(2, 3)).min() > 0.05, "a constant map would prove nothing"
    close(mine.features, other.features, 1e-4)


@torch.no_grad()
@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize(
    ("points", "boxed", "masked"), list(itertools.product((0, 3), (False, True), (False, True)))[1:]
)
@pytest.mark.parametrize(("height", "width"), [(37, 90), (90, 37), (40, 40)])
def test_the_predictor_equals_the_official_one(pair, height, width, points, boxed, masked, several):
    ours, theirs = pair
    mine, other = both_set(ours, theirs, a_picture(height, width))
    assert mine.input_size == other.input_size
    close(mine.features, other.features, 1e-4)
    assert_same_answers(mine, other, some_prompt(height, width, 4 * CELLS, points, boxed, masked), several)


def test_weights_go_both_ways(pair):
    ours, theirs = pair
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert ours.state_dict().keys() == theirs.state_dict().keys()


@torch.no_grad()
def test_the_decoder_at_full_size_equals_the_official_one_in_double_precision(full):
    mine, other = full
    ours, theirs = (copy.deepcopy(one.model.mask_decoder).double() for one in (mine, other))
    generator = torch.Generator().manual_seed(2)
    picture, codes = (torch.randn(1, 256, 64, 64, generator=generator).double() for _ in range(2))
    sparse, dense = (torch.randn(1, *end, generator=generator).double() for end in ((5, 256), (256, 64, 64)))
    answers, expected = ours(picture, codes, sparse, dense), theirs.predict_masks(picture, codes, sparse, dense)
    for mine_, other_ in zip(answers, expected, strict=True):
        close(mine_, other_, 1e-10)


@torch.no_grad()
def test_the_decoder_equals_the_official_one(pair):
    ours, theirs = pair
    generator = torch.Generator().manual_seed(2)
    picture, codes = (torch.randn(1, DIM, CELLS, CELLS, generator=generator) for _ in range(2))
    sparse, dense = (torch.randn(4, *end, generator=generator) for end in ((5, DIM), (DIM, CELLS, CELLS)))
    every = ours.mask_decoder(picture, codes, sparse, dense)
    expected = theirs.mask_decoder.predict_masks(picture, codes, sparse, dense)
    assert every.masks.shape == (4, 4, 4 * CELLS, 4 * CELLS) and every.ious.shape == (4, 4)
    for mine, other in zip(every, expected, strict=True):
        close(mine, other)
    for several, answer in ((True, every.several()), (False, every.single())):
        for mine, other in zip(answer, theirs.mask_decoder(picture, codes, sparse, dense, several), strict=True):
            close(mine, other)


# ------------------------------------------------------------------------------------------------ the model


@torch.no_grad()
def test_a_batch_of_pictures_is_its_pictures_one_by_one(pair):
    ours, _ = pair
    images = torch.rand(3, 3, SIDE, SIDE)
    points, labels = torch.rand(3, 2, 2) * SIDE, torch.tensor([[1, 0]] * 3)
    embeddings = ours.encode(images)
    together = ours(embeddings, points, labels)
    for number in range(3):
        alone = ours(ours.encode(images[number : number + 1]), points[number : number + 1], labels[:1])
        for mine, other in zip(together, alone, strict=True):
            torch.testing.assert_close(mine[number : number + 1], other, rtol=0, atol=1e-4)
    one_picture = ours(embeddings[:1], points, labels)
    torch.testing.assert_close(
        one_picture.masks[2:], ours(embeddings[:1], points[2:], labels[2:]).masks, atol=1e-4, rtol=0
    )


@torch.no_grad()
def test_pictures_are_normalised_and_padded_with_zeros_afterwards(pair):
    ours, theirs = pair
    images = torch.rand(2, 3, 40, 55)
    padded = ours.preprocess(images)
    assert padded.shape == (2, 3, SIDE, SIDE) and not padded[..., 40:, :].any() and not padded[..., 55:].any()
    torch.testing.assert_close(padded, theirs.preprocess(255 * images), rtol=0, atol=1e-5)


@torch.no_grad()
def test_words_count_and_no_words_are_no_words():
    torch.manual_seed(0)
    model, embeddings = small(WORDS), torch.randn(1, DIM, CELLS, CELLS)
    points, labels = torch.rand(2, 1, 2) * SIDE, torch.ones(2, 1)
    silent = model(embeddings, points, labels)
    assert torch.equal(silent.masks, model(embeddings, points, labels, phrases=["", ""]).masks)
    spoken = model(embeddings, points, labels, phrases=["", "red cone"])
    torch.testing.assert_close(spoken.masks[0], silent.masks[0])
    assert not torch.allclose(spoken.masks[1], silent.masks[1], atol=1e-4)
    alone = model(embeddings, phrases=["red cone", "small"])
    assert alone.masks.shape == (2, 4, 4 * CELLS, 4 * CELLS)
    assert model(embeddings, masks=torch.zeros(2, 1, 4 * CELLS, 4 * CELLS), phrases=["red", ""]).ious.shape == (2, 4)
    predictor = SamPredictor(model)
    predictor.set_image(a_picture(30, 50))
    assert predictor.predict(phrase="red cone")[0].shape == (3, 30, 50)
    assert predictor.predict(phrase="red cone", multimask_output=False)[1].shape == (1,)


def test_the_small_one():
    torch.manual_seed(0)
    model = sam_small(WORDS)
    assert torch.equal(model.image_encoder.pos_embed.data, wave_positions(12, 128))
    output = model(model.encode(torch.rand(1, 3, 96, 96)), torch.tensor([[[10.0, 20]]]), torch.ones(1, 1))
    assert output.masks.shape == (1, 4, 48, 48) and output.ious.shape == (1, 4)
    assert sam_small().phrase_encoder is None
    looks = model.mask_decoder.transformer
    crossing = [looks.final_attn_token_to_image]
    for layer in looks.layers:
        crossing += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
        assert not torch.equal(layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight)
    for one in crossing:
        assert (
            torch.equal(one.q_proj.weight, one.k_proj.weight)
            and not one.q_proj.bias.any()
            and not one.k_proj.bias.any()
        )
        torch.testing.assert_close(one.q_proj.weight @ one.q_proj.weight.T, 5 * torch.eye(64), rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_point_looks_at_its_place_from_the_first_step_on():
    """By the codes alone: a cell's own place gets more weight than the mean one, near ones more than far ones."""
    torch.manual_seed(0)
    model = sam_small()
    codes = model.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2)  # (1, 144, D)
    looked = model.mask_decoder.transformer.layers[0].cross_attn_token_to_image.weights(codes, codes).mean(1)[0]
    places = torch.cartesian_prod(torch.arange(12.0), torch.arange(12.0))
    far = torch.cdist(places, places)
    own, near, rest = looked[far == 0].mean(), looked[far == 1].mean(), looked[far > 3].mean()
    assert own > 2 * near > 4 * rest


# ------------------------------------------------------------------------------------------------ the loss


def some_output(prompts=4, masks=3, side=6):
    generator = torch.Generator().manual_seed(0)
    logits = (2 * torch.randn(prompts, masks, side, side, generator=generator)).requires_grad_()
    guesses = torch.rand(prompts, masks, generator=generator).requires_grad_()
    return SamOutput(logits, guesses), torch.rand(prompts, 2 * side, 2 * side, generator=generator) > 0.6


def by_hand(logits, true):
    """Focal and dice loss of one mask (H, W), and its IoU, in double precision."""
    x, g = logits.double(), true.double()
    p = x.sigmoid()
    focal = -(0.25 * g * (1 - p) ** 2 * p.log() + 0.75 * (1 - g) * p**2 * (1 - p).log()).mean()
    dice = 1 - (2 * (p * g).sum() + 1) / (p.sum() + g.sum() + 1)
    said = x > 0
    iou = (said & true).sum() / (said | true).sum()
    return focal, dice, iou


@pytest.mark.parametrize("reduce", ["min", "mean"])
def test_the_loss_against_a_loop(reduce):
    output, true = some_output()
    large = F.interpolate(output.masks, (12, 12), mode="bilinear", align_corners=False)
    wanted = {"loss_mask": 0.0, "loss_dice": 0.0, "loss_iou": 0.0}
    best_ones = []
    for prompt in range(4):
        focal, dice, iou = (torch.stack(one) for one in zip(*(by_hand(one, true[prompt]) for one in large[prompt])))
        best = (20 * focal + dice).argmin()
        best_ones.append(int(best))
        pick = slice(int(best), int(best) + 1) if reduce == "min" else slice(None)
        wanted["loss_mask"] += focal[pick].mean() / 4
        wanted["loss_dice"] += dice[pick].mean() / 4
        wanted["loss_iou"] += (output.ious[prompt].double() - iou).square().mean() / 4
    losses = min_over_masks_loss(output, true, reduce)
    assert losses.keys() == wanted.keys() and len(set(best_ones)) > 1
    for name, loss in losses.items():
        torch.testing.assert_close(loss.double(), wanted[name], rtol=1e-5, atol=1e-6)
    (losses["loss_mask"] + losses["loss_dice"]).backward(retain_graph=True)
    learned = output.masks.grad.abs().sum((2, 3)) > 0
    assert torch.equal(learned, F.one_hot(torch.tensor(best_ones), 3).bool() | (reduce == "mean"))
    assert output.ious.grad is None, "masks say nothing about the guesses, and guesses nothing about the masks"
    output.masks.grad = None
    losses["loss_iou"].backward()
    assert (output.ious.grad != 0).all() and output.masks.grad is None


def test_overlaps():
    logits = torch.full((2, 2, 2, 2), -1.0)
    true = torch.zeros(2, 2, 2, dtype=torch.bool)
    true[0, 0] = logits[0, 0, 0] = True  # the upper row, said and meant
    logits[0, 1, :, 0] = 1  # the left column
    logits[1, 1, 0, 0] = 1
    expected = torch.tensor([[1, 1 / 3], [1, 0]])  # of the second nothing was meant
    torch.testing.assert_close(mask_ious(logits, true), expected)
    assert mask_ious(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2).bool()).item() == 1, "0 is not inside"


# ------------------------------------------------------------------------------------------------ bad input

TINY, SPEAKING = small(), small(WORDS)
SEEN = torch.zeros(1, DIM, CELLS, CELLS)
CLICK, YES = torch.zeros(2, 1, 2), torch.ones(2, 1)


def ready(model=TINY):
    predictor = SamPredictor(model)
    predictor.set_image(torch.rand(3, 30, 50))
    return predictor


def decode(**changed):
    given = {"image_embeddings": SEEN, "image_pe": SEEN}
    given |= {"sparse_prompt_embeddings": torch.zeros(2, 3, DIM), "dense_prompt_embeddings": SEEN.repeat(2, 1, 1, 1)}
    return TINY.mask_decoder(**given | changed)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: MaskDecoder(12, TwoWayTransformer(1, 12, 2, 8)), "transformer_dim"),
        (lambda: MaskDecoder(16, TwoWayTransformer(1, 8, 2, 8)), "transformer"),
        (lambda: MaskDecoder(8, TwoWayTransformer(1, 8, 2, 8), num_multimask_outputs=0), "num_multimask_outputs"),
        (lambda: decode(image_embeddings=torch.zeros(3, DIM, CELLS, CELLS)), "image_embeddings"),
        (lambda: decode(image_embeddings=torch.zeros(1, 3, SIDE, SIDE)), "image_embeddings"),
        (lambda: decode(image_pe=torch.zeros(1, DIM, 2, 2)), "image_pe"),
        (lambda: decode(sparse_prompt_embeddings=torch.zeros(2, DIM)), "sparse_prompt_embeddings"),
        (lambda: decode(dense_prompt_embeddings=torch.zeros(3, DIM, CELLS, CELLS)), "dense_prompt_embeddings"),
        (lambda: TINY.encode(torch.zeros(3, SIDE, SIDE)), "images"),
        (lambda: TINY.encode(torch.zeros(1, 1, SIDE, SIDE)), "images"),
        (lambda: TINY.encode(torch.zeros(1, 3, SIDE, SIDE + 1)), "images"),
        (lambda: TINY.encode(torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8)), "images"),
        (lambda: TINY(SEEN), "points, boxes and masks"),
        (lambda: TINY(SEEN, CLICK, YES, phrases=["", ""]), "phrases"),
        (lambda: SPEAKING(SEEN, CLICK, YES, phrases=["red"]), "phrases"),
        (lambda: SPEAKING(SEEN, CLICK, YES, phrases=["red", "blue"]), "phrases"),
        (lambda: TINY(torch.zeros(3, DIM, CELLS, CELLS), CLICK, YES), "image_embeddings"),
        (lambda: TINY(torch.zeros(3, DIM, CELLS, CELLS), CLICK[:1], YES[:1]), "image_embeddings"),
        (lambda: TINY(torch.zeros(1, 3, SIDE, SIDE), CLICK, YES), "image_embeddings"),
        (lambda: TINY(SEEN[0], CLICK, YES), "image_embeddings"),
        (lambda: TINY(SEEN, CLICK[0], YES), "points"),
        (lambda: TINY(SEEN, CLICK), "labels"),
        (lambda: SamPredictor(TINY).set_image(torch.zeros(1, 3, 30, 50)), "image"),
        (lambda: SamPredictor(TINY).set_image(torch.zeros(30, 50, 3)), "image"),
        (lambda: SamPredictor(TINY).set_image(torch.zeros(3, 30, 50, dtype=torch.uint8)), "image"),
        (lambda: SamPredictor(TINY).set_image(torch.zeros(3, 0, 50)), "image"),
        (lambda: ready().predict(), "points, boxes and masks"),
        (lambda: ready().predict(torch.zeros(2), torch.ones(1)), "point_coords"),
        (lambda: ready().predict(torch.zeros(1, 1, 2), torch.ones(1)), "point_coords"),
        (lambda: ready().predict(torch.zeros(2, 2)), "point_labels"),
        (lambda: ready().predict(torch.zeros(2, 2), torch.ones(1)), "point_labels"),
        (lambda: ready().predict(point_labels=torch.ones(1), box=torch.zeros(4)), "point_labels"),
        (lambda: ready().predict(box=torch.zeros(2, 4)), "box"),
        (lambda: ready().predict(mask_input=torch.zeros(4 * CELLS, 4 * CELLS)), "mask_input"),
        (lambda: ready().predict(mask_input=torch.zeros(1, 30, 50)), "mask_input"),
        (lambda: ready().predict(phrase="red"), "phrase"),
        (lambda: ready(SPEAKING).predict(phrase="blue"), "phrases"),
        (lambda: min_over_masks_loss(*some_output(), "max"), "reduce"),
        (lambda: min_over_masks_loss(some_output()[0], some_output()[1][:3]), "true"),
        (lambda: min_over_masks_loss(some_output()[0], some_output()[1][0]), "true"),
        (lambda: min_over_masks_loss(some_output()[0], some_output()[1].float()), "true"),
        (lambda: mask_ious(torch.zeros(2, 3, 4, 4), torch.zeros(2, 8, 8).bool()), "true"),
        (lambda: mask_ious(torch.zeros(2, 4, 4), torch.zeros(2, 4, 4).bool()), "logits"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()


def test_a_picture_comes_first():
    with pytest.raises(RuntimeError, match="set_image"):
        SamPredictor(TINY).predict(torch.zeros(1, 2), torch.ones(1))
