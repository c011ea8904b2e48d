"""New masks join those that are there, and take the place of old ones that are the same."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.lessons.lesson_18._of_masks import (
    Overlap,
    dice,
    divided,
    drawn,
    of_both,
    of_the_first,
    of_the_picture,
    of_the_second,
    of_the_smaller,
)
from lib.ops.masks import mask_iou

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def merge_masks(old: Tensor, new: Tensor, threshold: float) -> Tensor:
    """The course's own."""
    same = mask_iou(old, new) >= threshold  # (M, N)
    return torch.cat([old[~same.any(dim=1)], new])  # (K, H, W)


# --- cases ------------------------------------------------------------------------------------------------------------


def rectangles(count: int, height: int, width: int, seed: int) -> Tensor:
    """(count, H, W) bool, each at least a third as high and wide as the picture."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, height, width, dtype=torch.bool)
    for mask in masks:
        top, bottom = (torch.rand(2, generator=generator) * height / 3).int()
        left, right = (torch.rand(2, generator=generator) * width / 3).int()
        mask[top : height - bottom, left : width - right] = True
    return masks


def cases() -> list[Case]:
    a, b, c = "####. .....", "..... ..###", "...## ....."  # old ones
    like_a, d = ".###. .....", "..... ##..."  # new ones
    old, new = drawn(a, b, c), drawn(like_a, d)
    label = (
        "3 old and 2 new masks of 2 × 5 pixels, worked by hand: the first new one shares 3 of 4 pixels with the first "
        "old one, and 1 of 4 with the last"
    )
    made = [Case(label, (old, new, 0.5), drawn(b, c, like_a, d))]
    half = drawn("####", "##..", "...#")
    named = {
        "IoU exactly at the threshold, 0.5": (half[1:], half[:1], 0.5),
        "a threshold of 1": (old, torch.cat([new, old[1:2]]), 1.0),
        "new masks that are alike": (
            drawn("#.....", "....##"),
            drawn("..##..", ".###..", "..##..", "##...."),
            0.25,
        ),
        "one column of pixels": (drawn("# # . .", ". . # ."), drawn("# # . .", ". # # .", ". . . #"), 0.4),
        "a small mask in a large one": (drawn("######", "##...."), drawn("....##", ".##..."), 0.7),
        "7 old and 5 new ones": (rectangles(7, 6, 9, seed=9), rectangles(5, 6, 9, seed=109), 0.79),
        "4 old and 6 new ones": (rectangles(4, 7, 5, seed=9), rectangles(6, 7, 5, seed=109), 0.61),
        "no old ones": (old[:0], new, 0.5),
        "no new ones": (torch.cat([old, old[:1]]), new[:0], 0.5),
        "none at all": (old[:0], new[:0], 0.5),
    }
    return made + [Case(label, given, mask_by_mask(*given)) for label, given in named.items()]


def mask_by_mask(old: Tensor, new: Tensor, threshold: float) -> Tensor:
    """The truth: masks as sets of places."""
    olds, news = ([set(map(tuple, mask.nonzero().tolist())) for mask in masks] for masks in (old, new))
    stays = [all(len(one & other) / len(one | other) < threshold for other in news) for one in olds]
    return torch.cat([old[torch.tensor(stays, dtype=torch.bool)], new])


# --- mistakes ---------------------------------------------------------------------------------------------------------


def opened(
    overlap: Overlap = mask_iou,
    same: Callable[[Tensor, float], Tensor] = torch.ge,
    gone: Callable[[Tensor], Tensor] = lambda same: same.any(dim=1),
    result: Callable[[Tensor, Tensor, Tensor, Tensor], Sequence[Tensor]] = lambda old, new, gone, same: (
        old[~gone],
        new,
    ),
) -> Callable[[Tensor, Tensor, float], Tensor]:
    """`merge_masks` with its decisions open.

    Args:
        overlap: how much of each other old and new masks are, (M, N).
        same: from this and the threshold to what is the same (M, N).
        gone: from that to which old ones go (M,).
        result: from old, new, which go, and what is the same, to the parts of the result.
    """

    def wrong(old: Tensor, new: Tensor, threshold: float) -> Tensor:
        alike = same(overlap(old, new), threshold)
        return torch.cat(list(result(old, new, gone(alike), alike)))

    return wrong


def agreement(old: Tensor, new: Tensor) -> Tensor:
    return (old[:, None] == new).flatten(2).float().mean(2)


def in_pairs(same: Tensor) -> Tensor:
    length = min(same.shape)
    return torch.cat([same.diagonal(), same.new_zeros(len(same) - length)])


def in_their_places(old: Tensor, new: Tensor, gone: Tensor, same: Tensor) -> list[Tensor]:
    """Each old mask that goes is replaced by the first new one that is the same and has no place yet."""
    placed: list[int] = []
    parts = []
    for mask, row, goes in zip(old, same, gone):
        free = [place for place in row.nonzero()[:, 0].tolist() if place not in placed]
        if not goes:
            parts.append(mask[None])
        elif free:
            placed.append(free[0])
            parts.append(new[free[:1]])
    return [*parts, new[[place for place in range(len(new)) if place not in placed]]]


@mistake(
    "new ones compared with each other",
    "You take the new masks one by one, and each drives away all that are the same: also those that came just before "
    "it. *All* new ones come; only old ones go.",
)
def one_by_one(old: Tensor, new: Tensor, threshold: float) -> Tensor:
    kept = old
    for mask in new:
        kept = torch.cat([kept[mask_iou(kept, mask[None])[:, 0] < threshold], mask[None]])
    return kept


@mistake(
    "first come, first kept",
    "You add a new mask only if nothing that is the same is there already, be it old or new. It is the other way "
    "round: all new ones come, and old ones that are the same go.",
)
def first_come(old: Tensor, new: Tensor, threshold: float) -> Tensor:
    kept = old
    for mask in new:
        kept = torch.cat([kept, mask[None][(mask_iou(mask[None], kept) < threshold).all(dim=1)]])
    return kept


@mistake(
    "new ones as one mask",
    "You put all new masks together into one, and compare the old ones with that. Compare with each new one alone.",
)
def with_all_at_once(old: Tensor, new: Tensor, threshold: float) -> Tensor:
    together = new.any(dim=0, keepdim=True)  # (1, H, W)
    return torch.cat([old[mask_iou(old, together)[:, 0] < threshold], new])


IOU = "The IoU is shared pixels / pixels of *either*, and these are the one's + the other's − the shared ones."

OF_OVERLAP: list[tuple[str, str, Overlap]] = [
    (
        "shared pixels counted twice",
        f"You divide by the pixels of the one + those of the other, where shared ones count twice. {IOU}",
        of_both,
    ),
    (
        "Dice",
        f"Your overlap is Dice, 2 · shared / (one + other), which is larger. {IOU}",
        dice,
    ),
    (
        "divided by the old mask",
        f"You divide by the pixels of the old mask, so that it goes if it lies inside a new one. {IOU}",
        of_the_first,
    ),
    (
        "divided by the new mask",
        f"You divide by the pixels of the new mask, so that an old one goes if the new one lies inside. {IOU}",
        of_the_second,
    ),
    (
        "divided by the smaller mask",
        f"You divide by the pixels of the smaller mask, so that one inside the other counts as the same. {IOU}",
        of_the_smaller,
    ),
    (
        "divided by all pixels",
        f"You divide by all pixels of the picture, for instance with `mean`. {IOU}",
        of_the_picture,
    ),
    (
        "pixels of neither count",
        f"You count the pixels where both masks say the same, so also those that neither has. {IOU}",
        agreement,
    ),
    (
        "any shared pixel",
        f"For you masks are the same as soon as they share a pixel. {IOU}",
        divided(lambda shared, one, other: shared.clamp(min=1)),
    ),
]

OF_CHOICE: list[tuple[str, str, Callable[[Tensor], Tensor]]] = [
    (
        "the same as all new ones",
        "For you an old mask goes if it is the same as *all* new ones. One is enough.",
        lambda same: same.all(dim=1),
    ),
    (
        "keeps what should go",
        "Of the old masks you keep those that are the same as a new one. They are the ones to go.",
        lambda same: ~same.any(dim=1),
    ),
    (
        "the first new one alone",
        "You compare with the first new mask alone. An old one goes if it is the same as *some* new one.",
        lambda same: same[:, :1].any(dim=1),
    ),
    (
        "the last new one alone",
        "The last new mask alone decides which old ones go. Does your loop forget what it found before?",
        lambda same: same[:, -1:].any(dim=1),
    ),
    (
        "in pairs",
        "You compare the first old mask with the first new one, the second with the second … Each old one is compared "
        "with each new one.",
        in_pairs,
    ),
    (
        "nothing goes",
        "You keep all old masks. Those that are the same as a new one go.",
        lambda same: same[:, :0].any(1),
    ),
]

OF_RESULT: list[tuple[str, str, Callable[[Tensor, Tensor, Tensor, Tensor], Sequence[Tensor]]]] = [
    (
        "the old one stays",
        "Where an old and a new mask are the same you keep the old one. It goes, and the new one comes.",
        lambda old, new, gone, same: (old, new[~same.any(dim=0)]),
    ),
    (
        "both go",
        "Where an old and a new mask are the same you drop both. The new one comes.",
        lambda old, new, gone, same: (old[~gone], new[~same.any(dim=0)]),
    ),
    (
        "new ones first",
        "Your new masks come first. The old ones that stay come before them.",
        lambda old, new, gone, same: (new, old[~gone]),
    ),
    (
        "in the place of the old one",
        "You put a new mask where the old one stood that it replaces. First come all old ones that stay, then all new "
        "ones, in their order.",
        in_their_places,
    ),
    (
        "new ones forgotten",
        "You return the old masks that stay. All new ones come after them.",
        lambda old, new, gone, same: (old[~gone],),
    ),
    (
        "new ones alone",
        "You return the new masks. Old ones that are the same as none of them stay, and come first.",
        lambda old, new, gone, same: (new,),
    ),
    (
        "once for each new one that differs",
        "An old mask comes several times, once for each new one that it differs from, even if it is the same as "
        "another. Look at all new ones before you keep it, once.",
        lambda old, new, gone, same: (old.repeat_interleave((~same).sum(dim=1), dim=0), new),
    ),
]


def draw_masks(got: Any, expected: Tensor, case: Case) -> "Figure":
    """All masks in four rows: old, new, yours, ours."""
    from matplotlib.figure import Figure  # here, because matplotlib takes longer to import than a check to run

    rows = {"old": case.arguments[0], "new": case.arguments[1], "yours": got, "expected": expected}
    figure = Figure(figsize=(7, 4.5), layout="constrained", facecolor="white")
    several = figure.subplots(len(rows), max(map(len, rows.values())), squeeze=False)
    for (title, masks), row in zip(rows.items(), several, strict=True):
        row[0].set_ylabel(title)
        for i, axes in enumerate(row):
            axes.set(xticks=[], yticks=[])
            if i < len(masks):
                axes.imshow(masks[i].numpy(), vmin=0, vmax=1, cmap="Blues")
            else:
                axes.set_frame_on(False)
    return figure


EXERCISE = Exercise(
    name="merge_masks",
    reference=merge_masks,
    cases=cases,
    takes={"old": Kind.MASK, "new": Kind.MASK},
    gives=Kind.MASK,
    mistakes=[
        Mistake(
            "above the threshold alone",
            "Right, but where the IoU is exactly the threshold: then, too, two masks are the same.",
            wrong=opened(same=torch.gt),
        ),
        *(
            Mistake(
                f"threshold {fixed} fixed",
                f"You compare with {fixed}, whatever `threshold` is.",
                wrong=opened(same=lambda overlap, _, fixed=fixed: overlap >= fixed),
            )
            for fixed in (0.5, 0.7)
        ),
        *(Mistake(name, told, wrong=opened(overlap)) for name, told, overlap in OF_OVERLAP),
        *(Mistake(name, told, wrong=opened(gone=gone)) for name, told, gone in OF_CHOICE),
        *(Mistake(name, told, wrong=opened(result=result)) for name, told, result in OF_RESULT),
        one_by_one,
        first_come,
        with_all_at_once,
    ],
    picture=draw_masks,
)
