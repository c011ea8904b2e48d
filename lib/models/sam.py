"""SAM: any mask for any prompt (lesson 17).

A picture is encoded once. A prompt, a few points, a box or a rough mask, becomes tokens; a light decoder lets tokens
and picture look at each other and draws. A click may mean a shirt or the person who wears it, so three masks are drawn,
each with a guess of how good it is. Attribute names are those of facebookresearch/segment-anything, whose weights load.
Source: Kirillov et al. 2023, "Segment Anything", section 3 and appendix A.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.layers.mlp import MLP
from lib.layers.prompt_encoder import NO_POINT, PhraseEncoder, PromptEncoder
from lib.layers.two_way import DownscaledAttention, TwoWayAttentionBlock, TwoWayTransformer
from lib.layers.vit import ImageEncoderViT, LayerNorm2d, wave_positions
from lib.ops.mask_losses import dice_loss, focal_loss

WEIGHTS = {"loss_mask": 20.0, "loss_dice": 1.0, "loss_iou": 1.0}  # appendix A, "Losses"


class SamOutput(NamedTuple):
    """What is answered to P prompts: four masks each, the single one first, then the three; or some of these."""

    masks: Tensor  # (P, M, 4h, 4w) logits, above 0 = inside
    ious: Tensor  # (P, M): how well each mask overlaps with what was meant, as the model guesses

    def single(self) -> "SamOutput":
        """The mask for a prompt that leaves no doubt: M is 1."""
        return SamOutput(self.masks[:, :1], self.ious[:, :1])

    def several(self) -> "SamOutput":
        """The masks for a prompt that may mean several things: M is 3."""
        return SamOutput(self.masks[:, 1:], self.ious[:, 1:])


class MaskDecoder(nn.Module):
    """From tokens and a map to masks.

    The tokens of the prompt are joined by four that stand for masks, one for a single answer and three for several,
    and by one for the guess of their quality. Afterwards each mask's token becomes, by an MLP of its own, a vector; its
    inner product with every pixel of the enlarged map is the mask.

    Args:
        transformer_dim: D. transformer: lets tokens and map look at each other.
        num_multimask_outputs: how many masks for a prompt that may mean several things.
        iou_head_depth, iou_head_hidden_dim: of the MLP that guesses.

    Raises:
        ValueError: D is no multiple of 8 or not the transformer's, or there is no mask.
    """

    def __init__(
        self,
        transformer_dim: int,
        transformer: TwoWayTransformer,
        num_multimask_outputs: int = 3,
        iou_head_depth: int = 3,
        iou_head_hidden_dim: int = 256,
    ):
        super().__init__()
        if transformer_dim < 8 or transformer_dim % 8:
            raise ValueError(f"transformer_dim is {transformer_dim}; expected a multiple of 8")
        if transformer.embedding_dim != transformer_dim:
            raise ValueError(f"transformer has {transformer.embedding_dim} numbers a token; expected {transformer_dim}")
        if num_multimask_outputs < 1:
            raise ValueError(f"num_multimask_outputs is {num_multimask_outputs}; expected at least 1")
        dim, self.num_mask_tokens = transformer_dim, num_multimask_outputs + 1
        self.transformer = transformer
        self.iou_token, self.mask_tokens = nn.Embedding(1, dim), nn.Embedding(self.num_mask_tokens, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, stride=2),  # (P, D/4, 2h, 2w)
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, stride=2),  # (P, D/8, 4h, 4w)
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(dim, dim, dim // 8, 3) for _ in range(self.num_mask_tokens))
        self.iou_prediction_head = MLP(dim, iou_head_hidden_dim, self.num_mask_tokens, iou_head_depth)

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> SamOutput:
        """Draw all four masks: the single one first, then the three.

        Args:
            image_embeddings: (P, D, h, w), or (1, D, h, w), one picture for all prompts.
            image_pe: (1, D, h, w), the codes of its cells' places.
            sparse_prompt_embeddings: (P, N, D). dense_prompt_embeddings: (P, D, h, w).

        Raises:
            ValueError: shapes do not fit.
        """
        self._check(image_embeddings, sparse_prompt_embeddings, dense_prompt_embeddings)
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])  # (1 + 4, D)
        tokens = torch.cat([own.expand(len(sparse_prompt_embeddings), -1, -1), sparse_prompt_embeddings], dim=1)
        map_ = image_embeddings + dense_prompt_embeddings  # (P, D, h, w)
        states, cells = self.transformer(map_, image_pe, tokens)  # (P, 5 + N, D), (P, h·w, D)
        pixels = self.output_upscaling(cells.transpose(1, 2).unflatten(2, map_.shape[2:]))  # (P, D/8, 4h, 4w)
        vectors = [mlp(states[:, 1 + number]) for number, mlp in enumerate(self.output_hypernetworks_mlps)]
        masks = torch.einsum("pmc,pchw->pmhw", torch.stack(vectors, dim=1), pixels)
        return SamOutput(masks, self.iou_prediction_head(states[:, 0]))

    def _check(self, pictures: Tensor, sparse: Tensor, dense: Tensor) -> None:
        dim, prompts = self.mask_tokens.embedding_dim, len(sparse)
        if sparse.ndim != 3 or sparse.shape[2] != dim:
            raise ValueError(f"sparse_prompt_embeddings is {tuple(sparse.shape)}; expected (P, N, {dim})")
        if dense.ndim != 4 or dense.shape[:2] != (prompts, dim):
            raise ValueError(f"dense_prompt_embeddings is {tuple(dense.shape)}; expected ({prompts}, {dim}, h, w)")
        if pictures.ndim != 4 or pictures.shape[1:] != dense.shape[1:] or len(pictures) not in (1, prompts):
            expected = f"({prompts} or 1, {', '.join(map(str, dense.shape[1:]))})"
            raise ValueError(f"image_embeddings is {tuple(pictures.shape)}; expected {expected}")


class Sam(nn.Module):
    """The model.

    Args:
        image_encoder, prompt_encoder, mask_decoder: its three parts.
        pixel_mean, pixel_std: of the colours, 0..255 as in the paper's code.
        phrase_encoder: words as prompts; None: none, as in the published models.
    """

    def __init__(
        self,
        image_encoder: ImageEncoderViT,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53),
        pixel_std: tuple[float, float, float] = (58.395, 57.12, 57.375),
        phrase_encoder: PhraseEncoder | None = None,
    ):
        super().__init__()
        self.image_encoder, self.prompt_encoder, self.mask_decoder = image_encoder, prompt_encoder, mask_decoder
        self.phrase_encoder = phrase_encoder
        self.pixel_mean: Tensor
        self.pixel_std: Tensor
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean)[:, None, None] / 255, persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std)[:, None, None] / 255, persistent=False)

    def preprocess(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, h, w), 0..1, h and w at most S -> normalised, padded at the right and below (B, 3, S, S)."""
        size = self.image_encoder.img_size
        fits = images.ndim == 4 and images.shape[1] == 3 and max(images.shape[2:]) <= size
        if not fits or not images.is_floating_point():
            came, expected = f"{tuple(images.shape)} {images.dtype}", f"(B, 3, h, w) floats, h and w at most {size}"
            raise ValueError(f"images is {came}; expected {expected}")
        x = (images - self.pixel_mean) / self.pixel_std
        return F.pad(x, (0, size - x.shape[3], 0, size - x.shape[2]))

    def encode(self, images: Tensor) -> Tensor:
        """Once for each picture: (B, 3, h, w), 0..1 -> (B, D, S/p, S/p). See `preprocess`."""
        return self.image_encoder(self.preprocess(images))

    def forward(
        self,
        image_embeddings: Tensor,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        phrases: list[str] | None = None,
        pad: bool = True,
    ) -> SamOutput:
        """As often as one likes: P prompts to encoded pictures -> all four masks for each.

        Args:
            image_embeddings: (P, D, h, w), or (1, D, h, w) if all prompts are about one picture; see `encode`.
            points, labels, boxes, masks, pad: see `PromptEncoder`.
            phrases: P of them, "" for none. Where there is nothing else, they come with two "no point".

        Raises:
            ValueError: as for `PromptEncoder` and `PhraseEncoder`; there is not one picture, or one phrase, for each
                prompt; or phrases are given to a model that knows no words.
        """
        if phrases is not None and self.phrase_encoder is None:
            raise ValueError("phrases is given; expected None: this model has no phrase_encoder")
        if phrases is not None and points is None and boxes is None and masks is None:
            points = image_embeddings.new_zeros(len(phrases), 1, 2)
            labels = torch.full((len(phrases), 1), NO_POINT, device=points.device)
        sparse, dense = self.prompt_encoder(points, labels, boxes, masks, pad)
        if phrases is not None and len(phrases) != len(sparse):
            raise ValueError(f"phrases has {len(phrases)} of them; expected {len(sparse)}, one for each prompt")
        if self.phrase_encoder is not None:
            words = self.phrase_encoder(phrases if phrases is not None else [""] * len(sparse))  # (P, 3, D)
            sparse = torch.cat([sparse, words], dim=1)
        return self.mask_decoder(image_embeddings, self.prompt_encoder.get_dense_pe(), sparse, dense)


