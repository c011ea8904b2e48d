import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from lib.viz.engine.everything import EDGE, SHARP, TINT, draw_everything, draw_mask_sets, mask_colour, owners
from lib.viz.engine.everything import paint_everything as paint

IMAGE = torch.rand(3, 12, 18, generator=torch.Generator().manual_seed(0))
MASKS = torch.zeros(3, 12, 18, dtype=torch.bool)
MASKS[0, 4:8, 5:9], MASKS[1, 2:11, 3:15], MASKS[2, 6:10, 7:16] = True, True, True  # small, large, between
SCALE = SHARP // 18


def middles(sheet: np.ndarray) -> np.ndarray:
    """The middle of each pixel's block, where no line runs: (H, W, 3)."""
    return sheet[SCALE // 2 :: SCALE, SCALE // 2 :: SCALE].astype(float)


def test_a_pixel_has_the_colour_of_the_smallest_mask_on_it():
    plain, sheet = (middles(paint(IMAGE, masks)) for masks in (MASKS[:0], MASKS))
    assert sheet.shape == (12, 18, 3)
    sizes = MASKS.sum((1, 2))
    for row in range(12):
        for column in range(18):
            on = MASKS[:, row, column].nonzero()[:, 0]
            expected = plain[row, column]
            if len(on):
                colour = 255 * np.array(mask_colour(int(on[sizes[on].argmin()])))
                expected = (1 - TINT) * expected + TINT * colour
            assert np.abs(sheet[row, column] - expected).max() <= 1.5


def test_lines_run_along_the_edges_of_every_mask():
    _, below, beside = owners(MASKS)
    edges = [np.zeros((13, 18), bool), np.zeros((12, 19), bool)]
    for mask in MASKS.numpy():
        padded = np.pad(mask, 1)
        edges[0] |= np.diff(padded[:, 1:-1].astype(int), axis=0) != 0
        edges[1] |= np.diff(padded[1:-1].astype(int), axis=1) != 0
    assert ((below >= 0) == edges[0]).all() and ((beside >= 0) == edges[1]).all()
    sheet = paint(IMAGE, MASKS).astype(float)
    for number, (row, column) in enumerate(((4, 6), (2, 5), (6, 10))):  # upper edges
        line = sheet[SCALE * row, SCALE * column + 3]
        assert np.abs(line - EDGE * 255 * np.array(mask_colour(number))).max() <= 0.5


def test_equal_masks_belong_to_the_first_and_the_border_is_an_edge():
    inside, below, beside = owners(torch.ones(2, 3, 4, dtype=torch.bool))
    assert (inside == 0).all() and (below[[0, -1]] == 0).all() and (beside[:, [0, -1]] == 0).all()
    assert (below[1:-1] == -1).all() and (beside[:, 1:-1] == -1).all()


def test_a_number_keeps_its_colour_and_twenty_one_differ():
    colours = [mask_colour(number) for number in range(21)]
    gaps = [max(abs(a - b) for a, b in zip(one, other)) for k, one in enumerate(colours) for other in colours[:k]]
    assert min(gaps) > 0.08 and mask_colour(21) == colours[0]
    one, two = (middles(paint(IMAGE, masks)) for masks in (MASKS[:1], MASKS))
    assert (one[4:8, 5:9] == two[4:8, 5:9]).all()


def test_colours_can_be_given():
    sheet = middles(paint(torch.zeros(3, 12, 18), MASKS[:1], ["#FF0000"]))
    assert np.abs(sheet[5, 6] - 255 * TINT * np.array(to_rgb("#FF0000"))).max() <= 1


def test_large_pictures_are_not_enlarged():
    assert paint(torch.rand(3, 300, 600), torch.ones(1, 300, 600, dtype=torch.bool)).shape == (300, 600, 3)


def test_sets_stand_side_by_side_with_their_numbers():
    figure = draw_mask_sets(IMAGE, {"drawn": MASKS, "found": MASKS[:1], "none": MASKS[:0]})
    assert [axis.get_title() for axis in figure.axes] == ["drawn\n3 masks", "found\n1 mask", "none\n0 masks"]
    for axis, count in zip(figure.axes, (3, 1, 0), strict=True):
        assert (np.asarray(axis.images[0].get_array()) == paint(IMAGE, MASKS[:count])).all()
        assert (axis.get_xlim(), axis.get_ylim()) == ((0, 18), (12, 0))
    assert draw_everything(IMAGE, MASKS).axes[0].get_title() == "3 masks"
    assert draw_everything(IMAGE, MASKS, "all of it").axes[0].get_title() == "all of it"


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (lambda: draw_everything(IMAGE, MASKS[:, :4]), r"masks is \(3, 4, 18\); expected \(M, 12, 18\)"),
        (lambda: paint(IMAGE, MASKS, ["red"]), "colours has 1 entries; expected 3"),
        (lambda: draw_mask_sets(IMAGE, {}), "sets is empty"),
    ],
)
def test_bad_input_is_named(draw, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw()
