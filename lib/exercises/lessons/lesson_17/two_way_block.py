"""A block of SAM's decoder: tokens look at the picture, and the picture at them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.values import in_single_precision

Both = tuple[Tensor, Tensor]  # tokens (P, T, D), cells (P, S, D)


@dataclass(frozen=True)
class Look:
    """An attention for numbers by hand: a value counts by the inner product of its key and the query, no softmax."""

    factor: float

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.factor * (q @ k.transpose(1, 2)) @ v


@dataclass(frozen=True)
class Times:
    """Each number alone, times a factor; negative ones become 0. An mlp, and by hand a norm, too."""

    factor: float

    def __call__(self, x: Tensor) -> Tensor:
        return self.factor * x.relu()


@dataclass(frozen=True)
class Norm:
    """A LayerNorm that keeps the precision of what it gets."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * self.weight + self.bias


@dataclass(frozen=True)
class Block:
    """The parts of a block. Light ones: they are copied for every call."""

    self_attn: Look
    token_to_image: Look
    image_to_token: Look
    mlp: Times
    norm1: Norm | Times
    norm2: Norm | Times
    norm3: Norm | Times
    norm4: Norm | Times


def two_way_block(block: Block, tokens: Tensor, cells: Tensor, token_codes: Tensor, cell_codes: Tensor) -> Both:
    """The course's own, as in `lib.layers.two_way.TwoWayAttentionBlock`."""
    q = tokens + token_codes
    tokens = block.norm1(tokens + block.self_attn(q, q, tokens))
    tokens = block.norm2(tokens + block.token_to_image(tokens + token_codes, cells + cell_codes, cells))
    tokens = block.norm3(tokens + block.mlp(tokens))
    told = block.image_to_token(cells + cell_codes, tokens + token_codes, tokens)
    return tokens, block.norm4(cells + told)


def cases() -> list[Case]:
    by_hand = Block(Look(0.75), Look(0.5), Look(0.25), Times(3.0), *map(Times, (0.5, 0.75, 0.125, 2.0)))
    # Token: (1 + 3) / 2 = 2, then (2 + 6) · 3/4 = 6, then (6 + 18) / 8 = 3. Cells: 2 · (1 + 6) and 2 · (2 + 3).
    given = torch.ones(1, 1, 1), torch.tensor([[[1.0], [2]]]), torch.ones(1, 1, 1), torch.tensor([[[1.0], [-1]]])
    expected = torch.full((1, 1, 1), 3.0), torch.tensor([[[14.0], [10]]])
    label = (
        "one token, 2 cells, one number each, worked by hand: a value counts by the inner product of query and key, "
        "times 0.75, 0.5 and 0.25; the mlp is times 3; the norms are times 0.5, 0.75, 0.125 and 2"
    )
    shapes = {  # P, T, S, D
        "2 prompts, 3 tokens, 5 cells, 4 numbers": (2, 3, 5, 4),
        "one prompt, 5 tokens, 2 cells, 7 numbers": (1, 5, 2, 7),
        "3 prompts, one token, one cell, 6 numbers": (3, 1, 1, 6),
        "all lengths are 4": (4, 4, 4, 4),
    }
    made = [case(text, *lengths, seed=10 * seed) for seed, (text, lengths) in enumerate(shapes.items())]
    return [Case(label, (by_hand, *given), expected), *made]


def case(label: str, prompts: int, tokens: int, cells: int, dim: int, seed: int) -> Case:
    norms = [Norm(*random_values(2, dim, seed=seed + number)) for number in STEPS]
    parts = Block(Look(0.05), Look(-0.1), Look(0.2), Times(0.7), *norms)
    lengths = (tokens, cells, tokens, cells)
    given = [random_values(prompts, length, dim, seed=seed + 5 + i) for i, length in enumerate(lengths)]
    return Case.from_truth(label, (parts, *given), look_by_look, gradients_of=("tokens", "cells"))


