"""The checkpoints of lesson 09: YOLO of 2016 and of 2017 on the same small backbone.

The same pictures, steps, batches and learning rate for both, three seeds each; the weights of seed 0 are kept, in half
precision. Beside them stands, in JSON, how each seed did on the validation scenes and, measured once at the end, on the
test scenes. At a stride of 8 pixels hardly any two things of toyworld share a cell, so both were trained once more with
cells of 16 pixels (the map pooled by two); of these, only the JSON is kept. About twenty minutes of one idle processor
core in all.

    .venv/bin/python data/checkpoints/09_yolo.py
"""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.datasets.toyworld import Toyworld
from lib.files import write_atomically
from lib.layers.backbone import Backbone
from lib.layers.small_backbone import SmallBackbone
from lib.models.yolo import SMALL_ANCHORS, YOLOv1, YOLOv2, cells_of, yolo_v1_small, yolo_v2_small
from lib.ops.boxes import box_iou
from lib.training import Batches, evaluate_detection, fit, save_checkpoint, toyworld_detection
from lib.training.history import History

HERE = Path(__file__).parent
SEEDS, STEPS, BATCH, PICTURES, LEARNING_RATE = (0, 1, 2), 2000, 8, 2000, 4e-3
COARSE = 16  # pixels, the side of a cell with which things do share cells
Pictures = tuple[Tensor, list[dict[str, Tensor]]]


class Coarser(Backbone):
    """The map of `SmallBackbone`, pooled by two: (B, 3, H, W) -> {"0": (B, 96, H/16, W/16)}."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.pool = SmallBackbone(), nn.MaxPool2d(2)
        self.out_channels = self.fine.out_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"0": self.pool(self.fine(images)["0"])}


def v1_coarse() -> YOLOv1:
    return YOLOv1(Coarser(), COARSE, num_classes=5)


def v2_coarse() -> YOLOv2:
    return YOLOv2(Coarser(), COARSE, 5, torch.tensor(SMALL_ANCHORS))


def main() -> None:
    splits = (("train", PICTURES), ("val", 200), ("test", 200))
    train, val, test = (toyworld_detection(Toyworld(*split)) for split in splits)
    for name, make in (("v1", yolo_v1_small), ("v2", yolo_v2_small)):
        runs, kept = [], None
        for seed in SEEDS:
            model, history = trained(make, train, seed)
            runs.append({"seed": seed, "val": scores(model, val), "test": scores(model, test)})
            print(name, runs[-1], f"{history.seconds:.0f} s", flush=True)
            kept = kept or (model.half(), history)
        assert kept is not None
        made = kept[1].summary() | {
            "parameters": sum(parameter.numel() for parameter in kept[0].parameters()),
            "batch": BATCH,
            "pictures": PICTURES,
            "learning rate": LEARNING_RATE,
            "runs": runs,
        }
        save_checkpoint(kept[0], HERE / f"09_yolo_{name}.safetensors", made)
    many = toyworld_detection(Toyworld("val", 1000))  # enough things that share a cell
    coarse: dict[str, list[dict]] = {"v1": [], "v2": []}
    for seed in SEEDS:
        for name, make_coarse in (("v1", v1_coarse), ("v2", v2_coarse)):
            model, history = trained(make_coarse, train, seed)
            coarse[name].append({"seed": seed, "val": scores(model, val), "recall": recalls(model, many)})
            print(name, "coarse", coarse[name][-1], f"{history.seconds:.0f} s", flush=True)
    write_atomically(HERE / "09_yolo_coarse.json", (json.dumps(coarse, indent=2, sort_keys=True) + "\n").encode())


def trained(make: Callable[[], YOLOv1 | YOLOv2], train: Pictures, seed: int) -> tuple[YOLOv1 | YOLOv2, History]:
    torch.manual_seed(seed)  # for the weights that it starts with
    model = make()
    batches = Batches(*train, batch_size=BATCH, shuffle=True, flip=True, seed=seed)
    history = fit(model, batches, loss_of, steps=STEPS, seed=seed, learning_rate=LEARNING_RATE, show=False)
    return model, history


def loss_of(model: nn.Module, batch: Pictures) -> dict[str, Tensor]:
    return model.loss(*batch)


def scores(model: YOLOv1 | YOLOv2, pictures: Pictures) -> dict[str, float]:
    measured = evaluate_detection(model, Batches(*pictures))
    kept = {name: round(float(measured[name]), 4) for name in ("AP", "AP50", "AP75", "AP_small", "AP_medium")}
    return kept | {"recall": recalls(model, pictures)["all"]}


@torch.no_grad()
def recalls(model: YOLOv1 | YOLOv2, pictures: Pictures) -> dict[str, float]:
    """The share of things that some detection of their class overlaps by half: of all, and of those that share a cell.

    A cell is one of the model's stride; two things share it if the middles of both lie in it.
    """
    hits, shared = [], []
    for images, targets in Batches(*pictures):
        grid = (images.shape[2] // model.stride, images.shape[3] // model.stride)
        for found, target in zip(model(images), targets, strict=True):
            same = target["labels"][:, None] == found["labels"]  # (n, found)
            hits.append(((box_iou(target["boxes"], found["boxes"]) >= 0.5) & same).any(dim=1))
            rows, columns = cells_of(target["boxes"], model.stride, grid)
            cell = rows * grid[1] + columns  # (n,)
            shared.append((cell[:, None] == cell).sum(dim=1) > 1)
    hit, together = torch.cat(hits), torch.cat(shared)
    return {
        "all": round(hit.float().mean().item(), 4),
        "shared": round(hit[together].float().mean().item(), 4),
        "things that share": int(together.sum()),
    }


if __name__ == "__main__":
    main()
