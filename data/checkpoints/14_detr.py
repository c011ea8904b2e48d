"""The checkpoint of lesson 14: DETR on the trunk of lesson 09's YOLO v2, and what becomes of it without its matching.

In the paper the backbone has learned ImageNet; here it comes from a detector that has learned the same pictures. It
goes on learning. Three seeds:

- "set": 4,000 steps of 16 pictures, each true box matched to one query. The weights of seed 0 are kept, in half
  precision. A query that is to say "nothing" weighs 0.5, not 0.1 as in the paper: there are 12
  queries and some three things here, not 100 and seven, and so "nothing" weighs a third more than all things, as there;
- "set, 500 more": 500 further steps in the same way, for comparison with
- "nearest, 500 more": 500 further steps in which each query that overlaps a true box by half answers for the box that
  it overlaps most, as anchors do in lesson 08; the cheapest query of a box answers for it in any case.

One seed: "three queries" is trained as "set" with 3 queries instead of 12; "a half" and "a tenth" in 2,500 steps, where
"nothing" weighs 0.5 and 0.1.

What is measured goes to 14_runs.json, run by run, on validation scenes and, for "set", once at the end, on test scenes:
AP and AP50 of each decoder layer's answers, as they are and after non-maximum suppression; how many answers with a
probability of at least 1/2 there are for 100 things, and how many of them are duplicates; how much of the encoder's
attention stays on the thing from whose fullest cell it comes, by layer and head, beside the share of the picture that
this thing fills; how many things of a scene are found, by how many there are. "yolo v2" is lesson 09's detector with
and without its suppression. About two hours of one idle processor core. A run that is in 14_runs.json already is not
made again, so a recipe that was cut off goes on where it was; delete the file to begin anew. The weights that later
runs go on from are kept in the folder of the course's data.

    .venv/bin/python data/checkpoints/14_detr.py
"""

from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms

from lib.datasets.folders import data_dir
from lib.datasets.toyworld import Toyworld
from lib.models.detr import DETR, DETROutput, HungarianMatcher, PostProcess, SetCriterion, Targets, detr_small
from lib.models.yolo import yolo_v2_small
from lib.ops.boxes import box_cxcywh_normalized_to_xyxy, box_iou
from lib.ops.set_losses import Indices
from lib.training import Batches, evaluate_detection, fit, load_checkpoint, save_checkpoint, toyworld_detection
from lib.training.runs import once

HERE = Path(__file__).parent
STORE = HERE / "14_runs.json"
SEEDS, BATCH, PICTURES, STEPS, LEARNING_RATE = (0, 1, 2), 16, 2000, 4000, 1e-3
SHORT, MORE, MORE_RATE = 2500, 500, 3e-4
NOTHING, TENTH = 0.5, 0.1  # what a query that is to say "nothing" weighs, here and in the paper
SURE, OVERLAP = 0.5, 0.5

Pictures = tuple[Tensor, list[dict[str, Tensor]]]
Answers = list[dict[str, Tensor]]


class NearestMatcher(HungarianMatcher):
    """Each query to the true box that it overlaps most, if by half; and the cheapest query of each box to this box."""

    @torch.no_grad()
    def forward(self, outputs: DETROutput, targets: Targets) -> Indices:
        indices = []
        cheapest = super().forward(outputs, targets)
        for boxes, size, target, (best, owned) in zip(outputs["pred_boxes"], outputs["image_sizes"], targets, cheapest):
            overlap = box_iou(box_cxcywh_normalized_to_xyxy(boxes, size), target["boxes"])  # (Q, n)
            most, nearest = overlap.max(dim=1)  # (Q,) each
            nearest[best], most[best] = owned, 1.0
            queries = torch.nonzero(most >= OVERLAP)[:, 0]
            indices.append((queries, nearest[queries]))
        return indices


