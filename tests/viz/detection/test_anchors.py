import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from lib.viz.detection.anchors import explore_anchors

IMAGE = torch.full((3, 96, 96), 0.5)
TRUTH = torch.tensor([[42.0, 38, 54, 58], [6.0, 6, 10, 10]])


def test_the_anchors_are_those_of_torchvision_and_the_numbers_are_counted_on_them():
    explorer = explore_anchors(IMAGE, TRUTH)
    generator = AnchorGenerator(((12, 20, 32),), ((0.5, 1.0, 2.0),))
    expected = generator(ImageList(torch.zeros(1, 3, 96, 96), [(96, 96)]), [torch.zeros(1, 8, 12, 12)])[0]
    torch.testing.assert_close(explorer.anchors(), expected)
    overlap = box_iou(TRUTH, expected)
    count, close, near, best = explorer.numbers()
    assert (count, close, near) == (1296, (overlap.amax(0) >= 0.7).sum(), (overlap.amax(0) >= 0.5).sum())
    torch.testing.assert_close(best, overlap.amax(1))


def test_controls_change_the_anchors_and_the_picture():
    explorer = explore_anchors(IMAGE, TRUTH)
    scale, shapes, step = explorer.children[0].children
    pictures = {explorer._picture.value}
    best = explorer.numbers()[3][1]
    scale.value = 0.5  # smaller anchors suit the small object better
    assert explorer.scale == 0.5 and explorer.numbers()[3][1] > 2 * best
    pictures.add(explorer._picture.value)
    explorer.ratios = "1"
    assert shapes.value == "1" and len(explorer.anchors()) == 432
    pictures.add(explorer._picture.value)
    step.value = 16
    assert len(explorer.anchors()) == 108 and "108 anchors" in repr(explorer)
    pictures.add(explorer._picture.value)
    assert len(pictures) == 4
    assert "image/png" in explorer._repr_mimebundle_()


def test_a_picture_without_objects():
    assert explore_anchors(IMAGE, torch.zeros(0, 4)).numbers()[:3] == (1296, 0, 0)


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: explore_anchors(IMAGE, TRUTH[0]), "truth_boxes"),
        (lambda: explore_anchors(IMAGE, TRUTH, sizes=()), "sizes"),
        (lambda: explore_anchors(IMAGE, TRUTH, ratios="5"), "ratios"),
        (lambda: explore_anchors(IMAGE, TRUTH, stride=7), "stride"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
