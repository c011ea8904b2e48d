"""Connected regions without scipy, and in the form in which the official SAM asks OpenCV for them."""

import torch
import torch.nn.functional as F


def flood_fill(mask):
    """Numbers of the regions of a mask (H, W), from 1 in reading order, connected along sides and at corners.

    Each pixel has a number of its own, and the largest around it spreads to it, until nothing changes.
    """
    height, width = mask.shape
    spread, before = torch.arange(height * width, 0, -1).view(height, width).float() * mask, None
    while before is None or not torch.equal(spread, before):
        before = spread
        spread = F.max_pool2d(spread[None], 3, stride=1, padding=1)[0] * mask
    numbers = (-spread).unique(return_inverse=True)[1] + 1  # the background's 0 comes last
    return numbers * mask


class OpenCV:
    """The one function of OpenCV that the official SAM needs."""

    @staticmethod
    def connectedComponentsWithStats(mask, connectivity):
        """Number of regions with the background, regions (H, W), and statistics, of which the last is the area."""
        assert connectivity == 8
        regions = flood_fill(torch.from_numpy(mask) > 0)
        areas = regions.flatten().bincount(minlength=1)
        return len(areas), regions.numpy(), areas.numpy()[:, None], None
