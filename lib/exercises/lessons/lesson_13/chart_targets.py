"""What the head is to say of one figure: part and place in the middle of each cell of its box."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_classes, random_uniform
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.ops.charts import crop_charts

Targets = tuple[Tensor, Tensor]


def chart_targets(parts: Tensor, uv: Tensor, mask: Tensor, box: Tensor, size: int) -> Targets:
    """The course's own, `lib.ops.charts.crop_charts` as in `lib.datasets.toyworld.targets`, for one box."""
    cut_parts, cut_uv = crop_charts((parts * mask)[None], uv.permute(2, 0, 1)[None], box[None], size)
    return cut_parts[0], cut_uv[0] * (cut_parts > 0)


def cases() -> list[Case]:
    named = {
        "2 × 2 cells in a box of 5.2 × 3.8 pixels": (6, 7, [0.9, 2.1, 6.1, 5.9], 2),
        "a tall box": (14, 11, [2.3, 1.2, 8.9, 12.9], 5),
        "a wide box": (9, 15, [1.4, 2.8, 13.6, 7.3], 4),
        "more cells than pixels": (8, 9, [3.2, 2.4, 6.7, 5.3], 6),
        "a box that sticks out at the left and above": (8, 9, [-3.4, -2.6, 5.4, 6.1], 4),
        "a box that sticks out at the right and below": (7, 8, [3.4, 2.3, 11.2, 9.9], 4),
        "a box larger than the picture": (5, 6, [-2.4, -1.7, 8.3, 6.9], 7),
        "one cell": (6, 5, [0.7, 1.6, 3.8, 4.9], 1),
        "a cell for each pixel": (5, 5, [0, 0, 5, 5], 5),
    }
    made = []
    for seed, (label, (height, width, box, size)) in enumerate(named.items(), start=48):
        arguments = (*figures(height, width, seed), torch.tensor(box, dtype=torch.float32), size)
        made.append(Case.from_truth(label, arguments, cell_by_cell))
    return made


def figures(height: int, width: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Parts, places and the mask of one figure; of the other pixels about half are of another figure."""
    who = random_classes(height, width, classes=5, seed=seed)  # 0 nobody, 1 another, 2..4 the figure
    parts = (1 + random_classes(height, width, classes=6, seed=seed + 20)) * (who > 0)
    uv = (0.1 + 0.9 * random_uniform(height, width, 2, seed=seed + 40)) * (who > 0)[..., None]
    return parts, uv, who >= 2


def cell_by_cell(parts: Tensor, uv: Tensor, mask: Tensor, box: Tensor, size: int) -> Targets:
    """The truth, in plain numbers."""
    left, top, right, bottom = box.tolist()
    cut_parts, cut_uv = torch.zeros(size, size, dtype=torch.int64), torch.zeros(2, size, size)
    for row in range(size):
        for column in range(size):
            j = math.floor(left + (2 * column + 1) * (right - left) / (2 * size))
            i = math.floor(top + (2 * row + 1) * (bottom - top) / (2 * size))
            if 0 <= i < parts.shape[0] and 0 <= j < parts.shape[1] and mask[i, j]:
                cut_parts[row, column], cut_uv[:, row, column] = parts[i, j], uv[i, j]
    return cut_parts, cut_uv


def middles(size: int) -> Tensor:
    """The middles of cells, from 0 at the first side of the box to 1 at the second."""
    return (torch.arange(size) + 0.5) / size


def inside(place: Tensor, side: int) -> Tensor:
    return (place >= 0) & (place < side)


def cut(
    parts: Tensor,
    uv: Tensor,
    mask: Tensor,
    box: Tensor,
    size: int,
    share: Callable[[int], Tensor] = middles,
    whole: Callable[[Tensor], Tensor] = torch.floor,
    within: Callable[[Tensor, int], Tensor] = inside,
    onto: Callable[[Tensor, int], Tensor] = lambda place, side: place.clamp(-side, side - 1),
    own: bool = True,
    places_own: Callable[[Tensor, Tensor], Tensor] = lambda shown, there: shown,
) -> Targets:
    """`chart_targets` with its decisions open.

    Args:
        share: places in the box, from 0 to 1.
        whole: from places in pixels to the pixels' numbers.
        within: which numbers lie in the picture, along a side of so many pixels.
        onto: the number that is read in their stead.
        own: whether the mask is asked.
        places_own: where u and v stay, from where the part does and from what lies in the picture.
    """
    height, width = parts.shape
    columns = whole(box[0] + share(size) * (box[2] - box[0])).long()[None, :]  # (1, S)
    rows = whole(box[1] + share(size) * (box[3] - box[1])).long()[:, None]  # (S, 1)
    there = within(rows, height) & within(columns, width)  # (S, S)
    rows, columns = onto(rows, height), onto(columns, width)
    shown = there & mask[rows, columns] if own else there
    return parts[rows, columns] * shown, uv[rows, columns].permute(2, 0, 1) * places_own(shown, there)


def always(place: Tensor, side: int) -> Tensor:
    return torch.ones_like(place, dtype=torch.bool)


def transposed(*given) -> Targets:
    cut_parts, cut_uv = chart_targets(*given)
    return cut_parts.T, cut_uv.transpose(1, 2)


def of_another_box(change: Callable[[Tensor, int, int], Tensor], **decisions) -> Callable[..., Targets]:
    """`cut`, of a box that is made of the given one and the picture's height and width."""
    return lambda parts, uv, mask, box, size: cut(parts, uv, mask, change(box, *parts.shape), size, **decisions)


def clipped(box: Tensor, height: int, width: int) -> Tensor:
    return torch.minimum(box.clamp(min=0), torch.tensor([width, height, width, height]))


def sampled(
    parts: Tensor,
    uv: Tensor,
    mask: Tensor,
    box: Tensor,
    size: int,
    mode: str = "bilinear",
    corners: bool = False,
    parts_too: bool = True,
) -> Targets:
    """`chart_targets` by `F.grid_sample`."""
    sides = torch.tensor([parts.shape[1], parts.shape[0]])
    x, y = (2 * (box[k] + middles(size) * (box[k + 2] - box[k])) / sides[k] - 1 for k in (0, 1))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=2)[None]  # (1, S, S, 2)
    own = torch.cat([parts[..., None], uv], dim=2) * mask[..., None]  # (H, W, 3)
    read = F.grid_sample(own.permute(2, 0, 1)[None], grid, mode, "zeros", corners)[0]  # (3, S, S)
    if parts_too:
        return read[0].round().long(), read[1:]
    cut_parts = chart_targets(parts, uv, mask, box, size)[0]
    return cut_parts, read[1:] * (cut_parts > 0)


