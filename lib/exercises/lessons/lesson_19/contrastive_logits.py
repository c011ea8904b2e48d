"""How well queries fit words: the inner product of each with each. No matrix of classes is learned."""

from collections.abc import Callable
from functools import partial
from itertools import product
from math import inf, sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_uniform, random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.values import in_single_precision


def contrastive_logits(queries: Tensor, tokens: Tensor, words: Tensor, bias: float) -> Tensor:
    """The course's own, as in `lib.layers.query_selection.ContrastiveEmbedding`."""
    logits = queries @ tokens.T / queries.shape[1] ** 0.5 + bias  # (Q, T)
    return logits.masked_fill(~words, -inf)


def cases() -> list[Case]:
    queries = torch.tensor([[2.0, 0, 1, -1], [0, 3, -1, 1]])
    tokens = torch.tensor([[2.0, 1, 0, 1], [0, 2, 3, -2], [1, 2, 1, 3]])
    words = torch.tensor([True, True, False])  # the inner products are 3, 5, 0 and 4, 1, 8; the root is 2
    made = [
        Case.from_truth(
            '2 queries, the tokens "red", "cone" and ".", 4 numbers: worked by hand',
            (queries, tokens, words, -3.0),
            number_by_number,
            gradients_of=("queries", "tokens"),
        )
    ]
    by_hand = torch.tensor([[-1.5, -0.5, -inf], [-1.0, -2.5, -inf]])
    torch.testing.assert_close(made[0].expected, by_hand)
    shapes = {  # Q, T, D, bias
        "5 queries, 7 tokens, 9 numbers": (5, 7, 9, -4.6),
        "more queries than tokens": (8, 3, 16, 0.75),
        "bias 0": (3, 6, 5, 0.0),
        "as many queries as tokens, and as many numbers": (4, 4, 4, -1.5),
        "as many queries as tokens": (3, 3, 12, 1.25),
        "one number": (6, 5, 1, -0.5),
        "one query": (1, 4, 6, 2.0),
        "one token": (4, 1, 3, -2.0),
    }
    for seed, (label, (number, length, numbers, bias)) in enumerate(shapes.items()):
        seen = random_uniform(length, seed=seed) < 0.6
        seen[0] = True
        seen[1:2] = False
        given = random_values(number, numbers, seed=seed + 20), random_values(length, numbers, seed=seed + 40)
        made.append(Case.from_truth(label, (*given, seen, bias), number_by_number, ("queries", "tokens")))
    every, none = torch.ones(4, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)
    named = {
        "every token is a word": (random_values(2, 3, seed=60), random_values(4, 3, seed=61), every, 0.5),
        "no token is a word": (random_values(2, 3, seed=62), random_values(3, 3, seed=63), none, 0.5),
        "no queries": (torch.empty(0, 3), random_values(4, 3, seed=64), every, 0.5),
        "no tokens": (random_values(2, 3, seed=65), torch.empty(0, 3), none[:0], 0.5),
    }
    return made + [Case(label, given, number_by_number(*given)) for label, given in named.items()]


def number_by_number(queries: Tensor, tokens: Tensor, words: Tensor, bias: float) -> Tensor:
    """The truth: one product after another."""
    logits = torch.full((len(queries), len(tokens)), -inf)
    for q, t in product(range(len(queries)), range(len(tokens))):
        if words[t]:
            products = [queries[q, d] * tokens[t, d] for d in range(queries.shape[1])]
            logits[q, t] = sum(products, torch.zeros(())) / sqrt(len(products)) + bias
    return logits


def observe(result: Any, *arguments: Any) -> Any:
    """What came back. No gradient flows out of −∞, however it came there: no loss would send one."""
    if isinstance(result, Tensor) and result.is_floating_point():
        result = torch.where(result == -inf, -inf, result)
    return in_single_precision(result)


# --- mistakes ---------------------------------------------------------------------------------------------------------


def scaled(products: Tensor, numbers: int, bias: float) -> Tensor:
    return products / sqrt(numbers) + bias


def hidden(logits: Tensor, words: Tensor) -> Tensor:
    return logits.masked_fill(~words, -inf)


