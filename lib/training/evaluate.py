"""How good a model is: one evaluation for segmentation and one for detection, which all lessons use."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lib.ops.detection_metrics import average_precision
from lib.ops.segmentation_metrics import (
    boundary_f_score,
    confusion_matrix,
    iou_per_class,
    mean_iou,
    pixel_accuracy,
)
from lib.training.descent import moved
from lib.training.modes import in_eval_mode

Pictures = Tensor | Sequence[Tensor]  # (B, C, H, W), or B of (C, H, W) of different sizes


@torch.no_grad()
def evaluate_segmentation(
    model: nn.Module,
    batches: Iterable[tuple[Pictures, Pictures]],
    num_classes: int,
    device: torch.device | str | None = None,
    ignore_index: int = 255,
    boundary: bool = True,
) -> dict:
    """Compare what a model says about every pixel with the truth.

    One confusion matrix is filled with the pixels of all pictures, and the scores are read from it. The boundary score
    is taken for each picture and class, averaged over the pictures in which the class has a boundary, and then over
    the classes.

    Args:
        model: (B, C, H, W) pictures in, (B, num_classes, H, W) scores out; or, as torchvision's models do,
            a dict with them under "out". It and its parts come back in the mode (train or eval) in which they came.
        batches: of (pictures, targets (B, H, W)); `Batches`, a list or a DataLoader. Pictures of different sizes come
            as a list of (C, H, W), with a list of targets (H, W): the model is then asked about one at a time.
        device: where to compute; the model is moved there. None: where the model is.
        boundary: whether to measure boundaries too, which takes the most time.

    Returns:
        {"mIoU": ..., "pixel accuracy": ..., "boundary F": ..., "IoU": tensor (num_classes,), "boundary F per class":
        tensor (num_classes,), "matrix": (num_classes, num_classes)}; the first three are floats. Without `boundary` its
        two entries are missing.

    Raises:
        ValueError: there is no batch, or the model gives something else.
    """
    if device is None:
        device = next(model.parameters(), torch.empty(0)).device
    model.to(device)
    matrix, edges = torch.zeros(num_classes, num_classes, dtype=torch.int64), []
    with in_eval_mode(model):
        for images, targets in (pair for batch in batches for pair in _of_one_size(*batch)):
            answer = model(images.to(device))
            scores = answer.get("out") if isinstance(answer, dict) else answer  # (B, K, H, W)
            expected = (len(targets), num_classes, *targets.shape[1:])
            if not isinstance(scores, Tensor) or scores.shape != expected:
                came = tuple(scores.shape) if isinstance(scores, Tensor) else f"a {type(answer).__name__}"
                raise ValueError(f"model gives {came}; expected scores of shape {expected}")
            predicted, targets = scores.argmax(1), targets.to(device)  # (B, H, W)
            matrix += confusion_matrix(predicted, targets, num_classes, ignore_index).cpu()
            if boundary:
                edges.append(boundary_f_score(predicted, targets, num_classes, ignore_index=ignore_index).cpu())
    if not matrix.any():
        raise ValueError("batches gave no pixel to count; expected at least one batch with pixels that are not ignored")
    result: dict[str, Any] = {"mIoU": mean_iou(matrix), "pixel accuracy": pixel_accuracy(matrix)}
    if boundary:
        per_class = torch.cat(edges).nanmean(0)  # (N, K) -> (K,)
        result |= {"boundary F": per_class.nanmean().item(), "boundary F per class": per_class}
    return result | {"IoU": iou_per_class(matrix), "matrix": matrix}


def _of_one_size(images: Pictures, targets: Pictures) -> list[tuple[Tensor, Tensor]]:
    """Pictures and targets as batches that are tensors: each picture of a list is a batch of one."""
    if isinstance(images, Tensor) and isinstance(targets, Tensor):
        return [(images, targets)]
    if len(images) != len(targets):
        raise ValueError(f"batches has {len(images)} pictures with {len(targets)} targets; expected one for each")
    return [(image[None], target[None]) for image, target in zip(images, targets)]


@torch.no_grad()
def evaluate_detection(
    model: nn.Module,
    batches: Iterable[tuple[Pictures, Sequence[dict[str, Any]]]],
    predict: Callable[[nn.Module, Any, list[dict[str, Any]]], list[dict[str, Tensor]]] | None = None,
    device: torch.device | str | None = None,
    iou_type: str = "bbox",
) -> dict:
    """Compare the boxes, or the masks, that a model finds with the truth, by `average_precision`.

    Args:
        model: pictures in, a list of {"boxes", "scores", "labels"} out. It and its parts come back in the mode (train
            or eval) in which they came.
        batches: of (pictures, list of {"boxes", "labels", ...}); `Batches`, a list or a DataLoader. The pictures are
            (B, 3, H, W), or a list of (3, H, W) of different sizes, if the model takes one.
        predict: how to ask a model that wants more than pictures: (model, pictures, targets) -> list of predictions,
            all on `device`. A detector that is given its proposals takes them from the targets. None: model(pictures).
        device: where to compute; the model is moved there. None: where the model is.
        iou_type: "bbox", or "segm": then predictions and truth have "masks" (N, H, W) too.

    Returns:
        What `average_precision` gives for all pictures together.

    Raises:
        ValueError: there is no batch, or not one prediction for each picture.
    """
    if device is None:
        device = next(model.parameters(), torch.empty(0)).device
    model.to(device)
    predictions, truth = [], []
    with in_eval_mode(model):
        for images, targets in batches:
            images, targets = moved((images, list(targets)), torch.device(device))
            found = model(images) if predict is None else predict(model, images, targets)
            if len(found) != len(targets):
                raise ValueError(
                    f"{'model' if predict is None else 'predict'} gives {len(found)} predictions; "
                    f"expected one for each of the {len(targets)} pictures"
                )
            predictions += [_on_cpu(each) for each in found]
            truth += [_on_cpu(each) for each in targets]
    if not truth:
        raise ValueError("batches gave no picture; expected at least one batch")
    return average_precision(predictions, truth, iou_type)


def _on_cpu(picture: dict[str, Any]) -> dict[str, Any]:
    """The same on the CPU; what is no tensor, such as the number of a picture, stays as it is."""
    return {name: value.cpu() if isinstance(value, Tensor) else value for name, value in picture.items()}
