"""Cutting a feature map instead of the picture: every region becomes a small map of the same size (lessons 07 and 12).

A region of interest (RoI) is a box in pixels of the picture; `spatial_scale` (1/8 for a map of stride 8) takes it to
the map. RoI pooling rounds it to whole cells, RoIAlign reads between the cells. Both are written out here and tested
equal to `torchvision.ops`, which models use. Where there are maps of several strides, `assign_levels` says which one to
cut (lesson 11). Sources: Girshick 2015, "Fast R-CNN", section 2.1; He et al. 2017, "Mask R-CNN", section 3, "RoIAlign";
`aligned`: Wu et al. 2019, Detectron2; levels: Lin et al. 2017, "Feature Pyramid Networks for Object Detection".
"""

import torch
from torch import Tensor

from lib.ops.boxes import box_area, check_boxes
from lib.ops.dtypes import widened


def roi_pool(
    input: Tensor, boxes: Tensor | list[Tensor], output_size: int | tuple[int, int], spatial_scale: float = 1.0
) -> Tensor:
    """Each box is rounded to whole cells and divided into bins; of each bin the largest number is kept.

    The cell of the box's first corner and that of its last both belong to the region, so it is at least one cell large.
    A bin goes from a rounded-down to a rounded-up cell: bins may overlap, and leave no cell out. A bin outside of the
    map is 0. Boxes receive no gradient: moving one a little changes nothing.

    Args:
        input: (B, C, h, w) feature maps.
        boxes: a list of (K_i, 4) xyxy, one for each of the B pictures; or (K, 5), the number of the picture first.
        output_size: bins (down, across); one number means a square.
        spatial_scale: cells per pixel.

    Returns:
        (K, C, *output_size). Equal to `torchvision.ops.roi_pool`.

    Raises:
        ValueError: a shape does not fit, a number is out of range, or a box is not finite.
    """
    pictures, regions, (down, across) = _checked(input, boxes, output_size, spatial_scale)
    pooled = input.new_zeros(len(regions), input.shape[1], down, across)  # (K, C, down, across)
    for number, (picture, region) in enumerate(zip(pictures.tolist(), _rounded(regions * spatial_scale).tolist())):
        left, top, right, bottom = region  # cells
        rows = _bin_edges(top, bottom, down, input)
        columns = _bin_edges(left, right, across, input)
        for i, (first_row, after_row) in enumerate(rows):
            for j, (first_column, after_column) in enumerate(columns):
                cells = input[picture, :, first_row:after_row, first_column:after_column].flatten(1)  # (C, cells)
                if cells.shape[1]:
                    pooled[number, :, i, j] = cells.max(dim=1).values  # (C,)
    return pooled


def _rounded(values: Tensor) -> Tensor:
    """The nearest whole numbers, a half away from zero (`torch.round` takes a half to the even number)."""
    return values.sign() * (values.abs() + 0.5).floor()


def _bin_edges(first: float, last: float, bins: int, like: Tensor) -> list[tuple[int, int]]:
    """For each bin of the cells first..last (both included) its first cell and the one after its last.

    The division is made with the precision of the map, as torchvision does it. What would lie before the map is cut off
    here; slicing cuts off what lies behind it.
    """
    width = like.new_tensor(max(last - first + 1, 1)) / bins  # of a bin, in cells
    numbers = torch.arange(bins, dtype=like.dtype, device=like.device)  # (bins,)
    starts = (numbers * width).floor() + first  # (bins,)
    ends = ((numbers + 1) * width).ceil() + first  # (bins,)
    return list(zip(starts.clamp(min=0).int().tolist(), ends.clamp(min=0).int().tolist()))


