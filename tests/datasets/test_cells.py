import math

import pytest
import torch
from scipy.ndimage import label

from lib.datasets.cells import bend, draw_cells, weight_map


def test_the_same_seed_gives_the_same_picture():
    one, again, other = draw_cells(3), draw_cells(3), draw_cells(4)
    assert torch.equal(one.image, again.image) and torch.equal(one.cells, again.cells)
    assert not torch.equal(one.cells, other.cells)
    assert one.image.shape == (1, 96, 96) and one.cells.shape == (96, 96) and one.cells.dtype == torch.int64
    assert 0 <= one.image.min() and one.image.max() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_cells_never_touch_and_their_membranes_are_darker(seed):
    sample = draw_cells(seed)
    for axis in (0, 1):
        here, there = sample.cells.narrow(axis, 0, 95), sample.cells.narrow(axis, 1, 95)
        assert not ((here != there) & (here > 0) & (there > 0)).any()
    numbers = sample.cells.unique()
    assert 15 <= len(numbers) - 1 <= 22
    pieces = label((sample.cells > 0).numpy())[1]
    assert pieces >= len(numbers) - 1, "two cells must not be one connected piece"
    assert sample.image[0][sample.cells == 0].mean() < sample.image[0][sample.cells > 0].mean() - 0.1


def test_bending_by_nothing_changes_nothing():
    sample = draw_cells(0)
    image, cells = bend(sample.image, sample.cells, seed=1, sigma=0)
    torch.testing.assert_close(image, sample.image, atol=1e-4, rtol=0)
    assert torch.equal(cells, sample.cells)


def test_picture_and_truth_are_bent_alike():
    _, columns = torch.meshgrid(torch.arange(40), torch.arange(60), indexing="ij")
    image, cells = bend(columns[None].float(), columns, seed=2, sigma=3)
    assert cells.unique().numel() > 30 and not torch.equal(cells, columns)
    assert (image[0] - cells).abs().max() <= 0.51, "the picture is interpolated, the numbers are the nearest"
    assert not torch.equal(cells, bend(image, columns, seed=3, sigma=3)[1])


def test_bending_moves_by_about_sigma():
    _, columns = torch.meshgrid(torch.arange(200), torch.arange(200), indexing="ij")
    moved = torch.stack([bend(columns[None].float(), columns, seed)[0][0] - columns for seed in range(60)])
    assert 3.4 < moved[:, 100, 100].std() < 4.6, "the middle of the picture is a knot of the coarse grid"


def test_weights_are_largest_between_two_near_cells():
    cells = torch.zeros(5, 60, dtype=torch.int64)
    cells[:, :10], cells[:, 12:30], cells[:, 50:] = 1, 2, 3
    weights = weight_map(cells)
    # Pixel 10 is 1 from cell 1 and 2 from cell 2. Pixel 40 is 11 from cell 2 and 10 from cell 3.
    assert weights[2, 10].item() == pytest.approx(1 + 10 * math.exp(-9 / 50), rel=1e-5)
    assert weights[2, 40].item() == pytest.approx(1 + 10 * math.exp(-441 / 50), rel=1e-5)
    assert torch.equal(weights[cells > 0], torch.ones(5 * 38))


def test_one_cell_needs_no_keeping_apart():
    cells = torch.zeros(4, 4, dtype=torch.int64)
    cells[1, 1] = 7
    assert torch.equal(weight_map(cells), torch.ones(4, 4))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="^size is 16"):
        draw_cells(0, size=16)
    with pytest.raises(ValueError, match="^count is 1"):
        draw_cells(0, count=1)
    with pytest.raises(ValueError, match="^image is "):
        bend(torch.rand(1, 8, 8), torch.zeros(8, 9, dtype=torch.int64), seed=0)
