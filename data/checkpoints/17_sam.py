"""The checkpoints of lesson 17: a masked autoencoder, the SAM that starts from its encoder, and SAM's rivals.

All learn from the same 2,000 training scenes. The autoencoder sees pictures alone, no mask.

- "mae": 1,500 steps of 64 pictures, three quarters of the patches hidden. Encoder and decoder are kept.
- "MAE": SAM whose encoder starts from there; three masks answer one click, and the closest learns. Seeds 0, 1, 2.
- "random": the same from an encoder drawn at random.
- "mean": started as "MAE", but of the three masks all learn.
- "one": started as "MAE", but a single mask answers one click, as it answers all other prompts.
- "MAE, 100 labelled" and "random, 100 labelled": the same as "MAE" and "random" with masks of 100 scenes only; seed 0.
- "MAE, slower" and "random, slower": the same with a quarter of the learning rate; seed 0.
- "kept": as "MAE", in 4,000 steps; its weights are kept, in half precision.

A step prompts 4 masks in each of 8 scenes and corrects them up to twice: the number of rounds is drawn from 1 to 3.
What is measured goes to 17_runs.json, run by run, on 100 validation scenes and, for "kept", once on 200 test scenes. A
run that is in 17_runs.json already is not made again, so a recipe that was cut off goes on where it was; delete the
file to begin anew.

    .venv/bin/python data/checkpoints/17_sam.py
"""

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.datasets.toyworld import CLASSES, COLOURS, SIZES, Sample, Toyworld
from lib.datasets.toyworld.levels import LEVELS, Nested, nested_masks
from lib.models.mae import MaskedAutoencoder, mae_loss, mae_small, random_masking, start_from
from lib.models.sam import Sam, mask_ious, sam_small
from lib.ops.clicks import middle_click
from lib.ops.masks import mask_iou, masks_to_boxes
from lib.training import fit, load_checkpoint, save_checkpoint
from lib.training.prompting import Prompted, PromptedBatches, iou_by_clicks, prompted_loss
from lib.training.runs import once

HERE = Path(__file__).parent
STORE, MAE_WEIGHTS = HERE / "17_runs.json", HERE / "17_mae.safetensors"
WORDS = (*SIZES, *COLOURS, *CLASSES)
SEEDS, STEPS, KEPT_STEPS, LEARNING_RATE = (0, 1, 2), 700, 4000, 2e-3
PICTURES, MASKS, ROUNDS = 8, 4, (1, 2, 3)
MAE_STEPS, MAE_BATCH, MAE_RATE, RATIO = 1500, 64, 1.5e-3, 0.75
CLICKS, FEW = 8, 100
KINDS = {  # start of the encoder, who answers one click, how many labelled scenes, learning rate
    "MAE": ("MAE", "min", 2000, LEARNING_RATE),
    "random": ("random", "min", 2000, LEARNING_RATE),
    "mean": ("MAE", "mean", 2000, LEARNING_RATE),
    "one": ("MAE", "one", 2000, LEARNING_RATE),
    "MAE, 100 labelled": ("MAE", "min", FEW, LEARNING_RATE),
    "random, 100 labelled": ("random", "min", FEW, LEARNING_RATE),
    "MAE, slower": ("MAE", "min", 2000, LEARNING_RATE / 4),
    "random, slower": ("random", "min", 2000, LEARNING_RATE / 4),
}


def main() -> None:
    train, val, test = (scenes(*one) for one in (("train", 2000), ("val", 100), ("test", 200)))
    once(STORE, "mae", partial(pretrain, train, val))
    for seed in SEEDS:
        for kind in KINDS if seed == SEEDS[0] else list(KINDS)[:4]:
            once(STORE, f"{kind}/{seed}", partial(run, kind, seed, train, val))
    once(STORE, "kept", partial(keep, train, val, test))


def scenes(split: str, count: int) -> list[Sample]:
    world = Toyworld(split, count, 96)
    return [world[index] for index in range(count)]


def pretrain(train: Sequence[Sample], val: Sequence[Sample]) -> dict:
    """The autoencoder, and how well it fills in where the encoder sees the other quarter."""
    torch.manual_seed(0)
    sam = sam_small()
    model, images = mae_small(sam.image_encoder), torch.stack([sample.image for sample in train])
    patches = len(model.decoder_pos_embed[0])

    def batch() -> Tensor:
        drawn = images[torch.randint(len(images), (MAE_BATCH,))]
        return drawn.flip(-1) if torch.rand(()) < 0.5 else drawn

    def loss(model: nn.Module, images: Tensor) -> Tensor:
        x = sam.preprocess(images)
        return mae_loss(model(x, random_masking(len(x), patches, RATIO)[0]), x, 8)

    untrained = mae_error(model, sam, val)
    history = fit(model, batch, loss, steps=MAE_STEPS, seed=0, learning_rate=MAE_RATE, show=False)
    result = {"steps": MAE_STEPS, "seconds": round(history.seconds), "val": mae_error(model, sam, val)}
    made: dict[str, Any] = {
        "steps": MAE_STEPS,
        "batch": MAE_BATCH,
        "learning rate": MAE_RATE,
        "hidden": RATIO,
        "seed": 0,
    }
    save_checkpoint(model.half(), MAE_WEIGHTS, made | {"val": result["val"]})
    return result | {"untrained": untrained}


@torch.no_grad()
def mae_error(model: MaskedAutoencoder, sam: Sam, val: Sequence[Sample]) -> float:
    x = sam.preprocess(torch.stack([sample.image for sample in val]))
    keep, _ = random_masking(len(x), 144, RATIO, torch.Generator().manual_seed(0))
    return round(mae_loss(model.eval()(x, keep), x, 8).item(), 4)