def mask_ious(logits: Tensor, true: Tensor) -> Tensor:
    """How well masks overlap with what was meant: logits (P, M, H, W), true masks (P, H, W) -> IoU (P, M).

    Where neither has a pixel it is 1.

    Raises:
        ValueError: shapes do not fit.
    """
    if logits.ndim != 4:
        raise ValueError(f"logits is {tuple(logits.shape)}; expected (P, M, H, W)")
    if true.shape != (len(logits), *logits.shape[2:]):
        raise ValueError(f"true is {tuple(true.shape)}; expected {(len(logits), *logits.shape[2:])}")
    said, real = logits > 0, true.bool()[:, None]
    shared, either = (said & real).sum((2, 3)), (said | real).sum((2, 3))
    return torch.where(either > 0, shared / either.clamp(min=1), 1.0)


def min_over_masks_loss(output: SamOutput, true: Tensor, reduce: str = "min") -> dict[str, Tensor]:
    """Of M masks only the one that comes closest learns what was meant; each guess of quality learns how far off it is.

    Who asks three times and corrects every answer toward this truth gets three means of all truths. Who corrects the
    best answer alone gets three answers that differ (section 3, "Resolving ambiguity"; Guzman-Rivera et al. 2012).

    Args:
        output: of P prompts; masks are enlarged, bilinearly, to the truth's size.
        true: (P, H, W) bool, what was meant.
        reduce: "min", or "mean", in which all M masks learn.

    Returns:
        {"loss_mask", "loss_dice", "loss_iou"}, each the mean over the prompts, not weighed yet. The closest mask is the
        one whose weighted focal and dice loss is smallest. All M guesses of IoU learn, by their squared error.

    Raises:
        ValueError: shapes do not fit, or `reduce` is another word.
    """
    if reduce not in ("min", "mean"):
        raise ValueError(f"reduce is {reduce!r}; expected 'min' or 'mean'")
    if true.ndim != 3 or len(true) != len(output.masks) or true.dtype != torch.bool:
        came = f"{tuple(true.shape)} {true.dtype}"
        raise ValueError(f"true is {came}; expected ({len(output.masks)}, H, W) bool, one for each prompt")
    logits = F.interpolate(output.masks, true.shape[1:], mode="bilinear", align_corners=False)  # (P, M, H, W)
    prompts, masks = logits.shape[:2]
    real = true[:, None].expand_as(logits).flatten(0, 1).to(logits)  # (P · M, H, W)
    focal = focal_loss(logits.flatten(0, 1), real, reduction="none").view(prompts, masks)
    dice = dice_loss(logits.flatten(0, 1), real, reduction="none").view(prompts, masks)
    off = (output.ious - mask_ious(logits.detach(), true)).square()  # (P, M)
    if reduce == "min":
        best = (WEIGHTS["loss_mask"] * focal + WEIGHTS["loss_dice"] * dice).argmin(1, keepdim=True)  # (P, 1)
        focal, dice = focal.gather(1, best), dice.gather(1, best)
    return {"loss_mask": focal.mean(), "loss_dice": dice.mean(), "loss_iou": off.mean()}


