import pytest
import torch
from matplotlib.colors import to_rgb

from lib.viz.attention.queries import COLOURS, draw_queries, shapes_of

BOXES = torch.tensor(
    [
        [[0.2, 0.5, 0.1, 0.4], [0.6, 0.5, 0.3, 0.1]],
        [[0.3, 0.4, 0.2, 0.2], [0.7, 0.5, 0.5, 0.1]],
        [[0.9, 0.9, 0.1, 0.1], [0.8, 0.1, 0.1, 0.1]],
    ]
)  # (3 pictures, 2 queries, 4)
KEPT = torch.tensor([[True, True], [True, False], [False, False]])


def dots(axis):
    (cloud,) = axis.collections
    return cloud.get_offsets().tolist(), cloud.get_facecolors()[:, :3].tolist(), cloud.get_sizes().tolist()


def test_each_query_has_a_square_and_a_dot_for_each_kept_answer():
    first, second = draw_queries(BOXES, KEPT).axes
    assert first.get_title() == "query 0: 2" and second.get_title() == "query 1: 1"
    places, colours, areas = dots(first)
    assert places == [pytest.approx([0.2, 0.5]), pytest.approx([0.3, 0.4])]
    assert colours == [pytest.approx(to_rgb(COLOURS[shape])) for shape in ("tall", "about square")]
    assert areas[0] == pytest.approx(areas[1])  # 0.1 · 0.4 = 0.2 · 0.2
    assert dots(second)[1] == [pytest.approx(to_rgb(COLOURS["wide"]))]
    assert dots(second)[2][0] == pytest.approx(0.75 * areas[0])
    assert first.get_xlim() == (0, 1) and first.get_ylim() == (1, 0), "y runs down, as in a picture"


def test_large_boxes_lie_below_small_ones():
    boxes = torch.tensor([[[0.1, 0.1, 0.1, 0.1]], [[0.5, 0.5, 0.9, 0.9]]])
    places, _, areas = dots(draw_queries(boxes, torch.ones(2, 1, dtype=torch.bool)).axes[0])
    assert places[0] == pytest.approx([0.5, 0.5]) and areas[0] > areas[1]


def test_a_side_is_longer_from_a_quarter_on():
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.5], [0.5, 0.5, 0.4, 0.51], [0.5, 0.5, 0.51, 0.4]])
    shapes = {shape: which.tolist() for shape, which in shapes_of(boxes).items()}
    assert shapes == {
        "tall": [False, True, False],
        "wide": [False, False, True],
        "about square": [True, False, False],
    }


def test_a_query_that_never_answers_has_an_empty_square_and_the_legend_stands_once():
    figure = draw_queries(BOXES, KEPT & torch.tensor([True, False]))
    assert figure.axes[1].get_title() == "query 1: 0" and dots(figure.axes[1])[0] == []
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["tall", "wide", "about square"]


@pytest.mark.parametrize(
    ("boxes", "kept", "name"),
    [
        (BOXES[0], KEPT, "boxes"),
        (BOXES[:, :0], KEPT[:, :0], "boxes"),
        (BOXES, KEPT[:2], "kept"),
        (BOXES, KEPT.float(), "kept"),
    ],
)
def test_what_does_not_fit_is_refused(boxes, kept, name):
    with pytest.raises(ValueError, match=f"^{name} is"):
        draw_queries(boxes, kept)
