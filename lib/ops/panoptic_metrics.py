"""Panoptic quality: which segments were found, and how well they fit; for pictures, clips, clips with depth.

A predicted and a true segment of the same class are a pair if their IoU is above 1/2. Segments of one map share no
pixel, so no segment can be in two pairs, and nothing has to be chosen. Of a class, pairs are true positives (TP), true
segments left over false negatives (FN), predicted ones false positives (FP); then

    PQ = Σ IoU of the pairs / (TP + FP/2 + FN/2) = SQ · RQ,    SQ = Σ IoU / TP,    RQ = TP / (TP + FP/2 + FN/2).

A map holds numbers of segments, 0 = void; a list says what each number is (`lib.ops.panoptic.Panoptic`). Void in the
truth is what nobody labelled: it is taken out of predicted segments when IoU is measured. A crowd is a region of things
that nobody counted: no pair is made with it. A predicted segment without a partner that lies mostly (more than half) in
void and in crowds of its class is not held against the prediction.

Sources: Kirillov, He, Girshick, Rother & Dollár 2019, "Panoptic Segmentation", section 4, and its authors' code,
panopticapi (which knows one crowd of a class in a picture; here there may be several); Kim, Woo, Lee & Kweon 2020,
"Video Panoptic Segmentation"; Qiao, Zhu, Adam, Yuille & Chen 2021, "ViP-DeepLab". Lessons 15 and 16.
"""

import math
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lib.ops.depth import DEPTH_CAP, valid_depth
from lib.ops.panoptic import VOID, Panoptic

GROUPS = ("", "_things", "_stuff")  # of which classes a number is the mean


@dataclass
class _Count:
    """What was counted of one class."""

    iou: float = 0.0  # sum over the pairs
    tp: int = 0
    fp: int = 0
    fn: int = 0

    def quality(self) -> dict[str, float]:
        all_of_them = self.tp + self.fp / 2 + self.fn / 2
        if not all_of_them:
            scores = dict.fromkeys(("PQ", "SQ", "RQ"), math.nan)
        else:
            sq = self.iou / self.tp if self.tp else 0.0
            scores = {"PQ": self.iou / all_of_them, "SQ": sq, "RQ": self.tp / all_of_them}
        return scores | {"TP": self.tp, "FP": self.fp, "FN": self.fn}


def panoptic_quality(
    predictions: Sequence[Panoptic], truths: Sequence[Panoptic], things: Set[int], stuff: Set[int]
) -> dict[str, Any]:
    """PQ, SQ and RQ of pictures: of each class over all pictures, and their means over classes.

    Args:
        predictions: for each picture a map (H, W) of whole numbers, and its segments {"id", "label"}. A segment without
            a pixel does not count.
        truths: the same, in the same order; {"iscrowd": True} marks a crowd.
        things, stuff: all classes that there are. They are treated alike; only the means are taken apart.

    Returns:
        Floats 0..1 under "PQ", "SQ", "RQ", "PQ_things", ..., "RQ_stuff"; and "per_class", {class: {"PQ", "SQ", "RQ",
        "TP", "FP", "FN"}}. A class of which nothing was counted has nan and is in no mean; a mean of no class is nan.
        PQ is the product of SQ and RQ for a class, not for means.

    Raises:
        ValueError: the two differ in length or size, a number of a map has no segment or two, a label is no class, or a
            class is both thing and stuff.

    Source: Kirillov et al. 2019, sections 4.1 and 4.2.
    """
    _check_all(predictions, truths, things, stuff, axes=2)
    counts = {label: _Count() for label in sorted(things | stuff)}
    for predicted, true in zip(predictions, truths):
        _count(predicted, true, counts)
    return _summary(counts, things, stuff)


