"""SAM and the official package's, in small and with new random weights: what their tests share."""

from functools import partial

import torch
from segment_anything import modeling as peer
from torch import nn

from lib.layers.prompt_encoder import PhraseEncoder, PromptEncoder
from lib.layers.two_way import TwoWayTransformer
from lib.layers.vit import ImageEncoderViT
from lib.models.sam import MaskDecoder, Sam
from tests.models.peers import redraw_transformer

SIDE, CELLS, DIM = 64, 8, 16
ENCODER = {
    "img_size": SIDE,
    "patch_size": SIDE // CELLS,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 3,
    "out_chans": DIM,
    "window_size": 3,  # of 8 cells: the last window is padded
    "global_attn_indexes": (1,),
    "use_rel_pos": True,
}


def small(words=()):
    """Our model in small."""
    prompts = PromptEncoder(DIM, (CELLS, CELLS), (SIDE, SIDE), 8)
    decoder = MaskDecoder(DIM, TwoWayTransformer(2, DIM, 2, 20), iou_head_hidden_dim=12)
    phrases = PhraseEncoder(words, DIM) if words else None
    return Sam(ImageEncoderViT(**ENCODER), prompts, decoder, phrase_encoder=phrases).eval()


@torch.no_grad()
def alive(theirs):
    """The official model with new random weights everywhere."""
    redraw_transformer(theirs)
    theirs.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.normal_(
        generator=torch.Generator().manual_seed(1)
    )
    return theirs.eval()


def official():
    """The official model in small, with new random weights everywhere."""
    return alive(
        peer.Sam(
            peer.ImageEncoderViT(**ENCODER, norm_layer=partial(nn.LayerNorm, eps=1e-6)),
            peer.PromptEncoder(DIM, (CELLS, CELLS), (SIDE, SIDE), 8),
            peer.MaskDecoder(
                transformer_dim=DIM, transformer=peer.TwoWayTransformer(2, DIM, 2, 20), iou_head_hidden_dim=12
            ),
        )
    )
