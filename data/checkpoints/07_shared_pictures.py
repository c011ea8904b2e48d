"""The experiment of lesson 07, section 6: do regions that share a picture teach less than regions from many pictures?

The small Fast R-CNN, trained from nothing on 64 regions a step: one from each of 64 pictures, 8 from each of 8, or 32
from each of 2, for 300 steps; and 8 from each of 8 for as long as the first took, which is 2,100 steps. A region is
drawn in the same way in all four, so that positives are equally frequent: 32 of a picture as in `RoIHeads`, of which
one, 8 or all are kept at random. Three seeds each. No weights are kept: beside this file stands, in JSON, how each did
on the test scenes. About eleven minutes of one idle processor core.

    .venv/bin/python data/checkpoints/07_shared_pictures.py
"""

import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.datasets.toyworld import Toyworld
from lib.files import write_atomically
from lib.models.fast_rcnn import TrainingSamples, fast_rcnn_small, fastrcnn_loss
from lib.ops.selective_search import selective_search_small
from lib.training import Batches, evaluate_detection, fit, toyworld_detection

HERE = Path(__file__).parent
SEEDS, PICTURES, LEARNING_RATE, PROPOSALS = (0, 1, 2), 1000, 4e-3, 100
RUNS = ((64, 1, 300), (8, 8, 300), (2, 32, 300), (8, 8, 2100))  # pictures of a step, regions of each, steps

Pictures = tuple[Tensor, list[dict[str, Tensor]]]


def main() -> None:
    train, test = searched(Toyworld("train", PICTURES)), searched(Toyworld("test", 200))
    print("proposals found", flush=True)
    runs = []
    for pictures, regions, steps in RUNS:
        run = {"pictures": pictures, "regions of each": regions, "steps": steps, "AP50": [], "AP": []}
        for seed in SEEDS:
            begun = time.process_time()
            measured = evaluate_detection(trained(train, pictures, regions, steps, seed), Batches(*test), predict)
            for name in ("AP50", "AP"):
                run[name].append(round(float(measured[name]), 4))
            print(f"{run}, {time.process_time() - begun:.0f} s", flush=True)
        runs.append(run)
        note = {"training pictures": PICTURES, "learning rate": LEARNING_RATE, "seeds": SEEDS, "runs": runs}
        write_atomically(HERE / "07_shared_pictures.json", (json.dumps(note, indent=2) + "\n").encode())


def searched(world: Toyworld) -> Pictures:
    """All pictures of a split with what is in them, and with the best proposals of selective search."""
    images, targets = toyworld_detection(world)
    return images, [
        target | {"proposals": selective_search_small(image.float() / 255)[:PROPOSALS]}
        for image, target in zip(images, targets, strict=True)
    ]


def trained(train: Pictures, pictures: int, regions: int, steps: int, seed: int) -> nn.Module:
    """A detector after `steps` steps, each on `regions` regions from each of `pictures` pictures."""

    def loss(model: nn.Module, batch: Pictures) -> dict[str, Tensor]:
        images, targets = batch
        drawn = model.roi_heads.select_training_samples([target["proposals"] for target in targets], targets)
        kept = TrainingSamples(*zip(*(some_of(picture, regions) for picture in zip(*drawn, strict=True)), strict=True))
        features = model.backbone(images)  # once a picture, however many regions are kept of it
        sizes = [(images.shape[-2], images.shape[-1])] * len(images)
        answers = model.roi_heads.predict(features, list(kept.proposals), sizes)
        class_loss, box_loss = fastrcnn_loss(*answers, list(kept.labels), list(kept.regression_targets))
        return {"loss_classifier": class_loss, "loss_box_reg": box_loss}

    torch.manual_seed(seed)  # for the weights that it starts with
    model = fast_rcnn_small()
    batches = Batches(*train, batch_size=pictures, shuffle=True, flip=True, seed=seed)
    fit(model, batches, loss, steps=steps, seed=seed, learning_rate=LEARNING_RATE, show=False)
    return model


def some_of(picture: tuple[Tensor, ...], regions: int) -> list[Tensor]:
    """`regions` of the regions that were drawn from a picture, at random."""
    places = torch.randperm(len(picture[0]))[:regions]
    return [values[places] for values in picture]


def predict(model: nn.Module, images: Tensor, targets: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    return model(images, [target["proposals"] for target in targets])


if __name__ == "__main__":
    main()
