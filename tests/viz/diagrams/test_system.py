"""The drawing of a whole detector, and the three that lessons 06 to 08 draw with it."""

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex
from torch import nn

from lib.datasets.toyworld import Toyworld
from lib.models.fast_rcnn import fast_rcnn_small
from lib.models.faster_rcnn import faster_rcnn_small
from lib.models.rcnn import RCNN
from lib.viz.diagrams.rcnn_family import (
    draw_family,
    draw_rcnn,
    fast_rcnn_plan,
    faster_rcnn_plan,
    rcnn_plan,
    time_rcnn,
)
from lib.viz.diagrams.system import NEW, Loss, Plan, Stage, draw_system, without_times


def stage(name, milliseconds=None, new=False):
    return Stage(name, lambda axis: axis.imshow(torch.rand(4, 4).numpy()), "4 × 4", milliseconds, new)


def words(figure):
    return [text.get_text() for axis in figure.axes for text in axis.texts if text.get_text()]


def test_every_stage_has_a_panel_its_name_its_words_and_its_time():
    figure = draw_system((stage("picture"), stage("search", 12.3), stage("look", 0.25, new=True)), title="A detector")
    paper, *panels = figure.axes
    assert len(panels) == 3 and all(panel.images for panel in panels)
    assert {"picture", "search", "look", "4 × 4", "≈ 12 ms", "≈ 0.2 ms", "A detector"} <= set(words(figure))
    assert [to_hex(panel.spines["left"].get_edgecolor()).upper() == NEW for panel in panels] == [False, False, True]
    bars = [patch.get_height() for patch in paper.patches if hasattr(patch, "get_height")]
    assert bars[1] / bars[0] == pytest.approx(0.25 / 12.3)  # one scale for all
    plt.close(figure)


def test_a_gradient_runs_from_the_judged_stage_to_the_last_that_learns():
    figure = draw_system([stage(str(number)) for number in range(4)], [Loss("which class?", 2, 1)])
    paper, *panels = figure.axes
    arrow = next(text for text in paper.texts if not text.get_text() and text.arrow_patch.get_linewidth() > 1.5)
    left, right = arrow.xy[0], arrow.xyann[0]
    inches = [[edge * figure.get_figwidth() for edge in panel.get_position().intervalx] for panel in panels]
    assert left == pytest.approx(inches[1][0]) and right == pytest.approx(inches[2][1])
    plt.close(figure)


@pytest.mark.parametrize("loss", [Loss("a", 0, 1), Loss("a", 2, 0), Loss("a", 1, -1)])
def test_a_loss_that_fits_no_stage_is_refused(loss):
    with pytest.raises(ValueError, match="^losses"):
        draw_system([stage("one"), stage("two")], [loss])


def test_no_stage_is_refused():
    with pytest.raises(ValueError, match="^stages"):
        draw_system([])


@pytest.mark.parametrize(
    ("plan_of", "model", "losses"),
    [
        (rcnn_plan, lambda: small_rcnn(), 3),
        (fast_rcnn_plan, lambda: fast_rcnn_small(6).eval(), 2),
        (faster_rcnn_plan, lambda: faster_rcnn_small(6).eval(), 4),
    ],
)
def test_the_family_is_drawn_in_six_stages_that_look_alike(plan_of, model, losses):
    torch.manual_seed(0)
    figure = plan_of(model(), Toyworld("val", length=200)[32].image).draw()
    paper, *panels = figure.axes
    assert len(panels) == 6 and "3 × 96 × 96" in words(figure)
    arrows = [text.arrow_patch for text in paper.texts if getattr(text, "arrow_patch", None)]
    assert sum(arrow.get_linewidth() > 1.5 for arrow in arrows) == losses
    heights = [round(panel.get_position().height * figure.get_figheight(), 3) for panel in panels]
    assert len(set(heights)) == 1  # the same from drawing to drawing
    plt.close(figure)


def test_times_may_be_left_to_be_guessed():
    stages = (stage("search", 12.3), stage("look", 0.25))
    figure, shorter = draw_system(stages), draw_system(without_times(stages))
    assert not any("ms" in text or "long" in text for text in words(shorter))
    assert shorter.get_figheight() < figure.get_figheight()
    plt.close("all")


def small_rcnn():
    return RCNN(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()), 12, 6, size=16, context=1)


def test_rcnn_is_drawn_with_the_times_that_it_is_given():
    image = Toyworld("val", length=200)[32].image
    timed, untimed = (draw_rcnn(small_rcnn(), image, times) for times in ((21, 11, 78, 0.25), None))
    assert {"≈ 21 ms", "≈ 11 ms", "≈ 78 ms", "≈ 0.2 ms"} <= set(words(timed))
    assert not any("ms" in text for text in words(untimed))
    plt.close("all")
    with pytest.raises(ValueError, match="^times"):
        draw_rcnn(small_rcnn(), image, (1.0, 2.0))


