"""Average precision, the number by which detectors are compared, exactly as COCO counts it (lesson 05).

Detections are gone through by falling score, and each may claim one true object. Precision and recall along that list
make a curve; the area under it, read off at 101 points, is the average precision of one class at one IoU threshold.
COCO's AP is its mean over ten thresholds and all classes.

Sources: Everingham et al. 2010, "The PASCAL Visual Object Classes (VOC) Challenge", section 4.2; Lin et al. 2014,
"Microsoft COCO", and the evaluation code that its authors publish as pycocotools. What that code does is followed to
the letter, ties included; it marks what cannot be measured by -1, here it is nan, which no mean takes for a bad score.

Masks are judged by the same rules; only what "overlap" and "area" mean changes (lesson 12).
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lib.ops.checks import check_tensor

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0, 1, 101)
AREAS = {"": (0, 1e10), "_small": (0, 32**2), "_medium": (32**2, 96**2), "_large": (96**2, 1e10)}  # square pixels
MAX_DETECTIONS = (1, 10, 100)  # a picture and class


def average_precision(
    predictions: Sequence[dict[str, Tensor]], targets: Sequence[dict[str, Tensor]], iou_type: str = "bbox"
) -> dict:
    """The twelve numbers of the COCO evaluation for boxes or for masks, and the AP of each class.

    Of a picture and class the 100 detections with the highest scores count. At one threshold a detection claims, of
    the objects that are still free, the one that it overlaps most; if that is less than the threshold, it is a false
    alarm. Some objects are not asked for: crowds, and objects outside of the range of areas in question. A detection
    on one of them is neither right nor wrong, and a detection on nothing is not held against it if its own area is
    outside of the range. Crowds may be claimed any number of times, and the overlap with one is measured against the
    detection's area alone.

    Args:
        predictions: for each picture {"boxes": (N, 4) xyxy, "scores": (N,), "labels": (N,)}.
        targets: for each picture, in the same order, {"boxes": (M, 4) xyxy, "labels": (M,)}, and where known
            "area" (M,), in square pixels, of the object's mask (otherwise its box's), and "iscrowd" (M,).
        iou_type: what overlaps: "bbox", or "segm" for masks, which both need then: "masks" (N, H, W), bool or numbers
            of which more than 0.5 counts as yes. The area of a detection is that of its mask then.

    Returns:
        Floats 0..1 under "AP" (mean over the IoU thresholds 0.50, 0.55 .. 0.95), "AP50", "AP75"; "AP_small" (area up to
        32²), "AP_medium" (up to 96²), "AP_large"; the recall (mean over the thresholds) with 1, 10 and 100 detections
        a picture and class, "AR1", "AR10", "AR100"; "AR_small", "AR_medium", "AR_large"; and "AP_per_class",
        {label: AP}. A class without a true object does not count. nan where there is nothing to find.

    Raises:
        ValueError: the two differ in length, an entry is missing, its shape does not fit, a label is no whole number,
            or there is no such iou_type.
    """
    if iou_type not in ("bbox", "segm"):
        raise ValueError(f"iou_type is {iou_type!r}; expected 'bbox' or 'segm'")
    if len(predictions) != len(targets):
        raise ValueError(f"predictions has {len(predictions)} pictures; expected as many as targets, {len(targets)}")
    extra = ("masks",) if iou_type == "segm" else ()
    needed = ("boxes", "scores", "labels", *extra)
    found = [_numpy(f"predictions[{i}]", each, needed) for i, each in enumerate(predictions)]
    truth = [_numpy(f"targets[{i}]", each, ("boxes", "labels", *extra)) for i, each in enumerate(targets)]
    for i, (mine, real) in enumerate(zip(found, truth, strict=True)):
        if extra and mine["shapes"].shape[1:] != real["shapes"].shape[1:]:
            raise ValueError(f"predictions[{i}]['masks'] and targets[{i}]['masks'] are of pictures of different sizes")
    labels = np.unique(np.concatenate([each["labels"] for each in found + truth] or [np.empty(0)])).astype(int).tolist()

    shape = (len(labels), len(AREAS), len(IOU_THRESHOLDS))
    precision = np.full((*shape, len(RECALL_POINTS)), np.nan)  # (K, A, T, R)
    recall = np.full((*shape, len(MAX_DETECTIONS)), np.nan)  # (K, A, T, M)
    for k, label in enumerate(labels):
        pairs = [_match_picture(*pair, label) for pair in zip(found, truth, strict=True)]
        for a in range(len(AREAS)):
            precision[k, a], recall[k, a] = _curves(pairs, a)

    result = {"AP": _mean(precision[:, 0]), "AP50": _mean(precision[:, 0, 0]), "AP75": _mean(precision[:, 0, 5])}
    result |= {f"AP{name}": _mean(precision[:, a]) for a, name in enumerate(AREAS) if name}
    result |= {f"AR{most}": _mean(recall[:, 0, :, m]) for m, most in enumerate(MAX_DETECTIONS)}
    result |= {f"AR{name}": _mean(recall[:, a, :, -1]) for a, name in enumerate(AREAS) if name}
    return result | {"AP_per_class": {label: _mean(precision[k, 0]) for k, label in enumerate(labels)}}


def _match_picture(found: dict[str, np.ndarray], truth: dict[str, np.ndarray], label: int) -> dict[str, np.ndarray]:
    """Match the detections of one class in one picture: for every range of areas (A) and threshold (T) at once.

    Returns:
        "scores" (D,), falling; "right" and "wrong" (A, T, D), neither where a detection does not count; "objects" (A,),
        how many there are to find.
    """
    mine = found["labels"] == label
    order = np.argsort(-found["scores"][mine], kind="stable")[: MAX_DETECTIONS[-1]]
    shapes, scores = found["shapes"][mine][order], found["scores"][mine][order]  # (D, 4) or (D, H, W); (D,)
    mine = truth["labels"] == label
    real, area, crowd = truth["shapes"][mine], truth["area"][mine], truth["iscrowd"][mine]  # G of each

    ranges = np.array(list(AREAS.values()))[:, :, None]  # (A, 2, 1)
    outside = (_area(shapes) < ranges[:, 0]) | (_area(shapes) > ranges[:, 1])  # (A, D)
    not_asked = crowd | (area < ranges[:, 0]) | (area > ranges[:, 1])  # (A, G)
    claimed, of_no_count = _claim(_overlap(shapes, real, crowd), crowd, not_asked)  # two times (A, T, D)
    of_no_count |= ~claimed & outside[:, None]
    return {
        "scores": scores,
        "right": claimed & ~of_no_count,
        "wrong": ~claimed & ~of_no_count,
        "objects": (~not_asked).sum(1),
    }


def _claim(overlap: np.ndarray, crowd: np.ndarray, not_asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Let the detections, best first, claim objects.

    Args:
        overlap: (D, G). crowd: (G,) bool. not_asked: (A, G) bool, for each range of areas.

    Returns:
        Two times (A, T, D) bool: whether the detection has an object, and whether it is one that is not asked for.
    """
    detections, objects = overlap.shape
    shape = (len(not_asked), len(IOU_THRESHOLDS))  # (A, T)
    claimed, of_no_count = np.zeros((2, *shape, detections), dtype=bool)
    free = np.ones((*shape, objects), dtype=bool)
    asked = ~not_asked[:, None]  # (A, 1, G)
    for d in range(detections if objects else 0):
        fits = free & (overlap[d] >= IOU_THRESHOLDS[:, None])  # (A, T, G)
        first_choice = fits & asked
        fits = np.where(first_choice.any(-1, keepdims=True), first_choice, fits)
        last_best = np.where(fits, overlap[d], -1)[..., ::-1].argmax(-1)  # (A, T), counted from the end
        chosen = fits & (np.arange(objects) == objects - 1 - last_best[..., None])  # (A, T, G), at most one each
        claimed[..., d] = chosen.any(-1)
        of_no_count[..., d] = (chosen & ~asked).any(-1)
        free &= ~chosen | crowd
    return claimed, of_no_count


