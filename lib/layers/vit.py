"""The plain vision transformer, and what SAM adds to it: windows, and places relative to each other (lesson 17).

A picture is cut into patches, a patch becomes a token, and every token looks at all others; the map keeps one size from
beginning to end. Attribute names are those of facebookresearch/segment-anything. Sources: Dosovitskiy et al. 2021, "An
Image is Worth 16x16 Words"; Li et al. 2022, "Exploring Plain Vision Transformer Backbones for Object Detection";
relative positions: Li et al. 2022, "MViTv2", section 4.1.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.layers.position import PositionEmbeddingSine

EPS = 1e-6  # of all normalisations here


class LayerNorm2d(nn.Module):
    """Each cell of a map (B, C, h, w) is brought to mean 0 and deviation 1 over its channels, then scaled and moved."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        cells = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, EPS)  # (B, h, w, C)
        return cells.permute(0, 3, 1, 2)


class MLPBlock(nn.Module):
    """Two linear layers: what each token thinks for itself."""

    def __init__(self, embedding_dim: int, mlp_dim: int, act: type[nn.Module] = nn.GELU):
        super().__init__()
        self.lin1, self.lin2, self.act = nn.Linear(embedding_dim, mlp_dim), nn.Linear(mlp_dim, embedding_dim), act()

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.lin2(self.act(self.lin1(x)))


class PatchEmbed(nn.Module):
    """Cut into patches of p × p pixels; each patch, 3 · p · p numbers, becomes a token by one linear layer."""

    def __init__(self, patch_size: int, embed_dim: int):
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, H/p, W/p, D)."""
        return self.proj(x).permute(0, 2, 3, 1)


class Attention(nn.Module):
    """Every token looks at all others, in several heads; on a map, how far apart two tokens lie may count too.

    Args:
        dim: D. num_heads: a divisor of D.
        map_size: h, w of the map, if relative positions are to be learned: a vector for each distance along each axis,
            from -(h - 1) to h - 1. They begin at zero: no place is preferred. None: none.

    Raises:
        ValueError: D cannot be cut into so many heads.
    """

    def __init__(self, dim: int, num_heads: int, map_size: tuple[int, int] | None = None):
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"num_heads is {num_heads}; expected a divisor of dim, which is {dim}")
        self.num_heads, self.map_size = num_heads, map_size
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        if map_size:
            self.rel_pos_h = nn.Parameter(torch.zeros(2 * map_size[0] - 1, dim // num_heads))
            self.rel_pos_w = nn.Parameter(torch.zeros(2 * map_size[1] - 1, dim // num_heads))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of a map (B, h, w, D) -> the same shape.

        Raises:
            ValueError: it is no map, or not of the size for which relative positions were learned.
        """
        size = self._size(x)
        q, k, v = self._heads(x.flatten(1, 2))  # (B, heads, h·w, D / heads) each
        near = decomposed_rel_pos(q, self.rel_pos_h, self.rel_pos_w, size) if self.map_size else None
        return self._join(F.scaled_dot_product_attention(q, k, v, near)).unflatten(1, size)  # (B, h, w, D)

    def of_tokens(self, x: Tensor) -> Tensor:
        """The same for tokens in no order (B, N, D): how far apart they lie does not count."""
        return self._join(F.scaled_dot_product_attention(*self._heads(x)))

    def weights(self, x: Tensor) -> Tensor:
        """How much each token looks at each other: (B, h, w, D) -> (B, heads, h·w, h·w)."""
        size = self._size(x)
        q, k, _ = self._heads(x.flatten(1, 2))
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5  # (B, heads, h·w, h·w)
        if self.map_size:
            scores = scores + decomposed_rel_pos(q, self.rel_pos_h, self.rel_pos_w, size)
        return scores.softmax(dim=-1)

    def _size(self, x: Tensor) -> tuple[int, int]:
        if x.ndim != 4:
            raise ValueError(f"x is {tuple(x.shape)}; expected a map (B, h, w, D)")
        size = (x.shape[1], x.shape[2])
        if self.map_size and size != self.map_size:
            raise ValueError(f"x is a map of {size}; expected {self.map_size}, the size of the relative positions")
        return size

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, N, D / heads)
        return q, k, v

    def _join(self, heads: Tensor) -> Tensor:
        return self.proj(heads.transpose(1, 2).flatten(2))  # (B, N, D)


