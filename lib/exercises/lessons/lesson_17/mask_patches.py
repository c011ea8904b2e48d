"""Which patches a masked autoencoder sees: those with the smallest noise, in the picture's order."""

from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Any

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_uniform, random_values
from lib.exercises.engine.kinds import Kind

Masked = tuple[Tensor, Tensor]  # the visible tokens (B, V, D), and which are hidden (B, N) bool


def mask_patches(tokens: Tensor, noise: Tensor, ratio: float) -> Masked:
    """The course's own; `lib.models.mae.random_masking` draws the noise itself and returns numbers for tokens."""
    return result(tokens, noise, rising(smallest_first(noise)[:, : rounded_down(noise.shape[1], ratio)]))


def smallest_first(noise: Tensor) -> Tensor:
    return noise.argsort(dim=1)


def rounded_down(patches: int, ratio: float) -> int:
    return int(patches * (1 - ratio))


def rising(keep: Tensor) -> Tensor:
    return keep.sort(dim=1).values


def result(tokens: Tensor, noise: Tensor, keep: Tensor) -> Masked:
    """What is returned if the patches with the numbers `keep`, (B, V), stay."""
    return taken(tokens, keep), all_but(noise, keep)


def taken(tokens: Tensor, keep: Tensor) -> Tensor:
    return tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[2]))


def all_but(noise: Tensor, keep: Tensor) -> Tensor:
    return torch.ones_like(noise, dtype=torch.bool).scatter(1, keep, False)


def cases() -> list[Case]:
    by_hand = case(
        "2 pictures of 5 patches, ratio 0.25, worked by hand: 3.75 patches would stay, so 3 do",
        torch.tensor([[[n, n + 0.5] for n in range(first, first + 5)] for first in (10, 20)]),
        torch.tensor([[0.8, 0.3, 0.9, 0.1, 0.5], [0.6, 0.9, 0.2, 0.7, 0.4]]),
        ratio=0.25,
        visible=3,
    )
    stay = torch.tensor([[[11, 11.5], [13, 13.5], [14, 14.5]], [[20, 20.5], [22, 22.5], [24, 24.5]]])
    torch.testing.assert_close(by_hand.expected[0], stay)
    made = [by_hand]
    shapes = {  # B, N, D, ratio, how many stay
        "3 pictures of 12 patches, 3/4 hidden": (3, 12, 5, 0.75, 3),
        "one picture of 8 patches": (1, 8, 3, 0.75, 2),
        "9 patches, half of them hidden: 4 stay": (4, 9, 2, 0.5, 4),
        "7 patches, 3/4 hidden: one stays": (2, 7, 3, 0.75, 1),
        "6 patches, 0.4 hidden: 3 stay": (5, 6, 2, 0.4, 3),
        "one number in each token": (2, 5, 1, 0.5, 2),
        "nothing is hidden": (3, 4, 2, 0.0, 4),
        "one patch": (2, 1, 3, 0.0, 1),
        "all lengths are 4": (4, 4, 4, 0.25, 3),
        "36 patches, 0.9 hidden: 3 stay": (2, 36, 3, 0.9, 3),
    }
    for seed, (label, (pictures, patches, dim, ratio, visible)) in enumerate(shapes.items()):
        tokens, noise = random_values(pictures, patches, dim, seed=seed), random_uniform(pictures, patches, seed=seed)
        made.append(case(label, tokens, noise, ratio, visible))
    return made


def case(label: str, tokens: Tensor, noise: Tensor, ratio: float, visible: int) -> Case:
    def picture_by_picture(tokens: Tensor, noise: Tensor, ratio: float) -> Masked:
        """The truth: a list of numbers for each picture, sorted twice. How many stay is known by hand."""
        visible_tokens, hidden = [], torch.ones(noise.shape, dtype=torch.bool)
        for picture, values in enumerate(noise.tolist()):
            stay = sorted(sorted(range(len(values)), key=lambda number: values[number])[:visible])
            visible_tokens.append(torch.stack([tokens[picture, number] for number in stay]))
            for number in stay:
                hidden[picture, number] = False
        return torch.stack(visible_tokens), hidden

    return Case.from_truth(label, (tokens, noise, ratio), picture_by_picture, gradients_of=("tokens",))


def masked(
    tokens: Tensor,
    noise: Tensor,
    ratio: float,
    order: Callable[[Tensor], Tensor] = smallest_first,
    count: Callable[[int, float], int] = rounded_down,
    placed: Callable[[Tensor], Tensor] = rising,
    told: Callable[[Tensor, Tensor, Tensor], Masked] = result,
) -> Masked:
    """`mask_patches` with its decisions open.

    Args:
        order: from the noise to the numbers of the patches (B, N), those that stay in front. count: how many stay.
        placed: in which order these are taken. told: from tokens, noise and these numbers to what is returned.
    """
    return told(tokens, noise, placed(order(noise)[:, : count(noise.shape[1], ratio)]))


def after_the_first(noise: Tensor, count: int) -> Tensor:
    return (torch.arange(noise.shape[1]) >= count).expand(len(noise), -1)


def of_mask(tokens: Tensor, hidden: Tensor) -> Tensor:
    return tokens[~hidden].view(len(tokens), -1, tokens.shape[2])


RANKS = (
    "You compared the numbers that `argsort` gives with the number that stays. `argsort` says *which* patch comes "
    "first, which second and so on. Whether a patch stays depends on the place that it has itself in that order."
)

