"""The exercises of lesson 01: fully connected layers as convolutions, sizes and receptive fields, shuffled pixels."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lib.exercises.exercise import Case, Exercise, Mistake, Probe, WrongResult
from lib.exercises.pictures import compare_maps
from lib.layers import convolutionalize
from lib.ops import pixels, receptive_field as geometry
from lib.ops.receptive_field import Window

LESSON = "01_fc_vs_1x1_conv"


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _linear(inputs: int, outputs: int, seed: int = 0) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    linear.weight.data = _random(outputs, inputs, seed=seed)
    linear.bias.data = _random(outputs, seed=seed + 1)
    return linear


def _conv(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """A convolution that holds a copy of `weight` (K, C, h, w) and `bias` (K,)."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], tuple(weight.shape[2:]), bias=bias is not None)
    conv.weight.data = weight.detach().clone()
    if bias is not None:
        conv.bias.data = bias.detach().clone()
    return conv


def _off_by_one_number_per_class(got: Tensor, expected: Tensor, case: Case) -> bool:
    """Scores (B, K, h, w) that differ from the truth by the same amount at every cell: only the bias is wrong."""
    if got.shape != expected.shape:
        return False
    difference = got - expected
    return bool((difference - difference.mean(dim=(0, 2, 3), keepdim=True)).abs().max() < 1e-4)


def _need_shape_of_weights(conv: nn.Conv2d, wanted: tuple[int, ...], explanation: str) -> None:
    found = tuple(conv.weight.shape)
    if found == wanted:
        return
    if found[:2] == (wanted[1], wanted[0]):
        raise WrongResult("channels swapped", f"Your convolution's weight is {found}, where {wanted} was expected: it "
                          "takes as many channels as there are classes, and gives as many as there are features. "
                          "`nn.Conv2d` wants the channels that come in first, then those that go out.")
    raise WrongResult("kernel of the wrong shape", f"Your convolution's weight is {found}, where {wanted} was expected. "
                      + explanation)


def _need_original_numbers(conv: nn.Conv2d, original: nn.Linear) -> None:
    if not torch.isclose(conv.weight.flatten()[:, None], original.weight.flatten()).any():
        raise WrongResult("weights not copied", "None of the original layer's weights is in your kernel. Does it still hold the random "
                          "numbers that every new `nn.Conv2d` starts with?")


def _need_plain_sliding(conv: nn.Conv2d) -> None:
    if conv.stride != (1, 1) or conv.padding not in ((0, 0), "valid") or conv.dilation != (1, 1):
        raise WrongResult("stride or padding added", f"Your convolution has stride {conv.stride}, padding {conv.padding} "
                          f"and dilation {conv.dilation}. The kernel should stop at every cell where it fits, and "
                          "nowhere else: stride 1, no padding, dilation 1.")


_MEMORY_SHARED = ("Changing your convolution's numbers changes the original layer's as well: both look at the same "
                  "memory. Whoever fine-tunes the heat map would ruin the classifier. Copy the values.")
_NOT_TRAINABLE = ("The scores are right, but the convolution's `weight` or `bias` is not a parameter that wants a "
                  "gradient, so it could never be trained further. A freshly made `nn.Conv2d` has such parameters: write "
                  "your numbers into them.")
_BIAS_LOST = ("Every score of a class is off by the same amount, and the amount is that class's bias. Compare "
              "`conv.bias` with the bias of the layer that it came from.")
_BIAS_RANDOM = ("The weights are right: each class's scores are off by one amount that is the same everywhere. So "
                "the bias is not the original's. A new `nn.Conv2d` starts with random numbers in both of its parameters.")


def _shares_no_memory(convert: Callable, original: nn.Linear, *sizes: int) -> bool:
    def address(tensor: Tensor) -> int:
        return tensor.untyped_storage().data_ptr()
    conv = convert(original, *sizes)
    return address(conv.weight) != address(original.weight) and address(conv.bias) != address(original.bias)


def _is_trainable(conv: nn.Conv2d) -> bool:
    parameters = dict(conv.named_parameters())
    return all(name in parameters and parameters[name].requires_grad and parameters[name].is_leaf
               for name in ("weight", "bias"))


# --- linear_as_1x1_conv -------------------------------------------------------------------------------------------

