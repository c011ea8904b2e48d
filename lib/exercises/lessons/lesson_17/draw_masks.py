"""From the states of mask tokens to masks: an MLP for each token, and inner products with the pixels."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_linear, random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.exercises.engine.values import in_single_precision

MLPs = Sequence[Callable[[Tensor], Tensor]]  # M functions, (P, D) -> (P, C)


def by_tokens(states: Tensor, mlps: MLPs) -> Tensor:
    """The vectors of all masks (P, M, C)."""
    return torch.stack([mlp(states[:, number]) for number, mlp in enumerate(mlps)], dim=1)


def inner_products(vectors: Tensor, pixels: Tensor) -> Tensor:
    """(P, M, C) and (P, C, H, W) -> (P, M, H, W)."""
    return torch.einsum("pmc,pchw->pmhw", vectors, pixels)


def draw_masks(states: Tensor, mlps: MLPs, pixels: Tensor) -> Tensor:
    """The course's own, as in `lib.models.sam.MaskDecoder`."""
    return inner_products(by_tokens(states, mlps), pixels)


def doubled(states: Tensor) -> Tensor:
    return 2 * states


def exchanged(states: Tensor) -> Tensor:
    return states.flip(-1)


def cases() -> list[Case]:
    named = {  # P, M, D, C, H, W
        "2 prompts, 3 masks, states of 5 numbers, pixels of 4 numbers": (2, 3, 5, 4, 6, 7),
        "4 prompts, 2 masks": (4, 2, 3, 5, 6, 2),
        "one prompt": (1, 4, 3, 2, 5, 6),
        "one mask": (3, 1, 4, 2, 2, 5),
        "one number for each pixel": (2, 3, 4, 1, 5, 2),
        "one row of pixels": (3, 4, 2, 5, 1, 6),
        "all lengths are 3": (3, 3, 3, 3, 3, 3),
    }
    # The vectors of prompt 0 are (2, 4) and (0, 3), those of prompt 1 are (0, 2) and (1, -1).
    states = torch.tensor([[[1.0, 2], [3, 0]], [[0, 1], [-1, 1]]])
    pixels = torch.tensor([[[[1.0, 2, 0]], [[0, 1, -1]]], [[[3, 1, 1]], [[1, 0, 2]]]])
    truth = torch.tensor([[[[2.0, 8, -4]], [[0, 3, -3]]], [[[2, 0, 4]], [[2, 1, -1]]]])
    label = "2 prompts, 2 masks, 1 × 3 pixels: `mlps[0]` doubles its state, `mlps[1]` exchanges its two numbers"
    made = [Case(label, (states, [doubled, exchanged], pixels), truth)]
    for seed, (label, (prompts, masks, dim, channels, *size)) in enumerate(named.items()):
        mlps = [random_linear(dim, channels, seed=100 * seed + 10 * mask) for mask in range(masks)]
        states, pixels = random_values(prompts, masks, dim, seed=seed), random_values(prompts, channels, *size, seed=99)
        made.append(Case.from_truth(label, (states, mlps, pixels), mask_by_mask, gradients_of=("states", "pixels")))
    return made


def mask_by_mask(states: Tensor, mlps: list[nn.Module], pixels: Tensor) -> Tensor:
    """The truth, in double precision: of each prompt each mask is a 1 × 1 convolution of its own."""
    prompts = []
    for tokens, map_ in zip(states.double(), pixels.double(), strict=True):  # (M, D), (C, H, W)
        filters = [mlp.double()(token[None])[:, :, None, None] for token, mlp in zip(tokens, mlps, strict=True)]
        prompts.append(torch.cat([F.conv2d(map_[None], one)[0] for one in filters]))
    return torch.stack(prompts).float()


def opened(
    vectors: Callable[[Tensor, MLPs], Tensor] = by_tokens,
    at: Callable[[Tensor], Tensor] = lambda pixels: pixels,
    drawn: Callable[[Tensor, Tensor], Tensor] = inner_products,
    told: Callable[[Tensor], Tensor] = lambda masks: masks,
) -> Callable[[Tensor, MLPs, Tensor], Tensor]:
    """`draw_masks` with its decisions open.

    Args:
        vectors: from states (P, M, D) and MLPs to a vector for each mask (P, M, C).
        at: what is done to the pixels (P, C, H, W) before.
        drawn: from vectors and pixels to masks (P, M, H, W).
        told: what is done to these.
    """
    return lambda states, mlps, pixels: told(drawn(vectors(states, mlps), at(pixels)))


