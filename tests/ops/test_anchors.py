import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator as Theirs
from torchvision.models.detection.image_list import ImageList

from lib.ops.anchors import AnchorGenerator, cell_anchors, grid_anchors


def by_torchvision(sizes, ratios, image_size, maps):
    pictures = ImageList(torch.zeros(1, 3, *image_size), [image_size])
    return Theirs(sizes, ratios)(pictures, maps)[0]


@pytest.mark.parametrize(
    "sizes, ratios, image_size, grids",
    [
        (((32, 64, 128),), ((0.5, 1.0, 2.0),), (96, 128), [(6, 8)]),
        (((16, 25, 40),), ((0.5, 1.0, 2.0),), (96, 96), [(12, 12)]),
        (((5, 7.5), (12,), (33, 3)), ((0.3, 1.0), (0.7, 1, 3.1), (1.0,)), (97, 75), [(13, 10), (7, 5), (1, 1)]),
        (
            tuple((size,) for size in (32, 64, 128, 256, 512)),
            ((0.5, 1.0, 2.0),) * 5,
            (256, 320),
            [(64, 80), (32, 40), (16, 20), (8, 10), (4, 5)],
        ),
    ],
)
def test_the_same_anchors_in_the_same_order_as_torchvision(sizes, ratios, image_size, grids):
    maps = [torch.zeros(1, 2, *grid) for grid in grids]
    ours = AnchorGenerator(sizes, ratios)
    anchors = ours(image_size, maps)
    assert torch.equal(anchors, by_torchvision(sizes, ratios, image_size, maps))
    assert ours.num_anchors_per_location() == Theirs(sizes, ratios).num_anchors_per_location()
    assert len(anchors) == sum(h * w * count for (h, w), count in zip(grids, ours.num_anchors_per_location()))


def test_the_default_is_the_papers_nine():
    anchors = AnchorGenerator()((64, 64), [torch.zeros(1, 1, 4, 4)])
    sizes, ratios = ((128, 256, 512),), ((0.5, 1.0, 2.0),)
    assert torch.equal(anchors, by_torchvision(sizes, ratios, (64, 64), [torch.zeros(1, 1, 4, 4)]))
    assert len(anchors) == 4 * 4 * 9


def test_worked_by_hand():
    assert cell_anchors((16,), (4.0, 1.0)).tolist() == [[-4, -16, 4, 16], [-8, -8, 8, 8]]  # four times as high
    assert cell_anchors((5,), (1.0,)).tolist() == [[-2, -2, 2, 2]]  # 2.5 goes to 2
    grid = grid_anchors(torch.tensor([[-1.0, -1.0, 1.0, 1.0]]), (2, 3), (10, 100))
    assert grid[:, :2].tolist() == [[-1, -1], [99, -1], [199, -1], [-1, 9], [99, 9], [199, 9]]


def test_areas_and_ratios_are_as_asked_up_to_rounding():
    anchors = cell_anchors((64, 128), (0.5, 1.0, 2.0))
    width, height = (anchors[:, 2:] - anchors[:, :2]).unbind(1)
    torch.testing.assert_close((width * height).sqrt(), torch.tensor([64.0, 128.0]).repeat(3), rtol=0.02, atol=0)
    torch.testing.assert_close(height / width, torch.tensor([0.5, 1, 2]).repeat_interleave(2), rtol=0.03, atol=0)


def test_device_and_dtype_follow_the_map_and_an_empty_map_has_none():
    generator = AnchorGenerator(((8,),), ((1.0,),))
    assert generator((16, 16), [torch.zeros(1, 1, 2, 2, dtype=torch.float64)]).dtype == torch.float64
    assert generator((16, 16), [torch.zeros(1, 1, 0, 2)]).shape == (0, 4)


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: cell_anchors((), (1.0,)), "scales"),
        (lambda: cell_anchors((8,), (1.0, 0.0)), "aspect_ratios"),
        (lambda: AnchorGenerator((8, 16), ((1.0,), (1.0,))), "scales"),
        (lambda: AnchorGenerator((), ()), "sizes"),
        (lambda: AnchorGenerator(((8,), (16,)), ((1.0,),)), "sizes"),
        (lambda: grid_anchors(torch.zeros(4), (1, 1), (8, 8)), "around_zero"),
        (lambda: AnchorGenerator()((16, 16), []), "feature_maps"),
        (lambda: AnchorGenerator()((16, 16), [torch.zeros(1, 1, 20, 4)]), "feature_maps"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
