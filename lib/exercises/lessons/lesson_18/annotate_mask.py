"""A mask, clicked until it is good enough; if it never is, it is drawn by hand. And how long that takes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.exercises.engine.values import describe
from lib.exercises.lessons.lesson_18._of_masks import drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOK, CLICK = 3.0, 1.5  # seconds

Click = tuple[int, int, int]  # x, y, label
Ask = Callable[[Tensor, Tensor], Tensor]  # points (N, 2), labels (N,) -> mask (H, W)
ClickAt = Callable[[Tensor, Tensor], Click]
Good = Callable[[Tensor, Tensor], bool]
Drawn = tuple[Tensor, float]  # mask (H, W), seconds


def answer_to(ask: Ask, clicks: list[Click]) -> Tensor:
    return ask(torch.tensor([click[:2] for click in clicks]).float(), torch.tensor([click[2] for click in clicks]))


def annotate_mask(ask: Ask, click_at: ClickAt, good: Good, by_hand: float, true: Tensor, most: int) -> Drawn:
    """The course's own, as in `lib.training.data_engine.draw_mask`."""
    said, clicks = torch.zeros_like(true), list[Click]()
    while len(clicks) < most:
        clicks.append(click_at(said, true))
        said = answer_to(ask, clicks)
        if good(said, true):
            return said, LOOK + CLICK * len(clicks)
    return true, LOOK + CLICK * most + by_hand


# --- cases ------------------------------------------------------------------------------------------------------------


def click_at(said: Tensor, true: Tensor) -> Click:
    """An annotator for cases, who clicks on the first wrong pixel in reading order."""
    if not isinstance(said, Tensor) or said.dtype != torch.bool or said.shape != true.shape:
        raise ValueError(f"click_at wants a mask {tuple(true.shape)}, bool. It got: {describe(said)}")
    y, x = (said ^ true).nonzero()[0].tolist()
    return x, y, int(true[y, x])


def brush(height: int, width: int) -> Ask:
    """A model for cases: a 1 paints 2 × 3 pixels, to the right and down of the click; a 0 takes its pixel away.

    One click after the other, so a later one may paint over what an earlier one took away.
    """

    def ask(points: Tensor, labels: Tensor) -> Tensor:
        check_clicks(points, labels)
        mask = torch.zeros(height, width, dtype=torch.bool)
        for (x, y), label in zip(points.long().tolist(), labels.tolist()):
            if label == 1:
                mask[y : y + 2, x : x + 3] = True
            elif label == 0:
                mask[y : y + 1, x : x + 1] = False
        return mask

    return ask


def check_clicks(points: Tensor, labels: Tensor) -> None:
    """Raise what a learner should read unless these are points (N, 2) and labels (N,)."""
    if not isinstance(points, Tensor) or not points.is_floating_point() or points.shape[1:] != (2,):
        raise ValueError(f"ask wants points (N, 2), floats. It got: {describe(points)}")
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.ndim != 1:
        raise ValueError(f"ask wants labels (N,), int64. It got: {describe(labels)}")
    if len(points) != len(labels):
        raise ValueError(f"ask wants a label for each point. It got {len(points)} points, {len(labels)} labels")


def few_wrong(missed: int, taken: int) -> Good:
    """Good is a mask with at most so many missed, and so many wrongly taken pixels."""

    def good(said: Tensor, true: Tensor) -> bool:
        return bool((true & ~said).sum() <= missed and (said & ~true).sum() <= taken)

    return good


def cases() -> list[Case]:
    named = {  # the true mask; how many pixels may be missed, and taken wrongly; seconds by hand; clicks at most
        "good after the first of 3 clicks": ("........ ..###... ..##.... ........", 0, 1, 9.0, 3),
        "good after the last of 2 clicks": ("....... .#####. .#####.", 2, 2, 10.0, 2),
        "one click at most, one more would do": ("....... .#####. .#####.", 2, 2, 10.0, 1),
        "a mask without any pixel would be good, too": ("..... .##.. ....#", 3, 9, 12.0, 2),
        "4 pixels may be missed, and none taken wrongly": ("###.### ###.###", 4, 0, 30.0, 5),
        "never good": ("##..#.# .#.#..# #..##.#", 0, 0, 55.5, 4),
        "one column of pixels": ("# # # . # #", 1, 4, 14.0, 4),
        "single pixels": ("#..## ..... .....", 5, 3, 11.0, 2),
        "drawing by hand would be quicker": ("##..#.# .#.#..# #..##.#", 0, 9, 0.5, 6),
        "7 clicks at most": ("#.#.#.#.# ......... #.#.#.#.# ......... #.#.#.#.#", 0, 0, 21.0, 7),
        "thin shapes": ("...## ##... #.###", 4, 5, 11.0, 2),
    }
    label = (
        "2 × 6 pixels, worked by hand: a click with label 1 paints 2 × 3 pixels, to the right and down; one with label "
        "0 takes its pixel away; `click_at` clicks on the first wrong pixel; good is a mask with at most one missed "
        "pixel, and one taken wrongly"
    )
    true = drawn(".####. .####.")[0]
    # (1, 0) paints the columns 1 to 3, (4, 0) paints 4 and 5, (5, 0) is taken away. Below it (5, 1) stays.
    expected = drawn(".####. .#####")[0], 7.5
    made = [Case(label, (brush(2, 6), click_at, few_wrong(1, 1), 20.0, true, 4), expected)]
    for label, (sketch, missed, taken, by_hand, most) in named.items():
        true = drawn(sketch)[0]
        given = (brush(*true.shape), click_at, few_wrong(missed, taken), by_hand, true, most)
        made.append(Case(label, given, all_clicks_first(*given)))
    return made


