"""The checkpoints of lesson 15: MaskFormer, which goes on from lesson 14's DETR, and its rival.

Every picture is cut into masks: one for the sky, one for the ground, one for each thing. All runs learn from the same
pictures and start with the backbone of lesson 14. MaskFormer starts with DETR's transformer, its 12 queries and its
classes too; its pixel decoder, its mask embeddings, four further queries and the classes sky and ground are drawn at
random.

- "masks": MaskFormer with 16 queries, each true mask matched to one query at its full size. Two seeds, 2,500 steps;
  the weights of seed 0 are kept, in half precision. A query that is to say "nothing" weighs 0.4, not 0.1 as in the
  paper (see lesson 14).
- "shrunk": the same, matched as the paper's code matches: the true masks shrunk to the size of the answers. Seed 0.
  "shrunk, half the rate" has half the learning rate.
- "pixels": one class for each pixel, from the same backbone, pixel decoder and number of steps. Three seeds; the
  weights of seed 0 are kept. "tuning": its learning rate, in short runs of one seed.

What is measured goes to 15_runs.json, run by run: mIoU; AP of the things' masks; PQ, SQ and RQ, of things and of stuff.
Where a network says only classes, connected pixels of one class are taken for one thing, and patches smaller than 1,
16, 32, 64 or 128 pixels for none, whichever is best on validation scenes. For "masks" the two thresholds of the
panoptic merging are tried on validation scenes; the test scenes see the best of them. "pairs" are two things of one
class that touch each other, among 1,000 validation scenes: how many there are, and of how many both things, one, or
none were found. About two and a half hours of one idle processor core. A run that is in 15_runs.json already is not
made again, so a recipe that was cut off goes on where it was; delete the file to begin anew.

    .venv/bin/python data/checkpoints/15_maskformer.py
"""

from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.datasets.toyworld import SEMANTIC_NAMES, Toyworld
from lib.models.detr import detr_small
from lib.models.maskformer import (
    MaskFormer,
    MaskFormerCriterion,
    MaskFormerMatcher,
    PerPixelBaseline,
    Targets,
    maskformer_small,
    picture_masks,
)
from lib.ops.detection_metrics import average_precision
from lib.ops.masks import mask_iou, masks_to_boxes
from lib.ops.panoptic import (
    Panoptic,
    instance_inference,
    panoptic_inference,
    panoptic_of_classes,
    panoptic_of_masks,
    semantic_inference,
)
from lib.ops.panoptic_metrics import panoptic_quality
from lib.ops.segmentation_metrics import confusion_matrix, mean_iou
from lib.training import Batches, fit, load_checkpoint, save_checkpoint, toyworld_segments
from lib.training.runs import once

HERE = Path(__file__).parent
STORE = HERE / "15_runs.json"
SEEDS, BATCH, PICTURES, STEPS, TUNING_STEPS = (0, 1, 2), 16, 2000, 2500, 300
RATES = {"masks": 1e-3, "shrunk": 1e-3, "shrunk, half the rate": 5e-4, "pixels": 2e-3}
TRIED = (5e-4, 1e-3, 2e-3)  # for "pixels"
NOTHING, QUERIES = 0.4, 16
CLASSES = len(SEMANTIC_NAMES)  # K: sky, ground and five kinds of things
STUFF, THINGS = {0, 1}, set(range(2, CLASSES))
THRESHOLDS = [(score, overlap) for score in (0.1, 0.3, 0.5, 0.8) for overlap in (0.3, 0.5, 0.8)]
LEAST = (1, 16, 32, 64, 128)  # pixels of a patch that is taken for a thing

Pictures = tuple[Tensor, list[dict[str, Tensor]]]
Answer = tuple[Tensor, Tensor]  # of one picture: class logits (Q, K + 1), mask logits (Q, H, W)


def main() -> None:
    sizes = {"train": PICTURES, "val": 200, "test": 200, "pairs": 1000}
    worlds = {name: Toyworld("val" if name == "pairs" else name, length) for name, length in sizes.items()}
    splits = {name: toyworld_segments(world) for name, world in worlds.items()}
    for rate in TRIED:
        once(STORE, f"tuning/pixels/{rate}", partial(run, splits, "pixels", 0, rate, TUNING_STEPS))
    for kind, seeds in (("masks", 2), ("shrunk", 1), ("shrunk, half the rate", 1), ("pixels", 3)):
        for seed in SEEDS[:seeds]:
            once(STORE, f"{kind}/{seed}", partial(run, splits, kind, seed, RATES[kind], STEPS))


