"""Words see their own phrase alone: against transformers' mask, and in what the encoder says."""

import pytest
import torch
from transformers.models.grounding_dino.modeling_grounding_dino import (
    generate_masks_with_special_tokens_and_transfer_map as their_masks,
)

from lib.layers.text_encoder import PADDING, SEPARATOR, UNKNOWN, TextEncoder, split_caption, sub_sentences

WORDS = ("small", "big", "red", "blue", "cone", "sphere")
CLS, SEP, DOT = 101, 102, 1012  # BERT's
CAPTIONS = ["small red cone . blue sphere .", "cone .", "Big red sphere. small cone.blue cone. sphere", ""]


def encoder(sub_sentence=True, layers=2):
    torch.manual_seed(0)
    return TextEncoder(WORDS, 16, 2, layers, 24, sub_sentence).eval()


def their_ids(text):
    """The same captions as BERT's tokenizer hands them out: [CLS] words and dots [SEP], padding."""
    rows = torch.zeros(len(text.ids), text.ids.shape[1] + 2, dtype=torch.int64)
    for row, ids in zip(rows, text.ids.tolist(), strict=True):
        known = [DOT if one == SEPARATOR else 2000 + one for one in ids if one != PADDING]
        row[: len(known) + 2] = torch.tensor([CLS, *known, SEP])
    return rows


def test_captions_are_split_at_dots():
    assert split_caption(CAPTIONS[2]) == ["big red sphere", "small cone", "blue cone", "sphere"]
    assert split_caption(" . .. ") == split_caption("") == []


def test_tokens():
    text = encoder().tokenize(["small  RED cone. green", ""])
    assert text.ids.tolist() == [[3, 5, 7, SEPARATOR, UNKNOWN, SEPARATOR], [SEPARATOR] + 5 * [PADDING]]
    assert text.phrases.tolist() == [[0, 0, 0, -1, 1, -1], 6 * [-1]]
    assert text.places.tolist() == [[0, 1, 2, 3, 0, 1], 6 * [0]]
    assert text.padding.tolist() == [6 * [False], [False] + 5 * [True]]


def test_who_sees_whom_equals_transformers():
    text = encoder().tokenize(CAPTIONS)
    assert text.ids.shape == (4, 12)
    special = torch.tensor([CLS, SEP, DOT, 1029])
    seen, places = their_masks(their_ids(text), special)
    expected = ~seen[:, 1:-1, 1:-1]
    longest = text.ids != PADDING
    theirs_too = longest[:, :, None] & longest[:, None]  # where their padding lies, our [SEP] would
    assert torch.equal(text.hidden[theirs_too], expected[theirs_too])
    assert torch.equal(text.places[longest], places[:, 1:-1][longest])
    assert text.hidden[0, 0].tolist() == [False] * 4 + [True] * 8, "a word sees its phrase and the dot that ends it"
    assert (text.hidden | torch.eye(12, dtype=torch.bool))[~longest].sum() == (~longest).sum() * 12


def test_a_last_phrase_without_a_dot_is_a_phrase_whatever_the_padding():
    ids = torch.tensor([[3, 4, SEPARATOR, 5, 6], [3, 4, SEPARATOR, 5, 6]])
    hidden, places = sub_sentences(ids)
    assert not hidden[:, 3, 4].any() and not hidden[:, 0, 1].any() and hidden[:, 1, 3].all()
    assert places.tolist() == 2 * [[0, 1, 2, 0, 1]]
    alone = torch.tensor([[CLS, 2003, 2004, SEP]])
    padded = torch.tensor([[CLS, 2003, 2004, SEP, 0]])
    special = torch.tensor([CLS, SEP, DOT])
    assert not their_masks(alone, special)[0][0, 1, 2] and their_masks(padded, special)[0][0, 1, 2]  # theirs depends


@torch.no_grad()
def test_phrases_do_not_change_each_other():
    model = encoder()
    one, other = (model(model.tokenize([caption])) for caption in ("red cone . big sphere .", "red cone . blue cone ."))
    torch.testing.assert_close(one[:, :3], other[:, :3])
    assert (one[:, 3:] - other[:, 3:]).abs().max() > 0.1
    alone, second = model(model.tokenize(["blue cone ."])), model(model.tokenize(["red sphere . blue cone ."]))
    torch.testing.assert_close(second[:, 3:], alone)  # nor does it matter which phrase comes first
    loose = encoder(sub_sentence=False)
    one, other = (loose(loose.tokenize([caption])) for caption in ("red cone . big sphere .", "red cone . blue cone ."))
    assert (one[:, :3] - other[:, :3]).abs().max() > 0.01, "without the mask they do"


@torch.no_grad()
def test_order_of_words_matters_and_words_of_a_phrase_see_each_other():
    model = encoder()
    one, other, third = (model(model.tokenize([text])) for text in ("red cone .", "cone red .", "blue cone ."))
    assert (one[:, 0] - other[:, 1]).abs().max() > 0.01  # "red", first and second
    assert (one[:, 1] - third[:, 1]).abs().max() > 0.01  # "cone", after "red" and after "blue"


@torch.no_grad()
@pytest.mark.parametrize("sub_sentence", [True, False])
def test_a_batch_is_its_captions_one_by_one(sub_sentence):
    model = encoder(sub_sentence)
    text = model.tokenize(CAPTIONS)
    together = model(text)
    assert together.isfinite().all()
    for number, caption in enumerate(CAPTIONS):
        alone = model(model.tokenize([caption]))
        torch.testing.assert_close(together[number : number + 1, : alone.shape[1]], alone)


def test_every_weight_learns_but_padding():
    model = encoder().train()
    text = model.tokenize(["small big red blue cone sphere . green .", "red ."])
    answers = model(text)[~text.padding]
    (answers * torch.randn(answers.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    used = model.word_embed.weight.grad.abs().sum(1) > 0
    assert used.tolist() == [False] + [True] * (len(WORDS) + 2)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: TextEncoder(("red", "Blue"), 8), "words"),
        (lambda: TextEncoder(("red cone",), 8), "words"),
        (lambda: TextEncoder(("red.",), 8), "words"),
        (lambda: TextEncoder(("red", "red"), 8), "words"),
        (lambda: encoder().tokenize("red cone"), "captions"),
        (lambda: encoder().tokenize([]), "captions"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
