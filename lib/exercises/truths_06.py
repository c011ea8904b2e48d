"""What the exercises of lesson 06 are tried on: inputs, the truth by another road than the solution, and wrong answers.

The exercises themselves, with the words for each mistake, are in `lesson_06.py`.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_convert, box_iou

from lib.exercises.exercise import Case
from lib.models.rcnn import crop_resize
from lib.ops import selective_search
from lib.ops.box_coder import BoxCoder
from lib.ops.selective_search import Region, merge_regions, region_similarity, regions_of

# --- region_similarity ----------------------------------------------------------------------------------------------


def made_region(size: int, box: tuple[int, int, int, int], seed: int, bins: int = 4) -> Region:
    draw = torch.Generator().manual_seed(seed)
    colour, texture = torch.rand(2, bins, generator=draw)
    return Region(size, box, colour / colour.sum(), texture / texture.sum())


def pairs() -> list[tuple[str, Region, Region, int]]:
    return [
        ("two squares side by side", made_region(4, (0, 0, 2, 2), 0), made_region(4, (2, 0, 4, 2), 1), 100),
        ("a small one inside a large one", made_region(60, (0, 0, 10, 10), 2), made_region(6, (3, 4, 6, 6), 3), 400),
        ("far apart at a slant", made_region(5, (10, 0, 13, 2), 4), made_region(9, (0, 20, 3, 24), 5), 600),
        ("all but the whole picture", made_region(30, (0, 0, 6, 8), 6), made_region(18, (0, 0, 8, 6), 7), 64),
    ]


def similarity_cases() -> list[Case]:
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


# --- merge_regions --------------------------------------------------------------------------------------------------


def merge_cases() -> list[Case]:
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


def merged_with(share=None, box=None, size=None):
    """`merge_regions` with another share of the first region, another box or another size."""

    def merge(a: Region, b: Region) -> Region:
        right = merge_regions(a, b)
        if share is not None:
            one, other = share(a, b)
            right = right._replace(colour=one * a.colour + other * b.colour)
            right = right._replace(texture=one * a.texture + other * b.texture)
        right = right if box is None else right._replace(box=box(a.box, b.box))
        return right if size is None else right._replace(size=size(a.size, b.size))

    return merge


def box_of_the_overlap(a: tuple, b: tuple) -> tuple:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


# --- group_regions --------------------------------------------------------------------------------------------------


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


def group_cases() -> list[Case]:
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


# --- proposal_recall ------------------------------------------------------------------------------------------------


def recall_cases() -> list[Case]:
    draw = torch.Generator().manual_seed(0)
    truth = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 40], [5, 30, 25, 38]])
    near = (truth.repeat(4, 1) + 3 * torch.randn(12, 4, generator=draw))[torch.randperm(12, generator=draw)]
    halves = torch.tensor([[50.0, 50, 60, 60], [0, 0, 10, 5], [0, 0, 10, 10]])
    several = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 9]])
    inputs = [
        ("one box, found by the third", (torch.cat([several[:2] + 30, several]), truth[:1], 0.5)),
        ("three boxes, twelve proposals", (near, truth, 0.5)),
        ("an overlap of exactly a half", (halves, truth[:1], 0.5)),
        ("three proposals on the same box", (several, truth, 0.5)),
        ("a stricter threshold", (near, truth, 0.7)),
        ("no proposals", (near[:0], truth, 0.5)),
    ]
    return [Case(label, arguments, recall_by_loop(*arguments)) for label, arguments in inputs]


def recall_by_loop(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    """The truth: a set of found boxes that grows."""
    found: set[int] = set()
    shares = []
    for proposal in proposals:
        overlaps = box_iou(proposal[None], truth)[0]
        found |= {place for place, overlap in enumerate(overlaps.tolist()) if overlap >= iou_threshold}
        shares.append(len(found) / len(truth))
    return torch.tensor(shares)


def recall_not_summed_up(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return (box_iou(proposals, truth) >= iou_threshold).float().mean(dim=1)


def share_of_proposals(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    hits = (box_iou(proposals, truth) >= iou_threshold).any(dim=1).float()
    return hits.cumsum(0) / torch.arange(1, len(hits) + 1)


def counted_twice(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return (box_iou(proposals, truth) >= iou_threshold).float().sum(dim=1).cumsum(0) / len(truth)


def half_is_not_enough(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return (box_iou(proposals, truth).cummax(dim=0).values > iou_threshold).float().mean(dim=1)


def mean_overlap(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return box_iou(proposals, truth).cummax(dim=0).values.mean(dim=1)


def only_the_end(proposals: Tensor, truth: Tensor, iou_threshold: float) -> Tensor:
    return (box_iou(proposals, truth) >= iou_threshold).any(dim=0).float().mean().expand(len(proposals))


# --- context_warp ---------------------------------------------------------------------------------------------------


def warp_cases() -> list[Case]:
    draw = torch.Generator().manual_seed(0)
    small = torch.rand(1, 3, 6, 8, generator=draw) * torch.tensor([1.0, 0.7, 0.3]).view(3, 1, 1)
    image = F.interpolate(small, (36, 48), mode="bilinear")[0]  # soft, and its three channels have other means
    inputs = [
        ("a wide box in the middle", [[12.0, 12, 32, 20]], 16, 2),
        ("two boxes, one of them high", [[20.0, 4, 26, 30], [10, 10, 22, 20]], 20, 4),
        ("at the corner of the picture", [[0.0, 0, 12, 9], [40, 30, 48, 36]], 16, 3),
        ("no context", [[5.0, 6, 30, 26]], 16, 0),
    ]
    return [
        Case(
            label,
            (image, torch.tensor(boxes), size, context),
            warped_by_steps(image, torch.tensor(boxes), size, context),
        )
        for label, boxes, size, context in inputs
    ]


def warped_by_steps(image: Tensor, boxes: Tensor, size: int, context: int) -> Tensor:
    """The truth: the box fills the inner pixels of the crop, and `context` more steps of that width go on each side."""
    inner = size - 2 * context
    steps = (boxes[:, 2:] - boxes[:, :2]) / inner  # (K, 2): how far one pixel of the crop goes
    fine = max(1, math.ceil(steps.amax().item() - 1e-9))  # samples along a side of a pixel, as in `crop_resize`
    places = (torch.arange(size * fine) + 0.5) / fine - context
    crops = []
    for box, step in zip(boxes, steps):
        x, y = box[0] + places * step[0], box[1] + places * step[1]
        left, top = ((place - 0.5).clamp(0, side - 1) for place, side in ((x, image.shape[2]), (y, image.shape[1])))
        rows = torch.lerp(image[:, top.floor().long()], image[:, top.ceil().long()], (top % 1)[:, None])
        both = torch.lerp(rows[..., left.floor().long()], rows[..., left.ceil().long()], left % 1)
        seen = ((y >= 0) & (y <= image.shape[1]))[:, None] & ((x >= 0) & (x <= image.shape[2]))
        crops.append(torch.where(seen, both, image.mean(dim=(1, 2))[:, None, None]))
    return F.avg_pool2d(torch.stack(crops), fine)


def warped_with(grow=None, outside=None):
    """`context_warp` with another way to enlarge the boxes, or another colour beyond the picture."""

    def warp(image: Tensor, boxes: Tensor, size: int, context: int) -> Tensor:
        middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        half = half * size / (size - 2 * context) if grow is None else grow(half, size, context)
        colour = image.mean(dim=(1, 2)) if outside is None else outside(image)
        return crop_resize(image, torch.cat([middle - half, middle + half], dim=1), size, colour)

    return warp


def warped_square(image: Tensor, boxes: Tensor, size: int, context: int) -> Tensor:
    return warped_with(lambda half, size, context: half.amax(1, True).expand(-1, 2) * size / (size - 2 * context))(
        image, boxes, size, context
    )


def warped_clipped(image: Tensor, boxes: Tensor, size: int, context: int) -> Tensor:
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    extra = (half * size / (size - 2 * context) - half).repeat(1, 2) * torch.tensor([-1, -1, 1, 1])
    height, width = image.shape[1:]
    grown = (boxes + extra).clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    return crop_resize(image, grown, size, image.mean(dim=(1, 2)))


# --- svm_labels -----------------------------------------------------------------------------------------------------


def label_cases() -> list[Case]:
    truth = torch.tensor([[0.0, 0, 20, 20], [10, 10, 30, 30], [40, 0, 50, 30]])
    draw = torch.Generator().manual_seed(1)
    near = truth.repeat(6, 1) + 4 * torch.randn(18, 4, generator=draw)
    far = torch.tensor([[60.0, 60, 70, 70], [0, 40, 30, 60]])
    iou = box_iou(torch.cat([truth, near, far]), truth)
    hand = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.0], [0.0, 0.8], [0.3, 0.1], [0.29, 0.1], [0.0, 0.0]])
    inputs = [
        ("two things, of class 1 and 2", (hand, torch.tensor([1, 2]), 1)),
        ("the same for class 2", (hand, torch.tensor([1, 2]), 2)),
        ("three things, two of them of class 4", (iou, torch.tensor([4, 2, 4]), 4)),
        ("a class that is not in the picture", (iou, torch.tensor([4, 2, 4]), 5)),
    ]
    return [Case(label, arguments, labels_by_loop(*arguments)) for label, arguments in inputs]


def no_region_left_out(got: Tensor, expected: Tensor, case: Case) -> bool:
    """Every region is an example or a counterexample, and parts of a thing are among the examples."""
    return bool((got >= 0).all() and ((got == 1) & (expected == -1)).any())


def labels_by_loop(iou: Tensor, labels: Tensor, label: int) -> Tensor:
    kinds = []
    for overlaps in iou.tolist():
        best = max([overlap for overlap, kind in zip(overlaps, labels.tolist()) if kind == label], default=0.0)
        kinds.append(1 if best > 0.999999 else 0 if best < 0.3 else -1)
    return torch.tensor(kinds)


def labelled_with(example=1 - 1e-6, counter=0.3, between=-1, any_class=False):
    """`svm_labels` with other limits, another word for the regions in between, or with all classes lumped together."""

    def kinds_of(iou: Tensor, labels: Tensor, label: int) -> Tensor:
        of_class = iou if any_class else iou[:, labels == label]
        best = torch.cat([of_class, torch.zeros(len(iou), 1)], dim=1).amax(dim=1)
        kinds = torch.full((len(iou),), between)
        kinds[best < counter] = 0
        kinds[best > example] = 1
        return kinds

    return kinds_of


def others_not_used(iou: Tensor, labels: Tensor, label: int) -> Tensor:
    kinds = labelled_with()(iou, labels, label)
    others = torch.cat([iou[:, labels != label], torch.zeros(len(iou), 1)], dim=1).amax(dim=1)
    return torch.where((kinds == 0) & (others >= 0.3), -1, kinds)


# --- box_targets ----------------------------------------------------------------------------------------------------


def target_cases() -> list[Case]:
    draw = torch.Generator().manual_seed(2)
    proposals = torch.tensor([[10.0, 10, 30, 50], [0, 0, 8, 8], [40, 20, 90, 30]])
    moved = proposals + 3 * torch.randn(3, 4, generator=draw)
    inputs = [
        ("a box moved to the right by half its width", (proposals[:1], proposals[:1] + torch.tensor([10.0, 0, 10, 0]))),
        ("a box that is twice as large", (torch.tensor([[10.0, 10, 20, 14]]), torch.tensor([[5.0, 8, 25, 16]]))),
        ("three boxes", (proposals, moved)),
        ("the very same boxes", (proposals, proposals.clone())),
        ("none", (proposals[:0], proposals[:0])),
    ]
    return [Case(label, arguments, targets_by_convert(*arguments)) for label, arguments in inputs]


def targets_by_convert(proposals: Tensor, truth: Tensor) -> Tensor:
    p, g = (box_convert(boxes, "xyxy", "cxcywh").double() for boxes in (proposals, truth))
    return torch.stack(
        [
            (g[:, 0] - p[:, 0]) / p[:, 2],
            (g[:, 1] - p[:, 1]) / p[:, 3],
            g[:, 2].log() - p[:, 2].log(),
            g[:, 3].log() - p[:, 3].log(),
        ],
        dim=1,
    ).float()


def box_targets(proposals: Tensor, truth: Tensor) -> Tensor:
    """`lib.ops.box_coder.BoxCoder().encode_single`, with the proposals first."""
    return BoxCoder().encode_single(truth, proposals)


def targets_with(divide=True, by_truth=False, log=True, corner=False, backwards=False, order=(0, 1, 2, 3)):
    """`box_targets` with one thing done otherwise."""

    def targets(proposals: Tensor, truth: Tensor) -> Tensor:
        if backwards:
            proposals, truth = truth, proposals
        p, g = (box_convert(boxes, "xyxy", "cxcywh") for boxes in (proposals, truth))
        shift = truth[:, :2] - proposals[:, :2] if corner else g[:, :2] - p[:, :2]
        unit = g[:, 2:] if by_truth else p[:, 2:]
        ratio = g[:, 2:] / p[:, 2:]
        result = torch.cat([shift / unit if divide else shift, ratio.log() if log else ratio], dim=1)
        return result[:, list(order)]

    return targets