def _linear_cases() -> list[Case]:
    cases = []
    for label, inputs, outputs in (("3 features, 2 classes", 3, 2), ("4 features, 4 classes", 4, 4),
                                   ("1 feature, 5 classes", 1, 5)):
        linear = _linear(inputs, outputs)
        at_each_cell = linear(_map_for(linear).movedim(1, -1)).movedim(-1, 1)       # (1, K, 2, 3)
        cases.append(Case(label, (linear,), at_each_cell.detach()))
    return cases


def _map_for(linear: nn.Linear) -> Tensor:
    return _random(1, linear.in_features, 2, 3, seed=7)                             # (1, C, 2, 3)


def _scores_at_each_cell(conv: nn.Conv2d, linear: nn.Linear) -> Tensor:
    _need_shape_of_weights(conv, (linear.out_features, linear.in_features, 1, 1),
                           "One class has one number per channel, and the kernel is 1 high and 1 wide.")
    _need_plain_sliding(conv)
    _need_original_numbers(conv, linear)
    return conv(_map_for(linear))


def _as_1x1(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    return _conv(weight[:, :, None, None], bias)


# --- class_heatmap ------------------------------------------------------------------------------------------------

def _heatmap_by_loop(features: Tensor, classifier: nn.Linear, class_index: int) -> Tensor:
    rows = [torch.stack([classifier(features[:, :, row, column])[:, class_index] for column in range(features.shape[3])], 1)
            for row in range(features.shape[2])]                                    # each (B, w)
    return torch.stack(rows, 1)                                                     # (B, h, w)


def _heatmap_cases() -> list[Case]:
    return [Case.from_truth(label, (_random(*shape), _linear(shape[1], classes), index), _heatmap_by_loop,
                            gradients_of=("features", "classifier.weight", "classifier.bias"))
            for label, shape, classes, index in (
                ("two pictures, 5 channels, a map of 3 × 4, class 2 of 6", (2, 5, 3, 4), 6, 2),
                ("one picture, one cell", (1, 3, 1, 1), 2, 1),
                ("everything of size 4, class 3", (4, 4, 4, 4), 4, 3))]


def _score_map(features: Tensor, classifier: nn.Linear) -> Tensor:
    """The scores of all classes at every cell: (B, K, h, w)."""
    return classifier(features.movedim(1, -1)).movedim(-1, 1)


def _weighted(features: Tensor, classifier: nn.Linear, class_index: int) -> Tensor:
    """Every channel times its weight for one class, before any sum: (B, C, h, w)."""
    return features * classifier.weight[class_index].view(1, -1, 1, 1)


def _column_for_row(features: Tensor, classifier: nn.Linear, class_index: int) -> Tensor:
    scores = (features * classifier.weight[:, class_index].view(1, -1, 1, 1)).sum(1)
    return scores + classifier.bias[class_index]


# --- feature_size and receptive_field -----------------------------------------------------------------------------

def _size_cases() -> list[Case]:
    return [Case(label, (height, width, layers), _size_by_running(height, width, layers))
            for label, height, width, layers in (
                ("one layer, no padding", 5, 9, [Window(3)]),
                ("one stride that does not fit evenly", 8, 12, [Window(3, 2)]),
                ("padding, and a picture wider than high", 7, 20, [Window(5, 2, 2)]),
                ("three layers", 33, 50, [Window(7, 2, 3), Window(3, 2, 1), Window(2, 2)]),
                ("no layers", 4, 6, []))]


def _size_by_running(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    """The truth: real layers, run on an empty picture."""
    picture = torch.zeros(1, 1, height, width)
    for layer in layers:
        picture = nn.Conv2d(1, 1, layer.kernel, layer.stride, layer.padding)(picture)
    return picture.shape[2], picture.shape[3]


def _sizes(side_after: Callable, height: int, width: int, layers: list[Window]) -> tuple:
    """A size rule for one side and one layer, carried through all layers, as most wrong answers do it."""
    for layer in layers:
        height, width = side_after(height, layer), side_after(width, layer)
    return height, width


def _swapped_size(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return geometry.feature_size(width, height, layers)


def _rounded_up(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return _sizes(lambda n, layer: math.ceil((n + 2 * layer.padding - layer.kernel) / layer.stride) + 1, height, width, layers)


def _padding_once(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return _sizes(lambda n, layer: (n + layer.padding - layer.kernel) // layer.stride + 1, height, width, layers)


def _first_place_forgotten(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return _sizes(lambda n, layer: (n + 2 * layer.padding - layer.kernel) // layer.stride, height, width, layers)


def _one_added_too_early(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return _sizes(lambda n, layer: (n + 2 * layer.padding - layer.kernel + 1) // layer.stride, height, width, layers)


def _kernel_forgotten(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return _sizes(lambda n, layer: n // layer.stride, height, width, layers)


def _only_last(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    return geometry.feature_size(height, width, layers[-1:])


def size_and_step(layers: list[Window]) -> tuple[int, int]:
    """`lib.ops.receptive_field.receptive_field` without the place of the first cell, which lesson 01 does not ask for."""
    size, step, _ = geometry.receptive_field(layers)
    return size, step


def _field_cases() -> list[Case]:
    return [Case(label, (layers,), _field_by_gradient(layers)) for label, layers in (
        ("one 3×3 layer", [Window(3)]),
        ("two 3×3 layers", [Window(3, 1, 1), Window(3, 1, 1)]),
        ("a stride in the second of three layers", [Window(3), Window(3, 2), Window(3)]),
        ("strides everywhere", [Window(7, 2, 3), Window(2, 2), Window(3, 2, 1), Window(5)]),
        ("1×1 layers see nothing new", [Window(3), Window(1), Window(1)]),
        ("no layers", []))]


def _field_by_gradient(layers: list[Window]) -> tuple[int, int]:
    """The truth: real one-dimensional layers full of ones, and the pixels that two neighbouring cells react to."""
    row = torch.ones(1, 1, 120, dtype=torch.float64, requires_grad=True)
    cells = row
    for layer in layers:
        conv = nn.Conv1d(1, 1, layer.kernel, layer.stride, bias=False, dtype=torch.float64)
        nn.init.ones_(conv.weight)
        cells = conv(cells)
    first, second = (torch.autograd.grad(cells[0, 0, cell], row, retain_graph=True)[0][0, 0].nonzero()[:, 0] for cell in (3, 4))
    return len(first), int(second[0] - first[0])


def _field(grow: Callable, layers: list[Window]) -> tuple[int, int]:
    """A rule for the growth of the field, carried through all layers: `grow(size, step, layer)` is the new size."""
    size, step = 1, 1
    for layer in layers:
        size, step = grow(size, step, layer), step * layer.stride
    return size, step


def _step_with(combine: Callable, layers: list[Window]) -> tuple[int, int]:
    """The right size, with another rule for the step."""
    return size_and_step(layers)[0], combine([layer.stride for layer in layers])


# --- flatten_fc_as_conv -------------------------------------------------------------------------------------------

def _flatten_cases() -> list[Case]:
    cases = []
    for label, channels, height, width in (("2 channels, 3 × 4 cells", 2, 3, 4), ("3 channels, 3 × 3 cells", 3, 3, 3),
                                           ("5 channels, a single cell", 5, 1, 1)):
        fc = _linear(channels * height * width, 4)
        large = _larger_map(channels, height, width)
        corners = [(row, column) for row in range(2) for column in range(3)]
        scores = [fc(large[:, :, row:row + height, column:column + width].flatten(1)) for row, column in corners]
        cases.append(Case(label, (fc, channels, height, width), torch.stack(scores, -1).view(1, 4, 2, 3).detach()))
    return cases


def _larger_map(channels: int, height: int, width: int) -> Tensor:
    """A map on which the kernel can stand at 2 × 3 places."""
    return _random(1, channels, height + 1, width + 2, seed=5)


def _scores_on_larger_map(conv: nn.Conv2d, fc: nn.Linear, channels: int, height: int, width: int) -> Tensor:
    if height != width and tuple(conv.weight.shape[1:]) == (channels, width, height):
        raise WrongResult("height and width swapped", f"Your kernel is {width} high and {height} wide; the map was {height} "
                          f"high and {width} wide. Height comes first in `kernel_size`, as in every shape.")
    _need_shape_of_weights(conv, (fc.out_features, channels, height, width),
                           "The kernel must be as large as the map that used to be flattened.")
    _need_plain_sliding(conv)
    _need_original_numbers(conv, fc)
    return conv(_larger_map(channels, height, width))


def _kernel(fc: nn.Linear, channels: int, height: int, width: int) -> Tensor:
    return fc.weight.detach().view(-1, channels, height, width)


def _channels_last(fc: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    return _conv(fc.weight.detach().view(-1, height, width, channels).permute(0, 3, 1, 2), fc.bias)


def _columns_first(fc: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    return _conv(fc.weight.detach().view(-1, channels, width, height).transpose(2, 3), fc.bias)


def _kernel_flipped(fc: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    return _conv(_kernel(fc, channels, height, width).flip(2, 3), fc.bias)


def _fc_bias_lost(fc: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    return _conv(_kernel(fc, channels, height, width), None)


# --- shuffle_pixels -----------------------------------------------------------------------------------------------

def _shuffle_cases() -> list[Case]:
    cases = []
    for label, shape in (("two colour pictures of 2 × 3 pixels", (2, 3, 2, 3)), ("4 × 4 pixels", (3, 3, 4, 4)),
                         ("no pictures at all", (0, 3, 2, 2))):
        images = torch.arange(math.prod(shape)).float().view(shape) / 10
        order = torch.randperm(shape[2] * shape[3], generator=torch.Generator().manual_seed(3))
        expected = torch.empty(shape)
        for new, old in enumerate(order.tolist()):
            expected[:, :, new // shape[3], new % shape[3]] = images[:, :, old // shape[3], old % shape[3]]
        cases.append(Case(label, (images, order), expected))
    return cases


def _the_other_way(images: Tensor, order: Tensor) -> Tensor:
    return pixels.shuffle_pixels(images, order.argsort())


def _channels_mixed_in(images: Tensor, order: Tensor) -> Tensor:
    """Pixels and channels in one list, as after `flatten(1)`, with the colours of a pixel next to each other."""
    flat = images.reshape(len(images), len(order), images.shape[1])             # (B, H·W, C), which it is not
    return flat[:, order].reshape(images.shape)


def _column_by_column(images: Tensor, order: Tensor) -> Tensor:
    flat = images.transpose(2, 3).flatten(2)[:, :, order]
    return flat.view(images.shape[0], images.shape[1], images.shape[3], images.shape[2]).transpose(2, 3)


def _order_ignored(images: Tensor, order: Tensor) -> Tensor:
    return images.clone()


EXERCISES = [
    Exercise(
        name="linear_as_1x1_conv",
        lesson=LESSON,
        summary="Turn a linear layer into a 1×1 convolution that gives the same scores at every cell",
        minutes=8,
        difficulty=1,
        reference=convolutionalize.linear_as_1x1_conv,
        cases=_linear_cases,
        returns=nn.Conv2d,
        observe=_scores_at_each_cell,
        mistakes=[
            Mistake("bias lost", _BIAS_LOST, wrong=lambda linear: _as_1x1(linear.weight, None)),
            Mistake("bias not copied", _BIAS_RANDOM, when=_off_by_one_number_per_class),
            Mistake("weight transposed", "Classes and features are swapped in your weights. Both tables have one row for each "
                    "class, so no transposing is needed. With as many classes as features, no shape warns you of this.",
                    wrong=lambda linear: _as_1x1(linear.weight.T.reshape(linear.weight.shape), linear.bias)),
        ],
        probes=[
            Probe("memory shared", _MEMORY_SHARED, passes=lambda function: _shares_no_memory(function, _linear(3, 2))),
            Probe("cannot be trained", _NOT_TRAINABLE, passes=lambda function: _is_trainable(function(_linear(3, 2)))),
        ],
        hints=["Make an `nn.Linear(3, 2)` and an `nn.Conv2d(3, 2, 1)` and print the shapes of their weights and biases.",
               "The same numbers are needed, with two axes of size 1 more. Indexing with `None` makes such an axis.",
               "Write values into an existing parameter with its method `copy_`, inside `torch.no_grad()`."],
    ),
    Exercise(
        name="class_heatmap",
        lesson=LESSON,
        summary="The score of one class at every cell of a feature map",
        minutes=8,
        difficulty=2,
        reference=convolutionalize.class_heatmap,
        cases=_heatmap_cases,
        picture=compare_maps,
        mistakes=[
            Mistake("bias forgotten", "Every cell is off by the same amount: the class's bias. The classifier adds it "
                    "once to every score.", wrong=lambda f, c, k: _weighted(f, c, k).sum(1)),
            Mistake("bias added once per channel", "The bias is in the sum as many times as there are channels. Add it "
                    "after the sum.", wrong=lambda f, c, k: (_weighted(f, c, k) + c.bias[k]).sum(1)),
            Mistake("average for sum", "Your scores are divided by the number of channels. A linear layer adds its "
                    "products up; it does not average them.", wrong=lambda f, c, k: _weighted(f, c, k).mean(1) + c.bias[k]),
            Mistake("softmax over the classes", "These are probabilities; scores were asked for. The averaging in "
                    "the classifier happens before its softmax, and only scores can be averaged that way.",
                    wrong=lambda f, c, k: _score_map(f, c).softmax(1)[:, k]),
            Mistake("softmax over the cells", "Your map sums to 1 over its cells. That answers *if the cat is somewhere, where?* and "
                    "sees a cat in every picture. Return the scores as they are.",
                    wrong=lambda f, c, k: _score_map(f, c)[:, k].flatten(1).softmax(1).view_as(f[:, 0])),
            Mistake("a column of the weights for a row", "The classifier's weight is (classes, channels): one class is one row. You "
                    "took a column.", wrong=_column_for_row),
            Mistake("averaged before asking", "You have one score per picture: the cells were averaged first, and the places "
                    "are gone. Ask at every cell.", wrong=lambda f, c, k: c(f.mean((2, 3)))[:, k]),
            Mistake("all classes returned", "That is the score of every class at every cell. Only one class's map was "
                    "asked for.", wrong=lambda f, c, k: _score_map(f, c)),
            Mistake("class taken from the batch", "You took picture number `class_index` of the batch. After the classifier the axes are "
                    "(picture, class, row, column).", wrong=lambda f, c, k: _score_map(f, c)[k]),
        ],
        hints=["One class has one row of weights, as many as there are channels.",
               "Every channel of the map is multiplied by its own weight; then the channels are added up.",
               "`torch.einsum` takes the axes by name: write down those of the map, of the weights, and of the answer."],
    ),
    Exercise(
        name="feature_size",
        lesson=LESSON,
        summary="Height and width of the map after a chain of layers",
        minutes=8,
        difficulty=1,
        reference=geometry.feature_size,
        cases=_size_cases,
        mistakes=[
            Mistake("height and width swapped", "Right numbers, wrong order: height comes first, here and everywhere in PyTorch.",
                    wrong=_swapped_size),
            Mistake("rounded up", "When the last stride does not fit any more, it is not taken. You rounded up, and counted it.",
                    wrong=_rounded_up),
            Mistake("padding counted once", "Padding is added at both ends of a row: 2 · padding pixels more.", wrong=_padding_once),
            Mistake("first place forgotten", "You counted the strides, not the places. A fence with five gaps has six posts: the "
                    "kernel also stands at the very start.", wrong=_first_place_forgotten),
            Mistake("1 added before dividing", "You added the first place before dividing by the stride. Strides are counted first; "
                    "then the place at the start is added, whole.", wrong=_one_added_too_early),
            Mistake("kernel forgotten", "You divided by the stride and nothing else. The kernel itself needs room: its right edge must stay "
                    "in the row.", wrong=_kernel_forgotten),
            Mistake("only the last layer", "Each layer slides over what the layer before it left. You used one layer only.",
                    wrong=_only_last),
        ],
        hints=["Do one row, one layer, on paper. The kernel's left edge can travel `n + 2p - k` pixels.",
               "How many whole strides fit into that way? And how many places are that?",
               "The map of one layer is the picture of the next: keep the two numbers in variables and bring them up to date in a loop."],
    ),
    Exercise(
        name="receptive_field",
        lesson=LESSON,
        summary="How many pixels one cell sees, and how far neighbouring cells are apart",
        minutes=10,
        difficulty=2,
        reference=size_and_step,
        cases=_field_cases,
        mistakes=[
            Mistake("size and step swapped", "Right numbers, wrong order: first the size, then the step.",
                    wrong=lambda layers: size_and_step(layers)[::-1]),
            Mistake("stride not multiplied in", "Your size grows by kernel − 1 at every layer, as if all cells were one pixel apart. After a "
                    "stride they are further apart, and each gap counts as many pixels.",
                    wrong=lambda layers: _field(lambda size, step, layer: size + layer.kernel - 1, layers)),
            Mistake("kernel added instead of kernel − 1", "A kernel of 3 reaches over 2 gaps, not 3: the cell that you start from is "
                    "already counted.", wrong=lambda layers: _field(lambda size, step, layer: size + layer.kernel * step, layers)),
            Mistake("own stride counted too early", "You multiplied the step by a layer's stride before using it for that same layer's kernel. The kernel "
                    "works on its input, whose cells are still as far apart as before.",
                    wrong=lambda layers: _field(lambda size, step, layer: size + (layer.kernel - 1) * step * layer.stride, layers)),
            Mistake("padding counted in", "Padding adds zeros around the picture. It changes where the first cell looks, not how "
                    "much a cell sees.",
                    wrong=lambda layers: _field(lambda size, step, layer: size + (layer.kernel - 1 + 2 * layer.padding) * step, layers)),
            Mistake("strides added up", "The step is wrong: two strides of 2 take you 4 pixels on, and three of them 8. Strides multiply.",
                    wrong=lambda layers: _step_with(lambda strides: sum(strides) or 1, layers)),
            Mistake("only the last stride", "The step is the last layer's stride in cells of the layer before it. In pixels, all strides "
                    "on the way count.", wrong=lambda layers: _step_with(lambda strides: strides[-1] if strides else 1, layers)),
        ],
        hints=["Keep two numbers: `size` and `step`, both 1 at the start, and bring them up to date layer by layer.",
               "A kernel of k cells spans k − 1 gaps. A gap is as long as the step *before* this layer.",
               "The step is the product of all strides so far."],
    ),
    Exercise(
        name="flatten_fc_as_conv",
        lesson=LESSON,
        summary="Turn a layer that reads a flattened map into a convolution with a kernel of that size",
        minutes=10,
        difficulty=2,
        reference=convolutionalize.flatten_fc_as_conv,
        cases=_flatten_cases,
        returns=nn.Conv2d,
        observe=_scores_on_larger_map,
        mistakes=[
            Mistake("bias lost", _BIAS_LOST, wrong=_fc_bias_lost),
            Mistake("bias not copied", _BIAS_RANDOM, when=_off_by_one_number_per_class),
            Mistake("channels read as the last axis", "You gave the weights back in the order row, column, channel. `flatten` of a PyTorch map "
                    "goes channel by channel: the channel moves slowest.", wrong=_channels_last),
            Mistake("rows and columns swapped", "Each kernel is transposed: `flatten` goes row by row, so the column moves fastest.",
                    wrong=_columns_first),
            Mistake("kernel flipped", "Your kernels are turned by 180°. In mathematics a convolution flips its kernel. PyTorch's does not: it "
                    "lays the kernel on the map as it is.", wrong=_kernel_flipped),
        ],
        probes=[
            Probe("memory shared", _MEMORY_SHARED,
                  passes=lambda function: _shares_no_memory(function, _linear(12, 2), 3, 2, 2)),
            Probe("cannot be trained", _NOT_TRAINABLE,
                  passes=lambda function: _is_trainable(function(_linear(12, 2), 3, 2, 2))),
        ],
        hints=["Print `torch.arange(12).view(3, 2, 2).flatten()`: in which order do channel, row and column count up?",
               "A row of the fully connected layer's weights is one kernel, written as a list. Give it back its three axes.",
               "The kernel is (height, width): both may differ."],
    ),
    Exercise(
        name="shuffle_pixels",
        lesson=LESSON,
        summary="Rearrange the pixels of every picture in one and the same way",
        minutes=8,
        difficulty=2,
        reference=pixels.shuffle_pixels,
        cases=_shuffle_cases,
        picture=compare_maps,
        mistakes=[
            Mistake("the order used the other way round", "You sent old pixel `i` to place `order[i]`. It was asked the other way: the pixel "
                    "that comes to place `i` is the one at `order[i]`.", wrong=_the_other_way),
            Mistake("channels mixed with pixels", "The colours of a pixel did not stay together: the channel axis was drawn into the shuffle. Only rows and "
                    "columns may be made into one axis.", wrong=_channels_mixed_in),
            Mistake("counted column by column", "You numbered the pixels down the columns. They are numbered along the rows, as `flatten` does.",
                    wrong=_column_by_column),
            Mistake("order ignored", "The pictures came back as they were.", wrong=_order_ignored),
        ],
        hints=["Rows and columns have to become one axis of H·W pixels; then they can be picked by number.",
               "Leave the first two axes, picture and channel, alone: index only the last.",
               "Afterwards give the pixels their rows and columns back."],
    ),
]
