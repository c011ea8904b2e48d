"""The checkpoint of lesson 07: the small Fast R-CNN, on the best 100 proposals of selective search for each picture.

Backbone, second stage, pictures and steps are those of lesson 08's Faster R-CNN. Once trained end to end, and once
with a backbone that keeps its random weights (its BatchNorm still measures mean and deviation); three seeds each,
since one says little. The weights of the former's seed 0 are kept, in half precision. Beside them stands, in JSON,
how each did on the validation scenes and, measured once at the end, on the test scenes. About nine minutes of one
idle processor core in all, of which one goes to selective search.

    .venv/bin/python data/checkpoints/07_fast_rcnn.py
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from lib.datasets.toyworld import Toyworld
from lib.models.fast_rcnn import fast_rcnn_small
from lib.ops.selective_search import selective_search_small
from lib.training import (
    Batches,
    History,
    evaluate_detection,
    fit,
    save_checkpoint,
    toyworld_detection,
)

HERE = Path(__file__).parent
SEEDS, STEPS, BATCH, PICTURES, LEARNING_RATE, PROPOSALS = (0, 1, 2), 2000, 8, 2000, 4e-3, 100

Pictures = tuple[Tensor, list[dict[str, Tensor]]]


def main() -> None:
    train, val, test = (searched(Toyworld(*split)) for split in (("train", PICTURES), ("val", 200), ("test", 200)))
    print("proposals found", flush=True)
    kept, runs = None, {"end to end": [], "backbone frozen": []}
    for seed in SEEDS:
        for name in runs:
            model, history = trained(train, seed, frozen=name == "backbone frozen")
            runs[name].append({"seed": seed, "val": precision(model, val), "test": precision(model, test)})
            print(f"{name:<12} {runs[name][-1]}, {history.seconds:.0f} s", flush=True)
            if kept is None:
                made = {
                    "parameters": sum(parameter.numel() for parameter in model.parameters()),
                    "batch": BATCH,
                    "pictures": PICTURES,
                    "learning rate": LEARNING_RATE,
                    "proposals": PROPOSALS,
                }
                kept = model.half(), history.summary() | made
            save_checkpoint(kept[0], HERE / "07_fast_rcnn.safetensors", kept[1] | {"runs": runs})


def searched(world: Toyworld) -> Pictures:
    """All pictures of a split with what is in them, and with the best proposals of selective search."""
    images, targets = toyworld_detection(world)
    return images, [
        target | {"proposals": selective_search_small(image.float() / 255)[:PROPOSALS]}
        for image, target in zip(images, targets, strict=True)
    ]


def trained(train: Pictures, seed: int, frozen: bool) -> tuple[nn.Module, History]:
    torch.manual_seed(seed)  # for the weights that it starts with
    model = fast_rcnn_small()
    model.backbone.requires_grad_(not frozen)
    history = fit(
        model,
        Batches(*train, batch_size=BATCH, shuffle=True, flip=True, seed=seed),
        loss,
        steps=STEPS,
        seed=seed,
        learning_rate=LEARNING_RATE,
        show=False,
    )
    return model, history


def loss(model: nn.Module, batch: Pictures) -> dict[str, Tensor]:
    return model.loss(*batch)


def precision(model: nn.Module, pictures: Pictures) -> dict[str, float]:
    measured = evaluate_detection(model, Batches(*pictures), predict)
    return {name: round(float(measured[name]), 4) for name in ("AP", "AP50", "AP75", "AP_small", "AP_medium")}


def predict(model: nn.Module, images: Tensor, targets: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    return model(images, [target["proposals"] for target in targets])


if __name__ == "__main__":
    main()
