"""SAM's data engine: the model helps an annotator, learns from the masks, and helps better (lesson 18).

An annotator is simulated: one who knows all that can be meant in a scene, and whose time is counted. There are three
stages. Assisted-manual: the annotator clicks, the model draws. Semi-automatic: a detector finds what is confident, the
annotator adds the rest. Fully automatic: a grid of clicks asks for everything, and nobody looks.
Source: Kirillov et al. 2023, "Segment Anything", section 4. What a click or a brush costs is ours.
"""

from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

from lib.datasets.toyworld.dataset import Sample
from lib.datasets.toyworld.levels import LEVELS, nested_masks
from lib.models.faster_rcnn import FasterRCNN, faster_rcnn_small
from lib.models.sam import Sam
from lib.ops.masks import mask_iou, masks_to_boxes
from lib.training.batches import Batches
from lib.training.fit import fit
from lib.training.prompting import answers_by_clicks

SAME = 0.7  # IoU from which on two masks count as one


class Annotator(NamedTuple):
    """How exact and how patient somebody is, and what the work costs; all times in seconds."""

    accept: float = 0.75  # IoU from which on a mask is good enough
    clicks: int = 5  # at most; then the mask is drawn by hand
    hope: float = 0.4  # IoU; who has less after two clicks makes no third
    per_picture: float = 120.0  # the mask that was begun is finished
    patience: float = 60.0  # a mask that takes longer by hand is given up
    look: float = 3.0  # to choose what is next, and to look at the mask at the end
    click: float = 1.5
    trace: float = 0.5  # one pixel of an outline, drawn by hand

    def by_hand(self, mask: Tensor) -> float:
        """How long a mask (H, W) takes without a model."""
        return self.look + self.trace * outline(mask)


class Annotated(NamedTuple):
    """What somebody has done in one picture: A masks were tried, M of them drawn."""

    masks: Tensor  # (M, H, W) bool
    drawn: Tensor  # (A,) bool, False where it was given up
    seconds: Tensor  # (A,), how long each took, those given up too
    clicks: Tensor  # (A,), how many


@torch.no_grad()
def draw_mask(model: Sam, embedding: Tensor, true: Tensor, annotator: Annotator) -> tuple[Tensor | None, float, int]:
    """One mask, clicked until it is good enough; if it never is, it is drawn by hand after all, or given up.

    Args:
        embedding: (1, D, h, w) of the picture. true: (H, W) bool, what is wanted.

    Returns:
        The mask (H, W) bool, or None if it is given up; seconds and clicks.
    """
    clicks = 0
    for logits in islice(answers_by_clicks(model, embedding, true[None]), annotator.clicks):
        said, clicks = logits[0] > 0, clicks + 1
        iou = mask_iou(said[None], true[None])
        if iou >= annotator.accept:
            return said, annotator.look + clicks * annotator.click, clicks
        if clicks >= 2 and iou < annotator.hope:
            break
    in_vain, by_hand = clicks * annotator.click, annotator.by_hand(true)
    if by_hand > annotator.patience:
        return None, annotator.look + in_vain, clicks
    return true, in_vain + by_hand, clicks


def annotate(model: Sam, image: Tensor, wanted: Tensor, given: Tensor, annotator: Annotator) -> Annotated:
    """A picture, until the time is over: the largest mask first, and none that is there already.

    Args:
        image: (3, H, W), as large as the model's encoder sees. wanted: (M, H, W) bool, all that can be meant.
        given: (G, H, W) bool, masks that are there.

    Raises:
        ValueError: masks and picture differ in size.
    """
    for name, masks in (("wanted", wanted), ("given", given)):
        if masks.ndim != 3 or masks.shape[1:] != image.shape[1:]:
            raise ValueError(f"{name} is {tuple(masks.shape)}; expected (M, {image.shape[1]}, {image.shape[2]})")
    missing = wanted[~covered(wanted, given)]
    embedding = model.encode(image[None])
    kept, drawn, times, counts = [], [], [], []
    for place in missing.flatten(1).sum(1).argsort(descending=True).tolist():
        mask, seconds, clicks = draw_mask(model, embedding, missing[place], annotator)
        if mask is not None:
            kept.append(mask)
        drawn.append(mask is not None)
        times.append(seconds)
        counts.append(clicks)
        if sum(times) >= annotator.per_picture:
            break
    return Annotated(
        torch.stack(kept) if kept else wanted[:0],
        torch.tensor(drawn, dtype=torch.bool),
        torch.tensor(times),
        torch.tensor(counts, dtype=torch.int64),
    )


