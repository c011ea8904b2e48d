"""A detector's boxes as prompts for SAM: two corners each, in the pixels that SAM sees."""

from collections.abc import Callable
from functools import partial
from itertools import product
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib.exercises.engine.box_pictures import compare_boxes
from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_uniform
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.values import in_single_precision
from lib.ops.boxes import box_cxcywh_normalized_to_xyxy, clip_boxes_to_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Size = tuple[int, int]  # H, W
Prompts = tuple[Tensor, Tensor]  # points (N, 2, 2), labels (N, 2)

TOP_LEFT, BOTTOM_RIGHT = 2, 3  # as in lib.layers.prompt_encoder


def boxes_to_prompts(boxes: Tensor, size: Size, side: int) -> Prompts:
    """The course's own."""
    corners = clip_boxes_to_image(box_cxcywh_normalized_to_xyxy(boxes, size), size)  # (N, 4) pixels of the picture
    points = corners.reshape(-1, 2, 2) * side / max(size)
    return points, torch.tensor([[TOP_LEFT, BOTTOM_RIGHT]]).repeat(len(boxes), 1)


# --- cases ------------------------------------------------------------------------------------------------------------


def scattered(count: int, seed: int) -> Tensor:
    """Boxes (count, 4) cx cy w h as shares, many of which stick out of the picture."""
    return random_uniform(count, 4, seed=seed) * torch.tensor([1.0, 1.0, 0.7, 0.7]) + torch.tensor([0, 0, 0.05, 0.05])


def cases() -> list[Case]:
    by_hand = torch.tensor([[0.5, 0.25, 0.25, 0.25], [0.875, 0.5, 0.5, 0.75]])
    # 40 × 20 pixels become 80 × 40. The first box: 30 to 50 and 5 to 15. The second one: 50 to 90, cut at 80; 5 to 35.
    worked = torch.tensor([[[30.0, 5], [50, 15]], [[50, 5], [80, 35]]]), torch.tensor([[2, 3], [2, 3]])
    outside = torch.tensor([[1.25, 0.5, 0.25, 0.5], [0.5, -0.5, 0.25, 0.5], [-0.5, 1.5, 0.5, 0.25]])
    named = {
        "a picture that is higher than wide, and larger than SAM's": (scattered(3, 1), (150, 60), 64),
        "9 boxes, a picture that is wider than high, and smaller": (scattered(9, 2), (30, 48), 1024),
        "a square picture that keeps its size": (scattered(5, 3), (96, 96), 96),
        "boxes of the whole picture, and larger": (
            torch.tensor([[0.5, 0.5, 1, 1], [0.5, 0.5, 1.5, 1.25]]),
            (50, 70),
            100,
        ),
        "boxes outside of the picture": (outside, (21, 35), 50),
        "all lengths are 4": (scattered(4, 4), (4, 4), 4),
        "one box": (scattered(1, 5), (33, 77), 100),
        "no boxes": (torch.zeros(0, 4), (48, 64), 96),
    }
    label = "2 boxes in a picture of 20 × 40 pixels that SAM sees twice as large; the second one sticks out; by hand"
    made = [Case(label, (by_hand, (20, 40), 80), worked)]
    return made + [Case(label, given, corner_by_corner(*given)) for label, given in named.items()]


def corner_by_corner(boxes: Tensor, size: Size, side: int) -> Prompts:
    """The truth, in plain numbers: lengths in SAM's pixels, the middle, then half a side to either side."""
    height, width = (length * side / max(size) for length in size)
    points = []
    for x, y, w, h in boxes.tolist():
        xs, ys = ([(middle + way * share / 2) for way in (-1, 1)] for middle, share in ((x, w), (y, h)))
        points.append([(min(max(a, 0), 1) * width, min(max(b, 0), 1) * height) for a, b in zip(xs, ys)])
    return torch.tensor(points).reshape(-1, 2, 2), torch.tensor([[2, 3]] * len(boxes)).long().reshape(-1, 2)


# --- mistakes ---------------------------------------------------------------------------------------------------------

Sides = tuple[float, float]  # along x, along y
Corners = Callable[[Tensor], Tensor]  # (N, 4) shares, cx cy w h -> (N, 4) shares, xyxy
Scale = Callable[[Size, int], Sides]  # what the shares x and y are multiplied by
Edges = Callable[[Tensor, Sides, Size, int], Tensor]  # (N, 4) xyxy; how long the picture's sides are then; size; side


def half_to_each_side(boxes: Tensor, half: float = 0.5) -> Tensor:
    middle, sides = boxes[:, :2], boxes[:, 2:]
    return torch.cat([middle - half * sides, middle + half * sides], 1)


def seen_by_sam(size: Size, side: int) -> Sides:
    return size[1] * side / max(size), size[0] * side / max(size)


def cut(corners: Tensor, ends: Sides) -> Tensor:
    """(N, 4) xyxy from 0 to these ends."""
    return torch.minimum(corners.clamp(min=0), torch.tensor(2 * ends))


def rounded_sides(size: Size, side: int, how: Callable[[float], int]) -> Sides:
    width, height = seen_by_sam(size, side)
    return how(width), how(height)


