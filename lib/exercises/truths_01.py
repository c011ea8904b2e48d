"""What the exercises of lesson 01 are tried on: inputs, the truth by another road than the solution, and wrong answers.

The exercises themselves, with the words for each mistake, are in `lesson_01.py`.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lib.exercises.exercise import Case, WrongResult
from lib.ops import pixels
from lib.ops import receptive_field as geometry
from lib.ops.receptive_field import Window


def random_values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


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
    if found == wanted and made_for == wanted[:2]:
        return
    if (wanted[1], wanted[0]) in (found[:2], made_for):
        raise WrongResult(
            "channels swapped",
            f"Your convolution was made for {conv.in_channels} channels in and {conv.out_channels} out, where"
            f" {wanted[1]} in and {wanted[0]} out are wanted: features go in, class scores come out. `nn.Conv2d` wants"
            " the channels that come in first, then those that go out.",
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


# --- linear_as_1x1_conv -------------------------------------------------------------------------------------------


def linear_cases() -> list[Case]:
    cases = []
    for label, inputs, outputs in (
        ("3 features, 2 classes", 3, 2),
        ("4 features, 4 classes", 4, 4),
        ("1 feature, 5 classes", 1, 5),
    ):
        linear = make_linear(inputs, outputs)
        at_each_cell = linear(map_for(linear).movedim(1, -1)).movedim(-1, 1)  # (1, K, 2, 3)
        cases.append(Case(label, (linear,), at_each_cell.detach()))
    return cases


def map_for(linear: nn.Linear) -> Tensor:
    return random_values(1, linear.in_features, 2, 3, seed=7)  # (1, C, 2, 3)


def scores_at_each_cell(conv: nn.Conv2d, linear: nn.Linear) -> Tensor:
    need_shape_of_weights(
        conv,
        (linear.out_features, linear.in_features, 1, 1),
        "One class has one number per channel, and the kernel is 1 high and 1 wide.",
    )
    need_plain_sliding(conv)
    need_original_numbers(conv, linear)
    return conv(map_for(linear))


def as_1x1(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    return make_conv(weight[:, :, None, None], bias)


# --- class_heatmap ------------------------------------------------------------------------------------------------


def heatmap_by_loop(features: Tensor, classifier: nn.Linear, class_index: int) -> Tensor:
    rows = [
        torch.stack([classifier(features[:, :, row, column])[:, class_index] for column in range(features.shape[3])], 1)
        for row in range(features.shape[2])
    ]  # each (B, w)
    return torch.stack(rows, 1)  # (B, h, w)


def heatmap_cases() -> list[Case]:
    return [
        Case.from_truth(
            label,
            (random_values(*shape), make_linear(shape[1], classes), index),
            heatmap_by_loop,
            gradients_of=("features", "classifier.weight", "classifier.bias"),
        )
        for label, shape, classes, index in (
            ("two pictures, 5 channels, a map of 3 × 4, class 2 of 6", (2, 5, 3, 4), 6, 2),
            ("one picture, one cell", (1, 3, 1, 1), 2, 1),
            ("everything of size 4, class 3", (4, 4, 4, 4), 4, 3),
        )
    ]


def score_map(features: Tensor, classifier: nn.Linear) -> Tensor:
    """The scores of all classes at every cell: (B, K, h, w)."""
    return classifier(features.movedim(1, -1)).movedim(-1, 1)


def weighted(features: Tensor, classifier: nn.Linear, class_index: int) -> Tensor:
    """Every channel times its weight for one class, before any sum: (B, C, h, w)."""
    return features * classifier.weight[class_index].view(1, -1, 1, 1)


def column_for_row(features: Tensor, classifier: nn.Linear, class_index: int) -> Tensor:
    scores = (features * classifier.weight[:, class_index].view(1, -1, 1, 1)).sum(1)
    return scores + classifier.bias[class_index]


# --- feature_size and receptive_field -----------------------------------------------------------------------------


def size_cases() -> list[Case]:
    return [
        Case(label, (height, width, layers), size_by_running(height, width, layers))
        for label, height, width, layers in (
            ("one layer, no padding", 5, 9, [Window(3)]),
            ("one stride that does not fit evenly", 8, 12, [Window(3, 2)]),
            ("padding, and a picture wider than high", 7, 20, [Window(5, 2, 2)]),
            ("three layers", 33, 50, [Window(7, 2, 3), Window(3, 2, 1), Window(2, 2)]),
            ("no layers", 4, 6, []),
        )
    ]


def size_by_running(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    """The truth: real layers, run on an empty picture."""
    picture = torch.zeros(1, 1, height, width)
    for layer in layers:
        picture = nn.Conv2d(1, 1, layer.kernel, layer.stride, layer.padding)(picture)
    return picture.shape[2], picture.shape[3]


def sizes_layer_by_layer(side_after: Callable, height: int, width: int, layers: list[Window]) -> tuple:
    """A size rule for one side and one layer, carried through all layers, as most wrong answers do it."""
    for layer in layers:
        height, width = side_after(height, layer), side_after(width, layer)
    return height, width


def swapped_size(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return geometry.feature_size(width, height, layers)


def rounded_up(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return sizes_layer_by_layer(
        lambda n, layer: math.ceil((n + 2 * layer.padding - layer.kernel) / layer.stride) + 1, height, width, layers
    )


def padding_once(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return sizes_layer_by_layer(
        lambda n, layer: (n + layer.padding - layer.kernel) // layer.stride + 1, height, width, layers
    )


def first_place_forgotten(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return sizes_layer_by_layer(
        lambda n, layer: (n + 2 * layer.padding - layer.kernel) // layer.stride, height, width, layers
    )


def one_added_too_early(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return sizes_layer_by_layer(
        lambda n, layer: (n + 2 * layer.padding - layer.kernel + 1) // layer.stride, height, width, layers
    )


def kernel_forgotten(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return sizes_layer_by_layer(lambda n, layer: n // layer.stride, height, width, layers)


def only_last(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return geometry.feature_size(height, width, layers[-1:])


def size_and_step(layers: list[Window]) -> tuple[int, int]:
    """`lib.ops.receptive_field.receptive_field` without the place of the first cell, which lesson 01 does not ask for."""
    size, step, _ = geometry.receptive_field(layers)
    return size, step


def field_cases() -> list[Case]:
    return [
        Case(label, (layers,), field_by_gradient(layers))
        for label, layers in (
            ("one 3×3 layer", [Window(3)]),
            ("two 3×3 layers", [Window(3, 1, 1), Window(3, 1, 1)]),
            ("a stride in the second of three layers", [Window(3), Window(3, 2), Window(3)]),
            ("strides everywhere", [Window(7, 2, 3), Window(2, 2), Window(3, 2, 1), Window(5)]),
            ("1×1 layers see nothing new", [Window(3), Window(1), Window(1)]),
            ("no layers", []),
        )
    ]


def field_by_gradient(layers: list[Window]) -> tuple[int, int]:
    """The truth: real one-dimensional layers full of ones, and the pixels that two neighbouring cells react to."""
    row = torch.ones(1, 1, 120, dtype=torch.float64, requires_grad=True)
    cells = row
    for layer in layers:
        conv = nn.Conv1d(1, 1, layer.kernel, layer.stride, bias=False, dtype=torch.float64)
        nn.init.ones_(conv.weight)
        cells = conv(cells)
    first, second = (
        torch.autograd.grad(cells[0, 0, cell], row, retain_graph=True)[0][0, 0].nonzero()[:, 0] for cell in (3, 4)
    )
    return len(first), int(second[0] - first[0])


def field_growing_by(grow: Callable, layers: list[Window]) -> tuple[int, int]:
    """A rule for the growth of the field, carried through all layers: `grow(size, step, layer)` is the new size."""
    size, step = 1, 1
    for layer in layers:
        size, step = grow(size, step, layer), step * layer.stride
    return size, step


def step_with(combine: Callable, layers: list[Window]) -> tuple[int, int]:
    """The right size, with another rule for the step."""
    return size_and_step(layers)[0], combine([layer.stride for layer in layers])


# --- flatten_fc_as_conv -------------------------------------------------------------------------------------------


def flatten_cases() -> list[Case]:
    cases = []
    for label, channels, height, width in (
        ("2 channels, 3 × 4 cells", 2, 3, 4),
        ("3 channels, 3 × 3 cells", 3, 3, 3),
        ("5 channels, a single cell", 5, 1, 1),
    ):
        fc = make_linear(channels * height * width, 4)
        large = larger_map(channels, height, width)
        corners = [(row, column) for row in range(2) for column in range(3)]
        scores = [fc(large[:, :, row : row + height, column : column + width].flatten(1)) for row, column in corners]
        cases.append(Case(label, (fc, channels, height, width), torch.stack(scores, -1).view(1, 4, 2, 3).detach()))
    return cases


def larger_map(channels: int, height: int, width: int) -> Tensor:
    """A map on which the kernel can stand at 2 × 3 places."""
    return random_values(1, channels, height + 1, width + 2, seed=5)


def scores_on_larger_map(conv: nn.Conv2d, fc: nn.Linear, channels: int, height: int, width: int) -> Tensor:
    if height != width and tuple(conv.weight.shape[1:]) == (channels, width, height):
        raise WrongResult(
            "height and width swapped",
            f"Your kernel is {width} high and {height} wide; the map was {height} "
            f"high and {width} wide. Height comes first in `kernel_size`, as in every shape.",
        )
    need_shape_of_weights(
        conv,
        (fc.out_features, channels, height, width),
        "The kernel must be as large as the map that used to be flattened.",
    )
    need_plain_sliding(conv)
    need_original_numbers(conv, fc)
    return conv(larger_map(channels, height, width))


def kernel_of(fc: nn.Linear, channels: int, height: int, width: int) -> Tensor:
    return fc.weight.detach().view(-1, channels, height, width)


def channels_last(fc: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    return make_conv(fc.weight.detach().view(-1, height, width, channels).permute(0, 3, 1, 2), fc.bias)


def columns_first(fc: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    return make_conv(fc.weight.detach().view(-1, channels, width, height).transpose(2, 3), fc.bias)


def kernel_flipped(fc: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    return make_conv(kernel_of(fc, channels, height, width).flip(2, 3), fc.bias)


def fc_bias_lost(fc: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    return make_conv(kernel_of(fc, channels, height, width), None)


# --- shuffle_pixels -----------------------------------------------------------------------------------------------


def shuffle_cases() -> list[Case]:
    cases = []
    for label, shape in (
        ("two colour pictures of 2 × 3 pixels", (2, 3, 2, 3)),
        ("4 × 4 pixels", (3, 3, 4, 4)),
        ("no pictures at all", (0, 3, 2, 2)),
    ):
        images = torch.arange(math.prod(shape)).float().view(shape) / 10
        order = torch.randperm(shape[2] * shape[3], generator=torch.Generator().manual_seed(3))
        expected = torch.empty(shape)
        for new, old in enumerate(order.tolist()):
            expected[:, :, new // shape[3], new % shape[3]] = images[:, :, old // shape[3], old % shape[3]]
        cases.append(Case(label, (images, order), expected))
    return cases


def the_other_way(images: Tensor, order: Tensor) -> Tensor:
    return pixels.shuffle_pixels(images, order.argsort())


def channels_mixed_in(images: Tensor, order: Tensor) -> Tensor:
    """Pixels and channels in one list, as after `flatten(1)`, with the colours of a pixel next to each other."""
    flat = images.reshape(len(images), len(order), images.shape[1])  # (B, H·W, C), which it is not
    return flat[:, order].reshape(images.shape)


def column_by_column(images: Tensor, order: Tensor) -> Tensor:
    flat = images.transpose(2, 3).flatten(2)[:, :, order]
    return flat.view(images.shape[0], images.shape[1], images.shape[3], images.shape[2]).transpose(2, 3)


def flattened_too_far(images: Tensor, order: Tensor) -> Tensor:
    return images.flatten(1)[:, order].view(images.shape)


def order_ignored(images: Tensor, order: Tensor) -> Tensor:
    return images.clone()
