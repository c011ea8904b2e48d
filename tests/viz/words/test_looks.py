import numpy as np
import pytest
import torch

from lib.viz.words.looks import NUMBERED, draw_word_fits, draw_word_looks

GENERATOR = torch.Generator().manual_seed(0)
IMAGE = torch.rand(3, 20, 30, generator=GENERATOR)
WORDS = ("red", "cone", "sphere")
LOGITS = torch.randn(3, 4, 6, generator=GENERATOR)
CELLS = torch.tensor([7, 0, 23, 5, 6, 12, 13])
BOXES = torch.rand(7, 2, generator=GENERATOR).repeat(1, 2) * 10 + torch.tensor([0.0, 0.0, 8.0, 9.0])


def test_all_looks_have_one_scale_and_the_picture_is_grey():
    maps = LOGITS.flatten(1).softmax(1).view_as(LOGITS)
    *axes, bar = draw_word_looks(IMAGE, WORDS, maps).axes
    assert tuple(axis.get_title() for axis in axes) == WORDS
    for axis, heat in zip(axes, maps, strict=True):
        picture, shown = axis.images
        assert np.allclose(shown.get_array(), heat) and shown.get_clim() == (0, pytest.approx(float(maps.max())))
        grey = np.asarray(picture.get_array())
        assert np.allclose(grey, grey.mean(2, keepdims=True), atol=1e-6)
    assert "attention" in bar.get_ylabel()


def test_fits_are_probabilities_and_the_last_picture_has_the_chosen_cells():
    axes = draw_word_fits(IMAGE, WORDS, LOGITS, CELLS, BOXES).axes
    for axis, fit in zip(axes, LOGITS, strict=False):
        assert np.allclose(axis.images[1].get_array(), fit.sigmoid()) and axis.images[1].get_clim() == (0, 1)
    chosen = axes[3]
    numbers = {int(text.get_text()): text.get_position() for text in chosen.texts}
    assert sorted(numbers) == list(range(1, NUMBERED + 1))
    assert numbers[1] == (7.5, 7.5) and numbers[2] == (2.5, 2.5), "cells 7 and 0 of 4 × 6, each 5 × 5 pixels"
    assert chosen.lines[0].get_xydata().tolist() == [[2.5, 12.5], [7.5, 12.5]]
    (boxes,) = chosen.collections
    corners = [segment[0].tolist() for segment in boxes.get_segments()]
    assert np.allclose(corners, BOXES[:NUMBERED, :2])


def test_without_cells_nothing_is_marked():
    chosen = draw_word_fits(IMAGE, WORDS, LOGITS, CELLS[:0], BOXES[:0]).axes[3]
    assert not chosen.texts and not len(chosen.lines[0].get_xdata())


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (lambda: draw_word_looks(IMAGE, [], LOGITS), "words is empty"),
        (lambda: draw_word_looks(IMAGE, WORDS, LOGITS[:2]), r"maps is \(2, 4, 6\); expected \(3, h, w\)"),
        (lambda: draw_word_fits(IMAGE, WORDS, LOGITS[0], CELLS, BOXES), r"fits is \(4, 6\)"),
        (lambda: draw_word_fits(IMAGE, WORDS, LOGITS, CELLS, BOXES[:3]), r"cells is \(7,\) for 3 boxes"),
        (lambda: draw_word_fits(IMAGE, WORDS, LOGITS, CELLS + 1, BOXES), "cells has .*0..23"),
    ],
)
def test_bad_input_is_named(draw, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw()
