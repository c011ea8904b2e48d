from itertools import combinations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb

from lib.datasets.toyworld import SEMANTIC_COLOURS
from lib.viz.clips.depths import depth_colours
from lib.viz.clips.steady import THING_COLOURS, paint_clip, steady_colour, stuff_colour, thing_numbers
from lib.viz.clips.strip import draw_clip
from lib.viz.masks.panoptic import NOBODY

NAMES, COLOURS = ("sky", "ground", "sphere"), SEMANTIC_COLOURS[:3]
IMAGES = torch.full((3, 3, 20, 40), 0.5)
MAPS = torch.ones(3, 20, 40, dtype=torch.int64)
MAPS[:, 10:] = 2
for number in range(3):
    MAPS[number, 5:15, 8 * number : 8 * number + 8] = 4  # a thing that walks to the right
MAPS[1, 0, 39] = 7  # and one too small for its number
MAPS[2, 19, 0] = 0
SEGMENTS = [
    {"id": 1, "label": 0, "isthing": False},
    {"id": 2, "label": 1, "isthing": False},
    {"id": 4, "label": 2, "isthing": True},
    {"id": 7, "label": 2, "isthing": True},
]
CLIP = (MAPS, SEGMENTS)
DEPTH = torch.full((3, 20, 40), 5.0)


def draw(rows, images=IMAGES, colours=COLOURS):
    return draw_clip(images, rows, NAMES, colours)


def legend(figure):
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def test_there_is_a_column_for_each_frame_and_a_row_for_each_answer():
    figure = draw({"truth": CLIP, "mine": CLIP})
    axes = figure.axes
    assert len(axes) == 3 * 3 and [axis.get_title() for axis in axes[:3]] == ["frame 0", "frame 1", "frame 2"]
    assert [axes[place].texts[0].get_text() for place in (0, 3, 6)] == ["picture", "truth", "mine"]
    lefts, bottoms = zip(*[(axis.get_position().x0, axis.get_position().y0) for axis in axes])
    assert lefts[:3] == lefts[3:6] == lefts[6:] and bottoms[0] > bottoms[3] > bottoms[6]
    assert len(draw({}).axes) == 3 and not draw({}).legends
    chosen = draw_clip(IMAGES, {"truth": CLIP}, NAMES, COLOURS, places=range(1, 7, 2))
    assert [axis.get_title() for axis in chosen.axes[:3]] == ["frame 1", "frame 3", "frame 5"]
    with pytest.raises(ValueError, match="^places has 2 entries; expected one for each of 3 frames"):
        draw_clip(IMAGES, {}, NAMES, COLOURS, places=(0, 1))


def test_a_thing_has_one_colour_in_all_frames_and_its_number_where_it_is_large():
    axes = draw({"truth": CLIP}).axes[3:]
    for number, axis in enumerate(axes):
        picture = np.asarray(axis.images[0].get_array())
        assert np.allclose(picture[7, 8 * number + 2], to_rgb(steady_colour(4)))
        assert np.allclose(picture[0, 0], stuff_colour(COLOURS[0])) and np.allclose(
            picture[12, 39], stuff_colour(COLOURS[1])
        )
        (text,) = [text for text in axis.texts if text.get_text() != "truth"]
        column, row = (int(place) for place in text.get_position())
        assert text.get_text() == "4" and MAPS[number, row, column] == 4
    assert np.allclose(np.asarray(axes[2].images[0].get_array())[19, 0], NOBODY)


def test_ten_numbers_have_colours_far_apart_and_stuff_is_pale():
    assert len(THING_COLOURS) == 10 and steady_colour(11) == steady_colour(1) != steady_colour(2)
    apart = [np.linalg.norm(np.subtract(*map(to_rgb, pair))) for pair in combinations(THING_COLOURS, 2)]
    assert min(apart) > 0.3
    stuff = [stuff_colour(colour) for colour in SEMANTIC_COLOURS[:2]]
    assert min(min(colour) for colour in stuff) > 0.7
    assert min(np.linalg.norm(np.subtract(to_rgb(one), other)) for one in THING_COLOURS for other in stuff) > 0.3


def test_a_segment_that_does_not_say_is_taken_for_a_thing():
    only = (torch.full((1, 1, 1), 3), [{"id": 3, "label": 0}])
    assert np.allclose(paint_clip("one", only, COLOURS), to_rgb(steady_colour(3)))
    assert thing_numbers(only).tolist() == [[[3]]] and set(thing_numbers(CLIP).flat) == {0, 4, 7}


def test_depth_has_its_scale_beside_it_and_grey_where_there_is_none():
    depth = DEPTH.clone()
    depth[:, 0] = float("inf")
    figure = draw({"depth": depth})
    *frames, bar = figure.axes[3:]
    assert all(np.allclose(axis.images[0].get_array(), depth_colours(depth[0])) for axis in frames)
    assert [text.get_text() for text in bar.get_yticklabels()] == ["1 m", "2 m", "5 m", "10 m", "20 m", "50 m"]
    assert legend(figure) == ["no depth"] and not draw({"depth": DEPTH}).legends
    place, last = bar.get_position(), frames[-1].get_position()
    assert place.x0 > last.x1 and (place.y0, place.y1) == pytest.approx((last.y0, last.y1))


def test_the_legend_names_things_where_numbers_mean_the_same_thing():
    one = draw({"truth": CLIP})
    assert legend(one) == ["sky", "ground", "4: sphere", "7: sphere", "void: no segment"]
    colours = [to_hex(patch.get_facecolor()).upper() for patch in one.legends[0].get_patches()]
    assert colours[2:4] == [steady_colour(4), steady_colour(7)]
    assert legend(draw({"truth": CLIP, "mine": CLIP})) == ["sky", "ground", "void: no segment"]


def test_eight_frames_fit_on_a_page_and_bytes_will_do():
    images, maps = (255 * IMAGES[:1]).byte().expand(8, -1, -1, -1), MAPS[:1].expand(8, -1, -1)
    figure = draw({"truth": (maps, SEGMENTS), "depth": DEPTH[:1].expand(8, -1, -1)}, images, None)
    assert figure.get_figwidth() <= 9.41
    assert all(0 <= axis.get_position().x0 and axis.get_position().x1 <= 1 for axis in figure.axes)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: draw({}, IMAGES[0]), "images is"),
        (lambda: draw({}, IMAGES[:0]), "images is"),
        (lambda: draw({}, IMAGES[:1].expand(13, -1, -1, -1)), "images is .* 1 to 12"),
        (lambda: draw({}, colours=COLOURS[:2]), "colours has 2"),
        (lambda: draw({"a": DEPTH[:2]}), r"rows\['a'\] is \(2, 20, 40\); expected \(3, 20, 40\)"),
        (lambda: draw({"a": (MAPS[0], SEGMENTS)}), r"rows\['a'\] is \(20, 40\)"),
        (lambda: draw({"a": (MAPS.float(), SEGMENTS)}), r"rows\['a'\] has a map"),
        (lambda: draw({"a": (MAPS, SEGMENTS[:3])}), r"rows\['a'\] has the numbers \[7\]"),
        (lambda: draw({"a": (MAPS, [*SEGMENTS[:3], {"id": 7, "label": 3}])}), r"rows\['a'\] has a segment of class 3"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        call()
