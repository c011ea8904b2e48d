"""Attention and the transformer's layers: equal to PyTorch's, places where DETR puts them, padding left out."""

import pytest
import torch
from torch import nn

from lib.layers.transformer import (
    MultiheadAttention,
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
    attention_weights,
)


def redraw(module):
    """No bias of 0 and no norm of 1, which would hide a mistake."""
    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        with torch.no_grad():
            if "norm" in name and name.endswith("weight"):
                parameter.uniform_(0.5, 1.5)
            elif parameter.ndim == 1:
                parameter.normal_(0, 0.3)
            else:
                parameter.normal_(0, (2 / parameter.shape[1]) ** 0.5)
    return module


def some_tokens(batch=3, queries=5, keys=7, dim=12):
    generator = torch.Generator().manual_seed(1)
    query = torch.randn(batch, queries, dim, generator=generator, requires_grad=True)
    key, value = (torch.randn(batch, keys, dim, generator=generator, requires_grad=True) for _ in range(2))
    mask = torch.zeros(batch, keys, dtype=torch.bool)
    mask[1, 4:], mask[2, 1:] = True, True
    return query, key, value, mask


@pytest.fixture
def pair():
    ours = redraw(MultiheadAttention(12, 3))
    theirs = nn.MultiheadAttention(12, 3, batch_first=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_equals_pytorchs_with_gradients(pair, need_weights, masked):
    ours, theirs = pair
    query, key, value, mask = some_tokens()
    mask = mask if masked else None
    got, maps = ours(query, key, value, mask, need_weights)
    expected, their_maps = theirs(query, key, value, key_padding_mask=mask, average_attn_weights=False)
    torch.testing.assert_close(got, expected)
    if need_weights:
        torch.testing.assert_close(maps, their_maps)
        torch.testing.assert_close(maps.sum(-1), torch.ones(3, 3, 5))
    else:
        assert maps is None
    direction = torch.randn(got.shape, generator=torch.Generator().manual_seed(2))
    inputs = (query, key, value)
    mine = torch.autograd.grad((got * direction).sum(), [*inputs, *ours.parameters()])
    others = torch.autograd.grad((expected * direction).sum(), [*inputs, *theirs.parameters()])
    for a, b in zip(mine, others, strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b)


def test_dropout_forgets_the_same_looks_as_pytorchs(pair):
    ours, theirs = pair
    ours.dropout = theirs.dropout = 0.4
    query, key, value, mask = some_tokens()
    torch.manual_seed(3)
    got, maps = ours.train()(query, key, value, mask, need_weights=True)
    torch.manual_seed(3)
    expected, _ = theirs.train()(query, key, value, key_padding_mask=mask)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(maps.sum(-1), torch.ones(3, 3, 5))  # the maps show all looks
    plain, _ = ours.eval()(query, key, value, mask, need_weights=True)
    assert not torch.allclose(got, plain)
    again, _ = ours(query, key, value, mask)
    torch.testing.assert_close(again, plain)


def test_starts_as_pytorchs_does():
    torch.manual_seed(0)
    ours = MultiheadAttention(64, 4)
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(64, 4)
    for name, parameter in theirs.named_parameters():
        assert ours.get_parameter(name).std().item() == pytest.approx(parameter.std().item(), rel=0.05, abs=1e-9)


def test_two_keys_by_hand():
    q = torch.tensor([[2.0, 0, 0, 0]])
    k = torch.tensor([[torch.tensor(3.0).log(), 5, 0, 0], [0.0, 7, 0, 0], [9, 9, 9, 9]])
    hidden = torch.tensor([[False, False, True]])
    torch.testing.assert_close(attention_weights(q, k, hidden), torch.tensor([[0.75, 0.25, 0]]))  # 2 ln 3 / √4 = ln 3


def test_what_padding_holds_changes_nothing():
    layer = redraw(MultiheadAttention(12, 3))
    query, key, value, mask = some_tokens()
    before, maps = layer(query, key, value, mask, need_weights=True)
    assert maps.masked_select(mask[:, None, None]).eq(0).all()
    key, value = (x.masked_fill(mask[..., None], 1e3) for x in (key, value))
    torch.testing.assert_close(layer(query, key, value, mask)[0], before)


def test_each_query_may_have_keys_of_its_own(pair):
    ours, theirs = pair
    query, key, value, _ = some_tokens()
    hidden = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(4)) < 0.5
    hidden[..., 0] = False
    expected, their_maps = theirs(
        query, key, value, attn_mask=hidden.repeat_interleave(ours.num_heads, dim=0), average_attn_weights=False
    )
    got, maps = ours(query, key, value, hidden, need_weights=True)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(maps, their_maps)
    torch.testing.assert_close(ours(query, key, value, hidden)[0], expected)


