"""The region that two regions make together."""

import torch

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_06._parts import pairs
from lib.ops import selective_search
from lib.ops.selective_search import Region, merge_regions


def cases() -> list[Case]:
    return [Case(label, (a, b), merged_by_counting(a, b)) for label, a, b, _ in pairs()]


def merged_by_counting(a: Region, b: Region) -> dict:
    """The truth: histograms as counts of pixels, added, and divided by the number of pixels."""
    corners = torch.tensor([a.box, b.box])
    box = [*corners[:, :2].min(0).values.tolist(), *corners[:, 2:].max(0).values.tolist()]
    histograms = {
        name: (getattr(a, name) * a.size + getattr(b, name) * b.size) / (a.size + b.size)
        for name in ("colour", "texture")
    }
    return {"size": a.size + b.size, "box": torch.tensor(box).float()} | histograms


def seen_region(region: Region, *_) -> dict:
    return {
        "size": region.size,
        "box": torch.as_tensor(region.box).float(),
        "colour": region.colour,
        "texture": region.texture,
    }


def merged_with(share=None, box=None, size=None, resized=None):
    """`merge_regions` with another share of the first region, another box or another size."""

    def merge(a: Region, b: Region) -> Region:
        right = merge_regions(a, b)
        if share is not None:
            one, other = share(a, b)
            right = right._replace(colour=one * a.colour + other * b.colour)
            right = right._replace(texture=one * a.texture + other * b.texture)
        right = right if box is None else right._replace(box=box(a.box, b.box))
        right = right if resized is None else right._replace(size=resized(right))
        return right if size is None else right._replace(size=size(a.size, b.size))

    return merge


def area_of_the_box(region: Region) -> int:
    return (region.box[2] - region.box[0]) * (region.box[3] - region.box[1])


def box_of_the_overlap(a: tuple, b: tuple) -> tuple:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


EXERCISE = Exercise(
    name="merge_regions",
    reference=selective_search.merge_regions,
    cases=cases,
    gives=Kind.ANYTHING,
    mistakes=[
        Mistake(
            "both weighted alike",
            "Your histogram lies half-way between the two. But a large region has more pixels to say something"
            " about: weight each one by its size.",
            wrong=merged_with(share=lambda a, b: (0.5, 0.5)),
        ),
        Mistake(
            "weights exchanged",
            "The small region has the large say. Each histogram is weighted by the size of its *own* region.",
            wrong=merged_with(share=lambda a, b: (b.size / (a.size + b.size), a.size / (a.size + b.size))),
        ),
        Mistake(
            "histograms added",
            "Your histogram sums to 2. The bins are shares of all pixels of the region: they sum to 1.",
            wrong=merged_with(share=lambda a, b: (1, 1)),
        ),
        Mistake(
            "not divided by the size",
            "Your histogram holds pixels. Divide by the size of the merged region, and it holds shares again.",
            wrong=merged_with(share=lambda a, b: (a.size, b.size)),
        ),
        Mistake(
            "the overlap of the boxes",
            "Your box holds what the two boxes have in common. The merged region reaches from the smaller of the"
            " left ends to the larger of the right ones.",
            wrong=merged_with(box=box_of_the_overlap),
        ),
        Mistake(
            "the size of the box",
            "You counted the pixels of the box around both. A region is seldom a rectangle: its size is the number of "
            "its own pixels, and two regions never share one.",
            wrong=merged_with(resized=area_of_the_box),
        ),
        Mistake(
            "the larger of the two sizes",
            "Your size is that of the larger region. Two regions never share a pixel: their sizes add up.",
            wrong=merged_with(size=max),
        ),
        Mistake(
            "a box that begins at (0, 0)",
            "Your box reaches from the corner of the picture. It begins at the smaller of the two left and upper ends.",
            wrong=merged_with(box=lambda a, b: (0, 0, max(a[2], b[2]), max(a[3], b[3]))),
        ),
    ],
    returns=selective_search.Region,
    observe=seen_region,
)
