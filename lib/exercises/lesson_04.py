"""The exercises of lesson 04: the parts of a U-Net, its forward pass, its sizes without padding, and the dice loss."""

from torch import nn

from lib.exercises import truths_04 as truth
from lib.exercises.exercise import Exercise, Mistake, Probe
from lib.exercises.pictures import compare_maps

LESSON = "04_unet"

EXERCISES = [
    Exercise(
        name="double_conv",
        lesson=LESSON,
        summary="Two 3×3 convolutions, each with batch normalisation and ReLU, as one module",
        minutes=7,
        difficulty=1,
        reference=truth.double_conv,
        cases=truth.double_conv_cases,
        returns=nn.Module,
        observe=truth.run_with_given_weights,
        mistakes=[
            Mistake(
                "one convolution only",
                "Your block has one convolution. Two were asked for: the second reads what the first one wrote.",
                wrong=truth.ONE_ONLY,
            ),
            Mistake(
                "one 5×5 for two 3×3",
                "Your block is one 5×5 convolution. It sees as far as two 3×3 ones, but needs more weights, and it has "
                "one ReLU where two were asked for.",
                wrong=truth.FIVE_BY_FIVE,
            ),
            Mistake(
                "no padding",
                "Your map is 4 cells shorter and narrower than the one that came in. Each 3×3 convolution loses a cell "
                "on every side, unless it is padded.",
                wrong=truth.UNPADDED,
            ),
            Mistake(
                "normalisation forgotten",
                "There is no batch normalisation between a convolution and its ReLU.",
                wrong=truth.NO_NORM,
            ),
            Mistake(
                "no ReLU at all",
                "There is no ReLU. Two convolutions in a row are one convolution; what lies between them makes the "
                "difference.",
                wrong=truth.NO_RELU,
            ),
            Mistake(
                "no ReLU between",
                "The ReLU between the two convolutions is missing. Without it they could be multiplied into one.",
                wrong=truth.NO_RELU_BETWEEN,
            ),
            Mistake(
                "no ReLU at the end",
                "Your result has negative numbers: the ReLU after the second convolution is missing.",
                wrong=truth.NO_RELU_AT_END,
            ),
            Mistake(
                "ReLU before the normalisation",
                "You put the ReLU before the batch normalisation. The order asked for is convolution, normalisation, "
                "ReLU.",
                wrong=truth.NORM_LAST,
            ),
            Mistake(
                "widened by the second one",
                "Your first convolution keeps the channels as they are and the second one changes them. It is the "
                "first that goes from `channels_in` to `channels_out`.",
                wrong=truth.WIDENED_LATE,
            ),
            Mistake(
                "second one reads the input's channels",
                "Your second convolution expects `channels_in` channels. It reads what the first one wrote: how many "
                "are those?",
                wrong=truth.WIDENED_TWICE,
            ),
            Mistake(
                "one convolution used twice",
                "Both convolutions are one and the same layer, with one set of weights. Make two.",
                wrong=truth.one_conv_twice,
            ),
        ],
        probes=[
            Probe(
                "blocks share their weights",
                "Two calls gave two blocks with the same weights. Make the layers inside the function, so that every "
                "call makes new ones.",
                passes=truth.weights_are_its_own,
            ),
        ],
        hints=[
            "`nn.Sequential(a, b, c)` is a module that runs `a`, then `b`, then `c`.",
            "Six layers: convolution, normalisation, ReLU, and the same again.",
            "How many channels come into the second convolution? What padding keeps the size with a 3×3 kernel?",
        ],
    ),
    Exercise(
        name="up_with_skip",
        lesson=LESSON,
        summary="One step of the way up: double the map, cut it to the skip's size, join them, convolve",
        minutes=10,
        difficulty=2,
        reference=truth.up_with_skip,
        cases=truth.up_cases,
        picture=compare_maps,
        mistakes=[
            Mistake(
                "skip put behind",
                "Right channels, wrong order: the skip's come first, then those from below. Weights that were trained "
                "in one order are useless in the other.",
                wrong=truth.skip_behind,
            ),
            Mistake(
                "skip put behind, nothing cut",
                "Two things: the skip's channels come first, then those from below; and where a side is odd, the doubled "
                "map has a row or a column too many, which is to be cut off.",
                wrong=truth.skip_behind_never_cut,
            ),
            Mistake(
                "not cut to size",
                "It works for even sides only. A map of 5 rows became 3 on the way down, and 3 became 6 on the way up: "
                "one row too many to lie beside the skip. Cut it off.",
                wrong=truth.never_cut,
            ),
            Mistake(
                "cut at the wrong end",
                "You cut the surplus off at the top and at the left. The surplus row is the last one: it stands for a "
                "row that the picture does not have.",
                wrong=truth.cut_at_the_start,
            ),
            Mistake(
                "squeezed instead of cut",
                "You scaled the doubled map to the skip's size. Then its cells no longer lie on the skip's cells, and "
                "all edges are a little off. Cut off what is too much.",
                wrong=truth.squeezed,
            ),
            Mistake(
                "skip stretched",
                "You scaled the skip to the size of the doubled map. The skip holds the exact places: leave it as it "
                "is, and cut the other one.",
                wrong=truth.skip_stretched,
            ),
            Mistake(
                "skip padded",
                "You padded the skip to the size of the doubled map, so the result has a row or a column that the "
                "picture does not have. Cut the other one instead.",
                wrong=truth.skip_padded,
            ),
            Mistake(
                "skip added",
                "You added the two maps. They were to be put behind each other, so that the convolution can read both.",
                wrong=truth.skip_added,
            ),
            Mistake(
                "skip forgotten",
                "What came from below went up alone, without the skip.",
                wrong=truth.skip_forgotten,
            ),
            Mistake(
                "one map twice",
                "Both halves of the channels are the map from below. The other half is the skip.",
                wrong=truth.up_twice,
            ),
            Mistake(
                "sum put in twice",
                "You put the sum of the two maps in twice. Each map keeps its own channels.",
                wrong=truth.added_and_doubled,
            ),
            Mistake(
                "joined along the width",
                "You laid the maps side by side, as one wider map. It is the channels that are put behind each other: "
                "axis 1 of (B, C, H, W).",
                wrong=truth.side_by_side,
            ),
            Mistake(
                "joined along the batch",
                "You joined along axis 0: that makes a batch of more pictures. The channels are axis 1.",
                wrong=truth.in_the_batch,
            ),
            Mistake(
                "conv forgotten",
                "The two maps are joined, but `conv` has not read them yet.",
                wrong=truth.no_conv,
            ),
        ],
        hints=[
            "Print the shapes of `skip` and `up(below)` for the case that fails. By how much do they differ?",
            "`skip.shape[2:]` is the size that both need; a slice of the last two axes cuts the other map.",
            "`torch.cat` takes a list of tensors and the axis along which they are joined.",
        ],
    ),
    Exercise(
        name="unet_forward",
        lesson=LESSON,
        summary="Walk down the U and keep the maps, walk up and hand each one over",
        minutes=10,
        difficulty=2,
        reference=truth.unet_forward,
        cases=truth.forward_cases,
        picture=compare_maps,
        mistakes=[
            Mistake(
                "finest skip handed out first",
                "You hand the skips out in the order in which they were made. The first step up starts at the bottom "
                "and needs the last one that was made: last in, first out.",
                wrong=truth.finest_first,
            ),
            Mistake(
                "bottom kept as a skip",
                "You kept the map at the bottom too, and so every step up gets the map one level too deep. The bottom "
                "is where the way up starts; it crosses no bridge.",
                wrong=truth.bottom_kept,
            ),
            Mistake(
                "the picture for a skip",
                "Your finest skip is the picture itself. It is the map that `top` made of it.",
                wrong=truth.picture_as_skip,
            ),
            Mistake(
                "always the finest skip",
                "Every step up got the finest map. Each needs the one of its own level.",
                wrong=truth.always_the_finest,
            ),
            Mistake(
                "always the coarsest skip",
                "Every step up got the same, coarsest skip. Each needs the one of its own level.",
                wrong=truth.always_the_coarsest,
            ),
            Mistake(
                "skip and map swapped",
                "You called `up(skip, below)`. First comes the map from below, then the skip.",
                wrong=truth.swapped_arguments,
            ),
            Mistake(
                "always from the bottom",
                "Every step up starts from the bottom again. It goes on from what the step before it made.",
                wrong=truth.always_from_the_bottom,
            ),
            Mistake(
                "ups in reverse",
                "You went through `ups` backwards. They are given in the order of the walk: the one next to the bottom "
                "is first.",
                wrong=truth.ups_reversed,
            ),
            Mistake(
                "top forgotten",
                "`top` was never called: the walk starts with `top(x)`.",
                wrong=truth.no_top,
            ),
            Mistake(
                "never went up",
                "You returned the map at the bottom. The way up is missing.",
                wrong=truth.stays_below,
            ),
        ],
        hints=[
            "Keep a list. Before each step down, put the map on it.",
            "How many maps are on your list when you reach the bottom? There should be as many as there are `ups`.",
            "A list has a method that takes its last entry off and returns it.",
        ],
    ),
    Exercise(
        name="unpadded_size",
        lesson=LESSON,
        summary="The side of the result of a U-Net without padding",
        minutes=6,
        difficulty=1,
        reference=truth.unpadded_size,
        cases=truth.size_cases,
        mistakes=[
            Mistake(
                "2 lost per level for 4",
                "You take 2 off on each level. A 3×3 convolution without padding loses one cell on *both* sides, and "
                "there are two of them: 4.",
                wrong=truth.one_conv_a_level,
            ),
            Mistake(
                "bottom forgotten",
                "The two convolutions at the bottom lose 4 cells too.",
                wrong=truth.bottom_forgotten,
            ),
            Mistake(
                "way up loses nothing",
                "On the way up each level has two convolutions as well: 4 cells after each doubling.",
                wrong=truth.way_up_forgotten,
            ),
            Mistake(
                "way down loses nothing",
                "You only halve on the way down. Before each halving, two convolutions take 4 cells.",
                wrong=truth.way_down_forgotten,
            ),
            Mistake(
                "halved before the convolutions",
                "On the way down the convolutions of a level come first, then the halving. You did it the other way "
                "round.",
                wrong=truth.pooled_first,
            ),
            Mistake(
                "cut before doubling",
                "On the way up the map is doubled first, and then loses 4 cells. You took them off first, and doubled "
                "the loss.",
                wrong=truth.cut_before_doubling,
            ),
            Mistake(
                "rounded down",
                "Where a side is odd, its last row makes a cell of its own: half of 9 is 5 here.",
                wrong=truth.rounded_down,
            ),
            Mistake(
                "half cells counted",
                "You let a side become 11.5 cells on the way. There are no half cells: odd sides are rounded up at each "
                "halving, not at the end.",
                wrong=truth.half_cells,
            ),
        ],
        hints=[
            "Follow the first level with a pencil: 572, then after two convolutions?",
            "Three parts: a loop down, the bottom, a loop up. Which numbers does the paper's figure show for each?",
            "Rounding up in whole numbers: `(n + 1) // 2`.",
        ],
    ),
    Exercise(
        name="dice_loss",
        lesson=LESSON,
        summary="One minus the overlap of answer and truth, class by class, averaged",
        minutes=12,
        difficulty=3,
        reference=truth.dice_loss,
        cases=truth.dice_cases,
        mistakes=[
            Mistake(
                "similarity for loss",
                "Your number grows when the answer gets better. A loss must fall: take it from 1.",
                wrong=truth.similarity,
            ),
            Mistake(
                "scores not made probabilities",
                "The overlap is counted in probabilities. Yours is counted in raw scores.",
                wrong=truth.raw_scores,
            ),
            Mistake(
                "sigmoid for softmax",
                "You treated each class by itself (sigmoid). The classes of a pixel compete: their probabilities add "
                "up to 1.",
                wrong=truth.sigmoid_for_softmax,
            ),
            Mistake(
                "softmax over the columns",
                "Your probabilities add up to 1 along each row of the picture. They should along the classes: axis 1.",
                wrong=truth.softmax_over_columns,
            ),
            Mistake(
                "softmax over the pictures",
                "Your probabilities add up to 1 over the pictures of the batch. They should over the classes: axis 1.",
                wrong=truth.softmax_over_pictures,
            ),
            Mistake(
                "argmax has no slope",
                "You counted hard answers. A tiny change of a score does not change an argmax, so there is no gradient "
                "to learn from.",
                wrong=truth.hard_answers,
            ),
            Mistake(
                "factor 2 forgotten",
                "A perfect answer should lose nothing, but the pixels in both sets are counted twice below the line "
                "and once above it.",
                wrong=truth.two_forgotten,
            ),
            Mistake(
                "the 1 forgotten",
                "The 1 above and below the line is missing. It keeps the score of tiny things from jumping.",
                wrong=truth.smooth_forgotten,
            ),
            Mistake(
                "probabilities not squared",
                "Below the line you added p, not p². Many do; then a half-sure answer is punished more. This course "
                "takes the squares, as the V-Net paper did.",
                wrong=truth.no_squares,
            ),
            Mistake(
                "absent classes counted",
                "You averaged over all classes, also over those that no pixel of the batch has. There is nothing of "
                "them to be found.",
                wrong=truth.absent_counted,
            ),
            Mistake(
                "all classes in one sum",
                "You counted the overlap of all classes together. Then the class with the most pixels rules again. One "
                "overlap for each class, and then their mean.",
                wrong=truth.all_in_one,
            ),
            Mistake(
                "picture by picture",
                "You took one overlap for each picture and class. The sums go over the whole batch: axes 0, 2 and 3.",
                wrong=truth.picture_by_picture,
            ),
            Mistake(
                "first class left out",
                "You left class 0 out, as some do with background. Here every class counts.",
                wrong=truth.without_first_class,
            ),
            Mistake(
                "class 1 only",
                "You took the overlap of class 1 alone. Every class that is there counts, background too, and there may be "
                "more than two.",
                when=truth.looks_at_class_one_only,
            ),
        ],
        hints=[
            "First the probabilities p, (B, K, H, W), then the truth g in the same shape: 1 at the true class, else 0.",
            "`F.one_hot` puts the classes last; the map has them second. `movedim` moves an axis.",
            "Summing over axes (0, 2, 3) leaves one number for each class. Pick the classes with Σ g above 0.",
        ],
    ),
]
