"""How a promptable model is trained and measured: somebody prompts, looks, and clicks on what is wrong (lesson 17).

Source: Kirillov et al. 2023, "Segment Anything", appendix A, "Training algorithm". There a first prompt is a click or a
box, which get three masks both; there are up to eight corrections, and two rounds more without a click.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.datasets.toyworld.dataset import Sample
from lib.datasets.toyworld.levels import LEVELS, nested_masks, unambiguous_phrases
from lib.layers.prompt_encoder import BOTTOM_RIGHT, FOREGROUND, NO_POINT, TOP_LEFT
from lib.models.sam import WEIGHTS, Sam, SamOutput, mask_ious, min_over_masks_loss
from lib.ops.clicks import error_click, jittered_boxes, next_click, random_click
from lib.ops.masks import masks_to_boxes

KINDS = {
    "point": 0.5,
    "box": 0.25,
    "phrase": 0.25,
}  # first prompts, and how often; a mask without a phrase gets a point
WANTED = {"part": 0.3, "thing": 0.45, "group": 0.15, "stuff": 0.1}  # how often masks of a level are asked for


class Prompted(NamedTuple):
    """A batch: of each of B pictures K masks that are to be prompted, P = B · K."""

    images: Tensor  # (B, 3, H, W)
    masks: Tensor  # (P, H, W) bool, those of the first picture first
    phrases: list[str]  # P: words that mean this mask and no other of its picture; "" where there are none


class MaskBatches:
    """Draws pictures and masks of them, for `fit`; half of the pictures are mirrored.

    Args:
        images: (3, H, W) each. masks: of each picture (M, H, W) bool. Pictures without a mask are never drawn.
        pictures: B. per_picture: K masks, drawn anew each time, so that one may come twice.
        seed: of the drawing.
        weights: of each picture M numbers, how often its masks are drawn; None: all equally often.
        ways: of each picture M lists of phrases that mean a mask; None: there are no words.

    Raises:
        ValueError: there is no mask, no picture or no mask of a picture to draw, or the lists differ in length.
    """

    def __init__(
        self,
        images: Sequence[Tensor],
        masks: Sequence[Tensor],
        pictures: int = 16,
        per_picture: int = 4,
        seed: int = 0,
        weights: Sequence[Sequence[float]] | None = None,
        ways: Sequence[Sequence[Sequence[str]]] | None = None,
    ):
        for name, number in (("pictures", pictures), ("per_picture", per_picture)):
            if number < 1:
                raise ValueError(f"{name} is {number}; expected at least 1")
        for name, given in (("masks", masks), ("weights", weights), ("ways", ways)):
            if given is not None and len(given) != len(images):
                raise ValueError(f"{name} has {len(given)} entries; expected {len(images)}, one for each of images")
        self.images, self.masks, self.weights, self.ways = images, masks, weights, ways
        self.pictures, self.per_picture, self.random = pictures, per_picture, random.Random(seed)
        self.places = [place for place, one in enumerate(masks) if len(one)]
        if not self.places:
            raise ValueError(f"masks has no mask for any of {len(images)} images; expected one at least")

    def __call__(self) -> Prompted:
        images, masks, phrases = [], [], []
        for index in self.random.choices(self.places, k=self.pictures):
            weights = None if self.weights is None else self.weights[index]
            chosen = self.random.choices(range(len(self.masks[index])), weights, k=self.per_picture)
            mirrored = (-1,) if self.random.random() < 0.5 else ()
            images.append(self.images[index].flip(mirrored))
            masks.append(self.masks[index][chosen].flip(mirrored))
            ways = [self.ways[index][place] if self.ways is not None else () for place in chosen]
            phrases += [self.random.choice(one) if one else "" for one in ways]
        return Prompted(torch.stack(images), torch.cat(masks), phrases)


class PromptedBatches(MaskBatches):
    """`MaskBatches` of scenes: all that can be meant, each level as often as WANTED says, with phrases.

    Args:
        samples: the scenes.
        pictures, per_picture, seed: see `MaskBatches`.
    """

    def __init__(self, samples: Sequence[Sample], pictures: int = 16, per_picture: int = 4, seed: int = 0):
        nested = [nested_masks(sample) for sample in samples]
        weights = []
        for one in nested:
            levels = one.levels.tolist()
            weights.append([WANTED[LEVELS[level]] / levels.count(level) for level in levels])
        ways = [unambiguous_phrases(one.phrases, sample.phrases) for one, sample in zip(nested, samples, strict=True)]
        images, masks = [sample.image for sample in samples], [one.masks for one in nested]
        super().__init__(images, masks, pictures, per_picture, seed, weights, ways)


class Prompt(NamedTuple):
    """What was said of P masks so far."""

    points: Tensor  # (P, N, 2)
    labels: Tensor  # (P, N), types of the points, see `lib.layers.prompt_encoder`
    phrases: list[str]  # P, "" where it was not said in words
    masks: Tensor | None = None  # (P, 1, 4h, 4w) logits of the answer so far


def first_prompt(batch: Prompted, kinds: dict[str, float] = KINDS) -> tuple[Prompt, Tensor]:
    """A click, a box or words for each mask, drawn by chance.

    Returns:
        The prompts, and (P,) bool: which of them are one click alone, and so may mean several things.

    Raises:
        ValueError: a kind is unknown, none is ever drawn, or a mask is empty.
    """
    if not set(kinds) <= set(KINDS) or min(kinds.values(), default=0) < 0 or not sum(kinds.values()) > 0:
        raise ValueError(f"kinds is {kinds}; expected how often each of {', '.join(KINDS)} comes")
    names, number = list(kinds), len(batch.masks)
    drawn = torch.multinomial(torch.tensor(list(kinds.values())), number, replacement=True)
    kind = [names[one] for one in drawn.tolist()]
    spoken = [phrase if one == "phrase" else "" for one, phrase in zip(kind, batch.phrases, strict=True)]
    boxed = torch.tensor([one == "box" for one in kind], device=batch.masks.device)[:, None]  # (P, 1)
    worded = torch.tensor([phrase != "" for phrase in spoken], device=batch.masks.device)[:, None]
    size = (batch.masks.shape[1], batch.masks.shape[2])
    boxes = masks_to_boxes(batch.masks) + torch.tensor([0, 0, 1, 1], device=batch.masks.device)  # (P, 4)
    corners = jittered_boxes(boxes, size).unflatten(1, (2, 2))  # (P, 2, 2)
    click = F.pad(random_click(batch.masks)[:, None], (0, 0, 0, 1))  # (P, 2, 2): a click, and no point
    types = [
        batch.masks.new_tensor(pair, dtype=torch.int64) for pair in ((FOREGROUND, NO_POINT), (TOP_LEFT, BOTTOM_RIGHT))
    ]
    points, labels = torch.where(boxed[..., None], corners, click), torch.where(boxed, types[1], types[0])
    labels = labels.masked_fill(worded, NO_POINT)
    return Prompt(points, labels, spoken), ~(boxed | worded)[:, 0]


def corrected(prompt: Prompt, logits: Tensor, true: Tensor) -> Prompt:
    """The prompt, one click later: in what is wrong with the answer (P, 4h, 4w), which is handed back with it."""
    enlarged = F.interpolate(logits[:, None], true.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    points, labels = error_click(enlarged > 0, true)
    return Prompt(
        torch.cat([prompt.points, points[:, None]], dim=1),
        torch.cat([prompt.labels, labels[:, None]], dim=1),
        prompt.phrases,
        logits[:, None],
    )


def prompted_loss(model: Sam, batch: Prompted, rounds: int, single_click: str = "min") -> dict[str, Tensor]:
    """Prompt, answer, correct, answer ... : the loss of all rounds. A picture is encoded once for all of them.

    Args:
        rounds: of answers. After the first, each mask gets one more click, in what is wrong, and its last answer.
        single_click: who answers to one click alone: "min", three masks, of which the closest learns; "mean", three, of
            which all learn; "one", the single mask, which otherwise answers everything but that.

    Returns:
        The losses of `min_over_masks_loss`, weighed, the mean over the rounds.

    Raises:
        ValueError: there is no round, `single_click` is another word, there are phrases and the model knows no words,
            pictures do not fill what the encoder sees, or masks and phrases do not belong to the pictures.
    """
    _check(model, batch, rounds, single_click)
    embeddings = model.encode(batch.images)  # (B, D, h, w)
    embeddings = embeddings.repeat_interleave(len(batch.masks) // len(batch.images), dim=0)  # (P, D, h, w)
    prompt, vague = first_prompt(batch)
    if single_click == "one":
        vague = torch.zeros_like(vague)
    total: dict[str, Tensor] = {}
    for number in range(rounds):
        words = None if model.phrase_encoder is None else prompt.phrases
        every = model(embeddings, *prompt[:2], None, prompt.masks, words, pad=False)
        if number == 0 and vague.any():
            three = SamOutput(*(one[vague] for one in every.several()))
            _add(total, min_over_masks_loss(three, batch.masks[vague], single_click), vague.float().mean() / rounds)
        sure = torch.ones_like(vague) if number else ~vague
        if sure.any():
            one = SamOutput(*(part[sure] for part in every.single()))
            _add(total, min_over_masks_loss(one, batch.masks[sure]), sure.float().mean() / rounds)
        if number + 1 < rounds:
            answer = best_answer(every, vague if number == 0 else torch.zeros_like(vague))
            prompt = corrected(prompt, answer.detach(), batch.masks)
    return {name: WEIGHTS[name] * loss for name, loss in total.items()}


def _check(model: Sam, batch: Prompted, rounds: int, single_click: str) -> None:
    side, number = model.image_encoder.img_size, len(batch.masks)
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; expected at least 1")
    if single_click not in ("min", "mean", "one"):
        raise ValueError(f"single_click is {single_click!r}; expected 'min', 'mean' or 'one'")
    if model.phrase_encoder is None and any(batch.phrases):
        raise ValueError("model has no phrase_encoder; expected one, for the phrases of the batch")
    if batch.images.shape[2:] != (side, side) or batch.masks.shape[1:] != (side, side):
        came = f"pictures {tuple(batch.images.shape)} and masks {tuple(batch.masks.shape)}"
        raise ValueError(f"batch has {came}; expected {side} × {side} pixels, which the encoder sees")
    if not number or number % len(batch.images) or len(batch.phrases) != number:
        came = f"{len(batch.images)} pictures, {number} masks and {len(batch.phrases)} phrases"
        raise ValueError(f"batch has {came}; expected as many masks of each picture, and a phrase for each")


def _add(total: dict[str, Tensor], losses: dict[str, Tensor], share: Tensor) -> None:
    for name, loss in losses.items():
        total[name] = total.get(name, 0) + share * loss


def best_answer(every: SamOutput, vague: Tensor) -> Tensor:
    """What is shown of all four masks: of three the one with the best guess of its IoU, else the single one.

    Args:
        every: of P prompts all four masks. vague: (P,) bool, where it is one of the three.

    Returns:
        Logits (P, 4h, 4w).
    """
    guesses = every.ious.masked_fill(~vague[:, None], -torch.inf)
    guesses[:, 0] = torch.where(vague, -torch.inf, 0.0)
    return every.masks[torch.arange(len(vague), device=vague.device), guesses.argmax(1)]


@torch.no_grad()
def iou_by_clicks(model: Sam, embedding: Tensor, true: Tensor, clicks: int = 8, first: Tensor | None = None) -> Tensor:
    """How well masks are hit after 1, 2, ... clicks, by an annotator who clicks in the middle of what is wrong.

    Args:
        embedding: (1, D, h, w) of one picture. true: (P, H, W) bool, its masks; none is empty.
        clicks: how many.
        first: (P, 2), where each is clicked first; None: in the middle.

    Returns:
        IoU (P, clicks). The first answer is the best of three by the model's own guess; then the single mask answers.

    Raises:
        ValueError: a mask is empty, there is no click, or shapes do not fit.
    """
    if true.ndim != 3 or true.dtype != torch.bool or not true.flatten(1).any(1).all():
        raise ValueError(f"true is {tuple(true.shape)} {true.dtype}; expected (P, H, W) bool, none of them empty")
    if clicks < 1:
        raise ValueError(f"clicks is {clicks}; expected at least 1")
    if first is not None and first.shape != (len(true), 2):
        raise ValueError(f"first is {tuple(first.shape)}; expected ({len(true)}, 2)")
    answers = islice(answers_by_clicks(model, embedding, true, first), clicks)
    return torch.stack([mask_ious(large[:, None], true)[:, 0] for large in answers], dim=1)


def answers_by_clicks(model: Sam, embedding: Tensor, true: Tensor, first: Tensor | None = None) -> Iterator[Tensor]:
    """What is answered after 1, 2, ... clicks, each in the middle of what is wrong; without end.

    Args:
        embedding, true, first: see `iou_by_clicks`.

    Yields:
        Logits (P, H, W). A mask that is right everywhere gets no further click.
    """
    nothing, number = torch.zeros_like(true[0]), len(true)
    start = [next_click(nothing, mask)[:2] for mask in true] if first is None else first.tolist()
    points = true.new_tensor(start, dtype=torch.float32).view(-1, 1, 2)  # (P, 1, 2)
    labels, answer = true.new_ones(number, 1, dtype=torch.int64), None
    while True:
        every = model(embedding, points, labels, None, answer)
        several = torch.full((number,), answer is None, device=true.device)
        answer = best_answer(every, several)[:, None]  # (P, 1, 4h, 4w)
        large = F.interpolate(answer, true.shape[1:], mode="bilinear", align_corners=False)[:, 0]
        yield large
        clicks = [
            next_click(mine, mask) if not mine.equal(mask) else (*points[place, 0].int().tolist(), NO_POINT)
            for place, (mine, mask) in enumerate(zip(large > 0, true))
        ]
        clicked = true.new_tensor(clicks, dtype=torch.float32)  # (P, 3)
        points = torch.cat([points, clicked[:, None, :2]], dim=1)
        labels = torch.cat([labels, clicked[:, None, 2].long()], dim=1)
