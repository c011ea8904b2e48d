"""Rearrange the pixels of every picture in one and the same way."""

import math

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.ops import pixels


def cases() -> list[Case]:
    cases = []
    for label, shape in (
        ("two colour pictures of 2 × 3 pixels", (2, 3, 2, 3)),
        ("4 × 4 pixels", (3, 3, 4, 4)),
    ):
        images = torch.arange(math.prod(shape)).float().view(shape) / 10
        order = torch.randperm(shape[2] * shape[3], generator=torch.Generator().manual_seed(3))
        expected = torch.empty(shape)
        for new, old in enumerate(order.tolist()):
            expected[:, :, new // shape[3], new % shape[3]] = images[:, :, old // shape[3], old % shape[3]]
        cases.append(Case(label, (images, order), expected))
    return cases


@mistake(
    "the order used the other way round",
    "You sent old pixel `i` to place `order[i]`. It was asked the other way: the pixel "
    "that comes to place `i` is the one at `order[i]`.",
)
def the_other_way(images: Tensor, order: Tensor) -> Tensor:
    return pixels.shuffle_pixels(images, order.argsort())


@mistake(
    "channels mixed with pixels",
    "The colours of a pixel did not stay together: the channel axis was drawn into the shuffle. Only rows"
    " and columns may be made into one axis.",
)
def channels_mixed_in(images: Tensor, order: Tensor) -> Tensor:
    """Pixels and channels in one list, as after `flatten(1)`, with the colours of a pixel next to each other."""
    flat = images.reshape(len(images), len(order), images.shape[1])  # (B, H·W, C), which it is not
    return flat[:, order].reshape(images.shape)


@mistake(
    "counted column by column",
    "You numbered the pixels down the columns. They are numbered along the rows, as `flatten` does.",
)
def column_by_column(images: Tensor, order: Tensor) -> Tensor:
    flat = images.transpose(2, 3).flatten(2)[:, :, order]
    return flat.view(images.shape[0], images.shape[1], images.shape[3], images.shape[2]).transpose(2, 3)


@mistake(
    "channels flattened too",
    "`flatten(1)` makes one axis of channels, rows and columns, and `order` knows only as many places as"
    " there are pixels. Start flattening one axis later.",
)
def flattened_too_far(images: Tensor, order: Tensor) -> Tensor:
    return images.flatten(1)[:, order].view(images.shape)


@mistake(
    "order ignored",
    "The pictures came back as they were.",
)
def order_ignored(images: Tensor, order: Tensor) -> Tensor:
    return images.clone()


EXERCISE = Exercise(
    name="shuffle_pixels",
    reference=pixels.shuffle_pixels,
    cases=cases,
    takes={"images": Kind.MAP, "order": Kind.INDICES},
    gives=Kind.MAP,
    mistakes=[
        the_other_way,
        channels_mixed_in,
        flattened_too_far,
        column_by_column,
        order_ignored,
    ],
    picture=compare_maps,
)
