"""A map of depth for each query: from an inner product to metres."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.values import agrees, in_single_precision

Share = Callable[[Tensor, Tensor], Tensor]  # depth_embed (B, Q, C), pixel_embed (B, C, H, W) -> s (B, Q, H, W)
Scale = Callable[[Tensor, float, float], Tensor]  # s, near, far -> metres


def depth_maps(depth_embed: Tensor, pixel_embed: Tensor, near: float, far: float) -> Tensor:
    """The course's own, as in `lib.models.uni_dvps.UniDVPS.metres`."""
    return equal_factors(share(depth_embed, pixel_embed), near, far)


def share(
    depth_embed: Tensor,
    pixel_embed: Tensor,
    link: Callable[[Tensor], Tensor] = torch.sigmoid,
    queries: Callable[[Tensor], Tensor] = torch.clone,
    pixels: Callable[[Tensor], Tensor] = torch.clone,
) -> Tensor:
    """s, with what is done to the inner product, and to the two inputs before it, open."""
    return link(torch.einsum("bqc,bchw->bqhw", queries(depth_embed), pixels(pixel_embed)))


def equal_factors(s: Tensor, near: float, far: float) -> Tensor:
    return near * (far / near) ** s


def cases() -> list[Case]:
    named = {  # B, Q, C, H, W; near, far
        "2 pictures, 3 queries, 5 numbers, 4 × 6 pixels; 1 to 100 m": ((2, 3, 5, 4, 6), (1.0, 100.0)),
        "3 pictures, 5 queries, 4 numbers, 7 × 2 pixels; 0.5 to 8 m": ((3, 5, 4, 7, 2), (0.5, 8.0)),
        "one picture": ((1, 4, 6, 3, 2), (3.0, 40.0)),
        "one query; near and far below 1 m": ((2, 1, 5, 3, 4), (0.1, 0.7)),
        "one number": ((2, 3, 1, 4, 2), (2.0, 5.0)),
        "one row of pixels": ((3, 2, 4, 1, 5), (1.5, 90.0)),
        "all lengths are 3": ((3, 3, 3, 3, 3), (0.8, 60.0)),
    }
    step = math.log(3)  # sigmoid of -log 3, 0 and log 3: 1/4, 1/2 and 3/4
    by_hand = case(
        "1 picture, 2 queries, 2 numbers, 1 × 3 pixels; 2 to 32 m, worked by hand: s is 1/4, 1/2 or 3/4",
        torch.tensor([[[1.0, 1], [-1, 0]]]),
        step * torch.tensor([[[[0.0, 1, 1]], [[-1, 0, -1]]]]),
        2.0,
        32.0,
    )
    torch.testing.assert_close(by_hand.expected, torch.tensor([[[[4.0, 16, 8]], [[8.0, 4, 4]]]]))
    made = []
    for seed, (label, ((batch, queries, numbers, *size), metres)) in enumerate(named.items()):
        both = random_values(batch, queries, numbers, seed=seed), random_values(batch, numbers, *size, seed=seed + 20)
        made.append(case(label, *both, *metres))
    return [by_hand, *made]


def case(label: str, depth_embed: Tensor, pixel_embed: Tensor, near: float, far: float) -> Case:
    arguments = (depth_embed, pixel_embed, near, far)
    return Case.from_truth(label, arguments, query_by_query, gradients_of=("depth_embed", "pixel_embed"))


def query_by_query(depth_embed: Tensor, pixel_embed: Tensor, near: float, far: float) -> Tensor:
    """The truth, in double precision, query after query: a weighted geometric mean of near and far."""
    pictures = []
    for queries, pixels in zip(depth_embed.double(), pixel_embed.double(), strict=True):
        odds = [(query[:, None, None] * pixels).sum(dim=0).exp() for query in queries]  # s / (1 - s), (H, W) each
        pictures.append(torch.stack([(math.log(near) + o * math.log(far)).div(1 + o).exp() for o in odds]))
    return torch.stack(pictures).float()


def made(s: Share = share, scale: Scale = equal_factors) -> Callable[..., Tensor]:
    """`depth_maps` with its two decisions open."""
    return lambda depth_embed, pixel_embed, near, far: scale(s(depth_embed, pixel_embed), near, far)


