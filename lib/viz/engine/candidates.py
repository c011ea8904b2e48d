"""All masks that a grid of clicks gave, with what filters ask of them, measured once (lesson 18)."""

import torch
from torch import Tensor

from lib.ops.mask_filters import stability_score
from lib.ops.masks import mask_iou
from lib.training.data_engine import SAME
from lib.viz.engine.filters import FilterStage


class Candidates:
    """All masks that a grid of points gave for a picture, with what the filters ask of them, measured once.

    Masks without a pixel are left out; the others come with the highest guess first. Guesses below 0 count as 0.

    Args:
        image: (3, H, W) floats 0..1.
        logits: (M, H, W); a mask is where they are above 0.
        guesses: (M,) of their IoU.
        offset: of the stability, in logits.
        truths: (T, H, W) bool, what can be meant; None: it is not known which masks are good.

    Raises:
        ValueError: shapes do not fit.
    """

    def __init__(
        self, image: Tensor, logits: Tensor, guesses: Tensor, offset: float = 1.0, truths: Tensor | None = None
    ) -> None:
        size = image.shape[-2:]
        for name, masks in (("logits", logits), ("truths", truths)):
            if masks is not None and (masks.ndim != 3 or masks.shape[1:] != size):
                raise ValueError(f"{name} is {tuple(masks.shape)}; expected (M, {size[0]}, {size[1]}), as the picture")
        if guesses.shape != logits.shape[:1]:
            raise ValueError(f"guesses is {tuple(guesses.shape)}; expected ({len(logits)},), one for each mask")
        logits, guesses = logits.detach().cpu(), guesses.detach().cpu()
        order = guesses.argsort(descending=True, stable=True)
        order = order[(logits[order] > 0).flatten(1).any(1)]
        self.image, self.masks, self.guesses = image.detach().cpu(), logits[order] > 0, guesses[order].clamp(min=0)
        self.stability = stability_score(logits[order], 0.0, offset)  # (M,)
        self.overlap = mask_iou(self.masks, self.masks).numpy()  # (M, M)
        self.truths = None if truths is None else mask_iou(self.masks, truths.cpu())  # (M, T)

    def steps(self, guess: float, stability: float, overlap: float) -> list[Tensor]:
        """The places of the masks that are left, (M,), (K,), ...: all; of a high guess; stable; without duplicates."""
        sure = self.guesses >= guess
        kept = [torch.ones_like(sure), sure, sure & (self.stability >= stability)]
        places = [which.nonzero()[:, 0] for which in kept]
        return [*places, self.distinct(places[-1], overlap)]

    def distinct(self, places: Tensor, overlap: float) -> Tensor:
        """NMS among some masks, the best first: the overlaps are looked up, so that a slider is answered at once."""
        left, kept = places.numpy(), []
        while len(left):
            kept.append(int(left[0]))
            left = left[1:][self.overlap[left[0], left[1:]] <= overlap]
        return torch.tensor(kept, dtype=torch.int64)

    def stages(self, guess: float, stability: float, overlap: float) -> list[FilterStage]:
        """For each step how many masks are left. Without truths all of them count as `bad`."""
        names = ("all", f"guess ≥ {guess:.2f}", f"stability ≥ {stability:.2f}", f"NMS: IoU ≤ {overlap:.2f}")
        stages = []
        for name, places in zip(names, self.steps(guess, stability, overlap), strict=True):
            if self.truths is None:
                stages.append(FilterStage(name, 0, len(places)))
                continue
            good = self.truths[places] >= SAME  # (K, T)
            right = int(good.any(1).sum())
            found = good.any(0).float().mean().item() if good.shape[1] else None
            stages.append(FilterStage(name, right, len(places) - right, found))
        return stages