def opened(
    queries: Tensor,
    tokens: Tensor,
    words: Tensor,
    bias: float,
    vectors: Callable[[Tensor], Tensor] = lambda x: x,
    fit: Callable[[Tensor, int, float], Tensor] = scaled,
    hide: Callable[[Tensor, Tensor], Tensor] = hidden,
) -> Tensor:
    """`contrastive_logits` with its decisions open.

    Args:
        vectors: what is done to queries and tokens first.
        fit: from inner products (Q, T), D and bias to logits.
        hide: what becomes of the logits of tokens that are no words.
    """
    return hide(fit(vectors(queries) @ vectors(tokens).T, queries.shape[1], bias), words)


Way = tuple[str, str, dict[str, Any]]

FITS: list[Way] = [  # a name, words that are true beside others, decisions of `opened`
    ("not scaled", "You did not divide the inner products by √D.", {"fit": lambda x, n, bias: x + bias}),
    (
        "divided by D",
        "You divided the inner products by D, for instance with `mean`. Divide their sum by the *root* of D.",
        {"fit": lambda x, n, bias: x / n + bias},
    ),
    (
        "multiplied by √D",
        "You multiplied the inner products by √D. Divide.",
        {"fit": lambda x, n, bias: x * sqrt(n) + bias},
    ),
    (
        "mean, and scaled besides",
        "You took the mean of the products of numbers, and divided by √D besides. An inner product is their sum.",
        {"fit": lambda x, n, bias: x / n**1.5 + bias},
    ),
    ("bias forgotten", "You did not add the bias.", {"fit": lambda x, n, bias: x / sqrt(n)}),
    (
        "bias scaled, too",
        "You added the bias before dividing by √D. Divide the inner product alone, and then add the bias.",
        {"fit": lambda x, n, bias: (x + bias) / sqrt(n)},
    ),
    (
        "bias subtracted",
        "You took the bias away. Add it.",
        {"fit": lambda x, n, bias: x / sqrt(n) - bias},
    ),
    (
        "not scaled, bias forgotten",
        "You return the plain inner products. Divide them by √D, and add the bias.",
        {"fit": lambda x, n, bias: x},
    ),
]
TIMES = "You multiply by −∞ where no word is. Below 0 that gives +∞, and 0 · ∞ is NaN. Write −∞ to these places."
HIDDEN: list[Way] = [
    (
        "`words` not used",
        "You let separators and padding have logits like any word. They get −∞.",
        {"hide": lambda logits, words: logits},
    ),
    (
        "0 where there is no word",
        "Tokens that are no words get 0 from you. That is a probability of 0.5; what logit has the probability 0?",
        {"hide": lambda logits, words: logits.masked_fill(~words, 0)},
    ),
    (
        "words hidden",
        "It is the words that get −∞ from you. `words` is True where a logit *stays*.",
        {"hide": lambda logits, words: logits.masked_fill(words, -inf)},
    ),
    (
        "+∞",
        "Tokens that are no words get +∞ from you, a probability of 1. Mind the sign.",
        {"hide": lambda logits, words: logits.masked_fill(~words, inf)},
    ),
    ("times −∞", TIMES, {"hide": lambda logits, words: logits * torch.where(words, 1, -inf)}),
]
RARE: list[Way] = [
    (
        "0 times infinity",
        "Your logits of words are NaN. Did you multiply the mask by −∞? Where it is 0, that is 0 · ∞, which is NaN. "
        "Write −∞ to the other places alone.",
        {"hide": lambda logits, words: logits + (~words).float() * -inf},
    ),
    (
        "queries hidden",
        "You hide rows, and these are queries. `words` speaks of tokens, the columns.",
        {"hide": lambda logits, words: logits.masked_fill(~words[:, None], -inf)},
    ),
    (
        "columns left out",
        "You leave out the columns of tokens that are no words. They stay, with −∞, so that T is T.",
        {"hide": lambda logits, words: logits[:, words]},
    ),
    (
        "directions alone",
        "You brought all vectors to length 1: cosines. Here lengths count, too.",
        {"vectors": partial(F.normalize, dim=1)},
    ),
    (
        "cosines",
        "You brought all vectors to length 1, and did not divide by √D. Here lengths count, and the inner product is "
        "divided.",
        {"vectors": partial(F.normalize, dim=1), "fit": lambda x, n, bias: x + bias},
    ),
]