def equal_metres(s: Tensor, near: float, far: float) -> Tensor:
    return near + s * (far - near)


def equal_inverses(s: Tensor, near: float, far: float) -> Tensor:
    return 1 / (1 / near + s * (1 / far - 1 / near))


def from_far(scale: Scale) -> Scale:
    return lambda s, near, far: scale(s, far, near)


def of_two_bases(got: Tensor, expected: Tensor, case: Case) -> bool:
    """Whether the exponential was to another base than the logarithm."""
    logs = expected.double().log()
    factors = [math.log(a) / math.log(b) for a in (math.e, 2, 10) for b in (math.e, 2, 10) if a != b]
    return any(agrees(got.double(), torch.exp(factor * logs)) for factor in factors)


def reshaped(pixel_embed: Tensor) -> Tensor:
    """The slip of lesson 15: (B, C, H, W) reshaped to rows (B, H · W, C)."""
    rows = pixel_embed.reshape(len(pixel_embed), -1, pixel_embed.shape[1])
    return rows.transpose(1, 2).reshape(pixel_embed.shape)


FREQUENT = 8  # so many of `SCALES` are looked for beside a mistake of `SHARES`, too
IN_FACTORS = "Equal steps of s should be equal *factors*, so that s = ½ of 1 and 100 m is 10 m"
ENDS = "At s = 0 the depth is near, at s = 1 far."
PRODUCT = "The task asks for the inner product as it is."
BEFORE = "before the inner product. The sigmoid takes the product, so that s stays between 0 and 1."

SCALES: list[tuple[str, str, Scale]] = [
    (
        "equal steps in metres",
        f"You go from near to far in equal steps of metres. {IN_FACTORS}. Yours gives 50.5 m.",
        equal_metres,
    ),
    (
        "equal steps of 1 / depth",
        f"You go from near to far in equal steps of 1 / depth. {IN_FACTORS}. Yours gives about 2 m.",
        equal_inverses,
    ),
    (
        "near and far exchanged",
        f"Where the inner product is small, you return what is far, and the other way round. {ENDS}",
        from_far(equal_factors),
    ),
    (
        "equal steps in metres, from far to near",
        f"You go from far to near, in equal steps of metres. {ENDS} {IN_FACTORS}. Yours gives 50.5 m.",
        from_far(equal_metres),
    ),
    (
        "equal steps of 1 / depth, from far to near",
        f"You go from far to near, in equal steps of 1 / depth. {ENDS} {IN_FACTORS}. Yours gives about 2 m.",
        from_far(equal_inverses),
    ),
    (
        "s alone",
        "You return s itself. The task asks for metres between near and far.",
        lambda s, near, far: s,
    ),
    (
        "s times far",
        f"You return s times far: 0 m at s = 0. {ENDS}",
        lambda s, near, far: s * far,
    ),
    (
        "near + s times far",
        f"You return near plus s times far: near + far at s = 1. {ENDS} {IN_FACTORS}.",
        lambda s, near, far: near + s * far,
    ),
    (
        "near times far to the power of s",
        f"At s = 1 you return near times far. {ENDS} By which factor is far larger than near?",
        lambda s, near, far: near * far**s,
    ),
    (
        "far to the power of s",
        f"You return far to the power of s, which is 1 m at s = 0. {ENDS}",
        lambda s, near, far: far**s,
    ),
    (
        "near left out",
        f"You return how many times near the depth is, 1 at s = 0. {ENDS}",
        lambda s, near, far: (far / near) ** s,
    ),
    (
        "near / far to the power of s",
        f"Your depth begins with near, and becomes smaller with s. {ENDS}",
        lambda s, near, far: near * (near / far) ** s,
    ),
    (
        "difference to the power of s",
        f"At s = 1 you return near times (far − near). {ENDS} By which factor is far larger than near?",
        lambda s, near, far: near * (far - near) ** s,
    ),
    (
        "1 and 100 m whatever is given",
        "Your depth lies between 1 and 100 m, whatever is given. Use `near` and `far`.",
        lambda s, near, far: equal_factors(s, 1.0, 100.0),
    ),
]