def run(splits: dict[str, Pictures], kind: str, seed: int, rate: float, steps: int) -> dict:
    model = started(kind, seed)
    matcher = MaskFormerMatcher(enlarge=not kind.startswith("shrunk"))
    criterion = MaskFormerCriterion(CLASSES, matcher, eos_coef=NOTHING)

    def loss(model: nn.Module, batch: Pictures) -> dict[str, Tensor] | Tensor:
        if kind == "pixels":
            return F.cross_entropy(model(batch[0]), torch.stack([class_map(target) for target in batch[1]]))
        return criterion.weighted(criterion(model(batch[0]), batch[1]))

    batches = Batches(*splits["train"], batch_size=BATCH, shuffle=True, flip=True, seed=seed)
    history = fit(model, batches, loss, steps=steps, seed=seed, learning_rate=rate, ema=0.995, show=False)
    result: dict[str, Any] = {"steps": steps, "seconds": round(history.seconds)}
    measure = classes_measured if kind == "pixels" else masks_measured
    result["val"] = measure(model, splits["val"])
    if steps < STEPS:
        return result
    result["test"] = measure(model, splits["test"], result["val"])
    result["pairs"] = pairs_found(model, splits["pairs"], result["val"])
    if seed == SEEDS[0] and not kind.startswith("shrunk"):
        made = {"learning rate": rate, "batch": BATCH, "pictures": PICTURES, "steps": STEPS, "seed": seed}
        names = ("mIoU", "AP", "PQ") if kind == "masks" else ("mIoU", "PQ")
        made |= {split: {name: result[split][name] for name in names} for split in ("val", "test")}
        name = {"masks": "15_maskformer", "pixels": "15_per_pixel"}[kind]
        save_checkpoint(model.half(), HERE / f"{name}.safetensors", made)
    return result


def started(kind: str, seed: int) -> nn.Module:
    """The network before training: DETR's parts, and the rest drawn at random."""
    detr = detr_small()
    load_checkpoint(detr, HERE / "14_detr.safetensors")
    torch.manual_seed(seed)
    queries = QUERIES if kind != "pixels" else 20  # which the rival does not keep; it was drawn so
    model = maskformer_small(CLASSES, queries)
    model.backbone.load_state_dict(detr.backbone[0].state_dict())
    if kind == "pixels":
        return PerPixelBaseline(model, CLASSES)
    model.transformer.load_state_dict(detr.transformer.state_dict())
    model.input_proj.load_state_dict(detr.input_proj.state_dict())
    model.query_embed.weight.data[: detr.num_queries] = detr.query_embed.weight.data
    for mine, theirs in zip(model.class_embed.parameters(), detr.class_embed.parameters(), strict=True):
        mine.data[min(THINGS) :] = theirs.data[1:]  # the things and "nothing"; DETR's class 0 stood for no thing
    return model


def class_map(target: dict[str, Tensor]) -> Tensor:
    """The class of each pixel, (H, W) int64."""
    return (target["masks"] * target["labels"][:, None, None]).sum(dim=0)


@torch.no_grad()
def answers_of(model: nn.Module, pictures: Pictures) -> list[Answer]:
    answers: list[Answer] = []
    for images, _ in Batches(*pictures):
        said = model.eval()(images)
        answers += zip(said["pred_logits"], picture_masks(said["pred_masks"], said["images"]), strict=True)
    return answers


@torch.no_grad()
def classes_of(model: nn.Module, pictures: Pictures) -> list[Tensor]:
    """The class that a network says of each pixel, (H, W) for each picture."""
    if isinstance(model, MaskFormer):
        return [semantic_inference(*answer).argmax(dim=0) for answer in answers_of(model, pictures)]
    return [one for images, _ in Batches(*pictures) for one in model.eval()(images).argmax(dim=1)]


