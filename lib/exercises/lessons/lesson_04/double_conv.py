"""Two 3×3 convolutions, each with batch normalisation and ReLU, as one module."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.exercises.engine.exercise import Case, Exercise, Mistake, Probe, WrongResult, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.models.unet import DoubleConv


def double_conv(channels_in: int, channels_out: int) -> nn.Module:
    """The course's own: `lib.models.unet.DoubleConv`."""
    return DoubleConv(channels_in, channels_out)


def cases() -> list[Case]:
    sizes = {"3 channels to 4": (3, 4), "4 channels to 4": (4, 4), "6 channels to 2": (6, 2)}
    return [Case(label, pair, _twice(*pair)) for label, pair in sizes.items()]


def _twice(inputs: int, outputs: int) -> Tensor:
    """What the block must give for `_picture` once it has the known weights, written out without any layer."""
    x = _picture(inputs)
    for index, channels in enumerate((inputs, outputs)):
        weight = _weight((outputs, channels, 3, 3), index)
        x = sum(
            F.pad(x, (1, 1, 1, 1))[:, :, row : row + 9, column : column + 12].movedim(1, 3)
            @ weight[:, :, row, column].T
            for row in range(3)
            for column in range(3)
        ).movedim(3, 1)  # (2, outputs, 9, 12)
        mean = x.mean((0, 2, 3), keepdim=True)  # (1, outputs, 1, 1)
        variance = x.var((0, 2, 3), unbiased=False, keepdim=True)
        x = ((x - mean) / (variance + 1e-5).sqrt()).clamp(min=0)
    return x


def _picture(channels: int) -> Tensor:
    picture = random_values(2, channels, 9, 12, seed=4)
    picture[0, :, 0, 0] = 30  # a bright corner: some values go above 6, which ReLU6 would not let through
    return picture


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
            "relu6": nn.ReLU6,
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


@mistake(
    "one convolution used twice",
    "Both convolutions are one and the same layer, with one set of weights. Make two.",
)
def one_conv_twice(channels_in: int, channels_out: int) -> nn.Module:
    block = nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.BatchNorm2d(channels_out), nn.ReLU())
    return nn.Sequential(block, block)


def normalisations(block: nn.Module) -> set[nn.BatchNorm2d]:
    """The different batch normalisations that run in one pass."""
    ran: set[nn.BatchNorm2d] = set()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda module, inputs, output: ran.add(module) and None)
    block(_picture(2))
    return ran


def weights_are_its_own(function: Callable) -> bool:
    """Whether two calls give two blocks with weights of their own."""
    first, second = function(2, 2), function(2, 2)
    return not {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}


EXERCISE = Exercise(
    name="double_conv",
    reference=double_conv,
    cases=cases,
    gives=Kind.MAP,
    mistakes=[
        Mistake(
            "one convolution only",
            "Your block has one convolution. Two were asked for: the second reads what the first one wrote.",
            wrong=ONE_ONLY,
        ),
        Mistake(
            "one 5×5 for two 3×3",
            "Your block is one 5×5 convolution. It sees as far as two 3×3 ones, but needs more weights, and it has "
            "one ReLU where two were asked for.",
            wrong=FIVE_BY_FIVE,
        ),
        Mistake(
            "no padding",
            "Your map is 4 cells shorter and narrower than the one that came in. Each 3×3 convolution loses a cell "
            "on every side, unless it is padded.",
            wrong=UNPADDED,
        ),
        Mistake(
            "normalisation forgotten",
            "There is no batch normalisation between a convolution and its ReLU.",
            wrong=NO_NORM,
        ),
        Mistake(
            "no ReLU at all",
            "There is no ReLU. Two convolutions in a row are one convolution; what lies between them makes the "
            "difference.",
            wrong=NO_RELU,
        ),
        Mistake(
            "no ReLU between",
            "The ReLU between the two convolutions is missing. Without it they could be multiplied into one.",
            wrong=NO_RELU_BETWEEN,
        ),
        Mistake(
            "no ReLU at the end",
            "Your result has negative numbers: the ReLU after the second convolution is missing.",
            wrong=NO_RELU_AT_END,
        ),
        Mistake(
            "ReLU before the normalisation",
            "You put the ReLU before the batch normalisation. The order asked for is convolution, normalisation, ReLU.",
            wrong=NORM_LAST,
        ),
        Mistake(
            "widened by the second one",
            "Your first convolution keeps the channels as they are and the second one changes them. It is the "
            "first that goes from `channels_in` to `channels_out`.",
            wrong=WIDENED_LATE,
        ),
        Mistake(
            "second one reads the input's channels",
            "Your second convolution expects `channels_in` channels. It reads what the first one wrote: how many "
            "are those?",
            wrong=WIDENED_TWICE,
        ),
        one_conv_twice,
        Mistake(
            "ReLU6 for ReLU",
            "No value of yours is above 6. ReLU6 cuts there; ReLU lets large values through.",
            wrong=_layers("conv in", "norm", "relu6", "conv", "norm", "relu6"),
        ),
    ],
    returns=nn.Module,
    observe=run_with_given_weights,
    probes=[
        Probe(
            "one normalisation for both",
            "Both convolutions share one batch normalisation. Each needs its own: their channels have other means and "
            "deviations, and each learns its own scale and shift.",
            passes=lambda function: len(normalisations(function(2, 3))) >= 2,
        ),
        Probe(
            "no scale and shift to learn",
            "A batch normalisation of yours has `affine=False`, so no scale and shift to learn. Each needs its own.",
            passes=lambda function: all(norm.affine for norm in normalisations(function(2, 3))),
        ),
        Probe(
            "blocks share their weights",
            "Two calls gave two blocks with the same weights. Make the layers inside the function, so that every "
            "call makes new ones.",
            passes=weights_are_its_own,
        ),
    ],
)