def one_for_all(states: Tensor, mlps: MLPs, place: int) -> Tensor:
    return by_tokens(states, [mlps[place]] * len(mlps))


def by_prompts(states: Tensor, mlps: MLPs) -> Tensor:
    return torch.stack([mlp(tokens) for tokens, mlp in zip(states, mlps)])


def prompts_as_masks(states: Tensor, mlps: MLPs) -> Tensor:
    return torch.stack([mlp(states[number]) for number, mlp in enumerate(mlps)], dim=1)


def one_too_far(states: Tensor, mlps: MLPs) -> Tensor:
    return torch.stack([mlp(states[:, 1 + number]) for number, mlp in enumerate(mlps)], dim=1)


def masks_first(states: Tensor, mlps: MLPs) -> Tensor:
    return torch.stack([mlp(states[:, number]) for number, mlp in enumerate(mlps)]).reshape(*states.shape[:2], -1)


def pixels_through_mlps(states: Tensor, mlps: MLPs, pixels: Tensor) -> Tensor:
    through = [mlp(pixels.movedim(1, -1)) for mlp in mlps]  # M times (P, H, W, C)
    return torch.stack([(one * states[:, [m], None]).sum(-1) for m, one in enumerate(through)], dim=1)


def pixels_reshaped(vectors: Tensor, pixels: Tensor) -> Tensor:
    rows = pixels.reshape(len(pixels), -1, pixels.shape[1])  # (P, H · W, C)
    return (vectors @ rows.transpose(1, 2)).unflatten(2, pixels.shape[2:])


def pixels_first(masks: Tensor) -> Tensor:
    return masks.flatten(2).transpose(1, 2).reshape(masks.shape)


OWN = "`mlps[m]` belongs to mask token m, `states[:, m]`, of all prompts"
SAME = "The masks of a prompt are drawn with the states and the pixels of this prompt alone."
PLAIN = "The task asks for the inner product as it is."

OF_VECTORS: list[tuple[str, str, Callable[[Tensor, MLPs], Tensor]]] = [
    (
        "the first MLP for all masks",
        f"You sent all tokens through `mlps[0]`. {OWN}: so one token can learn the part, and another the whole.",
        partial(one_for_all, place=0),
    ),
    (
        "the last MLP for all masks",
        f"All your masks come from the last MLP. {OWN}.",
        partial(one_for_all, place=-1),
    ),
    (
        "MLPs in reverse order",
        f"Your MLPs come in reverse order: the first token meets the last one. {OWN}.",
        lambda states, mlps: by_tokens(states, list(mlps)[::-1]),
    ),
    (
        "MLPs by prompts",
        f"You gave `mlps[0]` the states of prompt 0, `mlps[1]` those of prompt 1, and so on. {OWN}: the masks lie "
        "along axis 1.",
        by_prompts,
    ),
    (
        "prompts as masks",
        "`states[m]` is *prompt* m with all its tokens. Mask token m of all prompts is `states[:, m]`.",
        prompts_as_masks,
    ),
    (
        "one token for all masks",
        f"All your masks are drawn from token 0, by different MLPs. {OWN}.",
        lambda states, mlps: by_tokens(states[:, :1].expand_as(states), mlps),
    ),
    (
        "the token before",
        f"Each of your MLPs gets the token before its own, and the first one the last token. {OWN}.",
        lambda states, mlps: by_tokens(states.roll(1, 1), mlps),
    ),
    (
        "a token too far",
        "You ask for a token that is not there: they are numbered 0..M−1. (In the decoder itself a token for the guess "
        "of quality stands in front of them. `states` holds the mask tokens alone.)",
        one_too_far,
    ),
    (
        "no MLP",
        f"You compared the states themselves with the pixels. Each goes through its MLP first. {OWN}.",
        lambda states, mlps: states,
    ),
    (
        "states of the first prompt",
        f"You drew all masks with the states of prompt 0. {SAME}",
        lambda states, mlps: by_tokens(states[:1].expand_as(states), mlps),
    ),
    (
        "(M, P) reshaped to (P, M)",
        "Your vectors were right as (M, P, C), the masks in front, but a `reshape` to (P, M, C) mixes prompts and "
        "masks: it moves no axis. `torch.stack` can put the new axis elsewhere.",
        masks_first,
    ),
]

