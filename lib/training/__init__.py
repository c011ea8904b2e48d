"""Training: one loop for the whole course, its live curve, checkpoints and evaluation."""

from lib.training.batches import Batches, clip_segments, toyworld_detection, toyworld_segments, toyworld_tensors
from lib.training.checkpoints import load_checkpoint, save_checkpoint
from lib.training.evaluate import evaluate_detection, evaluate_segmentation
from lib.training.fit import fit
from lib.training.history import History

__all__ = [
    "Batches",
    "History",
    "clip_segments",
    "evaluate_detection",
    "evaluate_segmentation",
    "fit",
    "load_checkpoint",
    "save_checkpoint",
    "toyworld_detection",
    "toyworld_segments",
    "toyworld_tensors",
]
