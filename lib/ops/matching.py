"""Which candidates (proposals or anchors) a detector learns from, and as what (lessons 07 and 08).

First every candidate is told which true box it stands for, if any; then a few are drawn, because nearly all of them
show background. Sources: Girshick 2015, "Fast R-CNN", section 2.3; Ren et al. 2015, "Faster R-CNN", section 3.1.2 (two
thresholds, the best anchor of each box) and section 3.1.3 (the sampling).
"""

import torch
from torch import Tensor

from lib.ops.checks import check_whole


class Matcher:
    """Gives every candidate the true box that it overlaps most, if it overlaps it enough.

    A candidate whose best overlap is at least `high_threshold` belongs to that true box. Below `low_threshold` it is
    background. In between it is too close to call, and nothing is learned from it.

    Args:
        high_threshold: IoU from which a candidate belongs to a true box.
        low_threshold: IoU below which it is background; at most `high_threshold`.
        allow_low_quality_matches: for each true box, the candidates that overlap it most of all are taken even if that
            is less than `high_threshold`: no true box is left without a candidate. They go to the true box that *they*
            overlap most, which in a crowd may be another one.

    Equal to torchvision's class of the same name, but for two things: without a true box all candidates are background
    (there, an error), and a true box that no candidate touches takes none (there, all that do not touch it).

    Raises:
        ValueError: the thresholds are out of order, or outside of 0..1.
    """

    BELOW_LOW_THRESHOLD = -1
    BETWEEN_THRESHOLDS = -2

    def __init__(self, high_threshold: float, low_threshold: float, allow_low_quality_matches: bool = False):
        if not 0 <= low_threshold <= high_threshold <= 1:
            raise ValueError(
                f"low_threshold is {low_threshold!r} and high_threshold {high_threshold!r}; expected "
                "0 <= low_threshold <= high_threshold <= 1"
            )
        self.high_threshold, self.low_threshold = high_threshold, low_threshold
        self.allow_low_quality_matches = allow_low_quality_matches

    def __call__(self, match_quality_matrix: Tensor) -> Tensor:
        """Match every candidate.

        Args:
            match_quality_matrix: (truths, candidates) IoU.

        Returns:
            (candidates,) int64: the number of a true box, or BELOW_LOW_THRESHOLD, or BETWEEN_THRESHOLDS.

        Raises:
            ValueError: the matrix has not two axes.
        """
        quality = match_quality_matrix
        if quality.ndim != 2:
            raise ValueError(f"match_quality_matrix is {tuple(quality.shape)}; expected (truths, candidates)")
        if 0 in quality.shape:
            return torch.full((quality.shape[1],), self.BELOW_LOW_THRESHOLD, device=quality.device)  # (candidates,)
        best, nearest = quality.max(dim=0)  # (candidates,) IoU, and of which truth
        matches = nearest.clone()  # (candidates,)
        matches[best < self.high_threshold] = self.BETWEEN_THRESHOLDS
        matches[best < self.low_threshold] = self.BELOW_LOW_THRESHOLD
        if self.allow_low_quality_matches:
            most = quality.max(dim=1, keepdim=True).values  # (truths, 1)
            rescued = ((quality == most) & (most > 0)).any(dim=0)  # (candidates,)
            matches[rescued] = nearest[rescued]
        return matches


class BalancedPositiveNegativeSampler:
    """Draws a fixed number of candidates from each picture, not too many of them positive.

    At most `positive_fraction` of the draw is positive. Background fills the rest: if there are few positives, there is
    more background, not a smaller draw. With the same state of the random generator the draw is torchvision's.

    Args:
        batch_size_per_image: how many to draw from one picture (fewer if there are fewer).
        positive_fraction: at most this share of `batch_size_per_image` is positive.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(self, batch_size_per_image: int, positive_fraction: float):
        check_whole("batch_size_per_image", batch_size_per_image, at_least=1)
        if not 0 <= positive_fraction <= 1:
            raise ValueError(f"positive_fraction is {positive_fraction!r}; expected a number from 0 to 1")
        self.batch_size_per_image, self.positive_fraction = batch_size_per_image, positive_fraction

    def __call__(self, matched_idxs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Draw from each picture, without putting back.

        Args:
            matched_idxs: for each picture (candidates,) numbers: 1 and above positive, 0 background, below 0 never
                drawn.

        Returns:
            Two lists of masks (candidates,) bool, one mask per picture: the positives drawn, the background drawn.
        """
        positives, negatives = [], []
        for labels in matched_idxs:
            if labels.ndim != 1:
                raise ValueError(f"matched_idxs holds {tuple(labels.shape)}; expected (candidates,) for each picture")
            positive, negative = torch.where(labels >= 1)[0], torch.where(labels == 0)[0]
            wanted = min(int(self.batch_size_per_image * self.positive_fraction), len(positive))
            positives.append(_drawn(positive, wanted, labels))
            negatives.append(_drawn(negative, self.batch_size_per_image - wanted, labels))
        return positives, negatives


def _drawn(places: Tensor, count: int, labels: Tensor) -> Tensor:
    """A mask like `labels` that is True at `count` of the places, drawn at random, or at all if there are fewer."""
    mask = torch.zeros_like(labels, dtype=torch.bool)  # (candidates,)
    mask[places[torch.randperm(len(places), device=places.device)[:count]]] = True
    return mask
