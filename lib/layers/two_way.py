"""The two-way transformer of SAM's mask decoder: prompts look at the picture, and it at them (lesson 17).

Attribute names are those of facebookresearch/segment-anything. Source: Kirillov et al. 2023, "Segment Anything",
appendix A, "Lightweight mask decoder", and its figure 14.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from lib.layers.transformer import attention_weights
from lib.layers.vit import MLPBlock


class DownscaledAttention(nn.Module):
    """Attention of which the inside is narrower than the outside.

    Args:
        embedding_dim: D. num_heads: a divisor of D / downsample_rate.
        downsample_rate: inside there are D / downsample_rate numbers.

    Raises:
        ValueError: D cannot be divided by it, or the inside cannot be cut into so many heads.
    """

    def __init__(self, embedding_dim: int, num_heads: int, downsample_rate: int = 1):
        super().__init__()
        if downsample_rate < 1 or embedding_dim % downsample_rate:
            raise ValueError(
                f"downsample_rate is {downsample_rate}; expected a divisor of embedding_dim, which is {embedding_dim}"
            )
        inside = embedding_dim // downsample_rate
        if num_heads < 1 or inside % num_heads:
            raise ValueError(f"num_heads is {num_heads}; expected a divisor of {inside}, the numbers inside")
        self.num_heads, self.internal_dim = num_heads, inside
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(embedding_dim, inside) for _ in range(3))
        self.out_proj = nn.Linear(inside, embedding_dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Who looks (B, L, D), what is looked at (B, S, D), what is taken home (B, S, D) -> (B, L, D)."""
        q, k, v = self._heads(self.q_proj(q)), self._heads(self.k_proj(k)), self._heads(self.v_proj(v))
        heads = F.scaled_dot_product_attention(q, k, v)  # (B, heads, L, inside / heads)
        return self.out_proj(heads.transpose(1, 2).flatten(2))

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """Where each looks: (B, heads, L, S), adding up to 1 over S."""
        return attention_weights(self._heads(self.q_proj(q)), self._heads(self.k_proj(k)))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, N, inside / heads)


class TwoWayAttentionBlock(nn.Module):
    """Four steps: tokens among themselves, tokens to picture, tokens for themselves, picture to tokens.

    Wherever one looks, the code of a token's or cell's place is added, again at each step, so that it cannot be lost.

    Args:
        embedding_dim: D. num_heads: of all attentions. mlp_dim: numbers inside the third step.
        downsample_rate: of the two attentions between tokens and picture.
        skip_first_layer_pe: in the first block the tokens *are* their codes: among themselves nothing is added, and
            what they hear takes the place of what they were.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_heads: int,
        mlp_dim: int = 2048,
        downsample_rate: int = 2,
        skip_first_layer_pe: bool = False,
    ):
        super().__init__()
        self.self_attn = DownscaledAttention(embedding_dim, num_heads)
        self.cross_attn_token_to_image = DownscaledAttention(embedding_dim, num_heads, downsample_rate)
        self.mlp = MLPBlock(embedding_dim, mlp_dim, nn.ReLU)
        self.cross_attn_image_to_token = DownscaledAttention(embedding_dim, num_heads, downsample_rate)
        self.norm1, self.norm2 = nn.LayerNorm(embedding_dim), nn.LayerNorm(embedding_dim)
        self.norm3, self.norm4 = nn.LayerNorm(embedding_dim), nn.LayerNorm(embedding_dim)
        self.skip_first_layer_pe = skip_first_layer_pe

    def forward(self, queries: Tensor, keys: Tensor, query_pe: Tensor, key_pe: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (P, T, D), cells of the picture (P, S, D), and the codes of either -> both, renewed."""
        if self.skip_first_layer_pe:
            queries = self.self_attn(queries, queries, queries)
        else:
            q = queries + query_pe
            queries = queries + self.self_attn(q, q, queries)
        queries = self.norm1(queries)
        seen = self.cross_attn_token_to_image(queries + query_pe, keys + key_pe, keys)
        queries = self.norm2(queries + seen)
        queries = self.norm3(queries + self.mlp(queries))
        told = self.cross_attn_image_to_token(keys + key_pe, queries + query_pe, queries)
        return queries, self.norm4(keys + told)


class TwoWayTransformer(nn.Module):
    """Two-way blocks one after the other; at the end the tokens look at the picture once more.

    Args:
        depth: number of blocks. embedding_dim, num_heads, mlp_dim, downsample_rate: see `TwoWayAttentionBlock`.
    """

    def __init__(self, depth: int, embedding_dim: int, num_heads: int, mlp_dim: int, downsample_rate: int = 2):
        super().__init__()
        self.embedding_dim = embedding_dim
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(embedding_dim, num_heads, mlp_dim, downsample_rate, skip_first_layer_pe=number == 0)
            for number in range(depth)
        )
        self.final_attn_token_to_image = DownscaledAttention(embedding_dim, num_heads, downsample_rate)
        self.norm_final_attn = nn.LayerNorm(embedding_dim)

    def forward(self, image_embedding: Tensor, image_pe: Tensor, point_embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Ask.

        Args:
            image_embedding: (P, D, h, w), a map for each prompt. image_pe: (P or 1, D, h, w), codes of the cells.
            point_embedding: (P, T, D), the tokens, which are their own codes.

        Returns:
            Tokens (P, T, D) and cells (P, h·w, D), which know of each other now.

        Raises:
            ValueError: shapes do not fit.
        """
        number, dim = len(image_embedding), self.embedding_dim
        if image_embedding.ndim != 4 or image_embedding.shape[1] != dim:
            raise ValueError(f"image_embedding is {tuple(image_embedding.shape)}; expected (P, {dim}, h, w)")
        if image_pe.shape[1:] != image_embedding.shape[1:] or len(image_pe) not in (1, number):
            expected = ", ".join(map(str, image_embedding.shape[1:]))
            raise ValueError(f"image_pe is {tuple(image_pe.shape)}; expected ({number} or 1, {expected})")
        if point_embedding.ndim != 3 or len(point_embedding) != number or point_embedding.shape[2] != dim:
            raise ValueError(f"point_embedding is {tuple(point_embedding.shape)}; expected ({number}, T, {dim})")
        queries, keys = point_embedding, image_embedding.flatten(2).transpose(1, 2)  # (P, h·w, D)
        key_pe = image_pe.flatten(2).transpose(1, 2)
        for layer in self.layers:
            queries, keys = layer(queries, keys, point_embedding, key_pe)
        seen = self.final_attn_token_to_image(queries + point_embedding, keys + key_pe, keys)
        return self.norm_final_attn(queries + seen), keys