def video_panoptic_quality(
    predictions: Sequence[Panoptic],
    truths: Sequence[Panoptic],
    things: Set[int],
    stuff: Set[int],
    windows: Sequence[int] = (1, 2, 3, 4),
) -> dict[str, Any]:
    """VPQ of clips: panoptic quality of tubes. A thing that changes its number on the way has broken its tube.

    A window of k frames glides over each clip. All pixels that bear one number in the window are a tube, and tubes are
    paired and counted as segments are. VPQ is the mean over several k; with k = 1 it is PQ of the frames.

    Args:
        predictions: for each clip a map (T, H, W) of whole numbers, and the segments of the clip, {"id", "label"}: the
            same number in all frames is the same segment.
        truths: the same, in the same order.
        things, stuff: see `panoptic_quality`.
        windows: the lengths k of windows, in frames. A clip must be as long as the longest.

    Returns:
        Floats under "VPQ", "VPQ_things", "VPQ_stuff"; and "per_window", {k: as `panoptic_quality` gives}.

    Raises:
        ValueError: see `panoptic_quality`; or a window is less than 1 frame, longer than a clip, or there is none.

    Source: Kim et al. 2020, section 3, "evaluation metric", whose k counts the video's frames, of which every fifth is
    labelled: its k = 0, 5, 10, 15 are windows of 1, 2, 3 and 4 labelled frames.
    """
    _check_all(predictions, truths, things, stuff, axes=3)
    shortest = min((len(maps) for maps, _ in truths), default=max(windows, default=1))
    if not windows or not 1 <= min(windows) <= max(windows) <= shortest:
        raise ValueError(f"windows is {windows!r}; expected lengths of 1..{shortest} frames, as the shortest clip")
    per_window = {}
    for frames in windows:
        counts = {label: _Count() for label in sorted(things | stuff)}
        for (maps, segments), (true_maps, true_segments) in zip(predictions, truths):
            for start in range(len(maps) - frames + 1):
                seen = slice(start, start + frames)
                _count((maps[seen], segments), (true_maps[seen], true_segments), counts)
        per_window[frames] = _summary(counts, things, stuff)
    means = {f"VPQ{group}": _mean([each[f"PQ{group}"] for each in per_window.values()]) for group in GROUPS}
    return means | {"per_window": per_window}


def depth_aware_video_panoptic_quality(
    predictions: Sequence[Panoptic],
    truths: Sequence[Panoptic],
    depths: Sequence[Tensor],
    true_depths: Sequence[Tensor],
    things: Set[int],
    stuff: Set[int],
    windows: Sequence[int] = (1, 2, 3, 4),
    thresholds: Sequence[float] = (0.1, 0.25, 0.5),
    cap: float = DEPTH_CAP,
) -> dict[str, Any]:
    """DVPQ: VPQ in which a pixel whose depth is wrong is lost. It becomes void in the prediction.

    Wrong means: |depth - true depth| / true depth is above the threshold (or is not a number). Pixels whose true depth
    does not count (`valid_depth`) stay as they are. DVPQ is the mean over the thresholds.

    Args:
        predictions, truths, things, stuff, windows: see `video_panoptic_quality`.
        depths: for each clip (T, H, W) metres, predicted.
        true_depths: the same, true.
        thresholds: relative errors, 0.1 is a tenth.
        cap: metres, up to which depth is judged. The paper has none: infinity.

    Returns:
        Floats under "DVPQ", "DVPQ_things", "DVPQ_stuff"; and "per_threshold", {threshold: as `video_panoptic_quality`
        gives}.

    Raises:
        ValueError: see `video_panoptic_quality`; or depths do not fit the maps, a threshold is negative, or there is
            none.

    Source: Qiao et al. 2021, "evaluation metric for depth-aware video panoptic segmentation".
    """
    _check_all(predictions, truths, things, stuff, axes=3)
    _check_depths("depths", depths, predictions)
    _check_depths("true_depths", true_depths, predictions)
    if not thresholds or not min(thresholds) >= 0:
        raise ValueError(f"thresholds is {thresholds!r}; expected relative errors of at least 0")
    per_threshold = {}
    for threshold in thresholds:
        kept: list[Panoptic] = []
        for (maps, segments), depth, true in zip(predictions, depths, true_depths):
            right = (depth - true).abs() / true <= threshold  # (T, H, W)
            kept.append((maps.masked_fill(valid_depth(true, cap) & ~right, VOID), segments))
        per_threshold[threshold] = video_panoptic_quality(kept, truths, things, stuff, windows)
    means = {f"DVPQ{group}": _mean([each[f"VPQ{group}"] for each in per_threshold.values()]) for group in GROUPS}
    return means | {"per_threshold": per_threshold}