def look_by_look(block: Block, tokens: Tensor, cells: Tensor, token_codes: Tensor, cell_codes: Tensor) -> Both:
    """The truth in double precision: prompt by prompt, one who looks at one thing at a time."""
    prompts = []
    for every in zip(*(given.double() for given in (tokens, cells, token_codes, cell_codes)), strict=True):
        t, c, code_t, code_c = (list(given) for given in every)  # vectors (D,)
        t = [block.norm1(x + sum_of(block.self_attn, x + code, t, code_t)) for x, code in zip(t, code_t, strict=True)]
        t = [
            block.norm2(x + sum_of(block.token_to_image, x + code, c, code_c))
            for x, code in zip(t, code_t, strict=True)
        ]
        t = [block.norm3(x + block.mlp(x)) for x in t]
        c = [
            block.norm4(x + sum_of(block.image_to_token, x + code, t, code_t))
            for x, code in zip(c, code_c, strict=True)
        ]
        prompts.append((torch.stack(t), torch.stack(c)))
    return torch.stack([t for t, _ in prompts]).float(), torch.stack([c for _, c in prompts]).float()


def sum_of(look: Look, query: Tensor, seen: list[Tensor], codes: list[Tensor]) -> Tensor:
    weights = [look.factor * query.dot(x + code) for x, code in zip(seen, codes, strict=True)]
    return torch.stack([weight * x for weight, x in zip(weights, seen, strict=True)]).sum(dim=0)


STEPS = (1, 2, 3, 4)
WHO = {1: (0, 0), 2: (0, 1), 3: (0, 0), 4: (1, 0)}  # who is renewed, and what it looks at: 0 tokens, 1 cells
LOOKS = {1: "self_attn", 2: "token_to_image", 4: "image_to_token"}
CODED = {1: "qk", 2: "qk", 3: "", 4: "qk"}  # what codes are added to


def stepwise(
    block: Block,
    tokens: Tensor,
    cells: Tensor,
    token_codes: Tensor,
    cell_codes: Tensor,
    order: tuple[int, ...] = STEPS,
    coded: Mapping[int, str] = CODED,
    looks: Mapping[int, str] = LOOKS,
    kept: tuple[int, ...] = (),
    alone: tuple[int, ...] = (),
    turned: tuple[int, ...] = (),
    norms: tuple[int, ...] = STEPS,
    first: bool = False,
    late: bool = False,
) -> Both:
    """`two_way_block` with its decisions open.

    Args:
        order: of the steps. coded: to what each adds codes. looks: which attention each uses.
        kept: steps that add what came to what was there *with* its code. alone: steps that do not add, but replace.
        turned: steps in which those who should look are looked at.
        norms: the number of each step's norm, 0 for none. first: whether norms come before the steps, not after.
        late: whether what was there is added after the norm, and not before it.
    """
    now, codes = [tokens, cells], (token_codes, cell_codes)
    for step in order:
        (who, what), number = WHO[step], norms[step - 1]
        norm = getattr(block, f"norm{number}") if number else torch.clone
        x = norm(now[who]) if first else now[who]
        y = x if who == what else now[what]
        q, k, v = (
            z + codes[i] if part in coded[step] else z for part, z, i in (("q", x, who), ("k", y, what), ("v", y, what))
        )
        if step in turned:
            q, k, v = k, q, x
        came = block.mlp(q) if step == 3 else getattr(block, looks[step])(q, k, v)
        if late:
            now[who] = now[who] + norm(came)
            continue
        if step not in alone:
            came = came + now[who] + (codes[who] if step in kept else 0)
        now[who] = came if first else norm(came)
    return now[0], now[1]


