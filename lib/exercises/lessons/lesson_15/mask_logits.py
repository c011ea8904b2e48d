"""A map for each query: how well its vector fits the vector of each pixel."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.exercises.engine.values import in_single_precision


def mask_logits(mask_embed: Tensor, pixel_embed: Tensor) -> Tensor:
    """The course's own, as in `lib.models.maskformer.MaskFormer.forward`."""
    return torch.einsum("bqc,bchw->bqhw", mask_embed, pixel_embed)


def cases() -> list[Case]:
    named = {  # B, Q, C, H, W
        "2 pictures, 3 queries, 5 numbers, 4 × 6 pixels": (2, 3, 5, 4, 6),
        "3 pictures, 5 queries, 4 numbers, 7 × 2 pixels": (3, 5, 4, 7, 2),
        "one picture": (1, 4, 6, 3, 2),
        "one query": (2, 1, 5, 3, 4),
        "one number": (2, 3, 1, 4, 2),
        "one row of pixels": (3, 2, 4, 1, 5),
        "all lengths are 3": (3, 3, 3, 3, 3),
    }
    by_hand = Case(
        "2 pictures, 2 queries, 2 numbers, 1 × 3 pixels: worked by hand",
        (
            torch.tensor([[[1.0, 2], [0, -1]], [[2, 0], [1, 1]]]),
            torch.tensor([[[[1.0, 2, 3]], [[4, 0, -1]]], [[[0, 1, 5]], [[2, -2, 1]]]]),
        ),
        torch.tensor([[[[9.0, 2, 1]], [[-4, 0, 1]]], [[[0, 2, 10]], [[2, -1, 6]]]]),
    )
    made = []
    for seed, (label, (batch, queries, numbers, *size)) in enumerate(named.items()):
        both = random_values(batch, queries, numbers, seed=seed), random_values(batch, numbers, *size, seed=seed + 20)
        made.append(Case.from_truth(label, both, queries_as_filters))
    return [by_hand, *made]


def queries_as_filters(mask_embed: Tensor, pixel_embed: Tensor) -> Tensor:
    """The truth, in double precision: the queries of a picture are the filters of a 1 × 1 convolution."""
    pairs = zip(mask_embed.double(), pixel_embed.double(), strict=True)
    return torch.stack([F.conv2d(pixels, queries[:, :, None, None]) for queries, pixels in pairs]).float()


def changed(
    told: Callable[[Tensor], Tensor] = lambda maps: maps,
    queries: Callable[[Tensor], Tensor] = lambda mask_embed: mask_embed,
    pixels: Callable[[Tensor], Tensor] = lambda pixel_embed: pixel_embed,
) -> Callable[[Tensor, Tensor], Tensor]:
    """`mask_logits` with something done to the result (B, Q, H, W), or to an input."""
    return lambda mask_embed, pixel_embed: told(mask_logits(queries(mask_embed), pixels(pixel_embed)))


def summed(equation: str) -> Callable[[Tensor, Tensor], Tensor]:
    return partial(torch.einsum, equation)


unit = partial(F.normalize, dim=1)
unit_queries = partial(F.normalize, dim=2)
SAME = "A query belongs to one picture, and is compared with the pixels of the same picture alone."


@mistake(
    "divided by √C",
    "You divided by √C, as attention does. The task asks for the inner product as it is.",
)
def by_root(mask_embed: Tensor, pixel_embed: Tensor) -> Tensor:
    return mask_logits(mask_embed, pixel_embed) / mask_embed.shape[2] ** 0.5


@mistake("mean for sum", "You took the mean of the C products. An inner product is their sum.")
def mean_for_sum(mask_embed: Tensor, pixel_embed: Tensor) -> Tensor:
    return mask_logits(mask_embed, pixel_embed) / mask_embed.shape[2]


@mistake("divided by the number of pixels", "You divided by H · W. Nothing is added up over the pixels.")
def by_pixels(mask_embed: Tensor, pixel_embed: Tensor) -> Tensor:
    return mask_logits(mask_embed, pixel_embed) / pixel_embed[0, 0].numel()


@mistake(
    "pixels reshaped to rows",
    "You *reshaped* (B, C, H, W) to (B, H · W, C), which keeps the order of all numbers: a row gets numbers of several "
    "pixels. Flatten H and W first, then move the axis.",
)
def pixels_reshaped(mask_embed: Tensor, pixel_embed: Tensor) -> Tensor:
    rows = pixel_embed.reshape(len(pixel_embed), -1, pixel_embed.shape[1])  # (B, H · W, C)
    return (mask_embed @ rows.transpose(1, 2)).unflatten(2, pixel_embed.shape[2:])


@mistake(
    "queries reshaped to columns",
    "You *reshaped* (B, Q, C) to (B, C, Q), which keeps the order of all numbers and mixes those of different queries. "
    "`transpose` exchanges two axes.",
)
def queries_reshaped(mask_embed: Tensor, pixel_embed: Tensor) -> Tensor:
    columns = mask_embed.reshape(len(mask_embed), mask_embed.shape[2], -1)  # (B, C, Q)
    return mask_logits(columns.transpose(1, 2), pixel_embed)


def as_another(maps: Tensor, *order: int) -> Tensor:
    return maps.permute(order).reshape(maps.shape)


@mistake("added up over queries", "You added up over the queries, and kept the C numbers apart. It is the other way.")
def over_queries(mask_embed: Tensor, pixel_embed: Tensor) -> Tensor:
    return mask_embed.sum(dim=1)[:, :, None, None] * pixel_embed