def in_the_middle(corners: Tensor, ends: Sides, size: Size, side: int, edge: bool | None) -> Tensor:
    """The picture lies in the middle of the square; cut at its edges, or those of the square (False), or not."""
    margins = torch.tensor([side - end for end in 2 * ends]) / 2
    if edge:
        corners = cut(corners, ends)
    return (corners + margins).clamp(0, side) if edge is False else corners + margins


def opened(
    boxes: Tensor,
    size: Size,
    side: int,
    before: Callable[[Tensor], Tensor] = lambda boxes: boxes,
    corners: Corners = half_to_each_side,
    scale: Scale = seen_by_sam,
    edges: Edges = lambda corners, ends, size, side: cut(corners, ends),
    point: Callable[[Tensor], Tensor] = lambda points: points,
    types: tuple[int, int] = (TOP_LEFT, BOTTOM_RIGHT),
) -> Prompts:
    """`boxes_to_prompts` with its decisions open.

    Args:
        before: what happens to the boxes first. edges: how the corners, in pixels, are cut.
        point: what happens to the points (N, 2, 2). types: of a box's two points.
    """
    ends = scale(size, side)
    made = edges(corners(before(boxes)) * torch.tensor(2 * ends), ends, size, side)  # (N, 4)
    return point(made.reshape(-1, 2, 2)), torch.tensor([types]).repeat(len(boxes), 1)


ROUNDED = (
    "You round the sides of the picture as SAM sees it. Here they need not be whole numbers: leave out the rounding."
)
SCALED = "The picture's longer side becomes `side`, and the other one shrinks or grows by the same factor."
CUT = "A corner is cut at the picture's edges, as SAM sees them."

Way = tuple[str, str, dict[str, Any]]  # a name, words that are true beside others, decisions of `opened`

CORNERS: list[Way] = [
    (
        "boxes read as xyxy",
        "You take the four numbers for corners. They are the middle, the width and the height.",
        {"corners": lambda boxes: boxes},
    ),
    (
        "boxes read as corner and size",
        "You take the first two numbers for the top-left corner. They are the middle.",
        {"corners": lambda boxes: torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)},
    ),
    (
        "whole sides",
        "You go a whole side from the middle to each side. Half of it is enough.",
        {"corners": partial(half_to_each_side, half=1.0)},
    ),
    (
        "width for height",
        "You read the sizes as height, width. A box is cx, cy, w, h.",
        {"corners": lambda boxes: half_to_each_side(boxes[:, [0, 1, 3, 2]])},
    ),
    ("y before x", "Your points are (y, x). x comes first.", {"point": lambda points: points.flip(2)}),
]

