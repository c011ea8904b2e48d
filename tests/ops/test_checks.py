import numpy as np
import pytest
import torch

from lib.ops.checks import check_tensor, check_whole


@pytest.mark.parametrize("value", [1, 7, np.int64(1), np.uint8(3)])
def test_whole_numbers_of_python_and_numpy_pass(value):
    check_whole("steps", value, at_least=1)


@pytest.mark.parametrize("value", [0, -1, True, 1.0, np.int64(0), np.float32(2), "3", None, torch.tensor(3)])
def test_what_is_no_whole_number_or_too_small_is_named(value):
    with pytest.raises(ValueError, match="^steps is .*; expected a whole number of at least 1$"):
        check_whole("steps", value, at_least=1)


def test_what_is_no_tensor_is_named():
    check_tensor("boxes", torch.zeros(1, 4), "(N, 4)")
    for value, came in ((np.zeros((1, 4)), "ndarray"), ([[0, 0, 1, 1]], "list"), (None, "NoneType")):
        with pytest.raises(ValueError, match=rf"^boxes is a {came}; expected a tensor \(N, 4\)$"):
            check_tensor("boxes", value, "(N, 4)")
