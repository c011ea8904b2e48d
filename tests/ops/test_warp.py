import pytest
import torch
import torch.nn.functional as F

from lib.ops.warp import context_warp, crop_resize, enlarge_boxes

BOXES = torch.tensor(  # on a picture of 40 × 60: some are sampled once in a pixel of their crop, some more often
    [[10.0, 10, 22, 20], [20.0, 4, 26, 38], [0.0, 0, 60, 40], [30.0, 10, 34, 14], [-5.0, 8, 40, 30]]
)


def test_a_box_of_the_right_size_is_cut_out_unchanged():
    torch.manual_seed(0)
    image = torch.rand(3, 20, 30)
    crop = crop_resize(image, torch.tensor([[4.0, 6, 12, 14]]), 8, torch.zeros(3))
    torch.testing.assert_close(crop[0], image[:, 6:14, 4:12])


def test_shrinking_averages_and_growing_interpolates():
    torch.manual_seed(0)
    image = torch.rand(3, 16, 16)
    box = torch.tensor([[0.0, 0, 16, 16]])
    small = crop_resize(image, box, 4, torch.zeros(3))
    torch.testing.assert_close(small, F.avg_pool2d(image, 4)[None])
    large = crop_resize(image, box, 32, torch.zeros(3))
    torch.testing.assert_close(large, F.interpolate(image[None], (32, 32), mode="bilinear"))


def test_beyond_the_picture_is_the_colour_that_was_given():
    image = torch.rand(3, 10, 10)
    crop = crop_resize(image, torch.tensor([[-10.0, 0, 10, 20]]), 20, torch.tensor([0.1, 0.2, 0.3]))[0]
    torch.testing.assert_close(crop[:, :10, 10:], image)
    for part in (crop[:, :, :10], crop[:, 10:]):
        assert torch.equal(part, torch.tensor([0.1, 0.2, 0.3])[:, None, None].expand_as(part))


def test_a_crop_has_the_type_of_its_picture():
    torch.manual_seed(0)
    image = torch.rand(3, 40, 60, dtype=torch.float64)
    crops = context_warp(image, BOXES, 16, 2)
    assert crops.dtype == torch.float64
    torch.testing.assert_close(crops.float(), context_warp(image.float(), BOXES, 16, 2))


def test_x_goes_with_width():
    image = torch.zeros(3, 20, 40)
    image[:, 5:9, 20:36] = 1
    assert crop_resize(image, torch.tensor([[20.0, 5, 36, 9]]), 4, torch.zeros(3)).min() > 0.8


def test_the_margin_is_context_pixels_wide_in_the_crop():
    image = torch.zeros(3, 60, 80)
    box = torch.tensor([[30.0, 20, 50, 30]])  # 20 × 10
    image[:, 20:30, 30:50] = 1
    crop = context_warp(image, box, 40, 10)[0, 0]
    assert crop[10:30, 10:30].min() > 0.45 and crop[11:29, 11:29].min() == 1
    assert crop[:9].max() == 0 and crop[:, :9].max() == 0 and crop[31:].max() == 0
    torch.testing.assert_close(enlarge_boxes(box, 40, 10), torch.tensor([[20.0, 15, 60, 35]]))
    assert torch.equal(enlarge_boxes(box, 40, 0), box)


def test_many_boxes_are_warped_as_each_alone():
    torch.manual_seed(0)
    image, boxes = torch.rand(3, 40, 60), BOXES
    fine = context_warp(image, boxes[:1], 8, 1)
    assert fine.shape == (1, 3, 8, 8)
    together = context_warp(image, boxes, 64, 5)
    torch.testing.assert_close(together, torch.cat([context_warp(image, one[None], 64, 5) for one in boxes]))
    assert context_warp(image, boxes[:0], 64, 5).shape == (0, 3, 64, 64)


def test_a_crop_does_not_depend_on_the_boxes_beside_it():
    torch.manual_seed(0)
    image = torch.rand(3, 40, 60)
    together = crop_resize(image, BOXES, 16, torch.zeros(3))
    for crop, box in zip(together, BOXES):
        torch.testing.assert_close(crop, crop_resize(image, box[None], 16, torch.zeros(3))[0])


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: enlarge_boxes(torch.zeros(1, 4), 20, 10), "context"),
        (lambda: enlarge_boxes(torch.zeros(1, 4), 20, -1), "context"),
        (lambda: crop_resize(torch.zeros(3, 4, 4), torch.zeros(4), 8, torch.zeros(3)), "boxes"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