def averaged(parts: Tensor, uv: Tensor, mask: Tensor, box: Tensor, size: int, parts_too: bool = True) -> Targets:
    own = torch.cat([parts[..., None], uv], dim=2) * mask[..., None]  # (H, W, 3)
    read = roi_align(own.permute(2, 0, 1)[None], [box[None]], size, aligned=True)[0]  # (3, S, S)
    if parts_too:
        return read[0].round().long(), read[1:]
    cut_parts = chart_targets(parts, uv, mask, box, size)[0]
    return cut_parts, read[1:] * (cut_parts > 0)


def targets_compared(got: Targets, expected: Targets, case: Case):
    return compare_maps(*(torch.cat([parts[None], uv]) for parts, uv in (got, expected)), case)


NOT_MIXED = "A place between those of an arm and of a leg lies on neither: take all from the one pixel."
NOT_ZERO = "The parts are right. But u and v must be 0, too, where the figure is not seen."
CORNERS = "Ask in its middle: the middle of the first cell lies half a cell from the edge of the box."

MISTAKES = [
    Mistake(
        "corners of cells",
        f"You asked at the upper left corner of each cell. {CORNERS}",
        wrong=partial(cut, share=lambda size: torch.arange(size) / size),
    ),
    Mistake(
        "from edge to edge",
        "Your first cell asks on the left edge of the box and your last one on its right edge, as `torch.linspace` "
        f"from x1 to x2 has it. {CORNERS}",
        wrong=partial(cut, share=lambda size: torch.linspace(0, 1, size)),
    ),
    Mistake(
        "corners of cells, at the other end",
        f"You asked at the lower right corner of each cell. {CORNERS}",
        wrong=partial(cut, share=lambda size: (torch.arange(size) + 1) / size),
    ),
    Mistake(
        "rounded",
        "You rounded the middles to whole numbers. Pixel 3 reaches from 3 to 4: a middle at 3.7 falls in it.",
        wrong=partial(cut, whole=torch.round),
    ),
    Mistake(
        "half a pixel subtracted",
        "You subtracted half a pixel before rounding down. That is for *mixing* pixels, by their middles. The task "
        "asks in which pixel a place falls: pixel 3 reaches from 3 to 4.",
        wrong=partial(cut, whole=lambda place: (place - 0.5).floor()),
    ),
    Mistake(
        "rounded up",
        "You rounded the middles up. Pixel 3 reaches from 3 to 4: a middle at 3.7 falls in it.",
        wrong=partial(cut, whole=torch.ceil),
    ),
    Mistake(
        "decimals cut off below 0",
        "Right but just beyond the left or upper edge of the picture. `.long()` and `int` make 0 of −0.3, and 0 is a "
        "pixel of the picture. Round *down*.",
        wrong=partial(cut, whole=torch.trunc),
    ),
    Mistake(
        "rows and columns exchanged",
        "Your result is transposed: its rows go along x. A row of cells has one y, and all of the x.",
        wrong=transposed,
    ),
    Mistake(
        "the other figures, too",
        "You left the parts and places of other figures in. They count as nothing, although they lie in the box: "
        "`mask` says which pixels are this figure's.",
        wrong=partial(cut, own=False),
    ),
    Mistake(
        "places of the others",
        f"{NOT_ZERO} You left the places of other figures in.",
        wrong=partial(cut, places_own=lambda shown, there: there),
    ),
    Mistake(
        "places everywhere",
        f"{NOT_ZERO} You left the places of other figures in, and beyond the picture those of its rim.",
        wrong=partial(
            cut,
            onto=lambda place, side: place.clamp(0, side - 1),
            places_own=lambda shown, there: torch.ones_like(shown),
        ),
    ),
    Mistake(
        "no places",
        "Your parts are right. But u and v are 0 everywhere: never filled in, or put into whole numbers?",
        wrong=partial(cut, places_own=lambda shown, there: torch.zeros_like(shown)),
    ),
    Mistake(
        "v before u",
        "All right but for the order of u and v: u comes first.",
        wrong=lambda parts, uv, *rest: chart_targets(parts, uv.flip(-1), *rest),
    ),
    Mistake(
        "the rim goes on",
        "Right in the picture. Beyond it you go on with the pixels of its rim; there is nothing: 0.",
        wrong=partial(cut, within=always, onto=lambda place, side: place.clamp(0, side - 1)),
    ),
    Mistake(
        "the rim goes on, to the right and below",
        "Right but to the right of the picture and below it: there you go on with the pixels of its rim. There is "
        "nothing: 0.",
        wrong=partial(cut, within=lambda place, side: place >= 0),
    ),
    Mistake(
        "read from the other side",
        "Left of the picture and above it you have negative numbers of pixels, and −1 is the *last* one in Python. "
        "Beyond the picture there is nothing: 0.",
        wrong=partial(cut, within=lambda place, side: place < side),
    ),
    Mistake(
        "read from the other side, and beyond the last pixel",
        "You read whatever number comes out. Left of the picture and above it, it is negative, and −1 is the *last* "
        "pixel in Python; beyond the right and lower edge there is no pixel of that number.",
        wrong=partial(cut, within=always, onto=lambda place, side: place),
    ),
    Mistake(
        "the box squeezed into the picture",
        "Right for boxes in the picture. Where one sticks out you first cut the box, and then divided what was left. "
        "The cells divide the *whole* box; those beyond the picture show nothing.",
        wrong=of_another_box(clipped),
    ),
    Mistake(
        "box rounded",
        "You rounded the box to whole pixels. Divide it as it is; only the middles of its cells fall in pixels.",
        wrong=of_another_box(lambda box, *sides: box.round()),
    ),
    Mistake(
        "the box's decimals cut off",
        "You cut the box's decimals off. Divide it as it is; only the middles of its cells fall in pixels.",
        wrong=of_another_box(lambda box, *sides: box.trunc()),
    ),
    Mistake(
        "cropped and resized",
        "You cut whole pixels out and resized them. Then the box is rounded, it ends where the picture does, and "
        '`mode="nearest"` asks at the corners of the cells, not in their middles.',
        wrong=of_another_box(
            lambda box, *sides: clipped(box.round(), *sides), share=lambda size: torch.arange(size) / size
        ),
    ),
    Mistake(
        "the width for both sides",
        "You divided the box's width for both sides: your cells are as high as they are wide. Divide its height, too.",
        wrong=of_another_box(lambda box, *sides: torch.stack([*box[:3], box[1] + box[2] - box[0]])),
    ),
    Mistake(
        "the height for both sides",
        "You divided the box's height for both sides: your cells are as wide as they are high. Divide its width, too.",
        wrong=of_another_box(lambda box, *sides: torch.stack([*box[:2], box[0] + box[3] - box[1], box[3]])),
    ),
    Mistake(
        "the whole picture",
        "You divided the whole picture into cells. It should be the part of it in the box.",
        wrong=of_another_box(lambda box, height, width: torch.tensor([0, 0, width, height])),
    ),
    Mistake(
        "places mixed",
        f"Your parts are right. But u and v are mixed from the four pixels around. {NOT_MIXED}",
        wrong=partial(sampled, parts_too=False),
    ),
    Mistake(
        "parts and places mixed",
        "You mixed the four pixels around, the numbers of the parts as well, and rounded: half a 2 and half a 4 became "
        "a 3, which is another part. Take all from the one pixel.",
        wrong=sampled,
    ),
    Mistake(
        "corners aligned",
        "With `align_corners=True`, −1 and 1 are the *middles* of the outermost pixels. You put the picture's edges "
        "there, which is right with `align_corners=False`.",
        wrong=partial(sampled, mode="nearest", corners=True),
    ),
    Mistake(
        "places averaged",
        f"Your parts are right. But u and v are averaged over their cells by `roi_align`. {NOT_MIXED}",
        wrong=partial(averaged, parts_too=False),
    ),
    Mistake(
        "parts and places averaged",
        "You averaged over the cells with `roi_align`, the numbers of the parts as well, and rounded: half a 2 and "
        "half a 4 became a 3, which is another part. Take all from the one pixel.",
        wrong=averaged,
    ),
]

EXERCISE = Exercise(
    name="chart_targets",
    reference=chart_targets,
    cases=cases,
    takes={"mask": Kind.MASK, "box": Kind.BOXES},
    gives=(Kind.CLASSES, Kind.MAP),
    mistakes=MISTAKES,
    picture=targets_compared,
)