def roi_align(
    input: Tensor,
    boxes: Tensor | list[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Nothing is rounded: each bin is the mean of a few points, and each point is mixed from the four cells around it.

    Mixing along the rows and mixing along the columns do not depend on each other, so for each box two small matrices
    of weights do it all: one says how much each row of the map counts in each row of bins, one the same for columns.

    Args:
        input: (B, C, h, w) feature maps.
        boxes: a list of (K_i, 4) xyxy, one for each of the B pictures; or (K, 5), the number of the picture first.
        output_size: bins (down, across); one number means a square.
        spatial_scale: cells per pixel.
        sampling_ratio: points along each side of a bin. 0 or less: as many as the bin has cells along that side,
            rounded up.
        aligned: whether a cell's value belongs to its middle. Without it, as in the first version, everything is
            taken half a cell too far right and down, and a region is at least one cell large.

    Returns:
        (K, C, *output_size). A point that lies more than a cell outside of the map counts as 0. Equal to
        `torchvision.ops.roi_align`, for a map of finite numbers: one NaN spoils all regions of its picture.

    Raises:
        ValueError: a shape does not fit, a number is out of range, or a box is not finite.
    """
    maps = widened(input)  # float16 is too coarse for places between cells
    pictures, regions, (down, across) = _checked(maps, boxes, output_size, spatial_scale)
    height, width = maps.shape[2:]
    pooled = [maps.new_zeros(0, input.shape[1], down, across)]
    for picture, region in zip(pictures.tolist(), regions * spatial_scale - (0.5 if aligned else 0.0)):
        left, top, right, bottom = region
        least = -torch.inf if aligned else 1.0
        row_weights = _mixing_weights(top, (bottom - top).clamp(min=least), down, sampling_ratio, height)
        column_weights = _mixing_weights(left, (right - left).clamp(min=least), across, sampling_ratio, width)
        cut = row_weights @ maps[picture] @ column_weights.T  # (C, down, across)
        pooled.append(cut[None])
    return torch.cat(pooled).to(input.dtype)


def _mixing_weights(start: Tensor, length: Tensor, bins: int, sampling_ratio: int, cells: int) -> Tensor:
    """How much each cell along one axis counts in each bin: (bins, cells). A row sums to 1 inside of the map."""
    width = length / bins  # of a bin, in cells
    samples = sampling_ratio if sampling_ratio > 0 else int(width.ceil())
    if samples < 1 or not cells:  # no width, no points
        return start.new_zeros(bins, cells)
    bin_starts = start + torch.arange(bins, device=start.device) * width  # (bins,)
    inside_bin = (torch.arange(samples, dtype=start.dtype, device=start.device) + 0.5) * width / samples  # (samples,)
    points = bin_starts[:, None] + inside_bin  # (bins, samples)
    on_map = (points >= -1) & (points <= cells)
    points = points.clamp(0, cells - 1)  # up to a cell outside of the map, its rim is repeated
    before = points.floor().long()
    after = (before + 1).clamp(max=cells - 1)
    share = points - before  # of the cell after
    weights = start.new_zeros(bins, cells)
    weights.scatter_add_(1, before, (1 - share) * on_map)
    weights.scatter_add_(1, after, share * on_map)
    return weights / samples  # (bins, cells)


def assign_levels(
    boxes: Tensor, k_min: int, k_max: int, canonical_scale: float = 224, canonical_level: int = 4
) -> Tensor:
    """From which level of a pyramid each region is cut: k = ⌊k0 + log2(√(w·h) / 224)⌋, equation 1 of the paper.

    Level k is the map with stride 2^k. A region of half the side belongs one level lower, where the map has twice as
    many cells across: every region is cut from about as many cells. The area counts, not the shape.

    Args:
        boxes: (P, 4) xyxy pixels.
        k_min, k_max: the finest and the coarsest level that there is; what would belong beyond them is cut from them.
        canonical_scale: a region of this side, in pixels, ...
        canonical_level: ... belongs to this level, k0. In the paper 224, the side of ImageNet's pictures, and 4: there
            the network that was trained on them has its last but one map.

    Returns:
        (P,) int64, k_min..k_max. A box without area belongs to k_min. As in torchvision, 1e-6 is added before rounding
        down, so that a box of exactly the canonical scale does not fall below its level by a rounding error.

    Raises:
        ValueError: a shape does not fit, the levels are out of order, or `canonical_scale` is not above 0.
    """
    check_boxes("boxes", boxes)
    if k_min > k_max:
        raise ValueError(f"k_min is {k_min} and k_max {k_max}; expected k_min <= k_max")
    if not canonical_scale > 0:
        raise ValueError(f"canonical_scale is {canonical_scale!r}; expected a number above 0")
    side = box_area(boxes).sqrt()  # (P,)
    level = torch.floor(canonical_level + torch.log2(side / canonical_scale) + 1e-6)  # (P,)
    return level.clamp(k_min, k_max).long()


def _checked(
    input: Tensor, boxes: Tensor | list[Tensor], output_size: int | tuple[int, int], spatial_scale: float
) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """The number of the picture of each box (K,), the boxes (K, 4) in the map's dtype, and the bins down and across."""
    if input.ndim != 4:
        raise ValueError(f"input is {tuple(input.shape)}; expected (B, C, h, w)")
    size = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"output_size is {output_size!r}; expected one or two whole numbers of at least 1")
    if not spatial_scale > 0:
        raise ValueError(f"spatial_scale is {spatial_scale!r}; expected a number above 0")
    if isinstance(boxes, Tensor):
        if boxes.ndim != 2 or boxes.shape[1] != 5:
            raise ValueError(f"boxes is {tuple(boxes.shape)}; expected (K, 5), or a list of (K, 4)")
        pictures, regions = boxes[:, 0].long(), boxes[:, 1:]
        if len(boxes) and not 0 <= pictures.min() <= pictures.max() < len(input):
            raise ValueError(
                f"boxes speaks of pictures {pictures.min()}..{pictures.max()}; expected 0..{len(input) - 1}"
            )
    else:
        if len(boxes) != len(input) or any(one.ndim != 2 or one.shape[1] != 4 for one in boxes):
            raise ValueError(
                f"boxes holds {[tuple(one.shape) for one in boxes]}; expected (K, 4) for each of {len(input)} pictures"
            )
        counts = torch.tensor([len(one) for one in boxes], dtype=torch.int64, device=input.device)
        pictures = torch.arange(len(boxes), device=input.device).repeat_interleave(counts)  # (K,)
        regions = torch.cat([input.new_zeros(0, 4), *boxes])  # (K, 4)
    if not regions.isfinite().all():
        raise ValueError("boxes holds infinite or NaN numbers; expected finite pixels")
    return pictures, regions.to(input).detach(), size
