import pytest
import torch
from matplotlib.colors import to_hex

from lib.viz.detection.boxes import class_colour
from lib.viz.detection.matching import draw_matching

IMAGE = torch.full((3, 60, 80), 0.5)
TRUTH = torch.tensor([[10.0, 10, 30, 40], [45.0, 20, 70, 50]])
BOXES = torch.tensor([[12.0, 8, 32, 38], [44.0, 18, 68, 52], [20.0, 30, 60, 55]])
COST = torch.tensor([[-2.0, 0.5], [-2.25, -1.0], [1.0, 2.0]])  # query 1 is the cheapest of both columns
QUERIES = torch.tensor([0, 1])
NAMES = ("cone", "figure")


def draw(boxes=BOXES, truth=TRUTH, cost=COST, queries=QUERIES, names=NAMES):
    return draw_matching(IMAGE, boxes, truth, cost, queries, names)


def words(axis):
    return [text.get_text() for text in axis.texts]


def test_the_table_has_all_costs_and_the_chosen_ones_in_the_colours_of_their_true_boxes():
    figure = draw()
    _, table = figure.axes
    assert words(table) == ["-2.00", "0.50", "-2.25", "-1.00", "1.00", "2.00"]
    frames = [(patch.get_x() + 0.44, patch.get_y() + 0.44, to_hex(patch.get_edgecolor())) for patch in table.patches]
    assert frames == [(0, 0, class_colour(1).lower()), (1, 1, class_colour(2).lower())]
    assert [tick.get_text() for tick in table.get_xticklabels()] == ["A\ncone", "B\nfigure"]
    assert [tick.get_text() for tick in table.get_yticklabels()] == ["0", "1", "2"]


def test_what_was_cheapest_is_underlined_where_another_was_chosen():
    figure = draw()
    (line,) = figure.axes[1].lines  # column A alone
    assert set(line.get_xdata()) == {-0.27, 0.27} and 1 < line.get_ydata()[0] < 1.5
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[-1] == "cheapest of its column, not chosen"


def test_nothing_is_underlined_where_each_has_its_cheapest():
    figure = draw(cost=COST + torch.tensor([[0.0, 0], [3, 0], [0, 0]]))
    assert not figure.axes[1].lines and len(figure.legends[0].get_texts()) == 3


def test_true_boxes_are_solid_and_lettered_queries_dashed_and_numbered():
    photo = draw().axes[0]
    assert {"A", "B", "0", "1", "2"} == set(words(photo))
    coloured = {
        (to_hex(patch.get_edgecolor()), patch.get_linestyle() == "-"): patch.get_bbox().extents.tolist()
        for patch in photo.patches
        if to_hex(patch.get_edgecolor()) == class_colour(1).lower()
    }
    assert coloured == {
        (class_colour(1).lower(), True): TRUTH[0].tolist(),
        (class_colour(1).lower(), False): BOXES[0].tolist(),
    }
    unmatched = photo.collections[-1].get_segments()
    assert len(unmatched) == 1 and unmatched[0][0].tolist() == BOXES[2, :2].tolist()


def test_the_order_of_queries_is_that_of_the_true_boxes():
    table = draw(queries=torch.tensor([2, 0])).axes[1]
    assert [(patch.get_x() + 0.44, patch.get_y() + 0.44) for patch in table.patches] == [(0, 2), (1, 0)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"truth": TRUTH[:0], "cost": COST[:, :0]}, "true_boxes has 0"),
        ({"boxes": BOXES[:1], "cost": COST[:1]}, "true_boxes has 2 boxes and boxes 1"),
        ({"boxes": torch.zeros(31, 4), "cost": torch.zeros(31, 2)}, "true_boxes has 2 boxes and boxes 31"),
        ({"cost": COST.T}, r"cost is \(2, 3\); expected \(3, 2\)"),
        ({"queries": torch.tensor([1, 1])}, r"queries is \[1, 1\]"),
        ({"queries": torch.tensor([0, 3])}, r"queries is \[0, 3\]"),
        ({"queries": torch.tensor([0])}, r"queries is \[0\]"),
        ({"names": ("cone",)}, "names has 1"),
    ],
)
def test_what_does_not_fit_is_refused(changes, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        draw(**changes)


def test_a_name_of_two_words_stands_in_two_lines_and_has_room():
    short, long = draw(), draw(names=("cone", "stop sign"))
    assert [tick.get_text() for tick in long.axes[1].get_xticklabels()] == ["A\ncone", "B\nstop\nsign"]
    tops = [(1 - figure.axes[1].get_position().y1) * figure.get_figheight() for figure in (short, long)]
    assert tops[1] > tops[0] + 0.1
