import numpy as np
import pytest
import torch

from lib.layers.position import PositionEmbeddingSine
from lib.viz.attention.maps import draw_attention, draw_positions

IMAGE = torch.rand(3, 12, 24)
MAPS = {"one": torch.tensor([[0.0, 0.02, 0.0, 0.0], [0.08, 0.0, 0.0, 0.04]]), "two": torch.full((2, 4), 0.5)}


def test_each_map_lies_over_the_picture_and_is_scaled_to_its_own_highest_number():
    figure = draw_attention(IMAGE, MAPS)
    for axis, (title, heat) in zip(figure.axes, MAPS.items(), strict=True):
        picture, shown = axis.images
        assert axis.get_title() == title and picture.get_extent() == shown.get_extent()
        assert np.allclose(shown.get_array(), (heat / heat.max()).numpy()) and shown.get_clim() == (0, 1)
        assert axis.texts[0].get_text() == f"max {heat.max():.2g}" and not axis.patches
    assert figure.axes[0].texts[0].get_text() == "max 0.08"


def test_where_nothing_is_looked_at_the_picture_shines_through():
    shown = draw_attention(IMAGE, MAPS).axes[0].images[1]
    assert shown.get_alpha()[0, 0] < 0.5 < shown.get_alpha()[1, 0]


def test_a_map_of_zeros_is_drawn():
    axis = draw_attention(IMAGE, {"none": torch.zeros(2, 4)}).axes[0]
    assert not axis.images[1].get_array().any() and axis.texts[0].get_text() == "max 0"


def test_the_cell_that_looks_is_framed_where_given():
    with_mark, without = draw_attention(IMAGE, MAPS, {"one": (1, 2)}).axes
    assert with_mark.patches[-1].get_bbox().bounds == (12, 6, 6, 6) and not without.patches


@pytest.mark.parametrize(
    ("maps", "marks", "words"),
    [
        ({}, None, "maps is empty"),
        ({"one": torch.zeros(2, 2, 2)}, None, r"maps\['one'\] is \(2, 2, 2\)"),
        ({"one": torch.zeros(0, 2)}, None, r"maps\['one'\] is \(0, 2\)"),
        ({"one": torch.tensor([[-1.0]])}, None, r"maps\['one'\] has"),
        (MAPS, {"three": (0, 0)}, "marks has 'three'"),
        (MAPS, {"two": (2, 0)}, r"marks\['two'\] is \(2, 0\); expected a row in 0..1"),
    ],
)
def test_what_is_no_map_and_what_is_no_cell_is_refused(maps, marks, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        draw_attention(IMAGE, maps, marks)


@pytest.fixture
def codes():
    return PositionEmbeddingSine(8, normalize=True)(torch.zeros(1, 5, 7, dtype=torch.bool))[0]


def test_the_channels_are_shown_as_they_are(codes):
    figure = draw_positions(codes, (1, 4), [0, 3, 8])
    panels = [axis for axis in figure.axes if axis.get_title().startswith("channel")]
    assert [axis.get_title() for axis in panels] == ["channel 0", "channel 3", "channel 8"]
    for axis, channel in zip(panels, (0, 3, 8)):
        assert np.array_equal(axis.images[0].get_array(), codes[channel].numpy()) and axis.images[0].get_clim() == (
            -1,
            1,
        )


def test_a_cell_is_most_like_itself(codes):
    figure = draw_positions(codes, (1, 4), [0])
    (axis,) = [axis for axis in figure.axes if axis.get_title().startswith("how like")]
    alike = axis.images[0].get_array()
    assert alike.shape == (5, 7) and np.unravel_index(alike.argmax(), alike.shape) == (1, 4)
    assert alike[1, 4] == pytest.approx(1)
    assert alike[2, 0] == pytest.approx(float(codes[:, 2, 0] @ codes[:, 1, 4] / (codes[:, 1, 4] @ codes[:, 1, 4])))
    assert axis.patches[-1].get_bbox().bounds == (4, 1, 1, 1)


@pytest.mark.parametrize(
    ("cell", "channels", "words"),
    [
        ((5, 0), [0], "cell is"),
        ((0, -1), [0], "cell is"),
        ((0, 0), [], "channels is"),
        ((0, 0), [16], "channels is"),
        ((0, 0), range(9), "channels is"),
    ],
)
def test_what_is_not_there_is_refused(codes, cell, channels, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        draw_positions(codes, cell, channels)


def test_codes_of_a_batch_are_refused(codes):
    with pytest.raises(ValueError, match=r"^codes is \(1, 16, 5, 7\)"):
        draw_positions(codes[None], (0, 0), [0])