def root_of_tokens(queries: Tensor, tokens: Tensor, words: Tensor, bias: float) -> Tensor:
    return hidden(scaled(queries @ tokens.T, max(len(tokens), 1), bias), words)


def root_of_queries(queries: Tensor, tokens: Tensor, words: Tensor, bias: float) -> Tensor:
    return hidden(scaled(queries @ tokens.T, max(len(queries), 1), bias), words)


def hidden_before_bias(queries: Tensor, tokens: Tensor, words: Tensor, bias: float, root: bool = True) -> Tensor:
    return scaled((queries @ tokens.T).masked_fill(~words, 0), queries.shape[1] if root else 1, bias)


def multiplied_before_bias(queries: Tensor, tokens: Tensor, words: Tensor, bias: float) -> Tensor:
    return scaled(queries @ tokens.T * torch.where(words, 1, -inf), queries.shape[1], bias)


def tokens_multiplied(queries: Tensor, tokens: Tensor, words: Tensor, bias: float) -> Tensor:
    return scaled(queries @ (tokens * torch.where(words, 1, -inf)[:, None]).T, queries.shape[1], bias)


def tokens_hidden(queries: Tensor, tokens: Tensor, words: Tensor, bias: float) -> Tensor:
    return scaled(queries @ tokens.masked_fill(~words[:, None], -inf).T, queries.shape[1], bias)


def not_added_up(queries: Tensor, tokens: Tensor, words: Tensor, bias: float) -> Tensor:
    return scaled(queries[:, None] * tokens, queries.shape[1], bias).masked_fill(~words[:, None], -inf)


def finite_number(got: Tensor, expected: Tensor, case: Case) -> bool:
    """Whether only −∞ is missing, and a number stands there that is lower than any logit."""
    low = expected == -inf
    others = torch.allclose(got[~low], expected[~low], rtol=1e-3, atol=1e-4)
    return others and bool(got[low].isfinite().all() and (got[low] < -50).all())


EXERCISE = Exercise(
    name="contrastive_logits",
    reference=contrastive_logits,
    cases=cases,
    takes={"queries": Kind.NUMBERS, "tokens": Kind.NUMBERS},
    gives=Kind.LOGITS,
    observe=observe,
    mistakes=[
        *(Mistake(name, told, wrong=partial(opened, **made)) for name, told, made in (*FITS, *HIDDEN, *RARE)),
        Mistake(
            "a low number for −∞",
            "Right but where no word is: there you have a low number. The task asks for −∞ itself, "
            '`float("-inf")`, whatever the other logits are.',
            when=finite_number,
        ),
        Mistake(
            "hidden before the bias",
            "Tokens that are no words get 0 first, and then the bias, so that this is their logit. They get −∞.",
            wrong=hidden_before_bias,
        ),
        Mistake(
            "hidden before the bias; not scaled",
            "Two things at once. Tokens that are no words have the bias as their logit; they get −∞. And you did not "
            "divide the inner products by √D.",
            wrong=partial(hidden_before_bias, root=False),
        ),
        Mistake("times −∞, before the bias", TIMES, wrong=multiplied_before_bias),
        Mistake("tokens times −∞", TIMES, wrong=tokens_multiplied),
        Mistake(
            "tokens set to −∞",
            "You wrote −∞ into the vectors of tokens that are no words. Times a number below 0 that is +∞, and their "
            "sum is NaN. Write it to the *logits*.",
            wrong=tokens_hidden,
        ),
        Mistake(
            "root of the number of tokens",
            "You divided by √T, the number of tokens. D is how many numbers a vector has.",
            wrong=root_of_tokens,
        ),
        Mistake(
            "root of the number of queries",
            "You divided by √Q, the number of queries. D is how many numbers a vector has.",
            wrong=root_of_queries,
        ),
        Mistake(
            "not added up",
            "You multiplied numbers, but did not add them up: your result still has the axis of D.",
            wrong=not_added_up,
        ),
        *(
            Mistake(f"{one}; {other}", f"Two things at once. {told} {also}", wrong=partial(opened, **a, **b))
            for (one, told, a), (other, also, b) in product(FITS, HIDDEN)
        ),
    ],
)
