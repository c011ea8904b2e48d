"""How well predictions fit the truth. Segmentation: by pixels, by regions and by boundaries (lessons 03 and 04).

Detection has a file of its own, `detection_metrics.py`.

Class maps hold whole numbers 0..K-1. Pixels whose truth is `ignore_index` are left out of everything.
Sources: Everingham et al. 2010, "The PASCAL Visual Object Classes (VOC) Challenge" (the ignored border); Long,
Shelhamer & Darrell 2015, "Fully Convolutional Networks for Semantic Segmentation", section 5, "Metrics"; Csurka, Larlus
& Perronnin 2013, "What is a good evaluation measure for semantic segmentation?", for boundaries.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.ops.checks import check_tensor, check_whole

__all__ = ["boundary_f_score", "confusion_matrix", "iou_per_class", "mean_iou", "pixel_accuracy"]


def confusion_matrix(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """How many pixels of each true class were taken for each class.

    Args:
        predicted, target: (H, W) or (B, H, W) class numbers, whole numbers of any type. What is predicted at an ignored
            pixel does not matter.

    Returns:
        (K, K) int64: row = true class, column = predicted class. Matrices of several batches may be added.

    Raises:
        ValueError: shapes differ, a number is no whole number, or a counted one is not in 0..K-1.
    """
    _check_maps(predicted, target, num_classes)
    counted = target != ignore_index
    truth, guess = target[counted].long(), predicted[counted].long()  # (counted pixels,)
    for name, values in (("target", truth), ("predicted", guess)):
        if len(values) and not 0 <= values.min() <= values.max() < num_classes:
            raise ValueError(
                f"{name} holds {values.min().item()}..{values.max().item()}; expected classes "
                f"0..{num_classes - 1}" + (f", or {ignore_index} to ignore" if name == "target" else "")
            )
    pairs = torch.bincount(truth * num_classes + guess, minlength=num_classes**2)  # (K·K,)
    return pairs.view(num_classes, num_classes)  # (K, K)


def pixel_accuracy(matrix: Tensor) -> float:
    """The share of pixels that are right; nan if none was counted."""
    _check_matrix(matrix)
    total = matrix.sum().item()
    return matrix.diagonal().sum().item() / total if total else math.nan


def iou_per_class(matrix: Tensor) -> Tensor:
    """Intersection over union of each class: right / (true + predicted - right).

    Returns:
        (K,) float64 on the CPU; nan for a class that is neither in the truth nor predicted.
    """
    _check_matrix(matrix)
    matrix = matrix.cpu().double()  # Apple's GPU has no float64
    right = matrix.diagonal()  # (K,)
    return right / (matrix.sum(0) + matrix.sum(1) - right)  # 0 / 0 is nan


def mean_iou(matrix: Tensor) -> float:
    """The mean of `iou_per_class` over the classes that are in the truth or were predicted; nan if there are none."""
    return iou_per_class(matrix).nanmean().item()


def boundary_f_score(
    predicted: Tensor, target: Tensor, num_classes: int, tolerance: float = 1.0, ignore_index: int = 255
) -> Tensor:
    """How well the outline of each class is hit: the harmonic mean of precision and recall of boundary pixels.

    A boundary pixel of a class is a pixel of it that touches a pixel of another class on one of four sides. The edge
    of the picture and ignored pixels make no boundary. Precision: the share of predicted boundary pixels that have
    a true one within the tolerance; recall: the share of true ones that have a predicted one.

    Args:
        predicted, target: (H, W) or (B, H, W) class numbers.
        tolerance: in pixels, straight-line distance; 0 asks for the very pixel.

    Returns:
        (K,) or (B, K) floats 0..1, each picture and class by itself. Where only one of the two has a boundary the score
        is 0; where neither has, it is nan.

    Raises:
        ValueError: shapes differ, a number is no whole number, or `tolerance` is negative.

    Source: Csurka et al. 2013, section 3 ("BF"); the way of matching as in Perazzi et al. 2016, "A Benchmark Dataset
    and Evaluation Methodology for Video Object Segmentation", section 4.
    """
    _check_maps(predicted, target, num_classes)
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance is {tolerance!r}; expected pixels, 0 or more")
    if target.ndim == 2:
        return boundary_f_score(predicted[None], target[None], num_classes, tolerance, ignore_index)[0]
    counted = target != ignore_index  # (B, H, W)
    lines = [_boundaries(classes, counted, num_classes) for classes in (predicted, target)]  # 2 × (B, K, H, W)
    near = [_within(line, tolerance) for line in lines]
    found, real = (
        (line & other).sum((2, 3)) / line.sum((2, 3))  # (B, K): precision, recall
        for line, other in zip(lines, reversed(near))
    )
    score = 2 * found * real / (found + real)
    one_sided = found.isnan() ^ real.isnan()
    return score.masked_fill(one_sided | (found + real == 0), 0.0)


def _boundaries(classes: Tensor, counted: Tensor, num_classes: int) -> Tensor:
    """Where the boundary of each class runs: (B, H, W) -> (B, K, H, W) bool."""
    edge = torch.zeros_like(counted)  # (B, H, W)
    across = (classes[:, :, 1:] != classes[:, :, :-1]) & counted[:, :, 1:] & counted[:, :, :-1]  # (B, H, W-1)
    down = (classes[:, 1:] != classes[:, :-1]) & counted[:, 1:] & counted[:, :-1]  # (B, H-1, W)
    edge[:, :, 1:] |= across
    edge[:, :, :-1] |= across
    edge[:, 1:] |= down
    edge[:, :-1] |= down
    numbers = torch.arange(num_classes, device=classes.device).view(1, -1, 1, 1)  # (1, K, 1, 1)
    return (classes[:, None] == numbers) & edge[:, None]  # (B, K, H, W)


def _within(line: Tensor, tolerance: float) -> Tensor:
    """All pixels at most `tolerance` away from a pixel of `line` (B, K, H, W): it is drawn with a round brush."""
    height, width = line.shape[2:]
    reach = min(math.floor(tolerance), max(height, width))
    padded = F.pad(line, (reach,) * 4)  # reach more on each side
    touched = torch.zeros_like(line)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            if down**2 + right**2 <= tolerance**2:
                touched |= padded[:, :, reach + down :, reach + right :][:, :, :height, :width]
    return touched  # (B, K, H, W)


def _check_maps(predicted: Tensor, target: Tensor, num_classes: int) -> None:
    check_whole("num_classes", num_classes, at_least=1)
    for name, classes in (("predicted", predicted), ("target", target)):
        check_tensor(name, classes, "(H, W) or (B, H, W)")
        if classes.is_floating_point() or classes.is_complex():
            raise ValueError(f"{name} is {classes.dtype}; expected class numbers (of scores, take argmax over classes)")
    if target.ndim not in (2, 3):
        raise ValueError(f"target is {tuple(target.shape)}; expected (H, W) or (B, H, W)")
    if predicted.shape != target.shape:
        raise ValueError(f"predicted is {tuple(predicted.shape)}; expected the target's shape {tuple(target.shape)}")


def _check_matrix(matrix: Tensor) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"matrix is {tuple(matrix.shape)}; expected a confusion matrix (K, K)")