def started(start: str, seed: int) -> Sam:
    torch.manual_seed(seed)
    sam = sam_small(WORDS)
    if start == "MAE":
        taught = mae_small(sam_small().image_encoder)
        load_checkpoint(taught, MAE_WEIGHTS)
        start_from(sam.image_encoder, taught)
    return sam


def trained(
    sam: Sam, train: Sequence[Sample], single_click: str, seed: int, steps: int, rate: float
) -> tuple[Sam, float]:
    drawn = random.Random(seed)

    def loss(model: nn.Module, batch: Prompted) -> dict[str, Tensor]:
        return prompted_loss(model, batch, drawn.choice(ROUNDS), single_click)  # type: ignore[arg-type]

    batches = PromptedBatches(train, PICTURES, MASKS, seed)
    history = fit(sam, batches, loss, steps=steps, seed=seed, learning_rate=rate, show=False)
    return sam, history.seconds


def run(kind: str, seed: int, train: Sequence[Sample], val: Sequence[Sample]) -> dict:
    start, single_click, labelled, rate = KINDS[kind]
    sam, seconds = trained(started(start, seed), train[:labelled], single_click, seed, STEPS, rate)
    return {"steps": STEPS, "seconds": round(seconds), "val": measured(sam, val, single_click != "one")}


def keep(train: Sequence[Sample], val: Sequence[Sample], test: Sequence[Sample]) -> dict:
    sam, seconds = trained(started("MAE", 0), train, "min", 0, KEPT_STEPS, LEARNING_RATE)
    scores = {"val": measured(sam, val), "test": measured(sam, test)}
    made: dict[str, Any] = {
        "steps": KEPT_STEPS,
        "pictures": PICTURES,
        "masks": MASKS,
        "learning rate": LEARNING_RATE,
        "seed": 0,
    }
    names = ("IoU by clicks", "box", "phrase")
    made |= {split: {name: score[name] for name in names} for split, score in scores.items()}
    save_checkpoint(sam.half(), HERE / "17_sam.safetensors", made)
    return {"steps": KEPT_STEPS, "seconds": round(seconds)} | scores


@torch.no_grad()
def measured(sam: Sam, samples: Sequence[Sample], three: bool = True) -> dict:
    """How well masks are hit: by clicks, boxes and phrases; and what is answered to clicks that mean several things."""
    sam.eval()
    clicks, levels, boxes, phrases = [], [], [], []
    vague: dict[str, list[float]] = {name: [] for name in ("truths found", "best", "shown", "guess error")}
    for sample in samples:
        nested, embedding = nested_masks(sample), sam.encode(sample.image[None])
        clicks.append(iou_by_clicks(sam, embedding, nested.masks, CLICKS))
        levels.append(nested.levels)
        corners = masks_to_boxes(nested.masks) + torch.tensor([0, 0, 1, 1])
        boxes.append(hit(sam(embedding, boxes=corners).single().masks, nested.masks)[:, 0])
        named = [place for place, phrase in enumerate(nested.phrases) if phrase]
        if named:
            said = sam(embedding, phrases=[nested.phrases[place] for place in named]).single()
            phrases.append(hit(said.masks, nested.masks[named])[:, 0])
        ambiguous(sam, embedding, nested, three, vague)
    by_clicks, level = torch.cat(clicks), torch.cat(levels)
    return {
        "IoU by clicks": rounded(by_clicks.mean(0)),
        **{f"{name}, by clicks": rounded(by_clicks[level == number].mean(0)) for number, name in enumerate(LEVELS)},
        "box": round(torch.cat(boxes).mean().item(), 4),
        "phrase": round(torch.cat(phrases).mean().item(), 4),
        **{f"several, {name}": round(sum(values) / len(values), 4) for name, values in vague.items()},
        "several, clicks": len(vague["shown"]),
    }


def ambiguous(sam: Sam, embedding: Tensor, nested: Nested, three: bool, record: dict[str, list[float]]) -> None:
    """Click in the middle of each part: the part, its thing and perhaps its group are all meant.

    "best": of each truth the IoU with the closest answer; "truths found": whether that is above 1/2. "shown": the IoU
    of the answer with the best guess with the truth that it is closest to. "guess error": how far its guess is off it.
    """
    parts = nested.masks[nested.levels == LEVELS.index("part")]
    if not len(parts):
        return
    points = torch.tensor([middle_click(part) for part in parts]).float()[:, None]  # (P, 1, 2)
    every = sam(embedding, points, torch.ones(len(parts), 1, dtype=torch.int64))
    output = every.several() if three else every.single()
    answers = F.interpolate(output.masks, nested.masks.shape[1:], mode="bilinear", align_corners=False) > 0
    for point, drawn, guesses in zip(points[:, 0].long(), answers, output.ious, strict=True):
        truths = nested.masks[nested.masks[:, point[1], point[0]]]  # all that hold the pixel: (n, H, W)
        overlap = mask_iou(truths, drawn)  # (n, M)
        best, first = overlap.amax(1), guesses.argmax()
        record["best"] += best.tolist()
        record["truths found"] += (best > 0.5).float().tolist()
        record["shown"].append(overlap[:, first].max().item())
        record["guess error"].append((overlap[:, first].max() - guesses[first]).abs().item())


def hit(logits: Tensor, true: Tensor) -> Tensor:
    """IoU (P, M) of small logits (P, M, h, w) with true masks (P, H, W)."""
    return mask_ious(F.interpolate(logits, true.shape[1:], mode="bilinear", align_corners=False), true)


def rounded(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


if __name__ == "__main__":
    main()
