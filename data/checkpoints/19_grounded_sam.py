"""The checkpoints of lesson 19: a detector that reads words, and what its labels are worth.

Five pairs of colour and shape are held out (`lib.datasets.toyworld.pairs`): the 2,000 training scenes are parted into
those that show none of them, on which all detectors are taught, and the rest, which wait for labels. Three seeds of:

- "closed": a YOLO of 2017 with a class for each of the 40 pairs, 2,000 steps. It has no way to a pair that it never
  saw. Its trunk is where the others begin, so that no part of them has seen a held-out pair.
- "grounding": Grounding DINO, small, 2,000 steps with captions drawn anew; with words that see their own phrase alone
  ("sub-sentence"), and with words that see the whole caption ("whole caption").
- "labels": the scenes that wait are labelled with the five shapes by "sub-sentence" and SAM, and a YOLO begins from
  nothing and learns, 1,000 steps, from these labels, from those of them that are right, or from the truth.

SAM is lesson 17's, which was asked by clicks, boxes and words for parts, things, groups and stuff. Here it only ever
gets a box around a thing, so it practises that once, 1,500 steps on all training scenes ("sam_boxes").

How many things of each pair are seen goes to 19_runs.json, and all that is measured on 400 test scenes: AP at an IoU of
0.5 over the 35 pairs that were seen and over the 5 that were not; how much a phrase's best score changes when other
phrases are asked beside it; the masks of phrases by SAM, as lesson 12 measures masks. The labels' threshold is chosen
on validation scenes, where the truth is known. A run that is in 19_runs.json already is not made again. Of seed 0 the
weights are kept, in half precision.

    .venv/bin/python data/checkpoints/19_grounded_sam.py
"""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.datasets.toyworld import CLASSES, COLOURS, SIZES, Sample, Toyworld
from lib.datasets.toyworld.pairs import WORDS, held_out, names, without_pairs
from lib.models.grounding import GroundingCriterion, GroundingDINO, grounding_small
from lib.models.sam import WEIGHTS, Sam, min_over_masks_loss, sam_small
from lib.models.yolo import YOLOv2, yolo_v2_small
from lib.ops.boxes import box_iou
from lib.ops.detection_metrics import average_precision
from lib.ops.masks import mask_iou
from lib.training import Batches, evaluate_detection, fit, load_checkpoint, save_checkpoint
from lib.training.data_engine import masks_in_boxes
from lib.training.grounding import CaptionBatches, Captioned, auto_label, find_phrases, phrase_truth
from lib.training.prompting import MaskBatches, Prompted, first_prompt
from lib.training.runs import once

HERE = Path(__file__).parent
STORE = HERE / "19_runs.json"
SEEDS, SCENES, TEST, VAL = (0, 1, 2), 2000, 400, 200
CLOSED_STEPS, STEPS, LABEL_STEPS, BATCH = 2000, 2000, 1000, 8
CLOSED_RATE, RATE = 4e-3, 1e-3
BOX_STEPS, BOX_RATE, PICTURES, MASKS = 1500, 1e-3, 8, 4
PAIRS = tuple(f"{colour} {kind}" for colour in COLOURS for kind in CLASSES)
NEW = tuple(number for number, pair in enumerate(PAIRS) if held_out(pair))
THRESHOLDS, SAME, AGREE = (0.2, 0.3, 0.4, 0.5, 0.6), 0.5, 0.3
KINDS = {"sub-sentence": True, "whole caption": False}

Found = dict[str, Tensor]


def main() -> None:
    train, val, test = (scenes(*one) for one in (("train", SCENES), ("val", VAL), ("test", TEST)))
    seen = without_pairs(train)
    ids = {id(sample) for sample in seen}
    waiting = [sample for sample in train if id(sample) not in ids]
    once(STORE, "taught with", lambda: {"scenes": len(seen), "things": things_of_pairs(seen)})
    once(STORE, "sam_boxes", partial(practise, train, val))
    for seed in SEEDS:
        run(seen, waiting, val, test, seed)