def sam_vit_b() -> Sam:
    """facebookresearch/segment-anything's ViT-B, random weights: 94 M parameters, pictures of 1024."""
    return _sam(ImageEncoderViT(), TwoWayTransformer(2, 256, num_heads=8, mlp_dim=2048))


def sam_small(words: tuple[str, ...] = ()) -> Sam:
    """The one of lesson 17, for toyworld at 96 × 96: 144 patches of 8 × 8, masks at stride 2; 1.2 M parameters.

    It begins otherwise than the paper's, so that little training is enough: see `looks_at_its_place`. The encoder's
    codes of places begin as waves and not as zeros.

    Args:
        words: a vocabulary, if phrases are to be prompts.
    """
    encoder = ImageEncoderViT(
        96, 8, embed_dim=128, depth=4, num_heads=4, out_chans=64, window_size=6, global_attn_indexes=(1, 3)
    )
    encoder.pos_embed.data.copy_(wave_positions(12, 128))
    sam = _sam(encoder, TwoWayTransformer(2, 64, num_heads=2, mlp_dim=256, downsample_rate=1), words)
    looks_at_its_place(sam)
    return sam


@torch.no_grad()
def looks_at_its_place(sam: Sam, gain: float = 5.0) -> None:
    """Begin so that a point's token looks at where the point lies, and the cells there at it.

    The score of two places is (W q) · (V k). With W and V drawn apart, as is usual, it is a random number, and nothing
    tells a point where it lies; here both begin as the same orthogonal matrix, so that a code is, on average, most like
    itself. And what is no place, the cells' content and what tokens heard from each other, begins quieter than the
    places.
    """
    sam.image_encoder.neck.get_parameter("3.weight").fill_(0.3)
    for name, module in sam.mask_decoder.transformer.named_modules():
        if isinstance(module, TwoWayAttentionBlock):
            module.norm1.weight.fill_(0.5)
        if isinstance(module, DownscaledAttention) and not name.endswith("self_attn"):
            nn.init.orthogonal_(module.q_proj.weight, gain=gain**0.5)
            module.k_proj.weight.copy_(module.q_proj.weight)
            nn.init.zeros_(module.q_proj.bias)
            nn.init.zeros_(module.k_proj.bias)


def _sam(encoder: ImageEncoderViT, transformer: TwoWayTransformer, words: tuple[str, ...] = ()) -> Sam:
    dim, side = encoder.out_chans, encoder.img_size // encoder.patch_size
    prompts = PromptEncoder(dim, (side, side), (encoder.img_size, encoder.img_size))
    phrases = PhraseEncoder(words, dim) if words else None
    return Sam(encoder, prompts, MaskDecoder(dim, transformer), phrase_encoder=phrases)
