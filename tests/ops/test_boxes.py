import pytest
import torch
from torchvision import ops as peer

from lib.ops import boxes as ours

FORMS = ("xyxy", "xywh", "cxcywh")


def random_boxes(seed, count, whole=False):
    """Boxes that also lie outside of a 20 × 30 picture; with `whole` on integers: sides meet and areas vanish."""
    corners, sides = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed))
    corners, sides = corners * 40 - 8, sides * 9
    if whole:
        corners, sides = corners.round(), sides.round()
    return torch.cat([corners, corners + sides], 1)


CASES = {
    "random": (random_boxes(0, 30), random_boxes(1, 20)),
    "float64": (random_boxes(2, 5).double(), random_boxes(3, 6).double()),
    "whole numbers": (random_boxes(4, 40, whole=True), random_boxes(5, 50, whole=True)),
    "none with some": (torch.empty(0, 4), random_boxes(6, 3)),
    "some with none": (random_boxes(7, 3), torch.empty(0, 4)),
    "points": (torch.tensor([[2.0, 2, 2, 2], [3, 3, 3, 3]]), torch.tensor([[2.0, 2, 2, 2], [0, 0, 4, 4]])),
    "lines": (torch.tensor([[2.0, 2, 2, 6]]), torch.tensor([[2.0, 4, 2, 9], [0, 0, 4, 4]])),
    "one inside the other": (torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[2.0, 2, 4, 4]])),
    "very far": (torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[1e6, 1e6, 1e6 + 1, 1e6 + 1]])),
}


@pytest.mark.parametrize("name", ["box_iou", "generalized_box_iou"])
@pytest.mark.parametrize("case", CASES)
def test_agreement_equals_torchvision(name, case):
    first, second = (boxes.clone().requires_grad_() for boxes in CASES[case])
    result = getattr(ours, name)(first, second)
    expected = getattr(peer, name)(first, second)
    assert result.shape == (len(first), len(second)) and result.dtype == first.dtype
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6, equal_nan=True)
    weights = torch.rand(expected.shape, generator=torch.Generator().manual_seed(0), dtype=expected.dtype)
    for mine, theirs in zip(
        *(torch.autograd.grad((value * weights).sum(), (first, second)) for value in (result, expected))
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("in_fmt", FORMS)
@pytest.mark.parametrize("out_fmt", FORMS)
def test_conversions_equal_torchvision(in_fmt, out_fmt):
    point = torch.tensor([3.0, 3, 3, 3])
    for boxes in (random_boxes(0, 12), torch.empty(0, 4), random_boxes(1, 6).view(2, 3, 4), point):
        boxes = peer.box_convert(boxes, "xyxy", in_fmt).requires_grad_()
        result, expected = ours.box_convert(boxes, in_fmt, out_fmt), peer.box_convert(boxes, in_fmt, out_fmt)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
        weights = torch.rand(expected.shape, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(
            *(torch.autograd.grad((value * weights).sum(), boxes)[0] for value in (result, expected))
        )
        back = ours.box_convert(result, out_fmt, in_fmt)
        torch.testing.assert_close(back, boxes, rtol=0, atol=1e-5)
        assert result.data_ptr() != boxes.data_ptr() or not boxes.numel()


def test_conversions_by_hand():
    xyxy = torch.tensor([10.0, 20, 40, 60])
    assert ours.box_xyxy_to_xywh(xyxy).tolist() == [10, 20, 30, 40]
    assert ours.box_xyxy_to_cxcywh(xyxy).tolist() == [25, 40, 30, 40]
    assert ours.box_xywh_to_xyxy(torch.tensor([10.0, 20, 30, 40])).tolist() == xyxy.tolist()
    assert ours.box_cxcywh_to_xyxy(torch.tensor([25.0, 40, 30, 40])).tolist() == xyxy.tolist()


def test_iou_and_giou_by_hand():
    box, quarter, apart = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[1.0, 0, 5, 4]]), torch.tensor([[6.0, 0, 8, 4]])
    assert ours.box_iou(box, quarter).item() == pytest.approx(12 / 20)
    assert ours.generalized_box_iou(box, quarter).item() == pytest.approx(12 / 20)  # the box around has no free corner
    assert ours.box_iou(box, apart).item() == 0
    assert ours.generalized_box_iou(box, apart).item() == pytest.approx(-8 / 32)
    assert ours.box_area(torch.cat([box, apart])).tolist() == [16, 8]


def test_giou_is_never_above_the_iou_and_above_minus_one():
    first, second = random_boxes(0, 50), random_boxes(1, 50)
    iou, giou = ours.box_iou(first, second), ours.generalized_box_iou(first, second)
    assert (giou <= iou + 1e-6).all() and (giou > -1).all() and (giou < 0).any() and (iou > 0).any()
    torch.testing.assert_close(giou, ours.generalized_box_iou(second, first).T)


