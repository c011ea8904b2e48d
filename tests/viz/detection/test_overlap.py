import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.patches import Rectangle

from lib.ops.boxes import box_iou
from lib.viz.detection.boxes import CLASS_COLOURS
from lib.viz.detection.overlap import (
    SHARED,
    count_squares,
    draw_apart,
    draw_box_paths,
    draw_landscapes,
    draw_on_pixels,
    draw_overlap,
)

PAIR = torch.tensor([[1.0, 1, 7, 5], [4, 3, 9, 8]])
APART = torch.tensor([[0.0, 0, 4, 4], [5, 1, 8, 5]])
IMAGE = torch.linspace(0, 1, 3 * 20 * 30).view(3, 20, 30)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def filled(axis, colour):
    wanted = plt.matplotlib.colors.to_rgb(colour)
    return [
        patch
        for patch in axis.patches
        if isinstance(patch, Rectangle) and patch.get_facecolor()[:3] == wanted and patch.get_facecolor()[3] == 1
    ]


def test_squares_are_counted_like_areas():
    assert count_squares(PAIR) == {"one": 24, "other": 25, "both": 6, "either": 43}
    assert count_squares(APART)["both"] == 0
    assert box_iou(PAIR[:1], PAIR[1:]).item() == pytest.approx(6 / 43)


def test_the_intersection_is_drawn_where_there_is_one():
    figure = draw_overlap({"overlap": PAIR, "apart": APART})
    first, second = figure.axes[:2]
    (patch,) = filled(first, SHARED)
    assert patch.get_bbox().bounds == (4, 3, 3, 2) and not filled(second, SHARED)
    assert first.get_title() == "overlap"


def test_the_box_around_is_drawn_on_demand():
    plain, around = (draw_overlap({"apart": APART}, around=each).axes[0] for each in (False, True))
    bounds = [patch.get_bbox().bounds for patch in around.patches]
    assert (0, 0, 8, 5) in bounds and (0, 0, 8, 5) not in [patch.get_bbox().bounds for patch in plain.patches]


def test_a_box_on_its_pixels_stays_inside_of_the_picture():
    axis = draw_on_pixels(IMAGE, torch.tensor([1.0, 4, 9, 18])).axes[0]
    assert axis.get_xlim() == (0, 12) and axis.get_ylim() == (20, 1)


def test_paths_have_a_colour_for_each_step():
    paths = {title: {0: PAIR[0], 10: PAIR[1]} for title in ("one way", "another")}
    figure = draw_box_paths(IMAGE, APART[0], paths)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["step 0", "step 10", "the truth"] and len(figure.axes) == 2


def test_the_truth_is_seen_on_top_of_a_box_that_has_arrived():
    axis = draw_box_paths(IMAGE, PAIR[0], {"one way": {0: PAIR[1], 10: PAIR[0]}}).axes[0]
    arrived = [patch for patch in axis.patches if patch.get_bbox().bounds == (1, 1, 6, 4)]
    assert arrived[-1] is axis.patches[-1] and arrived[-1].get_linestyle() == ":"


def test_landscapes_run_down_like_pictures():
    figure = draw_landscapes({"loss": torch.linspace(0, 2, 12).view(3, 4)})
    assert figure.axes[0].get_ylim() == (3, 0)


def test_landscapes_share_one_scale_and_flat_ground_is_hatched():
    steep = torch.linspace(0, 1.6, 100).view(10, 10)
    figure = draw_landscapes({"desert": steep.clamp(max=1), "slope": steep})
    desert, slope, bar = figure.axes
    assert bar.get_yticks().tolist() == [0, 0.5, 1, 2]
    assert [any(each.hatches[0] for each in axis.collections) for axis in (desert, slope)] == [True, False]
    alone = draw_landscapes({"desert": steep.clamp(max=1)})
    assert alone.axes[1].get_yticks().tolist() == [0, 0.5, 1]


def test_classes_are_named_and_coloured():
    axis = draw_apart(PAIR, torch.tensor([1, 2]), ("nothing", "cat", "dog"), step=10, side=9).axes[0]
    assert [text.get_text() for text in axis.texts] == ["cat: moved by 1 · 10", "dog: moved by 2 · 10"]
    assert [patch.get_bbox().bounds for patch in axis.patches] == [(10, 10, 9, 9), (20, 20, 9, 9)]
    edges = [plt.matplotlib.colors.to_hex(lines.get_edgecolor()[0]).upper() for lines in axis.collections]
    assert edges == list(CLASS_COLOURS[1:3])


@pytest.mark.parametrize(
    "call, start",
    [
        (lambda: draw_overlap({}), "pairs "),
        (lambda: draw_overlap({"three": torch.zeros(3, 4)}), r"pairs\['three'\] "),
        (lambda: draw_overlap({"flat": torch.zeros(4)}), r"pairs\['flat'\] "),
        (lambda: draw_box_paths(IMAGE, PAIR[0], {}), "paths "),
        (lambda: draw_landscapes({}), "losses "),
        (lambda: draw_landscapes({"flat": torch.zeros(4)}), r"losses\['flat'\] "),
        (lambda: draw_landscapes({"high": torch.full((2, 2), 3.0)}), r"losses\['high'\] "),
        (lambda: draw_apart(torch.zeros(4), torch.zeros(1), (), 10, 9), "boxes "),
        (lambda: draw_apart(PAIR, torch.zeros(3), (), 10, 9), "labels "),
    ],
)
def test_bad_input_is_named(call, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        call()
