"""A click may mean several things: of several masks the closest alone learns, and every guess learns how good it is."""

from collections.abc import Callable

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_uniform
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.values import in_single_precision


def weighed(focal: Tensor, dice: Tensor) -> Tensor:
    return 20 * focal + dice


def min_over_masks(focal: Tensor, dice: Tensor, guesses: Tensor, ious: Tensor) -> Tensor:
    """The course's own, as in `lib.models.sam.min_over_masks_loss`."""
    return weighed(focal, dice).amin(dim=1).mean() + (guesses - ious).square().mean()


def cases() -> list[Case]:
    # The sums are 3, 2.5 and 4 for prompt 0, then 5, 6 and 2: the closest masks are number 1 and number 2.
    by_hand = (
        torch.tensor([[0.125, 0.1, 0.175], [0.225, 0.275, 0.0625]]),
        torch.tensor([[0.5, 0.5, 0.5], [0.5, 0.5, 0.75]]),
        torch.tensor([[0.5, 0.75, 0.0], [0.25, 0.25, 0.5]]),
        torch.tensor([[0.0, 0.5, 0.5], [0.5, 0.25, 0.0]]),
    )
    off = (0.25 + 0.0625 + 0.25 + 0.0625 + 0 + 0.25) / 6
    named = {  # P, M
        "5 prompts, 3 masks": (5, 3),
        "3 prompts, 4 masks": (3, 4),
        "one prompt": (1, 3),
        "one mask": (4, 1),
        "one prompt, one mask": (1, 1),
        "as many prompts as masks": (4, 4),
    }
    made = [Case("2 prompts, 3 masks: worked by hand", by_hand, torch.tensor((2.5 + 2) / 2 + off))]
    for seed, (label, shape) in enumerate(named.items()):
        numbers = [random_uniform(*shape, seed=10 * seed + place) for place in range(4)]
        given = (numbers[0] / 10, *numbers[1:])
        made.append(Case.from_truth(label, given, prompt_by_prompt, gradients_of=("focal", "dice", "guesses")))
    return made


def prompt_by_prompt(focal: Tensor, dice: Tensor, guesses: Tensor, ious: Tensor) -> Tensor:
    """The truth, in double precision, one mask after the other."""
    prompts, masks = focal.shape
    total = focal.new_zeros((), dtype=torch.float64)
    for p in range(prompts):
        sums = [20 * focal[p, m].double() + dice[p, m].double() for m in range(masks)]
        total = total + min(sums) / prompts
        for m in range(masks):
            total = total + (guesses[p, m].double() - ious[p, m].double()) ** 2 / (prompts * masks)
    return total.float()


def chosen(values: Tensor, best: Tensor) -> Tensor:
    """Of each prompt that mask's value: (P, M), (P,) -> (P,)."""
    return values.gather(1, best[:, None])[:, 0]


def of_the_best(focal: Tensor, dice: Tensor, guesses: Tensor, ious: Tensor) -> Tensor:
    return weighed(focal, dice).amin(dim=1).mean()


def all_guesses(focal: Tensor, dice: Tensor, guesses: Tensor, ious: Tensor) -> Tensor:
    return (guesses - ious).square().mean()


Part = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def opened(first: Part = of_the_best, second: Part = all_guesses) -> Part:
    """`min_over_masks` with its two numbers open."""
    return lambda *given: first(*given) + second(*given)


def by(best: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], first: bool = True) -> Part:
    """The weighed sum of that mask (P,) which `best` names, or the squared error of its guess."""
    if first:
        return lambda *given: chosen(weighed(*given[:2]), best(*given)).mean()
    return lambda *given: chosen((given[2] - given[3]).square(), best(*given)).mean()


def pairs(focal: Tensor, dice: Tensor, guesses: Tensor, ious: Tensor) -> Tensor:
    sums = weighed(focal, dice)
    return sums[:, sums.argmin(dim=1)].mean()


def place_of_all(focal: Tensor, dice: Tensor, guesses: Tensor, ious: Tensor) -> Tensor:
    sums = weighed(focal, dice)
    return sums[:, sums.argmin()].mean()


def one_mask(focal: Tensor, dice: Tensor, guesses: Tensor, ious: Tensor) -> Tensor:
    return weighed(focal, dice).mean(dim=0).amin()


