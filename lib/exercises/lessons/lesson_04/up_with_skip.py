"""One step of the way up: double the map, cut it to the skip's size, join them, convolve."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.models.unet import centre_crop


def up_with_skip(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    """The course's own road, as in `lib.models.unet.Up`."""
    above = centre_crop(up(below), tuple(skip.shape[2:]))
    return conv(torch.cat([skip, above], dim=1))


class Mixer(nn.Conv2d):
    """A 3×3 convolution for the tests that does not mind too few channels, so that every mistake has a result."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight[:, : x.shape[1]], self.bias, padding=1)


def cases() -> list[Case]:
    cases = []
    for label, batch, channels, height, width in (
        ("a skip of 4 × 6 cells", 2, 3, 4, 6),
        ("an odd height: 5 × 6 cells", 1, 2, 5, 6),
        ("an odd width: 4 × 7 cells", 2, 2, 4, 7),
        ("both sides odd: 3 × 5 cells", 1, 3, 3, 5),
    ):
        below = random_values(batch, 2 * channels, -(-height // 2), -(-width // 2), seed=1)
        skip = random_values(batch, channels, height, width, seed=2)
        up = nn.ConvTranspose2d(2 * channels, channels, 2, stride=2)
        conv = Mixer(2 * channels, channels, 3, padding=1)
        for module, seed in ((up, 3), (conv, 5)):
            module.weight.data = random_values(*module.weight.shape, seed=seed)
            module.bias.data = random_values(*module.bias.shape, seed=seed + 1)
        cases.append(Case.from_truth(label, (below, skip, up, conv), _up_by_hand, gradients_of=("below", "skip")))
    return cases


def _up_by_hand(below: Tensor, skip: Tensor, up: nn.ConvTranspose2d, conv: nn.Conv2d) -> Tensor:
    """The same without `up(below)` and without `cat`: stamps side by side, and one convolution for each half."""
    channels = skip.shape[1]
    stamps = torch.einsum("bihw,iokl->bohkwl", below, up.weight)  # (B, C, h, 2, w, 2)
    above = stamps.flatten(4, 5).flatten(2, 3) + up.bias[:, None, None]  # (B, C, 2h, 2w)
    above = above[:, :, : skip.shape[2], : skip.shape[3]]
    of_skip = F.conv2d(skip, conv.weight[:, :channels], conv.bias, padding=1)
    return of_skip + F.conv2d(above, conv.weight[:, channels:], padding=1)


def _fitting(below: Tensor, skip: Tensor, up: nn.Module) -> Tensor:
    return up(below)[:, :, : skip.shape[2], : skip.shape[3]]


@mistake(
    "skip put behind",
    "Right channels, wrong order: the skip's come first, then those from below. Weights that were trained "
    "in one order are useless in the other.",
)
def skip_behind(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return conv(torch.cat([_fitting(below, skip, up), skip], dim=1))


@mistake(
    "skip put behind, nothing cut",
    "Two things: the skip's channels come first, then those from below; and where a side is odd, the doubled "
    "map has a row or a column too many, which is to be cut off.",
)
def skip_behind_never_cut(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return conv(torch.cat([up(below), skip], dim=1))


@mistake(
    "not cut to size",
    "It works for even sides only. A map of 5 rows became 3 on the way down, and 3 became 6 on the way up: "
    "one row too many to lie beside the skip. Cut it off.",
)
def never_cut(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return conv(torch.cat([skip, up(below)], dim=1))


@mistake(
    "cut at the wrong end",
    "You cut the surplus off at the top and at the left. The surplus row is the last one: it stands for a "
    "row that the picture does not have.",
)
def cut_at_the_start(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    above = up(below)[:, :, -skip.shape[2] :, -skip.shape[3] :]
    return conv(torch.cat([skip, above], dim=1))


@mistake(
    "squeezed instead of cut",
    "You scaled the doubled map to the skip's size. Then its cells no longer lie on the skip's cells, and "
    "all edges are a little off. Cut off what is too much.",
)
def squeezed(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    above = F.interpolate(up(below), skip.shape[2:], mode="bilinear", align_corners=False)
    return conv(torch.cat([skip, above], dim=1))


@mistake(
    "skip stretched",
    "You scaled the skip to the size of the doubled map. The skip holds the exact places: leave it as it "
    "is, and cut the other one.",
)
def skip_stretched(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    above = up(below)
    return conv(torch.cat([F.interpolate(skip, above.shape[2:]), above], dim=1))


@mistake(
    "skip padded",
    "You padded the skip to the size of the doubled map, so the result has a row or a column that the "
    "picture does not have. Cut the other one instead.",
)
def skip_padded(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    above = up(below)
    wider = F.pad(skip, (0, above.shape[3] - skip.shape[3], 0, above.shape[2] - skip.shape[2]))
    return conv(torch.cat([wider, above], dim=1))


@mistake(
    "skip added",
    "You added the two maps. They were to be put behind each other, so that the convolution can read both.",
)
def skip_added(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return conv(_fitting(below, skip, up) + skip)


@mistake(
    "skip forgotten",
    "What came from below went up alone, without the skip.",
)
def skip_forgotten(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return conv(_fitting(below, skip, up))


@mistake(
    "sum put in twice",
    "You put the sum of the two maps in twice. Each map keeps its own channels.",
)
def added_and_doubled(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    joined = _fitting(below, skip, up) + skip
    return conv(torch.cat([joined, joined], dim=1))


@mistake(
    "one map twice",
    "Both halves of the channels are the map from below. The other half is the skip.",
)
def up_twice(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    above = _fitting(below, skip, up)
    return conv(torch.cat([above, above], dim=1))


@mistake(
    "joined along the width",
    "You laid the maps side by side, as one wider map. It is the channels that are put behind each other: "
    "axis 1 of (B, C, H, W).",
)
def side_by_side(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return conv(torch.cat([skip, _fitting(below, skip, up)], dim=3))


@mistake(
    "joined along the batch",
    "You joined along axis 0: that makes a batch of more pictures. The channels are axis 1.",
)
def in_the_batch(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return conv(torch.cat([skip, _fitting(below, skip, up)], dim=0))


@mistake(
    "conv forgotten",
    "The two maps are joined, but `conv` has not read them yet.",
)
def no_conv(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return torch.cat([skip, _fitting(below, skip, up)], dim=1)


EXERCISE = Exercise(
    name="up_with_skip",
    reference=up_with_skip,
    cases=cases,
    takes={"below": Kind.MAP, "skip": Kind.MAP},
    gives=Kind.MAP,
    mistakes=[
        skip_behind,
        skip_behind_never_cut,
        never_cut,
        cut_at_the_start,
        squeezed,
        skip_stretched,
        skip_padded,
        skip_added,
        skip_forgotten,
        up_twice,
        added_and_doubled,
        side_by_side,
        in_the_batch,
        no_conv,
    ],
    picture=compare_maps,
)
