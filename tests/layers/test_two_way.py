"""The two-way transformer: equal to the official one, and attention against torch's."""

import pytest
import torch
from segment_anything.modeling import transformer as peer
from torch import nn

from lib.layers.two_way import DownscaledAttention, TwoWayAttentionBlock, TwoWayTransformer
from tests.models.peers import close, redraw_transformer


@torch.no_grad()
@pytest.mark.parametrize("tokens", [1, 6])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_equals_the_official_transformer(depth, tokens):
    theirs, ours = peer.TwoWayTransformer(depth, 16, 4, 20), TwoWayTransformer(depth, 16, 4, 20)
    redraw_transformer(theirs)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    generator = torch.Generator().manual_seed(1)
    maps, codes = (torch.randn(2, 16, 3, 5, generator=generator) for _ in range(2))
    points = torch.randn(2, tokens, 16, generator=generator)
    answers, expected = ours(maps, codes, points), theirs(maps, codes, points)
    assert answers[0].shape == (2, tokens, 16) and answers[1].shape == (2, 15, 16)
    for mine, other in zip(answers, expected, strict=True):
        close(mine, other)
    for mine, other in zip(ours(maps, codes[:1], points), theirs(maps, codes[:1].repeat(2, 1, 1, 1), points)):
        close(mine, other)
    theirs.load_state_dict(ours.state_dict(), strict=True)


@torch.no_grad()
def test_attention_equals_torch_where_the_inside_is_as_wide():
    torch.manual_seed(0)
    layer, theirs = DownscaledAttention(12, 3), nn.MultiheadAttention(12, 3, batch_first=True)
    redraw_transformer(layer)
    projections = layer.q_proj, layer.k_proj, layer.v_proj
    theirs.in_proj_weight.copy_(torch.cat([one.weight for one in projections]))
    theirs.in_proj_bias.copy_(torch.cat([one.bias for one in projections]))
    theirs.out_proj.load_state_dict(layer.out_proj.state_dict())
    q, k, v = torch.randn(2, 4, 12), torch.randn(2, 7, 12), torch.randn(2, 7, 12)
    answer, looked = theirs(q, k, v, average_attn_weights=False)
    torch.testing.assert_close(layer(q, k, v), answer)
    torch.testing.assert_close(layer.weights(q, k), looked)


@torch.no_grad()
def test_weights_are_those_of_the_answer_where_the_inside_is_narrower():
    torch.manual_seed(0)
    layer = DownscaledAttention(12, 3, downsample_rate=2)
    q, k, v = torch.randn(2, 4, 12), torch.randn(2, 7, 12), torch.randn(2, 7, 12)
    assert layer.internal_dim == 6 and layer.q_proj.weight.shape == (6, 12)
    looked = layer.weights(q, k)
    assert looked.shape == (2, 3, 4, 7)
    taken = layer.v_proj(v).unflatten(2, (3, 2))  # (2, 7, heads, 2)
    torch.testing.assert_close(
        layer(q, k, v), layer.out_proj(torch.einsum("bhls,bshd->blhd", looked, taken).flatten(2))
    )


def test_both_sides_learn():
    torch.manual_seed(0)
    model = TwoWayTransformer(2, 16, 4, 20)
    points = torch.randn(2, 6, 16, requires_grad=True)
    maps, codes = (torch.randn(2, 16, 3, 5, requires_grad=True) for _ in range(2))
    tokens, cells = model(maps, codes, points)
    (tokens.mul(torch.rand_like(tokens)).sum() + cells.mul(torch.rand_like(cells)).sum()).backward()
    assert all(one.grad.abs().sum() > 0 for one in (points, maps, codes))
    # What is added to every key changes no softmax: a bias of keys cannot learn.
    still = {name for name, one in model.named_parameters() if not one.grad.abs().max() > 1e-5}
    assert still == {name for name, _ in model.named_parameters() if name.endswith("k_proj.bias")}


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: DownscaledAttention(12, 5), "num_heads"),
        (lambda: DownscaledAttention(12, 0), "num_heads"),
        (lambda: DownscaledAttention(12, 4, 2), "num_heads"),
        (lambda: DownscaledAttention(12, 1, 5), "downsample_rate"),
        (lambda: DownscaledAttention(12, 1, 0), "downsample_rate"),
        (lambda: TwoWayAttentionBlock(12, 5), "num_heads"),
        (
            lambda: TwoWayTransformer(1, 8, 2, 8)(
                torch.zeros(1, 4, 2, 2), torch.zeros(1, 8, 2, 2), torch.zeros(1, 3, 8)
            ),
            "image_embedding",
        ),
        (
            lambda: TwoWayTransformer(1, 8, 2, 8)(
                torch.zeros(1, 8, 2, 2), torch.zeros(1, 8, 2, 3), torch.zeros(1, 3, 8)
            ),
            "image_pe",
        ),
        (
            lambda: TwoWayTransformer(1, 8, 2, 8)(
                torch.zeros(2, 8, 2, 2), torch.zeros(1, 8, 2, 2), torch.zeros(3, 3, 8)
            ),
            "point_embedding",
        ),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
