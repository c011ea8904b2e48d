import pytest
import torch
from matplotlib.colors import to_hex

from lib.viz.detection.boxes import class_colour
from lib.viz.words.refined import draw_refined

IMAGE = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0))
LAYERS = [torch.tensor([[1.0, 2, 9, 8], [4, 4, 20, 15]]) + shift for shift in range(3)]


def test_each_query_keeps_its_colour_and_its_last_box_is_dotted():
    axes = draw_refined(IMAGE, LAYERS, ["selection", "layer 1", "layer 2"]).axes
    assert [axis.get_title() for axis in axes] == ["selection", "layer 1", "layer 2"]
    for number, (axis, boxes) in enumerate(zip(axes, LAYERS, strict=True)):
        lines = axis.patches[1::2]  # the halo comes first
        assert [to_hex(one.get_edgecolor()).upper() for one in lines] == [class_colour(1), class_colour(2)]
        assert [one.get_bbox().extents.tolist() for one in lines] == boxes.tolist()
        assert len(axis.collections) == (2 if number else 0)
        for place, dotted in enumerate(axis.collections):
            assert dotted.get_segments()[0][0].tolist() == LAYERS[number - 1][place, :2].tolist()


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