MISTAKES = [
    by_root,
    mean_for_sum,
    Mistake(
        "sigmoid taken",
        "You took the sigmoid. The task asks for logits: the losses and the inference take it later.",
        wrong=changed(torch.sigmoid),
    ),
    Mistake(
        "softmax over the queries",
        "You took a softmax over the queries. Masks do not compete for a pixel: the task asks for logits.",
        wrong=changed(partial(torch.softmax, dim=1)),
    ),
    Mistake(
        "softmax over the pixels",
        "You took a softmax over the pixels, as attention does. The task asks for logits.",
        wrong=changed(lambda maps: maps.flatten(2).softmax(dim=2).view(maps.shape)),
    ),
    Mistake(
        "cosine",
        "You divided each vector by its length: that is the cosine of the angle. The task asks for the inner product, "
        "in which long vectors say more.",
        wrong=changed(queries=unit_queries, pixels=unit),
    ),
    Mistake(
        "queries of length 1",
        "You divided the queries' vectors by their lengths. Take them as they are.",
        wrong=changed(queries=unit_queries),
    ),
    Mistake(
        "pixels of length 1",
        "You divided the pixels' vectors by their lengths. Take them as they are.",
        wrong=changed(pixels=unit),
    ),
    Mistake(
        "queries of the first picture",
        f"You compared all pictures with the queries of the first one. {SAME}",
        wrong=changed(queries=lambda mask_embed: mask_embed[:1].expand_as(mask_embed)),
    ),
    Mistake(
        "pixels of the first picture",
        f"You compared all queries with the pixels of the first picture. {SAME}",
        wrong=changed(pixels=lambda pixel_embed: pixel_embed[:1].expand_as(pixel_embed)),
    ),
    Mistake("all pictures with all", SAME, wrong=summed("bqc,dchw->bdqhw")),
    Mistake("all pictures with all, pixels' picture first", SAME, wrong=summed("bqc,dchw->dbqhw")),
    Mistake(
        "all pictures with all, in one axis",
        f"You compared the queries of *all* pictures with the pixels of each. {SAME}",
        wrong=lambda *given: summed("bqc,dchw->dbqhw")(*given).flatten(1, 2),
    ),
    Mistake(
        "added up over the pixels' pictures",
        f"You added up over the pictures of `pixel_embed`. {SAME}",
        wrong=summed("bqc,dchw->bqhw"),
    ),
    Mistake(
        "added up over the queries' pictures",
        f"You added up over the pictures of `mask_embed`. {SAME}",
        wrong=summed("dqc,bchw->bqhw"),
    ),
    Mistake(
        "added up over pictures",
        "You added up over the pictures too. Only the C numbers of a vector are added up; each picture keeps its maps.",
        wrong=summed("bqc,bchw->qhw"),
    ),
    over_queries,
    by_pixels,
    pixels_reshaped,
    queries_reshaped,
    Mistake(
        "not added up",
        "You multiplied the numbers, but did not add them up: your result still has the axis of C.",
        wrong=summed("bqc,bchw->bqchw"),
    ),
    Mistake(
        "pixels in one row",
        "Right, but the pixels stand in one row, (B, Q, H · W). Give them their two axes back.",
        wrong=changed(lambda maps: maps.flatten(2)),
    ),
    Mistake(
        "pixels in one column",
        "You return (B, H · W, Q). The queries come before the pixels, and these have two axes, rows and columns.",
        wrong=changed(lambda maps: maps.flatten(2).transpose(1, 2)),
    ),
    Mistake(
        "(B, H · W, Q) reshaped",
        "Your numbers were right as (B, H · W, Q), but a `reshape` to (B, Q, H, W) mixes them: it moves no axis. Move "
        "the queries' axis to the front of the pixels first.",
        wrong=changed(lambda maps: as_another(maps, 0, 2, 3, 1)),
    ),
    Mistake(
        "(Q, B) reshaped to (B, Q)",
        "Pictures and queries are mixed: your numbers lie as (Q, B, H, W), and a `reshape` moves no axis.",
        wrong=changed(lambda maps: as_another(maps, 1, 0, 2, 3)),
    ),
    Mistake(
        "W before H",
        "You gave the pixels back their two axes as (W, H). In `pixel_embed` rows come first: (H, W).",
        wrong=changed(lambda maps: maps.reshape(*maps.shape[:2], maps.shape[3], maps.shape[2])),
    ),
    Mistake(
        "pixels read column by column",
        "Each query's map has the right numbers in the wrong places: the pixels were put in a row column by column, "
        "and laid out again row by row.",
        wrong=changed(lambda maps: as_another(maps, 0, 1, 3, 2)),
    ),
    Mistake(
        "axes of length 1 dropped",
        "Right but where a length is 1: `squeeze` drops such an axis. The result always has four.",
        wrong=changed(torch.squeeze),
    ),
    Mistake(
        "yes or no",
        "You return True or False. The task asks for the inner products themselves.",
        wrong=changed(lambda maps: maps > 0),
    ),
]

EXERCISE = Exercise(
    name="mask_logits",
    reference=mask_logits,
    cases=cases,
    takes={"pixel_embed": Kind.MAP},
    gives=Kind.NUMBERS,
    observe=in_single_precision,
    mistakes=MISTAKES,
    picture=compare_maps,
)
