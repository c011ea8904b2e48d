"""From queries, each with a class and a mask, to three kinds of answers (lesson 15).

Semantic: every pixel has a class. Instance: every thing has a mask, and masks may overlap. Panoptic: every pixel
belongs to at most one segment; countable things have a segment each, and all stuff (sky, ground) of one class has one.

Q queries say a class of K, or "nothing", which is number K; and a mask, one logit for each pixel. All functions are for
one picture. Sources: Cheng, Schwing & Kirillov 2021, "Per-Pixel Classification is Not All You Need for Semantic
Segmentation" (MaskFormer), section 3.4 and that paper's code; for instances the code of Cheng et al. 2022,
"Masked-attention Mask Transformer for Universal Image Segmentation".
"""

from collections.abc import Set
from numbers import Integral
from typing import NotRequired, TypedDict

import torch
from scipy.ndimage import label as label_patches
from torch import Tensor

VOID = 0  # the number of pixels that belong to no segment


class Segment(TypedDict):
    """What one number of a panoptic map stands for."""

    id: int  # the number, from 1
    label: int  # its class
    isthing: NotRequired[bool]
    query: NotRequired[int]  # in predictions: which query it came from; stuff, the first that did
    iscrowd: NotRequired[bool]  # in truths: a region of things of one class that nobody counted


Panoptic = tuple[Tensor, list[Segment]]  # (H, W) int64 numbers of segments, and what they stand for


def semantic_inference(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    """How much of each class is at each pixel: over the queries, the sum of class probability times mask probability.

    A query that says "nothing" adds little anywhere. The sums are no probabilities; the class is their argmax.

    Args:
        class_logits: (Q, K + 1), the last says "nothing".
        mask_logits: (Q, H, W).

    Returns:
        (K, H, W) floats, at least 0.

    Raises:
        ValueError: a shape does not fit.

    Source: MaskFormer, section 3.4, "semantic inference".
    """
    _check(class_logits, mask_logits)
    return torch.einsum("qk,qhw->khw", class_logits.softmax(dim=1)[:, :-1], mask_logits.sigmoid())


def instance_inference(
    class_logits: Tensor, mask_logits: Tensor, things: Set[int] | None = None, most: int = 100
) -> dict[str, Tensor]:
    """Masks with a class and a score, the best first.

    Of all pairs of query and class those with the highest class probabilities stay; so a query that hesitates between
    two classes may answer twice. The mask is where its probability is above 1/2; a query whose mask is empty does not
    answer. The score is the class probability times the mean mask probability inside the mask: sure of both.

    Args:
        class_logits: (Q, K + 1), the last says "nothing".
        mask_logits: (Q, H, W).
        things: the classes that can be counted, the only ones to be answered; None: all. Mask2Former's code first
            takes the best `most` and then drops the stuff among them.
        most: so many pairs at most.

    Returns:
        {"masks": (n, H, W) bool, "labels": (n,) int64, 0..K-1, "scores": (n,), 0..1}.

    Raises:
        ValueError: a shape does not fit, a thing is no class, or `most` is less than 1.
    """
    _check(class_logits, mask_logits)
    _check_things(things or set(), class_logits)
    if most < 1:
        raise ValueError(f"most is {most!r}; expected at least 1")
    classes = class_logits.shape[1] - 1 if things is None else len(things)
    names = torch.tensor(sorted(range(classes) if things is None else things), dtype=torch.int64).to(
        class_logits.device
    )
    probability = class_logits.softmax(dim=1)[:, names]  # (Q, classes)
    best, place = probability.flatten().topk(min(most, probability.numel()))  # (n,) each
    query, labels = place // max(classes, 1), names[place % max(classes, 1)]  # (n,) each
    masks = mask_logits > 0  # (Q, H, W), where the probability is above 1/2
    pixels = masks.sum((1, 2))  # (Q,)
    sure = (mask_logits.sigmoid() * masks).sum((1, 2)) / pixels.clamp(min=1)  # (Q,)
    scores = best * sure[query]  # (n,)
    order = scores.argsort(descending=True, stable=True)  # (n,)
    order = order[pixels[query[order]] > 0]
    return {"masks": masks[query[order]], "labels": labels[order], "scores": scores[order]}


def panoptic_inference(
    class_logits: Tensor,
    mask_logits: Tensor,
    things: Set[int],
    object_mask_threshold: float = 0.8,
    overlap_threshold: float = 0.8,
) -> Panoptic:
    """Share the pixels out among the queries that are sure of their class.

    Each pixel goes to the query with the largest product of class probability and mask probability. A query keeps what
    it won if that is at least a share `overlap_threshold` of its own mask (where its probability is at least 1/2);
    otherwise others cover most of it, and its pixels become void. Stuff of one class becomes one segment.

    Args:
        class_logits: (Q, K + 1), the last says "nothing".
        mask_logits: (Q, H, W).
        things: the classes that can be counted, of 0..K-1; the others are stuff.
        object_mask_threshold: a query takes part if its best class is not "nothing", with a probability above this.
        overlap_threshold: see above.

    Returns:
        (H, W) int64, for each pixel the number of its segment, 0 = void; and of each segment {"id", "label",
        "isthing", "query"}, with ids 1, 2, ... in the order of the queries.

    Raises:
        ValueError: a shape does not fit, a thing is no class, or a threshold is not in 0..1.

    Source: MaskFormer, section 3.4, "general inference".
    """
    _check(class_logits, mask_logits)
    _check_things(things, class_logits)
    named = {"object_mask_threshold": object_mask_threshold, "overlap_threshold": overlap_threshold}
    for name, value in named.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value!r}; expected a number from 0 to 1")
    score, label = class_logits.softmax(dim=1).max(dim=1)  # (Q,) each
    sure = (label < class_logits.shape[1] - 1) & (score > object_mask_threshold)  # (Q,)
    panoptic = torch.full_like(mask_logits[0], VOID, dtype=torch.int64)  # (H, W)
    segments: list[Segment] = []
    if not sure.any():
        return panoptic, segments
    masks = mask_logits[sure].sigmoid()  # (S, H, W)
    winner = (score[sure][:, None, None] * masks).argmax(dim=0)  # (H, W), 0..S-1
    number_of_stuff: dict[int, int] = {}  # class -> number of its segment
    queries = sure.nonzero()[:, 0].tolist()  # S of them
    for place, (query, kind) in enumerate(zip(queries, label[sure].tolist())):
        won = winner == place  # (H, W)
        own = int((masks[place] >= 0.5).sum())
        if not won.any() or not own or int(won.sum()) / own < overlap_threshold:
            continue
        number = number_of_stuff.get(kind, len(segments) + 1)
        panoptic[won] = number
        if kind in number_of_stuff:
            continue
        segments.append({"id": number, "label": kind, "isthing": kind in things, "query": query})
        if kind not in things:
            number_of_stuff[kind] = number
    return panoptic, segments


