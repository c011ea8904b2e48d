"""Who looks where, and what is taken home, in several heads at once."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.layers.transformer import attention_weights

Two = tuple[Tensor, Tensor]  # (B, L, E), and the weights (B, H, L, S)
Reshape = Callable[[Tensor, int], Tensor]  # a tensor, H -> another shape


def attention(query: Tensor, key: Tensor, value: Tensor, num_heads: int, hidden: Tensor) -> Two:
    """The course's own, as `lib.layers.transformer.MultiheadAttention` does it, without its matrices."""
    q, k, v = (by_head(x, num_heads) for x in (query, key, value))
    weights = attention_weights(q, k, hidden[:, None, None])
    return (weights @ v).transpose(1, 2).flatten(2), weights


def cases() -> list[Case]:
    named: dict[str, tuple[tuple[int, int, int, int], int, list[tuple[int, int]]]] = {
        "1 picture, 2 queries, 3 keys, 2 heads of 3 numbers": ((1, 2, 3, 6), 2, [(0, 1)]),
        "2 pictures, each with a padding of its own": ((2, 3, 4, 8), 4, [(0, 3), (1, 0), (1, 2)]),
        "nothing hidden": ((2, 4, 3, 6), 3, []),
        "one head": ((2, 3, 5, 4), 1, [(0, 4), (1, 3), (1, 4)]),
        "as many heads as numbers": ((1, 3, 5, 4), 4, [(0, 0)]),
        "as many queries as keys": ((3, 4, 4, 6), 2, [(0, 3), (2, 1), (2, 2)]),
        "one query, and one key that is not hidden": ((2, 1, 3, 4), 2, [(0, 0), (0, 1), (1, 1), (1, 2)]),
    }
    made = []
    for seed, (label, ((batch, queries, keys, numbers), heads, padding)) in enumerate(named.items()):
        hidden = torch.zeros(batch, keys, dtype=torch.bool)
        for place in padding:
            hidden[place] = True
        query, key, value = (
            1.5 * random_values(batch, count, numbers, seed=3 * seed + more)
            for more, count in enumerate((queries, keys, keys))
        )
        made.append(Case.from_truth(label, (query, key, value, heads, hidden), head_after_head))
    return made


def head_after_head(query: Tensor, key: Tensor, value: Tensor, num_heads: int, hidden: Tensor) -> Two:
    """The truth, by PyTorch's own attention, a head at a time; the mean of unit vectors is the weights themselves."""
    size, seen = query.shape[2] // num_heads, ~hidden[:, None]  # (B, 1, S)
    units = torch.eye(key.shape[1]).expand(len(key), -1, -1)  # (B, S, S)
    parts = [slice(start, start + size) for start in range(0, query.shape[2], size)]
    looks = [(query[:, :, part], key[:, :, part]) for part in parts]
    answers = [F.scaled_dot_product_attention(*look, value[:, :, part], seen) for look, part in zip(looks, parts)]
    return torch.cat(answers, dim=2), torch.stack(
        [F.scaled_dot_product_attention(*look, units, seen) for look in looks], dim=1
    )


# --- the heads: (B, N, E) -> (B, H, N, E / H), and back ---------------------------------------------------------------