SHARES: list[tuple[str, str, Share]] = [
    (
        "no sigmoid",
        "You took the inner product for s. It may be any number, and s lies between 0 and 1: the sigmoid is missing.",
        partial(share, link=torch.clone),
    ),
    (
        "cut off for sigmoid",
        "You cut the inner product off at 0 and 1. The task asks for its sigmoid.",
        partial(share, link=partial(torch.clamp, min=0, max=1)),
    ),
    (
        "tanh for sigmoid",
        "You took tanh, which goes from −1 to 1. The task asks for the sigmoid, from 0 to 1.",
        partial(share, link=torch.tanh),
    ),
    (
        "softplus for sigmoid",
        "You took softplus, which has no upper end. The task asks for the sigmoid, from 0 to 1.",
        partial(share, link=F.softplus),
    ),
    (
        "exponential for sigmoid",
        "You took the exponential of the inner product, which has no upper end. The task asks for the sigmoid.",
        partial(share, link=torch.exp),
    ),
    (
        "softmax over the queries",
        "You took a softmax over the queries. Each query measures for itself: the task asks for a sigmoid.",
        partial(share, link=partial(torch.softmax, dim=1)),
    ),
    (
        "sigmoids before the product",
        f"You took the sigmoids of both inputs, {BEFORE}",
        partial(share, link=torch.clone, queries=torch.sigmoid, pixels=torch.sigmoid),
    ),
    (
        "sigmoid of the queries",
        f"You took the sigmoid of `depth_embed`, {BEFORE}",
        partial(share, link=torch.clone, queries=torch.sigmoid),
    ),
    (
        "sigmoid of the pixels",
        f"You took the sigmoid of `pixel_embed`, {BEFORE}",
        partial(share, link=torch.clone, pixels=torch.sigmoid),
    ),
    (
        "divided by √C",
        f"You divided the inner product by √C, as attention does. {PRODUCT}",
        partial(share, queries=lambda q: q / q.shape[2] ** 0.5),
    ),
    (
        "mean for sum",
        "You took the mean of the C products. An inner product is their sum.",
        partial(share, queries=lambda q: q / q.shape[2]),
    ),
    (
        "pixels reshaped to rows",
        "You *reshaped* (B, C, H, W) to (B, H · W, C), which keeps the order of all numbers: a row gets numbers of "
        "several pixels. Flatten H and W first, then move the axis.",
        partial(share, pixels=reshaped),
    ),
    (
        "pixels of the first picture",
        "You compared all queries with the pixels of the first picture. A query belongs to one picture.",
        partial(share, pixels=lambda p: p[:1].expand_as(p)),
    ),
    (
        "queries of the first picture",
        "You compared all pixels with the queries of the first picture. A query belongs to one picture.",
        partial(share, queries=lambda q: q[:1].expand_as(q)),
    ),
]


def both_wrong(got: Tensor, expected: Tensor, case: Case, s: Share, scale: Scale) -> bool:
    return agrees(got, made(s, scale)(*case.arguments))


MISTAKES = [
    *(Mistake(name, explanation, wrong=made(scale=scale)) for name, explanation, scale in SCALES),
    *(Mistake(name, explanation, wrong=made(s)) for name, explanation, s in SHARES),
    Mistake(
        "two bases",
        "Your logarithm and your power have different bases. `exp` undoes `log`, `10 **` undoes `log10`, and `2 **` "
        "undoes `log2`.",
        when=of_two_bases,
    ),
    Mistake(
        "exponential, cut off",
        "You return the exponential of the inner product, cut off at near and far. The task asks for a sigmoid, and "
        "for the way from near to far.",
        wrong=lambda *given: share(given[0], given[1], torch.exp).clamp(*given[2:]),
    ),
    *(
        Mistake(f"{name}; {other}", f"Two things at once. {said} {more}", when=partial(both_wrong, s=s, scale=scale))
        for name, said, s in SHARES
        for other, more, scale in SCALES[:FREQUENT]
    ),
]

EXERCISE = Exercise(
    name="depth_maps",
    reference=depth_maps,
    cases=cases,
    takes={"pixel_embed": Kind.MAP},
    gives=Kind.NUMBERS,
    observe=in_single_precision,
    mistakes=MISTAKES,
    atol=1e-4,  # metres
)