def shared_pixels(one: Tensor, other: Tensor) -> dict[tuple[int, int], int]:
    """How many pixels have a number in one map and a number in the other: {(number, number): pixels}, where not 0.

    Args:
        one, other: whole numbers of at least 0, of the same shape, with at least a pixel.
    """
    base = int(other.max()) + 1
    pairs, pixels = (one.long() * base + other.long()).unique(return_counts=True)
    return {(pair // base, pair % base): count for pair, count in zip(pairs.tolist(), pixels.tolist())}


def _count(predicted: Panoptic, true: Panoptic, counts: dict[int, _Count]) -> None:
    """Add what is right and wrong in one map (or window) to the counts of the classes."""
    shared = shared_pixels(true[0], predicted[0])
    true_area: Counter[int] = Counter()
    area: Counter[int] = Counter()
    for (real, mine), pixels in shared.items():
        true_area[real] += pixels
        area[mine] += pixels
    labels, true_labels = ({each["id"]: each["label"] for each in segments} for _, segments in (predicted, true))
    crowds = {each["id"] for each in true[1] if each.get("iscrowd")}
    paired, true_paired = set(), set()
    for (real, mine), pixels in shared.items():
        if VOID in (real, mine) or real in crowds or true_labels[real] != labels[mine]:
            continue
        union = true_area[real] + area[mine] - pixels - shared.get((VOID, mine), 0)
        if 2 * pixels > union:
            counts[labels[mine]].tp += 1
            counts[labels[mine]].iou += pixels / union
            paired.add(mine)
            true_paired.add(real)
    for real in true_area.keys() - true_paired - crowds - {VOID}:
        counts[true_labels[real]].fn += 1
    for mine in area.keys() - paired - {VOID}:
        of_its_class = {VOID} | {crowd for crowd in crowds if true_labels[crowd] == labels[mine]}
        if 2 * sum(shared.get((real, mine), 0) for real in of_its_class) <= area[mine]:
            counts[labels[mine]].fp += 1


def _summary(counts: dict[int, _Count], things: Set[int], stuff: Set[int]) -> dict[str, Any]:
    per_class = {label: count.quality() for label, count in counts.items()}
    result: dict[str, Any] = {}
    for group, classes in zip(GROUPS, (things | stuff, things, stuff)):
        for name in ("PQ", "SQ", "RQ"):
            result[name + group] = _mean([per_class[label][name] for label in sorted(classes)])
    return result | {"per_class": per_class}


def _mean(values: list[float]) -> float:
    """Of those that are numbers; nan if none is."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _check_all(
    predictions: Sequence[Panoptic], truths: Sequence[Panoptic], things: Set[int], stuff: Set[int], axes: int
) -> None:
    """Raise ValueError, naming the argument, unless all fits; maps have so many axes."""
    if things & stuff:
        raise ValueError(f"things and stuff share the classes {sorted(things & stuff)}; expected each in one of them")
    if len(predictions) != len(truths):
        raise ValueError(f"predictions has {len(predictions)} entries; expected as many as truths, {len(truths)}")
    for i, (predicted, true) in enumerate(zip(predictions, truths)):
        for name, each in ((f"truths[{i}]", true), (f"predictions[{i}]", predicted)):
            _check_panoptic(name, each, things | stuff, axes)
        if predicted[0].shape != true[0].shape:
            raise ValueError(f"predictions[{i}] is {tuple(predicted[0].shape)}; expected {tuple(true[0].shape)}")


def _check_panoptic(name: str, panoptic: Panoptic, classes: Set[int], axes: int) -> None:
    maps, segments = panoptic
    expected = "(H, W)" if axes == 2 else "(T, H, W)"
    if maps.ndim != axes or 0 in maps.shape or maps.is_floating_point():
        raise ValueError(f"{name} has a map {tuple(maps.shape)} {maps.dtype}; expected whole numbers {expected}")
    numbers = [segment["id"] for segment in segments]
    if len(set(numbers)) != len(numbers) or not all(number > VOID for number in numbers):
        raise ValueError(f"{name} has segments with the ids {numbers}; expected numbers above 0, each once")
    unknown = set(maps.unique().tolist()) - set(numbers) - {VOID}
    if unknown:
        raise ValueError(f"{name} has the numbers {sorted(unknown)} in its map; expected 0 or the id of a segment")
    for segment in segments:
        if segment["label"] not in classes:
            raise ValueError(f"{name} has a segment of class {segment['label']!r}; expected one of {sorted(classes)}")


def _check_depths(name: str, depths: Sequence[Tensor], predictions: Sequence[Panoptic]) -> None:
    shapes, expected = [tuple(depth.shape) for depth in depths], [tuple(maps.shape) for maps, _ in predictions]
    if shapes != expected:
        raise ValueError(f"{name} has the shapes {shapes}; expected {expected}, as the maps")