def scenes(split: str, count: int) -> list[Sample]:
    world = Toyworld(split, count, 96)
    return [world[index] for index in range(count)]


def things_of_pairs(samples: Sequence[Sample]) -> dict[str, int]:
    """How many things there are of each pair of colour and shape."""
    return {pair: sum(names(pair, thing) for sample in samples for thing in sample.phrases) for pair in PAIRS}


def run(
    seen: Sequence[Sample], waiting: Sequence[Sample], val: Sequence[Sample], test: Sequence[Sample], seed: int
) -> None:
    """Everything of one seed: what is in 19_runs.json is not made again, so weights are kept until its end."""
    done: dict[str, dict] = {}

    def make() -> dict:
        closed = closed_set(seen, seed)
        done["closed"] = on_pairs(partial(asked_closed, closed), test)
        print(seed, done, flush=True)
        models = {name: grounding(closed, seen, split, seed) for name, split in KINDS.items()}
        for name, model in models.items():
            done[name] = on_pairs(partial(find_phrases, model, phrases=PAIRS), test) | company(model, test)
            print(seed, name, done[name], flush=True)
            keep(model, name.replace(" ", "_").replace("-", "_"), seed)
        keep(closed, "closed", seed)
        best, sam = models["sub-sentence"], loaded("19_sam_boxes")
        done["masks"] = masks_of_shapes(best, sam, test)
        done["masks, lesson 17"] = masks_of_shapes(best, loaded("17_sam"), test)
        done["labels"] = labelled(best, sam, waiting, val, test, seed)
        return done

    once(STORE, f"seed/{seed}", make)


def closed_set(samples: Sequence[Sample], seed: int) -> YOLOv2:
    """A detector of the 40 pairs, as classes 1 to 40."""
    torch.manual_seed(seed)
    model = yolo_v2_small(len(PAIRS))
    targets = [phrase_truth(sample, PAIRS) for sample in samples]
    return taught(model, samples, [{"boxes": one["boxes"], "labels": one["labels"] + 1} for one in targets], seed)


def taught(
    model: YOLOv2, samples: Sequence[Sample], targets: list[dict[str, Tensor]], seed: int, steps: int = CLOSED_STEPS
) -> YOLOv2:
    images = torch.stack([sample.image for sample in samples]).mul(255).round().byte()
    batches = Batches(images, targets, batch_size=BATCH, shuffle=True, flip=True, seed=seed)
    fit(
        model,
        batches,
        lambda _, batch: model.loss(*batch),
        steps=steps,
        seed=seed,
        learning_rate=CLOSED_RATE,
        show=False,
    )
    return model


def grounding(closed: YOLOv2, samples: Sequence[Sample], sub_sentence: bool, seed: int) -> GroundingDINO:
    torch.manual_seed(seed)
    model = grounding_small(WORDS, sub_sentence=sub_sentence, backbone=copy.deepcopy(closed.backbone))
    criterion = GroundingCriterion()

    def loss(model: nn.Module, batch: Captioned) -> dict[str, Tensor]:
        return criterion.weighted(criterion(model(batch.images, batch.captions), batch.targets))

    fit(model, CaptionBatches(samples, BATCH, seed), loss, steps=STEPS, seed=seed, learning_rate=RATE, show=False)
    return model


def asked_closed(model: YOLOv2, image: Tensor) -> Found:
    with torch.no_grad():
        found = model(image[None])[0]
    return found | {"labels": found["labels"] - 1}