Way = tuple[str, str, dict[str, Any]]

CHOICES: list[Way] = [
    (
        "largest noise",
        "The patches with the *largest* noise stay. It should be the smallest.",
        {"order": lambda noise: noise.argsort(dim=1, descending=True)},
    ),
    (
        "one choice for all pictures",
        "You used the noise of the first picture for all of them. Each has a row of its own.",
        {"order": lambda noise: noise[:1].argsort(dim=1).expand(len(noise), -1)},
    ),
    (
        "the share that stays",
        "You took `ratio` for the share that *stays*. It is the share that is hidden.",
        {"count": lambda patches, ratio: int(patches * ratio)},
    ),
    (
        "rounded up",
        "Where N · (1 − ratio) is no whole number, one patch too many stays. Round the number of those that *stay* "
        "down; to round the number of the hidden ones down is another thing.",
        {"count": lambda patches, ratio: ceil(patches * (1 - ratio))},
    ),
    (
        "rounded to the nearest",
        "The number of patches that stay is rounded to the nearest whole number. The task asks to round it down.",
        {"count": lambda patches, ratio: round(patches * (1 - ratio))},
    ),
]

RESULTS: list[Way] = [
    (
        "argsort read as ranks",
        RANKS,
        {"told": lambda x, noise, keep: (of_mask(x, h := noise.argsort(1) >= keep.shape[1]), h)},
    ),
    (
        "argsort read as ranks in the mask",
        f"The visible tokens are right, the mask is not. {RANKS}",
        {"told": lambda x, noise, keep: (taken(x, keep), noise.argsort(1) >= keep.shape[1])},
    ),
    (
        "mask in the order of the noise",
        "The visible tokens are right. Your mask is False at the first places and True at all others, as if the "
        "patches were still sorted by noise. Place n of the mask belongs to patch n of the picture.",
        {"told": lambda x, noise, keep: (taken(x, keep), after_the_first(noise, keep.shape[1]))},
    ),
    (
        "tokens by the first picture's choice",
        "The mask is right. Your tokens are those that were chosen for the first picture, in all pictures. What was "
        "chosen for picture b belongs to picture b alone: `gather` takes a choice for each.",
        {"told": lambda x, noise, keep: (x[:, keep[0]], all_but(noise, keep))},
    ),
    (
        "mask of all choices together",
        "Your tokens are right. In the mask a patch is visible in all pictures if it was chosen in any of them, as "
        "`hidden[:, numbers] = False` makes it. Each picture has a choice of its own: see `scatter`.",
        {"told": lambda x, noise, keep: (taken(x, keep), all_but(noise, keep).all(0).expand(noise.shape))},
    ),
    (
        "hidden tokens returned",
        "The mask is right, but the tokens that you return are the hidden ones.",
        {"told": lambda x, noise, keep: (of_mask(x, ~all_but(noise, keep)), all_but(noise, keep))},
    ),
    (
        "set to 0 instead of taken away",
        "You kept all N places and set the hidden tokens to 0. They should be gone: the encoder sees V tokens, not N.",
        {"told": lambda x, noise, keep: (x * ~all_but(noise, keep)[..., None], all_but(noise, keep))},
    ),
    (
        "numbers of the patches returned",
        "You return the *numbers* of the visible patches, (B, V). The task asks for their tokens, (B, V, D).",
        {"told": lambda x, noise, keep: (keep, all_but(noise, keep))},
    ),
    (
        "the first number of each token",
        "You return only the first of the D numbers of each token. If you used `gather`: its result has the shape of "
        "its index, so that must be as wide as a token.",
        {"told": lambda x, noise, keep: (taken(x, keep)[..., :1], all_but(noise, keep))},
    ),
    (
        "every choice for every picture",
        "Your tokens have an axis too many: from each picture you took what was chosen for *every* picture, as "
        "`tokens[:, numbers]` does. What was chosen for picture b belongs to picture b alone.",
        {"told": lambda x, noise, keep: (x[:, keep], all_but(noise, keep))},
    ),
]

ORDER: Way = (
    "order of the noise",
    "The visible tokens come in the order of their noise. They keep the order in which they stood in the picture.",
    {"placed": torch.clone},
)

LARGEST, _, SHARE, UP, _ = CHOICES
TWO = [*((ORDER, choice) for choice in CHOICES), (LARGEST, SHARE), (LARGEST, UP)]


def threshold_in_the_mask(tokens: Tensor, noise: Tensor, ratio: float) -> Masked:
    return mask_patches(tokens, noise, ratio)[0], noise >= 1 - ratio


EXERCISE = Exercise(
    name="mask_patches",
    reference=mask_patches,
    cases=cases,
    gives=(Kind.NUMBERS, Kind.MASK),
    mistakes=[
        *(Mistake(name, told, wrong=partial(masked, **made)) for name, told, made in (ORDER, *CHOICES, *RESULTS)),
        Mistake(
            "noise compared with the share",
            "The visible tokens are right. For the mask you compared the noise with the share that stays: then chance "
            "says how many are hidden. It must be the same number in each picture.",
            wrong=threshold_in_the_mask,
        ),
        *(
            Mistake(f"{one}; {other}", f"Two things at once. {told} And this: {also}", wrong=partial(masked, **a, **b))
            for (one, told, a), (other, also, b) in TWO
        ),
    ],
)