def codes_misplaced() -> Iterator[Mistake]:
    said = {
        "qkv": ("codes in the values", "codes are added to the values, too. They belong to queries and keys alone."),
        "": ("no codes", "the codes are missing. They are added to queries and keys."),
        "q": ("no codes in the keys", "the codes are missing from the keys. They are added to queries *and* keys."),
        "qv": (
            "codes in the values, not in the keys",
            "codes are added to the values, and not to the keys. An attention is called as f(queries, keys, values).",
        ),
        "k": ("no codes in the queries", "the codes are missing from the queries. They are added to these *and* keys."),
    }
    for added, (name, told) in said.items():
        for step in LOOKS if added in ("", "qkv") else (2, 4):
            yield Mistake(
                f"{name} of step {step}", f"In step {step} {told}", wrong=partial(stepwise, coded=CODED | {step: added})
            )
        everywhere = CODED | dict.fromkeys(LOOKS, added)
        yield Mistake(f"{name}, all steps", f"In steps 1, 2 and 4 {told}", wrong=partial(stepwise, coded=everywhere))
    crossed = CODED | {2: "qkv", 4: "qkv"}
    told = said["qkv"][1]
    yield Mistake("codes in the values of steps 2 and 4", f"In steps 2 and 4 {told}", partial(stepwise, coded=crossed))
    crossed = CODED | {2: "", 4: ""}
    told = said[""][1]
    yield Mistake("no codes in steps 2 and 4", f"In steps 2 and 4 {told}", partial(stepwise, coded=crossed))
    yield Mistake(
        "codes in the mlp",
        "In step 3 you added the codes to the tokens. They are for looking; the mlp gets the tokens as they are.",
        wrong=partial(stepwise, coded=CODED | {3: "q"}),
    )
    yield Mistake(
        "as in the first block",
        "Your step 1 is that of SAM's *first* block: no codes, and what comes takes the place of the tokens. Here step "
        "1 is like the others.",
        wrong=partial(stepwise, coded=CODED | {1: ""}, alone=(1,)),
    )
    kept = (
        "the codes stay in the tokens or cells. Add them for the look alone; what comes is added to the ones without."
    )
    yield Mistake("codes kept", f"After steps 1, 2 and 4 {kept}", wrong=partial(stepwise, kept=(1, 2, 4)))
    for step in LOOKS:
        yield Mistake(f"codes kept in step {step}", f"After step {step} {kept}", wrong=partial(stepwise, kept=(step,)))


def steps_misplaced() -> Iterator[Mistake]:
    for step in STEPS:
        left_out = tuple(other for other in STEPS if other != step)
        yield Mistake(f"step {step} left out", f"Step {step} is missing.", wrong=partial(stepwise, order=left_out))
    yield Mistake(
        "step 4 before step 3",
        "In step 4 the cells look at the tokens as they were after step 2. Step 3 comes before it.",
        wrong=partial(stepwise, order=(1, 2, 4, 3)),
    )
    for order in (2, 1, 3, 4), (1, 3, 2, 4), (1, 4, 2, 3), (4, 1, 2, 3):
        said = ", ".join(map(str, order))
        told = f"Your result is what comes of the steps in another order: {said}."
        yield Mistake(f"steps in the order {said}", told, wrong=partial(stepwise, order=order))


def sums_and_norms() -> Iterator[Mistake]:
    lost = "what was there is lost. What comes is *added* to it before the norm."
    yield Mistake("nothing added", f"In each step {lost}", wrong=partial(stepwise, alone=STEPS))
    for step in STEPS:
        yield Mistake(f"nothing added in step {step}", f"In step {step} {lost}", wrong=partial(stepwise, alone=(step,)))
    yield Mistake("no norms", "None of the four norms is used.", wrong=partial(stepwise, norms=(0, 0, 0, 0)))
    for step in STEPS:
        norms = tuple(0 if other == step else other for other in STEPS)
        told = f"norm{step} is missing: it comes after step {step}."
        yield Mistake(f"norm{step} missing", told, wrong=partial(stepwise, norms=norms))
    for norms in (2, 1, 3, 4), (1, 3, 2, 4), (1, 2, 4, 3):
        a, b = (number for number, step in zip(norms, STEPS, strict=True) if number != step)
        told = f"You exchanged norm{b} and norm{a}. After step 1 comes norm1, after step 2 norm2, and so on."
        yield Mistake(f"norm{b} and norm{a} exchanged", told, wrong=partial(stepwise, norms=norms))
    told = "You used norm1 after every step. Each step has a norm of its own."
    yield Mistake("norm1 everywhere", told, wrong=partial(stepwise, norms=(1, 1, 1, 1)))
    for norms in (1, 2, 1, 4), (1, 1, 3, 4), (1, 2, 2, 4), (1, 2, 3, 3):
        ((step, other),) = [(step, number) for step, number in enumerate(norms, 1) if step != number]
        told = f"After step {step} you used norm{other}. Each step has a norm of its own: norm{step}."
        yield Mistake(f"norm{other} for norm{step}", told, wrong=partial(stepwise, norms=norms))
    told = "You normalise what came, and add it then. Add it to what was there first: the *sum* is normalised."
    yield Mistake("added after the norm", told, wrong=partial(stepwise, late=True))
    told = "Your norms come *before* the steps, as in a ViT. Here each comes after its step, when the sum is made."
    yield Mistake("norms first", told, wrong=partial(stepwise, first=True))


