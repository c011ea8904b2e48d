"""Anchors: boxes of a few sizes and shapes around every place of a feature map (lesson 08).

A region proposal network does not search for boxes. It says of each anchor whether a thing is near, and how to move the
anchor onto it. Source: Ren et al. 2015, "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal
Networks", section 3.1.1 (three sizes times three shapes at each place of one map); Lin et al. 2017, "Feature Pyramid
Networks for Object Detection", section 4.1 (several maps, one size each).
"""

import torch
from torch import Tensor


def cell_anchors(scales: tuple[float, ...], aspect_ratios: tuple[float, ...]) -> Tensor:
    """The anchors of one place, around the point (0, 0).

    An anchor of scale s and ratio r is s / √r wide and s · √r high: always s² large, and r times as high as wide. Like
    torchvision, we round the four numbers to whole pixels (a half goes to the even number). The authors' own code
    rounds width and height instead, so that some of its anchors differ by a pixel or two.

    Args:
        scales: S sides of a square of the same area, in pixels.
        aspect_ratios: R times height / width.

    Returns:
        (R · S, 4) xyxy; all scales of the first ratio come first.

    Raises:
        ValueError: one of the two is empty or holds a number that is not above 0.
    """
    for name, numbers in (("scales", scales), ("aspect_ratios", aspect_ratios)):
        if not isinstance(numbers, (tuple, list)) or not numbers or min(numbers) <= 0:
            raise ValueError(f"{name} is {numbers!r}; expected a tuple of numbers above 0")
    sides = torch.tensor(scales, dtype=torch.float32)  # (S,)
    stretch = torch.tensor(aspect_ratios, dtype=torch.float32).sqrt()  # (R,)
    widths = (1 / stretch[:, None] * sides).flatten()  # (R · S,)
    heights = (stretch[:, None] * sides).flatten()  # (R · S,)
    return (torch.stack([-widths, -heights, widths, heights], dim=1) / 2).round()  # (R · S, 4)


