"""Bring coarse scores to the size of finer ones, and add the two."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.ops.upsampling import transposed_conv_scatter


def make_upscore(classes: int, factor: int, seed: int) -> nn.ConvTranspose2d:
    """An upsampling layer with weights of its own, as after some training."""
    layer = nn.ConvTranspose2d(classes, classes, 2 * factor, factor, padding=factor // 2, bias=False)
    layer.weight.data = random_values(*layer.weight.shape, seed=seed) / factor
    return layer


def enlarged(x: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    return transposed_conv_scatter(x, layer.weight, layer.stride[0], layer.padding[0])


def fuse_scores(coarse: Tensor, fine: Tensor, upscore: nn.Module) -> Tensor:
    """The fusion inside `lib.models.fcn.FCN`: coarse (B, K, h, w) made twice as large, plus fine (B, K, 2h, 2w)."""
    return upscore(coarse) + fine


def cases() -> list[Case]:
    def truth(coarse: Tensor, fine: Tensor, upscore: nn.ConvTranspose2d) -> Tensor:
        return fine + enlarged(coarse, upscore)

    return [
        Case.from_truth(
            label,
            (
                random_values(batch, classes, h, w, seed=1),
                random_values(batch, classes, 2 * h, 2 * w, seed=2),
                make_upscore(classes, 2, seed=3),
            ),
            truth,
            gradients_of=("coarse", "fine"),
        )
        for label, batch, classes, h, w in (
            ("two classes, 2 × 3 cells and 4 × 6", 1, 2, 2, 3),
            ("two pictures, three classes", 2, 3, 3, 2),
            ("a single cell and 2 × 2", 1, 4, 1, 1),
        )
    ]


LAYER_UNUSED = (
    "The sizes are right, but `upscore` was not used. It starts as bilinear interpolation, and goes on learning: its "
    "weights count."
)


@mistake(
    "plain interpolation",
    LAYER_UNUSED,
)
def interpolated(coarse: Tensor, fine: Tensor, upscore: nn.Module) -> Tensor:
    return F.interpolate(coarse, scale_factor=2, mode="bilinear") + fine


@mistake(
    "plain copies",
    LAYER_UNUSED,
)
def copied(coarse: Tensor, fine: Tensor, upscore: nn.Module) -> Tensor:
    return F.interpolate(coarse, scale_factor=2) + fine


@mistake(
    "fine scores made small",
    "Your result is as small as the coarse map: the fine scores were shrunk. Then their detail is gone. "
    "Make the coarse map large instead.",
)
def shrunk(coarse: Tensor, fine: Tensor, upscore: nn.Module) -> Tensor:
    return coarse + F.avg_pool2d(fine, 2)


@mistake(
    "the wrong map enlarged",
    "You enlarge the fine scores, which already have the right size. The coarse ones have to grow.",
)
def fine_enlarged(coarse: Tensor, fine: Tensor, upscore: nn.Module) -> Tensor:
    return upscore(fine) + F.interpolate(coarse, scale_factor=4)


@mistake(
    "added before enlarging",
    "You shrink the fine scores, add, and enlarge the sum: nothing finer than the coarse cells is left.",
)
def added_first(coarse: Tensor, fine: Tensor, upscore: nn.Module) -> Tensor:
    return upscore(coarse + F.max_pool2d(fine, 2))


@mistake(
    "added as they are",
    "The two maps differ in size: the coarse one has half as many rows and columns. Make it as large as the fine one, "
    "with `upscore`, and add then.",
)
def added_as_they_are(coarse: Tensor, fine: Tensor, upscore: nn.Module) -> Tensor:
    return coarse + fine


EXERCISE = Exercise(
    name="fuse_scores",
    reference=fuse_scores,
    cases=cases,
    takes={"coarse": Kind.MAP, "fine": Kind.MAP},
    gives=Kind.MAP,
    mistakes=[
        added_as_they_are,
        Mistake(
            "concatenated",
            "Your result has twice as many channels: both maps are in it, one behind the other. Both speak of the same "
            "classes in the same order; add them.",
            wrong=lambda coarse, fine, upscore: torch.cat([upscore(coarse), fine], dim=1),
        ),
        Mistake(
            "averaged",
            "You take the mean of the two. The paper takes the sum: the finer layer learns what is to be *added*.",
            wrong=lambda coarse, fine, upscore: (upscore(coarse) + fine) / 2,
        ),
        shrunk,
        fine_enlarged,
        added_first,
        Mistake(
            "averaged and added before enlarging",
            "You average the fine scores, add, and enlarge the sum: nothing finer than the coarse cells is left.",
            wrong=lambda coarse, fine, upscore: upscore(coarse + F.avg_pool2d(fine, 2)),
        ),
        interpolated,
        copied,
        Mistake(
            "fine scores forgotten",
            "You return the enlarged coarse scores alone.",
            wrong=lambda coarse, fine, upscore: upscore(coarse),
        ),
        Mistake(
            "subtracted",
            "The fine scores are subtracted in your result.",
            wrong=lambda coarse, fine, upscore: upscore(coarse) - fine,
        ),
    ],
    picture=compare_maps,
)
