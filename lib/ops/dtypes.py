"""Kinds of numbers that are too short for what is computed with them."""

import torch
from torch import Tensor


def widened(numbers: Tensor) -> Tensor:
    """The same numbers, where sums and products have room: float16 and bfloat16 as float32, short integers as int32.

    float16 ends at 65,504, less than the area of a box of 256 × 256 pixels, and uint8 at 255. What is float32, float64,
    int32 or int64 stays as it is.
    """
    least = torch.float32 if numbers.is_floating_point() else torch.int32
    return numbers.to(torch.promote_types(numbers.dtype, least))
