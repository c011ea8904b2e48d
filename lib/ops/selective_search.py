"""Selective search: boxes worth a look, found by merging patches that look alike (lesson 06). Nothing is learned.

Source: Uijlings, van de Sande, Gevers & Smeulders 2013, "Selective Search for Object Recognition", section 3. The
patches that it starts from are those of Felzenszwalb & Huttenlocher 2004, as scikit-image computes them.

A picture is cut into small even patches. The two neighbours that are most alike become one region, again and again,
until one region is the whole picture. Every region on the way gives a box. Small things come from early merges and
large things from late ones. Several runs, with other colours or coarser patches, make other mistakes; their boxes are
pooled.
"""

import heapq
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import find_objects, gaussian_filter
from skimage.color import rgb2hsv, rgb2lab
from skimage.segmentation import felzenszwalb
from torch import Tensor

from lib.ops.boxes import box_iou

COLOUR_BINS, TEXTURE_BINS, DIRECTIONS = 25, 10, 8  # the paper's
STEEPEST = 0.1  # a change of brightness a pixel that fills the last texture bin
GOLDEN = 0.6180339887
SPACES = ("rgb", "hsv", "lab")


class Region(NamedTuple):
    """All that the grouping remembers of a region."""

    size: int  # pixels
    box: tuple[int, int, int, int]  # xyxy pixels around it; x2 and y2 are its last column and row + 1
    colour: Tensor  # (75,) share of its pixels in each colour bin, three channels; sum 1
    texture: Tensor  # (240,) the same for the steepness in eight directions; sum 1


Similarity = Callable[[Region, Region, int], float]


def region_similarity(a: Region, b: Region, picture_size: int) -> float:
    """How much two regions belong together, 1 to 4: colour + texture + size + fill, equations 1, 3, 4 and 5.

    Colour and texture: what the two histograms share, bin by bin. Size: small regions merge first. Fill: two
    regions that fill the box around both fit into each other.

    Args:
        picture_size: the number of pixels of the whole picture.
    """
    colour = torch.minimum(a.colour, b.colour).sum().item()
    texture = torch.minimum(a.texture, b.texture).sum().item()
    left, top, right, bottom = _box_around(a.box, b.box)
    both = a.size + b.size
    empty = (right - left) * (bottom - top) - both
    return colour + texture + (1 - both / picture_size) + (1 - empty / picture_size)


def similarity_without_colour(a: Region, b: Region, picture_size: int) -> float:
    """`region_similarity` without its first term: the paper's second way, for things of several colours."""
    return region_similarity(a, b, picture_size) - torch.minimum(a.colour, b.colour).sum().item()


def merge_regions(a: Region, b: Region) -> Region:
    """The region that two regions make together. Its histograms are theirs, weighted by their sizes (equation 2)."""
    size = a.size + b.size
    share = a.size / size
    return Region(
        size,
        _box_around(a.box, b.box),
        share * a.colour + (1 - share) * b.colour,
        share * a.texture + (1 - share) * b.texture,
    )


