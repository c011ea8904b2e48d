import torch

from lib.exercises.engine.box_pictures import compare_boxes, compare_kept
from lib.exercises.engine.exercise import Case

BOXES = torch.tensor([[0.0, 0, 4, 4], [1, 0, 5, 4], [10, 10, 12, 15]])
SCORES = torch.tensor([0.9, 0.8, 0.7])
CASE = Case("three boxes", (BOXES, SCORES, 0.5), torch.tensor([0, 2]))


def test_both_sets_of_boxes_are_drawn_with_y_running_down():
    axes = compare_boxes(BOXES + 1, BOXES, CASE).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["yours", "expected"]
    assert len(axes.lines) == 6 and axes.yaxis_inverted()
    assert axes.lines[0].get_xdata().tolist() == [1, 5, 5, 1, 1]


def test_kept_boxes_are_drawn_over_all_boxes():
    left, right = compare_kept(torch.tensor([0, 1, 2]), CASE.expected, CASE).axes
    assert left.get_title() == "yours keeps 3 of 3" and right.get_title() == "expected 2 of 3"
    assert len(left.lines) == 6 and len(right.lines) == 5
    assert left.texts[0].get_text() == "0: 0.90"


def test_what_cannot_be_drawn_is_left_out():
    assert compare_boxes(None, BOXES, CASE) is None
    assert compare_boxes(BOXES.T, BOXES, CASE) is None
    assert compare_boxes(BOXES[:0], BOXES[:0], CASE) is None
    assert compare_kept(BOXES, CASE.expected, CASE) is None
    assert compare_kept(torch.tensor([7]), CASE.expected, CASE) is None
    assert compare_kept(torch.tensor([0.5]), CASE.expected, CASE) is None
