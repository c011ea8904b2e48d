"""Which tokens of a caption see each other, so that phrases asked at once do not disturb each other."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_classes
from lib.exercises.engine.kinds import Kind
from lib.layers.text_encoder import SEPARATOR, UNKNOWN, sub_sentences

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Two = tuple[Tensor, Tensor]  # hidden (T, T) bool, places (T,)


def sub_sentence_mask(ids: Tensor, separator: int) -> Two:
    """The course's own, `lib.layers.text_encoder.sub_sentences` for one caption."""
    hidden, places = sub_sentences(torch.where(ids == separator, SEPARATOR, UNKNOWN)[None])
    return hidden[0], places[0]


def cases() -> list[Case]:
    small = torch.tensor([6, 3, 5, 2, 9, 4, 2])
    number = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    by_hand = number[:, None] != number, torch.tensor([0, 1, 2, 3, 0, 1, 2])
    named = {
        "the caption does not end with a separator": ([6, 2, 9, 3, 8], 2),
        "two separators in a row": ([4, 8, 2, 2, 5, 2], 2),
        "begins with a separator; it has another number": ([1, 8, 3, 1, 2, 4, 7, 1], 1),
        "words that come twice; the separator is 0": ([5, 3, 0, 5, 3, 3, 0, 2, 5, 0], 0),
        "no separator": ([4, 6, 3], 2),
        "one word": ([5], 2),
        "one separator": ([9], 9),
        "separators alone": ([3, 3, 3], 3),
        "phrases of one word each": ([4, 7, 5, 7, 6, 7], 7),
        "30 tokens": (random_classes(30, classes=6, seed=1).tolist(), 4),
        "40 tokens": (random_classes(40, classes=9, seed=2).tolist(), 6),
    }
    made = [Case('"small red cone . blue sphere ." with the separator 2, worked by hand', (small, 2), by_hand)]
    for label, (ids, separator) in named.items():
        made.append(Case(label, (torch.tensor(ids), separator), token_by_token(ids, separator)))
    return made


def token_by_token(ids: list[int], separator: int) -> Two:
    """The truth: tokens are read one after another, and a phrase is a list of them."""
    phrases: list[list[int]] = [[]]
    for index, token in enumerate(ids):
        phrases[-1].append(index)
        if token == separator:
            phrases.append([])
    hidden = torch.ones(len(ids), len(ids), dtype=torch.bool)
    for phrase in phrases:
        for one, other in product(phrase, phrase):
            hidden[one, other] = False
    return hidden, torch.tensor([place for phrase in phrases for place in range(len(phrase))])


# --- mistakes ---------------------------------------------------------------------------------------------------------


def restarted(begins: Tensor) -> Tensor:
    """Counts 0, 1, 2 ... from each place that is True in (T,) on, and from the first one."""
    index = torch.arange(len(begins))
    return index - torch.where(begins, index, 0).cummax(0).values


def after(ends: Tensor) -> Tensor:
    """(T,) bool: the tokens that follow one that is True in `ends`."""
    return F.pad(ends[:-1], (1, 0))


def apart(number: Tensor) -> Tensor:
    return number[:, None] != number


def other_phrase(ends: Tensor) -> Tensor:
    return apart(after(ends).cumsum(0))


def places_in_phrases(ends: Tensor) -> Tensor:
    return restarted(after(ends))


def opened(
    ids: Tensor,
    separator: int,
    see: Callable[[Tensor], Tensor] = other_phrase,
    count: Callable[[Tensor], Tensor] = places_in_phrases,
) -> Two:
    """`sub_sentence_mask` with its decisions open: from the tokens that end a phrase, (T,) bool, to its two results."""
    ends = ids == separator
    return see(ends), count(ends)


def with_next(ends: Tensor) -> Tensor:
    return apart(ends.cumsum(0))


def alone(ends: Tensor) -> Tensor:
    itself = torch.eye(len(ends), dtype=torch.bool)
    return other_phrase(ends) | ((ends[:, None] | ends) & ~itself)


def runs(ends: Tensor) -> Tensor:
    """The tokens with which phrases begin, where separators in a row end one phrase together."""
    return after(ends) & ~ends


def unfinished(ends: Tensor) -> Tensor:
    """(T,) bool: the tokens behind the last separator."""
    return ends.flip(0).cumsum(0).flip(0) == 0