def outline(mask: Tensor) -> int:
    """How long the outline of a mask (H, W) is, in sides of pixels; the picture's border need not be drawn."""
    return int((mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum())


def covered(wanted: Tensor, given: Tensor) -> Tensor:
    """Which of the masks wanted (M, H, W) are the same as one of those given (G, H, W): (M,) bool."""
    return (mask_iou(wanted, given) >= SAME).any(1)


def object_detector(images: Tensor, masks: Sequence[Tensor], steps: int, seed: int = 0) -> FasterRCNN:
    """Lesson 08's Faster R-CNN with one class, "object", taught the boxes of all masks.

    Args:
        images: (N, 3, H, W) uint8. masks: of each (M, H, W) bool.
    """
    torch.manual_seed(seed)
    detector = faster_rcnn_small(num_classes=2, pool=partial(roi_align, sampling_ratio=2, aligned=True))
    targets = [{"boxes": around(one), "labels": torch.ones(len(one), dtype=torch.int64)} for one in masks]
    batches = Batches(images, targets, batch_size=8, shuffle=True, flip=True, seed=seed)
    fit(
        detector,
        batches,
        lambda _, batch: detector.loss(*batch),
        steps=steps,
        seed=seed,
        learning_rate=4e-3,
        show=False,
    )
    return detector


def around(masks: Tensor) -> Tensor:
    """Boxes (M, 4) xyxy pixels around masks (M, H, W), their last pixel inside."""
    return masks_to_boxes(masks) + masks.new_tensor([0, 0, 1, 1], dtype=torch.float32)


@torch.no_grad()
def masks_in_boxes(model: Sam, image: Tensor, boxes: Tensor) -> Tensor:
    """A picture (3, H, W), as large as the encoder sees, and boxes (N, 4) xyxy pixels as prompts: (N, H, W) bool."""
    if not len(boxes):
        return torch.zeros(0, *image.shape[1:], dtype=torch.bool, device=image.device)
    logits = model(model.encode(image[None]), boxes=boxes).single().masks  # (N, 1, 4h, 4w)
    return F.interpolate(logits, image.shape[1:], mode="bilinear", align_corners=False)[:, 0] > 0


@torch.no_grad()
def confident_masks(model: Sam, detector: FasterRCNN, image: Tensor, threshold: float = 0.7) -> Tensor:
    """What a detector finds in a picture (3, H, W), each box a prompt: (M, H, W) bool, none of them empty."""
    found = detector(image[None])[0]
    masks = masks_in_boxes(model, image, found["boxes"][found["scores"] >= threshold])
    return masks[masks.flatten(1).any(1)]


def judged(masks: Tensor, sample: Sample) -> dict[str, Tensor]:
    """What masks (M, H, W) of a scene are worth, by the truth.

    Returns:
        {"iou": (M,) with the truth that each is closest to, "level": (M,) of that truth, a place in LEVELS,
        "found": (T,) bool, which of all T truths are covered, "found level": (T,)}.
    """
    nested = nested_masks(sample)
    iou, place = mask_iou(masks, nested.masks).max(1)  # (M,) each
    return {
        "iou": iou,
        "level": nested.levels[place],
        "found": covered(nested.masks, masks),
        "found level": nested.levels,
    }


def summary(judgements: Sequence[dict[str, Tensor]]) -> dict:
    """Of many pictures: how many masks, their mean IoU with the closest truth, the share that is good (as good as the
    same), and which share of the truths has a mask. What there is none of is None."""
    iou, found, level = (torch.cat([one[name] for one in judgements]) for name in ("iou", "found", "found level"))
    return {
        "pictures": len(judgements),
        "masks": len(iou),
        "IoU": round(iou.mean().item(), 4) if len(iou) else None,
        "good": _share(iou >= SAME),
        "found": _share(found),
        **{f"found, {name}": _share(found[level == place]) for place, name in enumerate(LEVELS)},
    }


def _share(which: Tensor) -> float | None:
    return round(which.float().mean().item(), 4) if len(which) else None
