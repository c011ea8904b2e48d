"""Nested masks: a part lies in its thing, a thing in its group; phrases mean one thing of a picture."""

from types import SimpleNamespace

import pytest
import torch

from lib.datasets.toyworld import Toyworld
from lib.datasets.toyworld.levels import LEVELS, nested_masks, unambiguous_phrases

PART, THING, GROUP, STUFF = range(4)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(tmp_path_factory.mktemp("data")))
        world = Toyworld("val", 25, 96)
        return [world[index] for index in range(25)]


def of_level(nested, level):
    return nested.masks[nested.levels == level]


def test_a_part_lies_in_a_thing_and_a_thing_in_a_group(samples):
    found = torch.zeros(4, dtype=torch.int64)
    for sample in samples:
        nested = nested_masks(sample, least=12)
        found += nested.levels.bincount(minlength=4)
        assert nested.masks.dtype == torch.bool and nested.masks.flatten(1).sum(1).min() >= 12
        assert len(nested.masks) == len(nested.levels) == len(nested.phrases)
        things, groups = of_level(nested, THING), of_level(nested, GROUP)
        assert torch.equal(things, sample.masks), "all have 25 pixels"
        for part in of_level(nested, PART):
            (owner,) = [thing for thing in things if (thing & part).any()]
            assert (part & ~owner).sum() == 0 and part.sum() < owner.sum()
            assert len(sample.parts[part].unique()) == 1
        for group in groups:
            members = [thing for thing in things if (thing & group).any()]
            assert len(members) > 1 and torch.equal(torch.stack(members).any(0), group)
        assert groups.sum(0).max() <= 1 if len(groups) else True, "no thing is of two groups"
        sky, ground = of_level(nested, STUFF)
        assert not (sky & ground).any() and torch.equal(sky | ground, sample.instance == 0)
        assert [phrase for phrase in nested.phrases if phrase] == list(sample.phrases)
        assert all(bool(phrase) == (level == THING) for phrase, level in zip(nested.phrases, nested.levels))
    assert (found > 8).all(), "every level was seen"


def drawn(instance, parts=None):
    """A sample of which only the maps are there: numbers of things, and of parts."""
    instance = torch.tensor(instance)
    parts = torch.zeros_like(instance) if parts is None else torch.tensor(parts)
    numbers = range(1, int(instance.max()) + 1)
    masks = (
        torch.stack([instance == number for number in numbers]) if numbers else torch.zeros(0, *instance.shape).bool()
    )
    semantic = torch.where(instance > 0, 2, torch.arange(len(instance))[:, None] // 2)  # two rows of sky, then ground
    phrases = tuple(f"thing {number}" for number in numbers)
    return SimpleNamespace(instance=instance, parts=parts, masks=masks, semantic=semantic, phrases=phrases)


def test_by_hand():
    sample = drawn(
        [[1, 1, 0, 0, 3], [1, 2, 2, 0, 0], [0, 2, 2, 0, 0], [0, 0, 0, 3, 3]],
        [[1, 2, 0, 0, 7], [1, 4, 4, 0, 0], [0, 4, 5, 0, 0], [0, 0, 0, 7, 7]],
    )
    nested = nested_masks(sample, least=1)
    assert [LEVELS[level] for level in nested.levels] == (
        ["part", "part", "thing", "part", "part", "thing", "thing", "group", "stuff", "stuff"]
    )
    assert nested.masks.flatten(1).sum(1).tolist() == [2, 1, 3, 3, 1, 4, 3, 7, 4, 6]
    assert nested.phrases == ("", "", "thing 1", "", "", "thing 2", "thing 3", "", "", "")
    large = nested_masks(sample, least=4)
    assert [LEVELS[level] for level in large.levels] == ["thing", "group", "stuff", "stuff"]


def test_a_corner_is_no_touch_and_nothing_may_be_there():
    assert GROUP not in nested_masks(drawn([[1, 0], [0, 2], [0, 0], [0, 0]]), least=1).levels
    nothing = nested_masks(drawn([[0, 0]] * 4), least=5)
    assert nothing.masks.shape == (0, 4, 2) and nothing.levels.shape == (0,) and nothing.phrases == ()


# ------------------------------------------------------------------------------------------------ phrases


def test_ways_to_say_it_by_hand():
    ways = unambiguous_phrases(("small red cone", "", "big red cone", "big blue sphere"))
    assert ways[0] == ["small", "small red", "small cone", "small red cone"]
    assert ways[1] == []
    assert ways[2] == ["big red", "big cone", "big red cone"]
    assert ways[3][:2] == ["blue", "sphere"] and "big" not in ways[3] and len(ways[3]) == 6
    assert len(unambiguous_phrases(("small red cone",))[0]) == 7, "alone, any word will do"
    assert unambiguous_phrases(()) == []


def test_phrases_mean_one_thing(samples):
    for sample in samples:
        nested = nested_masks(sample)
        every_way = unambiguous_phrases(nested.phrases, sample.phrases)
        for phrase, ways in zip(nested.phrases, every_way, strict=True):
            assert (phrase in ways) == bool(phrase) and len(set(ways)) == len(ways)
            assert sorted(ways, key=lambda one: len(one.split())) == ways
            for way in ways:
                meant = [one for one in sample.phrases if all(word in one.split() for word in way.split())]
                assert meant == [phrase]
            every = {" ".join(w for w, on in zip(phrase.split(), f"{bits:03b}") if on == "1") for bits in range(1, 8)}
            for other in every - set(ways) if phrase else ():
                assert sum(set(other.split()) <= set(one.split()) for one in sample.phrases) > 1, "none is forgotten"


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: nested_masks(drawn([[1, 0]] * 4), least=0), "least"),
        (lambda: unambiguous_phrases(("small red cone", "small red cone")), "phrases"),
        (lambda: unambiguous_phrases("small red cone"), "phrases"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
