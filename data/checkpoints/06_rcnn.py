"""The checkpoint of lesson 06: five SVMs and five box regressions on features of the ImageNet network.

The network itself is not trained; its weights come with a package. Three seeds learn from three sets of 300 pictures
that share none; the first one is kept. Beside the weights stands, in JSON, how each did on the validation scenes, whole
and with a part left out, and how the first one did on the test scenes. About ten minutes of one processor core, nearly
all of it spent on features.

    .venv/bin/python data/checkpoints/06_rcnn.py
"""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lib.datasets.toyworld import Toyworld
from lib.models.rcnn import RCNN, Regions
from lib.ops.detection_metrics import average_precision
from lib.ops.selective_search import selective_search_small
from lib.pretrained import efficientnet_lite0, halfway_features
from lib.training import save_checkpoint

HERE = Path(__file__).parent
SEEDS, PICTURES, CONTEXT = (0, 1, 2), 300, 5


def main() -> None:
    network = efficientnet_lite0().requires_grad_(False)
    world = {split: Toyworld(split, length) for split, length in (("train", len(SEEDS) * PICTURES), ("val", 200))}
    proposals = {
        split: [selective_search_small(sample.image) for sample in samples] for split, samples in world.items()
    }
    scores = []
    for context in (CONTEXT, 0):
        asked = RCNN(partial(halfway_features, network), 448, 6, context=context)
        val = seen(asked, world["val"], proposals["val"], range(200))
        for seed in SEEDS:
            numbers = range(seed * PICTURES, (seed + 1) * PICTURES)
            train = together(seen(asked, world["train"], proposals["train"], numbers))
            detector = RCNN(partial(halfway_features, network), 448, 6, context=context)
            if context == 0:
                detector.fit_svms(train, seed=seed)
                detector.fit_boxes(train)
                scores[seed]["without context"] = measured(detector, val)
                continue
            detector.fit_svms(train, rounds=0, seed=seed)
            few = measured(detector, val)
            used = detector.fit_svms(train, seed=seed)
            unmoved = measured(detector, val)
            detector.fit_boxes(train)
            scores.append(
                {
                    "seed": seed,
                    "counterexamples": used,
                    "whole": measured(detector, val),
                    "without regression": unmoved,
                    "without regression and hard negatives": few,
                }
            )
            if seed == SEEDS[0]:
                kept = detector
            print(scores[-1], flush=True)
    test_world = Toyworld("test", 200)
    proposals["test"] = [selective_search_small(sample.image) for sample in test_world]
    test = measured(kept, seen(kept, test_world, proposals["test"], range(200)))
    regions = sum(map(len, proposals["train"])) / len(proposals["train"])
    made = {"pictures": PICTURES, "regions a picture": round(regions), "val": scores, "test": test}
    save_checkpoint(kept, HERE / "06_rcnn.safetensors", made)
    print(made)


def seen(model: RCNN, world: Toyworld, proposals: list[Tensor], numbers: range) -> list[tuple[Regions, int]]:
    """Of each picture its regions, the true boxes first and then the proposals, and how many true boxes there are."""
    samples = [(world[number], proposals[number]) for number in numbers]
    return [
        (model.regions(sample.image, boxes, sample.boxes, sample.labels), len(sample.boxes))
        for sample, boxes in samples
    ]


def together(pictures: list[tuple[Regions, int]]) -> Regions:
    return Regions(*(torch.cat(column) for column in zip(*(regions for regions, _ in pictures))))


def measured(model: RCNN, pictures: list[tuple[Regions, int]]) -> dict[str, float]:
    """How good the detections among the proposals are, whose features are known already."""
    found = [model.detect(regions.features[true:], regions.boxes[true:], (96, 96)) for regions, true in pictures]
    truth = [{"boxes": regions.boxes[:true], "labels": regions.labels[:true]} for regions, true in pictures]
    precision = average_precision(found, truth)
    return {name: round(precision[name], 4) for name in ("AP", "AP50", "AP75")}


if __name__ == "__main__":
    main()
