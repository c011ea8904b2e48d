"""The decoder that asks words and picture: a layer equals transformers', boxes move step by step."""

import pytest
import torch
from torch import nn
from transformers import GroundingDinoConfig
from transformers.models.grounding_dino import modeling_grounding_dino as peer

from lib.layers.grounding_decoder import GroundingDecoder, GroundingDecoderLayer, moved_boxes
from tests.models.peers import close, redraw_transformer

DIM, QUERIES, CELLS, TOKENS = 16, 5, 8, 6
CONFIG = GroundingDinoConfig(
    d_model=DIM, decoder_attention_heads=4, decoder_ffn_dim=24, num_queries=QUERIES, attn_implementation="eager"
)


class Plain(nn.Module):
    """Stands in their layer where deformable attention stood: their own attention over all cells."""

    def __init__(self):
        super().__init__()
        self.attn = peer.GroundingDinoMultiheadAttention(CONFIG, 4)

    def forward(self, hidden_states, position_embeddings, encoder_hidden_states, encoder_attention_mask, **others):
        keys = encoder_hidden_states + self.places
        hidden = ~encoder_attention_mask[:, None, None] * torch.finfo(torch.float32).min
        return self.attn(hidden_states + position_embeddings, keys, encoder_hidden_states, hidden, True)


def ours_from(state):
    """query, key and value lie in one matrix here."""
    named = {name.replace("encoder_attn.attn.", "encoder_attn."): one for name, one in state.items()}
    joined = {}
    for name, one in named.items():
        *before, part, kind = name.split(".")
        if part == "query":
            thirds = [named[".".join([*before, other, kind])] for other in ("query", "key", "value")]
            joined[".".join([*before, f"in_proj_{kind}"])] = torch.cat(thirds)
        elif part not in ("key", "value"):
            joined[name] = one
    return joined


def some_inputs():
    generator = torch.Generator().manual_seed(1)
    sizes = {"queries": QUERIES, "query_pos": QUERIES, "vision": CELLS, "vision_pos": CELLS, "text": TOKENS}
    inputs = {name: torch.randn(2, size, DIM, generator=generator) for name, size in sizes.items()}
    no_cell, no_token = torch.zeros(2, CELLS, dtype=torch.bool), torch.zeros(2, TOKENS, dtype=torch.bool)
    no_cell[0, 6:], no_token[1, 2:] = True, True
    return inputs | {"vision_padding": no_cell, "text_padding": no_token}


@torch.no_grad()
def test_a_layer_equals_transformers_over_all_cells():
    theirs, ours = peer.GroundingDinoDecoderLayer(CONFIG), GroundingDecoderLayer(DIM, 4, 24).eval()
    theirs.encoder_attn = Plain()
    redraw_transformer(theirs.eval())
    ours.load_state_dict(ours_from(theirs.state_dict()), strict=True)
    inputs = some_inputs()
    theirs.encoder_attn.places = inputs["vision_pos"]
    (expected,) = theirs(
        inputs["queries"],
        inputs["query_pos"],
        vision_encoder_hidden_states=inputs["vision"],
        vision_encoder_attention_mask=~inputs["vision_padding"],
        text_encoder_hidden_states=inputs["text"],
        text_encoder_attention_mask=inputs["text_padding"][:, None, None] * torch.finfo(torch.float32).min,
    )
    close(ours(**inputs), expected)
    for name in ("text", "vision", "query_pos", "vision_pos"):
        changed = ours(**inputs | {name: inputs[name].flip(2)})
        assert (changed - expected).abs().max() > 0.05, f"{name} should matter"


def decoder(layers=3):
    torch.manual_seed(0)
    return GroundingDecoder(DIM, 4, layers, 24)


def run(model, references):
    inputs = some_inputs()
    del inputs["query_pos"]
    return model(references=references, **inputs)


def some_boxes():
    return 0.1 + 0.8 * torch.rand(2, QUERIES, 4, generator=torch.Generator().manual_seed(3))


def test_codes_of_boxes_equal_transformers():
    boxes = some_boxes()
    expected = peer.encode_sinusoidal_position_embedding(boxes, num_pos_feats=DIM // 2)
    got = decoder().codes(boxes)
    assert got.shape == (2, QUERIES, 2 * DIM)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_at_first_boxes_stay_and_each_layer_moves_those_of_the_one_before():
    model, boxes = decoder(), some_boxes()
    states, answers = run(model, boxes)
    assert states.shape == (3, 2, QUERIES, DIM) and answers.shape == (3, 2, QUERIES, 4)
    torch.testing.assert_close(answers, boxes.expand(3, -1, -1, -1))
    torch.testing.assert_close(states, model.layer_norm(states))
    move = torch.tensor([0.3, -0.2, 0.1, 0.5])
    model.bbox_embed.layers[-1].bias.copy_(move)
    for number, one in enumerate(run(model, boxes)[1], 1):
        torch.testing.assert_close(one, (boxes.logit() + number * move).sigmoid())


def test_no_gradient_flows_back_through_what_a_layer_starts_from():
    model, boxes = decoder(), some_boxes()
    last = run(model, boxes)[1][-1]
    last.sum().backward()
    # the boxes have not moved, so one move of the shared head gives σ'; three would give three times as much
    torch.testing.assert_close(model.bbox_embed.layers[-1].bias.grad, (boxes * (1 - boxes)).sum((0, 1)))


def test_every_weight_learns():
    model = decoder()
    nn.init.normal_(model.bbox_embed.layers[-1].weight)
    states, boxes = run(model, some_boxes())
    ((states * torch.randn_like(states)).sum() + boxes.sum()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_a_move_of_nothing_and_of_much():
    boxes = torch.tensor([[0.5, 0.25, 0.0, 1.0]])
    torch.testing.assert_close(moved_boxes(boxes, torch.zeros(1, 4)), boxes, rtol=0, atol=2e-5)
    assert moved_boxes(boxes, torch.full((1, 4), 100.0)).tolist() == [[1.0] * 4]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="^num_layers "):
        GroundingDecoder(DIM, 4, 0, 24)
