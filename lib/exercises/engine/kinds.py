"""The kinds of things that go into the exercises' functions and come out of them.

What a tensor means decides which slips people make with it: boxes come in another form, maps are transposed, a mean
becomes a sum. An exercise names the kinds; `slips.py` and `misreadings.py` know what can go wrong with each.
"""

from enum import Enum


class Kind(Enum):
    """What the numbers of a parameter or of a result mean."""

    ANYTHING = "nothing more is known"
    NUMBERS = "any numbers: a tensor, or one number"
    COUNT = "a whole number, or several: sides, sizes, how many"
    LOSS = "one number that was summed or averaged over many"
    BOXES = "(N, 4) boxes, xyxy"
    MAP = "(..., H, W) values at places: features, pictures, heat, kernels"
    MASK = "(..., H, W) True or False at places"
    CLASSES = "whole numbers that name classes"
    INDICES = "(N,) whole numbers that name places in a list"
    LOGITS = "scores before softmax or sigmoid, the classes along axis 1 (the last one if there is but one more)"
    PROBABILITIES = "scores after softmax or sigmoid"
    SIZE = "(height, width)"
