"""The checkpoints of lesson 13: two new heads on the frozen trunk of lesson 12's Mask R-CNN.

Pictures have 192 × 192 pixels here: at 96 an arm is two pixels thick, and nothing is to be read off it. The trunk never
changes, so what it says in the true boxes is computed once for each run. Two kinds of trunk, three seeds each:

- "detector": the weights that learned to find, to name and to draw things;
- "random": a network of the same kind that never learned anything, another one for each seed. BatchNorm's statistics
  are measured on 200 training pictures, so that its maps are neither tiny nor huge.

What is measured goes to 13_runs.json, run by run, on validation scenes and, once at the end, on test scenes.
"densepose": how well parts are found, how far u and v are off, and how far they are if 1/2 is said everywhere. "mesh":
chamfer distance and F1 score of the voxels and after each stage of refinement, of all things and class by class, in the
frustum of the box, whose sides run from -1 to 1; "mesh/no edge loss" is a mesh head that may have edges of any length,
one seed. The weights of the detector's seed 0 are kept, in half precision. About an hour and a quarter of one idle
processor core. A run that is in 13_runs.json already is not made again, so a recipe that was cut off goes on where it
was; delete the file to begin anew.

    .venv/bin/python data/checkpoints/13_new_heads.py
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.datasets.toyworld import CLASSES, Sample, Toyworld
from lib.datasets.toyworld.targets import densepose_target, mesh_target, well_seen
from lib.layers.frozen_trunk import FrozenTrunk
from lib.models.densepose import DensePoseRCNN, densepose_loss, densepose_small
from lib.models.mask_rcnn import mask_rcnn_small
from lib.models.mesh_rcnn import MeshRCNN, mesh_rcnn_small
from lib.ops.charts import circular_distance
from lib.ops.mesh_losses import chamfer_distance, f1_score
from lib.ops.meshes import sample_points_from_meshes
from lib.training import fit, load_checkpoint, save_checkpoint
from lib.training.runs import once

HERE = Path(__file__).parent
STORE = HERE / "13_runs.json"
SEEDS, SIZE, HELD_OUT, MEASURED = (0, 1, 2), 192, 200, 200
POSE_PICTURES, POSE_STEPS, POSE_BATCH, POSE_GRID = 2000, 1000, 32, 28
MESH_PICTURES, MESH_STEPS, MESH_BATCH, MESH_GRID = 1000, 800, 16, 8
LEARNING_RATE = 3e-3
UV_WEIGHT = 5.0  # an error of u or v is a small number beside a cross-entropy
POINTS, LEARNED = 1000, 250  # drawn from each true surface; how many of them a step learns from
NEAR = 0.1  # nearer than this is met (F1), a twentieth of the box
FIGURE = CLASSES.index("figure") + 1

Truth = dict[str, Tensor]  # of the things in one picture, or of all together
Split = tuple[Toyworld, list[Truth]]


def main() -> None:
    pose = splits(POSE_PICTURES, bodies)
    once(STORE, "densepose/one half everywhere/0", lambda: {split: halves(pose[split][1]) for split in ("val", "test")})
    for seed, kind in product(SEEDS, ("detector", "random")):
        once(STORE, f"densepose/{kind}/{seed}", partial(densepose_run, kind, pose, seed))
    mesh = splits(MESH_PICTURES, shapes)
    for seed, kind in product(SEEDS, ("detector", "random", "no edge loss")):
        if kind != "no edge loss" or seed == SEEDS[0]:
            once(STORE, f"mesh/{kind}/{seed}", partial(mesh_run, kind, mesh, seed))


def splits(pictures: int, truth: Callable[[Sample, int], Truth]) -> dict[str, Split]:
    """Training, validation and test scenes, with the truth of each picture."""
    found = {}
    for split, length in (("train", pictures), ("val", HELD_OUT), ("test", HELD_OUT)):
        world = Toyworld(split, length, SIZE)
        found[split] = (world, [truth(world[index], index) for index in range(length)])
    return found


def bodies(sample: Sample, index: int) -> Truth:
    """Parts and places of the figures of a picture."""
    figures = torch.nonzero(sample.labels == FIGURE)[:, 0]
    return densepose_target(sample, figures, sample.boxes[figures], POSE_GRID)


def shapes(sample: Sample, index: int) -> Truth:
    """Shapes of the things of a picture that are seen whole; points are drawn by the picture's number."""
    things = torch.nonzero(well_seen(sample))[:, 0]
    return mesh_target(sample, things, sample.boxes[things], MESH_GRID, POINTS, seed=index)


