"""What the exercises of lesson 04 are tried on: inputs, the truth by another road than the solution, and wrong answers.

The exercises themselves, with the words for each mistake, are in `lesson_04.py`.
"""

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.exercises.exercise import Case, WrongResult
from lib.models.unet import DoubleConv, UNet, centre_crop
from lib.ops import losses


def random_values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- double_conv --------------------------------------------------------------------------------------------------


def double_conv(channels_in: int, channels_out: int) -> nn.Module:
    """The course's own: `lib.models.unet.DoubleConv`."""
    return DoubleConv(channels_in, channels_out)


def double_conv_cases() -> list[Case]:
    sizes = {"3 channels to 4": (3, 4), "4 channels to 4": (4, 4), "6 channels to 2": (6, 2)}
    return [Case(label, pair, _twice(*pair)) for label, pair in sizes.items()]


def _twice(inputs: int, outputs: int) -> Tensor:
    """What the block must give for `_picture` once it has the known weights, written out without any layer."""
    x = _picture(inputs)
    for index, channels in enumerate((inputs, outputs)):
        weight = _weight((outputs, channels, 3, 3), index)
        x = sum(
            F.pad(x, (1, 1, 1, 1))[:, :, row : row + 5, column : column + 6].movedim(1, 3) @ weight[:, :, row, column].T
            for row in range(3)
            for column in range(3)
        ).movedim(3, 1)  # (2, outputs, 5, 6)
        mean = x.mean((0, 2, 3), keepdim=True)  # (1, outputs, 1, 1)
        variance = x.var((0, 2, 3), unbiased=False, keepdim=True)
        x = ((x - mean) / (variance + 1e-5).sqrt()).clamp(min=0)
    return x


def _picture(channels: int) -> Tensor:
    return random_values(2, channels, 5, 6, seed=4)


def _weight(shape: tuple[int, ...], index: int) -> Tensor:
    return random_values(*shape, seed=10 + index)


def run_with_given_weights(block: nn.Module, channels_in: int, channels_out: int) -> Tensor:
    """The block's result in training mode, after its convolutions got known weights, in the order of their use."""
    convolutions = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
    if not any(True for _ in block.parameters()):
        raise WrongResult(
            "no weights",
            "Your module has no weights at all, so there is nothing in it to learn. If you "
            "wrote a class: are the layers kept with `self.` in `__init__`?",
        )
    seen: list[nn.Module] = []

    def fill(module: nn.Module, inputs: object) -> None:
        if module not in seen:
            with torch.no_grad():
                module.weight.copy_(_weight(tuple(module.weight.shape), len(seen)))
                if module.bias is not None:
                    module.bias.zero_()
            seen.append(module)

    hooks = [module.register_forward_pre_hook(fill) for module in convolutions]
    try:
        return block.train()(_picture(channels_in))
    finally:
        for hook in hooks:
            hook.remove()


def _layers(*layers: str) -> Callable[[int, int], nn.Module]:
    """A wrong block, spelled: "conv" from the input's channels or from the output's, "norm", "relu", "narrow"."""

    def build(channels_in: int, channels_out: int) -> nn.Module:
        make = {
            "conv in": lambda: nn.Conv2d(channels_in, channels_out, 3, padding=1),
            "conv": lambda: nn.Conv2d(channels_out, channels_out, 3, padding=1),
            "conv unpadded in": lambda: nn.Conv2d(channels_in, channels_out, 3),
            "conv unpadded": lambda: nn.Conv2d(channels_out, channels_out, 3),
            "conv in to in": lambda: nn.Conv2d(channels_in, channels_in, 3, padding=1),
            "conv five in": lambda: nn.Conv2d(channels_in, channels_out, 5, padding=2),
            "norm": lambda: nn.BatchNorm2d(channels_out),
            "norm in": lambda: nn.BatchNorm2d(channels_in),
            "relu": nn.ReLU,
        }
        return nn.Sequential(*(make[layer]() for layer in layers))

    return build


ONE_ONLY = _layers("conv in", "norm", "relu")
FIVE_BY_FIVE = _layers("conv five in", "norm", "relu")
UNPADDED = _layers("conv unpadded in", "norm", "relu", "conv unpadded", "norm", "relu")
NO_NORM = _layers("conv in", "relu", "conv", "relu")
NO_RELU = _layers("conv in", "norm", "conv", "norm")
NO_RELU_BETWEEN = _layers("conv in", "norm", "conv", "norm", "relu")
NO_RELU_AT_END = _layers("conv in", "norm", "relu", "conv", "norm")
NORM_LAST = _layers("conv in", "relu", "norm", "conv", "relu", "norm")
WIDENED_LATE = _layers("conv in to in", "norm in", "relu", "conv in", "norm", "relu")
WIDENED_TWICE = _layers("conv in", "norm", "relu", "conv in", "norm", "relu")