def on_pairs(ask: Callable[[Tensor], Found], samples: Sequence[Sample]) -> dict:
    """AP50 and AP over the pairs that were seen in training, and over those that were not."""
    found = [ask(sample.image) for sample in samples]
    truth = [phrase_truth(sample, PAIRS) for sample in samples]
    new = torch.tensor(NEW)
    result = {}
    for name, wanted in (("seen", False), ("held out", True)):
        parts = [[only(one, torch.isin(one["labels"], new) == wanted) for one in many] for many in (found, truth)]
        measured = average_precision(*parts)
        result[name] = {key: round(measured[key], 4) for key in ("AP50", "AP")}
        result[name]["things"] = sum(len(one["labels"]) for one in parts[1])
    return result


def only(one: Found, which: Tensor) -> Found:
    return {name: value[which] for name, value in one.items() if name != "masks"}


@torch.no_grad()
def company(model: GroundingDINO, samples: Sequence[Sample]) -> dict:
    """How much a phrase's best score changes when it is asked with seven others, in place of alone: the mean."""
    changes = []
    for sample in samples[:100]:
        for phrase in set(sample.phrases):
            others = [one for one in PAIRS[:8] if one != phrase][:7]
            alone, beside = (best_score(model, sample.image, several) for several in ([phrase], [phrase, *others]))
            changes.append(abs(alone - beside))
    return {"change in company": round(sum(changes) / len(changes), 4)}


def best_score(model: GroundingDINO, image: Tensor, phrases: list[str]) -> float:
    """The best score of the first phrase."""
    found = find_phrases(model, image, phrases, len(phrases), threshold=0.0)
    return found["scores"][found["labels"] == 0].max().item()


def practise(samples: Sequence[Sample], val: Sequence[Sample]) -> dict:
    """SAM goes on learning, with boxes around things alone, moved a little as in the paper; one mask answers."""
    model = loaded("17_sam")
    result: dict = {"before": iou_in_boxes(model, val)}
    batches = MaskBatches([one.image for one in samples], [one.masks for one in samples], PICTURES, MASKS, seed=0)

    def loss(model: nn.Module, batch: Prompted) -> dict[str, Tensor]:
        embeddings = model.encode(batch.images).repeat_interleave(MASKS, dim=0)  # (P, D, h, w)
        (points, labels, *_), _ = first_prompt(batch, {"box": 1.0})
        answer = model(embeddings, points, labels, pad=False).single()
        losses = min_over_masks_loss(answer, batch.masks)
        return {name: WEIGHTS[name] * one for name, one in losses.items()}

    fit(model, batches, loss, steps=BOX_STEPS, seed=0, learning_rate=BOX_RATE, show=False)
    result["after"] = iou_in_boxes(model.eval(), val)
    save_checkpoint(copy.deepcopy(model).half(), HERE / "19_sam_boxes.safetensors", result | {"steps": BOX_STEPS})
    return result


def iou_in_boxes(model: Sam, samples: Sequence[Sample]) -> float:
    """The mean IoU of a thing's mask if SAM is given its true box."""
    overlaps = [
        mask_iou(masks_in_boxes(model, one.image, one.boxes), one.masks).diagonal() for one in samples if len(one.boxes)
    ]
    return round(torch.cat(overlaps).mean().item(), 4)


def loaded(name: str) -> Sam:
    sam = sam_small(words=(*SIZES, *COLOURS, *CLASSES))
    load_checkpoint(sam, HERE / f"{name}.safetensors")
    return sam.eval()


def masks_of_shapes(model: GroundingDINO, sam: Sam, samples: Sequence[Sample]) -> dict:
    """Box AP and mask AP of "sphere", "crate" ...; and mask AP if SAM is given the true boxes."""
    found, cheated, truth = [], [], []
    for sample in samples:
        one = find_phrases(model, sample.image, CLASSES)
        found.append(one | {"masks": masks_in_boxes(sam, sample.image, one["boxes"])})
        true = phrase_truth(sample, CLASSES)
        truth.append(true)
        scores = torch.ones(len(true["labels"]))
        cheated.append(true | {"masks": masks_in_boxes(sam, sample.image, true["boxes"]), "scores": scores})
    named = {"box": (found, "bbox"), "mask": (found, "segm"), "mask in true boxes": (cheated, "segm")}
    result = {name: average_precision(one, truth, kind) for name, (one, kind) in named.items()}
    return {name: {key: round(one[key], 4) for key in ("AP", "AP50", "AP75")} for name, one in result.items()}


