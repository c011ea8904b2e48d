"""Prompting: batches repeat, every prompt teaches, all parameters are reached, clicks help."""

import random

import pytest
import torch
from torch import nn

from lib.datasets.toyworld import Toyworld
from lib.datasets.toyworld.levels import LEVELS, nested_masks, unambiguous_phrases
from lib.datasets.toyworld.scene import CLASSES, COLOURS, SIZES
from lib.layers.prompt_encoder import PhraseEncoder, PromptEncoder
from lib.layers.two_way import TwoWayTransformer
from lib.layers.vit import ImageEncoderViT
from lib.models.sam import MaskDecoder, Sam, SamOutput
from lib.training import prompting
from lib.training.prompting import (
    WANTED,
    Prompt,
    Prompted,
    PromptedBatches,
    best_answer,
    corrected,
    first_prompt,
    iou_by_clicks,
    prompted_loss,
)

WORDS = (*SIZES, *COLOURS, *CLASSES)
SIDE = 48


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(tmp_path_factory.mktemp("data")))
        world = Toyworld("val", 8, SIDE)
        return [world[index] for index in range(8)]


def small(words=WORDS):
    torch.manual_seed(0)
    encoder = ImageEncoderViT(SIDE, 8, 16, 2, 2, 16, window_size=4, global_attn_indexes=(1,))
    decoder = MaskDecoder(16, TwoWayTransformer(2, 16, 2, 20), iou_head_hidden_dim=12)
    phrases = PhraseEncoder(words, 16) if words else None
    return Sam(encoder, PromptEncoder(16, (6, 6), (SIDE, SIDE), 8), decoder, phrase_encoder=phrases)


# ------------------------------------------------------------------------------------------------ batches


def test_batches_hold_masks_and_words_of_their_pictures(samples):
    batches = PromptedBatches(samples, pictures=5, per_picture=3, seed=1)
    nested = [nested_masks(sample) for sample in samples]
    mirrored = []
    for _ in range(6):
        batch = batches()
        assert batch.images.shape == (5, 3, SIDE, SIDE) and batch.masks.shape == (15, SIDE, SIDE)
        assert batch.masks.dtype == torch.bool and len(batch.phrases) == 15
        for number, image in enumerate(batch.images):
            (index, turn), *_ = [
                (index, turn)
                for index, sample in enumerate(samples)
                for turn in ((), (-1,))
                if torch.equal(sample.image.flip(turn), image)
            ]
            mirrored.append(bool(turn))
            ways = unambiguous_phrases(nested[index].phrases)
            for place in range(3 * number, 3 * number + 3):
                mask, phrase = batch.masks[place], batch.phrases[place]
                (known,) = [n for n, one in enumerate(nested[index].masks) if torch.equal(one.flip(turn), mask)][:1]
                assert phrase in ways[known] if ways[known] else phrase == ""
    assert 5 < sum(mirrored) < 25


def test_the_same_seed_gives_the_same_batches(samples):
    one, same, other = (PromptedBatches(samples, 4, 2, seed) for seed in (3, 3, 4))
    random.seed(0)
    torch.manual_seed(0)
    first = [one() for _ in range(3)]
    again = [same() for _ in range(3)]
    for mine, theirs in zip(first, again):
        assert torch.equal(mine.images, theirs.images) and torch.equal(mine.masks, theirs.masks)
        assert mine.phrases == theirs.phrases
    assert not torch.equal(first[0].images, other().images)


def test_levels_are_asked_for_as_often_as_wanted(samples):
    sample = next(one for one in samples if len(nested_masks(one).levels.unique()) == 4)
    nested = nested_masks(sample)
    batches, seen = PromptedBatches([sample], 20, 20), torch.zeros(4)
    for _ in range(10):
        for mask in batches().masks:
            (place, *_) = [n for n, one in enumerate(nested.masks) if one.equal(mask) or one.flip(-1).equal(mask)]
            seen[nested.levels[place]] += 1
    torch.testing.assert_close(seen / 4000, torch.tensor([WANTED[one] for one in LEVELS]), rtol=0, atol=0.04)


