"""What a click may mean: a part, a thing, a group of things that touch, or ground and sky (lesson 17).

In a picture a torso, the figure that it belongs to, and that figure with the crate that it stands before are all masks
that somebody may want. A pixel of the torso lies in all three.
"""

from dataclasses import dataclass

import torch
from scipy.ndimage import label
from torch import Tensor

from lib.datasets.toyworld.dataset import Sample

LEVELS = ("part", "thing", "group", "stuff")


@dataclass(frozen=True, eq=False)
class Nested:
    """All masks of a picture that can be meant: M of them."""

    masks: Tensor  # (M, H, W) bool, visible pixels
    levels: Tensor  # (M,) int64, place in LEVELS
    phrases: tuple[str, ...]  # of a thing "small red cone"; of all others ""


def nested_masks(sample: Sample, least: int = 64) -> Nested:
    """The masks of a sample, level by level.

    A thing that shows one part alone has no mask of it. Things form a group if one can go from each to each through
    pixels that touch at a side; a thing that touches no other is no group. Sky and ground are one mask each.

    Args:
        least: pixels; smaller masks are left out. 64 are one patch of `sam_small`, which sees no finer.

    Raises:
        ValueError: `least` allows empty masks.
    """
    if least < 1:
        raise ValueError(f"least is {least}; expected at least 1")
    masks, levels, phrases = [], [], []

    def add(mask: Tensor, level: str, phrase: str = "") -> None:
        if mask.sum() >= least:
            masks.append(mask)
            levels.append(LEVELS.index(level))
            phrases.append(phrase)

    for thing, phrase in zip(sample.masks, sample.phrases, strict=True):
        numbers = (sample.parts * thing).unique()
        for number in numbers[numbers > 0] if (numbers > 0).sum() > 1 else ():
            add((sample.parts == number) & thing, "part")
        add(thing, "thing", phrase)
    islands, count = label((sample.instance > 0).numpy())
    for island in range(1, count + 1):
        mask = torch.from_numpy(islands == island)
        if len(sample.instance[mask].unique()) > 1:
            add(mask, "group")
    for number in (0, 1):  # sky, ground
        add(sample.semantic == number, "stuff")
    stacked = torch.stack(masks) if masks else torch.zeros(0, *sample.instance.shape, dtype=torch.bool)
    return Nested(stacked, torch.tensor(levels, dtype=torch.int64), tuple(phrases))


def unambiguous_phrases(phrases: tuple[str, ...], seen: tuple[str, ...] = ()) -> list[list[str]]:
    """For each "small red cone" all ways to say it, words left out, that mean no other thing of the same picture.

    Args:
        phrases: of things of one picture, three words each, none twice; "" for a mask that is no thing.
        seen: of all things of the picture, those too that have no mask among the `phrases`.

    Returns:
        For each phrase a list, the shortest first; for "" an empty one.

    Raises:
        ValueError: it is a single phrase, or two things are called the same.
    """
    named = [phrase for phrase in phrases if phrase]
    if isinstance(phrases, str) or len(set(named)) < len(named):
        raise ValueError(f"phrases is {phrases!r}; expected a tuple of phrases, none twice")
    everything = {*named, *seen}
    ways = []
    for phrase in phrases:
        own = phrase.split()
        short = [" ".join(own[i] for i in range(len(own)) if bits >> i & 1) for bits in range(1, 2 ** len(own))]
        others = [set(other.split()) for other in everything - {phrase}]
        unique = [one for one in short if not any(set(one.split()) <= other for other in others)]
        ways.append(sorted(unique, key=lambda one: len(one.split())))
    return ways
