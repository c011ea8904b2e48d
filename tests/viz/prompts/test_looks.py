import numpy as np
import pytest
import torch

from lib.layers.prompt_encoder import PositionEmbeddingRandom
from lib.models.sam import sam_small
from lib.viz.prompts.looks import draw_click_attention, draw_masked_patches, draw_place_codes, looks_of_token

IMAGE = torch.rand(3, 8, 12, generator=torch.Generator().manual_seed(0))


def test_codes_are_most_like_themselves_on_one_scale():
    torch.manual_seed(0)
    layer = PositionEmbeddingRandom(32)
    figure = draw_place_codes(layer, ((0, 0), (4, 6)), (5, 7))
    codes = layer((5, 7))
    for axis, (row, column) in zip(figure.axes[:2], ((0, 0), (4, 6)), strict=True):
        shown = axis.images[0]
        like = np.asarray(shown.get_array())
        expected = (codes * codes[:, row, column, None, None]).sum(0) / 32  # sin² + cos² = 1 for each wave
        assert np.allclose(like, expected, atol=1e-5) and shown.get_clim() == (-1, 1)
        assert np.unravel_index(like.argmax(), like.shape) == (row, column)
        assert axis.get_title() == f"row {row}, column {column}"
        assert axis.patches[0].get_bbox().extents.tolist() == [column, row, column + 1, row + 1]


def test_maps_share_one_scale():
    maps = {"block 1": torch.tensor([[0.1, 0.2, 0.7]]), "block 2": torch.tensor([[0.3, 0.3, 0.4]])}
    figure = draw_click_attention(IMAGE, maps, torch.tensor([[9, 2]]))
    first, second, bar = figure.axes
    for axis, (title, heat) in zip((first, second), maps.items(), strict=True):
        shown = axis.images[1]
        assert np.allclose(shown.get_array(), heat) and axis.get_title() == title
        assert shown.get_clim() == pytest.approx((0, 0.7)) and shown.get_extent() == [0, 12, 8, 0]
        assert axis.lines[0].get_xydata().tolist() == [[9.5, 2.5]]
    assert second.images[1].get_alpha().max() < first.images[1].get_alpha().max()
    assert [text.get_text() for text in bar.get_yticklabels()] == ["0", "0.7"]


def test_looks_are_those_of_the_decoder():
    torch.manual_seed(0)
    model = sam_small().eval()
    embedding = torch.randn(1, 64, 12, 12)
    points, labels = torch.tensor([[[20.0, 30.0]]]), torch.tensor([[1]])
    looks = looks_of_token(model, lambda: model(embedding, points, labels), 5)
    assert list(looks) == ["block 1", "block 2", "at the end"]
    assert all(look.shape == (12, 12) and look.sum() == pytest.approx(1, abs=1e-5) for look in looks.values())
    decoder = model.mask_decoder
    with torch.no_grad():  # the first look by hand
        sparse, dense = model.prompt_encoder(points, labels)
        tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight, sparse[0]])[None]  # (1, 7, D)
        block = decoder.transformer.layers[0]
        queries = block.norm1(block.self_attn(tokens, tokens, tokens)) + tokens
        keys = (embedding + dense + model.prompt_encoder.get_dense_pe()).flatten(2).transpose(1, 2)
        weights = block.cross_attn_token_to_image.weights(queries, keys)  # (1, heads, 7, 144)
    assert torch.allclose(looks["block 1"].flatten(), weights[0, :, 5].mean(0), atol=1e-5)
    assert not any(module._forward_pre_hooks for module in model.modules()), "no hook is left"
    with pytest.raises(ValueError, match="^token is 7; expected 0 to 6"):
        looks_of_token(model, lambda: model(embedding, points, labels), 7)
    with pytest.raises(ValueError, match="^ask let tokens look 0 times"):
        looks_of_token(model, lambda: None, 5)


def test_hidden_patches_are_grey_and_then_filled_in():
    hidden = torch.tensor([True, False, False, False, True, True])  # 2 × 3 patches of 4 × 4
    filled = torch.full_like(IMAGE, 1.5)
    whole, seen, guessed = (
        np.asarray(axis.images[0].get_array()) for axis in figure_of(IMAGE, hidden, {"mine": filled})
    )
    assert np.allclose(whole, IMAGE.permute(1, 2, 0), atol=0.003)
    for number, gone in enumerate(hidden.tolist()):
        at = np.s_[number // 3 * 4 : number // 3 * 4 + 4, number % 3 * 4 : number % 3 * 4 + 4]
        assert np.allclose(seen[at], 0.55 if gone else whole[at], atol=0.003)
        assert np.allclose(guessed[at], 1 if gone else whole[at], atol=0.003)


def figure_of(image, hidden, filled):
    axes = draw_masked_patches(image, hidden, filled).axes
    assert [axis.get_title() for axis in axes[1:]] == ["the encoder sees 50%", *filled]
    return axes


def test_several_ways_to_fill_in_stand_beside_each_other():
    hidden = torch.tensor([True, False, False, False, True, True])
    axes = figure_of(IMAGE, hidden, {"black": torch.zeros_like(IMAGE), "white": torch.ones_like(IMAGE)})
    assert [axis.images[0].get_array()[0, 0].tolist() for axis in axes[2:]] == [[0] * 3, [1] * 3]


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (lambda: draw_place_codes(PositionEmbeddingRandom(4), ()), "cells is empty"),
        (lambda: draw_place_codes(PositionEmbeddingRandom(4), ((24, 0),)), r"cells is \(24, 0\)"),
        (lambda: draw_click_attention(IMAGE, {}), "maps is empty"),
        (lambda: draw_click_attention(IMAGE, {"a": torch.zeros(3)}), r"maps\['a'\] is \(3,\)"),
        (
            lambda: draw_masked_patches(IMAGE, torch.zeros(6).bool(), {"a": IMAGE[:, :4]}),
            r"filled\['a'\] is \(3, 4, 12\)",
        ),
        (lambda: draw_masked_patches(IMAGE, torch.zeros(5).bool(), {}), r"hidden is \(5,\)"),
        (lambda: draw_masked_patches(IMAGE, torch.zeros(6), {}), r"hidden is \(6,\) torch.float32"),
        (lambda: draw_masked_patches(IMAGE, torch.zeros(0).bool(), {}), r"hidden is \(0,\)"),
        (lambda: draw_masked_patches(IMAGE, torch.zeros(999).bool(), {}), r"hidden is \(999,\)"),
    ],
)
def test_bad_input_is_named(draw, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw()