SUM = "20 · focal + dice"
CLOSEST = f"Of each prompt that mask counts for which {SUM} is smallest"
ALL_LEARN = (
    f"{CLOSEST}, and no other. If all masks are pulled toward every truth, each becomes a mean of all that a click may "
    "mean."
)
WEIGHTS = f"The sum is {SUM}: focal losses are small, since most pixels are easy."
EVERY = "All P · M guesses count, those of poor masks too: the model must know that these are poor."

OF_FIRST: list[tuple[str, str, Part]] = [
    ("mean of the masks", f"You took the mean of the masks. {ALL_LEARN}", lambda f, d, *rest: weighed(f, d).mean()),
    (
        "minima taken apart",
        "You took the smallest focal and the smallest dice loss, each for itself: they may belong to different masks. "
        f"{CLOSEST}: add first, then choose.",
        lambda f, d, *rest: weighed(f.amin(dim=1), d.amin(dim=1)).mean(),
    ),
    (
        "20 forgotten",
        f"You added focal and dice loss as they are. {WEIGHTS}",
        lambda f, d, *rest: (f + d).amin(dim=1).mean(),
    ),
    (
        "20 for both",
        f"Your 20 multiplies the dice loss, too. {WEIGHTS}",
        lambda f, d, *rest: 20 * (f + d).amin(dim=1).mean(),
    ),
    (
        "weights exchanged",
        f"Your 20 stands before the dice loss. {WEIGHTS}",
        lambda f, d, *rest: weighed(d, f).amin(dim=1).mean(),
    ),
    (
        "chosen by the true IoU",
        f"You chose the mask with the largest true IoU. {CLOSEST}.",
        by(lambda f, d, guesses, ious: ious.argmax(dim=1)),
    ),
    (
        "chosen by the guess",
        f"You chose the mask that the model guesses to be the best. That is how it is *used*. In training the truth is "
        f"known: {CLOSEST[0].lower()}{CLOSEST[1:]}.",
        by(lambda f, d, guesses, ious: guesses.argmax(dim=1)),
    ),
    (
        "sum of the masks",
        f"You added the masks up. {ALL_LEARN}",
        lambda f, d, *rest: weighed(f, d).sum(dim=1).mean(),
    ),
    (
        "prompts added up",
        "You added the prompts' best masks up. The task asks for the mean over prompts.",
        lambda f, d, *rest: weighed(f, d).amin(dim=1).sum(),
    ),
    (
        "the worst mask",
        f"You took the mask for which the sum is *largest*. {CLOSEST}.",
        lambda f, d, *rest: weighed(f, d).amax(dim=1).mean(),
    ),
    (
        "chosen without the 20",
        f"You chose the mask for which focal + dice is smallest, without the 20. {CLOSEST}.",
        by(lambda f, d, *rest: (f + d).argmin(dim=1)),
    ),
    (
        "20 for the choice alone",
        f"You chose the right mask, but what it counts is focal + dice, without the 20. {WEIGHTS}",
        lambda f, d, *rest: chosen(f + d, weighed(f, d).argmin(dim=1)).mean(),
    ),
    (
        "chosen by the focal loss",
        f"You chose the mask with the smallest focal loss. {CLOSEST}.",
        by(lambda f, *rest: f.argmin(dim=1)),
    ),
    (
        "chosen by the dice loss",
        f"You chose the mask with the smallest dice loss. {CLOSEST}.",
        by(lambda f, d, *rest: d.argmin(dim=1)),
    ),
    (
        "chosen with the guess's error",
        f"You chose the mask for which {SUM} + the squared error of its guess is smallest. {CLOSEST}: guesses have no "
        "say in it.",
        by(lambda f, d, guesses, ious: (weighed(f, d) + (guesses - ious).square()).argmin(dim=1)),
    ),
    (
        "the place in the whole table",
        f"Your `argmin` numbers all P · M sums, as if they stood in one row. {CLOSEST}: `argmin(dim=1)` gives a number "
        "for each prompt.",
        place_of_all,
    ),
    (
        "one mask for all prompts",
        f"You chose one mask number for all prompts, by its mean over them. {CLOSEST}: in one prompt mask 0, in "
        "another mask 2.",
        one_mask,
    ),
    (
        "one prompt for each mask",
        f"You took the smallest over the *prompts*. {CLOSEST}; the masks lie along axis 1.",
        lambda f, d, *rest: weighed(f, d).amin(dim=0).mean(),
    ),
    (
        "the smallest of all",
        f"You took the smallest number of the whole table: one prompt alone learns. {CLOSEST}, and then the mean over "
        "prompts is taken.",
        lambda f, d, *rest: weighed(f, d).amin(),
    ),
    (
        "all prompts with all best masks",
        "You took from each prompt the best masks of *all* prompts: `x[:, best]` picks columns, for every row. Each "
        "row has a number of its own to be picked.",
        pairs,
    ),
]

