"""Merge the most similar neighbours until none are left."""

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_06._parts import made_region
from lib.ops import selective_search
from lib.ops.selective_search import Region, merge_regions, region_similarity, regions_of


def group_regions(regions: list[Region], neighbours: list[tuple[int, int]], picture_size: int) -> list[Region]:
    """`lib.ops.selective_search.group_regions` without what lesson 06 does not ask for."""
    return selective_search.group_regions(regions, neighbours, picture_size)[0]


def small_pictures() -> list[tuple[str, Tensor, Tensor]]:
    """(label, image, patches): the most similar pair of all does not always touch, and the best pair is never close."""
    draw = torch.Generator().manual_seed(163)
    rows = torch.tensor([[0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 2], [3, 3, 3, 3, 2, 2], [4, 4, 5, 5, 5, 5]])
    blocks = torch.arange(9).reshape(3, 3).repeat_interleave(3, 0).repeat_interleave(4, 1)  # (9, 12)
    stripes = torch.arange(4).repeat_interleave(2).expand(5, 8).clone()
    pictures = []
    for label, patches in (("six patches", rows), ("nine blocks", blocks), ("four stripes", stripes)):
        colours = torch.rand(int(patches.max()) + 1, 3, generator=draw)
        if label == "four stripes":
            colours[3] = colours[0]  # alike, and with two others between them
        noise = 0.05 * torch.randn(3, *patches.shape, generator=draw)
        pictures.append((label, (colours[patches].movedim(2, 0) + noise).clamp(0, 1), patches))
    return pictures


def cases() -> list[Case]:
    cases = []
    for label, image, patches in small_pictures():
        regions, neighbours = regions_of(image, patches)
        cases.append(Case(label, (regions, neighbours, patches.numel()), grouped_by_pixels(image, patches)))
    apart = [made_region(4, (0, 0, 2, 2), 0), made_region(4, (6, 6, 8, 8), 0), made_region(5, (2, 0, 5, 2), 3)]
    joined = merge_regions(apart[0], apart[2])
    cases.append(Case("one that touches nothing", (apart, [(0, 2)], 64), seen_regions([*apart, joined])))
    return cases


def grouped_by_pixels(image: Tensor, patches: Tensor) -> dict:
    """The truth: after each merge the picture is painted anew, and all regions and neighbours are counted again."""
    regions, neighbours = regions_of(image, patches)
    born = list(regions)
    while neighbours:
        rated = [region_similarity(regions[a], regions[b], patches.numel()) for a, b in neighbours]
        a, b = neighbours[max(range(len(rated)), key=rated.__getitem__)]
        whole = torch.where(patches == b, a, patches)
        born += regions_of(image, (whole != a).long())[0][:1]  # painted by itself: the region has number 0
        patches = torch.unique(whole, return_inverse=True)[1]
        regions, neighbours = regions_of(image, patches)
    return seen_regions(born)


def seen_regions(regions: list[Region], *_) -> dict:
    return {
        "boxes": torch.tensor([list(region.box) for region in regions]).float(),
        "sizes": torch.tensor([region.size for region in regions]),
    }


def grouped_with(choose=max, all_pairs=False, keep_old=False, inherit=True, only_merged=False, once=False):
    """Grouping by a plain loop, with one thing done otherwise."""

    def group(regions: list[Region], neighbours: list[tuple[int, int]], picture_size: int) -> list[Region]:
        count, regions = len(regions), list(regions)
        pairs = [(a, b) for a in range(count) for b in range(a)] if all_pairs else list(neighbours)
        first = {frozenset(pair): region_similarity(regions[pair[0]], regions[pair[1]], picture_size) for pair in pairs}
        while pairs and len(regions) < 2 * count - 1:
            rate = (
                (lambda pair: first.get(frozenset(pair), 0))
                if once
                else (lambda pair: region_similarity(regions[pair[0]], regions[pair[1]], picture_size))
            )
            a, b = choose(pairs, key=rate)
            new = len(regions)
            regions.append(merge_regions(regions[a], regions[b]))
            touching = {x for pair in pairs for x in pair if {a, b} & set(pair)} - {a, b}
            pairs = [pair for pair in pairs if set(pair) != {a, b} and (keep_old or not {a, b} & set(pair))]
            pairs += [(x, new) for x in sorted(touching)] if inherit else []
        return regions[count:] if only_merged else regions

    return group


EXERCISE = Exercise(
    name="group_regions",
    reference=group_regions,
    cases=cases,
    gives=Kind.ANYTHING,
    mistakes=[
        Mistake(
            "merges regions that do not touch",
            "You merged two regions that are alike but do not touch. Only pairs in `neighbours` may merge, and"
            " those that become neighbours by a merge.",
            wrong=grouped_with(all_pairs=True),
        ),
        Mistake(
            "the least similar first",
            "You merge the pair with the *lowest* similarity.",
            wrong=grouped_with(choose=min),
        ),
        Mistake(
            "old pairs left in",
            "You merged a region that had been merged before. Once two regions have become one, every pair with one"
            " of the two must go.",
            wrong=grouped_with(keep_old=True),
        ),
        Mistake(
            "the new region has no neighbours",
            "You stop too early: your merged regions have no neighbours. Whatever touched one of the two parts"
            " touches the new region.",
            wrong=grouped_with(inherit=False),
        ),
        Mistake(
            "only the merged ones",
            "The regions that you started from are missing. They are boxes too: return them first.",
            wrong=grouped_with(only_merged=True),
        ),
        Mistake(
            "the new region is never compared",
            "You use the similarities of the beginning, in which the merged regions do not occur. Compare each new"
            " region with its neighbours.",
            wrong=grouped_with(once=True),
        ),
        Mistake(
            "neighbours lost",
            "You return too few regions: a merged region has lost neighbours. Whatever touched *one* of its two parts "
            "touches it.",
            when=lambda got, expected, case: len(got["boxes"]) < len(expected["boxes"]),
        ),
        Mistake(
            "a pair twice",
            "You merge too often: some two regions merge twice. A region that touched *both* parts must stand in"
            " one pair with the new one, not in two. A set of pairs takes care of it.",
            when=lambda got, expected, case: len(got["boxes"]) > len(expected["boxes"]),
        ),
    ],
    returns=list,
    observe=seen_regions,
)
