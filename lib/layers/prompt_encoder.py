"""Points, boxes, rough masks and words as tokens and maps: what SAM is prompted with (lesson 17).

Attribute names are those of facebookresearch/segment-anything. Source: Kirillov et al. 2023, "Segment Anything",
appendix A, "Prompt encoder".
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.layers.vit import LayerNorm2d

NO_POINT, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3  # types of points


class PositionEmbeddingRandom(nn.Module):
    """A place as sines and cosines of waves in random directions, never trained.

    The inner product of two codes depends on the difference of the places alone. It is largest where there is none, and
    the more waves there are, the more evenly it falls on all sides. Source: Tancik et al.
    2020, "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains".

    Args:
        num_pos_feats: number of waves, D / 2. scale: deviation of how many waves there are across half a picture.
    """

    def __init__(self, num_pos_feats: int = 64, scale: float = 1.0):
        super().__init__()
        self.positional_encoding_gaussian_matrix: Tensor
        self.register_buffer("positional_encoding_gaussian_matrix", scale * torch.randn(2, num_pos_feats))

    def forward(self, size: tuple[int, int]) -> Tensor:
        """Codes of the middles of all cells of a map of h × w: (D, h, w)."""
        rows, columns = (
            (torch.arange(n, device=self.positional_encoding_gaussian_matrix.device) + 0.5) / n for n in size
        )
        x, y = torch.meshgrid(columns, rows, indexing="xy")  # (h, w) each
        return self.of_places(torch.stack([x, y], dim=-1)).permute(2, 0, 1)

    def of_places(self, places: Tensor) -> Tensor:
        """Places (..., 2), x and y as shares 0..1 of the picture's sides -> codes (..., D)."""
        directions = self.positional_encoding_gaussian_matrix
        waves = 2 * torch.pi * (2 * places.to(directions) - 1) @ directions  # (..., D / 2)
        return torch.cat([waves.sin(), waves.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Points, corners of boxes and masks, as tokens and maps of the decoder's width.

    A point is the sum of its place and its type. A mask is shrunk by convolutions to the map's size and added to it.

    Args:
        embed_dim: D.
        image_embedding_size: h, w of the picture's embedding.
        input_image_size: H, W of the picture as the encoder sees it; in its pixels the prompts are given.
        mask_in_chans: channels inside the convolutions, a multiple of 4.

    Raises:
        ValueError: `embed_dim` is odd, or `mask_in_chans` no multiple of 4.
    """

    def __init__(
        self,
        embed_dim: int,
        image_embedding_size: tuple[int, int],
        input_image_size: tuple[int, int],
        mask_in_chans: int = 16,
    ):
        super().__init__()
        if embed_dim < 2 or embed_dim % 2:
            raise ValueError(f"embed_dim is {embed_dim}; expected an even number: a sine and a cosine of each wave")
        if mask_in_chans < 4 or mask_in_chans % 4:
            raise ValueError(f"mask_in_chans is {mask_in_chans}; expected a multiple of 4")
        self.embed_dim, self.image_embedding_size = embed_dim, image_embedding_size
        self.input_image_size, self.mask_input_size = input_image_size, tuple(4 * n for n in image_embedding_size)
        self.pe_layer = PositionEmbeddingRandom(embed_dim // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, embed_dim) for _ in range(4))  # by type
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_in_chans // 4, 2, stride=2),  # (P, mask_in_chans / 4, 2h, 2w)
            LayerNorm2d(mask_in_chans // 4),
            nn.GELU(),
            nn.Conv2d(mask_in_chans // 4, mask_in_chans, 2, stride=2),  # (P, mask_in_chans, h, w)
            LayerNorm2d(mask_in_chans),
            nn.GELU(),
            nn.Conv2d(mask_in_chans, embed_dim, 1),  # (P, D, h, w)
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)

    def get_dense_pe(self) -> Tensor:
        """The codes of the places of all cells of the picture's embedding: (1, D, h, w)."""
        return self.pe_layer(self.image_embedding_size)[None]

    def forward(
        self,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        pad: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Encode P prompts of one kind or of several.

        Args:
            points: (P, N, 2), x and y of pixels. labels: (P, N), their types: 1 foreground, 0 background, 2 and 3 the
                corners of a box, -1 no point, so that prompts of different lengths can share a batch.
            boxes: (P, 4) xyxy.
            masks: (P, 1, 4h, 4w) logits.
            pad: whether points without a box are followed by a "no point", as in the paper's code.

        Returns:
            Tokens (P, N, D), and what is added to the picture's embedding (P, D, h, w).

        Raises:
            ValueError: nothing is given, or shapes do not fit.
        """
        number = self._check(points, labels, boxes, masks)
        tokens = [self.no_mask_embed.weight.new_zeros(number, 0, self.embed_dim)]
        if points is not None and labels is not None:
            if pad and boxes is None:
                points, labels = F.pad(points, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=NO_POINT)
            tokens.append(self._embed(points, labels))
        if boxes is not None:
            corners = torch.tensor([TOP_LEFT, BOTTOM_RIGHT], device=boxes.device).expand(number, 2)
            tokens.append(self._embed(boxes.unflatten(1, (2, 2)), corners))
        if masks is not None:
            dense = self.mask_downscaling(masks)  # (P, D, h, w)
        else:
            dense = self.no_mask_embed.weight[0][:, None, None].expand(number, -1, *self.image_embedding_size)
        return torch.cat(tokens, dim=1), dense

    def _embed(self, points: Tensor, labels: Tensor) -> Tensor:
        """Points (P, N, 2) and types (P, N) -> tokens (P, N, D): half a pixel further on, and what it means.

        For a click that is the middle of its pixel. The corners of a box are moved as well, as in the paper's code.
        """
        sides = points.new_tensor(self.input_image_size[::-1])  # W, H
        places = self.pe_layer.of_places((points + 0.5) / sides) * (labels != NO_POINT)[..., None]  # (P, N, D)
        types = torch.cat([one.weight for one in (self.not_a_point_embed, *self.point_embeddings)])  # (5, D)
        return places + types[labels.long() + 1]

    def _check(self, points: Tensor | None, labels: Tensor | None, boxes: Tensor | None, masks: Tensor | None) -> int:
        given = [one for one in (points, boxes, masks) if one is not None]
        if not given:
            raise ValueError("points, boxes and masks are None; expected at least one of them")
        number = len(given[0])
        if points is not None and (points.ndim != 3 or points.shape[2] != 2):
            raise ValueError(f"points is {tuple(points.shape)}; expected (P, N, 2)")
        if (points is None) != (labels is None) or (labels is not None and labels.shape != given[0].shape[:2]):
            came = None if labels is None else tuple(labels.shape)
            raise ValueError(f"labels is {came}; expected one for each of the points")
        if labels is not None and not ((labels >= NO_POINT) & (labels <= BOTTOM_RIGHT)).all():
            raise ValueError("labels has other numbers than -1, 0, 1, 2 and 3")
        if boxes is not None and boxes.shape != (number, 4):
            raise ValueError(f"boxes is {tuple(boxes.shape)}; expected ({number}, 4)")
        if masks is not None and (masks.shape != (number, 1, *self.mask_input_size) or not masks.is_floating_point()):
            expected = (number, 1, *self.mask_input_size)
            raise ValueError(f"masks is {tuple(masks.shape)} {masks.dtype}; expected {expected} logits")
        return number


class PhraseEncoder(nn.Module):
    """Words as tokens, so that a phrase can be a prompt: one vector a word, learned with the rest (lesson 17).

    The paper takes CLIP's, which has seen 400 million captioned pictures, and trains SAM with the embedding of a
    picture of the thing in place of the phrase (appendix D.5). Ours learns fifteen words from the scenes themselves.

    Args:
        words: the vocabulary. dim: D. length: tokens of a phrase; a shorter one is filled up with "no word".

    Raises:
        ValueError: a word has capital letters or spaces.
    """

    def __init__(self, words: tuple[str, ...], dim: int, length: int = 3):
        super().__init__()
        if any([word] != word.lower().split() for word in words):
            raise ValueError(f"words is {words}; expected small letters and no spaces in each")
        self.numbers, self.length = {word: number for number, word in enumerate(words, 1)}, length
        self.embed = nn.Embedding(len(words) + 1, dim)  # number 0 is "no word"

    def forward(self, phrases: list[str]) -> Tensor:
        """P phrases, "" for none -> (P, length, D).

        Raises:
            ValueError: a phrase is too long, or has a word that is not in the vocabulary.
        """
        rows = []
        for phrase in phrases:
            words = phrase.lower().split()
            unknown = [word for word in words if word not in self.numbers]
            if unknown or len(words) > self.length:
                known = ", ".join(self.numbers)
                raise ValueError(f"phrases has {phrase!r}; expected at most {self.length} words of: {known}")
            rows.append([self.numbers[word] for word in words] + [0] * (self.length - len(words)))
        return self.embed(torch.tensor(rows, dtype=torch.int64, device=self.embed.weight.device).view(-1, self.length))