def _box_around(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def group_regions(
    regions: list[Region],
    neighbours: list[tuple[int, int]],
    picture_size: int,
    similarity: Similarity = region_similarity,
) -> tuple[list[Region], list[tuple[int, int]]]:
    """Merge the most similar pair of neighbours until there are none left (algorithm 1 of the paper).

    Args:
        regions: N regions to start from.
        neighbours: pairs of places in `regions`, each pair once.
        picture_size: in pixels, handed on to `similarity`.

    Returns:
        all regions, the N and then the merged ones in the order of their birth (2·N - 1 if all are connected);
        and of each merged one the places of its two parts.

    Raises:
        ValueError: a pair does not name two different regions.
    """
    regions, parts = list(regions), []
    touching: dict[int, set[int]] = {place: set() for place in range(len(regions))}
    for a, b in neighbours:
        if a == b or not {a, b} <= touching.keys():
            raise ValueError(f"neighbours holds {(a, b)}; expected two different places below {len(regions)}")
        touching[a].add(b)
        touching[b].add(a)

    def rated(a: int, b: int) -> tuple[float, int, int]:
        # Rounded, so that the last bits of a sum, which differ from machine to machine, decide nothing.
        return -round(float(similarity(regions[a], regions[b], picture_size)), 6), a, b

    queue = [rated(a, b) for a, b in sorted((min(pair), max(pair)) for pair in neighbours)]
    heapq.heapify(queue)  # the most similar pair comes out first
    while queue:
        _, a, b = heapq.heappop(queue)
        if a not in touching or b not in touching:
            continue  # one of the two has been merged since
        new = len(regions)
        regions.append(merge_regions(regions[a], regions[b]))
        parts.append((a, b))
        around = (touching.pop(a) | touching.pop(b)) - {a, b}  # its neighbours are theirs
        touching[new] = around
        for place in sorted(around):
            touching[place] -= {a, b}
            touching[place].add(new)
            heapq.heappush(queue, rated(place, new))
    return regions, parts


# ------------------------------------------------------------------------------------------------ from a picture


def oversegment(
    image: Tensor, scale: float = 100, sigma: float = 0.8, min_size: int = 50, space: str = "rgb"
) -> Tensor:
    """Cut a picture into small patches of even colour.

    Args:
        image: (3, H, W) floats, 0..1.
        scale: the higher, the larger the patches.
        sigma: how much the picture is smoothed first, in pixels.
        min_size: smaller patches are joined to a neighbour, in pixels.
        space: one of `SPACES`, the colours in which it is compared.

    Returns:
        (H, W) int64, the number of the patch of every pixel, from 0.

    Raises:
        ValueError: `image` or `space` is not as said.
    """
    pixels = _in_space(image, space)  # (H, W, 3)
    patches = felzenszwalb(pixels, scale=scale, sigma=sigma, min_size=min_size)
    return torch.from_numpy(patches.astype(np.int64))


def regions_of(image: Tensor, patches: Tensor, space: str = "rgb") -> tuple[list[Region], list[tuple[int, int]]]:
    """The patches of a picture as regions, and which of them touch.

    Args:
        image: (3, H, W) floats, 0..1.
        patches: (H, W) whole numbers 0..N-1, each of them at least once.
        space: one of `SPACES`, for the two histograms.

    Returns:
        N regions; and pairs (a, b) with a < b that share an edge of a pixel.

    Raises:
        ValueError: `patches` does not fit the picture, or misses a number.
    """
    pixels = _in_space(image, space)  # (H, W, 3)
    if patches.shape != image.shape[1:] or patches.min() != 0:
        raise ValueError(
            f"patches is {tuple(patches.shape)} from {patches.min()}; expected "
            f"{tuple(image.shape[1:])} with numbers from 0"
        )
    number = patches.long().cpu().numpy()  # (H, W)
    sizes = np.bincount(number.ravel())  # (N,)
    if not sizes.all():
        raise ValueError(f"patches misses the number {int(np.argmin(sizes))}; expected each at least once")
    colour = _histograms(number, pixels, COLOUR_BINS)  # (N, 75)
    texture = _histograms(number, _steepness(pixels) / STEEPEST, TEXTURE_BINS)  # (N, 240)
    boxes = [(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in find_objects(number + 1)]
    regions = [Region(*parts) for parts in zip(sizes.tolist(), boxes, colour, texture)]
    touching = np.concatenate(
        [
            np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()], axis=1),
            np.stack([number[:-1].ravel(), number[1:].ravel()], axis=1),
        ]
    )
    touching = np.sort(touching[touching[:, 0] != touching[:, 1]], axis=1)  # (E, 2), a < b
    codes = np.unique(touching[:, 0] * len(sizes) + touching[:, 1])  # each pair once
    return regions, [divmod(code, len(sizes)) for code in codes.tolist()]


def _histograms(number: np.ndarray, values: np.ndarray, bins: int) -> Tensor:
    """Of each patch a histogram per channel, one behind the other, sum 1: (H, W), (H, W, C) -> (N, C · bins)."""
    count, channels = number.max() + 1, values.shape[2]
    filled = np.clip((values * bins).astype(np.int64), 0, bins - 1)  # (H, W, C): the bin of each value
    cells = (number[..., None] * channels + np.arange(channels)) * bins + filled
    counts = np.bincount(cells.ravel(), minlength=count * channels * bins).reshape(count, channels * bins)
    return torch.from_numpy((counts / counts.sum(1, keepdims=True)).astype(np.float32))


def _steepness(pixels: np.ndarray) -> np.ndarray:
    """How fast each channel rises in eight directions: (H, W, C) -> (H, W, 8 · C), 0 where it falls."""
    across = gaussian_filter(pixels, (1, 1, 0), order=(0, 1, 0))  # the slope to the right, of a smoothed picture
    down = gaussian_filter(pixels, (1, 1, 0), order=(1, 0, 0))
    angles = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    return np.concatenate([np.maximum(np.cos(a) * across + np.sin(a) * down, 0) for a in angles], axis=2)


