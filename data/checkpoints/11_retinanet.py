"""The checkpoints of lesson 11: the small RetinaNet on one map and on a pyramid, and the small SSD.

Six detectors, taught by the same pictures in as many steps. All but SSD, which has a loss of its own, learn from three
hard negatives for each positive anchor, as set in lesson 10. What is measured goes to 11_runs.json, run by run:

- "tuning": five learning rates for each kind of detector, one seed, a short run, judged on validation scenes. Two that
  differ little from another ("concat", "one map, wider") take the learning rate of that one.
- "runs": each with its best learning rate, three seeds, on validation scenes and on test scenes.
- "more": the pyramid with and without its way down once more, on validation scenes: with the finest or the middle map
  alone, which has to answer for all sizes then, three seeds; in more steps, and taught by the focal loss as set in
  lesson 10, one seed each.

What is recalled counts by the size of things: a box of the right class with an IoU of at least 0.5 among the ten surest
of a picture. The weights of seed 0 of the pyramid and of SSD are kept, in half precision. About an hour and a half of
one idle processor core. A run that is in 11_runs.json already is not made again, so a recipe that was cut off goes on
where it was; delete the file to begin anew.

    .venv/bin/python data/checkpoints/11_retinanet.py
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.datasets.toyworld import Toyworld
from lib.layers.fpn import BackboneWithPyramid, ConcatPyramid, FeaturePyramidNetwork, NoWayDown
from lib.layers.small_backbone import SmallBackbone, SmallStages
from lib.models.retinanet import RetinaNet, nine_anchors, retinanet_small, retinanet_small_fpn
from lib.models.ssd import SSD, ssd_small
from lib.ops.boxes import box_area, box_iou
from lib.ops.losses import hard_negatives, sigmoid_focal_loss
from lib.timing import milliseconds
from lib.training import Batches, evaluate_detection, fit, save_checkpoint, toyworld_detection
from lib.training.runs import once

HERE = Path(__file__).parent
STORE = HERE / "11_runs.json"
SEEDS, STEPS, TUNING_STEPS, MORE_STEPS = (0, 1, 2), 1000, 300, 2000
BATCH, PICTURES, LEARNING_RATES = 8, 2000, (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
LIMITS = (12.0, 24.0)  # pixels, √(w · h): small, middle, large things
SUREST = 10  # boxes of a picture that count for the recall

Pictures = tuple[Tensor, list[dict[str, Tensor]]]
Detector = RetinaNet | SSD
Loss = Callable[[Tensor, Tensor], Tensor]


def three_to_one(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of the positives and of the three hardest negatives for each: (A, K) twice -> one number."""
    losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(dim=1)  # (A,)
    return losses[hard_negatives(losses, wanted.any(dim=1))].sum()


def focal(logits: Tensor, wanted: Tensor, alpha: float, gamma: float, weight: float) -> Tensor:
    """The focal loss, added up: (A, K) twice -> one number."""
    return weight * sigmoid_focal_loss(logits, wanted, alpha, gamma, reduction="sum")


class OneLevel(BackboneWithPyramid):
    """Of a pyramid's maps, one is handed on."""

    def __init__(self, pyramid: type[FeaturePyramidNetwork], level: str):
        stages = SmallStages()
        super().__init__(stages, pyramid(stages.channels, 48))
        self.level = level

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"0": super().forward(x)[self.level]}  # (B, C, h, w)


def one_level(pyramid: type[FeaturePyramidNetwork], level: str) -> RetinaNet:
    """A RetinaNet of which one level, "0" for the finest, answers for things of every size: all anchors stand there."""
    sizes = tuple(size for several in nine_anchors((8, 16, 32)).sizes for size in several)  # nine
    return retinanet_small(backbone=OneLevel(pyramid, level), sizes=(sizes,))


KINDS: dict[str, Callable[[], Detector]] = {
    "FPN": retinanet_small_fpn,
    "no way down": partial(retinanet_small_fpn, pyramid=NoWayDown),
    "one map": retinanet_small,
    "SSD": ssd_small,
    "concat": partial(retinanet_small_fpn, pyramid=ConcatPyramid),
    "one map, wider": lambda: retinanet_small(backbone=SmallBackbone(32)),
}
AS_TUNED = {"concat": "FPN", "one map, wider": "one map"}
KEPT = {"FPN": "11_retinanet", "SSD": "11_ssd"}
PYRAMIDS = {"FPN": FeaturePyramidNetwork, "no way down": NoWayDown}
ALONE = {"finest alone": "0", "middle alone": "1"}
MORE: tuple[tuple[str, tuple[str, ...], tuple[int, ...], int, Loss], ...] = (
    ("middle alone", ("no way down",), SEEDS, STEPS, three_to_one),
    ("finest alone", ("FPN", "no way down"), SEEDS, STEPS, three_to_one),
    ("more steps", ("FPN", "no way down"), SEEDS[:1], MORE_STEPS, three_to_one),
    ("focal loss", ("FPN", "no way down"), SEEDS[:1], STEPS, partial(focal, alpha=0.5, gamma=1.0, weight=4.0)),
)