def decomposed_rel_pos(q: Tensor, rel_pos_h: Tensor, rel_pos_w: Tensor, size: tuple[int, int]) -> Tensor:
    """What is added to the scores for where a key lies, seen from the query: q · R_rows + q · R_columns.

    A vector for each distance along the rows and one along the columns are enough: 2h - 1 + 2w - 1 of them, in place of
    (2h - 1) · (2w - 1).

    Args:
        q: (B, heads, h·w, d). rel_pos_h: (2h - 1, d), for distances -(h - 1) to h - 1. rel_pos_w: (2w - 1, d).
        size: h and w.

    Returns:
        (B, heads, h·w, h·w).

    Raises:
        ValueError: shapes do not fit `size`.
    """
    h, w = size
    if q.ndim != 4 or q.shape[2] != h * w:
        raise ValueError(f"q is {tuple(q.shape)}; expected (B, heads, {h * w}, d), a query for each of {h} × {w} cells")
    for name, vectors, n in (("rel_pos_h", rel_pos_h, h), ("rel_pos_w", rel_pos_w, w)):
        if vectors.shape != (2 * n - 1, q.shape[3]):
            raise ValueError(f"{name} is {tuple(vectors.shape)}; expected {(2 * n - 1, q.shape[3])}")
    rows, columns = (
        torch.arange(n, device=q.device)[:, None] - torch.arange(n, device=q.device) + n - 1 for n in (h, w)
    )
    cells = q.unflatten(2, size)  # (B, heads, h, w, d)
    by_row = torch.einsum("bnhwd,hkd->bnhwk", cells, rel_pos_h[rows])  # (B, heads, h, w, h)
    by_column = torch.einsum("bnhwd,wkd->bnhwk", cells, rel_pos_w[columns])  # (B, heads, h, w, w)
    return (by_row[..., :, None] + by_column[..., None, :]).flatten(4, 5).flatten(2, 3)


def window_partition(x: Tensor, window: int) -> Tensor:
    """Cut a map (B, h, w, D) into windows, padded with zeros at its right and lower end: (B · windows, S, S, D).

    Raises:
        ValueError: it is no map, or windows have no side.
    """
    if x.ndim != 4:
        raise ValueError(f"x is {tuple(x.shape)}; expected a map (B, h, w, D)")
    if window < 1:
        raise ValueError(f"window is {window}; expected at least 1")
    x = F.pad(x, (0, 0, 0, -x.shape[2] % window, 0, -x.shape[1] % window))
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))  # (B, rows, S, columns, S, D)
    return x.transpose(2, 3).flatten(0, 2)


