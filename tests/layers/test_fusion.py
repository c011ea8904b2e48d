"""Picture and text look at each other: equal to transformers', padding left out on both sides."""

import pytest
import torch
from transformers import GroundingDinoConfig
from transformers.models.grounding_dino import modeling_grounding_dino as peer

from lib.layers.fusion import BiMultiHeadAttention, EnhancerLayer, FusionLayer
from tests.models.peers import close, redraw_transformer

CONFIG = GroundingDinoConfig(d_model=16, encoder_ffn_dim=48, encoder_attention_heads=6, num_queries=5)  # inside 24, 3


def some_sides(cells=10, tokens=7):
    generator = torch.Generator().manual_seed(1)
    vision, text = (torch.randn(3, n, 16, generator=generator) for n in (cells, tokens))
    no_cell, no_token = (torch.zeros(3, n, dtype=torch.bool) for n in (cells, tokens))
    no_cell[1, 6:], no_token[0, 5:], no_token[2, 1:] = True, True, True
    return vision, text, no_cell, no_token


def redrawn(theirs, ours):
    redraw_transformer(theirs)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return theirs.eval(), ours.eval()


@torch.no_grad()
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("kind", ["attention", "layer"])
def test_equals_transformers(kind, padded):
    if kind == "attention":
        theirs, ours = redrawn(peer.GroundingDinoBiMultiHeadAttention(CONFIG), BiMultiHeadAttention(16, 16, 24, 3))
    else:
        theirs, ours = redrawn(peer.GroundingDinoFusionLayer(CONFIG), FusionLayer(16, 24, 3))
        assert ours.vision_param.abs().min() > 1e-3, "or else nothing of the attention would be compared"
    vision, text, *masks = some_sides()
    masks = masks if padded else [None, None]
    (vision_too, vision_maps), (text_too, text_maps) = theirs(vision, text, *masks)
    got = ours(vision, text, *masks)
    close(got.vision, vision_too)
    close(got.text, text_too)
    close(got.vision_maps.flatten(0, 1), vision_maps)
    close(got.text_maps.flatten(0, 1), text_maps)
    assert got.vision_maps.std() > 0.05 and (got.vision - vision).abs().max() > 0.1
    torch.testing.assert_close(got.vision_maps.sum(3), torch.ones(3, 3, 10))
    torch.testing.assert_close(got.text_maps.sum(3), torch.ones(3, 3, 7))


@torch.no_grad()
def test_what_padding_holds_changes_nothing_on_the_other_side():
    torch.manual_seed(0)
    layer = FusionLayer(16, 24, 3, init_values=1.0)
    vision, text, no_cell, no_token = some_sides()
    before = layer(vision, text, no_cell, no_token)
    # not a factor alone, which the norm would take away
    after = layer(
        torch.where(no_cell[..., None], vision.flip(2), vision),
        torch.where(no_token[..., None], text.flip(2), text),
        no_cell,
        no_token,
    )
    torch.testing.assert_close(after.vision[~no_cell], before.vision[~no_cell])
    torch.testing.assert_close(after.text[~no_token], before.text[~no_token])
    assert not torch.allclose(after.vision[no_cell], before.vision[no_cell])


@torch.no_grad()
def test_at_first_the_sides_hardly_change_each_other():
    torch.manual_seed(0)
    layer = FusionLayer(16, 24, 3)
    vision, text, *_ = some_sides()
    got = layer(vision, text)
    torch.testing.assert_close(got.vision, layer.layer_norm_vision(vision), rtol=0, atol=1e-3)
    torch.testing.assert_close(got.text, layer.layer_norm_text(text), rtol=0, atol=1e-3)
    assert not torch.equal(got.text, layer.layer_norm_text(text))


def run(layer, vision, text, no_cell, no_token):
    hidden = no_token[:, None] & ~torch.eye(7, dtype=torch.bool)
    codes = torch.ones_like(vision), torch.linspace(0, 1, 7)[:, None].expand_as(text)
    return layer(vision, text, no_cell, no_token, hidden, *codes)


@torch.no_grad()
def test_the_enhancers_batch_is_its_pairs_one_by_one():
    torch.manual_seed(0)
    layer = EnhancerLayer(16, 2, 24, init_values=1.0)
    sides = some_sides()
    together = run(layer, *sides)
    assert together.vision.isfinite().all() and together.text.isfinite().all()
    for number in range(3):
        alone = run(layer, *(one[number : number + 1] for one in sides))
        torch.testing.assert_close(together.vision[number : number + 1], alone.vision)
        torch.testing.assert_close(together.text[number : number + 1], alone.text)


def test_every_weight_of_the_enhancer_learns():
    layer = EnhancerLayer(16, 2, 24)
    got = run(layer, *some_sides())
    loss = sum((one * torch.randn_like(one)).sum() for one in (got.vision, got.text))
    loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: BiMultiHeadAttention(16, 16, 24, 5), "num_heads"),
        (lambda: FusionLayer(16, 24, 3)(*some_sides()[:2], some_sides()[3]), "vision_padding"),
        (lambda: FusionLayer(16, 24, 3)(*some_sides()[:3], some_sides()[3].float()), "text_padding"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
