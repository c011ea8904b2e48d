import pytest
import torch

from lib.viz.detection.suppression import draw_suppression, explore_nms

IMAGE = torch.full((3, 50, 50), 0.5)
BOXES = torch.tensor([[10.0, 10, 30, 30], [12.0, 10, 32, 30], [16.0, 10, 36, 30], [0.0, 40, 9, 49]])
SCORES = torch.tensor([0.6, 0.9, 0.8, 0.5])


def lines(figure):
    return [text.get_text() for text in figure.axes[1].texts]


def test_the_list_says_who_removed_whom():
    figure = draw_suppression(IMAGE, BOXES, SCORES, 0.5)
    assert lines(figure) == [
        "A  0.90  kept",
        "B  0.80  removed by A, IoU 0.67",
        "C  0.60  removed by A, IoU 0.82",
        "D  0.50  kept",
    ]
    assert figure.axes[0].get_title() == "2 kept, 2 removed, 0 to be decided"
    arrows = [text for text in figure.axes[0].texts if hasattr(text, "arrow_patch") and text.arrow_patch]
    assert sorted(arrow.xyann for arrow in arrows) == [(20, 20), (26, 20)] and {arrow.xy for arrow in arrows} == {
        (22, 20)
    }


def test_a_higher_threshold_keeps_more_and_a_removed_box_removes_nobody():
    assert lines(draw_suppression(IMAGE, BOXES, SCORES, 0.7))[1:3] == [
        "B  0.80  kept",
        "C  0.60  removed by A, IoU 0.82",
    ]


def test_rounds_stop_in_between():
    figure = draw_suppression(IMAGE, BOXES, SCORES, 0.5, rounds=1)
    assert lines(figure)[-1] == "D  0.50  not decided yet"
    assert figure.axes[0].get_title() == "1 kept, 2 removed, 1 to be decided"


def test_classes_leave_each_other_alone():
    labels = torch.tensor([1, 2, 1, 1])
    assert lines(draw_suppression(IMAGE, BOXES, SCORES, 0.5, labels))[2] == "C  0.60  removed by B, IoU 0.54"


def test_the_widget_follows_its_sliders():
    explorer = explore_nms(IMAGE, BOXES, SCORES)
    before = explorer._picture.value
    threshold, rounds = explorer.children[0].children
    assert repr(explorer) == "SuppressionExplorer: 4 boxes, IoU threshold 0.50, 2 kept"
    threshold.value = 0.9
    assert explorer.kept == 4 and explorer._picture.value != before
    before = explorer._picture.value
    explorer.rounds = 1
    assert rounds.value == 1 and explorer._picture.value != before
    assert "image/png" in explorer._repr_mimebundle_()


def test_many_boxes_are_cut_off_and_none_are_fine():
    boxes = torch.rand(40, 2).repeat(1, 2) * 30 + torch.tensor([0.0, 0, 8, 8])
    assert lines(draw_suppression(IMAGE, boxes, torch.rand(40), 0.5))[-1] == "… and 23 more"
    assert explore_nms(IMAGE, torch.zeros(0, 4), torch.zeros(0)).kept == 0


@pytest.mark.parametrize(
    "arguments, named",
    [
        ((BOXES[0], SCORES, 0.5), "boxes"),
        ((BOXES, SCORES[:2], 0.5), "scores"),
        ((BOXES, SCORES, 1.5), "threshold"),
        ((BOXES, SCORES, 0.5, SCORES[:3]), "labels"),
    ],
)
def test_bad_input_is_named(arguments, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        draw_suppression(IMAGE, *arguments)
