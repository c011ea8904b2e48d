"""Picture and text look at each other before anything is sought: the feature enhancer of Grounding DINO (lesson 19).

Attribute names of `BiMultiHeadAttention` and `FusionLayer` are transformers'. Sources: Li et al. 2022, "Grounded
Language-Image Pre-training" (GLIP), section 3.3, equations 4 to 6; Liu et al. 2023, "Grounding DINO", section 3.1.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib.layers.transformer import TransformerEncoderLayer


class Fused(NamedTuple):
    """S cells and T tokens that have looked at each other."""

    vision: Tensor  # (B, S, D)
    text: Tensor  # (B, T, D)
    vision_maps: Tensor  # (B, heads, S, T): of each cell, how much it looks at each token; adds up to 1 over T
    text_maps: Tensor  # (B, heads, T, S): of each token, how much it looks at each cell; adds up to 1 over S


class BiMultiHeadAttention(nn.Module):
    """Attention both ways with one matrix of scores: a softmax along its rows, and one along its columns.

    Each side has values of its own. (transformers' subtracts the largest score by hand, for half precision; PyTorch's
    softmax does so by itself.)

    Args:
        vision_dim, text_dim: numbers of a cell and of a token. embed_dim: E, numbers inside. num_heads: a divisor of E.

    Raises:
        ValueError: E cannot be cut into so many heads.
    """

    def __init__(self, vision_dim: int, text_dim: int, embed_dim: int, num_heads: int):
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"num_heads is {num_heads}; expected a divisor of embed_dim, which is {embed_dim}")
        self.num_heads = num_heads
        self.vision_proj, self.text_proj = nn.Linear(vision_dim, embed_dim), nn.Linear(text_dim, embed_dim)
        self.values_vision_proj = nn.Linear(vision_dim, embed_dim)
        self.values_text_proj = nn.Linear(text_dim, embed_dim)
        self.out_vision_proj, self.out_text_proj = nn.Linear(embed_dim, vision_dim), nn.Linear(embed_dim, text_dim)
        for layer in self.children():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(
        self,
        vision: Tensor,
        text: Tensor,
        vision_padding: Tensor | None = None,
        text_padding: Tensor | None = None,
    ) -> Fused:
        """What each side brings home from the other.

        Args:
            vision: (B, S, vision_dim). text: (B, T, text_dim).
            vision_padding: (B, S) bool, True = padding, which no token looks at. text_padding: (B, T), the same.

        Raises:
            ValueError: a padding has another shape or type.
        """
        for name, mask, x in (("vision_padding", vision_padding, vision), ("text_padding", text_padding, text)):
            if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != torch.bool):
                came, expected = f"{tuple(mask.shape)} {mask.dtype}", tuple(x.shape[:2])
                raise ValueError(f"{name} is {came}; expected {expected} bool, True = padding")
        q, k = self._heads(self.vision_proj(vision)), self._heads(self.text_proj(text))
        scores = q @ k.transpose(2, 3) / q.shape[3] ** 0.5  # (B, heads, S, T)
        vision_maps = _masked(scores, text_padding).softmax(dim=3)  # (B, heads, S, T)
        text_maps = _masked(scores.transpose(2, 3), vision_padding).softmax(dim=3)  # (B, heads, T, S)
        from_text = vision_maps @ self._heads(self.values_text_proj(text))  # (B, heads, S, E / heads)
        from_vision = text_maps @ self._heads(self.values_vision_proj(vision))  # (B, heads, T, E / heads)
        vision = self.out_vision_proj(from_text.transpose(1, 2).flatten(2))  # (B, S, vision_dim)
        text = self.out_text_proj(from_vision.transpose(1, 2).flatten(2))  # (B, T, text_dim)
        return Fused(vision, text, vision_maps, text_maps)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, N, E / heads)


def _masked(scores: Tensor, padding: Tensor | None) -> Tensor:
    """Scores (B, heads, L, N), minus infinity where the last axis is padding (B, N)."""
    return scores if padding is None else scores.masked_fill(padding[:, None, None], float("-inf"))


class FusionLayer(nn.Module):
    """Normalise both, then add to each what it has seen in the other, times a number for each channel.

    These numbers begin small: at first picture and text hardly change each other.

    Args:
        d_model: D, numbers of a cell and of a token. embed_dim, num_heads: see `BiMultiHeadAttention`.
        init_values: what the numbers begin with. The paper's code begins with 1e-4.
    """

    def __init__(self, d_model: int, embed_dim: int, num_heads: int, init_values: float = 1e-4):
        super().__init__()
        self.layer_norm_vision, self.layer_norm_text = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.attn = BiMultiHeadAttention(d_model, d_model, embed_dim, num_heads)
        self.vision_param = nn.Parameter(torch.full((d_model,), init_values))
        self.text_param = nn.Parameter(torch.full((d_model,), init_values))

    def forward(
        self,
        vision: Tensor,
        text: Tensor,
        vision_padding: Tensor | None = None,
        text_padding: Tensor | None = None,
    ) -> Fused:
        """As for `BiMultiHeadAttention`."""
        vision, text = self.layer_norm_vision(vision), self.layer_norm_text(text)
        seen = self.attn(vision, text, vision_padding, text_padding)
        return seen._replace(vision=vision + self.vision_param * seen.vision, text=text + self.text_param * seen.text)


class EnhancerLayer(nn.Module):
    """Fuse, then the words of each phrase look at each other, then the cells of the picture do.

    The paper's cells look at a few places each, in maps of several sizes (deformable attention). Our map has 144 cells,
    so here each looks at all.

    Args:
        d_model: D. nhead: heads. dim_feedforward: numbers inside each thinking step. init_values: see `FusionLayer`.
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int, init_values: float = 1e-4):
        super().__init__()
        self.fusion_layer = FusionLayer(d_model, d_model, nhead, init_values)
        self.text_enhancer_layer = TransformerEncoderLayer(d_model, nhead, dim_feedforward, dropout=0.0)
        self.vision_layer = TransformerEncoderLayer(d_model, nhead, dim_feedforward, dropout=0.0)

    def forward(
        self,
        vision: Tensor,
        text: Tensor,
        vision_padding: Tensor,
        text_padding: Tensor,
        text_hidden: Tensor,
        vision_pos: Tensor,
        text_pos: Tensor,
    ) -> Fused:
        """Let both sides learn more.

        Args:
            vision: (B, S, D). text: (B, T, D). vision_pos, text_pos: the codes of their places, of the same shapes.
            vision_padding: (B, S) bool. text_padding: (B, T) bool.
            text_hidden: (B, T, T) bool, True where a token does not see another: phrases meet in the picture alone.
        """
        fused = self.fusion_layer(vision, text, vision_padding, text_padding)
        text, _ = self.text_enhancer_layer(fused.text, text_hidden, text_pos)
        vision, _ = self.vision_layer(fused.vision, vision_padding, vision_pos)
        return fused._replace(vision=vision, text=text)
