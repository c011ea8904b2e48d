"""Keep the best mask, drop all that are nearly the same, go on with the rest."""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import different_scores, random_uniform
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_18._of_masks import (
    Overlap,
    dice,
    drawn,
    not_divided,
    of_both,
    of_the_first,
    of_the_picture,
    of_the_second,
    of_the_smaller,
)
from lib.ops import mask_filters
from lib.ops.masks import mask_iou, masks_to_boxes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def mask_nms(masks: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """The course's own: greedy, as `lib.ops.nms.nms`, with the IoU of masks."""
    return mask_filters.mask_nms(masks, scores, threshold)


def crowded(count: int, height: int, width: int, seed: int) -> Tensor:
    """Rectangles in a crowd, each without some of its pixels: (count, height, width) bool, none empty."""
    middles, sides = random_uniform(2, count, 2, 1, seed=seed)  # each (count, 2, 1)
    size = torch.tensor([height, width])[:, None]
    rows, columns = (
        (torch.arange(length) + 0.5 - middles[:, axis] * size[axis]).abs()
        <= (0.16 + 0.24 * sides[:, axis]) * size[axis]
        for axis, length in enumerate((height, width))
    )  # (count, height), (count, width)
    masks = rows[:, :, None] & columns[:, None, :] & (random_uniform(count, height, width, seed=seed + 1) < 0.85)
    masks[~masks.flatten(1).any(1)] = True
    return masks


def cases() -> list[Case]:
    row = drawn("####.. ####..", ".####. .####.", "..#### ..####")
    alike = drawn("###. ###. ....", ".... .### .###", "#### #### ....", "..## .### .###", "#... #... #...")
    halves = drawn("##.. ##..", "#### ####", "..## ..##")
    nested = drawn("......##", "....####", "########", "#.......")
    boards = drawn("#.#.# .#.#. #.#.#", ".#.#. #.#.# .#.#.", "##### ##### #####", "#...# ..... #...#")
    named = {
        "3 masks of 2 × 6 pixels, each 1 further to the right": (row, torch.tensor([0.7, 0.8, 0.9]), 0.5),
        "5 masks, in no order": (alike, torch.tensor([0.5, 0.9, 0.8, 0.7, 0.6]), 0.55),
        "an IoU that is exactly the threshold": (halves, torch.tensor([0.7, 0.9, 0.8]), 0.5),
        "one mask inside of another": (nested, torch.tensor([0.6, 0.9, 0.8, 0.7]), 0.55),
        "two masks like a chessboard, that share no pixel": (boards, torch.tensor([0.6, 0.5, 0.3, 0.4]), 0.55),
        "scores below 0": (row, torch.tensor([-0.7, -2.0, -0.1]), 0.5),
        "threshold 0": (crowded(9, 8, 10, seed=28), different_scores(9, 2), 0.0),
        "threshold 1, and two masks are the same": (alike[[0, 1, 0]], torch.tensor([0.6, 0.9, 0.8]), 1.0),
        "12 masks": (crowded(12, 9, 7, seed=3), different_scores(12, 4), 0.31),
        "30 masks": (crowded(30, 6, 11, seed=5), different_scores(30, 6), 0.41),
        "40 masks, threshold 0.21": (crowded(40, 12, 5, seed=7), different_scores(40, 8), 0.21),
        "all lengths are 4": (crowded(4, 4, 4, seed=9), different_scores(4, 10), 0.35),
        "masks of one row": (crowded(9, 1, 13, seed=11), different_scores(9, 12), 0.45),
        "masks of one pixel": (drawn("#", "#", "#"), torch.tensor([0.2, 0.4, 0.3]), 0.5),
        "one mask": (crowded(1, 3, 5, seed=14), torch.tensor([0.3]), 0.5),
        "no masks": (torch.empty(0, 3, 5, dtype=torch.bool), torch.empty(0), 0.5),
    }
    return [Case(label, given, as_sets(*given)) for label, given in named.items()]


def as_sets(masks: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """The truth: masks as sets of pixels, and IoUs as fractions. Who is kept overlaps nobody that was kept before."""
    pixels = [{place for place, yes in enumerate(mask) if yes} for mask in masks.flatten(1).tolist()]
    kept: list[int] = []
    for place in sorted(range(len(pixels)), key=lambda place: -scores[place].item()):
        ious = [Fraction(len(pixels[place] & pixels[k]), len(pixels[place] | pixels[k])) for k in kept]
        if all(iou <= Fraction(threshold) for iou in ious):
            kept.append(place)
    return torch.tensor(kept, dtype=torch.int64)


Rule = Callable[[Tensor, float], list[int]]  # this table and the threshold -> places in the sorted list


def greedy(overlap: Tensor, threshold: float, above: Callable[..., Tensor] = torch.gt) -> list[int]:
    left, kept = torch.arange(len(overlap)), []
    while len(left):
        kept.append(int(left[0]))
        left = left[1:][~above(overlap[left[0], left[1:]], threshold)]
    return kept


def opened(
    masks: Tensor,
    scores: Tensor,
    threshold: float,
    order: Callable[[Tensor], Tensor] = lambda scores: scores.argsort(descending=True),
    overlap: Overlap = mask_iou,
    rule: Rule = greedy,
    told: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = lambda order, kept, masks, scores: order[kept],
) -> Tensor:
    """`mask_nms` with its decisions open; `told` gets order, places in it, masks and scores."""
    sorted_ = order(scores)  # (M,)
    kept = rule(overlap(masks[sorted_], masks[sorted_]), threshold)
    return told(sorted_, torch.tensor(kept, dtype=torch.int64), masks, scores)


def of_boxes(some: Tensor, others: Tensor, more: int) -> Tensor:
    one, other = (masks_to_boxes(masks) + torch.tensor([0, 0, more, more]) for masks in (some, others))
    return box_iou(one, other)


def removed_ones_remove(overlap: Tensor, threshold: float) -> list[int]:
    return (overlap.triu(1) <= threshold).all(0).nonzero()[:, 0].tolist()


def the_neighbours_stay(overlap: Tensor, threshold: float) -> list[int]:
    return greedy(overlap, threshold, above=torch.le)


def at_fixed_threshold(overlap: Tensor, threshold: float, fixed: float) -> list[int]:
    return greedy(overlap, fixed)


def one_round(overlap: Tensor, threshold: float) -> list[int]:
    return [i for i in range(len(overlap)) if i == 0 or overlap[0, i] <= threshold]


def last_one_alone(overlap: Tensor, threshold: float) -> list[int]:
    kept: list[int] = []
    for i in range(len(overlap)):
        if not kept or overlap[kept[-1], i] <= threshold:
            kept.append(i)
    return kept


def none_left(overlap: Tensor, threshold: float) -> list[int]:
    return (overlap <= threshold).all(0).nonzero()[:, 0].tolist()


OVERLAPS: list[tuple[str, str, Overlap]] = [
    *(
        (
            f"boxes compared, {how}",
            "You compared the boxes around the masks. (SAM does so, too: it is faster.) But two masks can have nearly "
            "one box and share few pixels. Compare the masks themselves.",
            partial(of_boxes, more=more),
        )
        for how, more in (("last pixels counted", 1), ("last pixels not counted", 0))
    ),
    (
        "divided by the smaller mask",
        "You divided the shared pixels by those of the smaller mask, so that a part drops the whole around it. An IoU "
        "divides by the pixels of *either*: part and whole are two masks.",
        of_the_smaller,
    ),
    (
        "divided by the kept mask",
        "You divided the shared pixels by those of the kept mask alone. An IoU divides by the pixels of *either*.",
        of_the_first,
    ),
    (
        "divided by the other mask",
        "You divided the shared pixels by those of the mask that may be dropped. An IoU divides by those of *either*.",
        of_the_second,
    ),
    (
        "Dice instead of IoU",
        "That is Dice, 2 · shared / (one + other). An IoU divides the shared pixels by those of *either*.",
        dice,
    ),
    (
        "shared pixels counted twice",
        "You divided by the pixels of the one plus those of the other. There the shared ones count twice: take them "
        "away once.",
        of_both,
    ),
    (
        "divided by all pixels of the picture",
        "You divided the shared pixels by all of the picture, for instance with `mean`. Pixels that neither mask has "
        "do not count.",
        of_the_picture,
    ),
    (
        "shared pixels not divided",
        "You compare the *number* of shared pixels with the threshold. Divide it by the pixels of either.",
        not_divided,
    ),
]

RULES: list[tuple[str, str, Rule]] = [
    *(
        (
            f"threshold {fixed} fixed",
            f"You compare with {fixed}, whatever `threshold` is.",
            partial(at_fixed_threshold, fixed=fixed),
        )
        for fixed in (0.5, 0.7)
    ),
    (
        "an IoU of exactly the threshold drops",
        "Right, but where the IoU is exactly the threshold. A mask goes if it is *above*.",
        partial(greedy, above=torch.ge),
    ),
    (
        "removed masks remove",
        "A mask that was dropped still drops others in yours. In a row of three, each like the next, the second is "
        "dropped by the first, and must not drop the third any more.",
        removed_ones_remove,
    ),
    (
        "keeps what it should drop",
        "You go on with the masks that are like the kept one. Those are the ones to drop.",
        the_neighbours_stay,
    ),
    (
        "only one round",
        "Only the very best mask drops others in yours. Each mask that is kept does.",
        one_round,
    ),
    (
        "compared with the last kept mask alone",
        "You compare a mask with the one that was kept last. It must be unlike *all* that were kept.",
        last_one_alone,
    ),
    (
        "dropped by itself",
        "Each mask has an IoU of 1 with itself: in yours it drops itself, so that next to nothing is left.",
        none_left,
    ),
]

FORMS: list[tuple[str, str, dict[str, Any]]] = [  # a name, words, and decisions of `opened`
    (
        "not sorted by score",
        "You went through the masks in the order of the list. The one with the highest score goes first.",
        {"order": lambda scores: torch.arange(len(scores))},
    ),
    (
        "the worst goes first",
        "You began with the lowest score. `argsort` sorts upwards if it is not told otherwise.",
        {"order": torch.argsort},
    ),
    (
        "places in the sorted list",
        "Your numbers are places in the *sorted* list. The caller has the unsorted one: give the places there.",
        {"told": lambda order, kept, masks, scores: kept},
    ),
    (
        "masks instead of places",
        "You returned the masks. Their scores are wanted, too: return their places, (K,).",
        {"told": lambda order, kept, masks, scores: masks[order[kept]]},
    ),
    (
        "scores instead of places",
        "You returned the scores of the kept masks. Asked are their places in the list.",
        {"told": lambda order, kept, masks, scores: scores[order[kept]]},
    ),
    (
        "yes or no instead of places",
        "You returned a yes or no for each mask. Asked are the places of those that stay, the best first.",
        {"told": lambda order, kept, masks, scores: torch.isin(torch.arange(len(order)), order[kept])},
    ),
]


def draw_kept(got: Any, expected: Tensor, case: Case) -> "Figure | None":
    """The masks of the highest scores one by one, the best first, and who keeps each."""
    from matplotlib.figure import Figure  # here, because matplotlib takes longer to import than a check to run

    masks, scores = case.arguments[:2]
    if not (isinstance(got, Tensor) and got.dtype == torch.int64 and got.ndim == 1 and len(masks)):
        return None
    best = scores.argsort(descending=True).tolist()[:10]
    figure = Figure(figsize=(10, 1.7 * -(-len(best) // 5)), layout="constrained", facecolor="white")
    for axes, place in zip(figure.subplots(-(-len(best) // 5), 5, squeeze=False).flat, best, strict=False):
        yours, ours = place in got.tolist(), place in expected.tolist()
        says = {(True, True): "kept", (False, False): "dropped", (True, False): "yours keeps it"}
        axes.imshow(masks[place].numpy(), cmap="Blues" if yours == ours else "Oranges", vmin=0, vmax=1.4)
        axes.set_title(f"{place}: {scores[place]:.2f}, {says.get((yours, ours), 'yours drops it')}", fontsize=9)
    for axes in figure.axes:
        axes.set(xticks=[], yticks=[], frame_on=False)
    return figure


EXERCISE = Exercise(
    name="mask_nms",
    reference=mask_nms,
    cases=cases,
    takes={"masks": Kind.MASK},
    gives=Kind.INDICES,
    lesson_size=lambda: (crowded(100, 96, 96, seed=15), different_scores(100, 16), 0.7),
    mistakes=[
        *(Mistake(name, told, wrong=partial(opened, **made)) for name, told, made in FORMS),
        *(Mistake(name, told, wrong=partial(opened, rule=rule)) for name, told, rule in RULES),
        *(Mistake(name, told, wrong=partial(opened, overlap=overlap)) for name, told, overlap in OVERLAPS),
    ],
    picture=draw_kept,
)
