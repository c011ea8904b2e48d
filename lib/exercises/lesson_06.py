"""The exercises of lesson 06: grouping regions, recall, the warp with context, what an SVM learns from, box targets."""

from lib.exercises import truths_06 as truth
from lib.exercises.exercise import Exercise, Mistake
from lib.exercises.pictures import compare_maps
from lib.models import rcnn
from lib.ops import selective_search

LESSON = "06_rcnn"


EXERCISES = [
    Exercise(
        name="region_similarity",
        lesson=LESSON,
        summary="How much two regions of a picture belong together",
        minutes=10,
        difficulty=2,
        reference=selective_search.region_similarity,
        cases=truth.similarity_cases,
        observe=truth.as_number,
        mistakes=[
            Mistake(
                "the larger of two bins",
                "You took the larger number of each pair of bins. What two histograms *share* is the smaller one.",
                wrong=truth.similarity_with(lambda one, other: one.maximum(other).sum().item()),
            ),
            Mistake(
                "histograms multiplied",
                "You multiplied the bins. What two histograms share in a bin is the smaller of the two numbers.",
                wrong=truth.similarity_with(lambda one, other: (one * other).sum().item()),
            ),
            Mistake(
                "the difference of the histograms",
                "You added up how much the bins *differ*, so the least alike get the highest number. Add up what they"
                " share: in each bin, the smaller of the two numbers.",
                wrong=truth.similarity_with(lambda one, other: (one - other).abs().sum().item()),
            ),
            Mistake(
                "the mean of the bins",
                "You took the mean over the bins. Take their sum: two equal histograms then share 1, all they have.",
                wrong=truth.similarity_with(lambda one, other: one.minimum(other).mean().item()),
            ),
            Mistake(
                "large regions first",
                "Your size term grows with the regions, so large ones would swallow everything. It must be near 1 for"
                " two small regions.",
                wrong=truth.similarity_with(
                    truth.intersection, size=lambda a, b, box, picture: (a.size + b.size) / picture
                ),
            ),
            Mistake(
                "pixels of the regions left in the gap",
                "Your fill term counts the whole box around both. Only the pixels of that box which belong to neither"
                " region are a gap.",
                wrong=truth.similarity_with(truth.intersection, fill=lambda a, b, box, picture: 1 - box / picture),
            ),
            Mistake(
                "a gap counted in favour",
                "Your fill term grows with the gap. It must be 1 where two regions fill the box around both, and less"
                " where much of it stays empty.",
                wrong=truth.similarity_with(
                    truth.intersection, fill=lambda a, b, box, picture: 1 + (box - a.size - b.size) / picture
                ),
            ),
            Mistake(
                "the overlap of the boxes",
                "Your fill term uses what the two boxes have in common. It needs the box around *both*: the smaller of"
                " the two left ends, the larger of the two right ends.",
                wrong=truth.similarity_with(truth.intersection, fill=truth.fill_of_the_overlap),
            ),
            Mistake(
                "gap against the box",
                "You divided the gap by the box around both. Here all sizes are measured against the whole picture.",
                wrong=truth.similarity_with(
                    truth.intersection, fill=lambda a, b, box, picture: 1 - (box - a.size - b.size) / box
                ),
            ),
        ],
        hints=[
            "Four numbers, each at most 1, are added. Compute and print them one by one.",
            "For the histograms: `torch.minimum` compares two tensors bin by bin. Then sum.",
            "For fill, first find the box around both, then its pixels, then those that belong to neither region.",
        ],
    ),
    Exercise(
        name="merge_regions",
        lesson=LESSON,
        summary="The region that two regions make together",
        minutes=6,
        difficulty=1,
        reference=selective_search.merge_regions,
        cases=truth.merge_cases,
        returns=selective_search.Region,
        observe=truth.seen_region,
        mistakes=[
            Mistake(
                "both weighted alike",
                "Your histogram lies half-way between the two. But a large region has more pixels to say something"
                " about: weight each one by its size.",
                wrong=truth.merged_with(share=lambda a, b: (0.5, 0.5)),
            ),
            Mistake(
                "weights exchanged",
                "The small region has the large say. Each histogram is weighted by the size of its *own* region.",
                wrong=truth.merged_with(share=lambda a, b: (b.size / (a.size + b.size), a.size / (a.size + b.size))),
            ),
            Mistake(
                "histograms added",
                "Your histogram sums to 2. The bins are shares of all pixels of the region: they sum to 1.",
                wrong=truth.merged_with(share=lambda a, b: (1, 1)),
            ),
            Mistake(
                "not divided by the size",
                "Your histogram holds pixels. Divide by the size of the merged region, and it holds shares again.",
                wrong=truth.merged_with(share=lambda a, b: (a.size, b.size)),
            ),
            Mistake(
                "the overlap of the boxes",
                "Your box holds what the two boxes have in common. The merged region reaches from the smaller of the"
                " left ends to the larger of the right ones.",
                wrong=truth.merged_with(box=truth.box_of_the_overlap),
            ),
            Mistake(
                "the size of the box",
                "You counted the pixels of a box. A region is seldom a rectangle: its size is the number of its own "
                "pixels, and two regions never share one.",
                when=lambda got, expected, case: got["size"] != expected["size"],
            ),
        ],
        hints=[
            "Size: two regions never share a pixel.",
            "Histograms: how many pixels of the one fall in a bin? And of the other? How many are there in all?",
            "`Region(size, box, colour, texture)` makes the result; the box is a tuple of four numbers.",
        ],
    ),
    Exercise(
        name="group_regions",
        lesson=LESSON,
        summary="Merge the most similar neighbours until none are left",
        minutes=15,
        difficulty=3,
        reference=truth.group_regions,
        cases=truth.group_cases,
        returns=list,
        observe=truth.seen_regions,
        mistakes=[
            Mistake(
                "merges regions that do not touch",
                "You merged two regions that are alike but do not touch. Only pairs in `neighbours` may merge, and"
                " those that become neighbours by a merge.",
                wrong=truth.grouped_with(all_pairs=True),
            ),
            Mistake(
                "the least similar first",
                "You merge the pair with the *lowest* similarity.",
                wrong=truth.grouped_with(choose=min),
            ),
            Mistake(
                "old pairs left in",
                "You merged a region that had been merged before. Once two regions have become one, every pair with one"
                " of the two must go.",
                wrong=truth.grouped_with(keep_old=True),
            ),
            Mistake(
                "the new region has no neighbours",
                "You stop too early: your merged regions have no neighbours. Whatever touched one of the two parts"
                " touches the new region.",
                wrong=truth.grouped_with(inherit=False),
            ),
            Mistake(
                "only the merged ones",
                "The regions that you started from are missing. They are boxes too: return them first.",
                wrong=truth.grouped_with(only_merged=True),
            ),
            Mistake(
                "the new region is never compared",
                "You use the similarities of the beginning, in which the merged regions do not occur. Compare each new"
                " region with its neighbours.",
                wrong=truth.grouped_with(once=True),
            ),
            Mistake(
                "a pair twice",
                "You merge too often: some two regions merge twice. A region that touched *both* parts must stand in"
                " one pair with the new one, not in two. A set of pairs takes care of it.",
                when=lambda got, expected, case: len(got["boxes"]) > len(expected["boxes"]),
            ),
        ],
        hints=[
            "Keep a list of pairs that may merge. `max(pairs, key=...)` finds the best one.",
            "The new region gets the next number, `len(regions)` before you append it.",
            (
                "After a merge of a and b: who stood in a pair with a or b? Drop these pairs, and make a pair of each"
                " of those with the new number. No pair twice."
            ),
        ],
    ),
    Exercise(
        name="proposal_recall",
        lesson=LESSON,
        summary="The share of things found by the first 1, 2, 3 ... proposals",
        minutes=7,
        difficulty=2,
        reference=selective_search.proposal_recall,
        cases=truth.recall_cases,
        mistakes=[
            Mistake(
                "each proposal by itself",
                "Your curve falls again. A thing that was found by the first proposal is still found after the second.",
                wrong=truth.recall_not_summed_up,
            ),
            Mistake(
                "share of the proposals",
                "You counted how many *proposals* hit something: that is precision. Recall is the share of *things*.",
                wrong=truth.share_of_proposals,
            ),
            Mistake(
                "a thing counted twice",
                "Your recall passes 1, or rises with each proposal on the same thing. A thing can be found only once.",
                wrong=truth.counted_twice,
            ),
            Mistake(
                "exactly the threshold is refused",
                "An overlap of exactly the threshold counts as found.",
                wrong=truth.half_is_not_enough,
            ),
            Mistake(
                "overlaps averaged",
                "You averaged the overlaps. First decide for each thing whether it is found: yes or no.",
                wrong=truth.mean_overlap,
            ),
            Mistake(
                "only the end of the curve",
                "You give the recall of all proposals together, at every place. The first number is that of the first"
                " proposal alone.",
                wrong=truth.only_the_end,
            ),
        ],
        hints=[
            "`box_iou(proposals, truth)` has a row for each proposal and a column for each thing.",
            "The best overlap that a thing has had *so far*: a running maximum, `cummax`, down the rows.",
            "Compare with the threshold, and only then average over the things.",
        ],
    ),
    Exercise(
        name="context_warp",
        lesson=LESSON,
        summary="Cut boxes out with some context, and stretch them to squares",
        minutes=8,
        difficulty=2,
        reference=rcnn.context_warp,
        cases=truth.warp_cases,
        picture=compare_maps,
        atol=1e-4,
        mistakes=[
            Mistake(
                "context in pixels of the picture",
                "You made each box larger by `context` pixels of the *picture*. The margin is `context` pixels wide in"
                " the *crop*: around a large box it takes more of the picture.",
                wrong=truth.warped_with(grow=lambda half, size, context: half + context),
            ),
            Mistake(
                "no context at all",
                "Your crops show the box and nothing around it.",
                wrong=truth.warped_with(grow=lambda half, size, context: half),
            ),
            Mistake(
                "context on one side only",
                "Your margin is too narrow: half as wide as it should be. It lies on both sides, so the box keeps size"
                " − 2 · context pixels.",
                wrong=truth.warped_with(grow=lambda half, size, context: half * size / (size - context)),
            ),
            Mistake(
                "margin measured by the whole crop",
                "Your margin is a little too narrow. It is `context` of the crop's pixels, of which the box itself"
                " fills only size − 2 · context.",
                wrong=truth.warped_with(grow=lambda half, size, context: half * (1 + 2 * context / size)),
            ),
            Mistake(
                "grown by the inverse",
                "Your boxes became smaller. The crop must show more than the box.",
                wrong=truth.warped_with(grow=lambda half, size, context: half * (size - 2 * context) / size),
            ),
            Mistake(
                "aspect kept",
                "Your crops keep the shape of the box and take more of its surroundings on the short side. R-CNN "
                "stretches: width and height are scaled each by itself.",
                wrong=truth.warped_square,
            ),
            Mistake(
                "cut off at the picture's edge",
                "You moved the sides of the box back into the picture. Then the thing no longer sits in the middle of "
                "the crop. Leave the box as it is, and let `outside` fill what lies beyond.",
                wrong=truth.warped_clipped,
            ),
            Mistake(
                "black beyond the picture",
                "Beyond the picture your crops are black. Black is a colour like any other; the mean colour of the"
                " picture is the one that says least.",
                wrong=truth.warped_with(outside=lambda image: image.new_zeros(3)),
            ),
            Mistake(
                "one grey for all channels",
                "Beyond the picture your crops are grey. The mean *colour* has three numbers, one for each channel.",
                wrong=truth.warped_with(outside=lambda image: image.mean().expand(3)),
            ),
        ],
        hints=[
            "The box itself fills size − 2 · context of the crop's pixels. By which factor is the crop larger?",
            "Middle and half the size of each box; make the half larger; put the corners together again.",
            "The mean over rows and columns leaves one number a channel.",
        ],
    ),
    Exercise(
        name="svm_labels",
        lesson=LESSON,
        summary="Which regions are examples and which are counterexamples for the SVM of a class",
        minutes=8,
        difficulty=2,
        reference=rcnn.svm_labels,
        cases=truth.label_cases,
        mistakes=[
            Mistake(
                "parts as counterexamples",
                "You call every region that is no example a counterexample. Those with an IoU between 0.3 and 1 show a"
                " part of the thing: they are left out, -1.",
                wrong=truth.labelled_with(counter=1 - 1e-6),
            ),
            Mistake(
                "one limit for everything",
                "Every region became an example or a counterexample, with one limit between the two. Here there are three"
                " kinds: only true boxes are examples, and regions with a part of a thing are left out, −1.",
                when=truth.no_region_left_out,
            ),
            Mistake(
                "nearly right as examples",
                "You take regions that overlap by half as examples. Here only the true boxes themselves are.",
                wrong=truth.labelled_with(example=0.5 - 1e-6),
            ),
            Mistake(
                "things of all classes",
                "You looked at the overlap with things of *any* class. For the SVM of one class, only things of this"
                " class count.",
                wrong=truth.labelled_with(any_class=True),
            ),
            Mistake(
                "other classes left out",
                "You left out the regions on things of other classes. They are the most useful counterexamples: a cone"
                " is not a box.",
                wrong=truth.others_not_used,
            ),
            Mistake(
                "0 and -1 exchanged",
                "Counterexamples are 0, regions that are left out are -1. You have them the other way round.",
                when=lambda got, expected, case: (
                    got.shape == expected.shape and bool((got == (-1 - expected).where(expected < 1, expected)).all())
                ),
            ),
            Mistake(
                "counterexamples below a half",
                "You take regions below an IoU of 0.5 as counterexamples. The limit is 0.3.",
                wrong=truth.labelled_with(counter=0.5),
            ),
        ],
        hints=[
            "Choose the columns of `iou` that belong to things of this class: `labels == label` is a mask.",
            "What matters for a region is its best overlap. Mind a class without any thing: no column is left.",
            "Start with -1 everywhere, and then write the two other answers.",
        ],
    ),
    Exercise(
        name="box_targets",
        lesson=LESSON,
        summary="The four numbers that lead from a proposal to the thing",
        minutes=8,
        difficulty=2,
        reference=truth.box_targets,
        cases=truth.target_cases,
        mistakes=[
            Mistake(
                "logarithm forgotten",
                "The last two numbers are 1 where nothing changes. Take their logarithm: then no change is 0, twice as"
                " large and half as large are equally far from it.",
                wrong=truth.targets_with(log=False),
            ),
            Mistake(
                "shift in pixels",
                "Your first two numbers are pixels. A shift of 5 pixels is much for a small box and nothing for a large"
                " one: divide by the proposal's width and height.",
                wrong=truth.targets_with(divide=False),
            ),
            Mistake(
                "divided by the true size",
                "You divided the shift by the size of the true box. When the numbers are used, only the proposal is"
                " known.",
                wrong=truth.targets_with(by_truth=True),
            ),
            Mistake(
                "corner instead of middle",
                "You compared the upper left corners. The shift is that of the *middles*.",
                wrong=truth.targets_with(corner=True),
            ),
            Mistake(
                "the way back",
                "Your numbers lead from the true box to the proposal.",
                wrong=truth.targets_with(backwards=True),
            ),
            Mistake(
                "another order",
                "The order is x, y, width, height.",
                wrong=truth.targets_with(order=(0, 2, 1, 3)),
            ),
        ],
        hints=[
            "Middles and sizes first, of both boxes: eight columns of numbers.",
            "In which unit is the shift counted, so that a small and a large box are treated alike?",
            "For the size, which function of the ratio is 0 if both are equal?",
        ],
    ),
]