def masks_measured(model: nn.Module, pictures: Pictures, tried: dict | None = None) -> dict:
    """All three tasks. `tried`: what validation scenes said, where the thresholds were chosen."""
    answers = answers_of(model, pictures)
    result = miou([semantic_inference(*answer).argmax(dim=0) for answer in answers], pictures[1])
    result |= mask_ap(answers, pictures[1])
    choices = THRESHOLDS if tried is None else [tuple(tried["thresholds"])]
    scores = {
        pair: panoptic([panoptic_inference(*one, THINGS, *pair) for one in answers], pictures[1]) for pair in choices
    }
    best = max(scores, key=lambda pair: scores[pair]["PQ"])
    if tried is None:
        result["PQ by thresholds"] = {f"{score}, {overlap}": scores[score, overlap]["PQ"] for score, overlap in choices}
    return result | scores[best] | {"thresholds": list(best)}


def classes_measured(model: nn.Module, pictures: Pictures, tried: dict | None = None) -> dict:
    """Semantic, and panoptic by connected patches."""
    classes = classes_of(model, pictures)
    choices = LEAST if tried is None else (tried["least"],)
    scores = {
        least: panoptic([panoptic_of_classes(one, THINGS, least) for one in classes], pictures[1]) for least in choices
    }
    best = max(scores, key=lambda least: scores[least]["PQ"])
    return miou(classes, pictures[1]) | scores[best] | {"least": best}


def miou(classes: list[Tensor], targets: Targets) -> dict[str, float]:
    pairs = zip(classes, targets, strict=True)
    matrix = sum(confusion_matrix(said[None], class_map(target)[None], CLASSES) for said, target in pairs)
    return {"mIoU": round(float(mean_iou(torch.as_tensor(matrix))), 4)}


def mask_ap(answers: list[Answer], targets: Targets) -> dict[str, float]:
    """AP of the masks of things."""
    found = [instance_inference(*answer, THINGS) for answer in answers]
    truth = [things_of(target) for target in targets]
    for one in (*found, *truth):
        one["boxes"] = masks_to_boxes(one["masks"]) if len(one["masks"]) else torch.empty(0, 4)
    measured = average_precision(found, truth, "segm")
    return {name: round(float(measured[name]), 4) for name in ("AP", "AP50", "AP75")}


def things_of(target: dict[str, Tensor]) -> dict[str, Tensor]:
    keep = target["labels"] >= min(THINGS)
    return {name: value[keep] for name, value in target.items()}


def panoptic(found: list[Panoptic], targets: Targets) -> dict[str, float]:
    truth = [panoptic_of_masks(target["masks"], target["labels"], THINGS) for target in targets]
    measured = panoptic_quality(found, truth, THINGS, STUFF)
    return {name: round(value, 4) for name, value in measured.items() if name != "per_class"}


def pairs_found(model: nn.Module, pictures: Pictures, tried: dict) -> dict[str, int]:
    """Two things of a class that touch: of how many pairs are both found, one, none?"""
    if isinstance(model, MaskFormer) and "thresholds" in tried:
        found = [panoptic_inference(*one, THINGS, *tried["thresholds"]) for one in answers_of(model, pictures)]
    else:
        found = [panoptic_of_classes(one, THINGS, tried["least"]) for one in classes_of(model, pictures)]
    counts = {"pairs": 0, "both": 0, "one": 0, "none": 0}
    for (numbers, segments), target in zip(found, pictures[1], strict=True):
        things = things_of(target)
        said = {kind: [one["id"] for one in segments if one["label"] == kind] for kind in THINGS}
        for one, other in combinations(range(len(things["labels"])), 2):
            kind = int(things["labels"][one])
            if kind != things["labels"][other] or not touch(*things["masks"][[one, other]]):
                continue
            masks = torch.stack([numbers == number for number in said[kind]] or [torch.zeros_like(numbers).bool()])
            hits = int((mask_iou(things["masks"][[one, other]], masks).amax(dim=1) > 0.5).sum())
            counts["pairs"] += 1
            counts[("none", "one", "both")[hits]] += 1
    return counts


def touch(one: Tensor, other: Tensor) -> bool:
    """Whether some pixel of one mask (H, W) lies beside a pixel of the other."""
    down, right = (
        (one[1:] & other[:-1]) | (one[:-1] & other[1:]),
        (one[:, 1:] & other[:, :-1]) | (one[:, :-1] & other[:, 1:]),
    )
    return bool(down.any() or right.any())


if __name__ == "__main__":
    main()
