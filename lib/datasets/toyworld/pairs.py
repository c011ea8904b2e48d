"""Colours and shapes that never meet in training, and captions for scenes (lesson 19).

Who knows what red is and what a cone is should find a red cone that is the first one. So a few pairs are held out:
scenes that show one are not trained on, and no caption of training names one, not even to say that it is not there.
"""

import random
from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

import torch
from torch import Tensor

from lib.datasets.toyworld.dataset import Sample
from lib.datasets.toyworld.scene import CLASSES, COLOURS, SIZES

HELD_OUT = frozenset(  # each shape once, in five colours
    {("red", "cone"), ("yellow", "crate"), ("green", "figure"), ("blue", "sphere"), ("purple", "cylinder")}
)
WORDS = (*SIZES, *COLOURS, *CLASSES)
PHRASES = tuple(f"{size} {colour} {kind}" for size in SIZES for colour in COLOURS for kind in CLASSES)


class Caption(NamedTuple):
    """Phrases that are asked of a picture, and which of its N things each of them names."""

    phrases: tuple[str, ...]  # none twice; no thing is named by two of them
    labels: Tensor  # (N,) int64: the place, among the phrases, of the one that names this thing

    @property
    def text(self) -> str:
        """As one text: "small red cone . sphere ." """
        return " ".join(f"{phrase} ." for phrase in self.phrases)


def names(phrase: str, thing: str) -> bool:
    """Whether a phrase fits a thing: "red cone" fits a "small red cone"."""
    return set(phrase.split()) <= set(thing.split())


def held_out(phrase: str, pairs: Set[tuple[str, str]] = HELD_OUT) -> bool:
    """Whether a phrase says both words of one of the pairs."""
    return any(names(" ".join(pair), phrase) for pair in pairs)


def without_pairs(samples: Iterable[Sample], pairs: Set[tuple[str, str]] = HELD_OUT) -> list[Sample]:
    """The samples that show no thing of these pairs of (colour, shape).

    Raises:
        ValueError: a pair is none of a colour and a shape.
    """
    _check_pairs(pairs)
    return [sample for sample in samples if not any(held_out(phrase, pairs) for phrase in sample.phrases)]


def draw_caption(
    things: Sequence[str],
    rng: random.Random,
    absent: int = 3,
    shorten: float = 0.5,
    pairs: Set[tuple[str, str]] = HELD_OUT,
) -> Caption:
    """Phrases for all things of a scene, and for some that are not there, in any order.

    A phrase may leave out size, colour or both; it then stands for all things that it fits. Half of what is not there
    differs from a thing in one word: who looks at colours alone, or at shapes alone, errs there.

    Args:
        things: what each thing is called, "small red cone". None twice.
        rng: draws; the same state gives the same caption.
        absent: how many phrases fit nothing.
        shorten: the share of phrases that may be shorter than three words.
        pairs: are not asked for where they are not; things that are of one are named as all others.

    Raises:
        ValueError: a thing is called as toyworld calls nothing, or twice; a number is out of range.
    """
    _check_pairs(pairs)
    if isinstance(things, str) or not set(things) <= set(PHRASES) or len(set(things)) < len(things):
        raise ValueError(f'things is {things!r}; expected phrases such as "small red cone", none twice')
    if absent < 0 or not 0 <= shorten <= 1:
        raise ValueError(f"absent is {absent} and shorten {shorten}; expected at least 0, and a share 0..1")
    fits: dict[str, list[int]] = {}
    named: set[int] = set()
    for place in rng.sample(range(len(things)), len(things)):
        if place not in named:
            phrase = _said(things[place], rng, shorten)
            if any(names(phrase, things[one]) for one in named):
                phrase = things[place]
            fits[phrase] = [one for one, thing in enumerate(things) if names(phrase, thing)]
            named.update(fits[phrase])
    fits |= {phrase: [] for phrase in _not_there(things, rng, absent, shorten, pairs)}
    phrases = tuple(rng.sample(list(fits), len(fits)))
    labels = torch.zeros(len(things), dtype=torch.int64)
    for place, phrase in enumerate(phrases):
        labels[fits[phrase]] = place
    return Caption(phrases, labels)


def _not_there(
    things: Sequence[str], rng: random.Random, count: int, shorten: float, pairs: Set[tuple[str, str]]
) -> list[str]:
    """So many phrases that fit none of the things, and of no held-out pair."""
    others = [phrase for phrase in PHRASES if phrase not in things and not held_out(phrase, pairs)]
    near = [one for one in others if any(len(set(one.split()) & set(thing.split())) == 2 for thing in things)]
    found: list[str] = []
    while len(found) < count:
        whole = rng.choice(near if near and rng.random() < 0.5 else others)
        short = _said(whole, rng, shorten)
        phrase = whole if any(names(short, thing) for thing in things) else short
        if phrase not in found:
            found.append(phrase)
        others = [one for one in others if one not in found]
        near = [one for one in near if one not in found]
        if not others:
            raise ValueError(f"absent is {count}; expected less, only {len(found)} phrases fit nothing")
    return found


def _said(phrase: str, rng: random.Random, shorten: float) -> str:
    """The phrase, or with a chance of `shorten` what is left when size and colour are each kept half of the time."""
    size, colour, kind = phrase.split()
    if rng.random() >= shorten:
        return phrase
    return " ".join([word for word in (size, colour) if rng.random() < 0.5] + [kind])


def _check_pairs(pairs: Set[tuple[str, str]]) -> None:
    for pair in pairs:
        if len(pair) != 2 or pair[0] not in COLOURS or pair[1] not in CLASSES:
            raise ValueError(f"pairs has {pair!r}; expected pairs of a colour and a shape")
