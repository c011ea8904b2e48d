import pytest
import torch

from lib.ops.pixels import shuffle_pixels


def test_every_pixel_moves_whole_and_the_same_way():
    images = torch.arange(2 * 3 * 2 * 3).float().view(2, 3, 2, 3)
    order = torch.tensor([5, 0, 1, 2, 3, 4])
    shuffled = shuffle_pixels(images, order)
    for new in range(6):
        old = order[new].item()
        assert torch.equal(shuffled[:, :, new // 3, new % 3], images[:, :, old // 3, old % 3])


def test_the_inverse_order_undoes_it():
    torch.manual_seed(0)
    images, order = torch.rand(2, 3, 4, 5), torch.randperm(20)
    assert torch.equal(shuffle_pixels(shuffle_pixels(images, order), order.argsort()), images)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_an_order_may_be_whole_numbers_of_any_type(dtype):
    images, order = torch.arange(24.0).view(1, 2, 3, 4), torch.arange(12).flip(0)
    assert torch.equal(shuffle_pixels(images, order.to(dtype)), images.flip(2, 3))


@pytest.mark.parametrize(
    "images, order, named",
    [
        (torch.zeros(3, 2, 2), torch.arange(4), "images"),
        (torch.zeros(1, 3, 2, 2), torch.arange(5), "order"),
        (torch.zeros(1, 3, 2, 2), torch.tensor([0, 1, 1, 3]), "order"),
    ],
)
def test_bad_input_is_named(images, order, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        shuffle_pixels(images, order)