SCALES: list[Way] = [
    (
        "stretched to the square",
        f"You multiply x and y both by `side`, as if the picture were a square, or stretched to one. {SCALED}",
        {"scale": lambda size, side: (side, side)},
    ),
    (
        "pixels of the picture",
        f"Your points are in the pixels of the picture. SAM sees it in another size. {SCALED}",
        {"scale": lambda size, side: (size[1], size[0])},
    ),
    (
        "still shares of the picture",
        "You scale by side / max(H, W), but what you scale are shares. Make pixels of the picture of them first.",
        {"scale": lambda size, side: (side / max(size), side / max(size))},
    ),
    (
        "shares",
        "Your points are shares of the picture. SAM wants pixels of its input.",
        {"scale": lambda size, side: (1, 1)},
    ),
    (
        "height and width exchanged",
        "You multiply x by the height and y by the width. `size` is (H, W), and in a box x comes first.",
        {"scale": lambda size, side: seen_by_sam(size[::-1], side)},
    ),
    (
        "scaled by the shorter side",
        "You make the picture's *shorter* side as long as `side`. Then it does not fit into SAM's square: the longer "
        "one decides.",
        {"scale": lambda size, side: (size[1] * side / min(size), size[0] * side / min(size))},
    ),
    (
        "scaled by the width",
        "You scale by side / W. That is right only for pictures that are wider than high: divide by the longer side.",
        {"scale": lambda size, side: (side, size[0] * side / size[1])},
    ),
    (
        "scaled by the height",
        "You scale by side / H. That is right only for pictures that are higher than wide: divide by the longer side.",
        {"scale": lambda size, side: (size[1] * side / size[0], side)},
    ),
    *(
        (f"sides {name}", ROUNDED, {"scale": partial(rounded_sides, how=how)})
        for name, how in (("rounded", round), ("rounded down", floor), ("rounded up", ceil))
    ),
    (
        "scaled the wrong way",
        "You divide by the factor from the picture to SAM's input, side / max(H, W). Multiply by it.",
        {"scale": lambda size, side: (size[1] * max(size) / side, size[0] * max(size) / side)},
    ),
    (
        "factor in whole numbers",
        "You rounded the factor side / max(H, W) down: `//` divides whole numbers. It need not be one: `/`.",
        {"scale": lambda size, side: (size[1] * (side // max(size)), size[0] * (side // max(size)))},
    ),
]

CUTS: list[Way] = [
    (
        "not cut",
        f"Some of your corners lie outside of the picture. {CUT}",
        {"edges": lambda corners, ends, size, side: corners},
    ),
    (
        "cut at the square",
        f"You cut x and y both at `side`. A picture that is no square fills but a part of SAM's square. {CUT}",
        {"edges": lambda corners, ends, size, side: cut(corners, (side, side))},
    ),
    (
        "cut at the picture as it came",
        "You cut corners at W and H, but they are in SAM's pixels. Cut before you scale, or scale W and H, too.",
        {"edges": lambda corners, ends, size, side: cut(corners, (size[1], size[0]))},
    ),
    (
        "cut before they are corners",
        "You cut the boxes while they are middle and size. A box whose middle lies inside may stick out all the same. "
        "Make corners first.",
        {"before": lambda boxes: boxes.clamp(0, 1), "edges": lambda corners, ends, size, side: corners},
    ),
    (
        "cut at the last pixel",
        "You cut at one less than the picture's sides. A box ends at an edge, not at the last pixel's number.",
        {"edges": lambda corners, ends, size, side: cut(corners, (ends[0] - 1, ends[1] - 1))},
    ),
    (
        "cut with height and width exchanged",
        "You cut x at the height and y at the width. `size` is (H, W).",
        {"edges": lambda corners, ends, size, side: cut(corners, (ends[1], ends[0]))},
    ),
    (
        "cut at the right and at the bottom alone",
        "Some of your corners are below 0. Cut at the left and at the top, too.",
        {"edges": lambda corners, ends, size, side: torch.minimum(corners, torch.tensor(2 * ends))},
    ),
    (
        "cut at the left and at the top alone",
        "Your corners are never below 0, but they reach past the other two edges. Cut there, too.",
        {"edges": lambda corners, ends, size, side: corners.clamp(min=0)},
    ),
    *(
        (
            f"picture in the middle, cut at {edge}",
            "You put the picture in the middle of SAM's square. It lies in the left upper corner: nothing is added.",
            {"edges": partial(in_the_middle, edge=cut_there)},
        )
        for edge, cut_there in (("its edges", True), ("the square", False), ("nothing", None))
    ),
    *(
        (
            f"cut at sides rounded {name}",
            ROUNDED,
            {"edges": lambda corners, ends, size, side, how=how: cut(corners, rounded_sides(size, side, how))},
        )
        for name, how in (("down", floor), ("up", ceil))
    ),
    (
        "each corner cut at two edges",
        "You cut the top-left corner at 0, and the bottom-right one at W and H alone. Of a box that lies outside "
        "altogether this leaves a corner outside: cut each at all four edges.",
        {
            "edges": lambda corners, ends, size, side: torch.cat(
                [corners[:, :2].clamp(min=0), torch.minimum(corners[:, 2:], torch.tensor(ends))], 1
            )
        },
    ),
]

TYPES = {"clicks": (1, 1), "background and foreground": (0, 1), "types exchanged": (3, 2), "counted from 1": (1, 2)}
TYPED = "Your labels are {} and {}. A top-left corner is of type 2, a bottom-right one of type 3, as in lesson 17."


def draw_corners(got: Any, expected: Prompts, case: Case) -> "Figure | None":
    """The boxes between both corners, in SAM's square; the picture in it is grey."""
    from matplotlib.patches import Rectangle  # here, because matplotlib takes longer to import than a check to run

    _, size, side = case.arguments
    figure = compare_boxes(got[0].reshape(-1, 4), expected[0].reshape(-1, 4), case)
    if figure is not None:
        (axes,) = figure.axes
        axes.add_patch(Rectangle((0, 0), *seen_by_sam(size, side), color="0.9"))
        axes.add_patch(Rectangle((0, 0), side, side, fill=False, color="0.5"))
    return figure


EXERCISE = Exercise(
    name="boxes_to_prompts",
    reference=boxes_to_prompts,
    cases=cases,
    takes={"size": Kind.SIZE, "side": Kind.COUNT, "boxes": Kind.NUMBERS},
    gives=(Kind.NUMBERS, Kind.CLASSES),
    observe=in_single_precision,
    mistakes=[
        *(Mistake(name, told, wrong=partial(opened, **made)) for name, told, made in (*CORNERS, *SCALES, *CUTS)),
        *(Mistake(name, TYPED.format(*types), wrong=partial(opened, types=types)) for name, types in TYPES.items()),
        Mistake(
            "one pair of labels for all",
            "You return one pair of labels. Each of the N boxes has its own: (N, 2).",
            wrong=lambda *given: (boxes_to_prompts(*given)[0], torch.tensor([TOP_LEFT, BOTTOM_RIGHT])),
        ),
        *(
            Mistake(f"{name}; {other}", f"Two things at once. {told} {also}", wrong=partial(opened, **made, **more))
            for first, second in ((SCALES[:5], CUTS[:1]), (CORNERS[:3], CUTS[:1]), (CORNERS[:2], SCALES[:3]))
            for (name, told, made), (other, also, more) in product(first, second)
        ),
    ],
    picture=draw_corners,
)
