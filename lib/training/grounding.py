"""How a detector that reads words is taught and asked, and how its answers become labels (lesson 19).

Sources: Liu et al. 2023, "Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set Object Detection"; Ren
et al. 2024, "Grounded SAM: Assembling Open-World Models for Diverse Visual Tasks", sections 3.2 and 3.3.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lib.datasets.toyworld.dataset import Sample
from lib.datasets.toyworld.pairs import draw_caption, names
from lib.models.grounding import GroundingDINO
from lib.ops.boxes import box_iou
from lib.ops.nms import nms
from lib.training.batches import mirror
from lib.training.data_engine import around


class Captioned(NamedTuple):
    """A batch: pictures, what is asked of each, and what is there."""

    images: Tensor  # (B, 3, H, W)
    captions: list[str]  # B
    targets: list[dict[str, Tensor]]  # B of {"boxes": (n, 4) xyxy pixels, "labels": (n,), places of phrases}


class CaptionBatches:
    """Draws scenes, and a new caption for each, for `fit`; half of the pictures are mirrored.

    Args:
        samples: the scenes. pictures: B. seed: of the drawing. absent: how many phrases of a caption fit nothing.

    Raises:
        ValueError: there is no scene, or no picture to draw.
    """

    def __init__(self, samples: Sequence[Sample], pictures: int = 8, seed: int = 0, absent: int = 3):
        if not samples or pictures < 1:
            raise ValueError(f"samples has {len(samples)} scenes and pictures is {pictures}; expected at least 1 each")
        self.samples, self.pictures, self.absent, self.random = samples, pictures, absent, random.Random(seed)

    def __call__(self) -> Captioned:
        images, captions, targets = [], [], []
        for sample in self.random.choices(self.samples, k=self.pictures):
            caption = draw_caption(sample.phrases, self.random, self.absent)
            image, target = sample.image, {"boxes": sample.boxes, "labels": caption.labels}
            if self.random.random() < 0.5:
                image, target = image.flip(-1), mirror(target, image.shape[2])
            images.append(image)
            captions.append(caption.text)
            targets.append(target)
        return Captioned(torch.stack(images), captions, targets)


@torch.no_grad()
def find_phrases(
    model: GroundingDINO, image: Tensor, phrases: Sequence[str], at_once: int = 8, threshold: float = 0.05
) -> dict[str, Tensor]:
    """Ask for phrases in a picture (3, H, W), so many in one caption.

    Returns:
        {"boxes": (n, 4) xyxy pixels, "scores": (n,), "labels": (n,) int64, places in `phrases`}.

    Raises:
        ValueError: there is no phrase, or none at once.
    """
    if not phrases or at_once < 1:
        raise ValueError(f"phrases has {len(phrases)} entries, at_once is {at_once}; expected at least 1 each")
    starts = range(0, len(phrases), at_once)
    captions = [" . ".join(phrases[start : start + at_once]) + " ." for start in starts]
    found = model.predict(image.expand(len(captions), -1, -1, -1), captions, threshold)
    for start, one in zip(starts, found, strict=True):
        one["labels"] = one["labels"] + start
    return {name: torch.cat([one[name] for one in found]) for name in ("boxes", "scores", "labels")}


def phrase_truth(sample: Sample, phrases: Sequence[str]) -> dict[str, Tensor]:
    """Which things of a scene the phrases name: {"boxes": (n, 4), "labels": (n,), "masks": (n, H, W)}; a thing may be
    there several times, or not at all."""
    pairs = [
        (place, number)
        for number, phrase in enumerate(phrases)
        for place, thing in enumerate(sample.phrases)
        if names(phrase, thing)
    ]
    places, labels = torch.tensor(pairs, dtype=torch.int64).view(-1, 2).T
    return {"boxes": sample.boxes[places], "labels": labels, "masks": sample.masks[places]}


def auto_label(
    boxes: Tensor, scores: Tensor, labels: Tensor, masks: Tensor, threshold: float, same: float, agree: float
) -> dict[str, Tensor]:
    """What a detector and SAM said of one picture, as labels from which another detector learns.

    The mask is a second opinion: where SAM sees nothing that fills the box, there is no label. Of boxes that overlap
    the best one stays, whatever its label: a thing is of one kind.

    Args:
        boxes: (N, 4) xyxy pixels. scores, labels: (N,). masks: (N, H, W) bool, a mask for each box.
        threshold: the least score. same: boxes with a larger IoU are the same thing.
        agree: the least IoU of a box with the box around its mask.

    Returns:
        {"boxes": (K, 4), as the detector gave them, "labels": (K,)}, the best score first.

    Raises:
        ValueError: the tensors are not of one length.
    """
    if not len(boxes) == len(scores) == len(labels) == len(masks):
        came = f"{len(boxes)} boxes, {len(scores)} scores, {len(labels)} labels and {len(masks)} masks"
        raise ValueError(f"boxes, scores, labels and masks are {came}; expected as many of each")
    sure = ((scores >= threshold) & masks.flatten(1).any(1)).nonzero()[:, 0]  # (S,)
    fits = box_iou(boxes[sure], around(masks[sure])).diagonal() >= agree  # (S,)
    sure = sure[fits]
    kept = sure[nms(boxes[sure], scores[sure], same)]  # (K,)
    return {"boxes": boxes[kept], "labels": labels[kept]}
