import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from lib.datasets.toyworld.pairs import HELD_OUT
from lib.datasets.toyworld.scene import CLASSES, COLOURS
from lib.viz.words.answers import HELD, RIGHT, SILENT, WRONG, draw_labels_judged, draw_pairs, draw_phrases

IMAGE = torch.rand(3, 60, 90, generator=torch.Generator().manual_seed(0))
PHRASES = ("red cone", "sphere", "crate")
BOXES = torch.tensor([[5.0, 20, 25, 50], [60, 10, 80, 30], [30, 30, 50, 55]])
SCORES, LABELS = torch.tensor([0.9, 0.75, 0.5]), torch.tensor([0, 2, 0])
MASKS = torch.zeros(3, 60, 90, dtype=torch.bool)
for number, (x1, y1, x2, y2) in enumerate(BOXES.int().tolist()):
    MASKS[number, y1 + 2 : y2, x1:x2] = True
COUNTS = torch.arange(40).view(len(COLOURS), len(CLASSES))


def legend_of(figure):
    return {text.get_text(): text.get_color() for text in figure.legends[0].get_texts()}


def test_what_is_found_keeps_its_colours_and_nothing_is_painted():
    (axis,) = draw_phrases(IMAGE, PHRASES, BOXES, SCORES, LABELS, MASKS).axes
    assert {to_hex(patch.get_edgecolor()) for patch in axis.patches[1::2]} == {"#ffffff"}
    assert [patch.get_bbox().extents.tolist() for patch in axis.patches[1::2]] == BOXES.tolist()
    assert [text.get_text() for text in axis.texts] == ["red cone 0.90", "crate 0.75", "red cone 0.50"]
    shown, inside = np.asarray(axis.images[0].get_array()), MASKS.any(0).numpy()
    assert np.abs(shown - IMAGE.permute(1, 2, 0).numpy())[inside].max() < 0.01
    assert np.ptp(shown[~inside], axis=1).max() < 0.01, "all else is grey"
    assert all((np.asarray(image.get_array())[..., 3] == 0).all() for image in axis.images[1:])


def test_what_found_nothing_is_listed_in_grey():
    said = legend_of(draw_phrases(IMAGE, PHRASES, BOXES, SCORES, LABELS))
    assert list(said) == ["red cone × 2", "crate × 1", "not found: sphere"]
    assert said["not found: sphere"] == SILENT != said["crate × 1"]
    nothing = draw_phrases(IMAGE, PHRASES, BOXES[:0], SCORES[:0], LABELS[:0], MASKS[:0])
    assert list(legend_of(nothing)) == [f"not found: {phrase}" for phrase in PHRASES]


def test_each_pair_has_its_count_and_those_held_out_a_frame():
    (axis,) = draw_pairs(HELD_OUT, COUNTS).axes
    said = {text.get_position(): text.get_text() for text in axis.texts}
    assert len(said) == 40 and said[(1, 0)] in ("1", "1, held out")
    framed = {(round(patch.get_x() + 0.47), round(patch.get_y() + 0.44)) for patch in axis.patches}
    assert framed == {(list(CLASSES).index(kind), list(COLOURS).index(colour)) for colour, kind in HELD_OUT}
    assert all(("held out" in text) == (place in framed) for place, text in said.items())
    assert {to_hex(patch.get_edgecolor()).upper() for patch in axis.patches} == {HELD}
    assert [label.get_text() for label in axis.get_yticklabels()] == list(COLOURS)


def test_labels_are_judged():
    right = torch.tensor([True, False, True])
    figure = draw_labels_judged(IMAGE, BOXES, LABELS, right, BOXES[:1] + 5, PHRASES)
    (axis,) = figure.axes
    assert [to_hex(patch.get_edgecolor()).upper() for patch in axis.patches[1::2]] == [RIGHT, WRONG, RIGHT]
    assert [text.get_text() for text in axis.texts] == ["crate"], "the name is said where it is wrong"
    assert list(legend_of(figure)) == ["right: 2", "wrong: 1", "no label: 1"]
    dashed = axis.collections[-1]
    assert dashed.get_segments()[0][0].tolist() == [10, 25] and dashed.get_linestyles()[0][1] is not None


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (lambda: draw_phrases(IMAGE, PHRASES, BOXES, SCORES[:2], LABELS), "scores has 2 entries; expected 3"),
        (lambda: draw_phrases(IMAGE, PHRASES, BOXES, SCORES, LABELS, MASKS[:1]), "masks has 1 entries"),
        (lambda: draw_phrases(IMAGE, PHRASES[:2], BOXES, SCORES, LABELS), r"labels has 2; expected 0\.\.1"),
        (lambda: draw_pairs(HELD_OUT, COUNTS.T), r"counts is \(5, 8\)"),
        (lambda: draw_pairs(HELD_OUT, COUNTS.float()), "counts is .*float32"),
        (lambda: draw_pairs({("red", "dog")}, COUNTS), r"pairs_held_out has \('red', 'dog'\)"),
        (lambda: draw_labels_judged(IMAGE, BOXES, LABELS, SCORES[:1] > 0, BOXES, PHRASES), "right has 1 entries"),
    ],
)
def test_bad_input_is_named(draw, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw()