def main() -> None:
    train, val, test = (
        toyworld_detection(Toyworld(*split)) for split in (("train", PICTURES), ("val", 200), ("test", 200))
    )
    for name, build in KINDS.items():
        once(STORE, f"about/{name}", partial(about, build, val))
    chosen = {}
    for name in [kind for kind in KINDS if kind not in AS_TUNED]:
        found = {}
        for rate in LEARNING_RATES:
            make = partial(run, KINDS[name], train, TUNING_STEPS, 0, rate, val)
            found[rate] = once(STORE, f"tuning/{name}/{rate}", make)["val"]["AP"]
        chosen[name] = max(found, key=found.__getitem__)
    chosen |= {name: chosen[other] for name, other in AS_TUNED.items()}
    for seed in SEEDS:
        for name, build in KINDS.items():
            kept = KEPT.get(name) if seed == SEEDS[0] else None
            make = partial(run, build, train, STEPS, seed, chosen[name], val, test, kept=kept)
            once(STORE, f"runs/{name}/{seed}", make)
    for title, names, seeds, steps, loss in MORE:
        for seed, name in product(seeds, names):
            build = partial(one_level, PYRAMIDS[name], ALONE[title]) if title in ALONE else KINDS[name]
            make = partial(run, build, train, steps, seed, chosen[name], val, loss=loss)
            once(STORE, f"more/{title}/{name}/{seed}", make)


def run(
    build: Callable[[], Detector],
    train: Pictures,
    steps: int,
    seed: int,
    rate: float,
    val: Pictures,
    test: Pictures | None = None,
    loss: Loss = three_to_one,
    kept: str | None = None,
) -> dict:
    """Teach a detector from nothing and measure it. `loss` is of the classes; SSD keeps its own.

    Args:
        kept: the name under which the weights are written, in half precision; None: they are not.
    """
    torch.manual_seed(seed)  # for the weights that it starts with
    model = build()
    if isinstance(model, RetinaNet):
        model.classification_loss = loss
    batches = Batches(*train, batch_size=BATCH, shuffle=True, flip=True, seed=seed)
    history = fit(model, batches, both_losses, steps=steps, seed=seed, learning_rate=rate, show=False)
    result = measured(model, steps, rate, val, test)
    if kept:
        made = history.summary() | {"learning rate": rate, "val": result["val"], "test": result["test"]}
        save_checkpoint(model.half(), HERE / f"{kept}.safetensors", made)
    return result


def both_losses(model: nn.Module, batch: Pictures) -> dict[str, Tensor]:
    return model.loss(*batch)


def measured(model: Detector, steps: int, rate: float, val: Pictures, test: Pictures | None) -> dict:
    made = {"learning rate": rate, "steps": steps}
    result = made | {"val": precision(model, val), "recall": recall_by_size(model, val)}
    return result | ({"test": precision(model, test), "test recall": recall_by_size(model, test)} if test else {})


@torch.no_grad()
def about(build: Callable[[], Detector], pictures: Pictures) -> dict[str, float]:
    """What can be said before it learns: parameters, anchors, the best IoU of a thing with one, time for one picture.

    The time is that of the network, without what is done to the boxes, as the shortest of fifty.
    """
    model = build().eval()
    one = pictures[0][:1].float() / 255  # (1, 3, H, W)
    anchors = model.predict(one)[0]  # (A, 4)
    best = torch.cat([box_iou(target["boxes"], anchors).amax(dim=1) for target in pictures[1]])  # (things,)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "anchors": len(anchors),
        "best IoU": round(best.mean().item(), 4),
        "milliseconds": round(milliseconds(lambda: model.predict(one), repeats=50), 1),
    }


def precision(model: Detector, pictures: Pictures) -> dict[str, float]:
    found = evaluate_detection(model, Batches(*pictures))
    return {name: round(float(found[name]), 4) for name in ("AP", "AP50", "AP75", "AP_small", "AP_medium")}


@torch.no_grad()
def recall_by_size(model: Detector, pictures: Pictures) -> dict[str, float]:
    """Which share of the things below, between and above `LIMITS` is among the surest boxes of its picture."""
    hits, sizes = [], []
    for images, targets in Batches(*pictures):
        for found, target in zip(model(images), targets, strict=True):
            boxes, labels = found["boxes"][:SUREST], found["labels"][:SUREST]  # (b, 4), (b,)
            right = (box_iou(target["boxes"], boxes) >= 0.5) & (target["labels"][:, None] == labels)  # (n, b)
            hits.append(right.any(dim=1))  # (n,)
            sizes.append(torch.bucketize(box_area(target["boxes"]).sqrt(), torch.tensor(LIMITS)))  # (n,) 0, 1, 2
    hit, size = torch.cat(hits), torch.cat(sizes)
    names = (f"below {LIMITS[0]:g}", f"{LIMITS[0]:g} to {LIMITS[1]:g}", f"above {LIMITS[1]:g}")
    return {name: round(hit[size == place].float().mean().item(), 4) for place, name in enumerate(names)}


if __name__ == "__main__":
    main()
