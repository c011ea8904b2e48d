"""A box told by where it lies relative to another one: the four numbers that a detector learns (lesson 06 on).

Boxes are xyxy pixels, a pixel being [x, x + 1]. A *proposal* (or an anchor) is where we look; a *reference* box is
where the thing is. A shift counts in widths and heights of the proposal, a change of size as a logarithm, so that the
same four numbers mean the same on small and on large things. Sources: Girshick et al. 2014, "Rich feature hierarchies
for accurate object detection and semantic segmentation", appendix C; the weights: Girshick 2015, "Fast R-CNN", section
2.3 (targets made about as wide as 1); the limit of the size: Ren et al. 2015, "Faster R-CNN", its published code.
"""

import math

import torch
from torch import Tensor

from lib.ops.boxes import check_boxes


class BoxCoder:
    """Turns pairs of boxes into four numbers (tx, ty, tw, th), and back.

        tx = wx · (x - px) / pw      ty = wy · (y - py) / ph      tw = ww · log(w / pw)      th = wh · log(h / ph)

    with x, y the middle, w, h the size of the reference box and px, py, pw, ph those of the proposal. Equal to
    torchvision's class of the same name.

    Args:
        weights: (wx, wy, ww, wh), so that numbers which are small by nature count as much in the loss as others.
        bbox_xform_clip: at most this is believed of tw / ww and th / wh when decoding, so that no box is infinite.

    Raises:
        ValueError: not four weights above 0, or a limit that is not above 0.
    """

    def __init__(
        self,
        weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
        bbox_xform_clip: float = math.log(1000 / 16),
    ):
        if len(weights) != 4 or min(weights) <= 0:
            raise ValueError(f"weights is {weights!r}; expected four numbers above 0")
        if not bbox_xform_clip > 0:
            raise ValueError(f"bbox_xform_clip is {bbox_xform_clip!r}; expected a number above 0")
        self.weights = tuple(weights)
        self.bbox_xform_clip = bbox_xform_clip

    def encode(self, reference_boxes: list[Tensor], proposals: list[Tensor]) -> tuple[Tensor, ...]:
        """`encode_single` for the boxes (N_i, 4) of several pictures: a tuple of (N_i, 4)."""
        counts = [len(boxes) for boxes in reference_boxes]
        if counts != [len(boxes) for boxes in proposals] or not counts:
            raise ValueError(
                f"reference_boxes has {counts} boxes a picture and proposals "
                f"{[len(boxes) for boxes in proposals]}; expected as many, of at least one picture"
            )
        return self.encode_single(torch.cat(reference_boxes), torch.cat(proposals)).split(counts)

    def encode_single(self, reference_boxes: Tensor, proposals: Tensor) -> Tensor:
        """The four numbers that lead from each proposal to its reference box.

        Args:
            reference_boxes, proposals: (N, 4) xyxy each, row by row a pair.

        Returns:
            (N, 4): tx, ty, tw, th. Infinite or nan where a proposal has no width or height.
        """
        check_boxes("reference_boxes", reference_boxes)
        check_boxes("proposals", proposals)
        if len(reference_boxes) != len(proposals):
            raise ValueError(
                f"proposals has {len(proposals)} boxes; expected one for each of the "
                f"{len(reference_boxes)} reference boxes"
            )
        x, y, w, h = _middle_and_size(reference_boxes)  # (N,) each
        px, py, pw, ph = _middle_and_size(proposals)  # (N,) each
        wx, wy, ww, wh = self.weights
        return torch.stack(
            [wx * (x - px) / pw, wy * (y - py) / ph, ww * torch.log(w / pw), wh * torch.log(h / ph)], dim=1
        )  # (N, 4)

    def decode(self, rel_codes: Tensor, boxes: list[Tensor]) -> Tensor:
        """`decode_single` for the proposals (N_i, 4) of several pictures: (N, 4 · K) -> (N, K, 4), N = sum of N_i."""
        if not boxes:
            raise ValueError("boxes is empty; expected proposals (N, 4) for at least one picture")
        return self.decode_single(rel_codes, torch.cat(boxes)).unflatten(1, (-1, 4))  # (N, K, 4)

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """The boxes to which the numbers lead from each proposal.

        Args:
            rel_codes: (N, 4 · K): four numbers for each of K classes; K is 1 where all classes share them.
            boxes: (N, 4) xyxy, the proposals.

        Returns:
            (N, 4 · K) xyxy.
        """
        check_boxes("boxes", boxes)
        if rel_codes.ndim != 2 or len(rel_codes) != len(boxes) or rel_codes.shape[1] % 4 or not rel_codes.shape[1]:
            raise ValueError(f"rel_codes is {tuple(rel_codes.shape)}; expected ({len(boxes)}, 4 · K)")
        px, py, pw, ph = (value[:, None] for value in _middle_and_size(boxes.to(rel_codes.dtype)))  # (N, 1) each
        wx, wy, ww, wh = self.weights
        tx, ty, tw, th = rel_codes.unflatten(1, (-1, 4)).unbind(dim=2)  # (N, K) each
        x, y = px + tx / wx * pw, py + ty / wy * ph
        w = pw * torch.exp((tw / ww).clamp(max=self.bbox_xform_clip))
        h = ph * torch.exp((th / wh).clamp(max=self.bbox_xform_clip))
        return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=2).flatten(1)  # (N, 4 · K)


def _middle_and_size(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """xyxy (N, 4) as middle and size: x, y, w, h, (N,) each."""
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    w, h = x2 - x1, y2 - y1
    return x1 + w / 2, y1 + h / 2, w, h
