import re

import matplotlib.pyplot as plt
import pytest
import torch

from lib.viz.detection.boxes import class_colour
from lib.viz.detection.suppression import Suppression, draw_suppression
from lib.viz.detection.suppression_explorer import explore_nms
from lib.viz.detection.suppression_page import drawing

IMAGE = torch.full((3, 50, 50), 0.5)
BOXES = torch.tensor([[10.0, 10, 30, 30], [12.0, 10, 32, 30], [16.0, 10, 36, 30], [0.0, 40, 9, 49]])
SCORES = torch.tensor([0.6, 0.9, 0.8, 0.5])
CLASSES = torch.tensor([1, 1, 1, 2])
GIVEN = (IMAGE, BOXES, SCORES, CLASSES)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def lines(threshold, rounds=None, labels=None):
    return Suppression.of(*GIVEN, labels, threshold).lines(rounds)


def test_the_list_says_who_removed_whom():
    assert lines(0.5) == [
        "a  0.90  kept",
        "b  0.80  removed by a, IoU 0.67",
        "c  0.60  removed by a, IoU 0.82",
        "d  0.50  kept",
    ]


def test_a_higher_threshold_keeps_more_and_a_removed_box_removes_nobody():
    assert lines(0.7)[1:3] == ["b  0.80  kept", "c  0.60  removed by a, IoU 0.82"]


def test_rounds_stop_in_between():
    assert lines(0.5, rounds=1)[-1] == "d  0.50  undecided"
    assert Suppression.of(*GIVEN, None, 0.5).count(1) == "1 kept, 2 removed, 1 undecided"


def test_classes_leave_each_other_alone():
    assert lines(0.5, labels=torch.tensor([1, 2, 1, 1]))[2] == "c  0.60  removed by b, IoU 0.54"


def test_every_box_has_its_letter_in_the_colour_of_its_class():
    figure = draw_suppression(*GIVEN, {"before": (0.5, 0), "after": (0.5, None)})
    for axis in figure.axes[:2]:
        letters = {text.get_text(): text.get_bbox_patch() for text in axis.texts if text.get_text()}
        assert sorted(letters) == ["a", "b", "c", "d"]
        colours = {name: plt.matplotlib.colors.to_hex(patch.get_facecolor()) for name, patch in letters.items()}
        assert colours["a"] == colours["c"] == class_colour(1).lower() and colours["d"] == class_colour(2).lower()
    assert figure.axes[1].get_title() == "after\n2 kept, 2 removed"


def test_a_part_of_the_picture_shows_the_boxes_whose_letters_are_in_it_and_counts_all():
    axis = draw_suppression(*GIVEN, {"after": (0.5, None)}, part=(5, 5, 45, 35)).axes[0]
    assert sorted(text.get_text() for text in axis.texts if text.get_text()) == ["a", "b", "c"]
    assert axis.get_xlim() == (5, 45) and axis.get_ylim() == (35, 5)
    assert axis.get_title() == "after\n2 kept, 2 removed"


def test_the_legend_names_the_lines_that_are_there():
    shown = {"round": (0.5, 1)}, {"end": (0.5, None)}
    legends = [draw_suppression(*GIVEN, states).legends[0].get_texts() for states in shown]
    kinds = [[text.get_text().split(";")[0] for text in texts] for texts in legends]
    assert kinds == [["kept", "undecided", "removed"], ["kept", "removed"]]


def test_titles_of_two_lines_are_not_cut_off():
    figure = draw_suppression(*GIVEN, {"after": (0.5, None)}, part=(5, 5, 45, 35))
    figure.canvas.draw()
    assert figure.axes[0].title.get_window_extent().y1 <= figure.bbox.y1


