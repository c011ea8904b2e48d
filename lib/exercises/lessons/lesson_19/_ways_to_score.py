"""What can be decided otherwise about a phrase's score, from those of its words, and what is said of it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lib.ops.phrases import phrase_scores

Score = Callable[[Tensor, Tensor], Tensor]  # logits, phrases -> (Q, P)


def of_words(pool: Callable[[Tensor], Tensor]) -> Score:
    """Scores of phrases from what `pool` makes of the logits (Q, n) of a phrase's n words."""

    def scores(logits: Tensor, phrases: Tensor) -> Tensor:
        columns = [pool(logits[:, phrases == label]) for label in range(int(phrases.max()) + 1)]
        return torch.stack(columns, 1) if columns else logits.new_zeros(len(logits), 0)

    return scores


summed = of_words(lambda words: words.sigmoid().sum(1))


def with_its_separator(logits: Tensor, phrases: Tensor) -> Tensor:
    before = torch.cat([phrases[:1], phrases[:-1]])
    return phrase_scores(logits, torch.where(phrases < 0, before, phrases))


def with_all_behind(logits: Tensor, phrases: Tensor) -> Tensor:
    return phrase_scores(logits, phrases.cummax(0).values)


def divided_by(number: Callable[[Tensor, Tensor], Any]) -> Score:
    """Sums of probabilities, divided by `number` of the phrases (T,) and of their lengths (P,)."""
    return lambda logits, phrases: summed(logits, phrases) / number(phrases, phrases[phrases >= 0].bincount())


def zeros_times_logits(logits: Tensor, phrases: Tensor, way: str) -> Tensor:
    """NaN where a token is no word: 0 · −∞. The `way` says where the sigmoid comes too late."""
    belongs = (phrases[:, None] == torch.arange(int(phrases.max()) + 1)).float()  # (T, P)
    match way:
        case "sigmoid of the products":
            return (logits[:, :, None] * belongs).sigmoid().sum(1) / belongs.sum(0)
        case "sigmoid of the sum":
            return (logits @ belongs).sigmoid()
        case "sigmoid of the sum, divided":
            return (logits @ belongs).sigmoid() / belongs.sum(0)
    return (logits @ belongs / belongs.sum(0)).sigmoid()


def to_the_last_one(logits: Tensor, phrases: Tensor) -> Tensor:
    count = int(phrases.max()) + 1
    return phrase_scores(logits, phrases % count) if count else phrase_scores(logits, phrases)


Way = tuple[str, str, dict[str, Any]]  # a name, words that are true beside others, decisions of `opened`

EQUALLY: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "2": lambda phrases, lengths: 2,
    "the first phrase's length": lambda phrases, lengths: lengths[:1],
    "the last phrase's length": lambda phrases, lengths: lengths[-1:],
    "the longest phrase's length": lambda phrases, lengths: lengths.max() if len(lengths) else 1,
    "the phrases' mean length": lambda phrases, lengths: lengths.float().mean(),
    "the number of phrases": lambda phrases, lengths: len(lengths),
}

SCORES: list[Way] = [
    (
        "the best word",
        "Your score of a phrase is that of its best word. One word in which a thing agrees is not enough: take the "
        "mean of all its words.",
        {"score": partial(phrase_scores, pool="max")},
    ),
    (
        "the worst word",
        "Your score of a phrase is that of its worst word. Take the mean of all its words.",
        {"score": partial(phrase_scores, pool="min")},
    ),
    (
        "sigmoid of the mean",
        "You take the mean of the logits, and then the sigmoid. Each word's probability comes first, their mean then.",
        {"score": of_words(lambda words: words.mean(1).sigmoid())},
    ),
    (
        "a sum of probabilities",
        "You sum the probabilities of a phrase's words: a longer phrase gets more. Divide by how many words it has.",
        {"score": summed},
    ),
    (
        "softmax",
        "You take a softmax over the tokens, so that words compete: two phrases can hardly fit both. Each word is a "
        "question of its own: sigmoid.",
        {"score": lambda logits, phrases: of_words(lambda words: words.mean(1))(logits.softmax(1), phrases)},
    ),
    (
        "divided by all tokens",
        "You divide by T, the number of all tokens. A phrase's mean is over its own words.",
        {"score": lambda logits, phrases: summed(logits, phrases) / len(phrases)},
    ),
    (
        "divided by all words",
        "You divide by the number of words in the whole caption. A phrase's mean is over its own words.",
        {"score": lambda logits, phrases: summed(logits, phrases) / (phrases >= 0).sum()},
    ),
    *(
        (
            name,
            "You count tokens of −1 in the mean, as words of probability 0. A −1 is no word: divide by the number of "
            "words alone.",
            {"score": score},
        )
        for name, score in (
            ("separator counted", with_its_separator),
            ("separator and padding counted", with_all_behind),
            ("all separators counted", divided_by(lambda phrases, lengths: lengths + (phrases < 0).sum())),
        )
    ),
    (
        "one too many",
        "You divide by the number of words + 1. Is a separator counted?",
        {"score": divided_by(lambda _, lengths: lengths + 1)},
    ),
    *(
        (
            f"divided by {name}",
            f"You divide every phrase's sum by the same number, {name}. Each phrase has its own number of words.",
            {"score": divided_by(number)},
        )
        for name, number in EQUALLY.items()
    ),
    *(
        (
            f"0 · −∞, {way}",
            "You multiply the logits by zeros and ones, but 0 · −∞ is NaN, and NaN is not at least the threshold. Take "
            "the sigmoid first: that of −∞ is 0.",
            {"score": partial(zeros_times_logits, way=f"sigmoid of the {way}")},
        )
        for way in ("mean", "products", "sum", "sum, divided")
    ),
    (
        "a product of probabilities",
        "You multiply the probabilities of a phrase's words. A longer phrase gets less: take their mean.",
        {"score": of_words(lambda words: words.sigmoid().prod(1))},
    ),
    (
        "a geometric mean",
        "You take the geometric mean of the probabilities, a root of their product. Asked is the usual mean: a sum, "
        "divided.",
        {"score": of_words(lambda words: words.sigmoid().log().mean(1).exp())},
    ),
    (
        "separators in the last phrase",
        "You use −1 as a place, and for Python that is the last one: all separators count as words of the last phrase. "
        "Leave them out first.",
        {"score": to_the_last_one},
    ),
    (
        "the last phrase lost",
        "Your labels never reach the last phrase. Phrases are counted from 0, so there is one more than the largest "
        "number.",
        {"score": lambda logits, phrases: phrase_scores(logits, phrases)[:, :-1]},
    ),
]
