"""The cross-modality decoder of Grounding DINO: queries ask words and picture, and mend their boxes (lesson 19).

Attribute names are transformers', but for the parts of an attention, which are those of `lib.layers.transformer`.
Sources: Liu et al. 2023, "Grounding DINO", section 3.3; boxes as references, mended layer by layer: Liu et al. 2022,
"DAB-DETR", sections 4.2 and 4.3; Zhang et al. 2022, "DINO".
"""

import math

import torch
from torch import Tensor, nn

from lib.layers.mlp import MLP
from lib.layers.position import PositionEmbeddingSine
from lib.layers.transformer import MultiheadAttention, with_pos


class GroundingDecoderLayer(nn.Module):
    """The queries look at each other, at the words, at the picture, then each thinks; after each: add, normalise.

    Words before picture, as in the code that the authors publish; section 3.3 names the picture first. There the
    picture is looked at in a few places around the reference box (deformable attention), here in all cells.

    Args:
        d_model: D. nhead: heads. dim_feedforward: numbers inside the last step.
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int):
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead)
        self.self_attn_layer_norm = nn.LayerNorm(d_model)
        self.encoder_attn_text = MultiheadAttention(d_model, nhead)
        self.encoder_attn_text_layer_norm = nn.LayerNorm(d_model)
        self.encoder_attn = MultiheadAttention(d_model, nhead)
        self.encoder_attn_layer_norm = nn.LayerNorm(d_model)
        self.fc1, self.fc2 = nn.Linear(d_model, dim_feedforward), nn.Linear(dim_feedforward, d_model)
        self.final_layer_norm = nn.LayerNorm(d_model)

    def forward(
        self,
        queries: Tensor,
        query_pos: Tensor,
        vision: Tensor,
        vision_padding: Tensor,
        vision_pos: Tensor,
        text: Tensor,
        text_padding: Tensor,
    ) -> Tensor:
        """Let each query learn more.

        Args:
            queries: (B, Q, D), what each knows so far. query_pos: (B, Q, D), the code of its reference box.
            vision: (B, S, D), cells. vision_padding: (B, S) bool. vision_pos: (B, S, D), the codes of their places.
            text: (B, T, D), words. text_padding: (B, T) bool.

        Returns:
            (B, Q, D).
        """
        q = k = with_pos(queries, query_pos)
        queries = self.self_attn_layer_norm(queries + self.self_attn(q, k, queries)[0])
        heard, _ = self.encoder_attn_text(with_pos(queries, query_pos), text, text, text_padding)
        queries = self.encoder_attn_text_layer_norm(queries + heard)
        q, k = with_pos(queries, query_pos), with_pos(vision, vision_pos)
        queries = self.encoder_attn_layer_norm(queries + self.encoder_attn(q, k, vision, vision_padding)[0])
        return self.final_layer_norm(queries + self.fc2(self.fc1(queries).relu()))


class GroundingDecoder(nn.Module):
    """Decoder layers one after the other. Each says how its queries' boxes are to move; the next starts from there.

    A move is added before the sigmoid that makes shares of a box. What a layer starts from is taken as it is: no
    gradient flows back through it. All layers share one box head, which at first moves nothing.

    In the authors' code the next layer starts from a move that the head reads of the state before the last norm, and
    the box that is answered from the state after it. Here both are the same box.

    Args:
        d_model: D, a multiple of 4. nhead, dim_feedforward: see `GroundingDecoderLayer`. num_layers: at least 1.

    Raises:
        ValueError: there is no layer.
    """

    def __init__(self, d_model: int, nhead: int, num_layers: int, dim_feedforward: int):
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers is {num_layers}; expected at least 1")
        layers = (GroundingDecoderLayer(d_model, nhead, dim_feedforward) for _ in range(num_layers))
        self.layers, self.layer_norm = nn.ModuleList(layers), nn.LayerNorm(d_model)
        self.position = PositionEmbeddingSine(d_model // 2)
        self.reference_points_head = MLP(2 * d_model, d_model, d_model, 2)
        self.bbox_embed = still_box_head(d_model)

    def forward(
        self,
        queries: Tensor,
        references: Tensor,
        vision: Tensor,
        vision_padding: Tensor,
        vision_pos: Tensor,
        text: Tensor,
        text_padding: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Answer.

        Args:
            references: (B, Q, 4) the boxes to start from: middle x and y, width, height, as shares of the picture.
            The others: see `GroundingDecoderLayer`.

        Returns:
            States, normalised, (layers, B, Q, D), and boxes (layers, B, Q, 4) in the same form.
        """
        states, boxes = [], []
        for layer in self.layers:
            query_pos = self.reference_points_head(self.codes(references))  # (B, Q, D)
            queries = layer(queries, query_pos, vision, vision_padding, vision_pos, text, text_padding)
            states.append(self.layer_norm(queries))
            boxes.append(moved_boxes(references, self.bbox_embed(states[-1])))
            references = boxes[-1].detach()
        return torch.stack(states), torch.stack(boxes)

    def codes(self, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) as waves (..., 2D): of y, x, width and height D / 2 each."""
        return self.position.waves(2 * math.pi * boxes[..., [1, 0, 2, 3]]).flatten(-2)


def still_box_head(d_model: int) -> MLP:
    """Three layers from D numbers to the four of a move, which at first is none: the last layer begins at zero."""
    head = MLP(d_model, d_model, 4, 3)
    for parameter in head.layers[-1].parameters():
        nn.init.zeros_(parameter)
    return head


def moved_boxes(boxes: Tensor, moves: Tensor) -> Tensor:
    """Boxes (..., 4), as shares 0..1, and by how much each number moves before the sigmoid -> boxes."""
    return (torch.special.logit(boxes, eps=1e-5) + moves).sigmoid()
