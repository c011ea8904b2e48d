"""The checkpoint of lesson 08: the small Faster R-CNN, both stages trained at once.

Three seeds, since one says little; the weights of seed 0 are kept, in half precision. Beside them stands, in JSON, how
each seed did on the validation scenes and, measured once at the end, on the test scenes; how the proposals became
better in the course of the training; and how selective search does on the same scenes. When only a few proposals are
kept, it pays to drop doubles earlier, from an IoU of 0.5 instead of 0.7: that recall stands there too. About eight
minutes of one idle processor core in all.

    .venv/bin/python data/checkpoints/08_faster_rcnn.py
"""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from lib.datasets.toyworld import Toyworld
from lib.models.faster_rcnn import faster_rcnn_small
from lib.ops.boxes import box_iou
from lib.ops.selective_search import selective_search_small
from lib.training import (
    Batches,
    evaluate_detection,
    fit,
    save_checkpoint,
    toyworld_detection,
)

HERE = Path(__file__).parent
SEEDS, STEPS, BATCH, PICTURES, LEARNING_RATE = (0, 1, 2), 2000, 8, 2000, 4e-3
COUNTS = (5, 10, 30, 50, 100)  # of proposals, for the recall
SNAPSHOTS = 8  # how often the recall is measured in training


def main() -> None:
    train, val, test = (
        toyworld_detection(Toyworld(*split)) for split in (("train", PICTURES), ("val", 200), ("test", 200))
    )
    searched = recalls([selective_search_small(image.float() / 255) for image in val[0]], val[1])
    print("selective search", searched, flush=True)
    kept, results = None, []
    for seed in SEEDS:
        torch.manual_seed(seed)  # for the weights that it starts with
        model = faster_rcnn_small()
        untrained = learned(model, val)
        history = fit(
            model,
            Batches(*train, batch_size=BATCH, shuffle=True, flip=True, seed=seed),
            loss,
            steps=STEPS,
            seed=seed,
            learning_rate=LEARNING_RATE,
            show=False,
            validations=SNAPSHOTS,
            validate=lambda model: learned(model, val),
        )
        course = [
            {"step": step} | {str(count): round(history.metrics[str(count)][place], 4) for count in COUNTS}
            for place, step in enumerate(history.metric_steps)
        ]
        results.append(
            {
                "seed": seed,
                "val": precision(model, val),
                "test": precision(model, test),
                "recall": [{"step": 0} | untrained, *course],
                "recall, doubles from 0.5": strict(model, val),
            }
        )
        print(results[-1], f"{history.seconds:.0f} s", flush=True)
        if seed == SEEDS[0]:
            made = {
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "batch": BATCH,
                "pictures": PICTURES,
                "learning rate": LEARNING_RATE,
            }
            summary = {name: value for name, value in history.summary().items() if name != "metrics"}
            kept = model.half(), summary | made
    kept[1].update({"runs": results, "recall of selective search": searched, "runs with RoIAlign": []})
    for seed in SEEDS:
        torch.manual_seed(seed)
        model = faster_rcnn_small()
        model.roi_heads.box_roi_pool.pool = partial(roi_align, sampling_ratio=2, aligned=True)
        history = fit(
            model,
            Batches(*train, batch_size=BATCH, shuffle=True, flip=True, seed=seed),
            loss,
            steps=STEPS,
            seed=seed,
            learning_rate=LEARNING_RATE,
            show=False,
        )
        run = {"seed": seed, "val": precision(model, val), "test": precision(model, test)}
        kept[1]["runs with RoIAlign"].append(run)
        print("with RoIAlign", run, f"{history.seconds:.0f} s", flush=True)
    save_checkpoint(kept[0], HERE / "08_faster_rcnn.safetensors", kept[1])


def loss(model: nn.Module, batch: tuple[Tensor, list[dict[str, Tensor]]]) -> dict[str, Tensor]:
    return model.loss(*batch)


def precision(model: nn.Module, pictures: tuple[Tensor, list[dict[str, Tensor]]]) -> dict[str, float]:
    measured = evaluate_detection(model, Batches(*pictures))
    return {name: round(float(measured[name]), 4) for name in ("AP", "AP50", "AP75", "AP_small", "AP_medium")}


@torch.no_grad()
def learned(model: nn.Module, pictures: tuple[Tensor, list[dict[str, Tensor]]]) -> dict[str, float]:
    """The recall of the model's proposals."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    found = [one["boxes"].cpu() for images, _ in Batches(*pictures) for one in model.proposals(images.to(device))]
    model.train(was_training)
    return recalls(found, pictures[1])


def strict(model: nn.Module, pictures: tuple[Tensor, list[dict[str, Tensor]]]) -> dict[str, float]:
    """The recall of its proposals if doubles are dropped earlier."""
    usual, model.rpn.nms_thresh = model.rpn.nms_thresh, 0.5
    found = learned(model, pictures)
    model.rpn.nms_thresh = usual
    return found


def recalls(proposals: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, float]:
    """Which share of all things has an IoU of at least 0.5 with one of the first 5, 10, ... proposals."""
    result = {}
    for count in COUNTS:
        best = [
            box_iou(target["boxes"], boxes[:count]).max(1).values
            for boxes, target in zip(proposals, targets, strict=True)
            if len(boxes)
        ]
        things = sum(len(target["boxes"]) for target in targets)
        result[str(count)] = round((torch.cat(best) >= 0.5).sum().item() / things, 4)
    return result


if __name__ == "__main__":
    main()