def window_unpartition(windows: Tensor, size: tuple[int, int]) -> Tensor:
    """The way back: (B · windows, S, S, D) -> (B, h, w, D), without the padding.

    Raises:
        ValueError: the windows are no squares, or do not fill maps of this size.
    """
    window = windows.shape[1]
    rows, columns = (-(-n // window) for n in size)
    if windows.ndim != 4 or windows.shape[2] != window or len(windows) % (rows * columns):
        raise ValueError(f"windows is {tuple(windows.shape)}; expected (B · {rows * columns}, S, S, D) for {size}")
    x = windows.unflatten(0, (-1, rows, columns)).transpose(2, 3)  # (B, rows, S, columns, S, D)
    return x.flatten(3, 4).flatten(1, 2)[:, : size[0], : size[1]]


class Block(nn.Module):
    """Look, then think; both are added to what was there. Normalised before, not after as in DETR.

    Args:
        dim: D. num_heads: see `Attention`.
        size: h, w of the map. window: look within windows of so many tokens a side; 0: at the whole map.
        use_rel_pos: whether relative positions are learned.
    """

    def __init__(self, dim: int, num_heads: int, size: tuple[int, int], window: int = 0, use_rel_pos: bool = True):
        super().__init__()
        seen = (window, window) if window else size
        self.norm1, self.norm2 = nn.LayerNorm(dim, EPS), nn.LayerNorm(dim, EPS)
        self.attn = Attention(dim, num_heads, seen if use_rel_pos else None)
        self.mlp, self.window_size = MLPBlock(dim, 4 * dim), window

    def forward(self, x: Tensor) -> Tensor:
        """A map (B, h, w, D), or tokens of which some are missing (B, N, D) -> the same shape.

        Tokens look at all that are there: no windows, no relative positions (`lib.models.mae`).
        """
        cells = self.norm1(x)
        if x.ndim == 3:
            x = x + self.attn.of_tokens(cells)
        elif self.window_size:
            windows = self.attn(window_partition(cells, self.window_size))  # (B · windows, S, S, D)
            x = x + window_unpartition(windows, (x.shape[1], x.shape[2]))
        else:
            x = x + self.attn(cells)
        return x + self.mlp(self.norm2(x))


def wave_positions(side: int, dim: int) -> Tensor:
    """Codes of the places of a map as waves, see `PositionEmbeddingSine`: (1, side, side, dim).

    Raises:
        ValueError: `dim` is no multiple of 4: a sine and a cosine for rows and for columns.
    """
    if dim < 4 or dim % 4:
        raise ValueError(f"dim is {dim}; expected a multiple of 4")
    nowhere = torch.zeros(1, side, side, dtype=torch.bool)  # no padding
    return PositionEmbeddingSine(dim // 2, normalize=True)(nowhere).permute(0, 2, 3, 1)


class ImageEncoderViT(nn.Module):
    """SAM's image encoder: patches, blocks that look within windows and a few that look at all, a neck of C channels.

    Args:
        img_size: side of the square pictures, a multiple of `patch_size`.
        patch_size: side of a patch.
        embed_dim: D. depth: number of blocks. num_heads: of each.
        out_chans: C.
        window_size: tokens along a window's side.
        global_attn_indexes: which blocks look at the whole map instead.
        use_rel_pos: whether relative positions are learned.

    Raises:
        ValueError: a picture cannot be cut into whole patches, a window has no side, or a block is not there.
    """

    def __init__(
        self,
        img_size: int = 1024,
        patch_size: int = 16,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        out_chans: int = 256,
        window_size: int = 14,
        global_attn_indexes: Sequence[int] = (2, 5, 8, 11),
        use_rel_pos: bool = True,
    ):
        super().__init__()
        if img_size % patch_size:
            raise ValueError(f"img_size is {img_size}; expected a multiple of patch_size, which is {patch_size}")
        if window_size < 0:
            raise ValueError(f"window_size is {window_size}; expected at least 1, or 0 for no windows")
        if not set(global_attn_indexes) <= set(range(depth)):
            raise ValueError(
                f"global_attn_indexes is {tuple(global_attn_indexes)}; expected numbers from 0 to {depth - 1}"
            )
        self.img_size, self.patch_size, self.embed_dim, self.out_chans = img_size, patch_size, embed_dim, out_chans
        side = img_size // patch_size
        self.patch_embed = PatchEmbed(patch_size, embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, embed_dim))
        windows = [0 if index in global_attn_indexes else window_size for index in range(depth)]
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, (side, side), window, use_rel_pos) for window in windows
        )
        self.neck = nn.Sequential(
            nn.Conv2d(embed_dim, out_chans, 1, bias=False),
            LayerNorm2d(out_chans),
            nn.Conv2d(out_chans, out_chans, 3, padding=1, bias=False),
            LayerNorm2d(out_chans),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Normalised pictures (B, 3, S, S) -> embeddings (B, C, S/p, S/p).

        Raises:
            ValueError: a picture has another size.
        """
        expected = (3, self.img_size, self.img_size)
        if x.ndim != 4 or x.shape[1:] != expected:
            raise ValueError(f"x is {tuple(x.shape)}; expected (B, {', '.join(map(str, expected))})")
        x = self.patch_embed(x) + self.pos_embed  # (B, h, w, D)
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))  # (B, C, h, w)
