"""What the tracer says against what happens when one row or one column of the picture changes."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.ops.receptive_field import Window, receptive_field
from lib.viz.explorer.geometry import Axis, Geometry
from lib.viz.explorer.tracing import Tracer

HEIGHT, WIDTH = 31, 26


class Block(nn.Module):
    """A residual block with a strided, padded branch and a squeezed shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.short = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, 1, 1), nn.Conv2d(3, 6, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        out = self.b(F.silu(self.a(x)))
        out += self.short(x)  # in place, as torchvision's ResNet does
        return F.silu(out)


class TinyUNet(nn.Module):
    def __init__(self, up: str = "bilinear") -> None:
        super().__init__()
        self.up = up
        self.down, self.middle, self.out = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(8, 5, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        deep = self.middle(F.avg_pool2d(skip, 2))
        return self.out(torch.cat([F.interpolate(deep, size=skip.shape[2:], mode=self.up), skip], dim=1))


class ChannelsLast(nn.Module):
    """As in ConvNeXt and Swin: norm and linear layers on (N, H, W, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.linear = nn.Conv2d(3, 8, 3, 2, 1), nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(self.conv(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class TokensAndBack(nn.Module):
    """Flattened to tokens, mapped one by one, and reshaped to a map again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        tokens = self.linear(x.flatten(2).transpose(1, 2))
        return tokens.transpose(1, 2).reshape(1, 5, *x.shape[2:])


class Slices(nn.Module):
    """Each second cell, as in the patch merging of Swin."""

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :30, :26]
        return torch.cat([x[:, :, 0::2, 0::2], x[:, :, 1::2, 1::2]], 1) * 0.5


class PadByHand(nn.Module):
    """A buffer filled through a view: other names of the same memory change too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        padded = x.new_zeros(1, 3, HEIGHT + 9, WIDTH + 6)
        padded[:, :, 5 : 5 + HEIGHT, :WIDTH] = x
        return self.conv(padded)


def sequence(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*layers)


EXACT = {  # windows only: nothing is rounded
    "conv": sequence(nn.Conv2d(3, 4, 3)),
    "strided": sequence(nn.Conv2d(3, 4, 3, 2, 1), nn.SiLU(), nn.Conv2d(4, 4, (5, 3), (2, 1), (2, 1))),
    "dilated": sequence(nn.Conv2d(3, 4, 3, 1, 2, 2), nn.Conv2d(4, 4, 3, 1, 1)),
    "grouped": sequence(nn.Conv2d(3, 6, 3, 1, 1, groups=3), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 1)),
    "pooled": sequence(nn.Conv2d(3, 4, 3), nn.AvgPool2d(3, 2, 1), nn.Hardswish()),
    "ceiled": sequence(nn.AvgPool2d(4, 3, 1, ceil_mode=True), nn.Conv2d(3, 3, 1)),
    "residual": Block,
    "channels last": ChannelsLast,
    "tokens and back": TokensAndBack,
}
SAFE = {  # the window may be a little larger than what is seen
    "padded late": sequence(nn.Conv2d(3, 4, 2, 1), nn.ZeroPad2d((1, 2, 3, 1)), nn.Conv2d(4, 4, 3)),
    "unshuffled": sequence(nn.PixelUnshuffle(1), nn.PixelShuffle(1), nn.Conv2d(3, 4, 3)),
    "max pooled": sequence(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1)),
    "transposed": sequence(nn.Conv2d(3, 4, 3, 2, 1), nn.ConvTranspose2d(4, 4, 2, 2), nn.Conv2d(4, 4, 3, 1, 1)),
    "transposed wide": sequence(nn.AvgPool2d(4), nn.ConvTranspose2d(3, 4, 4, 2, 1, dilation=2)),
    "bilinear": sequence(nn.AvgPool2d(2), nn.Upsample(scale_factor=3, mode="bilinear")),
    "bilinear aligned": sequence(nn.AvgPool2d(2), nn.Upsample(size=(40, 33), mode="bilinear", align_corners=True)),
    "bicubic": sequence(nn.AvgPool2d(2), nn.Upsample(scale_factor=2, mode="bicubic")),
    "shrunk": sequence(nn.Upsample(size=(9, 10), mode="bilinear"), nn.Conv2d(3, 4, 3)),
    "nearest": sequence(nn.AvgPool2d(2), nn.Upsample(size=(37, 29), mode="nearest")),
    "nearest exact": sequence(nn.AvgPool2d(2), nn.Upsample(size=(37, 29), mode="nearest-exact")),
    "adaptive": sequence(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d((4, 5))),
    "reflected": sequence(nn.ReflectionPad2d((3, 1, 2, 4)), nn.AvgPool2d(2)),
    "replicated": sequence(nn.ReplicationPad2d((3, 1, 2, 4)), nn.AvgPool2d(2)),
    "shuffled": sequence(nn.Conv2d(3, 8, 3, 2, 1), nn.PixelShuffle(2), nn.Conv2d(2, 2, 3)),
    "unet": TinyUNet,
    "unet nearest": lambda: TinyUNet("nearest"),
    "slices": Slices,
    "padded by hand": PadByHand,
}


def traced(model: nn.Module, picture: Tensor) -> tuple[Tensor, Geometry]:
    with torch.no_grad(), Tracer(picture) as tracer:
        output = model(picture)
    rows, columns = tracer.places(output)
    return output, Geometry(rows.axis, columns.axis, picture.shape[2], picture.shape[3])


def seen_by(model: nn.Module, pictures: list[Tensor], axis: int) -> Tensor:
    """(pixels, cells): does the cell change if that row (axis 2) or column (axis 3) of the picture does?"""
    generator = torch.Generator().manual_seed(3)
    seen = []
    with torch.no_grad():
        for pixel in range(pictures[0].shape[axis]):
            changed = False
            for picture in pictures:
                other = picture.clone()
                line = other.select(axis, pixel)
                line += torch.randn(line.shape, generator=generator, dtype=line.dtype) * 5
                difference = (model(other) - model(picture)).abs().amax(dim=(0, 1, 5 - axis))  # (cells,)
                changed = (difference > 1e-12) | changed
            seen.append(changed)
    return torch.stack(seen)


def claimed(axis: Axis, pixels: int, cells: int) -> Tensor:
    claim = torch.zeros(pixels, cells, dtype=torch.bool)
    for cell in range(cells):
        first, last = (0, pixels - 1) if axis.whole else axis.span(cell)
        claim[max(first, 0) : max(last + 1, 0), cell] = True
    return claim


@pytest.mark.parametrize("name", [*EXACT, *SAFE])
def test_window_covers_what_is_seen(name: str) -> None:
    torch.manual_seed(0)
    model = (EXACT | SAFE)[name]().double().eval()
    pictures = [torch.randn(1, 3, HEIGHT, WIDTH, dtype=torch.double) for _ in range(3)]
    output, geometry = traced(model, pictures[0])
    for axis, dim in ((geometry.y, 2), (geometry.x, 3)):
        seen = seen_by(model, pictures, dim)
        claim = claimed(axis, pictures[0].shape[dim], output.shape[dim])
        assert not (seen & ~claim).any(), "a cell sees more than the tracer says"
        if name in EXACT:
            assert torch.equal(seen, claim)
        elif name != "padded by hand":
            assert not axis.whole
            assert (claim.sum(0) - seen.sum(0)).max() <= 16, "the window is far too large"


@pytest.mark.parametrize(
    "layers",
    [
        [Window(3, 2, 1), Window(3, 1, 2, 2), Window(2, 2)],
        [Window(7, 2, 3), Window(3, 2, 1), Window(3, 1, 1), Window(3, 2, 1)],
    ],
)
def test_tracer_agrees_with_the_arithmetic(layers: list[Window]) -> None:
    model = nn.Sequential(*(nn.Conv2d(1, 1, *layer) for layer in layers))
    _, geometry = traced(model, torch.rand(1, 1, 64, 48))
    expected = receptive_field(layers)
    for axis in (geometry.y, geometry.x):
        assert (axis.size, axis.stride, axis.low) == (expected.size, expected.stride, expected.start)


class Gated(nn.Module):
    """Squeeze and excite: every cell is scaled by a mean over all cells."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * torch.sigmoid(x.mean((2, 3), keepdim=True))


class Attending(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 4)
        tokens = x.flatten(2).transpose(1, 2)  # (1, L, 3)
        tokens = torch.softmax(tokens @ tokens.transpose(1, 2), -1) @ tokens
        return tokens.transpose(1, 2).reshape(x.shape)


class Rolled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.roll(F.avg_pool2d(x, 2), 3, dims=2)  # an operation without a rule


@pytest.mark.parametrize(
    "model, stride",
    [
        (Gated(), 2),
        (Attending(), 4),
        (Rolled(), 2),
        (nn.InstanceNorm2d(3), 1),
        (nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.GroupNorm(2, 4)), 2),
    ],
)
def test_mixing_all_cells_is_the_whole_picture(model: nn.Module, stride: int) -> None:
    _, geometry = traced(model.eval(), torch.rand(1, 3, 24, 32))
    assert geometry.y.whole and geometry.x.whole
    assert (geometry.y.stride, geometry.x.stride) == (stride, stride)  # where a cell lies is still known
    assert geometry.window(1, 2) == (0, 0, 32, 24)
    assert str(geometry) == f"stride {stride}, sees the whole picture"


def test_window_of_a_cell_is_cut_to_the_picture() -> None:
    _, geometry = traced(nn.Conv2d(3, 1, (5, 3), 2, (2, 1)), torch.rand(1, 3, 20, 20))
    assert geometry.window(0, 0) == (0, 0, 2, 3)
    assert geometry.window(4, 4) == (7, 6, 10, 11)
    assert str(geometry) == "stride 2, sees 5×3"
    _, padded = traced(nn.ZeroPad2d(4), torch.rand(1, 3, 6, 6))
    assert padded.window(0, 5) == (1, 0, 2, 0)  # a cell of padding sees nothing


def test_what_does_not_depend_on_the_picture_has_no_place() -> None:
    picture = torch.rand(1, 3, 8, 8)
    with torch.no_grad(), Tracer(picture) as tracer:
        constant = torch.ones(1, 3, 8, 8) * 2
    assert tracer.places(constant) is None