def one_conv_twice(channels_in: int, channels_out: int) -> nn.Module:
    block = nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.BatchNorm2d(channels_out), nn.ReLU())
    return nn.Sequential(block, block)


def weights_are_its_own(function: Callable) -> bool:
    """Whether two calls give two blocks with weights of their own."""
    first, second = function(2, 2), function(2, 2)
    return not {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}


# --- up_with_skip -------------------------------------------------------------------------------------------------


def up_with_skip(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    """The course's own road, as in `lib.models.unet.Up`."""
    above = centre_crop(up(below), tuple(skip.shape[2:]))
    return conv(torch.cat([skip, above], dim=1))


class Mixer(nn.Conv2d):
    """A 3×3 convolution for the tests that does not mind too few channels, so that every mistake has a result."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight[:, : x.shape[1]], self.bias, padding=1)


def up_cases() -> list[Case]:
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


def skip_behind(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return conv(torch.cat([_fitting(below, skip, up), skip], dim=1))


def skip_behind_never_cut(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return conv(torch.cat([up(below), skip], dim=1))


def never_cut(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return conv(torch.cat([skip, up(below)], dim=1))


def cut_at_the_start(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    above = up(below)[:, :, -skip.shape[2] :, -skip.shape[3] :]
    return conv(torch.cat([skip, above], dim=1))


def squeezed(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    above = F.interpolate(up(below), skip.shape[2:], mode="bilinear", align_corners=False)
    return conv(torch.cat([skip, above], dim=1))


def skip_stretched(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    above = up(below)
    return conv(torch.cat([F.interpolate(skip, above.shape[2:]), above], dim=1))


def skip_padded(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    above = up(below)
    wider = F.pad(skip, (0, above.shape[3] - skip.shape[3], 0, above.shape[2] - skip.shape[2]))
    return conv(torch.cat([wider, above], dim=1))


def skip_added(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return conv(_fitting(below, skip, up) + skip)


def skip_forgotten(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return conv(_fitting(below, skip, up))


def added_and_doubled(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    joined = _fitting(below, skip, up) + skip
    return conv(torch.cat([joined, joined], dim=1))


def up_twice(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    above = _fitting(below, skip, up)
    return conv(torch.cat([above, above], dim=1))


def side_by_side(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return conv(torch.cat([skip, _fitting(below, skip, up)], dim=3))


def in_the_batch(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return conv(torch.cat([skip, _fitting(below, skip, up)], dim=0))


def no_conv(below: Tensor, skip: Tensor, up: nn.Module, conv: nn.Module) -> Tensor:
    return torch.cat([skip, _fitting(below, skip, up)], dim=1)


# --- unet_forward -------------------------------------------------------------------------------------------------


class Half(nn.Module):
    """A step down for the tests: the average of 2 × 2 cells, odd sides rounded up, plus a number of its own."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) + self.number


class Join(nn.Module):
    """A step up for the tests: takes any two maps, however wrong, and gives one of the second's size."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        return self.number * F.interpolate(below, skip.shape[2:]) + skip.square()


def forward_cases() -> list[Case]:
    cases = []
    for label, depth, size in (
        ("one step down, one step up", 1, (4, 6)),
        ("two steps", 2, (8, 8)),
        ("three steps, sides that are odd", 3, (9, 13)),
        ("no steps at all", 0, (4, 4)),
    ):
        top = nn.Conv2d(2, 2, 3, padding=1)
        top.weight.data, top.bias.data = random_values(2, 2, 3, 3, seed=1), random_values(2, seed=2)
        downs = nn.ModuleList(Half(0.5 + level) for level in range(depth))
        ups = nn.ModuleList(Join(2.0 + level) for level in range(depth))
        x = random_values(1, 2, *size, seed=3)
        cases.append(Case.from_truth(label, (x, top, downs, ups), _forward_by_recursion, gradients_of=("x",)))
    return cases


def _forward_by_recursion(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    """A U is a smaller U between its first step down and its last step up."""
    return _inner(top(x), list(downs), list(ups))


def _inner(x: Tensor, downs: list[nn.Module], ups: list[nn.Module]) -> Tensor:
    return ups[-1](_inner(downs[0](x), downs[1:], ups[:-1]), x) if downs else x


def unet_forward(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    """The course's own road, as in `lib.models.unet.UNet.forward`."""
    x = top(x)
    skips = []
    for down in downs:
        skips.append(x)
        x = down(x)
    for up in ups:
        x = up(x, skips.pop())
    return x


def _walk(change: Callable[[list[Tensor]], list[Tensor]]) -> Callable:
    """A forward pass whose list of all maps on the way down, bottom included, is turned into skips by `change`."""

    def forward(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
        maps = [top(x)]
        for down in downs:
            maps.append(down(maps[-1]))
        x = maps[-1]
        for up, skip in zip(ups, change(maps), strict=False):
            x = up(x, skip)
        return x

    return forward


finest_first = _walk(lambda maps: maps[:-1])
bottom_kept = _walk(lambda maps: maps[::-1])
always_the_finest = _walk(lambda maps: maps[:1] * len(maps))
always_the_coarsest = _walk(lambda maps: maps[-2:-1] * len(maps))


def picture_as_skip(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    skips, map_ = [], top(x)
    skips.append(x)
    for down in downs:
        map_ = down(map_)
        skips.append(map_)
    skips.pop()
    for up in ups:
        map_ = up(map_, skips.pop())
    return map_


def swapped_arguments(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    x, skips = top(x), []
    for down in downs:
        skips.append(x)
        x = down(x)
    for up in ups:
        x = up(skips.pop(), x)
    return x


def always_from_the_bottom(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    maps = [top(x)]
    for down in downs:
        maps.append(down(maps[-1]))
    result = maps[-1]
    for up, skip in zip(ups, maps[-2::-1], strict=False):
        result = up(maps[-1], skip)
    return result


def ups_reversed(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    return unet_forward(x, top, downs, list(reversed(ups)))


def no_top(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    return unet_forward(x, nn.Identity(), downs, ups)


def stays_below(x: Tensor, top: nn.Module, downs: nn.ModuleList, ups: nn.ModuleList) -> Tensor:
    x = top(x)
    for down in downs:
        x = down(x)
    return x


# --- unpadded_size ------------------------------------------------------------------------------------------------


def unpadded_size(size: int, depth: int) -> int:
    """Side of what an unpadded U-Net gives: two 3×3 convolutions on each level of the way down, and of the way up."""
    for _ in range(depth):
        size = (size - 4 + 1) // 2
    size -= 4
    for _ in range(depth):
        size = 2 * size - 4
    return size


def size_cases() -> list[Case]:
    sizes = [
        ("the paper's tile", 572, 4),
        ("a smaller tile, one step", 20, 1),
        ("two steps", 44, 2),
        ("an odd map on the way", 50, 2),
        ("no steps: two convolutions", 9, 0),
    ]
    return [Case(label, (size, depth), _size_of_a_real_one(size, depth)) for label, size, depth in sizes]


@cache
@torch.no_grad()
def _size_of_a_real_one(size: int, depth: int) -> int:
    if depth == 0:
        return F.max_pool2d(torch.zeros(1, 1, size, size), 5, stride=1).shape[2]  # two 3×3 see 5×5
    model = UNet(1, 1, width=1, depth=depth, padding=0).eval()
    return model(torch.zeros(1, 1, size, 5 * 2 ** (depth + 2))).shape[2]  # as narrow as may be


def _size_with(down: Callable[[int], int], bottom: int, up: Callable[[int], int]) -> Callable[[int, int], int]:
    def count(size: int, depth: int) -> int:
        for _ in range(depth):
            size = down(size)
        size -= bottom
        for _ in range(depth):
            size = up(size)
        return size

    return count


def _half(size: int) -> int:
    return (size + 1) // 2


one_conv_a_level = _size_with(lambda n: _half(n - 2), 2, lambda n: 2 * n - 2)
bottom_forgotten = _size_with(lambda n: _half(n - 4), 0, lambda n: 2 * n - 4)
way_up_forgotten = _size_with(lambda n: _half(n - 4), 4, lambda n: 2 * n)
way_down_forgotten = _size_with(_half, 4, lambda n: 2 * n - 4)
pooled_first = _size_with(lambda n: _half(n) - 4, 4, lambda n: 2 * n - 4)
cut_before_doubling = _size_with(lambda n: _half(n - 4), 4, lambda n: 2 * (n - 4))
rounded_down = _size_with(lambda n: (n - 4) // 2, 4, lambda n: 2 * n - 4)


def half_cells(size: int, depth: int) -> int:
    return int(_size_with(lambda n: (n - 4) / 2, 4, lambda n: 2 * n - 4)(size, depth))


# --- dice_loss ----------------------------------------------------------------------------------------------------


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The course's own: `lib.ops.losses.dice_loss`."""
    return losses.dice_loss(logits, target)


def dice_cases() -> list[Case]:
    generator = torch.Generator().manual_seed(8)
    rare = torch.zeros(2, 4, 5, dtype=torch.int64)
    rare[0, 1, 1:3] = 1
    several = torch.randint(0, 3, (2, 3, 4), generator=generator)
    absent = torch.where(several == 1, 0, several)
    uneven = torch.zeros(2, 3, 3, dtype=torch.int64)
    uneven[0] = 1
    uneven[1, 0, 0] = 1
    maps = [
        ("two classes, one of them rare", 2, rare),
        ("three classes", 3, several),
        ("a class that is nowhere in the batch", 3, absent),
        ("much in one picture, little in the other", 2, uneven),
    ]
    return [
        Case.from_truth(
            label,
            (random_values(len(target), classes, *target.shape[1:], seed=classes), target),
            _dice_by_loops,
            gradients_of=("logits",),
        )
        for label, classes, target in maps
    ]


def _dice_by_loops(logits: Tensor, target: Tensor) -> Tensor:
    """Class by class, with the softmax written out."""
    parts = []
    for number in target.unique().tolist():
        p = 1 / (logits - logits[:, number : number + 1]).exp().sum(1)  # (B, H, W)
        inside = target == number
        parts.append(1 - (2 * p[inside].sum() + 1) / ((p * p).sum() + inside.sum() + 1))
    return torch.stack(parts).mean()


def _dice(
    logits: Tensor,
    target: Tensor,
    *,
    probability: Callable | None = None,
    axes: tuple = (0, 2, 3),
    twice: float = 2,
    smooth: float = 1,
    square: bool = True,
    all_classes: bool = False,
    as_loss: bool = True,
) -> Tensor:
    p = logits.softmax(1) if probability is None else probability(logits)
    g = F.one_hot(target, logits.shape[1]).movedim(3, 1).to(p)
    overlap, size = (p * g).sum(axes), g.sum(axes)
    dice = (twice * overlap + smooth) / ((p * p if square else p).sum(axes) + size + smooth)
    score = 1 - dice if as_loss else dice
    if all_classes:
        return score.mean()
    return score[size > 0].mean()


def raw_scores(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, probability=lambda scores: scores)


def sigmoid_for_softmax(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, probability=torch.sigmoid)


def softmax_over_columns(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, probability=lambda scores: scores.softmax(-1))


def softmax_over_pictures(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, probability=lambda scores: scores.softmax(0))


def hard_answers(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(
        logits, target, probability=lambda scores: F.one_hot(scores.argmax(1), scores.shape[1]).movedim(3, 1).float()
    )


def similarity(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, as_loss=False)


def two_forgotten(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, twice=1)


def smooth_forgotten(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, smooth=0)


def no_squares(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, square=False)


def absent_counted(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, all_classes=True)


def all_in_one(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, axes=(0, 1, 2, 3))


def picture_by_picture(logits: Tensor, target: Tensor) -> Tensor:
    return _dice(logits, target, axes=(2, 3))


def without_first_class(logits: Tensor, target: Tensor) -> Tensor:
    p, g = logits.softmax(1)[:, 1:], F.one_hot(target, logits.shape[1]).movedim(3, 1)[:, 1:].to(logits)
    axes = (0, 2, 3)
    dice = (2 * (p * g).sum(axes) + 1) / ((p * p).sum(axes) + g.sum(axes) + 1)
    return (1 - dice)[g.sum(axes) > 0].mean()


def looks_at_class_one_only(got: Tensor, expected: Tensor, case: Case) -> bool:
    logits, target = case.arguments
    p, g = logits.softmax(1)[:, 1], (target == 1).to(logits)
    return torch.allclose(got, 1 - (2 * (p * g).sum() + 1) / ((p * p).sum() + g.sum() + 1), atol=1e-5)
