"""What the losses of sets share: some queries were matched with truths, the others say nothing (lesson 14)."""

import torch
import torch.nn.functional as F
from torch import Tensor

Indices = list[tuple[Tensor, Tensor]]  # for each picture m pairs: queries (m,) in order, truths (m,)


def set_cross_entropy(logits: Tensor, labels: list[Tensor], indices: Indices, weight: Tensor) -> Tensor:
    """Cross-entropy of all queries: those with a truth should say its class, the others "nothing".

    Args:
        logits: (B, Q, K + 1), the last says "nothing".
        labels: of the truths of each picture, (n,) int64.
        indices: which query was matched with which truth.
        weight: (K + 1,), how much a query counts that should say this class.

    Source: Carion et al. 2020, "End-to-End Object Detection with Transformers" (DETR), equation 2, its first part.
    """
    wanted = torch.full(logits.shape[:2], logits.shape[2] - 1, device=logits.device)  # (B, Q)
    for row, true, (queries, truths) in zip(wanted, labels, indices, strict=True):
        row[queries] = true.to(row)[truths]
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), weight)


def weighted_losses(losses: dict[str, Tensor], weights: dict[str, float]) -> dict[str, Tensor]:
    """What is to become small: each loss that has a weight, times this weight; "loss_ce_0" has that of "loss_ce"."""
    return {
        name: weight * loss
        for name, loss in losses.items()
        for part, weight in weights.items()
        if name == part or name.startswith(f"{part}_")
    }
