"""The pictures of lesson 10 show whose loss it is."""

import pytest
import torch

from lib.ops.losses import sigmoid_focal_loss
from lib.viz.detection.focal import (
    draw_cumulative,
    draw_focal_curves,
    draw_loss_of_places,
    draw_runs,
    draw_to_scale,
)
from lib.viz.detection.focal_explorer import explore_focal

IMAGE = torch.full((3, 16, 16), 0.5)
ANCHORS = torch.tensor(
    [[0.0, 0, 8, 8], [2.0, 0, 6, 8], [8.0, 0, 16, 8], [10.0, 0, 14, 8]]
)  # two at (4, 4), two at (12, 4)
POSITIVE = torch.tensor([False, False, True, False])


def test_each_panel_has_the_same_ink_and_no_dot_lies_on_another():
    few, many = torch.tensor([0.0, 0, 3, 1]), torch.tensor([1.0, 1, 1, 1])
    figure = draw_loss_of_places(IMAGE, ANCHORS, {"few": few, "many": many}, POSITIVE)
    inks = [sum(dots.get_sizes().sum() for dots in axis.collections) for axis in figure.axes[:2]]
    assert inks[0] == pytest.approx(inks[1])
    background, things = figure.axes[0].collections
    assert things.get_sizes() == pytest.approx(0.75 * inks[0])
    assert "background has 25%" in figure.axes[0].get_title() and "75%" in figure.axes[1].get_title()
    places = torch.tensor([*background.get_offsets().tolist(), *things.get_offsets().tolist()])
    assert len(places.unique(dim=0)) == 4
    with pytest.raises(ValueError, match="one each"):
        draw_loss_of_places(IMAGE, ANCHORS, {"few": few[:3]}, POSITIVE)


def test_bars_are_cut_to_scale():
    (axis,) = draw_to_scale({"one in four": (1, 3), "one in a thousand": (1, 999)}, ("yes", "no")).axes
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([0.25, 0.75, 0.001, 0.999])
    assert [text.get_text() for text in axis.texts] == ["25%", "0.1%"]
    with pytest.raises(ValueError, match="not both 0"):
        draw_to_scale({"nothing": (0, 0)}, ("yes", "no"))


def test_the_pull_of_cross_entropy_is_a_straight_line_and_that_of_gamma_2_has_its_top_further_right():
    loss, pull = draw_focal_curves((0, 2)).axes
    p, height = pull.lines[0].get_data()
    assert height == pytest.approx(1 - p, abs=1e-6)
    tops = [pull.lines[number].get_xdata()[0] for number in (1, 3)]
    assert tops[0] < 0.01 < tops[1] < 0.1
    assert (loss.lines[1].get_ydata() <= loss.lines[0].get_ydata()).all()


def test_the_curve_of_shares_ends_at_1_and_may_begin_late():
    share = torch.linspace(0, 1, 5000).square()
    figure = draw_cumulative({"all": {"γ = 0": share}, "late": {"γ = 0": share}}, {"late": 0.9})
    for axis, start in zip(figure.axes, (0, 0.9)):
        place, height = axis.lines[0].get_data()
        assert axis.get_xlim() == (start, 1) and len(place) < 1000
        assert height == pytest.approx(place**2, abs=1e-3) and height[-1] == 1
    with pytest.raises(ValueError, match="empty"):
        draw_cumulative({"all": {}})


def test_every_run_is_a_dot_and_their_mean_is_written():
    (axis,) = draw_runs({"a": (0.1, 0.2, 0.3), "b": (0.5,)}).axes
    assert [len(line.get_xdata()) for line in axis.lines[::2]] == [3, 1]
    assert [text.get_text() for text in axis.texts] == ["0.200", "0.500"]
    with pytest.raises(ValueError, match="empty"):
        draw_runs({"a": ()})


def test_moving_gamma_takes_the_loss_from_easy_background():
    logits = torch.cat([torch.full((99,), -3.0), torch.tensor([-1.0])])  # 99 easy backgrounds, one positive
    targets = torch.cat([torch.zeros(99), torch.ones(1)])
    widget = explore_focal(logits, targets)
    before = widget.share_of_background()
    widget.gamma = 2.0
    losses = sigmoid_focal_loss(logits, targets, 0.5, 2.0)
    assert widget.share_of_background() == pytest.approx(float(losses[:99].sum() / losses.sum()))
    assert before > 0.7 > 0.1 > widget.share_of_background()
    assert widget.kept()[0.9] == pytest.approx(0.01) and "× 0.01" in widget.figure().axes[0].texts[0].get_text()
    widget.alpha = 1.0
    assert widget.share_of_background() == 0
    with pytest.raises(ValueError, match="gamma"):
        explore_focal(logits, targets, gamma=6)