def _curves(pictures: list[dict[str, np.ndarray]], a: int) -> tuple[np.ndarray, np.ndarray]:
    """One class, one range of areas: precision (T, R) at the 101 recalls, and recall (T, M) by detections allowed."""
    objects = sum(picture["objects"][a] for picture in pictures)
    if not objects:
        rows = len(IOU_THRESHOLDS)
        return np.full((rows, len(RECALL_POINTS)), np.nan), np.full((rows, len(MAX_DETECTIONS)), np.nan)
    recall = [sum(picture["right"][a][:, :most].sum(1) for picture in pictures) / objects for most in MAX_DETECTIONS]

    order = np.argsort(-np.concatenate([picture["scores"] for picture in pictures]), kind="stable")
    right, wrong = (
        np.concatenate([picture[name][a] for picture in pictures], axis=1)[:, order].cumsum(1)
        for name in ("right", "wrong")
    )  # (T, all detections)
    precision = right / np.maximum(right + wrong, 1)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]  # the best from here on
    precision = np.pad(precision, ((0, 0), (0, 1)))  # 0 where recall is not reached
    places = [np.searchsorted(row, RECALL_POINTS) for row in right / objects]  # T times (R,)
    return np.take_along_axis(precision, np.stack(places), axis=1), np.stack(recall, axis=1)


