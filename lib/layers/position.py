"""Where is a cell? A code for each place of a map, for layers that see a set of cells and no order (lesson 14).

A code has 2 · F numbers for each cell, F for its row and F for its column; they are added to what the cell says.
Source: Carion et al. 2020, "End-to-End Object Detection with Transformers" (DETR), appendix A.4; the waves are
those of Vaswani et al. 2017, "Attention Is All You Need", section 3.5. Names are those of DETR's code.
"""

import math

import torch
from torch import Tensor, nn

LARGEST_MAP = 50  # rows, and columns, for which `PositionEmbeddingLearned` has a code


class PositionEmbeddingSine(nn.Module):
    """Rows and columns as waves of F / 2 lengths, each as a sine and a cosine, beside each other.

    Nothing is learned. Neighbours get similar codes, and the code of a place some cells further is a rotation of this
    one's, the same at every place.

    Args:
        num_pos_feats: F, even.
        temperature: the longest wave is nearly this many times as long as the shortest, which has 2π.
        normalize: places are shares of the picture times `scale`, not numbers of cells: a picture that is twice as
            large then has the same codes, twice as dense. Padding does not count.
        scale: where a normalised picture ends; None: 2π, one turn of the shortest wave.

    Raises:
        ValueError: F is odd, or a scale is given without `normalize`.
    """

    def __init__(
        self, num_pos_feats: int = 64, temperature: float = 10000, normalize: bool = False, scale: float | None = None
    ):
        super().__init__()
        if num_pos_feats < 2 or num_pos_feats % 2:
            raise ValueError(f"num_pos_feats is {num_pos_feats}; expected an even number: a sine and a cosine each")
        if scale is not None and not normalize:
            raise ValueError(
                f"scale is {scale} and normalize False; expected normalize to be True where scale is given"
            )
        self.num_pos_feats, self.temperature, self.normalize = num_pos_feats, temperature, normalize
        self.scale = 2 * math.pi if scale is None else scale

    def forward(self, mask: Tensor) -> Tensor:
        """The codes of all cells: padding mask (B, h, w) bool, True = padding -> (B, 2 · F, h, w).

        The first row lies at 1, not at 0, and the last row of the picture, normalised, at `scale`.
        """
        check_mask(mask)
        y = (~mask).cumsum(1, dtype=torch.float32)  # (B, h, w), 1, 2, 3 ... down each column
        x = (~mask).cumsum(2, dtype=torch.float32)  # (B, h, w), 1, 2, 3 ... along each row
        if self.normalize:
            y = y / (y[:, -1:, :] + 1e-6) * self.scale
            x = x / (x[:, :, -1:] + 1e-6) * self.scale
        return torch.cat([self.waves(y), self.waves(x)], dim=-1).permute(0, 3, 1, 2)  # (B, 2F, h, w)

    def waves(self, places: Tensor) -> Tensor:
        """Places along one axis (...) -> sine and cosine, in turn, of every wave (..., F)."""
        number = torch.arange(self.num_pos_feats // 2, dtype=places.dtype, device=places.device)  # (F/2,)
        lengths = self.temperature ** (2 * number / self.num_pos_feats)  # (F/2,)
        angles = places[..., None] / lengths  # (..., F/2)
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)  # (..., F)


class PositionEmbeddingLearned(nn.Module):
    """F learned numbers for each row and F for each column, at most 50 of each; here a column's come first.

    Args:
        num_pos_feats: F.
    """

    def __init__(self, num_pos_feats: int = 256):
        super().__init__()
        self.row_embed = nn.Embedding(LARGEST_MAP, num_pos_feats)
        self.col_embed = nn.Embedding(LARGEST_MAP, num_pos_feats)
        nn.init.uniform_(self.row_embed.weight)
        nn.init.uniform_(self.col_embed.weight)

    def forward(self, mask: Tensor) -> Tensor:
        """The codes of all cells: padding mask (B, h, w) bool, of which only the shape matters -> (B, 2 · F, h, w).

        Raises:
            ValueError: there are more than 50 rows or columns.
        """
        check_mask(mask)
        batch, height, width = mask.shape
        if max(height, width) > LARGEST_MAP:
            raise ValueError(f"mask is {tuple(mask.shape)}; expected at most {LARGEST_MAP} rows and columns")
        columns = self.col_embed.weight[:width].expand(height, width, -1)  # (h, w, F)
        rows = self.row_embed.weight[:height, None].expand(height, width, -1)  # (h, w, F)
        codes = torch.cat([columns, rows], dim=-1).permute(2, 0, 1)  # (2F, h, w)
        return codes.expand(batch, -1, -1, -1)


def check_mask(mask: Tensor) -> None:
    """Raise ValueError unless `mask` is (B, h, w) bool."""
    if mask.ndim != 3 or mask.dtype != torch.bool:
        raise ValueError(f"mask is {tuple(mask.shape)} {mask.dtype}; expected (B, h, w) bool, True = padding")