OF_SECOND: list[tuple[str, str, Part]] = [
    (
        "the best mask's guess alone",
        f"Only the guess for the closest mask learns. {EVERY}",
        by(lambda f, d, *rest: weighed(f, d).argmin(dim=1), first=False),
    ),
    (
        "guesses forgotten",
        "The guesses play no part in your loss. Add their squared error to the true IoU.",
        lambda f, d, *rest: torch.zeros_like(f.sum()),
    ),
    (
        "guesses of a prompt added up",
        "You added the squared errors of a prompt's M guesses up. The task asks for the mean over prompts *and* masks.",
        lambda f, d, guesses, ious: (guesses - ious).square().sum(dim=1).mean(),
    ),
    (
        "guesses added up",
        "You added the squared errors of all guesses up. The task asks for the mean over prompts *and* masks.",
        lambda f, d, guesses, ious: (guesses - ious).square().sum(),
    ),
    (
        "the best guess alone",
        f"You took for each prompt the smallest of the guesses' squared errors. {EVERY}",
        lambda f, d, guesses, ious: (guesses - ious).square().amin(dim=1).mean(),
    ),
    (
        "guesses taken away",
        "You subtract the guesses' error from the loss: then wrong guesses are rewarded. Add it.",
        lambda f, d, guesses, ious: -(guesses - ious).square().mean(),
    ),
    (
        "best guess against best IoU",
        f"You compared the largest guess of a prompt with its largest true IoU. {EVERY}",
        lambda f, d, guesses, ious: (guesses.amax(dim=1) - ious.amax(dim=1)).square().mean(),
    ),
    (
        "absolute error of the guesses",
        "You took the absolute error of the guesses. The task asks for the squared one.",
        lambda f, d, guesses, ious: (guesses - ious).abs().mean(),
    ),
    (
        "root of the guesses' error",
        "You took the root of the guesses' mean squared error. The task asks for the mean squared error as it is.",
        lambda f, d, guesses, ious: (guesses - ious).square().mean().sqrt(),
    ),
    (
        "guesses compared with 1",
        "You compared the guesses with 1. A guess is right when it equals the true IoU of its mask, good or poor.",
        lambda f, d, guesses, ious: (guesses - 1).square().mean(),
    ),
    (
        "20 for the guesses",
        "Your 20 multiplies the guesses' error, too. It belongs to the focal loss alone.",
        lambda f, d, guesses, ious: 20 * (guesses - ious).square().mean(),
    ),
]


def all_of_one(focal: Tensor, dice: Tensor, guesses: Tensor, ious: Tensor) -> Tensor:
    return (weighed(focal, dice) + (guesses - ious).square()).amin(dim=1).mean()


def not_averaged(focal: Tensor, dice: Tensor, guesses: Tensor, ious: Tensor) -> Tensor:
    return weighed(focal, dice).amin(dim=1) + (guesses - ious).square().mean(dim=1)


BOTH = [(one, two) for one in OF_FIRST[:8] for two in OF_SECOND[:4]]  # the likely ones stand first

EXERCISE = Exercise(
    name="min_over_masks",
    reference=min_over_masks,
    cases=cases,
    gives=Kind.LOSS,
    observe=in_single_precision,
    mistakes=[
        *(Mistake(name, told, wrong=opened(first=part)) for name, told, part in OF_FIRST),
        *(Mistake(name, told, wrong=opened(second=part)) for name, told, part in OF_SECOND),
        Mistake(
            "all three losses of one mask",
            f"You added the guess's error to {SUM}, and then took the smallest: it has a say in the choice, and only "
            f"one guess of each prompt learns. {CLOSEST}. {EVERY}",
            wrong=all_of_one,
        ),
        Mistake(
            "a number for each prompt",
            "You return a number for each prompt. The task asks for one number, the mean over prompts.",
            wrong=not_averaged,
        ),
        *(
            Mistake(f"{name}; {other}", f"Two things at once. {told} {also}", wrong=opened(first, second))
            for (name, told, first), (other, also, second) in BOTH
        ),
    ],
)
