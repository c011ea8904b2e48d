"""The exercises of lesson 01: fully connected layers as convolutions, sizes and receptive fields, shuffled pixels."""

from torch import nn

from lib.exercises import truths_01 as truth
from lib.exercises.exercise import Exercise, Mistake, Probe
from lib.exercises.pictures import compare_maps
from lib.layers import convolutionalize
from lib.ops import pixels
from lib.ops import receptive_field as geometry

LESSON = "01_fc_vs_1x1_conv"

EXERCISES = [
    Exercise(
        name="linear_as_1x1_conv",
        lesson=LESSON,
        summary="Turn a linear layer into a 1×1 convolution that gives the same scores at every cell",
        minutes=8,
        difficulty=1,
        reference=convolutionalize.linear_as_1x1_conv,
        cases=truth.linear_cases,
        returns=nn.Conv2d,
        observe=truth.scores_at_each_cell,
        mistakes=[
            Mistake("bias lost", truth.BIAS_LOST, wrong=lambda linear: truth.as_1x1(linear.weight, None)),
            Mistake("bias not copied", truth.BIAS_RANDOM, when=truth.off_by_one_number_per_class),
            Mistake(
                "weight transposed",
                "Classes and features are swapped in your weights. Both tables have one row for each "
                "class, so no transposing is needed. With as many classes as features, no shape warns you of this.",
                wrong=lambda linear: truth.as_1x1(linear.weight.T.reshape(linear.weight.shape), linear.bias),
            ),
        ],
        probes=[
            Probe(
                "memory shared",
                truth.MEMORY_SHARED,
                passes=lambda function: truth.shares_no_memory(function, truth.make_linear(3, 2)),
            ),
            Probe(
                "cannot be trained",
                truth.NOT_TRAINABLE,
                passes=lambda function: truth.is_trainable(function(truth.make_linear(3, 2))),
            ),
        ],
        hints=[
            "Make an `nn.Linear(3, 2)` and an `nn.Conv2d(3, 2, 1)` and print the shapes of their weights and biases.",
            "The same numbers are needed, with two axes of size 1 more. Indexing with `None` makes such an axis.",
            "Write values into an existing parameter with its method `copy_`, inside `torch.no_grad()`.",
        ],
    ),
    Exercise(
        name="class_heatmap",
        lesson=LESSON,
        summary="The score of one class at every cell of a feature map",
        minutes=8,
        difficulty=2,
        reference=convolutionalize.class_heatmap,
        cases=truth.heatmap_cases,
        picture=compare_maps,
        mistakes=[
            Mistake(
                "bias forgotten",
                "Every cell is off by the same amount: the class's bias. The classifier adds it once to every score.",
                wrong=lambda f, c, k: truth.weighted(f, c, k).sum(1),
            ),
            Mistake(
                "bias added once per channel",
                "The bias is in the sum as many times as there are channels. Add it after the sum.",
                wrong=lambda f, c, k: (truth.weighted(f, c, k) + c.bias[k]).sum(1),
            ),
            Mistake(
                "average for sum",
                "Your scores are divided by the number of channels. A linear layer adds its "
                "products up; it does not average them.",
                wrong=lambda f, c, k: truth.weighted(f, c, k).mean(1) + c.bias[k],
            ),
            Mistake(
                "softmax over the classes",
                "These are probabilities; scores were asked for. The averaging in "
                "the classifier happens before its softmax, and only scores can be averaged that way.",
                wrong=lambda f, c, k: truth.score_map(f, c).softmax(1)[:, k],
            ),
            Mistake(
                "softmax over the cells",
                "Your map sums to 1 over its cells. That answers *if the cat is somewhere, where?* and "
                "sees a cat in every picture. Return the scores as they are.",
                wrong=lambda f, c, k: truth.score_map(f, c)[:, k].flatten(1).softmax(1).view_as(f[:, 0]),
            ),
            Mistake(
                "a column of the weights for a row",
                "The classifier's weight is (classes, channels): one class is one row. You took a column.",
                wrong=truth.column_for_row,
            ),
            Mistake(
                "averaged before asking",
                "You have one score per picture: the cells were averaged first, and the places "
                "are gone. Ask at every cell.",
                wrong=lambda f, c, k: c(f.mean((2, 3)))[:, k],
            ),
            Mistake(
                "all classes returned",
                "That is the score of every class at every cell. Only one class's map was asked for.",
                wrong=lambda f, c, k: truth.score_map(f, c),
            ),
            Mistake(
                "class taken from the batch",
                "You took picture number `class_index` of the batch. After the classifier the axes are "
                "(picture, class, row, column).",
                wrong=lambda f, c, k: truth.score_map(f, c)[k],
            ),
        ],
        hints=[
            "One class has one row of weights, as many as there are channels.",
            "Every channel of the map is multiplied by its own weight; then the channels are added up.",
            "`torch.einsum` takes the axes by name: write down those of the map, of the weights, and of the answer.",
        ],
    ),
    Exercise(
        name="feature_size",
        lesson=LESSON,
        summary="Height and width of the map after a chain of layers",
        minutes=8,
        difficulty=1,
        reference=geometry.feature_size,
        cases=truth.size_cases,
        mistakes=[
            Mistake(
                "height and width swapped",
                "Right numbers, wrong order: height comes first, here and everywhere in PyTorch.",
                wrong=truth.swapped_size,
            ),
            Mistake(
                "rounded up",
                "When the last stride does not fit any more, it is not taken. You rounded up, and counted it.",
                wrong=truth.rounded_up,
            ),
            Mistake(
                "padding counted once",
                "Padding is added at both ends of a row: 2 · padding pixels more.",
                wrong=truth.padding_once,
            ),
            Mistake(
                "first place forgotten",
                "You counted the strides, not the places. A fence with five gaps has six posts: the "
                "kernel also stands at the very start.",
                wrong=truth.first_place_forgotten,
            ),
            Mistake(
                "1 added before dividing",
                "You added the first place before dividing by the stride. Strides are counted first; "
                "then the place at the start is added, whole.",
                wrong=truth.one_added_too_early,
            ),
            Mistake(
                "kernel forgotten",
                "You divided by the stride and nothing else. The kernel itself needs room: its right edge must stay "
                "in the row.",
                wrong=truth.kernel_forgotten,
            ),
            Mistake(
                "only the last layer",
                "Each layer slides over what the layer before it left. You used one layer only.",
                wrong=truth.only_last,
            ),
        ],
        hints=[
            "Do one row, one layer, on paper. The kernel's left edge can travel `n + 2p - k` pixels.",
            "How many whole strides fit into that way? And how many places are that?",
            (
                "The map of one layer is the picture of the next: keep the two numbers in variables and bring them up"
                " to date in a loop."
            ),
        ],
    ),
    Exercise(
        name="receptive_field",
        lesson=LESSON,
        summary="How many pixels one cell sees, and how far neighbouring cells are apart",
        minutes=10,
        difficulty=2,
        reference=truth.size_and_step,
        cases=truth.field_cases,
        mistakes=[
            Mistake(
                "size and step swapped",
                "Right numbers, wrong order: first the size, then the step.",
                wrong=lambda layers: truth.size_and_step(layers)[::-1],
            ),
            Mistake(
                "stride not multiplied in",
                "Your size grows by kernel − 1 at every layer, as if all cells were one pixel apart. After a "
                "stride they are further apart, and each gap counts as many pixels.",
                wrong=lambda layers: truth.field_growing_by(lambda size, step, layer: size + layer.kernel - 1, layers),
            ),
            Mistake(
                "kernel added instead of kernel − 1",
                "A kernel of 3 reaches over 2 gaps, not 3: the cell that you start from is already counted.",
                wrong=lambda layers: truth.field_growing_by(
                    lambda size, step, layer: size + layer.kernel * step, layers
                ),
            ),
            Mistake(
                "own stride counted too early",
                "You multiplied the step by a layer's stride before using it for that same layer's kernel. The kernel "
                "works on its input, whose cells are still as far apart as before.",
                wrong=lambda layers: truth.field_growing_by(
                    lambda size, step, layer: size + (layer.kernel - 1) * step * layer.stride, layers
                ),
            ),
            Mistake(
                "padding counted in",
                "Padding adds zeros around the picture. It changes where the first cell looks, not how "
                "much a cell sees.",
                wrong=lambda layers: truth.field_growing_by(
                    lambda size, step, layer: size + (layer.kernel - 1 + 2 * layer.padding) * step, layers
                ),
            ),
            Mistake(
                "strides added up",
                "The step is wrong: two strides of 2 take you 4 pixels on, and three of them 8. Strides multiply.",
                wrong=lambda layers: truth.step_with(lambda strides: sum(strides) or 1, layers),
            ),
            Mistake(
                "only the last stride",
                "The step is the last layer's stride in cells of the layer before it. In pixels, all strides "
                "on the way count.",
                wrong=lambda layers: truth.step_with(lambda strides: strides[-1] if strides else 1, layers),
            ),
        ],
        hints=[
            "Keep two numbers: `size` and `step`, both 1 at the start, and bring them up to date layer by layer.",
            "A kernel of k cells spans k − 1 gaps. A gap is as long as the step *before* this layer.",
            "The step is the product of all strides so far.",
        ],
    ),
    Exercise(
        name="flatten_fc_as_conv",
        lesson=LESSON,
        summary="Turn a layer that reads a flattened map into a convolution with a kernel of that size",
        minutes=10,
        difficulty=2,
        reference=convolutionalize.flatten_fc_as_conv,
        cases=truth.flatten_cases,
        returns=nn.Conv2d,
        observe=truth.scores_on_larger_map,
        mistakes=[
            Mistake("bias lost", truth.BIAS_LOST, wrong=truth.fc_bias_lost),
            Mistake("bias not copied", truth.BIAS_RANDOM, when=truth.off_by_one_number_per_class),
            Mistake(
                "channels read as the last axis",
                "You gave the weights back in the order row, column, channel. `flatten` of a PyTorch map "
                "goes channel by channel: the channel moves slowest.",
                wrong=truth.channels_last,
            ),
            Mistake(
                "rows and columns swapped",
                "Each kernel is transposed: `flatten` goes row by row, so the column moves fastest.",
                wrong=truth.columns_first,
            ),
            Mistake(
                "kernel flipped",
                "Your kernels are turned by 180°. In mathematics a convolution flips its kernel. PyTorch's does not: it"
                " lays the kernel on the map as it is.",
                wrong=truth.kernel_flipped,
            ),
        ],
        probes=[
            Probe(
                "memory shared",
                truth.MEMORY_SHARED,
                passes=lambda function: truth.shares_no_memory(function, truth.make_linear(12, 2), 3, 2, 2),
            ),
            Probe(
                "cannot be trained",
                truth.NOT_TRAINABLE,
                passes=lambda function: truth.is_trainable(function(truth.make_linear(12, 2), 3, 2, 2)),
            ),
        ],
        hints=[
            "Print `torch.arange(12).view(3, 2, 2).flatten()`: in which order do channel, row and column count up?",
            (
                "A row of the fully connected layer's weights is one kernel, written as a list. Give it back its three"
                " axes."
            ),
            "The kernel is (height, width): both may differ.",
        ],
    ),
    Exercise(
        name="shuffle_pixels",
        lesson=LESSON,
        summary="Rearrange the pixels of every picture in one and the same way",
        minutes=8,
        difficulty=2,
        reference=pixels.shuffle_pixels,
        cases=truth.shuffle_cases,
        picture=compare_maps,
        mistakes=[
            Mistake(
                "the order used the other way round",
                "You sent old pixel `i` to place `order[i]`. It was asked the other way: the pixel "
                "that comes to place `i` is the one at `order[i]`.",
                wrong=truth.the_other_way,
            ),
            Mistake(
                "channels mixed with pixels",
                "The colours of a pixel did not stay together: the channel axis was drawn into the shuffle. Only rows"
                " and columns may be made into one axis.",
                wrong=truth.channels_mixed_in,
            ),
            Mistake(
                "channels flattened too",
                "`flatten(1)` makes one axis of channels, rows and columns, and `order` knows only as many places as"
                " there are pixels. Start flattening one axis later.",
                wrong=truth.flattened_too_far,
            ),
            Mistake(
                "counted column by column",
                "You numbered the pixels down the columns. They are numbered along the rows, as `flatten` does.",
                wrong=truth.column_by_column,
            ),
            Mistake("order ignored", "The pictures came back as they were.", wrong=truth.order_ignored),
        ],
        hints=[
            "Rows and columns have to become one axis of H·W pixels; then they can be picked by number.",
            "Leave the first two axes, picture and channel, alone: index only the last.",
            "Afterwards give the pixels their rows and columns back.",
        ],
    ),
]