def all_clicks_first(ask: Ask, click_at: ClickAt, good: Good, by_hand: float, true: Tensor, most: int) -> Drawn:
    """The truth: all the answers, and only then the first good one among them."""
    answers, clicks = [torch.zeros_like(true)], list[Click]()
    while len(clicks) < most and not answers[-1].equal(true):
        clicks.append(click_at(answers[-1], true))
        answers.append(answer_to(ask, clicks))
    for number, answer in enumerate(answers[1:], 1):
        if good(answer, true):
            return answer, 3 + 1.5 * number
    return true, 3 + 1.5 * most + by_hand


# --- mistakes ---------------------------------------------------------------------------------------------------------


def opened(
    given: Callable[[list[Click]], list[Click]] = lambda clicks: clicks,
    shown: Callable[[Tensor, Tensor], Tensor] = lambda said, empty: said,
    kept: Callable[[Tensor, Tensor], Tensor] = lambda said, before: said,
    enough: Callable[[Good, Tensor, Tensor], bool] = lambda good, said, true: good(said, true),
    more: int = 0,
    found: Callable[[int], float] = lambda clicks: LOOK + CLICK * clicks,
    otherwise: Callable[[int, float], float] = lambda clicks, by_hand: LOOK + CLICK * clicks + by_hand,
    masks: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda said, true: (said, true),
) -> Callable[..., Drawn]:
    """`annotate_mask` with its decisions open.

    Args:
        given: which clicks the model gets, of all so far.
        shown: what is shown to `click_at`, of the last answer and the first, empty mask.
        kept: what an answer becomes, by what was there before.
        enough: how the answer is tested.
        more: clicks than `most` allows.
        found, otherwise: the seconds for a good answer, and where none came.
        masks: what is returned for a good answer, and where none came.
    """

    def wrong(ask: Ask, click_at: ClickAt, good: Good, by_hand: float, true: Tensor, most: int) -> Drawn:
        said, clicks = torch.zeros_like(true), list[Click]()
        for number in range(1, most + more + 1):
            clicks.append(click_at(shown(said, torch.zeros_like(true)), true))
            said = kept(answer_to(ask, given(clicks)), said)
            if enough(good, said, true):
                return masks(said, true)[0], found(number)
        return masks(said, true)[1], otherwise(most, by_hand)

    return wrong


@mistake(
    "tested before the click",
    "You test before each click: so the empty mask at the start is tested, and the last answer is not. Click, ask, and "
    "test the answer.",
)
def tested_before(ask: Ask, click_at: ClickAt, good: Good, by_hand: float, true: Tensor, most: int) -> Drawn:
    said, clicks = torch.zeros_like(true), list[Click]()
    for number in range(most):
        if good(said, true):
            return said, LOOK + CLICK * number
        clicks.append(click_at(said, true))
        said = answer_to(ask, clicks)
    return true, LOOK + CLICK * most + by_hand


@mistake(
    "the empty mask tested",
    "You test the empty mask before the first click. Should it be good enough, you return a mask without any pixel. "
    "Test answers alone.",
)
def empty_tested(ask: Ask, click_at: ClickAt, good: Good, by_hand: float, true: Tensor, most: int) -> Drawn:
    empty = torch.zeros_like(true)
    return (empty, LOOK) if good(empty, true) else annotate_mask(ask, click_at, good, by_hand, true, most)


@mistake(
    "tested after the last click alone",
    "You click until there are no clicks left, and test then. Test each answer: a good one ends the work.",
)
def tested_last(ask: Ask, click_at: ClickAt, good: Good, by_hand: float, true: Tensor, most: int) -> Drawn:
    said, clicks = torch.zeros_like(true), list[Click]()
    for _ in range(most):
        clicks.append(click_at(said, true))
        said = answer_to(ask, clicks)
    return (said, LOOK + CLICK * most) if good(said, true) else (true, LOOK + CLICK * most + by_hand)