# ------------------------------------------------------------------------------------------------ prompts


def a_batch(samples, pictures=4, masks=6):
    return PromptedBatches(samples, pictures, masks)()


@pytest.mark.parametrize("kind", ["point", "box", "phrase"])
def test_the_first_prompt(samples, kind):
    torch.manual_seed(0)
    batch = a_batch(samples)
    prompt, vague = first_prompt(batch, {kind: 1.0})
    worded = torch.tensor([phrase != "" for phrase in batch.phrases]) & (kind == "phrase")
    assert prompt.points.shape == (24, 2, 2) and prompt.labels.shape == (24, 2) and prompt.masks is None
    assert prompt.phrases == [phrase if kind == "phrase" else "" for phrase in batch.phrases]
    assert torch.equal(vague, torch.full((24,), kind != "box") & ~worded)
    for mask, points, labels, said in zip(batch.masks, prompt.points, prompt.labels, worded):
        if said:
            assert labels.tolist() == [-1, -1]
        elif kind == "box":
            rows, columns = torch.where(mask)
            true = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
            sides = (true[2:] - true[:2]).repeat(2)
            assert labels.tolist() == [2, 3] and (points.flatten() - true).abs().le(5 * 0.1 * sides + 1).all()
        else:
            x, y = points[0].long()
            assert labels.tolist() == [1, -1] and mask[y, x]
    assert kind != "phrase" or (0 < worded.sum() < 24)


def test_kinds_come_as_often_as_wanted(samples):
    torch.manual_seed(0)
    batch = PromptedBatches(samples, 50, 40)()
    prompt, vague = first_prompt(batch)
    boxed = (prompt.labels[:, 0] == 2).float().mean()
    known = torch.tensor([phrase != "" for phrase in batch.phrases]).float().mean()
    said = torch.tensor([phrase != "" for phrase in prompt.phrases]).float().mean()
    assert abs(boxed - 0.25) < 0.04 and abs(said - 0.25 * known) < 0.04
    assert vague.float().mean().item() == pytest.approx(1 - (boxed + said).item(), abs=1e-6)


def test_a_correction_lies_in_what_is_wrong(samples):
    batch = a_batch(samples)
    prompt, _ = first_prompt(batch, {"box": 1.0})
    logits = torch.randn(24, 12, 12)
    later = corrected(prompt, logits, batch.masks)
    assert later.points.shape == (24, 3, 2) and torch.equal(later.points[:, :2], prompt.points)
    assert torch.equal(later.masks, logits[:, None]) and later.phrases == prompt.phrases
    large = nn.functional.interpolate(logits[:, None], (SIDE, SIDE), mode="bilinear")[:, 0] > 0
    x, y = later.points[:, 2].long().T
    said, true = large[torch.arange(24), y, x], batch.masks[torch.arange(24), y, x]
    assert (said != true).all() and torch.equal(later.labels[:, 2], true.long())


def test_the_answer_that_is_shown():
    masks = torch.arange(8.0).view(2, 4, 1, 1)
    ious = torch.tensor([[0.9, 0.1, 0.3, 0.2], [0.1, 0.9, 0.3, 0.2]])
    every = SamOutput(masks, ious)
    assert best_answer(every, torch.tensor([True, False])).flatten().tolist() == [2, 4]
    assert best_answer(every, torch.tensor([False, True])).flatten().tolist() == [0, 5]
    below = SamOutput(masks, -ious)
    assert best_answer(below, torch.tensor([True, False])).flatten().tolist() == [1, 4]


# ------------------------------------------------------------------------------------------------ the loss


@pytest.mark.parametrize("single_click", ["min", "mean", "one"])
@pytest.mark.parametrize("kinds", [{"point": 1.0}, {"box": 1.0}, {"phrase": 1.0}, prompting.KINDS])
@pytest.mark.parametrize("rounds", [1, 3])
def test_every_prompt_teaches(samples, monkeypatch, kinds, rounds, single_click):
    model = small()
    monkeypatch.setattr(prompting, "first_prompt", lambda batch: first_prompt(batch, kinds))
    losses = prompted_loss(model, a_batch(samples), rounds, single_click)
    assert losses.keys() == {"loss_mask", "loss_dice", "loss_iou"}
    for loss in losses.values():
        assert loss.ndim == 0 and loss.isfinite() and loss > 0
    sum(losses.values()).backward()
    assert all(one.grad is None or one.grad.isfinite().all() for one in model.parameters())
    assert model.image_encoder.patch_embed.proj.weight.grad.abs().sum() > 0


