"""Attention, and the transformer that DETR builds of it: encoder and decoder, with places in every layer (lesson 14).

Attention is written out once; where nobody wants to see its maps, PyTorch's fast operation takes its place. The batch
comes first everywhere, and a padding mask is True at padding. Parameter names are those of `torch.nn` and of DETR's
code, so that their weights load. Sources: Vaswani et al. 2017, "Attention Is All You Need", sections 3.1 to 3.3; Carion
et al. 2020, "End-to-End Object Detection with Transformers", section 3.2, figure 10 and appendix A.3.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MultiheadAttention(nn.Module):
    """Every query looks at all keys and takes home a mean of their values, in several heads at once.

    A head is a part of the E numbers with a look of its own. Equal to `torch.nn.MultiheadAttention` with
    `batch_first=True`, whose weights load; its maps, though, come for each head.

    Args:
        embed_dim: E.
        num_heads: how many parts the E numbers are cut into.
        dropout: in training, the share of looks that are forgotten.

    Raises:
        ValueError: E cannot be cut into so many parts.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0):
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"num_heads is {num_heads}; expected a divisor of embed_dim, which is {embed_dim}")
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim))  # of queries, of keys, of values
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * embed_dim))
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Look.

        Args:
            query: (B, L, E), who looks.
            key: (B, S, E), what is looked at. value: (B, S, E), what is taken home from there.
            key_padding_mask: (B, S) bool, True = padding, which is not looked at. A picture is never padding alone. Or
                (B, L, S), where each query has keys of its own that it does not look at; there is one that it does.
            need_weights: whether the maps are wanted.

        Returns:
            (B, L, E), and the maps (B, heads, L, S), which add up to 1 over the keys; None if they are not wanted.

        Raises:
            ValueError: a shape does not fit.
        """
        self._check(query, key, value, key_padding_mask)
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, weight, bias).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )  # (B, heads, L or S, E / heads)
        mask = key_padding_mask if key_padding_mask is None or key_padding_mask.ndim == 3 else key_padding_mask[:, None]
        hidden = None if mask is None else mask[:, None]  # (B, 1, 1 or L, S)
        maps = attention_weights(q, k, hidden) if need_weights else None  # (B, heads, L, S)
        if maps is not None:
            heads = F.dropout(maps, self.dropout, self.training) @ v  # (B, heads, L, E / heads)
        else:
            seen, dropout = None if hidden is None else ~hidden, self.dropout if self.training else 0.0
            heads = F.scaled_dot_product_attention(q, k, v, seen, dropout)  # the same, in one step
        return self.out_proj(heads.transpose(1, 2).flatten(2)), maps  # (B, L, E)

    def _check(self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None) -> None:
        for name, x in (("query", query), ("key", key)):
            if x.ndim != 3 or x.shape[0] != query.shape[0] or x.shape[2] != self.embed_dim:
                raise ValueError(f"{name} is {tuple(x.shape)}; expected ({len(query)}, any number, {self.embed_dim})")
        if value.shape != key.shape:
            raise ValueError(f"value is {tuple(value.shape)}; expected {tuple(key.shape)}, as the keys have")
        mask, shapes = key_padding_mask, (key.shape[:2], (*query.shape[:2], key.shape[1]))
        if mask is not None and (mask.shape not in shapes or mask.dtype != torch.bool):
            came = f"{tuple(mask.shape)} {mask.dtype}"
            raise ValueError(f"key_padding_mask is {came}; expected {tuple(key.shape[:2])} bool, True = padding")


def attention_weights(q: Tensor, k: Tensor, hidden: Tensor | None = None) -> Tensor:
    """How much each query looks at each key: softmax(q kᵀ / √d), Vaswani et al., equation 1.

    Args:
        q: (..., L, d). k: (..., S, d).
        hidden: bool, True at keys that get 0; any shape that fits (..., L, S).

    Returns:
        (..., L, S), which add up to 1 over the last axis.
    """
    scores = q @ k.transpose(-2, -1) / k.shape[-1] ** 0.5  # (..., L, S)
    if hidden is not None:
        scores = scores.masked_fill(hidden, float("-inf"))
    return scores.softmax(dim=-1)


def with_pos(x: Tensor, pos: Tensor | None) -> Tensor:
    """What a token says, and where it is: the sum."""
    return x if pos is None else x + pos


class TransformerEncoderLayer(nn.Module):
    """Every cell looks at all cells, then each thinks for itself; after each of the two: add, then normalise.

    Places are added to queries and keys, again in every layer, and never to values: they say where to look, and are not
    what is taken home.

    Args:
        d_model: D, numbers of a cell. nhead: heads. dim_feedforward: numbers inside the second step.
        dropout: in training, in the attention, inside the second step, and before each of the two sums.
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1):
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead, dropout)
        self.linear1, self.linear2 = nn.Linear(d_model, dim_feedforward), nn.Linear(dim_feedforward, d_model)
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.dropout, self.dropout1, self.dropout2 = nn.Dropout(dropout), nn.Dropout(dropout), nn.Dropout(dropout)

    def forward(
        self,
        src: Tensor,
        src_key_padding_mask: Tensor | None = None,
        pos: Tensor | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Cells (B, S, D), padding (B, S) bool, places (B, S, D) -> (B, S, D), and maps (B, heads, S, S) if wanted."""
        q = k = with_pos(src, pos)
        seen, maps = self.self_attn(q, k, src, src_key_padding_mask, need_weights)
        src = self.norm1(src + self.dropout1(seen))
        thought = self.linear2(self.dropout(self.linear1(src).relu()))
        return self.norm2(src + self.dropout2(thought)), maps


class TransformerDecoderLayer(nn.Module):
    """The queries look at each other, then at the cells, then each thinks for itself; after each: add, normalise.

    Args:
        d_model, nhead, dim_feedforward, dropout: see `TransformerEncoderLayer`.
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1):
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead, dropout)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout)
        self.linear1, self.linear2 = nn.Linear(d_model, dim_feedforward), nn.Linear(dim_feedforward, d_model)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(d_model), nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.dropout, self.dropout1 = nn.Dropout(dropout), nn.Dropout(dropout)
        self.dropout2, self.dropout3 = nn.Dropout(dropout), nn.Dropout(dropout)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        memory_key_padding_mask: Tensor | None = None,
        pos: Tensor | None = None,
        query_pos: Tensor | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Let each query learn more.

        Args:
            tgt: (B, Q, D), what each query knows so far. query_pos: (B, Q, D), what makes it another than the others.
            memory: (B, S, D), the encoder's cells. memory_key_padding_mask: (B, S) bool. pos: (B, S, D), their places.
            need_weights: whether the maps are wanted.

        Returns:
            What each query knows now (B, Q, D); of whom it looked at among the queries (B, heads, Q, Q) and where in
            the picture (B, heads, Q, S), both None if not wanted.
        """
        q = k = with_pos(tgt, query_pos)
        heard, self_maps = self.self_attn(q, k, tgt, None, need_weights)
        tgt = self.norm1(tgt + self.dropout1(heard))
        q, k = with_pos(tgt, query_pos), with_pos(memory, pos)
        seen, cross_maps = self.multihead_attn(q, k, memory, memory_key_padding_mask, need_weights)
        tgt = self.norm2(tgt + self.dropout2(seen))
        thought = self.linear2(self.dropout(self.linear1(tgt).relu()))
        return self.norm3(tgt + self.dropout3(thought)), self_maps, cross_maps


class EncoderOutput(NamedTuple):
    memory: Tensor  # (B, S, D)
    attention: list[Tensor]  # of each layer (B, heads, S, S): of each cell, how much it looks at each cell; or empty


class TransformerEncoder(nn.Module):
    """Encoder layers one after the other; without any, the cells come out as they went in."""

    def __init__(self, layers: list[TransformerEncoderLayer]):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(
        self,
        src: Tensor,
        src_key_padding_mask: Tensor | None = None,
        pos: Tensor | None = None,
        need_weights: bool = False,
    ) -> EncoderOutput:
        """As for `TransformerEncoderLayer`."""
        attention = []
        for layer in self.layers:
            src, maps = layer(src, src_key_padding_mask, pos, need_weights)  # (B, S, D)
            attention += [] if maps is None else [maps]
        return EncoderOutput(src, attention)


class DecoderOutput(NamedTuple):
    states: Tensor  # (layers, B, Q, D), normalised: what each query knows after each layer
    self_attention: list[Tensor]  # of each layer (B, heads, Q, Q), or empty
    cross_attention: list[Tensor]  # of each layer (B, heads, Q, S), or empty


class TransformerDecoder(nn.Module):
    """Decoder layers one after the other. Each one's output is handed out, normalised, so that each can be taught.

    What the next layer gets is not normalised: the norm, the same after every layer, is for who reads the output.

    Raises:
        ValueError: there is no layer.
    """

    def __init__(self, layers: list[TransformerDecoderLayer], d_model: int):
        super().__init__()
        if not layers:
            raise ValueError("layers is empty; expected at least one")
        self.layers, self.norm = nn.ModuleList(layers), nn.LayerNorm(d_model)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        memory_key_padding_mask: Tensor | None = None,
        pos: Tensor | None = None,
        query_pos: Tensor | None = None,
        need_weights: bool = False,
    ) -> DecoderOutput:
        """As for `TransformerDecoderLayer`."""
        states, self_attention, cross_attention = [], [], []
        for layer in self.layers:
            tgt, among, where = layer(tgt, memory, memory_key_padding_mask, pos, query_pos, need_weights)
            states.append(self.norm(tgt))  # (B, Q, D)
            self_attention += [] if among is None else [among]
            cross_attention += [] if where is None else [where]
        return DecoderOutput(torch.stack(states), self_attention, cross_attention)


class TransformerOutput(NamedTuple):
    """What a transformer says of a map (B, D, h, w); the three lists have an entry for each layer, or none."""

    states: Tensor  # (decoder layers, B, Q, D)
    memory: Tensor  # (B, D, h, w)
    encoder_attention: list[Tensor]  # (B, heads, h, w, h, w): of the cell at [y, x] in its place, where it looks
    self_attention: list[Tensor]  # (B, heads, Q, Q): of each query, which queries it looks at
    cross_attention: list[Tensor]  # (B, heads, Q, h, w): of each query, where it looks in the picture


class Transformer(nn.Module):
    """A map becomes a set of cells; the encoder lets them look at each other, the decoder lets queries ask them.

    Args:
        d_model: D. nhead: heads. dim_feedforward, dropout: see `TransformerEncoderLayer`.
        num_encoder_layers: may be 0. num_decoder_layers: at least 1.
    """

    def __init__(
        self,
        d_model: int = 256,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
    ):
        super().__init__()
        sizes = (d_model, nhead, dim_feedforward, dropout)
        self.encoder = TransformerEncoder([TransformerEncoderLayer(*sizes) for _ in range(num_encoder_layers)])
        self.decoder = TransformerDecoder([TransformerDecoderLayer(*sizes) for _ in range(num_decoder_layers)], d_model)
        self.d_model, self.nhead = d_model, nhead
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self, src: Tensor, mask: Tensor, query_embed: Tensor, pos_embed: Tensor, need_weights: bool = False
    ) -> TransformerOutput:
        """Ask.

        Args:
            src: (B, D, h, w). mask: (B, h, w) bool, True = padding. pos_embed: (B, D, h, w), the places.
            query_embed: (Q, D), for each query the numbers that make it another than the others. What it knows of the
                picture begins with 0, so in the first layer the queries have nothing to tell each other yet.
            need_weights: whether the attention maps are wanted.

        Raises:
            ValueError: a shape does not fit.
        """
        self._check(src, mask, query_embed, pos_embed)
        size, padding = src.shape[2:], mask.flatten(1)  # (B, h·w)
        cells, places = (x.flatten(2).transpose(1, 2) for x in (src, pos_embed))  # (B, h·w, D)
        queries = query_embed.expand(len(src), -1, -1)  # (B, Q, D)
        memory, among_cells = self.encoder(cells, padding, places, need_weights)  # (B, h·w, D)
        answer = self.decoder(torch.zeros_like(queries), memory, padding, places, queries, need_weights)
        return TransformerOutput(
            answer.states,
            memory.transpose(1, 2).unflatten(2, size),
            [maps.unflatten(3, size).unflatten(2, size) for maps in among_cells],
            answer.self_attention,
            [maps.unflatten(3, size) for maps in answer.cross_attention],
        )

    def _check(self, src: Tensor, mask: Tensor, query_embed: Tensor, pos_embed: Tensor) -> None:
        if src.ndim != 4 or src.shape[1] != self.d_model:
            raise ValueError(f"src is {tuple(src.shape)}; expected (B, {self.d_model}, h, w)")
        expected = (src.shape[0], *src.shape[2:])
        if mask.shape != expected or mask.dtype != torch.bool:
            raise ValueError(f"mask is {tuple(mask.shape)} {mask.dtype}; expected {expected} bool, True = padding")
        if query_embed.ndim != 2 or query_embed.shape[1] != self.d_model:
            raise ValueError(f"query_embed is {tuple(query_embed.shape)}; expected (Q, {self.d_model})")
        if pos_embed.shape != src.shape:
            raise ValueError(f"pos_embed is {tuple(pos_embed.shape)}; expected {tuple(src.shape)}, as src has")
