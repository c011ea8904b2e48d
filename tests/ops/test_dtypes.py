import pytest
import torch

from lib.ops.dtypes import widened


@pytest.mark.parametrize(
    ("short", "wide"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.bool, torch.int32),
        (torch.uint8, torch.int32),
        (torch.int16, torch.int32),
    ],
)
def test_short_numbers_become_longer_and_keep_their_values(short, wide):
    numbers = torch.tensor([0, 1, 0]).to(short)
    assert widened(numbers).dtype == wide and widened(numbers).tolist() == numbers.tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32, torch.int64])
def test_long_numbers_stay_the_very_same(dtype):
    numbers = torch.ones(3, dtype=dtype)
    assert widened(numbers) is numbers


def test_gradients_run_through():
    numbers = torch.ones(2, dtype=torch.float16, requires_grad=True)
    widened(numbers).sum().backward()
    assert numbers.grad.dtype == torch.float16 and numbers.grad.tolist() == [1, 1]
