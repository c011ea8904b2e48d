"""The exercises of lesson 07: a region in cells, RoI pooling, the sampling of regions, smooth L1, and the two-task loss."""

from lib.exercises import truths_07 as truth
from lib.exercises.exercise import Exercise, Mistake, Probe
from lib.exercises.pictures import compare_maps

LESSON = "07_fast_rcnn"

EXERCISES = [
    Exercise(
        name="project_roi",
        lesson=LESSON,
        summary="A box of the picture in cells of the feature map, rounded to whole cells",
        minutes=5,
        difficulty=1,
        reference=truth.project_roi,
        cases=truth.project_cases,
        mistakes=[
            Mistake(
                "rounded down",
                "You cut off the decimals: 7.4 and 7.9 both become 7. The paper rounds to the *nearest* whole number. "
                "(`int(...)` and `//` cut off too.)",
                wrong=truth.rounded_down,
            ),
            Mistake(
                "rounded outwards",
                "You round the start down and the end up. That comes later, for the bins. Here all four go to the "
                "nearest whole number.",
                wrong=truth.rounded_outwards,
            ),
            Mistake(
                "divided by the scale",
                "Your cells lie far outside of the map. `spatial_scale` is cells per pixel, 1/8 for a stride of 8. Are "
                "there more cells than pixels, or fewer?",
                wrong=truth.divided_by_the_scale,
            ),
            Mistake(
                "one cell too far",
                "Right and bottom are one too large. They are the last cell that still belongs to the region, not the "
                "first one behind it.",
                wrong=truth.one_cell_further,
            ),
            Mistake(
                "last cell taken away",
                "Right and bottom are one too small. The cell in which the box ends belongs to the region.",
                wrong=truth.one_cell_less,
            ),
            Mistake(
                "rows before columns",
                "You return top before left. Boxes are (x1, y1, x2, y2): x runs along the columns, and comes first.",
                wrong=truth.rows_first,
            ),
            Mistake(
                "width and height",
                "Your last two numbers are a width and a height. Asked for are the right and the bottom cell.",
                wrong=truth.width_and_height,
            ),
            Mistake(
                "a half to the even number",
                "Right, but for halves: you take 2.5 to 2 and 3.5 to 4. So do `round` in Python, in NumPy and in "
                "PyTorch: they take a half to the even number. Here a half goes up.",
                wrong=truth.half_to_even,
            ),
        ],
        hints=[
            "A map of stride 8 has one cell where the picture has 8 pixels: `spatial_scale` is 1/8.",
            "Which rounding takes 6.5 to 7, 6.9 to 7, and 7.4 to 7? Try: what is the floor of these three, plus a half?",
            "`floor` on a tensor gives floats; four Python ints are asked for: `.int().tolist()`.",
        ],
    ),
    Exercise(
        name="roi_max_pool",
        lesson=LESSON,
        summary="Cut a region out of a feature map, into a small map of fixed size",
        minutes=18,
        difficulty=3,
        reference=truth.roi_max_pool,
        cases=truth.pool_cases,
        picture=compare_maps,
        mistakes=[
            Mistake(
                "scale forgotten",
                "You took pixels for cells. A box of 40 pixels is 5 cells wide on a map of stride 8.",
                wrong=truth.scale_forgotten,
            ),
            Mistake(
                "last cell left out",
                "Your region is one cell too narrow and one too low. It goes from its first cell to its last, both "
                "included: from 2 to 7 there are 6.",
                wrong=truth.last_cell_left_out,
            ),
            Mistake(
                "rows for columns",
                "You cut out the region mirrored at the diagonal: left and right count columns, the *last* axis of the "
                "map; top and bottom count rows.",
                wrong=truth.rows_for_columns,
            ),
            Mistake(
                "mean instead of maximum",
                "You average the cells of a bin. RoI pooling keeps the largest number of each channel.",
                wrong=truth.mean_of_bins,
            ),
            Mistake(
                "ends rounded down",
                "Your bins end too early: they share no cell, and some hold none. A bin starts at a rounded-*down* and "
                "ends at a rounded-*up* place, so that a cell on the border counts in both bins.",
                wrong=truth.ends_rounded_down,
            ),
            Mistake(
                "bins without cells",
                "Your bins end too early: here they share no cell, and where the region is smaller than the output some "
                "hold none at all, and there is no largest of nothing. A bin starts at a rounded-*down* and ends at a "
                "rounded-*up* place: then it holds at least one cell of the region.",
                wrong=truth.ends_rounded_down_unguarded,
            ),
            Mistake(
                "starts rounded up",
                "Some cells of the region are in no bin of yours. Round the start of a bin down.",
                wrong=truth.starts_rounded_up,
            ),
            Mistake(
                "the rest of the cells lost",
                "You made every bin the same whole number of cells. 7 cells in 3 bins are 2⅓ cells each: what is left "
                "over at the end is lost. Round each bin's start and end, not its size.",
                wrong=truth.whole_bins,
            ),
            Mistake(
                "an empty bin crashes",
                "This region reaches beyond the last cell of the map, so a bin can lie outside of it altogether. There "
                "is no largest of nothing: such a bin is 0.",
                wrong=truth.unguarded,
            ),
            Mistake(
                "an empty bin is −∞",
                "A bin that lies outside of the map has no cells. Let it be 0: −∞ would ruin every sum that comes "
                "after it.",
                wrong=truth.minus_infinity,
            ),
            Mistake(
                "never below 0",
                "Where all cells of a bin are negative you return 0. Did you start from zeros, and take the larger of "
                "the two?",
                wrong=truth.never_below_0,
            ),
            Mistake(
                "cut at the edge before it is divided",
                "Right for boxes inside the picture. At its edge, you first cut the region to the map and then divided "
                "what was left. Divide the whole region; what lies beyond the map is just not there.",
                wrong=truth.cut_before_dividing,
            ),
            Mistake(
                "corners rounded down",
                "Your region starts or ends a cell too early: its corners go to the *nearest* cell. Use `project_roi`.",
                wrong=truth.corners_rounded_down,
            ),
        ],
        hints=[
            "First the region: `left, top, right, bottom = project_roi(box, spatial_scale)`. How many cells wide is it?",
            (
                "A bin is (number of cells) / output_size wide; that may be 2⅓. Bin i starts at i times this, rounded "
                "down, and ends at (i + 1) times this, rounded up. Do not forget to add where the region starts."
            ),
            "A slice that goes beyond the end of a tensor is cut off by itself. It may be empty: `numel()` tells.",
        ],
    ),
    Exercise(
        name="sample_regions",
        lesson=LESSON,
        summary="Draw the regions of a picture that a step learns from, at most a quarter of them positive",
        minutes=10,
        difficulty=2,
        reference=truth.sample_regions,
        cases=truth.sampling_cases,
        observe=truth.look_at_draw,
        mistakes=[
            Mistake(
                "positives that overlap too little",
                "Some of your positives overlap by less than 0.5. Did you draw places in the *list of positives*, and "
                "not look up which regions stand there? Or is your limit another one?",
                when=lambda got, expected, case: got[truth.WORSE] > 0,
            ),
            Mistake(
                "background below 0.1 too",
                "You drew backgrounds that overlap by less than 0.1. The paper leaves those out: most of them are far "
                "from everything, and easy.",
                when=lambda got, expected, case: got[truth.NEITHER] > 0,
            ),
            Mistake(
                "drawn twice",
                "Some region is in your draw twice. Draw without putting back: shuffle the places, and take the first "
                "few.",
                when=lambda got, expected, case: got["drawn twice"] > 0,
            ),
            Mistake(
                "0.5 counts as background",
                "Some of your backgrounds overlap by 0.5 or more. A region with exactly 0.5 is positive.",
                when=lambda got, expected, case: got[truth.BETTER] > 0,
            ),
            Mistake(
                "too many positives",
                "You draw more positives than a quarter of `count`.",
                when=lambda got, expected, case: got["positives"] > expected["positives"],
            ),
            Mistake(
                "too many backgrounds",
                "You draw more regions than `count`. How much room have the positives left?",
                when=lambda got, expected, case: got["backgrounds"] > expected["backgrounds"],
            ),
            Mistake(
                "background does not fill up",
                "Your draw is too small. What is missing in positives is filled with background, as long as there is "
                "some.",
                when=lambda got, expected, case: got["backgrounds"] < expected["backgrounds"],
            ),
        ],
        probes=[
            Probe(
                "always the same regions",
                "The numbers are right, but some regions are never drawn, whatever the generator. Each one must have "
                "its chance: do not take the first ones or the best ones.",
                passes=truth.all_have_their_chance,
            ),
            Probe(
                "generator not used",
                "With the same generator your function gave two different draws. Hand the generator on: "
                "`torch.randperm(n, generator=generator)`.",
                passes=truth.listens_to_the_generator,
            ),
        ],
        hints=[
            "`(overlaps >= 0.5).nonzero()[:, 0]` are the places of the positives. Where are the backgrounds?",
            "`places[torch.randperm(len(places), generator=generator)[:n]]` draws n of them, or all if there are fewer.",
            "How many backgrounds? Count what you *have* drawn of positives, not what you wanted.",
        ],
    ),
    Exercise(
        name="smooth_l1",
        lesson=LESSON,
        summary="A parabola in the middle, straight lines outside, without a kink",
        minutes=6,
        difficulty=1,
        reference=truth.smooth_l1,
        cases=truth.smooth_cases,
        mistakes=[
            Mistake("squared everywhere", "You square large differences as well.", wrong=truth.squared),
            Mistake(
                "absolute everywhere",
                "That is the plain L1. In the middle, for differences smaller than β, it should be a parabola.",
                wrong=truth.absolute,
            ),
            Mistake(
                "a jump at β",
                "Your two pieces do not meet: at β the parabola has come to β/2, and your line starts at β.",
                wrong=truth.with_a_jump,
            ),
            Mistake(
                "the half forgotten",
                "Your parabola is twice too steep: it arrives at β with a slope of 2, and the line has 1.",
                wrong=truth.half_forgotten,
            ),
            Mistake(
                "sign kept",
                "For large negative differences your loss is negative: the more wrong, the better. The straight part "
                "takes the absolute value.",
                wrong=truth.sign_kept,
            ),
            Mistake(
                "every negative difference is small",
                "You asked whether the *difference* is less than β. −3 is less, and it is large all the same.",
                wrong=truth.size_not_taken,
            ),
            Mistake("β ignored", "Right for β = 1, whatever β is.", wrong=truth.beta_is_1),
            Mistake(
                "parabola not divided by β",
                "Right for β = 1. The parabola has to arrive at β with a slope of 1, so it must be the steeper, the "
                "smaller β is.",
                wrong=truth.not_divided_by_beta,
            ),
            Mistake(
                "line lowered by a half",
                "Right for β = 1. Where must the line start, so that it meets the parabola at β?",
                wrong=truth.half_whatever_beta,
            ),
            Mistake(
                "Huber's loss",
                "That is Huber's loss, β times the smooth L1: its straight part has the slope β, not 1.",
                wrong=truth.huber,
            ),
            Mistake(
                "one number for all",
                "You return the mean. Asked for is the loss of every number, with the shape of `difference`: what is "
                "added up and what is left out comes later.",
                wrong=truth.mean_of_all,
            ),
            Mistake(
                "pieces swapped", "You use the line inside and the parabola outside.", wrong=truth.branches_swapped
            ),
        ],
        hints=[
            "`torch.where(condition, a, b)` takes a where the condition holds, and b elsewhere.",
            "Which of the two pieces applies depends on the *size* of a difference, not on its sign.",
            "Put β itself into both formulas. They must give the same.",
        ],
    ),
    Exercise(
        name="two_task_loss",
        lesson=LESSON,
        summary="Is it the right class, and has the box been moved as it should: two losses",
        minutes=14,
        difficulty=3,
        reference=truth.two_task_loss,
        cases=truth.loss_cases,
        mistakes=[
            Mistake(
                "background has a box",
                "You judge the boxes of background regions too. There is no true box that they could be moved onto; "
                "whatever stands in `regression_targets` there has no meaning.",
                wrong=truth.background_boxes_too,
            ),
            Mistake(
                "the first class's numbers for all",
                "You always take the first four numbers. They belong to class 0, background. Each region has four "
                "numbers for *each* class; take those of its own.",
                wrong=truth.first_class_for_all,
            ),
            Mistake(
                "the numbers of the class before",
                "You take the numbers of class label − 1. Background is class 0 and has its four numbers too, though "
                "nobody uses them.",
                wrong=truth.one_class_less,
            ),
            Mistake(
                "the guessed class's numbers",
                "You take the numbers of the class with the highest score. What is learned is the box of the *true* "
                "class.",
                wrong=truth.best_class_guessed,
            ),
            Mistake(
                "numbers before classes",
                "The 4 · K numbers of a region are K groups of four, not four groups of K.",
                wrong=truth.numbers_before_classes,
            ),
            Mistake(
                "the boxes of all classes",
                "You compare the numbers of every class with the target. Only those of the true class are judged: a "
                "cone's box says nothing about how a sphere's would be.",
                wrong=truth.all_classes_compared,
            ),
            Mistake(
                "divided by the positives",
                "You divided the box loss by the number of positive regions. Divide by the number of all regions, N: "
                "then a picture with few positives counts less, and one with none does not end in 0 / 0.",
                wrong=truth.over_positives,
            ),
            Mistake(
                "divided by the positives, or by 1",
                "You divided the box loss by the number of positive regions. Divide by the number of all regions, N.",
                wrong=truth.over_positives_or_1,
            ),
            Mistake(
                "mean over the positives' numbers",
                "You took the mean over the positives' numbers. Add them up, and divide by the number of all regions.",
                wrong=truth.mean_of_numbers,
            ),
            Mistake(
                "only added up", "The box loss is not divided by the number of regions.", wrong=truth.only_added_up
            ),
            Mistake(
                "squares instead of smooth L1",
                "You squared the differences. One box that is far off would outweigh all others: use `smooth_l1`.",
                wrong=truth.plain_squares,
            ),
            Mistake(
                "L1 instead of smooth L1",
                "You took absolute differences. Use `smooth_l1`, with β = 1/9.",
                wrong=truth.plain_sizes,
            ),
            Mistake("β is 1", "Your smooth L1 bends at 1. Here β is 1/9.", wrong=truth.beta_of_1),
            Mistake(
                "softmax twice",
                "`F.cross_entropy` takes scores and makes the softmax itself. You gave it probabilities.",
                wrong=truth.softmax_twice,
            ),
            Mistake(
                "classes of the positives only",
                "Your class loss leaves out background. Then nothing ever tells the network what is *not* a thing.",
                wrong=truth.classes_of_positives,
            ),
            Mistake(
                "added together",
                "Return both parts, the class loss and the box loss, in a tuple: we want to watch them separately.",
                wrong=truth.added_together,
            ),
        ],
        hints=[
            "The class loss is one line: `F.cross_entropy`, over all regions.",
            "`box_regression.view(N, K, 4)` has an axis for the classes. Pick by two lists: which region, which class.",
            "`labels > 0` are the regions that have a box. A sum over none of them is 0, and that is right.",
        ],
    ),
]
