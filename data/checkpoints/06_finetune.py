"""The experiment of lesson 06, section 11: what fine-tuning is worth, and which examples which classifier wants.

The last two of the five stages learn on warped regions, 32 with a thing (IoU 0.5 or more) and 96 without in each batch,
under a linear layer with a softmax. Then three classifiers judge the regions, with the features of the network as it
came and with those of the tuned one: the softmax, SVMs whose examples are all regions of IoU 0.5 or more, and SVMs
whose examples are the true boxes alone. Three seeds learn from three sets of 150 pictures that share none. Only the
figures are kept, in JSON. About seven minutes of one processor core.

    .venv/bin/python data/checkpoints/06_finetune.py
"""

import copy
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.datasets.toyworld import Toyworld
from lib.models.rcnn import RCNN, RegionClassifier, Regions, draw_batch, label_regions
from lib.ops.detection_metrics import average_precision
from lib.ops.selective_search import selective_search_small
from lib.ops.warp import context_warp
from lib.pretrained import efficientnet_lite0, prepare
from lib.training import fit

HERE = Path(__file__).parent
SEEDS, PICTURES, VALIDATION = (0, 1, 2), 150, 100
TUNING, HEAD_ALONE = 100, 1000  # steps; the head alone is cheap


class Pictures:
    """Some pictures' regions, the true boxes first, each as the maps that the untouched stages make of its crop."""

    def __init__(self, early: nn.Module, world: Toyworld, numbers: range):
        samples = [world[number] for number in numbers]
        boxes = [torch.cat([sample.boxes, selective_search_small(sample.image)]) for sample in samples]
        with torch.no_grad():
            maps = [
                early(prepare(context_warp(sample.image, each, 64, 5))).half() for sample, each in zip(samples, boxes)
            ]
        self.boxes, self.maps = boxes, torch.cat(maps)  # (R, 40, 8, 8)
        self.truth = [{"boxes": sample.boxes, "labels": sample.labels} for sample in samples]

    def regions(self, model: RegionClassifier) -> Regions:
        """What the SVMs and the regression learn from, with the features that this network gives."""
        with torch.no_grad():
            features = torch.cat([model.describe(some.float()) for some in self.maps.split(512)])  # (R, 448)
        each = [
            label_regions(some, boxes, truth["boxes"], truth["labels"], 6)
            for some, boxes, truth in zip(features.split([len(boxes) for boxes in self.boxes]), self.boxes, self.truth)
        ]
        return Regions(*(torch.cat(column) for column in zip(*each)))


def tune(model: nn.Module, inputs: Tensor, regions: Regions, steps: int, seed: int) -> None:
    """Train a classifier of regions on batches of 32 with a thing and 96 without."""
    answers = torch.where(regions.overlap >= 0.5, regions.labels, 0)  # (R,)
    draw = torch.Generator().manual_seed(seed)

    def batch() -> tuple[Tensor, Tensor]:
        places = draw_batch(regions.overlap, draw)
        return inputs[places].float(), answers[places]

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    fit(model, batch, loss, steps=steps, learning_rate=1e-3, seed=seed, device="cpu", show=False)


def loosened(regions: Regions) -> Regions:
    """The same regions, where an SVM's examples are all that overlap a thing of its class by a half or more."""
    of_class = F.one_hot(regions.labels - 1, 5).bool() & (regions.overlap >= 0.5)[:, None]  # (R, 5)
    return regions._replace(kinds=torch.where(of_class, 1, regions.kinds))


def measured(model: RCNN, regions: Regions, pictures: Pictures, scores: Tensor) -> dict[str, float]:
    """How good the detections among the proposals are, whose features and scores are known already."""
    counts, found = [len(boxes) for boxes in pictures.boxes], []
    for features, each, boxes, truth in zip(
        regions.features.split(counts), scores.split(counts), pictures.boxes, pictures.truth
    ):
        true = len(truth["boxes"])  # these come first and are no proposals
        found.append(model.detect(features[true:], boxes[true:], (96, 96), each[true:]))
    precision = average_precision(found, pictures.truth)
    return {name: round(precision[name], 4) for name in ("AP", "AP50", "AP75")}


def judged(train: Regions, val: Regions, pictures: Pictures, network: RegionClassifier, seed: int) -> dict[str, dict]:
    """Three classifiers on the same features, each without the regression of the box and with it."""
    results = {}
    for name, examples in (("softmax", train), ("SVM from 0.5", loosened(train)), ("SVM from 1", train)):
        model = RCNN(torch.flatten, 448, 6, score_threshold=0.01 if name == "softmax" else -1.0)
        if name != "softmax":
            model.fit_svms(examples, seed=seed)
        scores = network.probabilities(val.features) if name == "softmax" else model.svm(val.features)  # (R, 5)
        unmoved = measured(model, val, pictures, scores)
        model.fit_boxes(train)
        results[name] = {"boxes as proposed": unmoved, "boxes moved": measured(model, val, pictures, scores)}
    return results


def main() -> None:
    network = efficientnet_lite0().requires_grad_(False)
    early = nn.Sequential(network.conv_stem, network.bn1, *network.blocks[:3])
    late = nn.Sequential(*network.blocks[3:5])
    world = Toyworld("train", len(SEEDS) * PICTURES)
    val = Pictures(early, Toyworld("val", VALIDATION), range(VALIDATION))
    val_before = val.regions(RegionClassifier(late, 448, 6))
    runs = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        frozen, tuned = RegionClassifier(late, 448, 6), RegionClassifier(copy.deepcopy(late), 448, 6)
        tuned.requires_grad_(True)
        pictures = Pictures(early, world, range(seed * PICTURES, (seed + 1) * PICTURES))
        before = pictures.regions(frozen)
        tune(frozen.head, before.features, before, HEAD_ALONE, seed)
        tune(tuned, pictures.maps, before, TUNING, seed)
        runs.append(
            {
                "seed": seed,
                "regions": len(before.boxes),
                "examples from IoU 0.5": int((before.overlap >= 0.5).sum()),
                "examples of IoU 1": int((before.kinds == 1).any(dim=1).sum()),
                "frozen": judged(before, val_before, val, frozen, seed),
                "tuned": judged(pictures.regions(tuned), val.regions(tuned), val, tuned, seed),
            }
        )
        print(json.dumps(runs[-1]), flush=True)
    made = {"pictures": PICTURES, "validation pictures": VALIDATION, "steps": TUNING, "batch": [32, 96], "runs": runs}
    (HERE / "06_finetune.json").write_text(json.dumps(made, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
