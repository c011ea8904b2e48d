import pytest
import torch
import torch.nn.functional as F

from lib.viz.basics.stamps import explore_stamps, influences


@pytest.mark.parametrize("stride, padding", [(1, 0), (2, 0), (2, 1), (3, 0)])
def test_influences_make_the_output(stride, padding):
    torch.manual_seed(0)
    x, weight = torch.randn(3, 4), torch.randn(3, 3)
    output = F.conv_transpose2d(x[None, None], weight[None, None], stride=stride, padding=padding)[0, 0]
    for row in range(output.shape[0]):
        for column in range(output.shape[1]):
            share = influences((3, 4), weight, stride, padding, row, column)
            torch.testing.assert_close((share * x).sum(), output[row, column])


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
