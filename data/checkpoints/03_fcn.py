"""The checkpoints of lesson 03: one FCN-32s as a start, and FCN-32s, 16s and 8s that went on from it.

Each of the three makes the same number of further steps on the same pictures in the same order; only the score layers
that they add are new, and start at zero. Three seeds each, since one says little; the weights of seed 0 are kept, in
half precision. About eight minutes of one idle processor core in all. Beside the weights stands, in JSON, how each seed
did on the validation scenes.

    .venv/bin/python data/checkpoints/03_fcn.py
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.datasets.toyworld import Toyworld
from lib.models.fcn import FCN, SmallBackbone
from lib.training import Batches, evaluate_segmentation, fit, save_checkpoint, toyworld_tensors

HERE = Path(__file__).parent
CLASSES, WIDTH, SEEDS = 7, 12, (0, 1, 2)
FIRST, FURTHER = 1600, 400  # steps of the start, and of each of the three
PICTURES = 800


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    images, classes = batch
    return F.cross_entropy(model(images), classes)


def main() -> None:
    train = toyworld_tensors(Toyworld("train", PICTURES))
    val = Batches(*toyworld_tensors(Toyworld("val", 150)))
    scores, kept = {}, {}
    for seed in SEEDS:
        torch.manual_seed(seed)
        start = FCN(SmallBackbone(WIDTH), CLASSES, stride=32)
        models = {
            "03_fcn32s_start": (
                start,
                fit(
                    start,
                    Batches(*train, batch_size=8, shuffle=True, flip=True, seed=seed),
                    loss,
                    steps=FIRST,
                    learning_rate=4e-3,
                    seed=seed,
                    show=False,
                ),
            )
        }
        for stride in (32, 16, 8):
            model = continued(start, stride)
            history = fit(
                model,
                Batches(*train, batch_size=8, shuffle=True, flip=True, seed=seed + 10),
                loss,
                steps=FURTHER,
                seed=seed,
                show=False,
            )
            models[f"03_fcn{stride}s"] = model, history
        for name, (model, history) in models.items():
            measured = evaluate_segmentation(model, val, CLASSES)
            scores.setdefault(name, []).append(
                {"seed": seed, "mIoU": round(measured["mIoU"], 4), "boundary F": round(measured["boundary F"], 4)}
            )
            print(
                f"{name:<16} seed {seed}: mIoU {measured['mIoU']:.3f}, boundary F {measured['boundary F']:.3f}, "
                f"{history.seconds:.0f} s",
                flush=True,
            )
            if seed == SEEDS[0]:
                kept[name] = model.half(), history.summary() | {"batch": 8, "pictures": PICTURES}
            save_checkpoint(kept[name][0], HERE / f"{name}.safetensors", kept[name][1] | {"val": scores[name]})


def continued(start: FCN, stride: int) -> FCN:
    """An FCN of the given stride with all that the FCN-32s has learned."""
    model = FCN(SmallBackbone(WIDTH), CLASSES, stride)
    learned = {name: tensor for name, tensor in start.state_dict().items() if name != "upscore.weight"}
    model.load_state_dict(learned, strict=False)  # the last upsampling is fixed, not learned
    return model


if __name__ == "__main__":
    main()