def _overlap(shapes: np.ndarray, real: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """IoU (D, G) in float64, 0 for what has no area; with a crowd, the share of the detection that lies in it."""
    if shapes.ndim == 3:  # masks (D, H, W), ones and zeros: a product of matrices counts the shared pixels
        one, other = (masks.reshape(len(masks), math.prod(masks.shape[1:])) for masks in (shapes, real))
        shared = (one.astype(np.float32) @ other.T.astype(np.float32)).astype(np.float64)  # (D, G)
    else:
        sides = np.minimum(shapes[:, None, 2:], real[:, 2:]) - np.maximum(shapes[:, None, :2], real[:, :2])  # (D, G, 2)
        shared = np.where((sides > 0).all(-1), sides.prod(-1), 0.0)  # (D, G)
    union = np.where(crowd, _area(shapes)[:, None], _area(shapes)[:, None] + _area(real) - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def _area(shapes: np.ndarray) -> np.ndarray:
    """Square pixels (N,) of boxes (N, 4) or of masks (N, H, W)."""
    if shapes.ndim == 3:
        return shapes.sum((1, 2), dtype=np.float64)
    return (shapes[:, 2] - shapes[:, 0]) * (shapes[:, 3] - shapes[:, 1])


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _numpy(where: str, picture: dict[str, Tensor], needed: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The entries as checked numpy arrays; area and iscrowd are filled in where they are missing."""
    arrays = {}
    for name in needed + tuple(name for name in ("area", "iscrowd") if "scores" not in needed and name in picture):
        if name not in picture:
            raise ValueError(f"{where} has {', '.join(picture) or 'no entry'}; expected {', '.join(needed)}")
        check_tensor(f"{where}[{name!r}]", picture[name], "with an entry for each box")
        values = picture[name].detach().cpu()
        array = (values.float() if values.dtype == torch.bfloat16 else values).numpy()  # NumPy has no bfloat16
        expected = (len(picture["boxes"]), *{"boxes": (4,), "masks": array.shape[-2:]}.get(name, ()))
        if array.shape != expected:
            raise ValueError(
                f"{where}[{name!r}] is {array.shape}; expected {expected}, as there are {len(picture['boxes'])} boxes"
            )
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise ValueError(f"{where}[{name!r}] holds nan; expected numbers")
        if name == "labels" and (array.astype(np.int64) != array).any():
            raise ValueError(f"{where}['labels'] is {array.tolist()}; expected whole numbers")
        arrays[name] = array.astype(np.float64) if name == "scores" else array  # the minus of a uint8 is no minus
    arrays["shapes"] = arrays["masks"] > 0.5 if "masks" in needed else arrays["boxes"].astype(np.float64)
    if "scores" not in needed:
        arrays["area"] = arrays.get("area", _area(arrays["shapes"])).astype(np.float64)
        arrays["iscrowd"] = arrays.get("iscrowd", np.zeros(len(arrays["boxes"]))).astype(bool)
    return arrays