def frozen(kind: str, seed: int, pictures: Toyworld) -> FrozenTrunk:
    """The trunk, of lesson 12's detector or, if `kind` is "random", of one that never learned anything."""
    torch.manual_seed(seed)
    model = mask_rcnn_small()
    if kind != "random":
        load_checkpoint(model, HERE / "12_mask_rcnn.safetensors")
        return FrozenTrunk(model.transform, model.backbone)
    for layer in model.backbone.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # the mean of all batches
    images = torch.stack([pictures[index].image for index in range(MEASURED)])  # (200, 3, 192, 192)
    with torch.no_grad():
        for some in images.split(20):
            model.backbone.train()(some)
    return FrozenTrunk(model.transform, model.backbone)


def cut(trunk: FrozenTrunk, split: Split, sizes: dict[str, int]) -> Truth:
    """Of all things of a split the truth, and what the trunk says in their boxes: by name (R, C, size, size)."""
    world, truths = split
    found = []
    for index, truth in enumerate(truths):
        if len(truth["boxes"]):
            image = world[index].image[None]  # (1, 3, 192, 192)
            found.append(truth | dict(zip(sizes, trunk.regions(image, [truth["boxes"]], *sizes.values()))))
    return {name: torch.cat([one[name] for one in found]) for name in found[0]}


def taught(
    model: nn.Module, things: Truth, loss: Callable[[nn.Module, Truth], Truth], batch: int, steps: int, seed: int
) -> dict:
    """Teach a head by `batch` things at a time, drawn at random; gives what is to be said of the run."""
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Truth:
        chosen = torch.randint(len(things["boxes"]), (batch,), generator=generator)
        return {name: values[chosen] for name, values in things.items()}

    history = fit(model, draw, loss, steps=steps, seed=seed, learning_rate=LEARNING_RATE, show=False)
    return {"steps": steps, "seconds": round(history.seconds), "things": len(things["boxes"])}


def densepose_run(kind: str, worlds: dict[str, Split], seed: int) -> dict:
    trunk = frozen(kind, seed, worlds["train"][0])
    torch.manual_seed(seed)
    model = densepose_small(trunk)
    things = {split: cut(trunk, world, {"regions": model.output_size}) for split, world in worlds.items()}

    def loss(model: DensePoseRCNN, batch: Truth) -> Truth:
        parts = densepose_loss(model.predict_in(batch["regions"]), batch["parts"], batch["uv"])
        return parts | {"loss_uv": UV_WEIGHT * parts["loss_uv"]}

    result = taught(model, things["train"], loss, POSE_BATCH, POSE_STEPS, seed)
    result |= {split: read_well(model, things[split]) for split in ("val", "test")}
    if kind == "detector" and seed == SEEDS[0]:
        save_checkpoint(model.half(), HERE / "13_densepose.safetensors", result)
    return result


