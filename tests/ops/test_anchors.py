import pytest
import torch
import torchvision
from torchvision.models.detection.anchor_utils import AnchorGenerator as Theirs
from torchvision.models.detection.image_list import ImageList

from lib.ops.anchors import AnchorGenerator, cell_anchors, grid_anchors, kmeans_anchors, rows, size_iou


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


# ------------------------------------------------------------------------------------------------ anchors from the data


def test_rows_are_in_the_order_of_the_anchors():
    answers = torch.arange(2 * 6 * 3 * 4).reshape(2, 6, 3, 4)  # 3 anchors, 2 numbers each, on 3 × 4 cells
    flat = rows(answers, 2)
    assert flat.shape == (2, 36, 2)
    assert flat[1, (2 * 4 + 3) * 3 + 1].tolist() == answers[1, 2:4, 2, 3].tolist()


def test_kmeans_finds_clusters_that_are_there():
    generator = torch.Generator().manual_seed(0)
    true = torch.tensor([[8.0, 8.0], [10.0, 30.0], [60.0, 40.0]])
    sizes = true.repeat(50, 1) * (1 + 0.05 * torch.randn(150, 2, generator=generator))
    for seed in range(5):
        torch.testing.assert_close(kmeans_anchors(sizes, 3, seed=seed), true, rtol=0.03, atol=0.5)


def test_kmeans_gives_the_same_for_the_same_seed_in_any_order_of_the_boxes():
    sizes = torch.rand(200, 2, generator=torch.Generator().manual_seed(1)) * 40 + 5
    first = kmeans_anchors(sizes, 5, seed=3)
    assert torch.equal(first, kmeans_anchors(sizes, 5, seed=3))
    torch.testing.assert_close(first, kmeans_anchors(sizes.flip(0), 5, seed=3))
    assert (first.prod(1).diff() >= 0).all()


def test_more_anchors_fit_better_and_the_distance_is_that_of_overlap():
    sizes = torch.rand(300, 2, generator=torch.Generator().manual_seed(2)) * 50 + 4
    fit = [size_iou(sizes, kmeans_anchors(sizes, count)).amax(1).mean().item() for count in (1, 3, 9)]
    assert fit[0] + 0.1 < fit[1] < fit[2] - 0.05
    small, large = torch.tensor([[4.0, 4.0]]), torch.tensor([[40.0, 40.0]])
    mixed = torch.cat([small.repeat(9, 1), large, large * 1.5])  # by pixels the two large ones would want two anchors
    assert kmeans_anchors(mixed, 2)[0].tolist() == [4, 4]


def test_kmeans_fills_a_cluster_that_lost_all_its_boxes():
    sizes = torch.tensor([[10.0, 10.0]] * 20 + [[11.0, 11.0]] * 20 + [[50.0, 5.0]])
    for seed in range(10):
        anchors = kmeans_anchors(sizes, 3, seed=seed)
        assert anchors.isfinite().all() and len(anchors.unique(dim=0)) == 3
    assert torch.equal(kmeans_anchors(sizes, 1), sizes.mean(0, keepdim=True))


@pytest.mark.parametrize(
    ("sizes", "count", "named"),
    [
        (torch.rand(3), 1, "sizes"),
        (torch.tensor([[1.0, 0.0]]), 1, "sizes"),
        (torch.ones(5, 2), 2, "count"),
        (torch.ones(5, 2), 0, "count"),
        (torch.zeros(0, 2), 1, "count"),
    ],
)
def test_bad_input_of_kmeans_is_named(sizes, count, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        kmeans_anchors(sizes, count)


def test_size_iou_is_that_of_boxes_at_one_corner():
    one, two = torch.rand(6, 2) * 20 + 1, torch.rand(4, 2) * 20 + 1
    boxes = [torch.cat([torch.zeros_like(sizes), sizes], dim=1) for sizes in (one, two)]
    torch.testing.assert_close(size_iou(one, two), torchvision.ops.box_iou(*boxes))
