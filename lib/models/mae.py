"""Masked autoencoder: a ViT learns what pictures look like by filling in what was taken away (lesson 17).

Three quarters of the patches are hidden. The encoder sees the visible ones alone, so it is cheap; a light decoder gets
a placeholder for each hidden one and says its pixels. No label is needed. What is kept is the encoder: SAM starts from
it. Source: He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners", section 3.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib.layers.vit import EPS, Block, ImageEncoderViT, wave_positions


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Pictures (B, 3, H, W) -> the pixels of each patch (B, N, 3 · p · p), patches row by row, channels first.

    Raises:
        ValueError: a picture cannot be cut into whole patches.
    """
    if patch_size < 1:
        raise ValueError(f"patch_size is {patch_size}; expected at least 1")
    if images.ndim != 4 or images.shape[2] % patch_size or images.shape[3] % patch_size:
        raise ValueError(f"images is {tuple(images.shape)}; expected (B, C, H, W), multiples of {patch_size} for H, W")
    x = images.unflatten(3, (-1, patch_size)).unflatten(2, (-1, patch_size))  # (B, C, rows, p, columns, p)
    return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpatchify(patches: Tensor, patch_size: int, size: tuple[int, int]) -> Tensor:
    """The way back: (B, N, C · p · p) -> (B, C, H, W); `size` is H, W.

    Raises:
        ValueError: pictures of this size do not have so many patches, or a patch not so many pixels.
    """
    if size[0] % patch_size or size[1] % patch_size:
        raise ValueError(f"size is {size}; expected multiples of {patch_size}")
    rows, columns = size[0] // patch_size, size[1] // patch_size
    if patches.ndim != 3 or patches.shape[1] != rows * columns or patches.shape[2] % patch_size**2:
        raise ValueError(f"patches is {tuple(patches.shape)}; expected (B, {rows * columns}, C · {patch_size**2})")
    x = patches.unflatten(2, (-1, patch_size, patch_size)).unflatten(1, (rows, columns))  # (B, rows, columns, C, p, p)
    return x.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def random_masking(
    batch: int, patches: int, ratio: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Which patches stay visible, drawn anew for each picture, all equally likely.

    Args:
        batch: B. patches: N. ratio: the share that is hidden; N · (1 - ratio), rounded down, stay.

    Returns:
        The numbers of the visible patches, rising, (B, visible), and (B, N) bool, True = hidden.

    Raises:
        ValueError: the ratio leaves no patch, or lies outside of 0..1.
    """
    visible = int(patches * (1 - ratio))
    if not 0 <= ratio < 1 or visible < 1:
        raise ValueError(f"ratio is {ratio}; expected a share from 0 to below 1 that leaves one of {patches} patches")
    order = torch.rand(batch, patches, generator=generator).argsort(dim=1)  # (B, N)
    keep = order[:, :visible].sort(dim=1).values  # (B, visible)
    return keep, torch.ones(batch, patches, dtype=torch.bool).scatter(1, keep, False)


class MAEOutput(NamedTuple):
    predicted: Tensor  # (B, N, 3 · p · p), what each patch is said to be
    hidden: Tensor  # (B, N) bool


class MaskedAutoencoder(nn.Module):
    """The encoder of SAM, and a light decoder that is thrown away afterwards.

    The encoder is used as a plain ViT: with three quarters of its tokens missing there are no windows, and relative
    positions, which begin at zero, are not learned yet.

    Args:
        encoder: its neck is not used.
        decoder_dim, decoder_depth, decoder_heads: of the decoder.
    """

    def __init__(
        self, encoder: ImageEncoderViT, decoder_dim: int = 512, decoder_depth: int = 8, decoder_heads: int = 16
    ):
        super().__init__()
        side = encoder.img_size // encoder.patch_size
        self.encoder, self.norm = encoder, nn.LayerNorm(encoder.embed_dim, EPS)
        self.decoder_embed = nn.Linear(encoder.embed_dim, decoder_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self.decoder_pos_embed = nn.Parameter(wave_positions(side, decoder_dim).flatten(1, 2))  # (1, N, d)
        self.decoder_blocks = nn.ModuleList(
            Block(decoder_dim, decoder_heads, (side, side), use_rel_pos=False) for _ in range(decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_dim, EPS)
        self.decoder_pred = nn.Linear(decoder_dim, 3 * encoder.patch_size**2)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, images: Tensor, keep: Tensor) -> MAEOutput:
        """Fill in.

        Args:
            images: (B, 3, S, S), normalised as for the encoder.
            keep: (B, visible) int64, the numbers of the visible patches, see `random_masking`.

        Raises:
            ValueError: pictures have another size, or a number is that of no patch.
        """
        side, number = self.encoder.img_size, self.decoder_pos_embed.shape[1]
        if images.ndim != 4 or images.shape[1:] != (3, side, side):
            raise ValueError(f"images is {tuple(images.shape)}; expected (B, 3, {side}, {side})")
        if keep.ndim != 2 or len(keep) != len(images) or keep.dtype != torch.int64:
            raise ValueError(f"keep is {tuple(keep.shape)} {keep.dtype}; expected ({len(images)}, visible) int64")
        if ((keep < 0) | (keep >= number)).any():
            raise ValueError(f"keep has numbers of no patch; expected 0 to {number - 1}")
        tokens = self.encoder.patch_embed(images) + self.encoder.pos_embed  # (B, h, w, D)
        x = tokens.flatten(1, 2).gather(1, _rows(keep, tokens.shape[-1]))  # (B, visible, D): the hidden ones are gone
        for block in self.encoder.blocks:
            x = block(x)
        x = self.decoder_embed(self.norm(x))  # (B, visible, d)
        every = self.mask_token.expand(len(x), number, -1)  # (B, N, d)
        x = every.scatter(1, _rows(keep, x.shape[-1]), x) + self.decoder_pos_embed  # each where it belongs
        for block in self.decoder_blocks:
            x = block(x)
        hidden = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device).scatter(1, keep, False)
        return MAEOutput(self.decoder_pred(self.decoder_norm(x)), hidden)


def start_from(encoder: ImageEncoderViT, taught: MaskedAutoencoder) -> None:
    """Give an encoder what an autoencoder's has learned; the neck, which has learned nothing there, stays as it is.

    Raises:
        RuntimeError: the encoders differ in size.
    """
    weights = {name: one for name, one in taught.encoder.state_dict().items() if not name.startswith("neck")}
    encoder.load_state_dict(encoder.state_dict() | weights)


def normalized_patches(patches: Tensor) -> Tensor:
    """Each patch brought to mean 0 and deviation 1: its pattern is to be said, not its brightness."""
    mean, variance = patches.mean(2, keepdim=True), patches.var(2, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()


def mae_loss(output: MAEOutput, images: Tensor, patch_size: int, norm_pix: bool = True) -> Tensor:
    """The mean squared error of the hidden patches' numbers; visible ones do not count (section 3).

    Args:
        output: what the model said. images: (B, 3, S, S), whole.
        norm_pix: whether a patch's numbers are first normalised, see `normalized_patches`.

    Raises:
        ValueError: the model did not answer to such pictures, cut in such patches.
    """
    true = patchify(images, patch_size)  # (B, N, 3 · p · p)
    if output.predicted.shape != true.shape:
        raise ValueError(f"output has {tuple(output.predicted.shape)} pixels; expected {tuple(true.shape)}")
    if norm_pix:
        true = normalized_patches(true)
    wrong = (output.predicted - true).square().mean(2)  # (B, N)
    return (wrong * output.hidden).sum() / output.hidden.sum().clamp(min=1)


def _rows(numbers: Tensor, width: int) -> Tensor:
    return numbers[..., None].expand(-1, -1, width)


def mae_small(encoder: ImageEncoderViT) -> MaskedAutoencoder:
    """The one of lesson 17."""
    return MaskedAutoencoder(encoder, decoder_dim=64, decoder_depth=2, decoder_heads=4)