def grid_anchors(around_zero: Tensor, grid_size: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """The anchors of one place, copied to every place of a feature map.

    Place (row, column) of the map stands for the point (column · stride, row · stride) of the picture: the left upper
    corner of its cell, as in torchvision. The authors' own code takes the middle of the cell, half a stride further
    right and down; weights learned with one cannot be used with the other (lesson 08 measures what is lost).

    Args:
        around_zero: (A, 4) xyxy, from `cell_anchors`.
        grid_size: (h, w) of the feature map.
        stride: (down, across), pixels from one place to the next.

    Returns:
        (h · w · A, 4) xyxy: row by row, place by place, and all A anchors of a place in a row.
    """
    if around_zero.ndim != 2 or around_zero.shape[1] != 4:
        raise ValueError(f"around_zero is {tuple(around_zero.shape)}; expected (A, 4), xyxy")
    rows = torch.arange(grid_size[0], device=around_zero.device) * stride[0]  # (h,)
    columns = torch.arange(grid_size[1], device=around_zero.device) * stride[1]  # (w,)
    y, x = torch.meshgrid(rows, columns, indexing="ij")  # (h, w) each
    points = torch.stack([x, y, x, y], dim=2).reshape(-1, 1, 4)  # (h · w, 1, 4)
    return (points + around_zero).reshape(-1, 4)  # (h · w · A, 4)


class AnchorGenerator:
    """All anchors of a picture, for one feature map or for the levels of a pyramid.

    The same anchors in the same order as torchvision's class of the same name, which gives them once for each picture
    of a batch.

    Args:
        sizes: for each level the scales of its anchors, in pixels: ((16, 32, 64),) is one level with three.
        aspect_ratios: for each level the ratios height / width.

    Raises:
        ValueError: no level, another number of levels, or a level without numbers above 0.
    """

    def __init__(
        self,
        sizes: tuple[tuple[float, ...], ...] = ((128, 256, 512),),
        aspect_ratios: tuple[tuple[float, ...], ...] = ((0.5, 1.0, 2.0),),
    ):
        if not sizes or len(sizes) != len(aspect_ratios):
            raise ValueError(
                f"sizes has {len(sizes)} levels and aspect_ratios {len(aspect_ratios)}; expected as many, "
                "and at least one"
            )
        self.sizes, self.aspect_ratios = sizes, aspect_ratios
        self.cell_anchors = [cell_anchors(*level) for level in zip(sizes, aspect_ratios)]

    def num_anchors_per_location(self) -> list[int]:
        """How many anchors one place has, for each level."""
        return [len(anchors) for anchors in self.cell_anchors]

    def __call__(self, image_size: tuple[int, int], feature_maps: list[Tensor]) -> Tensor:
        """The anchors of one picture.

        Args:
            image_size: (H, W) of the pictures as they went into the network, padding included.
            feature_maps: for each level (B, C, h, w); only the sizes count. The stride is H // h and W // w.

        Returns:
            (A, 4) xyxy, level after level, with the device and dtype of the feature maps. Anchors may reach out of the
            picture.

        Raises:
            ValueError: another number of maps than of levels, or a map larger than the picture.
        """
        if len(feature_maps) != len(self.cell_anchors):
            raise ValueError(
                f"feature_maps has {len(feature_maps)} maps; expected one for each of the "
                f"{len(self.cell_anchors)} levels of sizes"
            )
        levels = []
        for anchors, feature_map in zip(self.cell_anchors, feature_maps):
            grid_size = (feature_map.shape[-2], feature_map.shape[-1])
            stride = (image_size[0] // max(grid_size[0], 1), image_size[1] // max(grid_size[1], 1))
            if min(stride) < 1:
                raise ValueError(
                    f"feature_maps holds {tuple(feature_map.shape)}; expected maps no larger than the "
                    f"picture, {tuple(image_size)}"
                )
            levels.append(grid_anchors(anchors.to(feature_map), grid_size, stride))  # (h · w · A, 4)
        return torch.cat(levels)


def rows(answers: Tensor, numbers: int) -> Tensor:
    """What a convolution says of A anchors a place, as a row for each anchor, in the order of `AnchorGenerator`.

    Args:
        answers: (N, A · numbers, h, w): all numbers of a place's first anchor, then all of its second one ...
        numbers: how many are said of one anchor.

    Returns:
        (N, h · w · A, numbers).
    """
    n, _, h, w = answers.shape
    return answers.view(n, -1, numbers, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, numbers)


# ------------------------------------------------------------------------------------------------ anchors from the data


def kmeans_anchors(sizes: Tensor, count: int, *, seed: int = 0, rounds: int = 100) -> Tensor:
    """The `count` widths and heights that fit many boxes best: k-means, with 1 − IoU for the distance.

    With the plain distance large boxes would be wrong by many pixels and take all anchors; with 1 − IoU a box of 10
    pixels counts as much as one of 100. A cluster's middle is the mean of its boxes. A cluster that loses all of its
    boxes gets the box that fits its own anchor worst.

    Args:
        sizes: (N, 2) widths and heights of boxes.
        count: how many anchors, at most as many as there are different sizes.
        seed: of the box that it starts with; the others are those that fit worst so far.
        rounds: at most so many; it ends before if nothing changes.

    Returns:
        (count, 2), the smallest area first.

    Raises:
        ValueError: `sizes` is not (N, 2) with numbers above 0, or has too few different ones.

    Source: Redmon & Farhadi 2017, "YOLO9000", section 2, "Dimension Clusters"; lesson 09.
    """
    if sizes.ndim != 2 or sizes.shape[1] != 2 or (sizes <= 0).any():
        raise ValueError(f"sizes is {tuple(sizes.shape)}; expected (N, 2), widths and heights above 0")
    different = sizes.float().unique(dim=0)  # (n, 2)
    if not 1 <= count <= len(different):
        raise ValueError(f"count is {count!r}; expected 1 to {len(different)}, as many sizes differ")
    first = int(torch.randint(len(different), (), generator=torch.Generator().manual_seed(seed)))
    anchors, sizes = different[first : first + 1], sizes.float()
    while len(anchors) < count:  # the next one where the others fit worst
        worst = size_iou(different, anchors).amax(dim=1).argmin()
        anchors = torch.cat([anchors, different[worst : worst + 1]])  # (up to count, 2)
    for _ in range(rounds):
        fit, nearest = size_iou(sizes, anchors).max(dim=1)  # (N,) each
        moved = anchors.clone()
        for number in range(count):
            mine = nearest == number
            if mine.any():
                moved[number] = sizes[mine].mean(dim=0)
            else:
                worst = fit.argmin()
                moved[number], fit[worst] = sizes[worst], 1.0
        if torch.equal(moved, anchors):
            break
        anchors = moved
    return anchors[anchors.prod(dim=1).argsort()]


def size_iou(sizes1: Tensor, sizes2: Tensor) -> Tensor:
    """IoU of boxes that lie on each other at one corner: widths and heights (N, 2) and (M, 2) -> (N, M)."""
    shared = torch.minimum(sizes1[:, None], sizes2).prod(dim=2)  # (N, M)
    return shared / (sizes1.prod(dim=1)[:, None] + sizes2.prod(dim=1) - shared)
