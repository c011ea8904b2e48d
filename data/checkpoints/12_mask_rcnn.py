"""The checkpoint of lesson 12: the small Mask R-CNN, and its rivals.

Seven kinds are taught by the same pictures in as many steps, three seeds each:

- "RoIAlign": the one of the lesson; "RoI pooling": both branches cut regions out of the map with rounding;
- "boxes pooled" and "masks pooled": the one branch rounds, the other does not;
- "rounded targets": as torchvision has it, masks are cut half a pixel off for training and pasted into rounded boxes;
- "across classes": in each cell the classes compete; "boxes alone": the mask branch teaches nothing.

What is measured goes to 12_runs.json, run by run. "tuning": four learning rates for the first two kinds, one seed, a
short run; all kinds take the one with which the two reach the best mask AP on validation scenes together. "runs": box
AP and mask AP on validation scenes and, once at the end, on test scenes; "mask IoU", what the mask branch makes of true
boxes and labels, so that a badly found box is not held against it; and for the first two kinds how they became better
in the course of the training. The weights of RoIAlign's seed 0 are kept, in half precision. About an hour and a quarter
of one idle processor core. A run that is in 12_runs.json already is not made again, so a recipe that was cut off goes
on where it was; delete the file to begin anew.

    .venv/bin/python data/checkpoints/12_mask_rcnn.py
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor
from torchvision.ops import roi_pool

from lib.datasets.toyworld import Toyworld
from lib.models.fast_rcnn import RoIPooling
from lib.models.mask_rcnn import MaskRCNN, mask_rcnn_small
from lib.ops.masks import mask_iou, paste_masks_in_image
from lib.training import Batches, evaluate_detection, fit, save_checkpoint, toyworld_detection
from lib.training.runs import once

HERE = Path(__file__).parent
STORE = HERE / "12_runs.json"
SEEDS, STEPS, TUNING_STEPS, SNAPSHOTS = (0, 1, 2), 2000, 500, 8
BATCH, PICTURES, LEARNING_RATES = 8, 2000, (1e-3, 2e-3, 4e-3, 8e-3)

Pictures = tuple[Tensor, list[dict[str, Tensor]]]


def mixed(boxes_pooled: bool) -> MaskRCNN:
    """One branch rounds, the other does not."""
    model = mask_rcnn_small()
    if boxes_pooled:
        model.roi_heads.box_roi_pool = RoIPooling(5, roi_pool)
    else:
        model.mask_roi_pool = RoIPooling(7, roi_pool)
    return model


def rounded_targets() -> MaskRCNN:
    model = mask_rcnn_small()
    model.aligned = False
    return model


KINDS: dict[str, Callable[[], MaskRCNN]] = {
    "RoIAlign": mask_rcnn_small,
    "RoI pooling": partial(mask_rcnn_small, pool=roi_pool),
    "across classes": partial(mask_rcnn_small, across_classes=True),
    "boxes alone": mask_rcnn_small,
    "boxes pooled": partial(mixed, boxes_pooled=True),
    "masks pooled": partial(mixed, boxes_pooled=False),
    "rounded targets": rounded_targets,
}
TUNED = ("RoIAlign", "RoI pooling")


def main() -> None:
    train, val, test = (
        toyworld_detection(Toyworld(*split), masks=True) for split in (("train", PICTURES), ("val", 200), ("test", 200))
    )
    found = dict.fromkeys(LEARNING_RATES, 0.0)
    for name, rate in product(TUNED, LEARNING_RATES):
        make = partial(run, name, train, TUNING_STEPS, 0, rate, val)
        found[rate] += once(STORE, f"tuning/{name}/{rate}", make)["val"]["mask AP"]
    chosen = max(found, key=found.__getitem__)
    for seed, name in product(SEEDS, KINDS):
        make = partial(run, name, train, STEPS, seed, chosen, val, test)
        once(STORE, f"runs/{name}/{seed}", make)


def run(
    name: str, train: Pictures, steps: int, seed: int, rate: float, val: Pictures, test: Pictures | None = None
) -> dict:
    """Teach a kind from nothing and measure it."""
    torch.manual_seed(seed)  # for the weights that it starts with
    model = KINDS[name]()
    history = fit(
        model,
        Batches(*train, batch_size=BATCH, shuffle=True, flip=True, seed=seed),
        loss_of_boxes if name == "boxes alone" else loss,
        steps=steps,
        seed=seed,
        learning_rate=rate,
        show=False,
        validations=SNAPSHOTS,
        validate=partial(precision, pictures=val) if test and name in TUNED else None,
    )
    result = {"learning rate": rate, "steps": steps, "seconds": round(history.seconds), "val": precision(model, val)}
    if test:
        result |= {"test": precision(model, test), "mask IoU": mask_quality(model, val)}
    if test and name in TUNED:
        result["course"] = [
            {"step": step} | {metric: values[place] for metric, values in history.metrics.items()}
            for place, step in enumerate(history.metric_steps)
        ]
    if test and name == "RoIAlign" and seed == SEEDS[0]:
        made = {"learning rate": rate, "batch": BATCH, "pictures": PICTURES, "steps": steps, "val": result["val"]}
        save_checkpoint(model.half(), HERE / "12_mask_rcnn.safetensors", made | {"test": result["test"]})
    return result


def loss(model: MaskRCNN, batch: Pictures) -> dict[str, Tensor]:
    return model.loss(*batch)


def loss_of_boxes(model: MaskRCNN, batch: Pictures) -> dict[str, Tensor]:
    return {name: value for name, value in model.loss(*batch).items() if name != "loss_mask"}


def precision(model: MaskRCNN, pictures: Pictures) -> dict[str, float]:
    """Box AP and mask AP."""
    result = {}
    for word, iou_type in (("box", "bbox"), ("mask", "segm")):
        found = evaluate_detection(model, Batches(*pictures), iou_type=iou_type)
        result |= {f"{word} {name}": round(float(found[name]), 4) for name in ("AP", "AP50", "AP75")}
    return result


@torch.no_grad()
def mask_quality(model: MaskRCNN, pictures: Pictures) -> float:
    """The mean IoU of the masks that the branch draws into true boxes, told their true classes."""
    was_training = model.training
    model.eval()
    found = []
    for images, targets in Batches(*pictures):
        batch = model.transform(images)
        boxes, labels = [target["boxes"] for target in targets], torch.cat([target["labels"] for target in targets])
        logits = model.predict_masks(model.backbone(batch.tensors), boxes, batch.image_sizes)  # (R, K, M, M)
        small = model.masks_of_labels(logits, labels).split([len(one) for one in boxes])  # (N, M, M) each
        for one, target in zip(small, targets, strict=True):
            masks = paste_masks_in_image(one, target["boxes"], images.shape[2:], aligned=model.aligned) > 0.5
            found.append(mask_iou(masks, target["masks"]).diagonal())  # (N,)
    model.train(was_training)
    return round(torch.cat(found).mean().item(), 4)


if __name__ == "__main__":
    main()
