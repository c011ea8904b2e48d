import pytest
import torch

from lib.viz.detection.curves import draw_precision_recall, draw_recall_curve, draw_speed_accuracy


def test_precision_and_its_highest_from_here_on():
    recall, precision = torch.tensor([0.25, 0.25, 0.5]), torch.tensor([1.0, 0.5, 2 / 3])
    axis = draw_precision_recall({"cone": (recall, precision)}, interpolated=True).axes[0]
    torch.testing.assert_close(torch.tensor(axis.lines[0].get_xydata()).float(), torch.stack([recall, precision], 1))
    steps = axis.patches[0].get_data()
    torch.testing.assert_close(torch.as_tensor(steps.values), torch.tensor([1.0, 2 / 3, 2 / 3]))
    assert torch.as_tensor(steps.edges).tolist() == [0, 0.25, 0.25, 0.5]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == [
        "cone",
        "cone, teeth filled; the area is its AP",
    ]
    assert not draw_precision_recall({"cone": ([], [])}).axes[0].patches


def test_recall_curves_have_a_line_each_told_apart_by_colour_and_marker():
    axis = draw_recall_curve({"searched": ([1, 10, 100], [0.1, 0.5, 0.9]), "learned": ([1, 10], [0.4, 0.8])}).axes[0]
    assert axis.get_xscale() == "log" and axis.lines[1].get_xydata().tolist() == [
        [1, pytest.approx(0.4)],
        [10, pytest.approx(0.8)],
    ]
    assert len({(line.get_color(), line.get_marker()) for line in axis.lines}) == 2
    assert axis.get_ylabel() == "recall at IoU 0.5"


def test_the_legend_of_recall_curves_covers_none_of_them():
    late = ([1, 10, 20, 30, 50, 70, 100], [0, 0, 0.01, 0.02, 0.05, 0.08, 0.1])  # its end lies on the right, below
    axis = draw_recall_curve({"late": late, "early": ([1, 10, 100], [0.3, 0.6, 0.9])}).axes[0]
    axis.figure.canvas.draw()
    covered = axis.get_legend().get_window_extent()
    for line in axis.lines:
        assert not line.get_path().transformed(axis.transData).intersects_bbox(covered, filled=False)


def test_speed_and_accuracy_are_written_at_each_point():
    axis = draw_speed_accuracy({"slow": (3.14, 0.5), "fast": (0.012, 0.45), "between": (0.4, 0.2)}).axes[0]
    assert [text.get_text() for text in axis.texts] == [
        "slow\n3.14 s, AP 0.50",
        "fast\n12 ms, AP 0.45",
        "between\n0.40 s, AP 0.20",
    ]
    low, high = axis.get_xlim()
    assert low < 0.012 and high > 3.14 and axis.get_ylim()[1] > 0.5


def test_names_of_models_of_like_speed_and_ap_do_not_cover_each_other():
    figure = draw_speed_accuracy({"a": (0.005, 0.52), "b": (0.005, 0.46), "far": (0.1, 0.5)})
    figure.canvas.draw()
    first, second, far = (text.get_window_extent() for text in figure.axes[0].texts)
    assert not first.overlaps(second) and far.y0 > second.y1


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: draw_precision_recall({}), "curves"),
        (lambda: draw_recall_curve({"a": ([1, 2], [1])}), "curves"),
        (lambda: draw_speed_accuracy({}), "curves or models"),
        (lambda: draw_speed_accuracy({"a": (0.0, 1.0)}), "models"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        call()
