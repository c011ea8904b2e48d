"""U-Net: down to a small map that knows what, and up again with the maps that know where (lesson 04).

Source: Ronneberger, Fischer & Brox 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation", section 2
and figure 1; the weights at the start are drawn as in section 3. Differences: BatchNorm after every 3×3 convolution
(its shift takes the place of the bias), no dropout at the bottom, and by default padded convolutions, so that scores
come out for every pixel. `padding=0` is the paper's.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.ops.checks import check_whole


class DoubleConv(nn.Sequential):
    """Twice: 3×3 convolution, BatchNorm, ReLU. Without padding each convolution takes one pixel off all four sides."""

    def __init__(self, inputs: int, outputs: int, padding: int = 1):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=padding, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=padding, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Down(nn.Module):
    """One step of the contracting path: halve the map by max pooling, then DoubleConv to twice the channels.

    An odd side is rounded up: its last row is a pool of its own, so that no pixel is left out.
    """

    def __init__(self, inputs: int, outputs: int, padding: int = 1):
        super().__init__()
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.conv = DoubleConv(inputs, outputs, padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.pool(x))  # (B, C, h, w) -> (B, 2C, ceil(h/2), ceil(w/2))


class Up(nn.Module):
    """One step of the expanding path: double the map, join it with the skip, then DoubleConv.

    Doubling is a 2×2 transposed convolution with stride 2 ("up-convolution") to half the channels. Its stamps lie side
    by side and never overlap. Then the larger of the two maps is cut to the size of the smaller, both sides by the same
    amount, the odd pixel at the bottom and at the right. With padding, it is the doubled map that is at most one pixel
    larger, where the skip is odd. Without, it is the skip, as in the paper.

    Args:
        inputs: channels of the map from below.
        outputs: channels of the skip, and of the result.
        padding: of the convolutions, 1 or 0.
        skip: "concat", the paper's, concatenates the two maps; "add" adds them; "none" drops the skip.
        squeeze: with "concat", a 1×1 convolution first leaves the skip only so many channels, as few as an FCN's scores
            have. None: it crosses whole.

    Raises:
        ValueError: `skip` is none of the three, or `squeeze` stands without "concat".
    """

    def __init__(self, inputs: int, outputs: int, padding: int = 1, skip: str = "concat", squeeze: int | None = None):
        super().__init__()
        if skip not in ("concat", "add", "none"):
            raise ValueError(f"skip is {skip!r}; expected 'concat', 'add' or 'none'")
        if squeeze is not None and skip != "concat":
            raise ValueError(f"squeeze is {squeeze!r}; expected None with skip {skip!r}")
        self.skip = skip
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.squeeze = None if squeeze is None else nn.Conv2d(outputs, squeeze, 1)
        crossing = outputs if squeeze is None else squeeze
        self.conv = DoubleConv(outputs + crossing if skip == "concat" else outputs, outputs, padding)

    def forward(self, below: Tensor, beside: Tensor) -> Tensor:
        """below (B, inputs, h, w) and beside, the skip, (B, outputs, H, W) -> (B, outputs, about H, about W)."""
        above = self.up(below)  # (B, outputs, 2h, 2w)
        size = min(above.shape[2], beside.shape[2]), min(above.shape[3], beside.shape[3])
        above, beside = centre_crop(above, size), centre_crop(beside, size)
        if self.skip == "concat":
            beside = beside if self.squeeze is None else self.squeeze(beside)
            joined = torch.cat([beside, above], dim=1)  # (B, 2 · outputs, H, W), fewer channels where squeezed
        else:
            joined = above + beside if self.skip == "add" else above  # (B, outputs, H, W)
        return self.conv(joined)  # (B, outputs, H, W)


def centre_crop(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of a map; where the surplus is odd, one pixel more is cut off at the bottom and at the right."""
    top, left = (x.shape[2] - size[0]) // 2, (x.shape[3] - size[1]) // 2
    return x[:, :, top : top + size[0], left : left + size[1]]


