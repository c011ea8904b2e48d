"""Held-out pairs and captions: who is named by what, and what is never said in training."""

import random
from collections import Counter

import pytest
import torch

from lib.datasets.toyworld import CLASSES, COLOURS, Toyworld
from lib.datasets.toyworld.pairs import HELD_OUT, PHRASES, draw_caption, held_out, names, without_pairs

THINGS = ("small red cone", "big red sphere", "big red cone", "small blue figure")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(tmp_path_factory.mktemp("data")))
        world = Toyworld("val", 25, 64)
        return [world[index] for index in range(25)]


def test_each_colour_and_each_shape_is_still_seen():
    rest = {(colour, kind) for colour in COLOURS for kind in CLASSES} - HELD_OUT
    assert len(HELD_OUT) == 5 and len(rest) == 35
    assert {colour for colour, _ in rest} == set(COLOURS) and {kind for _, kind in rest} == set(CLASSES)


def test_scenes_with_a_held_out_pair_are_left_out(samples):
    kept = without_pairs(samples)
    assert 5 < len(kept) < 24, "both kinds should be there"
    for sample in samples:
        pairs = {tuple(phrase.split()[1:]) for phrase in sample.phrases}
        assert any(sample is one for one in kept) == (not pairs & HELD_OUT)
    assert len(without_pairs(samples, frozenset())) == 25 and without_pairs([]) == []


def test_every_thing_is_named_once_and_what_is_not_there_fits_nothing():
    rng, lengths = random.Random(0), Counter()
    for _ in range(300):
        caption = draw_caption(THINGS, rng)
        assert len(set(caption.phrases)) == len(caption.phrases)
        for place, phrase in enumerate(caption.phrases):
            wanted = [names(phrase, thing) for thing in THINGS]
            assert (caption.labels == place).tolist() == wanted
            assert any(wanted) or not held_out(phrase)
            lengths[len(phrase.split())] += 1
        assert len(caption.phrases) - len(caption.labels.unique()) == 3
        assert caption.labels.dtype == torch.int64
    assert lengths[1] > 100 and lengths[2] > 300 and lengths[3] > 900


def test_half_of_what_is_not_there_differs_in_one_word():
    rng, near = random.Random(0), 0
    for _ in range(200):
        caption = draw_caption(THINGS[:1], rng, absent=1, shorten=0.0)
        absent = caption.phrases[1 - int(caption.labels)]
        near += len(set(absent.split()) & set(THINGS[0].split())) == 2
    by_chance = 12 / 79  # 1 + 7 + 4 of the 79 other phrases differ in one word; fewer, as some are held out
    assert 100 < near < 200 * (0.5 + by_chance)


def test_the_seed_decides_and_order_tells_nothing():
    one, same = (draw_caption(THINGS, random.Random(3)) for _ in range(2))
    assert one.phrases == same.phrases and torch.equal(one.labels, same.labels)
    rng = random.Random(0)
    first = [int((draw_caption(THINGS, rng).labels == 0).any()) for _ in range(200)]
    assert 60 < sum(first) < 160, "what is there and what is not should come first alike"


def test_text_and_nothing():
    caption = draw_caption(THINGS[:1], random.Random(0), absent=0, shorten=0.0)
    assert caption.text == "small red cone ." and caption.labels.tolist() == [0]
    empty = draw_caption((), random.Random(0), absent=2)
    assert len(empty.phrases) == 2 and empty.labels.shape == (0,)
    assert draw_caption((), random.Random(0), absent=0).text == ""


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: draw_caption("small red cone", random.Random(0)), "things"),
        (lambda: draw_caption(("red cone",), random.Random(0)), "things"),
        (lambda: draw_caption(THINGS[:1] * 2, random.Random(0)), "things"),
        (lambda: draw_caption(THINGS, random.Random(0), absent=-1), "absent"),
        (lambda: draw_caption(THINGS, random.Random(0), shorten=2), "absent"),
        (lambda: draw_caption(THINGS, random.Random(0), absent=len(PHRASES), shorten=0), "absent"),
        (lambda: without_pairs([], {("cone", "red")}), "pairs"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