def main() -> None:
    sizes = {"train": PICTURES, "val": 200, "test": 200}
    splits = {name: toyworld_detection(Toyworld(name, length), masks=True) for name, length in sizes.items()}
    once(STORE, "yolo v2", lambda: {split: yolo(splits[split]) for split in ("val", "test")})
    for seed in SEEDS:
        once(STORE, f"set/{seed}", partial(whole_run, splits, seed))
    once(STORE, "three queries/0", partial(whole_run, splits, 0, num_queries=3))
    for name, nothing in (("a half", NOTHING), ("a tenth", TENTH)):
        once(STORE, f"{name}/0", partial(whole_run, splits, 0, steps=SHORT, nothing=nothing))
    for seed in SEEDS:
        for name, matcher in (("set", HungarianMatcher()), ("nearest", NearestMatcher())):
            once(STORE, f"{name}, {MORE} more/{seed}", partial(further_run, splits, seed, matcher))


def weights_of(seed: int) -> Path:
    return data_dir() / "trained" / f"14_detr_{seed}.pt"


def started(seed: int, num_queries: int) -> DETR:
    """The network before training: lesson 09's backbone, the rest drawn at random."""
    yolo_v2 = yolo_v2_small()
    load_checkpoint(yolo_v2, HERE / "09_yolo_v2.safetensors")
    torch.manual_seed(seed)
    return detr_small(num_queries=num_queries, backbone=yolo_v2.backbone)


def whole_run(
    splits: dict[str, Pictures], seed: int, num_queries: int = 12, steps: int = STEPS, nothing: float = NOTHING
) -> dict:
    model = started(seed, num_queries)
    untrained = attention_inside(model, splits["val"])
    criterion = SetCriterion(6, eos_coef=nothing)
    seconds = taught(model, splits["train"], criterion, steps, LEARNING_RATE, seed)
    result = {"steps": steps, "seconds": seconds}
    result |= {split: layers(model, splits[split]) for split in ("val", "test")}
    result |= {"found by number": found_by_number(model, splits["val"])}
    result |= {"attention": attention_inside(model, splits["val"]), "attention, untrained": untrained}
    if num_queries < 12 or steps < STEPS:
        return result
    weights_of(seed).parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), weights_of(seed))
    if seed == SEEDS[0]:
        made = {"learning rate": LEARNING_RATE, "batch": BATCH, "pictures": PICTURES, "steps": STEPS, "seed": seed}
        made |= {split: {name: result[split][-1][name] for name in ("AP", "AP50")} for split in ("val", "test")}
        save_checkpoint(model.half(), HERE / "14_detr.safetensors", made)
    return result


def further_run(splits: dict[str, Pictures], seed: int, matcher: HungarianMatcher) -> dict:
    model = detr_small()
    model.load_state_dict(torch.load(weights_of(seed)))
    criterion = SetCriterion(6, matcher, eos_coef=NOTHING)
    seconds = taught(model, splits["train"], criterion, MORE, MORE_RATE, seed)
    return {"steps": MORE, "seconds": seconds, "val": layers(model, splits["val"])}


def taught(model: DETR, train: Pictures, criterion: SetCriterion, steps: int, rate: float, seed: int) -> int:
    """Teach, and say how many seconds it took."""

    def loss(model: nn.Module, batch: Pictures) -> dict[str, Tensor]:
        return criterion.weighted(criterion(model(batch[0]), batch[1]))

    batches = Batches(*train, batch_size=BATCH, shuffle=True, flip=True, seed=seed)
    history = fit(model, batches, loss, steps=steps, seed=seed, learning_rate=rate, ema=0.995, show=False)
    return round(history.seconds)


def yolo(pictures: Pictures) -> dict[str, float]:
    """Lesson 09's detector, its suppression left to `quality`."""
    detector = yolo_v2_small()
    load_checkpoint(detector, HERE / "09_yolo_v2.safetensors")
    detector.nms_thresh, detector.detections_per_img = 1.0, 1000  # nothing is suppressed
    return quality([found for images, _ in Batches(*pictures) for found in asked(detector, images)], pictures[1])


@torch.no_grad()
def asked(detector: nn.Module, images: Tensor) -> Answers:
    return detector.eval()(images)


def layers(model: DETR, pictures: Pictures) -> list[dict[str, float]]:
    """How good the answers of each decoder layer are."""
    return [quality(answers, pictures[1]) for answers in answers_of_layers(model, pictures)]


