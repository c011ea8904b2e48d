"""The checkpoints of lesson 04: a U-Net, an FCN-8s, and what lies between them, all of about equal size.

Between the two lie: an FCN-4s, which asks one map more; a U-Net whose bridges are squeezed to as few channels as an FCN
sends across; one that was trained without any bridge; and one that adds where the U-Net concatenates. All make 2,000
steps on the same pictures in the same order, which takes each about 85 seconds of one processor core. Three seeds each,
since one says little; the weights of seed 0 are kept, in half precision. About 25 minutes in all. Beside the weights
stands, in JSON, how each seed did on the validation scenes.

    .venv/bin/python data/checkpoints/04_unet.py                    all
    .venv/bin/python data/checkpoints/04_unet.py 04_unet_fcn4s      only those named
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.datasets.toyworld import Toyworld
from lib.models.fcn import FCN, SmallBackbone
from lib.models.unet import UNet
from lib.ops.segmentation_metrics import boundary_f_score
from lib.training import (
    Batches,
    History,
    evaluate_segmentation,
    fit,
    save_checkpoint,
    toyworld_tensors,
)

HERE = Path(__file__).parent
CLASSES, SEEDS = 7, (0, 1, 2)
STEPS, BATCH, PICTURES, LEARNING_RATE = 2000, 8, 2000, 6e-3

MODELS: dict[str, Callable[[], nn.Module]] = {
    "04_unet": lambda: usual_start(UNet(3, CLASSES, width=28, depth=2, stem_stride=4)),
    "04_unet_add": lambda: usual_start(UNet(3, CLASSES, width=30, depth=2, stem_stride=4, skip="add")),
    "04_unet_squeezed": lambda: usual_start(UNet(3, CLASSES, width=30, depth=2, stem_stride=4, squeeze=CLASSES)),
    "04_unet_no_bridges": lambda: usual_start(UNet(3, CLASSES, width=30, depth=2, stem_stride=4, skip="none")),
    "04_unet_fcn8s": lambda: FCN(SmallBackbone(16), CLASSES, stride=8),
    "04_unet_fcn4s": lambda: FCN(SmallBackbone(16), CLASSES, stride=4),
}


def usual_start(model: UNet) -> UNet:
    """PyTorch's own first weights. With the paper's larger ones this short run learns the classes later."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.reset_parameters()
    return model


def main() -> None:
    train = toyworld_tensors(Toyworld("train", PICTURES))
    val = Batches(*toyworld_tensors(Toyworld("val", 200)))
    names = sys.argv[1:] or list(MODELS)
    kept: dict[str, tuple[nn.Module, dict]] = {}
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for seed in SEEDS:
        for name in names:
            model, history = trained(MODELS[name], train, seed)
            scores[name].append({"seed": seed} | measured(model, val))
            print(f"{name:<14} {scores[name][-1]}, {history.seconds:.0f} s", flush=True)
            if seed == SEEDS[0]:
                parameters = sum(parameter.numel() for parameter in model.parameters())
                made = {"parameters": parameters, "batch": BATCH, "pictures": PICTURES}
                kept[name] = model.half(), history.summary() | made
            save_checkpoint(kept[name][0], HERE / f"{name}.safetensors", kept[name][1] | {"val": scores[name]})


def trained(build: Callable[[], nn.Module], train: tuple[Tensor, Tensor], seed: int) -> tuple[nn.Module, History]:
    torch.manual_seed(seed)  # for the weights that it starts with
    model = build()
    history = fit(
        model,
        Batches(*train, batch_size=BATCH, shuffle=True, flip=True, seed=seed),
        loss,
        steps=STEPS,
        seed=seed,
        show=False,
        learning_rate=LEARNING_RATE,
    )
    return model, history


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    images, classes = batch
    return F.cross_entropy(model(images), classes)


@torch.no_grad()
def measured(model: nn.Module, val: Batches) -> dict[str, float]:
    """mIoU; how often a thing that is called a thing has the right name; the outlines of things against sky and ground.

    "boundary F" is the boundary score of all classes.
    """
    scores = evaluate_segmentation(model, val, CLASSES)
    things = scores["matrix"][2:, 2:]  # (5, 5): 0 is sky, 1 ground
    device = next(model.parameters()).device
    outlines = [
        boundary_f_score((model(images.to(device)).argmax(1).cpu() > 1).long(), (classes > 1).long(), num_classes=2)[
            :, 1
        ]
        for images, classes in val
    ]
    return {
        "mIoU": round(scores["mIoU"], 4),
        "right names": round((things.diagonal().sum() / things.sum()).item(), 4),
        "boundary F": round(scores["boundary F"], 4),
        "outline F": round(torch.cat(outlines).nanmean().item(), 4),
    }


if __name__ == "__main__":
    main()
