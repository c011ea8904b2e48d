"""The exercises of lesson 05: a change of form, IoU, GIoU, non-maximum suppression, verdicts, average precision."""

from lib.exercises import truths_05 as truth
from lib.exercises.box_pictures import compare_boxes, compare_kept
from lib.exercises.exercise import Exercise, Mistake
from lib.ops import boxes
from lib.ops.nms import nms

LESSON = "05_boxes_and_ap"

EXERCISES = [
    Exercise(
        name="box_cxcywh_to_xyxy",
        lesson=LESSON,
        summary="From middle and sides to left, top, right, bottom",
        minutes=5,
        difficulty=1,
        reference=boxes.box_cxcywh_to_xyxy,
        cases=truth.conversion_cases,
        picture=compare_boxes,
        mistakes=[
            Mistake(
                "whole sides instead of halves",
                "Your boxes are twice as wide and twice as high as they should be: from the middle to an edge it is "
                "*half* a side.",
                wrong=truth.whole_sides,
            ),
            Mistake(
                "middle taken for the corner",
                "You began the box where its middle is. That is right for xywh, where x and y are the corner; here they"
                " are the middle.",
                wrong=truth.middle_as_corner,
            ),
            Mistake(
                "width and height swapped",
                "Half the width belongs to x, half the height to y. Your boxes lie on their side.",
                wrong=truth.sides_swapped,
            ),
            Mistake(
                "order x, x, y, y",
                "You returned both x first and then both y. The form is x1, y1, x2, y2: one corner, then the other.",
                wrong=truth.x_x_y_y,
            ),
            Mistake(
                "y before x",
                "You returned y1, x1, y2, x2. In a box x comes first, other than in the indices of a picture.",
                wrong=truth.y_first,
            ),
            Mistake(
                "half a pixel cut off",
                "Boxes with an odd width or height come out a little too small or moved: a half may be 4.5. `//` drops "
                "the half pixel.",
                wrong=truth.floored,
            ),
            Mistake(
                "four rows instead of four columns",
                "Your result is (4, N): all x1 in the first row. Wanted is one box a row, (N, 4). Along which axis were "
                "the four put together?",
                wrong=truth.four_rows,
            ),
        ],
        hints=[
            "Draw one box on paper, mark its middle, and write the four numbers at it.",
            "`cx, cy, w, h = boxes.unbind(dim=1)` gives four columns. Which of them make up the left edge?",
            "`torch.stack([...], dim=1)` puts columns side by side.",
        ],
    ),
    Exercise(
        name="pairwise_iou",
        lesson=LESSON,
        summary="Intersection over union of each box with each box",
        minutes=12,
        difficulty=2,
        reference=boxes.box_iou,
        cases=truth.iou_cases,
        mistakes=[
            Mistake(
                "a gap counted as overlap",
                "Boxes that lie apart get an IoU other than 0. The sides of their intersection come out negative, and "
                "negative times negative is positive. A negative side is a gap: nothing is shared.",
                wrong=truth.gap_times_gap,
            ),
            Mistake(
                "gaps cut off too late",
                "Two boxes that lie apart in *both* directions still share something in your result: you cut off a "
                "negative area, but two negative sides had made it positive before. Cut off each side.",
                wrong=truth.clamped_at_the_end,
            ),
            Mistake(
                "shared area counted twice in the union",
                "Your union is the sum of both areas. What lies in both boxes is in that sum twice, so equal boxes get "
                "0.5 instead of 1.",
                wrong=truth.sum_of_areas,
            ),
            Mistake(
                "one pixel too many",
                "Each of your boxes is one pixel wider and higher than it is: x2 − x1 + 1, as in old code. Our "
                "coordinates are edges, not pixel numbers: the width is x2 − x1.",
                wrong=truth.one_pixel_more,
            ),
            Mistake(
                "divided by the smaller box",
                "A small box inside a large one gets 1, as if they were equal. The intersection is divided by what "
                "*both together* cover.",
                wrong=truth.over_the_smaller,
            ),
            Mistake(
                "divided by the first box",
                "You divide by the area of one of the two boxes. Swap the boxes and you get another number: agreement"
                " should be the same from both sides.",
                wrong=truth.over_the_first,
            ),
            Mistake(
                "box by box instead of each with each",
                "You compared the first with the first, the second with the second. Wanted is a table: a row for each "
                "box of `boxes1`, a column for each of `boxes2`. A new axis makes it: `boxes1[:, None]`.",
                wrong=truth.box_by_box,
            ),
            Mistake(
                "rows and columns swapped",
                "Your table has a row for each box of `boxes2`. The rows belong to `boxes1`.",
                wrong=truth.swapped,
            ),
            Mistake(
                "xyxy read as xywh",
                "You took the third and fourth number for width and height. They are the right and the lower edge.",
                wrong=truth.read_as_sides,
            ),
        ],
        hints=[
            "Two boxes first. The intersection begins at the *larger* of the two left edges. Where does it end?",
            "`torch.maximum(boxes1[:, None, :2], boxes2[:, :2])` is (N, M, 2): left and top of each intersection.",
            "What is the width when one box ends before the other begins? What should it be? `clamp` can do that.",
        ],
    ),
    Exercise(
        name="generalized_iou",
        lesson=LESSON,
        summary="IoU minus what is empty in the smallest box around both",
        minutes=10,
        difficulty=2,
        reference=boxes.generalized_box_iou,
        cases=truth.giou_cases,
        mistakes=[
            Mistake(
                "empty share added",
                "You added the empty share. Emptiness is bad: it is taken off, and far boxes go towards −1.",
                wrong=truth.penalty_added,
            ),
            Mistake(
                "IoU left out",
                "Only the penalty is there. Boxes that overlap well should also get their IoU.",
                wrong=truth.penalty_alone,
            ),
            Mistake(
                "that is the IoU",
                "That is the plain IoU: 0 for all boxes that lie apart.",
                wrong=truth.iou_by_torchvision,
            ),
            Mistake(
                "share of the union",
                "You divided the empty area by the union. It is the share *of the box around*, so that it stays below 1"
                " however far the boxes are.",
                wrong=truth.over_the_union,
            ),
            Mistake(
                "too much called empty",
                "You took the intersection off the box around. Empty is what *neither* box covers: take off the union.",
                wrong=truth.around_minus_shared,
            ),
            Mistake(
                "box around from the inner corners",
                "Your box around is the intersection. Around both means: from the *smaller* left edge to the *larger* "
                "right edge.",
                wrong=truth.inner_corners,
            ),
            Mistake(
                "a gap counted as overlap",
                "For boxes that lie apart, the sides of the intersection are negative, and their product is positive. "
                "Cut off negative sides first, as in the IoU.",
                wrong=truth.giou_gap_times_gap,
            ),
        ],
        hints=[
            "You need three areas: intersection, union, and the box around both.",
            "The box around is found like the intersection, with `minimum` and `maximum` exchanged.",
            "Check with a pair of equal boxes: nothing is empty, GIoU = 1.",
        ],
    ),
    Exercise(
        name="non_maximum_suppression",
        lesson=LESSON,
        summary="Keep the best box, drop what overlaps it too much, go on with the rest",
        minutes=15,
        difficulty=3,
        reference=nms,
        cases=truth.nms_cases,
        picture=compare_kept,
        mistakes=[
            Mistake(
                "not sorted by score",
                "You went through the boxes in the order of the list. The box with the highest score goes first.",
                wrong=truth.in_the_order_of_the_list,
            ),
            Mistake(
                "the worst goes first",
                "You began with the lowest score. `argsort` sorts upwards if it is not told otherwise.",
                wrong=truth.worst_first,
            ),
            Mistake(
                "removed boxes still remove",
                "In a row of three overlapping boxes you keep only the first. The second is removed by the first, so it"
                " must not remove the third any more.",
                wrong=truth.the_dead_still_kill,
            ),
            Mistake(
                "keeps what it should remove",
                "After each round you went on with the boxes that overlap the kept one. Those are the ones to drop.",
                wrong=truth.keeps_the_neighbours,
            ),
            Mistake(
                "places in the sorted list",
                "Your numbers are places in the *sorted* list. The caller has the unsorted one: give the places there.",
                wrong=truth.places_in_the_sorted_list,
            ),
            Mistake(
                "best not first",
                "You keep the right boxes, but not in the order of their scores. The best comes first.",
                wrong=truth.best_not_first,
            ),
            Mistake(
                "boxes instead of places",
                "You returned the boxes. The caller also needs their scores and classes: return their places, (kept,).",
                wrong=truth.the_boxes_themselves,
            ),
            Mistake(
                "a mask instead of places",
                "You returned a yes or no for each box. Wanted are the places of those that stay, the best first.",
                wrong=truth.a_mask,
            ),
            Mistake(
                "an overlap of exactly the threshold removed",
                "A box goes if its IoU is *above* the threshold. At exactly the threshold it stays.",
                wrong=truth.equal_goes_too,
            ),
            Mistake(
                "only one round",
                "Only the neighbours of the very best box were removed. Each box that is kept removes its neighbours.",
                wrong=truth.one_round_only,
            ),
        ],
        hints=[
            "Begin with `left = scores.argsort(descending=True)`: the places of the boxes that are not decided yet.",
            "While something is left: note the first, compare it with the others, keep of those what overlaps little.",
            "`pairwise_iou(boxes[best][None], boxes[left])[0]` compares one box with many. A mask picks from `left`: "
            "`left[mask]`.",
            "An empty list of places must be of whole numbers too: `torch.tensor(kept, dtype=torch.int64)`.",
        ],
    ),
    Exercise(
        name="mark_detections",
        lesson=LESSON,
        summary="Right or wrong: by falling score, each detection claims one free object",
        minutes=12,
        difficulty=2,
        reference=truth.mark_detections,
        cases=truth.marking_cases,
        mistakes=[
            Mistake(
                "one object claimed twice",
                "Two detections of the same object both count as right. The first takes the object, the second is a "
                "duplicate: wrong.",
                wrong=truth.one_object_twice,
            ),
            Mistake(
                "in the order of the list",
                "You went through the detections as they stand in the list. The highest score goes first, and so may "
                "take an object from others.",
                wrong=truth.list_order,
            ),
            Mistake(
                "answered in the order of the list",
                "Your verdicts are right, but they stand where the detections stand in the list. Wanted is the order of "
                "falling score.",
                wrong=truth.answered_in_list_order,
            ),
            Mistake(
                "the first object that fits, not the best",
                "A detection that fits two objects took the first of them. It should take the one that it overlaps "
                "most.",
                wrong=truth.first_that_fits,
            ),
            Mistake(
                "gives up when its best object is taken",
                "A detection whose best object is taken may still claim another free one that it fits. (Pascal VOC "
                "counts your way, COCO and this task do not.)",
                wrong=truth.best_even_if_taken,
            ),
            Mistake(
                "a miss takes its object",
                "A detection that does not reach the threshold still took the object nearest to it, and left nothing "
                "for a later, better one. Only a right detection takes an object.",
                wrong=truth.a_miss_takes,
            ),
            Mistake(
                "threshold forgotten",
                "The slightest touch counts as right in your result. The IoU must reach the threshold.",
                wrong=truth.any_overlap,
            ),
            Mistake(
                "an overlap of exactly the threshold refused",
                "An IoU of exactly the threshold is enough: at least, not more than.",
                wrong=truth.more_than_the_threshold,
            ),
            Mistake(
                "objects choose instead of detections",
                "You let each object choose the detection that overlaps it most. But it goes by score: a more certain "
                "detection takes the object even if a less certain one fits better.",
                wrong=truth.objects_choose,
            ),
        ],
        hints=[
            "Sort first. Then one loop over the detections, best first, is all you need.",
            "Keep a mask `free` of the objects, or set the column of a taken object to −1 in the table of IoUs.",
            "With no objects there is no largest IoU to ask for, and `max` complains. Everything is wrong then.",
        ],
    ),
    Exercise(
        name="average_precision_from_hits",
        lesson=LESSON,
        summary="From right and wrong to the area under the precision–recall curve, at COCO's 101 points",
        minutes=15,
        difficulty=3,
        reference=truth.average_precision_from_hits,
        cases=truth.ap_cases,
        mistakes=[
            Mistake(
                "the teeth not filled",
                "You read off the raw curve. At each recall the *best* precision counts that is reached there or "
                "further right: first fill the teeth.",
                wrong=truth.no_envelope,
            ),
            Mistake(
                "filled from the wrong side",
                "You carried the best precision from left to right. A detector that begins badly would be called perfect"
                " or one that begins well would stay so for ever. Carry it from right to left.",
                wrong=truth.envelope_from_the_left,
            ),
            Mistake(
                "recall divided by the detections",
                "Your recall is a share of the detections. Recall is a share of the *objects*: `num_truths`.",
                wrong=truth.recall_of_detections,
            ),
            Mistake(
                "mean of the precision at the hits",
                "You averaged the precision where a detection was right. That is an older meaning of the name. Here the "
                "curve is filled and read off at 101 recalls.",
                wrong=truth.mean_at_hits,
            ),
            Mistake(
                "objects that were missed do not count",
                "You averaged over the objects that were found. The missed ones must cost something: where the curve "
                "does not reach, precision is 0.",
                wrong=truth.mean_over_found,
            ),
            Mistake(
                "the end of the curve carried on",
                "You used the last precision for recalls that were never reached. There it is 0: those objects were "
                "missed.",
                wrong=truth.never_zero,
            ),
            Mistake(
                "area under the raw teeth",
                "You added up the area under the raw curve. Fill the teeth first, then read off 101 points.",
                wrong=truth.raw_area,
            ),
            Mistake(
                "exact area instead of 101 points",
                "That is the exact area under the filled curve, as Pascal VOC takes it since 2010. COCO averages 101 "
                "points: 0, 0.01, …, 1.",
                wrong=truth.area_of_envelope,
            ),
            Mistake(
                "eleven points",
                "Eleven points, 0, 0.1, …, 1, is the rule of Pascal VOC until 2009. COCO takes 101.",
                wrong=truth.eleven_points,
            ),
        ],
        hints=[
            "`hits.cumsum(0)` counts the right ones so far. Two divisions turn it into precision and recall.",
            "Filled: at each place the maximum of all that come after. `cummax` runs from the left; `flip` turns around.",
            "For each of the 101 recalls find the first place where the curve is at least that far: "
            "`torch.searchsorted`, or a mask and `max`.",
            "What if no place is that far, or there is no detection at all?",
        ],
    ),
]
