"""The vision transformer of SAM: equal to the official image encoder; windows and relative places against loops."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from segment_anything.modeling import image_encoder as peer
from torch import nn

from lib.layers.position import PositionEmbeddingSine
from lib.layers.vit import (
    Attention,
    Block,
    ImageEncoderViT,
    LayerNorm2d,
    PatchEmbed,
    decomposed_rel_pos,
    wave_positions,
    window_partition,
    window_unpartition,
)
from tests.models.peers import close, redraw_transformer

SMALL = {"img_size": 64, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "out_chans": 10}


def pair(window, everywhere, rel_pos=True):
    """The official encoder and ours with the same random weights."""
    norm = partial(nn.LayerNorm, eps=1e-6)
    options = {"window_size": window, "global_attn_indexes": everywhere, "use_rel_pos": rel_pos}
    theirs, ours = peer.ImageEncoderViT(**SMALL, **options, norm_layer=norm), ImageEncoderViT(**SMALL, **options)
    redraw_transformer(theirs)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


@torch.no_grad()
@pytest.mark.parametrize("rel_pos", [True, False])
@pytest.mark.parametrize(
    ("window", "everywhere"),
    [(3, (1,)), (3, ()), (4, (0,)), (0, ()), (9, ())],  # 8 cells: three windows of 3, two of 4, one that is too large
)
def test_equals_the_official_encoder(window, everywhere, rel_pos):
    ours, theirs = pair(window, everywhere, rel_pos)
    pictures = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = theirs(pictures)
    assert expected.shape == (2, 10, 8, 8) and expected.std(dim=(2, 3)).min() > 0.1, "a constant map proves little"
    close(ours(pictures), expected)
    theirs.load_state_dict(ours.state_dict(), strict=True)


def test_every_weight_is_reached_and_what_begins_at_zero_learns():
    torch.manual_seed(0)
    model = ImageEncoderViT(**SMALL, window_size=3, global_attn_indexes=(1,))
    begins = {name for name, one in model.named_parameters() if not one.any()}
    assert {"pos_embed", "blocks.0.attn.rel_pos_h", "blocks.1.attn.rel_pos_w"} <= begins
    assert model.blocks[0].attn.rel_pos_h.shape == (5, 8) and model.blocks[1].attn.rel_pos_h.shape == (15, 8)
    model(torch.rand(2, 3, 64, 64)).square().mul(torch.rand(10, 8, 8)).sum().backward()
    assert [name for name, one in model.named_parameters() if not one.grad.abs().sum() > 0] == []


# ------------------------------------------------------------------------------------------------ windows


@pytest.mark.parametrize("size", [(6, 9), (7, 5), (1, 1), (2, 10)])
@pytest.mark.parametrize("window", [1, 2, 3])
def test_windows_and_back(size, window):
    x = torch.randn(2, *size, 5)
    windows = window_partition(x, window)
    rows, columns = -(-size[0] // window), -(-size[1] // window)
    assert windows.shape == (2 * rows * columns, window, window, 5)
    for number, one in enumerate(windows):
        picture, place = divmod(number, rows * columns)
        top, left = place // columns * window, place % columns * window
        there = x[picture, top : top + window, left : left + window]
        padding = (0, 0, 0, window - there.shape[1], 0, window - there.shape[0])
        assert torch.equal(one, F.pad(there, padding))
    assert torch.equal(window_unpartition(windows, size), x)
    theirs, padded = peer.window_partition(x, window)
    assert torch.equal(windows, theirs)
    assert torch.equal(peer.window_unpartition(windows, window, padded, size), x)


@torch.no_grad()
def test_windows_do_not_see_each_other_and_the_whole_map_does():
    torch.manual_seed(0)
    x = torch.randn(1, 6, 6, 8)
    changed = x.clone()
    changed[0, 1, 1, 0] += 1
    for window, expected in ((3, 9), (0, 36)):
        block = Block(8, 2, (6, 6), window)
        assert ((block(x) - block(changed)).abs().amax(-1) > 1e-7).sum() == expected


# ------------------------------------------------------------------------------------------------ attention


def test_relative_places_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    h, w = 3, 4
    q = torch.randn(2, 3, h * w, 5, generator=generator)
    by_row, by_column = (torch.randn(2 * n - 1, 5, generator=generator) for n in (h, w))
    near = decomposed_rel_pos(q, by_row, by_column, (h, w))
    assert near.shape == (2, 3, 12, 12)
    for here in range(h * w):
        for there in range(h * w):
            down, right = here // w - there // w, here % w - there % w
            vector = by_row[down + h - 1] + by_column[right + w - 1]
            torch.testing.assert_close(near[:, :, here, there], q[:, :, here] @ vector)


@torch.no_grad()
@pytest.mark.parametrize("map_size", [(3, 4), None])
def test_attention_against_a_loop_and_its_weights(map_size):
    torch.manual_seed(0)
    layer, x = Attention(6, 2, map_size), torch.randn(2, 3, 4, 6)
    redraw_transformer(layer)
    q, k, v = layer.qkv(x.flatten(1, 2)).chunk(3, dim=-1)
    looked = torch.zeros(2, 2, 12, 12)
    out = torch.zeros(2, 12, 6)
    for head in range(2):
        part = slice(3 * head, 3 * head + 3)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / 3**0.5
        for here in range(12) if map_size else ():
            for there in range(12):
                down, right = here // 4 - there // 4, here % 4 - there % 4
                vector = layer.rel_pos_h[down + 2] + layer.rel_pos_w[right + 3]
                scores[:, here, there] += q[:, here, part] @ vector
        looked[:, head] = scores.softmax(-1)
        out[..., part] = looked[:, head] @ v[..., part]
    torch.testing.assert_close(layer(x), layer.proj(out).view(2, 3, 4, 6))
    torch.testing.assert_close(layer.weights(x), looked)


@torch.no_grad()
def test_tokens_in_no_order():
    torch.manual_seed(0)
    layer, x = Attention(6, 2, (3, 4)), torch.randn(2, 12, 6)
    torch.testing.assert_close(layer.of_tokens(x), layer(x.unflatten(1, (3, 4))).flatten(1, 2))  # they begin at zero
    redraw_transformer(layer)
    order = torch.randperm(12)
    torch.testing.assert_close(layer.of_tokens(x)[:, order], layer.of_tokens(x[:, order]))
    assert not torch.allclose(layer.of_tokens(x), layer(x.unflatten(1, (3, 4))).flatten(1, 2), atol=1e-3)
    block = Block(6, 2, (3, 4), window=2)
    assert block(x[:, :5]).shape == (2, 5, 6)
    one = block(x)[0, 3]
    assert not torch.allclose(one, block(x[:, :5])[0, 3], atol=1e-4), "tokens look beyond a window"


def test_normalised_over_channels():
    x = 3 + 5 * torch.randn(2, 7, 3, 4)
    layer = LayerNorm2d(7)
    torch.testing.assert_close(layer(x).mean(1), torch.zeros(2, 3, 4), rtol=0, atol=1e-5)
    torch.testing.assert_close(layer(x).var(1, correction=0), torch.ones(2, 3, 4), rtol=0, atol=1e-4)
    redraw_transformer(layer)
    expected = F.layer_norm(x.movedim(1, 3), (7,), layer.weight, layer.bias, 1e-6).movedim(3, 1)
    torch.testing.assert_close(layer(x), expected)


@torch.no_grad()
def test_a_patch_is_a_linear_layer_of_its_pixels():
    layer, x = PatchEmbed(4, 5), torch.rand(2, 3, 8, 12)
    out = layer(x)
    assert out.shape == (2, 2, 3, 5)
    pixels = x[1, :, 4:8, 8:12].flatten()
    torch.testing.assert_close(out[1, 1, 2], layer.proj.weight.flatten(1) @ pixels + layer.proj.bias)


def test_places_as_waves():
    codes = wave_positions(5, 12)
    assert codes.shape == (1, 5, 5, 12)
    expected = PositionEmbeddingSine(6, normalize=True)(torch.zeros(1, 5, 5, dtype=torch.bool))
    assert torch.equal(codes, expected.permute(0, 2, 3, 1))
    assert len(codes.flatten(0, 2).unique(dim=0)) == 25


# ------------------------------------------------------------------------------------------------ bad input

Q, ROWS, COLUMNS = torch.zeros(1, 1, 6, 4), torch.zeros(3, 4), torch.zeros(5, 4)  # of a map of 2 × 3


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: Attention(10, 3), "num_heads"),
        (lambda: Attention(10, 0), "num_heads"),
        (lambda: Attention(4, 2, (2, 3))(torch.zeros(1, 3, 2, 4)), "x"),
        (lambda: Attention(4, 2, (2, 3)).weights(torch.zeros(1, 3, 2, 4)), "x"),
        (lambda: Attention(4, 2)(torch.zeros(1, 6, 4)), "x"),
        (lambda: decomposed_rel_pos(Q, ROWS, COLUMNS, (3, 3)), "q"),
        (lambda: decomposed_rel_pos(Q, COLUMNS, COLUMNS, (2, 3)), "rel_pos_h"),
        (lambda: decomposed_rel_pos(Q, ROWS, ROWS, (2, 3)), "rel_pos_w"),
        (lambda: window_partition(torch.zeros(1, 4, 4, 2), 0), "window"),
        (lambda: window_partition(torch.zeros(4, 4, 2), 2), "x"),
        (lambda: window_unpartition(torch.zeros(3, 2, 2, 5), (4, 4)), "windows"),
        (lambda: window_unpartition(torch.zeros(4, 2, 3, 5), (4, 4)), "windows"),
        (lambda: wave_positions(3, 6), "dim"),
        (lambda: wave_positions(3, 9), "dim"),
        (lambda: ImageEncoderViT(img_size=100), "img_size"),
        (lambda: ImageEncoderViT(**SMALL, window_size=-1), "window_size"),
        (lambda: ImageEncoderViT(**SMALL, global_attn_indexes=(0, 2)), "global_attn_indexes"),
        (lambda: ImageEncoderViT(**SMALL, global_attn_indexes=())(torch.zeros(1, 3, 64, 56)), "x"),
        (lambda: ImageEncoderViT(**SMALL, global_attn_indexes=())(torch.zeros(3, 64, 64)), "x"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
