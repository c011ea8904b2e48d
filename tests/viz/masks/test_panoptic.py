import colorsys
from itertools import combinations

import numpy as np
import pytest
import torch

from lib.datasets.toyworld import SEMANTIC_COLOURS
from lib.viz.basics.clip import Clip
from lib.viz.basics.draw import to_pixels
from lib.viz.masks.panoptic import NOBODY, draw_panoptic, panoptic_colours, thing_colour

NAMES, COLOURS = ("sky", "ground", "sphere"), SEMANTIC_COLOURS[:3]
NUMBERS = torch.tensor([[1, 1, 1, 1], [7, 7, 0, 2], [7, 7, 2, 2]])
SEGMENTS = [
    {"id": 1, "label": 0, "isthing": False},
    {"id": 2, "label": 2, "isthing": True},
    {"id": 7, "label": 2, "isthing": True},
]
IMAGE = torch.full((3, 3, 4), 0.5)


def test_stuff_has_the_colour_of_its_class_things_a_shade_of_it_and_void_none():
    picture = panoptic_colours((NUMBERS, SEGMENTS), COLOURS)
    assert picture.shape == (3, 4, 3) and np.allclose(picture[0], COLOURS[0]) and np.allclose(picture[1, 2], NOBODY)
    assert np.allclose(picture[1, 0], thing_colour(COLOURS[2], 7)) and np.allclose(picture[2, 0], picture[1, 0])
    assert not np.allclose(picture[1, 0], picture[2, 2], atol=0.1)


def test_fourteen_things_of_a_class_differ_and_none_looks_like_another_class():
    hues = [colorsys.rgb_to_hsv(*colour)[0] for colour in SEMANTIC_COLOURS[2:]]
    for own, colour in zip(hues, SEMANTIC_COLOURS[2:]):
        shades = [thing_colour(colour, number) for number in range(1, 15)]
        assert min(np.abs(np.subtract(*pair)).max() for pair in combinations(shades, 2)) > 0.04
        near = [pair for pair in combinations(range(14), 2) if pair[1] - pair[0] < 7]
        assert min(np.abs(np.subtract(shades[one], shades[other])).max() for one, other in near) > 0.1
        for shade in shades:
            apart = [abs((colorsys.rgb_to_hsv(*shade)[0] - hue + 0.5) % 1 - 0.5) for hue in hues]
            assert min(apart) == abs((colorsys.rgb_to_hsv(*shade)[0] - own + 0.5) % 1 - 0.5)


def test_a_colour_depends_on_class_and_number_alone():
    later = torch.tensor([[7, 2], [1, 0]]), SEGMENTS[::-1]
    before, after = panoptic_colours((NUMBERS, SEGMENTS), COLOURS), panoptic_colours(later, COLOURS)
    assert np.array_equal(before[1, 0], after[0, 0]) and np.array_equal(before[1, 3], after[0, 1])
    only = [{"id": 7, "label": 2}]  # not said whether a thing: taken for one
    assert np.array_equal(panoptic_colours((torch.full((1, 1), 7), only), COLOURS)[0, 0], before[1, 0])
    assert Clip([to_pixels(before), to_pixels(before)]).frames[0].shape == (3, 4, 3)


def test_each_segment_has_its_number_in_its_middle_and_lines_run_between_segments():
    figure = draw_panoptic(IMAGE, {"one": (NUMBERS, SEGMENTS), "two": (NUMBERS, SEGMENTS)}, NAMES, COLOURS)
    picture, one, two = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["picture", "one", "two"]
    assert not picture.texts and [text.get_text() for text in one.texts] == ["1", "2", "7"]
    for text in one.texts:
        column, row = (int(place) for place in text.get_position())
        assert NUMBERS[row, column] == int(text.get_text())
    across, down = (lines.get_segments() for lines in two.collections)
    assert len(across) == 5 and len(down) == 3
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["sky", "sphere", "void: no segment"]


def test_the_picture_can_be_left_out_and_void_is_named_only_where_it_is():
    full = {"one": (torch.ones(3, 4, dtype=torch.int64), SEGMENTS[:1])}
    figure = draw_panoptic(None, full, NAMES, COLOURS)
    assert len(figure.axes) == 1 and [text.get_text() for text in figure.legends[0].get_texts()] == ["sky"]
    empty = draw_panoptic(None, {"one": (torch.zeros(3, 4, dtype=torch.int64), [])}, NAMES, COLOURS)
    assert [text.get_text() for text in empty.legends[0].get_texts()] == ["void: no segment"]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: draw_panoptic(IMAGE, {}, NAMES, COLOURS), "maps has 0"),
        (lambda: draw_panoptic(IMAGE, {"a": (NUMBERS, SEGMENTS)}, NAMES, COLOURS, columns=0), "maps has 1 .* is 0"),
        (lambda: draw_panoptic(IMAGE, {"a": (NUMBERS, SEGMENTS)}, NAMES, COLOURS[:2]), "colours has 2"),
        (lambda: draw_panoptic(IMAGE, {"a": (NUMBERS.float(), SEGMENTS)}, NAMES, COLOURS), r"maps\['a'\] has a map"),
        (lambda: draw_panoptic(IMAGE, {"a": (NUMBERS, SEGMENTS[:2])}, NAMES, COLOURS), r"maps\['a'\] has the .*\[7\]"),
        (lambda: panoptic_colours((NUMBERS[None], SEGMENTS), COLOURS), "panoptic has a map"),
        (lambda: panoptic_colours((NUMBERS, SEGMENTS), COLOURS[:2]), "panoptic has a segment of class 2"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        call()
