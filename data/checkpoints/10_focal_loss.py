"""The checkpoints of lesson 10: the small RetinaNet, taught by four losses.

Cross-entropy, cross-entropy with more weight on the positives (α), the hardest negatives alone, and the focal loss:
the same network, pictures, steps and learning rate. Four parts, all in one JSON:

- "tuning": each loss has a number of its own (for cross-entropy the prior; the focal loss has a pair), and three values
  of it are tried, with the class loss counted once and four times. That makes six settings for each loss, at one seed
  and in a short run, judged on validation scenes.
- "runs": the best setting of each loss, three seeds, on validation scenes and, once at the end, on test scenes.
- "longer": three of them, as set above, for as many steps as the detectors of lessons 08 and 09, three seeds, on
  validation scenes.
- "one thing": cross-entropy and focal loss, as set above, taught by those training scenes alone that hold one thing, in
  which a positive anchor is rarer.

The networks of seed 0 taught by cross-entropy and by the focal loss are kept, in half precision. About 60 minutes of
one idle processor core.

    .venv/bin/python data/checkpoints/10_focal_loss.py
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.datasets.toyworld import Toyworld
from lib.models.retinanet import RetinaNet, retinanet_small
from lib.ops.losses import hard_negatives, sigmoid_focal_loss
from lib.training import Batches, History, evaluate_detection, fit, save_checkpoint, toyworld_detection

HERE = Path(__file__).parent
SEEDS, STEPS, TUNING_STEPS, FEW_STEPS = (0, 1, 2), 1000, 300, 500
LONG_STEPS = 2000
BATCH, PICTURES, LEARNING_RATE = 8, 2000, 4e-3
FOCAL = ((0.25, 2.0), (0.75, 2.0), (0.5, 1.0))  # α and γ that are tried
WEIGHTS = (1.0, 4.0)  # of the class loss, beside the boxes' loss

Pictures = tuple[Tensor, list[dict[str, Tensor]]]


@dataclass(frozen=True)
class Setting:
    """What a loss can be set to. Numbers that a loss does not use keep their place."""

    loss: str
    prior: float = 0.01
    alpha: float = -1.0  # negative: positives and negatives count alike
    gamma: float = 0.0
    ratio: int = 0  # negatives for each positive; 0: all of them
    weight: float = 1.0

    def __call__(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """The class loss of one picture: logits and truth (A, K) -> one number."""
        if self.ratio:
            losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(dim=1)  # (A,)
            return self.weight * losses[hard_negatives(losses, wanted.any(dim=1), self.ratio)].sum()
        return self.weight * sigmoid_focal_loss(logits, wanted, self.alpha, self.gamma, reduction="sum")


def settings(weight: float) -> list[Setting]:
    """Three for each loss."""
    return [
        *(Setting("cross-entropy", prior=prior, weight=weight) for prior in (0.01, 0.1, 0.5)),
        *(Setting("weighted", alpha=alpha, weight=weight) for alpha in (0.75, 0.9, 0.98)),
        *(Setting("hard negatives", ratio=ratio, weight=weight) for ratio in (1, 3, 10)),
        *(Setting("focal", alpha=alpha, gamma=gamma, weight=weight) for alpha, gamma in FOCAL),
    ]


def main() -> None:
    train, val, test = (
        toyworld_detection(Toyworld(*split)) for split in (("train", PICTURES), ("val", 200), ("test", 200))
    )
    tuning, best = [], {}
    for setting in (one for weight in WEIGHTS for one in settings(weight)):
        model, _ = trained(setting, train, TUNING_STEPS, seed=0)
        tuning.append(asdict(setting) | precision(model, val))
        print(tuning[-1], flush=True)
        if setting.loss not in best or tuning[-1]["AP"] > best[setting.loss][0]:
            best[setting.loss] = (tuning[-1]["AP"], setting)
    chosen = {loss: setting for loss, (_, setting) in best.items()}
    results = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "batch": BATCH,
        "pictures": PICTURES,
        "learning rate": LEARNING_RATE,
        "tuning": {"seed": 0, "steps": TUNING_STEPS, "settings": tuning},
        "chosen": {loss: asdict(setting) for loss, setting in chosen.items()},
        "runs": {loss: [] for loss in chosen},
    }
    kept: dict[str, tuple[nn.Module, History]] = {}
    for seed in SEEDS:
        for loss, setting in chosen.items():
            model, history = trained(setting, train, STEPS, seed)
            results["runs"][loss].append({"seed": seed, "val": precision(model, val), "test": precision(model, test)})
            print(loss, results["runs"][loss][-1], f"{history.seconds:.0f} s", flush=True)
            if seed == SEEDS[0] and loss in ("cross-entropy", "focal"):
                kept[loss] = model, history
    results["longer"] = longer(chosen, train, val)
    alone = [place for place, target in enumerate(train[1]) if len(target["boxes"]) == 1]
    few = train[0][alone], [train[1][place] for place in alone]
    results["one thing"] = {"pictures": len(alone), "steps": FEW_STEPS, "cross-entropy": [], "focal": []}
    for seed in SEEDS:
        for loss in ("cross-entropy", "focal"):
            model, history = trained(chosen[loss], few, FEW_STEPS, seed)
            results["one thing"][loss].append({"seed": seed, "val": precision(model, val)})
            print("one thing", loss, results["one thing"][loss][-1], f"{history.seconds:.0f} s", flush=True)
    model, history = kept["cross-entropy"]
    made = history.summary() | {"setting": results["chosen"]["cross-entropy"]}
    save_checkpoint(model.half(), HERE / "10_cross_entropy.safetensors", made)
    model, history = kept["focal"]
    save_checkpoint(model.half(), HERE / "10_focal_loss.safetensors", history.summary() | results)


def longer(chosen: dict[str, Setting], train: Pictures, val: Pictures) -> dict:
    """Does the order of the losses depend on how long they are learned from?"""
    losses = ("cross-entropy", "focal", "hard negatives")
    measured: dict = {"steps": LONG_STEPS} | {loss: [] for loss in losses}
    for seed in SEEDS:
        for loss in losses:
            model, history = trained(chosen[loss], train, LONG_STEPS, seed)
            measured[loss].append({"seed": seed, "val": precision(model, val)})
            print("longer", loss, measured[loss][-1], f"{history.seconds:.0f} s", flush=True)
    return measured


def trained(setting: Setting, pictures: Pictures, steps: int, seed: int) -> tuple[RetinaNet, History]:
    torch.manual_seed(seed)  # for the weights that it starts with
    model = retinanet_small()
    model.classification_loss = setting
    start_at(model, setting.prior)
    batches = Batches(*pictures, batch_size=BATCH, shuffle=True, flip=True, seed=seed)
    history = fit(model, batches, both_losses, steps=steps, seed=seed, learning_rate=LEARNING_RATE, show=False)
    return model, history


def start_at(model: RetinaNet, prior: float) -> None:
    """How probable a thing is, for the untrained network."""
    nn.init.constant_(model.head.classification_head.cls_logits.bias, -math.log((1 - prior) / prior))


def both_losses(model: RetinaNet, batch: Pictures) -> dict[str, Tensor]:
    return model.loss(*batch)


def precision(model: nn.Module, pictures: Pictures) -> dict[str, float]:
    measured = evaluate_detection(model, Batches(*pictures))
    return {name: round(float(measured[name]), 4) for name in ("AP", "AP50", "AP75", "AP_small", "AP_medium")}


if __name__ == "__main__":
    main()