def labelled(
    model: GroundingDINO, sam: Sam, waiting: Sequence[Sample], val: Sequence[Sample], test: Sequence[Sample], seed: int
) -> dict:
    """Label scenes, see how good that is, and teach a detector with it."""
    chosen = max(THRESHOLDS, key=lambda one: judged(labels_of(model, sam, val, one), val)["F1"])
    made = labels_of(model, sam, waiting, chosen)
    result: dict = {"threshold": chosen, "scenes": len(waiting), **judged(made, waiting)}
    truth = [phrase_truth(sample, CLASSES) for sample in waiting]
    right = [
        only(one, torch.tensor(claimed(one, true), dtype=torch.bool)) for one, true in zip(made, truth, strict=True)
    ]
    exam = Batches(
        torch.stack([sample.image for sample in test]).mul(255).round().byte(),
        [{"boxes": sample.boxes, "labels": sample.labels} for sample in test],
    )
    for name, targets in (("auto", made), ("right ones", right), ("truth", truth)):
        torch.manual_seed(seed)
        shifted = [{"boxes": one["boxes"], "labels": one["labels"] + 1} for one in targets]
        learner = taught(yolo_v2_small(), waiting, shifted, seed, LABEL_STEPS)
        measured = evaluate_detection(learner, exam)
        result[name] = {key: round(measured[key], 4) for key in ("AP", "AP50", "AP75")}
        print(seed, name, result, flush=True)
    return result


def labels_of(model: GroundingDINO, sam: Sam, samples: Sequence[Sample], threshold: float) -> list[Found]:
    made = []
    for sample in samples:
        found = find_phrases(model, sample.image, CLASSES)
        masks = masks_in_boxes(sam, sample.image, found["boxes"])
        made.append(auto_label(found["boxes"], found["scores"], found["labels"], masks, threshold, SAME, AGREE))
    return made


def judged(made: Sequence[Found], samples: Sequence[Sample]) -> dict:
    """Of the labels the share that is right (a thing of this kind, IoU at least 0.5, none twice), of the things the
    share that has one, and what both make together."""
    right = labels = things = 0
    for one, sample in zip(made, samples, strict=True):
        truth = phrase_truth(sample, CLASSES)
        right += sum(claimed(one, truth))
        labels, things = labels + len(one["labels"]), things + len(truth["labels"])
    precision, recall = right / max(labels, 1), right / max(things, 1)
    both = 2 * precision * recall / max(precision + recall, 1e-9)
    numbers = {"right": precision, "found": recall, "F1": both}
    return {"labels": labels} | {name: round(value, 4) for name, value in numbers.items()}


def claimed(made: Found, truth: Found) -> list[bool]:
    """Which labels, the best first, claim a thing of their kind that none before them has claimed."""
    free = [True] * len(truth["labels"])
    right = []
    for box, label in zip(made["boxes"], made["labels"].tolist()):
        overlaps = box_iou(box[None], truth["boxes"])[0].tolist()
        fits = [
            (overlap, place)
            for place, overlap in enumerate(overlaps)
            if free[place] and int(truth["labels"][place]) == label and overlap >= 0.5
        ]
        if fits:
            free[max(fits)[1]] = False
        right.append(bool(fits))
    return right


def keep(model: nn.Module, name: str, seed: int) -> None:
    """Write the weights of seed 0 down, in half precision; the model itself stays as it is."""
    if seed == SEEDS[0]:
        save_checkpoint(copy.deepcopy(model).half(), HERE / f"19_{name}.safetensors", {"seed": seed})


if __name__ == "__main__":
    main()