def by_head(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def joined(x: Tensor, heads: int) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def every_hth(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(2, (-1, heads)).permute(0, 3, 1, 2)


def joined_in_turn(x: Tensor, heads: int) -> Tensor:
    return x.permute(0, 2, 3, 1).flatten(2)


def cut_in_order(x: Tensor, heads: int) -> Tensor:
    return x.reshape(len(x), heads, x.shape[1], x.shape[2] // heads)


def joined_in_order(x: Tensor, heads: int) -> Tensor:
    return x.reshape(len(x), x.shape[2], -1)


def look(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_heads: int,
    hidden: Tensor,
    split: Reshape = by_head,
    join: Reshape = joined,
    split_value: Reshape | None = None,
    divisor: Callable[[int, int], float] = lambda numbers, heads: (numbers / heads) ** 0.5,
    weigh: Callable[[Tensor, Tensor], Tensor] = lambda s, hidden: s.masked_fill(hidden, -torch.inf).softmax(dim=3),
    told: Callable[[Tensor], Tensor] = lambda weights: weights,
) -> Two:
    """`attention` with its decisions open.

    Args:
        split, join: from (B, N, E) to the heads (B, H, N, E / H), and back.
        split_value: the same for the values alone; None: as the others.
        divisor: from E and H to what the scores are divided by.
        weigh: from scores (B, H, L, S) and what is hidden (B, 1, 1, S) to weights.
        told: which weights are returned.
    """
    q, k, v = split(query, num_heads), split(key, num_heads), (split_value or split)(value, num_heads)
    scores = q @ k.transpose(2, 3) / divisor(query.shape[2], num_heads)
    weights = weigh(scores, hidden[:, None, None])
    return join(weights @ v, num_heads), told(weights)


def weighed(weigh: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Two]:
    return partial(look, weigh=weigh)


def of_another_picture(scores: Tensor, hidden: Tensor) -> Tensor:
    """Weights where pictures and heads were one axis, (B · H), and `hidden` was repeated as if it were (H · B)."""
    repeated = hidden.repeat(scores.shape[1], 1, 1, 1).reshape(*scores.shape[:2], 1, -1)  # (B, H, 1, S)
    return scores.masked_fill(repeated, -torch.inf).softmax(dim=3)


def exchanged(query: Tensor, key: Tensor, value: Tensor, num_heads: int, hidden: Tensor) -> Two:
    answer, weights = attention(query, key, value, num_heads, hidden)
    return answer, weights.transpose(0, 1).reshape(weights.shape)


def some_weight_left(got: Two, expected: Two, case: Case) -> bool:
    """Whether hidden keys have some weight, and those of the others are right but for what these take away."""
    hidden = case.arguments[4][:, None, None].expand_as(got[1])  # (B, H, L, S)
    seen = got[1].masked_fill(hidden, 0)
    whole = bool((got[1].sum(dim=3) - 1).abs().max() < 1e-4 and (got[1][hidden] > 0).all())
    return whole and torch.allclose(seen / seen.sum(dim=3, keepdim=True), expected[1], rtol=1e-3, atol=1e-4)


EVERY_HTH = (
    "Your head number 0 has the numbers 0, H, 2H …: every H-th. It has the first E/H of them: cut E into (H, E/H), not "
    "into (E/H, H)."
)
IN_ORDER = (
    "You *reshaped* (B, N, E) to (B, H, N, E/H), which keeps the order of all numbers: a head gets pieces of other "
    "queries and keys. Cut E into (H, E/H) first, then move the axis of the heads."
)
JOINED = "The weights are right. But what the heads take home is put together otherwise than it was cut: "

MISTAKES = [
    Mistake("not scaled", "You did not divide the scores by √(E/H).", wrong=partial(look, divisor=lambda *_: 1)),
    Mistake(
        "divided by √E",
        "You divided the scores by √E. A head has only E/H numbers: divide by the root of these.",
        wrong=partial(look, divisor=lambda numbers, heads: numbers**0.5),
    ),
    Mistake(
        "root left out",
        "You divided the scores by E/H. Divide by its *root*.",
        wrong=partial(look, divisor=lambda numbers, heads: numbers / heads),
    ),
    Mistake(
        "divided by √H",
        "You divided the scores by √H, the number of heads. Divide by the root of how many numbers a head has, E/H.",
        wrong=partial(look, divisor=lambda numbers, heads: heads**0.5),
    ),
    Mistake(
        "multiplied by the root",
        "You multiplied the scores by √(E/H). Divide.",
        wrong=partial(look, divisor=lambda numbers, heads: (heads / numbers) ** 0.5),
    ),
    Mistake(
        "softmax over the queries",
        "Your softmax goes over the queries: for each *key* the weights add up to 1, and for a hidden one they are "
        "NaN. For each query they must add up to 1 over the keys.",
        wrong=weighed(lambda scores, hidden: scores.masked_fill(hidden, -torch.inf).softmax(dim=2)),
    ),
    Mistake(
        "softmax over the queries, a hidden key for all alike",
        "Your softmax goes over the queries: for each *key* the weights add up to 1, and a hidden one has 1/L from "
        "every query. For each query they must add up to 1 over the keys.",
        wrong=weighed(lambda scores, hidden: scores.masked_fill(hidden, -1e9).softmax(dim=2)),
    ),
    Mistake(
        "softmax over the heads",
        "Your softmax goes over the heads. For each query and each head the weights must add up to 1 over the keys.",
        wrong=weighed(lambda scores, hidden: scores.masked_fill(hidden, -torch.inf).softmax(dim=1)),
    ),
    Mistake(
        "`hidden` ignored",
        "You let hidden keys be looked at. Their weights must be 0.",
        wrong=weighed(lambda scores, hidden: scores.softmax(dim=3)),
    ),
    Mistake(
        "hidden after the softmax",
        "Hidden keys have weight 0, but the others' weights no longer add up to 1: those of the hidden ones are "
        "missing. Hide keys *before* the softmax.",
        wrong=weighed(lambda scores, hidden: scores.softmax(dim=3).masked_fill(hidden, 0)),
    ),
    Mistake(
        "score 0 for hidden keys",
        "You gave hidden keys the score 0, or one very near. The softmax makes e⁰ = 1 of it, a score like any other. "
        "What score gives weight 0?",
        wrong=weighed(lambda scores, hidden: scores.masked_fill(hidden, 0).softmax(dim=3)),
    ),
    Mistake(
        "a score too high for hidden keys",
        "The keys that can be seen share their weights rightly, but hidden ones keep some. Their score must be so low "
        "that nothing is left: −∞.",
        when=some_weight_left,
    ),
    Mistake(
        "0 times infinity",
        "All that you return is NaN. Is `hidden` multiplied by −∞? Where it is False, that is 0 · ∞, which is NaN; "
        "`masked_fill` writes −∞ to the hidden places alone.",
        wrong=weighed(lambda scores, hidden: (scores + hidden * -torch.inf).softmax(dim=3)),
    ),
    Mistake(
        "no softmax",
        "Your weights are the scores, with 0 at hidden keys. A softmax over the keys makes weights of scores.",
        wrong=weighed(lambda scores, hidden: scores.masked_fill(hidden, 0)),
    ),
    Mistake("every H-th number", EVERY_HTH, wrong=partial(look, split=every_hth, join=joined_in_turn)),
    Mistake(
        "every H-th number, joined otherwise",
        f"{EVERY_HTH} And the heads' answers are joined otherwise than they were cut.",
        wrong=partial(look, split=every_hth),
    ),
    Mistake("cut without moving an axis", IN_ORDER, wrong=partial(look, split=cut_in_order, join=joined_in_order)),
    Mistake("cut without moving an axis, then joined", IN_ORDER, wrong=partial(look, split=cut_in_order)),
    Mistake(
        "joined without moving an axis",
        f"{JOINED}(B, H, L, E/H) was *reshaped* to (B, L, E), which mixes queries. Bring H beside E/H first.",
        wrong=partial(look, join=joined_in_order),
    ),
    Mistake(
        "joined in turn",
        f"{JOINED}the heads' numbers take turns. Head 0's numbers come first, all E/H of them, then head 1's.",
        wrong=partial(look, join=joined_in_turn),
    ),
    Mistake(
        "heads and pictures exchanged",
        "Right but for the places of the weights, where there are several pictures and several heads: they lie as "
        "(H, B, L, S) in memory. Exchange the first two axes; a `reshape` moves nothing.",
        wrong=exchanged,
    ),
    Mistake(
        "another picture's padding",
        "Right for one picture or one head. With more, some heads hide what is padding in another picture. Along an "
        "axis of B · H the heads of one picture stand side by side, and so must its rows of `hidden`: "
        "`repeat_interleave` does that, `repeat` does not.",
        wrong=weighed(of_another_picture),
    ),
    Mistake(
        "values not split",
        "Every head takes home all E numbers of the values, and you return their mean. A head takes its own E/H.",
        wrong=partial(look, split_value=lambda x, heads: x[:, None], join=lambda x, heads: x.mean(dim=1)),
    ),
    Mistake(
        "values not split, heads added",
        "Every head takes home all E numbers of the values, and you return their sum. A head takes its own E/H.",
        wrong=partial(look, split_value=lambda x, heads: x[:, None], join=lambda x, heads: x.sum(dim=1)),
    ),
    Mistake(
        "mean over the heads",
        "You return the mean of the heads' answers. They stand beside each other: H times E/H numbers are E again.",
        wrong=partial(look, join=lambda x, heads: x.mean(dim=1)),
    ),
    Mistake(
        "weights averaged over the heads",
        "Right but for the weights: you return their mean over the heads. The task asks for those of each head, "
        "(B, H, L, S).",
        wrong=partial(look, told=lambda weights: weights.mean(dim=1)),
    ),
    Mistake(
        "one head",
        "You looked with all E numbers at once, as one head does; the number of heads does not matter to yours.",
        wrong=lambda query, key, value, num_heads, hidden: look(query, key, value, 1, hidden),
    ),
    Mistake(
        "one head, without its axis",
        "You looked with all E numbers at once, as one head does, and your weights have no axis for heads.",
        wrong=lambda query, key, value, num_heads, hidden: look(
            query, key, value, 1, hidden, told=lambda weights: weights[:, 0]
        ),
    ),
    Mistake(
        "keys taken home",
        "You took home a mean of the *keys*. They say who is looked at; what is taken home are the values.",
        wrong=lambda query, key, value, num_heads, hidden: look(query, key, key, num_heads, hidden),
    ),
    Mistake(
        "values looked at",
        "Your scores are those of the *values*. A query is compared with the keys.",
        wrong=lambda query, key, value, num_heads, hidden: look(query, value, value, num_heads, hidden),
    ),
]

EXERCISE = Exercise(
    name="attention",
    reference=attention,
    cases=cases,
    takes={"hidden": Kind.MASK},
    gives=(Kind.NUMBERS, Kind.NUMBERS),
    mistakes=MISTAKES,
)