def test_every_parameter_is_reached(samples, monkeypatch):
    model, batch = small(), a_batch(samples, 8, 6)
    for kind in ("point", "box", "phrase"):
        monkeypatch.setattr(prompting, "first_prompt", lambda batch: first_prompt(batch, {kind: 1.0}))
        for how in ("min", "mean"):  # with "min" a mask that is never the closest learns nothing
            sum(prompted_loss(model, batch, 3, how).values()).backward()
    still = {name for name, one in model.named_parameters() if one.grad is None or not one.grad.abs().max() > 1e-9}
    # Added to every key alike, a bias changes no softmax: what is left of its gradient is rounding.
    assert {name for name in still if not name.endswith("k_proj.bias")} == set()


def test_the_loss_is_the_mean_over_prompts_and_rounds(samples, monkeypatch):
    """A batch in which half of the prompts are single clicks is the mean of its halves."""
    model, batch = small(), a_batch(samples, 2, 4)
    half = [Prompted(batch.images[n : n + 1], batch.masks[4 * n : 4 * n + 4], batch.phrases[:4]) for n in (0, 1)]
    prompts = [first_prompt(half[0], {"point": 1.0}), first_prompt(half[1], {"box": 1.0})]
    both = Prompt(*(torch.cat([one[0][part] for one in prompts]) for part in (0, 1)), [""] * 8)
    answers = {8: (both, torch.tensor([True] * 4 + [False] * 4))}
    monkeypatch.setattr(prompting, "first_prompt", lambda batch: answers[len(batch.masks)])
    together = prompted_loss(model, batch, 1)
    alone = []
    for batch_, answer in zip(half, prompts):
        answers[4] = answer
        alone.append(prompted_loss(model, batch_, 1))
    for name, loss in together.items():
        torch.testing.assert_close(loss, (alone[0][name] + alone[1][name]) / 2, rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------------------------------------ clicks


class Knowing(nn.Module):
    """Answers with the truth, at the small size; of all four masks only one is right, and its guess says so."""

    def __init__(self, true, right):
        super().__init__()
        self.true, self.right, self.calls = true, right, []

    def forward(self, embeddings, points, labels, boxes=None, masks=None, phrases=None):
        self.calls.append((points, labels, masks))
        seen = 8 * self.true.float() - 4  # (P, H, W)
        every = torch.full((len(seen), 4, *seen.shape[1:]), -4.0)
        every[:, self.right], every[:, 0] = seen, seen
        guesses = torch.zeros(len(seen), 4)
        guesses[:, self.right] = 1
        return SamOutput(every, guesses)


class Learning(nn.Module):
    """Sees as much of the truth as lies near the clicks on the foreground."""

    def __init__(self, true):
        super().__init__()
        self.true = true

    def forward(self, embeddings, points, labels, boxes=None, masks=None, phrases=None):
        places = torch.arange(SIDE)
        near = (points[..., None] - places).abs() <= 3  # (P, N, 2, side): columns, rows
        seen = (near[:, :, 1, :, None] & near[:, :, 0, None] & (labels == 1)[..., None, None]).any(1) & self.true
        return SamOutput((2.0 * seen - 1)[:, None].repeat(1, 4, 1, 1), torch.zeros(len(points), 4))


def some_truth():
    true = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    true[0, 8:25, 10:31], true[1, 30:44, 3:12] = True, True
    return true


@pytest.mark.parametrize("right", [1, 2, 3])
def test_who_knows_the_truth_needs_one_click(right):
    true = some_truth()
    model = Knowing(true, right)
    assert torch.equal(iou_by_clicks(model, torch.zeros(1, 1, 1, 1), true, clicks=3), torch.ones(2, 3))
    points, labels, masks = model.calls[0]
    assert points.tolist() == [[[18, 16]], [[7, 34]]] and labels.tolist() == [[1], [1]] and masks is None
    assert model.calls[2][1].tolist() == [[1, -1, -1]] * 2, "where nothing is wrong nobody clicks"
    assert model.calls[1][2].shape == (2, 1, SIDE, SIDE)


def test_more_clicks_find_more():
    true, nothing = some_truth(), torch.zeros(1, 1, 1, 1)
    ious = iou_by_clicks(Learning(true), nothing, true, clicks=6)
    assert ious.shape == (2, 6) and (ious[:, 1:] > ious[:, :-1]).all()
    torch.testing.assert_close(ious[:, 0], torch.tensor([49 / (17 * 21), 49 / (14 * 9)]))
    first = torch.tensor([[10.0, 8], [3, 30]])  # in the corners, where a quarter is near
    corner = iou_by_clicks(Learning(true), nothing, true, clicks=1, first=first)
    torch.testing.assert_close(corner[:, 0], torch.tensor([16 / (17 * 21), 16 / (14 * 9)]))


@pytest.mark.parametrize("words", [WORDS, ()])
def test_a_model_is_measured_with_words_or_without(samples, words):
    model = small(words).eval()
    embedding = model.encode(samples[0].image[None])
    ious = iou_by_clicks(model, embedding, samples[0].masks, clicks=3)
    assert ious.shape == (len(samples[0].masks), 3) and (ious >= 0).all() and (ious <= 1).all()
    assert not ious.requires_grad


# ------------------------------------------------------------------------------------------------ bad input

MODEL, SILENT = small(), small(())
SQUARE = torch.ones(2, SIDE, SIDE, dtype=torch.bool)


def of(images=(1, 3, SIDE, SIDE), masks=SQUARE, phrases=("", "")):
    return Prompted(torch.zeros(images), masks, list(phrases))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda s: PromptedBatches([]), "masks"),
        (lambda s: PromptedBatches(s, pictures=0), "pictures"),
        (lambda s: PromptedBatches(s, per_picture=0), "per_picture"),
        (lambda s: first_prompt(of(), {}), "kinds"),
        (lambda s: first_prompt(of(), {"mask": 1.0}), "kinds"),
        (lambda s: first_prompt(of(), {"point": 0.0}), "kinds"),
        (lambda s: first_prompt(of(masks=~SQUARE), {"point": 1.0}), "masks"),
        (lambda s: prompted_loss(MODEL, of(), 0), "rounds"),
        (lambda s: prompted_loss(MODEL, of(), 1, "three"), "single_click"),
        (lambda s: prompted_loss(MODEL, of((1, 3, 40, SIDE)), 1), "batch"),
        (lambda s: prompted_loss(MODEL, of(masks=SQUARE[:, :40]), 1), "batch"),
        (lambda s: prompted_loss(MODEL, of((3, 3, SIDE, SIDE)), 1), "batch"),
        (lambda s: prompted_loss(MODEL, of(phrases=("",)), 1), "batch"),
        (lambda s: prompted_loss(SILENT, of(phrases=("red", "")), 1), "model"),
        (lambda s: iou_by_clicks(MODEL, torch.zeros(1, 16, 6, 6), SQUARE, clicks=0), "clicks"),
        (lambda s: iou_by_clicks(MODEL, torch.zeros(1, 16, 6, 6), SQUARE.float()), "true"),
        (lambda s: iou_by_clicks(MODEL, torch.zeros(1, 16, 6, 6), SQUARE[0]), "true"),
        (lambda s: iou_by_clicks(MODEL, torch.zeros(1, 16, 6, 6), ~SQUARE), "true"),
        (lambda s: iou_by_clicks(MODEL, torch.zeros(1, 16, 6, 6), SQUARE, first=torch.zeros(2)), "first"),
        (lambda s: iou_by_clicks(MODEL, torch.zeros(1, 3, SIDE, SIDE), SQUARE), "image_embeddings"),
    ],
)
def test_bad_input_is_named(samples, call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call(samples)
