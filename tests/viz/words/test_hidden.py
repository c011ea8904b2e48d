import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from lib.layers.text_encoder import SEPARATOR, sub_sentences, whole_captions
from lib.viz.detection.boxes import class_colour
from lib.viz.words.hidden import ACROSS, HIDDEN, draw_sub_sentences, phrases_of

WORDS = ("red", "cone", ".", "sphere", ".")
IDS = torch.tensor([[5, 6, SEPARATOR, 7, SEPARATOR]])


def table_of(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


def test_a_phrase_has_a_block_of_its_colour_and_the_rest_is_hidden():
    figure = draw_sub_sentences(WORDS, sub_sentences(IDS)[0][0])
    expected = np.empty((5, 5, 3))
    expected[:] = to_rgb(HIDDEN)
    expected[:3, :3], expected[3:, 3:] = to_rgb(class_colour(1)), to_rgb(class_colour(2))
    assert np.allclose(table_of(figure), expected)
    (axis,) = figure.axes
    for labels in (axis.get_xticklabels(), axis.get_yticklabels()):
        assert tuple(label.get_text() for label in labels) == WORDS


def test_what_is_seen_of_another_phrase_is_grey():
    table = table_of(draw_sub_sentences(WORDS, whole_captions(IDS)[0][0]))
    assert np.allclose(table[:3, 3:], to_rgb(ACROSS)) and np.allclose(table[3:, :3], to_rgb(ACROSS))
    assert np.allclose(table[:3, :3], to_rgb(class_colour(1)))


def test_rows_see_columns():
    hidden = torch.ones(5, 5, dtype=torch.bool)
    hidden[3, 0] = False
    table = table_of(draw_sub_sentences(WORDS, hidden))
    assert np.allclose(table[3, 0], to_rgb(ACROSS)) and np.allclose(table[0, 3], to_rgb(HIDDEN))


def test_a_dot_belongs_to_the_phrase_that_it_ends():
    assert phrases_of(["a", ".", ".", "b"]) == [0, 0, 1, 2]


def test_long_captions_fit_on_the_page():
    words = ["word"] * 60
    figure = draw_sub_sentences(words, torch.zeros(60, 60, dtype=torch.bool))
    assert figure.get_figwidth() <= 10


@pytest.mark.parametrize("hidden", [torch.zeros(5, 4, dtype=torch.bool), torch.zeros(5, 5)])
def test_another_table_is_refused(hidden):
    with pytest.raises(ValueError, match="^hidden is"):
        draw_sub_sentences(WORDS, hidden)


def test_no_word_is_refused():
    with pytest.raises(ValueError, match="^hidden is"):
        draw_sub_sentences([], torch.zeros(0, 0, dtype=torch.bool))
