"""The exercises of lesson 03: how to score a segmentation, the loss of every pixel, and the fusion of FCN-8s."""

from functools import partial

from lib.exercises import truths_03 as truth
from lib.exercises.exercise import Exercise, Mistake
from lib.exercises.pictures import compare_maps
from lib.ops import segmentation_metrics as metrics

LESSON = "03_fcn_skips"
COUNTS_WANTED = (
    "Return counts. Shares are easy to get from them later, but the shares of two batches cannot be added, and counts "
    "can."
)
LAYER_UNUSED = (
    "The sizes are right, but `upscore` was not used. It starts as bilinear interpolation, and goes on learning: its "
    "weights count."
)

EXERCISES = [
    Exercise(
        name="confusion_matrix",
        lesson=LESSON,
        summary="Count how many pixels of each true class were taken for each class",
        minutes=8,
        difficulty=2,
        reference=metrics.confusion_matrix,
        cases=truth.confusion_cases,
        picture=compare_maps,
        mistakes=[
            Mistake(
                "rows and columns swapped",
                "Your matrix is ours turned over: a row should hold the pixels of one *true* class, and a column those "
                "of one *predicted* class.",
                wrong=truth.swapped,
            ),
            Mistake(
                "ignored pixels counted",
                "A pixel whose truth is 255 belongs to no class, and must be left out before anything is counted. (As "
                "a number, 255 points far beyond a matrix of a few rows.)",
                wrong=truth.ignored_counted,
            ),
            Mistake(
                "ignored pixels taken for class 0",
                "The first row holds too many pixels: those that should be ignored are in it. Class 0 is a class like "
                "any other.",
                wrong=truth.ignored_as_background,
            ),
            Mistake(
                "last classes missing",
                "`bincount` counts up to the largest number that it meets. Where the last classes do not occur, "
                "there is less than a whole matrix. Look for its argument `minlength`.",
                wrong=truth.minlength_forgotten,
            ),
            Mistake(
                "each pair counted once",
                "Your matrix says which pairs of classes occur, not how often. `matrix[truth, guess] += 1` with lists "
                "of indices adds 1 only once where the same place is named many times.",
                wrong=truth.counted_once,
            ),
            Mistake("shares for counts", COUNTS_WANTED, wrong=truth.shares),
            Mistake("shares of each row", COUNTS_WANTED, wrong=truth.shares_of_rows),
        ],
        hints=[
            "Which pixels count? Make a mask of them, and pick `predicted` and `target` with it: two lists of equal "
            "length remain.",
            "Give each of the K · K pairs (truth, prediction) a number of its own, row by row, as a matrix is stored.",
            "`torch.bincount` counts how often each number occurs; `minlength` makes it count up to K · K.",
        ],
    ),
    Exercise(
        name="mean_iou",
        lesson=LESSON,
        summary="The mean intersection over union of all classes, from their confusion matrix",
        minutes=8,
        difficulty=2,
        reference=metrics.mean_iou,
        cases=truth.iou_cases,
        mistakes=[
            Mistake(
                "overlap counted twice",
                "The right pixels lie in the truth *and* in the prediction. In row + column they are counted twice; "
                "the union holds them once.",
                when=truth.is_mean_of(lambda right, true, guess: right / (true + guess)),
            ),
            Mistake(
                "Dice for IoU",
                "2 · right / (true + predicted) is the Dice score. It rises and falls with IoU, but is never smaller.",
                when=truth.is_mean_of(lambda right, true, guess: 2 * right / (true + guess)),
            ),
            Mistake(
                "divided by the true pixels only",
                "You divide by all pixels *of* the class. A network that calls everything a box would get a full score "
                "for boxes. The union also holds what was wrongly *called* a box.",
                when=truth.is_mean_of(lambda right, true, guess: right / true),
            ),
            Mistake(
                "divided by the predicted pixels only",
                "You divide by all pixels *called* the class. A network that calls one single pixel a box, and is "
                "right, would get a full score. The union also holds the boxes that it missed.",
                when=truth.is_mean_of(lambda right, true, guess: right / guess),
            ),
            Mistake(
                "absent class counted as 0",
                "A class that is neither in the truth nor predicted was not got wrong: there was nothing to get. Leave "
                "it out of the mean.",
                wrong=truth.absent_is_zero,
            ),
            Mistake(
                "absent class counted as 1",
                "A class that is neither in the truth nor predicted earns nothing. Leave it out of the mean.",
                wrong=truth.absent_is_one,
            ),
            Mistake(
                "absent class gives NaN",
                "A class that occurs nowhere has 0 / 0, which is NaN, and so is every mean with a NaN in it. There is "
                "a mean that passes over NaNs.",
                wrong=truth.absent_is_nan,
            ),
            Mistake(
                "wrongly predicted class left out",
                "A class that is not in the truth but *was* predicted has a union of some pixels and an overlap of "
                "none: its IoU is 0, and it counts.",
                wrong=truth.only_true_classes,
            ),
            Mistake(
                "all classes thrown together",
                "You added up the pixels of all classes before dividing, so that the sky decides. Divide first, for "
                "each class, then take the mean.",
                wrong=truth.all_classes_in_one,
            ),
            Mistake(
                "weighted by size",
                "Your mean gives large classes more weight. In mIoU a class of 20 pixels counts as much as the sky.",
                wrong=truth.weighted_by_size,
            ),
        ],
        hints=[
            "Three numbers per class: right ones on the diagonal, true ones along its row, predicted ones down its "
            "column.",
            "Union = true + predicted − what was counted twice.",
            "0 / 0 marks a class that is not there at all. `nanmean` passes over it; 0 / 5 is a real zero.",
        ],
    ),
    Exercise(
        name="pixel_loss",
        lesson=LESSON,
        summary="The mean cross entropy of all pixels that count",
        minutes=10,
        difficulty=2,
        reference=truth.pixel_loss,
        cases=truth.loss_cases,
        mistakes=[
            Mistake(
                "ignored pixels looked up",
                "A pixel with truth 255 has no score to be looked up: there are only K classes. Such pixels must go, "
                "or be given some harmless class and left out of the mean.",
                wrong=truth.looked_up_255,
            ),
            Mistake(
                "softmax over the batch",
                "The probabilities of one pixel over the *classes* should add up to 1. Yours add up over the pictures. "
                "Which axis of (B, K, H, W) holds the classes?",
                wrong=partial(truth.softmax_along, 0),
            ),
            Mistake(
                "softmax over the columns",
                "The probabilities of one pixel over the *classes* should add up to 1. Yours add up along the last "
                "axis, the columns of the picture.",
                wrong=partial(truth.softmax_along, -1),
            ),
            Mistake(
                "log forgotten",
                "You average the probability of the true class. Its logarithm makes a confident mistake expensive.",
                wrong=truth.no_log,
            ),
            Mistake(
                "1 − p for −log p",
                "1 − p is never more than 1. The loss of the paper is −log p, which grows without end as p goes to 0.",
                wrong=truth.one_minus_probability,
            ),
            Mistake(
                "softmax forgotten",
                "You average raw scores of the true class. Scores mean something only next to those of the other "
                "classes: turn them into (log) probabilities first.",
                wrong=truth.not_normalised,
            ),
            Mistake(
                "sum instead of mean",
                "A sum grows with the picture; the learning rate would have to change with the size of the input.",
                wrong=truth.summed,
            ),
            Mistake(
                "ignored pixels taken for class 0",
                "Pixels with truth 255 are taken for class 0 in your mean, so the network would learn something false.",
                wrong=truth.taken_for_class_0,
            ),
            Mistake(
                "ignored pixels taken for the last class",
                "Pixels with truth 255 are taken for the last class in your mean, so the network would learn something "
                "false.",
                wrong=truth.taken_for_last_class,
            ),
            Mistake(
                "divided by all pixels",
                "Ignored pixels add nothing to your sum, but you still divide by all pixels. Divide by those that "
                "count.",
                wrong=truth.divided_by_all,
            ),
            Mistake(
                "averaged picture by picture",
                "You take the mean of each picture and then the mean of the pictures. So a pixel counts more in a "
                "picture where few others count. All counted pixels of the batch should weigh the same.",
                wrong=truth.picture_by_picture,
            ),
        ],
        hints=[
            "`log_softmax` along the axis of the classes gives log p of every class at every pixel, and stays finite "
            "where exp would overflow.",
            "Move the classes to the end, `(B, H, W, K)`; then a mask (B, H, W) picks the pixels that count: (N, K).",
            "From N rows take one number each, in the column that the truth names: `gather`, or indexing with two "
            "lists.",
        ],
    ),
    Exercise(
        name="fuse_scores",
        lesson=LESSON,
        summary="Bring coarse scores to the size of finer ones, and add the two",
        minutes=5,
        difficulty=1,
        reference=truth.fuse_scores,
        cases=truth.fuse_cases,
        picture=compare_maps,
        mistakes=[
            Mistake(
                "concatenated",
                "Your result has twice as many numbers: both maps are in it, one behind the other. Both speak of the "
                "same classes in the same order; add them.",
                when=lambda got, expected, case: got.numel() == 2 * expected.numel(),
            ),
            Mistake(
                "averaged",
                "You take the mean of the two. The paper takes the sum: the finer layer learns what is to be *added*.",
                wrong=lambda coarse, fine, upscore: (upscore(coarse) + fine) / 2,
            ),
            Mistake(
                "fine scores made small",
                "Your result is as small as the coarse map: the fine scores were shrunk. Then their detail is gone. "
                "Make the coarse map large instead.",
                wrong=truth.shrunk,
            ),
            Mistake(
                "the wrong map enlarged",
                "You enlarge the fine scores, which already have the right size. The coarse ones have to grow.",
                wrong=truth.fine_enlarged,
            ),
            Mistake(
                "added before enlarging",
                "You shrink the fine scores, add, and enlarge the sum: nothing finer than the coarse cells is left.",
                wrong=truth.added_first,
            ),
            Mistake("plain interpolation", LAYER_UNUSED, wrong=truth.interpolated),
            Mistake("plain copies", LAYER_UNUSED, wrong=truth.copied),
            Mistake(
                "fine scores forgotten",
                "You return the enlarged coarse scores alone.",
                wrong=lambda coarse, fine, upscore: upscore(coarse),
            ),
            Mistake(
                "subtracted",
                "The fine scores are subtracted in your result.",
                wrong=lambda coarse, fine, upscore: upscore(coarse) - fine,
            ),
        ],
        hints=[
            "Print the shapes of both maps, and of `upscore(coarse)`.",
            "Same shape, same classes, same places: what is the simplest way to let both have their say?",
        ],
    ),
    Exercise(
        name="fcn_8s_scores",
        lesson=LESSON,
        summary="The scores of every pixel, from the three maps of a backbone: the whole of FCN-8s",
        minutes=12,
        difficulty=3,
        reference=truth.fcn_8s_scores,
        cases=truth.fcn_cases,
        picture=compare_maps,
        mistakes=[
            Mistake(
                "not cut to size",
                "Your scores still cover the padding. Cut them to `height` rows and `width` columns.",
                wrong=truth.not_cut,
            ),
            Mistake(
                "resized instead of cut",
                "You squeeze the scores of the padded picture into the size of the picture, so every thing moves "
                "towards the top left. The padding has to be cut off.",
                wrong=truth.resized,
            ),
            Mistake(
                "cut at the wrong side",
                "The padding was added at the right and at the bottom. You cut off the left and the top.",
                wrong=truth.cut_at_the_start,
            ),
            Mistake(
                "cut on all sides",
                "You keep the middle. That is what the paper does, where 100 pixels are added on all sides; here they "
                "were added at the right and at the bottom only.",
                wrong=truth.cut_on_all_sides,
            ),
            Mistake(
                "height and width swapped",
                "You cut to `width` rows and `height` columns. Rows come first: (B, K, H, W).",
                wrong=truth.rows_for_columns,
            ),
            Mistake(
                "pool3 left out",
                "The scores of pool3 have no part in your result: this is FCN-16s, enlarged to the end.",
                wrong=truth.without_pool3,
            ),
            Mistake(
                "pool4 left out",
                "The scores of pool4 have no part in your result.",
                wrong=truth.without_pool4,
            ),
            Mistake(
                "one upsampling layer used twice",
                "`upscore2` does both of your doublings. Each has a layer, and so weights, of its own: see the list in "
                "the task.",
                wrong=truth.one_layer_twice,
            ),
            Mistake(
                "pool3 and pool4 swapped",
                "pool3 is the *finer* map. From deep to shallow: fc7, then pool4, then pool3.",
                wrong=truth.maps_swapped,
            ),
            Mistake(
                "the last layer not used",
                "The last step, by 8, has a layer of its own too: `net.upscore`. Use it, and not an interpolation: the "
                "weights of your net and of ours are not bilinear here.",
                wrong=truth.last_by_interpolation,
            ),
        ],
        hints=[
            "Begin with the coarsest: `net.score_fr` turns fc7 into scores. With what are they fused, and at which "
            "stride are you then?",
            "Two calls of `fuse_scores`, then the last upsampling, then the cut.",
            "Padding at the right and bottom leaves pixel (0, 0) where it was: which rows and columns are to stay?",
        ],
    ),
]