def panoptic_of_masks(masks: Tensor, labels: Tensor, things: Set[int]) -> Panoptic:
    """Masks that share no pixel -> a panoptic map: mask number i is segment i + 1, and what no mask covers is void.

    Args:
        masks: (n, H, W) bool.
        labels: (n,) int64.
        things: the classes that can be counted.

    Raises:
        ValueError: masks and labels do not fit, or a pixel is in two masks.
    """
    if masks.ndim != 3 or labels.shape != masks.shape[:1] or masks.dtype != torch.bool:
        came = f"{tuple(masks.shape)} {masks.dtype} with labels {tuple(labels.shape)}"
        raise ValueError(f"masks is {came}; expected (n, H, W) bool with labels (n,)")
    if (masks.sum(dim=0) > 1).any():
        raise ValueError("masks share pixels; expected each pixel in one of them at most")
    numbers = torch.arange(1, len(masks) + 1, device=masks.device)  # (n,)
    segments: list[Segment] = [
        {"id": number, "label": label, "isthing": label in things} for number, label in enumerate(labels.tolist(), 1)
    ]
    return (masks * numbers[:, None, None]).sum(dim=0), segments


def panoptic_of_classes(classes: Tensor, things: Set[int], least: int = 1) -> Panoptic:
    """A class for each pixel -> a panoptic map: connected pixels of one class are taken for one thing.

    It is the best that can be done with classes alone, and two things of a class that touch become one. Pixels are
    connected along their sides. Stuff of one class is one segment.

    Args:
        classes: (H, W) whole numbers.
        things: the classes that can be counted.
        least: pixels. A smaller patch of a thing's class becomes void.
    """
    panoptic = torch.full_like(classes, VOID, dtype=torch.int64)  # (H, W)
    segments: list[Segment] = []
    for kind in classes.unique().tolist():
        patches = (classes == kind).to(torch.int64)  # (H, W), 1 where it is
        if kind in things:
            patches = torch.from_numpy(label_patches(patches.cpu().numpy())[0]).to(panoptic)  # (H, W), 1, 2 ...
        for patch in range(1, int(patches.max()) + 1):
            if kind in things and (patches == patch).sum() < least:
                continue
            segments.append({"id": len(segments) + 1, "label": kind, "isthing": kind in things})
            panoptic[patches == patch] = len(segments)
    return panoptic, segments


def _check(class_logits: Tensor, mask_logits: Tensor) -> None:
    if class_logits.ndim != 2 or class_logits.shape[0] < 1 or class_logits.shape[1] < 2:
        raise ValueError(f"class_logits is {tuple(class_logits.shape)}; expected (Q, K + 1) with Q and K at least 1")
    if mask_logits.ndim != 3 or len(mask_logits) != len(class_logits) or 0 in mask_logits.shape:
        raise ValueError(f"mask_logits is {tuple(mask_logits.shape)}; expected ({len(class_logits)}, H, W)")


def _check_things(things: Set[int], class_logits: Tensor) -> None:
    last = class_logits.shape[1] - 2
    if not all(isinstance(thing, Integral) and 0 <= thing <= last for thing in things):
        raise ValueError(f"things is {things!r}; expected a set of classes of 0..{last}")
