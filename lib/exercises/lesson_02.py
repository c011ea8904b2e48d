"""The exercises of lesson 02: the bilinear kernel, transposed convolution in two ways, its size, resize and convolve."""

from lib.exercises import truths_02 as truth
from lib.exercises.exercise import Exercise, Mistake
from lib.exercises.pictures import compare_maps
from lib.ops import upsampling

LESSON = "02_upsampling"


def size_without_output_padding(size: int, kernel: int, stride: int, padding: int) -> int:
    """`lib.ops.upsampling.transposed_size` with the four numbers that lesson 02 asks for."""
    return upsampling.transposed_size(size, kernel, stride, padding)


EXERCISES = [
    Exercise(
        name="bilinear_kernel",
        lesson=LESSON,
        summary="The weights with which a cell spreads over the pixels in bilinear upsampling",
        minutes=10,
        difficulty=2,
        reference=upsampling.bilinear_kernel,
        cases=truth.kernel_cases,
        picture=compare_maps,
        mistakes=[
            Mistake(
                "middle on a pixel",
                "Your tent has its tip on a pixel also where the kernel has an even side: it is one pixel longer on one"
                " side. The middle of four pixels lies between the second and the third.",
                wrong=truth.middle_on_a_pixel,
            ),
            Mistake(
                "an odd side for every factor",
                "Your kernel has the side 2 · factor − 1 for every factor. For an even factor no pixel lies at a cell's"
                " middle, so the side is even: 2 · factor.",
                wrong=truth.always_odd,
            ),
            Mistake(
                "an even side for every factor",
                "Your kernel has the side 2 · factor for every factor. For an odd factor one pixel lies right at the "
                "cell's middle, so the side is odd: 2 · factor − 1.",
                wrong=truth.always_even,
            ),
            Mistake(
                "weights of row and column added",
                "In the plane the weight of the row and the weight of the column are multiplied. Added, the corners "
                "are far too heavy.",
                wrong=truth.sum_of_weights,
            ),
            Mistake(
                "made to sum to 1",
                "You divided by the sum. A pixel gets its share from several cells, and it is *those* shares that sum "
                "to 1. What one cell gives away sums to factor².",
                wrong=truth.sums_to_one,
            ),
            Mistake(
                "only one axis",
                "That is the tent along one axis: (k,). The kernel is the product of two of them: (k, k).",
                wrong=truth.one_axis_only,
            ),
        ],
        hints=[
            "Start with one axis: k weights that rise and fall in a straight line.",
            "The weight of pixel i depends only on its distance from the kernel's middle, which is at (k − 1) / 2.",
            "At distance 0 the weight is 1, and at a distance of `factor` it would be 0.",
        ],
    ),
    Exercise(
        name="transposed_conv_scatter",
        lesson=LESSON,
        summary="A transposed convolution by stamping",
        minutes=12,
        difficulty=2,
        reference=truth.scatter,
        cases=truth.transposed_cases,
        picture=compare_maps,
        mistakes=[
            Mistake(
                "stamps replace each other",
                "Where stamps overlap, your last one wins. They must be added: `+=`, not `=`.",
                wrong=truth.stamped_over,
            ),
            Mistake(
                "channels taken the other way round",
                "`weight` is (channels in, channels out, k, k) here. You read it as an ordinary convolution's, output "
                "first. With as many channels out as in, no shape warns you.",
                wrong=truth.stamped_outputs_first,
            ),
            Mistake(
                "stamp turned by half a turn",
                "Your stamps are upside down and left to right. Stamping uses the kernel as it is; only the gathering "
                "view turns it.",
                wrong=truth.stamp_turned,
            ),
            Mistake(
                "rows and columns of the stamp swapped",
                "Your stamps are mirrored at the diagonal.",
                wrong=truth.stamp_transposed,
            ),
            Mistake(
                "stride ignored", "Your stamps start one pixel apart whatever the stride.", wrong=truth.stride_ignored
            ),
            Mistake(
                "room for one stamp too many",
                "The numbers are right, but there is an empty strip at the right and at the bottom. The first stamp "
                "needs k pixels; only each further one needs `stride` more.",
                wrong=truth.one_stride_too_large,
            ),
        ],
        hints=[
            "Make a map of zeros that is large enough, then visit every cell and add its stamp.",
            "The stamp of cell (row, column) starts at (row · stride, column · stride).",
            (
                "The numbers of a cell are (B, C), the stamps (C, K, k, k). Sum over C: `torch.einsum` wants the axes"
                " by name."
            ),
        ],
    ),
    Exercise(
        name="transposed_size",
        lesson=LESSON,
        summary="How many pixels come out of a transposed convolution",
        minutes=6,
        difficulty=1,
        reference=size_without_output_padding,
        cases=truth.size_cases,
        mistakes=[
            Mistake(
                "one stride too many",
                "You counted one move for every cell. Between n stamps there are n − 1 moves.",
                wrong=lambda size, kernel, stride, padding: size * stride + kernel - 2 * padding,
            ),
            Mistake(
                "padding added",
                "In a transposed convolution padding is cut off, not added.",
                wrong=lambda size, kernel, stride, padding: (size - 1) * stride + kernel + 2 * padding,
            ),
            Mistake(
                "padding counted once",
                "Padding is cut off at both ends.",
                wrong=lambda size, kernel, stride, padding: (size - 1) * stride + kernel - padding,
            ),
            Mistake(
                "padding forgotten",
                "Right without padding. What is cut off?",
                wrong=lambda size, kernel, stride, padding: (size - 1) * stride + kernel,
            ),
            Mistake(
                "kernel forgotten",
                "You multiplied by the stride and nothing else. That is right only where kernel − 2 · padding happens"
                " to be the stride.",
                wrong=lambda size, kernel, stride, padding: size * stride,
            ),
            Mistake(
                "the size of an ordinary convolution",
                "That is how large a *convolution* makes it. Here the map grows.",
                wrong=lambda size, kernel, stride, padding: (size + 2 * padding - kernel) // stride + 1,
            ),
        ],
        hints=[
            "One cell alone gives `kernel` pixels. Two cells give how many?",
            "Each further cell adds one stride.",
            "At the end, `padding` pixels are cut off at each of the two ends.",
        ],
    ),
    Exercise(
        name="transposed_conv_zero_insertion",
        lesson=LESSON,
        summary="A transposed convolution as an ordinary one on a map with zeros in between",
        minutes=12,
        difficulty=3,
        reference=truth.zero_insertion,
        cases=truth.transposed_cases,
        picture=compare_maps,
        mistakes=[
            Mistake(
                "kernel not turned",
                "Your result is that of stamps turned by half a turn. Seen from a pixel, the cells on its left give the"
                " right part of their stamp: gathering needs the kernel turned, in both directions.",
                wrong=truth.stamp_turned,
            ),
            Mistake(
                "kernel turned in one direction only",
                "The kernel must be turned by half a turn: upside down *and* left to right.",
                wrong=lambda x, weight, stride: truth.by_torch(x, weight.flip(3), stride),
            ),
            Mistake(
                "kernel transposed instead of turned",
                "Swapping rows and columns mirrors the kernel at its diagonal. It must be turned by half a turn.",
                wrong=lambda x, weight, stride: truth.by_torch(x, weight.flip(2, 3).transpose(2, 3), stride),
            ),
            Mistake(
                "channels taken the other way round",
                "`weight` is (channels in, channels out, k, k), and `F.conv2d` wants the outputs first.",
                wrong=truth.channels_taken_the_other_way,
            ),
            Mistake(
                "too little room at the rim",
                "Your result is too small: it keeps only places where the kernel's middle lies on the map. A stamp "
                "reaches further out; every place counts where the kernel touches the map with a single corner.",
                wrong=truth.no_room_at_the_rim,
            ),
            Mistake(
                "zeros after the last cell",
                "There are zeros behind the last row and column, so the result is too large. They belong *between*"
                " cells.",
                wrong=truth.zeros_after_the_last,
            ),
            Mistake(
                "one zero too many",
                "You put `stride` zeros between neighbours. With `stride − 1` of them, they are `stride` apart.",
                wrong=truth.stride_zeros_between,
            ),
            Mistake("no zeros inserted", "Your result does not depend on the stride.", wrong=truth.stride_ignored),
        ],
        hints=[
            (
                "Make a map of zeros, and write x into every `stride`-th row and column: `zeros[:, :, ::stride,"
                " ::stride] = x`."
            ),
            "The kernel needs two changes: turned by half a turn (`flip`), and its first two axes swapped.",
            "How far outside of the map can the kernel's middle be while the kernel still touches it?",
        ],
    ),
    Exercise(
        name="resize_convolution",
        lesson=LESSON,
        summary="Make the map larger by copying, then convolve it",
        minutes=6,
        difficulty=1,
        reference=truth.resize_convolution,
        cases=truth.resize_cases,
        picture=compare_maps,
        mistakes=[
            Mistake(
                "convolved before resizing",
                "You convolved the small map and copied the result: it has blocks. Resize first, so that the"
                " convolution can smooth them.",
                wrong=truth.convolved_first,
            ),
            Mistake(
                "bilinear instead of nearest",
                "That works too, but the task asks for copying: nearest neighbour.",
                wrong=truth.mixed_not_copied,
            ),
            Mistake(
                "no padding",
                "The convolution eats the rim: the result is k − 1 pixels too small.",
                wrong=truth.no_padding,
            ),
            Mistake(
                "padding 1 for every kernel",
                "Right for a kernel of 3. The padding that keeps the size depends on the kernel.",
                wrong=truth.padding_one,
            ),
            Mistake(
                "a transposed convolution",
                "That is a transposed convolution, with its checkerboard. Here two steps are wanted: copy, then"
                " convolve.",
                wrong=truth.transposed_instead,
            ),
        ],
        hints=[
            '`F.interpolate` with `mode="nearest"` copies.',
            "Then one call of `F.conv2d`. A kernel of k loses k − 1 pixels in all; pad half of that at each side.",
        ],
    ),
]
