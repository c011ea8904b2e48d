"""How much two regions of a picture belong together."""

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_06._parts import pairs
from lib.ops import selective_search
from lib.ops.selective_search import Region, merge_regions


def cases() -> list[Case]:
    return [Case(label, (a, b, size), similarity_by_masks(a, b, size)) for label, a, b, size in pairs()]


def similarity_by_masks(a: Region, b: Region, picture_size: int) -> float:
    """The truth: bins one by one, and the box around both painted onto a picture and its pixels counted."""
    shared = sum(
        min(x, y)
        for one, other in ((a.colour, b.colour), (a.texture, b.texture))
        for x, y in zip(one.tolist(), other.tolist())
    )
    painted = torch.zeros(30, 30)
    for region in (a, b):
        painted[region.box[1] : region.box[3], region.box[0] : region.box[2]] = 1
    rows, columns = painted.amax(1).nonzero(), painted.amax(0).nonzero()
    around = int((rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1))
    return shared + 2 - around / picture_size  # size and fill together are 2 - around / picture


def as_number(result, *_):
    """A tensor that holds one number is as good as a number."""
    return result.item() if isinstance(result, Tensor) and result.numel() == 1 else result


def similarity_with(colour, size=None, fill=None):
    """`region_similarity` with another way to compare two histograms, or another size or fill term."""

    def similarity(a: Region, b: Region, picture_size: int) -> float:
        around = merge_regions(a, b).box
        box = (around[2] - around[0]) * (around[3] - around[1])
        both = a.size + b.size
        by_size = 1 - both / picture_size if size is None else size(a, b, box, picture_size)
        by_fill = 1 - (box - both) / picture_size if fill is None else fill(a, b, box, picture_size)
        return colour(a.colour, b.colour) + colour(a.texture, b.texture) + by_size + by_fill

    return similarity


def intersection(one: Tensor, other: Tensor) -> float:
    return torch.minimum(one, other).sum().item()


def fill_of_the_overlap(a: Region, b: Region, box: int, picture_size: int) -> float:
    width = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    height = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    return 1 - (width * height - a.size - b.size) / picture_size


def fill_from_zero(a: Region, b: Region, box: int, picture_size: int) -> float:
    return 1 - (max(a.box[2], b.box[2]) * max(a.box[3], b.box[3]) - a.size - b.size) / picture_size


def fill_of_the_boxes(a: Region, b: Region, box: int, picture_size: int) -> float:
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (a.box, b.box)]
    return 1 - (box - sum(areas)) / picture_size


EXERCISE = Exercise(
    name="region_similarity",
    reference=selective_search.region_similarity,
    cases=cases,
    gives=Kind.NUMBERS,
    mistakes=[
        Mistake(
            "the larger of two bins",
            "You took the larger number of each pair of bins. What two histograms *share* is the smaller one.",
            wrong=similarity_with(lambda one, other: one.maximum(other).sum().item()),
        ),
        Mistake(
            "histograms multiplied",
            "You multiplied the bins. What two histograms share in a bin is the smaller of the two numbers.",
            wrong=similarity_with(lambda one, other: (one * other).sum().item()),
        ),
        Mistake(
            "the difference of the histograms",
            "You added up how much the bins *differ*, so the least alike get the highest number. Add up what they"
            " share: in each bin, the smaller of the two numbers.",
            wrong=similarity_with(lambda one, other: (one - other).abs().sum().item()),
        ),
        Mistake(
            "the mean of the bins",
            "You took the mean over the bins. Take their sum: two equal histograms then share 1, all they have.",
            wrong=similarity_with(lambda one, other: one.minimum(other).mean().item()),
        ),
        Mistake(
            "large regions first",
            "Your size term grows with the regions, so large ones would swallow everything. It must be near 1 for"
            " two small regions.",
            wrong=similarity_with(intersection, size=lambda a, b, box, picture: (a.size + b.size) / picture),
        ),
        Mistake(
            "pixels of the regions left in the gap",
            "Your fill term counts the whole box around both. Only the pixels of that box which belong to neither"
            " region are a gap.",
            wrong=similarity_with(intersection, fill=lambda a, b, box, picture: 1 - box / picture),
        ),
        Mistake(
            "a gap counted in favour",
            "Your fill term grows with the gap. It must be 1 where two regions fill the box around both, and less"
            " where much of it stays empty.",
            wrong=similarity_with(intersection, fill=lambda a, b, box, picture: 1 + (box - a.size - b.size) / picture),
        ),
        Mistake(
            "the overlap of the boxes",
            "Your fill term uses what the two boxes have in common. It needs the box around *both*: the smaller of"
            " the two left ends, the larger of the two right ends.",
            wrong=similarity_with(intersection, fill=fill_of_the_overlap),
        ),
        Mistake(
            "areas of the boxes for sizes of the regions",
            "Your gap leaves out the whole boxes of the two regions. A region seldom fills its box: take away its"
            " pixels, `size`.",
            wrong=similarity_with(intersection, fill=fill_of_the_boxes),
        ),
        Mistake(
            "a box that begins at (0, 0)",
            "Your box around both reaches from the corner of the picture. It begins at the smaller of the two left and "
            "upper ends.",
            wrong=similarity_with(intersection, fill=fill_from_zero),
        ),
        Mistake(
            "gap against the box",
            "You divided the gap by the box around both. Here all sizes are measured against the whole picture.",
            wrong=similarity_with(intersection, fill=lambda a, b, box, picture: 1 - (box - a.size - b.size) / box),
        ),
    ],
    observe=as_number,
)