OF_RESULT: list[tuple[str, str, Callable[[Tensor], Tensor]]] = [
    ("yes or no", "You return True or False. The task asks for the logits themselves.", lambda masks: masks > 0),
    (
        "pixels in one row",
        "Right, but the pixels stand in one row, (P, M, H · W). Give them their two axes back.",
        lambda masks: masks.flatten(2),
    ),
    (
        "(P, H · W, M) reshaped",
        "Your numbers were right as (P, H · W, M), but a `reshape` to (P, M, H, W) mixes them: it moves no axis. Move "
        "the masks' axis to the front of the pixels first.",
        pixels_first,
    ),
    (
        "masks added up",
        "You added the M masks of a prompt up. Each stays a map of its own.",
        lambda masks: masks.sum(1),
    ),
    (
        "axes of length 1 dropped",
        "Right but where a length is 1: `squeeze` drops such an axis. The result always has four.",
        torch.squeeze,
    ),
]

OF_DRAWING: list[tuple[str, str, Callable[[Tensor, Tensor], Tensor]]] = [
    (
        "all prompts with all pixels",
        f"You added up over the prompts of `pixels`. {SAME}",
        partial(torch.einsum, "pmc,qchw->pmhw"),
    ),
    ("all prompts with all", SAME, partial(torch.einsum, "pmc,qchw->pqmhw")),
    (
        "not added up",
        "You multiplied the numbers, but did not add them up: your result still has the axis of C.",
        partial(torch.einsum, "pmc,pchw->pmchw"),
    ),
    (
        "divided by √C",
        f"You divided by √C, as attention does. {PLAIN}",
        lambda vectors, pixels: inner_products(vectors, pixels) / vectors.shape[2] ** 0.5,
    ),
    (
        "mean for sum",
        "You took the mean of the C products. An inner product is their sum.",
        lambda vectors, pixels: inner_products(vectors, pixels) / vectors.shape[2],
    ),
    (
        "cosine",
        f"You divided each vector by its length: that is the cosine of the angle. {PLAIN}",
        lambda vectors, pixels: inner_products(F.normalize(vectors, dim=2), F.normalize(pixels, dim=1)),
    ),
    (
        "pixels reshaped to rows",
        "You *reshaped* (P, C, H, W) to (P, H · W, C), which keeps the order of all numbers: a row gets numbers of "
        "several pixels. Flatten H and W first, then move the axis.",
        pixels_reshaped,
    ),
]


EXERCISE = Exercise(
    name="draw_masks",
    reference=draw_masks,
    cases=cases,
    takes={"pixels": Kind.MAP},
    gives=Kind.LOGITS,
    observe=in_single_precision,
    mistakes=[
        *(Mistake(name, told, wrong=opened(vectors)) for name, told, vectors in OF_VECTORS),
        Mistake(
            "pixels through the MLPs",
            f"You sent the pixels through the MLPs, and compared them with the states. It is the states that need "
            f"them: {OWN}.",
            wrong=pixels_through_mlps,
        ),
        Mistake(
            "pixels of the first prompt",
            f"You drew all masks on the pixels of prompt 0. {SAME}",
            wrong=opened(at=lambda pixels: pixels[:1].expand_as(pixels)),
        ),
        *(Mistake(name, told, wrong=opened(drawn=drawn)) for name, told, drawn in OF_DRAWING),
        *(Mistake(name, told, wrong=opened(told=change)) for name, told, change in OF_RESULT),
        *(
            Mistake(
                f"{name}; sigmoid taken",
                f"Two things at once. {told} And you took the sigmoid: the task asks for logits.",
                wrong=opened(vectors, told=torch.sigmoid),
            )
            for name, told, vectors in OF_VECTORS
            if vectors not in (one_too_far, prompts_as_masks)
        ),
    ],
    picture=compare_maps,
)
