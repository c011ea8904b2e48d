"""Cut boxes out with some context, and stretch them to squares."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.models import rcnn
from lib.ops.warp import crop_resize


def cases() -> list[Case]:
    draw = torch.Generator().manual_seed(0)
    small = torch.rand(1, 3, 6, 8, generator=draw) * torch.tensor([1.0, 0.7, 0.3]).view(3, 1, 1)
    image = F.interpolate(small, (36, 48), mode="bilinear")[0]  # soft, and its three channels have other means
    inputs = [
        ("a wide box in the middle", [[12.0, 12, 32, 20]], 16, 2),
        ("two boxes, one of them high", [[20.0, 4, 26, 30], [10, 10, 22, 20]], 20, 4),
        ("at the corner of the picture", [[0.0, 0, 12, 9], [40, 30, 48, 36]], 16, 3),
        ("no context", [[5.0, 6, 30, 26]], 16, 0),
    ]
    return [
        Case(
            label,
            (image, torch.tensor(boxes), size, context),
            warped_by_steps(image, torch.tensor(boxes), size, context),
        )
        for label, boxes, size, context in inputs
    ]


def warped_by_steps(image: Tensor, boxes: Tensor, size: int, context: int) -> Tensor:
    """The truth: the box fills the inner pixels of the crop, and `context` more steps of that width go on each side."""
    inner = size - 2 * context
    steps = (boxes[:, 2:] - boxes[:, :2]) / inner  # (K, 2): how far one pixel of the crop goes
    crops = []
    for box, step in zip(boxes, steps):
        fine = max(1, math.ceil(step.amax().item() - 1e-4))  # samples along a side of a pixel, as in `crop_resize`
        places = (torch.arange(size * fine) + 0.5) / fine - context
        x, y = box[0] + places * step[0], box[1] + places * step[1]
        left, top = ((place - 0.5).clamp(0, side - 1) for place, side in ((x, image.shape[2]), (y, image.shape[1])))
        rows = torch.lerp(image[:, top.floor().long()], image[:, top.ceil().long()], (top % 1)[:, None])
        both = torch.lerp(rows[..., left.floor().long()], rows[..., left.ceil().long()], left % 1)
        seen = ((y >= 0) & (y <= image.shape[1]))[:, None] & ((x >= 0) & (x <= image.shape[2]))
        crops.append(F.avg_pool2d(torch.where(seen, both, image.mean(dim=(1, 2))[:, None, None]), fine))
    return torch.stack(crops)


def warped_with(grow=None, outside=None):
    """`context_warp` with another way to enlarge the boxes, or another colour beyond the picture."""

    def warp(image: Tensor, boxes: Tensor, size: int, context: int) -> Tensor:
        middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        half = half * size / (size - 2 * context) if grow is None else grow(half, size, context)
        colour = image.mean(dim=(1, 2)) if outside is None else outside(image)
        return crop_resize(image, torch.cat([middle - half, middle + half], dim=1), size, colour)

    return warp


@mistake(
    "cut off at the picture's edge",
    "You moved the sides of the box back into the picture. Then the thing no longer sits in the middle of "
    "the crop. Leave the box as it is, and let `outside` fill what lies beyond.",
)
def warped_clipped(image: Tensor, boxes: Tensor, size: int, context: int) -> Tensor:
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    extra = (half * size / (size - 2 * context) - half).repeat(1, 2) * torch.tensor([-1, -1, 1, 1])
    height, width = image.shape[1:]
    grown = (boxes + extra).clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    return crop_resize(image, grown, size, image.mean(dim=(1, 2)))


@mistake(
    "grown to the right and down only",
    "Your box grows to the right and downwards; its left upper corner stays. It must grow around its *middle*.",
)
def grown_from_the_corner(image: Tensor, boxes: Tensor, size: int, context: int) -> Tensor:
    sides = (boxes[:, 2:] - boxes[:, :2]) * size / (size - 2 * context)
    return crop_resize(image, torch.cat([boxes[:, :2], boxes[:, :2] + sides], dim=1), size, image.mean(dim=(1, 2)))


@mistake(
    "the margin is painted",
    "Your margin shows the mean colour of the picture. It must show what lies around the box; the mean colour is for "
    "places beyond the picture.",
)
def margin_painted(image: Tensor, boxes: Tensor, size: int, context: int) -> Tensor:
    colour = image.mean(dim=(1, 2))[:, None, None]  # (3, 1, 1)
    crops = colour.expand(len(boxes), 3, size, size).clone()
    inner = slice(context, size - context)
    crops[:, :, inner, inner] = crop_resize(image, boxes, size - 2 * context, colour.flatten())
    return crops


def margins_from(side: int) -> Callable[..., Tensor]:
    """`context_warp` with all four margins measured by one side of the box: its width (0) or its height (1)."""
    return warped_with(grow=lambda half, size, context: half + 2 * context / (size - 2 * context) * half[:, [side]])


EXERCISE = Exercise(
    name="context_warp",
    reference=rcnn.context_warp,
    cases=cases,
    takes={"image": Kind.MAP, "boxes": Kind.BOXES},
    gives=Kind.MAP,
    mistakes=[
        Mistake(
            "context in pixels of the picture",
            "You made each box larger by `context` pixels of the *picture*. The margin is `context` pixels wide in"
            " the *crop*: around a large box it takes more of the picture.",
            wrong=warped_with(grow=lambda half, size, context: half + context),
        ),
        Mistake(
            "no context at all",
            "Your crops show the box and nothing around it.",
            wrong=warped_with(grow=lambda half, size, context: half),
        ),
        Mistake(
            "context on one side only",
            "Your margin is too narrow: half as wide as it should be. It lies on both sides, so the box keeps size"
            " − 2 · context pixels.",
            wrong=warped_with(grow=lambda half, size, context: half * size / (size - context)),
        ),
        Mistake(
            "margin measured by the whole crop",
            "Your margin is a little too narrow. It is `context` of the crop's pixels, of which the box itself"
            " fills only size − 2 · context.",
            wrong=warped_with(grow=lambda half, size, context: half * (1 + 2 * context / size)),
        ),
        Mistake(
            "grown by the inverse",
            "Your boxes became smaller. The crop must show more than the box.",
            wrong=warped_with(grow=lambda half, size, context: half * (size - 2 * context) / size),
        ),
        Mistake(
            "aspect kept",
            "Your crops keep the shape of the box and take more of its surroundings on the short side. R-CNN "
            "stretches: width and height are scaled each by itself.",
            wrong=warped_with(grow=lambda half, size, context: half.amax(1, True) * size / (size - 2 * context)),
        ),
        warped_clipped,
        Mistake(
            "black beyond the picture",
            "Beyond the picture your crops are black. Black is a colour like any other; the mean colour of the"
            " picture is the one that says least.",
            wrong=warped_with(outside=lambda image: image.new_zeros(3)),
        ),
        Mistake(
            "one grey for all channels",
            "Beyond the picture your crops are grey. The mean *colour* has three numbers, one for each channel.",
            wrong=warped_with(outside=lambda image: image.mean().expand(3)),
        ),
        grown_from_the_corner,
        margin_painted,
        Mistake(
            "every margin from the width",
            "You measured all four margins by the box's width. Above and below, a pixel of the crop is as high as the "
            "box's height / (size − 2 · context).",
            wrong=margins_from(0),
        ),
        Mistake(
            "every margin from the height",
            "You measured all four margins by the box's height. To the left and right, a pixel of the crop is as wide "
            "as the box's width / (size − 2 · context).",
            wrong=margins_from(1),
        ),
    ],
    picture=compare_maps,
    atol=1e-4,
)
