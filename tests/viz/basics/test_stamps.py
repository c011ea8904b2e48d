import pytest
import torch
import torch.nn.functional as F
from matplotlib.colors import to_hex

from lib.viz.basics.stamps import explore_stamps, makers


@pytest.mark.parametrize("stride, padding", [(1, 0), (2, 0), (2, 1), (3, 0), (4, 0)])
def test_cells_times_their_part_of_the_stamp_make_the_pixel(stride, padding):
    torch.manual_seed(0)
    x, weight = torch.randn(3, 4), torch.randn(3, 2)
    output = F.conv_transpose2d(x[None, None], weight[None, None], stride=stride, padding=padding)[0, 0]
    for row in range(output.shape[0]):
        for column in range(output.shape[1]):
            pairs = makers((3, 4), (3, 2), stride, padding, (row, column))
            total = sum((x[cell] * weight[part] for cell, part in pairs), start=torch.zeros(()))
            torch.testing.assert_close(total, output[row, column])


def frames(axis):
    """The framed cells of a table and the colours of the frames."""
    return [(round(f.get_y()), round(f.get_x()), to_hex(f.get_edgecolor())) for f in axis.patches]


def test_the_stamp_is_shown_with_the_weights_that_are_used():
    explorer = explore_stamps(torch.arange(1.0, 10).view(3, 3), torch.arange(1.0, 10).view(3, 3), stride=2)
    explorer.row, explorer.column = 2, 4
    assert explorer.sum_in_words() == "row 2, column 4: 2 · 9 + 3 · 7 + 5 · 3 + 6 · 1 = 60"
    figure = explorer.figure()
    cells, stamp, output = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["the cells", "the stamp", "the output"]
    assert [text.get_text() for text in stamp.texts] == [str(number) for number in range(1, 10)]
    # From the pixel, the cells above give the lower part of their stamp, the cells on the left its right part.
    assert [place[:2] for place in frames(cells)] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert [place[:2] for place in frames(stamp)] == [(2, 2), (2, 0), (0, 2), (0, 0)]
    assert [place[2] for place in frames(cells)] == [place[2] for place in frames(stamp)]
    assert [place[:2] for place in frames(output)] == [(2, 4)]
    assert len({place[2] for place in frames(cells)}) == 4


def test_a_pixel_that_no_stamp_reaches_says_so():
    explorer = explore_stamps(torch.ones(2, 2), torch.ones(2, 2), stride=3)
    explorer.row = explorer.column = 2
    assert explorer.sum_in_words() == "row 2, column 2: no stamp reaches it = 0"


def test_sliders_and_picture_follow_the_pixel():
    explorer = explore_stamps(torch.ones(2, 2), torch.ones(3, 3), stride=2)
    before = explorer._picture.value
    row_slider = explorer.children[0].children[0]
    assert row_slider.max == 4 and explorer.row == 2
    row_slider.value = 0
    assert explorer.row == 0 and explorer._picture.value != before
    assert repr(explorer) == "StampExplorer: (2, 2) inputs, (5, 5) outputs, stride 2"
    assert "image/png" in explorer._repr_mimebundle_()


@pytest.mark.parametrize(
    "x, weight, named",
    [
        (torch.ones(9, 2), torch.ones(3, 3), "x"),
        (torch.ones(2), torch.ones(3, 3), "x"),
        (torch.ones(2, 2), torch.ones(3), "weight"),
    ],
)
def test_bad_input_is_named(x, weight, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        explore_stamps(x, weight, 2)
