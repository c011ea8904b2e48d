import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb

from lib.viz.clips.cloud import draw_query_cloud
from lib.viz.clips.steady import steady_colour

PLACES = torch.tensor([[0.0, 0.0], [5.0, 5.0], [1.0, 0.0], [5.0, 6.0], [1.0, 1.0]])
THINGS = torch.tensor([3, 8, 3, 8, 3])
LABELS = torch.tensor([0, 2, 0, 2, 1])  # thing 3 was taken for something else once
NAMES = ("crate", "cone", "figure")


def test_a_thing_has_one_colour_and_a_line_in_the_order_of_the_frames():
    (axis,) = draw_query_cloud(PLACES, THINGS, LABELS, NAMES).axes
    assert [np.asarray(line.get_xydata()).tolist() for line in axis.lines] == [
        [[0, 0], [1, 0], [1, 1]], [[5, 5], [5, 6]]
    ]  # fmt: skip
    assert [to_hex(line.get_color()).upper() for line in axis.lines] == [steady_colour(3), steady_colour(8)]
    clouds = [(dots.get_offsets().tolist(), to_hex(dots.get_facecolors()[0]).upper()) for dots in axis.collections]
    assert clouds == [
        ([[0, 0], [1, 0]], steady_colour(3)), ([[1, 1]], steady_colour(3)), ([[5, 5], [5, 6]], steady_colour(8))
    ]  # fmt: skip
    assert {text.get_text(): text.xy for text in axis.texts} == {"3": (1, 1), "8": (5, 6)}


def test_each_class_has_a_marker_and_only_those_seen_are_in_the_legend():
    figure = draw_query_cloud(PLACES[:4], THINGS[:4], LABELS[:4], NAMES)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "crate",
        "figure",
        "a thing, from frame to frame",
    ]
    crate, figures = (dots.get_paths()[0].vertices for dots in figure.axes[0].collections)
    assert crate.shape != figures.shape


def test_colours_may_be_given():
    (axis,) = draw_query_cloud(PLACES, THINGS, LABELS, NAMES, {3: "red", 8: (0.0, 0.0, 1.0)}).axes
    assert [to_rgb(line.get_color()) for line in axis.lines] == [(1, 0, 0), (0, 0, 1)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((PLACES[:, :1], THINGS, LABELS, NAMES), "places is"),
        ((PLACES[:0], THINGS[:0], LABELS[:0], NAMES), "places is"),
        ((PLACES, THINGS[:3], LABELS, NAMES), "things is"),
        ((PLACES, THINGS - 3, LABELS, NAMES), "things has 0"),
        ((PLACES, THINGS, LABELS.float(), NAMES), "labels is"),
        ((PLACES, THINGS, LABELS, NAMES[:2]), "labels has 0 to 2; expected 0..1"),
        ((PLACES, THINGS, LABELS, NAMES, {3: "red"}), "colours has none for 8"),
    ],
)
def test_bad_input_is_named(arguments, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw_query_cloud(*arguments)