def test_the_four_stages_of_rcnn_take_time():
    search, warp, network, judge = time_rcnn(small_rcnn(), Toyworld("val", length=200)[32].image)
    assert min(search, warp, judge) > 0 and network >= 0


def test_several_drawings_can_have_one_scale():
    heights = []
    for scale in (None, 24.6):
        figure = draw_system((stage("search", 12.3),), scale=scale)
        heights += [patch.get_height() for patch in figure.axes[0].patches if hasattr(patch, "get_height")]
        plt.close(figure)
    assert heights[1] == pytest.approx(heights[0] / 2)


def test_a_plan_adds_up_its_times_and_a_family_has_one_scale():
    plans = [Plan((stage("picture"), stage("search", 12.3), stage("look", 0.5)), (), "slow"),
             Plan((stage("picture"), stage("look", 2.0)), (), "quick")]  # fmt: skip
    assert [plan.milliseconds for plan in plans] == pytest.approx([12.8, 2.0])
    slow, quick = draw_family(plans)
    highest = [max(bar.get_height() for bar in figure.axes[0].containers[-1]) for figure in (slow, quick)]
    assert highest[1] / highest[0] == pytest.approx(2.0 / 0.5)  # the last bar of each
    plt.close("all")


def test_a_time_that_was_measured_before_is_taken_over():
    plan = fast_rcnn_plan(fast_rcnn_small(6).eval(), Toyworld("val", length=200)[32].image, search_ms=321.0)
    assert plan.stages[1].milliseconds == 321.0


def test_the_name_of_a_loss_covers_the_end_of_its_line():
    paper = draw_system([stage("one"), stage("two")], [Loss("which class?", 1, 0)]).axes[0]
    name = next(text for text in paper.texts if text.get_text() == "which class?")
    line = next(text for text in paper.texts if not text.get_text() and text.arrow_patch.get_linewidth() > 1.5)
    assert name.get_position()[0] == pytest.approx(line.xyann[0])
    plt.close("all")


def test_a_stage_that_follows_from_an_earlier_one_has_an_arrow_around_those_between():
    stages = [stage("one"), stage("two"), stage("three"), Stage("four", lambda axis: None, after=0)]
    figure = draw_system(stages, [Loss("which?", 3, 3)])
    paper, *panels = figure.axes
    (around,) = [line for line in paper.lines if len(line.get_xdata()) == 4]
    edges = [[edge * figure.get_figwidth() for edge in panel.get_position().intervalx] for panel in panels]
    assert edges[0][1] < around.get_xdata()[0] < edges[1][0] and edges[2][1] < around.get_xdata()[-1] < edges[3][0]
    feet = [panel.get_position().y0 * figure.get_figheight() for panel in panels]
    assert min(feet) > min(around.get_ydata()) > 0.24, "below the pictures, above the losses"
    plt.close("all")


@pytest.mark.parametrize("after", [-1, 1, 2])
def test_a_stage_that_follows_from_none_before_it_is_refused(after):
    with pytest.raises(ValueError, match="^stages has number 1 after"):
        draw_system([stage("one"), Stage("two", lambda axis: None, after=after)])


def test_a_stage_that_takes_two_answers_has_a_second_arrow_below_all_others():
    stages = [stage("one"), stage("two"), Stage("three", lambda axis: None, after=0, also=1)]
    figure = draw_system(stages, [Loss("which?", 2, 0)])
    paper, *panels = figure.axes
    below = [text for text in paper.texts if getattr(text, "arrow_patch", None)][-2]  # the last is the loss's
    middles = [sum(panel.get_position().intervalx) / 2 * figure.get_figwidth() for panel in panels]
    assert below.xy[0] == pytest.approx(middles[2]) and below.xyann[1] < below.xy[1]
    (around,) = [line for line in paper.lines if len(line.get_xdata()) == 3]
    (first,) = [line for line in paper.lines if len(line.get_xdata()) == 4]
    assert around.get_xdata()[0] == pytest.approx(middles[1]) and min(around.get_ydata()) < min(first.get_ydata())
    assert min(around.get_ydata()) > 0.24, "above the losses"
    with pytest.raises(ValueError, match="^stages has number 1 also 1"):
        draw_system([stage("one"), Stage("two", lambda axis: None, also=1)])


def test_a_loss_is_dotted_below_a_stage_that_it_passes():
    stages = [stage(str(number)) for number in range(3)]
    figure = draw_system(stages, [Loss("which?", 2, 0, past=(1,))])
    paper, _, panel, _ = figure.axes
    (dotted,) = [line for line in paper.lines if line.get_linestyle() == ":"]
    edges = [edge * figure.get_figwidth() for edge in panel.get_position().intervalx]
    assert sorted(dotted.get_xdata()) == pytest.approx(edges) and "(dotted" in " ".join(words(figure))
    for past in ((0,), (2,), (5,)):
        with pytest.raises(ValueError, match="^losses .* back_to < past < at"):
            draw_system(stages, [Loss("which?", 2, 0, past=past)])
