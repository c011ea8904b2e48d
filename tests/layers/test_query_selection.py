"""Cells that fit some word best; how well they fit is what transformers' two models of this kind say."""

import pytest
import torch
from transformers import GroundingDinoConfig
from transformers.models.grounding_dino.modeling_grounding_dino import GroundingDinoContrastiveEmbedding
from transformers.models.mm_grounding_dino.modeling_mm_grounding_dino import MMGroundingDinoContrastiveEmbedding

from lib.layers.query_selection import ContrastiveEmbedding, first_boxes, select_queries

LONGEST = 9


def some_answers():
    generator = torch.Generator().manual_seed(0)
    words = torch.ones(2, 6, dtype=torch.bool)
    words[0, 2], words[1, 3:] = False, False
    return torch.randn(2, 5, 8, generator=generator), torch.randn(2, 6, 8, generator=generator), words


@torch.no_grad()
@pytest.mark.parametrize("scaled", [False, True])
def test_how_well_queries_fit_words_equals_transformers(scaled):
    config = GroundingDinoConfig(max_text_len=LONGEST)
    theirs = MMGroundingDinoContrastiveEmbedding(config) if scaled else GroundingDinoContrastiveEmbedding(config)
    ours = ContrastiveEmbedding(scaled)
    if scaled:
        theirs.bias.fill_(-1.7)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    queries, text, words = some_answers()
    expected, got = theirs(queries, text, words), ours(queries, text, words)
    assert got.shape == (2, 5, 6) and expected[..., 6:].isneginf().all()
    torch.testing.assert_close(got, expected[..., :6], rtol=0, atol=1e-5)
    assert torch.equal(got.isneginf(), ~words[:, None].expand(2, 5, 6))
    layers = queries + torch.arange(3.0)[:, None, None, None]
    torch.testing.assert_close(ours(layers, text, words)[2], ours(layers[2], text, words))


@torch.no_grad()
def test_an_untaught_one_says_no_to_nearly_all():
    torch.manual_seed(0)
    logits = ContrastiveEmbedding(scaled=True)(torch.zeros(1, 1, 4), torch.randn(1, 3, 4), torch.ones(1, 3) > 0)
    torch.testing.assert_close(logits.sigmoid(), torch.full((1, 1, 3), 0.01))


def test_the_cells_that_fit_some_word_best_are_chosen():
    logits = torch.tensor([[0.0, 3], [5, -9], [1, 1], [4, 4]])[None].repeat(2, 1, 1)
    logits[1, :, 0] = float("-inf")  # this caption has one word
    assert select_queries(logits, 3).tolist() == [[1, 3, 0], [3, 0, 2]]
    padding = torch.tensor([[False] * 4, [False, False, True, True]])
    assert select_queries(logits, 2, padding).tolist() == [[1, 3], [0, 1]]
    none = torch.full((1, 4, 2), float("-inf"))
    assert sorted(select_queries(none, 4)[0].tolist()) == [0, 1, 2, 3]


def test_first_boxes_stand_around_the_middles_of_cells():
    mask = torch.zeros(2, 2, 3, dtype=torch.bool)
    mask[1, 1:], mask[1, :, 2:] = True, True
    boxes = first_boxes(mask, 0.3).unflatten(1, (2, 3))
    assert (boxes[..., 2:] == 0.3).all()
    x = torch.tensor([1 / 6, 3 / 6, 5 / 6])
    torch.testing.assert_close(boxes[0, :, :, 0], x.expand(2, 3))
    torch.testing.assert_close(boxes[0, :, :, 1], torch.tensor([[0.25], [0.75]]).expand(2, 3))
    torch.testing.assert_close(boxes[1, 0, :2, :2], torch.tensor([[0.25, 0.5], [0.75, 0.5]]))  # of the picture alone


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="^num_queries "):
        select_queries(torch.zeros(1, 4, 2), 5)
