"""The checkpoints of lesson 03: one FCN-32s as a start, and five networks that went on from it.

They are FCN-32s, 16s and 8s, and a dilated network at stride 8 without and with a skip from pool3. Each makes the same
number of further steps on the same pictures in the same order; only the score layers that it adds are new, and start at
zero. Three seeds each, since one says little; the weights of seed 0 are kept, in half precision. About nine minutes
of one idle processor core in all. Beside the weights stands, in JSON, how each seed did on the validation scenes.

    .venv/bin/python data/checkpoints/03_fcn.py
"""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.datasets.toyworld import Toyworld
from lib.models.fcn import FCN, DilatedBackbone, DilatedFCN, SmallBackbone
from lib.ops.segmentation_metrics import boundary_f_score
from lib.training import Batches, History, evaluate_segmentation, fit, save_checkpoint, toyworld_tensors

HERE = Path(__file__).parent
CLASSES, WIDTH, SEEDS = 7, 12, (0, 1, 2)
FIRST, FURTHER = 1600, 400  # steps of the start, and of each of the five
PICTURES = 800
FIRST_THING = 2  # the classes 0 and 1 are sky and ground

MODELS: dict[str, Callable[[], nn.Module]] = {
    "03_fcn32s": lambda: FCN(SmallBackbone(WIDTH), CLASSES, stride=32),
    "03_fcn16s": lambda: FCN(SmallBackbone(WIDTH), CLASSES, stride=16),
    "03_fcn8s": lambda: FCN(SmallBackbone(WIDTH), CLASSES, stride=8),
    "03_fcn_dilated": lambda: DilatedFCN(DilatedBackbone(WIDTH), CLASSES),
    "03_fcn_dilated_skip": lambda: DilatedFCN(DilatedBackbone(WIDTH), CLASSES, skip=True),
}


def main() -> None:
    train, val = (toyworld_tensors(Toyworld(*which)) for which in (("train", PICTURES), ("val", 150)))
    scores: dict[str, list[dict]] = {}
    kept: dict[str, tuple[nn.Module, dict]] = {}
    for seed in SEEDS:
        torch.manual_seed(seed)
        start = FCN(SmallBackbone(WIDTH), CLASSES, stride=32)
        models: dict[str, nn.Module] = {"03_fcn32s_start": start}
        histories = {"03_fcn32s_start": trained(start, train, FIRST, 4e-3, seed, order=seed)}
        for name, build in MODELS.items():
            models[name] = continued(start, build())
            histories[name] = trained(models[name], train, FURTHER, 3e-3, seed, order=seed + 10)
        for name, model in models.items():
            scores.setdefault(name, []).append({"seed": seed} | measured(model, val))
            print(f"{name:<20} {scores[name][-1]}, {histories[name].seconds:.0f} s", flush=True)
            if seed == SEEDS[0]:
                kept[name] = model.half(), histories[name].summary() | {"batch": 8, "pictures": PICTURES}
            save_checkpoint(kept[name][0], HERE / f"{name}.safetensors", kept[name][1] | {"val": scores[name]})


def continued(start: FCN, model: nn.Module) -> nn.Module:
    """`model` with all that the FCN-32s has learned."""
    learned = {name: tensor for name, tensor in start.state_dict().items() if name != "upscore.weight"}
    model.load_state_dict(learned, strict=False)  # the last upsampling is fixed, not learned
    return model


def trained(
    model: nn.Module, train: tuple[Tensor, Tensor], steps: int, learning_rate: float, seed: int, order: int
) -> History:
    batches = Batches(*train, batch_size=8, shuffle=True, flip=True, seed=order)
    return fit(model, batches, loss, steps=steps, learning_rate=learning_rate, seed=seed, show=False)


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    images, classes = batch
    return F.cross_entropy(model(images), classes)


def measured(model: nn.Module, val: tuple[Tensor, Tensor]) -> dict[str, float]:
    """mIoU, boundary F-score, and the lesson's two questions: *what* is right, *where* is right."""
    scores = evaluate_segmentation(model, Batches(*val), CLASSES)
    with torch.no_grad():
        predicted = torch.cat([model(some.float() / 255).argmax(1) for some in val[0].split(25)])  # (N, H, W)
    truth = val[1].long()
    thing, called_thing = truth >= FIRST_THING, predicted >= FIRST_THING
    what = (predicted == truth)[thing & called_thing].float().mean()  # of things that were seen: rightly named
    where = boundary_f_score(called_thing.long(), thing.long(), 2).nanmean()  # the outlines of things, unnamed
    return {
        "mIoU": round(scores["mIoU"], 4),
        "boundary F": round(scores["boundary F"], 4),
        "what": round(what.item(), 4),
        "where": round(where.item(), 4),
    }


if __name__ == "__main__":
    main()
