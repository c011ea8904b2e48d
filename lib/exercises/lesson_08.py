"""The exercises of lesson 08: anchors, matching, decoding, the filter of proposals, the loss of the first stage."""

from lib.exercises import truths_08 as truth
from lib.exercises.exercise import Exercise, Mistake

LESSON = "08_faster_rcnn"

EXERCISES = [
    Exercise(
        name="make_anchors",
        lesson=LESSON,
        summary="Boxes of a few sizes and shapes at every place of a map",
        minutes=15,
        difficulty=3,
        reference=truth.make_anchors,
        cases=truth.anchor_cases,
        mistakes=[
            Mistake(
                "x and y swapped",
                "Your anchors run down where they should run to the right. A *column* of the map is an x, a *row* is a"
                " y, and a box is x first.",
                wrong=truth.x_and_y_swapped,
            ),
            Mistake(
                "ratio upside down",
                "A ratio of 2 makes your anchors wide. A ratio is height / width: 2 is tall.",
                wrong=truth.ratios_inverted,
            ),
            Mistake(
                "area not kept",
                "Your anchors keep their width and change their height. All anchors of size s have the area s²: what is"
                " taller must be narrower.",
                wrong=truth.area_not_kept,
            ),
            Mistake(
                "ratio without a root",
                "Your heights are s · r and your widths s / r, so that height / width is r². Both want the *root*"
                " of r.",
                wrong=truth.ratio_without_root,
            ),
            Mistake(
                "in the middle of the cells",
                "Your anchors are half a stride too far to the right and down. Sensible, but this course follows the"
                " paper's code: cell (row, column) stands for the point (column · stride, row · stride).",
                wrong=truth.in_the_middle_of_cells,
            ),
            Mistake(
                "stride forgotten",
                "Your anchors stand one pixel apart. One cell further is `stride` pixels further.",
                wrong=truth.stride_forgotten,
            ),
            Mistake(
                "anchors before cells",
                "All the right boxes, in another order: yours goes through all places with the first anchor, then with "
                "the second. Asked is place by place, with all anchors of a place in a row.",
                wrong=truth.anchors_before_cells,
            ),
            Mistake(
                "column by column",
                "All the right boxes, in another order: yours goes down the first column first. Asked is row by row.",
                wrong=truth.column_by_column,
            ),
            Mistake(
                "ratios of each size",
                "At each place you list all ratios of the first size, then of the second. Asked are all *sizes* of the"
                " first *ratio* first.",
                wrong=truth.ratios_of_each_size,
            ),
            Mistake(
                "not rounded",
                "Right but for fractions of a pixel. Round the four numbers around (0, 0) to whole pixels, as the"
                " paper's code did.",
                wrong=truth.not_rounded,
            ),
            Mistake(
                "twice too large",
                "Your anchors reach a whole width to the left and to the right of their middle. Half of it is enough.",
                wrong=truth.twice_as_large,
            ),
            Mistake(
                "corner at the place",
                "The left upper corner of your anchors lies at the place. Their *middle* should.",
                wrong=truth.corner_at_the_place,
            ),
            Mistake(
                "other places",
                "The widths and heights of your anchors are right, their middles are not. Print both for the input"
                " below.",
                when=truth.only_places_differ,
            ),
            Mistake(
                "other sizes",
                "The middles of your anchors are right, their widths and heights are not. Print both for the input"
                " below, and w · h and h / w.",
                when=truth.only_sizes_differ,
            ),
        ],
        hints=[
            "Two steps: the A anchors around the point (0, 0); then the same, moved to every place.",
            "Around (0, 0) an anchor is (−w/2, −h/2, w/2, h/2). Check w · h and h / w by hand.",
            (
                "A place adds (x, y, x, y). Shapes (places, 1, 4) and (1, A, 4) add up to (places, A, 4), and `reshape`"
                " then keeps all anchors of a place together."
            ),
        ],
    ),
    Exercise(
        name="match_anchors",
        lesson=LESSON,
        summary="Which object an anchor must find: one of them, none, or no opinion",
        minutes=12,
        difficulty=2,
        reference=truth.match_anchors,
        cases=truth.match_cases,
        mistakes=[
            Mistake(
                "no anchor for small objects",
                "The last rule is missing. An object that no anchor reaches with `high` has no positive at all, so"
                " nobody ever learns to find it. Its best anchor must be positive, whatever the overlap.",
                wrong=truth.without_rescue,
            ),
            Mistake(
                "ignored became background",
                "Anchors between `low` and `high` are too close to call. As background, they would teach the network"
                " that half an object is nothing. They get −2.",
                wrong=truth.ignored_is_background,
            ),
            Mistake(
                "−1 and −2 swapped", "Background is −1, and what is to be ignored is −2.", wrong=truth.names_swapped
            ),
            Mistake(
                "one of two equally good anchors",
                "Where two anchors overlap an object equally and best, you took the first only. `argmax` gives one; ask"
                " which entries are equal to the highest.",
                wrong=truth.first_of_a_tie,
            ),
            Mistake(
                "stolen from another object",
                "In the crowd, your last rule gives an anchor to the object that has no better one, although the anchor"
                " overlaps another object more. A rescued anchor belongs to the object that *it* overlaps most.",
                wrong=truth.given_to_who_asked,
            ),
            Mistake(
                "exactly high is not enough", "An overlap of exactly `high` is positive.", wrong=truth.more_than_high
            ),
            Mistake(
                "exactly low is background",
                "An overlap of exactly `low` is no background: only what is *below* `low` is.",
                wrong=truth.low_is_background,
            ),
            Mistake(
                "thresholds not used",
                "Every one of your anchors belongs to an object. Most of them see nothing but ground.",
                wrong=truth.without_thresholds,
            ),
            Mistake(
                "one anchor for each object",
                "You went through the objects and asked for their best anchor: (M,). The result has one number for each"
                " *anchor*. Which axis are the anchors on?",
                wrong=truth.one_for_each_object,
            ),
            Mistake(
                "rescued by nothing",
                "An object that no anchor touches has 0 as its highest overlap, and so your last rule took every anchor"
                " with an overlap of 0. The rule wants an overlap above 0.",
                wrong=truth.rescued_by_nothing,
            ),
            Mistake(
                "objects counted from 1",
                "You count the objects from 1. The answer is the row in `iou`, from 0.",
                wrong=truth.numbered_from_one,
            ),
        ],
        hints=[
            "`iou.max(dim=0)` gives two things for each anchor: its highest overlap, and with which object.",
            (
                "Begin with the object of every anchor, then write −2 where the overlap is below `high`, then −1 where"
                " it is below `low`."
            ),
            (
                "For the last rule compare all of `iou` with the highest number of each row, kept as a column"
                " (`keepdim=True`). Do it last."
            ),
            "`max` fails for an empty axis. Without objects, what is every anchor?",
        ],
    ),
    Exercise(
        name="decode_boxes",
        lesson=LESSON,
        summary="Move anchors by what the network says",
        minutes=10,
        difficulty=2,
        reference=truth.decode_boxes,
        cases=truth.decode_cases,
        mistakes=[
            Mistake(
                "exp forgotten",
                "You multiplied the sides by tw and th themselves. They are logarithms: 0 means *as it is*, and your"
                " box has no size there.",
                when=truth.exp_forgotten,
            ),
            Mistake(
                "1 + t instead of exp",
                "Nearly right for small numbers. tw is the logarithm of new width / old width.",
                when=truth.plus_one_instead_of_exp,
            ),
            Mistake(
                "moved by pixels",
                "You moved the middle by tx pixels. tx counts in widths of the anchor, ty in heights.",
                wrong=truth.moved_by_pixels,
            ),
            Mistake(
                "corner taken for the middle",
                "You moved the left upper corner as if it were the middle. Take the middle of the anchor.",
                wrong=truth.from_the_corner,
            ),
            Mistake(
                "no limit",
                "For tw = 9 your box is 8,103 times as wide as the anchor, and a little more makes it infinite. Believe"
                " at most log(1000 / 16) of tw and th.",
                wrong=truth.without_limit,
            ),
            Mistake(
                "middle and size returned",
                "You return middle, width and height. A box is xyxy in this course.",
                wrong=truth.left_as_middle_and_size,
            ),
            Mistake(
                "corner and size returned",
                "Your last two numbers are width and height. A box is xyxy in this course.",
                wrong=truth.corner_and_size,
            ),
            Mistake(
                "twice too large",
                "You went a whole width to both sides of the middle. Half of it is enough.",
                wrong=truth.halves_forgotten,
            ),
            Mistake(
                "moved in units of the new size",
                "You used the new width and height to move the middle. tx and ty count in sides of the *anchor*.",
                wrong=truth.moved_by_new_size,
            ),
            Mistake(
                "width and height swapped",
                "tx counts in widths, ty in heights. With square anchors nobody would notice.",
                wrong=truth.width_and_height_swapped,
            ),
            Mistake("size not changed", "Your boxes are moved, but keep their size.", wrong=truth.only_moved),
        ],
        hints=[
            "First turn the anchor into middle and size, then move, then turn back.",
            "What must come out for (0, 0, 0, 0)? And for (1, 0, 0, 0)?",
            "`tensor.clamp(max=...)` limits tw and th, before `exp`.",
        ],
    ),
    Exercise(
        name="filter_proposals",
        lesson=LESSON,
        summary="From a thousand moved anchors to a handful of proposals",
        minutes=10,
        difficulty=2,
        reference=truth.filter_proposals,
        cases=truth.filter_cases,
        mistakes=[
            Mistake("not clipped", "Some of your boxes reach out of the picture.", wrong=truth.not_clipped),
            Mistake(
                "clipped last",
                "You clip after suppressing. Two boxes that differ only outside of the picture are then both kept.",
                wrong=truth.clipped_last,
            ),
            Mistake(
                "width before height",
                "You read `image_size` as (width, height). It is (height, width), like the shape of a tensor.",
                wrong=truth.width_before_height,
            ),
            Mistake(
                "tiny ones kept",
                "A box that lay outside has no area after clipping. Drop it: a region without pixels cannot be cut"
                " out.",
                wrong=truth.tiny_ones_kept,
            ),
            Mistake(
                "pre_nms comes after",
                "You suppress first and cut to `pre_nms` then. It is there to save the work: only the best `pre_nms`"
                " go into the suppression.",
                wrong=truth.cut_after_suppression,
            ),
            Mistake("pre_nms ignored", "You let all boxes in, not the best `pre_nms`.", wrong=truth.all_may_come_in),
            Mistake("post_nms ignored", "You give back more than `post_nms` boxes.", wrong=truth.all_may_go_out),
            Mistake(
                "post_nms comes before",
                "You cut to `post_nms` before suppressing. Doubles then take the places of other objects.",
                wrong=truth.both_cuts_before,
            ),
            Mistake("worst first", "Your order is upside down.", wrong=truth.worst_first),
            Mistake(
                "the first in the list",
                "You took the first `pre_nms` boxes as they came, not those with the highest objectness.",
                wrong=truth.first_in_the_list,
            ),
            Mistake(
                "in their old order",
                "The right boxes, but not in the right order. The best comes first.",
                wrong=truth.in_their_old_order,
            ),
            Mistake(
                "nothing suppressed", "Boxes that lie on each other are still there.", wrong=truth.nothing_suppressed
            ),
            Mistake(
                "threshold taken for a score",
                "`threshold` is an overlap, for `nms`. No box is dropped for its objectness alone.",
                wrong=truth.threshold_on_scores,
            ),
        ],
        hints=[
            "Four steps in this order: best first and cut, clip, drop the tiny ones, suppress and cut.",
            "Whenever you choose among the boxes, choose among the objectness in the same way.",
            "`nms` gives places, the best first, so the second cut is a slice.",
        ],
    ),
    Exercise(
        name="rpn_loss",
        lesson=LESSON,
        summary="Is there an object, and how must the anchor move: the loss of the first stage",
        minutes=10,
        difficulty=2,
        reference=truth.rpn_loss,
        cases=truth.loss_cases,
        mistakes=[
            Mistake(
                "ignored taken for background",
                "Anchors with −2 are part of your loss. They are neither object nor background: leave them out.",
                wrong=truth.ignored_as_background,
            ),
            Mistake(
                "ignored ones counted",
                "You divide the box loss by all anchors. Count only those that are not ignored.",
                wrong=truth.ignored_not_judged_but_counted,
            ),
            Mistake(
                "background is moved",
                "You judge the moves of background anchors too. There is nothing that they could be moved onto.",
                wrong=truth.background_is_moved,
            ),
            Mistake(
                "divided by the positives",
                "You divided the box loss by the number of positives. Divide by all anchors that count, or a picture"
                " without a positive ends in 0 / 0.",
                wrong=truth.over_positives,
            ),
            Mistake(
                "divided by the positives, or by 1",
                "You divided the box loss by the number of positives. Divide by all anchors that count.",
                wrong=truth.over_positives_or_one,
            ),
            Mistake(
                "mean over the positives' numbers",
                "You took the mean over the numbers of the positives. Add them up, and divide by all anchors that"
                " count.",
                wrong=truth.mean_of_numbers,
            ),
            Mistake("box loss only added up", "The box loss is not divided by anything.", wrong=truth.only_added_up),
            Mistake(
                "objectness only added up",
                "Your objectness loss is a sum. Take the mean over the anchors that count.",
                wrong=truth.objectness_added_up,
            ),
            Mistake(
                "sigmoid twice",
                "`F.binary_cross_entropy_with_logits` makes the sigmoid itself. You gave it probabilities.",
                wrong=truth.sigmoid_twice,
            ),
            Mistake(
                "the object's number as its label",
                "The label of an anchor is 1 for any object, not the object's number.",
                wrong=truth.number_of_the_object,
            ),
            Mistake(
                "object 0 is background",
                "You took `matches > 0` for positive. Objects are counted from 0.",
                wrong=truth.object_0_is_background,
            ),
            Mistake(
                "positives only",
                "Your objectness loss leaves out background. Then *yes, everywhere* is the best answer.",
                wrong=truth.positives_only,
            ),
            Mistake("β is 1", "Your smooth L1 bends at 1. Here β is 1/9.", wrong=truth.beta_of_one),
            Mistake("L1 instead of smooth L1", "You took absolute differences.", wrong=truth.plain_l1),
            Mistake(
                "added together",
                "Return both parts in a tuple: we want to watch them separately.",
                wrong=truth.added_together,
            ),
        ],
        hints=[
            "Two masks: which anchors count at all, and which of them are positive.",
            "`F.binary_cross_entropy_with_logits` takes logits and labels 0.0 or 1.0.",
            'For the boxes: `F.smooth_l1_loss(..., beta=1/9, reduction="sum")` of the positives only.',
        ],
    ),
]
