"""What the two exercises that make a convolution share: looking at a convolution, and the slips of both."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lib.exercises.engine.exercise import Case, WrongResult
from lib.exercises.engine.inputs import random_values


def make_linear(inputs: int, outputs: int, seed: int = 0) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    linear.weight.data = random_values(outputs, inputs, seed=seed)
    linear.bias.data = random_values(outputs, seed=seed + 1)
    return linear


def make_conv(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """A convolution that holds a copy of `weight` (K, C, h, w) and `bias` (K,)."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], tuple(weight.shape[2:]), bias=bias is not None)
    conv.weight.data = weight.detach().clone()
    if bias is not None:
        conv.bias.data = bias.detach().clone()
    return conv


def off_by_one_number_per_class(got: Tensor, expected: Tensor, case: Case) -> bool:
    """Scores (B, K, h, w) that differ from the truth by the same amount at every cell: only the bias is wrong."""
    if got.shape != expected.shape:
        return False
    difference = got - expected
    return bool((difference - difference.mean(dim=(0, 2, 3), keepdim=True)).abs().max() < 1e-4)


def need_shape_of_weights(conv: nn.Conv2d, wanted: tuple[int, ...], explanation: str) -> None:
    found, made_for = tuple(conv.weight.shape), (conv.out_channels, conv.in_channels)
    if found == wanted == (*made_for, *conv.kernel_size):
        return
    if (wanted[1], wanted[0]) in (found[:2], made_for):
        raise WrongResult(
            "channels swapped",
            f"Your convolution was made for {conv.in_channels} channels in and {conv.out_channels} out, where"
            f" {wanted[1]} in and {wanted[0]} out are wanted: features go in, class scores come out. `nn.Conv2d` wants"
            " the channels that come in first, then those that go out.",
        )
    if found == wanted:
        raise WrongResult(
            "made for another shape",
            f"The weight's shape {found} is right, but the convolution was made for {(*made_for, *conv.kernel_size)}. "
            "Give `nn.Conv2d` the right channels and `kernel_size`: the lesson reads them from the layer.",
        )
    raise WrongResult(
        "kernel of the wrong shape",
        f"Your convolution's weight is {found}, where {wanted} was expected. " + explanation,
    )


def need_original_numbers(conv: nn.Conv2d, original: nn.Linear) -> None:
    if not torch.isclose(conv.weight.flatten()[:, None], original.weight.flatten()).any():
        raise WrongResult(
            "weights not copied",
            "None of the original layer's weights is in your kernel. Does it still hold the random "
            "numbers that every new `nn.Conv2d` starts with?",
        )


def need_plain_sliding(conv: nn.Conv2d) -> None:
    if conv.stride != (1, 1) or conv.padding not in ((0, 0), "valid") or conv.dilation != (1, 1):
        raise WrongResult(
            "stride or padding added",
            f"Your convolution has stride {conv.stride}, padding {conv.padding} "
            f"and dilation {conv.dilation}. The kernel should stop at every cell where it fits, and "
            "nowhere else: stride 1, no padding, dilation 1.",
        )


MEMORY_SHARED = (
    "Changing your convolution's numbers changes the original layer's as well: both look at the same "
    "memory. Whoever fine-tunes the heat map would ruin the classifier. Copy the values."
)


NOT_TRAINABLE = (
    "The scores are right, but the convolution's `weight` or `bias` is not a parameter that wants a "
    "gradient, so it could never be trained further. A freshly made `nn.Conv2d` has such parameters: write "
    "your numbers into them."
)


BIAS_LOST = (
    "Every score of a class is off by the same amount, and the amount is that class's bias. Compare "
    "`conv.bias` with the bias of the layer that it came from."
)


BIAS_RANDOM = (
    "The weights are right: each class's scores are off by one amount that is the same everywhere. So "
    "the bias is not the original's. A new `nn.Conv2d` starts with random numbers in both of its parameters."
)


def shares_no_memory(convert: Callable, original: nn.Linear, *sizes: int) -> bool:
    def address(tensor: Tensor) -> int:
        return tensor.untyped_storage().data_ptr()

    conv = convert(original, *sizes)
    return address(conv.weight) != address(original.weight) and address(conv.bias) != address(original.bias)


def is_trainable(conv: nn.Conv2d) -> bool:
    parameters = dict(conv.named_parameters())
    return all(
        name in parameters and parameters[name].requires_grad and parameters[name].is_leaf
        for name in ("weight", "bias")
    )