def last_sees_itself(ends: Tensor) -> Tensor:
    last, itself = unfinished(ends), torch.eye(len(ends), dtype=torch.bool)
    return other_phrase(ends) | (last & ~itself)


def from_1_after_first(ends: Tensor) -> Tensor:
    return places_in_phrases(ends) + (after(ends).cumsum(0) > 0)


def within_blocks(ends: Tensor) -> Tensor:
    return other_phrase(ends) | (ends[:, None] | ends) | unfinished(ends)


def in_blocks(ends: Tensor) -> Tensor:
    return places_in_phrases(ends) * ~ends * ~unfinished(ends)


def last_left_out(ids: Tensor, separator: int) -> Two:
    hidden, places = sub_sentence_mask(ids, separator)
    finished = ~unfinished(ids == separator)
    return hidden[finished][:, finished], places[finished]


def as_the_authors(ids: Tensor, separator: int, first: bool, last: bool, turned: bool = False) -> Two:
    """Their code, where the `first` token is [CLS] and the `last` one [SEP]; what is in no block sees itself alone."""
    seen, places = torch.eye(len(ids), dtype=torch.bool), torch.zeros_like(ids)
    before = 0 if first else -1
    for end in (ids == separator).nonzero()[:, 0].tolist():
        if not (last and end == len(ids) - 1):
            seen[before + 1 : end + 1, before + 1 : end + 1] = True
            places[before + 1 : end + 1] = torch.arange(end - before)
        before = end
    return seen if turned else ~seen, places


