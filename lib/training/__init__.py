"""Training: one loop for the whole course, its live curve, checkpoints and evaluation."""

from lib.training.batches import OrderedBatches, RandomBatches, toyworld_tensors
from lib.training.checkpoints import load_checkpoint, save_checkpoint
from lib.training.detection_batches import OrderedDetectionBatches, RandomDetectionBatches, toyworld_detection
from lib.training.evaluate import evaluate_detection, evaluate_segmentation
from lib.training.fit import fit
from lib.training.history import History

__all__ = [
    "History",
    "OrderedBatches",
    "OrderedDetectionBatches",
    "RandomBatches",
    "RandomDetectionBatches",
    "evaluate_detection",
    "evaluate_segmentation",
    "fit",
    "load_checkpoint",
    "save_checkpoint",
    "toyworld_detection",
    "toyworld_tensors",
]