def test_the_encoder_layer_without_places_equals_pytorchs():
    ours = redraw(TransformerEncoderLayer(12, 3, 20, dropout=0.0))
    theirs = nn.TransformerEncoderLayer(12, 3, 20, dropout=0.0, batch_first=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    _, src, _, mask = some_tokens()
    got, maps = ours(src, mask)
    assert maps is None
    torch.testing.assert_close(got, theirs(src, src_key_padding_mask=mask))


def test_the_decoder_layer_without_places_equals_pytorchs():
    ours = redraw(TransformerDecoderLayer(12, 3, 20, dropout=0.0))
    theirs = nn.TransformerDecoderLayer(12, 3, 20, dropout=0.0, batch_first=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    tgt, memory, _, mask = some_tokens()
    got, among, where = ours(tgt, memory, mask)
    assert among is None and where is None
    torch.testing.assert_close(got, theirs(tgt, memory, memory_key_padding_mask=mask))


def test_places_say_where_to_look_and_are_not_taken_home():
    layer = redraw(TransformerEncoderLayer(12, 3, 20, dropout=0.0))
    src, pos = torch.randn(1, 6, 12), torch.randn(1, 6, 12)
    seen, maps = layer.self_attn(src + pos, src + pos, src, need_weights=True)
    once = layer.norm1(src + seen)
    expected = layer.norm2(once + layer.linear2(layer.linear1(once).relu()))
    got, got_maps = layer(src, pos=pos, need_weights=True)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(got_maps, maps)


def test_in_the_decoder_queries_and_cells_have_places_of_their_own():
    layer = redraw(TransformerDecoderLayer(12, 3, 20, dropout=0.0))
    tgt, query_pos, memory, pos = (torch.randn(1, n, 12) for n in (4, 4, 6, 6))
    heard, _ = layer.self_attn(tgt + query_pos, tgt + query_pos, tgt)
    once = layer.norm1(tgt + heard)
    seen, _ = layer.multihead_attn(once + query_pos, memory + pos, memory)
    twice = layer.norm2(once + seen)
    expected = layer.norm3(twice + layer.linear2(layer.linear1(twice).relu()))
    got, among, where = layer(tgt, memory, None, pos, query_pos, need_weights=True)
    torch.testing.assert_close(got, expected)
    assert among.shape == (1, 3, 4, 4) and where.shape == (1, 3, 4, 6)


def test_the_decoder_hands_out_every_layer_normalised_and_goes_on_with_what_is_not():
    decoder = redraw(TransformerDecoder([TransformerDecoderLayer(12, 3, 20, dropout=0.0) for _ in range(3)], 12))
    tgt, memory, _, mask = some_tokens()
    states, among, where = decoder(tgt, memory, mask)
    assert states.shape == (3, 3, 5, 12) and among == where == []
    for layer, state in zip(decoder.layers, states, strict=True):
        tgt = layer(tgt, memory, mask)[0]
        torch.testing.assert_close(state, decoder.norm(tgt))


def test_an_encoder_without_layers_changes_nothing():
    src = torch.randn(2, 5, 12)
    memory, maps = TransformerEncoder([])(src, need_weights=True)
    assert memory is src and maps == []


def some_map():
    generator = torch.Generator().manual_seed(4)
    src, pos = (torch.randn(2, 12, 3, 4, generator=generator) for _ in range(2))
    mask = torch.zeros(2, 3, 4, dtype=torch.bool)
    mask[1, 2:], mask[1, :, 3:] = True, True
    return src, mask, torch.randn(5, 12, generator=generator), pos


def test_shapes_of_the_whole_and_maps_on_request():
    model, inputs = redraw(Transformer(12, 3, 2, 4, 20)).eval(), some_map()
    plain, looked = model(*inputs), model(*inputs, need_weights=True)
    assert plain.states.shape == (4, 2, 5, 12) and plain.memory.shape == (2, 12, 3, 4)
    assert plain.encoder_attention == plain.self_attention == plain.cross_attention == []
    torch.testing.assert_close(looked.states, plain.states)
    torch.testing.assert_close(looked.memory, plain.memory)
    assert [one.shape for one in looked.encoder_attention] == [(2, 3, 3, 4, 3, 4)] * 2
    assert [one.shape for one in looked.self_attention] == [(2, 3, 5, 5)] * 4
    assert [one.shape for one in looked.cross_attention] == [(2, 3, 5, 3, 4)] * 4
    padding = inputs[1]
    for maps in (*looked.encoder_attention, *looked.cross_attention):
        rows = maps.flatten(2, -3)  # (B, heads, who looks, h, w)
        torch.testing.assert_close(rows.sum((-2, -1)), torch.ones(rows.shape[:3]))
        assert rows.masked_select(padding[:, None, None]).eq(0).all()


def test_a_cells_own_map_lies_at_its_place():
    model = redraw(Transformer(12, 3, 1, 1, 20)).eval()
    src, mask, queries, pos = some_map()
    maps = model(src, mask, queries, pos, need_weights=True).encoder_attention[0]
    cells, places = (x.flatten(2).transpose(1, 2) for x in (src, pos))
    flat = model.encoder(cells, mask.flatten(1), places, need_weights=True).attention[0]  # (B, heads, 12, 12)
    assert torch.equal(maps[0, 1, 2, 3, 1, 2], flat[0, 1, 2 * 4 + 3, 1 * 4 + 2])


def test_a_padded_picture_is_the_picture_alone():
    model = redraw(Transformer(12, 3, 2, 2, 20)).eval()
    src, mask, queries, pos = some_map()
    batch = model(src, mask, queries, pos).states[:, 1]
    alone = model(src[1:, :, :2, :3], mask[1:, :2, :3], queries, pos[1:, :, :2, :3]).states[:, 0]
    torch.testing.assert_close(batch, alone)


def test_everything_learns_but_what_the_queries_say_to_each_other_when_none_knows_anything():
    model = redraw(Transformer(12, 3, 2, 2, 20)).eval()
    states = model(*some_map()).states
    (states * torch.randn_like(states)).sum().backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad.abs().max() < 1e-3}
    assert idle == {"decoder.layers.0.self_attn.in_proj_weight"}


def attend(**changed):
    tokens = dict(zip(("query", "key", "value", "key_padding_mask"), some_tokens()))
    return MultiheadAttention(12, 3)(**(tokens | changed))


def transform(**changed):
    return Transformer(12, 3, 1, 1, 20)(
        **(dict(zip(("src", "mask", "query_embed", "pos_embed"), some_map())) | changed)
    )


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: MultiheadAttention(12, 5), "num_heads"),
        (lambda: attend(query=torch.zeros(5, 12)), "query"),
        (lambda: attend(query=torch.zeros(3, 5, 10)), "query"),
        (lambda: attend(key=torch.zeros(2, 7, 12)), "key"),
        (lambda: attend(value=torch.zeros(3, 6, 12)), "value"),
        (lambda: attend(key_padding_mask=torch.zeros(3, 6, dtype=torch.bool)), "key_padding_mask"),
        (lambda: attend(key_padding_mask=torch.zeros(3, 7)), "key_padding_mask"),
        (lambda: TransformerDecoder([], 12), "layers"),
        (lambda: transform(src=torch.zeros(2, 10, 3, 4)), "src"),
        (lambda: transform(mask=torch.zeros(2, 3, 4)), "mask"),
        (lambda: transform(mask=torch.zeros(2, 4, 3, dtype=torch.bool)), "mask"),
        (lambda: transform(query_embed=torch.zeros(5, 10)), "query_embed"),
        (lambda: transform(pos_embed=torch.zeros(1, 12, 3, 4)), "pos_embed"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