@pytest.mark.parametrize("shape", [(12, 4), (0, 4), (2, 3, 4), (4,)])
def test_clip_equals_torchvision(shape):
    boxes = (random_boxes(0, torch.Size(shape).numel() // 4).view(shape) - 5).requires_grad_()
    result, expected = (module.clip_boxes_to_image(boxes, (20, 30)) for module in (ours, peer))
    assert torch.equal(result, expected)
    weights = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        *(torch.autograd.grad((value * weights).sum(), boxes)[0] for value in (result, expected))
    )


def test_clip_takes_height_first():
    assert ours.clip_boxes_to_image(torch.tensor([[-3.0, -3, 99, 99]]), (20, 30)).tolist() == [[0, 0, 30, 20]]
    assert ours.clip_boxes_to_image(torch.tensor([[40.0, 5, 50, 9]]), (20, 30)).tolist() == [[30, 5, 30, 9]]


@pytest.mark.parametrize("min_size", [0, 2.5, 4, 100])
def test_remove_small_boxes_equals_torchvision(min_size):
    for boxes in (random_boxes(0, 40), random_boxes(1, 40, whole=True), torch.empty(0, 4)):
        result = ours.remove_small_boxes(boxes, min_size)
        assert result.dtype == torch.int64 and torch.equal(result, peer.remove_small_boxes(boxes, min_size))


def test_areas_equal_torchvision():
    for boxes in (random_boxes(0, 9), random_boxes(1, 6).view(2, 3, 4), torch.empty(0, 4)):
        torch.testing.assert_close(ours.box_area(boxes), peer.box_area(boxes))


@pytest.mark.parametrize(
    "call, start",
    [
        (lambda: ours.box_iou(torch.zeros(4), torch.zeros(1, 4)), "boxes1 "),
        (lambda: ours.box_iou(torch.zeros(1, 4), torch.zeros(1, 5)), "boxes2 "),
        (lambda: ours.generalized_box_iou(torch.zeros(1, 4), torch.zeros(0)), "boxes2 "),
        (lambda: ours.box_area(torch.zeros(2, 3)), "boxes "),
        (lambda: ours.box_area([0, 0, 1, 1]), "boxes is a list; expected a tensor "),
        (lambda: ours.box_iou(torch.zeros(1, 4), [[0, 0, 1, 1]]), "boxes2 is a list; expected a tensor "),
        (lambda: ours.box_convert(torch.zeros(1, 4), "xyhw", "xyxy"), "in_fmt "),
        (lambda: ours.box_convert(torch.zeros(1, 4), "xyxy", "yxyx"), "out_fmt "),
        (lambda: ours.box_convert(torch.zeros(1, 3), "xyxy", "xyxy"), "boxes "),
        (lambda: ours.clip_boxes_to_image(torch.zeros(3), (5, 5)), "boxes "),
        (lambda: ours.remove_small_boxes(torch.zeros(4), 1), "boxes "),
    ],
)
def test_bad_input_is_named(call, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        call()


def test_shares_of_a_picture_and_pixels_by_hand():
    pixels, shares = torch.tensor([[10.0, 20, 30, 80]]), torch.tensor([[0.1, 0.5, 0.1, 0.6]])
    size = (100, 200)  # height, width
    torch.testing.assert_close(ours.box_xyxy_to_cxcywh_normalized(pixels, size), shares)
    torch.testing.assert_close(ours.box_cxcywh_normalized_to_xyxy(shares, size), pixels)
    whole = torch.tensor([0.0, 0, 200, 100])
    assert ours.box_xyxy_to_cxcywh_normalized(whole, size).tolist() == [0.5, 0.5, 1, 1]
    assert ours.box_xyxy_to_cxcywh_normalized(pixels[:0], size).shape == (0, 4)
    for function in (ours.box_xyxy_to_cxcywh_normalized, ours.box_cxcywh_normalized_to_xyxy):
        with pytest.raises(ValueError, match="^boxes "):
            function(torch.zeros(2, 3), size)
        with pytest.raises(ValueError, match="^size "):
            function(pixels, (3, 100, 200))


@pytest.mark.parametrize("name", ["box_iou", "generalized_box_iou"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8, torch.int16, torch.int64])
def test_short_numbers_have_room_for_areas(name, dtype):
    """In float16 the area of the first box would be infinite, in uint8 it would be taken modulo 256."""
    first, second = torch.tensor([[0, 0, 240, 200], [0, 0, 20, 20]]), torch.tensor([[10, 0, 250, 200], [0, 0, 20, 10]])
    if dtype.is_floating_point:
        first, second = first * 2, second * 2  # bfloat16 holds these, too
    result = getattr(ours, name)(first.to(dtype), second.to(dtype))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, getattr(peer, name)(first.float(), second.float()))
    assert ours.box_area(first.to(dtype)).tolist() == peer.box_area(first).tolist()


@pytest.mark.parametrize("in_fmt", FORMS)
@pytest.mark.parametrize("out_fmt", FORMS)
def test_short_numbers_have_room_for_sums(in_fmt, out_fmt):
    boxes = torch.tensor([[200, 10, 220, 30], [0, 0, 254, 254]])
    given = peer.box_convert(boxes, "xyxy", in_fmt)
    expected = peer.box_convert(boxes.float(), "xyxy", out_fmt)
    assert ours.box_convert(given.byte(), in_fmt, out_fmt).tolist() == expected.tolist()
    huge = ours.box_xyxy_to_cxcywh(torch.tensor([32768.0, 0, 49152, 32]).half())
    assert huge.tolist() == [40960, 16, 16384, 32], "the sum of the two sides is beyond float16"


def test_boxes_of_float32_and_float64_keep_their_type():
    for dtype in (torch.float32, torch.float64):
        assert ours.box_convert(torch.zeros(1, 4, dtype=dtype), "xyxy", "cxcywh").dtype == dtype
