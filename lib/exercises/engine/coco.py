"""pycocotools as an independent truth for average precision."""

import contextlib
import io
from typing import Any

import numpy as np
import torchvision
from torch import Tensor


def coco_evaluation(found: Tensor, scores: Tensor, truth: Tensor, threshold: float) -> Any:
    """pycocotools' evaluation of one picture with one class at one threshold, done but not summed up."""
    from pycocotools.coco import COCO  # here, because it takes longer to import than a check to run
    from pycocotools.cocoeval import COCOeval

    sets = []
    with contextlib.redirect_stdout(io.StringIO()):
        for boxes in (truth, found):
            rows = torchvision.ops.box_convert(boxes.double(), "xyxy", "xywh").tolist()
            coco = COCO()
            coco.dataset = {
                "images": [{"id": 1}],
                "categories": [{"id": 1}],
                "annotations": [
                    {
                        "id": place + 1,
                        "image_id": 1,
                        "category_id": 1,
                        "bbox": row,
                        "area": row[2] * row[3],
                        "iscrowd": 0,
                        "score": float(scores[place]) if boxes is found else 0,
                    }
                    for place, row in enumerate(rows)
                ],
            }
            coco.createIndex()
            sets.append(coco)
        evaluation = COCOeval(*sets, iouType="bbox")
        evaluation.params.iouThrs = np.array([threshold])
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation
