"""From queries with a class and a mask to segments: each pixel goes to one query, which needs enough of its mask."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.segment_pictures import draw_segments
from lib.exercises.lessons.lesson_15._panoptic_cases import inputs
from lib.exercises.lessons.lesson_15._panoptic_steps import (
    Answer,
    above_kept,
    best_answer,
    best_thing,
    enough,
    everybody,
    from_sure,
    is_sure,
    largest_product,
    step_by_step,
    surest_of_those_inside,
    thresholds_exchanged,
    together_sure,
    wrong_by,
)
from lib.ops import panoptic

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def panoptic_inference(
    class_logits: Tensor, mask_logits: Tensor, things: set[int], sure: float = 0.8, kept: float = 0.8
) -> Answer:
    """The course's own, `lib.ops.panoptic.panoptic_inference`; of each segment the class alone."""
    numbers, segments = panoptic.panoptic_inference(class_logits, mask_logits, things, sure, kept)
    return numbers, [segment["label"] for segment in segments]


def cases() -> list[Case]:
    made = [Case(label, given, step_by_step(*given)) for label, given in inputs().items()]
    by_hand = torch.tensor([[1, 1, 2, 2, 3, 3], [1, 1, 2, 2, 3, 3], [1, 1, 2, 2, 2, 3]]), [1, 0, 1]
    return [Case(made[0].label, made[0].arguments, by_hand), *made[1:]]


TAKES = (
    'A query takes part if its most probable answer is not "nothing", and that answer\'s probability is above `sure`.'
)
PRODUCT = "A pixel goes to the query with the largest product of class probability and mask probability."
KEPT = "A query stays if the pixels that it won are at least the share `kept` of the pixels of its own mask."
WON = "What counts is how many pixels it *won*, wherever they lie, against how many its own mask has."
NUMBERS = "Segments are numbered 1, 2, ... in the order of the queries, without gaps; 0 is none."
STUFF = "Stuff of one class is one segment: its queries share the first one's number. Things have a number each."

DECISIONS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "the mask alone decides",
        f"Each of your pixels goes to the query with the likeliest mask. {PRODUCT}",
        {"contest": lambda scores, masks, part: largest_product(torch.ones_like(scores), masks, part)},
    ),
    (
        "added instead of multiplied",
        f"You added class probability and mask probability. {PRODUCT}",
        {
            "contest": lambda scores, masks, part: largest_product(
                torch.ones_like(scores), masks + scores[:, None, None], part
            )
        },
    ),
    (
        "the logits of the masks",
        f"You multiplied by the mask's *logits*. {PRODUCT}",
        {"contest": lambda scores, masks, part: largest_product(scores, masks.logit(), part)},
    ),
    (
        "the surest query decides",
        f"Each of your pixels goes to the query that is surest of its class, of those whose mask covers it. {PRODUCT}",
        {"contest": surest_of_those_inside},
    ),
    (
        "all queries win pixels",
        f"You let all queries win pixels, and ask afterwards who takes part. {TAKES} The others win nothing.",
        {"contest": lambda scores, masks, part: largest_product(scores, masks, everybody(part))},
    ),
    (
        "nothing takes part",
        f'Queries that say "nothing" take part in yours, as if K were a class. {TAKES}',
        {"takes_part": lambda scores, labels, logits, sure: scores > sure},
    ),
    (
        "the best class but nothing",
        f'You look for the best class after "nothing" is left out, so that a query takes part that says "nothing". '
        f"{TAKES}",
        {"answers": best_thing},
    ),
    (
        "softmax without nothing",
        f'You left "nothing" out before the softmax. Then each query is sure of something. {TAKES}',
        {"answers": lambda logits: best_answer(logits[:, :-1])},
    ),
    (
        "all classes together are sure",
        f'You compare 1 minus the probability of "nothing" with `sure`: all classes together. {TAKES}',
        {"takes_part": together_sure},
    ),
    (
        "exactly `sure` takes part",
        "Right, but a query whose probability is exactly `sure` takes part. It must be *above* `sure`.",
        {"takes_part": from_sure},
    ),
    (
        "`sure` always 0.8",
        "You compare with 0.8, whatever `sure` is.",
        {"takes_part": lambda scores, labels, logits, sure: is_sure(scores, labels, logits, 0.8)},
    ),
    (
        "`sure` not used",
        f'All queries take part that do not say "nothing". {TAKES}',
        {"takes_part": lambda scores, labels, logits, sure: labels < logits.shape[1] - 1},
    ),
    (
        "given to the next best",
        "You give the pixels of a query that does not stay to the next best. They become 0.",
        {"reassigned": True},
    ),
    (
        "exactly `kept` dropped",
        "Right, but a query goes if it won exactly the share `kept`. *At least* `kept` is enough.",
        {"keeps": above_kept},
    ),
    (
        "exactly `sure` takes part, and exactly `kept` dropped",
        "Right but for the borders: a query must be *above* `sure` to take part; *at least* `kept` is enough to stay.",
        {"takes_part": from_sure, "keeps": above_kept},
    ),
    (
        "`kept` always 0.8",
        "You compare with 0.8, whatever `kept` is.",
        {"keeps": lambda won, own, kept: enough(won, own, 0.8)},
    ),
    (
        "`kept` not used",
        f"Every query stays that won a pixel. {KEPT}",
        {"keeps": lambda won, own, kept: bool(won.any())},
    ),
    (
        "only pixels won inside its own mask count",
        f"You count only the pixels that a query won inside its own mask. {WON}",
        {"keeps": lambda won, own, kept: enough(won & own, own, kept)},
    ),
    (
        "only pixels inside its own mask stay",
        "You paint only those of the pixels won that lie in the query's own mask. If it stays, it keeps all of them.",
        {"shown": lambda won, mask, score: won & (mask >= 0.5)},
    ),
    (
        "only pixels inside its own mask",
        f"You look only at the pixels that a query won inside its own mask, and paint only these. {WON} If it "
        "stays, it keeps all of them.",
        {
            "keeps": lambda won, own, kept: enough(won & own, own, kept),
            "shown": lambda won, mask, score: won & (mask >= 0.5),
        },
    ),
    (
        "the whole of its own mask painted",
        "You paint the own mask of each query that stays, one over the other. It keeps the pixels that it *won*.",
        {"shown": lambda won, mask, score: mask >= 0.5},
    ),
    (
        "divided by what it won",
        f"You compare the pixels that a query won inside its own mask with all that it won. {KEPT}",
        {"keeps": lambda won, own, kept: enough(won & own, won, kept)},
    ),
    (
        "small products are none",
        "You leave out pixels where the product is below 1/2. The largest wins, however small it is.",
        {"shown": lambda won, mask, score: won & (mask * score >= 0.5)},
    ),
    (
        "share of the picture",
        f"You compare what a query won with all pixels of the picture. {KEPT}",
        {"keeps": lambda won, own, kept: bool(won.any() and own.any() and won.float().mean() >= kept)},
    ),
    (
        "its own mask from the product",
        "You take a query's own mask where the *product* is at least 1/2. Its mask probability alone decides that.",
        {"own": lambda score, mask: score * mask >= 0.5},
    ),
    (
        "an empty mask stays",
        "Right, but a query stays whose own mask has no pixel. Nothing can be a share of nothing: it goes.",
        {"keeps": lambda won, own, kept: bool(won.any() and won.sum() >= kept * own.sum())},
    ),
    (
        "a number for a query without pixels",
        "Right, but with a `kept` of 0 a query gets a number that won no pixel at all. It must have won one.",
        {"keeps": lambda won, own, kept: bool(own.any() and won.sum().item() / own.sum().item() >= kept)},
    ),
    (
        "stays without pixels, or with an empty mask",
        "Right, but a query stays that won no pixel, or whose own mask has none. Both must have a pixel.",
        {"keeps": lambda won, own, kept: bool(won.sum() >= kept * own.sum())},
    ),
    (
        "stuff not merged",
        f"Each of your queries has a number of its own. {STUFF}",
        {"merged": lambda label, things: False},
    ),
    (
        "things merged",
        f"Queries of a thing's class share a number, too. {STUFF} Which class is which, the argument `things` says.",
        {"merged": lambda label, things: True},
    ),
    (
        "things for stuff",
        f"You merge the queries of a class that is in `things`, and not the others. {STUFF}",
        {"merged": lambda label, things: label in things},
    ),
    (
        "a number lost with each merger",
        f"You count on where stuff gets the number of an earlier query. {NUMBERS}",
        {"again": (True, False)},
    ),
    (
        "stuff merged in the map alone",
        "Your map is right, but your list has an entry for each query. It should have one for each *number*.",
        {"again": (False, True)},
    ),
    (
        "numbers of dropped queries",
        f"You count on where a query does not stay. {NUMBERS}",
        {"dropped": (True, False)},
    ),
    (
        "dropped queries in the list",
        "Your map is right, but your list also has the classes of queries that do not stay.",
        {"dropped": (False, True)},
    ),
    (
        "numbers and classes of dropped queries",
        f"You count on where a query does not stay, and its class is in your list. {NUMBERS}",
        {"dropped": (True, True)},
    ),
    (
        "the surest first",
        f"You number the queries by how sure they are. {NUMBERS}",
        {"order": lambda claim: -claim.score},
    ),
    (
        "numbered by query",
        f"Your numbers are those of the queries, plus 1. {NUMBERS}",
        {"number": lambda count, claim: claim.query + 1},
    ),
    (
        "numbered from 0",
        f"Your first segment has number 0, like the pixels of none. {NUMBERS}",
        {"number": lambda count, claim: count - 1},
    ),
    (
        "classes for numbers",
        f"Your map holds classes. The task asks for numbers of segments. {NUMBERS} The list says the class of each.",
        {"number": lambda count, claim: claim.label},
    ),
    (
        "classes plus 1 for numbers",
        f"Your map holds classes plus 1. The task asks for numbers of segments. {NUMBERS} The list says the class of "
        "each.",
        {"number": lambda count, claim: claim.label + 1},
    ),
    ("−1 for none", "Pixels of no segment are −1 in your map. The task asks for 0.", {"none": -1}),
    (
        "−1 for none, numbered from 0",
        f"Your numbers begin with 0, and −1 is none. {NUMBERS}",
        {"none": -1, "number": lambda count, claim: count - 1},
    ),
]


def picture(got: Any, expected: Any, case: Case) -> "Figure":
    """The numbers of the segments; and what they are, in the titles."""
    said = {"yours": got, "expected": expected}
    return draw_segments({f"{title}: classes {classes}": numbers for title, (numbers, classes) in said.items()})


EXERCISE = Exercise(
    name="panoptic_inference",
    reference=panoptic_inference,
    cases=cases,
    takes={"class_logits": Kind.LOGITS, "mask_logits": Kind.LOGITS},
    gives=(Kind.MAP, Kind.CLASSES),
    mistakes=[
        *(Mistake(name, told, wrong=wrong_by(made)) for name, told, made in DECISIONS),
        Mistake(
            "`sure` and `kept` exchanged",
            "You use `sure` for `kept` and `kept` for `sure`.",
            wrong=thresholds_exchanged,
        ),
    ],
    picture=picture,
)