@torch.no_grad()
def answers_of_layers(model: DETR, pictures: Pictures) -> list[Answers]:
    said: list[Answers] = [[] for _ in model.transformer.decoder.layers]
    for images, _ in Batches(*pictures):
        outputs = model.eval()(images)
        for answers, layer in zip(said, [*outputs["aux_outputs"], outputs], strict=True):
            answers += PostProcess()(layer)
    return said


def found_by_number(model: DETR, pictures: Pictures) -> dict[str, float]:
    """How many things are found in a scene of 1, 2 ... things, on average."""
    found: dict[str, list[float]] = {}
    for said, target in zip(answers_of_layers(model, pictures)[-1], pictures[1], strict=True):
        things = len(target["labels"])
        found.setdefault(str(things), []).append(sure_answers([said], [target])["found"] / 100 * things)
    return {number: round(sum(some) / len(some), 3) for number, some in sorted(found.items())}


def quality(answers: Answers, truth: list[dict[str, Tensor]]) -> dict[str, float]:
    """Precision with and without suppression, and duplicates."""
    result = {}
    for words, found in (("", answers), (" with NMS", [suppressed(one) for one in answers])):
        measured = precision(found, truth)
        result |= {f"{name}{words}": round(float(measured[name]), 4) for name in ("AP", "AP50", "AP75")}
        result |= {f"{name}{words}": value for name, value in sure_answers(found, truth).items()}
    return result


def precision(answers: Answers, truth: list[dict[str, Tensor]]) -> dict:
    """`evaluate_detection` of answers that are there already."""
    nothing = torch.zeros(len(truth), 3, 1, 1)
    return evaluate_detection(nn.Identity(), [(nothing, truth)], predict=lambda *_: answers)


def suppressed(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """An answer that overlaps a surer one of its class by more than half goes."""
    kept = batched_nms(found["boxes"], found["scores"], found["labels"], OVERLAP)
    return {name: value[kept] for name, value in found.items()}


def sure_answers(answers: Answers, truth: list[dict[str, Tensor]]) -> dict[str, float]:
    """Of 100 things: how many are found; how many sure answers there are, and how many of them are duplicates."""
    things = found = duplicates = given = 0
    for said, target in zip(answers, truth, strict=True):
        sure = said["scores"] >= SURE
        same = said["labels"][sure, None] == target["labels"]
        hits = ((box_iou(said["boxes"][sure], target["boxes"]) >= OVERLAP) & same).sum(dim=0)  # (n,)
        things, given = things + len(hits), given + int(sure.sum())
        found, duplicates = found + int((hits > 0).sum()), duplicates + int((hits - 1).clamp(min=0).sum())
    numbers = {"found": found, "answers": given, "duplicates": duplicates}
    return {name: round(100 * value / max(things, 1), 2) for name, value in numbers.items()}


@torch.no_grad()
def attention_inside(model: DETR, pictures: Pictures) -> dict:
    """Of the encoder's attention from the cell that a thing fills most: the share that stays on the thing.

    Cells count by how much of them is the thing's. "others" is what goes to other things.
    """
    own, others, area, others_area = [], [], [], []
    for images, targets in Batches(*pictures):
        looked = model.eval().attention(images)[1].encoder_attention  # of each layer (B, heads, 12, 12, 12, 12)
        for place, target in enumerate(targets):
            fills = F.adaptive_avg_pool2d(target["masks"].float(), looked[0].shape[-2:]).flatten(1)  # (n, 144)
            cells = fills.argmax(dim=1)  # (n,)
            maps = torch.stack(
                [layer[place].flatten(3).flatten(1, 2)[:, cells] for layer in looked]
            )  # (., heads, n, 144)
            own.append((maps * fills).sum(dim=-1))  # (layers, heads, n)
            others.append((maps * (fills.sum(dim=0) - fills)).sum(dim=-1))
            area.append(fills.mean(dim=1))
            others_area.append((fills.sum(dim=0) - fills).mean(dim=1))
    found = {"own": own, "own area": area, "others": others, "others' area": others_area}
    return {name: torch.cat(one, dim=-1).mean(dim=-1).mul(1e4).round().div(1e4).tolist() for name, one in found.items()}


if __name__ == "__main__":
    main()