def test_an_arrow_leads_from_each_removed_box_to_its_remover():
    before, after = draw_suppression(*GIVEN, {"before": (0.5, 0), "after": (0.5, None)}).axes[:2]
    spots = Suppression.of(*GIVEN, None, 0.5).spots.tolist()
    arrows = [(text.xyann, text.xy) for text in after.texts if getattr(text, "arrow_patch", None)]
    assert [list(map(list, arrow)) for arrow in arrows] == [[spots[1], spots[0]], [spots[2], spots[0]]]
    assert not any(getattr(text, "arrow_patch", None) for text in before.texts)


def test_letters_lie_apart_and_inside_of_the_picture():
    boxes = BOXES.repeat(3, 1) - 5  # some of them reach beyond the left edge, and each is there three times
    spots = Suppression.of(IMAGE, boxes, torch.rand(12), torch.ones(12), None, 0.5).spots
    assert spots.min() > 0 and spots.max() < 50
    assert (torch.cdist(spots, spots) + 99 * torch.eye(12)).min() > 1


def test_the_page_holds_a_group_for_each_box_and_arrows_for_the_removed_ones():
    page = drawing(Suppression.of(*GIVEN, None, 0.5), 1)
    assert page.count('class="nms-one"') == 4 and page.count("marker-end") == 2
    assert re.findall(r">([a-d]  0[^<]*)<", page) == lines(0.5, 1)[::-1]


def test_the_widget_follows_its_sliders():
    explorer = explore_nms(*GIVEN)
    before = explorer._drawing.value
    threshold, rounds = explorer.children[0].children
    assert repr(explorer) == "SuppressionExplorer: 4 boxes, IoU threshold 0.50, 2 kept"
    threshold.value = 0.9
    assert rounds.max == rounds.value == 4 and explorer._drawing.value != before
    before = explorer._drawing.value
    explorer.rounds = 1
    assert rounds.value == 1 and explorer._drawing.value != before
    threshold.value = 0.5
    assert rounds.max == 2 and explorer.rounds == 1, "whoever saw one round still sees one"
    assert "image/png" in explorer._repr_mimebundle_()


def test_fewer_rounds_than_asked_for_are_all_of_them():
    explorer = explore_nms(*GIVEN, threshold=0.9)
    explorer.rounds = 3
    explorer.threshold = 0.5
    assert explorer.rounds == 2 and "undecided" not in " ".join(explorer.suppression.lines(explorer.rounds))


def test_many_boxes_are_cut_off_and_none_are_fine():
    boxes = torch.rand(40, 2).repeat(1, 2) * 30 + torch.tensor([0.0, 0, 8, 8])
    explorer = explore_nms(IMAGE, boxes, torch.rand(40), torch.ones(40))
    assert "… and 22 more" in explorer._drawing.value and "image/png" in explorer._repr_mimebundle_()
    none = explore_nms(IMAGE, torch.zeros(0, 4), torch.zeros(0), torch.zeros(0))
    assert none.suppression.kept == [] and "0 kept" in none._drawing.value


@pytest.mark.parametrize(
    "arguments, named",
    [
        ((BOXES[0], SCORES, CLASSES), "boxes"),
        ((BOXES, SCORES[:2], CLASSES), "scores"),
        ((BOXES, SCORES, CLASSES[:1]), "classes"),
        ((BOXES, SCORES, CLASSES, SCORES[:3]), "labels"),
        ((BOXES, SCORES, CLASSES, None, 1.5), "threshold"),
    ],
)
def test_bad_input_is_named(arguments, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        explore_nms(IMAGE, *arguments)


def test_no_states_are_named():
    with pytest.raises(ValueError, match="^states "):
        draw_suppression(*GIVEN, {})


@pytest.mark.parametrize("part", [(0, 0, 51, 50), (9, 9, 9, 20), (-1, 0, 9, 9)])
def test_a_part_that_is_not_of_the_picture_is_named(part):
    with pytest.raises(ValueError, match="^part "):
        draw_suppression(*GIVEN, {"after": (0.5, None)}, part=part)
