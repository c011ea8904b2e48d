import numpy as np
import pytest
import torch
import torchvision
from torchvision.ops.poolers import LevelMapper

from lib.ops.roi import assign_levels, roi_align, roi_pool

SCALES = [1.0, 0.5, 1 / 8, 1 / 16]
SIZES = [7, 2, (3, 5), (1, 1)]


def some_boxes(count, size, seed=0):
    """Boxes inside, across the rim and outside of a picture, and some without width, height or both."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * size * 1.4 - 0.2 * size
    sizes = torch.rand(count, 2, generator=generator) * size * 0.7
    boxes = torch.cat([corners, corners + sizes], dim=1)
    special = (
        torch.tensor(
            [
                [0.0, 0, 1, 1],
                [0.2, 0.2, 0.6, 0.6],
                [0.3, 0.3, 0.3, 0.3],
                [0.1, 0.4, 0.9, 0.4],
                [0.5, 0, 0.5, 1],
                [1.5, 1.5, 2, 2],
                [-1, -1, -0.5, -0.5],
                [-1, -1, 3, 3],
                [0.2, 0.3, 0.2001, 0.3001],
            ]
        )
        * size
    )
    return torch.cat([boxes, special])


def setting(scale, seed=0):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(3, 4, 9, 11, generator=generator)
    size = 10 / scale
    return maps, [some_boxes(6, size, seed), torch.zeros(0, 4), some_boxes(4, size, seed + 1)]


def gradient(function, maps):
    maps = maps.clone().requires_grad_()
    out = function(maps)
    weights = torch.arange(out.numel(), dtype=out.dtype).cos().reshape(out.shape)
    return out.detach(), torch.autograd.grad((out * weights).sum(), maps)[0]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", SIZES)
def test_roi_pool_equals_torchvision(scale, size):
    maps, boxes = setting(scale)
    ours, our_gradient = gradient(lambda x: roi_pool(x, boxes, size, scale), maps)
    theirs, their_gradient = gradient(lambda x: torchvision.ops.roi_pool(x, boxes, size, scale), maps)
    assert torch.equal(ours, theirs)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sampling_ratio", [-1, 0, 1, 2])
@pytest.mark.parametrize("aligned", [False, True])
def test_roi_align_equals_torchvision(scale, size, sampling_ratio, aligned):
    maps, boxes = setting(scale)
    ours, our_gradient = gradient(lambda x: roi_align(x, boxes, size, scale, sampling_ratio, aligned), maps)
    theirs, their_gradient = gradient(
        lambda x: torchvision.ops.roi_align(x, boxes, size, scale, sampling_ratio, aligned), maps
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-4, atol=1e-5)


def test_roi_pool_rounds_a_half_away_from_zero_as_torchvision():
    maps = torch.arange(100.0).sin().view(1, 1, 10, 10)
    halves = torch.arange(-3, 9) + 0.5
    boxes = torch.stack([halves, halves, halves + 2, halves + 3], dim=1)
    assert torch.equal(roi_pool(maps, [boxes], 2), torchvision.ops.roi_pool(maps, [boxes], 2))


def test_roi_pool_among_equal_cells_passes_the_gradient_to_one_as_torchvision():
    maps, boxes = torch.zeros(1, 2, 8, 8), [torch.tensor([[0.0, 0.0, 7.0, 7.0], [2.0, 1.0, 6.0, 5.0]])]
    ours, theirs = (gradient(lambda x: pool(x, boxes, 2), maps)[1] for pool in (roi_pool, torchvision.ops.roi_pool))
    torch.testing.assert_close(ours, theirs)
    assert (ours != 0).sum() <= 2 * 2 * 4


@pytest.mark.parametrize("pool", [roi_pool, roi_align])
def test_boxes_with_the_number_of_the_picture(pool):
    maps, boxes = setting(0.5)
    numbered = torch.cat([torch.cat([torch.full((len(one), 1), float(i)), one], 1) for i, one in enumerate(boxes)])
    assert torch.equal(pool(maps, numbered, 3, 0.5), pool(maps, boxes, 3, 0.5))
    alone = pool(maps[2:], boxes[2:], 3, 0.5)
    assert torch.equal(pool(maps, boxes, 3, 0.5)[-len(alone) :], alone), "a batch is its pictures one by one"


@pytest.mark.parametrize("pool", [roi_pool, roi_align])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_floats_come_back_as_they_came(pool, dtype):
    maps, boxes = setting(0.5)
    maps, boxes = maps.to(dtype), [one.to(dtype) for one in boxes]
    result = pool(maps, boxes, 3, 0.5)
    assert result.dtype == dtype
    expected = pool(maps.float(), [one.float() for one in boxes], 3, 0.5)
    torch.testing.assert_close(result, expected.to(dtype), rtol=0, atol=0)


def test_roi_align_is_as_exact_as_its_numbers():
    maps, boxes = setting(0.5)
    maps, boxes = maps.double(), [one.double() for one in boxes]
    ours, theirs = (align(maps, boxes, 7, 0.5, 2) for align in (roi_align, torchvision.ops.roi_align))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("pool", [roi_pool, roi_align])
def test_nothing_gives_nothing(pool):
    assert pool(torch.zeros(2, 3, 5, 5), [torch.zeros(0, 4)] * 2, (2, 4)).shape == (0, 3, 2, 4)
    assert pool(torch.zeros(2, 3, 5, 5), torch.zeros(0, 5), 2).shape == (0, 3, 2, 2)
    assert pool(torch.zeros(0, 3, 5, 5), [], 2).shape == (0, 3, 2, 2)


def test_worked_by_hand():
    cells = torch.arange(16.0).view(1, 1, 4, 4)
    assert roi_pool(cells, [torch.tensor([[0.0, 0.0, 3.0, 3.0]])], 2).flatten().tolist() == [5, 7, 13, 15]
    overlapping = roi_pool(cells, [torch.tensor([[0.0, 0.0, 2.0, 2.0]])], 2)
    assert overlapping.flatten().tolist() == [5, 6, 9, 10]
    assert roi_pool(cells, [torch.tensor([[16.0, 8.0, 24.0, 24.0]])], 1, 1 / 8).item() == 15
    middle = roi_align(cells, [torch.tensor([[1.0, 1.0, 3.0, 3.0]])], 1, 1.0, 2, aligned=True)
    assert middle.item() == pytest.approx(7.5)  # the mean of 5, 6, 9 and 10


@pytest.mark.parametrize("aligned", [False, True])
def test_roi_align_moves_smoothly_and_roi_pool_in_steps(aligned):
    torch.manual_seed(0)
    maps = torch.randn(1, 3, 12, 12)
    start = torch.tensor([16.0, 16.0, 56.0, 48.0])
    shifts = torch.arange(0, 8, 0.25)
    pooled = torch.cat([roi_pool(maps, [(start + shift)[None]], 3, 1 / 8) for shift in shifts]).flatten(1)
    smooth = torch.cat([roi_align(maps, [(start + shift)[None]], 3, 1 / 8, 2, aligned) for shift in shifts]).flatten(1)
    assert len(pooled.unique(dim=0)) == 2 and len(smooth.unique(dim=0)) == len(shifts)


@pytest.mark.parametrize("pool", [roi_pool, roi_align])
@pytest.mark.parametrize(
    "arguments, named",
    [
        ((torch.zeros(3, 5, 5), [torch.zeros(1, 4)], 2), "input"),
        ((torch.zeros(1, 3, 5, 5), [torch.zeros(1, 5)], 2), "boxes"),
        ((torch.zeros(2, 3, 5, 5), [torch.zeros(1, 4)], 2), "boxes"),
        ((torch.zeros(1, 3, 5, 5), torch.zeros(1, 4), 2), "boxes"),
        ((torch.zeros(1, 3, 5, 5), [torch.tensor([[0.0, 0, torch.inf, 2]])], 2), "boxes"),
        ((torch.zeros(1, 3, 5, 5), torch.tensor([[0.0, 0, torch.nan, 2, 2]]), 2), "boxes"),
        ((torch.zeros(1, 3, 5, 5), torch.tensor([[1.0, 0, 0, 2, 2]]), 2), "boxes"),
        ((torch.zeros(1, 3, 5, 5), [torch.zeros(1, 4)], 0), "output_size"),
        ((torch.zeros(1, 3, 5, 5), [torch.zeros(1, 4)], (2, 2, 2)), "output_size"),
        ((torch.zeros(1, 3, 5, 5), [torch.zeros(1, 4)], 2, 0.0), "spatial_scale"),
    ],
)
def test_bad_input_is_named(pool, arguments, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        pool(*arguments)


@pytest.mark.parametrize("side, level", [(20, 2), (111, 2), (112, 3), (224, 4), (447, 4), (448, 5), (3000, 5)])
def test_level_is_equation_1_of_the_paper(side, level):
    box = torch.tensor([[0.0, 0, side / 2, side * 2]])  # the area counts, not the shape
    assert assign_levels(box, 2, 5).tolist() == [level]


@pytest.mark.parametrize("options", [(2, 5, 224, 4), (2, 4, 24, 3), (0, 9, 1, 1), (3, 3, 50, 4)])
def test_levels_equal_torchvisions(options):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(500, 2, generator=generator) * 300
    boxes = torch.cat([corners, corners + 10 ** (3 * torch.rand(500, 2, generator=generator))], dim=1)
    scale = options[2]
    exact = torch.tensor([[0.0, 0, scale * 2**k, scale * 2**k] for k in range(-3, 4)])  # just at a border
    none = torch.tensor([[3.0, 3, 3, 9], [5, 5, 5, 5]])
    boxes = torch.cat([boxes, exact, none])
    expected = LevelMapper(*options)([boxes]) + options[0]
    result = assign_levels(boxes, *options)
    assert torch.equal(result, expected) and result.dtype == torch.int64
    assert result.unique().tolist() == list(range(options[0], options[1] + 1))
    assert result[-2:].tolist() == [options[0]] * 2


def test_no_regions_have_no_levels():
    assert assign_levels(torch.zeros(0, 4), 2, 5).shape == (0,)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: assign_levels(torch.zeros(4), 2, 5), "boxes"),
        (lambda: assign_levels(torch.zeros(1, 5), 2, 5), "boxes"),
        (lambda: assign_levels(torch.zeros(1, 4), 5, 2), "k_min"),
        (lambda: assign_levels(torch.zeros(1, 4), 2, 5, canonical_scale=0), "canonical_scale"),
    ],
)
def test_levels_name_bad_input(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()


@pytest.mark.parametrize("pool", [roi_pool, roi_align])
def test_an_output_size_may_be_numpys_or_a_list(pool):
    maps, boxes = setting(0.5)
    assert torch.equal(pool(maps, boxes, np.int64(3), 0.5), pool(maps, boxes, 3, 0.5))
    assert torch.equal(pool(maps, boxes, [2, 3], 0.5), pool(maps, boxes, (2, 3), 0.5))
