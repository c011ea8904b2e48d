import pytest
import torch

from lib.viz.words.refined import draw_refined

IMAGE = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0))
LAYERS = [torch.tensor([[1.0, 2, 9, 8], [4, 4, 20, 15]]) + shift for shift in range(3)]


def test_boxes_are_drawn_and_where_they_were_before_is_dotted():
    axes = draw_refined(IMAGE, LAYERS, ["selection", "layer 1", "layer 2"]).axes
    assert [axis.get_title() for axis in axes] == ["selection", "layer 1", "layer 2"]
    for number, (axis, boxes) in enumerate(zip(axes, LAYERS, strict=True)):
        lines = axis.patches[1::2]  # the halo comes first
        assert [one.get_bbox().extents.tolist() for one in lines] == boxes.tolist()
        dotted = [line[0].tolist() for lines in axis.collections for line in lines.get_segments()]
        assert dotted == (LAYERS[number - 1][:, :2].tolist() if number else [])


def test_there_may_be_no_box():
    assert not draw_refined(IMAGE, [torch.zeros(0, 4)], ["selection"]).axes[0].patches


@pytest.mark.parametrize(
    ("layers", "titles", "named"),
    [
        ([], [], "layers is empty"),
        (LAYERS, ["one"], "titles has 1 entries; expected 3"),
        ([LAYERS[0], LAYERS[1][:1]], ["a", "b"], r"layers has \[2, 1\] boxes"),
        ([torch.zeros(2, 3)], ["a"], r"layers\[0\]"),
    ],
)
def test_bad_input_is_named(layers, titles, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw_refined(IMAGE, layers, titles)