@torch.no_grad()
def read_well(model: DensePoseRCNN, things: Truth) -> dict[str, float]:
    """Mean IoU of six parts over all cells; of the cells of bodies, how many have the right part, errors of u and v."""
    outputs = [model.predict_in(some) for some in things["regions"].split(64)]
    logits, u, v = (torch.cat(one) for one in zip(*outputs, strict=True))  # (R, P + 1, S, S) each
    parts, uv = things["parts"], things["uv"]
    said, body = logits.argmax(1), parts > 0  # (R, S, S)
    both = [((said == part) & (parts == part)).sum() for part in range(1, 7)]
    either = [((said == part) | (parts == part)).sum() for part in range(1, 7)]
    own_u, own_v = (maps.gather(1, parts[:, None])[:, 0][body] for maps in (u, v))  # (cells,)
    result = {
        "mIoU": (torch.stack(both) / torch.stack(either)).mean(),
        "right part": (said == parts)[body].float().mean(),
        "u": circular_distance(own_u, uv[:, 0][body]).mean(),
        "v": (own_v - uv[:, 1][body]).abs().mean(),
    }
    return {name: round(value.item(), 4) for name, value in result.items()}


def halves(truths: list[Truth]) -> dict[str, float]:
    """The errors of u and v, if they are said to be 1/2 everywhere: what is to be beaten."""
    parts, uv = (torch.cat([truth[name] for truth in truths]) for name in ("parts", "uv"))  # (R, S, S), (R, 2, S, S)
    half = torch.tensor(0.5)
    u, v = (distance[parts > 0].mean() for distance in (circular_distance(uv[:, 0], half), (uv[:, 1] - half).abs()))
    return {"u": round(u.item(), 4), "v": round(v.item(), 4)}


def mesh_run(kind: str, worlds: dict[str, Split], seed: int) -> dict:
    trunk = frozen(kind, seed, worlds["train"][0])
    torch.manual_seed(seed)
    model = mesh_rcnn_small(trunk)
    if kind == "no edge loss":
        model.weights = (*model.weights[:4], 0.0)
    sizes = {"coarse": model.size, "fine": model.mesh_size}
    things = {split: cut(trunk, world, sizes) for split, world in worlds.items()}

    def loss(model: MeshRCNN, batch: Truth) -> Truth:
        some = torch.randperm(POINTS)[:LEARNED]
        cloud = {name: batch[name][:, some] for name in ("surface_points", "surface_normals")}  # (B, 250, 3) each
        return model.loss_in((batch["coarse"], batch["fine"]), batch | cloud)

    result = taught(model, things["train"], loss, MESH_BATCH, MESH_STEPS, seed)
    result |= {split: stage_by_stage(model, things[split]) for split in ("val", "test")}
    if kind == "detector" and seed == SEEDS[0]:
        save_checkpoint(model.half(), HERE / "13_mesh_rcnn.safetensors", result)
    return result


@torch.no_grad()
def stage_by_stage(model: MeshRCNN, things: Truth) -> dict[str, dict[str, list[float]]]:
    """Chamfer distance and F1 of the voxels and after each stage: of "all" things, and by the name of their class."""
    numbers = []
    for coarse, fine, points in zip(*(things[name].split(32) for name in ("coarse", "fine", "surface_points"))):
        generator = torch.Generator().manual_seed(0)
        steps = model.predict_in((coarse, fine))[2]
        drawn = [sample_points_from_meshes(one, POINTS, generator=generator) for one in steps]  # (32, POINTS, 3) each
        chamfer = [chamfer_distance(one, points, batch_reduction=None)[0] for one in drawn]  # (32,) each
        f1 = [f1_score(one, points, NEAR) for one in drawn]
        numbers.append(torch.stack([torch.stack(chamfer), torch.stack(f1)]))  # (2, stages + 1, 32)
    every = torch.cat(numbers, dim=2)  # (2, stages + 1, R)
    chosen = {"all": torch.ones_like(things["labels"], dtype=torch.bool)}
    chosen |= {name: things["labels"] == label for label, name in enumerate(CLASSES, start=1)}
    return {
        name: {
            metric: [round(value, 4) for value in row[:, mine].mean(1).tolist()]
            for metric, row in zip(("chamfer", "F1"), every, strict=True)
        }
        for name, mine in chosen.items()
    }


if __name__ == "__main__":
    main()