def _in_space(image: Tensor, space: str) -> np.ndarray:
    """A picture in other colours, each channel about 0..1: (3, H, W) -> (H, W, 3)."""
    if image.ndim != 3 or image.shape[0] != 3 or not image.is_floating_point() or 0 in image.shape:
        raise ValueError(f"image is {tuple(image.shape)} {image.dtype}; expected (3, H, W) floats in 0..1")
    if space not in SPACES:
        raise ValueError(f"space is {space!r}; expected one of {', '.join(SPACES)}")
    # Whole bytes, and few decimals below: what is equal stays equal on every machine, and ties fall the same way.
    pixels = (image.detach().cpu().permute(1, 2, 0).double().numpy() * 255).round() / 255  # (H, W, 3)
    if space == "hsv":
        pixels = rgb2hsv(pixels)
    elif space == "lab":
        pixels = (rgb2lab(pixels) + (0, 100, 100)) / (100, 200, 200)
    return pixels.round(6)


# ------------------------------------------------------------------------------------------------ the whole


def selective_search(
    image: Tensor,
    scales: tuple[float, ...] = (50, 100),
    spaces: tuple[str, ...] = ("hsv", "lab"),
    similarities: tuple[Similarity, ...] = (region_similarity, similarity_without_colour),
    sigma: float = 0.8,
    min_size: int = 50,
    min_side: int = 1,
) -> Tensor:
    """Boxes around everything that might be a thing, the most promising first.

    One grouping for each scale, colour space and similarity; by default eight, the paper's "fast" set, for photos of
    some 300 × 400 pixels. Of the i-th region of a grouping, counted from its end, the box gets i times a number in
    0..1, and the smallest goes first (section 3.4). So boxes that are found late in a grouping tend to stand in front.
    In the paper that number is random; here it is i times the golden ratio, without its whole part: spread as evenly,
    and the same every time.

    Args:
        image: (3, H, W) floats, 0..1.
        scales, spaces, sigma, min_size: as in `oversegment`.
        min_side: a box with a shorter side is left out, in pixels.

    Returns:
        (P, 4) float, xyxy pixels, no box twice.
    """
    best: dict[tuple[int, int, int, int], float] = {}
    for space in spaces:
        for scale in scales:
            patches = oversegment(image, scale, sigma, min_size, space)
            start, neighbours = regions_of(image, patches, space)
            for similarity in similarities:
                regions, _ = group_regions(start, neighbours, patches.numel(), similarity)
                for rank, region in enumerate(reversed(regions), start=1):
                    x1, y1, x2, y2 = region.box
                    if min(x2 - x1, y2 - y1) >= min_side:
                        value = rank * (rank * GOLDEN % 1)
                        best[region.box] = min(value, best.get(region.box, value))
    ordered = sorted(best, key=lambda box: (best[box], box))
    return torch.tensor(ordered, dtype=torch.float32).reshape(-1, 4)


def selective_search_small(image: Tensor) -> Tensor:
    """Selective search as it suits pictures of about 96 × 96 pixels: two groupings, and no box narrower than 5 pixels.

    Chosen on training pictures of toyworld: about 120 boxes a picture, which find 97 things of 100 (IoU 0.5).
    Arguments and result are those of `selective_search`.
    """
    return selective_search(
        image,
        scales=(100,),
        spaces=("hsv", "lab"),
        similarities=(region_similarity,),
        sigma=0.4,
        min_size=15,
        min_side=5,
    )


def proposal_recall(proposals: Tensor, truth: Tensor, iou_threshold: float = 0.5) -> Tensor:
    """Which share of the true boxes is found by the first 1, 2, ... P proposals.

    A true box is found if the IoU with at least one of those proposals is `iou_threshold` or more.

    Args:
        proposals: (P, 4) boxes, the most promising first.
        truth: (N, 4) boxes.

    Returns:
        (P,) floats 0..1 that never fall; nan if there is no truth.

    Raises:
        ValueError: an argument is not (…, 4) boxes, or the threshold lies outside of 0..1.
    """
    for name, boxes in (("proposals", proposals), ("truth", truth)):
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"{name} is {tuple(boxes.shape)}; expected (number of boxes, 4)")
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold is {iou_threshold!r}; expected a number above 0, up to 1")
    if not len(proposals):
        return proposals.new_zeros(0)
    reached = box_iou(proposals, truth).cummax(dim=0).values  # (P, N): the best IoU so far
    return (reached >= iou_threshold).float().mean(dim=1)  # (P,)
