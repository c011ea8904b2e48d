"""How queries of a detector that reads words are chosen: by the cells that fit some word best (lesson 19).

Source: Liu et al. 2023, "Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set Object Detection",
sections 3.2 and 3.5, algorithm 1.
"""

import math

import torch
from torch import Tensor, nn

PRIOR = 0.01  # the probability that an untaught model gives to each query and word, as in RetinaNet


class ContrastiveEmbedding(nn.Module):
    """How well queries or cells fit words: the inner product of each with each.

    Args:
        scaled: whether it is divided by √D and a learned number added. Grounding DINO has neither; a small model that
            begins from nothing needs them, as products of 96 numbers are far from 0 at first and nearly all answers
            are no (section 4.1 of Lin et al. 2017, "Focal Loss for Dense Object Detection"). So has its successor:
            Zhao et al. 2024, "An Open and Comprehensive Pipeline for Unified Object Grounding and Detection".
    """

    def __init__(self, scaled: bool = False):
        super().__init__()
        self.scaled = scaled
        if scaled:
            self.bias = nn.Parameter(torch.tensor(-math.log((1 - PRIOR) / PRIOR)))

    def forward(self, vision: Tensor, text: Tensor, words: Tensor) -> Tensor:
        """(..., B, N, D), (B, T, D), and (B, T) bool, True at words -> (..., B, N, T), -inf where there is no word."""
        logits = vision @ text.transpose(1, 2)  # (..., B, N, T)
        if self.scaled:
            logits = logits / vision.shape[-1] ** 0.5 + self.bias
        return logits.masked_fill(~words[:, None], float("-inf"))


def select_queries(logits: Tensor, num_queries: int, padding: Tensor | None = None) -> Tensor:
    """The cells that fit some word best (algorithm 1).

    Args:
        logits: (B, S, T), -inf where there is no word.
        padding: (B, S) bool, cells that are taken last. (In the authors' code they take part as all others do.)

    Returns:
        (B, num_queries) int64, places of cells, the best first.

    Raises:
        ValueError: there are not so many cells.
    """
    if num_queries > logits.shape[1]:
        raise ValueError(f"num_queries is {num_queries}; expected at most the {logits.shape[1]} cells of the map")
    best = logits.max(dim=2).values  # (B, S)
    if padding is not None:
        best = best.masked_fill(padding, float("-inf"))
    return best.topk(num_queries, dim=1).indices


def first_boxes(mask: Tensor, side: float) -> Tensor:
    """A square box around the middle of each cell: padding (B, h, w) bool -> (B, h·w, 4), shares of each picture."""
    batch, height, width = mask.shape
    rows, columns = (~mask[:, :, 0]).sum(1), (~mask[:, 0]).sum(1)  # (B,) each, of the picture without its padding
    y = (torch.arange(height, device=mask.device) + 0.5) / rows[:, None]  # (B, h)
    x = (torch.arange(width, device=mask.device) + 0.5) / columns[:, None]  # (B, w)
    middles = torch.stack([x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=-1)
    boxes = torch.cat([middles, torch.full_like(middles, side)], dim=-1)  # (B, h, w, 4)
    return boxes.flatten(1, 2)
