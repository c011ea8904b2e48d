"""Connected regions by a loop, and in the form in which the official SAM asks OpenCV for them."""

import numpy as np


def flood_fill(mask):
    """Regions of a mask (H, W), connected along sides and at corners: a list of sets of (row, column)."""
    height, width = mask.shape
    left = {(row, column) for row in range(height) for column in range(width) if mask[row, column]}
    regions = []
    for start in sorted(left):
        if start not in left:
            continue
        left.discard(start)
        region, rim = {start}, [start]
        while rim:
            row, column = rim.pop()
            near = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
            left -= near
            region |= near
            rim.extend(near)
        regions.append(region)
    return regions


class OpenCV:
    """The one function of OpenCV that the official SAM needs."""

    @staticmethod
    def connectedComponentsWithStats(mask, connectivity):
        """Number of regions with the background, regions (H, W), and statistics, of which the last is the area."""
        assert connectivity == 8
        numbered, regions = np.zeros(mask.shape, dtype=np.int32), flood_fill(mask)
        for number, region in enumerate(regions, 1):
            numbered[tuple(np.array(sorted(region)).T)] = number
        areas = np.bincount(numbered.flat, minlength=len(regions) + 1)
        return len(regions) + 1, numbered, areas[:, None], None