class UNet(nn.Module):
    """U-Net: `depth` steps down, each with half the size and twice the channels, as many steps up, then class scores.

    `UNet(1, 2, padding=0)` is figure 1 of the paper: 572 × 572 pixels in, 388 × 388 out.

    Args:
        in_channels: of the picture.
        num_classes: K.
        width: channels of the first level; level n has width · 2ⁿ.
        depth: how many times the map is halved.
        stem_stride: 1 is the paper's. With s > 1 a first convolution makes one cell of s × s pixels, so that even the
            finest level has s² times less to compute, and at the end each cell paints the scores of s × s pixels. Made
            for short runs; with `padding=1` only.
        padding: of the 3×3 convolutions. 1: scores for every pixel, any size of picture. 0: no made-up pixels; the
            result is smaller than the picture and belongs to its middle (figure 2: overlap the tiles).
        skip, squeeze: how the skips cross, see `Up`.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        width: int = 64,
        depth: int = 4,
        stem_stride: int = 1,
        padding: int = 1,
        skip: str = "concat",
        squeeze: int | None = None,
    ):
        super().__init__()
        for name, value in (
            ("in_channels", in_channels),
            ("num_classes", num_classes),
            ("width", width),
            ("depth", depth),
            ("stem_stride", stem_stride),
        ):
            check_whole(name, value, at_least=1)
        if padding not in (0, 1) or padding == 0 and stem_stride > 1:
            raise ValueError(f"padding is {padding!r}; expected 1, or 0 with stem_stride 1")
        self.in_channels, self.stem_stride = in_channels, stem_stride
        self.smallest = 1 if padding else smallest_unpadded(depth)
        self.stem = None
        if stem_stride > 1:
            conv = nn.Conv2d(in_channels, width, 2 * stem_stride, stem_stride, (stem_stride + 1) // 2, bias=False)
            self.stem = nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        widths = [width * 2**level for level in range(depth + 1)]
        steps = list(zip(widths[:-1], widths[1:], strict=True))  # (finer, coarser), from the top to the bottom
        self.top = DoubleConv(in_channels if self.stem is None else width, width, padding)
        self.contracting = nn.ModuleList(Down(finer, coarser, padding) for finer, coarser in steps)
        self.expanding = nn.ModuleList(Up(coarser, finer, padding, skip, squeeze) for finer, coarser in reversed(steps))
        # The paper's 1×1 convolution; with a stem its stamps are as large as the stem's stride, and lie side by side.
        self.score = nn.ConvTranspose2d(width, num_classes, stem_stride, stem_stride)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # N incoming numbers: in channels · kernel cells
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.ConvTranspose2d):  # its stamps do not overlap: N = in channels
                nn.init.normal_(module.weight, std=math.sqrt(2 / module.in_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: (B, in_channels, H, W) -> (B, K, H, W), no softmax; smaller with `padding=0`.

        Raises:
            ValueError: `x` has another number of axes or channels, or is too small.
        """
        if x.ndim != 4 or x.shape[1] != self.in_channels or min(x.shape[2:]) < self.smallest:
            raise ValueError(
                f"x is {tuple(x.shape)}; expected (B, {self.in_channels}, H, W) with H and W of at least "
                f"{self.smallest}"
            )
        height, width = x.shape[2:]
        if self.stem is not None:
            x = F.pad(x, (0, -width % self.stem_stride, 0, -height % self.stem_stride), mode="replicate")
            x = self.stem(x)  # (B, width, H/s, W/s), rounded up
        x = self.top(x)
        skips = []
        for down in self.contracting:
            skips.append(x)
            x = down(x)  # half the size, twice the channels
        for up in self.expanding:
            x = up(x, skips.pop())  # twice the size, half the channels
        return self.score(x)[:, :, :height, :width]  # (B, K, H, W)


def smallest_unpadded(depth: int) -> int:
    """The smallest side of a picture of which an unpadded U-Net leaves at least one pixel."""
    side = 1
    for _ in range(depth):
        side = (side + 4 + 1) // 2  # before the DoubleConv, and before doubling, rounded up
    side += 4  # before the DoubleConv at the bottom
    for _ in range(depth):
        side = 2 * side - 1 + 4  # before halving, which rounds up, and before the DoubleConv
    return side