@mistake(
    "old tokens in step 4",
    "In step 4 the cells look at the tokens as they were given. By then they are renewed: look at these.",
)
def old_tokens(block: Block, tokens: Tensor, cells: Tensor, token_codes: Tensor, cell_codes: Tensor) -> Both:
    renewed = two_way_block(block, tokens, cells, token_codes, cell_codes)[0]
    told = block.image_to_token(cells + cell_codes, tokens + token_codes, tokens)
    return renewed, block.norm4(cells + told)


def coded_once(
    block: Block, tokens: Tensor, cells: Tensor, token_codes: Tensor, cell_codes: Tensor, steps: tuple[int, ...]
) -> Both:
    """Tokens with codes are computed at the start, and used again in these steps."""
    q = tokens + token_codes
    tokens = block.norm1(tokens + block.self_attn(q, q, tokens))
    asked = q if 2 in steps else tokens + token_codes
    tokens = block.norm2(tokens + block.token_to_image(asked, cells + cell_codes, cells))
    tokens = block.norm3(tokens + block.mlp(tokens))
    asked = q if 4 in steps else tokens + token_codes
    return tokens, block.norm4(cells + block.image_to_token(cells + cell_codes, asked, tokens))


@mistake(
    "codes added at the start alone",
    "You added the codes to tokens and cells once, at the start: so they stand in the values, too. They are added anew "
    "in each step, to queries and keys alone.",
)
def added_at_the_start(block: Block, tokens: Tensor, cells: Tensor, token_codes: Tensor, cell_codes: Tensor) -> Both:
    none = dict.fromkeys(STEPS, "")
    return stepwise(block, tokens + token_codes, cells + cell_codes, token_codes, cell_codes, coded=none)


TURNED = "In step 4 it is the cells that look: they are the queries, and the tokens are keys and values. "
ONCE = "you used the sum of tokens and codes from step 1 again. The tokens have changed: add the codes to the new ones."
EXCHANGED = "You exchanged `token_to_image` (step 2) and `image_to_token` (step 4)."

EXERCISE = Exercise(
    name="two_way_block",
    reference=two_way_block,
    cases=cases,
    gives=(Kind.NUMBERS, Kind.NUMBERS),
    observe=in_single_precision,
    mistakes=[
        *codes_misplaced(),
        old_tokens,
        *steps_misplaced(),
        *sums_and_norms(),
        Mistake("step 1's sum in step 2", f"In step 2 {ONCE}", wrong=partial(coded_once, steps=(2,))),
        Mistake("step 1's sum in step 4", f"In step 4 {ONCE}", wrong=partial(coded_once, steps=(4,))),
        Mistake("step 1's sum in steps 2 and 4", f"In steps 2 and 4 {ONCE}", wrong=partial(coded_once, steps=(2, 4))),
        added_at_the_start,
        Mistake("step 4 the wrong way round", f"{TURNED}Yours is turned round.", wrong=partial(stepwise, turned=(4,))),
        Mistake(
            "token_to_image in step 4",
            f"You called `token_to_image` in step 4, too. {TURNED}That is `image_to_token`.",
            wrong=partial(stepwise, looks=LOOKS | {4: LOOKS[2]}),
        ),
        Mistake(
            "looks exchanged",
            EXCHANGED,
            wrong=partial(stepwise, looks=LOOKS | {2: LOOKS[4], 4: LOOKS[2]}),
        ),
    ],
)
