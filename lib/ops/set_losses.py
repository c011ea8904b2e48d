"""What the losses of sets share: some queries were matched with truths, the others say nothing (lesson 14)."""

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lib.ops.boxes import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh_normalized, generalized_box_iou

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


def cheapest_pairs(cost: Tensor) -> tuple[Tensor, Tensor]:
    """The min(Q, n) pairs that cost least together, each query and truth once.

    Args:
        cost: (Q, n), of giving a truth to a query; numbers, none infinite.

    Returns:
        Queries (m,) int64, in order, and the truths (m,) that they are to answer for.

    Source: DETR, equation 1; the algorithm is the Hungarian one.
    """
    queries, truths = linear_sum_assignment(cost.detach().cpu().numpy())
    return torch.as_tensor(queries, device=cost.device), torch.as_tensor(truths, device=cost.device)


def set_box_losses(
    pred_boxes: Tensor, boxes: list[Tensor], sizes: list[tuple[int, int]], indices: Indices
) -> dict[str, Tensor]:
    """How far the matched queries' boxes are off, as four distances and as 1 - GIoU, for each true box.

    Args:
        pred_boxes: (B, Q, 4) middle x and y, width, height, as shares of each picture.
        boxes: of the truths of each picture, (n, 4) xyxy pixels.
        sizes: (height, width) of each picture.
        indices: which query was matched with which truth.

    Returns:
        {"loss_bbox", "loss_giou"}.

    Source: DETR, equation 2, its second part, and appendix A.2.
    """
    said = torch.cat([one[queries] for one, (queries, _) in zip(pred_boxes, indices, strict=True)])  # (M, 4)
    wanted = [
        box_xyxy_to_cxcywh_normalized(true.to(said)[truths], size)
        for true, size, (_, truths) in zip(boxes, sizes, indices, strict=True)
    ]
    true_boxes, num_boxes = torch.cat(wanted), max(sum(map(len, boxes)), 1)  # (M, 4)
    overlap = torch.diag(generalized_box_iou(box_cxcywh_to_xyxy(said), box_cxcywh_to_xyxy(true_boxes)))  # (M,)
    distance = F.l1_loss(said, true_boxes, reduction="sum")
    return {"loss_bbox": distance / num_boxes, "loss_giou": (1 - overlap).sum() / num_boxes}


def weighted_losses(losses: dict[str, Tensor], weights: dict[str, float]) -> dict[str, Tensor]:
    """What is to become small: each loss that has a weight, times this weight; "loss_ce_0" has that of "loss_ce"."""
    return {
        name: weight * loss
        for name, loss in losses.items()
        for part, weight in weights.items()
        if name == part or name.startswith(f"{part}_")
    }