MANY = "You click once more than `most` allows."
RETURNED = "After the last click, if it was not good, you return"
BY_HAND: list[tuple[str, str, Callable[[int, float], float]]] = [
    ("clicks before not counted", "forgot the clicks that were made before", lambda n, hand: LOOK + hand),
    ("by_hand alone", "count that alone", lambda n, hand: hand),
    ("looking not counted when drawn by hand", "forgot the 3 s for looking", lambda n, hand: CLICK * n + hand),
    ("looking counted twice", "count two looks", lambda n, hand: 2 * LOOK + CLICK * n + hand),
    ("drawing not counted", "forgot how long that takes", lambda n, hand: LOOK + CLICK * n),
]
MISTAKES: list[tuple[str, str, Callable[..., Drawn]]] = [
    (
        "the last click alone",
        "You hand on the last click alone. The model remembers nothing: it gets all clicks so far, each time.",
        opened(given=lambda clicks: clicks[-1:]),
    ),
    (
        "the empty mask shown each time",
        "You show `click_at` the empty mask each time, so it always sends you to the same place. Show it the last "
        "answer.",
        opened(shown=lambda said, empty: empty),
    ),
    (
        "y before x",
        "You hand on (y, x). A click is (x, y, label), and `ask` wants x first, too.",
        opened(given=lambda clicks: [(y, x, label) for x, y, label in clicks]),
    ),
    (
        "all labels 1",
        "Your labels are all 1. A click on what was taken wrongly has the label 0, as `click_at` says.",
        opened(given=lambda clicks: [(x, y, 1) for x, y, _ in clicks]),
    ),
    (
        "labels inverted",
        "What reaches the model as 1 should be 0, and the other way round. Do you call `click_at(said, true)`, the "
        "answer first, and hand its label on as it is?",
        opened(given=lambda clicks: [(x, y, 1 - label) for x, y, label in clicks]),
    ),
    (
        "answers put together",
        "What a click with label 0 took away comes back. Do you put answers together? Each takes the place of the one "
        "before. Or do the clicks reach the model in another order than they were made?",
        opened(kept=torch.logical_or),
    ),
    (
        "good: said and true exchanged",
        "You call `good(true, said)`. The answer comes first: `good(said, true)`.",
        opened(enough=lambda good, said, true: good(true, said)),
    ),
    (
        "stops if not good",
        "You stop when an answer is *not* good, and go on when it is.",
        opened(enough=lambda good, said, true: not good(said, true)),
    ),
    (
        "never tested",
        "You return after the first click, good or not. Ask `good` first; if it is not, click on.",
        opened(enough=lambda good, said, true: True),
    ),
    ("one click too many", MANY, opened(more=1)),
    ("one click too many, counted", MANY, opened(more=1, otherwise=lambda n, hand: LOOK + CLICK * (n + 1) + hand)),
    (
        "one click too few",
        "The answer to click number `most` counts for nothing. `most` clicks are allowed, and each answer is tested, "
        "the last one too.",
        opened(more=-1),
    ),
    (
        "one click too few, counted",
        "You end one click too early: `most` clicks are allowed.",
        opened(more=-1, otherwise=lambda n, hand: LOOK + CLICK * (n - 1) + hand),
    ),
    (
        "clicks counted from 0",
        "You count one click too few when an answer is good: the first click is one click.",
        opened(found=lambda n: LOOK + CLICK * (n - 1)),
    ),
    (
        "a look for each click",
        "You count 3 s of looking for each click. There is one look, at the end; each click costs 1.5 s.",
        opened(found=lambda n: (LOOK + CLICK) * n, otherwise=lambda n, hand: (LOOK + CLICK) * n + hand),
    ),
    (
        "looking not counted",
        "You forgot the 3 s for looking, in both ways to end.",
        opened(found=lambda n: CLICK * n, otherwise=lambda n, hand: CLICK * n + hand),
    ),
    *(
        (
            name,
            f"Where the mask is drawn by hand you {told}. It takes 3 s + 1.5 s a click + `by_hand`.",
            opened(otherwise=seconds),
        )
        for name, told, seconds in BY_HAND
    ),
    (
        "the true mask for a good answer",
        "Where an answer is good you return the true mask. The annotator leaves the answer as it is.",
        opened(masks=lambda said, true: (true, true)),
    ),
    (
        "the poor mask, drawn by hand",
        f"{RETURNED} the last answer. Your time is right, but what is drawn by hand is the true mask.",
        opened(masks=lambda said, true: (said, said)),
    ),
    (
        "never by hand",
        f"{RETURNED} the last answer all the same. Then the mask is drawn by hand: it is the true one, and `by_hand` "
        "comes on top.",
        opened(masks=lambda said, true: (said, said), otherwise=lambda n, hand: LOOK + CLICK * n),
    ),
]


def draw_both(got: Any, expected: Drawn, case: Case) -> "Figure | None":
    """Your mask and ours, where they differ."""
    return None if got[0].equal(expected[0]) else compare_maps(got[0].int(), expected[0].int(), case)


EXERCISE = Exercise(
    name="annotate_mask",
    reference=annotate_mask,
    cases=cases,
    takes={"true": Kind.MASK},
    gives=(Kind.MASK, Kind.NUMBERS),
    mistakes=[
        tested_before,
        empty_tested,
        tested_last,
        *(Mistake(name, told, wrong=wrong) for name, told, wrong in MISTAKES),
    ],
    picture=draw_both,
)