def besides(which: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda ends: other_phrase(ends) | which(ends)


Way = tuple[str, str, Callable[[Tensor], Tensor]]
WITH_NEXT = (
    "You count a separator to the phrase that follows. It belongs to the phrase that it *ends*: it sees the words "
    "before it, and these see it."
)
LAST = "The words behind the last separator are a phrase, too, though no separator ends it."

SEEN: list[Way] = [  # a name, words about `hidden`, and how it comes about
    ("separator with the next phrase", WITH_NEXT, with_next),
    (
        "visible for hidden",
        "You return what a token *sees*. `hidden` is True where it does not.",
        lambda ends: ~other_phrase(ends),
    ),
    ("separator alone", "Your separators see themselves alone. They belong to the phrase that they end.", alone),
    (
        "separators hidden, and blind",
        "Your separators are hidden, and see nothing, not even themselves. They are tokens of the phrase that they "
        "end. (A softmax over nothing is NaN.)",
        besides(lambda ends: ends[:, None] | ends),
    ),
    (
        "nothing hidden",
        "You hide nothing. Tokens of other phrases are hidden.",
        lambda ends: torch.zeros(len(ends), len(ends), dtype=torch.bool),
    ),
    (
        "separators in a row together",
        "You let separators in a row end one phrase together. Each ends a phrase of its own: the second one's has no "
        "words.",
        lambda ends: apart(runs(ends).cumsum(0)),
    ),
    ("last phrase blind", f"{LAST} You let them see nothing, not even themselves.", besides(unfinished)),
    ("last phrase sees itself alone", f"{LAST} You let each of them see itself alone.", last_sees_itself),
    (
        "a token hidden from itself",
        "You hide each token from itself. It sees its whole phrase, itself too.",
        besides(lambda ends: torch.eye(len(ends), dtype=torch.bool)),
    ),
    (
        "later tokens hidden",
        "You hide the later tokens of a phrase from the earlier ones. Both see each other.",
        besides(lambda ends: torch.ones(len(ends), len(ends), dtype=torch.bool).triu(1)),
    ),
]

COUNTED: list[Way] = [
    (
        "places not begun anew",
        "Your places count through the whole caption. They begin at 0 in each phrase.",
        lambda ends: torch.arange(len(ends)),
    ),
    (
        "a separator has place 0",
        "Your separators begin the count: they have place 0, and the next word 1. The count begins anew *behind* a "
        "separator.",
        restarted,
    ),
    (
        "separators not counted",
        "Your separators have place 0, whatever stands before them. They are the last tokens of their phrases.",
        lambda ends: places_in_phrases(ends) * ~ends,
    ),
    ("places from 1", "Your places begin at 1. They begin at 0.", lambda ends: places_in_phrases(ends) + 1),
    (
        "places go on after a second separator",
        "Your places go on where separators stand in a row, or at the beginning. Each ends a phrase, so the next token "
        "has place 0.",
        lambda ends: restarted(runs(ends)),
    ),
    (
        "last phrase at place 0",
        "You leave the places behind the last separator at 0. They are counted, too, though no separator ends them.",
        lambda ends: places_in_phrases(ends) * ~unfinished(ends),
    ),
    (
        "phrases counted",
        "Your places say which phrase a token belongs to. Asked is where in its phrase it stands.",
        lambda ends: after(ends).cumsum(0),
    ),
    (
        "from 1 after the first phrase",
        "Your places are right in the first phrase, and 1 too large in all others. A phrase begins one *behind* the "
        "separator.",
        from_1_after_first,
    ),
    (
        "places counted backwards",
        "Your places count back from the end of a phrase. Its *first* token has place 0.",
        lambda ends: (~other_phrase(ends)).triu(1).sum(1),
    ),
]
CLS = (
    "You let the first token see itself alone, as if it were [CLS] in the authors' code. It is one of the first phrase."
)
SEP = (
    "You let the tokens of the last phrase see themselves alone, at place 0. In the authors' code the last token is "
    "[SEP]; here the last phrase is one like the others."
)
TURNED = "And you return what a token *sees*, as they do: `hidden` is True where it does not."
UNFINISHED = f"{LAST} You let each of them see itself alone, at place 0."
COPIED: list[tuple[str, str, dict[str, bool]]] = [
    ("first and last token apart", f"{CLS} {SEP}", {"first": True, "last": True}),
    ("first token apart", f"{CLS} {UNFINISHED}", {"first": True, "last": False}),
    ("last token apart", SEP, {"first": False, "last": True}),
]
COPIED += [
    (f"{name}; visible for hidden", f"{told} {TURNED}", {**made, "turned": True})
    for name, told, made in (*COPIED, ("blocks alone", UNFINISHED, {"first": False, "last": False}))
]
BLOCKS = (
    f"You fill in a block of tokens for each separator, but the block ends before it. {LAST} And what has no block "
    "sees nothing, not even itself."
)


def draw_masks(got: Any, expected: Two, case: Case) -> "Figure | None":
    """Who is hidden from whom, yours and expected; below each token its number and its place."""
    from matplotlib.figure import Figure  # here, because matplotlib takes longer to import than a check to run

    ids, separator = case.arguments
    figure = Figure(figsize=(8, 4.8), layout="constrained", facecolor="white")
    for axes, title, (hidden, places) in zip(figure.subplots(1, 2), ("yours", "expected"), (got, expected)):
        tokens = ["." if token == separator else str(token) for token in ids.tolist()]
        axes.imshow(hidden.float().numpy(), cmap="Greys", vmin=0, vmax=1.4)
        below = [f"{token}\n{place}" for token, place in zip(tokens, places.tolist(), strict=True)]
        axes.set_xticks(range(len(ids)), below, fontsize=8)
        axes.set_yticks(range(len(ids)), tokens, fontsize=8)
        axes.set(title=f"{title} (dark: hidden)", ylabel="this token", xlabel="sees this one; below it, its place")
    return figure


EXERCISE = Exercise(
    name="sub_sentence_mask",
    reference=sub_sentence_mask,
    cases=cases,
    gives=(Kind.MASK, Kind.CLASSES),
    mistakes=[
        *(Mistake(name, told, wrong=partial(opened, see=see)) for name, told, see in SEEN),
        *(Mistake(name, told, wrong=partial(opened, count=count)) for name, told, count in COUNTED),
        Mistake(
            "separator with the next phrase, in both",
            f"{WITH_NEXT} Its place is the last of that phrase.",
            wrong=partial(opened, see=with_next, count=restarted),
        ),
        *(Mistake(name, told, wrong=partial(as_the_authors, **made)) for name, told, made in COPIED),
        Mistake(
            "separator 2 fixed",
            "You look for token 2, whatever `separator` is. In another caption another number ends the phrases.",
            wrong=lambda ids, separator: opened(ids, SEPARATOR),
        ),
        Mistake("last phrase left out", f"{LAST} In your results these tokens are missing.", wrong=last_left_out),
        Mistake("blocks that end too early", BLOCKS, wrong=partial(opened, see=within_blocks, count=in_blocks)),
        *(
            Mistake(
                f"{one}; {other}", f"Two things at once. {told} {also}", wrong=partial(opened, see=see, count=count)
            )
            for (one, told, see), (other, also, count) in product(SEEN[:8], COUNTED[:6])  # the usual ones
            if (see, count) != (with_next, restarted)
        ),
    ],
    picture=draw_masks,
)
